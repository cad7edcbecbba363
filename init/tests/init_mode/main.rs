//! The real programs as PID 1: `zinit-updater --init`, with services or with one command, and
//! `zinit-server` itself, each in a PID namespace of its own.
//!
//! Where this user may make no namespaces, the tests say so and do nothing.

mod programs;
mod services;
mod shim;
mod terminal;
mod tight;
mod world;
