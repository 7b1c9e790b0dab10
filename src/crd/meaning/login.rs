//! The connection that a source names: found, open to this namespace, and what all kinds of connection have in common. The address is
//! for the file of its kind.

use std::sync::Arc;

use ::http::Uri;

use super::{Code, Fault, Reader, SecretWanted, Surroundings};
use crate::crd::connection;
use crate::crd::login::{SECRETS, SecretRef, Tls};
use crate::crd::rules;
use crate::crd::source::{ConnectionKind, ConnectionRef};

/// A connection, found and opened to us: what it says, and where its Secrets lie.
pub(super) struct Found {
    /// How the address calls it.
    pub(super) id: String,
    /// How faults call it.
    title: String,
    pub(super) kind: connection::Kinds,
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
                let object = lent(self.around, &path, name)?;
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
                Found::of_cluster(self.around, path, name, &object)
            }
        }
    }
}

/// The `ClusterConnection` of this name.
fn lent(
    around: &dyn Surroundings,
    path: &str,
    name: &str,
) -> Result<Arc<connection::ClusterConnection>, Fault> {
    around.cluster_connection(name).ok_or_else(|| Fault {
        path: path.to_owned(),
        code: Code::ConnectionNotFound,
        message: format!("there is no ClusterConnection {name}"),
        hint: Some("create it, or mend the name".to_owned()),
    })
}

/// Does this connection name any Secret, or what leads to one?
fn names_secrets(kind: &connection::Kinds) -> bool {
    let written = serde_json::to_value(kind).unwrap_or_default();
    SECRETS.iter().any(|(kind, paths)| {
        paths.iter().any(|path| {
            let pointer = format!("/{kind}/{}", path.replace('.', "/"));
            written.pointer(&pointer).is_some_and(|value| !value.is_null())
        })
    })
}

impl Found {
    /// A `ClusterConnection` that something of the cluster names: who may write that is asked for no namespace.
    pub(super) fn for_the_cluster(
        around: &dyn Surroundings,
        path: &str,
        name: &str,
    ) -> Result<Self, Fault> {
        let object = lent(around, path, name)?;
        Self::of_cluster(around, path.to_owned(), name, &object)
    }

    /// A `ClusterConnection`, if it names no Secrets but those that may be lent.
    fn of_cluster(
        around: &dyn Surroundings,
        path: String,
        name: &str,
        object: &connection::ClusterConnection,
    ) -> Result<Self, Fault> {
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
            if !around.may_lend_secrets_of(&secret_namespace) {
                return Err(Fault {
                    path,
                    code: Code::SecretNamespaceNotAllowed,
                    message: format!(
                        "ClusterConnection {name} wants Secrets of namespace {secret_namespace}, which Penstock was not given"
                    ),
                    hint: Some("list the namespace in the chart's values".to_owned()),
                });
            }
        }
        Ok(Self {
            id: format!("/{name}"),
            title: format!("ClusterConnection {name}"),
            kind: object.spec.kind.clone(),
            secret_namespace,
        })
    }

    /// Where its Secrets lie, and what Strimzi runs.
    pub(super) fn secret_namespace(&self) -> &str {
        &self.secret_namespace
    }

    /// A fault of the connection's, at a field.
    pub(super) fn invalid(&self, field: &str, message: impl Into<String>) -> Fault {
        self.fault(Code::InvalidConnection, field, message)
    }

    /// The fault that it is of another kind.
    pub(super) fn mismatch(&self, kind: &str) -> Fault {
        self.fault(Code::ConnectionMismatch, "spec", format!("is no connection to {kind}"))
    }

    /// How faults call one of its fields.
    pub(super) fn path(&self, field: &str) -> String {
        format!("{} {field}", self.title)
    }

    fn fault(&self, code: Code, field: &str, message: impl Into<String>) -> Fault {
        Fault { path: self.path(field), code, message: message.into(), hint: None }
    }

    /// A key to be read for this use.
    pub(super) fn secret(
        &self,
        written: Option<&SecretRef>,
        usage: &'static str,
    ) -> Option<SecretWanted> {
        written.map(|secret| SecretWanted {
            namespace: self.secret_namespace.clone(),
            name: secret.name.clone(),
            key: secret.key.clone(),
            usage,
        })
    }

    /// What TLS needs.
    pub(super) fn tls(&self, at: &str, tls: Option<&Tls>) -> Result<Vec<SecretWanted>, Fault> {
        let Some(tls) = tls else { return Ok(Vec::new()) };
        if tls.cert_secret_ref.is_some() != tls.key_secret_ref.is_some() {
            return Err(self.invalid(&format!("{at}.tls"), rules::CERT_WITH_KEY));
        }
        let wanted = [
            self.secret(tls.ca_secret_ref.as_ref(), "ca"),
            self.secret(tls.cert_secret_ref.as_ref(), "cert"),
            self.secret(tls.key_secret_ref.as_ref(), "key"),
        ];
        Ok(wanted.into_iter().flatten().collect())
    }

    /// A URL of one of these schemes, without user, password, query and the slash at its end.
    pub(super) fn url(
        &self,
        field: &str,
        written: &str,
        schemes: &[&str],
    ) -> Result<String, Fault> {
        let is_good = |uri: &Uri| {
            let authority = uri.authority();
            uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme))
                && authority.is_some_and(|it| !it.host().is_empty() && !it.as_str().contains('@'))
                && uri.query().is_none()
        };
        let is_url = written.len() <= 2048 && written.parse::<Uri>().is_ok_and(|uri| is_good(&uri));
        if is_url {
            return Ok(written.trim_end_matches('/').to_owned());
        }
        let schemes = schemes.join(":// or ");
        let message = format!(
            "must be a URL that begins with {schemes}://, without user, password and query"
        );
        Err(self.invalid(field, message))
    }
}
