//! What is shown of values, variables, functions and the shell itself. Texts only, but for [`paged`].
//!
//! A program that reads is shown a value as Rhai writes it. On a terminal, `picture` draws what takes more
//! than a line (`cell` what takes one, `table` rows), in the units that `zinit/show.rhai` names (`units`).
//! `reference` and `source` tell of functions, `prose` of their documentation, `help` of keys and commands;
//! `pager` shows what is longer than the screen.

mod cell;
mod help;
mod pager;
mod picture;
mod prose;
mod reference;
mod source;
mod table;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod text;
mod units;

use rhai::{Dynamic, Engine, Map};
use zinit_host::script;
use zinit_host::sitting::{Sitting, Variable};

use crate::shell::look::Look;
use cell::{Cell, Ink, long_text, painted, type_of, written};
use picture::{Easel, are_maps, headline};
use table::Table;
use text::{clean, width};
use units::{Unit, Units};

pub(crate) use help::help;
pub(crate) use pager::{held, paged};
pub(crate) use reference::{doc, functions};
pub(crate) use source::source;
pub(crate) use text::count;
pub(crate) use units::bytes;

/// What stands before a value.
const ARROW: &str = "=> ";

/// How many characters of a text are shown.
const TEXT_MAX: usize = 100_000;

/// How wide a map in one line is, however wide the terminal is.
const LINE_MAX: usize = 100;

/// What a text has left, after `=>`; nothing for `()`.
pub(crate) fn value(sitting: &Sitting, value: Dynamic, look: Look) -> String {
    let engine = sitting.engine();
    if !look.is_terminal {
        let shown = script::shown(engine, value);
        return shown.map(|it| format!("{ARROW}{it}\n")).unwrap_or_default();
    }
    if value.is_unit() {
        return String::new();
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return format!("{ARROW}{}", long_text(&text, TEXT_MAX, look));
    }
    match one_line(engine, &value, look) {
        Some(line) => format!("{ARROW}{}\n", painted(&line, Ink::Rhai, look.paint)),
        None => {
            let head = headline(&value, type_of(engine, &value));
            let head = painted(&head, Ink::Faint, look.paint);
            let easel = Easel { engine, units: Units::new(sitting), look };
            format!("{ARROW}{head}\n{}", drawn(&easel, &value))
        }
    }
}

/// A value as Rhai writes it, if that is a line to read.
fn one_line(engine: &Engine, value: &Dynamic, look: Look) -> Option<String> {
    let room = look.width.saturating_sub(ARROW.len());
    let is_table = value.as_array_ref().is_ok_and(|it| are_maps(&it));
    let room = if value.as_map_ref().is_ok() { room.min(LINE_MAX) } else { room };
    let written = written(engine, value, room);
    let line = clean(&written.text, look);
    (!is_table && written.is_whole && width(&line) <= room).then_some(line)
}

fn drawn(easel: &Easel<'_>, value: &Dynamic) -> String {
    if let Ok(it) = value.as_array_ref() {
        return easel.array(&it, Unit::None, 0);
    }
    if let Ok(it) = value.as_map_ref() {
        return easel.map(&it, Unit::None, 0, 0);
    }
    let fields = easel.engine.eval_fn_call::<Map>("to_map", Some(&mut value.clone()), ());
    match fields {
        Ok(fields) => easel.map(&fields, Unit::None, 0, 0),
        Err(_) => {
            let written = written(easel.engine, value, TEXT_MAX);
            clean(&written.text, easel.look) + "\n"
        }
    }
}

/// The variables, a line each.
pub(crate) fn variables(engine: &Engine, all: &[Variable<'_>], look: Look) -> String {
    if !look.is_terminal {
        let line = |it: &Variable<'_>| {
            let value = script::shown(engine, it.value.clone());
            format!("{} = {}\n", it.name, value.as_deref().unwrap_or("()"))
        };
        return all.iter().map(line).collect();
    }
    let row = |it: &Variable<'_>| {
        let kind = type_of(engine, it.value);
        let kind = if it.is_constant { format!("const {kind}") } else { kind.to_owned() };
        vec![
            Cell::new(clean(it.name, look), Ink::Head),
            Cell::new(clean(&kind, look), Ink::Faint),
            in_short(engine, it.value, look),
        ]
    };
    let heads = ["name", "type", "value"].map(str::to_owned).to_vec();
    Table { heads, rows: all.iter().map(row).collect() }.drawn(0, look)
}

/// A value as Rhai writes it if that is short, or else what it is.
fn in_short(engine: &Engine, value: &Dynamic, look: Look) -> Cell {
    let written = written(engine, value, look.width);
    let is_deep = value.as_array_ref().is_ok() || value.as_map_ref().is_ok();
    if is_deep && (!written.is_whole || width(&written.text) > look.width / 2) {
        return Cell::new(headline(value, ""), Ink::Faint);
    }
    Cell::new(clean(&written.text, look), Ink::Rhai)
}
