//! Times as people write them: ago, today, at a time of day here; and as they read them.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use zinit_host::moment;

/// A moment, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct When(pub(crate) i64);

impl When {
    /// This moment.
    pub(crate) fn now() -> Self {
        Self(nanoseconds(&ZonedDateTime::now()))
    }

    /// The moment that a text means now and here.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        at(text, &ZonedDateTime::now()).map(Self)
    }
}

/// The moment as its date and time of day here.
pub(crate) fn local(at_ns: i64) -> String {
    shown(at_ns, TimeZone::system())
}

fn shown(at_ns: i64, zone: TimeZone) -> String {
    let at = Timestamp::from_nanosecond(at_ns.into()).expect("64 bits reach to the year 2262");
    at.to_zoned_datetime(zone).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

fn at(text: &str, now: &ZonedDateTime) -> Result<i64, String> {
    let text = text.trim();
    if let Ok(at_ns) = moment::parse(text, nanoseconds(now)) {
        return Ok(at_ns);
    }
    let moment = match text {
        "now" => Some(now.clone()),
        "today" => now.start_of_day().ok(),
        "yesterday" => now.yesterday().and_then(|it| it.start_of_day()).ok(),
        _ => of_day(text, now),
    };
    let moment = moment.map(|it| nanoseconds(&it)).filter(|it| *it >= 0);
    moment.ok_or_else(|| {
        "a time is `10m` (ago), `12:00`, `2026-11-23`, `2026-11-23 12:00`, `today`, `yesterday` or as in \
         RFC 3339"
            .to_owned()
    })
}

/// `12:00` of today, or `2026-11-23 12:00`; seconds may follow, and the time may be left out.
fn of_day(text: &str, now: &ZonedDateTime) -> Option<ZonedDateTime> {
    // What has an offset was none that is understood, and is not to be read without it.
    let is_plain = text.bytes().all(|it| it.is_ascii_digit() || b"-:. T".contains(&it));
    if !is_plain || text.len() < "1:00".len() {
        return None;
    }
    let civil = match text.as_bytes().get(4) {
        Some(b'-') if text.matches('-').count() == 2 => text.parse::<DateTime>().ok()?,
        _ if text.contains(':') => now.date().to_datetime(text.parse::<Time>().ok()?),
        _ => return None,
    };
    civil.to_zoned_datetime(now.time_zone().clone()).ok()
}

fn nanoseconds(moment: &ZonedDateTime) -> i64 {
    i64::try_from(moment.timestamp().as_nanosecond()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::tz;

    use super::*;

    /// Noon in a zone two hours east.
    fn noon() -> ZonedDateTime {
        let zone = TimeZone::fixed(tz::offset(2));
        "2026-11-23 12:00".parse::<DateTime>().unwrap().to_zoned_datetime(zone).unwrap()
    }

    #[test]
    fn times_are_ago_or_here() {
        for (said, shown) in [
            ("now", "2026-11-23 12:00:00.000"),
            ("today", "2026-11-23 00:00:00.000"),
            ("yesterday", "2026-11-22 00:00:00.000"),
            ("90m", "2026-11-23 10:30:00.000"),
            ("2d", "2026-11-21 12:00:00.000"),
            ("08:15", "2026-11-23 08:15:00.000"),
            ("08:15:30", "2026-11-23 08:15:30.000"),
            ("2026-11-20", "2026-11-20 00:00:00.000"),
            ("2026-11-20 08:15", "2026-11-20 08:15:00.000"),
            ("2026-11-20T08:15:30.25", "2026-11-20 08:15:30.250"),
            ("2026-11-20T08:15:30Z", "2026-11-20 10:15:30.000"),
            ("2026-11-20T08:15:30+01:00", "2026-11-20 09:15:30.000"),
        ] {
            let at_ns = at(said, &noon()).unwrap_or_else(|why| panic!("{said}: {why}"));
            assert_eq!(super::shown(at_ns, noon().time_zone().clone()), shown, "{said}");
        }
    }

    #[test]
    fn what_is_no_time_is_told() {
        for said in [
            "",
            "tomorrow",
            "soon",
            "25:00",
            "2026-13-01",
            "2026-02-30 08:00",
            "-5m",
            "12",
            "1x",
            "2026-11-20T08:15:30+1",
            "08:15Z",
        ] {
            // A plain number is that many seconds ago.
            assert_eq!(at(said, &noon()).is_ok(), said == "12", "{said}");
        }
    }
}
