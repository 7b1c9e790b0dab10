//! The whole daemon in process, as tests start it: its clients and the plainest of its options. A test says only what differs.

use kube::Client;
use penstock::daemon::lease::Seat;
use penstock::daemon::{self, Clients};
use penstock::report::Requests;
use penstock::watch;

/// Reads by the one and writes by the other.
pub(crate) fn clients(reader: Client, writer: Client) -> Clients {
    Clients { reader, lease: writer.clone(), writer, requests: Requests::default() }
}

/// A daemon of this identity in the namespace `default`, without page, probes, scaler and records.
pub(crate) fn options(identity: &str) -> daemon::Options {
    daemon::Options {
        placeholders: daemon::Placeholders::default(),
        watch: watch::Options::default(),
        seat: Seat {
            namespace: "default".into(),
            name: "penstock".into(),
            identity: identity.into(),
        },
        record: None,
        probes: None,
        page: None,
        scaler: None,
        lineage: None,
    }
}
