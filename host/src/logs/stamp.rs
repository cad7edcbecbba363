//! Moments as text: RFC 3339 in UTC with nanoseconds, of which the order of letters is the order of
//! time.

/// How long the text of a moment is: `2026-11-23T12:52:09.123456789Z`.
pub const LEN: usize = 30;

const NANOS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Writes nanoseconds since 1970. Times before 1970 or after 9999 are written as those bounds.
///
/// ```
/// use zinit_host::logs::stamp;
/// let mut text = [0; stamp::LEN];
/// stamp::write(1_795_438_329_123_456_789, &mut text);
/// assert_eq!(&text, b"2026-11-23T12:52:09.123456789Z");
/// assert_eq!(stamp::parse(&text), Some(1_795_438_329_123_456_789));
/// ```
pub fn write(at_ns: i64, text: &mut [u8; LEN]) {
    let (seconds, nanos) = (at_ns.max(0) / NANOS, at_ns.max(0) % NANOS);
    let (year, month, day) = date(seconds / DAY);
    let clock = seconds % DAY;
    *text = *b"0000-00-00T00:00:00.000000000Z";
    digits(&mut text[..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
    digits(&mut text[11..13], clock / 3600);
    digits(&mut text[14..16], clock / 60 % 60);
    digits(&mut text[17..19], clock % 60);
    digits(&mut text[20..29], nanos);
}

/// Reads what [`write()`] writes, from the beginning of a text that may go on.
pub fn parse(text: &[u8]) -> Option<i64> {
    let text = text.get(..LEN)?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (29, b'Z')];
    if marks.iter().any(|(at, mark)| text[*at] != *mark) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to]
            .iter()
            .try_fold(0_i64, |sum, it| it.is_ascii_digit().then(|| sum * 10 + i64::from(it - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let clock = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    let seconds = days(year, month, day) * DAY + clock;
    seconds.checked_mul(NANOS)?.checked_add(number(20, 29)?)
}

fn digits(text: &mut [u8], mut number: i64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a digit is one");
        number /= 10;
    }
}

/// The Gregorian date of a day, counted from 1970-01-01, 0 or later. Years begin in March here, so that
/// the leap day is the last.
fn date(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

/// The way back.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(at_ns: i64) -> String {
        let mut text = [0; LEN];
        write(at_ns, &mut text);
        String::from_utf8(text.to_vec()).expect("it is text")
    }

    #[test]
    fn every_day_of_four_centuries_comes_back_and_follows_the_day_before() {
        let mut before = String::new();
        for day in 0..146_097 / 2 {
            let at_ns = (day * DAY + 86_399) * NANOS + 1;
            let now = text(at_ns);
            assert!(now > before, "{now}");
            assert_eq!(parse(now.as_bytes()), Some(at_ns));
            before = now;
        }
    }

    #[test]
    fn leap_days_are_known() {
        assert_eq!(text(1_709_164_800 * NANOS), "2024-02-29T00:00:00.000000000Z");
        assert_eq!(text(4_107_542_400 * NANOS), "2100-03-01T00:00:00.000000000Z");
        assert_eq!(text(0), "1970-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in
            ["", "2026-11-23", "2026-13-23T12:52:09.123456789Z", "x026-11-23T12:52:09.123456789Z"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
