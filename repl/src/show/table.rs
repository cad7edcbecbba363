//! Rows below heads, as wide as there is room.

use super::cell::{Cell, Ink, painted};
use super::text::{ellipsis, fill, so_many, width, wrapped};
use crate::shell::look::Look;

/// What stands between columns.
const GAP: usize = 2;

/// How wide a column is allowed to be while others have no room at all.
const FAIR: usize = 32;

/// A table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// The heads.
    pub(crate) heads: Vec<String>,
    /// The rows, each with a cell for every head.
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A column as it is drawn.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// Which of the heads it is.
    at: usize,
    width: usize,
    is_number: bool,
}

impl Table {
    /// The table `indent` columns from the left, with a remark on what had no room.
    pub(crate) fn drawn(&self, indent: usize, look: Look) -> String {
        let room = look.width.saturating_sub(indent).max(1);
        let columns = self.columns(room);
        let margin = fill(0, indent);
        let mut out = String::new();
        let heads = |it: &Column| Cell::new(self.heads[it.at].as_str(), Ink::Head);
        out += &line(&margin, columns.iter().map(|it| (*it, heads(it))), look);
        let rule = if look.is_utf8 { "─" } else { "-" };
        let rule = |it: &Column| Cell::new(rule.repeat(it.width), Ink::Faint);
        out += &line(&margin, columns.iter().map(|it| (*it, rule(it))), look);
        for row in &self.rows {
            out += &line(&margin, columns.iter().map(|it| (*it, row[it.at].clone())), look);
        }
        out.push_str(&self.remark(&columns, indent, look));
        out
    }

    /// The columns that there is room for.
    fn columns(&self, room: usize) -> Vec<Column> {
        let all: Vec<Column> = (0..self.heads.len()).map(|at| self.column(at)).collect();
        if needed(&all) <= room {
            return all;
        }
        // What says nothing in any row goes first, then what is right.
        let says = |it: &Column| self.rows.iter().any(|row| !row[it.at].is_empty);
        let natural: Vec<Column> = all.iter().filter(|it| says(it)).copied().collect();
        let natural = if natural.is_empty() { all } else { natural };
        let mut columns: Vec<Column> = natural.iter().map(|it| it.at_most(FAIR)).collect();
        while needed(&columns) > room && columns.len() > 1 {
            columns.pop();
        }
        let mut left = room.saturating_sub(needed(&columns));
        for (column, natural) in columns.iter_mut().zip(&natural) {
            let more = left.min(natural.width - column.width);
            (column.width, left) = (column.width + more, left - more);
        }
        if let [only] = &mut columns[..] {
            only.width = only.width.min(room);
        }
        columns
    }

    fn column(&self, at: usize) -> Column {
        let cells = || self.rows.iter().map(|it| &it[at]);
        let widest = cells().map(|it| width(&it.text)).max().unwrap_or(0);
        let mut full = cells().filter(|it| !it.is_empty).peekable();
        let is_number = full.peek().is_some() && full.all(Cell::is_number);
        Column { at, width: widest.max(width(&self.heads[at])), is_number }
    }

    fn remark(&self, columns: &[Column], indent: usize, look: Look) -> String {
        let is_shown = |at: &usize| columns.iter().any(|it| it.at == *at);
        let hidden: Vec<&str> = (0..self.heads.len())
            .filter(|at| !is_shown(at))
            .map(|at| self.heads[at].as_str())
            .collect();
        if hidden.is_empty() {
            return String::new();
        }
        let (end, many) = (ellipsis(look), so_many(hidden.len(), "more column"));
        let text = format!("{end} {many}: {}", hidden.join(", "));
        let lines = wrapped(&text, look.width.saturating_sub(indent));
        let margin = fill(0, indent);
        let line = |it: &String| format!("{margin}{}\n", painted(it, Ink::Faint, look.paint));
        lines.iter().map(line).collect()
    }
}

impl Column {
    fn at_most(self, width: usize) -> Self {
        Self { width: self.width.min(width), ..self }
    }
}

fn needed(columns: &[Column]) -> usize {
    let gaps = columns.len().saturating_sub(1) * GAP;
    columns.iter().map(|it| it.width).sum::<usize>() + gaps
}

/// Cells beside each other; nothing stands behind the last one.
fn line(margin: &str, cells: impl Iterator<Item = (Column, Cell)>, look: Look) -> String {
    let (mut out, mut gap) = (margin.to_owned(), 0);
    for (column, cell) in cells {
        let blank = fill(width(&cell.text).min(column.width), column.width);
        out += &fill(0, gap);
        let text = cell.painted(column.width, look);
        if column.is_number {
            out += &blank;
            out += &text;
            gap = GAP;
        } else {
            out += &text;
            gap = GAP + blank.len();
        }
    }
    out.truncate(out.trim_end_matches(' ').len());
    out + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::{ASCII, NARROW};

    fn table(heads: &[&str], rows: &[&[Cell]]) -> Table {
        Table {
            heads: heads.iter().map(|it| (*it).to_owned()).collect(),
            rows: rows.iter().map(|it| it.to_vec()).collect(),
        }
    }

    fn text(text: &str) -> Cell {
        Cell::new(text, Ink::Text)
    }

    #[test]
    fn numbers_stand_right_and_wide_characters_are_counted_as_such() {
        let number = |it: i64| Cell::new(it.to_string(), Ink::Number);
        let rows: [&[Cell]; 2] =
            [&[text("日本"), number(7), text("x")], &[text("web"), number(1234), Cell::none()]];
        let drawn = table(&["name", "pid", "last"], &rows).drawn(0, NARROW);
        let expected = "name   pid  last\n────  ────  ────\n日本     7  x\nweb   1234\n";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn what_has_no_room_is_told() {
        let long = "x".repeat(60);
        let row: &[Cell] = &[text("web"), Cell::none(), text(&long), text(&long), text(&long)];
        let table = table(&["name", "none", "a", "b", "c"], &[row]);
        let drawn = table.drawn(0, NARROW);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["name", "a", "b"]);
        assert!(lines[2].contains("x…"), "{drawn}");
        assert_eq!(lines[3], "… 2 more columns: none, c");
        assert!(lines.iter().all(|it| width(it) <= 80), "{drawn}");
        assert!(table.drawn(2, ASCII).contains("\n  ... 2 more columns: none, c\n"));
        let narrow = table.drawn(0, Look { width: 8, ..NARROW });
        assert!(narrow.lines().take(3).all(|it| width(it) <= 8), "{narrow}");
    }
}
