//! What the wall clock shows when a decision is made. It is an input like any other: it comes with the
//! event, and the same decision can be asked for again.

use rhai::Engine;

use crate::event::Wall;

/// A moment on the wall clock, in local time.
#[derive(Clone, Copy, Debug)]
pub struct MomentView {
    wall: Wall,
}

const DAY_S: i64 = 86_400;

impl MomentView {
    /// This moment.
    pub fn of(wall: Wall) -> Self {
        Self { wall }
    }

    /// Seconds since 1970, if local time were UTC.
    fn local_s(self) -> i64 {
        self.wall.unix_ms.div_euclid(1_000) + i64::from(self.wall.offset_s)
    }

    /// Seconds since local midnight.
    fn second_of_day(self) -> i64 {
        self.local_s().rem_euclid(DAY_S)
    }

    /// 1 for Monday to 7 for Sunday; 1970 began on a Thursday.
    fn weekday(self) -> i64 {
        (self.local_s().div_euclid(DAY_S) + 3).rem_euclid(7) + 1
    }

    /// The date as year, month and day (Howard Hinnant's `civil_from_days`).
    fn date(self) -> (i64, i64, i64) {
        let days = self.local_s().div_euclid(DAY_S) + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        (year + era * 400 + i64::from(month <= 2), month, day)
    }
}

/// Gives scripts the moment.
pub(super) fn teach(engine: &mut Engine) {
    engine
        .register_type_with_name::<MomentView>("Moment")
        .register_get("unix_ms", |it: &mut MomentView| it.wall.unix_ms)
        .register_get("year", |it: &mut MomentView| it.date().0)
        .register_get("month", |it: &mut MomentView| it.date().1)
        .register_get("day", |it: &mut MomentView| it.date().2)
        .register_get("weekday", |it: &mut MomentView| it.weekday())
        .register_get("hour", |it: &mut MomentView| it.second_of_day() / 3_600)
        .register_get("minute", |it: &mut MomentView| it.second_of_day() / 60 % 60)
        .register_get("second", |it: &mut MomentView| it.second_of_day() % 60);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_in_local_time() {
        let at = |unix_s: i64, offset_s| MomentView::of(Wall { unix_ms: unix_s * 1_000, offset_s });
        let new_year = at(1_767_225_599, 3_600); // 2025-12-31 23:59:59 UTC
        assert_eq!(new_year.date(), (2026, 1, 1));
        assert_eq!((new_year.second_of_day(), new_year.weekday()), (3_599, 4));
        assert_eq!(at(0, 0).date(), (1970, 1, 1));
        assert_eq!(at(-1, 0).date(), (1969, 12, 31));
        assert_eq!(at(1_709_208_000, 0).date(), (2024, 2, 29));
    }
}
