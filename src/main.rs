//! The command `penstock`.
fn main() {}
