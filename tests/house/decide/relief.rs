//! Who takes over from a lane, and when it lets go again: where pods have a node and do not get Ready, where a quota has no place for those
//! that wait, and while data is late.

use std::collections::BTreeMap;
use std::time::Duration;

use penstock::decide::Verdict;

use super::lanes::{KEPT, SPOT, World, codes, time};
use super::plain::quota_of_pods;

/// Twelve replicas as they are shared out, all Ready.
fn at_work() -> World {
    let mut world = World::new();
    world.backlog = 120;
    world.settle([true, true]);
    assert_eq!(world.desired(), [5, 7]);
    world
}

/// So many pods on spot are Ready, and the others have a node and are not, since then.
fn start(world: &mut World, ready: u32, since: i64) {
    let lane = &mut world.lanes[SPOT];
    lane.workload.current = lane.workload.desired;
    lane.workload.ready = ready;
    let starting = usize::try_from(lane.workload.desired - ready).unwrap();
    lane.places.unready = vec![time(since); starting];
}

/// Pods on demand come at once.
fn turn(world: &mut World) -> Verdict {
    let kept = &mut world.lanes[KEPT].workload;
    (kept.current, kept.ready) = (kept.desired, kept.desired);
    world.at += 2;
    world.turn()
}

#[test]
fn pods_that_have_a_node_and_never_get_ready_are_carried_after_a_while() {
    let mut world = at_work();
    let begun = world.at;
    start(&mut world, 4, begun);
    let verdict = turn(&mut world);
    assert_eq!(world.desired(), [5, 7], "they may be starting");
    let next = verdict.next.unwrap();
    assert!(next <= time(begun + 120), "it is looked at again: {next}");
    let mut said = verdict;
    while world.desired() == [5, 7] {
        assert!(world.at < begun + 120, "{}", world.at - begun);
        said = turn(&mut world);
    }
    assert!(begun + 60 <= world.at, "carried after {} s", world.at - begun);
    assert_eq!(world.desired(), [8, 7], "and they are left where they are");
    assert_eq!(codes(&said), ["PodsNotReady"]);
    let sentence = said.anomalies[0].to_string();
    assert!(sentence.starts_with("3 pods of pool spot have a node"), "{sentence}");
    for _ in 0..300 {
        turn(&mut world);
        assert_eq!(world.desired(), [8, 7], "for as long as it lasts");
    }
    // Kubernetes takes them away at last; those that replace them find no node yet.
    world.lanes[SPOT].places.unready.clear();
    turn(&mut world);
    assert_eq!(world.desired(), [8, 7]);
    start(&mut world, 7, 0);
    let verdict = turn(&mut world);
    assert_eq!((world.desired(), codes(&verdict)), ([5, 7], vec![]));
}

#[test]
fn a_crash_a_rollout_and_a_step_up_ask_nothing_of_who_takes_over() {
    let mut world = at_work();
    for round in 0..20 {
        // One pod is replaced, and is 40 s in coming.
        let since = world.at;
        start(&mut world, 6, since);
        for _ in 0..20 {
            turn(&mut world);
            assert_eq!(world.desired(), [5, 7], "round {round}");
        }
        start(&mut world, 7, 0);
        turn(&mut world);
    }
    world.backlog = 400;
    turn(&mut world);
    assert_eq!(world.desired(), [14, 26]);
    let since = world.at;
    start(&mut world, 7, since);
    for _ in 0..25 {
        turn(&mut world);
        assert_eq!(world.desired(), [14, 26], "nineteen of them start");
    }
    start(&mut world, 26, 0);
    turn(&mut world);
    assert_eq!(world.desired(), [14, 26]);
}

#[test]
fn what_waits_for_a_node_gives_its_place_in_a_quota_to_who_takes_over() {
    let asked = |pods: f64| {
        let mut world = World::new();
        world.budgets = BTreeMap::from([quota_of_pods(pods)]);
        world.settle([true, true]);
        world.backlog = 120;
        world.turn();
        assert_eq!(world.desired(), [5, 7]);
        world.pods([true, false]);
        world.at += 2;
        world.say("spot");
        let verdict = world.turn();
        assert_eq!(verdict.replicas, Some(12), "{:?}", verdict.why);
        let first = world.desired();
        for _ in 0..60 {
            world.pods([true, false]);
            world.at += 2;
            world.turn();
            assert_eq!(world.desired(), first, "and so it stays");
        }
        first
    };
    assert_eq!(asked(12.0), [12, 0], "all twelve have a place");
    assert_eq!(asked(18.0), [12, 0]);
    assert_eq!(asked(19.0), [12, 7], "there is a place for those that wait as well");
}

/// What the lane on demand is asked for, and after how many seconds, while spot comes back at once; `is_late` says so of the stage.
fn given_back(is_late: bool) -> Vec<(u32, i64)> {
    let mut world = World::new();
    (world.partitions, world.backlog) = (24, 120);
    let stage = &mut world.pipeline.stages[0];
    stage.max = 12;
    if is_late {
        stage.max_delay = Some(Duration::from_secs(1));
    }
    world.settle([true, true]);
    for _ in 0..3 {
        world.say("spot");
        world.at += 10;
    }
    world.lanes[SPOT].workload.ready = 0;
    world.settle([true, false]);
    assert_eq!(world.desired(), [12, 0]);
    let (mut begun, mut asked) = (None, Vec::new());
    for _ in 0..1500 {
        world.pods([true, true]);
        world.at += 2;
        world.turn();
        let [kept, spot] = world.desired();
        if 0 < spot {
            let begun = *begun.get_or_insert(world.at);
            if asked.last().map(|(count, _)| *count) != Some(kept) {
                asked.push((kept, world.at - begun));
            }
        }
    }
    asked
}

#[test]
fn nothing_is_given_back_while_data_is_late_but_not_for_ever() {
    let (in_time, late) = (given_back(false), given_back(true));
    let counts = |asked: &[(u32, i64)]| asked.iter().map(|(count, _)| *count).collect::<Vec<_>>();
    assert_eq!((counts(&in_time)[0], counts(&late)[0]), (12, 12));
    assert_eq!((in_time.last().unwrap().0, late.last().unwrap().0), (5, 5));
    assert!(in_time[1].1 < 30, "{in_time:?}");
    assert!((600..640).contains(&late[1].1), "{late:?}");
}

#[test]
fn nothing_is_given_back_either_where_a_stage_that_is_late_steps_up() {
    let mut world = World::new();
    (world.partitions, world.backlog) = (24, 120);
    let stage = &mut world.pipeline.stages[0];
    (stage.max, stage.max_delay) = (12, Some(Duration::from_secs(1)));
    world.settle([true, true]);
    for _ in 0..3 {
        world.say("spot");
        world.at += 10;
    }
    world.lanes[SPOT].workload.ready = 0;
    world.settle([true, false]);
    let turn = |world: &mut World| {
        world.pods([true, true]);
        world.at += 2;
        world.turn();
        world.desired()
    };
    while turn(&mut world) != [12, 7] {
        assert!(world.at < 10_000, "{:?}", world.desired());
    }
    world.pipeline.stages[0].max = 16;
    world.backlog = 160;
    for _ in 0..20 {
        let [kept, spot] = turn(&mut world);
        assert!(12 <= kept, "{kept} and {spot} while it is late");
    }
    assert_eq!(world.desired(), [12, 9]);
}

#[test]
fn who_leads_or_holds_state_is_told_of_on_spot_and_served() {
    let mut world = World::new();
    world.pipeline.stages[0].is_dear = true;
    world.backlog = 120;
    let verdict = world.turn();
    assert_eq!((world.desired(), codes(&verdict)), ([5, 7], vec!["RoleOnSpot"]));
    let sentence = verdict.anomalies[0].to_string();
    assert!(sentence.starts_with("spec.stages[0].lanes[1].pool: spot is"), "{sentence}");
}
