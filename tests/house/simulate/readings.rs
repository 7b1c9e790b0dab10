//! What policies are shown: offsets in whole commits, late by the metrics' delay, with the gauge of how busy the pods are.

use penstock::simulate::run;

use super::{STILL, plain, scripted};

#[test]
fn commits_are_a_staircase_of_the_commit_interval() {
    let scenario = plain(&format!(
        "
workload: {{steady: {{}}, peakRate: 10, dispersion: 0}}
world: {{rate: 20, commitInterval: 5s, replicas: 1, {STILL}}}
duration: 200s
"
    ));
    let mut policy = scripted(|_| 1);
    run(&scenario, &mut policy, 1);
    let committed: Vec<f64> = policy
        .seen
        .iter()
        .filter(|seen| 50.0 <= seen.at)
        .map(|seen| seen.committed.unwrap())
        .collect();
    let rises: Vec<usize> =
        (1..committed.len()).filter(|at| committed[*at] - committed[at - 1] > 1e-9).collect();
    assert!(rises.windows(2).all(|pair| pair[1] - pair[0] == 5), "{rises:?}");
    assert!((29..=30).contains(&rises.len()), "{rises:?}");
    for pair in rises.windows(2) {
        let step = committed[pair[1]] - committed[pair[0]];
        assert!((step - 50.0).abs() < 1e-6, "{step}");
    }
    let lags = policy.seen.iter().filter(|seen| 50.0 <= seen.at);
    let highest =
        lags.map(|seen| seen.arrived.unwrap() - seen.committed.unwrap()).fold(0.0, f64::max);
    assert!(
        (highest - 40.0).abs() < 1e-6,
        "nothing waits, yet four seconds are not committed: {highest}"
    );
}

#[test]
fn metrics_come_as_late_as_was_said() {
    let at = |delay: u32| {
        let scenario = plain(&format!(
            "
workload: {{steady: {{}}, peakRate: 10, dispersion: 0}}
world: {{rate: 20, metricDelay: {delay}s, replicas: 1, {STILL}}}
duration: 100s
"
        ));
        let mut policy = scripted(|_| 1);
        run(&scenario, &mut policy, 1);
        policy.seen.into_iter().map(|seen| seen.arrived.unwrap()).collect::<Vec<_>>()
    };
    let (now, late) = (at(0), at(15));
    assert!(late[20..].iter().zip(&now[5..]).all(|(late, now)| (late - now).abs() < 1e-9));
    assert!(now[99] - now[98] > 9.9);
}

#[test]
fn the_gauge_shows_how_busy_the_ready_pods_are() {
    let scenario = plain(&format!(
        "
workload: {{steady: {{}}, peakRate: 30, dispersion: 0}}
world: {{rate: 20, replicas: 3, {STILL}}}
duration: 300s
"
    ));
    let mut policy = scripted(|at| if at < 150.0 { 3 } else { 1 });
    run(&scenario, &mut policy, 1);
    let busy = |at: usize| policy.seen[at].busy;
    assert!((busy(140) - 0.5).abs() < 1e-6, "three of 20 for 30: {}", busy(140));
    assert!((busy(290) - 1.0).abs() < 1e-6, "one of 20 for 30: {}", busy(290));
}

#[test]
fn an_outage_loses_every_reading_and_ends() {
    let scenario = plain(&format!(
        "
workload: {{steady: {{}}, peakRate: 10}}
world: {{rate: 20, lost: {{outageEvery: 1h, outageLasts: 5m}}, replicas: 1, {STILL}}}
duration: 24h
"
    ));
    let mut policy = scripted(|_| 1);
    run(&scenario, &mut policy, 1);
    let is_lost: Vec<bool> = policy.seen.iter().map(|seen| seen.arrived.is_none()).collect();
    let begins: Vec<usize> =
        (1..is_lost.len()).filter(|at| is_lost[*at] && !is_lost[at - 1]).collect();
    assert!((10..=40).contains(&begins.len()), "about one an hour: {begins:?}");
    let lost = is_lost.iter().filter(|lost| **lost).count();
    assert!(lost.is_multiple_of(300) || is_lost[is_lost.len() - 1], "each lasts 5 min: {lost}");
    assert!(280 * begins.len() <= lost, "{lost} in {}", begins.len());
}

#[test]
fn readings_tell_who_holds_a_partition_unless_it_changes_hands() {
    let owners = |rest: &str| {
        let scenario = plain(&format!(
            "
workload: {{steady: {{}}, peakRate: 10, dispersion: 0}}
world: {{rate: 20, startup: 10s, replicas: 2, {rest} {STILL}}}
duration: 200s
"
        ));
        let mut policy = scripted(|at| if at < 100.0 { 2 } else { 3 });
        run(&scenario, &mut policy, 1);
        let held = |at: usize| {
            let mut owners: Vec<_> = policy.seen[at].partitions.iter().map(|it| it.owner).collect();
            owners.sort_unstable();
            let counts = owners.chunk_by(|a, b| a == b).map(|same| (same[0], same.len()));
            counts.collect::<Vec<_>>()
        };
        [held(90), held(112), held(190)]
    };
    let [before, during, after] = owners("");
    assert_eq!(before, [(Some(0), 24), (Some(1), 24)]);
    assert_eq!(during, [(None, 16), (Some(0), 16), (Some(1), 16)]);
    assert_eq!(after, [(Some(0), 16), (Some(1), 16), (Some(2), 16)]);
    assert_eq!(owners("tellsOwners: false,")[2], [(None, 48)]);
}
