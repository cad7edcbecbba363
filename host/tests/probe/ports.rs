//! Who is in the way, and who is not.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use zinit_host::engine;
use zinit_host::event::Happening;
use zinit_host::interrupt::Interrupt;
use zinit_host::native::Session;
use zinit_host::probe::News;
use zinit_host::script::{self, Ended, Script};

use crate::children::Actor;
use crate::world::{World, name};

impl World {
    fn free(&self, port: u16) -> Option<String> {
        self.seen(port, true)
    }

    fn seen(&self, port: u16, kill: bool) -> Option<String> {
        self.prober.free_port(&name("web"), port, kill);
        let News::Happened(_, Happening::PortFreed { failure }) = self.next() else {
            panic!("no port is free")
        };
        failure
    }
}

#[test]
fn who_listens_is_ended_and_who_is_connected_to_it_lives() {
    let (world, mut listener) = (World::new(), Actor::start("listens"));
    let port = listener.word.parse().unwrap();
    // That is this process, which would be gone otherwise.
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(world.free(port), None);
    assert_eq!(listener.wait().signal(), Some(15));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    drop(client);
    assert_eq!(world.free(port), None);
}

#[test]
fn who_does_not_end_is_killed() {
    let (world, mut listener) = (World::new(), Actor::deaf("listens"));
    assert_eq!(world.free(listener.word.parse().unwrap()), None);
    assert_eq!(listener.wait().signal(), Some(9));
}

#[test]
fn the_server_does_not_end_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let failure = World::new().free(port).unwrap();
    let me = std::process::id();
    assert!(failure.starts_with(&format!("process {me} (`")), "{failure}");
    assert!(failure.ends_with(&format!(" listens on port {port}, and must not be ended")));
}

#[test]
fn who_is_only_looked_for_is_named_and_lives() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::new();
    let failure = world.seen(port, false).unwrap();
    let me = std::process::id();
    assert!(failure.starts_with(&format!("process {me} (`")), "{failure}");
    assert!(failure.ends_with(&format!(" listens on port {port}")), "{failure}");
    drop(listener);
    assert_eq!(world.seen(port, false), None);
}

#[test]
fn a_script_that_frees_a_port_ends_who_listens_and_leaves_clients_alone() {
    let mut listener = Actor::start("listens");
    let port: u16 = listener.word.parse().unwrap();
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let text = format!("kill_port({port})");
    let script = Script { name: "test", text: &text, args: &[] };
    let session = || Session::new(Path::new("/nowhere/zinit.sock"), &Interrupt::new().unwrap());
    let ended = engine::on_deep_stack(|| script::run(&session(), &script)).unwrap();
    assert_eq!(ended, Ended::Done(Some("1".to_owned())));
    assert_eq!(listener.wait().signal(), Some(15));
    drop(client);
}
