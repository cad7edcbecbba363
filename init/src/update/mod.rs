//! Updates: the commands of `zinit-updater`. The keeper runs nothing of this.
//!
//! ```text
//!  commands  the table of what is understood     context    what each works with
//!  upgrade   from one version to another         watch      the same every now and then
//!  scripts   kept as their publishers have them  release    makes what others update to
//!
//!  manifest  what a release consists of          key        who has signed it
//!  fetch     gets it                             installed  what is here
//!  trial     tries it before it counts           swap       puts it in place, and back
//!  server    asks the server                     settle     watches it begin anew
//!  runner    compiles and runs scripts           program    runs whatever is to be tried
//!  state     what is told and remembered         places     where all of it is
//!  file      replaced whole or not at all        clock      what time it is
//!  out       what is said                        refusal    saying no
//! ```
//!
//! What holds, whoever publishes and whatever dies when:
//!
//! - Nothing is executed that was not signed with the configured key, or pinned by its hash.
//! - A program is always in its place, whole. After a crash the next run sees to it that all are of one
//!   version.
//! - A server that does not answer as the new version within the time, and go on doing so, means that
//!   the old version comes back without being asked.
//! - Whoever sends without end, or stays silent, is given up.

mod clock;
mod commands;
mod context;
mod fetch;
mod file;
mod installed;
mod key;
mod manifest;
mod out;
mod places;
mod program;
mod refusal;
mod release;
mod runner;
mod scripts;
mod server;
mod settle;
mod state;
mod swap;
mod trial;
mod upgrade;
mod watch;

pub(crate) use commands::Command;
pub(crate) use context::Flags;
pub(crate) use places::home;
