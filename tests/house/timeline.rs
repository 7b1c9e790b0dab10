//! The last day of each stage: what is told of it stands in its timeline, within its bytes, through a restart and on a standby.

use std::time::Duration;

use penstock::act::Licence;
use penstock::decide::{Reason, Target};
use penstock::demo::cluster::Cluster;
use penstock::report::{
    self, Entry, PIPELINE_LIMIT, Past, Report, Requests, STAGE_LIMIT, Timeline,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::turns::{Bench, Turn, done, id, moved, stage, tick, turn};

fn timeline(bench: &Bench, stage: &str) -> Timeline {
    bench.report.timelines().of(&id("orders"), stage, bench.clock.now()).unwrap()
}

fn codes(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.code.as_str()).collect()
}

fn scaled(from: u32, to: u32) -> Turn {
    let why = Reason::KeepUp { arrivals: 300.0, rate: 50.0, wished: to };
    Turn { outcomes: vec![moved(from, to, why, done())], ..Turn::of(|_| {}) }
}

#[tokio::test(start_paused = true)]
async fn a_move_stands_in_its_stage_and_trouble_in_the_stage_that_has_it() {
    let bench = Bench::new().await;
    let mut late = stage("sink");
    late.stage.after = vec![0];
    late.verdict.signals.delay = Some(90.0);
    let mut told = turn(vec![stage("enrich"), late]);
    told.outcomes = scaled(4, 6).outcomes;
    bench.tell(&told).await;
    let enrich = timeline(&bench, "enrich");
    let [entry] = &enrich.entries[..] else { panic!("{enrich:?}") };
    assert_eq!(
        (entry.code.as_str(), entry.moved, entry.is_warning),
        ("ScaledUp", Some((4, 6)), false)
    );
    assert_eq!(entry.sentence, "6 replicas: 300/s arrive, and one gets through 50/s");
    let sink = timeline(&bench, "sink");
    let [entry] = &sink.entries[..] else { panic!("{sink:?}") };
    assert_eq!((entry.code.as_str(), entry.is_warning), ("Late", true));
    assert_eq!(entry.sentence, "ObjectiveMet: the oldest item has waited 90 s of 60 s");
    assert!(bench.report.timelines().of(&id("orders"), "nope", bench.clock.now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn no_stage_fills_more_than_two_kibibytes_whatever_happens_to_it() {
    let bench = Bench::new().await;
    let glance = bench.glance("orders").await;
    let mut heaviest = 0;
    for round in 0_u32..600 {
        let mut turn = scaled(round % 20, 20 - round % 20);
        let told = &mut turn.stages[0];
        told.verdict.signals.delay = Some(f64::from(round * 37 % 200));
        told.verdict.signals.arrival_rate = Some(f64::from(round * 7919 % 1000));
        if round % 3 == 0 {
            let words = "why ".repeat(usize::try_from(round % 200).unwrap());
            let message = format!("{round} {words}");
            told.verdict.anomalies = vec![Reason::InternalError { message }];
        }
        if let Target::Seen(workload) = &mut told.target {
            workload.current = round % 23;
        }
        bench.tell_over(glance.clone(), &turn);
        bench.wait(Duration::from_secs(9)).await;
        let (stages, pipeline) = bench.report.timelines().weight(&id("orders"));
        let [weight] = stages[..] else { panic!("{stages:?}") };
        assert!(weight <= STAGE_LIMIT, "{weight} bytes after {round} rounds");
        assert!(pipeline <= PIPELINE_LIMIT, "{pipeline} bytes after {round} rounds");
        heaviest = heaviest.max(weight);
    }
    // The bound is tried, and what is latest is there.
    assert!(STAGE_LIMIT * 3 / 4 < heaviest, "only {heaviest} bytes");
    let seen = timeline(&bench, "enrich");
    assert!(6 <= seen.entries.len(), "{} entries", seen.entries.len());
    assert!(
        seen.entries.iter().any(|entry| entry.moved == Some((599 % 20, 20 - 599 % 20))),
        "{seen:?}"
    );
    assert_eq!((seen.trail.near.replicas.len(), seen.trail.near.delay.len()), (60, 60));
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_is_quiet_costs_next_to_nothing() {
    let bench = Bench::new().await;
    let glance = bench.glance("orders").await;
    for _ in 0..500 {
        bench.tell_over(glance.clone(), &Turn::of(|_| {}));
        bench.wait(Duration::from_secs(10)).await;
    }
    let (stages, _) = bench.report.timelines().weight(&id("orders"));
    assert!(stages[0] <= 256, "{stages:?}");
    bench.report.forget(&id("orders"));
    bench.wait(Duration::from_millis(100)).await;
    assert_eq!(bench.report.timelines().weight(&id("orders")), (vec![], 0));
}

/// Tellers of a new process over a cluster that is there, which read what an earlier one told.
struct Heir {
    report: Report,
    clock: penstock::clock::Clock,
    _tasks: JoinSet<()>,
    _leads: watch::Sender<bool>,
}

fn heir(cluster: &Cluster, namespaces: &[&str]) -> Heir {
    let clock = cluster.clock();
    let (grant, licence) = Licence::new();
    grant.renew(Instant::now());
    let (leads, is_leading) = watch::channel(true);
    let namespaces = namespaces.iter().map(|&name| name.to_owned()).collect();
    let options = report::Options {
        instance: "penstock-1".into(),
        record: None,
        requests: Requests::default(),
        past: Some(Past { client: cluster.client(), namespaces }),
    };
    let (report, teller) = Report::new(cluster.client(), licence, is_leading, clock, &options);
    let mut tasks = JoinSet::new();
    tasks.spawn(teller.run());
    Heir { report, clock, _tasks: tasks, _leads: leads }
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_timeline_is_filled_from_the_events() {
    let bench = Bench::new().await;
    bench.tell(&scaled(4, 6)).await;
    bench.wait(Duration::from_secs(5)).await;
    bench.tell(&scaled(6, 9)).await;
    bench.wait(Duration::from_secs(5)).await;
    let before = timeline(&bench, "enrich").entries;
    assert_eq!(codes(&before), ["ScaledUp", "ScaledUp"]);
    let glance = bench.glance("orders").await;
    let cluster = bench.end().await;
    for namespaces in [&[][..], &["default"]] {
        let heir = heir(&cluster, namespaces);
        heir.report.tell(tick(glance.clone(), &Turn::of(|_| {}), heir.clock.now()));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let seen = heir.report.timelines().of(&id("orders"), "enrich", heir.clock.now()).unwrap();
        assert_eq!(seen.entries, before);
    }
    // A pipeline of the same name that was made anew has no past.
    let heir = heir(&cluster, &[]);
    let mut anew = glance;
    anew.uid = "another".into();
    heir.report.tell(tick(anew, &Turn::of(|_| {}), heir.clock.now()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen = heir.report.timelines().of(&id("orders"), "enrich", heir.clock.now()).unwrap();
    assert_eq!(seen.entries, []);
}

#[tokio::test(start_paused = true)]
async fn a_standby_sees_the_leaders_moves_and_says_why() {
    let bench = Bench::new().await;
    let glance = bench.glance("orders").await;
    let standing = |desired: u32| {
        let mut turn = Turn::of(|told| {
            let Target::Seen(workload) = &mut told.target else { panic!("it is there") };
            workload.desired = desired;
            told.verdict.replicas = Some(desired);
            told.verdict.why = vec![Reason::AtMax { wished: 9, max: desired }];
        });
        turn.may_act = false;
        turn
    };
    for desired in [4, 4, 7] {
        bench.tell_over(glance.clone(), &standing(desired));
        bench.wait(Duration::from_secs(2)).await;
    }
    let seen = timeline(&bench, "enrich");
    let [entry] = &seen.entries[..] else { panic!("{seen:?}") };
    assert_eq!((entry.code.as_str(), entry.moved), ("ScaledUp", Some((4, 7))));
    assert_eq!(entry.sentence, "kept at max 7: 9 are wished");
}
