//! Room that is kept on nodes: for what comes every hour and for what the calendar says, for the pods of a spot node that may go, never without
//! need, never given back blindly, and by whichever means the cluster has.

use std::sync::Arc;

use penstock::decide::{
    Action, Cause, Headroom, Method, Mode, NodeStanding, PerReplica, PodStanding, Reason, Reserve,
    ReserveSeen, RoomVerdict, Standing, Step, Unusable, reserve_of,
};

use super::lanes;
use super::plain;
use super::story::{Given, World, verdict};

/// The world carries out what is asked, and finds places for so many at most.
pub(crate) fn keep(reserves: &mut Vec<ReserveSeen>, reserve: &Reserve, places: u32) {
    let name = &reserve.scale.target.name;
    let old = reserves.iter().position(|it| it.name == *name && it.method == reserve.method);
    let old = old.map(|old| reserves.remove(old));
    assert_eq!(old.as_ref().map_or("", |old| &*old.uid), &*reserve.scale.uid);
    if reserve.scale.to == 0 {
        return;
    }
    let is_placeholder = reserve.method == Method::Placeholders;
    let new = ReserveSeen {
        name: Arc::clone(name),
        method: reserve.method,
        uid: "room-uid".into(),
        replicas: 0,
        placed: None,
        nodes: Vec::new(),
        of: None,
        is_other: false,
        revision: None,
        is_tended: is_placeholder,
        trouble: None,
    };
    let mut seen = old.unwrap_or(new);
    seen.replicas = reserve.scale.to;
    seen.placed = Some(reserve.scale.to.min(places));
    if reserve.is_reshaped {
        seen.of = Some(reserve_of(&reserve.of).into());
        seen.revision = reserve.revision.clone().filter(|_| is_placeholder);
        seen.is_other = false;
    }
    reserves.push(seen);
}

/// What is asked of the room of a turn: how, and for how many.
fn asked(step: &Step) -> Vec<(Method, u32)> {
    let of = |action: &Action| match action {
        Action::Reserve(reserve) => Some((reserve.method, reserve.scale.to)),
        Action::Scale(_)
        | Action::Claim(_)
        | Action::StartJobs(_)
        | Action::GiveUpFirst(_)
        | Action::HoldDrain(_)
        | Action::LetGo(_) => None,
    };
    step.plan.actions.iter().filter_map(of).collect()
}

fn room(step: &Step) -> RoomVerdict {
    let [room] = &verdict(step).rooms[..] else { panic!("{:?}", verdict(step).rooms) };
    room.clone()
}

/// A load that swings by the hour, 40 to 400 items a second, polled each minute; all is taken at once. Hands each turn of the last of so many
/// days to `see`.
fn swing(given: Given, days: i64, mut see: impl FnMut(&World, &Step)) {
    let mut world = World::new(Given {
        startup: Some(240),
        partitions: Some(48),
        poll: Some(60),
        commits: Some(60),
        desired: Some(8),
        headroom: Some(20),
        ..given
    });
    let count = i64::try_from(world.ends.len()).unwrap();
    let mut came = 0;
    while world.at < days * 86_400 {
        for (at, end) in world.ends.iter_mut().enumerate() {
            *end = 1_000_000 + (came + i64::try_from(at).unwrap()) / count;
        }
        world.positions.clone_from(&world.ends);
        world.commits_at = world.at;
        let step = world.turn();
        if (days - 1) * 86_400 < world.at {
            see(&world, &step);
        }
        world.workload.ready = world.workload.desired;
        #[expect(clippy::cast_precision_loss, reason = "seconds of an hour")]
        let hour = world.at.rem_euclid(3_600) as f64 / 3_600.0;
        let level = 220.0 - 180.0 * (std::f64::consts::TAU * hour).cos();
        world.gauge = level;
        #[expect(clippy::cast_possible_truncation, reason = "small")]
        let whole = level as i64;
        came += 60 * whole;
        world.at += 60;
    }
}

/// A promise, kept by a rate that is known.
fn promised() -> Given {
    Given { objective: Some(30), rate: Some(20.0), ..Given::default() }
}

/// How often room stood ten minutes after the full hour, when the load begins to rise, and for how many replicas on the mean.
fn before_peaks(given: Given, days: i64) -> (u32, u32) {
    let (mut times, mut kept, mut turns) = (0, 0, 0);
    swing(given, days, |world, step| {
        let room = room(step);
        (kept, turns) = (kept + room.replicas, turns + 1);
        times += u32::from(world.at.rem_euclid(3_600) == 600 && 0 < room.replicas);
    });
    (times, kept / turns)
}

#[test]
fn who_is_sized_by_a_measure_has_room_in_proportion_though_a_rate_is_known() {
    // By the rate one replica would do; by the measure it takes twenty.
    let measured = Given { gauge: Some(20.0), rate: Some(1_000.0), ..Given::default() };
    let (times, mean) = before_peaks(measured, 3);
    assert!(20 <= times && 1 < mean, "room stood before {times} of 24 peaks, {mean} on the mean");
}

#[test]
fn room_is_there_before_a_peak_that_comes_every_hour_and_goes_as_replicas_come() {
    let (mut turns, mut writes, mut kept, mut before_peak) = (0, 0, 0, 0);
    swing(promised(), 4, |world, step| {
        turns += 1;
        writes += asked(step).len();
        let room = room(step);
        assert!(room.replicas <= 20, "{room}");
        kept += room.replicas;
        // Half an hour past the full hour the load is at its height; from its foot it rises for as long.
        if world.at.rem_euclid(3_600) == 600 && 0 < room.replicas {
            before_peak += 1;
            assert_ne!(room.why, Cause::Unneeded);
        }
    });
    assert!(20 <= before_peak, "room stood before {before_peak} of 24 peaks");
    assert!(writes < 24 * 14, "{writes} writes in a day of {turns} turns");
    assert!(kept / turns < 16, "{} on the mean", kept / turns);
}

#[test]
fn replicas_of_a_climb_that_is_known_find_their_room() {
    let (mut before, mut came, mut met) = (None, 0, 0);
    swing(promised(), 4, |world, step| {
        let now = (verdict(step).replicas.unwrap(), room(step).replicas);
        if let Some((replicas, room)) = before.replace(now)
            && (300..1_800).contains(&world.at.rem_euclid(3_600))
        {
            let more = now.0.saturating_sub(replicas);
            (came, met) = (came + more, met + more.min(room));
        }
    });
    assert!(240 < came && came * 9 <= met * 10, "{met} of {came}");
}

#[test]
fn without_a_forecast_a_schedule_or_spot_no_room_is_kept() {
    swing(Given { forecast_off: true, ..promised() }, 4, |_, step| {
        assert_eq!(asked(step), []);
        assert_eq!((room(step).replicas, room(step).why), (0, Cause::Unneeded));
    });
}

/// At eight there are to be 20; it is eight minutes to.
fn before_eight(headroom: Option<u32>) -> World {
    let mut world = World::new(Given {
        per_replica: Some(100.0),
        desired: Some(4),
        max: Some(30),
        startup: Some(60),
        schedules: vec![(
            "trading".into(),
            "0 8 * * *".into(),
            "0 20 * * *".into(),
            Some(20),
            None,
        )],
        headroom,
        ..Given::default()
    });
    world.at = 8 * 3_600 - 1_080;
    while world.at < 8 * 3_600 - 480 {
        assert_eq!(asked(&world.turn()), []);
        world.at += 2;
    }
    world
}

/// Turns for so many seconds: what was asked, and when.
fn turns(world: &mut World, seconds: i64) -> Vec<(i64, Method, u32)> {
    let mut all = Vec::new();
    for _ in 0..seconds / 2 {
        let at = world.at - 8 * 3_600;
        all.extend(asked(&world.turn()).into_iter().map(|(method, room)| (at, method, room)));
        world.workload.ready = world.workload.desired;
        world.workload.current = world.workload.desired;
        world.at += 2;
    }
    all
}

#[test]
fn a_schedule_that_begins_soon_has_its_room_by_then_and_its_replicas_take_it() {
    let mut world = before_eight(Some(1_000));
    let asked = turns(&mut world, 540);
    let [(made, Method::Placeholders, first), (gone, Method::Placeholders, 0)] = asked[..] else {
        panic!("{asked:?}")
    };
    // Twice three minutes for a node, one for a pod, and two looks.
    assert!((-430..=-420).contains(&made) && first == 20 - 1, "{asked:?}");
    assert!((0..=10).contains(&gone), "{asked:?}");
    assert_eq!((world.workload.desired, world.reserves.len()), (20, 0));
}

#[test]
fn no_more_room_is_kept_than_the_owner_says_nor_any_where_nothing_is_written() {
    let mut world = before_eight(Some(6));
    let asked = turns(&mut world, 290);
    assert_eq!(asked.iter().map(|(_, _, room)| *room).collect::<Vec<_>>(), [6]);
    let mut world = before_eight(Some(9));
    world.given.observe = true;
    assert_eq!(turns(&mut world, 290), []);
    let told = room(&world.turn());
    assert_eq!((told.replicas, told.is_only_told), (9, true));
    assert!(told.to_string().starts_with("room for 9 replicas would be kept"), "{told}");
}

#[test]
fn without_fresh_readings_room_stays_as_it_is() {
    let mut world = before_eight(Some(1_000));
    turns(&mut world, 100);
    let before = world.reserves.clone();
    assert_eq!(before.len(), 1);
    // The owner takes the schedule back, and nobody hears the source.
    world.given.schedules.clear();
    world.sight = "Failed".into();
    assert_eq!(turns(&mut world, 1_800), []);
    assert_eq!(world.reserves, before);
    assert_eq!(room(&world.turn()).why, Cause::Unheard);
    // Heard again, it goes once it has not been needed for ten minutes.
    world.sight = "Fresh".into();
    let asked = turns(&mut world, 590);
    assert_eq!(asked, [], "not yet");
    let asked = turns(&mut world, 30);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(world.reserves.is_empty());
}

#[test]
fn room_that_an_earlier_life_kept_is_kept_on_until_it_is_known_not_to_be_needed() {
    let mut world = before_eight(Some(1_000));
    turns(&mut world, 100);
    world.given.schedules.clear();
    (world.memory, world.outcomes) = (penstock::decide::Memory::default(), Vec::new());
    assert_eq!(turns(&mut world, 590), []);
    assert_eq!(turns(&mut world, 30).len(), 1);
}

#[test]
fn what_is_taken_out_of_the_spec_is_taken_away_whoever_kept_it() {
    let mut world = before_eight(Some(1_000));
    turns(&mut world, 100);
    world.given.headroom = None;
    (world.memory, world.outcomes) = (penstock::decide::Memory::default(), Vec::new());
    let asked = turns(&mut world, 10);
    assert_eq!(
        asked.iter().map(|(_, how, room)| (*how, *room)).collect::<Vec<_>>(),
        [(Method::Placeholders, 0)]
    );
    assert!(world.reserves.is_empty());
    assert_eq!(turns(&mut world, 100), []);
}

#[test]
fn a_buffer_is_made_where_it_is_served_and_given_up_when_nobody_tends_it_within_a_minute() {
    let mut world = before_eight(Some(1_000));
    world.serves_buffers = true;
    let first = turns(&mut world, 70);
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!((first[0].1, first[0].2), (Method::Buffer, 19));
    let mut tended = World { reserves: world.reserves.clone(), ..before_eight(Some(1_000)) };
    (tended.at, tended.serves_buffers) = (world.at, true);
    tended.reserves[0].is_tended = true;
    assert_eq!(turns(&mut tended, 200), [], "who tends it goes on");
    // Placeholders first, and then the buffer goes.
    let second = turns(&mut world, 60);
    let methods: Vec<_> = second.iter().map(|(_, how, room)| (*how, *room)).collect();
    assert_eq!(methods, [(Method::Buffer, 0), (Method::Placeholders, 19)]);
    assert_eq!(turns(&mut world, 100), [], "and none is tried again soon");
}

#[test]
fn a_refusal_is_told_and_not_asked_for_again_soon() {
    let mut world = before_eight(Some(1_000));
    world.ending = "Refused".into();
    let asked = turns(&mut world, 250);
    assert_eq!(asked.len(), 1, "{asked:?}");
    let odd: Vec<_> = verdict(&world.turn()).anomalies.iter().map(Reason::code).collect();
    assert_eq!(odd, ["HeadroomRefused"]);
}

#[test]
fn where_no_buffer_may_be_written_placeholders_are() {
    let mut world = before_eight(Some(1_000));
    (world.serves_buffers, world.ending) = (true, "Refused".into());
    let first = loop {
        let first = asked(&world.turn());
        world.at += 2;
        if !first.is_empty() {
            break first;
        }
    };
    assert_eq!(first, [(Method::Buffer, 19)]);
    world.ending = "Done".into();
    let asked = turns(&mut world, 20);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!((asked[0].1, asked[0].2), (Method::Placeholders, 19));
    let told = room(&world.turn());
    assert!(!told.is_only_told, "it is kept: {told}");
}

#[test]
fn a_buffer_whose_changes_nobody_takes_up_is_given_up_too() {
    let mut world = before_eight(Some(1_000));
    world.serves_buffers = true;
    turns(&mut world, 56);
    world.reserves[0].is_tended = true;
    assert_eq!(turns(&mut world, 70), []);
    // Conditions stand there, of an earlier generation.
    world.reserves[0].is_tended = false;
    let asked = turns(&mut world, 64);
    let methods: Vec<_> = asked.iter().map(|(_, how, room)| (*how, *room)).collect();
    assert_eq!(methods, [(Method::Buffer, 0), (Method::Placeholders, 19)]);
}

#[test]
fn a_reserve_follows_its_stage_to_another_workload() {
    for serves_buffers in [false, true] {
        let mut world = before_eight(Some(1_000));
        world.serves_buffers = serves_buffers;
        turns(&mut world, 70);
        world.reserves[0].is_tended = true;
        world.reserves[0].of = Some("apps/v1/Deployment/old".into());
        assert_eq!(turns(&mut world, 20).len(), 1);
        assert_eq!(world.reserves[0].of.as_deref(), Some("apps/v1/Deployment/work"));
    }
}

#[test]
fn placeholders_of_another_image_are_made_anew_once() {
    let mut world = before_eight(Some(1_000));
    turns(&mut world, 70);
    world.reserves[0].is_other = true;
    assert_eq!(turns(&mut world, 60).len(), 1);
    assert!(!world.reserves[0].is_other);
}

/// A turn under a quota of so many pods, none of which others have.
fn under_quota(world: &mut World, pods: f64) -> Step {
    let (name, quota) = plain::quota_of_pods(pods);
    let mut snapshot = world.snapshot();
    snapshot.due[0].budgets = vec![Arc::clone(&name)];
    snapshot.due[0].per_replica = vec![PerReplica { pods: Some(1.0), ..PerReplica::default() }];
    snapshot.due[0].present = vec![world.workload.desired];
    snapshot.budgets.insert(name, quota);
    let step = world.decide(&snapshot);
    world.workload.ready = world.workload.desired;
    world.workload.current = world.workload.desired;
    world.at += 2;
    step
}

#[test]
fn room_takes_nothing_of_a_quota_that_real_pods_need() {
    let mut world = before_eight(Some(1_000));
    while world.at < 8 * 3_600 - 120 {
        under_quota(&mut world, 12.0);
    }
    assert_eq!((world.workload.desired, world.reserves[0].replicas), (1, 11));
    // So much comes at once that all of it is needed, and more.
    let count = i64::try_from(world.ends.len()).unwrap();
    world.ends.iter_mut().for_each(|end| *end += 2_400 / count);
    let mut step = under_quota(&mut world, 12.0);
    for _ in 0..20 {
        step = under_quota(&mut world, 12.0);
    }
    assert!(world.reserves.is_empty(), "{:?}", world.reserves);
    assert_eq!((verdict(&step).replicas, room(&step).why), (Some(12), Cause::Cut));
    assert_eq!(
        room(&step).to_string(),
        "no room is kept: a budget or a quota leaves the stage no more"
    );
}

#[test]
fn who_has_just_started_gives_no_room_back_because_others_were_not_heard_yet() {
    let mut world = before_eight(Some(1_000));
    while world.at < 8 * 3_600 - 120 {
        under_quota(&mut world, 12.0);
    }
    (world.memory, world.outcomes) = (penstock::decide::Memory::default(), Vec::new());
    for _ in 0..20 {
        under_quota(&mut world, 12.0);
        assert_eq!(world.reserves[0].replicas, 11);
    }
}

#[test]
fn who_is_pinned_keeps_no_room_for_what_is_not_to_come() {
    let mut world = before_eight(Some(1_000));
    turns(&mut world, 100);
    assert_eq!(world.reserves.len(), 1);
    world.given.pinned = Some(2);
    assert_eq!(turns(&mut world, 10).iter().map(|(_, _, room)| *room).collect::<Vec<_>>(), [0]);
}

#[test]
fn the_room_of_a_workload_that_is_gone_is_given_back_and_told_of_until_then() {
    let mut world = before_eight(Some(1_000));
    turns(&mut world, 100);
    world.target = Some(Unusable::NotFound);
    assert_eq!(turns(&mut world, 590), []);
    let told = room(&world.turn());
    assert_eq!((told.replicas, told.placed, told.why), (19, Some(19), Cause::Lingers));
    assert_eq!(turns(&mut world, 30).len(), 1);
    assert!(world.reserves.is_empty());
    // One that nobody has looked up yet keeps it.
    let mut world = before_eight(Some(1_000));
    turns(&mut world, 100);
    world.is_unseen = true;
    assert_eq!(turns(&mut world, 1_200), []);
    assert_eq!(room(&world.turn()).replicas, 19);
}

#[test]
fn what_no_stage_keeps_any_more_goes_whatever_the_stages_do() {
    let mut world = before_eight(Some(1_000));
    turns(&mut world, 100);
    (world.given.headroom, world.target) = (None, Some(Unusable::NotFound));
    assert_eq!(turns(&mut world, 10).len(), 1);
    assert!(world.reserves.is_empty());
    // A refusal is told, and not asked for again soon.
    let mut world = before_eight(Some(1_000));
    turns(&mut world, 100);
    (world.given.headroom, world.ending) = (None, "Refused".into());
    assert_eq!(turns(&mut world, 200).len(), 1);
    let odd: Vec<_> = verdict(&world.turn()).anomalies.iter().map(Reason::code).collect();
    assert_eq!(odd, ["HeadroomRefused"]);
}

#[test]
fn room_that_is_not_written_is_only_told() {
    let mut world = before_eight(Some(1_000));
    world.given.paused = true;
    assert_eq!(turns(&mut world, 290), []);
    assert!(room(&world.turn()).is_only_told);
    let mut world = before_eight(Some(1_000));
    world.ending = "Refused".into();
    turns(&mut world, 100);
    let told = room(&world.turn());
    assert!(told.is_only_told && told.placed == Some(0), "{told:?}");
}

fn on_nodes(nodes: &[usize]) -> Standing {
    let pod = |name: String| PodStanding {
        name: name.into(),
        version: 1,
        is_ready: true,
        is_kept: false,
        cost: None,
    };
    let node = |(at, pods): (usize, &usize)| {
        let pods = (0..*pods).map(|number| pod(format!("{at}-{number}"))).collect();
        (Arc::from(format!("node-{at}")), NodeStanding { pods, ..NodeStanding::default() })
    };
    let nodes = nodes.iter().enumerate().map(node).collect();
    Standing { nodes, revision: Some("a".into()), ..Standing::default() }
}

/// Twelve replicas on two lanes, of which seven stand on two spot nodes.
fn on_spot() -> lanes::World {
    let mut world = lanes::World::new();
    world.pipeline.stages[0].headroom = Some(Headroom::default());
    world.backlog = 120;
    world.settle([true, true]);
    assert_eq!(world.desired(), [5, 7]);
    assert!(world.reserves.is_empty(), "no pod stands anywhere yet");
    world.standing = vec![
        (plain::deployment("sink-kept"), on_nodes(&[5])),
        (plain::deployment("sink-spot"), on_nodes(&[4, 3])),
    ];
    world
}

fn rooms(world: &lanes::World) -> Vec<(&str, u32)> {
    world.reserves.iter().map(|it| (it.name.rsplit_once("-room").unwrap().0, it.replicas)).collect()
}

#[test]
fn a_lane_on_spot_keeps_room_for_the_pods_of_its_fullest_node_and_no_other_lane_does() {
    let mut world = on_spot();
    let verdict = world.settle([true, true]);
    assert_eq!(rooms(&world), [("orders-sink-spot", 4)]);
    assert_eq!(
        verdict.rooms[1].to_string(),
        "room for 4 replicas on spot is kept: 4 stand on its fullest node, which may go at short notice"
    );
    assert_eq!(verdict.rooms[1].placed, Some(4));
    assert_eq!(world.reserves[0].revision.as_deref(), Some("a"));
    // A node that is about to go is replaced already: what counts is the next one. Less is kept after a while only.
    world.standing[1].1 = on_nodes(&[6, 3]);
    world.settle([true, true]);
    assert_eq!(rooms(&world), [("orders-sink-spot", 6)]);
    let going = world.standing[1].1.nodes.get_mut("node-0").unwrap();
    going.is_going = true;
    world.settle([true, true]);
    assert_eq!(rooms(&world), [("orders-sink-spot", 6)]);
    for _ in 0..8 {
        world.settle([true, true]);
    }
    assert_eq!(rooms(&world), [("orders-sink-spot", 3)]);
    // Another revision is through: placeholders take its shape. While none is known, they keep theirs.
    world.standing[1].1.revision = Some("b".into());
    world.settle([true, true]);
    assert_eq!(world.reserves[0].revision.as_deref(), Some("b"));
    world.standing[1].1.revision = None;
    world.settle([true, true]);
    assert_eq!(world.reserves[0].revision.as_deref(), Some("b"));
}

/// A spot pool that has run dry for longer than room lingers.
fn dry(mut world: lanes::World) -> lanes::World {
    world.say("spot");
    for _ in 0..9 {
        let now = world.at;
        world.settle([true, true]);
        let sign = world.pools["spot"].signs[0].clone();
        assert!(now < world.at && sign.is_hard);
        world.say("spot");
    }
    world
}

#[test]
fn while_the_pool_gives_nothing_its_heir_keeps_the_room_that_is_lacking() {
    let mut world = on_spot();
    world.places = 1;
    world.settle([true, true]);
    assert_eq!((rooms(&world), world.reserves[0].placed), (vec![("orders-sink-spot", 4)], Some(1)));
    let mut world = dry(world);
    let mut all = rooms(&world);
    all.sort_unstable();
    assert_eq!(all, [("orders-sink-kept", 3), ("orders-sink-spot", 1)]);
    let verdict = world.turn();
    assert_eq!(
        verdict.rooms[0].to_string(),
        "room for 3 replicas on kept is kept for a lane whose pool gives no nodes now"
    );
}

#[test]
fn what_a_dry_pool_gave_before_is_not_given_back_nor_wanted_elsewhere() {
    let mut world = on_spot();
    world.settle([true, true]);
    assert_eq!(rooms(&dry(world)), [("orders-sink-spot", 4)]);
    // Nor where nobody takes over: what was lost there would come nowhere.
    let mut world = on_spot();
    world.pipeline.stages[0].lanes[1].fallback_to = None;
    world.places = 1;
    world.settle([true, true]);
    assert_eq!(rooms(&dry(world)), [("orders-sink-spot", 4)]);
}

#[test]
fn the_replicas_of_a_full_pool_take_the_room_that_fills_it() {
    let mut world = on_spot();
    world.settle([true, true]);
    let spot = world.pools.get_mut("spot").unwrap();
    spot.full = Some("its nodes have 40 CPUs, and limits.cpu is 40".into());
    world.settle([true, true]);
    // Four have room there: of 18 replicas 11 fall to spot, and no more than these are wanted elsewhere.
    world.backlog = 180;
    let verdict = world.turn();
    assert_eq!((verdict.replicas, world.desired()), (Some(18), [7, 11]));
    assert_eq!(verdict.lanes[0].extra, 0);
    // Two more have none: who takes over carries them.
    world.backlog = 210;
    world.settle([true, true]);
    assert_eq!(world.desired().iter().sum::<u32>(), 21);
    // Whoever finds no node after all is carried elsewhere.
    let mut world = on_spot();
    world.settle([true, true]);
    let spot = world.pools.get_mut("spot").unwrap();
    spot.full = Some("full".into());
    world.settle([true, true]);
    world.backlog = 180;
    world.settle([true, false]);
    assert_eq!(world.desired()[0], 7 + 4);
}

#[test]
fn room_that_would_go_with_the_fullest_node_does_not_count_against_its_loss() {
    let mut world = on_spot();
    world.settle([true, true]);
    world.reserves[0].nodes = vec![("node-0".into(), 3), ("node-1".into(), 1)];
    let verdict = world.settle([true, true]);
    assert_eq!(rooms(&world), [("orders-sink-spot", 7)]);
    assert_eq!(
        verdict.rooms[1].to_string(),
        "room for 7 replicas on spot is kept: 4 stand on its fullest node, which may go at short notice, and room for 3 with it"
    );
    // Nor is it another matter where one pod fewer stands, and more of the room.
    world.standing[1].1 = on_nodes(&[4, 3]);
    world.reserves[0].nodes =
        vec![("node-0".into(), 0), ("node-1".into(), 2), ("node-2".into(), 5)];
    for _ in 0..9 {
        world.settle([true, true]);
    }
    assert_eq!(
        rooms(&world),
        [("orders-sink-spot", 5)],
        "when node-1 goes, three of five are left"
    );
}

#[test]
fn a_lane_that_is_gone_leaves_no_room_behind() {
    let mut world = on_spot();
    world.settle([true, true]);
    world.reserves[0].name = "orders-sink-cheap-room-00000000".into();
    world.settle([true, true]);
    assert_eq!(rooms(&world), [("orders-sink-spot", 4)], "the other was taken away");
    world.pipeline.stages[0].mode = Mode::Observe;
    world.reserves[0].replicas = 1;
    world.settle([true, true]);
    assert_eq!(world.reserves[0].replicas, 1, "who only looks writes nothing");
}
