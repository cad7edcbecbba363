//! The updater's only look at the clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time for deadlines.
#[expect(clippy::disallowed_methods, reason = "what is fetched or started may stay silent")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits where no event tells of what is waited for.
#[expect(clippy::disallowed_methods, reason = "the program's only thread has nothing else to do")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The date and time in UTC, as RFC 3339 has it.
pub(crate) fn date() -> String {
    written(unix_secs())
}

/// The date and time in seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "releases and scripts are dated")]
pub(crate) fn unix_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// These seconds since 1970 as a date: the civil calendar, counted in eras of 400 years that begin in
/// March.
fn written(secs: u64) -> String {
    let (days, time) = (secs / 86_400 + 719_468, secs % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(written(0), "1970-01-01T00:00:00Z");
        assert_eq!(written(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(written(1_795_438_800), "2026-11-23T13:00:00Z");
        assert_eq!(written(4_102_444_799), "2099-12-31T23:59:59Z");
    }
}
