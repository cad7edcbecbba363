//! A machine on which Zinit is installed, and whoever publishes releases for it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::web;

/// All programs of Zinit.
pub(crate) const PROGRAMS: [&str; 3] = ["zinit", "zinit-server", "zinit-updater"];

/// What this machine is called in releases.
pub(crate) fn target() -> String {
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    format!("{}-unknown-linux-{libc}", std::env::consts::ARCH)
}

/// A directory with everything in it, gone with the test.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) root: PathBuf,
    /// Where its releases are served.
    pub(crate) url: String,
    /// The public key that it trusts.
    pub(crate) public: String,
}

impl World {
    /// Version 0.4.0 is installed, and trusts a key of its own.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zinit-update-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        for dir in ["home/cfg", "home/var", "bin", "web"] {
            fs::create_dir_all(root.join(dir)).expect("the temporary directory is writable");
        }
        let url = web::serve(&root.join("web"));
        let mut world = Self { root, url, public: String::new() };
        world.public = world.new_key("secret");
        world.configure(&format!("url = \"{}\"\npublic_key = \"{}\"\n", world.url, world.public));
        world.install("0.4.0", "");
        world
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("it is writable");
        fs::write(path, text).expect("it is writable");
    }

    /// Writes the updater's file.
    pub(crate) fn configure(&self, toml: &str) {
        self.write("home/cfg/zinit_latest.toml", toml);
    }

    pub(crate) fn state(&self) -> String {
        self.read("home/cfg/zinit_latest.toml")
    }

    /// Puts programs into a directory; the server is one to which this happens as well when it runs.
    fn programs(&self, dir: &str, version: &str, more: &str) {
        for name in PROGRAMS {
            let more = if name == "zinit-server" { more } else { "" };
            let text = format!(
                "#!/bin/sh\n# {version}\necho {name} >> \"$ZINIT_HOME/executed-{version}\"\n{more}\n\
                 case \"$1\" in\n--version) echo \"{name} {version}\" ;;\n{ZINIT}\nesac\n"
            );
            self.program(&format!("{dir}/{name}"), &text);
        }
    }

    /// Another process writes it: this one might be about to start something that inherits the open
    /// file, which then could not be executed.
    pub(crate) fn program(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("it is writable");
        let script = "cat > \"$0.tmp\" && chmod 755 \"$0.tmp\" && mv \"$0.tmp\" \"$0\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(path).stdin(Stdio::piped());
        let mut shell = shell.spawn().expect("there is a shell");
        let mut stdin = shell.stdin.take().expect("it is a pipe");
        stdin.write_all(text.as_bytes()).expect("it reads");
        drop(stdin);
        assert!(shell.wait().expect("it ends").success());
    }

    /// Installs a version; its server also does `more`.
    pub(crate) fn install(&self, version: &str, more: &str) {
        self.programs("bin", version, more);
    }

    /// Publishes a version; its server also does `more`.
    pub(crate) fn publish(&self, version: &str, more: &str) {
        self.programs("build", version, more);
        let (web, build) = (self.path("web"), self.path("build"));
        let mut updater = self.command();
        updater.arg("release").arg(web).arg("--from").arg(build);
        updater.args(["--version", version, "--key"]).arg(self.path("secret"));
        let out = updater.output().expect("it runs");
        assert!(out.status.success(), "{}", text(&out.stderr));
        // Who publishes has tried it.
        let _ = fs::remove_file(self.path(&format!("home/executed-{version}")));
    }

    /// The file of a published program.
    pub(crate) fn published(&self, name: &str, version: &str) -> PathBuf {
        self.path(&format!("web/{name}-{version}-{}", target()))
    }

    /// Makes a key and returns the public one.
    pub(crate) fn new_key(&self, file: &str) -> String {
        let mut updater = self.command();
        let out = updater.args(["release", "--json", "--new-key"]).arg(self.path(file)).output();
        let out = out.expect("it runs");
        assert!(out.status.success(), "{}", text(&out.stderr));
        let said: Value = serde_json::from_slice(&out.stdout).expect("JSON");
        said["public_key"].as_str().expect("it is there").to_owned()
    }

    /// The updater in this world, with nothing of ours in its environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zinit-updater"));
        command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        let set = ["ZINIT_UPDATE_URL", "ZINIT_UPDATE_KEY", "ZINIT_UPDATE_INTERVAL"];
        for key in set {
            command.env_remove(key);
        }
        command.env("ZINIT_HOME", self.path("home")).env("ZINIT_BIN_DIR", self.path("bin"));
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).output().expect("it runs")
    }

    /// Runs it; it must succeed. What it said.
    #[track_caller]
    pub(crate) fn does(&self, args: &[&str]) -> String {
        let out = self.run(args);
        let (said, complained) = (text(&out.stdout), text(&out.stderr));
        assert!(out.status.success(), "{}: {said}{complained}", out.status);
        said
    }

    /// Runs it; it must succeed. What it answered as JSON.
    #[track_caller]
    pub(crate) fn answers(&self, args: &[&str]) -> Value {
        let said = self.does(&[args, &["--json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// Runs it; it must refuse with exit code 1, and say so with these words.
    #[track_caller]
    pub(crate) fn refuses(&self, args: &[&str], words: &str) {
        let out = self.run(args);
        let complained = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{complained}");
        assert!(complained.contains(words), "{complained}");
    }

    /// All programs are of that version, nothing is left aside, and none of another has been run.
    #[track_caller]
    pub(crate) fn is_all(&self, version: &str) {
        for name in PROGRAMS {
            assert_eq!(version_in(&self.path(&format!("bin/{name}"))), version, "{name}");
        }
        let names = fs::read_dir(self.path("bin")).expect("it is there").flatten();
        let hidden: Vec<_> = names.map(|it| it.file_name()).collect();
        let hidden: Vec<_> =
            hidden.iter().filter(|it| it.as_encoded_bytes().starts_with(b".")).collect();
        assert!(hidden.is_empty(), "{hidden:?}");
    }

    /// Waits until that has been asked for so many times more.
    #[track_caller]
    pub(crate) fn is_fetched(&self, path: &str, times: usize) {
        let count = || self.read("requests").lines().filter(|it| *it == path).count();
        let before = count();
        until(path, || count() >= before + times);
    }

    /// Whether a program of that version was ever run.
    pub(crate) fn has_run(&self, version: &str) -> bool {
        self.path(&format!("home/executed-{version}")).exists()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// What `zinit` does besides: scripts that it gets on standard input are compiled, others are run.
const ZINIT: &str = r#"-i) read -r first; case "$first" in
    "return; "*BROKEN*) echo "error: stdin:1:9: Syntax error" >&2; exit 1 ;;
    "return; "*) exit 0 ;;
    *) echo "error: it would have been run" >&2; exit 1 ;;
    esac ;;
*.rhai) cat "$1" >> "$ZINIT_HOME/ran"
    if grep -q FAILS "$1"; then echo "error: no" >&2; exit 1; fi
    if grep -q ASKS "$1" && ! test -e "$ZINIT_HOME/server"; then exit 3; fi ;;"#;

/// Waits until this is so. What it looks at tells nobody when it changes.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let (_keep, never) = channel::<()>();
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what} takes too long");
        let _ = never.recv_timeout(Duration::from_millis(5));
    }
}

/// The version of a program, without running it.
pub(crate) fn version_in(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().nth(1).unwrap_or_default().trim_start_matches("# ").to_owned()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
