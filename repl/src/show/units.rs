//! Numbers in the units that people read. Which key has which unit is for `unit_of` to say, a function of
//! `zinit/show` that a user may define anew.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rhai::{Array, Dynamic};
use zinit_host::sitting::Sitting;

use crate::render::{ago, in_secs, lasts, secs_since};

/// What a number, or a word, stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Itself.
    #[default]
    None,
    /// An amount of memory or the like.
    Bytes,
    /// Milliseconds that something lasts.
    Ms,
    /// Seconds that something lasts.
    Secs,
    /// Hundredths.
    Percent,
    /// Milliseconds since 1970.
    Moment,
    /// The state of a service.
    State,
}

impl Unit {
    fn of(word: &str) -> Self {
        match word {
            "bytes" => Self::Bytes,
            "ms" => Self::Ms,
            "s" => Self::Secs,
            "percent" => Self::Percent,
            "moment" => Self::Moment,
            "state" => Self::State,
            _ => Self::None,
        }
    }

    /// The value as people read it; nothing if it is best shown as it is.
    pub(crate) fn shown(self, value: &Dynamic) -> Option<String> {
        let whole = value.as_int().ok();
        match self {
            Self::None | Self::State => None,
            Self::Percent => {
                let number = value.as_float().ok().or(whole.map(|it| it as f64))?;
                Some(format!("{number:.1}%"))
            }
            Self::Moment => whole.map(moment),
            Self::Bytes => whole.and_then(|it| u64::try_from(it).ok()).map(bytes),
            Self::Ms => whole.and_then(|it| u64::try_from(it).ok()).map(lasts),
            Self::Secs => whole.and_then(|it| u64::try_from(it).ok()).map(ago),
        }
    }
}

/// An amount: `512 B`, `11.8 MB`.
pub(crate) fn bytes(amount: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if amount < 1024 {
        return format!("{amount} B");
    }
    let (mut shown, mut unit) = (amount as f64 / 1024.0, 0);
    // What would be rounded to 1024 is one of the next unit.
    while shown >= 1023.95 && unit + 1 < UNITS.len() {
        (shown, unit) = (shown / 1024.0, unit + 1);
    }
    format!("{shown:.1} {}", UNITS[unit])
}

/// How long ago it was or how soon it will be; a dash for no moment at all.
fn moment(at_ms: i64) -> String {
    match in_secs(at_ms) {
        _ if at_ms <= 0 => "-".to_owned(),
        past if past == "now" => format!("{} ago", ago(secs_since(at_ms))),
        future => future,
    }
}

/// The units of keys, each asked for once.
pub(crate) struct Units<'a> {
    sitting: &'a Sitting,
    known: RefCell<BTreeMap<String, Unit>>,
}

impl<'a> Units<'a> {
    /// Those that this sitting decides on.
    pub(crate) fn new(sitting: &'a Sitting) -> Self {
        Self { sitting, known: RefCell::default() }
    }

    /// The unit of a key; for one without, that of what it is in.
    pub(crate) fn of(&self, key: &str, outer: Unit) -> Unit {
        let known = self.known.borrow().get(key).copied();
        let unit = known.unwrap_or_else(|| {
            let unit = self.asked(key);
            self.known.borrow_mut().insert(key.to_owned(), unit);
            unit
        });
        if unit == Unit::None { outer } else { unit }
    }

    fn asked(&self, key: &str) -> Unit {
        let answer = self.sitting.ask("unit_of", (key.to_owned(),));
        let word = answer.and_then(|it| it.into_string().ok());
        word.map(|it| Unit::of(&it)).unwrap_or_default()
    }

    /// The keys in the order of columns. Whatever `column_order` says, it invents none; if it says
    /// nothing sensible, they stay as they are.
    pub(crate) fn ordered(&self, keys: Vec<String>) -> Vec<String> {
        let asked: Array = keys.iter().map(|it| it.clone().into()).collect();
        let answer = self.sitting.ask("column_order", (asked,));
        let Some(answer) = answer.and_then(|it| it.try_cast::<Array>()) else { return keys };
        let mut said: Vec<String> =
            answer.into_iter().filter_map(|it| it.into_string().ok()).collect();
        let mut seen = std::collections::BTreeSet::new();
        said.retain(|it| keys.contains(it) && seen.insert(it.clone()));
        if said.is_empty() { keys } else { said }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::sitting;

    #[test]
    fn numbers_are_told_in_units() {
        let amounts = [0, 1023, 1024, 12_345_678, 1_048_575, 3 << 40, 1 << 50];
        let told = ["0 B", "1023 B", "1.0 KB", "11.8 MB", "1.0 MB", "3.0 TB", "1024.0 TB"];
        assert_eq!(amounts.map(bytes), told);
        let spans = [0, 250, 1_000, 1_550, 61_000, 7_380_000];
        assert_eq!(spans.map(lasts), ["0s", "250ms", "1s", "1.5s", "1m 1s", "2h 3m"]);
        let shown = |unit: Unit, value: Dynamic| unit.shown(&value).unwrap_or_default();
        assert_eq!(shown(Unit::Percent, 1.234.into()), "1.2%");
        assert_eq!(shown(Unit::Percent, 3.into()), "3.0%");
        assert_eq!(shown(Unit::Moment, 0.into()), "-");
        assert!(shown(Unit::Moment, 1_000.into()).ends_with(" ago"));
        assert!(shown(Unit::Moment, i64::MAX.into()).starts_with("in "));
        assert_eq!(Unit::Bytes.shown(&"x".into()), None);
        assert_eq!(Unit::Bytes.shown(&(-1).into()), None);
    }

    #[test]
    fn a_function_of_the_user_comes_before_the_bundled_one() {
        let mut it = sitting("");
        let units = |it: &Sitting| {
            let units = Units::new(it);
            [units.of("memory_usage", Unit::None), units.of("weight", Unit::None)]
        };
        assert_eq!(units(&it), [Unit::Bytes, Unit::None]);
        it.run("fn unit_of(key) { if key == \"weight\" { \"bytes\" } else { 42 } }");
        assert_eq!(units(&it), [Unit::None, Unit::Bytes]);
        it.run("fn unit_of(key) { throw key }");
        assert_eq!(units(&it), [Unit::None, Unit::None]);
    }

    #[test]
    fn a_key_without_a_unit_has_that_of_what_it_is_in() {
        let it = sitting("");
        let units = Units::new(&it);
        assert_eq!(units.of("median", units.of("cold_start_ms", Unit::None)), Unit::Ms);
    }

    #[test]
    fn the_order_of_columns_can_leave_some_out_but_invent_none() {
        let keys = || ["a", "b", "name"].map(str::to_owned).to_vec();
        let order = |text: &str| Units::new(&sitting(text)).ordered(keys());
        assert_eq!(order(""), ["name", "a", "b"]);
        assert_eq!(order("fn column_order(keys) { [\"b\", \"c\", 7, \"b\"] }"), ["b"]);
        assert_eq!(order("fn column_order(keys) { keys.no() }"), ["a", "b", "name"]);
    }
}
