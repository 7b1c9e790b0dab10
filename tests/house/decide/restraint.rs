//! Laws on what is written over time: how soon, how often, how far, and when not at all. Names as in the laws of the field study:
//! S3 zero is earned, S6 steps, S14 rate, S15 no flap, S20 ownership, L2 activation.

use penstock::decide::{Memory, Step};
use proptest::prelude::*;

use super::laws::any_life;
use super::story::{Given, Side, World};

/// A write that changed the count: when, from what, to what.
type Moved = (i64, u32, u32);

/// One turn, and the move it made.
fn moved(world: &mut World) -> (Step, Option<Moved>) {
    let from = world.workload.desired;
    let step = world.turn();
    let to = world.workload.desired;
    (step, (from != to).then_some((world.at, from, to)))
}

/// What befalls a stage that may sleep, turn by turn: how long until the next turn, what comes, whether all of it is taken, what is
/// seen, and whether Penstock starts anew.
type Night = (i64, i64, bool, usize, bool);

fn any_night() -> impl Strategy<Value = Vec<Night>> {
    let comes = prop_oneof![6 => Just(0_i64), 1 => 1..2000_i64];
    let sight = prop_oneof![8 => Just(0_usize), 1 => 1..5_usize];
    let restarts = prop_oneof![30 => Just(false), 1 => Just(true)];
    let taken = prop_oneof![3 => Just(true), 1 => Just(false)];
    prop::collection::vec((1..15_i64, comes, taken, sight, restarts), 20..80)
}

proptest! {
    #![proptest_config(super::cases(120))]

    /// S3: to zero only after three complete readings of nothing above activation, and after as long as `idle` says since there was
    /// more, or since this life began. L2: and from zero at the first complete reading of work.
    #[test]
    fn zero_is_earned_and_left_at_once(
        night in any_night(),
        after in prop::option::of(0..200_u64),
        activation in 0..20_u32,
        per_replica in prop::option::of(Just(100.0)),
    ) {
        let given = Given {
            min: Some(0),
            idle: after.map(|after| (0, after)),
            activation: f64::from(activation),
            per_replica,
            objective: per_replica.is_none().then_some(600),
            rate: Some(50.0),
            startup: Some(5),
            poll: Some(2),
            desired: Some(3),
            ..Given::default()
        };
        let mut world = World::new(given);
        // Without a word on idleness it is as long as the down window, which is a minute for pods that start in 5 s.
        let after = i64::try_from(after.unwrap_or(60)).unwrap();
        let (mut readings, mut active) = (0, 0);
        for (seconds, comes, is_taken, sight, restarts) in night {
            if restarts {
                world.memory = Memory::default();
                world.outcomes.clear();
                (readings, active) = (0, world.at);
            }
            if sight != 0 && world.sight == "Fresh" {
                world.frozen = world.observations();
                world.blind_since = world.at;
            }
            world.sight = ["Fresh", "Partial", "Stale", "Failed", "None"][sight].into();
            world.bring(comes);
            if is_taken {
                world.serve(i64::MAX / 2);
            }
            let waits: i64 = world.ends.iter().zip(&world.positions).map(|(end, at)| end - at).sum();
            let works = i64::from(activation) < waits;
            match (sight, works) {
                (0, true) => (readings, active) = (0, world.at),
                (0, false) => readings += 1,
                _ => readings = 0,
            }
            let (_, moved) = moved(&mut world);
            if let Some((at, from, 0)) = moved {
                prop_assert!(3 <= readings, "{from} to 0 after {readings} readings of nothing");
                prop_assert!(after <= at - active, "{from} to 0 after {} s", at - active);
            }
            if sight == 0 && works {
                prop_assert!(1 <= world.workload.desired, "asleep with {waits} waiting");
            }
            world.pass(seconds);
        }
    }

    /// S6: within a sliding period the count changes by no more than a policy says, also where a standby that watched takes over.
    /// Not across a restart of all replicas: like the HPA's, moves are remembered by the process. Then only ways up begin anew;
    /// ways down wait for a window first.
    #[test]
    fn a_policy_holds_over_any_period_and_across_leaders(
        wishes in prop::collection::vec((1..80_u32, 1..20_i64, any::<bool>()), 1..60),
        (up, up_period) in (1..20_u32, 5..120_u64),
        (down, down_period) in (1..20_u32, 5..120_u64),
        start in 1..60_u32,
    ) {
        let side = |most, period| Some(Side {
            window: Some(0),
            policies: vec![("Pods".to_owned(), most, period)],
            ..Side::default()
        });
        let given = Given {
            sources: Some(0),
            gauge: Some(1.0),
            max: Some(80),
            desired: Some(start),
            up: side(up, up_period),
            down: side(down, down_period),
            ..Given::default()
        };
        let mut leader = World::new(given);
        leader.gauge = f64::from(start);
        let mut standby = leader.clone();
        standby.given.standby = true;
        standby.turn();
        let mut moves = Vec::new();
        for (wish, seconds, takes_over) in wishes {
            for world in [&mut leader, &mut standby] {
                world.gauge = f64::from(wish);
            }
            moves.extend(moved(&mut leader).1);
            // A standby sees in the cluster what the leader did.
            standby.workload = leader.workload.clone();
            standby.version = leader.version;
            standby.turn();
            leader.pass(seconds);
            standby.pass(seconds);
            if takes_over {
                std::mem::swap(&mut leader, &mut standby);
                leader.given.standby = false;
                standby.given.standby = true;
            }
        }
        for (index, &(at, from, to)) in moves.iter().enumerate() {
            let (most, period) = if from < to { (up, up_period) } else { (down, down_period) };
            // The far edge itself is out, and what was undone within the period is free: as the HPA has it.
            let within = moves[..=index].iter().filter(|then| at - then.0 < i64::try_from(period).unwrap());
            let net: i64 = within.map(|then| i64::from(then.2) - i64::from(then.1)).sum();
            let net = if from < to { net } else { -net };
            prop_assert!(net <= i64::from(most), "{from} to {to} at {at} s: {moves:?}");
        }
    }

    /// S14: two accepted changes of a count are at least a poll and 5 s apart, however the writes between them ended; only waking
    /// waits for nothing and lets nothing wait.
    #[test]
    fn changes_are_a_poll_and_five_seconds_apart(
        life in any_life(),
        poll in 1..30_u64,
        steps in prop::collection::vec((1..12_i64, 0..50_000_i64, 0..12_usize), 1..80),
    ) {
        let down = Some(Side { window: Some(0), ..Side::default() });
        let mut world = World::new(Given { poll: Some(poll), down, ..life.given });
        let gap = i64::try_from(poll.max(5)).unwrap();
        let mut last: Option<Moved> = None;
        for (seconds, lag, ending) in steps {
            world.serve(i64::MAX / 2);
            world.bring(lag);
            let endings = ["Unknown", "Outdated", "Refused", "NotSent", "Conflict kubectl"];
            world.ending = (*endings.get(ending).unwrap_or(&"Done")).into();
            if let (_, Some(now)) = moved(&mut world) {
                if let Some(last) = last.filter(|last| last.1 != 0 && now.1 != 0) {
                    prop_assert!(gap <= now.0 - last.0, "{last:?} and {now:?}, poll {poll} s");
                }
                last = Some(now);
            }
            world.pass(seconds);
        }
    }

    /// S15: a way down comes no sooner after a way up than the written window, whatever comes in. A way up may follow at once: so
    /// there is at most one turn from up to down in any window. Sleep, which is the owner's own word, apart.
    #[test]
    fn a_way_down_waits_a_window_after_a_way_up(
        life in any_life(),
        window in prop::option::of(1..400_u64),
        steps in prop::collection::vec((1..20_i64, 0..80_000_i64, 0..40_000_i64), 1..100),
    ) {
        let down = window.map(|window| Side { window: Some(window), ..Side::default() });
        let min = life.given.min.map(|min| min.max(1));
        let mut world = World::new(Given { min, down, ..life.given });
        // Penstock's own is never shorter than this, however little holding has paid.
        let window = i64::try_from(window.unwrap_or(20)).unwrap();
        let mut rose = None;
        for (seconds, come, taken) in steps {
            world.bring(come);
            world.serve(taken);
            match moved(&mut world).1 {
                Some((at, from, to)) if from < to => rose = Some((at, from, to)),
                Some(fell) => if let Some(rose) = rose {
                    prop_assert!(window <= fell.0 - rose.0, "{rose:?}, then {fell:?}");
                },
                None => {}
            }
            world.pass(seconds);
        }
    }

    /// S15: what stays within the tolerance moves nothing.
    #[test]
    fn within_the_tolerance_nothing_moves(
        count in 10..60_u32,
        tolerance in 0.02..0.5_f64,
        steps in prop::collection::vec((-1.0..1.0_f64, 1..60_i64), 1..100),
    ) {
        let side = || Some(Side { window: Some(0), tolerance: Some(tolerance), ..Side::default() });
        let given = Given {
            sources: Some(0),
            gauge: Some(1.0),
            max: Some(100),
            desired: Some(count),
            up: side(),
            down: side(),
            ..Given::default()
        };
        let mut world = World::new(given);
        for (off, seconds) in steps {
            // Replicas are whole: what is wished is rounded up, so the band is what stays within it rounded.
            let most = (f64::from(count) * (1.0 + tolerance)).floor();
            let least = (f64::from(count) * (1.0 - tolerance)).ceil();
            world.gauge = (f64::from(count) * (1.0 + off * tolerance)).clamp(least, most);
            let (step, moved) = moved(&mut world);
            prop_assert_eq!(moved, None, "{:?}", step.plan.verdicts[0].why);
            world.pass(seconds);
        }
    }

    /// S20: with an HPA or another pipeline on the target nothing is written, and what is learned meanwhile is no excuse later.
    #[test]
    fn whose_target_it_is_writes_alone(
        life in any_life(),
        owners in prop::collection::vec(0..3_usize, 25),
    ) {
        let mut world = World::new(life.given.clone());
        for (&(seconds, come, taken), owner) in life.turns.iter().zip(owners) {
            world.bring(come);
            world.serve(taken);
            world.workload.hpa = (owner == 1).then(|| "keda-hpa-work".into());
            let other = penstock::decide::Unusable::TakenBy("shop/other".into());
            world.target = (owner == 2).then_some(other);
            let step = world.turn();
            if owner != 0 {
                prop_assert!(step.plan.actions.is_empty(), "{:?}", step.plan.actions);
            }
            world.pass(seconds);
        }
    }
}

proptest! {
    // Each lives through an hour.
    #![proptest_config(super::cases(12))]

    /// S20: who undoes our writes is left alone for longer and longer: after the third time within 10 min, 10 min.
    #[test]
    fn who_undoes_our_writes_is_fought_ever_less(
        merges in any::<bool>(),
        applies in any::<bool>(),
        waits in prop::collection::vec(1..400_i64, 60),
    ) {
        let given = Given { per_replica: Some(1000.0), merge: merges, desired: Some(3), poll: Some(5), ..Given::default() };
        let mut world = World::new(given);
        world.bring(9000);
        // Reverts, and writes that were taken. One that is refused, since somebody owns the count, is how that is found out.
        let (mut reverts, mut writes): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
        let mut waits = waits.into_iter();
        let mut due = None;
        for _ in 0..720 {
            if due.is_some_and(|due| due <= world.at) {
                due = None;
                world.scale(3, false);
                reverts.push(world.at);
            }
            let is_theirs = !merges && !world.workload.is_ours && !reverts.is_empty();
            world.ending = match (is_theirs, applies) {
                (true, true) => "Apply argocd-controller".into(),
                (true, false) => "Conflict helm".into(),
                (false, _) => "Done".into(),
            };
            if moved(&mut world).1.is_some() {
                let Some(wait) = waits.next() else { break };
                due = Some(world.at + wait);
                writes.push(world.at);
            }
            world.pass(5);
        }
        // What was undone is noticed at our next write, up to a poll and the shortest gap later.
        let third = reverts.windows(3).find(|three| three[2] - three[0] <= 590);
        if let Some(&[_, _, third]) = third {
            let later: Vec<_> = writes.iter().filter(|&&at| third < at).collect();
            for two in later.windows(2) {
                prop_assert!(600 <= two[1] - two[0], "{two:?} after {reverts:?}");
            }
        }
    }

    /// S15: constant input comes to one write at most, and then to none for an hour. Of thresholds.
    #[test]
    fn constant_input_is_one_write_at_most(life in any_life(), lag in 0..40_000_i64) {
        let per_replica = life.given.per_replica.or(Some(500.0));
        let given = Given { objective: None, per_replica, ..life.given };
        let given = Given { min: given.min.map(|min| min.max(1)), ..given };
        let mut world = World::new(given);
        world.bring(lag);
        let moves = hour(&mut world);
        prop_assert!(moves.len() <= 1, "{moves:?}");
    }

    /// S15: the same of objectives, for which input is what flows. A start climbs in a few steps while pods become Ready and what they get
    /// done is seen; what was found running is kept for a window and then let go. After that nothing moves.
    #[test]
    fn constant_input_settles_and_then_moves_no_more(life in any_life()) {
        let mut world = World::new(Given { rate: Some(50.0), ..life.given });
        world.bring(1000);
        let moves = hour(&mut world);
        prop_assert!(moves.len() <= 8, "{moves:?}");
        prop_assert!(moves.iter().all(|moved| moved.0 < 1300), "{moves:?}");
    }
}

/// The moves of an hour.
fn hour(world: &mut World) -> Vec<Moved> {
    let mut moves = Vec::new();
    for _ in 0..900 {
        moves.extend(moved(world).1);
        world.pass(4);
    }
    moves
}
