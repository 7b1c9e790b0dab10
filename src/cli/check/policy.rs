//! The ways out that the daemon needs, as a network policy: names, the API server, and the servers of all sources. A Service is followed to
//! the pods behind it, since policies are held against those.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::Context;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::super::reach;
use super::install::Account;

/// Where an API server listens, as seen by a policy: behind its Service or in front.
const API_SERVER: [u16; 2] = [443, 6443];

/// A server that is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Server {
    host: String,
    port: u16,
}

/// A port as a policy has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(untagged)]
enum Port {
    Number(i32),
    /// What the pods call it.
    Name(String),
}

/// The policy of each release: one by itself, several as a list.
///
/// # Errors
/// Services may not be read.
pub(super) async fn policies(
    client: &Client,
    accounts: &[Account],
    origins: &BTreeSet<String>,
) -> anyhow::Result<Value> {
    let dns = dns(client).await;
    let mut all = Vec::new();
    for account in accounts {
        all.push(policy(client, account, origins, &dns).await?);
    }
    Ok(match all.len() {
        1 => all.swap_remove(0),
        _ => json!({"apiVersion": "v1", "kind": "List", "items": all}),
    })
}

/// Ports at which the cluster's DNS listens: a policy is held against its pods, which need not listen at 53 as its Service does.
async fn dns(client: &Client) -> BTreeSet<Port> {
    // What addons and OpenShift call it; where it is called otherwise, or may not be read, 53 is all that is known.
    let places = [
        ("kube-system", "k8s-app=kube-dns"),
        ("openshift-dns", "dns.operator.openshift.io/owning-dns"),
    ];
    let mut ports = BTreeSet::from([Port::Number(53)]);
    for (namespace, labels) in places {
        let services = Api::<Service>::namespaced(client.clone(), namespace);
        let found = services.list(&ListParams::default().labels(labels)).await;
        let found = found.map(|list| list.items).unwrap_or_default();
        let all = found.into_iter().filter_map(|it| it.spec?.ports).flatten();
        ports.extend(all.filter(|it| it.port == 53).filter_map(|it| target(it.target_port)));
    }
    ports
}

/// A port of the pods behind a Service.
fn target(port: Option<IntOrString>) -> Option<Port> {
    Some(match port? {
        IntOrString::Int(port) => Port::Number(port),
        IntOrString::String(name) => Port::Name(name),
    })
}

/// The policy for servers that are written like `kafka.data:9092,other.data:9092` or `https://prom.monitoring/api`.
///
/// # Errors
/// Services may not be read.
async fn policy(
    client: &Client,
    account: &Account,
    origins: &BTreeSet<String>,
    dns: &BTreeSet<Port>,
) -> anyhow::Result<Value> {
    let home = account.service.as_ref().map_or("penstock", |service| &*service.namespace);
    let mut ways: BTreeMap<String, (Value, BTreeSet<Port>)> = BTreeMap::new();
    let servers: BTreeSet<Server> = origins.iter().flat_map(|origin| servers(origin)).collect();
    for server in servers {
        let (to, port) = way(client, home, &server).await?;
        let (_, ports) = ways.entry(to.to_string()).or_insert_with(|| (to, BTreeSet::new()));
        ports.insert(port);
    }
    let dns: Vec<_> = dns
        .iter()
        .flat_map(|port| ["UDP", "TCP"].map(|it| json!({"port": port, "protocol": it})))
        .collect();
    let api = API_SERVER.map(|port| json!({"port": port, "protocol": "TCP"}));
    let mut egress = vec![json!({"ports": dns}), json!({"ports": api})];
    for (to, ports) in ways.into_values() {
        let ports: Vec<_> =
            ports.iter().map(|port| json!({"port": port, "protocol": "TCP"})).collect();
        let mut rule = json!({"ports": ports});
        if !to.is_null() {
            rule["to"] = json!([to]);
        }
        egress.push(rule);
    }
    egress.extend(origins.iter().filter_map(|origin| brokers(origin)));
    let (label, value) = reach::LABEL.split_once('=').unwrap_or_default();
    Ok(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "penstock-egress", "namespace": home},
        "spec": {"podSelector": {"matchLabels": {label: value}}, "policyTypes": ["Egress"], "egress": egress},
    }))
}

/// The way to the brokers of a cluster that Strimzi looks after, written as `crd::strimzi::Wanted` is: which ports they listen at is the affair of its listeners.
fn brokers(origin: &str) -> Option<Value> {
    let (namespace, cluster) = origin.strip_prefix("Kafka ")?.split_once('/')?;
    Some(json!({"to": [{
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": {"strimzi.io/cluster": cluster, "strimzi.io/kind": "Kafka"}},
    }]}))
}

/// Is it known where this source is asked, or is no way of its own wanted?
pub(super) fn is_told(origin: &str) -> bool {
    // What has no port is asked by HTTPS, as clouds are, or is sent to the daemon.
    let is_plain = !origin.is_empty() && !origin.contains([':', ' ']);
    is_plain || brokers(origin).is_some() || !servers(origin).is_empty()
}

/// What a policy calls a server: whom, and at which port of theirs. Whom is null for a name outside of the cluster, which no policy knows.
async fn way(client: &Client, home: &str, server: &Server) -> anyhow::Result<(Value, Port)> {
    let host = &server.host;
    let port = Port::Number(server.port.into());
    if let Ok(address) = host.parse::<IpAddr>() {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        return Ok((json!({"ipBlock": {"cidr": format!("{address}/{bits}")}}), port));
    }
    let Some((namespace, name)) = service_name(host, home) else {
        return Ok((Value::Null, port));
    };
    let services = Api::<Service>::namespaced(client.clone(), namespace);
    let found = services.get_opt(name).await.map_err(|error| reach::plain(&error));
    let found = found.with_context(|| format!("cannot read Service {namespace}/{name}"))?;
    let Some(spec) = found.and_then(|found| found.spec) else {
        return Ok((Value::Null, port));
    };
    let mut to =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    if let Some(selector) = spec.selector.filter(|selector| !selector.is_empty()) {
        to["podSelector"] = json!({"matchLabels": selector});
    }
    let ports = spec.ports.unwrap_or_default();
    let found = ports.into_iter().find(|it| it.port == i32::from(server.port));
    Ok((to, found.and_then(|found| target(found.target_port)).unwrap_or(port)))
}

/// Namespace and name of the Service that a host of the cluster's own DNS stands for, seen from `home`.
fn service_name<'a>(host: &'a str, home: &'a str) -> Option<(&'a str, &'a str)> {
    let short = host.trim_end_matches('.');
    let short = short.strip_suffix(".cluster.local").unwrap_or(short);
    let (short, is_whole) = short.strip_suffix(".svc").map_or((short, false), |it| (it, true));
    let parts: Vec<&str> = short.split('.').collect();
    match parts[..] {
        [name] => Some((home, name)),
        [name, namespace] => Some((namespace, name)),
        // A pod of a headless Service.
        [_, name, namespace] if is_whole => Some((namespace, name)),
        _ => None,
    }
}

/// The servers of an origin. What has no port that is known is none.
fn servers(origin: &str) -> Vec<Server> {
    let (scheme, rest) = origin.split_once("://").unwrap_or(("", origin));
    let usual = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "amqp" => Some(5672),
        "amqps" => Some(5671),
        "nats" | "tls" => Some(4222),
        _ => None,
    };
    rest.split(',')
        .filter_map(|one| {
            let one = one.trim().split(['/', '?']).next()?;
            let one = one.rsplit_once('@').map_or(one, |(_, host)| host);
            let (host, port) = match one.rsplit_once(':') {
                Some((host, port)) if !host.ends_with(':') => (host, port.parse().ok()?),
                _ => (one, usual?),
            };
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            (!host.is_empty()).then_some(Server { host, port })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_found_in_every_kind_of_address() {
        let read = |origin: &str| {
            let all = servers(origin).into_iter();
            all.map(|server| format!("{} {}", server.host, server.port))
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(read("a.data:9092, b.data:9092"), "a.data 9092, b.data 9092");
        assert_eq!(read("https://prom.monitoring/api?x=1"), "prom.monitoring 443");
        assert_eq!(read("http://user@prom:9090"), "prom 9090");
        assert_eq!(read("amqps://mq"), "mq 5671");
        assert_eq!(read("db.shop:5432/orders"), "db.shop 5432");
        assert_eq!(read("[::1]:6379"), "::1 6379");
        assert_eq!(read("sqs.eu-west-1.amazonaws.com"), "");
        assert_eq!(read("lineage"), "");
    }

    #[test]
    fn brokers_of_strimzi_are_found_by_their_labels() {
        let rule = brokers("Kafka data/events").unwrap();
        let to = &rule["to"][0];
        assert_eq!(to["podSelector"]["matchLabels"]["strimzi.io/cluster"], "events");
        assert_eq!(to["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], "data");
        assert!(brokers("kafka.data:9092").is_none());
        assert!(is_told("Kafka data/events") && is_told("kafka:9092") && is_told("lineage"));
        assert!(!is_told("") && !is_told("kafka:nowhere"));
    }

    #[test]
    fn the_cluster_s_own_names_lead_to_services() {
        let read = |host| service_name(host, "home");
        assert_eq!(read("kafka"), Some(("home", "kafka")));
        assert_eq!(read("kafka.data"), Some(("data", "kafka")));
        assert_eq!(read("kafka.data.svc"), Some(("data", "kafka")));
        assert_eq!(read("kafka.data.svc.cluster.local."), Some(("data", "kafka")));
        assert_eq!(read("kafka-0.kafka.data.svc"), Some(("data", "kafka")));
        assert_eq!(read("sqs.eu-west-1.amazonaws.com"), None);
        assert_eq!(read("db.example.com"), None);
    }
}
