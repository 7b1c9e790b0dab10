//! What one sees of Penstock elsewhere: the reference of its metrics, the Grafana boards and the alerts, all held against the one
//! table of metrics. Pages (that of the reasons, too) and boards are generated here; `make boards` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use penstock::decide::{
    Class, Lane, LaneSeen, LaneVerdict, Missing, Observation, Places, Reason, Target, TargetId,
};
use penstock::report::metrics::table::{FAMILIES, Family, Kind};
use penstock::report::{Polls, PoolPicture};
use serde_json::Value;

use crate::turns::{Bench, Turn, done, moved, pool};

mod query;
mod panel;
mod fleet;
mod pipeline;
mod capacity;
mod internals;
mod reference;
mod reasons;
mod promql;
mod lint;
mod alerts;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A generated file is what it should be. With `PENSTOCK_REFRESH` set, as `make boards` does, it is written first.
#[expect(clippy::disallowed_methods, reason = "a test has no flags of its own")]
fn is_fresh(path: &str, text: &str) {
    let at = file(path);
    if std::env::var("PENSTOCK_REFRESH").is_ok() {
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, text).unwrap();
    }
    let kept = fs::read_to_string(&at).unwrap_or_default();
    assert!(kept == text, "{path} is stale: run `make boards`");
}

/// Every board, by its file's name.
fn boards() -> Vec<(&'static str, Value)> {
    [
        ("fleet", fleet::board()),
        ("pipeline", pipeline::board()),
        ("capacity", capacity::board()),
        ("internals", internals::board()),
    ]
    .map(|(name, board)| (name, board.json()))
    .into()
}

#[test]
fn the_reference_of_the_metrics_is_fresh() {
    is_fresh("docs/metrics.md", &reference::page());
}

#[test]
fn the_list_of_the_reasons_is_fresh() {
    is_fresh("docs/reasons.md", &reasons::page());
}

#[test]
fn the_boards_are_fresh() {
    for (name, board) in boards() {
        let text = serde_json::to_string_pretty(&board).unwrap() + "\n";
        is_fresh(&format!("charts/penstock/dashboards/{name}.json"), &text);
    }
    let kept = fs::read_dir(file("charts/penstock/dashboards")).unwrap().count();
    assert_eq!(
        kept,
        boards().len(),
        "a board that nobody makes lies in charts/penstock/dashboards"
    );
}

#[test]
fn the_boards_keep_the_rules_of_boards() {
    let found: Vec<String> = boards()
        .iter()
        .flat_map(|(name, board)| {
            lint::board(board).into_iter().map(move |it| format!("{name}: {it}"))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_bad_board_breaks_the_rules_of_boards() {
    let spoil: &[(&str, &str, Value, &str)] = &[
        ("fleet", "/editable", true.into(), "is editable"),
        ("fleet", "/templating/list/0/name", "ds".into(), "no variable datasource"),
        ("fleet", "/templating/list/2/allValue", Value::Null, "variable job"),
        ("fleet", "/templating/list/2/refresh", 1.into(), "variable job"),
        ("fleet", "/panels/1/title", "".into(), "has no title"),
        ("fleet", "/panels/1/description", "".into(), "has no description"),
        ("fleet", "/panels/1/fieldConfig/defaults/unit", "".into(), "has no unit"),
        ("fleet", "/panels/1/datasource/uid", "abc".into(), "names a data source"),
        ("fleet", "/panels/1/targets", Vec::<Value>::new().into(), "asks nothing"),
        ("fleet", "/panels/1/targets/0/expr", "sum(".into(), "is no PromQL"),
        ("fleet", "/panels/1/targets/0/expr", "up".into(), "is no metric of ours"),
        ("fleet", "/panels/1/targets/0/expr", "penstock_leader".into(), "does not ask by job"),
        (
            "fleet",
            "/panels/1/targets/0/expr",
            r#"rate(penstock_leader{cluster=~"$cluster", job=~"$job", instance=~"$instance"}[5m])"#.into(),
            "over [5m]",
        ),
        (
            "fleet",
            "/panels/1/targets/0/expr",
            r#"sum(penstock_holds_total{cluster=~"$cluster", job=~"$job", instance=~"$instance"})"#.into(),
            "a counter that is not read as one",
        ),
        (
            "fleet",
            "/panels/1/targets/0/expr",
            r#"rate(penstock_leader{cluster=~"$cluster", job=~"$job", instance=~"$instance"}[$__rate_interval])"#.into(),
            "a gauge that is read as a counter",
        ),
        (
            "fleet",
            "/panels/1/targets/0/expr",
            r#"sum by (pod) (penstock_leader{cluster=~"$cluster", job=~"$job", instance=~"$instance"})"#.into(),
            "no label pod",
        ),
    ];
    for (name, at, value, rule) in spoil {
        let (_, mut board) = boards().into_iter().find(|(it, _)| it == name).unwrap();
        *board.pointer_mut(at).unwrap() = value.clone();
        let found = lint::board(&board);
        assert!(found.iter().any(|it| it.contains(rule)), "{at} = {value}: {found:?}");
    }
}

#[test]
fn every_metric_is_on_a_board_or_in_an_alert() {
    let mut used = BTreeSet::new();
    for (_, board) in boards() {
        for query in lint::queries(&board) {
            used.extend(promql::read(&query).unwrap().names());
        }
    }
    let on_boards = used.len();
    used.extend(alerts::names());
    let known: BTreeSet<_> = used.iter().filter_map(|name| promql::family(name)).collect();
    let idle: Vec<_> =
        FAMILIES.iter().map(|it| it.name).filter(|name| !known.contains(name)).collect();
    assert!(idle.is_empty(), "neither on a board nor in an alert: {idle:?}");
    assert!(
        on_boards > 15,
        "only {on_boards} metrics were found on boards: is this test reading anything?"
    );
}

/// Families as they are printed: name, kind, and the labels of their series.
fn printed(text: &str) -> BTreeMap<String, (String, BTreeSet<Vec<String>>)> {
    let mut families = BTreeMap::new();
    let mut latest = String::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            let (name, kind) = head.split_once(' ').unwrap();
            latest = match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            families.insert(latest.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let labels =
                line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
            let labels =
                labels.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
            let labels = labels.filter(|name| name != "le").collect();
            families.get_mut(&latest).unwrap().1.insert(labels);
        }
    }
    families
}

/// One on demand, and one on spot at a third of its price.
fn pools() -> Vec<PoolPicture> {
    let each = [("kept", Class::OnDemand, 0.63), ("spot", Class::Spot, 0.21)];
    let priced = each.map(|(name, class, cost)| {
        let mut pool = pool(name, class, Timestamp::UNIX_EPOCH);
        pool.glance.cost = Some(cost);
        pool
    });
    priced.into()
}

/// Of one stage on both.
fn lanes() -> Vec<Lane> {
    let lane = |pool: &str| Lane {
        pool: pool.into(),
        base: 0,
        share: None,
        fallback_to: None,
        target: TargetId::object(&"default".into(), "apps/v1", "Deployment", pool),
    };
    vec![lane("kept"), lane("spot")]
}

#[tokio::test(start_paused = true)]
async fn what_spot_saves_adds_up_and_what_serves_no_stage_is_idle() {
    let bench = Bench::new().await;
    let mut turn = Turn::of(|told| told.stage.lanes = lanes());
    turn.pools = pools();
    turn.costs = vec![BTreeMap::from([("kept".into(), Some(0.1)), ("spot".into(), Some(0.06))])];
    turn.room_costs = vec![BTreeMap::from([("spot".into(), Some(0.05))])];
    let figure = |name: &str| {
        let text = bench.report.metrics().text().unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
    };
    bench.tell(&turn).await;
    assert_eq!(figure("penstock_saved_cost_total{"), None, "no time has passed");
    let idle = figure(r#"penstock_idle_cost_per_hour{pool="spot"}"#).unwrap();
    assert!((idle - 0.1).abs() < 1e-9, "{idle} of 0.21, with 0.06 for pods and 0.05 for room");

    // 0.06 an hour there would be 0.18 on demand, for a minute and a half.
    bench.wait(Duration::from_millis(89_900)).await;
    bench.tell(&turn).await;
    let saved = figure("penstock_saved_cost_total{").unwrap();
    assert!((saved - 0.12 * 90.0 / 3600.0).abs() < 1e-9, "{saved}");
    // Nobody knows what ran in the meantime.
    bench.wait(Duration::from_mins(6)).await;
    bench.tell(&turn).await;
    assert_eq!(figure("penstock_saved_cost_total{"), Some(saved));
    // A price that is not known is no figure, and takes none back.
    turn.costs = vec![BTreeMap::from([("spot".into(), None)])];
    bench.tell(&turn).await;
    assert_eq!(figure("penstock_saved_cost_total{"), Some(saved));
    assert_eq!(figure(r#"penstock_idle_cost_per_hour{pool="spot"}"#), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_printed_is_what_the_table_says() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::recording(Some(folder.path().to_owned())).await;
    let mut all = Turn::of(|told| {
        let signals = &mut told.verdict.signals;
        signals.forecast_rate = Some(14.0);
        signals.rate_per_replica = Some(5.0);
        signals.startup = Some(30.0);
        signals.rebalance = Some(3.0);
        signals.resolution = Some(7.0);
        told.verdict.why = vec![Reason::NoSources];
        told.verdict.anomalies = vec![Reason::SlowerReplicas { rate: 2.0, usual: 5.0 }];
        told.observation = Some(Observation::Failed(Missing {
            label: "Timeout".into(),
            message: "no answer".into(),
            is_lasting: false,
            since: jiff::Timestamp::UNIX_EPOCH,
        }));
        let Target::Seen(workload) = &mut told.target else { panic!("no workload") };
        let places = Places::default();
        workload.lanes = vec![LaneSeen { workload: workload.clone(), places }];
        let lane = LaneVerdict {
            pool: "spot".into(),
            share: 4,
            replicas: 4,
            extra: 0,
            survived: 2,
            missed: 1,
        };
        told.verdict.lanes = vec![lane];
    });
    all.costs = vec![BTreeMap::from([(Arc::from("spot"), Some(0.3))])];
    all.room_costs = vec![BTreeMap::from([(Arc::from("spot"), Some(0.1))])];
    all.stages[0].stage.lanes = lanes();
    all.pools = pools();
    all.pause.all = true;
    all.outcomes = vec![moved(1, 24, Reason::Learning { replicas: 24 }, done())];
    all.polls = Polls { fresh: 7, partial: 1, failed: 2, took: Duration::from_millis(20) };
    bench.tell(&all).await;
    bench.tell(&all).await;
    let client =
        kube::Client::new(tower::Layer::layer(&bench.requests, bench.cluster.service()), "default");
    kube::Api::<penstock::crd::ScaledPipeline>::namespaced(client, "default")
        .get("orders")
        .await
        .unwrap();
    let text = bench.report.metrics().text().unwrap();

    let printed = printed(&text);
    let names: BTreeSet<&str> = printed.keys().map(String::as_str).collect();
    let table: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(names, table);
    for family in FAMILIES {
        let (kind, series) = &printed[family.name];
        assert_eq!(*kind, family.kind.to_string(), "{}", family.name);
        let labels: Vec<String> = family.labels.iter().map(|label| label.name.to_owned()).collect();
        assert_eq!(*series, BTreeSet::from([labels]), "{}", family.name);
        let metric = family.name.trim_end_matches("_total").trim_end_matches("_info");
        assert!(text.contains(&format!("# HELP {metric} {}\n", family.help)), "{}", family.name);
        if let Some(unit) = family.unit {
            assert!(
                text.contains(&format!("# UNIT {metric} {}\n", unit.word())),
                "{}",
                family.name
            );
        }
    }
}

#[test]
fn names_of_metrics_follow_the_conventions() {
    for Family { name, kind, unit, help, .. } in FAMILIES {
        assert!(name.starts_with("penstock_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert_eq!(name.ends_with("_info"), *kind == Kind::Info, "{name}");
        let counted = name.trim_end_matches("_total");
        assert_eq!(
            counted.ends_with("_seconds"),
            unit.is_some_and(|it| it.word() == "seconds"),
            "{name}"
        );
        assert!(help.ends_with(['.', '0']) || help.ends_with("present."), "{name}: {help}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_the_leader_knows_only_the_leader_tells() {
    let bench = Bench::new().await;
    let blind = Reason::NoSources;
    bench.leads.send_replace(false);
    let standby =
        Turn { may_act: false, ..Turn::of(|told| told.verdict.why = vec![blind.clone()]) };
    bench.tell(&standby).await;
    let text = bench.report.metrics().text().unwrap();
    for name in ["penstock_stage_reason{", "penstock_pipeline_condition{", "penstock_holds_total{"]
    {
        assert!(!text.contains(name), "{name} is told by one who does not lead:\n{text}");
    }
    assert!(text.contains("penstock_stage_delay_seconds{"), "what all see, all tell");

    bench.leads.send_replace(true);
    bench.tell(&Turn::of(|told| told.verdict.why = vec![blind.clone()])).await;
    let text = bench.report.metrics().text().unwrap();
    let of = r#"namespace="default",pipeline="orders""#;
    for line in [
        format!(r#"penstock_stage_reason{{{of},stage="enrich",reason="NoSources"}} 1.0"#),
        format!(r#"penstock_holds_total{{{of},stage="enrich",reason="NoSources"}} 1"#),
        format!(
            r#"penstock_pipeline_condition{{{of},type="Ready",status="False",reason="NoSources"}} 1.0"#
        ),
        format!(
            r#"penstock_pipeline_condition{{{of},type="Paused",status="False",reason="NotPaused"}} 1.0"#
        ),
    ] {
        assert!(text.lines().any(|has| has == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("Reconciling"), "it says again what Ready says");
}
