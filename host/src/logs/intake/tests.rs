//! A server that dies between any two stores, and the one after it.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use nix::unistd::{pipe, read};

use super::*;
use crate::logs::file::LogFile;
use crate::logs::line::{Head, Mark};
use crate::logs::plan::Plan;
use crate::logs::scribe::Scribe;
use crate::logs::segments;
use crate::logs::trails::Trail;
use crate::spec::Log;

thread_local! {
    /// After so many more stores this thread dies.
    static LIFE: Cell<u32> = const { Cell::new(u32::MAX) };
}

pub(in crate::logs) fn may_die() {
    let left = LIFE.get();
    if left == 0 {
        LIFE.set(u32::MAX);
        std::panic::resume_unwind(Box::new("dead"));
    }
    LIFE.set(left.saturating_sub(u32::from(left != u32::MAX)));
}

/// One service with one pipe, and servers that come and go.
struct World {
    dir: PathBuf,
    logs: PathBuf,
    plan: Plan,
    end: OwnedFd,
    writer: File,
}

impl World {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("zinit-intake-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let (end, writer) = pipe().unwrap();
        let log = Log { rotate_size: Some(300), keep: Some(1000), ..Log::default() };
        let (plan, logs) = (Plan::of(&log), dir.join("a"));
        Self { dir, logs, plan, end, writer: writer.into() }
    }

    /// A server that reads and writes until it dies, or nothing is left in the pipe: then true. In
    /// some, lines are dropped; the last ends the line that has begun.
    fn serve(&self, drops: bool, ends: bool) -> bool {
        let life = || {
            let (mut scribe, held) = Scribe::begin(Intake::open(&self.dir.join(".intake")).0);
            let mut file = LogFile::new(Arc::new(Trail::new(&self.logs, 0)));
            let mut berth = held.first().copied();
            loop {
                let available = available(&self.end);
                if available == 0 {
                    break;
                }
                let taken = berth
                    .or_else(|| scribe.intake.take(("a", &self.logs.to_string_lossy()), false, 1))
                    .unwrap();
                let room = scribe.intake.begin_reading(taken, available.min(100));
                let count = read(&self.end, room).unwrap();
                scribe.intake.end_reading(taken, count);
                if drops && available > 700 {
                    scribe.drop_lines(taken, &self.plan, false);
                }
                while scribe.write(taken, &mut file, &self.plan, false).unwrap().made.consumed > 0 {
                }
                berth = (!scribe.leave_if_empty(taken)).then_some(taken);
            }
            if let (Some(berth), true) = (berth, ends) {
                while scribe.write(berth, &mut file, &self.plan, true).unwrap().made.consumed > 0 {}
                scribe.leave_if_empty(berth);
            }
            scribe.intake.taken().is_empty()
        };
        catch_unwind(AssertUnwindSafe(life)).is_ok_and(|it| it)
    }

    /// The death was in the middle of the kernel's writing.
    fn tear(&self, cut: u64) {
        let (mut intake, _) = Intake::open(&self.dir.join(".intake"));
        for berth in intake.taken() {
            let (state, path) = (
                intake.state(berth),
                PathBuf::from(intake.text(berth, Text::Dir)).join(segments::CURRENT),
            );
            if let (true, Ok(file)) = (state.writing, File::options().write(true).open(path)) {
                let (length, offset) =
                    (file.metadata().unwrap().len(), intake.get(berth, Number::Offset));
                file.set_len(length - cut % (length - offset + 1)).unwrap();
            }
        }
    }

    fn lines(&self) -> Vec<(Head, String)> {
        let closed = segments::list(&self.logs).unwrap().into_iter().map(|it| it.path);
        let files = closed.chain([self.logs.join(segments::CURRENT)]);
        let mut text = String::new();
        for mut file in files.filter_map(|it| File::open(it).ok()) {
            file.read_to_string(&mut text).unwrap();
        }
        let parse = |line: &str| {
            let (head, text) = Head::parse(line.as_bytes()).expect("a line of ours");
            (head, String::from_utf8_lossy(text).into_owned())
        };
        text.lines().map(parse).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn available(end: &OwnedFd) -> usize {
    let mut count: nix::libc::c_int = 0;
    use std::os::fd::AsRawFd;
    // SAFETY: as in `tap.rs`.
    #[expect(unsafe_code, reason = "there is no other way to ask")]
    unsafe {
        nix::libc::ioctl(end.as_raw_fd(), nix::libc::FIONREAD, &raw mut count)
    };
    count.unsigned_abs() as usize
}

const COUNT: usize = 40;

fn text() -> String {
    (0..COUNT).map(|it| format!("line {it} {}\n", "x".repeat(it % 37))).collect::<String>() + "tail"
}

#[test]
fn wherever_servers_die_every_line_is_there_once_and_in_order() {
    let mut world = World::new("every");
    for first in 0.. {
        world.writer.write_all(text().as_bytes()).unwrap();
        LIFE.set(first);
        let mut survived = world.serve(false, true);
        let done = survived;
        // And again, a little later in the life of each further one.
        for next in 0.. {
            if survived {
                break;
            }
            world.tear(u64::from(first) * 7 + next);
            LIFE.set(if next < 3 {
                first / 2 + 11 * u32::try_from(next).unwrap()
            } else {
                u32::MAX
            });
            survived = world.serve(false, true);
        }
        LIFE.set(u32::MAX);
        let lines = world.lines();
        let texts: Vec<&str> = lines.iter().map(|it| it.1.as_str()).collect();
        assert!(texts.iter().copied().eq(text().lines()), "died after {first} stores: {texts:#?}");
        assert!(lines.is_sorted_by(|one, other| one.0.at_ns < other.0.at_ns), "{first}");
        fs::remove_dir_all(&world.logs).unwrap();
        if done {
            assert!(first > 100, "a server has many places to die at, not {first}");
            return;
        }
    }
}

#[test]
fn wherever_servers_die_what_is_missing_is_counted_exactly() {
    let (mut world, mut any) = (World::new("drops"), false);
    for first in 0.. {
        world.writer.write_all(text().as_bytes()).unwrap();
        LIFE.set(first);
        let done = world.serve(true, true);
        if !done {
            world.tear(u64::from(first));
            LIFE.set(first / 3);
            let survived = world.serve(true, true);
            LIFE.set(u32::MAX);
            assert!(survived || world.serve(false, true), "{first}");
        }
        LIFE.set(u32::MAX);
        let lines = world.lines();
        let (told, kept): (Vec<_>, Vec<_>) = lines.iter().partition(|it| it.0.mark == Mark::Zinit);
        let count =
            |it: &&(Head, String)| it.1.split(' ').next().unwrap().parse::<usize>().unwrap();
        let dropped: usize = told.iter().map(count).sum();
        assert_eq!(kept.len() + dropped, COUNT + 1, "died after {first} stores: {lines:#?}");
        any |= dropped > 0;
        fs::remove_dir_all(&world.logs).unwrap();
        if done {
            return assert!(any, "some were dropped");
        }
    }
}

#[test]
fn a_file_of_something_else_is_begun_anew_and_a_directory_in_its_place_costs_only_memory() {
    let world = World::new("foreign");
    let path = world.dir.join(".intake");
    fs::write(&path, vec![0xee; 3 * STRIDE]).unwrap();
    let (mut intake, error) = Intake::open(&path);
    assert!(error.is_none() && intake.taken().is_empty());
    let many: Vec<Berth> =
        (0..20).map(|it| intake.take(("a", "/a"), false, it).expect("there is room")).collect();
    intake.begin_reading(many[19], 5).copy_from_slice(b"hello");
    intake.end_reading(many[19], 5);
    drop(intake);
    let (mut intake, _) = Intake::open(&path);
    assert_eq!((intake.taken().len(), intake.held(many[19]).to_vec()), (20, b"hello".to_vec()));
    drop(intake);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let (mut intake, error) = Intake::open(&path);
    assert!(error.is_some());
    let berth = intake.take(("a", "/a"), true, 1).expect("memory serves");
    assert_eq!(intake.text(berth, Text::Name), "a");
}
