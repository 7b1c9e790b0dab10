//! A budget as its owner describes it, what one replica takes of it, and how it fares.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::pipeline::PipelineId;

/// What a replica uses counts as before when it is within this part of it.
const NEARLY: f64 = 0.05;

/// A budget, as its owner describes it. Made by `crd::meaning`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Name of the `CapacityBudget`.
    pub name: Arc<str>,
    /// Money for an hour.
    pub cost_per_hour: Option<f64>,
    /// CPUs, as pods request them.
    pub cores: Option<f64>,
    /// True when wishes are cut down to it; false when it is only told.
    pub is_enforced: bool,
    /// It is a `ResourceQuota`, called `namespace/name`, and this is what it leaves to pipelines; empty for a `CapacityBudget`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<Room>,
}

/// What a `ResourceQuota` leaves of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Room {
    /// Of what.
    pub of: Thing,
    /// So much of it there may be in the namespace.
    pub hard: f64,
    /// Of that, what is not taken by pods of others.
    pub left: f64,
}

/// What a `ResourceQuota` may limit that pods take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Thing {
    /// CPUs that are requested.
    Cpu,
    /// Bytes that are requested.
    Memory,
    /// CPUs that pods are limited to.
    CpuLimit,
    /// Bytes that pods are limited to.
    MemoryLimit,
    /// Pods that have not ended.
    Pods,
    /// Pods that are there.
    PodObjects,
}

/// What one replica of a stage uses, as its pods show it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PerReplica {
    /// CPUs that it requests; `None` while no pod has been seen.
    pub cores: Option<f64>,
    /// Money for an hour; `None` while the price of its nodes is not known.
    pub cost_per_hour: Option<f64>,
    /// Bytes that it requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<f64>,
    /// CPUs and bytes that it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<f64>,
    /// See there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<f64>,
    /// Pods that it is; known before any was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<f64>,
}

/// How a budget fares after a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetVerdict {
    /// Name of the budget.
    pub budget: Arc<str>,
    /// Money for an hour that runs; `None` when the price of something that runs is not known.
    pub cost_per_hour: Option<f64>,
    /// CPUs that run.
    pub cores: f64,
    /// Who gets fewer replicas than it wishes, and by how many, all its stages together. In the order of names.
    pub gave_way: Vec<(PipelineId, u32)>,
    /// Is more asked for, or running, than the budget allows?
    pub is_exceeded: bool,
    /// Pipelines of which nobody knows what a replica costs, where the budget is in money: they are not counted.
    pub unpriced: Vec<PipelineId>,
}

impl PerReplica {
    /// Known to take nothing: of pods that another pipeline answers for.
    pub const NOTHING: Self = Self {
        cores: Some(0.0),
        cost_per_hour: Some(0.0),
        bytes: Some(0.0),
        cpu_limit: Some(0.0),
        memory_limit: Some(0.0),
        pods: Some(0.0),
    };

    /// What a replica takes of a thing, where it takes any and that is known.
    pub(super) fn counted(&self, unit: Unit) -> Option<f64> {
        unit(self).filter(|unit| 0.0 < *unit)
    }

    /// What is known now, or else what was. Prices waver with the nodes that pods happen to stand on; what is nearly as before is as before,
    /// so that counts do not waver with them.
    pub(super) fn after(self, known: Option<Self>) -> Self {
        let known = known.unwrap_or_default();
        let join = |new: Option<f64>, old: Option<f64>| match (new, old) {
            (Some(new), Some(old)) if (new - old).abs() <= old.abs() * NEARLY => Some(old),
            (new, old) => new.or(old),
        };
        Self {
            cores: join(self.cores, known.cores),
            cost_per_hour: join(self.cost_per_hour, known.cost_per_hour),
            bytes: join(self.bytes, known.bytes),
            cpu_limit: join(self.cpu_limit, known.cpu_limit),
            memory_limit: join(self.memory_limit, known.memory_limit),
            pods: join(self.pods, known.pods),
        }
    }
}

/// What a replica takes of a thing; `None` while that is not known.
pub(super) type Unit = fn(&PerReplica) -> Option<f64>;

/// One limit and what a replica takes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) most: f64,
    pub(super) unit: Unit,
    /// What there is of it, where pods beyond it would not even be made.
    pub(super) room: Option<Room>,
}

impl Budget {
    /// Is this the name of what a `ResourceQuota` or a pool leaves? No object has such a name.
    pub(super) fn is_of_quota(name: &str) -> bool {
        name.contains('/')
    }

    /// The pool of which this is the name; see [`Self::name_of`].
    pub(in crate::decide) fn pool(name: &str) -> Option<&str> {
        name.strip_prefix('/')
    }

    /// What a pool's budget is called.
    pub(super) fn name_of(pool: &str) -> String {
        format!("/{pool}")
    }

    /// What a pool that may grow no further has, as CPUs that pods request.
    pub(super) fn of_pool(pool: &str, cores: f64) -> Self {
        Self {
            name: Self::name_of(pool).into(),
            cost_per_hour: None,
            cores: None,
            is_enforced: true,
            rooms: vec![Room { of: Thing::Cpu, hard: cores, left: cores }],
        }
    }

    /// Its limits. Each is kept on its own, so of two the stricter holds for every stage.
    pub(super) fn limits(&self) -> impl Iterator<Item = Limit> {
        let cost = self.cost_per_hour.map(|most| {
            let unit: Unit = |per| per.cost_per_hour;
            Limit { most, unit, room: None }
        });
        let cores = self.cores.map(|most| Limit { most, unit: Thing::Cpu.unit(), room: None });
        let rooms = self.rooms.iter().map(|room| {
            let most = room.left.max(0.0);
            Limit { most, unit: room.of.unit(), room: Some(*room) }
        });
        cost.into_iter().chain(cores).chain(rooms)
    }
}

impl Thing {
    /// Its name in a `ResourceQuota`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "requests.cpu",
            Self::Memory => "requests.memory",
            Self::CpuLimit => "limits.cpu",
            Self::MemoryLimit => "limits.memory",
            Self::Pods => "pods",
            Self::PodObjects => "count/pods",
        }
    }

    /// What such a name stands for; two of them have another besides.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "requests.cpu" | "cpu" => Self::Cpu,
            "requests.memory" | "memory" => Self::Memory,
            "limits.cpu" => Self::CpuLimit,
            "limits.memory" => Self::MemoryLimit,
            "pods" => Self::Pods,
            "count/pods" => Self::PodObjects,
            _ => return None,
        })
    }

    /// Is it counted in bytes?
    pub(in crate::decide) fn is_in_bytes(self) -> bool {
        matches!(self, Self::Memory | Self::MemoryLimit)
    }

    /// What a replica takes of it.
    pub(super) fn unit(self) -> Unit {
        match self {
            Self::Cpu => |per| per.cores,
            Self::Memory => |per| per.bytes,
            Self::CpuLimit => |per| per.cpu_limit,
            Self::MemoryLimit => |per| per.memory_limit,
            Self::Pods | Self::PodObjects => |per| per.pods,
        }
    }
}

/// The sum, where that of nothing is 0 and not -0, which would be told.
pub(super) fn whole(parts: impl Iterator<Item = f64>) -> f64 {
    parts.fold(0.0, |sum, part| sum + part)
}
