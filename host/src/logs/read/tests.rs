//! Reading, against files as a server leaves them, as a disk leaves them, and while they change.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::logs::line::Mark;
use crate::logs::segments::{self, CURRENT, name_of};
use crate::logs::trails::Trails;

/// A directory that goes with the test.
pub(in crate::logs) struct Dir(pub(in crate::logs) PathBuf);

impl Dir {
    pub(in crate::logs) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("zinit-logs-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const START: i64 = 1_795_438_329_000_000_000;

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

fn source(service: &str, dir: &Path) -> Source {
    Source { service: name(service), trail: Trails::new(i64::MAX).enter(&name(service), dir) }
}

/// A line whose number is its time.
fn line(number: i64, text: &str) -> Vec<u8> {
    let (stderr, incarnation) = (number % 3 == 0, number.unsigned_abs() / 100 % 2);
    let head = Head { at_ns: START + number, stderr, incarnation, mark: Mark::None };
    let mut line = Vec::new();
    head.write(&mut line);
    line.extend_from_slice(text.as_bytes());
    line.push(b'\n');
    line
}

fn text_of(number: i64) -> String {
    format!("number {number}")
}

fn lines_of(numbers: impl IntoIterator<Item = i64>) -> Vec<u8> {
    numbers.into_iter().flat_map(|it| line(it, &text_of(it))).collect()
}

fn numbers(page: &Page) -> Vec<i64> {
    page.lines.iter().map(|it| it.head.at_ns - START).collect()
}

/// Page after page until there is no more.
fn all(sources: &[Source], query: &Query, count_max: usize) -> Vec<i64> {
    let (mut query, mut seen) = (query.clone(), Vec::new());
    loop {
        let page = forward(sources, &query, count_max).unwrap();
        assert!(page.lines.len() <= count_max && page.cursor_ns >= query.after_ns);
        assert!(!page.more || page.cursor_ns > query.after_ns, "a page gets on");
        seen.extend(numbers(&page));
        query.after_ns = page.cursor_ns;
        if !page.more {
            return seen;
        }
    }
}

fn write(dir: &Path, name: &str, text: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn write_segment(dir: &Path, start: i64, text: &[u8]) -> PathBuf {
    write(dir, &name_of(START + start), text)
}

/// Random numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: i64) -> i64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % below.unsigned_abs()).cast_signed()
    }
}

/// Fills directories with the same numbered lines in random files, and says whose line which is.
fn scatter(dice: &mut Dice, dirs: &[PathBuf], count: i64) -> Vec<usize> {
    let owners: Vec<usize> = (0..count).map(|_| dice.roll(dirs.len() as i64) as usize).collect();
    for (index, dir) in dirs.iter().enumerate() {
        let mine: Vec<i64> = (0..count).filter(|it| owners[*it as usize] == index).collect();
        let mut rest = &mine[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at((dice.roll(2000) as usize + 1).min(rest.len()));
            rest = later;
            let mut text = Vec::new();
            for number in now {
                match dice.roll(60) {
                    0 => text.extend_from_slice(b"nobody wrote number this\n"),
                    1 => text.extend_from_slice(b"\n\n2026-11-23T12:52:09.0\n"),
                    2 if dice.roll(20) == 0 => text.extend(vec![b'x'; 150_000].iter().chain(b"\n")),
                    _ => {}
                }
                let padding = "-".repeat(dice.roll(150) as usize);
                text.extend(line(*number, &format!("{} {padding}", text_of(*number))));
            }
            if dice.roll(4) == 0 {
                text.extend(line(now[now.len() - 1], "unfinished").strip_suffix(b"\n").unwrap());
            }
            if later.is_empty() {
                write(dir, CURRENT, &text);
            } else {
                let path = write_segment(dir, now[0], &text);
                if dice.roll(2) == 0 {
                    segments::compress(&path).unwrap();
                }
            }
        }
    }
    owners
}

#[test]
fn every_query_gives_what_looking_at_every_line_gives() {
    let dir = Dir::new("all");
    for seed in 0..6 {
        let mut dice = Dice(seed);
        let dirs: Vec<PathBuf> = (0..4).map(|it| dir.0.join(format!("{seed}-{it}"))).collect();
        dirs.iter().for_each(|it| fs::create_dir(it).unwrap());
        let owners = scatter(&mut dice, &dirs, 6_000);
        for _ in 0..12 {
            let chosen: Vec<usize> = (0..4).filter(|_| dice.roll(3) > 0).collect();
            let sources: Vec<Source> =
                chosen.iter().map(|it| source(&format!("s{it}"), &dirs[*it])).collect();
            let (after, until) = (dice.roll(6_000) - 1, dice.roll(7_000));
            let grep = (dice.roll(2) == 0).then_some("^number \\d*7\\d? ");
            let query = Query {
                after_ns: START + after,
                until_ns: if dice.roll(2) == 0 { i64::MAX } else { START + until },
                grep: grep.map(|it| Regex::new(it).unwrap()),
                stderr: (dice.roll(3) == 0).then_some(true),
                incarnation: (dice.roll(3) == 0).then_some(1),
                wheres: Vec::new(),
            };
            let is_wanted = |it: &i64| {
                *it > after
                    && START + *it <= query.until_ns
                    && chosen.contains(&owners[*it as usize])
                    && (grep.is_none() || it % 10 == 7 || it / 10 % 10 == 7)
                    && query.stderr.is_none_or(|_| it % 3 == 0)
                    && query.incarnation.is_none_or(|_| it / 100 % 2 == 1)
            };
            let want: Vec<i64> = (0..6_000).filter(is_wanted).collect();
            let count_max = [1000, 100_000][dice.roll(2) as usize];
            let seen = all(&sources, &query, count_max);
            assert_eq!(seen, want, "{seed}: {query:?}");
            let count = dice.roll(300) as usize;
            let page = latest(&sources, &query, count).unwrap();
            assert_eq!(
                numbers(&page),
                want[want.len().saturating_sub(count)..],
                "{seed}: {query:?}"
            );
            // Who goes on behind them gets what comes then.
            let query = Query { after_ns: page.cursor_ns, ..query };
            assert_eq!(all(&sources, &query, 1000), [0; 0]);
        }
    }
}

#[test]
fn a_found_line_says_everything() {
    let dir = Dir::new("found");
    let mut text = line(3, "level=error msg=\"no route\"");
    text.extend(line(4, "level=warn"));
    text.extend(line(5, "no \u{fffd}").iter().map(|it| if *it == 0xef { &0xff } else { it }));
    write(&dir.0, CURRENT, &text);
    let sources = [source("web", &dir.0)];
    let page = forward(&sources, &Query::default(), 10).unwrap();
    assert_eq!((page.lines.len(), page.more, page.cursor_ns), (3, false, START + 5));
    assert_eq!(page.lines[2].text, "no \u{fffd}\u{fffd}\u{fffd}");
    let wheres = vec![Where::parse("level=error").unwrap()];
    let page = forward(&sources, &Query { wheres, ..Query::default() }, 10).unwrap();
    let head = Head { at_ns: START + 3, stderr: true, incarnation: 0, mark: Mark::None };
    let text = "level=error msg=\"no route\"".into();
    assert_eq!(page.lines, [Found { service: name("web"), head, text }]);
    assert_eq!(page.cursor_ns, START + 5);
    // Who has nothing gets nothing, and a cursor where it was.
    let nobody = [source("db", &dir.0.join("none"))];
    let query = Query { after_ns: 7, ..Query::default() };
    let nothing = Page { lines: Vec::new(), cursor_ns: 7, more: false, unread: vec![] };
    assert_eq!(forward(&nobody, &query, 10).unwrap(), nothing);
    assert_eq!(latest(&nobody, &query, 10).unwrap(), nothing);
    let file = [source("db", &dir.0.join(CURRENT))];
    let why = forward(&file, &query, 10).unwrap_err().to_string();
    assert!(why.starts_with("the log of `db` cannot be read: "), "{why}");
}

#[test]
fn a_source_without_news_is_not_opened() {
    let dir = Dir::new("news");
    write(&dir.0, CURRENT, &lines_of(0..10));
    let sources = [source("a", &dir.0)];
    sources[0].trail.last_ns.store(START + 4, Ordering::Release);
    let query = Query { after_ns: START + 4, ..Query::default() };
    assert_eq!(numbers(&forward(&sources, &query, 100).unwrap()), [0; 0]);
    sources[0].trail.last_ns.store(START + 9, Ordering::Release);
    assert_eq!(numbers(&forward(&sources, &query, 100).unwrap()), [5, 6, 7, 8, 9]);
}

#[test]
fn a_line_without_end_costs_no_memory_and_hides_nothing() {
    let dir = Dir::new("long");
    let long = vec![b'x'; 20 * 1024 * 1024];
    let text = [&lines_of(0..2000), &long[..], b"\n", &lines_of(2000..4000), &long].concat();
    let path = write_segment(&dir.0, 0, &text);
    write(&dir.0, CURRENT, &[&long[..], b"\n", &lines_of(4000..4010)].concat());
    let sources = [source("a", &dir.0)];
    for _ in 0..2 {
        let query = Query { after_ns: START + 1990, ..Query::default() };
        assert_eq!(all(&sources, &query, 500), (1991..4010).collect::<Vec<_>>());
        let page = latest(&sources, &query, 2015).unwrap();
        assert_eq!(numbers(&page), (1995..4010).collect::<Vec<_>>());
        // Compressed, it goes over many frames.
        if path.exists() {
            segments::compress(&path).unwrap();
        }
    }
}

#[test]
fn a_damaged_frame_hides_no_other() {
    let dir = Dir::new("damage");
    let text: Vec<u8> = (0..60_000).flat_map(|it| line(it, &text_of(it))).collect();
    let path = write_segment(&dir.0, 0, &text);
    segments::compress(&path).unwrap();
    let path = path.with_extension("log.zst");
    let mut bytes = fs::read(&path).unwrap();
    let sources = [source("a", &dir.0)];
    assert_eq!(all(&sources, &Query::default(), 70_000).len(), 60_000);
    let middle = bytes.len() / 2;
    bytes[middle..middle + 100].fill(0x55);
    fs::write(&path, &bytes).unwrap();
    let left = all(&sources, &Query::default(), 70_000);
    assert!(left.len() > 30_000 && left.len() < 60_000, "{}", left.len());
    assert!(left.is_sorted() && left[0] == 0 && left[left.len() - 1] == 59_999);
    assert_eq!(numbers(&latest(&sources, &Query::default(), 5).unwrap())[0], 59_995);
    // What was cut off in the middle is there up to the cut.
    fs::write(&path, &bytes[..middle]).unwrap();
    let left = all(&sources, &Query::default(), 70_000);
    assert!(left.len() > 15_000 && left.is_sorted() && left[0] == 0, "{}", left.len());
    fs::write(&path, "no frame at all").unwrap();
    assert_eq!(all(&sources, &Query::default(), 70_000), [0; 0]);
}

#[test]
fn segments_that_others_have_compressed_are_read() {
    let dir = Dir::new("foreign");
    let text: Vec<u8> = (0..60_000).flat_map(|it| line(it, &text_of(it))).collect();
    let path = dir.0.join(name_of(START) + ".zst");
    zstd::stream::copy_encode(&text[..], File::create(&path).unwrap(), 1).unwrap();
    let sources = [source("a", &dir.0)];
    let query = Query { after_ns: START + 50_000, ..Query::default() };
    assert_eq!(all(&sources, &query, 700), (50_001..60_000).collect::<Vec<_>>());
    assert_eq!(numbers(&latest(&sources, &query, 2).unwrap()), [59_998, 59_999]);
}

#[test]
fn a_page_has_its_bounds() {
    let dir = Dir::new("bounds");
    let long = "x".repeat(16_000);
    let text: Vec<u8> = (0..5000).flat_map(|it| line(it, &long)).collect();
    write(&dir.0, CURRENT, &text);
    let sources = [source("a", &dir.0)];
    let page = forward(&sources, &Query::default(), 5000).unwrap();
    assert_eq!(numbers(&page), (0..66).collect::<Vec<_>>());
    assert!(page.more && page.cursor_ns == START + 65);
    let page = latest(&sources, &Query::default(), 5000).unwrap();
    assert!(page.more && numbers(&page) == (4934..5000).collect::<Vec<_>>());
    // Nothing is found, and yet it ends in between.
    let query = Query { incarnation: Some(7), ..Query::default() };
    let page = forward(&sources, &query, 5000).unwrap();
    assert!(page.more && page.lines.is_empty());
    assert!((4000..4400).contains(&(page.cursor_ns - START)), "{}", page.cursor_ns - START);
}

#[test]
fn a_page_of_many_services_looks_where_most_is_to_be_looked_at() {
    let dir = Dir::new("many");
    let mut sources = Vec::new();
    for index in 0..200 {
        let service = dir.0.join(index.to_string());
        fs::create_dir(&service).unwrap();
        write(&service, CURRENT, &lines_of((0..20).map(|it| it * 200 + index)));
        sources.push(source(&format!("s{index}"), &service));
    }
    assert_eq!(all(&sources, &Query::default(), 900), (0..4000).collect::<Vec<_>>());
    let page = latest(&sources, &Query::default(), 450).unwrap();
    assert_eq!(numbers(&page), (3550..4000).collect::<Vec<_>>());
    let loud = dir.0.join("loud");
    fs::create_dir(&loud).unwrap();
    let long = "x".repeat(16_000);
    let text: Vec<u8> = (4000..6500).flat_map(|it| line(it, &long)).collect();
    write(&loud, CURRENT, &text);
    sources.push(source("loud", &loud));
    let query = Query { incarnation: Some(7), ..Query::default() };
    let page = forward(&sources, &query, 10).unwrap();
    assert_eq!((page.more, page.cursor_ns - START), (false, 6499));
}

#[test]
fn nothing_is_missed_when_the_clock_was_set_back() {
    let dir = Dir::new("clock");
    let written = |path: &Path, at: i64| {
        let at = UNIX_EPOCH + Duration::from_nanos((START + at * 3_000_000_000).unsigned_abs());
        File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(at))
    };
    let spread = |numbers: std::ops::Range<i64>, rest: i64| {
        lines_of(numbers.filter(|it| it % 2 == rest).map(|it| it * 3_000_000_000))
    };
    // Odd ones before, even ones after it was set back from 300 to 50.
    for (from, to, rest) in [(0, 100, 1), (100, 300, 1), (50, 150, 0), (150, 280, 0)] {
        let text = spread(from..to, rest);
        let path = write_segment(&dir.0, (from + (from + rest) % 2) * 3_000_000_000, &text);
        written(&path, to - 1).unwrap();
    }
    let path = write(&dir.0, CURRENT, &spread(280..400, 0));
    written(&path, 400).unwrap();
    let there = |it: &i64| if it % 2 == 1 { *it < 300 } else { *it >= 50 };
    let sources = [source("a", &dir.0)];
    for after in (0..400).step_by(7) {
        let query = Query { after_ns: START + after * 3_000_000_000, ..Query::default() };
        let want: Vec<i64> = (after + 1..400).filter(there).collect();
        let seen: Vec<i64> =
            all(&sources, &query, 10).into_iter().map(|it| it / 3_000_000_000).collect();
        assert_eq!(seen, want, "{after}");
        let page = latest(&sources, &query, 60).unwrap();
        let seen: Vec<i64> = numbers(&page).into_iter().map(|it| it / 3_000_000_000).collect();
        assert_eq!(seen, want[want.len().saturating_sub(60)..], "{after}");
    }
}

/// Writes numbered lines as the server does: into `current.log`, which it closes, compresses and
/// prunes. What it says is published is in the file.
struct Writer {
    dir: PathBuf,
    next: i64,
    begin: i64,
    keep: usize,
    file: File,
}

impl Writer {
    fn new(dir: &Path, keep: usize) -> Self {
        Self { dir: dir.into(), next: 0, begin: 0, keep, file: Self::current(dir) }
    }

    fn current(dir: &Path) -> File {
        OpenOptions::new().create(true).append(true).open(dir.join(CURRENT)).unwrap()
    }

    /// Writes some lines, the last of them in two pieces.
    fn write(&mut self, count: i64) -> i64 {
        let text = lines_of(self.next..self.next + count);
        let (now, later) = text.split_at(text.len() - 7);
        self.file.write_all(now).unwrap();
        self.file.write_all(later).unwrap();
        self.next += count;
        self.next - 1
    }

    fn close(&mut self, compress: bool) {
        let path = self.dir.join(name_of(START + self.begin));
        fs::rename(self.dir.join(CURRENT), &path).unwrap();
        if compress {
            segments::compress(&path).unwrap();
        }
        self.file = Self::current(&self.dir);
        self.begin = self.next;
        segments::prune(&self.dir, self.keep).unwrap();
    }
}

/// Runs a writer of so many lines beside a reader, which is called until it is over.
fn beside(dir: &Path, keep: usize, total: i64, mut read: impl FnMut(i64)) {
    let published = Arc::new(AtomicI64::new(-1));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writer = Writer::new(dir, keep);
    let (told, over) = (Arc::clone(&published), Arc::clone(&is_over));
    let thread = thread::spawn(move || {
        let mut dice = Dice(1);
        while writer.next < total {
            let last = writer.write(dice.roll(40) + 1);
            told.store(last, Ordering::Release);
            if dice.roll(5) == 0 {
                writer.close(dice.roll(3) > 0);
            }
        }
        over.store(true, Ordering::Release);
    });
    loop {
        let is_last = is_over.load(Ordering::Acquire);
        read(published.load(Ordering::Acquire));
        if is_last {
            break;
        }
    }
    thread.join().unwrap();
}

#[test]
fn who_follows_sees_every_line_once_whatever_happens_to_the_files() {
    let dir = Dir::new("follow");
    let sources = [source("a", &dir.0)];
    let (mut cursor_ns, mut next) = (START - 1, 0);
    beside(&dir.0, 100_000, 60_000, |published| {
        let query = Query { after_ns: cursor_ns, ..Query::default() };
        let page = forward(&sources, &query, 300).unwrap();
        assert_eq!(numbers(&page), (next..next + page.lines.len() as i64).collect::<Vec<_>>());
        next += page.lines.len() as i64;
        assert!(next > published || page.more, "{next} is published");
        cursor_ns = page.cursor_ns;
    });
    let query = Query { after_ns: cursor_ns, ..Query::default() };
    let rest = all(&sources, &query, 300);
    assert_eq!(rest, (next..next + rest.len() as i64).collect::<Vec<_>>());
    assert!(next + rest.len() as i64 >= 60_000);
}

#[test]
fn who_wants_the_latest_gets_them_while_the_oldest_are_removed() {
    let dir = Dir::new("latest");
    let sources = [source("a", &dir.0)];
    beside(&dir.0, 150, 30_000, |published| {
        let query = Query { until_ns: START + published, ..Query::default() };
        let page = latest(&sources, &query, 200).unwrap();
        if published >= 0 {
            let want: Vec<i64> = ((published - 199).max(0)..=published).collect();
            assert_eq!(numbers(&page), want);
            assert_eq!(page.cursor_ns, START + published);
        }
    });
}

#[test]
fn a_cursor_over_several_services_has_no_gaps_up_to_what_is_published() {
    let dir = Dir::new("several");
    let dirs = [dir.0.join("a"), dir.0.join("b")];
    dirs.iter().for_each(|it| fs::create_dir(it).unwrap());
    let sources = [source("a", &dirs[0]), source("b", &dirs[1])];
    // Whose lines have the odd numbers is written later, but before they are published.
    let mut writers = dirs.each_ref().map(|it| Writer::new(it, 1000));
    let (mut cursor_ns, mut next, mut published) = (START - 1, 0, -1);
    for round in 0..400 {
        for (writer, rest) in writers.iter_mut().zip([0, 1]) {
            let numbers = (round * 10..round * 10 + 10).filter(|it| it % 2 == rest);
            writer.file.write_all(&lines_of(numbers)).unwrap();
            let until_ns = START + published;
            let query = Query { after_ns: cursor_ns, until_ns, ..Query::default() };
            let page = forward(&sources, &query, 7).unwrap();
            assert_eq!(numbers_from(&page, next), page.lines.len());
            next += page.lines.len() as i64;
            cursor_ns = page.cursor_ns;
        }
        published = round * 10 + 9;
        if round % 10 == 9 {
            writers.iter_mut().zip([0, 1]).for_each(|(it, rest)| {
                it.close(rest == 0);
                it.begin = round * 10 + 10 + rest;
            });
        }
    }
    let query = Query { after_ns: cursor_ns, ..Query::default() };
    assert_eq!(all(&sources, &query, 900), (next..4000).collect::<Vec<_>>());
}

/// How many lines of a page are numbered on from here.
fn numbers_from(page: &Page, next: i64) -> usize {
    numbers(page).into_iter().zip(next..).take_while(|(it, want)| it == want).count()
}
