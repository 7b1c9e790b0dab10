//! Room that is kept on nodes for replicas to come: what stands for it, as it is seen and as it shall be, and how much of it a stage keeps. Plain
//! arithmetic; `headroom` joins it to the turn.
//!
//! A reserve is raised at once and lowered late: a node that was let go takes minutes to come back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::figures::{replicas, span};
use super::super::pipeline::{PipelineId, Stage, TargetId};
use super::super::writes::later;

/// Room that nobody needs any more is kept for so long: a peak comes in waves, and a node takes minutes to come back.
const LINGERS: Duration = Duration::from_mins(10);
/// What a label's value, and so the name of a reserve, may fill.
const NAME_LIMIT: usize = 63;
/// The end of each name, which tells it from others that are cut alike: a dash and eight digits.
const TAIL: usize = 9;

/// How room is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Method {
    /// By a `CapacityBuffer`: who makes nodes keeps the room free.
    Buffer,
    /// By pods of the same shape and of a lower priority than any, which real ones push out.
    Placeholders,
}

impl Method {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Buffer, Self::Placeholders];

    /// The object that stands for it.
    pub fn object(self, namespace: &Arc<str>, name: &str) -> TargetId {
        let (api_version, kind) = match self {
            Self::Buffer => ("autoscaling.x-k8s.io/v1beta1", "CapacityBuffer"),
            Self::Placeholders => ("apps/v1", "Deployment"),
        };
        TargetId::object(namespace, api_version, kind, name)
    }
}

/// What stands for room that is kept, as the cluster shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReserveSeen {
    /// Name of the object; [`reserve_name`] says whose it is.
    pub name: Arc<str>,
    /// How it keeps room.
    pub method: Method,
    /// uid of the object: another of its name is left alone.
    pub uid: Arc<str>,
    /// Replicas it keeps room for.
    pub replicas: u32,
    /// Of these, those that have room on a node now; `None` where nobody can tell.
    pub placed: Option<u32>,
    /// And on which nodes, where pods stand for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<(Arc<str>, u32)>,
    /// The workload it is kept for, as [`reserve_of`] has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Arc<str>>,
    /// Are its pods made otherwise than they would be now: of another image, or of another priority?
    #[serde(default)]
    pub is_other: bool,
    /// The revision of the workload that its pods are shaped after, where that is known. A buffer has none: it names the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Arc<str>>,
    /// Has anybody taken it up as it stands? Of a buffer: does it have conditions of its generation?
    pub is_tended: bool,
    /// What stands in the way of it, in the words of who tends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Arc<str>>,
}

/// What is known of the objects that stand for the room of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reserves {
    /// Nobody has looked yet: nothing is written.
    #[default]
    Unseen,
    /// They may not be read.
    Forbidden,
    /// These are there.
    Seen(Vec<ReserveSeen>),
}

impl ReserveSeen {
    /// The label of every object that stands for room, and of its pods; its value is the name of the object.
    pub const LABEL: &str = "penstock.dev/headroom";
    /// The annotation that names the workload it is kept for, as [`reserve_of`] has it.
    pub const OF: &str = "penstock.dev/headroom-of";
    /// The annotation that says what placeholders are made of.
    pub const MADE: &str = "penstock.dev/headroom-made-of";
    /// The annotation with the revision of the workload whose shape placeholders have.
    pub const REVISION: &str = "penstock.dev/headroom-revision";
}

impl Reserves {
    /// Those of this name: one for each method at most.
    pub(super) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ReserveSeen> {
        self.seen().iter().filter(move |seen| *seen.name == *name)
    }

    /// Those that are there, as far as is known.
    pub fn seen(&self) -> &[ReserveSeen] {
        match self {
            Self::Seen(all) => all,
            Self::Unseen | Self::Forbidden => &[],
        }
    }
}

/// How much room one stage keeps, or one of its lanes, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoomVerdict {
    /// The pool of the lane; `None` where the stage has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Arc<str>>,
    /// Replicas that room is kept for.
    pub replicas: u32,
    /// Of these, those that have room on a node now; `None` where nobody can tell.
    pub placed: Option<u32>,
    /// Why so many.
    pub why: Cause,
    /// Is it only told, since nothing is or may be written for the stage?
    #[serde(default)]
    pub is_only_told: bool,
}

/// Why room is kept for so many replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Nobody knows better: what was kept when the sources were last heard is kept on.
    Unheard,
    /// So many may be needed before a node that is asked for now has a pod at work.
    Ahead {
        /// Replicas of the stage.
        need: u32,
        /// Until such a node has one.
        within: Duration,
    },
    /// So many stand on the fullest node, which may be taken away at short notice.
    Spare {
        /// Pods of the lane on it.
        fullest: u32,
        /// Places of the room that go with it.
        beside: u32,
    },
    /// Another lane lacks so much room, whose pool gives no nodes.
    Carried,
    /// It was needed a while ago.
    Lingers,
    /// What the stage may have is cut: room would take it from real pods.
    Cut,
    /// Nothing asks for any.
    Unneeded,
}

impl fmt::Display for RoomVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = self.pool.as_ref().map(|pool| format!(" on {pool}")).unwrap_or_default();
        let is = if self.is_only_told { "would be" } else { "is" };
        let kept = match self.replicas {
            0 => format!("no room {is} kept{on}"),
            some => format!("room for {}{on} {is} kept", replicas(some)),
        };
        match self.why {
            Cause::Unheard => write!(f, "{kept} as before, since the sources are not heard"),
            Cause::Ahead { need, within } => {
                write!(f, "{kept}: the stage may need {} within {}", replicas(need), span(within))
            }
            Cause::Spare { fullest, beside } => {
                let stand = if fullest == 1 { "1 stands" } else { &format!("{fullest} stand") };
                write!(f, "{kept}: {stand} on its fullest node, which may go at short notice")?;
                match beside {
                    0 => Ok(()),
                    _ => write!(f, ", and room for {beside} with it"),
                }
            }
            Cause::Carried => write!(f, "{kept} for a lane whose pool gives no nodes now"),
            Cause::Cut => write!(f, "{kept}: a budget or a quota leaves the stage no more"),
            Cause::Lingers => write!(f, "{kept} for a while, though no more is expected"),
            Cause::Unneeded => write!(f, "{kept}: no more is expected than what runs"),
        }
    }
}

/// Name of the reserve of a stage, or of one of its lanes: told apart by what ends it, whatever the names are and wherever they are cut.
pub fn reserve_name(pipeline: &PipelineId, stage: &str, pool: Option<&str>) -> String {
    let pool = pool.unwrap_or_default();
    let whole = format!("{}/{stage}/{pool}", pipeline.name);
    let hash = whole.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        // FNV-1a, which is the same in every release and on every machine.
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let dash = if pool.is_empty() { "" } else { "-" };
    let mut name = format!("{}-{stage}{dash}{pool}-room", pipeline.name);
    // Names of pods are names of hosts, which have no dots.
    name = name.replace('.', "-");
    name.truncate(name.floor_char_boundary(NAME_LIMIT - TAIL));
    format!("{}-{hash:08x}", name.trim_end_matches('-'))
}

/// The workload that a reserve is kept for, as an annotation of the reserve says it.
pub fn reserve_of(of: &TargetId) -> String {
    format!("{}/{}/{}", of.api_version, of.kind, of.name)
}

/// Where a stage keeps room.
#[derive(Debug, Clone)]
pub struct Keeps<'a> {
    /// Name of the reserve.
    pub name: Arc<str>,
    /// Pool of the lane, if the stage has lanes.
    pub pool: Option<&'a Arc<str>>,
    /// The workload whose pods the room is for.
    pub of: &'a TargetId,
}

impl Stage {
    /// Where it keeps room: for its one workload, or for each of its lanes; nowhere if it is not to keep any.
    pub fn reserves(&self, pipeline: &PipelineId) -> impl Iterator<Item = Keeps<'_>> {
        let lanes = self.lanes.iter().map(|lane| (Some(&lane.pool), &lane.target));
        let one = self.lanes.is_empty().then_some((None, &self.target));
        let all = lanes.chain(one).filter(|_| self.headroom.is_some());
        all.map(|(pool, of)| {
            let name = reserve_name(pipeline, &self.name, pool.map(|pool| &**pool));
            Keeps { name: name.into(), pool, of }
        })
    }
}

/// A count that is raised at once and lowered late: to the most that was wished meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Level {
    pub(super) kept: u32,
    /// Since when less has been wished, and the most of that.
    lower: Option<(Timestamp, u32)>,
}

impl Level {
    /// What an earlier life kept.
    pub(super) fn of(kept: u32) -> Self {
        Self { kept, lower: None }
    }

    /// Takes in what is wished now.
    pub(super) fn follow(&mut self, wish: u32, at: Timestamp) {
        if self.kept <= wish {
            (self.kept, self.lower) = (wish, None);
            return;
        }
        let (since, most) = self.lower.get_or_insert((at, wish));
        *most = wish.max(*most);
        if later(*since, LINGERS) <= at {
            (self.kept, self.lower) = (*most, None);
        }
    }

    /// No more than this may be kept, now.
    pub(super) fn drop_to(&mut self, most: u32) {
        if most < self.kept {
            (self.kept, self.lower) = (most, None);
        }
    }

    /// So many of those it is kept for have come: they have taken their room.
    pub(super) fn take(&mut self, came: u32) {
        self.kept = self.kept.saturating_sub(came);
        if let Some((_, most)) = &mut self.lower {
            *most = (*most).min(self.kept);
        }
    }

    /// When it is lowered though nothing happens.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.lower.map(|(since, _)| later(since, LINGERS))
    }
}

/// Cuts wishes down to what they may come to together: each to its part, and what is rounded off goes to the first of them.
pub(super) fn cut(wishes: &mut [u32], most: u32) {
    let sum: u64 = wishes.iter().map(|wish| u64::from(*wish)).sum();
    if sum <= u64::from(most) {
        return;
    }
    let mut left = u64::from(most);
    let parts: Vec<_> =
        wishes.iter().map(|wish| u64::from(*wish) * u64::from(most) / sum).collect();
    left -= parts.iter().sum::<u64>();
    for (wish, part) in wishes.iter_mut().zip(parts) {
        let more = u64::from(0 < left && part < u64::from(*wish));
        left -= more;
        *wish = u32::try_from(part + more).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_level_rises_at_once_and_falls_to_the_most_of_ten_minutes() {
        let mut level = Level::default();
        level.follow(5, second(0));
        assert_eq!(level.kept, 5);
        level.follow(2, second(10));
        level.follow(3, second(300));
        level.follow(0, second(609));
        assert_eq!((level.kept, level.next()), (5, Some(second(610))));
        level.follow(0, second(610));
        assert_eq!((level.kept, level.next()), (3, None));
        level.follow(0, second(611));
        level.follow(4, second(700));
        assert_eq!((level.kept, level.next()), (4, None), "it is wanted again");
    }

    #[test]
    fn what_may_not_be_kept_goes_at_once_and_does_not_come_back_by_itself() {
        let mut level = Level::of(6);
        level.follow(4, second(0));
        level.drop_to(5);
        level.drop_to(0);
        assert_eq!((level.kept, level.next()), (0, None));
        level.follow(0, second(700));
        assert_eq!(level.kept, 0);
    }

    #[test]
    fn those_that_came_have_taken_their_room() {
        let mut level = Level::of(6);
        level.follow(5, second(0));
        level.take(4);
        assert_eq!(level.kept, 2);
        level.follow(1, second(600));
        assert_eq!(level.kept, 2, "of the five that were wished, four have come");
        level.take(9);
        assert_eq!(level.kept, 0);
    }

    #[test]
    fn a_name_tells_stages_and_lanes_apart_and_fits_a_label() {
        let id = |name: &str| PipelineId { namespace: "shop".into(), name: name.into() };
        let name = |pipeline: &str, stage: &str, pool| reserve_name(&id(pipeline), stage, pool);
        assert_eq!(name("orders", "sink", Some("spot")), "orders-sink-spot-room-aee14c2b");
        let mut all = vec![
            name("a-b", "c", None),
            name("a", "b-c", None),
            name("a", "b", Some("c")),
            name(&"long".repeat(30), "a", None),
            name(&"long".repeat(30), "b", None),
            name("a.b", "c", None),
        ];
        for name in &all {
            assert!(name.len() <= NAME_LIMIT && !name.contains("--"), "{name}");
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn what_is_too_much_is_cut_from_each_and_comes_to_the_most_there_may_be() {
        let cut = |mut wishes: Vec<u32>, most| {
            super::cut(&mut wishes, most);
            wishes
        };
        assert_eq!(cut(vec![3, 5], 8), [3, 5]);
        assert_eq!(cut(vec![3, 5], 4), [2, 2]);
        assert_eq!(cut(vec![1, 1, 1], 2), [1, 1, 0]);
        assert_eq!(cut(vec![0, 7], 0), [0, 0]);
        assert_eq!(cut(vec![u32::MAX, u32::MAX], 9), [5, 4]);
    }

    #[test]
    fn how_much_is_kept_is_said_in_a_sentence() {
        let say = |pool: Option<&str>, replicas, why| {
            let pool = pool.map(Into::into);
            RoomVerdict { pool, replicas, placed: None, why, is_only_told: false }.to_string()
        };
        let within = Duration::from_mins(4);
        for (said, sentence) in [
            (
                say(None, 6, Cause::Ahead { need: 18, within }),
                "room for 6 replicas is kept: the stage may need 18 replicas within 4 min",
            ),
            (
                say(Some("spot"), 5, Cause::Spare { fullest: 5, beside: 0 }),
                "room for 5 replicas on spot is kept: 5 stand on its fullest node, which may go at short notice",
            ),
            (
                say(Some("spot"), 3, Cause::Spare { fullest: 1, beside: 2 }),
                "room for 3 replicas on spot is kept: 1 stands on its fullest node, which may go at short notice, and room for 2 with it",
            ),
            (
                say(Some("kept"), 2, Cause::Carried),
                "room for 2 replicas on kept is kept for a lane whose pool gives no nodes now",
            ),
            (
                say(None, 0, Cause::Cut),
                "no room is kept: a budget or a quota leaves the stage no more",
            ),
            (
                say(Some("spot"), 0, Cause::Unneeded),
                "no room is kept on spot: no more is expected than what runs",
            ),
            (
                say(None, 1, Cause::Lingers),
                "room for 1 replica is kept for a while, though no more is expected",
            ),
            (
                say(None, 2, Cause::Unheard),
                "room for 2 replicas is kept as before, since the sources are not heard",
            ),
        ] {
            assert_eq!(said, sentence);
        }
    }
}
