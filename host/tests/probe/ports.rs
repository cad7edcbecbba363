//! Who is in the way, and who is not.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;

use zinit_host::event::Happening;
use zinit_host::probe::News;

use crate::children::Actor;
use crate::world::{World, name};

impl World {
    fn free(&self, port: u16) -> Option<String> {
        self.prober.free_port(&name("web"), port);
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
