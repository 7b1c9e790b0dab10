//! What Strimzi says of a Kafka cluster that it runs, cut down to what a client must know, and which listener a connection means.
//! Pure. `meaning` makes a [`Wanted`] of what was written; `watch` reads the objects and asks here what they come to.
//!
//! Source: the Kafka object of `kafka.strimzi.io` (v1 of Strimzi 1.0, v1beta2 before), `spec.kafka.listeners` for how a listener lets
//! clients in and `status.listeners` for where it is.

use std::fmt;

use serde::Deserialize;

/// The API group of Strimzi's kinds.
pub const GROUP: &str = "kafka.strimzi.io";
/// Its versions that we read, the newest first.
pub const VERSIONS: [&str; 2] = ["v1", "v1beta2"];

/// What is to be looked up for a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Where the Kafka object and the Secrets are.
    pub namespace: String,
    /// Name of the Kafka object.
    pub cluster: String,
    /// Name of a listener; `None` means the first that suits.
    pub listener: Option<String>,
    /// Name of a KafkaUser, and so of its Secret; `None` means that nobody logs in.
    pub user: Option<String>,
}

impl Wanted {
    /// The Secret of the authority that the brokers' certificates come from. A KafkaUser's Secret has another `ca.crt`: that of
    /// clients.
    pub fn authority(&self) -> String {
        format!("{}-cluster-ca-cert", self.cluster)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kafka {}/{}", self.namespace, self.cluster)
    }
}

/// What a KafkaUser can show, told from the keys of its Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// `user.crt` and `user.key`: authentication `tls`.
    Certificate,
    /// `password`: authentication `scram-sha-512`.
    Password,
}

impl Proof {
    /// As Strimzi calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Certificate => "tls",
            Self::Password => "scram-sha-512",
        }
    }
}

/// A Kafka object. What is missing in it is as good as not there.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Kafka {
    spec: Spec,
    status: Option<Status>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Spec {
    kafka: Brokers,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Brokers {
    listeners: Vec<Written>,
}

/// A listener as it is asked for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Written {
    name: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    tls: bool,
    #[serde(default)]
    authentication: Option<Authentication>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Authentication {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Status {
    listeners: Option<Vec<Standing>>,
}

/// A listener as it stands.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Standing {
    name: Option<String>,
    bootstrap_servers: Option<String>,
    certificates: Option<Vec<String>>,
}

/// One listener, ready to be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener<'a> {
    /// `host:port[,host:port]`.
    pub bootstrap_servers: &'a str,
    /// Does it speak TLS?
    pub tls: bool,
    /// What it wants to be shown; `None` when it lets everybody in.
    pub proof: Option<Proof>,
    /// Certificates (PEM) by which it can be known, besides the cluster's authority: its owner may have given it others.
    pub certificates: &'a [String],
}

/// Why there is none: a CamelCase word and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// For conditions, events and metrics.
    pub label: &'static str,
    /// For people.
    pub message: String,
}

impl Kafka {
    /// Goes on with what an earlier reading said of listeners that are still asked for and of which this one says nothing: while
    /// Strimzi reconciles, brokers do not move.
    pub fn keep_addresses_of(&mut self, old: &Self) {
        let standing = |kafka: &Self, name: &str| kafka.standing(name).cloned();
        let names: Vec<String> =
            self.spec.kafka.listeners.iter().map(|listener| listener.name.clone()).collect();
        for name in names {
            if standing(self, &name).is_none()
                && let Some(known) = standing(old, &name)
            {
                let status = self.status.get_or_insert_default();
                status.listeners.get_or_insert_default().push(known);
            }
        }
    }

    /// Does any listener that may be meant speak TLS, so that the authority is needed?
    pub fn wants_authority(&self, wanted: &Wanted) -> bool {
        self.candidates(wanted).any(|listener| listener.tls)
    }

    /// The listener that is meant, for a user who can show this.
    ///
    /// # Errors
    /// There is none, it is not ready, or it lets clients in another way.
    pub fn listener(&self, wanted: &Wanted, shows: Option<Proof>) -> Result<Listener<'_>, Lack> {
        let lack = |label, message| Lack { label, message };
        let suits = |listener: &&Written| listener.suits(shows);
        let written = match &wanted.listener {
            Some(name) => {
                let found = self.candidates(wanted).next().ok_or_else(|| {
                    let there = self.names(|listener| listener.name.clone());
                    lack(
                        "ListenerNotFound",
                        format!(
                            "{wanted} has no listener {name}, but {there}; hint: mend spec.kafka.strimzi.listener"
                        ),
                    )
                })?;
                found.check(wanted, shows)?;
                found
            }
            // Inside the cluster first, as Strimzi's own KafkaAccess does.
            None => self
                .candidates(wanted)
                .filter(suits)
                .min_by_key(|listener| !listener.is_internal())
                .ok_or_else(|| {
                    let there =
                        self.names(|it| format!("{} ({})", it.name, it.way().unwrap_or("no login")));
                    let who = shows.map_or_else(
                        || "a client without a KafkaUser".to_owned(),
                        |proof| format!("a KafkaUser with {}", proof.word()),
                    );
                    lack(
                        "ListenerNotFound",
                        format!(
                            "no listener of {wanted} lets in {who}, only {there}; hint: mend spec.kafka.strimzi.user"
                        ),
                    )
                })?,
        };
        let standing = self.standing(&written.name);
        let Some((standing, bootstrap_servers)) =
            standing.and_then(|it| Some((it, it.bootstrap_servers.as_deref()?)))
        else {
            return Err(lack(
                "ListenerNotReady",
                format!(
                    "listener {} of {wanted} has no address yet; hint: Strimzi gives it one when it is ready: kubectl -n {} describe kafka {}",
                    written.name, wanted.namespace, wanted.cluster
                ),
            ));
        };
        Ok(Listener {
            bootstrap_servers,
            tls: written.tls,
            proof: written.proof(),
            certificates: standing.certificates.as_deref().unwrap_or_default(),
        })
    }

    fn candidates(&self, wanted: &Wanted) -> impl Iterator<Item = &Written> {
        let name = wanted.listener.clone();
        let all = self.spec.kafka.listeners.iter();
        all.filter(move |listener| name.as_ref().is_none_or(|name| listener.name == *name))
    }

    fn standing(&self, name: &str) -> Option<&Standing> {
        let mut all = self.status.iter().flat_map(|status| status.listeners.iter().flatten());
        all.find(|it| {
            it.name.as_deref() == Some(name)
                && it.bootstrap_servers.as_ref().is_some_and(|servers| !servers.is_empty())
        })
    }

    fn names(&self, name: impl FnMut(&Written) -> String) -> String {
        let names: Vec<String> = self.spec.kafka.listeners.iter().map(name).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

impl Written {
    /// How it lets clients in, as Strimzi calls it; `None` when it asks nobody who he is.
    fn way(&self) -> Option<&str> {
        self.authentication.as_ref().map(|it| it.kind.as_str())
    }

    fn proof(&self) -> Option<Proof> {
        [Proof::Certificate, Proof::Password].into_iter().find(|it| self.way() == Some(it.word()))
    }

    fn suits(&self, shows: Option<Proof>) -> bool {
        self.way() == shows.map(Proof::word)
    }

    fn is_internal(&self) -> bool {
        matches!(self.kind.as_str(), "internal" | "cluster-ip")
    }

    fn check(&self, wanted: &Wanted, shows: Option<Proof>) -> Result<(), Lack> {
        let name = &self.name;
        let lack = |label, rest: String| {
            Err(Lack { label, message: format!("listener {name} of {wanted} {rest}") })
        };
        let user = || wanted.user.as_deref().unwrap_or_default();
        match (self.way(), shows) {
            _ if self.suits(shows) => Ok(()),
            (Some(way), _) if self.proof().is_none() => lack(
                "AuthenticationNotSupported",
                format!(
                    "lets clients in by {way}, which cannot be looked up; hint: write bootstrapServers, tls and sasl instead of strimzi"
                ),
            ),
            (None, _) => lack(
                "ListenerMismatch",
                format!(
                    "asks nobody who he is, so user {} is of no use; hint: leave out user, or name another listener",
                    user()
                ),
            ),
            (Some(way), None) => lack(
                "ListenerMismatch",
                format!(
                    "lets clients in by {way}, and no user is given; hint: name a KafkaUser in spec.kafka.strimzi.user"
                ),
            ),
            (Some(way), Some(shows)) => lack(
                "ListenerMismatch",
                format!(
                    "lets clients in by {way}, and KafkaUser {} has {}; hint: give the KafkaUser authentication of type {way}, or name another listener",
                    user(),
                    shows.word()
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka() -> Kafka {
        serde_json::from_value(serde_json::json!({
            "spec": {"kafka": {"listeners": [
                {"name": "plain", "port": 9092, "type": "internal", "tls": false},
                {"name": "outside", "port": 9094, "type": "loadbalancer", "tls": true, "authentication": {"type": "tls"}},
                {"name": "tls", "port": 9093, "type": "internal", "tls": true, "authentication": {"type": "tls"}},
                {"name": "scram", "port": 9095, "type": "internal", "tls": true, "authentication": {"type": "scram-sha-512"}},
                {"name": "own", "port": 9096, "type": "internal", "tls": true, "authentication": {"type": "custom", "sasl": true}},
                {"name": "coming", "port": 9097, "type": "internal", "tls": false},
            ]}},
            "status": {"listeners": [
                {"name": "plain", "bootstrapServers": "events-kafka-bootstrap.kafka.svc:9092", "addresses": null},
                {"name": "tls", "bootstrapServers": "events-kafka-bootstrap.kafka.svc:9093", "certificates": ["PEM"]},
                {"name": "outside", "bootstrapServers": "events.example:9094"},
                {"name": "scram", "bootstrapServers": "events-kafka-bootstrap.kafka.svc:9095"},
                {"name": "coming", "bootstrapServers": ""},
            ]},
        }))
        .unwrap()
    }

    fn wanted(listener: Option<&str>, user: Option<&str>) -> Wanted {
        Wanted {
            namespace: "kafka".to_owned(),
            cluster: "events".to_owned(),
            listener: listener.map(str::to_owned),
            user: user.map(str::to_owned),
        }
    }

    #[test]
    fn a_listener_is_found_by_its_name_or_by_what_the_user_shows_and_inside_first() {
        let kafka = kafka();
        let found = |listener, user, shows| {
            let wanted = wanted(listener, user);
            let found = kafka.listener(&wanted, shows).unwrap();
            (found.bootstrap_servers.to_owned(), found.tls, found.proof, found.certificates.len())
        };
        let (certificate, password) = (Some(Proof::Certificate), Some(Proof::Password));
        let inside = |port| format!("events-kafka-bootstrap.kafka.svc:{port}");
        assert_eq!(found(None, None, None), (inside(9092), false, None, 0));
        assert_eq!(found(None, Some("u"), certificate), (inside(9093), true, certificate, 1));
        assert_eq!(found(None, Some("u"), password), (inside(9095), true, password, 0));
        let outside = ("events.example:9094".to_owned(), true, certificate, 0);
        assert_eq!(found(Some("outside"), Some("u"), certificate), outside);
        assert!(kafka.wants_authority(&wanted(None, None)));
        assert!(!kafka.wants_authority(&wanted(Some("plain"), None)));
    }

    #[test]
    fn what_cannot_be_looked_up_is_named_with_a_way_out() {
        let kafka = kafka();
        let (certificate, password) = (Some(Proof::Certificate), Some(Proof::Password));
        let cases = [
            (
                Some("tsl"),
                None,
                "ListenerNotFound",
                "has no listener tsl, but plain, outside, tls, scram, own, coming; hint:",
            ),
            (Some("coming"), None, "ListenerNotReady", "has no address yet; hint:"),
            (
                Some("own"),
                password,
                "AuthenticationNotSupported",
                "by custom, which cannot be looked up; hint:",
            ),
            (
                Some("plain"),
                certificate,
                "ListenerMismatch",
                "asks nobody who he is, so user u is of no use; hint:",
            ),
            (Some("tls"), None, "ListenerMismatch", "by tls, and no user is given; hint:"),
            (
                Some("scram"),
                certificate,
                "ListenerMismatch",
                "by scram-sha-512, and KafkaUser u has tls; hint:",
            ),
        ];
        for (listener, shows, label, words) in cases {
            let lack = kafka.listener(&wanted(listener, shows.map(|_| "u")), shows).unwrap_err();
            assert_eq!(lack.label, label, "{lack:?}");
            assert!(lack.message.contains(words), "{lack:?}");
            assert!(lack.message.contains("Kafka kafka/events"), "{lack:?}");
        }
        let only: Kafka = serde_json::from_value(serde_json::json!({
            "spec": {"kafka": {"listeners": [{"name": "own", "tls": true, "authentication": {"type": "oauth"}}]}},
        }))
        .unwrap();
        let lack = only.listener(&wanted(None, None), None).unwrap_err();
        assert_eq!(lack.label, "ListenerNotFound");
        assert!(
            lack.message.contains("a client without a KafkaUser, only own (oauth)"),
            "{lack:?}"
        );
    }

    #[test]
    fn an_address_stays_known_while_its_listener_is_asked_for() {
        let old = kafka();
        let mut new = old.clone();
        new.status = None;
        new.spec.kafka.listeners.retain(|listener| listener.name != "scram");
        new.keep_addresses_of(&old);
        assert!(new.listener(&wanted(Some("plain"), None), None).is_ok());
        let lack = new.listener(&wanted(Some("scram"), Some("u")), Some(Proof::Password));
        assert_eq!(lack.unwrap_err().label, "ListenerNotFound");
    }
}
