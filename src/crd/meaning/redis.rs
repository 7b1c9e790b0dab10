//! What a Redis source asks, and how its connection logs in.

use std::time::Duration;

use super::kafka::is_pair;
use super::login::Found;
use super::source::{Draft, Place};
use super::{Fault, Reader};
use crate::crd::rules;
use crate::crd::source::Redis;
use crate::observe::{Address, Ask, redis};

/// How often Redis is asked when nobody says.
const POLL: Duration = Duration::from_secs(2);

impl Reader<'_> {
    /// Reads a Redis source.
    pub(super) fn redis(&mut self, at: &str, written: &Redis) -> Option<Draft> {
        let per_replica = self.threshold(format!("{at}.perReplica"), written.per_replica.as_ref());
        for (field, text, most) in [
            ("list", &written.list, 1024),
            ("stream", &written.stream, 1024),
            ("group", &written.group, 255),
        ] {
            if let Some(text) = text {
                self.text(format!("{at}.{field}"), text, most);
            }
        }
        let ask = match (&written.list, &written.stream, &written.group) {
            (Some(list), None, None) => redis::Ask::List(list.clone()),
            (None, Some(stream), None) => redis::Ask::Stream(stream.clone()),
            (None, Some(stream), Some(group)) => {
                redis::Ask::Group { stream: stream.clone(), group: group.clone() }
            }
            (_, None, Some(_)) => {
                self.refuse(format!("{at}.group"), rules::GROUP_WITH_STREAM);
                return None;
            }
            (Some(_), Some(_), _) | (None, None, None) => {
                self.refuse(at, rules::LIST_OR_STREAM);
                return None;
            }
        };
        let place = self.found(at, &written.connection_ref).and_then(|found| place(&found));
        Some(Draft { default_poll: POLL, per_replica, ask: Ask::Redis(ask), place })
    }
}

/// The address of a Redis connection, and the Secrets to log in with.
fn place(found: &Found) -> Result<Place, Fault> {
    let login = found.kind.redis.as_ref().ok_or_else(|| found.mismatch("redis"))?;
    let addresses = &login.addresses;
    let is_good = (1..=16).contains(&addresses.len()) && addresses.iter().all(|it| is_pair(it));
    if !is_good {
        return Err(found.invalid("spec.redis.addresses", "must be 1 to 16 of host:port"));
    }
    let is_cluster = login.cluster == Some(true);
    let mode = match &login.sentinel {
        Some(_) if is_cluster => {
            return Err(found.invalid("spec.redis", rules::SENTINEL_OR_CLUSTER));
        }
        Some(sentinel) => redis::Mode::Sentinel(sentinel.master.clone()),
        None if is_cluster => redis::Mode::Cluster,
        None => redis::Mode::Alone,
    };
    let database = login.database.unwrap_or(0);
    if is_cluster && database != 0 {
        return Err(found.invalid("spec.redis.database", "must be 0 in a cluster"));
    }
    let mut secrets = found.tls("spec.redis", login.tls.as_ref())?;
    secrets.extend(found.secret(login.username_secret_ref.as_ref(), "username"));
    secrets.extend(found.secret(login.password_secret_ref.as_ref(), "password"));
    if let Some(sentinel) = &login.sentinel {
        secrets.extend(found.secret(sentinel.username_secret_ref.as_ref(), "sentinel-username"));
        secrets.extend(found.secret(sentinel.password_secret_ref.as_ref(), "sentinel-password"));
    }
    let address = redis::Address {
        connection: found.id.clone(),
        addresses: addresses.clone(),
        mode,
        database,
        tls: login.tls.is_some(),
    };
    Ok((Address::Redis(address), secrets))
}
