//! The live tests: Penstock against real servers. `make tools` builds the servers, `make live` runs the tests.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that fails says so by panicking"
)]
#![expect(
    clippy::too_many_lines,
    clippy::module_inception,
    clippy::wildcard_enum_match_arm,
    reason = "a scenario is told in one piece; the cases are shared with the fast tier by path"
)]

mod rig;
mod scene;
#[expect(dead_code, reason = "the benchmark of capacity uses the rest")]
mod eye;
mod watched;
mod workers;
mod yard;

/// The rig itself: servers start, are hurt, and say what they should.
mod servers;

#[path = "../manifests/mod.rs"]
mod manifests;

#[path = "../pages/mod.rs"]
mod pages;

/// What the in-memory API answers, real ones answer too.
mod conformance;

/// kubectl at work, against the in-memory API.
mod kubectl;

/// No request of the daemon or of kubectl without a conformance case.
mod shapes;

/// The kinds: accepted and refused with words.
mod crd;

/// What each write to `/scale` comes to.
mod hands;

/// CPU, memory and pods, from the API server.
mod metered;

/// CPU that changes under a stage, as VPA has it.
mod vertical;

/// `explain` and `top`, by port-forward.
mod aloud;

/// The page, in a real browser; and opened, behind a real API server.
mod page;
mod opened;

/// Boards and alerts, on a real Prometheus.
mod boards;

/// The simulator's HPA is the real one.
mod hpa;

/// The chart, and what is made of it.
mod chart;
mod check;

// The scenarios, by subject.
mod first;
mod scaling;
mod draining;
mod lanes;
mod nodepools;
mod packing;
mod nodes;
mod headroom;
mod budgets;
mod learning;
mod owners;
mod groups;
mod sources;
mod beside;
mod guarded;
mod databases;
mod sqs;
mod lineage;
mod presets;
mod gates;
mod documents;
mod external;
mod examples;
mod rabbitmq;
mod nats;
mod logins;
mod strimzi;
mod scaler;
mod tokens;
mod targets;
mod jobs;
mod levers;
mod limits;
mod operated;
mod versions;
mod skew;
mod writers;
mod failover;
mod crowd;
mod pools;
mod prices;
