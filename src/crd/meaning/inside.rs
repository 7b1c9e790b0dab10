//! Sources that the cluster itself answers: what the stage's pods use, and how many pods a selector finds. `watch` reads them; no
//! connection and no login is needed.

use std::time::Duration;

use super::Reader;
use super::source::SLOW_POLL;
use crate::crd::connection::{Operator, Selector};
use crate::crd::pipeline::Stage as WrittenStage;
use crate::crd::rules;
use crate::crd::source::{Kinds, Utilization, Workload};
use crate::decide::{QuestionId, Source, TargetId};
use crate::observe::Unit;

/// CPU and memory never wake a stage: no count of them exceeds this.
const NEVER: f64 = 9_007_199_254_740_992.0;
/// How often the watch of pods is looked at, which costs no request.
const AT_HAND: Duration = Duration::from_secs(2);

/// A question that the cluster itself answers.
#[derive(Debug, Clone, PartialEq)]
pub struct InsideDraft {
    /// Whose it is.
    pub id: QuestionId,
    /// How often it is read, at most.
    pub poll_interval: Duration,
    /// What.
    pub ask: Inside,
}

/// What the cluster can be asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Inside {
    /// How many pods of a namespace match and have not ended.
    Pods {
        /// The pipeline's own namespace.
        namespace: String,
        /// Which pods; never all of them.
        selector: Selector,
        /// What their number counts as.
        unit: Unit,
    },
    /// What the pods of a stage use.
    Usage {
        /// The stage's target.
        target: TargetId,
        /// What of.
        resource: Resource,
        /// Only this container of each pod.
        container: Option<String>,
        /// What is to be kept.
        goal: Goal,
    },
}

/// What pods use and request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// In cores.
    Cpu,
    /// In bytes.
    Memory,
}

impl Resource {
    /// As Kubernetes spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// What each pod may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// Per cent of what it requests.
    Utilization(u32),
    /// Cores or bytes.
    Each(f64),
}

impl Goal {
    /// The number: per cent, cores or bytes.
    pub fn target(self) -> f64 {
        match self {
            Self::Utilization(per_cent) => f64::from(per_cent),
            Self::Each(amount) => amount,
        }
    }
}

/// What a source of this kind makes of its own words.
pub(super) struct InsideSource {
    pub(super) ask: Inside,
    pub(super) default_poll: Duration,
    pub(super) per_replica: Option<f64>,
    /// What it takes to wake a stage, where the owner says nothing.
    pub(super) activation: f64,
}

impl Reader<'_> {
    /// Reads `cpu`, `memory` or `workload`; `None` for all other kinds, and for a wrong one.
    pub(super) fn inside(
        &mut self,
        at: &str,
        target: &TargetId,
        written: &Kinds,
    ) -> Option<InsideSource> {
        let usage =
            [(Resource::Cpu, written.cpu.as_ref()), (Resource::Memory, written.memory.as_ref())];
        for (resource, written) in usage {
            if let Some(written) = written {
                return self.usage(&format!("{at}.{}", resource.name()), resource, target, written);
            }
        }
        written.workload.as_ref().map(|written| self.workload(&format!("{at}.workload"), written))
    }

    /// Notes the question, and what decide is told of it.
    pub(super) fn put_inside(
        &mut self,
        stage: &str,
        name: &str,
        source: InsideSource,
        poll: Option<Duration>,
    ) -> Source {
        let question = QuestionId::new(&self.id, stage, name);
        let poll_interval = poll.unwrap_or(source.default_poll);
        self.inside.push(InsideDraft { id: question.clone(), poll_interval, ask: source.ask });
        Source {
            name: name.into(),
            question,
            origin: "the cluster".into(),
            poll_interval,
            activation: source.activation,
            per_replica: source.per_replica,
            topics: Vec::new(),
        }
    }

    /// The source of a gate: a number of pods. What its own pods use holds no stage, since `behavior` says how it may move on that.
    pub(super) fn inside_gate(
        &mut self,
        at: &str,
        (stage, target): (&str, &TargetId),
        name: &str,
        written: &Kinds,
        poll: Option<Duration>,
    ) -> Option<Source> {
        for kind in ["cpu", "memory"] {
            if (kind == "cpu" && written.cpu.is_some())
                || (kind == "memory" && written.memory.is_some())
            {
                self.faults.push(super::not_yet(format!("{at}.{kind}")));
            }
        }
        if written.workload.as_ref().is_some_and(|workload| workload.per_replica.is_some()) {
            self.refuse(format!("{at}.workload.perReplica"), rules::GATE_SIZES);
        }
        let mut source = self.inside(at, target, written)?;
        if let Inside::Pods { unit, .. } = &mut source.ask {
            *unit = Unit::Gauge;
        }
        Some(self.put_inside(stage, name, source, poll))
    }

    fn usage(
        &mut self,
        at: &str,
        resource: Resource,
        target: &TargetId,
        written: &Utilization,
    ) -> Option<InsideSource> {
        let each = written.per_replica.as_ref();
        let each = each.and_then(|each| self.threshold(format!("{at}.perReplica"), Some(each)));
        let goal = match (written.utilization, written.per_replica.is_some()) {
            (Some(per_cent), false) => {
                Goal::Utilization(self.count(format!("{at}.utilization"), per_cent, 1, 10_000))
            }
            (None, true) => Goal::Each(each?),
            _ => {
                self.refuse(at, "exactly one of utilization, perReplica must be set");
                return None;
            }
        };
        if let Some(container) = &written.container {
            self.text(format!("{at}.container"), container, 63);
        }
        Some(InsideSource {
            ask: Inside::Usage {
                target: target.clone(),
                resource,
                container: written.container.clone(),
                goal,
            },
            default_poll: SLOW_POLL,
            per_replica: Some(goal.target()),
            activation: NEVER,
        })
    }

    fn workload(&mut self, at: &str, written: &Workload) -> InsideSource {
        let per_replica = self.threshold(format!("{at}.perReplica"), written.per_replica.as_ref());
        let selector = &written.selector;
        if selector.match_labels.is_empty() && selector.match_expressions.is_empty() {
            self.refuse(
                format!("{at}.selector"),
                "must say which pods: an empty one would count all",
            );
        }
        for (index, requirement) in selector.match_expressions.iter().enumerate() {
            let wants_values = matches!(requirement.operator, Operator::In | Operator::NotIn);
            if wants_values == requirement.values.is_empty() {
                self.refuse(
                    format!("{at}.selector.matchExpressions[{index}].values"),
                    "values go with In and NotIn, and only with them",
                );
            }
        }
        InsideSource {
            ask: Inside::Pods {
                namespace: self.id.namespace.to_string(),
                selector: selector.clone(),
                unit: super::source::unit(per_replica),
            },
            default_poll: AT_HAND,
            per_replica,
            activation: 0.0,
        }
    }

    /// Nobody wakes a stage whose sources are only what its own pods use: asleep it has none.
    pub(super) fn refuse_sleep_without_queue(&mut self, at: &str, stage: &WrittenStage) {
        let of_pods = |kind: &Kinds| kind.cpu.is_some() || kind.memory.is_some();
        let is_asleep = stage.replicas.min == Some(0)
            || stage.idle.as_ref().is_some_and(|idle| idle.replicas.unwrap_or(0) == 0);
        if is_asleep
            && !stage.sources.is_empty()
            && stage.sources.iter().all(|source| of_pods(&source.kind))
        {
            self.refuse(format!("{at}.sources"), rules::ASLEEP);
        }
    }
}
