//! Where little is allowed or there: other users, a read-only root, no `/proc`, no server.

use nix::sys::signal::Signal;

use crate::world::{World, is_root, skip, text};

/// Becomes a user whom nobody knows, and who may read only what everybody may.
const NOBODY: &str = "exec setpriv --reuid 12345 --regid 12345 --clear-groups";

/// The service of these tests.
const UP: &str = "[ -w / ] || touch $H/refused; echo $(id -u) > $H/up; exec sleep 1000";

/// Starts the service, asks for it, and ends.
fn lives(script: &str) -> Option<World> {
    let mut world = World::new()?.service("web", UP, "").begin(script);
    world.file("up");
    let listed = || text(&world.zinit(&["list"]).stdout).contains("web Running").then_some(());
    world.until("it is listed", listed);
    world.signal(Signal::SIGTERM);
    assert_eq!(world.ends().code(), Some(0), "{}", world.log());
    Some(world)
}

#[test]
fn any_user_may_be_pid_1() {
    if !is_root() {
        return skip("only root may become another user").unwrap_or_default();
    }
    // The programs may be where that user cannot go.
    let script =
        format!("chown -R 12345 $H; mount --bind $B $H/bin; {NOBODY} $H/bin/zinit-updater --init");
    let Some(world) = lives(&script) else { return };
    assert_eq!(world.read("up"), "12345\n");
}

#[test]
fn a_user_without_a_home_is_told_what_to_set() {
    if !is_root() {
        return skip("only root may become another user").unwrap_or_default();
    }
    let Some(world) = World::new() else { return };
    for home in ["HOME=", "HOME=/"] {
        let out = world.run(&format!(
            "mount --bind $B $H/bin; unset ZINIT_HOME; export {home}; {NOBODY} $H/bin/zinit-updater --init"
        ));
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(said.contains("hint: set ZINIT_HOME to a directory"), "{said}");
        assert_eq!(said.matches("error: ").count(), 1, "it is tried once: {said}");
    }
}

#[test]
fn one_writable_directory_is_enough() {
    let Some(world) = World::new() else { return };
    let read_only = "mount --bind $H $H && mount -o remount,bind,ro /";
    if !world.run(read_only).status.success() {
        return skip("this user may not make the root read-only").unwrap_or_default();
    }
    let Some(world) = lives(&format!("{read_only} || exit; cd /; exec zinit-updater --init"))
    else {
        return;
    };
    assert!(world.home.join("refused").exists(), "the root can be written to");
}

#[test]
fn it_does_without_proc_and_says_what_that_costs() {
    let Some(world) = lives("mount -t tmpfs none /proc; exec $B/zinit-updater --init") else {
        return;
    };
    assert!(world.log().contains("/proc is not that of our processes"), "{}", world.log());
}

#[test]
fn a_proc_that_hides_the_processes_of_others_is_enough() {
    lives("mount -o remount,hidepid=2 /proc; exec zinit-updater --init");
}

#[test]
fn without_a_server_that_begins_it_says_so_once_and_ends() {
    let Some(world) = World::new() else { return };
    let alone = "cp $B/zinit-updater $H/bin; PATH=/usr/bin:/bin; exec $H/bin/zinit-updater --init";
    let out = world.run(alone);
    let missing =
        "error: cannot begin: there is no `zinit-server` beside this program or in PATH\n";
    assert_eq!((out.status.code(), &*text(&out.stderr)), (Some(1), missing));
    let server = world.home.join("bin/zinit-server");
    for (file, status, said) in [
        ("#!/bin/sh\necho broken >&2; exit 3\n", 3, "broken\n"),
        ("#!/no/such/shell\n", 127, "exec: No such file or directory\n"),
        ("#!/bin/sh\nkill -SEGV $$\n", 139, ""),
    ] {
        std::fs::write(&server, file).expect("it is writable");
        let out = world.run(&format!("chmod +x $H/bin/zinit-server; {alone}"));
        assert_eq!(out.status.code(), Some(status), "{file}");
        let told = text(&out.stderr);
        assert!(told.ends_with(said) && told.lines().count() <= 1, "{file}: {told}");
    }
}
