//! Directories with something wrong in them.

use std::fs;
use std::path::PathBuf;

use super::*;

/// A directory of its own for each test, gone afterwards.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new(test: &str, files: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!("zinit-check-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        for (file, text) in files {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
            fs::write(path, text).expect("a file can be written there");
        }
        Self(dir)
    }

    /// What is said, with hints and without the directory.
    pub(super) fn told(&self, of: &[Refusal]) -> Vec<String> {
        let here = format!("{}/", self.0.display());
        let line = |it: &Refusal| match &it.hint {
            Some(hint) => format!("{} ({hint})", it.message.replace(&here, "")),
            None => it.message.replace(&here, ""),
        };
        of.iter().map(line).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_directory_without_faults_is_told_as_such() {
    let files = [
        ("db.yaml", "exec: sleep 1\nlimits: { core: 0 }\n"),
        ("web.yaml", "exec: sh -c 'sleep 1'\nrequires: db\nconflicts: old\nnice: 5\n"),
        ("old.yaml", "exec: /bin/sh\nstatus: stop\nenv_file: -/nowhere\n"),
        ("all.yaml", "wants: [web, db]\n"),
        ("policy.rhai", "fn gives_up(service, attempt) { attempt > 3 }\n"),
    ];
    let checked = check(&Scratch::new("fine", &files).0);
    assert_eq!((checked.services, checked.problems, checked.warnings), (4, vec![], vec![]));
}

#[test]
fn every_problem_is_told_at_once() {
    let files = [
        ("a.yaml", "exec: sleep 1\nafter: b\n"),
        ("b.yaml", "exec: sleep 1\nbefore: c\nrequires: c\n"),
        ("c.yaml", "exec: sleep 1\nafter: a\nwants: b\n"),
        ("self.yaml", "exec: sleep 1\nafter: self\n"),
        ("bad.yaml", "exec: sleep 1\numask: 999\n"),
        ("worse.yaml", "exec: 'x\n"),
        ("policy.rhai", "fn gives_up(service) { true }\n"),
        ("policy/b.rhai", "fn test_it() { false\n"),
        ("policy/notes.txt", "nothing"),
    ];
    let scratch = Scratch::new("problems", &files);
    let checked = check(&scratch.0);
    assert_eq!(checked.services, 4);
    let told = scratch.told(&checked.problems);
    let want = [
        "bad.yaml:2:8: `umask` must be octal digits from 0000 to 0777, not `999` (for example \
         `\"0027\"`: nothing for others)",
        "worse.yaml:1:7: malformed YAML: unclosed quote (close the quote)",
        "`a` waits for itself: a -> b -> c -> a (take one of them out of `after` of `a`, \
         `requires` of `b`, `after` of `c`)",
        "`self` waits for itself: self -> self (take one of them out of `after` of `self`)",
    ];
    assert_eq!(told[..4], want);
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(told[4].starts_with("policy.rhai"), "{}", told[4]);
    assert!(told[5].starts_with("policy/b.rhai"), "{}", told[5]);
}

#[test]
fn outputs_that_would_meet_are_a_problem() {
    let files = [
        ("a.yaml", "exec: sleep 1\nlog: { dir: /srv/logs }\n"),
        ("b.yaml", "exec: sleep 1\nlog: { dir: /srv//logs/, mode: ring }\n"),
        ("c.yaml", "exec: sleep 1\nlog: { dir: /srv/logs/c }\n"),
        ("d.yaml", "exec: sleep 1\nlog_to: d\n"),
        ("e.yaml", "exec: sleep 1\nlog_to: aa\n"),
        ("f.yaml", "exec: sleep 1\nlog_to: g\n"),
        ("g.yaml", "exec: sleep 1\nlog_to: f\n"),
        ("h.yaml", "exec: sleep 1\nlog_to: f\n"),
    ];
    let scratch = Scratch::new("outputs", &files);
    let checked = check(&scratch.0);
    let want = [
        "b.yaml: `a` logs to `/srv//logs/` as well (give each of them a `dir` of its own)",
        "d.yaml: its output would be its own input (name another service in `log_to`)",
        "f.yaml: its output would be its own input (name another service in `log_to`)",
        "g.yaml: its output would be its own input (name another service in `log_to`)",
    ];
    assert_eq!(scratch.told(&checked.problems), want);
    let want = ["e.yaml: `log_to` names `aa`, which has no file (did you mean `a`?)"];
    assert_eq!(scratch.told(&checked.warnings), want);
}

#[test]
fn what_goes_wrong_later_is_a_warning() {
    let files = [
        ("db.yaml", "exec: sleep 1\nconflicts: web\n"),
        ("web.yaml", "exec: no-such-program-here\nafter: [dbb]\nbefore: quux\n"),
        ("odd.yaml", "exec: sleep 1\nuser: no-such-user-here\ndir: /nowhere\nenv_file: /nowhere\n"),
        ("run.yml", "exec: ./tool\nstop_cmd: /etc/passwd\ndir: /tmp\nenv: { PATH: /nowhere }\n"),
        ("never.yaml", "exec: sleep 1\nstatus: stop\nrequires: db\nconflicts: [db]\n"),
    ];
    let scratch = Scratch::new("warnings", &files);
    let checked = check(&scratch.0);
    assert_eq!((checked.services, checked.problems), (5, vec![]));
    let want = [
        "db.yaml: it conflicts with `web`, and both start with the server (give one of them \
         `status: stop`)",
        "never.yaml: it conflicts with `db`, without which it cannot start",
        "odd.yaml: there is no directory `/nowhere`",
        "odd.yaml: there is no user `no-such-user-here`",
        "odd.yaml: cannot read `/nowhere`: no such file or directory",
        "run.yml: there is no program `/tmp/./tool`",
        "run.yml: `/etc/passwd` is not executable",
        "web.yaml: `after` names `dbb`, which has no file (did you mean `db`?)",
        "web.yaml: `before` names `quux`, which has no file",
        "web.yaml: there is no program `no-such-program-here` in PATH",
    ];
    assert_eq!(scratch.told(&checked.warnings), want);
    assert_eq!(checked.warnings[0].data["service"], "db");
    assert_eq!(checked.warnings[0].data["key"], "conflicts");
}

#[test]
fn a_directory_that_is_not_there_is_a_problem_and_is_not_made() {
    let checked = check(Path::new("/nowhere/at/all"));
    assert_eq!(checked.problems[0].kind, Kind::Storage);
    assert!(!Path::new("/nowhere").exists());
}

#[test]
fn circles_are_told_once_each_however_many_services_are_on_them() {
    let spec = |after: &str| {
        let names = after.split_whitespace();
        let after = names.map(|it| ServiceName::parse(it).expect("a name")).collect();
        Spec { after, ..Spec::of_exec("ls") }
    };
    let files =
        [("a", "b"), ("b", "a c"), ("c", "b"), ("d", "a gone"), ("e", "f"), ("f", "g"), ("g", "e")];
    let specs: Vec<_> = files
        .iter()
        .map(|(name, after)| (ServiceName::parse(name).expect("a name"), spec(after)))
        .collect();
    let told: Vec<String> = cycles(&specs).iter().map(|it| path_of(it)).collect();
    assert_eq!(told, ["a -> b -> a", "c -> b -> c", "e -> f -> g -> e"]);

    let name = |it: usize| ServiceName::parse(&format!("s{it}")).expect("a name");
    let ring = |it: usize| (name(it), spec(&format!("s{}", (it + 1) % 3_000)));
    let ring: Vec<_> = (0..3_000).map(ring).collect();
    let told = cycles(&ring);
    assert_eq!((told.len(), told[0].len()), (1, 3_001));
}

#[test]
fn proxies_that_are_in_each_others_way_are_told() {
    let file = |listen: u16, backend: u16| {
        format!(
            "exec: /bin/true\nxinit: {{ enabled: true, listen: \":{listen}\", backend: \"localhost:{backend}\" }}\n"
        )
    };
    let scratch = Scratch::new(
        "proxies",
        &[
            ("web.yaml", &file(81, 82)),
            ("db.yaml", &file(82, 81)),
            ("xinit/front.yaml", "service: wbe\nlisten: :83\n"),
            ("xinit/web.yaml", "listen: :84\n"),
        ],
    );
    let checked = check(&scratch.0);
    let want = [
        "web.yaml: the proxy `web` would connect to itself (it would go web -> db -> web: one `backend` is wrong)",
        "xinit/front.yaml: there is no service `wbe` (did you mean `web`?)",
        "xinit/web.yaml: the service `web` has a proxy in its own file (give this one another name, or remove one of the two)",
    ];
    assert_eq!(scratch.told(&checked.problems), want);
}
