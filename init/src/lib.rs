//! The keeper: launches, reaps, holds descriptors.

pub mod wire;
