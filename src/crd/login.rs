//! Where each kind of server is and how to log in to it: the parts of a connection. Credentials are named by Secret and key.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// Every field that leads to a Secret, by kind of connection. A test walks the schema for others.
pub(super) const SECRETS: [(&str, &[&str]); 10] = [
    (
        "kafka",
        &[
            "strimzi",
            "tls.caSecretRef",
            "tls.certSecretRef",
            "tls.keySecretRef",
            "sasl.usernameSecretRef",
            "sasl.passwordSecretRef",
            "sasl.oauth2.clientIdSecretRef",
            "sasl.oauth2.clientSecretSecretRef",
        ],
    ),
    ("prometheus", HTTP),
    ("rabbitmq", SERVER),
    ("redis", REDIS),
    ("postgres", SERVER),
    ("mysql", SERVER),
    ("nats", NATS),
    ("sqs", &["accessKeyIdSecretRef", "secretAccessKeySecretRef"]),
    ("http", HTTP),
    ("external", SERVER),
];
/// Those of a plain server.
const SERVER: &[&str] = &[
    "tls.caSecretRef",
    "tls.certSecretRef",
    "tls.keySecretRef",
    "usernameSecretRef",
    "passwordSecretRef",
];
/// Those of a NATS.
const NATS: &[&str] = &[
    "tls.caSecretRef",
    "tls.certSecretRef",
    "tls.keySecretRef",
    "usernameSecretRef",
    "passwordSecretRef",
    "tokenSecretRef",
    "credentialsSecretRef",
    "nkeySecretRef",
];
/// Those of an HTTP server.
const HTTP: &[&str] = &[
    "tls.caSecretRef",
    "tls.certSecretRef",
    "tls.keySecretRef",
    "usernameSecretRef",
    "passwordSecretRef",
    "tokenSecretRef",
    "oauth2.clientIdSecretRef",
    "oauth2.clientSecretSecretRef",
];
/// Those of a Redis.
const REDIS: &[&str] = &[
    "tls.caSecretRef",
    "tls.certSecretRef",
    "tls.keySecretRef",
    "usernameSecretRef",
    "passwordSecretRef",
    "sentinel.usernameSecretRef",
    "sentinel.passwordSecretRef",
];

/// One key of one Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// TLS. Written as `{}`, it trusts the system's roots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule("has(self.certSecretRef) == has(self.keySecretRef)", rules::CERT_WITH_KEY),
]))]
pub struct Tls {
    /// The authority to trust, PEM. Default: the system's roots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretRef>,
    /// Our certificate, PEM, where the server asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<SecretRef>,
    /// Its private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_secret_ref: Option<SecretRef>,
}

/// A Kafka cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule(rules::exactly_one(&["bootstrapServers", "strimzi"]), rules::ONE_CLUSTER),
    rules::rule("!has(self.strimzi) || !(has(self.tls) || has(self.sasl))", rules::STRIMZI_ALONE),
]))]
pub struct Kafka {
    /// `host:port[,host:port]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub bootstrap_servers: Option<String>,
    /// A cluster that Strimzi runs: address, authority and login are looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strimzi: Option<Strimzi>,
    /// Left out: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Left out: nobody logs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
}

/// A cluster that Strimzi runs in the same namespace: of a `ClusterConnection`, in its `secretNamespace`. Address, authority and login
/// are looked up every 30 s.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Strimzi {
    /// Name of the Kafka object.
    #[schemars(length(min = 1, max = 253))]
    pub cluster: String,
    /// Name of one of its listeners. Default: the first that suits the user, those inside the cluster before others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub listener: Option<String>,
    /// Name of a KafkaUser whose Secret logs in, by certificate (tls) or password (scram-sha-512). Default: nobody logs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub user: Option<String>,
}

/// SASL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule(
        "self.mechanism == 'OAUTHBEARER' || (has(self.usernameSecretRef) && has(self.passwordSecretRef))",
        rules::SASL_LOGIN
    ),
    rules::rule(
        "self.mechanism == 'OAUTHBEARER' ? has(self.oauth2) && !has(self.usernameSecretRef) && !has(self.passwordSecretRef) : !has(self.oauth2)",
        rules::SASL_TOKEN
    ),
]))]
pub struct Sasl {
    /// How to log in.
    pub mechanism: Mechanism,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_secret_ref: Option<SecretRef>,
    /// The password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretRef>,
    /// Where the token comes from, with OAUTHBEARER. A token server that speaks TLS is known by the system's roots or the CA of `tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,
}

/// How to log in to Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mechanism {
    /// the password as it is; wants TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// a proof of the password, SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// a proof of the password, SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// a token, bought with client credentials.
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer,
}

/// A server at a URL.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// RabbitMQ: `https://mq:15671` or `http://mq:15672`, its management API, which counts all that this can be asked; or
    /// `amqps://mq:5671/vhost` or `amqp://mq:5672/vhost`. A scaler: `host:port`. Without user and password.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Left out: as the URL says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who; a scaler is sent it as HTTP's basic authentication. Left out: nobody logs in; over AMQP the certificate does where the
    /// server takes it, else `guest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_secret_ref: Option<SecretRef>,
    /// The password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretRef>,
}

/// A NATS.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule("has(self.usernameSecretRef) == has(self.passwordSecretRef)", rules::NAME_WITH_PASSWORD),
    rules::rule(
        "[has(self.usernameSecretRef), has(self.tokenSecretRef), has(self.credentialsSecretRef), has(self.nkeySecretRef)].filter(x, x).size() <= 1",
        rules::ONE_NATS_LOGIN
    ),
]))]
pub struct Nats {
    /// For example `nats://nats:4222` or `tls://nats:4222`. Without user and password.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Left out: as the URL says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who. Left out: nobody logs in, unless one of the next ways is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_secret_ref: Option<SecretRef>,
    /// The password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretRef>,
    /// A token instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretRef>,
    /// A user's credentials instead: JWT and seed, the file that `nsc` writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
    /// A user's `NKey` instead: its seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nkey_secret_ref: Option<SecretRef>,
}

/// An HTTP server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule("has(self.usernameSecretRef) == has(self.passwordSecretRef)", rules::NAME_WITH_PASSWORD),
    rules::rule(
        "[has(self.usernameSecretRef), has(self.tokenSecretRef), has(self.oauth2)].filter(x, x).size() <= 1",
        rules::ONE_LOGIN
    ),
]))]
pub struct HttpLogin {
    /// For example `http://prometheus:9090`. Without user and password.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Left out: as the URL says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who, for basic authentication. Left out: nobody logs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_secret_ref: Option<SecretRef>,
    /// The password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretRef>,
    /// A bearer token instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_secret_ref: Option<SecretRef>,
    /// A token bought with client credentials instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,
    /// Headers to send, without secrets: no Authorization, no Cookie.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = rules::texts, extend("maxProperties" = 16))]
    pub headers: BTreeMap<String, String>,
}

/// OAuth 2.0 client credentials: a token is bought when the last one is about to end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OAuth2 {
    /// Where tokens are to be had.
    #[schemars(length(min = 1, max = 2048))]
    pub token_url: String,
    /// Who.
    pub client_id_secret_ref: SecretRef,
    /// The client's secret.
    pub client_secret_secret_ref: SecretRef,
    /// What the token is for. Default: as the server says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 255)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub scopes: Vec<String>,
}

/// A Redis.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule("!(has(self.sentinel) && has(self.cluster) && self.cluster)", rules::SENTINEL_OR_CLUSTER),
]))]
pub struct Redis {
    /// `host:port` of the server, or of the sentinels, or of some nodes of the cluster.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 261)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub addresses: Vec<String>,
    /// The addresses are sentinels: which master to ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<Sentinel>,
    /// The addresses are nodes of a Redis cluster. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<bool>,
    /// Number of the database. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65_535))]
    pub database: Option<u32>,
    /// Left out: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// ACL user. Left out: the default user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_secret_ref: Option<SecretRef>,
    /// The password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretRef>,
}

/// Sentinels that know where a master is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sentinel {
    /// Name of the master.
    #[schemars(length(min = 1, max = 255))]
    pub master: String,
    /// ACL user at the sentinels. Left out: nobody logs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_secret_ref: Option<SecretRef>,
    /// The password at the sentinels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretRef>,
}

/// A database server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Its name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Default: 5432 for PostgreSQL, 3306 for MySQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u32>,
    /// The database.
    #[schemars(length(min = 1, max = 63))]
    pub database: String,
    /// Left out: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who. A database asks who it is, so without it the source is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_secret_ref: Option<SecretRef>,
    /// The password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretRef>,
}

/// An AWS account's SQS.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule(
        "has(self.accessKeyIdSecretRef) == has(self.secretAccessKeySecretRef)",
        rules::KEY_WITH_SECRET
    ),
]))]
pub struct Sqs {
    /// For example eu-central-1.
    #[schemars(length(min = 1, max = 63))]
    pub region: String,
    /// Another server that speaks SQS, for example `http://elasticmq:9324`. Default: AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub endpoint: Option<String>,
    /// Access key. Left out: Penstock's own identity, a web identity (IRSA) or EKS Pod Identity; never the node's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id_secret_ref: Option<SecretRef>,
    /// Its secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key_secret_ref: Option<SecretRef>,
}
