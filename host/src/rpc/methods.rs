//! The one table of methods: it gives the server, `rpc.discover` and the reference.

mod system;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::args::{Args, Kind, Param};
use super::office::Office;
use super::params::{
    CONFIG, CURSOR, CURSOR_OF_PAGE, DONE_TO, DRY_RUN, GREP, LINES, LOGGED, NAME, NAMES, PAGE,
    STREAM, TRUE, WAIT, WHERE,
};
use super::{calls, lines, news, policy, reload, usage, why, xinit};
use crate::refusal::Refusal;

/// The result of a method: JSON that is ready to be sent.
pub type Said = Result<Arc<RawValue>, Refusal>;

/// A result that takes its time.
pub type Pending = Pin<Box<dyn Future<Output = Said> + Send>>;

/// One method.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// `noun.verb`.
    pub name: &'static str,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
    /// Its parameters, in the order of a positional call.
    pub params: &'static [Param],
    /// What it answers.
    pub result: &'static str,
    /// The JSON type of what it answers, or several with `|` between them.
    pub result_type: &'static str,
    pub(super) act: Act,
}

/// How a method is done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// At once: it reads, and never waits.
    Now(fn(&Office, &Args) -> Said),
    /// It asks the core, reads a file, or waits.
    Later(fn(Arc<Office>, Args) -> Pending),
    /// It begins a subscription of the connection on which it is called.
    Follow,
    /// It ends one.
    Unfollow,
}

/// The method of this name.
pub fn find(name: &str) -> Option<&'static Method> {
    METHODS.binary_search_by(|it| it.name.cmp(name)).ok().map(|index| &METHODS[index])
}

pub(super) const fn now(
    name: &'static str,
    doc: &'static str,
    params: &'static [Param],
    (result_type, result): (&'static str, &'static str),
    act: fn(&Office, &Args) -> Said,
) -> Method {
    Method { name, doc, params, result, result_type, act: Act::Now(act) }
}

pub(super) const fn later(
    name: &'static str,
    doc: &'static str,
    params: &'static [Param],
    (result_type, result): (&'static str, &'static str),
    act: fn(Arc<Office>, Args) -> Pending,
) -> Method {
    Method { name, doc, params, result, result_type, act: Act::Later(act) }
}

/// Every method, sorted by name.
pub static METHODS: &[Method] =
    &joined::<{ ROWS.len() + system::ROWS.len() + xinit::ROWS.len() }>(&[
        ROWS,
        &system::ROWS,
        &xinit::ROWS,
    ]);

const fn joined<const N: usize>(parts: &[&[Method]]) -> [Method; N] {
    let mut all = [xinit::ROWS[0]; N];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let mut row = 0;
        while row < parts[part].len() {
            all[at] = parts[part][row];
            at += 1;
            row += 1;
        }
        part += 1;
    }
    all
}

/// Those that are about services and what decides about them.
const ROWS: &[Method] = &[
    now(
        "events.get",
        "What happened lately, oldest first.",
        &[
            Param::optional("name", Kind::Text, "null", "One service only."),
            Param::optional("since", Kind::Integer, "0", "Nothing older, in ms since 1970."),
            Param::optional("n", Kind::Integer, "100", "The newest so many, at most 1000."),
        ],
        (
            "array",
            "`seq`, `at_ms`, `service`, `from`, `to` (empty: it is forgotten), `why`, `pid`, `exit`.",
        ),
        news::get,
    ),
    later(
        "events.wait",
        "What happens next. Whoever comes back with the cursor misses nothing.",
        &[
            Param::optional("cursor", Kind::Integer, "null", "From an earlier answer, or a `seq`."),
            Param::optional("secs", Kind::Seconds, "30", "How long to wait if nothing happens."),
            Param::optional("name", Kind::Text, "null", "One service only."),
        ],
        (
            "object",
            "`entries` as of `events.get` (none when the time was up), the next `cursor`, and `lost`: \
             how many entries after the old one are no longer there.",
        ),
        news::wait,
    ),
    later(
        "logs.filter",
        "The lines of one service; if none has that name, the lines that contain the text. At most \
         the newest 8 MiB.",
        &[Param::required("name", Kind::Text, "The service's name, or a text.")],
        LINES,
        lines::filter,
    ),
    Method {
        name: "logs.follow",
        doc: "Sends what services write, from a cursor on, until `logs.unfollow` or the end of the \
              connection: notifications named `logs` with `subscription` and `result`, which is as \
              of `logs.read`. Over WebSocket or newline-delimited JSON, not in a batch.",
        params: &[CURSOR, LOGGED, GREP, STREAM, WHERE],
        result: "The subscription.",
        result_type: "integer|string",
        act: Act::Follow,
    },
    later(
        "logs.get",
        "The lines of all services that are kept, in the order in which they were read. At most the \
         newest 8 MiB.",
        &[],
        LINES,
        lines::get,
    ),
    later(
        "logs.read",
        "What services wrote, all of them in the order of time: a page of it.",
        &[
            LOGGED,
            Param::optional("since", Kind::Time, "null", "Nothing older."),
            Param::optional("until", Kind::Time, "null", "Nothing newer."),
            GREP,
            STREAM,
            WHERE,
            Param::optional("n", Kind::Integer, "1000", "At most so many lines, and 10000."),
            Param::optional("tail", Kind::Flag, "false", "The newest of them, not the oldest."),
            CURSOR_OF_PAGE,
        ],
        PAGE,
        lines::read,
    ),
    later(
        "logs.tail",
        "The newest lines of all services. At most 8 MiB.",
        &[Param::optional("n", Kind::Integer, "50", "How many lines.")],
        LINES,
        lines::tail,
    ),
    Method {
        name: "logs.unfollow",
        doc: "Ends a subscription.",
        params: &[Param::required("subscription", Kind::Integer, "What `logs.follow` answered.")],
        result: "Whether there was one.",
        result_type: "boolean",
        act: Act::Unfollow,
    },
    later(
        "logs.wait",
        "What services write next. Whoever comes back with the cursor misses nothing and sees \
         nothing twice, even if another server answers.",
        &[
            CURSOR,
            Param::optional("secs", Kind::Seconds, "30", "How long to wait if nothing comes."),
            LOGGED,
            GREP,
            STREAM,
            WHERE,
        ],
        PAGE,
        lines::wait,
    ),
    later(
        "policy.get",
        "A function of the policy that is in force: its text and what is said of it.",
        &[
            Param::required(
                "name",
                Kind::Text,
                "A hook, `base::HOOK`, `FILE::FUNCTION` or `STRATEGY::FUNCTION`.",
            ),
            Param::optional(
                "bundled",
                Kind::Flag,
                "false",
                "Whether to tell of the bundled one, whatever takes its place.",
            ),
        ],
        (
            "object",
            "`module`, `name`, `params`, `is_private`, `bundled`, `path`, `line`, `doc` and `source`.",
        ),
        policy::get,
    ),
    later(
        "policy.list",
        "The policy that is in force: every hook, and who answers it.",
        &[],
        (
            "object",
            "`version`, `since_ms`, the user's `files`, those that are not on the disk as they are in \
             force (`differs`), what was `refused` last (`at_ms` and `problems`, or null), and `hooks`: \
             `hook`, `signature`, `doc`, `bundled`, `path`, `line`, `faults`, `benched` and `services` \
             that name a `function` of their own.",
        ),
        policy::list,
    ),
    later(
        "policy.reload",
        "Reads the policy again and lets it decide from now on. One that is not fine is refused, and \
         the one before goes on deciding.",
        &[
            DRY_RUN,
            Param::optional(
                "services",
                Kind::Flag,
                "false",
                "Whether the services' files are taken over right after it.",
            ),
        ],
        (
            "object",
            "`verb` (`update` or `unchanged`), `why`, the `files` that changed, and the `version` before.",
        ),
        policy::reload,
    ),
    now(
        "rpc.discover",
        "This description of all methods.",
        &[],
        ("object", "An OpenRPC document."),
        calls::discover,
    ),
    later(
        "service.delete",
        "Stops services, forgets them and removes their files. Answers when nothing of them is left.",
        &[
            NAMES,
            WAIT,
            Param::optional(
                "keep_proxies",
                Kind::Flag,
                "false",
                "Whether the files of their proxies stay, for services of these names to come.",
            ),
        ],
        DONE_TO,
        calls::delete,
    ),
    later(
        "service.delete_all",
        "Stops and forgets all services and removes their files.",
        &[],
        TRUE,
        calls::delete_all,
    ),
    later(
        "service.get",
        "The configuration of a service, read from its file, with all defaults spelled out.",
        &[NAME],
        ("object", "The keys of a service file, those of `health` and `xinit` nested."),
        calls::get,
    ),
    now(
        "service.is_running",
        "Whether a service has a process; false for a name that nobody has.",
        &[NAME],
        ("boolean", "Whether it has one."),
        calls::is_running,
    ),
    later(
        "service.kill",
        "Sends a signal to the processes of a service.",
        &[
            NAME,
            Param::optional(
                "signal",
                Kind::Signal,
                "\"SIGTERM\"",
                "Its name, with or without SIG, in any case, or its number.",
            ),
        ],
        TRUE,
        calls::kill,
    ),
    now(
        "service.list",
        "The names of all services, sorted.",
        &[],
        ("array", "Names."),
        calls::list,
    ),
    later(
        "service.monitor",
        "Makes a service known, or changes it, until the server ends; no file is written.",
        &[NAME, CONFIG],
        TRUE,
        calls::monitor,
    ),
    later(
        "service.register",
        "Writes a service's file and makes the service known, or changes it.",
        &[NAME, CONFIG],
        TRUE,
        calls::register,
    ),
    later(
        "service.reload",
        "Reads the files again and acts on what has changed: all of them, or those of some services. \
         When one is not fine, nothing is done.",
        &[
            Param::optional("name", Kind::Names, "null", "Which services; left out, all files."),
            DRY_RUN,
        ],
        (
            "boolean|array",
            "The plan: `service`, `verb` (`start`, `add`, `stop`, `restart`, `update`, `delete`, \
             `unchanged`) and `why` of each; `proxy` with what is done to a proxy that has a file. For \
             one plain name without `dry_run`: true.",
        ),
        reload::reload,
    ),
    later(
        "service.restart",
        "Stops services and starts them again. Answers when that has been taken in hand.",
        &[NAMES],
        DONE_TO,
        calls::restart,
    ),
    later(
        "service.start",
        "Starts services. Answers when that has been taken in hand; `service.wait` waits for one.",
        &[NAMES, Param::optional("deps", Kind::Flag, "true", "Whether to start what they need.")],
        DONE_TO,
        calls::start,
    ),
    later(
        "service.start_all",
        "Starts all services but those with `status: ignore`.",
        &[],
        TRUE,
        calls::start_all,
    ),
    later(
        "service.stats",
        "What all processes of a service use; without a name, what each service uses that runs.",
        &[Param::optional("name", Kind::Text, "null", "The service's name.")],
        (
            "object|array",
            "`name`, `pid`, `memory_usage` (resident bytes of the main process), `memory_total` (of \
             all), `pss_total` (with shared pages divided; only when a name is given), `cpu_usage` \
             (percent of the time since the last such call, or else since it started), `threads`, \
             `fds`, `processes`, `uptime_ms`, `restarts`, and `children` with `pid`, \
             `memory_usage` and `cpu_usage` of each other process. Without a name an array.",
        ),
        usage::usage,
    ),
    now(
        "service.status",
        "What is known of a service. The process tree and what was dropped are at most 100 ms old, the \
         rest is current.",
        &[NAME],
        (
            "object",
            "`name`, `pid` (0 for none), `state`, `target`, `reason`, `since_ms`, `restarts`, \
             `last_exit`, `oneshot`, `essential`, `after`, `requires`, `wants`, `groups`, `waits_for`, `next` and \
             `next_ms` (what happens to it by itself, and when), `health`, `says`, `incarnation` \
             (which process of it is the latest), `log_dropped` with `lines` and `bytes` of its output \
             for which there was no room, and `process_tree` with `root` and `processes`. `essential` and those from \
             `requires` to `log_dropped` are left out when there is nothing to tell.",
        ),
        calls::status,
    ),
    now(
        "service.status_all",
        "What is known of all services, sorted by name, without their process trees.",
        &[],
        ("array", "The objects of `service.status` without `process_tree`."),
        calls::status_all,
    ),
    later(
        "service.stop",
        "Stops services, together and in the right order. Answers when nothing of them runs.",
        &[NAMES, WAIT],
        DONE_TO,
        calls::stop,
    ),
    later(
        "service.stop_all",
        "Stops all services, dependents first. Answers when nothing runs.",
        &[WAIT],
        TRUE,
        calls::stop_all,
    ),
    later(
        "service.wait",
        "Waits until a service is up (a oneshot: done) or down, or until it cannot come up any \
         more without help.",
        &[
            NAME,
            Param::optional("secs", Kind::Seconds, "30", "How long to wait, in seconds."),
            Param::optional("want", Kind::Text, "\"up\"", "`up` or `down`."),
        ],
        ("boolean", "true when it is as wanted; false when it will not come up without help."),
        calls::wait,
    ),
    later(
        "service.why",
        "Why a service is where it is, down to the first cause.",
        &[NAME],
        (
            "object",
            "`name`, `state`, `reason`, `pid`, `since_ms`, `restarts`, `last_exit`, `next`, `next_ms`, \
             `health`, `says`, the 5 `last_lines` that it wrote, its 5 latest `events`, and \
             `because`: the same of each service that it waits for.",
        ),
        why::why,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_method_is_found() {
        assert!(METHODS.is_sorted_by(|a, b| a.name < b.name));
        assert!(METHODS.iter().all(|it| find(it.name).is_some_and(|at| at.name == it.name)));
        assert!(find("service.lis").is_none());
    }

    #[test]
    fn optional_parameters_follow_required_ones_and_their_defaults_are_of_their_kind() {
        for method in METHODS {
            assert!(method.params.is_sorted_by_key(|it| it.default.is_some()), "{}", method.name);
            Args::bind(method, None).err().into_iter().for_each(|it| {
                assert!(it.message.contains("needs"), "{}: {it}", method.name);
            });
        }
    }
}
