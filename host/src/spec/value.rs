//! What single values may be: each function takes a node and the key that it belongs to.

use super::duration;
use super::node::{At, Entry, Fault, Node, Written};
use crate::name::ServiceName;

pub(super) fn name(at: At, text: String, key: &str) -> Result<ServiceName, Fault> {
    ServiceName::parse(&text).map_err(|bad| Fault::new(at, key, format!("in `{key}`: {bad}")))
}

pub(super) fn command(at: At, line: String, key: &str) -> Result<String, Fault> {
    if line.trim().is_empty() {
        return Err(Fault::new(at, key, format!("a command of `{key}` is empty")));
    }
    Ok(line)
}

pub(super) fn host_port(at: At, text: String, key: &str) -> Result<String, Fault> {
    let sound = |(host, port): (&str, &str)| {
        let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
        let plain = !host.is_empty()
            && !host.contains(|it: char| it.is_whitespace() || "/[]:".contains(it));
        (bracketed || plain) && port.parse::<u16>().is_ok_and(|it| it > 0) && !port.starts_with('+')
    };
    if text.rsplit_once(':').is_some_and(sound) {
        return Ok(text);
    }
    Err(Fault::new(at, key, format!("`{key}` must be `host:port`, not `{text}`"))
        .hint("for example `localhost:5432`"))
}

/// A URL; one without scheme is http, as curl has it.
pub(super) fn url(at: At, text: String, key: &str) -> Result<String, Fault> {
    let full = if text.contains("://") { text.clone() } else { format!("http://{text}") };
    let rest = full.strip_prefix("http://").or_else(|| full.strip_prefix("https://"));
    if rest
        .is_none_or(|it| it.is_empty() || it.starts_with('/') || it.contains(char::is_whitespace))
    {
        return Err(Fault::new(
            at,
            key,
            format!("`{key}` must be an http or https URL, not `{text}`"),
        )
        .hint("for example `http://localhost:8080/`"));
    }
    Ok(full)
}

/// A socket's path (what starts with `/` or `unix:`, or has `.sock` in it) or `host:port`.
pub(super) fn address(at: At, text: String, key: &str) -> Result<String, Fault> {
    let bare = text.strip_prefix("tcp://").unwrap_or(&text);
    let unix = bare.starts_with('/') || bare.starts_with("unix:") || bare.contains(".sock");
    if !unix && !text.is_empty() {
        host_port(at, bare.to_owned(), key)?;
    }
    Ok(text)
}

pub(super) fn retry(node: Node, key: &str) -> Result<i64, Fault> {
    let at = node.at;
    let text = text(node, key)?;
    text.parse().ok().filter(|it| (0..=1_000_000).contains(it)).ok_or_else(|| {
        Fault::new(at, key, format!("`{key}` must be a whole number up to 1000000, not `{text}`"))
    })
}

pub(super) fn period(node: Node, key: &str) -> Result<i64, Fault> {
    let at = node.at;
    let text = text(node, key)?;
    duration::parse(&text).map_err(|why| {
        Fault::new(at, key, format!("`{key}` must be a duration, and `{text}` is not: {why}"))
            .hint("a number is seconds; or write `200ms`, `10s`, `5m`, `1h`, `2d`")
    })
}

/// One of these words.
pub(super) fn word<T: Copy>(
    words: &[(&'static str, T)],
) -> impl Fn(Node, &str) -> Result<T, Fault> {
    |node, key| {
        let at = node.at;
        let text = text(node, key)?;
        if let Some((_, it)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*it);
        }
        let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        Err(Fault::new(at, key, format!("`{key}` cannot be `{text}`"))
            .hint(format!("it can be {}", known.join(", "))))
    }
}

pub(super) fn flag(node: Node, key: &str) -> Result<bool, Fault> {
    match &node.kind {
        Written::Flag(it) => Ok(it.eq_ignore_ascii_case("true")),
        other => {
            let said = match other {
                Written::Text(it) | Written::Number(it) => format!("`{it}`"),
                _ => other.kind().to_owned(),
            };
            Err(Fault::new(node.at, key, format!("`{key}` must be `true` or `false`, not {said}")))
        }
    }
}

/// A scalar as it is spelled.
pub(super) fn text(node: Node, key: &str) -> Result<String, Fault> {
    let text = match node.kind {
        Written::Text(it) | Written::Number(it) | Written::Flag(it) => it,
        other => {
            return Err(Fault::new(
                node.at,
                key,
                format!("`{key}` must be text, not {}", other.kind()),
            ));
        }
    };
    if text.contains('\0') {
        return Err(Fault::new(node.at, key, format!("`{key}` has a NUL byte in it")));
    }
    Ok(text)
}

/// A list of such values, or a single one.
pub(super) fn each<T>(
    parse: impl Fn(At, String, &str) -> Result<T, Fault>,
) -> impl Fn(Node, &str) -> Result<Vec<T>, Fault> {
    move |node, key| texts(node, key)?.into_iter().map(|(at, it)| parse(at, it, key)).collect()
}

/// A list of scalars, or a single one.
pub(super) fn texts(node: Node, key: &str) -> Result<Vec<(At, String)>, Fault> {
    let items = match node.kind {
        Written::List(items) => items,
        _ => vec![node],
    };
    items.into_iter().map(|it| Ok((it.at, text(it, key)?))).collect()
}

pub(super) fn entries(node: Node, key: &str, hint: &str) -> Result<Vec<Entry>, Fault> {
    match node.kind {
        Written::Map(entries) => Ok(entries),
        Written::Nothing => Ok(Vec::new()),
        other => {
            let key = key.trim_end_matches('.');
            let what = format!("`{key}` must be a map, not {}", other.kind());
            Err(Fault::new(node.at, key, what).hint(hint))
        }
    }
}
