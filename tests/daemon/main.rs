//! Real servers with real processes. Nothing here sleeps for luck: tests wait for what they test.

mod crashes;
mod endings;
mod examples;
mod follow;
mod journal;
mod life;
mod logs;
mod outputs;
mod policy;
mod refusals;
mod seed;
mod strategies;
mod successions;
mod trust;
mod words;
mod xinit;
