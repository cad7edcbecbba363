//! Scripts that are kept as their publishers have them: fetched, verified, compiled, run once for each
//! content, and stored. What is not fine leaves the one before as it is.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::clock::date;
use super::context::Context;
use super::file::{self, Held, sha256};
use super::key;
use super::refusal::{Kind, Refusal};
use super::runner::{Ran, Runner};
use super::state::{State, Tracked};

/// No script is longer.
const BYTES_MAX: usize = 1 << 20;

/// What `add` is told.
#[derive(Args, Debug)]
pub(crate) struct Adding {
    /// Where it comes from; its signature is at URL.minisig
    url: String,
    /// Where it is kept [default: cfg/zinit/scripts/NAME.rhai]
    path: Option<PathBuf>,
    /// Trusts what has this SHA-256 in place of what is signed; then it never changes
    #[arg(long, value_name = "HASH")]
    sha256: Option<String>,
}

/// What was trusted.
struct Fetched {
    text: String,
    sha256: String,
    /// When it was signed, if that is said.
    signed: Option<i64>,
}

/// What became of a tracked script.
#[derive(Clone, Debug)]
pub(crate) struct Refreshed {
    url: String,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// It is as it was, or what has come meanwhile is known to be no good.
    Unchanged,
    /// What came is stored and has run.
    Updated,
    /// What came is stored, and waits for a server to run with.
    Waiting,
    /// What is stored is what was there before.
    Failed(Refusal),
}

/// Tracks a script from now on.
pub(crate) fn add(cx: &Context, adding: &Adding) -> Result<u8, Refusal> {
    let path = match &adding.path {
        Some(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        None => cx.places.scripts().join(name_of(&adding.url)?),
    };
    let _held = hold(cx, &path)?;
    let state = cx.state()?;
    if let Some(other) = state.scripts.iter().find(|it| it.path == path && it.url != adding.url) {
        let message = format!("cannot add `{}`: `{}` is there", adding.url, path.display());
        return Err(Refusal::new(Kind::BadArgument, message)
            .hint(format!("it comes from `{}`; say another path", other.url)));
    }
    let mut script = Tracked { url: adding.url.clone(), path, ..Tracked::default() };
    script.pinned = adding.sha256.is_some();
    let fetched = match &adding.sha256 {
        Some(hash) => pinned(cx, &adding.url, hash)?,
        None => signed(cx, &state, &script)?,
    };
    let what = store(cx, &mut script, &fetched)?;
    remember(cx, &script)?;
    let done = Refreshed { url: script.url.clone(), what };
    cx.out.say(&format!("Added script: {}\n  kept as {}", script.url, script.path.display()));
    if matches!(done.what, What::Waiting) {
        cx.out.say("  it runs as soon as there is a server, with the next update");
    }
    cx.out.answer(&facts(&script));
    Ok(0)
}

/// Forgets a script. One that nobody knows is as good as removed.
pub(crate) fn remove(cx: &Context, url: &str) -> Result<u8, Refusal> {
    let state = cx.state()?;
    let Some(script) = state.scripts.into_iter().find(|it| it.url == url) else {
        cx.out.say(&format!("Not tracked: {url}"));
        cx.out.answer(&json!({ "url": url, "removed": false }));
        return Ok(0);
    };
    State::change(&cx.places.state(), |state| state.scripts.retain(|it| it.url != url))?;
    // What somebody has changed since is theirs.
    let is_ours = fs::read(&script.path).is_ok_and(|it| Some(sha256(&it)) == script.sha256);
    if is_ours {
        file::remove(&script.path)
            .map_err(|error| Refusal::storage("remove", &script.path, &error))?;
    }
    cx.out.say(&format!("Removed script: {url}"));
    cx.out.answer(&json!({ "url": url, "removed": true, "file_removed": is_ours }));
    Ok(0)
}

/// Lists what is tracked.
pub(crate) fn list(cx: &Context) -> Result<u8, Refusal> {
    let state = cx.state()?;
    if state.scripts.is_empty() {
        cx.out.say("No tracked scripts");
    }
    for it in &state.scripts {
        let trust = if it.pinned { "pinned" } else { "signed" };
        let when = it.when.as_deref().unwrap_or("not fetched yet");
        cx.out.say(&format!("{}\n  {} ({trust}, {when})", it.url, it.path.display()));
    }
    cx.out.answer(&state.scripts.iter().map(facts).collect());
    Ok(0)
}

/// Fetches all tracked scripts again. What has changed is run and stored.
pub(crate) fn refresh(cx: &Context) -> Result<Vec<Refreshed>, Refusal> {
    let state = cx.state()?;
    let each = |script: &Tracked| Refreshed {
        url: script.url.clone(),
        what: renew(cx, &state, script.clone()).unwrap_or_else(What::Failed),
    };
    Ok(state.scripts.iter().map(each).collect())
}

fn renew(cx: &Context, state: &State, mut script: Tracked) -> Result<What, Refusal> {
    let _held = hold(cx, &script.path)?;
    if script.pinned {
        return if script.pending { run_stored(cx, &mut script) } else { Ok(What::Unchanged) };
    }
    let fetched = signed(cx, state, &script)?;
    let sha256 = Some(&fetched.sha256);
    if script.failed.as_ref() == sha256 {
        return Ok(What::Unchanged);
    }
    if script.sha256.as_ref() == sha256 {
        return if script.pending { run_stored(cx, &mut script) } else { Ok(What::Unchanged) };
    }
    let stored = store(cx, &mut script, &fetched);
    if stored.as_ref().is_err_and(|no| no.kind == Kind::BadScript) {
        // It is told once and not tried again: each content runs once.
        script.failed = Some(fetched.sha256);
    }
    remember(cx, &script)?;
    stored
}

/// Runs what there was no server for when it was stored.
fn run_stored(cx: &Context, script: &mut Tracked) -> Result<What, Refusal> {
    let ran = Runner::find(&cx.places.programs)?.run(&script.path);
    script.pending = matches!(ran, Ok(Ran::NoServer));
    remember(cx, script)?;
    ran.map(|it| if it == Ran::Done { What::Updated } else { What::Waiting })
}

/// Compiles and runs what was fetched, and stores it if that went well.
fn store(cx: &Context, script: &mut Tracked, fetched: &Fetched) -> Result<What, Refusal> {
    let runner = Runner::find(&cx.places.programs)?;
    runner.compile(&script.url, &fetched.text)?;
    let aside = aside(&script.path);
    let unwritten = |error| Refusal::storage("write", &script.path, &error);
    file::write_new(&aside, fetched.text.as_bytes(), 0o600).map_err(unwritten)?;
    let ran = runner.run(&aside);
    let _ = fs::remove_file(&aside);
    script.pending = ran? == Ran::NoServer;
    file::replace(&script.path, fetched.text.as_bytes(), 0o600)?;
    script.sha256 = Some(fetched.sha256.clone());
    script.signed = fetched.signed;
    script.when = Some(date());
    script.failed = None;
    Ok(if script.pending { What::Waiting } else { What::Updated })
}

/// Makes room for a script, while nobody else stores or runs one.
fn hold(cx: &Context, path: &Path) -> Result<Held, Refusal> {
    file::make_dir(path.parent().unwrap_or(path), 0o700)?;
    let dir = cx.places.scripts();
    file::make_dir(&dir, 0o700)?;
    Held::soon(&dir)
}

/// Where a script waits while it is run: beside its place, so that its imports are found.
fn aside(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{stem}.new.rhai"))
}

fn remember(cx: &Context, script: &Tracked) -> Result<(), Refusal> {
    State::change(&cx.places.state(), |state| {
        match state.scripts.iter_mut().find(|it| it.url == script.url) {
            Some(it) => *it = script.clone(),
            None => state.scripts.push(script.clone()),
        }
    })
}

/// A script that is trusted because it has the hash that its user says.
fn pinned(cx: &Context, url: &str, hash: &str) -> Result<Fetched, Refusal> {
    let bytes = cx.source.bytes(url, BYTES_MAX)?;
    let sha256 = sha256(&bytes);
    if !sha256.eq_ignore_ascii_case(hash.trim()) {
        let message = format!("cannot trust `{url}`: its sha256 is {sha256}, not {hash}");
        return Err(Refusal::new(Kind::BadSignature, message));
    }
    Ok(Fetched { text: text(url, bytes)?, sha256, signed: None })
}

/// A script that is trusted because it is signed, under that name, and not before the one that is
/// here.
fn signed(cx: &Context, state: &State, script: &Tracked) -> Result<Fetched, Refusal> {
    let url = &script.url;
    let key = cx.key(state).map_err(|no| {
        let hint = no.hint.clone().unwrap_or_default();
        no.hint(format!("{hint}; or pin it with `--sha256 HASH`"))
    })?;
    let bytes = cx.source.bytes(url, BYTES_MAX)?;
    let signature = cx.source.bytes(&format!("{url}.minisig"), BYTES_MAX)?;
    let comment = key::verify(&key, url, &bytes, &signature)?;
    let bad =
        |why: String| Refusal::new(Kind::BadSignature, format!("cannot trust `{url}`: {why}"));
    if let Some(file) = comment.field("file").filter(|it| *it != last_of(url)) {
        return Err(bad(format!("it was signed as `{file}`")));
    }
    let signed = comment.field("timestamp").and_then(|it| it.parse().ok());
    if script.signed.is_some_and(|before| signed.is_none_or(|it| it < before)) {
        return Err(bad("it was signed before the one that is here".to_owned()));
    }
    let sha256 = sha256(&bytes);
    Ok(Fetched { text: text(url, bytes)?, sha256, signed })
}

fn text(url: &str, bytes: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(bytes).map_err(|_| {
        Refusal::new(Kind::BadScript, format!("cannot use `{url}`: it is no UTF-8 text"))
    })
}

/// The last part of a URL, without what is asked of it.
fn last_of(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

/// The name of the file that a script is kept in.
fn name_of(url: &str) -> Result<&str, Refusal> {
    let name = last_of(url);
    let fits = |it: char| it.is_ascii_alphanumeric() || "_-.".contains(it);
    let stem = name.strip_suffix(".rhai").unwrap_or_default();
    if stem.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
        let message = format!("cannot add `{url}`: `{name}` is no name of a script");
        return Err(Refusal::new(Kind::BadArgument, message).hint("it ends in `NAME.rhai`"));
    }
    Ok(name)
}

fn facts(script: &Tracked) -> Value {
    let Tracked { url, path, sha256, when, pinned, pending, .. } = script;
    json!({
        "url": url, "path": path, "sha256": sha256, "when": when, "pinned": pinned, "pending": pending,
    })
}

impl Refreshed {
    /// Whether there is nothing to say.
    pub(crate) fn is_quiet(&self) -> bool {
        !matches!(self.what, What::Updated)
    }

    /// Whether it did not go well.
    pub(crate) fn is_fault(&self) -> bool {
        self.refusal().is_some()
    }

    /// Why it did not.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match &self.what {
            What::Failed(no) => Some(no),
            _ => None,
        }
    }

    /// The same for people.
    pub(crate) fn shown(&self) -> String {
        format!("  {}: {}", self.url, self.word())
    }

    /// The same for programs.
    pub(crate) fn as_json(&self) -> Value {
        json!({ "url": self.url, "state": self.word() })
    }

    fn word(&self) -> &'static str {
        match self.what {
            What::Unchanged => "up to date",
            What::Updated => "updated",
            What::Waiting => "waits for a server",
            What::Failed(_) => "kept as it was",
        }
    }
}
