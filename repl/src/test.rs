//! `zinit test`: runs the tests of a policy, in virtual time and without a server.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use nu_ansi_term::{Color, Style};
use serde_json::{Value, json};
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::sim::Update;
use zinit_host::store::Store;
use zinit_host::trial::{self, Limits};

use crate::commands::{Context, Outcome};
use crate::render::{self, Paint, lasts, took};
use crate::show::count;

/// What `zinit test` is told.
#[derive(Args, Debug)]
pub(crate) struct Test {
    /// A policy file, a module, or a directory of them [default: cfg/zinit in ZINIT_HOME or ~/hero]
    path: Option<PathBuf>,
    /// Writes what was told into the texts of `sim.expect` that differ
    #[arg(long)]
    update: bool,
    /// Runs only tests with this in their names
    #[arg(short = 'k', long = "filter", value_name = "FILTER", default_value = "")]
    filter: String,
}

/// What is to be tested.
struct Files {
    policy: Vec<(PathBuf, String)>,
    others: Vec<(PathBuf, String)>,
    /// Only tests of files below this are run.
    below: PathBuf,
}

/// How it went.
struct Run {
    tests: Vec<trial::Outcome>,
    took: Duration,
    /// The files that were rewritten.
    written: Vec<PathBuf>,
    /// Why a server would not load the policy all the same.
    note: Option<String>,
}

impl Test {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let given = self.path.as_ref().or(cx.flags.config_dir.as_ref());
        let files = Files::at(&with_parent(given.unwrap_or(&cx.home.config_dir)))?;
        let limits = Limits {
            filter: self.filter.clone(),
            below: files.below.clone(),
            update: self.update,
            ..Limits::of_command()
        };
        let begun = now();
        let tests = match trial::run(&files.policy, &files.others, &limits) {
            Ok(tests) => tests,
            Err(problems) => {
                return Ok(problems.iter().map(|it| cx.flags.complain(it)).max().unwrap_or(1));
            }
        };
        if tests.is_empty() {
            return Err(no_tests(&files.below, &self.filter));
        }
        let took = now().saturating_duration_since(begun);
        let updates: Vec<_> = tests.iter().flat_map(|it| &it.updates).cloned().collect();
        let written = write(&updates)?;
        let of_policy = |it: &&trial::Outcome| files.policy.iter().any(|(at, _)| *at == it.path);
        let note = trial::beyond_server(tests.iter().filter(of_policy));
        let run = Run { tests, took, written, note };
        cx.show(&run.facts(), |paint| run.text(paint))?;
        Ok(u8::from(run.failed() > 0))
    }
}

#[expect(clippy::disallowed_methods, reason = "the user is told how long it took")]
fn now() -> Instant {
    Instant::now()
}

fn no_tests(path: &Path, filter: &str) -> Refusal {
    let of =
        if filter.is_empty() { String::new() } else { format!(" with `{filter}` in its name") };
    let message = format!("no tests in {}{of}", path.display());
    Refusal::new(Kind::BadArgument, message).hint(
        "a test is a function of a policy file: \
         `fn test_it(sim) { sim.service(\"db\"); sim.exit(\"db\", 1); sim.state(\"db\") == \"Backoff\" }`",
    )
}

impl Files {
    /// What there is to test at a path: with a file of a policy goes the whole policy.
    fn at(path: &Path) -> Result<Self, Refusal> {
        let unreadable = |it: &Path, error: &std::io::Error| {
            let why = error.to_string();
            let why = why.split(" (os error").next().unwrap_or_default().to_lowercase();
            Refusal::new(Kind::Storage, format!("cannot read `{}`: {why}", it.display()))
        };
        let is_dir = fs::metadata(path).map_err(|error| unreadable(path, &error))?.is_dir();
        let near = if is_dir { path } else { parent(path) };
        let of_policy = near.file_name().is_some_and(|it| it == "policy");
        let dir = if of_policy { parent(near) } else { near };
        let (policy, problems) = Store::new(dir).policy_files();
        if let Some(problem) = problems.into_iter().next() {
            return Err(problem);
        }
        let is_other = |it: &PathBuf| !policy.iter().any(|(of_policy, _)| of_policy == it);
        let listed = if is_dir { modules(path) } else { vec![path.to_owned()] };
        let mut others = Vec::new();
        for it in listed.into_iter().filter(is_other) {
            let text = fs::read_to_string(&it).map_err(|error| unreadable(&it, &error))?;
            if text.contains("fn test_") {
                others.push((it, text));
            }
        }
        Ok(Self { policy, others, below: path.to_owned() })
    }
}

/// A path with its directory, as it is found again among the files there.
fn with_parent(path: &Path) -> PathBuf {
    let alone = path.parent().is_some_and(|it| it.as_os_str().is_empty());
    if alone && path != Path::new(".") { Path::new(".").join(path) } else { path.to_owned() }
}

/// The directory of a file; of one that is named alone, the one we are in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(it) if it.as_os_str().is_empty() => Path::new("."),
        Some(it) => it,
        None => path,
    }
}

/// The `.rhai` files of a directory, sorted.
fn modules(dir: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(dir).into_iter().flatten().flatten().map(|it| it.path());
    let mut found: Vec<_> =
        listed.filter(|it| it.extension().is_some_and(|it| it == "rhai")).collect();
    found.sort();
    found
}

/// Writes the texts that were told into the files of the tests, once none of them is refused.
fn write(updates: &[Update]) -> Result<Vec<PathBuf>, Refusal> {
    let mut of_files: BTreeMap<PathBuf, Vec<Update>> = BTreeMap::new();
    for update in updates {
        // A link stays one: what it leads to is written, once.
        let path = fs::canonicalize(&update.path).map_err(|it| unwritten(&update.path, &it))?;
        let update = Update { path: path.clone(), ..update.clone() };
        of_files.entry(path).or_default().push(update);
    }
    let mut new = Vec::new();
    for (path, updates) in &of_files {
        let text = fs::read_to_string(path).map_err(|it| unwritten(path, &it))?;
        new.push((path, trial::rewritten(&text, updates)?));
    }
    for (path, text) in new {
        replace(path, &text).map_err(|it| unwritten(path, &it))?;
    }
    Ok(of_files.into_keys().collect())
}

fn unwritten(path: &Path, error: &io::Error) -> Refusal {
    Refusal::new(Kind::Storage, format!("cannot write `{}`: {error}", path.display()))
}

/// Replaces a file whole (written aside, synced, renamed), so that no crash leaves half of it behind.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let about = fs::metadata(path)?;
    let (aside, mut file) = aside(path)?;
    // Only a superuser can give files away, and nobody else has to.
    let _ = fchown(&file, Some(about.uid()), Some(about.gid()));
    let written = file
        .set_permissions(about.permissions())
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // Whatever is left of it is in nobody's way.
        let _ = fs::remove_file(&aside);
    }
    written.and_then(|()| File::open(parent(path))?.sync_all())
}

/// A new file beside one, under a name that nobody uses. It is none of the policy: those end in `.rhai`.
fn aside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().display();
    let mut tries = 0;
    loop {
        let aside = path.with_file_name(format!(".{name}.{tries}.tmp"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => tries += 1,
            made => return made.map(|file| (aside, file)),
        }
    }
}

impl Run {
    fn failed(&self) -> usize {
        self.tests.iter().filter(|it| it.result.is_err()).count()
    }

    fn events(&self) -> u64 {
        self.tests.iter().map(|it| it.took_events).sum()
    }

    fn virtual_ms(&self) -> i64 {
        self.tests.iter().map(|it| it.virtual_ms).sum()
    }

    fn facts(&self) -> Value {
        let tests = self.tests.iter().map(|it| {
            json!({
                "name": it.name,
                "path": it.path,
                "line": it.line,
                "passed": it.result.is_ok(),
                "error": it.result.as_ref().err().map(render::refusal_as_json),
                "output": it.output,
                "events": it.took_events,
                "virtual_ms": it.virtual_ms,
            })
        });
        json!({
            "passed": self.tests.len() - self.failed(),
            "failed": self.failed(),
            "events": self.events(),
            "virtual_ms": self.virtual_ms(),
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "updated": self.written,
            "note": self.note,
            "tests": tests.collect::<Vec<_>>(),
        })
    }

    /// Each test that failed, each file that was rewritten, and how many tests there were.
    fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        for test in &self.tests {
            if let Err(why) = &test.result {
                text += &failure(test, why, paint);
            }
        }
        for path in &self.written {
            let _ = writeln!(text, "updated {}", path.display());
        }
        let (failed, passed) = (self.failed(), self.tests.len() - self.failed());
        let shown = format!("{passed} {} passed", if passed == 1 { "test" } else { "tests" });
        let style = if failed == 0 { Color::Green.bold() } else { Style::new() };
        text += &paint.on(style, &shown);
        if failed > 0 {
            text += ", ";
            text += &paint.on(Color::Red.bold(), &format!("{failed} failed"));
        }
        let time = lasts(u64::try_from(self.virtual_ms()).unwrap_or(0));
        let (events, took) = (count(self.events()), took(self.took));
        let _ = writeln!(text, " ({events} events, {time} of virtual time, in {took})");
        if let Some(note) = &self.note {
            let _ = writeln!(text, "{} {note}", paint.on(Color::Yellow.bold(), "note:"));
        }
        text
    }
}

/// Where a test failed, why, and what was told around it.
fn failure(test: &trial::Outcome, why: &Refusal, paint: Paint) -> String {
    let line = why.data.get("line").and_then(Value::as_u64).unwrap_or(0);
    let path = why.data.get("path").and_then(Value::as_str).unwrap_or_default();
    let head = paint.on(Color::Red.bold(), "failed");
    let place = paint.bold(&format!("{path}:{line}"));
    let mut text = format!("{head} {place} {}: {}\n", test.name, why.message);
    if let Some(source) = why.data.get("source").and_then(Value::as_str) {
        let _ = writeln!(text, "  {}", paint.on(Style::new().dimmed(), source));
    }
    for line in test.output.lines() {
        let style = match line.chars().next() {
            Some('-') => Color::Red.normal(),
            Some('+') => Color::Green.normal(),
            _ => Style::new().dimmed(),
        };
        let _ = writeln!(text, "    {}", paint.on(style, line));
    }
    if let Some(hint) = &why.hint {
        let _ = writeln!(text, "  {} {hint}", paint.on(Color::Cyan.bold(), "hint:"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::render::PLAIN;

    #[test]
    fn an_update_is_written_where_links_lead_and_keeps_the_mode() {
        let dir = std::env::temp_dir().join(format!("zinit-update-{}", std::process::id()));
        fs::create_dir_all(dir.join("policy")).expect("a temporary directory can be made");
        let (target, link) = (dir.join("shared.rhai"), dir.join("policy/one.rhai"));
        let neighbour = dir.join("shared.rhai.tmp");
        let text = "fn test_it(sim) { sim.expect(``) }\n";
        fs::write(&target, text).and_then(|()| fs::write(&neighbour, "mine")).expect("written");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o604)).expect("it is ours");
        symlink("../shared.rhai", &link).expect("a link can be made");

        let update = |path: &Path| Update {
            path: path.to_owned(),
            line: 1,
            column: text.find("expect").expect("it is there") + 1,
            text: "0 boot\n".to_owned(),
        };
        let written = write(&[update(&link), update(&target)]);
        let of = |it: &Path| fs::read_to_string(it).expect("it is there");
        let (new, mode) = (of(&target), fs::metadata(&target).expect("so is this").permissions());
        let (is_link, mine) = (link.is_symlink(), of(&neighbour));
        let left = fs::read_dir(&dir).expect("it is there").count();
        fs::remove_dir_all(&dir).expect("it was made above");
        assert_eq!(written.map(|it| it.len()), Ok(1));
        assert!(new.contains("0 boot") && is_link, "{new}");
        assert_eq!((mode.mode() & 0o777, mine.as_str(), left), (0o604, "mine", 3));
    }

    #[test]
    fn failures_come_first_with_place_and_difference_and_then_a_summary() {
        let text = "fn test_a(sim) { sim.expect(`0 bot`); }\nfn test_b() { true }";
        let files = [(PathBuf::from("policy.rhai"), text.to_owned())];
        let tests = trial::run(&files, &[], &Limits::of_command()).expect("it compiles");
        let took = Duration::from_millis(41);
        let run = Run { tests, took, written: Vec::new(), note: Some("so it is".to_owned()) };
        let expected = "\
failed policy.rhai:1 test_a: what was told is not what was expected
  fn test_a(sim) { sim.expect(`0 bot`); }
    - 0 bot
    + 0 boot
  hint: if it is right, `zinit test --update` writes it into the test
1 test passed, 1 failed (0 events, 0s of virtual time, in 41ms)
note: so it is
";
        assert_eq!(run.text(PLAIN), expected);
        assert_eq!(run.facts()["tests"][0]["passed"], false);
    }
}
