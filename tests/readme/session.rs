//! The home in which the blocks are executed, and how.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::sitting;
use zinit_host::spec::Spec;
use zinit_host::trial;
use zinit_tests::daemon::{Home, programs, text};

/// The ports that the README speaks of.
const PORTS: [&str; 6] = ["8080", "8081", "8082", "8083", "8084", "9123"];

/// Finds the server of this home alone: there are others on the machine.
const PGREP: &str = r#"#!/bin/sh
exec /usr/bin/pgrep -P "$(sed -n 's/^pid //p' "$HOME/hero/var/zinit/lock")" "$@"
"#;

/// Makes namespaces as root does, or as anybody may.
const UNSHARE: &str = r#"#!/bin/sh
/usr/bin/unshare -pf true 2> /dev/null || set -- -U --map-root-user "$@"
exec /usr/bin/unshare "$@"
"#;

type Done = Result<(), String>;

/// A reader who does what the README says.
pub(crate) struct Session {
    home: Home,
    root: PathBuf,
    ports: [u16; 6],
}

impl Session {
    /// `~` is the home's directory, and `~/hero` is the same, so that both ways lead there.
    pub(crate) fn new(root: &Path) -> Self {
        let home = Home::new();
        symlink(".", home.root.join("hero")).expect("the home is writable");
        symlink(root.join("rhaiexamples"), home.root.join("rhaiexamples")).expect("likewise");
        for (name, script) in [("bin/pgrep", PGREP), ("bin/unshare", UNSHARE)] {
            home.write(name, script);
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(home.root.join(name), mode).expect("likewise");
        }
        // All are held until all are known, so that they differ.
        let held = PORTS.map(|_| TcpListener::bind("127.0.0.1:0").expect("there are free ports"));
        let ports = held.map(|it| it.local_addr().expect("it is bound").port());
        Self { home, root: root.to_owned(), ports }
    }

    pub(crate) fn at_free_ports(&self, text: &str) -> String {
        let ports = PORTS.iter().zip(self.ports);
        ports.fold(text.to_owned(), |text, (port, free)| text.replace(port, &free.to_string()))
    }

    pub(crate) fn server_log(&self) -> String {
        self.home.server_log()
    }

    /// Whether this user can do what the steps about containers do.
    pub(crate) fn has_namespaces(&self) -> bool {
        self.bash("unshare -pf --mount-proc true").0 == 0
    }

    /// Runs a block of shell.
    pub(crate) fn shell(&self, script: &str) -> Done {
        if script.starts_with("cargo ") {
            return script.lines().try_for_each(|line| self.instead_of_cargo(line));
        }
        match self.bash(script) {
            (0, _) => Ok(()),
            (code, said) => Err(format!("exit {code}: {said}")),
        }
    }

    /// What is built already does what cargo would build first.
    fn instead_of_cargo(&self, line: &str) -> Done {
        let command = line.split('#').next().unwrap_or(line).trim();
        if let Some(args) = command.strip_prefix("cargo run --release --bin zinit -- ") {
            return self.shell(&format!("zinit {args}"));
        }
        if let Some(dir) = command.strip_prefix("cargo install --path ") {
            let manifest = fs::read_to_string(self.root.join(dir).join("Cargo.toml"));
            let manifest = manifest.map_err(|error| format!("{dir}: {error}"))?;
            let named = line.split_once("# ").and_then(|(_, it)| it.split_once(':'));
            let program = named.map_or("?", |(name, _)| name);
            let has_it = manifest.contains(&format!("[[bin]]\nname = \"{program}\""));
            return if has_it { Ok(()) } else { Err(format!("{dir} has no program {program}")) };
        }
        // This is how we got here.
        if command == "cargo test --workspace" { Ok(()) } else { Err(format!("what is `{line}`?")) }
    }

    /// Runs each line that begins with `$`, and compares what follows it.
    pub(crate) fn console(&self, text: &str) -> Done {
        if let Some(said) = text.strip_prefix("$ zinit\n") {
            return sitting::follows(&self.home, said);
        }
        for step in format!("\n{text}").split("\n$ ").skip(1) {
            let (command, expected) = step.split_once('\n').unwrap_or((step, ""));
            let (code, mut said) = self.bash(command);
            if code != 0 {
                said += &format!("[exit {code}]\n");
            }
            if !is_like(&said, expected) {
                return Err(format!("`{command}` says:\n{said}"));
            }
        }
        Ok(())
    }

    /// Writes a file of the README.
    fn write(&self, path: &str, text: &str) -> PathBuf {
        let below = path.strip_prefix("~/hero/").expect("all that it writes is there");
        self.home.write(below, text);
        self.home.root.join(below)
    }

    pub(crate) fn service_file(&self, path: &str, text: &str) -> Done {
        let path = self.write(path, text);
        Spec::from_yaml(text, &path).map(drop).map_err(|no| no.to_string())
    }

    pub(crate) fn policy_file(&self, path: &str, text: &str) -> Done {
        let path = self.write(path, text);
        let fine = trial::vet(&[(path, text.to_owned())]);
        fine.map_err(|problems| format!("{problems:?}"))
    }

    pub(crate) fn script(&self, text: &str) -> Done {
        self.home.write("script.rhai", text);
        self.shell("zinit -c \"$(cat ~/script.rhai)\"")
    }

    /// The exit code, and all that was printed.
    fn bash(&self, script: &str) -> (i32, String) {
        let path = std::env::var("PATH").expect("there is a PATH");
        let bin = self.home.root.join("bin");
        let mut bash = self.home.command("/usr/bin/env");
        bash.args(["bash", "-euo", "pipefail", "-c", &format!("exec 2>&1; {script}")]);
        bash.env("HOME", &self.home.root).env_remove("ZINIT_HOME");
        bash.env("PATH", format!("{}:{}:{path}", bin.display(), programs().display()));
        let out = bash.output().expect("there is a bash");
        (out.status.code().unwrap_or(-1), text(&out.stdout))
    }
}

/// Whether this is what the README shows, whatever the numbers are.
pub(crate) fn is_like(said: &str, expected: &str) -> bool {
    let (said, expected) = (without_numbers(said), without_numbers(expected));
    match expected.split_once("...\n") {
        Some((begin, _)) => said.starts_with(begin),
        None => said.trim_end() == expected.trim_end(),
    }
}

/// The text with each number as `0`, except for exit codes.
fn without_numbers(text: &str) -> String {
    let mut shown = String::new();
    for line in text.lines() {
        if line.starts_with("[exit ") {
            shown += line;
        } else {
            for c in line.chars() {
                let again = c.is_ascii_digit() && shown.ends_with('0');
                if !again {
                    shown.push(if c.is_ascii_digit() { '0' } else { c });
                }
            }
        }
        shown.push('\n');
    }
    shown
}
