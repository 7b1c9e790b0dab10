//! How each pipeline stands: by the word of the daemon that runs, else by a first look from here.

use kube::ResourceExt;

use crate::answer::view::{Pipeline, Sighting, Stage};
use crate::crd::ScaledPipeline;

use super::finding::{Area, Finding};

/// Reasons that say that a stage cannot be scaled, whatever its sources say.
const STUCK: [&str; 8] = [
    "HpaOnTarget",
    "InternalError",
    "PromiseBroken",
    "TargetTaken",
    "TargetUnseen",
    "TargetUnusable",
    "WriteRefused",
    "WriterConflict",
];

/// What is to be said of all of them. Whatever is good is one line for each pipeline.
pub(super) fn findings(pipelines: &[Pipeline]) -> Vec<Finding> {
    pipelines.iter().flat_map(of).collect()
}

/// What the daemon wrote into a pipeline's condition Ready: all there is where it cannot be asked.
pub(super) fn by_condition(pipeline: &ScaledPipeline) -> Finding {
    let name = format!("{}/{}", pipeline.namespace().unwrap_or_default(), pipeline.name_any());
    let about = Finding::new(Area::Pipeline, &name);
    let conditions = pipeline.status.iter().flat_map(|status| &status.conditions);
    match conditions.into_iter().find(|condition| condition.type_ == "Ready") {
        Some(ready) if ready.status == "True" => about.good(format!("Ready: {}", ready.reason)),
        Some(ready) => about.bad(format!("{} [{}]", ready.message, ready.reason)),
        None => about.note("nothing has been decided for it yet"),
    }
}

/// Pipelines that the daemons of two releases look after, each of which is to leave out what the other has. `told` is who told of which.
pub(super) fn shared(told: &[(String, Vec<Pipeline>)]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, (first, theirs)) in told.iter().enumerate() {
        for (second, others) in &told[index + 1..] {
            let pairs = theirs.iter().filter_map(|one| {
                let is_it =
                    |it: &&Pipeline| (&it.namespace, &it.name) == (&one.namespace, &one.name);
                Some((one, others.iter().find(is_it)?))
            });
            let pairs: Vec<_> = pairs.collect();
            let Some((one, _)) = pairs.first() else { continue };
            let more = match pairs.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let writes = |it: &Pipeline| it.stages.iter().any(|stage| stage.mode != "Observe");
            let fight = pairs.iter().any(|(one, other)| writes(one) && writes(other));
            let what = if fight { "counts and statuses" } else { "statuses" };
            let (namespace, name) = (&one.namespace, &one.name);
            let said = format!(
                "{first} and {second} both look after {namespace}/{name}{more}, and both write their {what}"
            );
            let about = Finding::new(Area::Cluster, "releases");
            let about = if fight { about.bad(said) } else { about.note(said) };
            found.push(about.hint("have one leave out what the other has, by namespaces or selector: docs/operations.md, Several at once"));
        }
    }
    found
}

fn of(pipeline: &Pipeline) -> Vec<Finding> {
    let name = format!("{}/{}", pipeline.namespace, pipeline.name);
    let about = Finding::new(Area::Pipeline, &name);
    let mut all: Vec<Finding> = pipeline
        .faults
        .iter()
        .map(|fault| {
            let found =
                about.clone().bad(format!("{} {} ({})", fault.path, fault.message, fault.code));
            Finding { hint: fault.hint.clone(), ..found }
        })
        .collect();
    if all.is_empty() && pipeline.stages.is_empty() {
        all.push(about.clone().note("nothing has been decided for it yet"));
    }
    all.extend(pipeline.stages.iter().flat_map(|stage| of_stage(&name, stage)));
    if all.is_empty() {
        let sources: usize = pipeline.stages.iter().map(|stage| stage.sources.len()).sum();
        let observes = pipeline.stages.iter().filter(|stage| stage.mode == "Observe").count();
        let stages = pipeline.stages.len();
        let observes = match observes {
            0 => String::new(),
            n if n == stages => "; it observes and writes nothing".to_owned(),
            n => format!("; {n} of them observe and write nothing"),
        };
        all.push(about.good(format!(
            "{stages} stage{}, {sources} source{} read{observes}",
            plural(stages),
            plural(sources)
        )));
    }
    all
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn of_stage(pipeline: &str, stage: &Stage) -> Vec<Finding> {
    let stuck = stage.reasons.iter().filter(|reason| STUCK.contains(&&*reason.code));
    let stuck = stuck.map(|reason| {
        let about = Finding::new(Area::Pipeline, &format!("{pipeline} {}", stage.name));
        let found = about.bad(format!("{} [{}]", reason.sentence, reason.code));
        Finding { hint: reason.hint.clone(), ..found }
    });
    let sources = stage.sources.iter().filter_map(|source| of_source(pipeline, stage, source));
    stuck.chain(sources).collect()
}

/// What is wrong with a source.
fn of_source(pipeline: &str, stage: &Stage, source: &Sighting) -> Option<Finding> {
    let subject = format!("{pipeline} {} {}", stage.name, source.name);
    let about = Finding::new(Area::Source, &subject);
    let message = source.message.clone().unwrap_or_default();
    let refused = source.refusal.as_ref().map(|it| {
        let said = format!("its newest credentials are refused: {} [{}]", it.message, it.code);
        about.clone().note(said)
    });
    match &*source.state {
        "Fresh" => refused,
        "Partial" => Some(about.note(format!("a part of it cannot be read: {message}"))),
        "Awaited" => Some(about.bad("it has not answered yet")),
        _ => Some(about.bad(message)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    fn pipeline(name: &str, mode: &str) -> Pipeline {
        let stage = Stage { mode: mode.to_owned(), ..Stage::default() };
        let (namespace, name) = ("shop".to_owned(), name.to_owned());
        Pipeline { namespace, name, stages: vec![stage], ..Pipeline::default() }
    }

    #[test]
    fn two_releases_that_look_after_one_pipeline_are_named() {
        let told = |by: &str, all: &[(&str, &str)]| {
            let all = all.iter().map(|(name, mode)| pipeline(name, mode));
            (format!("pod {by}"), all.collect::<Vec<_>>())
        };
        let first = told("a/a", &[("orders", "Enforce"), ("bills", "Enforce"), ("x", "Enforce")]);
        let second = told("b/b", &[("bills", "Enforce"), ("orders", "Enforce")]);
        let found = shared(&[first.clone(), second]);
        let expected = "pod a/a and pod b/b both look after shop/orders and 1 more, and both write their counts and statuses";
        assert_eq!((&*found[0].said, found[0].grade), (expected, Grade::Bad));
        // One that only observes moves nothing; one that has others is nobody's concern.
        let looks_on = shared(&[first.clone(), told("b/b", &[("x", "Observe")])]);
        assert_eq!((looks_on.len(), looks_on[0].grade), (1, Grade::Note));
        assert_eq!(shared(&[first, told("b/b", &[("y", "Enforce")])]).len(), 0);
    }
}
