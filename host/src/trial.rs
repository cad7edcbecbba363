//! Runs the tests of a policy: each `fn test_NAME()` on its own, each `fn test_NAME(sim)` in a world of
//! its own that the policy under test decides about.
//!
//! A test fails when it answers `false`, or throws, or when the policy fails in its world so that a
//! bundled function decides: a test that passes for that reason shows nothing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rhai::Dynamic;

use crate::clock;
use crate::engine::on_deep_stack;
use crate::policy::{Exam, Policy, TEST_PREFIX, Test};
use crate::refusal::{Kind, Refusal};
use crate::sim::{self, Sim, Update, World};

/// What tests may use up.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Ticks of the interpreter, for each test.
    pub ticks: u64,
    /// CPU time, for each test.
    pub cpu: Duration,
    /// CPU time, for all of them; what does not come to run fails.
    pub total_cpu: Duration,
    /// Events in the world of each test.
    pub events: u64,
    /// Whether they are what a server gives, which is less than what somebody has who waits.
    pub of_server: bool,
    /// Only tests with this in their names are run.
    pub filter: String,
    /// Only tests of files below this are run; of all when it is empty.
    pub below: PathBuf,
    /// Expected texts are not compared; those that differ are returned.
    pub update: bool,
}

impl Limits {
    /// For somebody who waits for the result.
    pub fn of_command() -> Self {
        Self {
            ticks: 100_000_000,
            cpu: Duration::from_secs(20),
            total_cpu: Duration::from_secs(3_600),
            events: 5_000_000,
            of_server: false,
            filter: String::new(),
            below: PathBuf::new(),
            update: false,
        }
    }

    /// For a server that is about to load a policy, and supervises nothing meanwhile. What happens
    /// is counted first, so that it is the same on every machine; the CPU time is a second net.
    pub fn of_server() -> Self {
        let second = Duration::from_secs(1);
        Self {
            ticks: 5_000_000,
            cpu: second,
            total_cpu: second,
            events: 100_000,
            of_server: true,
            ..Self::of_command()
        }
    }

    fn chooses(&self, test: &Test) -> bool {
        test.name.contains(&self.filter) && test.path().starts_with(&self.below)
    }
}

/// How a test went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its name, with `test_`.
    pub name: String,
    /// The file that it stands in.
    pub path: PathBuf,
    /// The line on which it begins.
    pub line: usize,
    /// Whether it passed, and why not, with the facts `path` and `line`.
    pub result: Result<(), Refusal>,
    /// How much CPU time it took.
    pub took_cpu: Duration,
    /// How many events there were in its world.
    pub took_events: u64,
    /// How much time passed there.
    pub virtual_ms: i64,
    /// What differs from the expected text; or, of a test that failed otherwise, what was last told.
    pub output: String,
    /// The texts that are to be written into its file.
    pub updates: Vec<Update>,
}

/// Runs the tests of policy files, and of modules beside them that the policy does not consist of.
///
/// ```
/// use zinit_host::trial::{Limits, run};
/// let text = "fn restart_delay(service, attempt) { 500 }
///     fn test_delay() { restart_delay(sample(), 3) == 500 }
///     fn test_world(sim) { sim.service(\"db\"); sim.exit(\"db\", 1); sim.state(\"db\") == \"Failed\" }";
/// let files = [("policy.rhai".into(), text.to_owned())];
/// let outcomes = run(&files, &[], &Limits::of_command()).expect("the policy compiles");
/// assert!(outcomes[0].result.is_ok() && outcomes[1].result.is_err());
/// ```
///
/// # Errors
/// Every fault that keeps the files from being a policy.
pub fn run(
    policy: &[(PathBuf, String)],
    others: &[(PathBuf, String)],
    limits: &Limits,
) -> Result<Vec<Outcome>, Vec<Refusal>> {
    let all = || {
        let exam = Exam::of(policy, others, sim::teach)?;
        let tests = exam.tests();
        let chosen = tests.iter().filter(|it| limits.chooses(it));
        let begun = clock::thread_cpu_us();
        let each = chosen.map(|test| {
            let left = limits.total_cpu.saturating_sub(cpu_since(begun));
            one(&exam, policy, test, limits, left.min(limits.cpu))
        });
        Ok(each.collect())
    };
    let panicked = |_| Err(vec![Refusal::new(Kind::Internal, "running the tests has panicked")]);
    on_deep_stack(all).unwrap_or_else(panicked)
}

/// The CPU time that this thread has used since then.
fn cpu_since(begun_us: i64) -> Duration {
    Duration::from_micros((clock::thread_cpu_us() - begun_us).unsigned_abs())
}

/// What keeps a server from running these tests, though they pass here.
pub fn beyond_server<'a>(outcomes: impl Iterator<Item = &'a Outcome> + Clone) -> Option<String> {
    let limits = Limits::of_server();
    let took: Duration = outcomes.clone().map(|it| it.took_cpu).sum();
    let many = outcomes.clone().find(|it| it.took_events > limits.events);
    let what = match many {
        Some(it) => format!("`{}` has {} events", it.name, it.took_events),
        None if took > limits.total_cpu => format!("these took {} ms", took.as_millis()),
        None => return None,
    };
    Some(format!("{}, and {what}, so it would refuse this policy; {FEWER}", given(&limits)))
}

/// What to do when tests take too much for a server.
const FEWER: &str = "let fewer hours pass, or move a test into a file of its own beside \
    `policy.rhai`, which only `zinit test` runs";

/// What a server gives, as a sentence that goes on.
fn given(limits: &Limits) -> String {
    let (total, events) = (limits.total_cpu.as_secs(), limits.events);
    format!(
        "a server gives the tests of a policy {total} s of CPU time in all, and each {events} events"
    )
}

/// Whether a policy may be loaded: it is one, and its tests hold.
///
/// # Errors
/// Every fault of the files; if there is none, every test that failed.
pub fn vet(files: &[(PathBuf, String)]) -> Result<(), Vec<Refusal>> {
    if !files.iter().any(|(_, text)| text.contains(TEST_PREFIX)) {
        return Policy::of(files).map(drop);
    }
    let failed = run(files, &[], &Limits::of_server())?.into_iter().filter_map(in_file);
    let failed: Vec<Refusal> = failed.collect();
    if failed.is_empty() { Ok(()) } else { Err(failed) }
}

/// The refusal of a file whose test failed.
fn in_file(outcome: Outcome) -> Option<Refusal> {
    let mut refusal = outcome.result.err()?;
    let line = refusal.data.get("line").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let path = outcome.path.display();
    refusal.message = format!("{path}:{line}: `{}` failed: {}", outcome.name, refusal.message);
    Some(refusal)
}

/// Where the service files are that a file of a policy stands beside.
pub(crate) fn config_dir(path: &Path) -> &Path {
    let dir = path.parent().unwrap_or(Path::new(""));
    if dir.ends_with("policy") { dir.parent().unwrap_or(dir) } else { dir }
}

fn one(
    exam: &Exam,
    policy: &[(PathBuf, String)],
    test: &Test,
    limits: &Limits,
    cpu: Duration,
) -> Outcome {
    let mut outcome = Outcome {
        name: test.name.clone(),
        path: test.path().to_owned(),
        line: test.line,
        result: Ok(()),
        took_cpu: Duration::ZERO,
        took_events: 0,
        virtual_ms: 0,
        output: String::new(),
        updates: Vec::new(),
    };
    let cpu_us = i64::try_from(cpu.as_micros()).unwrap_or(i64::MAX);
    if cpu_us == 0 {
        let used_up = refused("the tests before it used up all the CPU time");
        outcome.result = Err(located(explained(used_up, limits), test));
        return outcome;
    }
    let begun = clock::thread_cpu_us();
    let sim = test.takes_world.then(|| world(policy, test, limits, cpu_us));
    let args = sim.iter().map(|it| Dynamic::from(it.clone())).collect();
    let said = exam.run(test, args, limits.ticks, cpu_us);
    outcome.took_cpu = cpu_since(begun);
    let judged = said.and_then(|said| judge(&said, sim.as_ref()));
    let is_exhausted = sim.as_ref().is_some_and(Sim::is_exhausted);
    let judged = judged.map_err(|it| {
        if is_exhausted || it.kind == Kind::TimedOut { explained(it, limits) } else { it }
    });
    outcome.result = judged.map_err(|it| located(it, test));
    if let Some(sim) = sim {
        (outcome.took_events, outcome.virtual_ms) = sim.took();
        outcome.updates = sim.take_updates();
        if outcome.result.is_err() {
            outcome.output = sim.take_difference().unwrap_or_else(|| sim.tail());
        }
    }
    outcome
}

fn world(policy: &[(PathBuf, String)], test: &Test, limits: &Limits, cpu_us: i64) -> Sim {
    let mut world = World::new(policy.to_vec()).expect("the same policy was made for the tests");
    world.limit_events(limits.events);
    world.limit_cpu(cpu_us);
    Sim::new(world, config_dir(test.path()), limits.update)
}

fn judge(said: &Dynamic, sim: Option<&Sim>) -> Result<(), Refusal> {
    if said.as_bool() == Ok(false) {
        return Err(refused("it answered `false`"));
    }
    match sim.and_then(Sim::fault) {
        Some(fault) => Err(refused(&format!("the policy failed in its world: {fault}"))),
        None => Ok(()),
    }
}

/// Says of a test that used up too much who gives how much.
fn explained(mut refusal: Refusal, limits: &Limits) -> Refusal {
    if limits.of_server {
        refusal.message = format!("{}; {}", refusal.message, given(limits));
        refusal = refusal.hint(FEWER);
    }
    refusal
}

fn refused(message: &str) -> Refusal {
    Refusal::new(Kind::BadConfig, message)
}

/// A failure with the place of the test, where it has none of its own.
fn located(mut refusal: Refusal, test: &Test) -> Refusal {
    let data = &mut refusal.data;
    data.entry("path").or_insert_with(|| test.path().display().to_string().into());
    data.entry("line").or_insert_with(|| test.line.into());
    data.insert("test".to_owned(), test.name.clone().into());
    let line = data["line"].as_u64().and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
    let source = test.text().lines().nth(line.saturating_sub(1)).unwrap_or("").trim();
    data.insert("source".to_owned(), source.into());
    refusal
}

/// The text of a file with these updates written into it.
///
/// # Errors
/// When `expect` is not called there with a text in backticks, or is called twice with different
/// results.
pub fn rewritten(text: &str, updates: &[Update]) -> Result<String, Refusal> {
    let mut sorted: Vec<&Update> = updates.iter().collect();
    sorted.sort_by_key(|it| (it.line, it.column));
    sorted.dedup();
    let mut new = text.to_owned();
    // From the end on, so that the places before stay where they are.
    for (at, update) in sorted.iter().enumerate().rev() {
        let other =
            sorted.get(at + 1).filter(|it| (it.line, it.column) == (update.line, update.column));
        let place = literal(text, update).filter(|_| other.is_none());
        let (from, to) = place.ok_or_else(|| cannot_update(update, other.is_some()))?;
        let indent: String = text
            .lines()
            .nth(update.line - 1)
            .unwrap_or("")
            .chars()
            .take_while(|it| it.is_whitespace())
            .collect();
        new.replace_range(from..to, &quoted(&update.text, &indent));
    }
    Ok(new)
}

fn cannot_update(update: &Update, twice: bool) -> Refusal {
    let place = format!("{}:{}", update.path.display(), update.line);
    let why = if twice {
        "it is told differently each time"
    } else {
        "its parameter is not one text in backticks, or the text has `${` in it"
    };
    let refusal =
        Refusal::new(Kind::BadArgument, format!("{place}: `expect` cannot be updated: {why}"));
    refusal.hint("write `sim.expect(``)` with nothing between the backticks, and update again")
}

/// Where the literal after a call of `expect` begins and ends, with its backticks.
fn literal(text: &str, update: &Update) -> Option<(usize, usize)> {
    let before: usize =
        text.split_inclusive('\n').take(update.line.checked_sub(1)?).map(str::len).sum();
    let line = text.get(before..)?;
    let column: usize =
        line.chars().take(update.column.saturating_sub(1)).map(char::len_utf8).sum();
    let call = before + column;
    let rest = text.get(call..)?;
    let open = call + rest.find('(')? + 1;
    let gap = text.get(open..)?.find(|it: char| !it.is_whitespace())?;
    let from = open + gap;
    let inside = text.get(from..)?.strip_prefix('`')?;
    let mut at = 0;
    loop {
        at += inside[at..].find('`')?;
        if !inside[at + 1..].starts_with('`') {
            break;
        }
        at += 2;
    }
    // Behind a text that something is done with, what is expected is another one.
    let ends = inside[at + 1..].trim_start().starts_with([')', ',']);
    (ends && !inside[..at].contains("${")).then_some((from, from + 1 + at + 1))
}

/// A text in backticks, each line indented by a step more than the call.
fn quoted(text: &str, indent: &str) -> String {
    let mut quoted = "`".to_owned();
    for line in text.lines() {
        let line = line.replace('`', "``").replace("${", "${\"$\"}{");
        let _ =
            if line.is_empty() { writeln!(quoted) } else { write!(quoted, "\n{indent}    {line}") };
    }
    let _ = write!(quoted, "\n{indent}`");
    quoted
}
