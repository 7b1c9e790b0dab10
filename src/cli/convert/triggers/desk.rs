//! One trigger on the desk: its parameters are taken from here one by one, so that what nobody took can be told in the end.

use std::collections::{BTreeMap, BTreeSet};

use super::super::connections::{Connections, Scope};
use super::super::given::{Given, Param, World};
use super::super::report::{Grade, Notes};
use crate::crd::connection;
use crate::crd::login::{SecretRef, Tls};
use crate::crd::quantity::Quantity;
use crate::crd::source::ConnectionRef;

/// A parameter that KEDA has and that is not carried over: its name, the value that changes nothing, and what is said of others.
pub(super) type Left = (&'static str, &'static str, Grade, &'static str);

/// What many scalers have, and no source here.
pub(super) const UNCHECKED: Left = (
    "unsafeSsl",
    "false",
    Grade::NotSupported,
    "is left out: certificates are always checked; name the CA",
);

/// What a stage must promise where a trigger's threshold has no counterpart.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Promise {
    /// Items a second that one replica gets through, where KEDA was told.
    pub(in super::super) rate: Option<f64>,
}

/// How a source is sized: by a threshold, or by the objective.
pub(super) type Sizing = Option<Quantity>;

/// One trigger and everything that is needed to write it anew.
#[derive(Debug)]
pub(in super::super) struct Desk<'a> {
    /// Its path, for example `spec.triggers[0]`.
    pub(in super::super) at: String,
    /// Its type.
    pub(in super::super) scaler: String,
    pub(in super::super) metric_type: Option<String>,
    pub(in super::super) params: BTreeMap<String, Param>,
    pub(in super::super) used: BTreeSet<String>,
    /// What is missing to write its connection: path, and what.
    pub(in super::super) lacks: Vec<(String, String)>,
    pub(in super::super) notes: Notes<'a>,
    pub(in super::super) connections: &'a mut Connections,
    pub(in super::super) world: &'a World,
    pub(in super::super) scope: Scope,
    /// Where the Secrets of its connection lie.
    pub(in super::super) secret_namespace: String,
    /// Its authentication.
    pub(in super::super) authentication: Option<String>,
    /// What is to stand in a Secret beside its connection.
    pub(in super::super) plain: BTreeMap<String, String>,
    /// Who KEDA is to a cloud: where that is said, and what.
    pub(in super::super) identity: Option<(String, String)>,
    /// Has the object no other trigger?
    pub(in super::super) is_only: bool,
    /// Does a formula take its bare value?
    pub(in super::super) is_in_formula: bool,
    pub(in super::super) promise: Option<Promise>,
}

impl Desk<'_> {
    /// The path of a parameter.
    pub(super) fn path(&self, key: &str) -> String {
        let written = self.params.get(key).map(|param| param.path.clone());
        written.unwrap_or_else(|| format!("{}.metadata.{key}", self.at))
    }

    /// Is it written anywhere?
    pub(super) fn has(&self, key: &str) -> bool {
        self.params.contains_key(key)
    }

    /// What a parameter says in plain text; or why that is not known.
    fn read(&mut self, key: &str) -> Option<Result<String, String>> {
        let given = self.params.get(key)?.given.clone();
        self.used.insert(key.to_owned());
        Some(match given {
            Given::Text(text) => Ok(text.trim().to_owned()),
            Given::Unknown(why) => Err(why),
            Given::Secret(namespace, secret) => {
                let read = self.world.read(&namespace, &secret).cloned();
                read.map(|text| text.trim().to_owned()).ok_or_else(|| {
                    format!(
                        "stands in Secret {namespace}/{} (key {}), which is not among the files, and Penstock wants it in plain text: give the Secret too, or write it by hand",
                        secret.name, secret.key
                    )
                })
            }
        })
    }

    /// A text of the source; left out, with a word, where it is not known.
    pub(super) fn word(&mut self, key: &str) -> Option<String> {
        match self.read(key)? {
            Ok(text) => Some(text).filter(|text| !text.is_empty()),
            Err(why) => {
                let path = self.path(key);
                self.notes.not_supported(path, why);
                None
            }
        }
    }

    /// A text without which there is no source.
    pub(super) fn needed(&mut self, key: &str) -> Option<String> {
        let word = self.word(key);
        if word.is_none() && !self.notes.has(&self.path(key)) {
            let path = self.path(key);
            self.notes.not_supported(path, "is not set, and there is no source without it");
        }
        word
    }

    /// A text of the connection.
    pub(super) fn part(&mut self, key: &str) -> Option<String> {
        match self.read(key)? {
            Ok(text) => Some(text).filter(|text| !text.is_empty()),
            Err(why) => {
                self.lack(key, why);
                None
            }
        }
    }

    /// Is TLS asked for by the word that Kafka, RabbitMQ and Redis have for it?
    pub(super) fn has_tls_on(&mut self) -> bool {
        self.part("tls").is_some_and(|word| word == "enable")
    }

    /// A text without which there is no connection.
    pub(super) fn part_needed(&mut self, key: &str) -> String {
        let before = self.lacks.len();
        let part = self.part(key);
        if part.is_none() && before == self.lacks.len() {
            self.lack(key, "is not set");
        }
        part.unwrap_or_default()
    }

    /// Notes what is missing to write the connection.
    pub(super) fn lack(&mut self, key: &str, why: impl Into<String>) {
        self.used.insert(key.to_owned());
        let path = self.path(key);
        self.lacks.push((path, why.into()));
    }

    /// A parameter that belongs into a Secret. What stands in clear text gets one beside the connection.
    pub(super) fn secret(&mut self, key: &str) -> Option<SecretRef> {
        let given = self.params.get(key)?.given.clone();
        self.used.insert(key.to_owned());
        match given {
            Given::Text(text) => Some(self.in_clear(key, text)),
            Given::Unknown(why) => {
                self.lack(key, why);
                None
            }
            Given::Secret(namespace, secret) if namespace == self.secret_namespace => Some(secret),
            Given::Secret(namespace, secret) => {
                if let Some(text) = self.world.read(&namespace, &secret).cloned() {
                    return Some(self.in_clear(key, text));
                }
                let why = format!(
                    "stands in Secret {namespace}/{}, and a ClusterConnection reads those of one namespace ({}) only: copy it there",
                    secret.name, self.secret_namespace
                );
                self.lack(key, why);
                None
            }
        }
    }

    /// A key of the Secret that is written beside the connection.
    pub(super) fn in_clear(&mut self, key: &str, text: impl Into<String>) -> SecretRef {
        self.plain.insert(key.to_owned(), text.into());
        // Called by its name once the connection has one.
        SecretRef { name: String::new(), key: key.to_owned() }
    }

    /// Is it set to true?
    pub(super) fn flag(&mut self, key: &str) -> bool {
        self.word(key)
            .is_some_and(|word| ["true", "t", "1"].contains(&word.to_lowercase().as_str()))
    }

    /// Wake from zero above this; nothing where it is KEDA's own default.
    pub(super) fn activation(&mut self, key: &str) -> Option<Quantity> {
        let word = self.word(key)?;
        let path = self.path(key);
        let Some(read) = quantity(&word) else {
            self.notes.changes(path, format!("is {word}: an activation is 0 or more here, so 0"));
            return None;
        };
        (read != Quantity::Whole(0)).then_some(read)
    }

    /// The threshold, as KEDA's metric type means it; `None` when there is no source that would mean the same.
    pub(super) fn sizing(
        &mut self,
        key: &str,
        usual: Option<&str>,
        is_queue: bool,
    ) -> Option<Sizing> {
        let written = self.word(key);
        if self.is_in_formula {
            return Some(Some(Quantity::Whole(1)));
        }
        if self.is_value() {
            return self.by_objective(
                "spec.metricType",
                "Value: the HPA multiplies what runs until the whole queue is at the threshold",
                (is_queue, None),
            );
        }
        let path = self.path(key);
        let Some(word) = written.or_else(|| usual.map(str::to_owned)) else {
            self.notes.not_supported(path, "is not set, and there is no threshold without it");
            return None;
        };
        let read = quantity(&word).filter(|read| read.read().is_some_and(|it| 0.0 < it));
        if read.is_none() {
            self.notes.not_supported(path, format!("is {word}: a threshold is above 0"));
        }
        read.map(Some)
    }

    fn is_value(&self) -> bool {
        self.metric_type.as_deref() == Some("Value")
    }

    /// A queue whose threshold has no counterpart is sized by an objective, where that is nobody else's matter; else it is left out.
    pub(super) fn by_objective(
        &mut self,
        what: &str,
        means: &str,
        (is_queue, rate): (bool, Option<f64>),
    ) -> Option<Sizing> {
        let key = what.rsplit('.').next().unwrap_or(what);
        let path =
            if what.starts_with("spec.") { format!("{}.{key}", self.at) } else { self.path(key) };
        if is_queue && self.is_only {
            let hint =
                rate.map_or_else(String::new, |rate| format!(", with ratePerReplica: {rate}"));
            self.notes.changes(
                path,
                format!("{means}. Here the queue is sized by objective.maxDelay{hint}: say how late it may be"),
            );
            self.promise = Some(Promise { rate });
            return Some(None);
        }
        self.notes.not_supported(path, format!("{means}; that has no counterpart"));
        None
    }

    /// TLS by the parameters that name its PEMs; `None` where there are none and nothing asks for it.
    pub(super) fn tls(&mut self, [ca, cert, key]: [&str; 3], is_asked: bool) -> Option<Tls> {
        let tls = Tls {
            ca_secret_ref: self.secret(ca),
            cert_secret_ref: self.secret(cert),
            key_secret_ref: self.secret(key),
        };
        let is_given = tls != Tls::default();
        (is_given || is_asked).then_some(tls)
    }

    /// The connection that leads there, of which `host` is known.
    pub(super) fn connect(&mut self, host: &str, kind: connection::Kinds) -> ConnectionRef {
        let wish = self.authentication.clone().unwrap_or_else(|| self.called_by(host));
        if let Some((path, identity)) = self.identity.take() {
            self.lacks
                .push((path, format!("is {identity}: Penstock has no such login for this source")));
        }
        if self.lacks.is_empty() {
            return self.connections.find(
                &self.scope,
                &wish,
                kind,
                std::mem::take(&mut self.plain),
            );
        }
        let reference = self.connections.lacking(&self.scope, &wish);
        let title = match &self.scope {
            Scope::Namespace(namespace) => {
                format!(
                    "Connection {}/{}",
                    namespace.as_deref().unwrap_or("default"),
                    reference.name
                )
            }
            Scope::Cluster(_) => format!("ClusterConnection {}", reference.name),
        };
        for (path, why) in std::mem::take(&mut self.lacks) {
            self.notes
                .not_supported(path, format!("{why}. {title} is not written: write it by hand"));
        }
        reference
    }

    /// A name out of a host: without port, and without the ends that all names of a cluster have.
    fn called_by(&self, host: &str) -> String {
        let host = host.split(',').next().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name).to_lowercase();
        let host = host.split(".svc").next().unwrap_or_default();
        let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = host.chars().map(letter).take(100).collect();
        let name = name.trim_matches('-');
        if name.is_empty() { self.scaler.clone() } else { name.to_owned() }
    }

    /// Tells of every parameter: those that are in the source, those that are known to have no place, and those that nobody knows.
    pub(in super::super) fn finish(&mut self, name: &str, left: &[Left]) {
        for (path, why) in std::mem::take(&mut self.lacks) {
            self.notes.not_supported(path, why);
        }
        let metric = format!("{}.metricType", self.at);
        if self.metric_type.is_some() && !self.notes.has(&metric) {
            self.notes.same(metric, "is what perReplica, utilization and combine go by");
        }
        let params: Vec<(String, Param)> =
            self.params.iter().map(|(key, param)| (key.clone(), param.clone())).collect();
        for (key, Param { path, given }) in params {
            if self.used.contains(&key) {
                if !self.notes.has(&path) {
                    self.notes.same(path, format!("is in source {name}"));
                }
                continue;
            }
            let known = left.iter().find(|(known, ..)| *known == key);
            match (known, given) {
                (Some((_, usual, ..)), Given::Text(text)) if text == *usual => {
                    self.notes.same(path, "is how it is here");
                }
                (Some((.., grade, words)), _) => self.notes.note(*grade, path, *words),
                (None, _) => self.notes.not_supported(
                    path,
                    format!("is left out: nothing here goes by {key} of {}", self.scaler),
                ),
            }
        }
    }
}

/// A number as a quantity, whole where it is.
pub(super) fn quantity(word: &str) -> Option<Quantity> {
    if let Ok(whole) = word.parse::<i64>() {
        return (0 <= whole).then_some(Quantity::Whole(whole));
    }
    let text = Quantity::Text(word.to_owned());
    text.read().map(|_| text)
}
