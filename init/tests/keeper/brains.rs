//! Brains: what they say and do not say, how they end, and what the keeper does then.

use crate::*;

pub(crate) fn nonsense_is_survived() {
    let mut world = World::serving();
    let deep = "[".repeat(PACKET_MAX - 1);
    let long = format!(r#"{{"ask":"forget","service":"{}"}}"#, "x".repeat(100_000));
    let big = vec![b'x'; PACKET_MAX + 1];
    let packets: [&[u8]; 12] = [
        b"",
        b"\n\n\n",
        b"\0",
        b"\xff\xfe\xfd",
        b"{}",
        b"null\n[]\n1e999\n{\"ask\":3}",
        br#"{"ask":"launch"}"#,
        br#"{"ask":"launch","service":"","incarnation":1,"argv":["true"]}"#,
        br#"{"ask":"from the future","service":["a"],"x":{"y":1}}"#,
        deep.as_bytes(),
        long.as_bytes(),
        &big,
    ];
    for packet in packets {
        assert!(world.brain.say_raw(packet));
    }
    world.brain.say(&[note("a", &"x".repeat(NOTE_MAX + 1))]);
    let null = std::fs::File::open("/dev/null").expect("it is there");
    packet::send(world.brain.link.as_fd(), b"{}", &vec![null.as_fd(); 128]).expect("sent");
    // Good lines beside bad ones count.
    let line = serde_json::to_string(&argv("ok", 1, &["/bin/true"], "/")).expect("JSON");
    assert!(world.brain.say_raw(format!("nonsense\n{line}\n\u{7}").as_bytes()));
    assert_eq!(world.brain.exit_of("ok"), Exit::Code(0));
    let fds = std::fs::read_dir(format!("/proc/{}/fd", world.keeper_pid())).expect("it lives");
    assert!(fds.count() < 300, "descriptors that the brain sent are closed");
    // There is a most of services.
    for batch in 0..40 {
        let notes = (0..500).map(|index| note(&format!("s{batch}.{index}"), ""));
        world.brain.say(&notes.collect::<Vec<_>>());
    }
    assert_eq!(world.brain.greet().len(), 16 * 1024);
    world.brain.launch("one too many", 1, "exit 0");
    assert!(world.brain.refusal_of("one too many").contains("as many services as it can"));
}

pub(crate) fn mutated_requests_are_survived() {
    let mut world = World::serving();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    // No `farewell`: its mutants would end the keeper, and rightly so.
    let seeds = [
        argv("f", 1, &["/bin/true"], "/"),
        signal("f", 1, 9),
        ack("f", 1),
        note("f", "n"),
        forget("f"),
        Request::Serving,
    ];
    let lines = seeds.map(|it| serde_json::to_string(&it).expect("JSON").into_bytes());
    let spice = b"\"{}[]:,\\0-9e.\n\0\xff";
    for _ in 0..3000 {
        let mut packet = Vec::new();
        for _ in 0..=random(3) {
            let mut line = lines[random(lines.len())].clone();
            for _ in 0..random(4) {
                let at = random(line.len());
                match random(4) {
                    0 => line[at] = spice[random(spice.len())],
                    1 => line[at] ^= 1 << random(8),
                    2 => line.truncate(at.max(1)),
                    _ => line.insert(at, spice[random(spice.len())]),
                }
            }
            packet.append(&mut line);
            packet.push(b'\n');
        }
        assert!(world.brain.say_raw(&packet));
    }
    world.brain.is_heard();
}

pub(crate) fn a_brain_that_does_not_read_hears_everything_later() {
    const COUNT: usize = 50;
    let mut world = World::serving();
    for index in 0..COUNT {
        let name = format!("a-service-with-quite-a-long-name-to-fill-packets-{index}");
        world.brain.launch(&name, 1, "exit 0");
        for incarnation in 2..40 {
            world.brain.launch(&name, incarnation, "exit 0"); // Refused, and so much for that.
        }
    }
    let mut exits = 0;
    while exits < COUNT {
        exits += usize::from(matches!(world.brain.hear().0, Report::Exited { .. }));
    }
    world.brain.is_heard();
}

pub(crate) fn signals_to_the_keeper_reach_the_brain() {
    let mut world = World::serving();
    for sent in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGINT] {
        world.signal_keeper(sent);
        assert_eq!(world.brain.hear().0, Report::Signalled { signal: sent as i32 });
    }
    // SIGUSR1 was the brain's to act on: it ends by itself, and then there is another.
    world.brain.control.write_all(&[0]).expect("it lives");
    world.next_brain();
}

pub(crate) fn sigterm_is_told_to_the_next_brain_too() {
    let mut world = World::serving();
    world.signal_keeper(Signal::SIGTERM);
    assert_eq!(world.brain.hear().0, Report::Signalled { signal: 15 });
    world.replace_brain();
    assert_eq!(world.brain.hear().0, Report::Signalled { signal: 15 });
}

pub(crate) fn each_sigterm_is_told_and_the_next_brain_knows_that_it_is_urgent() {
    let mut world = World::serving();
    let told = Report::Signalled { signal: 15 };
    for _ in 0..2 {
        world.signal_keeper(Signal::SIGTERM);
        assert_eq!(world.brain.hear().0, told);
    }
    world.replace_brain();
    assert_eq!([world.brain.hear().0, world.brain.hear().0], [told.clone(), told]);
}

pub(crate) fn a_brain_that_closes_its_socket_is_replaced() {
    let mut world = World::serving();
    world.brain.launch("a", 1, "exec sleep 1000");
    let (pid, _) = world.brain.launched("a");
    let old = world.brain.pid;
    world.brain.link = packet::pair().expect("a pair").0;
    let table = world.next_brain();
    assert_eq!(table[0].0.pid, pid);
    assert!(!alive(old));
}

pub(crate) fn what_a_dead_brain_has_said_still_counts() {
    let mut world = World::serving();
    // The keeper is stopped while the brain speaks, reads nothing, and dies.
    world.brain.launch("a", 1, "exit 1");
    assert_eq!(world.brain.exit_of("a"), Exit::Code(1));
    world.brain.say(&[note("b", "unread")]);
    world.brain.is_heard();
    world.signal_keeper(Signal::SIGSTOP);
    patiently("it stops", || status_of(world.keeper_pid(), "State").starts_with('T').then_some(()));
    world.brain.say(&[ack("a", 1), note("a", "last words"), sh("a", 2, "exec sleep 1000")]);
    kill(Pid::from_raw(world.brain.pid), Signal::SIGKILL).expect("the brain lives");
    world.brain.link = packet::pair().expect("a pair").0;
    world.signal_keeper(Signal::SIGCONT);
    let table = world.next_brain();
    let slot = &table[0].0;
    assert_eq!((&*slot.note, slot.incarnation, &slot.exit), ("last words", 2, &None));
    assert!(alive(slot.pid));
}

pub(crate) fn farewell_ends_the_keeper_with_the_code() {
    let mut world = World::serving();
    world
        .brain
        .say(&[Request::Farewell { code: 5, then: Then::Exit }, sh("a", 1, "exec sleep 1000")]);
    world.brain.control.write_all(&[9]).expect("it lives");
    assert_eq!(world.ends(), Some(5));
}

pub(crate) fn only_the_first_process_of_a_machine_can_switch_it_off() {
    for (then, what) in
        [(Then::Poweroff, "switch the machine off"), (Then::Reboot, "start the machine again")]
    {
        let mut world = World::new();
        world.keeper.kill().expect("it lives");
        world.keeper.wait().expect("it is ours");
        let mut command = keeper_command(&world.dir);
        world.keeper = command.stderr(Stdio::piped()).spawn().expect("the keeper starts");
        world.brain = Brain::accept(&world.listener);
        world.brain.say(&[Request::Hello { version: VERSION }]);
        let machine = |it: Report, _: Vec<OwnedFd>| match it {
            Report::Welcome { machine, .. } => Some(machine),
            _ => None,
        };
        assert!(!world.brain.hear_until(machine));
        world.brain.say(&[Request::Serving, Request::Farewell { code: 4, then }]);
        world.brain.control.write_all(&[0]).expect("it lives");
        assert_eq!(world.ends(), Some(4));
        let mut said = String::new();
        world.keeper.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        assert!(
            said.contains(&format!("cannot {what}: only the machine's first process can")),
            "{said}"
        );
    }
}

pub(crate) fn farewell_kills_what_the_brain_forgot() {
    let mut world = World::serving();
    world.brain.launch("a", 1, "exec sleep 1000");
    let (pid, _) = world.brain.launched("a");
    world.brain.say(&[Request::Farewell { code: 0, then: Then::Exit }]);
    world.brain.control.write_all(&[0]).expect("it lives");
    assert_eq!(world.ends(), Some(0));
    assert!(!alive(pid));
}

pub(crate) fn a_first_brain_that_never_serves_ends_the_keeper() {
    let mut world = World::new();
    world.brain.greet();
    world.brain.control.write_all(&[3]).expect("it lives");
    assert_eq!(world.ends(), Some(3));
    // But not while a service runs.
    let mut world = World::new();
    world.brain.greet();
    world.brain.launch("a", 1, "exec sleep 1000");
    let (pid, _) = world.brain.launched("a");
    world.brain.control.write_all(&[3]).expect("it lives");
    assert_eq!(world.next_brain()[0].0.pid, pid);
}

pub(crate) fn a_brain_that_cannot_be_run_ends_the_keeper() {
    let mut command = keeper_command(&std::env::temp_dir().join("zinit-keeper-test-nowhere"));
    let output = command.arg("/no/such/brain").stderr(Stdio::piped()).output();
    let output = output.expect("the keeper starts");
    assert_eq!(output.status.code(), Some(127));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("cannot run `/no/such/brain`: exec: No such file"), "{said}");
}

pub(crate) fn a_keeper_that_is_asked_to_end_does_so_without_a_brain_that_can_begin() {
    let mut world = World::serving();
    world.brain.launch("a", 1, "trap 'exit 0' TERM; while :; do sleep 0.01; done");
    world.brain.launch("b", 1, "exec sleep 1000");
    let pids = [world.brain.launched("a").0, world.brain.launched("b").0];
    world.signal_keeper(Signal::SIGTERM);
    assert_eq!(
        world.brain.hear_until(|it, _| match it {
            Report::Signalled { signal } => Some(signal),
            _ => None,
        }),
        15
    );
    // Nobody takes the socket of any brain from here on.
    world.listener = UnixListener::bind(world.dir.join("other")).expect("a socket");
    kill(Pid::from_raw(world.brain.pid), Signal::SIGKILL).expect("the brain lives");
    assert_eq!(world.ends(), Some(128 + 15));
    assert!(!pids.iter().any(|it| alive(*it)), "{pids:?}");
}

pub(crate) fn a_keeper_that_ends_without_a_brain_can_be_told_to_hurry() {
    let mut world = World::serving();
    world.brain.launch("a", 1, "trap 'echo asked' TERM; echo ready; while :; do sleep 1; done");
    let (pid, pipes) = world.brain.launched("a");
    read_until(&pipes[0], "ready");
    world.listener = UnixListener::bind(world.dir.join("other")).expect("a socket");
    world.signal_keeper(Signal::SIGTERM);
    kill(Pid::from_raw(world.brain.pid), Signal::SIGKILL).expect("the brain lives");
    read_until(&pipes[0], "asked");
    let asked = Instant::now();
    world.signal_keeper(Signal::SIGTERM);
    assert_eq!(world.ends(), Some(128 + 15));
    assert!(asked.elapsed() < Duration::from_secs(4), "it has waited as long as without hurry");
    assert!(!alive(pid));
}

pub(crate) fn a_brain_that_fails_whenever_it_is_told_to_end_does_not_keep_the_keeper() {
    let mut world = World::serving();
    world.brain.launch("a", 1, "exec sleep 1000");
    let (pid, _) = world.brain.launched("a");
    world.signal_keeper(Signal::SIGTERM);
    for brain in 1..=3 {
        world.brain.hear_until(|it, _| matches!(it, Report::Signalled { .. }).then_some(()));
        world.brain.control.write_all(&[3]).expect("it lives");
        if brain < 3 {
            world.next_brain();
            world.brain.say(&[Request::Serving]);
        }
    }
    assert_eq!(world.ends(), Some(128 + 15));
    assert!(!alive(pid));
}

pub(crate) fn the_first_serving_makes_ready() {
    let mut world = World::new();
    world.keeper.kill().expect("it lives");
    world.keeper.wait().expect("it is ours");
    let mut command = keeper_command(&world.dir);
    world.keeper = command.stdout(Stdio::piped()).spawn().expect("the keeper starts");
    world.brain = Brain::accept(&world.listener);
    world.brain.greet();
    let mut stdout = world.keeper.stdout.take().expect("it is a pipe");
    world.brain.say(&[Request::Serving, Request::Serving]);
    let mut byte = [0];
    stdout.read_exact(&mut byte).expect("ready is told");
    assert_eq!(&byte, b"\n");
}

pub(crate) fn a_keeper_with_nothing_to_do_does_nothing() {
    let mut world = World::serving();
    world.brain.launch("a", 1, "exec sleep 1000");
    world.brain.started("a");
    let asleep = || status_of(world.keeper_pid(), "State").starts_with('S').then_some(());
    patiently("it sleeps", asleep);
    let switches = || status_of(world.keeper_pid(), "voluntary_ctxt_switches");
    // Longer than any alarm that it may have set; the first time for the end of its start.
    let mut link = [PollFd::new(world.brain.link.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut link, 300_u16), Ok(0), "it says something");
    let before = switches();
    assert_eq!(poll(&mut link, 300_u16), Ok(0), "it says something");
    assert_eq!(switches(), before);
}
