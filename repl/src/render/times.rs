//! Moments, ages and durations, as users read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment, as how long ago it was: `3m 20s ago`.
pub(crate) fn since(since_ms: i64) -> String {
    if since_ms < 0 { String::new() } else { format!("{} ago", ago(secs_since(since_ms))) }
}

/// The whole seconds since a moment.
pub(crate) fn secs_since(since_ms: i64) -> u64 {
    u64::try_from(now_ms() - since_ms).unwrap_or(0) / 1000
}

/// A moment as date and time of day, in the time zone of the world.
pub(crate) fn clock(at_ms: i64) -> String {
    let secs = at_ms.div_euclid(1000);
    let (days, secs) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second, ms) =
        (secs / 3600, secs / 60 % 60, secs % 60, at_ms.rem_euclid(1000));
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The date of a day since 1970. Years are counted from March, so that the odd day comes last.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, (month + 2) % 12 + 1);
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// A moment to come: `in 3 s`; `now` when it has come.
pub(crate) fn in_secs(at_ms: i64) -> String {
    match u64::try_from(at_ms - now_ms()).unwrap_or(0).div_ceil(1000) {
        0 => "now".to_owned(),
        secs @ 1..60 => format!("in {secs} s"),
        secs => format!("in {}", ago(secs)),
    }
}

#[expect(clippy::disallowed_methods, reason = "an age is drawn when it is looked at")]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A span of time in its two largest units.
pub(crate) fn ago(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m {}s", secs / 60, secs % 60),
        3600..86400 => format!("{}h {}m", secs / 3600, secs / 60 % 60),
        _ => format!("{}d {}h", secs / 86400, secs / 3600 % 24),
    }
}

/// How long something lasts: `250ms`, `1.5s`, and from a minute on as [`ago`] has it.
pub(crate) fn lasts(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ms}ms"),
        1_000..60_000 if ms % 1_000 >= 100 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        _ => ago(ms / 1_000),
    }
}

/// How long something took, as [`lasts`] has it; with decimals if that was next to nothing.
pub(crate) fn took(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    match u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) {
        0 => format!("{ms:.2}ms"),
        1..10 => format!("{ms:.1}ms"),
        whole => lasts(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_a_date() {
        let known = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        known.into_iter().for_each(|(at_ms, text)| assert_eq!(clock(at_ms), text));
    }

    #[test]
    fn ages_are_told_in_two_units() {
        assert_eq!([59, 61, 7260, 90_000].map(ago), ["59s", "1m 1s", "2h 1m", "1d 1h"]);
    }

    #[test]
    fn durations_have_few_digits() {
        let spans = [0, 250, 1_000, 1_550, 61_000, 7_380_000].map(lasts);
        assert_eq!(spans, ["0s", "250ms", "1s", "1.5s", "1m 1s", "2h 3m"]);
        let told = [0.25, 3.21, 42.1, 1_500.0, 61_000.0];
        let told = told.map(|ms| took(Duration::from_secs_f64(ms / 1e3)));
        assert_eq!(told, ["0.25ms", "3.2ms", "42ms", "1.5s", "1m 1s"]);
    }
}
