//! The host of Zinit.

pub mod board;
pub mod desk;
pub mod engine;
pub mod home;
pub mod name;
pub mod refusal;
pub mod spec;
