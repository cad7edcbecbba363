//! Run as: what a launch asks for is so in the child, and in nobody else; what the kernel refuses is
//! told by the step's name.

use zinit_keeper::wire::{Identity, Limit};

use crate::*;

const NOBODY: u32 = 65534;

fn launch(incarnation: u64, program: &[&str], change: impl Fn(&mut Launch)) -> Request {
    let mut launch = Launch {
        service: "a".to_owned(),
        incarnation,
        argv: program.iter().map(|it| (*it).to_owned()).collect(),
        ..Launch::default()
    };
    change(&mut launch);
    Request::Launch(Box::new(launch))
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("(only root can try this)");
    }
    root
}

/// A process that sleeps, run with this change.
fn sleeper(world: &mut World, change: impl Fn(&mut Launch)) -> i32 {
    world.brain.say(&[launch(1, &["sleep", "1000"], change)]);
    let (pid, _) = world.brain.launched("a");
    world.brain.started("a");
    pid
}

fn limit_of(pid: i32, name: &str) -> (String, String) {
    let limits = proc_file(pid, "limits");
    let line = limits.lines().find_map(|it| it.strip_prefix(name)).expect("the limit");
    let mut fields = line.split_ascii_whitespace().map(str::to_owned);
    (fields.next().expect("soft"), fields.next().expect("hard"))
}

fn nice_of(pid: i32) -> String {
    let stat = proc_file(pid, "stat");
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    rest.split(' ').nth(16).expect("a nice value").to_owned()
}

pub(crate) fn a_user_its_group_and_its_other_groups_are_those_of_the_child() {
    if !is_root() {
        return;
    }
    let mut world = World::serving();
    let dir = world.dir.join("private");
    std::fs::create_dir(&dir).expect("a directory");
    std::os::unix::fs::chown(&dir, Some(NOBODY), Some(0)).expect("root may");
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).expect("root may");
    let pid = sleeper(&mut world, |it| {
        it.identity = Some(Identity { uid: NOBODY, gid: 12, groups: vec![34, 56] });
        // The user may enter it, if it is entered as that user.
        it.dir = dir.display().to_string();
        it.output = Output::Null;
    });
    assert_eq!(status_of(pid, "Uid"), "65534\t65534\t65534\t65534");
    assert_eq!(status_of(pid, "Gid"), "12\t12\t12\t12");
    assert_eq!(status_of(pid, "Groups"), "34 56");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status_of(pid, set), "0000000000000000", "{set}");
    }
    let keeper = world.keeper_pid();
    assert_eq!(status_of(keeper, "Uid"), "0\t0\t0\t0");
}

pub(crate) fn a_directory_that_only_root_may_enter_is_refused_to_a_user() {
    if !is_root() {
        return;
    }
    let mut world = World::serving();
    let dir = world.dir.join("roots");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).expect("ours");
    let dir = dir.display().to_string();
    world.brain.say(&[launch(1, &["true"], |it| {
        it.identity = Some(Identity { uid: NOBODY, gid: NOBODY, groups: vec![] });
        it.dir.clone_from(&dir);
    })]);
    let exit = world.brain.exit_of("a");
    assert_eq!(exit, Exit::Launch { step: format!("chdir {dir}"), errno: 13 });
}

pub(crate) fn what_a_child_may_use_is_what_was_asked_for_and_the_keepers_is_not_changed() {
    let mut world = World::serving();
    let keeper = world.keeper_pid();
    let before = (proc_file(keeper, "oom_score_adj"), proc_file(keeper, "limits"), nice_of(keeper));
    let pid = sleeper(&mut world, |it| {
        it.umask = Some(0o027);
        it.nice = Some(7);
        it.oom_score_adj = Some(321);
        it.no_new_privs = true;
        it.limits = vec![
            Limit { resource: 7, soft: 100, hard: 200 }, // RLIMIT_NOFILE
            Limit { resource: 4, soft: 0, hard: u64::MAX }, // RLIMIT_CORE
            Limit { resource: 1, soft: 5000, hard: 6000 }, // RLIMIT_FSIZE
        ];
    });
    assert_eq!(status_of(pid, "Umask"), "0027");
    assert_eq!(nice_of(pid), "7");
    assert_eq!(proc_file(pid, "oom_score_adj"), "321\n");
    assert_eq!(status_of(pid, "NoNewPrivs"), "1");
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(limit_of(pid, "Max open files"), pair("100", "200"));
    assert_eq!(limit_of(pid, "Max core file size"), pair("0", "unlimited"));
    assert_eq!(limit_of(pid, "Max file size"), pair("5000", "6000"));
    let after = (proc_file(keeper, "oom_score_adj"), proc_file(keeper, "limits"), nice_of(keeper));
    assert_eq!(after, before);
    assert_eq!(status_of(keeper, "NoNewPrivs"), "0");
}

pub(crate) fn what_the_kernel_refuses_is_told_by_its_step() {
    let mut world = World::serving();
    let mut incarnation = 0;
    let mut refused = |step: &str, errno: i32, change: &dyn Fn(&mut Launch)| {
        incarnation += 1;
        world.brain.say(&[launch(incarnation, &["true"], change)]);
        let exit = world.brain.exit_of("a");
        assert_eq!(exit, Exit::Launch { step: step.to_owned(), errno });
        world.brain.say(&[ack("a", incarnation)]);
    };
    let (eperm, ebadf, einval) = (1, 9, 22);
    let limit = |resource, soft, hard| vec![Limit { resource, soft, hard }];
    refused("rlimit", einval, &|it| it.limits = limit(7, 200, 100));
    refused("rlimit", einval, &|it| it.limits = limit(99, 1, 1));
    // More open files than the kernel allows anybody.
    refused("rlimit", eperm, &|it| it.limits = limit(7, u64::MAX, u64::MAX));
    refused("oom_score_adj", einval, &|it| it.oom_score_adj = Some(4000));
    refused("ready", ebadf, &|it| it.ready = Ready::Fd(i32::MAX));
    // No user has this number.
    let (step, errno) = if is_root() { ("setuid", einval) } else { ("setgroups", eperm) };
    refused(step, errno, &|it| {
        it.identity = Some(Identity { uid: u32::MAX, gid: 0, groups: vec![] });
    });
}

pub(crate) fn a_limit_of_a_cgroup_that_cannot_be_set_does_not_prevent_the_launch() {
    let mut world = World::serving();
    let limit = |file: &str, value: &str| (file.to_owned(), value.to_owned());
    let pid = sleeper(&mut world, |it| {
        it.cgroup = vec![limit("no.such.file", "1"), limit("cgroup.max.depth", "3")];
    });
    assert!(alive(pid));
    if !world.brain.cgroup.is_empty() {
        let set =
            std::fs::read_to_string(Path::new(&world.brain.cgroup).join("a/cgroup.max.depth"));
        assert_eq!(set.expect("the file"), "3\n");
        world.brain.say(&[signal("a", 1, 15)]);
        world.brain.exit_of("a");
        // Not asked for again, it does not hold any more.
        world.brain.say(&[ack("a", 1), launch(2, &["sleep", "1000"], |_| ())]);
        world.brain.started("a");
        let set =
            std::fs::read_to_string(Path::new(&world.brain.cgroup).join("a/cgroup.max.depth"));
        assert_eq!(set.expect("the file"), "max\n");
    }
}
