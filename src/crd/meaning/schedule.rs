//! The schedules of a stage: cron and time zones read, bounds checked against the stage's own.

use std::collections::BTreeSet;

use super::stage::MOST;
use super::{Reader, unreadable};
use crate::crd::pipeline::Stage as WrittenStage;
use crate::crd::rules;
use crate::decide::Schedule;

impl Reader<'_> {
    /// Reads all schedules of a stage, whose own most is `max`.
    pub(super) fn schedules(&mut self, at: &str, stage: &WrittenStage, max: u32) -> Vec<Schedule> {
        if stage.schedules.len() > 16 {
            self.refuse(format!("{at}.schedules"), "must have at most 16 items");
        }
        let mut names = BTreeSet::new();
        let mut schedules = Vec::new();
        for (index, written) in stage.schedules.iter().enumerate().take(16) {
            let at = format!("{at}.schedules[{index}]");
            self.text(format!("{at}.name"), &written.name, 63);
            if !names.insert(&written.name) {
                self.refuse(format!("{at}.name"), "another schedule has this name");
            }
            let least = written.replicas.min;
            let most = written.replicas.max;
            if let Some(least) = least {
                self.count(format!("{at}.replicas.min"), least, 0, MOST);
            }
            if let Some(most) = most {
                self.count(format!("{at}.replicas.max"), most, 1, MOST);
            }
            match (least, most) {
                (None, None) => {
                    self.refuse(format!("{at}.replicas"), "min or max must be set");
                }
                (Some(least), Some(most)) if most < least => {
                    self.refuse(format!("{at}.replicas.min"), rules::MIN_ABOVE_MAX);
                }
                (Some(least), _) if max < least => {
                    self.refuse(format!("{at}.replicas.min"), rules::SCHEDULE_ABOVE_MAX);
                }
                _ => {}
            }
            let zone = written.time_zone.as_deref().unwrap_or("UTC");
            let points = (written.start.as_str(), written.end.as_str());
            match Schedule::new(&written.name, points, zone, (least, most)) {
                Ok(schedule) => schedules.push(schedule),
                Err(wrong) => self.faults.push(unreadable(&at, wrong)),
            }
        }
        schedules
    }
}
