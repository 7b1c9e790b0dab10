//! The sources of a stage: what each is asked, where, and with which Secrets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Code, Fault, QuestionDraft, Reader, SecretWanted, not_yet};
use crate::crd::connection;
use crate::crd::login::{Kafka as Login, Mechanism as WrittenMechanism, SecretRef};
use crate::crd::pipeline::Stage as WrittenStage;
use crate::crd::quantity::{ABOVE_ZERO, NOT_NEGATIVE, Quantity};
use crate::crd::rules;
use crate::crd::source::{
    ConnectionKind, ConnectionRef, Isolation as WrittenIsolation, KINDS, Kafka, Kinds,
    OffsetReset as WrittenReset, Source as Written,
};
use crate::decide::{QuestionId, Source};
use crate::observe::{Address, Ask, kafka};

/// How often Kafka is asked when nobody says.
const KAFKA_POLL: Duration = Duration::from_secs(2);

/// A connection, found and opened to us: what it says, and where its Secrets lie.
struct Found {
    /// How the address calls it.
    id: String,
    /// How faults call it.
    title: String,
    kind: connection::Kinds,
    secret_namespace: String,
}

impl Reader<'_> {
    /// Reads all sources of a stage.
    pub(super) fn sources(
        &mut self,
        at: &str,
        stage: &WrittenStage,
        poll: Option<Duration>,
    ) -> Vec<Source> {
        if stage.sources.len() > 16 {
            self.refuse(format!("{at}.sources"), "must have at most 16 items");
        }
        let mut names = BTreeSet::new();
        let mut sources = Vec::new();
        for (index, written) in stage.sources.iter().enumerate().take(16) {
            let at = format!("{at}.sources[{index}]");
            if !names.insert(&written.name) {
                self.refuse(format!("{at}.name"), "another source has this name");
            }
            sources.extend(self.source(&at, &stage.name, written, poll));
        }
        sources
    }

    /// Reads one source; `None` when it is none that works.
    fn source(
        &mut self,
        at: &str,
        stage: &str,
        written: &Written,
        poll: Option<Duration>,
    ) -> Option<Source> {
        if !rules::is_source_name(&written.name) {
            self.refuse(format!("{at}.name"), rules::SOURCE_NAME);
        }
        let own =
            self.span(format!("{at}.pollInterval"), written.poll_interval.as_ref(), "1s", "10m");
        let activation = self.quantity(format!("{at}.activation"), written.activation.as_ref());
        let kinds = written_kinds(&written.kind);
        if kinds.len() != 1 {
            self.refuse(at, rules::ONE_SOURCE);
        }
        for kind in kinds.iter().filter(|kind| **kind != "kafka") {
            self.faults.push(not_yet(format!("{at}.{kind}")));
        }
        let ask = written.kind.kafka.as_ref()?;
        let source = Source {
            name: written.name.as_str().into(),
            question: QuestionId::new(&self.id, stage, &written.name),
            poll_interval: own.or(poll).unwrap_or(KAFKA_POLL),
            activation: activation.unwrap_or(0.0),
            per_replica: self.threshold(format!("{at}.kafka.perReplica"), ask.per_replica.as_ref()),
        };
        self.kafka(&format!("{at}.kafka"), ask, &source);
        Some(source)
    }

    /// Puts the question of a Kafka source, or says why it cannot be put.
    fn kafka(&mut self, at: &str, written: &Kafka, source: &Source) {
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
            (Some(reference), None) => self.found(at, reference).and_then(|found| log_in(&found)),
            (None, Some(servers)) => match brokers(servers) {
                Some(bootstrap_servers) => Ok((bare(bootstrap_servers), Vec::new())),
                None => {
                    return self.refuse(format!("{at}.bootstrapServers"), BROKERS);
                }
            },
            (Some(_), Some(_)) | (None, None) => return self.refuse(at, rules::ONE_BROKER),
        };
        match place {
            Ok((address, secrets)) => self.questions.push(QuestionDraft {
                id: source.question.clone(),
                poll_interval: source.poll_interval,
                address: Address::Kafka(address),
                ask,
                secrets,
            }),
            Err(fault) => self.unanswerable.push((source.question.clone(), fault)),
        }
    }

    /// Finds the connection that a source names, if it is open to this namespace.
    fn found(&self, at: &str, reference: &ConnectionRef) -> Result<Found, Fault> {
        let path = format!("{at}.connectionRef");
        let name = &reference.name;
        let namespace = &self.id.namespace;
        let lasting = |code, message: String, hint: &str| Fault {
            path: path.clone(),
            code,
            message,
            hint: Some(hint.to_owned()),
        };
        match reference.kind.unwrap_or_default() {
            ConnectionKind::Connection => {
                let object: Arc<connection::Connection> =
                    self.around.connection(namespace, name).ok_or_else(|| {
                        lasting(
                            Code::ConnectionNotFound,
                            format!("there is no Connection {namespace}/{name}"),
                            "create it, or mend the name; a ClusterConnection wants kind: ClusterConnection",
                        )
                    })?;
                Ok(Found {
                    id: format!("{namespace}/{name}"),
                    title: format!("Connection {namespace}/{name}"),
                    kind: object.spec.kind.clone(),
                    secret_namespace: namespace.to_string(),
                })
            }
            ConnectionKind::ClusterConnection => {
                let object = self.around.cluster_connection(name).ok_or_else(|| {
                    lasting(
                        Code::ConnectionNotFound,
                        format!("there is no ClusterConnection {name}"),
                        "create it, or mend the name",
                    )
                })?;
                let labels = self.around.namespace_labels(namespace).unwrap_or_default();
                let is_allowed = object
                    .spec
                    .allowed_namespaces
                    .as_ref()
                    .is_some_and(|allowed| allowed.matches(&labels));
                if !is_allowed {
                    return Err(lasting(
                        Code::NamespaceNotAllowed,
                        format!("ClusterConnection {name} does not allow namespace {namespace}"),
                        "its allowedNamespaces must match the labels of the namespace",
                    ));
                }
                let secret_namespace = object.spec.secret_namespace.clone().unwrap_or_default();
                if names_secrets(&object.spec.kind) {
                    if secret_namespace.is_empty() {
                        return Err(Fault {
                            path: format!("ClusterConnection {name} spec.secretNamespace"),
                            code: Code::InvalidConnection,
                            message: rules::SECRET_NAMESPACE.to_owned(),
                            hint: None,
                        });
                    }
                    if !self.around.may_lend_secrets_of(&secret_namespace) {
                        return Err(lasting(
                            Code::SecretNamespaceNotAllowed,
                            format!(
                                "ClusterConnection {name} wants Secrets of namespace {secret_namespace}, which Penstock was not given"
                            ),
                            "list the namespace in the chart's values",
                        ));
                    }
                }
                Ok(Found {
                    id: format!("/{name}"),
                    title: format!("ClusterConnection {name}"),
                    kind: object.spec.kind.clone(),
                    secret_namespace,
                })
            }
        }
    }

    /// Reads a quantity of 0 or more.
    fn quantity(&mut self, path: String, written: Option<&Quantity>) -> Option<f64> {
        let read = written?.read();
        if read.is_none() {
            self.refuse(path, NOT_NEGATIVE);
        }
        read
    }

    /// Reads a threshold: a quantity above 0.
    fn threshold(&mut self, path: String, written: Option<&Quantity>) -> Option<f64> {
        let read = written?.read().filter(|value| *value > 0.0);
        if read.is_none() {
            self.refuse(path, ABOVE_ZERO);
        }
        read
    }
}

/// What a list of brokers must look like.
const BROKERS: &str = "must be host:port, or several of them with commas between";

/// The kinds that a source sets.
fn written_kinds(kind: &Kinds) -> Vec<&'static str> {
    let is_set = [
        kind.kafka.is_some(),
        kind.rabbitmq.is_some(),
        kind.redis.is_some(),
        kind.prometheus.is_some(),
        kind.postgres.is_some(),
        kind.mysql.is_some(),
        kind.nats.is_some(),
        kind.sqs.is_some(),
        kind.http.is_some(),
        kind.external.is_some(),
        kind.cpu.is_some(),
        kind.memory.is_some(),
        kind.workload.is_some(),
        kind.lineage.is_some(),
        kind.airflow.is_some(),
        kind.dagster.is_some(),
    ];
    KINDS.into_iter().zip(is_set).filter(|(_, is_set)| *is_set).map(|(kind, _)| kind).collect()
}

/// An address without a login.
fn bare(bootstrap_servers: String) -> kafka::Address {
    kafka::Address { connection: String::new(), bootstrap_servers, tls: false, sasl: None }
}

/// `host:port` pairs without blanks, in the order written; `None` when one is no such pair.
fn brokers(written: &str) -> Option<String> {
    let pairs: Vec<&str> = written.split(',').map(str::trim).collect();
    let is_pair = |pair: &str| {
        pair.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.contains(char::is_whitespace)
                && port.bytes().all(|b| b.is_ascii_digit())
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    (written.len() <= 2048 && pairs.iter().all(|pair| is_pair(pair))).then(|| pairs.join(","))
}

/// Does this connection name any Secret that works today?
fn names_secrets(kind: &connection::Kinds) -> bool {
    kind.kafka.as_ref().is_some_and(|kafka| {
        let tls = kafka.tls.clone().unwrap_or_default();
        kafka.strimzi.is_some()
            || kafka.sasl.is_some()
            || tls.ca_secret_ref.is_some()
            || tls.cert_secret_ref.is_some()
            || tls.key_secret_ref.is_some()
    })
}

/// The address of a Kafka connection, and the Secrets to log in with.
fn log_in(found: &Found) -> Result<(kafka::Address, Vec<SecretWanted>), Fault> {
    let fault = |code, field: &str, message: &str| Fault {
        path: format!("{} {field}", found.title),
        code,
        message: message.to_owned(),
        hint: None,
    };
    let invalid = |field: &str, message: &str| fault(Code::InvalidConnection, field, message);
    let Some(login) = &found.kind.kafka else {
        return Err(fault(Code::ConnectionMismatch, "spec", "is no connection to kafka"));
    };
    if login.strimzi.is_some() {
        return Err(not_yet(format!("{} spec.kafka.strimzi", found.title)));
    }
    let Some(servers) = &login.bootstrap_servers else {
        return Err(invalid("spec.kafka", rules::ONE_CLUSTER));
    };
    let bootstrap_servers =
        brokers(servers).ok_or_else(|| invalid("spec.kafka.bootstrapServers", BROKERS))?;
    let mut secrets = Vec::new();
    if let Some(tls) = &login.tls {
        if tls.cert_secret_ref.is_some() != tls.key_secret_ref.is_some() {
            return Err(invalid("spec.kafka.tls", rules::CERT_WITH_KEY));
        }
        secrets.extend(wanted(found, tls.ca_secret_ref.as_ref(), "ca"));
        secrets.extend(wanted(found, tls.cert_secret_ref.as_ref(), "cert"));
        secrets.extend(wanted(found, tls.key_secret_ref.as_ref(), "key"));
    }
    let sasl = mechanism(found, login)?;
    if let Some(written) = &login.sasl {
        if written.username_secret_ref.is_none() || written.password_secret_ref.is_none() {
            return Err(invalid("spec.kafka.sasl", rules::SASL_LOGIN));
        }
        secrets.extend(wanted(found, written.username_secret_ref.as_ref(), "username"));
        secrets.extend(wanted(found, written.password_secret_ref.as_ref(), "password"));
    }
    let address = kafka::Address {
        connection: found.id.clone(),
        bootstrap_servers,
        tls: login.tls.is_some(),
        sasl,
    };
    Ok((address, secrets))
}

/// How to log in, if at all.
fn mechanism(found: &Found, login: &Login) -> Result<Option<kafka::Mechanism>, Fault> {
    match login.sasl.as_ref().map(|sasl| sasl.mechanism) {
        None => Ok(None),
        Some(WrittenMechanism::Plain) => Ok(Some(kafka::Mechanism::Plain)),
        Some(WrittenMechanism::ScramSha256) => Ok(Some(kafka::Mechanism::ScramSha256)),
        Some(WrittenMechanism::ScramSha512) => Ok(Some(kafka::Mechanism::ScramSha512)),
        Some(WrittenMechanism::OauthBearer) => {
            Err(not_yet(format!("{} spec.kafka.sasl.mechanism OAUTHBEARER", found.title)))
        }
    }
}

/// A key to be read for this use.
fn wanted(found: &Found, written: Option<&SecretRef>, usage: &'static str) -> Option<SecretWanted> {
    written.map(|secret| SecretWanted {
        namespace: found.secret_namespace.clone(),
        name: secret.name.clone(),
        key: secret.key.clone(),
        usage,
    })
}
