//! The live tests: Penstock against real servers. `make tools` builds the servers, `make live` runs the tests.

mod rig;

/// The rig itself: servers start, are hurt, and say what they should.
mod servers;

#[path = "../manifests/mod.rs"]
mod manifests;

/// What the in-memory API answers, real ones answer too.
mod conformance;

/// The kinds: accepted and refused with words.
mod crd;

/// What each write to `/scale` comes to.
mod hands;

/// `explain` and `top`, by port-forward.
mod aloud;
