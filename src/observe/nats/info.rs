//! What JetStream says about a consumer (`io.nats.jetstream.api.v1.consumer_info_response`), as far as it is read here. The schema is
//! that of NATS ADR-1 and the `nats-io/jsm.go` repository.

use serde::Deserialize;
use serde_json::Value as Json;

/// Error code: no such stream.
pub(super) const NO_STREAM: u64 = 10_059;
/// Error code: this server has no `JetStream`.
pub(super) const NO_JETSTREAM: u64 = 10_076;
/// Error code: this account has none.
pub(super) const NO_JETSTREAM_FOR_ACCOUNT: u64 = 10_039;

/// A consumer. What is missing or odd is told when it is reckoned with.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    #[serde(default)]
    pub(super) error: Option<Fault>,
    #[serde(default)]
    pub(super) stream_name: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) delivered: Delivered,
    /// Messages not delivered yet, of those that its filter lets through.
    #[serde(default)]
    pub(super) num_pending: Json,
    /// Messages delivered and not acknowledged yet.
    #[serde(default)]
    pub(super) num_ack_pending: Json,
}

/// How far it has come.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Delivered {
    /// Deliveries ever, each repetition one more.
    #[serde(default)]
    pub(super) consumer_seq: Json,
}

/// Why there is no answer.
#[derive(Debug, Deserialize)]
pub(super) struct Fault {
    /// As in HTTP.
    #[serde(default)]
    pub(super) code: u64,
    /// Which of JetStream's errors it is.
    #[serde(default)]
    pub(super) err_code: u64,
    /// In words.
    #[serde(default)]
    pub(super) description: String,
}
