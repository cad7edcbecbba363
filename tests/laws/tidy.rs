//! What every source file must keep to, as far as it is a fact. Taste is not tested, but given
//! something to look at: the longest functions and files are printed (`--no-capture` shows them).

use std::fs;
use std::path::{Path, PathBuf};

/// All that is visible at the top of the repository; what is a tool's is dotted.
const TOP: [&str; 11] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "host",
    "init",
    "repl",
    "rhaiexamples",
    "stdlib",
    "tests",
    "tui",
];

const LINES_MAX: usize = 500;

/// What is unfinished or left behind, written so that this file does not hold it.
const LEFTOVERS: [&str; 4] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("db", "g!("),
    concat!("#[ign", "ore"),
];

const SLEEPS: [&str; 2] = [concat!("thread::sl", "eep("), concat!("time::sl", "eep(")];

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ is in the root").to_owned()
}

/// A `.rs` or `.rhai` file of ours.
struct Source {
    /// Below the root.
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether only tests are in it.
    fn is_test(&self) -> bool {
        self.path.split('/').any(|it| it == "tests" || it == "tests.rs")
    }

    /// The name and the number of lines of each function that has a body: from its head to the brace
    /// that stands below the begin of its head, which is how `rustfmt` and we write it.
    fn functions(&self) -> Vec<(String, usize)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let named = |(first, head): (usize, &&str)| {
            let name = function_name(head)?;
            let opened = lines[first..].iter().find(|it| it.ends_with(['{', '}', ';']))?;
            let indent = head.len() - head.trim_start().len();
            let end = format!("{:indent$}}}", "");
            match opened.chars().last() {
                Some('{') => {
                    let last = lines[first..].iter().position(|it| **it == end)?;
                    Some((name.to_owned(), last + 1))
                }
                Some('}') => Some((name.to_owned(), 1)),
                _ => None,
            }
        };
        lines.iter().enumerate().filter_map(named).collect()
    }
}

/// The name of the function whose head begins in this line.
fn function_name(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("fn ")?;
    let words = ["pub", "const", "async", "unsafe", "private"];
    let is_word = |it: &str| words.contains(&it.split('(').next().unwrap_or(it));
    let is_head = before.split_whitespace().all(is_word);
    rest.split(['(', '<']).next().filter(|_| is_head)
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for name in TOP {
        collect(&root(), Path::new(name), &mut found);
    }
    assert!(found.len() > 100, "only {} sources were found", found.len());
    found
}

fn collect(root: &Path, path: &Path, found: &mut Vec<Source>) {
    let full = root.join(path);
    if full.is_dir() {
        let mut names: Vec<_> = fs::read_dir(&full)
            .expect("the sources are readable")
            .map(|it| it.expect("the sources are readable").file_name())
            .collect();
        names.sort();
        for name in names.iter().filter(|it| !hidden(it)) {
            collect(root, &path.join(name), found);
        }
    } else if path.extension().is_some_and(|it| it == "rs" || it == "rhai") {
        let text = fs::read_to_string(&full).expect("the sources are text");
        found.push(Source { path: path.display().to_string(), text });
    }
}

/// What is a tool's, or made by one.
fn hidden(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with('.') || name == "target"
}

/// Fails with every line in which a source that is asked about has one of these words.
fn none_has(what: &str, words: &[&str], asked: impl Fn(&Source) -> bool) {
    let mut found = Vec::new();
    for source in sources().iter().filter(|it| asked(it)) {
        for (number, line) in (1..).zip(source.text.lines()) {
            if words.iter().any(|it| line.contains(it)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn nothing_else_is_visible_at_the_top() {
    let listed = fs::read_dir(root()).expect("the root is readable");
    let names = listed.map(|it| it.expect("the root is readable").file_name());
    let strange: Vec<_> =
        names.filter(|it| !hidden(it) && !TOP.iter().any(|known| it == known)).collect();
    assert!(strange.is_empty(), "these belong elsewhere, or get a dot: {strange:?}");
}

#[test]
fn every_file_opens_with_its_purpose() {
    let opens = |it: &Source| {
        let mut lines = it.text.lines().skip_while(|line| line.starts_with("#!/"));
        lines.next().is_some_and(|line| line.strip_prefix("//! ").is_some_and(|it| it.len() > 8))
    };
    let bare: Vec<_> = sources().into_iter().filter(|it| !opens(it)).map(|it| it.path).collect();
    assert!(bare.is_empty(), "the first line of each must be `//! ` and what it is for: {bare:#?}");
}

#[test]
fn nothing_is_left_unfinished_or_switched_off() {
    none_has("unfinished or switched off", &LEFTOVERS, Source::is_rust);
}

#[test]
fn no_test_sleeps() {
    none_has("wait for what is tested, do not sleep for luck", &SLEEPS, Source::is_test);
}

#[test]
fn no_file_is_too_long_to_read() {
    let long = |it: &Source| it.text.lines().count() > LINES_MAX;
    let long: Vec<_> = sources().into_iter().filter(long).map(|it| it.path).collect();
    assert!(
        long.is_empty(),
        "more than {LINES_MAX} lines, so each is about several things: {long:#?}"
    );
}

#[test]
fn the_longest_are_shown() {
    let sources = sources();
    let files = sources.iter().map(|it| (it.text.lines().count(), it.path.clone()));
    let functions = sources.iter().flat_map(|source| {
        let place = |(name, lines)| (lines, format!("{}: {name}", source.path));
        source.functions().into_iter().map(place)
    });
    show("functions", functions.collect());
    show("files", files.collect());
}

/// Prints the ten longest.
fn show(what: &str, mut all: Vec<(usize, String)>) {
    assert!(all.len() > 100, "only {} {what} were found", all.len());
    all.sort_by(|one, other| other.cmp(one));
    let middle = all[all.len() / 2].0;
    println!("the longest of {} {what}, whose median is {middle} lines:", all.len());
    all.iter().take(10).for_each(|(lines, name)| println!("{lines:5}  {name}"));
}
