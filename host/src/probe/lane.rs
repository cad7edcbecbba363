//! Where the commands of one service run, one at a time. Only the keeper makes processes, so a
//! command is asked for, and hears later how it has ended.

use std::sync::Arc;

use tokio::sync::watch;
use zinit_keeper::wire::Exit;

use super::{News, Teller};
use crate::name::ServiceName;

/// The lane of one service. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lane(Arc<watch::Sender<State>>);

enum State {
    /// Nothing runs; and how the last command has ended.
    Free(Option<Exit>),
    /// A command runs, whether or not anybody still waits for it.
    Busy,
}

impl Default for Lane {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::Free(None))))
    }
}

impl Lane {
    pub(super) fn is_busy(&self) -> bool {
        matches!(*self.0.borrow(), State::Busy)
    }

    /// Waits until nothing runs there: an earlier round's command may still be dying.
    pub(super) async fn is_free(&self) {
        let mut state = self.0.subscribe();
        let free = state.wait_for(|it| matches!(it, State::Free(_))).await;
        free.expect("the lane outlives who waits in it");
    }

    /// Runs a command on the free lane until its end. Who waits no longer has it killed.
    pub(super) async fn run(
        &self,
        teller: &Teller,
        service: &ServiceName,
        incarnation: u64,
        line: &str,
    ) -> Exit {
        self.0.send_replace(State::Busy);
        let (name, line) = (service.clone(), line.to_owned());
        teller.tell(News::Run { service: name, incarnation, line });
        let _leash = Leash { lane: self, teller, service };
        self.is_free().await;
        match &*self.0.borrow() {
            State::Free(Some(exit)) => exit.clone(),
            _ => unreachable!("whoever frees the lane says how the command has ended"),
        }
    }

    /// Hears that the command has ended.
    pub(super) fn ended(&self, exit: Exit) {
        self.0.send_replace(State::Free(Some(exit)));
    }
}

/// Kills the command that runs on when nobody waits for it any more.
struct Leash<'a> {
    lane: &'a Lane,
    teller: &'a Teller,
    service: &'a ServiceName,
}

impl Drop for Leash<'_> {
    fn drop(&mut self) {
        if self.lane.is_busy() {
            self.teller.tell(News::Kill { service: self.service.clone() });
        }
    }
}
