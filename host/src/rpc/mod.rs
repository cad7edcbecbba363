//! JSON-RPC 2.0: the server, and the client that commands and scripts share.
//!
//! ```text
//!  methods  one table: name, parameters, result, function ── openrpc, reference
//!     │ calls     the functions; they read the board, ask at the desk, wait for changes
//!     │ usage, news, why   those that measure, tell what happened, and explain
//!     │ lines     those that read logs: search says which lines, page how they are told
//!     │ policy    what decides, and another one in its place
//!     │ xinit     proxies: let one listen, let it go, what is known of them
//!     │ follow    who follows them, page after page
//!     │ picks     which services a call is about: names, globs, groups
//!     │ office    what they work with
//!  answer   a line of JSON in, a line of JSON out
//!     │ ndjson    one connection that speaks newline-delimited JSON
//!     │ http      one that speaks HTTP or WebSocket, by jsonrpsee over the same table
//!  greet    the first bytes decide which; over TCP they must show the token
//!  server   listens, counts connections, stops
//! ```
//!
//! What never happens here: a decision about a service. A client that misbehaves costs itself its
//! connection, and nobody else anything: every buffer and every number of things in flight is
//! bounded, and nothing is read from a client that does not read.
//!
//! An error is `{code, message, data: {reason, hint, ...}}`: the [`Refusal`](crate::refusal::Refusal)'s
//! code, sentence, word and hint, and its facts.

mod answer;
mod args;
mod calls;
pub mod client;
mod follow;
mod greet;
mod http;
mod lines;
mod lookout;
pub mod methods;
mod ndjson;
mod news;
pub mod office;
pub mod openrpc;
mod page;
mod params;
mod picks;
pub(crate) mod policy;
pub mod reference;
mod reload;
mod search;
pub mod server;
mod shown;
pub mod token;
mod usage;
mod why;
mod xinit;

pub use args::{Kind as ParamKind, Param};
