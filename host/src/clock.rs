//! The only look at a clock in this crate. The core has none: it is told the time with each event.

#![expect(clippy::disallowed_methods, reason = "whoever needs a clock looks at it from here")]

use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::time::{ClockId, clock_gettime};

use crate::event::Wall;

/// The time, for deadlines and ages.
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// The time on one of the kernel's clocks, in whole milliseconds.
pub(crate) fn milliseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock).expect("every Linux has these clocks");
    time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000
}

/// The wall clock, in nanoseconds since 1970.
pub(crate) fn wall_ns() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_REALTIME).expect("every Linux has this clock");
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

/// The CPU time that this thread has used, in microseconds.
pub(crate) fn thread_cpu_us() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock");
    time.tv_sec() * 1_000_000 + time.tv_nsec() / 1_000
}

/// The wall clock, and how far local time is from UTC.
pub(crate) fn wall() -> Wall {
    let unix_ms = milliseconds(ClockId::CLOCK_REALTIME);
    let moment = Timestamp::from_millisecond(unix_ms).unwrap_or_default();
    Wall { unix_ms, offset_s: TimeZone::system().to_offset(moment).seconds() }
}
