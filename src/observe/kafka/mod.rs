//! Kafka: how far consumer groups lie behind the ends of their topics. One client for each [`Address`], whatever the number of
//! questions: one connection to each broker, end offsets of all partitions at every poll in one request to each, commits at the pace
//! at which they move. Spoken to the brokers directly and without unsafe code; ARCHITECTURE.md tells why not through librdkafka.

mod wire;
mod protocol;
mod members;
mod scram;
mod login;
mod tokens;
mod link;
mod cluster;
mod topic;
mod holders;
mod group;
mod pace;
mod tail;
mod lag;
mod ends;
mod settle;
mod commits;
mod owners;
mod shares;
mod read;

pub(crate) use read::Kafka;

/// A Kafka cluster and how to log in. Secrets are not part of it: they come as `Credentials`. Of a cluster that is looked up (one that
/// Strimzi runs) the rest comes so, too, and what stands here for it is of no account: `bootstrap.servers`, `security.protocol` and
/// `sasl.mechanism`, as Kafka's own clients call them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Sets addresses of one server with different credentials apart: the Connection's `namespace/name`, empty for bare
    /// `bootstrapServers`.
    pub connection: String,
    /// `host:port[,host:port]`, or the name of a cluster that is looked up.
    pub bootstrap_servers: String,
    /// Speak TLS? With `ca` from the credentials, else the system's roots; with `cert` and `key` also mutual.
    pub tls: bool,
    /// SASL mechanism, if any; `username` and `password`, or `client-id` and `client-secret`, come from the credentials.
    pub sasl: Option<Mechanism>,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.bootstrap_servers)
    }
}

/// SASL mechanisms that work today.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// PLAIN.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
    /// OAUTHBEARER (RFC 7628, KIP-255): a token that `client-id` and `client-secret` buy.
    OauthBearer {
        /// Where.
        token_url: String,
        /// For what; may be empty.
        scopes: Vec<String>,
    },
}

/// What to read of a cluster: one group's lag on some topics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// Topics the group reads for this source, at least one.
    pub topics: Vec<String>,
    /// Consumer group.
    pub group: String,
    /// What a partition without a commit counts as.
    pub offset_reset: OffsetReset,
    /// Whether uncommitted transactions count.
    pub isolation: Isolation,
}

/// What a partition without a commit counts as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffsetReset {
    /// Nothing: a new group starts at the end.
    #[default]
    Latest,
    /// All that is kept: a new group starts at the log start.
    Earliest,
}

/// Which end offset counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isolation {
    /// The high watermark.
    #[default]
    ReadUncommitted,
    /// The last stable offset.
    ReadCommitted,
}
