//! How a service is found out to be: against servers, sockets and processes of our own.

#![expect(clippy::unwrap_used, reason = "tests say plainly what must be")]

mod checks;
mod children;
mod ports;
mod ready;
mod world;
