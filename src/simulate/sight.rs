//! What a reading of a queue shows: late by the metrics' delay, or not at all when it is lost. Kept by `world` for each stage; the
//! same readings are lost for every policy.

use super::chance::{Chance, Tag, lot};
use super::ground::Ground;
use super::group::Group;
use super::policy::Offsets;
use super::queue::Queue;

/// The window on a queue.
#[derive(Debug)]
pub(super) struct Sight {
    /// What was read last.
    pub(super) shown: Vec<Offsets>,
    /// The readings of the last seconds, where metrics come late; a ring.
    past: Vec<Vec<Offsets>>,
    /// Outages: from, until.
    outages: Vec<(u32, u32)>,
    /// The first of them that is not over.
    outage: usize,
    lost: f64,
    tells_owners: bool,
    seed: u64,
    which: u64,
}

impl Sight {
    pub(super) fn new(ground: &Ground, seconds: u32, seed: u64, which: u64) -> Self {
        let mut chance = Chance::new(seed, Tag::Outages, which);
        let lasts = ground.lost.outage_lasts;
        let begins = chance.moments(ground.lost.outage_every.seconds(), lasts.seconds(), seconds);
        let outages = begins.iter().map(|&from| (from, from.saturating_add(lasts.steps())));
        let none = vec![Offsets::default(); ground.partitions as usize];
        let delay = ground.metric_delay.steps() as usize;
        Self {
            past: if delay == 0 { Vec::new() } else { vec![none.clone(); delay + 1] },
            shown: none,
            outages: outages.collect(),
            outage: 0,
            lost: ground.lost.share,
            tells_owners: ground.tells_owners,
            seed,
            which,
        }
    }

    /// Takes down what the queue says now, where it is shown later.
    pub(super) fn pass(&mut self, now: u32, queue: &Queue, group: &Group) {
        if self.past.is_empty() {
            return;
        }
        let slot = now as usize % self.past.len();
        queue.show(&mut self.past[slot]);
        if self.tells_owners {
            group.show(now, &mut self.past[slot]);
        }
    }

    /// Looks. Says whether the reading came.
    pub(super) fn look(&mut self, now: u32, queue: &Queue, group: &Group) -> bool {
        while self.outages.get(self.outage).is_some_and(|(_, until)| *until <= now) {
            self.outage += 1;
        }
        let is_out = self.outages.get(self.outage).is_some_and(|(from, _)| *from <= now);
        if is_out || lot(self.seed, Tag::Lost, self.which, u64::from(now)) < self.lost {
            return false;
        }
        if self.past.is_empty() {
            queue.show(&mut self.shown);
            if self.tells_owners {
                group.show(now, &mut self.shown);
            }
        } else {
            // The ring holds delay + 1 readings: the one after the newest is the oldest.
            let oldest = (now as usize + 1) % self.past.len();
            self.shown.copy_from_slice(&self.past[oldest]);
        }
        true
    }
}
