//! What services write, through real pipes, the real thread and real files.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};

use nix::unistd::pipe;
use zinit_keeper::wire::Exit;

use super::line::{Head, Mark};
use super::*;
use crate::interrupt::Deadline;
use crate::probe::News;
use crate::spec::Full;

const PATIENCE: Duration = Duration::from_secs(10);

/// A directory that goes with the test.
struct Room(PathBuf);

impl Room {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = format!("zinit-logs-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn start(&self) -> (Logs, Receiver<News>) {
        let (tell, news) = channel();
        let teller = Teller::new(tell, Arc::new(EventFd::new().unwrap()));
        (Logs::start(&self.0, teller).unwrap(), news)
    }

    /// The lines of a service's files, oldest first.
    fn lines(&self, service: &str) -> Vec<(Head, String)> {
        lines_in(&self.0.join(service))
    }

    fn texts(&self, service: &str) -> Vec<String> {
        self.lines(service).into_iter().map(|it| it.1).collect()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lines_in(dir: &Path) -> Vec<(Head, String)> {
    let closed = segments::list(dir).unwrap().into_iter().map(|it| it.path);
    let mut lines = Vec::new();
    for path in closed.chain([dir.join(segments::CURRENT)]) {
        let Ok(mut file) = File::open(&path) else { continue };
        let mut text = Vec::new();
        file.read_to_end(&mut text).unwrap();
        if path.extension().is_some_and(|it| it == "zst") {
            text = zstd::decode_all(&text[..]).unwrap();
        }
        for line in text.split_inclusive(|it| *it == b'\n') {
            let line = line.strip_suffix(b"\n").expect("whole lines only");
            let (head, text) = Head::parse(line).expect("a line of ours");
            lines.push((head, String::from_utf8_lossy(text).into_owned()));
        }
    }
    lines
}

struct Writer {
    stdout: File,
    stderr: File,
}

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

fn attach(logs: &Logs, service: &str, log: Log, incarnation: u64) -> Writer {
    let (out_read, out_write) = pipe().unwrap();
    let (err_read, err_write) = pipe().unwrap();
    let log = Arc::new(log);
    logs.set(&name(service), &log);
    logs.attach(&name(service), &log, incarnation, [out_read, err_read]).unwrap();
    logs.ring();
    Writer { stdout: out_write.into(), stderr: err_write.into() }
}

fn mode(mode: LogMode) -> Log {
    Log { mode, ..Log::default() }
}

fn exited(incarnation: u64) -> Happening {
    Happening::Exited { incarnation, exit: Exit::Code(0) }
}

/// Waits until everything that a service has written is in its file.
fn settle(logs: &Logs, news: &Receiver<News>, service: &str) {
    let what = exited(9);
    if logs.settle(&name(service), what.clone()).is_none() {
        let told = News::Happened(name(service), what);
        while news.recv_timeout(PATIENCE).expect("it is told") != told {}
    }
}

/// Waits until the file has these lines; the thread has its own pace.
fn eventually(room: &Room, service: &str, want: &[&str]) {
    let deadline = Deadline::within(PATIENCE);
    while room.texts(service) != want {
        assert!(!deadline.has_passed(), "wanted {want:?}, got {:?}", room.texts(service));
        thread::yield_now();
    }
}

#[test]
fn lines_have_their_stream_their_process_and_a_time_that_no_other_has() {
    let room = Room::new();
    let (logs, _news) = room.start();
    let (mut a, mut b) =
        (attach(&logs, "a", Log::default(), 7), attach(&logs, "b", mode(LogMode::File), 3));
    a.stdout.write_all(b"one\ntwo\n").unwrap();
    b.stdout.write_all(b"other\n").unwrap();
    eventually(&room, "a", &["one", "two"]);
    a.stderr.write_all(b"three\nunfin").unwrap();
    eventually(&room, "a", &["one", "two", "three"]);
    a.stderr.write_all(b"ished\n").unwrap();
    eventually(&room, "a", &["one", "two", "three", "unfinished"]);
    eventually(&room, "b", &["other"]);
    let heads: Vec<Head> = room.lines("a").into_iter().map(|it| it.0).collect();
    assert_eq!(heads.iter().map(|it| it.stderr).collect::<Vec<_>>(), [false, false, true, true]);
    assert!(heads.is_sorted_by(|one, other| one.at_ns < other.at_ns));
    assert!(heads.iter().all(|it| (it.incarnation, it.mark) == (7, Mark::None)));
    let other = room.lines("b")[0].0;
    assert!(other.incarnation == 3 && heads.iter().all(|it| it.at_ns != other.at_ns));
    let trails = logs.trails();
    let newest = heads.iter().chain([&other]).map(|it| it.at_ns).max().unwrap();
    let deadline = Deadline::within(PATIENCE);
    while trails.newest_ns() < newest {
        assert!(!deadline.has_passed(), "readers are told");
    }
    assert!(trails.get("a").unwrap().has_after(newest - 1_000_000_000_000));
    assert!(!trails.get("a").unwrap().has_after(newest));
}

#[test]
fn an_exit_waits_for_the_last_line_also_for_one_without_an_end() {
    let room = Room::new();
    let (logs, news) = room.start();
    let mut a = attach(&logs, "a", Log::default(), 1);
    for round in 0..50 {
        let bytes = vec![b'x'; round * 1000];
        a.stdout.write_all(&bytes).unwrap();
        a.stderr.write_all(b"\nlast words").unwrap();
        settle(&logs, &news, "a");
        assert_eq!(room.texts("a").last().unwrap(), "last words");
        logs.launching(&name("a"), round as u64 + 2, None);
    }
    assert_eq!(logs.settle(&name("a"), exited(1)), Some(exited(1)), "nothing is left to wait for");
    assert_eq!(logs.settle(&name("nobody"), exited(1)), Some(exited(1)));
    let last = room.lines("a").pop().unwrap().0;
    assert_eq!(last.incarnation, 50, "each line has the process that wrote it");
}

#[test]
fn a_flood_loses_nothing_starves_nobody_and_a_ring_keeps_its_bound() {
    let room = Room::new();
    let (logs, news) = room.start();
    // What is compressed meanwhile, this test would not find.
    let log = Log { compress: Some(false), ..mode(LogMode::File) };
    let keep_all = Log { rotate_size: Some(1 << 20), keep: Some(1000), ..log };
    let mut loud = attach(&logs, "loud", keep_all, 1);
    let mut ring = attach(&logs, "ring", Log::default(), 1);
    let mut quiet = attach(&logs, "quiet", Log::default(), 1);
    let text: String = (0..200_000).map(|it| format!("line number {it}\n")).collect();
    let flood = text.clone();
    let flood = thread::spawn(move || loud.stdout.write_all(flood.as_bytes()));
    let spin = text.clone();
    let spin = thread::spawn(move || ring.stdout.write_all(spin.as_bytes()));
    quiet.stdout.write_all(b"here\n").unwrap();
    eventually(&room, "quiet", &["here"]);
    flood.join().unwrap().unwrap();
    spin.join().unwrap().unwrap();
    settle(&logs, &news, "loud");
    settle(&logs, &news, "ring");
    assert!(room.texts("loud").iter().map(String::as_str).eq(text.lines()), "every line, in order");
    let size: u64 = fs::read_dir(room.0.join("ring"))
        .unwrap()
        .map(|it| it.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size <= 3 * 64 * 1024, "{size}");
    assert_eq!(room.texts("ring").last().unwrap(), "line number 199999");
}

/// Waits until there are three closed files, all compressed, and the current one.
fn all_packed(dir: &Path) {
    let names = || -> Vec<String> {
        let files = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name());
        files.map(|it| it.into_string().unwrap()).collect()
    };
    let deadline = Deadline::within(PATIENCE);
    while names().iter().filter(|it| it.ends_with(".log.zst")).count() != 3 || names().len() != 4 {
        assert!(!deadline.has_passed(), "{:?}", names());
    }
}

#[test]
fn closed_files_are_compressed_and_the_oldest_go() {
    let room = Room::new();
    let (logs, news) = room.start();
    let dir = room.0.join("elsewhere");
    let log = Log {
        dir: dir.to_str().unwrap().to_owned(),
        rotate_size: Some(10_000),
        keep: Some(3),
        ..mode(LogMode::File)
    };
    let mut a = attach(&logs, "a", log, 1);
    for line in 0..2_000 {
        a.stdout.write_all(format!("line {line}\n").as_bytes()).unwrap();
        if line % 100 == 0 {
            settle(&logs, &news, "a");
        }
    }
    settle(&logs, &news, "a");
    all_packed(&dir);
    let lines = lines_in(&dir);
    let first: usize = lines[0].1["line ".len()..].parse().unwrap();
    assert!(first > 100);
    let expected = (first..2_000).map(|it| format!("line {it}"));
    assert!(lines.into_iter().map(|it| it.1).eq(expected), "what is kept has no gap");
    assert!(!room.0.join("a").exists());
}

#[test]
fn a_log_that_cannot_be_written_costs_its_lines_or_makes_its_service_wait() {
    let room = Room::new();
    let (logs, news) = room.start();
    let wall = room.0.join("wall");
    fs::write(&wall, "a file is no directory").unwrap();
    let dir = wall.to_str().unwrap().to_owned();
    let log = |full| Log { dir: dir.clone(), full, ..Log::default() };
    let mut drop = attach(&logs, "drop", log(Full::Drop), 1);
    let mut wait = attach(&logs, "wait", log(Full::Block), 1);
    drop.stdout.write_all(b"one\nthree\n").unwrap();
    settle(&logs, &news, "drop");
    drop.stdout.write_all(b"five\nsev").unwrap();
    settle(&logs, &news, "drop");
    let trail = logs.trails().get("drop").unwrap();
    let dropped = [&trail.dropped_lines, &trail.dropped_bytes].map(|it| it.load(Ordering::Relaxed));
    assert_eq!(dropped, [4, 15]);
    wait.stdout.write_all(b"kept\n").unwrap();
    let noted = |told: News| matches!(told, News::Noted { why, .. } if why.contains("waits"));
    while !noted(news.recv_timeout(PATIENCE).expect("somebody is told")) {}
    fs::remove_file(&wall).unwrap();
    drop.stderr.write_all(b"again\n").unwrap();
    settle(&logs, &news, "drop");
    let deadline = Deadline::within(PATIENCE);
    while lines_in(&wall).len() < 3 {
        assert!(!deadline.has_passed(), "{:?}", lines_in(&wall));
    }
    let lines: Vec<String> = lines_in(&wall).into_iter().map(|it| it.1).collect();
    let notice = "4 lines (15 bytes) were dropped here: there was no room";
    for line in ["again", "kept"] {
        assert!(lines.iter().any(|it| it == line), "{lines:?}");
    }
    let lines = lines_in(&wall);
    let (head, _) = lines.iter().find(|it| it.1 == notice).expect("it says what is missing");
    assert_eq!(head.mark, Mark::Zinit);
}

#[test]
fn a_file_that_somebody_removes_or_cuts_is_made_anew() {
    let room = Room::new();
    let (logs, news) = room.start();
    let mut a = attach(&logs, "a", Log::default(), 1);
    a.stdout.write_all(b"one\n").unwrap();
    settle(&logs, &news, "a");
    a.stdout.write_all(b"two\n").unwrap();
    eventually(&room, "a", &["one", "two"]);
    fs::remove_file(room.0.join("a/current.log")).unwrap();
    a.stdout.write_all(b"three\n").unwrap();
    eventually(&room, "a", &["three"]);
    File::options().write(true).open(room.0.join("a/current.log")).unwrap().set_len(0).unwrap();
    a.stdout.write_all(b"four\n").unwrap();
    eventually(&room, "a", &["four"]);
}

#[test]
fn the_next_server_goes_on_where_this_one_ends() {
    let room = Room::new();
    let (logs, news) = room.start();
    let (read, write) = pipe().unwrap();
    let (err, _err) = pipe().unwrap();
    let mut write = File::from(write);
    let ends = || [read.try_clone().unwrap(), err.try_clone().unwrap()];
    logs.attach(&name("a"), &Log::usual(), 1, ends()).unwrap();
    logs.ring();
    write.write_all(b"one\ntw").unwrap();
    eventually(&room, "a", &["one"]);
    drop((logs, news));
    write.write_all(b"o\nthr").unwrap();
    let (logs, news) = room.start();
    logs.attach(&name("a"), &Log::usual(), 1, ends()).unwrap();
    logs.claim();
    write.write_all(b"ee\n").unwrap();
    eventually(&room, "a", &["one", "two", "three"]);
    write.write_all(b"left").unwrap();
    let deadline = Deadline::within(PATIENCE);
    while logs.taps().get(&name("a")).unwrap().available(0) > 0 {
        assert!(!deadline.has_passed());
    }
    drop((logs, news));
    let (logs, _news) = room.start();
    logs.claim();
    eventually(&room, "a", &["one", "two", "three", "left"]);
}

#[test]
fn a_line_that_is_waited_for_is_told_once_and_only_of_the_process_that_was_to_write_it() {
    let room = Room::new();
    let (logs, news) = room.start();
    let pattern = |text: &str| Some(Regex::new(text).unwrap());
    let ready = |incarnation| News::Happened(name("a"), Happening::Ready { incarnation });
    logs.launching(&name("a"), 1, pattern("^ready$"));
    let mut a = attach(&logs, "a", Log::default(), 1);
    for incarnation in 1..100 {
        a.stderr.write_all(b"not ready\nready\nready\nrea").unwrap();
        assert_eq!(news.recv_timeout(PATIENCE), Ok(ready(incarnation)));
        settle(&logs, &news, "a");
        logs.launching(&name("a"), incarnation + 1, pattern("^ready$"));
        a.stderr.write_all(b"dy\n").unwrap();
    }
    settle(&logs, &news, "a");
    logs.launching(&name("a"), 101, None);
    a.stdout.write_all(b"ready\n").unwrap();
    settle(&logs, &news, "a");
    assert!(news.try_recv().is_err());
}

#[test]
fn a_forgotten_service_leaves_nothing_behind_unless_it_was_to_be_kept() {
    let room = Room::new();
    let (logs, news) = room.start();
    let mut writers = [
        ("ring", attach(&logs, "ring", Log::default(), 1)),
        ("file", attach(&logs, "file", mode(LogMode::File), 1)),
    ];
    for (service, it) in &mut writers {
        it.stdout.write_all(b"here\n").unwrap();
        settle(&logs, &news, service);
    }
    logs.forget(&name("ring"), &Log::default());
    logs.forget(&name("file"), &mode(LogMode::File));
    logs.claim();
    assert!(!room.0.join("ring").exists() && logs.trails().get("ring").is_none());
    assert_eq!(room.texts("file"), ["here"]);
}

#[test]
fn a_system_log_gets_the_lines_as_well() {
    let room = Room::new();
    let path = room.0.join("dev-log");
    let daemon = UnixDatagram::bind(&path).unwrap();
    let (logs, _news) = room.start();
    let log = Log { syslog: path.to_str().unwrap().to_owned(), ..Log::default() };
    let mut a = attach(&logs, "a", log, 1);
    a.stdout.write_all(b"hello\n").unwrap();
    let mut buffer = [0; 100];
    let count = daemon.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"<30>a: hello");
    eventually(&room, "a", &["hello"]);
}

#[test]
fn the_thread_ends_with_the_last_handle() {
    let room = Room::new();
    let (logs, news) = room.start();
    let bell = Arc::downgrade(&logs.0.bell);
    drop(logs);
    assert!(news.recv_timeout(PATIENCE).is_err(), "who could tell anything is gone");
    assert!(bell.upgrade().is_none());
}

#[test]
fn what_nobody_comes_for_is_written_where_it_belongs_and_what_is_there_stays() {
    let room = Room::new();
    let (logs, news) = room.start();
    let plain = Log { compress: Some(false), ..mode(LogMode::File) };
    let log = Log { rotate_size: Some(200), keep: Some(1000), ..plain };
    let mut alpha = attach(&logs, "alpha", log, 1);
    for number in 0..100 {
        alpha.stdout.write_all(format!("line {number}\n").as_bytes()).unwrap();
        settle(&logs, &news, "alpha");
    }
    let mut beta = attach(&logs, "beta", Log::default(), 1);
    alpha.stdout.write_all(b"half-alpha").unwrap();
    beta.stderr.write_all(b"half-beta").unwrap();
    let unread = |it: &str| {
        let tap = Arc::clone(&logs.taps()[&name(it)]);
        tap.available(0) + tap.available(1) > 0
    };
    let deadline = Deadline::within(PATIENCE);
    while unread("alpha") || unread("beta") {
        assert!(!deadline.has_passed());
    }
    drop((logs, news, alpha, beta));
    let (logs, _news) = room.start();
    logs.claim();
    let expected = (0..100).map(|it| format!("line {it}")).chain(["half-alpha".to_owned()]);
    assert!(room.texts("alpha").into_iter().eq(expected), "{:?}", room.texts("alpha"));
    assert_eq!(room.texts("beta"), ["half-beta"]);
}

#[test]
fn a_file_that_is_moved_away_is_let_go_and_another_begun() {
    let room = Room::new();
    let (logs, news) = room.start();
    let log = Log { rotate_size: Some(100), ..Log::default() };
    let mut a = attach(&logs, "a", log, 1);
    a.stdout.write_all(b"one\n").unwrap();
    eventually(&room, "a", &["one"]);
    fs::rename(room.0.join("a/current.log"), room.0.join("a/old.txt")).unwrap();
    for line in ["two\n", "three\n", "four\n"] {
        a.stdout.write_all(line.as_bytes()).unwrap();
        settle(&logs, &news, "a");
    }
    // What came at once may still be with the first.
    let old = fs::read_to_string(room.0.join("a/old.txt")).unwrap();
    assert_eq!(room.texts("a").last().unwrap(), "four");
    assert_eq!(old.lines().count() + room.texts("a").len(), 4);
}

#[test]
fn whoever_owns_the_directory_of_a_log_leads_us_nowhere_and_holds_up_nobody() {
    use nix::sys::stat::Mode as Rights;
    let room = Room::new();
    let victim = room.0.join("victim");
    fs::write(&victim, "not ours, without an end").unwrap();
    for (service, place) in [("link", 0), ("fifo", 1), ("garbage", 2)] {
        let dir = room.0.join(service);
        fs::create_dir_all(&dir).unwrap();
        let current = dir.join(segments::CURRENT);
        match place {
            0 => std::os::unix::fs::symlink(&victim, &current).unwrap(),
            1 => nix::unistd::mkfifo(&current, Rights::S_IRWXU).unwrap(),
            _ => fs::write(&current, "x\n".repeat(200_000)).unwrap(),
        }
    }
    let (logs, news) = room.start();
    for service in ["link", "fifo", "garbage", "other"] {
        let mut it = attach(&logs, service, Log::default(), 1);
        it.stdout.write_all(b"hello\n").unwrap();
        settle(&logs, &news, service);
        let dropped = logs.trails().get(service).unwrap().dropped_lines.load(Ordering::Relaxed);
        assert_eq!(dropped, u64::from(["link", "fifo"].contains(&service)), "{service}");
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "not ours, without an end");
    let sources = logs.trails().sources(&[]);
    let page = read::forward(&sources, &read::Query::default(), 100).unwrap();
    let found: Vec<&str> = page.lines.iter().map(|it| it.service.as_str()).collect();
    assert_eq!((found, page.unread.len()), (vec!["garbage", "other"], 2), "{:?}", page.unread);
}

#[test]
fn thousands_of_lines_that_are_not_finished_cost_nobody_his_turn() {
    let room = Room::new();
    let (logs, news) = room.start();
    let mut many: Vec<Writer> =
        (0..300).map(|it| attach(&logs, &format!("s{it}"), Log::default(), 1)).collect();
    for it in &mut many {
        it.stdout.write_all(b"begun").unwrap();
        it.stderr.write_all(b"begun").unwrap();
    }
    let mut calm = attach(&logs, "calm", Log::default(), 1);
    calm.stdout.write_all(b"here\n").unwrap();
    eventually(&room, "calm", &["here"]);
    for index in [0, 150, 299] {
        let service = format!("s{index}");
        settle(&logs, &news, &service);
        assert_eq!(room.texts(&service), ["begun", "begun"]);
    }
}

#[test]
fn no_more_files_are_kept_than_said_however_fast_they_come_and_slowly_they_are_compressed() {
    let room = Room::new();
    let (logs, news) = room.start();
    let log = Log { rotate_size: Some(100_000), keep: Some(3), ..mode(LogMode::File) };
    let mut a = attach(&logs, "a", log, 1);
    let text: String = (0..300_000).map(|it| format!("a line with the number {it}\n")).collect();
    a.stdout.write_all(text.as_bytes()).unwrap();
    settle(&logs, &news, "a");
    all_packed(&room.0.join("a"));
    assert!(logs.trails().get("a").unwrap().gone_ns.load(Ordering::Relaxed) > 0);
}
