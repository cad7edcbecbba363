//! The clock.

use rhai::plugin::*;

/// Its words in `host::`.
#[export_module]
pub mod words {
    use std::time::Duration;

    use nix::time::ClockId;
    use rhai::NativeCallContext;

    use crate::clock::milliseconds;
    use crate::interrupt::Woken;
    use crate::native::{Said, Session, interrupted};

    /// Milliseconds since 1970.
    ///
    /// ```rhai
    /// host::now_ms() > 1_600_000_000_000
    /// ```
    #[rhai_fn(volatile)]
    pub fn now_ms() -> i64 {
        milliseconds(ClockId::CLOCK_REALTIME)
    }

    /// Does nothing for so many milliseconds.
    ///
    /// ```rhai
    /// host::sleep_ms(1) == ()
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn sleep_ms(ctx: NativeCallContext<'_>, ms: i64) -> Said<()> {
        let limit = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        match Session::of(&ctx)?.interrupt().sleep(limit) {
            Ok(Woken::Interrupted) => Err(interrupted()),
            _ => Ok(()),
        }
    }
}

/// Takes the place of Rhai's own `sleep`, which nothing could interrupt.
#[export_module]
pub mod instead {
    use rhai::NativeCallContext;

    use crate::native::Said;

    /// Does nothing for so many seconds.
    #[rhai_fn(name = "sleep", return_raw, volatile)]
    pub fn sleep_int(ctx: NativeCallContext<'_>, secs: i64) -> Said<()> {
        super::words::sleep_ms(ctx, secs.saturating_mul(1000))
    }

    /// Does nothing for so many seconds.
    #[rhai_fn(name = "sleep", return_raw, volatile)]
    pub fn sleep_float(ctx: NativeCallContext<'_>, secs: f64) -> Said<()> {
        super::words::sleep_ms(ctx, (secs * 1000.0) as i64)
    }
}
