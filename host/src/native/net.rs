//! The network: one connection, one request.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, StatusCode, Url, header};
use rhai::plugin::*;
use tokio::sync::OnceCell;

use crate::interrupt::Interrupt;
use crate::native::{Said, interrupted, thrown};
use crate::refusal::{Kind, Refusal};

/// How soon Ctrl-C is seen while something is under way.
const GLANCE: Duration = Duration::from_millis(10);

/// Its words in `host::`.
#[export_module]
pub mod words {
    use rhai::NativeCallContext;
    use tokio::net::TcpStream;

    use crate::native::{Said, Session, bad_argument};

    /// Whether something accepts a TCP connection at `host:port` within so many milliseconds.
    ///
    /// ```rhai
    /// !host::tcp("127.0.0.1:1", 1_000)
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn tcp(ctx: NativeCallContext<'_>, address: &str, limit_ms: i64) -> Said<bool> {
        let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) {
            return Err(bad_argument(format!("`{address}` is no address; say `host:port`")));
        }
        let session = Session::of(&ctx)?;
        let connected = super::run(session.interrupt(), limit_ms, TcpStream::connect(address))?;
        Ok(matches!(connected, Some(Ok(_))))
    }

    /// Gets a URL within so many milliseconds and returns the status code, redirects followed. Throws
    /// when there is no answer.
    ///
    /// ```rhai
    /// { let code = ""; try { host::http("http://127.0.0.1:1/", 1_000); } catch (err) { code = err.code; } code == "internal" }
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn http(ctx: NativeCallContext<'_>, url: &str, limit_ms: i64) -> Said<i64> {
        super::get(Session::of(&ctx)?.interrupt(), url, limit_ms)
    }
}

/// Runs something on a small runtime of its own. `None` when it took longer than the limit.
fn run<F: Future>(interrupt: &Interrupt, limit_ms: i64, work: F) -> Said<Option<F::Output>> {
    let failed = |it: io::Error| thrown(Refusal::new(Kind::Internal, it.to_string()));
    let limit = Duration::from_millis(u64::try_from(limit_ms).unwrap_or(0));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let done = runtime.block_on(async {
        let mut work = pin!(tokio::time::timeout(limit, work));
        let mut glance = tokio::time::interval(GLANCE);
        poll_fn(|cx| {
            while glance.poll_tick(cx).is_ready() {}
            match work.as_mut().poll(cx) {
                _ if interrupt.is_raised() => Poll::Ready(None),
                done => done.map(|it| Some(it.ok())),
            }
        })
        .await
    });
    // A name lookup that still runs must not hold us up.
    runtime.shutdown_background();
    done.ok_or_else(interrupted)
}

fn get(interrupt: &Interrupt, url: &str, limit_ms: i64) -> Said<i64> {
    let bad =
        |why: String| thrown(Refusal::new(Kind::BadArgument, format!("`{url}` is no URL: {why}")));
    let parsed = Url::parse(url).map_err(|it| bad(it.to_string()))?;
    if !["http", "https"].contains(&parsed.scheme()) {
        return Err(bad("it begins with neither http:// nor https://".to_owned()));
    }
    match run(interrupt, limit_ms, Web::new(|it| it).get(parsed))? {
        Some(Ok(status)) => Ok(status.as_u16().into()),
        Some(Err(error)) => {
            let message = format!("no answer from {url}: {}", innermost(&error));
            Err(thrown(Refusal::new(Kind::Internal, message)))
        }
        None => {
            let message = format!("no answer from {url} within {limit_ms} ms");
            Err(thrown(Refusal::new(Kind::TimedOut, message)))
        }
    }
}

/// Asks for URLs, with clients that are made when they are first needed. No connection outlives its
/// answer: the next request is to find out again whether somebody accepts one.
pub(crate) struct Web {
    wish: Box<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>,
    plain: OnceCell<Client>,
    secure: OnceCell<Client>,
}

impl Web {
    /// Its clients are made as somebody wishes.
    pub(crate) fn new(
        wish: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        // Somebody else in this process may have chosen the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { wish: Box::new(wish), plain: OnceCell::new(), secure: OnceCell::new() }
    }

    /// The status code of a URL, redirects followed; the body is not read.
    pub(crate) async fn get(&self, mut url: Url) -> reqwest::Result<StatusCode> {
        if url.scheme() == "http" {
            let answer = self.plain().await?.get(url).send().await?;
            let target = answer.headers().get(header::LOCATION).and_then(|it| it.to_str().ok());
            match target.and_then(|it| answer.url().join(it).ok()) {
                Some(next) if next.scheme() == "https" && answer.status().is_redirection() => {
                    url = next;
                }
                _ => return Ok(answer.status()),
            }
        }
        Ok(self.secure().await?.get(url).send().await?.status())
    }

    /// A client that knows no certificates, and stops where they are needed.
    async fn plain(&self) -> reqwest::Result<&Client> {
        let policy = Policy::custom(|it| match it.url().scheme() {
            "https" => it.stop(),
            _ if it.previous().len() > 10 => it.error("too many redirects"),
            _ => it.follow(),
        });
        let build = || async { self.builder().tls_certs_only([]).redirect(policy).build() };
        self.plain.get_or_try_init(build).await
    }

    /// Reading the certificates of the machine takes a while, so it happens elsewhere.
    async fn secure(&self) -> reqwest::Result<&Client> {
        let build = || async {
            let builder = self.builder();
            let built = tokio::task::spawn_blocking(move || builder.build()).await;
            built.expect("building a client does not panic")
        };
        self.secure.get_or_try_init(build).await
    }

    fn builder(&self) -> ClientBuilder {
        let builder = Client::builder().user_agent(concat!("zinit/", env!("CARGO_PKG_VERSION")));
        (self.wish)(builder.pool_max_idle_per_host(0))
    }
}

/// The cause at the bottom: what is above it only repeats the URL.
pub(crate) fn innermost(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.downcast_ref().map_or_else(|| error.to_string(), plainly)
}

/// What the system says, without its number.
pub(crate) fn plainly(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
