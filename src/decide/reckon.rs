//! Where every queue of a stage tells its depth and nothing else: what came and was taken is reckoned by `depth`, and put on record as if
//! the queues had counted. Called by `knowledge` when it takes in what the sources say.

use std::time::Duration;

use super::batch::PACE;
use super::depth::Look;
use super::evidence::{Evidence, Seen, Trust};
use super::memory::StageMemory;
use super::pipeline::Stage;
use super::snapshot::{Queue, Reading, Target, Value};
use super::window::Window;
use super::writes::span;

/// A queue that has counted so lately is not reckoned.
const COUNTED: Duration = Duration::from_mins(10);
/// While arrivals cannot be seen, half as much is believed after this long at least, and so slowly that a count that turns out too low
/// uses up no more than this share of the objective until more pods are there; it takes so many seconds to notice.
const HALF_LIFE: f64 = 120.0;
const RISKED: f64 = 0.5;
const NOTICED: f64 = 15.0;

/// Does this queue tell its depth, and count nothing?
pub(super) fn is_depth_alone(queue: &Queue) -> bool {
    queue.partitions.is_empty() && (queue.arrived.is_none() || queue.served.is_none())
}

/// Is this a source of which the depth is all there is?
fn tells_depth_alone(seen: &Seen<'_>) -> bool {
    seen.queue().is_some_and(is_depth_alone)
}

impl StageMemory {
    /// Reckons what came and was taken where every queue of the stage tells its depth alone; all of them are taken together, since the
    /// same pods serve them, and stand in the record under the name of the first. Beside a queue that counts, depth is backlog only.
    pub(super) fn reckon(&mut self, stage: &Stage, evidence: &Evidence<'_>, target: &Target) {
        let queues = || evidence.sources.iter().filter(|seen| seen.queue().is_some());
        let Target::Seen(workload) = target else { return };
        let pace = stage.max_delay.or_else(|| stage.done_by.as_ref().map(|_| PACE));
        let (Some(first), Some(objective)) = (queues().next(), pace) else { return };
        let Some(newest) = queues().filter_map(|seen| seen.reading).map(|it| it.at).max() else {
            return;
        };
        let is_whole = |seen: &Seen<'_>| seen.trust == Trust::Fresh && tells_depth_alone(seen);
        let is_read = evidence.sources.iter().all(|seen| seen.reading.is_some());
        if !is_read || !queues().all(is_whole) || queues().any(|seen| self.counted_lately(seen)) {
            return;
        }
        let startup = self.pods.startup() + self.pods.rebalance();
        let window = Window::first(self.pods.startup(), self.pods.rebalance()).as_secs_f64();
        let slowly = std::f64::consts::LN_2 * (startup + NOTICED) * window;
        let look = Look {
            at: newest,
            depth: evidence.lag().unwrap_or(0),
            queues: u32::try_from(queues().count()).unwrap_or(u32::MAX),
            pods: workload.ready,
            told: self.rate.known(),
            is_former: self.rate.is_former(),
            half_life: HALF_LIFE.max(slowly / (RISKED * objective.as_secs_f64()).max(1.0)),
        };
        let tally = self.tally.get_or_insert_default();
        let (arrived, served) = tally.count(&look);
        self.rate.reckoned(tally.rate(), tally.hunch());
        let queue = Queue {
            backlog: look.depth,
            arrived: Some(arrived),
            served: Some(served),
            ..Queue::default()
        };
        let name = &first.source.name;
        let mut trace =
            self.traces.take(name).filter(|trace| trace.is_reckoned).unwrap_or_default();
        trace.is_reckoned = true;
        trace.push(&Reading { at: newest, value: Value::Queue(queue.clone()) }, &queue, true);
        self.traces.put(name, trace);
    }

    /// Has this queue counted what comes and goes a while ago? Then it will again.
    fn counted_lately(&self, seen: &Seen<'_>) -> bool {
        let trace = self.trace(&seen.source.name).filter(|trace| !trace.is_reckoned);
        let read = trace.and_then(|trace| trace.commits().0);
        read.zip(seen.reading).is_some_and(|(read, now)| span(read, now.at) < COUNTED)
    }
}
