//! A service whose pipes are drained: where its lines go, and who is told of them.

use std::io;
use std::sync::Arc;

use nix::time::ClockId;
use regex::Regex;

use super::file::LogFile;
use super::hot::Pace;
use super::intake::Berth;
use super::line::Head;
use super::plan::Plan;
use super::print::Printer;
use super::segments::CURRENT;
use super::syslog::Syslog;
use super::tap::Tap;
use super::trails::Trail;
use crate::clock::milliseconds;
use crate::event::Happening;
use crate::name::ServiceName;
use crate::probe::{News, Teller};
use crate::spec::{Full, Log};

pub(super) struct Service {
    pub(super) name: ServiceName,
    pub(super) plan: Plan,
    pub(super) file: LogFile,
    /// Which process of it writes.
    pub(super) incarnation: u64,
    pub(super) tap: Arc<Tap>,
    pub(super) streams: [Stream; 2],
    /// A line that is waited for.
    pub(super) awaited: Option<Box<Regex>>,
    syslog: Option<Box<Syslog>>,
    /// Its lines cannot be written, which was told.
    pub(super) in_trouble: bool,
}

/// Its stdout or stderr.
pub(super) struct Stream {
    /// What was read and is in no file yet.
    pub(super) berth: Option<Berth>,
    pub(super) pace: Pace,
    /// It is to be looked at again.
    pub(super) hot: bool,
}

impl Stream {
    pub(super) fn new(berth: Option<Berth>) -> Self {
        Self { berth, pace: Pace::new(), hot: false }
    }
}

impl Service {
    pub(super) fn new(
        name: ServiceName,
        log: &Log,
        trail: Arc<Trail>,
        tap: Arc<Tap>,
        streams: [Stream; 2],
    ) -> Self {
        let plan = Plan::of(log);
        let syslog = syslog_of(&plan, &name);
        let (file, awaited, in_trouble) = (LogFile::new(trail), None, false);
        Self { name, plan, file, incarnation: 0, tap, streams, awaited, syslog, in_trouble }
    }

    /// Its lines go there from now on.
    pub(super) fn change(&mut self, log: &Log, trail: &Arc<Trail>) {
        let plan = Plan::of(log);
        if !Arc::ptr_eq(self.file.trail(), trail) {
            self.file = LogFile::new(Arc::clone(trail));
        }
        if self.plan.syslog != plan.syslog {
            self.syslog = syslog_of(&plan, &self.name);
        }
        self.plan = plan;
    }

    /// Shows lines, as they stand in the file, to everybody else who wants them.
    pub(super) fn pass_on(&mut self, lines: &[u8], printer: &mut Printer, teller: &Teller) {
        if !self.plan.prints && self.awaited.is_none() && self.syslog.is_none() {
            return;
        }
        let (mut printed, now_ms) = (String::new(), milliseconds(ClockId::CLOCK_MONOTONIC));
        for line in lines.split(|it| *it == b'\n') {
            let Some((head, text)) = Head::parse(line) else { continue };
            let text = String::from_utf8_lossy(text);
            if self.plan.prints {
                printed += &format!("{} | {text}\n", self.name);
            }
            if let Some(it) = &mut self.syslog {
                it.send(now_ms, &head, &text);
            }
            if self.awaited.take_if(|it| it.is_match(&text)).is_some() {
                teller.happened(&self.name, Happening::Ready { incarnation: self.incarnation });
            }
        }
        printer.print(&printed);
    }

    /// Its lines cannot be written.
    pub(super) fn fails(&mut self, error: &io::Error, teller: &Teller) {
        if std::mem::replace(&mut self.in_trouble, true) {
            return;
        }
        let path = self.file.trail().dir.join(CURRENT);
        let follows = match self.plan.full {
            Full::Drop => "its lines are dropped until it can",
            Full::Block => "it waits in its writing until it can",
        };
        let why = format!("its log `{}` cannot be written: {error}: {follows}", path.display());
        teller.tell(News::Noted { service: self.name.clone(), why });
    }

    /// They can.
    pub(super) fn works(&mut self, teller: &Teller) {
        if std::mem::replace(&mut self.in_trouble, false) {
            let why = "its log can be written again".to_owned();
            teller.tell(News::Noted { service: self.name.clone(), why });
        }
    }
}

fn syslog_of(plan: &Plan, name: &ServiceName) -> Option<Box<Syslog>> {
    (!plan.syslog.is_empty()).then(|| Box::new(Syslog::new(&plan.syslog, name.as_str())))
}
