//! Penstock sizes every stage of a data pipeline so that data is no later than promised, and says why.
//!
//! The rooms, in the order of the sentence: **watch** the cluster, **observe** the queues, **decide**, **act**, **report**; others
//! ask through **answer**. `daemon` joins them into the loop; ARCHITECTURE.md has the drawing and the rules.

pub mod clock;
pub mod tasks;
pub mod spans;
pub mod proto;
pub mod crd;
pub mod watch;
pub mod observe;
pub mod decide;
pub mod act;
pub mod report;
pub mod answer;
pub mod daemon;
pub mod simulate;
pub mod demo;
pub mod cli;
