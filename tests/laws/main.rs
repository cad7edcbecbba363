//! Laws that hold for every history and for every word.

mod absent;
mod examples;
mod exhaustion;
mod pairs;
mod replay;
mod tidy;
