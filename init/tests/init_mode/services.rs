//! PID 1 with services: `zinit-updater --init`, and `zinit-server` itself.

use nix::sys::signal::Signal;

use crate::world::{World, children, comm, text};

/// As PID 1, either of them is the keeper.
const KEEPERS: [&str; 2] = ["exec zinit-updater --init", "exec zinit-server"];

/// Says when it is asked to end, and does so; `$0` names it.
const OBEDIENT: &str = "
    trap 'echo $(basename $0) >> $H/ended; exit' TERM
    echo $$ > $H/$(basename $0).up
    while :; do sleep 1000 & wait; done";

/// A database, and what needs it.
fn world() -> Option<World> {
    let world = World::new()?.service("db", OBEDIENT, "");
    Some(world.service("web", OBEDIENT, "after: [db]"))
}

/// Begins, and waits until all is up.
fn up(keeper: &str) -> Option<World> {
    let world = world()?.begin(keeper);
    world.file("db.up");
    world.file("web.up");
    world.until("it serves", || world.zinit(&["list"]).status.success().then_some(()));
    Some(world)
}

fn services(world: &World) -> Vec<i32> {
    let mut pids = children(world.init());
    pids.retain(|it| comm(*it) == "sh");
    pids
}

#[test]
fn it_ends_its_services_in_the_order_of_their_needs_and_then_itself() {
    for keeper in KEEPERS {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let Some(mut world) = up(keeper) else { return };
            world.signal(signal);
            assert_eq!(world.ends().code(), Some(0), "{keeper}, {signal}: {}", world.log());
            assert_eq!(world.read("ended"), "web\ndb\n", "{keeper}, {signal}");
        }
    }
}

#[test]
fn sigusr1_to_it_or_to_the_server_costs_no_service_anything() {
    for keeper in KEEPERS {
        let Some(mut world) = up(keeper) else { return };
        let before = services(&world);
        for to_server in [false, true, false] {
            let brain = world.until("a brain", || world.brain());
            let to = if to_server { brain } else { world.init() };
            world.kill(Signal::SIGUSR1 as i32, to);
            let another = || world.brain().filter(|it| *it != brain);
            world.until("another brain", another);
            world.until("it serves", || world.zinit(&["list"]).status.success().then_some(()));
        }
        assert_eq!((before.len(), services(&world)), (2, before));
        world.signal(Signal::SIGTERM);
        assert_eq!((world.ends().code(), &*world.read("ended")), (Some(0), "web\ndb\n"));
    }
}

#[test]
fn a_server_that_is_killed_again_and_again_is_replaced_and_services_keep_their_pids() {
    let Some(mut world) = up(KEEPERS[0]) else { return };
    let before = services(&world);
    for _ in 0..4 {
        let brain = world.until("a brain", || world.brain());
        world.kill(9, brain);
        world.until("another brain", || world.brain().filter(|it| *it != brain));
    }
    world.until("it serves", || world.zinit(&["list"]).status.success().then_some(()));
    assert_eq!((before.len(), services(&world)), (2, before));
    world.signal(Signal::SIGTERM);
    assert_eq!((world.ends().code(), &*world.read("ended")), (Some(0), "web\ndb\n"));
}

#[test]
fn orphans_are_reaped() {
    let script = "for i in $(seq 100); do (setsid sh -c 'sleep 0.0$1' - $i &); done
        echo up > $H/up; exec sleep 1000";
    let Some(world) = World::new() else { return };
    let world = world.service("parent", script, "").begin(KEEPERS[0]);
    world.file("up");
    let left = || children(world.init()).len();
    world.until("the server and one service are left", || (left() == 2).then_some(()));
}

#[test]
fn nothing_that_its_services_send_ends_it() {
    let script = "for s in $(seq 64); do case $s in 1|2|10|15) ;; *) kill -$s 1; esac; done
        echo up > $H/up; exec sleep 1000";
    let Some(world) = World::new() else { return };
    let mut world = world.service("evil", script, "").begin(KEEPERS[0]);
    world.file("up");
    let listed = || text(&world.zinit(&["list"]).stdout).contains("evil Running").then_some(());
    world.until("it is listed", listed);
    world.signal(Signal::SIGTERM);
    assert_eq!(world.ends().code(), Some(0));
}

#[test]
fn it_begins_anew_in_place_together_with_its_server() {
    for keeper in KEEPERS {
        let Some(mut world) = up(keeper) else { return };
        let before = services(&world);
        // Where the kernel has put things, which is another place each time.
        let placed = |world: &World| std::fs::read(format!("/proc/{}/auxv", world.init()));
        for _ in 0..3 {
            let (brain, place) = (world.brain(), placed(&world).expect("it lives"));
            let said = world.zinit(&["server", "renew"]);
            assert!(said.status.success(), "{}", text(&said.stderr));
            assert_ne!((world.brain(), placed(&world).expect("it lives")), (brain, place));
        }
        assert_eq!((before.len(), services(&world)), (2, before));
        world.signal(Signal::SIGTERM);
        assert_eq!((world.ends().code(), &*world.read("ended")), (Some(0), "web\ndb\n"));
    }
}

#[test]
fn an_essential_service_that_ends_ends_all_and_its_status_is_that_of_the_container() {
    for keeper in KEEPERS {
        let Some(world) = world() else { return };
        let wait = "while [ ! -e $H/go ]; do sleep 0.01; done; exit 7";
        let mut world = world.service("job", wait, "oneshot: true\nessential: true").begin(keeper);
        world.file("web.up");
        assert!(world.run("touch $H/go").status.success());
        assert_eq!(world.ends().code(), Some(7), "{keeper}: {}", world.log());
        assert_eq!(world.read("ended"), "web\ndb\n");
    }
}
