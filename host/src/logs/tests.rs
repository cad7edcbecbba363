//! What services print, through real pipes and the real thread.

use std::fs::File;
use std::io::Write;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::unistd::pipe;

use super::*;
use crate::interrupt::Deadline;
use crate::probe::News;

struct Writer {
    stdout: File,
    stderr: File,
}

fn service(logs: &Logs, name: &str, mode: LogMode) -> Writer {
    let (out_read, out_write) = pipe().unwrap();
    let (err_read, err_write) = pipe().unwrap();
    logs.attach(ServiceName::parse(name).unwrap(), mode, out_read, err_read).unwrap();
    Writer { stdout: out_write.into(), stderr: err_write.into() }
}

/// The lines once they are so; the thread has its own pace.
fn eventually(mut lines: impl FnMut() -> Vec<String>, want: &[&str]) {
    let deadline = Deadline::within(Duration::from_secs(10));
    while lines() != want {
        assert!(!deadline.has_passed(), "wanted {want:?}, got {:?}", lines());
        thread::yield_now();
    }
}

#[test]
fn lines_of_all_services_come_in_the_order_in_which_they_were_read() {
    let logs = Logs::start().unwrap();
    let (mut a, mut b) = (service(&logs, "a", LogMode::Ring), service(&logs, "b", LogMode::Ring));
    a.stdout.write_all(b"one\n").unwrap();
    eventually(|| logs.get(), &["[+] a: one"]);
    b.stderr.write_all(b"two\n").unwrap();
    eventually(|| logs.get(), &["[+] a: one", "[-] b: two"]);
    a.stdout.write_all(b"three\nunfinished").unwrap();
    let all = ["[+] a: one", "[-] b: two", "[+] a: three", "[+] a: unfinished"];
    eventually(|| logs.get(), &all);
    assert_eq!(logs.tail(2), all[2..]);
    assert_eq!(logs.filter("b"), ["[-] b: two"]);
    assert_eq!(logs.filter("wo"), ["[-] b: two"]);
}

#[test]
fn a_service_that_floods_starves_nobody_and_keeps_its_bound() {
    let logs = Logs::start().unwrap();
    let mut loud = service(&logs, "loud", LogMode::Ring);
    let mut quiet = service(&logs, "quiet", LogMode::Ring);
    let flood = thread::spawn(move || {
        let chunk = [b'x'; 99].iter().chain(b"\n").copied().collect::<Vec<u8>>().repeat(600);
        (0..300).for_each(|_| loud.stdout.write_all(&chunk).unwrap());
    });
    quiet.stdout.write_all(b"here\n").unwrap();
    eventually(|| logs.filter("quiet"), &["[+] quiet: here"]);
    flood.join().unwrap();
    let kept: usize = logs.filter("loud").iter().map(|it| it.len() + 64).sum();
    assert!(kept <= 160 * 1024, "{kept}");
}

#[test]
fn pipes_can_be_replaced_modes_changed_and_services_forgotten() {
    let logs = Logs::start().unwrap();
    let mut a = service(&logs, "a", LogMode::Ring);
    a.stdout.write_all(b"old\n").unwrap();
    eventually(|| logs.get(), &["[+] a: old"]);
    let mut a = service(&logs, "a", LogMode::Ring);
    a.stdout.write_all(b"new\n").unwrap();
    eventually(|| logs.get(), &["[+] a: old", "[+] a: new"]);
    logs.set_mode("a", LogMode::None);
    a.stdout.write_all(b"unseen\n").unwrap();
    let mut b = service(&logs, "b", LogMode::Ring);
    b.stdout.write_all(b"seen\n").unwrap();
    eventually(|| logs.get(), &["[+] a: old", "[+] a: new", "[+] b: seen"]);
    logs.detach("a");
    assert_eq!(logs.get(), ["[+] b: seen"]);
    drop(b);
    let mut c = service(&logs, "c", LogMode::Ring);
    c.stderr.write_all(b"\xff!\n").unwrap();
    eventually(|| logs.filter("c"), &["[-] c: \u{fffd}!"]);
}

#[test]
fn the_thread_ends_with_the_last_handle() {
    let logs = Logs::start().unwrap();
    let shared = Arc::downgrade(&logs.0.0);
    drop(logs);
    let deadline = Deadline::within(Duration::from_secs(10));
    while shared.upgrade().is_some() {
        assert!(!deadline.has_passed());
        thread::yield_now();
    }
}

/// Logs whose news the test reads.
fn told() -> (Logs, Receiver<News>) {
    let (logs, (sender, news)) = (Logs::start().unwrap(), channel());
    logs.report_to(Teller::new(sender, Arc::new(EventFd::new().unwrap())));
    (logs, news)
}

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

fn pattern(text: &str) -> Option<Regex> {
    Some(Regex::new(text).unwrap())
}

fn ready(service: &str, incarnation: u64) -> News {
    News::Happened(name(service), Happening::Ready { incarnation })
}

#[test]
fn a_line_that_matches_says_once_that_a_service_is_ready_also_on_pipes_that_come_later() {
    let (logs, news) = told();
    logs.await_line(&name("a"), 1, pattern("(?i)^listening on \\d+$"));
    let (mut a, mut b) = (service(&logs, "a", LogMode::Ring), service(&logs, "b", LogMode::Ring));
    b.stdout.write_all(b"listening on 80\n").unwrap();
    a.stdout.write_all(b"not listening on 80\nlistening on 8").unwrap();
    eventually(|| logs.tail(1), &["[+] a: listening on 8"]);
    assert!(news.try_recv().is_err());
    a.stderr.write_all(b"Listening on 80\nlistening on 81\n").unwrap();
    let patience = Duration::from_secs(10);
    assert_eq!(news.recv_timeout(patience), Ok(ready("a", 1)));
    a.stdout.write_all(b"0\nend\n").unwrap();
    eventually(|| logs.tail(1), &["[+] a: end"]);
    assert!(news.try_recv().is_err());
}

#[test]
fn what_an_earlier_process_has_printed_does_not_count() {
    let (logs, news) = told();
    let mut a = service(&logs, "a", LogMode::Ring);
    for incarnation in 1..200 {
        // Some of it is in the pipe, some with the thread, some on the table.
        a.stdout.write_all(b"ready\nrea").unwrap();
        logs.await_line(&name("a"), incarnation, pattern("^ready$"));
        a.stdout.write_all(b"dy\nno\n").unwrap();
        eventually(|| logs.tail(2), &["[+] a: dy", "[+] a: no"]);
        assert!(news.try_recv().is_err());
        a.stdout.write_all(b"ready\n").unwrap();
        assert_eq!(news.recv_timeout(Duration::from_secs(10)), Ok(ready("a", incarnation)));
    }
    logs.await_line(&name("a"), 200, pattern("."));
    logs.await_line(&name("a"), 201, None);
    a.stdout.write_all(b"ready\nend\n").unwrap();
    eventually(|| logs.tail(1), &["[+] a: end"]);
    assert!(news.try_recv().is_err());
}

#[test]
fn a_forgotten_service_is_waited_for_no_more() {
    let (logs, news) = told();
    logs.await_line(&name("a"), 1, pattern("."));
    logs.detach("a");
    let mut a = service(&logs, "a", LogMode::Ring);
    a.stdout.write_all(b"ready\n").unwrap();
    eventually(|| logs.get(), &["[+] a: ready"]);
    assert!(news.try_recv().is_err());
}
