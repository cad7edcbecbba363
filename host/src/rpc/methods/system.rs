//! The rows of the methods that are about the server itself.

use super::super::args::{Kind, Param};
use super::super::calls;
use super::super::params::TRUE;
use super::{Method, later, now};

/// The methods, sorted by name.
pub(super) const ROWS: [Method; 6] = [
    now(
        "system.authenticate",
        "Shows the token. Only over TCP, where it must be the first request of a connection.",
        &[Param::required("token", Kind::Text, "What the file `token` holds.")],
        TRUE,
        calls::authenticate,
    ),
    now(
        "system.ping",
        "Shows that the server is there.",
        &[],
        (
            "object",
            "`message` (`pong`), `version`, and the server's `pid`, which is another one after `system.renew`.",
        ),
        calls::ping,
    ),
    later(
        "system.poweroff",
        "Stops all services, then switches the machine off; refused unless Zinit is its first process.",
        &[],
        TRUE,
        calls::poweroff,
    ),
    later(
        "system.reboot",
        "Stops all services, then reboots the machine; refused unless Zinit is its first process.",
        &[],
        TRUE,
        calls::reboot,
    ),
    later(
        "system.renew",
        "Lets another server take over, whose program may be a newer one; services run on.",
        &[
            Param::optional(
                "keeper",
                Kind::Flag,
                "true",
                "Whether the keeper begins anew as well.",
            ),
            Param::optional("server", Kind::Flag, "true", "Whether the server does, not it alone."),
        ],
        TRUE,
        calls::renew,
    ),
    later(
        "system.shutdown",
        "Stops all services, then the server. Answers when it begins. Asked for again, it kills what is left.",
        &[],
        TRUE,
        calls::shutdown,
    ),
];
