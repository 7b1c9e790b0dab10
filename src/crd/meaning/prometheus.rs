//! What a Prometheus source asks.

use super::login::Found;
use super::source::{Draft, Place, SLOW_POLL, unit};
use super::{Fault, Reader};
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
            gives: prometheus::Gives::One(unit(per_replica)),
        });
        let place = self.found(at, &written.connection_ref).and_then(|found| found.prometheus());
        Draft { default_poll: SLOW_POLL, per_replica, ask, place }
    }
}

impl Found {
    /// The Prometheus that it leads to.
    pub(super) fn prometheus(&self) -> Result<Place, Fault> {
        let login = self.kind.prometheus.as_ref().ok_or_else(|| self.mismatch("prometheus"))?;
        let (address, secrets) = self.web("spec.prometheus", login)?;
        Ok((Address::Prometheus(address), secrets))
    }
}
