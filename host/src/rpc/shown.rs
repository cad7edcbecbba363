//! The answers of `service.status`, kept for as long as they are true.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::lines::Dropped;
use crate::board::{Board, Status};
use crate::clock::instant;
use crate::logs::trails::Trails;
use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::stats::{Tree, family};

/// Serialised answers by service. One is used again while the board shows the very same status and
/// its process tree and the count of what was dropped are younger than [`AGE_MAX`](Self::AGE_MAX).
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<HashMap<ServiceName, Answer>>);

#[derive(Debug)]
struct Answer {
    status: Arc<Status>,
    made: Instant,
    text: Arc<RawValue>,
}

#[derive(Serialize)]
struct Full<'a> {
    #[serde(flatten)]
    status: &'a Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_dropped: Option<Dropped>,
    process_tree: Tree,
}

impl Shown {
    const AGE_MAX: Duration = Duration::from_millis(100);
    /// Answers that are kept; those who watch one service watch few.
    const KEPT_MAX: usize = 64;

    /// The answer for this status, which comes from this board, with what these trails know.
    pub(super) fn of(
        &self,
        board: &Board,
        trails: &Trails,
        status: Arc<Status>,
    ) -> Result<Arc<RawValue>, Refusal> {
        let now = instant();
        let mut kept = self.0.lock().expect("nothing panics while it holds the answers");
        if let Some(answer) = kept.get(status.name.as_str())
            && Arc::ptr_eq(&answer.status, &status)
            && now.duration_since(answer.made) < Self::AGE_MAX
        {
            return Ok(Arc::clone(&answer.text));
        }
        let text = Self::made(board, trails, &status)?;
        if kept.len() >= Self::KEPT_MAX {
            kept.clear();
        }
        let answer = Answer { made: now, text: Arc::clone(&text), status };
        kept.insert(answer.status.name.clone(), answer);
        Ok(text)
    }

    fn made(board: &Board, trails: &Trails, status: &Status) -> Result<Arc<RawValue>, Refusal> {
        let log_dropped = trails.get(status.name.as_str()).and_then(|it| Dropped::of(&it));
        let process_tree = family(status.pid, board.leaf(status.name.as_str()).as_deref());
        to_raw_value(&Full { status, log_dropped, process_tree })
            .map(Arc::from)
            .map_err(|error| Refusal::new(Kind::Internal, error.to_string()))
    }
}
