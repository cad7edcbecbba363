//! Resource limits: their names, and how a pair of them is written.

use nix::sys::resource::Resource;

use super::size;

/// What stands for no limit in a pair.
const NONE: u64 = u64::MAX;

/// Each with its name, as in `/etc/security/limits.conf` and `prlimit`, and whether it counts bytes.
const RESOURCES: [(&str, Resource, bool); 16] = [
    ("as", Resource::RLIMIT_AS, true),
    ("core", Resource::RLIMIT_CORE, true),
    ("cpu", Resource::RLIMIT_CPU, false),
    ("data", Resource::RLIMIT_DATA, true),
    ("fsize", Resource::RLIMIT_FSIZE, true),
    ("locks", Resource::RLIMIT_LOCKS, false),
    ("memlock", Resource::RLIMIT_MEMLOCK, true),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE, true),
    ("nice", Resource::RLIMIT_NICE, false),
    ("nofile", Resource::RLIMIT_NOFILE, false),
    ("nproc", Resource::RLIMIT_NPROC, false),
    ("rss", Resource::RLIMIT_RSS, true),
    ("rtprio", Resource::RLIMIT_RTPRIO, false),
    ("rttime", Resource::RLIMIT_RTTIME, false),
    ("sigpending", Resource::RLIMIT_SIGPENDING, false),
    ("stack", Resource::RLIMIT_STACK, true),
];

/// The names of all limits.
pub fn limit_names() -> impl Iterator<Item = &'static str> + Clone {
    RESOURCES.iter().map(|(name, ..)| *name)
}

/// The resource that a limit is about.
///
/// ```
/// use nix::sys::resource::Resource;
/// use zinit_host::spec::resource_of;
/// assert_eq!(resource_of("nofile"), Some(Resource::RLIMIT_NOFILE));
/// assert_eq!(resource_of("nofiles"), None);
/// ```
pub fn resource_of(name: &str) -> Option<Resource> {
    RESOURCES.iter().find(|(it, ..)| *it == name).map(|(_, resource, _)| *resource)
}

/// Soft and hard limit, or why there are none, to follow "must be a limit".
pub(super) fn parse(name: &str, text: &str) -> Result<(u64, u64), &'static str> {
    let one = |text: &str| match text.trim() {
        "unlimited" | "infinity" => Ok(NONE),
        text if in_bytes(name) => size::parse(text),
        text => number(text),
    };
    let (soft, hard) = match text.split_once(':') {
        Some((soft, hard)) => (one(soft)?, one(hard)?),
        None => (one(text)?, one(text)?),
    };
    if soft <= hard { Ok((soft, hard)) } else { Err("its soft limit is above its hard one") }
}

/// The shortest way to write it that `parse` reads back.
pub(super) fn write(name: &str, (soft, hard): (u64, u64)) -> String {
    let one = |it: u64| match it {
        NONE => "unlimited".to_owned(),
        it if in_bytes(name) => size::write(it),
        it => it.to_string(),
    };
    if soft == hard { one(soft) } else { format!("{}:{}", one(soft), one(hard)) }
}

fn in_bytes(name: &str) -> bool {
    RESOURCES.iter().any(|(it, _, in_bytes)| *it == name && *in_bytes)
}

fn number(text: &str) -> Result<u64, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let number = text.parse().ok().filter(|it| digits && *it < NONE);
    number.ok_or("it is neither a whole number nor `unlimited`")
}
