//! A prober whose news the test reads, and words for short.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use zinit_host::event::Happening;
use zinit_host::name::ServiceName;
use zinit_host::probe::{News, Prober, Teller};
use zinit_host::spec::Health;

/// Nothing here takes so long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) prober: Prober,
    pub(crate) news: Receiver<News>,
}

impl World {
    pub(crate) fn new() -> Self {
        let (sender, news) = channel();
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).unwrap();
        Self { prober: Prober::new(Teller::new(sender, Arc::new(bell))), news }
    }

    #[track_caller]
    pub(crate) fn next(&self) -> News {
        self.news.recv_timeout(PATIENCE).expect("some news")
    }

    /// What a round of these checks finds.
    #[track_caller]
    pub(crate) fn failure(&self, health: Health) -> Option<String> {
        self.prober.check(&name("web"), 7, Arc::new(health));
        let News::Happened(service, Happening::Checked { incarnation: 7, failure }) = self.next()
        else {
            panic!("no round is over")
        };
        assert_eq!(service, name("web"));
        failure
    }
}

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}
