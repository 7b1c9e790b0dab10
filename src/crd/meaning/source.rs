//! The sources of a stage: what each is asked and at what pace. Where, and as whom, is `login`'s to say.

use std::collections::BTreeSet;
use std::time::Duration;

use super::login::log_in;
use super::{QuestionDraft, Reader, not_yet};
use crate::crd::pipeline::Stage as WrittenStage;
use crate::crd::quantity::{ABOVE_ZERO, NOT_NEGATIVE, Quantity};
use crate::crd::rules;
use crate::crd::source::{
    Isolation as WrittenIsolation, KINDS, Kafka, Kinds, OffsetReset as WrittenReset,
    Source as Written,
};
use crate::decide::{QuestionId, Source};
use crate::observe::{Address, Ask, kafka};

/// How often Kafka is asked when nobody says.
const KAFKA_POLL: Duration = Duration::from_secs(2);

impl Reader<'_> {
    /// Reads all sources of a stage.
    pub(super) fn sources(
        &mut self,
        at: &str,
        stage: &WrittenStage,
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
            sources.extend(self.source(&at, &stage.name, written, poll));
        }
        sources
    }

    /// Reads one source; `None` when it is none that works.
    fn source(
        &mut self,
        at: &str,
        stage: &str,
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
        for kind in kinds.iter().filter(|kind| **kind != "kafka") {
            self.faults.push(not_yet(format!("{at}.{kind}")));
        }
        let ask = written.kind.kafka.as_ref()?;
        let source = Source {
            name: written.name.as_str().into(),
            question: QuestionId::new(&self.id, stage, &written.name),
            poll_interval: own.or(poll).unwrap_or(KAFKA_POLL),
            activation: activation.unwrap_or(0.0),
            per_replica: self.threshold(format!("{at}.kafka.perReplica"), ask.per_replica.as_ref()),
        };
        self.kafka(&format!("{at}.kafka"), ask, &source);
        Some(source)
    }

    /// Puts the question of a Kafka source, or says why it cannot be put.
    fn kafka(&mut self, at: &str, written: &Kafka, source: &Source) {
        let mut topics = BTreeSet::new();
        if written.topics.is_empty() || written.topics.len() > 100 {
            self.refuse(format!("{at}.topics"), "must have 1 to 100 items");
        }
        for (index, topic) in written.topics.iter().enumerate() {
            self.text(format!("{at}.topics[{index}]"), topic, 249);
            if !topics.insert(topic) {
                self.refuse(format!("{at}.topics[{index}]"), "is named twice");
            }
        }
        self.text(format!("{at}.group"), &written.group, 255);
        let ask = Ask::Kafka(kafka::Ask {
            topics: written.topics.clone(),
            group: written.group.clone(),
            offset_reset: match written.offset_reset {
                Some(WrittenReset::Earliest) => kafka::OffsetReset::Earliest,
                Some(WrittenReset::Latest) | None => kafka::OffsetReset::Latest,
            },
            isolation: match written.isolation {
                Some(WrittenIsolation::ReadCommitted) => kafka::Isolation::ReadCommitted,
                Some(WrittenIsolation::ReadUncommitted) | None => kafka::Isolation::ReadUncommitted,
            },
        });
        let place = match (&written.connection_ref, &written.bootstrap_servers) {
            (Some(reference), None) => self.found(at, reference).and_then(|found| log_in(&found)),
            (None, Some(servers)) => match brokers(servers) {
                Some(bootstrap_servers) => Ok((bare(bootstrap_servers), Vec::new())),
                None => {
                    return self.refuse(format!("{at}.bootstrapServers"), BROKERS);
                }
            },
            (Some(_), Some(_)) | (None, None) => return self.refuse(at, rules::ONE_BROKER),
        };
        match place {
            Ok((address, secrets)) => self.questions.push(QuestionDraft {
                id: source.question.clone(),
                poll_interval: source.poll_interval,
                address: Address::Kafka(address),
                ask,
                secrets,
            }),
            Err(fault) => self.unanswerable.push((source.question.clone(), fault)),
        }
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
    fn threshold(&mut self, path: String, written: Option<&Quantity>) -> Option<f64> {
        let read = written?.read().filter(|value| *value > 0.0);
        if read.is_none() {
            self.refuse(path, ABOVE_ZERO);
        }
        read
    }
}

/// What a list of brokers must look like.
pub(super) const BROKERS: &str = "must be host:port, or several of them with commas between";

/// The kinds that a source sets.
fn written_kinds(kind: &Kinds) -> Vec<&'static str> {
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

/// An address without a login.
fn bare(bootstrap_servers: String) -> kafka::Address {
    kafka::Address { connection: String::new(), bootstrap_servers, tls: false, sasl: None }
}

/// `host:port` pairs without blanks, in the order written; `None` when one is no such pair.
pub(super) fn brokers(written: &str) -> Option<String> {
    let pairs: Vec<&str> = written.split(',').map(str::trim).collect();
    let is_pair = |pair: &str| {
        pair.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.contains(char::is_whitespace)
                && port.bytes().all(|b| b.is_ascii_digit())
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    (written.len() <= 2048 && pairs.iter().all(|pair| is_pair(pair))).then(|| pairs.join(","))
}
