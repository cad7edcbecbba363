//! A tree of what was written, each node with its place, and the fault that points there.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_yaml::{DuplicateKeyPolicy, Location, Options, Spanned};

use super::Spec;
use crate::refusal::{Kind, Refusal};

/// Something written, and where.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) kind: Written,
}

/// Where something is written: line and column, both from 1; 0 for what is in no file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct At {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// What can be written. Scalars keep their spelling: a version of `1.10` is not `1.1`.
#[derive(Debug)]
pub(super) enum Written {
    Nothing,
    Flag(String),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One line of a map.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: At,
    pub(super) key: String,
    pub(super) value: Node,
}

/// Something that does not hold, and where it is written.
#[derive(Debug)]
pub(super) struct Fault {
    at: At,
    key: String,
    what: String,
    hint: Option<String>,
}

impl Written {
    /// What it is, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Flag(_) => "a flag",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl Fault {
    /// A fault of the value of `key`.
    pub(super) fn new(at: At, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { at, key: key.into(), what: what.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The refusal of a file: it shows the line.
    pub(super) fn in_file(self, text: &str, path: &Path) -> Refusal {
        const SHOWN_CHARS: usize = 200;
        let At { line, column } = self.at;
        let text = text.trim_start_matches('\u{feff}');
        let source = usize::try_from(line).ok().and_then(|it| text.lines().nth(it.checked_sub(1)?));
        // A control character must neither reach the terminal nor move the caret.
        let plain = |it: char| if it.is_control() { ' ' } else { it };
        let source: String = source.unwrap_or("").chars().map(plain).take(SHOWN_CHARS).collect();
        let place = format!("{}:{line}:{column}", path.display());
        self.refusal(|what| format!("{place}: {what}"))
            .with("path", path.display().to_string())
            .with("line", line)
            .with("column", column)
            .with("source", source)
    }

    /// The refusal of a configuration that is in no file.
    pub(super) fn without_file(self) -> Refusal {
        self.refusal(|what| what)
    }

    fn refusal(self, message: impl Fn(String) -> String) -> Refusal {
        // What was written is quoted, and a control character of it must not reach the terminal.
        let plain = |it: char| if it.is_control() { ' ' } else { it };
        let what = self.what.chars().map(plain).collect();
        let mut refusal = Refusal::new(Kind::BadConfig, message(what));
        refusal.hint = self.hint;
        if self.key.is_empty() { refusal } else { refusal.with("key", self.key) }
    }
}

impl From<Location> for At {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// The tree of a JSON value.
pub(super) fn of_json(value: &Value) -> Node {
    let kind = match value {
        Value::Null => Written::Nothing,
        Value::Bool(it) => Written::Flag(it.to_string()),
        Value::Number(it) => Written::Number(it.to_string()),
        Value::String(it) => Written::Text(it.clone()),
        Value::Array(items) => Written::List(items.iter().map(of_json).collect()),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| Entry {
                at: At::default(),
                key: key.clone(),
                value: of_json(value),
            };
            Written::Map(map.iter().map(entry).collect())
        }
    };
    Node { at: At::default(), kind }
}

/// The tree of a YAML document.
pub(super) fn of_yaml(text: &str) -> Result<Node, Fault> {
    let start = At { line: 1, column: 1 };
    if text.len() > Spec::FILE_BYTES_MAX {
        return Err(Fault::new(start, "", "the file is larger than 1 MiB"));
    }
    match serde_yaml::from_str_with_options::<Spanned<Raw>>(text, options()) {
        Ok(root) => {
            let root = spelled(root, text);
            let at = if let Written::Nothing = root.kind { start } else { root.at };
            Ok(Node { at, ..root })
        }
        Err(error) => Err(malformed(&error, start)),
    }
}

/// Budgets far above what a service needs and far below what would be felt.
fn options() -> Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_events: 100_000,
            max_nodes: 50_000,
            max_depth: 16,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_merge_keys: 100,
            max_recorded_anchor_events: 100_000,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: 10_000,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: 1_000,
        },
        // The walk over the tree says it better.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
        emit_comments: false,
    }
}

/// The parser's complaint in our words, with a hint for the slips that everybody makes.
fn malformed(error: &serde_yaml::Error, start: At) -> Fault {
    let at = error.location().map_or(start, At::from);
    let said = error.render_with_formatter(&serde_yaml::UserMessageFormatter);
    if said.contains("too complex") || said.contains("recursion limit") {
        return Fault::new(at, "", "the YAML has too many parts, levels or repetitions");
    }
    let said = said.split(" at line ").next().unwrap_or_default();
    let said = said.replace(": `", " `").replace('\'', "`");
    let hint = HINTS.iter().find(|(about, _)| said.contains(about)).map(|(_, hint)| *hint);
    let fault = Fault::new(at, "", format!("malformed YAML: {said}"));
    fault.hint(hint.unwrap_or("each line is `key: value`, and every quote and bracket is closed"))
}

const HINTS: [(&str, &str); 8] = [
    ("unclosed quote", "close the quote"),
    ("unclosed bracket", "close the bracket"),
    (
        "mapping values are not allowed",
        "put a value with `: ` in it in quotes, or check the indentation",
    ),
    ("tabs disallowed", "indent with spaces"),
    ("simple key expected", "write `key: value`, with a space after the colon"),
    ("unexpected character", "put a value that starts with such a character in quotes"),
    ("reference to unknown value", "put a value that starts with `*` in quotes"),
    ("only single YAML document", "write one service per file"),
];

/// A node as the parser sees it: of numbers and flags it knows the place but not the spelling.
enum Raw {
    Nothing,
    Flag(bool),
    Number,
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

fn spelled(raw: Spanned<Raw>, text: &str) -> Node {
    let spelling = || {
        let span = raw.defined.span();
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let text = text.get(start..start + usize::try_from(span.byte_len()?).ok()?)?;
        Some(text.trim_matches(['"', '\'']).to_owned())
    };
    let kind = match raw.value {
        Raw::Nothing => Written::Nothing,
        Raw::Flag(it) => Written::Flag(spelling().unwrap_or_else(|| it.to_string())),
        Raw::Number => Written::Number(spelling().unwrap_or_default()),
        Raw::Text(it) => Written::Text(it),
        Raw::List(items) => Written::List(items.into_iter().map(|it| spelled(it, text)).collect()),
        Raw::Map(entries) => {
            let entry = |(key, value): (Spanned<String>, Spanned<Raw>)| Entry {
                at: key.referenced.into(),
                key: key.value,
                value: spelled(value, text),
            };
            Written::Map(entries.into_iter().map(entry).collect())
        }
    };
    Node { at: raw.referenced.into(), kind }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Raw, E> {
        Ok(Raw::Flag(it))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_str<E>(self, it: &str) -> Result<Raw, E> {
        Ok(Raw::Text(it.to_owned()))
    }

    fn visit_string<E>(self, it: String) -> Result<Raw, E> {
        Ok(Raw::Text(it))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
