//! Leaves of a pipeline that work, each with a change that it makes.

use serde_json::{Value, json};

use super::{Changes, stage};

/// A leaf, what is written before, and the one value that is written besides to make a difference.
type Working = (&'static str, Changes, (&'static str, Value));

/// A forecast takes days to prove itself, which `decide::forecast` gives it; an hour does not show it.
pub(super) const FORECAST: &str = "spec.stages[].forecast.mode";

/// Leaves that work.
pub(super) fn working() -> Vec<Working> {
    [pipeline(), stages(), lanes(), nodes(), wishes(), behaviour(), sources()].concat()
}

/// Nothing is written before.
fn plain(leaf: &'static str, pointer: &'static str, value: Value) -> Working {
    (leaf, Vec::new(), (pointer, value))
}

fn pipeline() -> Vec<Working> {
    vec![
        plain("spec.mode", "/spec/mode", json!("Observe")),
        plain("spec.priority", "/spec/priority", json!(5)),
        plain("spec.pollInterval", "/spec/pollInterval", json!("7s")),
        plain("spec.objective.maxDelay", "/spec/objective/maxDelay", json!("90s")),
        plain("spec.objective.prefer", "/spec/objective/prefer", json!("Latency")),
    ]
}

/// A lane on nodes that are kept, and one on spot, which runs dry within the hour.
fn lanes() -> Vec<Working> {
    let both = || {
        let lanes = json!([
            {"pool": "kept", "base": 1, "target": {"name": "enrich"}},
            {"pool": "spot", "share": 60, "target": {"name": "enrich-spot"}},
        ]);
        vec![(stage!("/target"), Value::Null), (stage!("/lanes"), lanes)]
    };
    let group =
        json!({"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "x", "part": "gpu"});
    let part = || {
        let mut changes = both();
        changes.push((stage!("/lanes/1/target"), group.clone()));
        changes
    };
    let cases = [
        ("spec.stages[].lanes[].base", stage!("/lanes/0/base"), json!(3)),
        ("spec.stages[].lanes[].share", stage!("/lanes/1/share"), json!(30)),
        ("spec.stages[].lanes[].fallbackTo", stage!("/lanes/1/fallbackTo"), json!("kept")),
        (
            "spec.stages[].lanes[].target.apiVersion",
            stage!("/lanes/1/target/apiVersion"),
            json!("argoproj.io/v1alpha1"),
        ),
        ("spec.stages[].lanes[].target.kind", stage!("/lanes/1/target/kind"), json!("StatefulSet")),
        ("spec.stages[].lanes[].target.name", stage!("/lanes/1/target/name"), json!("other")),
    ];
    let mut heir = both();
    heir.push((stage!("/lanes/1/fallbackTo"), json!("kept")));
    let more = [
        // Nobody says of that one that it runs dry.
        ("spec.stages[].lanes[].pool", heir, (stage!("/lanes/1/pool"), json!("cheap"))),
        (
            "spec.stages[].lanes[].target.part",
            part(),
            (stage!("/lanes/1/target/part"), json!("cpu")),
        ),
    ];
    let hold = ("spec.stages[].capacity.drain", stage!("/capacity"), json!({"drain": "Hold"}));
    let auto = || (stage!("/capacity"), json!({"headroom": {"mode": "Auto"}}));
    let mut roomy = both();
    roomy.push(auto());
    let room = [
        ("spec.stages[].capacity.headroom.mode", both(), auto()),
        (
            "spec.stages[].capacity.headroom.max",
            roomy,
            (stage!("/capacity/headroom/max"), json!(2)),
        ),
    ];
    let cases = cases.into_iter().chain([hold]);
    let cases = cases.map(|(leaf, at, value)| (leaf, both(), (at, value)));
    cases.chain(more).chain(room).collect()
}

/// Pods stand on nodes of their own, so that one becomes empty when the right ones go.
fn nodes() -> Vec<Working> {
    let pack = || vec![(stage!("/capacity"), json!({"scaleIn": "Pack"}))];
    vec![
        plain("spec.stages[].capacity.scaleIn", stage!("/capacity"), json!({"scaleIn": "Pack"})),
        ("spec.stages[].capacity.role", pack(), (stage!("/capacity/role"), json!("Driver"))),
    ]
}

fn stages() -> Vec<Working> {
    let sink = json!({"name": "sink", "target": {"name": "sink"}, "replicas": {"max": 9}});
    let of_jobs = json!({
        "name": "enrich", "jobs": {"templateRef": {"kind": "CronJob", "name": "enrich"}}, "replicas": {"max": 48},
        "sources": [{"name": "orders", "kafka": {"bootstrapServers": "kafka:9092", "topics": ["orders"], "group": "enrich"}}],
    });
    let by_min = |idle: Value| vec![(stage!("/replicas/min"), json!(2)), (stage!("/idle"), idle)];
    let by = |time: &str| json!({"doneBy": {"time": time}});
    let fallback = || vec![(stage!("/fallback"), json!({"policy": "AtLeast", "replicas": 30}))];
    vec![
        plain("spec.stages[].name", stage!("/name"), json!("refine")),
        (
            "spec.stages[].after[]",
            vec![("/spec/stages/1", sink)],
            ("/spec/stages/1/after", json!(["enrich"])),
        ),
        plain("spec.stages[].mode", stage!("/mode"), json!("Observe")),
        plain("spec.stages[].objective.maxDelay", stage!("/objective"), json!({"maxDelay": "20s"})),
        (
            "spec.stages[].objective.doneBy.time",
            vec![(stage!("/objective"), by("06:00"))],
            (stage!("/objective"), by("00:50")),
        ),
        (
            "spec.stages[].objective.doneBy.timeZone",
            vec![(stage!("/objective"), by("00:50"))],
            (stage!("/objective/doneBy/timeZone"), json!("Europe/Berlin")),
        ),
        plain(FORECAST, stage!("/forecast"), json!({"mode": "Off"})),
        plain(
            "spec.stages[].target.apiVersion",
            stage!("/target/apiVersion"),
            json!("argoproj.io/v1alpha1"),
        ),
        plain("spec.stages[].target.kind", stage!("/target/kind"), json!("StatefulSet")),
        plain("spec.stages[].target.name", stage!("/target/name"), json!("other")),
        (
            "spec.stages[].jobs.templateRef.name",
            vec![
                (stage!("/target"), Value::Null),
                (stage!("/jobs"), json!({"templateRef": {"name": "backfill"}})),
            ],
            (stage!("/jobs/templateRef/name"), json!("other")),
        ),
        // Only one kind has a template: it matters in place of a target.
        plain("spec.stages[].jobs.templateRef.kind", stage!(""), of_jobs),
        (
            "spec.stages[].target.part",
            vec![(
                stage!("/target"),
                json!({"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "enrich", "part": "cpu"}),
            )],
            (stage!("/target/part"), json!("gpu")),
        ),
        plain("spec.stages[].replicas.min", stage!("/replicas/min"), json!(2)),
        plain("spec.stages[].replicas.max", stage!("/replicas/max"), json!(20)),
        (
            "spec.stages[].idle.replicas",
            by_min(json!({"after": "5m"})),
            (stage!("/idle/replicas"), json!(1)),
        ),
        (
            "spec.stages[].idle.after",
            by_min(json!({"replicas": 0})),
            (stage!("/idle/after"), json!("90s")),
        ),
        plain("spec.stages[].ratePerReplica", stage!("/ratePerReplica"), json!(33.5)),
        plain("spec.stages[].startup", stage!("/startup"), json!("20s")),
        plain(
            "spec.stages[].combine.expression",
            stage!("/combine"),
            json!({"expression": "orders * 2.0"}),
        ),
        plain("spec.stages[].onSilence", stage!("/onSilence"), json!("Follow")),
        ("spec.stages[].fallback.after", fallback(), (stage!("/fallback/after"), json!("5m"))),
        ("spec.stages[].fallback.policy", fallback(), (stage!("/fallback/policy"), json!("Hold"))),
        ("spec.stages[].fallback.replicas", fallback(), (stage!("/fallback/replicas"), json!(31))),
    ]
}

/// Schedules and gates; the hour begins at midnight, UTC.
fn wishes() -> Vec<Working> {
    let schedule = |replicas: Value| {
        let day =
            json!({"name": "day", "start": "5 0 * * *", "end": "40 0 * * *", "replicas": replicas});
        vec![(stage!("/schedules"), json!([day]))]
    };
    let by_min = || schedule(json!({"min": 30}));
    let kafka = json!({"bootstrapServers": "k:9092", "topics": ["orders"], "group": "enrich"});
    let gate = json!({"name": "g", "holdWhen": "value > 3000.0", "source": {"kafka": kafka}});
    vec![
        ("spec.stages[].schedules[].name", by_min(), (stage!("/schedules/0/name"), json!("d"))),
        (
            "spec.stages[].schedules[].start",
            by_min(),
            (stage!("/schedules/0/start"), json!("10 0 * * *")),
        ),
        (
            "spec.stages[].schedules[].end",
            by_min(),
            (stage!("/schedules/0/end"), json!("30 0 * * *")),
        ),
        (
            "spec.stages[].schedules[].timeZone",
            by_min(),
            (stage!("/schedules/0/timeZone"), json!("Asia/Kolkata")),
        ),
        (
            "spec.stages[].schedules[].replicas.min",
            by_min(),
            (stage!("/schedules/0/replicas/min"), json!(20)),
        ),
        (
            "spec.stages[].schedules[].replicas.max",
            schedule(json!({"max": 9})),
            (stage!("/schedules/0/replicas/max"), json!(5)),
        ),
        (
            "spec.stages[].gates[].holdWhen",
            vec![(stage!("/gates"), json!([gate]))],
            (stage!("/gates/0/holdWhen"), json!("value > 90000.0")),
        ),
    ]
}

/// Both directions of `behavior` have the same fields.
macro_rules! direction {
    ($side:literal) => {{
        let policies = || {
            let policies = json!([{"type": "Pods", "value": 4, "periodSeconds": 60}]);
            vec![(stage!("/behavior"), json!({ $side: { "policies": policies } }))]
        };
        vec![
            plain(
                concat!("spec.stages[].behavior.", $side, ".stabilizationWindowSeconds"),
                stage!("/behavior"),
                json!({ $side: { "stabilizationWindowSeconds": 30 } }),
            ),
            plain(
                concat!("spec.stages[].behavior.", $side, ".tolerance"),
                stage!("/behavior"),
                json!({ $side: { "tolerance": "25" } }),
            ),
            plain(
                concat!("spec.stages[].behavior.", $side, ".selectPolicy"),
                stage!("/behavior"),
                json!({ $side: { "selectPolicy": "Disabled" } }),
            ),
            (
                concat!("spec.stages[].behavior.", $side, ".policies[].type"),
                policies(),
                (concat!(stage!("/behavior/"), $side, "/policies/0/type"), json!("Percent")),
            ),
            (
                concat!("spec.stages[].behavior.", $side, ".policies[].value"),
                policies(),
                (concat!(stage!("/behavior/"), $side, "/policies/0/value"), json!(1)),
            ),
            (
                concat!("spec.stages[].behavior.", $side, ".policies[].periodSeconds"),
                policies(),
                (concat!(stage!("/behavior/"), $side, "/policies/0/periodSeconds"), json!(15)),
            ),
        ]
    }};
}

fn behaviour() -> Vec<Working> {
    [direction!("scaleUp"), direction!("scaleDown")].concat()
}

fn sources() -> Vec<Working> {
    let by_connection = || {
        vec![
            (stage!("/sources/0/kafka/bootstrapServers"), Value::Null),
            (stage!("/sources/0/kafka/connectionRef"), json!({"name": "events"})),
        ]
    };
    let kafka = |leaf, pointer, value: &str| plain(leaf, pointer, json!(value));
    vec![
        (
            "spec.stages[].sources[].name",
            vec![(stage!("/sources/0/kafka/perReplica"), json!(1000))],
            (stage!("/sources/0/name"), json!("others")),
        ),
        plain("spec.stages[].sources[].activation", stage!("/sources/0/activation"), json!(500)),
        plain(
            "spec.stages[].sources[].pollInterval",
            stage!("/sources/0/pollInterval"),
            json!("30s"),
        ),
        (
            "spec.stages[].sources[].kafka.connectionRef.name",
            by_connection(),
            (stage!("/sources/0/kafka/connectionRef/name"), json!("elsewhere")),
        ),
        (
            "spec.stages[].sources[].kafka.connectionRef.kind",
            by_connection(),
            (stage!("/sources/0/kafka/connectionRef/kind"), json!("ClusterConnection")),
        ),
        kafka(
            "spec.stages[].sources[].kafka.bootstrapServers",
            stage!("/sources/0/kafka/bootstrapServers"),
            "other:9092",
        ),
        kafka(
            "spec.stages[].sources[].kafka.topics[]",
            stage!("/sources/0/kafka/topics/1"),
            "more",
        ),
        kafka("spec.stages[].sources[].kafka.group", stage!("/sources/0/kafka/group"), "other"),
        kafka(
            "spec.stages[].sources[].kafka.offsetReset",
            stage!("/sources/0/kafka/offsetReset"),
            "Earliest",
        ),
        kafka(
            "spec.stages[].sources[].kafka.isolation",
            stage!("/sources/0/kafka/isolation"),
            "ReadCommitted",
        ),
        kafka(
            "spec.stages[].sources[].kafka.perReplica",
            stage!("/sources/0/kafka/perReplica"),
            "0.5",
        ),
    ]
}
