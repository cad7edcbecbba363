//! What the methods work with: the board to read, the desk to ask at, the logs and the files.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit, watch};
use tokio::time::sleep;

use super::lookout::Post;
use super::shown::Shown;
use super::usage::Ledger;
use crate::board::{Board, Status};
use crate::chronicle::Chronicle;
use crate::desk::{Answer, Command, Desk};
use crate::logs::Logs;
use crate::name::ServiceName;
use crate::policy::told::Refused;
use crate::refusal::{Kind, Refusal};
use crate::relay::Faces;
use crate::store::Store;

/// Everything that a method may use. Shared by all connections.
#[derive(Debug)]
pub struct Office {
    /// The status of every service.
    pub board: Arc<Board>,
    /// Where the core is asked.
    pub desk: Desk,
    /// What the services print.
    pub logs: Logs,
    /// The files of the services.
    pub store: Store,
    /// What happened lately.
    pub chronicle: Arc<Chronicle>,
    /// The proxies.
    pub faces: Faces,
    pub(super) shown: Shown,
    pub(super) ledger: Ledger,
    /// Held while a file and the core are told the same thing, so that they hear it in one order.
    pub(super) files: Mutex<()>,
    pub(super) lookout: Post,
    /// How many may read logs at the same time.
    readers: Semaphore,
    stop: watch::Receiver<bool>,
    /// The last policy that was refused, if none was taken over since.
    pub(crate) refused: Arc<std::sync::Mutex<Option<Refused>>>,
}

/// Why a wait ended without what it waited for.
#[derive(Debug)]
pub(super) enum Unmet {
    /// Its time was up.
    Late,
    /// The server is stopping.
    Stopping,
}

impl Office {
    /// Each reads a page, then it is another one's turn.
    const READERS_MAX: usize = 4;

    /// An office that closes when `stop` becomes true, which means that everything is down, or loses
    /// its sender, as when another server takes over.
    pub fn new(
        board: Arc<Board>,
        desk: Desk,
        logs: Logs,
        store: Store,
        chronicle: Arc<Chronicle>,
        faces: Faces,
        stop: watch::Receiver<bool>,
    ) -> Arc<Self> {
        Arc::new(Self {
            board,
            desk,
            logs,
            store,
            chronicle,
            faces,
            shown: Shown::default(),
            ledger: Ledger::default(),
            lookout: Post::default(),
            files: Mutex::default(),
            readers: Semaphore::new(Self::READERS_MAX),
            stop,
            refused: Arc::default(),
        })
    }

    /// Returns when the office closes.
    pub(super) fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.clone();
        // An error means that whoever could say so is gone.
        async move { drop(stop.wait_for(|it| *it).await) }
    }

    /// Whether it has closed because everything is down, and not for another server.
    pub(super) fn has_ended(&self) -> bool {
        *self.stop.borrow()
    }

    /// The status of a service that must exist.
    pub(super) fn known(&self, name: &str) -> Result<Arc<Status>, Refusal> {
        self.board.get(name).ok_or_else(|| self.unknown(name))
    }

    /// There is no such service; the nearest is suggested.
    pub(super) fn unknown(&self, name: &str) -> Refusal {
        let all = self.board.all();
        let refusal = Refusal::unknown_service(name, all.iter().map(|it| it.name.as_str()));
        match ServiceName::parse(name) {
            Ok(it) if self.store.path(&it).exists() => {
                refusal.hint(format!("its file has not been read: `zinit reload {name}` does it"))
            }
            _ => refusal,
        }
    }

    /// Asks the core.
    pub(super) async fn ask(&self, command: Command) -> Answer {
        self.desk.ask(command).await.map_err(|refusal| {
            let name = refusal.data.get("service").and_then(|it| it.as_str());
            match name.filter(|_| refusal.kind == Kind::UnknownService) {
                Some(name) => self.unknown(name),
                None => refusal,
            }
        })
    }

    /// Waits until `check` finds on the board what it looks for. It looks now and after each change.
    pub(super) async fn until<T>(
        &self,
        limit: Duration,
        mut check: impl FnMut(&Board) -> Option<T>,
    ) -> Result<T, Unmet> {
        self.watch(self.board.changes(), limit, || check(&self.board)).await
    }

    /// Waits for one's turn to read logs; it is over when this is dropped.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        self.readers.acquire().await.expect("nobody closes it")
    }

    /// Does this, but not for longer than `limit`, and not beyond the office's end.
    pub(super) async fn before<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Unmet> {
        let (mut late, mut closed) = (pin!(sleep(limit)), pin!(self.closed()));
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                Poll::Ready(Ok(done))
            } else if closed.as_mut().poll(cx).is_ready() {
                Poll::Ready(Err(Unmet::Stopping))
            } else {
                late.as_mut().poll(cx).map(|()| Err(Unmet::Late))
            }
        })
        .await
    }

    /// Waits until `check` finds what it looks for. It looks now and after each of these changes.
    pub(super) async fn watch<T>(
        &self,
        mut changes: watch::Receiver<u64>,
        limit: Duration,
        mut check: impl FnMut() -> Option<T>,
    ) -> Result<T, Unmet> {
        let found = async {
            loop {
                if let Some(found) = check() {
                    return found;
                }
                // Its sender is there as long as the office is.
                let _ = changes.changed().await;
            }
        };
        self.before(limit, found).await
    }
}

impl Unmet {
    /// The refusal that says so; `late` is the sentence for the first of the two.
    pub(super) fn refusal(&self, late: impl FnOnce() -> String) -> Refusal {
        match self {
            Self::Late => Refusal::new(Kind::TimedOut, late()),
            Self::Stopping => Refusal::new(Kind::ShuttingDown, "the server is stopping"),
        }
    }
}
