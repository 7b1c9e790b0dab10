//! Which daemon is meant: the one that runs in the cluster, found by its label, with its account and the flags that bound it; or
//! none yet, and then the caller stands for it.

use k8s_openapi::api::core::v1::Pod;
use kube::Client;

use super::super::reach;

/// What the Lease is called unless the daemon is told otherwise.
const LEASE: &str = "penstock";

/// The account of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Service {
    /// Its name as a user.
    pub(super) fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    /// The groups that every service account is in.
    pub(super) fn groups(&self) -> Vec<String> {
        let own = format!("system:serviceaccounts:{}", self.namespace);
        vec!["system:serviceaccounts".to_owned(), own, "system:authenticated".to_owned()]
    }
}

/// Whose rights are looked at, and how far it reaches.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the daemon's")]
pub(super) struct Account {
    /// `None`: the caller.
    pub(super) service: Option<Service>,
    /// Namespaces it watches; empty means all.
    pub(super) watches: Vec<String>,
    /// Labels of the pipelines that it works on, where it does not on all of these.
    pub(super) selector: Option<String>,
    /// Where its Lease is.
    pub(super) lease_namespace: String,
    /// Its name.
    pub(super) lease_name: String,
    /// The pod this was read from.
    pub(super) pod: Option<String>,
    /// Is its page switched off? Then it tells nobody of pipelines but by their statuses.
    pub(super) is_silent: bool,
    /// Does it leave alone what lies in no namespace?
    pub(super) is_confined: bool,
    /// Does it keep below `ResourceQuotas`?
    pub(super) heeds_quotas: bool,
    /// Is its page open to the cluster? Then it asks whose tokens are, and what they may see.
    pub(super) is_open: bool,
}

impl Account {
    /// The account of each release of the daemon in the cluster, one at least. Without any, the caller's own, with the Lease in `namespace`.
    pub(super) async fn find(client: &Client, namespace: &str) -> anyhow::Result<Vec<Self>> {
        let pods = reach::pods(client).await?;
        let mut all: Vec<_> = reach::by_release(pods)
            .filter_map(|pods| pods.into_iter().find_map(Self::of))
            .collect();
        let nobody = Self {
            lease_namespace: namespace.to_owned(),
            lease_name: LEASE.to_owned(),
            ..Self::default()
        };
        if all.is_empty() {
            all.push(nobody);
        }
        Ok(all)
    }

    fn of(pod: Pod) -> Option<Self> {
        let namespace = pod.metadata.namespace?;
        let spec = pod.spec?;
        let name = spec.service_account_name.unwrap_or_else(|| "default".to_owned());
        let arguments = spec.containers.into_iter().flat_map(|it| it.args.unwrap_or_default());
        let arguments: Vec<String> = arguments.collect();
        let values = |flag: &str| -> Vec<String> {
            let joined = format!("{flag}=");
            let pairs = arguments.iter().zip(arguments.iter().skip(1));
            let apart = pairs.filter(|(it, _)| *it == flag).map(|(_, value)| value.clone());
            let joined = arguments.iter().filter_map(|it| it.strip_prefix(&joined));
            joined.map(str::to_owned).chain(apart).collect()
        };
        let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
        Some(Self {
            is_confined: has("--no-cluster-objects"),
            heeds_quotas: has("--heed-quotas"),
            watches: values("--namespace"),
            selector: values("--selector").pop(),
            lease_name: values("--lease-name").pop().unwrap_or_else(|| LEASE.to_owned()),
            lease_namespace: values("--lease-namespace").pop().unwrap_or_else(|| namespace.clone()),
            is_silent: values("--page-listen").pop().is_some_and(|place| place == "none"),
            is_open: values("--page-open").pop().is_some_and(|place| place != "none"),
            pod: pod.metadata.name.map(|pod| format!("{namespace}/{pod}")),
            service: Some(Service { namespace, name }),
        })
    }

    /// Does it watch any of these namespaces?
    pub(super) fn sees_any(&self, namespaces: &[String]) -> bool {
        self.watches.is_empty() || self.watches.iter().any(|it| namespaces.contains(it))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        self.service.as_ref().map_or_else(|| "you".to_owned(), Service::user)
    }
}
