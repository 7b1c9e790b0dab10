//! Laws that compare: two presents of one past, or two lives that differ in what must not matter. Names as in the laws of the field
//! study: S16 monotone, S17 metamorphic, S18 pause, S22 time.

use proptest::prelude::*;

use super::laws::{Life, any_life};
use super::story::{Given, Side, World};

/// The same life with a written down window. Penstock's own follows a wish that fell step by step in one go: for its sake one that fell less
/// may be followed sooner, so there a higher wish may come to fewer replicas for some seconds.
fn windowed(life: &Life) -> Life {
    let down = Some(Side { window: Some(60), ..Side::default() });
    Life { given: Given { down, ..life.given.clone() }, ..life.clone() }
}

/// What a world writes when it looks once more.
fn next(mut world: World) -> u32 {
    world.turn();
    world.workload.desired
}

proptest! {
    #![proptest_config(super::cases(120))]

    /// S16.
    #[test]
    fn a_higher_min_never_means_fewer_replicas(life in any_life(), more in 1..20_u32) {
        let world = windowed(&life).past();
        let mut other = world.clone();
        let min = life.given.min.unwrap() + more;
        other.given.min = Some(min);
        other.given.max = other.given.max.map(|max| max.max(min));
        let (few, many) = (next(world), next(other));
        prop_assert!(few <= many, "{few}, and {many} with the higher min");
    }

    /// S16.
    #[test]
    fn a_higher_max_never_means_fewer_replicas(life in any_life(), more in 1..60_u32) {
        let world = windowed(&life).past();
        let mut other = world.clone();
        other.given.max = other.given.max.map(|max| max + more);
        let (few, many) = (next(world), next(other));
        prop_assert!(few <= many, "{few}, and {many} with the higher max");
    }

    /// S16.
    #[test]
    fn one_more_trigger_never_means_fewer_replicas(life in any_life(), says in 0.0..500.0_f64) {
        let world = windowed(&life).past();
        let mut other = world.clone();
        other.given.gauge = Some(10.0);
        other.gauge = says;
        let (few, many) = (next(world), next(other));
        prop_assert!(few <= many, "{few}, and {many} with the trigger");
    }

    /// S16: the longer nothing new is seen, the more is kept, and never less. Of `fallback` only what may not lower.
    #[test]
    fn the_longer_nothing_is_seen_the_more_is_kept(
        life in any_life(),
        sight in 0..4_usize,
        at_least in prop::option::of(0..60_u32),
        ages in prop::collection::vec(1..600_i64, 1..20),
    ) {
        let given = Given {
            fallback: at_least.map(|count| ("AtLeast".to_owned(), count, 120)),
            ..life.given.clone()
        };
        let mut world = Life { given, ..life }.past();
        world.frozen = world.observations();
        world.sight = ["Late", "Stale", "Failed", "None"][sight].into();
        world.blind_since = world.at;
        // An answer is as good as new until it is late.
        world.pass(if sight == 0 { 30 } else { 0 });
        let mut kept = world.workload.desired;
        for age in ages {
            world.pass(age);
            world.turn();
            prop_assert!(kept <= world.workload.desired, "{} after {kept}", world.workload.desired);
            kept = world.workload.desired;
        }
    }

    /// S17: what waits in one partition or in all of them is the same amount. Of thresholds, while partitions bound nothing: what an
    /// objective makes of skew is another matter.
    #[test]
    fn how_lag_is_split_over_partitions_changes_nothing(
        life in any_life(),
        partitions in 40..200_usize,
        hot in 0..40_usize,
        seconds in 2..10_i64,
    ) {
        let per_replica = life.given.per_replica.or(Some(500.0));
        let given = Given { objective: None, per_replica, partitions: Some(40), ..life.given };
        // Turns so close together that no partition comes to be called stuck.
        let turns = life.turns.into_iter().map(|(_, come, taken)| (seconds, come, taken)).collect();
        let life = Life { given, turns, ..life };
        let even = life.live(World::new(life.given.clone()));
        let mut world = World::new(life.given.clone());
        world.hot = Some(hot);
        prop_assert_eq!(&even, &life.live(world), "all in one partition");
        let given = Given { partitions: Some(partitions), ..life.given.clone() };
        prop_assert_eq!(&even, &life.live(World::new(given)), "{} partitions", partitions);
    }

    /// S18: a pause writes nothing, and nothing of it is remembered: in whatever order a stage is paused, let go and restarted, what
    /// it comes to is what it would have come to at once.
    #[test]
    fn a_pause_writes_nothing_and_leaves_no_trace(
        life in any_life(),
        steps in prop::collection::vec((any::<bool>(), any::<bool>()), 25),
        lag in 0..40_000_i64,
    ) {
        let per_replica = life.given.per_replica.or(Some(500.0));
        let down = Some(Side { window: Some(0), ..Side::default() });
        let given =
            Given { objective: None, per_replica, min: Some(1), down, ..life.given.clone() };
        let mut world = World::new(given);
        for (&(seconds, come, taken), (is_paused, restarts)) in life.turns.iter().zip(steps) {
            world.bring(come);
            world.serve(taken);
            world.given.paused = is_paused;
            if restarts {
                world.memory = penstock::decide::Memory::default();
                world.outcomes.clear();
            }
            let before = world.workload.desired;
            let step = world.turn();
            if is_paused {
                prop_assert!(step.plan.actions.is_empty(), "{:?}", step.plan.actions);
                prop_assert_eq!(before, world.workload.desired);
            }
            world.pass(seconds);
        }
        world.given.paused = false;
        world.serve(i64::MAX / 2);
        world.bring(lag);
        let mut never = World::new(world.given.clone());
        never.bring(lag);
        for world in [&mut world, &mut never] {
            for _ in 0..12 {
                world.turn();
                world.pass(5);
            }
        }
        prop_assert_eq!(world.workload.desired, never.workload.desired);
    }

    /// S22: when it is does not matter, but for schedules, deadlines and what is usual at an hour: of these lives, none knows any.
    #[test]
    fn the_hour_changes_nothing(life in any_life(), hours in -100_000..100_000_i64) {
        let here = life.live(World::new(life.given.clone()));
        let mut world = World::new(life.given.clone());
        world.at = hours * 3600;
        prop_assert_eq!(here, life.live(world));
    }
}
