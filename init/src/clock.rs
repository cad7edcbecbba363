//! The keeper's clock: for back-off and deadlines only, and looked at only when one is set.

use std::time::Instant;

/// The time.
#[expect(clippy::disallowed_methods, reason = "the keeper's only look at a clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
