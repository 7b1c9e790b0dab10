//! Scenarios with lanes: pools are read with their defaults and their faults told, and what is played on them keeps to what was written.

use std::path::Path;

use penstock::decide::Class;
use penstock::simulate::nodes::{Event, Sky, Tick, followed};
use penstock::simulate::{Contest, Scenario, contest, fitting, pilot, run_whole};

/// A stage on two lanes; the rest of the scenario follows.
const LANED: &str = r#"
pipeline:
  apiVersion: penstock.dev/v1alpha1
  kind: ScaledPipeline
  metadata: {name: laned}
  spec:
    objective: {maxDelay: 180s}
    stages:
    - name: only
      replicas: {min: 2, max: 40}
      lanes:
      - {pool: kept, base: 2, target: {kind: Deployment, name: only}}
      - {pool: cheap, share: 100, fallbackTo: kept, target: {kind: Deployment, name: only-cheap}}
      sources: [{name: queue, kafka: {bootstrapServers: "kafka:9092", topics: [t], group: g}}]
workload: {diurnal: {low: 0.5}, peakReplicas: 12}
duration: 4h
warmup: 1h
"#;
const WORLD: &str = "world: {rate: 100, startup: 15s}\n";

fn read(rest: &str) -> Result<Scenario, String> {
    let read = Scenario::read(&format!("{LANED}{rest}"), Path::new("deploy/examples/scenarios"));
    read.map_err(|error| error.to_string())
}

fn laned(pools: &str) -> Scenario {
    read(&format!("{WORLD}{pools}")).unwrap()
}

fn played(scenario: &Scenario, policies: &[&str]) -> Contest {
    let policies: Vec<_> = policies.iter().map(|name| (*name).to_owned()).collect();
    contest(scenario, &policies, 1, &|| ()).unwrap()
}

fn ticks(scenario: &Scenario, policy: &str) -> Vec<Tick> {
    followed(scenario, &mut *pilot(policy, scenario, 1).unwrap(), 1).1.ticks
}

#[test]
fn who_is_played_unasked_is_who_fits_the_lanes() {
    let all = ["penstock", "all-on-demand", "all-on-spot", "fixed-share", "skyserve"];
    assert_eq!(fitting(&laned("")), all);
    let kept = laned("pools: {cheap: {class: OnDemand}}\n");
    assert_eq!(fitting(&kept), ["penstock", "all-on-demand"]);
}

#[test]
fn nothing_need_be_said_of_pools() {
    let scenario = laned("");
    let [kept, cheap] = scenario.stages[0].lanes.as_slice() else { panic!("two lanes") };
    assert_eq!((kept.pool.class, cheap.pool.class), (Class::OnDemand, Class::Spot));
    assert!((kept.price - 1.0).abs() < 1e-9 && (cheap.price - 0.35).abs() < 1e-9);
    assert_eq!((cheap.terms.fit, cheap.terms.notice, cheap.limit), (4, 120, None));
    assert!(
        (cheap.terms.boot.p50 - 60.0).abs() < 1e-9 && (cheap.terms.boot.p95 - 180.0).abs() < 1e-9
    );
    assert!((cheap.terms.start.p50 - 15.0).abs() < 1e-9, "a pod starts as the world says");
    let Sky::Drawn { region, most, .. } = &cheap.sky else { panic!("drawn from the seed") };
    assert_eq!((region.zones.len(), *most), (3, 10), "each zone has nodes for all replicas");
    assert_eq!(
        cheap.to_string(),
        "cheap: on spot, 0.35 an hour; 4 pods fit on a node; a node comes in 1m (p50) to 3m (p95), a pod on it in 15s to 15s; an empty one goes after 1m, \
         and every 5m one whose pods fit on others; one that is taken away is told 2m before, those of a zone within 3m; no capacity is said, and asked for \
         again after 3m; zones have room 90, 75, 60 % of the time, 10 nodes each at most, correlated by 0.25, drawn anew after 4h (all) and 2h (each) in the mean"
    );
}

#[test]
fn capacity_pools_beside_the_pipeline_say_what_they_are() {
    let rest = LANED.split_once("workload:").unwrap().1;
    let of = |folder: &Path, file: &str| {
        Scenario::read(&format!("pipeline: {file}\nworkload:{rest}{WORLD}"), folder)
    };
    let scenario =
        of(Path::new("deploy/examples/scenarios"), "../spot-lanes/pipeline.yaml").unwrap();
    let classes: Vec<_> = scenario.stages[0].lanes.iter().map(|lane| lane.pool.class).collect();
    assert_eq!(classes, [Class::OnDemand, Class::Spot]);
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string("deploy/examples/spot-lanes/pipeline.yaml").unwrap();
    let write = |text: &str| std::fs::write(folder.path().join("all.yaml"), text).unwrap();
    let other =
        text.replace("notice: 120s", "notice: 30s").replace("class: OnDemand", "class: Spot");
    assert_ne!(text, other);
    write(&other);
    let scenario = of(folder.path(), "all.yaml").unwrap();
    let [kept, spot] = scenario.stages[0].lanes.as_slice() else { panic!("two lanes") };
    assert_eq!(
        (kept.pool.class, spot.terms.notice, spot.pool.notice.as_secs()),
        (Class::Spot, 30, 30)
    );
    write(&text.replace("class: Spot", "class: Cheap"));
    let fault = of(folder.path(), "all.yaml").unwrap_err().to_string();
    assert!(fault.starts_with("pipeline: CapacityPool spot: "), "{fault}");
    write(&format!("{text}---\n{}", text.rsplit_once("---").unwrap().1));
    let fault = of(folder.path(), "all.yaml").unwrap_err().to_string();
    assert!(fault.starts_with("pipeline: the file holds 2 ScaledPipelines"), "{fault}");
}

#[test]
fn what_is_wrong_with_a_pool_is_told_with_its_path_and_a_way_to_mend_it() {
    for (pools, told) in [
        ("spot: {}", "pools.spot: no lane is on it; hint: the lanes are on kept, cheap"),
        ("cheap: {prize: 1}", "pools.cheap.prize: unknown field `prize`"),
        ("cheap: {price: 0}", "pools.cheap.price: must be above 0"),
        ("cheap: {class: Cheap}", "pools.cheap.class: unknown variant `Cheap`"),
        (
            "kept: {class: Reserved}",
            "pools.kept.price: must be said of a reserved pool; hint: price: 0.6",
        ),
        ("kept: {zones: [0.5]}", "pools.kept.zones: is for pools of spot; hint: say class: Spot"),
        ("cheap: {zones: [90]}", "pools.cheap.zones: must be 1 to 26 shares from 0 to 1"),
        ("cheap: {zones: []}", "pools.cheap.zones: must be 1 to 26 shares from 0 to 1"),
        (
            "cheap: {boot: {p50: 3m, p95: 1m}}",
            "pools.cheap.boot: must have 0s < p50 <= p95 <= 1h; hint: ",
        ),
        ("cheap: {boot: 60s}", "pools.cheap.boot: invalid type"),
        ("cheap: {podsPerNode: 0}", "pools.cheap.podsPerNode: must be from 1 to 1000"),
        ("cheap: {limit: 0}", "pools.cheap.limit: must be from 1"),
        ("cheap: {correlation: 2}", "pools.cheap.correlation: must be from 0 to 1"),
        ("cheap: {changes: {all: 1s}}", "pools.cheap.changes: must be at least 1m each"),
        (
            "cheap: {outages: [{at: 1h, lasts: 0s}]}",
            "pools.cheap.outages: must last for 1s or more; hint: ",
        ),
        ("cheap: {outages: [{at: 1h}]}", "pools.cheap.outages[0]: missing field `lasts`"),
        ("cheap: {notice: 120}", "pools.cheap.notice: 120 is no length of time; hint: add a unit"),
    ] {
        let fault = read(&format!("{WORLD}pools: {{{pools}}}\n")).unwrap_err();
        assert!(fault.starts_with(told), "{pools}\n  gives {fault}\n  not   {told}");
        assert_eq!(fault.lines().count(), 1, "{fault}");
    }
    for (world, told) in [
        (
            "nodes: {probability: 0.1}",
            "world.nodes: must be left out of stage only, which has lanes",
        ),
        ("interruptions: {every: 4h}", "world.interruptions: must be left out of stage only"),
    ] {
        let fault = read(&WORLD.replace("startup: 15s", world)).unwrap_err();
        assert!(fault.starts_with(told), "{fault}");
    }
    let plain = format!(
        "{}\nworkload: {{steady: {{}}, peakReplicas: 2}}\nworld: {{rate: 1}}\nduration: 1h\npools: {{spot: {{}}}}\n",
        super::PLAIN
    );
    let fault = Scenario::read(&plain, Path::new(".")).unwrap_err().to_string();
    assert_eq!(fault, "pools.spot: no stage of the pipeline has lanes; hint: leave pools out");
    let stage = LANED.split_once("    - name: only").unwrap().1.split_once("workload:").unwrap().0;
    let two = LANED.replacen(
        "workload:",
        &format!("    - name: other{stage}      after: [only]\nworkload:"),
        1,
    );
    let two = two.replacen("only-cheap", "o-cheap", 1).replacen("name: only}", "name: o}", 1);
    let fault = Scenario::read(&format!("{two}{WORLD}"), Path::new(".")).unwrap_err().to_string();
    assert!(
        fault.starts_with(
            "pools.kept: serves stages only and other, and is played for one only; hint: "
        ),
        "{fault}"
    );
}

#[test]
fn all_ways_stand_beside_each_other_and_a_seed_gives_the_same_again() {
    let scenario = laned("pools: {cheap: {outages: [{at: 2h, lasts: 30m}]}}\n");
    let policies = fitting(&scenario);
    assert_eq!(policies, ["penstock", "all-on-demand", "all-on-spot", "fixed-share", "skyserve"]);
    let names = [
        "penstock",
        "all-on-demand",
        "all-on-spot",
        "fixed-share=50",
        "skyserve",
        "keda",
        "static",
    ];
    let all = played(&scenario, &names);
    assert_eq!(
        serde_json::to_string(&all).unwrap(),
        serde_json::to_string(&played(&scenario, &names)).unwrap()
    );
    let settings: Vec<_> = all.entries.iter().map(|entry| entry.settings.as_str()).collect();
    assert_eq!(
        settings[1..5],
        ["all on demand", "all on spot", "2 and 50 % on spot", "SkyServe, base 2, extra 2"]
    );
    let least = all.clairvoyant_cost.unwrap();
    let nodes = |at: usize| all.entries[at].nodes.unwrap();
    for (at, entry) in all.entries.iter().enumerate() {
        let nodes = nodes(at);
        let pools = &entry.runs[0].nodes.as_ref().unwrap().pools;
        let sum: f64 = pools.iter().map(|pool| pool.cost).sum();
        assert!((nodes.cost.mean - sum).abs() < 1e-9, "{}", entry.policy);
        if entry.summary.late_share.unwrap().mean <= 0.0 {
            assert!(least < nodes.cost.mean, "{}: {} below {least}", entry.policy, nodes.cost.mean);
        }
        // What knows of no lanes is on demand, as its name says of one; all on spot has nothing else.
        let spot = nodes.spot_share.mean;
        match entry.policy.as_str() {
            "all-on-demand" | "keda" | "static" => assert!(spot <= 0.0, "{} {spot}", entry.policy),
            "all-on-spot" => assert!(1.0 <= spot, "{spot}"),
            _ => assert!(0.1 < spot && spot < 1.0, "{} {spot}", entry.policy),
        }
    }
    assert!(all.entries[0].summary.late_share.unwrap().mean < 0.01, "{:?}", all.entries[0].summary);
    assert!(
        0.05 < all.entries[2].summary.late_share.unwrap().mean,
        "nobody took over in the outage"
    );
    assert!(nodes(0).cost.mean < nodes(1).cost.mean, "lanes save");
    assert!(0.0 < nodes(0).interrupted_per_day.mean && 0.0 < nodes(0).surges_per_day.mean);
    assert!(nodes(1).lost_per_day.mean <= 0.0, "nobody takes nodes on demand");
    let why = &all.entries[0].runs[0].stages[0].moves;
    assert!(
        why.iter().all(|it| it.lanes.len() == 2 && it.lanes.iter().sum::<u32>() == it.to),
        "{why:?}"
    );
}

#[test]
fn an_outage_and_a_limit_are_kept_to() {
    let scenario = laned("pools: {cheap: {zones: [1], outages: [{at: 2h, lasts: 30m}]}}\n");
    let log = followed(&scenario, &mut *pilot("penstock", &scenario, 1).unwrap(), 1).1;
    let nodes = |at: usize| log.ticks[at].nodes[1];
    assert!(0 < nodes(7199), "spot before");
    // All are told within 3 min, and go 2 min later.
    assert!((7200 + 300..9000).all(|at| nodes(at) == 0), "no spot in the outage");
    assert!(0 < nodes(10_800), "spot comes back");
    assert!(
        log.events.iter().any(|(at, event)| (7200..9000).contains(at) && *event == Event::Refused)
    );
    let strips = run_whole(&scenario, &mut *pilot("penstock", &scenario, 1).unwrap(), 1);
    let strips = &strips.stages[0].series;
    let [_, cheap] = strips.lanes.as_slice() else { panic!("two lanes") };
    let point = |second: u32| ((second - strips.start) / strips.step) as usize;
    assert!(cheap.open[point(8000)] <= 0.0 && 1.0 <= cheap.open[point(9500)] && cheap.is_spot);
    assert!(cheap.ready[point(8000)] <= 0.0 && 0.0 < cheap.ready[point(7000)]);

    let open = ticks(&laned("pools: {cheap: {zones: [1]}}\n"), "penstock");
    assert!(open.iter().any(|tick| 1 < tick.nodes[1]));
    let shut = ticks(&laned("pools: {cheap: {zones: [1], limit: 1}}\n"), "penstock");
    assert!(
        shut.iter().all(|tick| tick.nodes[1] <= 1) && shut.iter().any(|tick| tick.nodes[1] == 1)
    );
    let lacking = |tick: &&Tick| tick.ready[0] + tick.ready[1] < tick.need;
    let short = shut.iter().skip(3600).filter(lacking).count();
    assert!(short < 1800, "what does not fit is on demand: short for {short} s");
}

#[test]
fn a_stage_with_lanes_has_its_place_among_others() {
    let feeder = r#"    - name: first
      replicas: {min: 1, max: 20}
      target: {kind: Deployment, name: first}
      sources: [{name: raw, kafka: {bootstrapServers: "kafka:9092", topics: [raw], group: first}}]
    - name: only
      after: [first]"#;
    let text = LANED.replacen("    - name: only", feeder, 1);
    let scenario = Scenario::read(&format!("{text}{WORLD}"), Path::new(".")).unwrap();
    let all = played(&scenario, &["penstock", "all-on-demand"]);
    for entry in &all.entries {
        let [first, only] = entry.runs[0].stages.as_slice() else { panic!("two stages") };
        assert!(first.nodes.is_none() && first.series.lanes.is_empty());
        assert_eq!(only.nodes.as_ref(), entry.runs[0].nodes.as_ref());
        assert!(
            entry.summary.late_share.unwrap().mean < 0.01,
            "{}: {:?}",
            entry.policy,
            entry.summary
        );
    }
    let cost = |at: usize| all.entries[at].nodes.unwrap().cost.mean;
    assert!(cost(0) < cost(1) && all.clairvoyant_cost.unwrap() < cost(0));
}

#[test]
fn crashes_befall_pods_on_nodes_too() {
    let calm = laned("");
    let crashing = read(&WORLD.replace("startup", "crashesPerDay: 20, startup")).unwrap();
    let dips = |scenario: &Scenario| {
        let ticks = ticks(scenario, "all-on-demand");
        ticks
            .windows(2)
            .filter(|pair| pair[1].ready < pair[0].ready && pair[1].desired == pair[0].desired)
            .count()
    };
    // Ten pods for four hours, each of which crashes twenty times a day.
    let (few, many) = (dips(&calm), dips(&crashing));
    assert!(few + 15 < many, "{few} and {many}");
}

/// Two replicas' work all night, to be done by six, on nodes of one pool.
const NIGHTLY: &str = r#"
pipeline:
  apiVersion: penstock.dev/v1alpha1
  kind: ScaledPipeline
  metadata: {name: nightly}
  spec:
    stages:
    - name: only
      objective: {doneBy: {time: "06:00"}}
      replicas: {min: 0, max: 40}
      lanes:
      - {pool: kept, target: {kind: Deployment, name: only}}
      sources: [{name: queue, kafka: {bootstrapServers: "kafka:9092", topics: [t], group: g}}]
workload: {steady: {}, peakRate: 200}
world: {rate: 100, startup: 15s}
duration: 7h
"#;

#[test]
fn a_batch_works_in_the_hours_in_which_nodes_cost_less() {
    // From three to five at 40 % of the price.
    let price = |second: usize| if (10_800..18_000).contains(&second) { 0.4 } else { 1.0 };
    let paid = |pools: &str| {
        let scenario = Scenario::read(&format!("{NIGHTLY}{pools}"), Path::new(".")).unwrap();
        let (run, log) = followed(&scenario, &mut *pilot("penstock", &scenario, 1).unwrap(), 1);
        let due = run.score.due.unwrap();
        assert_eq!((due.times, due.met), (1, 1), "{due:?}");
        // At the end of the cheap hours there is nothing that only many could do.
        let most = log.ticks[16_200..18_600].iter().map(|tick| tick.desired[0]).max().unwrap();
        assert!(most <= 8, "{most} at work for the two that what comes needs: {pools}");
        let each = log.ticks.iter().enumerate();
        let paid: f64 = each.map(|(at, tick)| price(at) * f64::from(tick.nodes[0])).sum();
        (paid / 3600.0, run.nodes.unwrap().cost)
    };
    let hours = r#"[{start: "0 3 * * *", end: "0 5 * * *", percent: 40}]"#;
    let (chosen, told) = paid(&format!("pools: {{kept: {{hours: {hours}}}}}\n"));
    assert!((chosen - told).abs() < 1e-6, "{chosen} was paid, {told} is told");
    let (anyhow, _) = paid("");
    assert!(chosen < 0.75 * anyhow, "{chosen} beside {anyhow}");
}

#[test]
fn a_batch_does_not_wait_for_hours_that_what_keeps_coming_fills() {
    // At most ten, of which three are needed all the time; the last hour is cheap, and does ten hours' work.
    let text = NIGHTLY.replace("max: 40", "max: 10").replace("peakRate: 200", "peakRate: 300");
    let hours = r#"[{start: "0 5 * * *", end: "0 6 * * *", percent: 40}]"#;
    let text = format!("{text}pools: {{kept: {{hours: {hours}}}}}\n");
    let scenario = Scenario::read(&text, Path::new(".")).unwrap();
    let run = run_whole(&scenario, &mut *pilot("penstock", &scenario, 1).unwrap(), 1);
    let late = run.score.late_share.unwrap();
    assert!(late < 0.01, "{late}: {:?}", run.stages[0].moves);
}

#[test]
fn hours_that_cannot_be_read_are_refused_with_a_hint() {
    let refused = |hours: &str| read(&format!("{WORLD}pools: {{cheap: {{hours: [{hours}]}}}}\n"));
    let told = refused(r#"{start: "0 3 * * *", end: "at five", percent: 40}"#).unwrap_err();
    assert!(told.contains("pools.cheap.hours: [0].end: \"at five\" is no cron"), "{told}");
    let told = refused(r#"{start: "0 3 * * *", end: "0 5 * * *", percent: 0}"#).unwrap_err();
    assert!(told.contains("percent from 1 to 1000"), "{told}");
}
