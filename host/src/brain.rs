//! The brain: the process that decides. It takes the keeper's table, makes the services known, and
//! supervises on one thread while another serves clients and a third drains output.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::sync::{Notify, watch};
use zinit_keeper::wire::Slot;

use crate::board::Board;
use crate::chronicle::Chronicle;
use crate::core::{Core, Survivor, starts_by_itself};
use crate::desk::Desk;
use crate::event::Tick;
use crate::home::Home;
use crate::journal;
use crate::keeper::KeeperLink;
use crate::logs::Logs;
use crate::machine::ending::Begun;
use crate::machine::{Parts, RealMachine, complain, complain_of, say};
use crate::name::ServiceName;
use crate::note::Note;
use crate::policy::Policy;
use crate::policy::told::{Refused, vet};
use crate::probe::{Prober, Teller};
use crate::refusal::{Kind, Refusal};
use crate::relay::{Faces, Relay};
use crate::rpc::office::Office;
use crate::rpc::server::{Doors, serve, tcp_address};
use crate::spec::Spec;
use crate::state::{Standing, Target};
use crate::store::Store;
use crate::supervise::{self, Machine, Outcome};
use crate::{updates, watch as files};

/// The interpreter needs this for the call depth that it allows.
const CORE_STACK: usize = 16 * 1024 * 1024;

/// How long clients wait for what earlier servers have told.
const REFILL_LIMIT: Duration = Duration::from_secs(1);

/// Where a brain works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The paths.
    pub home: Home,
    /// A TCP port or address to serve as well.
    pub port: Option<String>,
    /// The program that looks for updates, to be run as a service.
    pub updates: Option<String>,
    /// Whether the policy is reloaded whenever one of its files is written.
    pub watch: bool,
    /// Whether somebody watches the terminal.
    pub in_foreground: bool,
}

/// Supervises until it is told to stop or to hand over.
///
/// # Errors
/// When it cannot begin: no keeper, no socket, no thread.
pub fn run(settings: Settings) -> Result<Outcome, Refusal> {
    // The process list shows what it is, whichever file it is in. A nameless one works as well.
    let _ = nix::sys::prctl::set_name(c"zinit-server");
    let signals = take_signals()?;
    let keeper = KeeperLink::from_env()?;
    let mut doors = Doors::open(&settings.home.socket)?;
    if let Some(port) = &settings.port {
        let address = tcp_address(port)?;
        doors = doors.and_tcp(address, &settings.home.state_dir.join("token"))?;
    }
    let board = Arc::new(Board::default());
    let (desk, inbox, bell) = Desk::new().map_err(|error| cannot_begin(&error.into()))?;
    let (tell, news) = mpsc::channel();
    let teller = Teller::new(tell, Arc::clone(&bell));
    let logs = Logs::start(&settings.home.state_dir.join("logs"), teller.clone());
    let logs = logs.map_err(|error| cannot_begin(&error))?;
    let (stop, stopped) = watch::channel(false);
    let store = Store::new(&settings.home.config_dir);
    let chronicle = Arc::new(Chronicle::new());
    let state_dir = settings.home.state_dir.clone();
    let (journal, refilled) = journal::begin(&state_dir, Arc::clone(&chronicle));
    let (shown, told) = (Arc::clone(&board), Arc::clone(&chronicle));
    let faces = Faces::default();
    let office = Office::new(shown, desk, logs.clone(), store.clone(), told, faces, stopped);
    let (known, are_known) = mpsc::channel();
    let bell_of_files = Arc::new(Notify::new());
    let (hangup, refused) = (Arc::clone(&bell_of_files), Arc::clone(&office.refused));
    let relay = Relay::new(teller.clone(), office.faces.clone());
    let program = settings.updates;
    let begin = move || {
        let prober = Prober::new(teller);
        let parts = Parts {
            keeper,
            inbox,
            bell,
            signals,
            board,
            chronicle,
            journal,
            logs,
            prober,
            relay,
            news,
            known,
            hangup,
        };
        let (machine, program) = (RealMachine::new(parts), program.as_deref());
        let outcome = supervise(machine, &store, &state_dir, &refused, program);
        if matches!(outcome, Ok(Outcome::Ended)) {
            stop.send_replace(true);
        }
        // The clients' thread ends when this sender is gone.
        drop(stop);
        outcome
    };
    let core = thread::Builder::new().name("core".to_owned()).stack_size(CORE_STACK);
    let core = core.spawn(begin).map_err(|error| cannot_begin(&error))?;
    // Clients that come before the services are known wait at the door.
    let begun = are_known.recv().is_ok();
    // Those who come back ask for what they have missed. A disk that is stuck has nothing for them.
    let _ = refilled.recv_timeout(REFILL_LIMIT);
    if begun && settings.in_foreground {
        let socket = settings.home.socket.display();
        let text = format!("Zinit server running. Press Ctrl+C to stop.\nSocket: {socket}\n");
        say(io::stdout(), &text);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| cannot_begin(&error))?;
    if begun {
        let watched = settings.watch.then(|| settings.home.config_dir.clone());
        runtime.block_on(async {
            tokio::spawn(files::on_hangup(Arc::clone(&office), bell_of_files));
            if let Some(dir) = watched {
                tokio::spawn(files::on_change(Arc::clone(&office), dir));
            }
            serve(office, doors).await
        })?;
    }
    let outcome = core.join().map_err(|_| {
        Refusal::new(Kind::Internal, "the core has panicked; the keeper starts a new brain")
    })?;
    outcome.map_err(|error| cannot_begin(&error))
}

fn cannot_begin(error: &io::Error) -> Refusal {
    Refusal::new(Kind::Internal, format!("cannot begin: {error}"))
}

/// Signals come as descriptors that are polled, to the core's thread alone.
fn take_signals() -> Result<SignalFd, Refusal> {
    let mask: SigSet =
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1].into_iter().collect();
    mask.thread_block().map_err(|error| cannot_begin(&error.into()))?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|error| cannot_begin(&error.into()))
}

/// The life of the core's thread.
fn supervise(
    mut machine: RealMachine,
    store: &Store,
    state_dir: &Path,
    refused: &Mutex<Option<Refused>>,
    updates: Option<&str>,
) -> io::Result<Outcome> {
    let loaded = store.load();
    for problem in &loaded.problems {
        complain_of(problem);
    }
    let mut core = Core::new(Policy::bundled());
    core.seed(RandomState::new().hash_one("chance"));
    core.set_wall(machine.wall());
    for (name, spec) in &loaded.specs {
        machine.set_log(name, spec);
    }
    let (slots, begun) = match machine.greet() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Outcome::Orphaned),
        Err(error) => return Err(error),
    };
    let kept = if slots.is_empty() { None } else { keep_policy(&mut core, store, state_dir) };
    let problems = kept.unwrap_or_else(|| load_policy(&mut core, store, state_dir));
    if !problems.is_empty() {
        let at_ms = machine.wall().unix_ms;
        *refused.lock().expect("nobody panics with it") = Some(Refused { at_ms, problems });
    }
    if machine.keeper_is_init() {
        core.set_init();
    }
    if machine.keeper_is_machines() {
        core.set_machine();
    }
    let mut found = merge(store, loaded.specs, slots);
    match begun {
        Begun::Supervising => {}
        Begun::Ending(ending) => core.set_ending(ending),
        Begun::Killed => want_again(machine.now(), &mut found),
    }
    updates::settle(&mut found, updates);
    complain_of_strangers(&core, &found);
    let specs: Vec<_> = found.iter().map(|(name, spec, _)| (name.clone(), spec.clone())).collect();
    core.boot(machine.now(), found);
    let (proxies, problems) = store.load_proxies(&specs);
    problems.iter().for_each(complain_of);
    for proxy in proxies {
        core.let_in_by(proxy).err().iter().for_each(complain_of);
    }
    machine.keep_doors(|it| store.proxy_path(it).exists());
    let outcome = supervise::run(&mut core, &mut machine);
    match outcome {
        Outcome::HandedOver => machine.retire(),
        Outcome::Ended => machine.close_doors(),
        // This process becomes the next keeper: what it has open for its clients is to stay open.
        Outcome::Orphaned => std::mem::forget(machine),
    }
    Ok(outcome)
}

/// Lets the policy go on that another server has begun to decide by: what has been edited since counts
/// when it is reloaded, as with services. `None` when nothing has been edited, and else what is wrong
/// with what the files say now.
fn keep_policy(core: &mut Core, store: &Store, state_dir: &Path) -> Option<Vec<Refusal>> {
    let before = journal::last_policy(state_dir)?;
    let (files, mut problems) = store.policy_files();
    if (files == before && problems.is_empty()) || core.load_policy(&before).is_err() {
        return None;
    }
    complain("the policy goes on that was in force; `zinit reload` takes over what its files say");
    problems.extend(Policy::of(&files).err().unwrap_or_default());
    problems.iter().for_each(complain_of);
    Some(problems)
}

/// Lets the user's files decide if they are fine, and says why they are not. Then the policy stays that
/// was in force before.
fn load_policy(core: &mut Core, store: &Store, state_dir: &Path) -> Vec<Refusal> {
    let (files, mut problems) = store.policy_files();
    if problems.is_empty() && !files.is_empty() {
        problems = vet_new(&files, journal::last_policy(state_dir));
    }
    if problems.is_empty() {
        problems = core.load_policy(&files).err().unwrap_or_default();
    }
    if problems.is_empty() {
        return problems;
    }
    let before = journal::last_policy(state_dir).filter(|it| !it.is_empty());
    let stays = before.is_some_and(|it| core.load_policy(&it).is_ok());
    let decides = if stays { "the one that was in force" } else { "the bundled one" };
    complain(&format!("the policy is refused, {decides} decides:"));
    problems.iter().for_each(complain_of);
    if !stays {
        core.load_policy(&[]).expect("the bundled policy has no faults, and names nothing");
    }
    problems
}

/// The tests of files that were in force before have passed then: they need not delay supervision.
fn vet_new(files: &Files, before: Option<Files>) -> Vec<Refusal> {
    if before.is_some_and(|it| it == *files) { Vec::new() } else { vet(files) }
}

/// What a service names that is not there is not asked: the policy decides as about all others.
fn complain_of_strangers(core: &Core, found: &[Found]) {
    let policy = core.policy();
    for (name, spec, _) in found {
        if let Err(refusal) = policy.vet(spec) {
            complain(&format!("`{name}`: {refusal}; the policy decides as about all others"));
        }
    }
}

/// What the files say, and what the keeper knows of the same services.
///
/// A service that the keeper knows goes on with the configuration that it was given, whatever has
/// become of its file: a changed one counts when it is reloaded, a broken one is a complaint. Only a
/// service whose file is gone is brought down and forgotten.
fn merge(store: &Store, specs: Vec<(ServiceName, Spec)>, slots: Vec<Slot>) -> Vec<Found> {
    let mut files: BTreeMap<ServiceName, Spec> = specs.into_iter().collect();
    let mut merged = Vec::new();
    for slot in slots {
        let Ok(name) = ServiceName::parse(&slot.service) else { continue };
        let note = Note::read(&slot.note);
        let file = files.remove(&name);
        let spec = note.as_ref().and_then(|it| it.spec(&slot.config)).or(file.clone());
        let mut survivor = survivor(slot, note.as_ref());
        let kept = spec.as_ref().is_some_and(|it| it.transient)
            || file.is_some()
            || store.path(&name).exists();
        let spec = spec.filter(|_| kept).unwrap_or_else(|| {
            complain(&format!("`{name}` has no file any more: it is stopped and forgotten"));
            survivor.standing.leaving = true;
            survivor.standing.target = Target::Down;
            Spec::of_exec("true")
        });
        merged.push((name, spec, Some(survivor)));
    }
    merged.extend(files.into_iter().map(|(name, spec)| (name, spec, None)));
    merged.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    merged
}

/// An end of everything was begun and killed: what is wanted now is what the files say. Who is down
/// begins anew, and who is being stopped is started again after that.
fn want_again(now: Tick, found: &mut [Found]) {
    for (_, spec, survivor) in found {
        let Some(standing) = survivor.as_mut().map(|it| &mut it.standing) else { continue };
        if standing.leaving {
            continue;
        }
        let target = if starts_by_itself(spec) { Target::Up } else { Target::Down };
        if standing.process.is_some() {
            (standing.target, standing.held) = (target, None);
        } else {
            let incarnation = standing.incarnation;
            *standing = Standing { incarnation, ..Standing::new(now, target) };
        }
    }
}

/// What a policy is made of: the files, each with its text.
type Files = Vec<(PathBuf, String)>;

/// A service, its configuration, and what the keeper knows of it.
type Found = (ServiceName, Spec, Option<Survivor>);

/// Where a service stood. A slot whose note nobody can read says at least what runs.
fn survivor(slot: Slot, note: Option<&Note>) -> Survivor {
    let Slot { incarnation, pid, started, died, exit, .. } = slot;
    let mut standing =
        note.map_or_else(|| Standing::found(incarnation, pid), |it| it.standing.clone());
    if pid != 0 && standing.process.is_none() {
        // The note is older than the process.
        let target = standing.target;
        standing = Standing { target, ..Standing::found(incarnation, pid) };
    }
    Survivor { standing, incarnation, pid, started, died, exit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_force_before_is_not_tested_again() {
        let files = vec![(PathBuf::from("policy.rhai"), "fn test_it() { false }".to_owned())];
        assert_eq!(vet_new(&files, Some(files.clone())), []);
        let other = vec![(PathBuf::from("policy.rhai"), "fn test_it() { true }".to_owned())];
        assert_eq!(vet_new(&files, Some(other)).len(), 1);
        assert_eq!(vet_new(&files, None).len(), 1);
    }
}
