//! Every key of a service file, once: the parser, the JSON Schema, the comparison of two services and
//! the README's table all read it here.

/// A key, or one of a map under a key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// How it is written.
    pub name: &'static str,
    /// How else it may be written.
    pub also: &'static [&'static str],
    /// What it may hold.
    pub kind: Kind,
    /// What it means when left out, as JSON; empty when no value says that.
    pub default: &'static str,
    /// What it says, in a line.
    pub doc: &'static str,
}

/// What a key may hold.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text that looks like this regular expression.
    Shaped(&'static str),
    /// A text that looks like this, or a list of such.
    Several(&'static str),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number, from the first to the last.
    Whole(i64, i64),
    /// A duration.
    Time,
    /// A number of bytes, at least so many.
    Size(u64),
    /// A percentage, from the first to the last.
    Percent(i64, i64),
    /// Octal digits.
    Octal,
    /// A map of names to text.
    Variables,
    /// A map of names to short text.
    Labels,
    /// A map of hooks to functions, or the name of a strategy.
    Policy,
    /// A map of resource limits.
    Limits,
    /// A map of these keys.
    Map(&'static [Key]),
    /// One of these words, or a map of these keys.
    WordOrMap(&'static [&'static str], &'static [Key]),
}

/// Text of any shape that says something.
const ANY: &str = "[^ \t\r\n]";
/// The shape of a service's name.
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$";
/// The shape of a user or a group, by name or number.
const WHO: &str = "^[^ \t\r\n:,/-][^ \t\r\n:,/]*$";
/// The shape of the name of a socket that is passed on.
const FD_NAME: &str = "^[!-9;-~]{1,255}$";

/// The keys of a service file, as the README lists them.
pub const KEYS: &[Key] = &[
    // What runs.
    key("exec", Kind::Shaped(ANY), "", "the command, split as a shell would and run without one"),
    key("dir", Kind::Text, "\"\"", "the working directory; `/` when there is none"),
    key("env", Kind::Variables, "{}", "variables that are added to the server's environment"),
    key(
        "env_file",
        Kind::Several("^-?/"),
        "[]",
        "a file of `KEY=VALUE` lines, or a list of them, read at each start; one that begins with `-` may be missing",
    ),
    key("oneshot", Kind::Flag, "false", "it is meant to end; exit code 0 is its success"),
    key(
        "status",
        Kind::OneOf(&["start", "stop", "ignore"]),
        "\"start\"",
        "`start`: starts with the server; `stop`: when asked; `ignore`: nor with `start_all`",
    ),
    key("groups", Kind::Several(NAME), "[]", "names under which it is addressed with others"),
    key(
        "labels",
        Kind::Labels,
        "{}",
        "what a policy should know of it, as text by name: `{ tier: web, owner: ops }`",
    ),
    // With whom.
    key(
        "after",
        Kind::Several(NAME),
        "[]",
        "services that must be up (a oneshot: done) before this one starts",
    ),
    key(
        "requires",
        Kind::Several(NAME),
        "[]",
        "as `after`; they are started with this one, and it stops and restarts with them",
    ),
    key(
        "wants",
        Kind::Several(NAME),
        "[]",
        "they are started with this one, which waits while they start, but not for those that fail",
    ),
    key("before", Kind::Several(NAME), "[]", "services that wait for this one while it starts"),
    key("conflicts", Kind::Several(NAME), "[]", "services that must be down while this one runs"),
    // When it is up.
    key("notify", Kind::Flag, "false", "it says that it is ready by `READY=1` to `NOTIFY_SOCKET`"),
    key(
        "ready_fd",
        Kind::Whole(3, 1023),
        "",
        "it says that it is ready by a line that it writes to this descriptor",
    ),
    key(
        "ready_log",
        Kind::Text,
        "\"\"",
        "it is ready when a line of its output matches this regular expression",
    ),
    key("start_timeout", Kind::Time, "0", "how long it may take to be ready; 0 for any time"),
    key(
        "watchdog",
        Kind::Time,
        "0",
        "how often at least it says `WATCHDOG=1` to `NOTIFY_SOCKET`; 0 for never",
    ),
    key("health", Kind::Map(HEALTH), "{}", "how to tell whether it is well"),
    // When it ends.
    key(
        "restart",
        Kind::OneOf(&["always", "on-failure", "never"]),
        "\"always\"",
        "after which ends it is started again",
    ),
    key(
        "restart_delay",
        Kind::Time,
        "",
        "how long to wait before the first restart after a failure; the policy's when left out",
    ),
    key(
        "max_restarts",
        Kind::Whole(0, 1_000_000),
        "0",
        "after how many failed attempts in a row it is given up; 0 for never",
    ),
    key("on_give_up", Kind::Text, "\"\"", "a command that is run when it is given up"),
    key(
        "essential",
        Kind::Flag,
        "false",
        "when it has ended and is not started again, all is stopped, and the server ends as it did",
    ),
    key(
        "policy",
        Kind::Policy,
        "{}",
        "functions of a policy by the hook whose place they take for it: `{ restart_delay: my_delay }`; or a strategy",
    ),
    // How it stops.
    key("stop_cmd", Kind::Text, "\"\"", "a command that asks it to stop, before the signal does"),
    key(
        "signal_stop",
        Kind::Shaped(SIGNAL_SHAPE),
        "\"SIGTERM\"",
        "the signal that asks it to stop; `signal: { stop: SIGTERM }` says the same",
    ),
    key("signal", Kind::Map(SIGNAL), "{}", "the other way to write `signal_stop`"),
    key("shutdown_timeout", Kind::Time, "10", "how long it may take to stop before `SIGKILL`"),
    // As whom, and with how much.
    key("user", Kind::Shaped(WHO), "", "its user, by name or number; the server's when left out"),
    key("group", Kind::Shaped(WHO), "", "its group, by name or number; the user's when left out"),
    key(
        "supplementary_groups",
        Kind::Several(WHO),
        "",
        "its other groups, by name or number; the user's when left out, and none for `[]`",
    ),
    key("umask", Kind::Octal, "", "its file mode creation mask, in octal digits"),
    key("nice", Kind::Whole(-20, 19), "", "its nice value"),
    key(
        "oom_score_adj",
        Kind::Whole(-1000, 1000),
        "",
        "how gladly the kernel kills it when memory runs out",
    ),
    key(
        "limits",
        Kind::Limits,
        "{}",
        "its resource limits by name, each a number, `soft:hard` or `unlimited`: `{ nofile: 1024 }`",
    ),
    key("no_new_privs", Kind::Flag, "false", "it can gain no privileges, not by setuid either"),
    key(
        "memory_max",
        Kind::Size(65_536),
        "",
        "the most memory that it may use: bytes, or `512MiB`",
    ),
    key(
        "cpu_max",
        Kind::Percent(1, 100_000),
        "",
        "the most CPU time that it may use: `150%` is one and a half of a CPU",
    ),
    key("pids_max", Kind::Whole(1, 4_194_304), "", "the most processes and threads it may have"),
    // What else.
    key(
        "log",
        Kind::WordOrMap(LOG_MODES, LOG),
        "\"ring\"",
        "where its output goes: `ring`, `file`, `stdout` or `none`, or a map that says more",
    ),
    key(
        "log_to",
        Kind::Shaped(NAME),
        "",
        "a service that gets its output on stdin, in place of any log, and is started with it",
    ),
    key("xinit", Kind::Map(XINIT), "{}", "a socket that starts it on demand"),
];

const SIGNAL_SHAPE: &str = "^ *([Ss][Ii][Gg])?[A-Za-z0-9]+ *$";

pub(super) const SIGNAL: &[Key] =
    &[key("stop", Kind::Shaped(SIGNAL_SHAPE), "\"SIGTERM\"", "the signal that asks it to stop")];

const LOG_MODES: &[&str] = &["ring", "file", "stdout", "none"];

pub(super) const LOG: &[Key] = &[
    key(
        "mode",
        Kind::OneOf(LOG_MODES),
        "",
        "`ring`: the last lines are kept; `file`: files that are rotated; `stdout`: as `ring`, and the server prints them; `none`; `file` when left out beside `dir`, else `ring`",
    ),
    key("dir", Kind::Shaped("^/"), "", "the directory of its files; the server's when left out"),
    key("rotate_size", Kind::Size(4_096), "", "after how many bytes a file is closed: `16MiB`"),
    key("rotate_age", Kind::Time, "0", "after which time a file is closed; 0 for any time"),
    key("keep", Kind::Whole(0, 100_000), "", "how many closed files are kept"),
    key("compress", Kind::OneOf(&["zstd", "none"]), "", "how closed files are compressed"),
    key(
        "full",
        Kind::OneOf(&["drop", "block"]),
        "\"drop\"",
        "where there is no room: lines are dropped and counted, or it waits in its writing",
    ),
    key(
        "syslog",
        Kind::Shaped("^(/|udp://.+:[0-9]+$)"),
        "",
        "where each line is sent as well: `true` for `/dev/log`, a path, or `udp://ADDRESS:PORT`",
    ),
];

pub(super) const HEALTH: &[Key] = &[
    key("period", Kind::Time, "10", "time between checks"),
    key("retry", Kind::Whole(0, 1_000_000), "3", "failures in a row that count"),
    key("timeout", Kind::Time, "5", "how long one round of checks may take"),
    Key {
        also: &["cmd", "test"],
        ..key("test_cmd", Kind::Several(ANY), "[]", "commands that must exit with 0")
    },
    Key {
        also: &["tcp"],
        ..key(
            "test_tcp",
            Kind::Several("^(\\[.+\\]|[^\\[\\]/: ]+):[0-9]+$"),
            "[]",
            "`host:port` that must accept a connection",
        )
    },
    Key {
        also: &["http"],
        ..key(
            "test_http",
            Kind::Several("^(https?://)?[^/ ][^ ]*$"),
            "[]",
            "URLs that must answer 2xx",
        )
    },
    key(
        "tcp_kill",
        Kind::Flag,
        "false",
        "kill whoever listens on the first `test_tcp` port before a start",
    ),
];

pub(super) const XINIT: &[Key] = &[
    key("enabled", Kind::Flag, "false", "whether the proxy is on"),
    key(
        "listen",
        Kind::Several(""),
        "[]",
        "addresses that clients connect to: `host:port`, `:port`, or the path of a socket",
    ),
    key("backend", Kind::Text, "\"\"", "where the service listens; the first `test_tcp` if empty"),
    key(
        "mode",
        Kind::OneOf(&["proxy", "pass"]),
        "\"proxy\"",
        "`proxy`: the server accepts clients and passes their bytes on; `pass`: the service gets the sockets",
    ),
    key("connect_timeout", Kind::Time, "30", "how long a client waits for the service"),
    key(
        "idle_timeout",
        Kind::Time,
        "0",
        "time without a byte and a client before the service is stopped; 0 for never",
    ),
    key("single_connection", Kind::Flag, "false", "whether one client at a time is served"),
    key(
        "max_connections",
        Kind::Whole(0, 1_000_000),
        "0",
        "how many clients are served at a time; 0 for any number",
    ),
    key("max_waiting", Kind::Whole(1, 1_000_000), "1024", "how many more clients may wait"),
    key(
        "proxy_protocol",
        Kind::OneOf(&["none", "v1", "v2"]),
        "\"none\"",
        "what the service is told about a client before its first byte: the PROXY protocol's version",
    ),
    key(
        "users",
        Kind::Several(WHO),
        "[]",
        "who may connect to the path of a socket, by name or number, beside root and the server's user; everybody if empty",
    ),
    key(
        "socket_mode",
        Kind::Octal,
        "\"0666\"",
        "the permissions of a socket's path, in octal digits",
    ),
    key(
        "fd_names",
        Kind::Several(FD_NAME),
        "[]",
        "what sockets that are passed on are called in `LISTEN_FDNAMES`, one for each of `listen`",
    ),
];

/// The keys of a proxy's own file: it says whose proxy it is, and is enabled by being there.
pub static PROXY: [Key; XINIT.len()] = {
    let mut keys =
        [key("service", Kind::Shaped(NAME), "", "the service; the file's name when left out");
            XINIT.len()];
    assert!(matches!(XINIT[0].name.as_bytes(), b"enabled"), "it is what `service` stands for");
    let mut at = 1;
    while at < keys.len() {
        keys[at] = XINIT[at];
        at += 1;
    }
    keys
};

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, also: &[], kind, default, doc }
}

impl Key {
    /// All ways to write it.
    pub(super) fn words(&self) -> impl Iterator<Item = &'static str> + Clone {
        std::iter::once(self.name).chain(self.also.iter().copied())
    }
}
