//! What a launch needs in memory, made ready before the fork: nothing is allocated after it.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::libc::c_char;

use crate::wire::{Launch, Ready};

/// Where programs are looked for when nobody says.
const PATH_DEFAULT: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables that begin so are between keeper and brain.
const INTERNAL: &[u8] = b"ZINIT_KEEPER_";

/// Variables that begin so tell whom they are for of sockets, and nobody else.
const LISTEN: &[u8] = b"LISTEN_";

/// The environment that the keeper was started with, which its children get.
pub(crate) struct Environ {
    vars: Vec<CString>,
}

impl Environ {
    pub(crate) fn own() -> Self {
        let alien = |it: &[u8]| it.starts_with(INTERNAL) || is_about_sockets(it);
        let vars = std::env::vars_os().filter(|(key, _)| !alien(key.as_bytes()));
        Self { vars: vars.filter_map(|(key, value)| variable(&key, &value)).collect() }
    }

    fn path(&self) -> Option<&[u8]> {
        self.vars.iter().find_map(|it| it.as_bytes().strip_prefix(b"PATH="))
    }
}

/// A program with its arguments, environment and directory, as `execve` wants them.
pub(crate) struct Command {
    /// The files to try, in order.
    pub(crate) candidates: Vec<CString>,
    pub(crate) dir: Option<CString>,
    argv: Pointers,
    env: Pointers,
    /// What the pointers point to, beside the keeper's own environment, which outlives them. The
    /// first is what the program was called.
    strings: Vec<CString>,
    /// The variable in which the process writes its number, if it wants to know that.
    pub(crate) own_number: Option<OwnNumber>,
}

/// `LISTEN_PID`, of which only the process itself can know the value.
pub(crate) struct OwnNumber(Box<[AtomicU8; 24]>);

/// Null-terminated, as in `char *argv[]`.
type Pointers = Vec<*const c_char>;

impl Command {
    /// What a launch of the brain asks for, with these variables; half a sentence when that cannot be.
    pub(crate) fn of(
        launch: &Launch,
        environ: &Environ,
        more: &[String],
    ) -> Result<Self, &'static str> {
        let name = launch.argv.first().filter(|it| !it.is_empty()).ok_or("argv is empty")?;
        let argv = strings(launch.argv.iter().map(|it| it.as_bytes().to_vec()))?;
        if launch.env.iter().any(|(key, _)| key.is_empty() || key.contains('=')) {
            return Err("a variable's name is empty or contains `=`");
        }
        if matches!(launch.ready, Ready::Fd(..3)) {
            return Err("the descriptor for readiness is below 3");
        }
        let listens = launch.sockets.is_some();
        let asked =
            launch.env.iter().filter(|(key, _)| !listens || !is_about_sockets(key.as_bytes()));
        let asked = asked.map(|(key, value)| format!("{key}={value}"));
        let env = strings(asked.chain(more.iter().cloned()).map(String::into_bytes))?;
        let path = launch.env.iter().rev().find(|(key, _)| key == "PATH");
        let path = path.map(|(_, value)| value.as_bytes()).or(environ.path());
        let candidates = strings(candidates(name.as_bytes(), path.unwrap_or(PATH_DEFAULT)))?;
        let dir = if launch.dir.is_empty() { "/" } else { &launch.dir };
        let dir = CString::new(dir).map_err(|_| NUL)?;
        let mut command = Self::new(candidates, Some(dir), argv, env, environ);
        if listens {
            let variable = OwnNumber::new();
            command.env.insert(0, variable.as_ptr());
            command.own_number = Some(variable);
        }
        Ok(command)
    }

    /// The brain: it stays where the keeper is, and finds its socket by `variable`.
    pub(crate) fn brain(
        program: &OsStr,
        args: &[OsString],
        variable: (&str, i32),
        environ: &Environ,
    ) -> Result<Self, &'static str> {
        let names = [OsStr::new("zinit-server")].into_iter().chain(args.iter().map(|it| &**it));
        let argv = strings(names.map(|it| it.as_bytes().to_vec()))?;
        let env = strings([format!("{}={}", variable.0, variable.1).into()].into_iter())?;
        let candidates = strings([program.as_bytes().to_vec()].into_iter())?;
        Ok(Self::new(candidates, None, argv, env, environ))
    }

    fn new(
        candidates: Vec<CString>,
        dir: Option<CString>,
        argv: Vec<CString>,
        env: Vec<CString>,
        environ: &Environ,
    ) -> Self {
        let keys: Vec<&[u8]> = env.iter().map(key).collect();
        let kept = environ.vars.iter().filter(|it| !keys.contains(&key(it)));
        let env_pointers = pointers(kept.chain(&env));
        let argv_pointers = pointers(argv.iter());
        let strings = argv.into_iter().chain(env).collect();
        let (argv, env, own_number) = (argv_pointers, env_pointers, None);
        Self { candidates, dir, argv, env, strings, own_number }
    }

    /// What the program was called.
    pub(crate) fn program(&self) -> &CStr {
        self.strings.first().map(CString::as_c_str).unwrap_or_default()
    }

    pub(crate) fn argv(&self) -> &[*const c_char] {
        &self.argv
    }

    pub(crate) fn env(&self) -> &[*const c_char] {
        &self.env
    }
}

impl OwnNumber {
    const NAME: &[u8] = b"LISTEN_PID=";

    fn new() -> Self {
        let text: Box<[AtomicU8; 24]> = Box::default();
        for (place, byte) in text.iter().zip(Self::NAME) {
            place.store(*byte, Ordering::Relaxed);
        }
        Self(text)
    }

    fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    /// Completes it. For the child, which may do no more than write to memory.
    pub(crate) fn write(&self, number: usize) {
        let (mut digits, mut left) = (1, number / 10);
        while left > 0 {
            (digits, left) = (digits + 1, left / 10);
        }
        left = number;
        // Zero follows: a number of a process has ten digits at most.
        for place in self.0.iter().skip(Self::NAME.len()).take(digits).rev() {
            place.store(b'0' + (left % 10) as u8, Ordering::Relaxed);
            left /= 10;
        }
    }
}

/// Whether a variable of this name is between who starts a process with sockets and that process.
fn is_about_sockets(key: &[u8]) -> bool {
    key.strip_prefix(LISTEN)
        .is_some_and(|it| [&b"FDS"[..], b"PID", b"FDNAMES", b"PIDFDID"].contains(&it))
}

const NUL: &str = "a string contains a NUL byte";

fn variable(key: &OsStr, value: &OsStr) -> Option<CString> {
    let mut text = key.to_owned();
    text.push("=");
    text.push(value);
    CString::new(text.into_vec()).ok()
}

fn key(variable: &CString) -> &[u8] {
    variable.as_bytes().split(|it| *it == b'=').next().unwrap_or_default()
}

fn strings(texts: impl Iterator<Item = Vec<u8>>) -> Result<Vec<CString>, &'static str> {
    texts.map(|it| CString::new(it).map_err(|_| NUL)).collect()
}

fn pointers<'a>(strings: impl Iterator<Item = &'a CString>) -> Pointers {
    strings.map(|it| it.as_ptr()).chain([ptr::null()]).collect()
}

/// The files that a program's name may mean. An empty directory in `PATH` is the working one.
fn candidates(name: &[u8], path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let plain = name.contains(&b'/').then(|| name.to_vec());
    let looked_up = plain.is_none().then(|| {
        path.split(|it| *it == b':').map(|dir| {
            let dir = if dir.is_empty() { b"." } else { dir };
            [dir, b"/", name].concat()
        })
    });
    plain.into_iter().chain(looked_up.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Sockets;

    fn all(name: &str, path: &str) -> Vec<String> {
        let found = candidates(name.as_bytes(), path.as_bytes());
        found.map(|it| String::from_utf8_lossy(&it).into_owned()).collect()
    }

    #[test]
    fn a_name_with_a_slash_is_taken_as_it_is() {
        assert_eq!(all("bin/x", "/a:/b"), ["bin/x"]);
    }

    #[test]
    fn a_plain_name_is_looked_up_in_path_order() {
        assert_eq!(all("x", "/a::/b"), ["/a/x", "./x", "/b/x"]);
    }

    #[test]
    fn what_execve_could_not_take_is_refused() {
        let environ = Environ { vars: Vec::new() };
        let refused = |argv: &[&str], env: &[(&str, &str)]| {
            let launch = Launch {
                argv: argv.iter().map(|it| (*it).to_owned()).collect(),
                env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
                ..Launch::default()
            };
            Command::of(&launch, &environ, &[]).err()
        };
        assert_eq!(refused(&[], &[]), Some("argv is empty"));
        assert_eq!(refused(&[""], &[]), Some("argv is empty"));
        assert_eq!(refused(&["a", "b\0c"], &[]), Some(NUL));
        assert!(refused(&["a"], &[("A=B", "c")]).is_some());
        assert_eq!(refused(&["a"], &[("A", "B=c")]), None);
    }

    #[test]
    fn the_variable_with_its_own_number_is_completed_by_the_child() {
        for number in [1, 7, 10, 4_194_304, 2_147_483_647] {
            let variable = OwnNumber::new();
            variable.write(number);
            let text: Vec<u8> = variable.0.iter().map(|it| it.load(Ordering::Relaxed)).collect();
            let text = CStr::from_bytes_until_nul(&text).expect("an end");
            assert_eq!(text.to_bytes(), format!("LISTEN_PID={number}").as_bytes());
        }
    }

    #[test]
    fn who_is_started_with_sockets_hears_of_no_others() {
        let environ = Environ { vars: Vec::new() };
        let set = |key: &str| (key.to_owned(), "x".to_owned());
        let env = vec![set("LISTEN_PID"), set("LISTEN_FDS"), set("LISTEN_ON")];
        let launch = Launch { argv: vec!["x".to_owned()], env, ..Launch::default() };
        let sockets = Some(Sockets { key: "k".to_owned(), names: Vec::new() });
        let with = Launch { sockets, ..launch.clone() };
        let count = |it: &Launch| Command::of(it, &environ, &[]).expect("good").env().len();
        assert_eq!((count(&launch), count(&with)), (4, 3)); // The null is one of them.
    }

    #[test]
    fn a_launch_overrides_the_keepers_environment() {
        let vars = ["A=1", "AB=2"].map(|it| CString::new(it).expect("no NUL")).to_vec();
        let environ = Environ { vars };
        let launch = Launch {
            argv: vec!["x".to_owned()],
            env: vec![("A".to_owned(), "3".to_owned())],
            ..Launch::default()
        };
        let command = Command::of(&launch, &environ, &[]).expect("a good launch");
        assert_eq!(command.env().len(), 3); // AB=2, A=3 and the null
        assert_eq!(command.env()[0], environ.vars[1].as_ptr());
    }
}
