//! A value that takes more than a line: an array of maps as a table, other arrays as columns, a map as a
//! list of its entries.

use rhai::{Array, Dynamic, Engine, Map};

use super::cell::{Cell, Ink, is_number, painted, written};
use super::table::Table;
use super::text::{clean, count, ellipsis, fill, so_many, width};
use super::units::{Unit, Units};
use crate::shell::look::Look;

/// How much of an array is drawn.
const ROWS_MAX: usize = 1_000;

/// How wide a cell can be.
const CELL_MAX: usize = 120;

/// How many lines an entry of a list can take.
const LINES_MAX: usize = 10;

/// How deep maps are drawn in maps.
const DEPTH_MAX: usize = 6;

/// How far what is in a map stands from the left.
const INDENT: usize = 2;

/// Who draws.
pub(crate) struct Easel<'a> {
    /// Who knows how values that are none of Rhai's own are written.
    pub(crate) engine: &'a Engine,
    /// What numbers stand for.
    pub(crate) units: Units<'a>,
    /// Where it is drawn.
    pub(crate) look: Look,
}

impl Easel<'_> {
    /// The entries of an array, in the way that suits them.
    pub(crate) fn array(&self, all: &Array, unit: Unit, indent: usize) -> String {
        let shown = &all[..all.len().min(ROWS_MAX)];
        let mut out = if are_maps(shown) {
            self.table(shown, unit, indent)
        } else {
            self.columns(shown, unit, indent)
        };
        if shown.len() < all.len() {
            let what = if are_maps(shown) { "more row" } else { "more value" };
            out += &self.remark(&so_many(all.len() - shown.len(), what), indent);
        }
        out
    }

    fn remark(&self, text: &str, indent: usize) -> String {
        let text = format!("{} {text}", ellipsis(self.look));
        format!("{}{}\n", fill(0, indent), painted(&text, Ink::Faint, self.look.paint))
    }

    fn table(&self, all: &[Dynamic], unit: Unit, indent: usize) -> String {
        let mut keys: Vec<String> = Vec::new();
        let mut known = std::collections::BTreeSet::new();
        for it in all.iter().filter_map(|it| it.as_map_ref().ok()) {
            let new = it.keys().filter(|key| known.insert((*key).clone()));
            keys.extend(new.map(ToString::to_string));
        }
        let keys = self.units.ordered(keys);
        let units: Vec<Unit> = keys.iter().map(|it| self.units.of(it, unit)).collect();
        let row = |it: &Dynamic| {
            let map = it.as_map_ref().expect("all of them are maps");
            let cells = keys.iter().zip(&units).map(|(key, unit)| match map.get(key.as_str()) {
                Some(value) => self.cell(value, *unit, CELL_MAX),
                None => Cell::none(),
            });
            cells.collect()
        };
        let rows = all.iter().map(row).collect();
        let heads = keys.iter().map(|it| clean(it, self.look)).collect();
        Table { heads, rows }.drawn(indent, self.look)
    }

    fn cell(&self, value: &Dynamic, unit: Unit, room: usize) -> Cell {
        Cell::of(self.engine, value, unit, room, self.look)
    }

    /// Short entries in columns, from the top to the bottom; long ones a line each.
    fn columns(&self, all: &[Dynamic], unit: Unit, indent: usize) -> String {
        let room = self.look.width.saturating_sub(indent).max(1);
        let are_texts = all.iter().all(|it| it.is_string());
        let cell = |it: &Dynamic| match it {
            it if are_texts || is_number(it) => self.cell(it, unit, room * LINES_MAX),
            it => self.written(it, room * LINES_MAX),
        };
        let cells: Vec<Cell> = all.iter().map(cell).collect();
        let wide = cells.iter().map(|it| width(&it.text)).max().unwrap_or(0) + 2;
        let across = ((room + 2) / wide).max(1);
        let down = cells.len().div_ceil(across);
        let mut out = String::new();
        for row in 0..down {
            out += &fill(0, indent);
            let mut blank = String::new();
            for cell in cells.iter().skip(row).step_by(down.max(1)) {
                let text = painted(&cell.text, cell.ink, self.look.paint);
                let rest = fill(width(&cell.text), wide - 2);
                out += &blank;
                if cell.is_number() && across > 1 {
                    out += &rest;
                    out += &text;
                    blank = fill(0, 2);
                } else {
                    out += &text;
                    blank = rest + "  ";
                }
            }
            out.push('\n');
        }
        out
    }

    /// A value as Rhai writes it, also a text.
    fn written(&self, value: &Dynamic, room: usize) -> Cell {
        let written = written(self.engine, value, room);
        let end = if written.is_whole { "" } else { ellipsis(self.look) };
        Cell::new(clean(&written.text, self.look) + end, Ink::Rhai)
    }

    /// The entries of a map, a line each; what does not fit one stands below its key.
    pub(crate) fn map(&self, map: &Map, unit: Unit, indent: usize, depth: usize) -> String {
        let keys = self.units.ordered(map.keys().map(ToString::to_string).collect());
        let shown = || keys.iter().take(ROWS_MAX);
        let heads: Vec<String> = shown().map(|it| clean(it, self.look)).collect();
        let wide = heads.iter().map(|it| width(it)).max().unwrap_or(0).min(self.look.width / 3);
        let mut out = String::new();
        for (head, key) in heads.iter().zip(&keys) {
            let unit = self.units.of(key, unit);
            out += &fill(0, indent);
            out += &painted(head, Ink::Head, self.look.paint);
            let left = self.look.width.saturating_sub(indent + wide.max(width(head)) + 2);
            match map.get(key.as_str()).filter(|it| !self.is_short(it, left)) {
                Some(value) if depth < DEPTH_MAX && is_full(value) => {
                    out.push('\n');
                    out += &self.inner(value, unit, indent + INDENT, depth + 1);
                }
                _ => {
                    let value = map.get(key.as_str()).unwrap_or(&Dynamic::UNIT);
                    out += &fill(width(head), wide);
                    out += "  ";
                    out += &self.entry(value, unit, left);
                }
            }
        }
        if keys.len() > heads.len() {
            out += &self.remark(&so_many(keys.len() - heads.len(), "more key"), indent);
        }
        out
    }

    fn is_short(&self, value: &Dynamic, room: usize) -> bool {
        let written = written(self.engine, value, room);
        written.is_whole && width(&clean(&written.text, self.look)) <= room && !has_units(value)
    }

    fn inner(&self, value: &Dynamic, unit: Unit, indent: usize, depth: usize) -> String {
        if let Ok(it) = value.as_array_ref() {
            return self.array(&it, unit, indent);
        }
        match value.as_map_ref() {
            Ok(it) => self.map(&it, unit, indent, depth),
            Err(_) => String::new(),
        }
    }

    /// A value behind its key. A long text goes on in the next lines.
    fn entry(&self, value: &Dynamic, unit: Unit, room: usize) -> String {
        let room = if is_full(value) { room } else { self.look.width * LINES_MAX };
        let cell = self.cell(value, unit, room);
        let text = match value.as_immutable_string_ref() {
            Ok(it) if it.is_empty() => painted("\"\"", Ink::Faint, self.look.paint),
            _ => painted(&cell.text, cell.ink, self.look.paint),
        };
        text + "\n"
    }
}

/// Whether these are maps, so that they are rows of a table.
pub(crate) fn are_maps(all: &[Dynamic]) -> bool {
    let mut maps = all.iter().take(ROWS_MAX).map(|it| it.as_map_ref());
    !all.is_empty() && maps.all(|it| it.is_ok_and(|it| !it.is_empty()))
}

/// Whether there is anything in a value.
fn is_full(value: &Dynamic) -> bool {
    value.as_array_ref().is_ok_and(|it| !it.is_empty())
        || value.as_map_ref().is_ok_and(|it| !it.is_empty())
}

/// Whether a table says more of a value than a line.
fn has_units(value: &Dynamic) -> bool {
    value.as_array_ref().is_ok_and(|it| are_maps(&it))
}

/// What a value is, in a few words.
pub(crate) fn headline(value: &Dynamic, type_name: &str) -> String {
    if let Ok(all) = value.as_array_ref() {
        let noun = match &all[..] {
            it if are_maps(it) => "map",
            it if it.iter().take(ROWS_MAX).all(|it| it.is_string()) => "string",
            it if it.iter().take(ROWS_MAX).all(is_number) => "number",
            _ => "value",
        };
        let of = if all.len() > ROWS_MAX {
            format!(", of which these are the first {}", count(ROWS_MAX))
        } else {
            String::new()
        };
        return format!("array of {}{of}", so_many(all.len(), noun));
    }
    match value.as_map_ref() {
        Ok(map) => format!("map of {}", so_many(map.len(), "key")),
        Err(_) => type_name.to_owned(),
    }
}
