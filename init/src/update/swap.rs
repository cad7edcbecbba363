//! Puts new programs in the place of old ones, and back.
//!
//! A program is replaced by a rename, so it is always there and whole; the one before stays as
//! `NAME.old`. What is under way is written down first (`.zinit-update.json`), so that whoever comes after
//! a crash knows which programs belong together:
//!
//! | found | then |
//! |---|---|
//! | no record | what was fetched aside is thrown away |
//! | a record, not all programs are new | the new ones are taken back |
//! | a record, all programs are new | it goes on with the server |

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use semver::Version;
use serde::{Deserialize, Serialize};

use super::file;
use super::installed::PROGRAMS;
use super::refusal::{Kind, Refusal, plainly};

/// The name of the record.
const RECORD: &str = ".zinit-update.json";

/// What is put in place, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: Version,
    /// What was there before, for people.
    pub(crate) previous: String,
    /// The SHA-256 of the release's manifest.
    pub(crate) manifest: String,
    pub(crate) programs: Vec<Program>,
}

/// A program that is put in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) sha256: String,
}

/// Programs that are being put in place in a directory.
#[derive(Debug)]
pub(crate) struct Swap {
    dir: PathBuf,
    pub(crate) record: Record,
}

/// What somebody who did not come to an end has left.
#[derive(Debug)]
pub(crate) enum Left {
    /// Nothing that matters.
    Nothing,
    /// Some programs were new, and are old again.
    Undone(Record),
    /// All programs are new; nobody has watched what becomes of it.
    Whole(Swap),
}

/// Where a new program waits for its turn.
pub(crate) fn new_of(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!(".{name}.new"))
}

/// Where the program before stays.
pub(crate) fn old_of(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.old"))
}

/// Finds what a crash has left, and tidies up.
pub(crate) fn tidy(dir: &Path) -> Result<Left, Refusal> {
    let path = dir.join(RECORD);
    let left = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Left::Nothing,
        Err(error) => return Err(Refusal::storage("read", &path, &error)),
        Ok(bytes) => {
            let record = serde_json::from_slice(&bytes).map_err(|error| {
                let message = format!("cannot read `{}`: {error}", path.display());
                Refusal::new(Kind::Storage, message)
            })?;
            let swap = Swap { dir: dir.to_owned(), record };
            if swap.is_whole() {
                return Ok(Left::Whole(swap));
            }
            swap.undo()?;
            Left::Undone(swap.record)
        }
    };
    discard(dir);
    Ok(left)
}

/// Throws away what was fetched and not put in place.
pub(crate) fn discard(dir: &Path) {
    for name in PROGRAMS {
        let _ = fs::remove_file(new_of(dir, name));
        let _ = fs::remove_file(link_of(dir, name));
    }
}

impl Swap {
    /// Writes down what is about to happen.
    pub(crate) fn begin(dir: &Path, record: Record) -> Result<Self, Refusal> {
        let bytes = serde_json::to_vec(&record).expect("a record can be written as JSON");
        file::replace(&dir.join(RECORD), &bytes, 0o644)?;
        Ok(Self { dir: dir.to_owned(), record })
    }

    /// Puts all new programs in place, or none.
    pub(crate) fn put(&self) -> Result<(), Refusal> {
        let put = self.record.programs.iter().try_for_each(|it| {
            let names = |error| (it.name.as_str(), error);
            self.keep(&it.name).and_then(|()| self.replace(&it.name)).map_err(names)
        });
        let Err((name, error)) = put else { return self.sync() };
        self.undo()?;
        let message = format!("cannot put the new `{name}` in place: {}", plainly(&error));
        Err(Refusal::new(Kind::Storage, message).hint("nothing was changed"))
    }

    /// Keeps the program that is in place as `NAME.old`.
    fn keep(&self, name: &str) -> io::Result<()> {
        let (program, link) = (self.dir.join(name), link_of(&self.dir, name));
        file::remove(&link)?;
        if fs::hard_link(&program, &link).is_err() {
            // Not every file system has links.
            fs::copy(&program, &link)?;
            fs::File::open(&link)?.sync_all()?;
        }
        fs::rename(&link, old_of(&self.dir, name))?;
        // Two names of one file do not become one by a rename.
        file::remove(&link)
    }

    fn replace(&self, name: &str) -> io::Result<()> {
        fs::rename(new_of(&self.dir, name), self.dir.join(name))
    }

    /// Puts the old programs back, as far as new ones are in place, and ends the record.
    pub(crate) fn undo(&self) -> Result<(), Refusal> {
        for it in self.record.programs.iter().rev().filter(|it| self.is_new(it)) {
            let (old, program) = (old_of(&self.dir, &it.name), self.dir.join(&it.name));
            fs::rename(&old, &program)
                .map_err(|error| Refusal::storage("bring back", &program, &error))?;
        }
        self.sync()?;
        self.end()
    }

    /// Ends the record: what is in place is to stay.
    pub(crate) fn end(&self) -> Result<(), Refusal> {
        let path = self.dir.join(RECORD);
        file::remove(&path).map_err(|error| Refusal::storage("remove", &path, &error))?;
        discard(&self.dir);
        self.sync()
    }

    fn is_whole(&self) -> bool {
        self.record.programs.iter().all(|it| self.is_new(it))
    }

    fn is_new(&self, program: &Program) -> bool {
        let found = file::sha256_of(&self.dir.join(&program.name));
        found.is_ok_and(|(sha256, _)| sha256.eq_ignore_ascii_case(&program.sha256))
    }

    fn sync(&self) -> Result<(), Refusal> {
        file::sync_dir(&self.dir).map_err(|error| Refusal::storage("write", &self.dir, &error))
    }
}

/// The name by which a program becomes `NAME.old`.
fn link_of(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!(".{name}.keep"))
}

#[cfg(test)]
mod tests;
