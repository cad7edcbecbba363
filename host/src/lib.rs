//! The host of Zinit.

pub mod board;
pub mod view;
pub mod state;
pub mod policy;
pub mod graph;
pub mod event;
pub mod draft;
pub mod core;
pub mod action;
pub mod desk;
pub mod engine;
pub mod home;
pub mod interrupt;
pub mod name;
mod modules;
pub mod native;
pub mod refusal;
pub mod rpc;
pub mod script;
pub mod spec;
pub mod store;
pub mod words;
pub mod logs;
pub mod stats;
