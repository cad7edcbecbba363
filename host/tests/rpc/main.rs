//! The RPC server against well-behaved and hostile clients. The core is a fake that does as it is told.

#![allow(clippy::unwrap_used, reason = "clippy knows only functions with #[test] as tests")]

mod clients;
mod follow;
mod hostile;
mod lines;
mod methods;
mod news;
mod picks;
mod reload;
mod tcp;
mod usage;
mod why;
mod world;
mod xinit;
