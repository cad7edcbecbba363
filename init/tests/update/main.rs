//! Updates with the real `zinit-updater`, releases that it has made itself, programs that are small
//! scripts, a web server that can be nasty, and a server of Zinit that is played by the test.

#![expect(clippy::disallowed_methods, reason = "tests make processes, and give up after a time")]

mod brain;
mod crashes;
mod publish;
mod refusals;
mod renewals;
mod scripts;
mod upgrades;
mod watches;
mod web;
mod world;
