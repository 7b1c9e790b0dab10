//! Triggers, one for one: which scaler becomes which source. Each kind has its words in a file beside; what is the same for all is here.

use std::collections::{BTreeMap, BTreeSet};

mod desk;
mod kafka;
mod queues;
mod numbers;
mod inside;

pub(super) use desk::{Desk, Promise};

use self::desk::Left;
use super::connections::{Connections, Scope};
use super::given::{Given, Param, Surroundings, World, parameters_within};
use super::keda::{Trigger, plain};
use super::report::Notes;
use crate::crd::source::{Kinds, Source};
use crate::crd::wish::Schedule;

/// How one scaler is converted.
struct Scaler {
    names: &'static [&'static str],
    convert: fn(&mut Desk<'_>) -> Option<Kinds>,
    /// What its activation is called.
    activations: &'static [&'static str],
    left: &'static [Left],
}

/// Every scaler that has a source; `cron` is apart.
const SCALERS: &[Scaler] = &[
    Scaler {
        names: &["kafka", "apache-kafka"],
        convert: kafka::convert,
        activations: &["activationLagThreshold"],
        left: kafka::LEFT,
    },
    Scaler {
        names: &["rabbitmq"],
        convert: queues::rabbitmq,
        activations: &["activationValue"],
        left: queues::RABBITMQ,
    },
    Scaler {
        names: &["redis", "redis-cluster", "redis-sentinel"],
        convert: queues::redis,
        activations: &["activationListLength"],
        left: queues::REDIS,
    },
    Scaler {
        names: &["redis-streams", "redis-cluster-streams", "redis-sentinel-streams"],
        convert: queues::redis,
        activations: &["activationLagCount"],
        left: queues::REDIS,
    },
    Scaler {
        names: &["nats-jetstream"],
        convert: queues::nats,
        activations: &["activationLagThreshold"],
        left: queues::NATS,
    },
    Scaler {
        names: &["aws-sqs-queue"],
        convert: queues::sqs,
        activations: &["activationQueueLength"],
        left: queues::SQS,
    },
    Scaler {
        names: &["prometheus"],
        convert: numbers::prometheus,
        activations: &["activationThreshold"],
        left: numbers::PROMETHEUS,
    },
    Scaler {
        names: &["metrics-api"],
        convert: numbers::metrics_api,
        activations: &["activationTargetValue"],
        left: numbers::METRICS_API,
    },
    Scaler {
        names: &["postgresql"],
        convert: numbers::postgres,
        activations: &["activationTargetQueryValue"],
        left: numbers::SQL,
    },
    Scaler {
        names: &["mysql"],
        convert: numbers::mysql,
        activations: &["activationQueryValue"],
        left: numbers::SQL,
    },
    Scaler {
        names: &["external", "external-push"],
        convert: numbers::external,
        activations: &[],
        left: numbers::EXTERNAL,
    },
    Scaler { names: &["cpu"], convert: inside::cpu, activations: &[], left: inside::NONE },
    Scaler { names: &["memory"], convert: inside::memory, activations: &[], left: inside::NONE },
    Scaler {
        names: &["kubernetes-workload"],
        convert: inside::workload,
        activations: &["activationValue"],
        left: inside::WORKLOAD,
    },
];

/// What a trigger has become.
#[derive(Debug)]
pub(super) enum Became {
    Source(Box<Source>, Option<Promise>),
    Schedule(Schedule),
    /// Nothing: the report says why.
    Nothing,
}

/// Where triggers stand: whose they are, and what is beside them.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) world: &'a World,
    pub(super) connections: &'a mut Connections,
    /// As the object says it.
    pub(super) namespace: Option<String>,
    /// Whose environment is read.
    pub(super) around: Surroundings<'a>,
    pub(super) max: u32,
    /// Triggers that a formula names.
    pub(super) in_formula: BTreeSet<String>,
    pub(super) is_only: bool,
}

/// Converts a trigger, under the name that its source is to have.
pub(super) fn convert(
    place: &mut Place<'_>,
    mut notes: Notes<'_>,
    (at, trigger, name): (String, &Trigger, &str),
) -> Became {
    let scaler = SCALERS.iter().find(|it| it.names.contains(&trigger.scaler.as_str()));
    let is_cron = trigger.scaler == "cron";
    if scaler.is_none() && !is_cron {
        notes.not_supported(
            at,
            format!("there is no source for a trigger of type {}: it is left out", trigger.scaler),
        );
        return Became::Nothing;
    }
    common(&mut notes, &at, trigger);
    let max = place.max;
    let mut desk = lay_out(place, notes.lend(), &at, trigger);
    if is_cron {
        let schedule = inside::cron(&mut desk, name, max);
        if schedule.is_some() {
            desk.finish(name, &[]);
        }
        return schedule.map_or_else(|| left_out(&mut notes, at), Became::Schedule);
    }
    let Some(Scaler { convert, activations, left, .. }) = scaler else { return Became::Nothing };
    let Some(kind) = convert(&mut desk) else {
        return left_out(&mut notes, at);
    };
    let activation = activations.iter().find_map(|key| desk.activation(key));
    let promise = desk.promise.take();
    desk.finish(name, left);
    let source = Source { name: name.to_owned(), activation, poll_interval: None, kind };
    Became::Source(Box::new(source), promise)
}

fn left_out(notes: &mut Notes<'_>, at: String) -> Became {
    notes.not_supported(at, "is left out: see above");
    Became::Nothing
}

/// What every trigger has.
fn common(notes: &mut Notes<'_>, at: &str, trigger: &Trigger) {
    if trigger.use_cached_metrics.is_some() {
        notes.same(
            format!("{at}.useCachedMetrics"),
            "has no use: every reading is used by all that need it",
        );
    }
    for field in trigger.rest.keys() {
        notes.not_supported(format!("{at}.{field}"), "is left out: nobody here knows this field");
    }
}

/// Lays all parameters of a trigger on the desk: its own, those out of the environment, those of its authentication.
fn lay_out<'a>(
    place: &'a mut Place<'_>,
    mut notes: Notes<'a>,
    at: &str,
    trigger: &Trigger,
) -> Desk<'a> {
    let mut params = BTreeMap::new();
    for (key, value) in &trigger.metadata {
        let path = format!("{at}.metadata.{key}");
        let (key, given) = match key.strip_suffix("FromEnv") {
            Some(bare) => (bare, place.world.variable(place.around, &plain(value))),
            None => (key.as_str(), Given::Text(plain(value))),
        };
        params.insert(key.to_owned(), Param { path, given });
    }
    let mut scope = Scope::Namespace(place.namespace.clone());
    let mut secret_namespace = place.around.namespace.to_owned();
    let (mut authentication, mut identity) = (None, None);
    let mut lacks = Vec::new();
    if let Some(reference) = &trigger.authentication_ref {
        let is_cluster = reference.kind.as_deref() == Some("ClusterTriggerAuthentication");
        let kind =
            if is_cluster { "ClusterTriggerAuthentication" } else { "TriggerAuthentication" };
        let title = format!("{kind}/{}", reference.name);
        let path = format!("{at}.authenticationRef");
        if is_cluster {
            secret_namespace.clone_from(&place.world.keda_namespace);
            scope = Scope::Cluster(secret_namespace.clone());
        }
        let home = if is_cluster { "" } else { place.around.namespace };
        match place.world.authentication(home, &reference.name) {
            Some(read) => {
                let given =
                    place.world.parameters((&title, read), &secret_namespace, place.around);
                params.extend(given);
                for (field, value) in &read.rest {
                    if parameters_within(value).is_empty() {
                        lacks.push((format!("{title} spec.{field}"), "has no counterpart".to_owned()));
                    }
                }
                identity = read
                    .pod_identity
                    .as_ref()
                    .filter(|it| it.provider != "none")
                    .map(|it| (format!("{title} spec.podIdentity"), it.provider.clone()));
                notes.same(path, format!("is in the Connection that {title} became"));
            }
            None => lacks.push((
                path,
                format!("{title} is not among the files: give it too (kubectl get triggerauthentications,clustertriggerauthentications -A -o yaml)"),
            )),
        }
        for field in reference.rest.keys() {
            notes.not_supported(
                format!("{at}.authenticationRef.{field}"),
                "is left out: nobody here knows this field",
            );
        }
        authentication = Some(reference.name.clone());
    }
    Desk {
        at: at.to_owned(),
        scaler: trigger.scaler.clone(),
        metric_type: trigger.metric_type.clone(),
        params,
        used: BTreeSet::new(),
        lacks,
        notes,
        connections: &mut *place.connections,
        world: place.world,
        scope,
        secret_namespace,
        authentication,
        plain: BTreeMap::new(),
        identity,
        is_only: place.is_only,
        is_in_formula: trigger.name.as_ref().is_some_and(|name| place.in_formula.contains(name)),
        promise: None,
    }
}
