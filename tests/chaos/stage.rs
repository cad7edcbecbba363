//! A server with its services, what is done to it, and what must hold at the end.

#![expect(clippy::disallowed_methods, reason = "it runs programs and looks at the time")]

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter, Write as _};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zinit_host::board::Status;
use zinit_tests::daemon::Home;

use crate::dice::Dice;
use crate::lines;
use crate::plan::{Step, Victim};
use crate::procs::{self, Pinned};
use crate::record::{self, Absence, Excuses, Record};
use crate::watch::{Heard, Watch, now_ms};

/// How long a server may take to be there again.
const PATIENCE: Duration = Duration::from_secs(15);

/// How late a step may be.
const LATENESS: Duration = Duration::from_secs(60);

/// So many services of a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cast {
    /// What they do, as `service.rs` tells.
    pub(crate) role: &'static str,
    /// How many.
    pub(crate) count: usize,
    /// The least and the most of the times that they take, in milliseconds.
    pub(crate) times_ms: (u64, u64),
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Kills of the brain, the keeper, and both.
    pub(crate) kills: [usize; 3],
    asks: usize,
    lives: usize,
    exits: record::Tally,
    lines: lines::Tally,
    worst_gap_ms: u64,
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ([brains, keepers, both], exits, lines) = (self.kills, self.exits, self.lines);
        write!(f, "{brains} brains, {keepers} keepers and {both} times both killed, ")?;
        write!(
            f,
            "{} restarts or stops, {} lives; exits: {} known, ",
            self.asks, self.lives, exits.known
        )?;
        write!(
            f,
            "{} unknown, {} unheard; lines: {} found, ",
            exits.unknown, exits.unheard, lines.found
        )?;
        write!(f, "{} dropped; no answer for at most {} ms", lines.counted, self.worst_gap_ms)
    }
}

/// A server, until it is dropped; then nothing of it is left, whatever has happened.
pub(crate) struct Stage {
    /// Where it lives.
    pub(crate) home: Home,
    seed: u64,
    names: Vec<String>,
    steps: Vec<Step>,
    bystanders: Vec<Child>,
    watch: Option<Watch>,
    figures: Figures,
    /// When there was no keeper.
    keeperless: Vec<Absence>,
    /// When there was neither keeper nor brain.
    headless: Vec<Absence>,
    /// What must not have happened.
    pub(crate) faults: Vec<String>,
}

impl Stage {
    /// A server that is to run these services, whose names it returns by the way.
    pub(crate) fn new(seed: u64, cast: &[Cast]) -> Self {
        let home = Home::new();
        for dir in ["records", "locks", "kin"] {
            fs::create_dir_all(home.root.join(dir)).expect("the home is writable");
        }
        home.write("cfg/zinit/policy.rhai", "fn restart_delay(service, attempt) { 20 }\n");
        let mut stage = Self {
            home,
            seed,
            names: Vec::new(),
            steps: Vec::new(),
            bystanders: Vec::new(),
            watch: None,
            figures: Figures::default(),
            keeperless: Vec::new(),
            headless: Vec::new(),
            faults: Vec::new(),
        };
        for group in cast {
            for number in 0..group.count {
                stage.add(group, &format!("{}-{number:03}", group.role));
            }
        }
        stage
    }

    fn add(&mut self, group: &Cast, name: &str) {
        let Cast { role, times_ms: (least, most), .. } = group;
        let (program, dir) = (env!("CARGO_BIN_EXE_chaos-service"), self.home.root.display());
        let log = match *role {
            "write" => "{ mode: file, rotate_size: 64KiB, keep: 100000 }",
            "crash" => "none",
            _ => "ring",
        };
        let yaml = format!(
            "exec: {program} {role} {dir} {name} {} {least} {most}\noneshot: {}\nlog: {log}\n",
            self.seed,
            *role == "once",
        );
        self.home.write(&format!("cfg/zinit/{name}.yaml"), &yaml);
        self.names.push(name.to_owned());
    }

    /// The services that may be restarted.
    pub(crate) fn lasting(&self) -> Vec<String> {
        self.names.iter().filter(|it| !it.starts_with("once")).cloned().collect()
    }

    /// Runs what a service runs once more, as no server may.
    pub(crate) fn run_a_second(&self, name: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos-service"));
        let status = command.arg("sleep").arg(&self.home.root).arg(name).status();
        assert!(!status.expect("it runs").success(), "it ends at once");
    }

    /// Starts the server, and those who are to be left alone.
    pub(crate) fn begin(&mut self) {
        for own_session in [0, 1] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_chaos-service"));
            command.arg("stand").arg(&self.home.root).arg("bystanders");
            self.bystanders.push(command.arg(own_session.to_string()).spawn().expect("it runs"));
        }
        let started = self.home.run("zinit-server", ["-bg"]);
        assert!(started.status.success(), "no server: {}", self.home.server_log());
        self.watch = Some(Watch::new(&self.home.socket()));
        let names = self.names.clone();
        self.home
            .until("all have begun", || names.iter().all(|it| !self.record(it).lives.is_empty()));
    }

    /// Does all this to the server.
    pub(crate) fn play(&mut self, steps: &[Step]) {
        self.steps = steps.to_vec();
        let begin = Instant::now();
        for step in steps {
            pause(Duration::from_millis(step.at_ms).saturating_sub(begin.elapsed()));
            self.take(step);
            if begin.elapsed() > Duration::from_millis(step.at_ms) + LATENESS {
                self.faults.push(format!("plan: far too late after {step}"));
                return;
            }
        }
    }

    fn take(&mut self, step: &Step) {
        let asking = step.ask.as_ref().map(|(verb, name)| self.ask(verb, name));
        if step.ask.is_some() && step.kill.is_some() {
            pause(Duration::from_millis(step.wait_ms));
        }
        if let Some(victim) = step.kill {
            let since_ms = now_ms();
            self.kill(victim);
            if let Some(again_ms) = step.again_ms {
                pause(Duration::from_millis(again_ms));
                self.kill(victim);
            }
            self.revive(step, victim);
            let absence = (since_ms, now_ms());
            self.figures.worst_gap_ms = self.figures.worst_gap_ms.max(absence.1 - absence.0);
            if victim != Victim::Brain {
                self.keeperless.push(absence);
            }
            if victim == Victim::Both {
                self.headless.push(absence);
            }
        }
        if let (Some(child), Some((verb, name))) = (asking, &step.ask) {
            self.answered(child, verb, name);
        }
    }

    /// Has `zinit` ask for something, and does not wait for it.
    fn ask(&mut self, verb: &str, name: &str) -> Child {
        self.figures.asks += 1;
        self.note("asked", verb, name);
        let mut zinit = self.home.command("zinit");
        zinit.args([verb, name]).stdout(Stdio::null()).stderr(Stdio::null());
        zinit.spawn().expect("our programs run")
    }

    /// Waits for the answer, which the death of a server may have cost, and has the service run.
    fn answered(&mut self, mut child: Child, verb: &str, name: &str) {
        let mut status = None;
        self.until("an answer", || {
            status = child.try_wait().expect("it is our child");
            status.is_some()
        });
        if status.is_some_and(|it| it.success()) {
            self.note("answered", verb, name);
        }
        if verb == "stop" {
            let run = || self.home.run("zinit", ["start", name]).status.success();
            self.until("it is started again", run);
        }
    }

    fn note(&self, word: &str, verb: &str, name: &str) {
        let path = self.home.root.join("records").join(name);
        let mut file =
            OpenOptions::new().append(true).create(true).open(path).expect("it is writable");
        let line = format!("{word} {} 0 {verb}\n", now_ms());
        file.write_all(line.as_bytes()).expect("it is writable");
    }

    /// Kills whoever is there now.
    fn kill(&mut self, victim: Victim) {
        let root = &self.home.root;
        let brains = || procs::named(root, "zinit-server");
        let keepers = || procs::named(root, "zinit-keeper");
        let victims: Vec<Pinned> = match victim {
            Victim::Brain => brains(),
            Victim::Keeper => keepers(),
            Victim::Both => keepers().into_iter().chain(brains()).collect(),
        };
        victims.iter().for_each(Pinned::kill);
        for it in victims {
            assert!(it.is_gone_within(10_000), "{} does not die", it.pid);
        }
        self.figures.kills[victim as usize] += 1;
    }

    /// Waits until a server answers. It is started only where nobody is left to do that.
    fn revive(&self, step: &Step, victim: Victim) {
        let may_all_be_dead = match victim {
            Victim::Brain => false,
            // Whoever was about to take the place may have been killed as well.
            Victim::Keeper => step.again_ms.is_some(),
            Victim::Both => true,
        };
        if may_all_be_dead && step.ask.is_none() {
            pause(Duration::from_millis(step.wait_ms));
        }
        self.until("a server answers", || {
            if may_all_be_dead && self.servers() == [0, 0] {
                // One that has come to life meanwhile is as good; else it is tried again.
                let _ = self.home.run("zinit-server", ["-bg"]);
            }
            self.answering().is_some()
        });
        self.until("there are one brain and one keeper", || self.servers() == [1, 1]);
        // The one that answered may be the keeper by now, and its brain not have begun: who kills that
        // keeper kills both.
        let brain = || procs::named(&self.home.root, "zinit-server").first().map(|it| it.pid);
        self.until("that brain answers", || self.answering().is_some_and(|it| brain() == Some(it)));
    }

    /// The process that answers, if one does.
    fn answering(&self) -> Option<i32> {
        let mut client = self.home.client_if_any()?;
        let pong = client.call_within("system.ping", serde_json::json!([]), PATIENCE).ok()?;
        i32::try_from(pong["pid"].as_i64()?).ok()
    }

    /// How many keepers and brains there are.
    fn servers(&self) -> [usize; 2] {
        ["zinit-keeper", "zinit-server"].map(|it| procs::named(&self.home.root, it).len())
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !holds() {
            let log = || self.home.server_log();
            assert!(begin.elapsed() < PATIENCE, "never: {what}\nthe server said: {}", log());
            pause(Duration::from_millis(2));
        }
    }

    fn record(&self, name: &str) -> Record {
        let text = fs::read_to_string(self.home.root.join("records").join(name));
        Record::read(name, &text.unwrap_or_default())
    }

    /// Ends everything, and fails if anything is wrong.
    pub(crate) fn end(mut self, what: &str) {
        self.look();
        println!("{what}, seed {}: {}", self.seed, self.figures);
        assert!(self.faults.is_empty(), "{}", self.story());
    }

    /// Ends everything, and looks at all that was left.
    pub(crate) fn look(&mut self) {
        let begin = Instant::now();
        while !self.strange().is_empty() && begin.elapsed() < PATIENCE {
            pause(Duration::from_millis(20));
        }
        let strange = self.strange();
        self.check_kin();
        let until_ms = now_ms();
        // What has ended just now is told soon.
        let last_ms = until_ms - 1000;
        let mut heard = self.watch.take().expect("somebody listens").end();
        let excuses = Excuses {
            deaf: std::mem::take(&mut heard.deaf),
            keeperless: self.keeperless.clone(),
            headless: self.headless.clone(),
            until_ms: last_ms,
        };
        self.names.iter().for_each(|it| self.note("asked", "shutdown", it));
        self.home.zinit(["server", "stop"]);
        self.check_nothing_is_left();
        self.check_bystanders();
        self.check_records(&heard, &excuses);
        self.check_hearing();
        self.faults.extend(strange);
    }

    /// What is not as it should be when nothing happens: services that are not up, or of which the
    /// server believes something else than they do.
    fn strange(&self) -> Vec<String> {
        let all = self.home.ask("service.status_all", serde_json::json!([]));
        let all: Vec<Status> = serde_json::from_value(all).expect("statuses");
        let is_fine = |it: &Status| {
            let name = it.name.as_str();
            let living = self.record(name).living().map(|it| it.pid);
            match name.split('-').next() {
                Some("crash") => true,
                Some("once") => it.state == "Success" && living.is_none(),
                _ => it.state == "Running" && living == Some(it.pid),
            }
        };
        assert_eq!(all.len(), self.names.len(), "all services are known");
        all.iter()
            .filter(|it| !is_fine(it))
            .map(|it| format!("{}: never right: {it:?}", it.name))
            .collect()
    }

    /// The children of what lives live as well.
    fn check_kin(&mut self) {
        for name in self.names.iter().filter(|it| it.starts_with("fork")) {
            let Some(life) = self.record(name).living().cloned() else { continue };
            let path = self.home.root.join("kin").join(name);
            let text = fs::read_to_string(path).unwrap_or_default();
            let living = Record::read(name, &text.replace(" \n", " 1\n"));
            let of_this_life = living.lives.iter().filter(|it| it.at_ms >= life.at_ms);
            let alive = of_this_life.filter(|it| procs::is_marked(it.pid, &self.home.root)).count();
            if alive != 2 {
                self.faults.push(format!("{name}: {alive} of the 2 children of {} live", life.pid));
            }
        }
    }

    fn check_nothing_is_left(&mut self) {
        let root = self.home.root.clone();
        let services: Vec<i32> = procs::marked(&root)
            .into_iter()
            .filter(|it| procs::comm(*it) == "chaos-service")
            .collect();
        if !services.is_empty() {
            self.faults.push(format!("{services:?} are left when the server has stopped"));
        }
        // The keeper ends a moment after its last service.
        let begin = Instant::now();
        while !procs::marked(&root).is_empty() {
            if begin.elapsed() > PATIENCE {
                let left: Vec<String> = procs::marked(&root).into_iter().map(procs::comm).collect();
                return self.faults.push(format!("processes are left: {left:?}"));
            }
            pause(Duration::from_millis(2));
        }
    }

    /// Those who have nothing to do with all this were not sent anything.
    fn check_bystanders(&mut self) {
        for child in &mut self.bystanders {
            if let Some(status) = child.try_wait().expect("it is our child") {
                self.faults.push(format!("a bystander has ended: {status}"));
            }
        }
        let text = fs::read_to_string(self.home.root.join("bystanders")).expect("they stand by");
        let begun = text.lines().filter(|it| it.starts_with("start")).count();
        if begun != self.bystanders.len() || text.lines().count() != begun {
            self.faults.push(format!("bystanders: {text}"));
        }
    }

    fn check_records(&mut self, heard: &Heard, excuses: &Excuses) {
        for name in self.names.clone() {
            let record = self.record(&name);
            self.figures.lives += record.lives.len();
            self.faults.extend(record.faults.iter().cloned());
            if name.starts_with("once") && record.lives.len() != 1 {
                self.faults.push(format!("{name}: it was run {} times", record.lives.len()));
            }
            let seen = heard.seen.get(&name).map_or(&[][..], |it| it);
            let was_asked = record.asked > 1;
            let is_its = |pid: i32| pid == 0 || record.lives.iter().any(|it| it.pid == pid);
            if let Some(it) = seen.iter().find(|it| !was_asked && !is_its(it.pid)) {
                self.faults.push(format!("{name}: no process of it was ever this one: {it:?}"));
            }
            let (exits, faults) = record::exits(&name, &record, seen, excuses);
            self.figures.exits.add(exits);
            self.faults.extend(faults);
            if name.starts_with("write") {
                self.check_lines(&name, &record, &excuses.cut(&record));
            }
        }
    }

    /// Whoever excuses too much looks at nothing.
    fn check_hearing(&mut self) {
        let record::Tally { known, unknown, unheard } = self.figures.exits;
        if unheard * 10 > known + unknown {
            self.faults.push(format!("{unheard} exits were not heard, and {known} were"));
        }
    }

    fn check_lines(&mut self, name: &str, record: &Record, cut: &BTreeSet<u64>) {
        let lines = lines::lines_in(&self.home.root.join("var/zinit/logs").join(name));
        let (tally, faults) = lines::check(name, &lines, &record.lines(), cut);
        self.figures.lines.found += tally.found;
        self.figures.lines.counted += tally.counted;
        self.faults.extend(faults);
    }

    /// What was wrong, and how to do it again.
    fn story(&self) -> String {
        let mut story = format!("{} faults:\n", self.faults.len());
        let add = |story: &mut String, line: String| {
            writeln!(story, "{line}").expect("a string takes it");
        };
        self.faults.iter().take(30).for_each(|it| add(&mut story, it.clone()));
        let named = self.faults.first().and_then(|it| it.split(": ").next()).unwrap_or_default();
        let record = fs::read_to_string(self.home.root.join("records").join(named));
        let record = record.unwrap_or_default();
        let skipped = record.lines().count().saturating_sub(100);
        add(&mut story, format!("the last of what {named} has written down:"));
        record.lines().skip(skipped).for_each(|it| add(&mut story, it.to_owned()));
        add(&mut story, format!("the server said: {}", self.home.server_log()));
        add(&mut story, format!("ZINIT_CHAOS_SEED={} ZINIT_CHAOS_PLAN='", self.seed));
        self.steps.iter().for_each(|it| add(&mut story, it.to_string()));
        story + "'"
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() && self.watch.is_some() {
            eprintln!("{}", self.story());
        }
        for child in &mut self.bystanders {
            // It may be gone, which is told elsewhere.
            let _ = child.kill();
            let _ = child.wait();
        }
        procs::kill_marked(&self.home.root);
        // Nobody is left to be asked to stop.
        let _ = fs::remove_file(self.home.root.join("var/zinit/lock"));
    }
}

/// Waits for so long: what is tested here is what happens at any moment.
pub(crate) fn pause(limit: Duration) {
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}

/// The seed of a run: what the environment says, else another one each time.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("ZINIT_CHAOS_SEED").ok();
    let new = || Dice::new(now_ms() ^ u64::from(std::process::id())).between(1, 1_000_000);
    given.map_or_else(new, |it| it.parse().expect("ZINIT_CHAOS_SEED is a number"))
}
