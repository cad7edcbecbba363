//! Real servers, each in a home of its own, that are gone with the test that made them.

#![expect(clippy::disallowed_methods, reason = "to run the programs is what it is for")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use zinit_host::board::Status;
use zinit_host::rpc::client::Client;

/// The directory of the programs, built if need be.
pub fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let test = std::env::current_exe().expect("a test has a file");
        let dir = test.ancestors().nth(2).expect("tests are in target/PROFILE/deps");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the root");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root).args(["build", "--quiet", "--workspace", "--bins"]);
        if dir.ends_with("release") {
            cargo.arg("--release");
        }
        cargo.env("CARGO_TARGET_DIR", dir.parent().expect("the profile's directory is in target"));
        assert!(cargo.status().expect("cargo runs").success(), "the programs do not build");
        dir.to_owned()
    })
}

/// A home, and the server in it if one was started.
#[derive(Debug)]
pub struct Home {
    /// What `ZINIT_HOME` is.
    pub root: PathBuf,
}

impl Home {
    /// An empty home.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("zinit-{}-{number}", std::process::id()));
        fs::create_dir_all(root.join("cfg/zinit")).expect("the temporary directory is writable");
        Self { root }
    }

    /// Writes the file of a service.
    pub fn service(self, name: &str, yaml: &str) -> Self {
        self.write(&format!("cfg/zinit/{name}.yaml"), yaml);
        self
    }

    /// Writes a file below the home.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("it is below the home")).expect("it is writable");
        fs::write(path, text).expect("the home is writable");
    }

    /// Starts a server in the background.
    pub fn start(self) -> Self {
        let out = self.run("zinit-server", ["-bg"]);
        assert!(out.status.success(), "no server: {}", text(&out.stderr));
        self
    }

    /// Starts a server in the background that sees a small disk of its own in this directory of the
    /// home; false where nobody may mount one.
    pub fn start_with_disk(&self, directory: &str, bytes: u32) -> bool {
        let disk = self.root.join(directory);
        fs::create_dir_all(&disk).expect("it is writable");
        let script = "mount -t tmpfs -o size=$1 none \"$2\" || exit 99; exec \"$0\" -bg";
        let unshared = |flags: &str| {
            let program = self.command("zinit-server");
            let mut command = Command::new("unshare");
            command.args([flags, "sh", "-c", script]).arg(program.get_program());
            command.arg(bytes.to_string()).arg(&disk);
            command.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
            command.stdin(Stdio::null()).status().is_ok_and(|it| it.success())
        };
        unshared("-m") || unshared("-Urm")
    }

    /// A program of ours, to be run in this home.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(programs().join(program));
        command.env("ZINIT_HOME", &self.root).env_remove("ZINIT_PORT").env("NO_COLOR", "1");
        command.current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// Runs a program of ours to its end.
    pub fn run<A: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = A>) -> Output {
        self.command(program).args(args).output().expect("our programs run")
    }

    /// Runs `zinit` and returns what it printed; it must succeed.
    pub fn zinit<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        let out = self.run("zinit", args);
        let (said, complained) = (text(&out.stdout), text(&out.stderr));
        assert!(out.status.success(), "{}: {said}{complained}", out.status);
        said
    }

    /// The socket of the server.
    pub fn socket(&self) -> PathBuf {
        self.root.join("var/zinit.sock")
    }

    /// A client of the server.
    pub fn client(&self) -> Client {
        Client::connect(&self.socket()).expect("the server answers")
    }

    /// A client, if a server answers.
    pub fn client_if_any(&self) -> Option<Client> {
        Client::connect(&self.socket()).ok()
    }

    /// Asks the server; it must not refuse.
    pub fn ask(&self, method: &str, params: Value) -> Value {
        self.client().call(method, params).unwrap_or_else(|no| panic!("{method}: {no}"))
    }

    /// The status of a service.
    pub fn status(&self, name: &str) -> Status {
        let status = self.ask("service.status", json!([name]));
        serde_json::from_value(status).expect("a status has the shape of a status")
    }

    /// Waits until a service is up.
    pub fn up(&self, name: &str) -> Status {
        self.ask("service.wait", json!([name, 30, "up"]));
        self.status(name)
    }

    /// The process id of the keeper.
    pub fn keeper(&self) -> i32 {
        let lock = fs::read_to_string(self.root.join("var/zinit/lock")).expect("there is a lock");
        let pid = lock.lines().find_map(|it| it.strip_prefix("pid "));
        pid.and_then(|it| it.parse().ok()).expect("the lock says who holds it")
    }

    /// The process ids of the keeper's children of this name.
    pub fn children(&self, comm: &str) -> Vec<i32> {
        children(self.keeper())
            .into_iter()
            .filter(|pid| {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                name.trim() == comm
            })
            .collect()
    }

    /// The process id of the brain.
    pub fn brain(&self) -> Option<i32> {
        self.children("zinit-server").first().copied()
    }

    /// Sends a signal to the brain, if there is one.
    pub fn signal_brain(&self, signal: Signal) {
        if let Some(pid) = self.brain() {
            // It may have died meanwhile.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// What the server has printed.
    pub fn server_log(&self) -> String {
        fs::read_to_string(self.root.join("var/zinit-server.log")).unwrap_or_default()
    }

    /// Waits until something holds, by looking; for what no event tells.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..3_000 {
            if holds() {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
        panic!("never: {what}\nthe server said: {}", self.server_log());
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.root.join("var/zinit/lock").exists() {
            let keeper = self.keeper();
            let services = children(keeper);
            self.run("zinit", ["server", "stop"]);
            for pid in services.into_iter().chain([keeper]) {
                let named = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let ours = pid == keeper && named.contains("(zinit-keeper)")
                    || named.split(' ').nth(3) == Some(&keeper.to_string());
                if ours {
                    // Only a test that failed leaves any.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// The children of a process.
pub fn children(pid: i32) -> Vec<i32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    listed.unwrap_or_default().split_whitespace().filter_map(|it| it.parse().ok()).collect()
}

/// What a program printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
