//! Health checks.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use zinit_host::event::Happening;
use zinit_host::probe::News;
use zinit_host::spec::Health;
use zinit_keeper::wire::Exit;

use crate::world::{World, name};

fn checked(service: &str, incarnation: u64, failure: Option<&str>) -> News {
    let failure = failure.map(str::to_owned);
    News::Happened(name(service), Happening::Checked { incarnation, failure })
}

fn run(service: &str, incarnation: u64, line: &str) -> News {
    News::Run { service: name(service), incarnation, line: line.to_owned() }
}

fn tcp(addresses: &[String]) -> Health {
    Health { test_tcp: addresses.to_vec(), ..Health::default() }
}

fn http(url: String) -> Health {
    Health { test_http: vec![url], ..Health::default() }
}

fn cmd(lines: &[&str]) -> Health {
    Health { test_cmd: lines.iter().map(|it| (*it).to_owned()).collect(), ..Health::default() }
}

/// A port on which nobody listens.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Answers each request, on a thread of its own, with the head that `answer` gives for its path.
fn web(answer: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            thread::spawn(move || serve(stream, &*answer));
        }
    });
    port
}

fn serve(mut stream: TcpStream, answer: impl Fn(&str) -> Option<&'static str>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|it| it > 0) && line != "\r\n" {
        request += &std::mem::take(&mut line);
    }
    match request.split(' ').nth(1).and_then(answer) {
        Some(head) => {
            let _ = write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
        }
        // Nothing is ever said, until the other side has enough.
        None => while reader.read_line(&mut line).is_ok_and(|it| it > 0) {},
    }
}

fn paths(path: &str) -> Option<&'static str> {
    match path {
        "/ok" => Some("200 OK"),
        "/endless" => Some("200 OK\r\nContent-Length: 1000000000"),
        "/busy" => Some("503 Busy"),
        "/moved" => Some("302 Found\r\nLocation: /ok"),
        "/loop" => Some("302 Found\r\nLocation: /loop"),
        _ => None,
    }
}

#[test]
fn a_port_that_accepts_is_well_and_one_that_does_not_says_so() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let all = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    assert_eq!(world.failure(tcp(&all)), None);
    let closed = format!("127.0.0.1:{}", free_port());
    let failure = format!("test_tcp `{closed}`: connection refused");
    assert_eq!(world.failure(tcp(&[all[0].clone(), closed])), Some(failure));
}

#[test]
fn a_url_is_well_when_it_answers_2xx_whatever_body_follows() {
    let world = World::new();
    let url = |path: &str, port: u16| format!("http://127.0.0.1:{port}{path}");
    let port = web(paths);
    for path in ["/ok", "/endless", "/moved"] {
        assert_eq!(world.failure(http(url(path, port))), None, "{path}");
    }
    let failed = |path: &str| world.failure(http(url(path, port))).expect("it is not well");
    assert_eq!(failed("/busy"), format!("test_http `{}`: status 503", url("/busy", port)));
    assert_eq!(failed("/loop"), format!("test_http `{}`: too many redirects", url("/loop", port)));
    let closed = url("/", free_port());
    let refused = format!("test_http `{closed}`: connection refused");
    assert_eq!(world.failure(http(closed)), Some(refused));
}

#[test]
fn who_never_answers_fails_when_the_time_is_up() {
    let world = World::new();
    let url = format!("http://localhost:{}/silent", web(paths));
    let health = Health { timeout_ms: 50, ..http(url.clone()) };
    let failure = format!("test_http `{url}`: no answer within 50 ms");
    assert_eq!(world.failure(health), Some(failure));
}

#[test]
fn a_hundred_hanging_checks_delay_no_other() {
    let world = World::new();
    let url = format!("http://127.0.0.1:{}", web(paths));
    let hanging = Health { timeout_ms: 2_000, ..http(format!("{url}/silent")) };
    let hanging = Arc::new(hanging);
    for index in 0..100 {
        world.prober.check(&name(&format!("hangs-{index}")), 1, Arc::clone(&hanging));
    }
    world.prober.check(&name("good"), 1, Arc::new(http(format!("{url}/ok"))));
    assert_eq!(world.next(), checked("good", 1, None));
    for _ in 0..100 {
        let News::Happened(_, Happening::Checked { failure, .. }) = world.next() else {
            panic!("no round is over")
        };
        assert!(failure.is_some_and(|it| it.ends_with("no answer within 2 s")));
    }
}

#[test]
fn who_answers_slowly_but_in_time_is_well() {
    const CLIENTS: usize = 20;
    let world = World::new();
    // Nobody is answered before all have asked, and then after a while.
    let barrier = Barrier::new(CLIENTS);
    let port = web(move |_| {
        barrier.wait();
        let interrupt = zinit_host::interrupt::Interrupt::new().unwrap();
        interrupt.sleep(Duration::from_millis(200)).unwrap();
        Some("200 OK")
    });
    let health = Arc::new(http(format!("http://127.0.0.1:{port}/")));
    for index in 0..CLIENTS {
        world.prober.check(&name(&format!("slow-{index}")), 1, Arc::clone(&health));
    }
    for _ in 0..CLIENTS {
        let News::Happened(_, Happening::Checked { failure, .. }) = world.next() else {
            panic!("no round is over")
        };
        assert_eq!(failure, None);
    }
}

#[test]
fn a_name_that_nobody_knows_fails_at_once() {
    let failure = World::new().failure(tcp(&["no-such-host.invalid:80".to_owned()])).unwrap();
    assert!(failure.starts_with("test_tcp `no-such-host.invalid:80`: cannot look up"), "{failure}");
}

#[test]
fn commands_run_one_after_the_other_and_the_first_failure_decides() {
    let world = World::new();
    world.prober.check(&name("db"), 3, Arc::new(cmd(&["true", "false", "never"])));
    assert_eq!(world.next(), run("db", 3, "true"));
    world.prober.ran(&name("db"), &Exit::Code(0));
    assert_eq!(world.next(), run("db", 3, "false"));
    world.prober.ran(&name("db"), &Exit::Code(1));
    assert_eq!(world.next(), checked("db", 3, Some("test_cmd `false`: exit 1")));
    world.prober.check(&name("db"), 3, Arc::new(cmd(&["true"])));
    assert_eq!(world.next(), run("db", 3, "true"));
    world.prober.ran(&name("db"), &Exit::Code(0));
    assert_eq!(world.next(), checked("db", 3, None));
}

#[test]
fn a_command_that_takes_too_long_is_killed_and_its_end_counts_for_no_later_round() {
    let world = World::new();
    let health = Arc::new(Health { timeout_ms: 50, ..cmd(&["hangs"]) });
    world.prober.check(&name("db"), 1, Arc::clone(&health));
    assert_eq!(world.next(), run("db", 1, "hangs"));
    assert_eq!(world.next(), News::Kill { service: name("db") });
    let failure = "test_cmd `hangs`: not done within 50 ms";
    assert_eq!(world.next(), checked("db", 1, Some(failure)));
    // As long as it dies, no other is asked for.
    world.prober.check(&name("db"), 2, health);
    let failure = "test_cmd `hangs`: the one before it has not ended";
    assert_eq!(world.next(), checked("db", 2, Some(failure)));
    world.prober.check(&name("db"), 3, Arc::new(cmd(&["again"])));
    world.prober.ran(&name("db"), &Exit::Signal { signal: 9, core: false });
    assert_eq!(world.next(), run("db", 3, "again"));
    world.prober.ran(&name("db"), &Exit::Code(0));
    assert_eq!(world.next(), checked("db", 3, None));
}

#[test]
fn a_new_round_takes_the_place_of_the_one_under_way() {
    let world = World::new();
    world.prober.check(&name("db"), 1, Arc::new(cmd(&["old"])));
    assert_eq!(world.next(), run("db", 1, "old"));
    world.prober.check(&name("db"), 2, Arc::new(cmd(&["new"])));
    assert_eq!(world.next(), News::Kill { service: name("db") });
    world.prober.ran(&name("db"), &Exit::Code(0));
    assert_eq!(world.next(), run("db", 2, "new"));
    world.prober.ran(&name("db"), &Exit::Code(0));
    assert_eq!(world.next(), checked("db", 2, None));
}

#[test]
fn a_forgotten_service_tells_nothing_and_its_command_is_killed() {
    let world = World::new();
    let url = format!("http://127.0.0.1:{}/silent", web(paths));
    let health = Health { timeout_ms: 100, test_http: vec![url], ..cmd(&["old"]) };
    world.prober.check(&name("db"), 1, Arc::new(health));
    assert_eq!(world.next(), run("db", 1, "old"));
    world.prober.forget(&name("db"));
    assert_eq!(world.next(), News::Kill { service: name("db") });
    // One of the same name waits until the slot is free.
    world.prober.check(&name("db"), 2, Arc::new(cmd(&["new"])));
    world.prober.ran(&name("db"), &Exit::Signal { signal: 9, core: false });
    assert_eq!(world.next(), run("db", 2, "new"));
    world.prober.forget(&name("db"));
    assert_eq!(world.next(), News::Kill { service: name("db") });
}

#[test]
fn the_thread_ends_with_the_last_prober_whatever_hangs() {
    let World { prober, news } = World::new();
    prober.check(&name("db"), 1, Arc::new(cmd(&["hangs"])));
    let url = format!("http://127.0.0.1:{}/silent", web(paths));
    prober.check(&name("web"), 1, Arc::new(http(url)));
    assert_eq!(news.recv(), Ok(run("db", 1, "hangs")));
    drop(prober);
    assert_eq!(news.recv(), Ok(News::Kill { service: name("db") }));
    // With the thread went the other end of this channel.
    assert!(news.recv().is_err());
}
