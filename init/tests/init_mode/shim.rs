//! `zinit-updater --init -- COMMAND`: another program under PID 1.

use std::process::Output;

use nix::sys::signal::Signal;

use crate::world::{World, children, text};

/// Runs a script under the shim, which is PID 1, to its end.
fn run(script: &str) -> Option<Output> {
    let world = World::new()?;
    std::fs::write(world.home.join("script"), script).expect("it is writable");
    Some(world.run("exec zinit-updater --init -- sh \"$H/script\""))
}

#[test]
fn it_ends_as_its_program_does() {
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill $$", 143)] {
        let Some(out) = run(script) else { return };
        assert_eq!(out.status.code(), Some(status), "{script}: {}", text(&out.stderr));
    }
}

#[test]
fn a_program_that_cannot_be_run_is_told_as_shells_do() {
    let Some(world) = World::new() else { return };
    std::fs::write(world.home.join("script"), "#!/no/such/shell\n").expect("it is writable");
    let cases = [
        ("nosuch", 127, "error: cannot run `nosuch`: there is no such program in PATH\n"),
        ("/no/such", 127, "error: cannot run `/no/such`: No such file or directory\n"),
        ("/", 126, "error: cannot run `/`: Permission denied\n"),
    ];
    for (program, status, said) in cases {
        let out = world.run(&format!("exec zinit-updater --init -- {program}"));
        assert_eq!((out.status.code(), &*text(&out.stderr)), (Some(status), said));
    }
    let out = world.run("chmod +x $H/script; exec zinit-updater --init -- $H/script");
    assert!(text(&out.stderr).contains("the interpreter that it names is missing"));
}

#[test]
fn its_program_begins_as_if_nobody_were_between() {
    let Some(world) = World::new() else { return };
    let script = "grep -E 'SigBlk|NoNewPrivs|CapEff' /proc/self/status; env | cksum
        for fd in /proc/self/fd/*; do echo $fd; done; ulimit -a; pwd; umask";
    std::fs::write(world.home.join("script"), script).expect("it is writable");
    let [alone, under] = ["", "zinit-updater --init --"]
        .map(|shim| text(&world.run(&format!("exec {shim} sh \"$H/script\"")).stdout));
    assert!(alone.contains("SigBlk"), "{alone}");
    assert_eq!(under, alone);
    // What is ignored by us, or by who started us, is not by it.
    let script = "trap '' HUP; exec zinit-updater --init -- sh -c 'grep SigIgn /proc/$$/status'";
    assert_eq!(text(&world.run(script).stdout), "SigIgn:\t0000000000000000\n");
    let out = world.run("exec zinit-updater --init -- sh -c 'echo $PPID'");
    assert_eq!(text(&out.stdout), "1\n");
}

#[test]
fn every_signal_that_can_be_caught_is_forwarded() {
    let Some(world) = World::new() else { return };
    // Real-time ones as well; the shell's own is SIGCHLD.
    let numbers = (1..=64).filter(|it| ![9, 17, 19, 32, 33].contains(it));
    let numbers: Vec<i32> = numbers.collect();
    let traps: String =
        numbers.iter().map(|it| format!("trap 'echo {it} >> $H/got' {it}\n")).collect();
    let script = format!("{traps}echo up > $H/up\nwhile :; do sleep 1 & wait; done\n");
    std::fs::write(world.home.join("script"), script).expect("it is writable");
    let world = world.begin("exec zinit-updater --init -- bash \"$H/script\"");
    world.file("up");
    for number in numbers {
        world.kill(number, world.init());
        let line = number.to_string();
        world.until(&line, || world.read("got").lines().any(|it| it == line).then_some(()));
    }
}

#[test]
fn a_signal_is_for_the_program_or_with_g_for_its_group() {
    for (flag, expected) in [("", "parent\n"), ("-g", "child\nparent\n")] {
        let Some(world) = World::new() else { return };
        let script = "trap 'sleep 0.3; echo parent >> $H/got; exit 3' USR1
            (trap 'echo child >> $H/got; exit' USR1; echo up > $H/up; sleep 1000 & wait) &
            wait; wait";
        std::fs::write(world.home.join("script"), script).expect("it is writable");
        let begin = format!("exec zinit-updater --init {flag} -- sh \"$H/script\"");
        let mut world = world.begin(&begin);
        world.file("up");
        world.signal(Signal::SIGUSR1);
        assert_eq!(world.ends().code(), Some(3));
        assert_eq!(world.read("got"), expected);
    }
}

#[test]
fn orphans_are_reaped() {
    let Some(world) = World::new() else { return };
    let script = "for i in $(seq 100); do (setsid sh -c 'sleep 0.0$1' - $i &); done
        echo up > $H/up; exec sleep 1000";
    std::fs::write(world.home.join("script"), script).expect("it is writable");
    let world = world.begin("exec zinit-updater --init -- sh \"$H/script\"");
    world.file("up");
    world.until("one child is left", || (children(world.init()).len() == 1).then_some(()));
}

#[test]
fn under_another_parent_it_does_the_same() {
    let script = "exec zinit-updater --init -- sh -c 'kill -TERM $PPID; sleep 1000'";
    let Some(world) = World::new() else { return };
    let out = world.run(&format!("({script}); echo $?"));
    assert_eq!(text(&out.stdout), "143\n", "{}", text(&out.stderr));
    // It is the reaper of its own: the orphan's parent is the shim, which is not PID 1.
    let script = "(sh -c 'while [ $(cut -d\" \" -f4 /proc/$$/stat) = $1 ]; do sleep 0.01; done;
        cut -d\" \" -f4 /proc/$$/stat > $H/parent' - $$ &); echo $PPID; until [ -s $H/parent ]; do
        sleep 0.01; done; cat $H/parent";
    std::fs::write(world.home.join("script"), script).expect("it is writable");
    let out = world.run("zinit-updater --init -- sh \"$H/script\"; exit");
    let said = text(&out.stdout);
    let parents: Vec<&str> = said.lines().collect();
    assert!(matches!(parents[..], [shim, parent] if shim == parent && shim != "1"), "{said}");
}
