//! The connection that a source names: found, open to this namespace, and read into an address and the Secrets to log in with.

use std::sync::Arc;

use super::source::{BROKERS, brokers};
use super::{Code, Fault, Reader, SecretWanted, not_yet};
use crate::crd::connection;
use crate::crd::login::{Kafka as Login, Mechanism as WrittenMechanism, SecretRef};
use crate::crd::rules;
use crate::crd::source::{ConnectionKind, ConnectionRef};
use crate::observe::kafka;

/// A connection, found and opened to us: what it says, and where its Secrets lie.
pub(super) struct Found {
    /// How the address calls it.
    id: String,
    /// How faults call it.
    title: String,
    kind: connection::Kinds,
    secret_namespace: String,
}

impl Reader<'_> {
    /// Finds the connection that a source names, if it is open to this namespace.
    pub(super) fn found(&self, at: &str, reference: &ConnectionRef) -> Result<Found, Fault> {
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
pub(super) fn log_in(found: &Found) -> Result<(kafka::Address, Vec<SecretWanted>), Fault> {
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
