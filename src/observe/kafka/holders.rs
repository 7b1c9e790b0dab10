//! Which consumer of a group holds which partition, as its coordinator last said, and when it is worth asking again. Pure; owned by
//! `group.rs`, filled by `owners.rs`.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::group::Commit;
use super::members::{Described, Kind};
use super::protocol::code;

/// A group that lags is described this often, since its members may change at any time.
const LAGGING: Duration = Duration::from_secs(10);
/// One where something moves, this often.
const MOVING: Duration = Duration::from_secs(30);
/// Asked again this soon when no answer came and one had come before.
const SILENT: Duration = Duration::from_mins(1);
/// Asked again this soon when we may not ask, or nobody knows how to answer.
const REFUSED: Duration = Duration::from_mins(5);
/// What was last said longer ago is not told: a reading of commits, and so a description, may come late by the longest rest of a group
/// and a long poll.
const TOLD: Duration = Duration::from_secs(90);

/// Who holds what in one group.
#[derive(Debug, Clone, Default)]
pub(super) struct Holders {
    /// What it was when last asked.
    pub(super) kind: Kind,
    /// Index of the consumer, by topic and partition number.
    held: BTreeMap<Arc<str>, Vec<Option<u32>>>,
    /// The consumers by a hash of their member id, in its order, and the index of each.
    members: Vec<(u64, u32)>,
    /// The next new consumer's index. None is used twice, so that a consumer in the place of another is told from it.
    next: u32,
    /// When this was said.
    said: Option<Instant>,
    /// When it was last asked for, and for how long not to ask again, if that is longer than usual.
    asked: Option<(Instant, Duration)>,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Each partition's consumer is known.
    Told,
    /// They are being shared out, or there is nobody to hold them.
    Unsettled,
    /// The group is not of the kind that was asked for.
    OtherKind,
    /// We may not know.
    Refused,
    /// The broker does not know how to tell.
    Unsupported,
    /// No answer of use; another time there may be one.
    Silent,
}

impl Holders {
    /// The consumers of a topic's partitions by number; empty when nobody can tell.
    pub(super) fn of(&self, topic: &str) -> &[Option<u32>] {
        self.held.get(topic).map_or(&[], Vec::as_slice)
    }

    /// There are partitions that it does not speak of: ask at the next occasion.
    pub(super) fn renew(&mut self) {
        self.asked = self.asked.filter(|(_, rest)| !rest.is_zero());
    }

    /// Keeps only these topics.
    pub(super) fn retain(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.held.retain(|topic, _| is_wanted(topic));
    }

    /// Forgets what was said too long ago.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.said.is_some_and(|said| said + TOLD <= now) {
            self.clear();
        }
    }

    /// Is it time to ask?
    pub(super) fn is_due(&self, now: Instant, is_lagging: bool) -> bool {
        let usual = if is_lagging { LAGGING } else { MOVING };
        self.asked.is_none_or(|(asked, rest)| asked + rest.max(usual) <= now)
    }

    /// When it was last asked for, to ask those first who have waited longest.
    pub(super) fn asked(&self) -> Option<Instant> {
        self.asked.map(|(asked, _)| asked)
    }

    /// What its description says of the partitions that `commits` are asked of.
    pub(super) fn learn(
        &mut self,
        said: &Described<'_>,
        commits: &BTreeMap<Arc<str>, Vec<Commit>>,
    ) -> Outcome {
        match (said.error, said.state) {
            (code::NONE, "Stable") if !said.is_of_consumers => Outcome::Refused,
            (code::NONE, "Stable") => self.share(said, commits),
            (code::NONE, "Dead") | (code::UNKNOWN_GROUP, _) => Outcome::OtherKind,
            (code::NONE, _) => Outcome::Unsettled,
            (code::UNSUPPORTED_VERSION, _) => Outcome::Unsupported,
            (
                code::COORDINATOR_LOADING | code::COORDINATOR_NOT_AVAILABLE | code::NOT_COORDINATOR,
                _,
            ) => Outcome::Silent,
            _ => Outcome::Refused,
        }
    }

    fn share(
        &mut self,
        said: &Described<'_>,
        commits: &BTreeMap<Arc<str>, Vec<Commit>>,
    ) -> Outcome {
        let room =
            commits.iter().map(|(topic, commits)| (Arc::clone(topic), vec![None; commits.len()]));
        let mut held: BTreeMap<Arc<str>, Vec<Option<u32>>> = room.collect();
        let mut members = Vec::with_capacity(said.members.len());
        for member in &said.members {
            let Ok(holds) = &member.holds else { return Outcome::Unsettled };
            let (key, index) = self.index(member.id);
            members.push((key, index));
            for (topic, number) in holds {
                let slot = held
                    .get_mut(*topic)
                    .zip(usize::try_from(*number).ok())
                    .and_then(|(all, number)| all.get_mut(number));
                // Of what nobody asks about, nothing is kept. Two that hold one partition cannot be.
                if slot.is_some_and(|slot| slot.replace(index).is_some()) {
                    return Outcome::Unsettled;
                }
            }
        }
        members.sort_unstable();
        self.held = held;
        self.members = members;
        Outcome::Told
    }

    fn index(&mut self, member: &str) -> (u64, u32) {
        let mut hasher = DefaultHasher::new();
        member.hash(&mut hasher);
        let key = hasher.finish();
        let known = self.members.binary_search_by_key(&key, |(key, _)| *key).ok();
        let index = known.and_then(|at| self.members.get(at)).map(|(_, index)| *index);
        let index = index.unwrap_or_else(|| {
            let new = self.next;
            self.next = self.next.wrapping_add(1);
            new
        });
        (key, index)
    }

    /// Asking is over.
    pub(super) fn finish(&mut self, outcome: Outcome, now: Instant) {
        let rest = match outcome {
            Outcome::Told | Outcome::Unsettled => Duration::ZERO,
            // Without a kind that knows it there is no such group yet.
            Outcome::OtherKind => {
                self.kind = Kind::default();
                Duration::ZERO
            }
            Outcome::Silent if self.said.is_some() => SILENT,
            Outcome::Refused | Outcome::Unsupported | Outcome::Silent => REFUSED,
        };
        self.asked = Some((now, rest));
        match outcome {
            Outcome::Told => self.said = Some(now),
            // What was said before may still hold.
            Outcome::Silent => {}
            Outcome::Unsettled | Outcome::OtherKind | Outcome::Refused | Outcome::Unsupported => {
                self.clear();
            }
        }
    }

    /// Forgets who holds what, but not who they are: most will be there after a rebalance.
    fn clear(&mut self) {
        self.held.clear();
        self.said = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::members::Member;
    use super::super::wire::Malformed;
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn group(now: Instant) -> super::super::group::Group {
        let mut group = super::super::group::Group::new(now);
        group.expect(&"orders".into(), 3);
        group
    }

    fn said<'a>(state: &'a str, members: &[(&'a str, &[i32])]) -> Described<'a> {
        let member = |(id, numbers): &(&'a str, &[i32])| Member {
            id,
            holds: Ok(numbers.iter().map(|number| ("orders", *number)).collect()),
        };
        let members = members.iter().map(member).collect();
        Described { group: "enrich", error: code::NONE, state, is_of_consumers: true, members }
    }

    #[test]
    fn who_stays_keeps_its_index_and_who_comes_gets_a_new_one() {
        let now = Instant::now();
        let mut group = group(now);
        let mut tell = |members: &[(&str, &[i32])]| {
            let outcome = group.holders.learn(&said("Stable", members), &group.commits);
            group.holders.finish(outcome, now);
            (outcome, group.holders.of("orders").to_vec())
        };
        let of = |all: [u32; 3]| (Outcome::Told, all.map(Some).to_vec());
        assert_eq!(tell(&[("a", &[0, 1]), ("b", &[2]), ("idle", &[])]), of([0, 0, 1]));
        assert_eq!(tell(&[("b", &[2, 0]), ("c", &[1])]), of([1, 3, 1]));
        assert_eq!(tell(&[("a", &[0, 1, 2])]), of([4, 4, 4]));
        // Partitions and topics that nobody asks about are left out.
        assert_eq!(
            tell(&[("a", &[0, -1, 9, i32::MAX])]),
            (Outcome::Told, vec![Some(4), None, None])
        );
    }

    #[test]
    fn what_cannot_be_has_no_owners() {
        let now = Instant::now();
        let fresh = || {
            let mut group = group(now);
            let outcome = group.holders.learn(&said("Stable", &[("a", &[0])]), &group.commits);
            group.holders.finish(outcome, now);
            assert_eq!(group.holders.of("orders"), [Some(0), None, None]);
            group
        };
        let mut malformed = said("Stable", &[("a", &[0]), ("b", &[1])]);
        malformed.members[1].holds = Err(Malformed);
        let mut denied = said("", &[]);
        denied.error = code::GROUP_DENIED;
        let mut of_workers = said("Stable", &[("a", &[])]);
        of_workers.is_of_consumers = false;
        for (said, expected) in [
            (malformed, Outcome::Unsettled),
            (said("Stable", &[("a", &[0]), ("b", &[0])]), Outcome::Unsettled),
            (said("PreparingRebalance", &[("a", &[0])]), Outcome::Unsettled),
            (said("Reconciling", &[("a", &[0])]), Outcome::Unsettled),
            (said("Empty", &[]), Outcome::Unsettled),
            (said("Dead", &[]), Outcome::OtherKind),
            (denied, Outcome::Refused),
            (of_workers, Outcome::Refused),
        ] {
            let mut group = fresh();
            let outcome = group.holders.learn(&said, &group.commits);
            assert_eq!(outcome, expected, "{said:?}");
            group.holders.finish(outcome, now);
            assert_eq!(group.holders.of("orders"), [], "{said:?}");
        }
        // What nobody answered to may still hold, for a while.
        let mut group = fresh();
        group.holders.finish(Outcome::Silent, now + S);
        group.holders.expire(now + TOLD - S);
        assert_eq!(group.holders.of("orders"), [Some(0), None, None]);
        group.holders.expire(now + TOLD);
        assert_eq!(group.holders.of("orders"), []);
    }

    #[test]
    fn a_lagging_group_is_asked_about_every_10_s_a_moving_one_every_30_s_and_after_a_refusal_every_5_min()
     {
        let now = Instant::now();
        let next = |holders: &Holders, is_lagging| {
            (0..1_000).find(|s| holders.is_due(now + *s * S, is_lagging)).unwrap()
        };
        let mut holders = Holders::default();
        assert_eq!((next(&holders, true), next(&holders, false)), (0, 0));
        for (outcome, lagging, moving) in [
            (Outcome::Silent, 300, 300),
            (Outcome::Told, 10, 30),
            (Outcome::Silent, 60, 60),
            (Outcome::Unsettled, 10, 30),
            (Outcome::Refused, 300, 300),
            (Outcome::Unsupported, 300, 300),
            (Outcome::OtherKind, 10, 30),
        ] {
            holders.finish(outcome, now);
            let found = (next(&holders, true), next(&holders, false));
            assert_eq!(found, (lagging, moving), "{outcome:?}");
            // More partitions to know of make no refusal void.
            holders.renew();
            assert_eq!(next(&holders, true), if lagging == 10 { 0 } else { lagging });
        }
    }
}
