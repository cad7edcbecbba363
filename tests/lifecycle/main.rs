//! Timelines: text in, text out, no process and no sleep. `UPDATE_EXPECT=1 cargo test` writes what
//! happened into the source. `watch` leaves out how everything came up, where that is not the point.

mod demand;
mod dependencies;
mod endings;
mod forecast;
mod groups;
mod health;
mod hostile;
mod leftovers;
mod needs;
mod outputs;
mod policy;
mod readiness;
mod reload;
mod restarts;
mod shutdowns;
mod stopping;
mod storms;
mod strategies;
mod successors;
mod trials;
mod unknown;
mod worlds;

use expect_test::Expect;

/// Plays a timeline and compares what happened.
fn check(timeline: &str, expected: Expect) {
    expected.assert_eq(&zinit_tests::sim::play(timeline));
}
