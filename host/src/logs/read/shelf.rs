//! What a log's directory holds at one moment, while somebody writes there.
//!
//! Nothing is missed because of the order: `current.log` is opened first, and only then the closed
//! segments are listed. If it was closed in between, it is seen twice, as the open file and by its
//! new name, and lines that come twice count once. What was begun after that is later than all that
//! anybody asks for. A segment that has been compressed since is there under its other name; one
//! that is there under neither was the oldest and is not kept any more.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use memchr::memrchr;

use super::blocks::{BLOCK, first_ns, last_ns};
use super::frames::Frames;
use super::plain::read_at;
use crate::logs::segments::{self, CURRENT, Kind, Segment};

/// The files of a log by the time of their first lines.
#[derive(Debug)]
pub(super) struct Shelf(Vec<Piece>);

/// A file of a log.
#[derive(Debug)]
struct Piece {
    start_ns: i64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Closed(Segment),
    Current(File),
}

/// A file of a log that is open.
#[derive(Debug)]
pub(super) enum Open {
    /// Text.
    Plain(File),
    /// Compressed text.
    Zstd(Frames),
}

/// How much of `current.log` is read to see when it begins.
const BEGIN: usize = 4096;

/// The time of a file's change comes from a clock that is coarser than that of its lines.
const COARSE: Duration = Duration::from_secs(1);

impl Shelf {
    /// Looks at what there is now.
    pub(super) fn look(dir: &Path) -> io::Result<Self> {
        let mut begin = [0; BEGIN];
        let current = open(&dir.join(CURRENT))?;
        let closed = segments::list(dir)?.into_iter();
        let place = |it: Segment| Piece { start_ns: it.start_ns, place: Place::Closed(it) };
        let mut pieces: Vec<Piece> = closed.map(place).collect();
        if let Some(file) = current {
            let last_ns = pieces.last().map_or(0, |it| it.start_ns);
            let start_ns = match read_at(&file, &mut begin, 0)? {
                0 => return Ok(Self(pieces)),
                read => first_ns(&begin[..read]).unwrap_or(last_ns),
            };
            pieces.push(Piece { start_ns, place: Place::Current(file) });
            // It is the last one unless the clock was set back.
            pieces.sort_by_key(|it| it.start_ns);
        }
        Ok(Self(pieces))
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The time of a file's first line, or the end of time where there is no such file.
    pub(super) fn start_ns(&self, index: usize) -> i64 {
        self.0.get(index).map_or(i64::MAX, |it| it.start_ns)
    }

    /// Whether a file may have lines that are later than this. Usually it ends before the next one
    /// begins. If the clock was set back between them it does not, but then it was written later.
    pub(super) fn has_after(&self, index: usize, at_ns: i64) -> bool {
        let piece = &self.0[index];
        self.start_ns(index + 1) > at_ns
            || piece.was_changed_after(at_ns) && piece.ends_after(at_ns).unwrap_or(true)
    }

    /// Opens a file; `None` when it is gone.
    pub(super) fn open(&self, index: usize) -> io::Result<Option<Open>> {
        let segment = match &self.0[index].place {
            Place::Current(file) => return Ok(Some(Open::Plain(file.try_clone()?))),
            Place::Closed(segment) => segment,
        };
        if segment.kind == Kind::Plain
            && let Some(file) = open(&segment.path)?
        {
            return Ok(Some(Open::Plain(file)));
        }
        let path = segment.path.with_extension(match segment.kind {
            Kind::Plain => "log.zst",
            Kind::Zstd => "zst",
        });
        let Some(file) = open(&path)? else { return Ok(None) };
        Ok(Some(Open::Zstd(Frames::walk(file)?)))
    }
}

impl Piece {
    /// Files that were copied have all been changed late, so it is looked at cheaply what they say.
    fn ends_after(&self, at_ns: i64) -> io::Result<bool> {
        let Place::Closed(segment) = &self.place else { return Ok(true) };
        let file = segments::open_plain(OpenOptions::new().read(true), &segment.path)?;
        let end_ns = match segment.kind {
            Kind::Plain => end_of_text(&file)?,
            Kind::Zstd => segments::end_of(&file)?,
        };
        Ok(end_ns.is_none_or(|it| it > at_ns))
    }

    fn was_changed_after(&self, at_ns: i64) -> bool {
        let facts = match &self.place {
            Place::Closed(segment) => fs::metadata(&segment.path),
            Place::Current(file) => file.metadata(),
        };
        let Ok(at_ns) = u64::try_from(at_ns) else { return true };
        let at = UNIX_EPOCH + Duration::from_nanos(at_ns);
        // One that has just been renamed is looked at.
        facts.and_then(|it: Metadata| it.modified()).map_or(true, |it| it + COARSE > at)
    }
}

/// The time of the last line of a text, unless that is far from its end.
fn end_of_text(file: &File) -> io::Result<Option<i64>> {
    let size = file.metadata()?.len();
    let mut end = vec![0; BLOCK];
    let read = read_at(file, &mut end, size.saturating_sub(BLOCK as u64))?;
    let whole = memrchr(b'\n', &end[..read]).map_or(0, |it| it + 1);
    Ok(last_ns(&end[..whole]))
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match segments::open_plain(OpenOptions::new().read(true), path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}
