//! Triggers that are queues: `rabbitmq`, the six of Redis, `nats-jetstream`, `aws-sqs-queue`.

use super::super::address::{Url, decoded};
use super::super::report::Grade;
use super::desk::{Desk, Left, Sizing, UNCHECKED};
use super::kafka::words;
use crate::crd::connection;
use crate::crd::login::{
    Endpoint, Nats as NatsLogin, Redis as RedisLogin, Sentinel, Sqs as SqsLogin,
};
use crate::crd::source::{Kinds, Nats, Rabbitmq, Redis, Sqs};

/// Certificates under the names that most scalers have.
const PEMS: [&str; 3] = ["ca", "cert", "key"];

pub(super) const RABBITMQ: &[Left] = &[
    UNCHECKED,
    ("protocol", "auto", Grade::Same, "follows from the URL"),
    (
        "timeout",
        "",
        Grade::Changes,
        "is left out: an answer may take 2 s (management API) or 3 s (AMQP)",
    ),
    ("pageSize", "100", Grade::Same, "is chosen by itself"),
    ("metricName", "", Grade::Same, "has no use: a source goes by its name"),
];

pub(super) fn rabbitmq(desk: &mut Desk<'_>) -> Option<Kinds> {
    let queue = desk.needed("queueName");
    if desk.flag("useRegex") {
        let path = desk.path("useRegex");
        desk.notes.not_supported(path, "a source is one queue: write a source for each of them");
        return None;
    }
    let per_replica = rabbitmq_sizing(desk)?;
    let queue = queue?;
    let host = desk.part_needed("host");
    let url = Url::of(&host).unwrap_or_default();
    if desk.lacks.is_empty() && !["http", "https", "amqp", "amqps"].contains(&url.scheme.as_str()) {
        desk.lack("host", format!("{:?} is no URL of http, https, amqp or amqps", url.root()));
    }
    let is_http = url.scheme.starts_with("http");
    // The virtual host is what the path ends with; before it stands what a proxy adds.
    let (before, own) = url.path.rsplit_once('/').unwrap_or_default();
    let own = Some(decoded(own)).filter(|vhost| !vhost.is_empty() && vhost != "/");
    let mut endpoint = Endpoint { url: format!("{}{before}", url.root()), ..Endpoint::default() };
    endpoint.username_secret_ref = desk.secret("username");
    endpoint.password_secret_ref = desk.secret("password");
    if let (None, Some(user)) = (&endpoint.username_secret_ref, &url.user) {
        endpoint.username_secret_ref = Some(desk.in_clear("username", user));
        let password = url.password.clone().unwrap_or_default();
        endpoint.password_secret_ref = Some(desk.in_clear("password", password));
    }
    let is_tls = desk.has_tls_on();
    endpoint.tls = desk.tls(PEMS, is_tls);
    let excludes = desk.flag("excludeUnacknowledged") && is_http;
    let vhost = desk.word("vhostName").filter(|vhost| vhost != "/").or(own);
    let kind = connection::Kinds { rabbitmq: Some(endpoint), ..Default::default() };
    let source = Rabbitmq {
        connection_ref: desk.connect(&url.host, kind),
        queue,
        vhost,
        exclude_unacked: excludes.then_some(true),
        per_replica,
    };
    Some(Kinds { rabbitmq: Some(source), ..Kinds::default() })
}

fn rabbitmq_sizing(desk: &mut Desk<'_>) -> Option<Sizing> {
    let mode = desk.word("mode");
    let old = desk.has("queueLength") && !desk.has("value");
    match mode.as_deref() {
        None if old => desk.sizing("queueLength", None, true),
        None | Some("QueueLength") => desk.sizing("value", Some("20"), true),
        Some(_) if desk.is_in_formula => {
            let path = desk.path("mode");
            desk.notes
                .not_supported(path, "in a formula only the length of a queue has a counterpart");
            None
        }
        Some("MessageRate") => {
            let rate = desk.word("value").and_then(|value| value.parse::<f64>().ok());
            let rate = rate.filter(|rate| rate.is_finite() && 0.0 < *rate);
            desk.by_objective(
                "mode",
                "counts what is published in a second for each replica, and not what waits",
                (true, rate),
            )
        }
        Some(_) => {
            desk.word("value");
            desk.by_objective(
                "mode",
                "sizes by a rate or a time, and not by what waits",
                (true, None),
            )
        }
    }
}

pub(super) const REDIS: &[Left] =
    &[UNCHECKED, ("metricName", "", Grade::Same, "has no use: a source goes by its name")];

pub(super) fn redis(desk: &mut Desk<'_>) -> Option<Kinds> {
    let mut source = Redis::default();
    if desk.scaler.ends_with("-streams") {
        stream(desk, &mut source)?;
    } else {
        source.list = desk.needed("listName");
        source.per_replica = desk.sizing("listLength", Some("5"), true)?;
        source.list.as_ref()?;
    }
    let is_cluster = desk.scaler.starts_with("redis-cluster");
    let is_sentinel = desk.scaler.starts_with("redis-sentinel");
    let mut login = RedisLogin {
        addresses: addresses(desk, is_cluster || is_sentinel),
        cluster: is_cluster.then_some(true),
        username_secret_ref: desk.secret("username"),
        password_secret_ref: desk.secret("password"),
        ..RedisLogin::default()
    };
    if is_sentinel {
        login.sentinel = Some(Sentinel {
            master: desk.part_needed("sentinelMaster"),
            username_secret_ref: desk.secret("sentinelUsername"),
            password_secret_ref: desk.secret("sentinelPassword"),
        });
    }
    let database = desk.part("databaseIndex");
    login.database = database.and_then(|index| index.parse().ok()).filter(|index| *index != 0);
    let is_enabled = desk.has_tls_on();
    let is_tls = desk.flag("enableTLS") || is_enabled;
    login.tls = desk.tls(PEMS, is_tls);
    let host = login.addresses.first().cloned().unwrap_or_default();
    let kind = connection::Kinds { redis: Some(login), ..Default::default() };
    source.connection_ref = desk.connect(&host, kind);
    Some(Kinds { redis: Some(source), ..Kinds::default() })
}

fn stream(desk: &mut Desk<'_>, source: &mut Redis) -> Option<()> {
    source.stream = desk.needed("stream");
    source.group = desk.word("consumerGroup");
    let by = match (&source.group, desk.has("lagCount")) {
        (None, _) => "streamLength",
        (Some(_), true) => "lagCount",
        (Some(_), false) => "pendingEntriesCount",
    };
    source.per_replica = desk.sizing(by, Some("5"), true)?;
    if source.group.is_some() {
        let path = desk.path(by);
        let what = if by == "lagCount" {
            "counts what the group has not read; here what it has not acknowledged counts, too"
        } else {
            "counts what the group has not acknowledged; here what it has not read counts, too"
        };
        desk.notes.changes(path, what);
    }
    source.stream.as_ref().map(|_| ())
}

/// The addresses, however they are written.
fn addresses(desk: &mut Desk<'_>, is_many: bool) -> Vec<String> {
    let [address, host, port] =
        if is_many { ["addresses", "hosts", "ports"] } else { ["address", "host", "port"] };
    if desk.has(address) {
        return words(&desk.part_needed(address));
    }
    if !desk.has(host) {
        desk.part_needed(address);
        return Vec::new();
    }
    let (hosts, ports) = (words(&desk.part_needed(host)), words(&desk.part_needed(port)));
    hosts.iter().zip(ports).map(|(host, port)| format!("{host}:{port}")).collect()
}

pub(super) const NATS: &[Left] = &[UNCHECKED];

/// The port that NATS's clients have where nobody says.
const CLIENTS: &str = "4222";

pub(super) fn nats(desk: &mut Desk<'_>) -> Option<Kinds> {
    let (stream, consumer) = (desk.needed("stream"), desk.needed("consumer"));
    let per_replica = desk.sizing("lagThreshold", Some("10"), true)?;
    let (stream, consumer) = (stream?, consumer?);
    let monitor = desk.part_needed("natsServerMonitoringEndpoint");
    let host = monitor.rsplit_once(':').map_or(monitor.as_str(), |(host, _)| host).to_owned();
    let is_tls = desk.flag("useHttps");
    let scheme = if is_tls { "tls" } else { "nats" };
    let url = format!("{scheme}://{host}:{CLIENTS}");
    let account = ["account", "accountID"].into_iter().find(|key| desk.has(key));
    let account = account.map(|key| (desk.path(key), desk.part(key)));
    let login = NatsLogin { url: url.clone(), ..NatsLogin::default() };
    let path = desk.path("natsServerMonitoringEndpoint");
    let is_known = desk.lacks.is_empty();
    let kind = connection::Kinds { nats: Some(login), ..Default::default() };
    let connection_ref = desk.connect(&host, kind);
    if is_known {
        let name = &connection_ref.name;
        desk.notes.changes(
            path,
            format!("is a port for watching, where nobody logs in. Connection {name} asks JetStream itself, at {url}: see that this is right, and give it a login"),
        );
    }
    if let Some((path, Some(account))) = account {
        desk.notes.changes(
            path,
            format!("is that of the login: give the Connection one of account {account}"),
        );
    }
    let source = Nats { connection_ref, stream, consumer, per_replica };
    Some(Kinds { nats: Some(source), ..Kinds::default() })
}

pub(super) const SQS: &[Left] = &[
    UNCHECKED,
    (
        "awsSessionToken",
        "",
        Grade::NotSupported,
        "is left out: keys that end are not taken; use an identity",
    ),
    (
        "awsRoleArn",
        "",
        Grade::NotSupported,
        "is left out: Penstock assumes no other role; give its own identity the right sqs:GetQueueAttributes",
    ),
];

pub(super) fn sqs(desk: &mut Desk<'_>) -> Option<Kinds> {
    let queue_url = desk.needed("queueURL");
    let per_replica = desk.sizing("queueLength", Some("5"), true)?;
    let queue_url = queue_url?;
    if !queue_url.contains("://") {
        let path = desk.path("queueURL");
        desk.notes.not_supported(path, "is the name of a queue: write its URL");
        return None;
    }
    let exclude_in_flight = desk.word("scaleOnInFlight").is_some_and(|word| word == "false");
    let include_delayed = desk.flag("scaleOnDelayed");
    let login = SqsLogin {
        region: desk.part_needed("awsRegion"),
        endpoint: desk.part("awsEndpoint"),
        access_key_id_secret_ref: desk.secret("awsAccessKeyID"),
        secret_access_key_secret_ref: desk.secret("awsSecretAccessKey"),
    };
    let owner = desk.word("identityOwner");
    if login.access_key_id_secret_ref.is_none() {
        let own = desk.path("identityOwner");
        let (path, identity) = desk
            .identity
            .take()
            .unwrap_or_else(|| (own, owner.unwrap_or_else(|| "KEDA's own".to_owned())));
        desk.notes.changes(
            path,
            format!("is {identity}; here the queue is asked as Penstock's own ServiceAccount (IRSA or EKS Pod Identity): give that one sqs:GetQueueAttributes"),
        );
    }
    let host = Url::of(&queue_url).map_or_else(String::new, |url| url.host);
    let kind = connection::Kinds { sqs: Some(login), ..Default::default() };
    let source = Sqs {
        connection_ref: desk.connect(&host, kind),
        queue_url,
        exclude_in_flight: exclude_in_flight.then_some(true),
        include_delayed: include_delayed.then_some(true),
        per_replica,
    };
    Some(Kinds { sqs: Some(source), ..Kinds::default() })
}
