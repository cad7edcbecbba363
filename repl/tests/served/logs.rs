//! Commands that show what services wrote.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout};
use std::sync::atomic::Ordering;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use zinit_host::logs::line::Mark;

use crate::world::{World, told};

/// Two services, of which one has written to stderr as well.
fn written() -> World {
    let world = World::new();
    world.post("web", "Running", |_| ());
    world.post("db", "Running", |_| ());
    world.writes("web", "listening on 8080");
    world.writes("db", "level=info msg=ready");
    world.writes_as("web", true, Mark::Cut, "GET /");
    world.writes_as("db", true, Mark::Zinit, "17 lines (1700 bytes) were dropped");
    world
}

const WEB: &str = "[+] web: listening on 8080\n[-] web: GET / [cut]\n";
const ALL: &str = "[+] web: listening on 8080\n[+] db: level=info msg=ready\n[-] web: GET / [cut]\n\
    [!] db: 17 lines (1700 bytes) were dropped\n";

#[test]
fn lines_of_all_or_some_services_are_shown_in_the_order_of_time() {
    let world = written();
    assert_eq!(world.says(&["logs"]), ALL);
    assert_eq!(world.says(&["logs", "web"]), WEB);
    assert_eq!(world.says(&["logs", "we*", "db"]), ALL);
    assert_eq!(world.says(&["logs", "-n", "1", "web"]), "[-] web: GET / [cut]\n");
    assert_eq!(world.says(&["logs", "-n", "0"]), "");
    assert_eq!(world.says(&["logs", "--stdout", "web"]), "[+] web: listening on 8080\n");
    assert_eq!(world.says(&["logs", "--stderr", "web"]), "[-] web: GET / [cut]\n");
    assert_eq!(world.says(&["logs", "--grep", "^GET|[0-9]{4} b"]), ALL[56..]);
    assert_eq!(world.says(&["logs", "--where", "level=info"]), "[+] db: level=info msg=ready\n");
    assert_eq!(world.says(&["logs", "--where", "level=info", "--where", "msg=x"]), "");
}

#[test]
fn times_are_shown_and_looked_for() {
    let world = written();
    let time = "2023-11-14T22:13:20.000000001Z";
    let line = format!("{time} [+] db: level=info msg=ready\n");
    assert_eq!(world.says(&["logs", "-t", "--since", time, "--until", time]), line);
    assert_eq!(world.says(&["logs", "--since", "1h"]), "");
    assert_eq!(world.says(&["logs", "--until", "yesterday"]), ALL);
    assert_eq!(world.says(&["logs", "-n", "1", "--until", time]), "[+] db: level=info msg=ready\n");
    let there = |zone: &str, since: &str| {
        let mut zinit = world.zinit(&["logs", "--since", since]);
        told(zinit.env("TZ", zone).output().unwrap()).1
    };
    assert_eq!(there("Asia/Tokyo", "2023-11-15 07:13:20"), ALL);
    assert_eq!(there("Asia/Tokyo", "2023-11-15 07:13:21"), "");
    assert_eq!(there("America/New_York", "2023-11-14 17:13:20"), ALL);
    assert_eq!(there("America/New_York", "2023-11-14 17:13:21"), "");
    let (code, _, err) = world.run(&["logs", "--since", "soon"]);
    assert_eq!(code, 2);
    assert!(err.contains("a time is `10m` (ago), `12:00`, `2026-11-23`"), "{err}");
}

#[test]
fn programs_get_an_object_a_line() {
    let world = written();
    let said = world.says(&["logs", "--json", "web"]);
    let lines: Vec<Value> = said.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let first = json!({ "time": "2023-11-14T22:13:20.000000000Z", "service": "web",
        "stream": "stdout", "incarnation": 7, "text": "listening on 8080" });
    assert_eq!((lines.len(), &lines[0]), (2, &first));
    assert_eq!(lines[1]["mark"], "cut");
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let world = written();
    let (code, out, err) = world.run(&["logs", "wbe"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, "error: there is no service `wbe`\nhint: did you mean `web`?\n");
    let (code, _, err) = world.run(&["logs", "--grep", "ready ("]);
    assert_eq!(code, 1);
    assert!(err.contains("no regular expression: unclosed group, at character 7"), "{err}");
    let (code, _, err) = world.run(&["logs", "--where", "level"]);
    assert_eq!(code, 1);
    assert!(err.ends_with("hint: for example `level=error`\n"), "{err}");
}

#[test]
fn many_lines_come_in_order_whether_the_newest_or_all() {
    let world = World::new();
    let long = "x".repeat(500);
    let mut expected = Vec::new();
    for number in 0..12_500 {
        let text = format!("{number} {long}");
        world.writes(["a", "b"][number % 2], &text);
        expected.push(format!("[+] {}: {text}", ["a", "b"][number % 2]));
    }
    let said = |args: &[&str]| world.says(args).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(said(&["logs"]), expected);
    assert_eq!(said(&["logs", "-n", "12345"]), expected[155..]);
    assert_eq!(said(&["logs", "-n", "99999"]), expected);
}

#[test]
fn whoever_reads_only_the_first_line_gets_it_and_no_complaint() {
    let world = World::new();
    for number in 0..5_000 {
        world.writes("web", &format!("{number} {}", "x".repeat(1_000)));
    }
    let mut child = world.zinit(&["logs"]).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("[+] web: 0 xxx"), "{first}");
    assert_eq!(told(child.wait_with_output().unwrap()), (0, String::new(), String::new()));
}

/// A command that follows, and its lines.
struct Following(Child, std::io::Lines<BufReader<ChildStdout>>);

impl Following {
    fn begin(world: &World, args: &[&str]) -> Self {
        let mut child = world.zinit(args).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self(child, lines)
    }

    fn line(&mut self) -> String {
        self.1.next().unwrap().unwrap()
    }

    fn interrupt(self) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGINT).unwrap();
        assert_eq!(told(self.0.wait_with_output().unwrap()), (130, String::new(), String::new()));
    }
}

#[test]
fn what_is_followed_comes_once_over_restarts_of_the_server() {
    let mut world = written();
    let mut all = Following::begin(&world, &["logs", "-f"]);
    let mut web = Following::begin(&world, &["logs", "-f", "-n", "1", "--grep", "t", "web"]);
    assert_eq!(web.line(), "[+] web: listening on 8080");
    ALL.lines().for_each(|line| assert_eq!(all.line(), line));
    for round in 0..4 {
        for number in 0..20 {
            world.writes("db", &format!("{round} {number}"));
            if number % 3 == 0 {
                assert_eq!(all.line(), format!("[+] db: {round} {}", number / 3));
            }
        }
        world.writes("web", &format!("t{round}"));
        world.restart();
        (7..20).for_each(|it| assert_eq!(all.line(), format!("[+] db: {round} {it}")));
        assert_eq!(all.line(), format!("[+] web: t{round}"));
        assert_eq!(web.line(), format!("[+] web: t{round}"));
    }
    all.interrupt();
    web.interrupt();
}

#[test]
fn a_status_counts_what_was_dropped() {
    let world = written();
    let trail = world.logs.trails().get("web").unwrap();
    trail.dropped_lines.store(17, Ordering::Relaxed);
    trail.dropped_bytes.store(1700, Ordering::Relaxed);
    let said = world.says(&["status", "web"]);
    assert!(said.contains("\n  Log dropped: 17 lines (1700 bytes)\n"), "{said}");
}
