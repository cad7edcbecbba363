//! Starting and stopping: one call for all, what is shown meanwhile, what came of it.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zinit_host::desk::Command;

use crate::world::{World, names, told};

fn fleet() -> World {
    let world = World::new();
    for name in ["web-1", "web-2", "db"] {
        world.post(name, "Running", |_| ());
    }
    world.post("mail", "Running", |it| it.groups = vec!["jobs".into()]);
    world
}

#[test]
fn several_names_globs_and_groups_are_one_command_and_a_line_each() {
    let world = fleet();
    let said = world.says(&["stop", "web-*", "db", "@jobs"]);
    let lines = ["web-1", "web-2", "db", "mail"].map(|it| format!("Stopped service: {it}\n"));
    assert_eq!(said, lines.concat());
    let stop = Command::Stop(names(&["web-1", "web-2", "db", "mail"]));
    assert_eq!(world.heard.try_iter().collect::<Vec<_>>(), [stop]);
    assert_eq!(world.says(&["start", "--no-deps", "db"]), "Started service: db\n");
    let start = Command::Start { names: names(&["db"]), deps: false };
    assert_eq!(world.heard.try_iter().collect::<Vec<_>>(), [start]);
    assert_eq!(world.says(&["restart", "db"]), "Restarted service: db\n");
    assert_eq!(world.says(&["delete", "db"]), "Deleted service: db\n");
    let (code, out, err) = world.run(&["stop", "db", "web-1"]);
    assert_eq!((code, out.as_str()), (1, ""), "all or nothing");
    assert!(err.starts_with("error: there is no service `db`\n"), "{err}");
}

#[test]
fn all_services_are_stopped_started_restarted_and_only_surely_deleted() {
    let world = fleet();
    let each = |done: &str| {
        ["db", "mail", "web-1", "web-2"].map(|it| format!("{done} service: {it}\n")).concat()
    };
    assert_eq!(world.says(&["stop", "--all"]), each("Stopped"));
    assert_eq!(world.says(&["start", "--all"]), each("Started"));
    assert_eq!(world.says(&["restart", "--all"]), each("Restarted"));
    let (code, _, err) = world.run(&["delete", "--all"]);
    assert_eq!(code, 1);
    assert!(err.contains("`zinit delete --all --yes` is sure"), "{err}");
    assert_eq!(world.says(&["delete", "--all", "--yes"]), each("Deleted"));
    assert_eq!(world.says(&["restart", "--all"]), "");
    assert_eq!(world.run(&["stop"]).0, 2);
    assert_eq!(world.run(&["stop", "--all", "db"]).0, 2);
}

#[test]
fn a_stop_may_have_a_limit_and_need_not_be_waited_for() {
    let world = fleet();
    world.post("stuck", "Running", |_| ());
    let (code, out, err) = world.run(&["stop", "stuck", "db", "--timeout", "0.05"]);
    assert_eq!((code, out.as_str()), (4, "Stopped service: db\n"));
    let says = "error: `stuck` did not stop in time\n\
        hint: the stop goes on; `zinit status stuck` shows how far\n";
    assert_eq!(err, says);
    assert_eq!(world.says(&["stop", "stuck", "--no-wait"]), "Stopping service: stuck\n");
    assert_eq!(world.run(&["stop", "db", "--timeout", "-1"]).0, 2);
}

#[test]
fn a_service_that_waits_is_not_said_to_be_started() {
    let world = fleet();
    world.post("stuck", "Stopped", |_| ());
    let said = world.says(&["start", "stuck", "db"]);
    assert_eq!(said, "Waiting: stuck (Blocked: the test says so)\nStarted service: db\n");
}

#[test]
fn a_stop_that_takes_its_time_is_shown_on_a_terminal_and_then_no_more() {
    let world = fleet();
    world.post("stuck", "Running", |_| ());
    let terminal = openpty(None, None).unwrap();
    let mut zinit = world.zinit(&["stop", "stuck"]);
    let child = zinit.stderr(Stdio::from(terminal.slave)).spawn().unwrap();
    drop(zinit);
    let mut screen = File::from(terminal.master);
    let mut shown = String::new();
    let mut bytes = [0; 1024];
    while !shown.contains("stopping stuck (") {
        let count = screen.read(&mut bytes).unwrap();
        shown += std::str::from_utf8(&bytes[..count]).unwrap();
    }
    world.post("stuck", "Stopped", |_| ());
    let (code, out, _) = told(child.wait_with_output().unwrap());
    assert_eq!((code, out.as_str()), (0, "Stopped service: stuck\n"));
    // A terminal that nobody writes to any more ends with an error.
    while let Ok(count @ 1..) = screen.read(&mut bytes) {
        shown += std::str::from_utf8(&bytes[..count]).unwrap();
    }
    assert!(shown.ends_with("\r\u{1b}[K"), "{shown:?}");
}

#[test]
fn ctrl_c_ends_the_waiting_and_not_the_stop() {
    let world = fleet();
    world.post("stuck", "Running", |_| ());
    let child = world.zinit(&["stop", "stuck"]).spawn().unwrap();
    while world.board.get("stuck").unwrap().state != "Stopping" {
        std::thread::yield_now();
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let (code, out, err) = told(child.wait_with_output().unwrap());
    assert_eq!((code, out.as_str()), (130, ""));
    assert!(err.starts_with("error: no longer waiting; the stop goes on\nhint: "), "{err}");
    assert_eq!(world.board.get("stuck").unwrap().state, "Stopping");
}
