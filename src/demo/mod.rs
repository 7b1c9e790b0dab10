//! The same daemon in a toy cluster, in real time.

pub mod score;
pub mod traffic;
pub mod cluster;
