//! What decide remembers from turn to turn: learned rates, recent bids, last moves. Plain data, serializable, bounded: at most
//! 8 KiB a stage up to 48 partitions, then 96 bytes more for each; and 1 KiB for each lane.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::age::Trace;
use super::anomaly::Anomalies;
use super::batch::Batch;
use super::blind::Blind;
use super::capacity::{Drains, Lanes, Pools, Purses, Rooms};
use super::demand::Bid;
use super::depth::Tally;
use super::effect::Effect;
use super::enough::Enough;
use super::fleet::{Fleet, Voice};
use super::flow::Selectivity;
use super::forecast::{Band, Forecast};
use super::idle::Quiet;
use super::pipeline::{Mode, PipelineId, Stage};
use super::plan::Action;
use super::pods::Pods;
use super::rate::Rate;
use super::skew::Skew;
use super::snapshot::{Recalled, Workload};
use super::spike::Spikes;
use super::stage::{Answer, Turn};
use super::steady::Calm;
use super::stuck::Stuck;
use super::surge::Surge;
use super::writes::{Move, Writes};

/// Busy samples that the owner's hint and a recalled rate count for.
const HINT: u32 = 3;
const RECALLED: u32 = 10;

/// All that is remembered, by pipeline. A clone costs a pointer for each: a turn makes a pipeline's memory anew and leaves the old one to
/// whoever still holds it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    #[serde(with = "by_pipeline")]
    pipelines: BTreeMap<PipelineId, Arc<PipelineMemory>>,
    #[serde(default)]
    fleet: Arc<Fleet>,
    #[serde(default)]
    pools: Arc<Pools>,
    #[serde(default)]
    purses: Arc<Purses>,
}

/// What is remembered of one pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PipelineMemory {
    /// uid of the object it belongs to; another uid starts afresh.
    pub(super) uid: Arc<str>,
    /// By name, so that stages may be added and reordered.
    pub(super) stages: ByName<StageMemory>,
    /// What each server it asks said last.
    #[serde(default)]
    pub(super) voices: Vec<Voice>,
    /// What was written of late of the evictions of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) drains: Option<Box<Drains>>,
    /// Room that is to go, since no stage keeps it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unwanted: Option<Box<Rooms>>,
}

/// What is remembered of one stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct StageMemory {
    /// Has it believed what status and the owner say?
    pub(super) is_started: bool,
    /// Did an earlier life leave word of an open down window?
    pub(super) is_warm: bool,
    /// Since when that word holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) warm_since: Option<Timestamp>,
    /// First complete reading of this life.
    pub(super) seen_since: Option<Timestamp>,
    /// How each queue moved, by the name of its source.
    pub(super) traces: ByName<Trace>,
    /// What is reckoned where queues tell their depth alone.
    #[serde(default)]
    pub(super) tally: Option<Box<Tally>>,
    /// What one replica gets through.
    pub(super) rate: Rate,
    /// How unevenly the work falls on partitions.
    pub(super) skew: Skew,
    /// How much more may come before new pods are at work.
    pub(super) surge: Surge,
    /// The least constant count that would have been enough, where an objective alone sizes it.
    #[serde(default)]
    pub(super) enough: Option<Box<Enough>>,
    /// What is usual at this time of day.
    #[serde(default)]
    pub(super) forecast: Forecast,
    /// What comes of what the stages above send.
    pub(super) selectivity: Selectivity,
    /// Was it late with all the replicas it may have?
    pub(super) is_full: bool,
    /// How long pods take.
    pub(super) pods: Pods,
    /// How long nothing has happened.
    pub(super) quiet: Quiet,
    /// By when it is to be done, and whether it is.
    #[serde(default)]
    pub(super) batch: Option<Box<Batch>>,
    /// How long nothing has been seen.
    pub(super) blind: Blind,
    /// Partitions that may be stuck.
    pub(super) stuck: Stuck,
    /// Bare numbers of late.
    pub(super) spikes: Spikes,
    /// What steps up have brought.
    pub(super) effect: Effect,
    /// What is usual, so that what is odd can be told.
    pub(super) anomalies: Anomalies,
    /// Recent wishes and moves.
    pub(super) calm: Calm,
    /// Our own writes and the hands of others.
    pub(super) writes: Writes,
    /// The same of each lane, and how the lanes make one.
    #[serde(default)]
    pub(super) lanes: Option<Box<Lanes>>,
    /// Room that is kept on nodes.
    #[serde(default)]
    pub(super) rooms: Option<Box<Rooms>>,
}

/// A few things by name. A `BTreeMap` would set eleven places aside for the first of them, each as large as a stage's memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ByName<T>(Vec<(Arc<str>, T)>);

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ByName<T> {
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.find(name).ok().and_then(|at| self.0.get(at)).map(|(_, thing)| thing)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.find(name).ok().and_then(|at| self.0.get_mut(at)).map(|(_, thing)| thing)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<T> {
        self.find(name).ok().map(|at| self.0.remove(at).1)
    }

    pub(super) fn put(&mut self, name: &Arc<str>, thing: T) {
        match self.find(name) {
            Ok(at) => self.0[at].1 = thing,
            Err(at) => self.0.insert(at, (Arc::clone(name), thing)),
        }
    }

    pub(super) fn keep(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| is_kept(name));
    }

    pub(super) fn keep_if(&mut self, is_kept: impl Fn(&T) -> bool) {
        self.0.retain(|(_, thing)| is_kept(thing));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &T)> {
        self.0.iter().map(|(name, thing)| (name, thing))
    }

    /// Changes each.
    pub(super) fn change(&mut self, mut change: impl FnMut(&str, &mut T)) {
        self.0.iter_mut().for_each(|(name, thing)| change(name, thing));
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, thing)| thing)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, thing)| thing)
    }

    /// Bytes of the list and of what its things hold besides.
    pub(super) fn weight(&self, of: impl Fn(&T) -> usize) -> usize {
        let places = self.0.capacity() * size_of::<(Arc<str>, T)>();
        places + self.0.iter().map(|(name, thing)| name.len() + 16 + of(thing)).sum::<usize>()
    }
}

impl Memory {
    /// Bytes it takes, the heap included: what its bound is tested with. Text in reasons is not counted; it is cut short where it
    /// comes from.
    pub fn weight(&self) -> usize {
        self.pipelines.values().map(|memory| memory.weight()).sum()
    }

    /// Takes in what a turn changed.
    pub fn merge(&mut self, changed: Self) {
        self.pipelines.extend(changed.pipelines);
        self.fleet = changed.fleet;
        self.pools = changed.pools;
        self.purses = changed.purses;
    }

    /// What is remembered of one pipeline alone.
    #[must_use]
    pub fn only(&self, pipeline: &PipelineId) -> Self {
        let known = self.pipelines.get_key_value(pipeline);
        Self {
            pipelines: known
                .map(|(id, known)| (id.clone(), Arc::clone(known)))
                .into_iter()
                .collect(),
            fleet: Arc::default(),
            pools: Arc::clone(&self.pools),
            purses: Arc::clone(&self.purses),
        }
    }

    /// The arrivals that would be nothing unusual for a stage at each of these instants, past or to come, to a quarter of an hour;
    /// `None` where too little has been seen of that kind of day.
    pub fn usual(
        &self,
        pipeline: &PipelineId,
        stage: &str,
        instants: impl Iterator<Item = Timestamp>,
    ) -> Vec<Option<Band>> {
        let known = self.stage(pipeline, stage);
        instants.map(|at| known?.forecast.band(at)).collect()
    }

    /// What is remembered of one stage.
    pub(super) fn stage(&self, pipeline: &PipelineId, stage: &str) -> Option<&StageMemory> {
        self.pipelines.get(pipeline)?.stages.get(stage)
    }

    /// Forgets a deleted pipeline.
    pub fn forget(&mut self, pipeline: &PipelineId) {
        self.pipelines.remove(pipeline);
        Arc::make_mut(&mut self.fleet).forget(pipeline);
        Arc::make_mut(&mut self.purses).forget(pipeline);
    }

    /// What is remembered of a pipeline, if it is still the same object.
    pub(super) fn of(&self, pipeline: &PipelineId, uid: &Arc<str>) -> Arc<PipelineMemory> {
        match self.pipelines.get(pipeline) {
            Some(known) if known.uid == *uid => Arc::clone(known),
            _ => Arc::new(PipelineMemory { uid: Arc::clone(uid), ..PipelineMemory::default() }),
        }
    }

    /// Puts what is remembered of a pipeline.
    pub(super) fn put(&mut self, pipeline: PipelineId, memory: PipelineMemory) {
        self.pipelines.insert(pipeline, Arc::new(memory));
    }

    /// Changes what is remembered of a pipeline.
    pub(super) fn change(
        &mut self,
        pipeline: &PipelineId,
        change: impl FnOnce(&mut PipelineMemory),
    ) {
        if let Some(known) = self.pipelines.get_mut(pipeline) {
            change(Arc::make_mut(known));
        }
    }

    /// Takes over what another remembers of a pipeline.
    pub(super) fn share(&mut self, from: &Self, pipeline: &PipelineId) {
        if let Some((id, known)) = from.pipelines.get_key_value(pipeline) {
            self.pipelines.insert(id.clone(), Arc::clone(known));
        }
    }

    /// And of all together.
    pub(super) fn share_house(&mut self, from: &Self) {
        self.fleet = Arc::clone(&from.fleet);
        self.pools = Arc::clone(&from.pools);
        self.purses = Arc::clone(&from.purses);
    }

    /// What is remembered of all pipelines together.
    pub(super) fn fleet(&self) -> Fleet {
        Fleet::clone(&self.fleet)
    }

    /// Puts what is remembered of all pipelines together.
    pub(super) fn put_fleet(&mut self, fleet: Fleet) {
        self.fleet = Arc::new(fleet);
    }

    /// What is believed of all pools of nodes.
    pub(super) fn pools(&self) -> Pools {
        Pools::clone(&self.pools)
    }

    /// Puts what is believed of all pools of nodes.
    pub(super) fn put_pools(&mut self, pools: Pools) {
        self.pools = Arc::new(pools);
    }

    /// What was asked of all budgets.
    pub(super) fn purses(&self) -> Purses {
        Purses::clone(&self.purses)
    }

    /// Puts what was asked of all budgets.
    pub(super) fn put_purses(&mut self, purses: Purses) {
        self.purses = Arc::new(purses);
    }

    /// How many pipelines there are.
    pub(super) fn len(&self) -> usize {
        self.pipelines.len()
    }

    /// How many pipelines ask this server.
    pub(super) fn asking(&self, origin: &str) -> usize {
        let asks = |memory: &&Arc<PipelineMemory>| {
            memory.voices.iter().any(|voice| *voice.origin == *origin)
        };
        self.pipelines.values().filter(asks).count()
    }
}

impl StageMemory {
    /// The first turn of this life: believes what status and the owner say.
    pub(super) fn start(&mut self, stage: &Stage, recalled: Option<&Recalled>) {
        if !self.is_started {
            self.is_started = true;
            if let Some(recalled) = recalled {
                self.rate.believe(recalled.rate_per_replica, RECALLED);
                self.rate.recall_former(recalled.former_rate);
                self.pods.believe(recalled.startup, recalled.rebalance);
                if let Some(held) = recalled.held {
                    self.calm.recall(held);
                    self.is_warm = true;
                    self.warm_since = Some(held.1);
                }
            }
        }
        self.rate.believe(stage.rate_hint, HINT);
        self.pods.believe(stage.startup_hint, None);
    }

    /// Takes in what became of earlier writes and what the target says now. Returns the accepted moves, oldest first.
    pub(super) fn settle(&mut self, turn: &Turn<'_>, workload: &Workload) -> Vec<Move> {
        let (at, may_act, outcomes) = (turn.at, turn.may_act, &turn.outcomes);
        if turn.stage.lanes.is_empty() {
            self.lanes = None;
            let moves = self.writes.settle(workload, outcomes, at, may_act);
            if turn.stage.mode == Mode::Observe {
                self.writes.forgive();
            }
            return moves;
        }
        let lanes = self.lanes.get_or_insert_default();
        lanes.give_up_after(self.pods.overdue());
        lanes.settle(turn.stage, workload, outcomes, at, may_act)
    }

    /// Takes in what became of writes of room, and what stands for it.
    pub(super) fn settle_rooms(&mut self, turn: &Turn<'_>) {
        if let Some(rooms) = &mut self.rooms {
            rooms.settle(turn.of_rooms.iter().copied(), turn.reserves);
        }
    }

    /// The bid that stands while the target's count cannot be trusted.
    pub(super) fn stands(&self, stage: &Stage, workload: &Workload) -> Option<Bid> {
        match &self.lanes {
            Some(lanes) => lanes.stands(stage, workload),
            None => self.writes.stands(workload),
        }
    }

    /// When our last write was accepted.
    pub(super) fn last_write(&self) -> Option<Timestamp> {
        self.lanes.as_ref().map_or_else(|| self.writes.last(), |lanes| lanes.last())
    }

    /// When to look again for what became of writes.
    pub(super) fn next_write(&self, at: Timestamp) -> Option<Timestamp> {
        let rooms = self.rooms.as_ref().and_then(|rooms| rooms.next(at));
        let counts = match &self.lanes {
            Some(lanes) => lanes.next(at),
            None => self.writes.next(at),
        };
        counts.into_iter().chain(rooms).min()
    }
}

impl PipelineMemory {
    /// Notes that a stage's actions are on their way, if it has any, and when to look for their outcome.
    pub(super) fn ask(&mut self, answer: &mut Answer, at: Timestamp) {
        let Some(stage) = self.stages.get_mut(&answer.verdict.stage.name) else { return };
        if let (Some(plan), Some(lanes)) = (&answer.plan, &mut stage.lanes) {
            lanes.plan(plan);
        }
        if answer.actions.is_empty() {
            return;
        }
        for action in &answer.actions {
            match (action, &action.scale().lane, &mut stage.lanes) {
                (Action::Reserve(reserve), ..) => {
                    stage.rooms.get_or_insert_default().ask(reserve, at);
                }
                (_, Some(pool), Some(lanes)) => lanes.ask(action, pool, at),
                _ => stage.writes.ask(action, at),
            }
        }
        let next = answer.verdict.next.into_iter().chain(stage.next_write(at));
        answer.verdict.next = next.filter(|&next| at < next).min();
    }

    fn weight(&self) -> usize {
        let stage = |stage: &StageMemory| {
            stage.traces.weight(Trace::weight)
                + stage.tally.as_ref().map_or(0, |_| size_of::<Tally>())
                + stage.batch.as_ref().map_or(0, |batch| size_of::<Batch>() + batch.weight())
                + stage.enough.as_ref().map_or(0, |_| size_of::<Enough>())
                + stage.rate.weight()
                + stage.skew.weight()
                + stage.forecast.weight()
                + stage.stuck.weight()
                + stage.spikes.weight()
                + stage.anomalies.weight()
                + stage.calm.weight()
                + stage.writes.weight()
                + stage.lanes.as_ref().map_or(0, |lanes| lanes.weight())
                + stage.rooms.as_ref().map_or(0, |rooms| rooms.weight())
        };
        let drains = self.drains.as_ref().map_or(0, |drains| size_of::<Drains>() + drains.weight());
        let voices = self.voices.capacity() * size_of::<Voice>();
        let unwanted = self.unwanted.as_ref().map_or(0, |rooms| rooms.weight());
        size_of::<Self>() + self.stages.weight(stage) + voices + drains + unwanted
    }
}

/// JSON has only text for keys, so the map is written as a list of pairs.
mod by_pipeline {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{PipelineId, PipelineMemory};

    type Map = BTreeMap<PipelineId, Arc<PipelineMemory>>;

    pub(super) fn serialize<S: Serializer>(map: &Map, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Map, D::Error> {
        Ok(Vec::<(PipelineId, Arc<PipelineMemory>)>::deserialize(from)?.into_iter().collect())
    }
}
