//! What is told of functions: all of them in short, or all that is known of one.

use std::collections::BTreeMap;

use zinit_host::words::{Word, sentence};

use super::cell::{Ink, painted};
use super::prose::{beside, drawn};
use super::text::{clean, fill, width};
use crate::highlight::highlighted;
use crate::shell::look::Look;

/// How wide signatures can be that have their sentence beside them.
fn signature_max(look: Look) -> usize {
    (look.width * 3 / 8).clamp(20, 48)
}

/// Functions by module: how each is written, and the first sentence on it.
pub(crate) fn functions(all: &[&Word], look: Look) -> String {
    let mut modules: BTreeMap<(usize, &str), Vec<&Word>> = BTreeMap::new();
    for it in all {
        modules.entry((rank(&it.module), &it.module)).or_default().push(it);
    }
    let modules = modules.into_iter().map(|((_, name), all)| module(name, all, look));
    modules.collect::<Vec<_>>().join("\n")
}

/// Where a module stands: what was defined here first, what everybody has last.
fn rank(module: &str) -> usize {
    let last = ["host", "rhai-fs", "rhai"].iter().position(|it| *it == library(module));
    let at = zinit_stdlib::SCRIPT.iter().position(|it| it.name() == module);
    match (at, last) {
        (Some(at), _) => 1 + at,
        (_, Some(at)) => 1_000 + at,
        _ => 0,
    }
}

/// The library that a module is of: `rhai` for `rhai/math`.
fn library(module: &str) -> &str {
    module.split('/').next().unwrap_or(module)
}

/// What a module is for, in a sentence.
fn purpose(module: &str) -> String {
    let bundled = zinit_stdlib::SCRIPT.iter().find(|it| it.name() == module);
    match (bundled, module) {
        (Some(it), _) => {
            let said = it.source.lines().map_while(|it| it.strip_prefix("//!"));
            sentence(&said.map(str::trim).collect::<Vec<_>>().join("\n"))
        }
        (_, "here") => "What was defined at this prompt.".to_owned(),
        (_, "host") => "What the other functions are made of, in Rust.".to_owned(),
        (_, "rhai-fs") => "Files and paths, in Rust.".to_owned(),
        (_, "rhai") => "The standard library of Rhai, in Rust.".to_owned(),
        (_, other) => match other.strip_prefix("rhai/") {
            Some(part) => format!("The standard library of Rhai: {part}."),
            None => String::new(),
        },
    }
}

fn module(name: &str, mut all: Vec<&Word>, look: Look) -> String {
    let purpose = purpose(name);
    let mut out = painted(&clean(name, look), Ink::Head, look.paint);
    if !purpose.is_empty() {
        out += &beside(&purpose, width(name), width(name) + 2, look);
    }
    out.push('\n');
    all.sort_by_key(|it| (it.of.clone(), it.name.clone(), it.params.len()));
    let widths = all.iter().map(|it| width(&it.signature()));
    let most = signature_max(look);
    let wide = widths.filter(|it| *it <= most).max().unwrap_or(most);
    let mut before = None;
    for it in all {
        let signature = clean(&it.signature(), look);
        out += &fill(0, 2);
        out += &highlighted(&signature, look.paint);
        let said = sentence(&it.doc);
        // What is said of several at once is said at the first one.
        let this = (it.of.clone(), it.name.clone(), said.clone());
        if !said.is_empty() && before.as_ref() != Some(&this) {
            out += &beside(&said, 2 + width(&signature), 2 + wide + 2, look);
        }
        before = Some(this);
        out.push('\n');
    }
    out
}

/// All that is said of functions.
pub(crate) fn doc(all: &[&Word], look: Look) -> String {
    let mut out: Vec<(String, String)> = Vec::new();
    for it in all {
        let head = highlighted(&clean(&it.signature(), look), look.paint);
        let place = painted(&format!("  {}", place(it)), Ink::Faint, look.paint);
        let head = format!("{head}{place}\n");
        // Those of which the same is said stand above it together.
        match out.iter_mut().find(|(_, doc)| *doc == it.doc) {
            Some((heads, _)) => heads.push_str(&head),
            None => out.push((head, it.doc.clone())),
        }
    }
    let text = |(heads, doc): (String, String)| match drawn(&doc, 2, look) {
        said if said.is_empty() => heads,
        said => format!("{heads}\n{said}"),
    };
    out.into_iter().map(text).collect::<Vec<_>>().join("\n")
}

/// Where a function is from.
fn place(it: &Word) -> String {
    match it.module.as_str() {
        "here" => "defined here".to_owned(),
        "host" => "in Rust".to_owned(),
        module => format!("of {module}"),
    }
}
