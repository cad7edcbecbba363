//! From one version to another: fetch, verify, try, put in place, have the server begin anew, watch it,
//! and take everything back if it does not do.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use semver::Version;
use serde_json::{Value, json};

use super::context::Context;
use super::file::{self, Held};
use super::installed::{Installed, PROGRAMS};
use super::manifest::Release;
use super::refusal::{Kind, Refusal};
use super::server::{NoAnswer, Pong, Server};
use super::settle;
use super::state::{Failed, State};
use super::swap::{self, Left, Program, Record, Swap};
use super::trial;

/// How long the old server may take to be back.
const BACK: Duration = Duration::from_secs(15);

/// How to update.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// How long the new server must answer before it is trusted, in seconds
    #[arg(long, value_name = "SECS", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3_600))]
    settle: u64,
    /// Takes a release that is older than what is installed
    #[arg(long)]
    allow_downgrade: bool,
}

impl Options {
    /// What nobody has to ask for.
    pub(crate) fn usual(settle: u64) -> Self {
        Self { settle, allow_downgrade: false }
    }

    fn settle(&self) -> Duration {
        Duration::from_secs(self.settle)
    }
}

/// What an update did.
#[derive(Clone, Debug)]
pub(crate) struct Updated {
    pub(crate) from: String,
    pub(crate) to: Version,
    /// The programs that are new; none, if all was up to date.
    pub(crate) programs: Vec<String>,
    pub(crate) server: Told,
}

/// What became of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// There was nothing to tell it.
    Nothing,
    /// It runs as the new version.
    Renewed,
    /// There is none.
    NotRunning,
    /// It is too old to begin anew by itself.
    CannotRenew,
}

impl Updated {
    /// The same for programs.
    pub(crate) fn as_json(&self) -> Value {
        let server = match self.server {
            Told::Nothing => "untouched",
            Told::Renewed => "renewed",
            Told::NotRunning => "not_running",
            Told::CannotRenew => "cannot_renew",
        };
        let Self { from, to, programs, .. } = self;
        json!({ "from": from, "to": to, "programs": programs, "server": server })
    }

    /// The same for people.
    pub(crate) fn shown(&self) -> String {
        let Self { from, to, programs, server } = self;
        if programs.is_empty() {
            return format!("  zinit: up to date ({to})");
        }
        let server = match server {
            Told::Nothing => "",
            Told::Renewed => "\n  the server runs as the new version",
            Told::NotRunning => "\n  no server is running",
            Told::CannotRenew => {
                "\n  the server cannot begin anew by itself: `zinit server restart` restarts it"
            }
        };
        format!("  zinit: updated from {from} to {to} ({}){server}", programs.join(", "))
    }
}

/// Updates the programs in the directory, if the release is newer.
pub(crate) fn update(cx: &Context, options: &Options) -> Result<Updated, Refusal> {
    let dir = &cx.places.programs;
    let _held = Held::now(dir)?;
    go_on(cx, options)?;
    let installed = installed(dir)?;
    let release = cx.release()?;
    decide(&installed, &release, options)?;
    let updated = if installed.are(&release.manifest.version) {
        Ok(nothing(&installed, &release))
    } else {
        put(cx, options, &installed, &release)
    };
    swap::discard(dir);
    updated
}

/// The programs that are there; there must be some.
pub(crate) fn installed(dir: &Path) -> Result<Installed, Refusal> {
    let installed = Installed::look(dir);
    if !installed.programs.is_empty() {
        return Ok(installed);
    }
    let message = format!("cannot update `{}`: no program of Zinit is there", dir.display());
    Err(Refusal::new(Kind::BadArgument, message)
        .hint("`--dir DIR` or ZINIT_BIN_DIR says where they are"))
}

fn nothing(installed: &Installed, release: &Release) -> Updated {
    Updated {
        from: installed.shown(),
        to: release.manifest.version.clone(),
        programs: Vec::new(),
        server: Told::Nothing,
    }
}

/// An old release does not come unnoticed, whoever signed it.
fn decide(installed: &Installed, release: &Release, options: &Options) -> Result<(), Refusal> {
    let version = &release.manifest.version;
    match installed.newest() {
        Some(newest) if newest > version && !options.allow_downgrade => {
            let message = format!("cannot update to {version}: {newest}, which is here, is newer");
            Err(Refusal::new(Kind::Downgrade, message)
                .hint("`zinit-updater update --allow-downgrade` takes it all the same"))
        }
        _ => Ok(()),
    }
}

/// Fetches, tries and puts in place what is not of that version yet.
fn put(
    cx: &Context,
    options: &Options,
    installed: &Installed,
    release: &Release,
) -> Result<Updated, Refusal> {
    let server = cx.server();
    let is_there = is_there(&server)?;
    let programs = fetch(cx, installed, release)?;
    if programs.is_empty() {
        return Ok(nothing(installed, release));
    }
    try_out(&installed.dir, release, &programs)
        .inspect_err(|no| remember_failure(cx, &release.manifest.version, &release.digest, no))?;
    let record = Record {
        version: release.manifest.version.clone(),
        previous: installed.shown(),
        manifest: release.digest.clone(),
        programs,
    };
    let swap = Swap::begin(&installed.dir, record)?;
    swap.put()?;
    finish(cx, options, &server, is_there, &swap)
}

/// Whether a server answers. One that does not is no good place to begin an update.
fn is_there(server: &Server) -> Result<bool, Refusal> {
    match server.ping(Server::patience()) {
        Ok(_) => Ok(true),
        Err(NoAnswer::Nobody) => Ok(false),
        Err(no) => {
            let message = format!("cannot update: the server is not well: {}", no.why());
            Err(Refusal::new(Kind::Server, message)
                .hint("nothing was changed; `zinit server restart` restarts it"))
        }
    }
}

/// Fetches what is installed and differs.
fn fetch(cx: &Context, installed: &Installed, release: &Release) -> Result<Vec<Program>, Refusal> {
    let offered = release.programs()?;
    let mut programs = Vec::new();
    for name in installed.programs.iter().map(|(name, _)| *name) {
        let Some(entry) = offered.get(name) else {
            let version = &release.manifest.version;
            let message = format!("cannot update to {version}: the release has no `{name}`");
            return Err(Refusal::new(Kind::BadRelease, message));
        };
        // What is there already is no part of the swap, so that nobody takes it back.
        let here = file::sha256_of(&installed.dir.join(name));
        if here.is_ok_and(|(sha256, _)| sha256.eq_ignore_ascii_case(&entry.sha256)) {
            continue;
        }
        let path = swap::new_of(&installed.dir, name);
        let bar = cx.out.bar(name, entry.size);
        let fetched = cx.source.program(&release.url_of(entry), entry, &path, &bar);
        bar.finish_and_clear();
        fetched?;
        same_rights(&installed.dir.join(name), &path)?;
        programs.push(Program { name: name.to_owned(), sha256: entry.sha256.clone() });
    }
    Ok(programs)
}

/// A new program may be executed by whoever may execute the old one.
fn same_rights(old: &Path, new: &Path) -> Result<(), Refusal> {
    let copied = fs::metadata(old).and_then(|it| fs::set_permissions(new, it.permissions()));
    copied.map_err(|error| Refusal::storage("write", new, &error))
}

fn try_out(dir: &Path, release: &Release, programs: &[Program]) -> Result<(), Refusal> {
    for it in programs {
        trial::is_version(&it.name, &swap::new_of(dir, &it.name), &release.manifest.version)?;
    }
    let server = PROGRAMS[1];
    if programs.iter().any(|it| it.name == server) {
        trial::accepts_configuration(&dir.join(server), &swap::new_of(dir, server))?;
    }
    Ok(())
}

/// The programs are in place: now the server begins anew, and is watched.
fn finish(
    cx: &Context,
    options: &Options,
    server: &Server,
    is_there: bool,
    swap: &Swap,
) -> Result<Updated, Refusal> {
    let told = if is_there { renew(cx, options, server, swap)? } else { Told::NotRunning };
    remember_success(cx, &swap.record)?;
    swap.end()?;
    Ok(Updated {
        from: swap.record.previous.clone(),
        to: swap.record.version.clone(),
        programs: swap.record.programs.iter().map(|it| it.name.clone()).collect(),
        server: told,
    })
}

fn renew(cx: &Context, options: &Options, server: &Server, swap: &Swap) -> Result<Told, Refusal> {
    let version = &swap.record.version;
    let before = server.ping(Server::patience()).ok();
    match server.renew() {
        Ok(()) => {}
        Err(NoAnswer::NoMethod) => return Ok(Told::CannotRenew),
        // It may have ended before its answer was out.
        Err(NoAnswer::Nobody | NoAnswer::Silent(_)) => {}
        Err(NoAnswer::Refused(message)) => {
            return Err(take_back(cx, server, swap, before, &message));
        }
    }
    cx.out.say(&format!("  zinit: watching the new server for {} s", options.settle));
    match settle::settles(server, &version.to_string(), options.settle()) {
        Ok(()) => {
            // It goes on as the old program if the new one is not fit to keep.
            if let Err(no) = server.renew_keeper() {
                cx.out.say(&format!("  zinit: the keeper stays the old one: {}", no.why()));
            }
            Ok(Told::Renewed)
        }
        Err(why) => Err(take_back(cx, server, swap, before, &why)),
    }
}

/// Puts the old programs back, and has the server begin anew from them.
fn take_back(
    cx: &Context,
    server: &Server,
    swap: &Swap,
    before: Option<Pong>,
    why: &str,
) -> Refusal {
    let Record { version, previous, manifest, .. } = &swap.record;
    let message = format!("cannot update to {version}: the new server does not do: {why}");
    let no = Refusal::new(Kind::RolledBack, message);
    // Whoever watches must not try it again, whatever happens next.
    remember_failure(cx, version, manifest, &no);
    if let Err(worse) = swap.undo() {
        let message = format!("{no}; nor can it be taken back: {worse}");
        return Refusal::new(Kind::RolledBack, message).hint(format!(
            "the programs before are `NAME.old` in `{}`",
            cx.places.programs.display()
        ));
    }
    // Whoever is gone is started again by its keeper, from the old program.
    if let Err(NoAnswer::Silent(_)) = server.renew() {
        server.kill();
    }
    let back = before.and_then(|it| {
        let back = settle::comes(server, &it.version, super::clock::now() + BACK);
        back.err().map(|why| format!("; the old server is not back yet: {why}"))
    });
    let hint = format!("{previous} is back in place{}", back.unwrap_or_default());
    no.hint(hint)
}

/// Brings to an end what somebody before has begun.
fn go_on(cx: &Context, options: &Options) -> Result<(), Refusal> {
    let server = cx.server();
    match swap::tidy(&cx.places.programs)? {
        Left::Nothing => Ok(()),
        Left::Undone(record) => {
            let Record { version, previous, .. } = &record;
            cx.out.say(&format!(
                "  zinit: an update to {version} was interrupted; {previous} is back in place"
            ));
            // A server that was started meanwhile may be the new one already.
            match server.ping(Server::patience()) {
                Ok(pong) if pong.version == version.to_string() => drop(server.renew()),
                _ => {}
            }
            Ok(())
        }
        Left::Whole(swap) => {
            let version = swap.record.version.to_string();
            cx.out.say(&format!("  zinit: going on with an interrupted update to {version}"));
            let is_there = is_there(&server).unwrap_or(true);
            let updated = finish(cx, options, &server, is_there, &swap)?;
            cx.out.say(&updated.shown());
            Ok(())
        }
    }
}

fn remember_success(cx: &Context, record: &Record) -> Result<(), Refusal> {
    State::change(&cx.places.state(), |state| {
        state.version = Some(record.version.clone());
        state.previous = Version::parse(&record.previous).ok().or(state.previous.take());
        state.failed = None;
    })
}

/// What cannot be remembered is tried again; that is all.
fn remember_failure(cx: &Context, version: &Version, manifest: &str, no: &Refusal) {
    let failed =
        Failed { version: version.clone(), manifest: manifest.to_owned(), why: no.message.clone() };
    let _ = State::change(&cx.places.state(), |state| state.failed = Some(failed));
}
