//! PID 1 at a terminal.

#![expect(clippy::disallowed_methods, reason = "to run programs is what it is for")]

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};

use nix::pty::openpty;

use crate::programs::programs;
use crate::world::World;

/// A program that leads the session of a terminal.
struct Terminal {
    keys: File,
    program: Child,
}

impl Terminal {
    fn new(world: &World, script: &str) -> Self {
        let ends = openpty(None, None).expect("there are terminals");
        let end = || ends.slave.try_clone().expect("a descriptor");
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", "sh", "-c", script]);
        command.env("B", programs()).env("ZINIT_HOME", &world.home).env("H", &world.home);
        let program = command.stdin(end()).stdout(end()).stderr(end()).spawn();
        Self { keys: File::from(ends.master), program: program.expect("there is `setsid`") }
    }

    /// Reads until this is on the screen.
    fn shows(&mut self, text: &str) {
        let mut shown = String::new();
        while !shown.contains(text) {
            let mut bytes = [0; 256];
            let length = self.keys.read(&mut bytes);
            let length = length.unwrap_or_else(|_| panic!("it has ended after `{shown}`"));
            shown += &String::from_utf8_lossy(&bytes[..length]);
        }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("a terminal takes keys");
    }

    fn ends(&mut self) -> Option<i32> {
        self.program.wait().expect("it is ours").code()
    }
}

#[test]
fn the_program_of_the_shim_has_the_terminal() {
    let Some(world) = World::new() else { return };
    let script = "exec $B/zinit-updater --init -- sh -c \
        'trap \"echo interrupted; exit 5\" INT; read line; echo got $line; read line'";
    let mut terminal = Terminal::new(&world, script);
    terminal.types("hello\n");
    terminal.shows("got hello");
    terminal.types("\x03");
    terminal.shows("interrupted");
    assert_eq!(terminal.ends(), Some(5));
}

#[test]
fn who_started_the_shim_has_the_terminal_again() {
    let Some(world) = World::new() else { return };
    let script = "$B/zinit-updater --init -- true; read line; echo got $line";
    let mut terminal = Terminal::new(&world, script);
    terminal.types("hello\n");
    terminal.shows("got hello");
    assert_eq!(terminal.ends(), Some(0));
}

#[test]
fn a_shim_in_the_background_takes_no_terminal() {
    let Some(world) = World::new() else { return };
    let script = "set -m; $B/zinit-updater --init -- sh -c 'echo ready; exec sleep 1000' &
        read line; echo got $line; kill $!; wait $!; exit 6";
    let mut terminal = Terminal::new(&world, script);
    terminal.shows("ready");
    terminal.types("hello\n");
    terminal.shows("got hello");
    assert_eq!(terminal.ends(), Some(6));
}

#[test]
fn ctrl_c_ends_everything() {
    let Some(world) = World::new() else { return };
    let script = "exec $B/zinit-updater --init";
    let mut terminal = Terminal::new(&world, script);
    terminal.shows("Press Ctrl+C to stop");
    terminal.types("\x03");
    assert_eq!(terminal.ends(), Some(0));
}
