//! The sources of a stage: what all kinds have in common. What each kind asks is for the file of its name, where and as whom is for
//! `login`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Fault, QuestionDraft, Reader, SecretWanted, not_yet};
use crate::crd::pipeline::Stage as WrittenStage;
use crate::crd::quantity::{ABOVE_ZERO, NOT_NEGATIVE, Quantity};
use crate::crd::rules;
use crate::crd::source::{KINDS, Kinds, Source as Written};
use crate::decide::{QuestionId, Source, TargetId};
use crate::observe::sql::Engine;
use crate::observe::{Address, Ask, Unit};

/// How often a kind is asked when nobody says, where each question costs the server some work.
pub(super) const SLOW_POLL: Duration = Duration::from_secs(15);

/// The kinds that the cluster itself answers.
pub(super) const INSIDE: [&str; 3] = ["cpu", "memory", "workload"];

/// Where to ask, and the Secrets to log in with.
pub(super) type Place = (Address, Vec<SecretWanted>);

/// What a kind makes of its own words.
pub(super) struct Draft {
    /// How often it is asked when nobody says.
    pub(super) default_poll: Duration,
    /// The threshold.
    pub(super) per_replica: Option<f64>,
    /// The question.
    pub(super) ask: Ask,
    /// Where it goes, or why it cannot be asked: then the stage is held, and the others go on.
    pub(super) place: Result<Place, Fault>,
}

/// What a bare number counts as: with a threshold itself, without one a backlog.
pub(super) fn unit(per_replica: Option<f64>) -> Unit {
    if per_replica.is_some() { Unit::Gauge } else { Unit::Backlog }
}

impl Reader<'_> {
    /// Reads all sources of a stage.
    pub(super) fn sources(
        &mut self,
        at: &str,
        stage: &WrittenStage,
        target: &TargetId,
        poll: Option<Duration>,
    ) -> Vec<Source> {
        if stage.sources.len() > 16 {
            self.refuse(format!("{at}.sources"), "must have at most 16 items");
        }
        let mut names = BTreeSet::new();
        let mut sources = Vec::new();
        for (index, written) in stage.sources.iter().enumerate().take(16) {
            let at = format!("{at}.sources[{index}]");
            if !names.insert(&written.name) {
                self.refuse(format!("{at}.name"), "another source has this name");
            }
            sources.extend(self.source(&at, (&stage.name, target), written, poll));
        }
        sources
    }

    /// Reads one source; `None` when it is none that works.
    fn source(
        &mut self,
        at: &str,
        (stage, target): (&str, &TargetId),
        written: &Written,
        poll: Option<Duration>,
    ) -> Option<Source> {
        if !rules::is_source_name(&written.name) {
            self.refuse(format!("{at}.name"), rules::SOURCE_NAME);
        }
        let own =
            self.span(format!("{at}.pollInterval"), written.poll_interval.as_ref(), "1s", "10m");
        let activation = self.quantity(format!("{at}.activation"), written.activation.as_ref());
        let kinds = written_kinds(&written.kind);
        if kinds.len() != 1 {
            self.refuse(at, rules::ONE_SOURCE);
        }
        if kinds.iter().any(|kind| INSIDE.contains(kind)) {
            let inside = self.inside(at, target, &written.kind)?;
            let activation = activation.unwrap_or(inside.activation);
            let source = self.put_inside(stage, &written.name, inside, own.or(poll));
            return Some(Source { activation, ..source });
        }
        let draft = self.kind(at, stage, &kinds, &written.kind)?;
        // For words only; a kind without topics has none.
        let topics: &[String] = written.kind.kafka.as_ref().map_or(&[], |kafka| &kafka.topics);
        let topics = topics.iter().map(|topic| topic.as_str().into()).collect();
        let source = self.put(stage, &written.name, draft, own.or(poll));
        Some(Source { activation: activation.unwrap_or(0.0), topics, ..source })
    }

    /// Notes the question of a source or a gate of this name, and what decide is told of it.
    pub(super) fn put(
        &mut self,
        stage: &str,
        name: &str,
        Draft { default_poll, per_replica, ask, place }: Draft,
        poll: Option<Duration>,
    ) -> Source {
        let question = QuestionId::new(&self.id, stage, name);
        let poll_interval = poll.unwrap_or(default_poll);
        let strimzi = self.strimzi.take();
        let origin = match &place {
            Ok((address, _)) => address.to_string().into(),
            Err(_) => Arc::default(),
        };
        match place {
            Ok((address, secrets)) => self.questions.push(QuestionDraft {
                id: question.clone(),
                poll_interval,
                address,
                ask,
                secrets,
                strimzi,
            }),
            Err(fault) => self.unanswerable.push((question.clone(), fault)),
        }
        Source {
            name: name.into(),
            question,
            origin,
            poll_interval,
            activation: 0.0,
            per_replica,
            topics: Vec::new(),
        }
    }

    /// Reads what is particular to its kind; each has a file of its own.
    pub(super) fn kind(
        &mut self,
        at: &str,
        stage: &str,
        kinds: &[&str],
        written: &Kinds,
    ) -> Option<Draft> {
        let mut draft = None;
        for kind in kinds {
            let at = format!("{at}.{kind}");
            let read = match *kind {
                "kafka" => written.kafka.as_ref().and_then(|kafka| self.kafka(&at, kafka)),
                "prometheus" => written.prometheus.as_ref().map(|it| self.prometheus(&at, it)),
                "external" => written.external.as_ref().map(|it| self.external(&at, stage, it)),
                "postgres" => {
                    written.postgres.as_ref().map(|it| self.sql(&at, Engine::Postgres, it))
                }
                "mysql" => written.mysql.as_ref().map(|it| self.sql(&at, Engine::Mysql, it)),
                "redis" => written.redis.as_ref().and_then(|redis| self.redis(&at, redis)),
                "http" => written.http.as_ref().map(|http| self.http(&at, http)),
                "rabbitmq" => written.rabbitmq.as_ref().map(|it| self.rabbitmq(&at, it)),
                "nats" => written.nats.as_ref().map(|it| self.nats(&at, it)),
                "sqs" => written.sqs.as_ref().map(|sqs| self.sqs(&at, sqs)),
                "lineage" => written.lineage.as_ref().map(|it| self.lineage(&at, it)),
                "airflow" => written.airflow.as_ref().map(|it| self.airflow(&at, it)),
                "dagster" => written.dagster.as_ref().map(|it| self.dagster(&at, it)),
                _ => {
                    self.faults.push(not_yet(at));
                    None
                }
            };
            draft = draft.or(read);
        }
        draft
    }

    /// Reads a quantity of 0 or more.
    fn quantity(&mut self, path: String, written: Option<&Quantity>) -> Option<f64> {
        let read = written?.read();
        if read.is_none() {
            self.refuse(path, NOT_NEGATIVE);
        }
        read
    }

    /// Reads a threshold: a quantity above 0.
    pub(super) fn threshold(&mut self, path: String, written: Option<&Quantity>) -> Option<f64> {
        let read = written?.read().filter(|value| *value > 0.0);
        if read.is_none() {
            self.refuse(path, ABOVE_ZERO);
        }
        read
    }
}

/// The kinds that a source sets.
pub(super) fn written_kinds(kind: &Kinds) -> Vec<&'static str> {
    let is_set = [
        kind.kafka.is_some(),
        kind.rabbitmq.is_some(),
        kind.redis.is_some(),
        kind.prometheus.is_some(),
        kind.postgres.is_some(),
        kind.mysql.is_some(),
        kind.nats.is_some(),
        kind.sqs.is_some(),
        kind.http.is_some(),
        kind.external.is_some(),
        kind.cpu.is_some(),
        kind.memory.is_some(),
        kind.workload.is_some(),
        kind.lineage.is_some(),
        kind.airflow.is_some(),
        kind.dagster.is_some(),
    ];
    KINDS.into_iter().zip(is_set).filter(|(_, is_set)| *is_set).map(|(kind, _)| kind).collect()
}
