//! The `zinit` command where a server is. Its core is a fake that posts what the test wants.

#![allow(clippy::unwrap_used, reason = "clippy knows only functions with #[test] as tests")]
#![expect(clippy::disallowed_methods, reason = "it runs the command")]

mod logs;
mod looking;
mod shells;
mod stopping;
mod world;
mod xinit;
