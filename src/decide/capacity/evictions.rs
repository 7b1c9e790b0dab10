//! What is known of the evictions of a pipeline's pods: which they are, whose budgets select them, which stand on nodes that end. Made by
//! `watch`; `drain` says what follows.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::pipeline::TargetId;

/// Between the time that a pod has to end and the end of its node.
const MARGIN: Duration = Duration::from_secs(5);

/// How many pods of a workload may be evicted, as the budget says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grip {
    /// One may be unavailable.
    Loose,
    /// So many stay available; Penstock promises to loosen it by then.
    Tight {
        /// Pods that stay available.
        least: u32,
        /// When it is loosened at the latest.
        until: Timestamp,
    },
}

/// One condition of a label selector, in the words of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Term {
    /// Key of the label.
    pub key: String,
    /// How it is compared.
    pub operator: Compare,
    /// With what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Compare {
    /// It has one of the values.
    In,
    /// It has none of them, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not.
    DoesNotExist,
}

/// What is known of the evictions of a pipeline's pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// The workloads of stages that hold drains.
    pub held: Vec<Crew>,
    /// Budgets of Penstock's that belong to the pipeline, by name.
    pub budgets: Vec<BudgetSeen>,
    /// Are budgets not to be read? Then none is written either: somebody else's might be there.
    #[serde(default)]
    pub is_unreadable: bool,
}

/// The pods of one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crew {
    /// The workload.
    pub target: TargetId,
    /// Which pods are its own.
    pub selector: Vec<Term>,
    /// How many there are.
    pub pods: u32,
    /// A budget that is not this workload's own and selects one of its pods, or has the name that its own would have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<Arc<str>>,
    /// How long those who drain its nodes may be held up at most, the first of them; `None` while no Ready pod stands on a node that goes.
    /// Once it is past nobody is held up, until these pods have left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Its pods on nodes whose end is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<Leaving>,
}

/// A pod on a node whose end is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// Its name.
    pub pod: Arc<str>,
    /// Its `resourceVersion`.
    pub version: u64,
    /// How long it may take to end.
    pub grace: Duration,
    /// When its node is gone.
    pub end: Timestamp,
}

/// A budget of Penstock's, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetSeen {
    /// Its name.
    pub name: Arc<str>,
    /// Its uid.
    pub uid: Arc<str>,
    /// Its `resourceVersion`.
    pub version: Arc<str>,
    /// What it says; `None` when that is nothing that Penstock writes, or of other pods than it should be.
    pub grip: Option<Grip>,
    /// Until when it is tight, as it says itself; `None` when it says no such thing, or is another pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Draining {
    /// The label of every budget of Penstock's.
    pub const LABEL: &str = "penstock.dev/drain";
}

impl Grip {
    /// The annotation of a tight budget that says until when it is.
    pub const UNTIL: &str = "penstock.dev/tight-until";
}

impl Leaving {
    /// When it is let go, if it is still there: with all the time it may take, and a little more.
    pub(super) fn at(&self) -> Timestamp {
        self.end.checked_sub(self.grace + MARGIN).unwrap_or(self.end)
    }
}

impl TargetId {
    /// The name of the budget of its pods.
    pub fn budget(&self) -> String {
        format!("penstock-{}-{}", self.kind.to_lowercase(), self.name)
    }
}
