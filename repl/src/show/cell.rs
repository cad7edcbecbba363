//! A value in one line: as Rhai writes it, or as people read it in a table.

use std::borrow::Cow;

use nu_ansi_term::{Color, Style};
use rhai::{Dynamic, Engine};

use super::text::{clean, count, cut, ellipsis, so_many, width};
use super::units::Unit;
use crate::highlight::highlighted;
use crate::render::Paint;
use crate::shell::look::Look;

/// How deep a value is written. One that contains itself has no end.
const DEPTH_MAX: usize = 32;

/// How many bytes of a value that is none of Rhai's own are looked at.
const OPAQUE_MAX: usize = 100_000;

/// A value as Rhai writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The text; only its begin, if there is more than was asked for.
    pub(crate) text: String,
    /// Whether that is all of it.
    pub(crate) is_whole: bool,
}

/// A value as Rhai writes it, up to about `room` characters: the first million numbers of an array cost no
/// more than what is shown of them.
pub(crate) fn written(engine: &Engine, value: &Dynamic, room: usize) -> Written {
    let mut pen = Pen { engine, text: String::new(), left: room, is_whole: true };
    pen.write(value, 0);
    Written { text: pen.text, is_whole: pen.is_whole }
}

struct Pen<'a> {
    engine: &'a Engine,
    text: String,
    left: usize,
    is_whole: bool,
}

impl Pen<'_> {
    fn write(&mut self, value: &Dynamic, depth: usize) {
        if depth > DEPTH_MAX || !self.is_whole {
            self.is_whole = false;
        } else if let Ok(it) = value.as_array_ref() {
            self.push("[");
            for (at, it) in it.iter().enumerate().take_while(|it| it.0 < OPAQUE_MAX) {
                self.push(if at > 0 { ", " } else { "" });
                self.write(it, depth + 1);
                if !self.is_whole {
                    return;
                }
            }
            self.push("]");
        } else if let Ok(it) = value.as_map_ref() {
            self.push("#{");
            for (at, (key, it)) in it.iter().enumerate() {
                self.push(if at > 0 { ", " } else { "" });
                self.quote(key);
                self.push(": ");
                self.write(it, depth + 1);
                if !self.is_whole {
                    return;
                }
            }
            self.push("}");
        } else if let Ok(it) = value.as_immutable_string_ref() {
            self.quote(&it);
        } else {
            self.push(&debugged(self.engine, value));
        }
    }

    fn quote(&mut self, text: &str) {
        let end = text.char_indices().nth(self.left).map_or(text.len(), |it| it.0);
        self.push(&format!("{:?}", &text[..end]));
        self.is_whole &= end == text.len();
    }

    fn push(&mut self, text: &str) {
        let end = text.char_indices().nth(self.left).map_or(text.len(), |it| it.0);
        self.is_whole &= end == text.len();
        self.left = self.left.saturating_sub(text.chars().count());
        self.text.push_str(&text[..end]);
    }
}

/// What `to_debug` says of a value that is no array, map or text.
fn debugged(engine: &Engine, value: &Dynamic) -> String {
    if let Ok(number) = value.as_int() {
        return number.to_string();
    }
    if let Ok(blob) = value.as_blob_ref()
        && blob.len() > OPAQUE_MAX / 2
    {
        return format!("[{} {}]", type_of(engine, value), so_many(blob.len(), "byte"));
    }
    let mut value = value.flatten_clone();
    let written = engine.eval_fn_call::<String>("to_debug", Some(&mut value), ());
    written.unwrap_or_else(|_| value.to_string())
}

/// What `type_of` says.
pub(crate) fn type_of<'a>(engine: &'a Engine, value: &'a Dynamic) -> &'a str {
    engine.map_type_name(value.type_name())
}

/// What a text is, which decides on its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// A value as Rhai writes it.
    Rhai,
    /// A text without its quotes.
    Text,
    /// A number.
    Number,
    /// The state of a service.
    State,
    /// Nothing to look at.
    Faint,
    /// A heading.
    Head,
}

/// A short text of one line, without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// The text.
    pub(crate) text: String,
    /// What it is.
    pub(crate) ink: Ink,
    /// Whether it says anything.
    pub(crate) is_empty: bool,
}

impl Cell {
    /// A text of this kind.
    pub(crate) fn new(text: impl Into<String>, ink: Ink) -> Self {
        Self { text: text.into(), ink, is_empty: false }
    }

    /// Nothing.
    pub(crate) fn none() -> Self {
        Self { text: String::new(), ink: Ink::Faint, is_empty: true }
    }

    /// A value as people read it, of at most `room` columns or so.
    pub(crate) fn of(
        engine: &Engine,
        value: &Dynamic,
        unit: Unit,
        room: usize,
        look: Look,
    ) -> Self {
        if let Some(text) = unit.shown(value) {
            let is_empty = text == "-";
            let ink = if is_empty { Ink::Faint } else { Ink::Number };
            return Self { text, ink, is_empty };
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            let ink = if unit == Unit::State { Ink::State } else { Ink::Text };
            let begin = begin(&text, room + 1);
            let text = cut(&clean(begin, look), room, look);
            return Self { is_empty: text.is_empty(), text, ink };
        }
        let written = written(engine, value, room + 1);
        let text = clean(&written.text, look);
        let is_empty = ["()", "[]", "#{}"].contains(&text.as_str());
        let is_long = !written.is_whole || width(&text) > room;
        let text = if is_long { in_short(value, &text, room, look) } else { text };
        let ink = match value {
            _ if is_empty => Ink::Faint,
            it if is_number(it) => Ink::Number,
            _ => Ink::Rhai,
        };
        Self { text, ink, is_empty }
    }

    /// Whether it stands right in its column.
    pub(crate) fn is_number(&self) -> bool {
        self.ink == Ink::Number
    }

    /// The text in colour, cut to so many columns.
    pub(crate) fn painted(&self, room: usize, look: Look) -> String {
        let text: Cow<'_, str> = match width(&self.text) <= room {
            true => Cow::Borrowed(&self.text),
            false => Cow::Owned(cut(&self.text, room, look)),
        };
        painted(&text, self.ink, look.paint)
    }
}

/// A text in the colour of what it is.
pub(crate) fn painted(text: &str, ink: Ink, paint: Paint) -> String {
    match ink {
        _ if text.is_empty() => String::new(),
        Ink::Rhai => highlighted(text, paint),
        Ink::Text => paint.on(Color::Green.normal(), text),
        Ink::Number => paint.on(Color::Yellow.normal(), text),
        Ink::State => paint.state(text),
        Ink::Faint => paint.on(Style::new().dimmed(), text),
        Ink::Head => paint.bold(text),
    }
}

/// Whether a value is a number.
pub(crate) fn is_number(value: &Dynamic) -> bool {
    value.is_int() || value.is_float()
}

/// What does not fit: how much there is of it, or how it begins.
fn in_short(value: &Dynamic, text: &str, room: usize, look: Look) -> String {
    let end = ellipsis(look);
    if let Ok(it) = value.as_array_ref() {
        return format!("[{end} {}]", so_many(it.len(), "value"));
    }
    if let Ok(it) = value.as_map_ref() {
        return format!("#{{{end} {}}}", so_many(it.len(), "key"));
    }
    cut(&format!("{text}{end}"), room, look)
}

/// The first `count` characters of a text.
pub(crate) fn begin(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |it| &text[..it.0])
}

/// A text as Rhai writes it, of which only so many characters are shown, and a remark on the rest.
pub(crate) fn long_text(text: &str, shown: usize, look: Look) -> String {
    let head = begin(text, shown);
    let quoted = painted(&clean(&format!("{head:?}"), look), Ink::Rhai, look.paint);
    let more = text[head.len()..].chars().count();
    if more == 0 {
        return quoted + "\n";
    }
    let remark = format!("{} {} more characters", ellipsis(look), count(more));
    format!("{quoted}\n{}\n", painted(&remark, Ink::Faint, look.paint))
}
