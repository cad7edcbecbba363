//! Watching for updates.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::brain::{Brain, Temper};
use crate::world::World;

struct Watch {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Watch {
    fn start(world: &World, args: &[&str]) -> Self {
        let mut updater = world.command();
        updater.arg("watch").args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = updater.spawn().expect("it runs");
        let stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
        Self { child, stdout, stderr }
    }

    #[track_caller]
    fn says(&mut self, words: &str) {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert_ne!(self.stdout.read_line(&mut line).expect("it is text"), 0, "no `{words}`");
        }
    }

    #[track_caller]
    fn complains(&mut self, words: &str) {
        let mut line = String::new();
        assert_ne!(self.stderr.read_line(&mut line).expect("it is text"), 0, "no `{words}`");
        assert!(line.contains(words), "{line}");
    }

    /// It ends at once.
    fn end(mut self) {
        let pid = i32::try_from(self.child.id()).expect("a pid fits");
        let begin = Instant::now();
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it is ours");
        self.child.wait().expect("it ends");
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn what_is_published_is_there_soon_and_a_new_updater_takes_the_place_of_the_old() {
    let world = World::new();
    world.publish("0.4.0", "");
    let mut watch = Watch::start(&world, &["1"]);
    watch.says("Looking for updates every 1 s");
    world.publish("0.4.1", "");
    watch.says("  zinit: updated from 0.4.0 to 0.4.1");
    watch.says("Ending: whoever supervises this program starts the new one");
    assert!(watch.child.wait().expect("it ends").success());
    world.is_all("0.4.1");
}

#[test]
fn a_release_that_did_not_do_is_not_tried_again_until_there_is_another() {
    let world = World::new();
    world.publish("0.4.1", "test \"$1\" != --check || exit 9");
    let mut watch = Watch::start(&world, &["1"]);
    watch.complains("error: cannot use the new `zinit-server`: its check failed: it ended with 9");
    watch.complains("hint: nothing was changed");
    let tried = world.read("home/executed-0.4.1");
    assert_eq!(
        tried.lines().count(),
        5,
        "each says what it is, the server checks, and the updater is a first process"
    );
    world.is_fetched("manifest.json", 2);
    assert_eq!(world.read("home/executed-0.4.1"), tried);
    world.publish("0.4.2", "");
    watch.says("  zinit: updated from 0.4.0 to 0.4.2");
    assert!(watch.child.wait().expect("it ends").success());
}

#[test]
fn a_trouble_is_said_once_and_a_signal_ends_it() {
    let world = World::new();
    let mut watch = Watch::start(&world, &["1", "--timeout", "1"]);
    watch.complains("manifest.json`: the server answers 404");
    world.write("web/manifest.json.silent", "");
    watch.complains("manifest.json`: the server stays silent");
    watch.complains("hint: `--timeout SECS`");
    watch.end();
}

#[test]
fn a_silent_server_does_not_keep_it_from_ending() {
    let world = World::new();
    world.write("web/manifest.json.silent", "");
    let mut watch = Watch::start(&world, &[]);
    watch.says("Looking for updates every 300 s");
    watch.end();
}

#[test]
fn a_server_that_was_taken_back_is_not_begun_anew_at_every_look() {
    let world = World::new();
    world.publish("0.4.1", "");
    let brain = Brain::start(&world, Temper::Flaps);
    let mut watch = Watch::start(&world, &["1", "--settle", "1"]);
    watch.complains("the new server does not do");
    watch.complains("hint: 0.4.0 is back in place");
    let lives = brain.lives();
    world.is_fetched("manifest.json", 2);
    assert_eq!(brain.lives(), lives);
    watch.end();
    world.is_all("0.4.0");
}
