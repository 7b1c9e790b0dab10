//! The Secrets that connections log in with: read by GET, by name, one request for each in 30 s, so that a rotated one is in force
//! without a restart. Never listed, never watched, never printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

use super::stores::{Name, Shelf, Stores, chain};

/// How often each Secret is read again.
pub(super) const ROTATION: Duration = Duration::from_secs(30);

/// How soon a read that failed is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(5);

/// How long one read may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What was read, by Secret.
#[derive(Default)]
pub(super) struct Vault {
    wanted: BTreeSet<Name>,
    held: BTreeMap<Name, Held>,
}

/// One Secret.
enum Held {
    /// Its data.
    Known(BTreeMap<String, Vec<u8>>),
    /// It could not be read: a CamelCase word and a sentence.
    Unknown { label: &'static str, message: String },
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// Why a key of a Secret cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoSecret {
    /// Not read yet; soon.
    Awaited,
    /// It lasts until someone mends it.
    Lasting { label: &'static str, message: String },
}

impl Vault {
    /// Sets which Secrets are named; true when a new one is among them.
    pub(super) fn want(&mut self, wanted: BTreeSet<Name>) -> bool {
        let is_new = wanted.iter().any(|name| !self.wanted.contains(name));
        self.held.retain(|name, _| wanted.contains(name));
        self.wanted = wanted;
        is_new
    }

    /// The bytes under a key.
    pub(super) fn bytes(&self, secret: &Name, key: &str) -> Result<&[u8], NoSecret> {
        self.data(secret)?.get(key).map(Vec::as_slice).ok_or_else(|| NoSecret::Lasting {
            label: "SecretKeyNotFound",
            message: format!(
                "Secret {}/{} has no key {key}; hint: add it",
                secret.namespace, secret.name
            ),
        })
    }

    /// All that a Secret holds.
    pub(super) fn data(&self, secret: &Name) -> Result<&BTreeMap<String, Vec<u8>>, NoSecret> {
        match self.held.get(secret) {
            None => Err(NoSecret::Awaited),
            Some(Held::Unknown { label, message }) => {
                Err(NoSecret::Lasting { label, message: message.clone() })
            }
            Some(Held::Known(data)) => Ok(data),
        }
    }
}

/// Reads what is wanted for as long as the process lives.
pub(super) async fn read_all(client: Client, shelf: Arc<Shelf>, bell: Arc<Notify>) {
    let mut turns = Turns::default();
    loop {
        let name = turns.next(&shelf, &bell, |stores| stores.secrets.wanted.clone()).await;
        let wait = read(&client, &shelf, &name).await;
        turns.again(name, wait);
    }
}

/// When each object that is read by name has its turn; one is read at a time.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<Name, Instant>);

impl Turns {
    /// Waits for the next one; a new one has its turn at once.
    pub(super) async fn next(
        &mut self,
        stores: &Shelf,
        bell: &Notify,
        wanted: fn(&Stores) -> BTreeSet<Name>,
    ) -> Name {
        loop {
            let wanted = wanted(&stores.open());
            self.0.retain(|name, _| wanted.contains(name));
            let now = Instant::now();
            for name in wanted {
                self.0.entry(name).or_insert(now);
            }
            let next = self.0.iter().min_by_key(|(_, at)| **at);
            let Some((name, at)) = next.map(|(name, at)| (name.clone(), *at)) else {
                bell.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(at) => return name,
                () = bell.notified() => {}
            }
        }
    }

    /// Says when an object that was read has its next turn.
    pub(super) fn again(&mut self, name: Name, wait: Duration) {
        self.0.insert(name, Instant::now() + wait);
    }
}

/// Reads one Secret; returns when to read it again.
async fn read(client: &Client, shelf: &Shelf, name: &Name) -> Duration {
    let api: Api<Secret> = Api::namespaced(client.clone(), &name.namespace);
    let Ok(answer) = tokio::time::timeout(PATIENCE, api.get(&name.name)).await else {
        return RETRY;
    };
    let held = match answer {
        Ok(secret) => Held::Known(
            secret.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)).collect(),
        ),
        Err(kube::Error::Api(status)) if status.code == 404 => Held::Unknown {
            label: "SecretNotFound",
            message: format!(
                "Secret {}/{} does not exist; hint: create it",
                name.namespace, name.name
            ),
        },
        Err(kube::Error::Api(status)) if status.code == 403 => Held::Unknown {
            label: "SecretForbidden",
            message: format!(
                "Penstock may not get Secret {}/{}; hint: grant get on it, by name, in a Role",
                name.namespace, name.name
            ),
        },
        // The last good one stays in force: an API server that is away changes no password.
        Err(error) => {
            warn!(secret = %name.name, namespace = %name.namespace, error = %chain(&error), "reading a Secret failed");
            return RETRY;
        }
    };
    let wait = if matches!(held, Held::Known(_)) { ROTATION } else { RETRY };
    let mut stores = shelf.open();
    let is_same = match (stores.secrets.held.get(name), &held) {
        (Some(Held::Known(old)), Held::Known(new)) => old == new,
        (Some(Held::Unknown { label: old, .. }), Held::Unknown { label: new, .. }) => old == new,
        _ => false,
    };
    stores.secrets.held.insert(name.clone(), held);
    if !is_same {
        stores.touch_all();
        drop(stores);
        shelf.ring();
    }
    wait
}
