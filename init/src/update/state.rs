//! What the updater is told and remembers: `cfg/zinit_latest.toml`.
//!
//! Its user writes `url` and `public_key`, the updater the rest; comments and what it does not know stay
//! as they are. A file that cannot be read is told with its line, and never overwritten.

use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use semver::Version;
use serde::{Deserialize, Serialize};
use toml_edit::{DocumentMut, Item};

use super::file::{self, Held};
use super::refusal::{Kind, Refusal};

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    /// The directory of releases.
    pub(crate) url: Option<String>,
    /// The key that they must be signed with.
    pub(crate) public_key: Option<String>,
    /// What was installed last, and what before that.
    pub(crate) version: Option<Version>,
    pub(crate) previous: Option<Version>,
    /// The release that did not do.
    pub(crate) failed: Option<Failed>,
    pub(crate) scripts: Vec<Tracked>,
}

/// A release that was tried and did not do. Who watches does not try it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) version: Version,
    /// The SHA-256 of its manifest.
    pub(crate) manifest: String,
    pub(crate) why: String,
}

/// A script that is kept as its publisher has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tracked {
    pub(crate) url: String,
    pub(crate) path: PathBuf,
    /// Of what is stored. Zinit 0.3.5 did not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    /// When that was stored, as RFC 3339 has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) when: Option<String>,
    /// It is trusted by its hash, so there can be no other.
    pub(crate) pinned: bool,
    /// When it was signed, in seconds since 1970: what was signed before that is not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signed: Option<i64>,
    /// It is stored, but there was no server yet to run it with.
    pub(crate) pending: bool,
    /// The SHA-256 of what came later and did not do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
}

/// The keys that the updater writes.
const WRITTEN: [&str; 4] = ["version", "previous", "failed", "scripts"];

impl State {
    /// What is remembered; nothing, if there is no file.
    pub(crate) fn load(path: &Path) -> Result<Self, Refusal> {
        let text = text(path)?;
        toml_edit::de::from_str(&text).map_err(|it| bad(path, &text, it.span(), it.message()))
    }

    /// Changes what is remembered, while nobody else does.
    pub(crate) fn change(path: &Path, alter: impl FnOnce(&mut Self)) -> Result<(), Refusal> {
        let dir = path.parent().expect("the file is in a directory");
        file::make_dir(dir, 0o700)?;
        let _held = Held::soon(dir)?;
        let mut state = Self::load(path)?;
        alter(&mut state);
        let text = text(path)?;
        let mut document: DocumentMut = text
            .parse()
            .map_err(|it: toml_edit::TomlError| bad(path, &text, it.span(), it.message()))?;
        state.write_into(&mut document);
        file::replace(path, document.to_string().as_bytes(), 0o600)
    }

    fn write_into(&self, document: &mut DocumentMut) {
        let written = toml_edit::ser::to_document(self).expect("all of it can be written as TOML");
        for key in WRITTEN {
            match written.get(key).cloned() {
                Some(item) if !is_empty(&item) => document[key] = apart(item),
                _ => drop(document.remove(key)),
            }
        }
    }
}

fn is_empty(item: &Item) -> bool {
    item.as_array().is_some_and(toml_edit::Array::is_empty)
}

/// The item with tables below headings of their own.
fn apart(item: Item) -> Item {
    if item.is_array() {
        item.into_array_of_tables().map_or_else(|it| it, Item::ArrayOfTables)
    } else if item.is_inline_table() {
        item.into_table().map_or_else(|it| it, Item::Table)
    } else {
        item
    }
}

fn text(path: &Path) -> Result<String, Refusal> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|error| Refusal::storage("read", path, &error)),
    }
}

fn bad(path: &Path, text: &str, span: Option<Range<usize>>, why: &str) -> Refusal {
    let before = span.and_then(|it| text.get(..it.start)).unwrap_or_default();
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
    let why = why.trim().replace('\n', ", ");
    let message = format!("cannot read `{}`:{line}:{column}: {why}", path.display());
    Refusal::new(Kind::BadState, message).hint("correct it; until then it is not overwritten")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(test: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("zinit-state-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir.join("cfg/zinit_latest.toml")
    }

    fn gone(path: &Path) {
        let _ = fs::remove_dir_all(path.ancestors().nth(2).expect("it is two levels deep"));
    }

    #[test]
    fn what_its_user_wrote_stays_and_what_is_remembered_comes_back() {
        let path = scratch("kept");
        assert_eq!(State::load(&path), Ok(State::default()));
        fs::create_dir_all(path.parent().expect("a directory")).expect("it can be made");
        let theirs =
            "# ours\nurl = \"http://a\" # there\nzinit_commit = \"abc\"\n\n[more]\nx = 1\n";
        fs::write(&path, theirs).expect("it can be written");

        let script =
            Tracked { url: "http://a/b.rhai".to_owned(), pinned: true, ..Tracked::default() };
        let failed =
            Failed { version: Version::new(1, 2, 4), manifest: "00".into(), why: "no".into() };
        let alter = |state: &mut State| {
            state.version = Some(Version::new(1, 2, 3));
            state.failed = Some(failed.clone());
            state.scripts.extend([script.clone(), script.clone()]);
        };
        State::change(&path, alter).expect("it can be changed");
        let state = State::load(&path).expect("it can be read");
        assert_eq!(state.url.as_deref(), Some("http://a"));
        assert_eq!(state.version, Some(Version::new(1, 2, 3)));
        assert_eq!((state.failed, state.scripts), (Some(failed), vec![script.clone(), script]));
        let text = fs::read_to_string(&path).expect("it can be read");
        assert!(text.starts_with(&theirs[..theirs.find("\n\n").expect("a gap")]), "{text}");
        assert!(text.contains("[more]\nx = 1\n") && text.contains("[[scripts]]\n"), "{text}");

        let forget = |state: &mut State| *state = State::default();
        State::change(&path, forget).expect("it can be changed");
        let text = fs::read_to_string(&path).expect("it can be read");
        assert_eq!(text, theirs);
        gone(&path);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_with_its_line_and_stays() {
        let path = scratch("bad");
        fs::create_dir_all(path.parent().expect("a directory")).expect("it can be made");
        let cases =
            [("url = \"a\"\npublic_key = RW\n", ":2:14: "), ("\nversion = \"new\"\n", ":2:11: ")];
        for (text, place) in cases {
            fs::write(&path, text).expect("it can be written");
            let no = State::load(&path).expect_err("it is no such file");
            assert!(no.kind == Kind::BadState && no.message.contains(place), "{no}");
            State::change(&path, |_| ()).expect_err("nor can it be changed");
            assert_eq!(fs::read_to_string(&path).expect("it can be read"), text);
        }
        gone(&path);
    }
}
