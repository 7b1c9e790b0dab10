//! What an SQS source asks, and how its connection logs in.

use super::login::Found;
use super::source::{Draft, Place, SLOW_POLL};
use super::{Fault, Reader};
use crate::crd::rules;
use crate::crd::source::Sqs;
use crate::observe::sqs::{self, Login};
use crate::observe::{Address, Ask};

impl Reader<'_> {
    /// Reads an SQS source.
    pub(super) fn sqs(&mut self, at: &str, written: &Sqs) -> Draft {
        let per_replica = self.threshold(format!("{at}.perReplica"), written.per_replica.as_ref());
        let url = &written.queue_url;
        self.text(format!("{at}.queueUrl"), url, 2048);
        let is_url = url.starts_with("https://") || url.starts_with("http://");
        if !is_url || !url.chars().all(|c| c.is_ascii_graphic()) {
            self.refuse(
                format!("{at}.queueUrl"),
                "must be a URL that begins with http:// or https://",
            );
        }
        let ask = Ask::Sqs(sqs::Ask {
            queue_url: url.clone(),
            in_flight: written.exclude_in_flight != Some(true),
            delayed: written.include_delayed == Some(true),
        });
        let place = self.found(at, &written.connection_ref).and_then(|found| place(&found));
        Draft { default_poll: SLOW_POLL, per_replica, ask, place }
    }
}

/// The address of an SQS connection, and the Secrets to log in with.
fn place(found: &Found) -> Result<Place, Fault> {
    let login = found.kind.sqs.as_ref().ok_or_else(|| found.mismatch("sqs"))?;
    let region = &login.region;
    let is_region = (1..=63).contains(&region.len())
        && region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !is_region {
        return Err(found.invalid("spec.sqs.region", "must be a region such as eu-central-1"));
    }
    let endpoint = login.endpoint.as_ref();
    let endpoint =
        endpoint.map(|url| found.url("spec.sqs.endpoint", url, &["http", "https"])).transpose()?;
    let (id, secret) = (&login.access_key_id_secret_ref, &login.secret_access_key_secret_ref);
    if id.is_some() != secret.is_some() {
        return Err(found.invalid("spec.sqs", rules::KEY_WITH_SECRET));
    }
    let secrets =
        [found.secret(id.as_ref(), "access-key"), found.secret(secret.as_ref(), "secret-key")];
    let address = sqs::Address {
        connection: found.id.clone(),
        region: region.clone(),
        endpoint,
        login: if id.is_some() { Login::Keys } else { Login::Pod },
    };
    Ok((Address::Sqs(address), secrets.into_iter().flatten().collect()))
}
