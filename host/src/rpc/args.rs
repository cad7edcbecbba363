//! The parameters of a call, by position or by name, checked against what the method declares.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::methods::Method;
use super::picks::Picks;
use crate::action::parse_signal;
use crate::moment;
use crate::name::ServiceName;
use crate::refusal::{Kind as Refused, Refusal, nearest};

/// A declared parameter.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it must be.
    pub kind: Kind,
    /// What it is when left out, as JSON; `None` when it may not be left out.
    pub default: Option<&'static str>,
    /// What it means.
    pub doc: &'static str,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A service's name, a glob such as `web-*`, a group such as `@jobs`, or a list of those.
    Names,
    /// A whole number, not negative.
    Integer,
    /// A number of seconds, whole or not.
    Seconds,
    /// The same, or a duration such as `5m`.
    Period,
    /// true or false.
    Flag,
    /// An object.
    Object,
    /// The name or the number of a signal.
    Signal,
    /// A string, or a list of strings.
    Texts,
    /// A moment: as RFC 3339 has it, in milliseconds since 1970, or as a duration before now.
    Time,
}

impl Kind {
    /// The JSON Schema types.
    pub(super) fn types(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["string"],
            Self::Names => &["string", "array"],
            Self::Integer => &["integer"],
            Self::Seconds => &["number"],
            Self::Period => &["number", "string"],
            Self::Flag => &["boolean"],
            Self::Object => &["object"],
            Self::Signal | Self::Time => &["string", "integer"],
            Self::Texts => &["string", "array"],
        }
    }

    fn phrase(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Names => "a name, a glob, a `@group` or a list of those",
            Self::Integer => "a whole number, 0 or more",
            Self::Seconds => "a number of seconds, 0 or more",
            Self::Period => "a number of seconds, 0 or more, or a duration such as `5m`",
            Self::Flag => "true or false",
            Self::Object => "an object",
            Self::Signal => "the name or the number of a signal",
            Self::Texts => "a string or a list of strings",
            Self::Time => "a time: RFC 3339, milliseconds since 1970, or a duration such as `10m`",
        }
    }

    fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Names => match value {
                Value::Array(each) => !each.is_empty() && each.iter().all(Value::is_string),
                one => one.is_string(),
            },
            Self::Integer => value.is_u64(),
            Self::Seconds => value.as_f64().is_some_and(|it| it >= 0.0),
            Self::Period => value.is_string() || Self::Seconds.accepts(value),
            Self::Flag => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Signal => signal(value).is_some(),
            Self::Texts => match value {
                Value::Array(each) => each.iter().all(Value::is_string),
                one => one.is_string(),
            },
            Self::Time => value.is_string() || value.is_u64(),
        }
    }
}

impl Param {
    pub(super) const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, default: None, doc }
    }

    pub(super) const fn optional(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind, default: Some(default), doc }
    }

    /// As in `name` or `signal = "SIGTERM"`.
    pub(super) fn usage(&self) -> String {
        self.default.map_or_else(|| self.name.to_owned(), |it| format!("{} = {it}", self.name))
    }

    /// The value that this parameter has, given what the caller wrote.
    fn settle(&self, method: &str, given: Option<Value>) -> Result<Value, Refusal> {
        match (given, self.default) {
            (Some(value), _) if self.kind.accepts(&value) => Ok(value),
            (None | Some(Value::Null), Some(text)) => {
                Ok(serde_json::from_str(text).expect("defaults are JSON"))
            }
            (None, None) => Err(bad(method, format!("it needs `{}`", self.name))),
            (Some(_), _) => {
                let want = self.kind.phrase();
                Err(bad(method, format!("`{}` must be {want}", self.name)).with("param", self.name))
            }
        }
    }
}

/// Parameters that have been checked: one value for each that the method declares.
#[derive(Debug)]
pub(super) struct Args(Vec<Value>);

impl Args {
    const CHECKED: &str = "`bind` has checked its kind";

    /// Checks the parameters of a call and fills in the defaults.
    ///
    /// # Errors
    /// `bad_argument` that names the parameter.
    pub(super) fn bind(method: &Method, params: Option<&RawValue>) -> Result<Self, Refusal> {
        let given = match params {
            Some(text) => serde_json::from_str(text.get()).map_err(|error| {
                bad(method.name, format!("its parameters make no sense: {error}"))
            })?,
            None => Value::Null,
        };
        match given {
            Value::Null => Self::positional(method, Vec::new()),
            Value::Array(values) => Self::positional(method, values),
            Value::Object(values) => Self::named(method, values),
            _ => Err(bad(method.name, "its parameters must be an array or an object".into())),
        }
    }

    fn positional(method: &Method, values: Vec<Value>) -> Result<Self, Refusal> {
        let (declared, given) = (method.params.len(), values.len());
        if given > declared {
            let message = format!("it takes {declared} parameters, not {given}");
            return Err(bad(method.name, message));
        }
        let mut values = values.into_iter();
        let settled = method.params.iter().map(|it| it.settle(method.name, values.next()));
        settled.collect::<Result<_, _>>().map(Self)
    }

    fn named(method: &Method, mut values: Map<String, Value>) -> Result<Self, Refusal> {
        let take = |it: &Param| it.settle(method.name, values.remove(it.name));
        let settled = method.params.iter().map(take).collect::<Result<_, _>>()?;
        let Some(stranger) = values.keys().next() else { return Ok(Self(settled)) };
        let refusal = bad(method.name, format!("it has no parameter `{stranger}`"));
        Err(match nearest(stranger, method.params.iter().map(|it| it.name)) {
            Some(near) => refusal.hint(format!("did you mean `{near}`?")),
            None => refusal,
        })
    }

    /// Parameter `index`, a [`Kind::Text`].
    pub(super) fn text(&self, index: usize) -> &str {
        self.0[index].as_str().expect(Self::CHECKED)
    }

    /// Parameter `index`, a [`Kind::Text`] that is to be the name of a service.
    pub(super) fn name(&self, index: usize) -> Result<ServiceName, Refusal> {
        Ok(ServiceName::parse(self.text(index))?)
    }

    /// Parameter `index`, a [`Kind::Text`] that may be left out.
    pub(super) fn text_if_any(&self, index: usize) -> Option<&str> {
        self.0[index].as_str()
    }

    /// Parameter `index`, a [`Kind::Names`].
    pub(super) fn picks(&self, index: usize) -> Result<Picks, Refusal> {
        Picks::parse(&self.0[index])
    }

    /// Parameter `index`, a [`Kind::Names`] that may be left out.
    pub(super) fn picks_if_any(&self, index: usize) -> Result<Option<Picks>, Refusal> {
        let given = Some(&self.0[index]).filter(|it| !it.is_null());
        given.map(Picks::parse).transpose()
    }

    /// Parameter `index`, a [`Kind::Texts`] that may be left out.
    pub(super) fn texts(&self, index: usize) -> Vec<&str> {
        let value = &self.0[index];
        let each = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        each.iter().filter_map(Value::as_str).collect()
    }

    /// Parameter `index`, a [`Kind::Time`] that may be left out, in nanoseconds since 1970.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn time_if_any(&self, index: usize, now_ns: i64) -> Result<Option<i64>, String> {
        match &self.0[index] {
            Value::String(text) => moment::parse(text, now_ns).map(Some),
            other => Ok(other.as_i64().map(|it| it.saturating_mul(1_000_000))),
        }
    }

    /// Whether parameter `index` is one plain name, as clients of zinit 0.3.5 write it.
    pub(super) fn is_plain_name(&self, index: usize) -> bool {
        self.0[index].as_str().is_some_and(|it| ServiceName::parse(it).is_ok())
    }

    /// Parameter `index`, a [`Kind::Integer`].
    pub(super) fn count(&self, index: usize) -> usize {
        let count = self.0[index].as_u64().expect(Self::CHECKED);
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Parameter `index`, a [`Kind::Integer`] that may be left out.
    pub(super) fn count_if_any(&self, index: usize) -> Option<u64> {
        self.0[index].as_u64()
    }

    /// Parameter `index`, a [`Kind::Seconds`]; at most a hundred years.
    pub(super) fn seconds(&self, index: usize) -> Duration {
        const SECONDS_MAX: f64 = 100.0 * 366.0 * 86_400.0;
        let seconds = self.0[index].as_f64().expect(Self::CHECKED);
        Duration::from_secs_f64(seconds.min(SECONDS_MAX))
    }

    /// Parameter `index`, a [`Kind::Flag`].
    pub(super) fn flag(&self, index: usize) -> bool {
        self.0[index].as_bool().expect(Self::CHECKED)
    }

    /// Parameter `index`, a [`Kind::Signal`].
    pub(super) fn signal(&self, index: usize) -> Signal {
        signal(&self.0[index]).expect(Self::CHECKED)
    }

    /// Parameter `index` as it is.
    pub(super) fn value(&self, index: usize) -> &Value {
        &self.0[index]
    }
}

/// `15`, `"15"`, `"TERM"`, `"SIGTERM"` and `"sigterm"` are the same.
fn signal(value: &Value) -> Option<Signal> {
    match value {
        Value::String(text) => parse_signal(text),
        other => Signal::try_from(i32::try_from(other.as_i64()?).ok()?).ok(),
    }
}

fn bad(method: &str, why: String) -> Refusal {
    Refusal::new(Refused::BadArgument, format!("cannot call `{method}`: {why}"))
        .with("method", method)
}

#[cfg(test)]
mod tests {
    use super::super::methods::find;
    use super::*;

    fn bind(method: &str, params: &str) -> Result<Args, Refusal> {
        let params = RawValue::from_string(params.to_owned()).unwrap();
        Args::bind(find(method).unwrap(), Some(&params))
    }

    #[test]
    fn parameters_go_by_position_and_by_name() {
        for params in [r#"["web", "hup"]"#, r#"{"signal": 1, "name": "web"}"#] {
            let args = bind("service.kill", params).unwrap();
            assert_eq!((args.text(0), args.signal(1)), ("web", Signal::SIGHUP));
        }
        for params in [r#"["web"]"#, r#"{"name": "web"}"#, r#"["web", null]"#] {
            assert_eq!(bind("service.kill", params).unwrap().signal(1), Signal::SIGTERM);
        }
        assert_eq!(bind("service.wait", r#"["web", 0.5]"#).unwrap().seconds(1).as_millis(), 500);
        assert_eq!(bind("logs.tail", "null").unwrap().count(0), 50);
    }

    #[test]
    fn a_signal_has_many_spellings() {
        for text in ["15", "\"15\"", "\"TERM\"", "\"SIGTERM\"", "\"sigterm\""] {
            assert_eq!(signal(&serde_json::from_str(text).unwrap()), Some(Signal::SIGTERM));
        }
        for text in ["0", "99", "\"SIGNOPE\"", "1.5", "\"\"", "-15"] {
            assert_eq!(signal(&serde_json::from_str(text).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_in_a_sentence() {
        let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
        for (method, params, want) in [
            ("service.status", "[]", "cannot call `service.status`: it needs `name`"),
            ("service.status", "[7]", "cannot call `service.status`: `name` must be a string"),
            (
                "service.status",
                "[\"a\", 1]",
                "cannot call `service.status`: it takes 1 parameters, not 2",
            ),
            (
                "service.status",
                "\"a\"",
                "cannot call `service.status`: its parameters must be an array or an object",
            ),
            ("logs.tail", "[-1]", "cannot call `logs.tail`: `n` must be a whole number, 0 or more"),
            (
                "service.kill",
                "[\"a\", \"x\"]",
                "cannot call `service.kill`: `signal` must be the name or the number of a signal",
            ),
            (
                "service.status",
                &deep,
                "cannot call `service.status`: its parameters make no sense: recursion limit",
            ),
        ] {
            let refusal = bind(method, params).unwrap_err();
            assert_eq!(refusal.kind, Refused::BadArgument);
            assert!(refusal.message.starts_with(want), "{refusal}");
        }
        let refusal = bind("service.status", r#"{"name": "a", "nam": 1}"#).unwrap_err();
        assert_eq!(refusal.hint.as_deref(), Some("did you mean `name`?"));
    }
}
