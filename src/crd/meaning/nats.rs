//! What a NATS source asks, and how its connection logs in.

use std::time::Duration;

use super::login::Found;
use super::source::{Draft, Place};
use super::{Fault, Reader};
use crate::crd::login::Nats as Login;
use crate::crd::rules;
use crate::crd::source::Nats;
use crate::observe::{Address, Ask, nats};

/// How often it is asked when nobody says.
const POLL: Duration = Duration::from_secs(2);
/// What a name of `JetStream` may not hold: it is a part of a subject, and of a path.
const NAME: &str =
    "must be a name of JetStream: 1 to 255 bytes without blanks, dots, *, >, / and \\";

impl Reader<'_> {
    /// Reads a NATS source.
    pub(super) fn nats(&mut self, at: &str, written: &Nats) -> Draft {
        let per_replica = self.threshold(format!("{at}.perReplica"), written.per_replica.as_ref());
        for (field, name) in [("stream", &written.stream), ("consumer", &written.consumer)] {
            if !is_name(name) {
                self.refuse(format!("{at}.{field}"), NAME);
            }
        }
        let ask = Ask::Nats(nats::Ask {
            stream: written.stream.clone(),
            consumer: written.consumer.clone(),
        });
        let place = self.found(at, &written.connection_ref).and_then(|found| place(&found));
        Draft { default_poll: POLL, per_replica, ask, place }
    }
}

fn is_name(name: &str) -> bool {
    let is_odd =
        |letter: char| letter.is_whitespace() || letter.is_control() || ".*>/\\".contains(letter);
    (1..=255).contains(&name.len()) && !name.contains(is_odd)
}

fn place(found: &Found) -> Result<Place, Fault> {
    let written = found.kind.nats.as_ref().ok_or_else(|| found.mismatch("nats"))?;
    let url = found.url("spec.nats.url", &written.url, &["nats", "tls"])?;
    let mut secrets = found.tls("spec.nats", written.tls.as_ref())?;
    let ways = [
        (&written.username_secret_ref, "username"),
        (&written.password_secret_ref, "password"),
        (&written.token_secret_ref, "token"),
        (&written.credentials_secret_ref, "creds"),
        (&written.nkey_secret_ref, "nkey"),
    ];
    secrets.extend(ways.into_iter().filter_map(|(way, usage)| found.secret(way.as_ref(), usage)));
    let address = nats::Address {
        connection: found.id.clone(),
        tls: written.tls.is_some() || url.starts_with("tls://"),
        url,
        login: login(found, written)?,
    };
    Ok((Address::Nats(address), secrets))
}

/// How to log in: in one way at most.
fn login(found: &Found, written: &Login) -> Result<nats::Login, Fault> {
    let name = written.username_secret_ref.is_some();
    if name != written.password_secret_ref.is_some() {
        return Err(found.invalid("spec.nats", rules::NAME_WITH_PASSWORD));
    }
    let token = written.token_secret_ref.is_some();
    let creds = written.credentials_secret_ref.is_some();
    match (name, token, creds, written.nkey_secret_ref.is_some()) {
        (false, false, false, false) => Ok(nats::Login::Nobody),
        (true, false, false, false) => Ok(nats::Login::Password),
        (false, true, false, false) => Ok(nats::Login::Token),
        (false, false, true, false) => Ok(nats::Login::Credentials),
        (false, false, false, true) => Ok(nats::Login::Nkey),
        _ => Err(found.invalid("spec.nats", rules::ONE_NATS_LOGIN)),
    }
}
