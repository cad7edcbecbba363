//! Moments as users write them: `10m` (ago), `2026-11-23T12:00:00Z`, and in nanoseconds since 1970.

use crate::logs::stamp;
use crate::spec::duration_ms;

const NANOS_PER_MS: i64 = 1_000_000;

/// The moment that a text means, in nanoseconds since 1970: a duration before `now_ns`, or a date
/// and a time of day with their offset from UTC as RFC 3339 has it.
///
/// ```
/// use zinit_host::moment;
/// assert_eq!(moment::parse("1.5s", 2_000_000_000), Ok(500_000_000));
/// assert_eq!(moment::parse("1970-01-01T01:00:01.5+01:00", 0), Ok(1_500_000_000));
/// assert!(moment::parse("tomorrow", 0).is_err());
/// ```
///
/// # Errors
/// Why it is none, to follow "must be a time".
pub fn parse(text: &str, now_ns: i64) -> Result<i64, String> {
    let text = text.trim();
    if text.get(4..5) == Some("-") {
        return date_and_time(text).ok_or_else(|| {
            "it is no time of a day with its offset, such as `2026-11-23T12:00:00Z`".to_owned()
        });
    }
    match duration_ms(text) {
        Ok(ms) => Ok(now_ns.saturating_sub(ms.saturating_mul(NANOS_PER_MS)).max(0)),
        Err(why) => Err(format!("as a duration, {why}")),
    }
}

/// A moment as RFC 3339 has it, in UTC with nanoseconds.
///
/// ```
/// assert_eq!(zinit_host::moment::text(1), "1970-01-01T00:00:00.000000001Z");
/// ```
pub fn text(at_ns: i64) -> String {
    let mut text = [0; stamp::LEN];
    stamp::write(at_ns, &mut text);
    text.iter().map(|it| char::from(*it)).collect()
}

/// The shape of a moment without fraction and offset.
const SECOND: &str = "0000-00-00T00:00:00";

fn date_and_time(text: &str) -> Option<i64> {
    let (head, rest) = text.split_at_checked(SECOND.len())?;
    let head = head.replacen([' ', 't'], "T", 1);
    let digits =
        rest.strip_prefix('.').map_or(0, |it| it.bytes().take_while(u8::is_ascii_digit).count());
    let (fraction, offset) = match digits {
        0 => ("", rest),
        _ => (&rest[1..=digits], &rest[1 + digits..]),
    };
    let whole = format!("{head}.{:0<9.9}Z", fraction);
    let at_ns = stamp::parse(whole.as_bytes())?;
    // A day or a minute that there is not comes out as another one.
    (self::text(at_ns) == whole).then_some(())?;
    at_ns.checked_sub(offset_ns(offset)?).filter(|it| *it >= 0)
}

/// How far this is from UTC: `Z`, `+01:00`.
fn offset_ns(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let two = |it: &str, max: i64| {
        let fine = it.len() == 2 && it.bytes().all(|it| it.is_ascii_digit());
        it.parse::<i64>().ok().filter(|it| fine && *it <= max)
    };
    Some(sign * (two(hours, 23)? * 60 + two(minutes, 59)?) * 60_000 * NANOS_PER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_795_435_200_000_000_000;

    #[test]
    fn times_are_ago_or_of_a_day() {
        for (said, at_ns) in [
            ("2026-11-23T12:00:00Z", NOON),
            ("2026-11-23 12:00:00z", NOON),
            ("2026-11-23T12:00:00.000000001Z", NOON + 1),
            ("2026-11-23T12:00:00.5+00:00", NOON + 500_000_000),
            ("2026-11-23T14:30:00+02:30", NOON),
            ("2026-11-23T07:00:00.1234567891-05:00", NOON + 123_456_789),
            ("0", NOON),
            ("10m", NOON - 600_000_000_000),
            ("200ms", NOON - 200_000_000),
        ] {
            assert_eq!(parse(said, NOON), Ok(at_ns), "{said}");
        }
        assert_eq!(parse("10d", 5), Ok(0), "before 1970 there is nothing");
    }

    #[test]
    fn what_is_no_time_is_told() {
        for said in [
            "",
            "tomorrow",
            "2026-11-23",
            "2026-11-23T12:00:00",
            "2026-02-30T12:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T12:60:00Z",
            "2026-11-23T12:00:00.Z",
            "2026-11-23T12:00:00+1:00",
            "2026-11-23T12:00:00+01:00x",
            "-5m",
            "2026-äöüß-3T12:00:00Z",
        ] {
            assert!(parse(said, NOON).is_err(), "{said}");
        }
    }
}
