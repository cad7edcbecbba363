//! What is passed on is passed on as it is.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt::Linger};
use serde_json::json;
use zinit_tests::clients::{Client, free_address};
use zinit_tests::daemon::Home;

use super::{Family, NAME, Stand};

fn both(test: fn(Stand)) {
    for family in [Family::Tcp, Family::Unix] {
        test(Stand::new(family, "", "notify: true\n", &[]));
    }
}

#[test]
fn who_says_no_more_still_hears_the_rest() {
    both(|stand| {
        for _ in 0..2 {
            let mut client = stand.client();
            client.say("a question, and its end\n");
            client.ends_its_half();
            assert_eq!(client.rest().expect("an orderly end"), "a question, and its end\n");
        }
    });
}

#[test]
fn a_service_that_resets_a_client_has_it_reset() {
    let stand = Stand::new(Family::Tcp, "", "notify: true\n", &[]);
    let mut client = stand.client();
    assert_eq!(client.asks("hello"), "hello");
    client.say("reset\n");
    assert_eq!(client.fate(), "reset");
    // The first words of another one.
    let mut client = stand.client();
    client.say("reset\n");
    assert_eq!(client.fate(), "reset");
}

#[test]
fn a_client_that_resets_its_connection_is_gone_for_the_service_too() {
    let stand = Stand::new(Family::Tcp, "finish", "notify: true\nshutdown_timeout: 60\n", &[]);
    let mut client = stand.client();
    assert_eq!(client.asks("hello"), "hello");
    let now = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&client, Linger, &now).expect("it is a socket");
    drop(client);
    stand.home.until("it is gone", || stand.proxy()["active_connections"] == 0);
    // It waits for its clients, of whom it has none.
    stand.home.zinit(["stop", NAME]);
    assert_eq!(stand.home.status(NAME).last_exit, "exit 0");
}

/// The largest amount of memory that a process has had, in KiB.
fn peak(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).expect("it is told");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn is_slowed_down(family: Family) {
    const MUCH: usize = 64 << 20;
    let stand = Stand::new(family, "", "notify: true\n", &[]);
    {
        let mut client = stand.client();
        assert_eq!(client.asks("hello"), "hello");
        let brain = stand.home.brain().expect("it runs");
        let before = peak(brain);
        let chunk: Vec<u8> = (0..1 << 20).map(|it| (it % 251) as u8).collect();
        fcntl(client.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("it has flags");
        // It says as much as it can before everything between it and itself is full.
        let mut said = 0;
        loop {
            match client.write(&chunk[said % chunk.len()..]) {
                Ok(count) => said += count,
                Err(why) if why.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLOUT)];
                    if poll(&mut fds, PollTimeout::from(500_u16)) == Ok(0) {
                        break;
                    }
                }
                Err(why) => panic!("{why}"),
            }
            // The kernel's buffers on the way may take all of it.
            if said >= MUCH {
                break;
            }
        }
        assert!(peak(brain) < before + 2_048, "{} after {before} KiB", peak(brain));
        // Others do not notice.
        assert_eq!(stand.client().asks("others"), "others");
        // At last it hears all of it, as it was said, while it says the rest.
        let (mut heard, mut buffer) = (0, vec![0; 1 << 20]);
        while heard < MUCH {
            if said < MUCH {
                let end = chunk.len().min(said % chunk.len() + MUCH - said);
                if let Ok(count) = client.write(&chunk[said % chunk.len()..end]) {
                    said += count;
                }
            }
            match client.read(&mut buffer) {
                Ok(0) => panic!("it ended after {heard}"),
                Ok(count) => {
                    for (at, byte) in buffer[..count].iter().enumerate() {
                        assert_eq!(*byte, chunk[(heard + at) % chunk.len()], "at {}", heard + at);
                    }
                    heard += count;
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => {
                    let wanted = if said < MUCH { PollFlags::POLLOUT } else { PollFlags::empty() };
                    let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLIN | wanted)];
                    let ready = poll(&mut fds, PollTimeout::from(40_000_u16));
                    assert_ne!(ready, Ok(0), "silence; {said} said, {heard} heard");
                }
                Err(why) => panic!("{why}"),
            }
        }
        assert!(peak(brain) < before + 4_096, "{} after {before} KiB", peak(brain));
    }
}

#[test]
fn a_client_at_a_port_that_says_much_and_hears_nothing_is_slowed_down_and_costs_no_memory() {
    is_slowed_down(Family::Tcp);
}

#[test]
fn a_client_at_a_path_that_says_much_and_hears_nothing_is_slowed_down_and_costs_no_memory() {
    is_slowed_down(Family::Unix);
}

#[test]
fn a_slow_client_hears_everything() {
    both(|stand| {
        let mut client = stand.client();
        let text = "0123456789".repeat(100) + "\n";
        for byte in text.bytes() {
            client.write_all(&[byte]).expect("somebody hears it");
        }
        assert_eq!(client.line() + "\n", text);
    });
}

#[test]
fn a_service_is_told_who_its_client_is() {
    let (front, back) = (free_address(), free_address());
    let listener = TcpListener::bind(&back).expect("it is free");
    let yaml = format!(
        "exec: sleep 1000\nxinit:\n  enabled: true\n  listen: {front}\n  backend: {back}\n  \
         proxy_protocol: v1\n"
    );
    let home = Home::new().service(NAME, &yaml).start();
    let mut client = Client::to(&front);
    client.say("hello\n");
    let Client::Tcp(stream) = &client else { unreachable!("it is a port") };
    let (ours, theirs) = (stream.local_addr().expect("it is connected"), front.as_str());
    let (mut service, _) = listener.accept().expect("somebody connects");
    let mut said = vec![0; 256];
    let (mut count, port) = (0, theirs.rsplit(':').next().expect("a port"));
    while !said[..count].ends_with(b"hello\n") {
        let more = service.read(&mut said[count..]).expect("it says something");
        assert_ne!(more, 0, "{:?}", String::from_utf8_lossy(&said[..count]));
        count += more;
    }
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {port}\r\nhello\n", ours.port());
    assert_eq!(String::from_utf8_lossy(&said[..count]), expected);
    service.write_all(b"welcome\n").expect("it listens");
    assert_eq!(client.line(), "welcome");
    let proxy = home.ask("xinit.status", json!([NAME]));
    assert_eq!(proxy["bytes_from_backend"], 8, "{proxy}");
}
