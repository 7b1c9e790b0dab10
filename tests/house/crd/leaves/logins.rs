//! Leaves of connections to Kafka, each with a change that it makes; those of other kinds are beside their sources, in `kinds`.

use serde_json::json;

use super::Changes;

/// The parts of a login that work: what is changed of the contract's Connection.
pub(super) fn working_logins() -> Vec<(&'static str, Changes)> {
    let secret = || json!({"name": "other", "key": "other"});
    vec![
        (
            "spec.kafka.bootstrapServers",
            vec![("/spec/kafka/bootstrapServers", json!("other:9093"))],
        ),
        ("spec.kafka.tls.caSecretRef.name", vec![("/spec/kafka/tls/caSecretRef", secret())]),
        (
            "spec.kafka.tls.caSecretRef.key",
            vec![("/spec/kafka/tls/caSecretRef/key", json!("other"))],
        ),
        (
            "spec.kafka.tls.certSecretRef.name",
            vec![("/spec/kafka/tls/certSecretRef/name", json!("other"))],
        ),
        (
            "spec.kafka.tls.certSecretRef.key",
            vec![("/spec/kafka/tls/certSecretRef/key", json!("other"))],
        ),
        (
            "spec.kafka.tls.keySecretRef.name",
            vec![("/spec/kafka/tls/keySecretRef/name", json!("other"))],
        ),
        (
            "spec.kafka.tls.keySecretRef.key",
            vec![("/spec/kafka/tls/keySecretRef/key", json!("other"))],
        ),
        ("spec.kafka.sasl.mechanism", vec![("/spec/kafka/sasl/mechanism", json!("PLAIN"))]),
        (
            "spec.kafka.sasl.usernameSecretRef.name",
            vec![("/spec/kafka/sasl/usernameSecretRef/name", json!("other"))],
        ),
        (
            "spec.kafka.sasl.usernameSecretRef.key",
            vec![("/spec/kafka/sasl/usernameSecretRef/key", json!("other"))],
        ),
        (
            "spec.kafka.sasl.passwordSecretRef.name",
            vec![("/spec/kafka/sasl/passwordSecretRef/name", json!("other"))],
        ),
        (
            "spec.kafka.sasl.passwordSecretRef.key",
            vec![("/spec/kafka/sasl/passwordSecretRef/key", json!("other"))],
        ),
    ]
}

/// The parts of a ClusterConnection besides.
pub(super) fn working_openings() -> Vec<(&'static str, Changes)> {
    let requirement = |key: &str, operator: &str, value: &str| {
        let requirement = json!({"key": key, "operator": operator, "values": [value]});
        vec![("/spec/allowedNamespaces", json!({"matchExpressions": [requirement]}))]
    };
    vec![
        ("spec.secretNamespace", vec![("/spec/secretNamespace", json!("elsewhere"))]),
        (
            "spec.allowedNamespaces.matchLabels{}",
            vec![("/spec/allowedNamespaces", json!({"matchLabels": {"team": "web"}}))],
        ),
        ("spec.allowedNamespaces.matchExpressions[].key", requirement("owner", "In", "data")),
        (
            "spec.allowedNamespaces.matchExpressions[].operator",
            requirement("team", "NotIn", "data"),
        ),
        ("spec.allowedNamespaces.matchExpressions[].values[]", requirement("team", "In", "web")),
    ]
}
