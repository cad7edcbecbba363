//! Sockets that are opened, and what is in the way.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::refusal::{Kind, Refusal};

impl World {
    fn refused(&self, listen: &[&str]) -> Refusal {
        let proxy = self.proxy(|it| it.listen = listen.iter().map(|it| at(it)).collect());
        let opened = listen::open(&proxy, &mut Vec::new());
        opened.trouble.expect("something is in the way")
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

#[test]
fn who_is_in_the_way_is_named() {
    let world = World::new("taken");
    let me = format!("process {} (`", std::process::id());
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = taken.local_addr().expect("it has one").to_string();
    let refused = world.refused(&[&at]).to_string();
    assert!(refused.starts_with(&format!("cannot listen at {at}: {me}")), "{refused}");
    let path = world.text("back");
    let _taken = world.backend();
    let refused = world.refused(&[&path]).to_string();
    assert!(refused.starts_with(&format!("cannot listen at {path}: {me}")), "{refused}");
    assert!(world.path("back").exists());
}

#[test]
fn a_file_that_nobody_listens_at_is_replaced_and_anything_else_is_not() {
    let world = World::new("stale");
    drop(UnixListener::bind(world.path("front")).expect("nobody listens there"));
    world.serve(|it| it.socket_mode = 0o640);
    world.connect();
    let mode = fs::metadata(world.path("front")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    fs::write(world.path("file"), "mine").expect("written");
    let refused = world.refused(&[&world.text("file")]);
    assert!(refused.to_string().contains("no socket"), "{refused}");
    assert_eq!(fs::read_to_string(world.path("file")).expect("it is there"), "mine");
}

#[test]
fn a_directory_that_is_missing_is_not_made() {
    let world = World::new("missing");
    let refused = world.refused(&[&world.text("deep/er/front")]);
    assert!(refused.to_string().contains("there is no directory"), "{refused}");
    assert!(refused.hint.expect("it has one").starts_with("make it first: `mkdir -p "));
    assert!(!world.path("deep").exists());
}

#[test]
fn who_cannot_listen_at_one_address_does_at_the_others() {
    let world = World::new("half");
    let proxy = world.proxy(|it| it.listen.insert(0, at(&world.text("deep/front"))));
    let opened = listen::open(&proxy, &mut Vec::new());
    assert!(opened.again && opened.trouble.is_some());
    assert_eq!(opened.addresses, [format!("unix:{}", world.text("front"))]);
    world.relay.stand(proxy, opened);
    world.connect();
    world.hears_a_knock();
    assert_eq!(world.hear(), Said::Retry { proxy: name("web") });
}

#[test]
fn localhost_is_two_sockets_and_the_note_tells_whose_each_is() {
    let world = World::new("localhost");
    let port = free_port();
    let local = format!("localhost:{port}");
    let listen = vec![Address::Unix(world.path("front")), at(&local)];
    let proxy = world.proxy(|it| it.listen = listen);
    let opened = open(&proxy);
    tcp(port);
    TcpStream::connect(format!("[::1]:{port}")).expect("it listens there, too");
    let names: Vec<String> = serde_json::from_str(&opened.note()).expect("a list");
    let (front, local) = (format!("unix:{}", world.text("front")), format!("tcp:{local}"));
    assert_eq!(names, [front, local.clone(), local]);
    let sockets = Arc::into_inner(opened.sockets).expect("nobody else has them");
    let mut pool = names.into_iter().zip(sockets).collect();
    let fewer = world.proxy(|it| it.listen = vec![at(&format!("localhost:{port}"))]);
    let opened = listen::open(&fewer, &mut pool);
    assert_eq!((opened.sockets.len(), pool.len(), opened.trouble), (2, 1, None));
    let taken = listen::open(&fewer, &mut Vec::new()).trouble.expect("it is taken");
    assert_eq!(taken.kind, Kind::Storage);
}

#[test]
fn no_host_is_all_addresses_of_both_families() {
    let world = World::new("any");
    let port = free_port();
    let proxy = world.proxy(|it| it.listen = vec![at(&format!(":{port}"))]);
    let opened = open(&proxy);
    assert_eq!(opened.sockets.len(), 1);
    tcp(port);
    TcpStream::connect(format!("[::1]:{port}")).expect("it listens there, too");
}

#[test]
fn an_inherited_socket_whose_file_is_gone_is_opened_anew() {
    let world = World::new("removed");
    let proxy = world.proxy(|_| {});
    let full = proxy.xinit.listen[0].full();
    let mut sockets = Arc::into_inner(open(&proxy).sockets).expect("nobody else has them");
    fs::remove_file(world.path("front")).expect("removed");
    let old = sockets.pop().expect("it is one");
    let _opened = listen::open(&proxy, &mut vec![(full, old)]);
    world.connect();
}

#[test]
fn a_user_who_does_not_exist_is_refused() {
    let world = World::new("whom");
    let proxy = world.proxy(|it| it.users = vec!["nosuchuser".to_owned()]);
    let opened = listen::open(&proxy, &mut Vec::new());
    let refused = opened.trouble.expect("there is none");
    assert!(refused.to_string().contains("there is no user `nosuchuser`"), "{refused}");
    assert!(!world.path("front").exists());
}

#[test]
fn who_cannot_listen_is_shown_and_tried_again() {
    let world = World::new("retry");
    let proxy = world.proxy(|_| {});
    let never = Opened::never(Refusal::new(Kind::Storage, "it is taken"));
    world.relay.stand(Arc::clone(&proxy), Opened { again: true, ..never });
    let trouble = world.faces.get("web").expect("it stands").trouble.clone();
    assert_eq!(trouble.map(|it| it.message).as_deref(), Some("it is taken"));
    let begin = crate::clock::instant();
    assert_eq!(world.hear(), Said::Retry { proxy: name("web") });
    assert!(begin.elapsed().as_millis() >= 990, "{:?}", begin.elapsed());
    world.serve(|_| {});
    assert!(world.faces.get("web").expect("it stands").trouble.is_none());
    world.connect();
    world.hears_a_knock();
}
