//! What services write is in their files, whoever dies, floods or stops reading.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use zinit_host::logs::line::Mark;
use zinit_host::logs::read::{Found, Query, forward};
use zinit_host::logs::trails::Trails;
use zinit_host::name::ServiceName;
use zinit_tests::daemon::Home;

/// All lines in the files of a service's own directory.
fn lines(home: &Home, service: &str) -> Vec<Found> {
    lines_in(&home.root.join("var/zinit/logs").join(service))
}

fn lines_in(dir: &Path) -> Vec<Found> {
    let trails = Trails::new(i64::MAX);
    trails.enter(&ServiceName::parse("any").expect("a name"), dir);
    let (sources, mut query, mut lines) = (trails.sources(&[]), Query::default(), Vec::new());
    loop {
        let page = forward(&sources, &query, 10_000).expect("the files can be read");
        lines.extend(page.lines);
        if !page.more {
            return lines;
        }
        query.after_ns = page.cursor_ns;
    }
}

/// A service that is a script for the shell.
fn scripted(home: Home, name: &str, script: &str, more: &str) -> Home {
    home.write(&format!("{name}.sh"), script);
    let path = home.root.join(format!("{name}.sh"));
    home.service(name, &format!("exec: sh {}\n{more}\n", path.display()))
}

/// Memory that is its own: pages of the program come and go as the kernel likes.
fn own_bytes(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|it| it.strip_prefix("RssAnon:")).expect("it has memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

#[test]
fn brains_that_are_killed_while_twenty_services_write_lose_no_line_and_double_none() {
    const KILLS: usize = 10;
    const ROUNDS: usize = 200;
    const LINES: usize = 60;
    let mut home = Home::new();
    let names: Vec<String> = (0..20).map(|it| format!("w{it}")).collect();
    for (index, name) in names.iter().enumerate() {
        // `seq` writes 4 KiB at once, in the middle of a line, and the last line has no end.
        let stream = if index % 2 == 0 { "" } else { ">&2" };
        let script = format!(
            "i=0; while [ $i -lt {ROUNDS} ]; do seq -s, $((i * {LINES} + 1)) $((i * {LINES} + 59)); \
             seq $((i * {LINES} + 60)) $((i * {LINES} + {LINES})); i=$((i + 1)); done{stream}; printf end{stream}"
        );
        let log = "log: { mode: file, rotate_size: 8KiB, keep: 10000 }";
        home = scripted(home, name, &script, &format!("oneshot: true\n{log}\n"));
    }
    let home = home.start();
    let (mut kills, mut overlapped) = (0, false);
    let done = |home: &Home, name: &String| {
        home.client_if_any()
            .and_then(|mut it| it.call("service.status", json!([name])).ok())
            .is_some_and(|it| it["state"] == "Success")
    };
    let mut left = names.clone();
    home.until("all have written everything", || {
        let brain = home.brain();
        if let (Some(brain), true) = (brain, kills < KILLS) {
            // It may have come to nothing yet, or be in the middle of everything.
            kills += usize::from(kill(Pid::from_raw(brain), Signal::SIGKILL).is_ok());
            return false;
        }
        left.retain(|it| !done(&home, it));
        overlapped |= !left.is_empty();
        left.is_empty()
    });
    for name in &names {
        let mut expected = Vec::new();
        for round in 0..ROUNDS {
            let numbers: Vec<String> =
                (1..LINES).map(|it| (round * LINES + it).to_string()).collect();
            expected.extend([numbers.join(","), (round * LINES + LINES).to_string()]);
        }
        expected.push("end".to_owned());
        let found = lines(&home, name);
        let texts: Vec<&str> = found.iter().map(|it| it.text.as_str()).collect();
        let differs = texts.iter().zip(&expected).position(|(one, other)| one != other);
        assert!(
            texts == expected,
            "{name}: {} of {} lines, differs at {differs:?}",
            texts.len(),
            expected.len()
        );
        assert!(found.is_sorted_by(|one, other| one.head.at_ns < other.head.at_ns));
    }
    assert!(overlapped, "they still wrote when the last one was killed");
}

#[test]
fn a_line_of_200_megabytes_costs_less_than_one() {
    let home = Home::new();
    let home = scripted(home, "calm", "echo first; exec sleep 1000", "").start();
    home.up("calm");
    let brain = home.brain().expect("there is one");
    let before = own_bytes(brain);
    let home =
        scripted(home, "long", "head -c 200000000 /dev/zero; echo; echo last", "oneshot: true");
    home.zinit(["reload"]);
    home.until("it is over", || home.status("long").state == "Success");
    assert_eq!(home.brain(), Some(brain));
    let grown = own_bytes(brain).saturating_sub(before);
    assert!(grown < 1_000_000, "{grown} bytes");
    let found = lines(&home, "long");
    let marks: Vec<Mark> = found.iter().map(|it| it.head.mark).collect();
    assert_eq!(marks, [Mark::Cut, Mark::None]);
    assert_eq!((found[0].text.len(), found[1].text.as_str()), (16 * 1024, "last"));
}

#[test]
fn the_last_words_of_a_process_are_in_its_log_when_its_end_is_known() {
    let mut home = Home::new().start();
    for round in 0..20 {
        let name = format!("short{round}");
        home = scripted(home, &name, "seq 1 5000; printf 'last words' >&2", "oneshot: true");
        home.zinit(["reload"]);
        home.up(&name);
        let last = lines(&home, &name).pop().expect("it has written");
        assert_eq!((last.text.as_str(), last.head.stderr), ("last words", true));
    }
}

#[test]
fn a_full_disk_costs_lines_that_are_counted_and_nothing_else() {
    let home = Home::new();
    let disk = home.root.join("disk");
    let log = format!("log: {{ mode: file, dir: {}/web }}", disk.display());
    let count =
        "i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); echo $i; [ -e go ] || sleep 0.01; done";
    let here = format!("dir: {}", home.root.display());
    let home = scripted(home, "web", count, &format!("oneshot: true\n{log}\n{here}"));
    let aside = "status: stop\noneshot: true";
    let fill = format!("head -c 10000000 /dev/zero > {}/filler; true", disk.display());
    let home = scripted(home, "fill", &fill, aside);
    let home = scripted(home, "free", &format!("rm {}/filler", disk.display()), aside);
    if !home.start_with_disk("disk", 300_000) {
        return println!("nobody may mount a disk here");
    }
    let read = |cursor: &Value| {
        let ask = json!({ "names": "web", "n": 10_000, "cursor": cursor });
        let page = home.ask("logs.read", ask);
        page["lines"].as_array().cloned().expect("lines")
    };
    let told = |what: &str| {
        let events = home.ask("events.get", json!(["web"]));
        let events = events.as_array().expect("events").iter();
        events.filter(|it| it["why"].as_str().is_some_and(|it| it.contains(what))).count()
    };
    home.until("it writes", || read(&Value::Null).len() > 10);
    home.zinit(["start", "fill"]);
    home.until("somebody is told", || told("No space left on device") == 1);
    let dropped = || home.ask("service.status", json!(["web"]))["log_dropped"]["lines"].as_u64();
    home.until("lines are dropped", || dropped().is_some_and(|it| it > 100));
    assert_eq!(home.status("web").state, "Running", "it goes on");
    home.zinit(["start", "free"]);
    home.until("somebody is told", || told("can be written again") == 1);
    home.write("go", "");
    home.until("it is over", || home.status("web").state == "Success");
    let (mut notices, mut numbers) = (0, Vec::new());
    for line in read(&Value::Null) {
        let first = line["text"].as_str().and_then(|it| it.split(' ').next()).expect("text");
        let number: u64 = first.parse().expect("a number");
        if line["mark"] == "zinit" {
            notices += number;
        } else {
            numbers.push(number);
        }
    }
    assert!(numbers.is_sorted_by(|one, other| one < other), "in their order, each once");
    assert_eq!(numbers.len() as u64 + notices, 3000);
    assert_eq!((dropped(), told("No space left on device")), (Some(notices), 1));
}
