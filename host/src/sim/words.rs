//! The words of tests: what `fn test_NAME(sim)` says to its world. Each example evaluates to `true`
//! in a world of its own.

use std::cell::RefMut;

use rhai::plugin::exported_module;
use rhai::{Dynamic, Engine, Shared};

use super::room::{Room, Sim, SimService};
use super::values::{exit_of, milliseconds, parsed, refused};
use super::{Fault, World};
use super::{assertions, guests};
use crate::moment;
use crate::native::{Said, thrown};
use crate::refusal::{Refusal, nearest};
use crate::spec::KEYS;
use crate::state::Service;
use crate::view::Usage;
use crate::words::Word;

/// What a timeline may be long.
const STRING_BYTES_MAX: usize = 16 << 20;

/// Teaches an engine the words of tests.
pub(crate) fn teach(engine: &mut Engine) {
    engine.register_type_with_name::<Sim>("Sim");
    engine.register_type_with_name::<SimService>("SimService");
    engine.register_global_module(Shared::new(exported_module!(sim)));
    engine.register_global_module(Shared::new(exported_module!(guests::words)));
    engine.register_global_module(Shared::new(exported_module!(assertions::words)));
    engine.set_max_string_size(STRING_BYTES_MAX);
    for key in KEYS {
        let say = move |service: &mut SimService, value: Dynamic| -> Said<SimService> {
            service.sim.0.borrow_mut().say(&service.name, key.name, value)?;
            Ok(service.clone())
        };
        engine.register_fn(key.name, say);
    }
    for key in ["env", "labels", "limits", "policy"] {
        let say = move |service: &mut SimService, name: &str, value: Dynamic| -> Said<SimService> {
            let value =
                value.clone().try_cast::<rhai::FnPtr>().map_or(value, |it| it.fn_name().into());
            service.sim.0.borrow_mut().say_in(&service.name, key, name, value)?;
            Ok(service.clone())
        };
        engine.register_fn(key, say);
    }
}

/// Every word, with its documentation.
pub fn documented() -> Vec<Word> {
    let mut engine = Engine::new_raw();
    teach(&mut engine);
    let documented = |it: rhai::FuncInfo<'_>| {
        let doc = it.metadata.comments.iter().map(AsRef::as_ref);
        let doc = crate::words::text(doc);
        (!doc.is_empty()).then(|| Word {
            name: it.metadata.name.to_string(),
            of: None,
            params: crate::words::params(&it.metadata.params_info),
            returns: None,
            doc,
            module: "sim".to_owned(),
        })
    };
    let mut words: Vec<Word> = engine.collect_fn_metadata(None, documented, false);
    words.sort_by_key(Word::signature);
    words
}

/// The word that a test most likely meant.
pub(crate) fn nearest_word(name: &str) -> Option<String> {
    let words = documented();
    let keys = KEYS.iter().map(|it| it.name);
    nearest(name, words.iter().map(|it| it.name.as_str()).chain(keys)).map(str::to_owned)
}

/// Does something in the world, which was started by then.
pub(super) fn act(sim: &Sim, act: impl FnOnce(&mut World) -> Result<(), Refusal>) -> Said<Sim> {
    let mut room: RefMut<'_, Room> = sim.0.borrow_mut();
    act(room.world()?).map_err(thrown)?;
    room.limit()?;
    Ok(sim.clone())
}

/// Asks something of a service that there is.
fn look<T>(sim: &Sim, name: &str, look: impl FnOnce(&Service) -> T) -> Said<T> {
    let mut room = sim.0.borrow_mut();
    room.world()?.find(name).map(|it| look(it)).map_err(thrown)
}

/// Lets something go wrong, which needs no start.
fn inject(sim: &Sim, name: &str, fault: Fault) -> Said<Sim> {
    let name = parsed(name)?;
    let mut room = sim.0.borrow_mut();
    let before = if fault == Fault::Crash { room.world()? } else { room.world_or_before()? };
    before.inject(&name, fault).map_err(thrown)?;
    room.limit()?;
    Ok(sim.clone())
}

/// The words of `sim`.
#[rhai::plugin::export_module]
pub mod sim {
    use rhai::{Dynamic, Map, NativeCallContext};

    use super::*;
    use crate::desk::Command;

    /// Adds a service, whose program has its name, or goes on with one. What it answers has a method
    /// for each key of a service file. It starts with the first word that lets something happen, or
    /// looks at a service.
    ///
    /// ```rhai
    /// sim.service("web").after("db").restart("on-failure"); sim.state("web") == "Blocked"
    /// ```
    #[rhai_fn(name = "service", return_raw)]
    pub fn service(sim: &mut Sim, name: &str) -> Said<SimService> {
        let name = parsed(name)?;
        sim.0.borrow_mut().begin(&name, None)?;
        Ok(SimService { sim: sim.clone(), name })
    }

    /// As above, with the keys of a service file.
    ///
    /// ```rhai
    /// sim.service("job", #{ oneshot: true }); sim.exit("job", 0); sim.state("job") == "Success"
    /// ```
    #[rhai_fn(name = "service", return_raw)]
    pub fn service_of(sim: &mut Sim, name: &str, keys: Map) -> Said<SimService> {
        let name = parsed(name)?;
        sim.0.borrow_mut().begin(&name, Some(keys))?;
        Ok(SimService { sim: sim.clone(), name })
    }

    /// Adds all service files beside the policy.
    ///
    /// ```rhai
    /// sim.services(); sim.state("db") == "Spawned"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn services(sim: &mut Sim) -> Said<Sim> {
        sim.0.borrow_mut().load("")?;
        Ok(sim.clone())
    }

    /// Adds all service files of a directory; a path is meant from where the policy is.
    ///
    /// ```rhai
    /// sim.load("."); sim.state("db") == "Spawned"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn load(sim: &mut Sim, dir: &str) -> Said<Sim> {
        sim.0.borrow_mut().load(dir)?;
        Ok(sim.clone())
    }

    /// Lets time pass: milliseconds, or a text such as `"25h"`.
    ///
    /// ```rhai
    /// sim.service("db"); sim.advance(10_000).state("db") == "Running"
    /// sim.advance("1m").now() == 60_000
    /// ```
    #[rhai_fn(return_raw)]
    pub fn advance(sim: &mut Sim, time: Dynamic) -> Said<Sim> {
        let ms = milliseconds(&time)?;
        act(sim, |world| {
            world.run_until(world.now().saturating_add(ms));
            Ok(())
        })
    }

    /// The process of a service ends: with a code, by a signal, or nobody knows how.
    ///
    /// ```rhai
    /// sim.service("db"); sim.exit("db", 1).state("db") == "Backoff"
    /// sim.service("db"); sim.exit("db", "SIGSEGV").restarts("db") == 0
    /// sim.service("db"); sim.exit("db", "unknown").is_up("db") == false
    /// ```
    #[rhai_fn(return_raw)]
    pub fn exit(sim: &mut Sim, name: &str, how: Dynamic) -> Said<Sim> {
        let (name, exit) = (parsed(name)?, exit_of(&how)?);
        act(sim, |world| world.find(name.as_str()).map(drop).and_then(|()| world.end(&name, exit)))
    }

    /// Somebody starts a service.
    ///
    /// ```rhai
    /// sim.service("db").status("stop"); sim.start("db").state("db") == "Spawned"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn start(sim: &mut Sim, name: &str) -> Said<Sim> {
        let names = vec![parsed(name)?];
        let command = Command::Start { names, deps: true };
        act(sim, |world| world.ask(&format!("start {name}"), command).map(drop))
    }

    /// Somebody stops it.
    ///
    /// ```rhai
    /// sim.service("db"); sim.stop("db").state("db") == "Stopped"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn stop(sim: &mut Sim, name: &str) -> Said<Sim> {
        let command = Command::Stop(vec![parsed(name)?]);
        act(sim, |world| world.ask(&format!("stop {name}"), command).map(drop))
    }

    /// Somebody restarts it.
    ///
    /// ```rhai
    /// sim.service("db"); let pid = sim.pid("db"); sim.restart("db").pid("db") != pid
    /// ```
    #[rhai_fn(return_raw)]
    pub fn restart(sim: &mut Sim, name: &str) -> Said<Sim> {
        let command = Command::Restart(vec![parsed(name)?]);
        act(sim, |world| world.ask(&format!("restart {name}"), command).map(drop))
    }

    /// Somebody deletes it.
    ///
    /// ```rhai
    /// sim.service("db"); sim.delete("db").timeline().contains("db is forgotten")
    /// ```
    #[rhai_fn(return_raw)]
    pub fn delete(sim: &mut Sim, name: &str) -> Said<Sim> {
        let command = Command::Delete(vec![parsed(name)?]);
        act(sim, |world| world.ask(&format!("delete {name}"), command).map(drop))
    }

    /// All that was said of services is taken over as `zinit reload` takes over files.
    ///
    /// ```rhai
    /// sim.service("db"); sim.advance(1000); sim.service("db").exec("new"); sim.reload(); sim.timeline().contains("1000 reload")
    /// ```
    #[rhai_fn(return_raw)]
    pub fn reload(sim: &mut Sim) -> Said<Sim> {
        sim.0.borrow_mut().reload()?;
        Ok(sim.clone())
    }

    /// The state of a service, as `zinit list` shows it.
    ///
    /// ```rhai
    /// sim.service("db"); sim.state("db") == "Spawned"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn state(sim: &mut Sim, name: &str) -> Said<String> {
        look(sim, name, |it| it.standing.state.word().to_owned())
    }

    /// Why it is in that state.
    ///
    /// ```rhai
    /// sim.service("db").status("stop"); sim.reason("db") == "it was not started"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn reason(sim: &mut Sim, name: &str) -> Said<String> {
        look(sim, name, |it| it.standing.why.to_string())
    }

    /// How often it was started again after an end that nobody asked for. Whoever was taken along by
    /// another service is not counted; `zinit simulate` counts each launch but the first.
    ///
    /// ```rhai
    /// sim.service("db"); sim.exit("db", 1).advance("1m").restarts("db") == 1
    /// ```
    #[rhai_fn(return_raw)]
    pub fn restarts(sim: &mut Sim, name: &str) -> Said<i64> {
        look(sim, name, |it| it.standing.restarts)
    }

    /// How many attempts in a row were short-lived.
    ///
    /// ```rhai
    /// sim.service("db"); sim.exit("db", 1).attempts("db") == 1
    /// ```
    #[rhai_fn(return_raw)]
    pub fn attempts(sim: &mut Sim, name: &str) -> Said<i64> {
        look(sim, name, |it| it.standing.attempts)
    }

    /// The process id, or `()` when no process of it lives.
    ///
    /// ```rhai
    /// sim.service("db"); sim.pid("db") == 101
    /// sim.service("db").status("stop"); sim.pid("db") == ()
    /// ```
    #[rhai_fn(return_raw)]
    pub fn pid(sim: &mut Sim, name: &str) -> Said<Dynamic> {
        let name = look(sim, name, |it| it.name.clone())?;
        Ok(sim.0.borrow().world.pid(&name).map_or(Dynamic::UNIT, |it| i64::from(it).into()))
    }

    /// Whether it runs and is taken to be up, or is a oneshot that is done.
    ///
    /// ```rhai
    /// sim.service("db"); sim.advance("1m").is_up("db")
    /// ```
    #[rhai_fn(return_raw)]
    pub fn is_up(sim: &mut Sim, name: &str) -> Said<bool> {
        use crate::state::State;
        look(sim, name, |it| matches!(it.standing.state, State::Running | State::Success))
    }

    /// Milliseconds since the beginning.
    ///
    /// ```rhai
    /// sim.advance("10s").now() == 10_000
    /// ```
    pub fn now(sim: &mut Sim) -> i64 {
        sim.0.borrow().world.now()
    }

    /// Sets the wall clock, in local time; it goes on from there.
    ///
    /// ```rhai
    /// sim.at("2026-03-01 02:30").advance("1h").clock() == "2026-03-01 03:30:00"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn at(sim: &mut Sim, time: &str) -> Said<Sim> {
        const NANOS_PER_MS: i64 = 1_000_000;
        let second = if time.matches(':').count() == 1 { ":00" } else { "" };
        let at = moment::parse(&format!("{time}{second}Z"), 0);
        let at = at.ok().filter(|_| time.get(4..5) == Some("-")).ok_or_else(|| {
            refused(format!("`{time}` is no time of a day"), "for example \"2026-03-01 02:30\"")
        })?;
        sim.0.borrow_mut().world.set_wall(at / NANOS_PER_MS);
        Ok(sim.clone())
    }

    /// What the wall clock shows.
    ///
    /// ```rhai
    /// sim.clock() == "1970-01-01 00:00:00"
    /// ```
    pub fn clock(sim: &mut Sim) -> String {
        const NANOS_PER_MS: i64 = 1_000_000;
        let at = sim.0.borrow().world.wall().unix_ms.saturating_mul(NANOS_PER_MS);
        moment::text(at).replace('T', " ").chars().take("0000-00-00 00:00:00".len()).collect()
    }

    /// What a service uses from now on: bytes of memory, and CPU time in percent of one CPU.
    ///
    /// ```rhai
    /// sim.service("db"); sim.usage("db", 500_000_000, 20).state("db") == "Spawned"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn usage(sim: &mut Sim, name: &str, memory: i64, cpu: i64) -> Said<Sim> {
        let name = look(sim, name, |it| it.name.clone())?;
        sim.0.borrow_mut().world.set_usage(&name, Usage { memory, cpu, tasks: 1 });
        Ok(sim.clone())
    }

    /// Somebody else listens on its port from now on, or nobody.
    ///
    /// ```rhai
    /// sim.service("db"); sim.port_taken("db", true).state("db") == "Spawned"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn port_taken(sim: &mut Sim, name: &str, taken: bool) -> Said<Sim> {
        let name = look(sim, name, |it| it.name.clone())?;
        sim.0.borrow_mut().world.set_port_taken(&name, taken);
        Ok(sim.clone())
    }

    /// The processes of a service that start from now on end by themselves with code 0, so long after.
    ///
    /// ```rhai
    /// sim.service("job").oneshot(true); sim.runs_for("job", "5s").advance("6s").state("job") == "Success"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn runs_for(sim: &mut Sim, name: &str, time: Dynamic) -> Said<Sim> {
        let (name, ms) = (parsed(name)?, milliseconds(&time)?);
        let mut room = sim.0.borrow_mut();
        let world = room.world_or_before()?;
        world.run_for(&name, Some(ms));
        drop(room);
        Ok(sim.clone())
    }

    /// Its process says that it is ready. One that has to say so does at once, unless it is slow.
    ///
    /// ```rhai
    /// sim.service("db").notify(true); sim.slow_start("db", "1h").ready("db").state("db") == "Running"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn ready(sim: &mut Sim, name: &str) -> Said<Sim> {
        let name = parsed(name)?;
        act(sim, |world| world.say_ready(&name))
    }

    /// Its process crashes, by `SIGSEGV`.
    ///
    /// ```rhai
    /// sim.service("db"); sim.crash("db").state("db") == "Backoff"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn crash(sim: &mut Sim, name: &str) -> Said<Sim> {
        inject(sim, name, Fault::Crash)
    }

    /// It hangs from now on: it is deaf to its stop signal, gives no sign of life, and its checks time
    /// out.
    ///
    /// ```rhai
    /// sim.service("db"); sim.hang("db").stop("db").state("db") == "Stopping"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn hang(sim: &mut Sim, name: &str) -> Said<Sim> {
        inject(sim, name, Fault::Hang)
    }

    /// Each start of it takes so long from now on: only then is it ready, and do its checks hold.
    ///
    /// ```rhai
    /// sim.service("db").notify(true); sim.slow_start("db", "5s").advance("4s").state("db") == "Spawned"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn slow_start(sim: &mut Sim, name: &str, time: Dynamic) -> Said<Sim> {
        inject(sim, name, Fault::SlowStart(milliseconds(&time)?))
    }

    /// Its program is not there from the next start on.
    ///
    /// ```rhai
    /// sim.service("db"); sim.exec_failure("db").is_up("db") == false
    /// ```
    #[rhai_fn(return_raw)]
    pub fn exec_failure(sim: &mut Sim, name: &str) -> Said<Sim> {
        inject(sim, name, Fault::ExecFailure)
    }

    /// Its checks fail and hold in turns, each for so long; they fail first.
    ///
    /// ```rhai
    /// sim.service("db").health(#{ tcp: "db:1" }); sim.flap("db", "1m").advance("30s").is_up("db") == false
    /// ```
    #[rhai_fn(return_raw)]
    pub fn flap(sim: &mut Sim, name: &str, period: Dynamic) -> Said<Sim> {
        inject(sim, name, Fault::Flap(milliseconds(&period)?.max(1)))
    }

    /// For so long it ends 20 ms after each start, with code 1. Until then its checks fail, and it does
    /// not say that it is ready.
    ///
    /// ```rhai
    /// sim.service("db"); sim.advance(5000).outage("db", "10m").advance("5m").is_up("db") == false
    /// ```
    #[rhai_fn(return_raw)]
    pub fn outage(sim: &mut Sim, name: &str, time: Dynamic) -> Said<Sim> {
        inject(sim, name, Fault::Outage(milliseconds(&time)?))
    }

    /// Nothing is wrong with it any more.
    ///
    /// ```rhai
    /// sim.service("db"); sim.hang("db").heal("db").stop("db").state("db") == "Stopped"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn heal(sim: &mut Sim, name: &str) -> Said<Sim> {
        inject(sim, name, Fault::Heal)
    }

    /// All that was told so far, line by line.
    ///
    /// ```rhai
    /// sim.service("db"); sim.advance(0).timeline().starts_with("0 boot\n  launch db\n")
    /// ```
    #[rhai_fn(return_raw)]
    pub fn timeline(sim: &mut Sim) -> Said<String> {
        let mut room = sim.0.borrow_mut();
        room.world()?;
        Ok(room.timeline().to_owned())
    }

    /// What was told since the last `expect` is this text, whatever its indentation. A text in
    /// backticks is written by `zinit test --update`.
    ///
    /// ```rhai
    /// sim.service("db").status("stop"); sim.expect("0 boot"); true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn expect(ctx: NativeCallContext<'_>, sim: &mut Sim, text: &str) -> Said<Sim> {
        let mut room = sim.0.borrow_mut();
        room.world()?;
        room.expect(&ctx, text)?;
        drop(room);
        Ok(sim.clone())
    }
}
