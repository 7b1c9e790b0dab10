//! What a Kafka source asks, and how its connection logs in.

use std::collections::BTreeSet;
use std::time::Duration;

use super::login::Found;
use super::source::{Draft, Place};
use super::{Fault, Reader, SecretWanted};
use crate::crd::login::{Mechanism as WrittenMechanism, Sasl};
use crate::crd::rules;
use crate::crd::source::{Isolation as WrittenIsolation, Kafka, OffsetReset as WrittenReset};
use crate::crd::strimzi::Wanted;
use crate::observe::{Address, Ask, kafka};

/// How often Kafka is asked when nobody says.
const POLL: Duration = Duration::from_secs(2);
/// What a list of brokers must look like.
const BROKERS: &str = "must be host:port, or several of them with commas between";

impl Reader<'_> {
    /// Reads a Kafka source.
    pub(super) fn kafka(&mut self, at: &str, written: &Kafka) -> Option<Draft> {
        let per_replica = self.threshold(format!("{at}.perReplica"), written.per_replica.as_ref());
        let mut topics = BTreeSet::new();
        if written.topics.is_empty() || written.topics.len() > 100 {
            self.refuse(format!("{at}.topics"), "must have 1 to 100 items");
        }
        for (index, topic) in written.topics.iter().enumerate() {
            self.text(format!("{at}.topics[{index}]"), topic, 249);
            if !topics.insert(topic) {
                self.refuse(format!("{at}.topics[{index}]"), "is named twice");
            }
        }
        self.text(format!("{at}.group"), &written.group, 255);
        let ask = Ask::Kafka(kafka::Ask {
            topics: written.topics.clone(),
            group: written.group.clone(),
            offset_reset: match written.offset_reset {
                Some(WrittenReset::Earliest) => kafka::OffsetReset::Earliest,
                Some(WrittenReset::Latest) | None => kafka::OffsetReset::Latest,
            },
            isolation: match written.isolation {
                Some(WrittenIsolation::ReadCommitted) => kafka::Isolation::ReadCommitted,
                Some(WrittenIsolation::ReadUncommitted) | None => kafka::Isolation::ReadUncommitted,
            },
        });
        let place = match (&written.connection_ref, &written.bootstrap_servers) {
            (Some(reference), None) => self.found(at, reference).and_then(|found| {
                if let Some((place, wanted)) = looked_up(&found)? {
                    self.strimzi = Some(wanted);
                    return Ok(place);
                }
                place(&found)
            }),
            (None, Some(servers)) => {
                let Some(bootstrap_servers) = brokers(servers) else {
                    self.refuse(format!("{at}.bootstrapServers"), BROKERS);
                    return None;
                };
                Ok((Address::Kafka(bare(bootstrap_servers)), Vec::new()))
            }
            (Some(_), Some(_)) | (None, None) => {
                self.refuse(at, rules::ONE_BROKER);
                return None;
            }
        };
        Some(Draft { default_poll: POLL, per_replica, ask, place })
    }
}

/// The address of a cluster that Strimzi runs, and what must be looked up of it; `None` when it is written where it is.
fn looked_up(found: &Found) -> Result<Option<(Place, Wanted)>, Fault> {
    let login = found.kind.kafka.as_ref();
    let Some((login, strimzi)) = login.and_then(|it| Some((it, it.strimzi.as_ref()?))) else {
        return Ok(None);
    };
    if login.bootstrap_servers.is_some() {
        return Err(found.invalid("spec.kafka", rules::ONE_CLUSTER));
    }
    if login.tls.is_some() || login.sasl.is_some() {
        return Err(found.invalid("spec.kafka", rules::STRIMZI_ALONE));
    }
    let wanted = Wanted {
        namespace: found.secret_namespace().to_owned(),
        cluster: strimzi.cluster.clone(),
        listener: strimzi.listener.clone(),
        user: strimzi.user.clone(),
    };
    // Only what stays when listeners and logins come and go: then the old client serves until the new one has answered.
    let address = kafka::Address {
        connection: found.id.clone(),
        bootstrap_servers: wanted.to_string(),
        tls: false,
        sasl: None,
    };
    Ok(Some(((Address::Kafka(address), Vec::new()), wanted)))
}

/// The address of a Kafka connection, and the Secrets to log in with.
fn place(found: &Found) -> Result<Place, Fault> {
    let Some(login) = &found.kind.kafka else { return Err(found.mismatch("kafka")) };
    let Some(servers) = &login.bootstrap_servers else {
        return Err(found.invalid("spec.kafka", rules::ONE_CLUSTER));
    };
    let bootstrap_servers =
        brokers(servers).ok_or_else(|| found.invalid("spec.kafka.bootstrapServers", BROKERS))?;
    let mut secrets = found.tls("spec.kafka", login.tls.as_ref())?;
    let sasl = match &login.sasl {
        Some(written) => Some(mechanism(found, written, &mut secrets)?),
        None => None,
    };
    let address = kafka::Address {
        connection: found.id.clone(),
        bootstrap_servers,
        tls: login.tls.is_some(),
        sasl,
    };
    Ok((Address::Kafka(address), secrets))
}

/// How to log in, and the Secrets it takes.
fn mechanism(
    found: &Found,
    written: &Sasl,
    secrets: &mut Vec<SecretWanted>,
) -> Result<kafka::Mechanism, Fault> {
    let (name, password) = (&written.username_secret_ref, &written.password_secret_ref);
    let is_token = written.mechanism == WrittenMechanism::OauthBearer;
    if !is_token && (name.is_none() || password.is_none()) {
        return Err(found.invalid("spec.kafka.sasl", rules::SASL_LOGIN));
    }
    if is_token != written.oauth2.is_some() || is_token && (name.is_some() || password.is_some()) {
        return Err(found.invalid("spec.kafka.sasl", rules::SASL_TOKEN));
    }
    secrets.extend(found.secret(name.as_ref(), "username"));
    secrets.extend(found.secret(password.as_ref(), "password"));
    match (written.mechanism, &written.oauth2) {
        (WrittenMechanism::Plain, _) => Ok(kafka::Mechanism::Plain),
        (WrittenMechanism::ScramSha256, _) => Ok(kafka::Mechanism::ScramSha256),
        (WrittenMechanism::ScramSha512, _) => Ok(kafka::Mechanism::ScramSha512),
        (WrittenMechanism::OauthBearer, Some(oauth2)) => {
            let (token_url, scopes) = found.oauth2("spec.kafka.sasl", oauth2, secrets)?;
            Ok(kafka::Mechanism::OauthBearer { token_url, scopes })
        }
        (WrittenMechanism::OauthBearer, None) => {
            Err(found.invalid("spec.kafka.sasl", rules::SASL_TOKEN))
        }
    }
}

/// An address without a login.
fn bare(bootstrap_servers: String) -> kafka::Address {
    kafka::Address { connection: String::new(), bootstrap_servers, tls: false, sasl: None }
}

/// `host:port` pairs without blanks, in the order written; `None` when one is no such pair.
fn brokers(written: &str) -> Option<String> {
    let pairs: Vec<&str> = written.split(',').map(str::trim).collect();
    (written.len() <= 2048 && pairs.iter().all(|pair| is_pair(pair))).then(|| pairs.join(","))
}

/// Is this `host:port`?
pub(super) fn is_pair(pair: &str) -> bool {
    pair.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(char::is_whitespace)
            && port.bytes().all(|b| b.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}
