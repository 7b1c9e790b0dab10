//! The joint between the simulated world and the rules that size a stage in it: what a rule may read, and what it answers.
//! The world shows a [`View`] at each look and carries the answer out; the rules themselves are in `peers`, and Penstock's own in
//! `penstock`.

use super::nodes::Seen;

/// What one stage's policy can read at an instant: what its real twin's metrics would say. Seconds and items.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Seconds since the scenario began.
    pub at: f64,
    /// `spec.replicas`.
    pub desired: u32,
    /// Pods that exist.
    pub current: u32,
    /// Of those, Ready.
    pub ready: u32,
    /// When the youngest Ready pod became so, in seconds since the scenario began.
    pub ready_since: Option<f64>,
    /// What the queue says; `None` when this reading was lost (the poll failed).
    pub queue: Option<QueueView<'a>>,
    /// Share of their time that the Ready consumers worked, mean of the last 15 s, 0 to 1: what a CPU gauge shows.
    pub busy: f64,
    /// Items a second that one replica really does now. Only for policies that are granted it.
    pub true_rate: f64,
    /// Never fewer replicas than this, says the pipeline.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// Its lanes and their pools; `None` where it has no lanes.
    pub lanes: Option<&'a Seen>,
}

/// A queue as it was read. Offsets are those of a fluid: they have fractions.
#[derive(Debug, Clone, Copy)]
pub struct QueueView<'a> {
    /// Each partition.
    pub partitions: &'a [Offsets],
    /// Sum of the ends.
    pub arrived: f64,
    /// Sum of what is committed.
    pub committed: f64,
    /// Seconds between two commits of a consumer.
    pub commit_interval: f64,
}

/// Where one partition ends, where its consumer last committed, and who that is. Items.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Offsets {
    /// Items that ever arrived.
    pub end: f64,
    /// Items that are committed.
    pub committed: f64,
    /// Which consumer holds it: a number that is the same for all partitions of one; `None` while nobody does (a rebalance) or
    /// when the source does not tell.
    pub owner: Option<u32>,
}

/// A rule that sizes one stage.
pub trait Policy: Send {
    /// What the table calls it.
    fn name(&self) -> String;

    /// Seconds between its looks.
    fn period(&self) -> f64;

    /// Replicas it wants now; `view.desired` changes nothing. The world clamps to 0 and max only, so that a rule's own floor is
    /// its own.
    fn decide(&mut self, view: &View<'_>) -> u32;
}
