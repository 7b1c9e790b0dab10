//! Scenario files: the examples are good, and what is wrong in one is told with its path and a way to mend it.

use std::path::Path;

use penstock::simulate::Scenario;

use super::PLAIN;

const REST: &str = "
workload: {diurnal: {}, peakReplicas: 20}
world: {rate: 100}
duration: 3d
warmup: 1d
";

fn fault(text: &str) -> String {
    Scenario::read(text, Path::new("deploy/examples/scenarios")).unwrap_err().to_string()
}

#[test]
fn the_examples_are_good() {
    let mut count = 0;
    for entry in std::fs::read_dir("deploy/examples/scenarios").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "yaml") {
            count += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            let scenario = Scenario::read(&text, path.parent().unwrap());
            let scenario = scenario.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(scenario.warmup < scenario.duration);
        }
    }
    assert_eq!(count, 5);
}

#[test]
fn what_is_left_out_has_defaults() {
    let scenario = Scenario::read(&format!("{PLAIN}{REST}"), Path::new(".")).unwrap();
    let ground = &scenario.stages[0].ground;
    assert_eq!((ground.partitions, scenario.seeds, scenario.name.as_str()), (48, 1, "plain"));
    assert_eq!((scenario.duration, scenario.scored()), (259_200, 172_800));
    assert!((scenario.objective().unwrap() - 60.0).abs() < 1e-9);
}

#[test]
fn a_fault_is_told_with_its_path_and_a_way_to_mend_it() {
    let good = format!("{PLAIN}{REST}");
    assert!(Scenario::read(&good, Path::new(".")).is_ok());
    for (from, to, told) in [
        (
            "rate: 100",
            "rate: 0",
            "world.rate: must be above 0: items a second that one replica really gets through; hint: rate: 100",
        ),
        ("{rate: 100}", "{}", "world.rate: must be above 0"),
        ("rate: 100", "rate: 100, partition: 3", "world.partition: unknown field `partition`"),
        ("rate: 100", "rate: fast", "world.rate: invalid type: string \"fast\""),
        ("rate: 100", "rate: 100, startup: 45", "world.startup: "),
        (
            "rate: 100",
            "rate: 100, skew: {zipf: 1, hot: 0.5}",
            "world.skew: must be one of uniform, zipf and hot",
        ),
        ("rate: 100", "rate: 100, skew: {hot: 2}", "world.skew.hot: must be a share"),
        (
            "rate: 100",
            "rate: 100, rebalance: {mode: Lazy}",
            "world.rebalance.mode: unknown variant `Lazy`",
        ),
        (
            "duration: 3d",
            "duration: 3 days",
            "duration: \"3 days\" is no length of time; hint: write 45s, 1h30m or 3d",
        ),
        ("duration: 3d", "duration: 1d", "duration: must be longer than warmup"),
        ("duration: 3d", "length: 3d", "length: unknown field `length`"),
        (
            "workload: {diurnal: {}, peakReplicas: 20}",
            "",
            "workload: is missing; hint: workload: {diurnal: {}",
        ),
        ("diurnal: {}, ", "", "workload: needs exactly one shape; hint: one of steady"),
        ("diurnal: {}", "diurnal: {}, steady: {}", "workload: needs exactly one shape"),
        ("diurnal: {}", "diurnal: {low: 0}", "workload.diurnal.low: must be above 0"),
        ("diurnal: {}", "diurnal: {lowest: 1}", "workload.diurnal.lowest: unknown field `lowest`"),
        (", peakReplicas: 20", "", "workload: says no peak; hint: peakReplicas: 20"),
        (
            "peakReplicas: 20",
            "peakReplicas: 20, peakRate: 5",
            "workload.peakRate: peakReplicas says the same",
        ),
        ("diurnal: {}", "trace: {file: nowhere.csv}", "workload.trace: cannot read "),
        ("diurnal: {}", "trace: {file: first.yaml}", "workload.trace: first.yaml: line 4: "),
        (
            "warmup: 1d",
            "warmup: 1d\nstages: {other: {rate: 5}}",
            "stages.other: the pipeline has no such stage; hint: it has only",
        ),
        (
            "warmup: 1d",
            "warmup: 1d\nstages: {only: {rate: -5}}",
            "stages.only.rate: must be above 0",
        ),
        (
            "warmup: 1d",
            "warmup: 1d\nstages: {only: {workload: {ramp: {}}}}",
            "stages.only.workload: says no peak",
        ),
        (
            "warmup: 1d",
            "warmup: 1d\nstages: {only: {selectivity: {up: 2}}}",
            "stages.only.selectivity.up: is no stage that this one comes after",
        ),
        ("warmup: 1d", "warmup: 1d\nseeds: 0", "seeds: must be from 1 to 1000"),
        ("max: 60", "max: 60, most: 3", "pipeline: unknown field \"spec.stages[0].replicas.most\""),
        ("min: 0, max: 60", "min: 9, max: 6", "pipeline: spec.stages[0].replicas"),
        (
            "      replicas: {min: 0, max: 60}",
            "      replicas: {min: 0, max: 60}\n      gates: [{name: g, holdWhen: value > 0.0, source: {kafka: {bootstrapServers: 'k:9092', topics: [t], group: g}}}]",
            "pipeline.spec.stages[0].gates: must be left out",
        ),
        ("kind: ScaledPipeline", "kind: Deployment", "pipeline: is no ScaledPipeline; hint: "),
        (
            "      replicas: {min: 0, max: 60}",
            "      replicas: {min: 0, max: 60}\n      actuate: HPA",
            "pipeline.spec.stages[0].actuate: does not work in this version; hint: ",
        ),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from:?} is not in the scenario");
        let fault = fault(&text);
        assert!(fault.starts_with(told), "{to:?}\n  gives {fault}\n  not   {told}");
        assert_eq!(fault.lines().count(), 1, "{fault}");
    }
    assert!(fault("a: [").starts_with("is no YAML: "), "{}", fault("a: ["));
    let from_a_file = fault(&format!("pipeline: nowhere.yaml{REST}"));
    assert!(from_a_file.starts_with("pipeline: cannot read "), "{from_a_file}");
}
