//! The fast tests: in process, through public doors, one module for each room, in the order of the sentence.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]

mod script;
mod turns;

mod crd;
mod watch;
mod observe;
mod decide;
mod act;
mod report;
mod answer;
mod daemon;
mod demo;
mod cluster;
mod cli;
