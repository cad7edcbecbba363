//! A service that goes up and down among clients that come all the time: nobody is lost.

use std::os::fd::AsRawFd;
use std::thread::JoinHandle;

use nix::sys::socket::{Shutdown, shutdown};

use super::*;

/// A service that answers every client once.
struct Service {
    listener: UnixListener,
    thread: JoinHandle<()>,
}

impl Service {
    fn start(world: &World) -> Self {
        let listener = world.backend();
        let own = listener.try_clone().expect("a descriptor");
        let thread = thread::spawn(move || {
            while let Ok((mut served, _)) = own.accept() {
                // A client that was called back when its connection was made says nothing.
                if served.read_exact(&mut [0; 4]).is_ok() {
                    say(&served, "pong");
                }
            }
        });
        Self { listener, thread }
    }

    /// Whoever was not accepted by now is reset.
    fn stop(self) {
        shutdown(self.listener.as_raw_fd(), Shutdown::Both).expect("it listens");
        self.thread.join().expect("it served well");
    }
}

/// Starts the service when somebody knocks, and stops it when it is idle, until the test is over; how often
/// it was started.
fn play(world: &World, is_over: impl Fn() -> bool) -> usize {
    let (mut service, mut is_wanted, mut starts) = (None, false, 0);
    let mut shut = 0;
    while !is_over() {
        match world.said.recv_timeout(Duration::from_millis(20)) {
            Ok(Said::Knocked { .. }) => is_wanted = true,
            Ok(Said::Idle { .. }) => shut = world.gate(Way::Shut),
            Ok(Said::Drained { turn, .. }) if turn == shut => {
                service.take().into_iter().for_each(Service::stop);
            }
            Ok(_) | Err(_) => {}
        }
        if is_wanted && service.is_none() {
            service = Some(Service::start(world));
            (is_wanted, starts) = (false, starts + 1);
            world.gate(Way::Open);
        }
    }
    service.into_iter().for_each(Service::stop);
    starts
}

fn ask(front: &std::path::Path) {
    let client = UnixStream::connect(front).expect("it listens");
    client.set_read_timeout(Some(LIMIT)).expect("a socket has time limits");
    say(&client, "ping");
    reads(&client, "pong");
    ends(&client);
}

#[test]
fn a_client_that_comes_just_when_the_service_is_idle_is_served() {
    let world = World::new("race");
    world.serve(|it| it.idle_timeout_ms = 1);
    let front = world.path("front");
    let clients = thread::spawn(move || {
        for index in 0..300 {
            ask(&front);
            // Comes back earlier or later than the service is stopped.
            let begin = crate::clock::instant();
            while begin.elapsed() < Duration::from_micros(index % 30 * 100) {
                thread::yield_now();
            }
        }
    });
    let starts = play(&world, || clients.is_finished());
    clients.join().expect("nobody was lost");
    assert!(starts > 10, "it was started {starts} times");
    assert_eq!((world.count(|it| &it.total), world.count(|it| &it.waiting)), (300, 0));
}

#[test]
fn two_thousand_clients_outlive_thirty_restarts() {
    let world = World::new("restarts");
    world.serve(|_| {});
    let front = world.path("front");
    let clients = (0..8).map(|_| {
        let front = front.clone();
        thread::spawn(move || (0..250).for_each(|_| ask(&front)))
    });
    let clients: Vec<_> = clients.collect();
    for restart in 0..30 {
        let service = Service::start(&world);
        world.gate(Way::Open);
        let goal = (restart + 1) * 60;
        let begin = crate::clock::instant();
        while world.count(|it| &it.total) < goal && begin.elapsed() < LIMIT {
            thread::yield_now();
        }
        let turn = world.gate(Way::Shut);
        let drained = Said::Drained { service: name("web"), turn };
        while world.hear() != drained {}
        service.stop();
    }
    let service = Service::start(&world);
    world.gate(Way::Open);
    clients.into_iter().for_each(|it| it.join().expect("nobody was lost"));
    service.stop();
    assert_eq!((world.count(|it| &it.total), world.count(|it| &it.timed_out)), (2_000, 0));
    assert_eq!((world.count(|it| &it.waiting), world.held()), (0, 0));
}
