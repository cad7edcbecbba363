//! Numbers of bytes as users write them: `1048576`, `512MiB`, `1G`, `500MB`.

/// A letter alone counts by 1024, as the kernel and systemd have it; only `kB`, `MB` and so on, which
/// say so, count by 1000.
const UNITS: [(&str, u64); 14] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
    ("", 1),
];

/// The bytes, or why it is no size, to follow "must be a size".
pub(crate) fn parse(text: &str) -> Result<u64, &'static str> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("it does not begin with a whole number");
    }
    let unit = unit.trim_start();
    if unit.starts_with('.') {
        return Err("it is not a whole number");
    }
    let same = |it: &&(&str, u64)| it.0.eq_ignore_ascii_case(unit);
    let Some((_, factor)) = UNITS.iter().find(same) else {
        return Err("its unit is not one of KiB, MiB, GiB and TiB");
    };
    let bytes = number.parse::<u64>().ok().and_then(|it| it.checked_mul(*factor));
    bytes.filter(|it| *it < u64::MAX).ok_or("it is too large")
}

/// The shortest way to write it that `parse` reads back.
pub(super) fn write(bytes: u64) -> String {
    let fits = |it: &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(it.1);
    match UNITS[..4].iter().find(fits) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_counts_by_1024_and_a_unit_says_otherwise() {
        let told = [
            ("0", 0),
            ("4096", 4_096),
            ("1k", 1_024),
            ("500M", 524_288_000),
            ("500MB", 500_000_000),
            ("512MiB", 536_870_912),
            ("1 GiB", 1 << 30),
            ("2t", 2 << 40),
        ];
        for (text, bytes) in told {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "-1", "1.5G", "1 Gb/s", "MiB", "18446744073709551615", "99999999T", "x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for bytes in [0, 1, 1_000, 1_024, 1_536, 3 << 30, (1 << 40) + 1, u64::MAX - 1] {
            assert_eq!(parse(&write(bytes)), Ok(bytes), "{bytes}");
        }
        assert_eq!((write(512 << 20), write(1_500)), ("512MiB".to_owned(), "1500".to_owned()));
    }
}
