//! What stands in a log's directory beside `current.log`: the closed segments, plain or compressed.
//!
//! A segment is named by the time of its first line, so sorted by name they are in the order of
//! time. One that is compressed consists of zstd frames of at most 1 MiB of whole lines each; who
//! reads can begin at any of them. A skippable frame of 8 bytes at the end, which other tools pass
//! over, says the time of the last line.
//!
//! One thread at a time closes, compresses and prunes in a directory; any number read. At every
//! moment of a compression, also if it ends there, `X.log` or a whole `X.log.zst` exists.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::read::blocks::last_ns;
use super::stamp;

/// The file that is being written.
pub const CURRENT: &str = "current.log";

/// How much text a frame of a compressed segment holds at most.
pub const FRAME_TEXT_MAX: usize = 1024 * 1024;

/// A closed segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it is.
    pub path: PathBuf,
    /// The time of its first line, in nanoseconds since 1970, as its name says.
    pub start_ns: i64,
    /// Whether it is compressed.
    pub kind: Kind,
}

/// How a closed segment stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// As text, `.log`.
    Plain,
    /// As zstd frames, `.log.zst`.
    Zstd,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Plain, Self::Zstd];

    /// What the name ends with.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Plain => ".log",
            Self::Zstd => ".log.zst",
        }
    }
}

/// What a compression writes until it is complete.
const PART: &str = ".log.zst.part";

/// How the frame at the end begins: one of the magic numbers for frames to skip, and its length.
const LAST: [u8; 8] = [0x5A, 0x2A, 0x4D, 0x18, 8, 0, 0, 0];

/// How long that frame is.
const LAST_LEN: usize = 16;

/// How long the time in a name is: `20261123T125209.123456789Z`.
const STEM_LEN: usize = 26;

/// Which letters of a stamp a name has: all but `-` and `:`.
const STEM_OF_STAMP: [std::ops::Range<usize>; 5] = [0..4, 5..7, 8..13, 14..16, 17..30];

/// The name of the plain segment whose first line has this time.
///
/// ```
/// use zinit_host::logs::segments::{Kind, name_of, start_of};
/// assert_eq!(name_of(1_795_438_329_123_456_789), "20261123T125209.123456789Z.log");
/// let name = "20261123T125209.123456789Z.log.zst";
/// assert_eq!(start_of(name), Some((1_795_438_329_123_456_789, Kind::Zstd)));
/// ```
pub fn name_of(start_ns: i64) -> String {
    stem_of(start_ns) + Kind::Plain.suffix()
}

/// The time of the first line and the kind of the segment of this name; `None` for other names.
pub fn start_of(name: &str) -> Option<(i64, Kind)> {
    let (stem, suffix) = name.split_at_checked(STEM_LEN)?;
    let kind = Kind::ALL.into_iter().find(|it| it.suffix() == suffix)?;
    Some((start_of_stem(stem)?, kind))
}

/// The closed segments of a directory by time. Other files do not count, and a directory that does
/// not exist is empty. Where a compression was interrupted, the plain segment counts.
///
/// # Errors
/// When the directory cannot be read.
pub fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    // One look can miss a segment that is compressed meanwhile under both names: under the new one
    // because it was not there yet, and under the old one because it was there no more. The next
    // look sees the new one.
    let mut seen = look(dir)?;
    // In a directory that somebody else stirs all the time, what was seen last must do.
    for _ in 0..LOOKS_MAX {
        let again = look(dir)?;
        if std::mem::replace(&mut seen, again) == seen {
            break;
        }
    }
    Ok(seen.into_iter().map(|(start_ns, kind)| place(dir, start_ns, kind)).collect())
}

/// How often a directory is looked at until two looks agree.
const LOOKS_MAX: usize = 16;

/// Removes the oldest closed segments so that `keep` are left, and what interrupted compressions
/// of segments that are gone have left behind.
///
/// # Errors
/// When the directory cannot be read or a file not be removed.
pub fn prune(dir: &Path, keep: usize) -> io::Result<()> {
    let segments = list(dir)?;
    let (old, kept) = segments.split_at(segments.len().saturating_sub(keep));
    for segment in old {
        for suffix in [Kind::Plain.suffix(), Kind::Zstd.suffix(), PART] {
            remove(&dir.join(stem_of(segment.start_ns) + suffix))?;
        }
    }
    for start_ns in parts(dir)? {
        if !kept.iter().any(|it| it.start_ns == start_ns && it.kind == Kind::Plain) {
            remove(&dir.join(stem_of(start_ns) + PART))?;
        }
    }
    Ok(())
}

/// Puts `X.log.zst` in the place of the closed segment `X.log`, with the same permissions and time
/// of change. If it is interrupted, it can be repeated.
///
/// # Errors
/// When the path is not that of a plain segment, or a file cannot be read, written or removed; then
/// `X.log` is still there.
pub fn compress(path: &Path) -> io::Result<()> {
    let name = path.file_name().and_then(|it| it.to_str()).and_then(start_of);
    let Some((start_ns, Kind::Plain)) = name else {
        let why = format!("`{}` is no closed segment of a log", path.display());
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    };
    let part = path.with_file_name(stem_of(start_ns) + PART);
    if let Err(error) = write_frames(path, &part) {
        // What went wrong counts; what is left of it does not, and the next one overwrites it.
        let _ = remove(&part);
        return Err(error);
    }
    let packed = path.with_file_name(stem_of(start_ns) + Kind::Zstd.suffix());
    fs::rename(&part, &packed)?;
    match fs::remove_file(path) {
        // It was too old to be kept meanwhile, and so is this.
        Err(error) if error.kind() == ErrorKind::NotFound => remove(&packed),
        other => other,
    }
}

/// The time of the last line of a compressed segment, if it was compressed here.
pub(super) fn end_of(compressed: &File) -> io::Result<Option<i64>> {
    let Some(at) = compressed.metadata()?.len().checked_sub(LAST_LEN as u64) else {
        return Ok(None);
    };
    let mut frame = [0; LAST_LEN];
    compressed.read_exact_at(&mut frame, at)?;
    let (begin, end_ns) = frame.split_at(LAST.len());
    let end_ns = end_ns.try_into().map(i64::from_le_bytes);
    Ok(end_ns.ok().filter(|_| begin == LAST))
}

/// Opens a file in a directory that may be somebody else's: nothing but a plain file, which nobody can
/// make us wait for, and which no link leads away from.
pub(crate) fn open_plain(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = options.custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no plain file")) }
}

fn write_frames(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = open_plain(OpenOptions::new().read(true), from)?;
    let facts = from.metadata()?;
    let mut options = OpenOptions::new();
    let mut to = open_plain(options.write(true).create(true).truncate(true).mode(0o600), to)?;
    let mut compressor = Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    let mut text = vec![0; FRAME_TEXT_MAX];
    let mut filled = 0;
    let mut end_ns = None;
    loop {
        let read = from.read(&mut text[filled..])?;
        filled += read;
        if filled == 0 {
            break;
        }
        if read > 0 && filled < text.len() {
            continue;
        }
        // What is longer than a frame no server wrote; it goes over several.
        let lines = memchr::memrchr(b'\n', &text[..filled]).map_or(0, |it| it + 1);
        let whole = if read > 0 && lines > 0 { lines } else { filled };
        to.write_all(&compressor.compress(&text[..whole])?)?;
        end_ns = last_ns(&text[..lines]).or(end_ns);
        text.copy_within(whole..filled, 0);
        filled -= whole;
    }
    if let Some(end_ns) = end_ns {
        to.write_all(&LAST)?;
        to.write_all(&end_ns.to_le_bytes())?;
    }
    to.set_permissions(facts.permissions())?;
    to.set_modified(facts.modified()?)
}

fn look(dir: &Path) -> io::Result<BTreeMap<i64, Kind>> {
    let mut seen = BTreeMap::new();
    for name in names(dir)? {
        if let Some((start_ns, kind)) = start_of(&name) {
            seen.entry(start_ns).and_modify(|it: &mut Kind| *it = kind.min(*it)).or_insert(kind);
        }
    }
    Ok(seen)
}

fn place(dir: &Path, start_ns: i64, kind: Kind) -> Segment {
    Segment { path: dir.join(stem_of(start_ns) + kind.suffix()), start_ns, kind }
}

/// The starts of the segments whose compressions are not complete.
fn parts(dir: &Path) -> io::Result<Vec<i64>> {
    let start = |name: &String| start_of_stem(name.strip_suffix(PART)?);
    Ok(names(dir)?.iter().filter_map(start).collect())
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let name = |it: io::Result<fs::DirEntry>| it.map(|it| it.file_name().into_string().ok());
    entries.filter_map(|it| name(it).transpose()).collect()
}

fn stem_of(start_ns: i64) -> String {
    let mut text = [0; stamp::LEN];
    stamp::write(start_ns, &mut text);
    STEM_OF_STAMP.into_iter().flat_map(|it| &text[it]).map(|it| char::from(*it)).collect()
}

fn start_of_stem(stem: &str) -> Option<i64> {
    if stem.len() != STEM_LEN {
        return None;
    }
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let mut rest = stem.as_bytes();
    for range in STEM_OF_STAMP {
        let (now, later) = rest.split_at(range.len());
        text[range].copy_from_slice(now);
        rest = later;
    }
    // The 31st of February is no name either.
    stamp::parse(&text).filter(|it| stem_of(*it) == stem)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::read::tests::Dir;
    use super::*;

    const START: i64 = 1_795_438_329_123_456_789;

    fn kinds(dir: &Dir) -> Vec<(i64, Kind)> {
        list(&dir.0).unwrap().into_iter().map(|it| (it.start_ns, it.kind)).collect()
    }

    #[test]
    fn a_name_is_the_time_and_comes_back() {
        for start_ns in [0, 1, START, START + 1, 253_402_300_799_999_999_999_i128 as i64] {
            let start_ns = start_ns.max(0);
            assert_eq!(start_of(&name_of(start_ns)), Some((start_ns, Kind::Plain)));
        }
        for name in [
            "current.log",
            "20261123T125209.123456789Z.log.zst.part",
            "20260231T125209.123456789Z.log",
            "20261123T125209.12345678ZZ.log",
            "20261123T125209.123456789Z",
            "äääääääääääääääääää.log",
        ] {
            assert_eq!(start_of(name), None, "{name}");
        }
    }

    #[test]
    fn segments_are_listed_by_time_and_nothing_else_is() {
        let dir = Dir::new("list");
        assert_eq!(kinds(&dir), []);
        fs::remove_dir(&dir.0).unwrap();
        assert_eq!(kinds(&dir), []);
        fs::create_dir(&dir.0).unwrap();
        for name in ["current.log", "notes.txt", "20261123T125209.123456789Z.log.zst.part"] {
            fs::write(dir.0.join(name), "").unwrap();
        }
        for start_ns in [START + 9, START, START + 5] {
            fs::write(dir.0.join(name_of(start_ns)), "").unwrap();
        }
        fs::write(dir.0.join(name_of(START + 5) + ".zst"), "").unwrap();
        fs::write(dir.0.join(name_of(START + 7) + ".zst"), "").unwrap();
        let want = [
            (START, Kind::Plain),
            (START + 5, Kind::Plain),
            (START + 7, Kind::Zstd),
            (START + 9, Kind::Plain),
        ];
        assert_eq!(kinds(&dir), want);
    }

    #[test]
    fn what_is_compressed_says_the_same_and_to_the_same_people() {
        let dir = Dir::new("compress");
        let path = dir.0.join(name_of(START));
        let text: String = (0..90_000).map(|it| format!("line {it} is one of many\n")).collect();
        let text = text + "unfinished";
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let changed = fs::metadata(&path).unwrap().modified().unwrap();
        // What an interrupted one has left is in nobody's way.
        fs::write(dir.0.join(stem_of(START) + PART), "junk".repeat(1_000_000)).unwrap();
        compress(&path).unwrap();
        assert_eq!(kinds(&dir), [(START, Kind::Zstd)]);
        assert_eq!(names(&dir.0).unwrap().len(), 1);
        let path = list(&dir.0).unwrap().remove(0).path;
        let facts = fs::metadata(&path).unwrap();
        assert_eq!(facts.permissions().mode() & 0o777, 0o640);
        assert_eq!(facts.modified().unwrap(), changed);
        let whole = zstd::decode_all(File::open(&path).unwrap()).unwrap();
        assert!(whole == text.as_bytes());
        assert!(compress(&path).is_err());
        assert!(compress(&dir.0.join("current.log")).is_err());
    }

    #[test]
    fn a_compressed_segment_says_when_it_ends() {
        let dir = Dir::new("end");
        let path = dir.0.join(name_of(START));
        let line = "2026-11-23T12:52:09.000000007Z stdout F:1 text\n";
        for (text, end_ns) in [
            ([line, "damage\n", "2026-11-23T12:52:10.0"].concat(), Some(START - 123_456_782)),
            ([line, &"x".repeat(3_000_000)].concat(), Some(START - 123_456_782)),
            ("damage\n".into(), None),
        ] {
            fs::write(&path, &text).unwrap();
            compress(&path).unwrap();
            let file = File::open(dir.0.join(name_of(START) + ".zst")).unwrap();
            assert_eq!(end_of(&file).unwrap(), end_ns);
            assert!(zstd::decode_all(file).unwrap() == text.as_bytes());
        }
    }

    #[test]
    fn an_interrupted_compression_can_be_repeated_or_pruned() {
        let dir = Dir::new("mend");
        let path = dir.0.join(name_of(START));
        // It ended between its last two steps: both are there.
        fs::write(&path, "text\n").unwrap();
        compress(&path).unwrap();
        fs::write(&path, "text\n").unwrap();
        assert_eq!(kinds(&dir), [(START, Kind::Plain)]);
        compress(&path).unwrap();
        assert_eq!(kinds(&dir), [(START, Kind::Zstd)]);
        fs::write(&path, "text\n").unwrap();
        fs::write(dir.0.join(stem_of(START) + PART), "").unwrap();
        fs::write(dir.0.join(stem_of(START + 1) + PART), "").unwrap();
        prune(&dir.0, 1).unwrap();
        assert_eq!(names(&dir.0).unwrap().len(), 3);
        prune(&dir.0, 0).unwrap();
        assert_eq!(names(&dir.0).unwrap(), [""; 0]);
    }

    #[test]
    fn pruning_keeps_the_newest() {
        let dir = Dir::new("prune");
        (0..5).for_each(|it| fs::write(dir.0.join(name_of(START + it)), "").unwrap());
        fs::write(dir.0.join(CURRENT), "").unwrap();
        compress(&dir.0.join(name_of(START))).unwrap();
        prune(&dir.0, 9).unwrap();
        assert_eq!(kinds(&dir).len(), 5);
        prune(&dir.0, 2).unwrap();
        assert_eq!(kinds(&dir), [(START + 3, Kind::Plain), (START + 4, Kind::Plain)]);
        assert!(dir.0.join(CURRENT).exists());
    }
}
