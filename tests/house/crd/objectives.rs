//! How the objective of a pipeline is split over its stages.

use penstock::crd::meaning::Fault;
use penstock::decide::Stage;
use serde_json::{Value, json};

use super::{Around, PIPELINE, put, read, with};

/// The delay of each stage of a pipeline with this shape: name, stages above, pinned delay.
fn split(whole: &str, shape: &[(&str, &[&str], Option<&str>)]) -> Result<Vec<u64>, Vec<Fault>> {
    let stages: Vec<Value> = shape
        .iter()
        .map(|(name, after, pinned)| {
            let mut stage = json!({"name": name, "after": after, "target": {"name": name}, "replicas": {"max": 9}});
            if let Some(pinned) = pinned {
                put(&mut stage, "/objective", &json!({"maxDelay": pinned}));
            }
            stage
        })
        .collect();
    let written = with(
        PIPELINE,
        &[("/spec/objective/maxDelay", whole.into()), ("/spec/stages", stages.into())],
    );
    let meaning = read(&written, &Around::default())?;
    let seconds = |stage: &Stage| stage.max_delay.unwrap().as_secs();
    Ok(meaning.pipeline.stages.iter().map(seconds).collect())
}

#[test]
fn the_objective_is_split_equally_over_the_longest_path() {
    let none: &[&str] = &[];
    assert_eq!(split("60s", &[("a", none, None)]).unwrap(), [60]);
    assert_eq!(
        split("60s", &[("a", none, None), ("b", &["a"], None), ("c", &["b"], None)]).unwrap(),
        [20, 20, 20]
    );
    // Two stages side by side: a path has three stages, whichever it takes.
    let diamond =
        [("a", none, None), ("b", &["a"][..], None), ("c", &["a"], None), ("d", &["b", "c"], None)];
    assert_eq!(split("60s", &diamond).unwrap(), [20, 20, 20, 20]);
    // A stage off the longest path has only its own path to share with.
    let apart = [
        ("a", none, None),
        ("b", &["a"][..], None),
        ("c", &["b"], None),
        ("d", &["a"], None),
        ("e", none, None),
    ];
    assert_eq!(split("60s", &apart).unwrap(), [20, 20, 20, 30, 60]);
}

#[test]
fn a_pinned_stage_keeps_its_share_and_the_others_split_the_rest() {
    let none: &[&str] = &[];
    let chain = [("a", none, None), ("b", &["a"][..], Some("30s")), ("c", &["b"], None)];
    assert_eq!(split("60s", &chain).unwrap(), [15, 30, 15]);
    let all = [("a", none, Some("10s")), ("b", &["a"][..], Some("50s"))];
    assert_eq!(split("60s", &all).unwrap(), [10, 50]);
    // The tighter of two paths binds: 60 - 40 through c leaves 20 for a and d together.
    let diamond = [
        ("a", none, None),
        ("b", &["a"][..], None),
        ("c", &["a"], Some("40s")),
        ("d", &["b", "c"], None),
    ];
    assert_eq!(split("60s", &diamond).unwrap(), [10, 20, 40, 10]);
}

#[test]
fn pins_that_leave_nothing_are_refused() {
    let none: &[&str] = &[];
    let faults = split("60s", &[("a", none, None), ("b", &["a"][..], Some("60s"))]).unwrap_err();
    let texts: Vec<String> = faults.iter().map(Fault::to_string).collect();
    let left = "what is pinned on a path through stage";
    assert_eq!(
        texts,
        [
            format!("spec.objective.maxDelay: {left} a leaves nothing of the pipeline's objective"),
            format!(
                "spec.stages[1].objective.maxDelay: {left} b leaves nothing of the pipeline's objective"
            ),
        ]
    );
    let faults =
        split("60s", &[("a", none, Some("40s")), ("b", &["a"][..], Some("40s"))]).unwrap_err();
    assert_eq!(faults.len(), 2);
    assert_eq!(faults[1].path, "spec.stages[1].objective.maxDelay");
}

/// Seconds of each stage of three in a row without an objective for the whole, and which of them are a default.
fn by_default(changes: &[(&str, Value)]) -> Vec<(Option<u64>, bool)> {
    let stage = |name: &str, after: Value| {
        let kafka = json!({"bootstrapServers": "k:9092", "topics": [name], "group": name});
        json!({
            "name": name, "after": after, "target": {"name": name}, "replicas": {"max": 9},
            "sources": [{"name": "todo", "kafka": kafka}],
        })
    };
    let stages = json!([stage("a", json!([])), stage("b", json!(["a"])), stage("c", json!(["b"]))]);
    let mut written = with(PIPELINE, &[("/spec/objective", Value::Null), ("/spec/stages", stages)]);
    for (pointer, value) in changes {
        put(&mut written, pointer, value);
    }
    let meaning = read(&written, &Around::default()).unwrap();
    let told =
        |stage: &Stage| (stage.max_delay.map(|delay| delay.as_secs()), stage.is_default_objective);
    meaning.pipeline.stages.iter().map(told).collect()
}

#[test]
fn without_a_word_a_pipeline_has_60_s_from_end_to_end() {
    assert_eq!(by_default(&[]), [(Some(20), true); 3]);
    assert_eq!(
        by_default(&[("/spec/objective", json!({"prefer": "Cost"}))]),
        [(Some(20), true); 3]
    );
    let whole = ("/spec/objective", json!({"maxDelay": "90s"}));
    assert_eq!(by_default(&[whole]), [(Some(30), false); 3]);
}

#[test]
fn where_a_stage_has_a_word_of_its_own_each_of_the_others_has_60_s() {
    let threshold = ("/spec/stages/1/sources/0/kafka/perReplica", json!(1000));
    assert_eq!(by_default(&[threshold]), [(Some(60), true), (None, false), (Some(60), true)]);
    let pinned = ("/spec/stages/1/objective", json!({"maxDelay": "5m"}));
    assert_eq!(by_default(&[pinned]), [(Some(60), true), (Some(300), false), (Some(60), true)]);
    let batch = ("/spec/stages/2/objective", json!({"doneBy": {"time": "06:00"}}));
    assert_eq!(by_default(&[batch]), [(Some(60), true), (Some(60), true), (None, false)]);
}

#[test]
fn no_path_ever_promises_more_than_the_whole() {
    // Ten stages in three layers with pins here and there; every path is added up.
    let shape: &[(&str, &[&str], Option<&str>)] = &[
        ("a", &[], None),
        ("b", &[], Some("7s")),
        ("c", &["a", "b"], None),
        ("d", &["a"], Some("11s")),
        ("e", &["c", "d"], None),
        ("f", &["c"], None),
        ("g", &["e", "f", "b"], Some("5s")),
        ("h", &["g"], None),
        ("i", &["d"], None),
        ("j", &["h", "i"], None),
    ];
    let delays = split("100s", shape).unwrap();
    let mut longest = Vec::new();
    for (index, (_, after, _)) in shape.iter().enumerate() {
        let above = after.iter().map(|name| {
            let above = shape.iter().position(|(other, ..)| other == name).unwrap();
            longest[above]
        });
        longest.push(above.max().unwrap_or(0) + delays[index]);
    }
    assert!(longest.iter().all(|sum| *sum <= 100), "{delays:?}");
    assert!(longest.iter().any(|sum| *sum >= 97), "{delays:?}: something is given away");
}
