//! Where chance comes from: rows of numbers, each begun by a seed, a service and a purpose, so that
//! what befalls one service depends neither on the others nor on what the policy does.

/// A row of numbers (`splitmix64`).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// The row of this service for this purpose.
    pub(super) fn new(seed: u64, service: &str, purpose: &str) -> Self {
        let bytes = service.bytes().chain([0xff]).chain(purpose.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, it| {
            (hash ^ u64::from(it)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(mixed(seed) ^ hash)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// Whether a coin falls on its head.
    pub(super) fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }

    /// A whole number from `least` to `most`.
    pub(super) fn between(&mut self, least: i64, most: i64) -> i64 {
        let many = u64::try_from(most - least + 1).expect("most is not below least");
        least + i64::try_from(self.next() % many).expect("it is at most the difference")
    }

    /// The milliseconds to the next of mishaps that come by chance, so far apart on average.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "53 bits of chance, and a gap of at most some forty times the average"
    )]
    pub(super) fn gap_ms(&mut self, average_ms: f64) -> i64 {
        let unit = ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        (-unit.ln() * average_ms).ceil().max(1.0) as i64
    }
}

fn mixed(it: u64) -> u64 {
    let it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    it ^ (it >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_depends_on_seed_service_and_purpose_alone() {
        let row = |seed, service, purpose| {
            let mut dice = Dice::new(seed, service, purpose);
            [dice.next(), dice.next(), dice.next()]
        };
        assert_eq!(row(1, "web", "crash"), row(1, "web", "crash"));
        for other in [row(2, "web", "crash"), row(1, "db", "crash"), row(1, "web", "work")] {
            assert_ne!(row(1, "web", "crash"), other);
        }
    }

    #[test]
    fn gaps_are_as_long_on_average_as_they_should_be() {
        let mut dice = Dice::new(7, "web", "crash");
        let sum: i64 = (0..10_000).map(|_| dice.gap_ms(60_000.0)).sum();
        assert!((58_000..62_000).contains(&(sum / 10_000)), "{}", sum / 10_000);
        assert!((0..1_000).all(|_| (3..=5).contains(&dice.between(3, 5))));
    }
}
