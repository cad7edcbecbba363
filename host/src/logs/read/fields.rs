//! Fields of lines: those of a JSON object, or of a logfmt line such as
//! `level=error msg="no route" code=7`. Other lines have none.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use memchr::memchr;
use memchr::memmem::Finder;
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What a field must be, or must not be.
#[derive(Clone, Debug)]
pub struct Where {
    key: String,
    value: String,
    is_equal: bool,
    /// What must occur in a line of which this holds, unless it has escapes.
    clue: Finder<'static>,
}

impl Where {
    /// Reads `KEY=VALUE` or `KEY!=VALUE`. The key of a field within another is `OUTER.INNER`. What
    /// is no string is compared as it stands: `code=7`, `ok=true`.
    ///
    /// # Errors
    /// What is wrong with the text, as half a sentence.
    ///
    /// ```
    /// use zinit_host::logs::read::Where;
    /// let level = Where::parse("level=error").expect("it is one");
    /// assert!(level.holds(br#"{"level": "error", "code": 7}"#));
    /// assert!(level.holds(b"level=error msg=\"no route\""));
    /// assert!(!level.holds(b"an error"));
    /// ```
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(format!("`{text}` has no `=` between a field and its value"));
        };
        let (key, is_equal) = key.strip_suffix('!').map_or((key, true), |it| (it, false));
        if key.is_empty() {
            return Err(format!("`{text}` names no field before its `=`"));
        }
        if key.contains(|it: char| it.is_whitespace() || it == '"') {
            return Err(format!("`{key}` is no name of a field"));
        }
        let clue = if is_equal { value } else { key.rsplit('.').next().unwrap_or(key) };
        let clue = Finder::new(clue).into_owned();
        Ok(Self { key: key.into(), value: value.into(), is_equal, clue })
    }

    /// Whether it holds for the text of a line. It does not if the line has no such field.
    pub fn holds(&self, text: &[u8]) -> bool {
        if self.clue.find(text).is_none() && memchr(b'\\', text).is_none() {
            return false;
        }
        let is_value = |it: Cow<'_, str>| (it == self.value) == self.is_equal;
        let Ok(text) = std::str::from_utf8(text) else { return false };
        match text.trim_start().starts_with('{') {
            true => json(text, &self.key).is_some_and(is_value),
            false => logfmt(text, &self.key).is_some_and(is_value),
        }
    }
}

impl FromStr for Where {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// A field of a JSON object: a string as what it means, anything else but objects and lists as it
/// stands.
fn json<'a>(text: &'a str, path: &str) -> Option<Cow<'a, str>> {
    if let Some(value) = member(text, path) {
        let raw = value.get();
        return match raw.as_bytes().first()? {
            b'"' => serde_json::from_str::<Text<'_>>(raw).ok().map(|it| it.0),
            b'{' | b'[' => None,
            _ => Some(Cow::Borrowed(raw)),
        };
    }
    let (outer, inner) = path.split_once('.')?;
    json(member(text, outer)?.get(), inner)
}

/// The member of an object that has this name, the last one if there are several.
fn member<'a>(text: &'a str, name: &str) -> Option<&'a RawValue> {
    let mut json = serde_json::Deserializer::from_str(text);
    let found = Member(name).deserialize(&mut json).ok()?;
    json.end().ok()?;
    found
}

struct Member<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Text(key)) = map.next_key()? {
            if key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// A string of JSON, copied only if it has escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The value of a key in a logfmt line. The line begins with a pair; words alone may follow.
fn logfmt<'a>(text: &'a str, key: &str) -> Option<Cow<'a, str>> {
    let mut rest = text.trim_start();
    let mut is_first = true;
    while !rest.is_empty() {
        let end = rest.find(|it: char| it == '=' || it.is_whitespace()).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let value = behind.strip_prefix('=');
        if is_first && (value.is_none() || name.is_empty() || name.contains('"')) {
            return None;
        }
        is_first = false;
        let Some(value) = value else {
            rest = behind.trim_start();
            continue;
        };
        let (value, behind) = logfmt_value(value)?;
        if name == key {
            return Some(value);
        }
        rest = behind.trim_start();
    }
    None
}

/// The value at the beginning of a text, and what is behind it.
fn logfmt_value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Some((Cow::Borrowed(&text[..end]), &text[end..]));
    };
    let mut is_escaped = false;
    let end = quoted.find(|it| {
        let is_end = it == '"' && !is_escaped;
        is_escaped = it == '\\' && !is_escaped;
        is_end
    })?;
    let behind = &quoted[end + 1..];
    if !quoted[..end].contains('\\') {
        return Some((Cow::Borrowed(&quoted[..end]), behind));
    }
    // The escapes are those of JSON; what has others is taken as it stands.
    let value = serde_json::from_str(&text[..end + 2]).unwrap_or_else(|_| quoted[..end].to_owned());
    Some((Cow::Owned(value), behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(condition: &str, text: &str) -> bool {
        Where::parse(condition).unwrap().holds(text.as_bytes())
    }

    #[test]
    fn fields_of_json_objects_are_known() {
        let line = r#" {"level":"error","code":7.50,"ok":true,"at":{"line":3,"a.b":null},"log.x":"y","e":"\u00e4\"","level2":""}"#;
        for condition in [
            "level=error",
            "code=7.50",
            "ok=true",
            "at.line=3",
            "at.a.b=null",
            "log.x=y",
            "e=ä\"",
            "level2=",
            "level!=warn",
            "at.line!=4",
        ] {
            assert!(holds(condition, line), "{condition}");
        }
        for condition in [
            "level=erro",
            "code=7.5",
            "line=3",
            "at=3",
            "none=1",
            "none!=1",
            "level!=error",
            "at.x!=1",
        ] {
            assert!(!holds(condition, line), "{condition}");
        }
        for line in ["{\"level\":\"error\"", "[\"level\",\"error\"]", "{\"level\":\"error\"} x"] {
            assert!(!holds("level=error", line), "{line}");
        }
        assert!(holds("a=2", r#"{"a":1,"a":2}"#));
    }

    #[test]
    fn fields_of_logfmt_lines_are_known() {
        let line = r#"time=12:52 level=error alone msg="two \"words\"" path="C:\dir" empty= n=7"#;
        for condition in [
            "level=error",
            "msg=two \"words\"",
            "path=C:\\dir",
            "empty=",
            "n=7",
            "n!=8",
            "time=12:52",
        ] {
            assert!(holds(condition, line), "{condition}");
        }
        for condition in ["level=err", "alone=", "alone!=1", "words=1", "n!=7"] {
            assert!(!holds(condition, line), "{condition}");
        }
    }

    #[test]
    fn prose_has_no_fields() {
        for line in
            ["the level=error was here", "error", "", "=error", "\"a level=error", "level = error"]
        {
            assert!(!holds("level=error", line), "{line}");
            assert!(!holds("level!=warn", line), "{line}");
        }
        assert!(!Where::parse("level=error").unwrap().holds(b"level=error \xff"));
    }

    #[test]
    fn what_is_no_condition_is_named() {
        let why = |text| Where::parse(text).unwrap_err();
        assert_eq!(why("level"), "`level` has no `=` between a field and its value");
        assert_eq!(why("=error"), "`=error` names no field before its `=`");
        assert_eq!(why("!=error"), "`!=error` names no field before its `=`");
        assert_eq!(why("the level=1"), "`the level` is no name of a field");
    }
}
