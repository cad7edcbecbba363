//! Which proxies can stand beside each other, and that those of services and those of files do.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::core::Effect;
use crate::desk::Command;
use crate::sim::World;

fn proxy(name: &str, listen: &str, backend: &str) -> Proxy {
    let name = ServiceName::parse(name).expect("a name");
    let at = |text: &str| Address::parse(text).expect("an address");
    let xinit = Xinit {
        enabled: true,
        listen: vec![at(listen)],
        backend: Some(at(backend)),
        ..Xinit::default()
    };
    Proxy { service: name.clone(), name, in_service: false, xinit: Arc::new(xinit) }
}

#[test]
fn who_would_connect_to_itself_is_told_the_way() {
    let one = proxy("one", "127.0.0.1:1", "localhost:2");
    assert_eq!(one.vet([&one].into_iter()), Ok(()));
    let two = proxy("two", ":2", "/run/three.sock");
    let three = proxy("three", "/run/three.sock", "127.0.0.1:1");
    assert_eq!(one.vet([&two].into_iter()), Ok(()));
    let refused = three.vet([&one, &two].into_iter()).expect_err("a loop");
    let hint = refused.hint.expect("it says the way");
    assert!(hint.contains("three -> one -> two -> three"), "{hint}");
    let own = proxy("own", "127.0.0.1:1", "127.0.0.1:1");
    assert!(own.vet([].into_iter()).is_err());
}

#[test]
fn two_do_not_listen_at_one_address() {
    let one = proxy("one", "127.0.0.1:1", "localhost:2");
    let other = proxy("other", "127.0.0.1:1", "localhost:3");
    let refused = other.vet([&one].into_iter()).expect_err("it is taken");
    assert!(refused.to_string().contains("the proxy `one` does"), "{refused}");
}

fn file(name: &str, yaml: &str) -> (ServiceName, Spec) {
    let spec = Spec::from_yaml(yaml, "web.yaml".as_ref()).expect("it is fine");
    (ServiceName::parse(name).expect("a name"), spec)
}

/// A world with these services, and what is done there to proxies from now on: `+web`, `-web`, `!web`.
fn world(services: &[(ServiceName, Spec)]) -> (World, Rc<RefCell<Vec<String>>>) {
    let mut world = World::new(Vec::new()).expect("the policy is fine");
    for (name, spec) in services {
        world.add(name.clone(), spec.clone()).expect("it fits");
    }
    let done = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&done);
    world.observe(move |_, effect| match effect {
        Effect::Proxied(it, None) => told.borrow_mut().push(format!("+{}", it.name)),
        Effect::Proxied(it, Some(_)) => told.borrow_mut().push(format!("!{}", it.name)),
        Effect::Unproxied(name) => told.borrow_mut().push(format!("-{name}")),
        _ => {}
    });
    world.boot();
    done.borrow_mut().clear();
    (world, done)
}

#[test]
fn a_file_of_a_proxy_that_has_its_service_s_name_is_not_the_service_s() {
    let (mut world, done) = world(&[file("web", "exec: ls\n")]);
    let web = proxy("web", "/run/web", "/run/b");
    world.ask("define", Command::DefineProxy(Box::new(web))).expect("it can stand");
    world.reload(vec![file("web", "exec: ls -l\n")]).expect("it is fine");
    assert_eq!(*done.borrow(), ["+web"], "it stays");
    let on = file("web", "exec: ls\nxinit: { enabled: true, listen: /run/w, backend: /run/b }\n");
    let refused = world.add(on.0.clone(), on.1.clone()).expect_err("there is one of its name");
    assert!(refused.message.contains("has a file of its own"), "{refused}");
    world.reload(vec![on]).expect("whoever reloads all knows that the file is gone");
    assert_eq!(*done.borrow(), ["+web", "+web"]);
    let name = ServiceName::parse("wbe").expect("a name");
    let refused = world.ask("forget", Command::ForgetProxy(name)).expect_err("it is unknown");
    assert_eq!(
        (refused.kind, refused.hint),
        (Kind::UnknownProxy, Some("did you mean `web`?".into()))
    );
}

#[test]
fn a_reload_of_everything_minds_only_what_is_to_be() {
    let at = |name: &str, listen: &str| {
        let xinit = format!("xinit: {{ enabled: true, listen: {listen}, backend: /run/{name} }}");
        file(name, &format!("exec: ls\n{xinit}\n"))
    };
    let (mut world, done) =
        world(&[at("one", "/run/1"), at("two", "/run/2"), file("web", "exec: ls\n")]);
    let front = proxy("front", "/run/3", "/run/b");
    let front = Proxy { service: ServiceName::parse("web").expect("a name"), ..front };
    world.ask("define", Command::DefineProxy(Box::new(front))).expect("it can stand");
    done.borrow_mut().clear();
    let swapped = vec![at("one", "/run/2"), at("two", "/run/1"), at("web", "/run/3")];
    world.reload(swapped).expect("each has a place");
    assert_eq!(*done.borrow(), ["+one", "+two", "+web"]);
    let twice = vec![at("one", "/run/2"), at("two", "/run/1"), at("web", "/run/2")];
    let refused = world.reload(twice).expect_err("two listen at one address");
    assert!(refused.message.contains("the proxy `one` does"), "{refused}");
}

#[test]
fn addresses_that_overlap_are_told_by_the_proxy_s_name() {
    let one = proxy("one", "127.0.0.1:1", "localhost:2");
    let other = proxy("other", ":1", "localhost:3");
    let refused = other.vet([&one].into_iter()).expect_err("it is taken");
    assert_eq!(refused.message, "cannot listen at :1: the proxy `one` listens at 127.0.0.1:1");
    let far = proxy("far", ":18088", "10.1.2.3:18088");
    assert_eq!(far.vet([&one].into_iter()), Ok(()));
}

#[test]
fn one_proxy_passes_sockets_to_a_service() {
    let passing = |name: &str, listen: &str| {
        let mut it = proxy(name, listen, "/run/b");
        it.service = ServiceName::parse("web").expect("a name");
        it.xinit = Arc::new(Xinit { mode: Mode::Pass, backend: None, ..(*it.xinit).clone() });
        it
    };
    let (one, other) = (passing("one", "/run/1"), passing("other", "/run/2"));
    let refused = other.vet([&one].into_iter()).expect_err("there is one");
    assert!(refused.hint.expect("a way out").contains("under one `listen`"));
}
