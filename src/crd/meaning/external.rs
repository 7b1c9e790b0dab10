//! What an external scaler is asked.

use super::Reader;
use super::kafka::is_pair;
use super::source::{Draft, SLOW_POLL};
use crate::crd::rules;
use crate::crd::source::External;
use crate::observe::{Address, Ask, external};

impl Reader<'_> {
    /// Reads an external source of a stage. Without a threshold the scaler's own target is one.
    pub(super) fn external(&mut self, at: &str, stage: &str, written: &External) -> Draft {
        let per_replica = self.threshold(format!("{at}.perReplica"), written.per_replica.as_ref());
        if written.metadata.len() > 64 {
            self.refuse(format!("{at}.metadata"), "must have at most 64 items");
        }
        if let Some(metric) = &written.metric {
            self.text(format!("{at}.metric"), metric, 255);
        }
        let ask = Ask::External(external::Ask {
            namespace: self.id.namespace.to_string(),
            name: format!("{}-{stage}", self.id.name),
            metadata: written.metadata.clone(),
            metric: written.metric.clone(),
            in_targets: written.per_replica.is_none(),
        });
        let place = self.found(at, &written.connection_ref).and_then(|found| {
            let login = found.kind.external.as_ref().ok_or_else(|| found.mismatch("external"))?;
            if !is_pair(&login.url) {
                return Err(found.invalid("spec.external.url", "must be host:port"));
            }
            let (name, password) = (&login.username_secret_ref, &login.password_secret_ref);
            if name.is_some() != password.is_some() {
                return Err(found.invalid("spec.external", rules::NAME_WITH_PASSWORD));
            }
            let mut secrets = found.tls("spec.external", login.tls.as_ref())?;
            secrets.extend(found.secret(name.as_ref(), "username"));
            secrets.extend(found.secret(password.as_ref(), "password"));
            let address = external::Address {
                connection: found.id.clone(),
                host: login.url.clone(),
                tls: login.tls.is_some(),
                basic: name.is_some(),
            };
            Ok((Address::External(address), secrets))
        });
        let per_replica = per_replica.or(Some(1.0));
        Draft { default_poll: SLOW_POLL, per_replica, ask, place }
    }
}
