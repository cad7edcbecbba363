//! Sockets that brains give to hold, and services that are started with them.

use std::net::{TcpListener, TcpStream};

use zinit_keeper::wire::{PACKET_FDS_MAX, Sockets};

use crate::takeover::{begin_again, kill_both, renew};
use crate::*;

fn hold(key: &str, note: &str, count: usize) -> Request {
    Request::Hold { key: key.to_owned(), note: note.to_owned(), count }
}

fn drop_key(key: &str) -> Request {
    Request::Drop { key: key.to_owned() }
}

/// A launch with what is held under a key.
fn launch_with(key: &str, names: &[&str], incarnation: u64, script: &str) -> Launch {
    let Request::Launch(launch) = sh("a", incarnation, script) else { panic!("a launch") };
    let names = names.iter().map(|it| (*it).to_owned()).collect();
    Launch { sockets: Some(Sockets { key: key.to_owned(), names }), ..*launch }
}

impl Brain {
    fn launch_held(&mut self, launch: Launch) {
        self.say(&[Request::Launch(Box::new(launch))]);
    }

    fn holds(&mut self, key: &str, note: &str, sockets: &[BorrowedFd<'_>]) {
        self.say_with(&[hold(key, note, sockets.len())], sockets);
    }

    /// What it was told that is held: the keys, the notes, and the inodes of the sockets.
    fn told_held(&self) -> Vec<(&str, &str, Vec<u64>)> {
        let told = self.held.iter();
        told.map(|(key, note, fds)| (&**key, &**note, inodes(fds))).collect()
    }
}

fn inodes(fds: &[impl AsFd]) -> Vec<u64> {
    fds.iter().map(|it| nix::sys::stat::fstat(it).expect("it is open").st_ino).collect()
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

fn client(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).expect("somebody listens")
}

fn refused(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_err()
}

/// Whether a connection that was made is taken from this end of a held socket.
fn accepts(held: &OwnedFd, client: &TcpStream) -> bool {
    let listener = TcpListener::from(held.try_clone().expect("a copy"));
    await_input(listener.as_fd(), "a client waits");
    let (_, peer) = listener.accept().expect("a client");
    peer == client.local_addr().expect("an address")
}

pub(crate) fn what_is_held_is_told_to_each_brain_in_its_order_until_it_is_dropped() {
    let mut world = World::serving();
    assert_eq!(world.brain.told_held(), []);
    let all = [listener().0, listener().0, listener().0, listener().0];
    let [one, two, three, four] = all.each_ref().map(AsFd::as_fd);
    let inode = |index: usize| inodes(&all)[index];
    // Two requests of one packet get what is theirs.
    world
        .brain
        .say_with(&[hold("y", "first", 2), note("s", ""), hold("x", "", 1)], &[one, two, three]);
    world.brain.say(&[hold("empty", "only a note", 0)]);
    world.brain.is_heard();
    world.replace_brain();
    let told = world.brain.told_held();
    let first = ("y", "first", vec![inode(0), inode(1)]);
    let empty = ("empty", "only a note", vec![]);
    assert_eq!(told, [first.clone(), ("x", "", vec![inode(2)]), empty.clone()]);
    // Another word about a key replaces what was held.
    world.brain.holds("x", "again", &[four]);
    world.replace_brain();
    assert_eq!(world.brain.told_held(), [first, empty, ("x", "again", vec![inode(3)])]);
    world.brain.say(&[drop_key("y"), drop_key("empty"), drop_key("never held")]);
    world.replace_brain();
    assert_eq!(world.brain.told_held(), [("x", "again", vec![inode(3)])]);
}

pub(crate) fn what_is_dropped_is_closed() {
    let mut world = World::serving();
    let (socket, port) = listener();
    world.brain.holds("x", "", &[socket.as_fd()]);
    world.brain.is_heard();
    drop(socket);
    drop(client(port));
    world.brain.say(&[drop_key("x")]);
    patiently("nobody listens", || refused(port).then_some(()));
}

pub(crate) fn a_brain_that_does_not_know_of_it_is_told_nothing() {
    let mut world = World::serving();
    let (socket, _) = listener();
    world.brain.holds("x", "", &[socket.as_fd()]);
    world.brain.say(&[note("s", "n")]);
    kill(Pid::from_raw(world.brain.pid), Signal::SIGKILL).expect("it lives");
    world.brain = Brain::accept(&world.listener);
    let table = world.brain.greet_as(VERSION - 1);
    assert_eq!((table.len(), world.brain.told_held()), (1, vec![]));
    world.brain.is_heard();
    // It is still there for one that does.
    world.replace_brain();
    assert_eq!(world.brain.told_held().len(), 1);
}

pub(crate) fn descriptors_never_become_those_of_another_request() {
    let mut world = World::serving();
    let all = [listener().0, listener().0, listener().0];
    let fds = all.each_ref().map(AsFd::as_fd);
    let line = |request: &Request| serde_json::to_string(request).expect("JSON") + "\n";
    let packets = [
        line(&hold("good", "", 1)) + "nonsense\n" + &line(&hold("behind", "", 1)),
        line(&hold("good2", "", 1)) + "{\"ask\":\"new\"}\n" + &line(&hold("behind2", "", 1)),
        line(&hold("more than came", "", 4)) + &line(&hold("behind3", "", 1)),
        line(&hold("", "", 1)) + &line(&hold("good3", "", 1)),
    ];
    for packet in packets {
        packet::send(world.brain.link.as_fd(), packet.as_bytes(), &fds).expect("sent");
    }
    let null = std::fs::File::open("/dev/null").expect("it is there");
    world.brain.holds("a file", "", &[null.as_fd()]);
    world.brain.holds(&"k".repeat(256), "", &[fds[0]]);
    world.brain.holds("a long note", &"x".repeat(NOTE_MAX + 1), &[fds[0]]);
    // What cannot be held takes the place of what was.
    world.brain.say(&[hold("good2", "", 1)]);
    world.replace_brain();
    let [one, two] = [0, 1].map(|it| vec![inodes(&all)[it]]);
    assert_eq!(world.brain.told_held(), [("good", "", one), ("good3", "", two)]);
}

pub(crate) fn more_than_fits_a_packet_is_told_in_several() {
    let mut world = World::serving();
    let (socket, _) = listener();
    let most = vec![socket.as_fd(); PACKET_FDS_MAX];
    let long = "n".repeat(NOTE_MAX);
    for index in 0..8 {
        let count = if index % 2 == 0 { PACKET_FDS_MAX } else { 1 };
        world.brain.holds(&format!("k{index}"), &long, &most[..count]);
        world.brain.say(&[note(&format!("s{index}"), &long)]);
    }
    world.brain.is_heard();
    world.signal_keeper(Signal::SIGTERM);
    let table = world.replace_brain();
    assert_eq!(table.len(), 9, "with the probe");
    let counts: Vec<usize> = world.brain.told_held().iter().map(|it| it.2.len()).collect();
    assert_eq!(counts, [128, 1, 128, 1, 128, 1, 128, 1]);
    assert_eq!(world.brain.hear().0, Report::Signalled { signal: 15 }, "news come behind it");
}

pub(crate) fn news_wait_until_what_is_held_is_told() {
    let mut world = World::serving();
    let (socket, _) = listener();
    // More than the socket to the brain takes at once.
    for index in 0..32 {
        let long = "n".repeat(NOTE_MAX);
        world.brain.holds(&format!("k{index}"), &long, &[socket.as_fd()]);
    }
    world.brain.launch("s", 1, "exec sleep 1000");
    let (pid, _) = world.brain.launched("s");
    kill(Pid::from_raw(world.brain.pid), Signal::SIGKILL).expect("it lives");
    world.brain = Brain::accept(&world.listener);
    world.brain.say(&[Request::Hello { version: VERSION }]);
    await_input(world.brain.link.as_fd(), "the keeper has begun to tell");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
    patiently("it is reaped", || (!alive(pid)).then_some(()));
    let table = world.brain.take_table();
    assert_eq!((table[0].0.pid, world.brain.held.len()), (pid, 32));
    assert_eq!(world.brain.exit_of("s"), by_signal(9));
}

pub(crate) fn what_is_held_stays_when_the_keeper_begins_anew() {
    let mut world = World::serving();
    let ((one, port), (two, _)) = (listener(), listener());
    let (one_is, two_is) = (inodes(&[&one]), inodes(&[&two]));
    world.brain.holds("x", "one", &[one.as_fd()]);
    world.brain.holds("gone", "", &[two.as_fd()]);
    world.brain.holds("w", "two", &[two.as_fd()]);
    world.brain.say(&[drop_key("gone")]);
    drop((one, two));
    renew(&mut world);
    let client = client(port);
    renew(&mut world);
    world.replace_brain();
    assert_eq!(world.brain.told_held(), [("x", "one", one_is), ("w", "two", two_is)]);
    assert!(accepts(&world.brain.held[0].2[0], &client));
    world.brain.say(&[drop_key("x")]);
    world.brain.held.clear();
    patiently("nobody listens", || refused(port).then_some(()));
}

pub(crate) fn a_process_gets_what_is_held_from_descriptor_3_on() {
    let mut world = World::serving_with(("LISTEN_FDS", "7"));
    let all = [listener().0, listener().0];
    world.brain.holds("x", "", &[all[0].as_fd(), all[1].as_fd()]);
    let script = "echo $LISTEN_FDS $LISTEN_PID $$ $LISTEN_FDNAMES; ls -l /proc/$$/fd; echo end";
    let mut launch = launch_with("x", &["web", "admin"], 1, script);
    launch.env.push(("LISTEN_FDS".to_owned(), "9".to_owned()));
    world.brain.launch_held(launch);
    let (pid, pipes) = world.brain.launched("a");
    let said = read_until(&pipes[0], "end\n");
    let (first, open) = said.split_once('\n').expect("lines");
    assert_eq!(first, format!("2 {pid} {pid} web:admin"));
    for (number, inode) in (3..).zip(inodes(&all)) {
        assert!(open.contains(&format!(" {number} -> socket:[{inode}]\n")), "{open}");
    }
    assert_eq!(open.matches(" -> ").count(), 5, "nothing else: {open}");
    assert_eq!(world.brain.exit_of("a"), Exit::Code(0));
    // What nobody has named is `unknown`, and who has memory of its own knows its number as well.
    world.brain.say(&[ack("a", 1)]);
    let script = "test $LISTEN_FDNAMES = web:unknown && test $LISTEN_PID = $$";
    let launch = launch_with("x", &["web"], 2, script);
    world.brain.launch_held(Launch { oom_score_adj: Some(900), ..launch });
    assert_eq!(world.brain.exit_of("a"), Exit::Code(0));
    let alone = "test -z \"$LISTEN_FDS$LISTEN_PID$LISTEN_FDNAMES\" && test ! -e /proc/$$/fd/4";
    assert_eq!(world.brain.run("b", 1, alone), Exit::Code(0));
}

pub(crate) fn as_many_sockets_as_there_can_be_are_given_beside_readiness() {
    let mut world = World::serving();
    let (socket, _) = listener();
    let inode = inodes(&[&socket])[0];
    world.brain.holds("x", "", &vec![socket.as_fd(); PACKET_FDS_MAX]);
    // Behind them are numbers at which the keeper itself has something.
    for (incarnation, number) in [131, 132, 140, 150, 200, 300, 1000].into_iter().enumerate() {
        let incarnation = incarnation as u64 + 1;
        let script = format!(
            "for it in $(seq 3 130); do \
                test \"$(readlink /proc/$$/fd/$it)\" = 'socket:[{inode}]' || exit 9; done; \
             echo up > /proc/self/fd/{number}"
        );
        let mut launch = launch_with("x", &[], incarnation, &script);
        launch.ready = Ready::Fd(number);
        world.brain.launch_held(launch);
        let (_, fds) = world.brain.launched("a");
        assert_eq!(world.brain.exit_of("a"), Exit::Code(0), "by descriptor {number}");
        assert_eq!(read_until(fds.last().expect("an end"), "\n"), "up\n");
        world.brain.say(&[ack("a", incarnation)]);
    }
    let mut launch = launch_with("x", &[], 100, "exit 0");
    launch.argv = vec!["/no/such".to_owned()];
    world.brain.launch_held(launch);
    let exit = world.brain.exit_of("a");
    assert_eq!(exit, Exit::Launch { step: "exec /no/such".to_owned(), errno: 2 });
}

pub(crate) fn a_launch_is_refused_whose_sockets_are_not_there() {
    let mut world = World::serving();
    let brain = &mut world.brain;
    let (socket, _) = listener();
    let mut incarnation = 0;
    let mut refusal = |brain: &mut Brain, key: &str, name: &str, ready: Ready| {
        incarnation += 1;
        let launch = launch_with(key, &[name], incarnation, "exit 0");
        brain.launch_held(Launch { ready, ..launch });
        brain.refusal_of("a")
    };
    let silent = Ready::Silent;
    assert_eq!(refusal(brain, "x", "n", silent), "its sockets are not held");
    brain.say(&[hold("x", "", 0)]);
    assert_eq!(refusal(brain, "x", "n", silent), "its sockets are not held");
    brain.holds("x", "", &[socket.as_fd(), socket.as_fd()]);
    assert!(refusal(brain, "x", "a:b", silent).contains("name"));
    assert!(refusal(brain, "x", "a\0b", silent).contains("name"));
    assert!(refusal(brain, "x", "n", Ready::Fd(4)).contains("readiness"));
    brain.say(&[drop_key("x")]);
    assert_eq!(refusal(brain, "x", "n", silent), "its sockets are not held");
    assert_eq!(brain.run("a", 100, "exit 0"), Exit::Code(0));
}

/// Answers one client on descriptor 3, and ends.
const ANSWER: &str = "exec python3 -c 'import socket; s = socket.socket(fileno=3); \
                      c, _ = s.accept(); c.sendall(c.recv(9) + b\" back\")'";

fn answer(mut client: TcpStream) -> String {
    await_input(client.as_fd(), "an answer comes");
    let mut said = String::new();
    client.read_to_string(&mut said).expect("an answer, and the end");
    said
}

pub(crate) fn a_client_that_comes_while_nobody_runs_is_served_by_the_next_process() {
    let mut world = World::serving();
    let (socket, port) = listener();
    world.brain.holds("x", "", &[socket.as_fd()]);
    drop(socket);
    for incarnation in 1..=2 {
        let mut client = client(port);
        client.write_all(b"hello").expect("the kernel takes it");
        // That it is dropped in the same breath does no harm to who is being started with it.
        let launch = Request::Launch(Box::new(launch_with("x", &[], incarnation, ANSWER)));
        let drops = if incarnation == 1 { vec![] } else { vec![drop_key("x")] };
        world.brain.say(&[vec![launch], drops].concat());
        assert_eq!(answer(client), "hello back");
        assert_eq!(world.brain.exit_of("a"), Exit::Code(0));
        world.brain.say(&[ack("a", incarnation)]);
    }
    world.brain.is_heard();
    assert!(refused(port), "nobody has it any more");
}

/// A keeper that is no child of ours, and is not left behind when its test fails.
struct Heir(i32);

impl Drop for Heir {
    fn drop(&mut self) {
        // It may have ended as it should.
        let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

pub(crate) fn a_brain_that_becomes_the_keeper_holds_what_it_has_given() {
    let mut world = World::serving();
    let ((socket, port), (other, other_port)) = (listener(), listener());
    let inode = inodes(&[&socket]);
    world.brain.holds("x", "kept", &[socket.as_fd()]);
    world.brain.holds("lost", "", &[other.as_fd()]);
    world.brain.launch("b", 1, "exec sleep 1000");
    world.brain.started("b");
    // It has made these, and another one that nobody holds; of one that is held it has no copy.
    let (own, own_port) = listener();
    world.keeper.kill().expect("it lives");
    world.keeper.wait().expect("it is ours");
    world.brain.hand_over(HEIR, &[socket.as_fd(), own.as_fd()]);
    drop((socket, other, own));
    let waiting = client(port);
    let heir = Heir(world.brain.pid);
    world.next_brain();
    assert_eq!(world.brain.told_held(), [("x", "kept", inode)]);
    assert!(accepts(&world.brain.held[0].2[0], &waiting));
    for port in [other_port, own_port] {
        assert!(refused(port), "what nobody claims is closed");
    }
    world.brain.say(&[Request::Serving, signal("b", 1, 9)]);
    assert_eq!(world.brain.exit_of("b"), by_signal(9));
    world.brain.held.clear();
    let mut client = client(port);
    client.write_all(b"hello").expect("the kernel takes it");
    world.brain.launch_held(launch_with("x", &[], 1, ANSWER));
    assert_eq!(answer(client), "hello back");
    world.brain.say(&[Request::Farewell { code: 0, then: Then::Exit }]);
    world.brain.control.write_all(&[0]).expect("it lives");
    patiently("the heir ends", || (!stop::runs(heir.0)).then_some(()));
    std::mem::forget(heir);
}

pub(crate) fn what_a_service_has_of_a_dead_keeper_is_held_again() {
    let mut world = World::serving();
    let ((socket, port), (other, _)) = (listener(), listener());
    let both = inodes(&[&socket, &other]);
    world.brain.holds("x", "note", &[socket.as_fd(), other.as_fd()]);
    world.brain.holds("nobody's", "", &[other.as_fd()]);
    world.brain.launch_held(launch_with("x", &[], 1, "exec sleep 1000"));
    world.brain.started("a");
    drop((socket, other));
    kill_both(&mut world);
    let waiting = client(port);
    begin_again(&mut world, &[]);
    assert_eq!(world.brain.told_held(), [("x", "note", both)]);
    assert!(accepts(&world.brain.held[0].2[0], &waiting));
    world.brain.held.clear();
    world.brain.say(&[signal("a", 1, 9)]);
    assert_eq!(world.brain.exit_of("a"), by_signal(9));
    world.brain.say(&[ack("a", 1)]);
    let mut client = client(port);
    client.write_all(b"hello").expect("the kernel takes it");
    world.brain.launch_held(launch_with("x", &[], 2, ANSWER));
    assert_eq!(answer(client), "hello back");
    // With both dead and nobody who has them they are gone.
    assert_eq!(world.brain.exit_of("a"), Exit::Code(0));
    kill_both(&mut world);
    assert!(refused(port));
    begin_again(&mut world, &[]);
    assert_eq!(world.brain.told_held(), []);
}
