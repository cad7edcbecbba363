//! What the next server takes from the journal: the events that clients may still ask for, and the
//! policy that was in force.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::read::{self, Reader, Record};
use super::{CURRENT, dir_of, writer};
use crate::chronicle::{Chronicle, Entry};

/// How much of the segment that is being written is looked at.
const TAIL: u64 = 4 << 20;

/// How a line begins that tells of a change.
const CHANGE: &[u8] = b"{\"seq\":";

/// In how many segments a policy is looked for.
const SEGMENTS_LOOKED_AT: usize = 3;

/// The newest entries of the chronicle that were written down, oldest first.
pub(super) fn entries(dir: &Path) -> Vec<Entry> {
    let (mut found, is_whole) = tail(&dir.join(CURRENT)).unwrap_or((Vec::new(), true));
    if is_whole
        && found.len() < Chronicle::ENTRIES_MAX
        && let Some(newest) = writer::closed(dir).unwrap_or_default().pop()
    {
        let mut older = Vec::new();
        // What cannot be read is not told of.
        let _ = read::lines(&newest, |line| older.extend(entry(line)));
        older.append(&mut found);
        found = older;
    }
    found.split_off(found.len().saturating_sub(Chronicle::ENTRIES_MAX))
}

/// The entries at the end of a segment, and whether these are all of it: before them may be others.
fn tail(path: &Path) -> io::Result<(Vec<Entry>, bool)> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL)))?;
    let mut text = Vec::new();
    file.take(TAIL).read_to_end(&mut text)?;
    Ok((text.split(|it| *it == b'\n').filter_map(entry).collect(), len <= TAIL))
}

fn entry(line: &[u8]) -> Option<Entry> {
    line.starts_with(CHANGE).then(|| serde_json::from_slice(line).ok()).flatten()
}

/// The files of the policy that was in force last, each with its text, as the journal has them.
pub fn last_policy(state_dir: &Path) -> Option<Vec<(PathBuf, String)>> {
    let files = read::files(&dir_of(state_dir)).ok()?;
    files.iter().rev().take(SEGMENTS_LOOKED_AT).find_map(|it| policy_in(it))
}

fn policy_in(path: &Path) -> Option<Vec<(PathBuf, String)>> {
    let mut reader = Reader::default();
    let mut found = None;
    let read = read::lines(path, |line| {
        if read::is_of_policy(line)
            && let Some(Record::DecidedBy { sources, .. }) = reader.read(line)
        {
            found = Some(sources.files.clone());
        }
    });
    read.ok().and(found)
}
