//! Services that start when somebody connects, and clients who must not notice.
//!
//! What takes long by its nature is smaller here than it is wanted; `ZINIT_XINIT_FULL=1` has it whole.

mod cold;
mod crashes;
mod faithful;
mod idle;
mod lasting;
mod limits;
mod pass;
mod refusals;
mod restarts;
mod seed;

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use zinit_tests::clients::{Client, free_address};
use zinit_tests::daemon::{Home, programs};

/// What a service of the tests is called.
const NAME: &str = "svc";

/// A server with a service behind a proxy.
struct Stand {
    home: Home,
    /// Where clients connect to.
    front: String,
}

/// Where a proxy and its service listen.
#[derive(Clone, Copy)]
enum Family {
    Tcp,
    Unix,
}

/// A test's numbers: the usual one, and the one that is wanted.
fn number(usual: usize, full: usize) -> usize {
    if std::env::var_os("ZINIT_XINIT_FULL").is_some() { full } else { usual }
}

/// The program that stands behind proxies.
fn backend() -> String {
    programs().join("xinit-backend").display().to_string()
}

impl Stand {
    /// One whose service is the backend with these words, more keys of its own, and these of its proxy.
    fn new(family: Family, words: &str, more: &str, xinit: &[&str]) -> Self {
        let home = Home::new();
        let at = |name: &str| match family {
            Family::Tcp => free_address(),
            Family::Unix => home.root.join(name).display().to_string(),
        };
        let (front, back) = (at("front.sock"), at("back.sock"));
        let starts = home.root.join("starts").display().to_string();
        let mut yaml = format!("exec: {} {back} starts={starts} {words}\n{more}", backend());
        yaml.push_str("xinit:\n  enabled: true\n");
        for line in [&*format!("listen: {front}"), &*format!("backend: {back}")].iter().chain(xinit)
        {
            yaml.push_str(&format!("  {line}\n"));
        }
        Self { home: home.service(NAME, &yaml).start(), front }
    }

    /// A client that is connected.
    fn client(&self) -> Client {
        Client::to(&self.front)
    }

    /// How often the service was started.
    fn starts(&self) -> usize {
        starts(&self.home)
    }

    /// The proxy's status.
    fn proxy(&self) -> Value {
        self.home.ask("xinit.status", json!([NAME]))
    }

    /// Waits until so many clients wait.
    fn until_waiting(&self, count: u64) {
        self.home.until("they wait", || self.proxy()["waiting"] == count);
    }

    /// Waits until a service is down.
    fn until_down(&self) {
        self.home.ask("service.wait", json!([NAME, 30, "down"]));
    }
}

fn starts(home: &Home) -> usize {
    fs::read_to_string(home.root.join("starts")).unwrap_or_default().lines().count()
}

/// Stops the brain, so that it does nothing more until it is killed.
fn freeze_brain(home: &Home) -> Pid {
    let brain = home.brain().expect("it runs");
    kill(Pid::from_raw(brain), Signal::SIGSTOP).expect("it lives");
    let is_stopped = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|it| it.starts_with(" T"))
    };
    home.until("each of its threads has stopped", || {
        let mut tasks = fs::read_dir(format!("/proc/{brain}/task")).expect("it lives").flatten();
        tasks.all(is_stopped)
    });
    Pid::from_raw(brain)
}

/// Kills the brain, and waits for the next one.
fn kill_brain(home: &Home) {
    let brain = home.brain();
    home.signal_brain(Signal::SIGKILL);
    until_another_brain(home, brain);
}

fn until_another_brain(home: &Home, before: Option<i32>) {
    home.until("another brain", || home.brain().is_some() && home.brain() != before);
    home.until("it answers", || home.client_if_any().is_some());
    home.ask("system.ping", json!([]));
}

/// A directory of the home that everybody may enter.
fn open_directory(home: &Home, name: &str) -> PathBuf {
    let path = home.root.join(name);
    fs::create_dir_all(&path).expect("the home is writable");
    path
}
