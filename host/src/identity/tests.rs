//! Who is found in account files, and what the files of variables say.

use std::fs;
use std::path::PathBuf;

use nix::sys::resource::Resource;

use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nweb:x:1001:1002:,,,:/srv/web:\n\
                      # a comment\n+::::::\nbroken:x:no\n1003:x:7:8::/seven:/bin/sh\n";
const GROUP: &str = "root:x:0:\nweb:x:1002:\nadm:x:4:syslog, web\nssl:x:107:web\nx:y\n";

/// Files of its own for each test, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let name = format!("zinit-identity-{}-{test}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a temporary directory can be made");
        let scratch = Self(dir);
        scratch.write("passwd", PASSWD);
        scratch.write("group", GROUP);
        scratch
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(file);
        fs::write(&path, text).expect("a file can be written there");
        path
    }

    fn resolve(&self, run_as: &RunAs) -> Result<Resolved, String> {
        resolve(run_as, &self.0.join("passwd"), &self.0.join("group"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn who(user: &str, group: &str) -> RunAs {
    RunAs { user: user.to_owned(), group: group.to_owned(), ..RunAs::default() }
}

#[test]
fn a_user_comes_with_its_groups_and_its_home() {
    let scratch = Scratch::new("user");
    let told = scratch.resolve(&who("web", "")).expect("there is one");
    let groups = vec![1002, 4, 107];
    assert_eq!(told.identity, Some(Identity { uid: 1001, gid: 1002, groups }));
    let env: Vec<(&str, &str)> = told.env.iter().map(|(k, v)| (&**k, &**v)).collect();
    let want = [("HOME", "/srv/web"), ("USER", "web"), ("LOGNAME", "web"), ("SHELL", "/bin/sh")];
    assert_eq!(env, want);
    let by_number = scratch.resolve(&who("1001", ""));
    assert_eq!(by_number.map(|it| it.env), Ok(told.env));
}

#[test]
fn a_group_and_other_groups_replace_those_of_the_user() {
    let scratch = Scratch::new("group");
    let identity = |run_as: &RunAs| scratch.resolve(run_as).map(|it| it.identity);
    let of = |uid, gid, groups: &[u32]| Ok(Some(Identity { uid, gid, groups: groups.to_vec() }));
    assert_eq!(identity(&who("web", "ssl")), of(1001, 107, &[107, 4]));
    assert_eq!(identity(&who("web", "9")), of(1001, 9, &[9, 4, 107]));
    let none = RunAs { groups: Some(Vec::new()), ..who("web", "") };
    assert_eq!(identity(&none), of(1001, 1002, &[1002]));
    let some = RunAs { groups: Some(vec!["adm".to_owned(), "77".to_owned()]), ..none };
    assert_eq!(identity(&some), of(1001, 1002, &[1002, 4, 77]));
    // A name that looks like a number is a name first.
    assert_eq!(identity(&who("1003", "")), of(7, 8, &[8]));
    assert_eq!(identity(&who("4242", "")), of(4242, 4242, &[4242]));
}

#[test]
fn who_is_unknown_is_named_with_the_nearest_one() {
    let scratch = Scratch::new("unknown");
    let no = |run_as: &RunAs| scratch.resolve(run_as).expect_err("nobody is called that");
    assert_eq!(no(&who("wbe", "")), "there is no user `wbe`; did you mean `web`?");
    assert_eq!(no(&who("postgres", "")), "there is no user `postgres`");
    assert_eq!(no(&who("4294967295", "")), "there is no user `4294967295`");
    assert_eq!(no(&who("web", "amd")), "there is no group `amd`; did you mean `adm`?");
    let other = RunAs { groups: Some(vec!["slss".to_owned()]), ..who("web", "") };
    assert_eq!(no(&other), "there is no group `slss`; did you mean `ssl`?");
}

#[test]
fn numbers_need_no_account_files_and_nobody_reads_them_in_vain() {
    let nowhere = Path::new("/nowhere");
    let told = resolve(&who("5", "6"), nowhere, nowhere).expect("numbers are known");
    assert_eq!(told.identity, Some(Identity { uid: 5, gid: 6, groups: vec![6] }));
    assert_eq!(told.env[0], ("HOME".to_owned(), "/".to_owned()));
    let dir = Path::new("/proc");
    assert_eq!(resolve(&RunAs::default(), dir, dir), Ok(Resolved::default()));
    let no = resolve(&who("5", ""), dir, dir).expect_err("it is a directory");
    assert_eq!(no, "cannot read `/proc`: it is not a file");
}

#[test]
fn who_asks_for_what_it_is_needs_no_right_to_change_it() {
    let (uid, gid) = (getuid().to_string(), getgid().to_string());
    let told = Scratch::new("own").resolve(&who(&uid, &gid)).expect("numbers are known");
    assert_eq!(told.identity.is_some(), geteuid().is_root());
    assert_eq!(told.env.len(), 4);
}

#[test]
fn limits_are_told_by_their_number() {
    let limits = [("nofile".to_owned(), (1, 2)), ("core".to_owned(), (0, u64::MAX))].into();
    let run_as = RunAs { limits, ..RunAs::default() };
    let told = Scratch::new("limits").resolve(&run_as).expect("nobody is asked for");
    let (core, nofile) = (Resource::RLIMIT_CORE as u32, Resource::RLIMIT_NOFILE as u32);
    let want = [
        Limit { resource: core, soft: 0, hard: u64::MAX },
        Limit { resource: nofile, soft: 1, hard: 2 },
    ];
    assert_eq!((told.limits.as_slice(), told.identity), (want.as_slice(), None));
}

#[test]
fn an_env_file_is_read_as_a_shell_would() {
    let scratch = Scratch::new("env");
    let text = "\u{feff}# a comment\r\nA=1\r\nexport B=two words  \n\nC='single $A \"x\"'\n\
                D=\"double \\\"x\\\" # y\" # comment\nE=\n  F=x # comment\nG=a#b\nH=\"\"\nI=é=\n";
    let path = scratch.write("env", text);
    let told = read_env_file(&path).expect("it is fine");
    let told: Vec<(&str, &str)> = told.iter().map(|(k, v)| (&**k, &**v)).collect();
    let want = [
        ("A", "1"),
        ("B", "two words"),
        ("C", "single $A \"x\""),
        ("D", "double \"x\" # y"),
        ("E", ""),
        ("F", "x"),
        ("G", "a#b"),
        ("H", ""),
        ("I", "é="),
    ];
    assert_eq!(told, want);
}

#[test]
fn a_bad_env_file_says_which_line_and_tells_no_secret() {
    let scratch = Scratch::new("bad-env");
    let no = |text: &[u8]| {
        let path = scratch.write("env", text);
        let said = read_env_file(&path).expect_err("it is bad");
        assert!(!said.contains("secret"), "{said}");
        said.replace(&format!("`{}`", path.display()), "it")
    };
    assert_eq!(no(b"A=1\nsecret\n"), "it, line 2: it is not `KEY=VALUE`");
    assert_eq!(no(b"A B=secret"), "it, line 1: `A B` cannot be a variable's name");
    assert_eq!(no(b"1A=secret"), "it, line 1: `1A` cannot be a variable's name");
    assert_eq!(no(b"A='secret"), "it, line 1: the quotes of `A` are unbalanced");
    assert_eq!(no(b"\nA='x' secret"), "it, line 2: the value of `A` goes on behind its quotes");
    assert_eq!(no(b"A=\xff"), "it is not UTF-8 text");
    let large = "#".repeat(300 << 10);
    assert_eq!(no(large.as_bytes()), "cannot read it: it is larger than 262144 bytes");

    let fifo = scratch.0.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("it can be made");
    assert!(read_env_file(&fifo).expect_err("nobody waits").ends_with("it is not a file"));
}

#[test]
fn only_a_file_that_may_be_missing_may_be_missing() {
    let scratch = Scratch::new("missing");
    let one = scratch.write("one", "A=1\nB=1\n").display().to_string();
    let two = scratch.write("two", "A=2\n").display().to_string();
    let all = |paths: [&str; 3]| {
        env_files(&RunAs { env_file: paths.map(str::to_owned).into(), ..RunAs::default() })
    };
    let told = all([&one, "-/nowhere/at/all", &format!("-{two}")]).expect("they are fine");
    assert_eq!(told.iter().map(|(_, it)| &**it).collect::<String>(), "112");
    let no = all([&one, "/nowhere/at/all", &two]).expect_err("it is missing");
    assert_eq!(no, "cannot read `/nowhere/at/all`: no such file or directory");
}

#[test]
fn limits_of_a_cgroup_are_told_as_the_kernel_has_them() {
    let run_as = RunAs {
        memory_max: Some(1 << 30),
        cpu_max: Some(150),
        pids_max: Some(64),
        ..RunAs::default()
    };
    let told: Vec<_> = cgroup_files(&run_as)
        .into_iter()
        .map(|it| format!("{} {} {}", it.controller, it.file, it.value))
        .collect();
    let want = ["memory memory.max 1073741824", "cpu cpu.max 150000 100000", "pids pids.max 64"];
    assert_eq!(told, want);
    assert_eq!(cgroup_files(&RunAs::default()), []);
}
