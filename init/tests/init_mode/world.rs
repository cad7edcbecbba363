//! A home, and a PID namespace in which a program is the first process.

#![expect(clippy::disallowed_methods, reason = "to run programs and to wait is what it is for")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::programs::programs;

/// A test that waits longer than this for something has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a namespace is made: by root, or by anybody who may be root of a namespace of users.
const WAYS: [&[&str]; 2] = [&["-pf"], &["-Upf", "--map-root-user"]];

fn way() -> Option<&'static [&'static str]> {
    static WAY: OnceLock<Option<usize>> = OnceLock::new();
    let works = |way: &&[&str]| {
        let mut command = Command::new("unshare");
        command.args(*way).args(["--mount-proc", "--kill-child", "true"]);
        command.stderr(Stdio::null()).status().is_ok_and(|it| it.success())
    };
    WAY.get_or_init(|| WAYS.iter().position(works)).map(|it| WAYS[it])
}

/// Whether namespaces are made by root itself, who may be any user in them.
pub(crate) fn is_root() -> bool {
    way() == Some(WAYS[0])
}

/// Says that a test is not done, and why.
pub(crate) fn skip<T>(why: &str) -> Option<T> {
    eprintln!("skipped: {why}");
    None
}

/// A home, and who is the first process of its namespace.
pub(crate) struct World {
    /// `ZINIT_HOME`.
    pub(crate) home: PathBuf,
    unshare: Option<Child>,
}

impl World {
    /// An empty home; none where there can be no namespace.
    pub(crate) fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if way().is_none() {
            return skip("this user may not make PID namespaces (`unshare -Upf --map-root-user`)");
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zinit-init-{}-{number}", std::process::id());
        let home = std::env::temp_dir().join(name);
        fs::create_dir_all(home.join("cfg/zinit")).expect("the temporary directory is writable");
        fs::create_dir_all(home.join("bin")).expect("it is writable");
        Some(Self { home, unshare: None })
    }

    /// Writes the file of a service that runs a script of one line, in which `$H` is the home.
    pub(crate) fn service(self, name: &str, script: &str, more: &str) -> Self {
        let (home, file) = (self.home.display(), format!("cfg/zinit/{name}.yaml"));
        fs::write(self.home.join(name), format!("H={home}\n{script}\n")).expect("it is writable");
        let yaml = format!("exec: sh {home}/{name}\n{more}\n");
        fs::write(self.home.join(file), yaml).expect("it is writable");
        self
    }

    /// A shell script as the first process; it is to end with `exec`. `$H` is the home, and `$B` the
    /// directory of the programs.
    pub(crate) fn command(&self, script: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(way().expect("there is a world"));
        command.args(["--mount-proc", "--kill-child", "sh", "-c", script]);
        command.env("H", &self.home).env("B", programs()).env("ZINIT_HOME", &self.home);
        let path = std::env::var("PATH").expect("there is a PATH");
        command.env("PATH", format!("{}:{path}", programs().display()));
        command.env_remove("ZINIT_PORT").env_remove("ZINIT_CGROUP").stdin(Stdio::null());
        command
    }

    /// Begins a namespace with this script.
    pub(crate) fn begin(mut self, script: &str) -> Self {
        let log = fs::File::create(self.home.join("log")).expect("it is writable");
        let mut command = self.command(script);
        command.stdout(log.try_clone().expect("a descriptor")).stderr(log);
        self.unshare = Some(command.spawn().expect("there is `unshare`"));
        self
    }

    /// Runs a script as the first process to its end.
    pub(crate) fn run(&self, script: &str) -> Output {
        self.command(script).output().expect("there is `unshare`")
    }

    /// What the first process has said.
    pub(crate) fn log(&self) -> String {
        self.read("log")
    }

    /// A file of the home; empty when there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.home.join(name)).unwrap_or_default()
    }

    /// The first process of the namespace, by its number outside.
    pub(crate) fn init(&self) -> i32 {
        let unshare = self.unshare.as_ref().expect("it was begun").id() as i32;
        self.until("there is a first process", || children(unshare).first().copied())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.init()), signal).expect("the first process lives");
    }

    /// Sends a signal by its number, which may be a real-time one.
    pub(crate) fn kill(&self, signal: i32, pid: i32) {
        let done = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status();
        assert!(done.is_ok_and(|it| it.success()), "signal {signal} cannot be sent");
    }

    /// The number, outside, of the brain.
    pub(crate) fn brain(&self) -> Option<i32> {
        let is_brain = |it: &i32| comm(*it) == "zinit-server";
        children(self.init()).into_iter().find(is_brain)
    }

    /// Waits for a file that is not empty, and returns what is in it.
    pub(crate) fn file(&self, name: &str) -> String {
        self.until(name, || Some(self.read(name)).filter(|it| it.ends_with('\n')))
    }

    /// Waits for the end of the first process.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let mut unshare = self.unshare.take().expect("it was begun");
        let end = self.until_or(|| unshare.try_wait().expect("it is ours"));
        end.unwrap_or_else(|| {
            // The others go with it.
            let _ = unshare.kill().and_then(|()| unshare.wait());
            panic!("it does not end:\n{}", self.log())
        })
    }

    /// Asks the server.
    pub(crate) fn zinit(&self, args: &[&str]) -> Output {
        let mut zinit = Command::new(programs().join("zinit"));
        zinit.args(args).env("ZINIT_HOME", &self.home).env("NO_COLOR", "1").stdin(Stdio::null());
        zinit.output().expect("`zinit` runs")
    }

    /// Looks until there is something; for what sends no event.
    pub(crate) fn until<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        let found = self.until_or(look);
        found.unwrap_or_else(|| panic!("it does not come about: {what}\n{}", self.log()))
    }

    fn until_or<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(found) = look() {
                return Some(found);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(unshare) = &mut self.unshare {
            let _ = unshare.kill().and_then(|()| unshare.wait());
        }
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// The children of a process.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    listed.unwrap_or_default().split_whitespace().filter_map(|it| it.parse().ok()).collect()
}

/// What a process is called.
pub(crate) fn comm(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim().to_owned()
}

/// What a program printed.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
