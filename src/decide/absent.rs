//! A stage whose workload is not there for us: not looked up yet, or one that cannot be scaled. What is told of it then, and the room on nodes
//! that was kept for it.

use super::knowledge::Known;
use super::memory::StageMemory;
use super::plan::Verdict;
use super::reason::Reason;
use super::snapshot::Target;
use super::stage::{Answer, Turn};

impl Turn<'_> {
    /// Holds a stage without a workload. Room is given back where someone must mend something first; where nobody has looked yet, it stays.
    pub(super) fn without_target(&self, memory: &mut StageMemory, reason: Reason) -> Answer {
        memory.is_full = false;
        let known = Known::of(self, memory, None, memory.arrivals(&self.evidence));
        let is_lasting = matches!(self.target, Target::Unusable(_));
        let (actions, asked) =
            if is_lasting { self.give_room_back(memory) } else { (Vec::new(), None) };
        let (rooms, anomalies) = self.rooms(memory);
        let verdict = Verdict {
            stage: self.id(),
            replicas: None,
            why: vec![reason],
            signals: known.signals(self),
            held: None,
            next: memory.rooms.as_ref().and_then(|rooms| rooms.next(self.at)),
            anomalies,
            lanes: Vec::new(),
            rooms,
        };
        Answer { actions, asked, ..Answer::of(verdict) }
    }
}
