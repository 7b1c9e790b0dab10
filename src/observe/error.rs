//! What can go wrong while observing, in the operator's words. Made by the sources, told as [`Missing`] by `board.rs`; carries names
//! and places, never secrets.

use std::sync::Arc;

use jiff::Timestamp;

use crate::decide::Missing;

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No broker can be reached.
    #[error(
        "no broker of {at} can be reached: {detail}; hint: check bootstrapServers, DNS and network policies"
    )]
    BrokerUnreachable {
        /// Where.
        at: Arc<str>,
        /// What the network said.
        detail: String,
    },
    /// The server cannot be reached.
    #[error(
        "{at} cannot be reached: {detail}; hint: check the address in the Connection, DNS and network policies"
    )]
    Unreachable {
        /// Where it should be.
        at: Arc<str>,
        /// What the network said.
        detail: String,
    },
    /// The server refused the login.
    #[error(
        "{at} refuses the login: {detail}; hint: check the Secrets that the Connection names and the way it logs in"
    )]
    AuthenticationFailed {
        /// Where.
        at: Arc<str>,
        /// What the server said.
        detail: String,
    },
    /// TLS could not be agreed on.
    #[error(
        "no TLS with {at}: {detail}; hint: check that the listener speaks TLS and that its certificate is signed by the given CA for this name"
    )]
    TlsFailed {
        /// Where.
        at: Arc<str>,
        /// What failed.
        detail: String,
    },
    /// A Secret's bytes are not what they should be.
    #[error("the {usage} for {at} cannot be used: {detail}; hint: PEM text is expected")]
    CredentialsInvalid {
        /// Where.
        at: Arc<str>,
        /// Which of them.
        usage: &'static str,
        /// What is wrong with it; never the bytes.
        detail: String,
    },
    /// The server answers but does not know the topic.
    #[error(
        "{at} has no topic {topic}; hint: create it or mend the name (a missing Describe permission looks the same)"
    )]
    UnknownTopic {
        /// Where.
        at: Arc<str>,
        /// Name of the topic.
        topic: String,
    },
    /// We may not see the topic.
    #[error("{at} denies access to topic {topic}; hint: allow the operation Describe on it")]
    TopicDenied {
        /// Where.
        at: Arc<str>,
        /// Name of the topic.
        topic: String,
    },
    /// We may not see the group.
    #[error(
        "{at} denies access to consumer group {group}; hint: allow the operation Describe on it"
    )]
    GroupDenied {
        /// Where.
        at: Arc<str>,
        /// Name of the group.
        group: String,
    },
    /// The group shares partitions among all of its members.
    #[error(
        "{at}: {group} is a share group, whose lag cannot be read yet; hint: size the stage by a metric of it (prometheus), or read by a consumer group"
    )]
    ShareGroup {
        /// Where.
        at: Arc<str>,
        /// Name of the group.
        group: String,
    },
    /// The server answers, but what is asked for is not there.
    #[error("{at} has no {what}; hint: create it or mend the name")]
    NotFound {
        /// Where.
        at: Arc<str>,
        /// What is missing, and of what kind: `queue orders`.
        what: String,
    },
    /// We may not see what is asked for.
    #[error("{at} denies access to {what}: {detail}; hint: grant the login the right to read it")]
    AccessDenied {
        /// Where.
        at: Arc<str>,
        /// What it is.
        what: String,
        /// What the server said.
        detail: String,
    },
    /// The server says that the question itself is wrong.
    #[error("{at} refuses the query: {detail}")]
    QueryRefused {
        /// Where.
        at: Arc<str>,
        /// What the server said.
        detail: String,
    },
    /// There is an answer, with nothing in it.
    #[error(
        "{at} answers {about} with nothing; hint: does it exist yet? where nothing means none, say so"
    )]
    EmptyAnswer {
        /// Where.
        at: Arc<str>,
        /// What was asked.
        about: String,
    },
    /// There are several answers where one was asked for.
    #[error("{at} answers {about} with {count} values; hint: one is wanted, as sum(...) gives")]
    ManyValues {
        /// Where.
        at: Arc<str>,
        /// What was asked.
        about: String,
        /// How many came.
        count: usize,
    },
    /// The answer is no number that can be used: NaN, infinite, negative, beyond reckoning, or no number at all.
    #[error("{at} answers {about} with {value}, which is no count")]
    BadValue {
        /// Where.
        at: Arc<str>,
        /// What was asked.
        about: String,
        /// What came, cut short.
        value: String,
    },
    /// The answer rests on data that is too old.
    #[error(
        "{at} answers {about} with a sample that is {age} s old; hint: is its exporter still scraped?"
    )]
    StaleSample {
        /// Where.
        at: Arc<str>,
        /// What was asked.
        about: String,
        /// How old it is, in seconds.
        age: u64,
    },
    /// Nobody has told of a run that wrote the dataset; after a restart what was told before is not known.
    #[error("no run is known to have written {about}; hint: {hint}")]
    Unheard {
        /// The dataset.
        about: String,
        /// What to do.
        hint: &'static str,
    },
    /// No answer came in time.
    #[error("no answer from {at} in time: {detail}")]
    Timeout {
        /// Where.
        at: Arc<str>,
        /// What we waited for.
        detail: String,
    },
    /// Another cluster answers at the same address.
    #[error(
        "{at} now leads to cluster {is}, before it was {was}; hint: if that is meant, rename the Connection or restart"
    )]
    ClusterChanged {
        /// Where.
        at: Arc<str>,
        /// Id that we knew.
        was: Arc<str>,
        /// Id that answers now.
        is: Arc<str>,
    },
    /// The server answered something else.
    #[error("{at} cannot answer {about}: {detail}")]
    SourceFailed {
        /// Where.
        at: Arc<str>,
        /// Topic or group.
        about: String,
        /// What it said.
        detail: String,
    },
    /// The visit itself broke; a bug of ours.
    #[error("observing {at} failed inside Penstock; please report it")]
    InternalError {
        /// Where.
        at: Arc<str>,
    },
}

impl Error {
    /// The CamelCase word for conditions, events and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::BrokerUnreachable { .. } => "BrokerUnreachable",
            Self::Unreachable { .. } => "Unreachable",
            Self::AuthenticationFailed { .. } => "AuthenticationFailed",
            Self::TlsFailed { .. } => "TlsFailed",
            Self::CredentialsInvalid { .. } => "CredentialsInvalid",
            Self::UnknownTopic { .. } => "UnknownTopic",
            Self::TopicDenied { .. } => "TopicDenied",
            Self::GroupDenied { .. } => "GroupDenied",
            Self::ShareGroup { .. } => "ShareGroup",
            Self::NotFound { .. } => "NotFound",
            Self::AccessDenied { .. } => "AccessDenied",
            Self::QueryRefused { .. } => "QueryRefused",
            Self::EmptyAnswer { .. } => "EmptyAnswer",
            Self::ManyValues { .. } => "ManyValues",
            Self::BadValue { .. } => "BadValue",
            Self::StaleSample { .. } => "StaleSample",
            Self::Unheard { .. } => "Unheard",
            Self::Timeout { .. } => "Timeout",
            Self::ClusterChanged { .. } => "ClusterChanged",
            Self::SourceFailed { .. } => "SourceFailed",
            Self::InternalError { .. } => "InternalError",
        }
    }

    /// Must someone change something? Otherwise waiting may do.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::AuthenticationFailed { .. }
            | Self::TlsFailed { .. }
            | Self::CredentialsInvalid { .. }
            | Self::UnknownTopic { .. }
            | Self::TopicDenied { .. }
            | Self::GroupDenied { .. }
            | Self::ShareGroup { .. }
            | Self::NotFound { .. }
            | Self::AccessDenied { .. }
            | Self::QueryRefused { .. }
            | Self::ManyValues { .. }
            | Self::ClusterChanged { .. } => true,
            Self::BrokerUnreachable { .. }
            | Self::Unreachable { .. }
            | Self::EmptyAnswer { .. }
            | Self::BadValue { .. }
            | Self::StaleSample { .. }
            | Self::Unheard { .. }
            | Self::Timeout { .. }
            | Self::SourceFailed { .. }
            | Self::InternalError { .. } => false,
        }
    }

    /// Is the whole connection concerned, so that asking again soon for something else is of no use?
    pub(crate) fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Self::BrokerUnreachable { .. }
                | Self::Unreachable { .. }
                | Self::AuthenticationFailed { .. }
                | Self::TlsFailed { .. }
                | Self::CredentialsInvalid { .. }
                | Self::Timeout { .. }
                | Self::ClusterChanged { .. }
                | Self::InternalError { .. }
        )
    }

    /// The same in decide's words.
    pub(crate) fn missing(&self, since: Timestamp) -> Missing {
        Missing {
            label: self.label().into(),
            message: self.to_string().into(),
            is_lasting: self.is_lasting(),
            since,
        }
    }
}
