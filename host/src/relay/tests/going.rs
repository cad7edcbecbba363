//! Clients that are passed on: idleness, drains, and services that die.

use super::*;

#[test]
fn an_idle_service_gets_nobody_until_the_next_word() {
    let world = World::new("idle");
    world.serve(|it| it.idle_timeout_ms = 100);
    let backend = world.backend();
    let turn = world.gate(Way::Open);
    let client = world.connect();
    let served = accept(&backend);
    let Said::Idle { service, turn: of, connections, quiet_ms } = world.hear() else {
        panic!("it is not idle")
    };
    assert_eq!((service, of, connections), (name("web"), turn, 1));
    assert!((100..600).contains(&quiet_ms), "{quiet_ms}");
    let late = world.connect();
    world.hears_a_knock();
    world.comes_to(1, |it| &it.waiting);
    say(&served, "still here");
    reads(&client, "still here");
    world.gate(Way::Open);
    say(&late, "late");
    reads(accept(&backend), "late");
}

#[test]
fn idleness_counts_from_the_last_byte() {
    let world = World::new("byte");
    world.serve(|it| it.idle_timeout_ms = 300);
    let backend = world.backend();
    world.gate(Way::Open);
    let client = world.connect();
    let served = accept(&backend);
    let begin = crate::clock::instant();
    for _ in 0..5 {
        let tick = world.said.recv_timeout(Duration::from_millis(100));
        assert!(tick.is_err(), "{tick:?}");
        say(&client, "x");
        reads(&served, "x");
    }
    let last = begin.elapsed();
    assert!(matches!(world.hear(), Said::Idle { .. }));
    let quiet = begin.elapsed() - last;
    assert!((290..800).contains(&quiet.as_millis()), "{quiet:?}");
}

#[test]
fn idleness_is_that_of_the_most_patient_proxy() {
    let world = World::new("patient");
    world.serve(|it| it.idle_timeout_ms = 50);
    let other = world.proxy(|it| {
        it.listen = vec![Address::Unix(world.path("other"))];
        it.idle_timeout_ms = 400;
    });
    let other = Arc::new(Proxy { name: name("other"), ..(*other).clone() });
    let opened = open(&other);
    world.relay.stand(other, opened);
    world.gate(Way::Open);
    let Said::Idle { quiet_ms, .. } = world.hear() else { panic!("it is not idle") };
    assert!((400..900).contains(&quiet_ms), "{quiet_ms}");
}

#[test]
fn a_service_may_be_stopped_when_everybody_has_got_an_answer() {
    let (world, _backend, client, served) = World::joined("drain");
    say(&client, "question");
    let turn = world.gate(Way::Shut);
    world.hears_nothing();
    reads(&served, "question");
    say(&served, "answer");
    assert_eq!(world.hear(), Said::Drained { service: name("web"), turn });
    reads(&client, "answer");
}

#[test]
fn a_service_is_not_stopped_while_a_later_question_is_open() {
    let (world, _backend, client, served) = World::joined("query");
    say(&served, "welcome");
    reads(&client, "welcome");
    say(&client, "query");
    reads(&served, "query");
    let turn = world.gate(Way::Shut);
    world.hears_nothing();
    say(&served, "rows");
    assert_eq!(world.hear(), Said::Drained { service: name("web"), turn });
    reads(&client, "rows");
}

#[test]
fn a_drain_is_over_when_who_asked_has_gone_or_another_word_came() {
    let (world, _backend, client, served) = World::joined("undrained");
    say(&client, "question");
    world.gate(Way::Shut);
    world.hears_nothing();
    world.gate(Way::Open);
    world.hears_nothing();
    let turn = world.gate(Way::Shut);
    drop(client);
    reads(&served, "question");
    drop(served);
    assert_eq!(world.hear(), Said::Drained { service: name("web"), turn });
}

#[test]
fn who_was_reset_before_the_first_byte_by_a_service_that_stops_goes_to_the_next_one() {
    let (world, backend) = World::open("unheard");
    let client = world.connect();
    say(&client, "question");
    let served = accept(&backend);
    world.comes_to(8, |it| &it.to_backend);
    world.gate(Way::Shut);
    let later = world.connect();
    world.hears_a_knock();
    drop((served, backend)); // Unread bytes make it a reset.
    assert!(matches!(world.hear(), Said::Drained { .. }));
    world.comes_to(2, |it| &it.waiting);
    let backend = world.backend();
    world.gate(Way::Open);
    let served = accept(&backend);
    reads(&served, "question");
    say(&served, "answer");
    reads(&client, "answer");
    drop(later);
}

#[test]
fn who_was_reset_by_a_service_that_has_died_unnoticed_waits_for_the_next_one() {
    let (world, backend) = World::open("died");
    let client = world.connect();
    say(&client, "question");
    let served = accept(&backend);
    world.comes_to(8, |it| &it.to_backend);
    drop(backend);
    drop(served);
    world.comes_to(1, |it| &it.waiting);
    world.gate(Way::Shut);
    world.hears_a_knock();
    let backend = world.backend();
    world.gate(Way::Open);
    reads(accept(&backend), "question");
}

impl World {
    /// A service that is stopped while it has a client's question unread: a reset. Returns what is said
    /// before it is drained.
    fn dies_with_a_question(&self) -> Said {
        let before = self.count(|it| &it.to_backend);
        let backend = self.backend();
        self.gate(Way::Open);
        let served = accept(&backend);
        self.comes_to(before + 8, |it| &it.to_backend);
        self.gate(Way::Shut);
        self.hears_nothing();
        drop((served, backend));
        let said = self.hear();
        assert!(matches!(self.hear(), Said::Drained { .. }));
        said
    }
}

#[test]
fn who_ends_every_service_that_it_asks_is_sent_away_after_the_fourth() {
    let world = World::new("poison");
    world.serve(|_| {});
    let client = world.connect();
    say(&client, "question");
    let knock = Said::Knocked { service: name("web") };
    assert_eq!(world.hear(), knock);
    (0..3).for_each(|_| assert_eq!(world.dies_with_a_question(), knock));
    let why = "`web` has ended 4 times before its first byte to it";
    let why = format!("a client is sent away: {why}");
    assert_eq!(world.dies_with_a_question(), Said::Noted { proxy: name("web"), why });
    ends_somehow(&client);
    assert_eq!((world.count(|it| &it.waiting), world.count(|it| &it.timed_out)), (0, 1));
}

#[test]
fn who_comes_back_waits_no_longer_than_it_may_wait_all_in_all() {
    let world = World::new("all-in-all");
    world.serve(|it| it.connect_timeout_ms = 1_000);
    let begin = crate::clock::instant();
    let client = world.connect();
    say(&client, "question");
    world.hears_a_knock();
    assert!(world.said.recv_timeout(Duration::from_millis(600)).is_err());
    world.dies_with_a_question();
    ends_somehow(&client);
    let took = begin.elapsed();
    assert!((900..1_400).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn who_has_said_nothing_when_a_service_is_stopped_goes_to_the_next_one() {
    let (world, backend) = World::open("silent");
    let (client, done) = (world.connect(), world.connect());
    let served = [accept(&backend), accept(&backend)];
    done.shutdown(std::net::Shutdown::Write).expect("half of it ends");
    ends(&served[1]);
    let turn = world.gate(Way::Shut);
    assert_eq!(world.hear(), Said::Drained { service: name("web"), turn });
    drop((served, backend));
    ends(&done);
    world.hears_a_knock();
    say(&client, "question");
    let backend = world.backend();
    world.gate(Way::Open);
    let served = accept(&backend);
    reads(&served, "question");
    say(&served, "answer");
    reads(&client, "answer");
}

#[test]
fn an_orderly_end_of_a_service_that_is_up_is_passed_on() {
    let (world, _backend, client, served) = World::joined("half");
    served.shutdown(std::net::Shutdown::Write).expect("half of it ends");
    ends(&client);
    world.gate(Way::Shut);
    say(&client, "all the same");
    reads(&served, "all the same");
}

#[test]
fn a_second_reset_by_a_service_that_is_up_is_passed_on() {
    let (world, backend) = World::open("unwanted");
    let client = world.connect();
    say(&client, "question");
    for times in 1..=2 {
        let served = accept(&backend);
        world.comes_to(8 * times, |it| &it.to_backend);
        drop(served);
    }
    ends_somehow(&client);
    assert_eq!((world.count(|it| &it.waiting), world.count(|it| &it.active)), (0, 0));
}

#[test]
fn a_proxy_that_goes_sends_away_who_waits_and_keeps_who_is_connected() {
    let (world, _backend, client, served) = World::joined("withdraw");
    let turn = world.gate(Way::Shut);
    assert_eq!(world.hear(), Said::Drained { service: name("web"), turn });
    let waiting = world.connect();
    world.hears_a_knock();
    world.relay.withdraw(&name("web"));
    assert!(!world.path("front").exists());
    assert!(world.faces.get("web").is_none());
    ends(&waiting);
    say(&client, "question");
    reads(&served, "question");
    say(&served, "answer");
    reads(&client, "answer");
}

#[test]
fn who_waits_stays_when_the_proxy_is_changed() {
    let world = World::new("change");
    let sockets = world.serve(|_| {});
    let client = world.connect();
    world.hears_a_knock();
    let other = world.dir.join("elsewhere");
    let proxy = world.proxy(|it| {
        it.listen = vec![Address::Unix(other.clone())];
        it.backend = Some(Address::Unix(world.path("second")));
    });
    let service = name("second");
    let proxy = Arc::new(Proxy { service: service.clone(), ..(*proxy).clone() });
    drop(sockets);
    let opened = open(&proxy);
    world.relay.stand(proxy, opened);
    assert_eq!(world.hear(), Said::Knocked { service: service.clone() });
    assert!(!world.path("front").exists());
    let backend = UnixListener::bind(world.path("second")).expect("nobody listens there");
    world.relay.gate(&service, Gate { turn: 1, way: Way::Open });
    say(&client, "question");
    reads(accept(&backend), "question");
    assert_eq!((world.count(|it| &it.waiting), world.count(|it| &it.active)), (0, 1));
    UnixStream::connect(other).expect("it listens there");
}

#[test]
fn words_about_a_service_whose_proxy_comes_back_may_be_counted_anew() {
    let world = World::new("anew");
    world.gate(Way::Open);
    assert!(matches!(&*world.relay.line(), super::super::Line::Quiet(early) if early.is_empty()));
    world.serve(|_| {});
    world.gate(Way::Open);
    let turn = world.gate(Way::Shut);
    assert_eq!(world.hear(), Said::Drained { service: name("web"), turn });
    world.relay.withdraw(&name("web"));
    world.serve(|_| {});
    world.relay.gate(&name("web"), Gate { turn: 1, way: Way::Open });
    let backend = world.backend();
    let client = world.connect();
    say(&client, "question");
    reads(accept(&backend), "question");
}

#[test]
fn a_relay_whose_thread_has_ended_by_itself_gives_up_once() {
    let world = World::new("gone");
    world.serve(|_| {});
    let mut line = world.relay.line();
    if let super::super::Line::Open { orders, bell, .. } = &mut *line {
        *orders = Arc::new(mpsc::channel().0);
        bell.write(1).expect("it is heard");
    }
    drop(line);
    world.gate(Way::Open);
    assert!(matches!(&*world.relay.line(), super::super::Line::Closed));
    assert_eq!(world.relay.retire(), []);
}

#[test]
fn who_says_more_than_a_turn_is_for_gets_all_of_it_through_without_saying_more() {
    const LENGTH: usize = 64 << 20;
    let world = World::new("bulk");
    let (front, back) = (free_port(), TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let to = back.local_addr().expect("it has one").port();
    world.serve(|it| {
        it.listen = vec![at(&format!("127.0.0.1:{front}"))];
        it.backend = Some(at(&format!("127.0.0.1:{to}")));
    });
    world.gate(Way::Open);
    let client = tcp(front);
    let (mut served, _) = back.accept().expect("it is passed on");
    served.set_read_timeout(Some(LIMIT)).expect("a socket has time limits");
    let says = thread::spawn(move || {
        (&client).write_all(&vec![b'x'; LENGTH]).expect("all of it is taken");
        client
    });
    let (mut all, mut buffer) = (0, vec![0; 1 << 20]);
    while all < LENGTH {
        match served.read(&mut buffer).expect("it goes on") {
            0 => panic!("it ends after {all} bytes"),
            length => all += length,
        }
    }
    says.join().expect("it has said all");
}
