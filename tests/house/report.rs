//! What is told of turns: statuses, events, metrics and the record, on virtual time over the in-memory cluster.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use penstock::crd::PipelineStatus;
use penstock::crd::meaning::Code;
use penstock::decide::{
    Cause, Ending, FallbackPolicy, Headroom, Memory, Method, Missing, Mode, Nodes, Observation,
    Pause, Plan, Reason, ReserveSeen, Reserves, RoomVerdict, Snapshot, Target,
};
use penstock::demo::cluster::{Fault as Trouble, Match};
use penstock::report::{Destination, Fault, Polls, REASONS, Record};
use serde_json::json;

use crate::turns::{Bench, Told, Turn, done, id, moved, stage, turn};

fn condition<'a>(status: &'a PipelineStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    (&found.status, &found.reason, &found.message)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn late(told: &mut Told, delay: f64) {
    told.verdict.signals.delay = Some(delay);
}

fn blind() -> Reason {
    Reason::NoFreshData {
        source: "todo".into(),
        label: "Timeout".into(),
        message: "no answer".into(),
    }
}

/// A turn of a pipeline that cannot be read.
fn unreadable() -> Turn {
    let fault = Fault {
        path: "spec.stages[0].lanes".into(),
        code: Code::NotYetSupported,
        message: "is not supported by this version".into(),
        hint: Some("state a target".into()),
    };
    Turn { faults: vec![fault], stages: Vec::new(), ..Turn::of(|_| {}) }
}

#[tokio::test(start_paused = true)]
async fn a_new_pipeline_has_its_status_at_once() {
    let bench = Bench::new().await;
    let mut second = stage("sink");
    second.verdict.replicas = Some(7);
    second.verdict.why =
        vec![Reason::CatchUp { lag: 182_000, delay: 41.0, objective: 30.0, rate: 48.2, wished: 7 }];
    second.verdict.signals.lag = Some(182_000);
    second.verdict.signals.delay = Some(41.2);
    second.verdict.signals.objective = Some(30.0);
    second.verdict.signals.rate_per_replica = Some(48.2371);
    second.verdict.signals.startup = Some(38.0);
    second.verdict.signals.rebalance = Some(4.0);
    second.verdict.held = Some((12, Timestamp::UNIX_EPOCH));
    bench.tell(&turn(vec![stage("enrich"), second])).await;
    let object = bench.object("orders").await;
    let status = serde_json::to_value(object.status.unwrap()).unwrap();
    assert_eq!(status["observedGeneration"], json!(1));
    assert_eq!(status["stageCount"], json!(2));
    assert_eq!(status["bottleneck"], json!("sink"));
    assert_eq!(status["delay"], json!("41s"));
    assert_eq!(status["replicas"], json!({"desired": 11, "ready": 6}));
    assert!(status["observedAt"].as_str().is_some_and(|at| !at.contains('.')), "whole seconds");
    let mut sink = status["stages"][1].clone();
    let message = sink["reason"]["message"].take();
    assert!(message.as_str().unwrap().contains("182000 messages wait"), "{message}");
    assert_eq!(
        sink,
        json!({
            "name": "sink", "desired": 7, "current": 4, "ready": 3, "lag": 182_000, "delay": "41s", "objective": "30s",
            "reason": {"code": "CatchUp", "message": null},
            "held": {"replicas": 12, "since": "1970-01-01T00:00:00Z"},
            "learned": {"ratePerReplica": 48.2, "startup": "38s", "rebalance": "4s"},
        })
    );
    let managers = object.metadata.managed_fields.unwrap();
    let owner = managers.iter().find(|entry| entry.subresource.as_deref() == Some("status"));
    assert_eq!(owner.unwrap().manager.as_deref(), Some("penstock-status"));
    assert_eq!(bench.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_is_well_in_eight_conditions_of_which_every_reason_is_listed() {
    let bench = Bench::new().await;
    bench.tell(&Turn::of(|_| {})).await;
    let status = bench.status().await;
    let told: Vec<_> = status
        .conditions
        .iter()
        .map(|c| format!("{}={} {}", c.type_, c.status, c.reason))
        .collect();
    assert_eq!(
        told,
        [
            "Ready=True Serving",
            "Active=True Working",
            "Paused=False NotPaused",
            "Fallback=False NotNeeded",
            "ObjectiveMet=True InTime",
            "WriterConflict=False SoleWriter",
            "Reconciling=False Settled",
            "Stalled=False Settled",
        ]
    );
    for condition in &status.conditions {
        assert!(REASONS.contains(&condition.reason.as_str()), "{}", condition.reason);
        assert_eq!(condition.observed_generation, Some(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_works_within_its_objective_is_written_once() {
    let bench = Bench::new().await;
    for round in 0..600_u32 {
        let turn = Turn::of(|told| {
            told.verdict.signals.lag = Some(u64::from(round * 37 % 900));
            late(told, f64::from(round * 13 % 55));
            told.verdict.signals.rate_per_replica = Some(50.0 + f64::from(round % 7) / 2.0);
            told.verdict.why = if round % 2 == 0 {
                vec![Reason::Steady { delay: 1.0, objective: 60.0 }]
            } else {
                vec![Reason::KeepUp { arrivals: 12.0, rate: 50.0, wished: 4 }]
            };
        });
        bench.tell(&turn).await;
        bench.wait(seconds(6)).await;
    }
    assert_eq!(bench.writes().len(), 1, "an hour of reasons that take turns");
}

#[tokio::test(start_paused = true)]
async fn a_move_is_written_within_a_minute_and_a_condition_at_once() {
    let bench = Bench::new().await;
    bench.tell(&Turn::of(|_| {})).await;
    let up = |to| Turn::of(move |told| told.verdict.replicas = Some(to));
    bench.wait(seconds(10)).await;
    bench.tell(&up(9)).await;
    assert_eq!(bench.status().await.replicas.unwrap().desired, 4, "the last write is 10 s old");
    bench.wait(seconds(50)).await;
    assert_eq!(bench.status().await.replicas.unwrap().desired, 9);
    bench
        .tell(&Turn::of(|told| {
            told.verdict.replicas = Some(9);
            late(told, 61.0);
        }))
        .await;
    let status = bench.status().await;
    let (truth, reason, message) = condition(&status, "ObjectiveMet");
    assert_eq!((truth, reason), ("False", "Late"));
    assert_eq!(message, "stage enrich: the oldest item has waited 61 s of 60 s");
    assert_eq!(bench.writes().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_calm_reason_is_written_once_it_has_stood_for_a_minute_and_trouble_before() {
    let bench = Bench::new().await;
    bench.tell(&Turn::of(|_| {})).await;
    bench.wait(seconds(120)).await;
    let kept = Turn::of(|told| {
        told.verdict.why.push(Reason::AtMin { wished: 2, min: 4 });
    });
    for _ in 0..29 {
        bench.tell(&kept).await;
        bench.wait(seconds(2)).await;
    }
    assert_eq!(bench.writes().len(), 1);
    bench.tell(&kept).await;
    bench.wait(seconds(2)).await;
    assert_eq!(bench.status().await.stages[0].reason.as_ref().unwrap().code, "AtMin");
    bench.wait(seconds(60)).await;
    bench.tell(&Turn::of(|told| told.verdict.why = vec![blind()])).await;
    assert_eq!(bench.writes().len(), 2, "it may be a hiccup");
    bench.wait(seconds(20)).await;
    bench.tell(&Turn::of(|told| told.verdict.why = vec![blind()])).await;
    let reason = bench.status().await.stages[0].reason.clone().unwrap();
    assert_eq!(reason.code, "NoFreshData");
    assert!(reason.message.contains("no answer"), "{}", reason.message);
    assert_eq!(bench.writes().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_delay_around_its_limit_is_told_once_and_its_doubling_again() {
    let bench = Bench::new().await;
    bench.tell(&Turn::of(|_| {})).await;
    bench.wait(seconds(100)).await;
    for round in 0..100 {
        let delay = if round % 2 == 0 { 61.0 } else { 58.0 };
        bench.tell(&Turn::of(|told| late(told, delay))).await;
        bench.wait(seconds(2)).await;
    }
    assert_eq!(bench.writes().len(), 2);
    for round in 0..100 {
        let delay = if round % 2 == 0 { 121.0 } else { 117.0 };
        bench.tell(&Turn::of(|told| late(told, delay))).await;
        bench.wait(seconds(2)).await;
    }
    assert_eq!(bench.writes().len(), 3);
    bench.tell(&Turn::of(|told| late(told, 53.0))).await;
    bench.wait(seconds(30)).await;
    assert_eq!(condition(&bench.status().await, "ObjectiveMet").0, "False");
    bench.wait(seconds(30)).await;
    bench.tell(&Turn::of(|told| late(told, 53.0))).await;
    assert_eq!(condition(&bench.status().await, "ObjectiveMet").0, "True");
    assert_eq!(bench.writes().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_stays_just_below_its_limit_or_rounds_to_it_is_not_written_again_and_again() {
    for stays in [57.0, 60.4] {
        let bench = Bench::new().await;
        bench.tell(&Turn::of(|_| {})).await;
        bench.wait(seconds(100)).await;
        for round in 0..600 {
            let delay = if round < 60 { 65.0 } else { stays };
            bench.tell(&Turn::of(|told| late(told, delay))).await;
            bench.wait(seconds(2)).await;
        }
        assert!(bench.writes().len() <= 3, "{} writes at {stays}", bench.writes().len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_hiccup_of_a_source_that_many_pipelines_share_writes_nothing_and_an_outage_one_status_each()
 {
    let bench = Bench::new().await;
    let names: Vec<String> = (0..12).map(|number| format!("p-{number}")).collect();
    for name in &names {
        bench.create(name).await;
    }
    let tell = async |turn: &Turn| {
        for name in &names {
            bench.tell_over(bench.glance(name).await, turn);
        }
        bench.wait(seconds(2)).await;
    };
    // Items age while nobody can see them being taken.
    let well = Turn::of(|told| late(told, 55.0));
    let dark = |since, delay| {
        Turn::of(move |told| {
            told.verdict.why = vec![blind()];
            told.verdict.signals.is_fresh = false;
            told.verdict.signals.blind_since = Some(since);
            late(told, delay);
        })
    };
    for _ in 0..60 {
        tell(&well).await;
    }
    assert_eq!(bench.writes().iter().filter(|write| write.name != "orders").count(), 12);
    bench.cluster.faults().clear_log();
    for _ in 0..3 {
        let since = bench.clock.now();
        for delay in [57.0, 59.0, 61.0, 63.0, 65.0, 67.0, 69.0, 71.0, 73.0] {
            tell(&dark(since, delay)).await;
        }
        for _ in 0..40 {
            tell(&well).await;
        }
    }
    assert_eq!(bench.writes(), [], "three hiccups of 18 s");
    assert_eq!(events(&bench).await, []);
    let since = bench.clock.now();
    for _ in 0..20 {
        tell(&dark(since, 55.0)).await;
    }
    assert_eq!(bench.writes().len(), 12);
    let status = bench.object("p-7").await.status.unwrap();
    assert_eq!(status.stages[0].reason.as_ref().unwrap().code, "NoFreshData");
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_falls_with_each_commit_and_grows_back_is_told_once() {
    let bench = Bench::new().await;
    for round in 0..600_u32 {
        bench.tell(&Turn::of(|told| late(told, f64::from(round * 2 % 70)))).await;
        bench.wait(seconds(2)).await;
    }
    assert_eq!(condition(&bench.status().await, "ObjectiveMet").0, "False");
    assert_eq!(bench.writes().len(), 2, "one commit in 70 s of a promised minute");
    assert_eq!(events(&bench).await.len(), 1);
    let coarse = Bench::new().await;
    for round in 0..600_u32 {
        let turn = Turn::of(|told| {
            told.verdict.signals.resolution = Some(77.0);
            late(told, f64::from(round * 2 % 70));
        });
        coarse.tell(&turn).await;
        coarse.wait(seconds(2)).await;
    }
    let status = coarse.status().await;
    assert_eq!(condition(&status, "ObjectiveMet").1, "ObjectiveBelowResolution");
    assert_eq!(events(&coarse).await, [], "its commits cannot show that it is late");
}

#[tokio::test(start_paused = true)]
async fn a_learned_rate_is_written_soon_and_then_hourly_when_it_moved_by_a_tenth() {
    let bench = Bench::new().await;
    let rate = |rate| Turn::of(move |told| told.verdict.signals.rate_per_replica = Some(rate));
    bench.tell(&Turn::of(|_| {})).await;
    bench.tell(&rate(50.0)).await;
    bench.wait(seconds(61)).await;
    let learned = |status: PipelineStatus| status.stages[0].learned.clone().unwrap();
    assert_eq!(learned(bench.status().await).rate_per_replica, Some(50.0));
    bench.tell(&rate(56.0)).await;
    bench.wait(seconds(3_000)).await;
    assert_eq!(learned(bench.status().await).rate_per_replica, Some(50.0));
    bench.wait(seconds(700)).await;
    assert_eq!(learned(bench.status().await).rate_per_replica, Some(56.0));
    bench.tell(&rate(58.0)).await;
    bench.wait(seconds(8_000)).await;
    assert_eq!(learned(bench.status().await).rate_per_replica, Some(56.0), "not a tenth");
}

#[tokio::test(start_paused = true)]
async fn what_the_owner_stated_is_not_called_learned() {
    let bench = Bench::new().await;
    bench
        .tell(&Turn::of(|told| {
            told.stage.rate_hint = Some(50.0);
            told.stage.startup_hint = Some(seconds(40));
            told.verdict.signals.rate_per_replica = Some(50.0);
            told.verdict.signals.startup = Some(40.0);
        }))
        .await;
    assert_eq!(bench.status().await.stages[0].learned, None);
}

#[tokio::test(start_paused = true)]
async fn ten_statuses_a_second_are_written_in_all() {
    let bench = Bench::new().await;
    for number in 0..50 {
        bench.create(&format!("p-{number}")).await;
    }
    bench.cluster.faults().clear_log();
    for number in 0..50 {
        bench.tell_over(bench.glance(&format!("p-{number}")).await, &Turn::of(|_| {}));
    }
    bench.wait(seconds(2)).await;
    let soon = bench.writes().len();
    assert!((15..=21).contains(&soon), "{soon}");
    bench.wait(seconds(4)).await;
    assert_eq!(bench.writes().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_without_the_lease_and_all_of_it_after() {
    let bench = Bench::new().await;
    bench.grant.revoke();
    let standby = Turn { may_act: false, ..Turn::of(|_| {}) };
    bench.tell(&standby).await;
    bench.wait(seconds(60)).await;
    assert_eq!(bench.writes().len(), 0);
    bench.grant.renew(tokio::time::Instant::now());
    bench.wait(seconds(2)).await;
    assert_eq!(bench.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_woke_up_late_writes_over_nothing() {
    let bench = Bench::new().await;
    let old = bench.glance("orders").await;
    bench.tell(&Turn::of(|told| told.verdict.replicas = Some(9))).await;
    let sleeper = Bench::over(bench.cluster.clone(), None);
    sleeper.tell_over(old, &Turn::of(|told| told.verdict.replicas = Some(2)));
    sleeper.wait(seconds(5)).await;
    assert_eq!(bench.status().await.replicas.unwrap().desired, 9);
    let codes: Vec<u16> = bench.writes().iter().map(|write| write.code).collect();
    assert_eq!(codes[..2], [200, 409]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_the_cache_has_not_seen_is_built_upon() {
    let bench = Bench::new().await;
    let cached = bench.glance("orders").await;
    bench.tell_over(cached.clone(), &Turn::of(|_| {}));
    bench.wait(seconds(1)).await;
    let since = bench.status().await.conditions[4].last_transition_time.clone();
    bench.tell_over(cached, &Turn::of(|told| late(told, 70.0)));
    bench.wait(seconds(1)).await;
    assert_eq!(bench.writes().iter().map(|write| write.code).collect::<Vec<_>>(), [200, 200]);
    let status = bench.status().await;
    assert_eq!(condition(&status, "ObjectiveMet").0, "False");
    assert_eq!(status.conditions[0].last_transition_time, since, "Ready has not turned over");
    assert!(status.conditions[4].last_transition_time > since, "ObjectiveMet has");
}

#[tokio::test(start_paused = true)]
async fn a_status_of_which_an_older_definition_keeps_a_part_is_written_once_and_then_for_news_only()
{
    // A version that knows no reasons yet drops them.
    let stages = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/stages";
    let cluster = Bench::cluster(|definition| {
        if definition["spec"]["names"]["kind"] == "ScaledPipeline" {
            let fields = definition.pointer_mut(&format!("{stages}/items/properties")).unwrap();
            assert!(fields.as_object_mut().unwrap().shift_remove("reason").is_some());
        }
    });
    let bench = Bench::over(cluster, None);
    bench.create("orders").await;
    bench.cluster.faults().clear_log();
    for _ in 0..30 {
        bench.tell(&Turn::of(|_| {})).await;
        bench.wait(seconds(60)).await;
    }
    let status = bench.status().await;
    assert_eq!((status.stages[0].desired, &status.stages[0].reason), (Some(4), &None), "it is cut");
    assert_eq!(bench.writes().len(), 1, "half an hour in which nothing moves");

    let moved = || Turn::of(|told| told.verdict.replicas = Some(9));
    for _ in 0..5 {
        bench.tell(&moved()).await;
        bench.wait(seconds(60)).await;
    }
    assert_eq!(bench.status().await.stages[0].desired, Some(9));
    assert_eq!(bench.writes().len(), 2, "one for the move");

    // What another hand writes is seen for what it is, and mended once.
    let other = json!({"status": {"stages": [{"name": "enrich", "desired": 1}]}});
    let params = PatchParams { field_manager: Some("hand".to_owned()), ..PatchParams::default() };
    bench.api().patch_status("orders", &params, &Patch::Merge(&other)).await.unwrap();
    bench.cluster.faults().clear_log();
    for _ in 0..5 {
        bench.tell(&moved()).await;
        bench.wait(seconds(60)).await;
    }
    assert_eq!(bench.status().await.stages[0].desired, Some(9));
    assert_eq!(bench.writes().len(), 1, "one for the other hand");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_has_just_started_does_not_write_that_it_does_not_know_yet() {
    let bench = Bench::new().await;
    bench.tell(&Turn::of(|_| {})).await;
    bench.wait(seconds(600)).await;
    let cluster = bench.end().await;
    cluster.faults().clear_log();
    let bench = Bench::over(cluster, None);
    let unseen = Turn::of(|told| {
        told.target = Target::Unseen;
        told.verdict.replicas = None;
        told.verdict.signals = penstock::decide::Signals::default();
        told.verdict.why = vec![Reason::TargetUnseen];
    });
    bench.tell(&unseen).await;
    let waiting = Turn::of(|told| {
        told.verdict.signals = penstock::decide::Signals::default();
        told.verdict.why = vec![Reason::AwaitingData { source: "todo".into() }];
    });
    bench.tell(&waiting).await;
    bench.wait(seconds(2)).await;
    let half = Turn::of(|told| told.verdict.signals.delay = None);
    bench.tell(&half).await;
    bench.wait(seconds(2)).await;
    bench.tell(&Turn::of(|_| {})).await;
    bench.wait(seconds(600)).await;
    assert_eq!(bench.writes(), []);
    bench.tell(&waiting).await;
    let status = bench.status().await;
    assert_eq!(condition(&status, "Ready").0, "Unknown", "later it is news");
    assert_eq!(condition(&status, "Reconciling").0, "True");
}

#[tokio::test(start_paused = true)]
async fn that_room_was_kept_stays_written_until_nothing_is_left_of_it() {
    let bench = Bench::new().await;
    let room = |placed| RoomVerdict {
        pool: None,
        replicas: 3,
        placed,
        why: Cause::Lingers,
        is_only_told: false,
    };
    let kept = |placed| {
        Turn::of(move |told| {
            told.stage.headroom = Some(Headroom::default());
            told.verdict.rooms = vec![room(placed)];
        })
    };
    bench.tell(&kept(Some(1))).await;
    let headroom = |status: PipelineStatus| {
        status.stages[0].headroom.as_ref().map(|it| (it.replicas, it.placed))
    };
    assert_eq!(headroom(bench.status().await), Some((3, Some(1))));
    bench.tell(&kept(Some(3))).await;
    bench.wait(seconds(70)).await;
    assert_eq!(headroom(bench.status().await), Some((3, Some(3))));
    bench.tell(&kept(None)).await;
    bench.wait(seconds(70)).await;
    assert_eq!(headroom(bench.status().await), Some((3, None)), "nobody can tell");
    // Who has just started has not looked at the workload yet.
    let unseen = Turn::of(|told| told.stage.headroom = Some(Headroom::default()));
    bench.tell(&unseen).await;
    bench.wait(seconds(70)).await;
    assert_eq!(headroom(bench.status().await), Some((3, None)));
    // The field is gone: what stood for it is on its way, or may not even be looked for.
    let left = ReserveSeen {
        name: "orders-enrich-room".into(),
        method: Method::Placeholders,
        uid: "u".into(),
        replicas: 3,
        placed: Some(3),
        nodes: Vec::new(),
        of: None,
        is_other: false,
        revision: None,
        is_tended: true,
        trouble: None,
    };
    for reserves in [Reserves::Seen(vec![left]), Reserves::Forbidden, Reserves::Unseen] {
        bench.tell(&Turn { reserves, ..Turn::of(|_| {}) }).await;
        bench.wait(seconds(70)).await;
        let status = bench.status().await;
        assert_eq!(status.stages[0].headroom.as_ref().map(|it| it.replicas), Some(0));
    }
    bench.tell(&Turn { reserves: Reserves::Seen(Vec::new()), ..Turn::of(|_| {}) }).await;
    bench.wait(seconds(70)).await;
    assert_eq!(headroom(bench.status().await), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_so_goes_and_what_a_hand_took_comes_back() {
    let bench = Bench::new().await;
    bench.tell(&Turn::of(|_| {})).await;
    assert!(bench.status().await.bottleneck.is_some());
    let unknown = Turn::of(|told| {
        told.verdict.signals.delay = None;
        told.verdict.why = vec![blind()];
        told.observation = Some(Observation::Failed(Missing {
            label: "UnknownTopic".into(),
            message: "the broker knows no such topic".into(),
            is_lasting: true,
            since: Timestamp::UNIX_EPOCH,
        }));
    });
    bench.wait(seconds(20)).await;
    bench.tell(&unknown).await;
    let status = bench.status().await;
    assert_eq!((status.bottleneck.clone(), status.delay.clone()), (None, None));
    let (truth, reason, message) = condition(&status, "Ready");
    assert_eq!((truth, reason), ("False", "UnknownTopic"));
    assert_eq!(message, "source enrich/todo: the broker knows no such topic");
    assert_eq!(condition(&status, "Stalled").0, "True");
    let wiped = Patch::Merge(json!({"status": {"conditions": [], "stages": []}}));
    bench.api().patch_status("orders", &PatchParams::default(), &wiped).await.unwrap();
    bench.tell(&unknown).await;
    let mut again = bench.status().await;
    again.observed_at = status.observed_at;
    for (new, old) in again.conditions.iter_mut().zip(&status.conditions) {
        assert!(new.last_transition_time >= old.last_transition_time);
        new.last_transition_time = old.last_transition_time.clone();
    }
    assert_eq!(again, status);
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_cannot_work_is_not_ready_and_names_the_field() {
    let bench = Bench::new().await;
    bench.tell(&unreadable()).await;
    let status = bench.status().await;
    assert_eq!(
        condition(&status, "Ready"),
        (
            "False",
            "NotYetSupported",
            "spec.stages[0].lanes: is not supported by this version; hint: state a target"
        )
    );
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!((status.stages, status.stage_count), (Vec::new(), None), "nothing is known of it");
}

#[tokio::test(start_paused = true)]
async fn an_objective_that_nobody_wrote_is_said_to_be_a_default() {
    let met = async |stages: &[(&str, bool)], delay| {
        let bench = Bench::new().await;
        let told = stages.iter().map(|(name, is_default)| {
            let mut told = stage(name);
            told.stage.is_default_objective = *is_default;
            late(&mut told, delay);
            told
        });
        bench.tell(&turn(told.collect())).await;
        condition(&bench.status().await, "ObjectiveMet").2.to_owned()
    };
    let keeps = "every stage keeps its objective";
    assert_eq!(met(&[("enrich", false)], 5.0).await, keeps);
    assert_eq!(
        met(&[("parse", true), ("enrich", true)], 5.0).await,
        format!("{keeps}; the objective is 60 s from end to end, since nobody wrote one")
    );
    assert_eq!(
        met(&[("parse", true), ("enrich", false)], 70.0).await,
        "stage parse: the oldest item has waited 70 s of 60 s; the objective is 60 s for parse, since nobody wrote one"
    );
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_hold_is_counted_when_it_begins() {
    let bench = Bench::new().await;
    let at = Timestamp::UNIX_EPOCH;
    let holds = [
        Reason::GateHolds {
            gate: "g".into(),
            value: 1.0,
            hold_when: "value > 0.0".into(),
            since: None,
        },
        Reason::GateUnread {
            gate: "g".into(),
            label: "Timeout".into(),
            message: "no answer".into(),
        },
        Reason::CombineFailed { message: "it gives NaN".into() },
        Reason::AwaitingRetry { wished: 4, jobs: 5, until: at },
        Reason::AwaitingReading { wished: 7, running: 5, ended: 2 },
        Reason::TooSoon { wished: 12, until: at },
        blind(),
    ];
    for reason in &holds {
        for _ in 0..2 {
            bench.tell(&Turn::of(|told| told.verdict.why.push(reason.clone()))).await;
        }
    }
    for reason in [Reason::WriteInFlight, Reason::AtMax { wished: 31, max: 20 }] {
        bench.tell(&Turn::of(|told| told.verdict.why.push(reason))).await;
    }
    let text = bench.report.metrics().text().unwrap();
    let mut counted: Vec<_> = series(&text, "penstock_holds_total{");
    counted.sort_unstable();
    let of = r#"namespace="default",pipeline="orders",stage="enrich""#;
    let line =
        |reason: &Reason| format!(r#"penstock_holds_total{{{of},reason="{}"}} 1"#, reason.code());
    let mut expected: Vec<_> = holds.iter().map(line).collect();
    expected.sort_unstable();
    assert_eq!(counted, expected);
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_stays_written_while_a_pipeline_cannot_be_read() {
    let bench = Bench::new().await;
    let well = Turn::of(|told| {
        late(told, 100.0);
        told.verdict.why.push(Reason::WriterConflict {
            manager: "argocd-controller".into(),
            until: Timestamp::UNIX_EPOCH,
        });
        told.verdict.held = Some((12, Timestamp::UNIX_EPOCH));
        told.verdict.signals.rate_per_replica = Some(48.2);
        told.verdict.signals.startup = Some(38.0);
        told.verdict.signals.rebalance = Some(4.0);
        told.stage.headroom = Some(Headroom::default());
        told.verdict.rooms = vec![RoomVerdict {
            pool: None,
            replicas: 3,
            placed: Some(3),
            why: Cause::Lingers,
            is_only_told: false,
        }];
    });
    bench.tell(&well).await;
    let before = bench.status().await;
    let told = bench.writes().len();
    for _ in 0..60 {
        bench.wait(seconds(30)).await;
        bench.tell(&unreadable()).await;
    }
    let after = bench.status().await;
    assert_eq!(condition(&after, "Ready").1, "NotYetSupported");
    for kind in ["ObjectiveMet", "Fallback", "WriterConflict"] {
        let said = ("Unknown", "NotKnown", "the pipeline cannot be read");
        assert_eq!(condition(&after, kind), said, "{kind}");
    }
    let ended = |(_, reason, _): &(String, String, String)| reason.ends_with("Ended");
    assert!(!events(&bench).await.iter().any(ended), "nothing is over");
    assert_eq!((after.bottleneck, after.delay), (None, None), "nobody knows them now");
    assert_eq!((after.stage_count, after.replicas), (Some(1), before.replicas));
    assert_eq!(after.stages, before.stages);
    assert!(after.stages[0].headroom.is_some(), "what stands for it is looked for after a restart");
    let recalled = after.stages[0].recalled();
    assert_eq!(recalled.rate_per_replica, Some(48.2));
    assert_eq!((recalled.startup, recalled.rebalance), (Some(seconds(38)), Some(seconds(4))));
    assert_eq!(recalled.held, Some((12, Timestamp::UNIX_EPOCH)));
    assert!(bench.writes().len() <= told + 2, "{} writes", bench.writes().len());
    bench.tell(&well).await;
    bench.wait(seconds(70)).await;
    let again = bench.status().await;
    assert_eq!((again.stages, again.delay), (before.stages, before.delay));
}

#[tokio::test(start_paused = true)]
async fn each_trouble_turns_its_own_condition() {
    let at = Timestamp::UNIX_EPOCH;
    let conflict = Reason::WriterConflict { manager: "argocd-controller".into(), until: at };
    let hpa = Reason::HpaOnTarget { hpa: "enrich".into() };
    let fallback = Reason::Fallback { policy: "AtLeast".into(), replicas: 6, blind: seconds(130) };
    let gone = Reason::TargetUnusable {
        code: "NotFound".into(),
        message: "there is no Deployment".into(),
    };
    let bug = Reason::InternalError { message: "boom".into() };
    for (reason, kind, truth, code) in [
        (conflict.clone(), "WriterConflict", "True", "WriterConflict"),
        (conflict, "Ready", "False", "WriterConflict"),
        (hpa, "WriterConflict", "True", "HpaOnTarget"),
        (fallback, "Fallback", "True", "Fallback"),
        (gone.clone(), "Ready", "False", "TargetUnusable"),
        (gone, "Stalled", "True", "TargetUnusable"),
        (bug, "Ready", "False", "InternalError"),
        (Reason::NoSources, "Ready", "False", "NoSources"),
    ] {
        let bench = Bench::new().await;
        let sentence = reason.to_string();
        bench.tell(&Turn::of(|told| told.verdict.why.push(reason))).await;
        let status = bench.status().await;
        let (is, why, message) = condition(&status, kind);
        assert_eq!((is, why), (truth, code), "{kind}");
        assert!(message.starts_with(&format!("stage enrich: {sentence}")), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_whose_nodes_are_no_place_for_its_pods_is_not_ready_and_served_all_the_same() {
    let bench = Bench::new().await;
    let on_spot = Reason::Nodes(Nodes::RoleOnSpot { stage: 0, lane: 1, pool: "spot".into() });
    bench.tell(&Turn::of(|told| told.verdict.anomalies.push(on_spot))).await;
    let status = bench.status().await;
    let (truth, reason, message) = condition(&status, "Ready");
    assert_eq!((truth, reason), ("False", "RoleOnSpot"));
    let path = "stage enrich: spec.stages[0].lanes[1].pool: spot is of class Spot";
    assert!(message.starts_with(path) && message.contains("; hint: name a pool"), "{message}");
    bench.tell(&Turn::of(|_| {})).await;
    bench.wait(seconds(1)).await;
    assert_eq!(condition(&bench.status().await, "Ready").1, "Serving", "it is mended");
}

#[tokio::test(start_paused = true)]
async fn a_conflict_that_is_tried_again_now_and_then_is_one_conflict() {
    let bench = Bench::new().await;
    let until = Timestamp::UNIX_EPOCH;
    let conflict = Turn::of(|told| {
        told.verdict
            .why
            .push(Reason::WriterConflict { manager: "argocd-controller".into(), until });
    });
    let trying = Turn::of(|told| told.verdict.why.push(Reason::WriteInFlight));
    for _ in 0..10 {
        bench.tell(&conflict).await;
        bench.wait(seconds(30)).await;
        bench.tell(&trying).await;
        bench.wait(seconds(3)).await;
    }
    assert_eq!(bench.writes().len(), 1);
    assert_eq!(events(&bench).await.len(), 2, "Ready and WriterConflict, once each");
    bench.tell(&with(moved(9, 4, Reason::Steady { delay: 1.0, objective: 60.0 }, done()))).await;
    let status = bench.status().await;
    assert_eq!(condition(&status, "WriterConflict").0, "False", "a write that is taken ends it");
    assert_eq!(condition(&status, "Ready").0, "True");
    bench.tell(&conflict).await;
    bench.wait(seconds(61)).await;
    bench.tell(&Turn::of(|_| {})).await;
    assert_eq!(condition(&bench.status().await, "WriterConflict").0, "False", "so does a minute");
}

#[tokio::test(start_paused = true)]
async fn holding_blind_for_long_is_a_fallback_too() {
    let bench = Bench::new().await;
    let since = bench.clock.now();
    let hold = |policy| {
        Turn::of(move |told| {
            told.stage.fallback.policy = policy;
            told.verdict.why = vec![blind()];
            told.verdict.signals.blind_since = Some(since);
        })
    };
    bench.tell(&hold(FallbackPolicy::Hold)).await;
    assert_eq!(condition(&bench.status().await, "Fallback").0, "False");
    bench.wait(seconds(120)).await;
    bench.tell(&hold(FallbackPolicy::Hold)).await;
    let status = bench.status().await;
    let (truth, reason, message) = condition(&status, "Fallback");
    assert_eq!((truth, reason), ("True", "NoFreshData"));
    assert!(message.contains("no answer"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn pauses_are_told_by_their_annotation() {
    let bench = Bench::new().await;
    let mut paused = Turn::of(|_| {});
    paused.pause.all = true;
    bench.tell(&paused).await;
    let status = bench.status().await;
    let said = ("True", "Paused", "penstock.dev/paused: nothing is written");
    assert_eq!(condition(&status, "Paused"), said);
    bench.tell(&Turn::of(|told| told.stage.pinned = Some(3))).await;
    let status = bench.status().await;
    let said = ("True", "PinnedByAnnotation", "penstock.dev/paused-replicas keeps enrich at 3");
    assert_eq!(condition(&status, "Paused"), said);
    bench.tell(&Turn::of(|_| {})).await;
    assert_eq!(condition(&bench.status().await, "Paused").0, "False");
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_is_quiet_only_after_a_quiet_minute() {
    let bench = Bench::new().await;
    let quiet = Turn::of(|told| {
        told.verdict.signals.lag = Some(0);
        told.verdict.signals.arrival_rate = Some(0.0);
    });
    bench.tell(&Turn::of(|_| {})).await;
    for _ in 0..20 {
        bench.tell(&quiet).await;
        bench.wait(seconds(30)).await;
        bench.tell(&Turn::of(|_| {})).await;
        bench.wait(seconds(2)).await;
    }
    assert_eq!(bench.writes().len(), 1);
    for _ in 0..7 {
        bench.tell(&quiet).await;
        bench.wait(seconds(10)).await;
    }
    let status = bench.status().await;
    assert_eq!(
        condition(&status, "Active"),
        ("False", "Quiet", "nothing waits and nothing arrives")
    );
}

#[tokio::test(start_paused = true)]
async fn a_promise_finer_than_can_be_seen_is_neither_kept_nor_broken() {
    let bench = Bench::new().await;
    bench
        .tell(&Turn::of(|told| {
            told.verdict.signals.objective = Some(5.0);
            told.verdict.signals.delay = Some(4.0);
            told.verdict.signals.resolution = Some(12.0);
        }))
        .await;
    let status = bench.status().await;
    let (truth, reason, message) = condition(&status, "ObjectiveMet");
    assert_eq!((truth, reason), ("Unknown", "ObjectiveBelowResolution"));
    assert!(message.contains("no delay below 12 s can be seen"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_status_is_tried_again_while_the_api_fails() {
    let bench = Bench::new().await;
    let status = Match::of("patch", "scaledpipelines", "status");
    bench.cluster.faults().plan(status.clone(), Trouble::Refuse(503), 2);
    bench.cluster.faults().plan(status.clone(), Trouble::Hang, 1);
    bench.cluster.faults().plan(status, Trouble::ForwardThenDrop, 1);
    for _ in 0..20 {
        bench.tell(&Turn::of(|_| {})).await;
        bench.wait(seconds(2)).await;
    }
    assert_eq!(condition(&bench.status().await, "Ready").0, "True");
    let codes: Vec<u16> = bench.writes().iter().map(|write| write.code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 503).count(), 2);
    assert!(codes.len() <= 5, "{codes:?}");
}

async fn events(bench: &Bench) -> Vec<(String, String, String)> {
    let api = Api::<Event>::namespaced(bench.cluster.client(), "default");
    let mut events = api.list(&ListParams::default()).await.unwrap().items;
    events.sort_by_key(|event| event.event_time.clone());
    events
        .into_iter()
        .map(|event| (event.type_.unwrap(), event.reason.unwrap(), event.note.unwrap()))
        .collect()
}

fn with(outcome: (usize, penstock::decide::Outcome)) -> Turn {
    Turn { outcomes: vec![outcome], ..Turn::of(|_| {}) }
}

#[tokio::test(start_paused = true)]
async fn each_move_is_an_event_with_its_sentence() {
    let bench = Bench::new().await;
    let why =
        Reason::Threshold { source: "todo".into(), lag: 23_400.0, per_replica: 1000.0, wished: 24 };
    let sentence = why.to_string();
    bench.tell(&with(moved(1, 24, why, done()))).await;
    let taken = Reason::TakenOver { manager: "kubectl".into(), theirs: 3 };
    bench.wait(seconds(1)).await;
    bench.tell(&with(moved(3, 24, taken.clone(), done()))).await;
    bench.wait(seconds(1)).await;
    bench
        .tell(&with(moved(
            24,
            2,
            Reason::Idle { since: Timestamp::UNIX_EPOCH, replicas: 2 },
            done(),
        )))
        .await;
    let told = events(&bench).await;
    assert_eq!(told[0].0, "Normal");
    assert_eq!(told[0].1, "ScaledUp");
    assert_eq!(told[0].2, format!("stage enrich from 1 to 24 replicas: {sentence}"));
    assert_eq!((told[1].0.as_str(), told[1].1.as_str()), ("Warning", "TakenOver"));
    assert!(told[1].2.ends_with(&taken.to_string()), "{}", told[1].2);
    assert_eq!((told[2].0.as_str(), told[2].1.as_str()), ("Normal", "ScaledDown"));
    assert_eq!(told.len(), 3);
    let api = Api::<Event>::namespaced(bench.cluster.client(), "default");
    let event = api.list(&ListParams::default()).await.unwrap().items.remove(0);
    let about = event.regarding.unwrap();
    assert_eq!(about.kind.as_deref(), Some("ScaledPipeline"));
    assert_eq!(about.uid, bench.object("orders").await.metadata.uid);
    assert_eq!(event.reporting_instance.as_deref(), Some("penstock-0"));
}

#[tokio::test(start_paused = true)]
async fn what_is_odd_is_an_event_when_it_begins_and_one_when_it_is_over_and_a_series_meanwhile() {
    let bench = Bench::new().await;
    let sick = Reason::SickConsumer {
        source: "todo".into(),
        partition: 7,
        partitions: 3,
        rate: 0.4,
        usual: 48.0,
    };
    let odd = Turn::of(|told| told.verdict.anomalies = vec![sick.clone()]);
    for _ in 0..3 {
        bench.tell(&odd).await;
        bench.wait(seconds(1)).await;
    }
    let text = bench.report.metrics().text().unwrap();
    let expected = r#"penstock_stage_anomaly{namespace="default",pipeline="orders",stage="enrich",reason="SickConsumer"} 1.0"#;
    assert_eq!(series(&text, "penstock_stage_anomaly"), [expected]);
    bench.tell(&Turn::of(|_| {})).await;
    bench.wait(seconds(1)).await;
    let hint = sick.hint().unwrap();
    let told = events(&bench).await;
    let expected = [
        ("Warning", "SickConsumer", format!("stage enrich: {sick}; hint: {hint}")),
        ("Normal", "SickConsumerEnded", "stage enrich: SickConsumer is over".to_owned()),
    ];
    assert_eq!(told.len(), 2, "{told:?}");
    for ((kind, reason, note), expected) in told.iter().zip(expected) {
        assert_eq!((kind.as_str(), reason.as_str(), note), (expected.0, expected.1, &expected.2));
    }
    let text = bench.report.metrics().text().unwrap();
    assert_eq!(series(&text, "penstock_stage_anomaly"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_stage_for_which_nothing_is_written_is_told_whether_or_not_it_would_move() {
    let bench = Bench::new().await;
    let told = async |turn: &Turn| {
        bench.tell(turn).await;
        let text = bench.report.metrics().text().unwrap();
        let lines = series(&text, "penstock_stage_withheld").into_iter();
        lines.map(|line| line.split("reason=").nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(&Turn::of(|_| {})).await, [""; 0]);
    let observed = Turn::of(|told| told.stage.mode = Mode::Observe);
    assert_eq!(told(&observed).await, [r#""Observed"} 1.0"#]);
    let pause = Pause { all: true, ..Pause::default() };
    let paused = Turn { pause: pause.clone(), ..Turn::of(|_| {}) };
    assert_eq!(told(&paused).await, [r#""Paused"} 1.0"#]);
    // What is pinned is written all the same.
    let pinned = Turn { pause, ..Turn::of(|told| told.stage.pinned = Some(3)) };
    assert_eq!(told(&pinned).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_goes_on_is_one_event_that_counts_up() {
    let bench = Bench::new().await;
    let refused = Ending::Refused { code: 403, message: "exceeded quota: pods".into() };
    for _ in 0..10 {
        bench.tell(&with(moved(1, 24, Reason::Learning { replicas: 24 }, refused.clone()))).await;
        bench.wait(seconds(30)).await;
    }
    bench.wait(seconds(80)).await;
    let api = Api::<Event>::namespaced(bench.cluster.client(), "default");
    let events = api.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].reason.as_deref(), Some("WriteRefused"));
    assert_eq!(events[0].series.as_ref().unwrap().count, 10);
    let patches = bench.cluster.faults().log();
    let patches = patches.iter().filter(|r| r.resource == "events" && r.verb == "patch").count();
    assert!((2..=6).contains(&patches), "{patches}: at most one a minute");
}

#[tokio::test(start_paused = true)]
async fn trouble_is_an_event_when_it_comes_and_when_it_ends_and_not_in_between() {
    let bench = Bench::new().await;
    let fallback = Reason::Fallback { policy: "AtLeast".into(), replicas: 6, blind: seconds(130) };
    bench.tell(&Turn::of(|_| {})).await;
    assert_eq!(events(&bench).await, [], "that all is well is no news");
    for _ in 0..50 {
        bench.tell(&Turn::of(|told| told.verdict.why.push(fallback.clone()))).await;
        bench.wait(seconds(2)).await;
    }
    bench.tell(&Turn::of(|_| {})).await;
    bench.wait(seconds(1)).await;
    let told = events(&bench).await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[0].0.as_str(), told[0].1.as_str()), ("Warning", "Fallback"));
    assert_eq!((told[1].0.as_str(), told[1].1.as_str()), ("Normal", "FallbackEnded"));
    assert_eq!(told[1].2, "Fallback: its sources answer again");
}

/// A turn that went well, but by a login that has been replaced.
fn by_former_credentials() -> Turn {
    let why = Missing {
        label: "AuthenticationFailed".into(),
        message: "kafka:9093 refuses the login: no; hint: check the Secrets".into(),
        is_lasting: true,
        since: Timestamp::UNIX_EPOCH,
    };
    Turn { refusal: Some(why), ..Turn::of(|_| {}) }
}

#[tokio::test(start_paused = true)]
async fn new_credentials_that_are_refused_are_told_though_the_former_ones_still_serve() {
    let bench = Bench::new().await;
    bench.tell(&Turn::of(|_| {})).await;
    for _ in 0..50 {
        bench.tell(&by_former_credentials()).await;
        bench.wait(seconds(2)).await;
    }
    let status = bench.status().await;
    let (truth, reason, message) = condition(&status, "Ready");
    assert_eq!((truth, reason), ("True", "CredentialsRefused"), "it does its work");
    assert!(REASONS.contains(&reason));
    for words in [
        "source enrich/todo only by its former credentials",
        "not in use since 1970-01-01 00:00:00 UTC",
        "kafka:9093 refuses the login: no; hint: check the Secrets",
    ] {
        assert!(message.contains(words), "{words:?} is not in {message:?}");
    }
    assert_eq!(condition(&status, "Stalled").0, "False");
    assert_eq!(bench.writes().len(), 2, "it is written once");
    let told = events(&bench).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].0.as_str(), told[0].1.as_str()), ("Warning", "CredentialsRefused"));
    let text = bench.report.metrics().text().unwrap();
    let refused = series(&text, "penstock_source_credentials_refused");
    assert!(refused[0].ends_with(" 1.0"), "{refused:?}");

    bench.tell(&Turn::of(|_| {})).await;
    bench.wait(seconds(1)).await;
    let status = bench.status().await;
    assert_eq!(condition(&status, "Ready").1, "Serving", "it is mended");
    let told = events(&bench).await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[1].0.as_str(), told[1].1.as_str()), ("Normal", "Serving"));
    let text = bench.report.metrics().text().unwrap();
    let refused = series(&text, "penstock_source_credentials_refused");
    assert!(refused[0].ends_with(" 0.0"), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_are_no_news_after_a_restart_and_none_where_nothing_answers() {
    let bench = Bench::new().await;
    bench.tell(&by_former_credentials()).await;
    assert_eq!(events(&bench).await.len(), 1);
    let bench = Bench::over(bench.end().await, None);
    bench.tell(&by_former_credentials()).await;
    bench.wait(seconds(20)).await;
    assert_eq!(events(&bench).await.len(), 1);
    let Turn { refusal, .. } = by_former_credentials();
    let silent = Turn::of(|told| told.observation = refusal.clone().map(Observation::Failed));
    bench.tell(&Turn { refusal, ..silent }).await;
    let status = bench.status().await;
    assert_eq!(condition(&status, "Ready").0, "False", "now nobody is let in");
    assert_eq!(condition(&status, "Ready").1, "AuthenticationFailed");
}

#[tokio::test(start_paused = true)]
async fn trouble_that_its_status_knows_is_no_news_after_a_restart() {
    let bench = Bench::new().await;
    let bad = Turn::of(|told| told.verdict.why.push(Reason::NoSources));
    bench.tell(&bad).await;
    assert_eq!(events(&bench).await.len(), 1);
    let bench = Bench::over(bench.end().await, None);
    bench.tell(&bad).await;
    bench.wait(seconds(20)).await;
    assert_eq!(events(&bench).await.len(), 1);
    bench.tell(&Turn::of(|_| {})).await;
    bench.wait(seconds(1)).await;
    assert_eq!(events(&bench).await.len(), 2, "its end is");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_known_before_a_restart_is_not_taken_for_late_after_it() {
    let bench = Bench::new().await;
    // Nobody could tell.
    let blind = Turn::of(|told| {
        told.verdict.signals.delay = Some(4.0);
        told.verdict.signals.objective = Some(5.0);
        told.verdict.signals.resolution = Some(12.0);
    });
    bench.tell(&blind).await;
    assert_eq!(condition(&bench.status().await, "ObjectiveMet").0, "Unknown");
    let bench = Bench::over(bench.end().await, None);
    bench.tell(&Turn::of(|_| {})).await;
    bench.wait(seconds(30)).await;
    assert_eq!(condition(&bench.status().await, "ObjectiveMet").0, "True");
    assert!(events(&bench).await.iter().all(|(_, reason, _)| reason != "Late"));
}

#[tokio::test(start_paused = true)]
async fn a_standby_tells_no_events() {
    let bench = Bench::new().await;
    let mut standby = Turn::of(|told| told.verdict.why.push(Reason::NoSources));
    standby.may_act = false;
    bench.tell(&standby).await;
    bench.wait(seconds(20)).await;
    assert_eq!(events(&bench).await, []);
}

#[tokio::test(start_paused = true)]
async fn no_move_is_lost_while_the_api_is_away() {
    let bench = Bench::new().await;
    let all = Match::of("create", "events", "");
    bench.cluster.faults().plan(all, Trouble::Refuse(503), 20);
    for to in 2..12 {
        bench.tell(&with(moved(1, to, Reason::Learning { replicas: to }, done()))).await;
    }
    bench.wait(seconds(60)).await;
    assert_eq!(events(&bench).await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_is_still_to_be_told_is_told_at_the_end() {
    let bench = Bench::new().await;
    let glance = bench.glance("orders").await;
    let last = with(moved(1, 24, Reason::Learning { replicas: 24 }, done()));
    bench.tell_over(glance, &last);
    let cluster = bench.end().await;
    let bench = Bench::over(cluster, None);
    assert_eq!(events(&bench).await.len(), 1);
    assert_eq!(bench.writes().len(), 1);
}

fn series<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(name)).collect()
}

#[tokio::test(start_paused = true)]
async fn metrics_show_the_latest_turn_and_count_what_happened() {
    let bench = Bench::new().await;
    bench.tell(&Turn::of(|told| late(told, 41.5))).await;
    bench.tell(&with(moved(1, 24, Reason::Learning { replicas: 24 }, done()))).await;
    bench.tell(&with(moved(24, 1, Reason::Learning { replicas: 1 }, Ending::Gone))).await;
    let mut silent = Turn::of(|told| {
        told.verdict.why = vec![blind()];
        told.observation = Some(Observation::Failed(Missing {
            label: "Timeout".into(),
            message: "no answer".into(),
            is_lasting: false,
            since: Timestamp::UNIX_EPOCH,
        }));
    });
    silent.polls = Polls { fresh: 7, partial: 0, failed: 2, took: Duration::from_millis(20) };
    for _ in 0..3 {
        bench.tell(&silent).await;
    }
    let text = bench.report.metrics().text().unwrap();
    let stage = r#"namespace="default",pipeline="orders",stage="enrich""#;
    for line in [
        format!(r#"penstock_stage_replicas{{{stage},state="current"}} 4.0"#),
        format!(r#"penstock_stage_replicas{{{stage},state="ready"}} 3.0"#),
        format!(r#"penstock_stage_replicas{{{stage},state="desired"}} 4.0"#),
        format!(r#"penstock_stage_replicas{{{stage},state="min"}} 1.0"#),
        format!(r#"penstock_stage_replicas{{{stage},state="max"}} 20.0"#),
        format!("penstock_stage_lag_messages{{{stage}}} 10.0"),
        format!("penstock_stage_delay_seconds{{{stage}}} 5.0"),
        format!("penstock_stage_objective_seconds{{{stage}}} 60.0"),
        format!("penstock_stage_arrival_rate{{{stage}}} 12.0"),
        format!(r#"penstock_source_up{{{stage},source="todo"}} 0.0"#),
        format!(r#"penstock_scale_moves_total{{{stage},direction="up",reason="Learning"}} 1"#),
        format!(r#"penstock_holds_total{{{stage},reason="NoFreshData"}} 1"#),
        format!(r#"penstock_source_polls_total{{{stage},source="todo",result="fresh"}} 7"#),
        format!(r#"penstock_source_polls_total{{{stage},source="todo",result="failed"}} 2"#),
        "penstock_source_poll_duration_seconds_count 1".to_owned(),
        "penstock_leader 1.0".to_owned(),
        "penstock_turn_duration_seconds_count 6".to_owned(),
        r#"penstock_turn_duration_seconds_bucket{le="+Inf"} 6"#.to_owned(),
        "penstock_turn_lateness_seconds 0.002".to_owned(),
        "penstock_invariant_violations_total 0".to_owned(),
        format!(r#"penstock_build_info{{version="{}"}} 1"#, env!("CARGO_PKG_VERSION")),
    ] {
        assert!(text.lines().any(|has| has == line), "{line} is not in\n{text}");
    }
    assert_eq!(series(&text, "penstock_scale_moves_total").len(), 1, "a move that failed is none");
    assert!(series(&text, "penstock_stage_service_rate").is_empty(), "not known is not zero");
    assert!(text.ends_with("# EOF\n"));
    bench.leads.send_replace(false);
    bench.tell(&Turn { violations: 2, ..Turn::of(|_| {}) }).await;
    let text = bench.report.metrics().text().unwrap();
    assert_eq!(series(&text, "penstock_leader"), ["penstock_leader 0.0"]);
    assert_eq!(series(&text, "penstock_invariant"), ["penstock_invariant_violations_total 2"]);
}

#[tokio::test(start_paused = true)]
async fn the_latest_turn_with_a_trace_is_the_exemplar_of_its_bucket() {
    let bench = Bench::new().await;
    let exemplars = || {
        let text = bench.report.metrics().text().unwrap();
        let buckets = series(&text, "penstock_turn_duration_seconds_bucket").into_iter();
        buckets.filter(|line| line.contains(" # ")).map(str::to_owned).collect::<Vec<_>>()
    };
    bench.tell(&Turn::of(|_| {})).await;
    assert!(exemplars().is_empty(), "nobody collects traces");
    for id in ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7a3ce929d0e0e4736"] {
        bench.tell(&Turn { trace: Some(id.to_owned()), ..Turn::of(|_| {}) }).await;
    }
    bench.tell(&Turn::of(|_| {})).await;
    let found = exemplars();
    assert_eq!(
        found,
        [
            "penstock_turn_duration_seconds_bucket{le=\"0.0005\"} 4 # {trace_id=\"00f067aa0ba902b7a3ce929d0e0e4736\"} 0.0003"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_series_of_a_deleted_pipeline_vanish_and_so_do_those_of_a_removed_stage() {
    let bench = Bench::new().await;
    bench.tell(&with(moved(1, 24, Reason::Learning { replicas: 24 }, done()))).await;
    bench.tell(&turn(vec![stage("enrich"), stage("sink")])).await;
    assert!(bench.report.metrics().text().unwrap().contains(r#"stage="sink""#));
    bench.tell(&turn(vec![stage("enrich")])).await;
    assert!(!bench.report.metrics().text().unwrap().contains(r#"stage="sink""#));
    bench.report.forget(&id("orders"));
    bench.wait(seconds(1)).await;
    let text = bench.report.metrics().text().unwrap();
    assert!(!text.contains("orders"), "{text}");
    assert_eq!(bench.report.standing().all().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_the_layer_of_the_client() {
    let bench = Bench::new().await;
    let service = tower::Layer::layer(&bench.requests, bench.cluster.service());
    let client = kube::Client::new(service, "default");
    let api = Api::<penstock::crd::ScaledPipeline>::namespaced(client, "default");
    api.get("orders").await.unwrap();
    api.get("orders").await.unwrap();
    api.get_opt("nope").await.unwrap();
    let text = bench.report.metrics().text().unwrap();
    let counted = series(&text, "penstock_api_requests_total");
    assert_eq!(
        counted,
        [
            r#"penstock_api_requests_total{verb="get",resource="scaledpipelines",code="200"} 2"#,
            r#"penstock_api_requests_total{verb="get",resource="scaledpipelines",code="404"} 1"#,
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn turns_are_recorded_so_that_they_can_be_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::recording(Some(folder.path().to_owned())).await;
    bench.tell(&Turn::of(|_| {})).await;
    bench.tell(&Turn::of(|told| told.verdict.replicas = Some(9))).await;
    let text = std::fs::read_to_string(folder.path().join("turns-000001.jsonl")).unwrap();
    let records: Vec<Record<Snapshot, Plan, Memory>> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 3);
    assert!(matches!(&records[0], Record::Start { memory, .. } if *memory == Memory::default()));
    let Record::Turn { snapshot, plan, .. } = &records[2] else { panic!("a turn") };
    assert_eq!(plan.verdicts[0].replicas, Some(9));
    assert_eq!(snapshot.due[0].pipeline.id, id("orders"));
    let to = Destination { folder: folder.path().to_owned(), limit: 1 << 20 };
    let again = Bench::over(bench.end().await, Some(to));
    again.tell(&Turn::of(|_| {})).await;
    assert!(folder.path().join("turns-000002.jsonl").exists(), "a new process, a new file");
}

#[tokio::test(start_paused = true)]
async fn the_record_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=40 {
        std::fs::write(folder.path().join(format!("turns-{number:06}.jsonl")), "{}").unwrap();
    }
    std::fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let bench = Bench::recording(Some(folder.path().to_owned())).await;
    bench.tell(&Turn::of(|_| {})).await;
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let kept: Vec<String> = (10..=41).map(|number| format!("turns-{number:06}.jsonl")).collect();
    assert_eq!(names[1..], kept);
    assert_eq!(names[0], "notes.txt");
}

#[tokio::test(start_paused = true)]
async fn the_input_of_a_panic_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::recording(Some(folder.path().to_owned())).await;
    let boom =
        Turn::of(|told| told.verdict.why = vec![Reason::InternalError { message: "boom".into() }]);
    bench.tell(&boom).await;
    let text = std::fs::read_to_string(folder.path().join("panic-default.orders.jsonl")).unwrap();
    let records: Vec<Record<Snapshot, Plan, Memory>> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [Record::Start { .. }, Record::Turn { snapshot, plan, .. }] = &records[..] else {
        panic!("a recording of one turn: {text}")
    };
    assert_eq!(plan.verdicts.len(), 1);
    assert_eq!(snapshot.due[0].pipeline.id, id("orders"));
    assert_eq!(snapshot.observations.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_written_costs_nothing_but_the_record() {
    let bench = Bench::recording(Some("/proc/nowhere".into())).await;
    for _ in 0..3 {
        bench.tell(&Turn::of(|_| {})).await;
    }
    assert_eq!(bench.writes().len(), 1);
    let text = bench.report.metrics().text().unwrap();
    let counted = series(&text, "penstock_recorded_turns_total");
    assert_eq!(
        counted,
        [
            r#"penstock_recorded_turns_total{result="written"} 0"#,
            r#"penstock_recorded_turns_total{result="lost"} 3"#,
        ]
    );
}
