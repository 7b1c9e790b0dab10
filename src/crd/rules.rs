//! How rules and bounds are written beside the fields they guard: as extensions that the API server reads.
//! Used by the kinds of this room; `generate` leaves them untouched.

use schemars::Schema;
use serde_json::{Value, json};

/// Message of the rule on the lane that takes over.
pub(super) const FALLBACK_TO: &str = "fallbackTo must name the pool of another lane";
/// Message of the rule on the shares of lanes.
pub(super) const SHARES: &str = "the shares of all lanes must not exceed 100";
/// Message of the rule that a stage says what to scale in one way.
pub(super) const ONE_WORKLOAD: &str = "exactly one of target, lanes, jobs must be set";
/// Message of the rule on the bounds of a stage.
pub(super) const MIN_ABOVE_MAX: &str = "min must not be above max";
/// Message of the rule on the idle count.
pub(super) const IDLE_ABOVE_MIN: &str = "idle.replicas must not be above replicas.min";
/// Message of the rule on the bounds of schedules.
pub(super) const SCHEDULE_ABOVE_MAX: &str =
    "min of a schedule must not be above replicas.max of the stage";
/// Message of the rule on stages that sleep.
pub(super) const ASLEEP: &str = "cpu and memory cannot wake a stage that sleeps at 0: set replicas.min to 1, or add a source that tells of work";
/// Message of the rule on what packs.
pub(super) const PACK: &str = "Pack is for a Deployment, ReplicaSet or ReplicationController: other kinds choose by themselves which pods go";
/// Message of the rule on what holds drains.
pub(super) const HOLD_LANES: &str = "Hold is for a stage with lanes, since replacements are started for lanes only: write lanes, one of them will do";
/// Message of the rule on the sources of gates.
pub(super) const GATE_SIZES: &str = "a gate sizes nothing: leave perReplica out";
/// Message of the rule that a stage promises one thing.
pub(super) const DELAY_OR_TIME: &str = "either maxDelay or doneBy, not both: a batch is done by a time, and no item of it has a delay to keep";
/// Message of the rule on the order of stages.
pub(super) const AFTER_ABOVE: &str =
    "after may only name stages that stand above: stages are written in flow order, without cycles";
/// Message of the rule on what a source is.
pub(super) const ONE_SOURCE: &str = "exactly one kind of source must be set: kafka, rabbitmq, redis, prometheus, postgres, mysql, \
     nats, sqs, http, external, cpu, memory, workload, lineage, airflow or dagster";
/// Message of the rule on source names.
pub(super) const SOURCE_NAME: &str =
    "a source name must match [a-z][a-z0-9_]* and be no CEL keyword, so that combine can use it";
/// Message of the rule on how a Kafka source finds its brokers.
pub(super) const ONE_BROKER: &str = "exactly one of connectionRef, bootstrapServers must be set";
/// Message of the rule on the fallback count.
pub(super) const FALLBACK_REPLICAS: &str = "replicas is required unless policy is Hold";
/// Message of the rule on what a connection is.
pub(super) const ONE_CONNECTION: &str = "exactly one of kafka, prometheus, rabbitmq, redis, postgres, mysql, nats, sqs, http, external must be set";
/// Message of the rule on how a Kafka connection finds its brokers.
pub(super) const ONE_CLUSTER: &str = "exactly one of bootstrapServers, strimzi must be set";
/// Message of the rule on what is looked up.
pub(super) const STRIMZI_ALONE: &str =
    "tls and sasl go with bootstrapServers: strimzi looks them up";
/// Message of the rule on client certificates.
pub(super) const CERT_WITH_KEY: &str = "certSecretRef and keySecretRef go together";
/// Message of the rule on names and passwords.
pub(super) const NAME_WITH_PASSWORD: &str = "usernameSecretRef and passwordSecretRef go together";
/// Message of the rule on the keys of an AWS account.
pub(super) const KEY_WITH_SECRET: &str =
    "accessKeyIdSecretRef and secretAccessKeySecretRef go together";
/// Message of the rule on what of Airflow is read.
pub(super) const QUEUE_OR_POOL: &str = "at most one of queue, pool may be set";
/// Message of the rule on the ways to log in to an HTTP server.
pub(super) const ONE_LOGIN: &str =
    "at most one of usernameSecretRef, tokenSecretRef, oauth2 may be set";
/// Message of the rule on what of Redis is read.
pub(super) const LIST_OR_STREAM: &str = "exactly one of list, stream must be set";
/// Message of the rule on groups of Redis.
pub(super) const GROUP_WITH_STREAM: &str = "group goes with stream";
/// Message of the rule on what stands at the addresses of a Redis.
pub(super) const SENTINEL_OR_CLUSTER: &str = "a Redis is behind sentinels or a cluster, not both";
/// Message of the rule on queries.
pub(super) const SQL_READS: &str =
    "must be one statement that reads: SELECT, WITH, VALUES, TABLE or SHOW";
/// Message of the rule on who asks a database.
pub(super) const SQL_USER: &str = "must be set: a database asks who it is";
/// Message of the rule on the ways to log in to a NATS.
pub(super) const ONE_NATS_LOGIN: &str = "at most one of usernameSecretRef, tokenSecretRef, credentialsSecretRef, nkeySecretRef may be set";
/// Message of the rule on SASL.
pub(super) const SASL_LOGIN: &str = "this mechanism needs usernameSecretRef and passwordSecretRef";
/// Message of the rule on tokens for Kafka.
pub(super) const SASL_TOKEN: &str = "OAUTHBEARER goes with oauth2, and without usernameSecretRef and passwordSecretRef; oauth2 goes with no other mechanism";
/// Message of the rule on a cluster-wide connection's Secrets.
pub(super) const SECRET_NAMESPACE: &str =
    "secretNamespace is required when Secrets or strimzi are named";

/// Message of the rule on the part of a target.
pub(super) const PART: &str = "part names the worker group of a RayCluster or the key of a ConfigMap, and goes with no other kind";

/// Message of the rule on the price label.
pub(super) const PRICE_LABEL: &str = "label goes with source NodeLabel";
/// Message of the rule on prices written out.
pub(super) const PRICE_STATIC: &str =
    "perCpuHour and perGibHour are both required with source Static, and go with no other";
/// Message of the rule on the table of prices.
pub(super) const PRICE_TABLE: &str = "table is required with source Table, and goes with no other";
/// Message of the rule on prices that are asked for.
pub(super) const PRICE_OPENCOST: &str =
    "connectionRef is required with source OpenCost, and goes with no other";
/// Message of the rule on prices by the hour.
pub(super) const PRICE_HOURS: &str =
    "hours do not go with source OpenCost, which tells the price of the hour itself";
/// Message of the rule on the bounds of a pool or budget.
pub(super) const SOME_LIMIT: &str = "at least one of costPerHour, cpu must be set";
/// Message of the rule on the two intervals of a probe.
pub(super) const PROBE_INTERVAL: &str = "interval must not be above maxInterval";

/// Words that CEL keeps for itself: no source may be called so.
pub(super) const CEL_KEYWORDS: [&str; 20] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
];

/// One CEL rule and the words it refuses with.
pub(super) fn rule(cel: impl Into<String>, message: &str) -> Value {
    json!({"rule": cel.into(), "message": message})
}

/// One CEL rule whose complaint points at a field below.
pub(super) fn rule_at(field: &str, cel: impl Into<String>, message: &str) -> Value {
    json!({"rule": cel.into(), "message": message, "fieldPath": field})
}

/// CEL that is true when exactly one of the fields is set.
pub(super) fn exactly_one(fields: &[&str]) -> String {
    let set: Vec<String> = fields.iter().map(|field| format!("has(self.{field})")).collect();
    format!("[{}].exists_one(x, x)", set.join(", "))
}

/// CEL that is true of a stage unless it sleeps and all it reads is what its own pods use.
pub(super) const WAKES: &str = "(!has(self.replicas.min) || self.replicas.min != 0) && (!has(self.idle) || has(self.idle.replicas) && self.idle.replicas != 0) || \
     !has(self.sources) || size(self.sources) == 0 || self.sources.exists(s, !has(s.cpu) && !has(s.memory))";
/// CEL that is true of a stage unless it holds drains and has no lanes.
pub(super) const HOLDS: &str = "!has(self.capacity) || !has(self.capacity.drain) || self.capacity.drain != 'Hold' || has(self.lanes)";
/// CEL that is true of a stage when it has room for the least of each schedule.
pub(super) const SCHEDULED: &str = "!has(self.schedules) || self.schedules.all(s, !has(s.replicas.min) || s.replicas.min <= self.replicas.max)";

/// CEL that is true of a stage unless it packs and some workload of it chooses by itself which pods go.
pub(super) fn packs() -> String {
    let chooses = |target: &str| {
        format!(
            "({target}.apiVersion == 'apps/v1' && {target}.kind in ['Deployment', 'ReplicaSet'] || \
             {target}.apiVersion == 'v1' && {target}.kind == 'ReplicationController')"
        )
    };
    format!(
        "!has(self.capacity) || !has(self.capacity.scaleIn) || self.capacity.scaleIn != 'Pack' || !has(self.jobs) && \
         (!has(self.target) || {}) && (!has(self.lanes) || self.lanes.all(l, {}))",
        chooses("self.target"),
        chooses("l.target")
    )
}

/// CEL that is true of what a gate reads when it states no threshold. That gates on CPU or memory do not work yet, Ready says.
pub(super) fn no_threshold(kinds: &[&str]) -> String {
    let kinds = kinds.iter().filter(|kind| !matches!(**kind, "cpu" | "memory"));
    let none = kinds.map(|kind| format!("(!has(self.{kind}) || !has(self.{kind}.perReplica))"));
    none.collect::<Vec<_>>().join(" && ")
}

/// CEL that is true when a target names a part just where its kind has several.
pub(super) fn part() -> String {
    "(self.kind == 'ConfigMap' && self.apiVersion == 'v1' || \
     self.kind == 'RayCluster' && self.apiVersion.startsWith('ray.io/')) == has(self.part)"
        .to_owned()
}

/// Does a kind have several counts, one for each part?
pub(super) fn has_parts(api_version: &str, kind: &str) -> bool {
    match kind {
        "ConfigMap" => api_version == "v1",
        "RayCluster" => api_version.starts_with("ray.io/"),
        _ => false,
    }
}

/// CEL that is true when the name may be used in an expression.
pub(super) fn source_name() -> String {
    let keywords: Vec<String> = CEL_KEYWORDS.iter().map(|word| format!("'{word}'")).collect();
    format!("self.name.matches('^[a-z][a-z0-9_]*$') && !(self.name in [{}])", keywords.join(", "))
}

/// Bounds the values of a map of texts: headers, metadata.
pub(super) fn texts(schema: &mut Schema) {
    schema.insert("additionalProperties".to_owned(), json!({"type": "string", "maxLength": 1024}));
}

/// Bounds the values of a map of labels.
pub(super) fn labels(schema: &mut Schema) {
    schema.insert("additionalProperties".to_owned(), json!({"type": "string", "maxLength": 63}));
}

/// Bounds the values of a map of labels to what a label may be.
pub(super) fn label_values(schema: &mut Schema) {
    let value = json!({
        "type": "string",
        "maxLength": 63,
        "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
    });
    schema.insert("additionalProperties".to_owned(), value);
}

/// Is this a DNS label, as names of stages are?
pub(super) fn is_label(name: &str) -> bool {
    let is_end = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// May a source be called so?
pub(super) fn is_source_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
        && !CEL_KEYWORDS.contains(&name)
}
