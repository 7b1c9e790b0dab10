//! What `ScaledObject` and `ScaledJob` have in common: names, metadata, bounds, and the triggers of which a stage is made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::behaviour::HPA_LOOKS;
use super::connections::Connections;
use super::given::{Surroundings, World, text};
use super::keda::{Common, Rest, Trigger};
use super::report::{Notes, Report};
use super::triggers::{self, Became, Place, Promise};
use crate::crd::connection::Selector;
use crate::crd::duration::Duration as Written;
use crate::crd::pipeline::{Mode, Replicas, ScaledPipeline, ScaledPipelineSpec, Stage};
use crate::crd::quantity::Quantity;
use crate::crd::source::{Kinds, Source, Workload};
use crate::crd::wish::{Objective, Schedule};

/// What all objects of one call share.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) world: &'a World,
    pub(super) connections: &'a mut Connections,
    pub(super) report: &'a mut Report,
}

/// KEDA's annotations, and ours that mean the same.
const ANNOTATIONS: [(&str, &str); 5] = [
    ("autoscaling.keda.sh/paused", "penstock.dev/paused"),
    ("autoscaling.keda.sh/paused-replicas", PAUSED_REPLICAS),
    ("autoscaling.keda.sh/paused-scale-in", "penstock.dev/paused-scale-in"),
    ("autoscaling.keda.sh/paused-scale-out", "penstock.dev/paused-scale-out"),
    ("autoscaling.keda.sh/force-activation", "penstock.dev/force-activation"),
];
const PAUSED_REPLICAS: &str = "penstock.dev/paused-replicas";
/// Those that speak of an HPA or of KEDA's own Jobs, of which there are none any more.
const USELESS: [&str; 4] = [
    "scaledobject.keda.sh/transfer-hpa-ownership",
    "scaledobject.keda.sh/hpa-excluded-labels",
    "scaledjob.keda.sh/job-excluded-labels",
    "validations.keda.sh/hpa-ownership",
];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A pipeline of one stage in the object's place, which decides and writes nothing yet.
pub(super) fn pipeline(
    notes: &mut Notes<'_>,
    document: &Value,
    spec: ScaledPipelineSpec,
) -> Option<Value> {
    let spec = ScaledPipelineSpec { mode: Some(Mode::Observe), ..spec };
    let mut object = ScaledPipeline::new(text(document, "/metadata/name"), spec);
    let namespace = text(document, "/metadata/namespace");
    object.metadata.namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
    let annotations = annotations(notes, document);
    object.metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    if document.pointer("/metadata/labels").is_some() {
        notes.changes(
            "metadata.labels",
            "are not carried over: Helm, Argo CD and others know their objects by them",
        );
    }
    serde_json::to_value(object).ok()
}

fn annotations(notes: &mut Notes<'_>, document: &Value) -> BTreeMap<String, String> {
    let written = document.pointer("/metadata/annotations").and_then(Value::as_object);
    let mut all = BTreeMap::new();
    for (key, value) in written.into_iter().flatten().filter(|(key, _)| *key != LAST_APPLIED) {
        let (path, value) = (format!("metadata.annotations[{key}]"), super::keda::plain(value));
        let ours = ANNOTATIONS.iter().find(|(theirs, _)| theirs == key).map(|(_, ours)| *ours);
        match ours {
            Some(PAUSED_REPLICAS) => {
                notes.same(path, format!("is {PAUSED_REPLICAS}"));
                all.insert(PAUSED_REPLICAS.to_owned(), value);
            }
            Some(ours) => {
                notes.same(path, format!("is {ours}"));
                if value != "false" {
                    all.insert(ours.to_owned(), "true".to_owned());
                }
            }
            None if USELESS.contains(&key.as_str()) => {
                notes.same(path, "has no use: KEDA's HPA and Jobs are no more");
            }
            None => notes.changes(path, "is not carried over"),
        }
    }
    all
}

/// A name of a stage: that of the workload where it may be one.
pub(super) fn stage_name(of: &str) -> String {
    let letter = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let name: String = of.to_lowercase().chars().map(letter).take(63).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "stage".to_owned() } else { name.to_owned() }
}

/// Whole seconds as they are written.
pub(super) fn seconds(seconds: u64) -> Written {
    Duration::from_secs(seconds).into()
}

/// KEDA's bounds with its defaults, told.
pub(super) fn bounds(notes: &mut Notes<'_>, common: &Common) -> Replicas {
    for (field, written) in [
        ("minReplicaCount", common.min_replica_count),
        ("maxReplicaCount", common.max_replica_count),
    ] {
        if written.is_some() {
            notes.same(format!("spec.{field}"), "is in replicas");
        }
    }
    Replicas {
        min: Some(common.min_replica_count.unwrap_or(0)),
        max: common.max_replica_count.unwrap_or(100),
    }
}

/// How often sources are asked. KEDA's interval is that of waking, and the HPA's own pace is another.
pub(super) fn poll_interval(
    notes: &mut Notes<'_>,
    common: &Common,
    has_hpa: bool,
) -> Option<Written> {
    let written = common.polling_interval?;
    let path = "spec.pollingInterval";
    let is_cached = common.triggers.iter().all(|it| it.use_cached_metrics == Some(true));
    let pace = if has_hpa && !is_cached { written.min(HPA_LOOKS) } else { written };
    let pace = pace.clamp(1, 600);
    if pace == written {
        notes.same(path, "is pollInterval");
    } else {
        notes.changes(
            path,
            format!("is {written} s while nothing runs, and the HPA asks every {HPA_LOOKS} s; here there is one pace, {pace} s"),
        );
    }
    Some(seconds(pace))
}

/// Fields that nobody knows.
pub(super) fn unknown(notes: &mut Notes<'_>, at: &str, rest: &Rest) {
    for field in rest.keys() {
        notes.not_supported(format!("{at}.{field}"), "is left out: nobody here knows this field");
    }
}

/// What triggers have become, and under what names.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) sources: Vec<Source>,
    pub(super) schedules: Vec<Schedule>,
    pub(super) promise: Option<Promise>,
}

/// Names for the sources of these triggers, none twice.
pub(super) fn names(triggers: &[Trigger]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for trigger in triggers {
        let wish = source_name(trigger.name.as_deref().unwrap_or(&trigger.scaler));
        let numbered = (2..).map(|number| format!("{wish}_{number}"));
        let mut all = std::iter::once(wish.clone()).chain(numbered);
        names.extend(all.find(|name| !names.contains(name)));
    }
    names
}

fn source_name(of: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = of.chars().map(letter).take(55).collect();
    let name = name.trim_matches('_').to_owned();
    if Source::may_be_called(&name) {
        return name;
    }
    let other = format!("trigger_{name}");
    if Source::may_be_called(&other) { other } else { "trigger".to_owned() }
}

/// Whose triggers they are.
#[derive(Debug)]
pub(super) struct Owner<'a> {
    pub(super) document: &'a Value,
    pub(super) around: Surroundings<'a>,
    pub(super) common: &'a Common,
    pub(super) max: u32,
    pub(super) in_formula: BTreeSet<String>,
}

/// Converts all triggers of an object.
pub(super) fn triggers(
    world: &World,
    connections: &mut Connections,
    notes: &mut Notes<'_>,
    owner: Owner<'_>,
) -> Wishes {
    let all = &owner.common.triggers;
    let beside = ["cpu", "memory", "cron"];
    let queues = all.iter().filter(|it| !beside.contains(&it.scaler.as_str())).count();
    let namespace = text(owner.document, "/metadata/namespace");
    let mut place = Place {
        world,
        connections,
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        around: owner.around,
        max: owner.max,
        in_formula: owner.in_formula,
        is_only: queues == 1,
    };
    let mut wishes = Wishes::default();
    for (index, (trigger, name)) in all.iter().zip(names(all)).enumerate() {
        let at = format!("spec.triggers[{index}]");
        match triggers::convert(&mut place, notes.lend(), (at, trigger, &name)) {
            Became::Source(source, promise) => {
                wishes.sources.push(*source);
                wishes.promise = wishes.promise.or(promise);
            }
            Became::Schedule(schedule) => wishes.schedules.push(schedule),
            Became::Nothing => {}
        }
    }
    wishes
}

/// Does it read what the stage's own pods use?
pub(super) fn is_of_pods(source: &Source) -> bool {
    source.kind.cpu.is_some() || source.kind.memory.is_some()
}

/// A source that always says 0: a stage without any would keep the count that a schedule raised it to.
pub(super) fn nothing() -> Source {
    let labels = [("penstock.dev/nothing".to_owned(), "true".to_owned())];
    let selector = Selector { match_labels: labels.into(), ..Selector::default() };
    let workload = Workload { selector, per_replica: Some(Quantity::Whole(1)) };
    let kind = Kinds { workload: Some(workload), ..Kinds::default() };
    Source { name: "nothing".to_owned(), activation: None, poll_interval: None, kind }
}

/// The delay that is promised where a threshold has no counterpart.
pub(super) fn promised(wishes: &Wishes, stage: &mut Stage) -> Option<Objective> {
    let promise = wishes.promise.as_ref()?;
    stage.rate_per_replica = promise.rate;
    Some(Objective { max_delay: Some(seconds(60)), prefer: None })
}
