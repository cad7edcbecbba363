//! Clients that come: who waits, for how long, who may, and how many.

use std::io::ErrorKind;
use std::net::Shutdown;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::*;

#[test]
fn a_hundred_first_clients_knock_once_and_are_served_in_order() {
    let world = World::new("hundred");
    world.serve(|_| {});
    let clients: Vec<_> = (0..100).map(|_| world.connect()).collect();
    clients.iter().enumerate().for_each(|(index, it)| say(it, &format!("{index:03}")));
    world.hears_a_knock();
    world.comes_to(100, |it| &it.waiting);
    world.hears_nothing();
    let backend = world.backend();
    world.gate(Way::Open);
    for (index, client) in clients.iter().enumerate() {
        let served = accept(&backend);
        reads(&served, &format!("{index:03}"));
        say(&served, "hello");
        reads(client, "hello");
    }
    world.hears_nothing();
    assert_eq!((world.count(|it| &it.total), world.count(|it| &it.starts)), (100, 1));
    assert_eq!((world.count(|it| &it.waiting), world.held()), (0, 0));
    drop(clients);
    world.comes_to(0, |it| &it.active);
    assert_eq!(world.count(|it| &it.to_backend), 300);
    assert_eq!(world.count(|it| &it.from_backend), 500);
}

#[test]
fn a_word_that_leaves_somebody_waiting_is_answered_with_a_knock() {
    let world = World::new("again");
    world.serve(|_| {});
    let _client = world.connect();
    world.hears_a_knock();
    let turn = world.gate(Way::Shut);
    world.hears_a_knock();
    assert_eq!(world.hear(), Said::Drained { service: name("web"), turn });
}

#[test]
fn a_client_whose_time_is_over_is_closed_and_one_sentence_tells_why() {
    let world = World::new("vain");
    world.serve(|it| it.connect_timeout_ms = 100);
    let clients = [world.connect(), world.connect()];
    world.hears_a_knock();
    clients.iter().for_each(ends);
    let why = "clients have waited in vain: `web` was not up for 100ms".to_owned();
    assert_eq!(world.hear(), Said::Noted { proxy: name("web"), why });
    world.hears_nothing();
    assert_eq!((world.count(|it| &it.timed_out), world.count(|it| &it.waiting)), (2, 0));
    assert_eq!(world.held(), 0);
}

#[test]
fn a_tcp_client_of_whom_nobody_took_notice_is_reset() {
    let world = World::new("nobody");
    let (front, back) = (free_port(), free_port());
    world.serve(|it| {
        it.listen = vec![at(&format!("127.0.0.1:{front}"))];
        it.backend = Some(at(&format!("127.0.0.1:{back}")));
        it.connect_timeout_ms = 1_000;
    });
    world.gate(Way::Open);
    let error = tcp(front).read(&mut [0]).expect_err("it is reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let why = format!("clients have waited in vain: nobody listened at 127.0.0.1:{back} for 1s");
    assert_eq!(world.hear(), Said::Noted { proxy: name("web"), why });
}

#[test]
fn of_a_service_that_has_failed_everybody_is_sent_away_and_the_next_one_knocks() {
    let world = World::new("failed");
    world.serve(|_| {});
    let client = world.connect();
    world.hears_a_knock();
    world.gate(Way::Failed);
    ends(&client);
    let why = "clients are sent away: `web` is down and is not started for them".to_owned();
    assert_eq!(world.hear(), Said::Noted { proxy: name("web"), why });
    assert_eq!((world.count(|it| &it.refused), world.count(|it| &it.timed_out)), (1, 0));
    let _next = world.connect();
    world.hears_a_knock();
}

#[test]
fn more_than_may_wait_are_refused_and_one_sentence_tells_it() {
    let world = World::new("crowd");
    world.serve(|it| it.max_waiting = 2);
    let _waiting = [world.connect(), world.connect()];
    world.hears_a_knock();
    ends(world.connect());
    ends(world.connect());
    let why = "clients are refused: 2 wait already (`max_waiting`)".to_owned();
    assert_eq!(world.hear(), Said::Noted { proxy: name("web"), why });
    world.hears_nothing();
    assert_eq!((world.count(|it| &it.refused), world.count(|it| &it.waiting)), (2, 2));
}

#[test]
fn more_than_may_be_connected_wait_until_one_has_gone() {
    let world = World::new("room");
    world.serve(|it| it.max_connections = 1);
    let backend = world.backend();
    world.gate(Way::Open);
    let first = world.connect();
    let served = accept(&backend);
    let second = world.connect();
    say(&second, "second");
    world.comes_to(1, |it| &it.waiting);
    world.hears_nothing();
    drop((first, served));
    reads(accept(&backend), "second");
    assert_eq!(world.count(|it| &it.starts), 0);
}

#[test]
fn who_hangs_up_waits_no_more_and_who_has_only_ended_its_half_does() {
    let world = World::new("hangup");
    world.serve(|_| {});
    let (gone, quiet, all) = (world.connect(), world.connect(), world.connect());
    say(&all, "all");
    all.shutdown(Shutdown::Write).expect("half of it ends");
    world.comes_to(3, |it| &it.waiting);
    quiet.shutdown(Shutdown::Write).expect("half of it ends");
    drop(gone);
    world.comes_to(2, |it| &it.waiting);
    let backend = world.backend();
    world.gate(Way::Open);
    let served = accept(&backend);
    ends(&served);
    say(&served, "welcome");
    reads(&quiet, "welcome");
    let served = accept(&backend);
    reads(&served, "all");
    ends(&served);
    say(&served, "answer");
    reads(&all, "answer");
}

#[test]
fn nobody_overtakes_who_is_still_in_the_hands_of_the_keeper() {
    let world = World::new("overtake");
    world.serve(|_| {});
    let (one, two) = (world.connect(), world.connect());
    say(&one, "one");
    say(&two, "two");
    world.holds(2);
    let backend = world.backend();
    let keeper = world.keeper.lock().expect("no panic");
    world.gate(Way::Open);
    world.comes_to(2, |it| &it.total);
    let new = world.connect();
    say(&new, "new");
    world.comes_to(3, |it| &it.total);
    drop(keeper);
    for it in ["one", "two", "new"] {
        reads(accept(&backend), it);
    }
}

#[test]
fn who_ends_its_half_and_then_hangs_up_waits_no_more() {
    let world = World::new("halves");
    world.serve(|_| {});
    let client = world.connect();
    world.comes_to(1, |it| &it.waiting);
    client.shutdown(Shutdown::Write).expect("half of it ends");
    world.hears_a_knock();
    world.hears_nothing();
    assert_eq!(world.count(|it| &it.waiting), 1);
    drop(client);
    world.comes_to(0, |it| &it.waiting);
}

#[test]
fn a_service_that_listens_late_is_tried_until_it_does() {
    let world = World::new("late");
    world.serve(|_| {});
    world.gate(Way::Open);
    let clients = [world.connect(), world.connect()];
    world.comes_to(2, |it| &it.waiting);
    let backend = world.backend();
    let served = [accept(&backend), accept(&backend)];
    served.iter().for_each(|it| say(it, "here"));
    clients.iter().for_each(|it| reads(it, "here"));
    assert_eq!(world.count(|it| &it.starts), 0);
}

#[test]
fn what_the_service_is_told_of_a_client_comes_before_its_first_byte() {
    let world = World::new("preface");
    world.serve(|it| it.proxy_protocol = crate::spec::ProxyProtocol::V1);
    let backend = world.backend();
    world.gate(Way::Open);
    let client = world.connect();
    say(&client, "hello");
    reads(accept(&backend), "PROXY UNKNOWN\r\nhello");
}

#[test]
fn a_service_that_has_the_socket_itself_is_knocked_for_once_per_word() {
    let world = World::new("pass");
    let sockets = world.serve(|it| (it.mode, it.backend) = (crate::spec::Mode::Pass, None));
    let clients = [world.connect(), world.connect()];
    world.hears_a_knock();
    world.hears_nothing();
    world.gate(Way::Open);
    world.comes_to(1, |it| &it.starts);
    assert_eq!(world.count(|it| &it.total), 0);
    let _another = world.connect();
    world.hears_nothing();
    let turn = world.gate(Way::Shut);
    let drained = Said::Drained { service: name("web"), turn };
    let said = [world.hear(), world.hear()];
    assert!(said.contains(&drained), "{said:?}");
    assert!(said.contains(&Said::Knocked { service: name("web") }), "{said:?}");
    drop((clients, sockets));
}

#[test]
fn who_has_come_to_a_socket_of_a_service_that_has_failed_does_not_knock_for_ever() {
    let world = World::new("pass-failed");
    let sockets = world.serve(|it| (it.mode, it.backend) = (crate::spec::Mode::Pass, None));
    let blocks = OFlag::empty();
    for it in &*sockets {
        fcntl(it, FcntlArg::F_SETFL(blocks)).expect("it is open");
    }
    let clients = [world.connect(), world.connect()];
    world.hears_a_knock();
    world.gate(Way::Failed);
    clients.iter().for_each(ends);
    let why = "clients are sent away: `web` is down and is not started for them".to_owned();
    assert_eq!(world.hear(), Said::Noted { proxy: name("web"), why });
    world.hears_nothing();
    assert_eq!((world.count(|it| &it.refused), world.count(|it| &it.starts)), (2, 0));
    let flags = fcntl(&sockets[0], FcntlArg::F_GETFL).expect("it is open");
    assert!(!OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK), "its service waits at it");
    let next = world.connect();
    world.hears_a_knock();
    world.gate(Way::Failed);
    ends(next);
    world.hears_nothing();
}

#[test]
fn who_is_not_among_the_users_may_not_come_in() {
    if !nix::unistd::geteuid().is_root() {
        return; // Nobody else can be played.
    }
    let world = World::new("users");
    world.serve(|it| it.users = vec!["daemon".to_owned()]);
    world.gate(Way::Shut);
    assert!(matches!(world.hear(), Said::Drained { .. }));
    let front = world.path("front");
    let other = |uid| {
        let front = front.clone();
        let connect = move || {
            become_alone(uid);
            UnixStream::connect(front).expect("it listens")
        };
        thread::spawn(connect).join().expect("no panic")
    };
    let (_root, _one_of_them) = (world.connect(), other(1));
    world.hears_a_knock();
    world.comes_to(2, |it| &it.waiting);
    ends(other(65_534));
    let why = "user 65534 may not connect: `users` does not name them".to_owned();
    assert_eq!(world.hear(), Said::Noted { proxy: name("web"), why });
    assert_eq!((world.count(|it| &it.refused), world.count(|it| &it.total)), (1, 3));
}

/// Makes this thread, and no other, somebody else's.
#[expect(unsafe_code, reason = "the wrapper changes all threads")]
fn become_alone(uid: nix::libc::uid_t) {
    // SAFETY: it takes three numbers.
    let done = unsafe { nix::libc::syscall(nix::libc::SYS_setresuid, -1, uid, -1) };
    assert_eq!(done, 0);
}
