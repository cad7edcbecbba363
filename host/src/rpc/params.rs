//! What several methods have in common: parameters that they take, and what they answer.

use super::args::{Kind, Param};

pub(super) const NAME: Param = Param::required("name", Kind::Text, "The service's name.");
pub(super) const NAMES: Param = Param::required(
    "name",
    Kind::Names,
    "The service's name, a glob such as `web-*`, a group such as `@jobs`, or a list of those.",
);
pub(super) const WAIT: Param =
    Param::optional("wait", Kind::Flag, "true", "Whether to wait until nothing of them runs.");
pub(super) const DRY_RUN: Param =
    Param::optional("dry_run", Kind::Flag, "false", "Whether to say only what would be done.");
pub(super) const CONFIG: Param =
    Param::required("config", Kind::Object, "The keys of a service file; `exec` is required.");

pub(super) const LOGGED: Param = Param::optional(
    "names",
    Kind::Names,
    "null",
    "Which services, as a name, a glob, a group or a list of those; left out, all.",
);
pub(super) const GREP: Param =
    Param::optional("grep", Kind::Text, "null", "Only lines that match this regular expression.");
pub(super) const STREAM: Param =
    Param::optional("stream", Kind::Text, "null", "Only what came from `stdout`, or `stderr`.");
pub(super) const WHERE: Param = Param::optional(
    "where",
    Kind::Texts,
    "null",
    "Only JSON or logfmt lines of which these fields have these values, such as `level=error`.",
);
pub(super) const CURSOR: Param = Param::optional(
    "cursor",
    Kind::Time,
    "null",
    "From an earlier answer, or any time; left out, the time of the call.",
);
pub(super) const CURSOR_OF_PAGE: Param = Param::optional(
    "cursor",
    Kind::Time,
    "null",
    "From an earlier answer, to go on behind it; with `tail`, to go back no further.",
);
pub(super) const PAGE: (&str, &str) = (
    "object",
    "`lines`, oldest first, each with `time`, `service`, `stream`, `incarnation` (which process of \
     the service wrote it), `text`, and perhaps `mark`: `cut` (it was longer) or `zinit` (it is about \
     the output); the next `cursor`; whether there is `more` (with `tail`: older) already; and \
     perhaps `unread`: sentences about logs that cannot be read.",
);

pub(super) const TRUE: (&str, &str) = ("boolean", "true");
pub(super) const DONE_TO: (&str, &str) = (
    "boolean|array",
    "true for one plain name; for anything else the array of names that it meant.",
);
pub(super) const LINES: (&str, &str) =
    ("array", "Lines, oldest first: `[+] name: text` from stdout, `[-] name: text` from stderr.");
