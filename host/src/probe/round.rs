//! One round of health checks: everything at once, and the first failure decides.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use reqwest::Url;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use zinit_keeper::wire::Exit;

use super::Teller;
use super::lane::Lane;
use super::names::Names;
use crate::clock::instant;
use crate::event::Happening;
use crate::name::ServiceName;
use crate::native::net::{Web, innermost, plainly};
use crate::spec::Health;
use crate::state::describe;

/// What all rounds share.
pub(super) struct Means {
    pub(super) teller: Teller,
    names: Names,
    web: Web,
}

/// A round that is about to begin.
pub(super) struct Round {
    pub(super) service: ServiceName,
    pub(super) incarnation: u64,
    pub(super) health: Arc<Health>,
    pub(super) lane: Lane,
    pub(super) means: Arc<Means>,
}

/// Holds, or does not, and why.
type Verdict = Result<(), String>;
type Check<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

impl Means {
    pub(super) fn new(teller: Teller) -> Self {
        let names = Names::default();
        let resolver = Arc::new(names.clone());
        // A proxy would answer for itself and not for the service.
        let web = Web::new(move |it| it.no_proxy().dns_resolver(Arc::clone(&resolver)));
        Self { teller, names, web }
    }
}

impl Round {
    /// Checks, and tells what was found.
    pub(super) async fn run(self) {
        let failure = self.verdict().await.err();
        let what = Happening::Checked { incarnation: self.incarnation, failure };
        self.means.teller.happened(&self.service, what);
    }

    async fn verdict(&self) -> Verdict {
        let limit = Duration::from_millis(u64::try_from(self.health.timeout_ms).unwrap_or(0));
        let limit = Limit { limit, end: Instant::from_std(instant()) + limit };
        let mut checks: Vec<Check<'_>> = Vec::new();
        for address in &self.health.test_tcp {
            checks.push(Box::pin(limit.answer("test_tcp", address, self.tcp(address))));
        }
        for url in &self.health.test_http {
            checks.push(Box::pin(limit.answer("test_http", url, self.http(url))));
        }
        if !self.health.test_cmd.is_empty() {
            checks.push(Box::pin(self.commands(limit)));
        }
        all(checks).await
    }

    async fn tcp(&self, address: &str) -> Verdict {
        let (host, port) = address.rsplit_once(':').ok_or("it is no address")?;
        let port = port.parse().map_err(|_| "it is no address")?;
        let mut failure = None;
        for ip in self.means.names.find(host).await?.iter() {
            match TcpStream::connect(SocketAddr::new(*ip, port)).await {
                Ok(_) => return Ok(()),
                // The first address is the one that is meant; others may not even exist here.
                Err(error) => failure = failure.or(Some(plainly(&error))),
            }
        }
        Err(failure.unwrap_or_else(|| "the name has no address".to_owned()))
    }

    async fn http(&self, url: &str) -> Verdict {
        let url = Url::parse(url).map_err(|it| it.to_string())?;
        match self.means.web.get(url).await {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => Err(format!("status {}", status.as_u16())),
            Err(error) => Err(innermost(&error)),
        }
    }

    /// The commands have one lane, so they come one after the other.
    async fn commands(&self, limit: Limit) -> Verdict {
        for line in &self.health.test_cmd {
            let it = named("test_cmd", line);
            if timeout_at(limit.end, self.lane.is_free()).await.is_err() {
                return Err(format!("{it}: the one before it has not ended"));
            }
            let exit = self.lane.run(&self.means.teller, &self.service, self.incarnation, line);
            match timeout_at(limit.end, exit).await {
                Ok(Exit::Code(0)) => {}
                Ok(exit) => return Err(format!("{it}: {}", describe(&exit))),
                Err(_) => return Err(format!("{it}: not done within {limit}")),
            }
        }
        Ok(())
    }
}

/// What one round may take.
#[derive(Clone, Copy)]
struct Limit {
    limit: Duration,
    end: Instant,
}

impl Limit {
    async fn answer(self, kind: &str, what: &str, check: impl Future<Output = Verdict>) -> Verdict {
        let verdict = timeout_at(self.end, check).await;
        let verdict = verdict.unwrap_or_else(|_| Err(format!("no answer within {self}")));
        verdict.map_err(|why| format!("{}: {why}", named(kind, what)))
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.limit.as_millis() {
            ms if ms % 1000 == 0 => write!(f, "{} s", ms / 1000),
            ms => write!(f, "{ms} ms"),
        }
    }
}

/// Waits until all hold or one does not. They are dropped then, wherever they are.
async fn all(mut checks: Vec<Check<'_>>) -> Verdict {
    poll_fn(|cx| {
        let mut failure = Ok(());
        checks.retain_mut(|it| match it.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(verdict) => {
                failure = std::mem::replace(&mut failure, Ok(())).and(verdict);
                false
            }
        });
        if failure.is_ok() && !checks.is_empty() { Poll::Pending } else { Poll::Ready(failure) }
    })
    .await
}

/// A check by its key and what was written there, on one line and not too long.
fn named(kind: &str, what: &str) -> String {
    const LEN_MAX: usize = 100;
    let line = what.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(LEN_MAX).collect();
    let more = if cut.len() < what.len() { "..." } else { "" };
    format!("{kind} `{cut}{more}`")
}
