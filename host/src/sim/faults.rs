//! How a simulated service behaves, and the faults that change it.

use crate::name::ServiceName;
use crate::view::Usage;

/// Something that goes wrong with a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its process ends with `SIGSEGV`, now.
    Crash,
    /// From now on it is deaf to its stop signal, gives no sign of life, and its checks time out.
    Hang,
    /// Each start takes so many milliseconds: only then is it ready, and do its checks hold.
    SlowStart(i64),
    /// Its program is not there from the next start on.
    ExecFailure,
    /// Its checks fail and hold in turns, each for so many milliseconds; they fail first.
    Flap(i64),
    /// For so many milliseconds it ends with code 1 soon after each start, and is never well: its
    /// checks fail, and it does not say that it is ready.
    Outage(i64),
    /// Nothing is wrong with it any more. What hung goes on.
    Heal,
}

impl Fault {
    /// The fault of that word, in a timeline or a test; one that lasts takes milliseconds.
    ///
    /// ```
    /// use zinit_host::sim::Fault;
    /// assert_eq!(Fault::of_word("crash", None), Some(Fault::Crash));
    /// assert_eq!(Fault::of_word("outage", Some(500)), Some(Fault::Outage(500)));
    /// assert_eq!(Fault::of_word("outage", None), None);
    /// ```
    pub fn of_word(word: &str, ms: Option<i64>) -> Option<Self> {
        match (word, ms) {
            ("crash", None) => Some(Self::Crash),
            ("hang", None) => Some(Self::Hang),
            ("exec_failure", None) => Some(Self::ExecFailure),
            ("heal", None) => Some(Self::Heal),
            ("slow_start", Some(ms)) => Some(Self::SlowStart(ms)),
            ("flap", Some(ms)) => Some(Self::Flap(ms.max(1))),
            ("outage", Some(ms)) => Some(Self::Outage(ms)),
            _ => None,
        }
    }

    /// What a timeline says: `crash db`, `outage db 500`.
    pub fn text(self, service: &ServiceName) -> String {
        match self {
            Self::Crash => format!("crash {service}"),
            Self::Hang => format!("hang {service}"),
            Self::SlowStart(ms) => format!("slow_start {service} {ms}"),
            Self::ExecFailure => format!("exec_failure {service}"),
            Self::Flap(ms) => format!("flap {service} {ms}"),
            Self::Outage(ms) => format!("outage {service} {ms}"),
            Self::Heal => format!("heal {service}"),
        }
    }
}

/// How a simulated service behaves.
#[derive(Clone, Debug, Default)]
pub(super) struct Manner {
    /// It behaves as a good service does: it says that it is ready, and that it lives.
    pub(super) lively: bool,
    pub(super) deaf: bool,
    /// Not even SIGKILL ends it: the kernel is busy with it.
    pub(super) stuck: bool,
    pub(super) mute: bool,
    pub(super) lost: bool,
    /// Others of it live on when its main process ends.
    pub(super) litter: bool,
    /// Its checks fail.
    pub(super) ill: bool,
    /// Its checks do not end.
    pub(super) hangs: bool,
    /// It gives no sign of life, and its checks time out.
    pub(super) silent: bool,
    /// What its processes use.
    pub(super) usage: Usage,
    /// Somebody else listens on its port.
    pub(super) port_taken: bool,
    /// How long each start takes.
    pub(super) slow_ms: i64,
    /// Since when its checks fail and hold in turns, and for how long each.
    pub(super) flaps: Option<(i64, i64)>,
    /// Until when it is not well, and ends soon after each start.
    pub(super) out_until: i64,
    /// After how long it ends by itself, with code 0.
    pub(super) runs_ms: Option<i64>,
    /// It ends soon after its start, and at once, while this service is ill.
    pub(super) needs: Option<ServiceName>,
}

impl Manner {
    /// Nothing is wrong with it any more.
    pub(super) fn heal(&mut self) {
        let Self { lively, runs_ms, needs, litter, .. } = std::mem::take(self);
        *self = Self { lively, runs_ms, needs, litter, ..Self::default() };
    }

    /// Whether all checks hold once it is up.
    pub(super) fn is_well(&self) -> bool {
        !self.ill && !self.hangs && !self.silent && self.flaps.is_none()
    }

    /// Whether a check fails that is made now, of a process that was born then.
    pub(super) fn is_ill(&self, now: i64, born: i64) -> bool {
        let flaps = |(since, period): (i64, i64)| ((now - since) / period) % 2 == 0;
        let starts = now < born + self.slow_ms;
        self.ill || self.flaps.is_some_and(flaps) || starts || self.is_out(now)
    }

    /// Whether it cannot run now, whatever it tries.
    pub(super) fn is_out(&self, now: i64) -> bool {
        now < self.out_until
    }
}
