//! What single values may be: each function takes a node and the key that it belongs to.

use super::node::{At, Entry, Fault, Node, Written};
use super::{duration, size};
use crate::address::Address;
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

/// A socket's path or `host:port`; none when the text is empty.
pub(super) fn address(node: Node, key: &str) -> Result<Option<Address>, Fault> {
    let at = node.at;
    let text = text(node, key)?;
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = Address::parse(&text).map(Some);
    parsed.map_err(|bad| Fault::new(at, key, format!("in `{key}`: {bad}")).hint(ADDRESSES))
}

/// Addresses, one of which may stand alone, each once.
pub(super) fn addresses(node: Node, key: &str) -> Result<Vec<Address>, Fault> {
    let parse = |at, text: String, key: &str| {
        let parsed = Address::parse(&text);
        parsed.map_err(|bad| Fault::new(at, key, format!("in `{key}`: {bad}")).hint(ADDRESSES))
    };
    let mut all: Vec<Address> = Vec::new();
    for it in each(parse)(node, key)? {
        if !all.contains(&it) {
            all.push(it);
        }
    }
    Ok(all)
}

/// What a socket that is passed on is called.
pub(super) fn fd_name(at: At, text: String, key: &str) -> Result<String, Fault> {
    let fine = |it: char| it.is_ascii_graphic() && it != ':';
    if (1..=255).contains(&text.len()) && text.chars().all(fine) {
        return Ok(text);
    }
    let what =
        format!("`{key}` must be at most 255 letters without blanks and colons, not `{text}`");
    Err(Fault::new(at, key, what))
}

const ADDRESSES: &str = "`127.0.0.1:8080`, `[::1]:8080`, or the path of a socket";

/// The name of a group of services.
pub(super) fn group(at: At, text: String, key: &str) -> Result<String, Fault> {
    match ServiceName::parse(&text) {
        Ok(_) => Ok(text),
        Err(bad) => {
            let what = bad.to_string().replace("no service name", "no group's name");
            Err(Fault::new(at, key, format!("in `{key}`: {what}")))
        }
    }
}

/// The name or number of a user or a group of users.
pub(super) fn who(at: At, text: String, key: &str) -> Result<String, Fault> {
    let strange = |it: char| it.is_whitespace() || it.is_control() || ":,/".contains(it);
    if text.is_empty() || text.starts_with('-') || text.contains(strange) {
        let what = format!("`{key}` must be a name or a number, not `{text}`");
        return Err(Fault::new(at, key, what));
    }
    Ok(text)
}

/// A path from the root; `-` before it is kept.
pub(super) fn env_file(at: At, path: String, key: &str) -> Result<String, Fault> {
    if path.strip_prefix('-').unwrap_or(&path).starts_with('/') {
        return Ok(path);
    }
    Err(Fault::new(at, key, format!("`{key}` must be a path that begins with `/`, not `{path}`"))
        .hint("a `-` before the path lets the file be missing"))
}

/// A path from the root, without detours.
pub(super) fn path(node: Node, key: &str) -> Result<String, Fault> {
    let at = node.at;
    let path = text(node, key)?;
    let what = match path.split('/').any(|it| it == "..") {
        true => format!("`{key}` must say the path itself, without `..`, not `{path}`"),
        false if path.starts_with('/') => return Ok(path),
        false => format!("`{key}` must be a path that begins with `/`, not `{path}`"),
    };
    Err(Fault::new(at, key, what))
}

/// A command line that can be split, as `exec` is.
pub(super) fn command_line(node: Node, key: &str) -> Result<String, Fault> {
    let at = node.at;
    let line = text(node, key)?;
    match split(&line, key) {
        Ok(_) => Ok(line),
        Err((what, hint)) => Err(Fault::new(at, key, what).hint(hint)),
    }
}

/// The words of a command line, or what is wrong with it and what to do.
pub(super) fn split(line: &str, key: &str) -> Result<Vec<String>, (String, String)> {
    let Some(argv) = shlex::split(line) else {
        // A lone backslash is content with a blank to escape, a quote is not.
        return Err(match shlex::split(&format!("{line} ")) {
            Some(_) => {
                (format!("`{key}` ends with a lone backslash"), "write `\\\\` for one".into())
            }
            None => (
                format!("the quotes of `{key}` are unbalanced: {line}"),
                "close the quote, or put a backslash before it".into(),
            ),
        });
    };
    match argv.first() {
        None => Err((format!("`{key}` is empty"), example(key))),
        Some(program) if program.is_empty() => Err((
            format!("`{key}` names no program"),
            "the first word is the program to run".into(),
        )),
        Some(_) => Ok(argv),
    }
}

/// A line that would do.
pub(super) fn example(key: &str) -> String {
    format!("write at least a line such as `{key}: sleep 100`")
}

/// A number of bytes, at least so many: less is a slip, and whoever writes `512` means MiB.
pub(super) fn size(node: Node, key: &str, least: u64) -> Result<u64, Fault> {
    let at = node.at;
    let text = text(node, key)?;
    let why = match size::parse(&text) {
        Ok(it) if it >= least => return Ok(it),
        Ok(_) => format!("it is less than {}", size::write(least)),
        Err(why) => why.to_owned(),
    };
    let what = format!("`{key}` must be a size, and `{text}` is not: {why}");
    Err(Fault::new(at, key, what).hint("a number is bytes; or write `64KiB`, `512MiB`, `1GiB`"))
}

/// A file mode mask.
pub(super) fn umask(node: Node, key: &str) -> Result<u32, Fault> {
    octal(node, key, "for example `\"0027\"`: nothing for others")
}

/// The permissions of a file.
pub(super) fn mode(node: Node, key: &str) -> Result<u32, Fault> {
    octal(node, key, "for example `\"0660\"`: its owner and group may connect")
}

/// Permissions in octal digits, whatever YAML takes them for.
fn octal(node: Node, key: &str, hint: &str) -> Result<u32, Fault> {
    let at = node.at;
    let text = text(node, key)?;
    let digits = text.strip_prefix("0o").unwrap_or(&text);
    let fine = (1..=4).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
    let mask = u32::from_str_radix(digits, 8).ok().filter(|it| fine && *it <= 0o777);
    mask.ok_or_else(|| {
        let what = format!("`{key}` must be octal digits from 0000 to 0777, not `{text}`");
        Fault::new(at, key, what).hint(hint)
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
