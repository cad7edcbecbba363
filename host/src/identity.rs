//! Whom a service runs as, in numbers, and what comes with that: looked up when it is launched.
//!
//! `/etc/passwd` and `/etc/group` are read here, and nothing else is asked: no NSS, so no LDAP, no
//! systemd-homed and no name service that answers late or never. A lookup over the network would hold
//! up supervision just when the network is what a service is to bring up. A user who is known only
//! elsewhere can be given by number.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::{geteuid, getgid, getgroups, getuid};
use zinit_keeper::wire::{Identity, Limit};

use crate::refusal::nearest;
use crate::spec::{RunAs, resource_of};

/// An account file that is larger is none.
const ACCOUNTS_BYTES_MAX: u64 = 64 << 20;

/// An `env_file` may be this large; the keeper takes no larger environment anyway.
const ENV_FILE_BYTES_MAX: u64 = 256 << 10;

/// What a launch is told of whom a service runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Its numbers; `None` for those that the server has.
    pub identity: Option<Identity>,
    /// `HOME`, `USER`, `LOGNAME` and `SHELL` of its user, if it has one of its own. What its `env_file`
    /// and, above that, its `env` say takes precedence.
    pub env: Vec<(String, String)>,
    /// Its resource limits.
    pub limits: Vec<Limit>,
}

/// What is to be written to a file of a service's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupFile {
    /// The name of the file: `memory.max`.
    pub file: &'static str,
    /// What is written.
    pub value: String,
    /// The controller without which there is no such file.
    pub controller: &'static str,
    /// The key of the service file that asks for it.
    pub key: &'static str,
}

/// Looks up whom a service runs as, in these account files.
///
/// A user without a `group` has the groups that the files give it. A number needs no entry: its group
/// is then the same number, and its home `/`.
///
/// # Errors
/// Who is unknown, or which file cannot be read, as half a sentence.
pub fn resolve(run_as: &RunAs, passwd: &Path, group: &Path) -> Result<Resolved, String> {
    let limits = run_as.limits.iter().filter_map(|(name, (soft, hard))| {
        let resource = resource_of(name)? as u32;
        Some(Limit { resource, soft: *soft, hard: *hard })
    });
    let limits = limits.collect();
    if run_as.user.is_empty() && run_as.group.is_empty() && run_as.groups.is_none() {
        return Ok(Resolved { limits, ..Resolved::default() });
    }
    let groups = Groups(accounts(group)?);
    let user = match run_as.user.as_str() {
        "" => None,
        user => Some(User::find(user, &accounts(passwd)?)?),
    };
    let identity = identity(run_as, user.as_ref(), &groups)?;
    let env = user.map(User::env).unwrap_or_default();
    Ok(Resolved { identity, env, limits })
}

fn identity(
    run_as: &RunAs,
    user: Option<&User>,
    groups: &Groups,
) -> Result<Option<Identity>, String> {
    let uid = user.map_or(getuid().as_raw(), |it| it.uid);
    let gid = match run_as.group.as_str() {
        "" => user.map_or(getgid().as_raw(), |it| it.gid),
        group => groups.find(group)?,
    };
    let is_own = uid == getuid().as_raw() && gid == getgid().as_raw();
    if is_own && run_as.groups.is_none() && !geteuid().is_root() {
        // Who asks for what it is must not fail because it may not change it.
        return Ok(None);
    }
    let others = match (&run_as.groups, user) {
        (Some(names), _) => names.iter().map(|it| groups.find(it)).collect::<Result<_, _>>()?,
        (None, Some(user)) => groups.of(&user.name),
        (None, None) => getgroups().unwrap_or_default().iter().map(|it| it.as_raw()).collect(),
    };
    let mut seen = BTreeSet::new();
    let mut all: Vec<u32> = std::iter::once(gid).chain(others).collect();
    all.retain(|it| seen.insert(*it));
    Ok(Some(Identity { uid, gid, groups: all }))
}

/// A line of `/etc/passwd`.
#[derive(Debug)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
    shell: String,
}

impl User {
    /// The user of this name, or else of this number.
    fn find(wanted: &str, passwd: &str) -> Result<Self, String> {
        let all = || passwd.lines().filter_map(Self::of_line);
        if let Some(user) = all().find(|it| it.name == wanted) {
            return Ok(user);
        }
        let Some(uid) = number(wanted) else {
            let names: Vec<String> = all().map(|it| it.name).collect();
            return Err(unknown("user", wanted, names.iter().map(String::as_str)));
        };
        let stranger = || Self {
            name: wanted.to_owned(),
            uid,
            gid: uid,
            home: String::new(),
            shell: String::new(),
        };
        Ok(all().find(|it| it.uid == uid).unwrap_or_else(stranger))
    }

    fn of_line(line: &str) -> Option<Self> {
        let mut fields = line.split(':').map(str::trim);
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (home, shell) = (fields.nth(1).unwrap_or_default(), fields.next().unwrap_or_default());
        let (uid, gid) = (number(uid)?, number(gid)?);
        let (name, home, shell) = (name.to_owned(), home.to_owned(), shell.to_owned());
        Some(Self { name, uid, gid, home, shell })
    }

    fn env(self) -> Vec<(String, String)> {
        let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
        let pairs = [
            ("HOME", or(self.home, "/")),
            ("USER", self.name.clone()),
            ("LOGNAME", self.name),
            ("SHELL", or(self.shell, "/bin/sh")),
        ];
        pairs.map(|(key, value)| (key.to_owned(), value)).into()
    }
}

/// The text of `/etc/group`.
struct Groups(String);

impl Groups {
    /// Name, number and members of each.
    fn all(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.0.lines().filter_map(|line| {
            let mut fields = line.split(':').map(str::trim);
            let (name, _, gid) = (fields.next()?, fields.next()?, number(fields.next()?)?);
            Some((name, gid, fields.next().unwrap_or_default()))
        })
    }

    /// The number of the group of this name, or else this number.
    fn find(&self, wanted: &str) -> Result<u32, String> {
        let named = self.all().find(|(name, ..)| *name == wanted).map(|(_, gid, _)| gid);
        let found = named.or_else(|| number(wanted));
        found.ok_or_else(|| unknown("group", wanted, self.all().map(|(name, ..)| name)))
    }

    /// The groups that list this user.
    fn of(&self, user: &str) -> Vec<u32> {
        let lists = |members: &str| members.split(',').any(|it| it.trim() == user);
        self.all().filter(|(.., members)| lists(members)).map(|(_, gid, _)| gid).collect()
    }
}

/// An id; the largest one stands for "none" in the kernel.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|it| it.is_ascii_digit());
    text.parse().ok().filter(|it| digits && *it != u32::MAX)
}

fn unknown<'a>(what: &str, wanted: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(wanted, known) {
        Some(near) => format!("there is no {what} `{wanted}`; did you mean `{near}`?"),
        None => format!("there is no {what} `{wanted}`"),
    }
}

/// The text of an account file; a machine without one has no names.
fn accounts(path: &Path) -> Result<String, String> {
    match bytes_of(path, ACCOUNTS_BYTES_MAX) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// The variables of all `env_file` of a service, in their order; a later one takes precedence.
///
/// # Errors
/// As [`read_env_file`], but a file that may be missing is none.
pub fn env_files(run_as: &RunAs) -> Result<Vec<(String, String)>, String> {
    let mut all = Vec::new();
    for path in &run_as.env_file {
        match path.strip_prefix('-') {
            Some(path) if !Path::new(path).exists() => {}
            optional => all.extend(read_env_file(Path::new(optional.unwrap_or(path)))?),
        }
    }
    Ok(all)
}

/// Reads lines of `KEY=VALUE`. An empty line, and one that begins with `#`, says nothing; `export `
/// before a line is skipped. A value may be quoted as in a shell, but nothing in it is expanded; one
/// without quotes goes to the end of the line, or to a `#` behind a blank.
///
/// # Errors
/// Why it cannot be read, or what is wrong with which line; values are never told.
pub fn read_env_file(path: &Path) -> Result<Vec<(String, String)>, String> {
    let bytes = bytes_of(path, ENV_FILE_BYTES_MAX).map_err(|error| unreadable(path, &error))?;
    let shown = path.display();
    let text = String::from_utf8(bytes).map_err(|_| format!("`{shown}` is not UTF-8 text"))?;
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let parsed = lines.filter_map(|(index, line)| match variable(line) {
        Ok(pair) => pair.map(Ok),
        Err(why) => Some(Err(format!("`{shown}`, line {}: {why}", index + 1))),
    });
    parsed.collect()
}

fn variable(line: &str) -> Result<Option<(String, String)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let Some((key, value)) = line.split_once('=') else {
        return Err("it is not `KEY=VALUE`".to_owned());
    };
    let key = key.trim_start();
    let fits = |it: char| it.is_ascii_alphanumeric() || it == '_';
    if key.is_empty() || key.starts_with(|it: char| it.is_ascii_digit()) || !key.chars().all(fits) {
        let shown: String = key.chars().take(80).filter(|it| !it.is_control()).collect();
        return Err(format!("`{shown}` cannot be a variable's name"));
    }
    if value.contains('\0') {
        return Err(format!("the value of `{key}` has a NUL byte in it"));
    }
    Ok(Some((key.to_owned(), unquoted(key, value)?)))
}

fn unquoted(key: &str, value: &str) -> Result<String, String> {
    if !value.contains(['"', '\'', '\\']) {
        let end = [" #", "\t#"].iter().filter_map(|it| value.find(it)).min();
        return Ok(value[..end.unwrap_or(value.len())].trim().to_owned());
    }
    match shlex::split(value).as_deref() {
        Some([]) => Ok(String::new()),
        Some([one]) => Ok(one.clone()),
        Some(_) => Err(format!("the value of `{key}` goes on behind its quotes")),
        None => Err(format!("the quotes of `{key}` are unbalanced")),
    }
}

/// What the limits of a service mean in the files of its cgroup.
pub fn cgroup_files(run_as: &RunAs) -> Vec<CgroupFile> {
    // The share is of a tenth of a second, the kernel's own measure.
    const PERIOD_US: u64 = 100_000;
    let memory = run_as.memory_max.map(|it| CgroupFile {
        file: "memory.max",
        value: it.to_string(),
        controller: "memory",
        key: "memory_max",
    });
    let cpu = run_as.cpu_max.map(|it| CgroupFile {
        file: "cpu.max",
        value: format!("{} {PERIOD_US}", u64::from(it) * PERIOD_US / 100),
        controller: "cpu",
        key: "cpu_max",
    });
    let pids = run_as.pids_max.map(|it| CgroupFile {
        file: "pids.max",
        value: it.to_string(),
        controller: "pids",
        key: "pids_max",
    });
    [memory, cpu, pids].into_iter().flatten().collect()
}

/// The bytes of a regular file; nothing else is opened for longer than it takes to see that.
fn bytes_of(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let unblocking = nix::libc::O_NONBLOCK;
    let file: File = OpenOptions::new().read(true).custom_flags(unblocking).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let why = error.to_string();
    let why = why.split(" (os error").next().unwrap_or_default().to_lowercase();
    format!("cannot read `{}`: {why}", path.display())
}
