//! Splits the pipeline's objective over its stages, so that no path from first to last promises more than was asked.

use std::time::Duration;

use super::Reader;
use crate::decide::Stage;

/// What the paths into (or out of) a stage come to: for each number of unpinned stages on them, the most that is pinned.
type Paths = Vec<Option<Duration>>;

impl Reader<'_> {
    /// Gives every stage its delay. Pinned ones keep theirs; the others share what the tightest path through them leaves,
    /// equally. Where nobody wrote an objective or a threshold the whole has 60 s. Where some stages have one of their own, there is no
    /// whole to share: a stage with a threshold has no delay then, and one with nothing has 60 s for itself.
    pub(super) fn share_objective(&mut self, whole: Option<Duration>, stages: &mut [Stage]) {
        if whole.is_none() {
            for stage in stages.iter_mut() {
                let has_threshold = stage.sources.iter().any(|source| source.per_replica.is_some());
                stage.is_default_objective =
                    stage.max_delay.is_none() && stage.done_by.is_none() && !has_threshold;
            }
        }
        let is_silent = stages.iter().all(|stage| stage.is_default_objective);
        let default = is_silent.then_some(Stage::DEFAULT_OBJECTIVE);
        let Some(whole) = whole.or(default) else {
            for stage in stages.iter_mut().filter(|stage| stage.is_default_objective) {
                stage.max_delay = Some(Stage::DEFAULT_OBJECTIVE);
            }
            return;
        };
        // A batch is no part of the way that the pipeline's objective is about.
        let batch = |stage: &Stage| stage.done_by.as_ref().map(|_| Duration::ZERO);
        let pinned: Vec<Option<Duration>> =
            stages.iter().map(|stage| stage.max_delay.or_else(|| batch(stage))).collect();
        let feeds: Vec<Vec<usize>> = stages.iter().map(|stage| stage.after.clone()).collect();
        let into = paths(&feeds, &pinned);
        let out_of = {
            let count = feeds.len();
            let mut back = vec![Vec::new(); count];
            for (index, above) in feeds.iter().enumerate() {
                for feed in above {
                    if let Some(entry) = back.get_mut(count - 1 - feed) {
                        entry.push(count - 1 - index);
                    }
                }
            }
            let reversed: Vec<_> = pinned.iter().rev().copied().collect();
            let mut paths = paths(&back, &reversed);
            paths.reverse();
            paths
        };
        for (index, stage) in stages.iter_mut().enumerate() {
            let (Some(into), Some(out_of)) = (into.get(index), out_of.get(index)) else { continue };
            let own = pinned.get(index).copied().flatten();
            match (share(whole, into, out_of, own), own) {
                (Some(share), None) => stage.max_delay = Some(share),
                (Some(_), Some(_)) => {}
                (None, _) => {
                    let path = if own.is_some() {
                        format!("spec.stages[{index}].objective.maxDelay")
                    } else {
                        "spec.objective.maxDelay".to_owned()
                    };
                    let message = format!(
                        "what is pinned on a path through stage {} leaves nothing of the pipeline's objective",
                        stage.name
                    );
                    self.refuse(path, message);
                }
            }
        }
    }
}

/// The paths that end in each stage, itself counted.
fn paths(feeds: &[Vec<usize>], pinned: &[Option<Duration>]) -> Vec<Paths> {
    let mut all: Vec<Paths> = Vec::with_capacity(feeds.len());
    for (index, above) in feeds.iter().enumerate() {
        let mut here: Paths = vec![None; feeds.len() + 1];
        if above.is_empty() {
            put(&mut here, 0, Duration::ZERO);
        }
        for before in above.iter().filter_map(|feed| all.get(*feed)) {
            for (free, most) in before.iter().enumerate() {
                if let Some(most) = most {
                    put(&mut here, free, *most);
                }
            }
        }
        let own = pinned.get(index).copied().flatten();
        if let Some(own) = own {
            for most in here.iter_mut().flatten() {
                *most = most.saturating_add(own);
            }
        } else {
            here.insert(0, None);
            here.truncate(feeds.len() + 1);
        }
        all.push(here);
    }
    all
}

/// Keeps the larger.
fn put(paths: &mut Paths, free: usize, pinned: Duration) {
    if let Some(entry) = paths.get_mut(free) {
        *entry = Some(entry.map_or(pinned, |most| most.max(pinned)));
    }
}

/// The least that any path through a stage leaves for each of its unpinned stages, in whole milliseconds; `None` when a path has
/// nothing left. `own` is the stage's own pin, which both sides count.
fn share(whole: Duration, into: &Paths, out_of: &Paths, own: Option<Duration>) -> Option<Duration> {
    let mut least: Option<Duration> = None;
    for (before, pinned_before) in into.iter().enumerate() {
        for (behind, pinned_behind) in out_of.iter().enumerate() {
            let (Some(pinned_before), Some(pinned_behind)) = (pinned_before, pinned_behind) else {
                continue;
            };
            let pinned = pinned_before
                .saturating_add(*pinned_behind)
                .saturating_sub(own.unwrap_or_default());
            let free = before + behind - usize::from(own.is_none() && before + behind > 0);
            let left = whole.checked_sub(pinned)?;
            if free == 0 {
                // All are pinned: they may use the whole, not more.
                least = Some(least.map_or(left, |least| least.min(left)));
                continue;
            }
            let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
                / u64::try_from(free).unwrap_or(u64::MAX);
            if millis == 0 {
                return None;
            }
            let each = Duration::from_millis(millis);
            least = Some(least.map_or(each, |least| least.min(each)));
        }
    }
    least
}
