//! What every command of the updater works with.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use minisign::PublicKey;

use super::fetch::Source;
use super::key;
use super::manifest::Release;
use super::out::Out;
use super::places::Places;
use super::refusal::{Kind, Refusal};
use super::server::Server;
use super::state::State;

/// What holds for every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct Flags {
    /// Prints answers and errors as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Where the programs are that are updated [default: beside this one]
    #[arg(long, value_name = "DIR", env = "ZINIT_BIN_DIR", hide_env = true, global = true)]
    dir: Option<PathBuf>,
    /// The directory of the release [default: `url` in cfg/zinit_latest.toml]
    #[arg(long, value_name = "URL", env = "ZINIT_UPDATE_URL", hide_env = true, global = true)]
    url: Option<String>,
    /// How long a server may stay silent, in seconds
    #[arg(long, value_name = "SECS", default_value_t = 30, global = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) places: Places,
    pub(crate) source: Source,
    pub(crate) out: Out,
    url: Option<String>,
}

impl Context {
    pub(crate) fn new(flags: &Flags) -> Result<Self, Refusal> {
        let places = Places::find(flags.dir.clone())?;
        let source = Source::new(Duration::from_secs(flags.timeout));
        let out = Out { json: flags.json };
        let url = flags.url.clone().filter(|it| !it.is_empty());
        Ok(Self { places, source, out, url })
    }

    /// What is remembered.
    pub(crate) fn state(&self) -> Result<State, Refusal> {
        State::load(&self.places.state())
    }

    /// The server of this home.
    pub(crate) fn server(&self) -> Server {
        Server::at(self.places.socket())
    }

    /// Whether anybody has said where releases are.
    pub(crate) fn has_url(&self, state: &State) -> bool {
        self.url.is_some() || state.url.is_some()
    }

    /// The release that is to be had, if it can be trusted.
    pub(crate) fn release(&self) -> Result<Release, Refusal> {
        let state = self.state()?;
        let key = self.key(&state)?;
        let Some(url) = self.url.as_ref().or(state.url.as_ref()) else {
            let shown = self.places.state().display().to_string();
            return Err(Refusal::new(Kind::BadState, "cannot update: nobody says from where")
                .hint(format!("set ZINIT_UPDATE_URL, or `url` in `{shown}`")));
        };
        Release::fetch(&self.source, url, &key)
    }

    /// The key that everything must be signed with. Without one nothing is trusted.
    pub(crate) fn key(&self, state: &State) -> Result<PublicKey, Refusal> {
        let set = env::var("ZINIT_UPDATE_KEY").ok().filter(|it| !it.is_empty());
        let Some(text) = set.as_ref().or(state.public_key.as_ref()) else {
            let shown = self.places.state().display().to_string();
            let message = "cannot trust anybody: there is no public key";
            return Err(Refusal::new(Kind::BadState, message).hint(format!(
                "put `public_key = \"RW...\"`, which whoever publishes makes known, into `{shown}`"
            )));
        };
        key::public(text)
    }
}
