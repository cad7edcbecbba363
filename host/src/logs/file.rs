//! The file that a service's lines are written into, and when it is closed for the next.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;

use super::line::Head;
use super::plan::Plan;
use super::segments::{self, CURRENT, Kind, open_plain};
use super::trails::Trail;
use crate::clock::wall_ns;

/// The log of one service, as it is written. The file is open only while there is something to write.
#[derive(Debug)]
pub(super) struct LogFile {
    trail: Arc<Trail>,
    open: Option<Box<Open>>,
}

/// A file that was moved away is written to for so long at most.
const SEEN_NS: i64 = 100_000_000;

/// How much of a file's end is searched for its last line.
const TAIL: usize = 128 * 1024;

#[derive(Debug)]
struct Open {
    file: File,
    /// How long it is; nobody else writes to it.
    len: u64,
    /// The time of its first line, and of its last; 0 while there is none.
    first_ns: i64,
    last_ns: i64,
    /// When it was looked at under its name.
    seen_ns: i64,
    /// The closed ones, oldest first, and the times of their last lines; 0 where nobody has looked.
    closed: VecDeque<(PathBuf, i64)>,
}

impl LogFile {
    pub(super) fn new(trail: Arc<Trail>) -> Self {
        Self { trail, open: None }
    }

    pub(super) fn trail(&self) -> &Arc<Trail> {
        &self.trail
    }

    /// Lets go of the file until the next line.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Makes the file ready for a line of this time, in a new one if it is time for that. Answers
    /// where in it the line begins.
    pub(super) fn prepare(&mut self, plan: &Plan, at_ns: i64, packer: &Packer) -> io::Result<u64> {
        self.open.take_if(|it| !it.is_there(&self.trail.dir, at_ns));
        let open = match self.open.take() {
            Some(it) => it,
            None => Box::new(Open::of(&self.trail, plan, packer)?),
        };
        let open = self.open.insert(open);
        if open.is_over(plan, at_ns)
            && let Err(error) = open.rotate(&self.trail, plan, packer)
        {
            self.open = None;
            return Err(error);
        }
        Ok(self.open.as_ref().map_or(0, |it| it.len))
    }

    /// Writes lines, the first and the last of these times, where [`prepare`](Self::prepare) said.
    /// Either all of them are in the file, or none.
    pub(super) fn write(&mut self, lines: &[u8], first_ns: i64, last_ns: i64) -> io::Result<()> {
        let open = self.open.as_mut().expect("it was prepared");
        if let Err(error) = open.file.write_all_at(lines, open.len) {
            // What is left of them would be written over, or has no newline.
            let _ = open.file.set_len(open.len);
            return Err(error);
        }
        if open.len == 0 {
            open.first_ns = first_ns;
        }
        open.last_ns = last_ns;
        open.len += lines.len() as u64;
        Ok(())
    }
}

impl Open {
    fn of(trail: &Trail, plan: &Plan, packer: &Packer) -> io::Result<Self> {
        let dir = &trail.dir;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let file = create(dir)?;
        // A server may have died before it came to that.
        segments::prune(dir, plan.keep)?;
        let closed = segments::list(dir)?;
        let plain = closed.iter().filter(|it| plan.compresses && it.kind == Kind::Plain);
        plain.for_each(|it| packer.pack(it.path.clone()));
        let closed = closed.into_iter().map(|it| (it.path, 0)).collect();
        let mut it = Self { file, len: 0, first_ns: 0, last_ns: 0, seen_ns: wall_ns(), closed };
        if !it.find_end()? {
            it.first_ns = wall_ns();
            it.rotate(trail, plan, packer)?;
        }
        Ok(it)
    }

    /// Whatever is there ends with a whole line: what a crash of the machine has left behind the last
    /// newline is written over. False when somebody else must have written its end.
    fn find_end(&mut self) -> io::Result<bool> {
        let mut block = vec![0; TAIL];
        let end = self.file.metadata()?.len();
        let from = end.saturating_sub(TAIL as u64);
        self.first_ns = self.head_at(0, &mut block)?.map_or(0, |it| it.at_ns);
        let count = self.file.read_at(&mut block, from)?;
        let Some(newline) = memchr::memrchr(b'\n', &block[..count]) else { return Ok(end == 0) };
        let mut lines = block[..newline].rsplit(|it| *it == b'\n');
        // A damaged line: the one before it will do.
        self.last_ns = lines.find_map(Head::parse).map_or(0, |it| it.0.at_ns);
        self.len = from + newline as u64 + 1;
        if self.last_ns > 0 && self.len < end {
            self.file.set_len(self.len)?;
        }
        Ok(self.last_ns > 0)
    }

    fn head_at(&self, at: u64, block: &mut [u8]) -> io::Result<Option<Head>> {
        let count = self.file.read_at(block, at)?;
        Ok(Head::parse(&block[..count]).map(|it| it.0))
    }

    /// Whether nobody has removed or cut it; and, now and then, whether it still has its name.
    fn is_there(&mut self, dir: &Path, at_ns: i64) -> bool {
        let Ok(mine) = self.file.metadata() else { return false };
        if mine.nlink() == 0 || mine.len() != self.len {
            return false;
        }
        if (at_ns - self.seen_ns).abs() < SEEN_NS {
            return true;
        }
        self.seen_ns = at_ns;
        let identity = |it: Metadata| (it.dev(), it.ino());
        fs::symlink_metadata(dir.join(CURRENT)).is_ok_and(|it| identity(it) == identity(mine))
    }

    /// A file's times increase, so when the clock was set back, another is begun as well.
    fn is_over(&self, plan: &Plan, at_ns: i64) -> bool {
        let age = at_ns - self.first_ns;
        let is_old = plan.rotate_age_ns > 0 && age >= plan.rotate_age_ns;
        self.len > 0 && (self.len >= plan.rotate_size || is_old || at_ns <= self.last_ns)
    }

    fn rotate(&mut self, trail: &Trail, plan: &Plan, packer: &Packer) -> io::Result<()> {
        let dir = &trail.dir;
        let closed = free_name(dir, self.first_ns);
        fs::rename(dir.join(CURRENT), &closed)?;
        self.closed.push_back((closed.clone(), self.last_ns));
        while self.closed.len() > plan.keep {
            let Some((path, end_ns)) = self.closed.pop_front() else { break };
            remove(&path);
            trail.removed(end_ns);
        }
        if plan.compresses {
            packer.pack(closed);
        }
        self.file = create(dir)?;
        (self.len, self.first_ns, self.last_ns) = (0, 0, 0);
        Ok(())
    }
}

fn create(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    open_plain(options, &dir.join(CURRENT))
}

/// Two files begin at the same time only when the clock was set back.
fn free_name(dir: &Path, first_ns: i64) -> PathBuf {
    let names = (first_ns..).map(|it| dir.join(segments::name_of(it)));
    let mut free = names.filter(|it| !it.exists() && !it.with_extension("log.zst").exists());
    free.next().expect("there are more names than files")
}

/// Removes a closed file, which may have been compressed meanwhile, or be gone. Whoever is just
/// compressing it looks for the plain one last.
fn remove(closed: &Path) {
    let text = closed.to_string_lossy();
    let plain = text.strip_suffix(".zst").unwrap_or(&text);
    for path in [plain.to_owned(), format!("{plain}.zst")] {
        // It has one of the two names.
        let _ = fs::remove_file(path);
    }
}

/// Compresses closed files, one after the other, on a thread that starts when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Packer {
    queue: std::cell::OnceCell<Option<Sender<PathBuf>>>,
}

impl Packer {
    fn pack(&self, path: PathBuf) {
        let start = || {
            let (queue, paths) = mpsc::channel::<PathBuf>();
            let pack = move || {
                for path in paths {
                    // A file that is gone, or a full disk: it stays as it is.
                    let _ = segments::compress(&path);
                }
            };
            thread::Builder::new().name("zstd".into()).spawn(pack).is_ok().then_some(queue)
        };
        // Without a thread nothing is compressed, and nothing is lost.
        self.queue.get_or_init(start).iter().for_each(|it| drop(it.send(path.clone())));
    }
}
