//! What a stage is sized by: one kind of source each, with its own words. The doc comments are the manual.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::connection::Selector;
use super::duration::{Duration, within};
use super::quantity::{Quantity, above_zero};
use super::rules;

/// The kinds, as they are spelled.
pub(super) const KINDS: [&str; 16] = [
    "kafka",
    "rabbitmq",
    "redis",
    "prometheus",
    "postgres",
    "mysql",
    "nats",
    "sqs",
    "http",
    "external",
    "cpu",
    "memory",
    "workload",
    "lineage",
    "airflow",
    "dagster",
];

/// Something to size a stage by: exactly one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule_at(".name", rules::source_name(), rules::SOURCE_NAME),
    rules::rule(rules::exactly_one(&KINDS), rules::ONE_SOURCE),
]))]
pub struct Source {
    /// Name of the source, unique in the stage; `combine` uses it.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Wake from zero above this many items. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Quantity>,
    /// How often it is asked, 1s to 10m. Default: as the pipeline says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = within("1s", "10m")))]
    pub poll_interval: Option<Duration>,
    /// What is read.
    #[serde(flatten)]
    pub kind: Kinds,
}

impl Source {
    /// May a source be called so?
    pub fn may_be_called(name: &str) -> bool {
        rules::is_source_name(name)
    }
}

/// What is read: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kinds {
    /// The lag of a Kafka consumer group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<Kafka>,
    /// The depth of a RabbitMQ queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rabbitmq: Option<Rabbitmq>,
    /// The length of a Redis list, or what a stream's group has not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// The value of a Prometheus query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Prometheus>,
    /// The first column of a PostgreSQL query's only row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Sql>,
    /// The first column of a MySQL query's only row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mysql: Option<Sql>,
    /// What a NATS JetStream consumer has not taken or not acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats: Option<Nats>,
    /// The depth of an SQS queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqs: Option<Sqs>,
    /// A number in a JSON document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// A KEDA external scaler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// The CPU that the stage's pods use, of what they request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Utilization>,
    /// The memory that the stage's pods use, of what they request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Utilization>,
    /// The number of pods that a selector finds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// The age of a dataset by OpenLineage events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// Airflow's Celery workers, by queue; or a pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub airflow: Option<Airflow>,
    /// Dagster's run queue, or a pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dagster: Option<Dagster>,
}

/// Which Connection or ClusterConnection says where, and how to log in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRef {
    /// Default Connection, which lies in the pipeline's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = json!("Connection")))]
    pub kind: Option<ConnectionKind>,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The two kinds of connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConnectionKind {
    /// one of the pipeline's own namespace.
    #[default]
    Connection,
    /// one of the cluster, open to chosen namespaces.
    ClusterConnection,
}

/// The lag of a consumer group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule(rules::exactly_one(&["connectionRef", "bootstrapServers"]), rules::ONE_BROKER),
]))]
pub struct Kafka {
    /// The connection to use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_ref: Option<ConnectionRef>,
    /// Instead of a connection, where nobody logs in: `host:port[,host:port]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub bootstrap_servers: Option<String>,
    /// Topics that the group reads for this source, at least one.
    #[schemars(
        length(min = 1, max = 100),
        inner(length(min = 1, max = 249)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub topics: Vec<String>,
    /// Consumer group.
    #[schemars(length(min = 1, max = 255))]
    pub group: String,
    /// What a partition without a commit counts as. Default Latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Latest"))]
    pub offset_reset: Option<OffsetReset>,
    /// Which end of a partition counts. Default ReadUncommitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Threshold: messages of lag for each replica, above 0. Left out: sized by the objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
}

/// What a partition without a commit counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OffsetReset {
    /// nothing: a new group starts at the end. At 0 replicas an end that moves still wakes the stage.
    Latest,
    /// all that is kept: a new group starts at the log start.
    Earliest,
}

/// Which end of a partition counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Isolation {
    /// the high watermark.
    ReadUncommitted,
    /// the last stable offset: what a `read_committed` consumer can reach.
    ReadCommitted,
}

/// The depth of a RabbitMQ queue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rabbitmq {
    /// The connection to use.
    pub connection_ref: ConnectionRef,
    /// The queue.
    #[schemars(length(min = 1, max = 255))]
    pub queue: String,
    /// Virtual host. Default: as the connection says, else /.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub vhost: Option<String>,
    /// Count only messages that are ready, not those delivered and not yet acknowledged. Default false; over AMQP it is true, since
    /// AMQP does not tell, and false is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_unacked: Option<bool>,
    /// Threshold: messages for each replica, above 0. Left out: sized by the objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
}

/// The length of a list, or what a stream's group has not read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule(rules::exactly_one(&["list", "stream"]), rules::LIST_OR_STREAM),
    rules::rule("!has(self.group) || has(self.stream)", rules::GROUP_WITH_STREAM),
]))]
pub struct Redis {
    /// The connection to use.
    pub connection_ref: ConnectionRef,
    /// Key of a list, set, sorted set or hash whose size counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub list: Option<String>,
    /// Key of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub stream: Option<String>,
    /// Consumer group of the stream: what it has not read or not acknowledged counts. Left out: the stream's length.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub group: Option<String>,
    /// Threshold: items for each replica, above 0. Left out: sized by the objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
}

/// The value of an instant query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prometheus {
    /// The connection to use.
    pub connection_ref: ConnectionRef,
    /// PromQL that gives one number.
    #[schemars(length(min = 1, max = 8192))]
    pub query: String,
    /// What an empty answer means. Default Error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_empty: Option<OnEmpty>,
    /// Threshold: the value that one replica serves, above 0, for example "0.5". Left out: the value is a number of items that wait,
    /// and the objective sizes the stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
}

/// What an empty answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnEmpty {
    /// nothing is known: hold.
    Error,
    /// zero.
    Zero,
}

/// The first column of a query's only row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sql {
    /// The connection to use.
    pub connection_ref: ConnectionRef,
    /// SQL that gives one row with one number; it runs read-only and with a time limit.
    #[schemars(length(min = 1, max = 8192))]
    pub query: String,
    /// Threshold: items for each replica, above 0. Left out: sized by the objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
}

/// What a JetStream consumer has not taken or not acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nats {
    /// The connection to use.
    pub connection_ref: ConnectionRef,
    /// The stream.
    #[schemars(length(min = 1, max = 255))]
    pub stream: String,
    /// The durable consumer.
    #[schemars(length(min = 1, max = 255))]
    pub consumer: String,
    /// Threshold: messages for each replica, above 0. Left out: sized by the objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
}

/// The depth of an SQS queue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sqs {
    /// The connection to use.
    pub connection_ref: ConnectionRef,
    /// URL of the queue.
    #[schemars(length(min = 1, max = 2048))]
    pub queue_url: String,
    /// Do not count messages in flight: received and not yet deleted. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_in_flight: Option<bool>,
    /// Count delayed messages too, which nobody can receive yet. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_delayed: Option<bool>,
    /// Threshold: messages for each replica, above 0. Left out: sized by the objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
}

/// A number in a JSON document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    /// The connection to use.
    pub connection_ref: ConnectionRef,
    /// Path below the connection's URL. Default: the URL itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub path: Option<String>,
    /// Where the number stands, for example $.queue.depth (RFC 9535). A text that is a time (RFC 3339) counts as its age in seconds.
    #[schemars(length(min = 1, max = 1024))]
    pub json_path: String,
    /// Threshold: the value that one replica serves, above 0. Left out: the value is a number of items that wait, and the objective
    /// sizes the stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
}

/// A scaler that speaks KEDA's externalscaler.proto.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// The connection to use.
    pub connection_ref: ConnectionRef,
    /// Passed on to the scaler as its metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = rules::texts, extend("maxProperties" = 64))]
    pub metadata: BTreeMap<String, String>,
    /// Which of its metrics counts. Default: the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub metric: Option<String>,
    /// Threshold: the value that one replica serves, above 0. Default: the target that the scaler states.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
}

/// What the stage's pods use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule(rules::exactly_one(&["utilization", "perReplica"]), "exactly one of utilization, perReplica must be set"),
]))]
pub struct Utilization {
    /// Per cent of what the pods request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub utilization: Option<u32>,
    /// Instead: cores or bytes for each replica, above 0, for example "500m" or 2Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
    /// Only this container. Default: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub container: Option<String>,
}

/// The number of pods that a selector finds in the pipeline's namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Which pods; those that have ended do not count.
    pub selector: Selector,
    /// Threshold: pods for each replica, above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
}

/// The age of a dataset: time since the last run that wrote it completed. Above the stage's objective it wakes the stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lineage {
    /// OpenLineage namespace of the dataset.
    #[schemars(length(min = 1, max = 1024))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 1024))]
    pub dataset: String,
    /// Threshold: seconds of age for each replica, above 0. Default: the stage's objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
}

/// Tasks queued and running on an Airflow Celery queue, or the slots taken of a pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::rule("!has(self.queue) || !has(self.pool)", rules::QUEUE_OR_POOL),
]))]
pub struct Airflow {
    /// The connection to use: postgres or mysql, Airflow's database; for a pool also http, its REST API: v2 of Airflow 3 by token, v1 of Airflow 2 by name and password.
    pub connection_ref: ConnectionRef,
    /// The Celery queue. Default: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub queue: Option<String>,
    /// Instead of a queue: a pool, whose slots that are taken count.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub pool: Option<String>,
    /// Threshold: tasks for each worker, Airflow's `worker_concurrency`. Default 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
}

/// Runs queued and in progress in Dagster, from its database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dagster {
    /// The connection to use: postgres.
    pub connection_ref: ConnectionRef,
    /// A concurrency pool, whose steps that wait or run count. Default: the run queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub pool: Option<String>,
    /// Threshold: runs for each replica, above 0. Left out: sized by the objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(transform = above_zero)]
    pub per_replica: Option<Quantity>,
}
