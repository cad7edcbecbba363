//! The host of Zinit: it knows how, the scripts know what.
//!
//! A server is a keeper, which launches and reaps (the crate `zinit_keeper`), and a brain, which
//! decides (this crate). The brain may die at any time: the keeper starts another one, and that one
//! goes on where the first stood. `zinit` uses the same crate for its scripts and as a client.
//!
//! ```text
//!            keeper                     policy.rhai            clients
//!     launch, │ ▲ launched, exited           │                 │     ▲
//!     signal  ▼ │                            ▼                 ▼     │
//!   ┌ keeper ┬──────────┐  Event  ┌ core ┬────────┐  Command  ┌ rpc ─┴───┐
//!   │ machine           ├────────►│ draft, graph  │◄──────────┤ desk     │
//!   │ clock, alarms     │◄────────┤ policy, view  │           │          │
//!   └──┬────────────────┘ Effect  └───────────────┘           │          │
//!      └────────────────────── Status ───────────────────────►│ board    │
//!   ┌ logs ─────────────┐                                     │          │
//!   │ pipes of services ├───────────── lines ────────────────►│          │
//!   └───────────────────┘                                     └──────────┘
//!     one thread supervises, one serves clients, one drains pipes, one writes the journal; one
//!     more checks services, if there is anything to check, and one passes clients of services on
//!     to them, if there are proxies
//! ```
//!
//! | room | modules |
//! |---|---|
//! | what the words mean | [`name`], [`address`], [`spec`], [`proxy`], [`moment`], [`state`], [`event`], [`action`], [`refusal`], [`home`] |
//! | deciding | [`core`] (events in, effects out), [`draft`] (one step and its invariants), [`effect`] (what comes of it), [`ending`] (the end of everything), [`graph`] (who needs whom), [`policy`] (asks the scripts), [`view`] (what they see) |
//! | doing | [`supervise`] (the loop), [`machine`] (the real world), [`identity`] (whom a service runs as), [`probe`] (how a running service is), [`relay`] (the clients of services on demand), [`keeper`] (its socket), [`note`] (what the next brain is told) |
//! | telling | `watch` (reloads without a client), [`desk`] (commands in), [`board`] (statuses out), [`logs`], [`stats`], [`store`] (the files of the services), [`check`] (what is wrong with them, and with scripts: `lint`), [`forecast`] (what they would go through, on the machine of [`sim`]), [`journal`] (what was decided, and from what), [`replay`] (asks it again), [`rpc`] (server and client) |
//! | scripts | [`engine`] (one factory), [`native`] (the primitives, `host::`), `modules` (`import`), [`script`] (runs one), [`sitting`] (runs one text after the other), [`words`] (what is documented), [`sim`] (a machine in virtual time), [`trial`] (the tests of a policy), [`interrupt`] (Ctrl-C) |
//! | processes | [`entry`] (`zinit-server`), [`daemon`] (the first process), [`brain`] (the one that decides), `updates` (the service that looks for them) |
//!
//! # What is not here
//!
//! - No decision. When to start, how long to wait, what counts as a failure: `stdlib/zinit/*.rhai`
//!   says it, or a file of the user's in its place. The host only refuses what breaks an invariant.
//! - No clock in [`core`], [`draft`], [`graph`] and [`view`], and no file, socket or thread: time
//!   comes with the [`Event`](event::Event), so a test runs a day of supervision in a moment.
//!   [`policy`] looks at its own CPU time, to end a script that does not; whoever else needs a
//!   clock looks at it through `clock`.
//! - No process is made or reaped, except the first of a server: the keeper does both.
//! - No lock around a service. The core is on one thread, and what others see of it is replaced
//!   whole on the [`board`]; nobody waits for the core but who asked it for something, and it waits
//!   for nobody.
//! - No state of a service outside the core, but copies: on the board to be read, in the keeper to
//!   be restored. No async runtime in the core's thread: that one serves the rim.
//! - No timer when nothing is due. An idle brain sleeps.
//!
//! # Start reading here
//!
//! [`event::Happening`] and [`action::Action`] say what there is. Then
//! `stdlib/zinit/lifecycle.rhai`, the table of all decisions; [`core::Core::handle`], which asks
//! it; [`draft`], which makes sure that the answer can stand; and [`supervise::run`], which does
//! what it says.

pub mod action;
pub mod address;
pub mod board;
pub mod brain;
pub mod check;
pub mod chronicle;
mod clock;
pub mod core;
pub mod daemon;
pub mod decision;
pub mod desk;
pub mod draft;
pub mod effect;
pub mod ending;
pub mod engine;
pub mod entry;
pub mod event;
pub mod forecast;
mod glob;
pub mod graph;
pub mod home;
pub mod hooks;
pub mod identity;
pub mod interrupt;
pub mod journal;
pub mod keeper;
mod lint;
pub mod logs;
pub mod machine;
mod modules;
pub mod moment;
pub mod name;
pub mod native;
pub mod note;
pub mod policy;
pub mod probe;
pub mod proxy;
pub mod refusal;
pub mod relay;
pub mod replay;
pub mod rpc;
pub mod script;
pub mod sim;
pub mod sitting;
pub mod spec;
pub mod state;
pub mod stats;
pub mod store;
pub mod supervise;
pub mod trial;
mod updates;
pub mod view;
mod watch;
pub mod words;
