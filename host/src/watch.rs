//! Takes over what the files say when somebody asks for it with a signal, or, if that is wanted,
//! whenever the policy is written. Both happen beside the clients, and are told in the server's log.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::machine::{complain, complain_of};
use crate::rpc::office::Office;
use crate::rpc::policy;

/// Editors write in several steps: when nothing has happened for so long, they are done.
const QUIET: Duration = Duration::from_millis(200);

/// The directory with the further files of a policy, in that of the services.
const FOLDER: &str = "policy";

/// The file of a policy that stands beside the services.
const FILE: &str = "policy.rhai";

/// Takes over everything whenever the bell rings.
pub(crate) async fn on_hangup(office: Arc<Office>, bell: Arc<Notify>) {
    loop {
        bell.notified().await;
        match policy::renew_all(&office).await {
            Ok(told) => told.iter().for_each(|it| complain(it)),
            Err(refusal) => {
                complain("cannot reload:");
                complain_of(&refusal);
            }
        }
    }
}

/// Takes over the policy whenever one of its files has been written.
pub(crate) async fn on_change(office: Arc<Office>, config_dir: PathBuf) {
    let mut lookout = match Lookout::of(&config_dir) {
        Ok(lookout) => lookout,
        Err(error) => {
            return complain(&format!("cannot watch {}: {error}", config_dir.display()));
        }
    };
    // What was written after it was read and before anybody looked is seen by nobody else.
    if stale(&office).await {
        take_over(&office).await;
    }
    loop {
        if let Err(error) = lookout.changed().await {
            return complain(&format!("cannot watch {}: {error}", config_dir.display()));
        }
        take_over(&office).await;
    }
}

/// Whether the files say something that has been neither taken over nor refused.
async fn stale(office: &Office) -> bool {
    let refused = office.refused.lock().expect("nobody panics with it").is_some();
    !refused && policy::differs(office).await
}

async fn take_over(office: &Office) {
    match policy::renew(office).await {
        Ok(told) => told.iter().for_each(|it| complain(it)),
        Err(refusal) => {
            complain("the policy is refused, the one before goes on deciding:");
            complain_of(&refusal);
        }
    }
}

/// Sees files of a policy change.
struct Lookout {
    fd: AsyncFd<Fd>,
    config_dir: PathBuf,
    /// The further files, if there is a directory of them.
    folder: Option<WatchDescriptor>,
}

/// Both is asked of what is waited for.
struct Fd(Inotify);

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Lookout {
    fn of(config_dir: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(config_dir, what_counts())?;
        #[expect(unsafe_code, reason = "the runtime asks for a promise about the descriptor")]
        // SAFETY: the descriptor is the same as long as its owner lives, which is as long as this.
        let fd = unsafe { AsyncFd::register(Fd(inotify)) }?;
        let mut lookout = Self { fd, config_dir: config_dir.to_owned(), folder: None };
        lookout.look_into_folder();
        Ok(lookout)
    }

    /// The directory of the further files may be another one now, or none.
    fn look_into_folder(&mut self) {
        let inotify = &self.fd.get_ref().0;
        if let Some(before) = self.folder.take() {
            // It is gone by itself when the directory is.
            let _ = inotify.rm_watch(before);
        }
        let path = self.config_dir.join(FOLDER);
        self.folder = inotify.add_watch(&path, what_counts() | AddWatchFlags::IN_ONLYDIR).ok();
    }

    /// Waits until a file of the policy has changed, and then until whoever did it is done.
    async fn changed(&mut self) -> io::Result<()> {
        while !self.next().await? {}
        loop {
            match timeout(QUIET, self.next()).await {
                Ok(more) => drop(more?),
                Err(_) => return Ok(()),
            }
        }
    }

    /// Waits for the next change of any file, and says whether it was one of the policy's.
    async fn next(&mut self) -> io::Result<bool> {
        let events = loop {
            let mut ready = self.fd.readable().await?;
            match ready.get_inner().0.read_events() {
                Ok(events) => break events,
                Err(nix::Error::EAGAIN) => ready.clear_ready(),
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let of_folder = |it: &InotifyEvent| it.name.as_deref() == Some(OsStr::new(FOLDER));
        let counts = events.iter().any(|it| self.counts(it));
        if events.iter().any(of_folder) {
            self.look_into_folder();
        }
        Ok(counts)
    }

    fn counts(&self, event: &InotifyEvent) -> bool {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return true;
        }
        let Some(name) = event.name.as_deref().map(Path::new) else { return false };
        if Some(event.wd) == self.folder {
            return name.extension().is_some_and(|it| it == "rhai");
        }
        name == Path::new(FILE) || name == Path::new(FOLDER)
    }
}

/// A file was written whole, moved here, or is gone.
fn what_counts() -> AddWatchFlags {
    AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
}
