//! The Kafka clusters of Strimzi that connections name: each read by GET, by name, every 30 s, so that a listener that moves and a
//! certificate that is renewed are followed without a restart. What a reading comes to is for `crd::strimzi` to say; the Secrets besides
//! are read by `secrets.rs`. Called by `seen.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use tokio::sync::Notify;
use tracing::warn;

use crate::crd::strimzi::{GROUP, Kafka, Lack, Proof, VERSIONS, Wanted};
use crate::observe::Credentials;

use super::secrets::{NoSecret, PATIENCE, RETRY, ROTATION, Turns};
use super::stores::{Name, Shelf, Stores, chain};

/// What was read, by Kafka object.
#[derive(Debug, Default)]
pub(super) struct Strimzi {
    wanted: BTreeSet<Name>,
    held: BTreeMap<Name, Result<Kafka, Lack>>,
}

impl Strimzi {
    /// Sets which clusters are named; true when a new one is among them.
    pub(super) fn want(&mut self, wanted: BTreeSet<Name>) -> bool {
        let is_new = wanted.iter().any(|name| !self.wanted.contains(name));
        self.held.retain(|name, _| wanted.contains(name));
        self.wanted = wanted;
        is_new
    }

    fn kafka(&self, wanted: &Wanted) -> Result<&Kafka, NoSecret> {
        match self.held.get(&cluster_of(wanted)) {
            None => Err(NoSecret::Awaited),
            Some(Ok(kafka)) => Ok(kafka),
            Some(Err(lack)) => Err(lack.clone().into()),
        }
    }
}

impl From<Lack> for NoSecret {
    fn from(Lack { label, message }: Lack) -> Self {
        Self::Lasting { label, message }
    }
}

impl Stores {
    /// The Secrets that a cluster's client needs, as far as is known by now.
    pub(super) fn secrets_of(&self, wanted: &Wanted) -> Vec<Name> {
        let kafka = self.strimzi.kafka(wanted).ok();
        let authority = kafka.filter(|kafka| kafka.wants_authority(wanted));
        let authority = authority.map(|_| wanted.authority());
        let names = authority.into_iter().chain(wanted.user.clone());
        names.map(|name| beside(wanted, &name)).collect()
    }

    /// How to reach a cluster and log in to it, in the words of Kafka's own clients.
    pub(super) fn looked_up(&self, wanted: &Wanted) -> Result<Credentials, NoSecret> {
        let kafka = self.strimzi.kafka(wanted)?;
        let shows = wanted.user.as_deref().map(|user| self.proof(wanted, user)).transpose()?;
        let listener = kafka.listener(wanted, shows)?;
        let mut found = Credentials::default();
        let servers: Vec<&str> = listener.bootstrap_servers.split(',').map(str::trim).collect();
        found.put("bootstrap.servers", servers.join(",").into_bytes());
        if listener.tls {
            let secret = self.secrets.data(&beside(wanted, &wanted.authority()))?;
            // While an authority is being replaced its Secret holds the former one beside it, and some brokers still show that.
            let known = secret
                .iter()
                .filter(|(key, _)| key.rsplit_once('.').is_some_and(|(_, it)| it == "crt"));
            let own = listener.certificates.iter().map(String::as_bytes);
            let all: Vec<&[u8]> = known.map(|(_, pem)| pem.as_slice()).chain(own).collect();
            found.put("ca", all.join(&b'\n'));
        }
        let user = || beside(wanted, wanted.user.as_deref().unwrap_or_default());
        match listener.proof {
            None => {}
            Some(Proof::Certificate) => {
                found.put("cert", self.secrets.bytes(&user(), "user.crt")?.to_vec());
                found.put("key", self.secrets.bytes(&user(), "user.key")?.to_vec());
            }
            Some(Proof::Password) => {
                found.put("sasl.mechanism", b"SCRAM-SHA-512".to_vec());
                found.put("username", user().name.as_bytes().to_vec());
                found.put("password", self.secrets.bytes(&user(), "password")?.to_vec());
            }
        }
        let protocol: &[u8] = match (listener.tls, listener.proof) {
            (true, Some(Proof::Password)) => b"SASL_SSL",
            (false, Some(Proof::Password)) => b"SASL_PLAINTEXT",
            (true, Some(Proof::Certificate) | None) => b"SSL",
            (false, Some(Proof::Certificate) | None) => b"PLAINTEXT",
        };
        found.put("security.protocol", protocol.to_vec());
        Ok(found)
    }

    /// What a KafkaUser can show.
    fn proof(&self, wanted: &Wanted, user: &str) -> Result<Proof, NoSecret> {
        let name = beside(wanted, user);
        let secret = self.secrets.data(&name).map_err(|lack| match lack {
            NoSecret::Lasting { label: label @ "SecretNotFound", .. } => NoSecret::Lasting {
                label,
                message: format!(
                    "there is no Secret {}/{user} of KafkaUser {user}; hint: create the KafkaUser with authentication of type tls or scram-sha-512; Strimzi makes no Secret for tls-external",
                    wanted.namespace
                ),
            },
            other @ (NoSecret::Awaited | NoSecret::Lasting { .. }) => other,
        })?;
        if secret.contains_key("user.crt") && secret.contains_key("user.key") {
            Ok(Proof::Certificate)
        } else if secret.contains_key("password") {
            Ok(Proof::Password)
        } else {
            Err(NoSecret::Lasting {
                label: "SecretKeyNotFound",
                message: format!(
                    "Secret {}/{user} holds neither user.crt and user.key nor password; hint: is it the Secret of a KafkaUser?",
                    wanted.namespace
                ),
            })
        }
    }
}

/// The name of the Kafka object.
pub(super) fn cluster_of(wanted: &Wanted) -> Name {
    beside(wanted, &wanted.cluster)
}

/// An object in the same namespace.
fn beside(wanted: &Wanted, name: &str) -> Name {
    Name { namespace: wanted.namespace.as_str().into(), name: name.into() }
}

/// Reads what is wanted for as long as the process lives.
pub(super) async fn read_all(client: Client, shelf: Arc<Shelf>, bell: Arc<Notify>) {
    // The version that was served last is asked for first.
    let mut version = VERSIONS[0];
    let mut turns = Turns::default();
    loop {
        let name = turns.next(&shelf, &bell, |stores| stores.strimzi.wanted.clone()).await;
        let found = get(&client, &name, &mut version).await;
        let wait = if matches!(found, Some(Ok(_))) { ROTATION } else { RETRY };
        if let Some(found) = found {
            take(&shelf, &name, found);
        }
        turns.again(name, wait);
    }
}

/// Keeps a reading, and wakes the loop when it says something else than the last one.
fn take(shelf: &Shelf, name: &Name, mut found: Result<Kafka, Lack>) {
    let mut stores = shelf.open();
    let old = stores.strimzi.held.get(name);
    if let (Some(Ok(old)), Ok(new)) = (old, &mut found) {
        new.keep_addresses_of(old);
    }
    if old == Some(&found) {
        return;
    }
    stores.strimzi.held.insert(name.clone(), found);
    stores.touch_all();
    drop(stores);
    shelf.ring();
}

/// Reads one Kafka object, of whichever version is served; `None` when nobody knows.
async fn get(
    client: &Client,
    name: &Name,
    version: &mut &'static str,
) -> Option<Result<Kafka, Lack>> {
    let Name { namespace, name: cluster } = name;
    let lack = |label, message: String| Some(Err(Lack { label, message }));
    let mut versions = VERSIONS;
    versions.sort_by_key(|it| it != version);
    for tried in versions {
        let kind = GroupVersionKind::gvk(GROUP, tried, "Kafka");
        let resource = ApiResource::from_gvk_with_plural(&kind, "kafkas");
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let answer = tokio::time::timeout(PATIENCE, api.get(cluster)).await.ok()?;
        match answer {
            Ok(object) => {
                *version = tried;
                return match serde_json::from_value(object.data) {
                    Ok(kafka) => Some(Ok(kafka)),
                    Err(error) => lack(
                        "KafkaUnreadable",
                        format!(
                            "Kafka {namespace}/{cluster} cannot be read: {error}; hint: is it Strimzi's?"
                        ),
                    ),
                };
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                return lack(
                    "KafkaForbidden",
                    format!(
                        "Penstock may not get Kafka {namespace}/{cluster}; hint: grant get on kafkas.{GROUP}, by name, in a Role of {namespace} (the chart's value strimzi does)"
                    ),
                );
            }
            // Only a kind that is served knows which object is missing.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let is_served = status.details.as_ref().is_some_and(|it| it.name == **cluster);
                if is_served {
                    *version = tried;
                    return lack(
                        "KafkaNotFound",
                        format!(
                            "there is no Kafka {namespace}/{cluster}; hint: create it, or mend spec.kafka.strimzi.cluster; it is looked for where the Secrets are"
                        ),
                    );
                }
            }
            // The last good one stays in force.
            Err(error) => {
                warn!(%namespace, %cluster, error = %chain(&error), "reading a Kafka of Strimzi failed");
                return None;
            }
        }
    }
    lack(
        "StrimziNotFound",
        format!(
            "the cluster serves no kafkas.{GROUP}; hint: install Strimzi, or write bootstrapServers"
        ),
    )
}
