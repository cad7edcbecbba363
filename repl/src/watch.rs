//! Starts and stops services and stays with them: what they are at meanwhile, what came of it.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use zinit_host::board::Status;
use zinit_host::interrupt::Interrupt;
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::rpc::client::Client;

use crate::commands::{Context, Outcome, Which};
use crate::progress::{Progress, Since};
use crate::render;

/// How long a start or restart is watched before it is left to itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the server is asked to wait at a time where nothing is drawn meanwhile.
const PLAIN_TICK: Duration = Duration::from_secs(2);

/// What `zinit stop` is told.
#[derive(Args, Debug)]
pub(crate) struct Stop {
    #[command(flatten)]
    which: Which,
    /// Returns when they have been told to stop
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Gives up waiting after so many seconds, with exit code 4; the stop goes on
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    timeout: Option<Duration>,
}

/// What `zinit start` is told.
#[derive(Args, Debug)]
pub(crate) struct Start {
    #[command(flatten)]
    which: Which,
    /// Leaves alone what they need
    #[arg(long, conflicts_with = "all")]
    no_deps: bool,
}

/// What `zinit delete` is told.
#[derive(Args, Debug)]
pub(crate) struct Delete {
    #[command(flatten)]
    which: Which,
    /// Does not ask whether all are to go
    #[arg(short = 'y', long)]
    yes: bool,
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "it must be a number of seconds, 0 or more".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

impl Stop {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let mut watch = Watch::over(cx, "stopping")?;
        let names = watch
            .ask("service.stop", &self.which, &[false.into()])
            .map_err(|it| goes_on(it, &self.which.names))?;
        if self.no_wait {
            return each(&names, |name| cx.done("Stopping", name));
        }
        let left = watch.until_down(&names, self.timeout).map_err(|it| goes_on(it, &names))?;
        drop(watch);
        let gone: Vec<String> = names.iter().filter(|it| !left.has(it)).cloned().collect();
        let code = each(&gone, |name| cx.done("Stopped", name))?;
        left.told().map_or(Ok(code), Err)
    }
}

impl Start {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let mut watch = Watch::over(cx, "starting")?;
        let deps = if self.which.all { vec![] } else { vec![Value::from(!self.no_deps)] };
        let names = watch.ask("service.start", &self.which, &deps)?;
        watch.bring_up(&names, "Started")
    }
}

/// Stops them and starts them again.
pub(crate) fn restart(cx: &Context, which: &Which) -> Outcome {
    let mut watch = Watch::over(cx, "restarting")?;
    let names = if which.all {
        let all = watch.list()?;
        let asked = !all.is_empty();
        asked.then(|| watch.client.call("service.restart", json!([all]))).transpose()?;
        all
    } else {
        watch.ask("service.restart", which, &[])?
    };
    watch.bring_up(&names, "Restarted")
}

impl Delete {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let mut watch = Watch::over(cx, "deleting")?;
        if self.which.all && !self.yes && !are_you_sure(&watch.list()?)? {
            return Ok(1);
        }
        let names = watch.ask("service.delete", &self.which, &[])?;
        each(&names, |name| cx.done("Deleted", name))
    }
}

/// Asks on a terminal; elsewhere nobody could answer.
fn are_you_sure(all: &[String]) -> Result<bool, Refusal> {
    let question = format!("delete all {} services and their files? [y/N] ", all.len());
    match render::asked(&question) {
        Some(answer) => Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str())),
        None => Err(Refusal::new(Kind::Forbidden, "cannot delete all services without being sure")
            .hint("`zinit delete --all --yes` is sure")),
    }
}

/// Does something for each; the first that is refused does not keep the others from it.
fn each(names: &[String], mut act: impl FnMut(&str) -> Outcome) -> Outcome {
    let mut worst = 0;
    for name in names {
        worst = worst.max(act(name)?);
    }
    Ok(worst)
}

/// A client that can be interrupted, and the line that shows what is going on.
struct Watch<'a> {
    cx: &'a Context,
    client: Client,
    progress: Progress,
}

/// Those that have not stopped, with what is left of them, and those that were started again.
#[derive(Default)]
struct Left {
    late: Vec<(String, String)>,
    restarted: Vec<String>,
}

impl<'a> Watch<'a> {
    fn over(cx: &'a Context, verb: &'static str) -> Result<Self, Refusal> {
        let failed = |errno: nix::Error| Refusal::new(Kind::Internal, errno.desc());
        let interrupt: Arc<Interrupt> = Interrupt::new().map_err(failed)?;
        let client = cx.connect()?.interrupted_by(&interrupt);
        interrupt.on_ctrl_c(|| ()).map_err(failed)?;
        Ok(Self { cx, client, progress: Progress::new(verb, !cx.flags.json) })
    }

    /// Asks for it, in one call for all, and returns the names of those that were meant.
    fn ask(&mut self, method: &str, which: &Which, more: &[Value]) -> Result<Vec<String>, Refusal> {
        if which.all {
            let before = self.list()?;
            self.client.call(&format!("{method}_all"), json!(more))?;
            return if method == "service.start" { self.wanted() } else { Ok(before) };
        }
        let mut params = vec![json!(which.names)];
        params.extend_from_slice(more);
        names(self.client.call(method, params.into())?)
    }

    fn list(&mut self) -> Result<Vec<String>, Refusal> {
        names(self.client.call("service.list", json!([]))?)
    }

    /// The names of all that should be up.
    fn wanted(&mut self) -> Result<Vec<String>, Refusal> {
        let all = self.all()?;
        Ok(all.into_iter().filter(|it| it.target == "Up").map(|it| it.name.to_string()).collect())
    }

    fn all(&mut self) -> Result<Vec<Status>, Refusal> {
        let all = self.client.call("service.status_all", json!([]))?;
        serde_json::from_value(all).map_err(|error| {
            Refusal::new(Kind::Internal, format!("the server's answer makes no sense: {error}"))
        })
    }

    /// What is known of these, in their order; those that are gone are left out.
    fn of(&mut self, names: &[String]) -> Result<Vec<Status>, Refusal> {
        let all = self.all()?;
        let find = |name: &String| {
            let at = all.binary_search_by(|it| it.name.as_str().cmp(name)).ok()?;
            Some(all[at].clone())
        };
        Ok(names.iter().filter_map(find).collect())
    }

    /// Waits for one of them, but only for a tick.
    fn wait(&mut self, name: &str, want: &str, limit: Duration) -> Result<Option<bool>, Refusal> {
        let tick = if self.progress.is_on() { Progress::TICK } else { PLAIN_TICK };
        let secs = tick.min(limit).as_secs_f64();
        match self.client.call("service.wait", json!([name, secs, want])) {
            Ok(as_wanted) => Ok(Some(as_wanted == true)),
            Err(no) if no.kind == Kind::TimedOut => Ok(None),
            Err(no) if no.kind == Kind::UnknownService => Ok(Some(want == "down")),
            Err(no) => Err(no),
        }
    }

    /// Waits until nothing of these runs, as long as that may take, or as long as is allowed.
    fn until_down(&mut self, names: &[String], limit: Option<Duration>) -> Result<Left, Refusal> {
        let (since, limit) = (Since::now(), limit.unwrap_or(Duration::MAX));
        let (mut waiting, mut left) = (names.to_vec(), Left::default());
        while let Some(first) = waiting.first().cloned() {
            let rest = limit.saturating_sub(since.elapsed());
            if self.wait(&first, "down", rest)? == Some(true) {
                waiting.remove(0);
                continue;
            }
            let mut now = self.of(&waiting)?;
            now.retain(|it| !it.is_down());
            let restarted = now.extract_if(.., |it| it.target == "Up" && it.state != "Stopping");
            left.restarted.extend(restarted.map(|it| it.name.to_string()));
            waiting = now.iter().map(|it| it.name.to_string()).collect();
            if since.elapsed() >= limit {
                left.late = now.iter().map(|it| self.survivors(it.name.as_str())).collect();
                break;
            }
            self.progress.draw(&now);
        }
        self.progress.erase();
        Ok(left)
    }

    /// A service that has not stopped, and the processes that are left of it.
    fn survivors(&mut self, name: &str) -> (String, String) {
        let status = self.client.call("service.status", json!([name])).unwrap_or_default();
        (name.to_owned(), render::processes(&status))
    }

    /// Watches for a moment how they come up, and tells the truth about each.
    fn bring_up(mut self, names: &[String], done: &str) -> Outcome {
        let since = Since::now();
        let mut is_up = vec![None; names.len()];
        while let Some(at) = is_up.iter().position(Option::is_none) {
            let rest = PATIENCE.saturating_sub(since.elapsed());
            is_up[at] = self.wait(&names[at], "up", rest)?;
            if is_up[at].is_none() && rest.is_zero() {
                is_up[at] = Some(false);
            } else if is_up[at].is_none() {
                let mut now = self.of(names)?;
                now.retain(|it| it.settled().is_none());
                self.progress.draw(&now);
            }
        }
        self.progress.erase();
        let mut worst = 0;
        for (name, is_up) in names.iter().zip(is_up) {
            let said = self.tell(name, is_up == Some(true), done);
            worst = worst.max(said.unwrap_or_else(|refusal| self.cx.flags.complain(&refusal)));
        }
        Ok(worst)
    }

    fn tell(&mut self, name: &str, is_up: bool, done: &str) -> Outcome {
        let status = self.client.call("service.status", json!([name]))?;
        let fact = |key: &str| status[key].as_str().unwrap_or_default();
        let (state, reason) = (fact("state"), fact("reason"));
        if !is_up && ["Failed", "Stopped", "Backoff"].contains(&state) {
            let message = format!("service `{name}` did not come up: {reason}");
            return Err(Refusal::new(Kind::Internal, message)
                .hint(format!("`zinit why {name}` and `zinit logs {name}` show more"))
                .with("service", name));
        }
        self.cx.show(&status, |_| match (is_up, state) {
            (true, _) => format!("{done} service: {name}\n"),
            (false, _) => format!("Waiting: {name} ({state}: {reason})\n"),
        })
    }
}

impl Left {
    fn has(&self, name: &str) -> bool {
        self.late.iter().any(|(it, _)| it == name) || self.restarted.iter().any(|it| it == name)
    }

    /// What there is to complain about, if anything.
    fn told(&self) -> Option<Refusal> {
        if !self.late.is_empty() {
            let names: Vec<&str> = self.late.iter().map(|(name, _)| name.as_str()).collect();
            let each = self.late.iter().take(8).map(|(name, left)| match left.as_str() {
                "" => format!("`{name}`"),
                left => format!("`{name}` ({left})"),
            });
            let each = each.collect::<Vec<_>>().join(", ");
            let more = if names.len() > 8 { " and others" } else { "" };
            return Some(
                Refusal::new(Kind::TimedOut, format!("{each}{more} did not stop in time"))
                    .hint(format!("the stop goes on; `zinit status {}` shows how far", names[0]))
                    .with("services", names),
            );
        }
        let first = self.restarted.first()?;
        let message = format!("`{first}` was started again before it had stopped");
        Some(Refusal::new(Kind::Internal, message).with("services", self.restarted.clone()))
    }
}

/// Ctrl-C ends the waiting, not the stop.
fn goes_on(refusal: Refusal, names: &[String]) -> Refusal {
    match names {
        _ if refusal.kind != Kind::Interrupted => refusal,
        [name] => Refusal::new(Kind::Interrupted, "no longer waiting; the stop goes on")
            .hint(format!("`zinit status {name}` shows how far it is")),
        _ => Refusal::new(Kind::Interrupted, "no longer waiting; the stop goes on")
            .hint("`zinit list` shows how far it is"),
    }
}

fn names(answer: Value) -> Result<Vec<String>, Refusal> {
    serde_json::from_value(answer).map_err(|_| {
        Refusal::new(Kind::Internal, "the server is older than this command: it takes no patterns")
    })
}
