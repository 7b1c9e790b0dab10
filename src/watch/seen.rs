//! From the stores to what the daemon asks for: the due pipelines as they stand, and the questions of all. A plain function of
//! store contents; it waits for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::crd::PipelineStatus;
use crate::crd::meaning::{Fault, QuestionDraft, SecretWanted};
use crate::decide::{
    Budget, Draining, LaneNeed, LaneSeen, Missing, Mode, Observation, PerReplica, Pipeline,
    PipelineId, QuestionId, Recalled, Reserves, Stage, Standing, Target, TargetId, Unusable,
    Workload,
};
use crate::observe::{Credentials, Question};

use super::budgets::BudgetSight;
use super::nodes::{Owed, PoolSight};
use super::secrets::NoSecret;
use super::stores::{Name, Stores};
use super::strimzi;
use super::targets::KindId;

/// What the daemon is told.
#[derive(Debug, Default)]
pub struct Seen {
    /// The due pipelines that exist.
    pub sights: Vec<Sight>,
    /// Pipelines that were deleted since the last turn.
    pub gone: Vec<PipelineId>,
    /// The questions of all pipelines, when they may have changed.
    pub questions: Option<Vec<Question>>,
    /// Every pool of nodes.
    pub pools: BTreeMap<Arc<str>, PoolSight>,
    /// Did a pool or a node move since the last turn?
    pub pools_moved: bool,
    /// Every budget.
    pub budgets: BTreeMap<Arc<str>, BudgetSight>,
    /// What every `ResourceQuota` leaves to pipelines.
    pub quotas: BTreeMap<Arc<str>, Arc<Budget>>,
}

/// One pipeline as the cluster shows it.
#[derive(Debug, Clone)]
pub struct Sight {
    /// Which one.
    pub id: PipelineId,
    /// uid of the object.
    pub uid: Arc<str>,
    /// Its `resourceVersion`.
    pub resource_version: Arc<str>,
    /// Its generation.
    pub generation: i64,
    /// Its status as last seen.
    pub status: Arc<PipelineStatus>,
    /// What is asked for; `None` when a fault forbids to decide on it.
    pub pipeline: Option<Arc<Pipeline>>,
    /// What is wrong with what was written.
    pub faults: Arc<[Fault]>,
    /// Its targets, in stage order.
    pub targets: Vec<Target>,
    /// What its status remembers, in stage order.
    pub recalled: Vec<Option<Recalled>>,
    /// Readings that the cluster itself answers: what pods use, how many there are, a Secret or Connection that is lacking.
    pub answered: Vec<(QuestionId, Observation)>,
    /// What its stages cost in an hour, in stage order, by pool; `None` where the price of a node is unknown.
    pub costs: Vec<BTreeMap<Arc<str>, Option<f64>>>,
    /// Names of the budgets and of the quotas over its namespace.
    pub budgets: Vec<Arc<str>>,
    /// What one replica of each stage uses, in stage order; empty where it shares nothing: no budget is over it, no pool of it has limits.
    pub per_replica: Vec<PerReplica>,
    /// And for how many there are pods.
    pub present: Vec<u32>,
    /// Where the pods stand of those workloads whose going empties nodes, or for which room is kept.
    pub standing: Vec<(TargetId, Standing)>,
    /// What is known of the evictions of its pods.
    pub draining: Option<Draining>,
    /// What stands for room that is kept.
    pub reserves: Reserves,
    /// Does the API server know `CapacityBuffer`s, and may they be read?
    pub serves_buffers: bool,
    /// What the room costs in an hour that is kept for its stages, in stage order, by pool.
    pub room_costs: Vec<BTreeMap<Arc<str>, Option<f64>>>,
}

/// What all pipelines together need.
pub(super) struct Work {
    /// Kinds of target to look up.
    pub(super) kinds: Vec<KindId>,
    /// Are Secrets named that were not before?
    pub(super) has_new_secrets: bool,
    /// Are clusters of Strimzi named that were not before?
    pub(super) has_new_clusters: bool,
    /// What can be asked.
    pub(super) questions: Vec<Question>,
}

/// What the pods of all lanes on a pool show of it.
#[derive(Debug, Default)]
pub(super) struct Need {
    /// Of each lane.
    pub(super) lanes: Vec<LaneNeed>,
    /// CPUs that those with a node request; of pools with limits.
    pub(super) taken: f64,
    /// And what those request that are asked for and have none.
    pub(super) owed: Owed,
}

impl Stores {
    /// The due pipelines as they stand. Targets, Secrets and questions are worked out anew when something they lean on moved.
    pub(super) fn sights(&self, due: &BTreeSet<PipelineId>, now: Timestamp) -> Vec<Sight> {
        due.iter().filter_map(|id| self.sight(id, now)).collect()
    }

    fn sight(&self, id: &PipelineId, now: Timestamp) -> Option<Sight> {
        // The key that the store has: whoever keeps a name shares it.
        let (id, written) = self.pipelines.get_key_value(id)?;
        let meant = written.meant();
        let pipeline = meant.map(|meant| Arc::clone(&meant.pipeline));
        let stages = || pipeline.as_deref().map_or(&[][..], |pipeline| &pipeline.stages).iter();
        let targets = stages().map(|stage| self.target_of(id, stage, now)).collect();
        // What its pods cost and take is told by the pipeline that has them.
        let watches = |stage: &Stage| stage.targets().any(|it| self.is_anothers(id, stage, it));
        let costs: Vec<_> = stages()
            .map(|stage| if watches(stage) { BTreeMap::new() } else { self.costs_of(stage, now) })
            .collect();
        let budgets = self.budgets_over(id);
        // What shares something has to know what it takes of it.
        let mut lanes = stages().flat_map(|stage| &stage.lanes);
        let shares = !budgets.is_empty() || lanes.any(|lane| self.nodes.has_limits(&lane.pool));
        let counted = if shares { costs.len() } else { 0 };
        let (per_replica, present) = stages()
            .zip(&costs)
            .take(counted)
            .map(|(stage, costs)| {
                if watches(stage) {
                    (PerReplica::NOTHING, 0)
                } else {
                    self.per_replica(stage, costs, now)
                }
            })
            .unzip();
        let packing = stages()
            .filter(|stage| stage.packs || stage.headroom.is_some())
            .flat_map(Stage::targets);
        let standing = packing
            .filter_map(|target| Some((target.clone(), self.standing(target, now)?)))
            .collect();
        let draining = self.draining(id, &written.uid, stages().as_slice(), now);
        let reserves = self.reserves_of(id, &written.uid, now);
        let room_costs =
            stages().map(|stage| self.room_costs(id, stage, reserves.seen(), now)).collect();
        let recalled = stages()
            .map(|stage| {
                let status =
                    written.status.stages.iter().find(|known| *known.name == *stage.name)?;
                Some(status.recalled())
            })
            .collect();
        let failed = |label: &'static str, message: String| {
            let missing = Missing {
                label: label.into(),
                message: message.into(),
                is_lasting: true,
                since: now,
            };
            Observation::Failed(missing)
        };
        let refused =
            meant.iter().flat_map(|meant| &meant.unanswerable).map(|(question, fault)| {
                (question.clone(), failed(fault.code.label(), fault.to_string()))
            });
        let lacking = meant.iter().flat_map(|meant| &meant.questions).filter_map(|draft| {
            let (label, message) = self.lacking(draft)?;
            Some((draft.id.clone(), failed(label, message)))
        });
        let inside = meant
            .iter()
            .flat_map(|meant| &meant.inside)
            .filter_map(|draft| Some((draft.id.clone(), self.inside(draft, now)?)));
        let answered = refused.chain(lacking).chain(inside).collect();
        Some(Sight {
            id: id.clone(),
            uid: Arc::clone(&written.uid),
            resource_version: Arc::clone(&written.resource_version),
            generation: written.generation,
            status: Arc::clone(&written.status),
            pipeline,
            faults: written.faults(),
            targets,
            recalled,
            answered,
            costs,
            budgets,
            per_replica,
            present,
            standing,
            draining,
            reserves,
            serves_buffers: self.serves_buffers(),
            room_costs,
        })
    }

    /// What is known of the workload of a stage: of its lanes together, where it has lanes. One that cannot be scaled holds them all.
    fn target_of(&self, id: &PipelineId, stage: &Stage, now: Timestamp) -> Target {
        if stage.lanes.is_empty() {
            return self.target_for(id, stage, &stage.target);
        }
        let mut lanes = Vec::with_capacity(stage.lanes.len());
        for lane in &stage.lanes {
            match self.target_for(id, stage, &lane.target) {
                Target::Seen(workload) => {
                    lanes.push(LaneSeen { workload, places: self.places(&lane.target, now) });
                }
                other @ (Target::Unseen | Target::Unusable(_)) => return other,
            }
        }
        Target::Seen(Workload::of_lanes(lanes))
    }

    /// What the pods of all lanes show of each pool.
    pub(super) fn needs(&self, now: Timestamp) -> BTreeMap<Arc<str>, Need> {
        let mut needs: BTreeMap<_, Need> = BTreeMap::new();
        // Two pipelines may name one workload.
        let mut counted = BTreeSet::new();
        for lane in self.lanes() {
            if !counted.insert((&lane.pool, &lane.target)) {
                continue;
            }
            let need = needs.entry(Arc::clone(&lane.pool)).or_default();
            let readiness = self.readiness(&lane.target);
            need.lanes.push(LaneNeed {
                target: lane.target.clone(),
                waiting: self.waits_since(&lane.target, now),
                served: readiness.since,
                placed: readiness.placed,
                signs: self.nodes.said_of(lane, now),
            });
            if self.nodes.has_limits(&lane.pool) {
                let asked = self.asked(&lane.target);
                need.taken += asked.taken;
                need.owed.join(&asked.owed);
            }
        }
        needs
    }

    /// What a stage costs in an hour, by pool.
    fn costs_of(&self, stage: &Stage, now: Timestamp) -> BTreeMap<Arc<str>, Option<f64>> {
        let mut costs = BTreeMap::new();
        if !self.nodes.has_pools() {
            return costs;
        }
        for (pool, cost) in stage.targets().flat_map(|target| self.costs(target, now)) {
            let sum = costs.entry(pool).or_insert(Some(0.0));
            *sum = sum.zip(cost).map(|(sum, cost)| sum + cost);
        }
        costs
    }

    /// What is known of a target, for a stage of one of the pipelines that name it. Who only observes it is refused by nobody.
    fn target_for(&self, id: &PipelineId, stage: &Stage, target: &TargetId) -> Target {
        match self.holder(target) {
            Some(holder) if holder != id && stage.mode == Mode::Enforce => {
                Target::Unusable(Unusable::TakenBy(holder.to_string()))
            }
            _ => self.target(target),
        }
    }

    /// Does the stage only observe a target that another pipeline has?
    fn is_anothers(&self, id: &PipelineId, stage: &Stage, target: &TargetId) -> bool {
        stage.mode == Mode::Observe && self.holder(target).is_some_and(|holder| holder != id)
    }

    /// Which pipeline has a target: of those that enforce a count there the oldest. One that is paused keeps what it has, since a pause
    /// that lets another one write would stop nothing.
    fn holder(&self, target: &TargetId) -> Option<&PipelineId> {
        let enforces = |stage: &Stage| {
            stage.mode == Mode::Enforce && stage.targets().any(|named| named == target)
        };
        let enforcing = self.targets.owners(target)?.iter().filter_map(|id| {
            let written = self.pipelines.get(id)?;
            let is_one = written.meant()?.pipeline.stages.iter().any(enforces);
            is_one.then_some((written.created, id))
        });
        enforcing.min().map(|(_, id)| id)
    }

    /// Why a question cannot be asked for want of a Secret; `None` when it can, or when the Secret is still being read.
    pub(super) fn lacking(&self, draft: &QuestionDraft) -> Option<(&'static str, String)> {
        match self.credentials(draft) {
            Ok(_) | Err(NoSecret::Awaited) => None,
            Err(NoSecret::Lasting { label, message }) => Some((label, message)),
        }
    }

    /// Works out what all pipelines together need.
    pub(super) fn work_out(&mut self) -> Work {
        let mut owners: BTreeMap<TargetId, Vec<PipelineId>> = BTreeMap::new();
        let mut wanted = BTreeSet::new();
        let mut clusters = BTreeSet::new();
        let mut questions = Vec::new();
        let before = std::mem::take(&mut self.in_use);
        let mut in_use = BTreeMap::new();
        let (mut laned, mut holding) = (BTreeSet::new(), BTreeSet::new());
        let mut keeps_room = false;
        let prices = self.price_drafts();
        let mut ask = |draft: &QuestionDraft| {
            wanted.extend(draft.secrets.iter().map(name_of));
            if let Some(strimzi) = &draft.strimzi {
                clusters.insert(strimzi::cluster_of(strimzi));
                wanted.extend(self.secrets_of(strimzi));
            }
            // What is still being read does not take away what serves.
            let credentials = match self.credentials(draft) {
                Ok(found) => Arc::new(found),
                Err(NoSecret::Awaited) => Arc::clone(before.get(&draft.address)?),
                Err(NoSecret::Lasting { .. }) => return None,
            };
            if credentials.has_any() {
                in_use.insert(draft.address.clone(), Arc::clone(&credentials));
            }
            Some(draft.with(credentials))
        };
        questions.extend(prices.iter().filter_map(&mut ask));
        for (id, written) in &self.pipelines {
            keeps_room |= written.status.stages.iter().any(|stage| stage.headroom.is_some());
            let Some(meant) = written.meant() else {
                holding.extend(written.asks_to_hold().then(|| id.clone()));
                continue;
            };
            keeps_room |= meant.pipeline.stages.iter().any(|stage| stage.headroom.is_some());
            for target in meant.pipeline.stages.iter().flat_map(Stage::targets) {
                let owners = owners.entry(target.clone()).or_default();
                if owners.last() != Some(id) {
                    owners.push(id.clone());
                }
            }
            if meant.pipeline.stages.iter().any(|stage| !stage.lanes.is_empty()) {
                laned.insert(id.clone());
            }
            if meant.pipeline.stages.iter().any(|stage| stage.holds) {
                holding.insert(id.clone());
            }
            questions.extend(meant.questions.iter().filter_map(&mut ask));
        }
        self.in_use = in_use;
        (self.laned, self.keeps_room) = (laned, keeps_room);
        // Whose a target is that several name may be another now: by a mode, or since one of them names it no more.
        self.dirty.extend(self.targets.contested());
        let kinds = self.targets.want(owners);
        self.dirty.extend(self.targets.contested());
        self.keep_drains(holding);
        let has_new_secrets = self.secrets.want(wanted);
        let has_new_clusters = self.strimzi.want(clusters);
        Work { kinds, has_new_secrets, has_new_clusters, questions }
    }

    /// What a question logs in with.
    fn credentials(&self, draft: &QuestionDraft) -> Result<Credentials, NoSecret> {
        let mut credentials = match &draft.strimzi {
            Some(strimzi) => self.looked_up(strimzi)?,
            None => Credentials::default(),
        };
        for wanted in &draft.secrets {
            let bytes = self.secrets.bytes(&name_of(wanted), &wanted.key)?;
            credentials.put(wanted.usage, bytes.to_vec());
        }
        Ok(credentials)
    }
}

fn name_of(wanted: &SecretWanted) -> Name {
    Name { namespace: wanted.namespace.as_str().into(), name: wanted.name.as_str().into() }
}
