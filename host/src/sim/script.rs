//! Timelines as text: services with their manners, and what happens when.

use std::sync::Arc;

use crate::address::Address;
use crate::desk::{Command, Reload};
use crate::ending::Asker;
use crate::name::ServiceName;
use crate::spec::{Health, Log, LogMode, Mode, Readiness, Restart, Spec, Xinit};
use crate::view::Usage;
use nix::sys::signal::Signal;
use zinit_keeper::wire::{Exit, Then};

use super::faults::{Fault, Manner};
use super::machine::{Sign, Simulated};

/// Something the timeline says.
#[derive(Clone, Debug)]
pub(super) enum Line {
    Boot,
    Crash,
    Watch,
    End,
    Ask(String, Command),
    /// A signal that asks for the end.
    Signal(String, Asker),
    Exit(ServiceName, Exit),
    /// It ends, and the brain with it.
    Unseen(ServiceName, Exit),
    /// Its checks hold from now on, fail, or hang.
    Health(ServiceName, String),
    /// This is what it uses from now on.
    Uses(ServiceName, Usage),
    /// Somebody asks it something, and it does not answer.
    Asks(ServiceName),
    /// Somebody connects to it.
    Connects(ServiceName),
    /// Nobody has used it for a minute, with so many clients connected.
    FallsIdle(ServiceName, i64),
    /// Somebody else has its port from now on, or nobody.
    Port(ServiceName, bool),
    /// The process says that it is ready, or alive; a check that hangs ends; a command has ended.
    Says(ServiceName, String),
    /// What this process of it does by itself, if it lives still.
    Sign(ServiceName, u64, Sign),
    /// Something goes wrong with it.
    Fault(ServiceName, Fault),
}

/// The machine that a timeline is about, with all that is to happen on it.
pub(super) fn parse(timeline: &str) -> Simulated {
    let mut machine = Simulated::new();
    for line in timeline.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0].parse::<i64>() {
            Ok(at) => {
                let line = machine.line(&words[1..]);
                machine.plan(at, line);
            }
            Err(_) if words[0] == "on_machine" => machine.on_machine = true,
            Err(_) => machine.define(words[0], &words[1..]),
        }
    }
    machine
}

pub(super) fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).expect("timelines use proper names")
}

impl Simulated {
    fn define(&mut self, service: &str, options: &[&str]) {
        let (spec, manner) = spec_of(options);
        self.specs.insert(name(service), spec);
        self.manners.insert(name(service), manner);
    }

    fn line(&mut self, words: &[&str]) -> Line {
        let text = words.join(" ");
        let ask = |command| Line::Ask(text.clone(), command);
        match words {
            ["boot"] => Line::Boot,
            ["crash"] => Line::Crash,
            ["watch"] => Line::Watch,
            ["end"] => Line::End,
            ["up", it] => ask(Command::Start { names: vec![name(it)], deps: true }),
            ["down", it] => ask(Command::Stop(vec![name(it)])),
            ["restart", it] => ask(Command::Restart(vec![name(it)])),
            ["delete", it] => ask(Command::Delete(vec![name(it)])),
            ["start_all"] => ask(Command::StartAll),
            ["stop_all"] => ask(Command::StopAll),
            ["delete_all"] => ask(Command::DeleteAll),
            ["shutdown"] => ask(Command::Shutdown(Then::Exit)),
            ["reboot"] => ask(Command::Shutdown(Then::Reboot)),
            ["sigterm", "server"] => Line::Signal(text, Asker::Signal),
            ["sigterm", "keeper"] => Line::Signal(text, Asker::Keeper),
            ["define", it, options @ ..] => {
                let (spec, manner) = spec_of(options);
                self.manners.entry(name(it)).or_insert(manner);
                ask(Command::Define(name(it), Box::new(spec)))
            }
            ["exit", it, how] => Line::Exit(name(it), exit_of(how)),
            ["unseen", it, how] => Line::Unseen(name(it), exit_of(how)),
            ["health", it, how] => Line::Health(name(it), (*how).to_owned()),
            ["ready" | "stale" | "ping" | "checked", it] => {
                Line::Says(name(it), words[0].to_owned())
            }
            ["uses", it, memory, cpu] => {
                let number = |it: &str| it.parse().expect("a number");
                Line::Uses(name(it), Usage { memory: number(memory), cpu: number(cpu), tasks: 1 })
            }
            ["ask", it] => Line::Asks(name(it)),
            ["connect", it] => Line::Connects(name(it)),
            ["idle", it, connections] => {
                Line::FallsIdle(name(it), connections.parse().expect("a number"))
            }
            ["port", it, how] => Line::Port(name(it), *how == "taken"),
            ["ran", it, code] => Line::Says(name(it), (*code).to_owned()),
            ["reload", ..] | ["plan", ..] => {
                ask(Command::Reload(self.reload(words[0] == "plan", &words[1..])))
            }
            [word, it] if Fault::of_word(word, None).is_some() => fault(it, word, None),
            [word, it, ms] if ms.parse::<i64>().is_ok() => fault(it, word, ms.parse().ok()),
            _ => panic!("a timeline has no line `{text}`"),
        }
    }

    /// The files of a reload: one `NAME,OPTION,...` for each word.
    fn reload(&mut self, dry_run: bool, files: &[&str]) -> Reload {
        let read = |file: &&str| {
            let mut words = file.split('/');
            let (spec, manner) = spec_of(&words.by_ref().skip(1).collect::<Vec<_>>());
            let file = name(file.split('/').next().unwrap_or_default());
            self.manners.entry(file.clone()).or_insert(manner);
            (file, spec)
        };
        Reload { files: files.iter().map(read).collect(), only: None, dry_run }
    }
}

fn fault(service: &str, word: &str, ms: Option<i64>) -> Line {
    let fault = Fault::of_word(word, ms);
    Line::Fault(name(service), fault.unwrap_or_else(|| panic!("a timeline has no fault `{word}`")))
}

pub(super) fn exit_of(how: &str) -> Exit {
    if how == "unknown" {
        return Exit::Unknown;
    }
    match how.parse() {
        Ok(code) => Exit::Code(code),
        Err(_) => {
            let signal: Signal = how.parse().expect("an exit is a code or a signal");
            Exit::Signal { signal: signal as i32, core: false }
        }
    }
}

pub(super) fn spec_of(options: &[&str]) -> (Spec, Manner) {
    let mut spec = Spec::of_exec("program");
    let mut manner = Manner::default();
    for option in options {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let number = || value.parse().expect("a number");
        match key {
            "after" => spec.after = value.split(',').map(name).collect(),
            "oneshot" => spec.oneshot = true,
            "essential" => spec.essential = true,
            "grace_ms" => spec.shutdown_timeout_ms = number(),
            "delay_ms" => spec.restart_delay_ms = Some(number()),
            "exec" => value.clone_into(&mut spec.exec),
            "status" => {
                spec.status = match value {
                    "stop" => crate::spec::Status::Stop,
                    "ignore" => crate::spec::Status::Ignore,
                    _ => crate::spec::Status::Start,
                }
            }
            "requires" => spec.requires = value.split(',').map(name).collect(),
            "wants" => spec.wants = value.split(',').map(name).collect(),
            "log_to" => spec.log_to = Some(name(value)),
            "log" => {
                let modes = [LogMode::None, LogMode::Ring, LogMode::File, LogMode::Stdout];
                let mode = modes.into_iter().find(|it| it.word() == value).expect("a kind of log");
                spec.log = Arc::new(Log { mode, ..Log::default() });
            }
            "log_dir" => {
                let (mode, dir) = (LogMode::File, format!("/{value}"));
                spec.log = Arc::new(Log { mode, dir, ..Log::default() });
            }
            "before" => spec.before = value.split(',').map(name).collect(),
            "conflicts" => spec.conflicts = value.split(',').map(name).collect(),
            "xinit" => {
                let at = |it: &str| Address::parse(it).expect("an address");
                spec.xinit = Some(Box::new(Xinit {
                    enabled: true,
                    listen: vec![at(value)],
                    backend: Some(at("127.0.0.1:9")),
                    mode: if value.starts_with('/') { Mode::Pass } else { Mode::Proxy },
                    ..Xinit::default()
                }));
            }
            "target" => spec.exec = String::new(),
            "max" => spec.max_restarts = number(),
            "restart" => {
                spec.restart = match value {
                    "never" => Restart::Never,
                    "on-failure" => Restart::OnFailure,
                    _ => Restart::Always,
                }
            }
            "notify" => spec.readiness = Readiness::Notify,
            "start_ms" => spec.start_timeout_ms = number(),
            "watchdog_ms" => spec.watchdog_ms = number(),
            "stop_cmd" => value.clone_into(&mut spec.stop_cmd),
            "give_up" => value.clone_into(&mut spec.on_give_up),
            "check" | "kills" => {
                let (test_tcp, tcp_kill) = (vec!["db:1".to_owned()], key == "kills");
                let period_ms = value.parse().unwrap_or(10_000);
                let health = Health { test_tcp, tcp_kill, period_ms, ..Health::default() };
                spec.health = Arc::new(health);
            }
            "lively" => manner.lively = true,
            "groups" => spec.groups = value.split(',').map(str::to_owned).collect(),
            "policy" => {
                spec.policy.insert("*".to_owned(), value.to_owned());
            }
            label if label.starts_with("label:") => {
                spec.labels.insert(label["label:".len()..].to_owned(), value.to_owned());
            }
            hook if hook.starts_with("policy:") => {
                spec.policy.insert(hook["policy:".len()..].to_owned(), value.to_owned());
            }
            "port_taken" => manner.port_taken = true,
            "litter" => manner.litter = true,
            "ill" => manner.ill = true,
            "hangs" => manner.hangs = true,
            "needs" => manner.needs = Some(name(value)),
            "deaf" => manner.deaf = true,
            "stuck" => manner.stuck = true,
            "mute" => manner.mute = true,
            "lost" => manner.lost = true,
            _ => panic!("a service has no option `{key}`"),
        }
    }
    (spec, manner)
}
