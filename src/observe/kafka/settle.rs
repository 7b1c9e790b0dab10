//! A topic that stood still and moves again may be in the middle of a burst. Its ends are read again shortly after, until they stand, so that
//! what comes at once is seen at once, and one move answers it instead of two. Called by `read.rs` after the ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::protocol::Spec;
use super::read::Kafka;
use super::topic::Topic;

/// Fewer items than this are worth no second look.
const BURST: i64 = 16;
/// The time between two looks, and how many there are at most: an item a poll later is early enough for what goes on coming.
const PAUSE: Duration = Duration::from_millis(100);
const LOOKS: usize = 3;

impl Kafka {
    /// Looks again at the topics that have just begun to move, as long as they do and time allows.
    pub(super) async fn settle_ends(&mut self, deadline: Instant) {
        let begun = |topic: &Topic| {
            let now = topic.end_sum()?;
            (BURST <= now - topic.stood_at?).then_some(now)
        };
        let mut bursts: BTreeMap<Arc<str>, i64> = self
            .topics
            .iter()
            .filter_map(|(name, topic)| Some((Arc::clone(name), begun(topic)?)))
            .collect();
        for _ in 0..LOOKS {
            if bursts.is_empty() || deadline < Instant::now() + 2 * PAUSE {
                return;
            }
            tokio::time::sleep(PAUSE).await;
            let specs = BTreeSet::from([Spec::End, Spec::StableEnd]);
            let wanted = bursts.keys().map(|name| (Arc::clone(name), specs.clone())).collect();
            self.ask_offsets(&wanted, deadline).await;
            bursts.retain(|name, before| {
                let now =
                    self.topics.get(name).and_then(|topic| topic.end_sum()).unwrap_or(*before);
                std::mem::replace(before, now) != now
            });
        }
    }
}
