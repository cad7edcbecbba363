//! The table of commands: what `zinit-updater` understands besides `--init`, and what each does.

use clap::Subcommand;
use serde_json::{Value, json};

use super::context::{Context, Flags};
use super::installed::Installed;
use super::refusal::Refusal;
use super::release::{self, Making};
use super::scripts::{self, Adding};
use super::upgrade::{self, Options};
use super::watch;

/// One command. Its doc comment is its help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows whether there is an update
    Check,
    /// Updates the programs and the tracked scripts
    #[command(after_help = UPDATE)]
    Update(Options),
    /// Updates them whenever there is something new, until it is ended
    Watch {
        /// How often to look, in seconds
        #[arg(env = "ZINIT_UPDATE_INTERVAL", default_value_t = 300)]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
        secs: u64,
        /// How long a new server must answer before it is trusted, in seconds
        #[arg(long, value_name = "SECS", default_value_t = 5)]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=3_600))]
        settle: u64,
    },
    /// Fetches a script, runs it, and does so again whenever it has changed
    Add(Adding),
    /// Forgets a script and removes its file
    Remove {
        /// Where it comes from
        url: String,
    },
    /// Lists the tracked scripts
    List,
    /// Makes and signs a release, or a key to sign with
    Release(Making),
}

const UPDATE: &str = "\
Nothing is executed before its signature is verified. Each new program must run, and the new server must
accept what is configured. The programs before stay as NAME.old; they come back by themselves if the new
server does not answer.";

impl Command {
    /// Does it, says what came of it, and returns the exit code.
    pub(crate) fn run(self, flags: &Flags) -> u8 {
        let done = Context::new(flags).and_then(|cx| self.act(&cx));
        done.unwrap_or_else(|no| {
            super::out::Out { json: flags.json }.complain(&no);
            1
        })
    }

    fn act(self, cx: &Context) -> Result<u8, Refusal> {
        match self {
            Self::Check => check(cx),
            Self::Update(options) => update(cx, &options),
            Self::Watch { secs, settle } => watch::watch(cx, secs, &Options::usual(settle)),
            Self::Add(adding) => scripts::add(cx, &adding),
            Self::Remove { url } => scripts::remove(cx, &url),
            Self::List => scripts::list(cx),
            Self::Release(making) => release::make(cx.out, &making),
        }
    }
}

fn check(cx: &Context) -> Result<u8, Refusal> {
    cx.out.say("Checking zinit updates...");
    let installed = upgrade::installed(&cx.places.programs)?;
    let release = cx.release()?;
    let latest = &release.manifest.version;
    let (current, is_update) = (installed.shown(), !installed.are(latest));
    if !is_update {
        cx.out.say(&format!("  zinit: up to date ({latest})"));
    } else if installed.newest().is_some_and(|it| it > latest) {
        cx.out.say(&format!("  zinit: {current} is newer than the release ({latest})"));
    } else {
        cx.out.say("  zinit: UPDATE AVAILABLE");
        cx.out.say(&format!("    current: {current}\n    latest:  {latest}"));
    }
    let is_newer = installed.newest().is_none_or(|it| it <= latest);
    cx.out.answer(&json!({
        "current": current,
        "latest": latest,
        "created": release.manifest.created,
        "update": is_update && is_newer,
        "programs": versions(&installed),
    }));
    Ok(0)
}

fn versions(installed: &Installed) -> Value {
    let each = installed.programs.iter();
    each.map(|(name, version)| ((*name).to_owned(), json!(version))).collect()
}

/// The scripts are brought up to date whatever becomes of the programs, and the other way round.
fn update(cx: &Context, options: &Options) -> Result<u8, Refusal> {
    let state = cx.state()?;
    let mut worst = 0;
    let mut programs = Value::Null;
    if cx.has_url(&state) || state.scripts.is_empty() {
        cx.out.say("Checking zinit updates...");
        match upgrade::update(cx, options) {
            Ok(updated) => {
                cx.out.say(&updated.shown());
                programs = updated.as_json();
            }
            Err(no) => {
                cx.out.complain(&no);
                worst = 1;
            }
        }
    }
    let refreshed = scripts::refresh(cx)?;
    for it in &refreshed {
        cx.out.say(&it.shown());
        worst = worst.max(u8::from(it.is_fault()));
        it.refusal().into_iter().for_each(|no| cx.out.complain(no));
    }
    let scripts: Vec<_> = refreshed.iter().map(scripts::Refreshed::as_json).collect();
    cx.out.answer(&json!({ "zinit": programs, "scripts": scripts }));
    Ok(worst)
}
