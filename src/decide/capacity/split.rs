//! Sharing the replicas of a stage out over its lanes: bases first, then by share; what one pool cannot give goes to the lane that takes
//! over; and what is about to go is replaced before it goes. Level-triggered: it looks only at what is, so that the same picture gives
//! the same counts whatever happened on the way.
//!
//! A base of on-demand nodes and a share of spot above it is how `SkyServe` (arXiv 2411.01438) mixes them; there, as here, what
//! counts of spot is what is Ready, not what was asked for.

use super::super::pipeline::Lane;

/// Replicas beyond need that replace doomed ones at a time: half of the lane, but four at least. A node autoscaler may make nodes for the
/// pods that go and for those that replace them; all at once would make it double the pool.
const SURGE: u32 = 4;

/// What room a lane has on its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// All it wants; what has not come up yet will, and until then another lane keeps what it carries already.
    Free,
    /// No more than is asked for already, and only what is Ready counts.
    AsAsked,
    /// Its owner's limit is reached, and it may be asked for so many. What is asked for counts unless it finds no node; what is beyond leaves
    /// when other lanes carry it.
    Full(u32),
    /// Those that have a node and so many more, and only what is Ready counts.
    BeyondPlaced(u32),
}

/// One lane, as it stands before a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stand {
    /// What its workload is asked for.
    pub(super) desired: u32,
    pub(super) ready: u32,
    /// Pods that have a node, Ready or not, and those for which none is found.
    pub(super) placed: u32,
    pub(super) unplaced: u32,
    /// Replicas that room is kept for on nodes which are there: whatever the pool gives, these have places.
    pub(super) held: u32,
    /// Of the Ready ones, those on nodes that are about to go.
    pub(super) doomed: u32,
    pub(super) room: Room,
    /// Pods that have a node and have not got Ready for so long that they hardly will.
    pub(super) stuck: u32,
    /// At a pool's limits: of those for which none is found, so many may get a node yet.
    pub(super) coming: u32,
    /// Somebody else decides its count: it is left as it is.
    pub(super) is_fixed: bool,
}

/// One lane, as it shall be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// What falls to it if nodes of every pool can be had.
    pub(super) share: u32,
    /// What is asked for.
    pub(super) replicas: u32,
    /// What of it counts towards what the stage needs. Over all lanes that is exactly the need.
    pub(super) counted: u32,
    /// Of its share, what another lane carries.
    pub(super) lent: u32,
    /// Of what it is to have, pods that have a node and do not get Ready.
    pub(super) stuck: u32,
    /// Pods for which no node is found, and none is to be.
    pub(super) lost: u32,
}

impl Stand {
    /// Those that are Ready and stay: who is told to end is Ready for a while yet.
    fn firm(&self) -> u32 {
        self.ready.min(self.desired).saturating_sub(self.doomed)
    }

    /// Those for which none is found, but for those that may get one yet.
    fn lost(&self) -> u32 {
        self.unplaced.saturating_sub(self.coming)
    }

    /// Replicas that surely have places. Those that are Ready and not all that have a node: who is on the way to a place that was kept for it
    /// still has both.
    fn roomy(&self) -> u32 {
        self.ready.saturating_add(self.held)
    }
}

impl Part {
    /// Replicas beyond need.
    pub(super) fn extra(&self) -> u32 {
        self.replicas.saturating_sub(self.counted)
    }
}

/// Shares `replicas` out.
pub(super) fn split(lanes: &[Lane], stands: &[Stand], replicas: u32) -> Vec<Part> {
    let mut parts: Vec<Part> = shares(lanes, stands, replicas)
        .into_iter()
        .map(|share| Part { share, counted: share, ..Part::default() })
        .collect();
    let mut done = Vec::with_capacity(lanes.len());
    for at in order(lanes) {
        let (Some(stand), Some(lane)) = (stands.get(at), lanes.get(at)) else { continue };
        let Some(wanted) = parts.get(at).map(|part| part.counted) else { continue };
        done.push(at);
        let is_free = |heir: usize| stands.get(heir).is_some_and(|heir| !heir.is_fixed);
        let heir = lane.fallback_to.filter(|&heir| !done.contains(&heir) && is_free(heir));
        let lacking = wanted.saturating_sub(stand.ready.saturating_sub(stand.doomed));
        // Who has a node and does not get Ready lacks as if there were none; who is only replacing another that is Ready still does not.
        let stuck = stand.stuck.min(lacking);
        let (replicas, lent) = match heir.filter(|_| !stand.is_fixed) {
            None => (wanted + surge(stand, wanted), 0),
            Some(heir) => {
                // What the heir carries already, beyond its own share, it or those that take over from it.
                let chain = chain(lanes, stands, heir, &done);
                let each = || chain.iter().filter_map(|&at| stands.get(at).zip(parts.get(at)));
                let own: u32 = each().map(|(_, part)| part.counted).sum();
                let carried = each().map(|(it, _)| it.desired).sum::<u32>().saturating_sub(own);
                match stand.room {
                    Room::Free => {
                        let surge = surge(stand, wanted);
                        // What goes and is not replaced here at once is carried until it is.
                        let bare = stand.doomed.min(wanted) - surge;
                        (wanted + surge, lacking.min(carried.max(bare + stuck)))
                    }
                    Room::AsAsked => (
                        wanted.min(stand.desired.max(wanted - lacking).max(stand.roomy())),
                        lacking,
                    ),
                    Room::Full(most) => {
                        // What of that stays and is Ready, and is not for others that it takes over from.
                        let firm = each().map(|(it, _)| it.firm()).sum::<u32>();
                        let is_other = |at: &usize| !done.contains(at) && !chain.contains(at);
                        let others = (0..lanes.len()).filter(is_other);
                        let others = others.filter_map(|at| stands.get(at).zip(parts.get(at)));
                        let lacks = others.map(|(it, part)| part.counted.saturating_sub(it.firm()));
                        let relieved = firm.saturating_sub(own + lacks.sum::<u32>());
                        let needed = wanted.saturating_sub(relieved).saturating_add(stand.doomed);
                        let stays = stand.desired.min(needed);
                        let replicas = wanted.min(most.max(stays));
                        let unsure = stand.lost() + stand.doomed + stuck;
                        let sure = replicas.saturating_sub(unsure).min(most);
                        (replicas, (wanted - sure).max(lacking.min(carried)))
                    }
                    Room::BeyondPlaced(more) => {
                        let placed = stand.placed.saturating_add(more);
                        (wanted.min(placed.max(stand.roomy())), lacking)
                    }
                }
            }
        };
        if let Some(part) = parts.get_mut(at) {
            (part.counted, part.replicas, part.lent) = (wanted - lent, replicas, lent);
            (part.stuck, part.lost) = (stuck, stand.lost());
        }
        if let Some(part) = heir.and_then(|heir| parts.get_mut(heir)) {
            part.counted += lent;
        }
    }
    parts
}

/// An heir and those that take over from it in turn.
fn chain(lanes: &[Lane], stands: &[Stand], heir: usize, done: &[usize]) -> Vec<usize> {
    let mut chain: Vec<usize> = Vec::new();
    let mut next = Some(heir);
    let is_fixed = |at: usize| stands.get(at).is_none_or(|stand| stand.is_fixed);
    while let Some(at) =
        next.filter(|at| !(done.contains(at) || chain.contains(at) || is_fixed(*at)))
    {
        chain.push(at);
        next = lanes.get(at).and_then(|lane| lane.fallback_to);
    }
    chain
}

/// Replacements for what is about to go.
fn surge(stand: &Stand, wanted: u32) -> u32 {
    let most = SURGE.max(wanted.div_ceil(2));
    if stand.is_fixed { 0 } else { stand.doomed.min(wanted).min(most) }
}

/// What falls to each lane if all pools are well. Fixed lanes keep what they have, and the others share the rest.
fn shares(lanes: &[Lane], stands: &[Stand], replicas: u32) -> Vec<u32> {
    let is_fixed = |at: usize| stands.get(at).is_some_and(|stand| stand.is_fixed);
    let mut left = replicas;
    let mut shares = vec![0; lanes.len()];
    for (at, share) in shares.iter_mut().enumerate().filter(|(at, _)| is_fixed(*at)) {
        *share = stands.get(at).map_or(0, |stand| stand.desired);
        left = left.saturating_sub(*share);
    }
    let free: Vec<_> = lanes.iter().enumerate().filter(|(at, _)| !is_fixed(*at)).collect();
    for &(at, lane) in &free {
        let base = lane.base.min(left);
        shares[at] = base;
        left -= base;
    }
    let above = left;
    for &(at, lane) in &free {
        let part = u64::from(above) * u64::from(lane.share.unwrap_or(0)) / 100;
        let part = u32::try_from(part).unwrap_or(u32::MAX).min(left);
        shares[at] += part;
        left -= part;
    }
    // The rest goes to those without a share of their own, evenly and the first ones first; else to those that stay when others go, and
    // are nobody's fallback last: a rounded-off replica is better on a node that is kept.
    let mut takers: Vec<_> =
        free.iter().filter(|(_, lane)| lane.share.is_none()).map(|&(at, _)| at).collect();
    if takers.is_empty() {
        takers.extend(
            free.iter()
                .find(|(_, lane)| lane.fallback_to.is_none())
                .or_else(|| free.first())
                .map(|&(at, _)| at),
        );
    }
    let count = u32::try_from(takers.len()).unwrap_or(u32::MAX).max(1);
    for (number, at) in (0..).zip(takers) {
        shares[at] += left / count + u32::from(number < left % count);
    }
    shares
}

/// Lanes in such an order that each comes after those it takes over from. Where they take over from each other in a ring, the ring is cut
/// at its first.
fn order(lanes: &[Lane]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::with_capacity(lanes.len());
    while order.len() < lanes.len() {
        let is_left = |at: usize| !order.contains(&at);
        let waits = |at: usize| {
            lanes
                .iter()
                .enumerate()
                .any(|(from, lane)| is_left(from) && from != at && lane.fallback_to == Some(at))
        };
        let left = || (0..lanes.len()).filter(|&at| is_left(at));
        let Some(next) = left().find(|&at| !waits(at)).or_else(|| left().next()) else { break };
        order.push(next);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::TargetId;

    fn lane(pool: &str, base: u32, share: Option<u32>, fallback_to: Option<usize>) -> Lane {
        let target = TargetId::object(&"shop".into(), "apps/v1", "Deployment", pool);
        Lane { pool: pool.into(), base, share, fallback_to, target }
    }

    /// Two on demand, and seven of ten above them on spot.
    fn mixed() -> Vec<Lane> {
        vec![lane("on-demand", 2, None, None), lane("spot", 0, Some(70), Some(0))]
    }

    fn stand(ready: u32) -> Stand {
        let (desired, placed) = (ready, ready);
        let (doomed, unplaced, held, stuck, coming) = (0, 0, 0, 0, 0);
        let (room, is_fixed) = (Room::Free, false);
        Stand { desired, ready, placed, unplaced, held, doomed, room, stuck, coming, is_fixed }
    }

    fn replicas(parts: &[Part]) -> Vec<u32> {
        parts.iter().map(|part| part.replicas).collect()
    }

    fn at_rest(lanes: &[Lane], replicas: u32) -> Vec<u32> {
        let stands = vec![stand(0); lanes.len()];
        self::replicas(&split(lanes, &stands, replicas))
    }

    #[test]
    fn bases_come_first_and_shares_are_of_what_is_above_them() {
        for (all, expected) in [
            (0, [0, 0]),
            (1, [1, 0]),
            (2, [2, 0]),
            (3, [3, 0]),
            (4, [3, 1]),
            (12, [5, 7]),
            (40, [14, 26]),
        ] {
            assert_eq!(at_rest(&mixed(), all), expected, "{all}");
        }
    }

    #[test]
    fn what_no_share_claims_is_dealt_out_evenly() {
        let lanes =
            [lane("a", 0, None, None), lane("b", 0, Some(50), None), lane("c", 0, None, None)];
        assert_eq!(at_rest(&lanes, 11), [3, 5, 3]);
        let all_shared = [lane("spot", 0, Some(50), Some(1)), lane("kept", 0, Some(50), None)];
        assert_eq!(at_rest(&all_shared, 3), [1, 2], "the odd one goes where it is kept");
    }

    #[test]
    fn what_a_dry_pool_cannot_give_its_heir_carries() {
        let mut stands = [stand(5), Stand { desired: 7, room: Room::BeyondPlaced(1), ..stand(2) }];
        let parts = split(&mixed(), &stands, 12);
        assert_eq!(replicas(&parts), [10, 3]);
        assert_eq!((parts[1].lent, parts[1].extra()), (5, 1));
        stands[1].room = Room::AsAsked;
        assert_eq!(replicas(&split(&mixed(), &stands, 12)), [10, 7], "what waits may wait");
        stands[1].room = Room::Free;
        assert_eq!(replicas(&split(&mixed(), &stands, 12)), [5, 7], "what boots counts");
    }

    #[test]
    fn an_heir_lets_go_only_of_what_is_ready_elsewhere() {
        let boots = |ready| Stand { desired: 7, ..stand(ready) };
        for (ready, expected) in [(2, [10, 7]), (5, [7, 7]), (7, [5, 7])] {
            let parts = split(&mixed(), &[stand(10), boots(ready)], 12);
            assert_eq!(replicas(&parts), expected, "{ready}");
        }
        let parts = split(&mixed(), &[stand(2), stand(0)], 12);
        assert_eq!(replicas(&parts), [5, 7], "and takes on nothing while a new one boots");
    }

    #[test]
    fn who_has_a_node_and_does_not_get_ready_is_carried_on_a_pool_that_gives_nodes_too() {
        let stuck = |ready, stuck| Stand { desired: 7, placed: 7, stuck, ..stand(ready) };
        let asked = |kept, spot| replicas(&split(&mixed(), &[stand(kept), spot], 12));
        assert_eq!(asked(5, stuck(4, 0)), [5, 7], "they may be starting");
        assert_eq!(asked(5, stuck(4, 2)), [7, 7], "two of three hardly will");
        assert_eq!(asked(7, stuck(4, 3)), [8, 7], "and the third as well");
        assert_eq!(asked(8, stuck(6, 1)), [6, 7], "those that got Ready are let go of");
        assert_eq!(asked(5, stuck(7, 1)), [5, 7], "a rollout's extra pod lacks to nobody");
        let going = Stand { doomed: 5, ready: 5, ..stuck(5, 2) };
        assert_eq!(asked(5, going), [8, 11], "two, and one of five whom no surge replaces");
        let full = Stand { room: Room::Full(7), ..stuck(4, 3) };
        assert_eq!(asked(5, full), [8, 7], "at a pool's limits as well");
    }

    #[test]
    fn what_is_not_ready_for_a_moment_is_not_taken_from_a_dry_pool() {
        let blip = Stand { ready: 0, room: Room::BeyondPlaced(0), ..stand(7) };
        assert_eq!(replicas(&split(&mixed(), &[stand(5), blip], 12)), [12, 7]);
    }

    #[test]
    fn an_heir_in_other_hands_carries_nothing() {
        let stands =
            [Stand { is_fixed: true, ..stand(5) }, Stand { room: Room::AsAsked, ..stand(0) }];
        assert_eq!(replicas(&split(&mixed(), &stands, 12)), [5, 7]);
    }

    #[test]
    fn a_lane_without_an_heir_waits_for_its_nodes() {
        let lanes = [lane("spot", 0, None, None)];
        let stands = [Stand { room: Room::BeyondPlaced(0), ..stand(2) }];
        assert_eq!(replicas(&split(&lanes, &stands, 9)), [9]);
    }

    #[test]
    fn what_is_about_to_go_is_replaced_first_within_bounds() {
        let stands = [stand(5), Stand { doomed: 3, ..stand(7) }];
        let parts = split(&mixed(), &stands, 12);
        assert_eq!((replicas(&parts), parts[1].extra()), (vec![5, 10], 3));
        let all = [stand(5), Stand { doomed: 7, ..stand(7) }];
        assert_eq!(
            replicas(&split(&mixed(), &all, 12)),
            [8, 11],
            "no more than half, or four here"
        );
        let dry = [stand(5), Stand { doomed: 3, room: Room::BeyondPlaced(0), ..stand(7) }];
        assert_eq!(replicas(&split(&mixed(), &dry, 12)), [8, 7], "elsewhere, where it has none");
    }

    #[test]
    fn whose_count_another_writes_keeps_it_and_the_others_share_the_rest() {
        let stands = [Stand { is_fixed: true, ..stand(4) }, stand(0)];
        assert_eq!(replicas(&split(&mixed(), &stands, 14)), [4, 10]);
        let stands = [stand(0), Stand { is_fixed: true, ..stand(9) }];
        assert_eq!(replicas(&split(&mixed(), &stands, 14)), [5, 9]);
    }

    #[test]
    fn lanes_that_take_over_from_each_other_end_somewhere() {
        let lanes = [lane("a", 0, Some(50), Some(1)), lane("b", 0, Some(50), Some(0))];
        let stands = [Stand { room: Room::BeyondPlaced(0), ..stand(0) }; 2];
        assert_eq!(replicas(&split(&lanes, &stands, 10)), [0, 10]);
    }

    /// `far` falls back on `near`, which is full as well, and that on `kept`: it is relieved by whoever carries it in the end.
    #[test]
    fn who_gives_way_is_relieved_by_any_that_take_over_in_turn() {
        let lanes = [
            lane("kept", 1, None, None),
            lane("near", 0, Some(30), Some(0)),
            lane("far", 0, Some(70), Some(1)),
        ];
        let full = |count, most| Stand { room: Room::Full(most), ..stand(count) };
        let asked = |kept| replicas(&split(&lanes, &[stand(kept), full(2, 2), full(4, 0)], 8));
        assert_eq!(asked(2), [6, 2, 4], "others are asked first");
        assert_eq!(asked(4), [6, 2, 2], "two are Ready elsewhere");
        assert_eq!(asked(6), [6, 2, 0]);
        let going = Stand { doomed: 2, ..stand(6) };
        let parts = split(&lanes, &[going, full(2, 2), full(4, 0)], 8);
        assert_eq!(parts[2].replicas, 2, "those that are about to go carry nobody");
    }

    #[test]
    fn an_heir_of_two_relieves_each_only_of_what_it_carries_for_it() {
        let lanes = [
            lane("kept", 1, None, None),
            lane("near", 0, Some(30), Some(0)),
            lane("far", 0, Some(70), Some(0)),
        ];
        let full = |count, most| Stand { room: Room::Full(most), ..stand(count) };
        let asked = |kept| replicas(&split(&lanes, &[stand(kept), full(2, 0), full(0, 0)], 8));
        assert_eq!(asked(6), [8, 2, 0], "four of them are there for far");
        assert_eq!(asked(8), [8, 0, 0]);
    }

    #[test]
    fn who_comes_back_to_a_full_pool_is_carried_until_it_is_ready() {
        let lanes = [
            lane("kept", 1, None, None),
            lane("near", 0, Some(30), Some(0)),
            lane("far", 0, Some(70), Some(1)),
        ];
        let full = |stand, most| Stand { room: Room::Full(most), ..stand };
        let asked = |far, kept| {
            replicas(&split(&lanes, &[stand(kept), full(stand(2), 2), full(far, 4)], 8))
        };
        assert_eq!(asked(stand(0), 6), [6, 2, 4]);
        assert_eq!(asked(Stand { ready: 3, ..stand(4) }, 6), [3, 2, 4]);
        assert_eq!(asked(stand(4), 3), [2, 2, 4]);
    }

    #[test]
    fn who_gives_way_and_is_about_to_go_as_well_lets_go_of_no_more_than_others_carry() {
        let going = Stand { room: Room::Full(0), doomed: 3, ..stand(7) };
        let asked = |kept| replicas(&split(&mixed(), &[stand(kept), going], 12));
        assert_eq!(asked(8), [12, 7], "the three that are carried may be the three that go");
        assert_eq!(asked(12), [12, 3]);
    }

    /// Every small picture of three lanes in a chain: what counts is what is needed, no more and no less, and nobody is asked for less
    /// than what counts of it.
    #[test]
    fn what_counts_is_always_exactly_the_need() {
        let lanes = [
            lane("kept", 1, None, None),
            lane("near", 0, Some(40), Some(0)),
            lane("far", 0, Some(30), Some(1)),
        ];
        let rooms = [
            Room::Free,
            Room::AsAsked,
            Room::Full(3),
            Room::BeyondPlaced(0),
            Room::BeyondPlaced(2),
        ];
        let mut seen = 0_u32;
        for number in 0..rooms.len().pow(2) * 3_usize.pow(6) {
            let mut rest = number;
            let mut next = |of: usize| {
                let one = rest % of;
                rest /= of;
                one
            };
            let (near, far) = (rooms[next(rooms.len())], rooms[next(rooms.len())]);
            let mut of = |room| {
                let (desired, ready, doomed) = (next(3) * 3, next(3) * 2, next(3));
                let small = |n: usize| u32::try_from(n).unwrap();
                let doomed = small(doomed.min(ready));
                let held_or_stuck = small(desired / 3);
                Stand {
                    desired: small(desired),
                    ready: small(ready),
                    placed: small(ready),
                    held: held_or_stuck,
                    doomed,
                    room,
                    stuck: held_or_stuck,
                    ..stand(0)
                }
            };
            let stands = [stand(2), of(near), of(far)];
            for need in [0, 1, 5, 13] {
                let parts = split(&lanes, &stands, need);
                let counted: u32 = parts.iter().map(|part| part.counted).sum();
                assert_eq!(counted, need, "{stands:?}: {parts:?}");
                for (part, stand) in parts.iter().zip(&stands) {
                    assert!(
                        part.counted <= part.replicas.max(stand.ready),
                        "{stands:?}: {parts:?}"
                    );
                    assert!(part.extra() <= need.max(SURGE), "{stands:?}: {parts:?}");
                }
                seen += 1;
            }
        }
        assert_eq!(seen, 72_900);
    }
}
