//! What a Prometheus source asks.

use super::Reader;
use super::source::{Draft, SLOW_POLL, unit};
use crate::crd::source::{OnEmpty as WrittenEmpty, Prometheus};
use crate::observe::{Address, Ask, prometheus};

impl Reader<'_> {
    /// Reads a Prometheus source.
    pub(super) fn prometheus(&mut self, at: &str, written: &Prometheus) -> Draft {
        let per_replica = self.threshold(format!("{at}.perReplica"), written.per_replica.as_ref());
        self.text(format!("{at}.query"), &written.query, 8192);
        let ask = Ask::Prometheus(prometheus::Ask {
            query: written.query.clone(),
            on_empty: match written.on_empty {
                Some(WrittenEmpty::Zero) => prometheus::OnEmpty::Zero,
                Some(WrittenEmpty::Error) | None => prometheus::OnEmpty::Error,
            },
            unit: unit(per_replica),
        });
        let place = self.found(at, &written.connection_ref).and_then(|found| {
            let login =
                found.kind.prometheus.as_ref().ok_or_else(|| found.mismatch("prometheus"))?;
            let (address, secrets) = found.web("spec.prometheus", login)?;
            Ok((Address::Prometheus(address), secrets))
        });
        Draft { default_poll: SLOW_POLL, per_replica, ask, place }
    }
}
