//! The fast tests: in process, through public doors, one module for each room, in the order of the sentence.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that fails says so by panicking"
)]
#![expect(
    clippy::too_many_lines,
    clippy::needless_for_each,
    clippy::or_fun_call,
    clippy::comparison_chain,
    reason = "a story is told in one piece, and speed is no concern of a test"
)]

mod daemons;
mod script;
mod rules;
mod turns;
mod served;

mod crd;
mod watch;
mod lists;
mod drains;
mod signs;
mod makers;
mod meter;
mod levers;
mod observe;
mod decide;
mod act;
mod brake;
mod rooms;
mod report;
mod boards;
mod replay;
mod answer;
mod page;
mod opened;
mod timeline;
mod explain;
mod scaler;
mod scaler_tls;
mod simulate;
mod daemon;
mod jobs;
mod simulate_peers;
mod demo;
mod cluster;
mod cli;
mod convert;
mod gitops;
mod pools;
mod telemetry;
mod docs;
