//! Durations as users write them: `10` (seconds), `200ms`, `1.5s`, `5m`, `1h`, `2d`.

const UNITS: [(&str, i64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Ten years: more is a slip of the finger, and what is added to the clock must not overflow.
const MS_MAX: i64 = 3_650 * 86_400_000;

/// The milliseconds of a duration, or why it is none, to follow "must be a duration".
///
/// # Errors
/// When it is none.
pub fn parse(text: &str) -> Result<i64, &'static str> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err("it is negative");
    }
    let digits = text.bytes().take_while(|it| it.is_ascii_digit() || *it == b'.').count();
    let (number, unit) = text.split_at(digits);
    let unit = if unit.is_empty() { "s" } else { unit.trim_start() };
    let Some((_, factor)) = UNITS.iter().find(|(word, _)| *word == unit) else {
        return Err("its unit is not one of ms, s, m, h and d");
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') {
        return Err("it does not begin with a number");
    }
    let parts = || {
        let whole = whole.parse::<i64>().ok()?.checked_mul(*factor)?;
        whole.checked_add(fraction_ms(fraction, *factor))
    };
    parts().filter(|it| *it <= MS_MAX).ok_or("it is longer than ten years")
}

/// The shortest way to write it that `parse` reads back: a number of seconds where that is whole, as
/// zinit 0.3 can read it too.
pub(super) fn write(ms: i64) -> String {
    if ms % 1_000 == 0 { (ms / 1_000).to_string() } else { format!("{ms}ms") }
}

/// What the digits after the point are worth, rounded down to a millisecond.
fn fraction_ms(digits: &str, factor: i64) -> i64 {
    let (mut sum, mut place) = (0, factor);
    // Twelve digits say more than a day's milliseconds can show.
    for digit in digits.bytes().take(12) {
        sum = sum * 10 + i64::from(digit - b'0');
        place *= 10;
    }
    let scale = place / factor;
    i64::try_from(i128::from(sum) * i128::from(factor) / i128::from(scale)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_seconds_and_a_unit_says_otherwise() {
        let told = [
            ("0", 0),
            ("10", 10_000),
            ("0.5", 500),
            ("1.2345", 1_234),
            ("200ms", 200),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1.5h", 5_400_000),
            ("2 d", 172_800_000),
            ("0.9999999999999999999999s", 999),
        ];
        for (text, ms) in told {
            assert_eq!(parse(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_why() {
        for text in ["-1", "-5s"] {
            assert_eq!(parse(text), Err("it is negative"), "{text}");
        }
        for text in ["10 parsecs", "0x10", "1e3", "five", "1_000", "10S"] {
            assert_eq!(parse(text), Err("its unit is not one of ms, s, m, h and d"), "{text}");
        }
        for text in ["", "s", ".5", "1.2.3", "."] {
            assert_eq!(parse(text), Err("it does not begin with a number"), "{text}");
        }
        for text in ["99999999999999999999", "3651d", "9223372036854775807d"] {
            assert_eq!(parse(text), Err("it is longer than ten years"), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for ms in [0, 1, 200, 999, 1_000, 1_500, 60_000, MS_MAX] {
            assert_eq!(parse(&write(ms)), Ok(ms));
        }
    }
}
