//! From one server to the next.

use super::*;

impl World {
    /// The next server, with what the keeper holds.
    fn next(&self) -> Self {
        let next = Self::in_dir(self.dir.clone(), Arc::clone(&self.keeper));
        let held = self.keeper.lock().expect("no panic").clone();
        for (key, fds) in held {
            let words: Vec<_> = key.split('/').collect();
            let serial = words[3].parse().expect("a serial");
            let mut fds = fds.0.iter().map(|it| it.try_clone().expect("a descriptor"));
            let mut fd = || fds.next().expect("it is held");
            let proxy = name(words[1]);
            match words[2] {
                "wait" => next.relay.inherit_waiting(&proxy, serial, fd()),
                "pair" => next.relay.inherit_pair(&proxy, serial, fd(), fd()),
                other => panic!("what is {other}?"),
            }
        }
        next
    }
}

#[test]
fn who_waits_outlives_a_server_that_is_killed() {
    let world = World::new("killed");
    let sockets = world.serve(|_| {});
    let clients = [world.connect(), world.connect()];
    clients.iter().zip(["one", "two"]).for_each(|(it, text)| say(it, text));
    world.holds(2);
    // What is left is lost, as when it is killed.
    drop(world.relay.retire());
    let next = world.next();
    next.goes_on_at(sockets);
    next.hears_a_knock();
    let third = next.connect();
    say(&third, "six");
    next.comes_to(3, |it| &it.waiting);
    let backend = next.backend();
    next.gate(Way::Open);
    let served = ["one", "two", "six"].map(|it| {
        let served = accept(&backend);
        reads(&served, it);
        served
    });
    say(&served[0], "answer");
    reads(&clients[0], "answer");
    assert_eq!(next.held(), 0);
}

#[test]
fn a_server_that_is_replaced_leaves_who_waits_and_who_is_silent() {
    let world = World::new("replaced");
    let sockets = world.serve(|_| {});
    let backend = world.backend();
    world.gate(Way::Open);
    let silent = world.connect();
    let served = accept(&backend);
    say(&served, "hello");
    reads(&silent, "hello");
    let asking = world.connect();
    say(&asking, "question");
    let unanswered = accept(&backend);
    reads(&unanswered, "question");
    world.gate(Way::Shut);
    let waiting = world.connect();
    world.comes_to(1, |it| &it.waiting);
    say(&waiting, "later");
    for said in world.relay.retire() {
        let Said::Hold { key, fds, .. } = said else { panic!("{said:?}") };
        world.keeper.lock().expect("no panic").insert(key, fds);
    }
    // Its end shows, as an end or as a reset: it has not read the question.
    assert!((&asking).read(&mut [0]).map_or(true, |it| it == 0));
    world.holds(2);
    let next = world.next();
    next.goes_on_at(sockets);
    next.hears_a_knock();
    next.comes_to(1, |it| &it.active);
    say(&silent, "still");
    reads(&served, "still");
    next.gate(Way::Open);
    reads(accept(&backend), "later");
    assert_eq!(next.held(), 0);
    assert_eq!(world.relay.retire(), []);
}

#[test]
fn who_is_inherited_waits_until_its_proxy_stands_or_is_withdrawn() {
    let world = World::new("orphan");
    world.serve(|_| {});
    let (client, other) = (world.connect(), world.connect());
    world.holds(2);
    let next = World::in_dir(world.path("next"), Keeper::default());
    let held = world.keeper.lock().expect("no panic").clone();
    for (index, fds) in held.into_values().enumerate() {
        let fd = fds.0[0].try_clone().expect("a descriptor");
        let proxy = ["web", "gone"][index];
        let key = format!("xinit/{proxy}/wait/{index}");
        next.keeper.lock().expect("no panic").insert(key, fds);
        next.relay.inherit_waiting(&name(proxy), index as u64, fd);
    }
    std::fs::create_dir_all(&next.dir).expect("a directory");
    next.relay.withdraw(&name("gone"));
    // Though no proxy stands yet.
    next.holds(1);
    next.serve(|_| {});
    next.hears_a_knock();
    assert_eq!(next.count(|it| &it.waiting), 1);
    drop((client, other));
    next.comes_to(0, |it| &it.waiting);
}
