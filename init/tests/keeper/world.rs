//! A keeper and its brain, as the tests play it.

use crate::*;

/// A keeper and, in the role of its brain, the test.
pub(crate) struct World {
    pub(crate) keeper: Child,
    pub(crate) listener: UnixListener,
    pub(crate) dir: PathBuf,
    pub(crate) brain: Brain,
}

/// One brain: the stub process, and the socket that the test has from it.
pub(crate) struct Brain {
    pub(crate) control: UnixStream,
    pub(crate) link: OwnedFd,
    pub(crate) pid: i32,
    /// Where the keeper says that the services' cgroups are.
    pub(crate) cgroup: String,
    /// What the keeper has told it that is held.
    pub(crate) held: Vec<(String, String, Vec<OwnedFd>)>,
    /// Reports that were received and not looked at yet, each with the descriptors that came with it.
    pub(crate) heard: VecDeque<(Report, Vec<OwnedFd>)>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(env: &[(&str, &str)]) -> Self {
        Self::of(|dir| {
            let mut command = keeper_command(dir);
            command.envs(env.iter().copied());
            command
        })
    }

    /// A keeper that is started so in its directory.
    pub(crate) fn of(command: impl Fn(&Path) -> Command) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zinit-keeper-test-{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        let listener = UnixListener::bind(dir.join("sock")).expect("a socket");
        let keeper = command(&dir).spawn().expect("the keeper starts");
        let brain = Brain::accept(&listener);
        Self { keeper, listener, dir, brain }
    }

    /// A keeper whose first brain has said `Hello` and serves.
    pub(crate) fn serving() -> Self {
        Self::new().served()
    }

    /// The same with a variable in its environment.
    pub(crate) fn serving_with(variable: (&str, &str)) -> Self {
        Self::with(&[variable]).served()
    }

    pub(crate) fn served(mut self) -> Self {
        self.brain.greet();
        self.brain.say(&[Request::Serving]);
        self
    }

    /// Ends the brain like `kill -9`, and is the next one.
    pub(crate) fn replace_brain(&mut self) -> Vec<(Slot, Vec<OwnedFd>)> {
        kill(Pid::from_raw(self.brain.pid), Signal::SIGKILL).expect("the brain lives");
        self.next_brain()
    }

    pub(crate) fn next_brain(&mut self) -> Vec<(Slot, Vec<OwnedFd>)> {
        self.brain = Brain::accept(&self.listener);
        self.brain.greet()
    }

    pub(crate) fn keeper_pid(&self) -> i32 {
        self.keeper.id() as i32
    }

    pub(crate) fn signal_keeper(&self, signal: Signal) {
        kill(Pid::from_raw(self.keeper_pid()), signal).expect("the keeper lives");
    }

    /// The exit status of the keeper, which ends by itself.
    pub(crate) fn ends(&mut self) -> Option<i32> {
        patiently("the keeper ends", || self.keeper.try_wait().expect("it is ours")).code()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let lives = |keeper: &mut Child| keeper.try_wait().is_ok_and(|it| it.is_none());
        if lives(&mut self.keeper) {
            self.brain.say_if_possible(&[Request::Farewell { code: 0, then: Then::Exit }]);
            let _ = self.brain.control.write_all(&[0]);
            let end = Instant::now() + PATIENCE;
            while lives(&mut self.keeper) && Instant::now() < end {
                std::thread::park_timeout(Duration::from_millis(2));
            }
            let _ = self.keeper.kill();
            let _ = self.keeper.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Brain {
    pub(crate) fn accept(listener: &UnixListener) -> Self {
        await_input(listener.as_fd(), "a brain connects");
        let (control, _) = listener.accept().expect("the brain connects");
        await_input(control.as_fd(), "a brain hands its socket over");
        let mut fds = Vec::new();
        let got = packet::receive(control.as_fd(), &mut [0; 8], &mut fds).expect("a message");
        assert_eq!((got, fds.len()), (Heard::Packet(1), 1));
        let pid = getsockopt(&control, PeerCredentials).expect("credentials").pid();
        let (link, cgroup) = (fds.remove(0), String::new());
        Self { control, link, pid, cgroup, held: Vec::new(), heard: VecDeque::new() }
    }

    /// Says `Hello` and takes the table.
    pub(crate) fn greet(&mut self) -> Vec<(Slot, Vec<OwnedFd>)> {
        self.greet_as(VERSION)
    }

    /// The same as a brain of this version.
    pub(crate) fn greet_as(&mut self, version: u32) -> Vec<(Slot, Vec<OwnedFd>)> {
        self.say(&[Request::Hello { version }]);
        self.take_table()
    }

    /// Takes what answers `Hello`.
    pub(crate) fn take_table(&mut self) -> Vec<(Slot, Vec<OwnedFd>)> {
        let (slots, held, cgroup) = self.hear_until(|report, _| match report {
            Report::Welcome { version: VERSION, slots, held, cgroup, .. } => {
                Some((slots, held, cgroup))
            }
            _ => None,
        });
        self.cgroup = cgroup;
        let table = (0..slots).map(|_| match self.hear() {
            (Report::Slot(slot), pipes) => (slot, pipes),
            (other, _) => panic!("no slot but {other:?}"),
        });
        let table = table.collect();
        let held = (0..held).map(|_| match self.hear() {
            (Report::Held { key, note, count }, fds) => {
                assert_eq!(fds.len(), count);
                (key, note, fds)
            }
            (other, _) => panic!("nothing that is held but {other:?}"),
        });
        self.held = held.collect();
        table
    }

    pub(crate) fn say(&mut self, group: &[Request]) {
        assert!(self.say_if_possible(group), "the keeper takes a packet");
    }

    pub(crate) fn say_if_possible(&mut self, group: &[Request]) -> bool {
        let lines = group.iter().map(|it| serde_json::to_string(it).expect("JSON") + "\n");
        self.say_raw(lines.collect::<String>().as_bytes())
    }

    pub(crate) fn say_with(&mut self, group: &[Request], fds: &[BorrowedFd<'_>]) {
        let lines = group.iter().map(|it| serde_json::to_string(it).expect("JSON") + "\n");
        assert!(self.send(lines.collect::<String>().as_bytes(), fds), "the keeper takes a packet");
    }

    /// Sends the process of the brain a code, with descriptors.
    pub(crate) fn hand_over(&mut self, code: u8, fds: &[BorrowedFd<'_>]) {
        assert!(packet::send(self.control.as_fd(), &[code], fds).expect("it lives"));
    }

    pub(crate) fn say_raw(&mut self, bytes: &[u8]) -> bool {
        self.send(bytes, &[])
    }

    fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        loop {
            match packet::send(self.link.as_fd(), bytes, fds) {
                Ok(true) => return true,
                Ok(false) => await_event(self.link.as_fd(), PollFlags::POLLOUT, "there is room"),
                Err(_) => return false,
            }
        }
    }

    /// The next report, and the pipes that came with it.
    pub(crate) fn hear(&mut self) -> (Report, Vec<OwnedFd>) {
        let mut buffer = vec![0; PACKET_MAX];
        let mut fds = Vec::new();
        while self.heard.is_empty() {
            await_input(self.link.as_fd(), "the keeper reports");
            match packet::receive(self.link.as_fd(), &mut buffer, &mut fds).expect("a packet") {
                Heard::Packet(length) => self.take(&buffer[..length], &mut fds),
                Heard::Nothing => {}
                other => panic!("the keeper is not well: {other:?}"),
            }
        }
        self.heard.pop_front().expect("something was heard")
    }

    pub(crate) fn take(&mut self, bytes: &[u8], fds: &mut Vec<OwnedFd>) {
        for line in bytes.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
            let report: Report = serde_json::from_slice(line).expect("a report");
            let (pipes, ready, pidfd) = match &report {
                Report::Launched { pipes, ready, pidfd, .. } => (*pipes, *ready, *pidfd),
                Report::Slot(slot) => (slot.pipes, slot.ready, slot.pidfd),
                _ => (false, false, false),
            };
            let held = if let Report::Held { count, .. } = report { count } else { 0 };
            let count = if pipes { 2 } else { held } + usize::from(ready);
            self.heard.push_back((report, fds.drain(..count).collect()));
            fds.drain(..usize::from(pidfd));
        }
        assert!(fds.is_empty(), "nobody owns {} descriptors", fds.len());
    }

    /// Skips reports until one is what `wanted` makes something of.
    pub(crate) fn hear_until<T>(
        &mut self,
        mut wanted: impl FnMut(Report, Vec<OwnedFd>) -> Option<T>,
    ) -> T {
        loop {
            let (report, pipes) = self.hear();
            if let Some(found) = wanted(report, pipes) {
                return found;
            }
        }
    }

    pub(crate) fn launch(&mut self, service: &str, incarnation: u64, script: &str) {
        self.say(&[sh(service, incarnation, script)]);
    }

    pub(crate) fn launched(&mut self, name: &str) -> (i32, Vec<OwnedFd>) {
        self.hear_until(|report, pipes| match report {
            Report::Launched { service, pid, .. } if service == name => Some((pid, pipes)),
            _ => None,
        })
    }

    pub(crate) fn started(&mut self, name: &str) {
        self.hear_until(|report, _| match report {
            Report::Started { service, .. } if service == name => Some(()),
            Report::Exited { service, exit, .. } if service == name => panic!("exited: {exit:?}"),
            _ => None,
        });
    }

    pub(crate) fn exit_of(&mut self, name: &str) -> Exit {
        self.hear_until(|report, _| match report {
            Report::Exited { service, exit, .. } if service == name => Some(exit),
            _ => None,
        })
    }

    pub(crate) fn refusal_of(&mut self, name: &str) -> String {
        self.hear_until(|report, _| match report {
            Report::Refused { service, why, .. } if service == name => Some(why),
            _ => None,
        })
    }

    /// Runs a script to its end, and acknowledges that.
    pub(crate) fn run(&mut self, service: &str, incarnation: u64, script: &str) -> Exit {
        self.launch(service, incarnation, script);
        let exit = self.exit_of(service);
        self.say(&[ack(service, incarnation)]);
        exit
    }

    /// Proof that the keeper has handled everything that was said, and is well.
    pub(crate) fn is_heard(&mut self) {
        self.say(&[forget("probe"), argv("probe", 1, &["/bin/true"], "/")]);
        assert_eq!(self.exit_of("probe"), Exit::Code(0));
        self.say(&[ack("probe", 1)]);
    }
}
