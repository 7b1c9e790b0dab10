//! What other counts would bring: the counts shown are those worth having, judged as the turn judged them.

use penstock::decide::{Fate, Outlook, Snapshot, Step, prospects};

use super::story::{Given, World};

/// 24 partitions, 20 items a second of one replica, 60 s; after two minutes of so many items a second.
fn flowing(arrive: i64, given: Given) -> (Snapshot, Step, Vec<Option<Outlook>>) {
    let given = Given { objective: Some(60), rate: Some(20.0), startup: Some(30), ..given };
    let mut world = World::new(given);
    loop {
        let snapshot = world.snapshot();
        let step = world.decide(&snapshot);
        if 300 <= world.at {
            let told = prospects(&snapshot, &step.memory, &step.plan.verdicts);
            return (snapshot, step, told);
        }
        world.pass(2);
        world.bring(2 * arrive);
        world.serve(2 * arrive);
    }
}

fn told(outlook: &Outlook) -> String {
    let each = outlook.prospects.iter();
    each.map(|it| format!("{} {}", it.replicas, it.fate.code())).collect::<Vec<_>>().join(", ")
}

#[test]
fn each_count_at_which_partitions_fall_otherwise_is_judged() {
    let (_, step, told_of) = flowing(100, Given { desired: Some(6), ..Given::default() });
    let outlook = told_of[0].as_ref().unwrap();
    assert_eq!(step.plan.verdicts[0].replicas, Some(6));
    assert_eq!(
        told(outlook),
        "1 FallsBehind, 2 FallsBehind, 3 FallsBehind, 4 FallsBehind, 5 FallsBehind, 6 Chosen, 8 Dearer, 12 Dearer, 24 Dearer"
    );
    let [few, many] = [&outlook.prospects[0], &outlook.prospects[6]];
    assert!(few.is_rising && 60.0 < few.delay && 0.0 < few.late, "{few:?}");
    assert!(!many.is_rising && many.late <= 0.0, "{many:?}");
    assert!((outlook.horizon - 480.0).abs() < 1e-9 && 8.0 * 480.0 <= many.cost, "{outlook:?}");
}

#[test]
fn bounds_are_told_as_bounds() {
    let given = Given { desired: Some(6), min: Some(2), max: Some(7), ..Given::default() };
    let (_, _, told_of) = flowing(100, given);
    assert_eq!(
        told(told_of[0].as_ref().unwrap()),
        "1 BelowMin, 2 FallsBehind, 3 FallsBehind, 4 FallsBehind, 5 FallsBehind, 6 Chosen, 7 Dearer, 8 AboveMax, 12 AboveMax, 24 AboveMax"
    );
}

#[test]
fn a_count_that_falls_behind_and_may_not_grow_is_told_to() {
    let (_, _, told_of) = flowing(100, Given { max: Some(4), ..Given::default() });
    let prospects = &told_of[0].as_ref().unwrap().prospects;
    let last: Vec<_> = prospects.iter().map(|it| (it.replicas, it.fate)).skip(3).take(2).collect();
    assert_eq!(last, [(4, Fate::ForNow), (5, Fate::AboveMax { max: 4 })]);
}

#[test]
fn asking_changes_nothing() {
    let (snapshot, step, first) = flowing(100, Given::default());
    let again = prospects(&snapshot, &step.memory, &step.plan.verdicts);
    assert_eq!(first, again);
    let is_it = |fate: Fate| matches!(fate, Fate::Chosen | Fate::ForNow);
    let chosen = |it: &Outlook| it.prospects.iter().filter(|it| is_it(it.fate)).count();
    assert_eq!(again[0].as_ref().map(chosen), Some(1));
}

#[test]
fn a_stage_without_an_objective_or_with_nothing_to_do_has_none() {
    let (_, _, idle) = flowing(0, Given::default());
    assert_eq!(idle, [None]);
    let mut world = World::new(Given { per_replica: Some(100.0), ..Given::default() });
    world.bring(1000);
    let snapshot = world.snapshot();
    let step = world.decide(&snapshot);
    assert_eq!(prospects(&snapshot, &step.memory, &step.plan.verdicts), [None]);
}
