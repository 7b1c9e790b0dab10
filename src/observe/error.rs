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
        /// Bootstrap address.
        at: Arc<str>,
        /// What the network said.
        detail: String,
    },
    /// The server refused the login.
    #[error(
        "{at} refuses the login: {detail}; hint: check the Secrets that the Connection names and its sasl.mechanism"
    )]
    AuthenticationFailed {
        /// Bootstrap address.
        at: Arc<str>,
        /// What the server said.
        detail: String,
    },
    /// TLS could not be agreed on.
    #[error(
        "no TLS with {at}: {detail}; hint: check that the listener speaks TLS and that its certificate is signed by the given CA for this name"
    )]
    TlsFailed {
        /// Bootstrap address.
        at: Arc<str>,
        /// What failed.
        detail: String,
    },
    /// A Secret's bytes are not what they should be.
    #[error("the {usage} for {at} cannot be used: {detail}; hint: PEM text is expected")]
    CredentialsInvalid {
        /// Bootstrap address.
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
        /// Bootstrap address.
        at: Arc<str>,
        /// Name of the topic.
        topic: String,
    },
    /// We may not see the topic.
    #[error("{at} denies access to topic {topic}; hint: allow the operation Describe on it")]
    TopicDenied {
        /// Bootstrap address.
        at: Arc<str>,
        /// Name of the topic.
        topic: String,
    },
    /// We may not see the group.
    #[error(
        "{at} denies access to consumer group {group}; hint: allow the operation Describe on it"
    )]
    GroupDenied {
        /// Bootstrap address.
        at: Arc<str>,
        /// Name of the group.
        group: String,
    },
    /// No answer came in time.
    #[error("no answer from {at} in time: {detail}")]
    Timeout {
        /// Bootstrap address.
        at: Arc<str>,
        /// What we waited for.
        detail: String,
    },
    /// Another cluster answers at the same address.
    #[error(
        "{at} now leads to cluster {is}, before it was {was}; hint: if that is meant, rename the Connection or restart"
    )]
    ClusterChanged {
        /// Bootstrap address.
        at: Arc<str>,
        /// Id that we knew.
        was: Arc<str>,
        /// Id that answers now.
        is: Arc<str>,
    },
    /// A topic lost records that its group has committed: it was recreated or cut off.
    #[error(
        "topic {topic} of {at} ends before what group {group} committed: it was recreated or truncated; waiting for a second reading that agrees"
    )]
    OffsetWentBack {
        /// Bootstrap address.
        at: Arc<str>,
        /// Name of the topic.
        topic: String,
        /// Name of the group.
        group: String,
    },
    /// The server answered something else.
    #[error("{at} cannot answer {about}: {detail}")]
    SourceFailed {
        /// Bootstrap address.
        at: Arc<str>,
        /// Topic or group.
        about: String,
        /// What it said.
        detail: String,
    },
    /// The visit itself broke; a bug of ours.
    #[error("observing {at} failed inside Penstock; please report it")]
    InternalError {
        /// Bootstrap address.
        at: Arc<str>,
    },
}

impl Error {
    /// The CamelCase word for conditions, events and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::BrokerUnreachable { .. } => "BrokerUnreachable",
            Self::AuthenticationFailed { .. } => "AuthenticationFailed",
            Self::TlsFailed { .. } => "TlsFailed",
            Self::CredentialsInvalid { .. } => "CredentialsInvalid",
            Self::UnknownTopic { .. } => "UnknownTopic",
            Self::TopicDenied { .. } => "TopicDenied",
            Self::GroupDenied { .. } => "GroupDenied",
            Self::Timeout { .. } => "Timeout",
            Self::ClusterChanged { .. } => "ClusterChanged",
            Self::OffsetWentBack { .. } => "OffsetWentBack",
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
            | Self::ClusterChanged { .. } => true,
            Self::BrokerUnreachable { .. }
            | Self::Timeout { .. }
            | Self::OffsetWentBack { .. }
            | Self::SourceFailed { .. }
            | Self::InternalError { .. } => false,
        }
    }

    /// Is the whole connection concerned, so that asking again soon for something else is of no use?
    pub(crate) fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Self::BrokerUnreachable { .. }
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
