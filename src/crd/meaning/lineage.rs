//! What a lineage source asks: the age of a dataset. Where events come in is the daemon's own to say, so there is no connection.

use std::time::Duration;

use super::Reader;
use super::source::Draft;
use crate::crd::source::Lineage;
use crate::decide::Stage;
use crate::observe::lineage::{self, Dataset};
use crate::observe::{Address, Ask};

/// How often the other replicas are asked what they have heard when nobody says; an event that comes here is seen at once.
const POLL: Duration = Duration::from_secs(5);

impl Reader<'_> {
    /// Reads a lineage source. Without a threshold, one replica more for each time that the age fits the stage's objective: that is
    /// filled in when the objective is known.
    pub(super) fn lineage(&mut self, at: &str, written: &Lineage) -> Draft {
        let per_replica = self.threshold(format!("{at}.perReplica"), written.per_replica.as_ref());
        self.text(format!("{at}.namespace"), &written.namespace, 1024);
        self.text(format!("{at}.dataset"), &written.dataset, 1024);
        let ask = Ask::Lineage(Dataset {
            namespace: written.namespace.clone(),
            name: written.dataset.clone(),
        });
        let place = Ok((Address::Lineage(lineage::Address), Vec::new()));
        Draft { default_poll: POLL, per_replica, ask, place }
    }

    /// An age is compared with the objective of its stage unless a threshold is written: while the dataset is young enough there is nothing
    /// to do, and nobody is woken.
    pub(super) fn fit_ages(&self, stages: &mut [Stage]) {
        for stage in stages {
            for source in &mut stage.sources {
                let asked = self.questions.iter().find(|asked| asked.id == source.question);
                if !asked.is_some_and(|asked| matches!(asked.ask, Ask::Lineage(_))) {
                    continue;
                }
                let objective = stage.max_delay.map(|delay| delay.as_secs_f64());
                source.per_replica = source.per_replica.or(objective);
                if source.activation <= 0.0 {
                    source.activation = source.per_replica.unwrap_or(0.0);
                }
            }
        }
    }
}
