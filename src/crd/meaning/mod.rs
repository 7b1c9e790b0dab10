//! From what was written to decide's terms and observe's questions, or faults that each name a field: the only crossing.
//! Called by `watch` for each changed pipeline and by `penstock validate`. It checks every rule again, since the API server
//! may have taken an object under older rules, and it never panics.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::connection::{ClusterConnection, Connection};
use super::duration::{self, Duration as Written};
use super::pipeline::{Mode as WrittenMode, ScaledPipeline};
use super::rules;
use super::strimzi;
use super::wish::Prefer as WrittenPrefer;
use crate::decide::{Mode, Pipeline, PipelineId, Prefer, QuestionId, Unreadable};
use crate::observe::{Address, Ask, Credentials, Question};

mod stage;
mod workload;
mod pool;
mod budget;
mod source;
mod kafka;
mod prometheus;
mod http;
mod external;
mod redis;
mod sql;
mod rabbitmq;
mod nats;
mod sqs;
mod lineage;
mod airflow;
mod dagster;
mod inside;
mod login;
mod objective;
mod formula;
mod schedule;
mod gate;
mod pause;

pub use inside::{Goal, Inside, InsideDraft, Resource};
pub(crate) use pool::tariff;

/// What must be asked of the cluster to understand a pipeline.
pub trait Surroundings {
    /// A Connection of this namespace.
    fn connection(&self, namespace: &str, name: &str) -> Option<Arc<Connection>>;
    /// A ClusterConnection.
    fn cluster_connection(&self, name: &str) -> Option<Arc<ClusterConnection>>;
    /// The labels of a namespace; `None` when it is not known.
    fn namespace_labels(&self, namespace: &str) -> Option<BTreeMap<String, String>>;
    /// Was this daemon given leave to read Secrets of that namespace for a ClusterConnection?
    fn may_lend_secrets_of(&self, namespace: &str) -> bool;
}

/// A pipeline understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Meaning {
    /// What decide is told.
    pub pipeline: Pipeline,
    /// What observe is asked, once the Secrets are read.
    pub questions: Vec<QuestionDraft>,
    /// What the cluster itself is asked.
    pub inside: Vec<InsideDraft>,
    /// Questions that cannot be put, and why: their stages are held, the others go on.
    pub unanswerable: Vec<(QuestionId, Fault)>,
}

/// A question that still lacks its credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct QuestionDraft {
    /// Whose it is.
    pub id: QuestionId,
    /// How often to read it.
    pub poll_interval: Duration,
    /// Where.
    pub address: Address,
    /// What.
    pub ask: Ask,
    /// What must be read first.
    pub secrets: Vec<SecretWanted>,
    /// What must be looked up first, and says which Secrets besides.
    pub strimzi: Option<strimzi::Wanted>,
}

impl QuestionDraft {
    /// The question, with what was read of the Secrets.
    pub fn with(&self, credentials: Arc<Credentials>) -> Question {
        Question {
            id: self.id.clone(),
            poll_interval: self.poll_interval,
            address: self.address.clone(),
            credentials,
            ask: self.ask.clone(),
        }
    }
}

/// One key of one Secret, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretWanted {
    /// Namespace: the Connection's own, or the ClusterConnection's `secretNamespace`.
    pub namespace: String,
    /// Name of the Secret.
    pub name: String,
    /// Key in it.
    pub key: String,
    /// Its use, as `Credentials` calls it: `username`, `password`, `token`, `ca`, `cert`, `key` and so on.
    pub usage: &'static str,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// The field, as the API server spells it: `spec.stages[1].replicas.min`.
    pub path: String,
    /// Its kind, for conditions, events and metrics.
    pub code: Code,
    /// The rule, in words.
    pub message: String,
    /// How to mend it, where that is not plain.
    pub hint: Option<String>,
}

/// Kinds of fault. Each is the reason of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// A rule is broken.
    InvalidSpec,
    /// An annotation cannot be read.
    InvalidAnnotation,
    /// The contract has this field, this version cannot serve it.
    NotYetSupported,
    /// No such Connection or ClusterConnection.
    ConnectionNotFound,
    /// The connection is of another kind than the source.
    ConnectionMismatch,
    /// The connection itself breaks a rule.
    InvalidConnection,
    /// The ClusterConnection does not allow this namespace.
    NamespaceNotAllowed,
    /// The daemon may not lend the Secrets of that namespace.
    SecretNamespaceNotAllowed,
}

impl Code {
    /// The CamelCase word.
    pub fn label(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::InvalidAnnotation => "InvalidAnnotation",
            Self::NotYetSupported => "NotYetSupported",
            Self::ConnectionNotFound => "ConnectionNotFound",
            Self::ConnectionMismatch => "ConnectionMismatch",
            Self::InvalidConnection => "InvalidConnection",
            Self::NamespaceNotAllowed => "NamespaceNotAllowed",
            Self::SecretNamespaceNotAllowed => "SecretNamespaceNotAllowed",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; hint: {hint}"))
    }
}

/// Understands a pipeline, or says all that is wrong with it.
pub fn read(written: &ScaledPipeline, around: &dyn Surroundings) -> Result<Meaning, Vec<Fault>> {
    let mut reader = Reader {
        id: PipelineId {
            namespace: written.namespace().unwrap_or_default().into(),
            name: written.name_any().into(),
        },
        around,
        faults: Vec::new(),
        questions: Vec::new(),
        inside: Vec::new(),
        unanswerable: Vec::new(),
        strimzi: None,
    };
    let meaning = reader.pipeline(written);
    if reader.faults.is_empty() {
        Ok(Meaning {
            pipeline: meaning,
            questions: reader.questions,
            inside: reader.inside,
            unanswerable: reader.unanswerable,
        })
    } else {
        Err(reader.faults)
    }
}

/// Reads on after a fault, so that all of them are told at once.
struct Reader<'a> {
    id: PipelineId,
    around: &'a dyn Surroundings,
    faults: Vec<Fault>,
    questions: Vec<QuestionDraft>,
    inside: Vec<InsideDraft>,
    unanswerable: Vec<(QuestionId, Fault)>,
    /// What must be looked up for the source that is being read.
    strimzi: Option<strimzi::Wanted>,
}

impl Reader<'_> {
    fn pipeline(&mut self, written: &ScaledPipeline) -> Pipeline {
        let spec = &written.spec;
        let prefer = prefer(spec.objective.as_ref().and_then(|objective| objective.prefer));
        let poll = self.span("spec.pollInterval", spec.poll_interval.as_ref(), "1s", "10m");
        let whole = spec.objective.as_ref().and_then(|objective| objective.max_delay.as_ref());
        let whole = self.span("spec.objective.maxDelay", whole, "1s", "168h");
        if spec.stages.is_empty() {
            self.refuse("spec.stages", "at least one stage is needed");
        }
        if spec.stages.len() > 32 {
            self.refuse("spec.stages", "must have at most 32 items");
        }
        let mut names = BTreeSet::new();
        for (index, stage) in spec.stages.iter().enumerate() {
            if !names.insert(stage.name.as_str()) {
                self.refuse(format!("spec.stages[{index}].name"), "another stage has this name");
            }
        }
        let (pause, pinned) = self.pause(written);
        let mode = mode(spec.mode);
        let mut stages: Vec<_> = spec
            .stages
            .iter()
            .enumerate()
            .take(32)
            .map(|(index, stage)| self.stage(&spec.stages, index, stage, poll))
            .collect();
        for (stage, written) in stages.iter_mut().zip(&spec.stages) {
            stage.mode = written.mode.map_or(mode, |own| self::mode(Some(own)));
            stage.prefer = prefer;
            stage.pinned = pinned.get(written.name.as_str()).copied();
        }
        self.share_objective(whole, &mut stages);
        self.fit_ages(&mut stages);
        self.refuse_shared_targets(&stages);
        Pipeline {
            id: self.id.clone(),
            uid: written.uid().unwrap_or_default().into(),
            generation: written.metadata.generation.unwrap_or_default(),
            pause,
            priority: spec.priority.unwrap_or_default(),
            stages,
        }
    }

    /// Two stages that write one count would fight each other.
    fn refuse_shared_targets(&mut self, stages: &[crate::decide::Stage]) {
        let mut owners = BTreeMap::new();
        for (index, stage) in stages.iter().enumerate() {
            for (lane, target) in stage.targets().enumerate() {
                if target.name.is_empty() {
                    continue;
                }
                if let Some(owner) = owners.insert(target, &stage.name) {
                    let message = format!("stage {owner} has this target already");
                    let field = if target.is_jobs() {
                        "jobs".to_owned()
                    } else if stage.lanes.is_empty() {
                        "target".to_owned()
                    } else {
                        format!("lanes[{lane}].target")
                    };
                    self.refuse(format!("spec.stages[{index}].{field}"), message);
                }
            }
        }
    }

    /// Notes that a rule is broken.
    fn refuse(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.fault(Code::InvalidSpec, path, message);
    }

    /// Notes a fault.
    fn fault(&mut self, code: Code, path: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault { path: path.into(), code, message: message.into(), hint: None });
    }

    /// Notes a field that this version cannot serve, if it is written.
    fn refuse_unless_absent<T>(&mut self, path: impl Into<String>, value: Option<&T>) {
        if value.is_some() {
            self.faults.push(not_yet(path));
        }
    }

    /// Reads a duration within bounds, both included.
    fn span(
        &mut self,
        path: impl Into<String>,
        written: Option<&Written>,
        least: &str,
        most: &str,
    ) -> Option<Duration> {
        let bound = |text: &str| Written(text.to_owned()).read();
        let written = written?;
        let read =
            written.read().filter(|span| Some(*span) >= bound(least) && Some(*span) <= bound(most));
        if read.is_none() {
            self.refuse(path, duration::out_of_bounds(least, most));
        }
        read
    }

    /// Reads a number within bounds, both included.
    fn count(&mut self, path: impl Into<String>, written: u32, least: u32, most: u32) -> u32 {
        if !(least..=most).contains(&written) {
            self.refuse(path, format!("must be from {least} to {most}"));
        }
        written
    }

    /// Is this name short enough, and made of lower case letters, digits and dashes?
    fn name(&mut self, path: impl Into<String>, name: &str) {
        if !rules::is_label(name) {
            self.refuse(path, "must be at most 63 lower case letters, digits or dashes, with a letter or digit at both ends");
        }
    }

    /// Refuses an empty text and an overlong one.
    fn text(&mut self, path: impl Into<String>, text: &str, most: usize) {
        if text.is_empty() || text.chars().count() > most {
            self.refuse(path, format!("must have 1 to {most} characters"));
        }
    }
}

/// Hours of the calendar, at this path, that cannot be read.
fn unreadable(at: &str, wrong: Unreadable) -> Fault {
    Fault {
        path: format!("{at}.{}", wrong.field),
        code: Code::InvalidSpec,
        message: wrong.message,
        hint: Some(wrong.hint.to_owned()),
    }
}

/// The fault of a field that the contract has and this version cannot serve.
fn not_yet(path: impl Into<String>) -> Fault {
    Fault {
        path: path.into(),
        code: Code::NotYetSupported,
        message: "does not work in this version".to_owned(),
        hint: Some("leave it out; it is refused so that it is not silently ignored".to_owned()),
    }
}

/// Enforce unless said otherwise.
fn mode(written: Option<WrittenMode>) -> Mode {
    match written {
        Some(WrittenMode::Observe) => Mode::Observe,
        Some(WrittenMode::Enforce) | None => Mode::Enforce,
    }
}

/// Balanced unless said otherwise.
fn prefer(written: Option<WrittenPrefer>) -> Prefer {
    match written {
        Some(WrittenPrefer::Cost) => Prefer::Cost,
        Some(WrittenPrefer::Balanced) | None => Prefer::Balanced,
        Some(WrittenPrefer::Latency) => Prefer::Latency,
    }
}
