//! What the tests stand on: a simulated machine under the real core, and real servers in homes of
//! their own.

pub mod clients;
pub mod daemon;
pub mod screen;
pub use zinit_host::sim;
