//! A made-up world in virtual time, and the very same `decide` in it, beside the rules of others. Called by `penstock simulate`, the
//! benches and the tests.

mod policy;
pub mod peers;
pub mod bound;

pub use policy::{Offsets, Policy, QueueView, View};
