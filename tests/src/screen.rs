//! A terminal in tmux with a shell in it: keys go in, and what is seen there comes out.
//!
//! Each has a tmux server of its own that lives in the home of the test and ends with it, together with
//! everything that was started there.

#![expect(clippy::disallowed_methods, reason = "to run the programs is what it is for")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::{Home, children, programs, text};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long nobody looks at the screen.
const BLINK: Duration = Duration::from_millis(15);

/// What the shell around it all prompts.
const AROUND: &str = "around$ ";

/// A terminal.
#[derive(Debug)]
pub struct Screen {
    /// The socket of its tmux.
    tmux: PathBuf,
    /// What is shown in it.
    shell: i32,
}

impl Screen {
    /// A terminal of so many columns and rows with a shell in it, in this home.
    pub fn new(home: &Home, width: u16, height: u16) -> Self {
        Self::with(home, width, height, &[])
    }

    /// The same with other variables in its environment; a value that is empty unsets one.
    pub fn with(home: &Home, width: u16, height: u16, env: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tmux = home.root.join(format!("tmux-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let mut screen = Self { tmux, shell: 0 };
        let (width, height) = (width.to_string(), height.to_string());
        let mut shell: Vec<String> = vec!["env".to_owned()];
        for (key, value) in env {
            shell.extend(match *value {
                "" => vec!["-u".to_owned(), (*key).to_owned()],
                value => vec![format!("{key}={value}")],
            });
        }
        shell.extend(["bash", "--norc", "--noprofile", "--noediting"].map(str::to_owned));
        let mut command = screen.command(["-f", "/dev/null", "set", "-g", "escape-time", "0", ";"]);
        command.args(["set", "-g", "history-limit", "20000", ";"]);
        command.args(["set", "-g", "default-terminal", "tmux-256color", ";"]);
        command.args(["new-session", "-d", "-x", &width, "-y", &height]).args(shell);
        command.env_clear().envs(surroundings(home)).current_dir(&home.root);
        run(&mut command);
        let pid = screen.tmux(["display-message", "-p", "#{pane_pid}"]);
        screen.shell = pid.trim().parse().expect("tmux knows what runs in it");
        screen.is_left();
        screen
    }

    /// A terminal with `zinit` in it that waits for a first text.
    pub fn zinit(home: &Home, width: u16, height: u16) -> Self {
        let screen = Self::new(home, width, height);
        screen.enters("zinit").prompts();
        screen
    }

    fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(&self.tmux).args(args);
        command
    }

    fn tmux<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        run(&mut self.command(args))
    }
}

/// What is done at it.
impl Screen {
    /// Types this.
    pub fn says(&self, text: &str) -> &Self {
        // What ends with a semicolon would end the command.
        let text = match text.strip_suffix(';') {
            Some(text) => format!("{text}\\;"),
            None => text.to_owned(),
        };
        self.tmux(["send-keys", "-l", "--", &text]);
        self
    }

    /// Presses keys, which have the names that tmux gives them: `C-c`, `Enter`, `Up`.
    pub fn presses(&self, keys: &str) -> &Self {
        self.tmux(["send-keys"].into_iter().chain(keys.split(' ')));
        self
    }

    /// Types this and Enter.
    pub fn enters(&self, text: &str) -> &Self {
        if !text.is_empty() {
            self.says(text);
        }
        self.presses("Enter")
    }

    /// Pastes this as terminals do.
    pub fn pastes(&self, text: &str) -> &Self {
        let mut command = self.command(["load-buffer", "-"]);
        let mut tmux = command.stdin(Stdio::piped()).spawn().expect("tmux runs");
        let mut pipe = tmux.stdin.take().expect("it has a pipe");
        pipe.write_all(text.as_bytes()).expect("tmux reads it");
        drop(pipe);
        assert!(tmux.wait().expect("tmux ends").success(), "tmux takes it");
        self.tmux(["paste-buffer", "-p", "-r"]);
        self
    }

    /// Types bytes, whatever they are.
    pub fn types(&self, bytes: &[u8]) -> &Self {
        let hex = bytes.iter().map(|it| format!("{it:x}"));
        self.tmux(["send-keys".to_owned(), "-H".to_owned()].into_iter().chain(hex));
        self
    }

    /// Is another size from now on.
    pub fn resizes(&self, width: u16, height: u16) -> &Self {
        let (width, height) = (width.to_string(), height.to_string());
        self.tmux(["resize-window", "-x", &width, "-y", &height]);
        self
    }

    /// Writes every byte that comes to the terminal to this file from now on.
    pub fn records(&self, file: &Path) -> &Self {
        self.tmux(["pipe-pane", "-O", &format!("exec cat > {}", file.display())]);
        self
    }

    /// Is closed, as somebody closes a window.
    pub fn closes(&self) {
        self.tmux(["kill-pane"]);
    }
}

/// What is seen on it.
impl Screen {
    /// All lines that are on the screen just now.
    pub fn text(&self) -> String {
        self.tmux(["capture-pane", "-p"])
    }

    /// All lines, also those that have left the screen.
    pub fn all(&self) -> String {
        self.tmux(["capture-pane", "-p", "-J", "-S", "-"])
    }

    /// The lines with the escape sequences of their colours.
    pub fn with_colours(&self) -> String {
        self.tmux(["capture-pane", "-p", "-e"])
    }

    /// What stands before the cursor, and the number of its row.
    fn before_cursor(&self) -> (String, usize) {
        let place = "#{cursor_y} #{cursor_x}";
        let seen = self.tmux(["display-message", "-p", place, ";", "capture-pane", "-p"]);
        let mut lines = seen.lines();
        let place = lines.next().and_then(|it| it.split_once(' '));
        let (row, column) = place.expect("tmux tells the place of the cursor");
        let row = row.parse().expect("a row is a number");
        let column = column.parse().expect("a column is a number");
        let line = lines.nth(row).unwrap_or_default();
        (format!("{line:column$}").chars().take(column).collect(), row)
    }

    /// Waits until something holds.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) -> &Self {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < PATIENCE, "never: {what}; the screen is:\n{}", self.text());
            std::thread::park_timeout(BLINK);
        }
        self
    }

    /// Waits until this is on the screen.
    pub fn shows(&self, text: &str) -> &Self {
        self.until(&format!("`{text}`"), |it| it.text().contains(text))
    }

    /// Waits until this is not on the screen.
    pub fn loses(&self, text: &str) -> &Self {
        self.until(&format!("without `{text}`"), |it| !it.text().contains(text))
    }

    /// This is not on the screen.
    pub fn lacks(&self, text: &str) -> &Self {
        let seen = self.text();
        assert!(!seen.contains(text), "`{text}` is on the screen:\n{seen}");
        self
    }

    /// Waits until this is all that stands before the cursor.
    pub fn stands(&self, before_cursor: &str) -> &Self {
        let what = format!("`{before_cursor}` before the cursor");
        self.until(&what, |it| it.before_cursor().0.trim_end() == before_cursor.trim_end())
    }

    /// Waits until `zinit` prompts, and nothing was typed yet.
    pub fn prompts(&self) -> &Self {
        self.until("a prompt", |it| {
            let line = it.before_cursor().0;
            line.starts_with("zinit") && line.ends_with("> ") && line.matches('>').count() == 1
        })
    }

    /// Waits until the shell around it all prompts again.
    pub fn is_left(&self) -> &Self {
        self.until("the shell around it", |it| it.before_cursor().0.ends_with(AROUND))
    }

    /// Runs a text to its end, and returns what it has shown: without the lines of the text itself,
    /// and what stands at the right of them.
    pub fn runs(&self, text: &str) -> String {
        self.prompts();
        let before = self.all().trim_end().lines().count();
        self.enters(text);
        self.until("the end of it", |it| it.all().trim_end().lines().count() > before);
        self.prompts();
        let all = self.all();
        let shown: Vec<&str> = all.trim_end().lines().skip(before).collect();
        shown[..shown.len() - 1].join("\n").trim().to_owned()
    }
}

/// What runs in it.
impl Screen {
    /// The process id of the `zinit` in it, if there is one.
    pub fn process(&self) -> Option<i32> {
        let is_ours = |pid: &i32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim() == "zinit"
        };
        let mut begun = children(self.shell);
        begun.extend(begun.clone().into_iter().flat_map(children));
        begun.into_iter().find(is_ours)
    }

    /// Sends a signal to the `zinit` in it.
    pub fn signals(&self, signal: Signal) -> &Self {
        let pid = self.process().expect("zinit runs");
        kill(Pid::from_raw(pid), signal).expect("it can be signalled");
        self
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let begun = self.process();
        // A test may have ended it.
        let _ = self.command(["kill-server"]).output();
        if let Some(pid) = begun.filter(|_| std::thread::panicking()) {
            // Only a test that failed leaves one that does not end by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The environment of everything in it.
fn surroundings(home: &Home) -> Vec<(&'static str, String)> {
    let path = std::env::var("PATH").expect("there is a PATH");
    let root = home.root.display().to_string();
    vec![
        ("PATH", format!("{}:{path}", programs().display())),
        ("HOME", root.clone()),
        ("ZINIT_HOME", root),
        ("LANG", "C.UTF-8".to_owned()),
        ("PS1", AROUND.to_owned()),
        ("SHELL", "/bin/sh".to_owned()),
    ]
}

/// Runs tmux, which must succeed.
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect(
        "tmux must be there: tests of the terminal read its screen (on Debian it is the package tmux)",
    );
    assert!(status.success(), "{command:?}: {}", text(&stderr));
    text(&stdout)
}
