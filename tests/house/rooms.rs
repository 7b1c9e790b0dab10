//! Room that is kept on nodes, as it is written: what is asked of the API server for it, and that nothing else than ours is touched.

use penstock::act::{Act, Licence, Placeholders};
use penstock::clock::Clock;
use penstock::decide::{
    Action, Cause, Ending, Method, Nodes, PipelineId, Reason, Reserve, RoomVerdict, Scale, StageId,
    TargetId, Writing,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::Instant;

use crate::script::{Answer, Asked, client, failure};

const NAME: &str = "orders-enrich-room-00000001";

fn reserve(method: Method, uid: &str, to: u32) -> Reserve {
    let namespace = "shop".into();
    let room = RoomVerdict {
        pool: None,
        replicas: to,
        placed: Some(0),
        why: Cause::Lingers,
        is_only_told: false,
    };
    let scale = Scale {
        stage: StageId {
            pipeline: PipelineId { namespace: "shop".into(), name: "orders".into() },
            index: 0,
            name: "enrich".into(),
        },
        lane: None,
        target: method.object(&namespace, NAME),
        uid: uid.into(),
        resource_version: "".into(),
        writing: Writing::Apply,
        from: 0,
        to,
        force: false,
        why: Reason::Nodes(Nodes::RoomKept(room)),
    };
    Reserve {
        scale,
        of: TargetId::object(&namespace, "apps/v1", "Deployment", "enrich"),
        method,
        owner: "pipeline-uid".into(),
        revision: Some("abc".into()),
        is_reshaped: uid.is_empty(),
    }
}

/// What was asked, and how it ended.
async fn carried_out(
    reserve: Reserve,
    answer: impl Fn(&Asked) -> Answer + Clone + Send + Sync + 'static,
) -> (Vec<Asked>, Ending) {
    let (client, record) = client(move |asked: Asked| std::future::ready(Ok(answer(&asked))));
    let (sender, mut outcomes) = unbounded_channel();
    let (grant, licence) = Licence::new();
    grant.renew(Instant::now());
    let placeholders = Placeholders { image: "pause:1".into(), priority_class: "last".into() };
    let act = Act::new(client, Clock::start(), sender).keeping_room_by(placeholders);
    act.start(&[Action::Reserve(reserve)], &licence);
    let ending = outcomes.recv().await.unwrap().result;
    let asked = record.lock().unwrap().clone();
    (asked, ending)
}

/// A Deployment with all that bears on where its pods may run, and much that does not.
fn workload() -> Value {
    let spec = json!({
        "nodeSelector": {"pool": "spot"}, "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}}, "serviceAccountName": "rich", "priorityClassName": "high",
        "hostNetwork": true, "volumes": [{"name": "data", "emptyDir": {}}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "enrich"}}}],
        "initContainers": [
            {"name": "once", "image": "a", "resources": {"requests": {"cpu": "9"}}},
            {"name": "beside", "image": "b", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
        ],
        "containers": [{
            "name": "work", "image": "secret", "env": [{"name": "A", "value": "b"}],
            "resources": {"requests": {"cpu": "1", "nvidia.com/gpu": "1"}, "limits": {"memory": "1Gi"}, "claims": [{"name": "c"}]},
        }],
    });
    json!({"spec": {"template": {"metadata": {"labels": {"app": "enrich"}}, "spec": spec}}})
}

fn failed(code: u16, reason: &str, message: &str) -> Answer {
    failure(code, reason, message, &json!([]))
}

fn made(asked: &Asked) -> Answer {
    let answer = if asked.method == "GET" { workload() } else { json!({}) };
    (200, answer)
}

#[tokio::test(start_paused = true)]
async fn placeholders_have_the_shape_of_the_workload_and_nothing_else_of_it() {
    let (asked, ending) = carried_out(reserve(Method::Placeholders, "", 4), made).await;
    assert!(matches!(ending, Ending::Done { .. }), "{ending:?}");
    let [read, write] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(
        (&*read.method, &*read.uri),
        ("GET", "/apis/apps/v1/namespaces/shop/deployments/enrich")
    );
    let all = "/apis/apps/v1/namespaces/shop/deployments?fieldManager=penstock-headroom";
    assert_eq!((&*write.method, &*write.uri), ("POST", all));
    let labels = json!({
        "penstock.dev/headroom": NAME, "penstock.dev/pipeline": "orders", "penstock.dev/stage": "enrich",
    });
    let mine = json!({"matchLabels": {"penstock.dev/headroom": NAME}});
    let container = |name: &str, resources: Value| {
        json!({
            "name": name, "image": "pause:1", "resources": resources,
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            },
        })
    };
    let work =
        json!({"requests": {"cpu": "1", "nvidia.com/gpu": "1"}, "limits": {"memory": "1Gi"}});
    let pod = json!({
        "nodeSelector": {"pool": "spot"}, "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "labelSelector": mine}],
        "containers": [container("work", work), container("beside", json!({"requests": {"cpu": "100m"}}))],
        "priorityClassName": "last", "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": false, "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65535, "runAsGroup": 65535, "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    let owner = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "name": "orders",
        "uid": "pipeline-uid", "controller": true,
    });
    let body = &write.body;
    assert_eq!(body["spec"]["template"], json!({"metadata": {"labels": labels}, "spec": pod}));
    assert_eq!((&body["spec"]["selector"], &body["spec"]["replicas"]), (&mine, &json!(4)));
    let meta = &body["metadata"];
    assert_eq!((&meta["labels"], &meta["ownerReferences"]), (&labels, &json!([owner])));
    assert_eq!(meta["annotations"]["penstock.dev/headroom-revision"], "abc");
    assert_eq!(meta["annotations"]["penstock.dev/headroom-of"], "apps/v1/Deployment/enrich");
    assert_eq!(meta["annotations"]["penstock.dev/headroom-made-of"], "pause:1 last");
}

#[tokio::test(start_paused = true)]
async fn another_shape_is_written_on_what_was_seen() {
    let reshaped = Reserve { is_reshaped: true, ..reserve(Method::Placeholders, "room-uid", 4) };
    let (asked, ending) = carried_out(reshaped, made).await;
    assert!(matches!(ending, Ending::Done { .. }), "{ending:?}");
    let [read, write] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((&*read.method, &*write.method), ("GET", "PATCH"));
    let value = |path: &str| {
        let mut steps = write.body.as_array().unwrap().iter();
        steps.find(|step| step["path"] == path).map(|step| step["value"].clone())
    };
    let template = value("/spec/template").unwrap();
    assert_eq!(template["spec"]["containers"][0]["image"], "pause:1");
    assert_eq!(template["metadata"]["labels"]["penstock.dev/headroom"], NAME);
    let annotation = |key: &str| value(&format!("/metadata/annotations/penstock.dev~1{key}"));
    assert_eq!(annotation("headroom-revision"), Some(json!("abc")));
    assert_eq!(annotation("headroom-of"), Some(json!("apps/v1/Deployment/enrich")));
    assert_eq!(annotation("headroom-made-of"), Some(json!("pause:1 last")));
    // A buffer reads the shape from the workload: it is told of which.
    let served = json!({"kind": "APIResourceList", "groupVersion": "autoscaling.x-k8s.io/v1beta1", "resources": [
        {"name": "capacitybuffers", "singularName": "", "namespaced": true, "kind": "CapacityBuffer", "verbs": []},
    ]});
    let answer =
        move |asked: &Asked| (200, if asked.method == "GET" { served.clone() } else { json!({}) });
    let reshaped = Reserve { is_reshaped: true, ..reserve(Method::Buffer, "room-uid", 4) };
    let (asked, _) = carried_out(reshaped, answer).await;
    let steps = asked.last().unwrap().body.as_array().unwrap();
    let of = json!({"apiGroup": "apps", "kind": "Deployment", "name": "enrich"});
    let step = json!({"op": "add", "path": "/spec/scalableRef", "value": of});
    assert!(steps.contains(&step), "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_buffer_names_the_workload_and_the_replicas_alone() {
    let served = json!({"kind": "APIResourceList", "groupVersion": "autoscaling.x-k8s.io/v1beta1", "resources": [
        {"name": "capacitybuffers", "singularName": "", "namespaced": true, "kind": "CapacityBuffer", "verbs": []},
    ]});
    let answer =
        move |asked: &Asked| (200, if asked.method == "GET" { served.clone() } else { json!({}) });
    let (asked, ending) = carried_out(reserve(Method::Buffer, "", 4), answer).await;
    assert!(matches!(ending, Ending::Done { .. }), "{ending:?}");
    let write = asked.last().unwrap();
    let all = "/apis/autoscaling.x-k8s.io/v1beta1/namespaces/shop/capacitybuffers?fieldManager=penstock-headroom";
    assert_eq!((&*write.method, &*write.uri), ("POST", all));
    assert_eq!(
        write.body["spec"],
        json!({
            "scalableRef": {"apiGroup": "apps", "kind": "Deployment", "name": "enrich"},
            "replicas": 4, "provisioningStrategy": "buffer.x-k8s.io/active-capacity",
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_count_is_changed_on_the_object_that_was_seen_and_on_no_other() {
    let (asked, ending) = carried_out(reserve(Method::Placeholders, "room-uid", 7), made).await;
    assert!(matches!(ending, Ending::Done { .. }), "{ending:?}");
    let [write] = &asked[..] else { panic!("{asked:?}") };
    let path =
        format!("/apis/apps/v1/namespaces/shop/deployments/{NAME}?fieldManager=penstock-headroom");
    assert_eq!((&*write.method, &write.uri), ("PATCH", &path));
    assert_eq!(write.content_type, "application/json-patch+json");
    let steps = write.body.as_array().unwrap();
    assert_eq!(steps[0], json!({"op": "test", "path": "/metadata/uid", "value": "room-uid"}));
    assert_eq!(
        steps[1],
        json!({"op": "test", "path": "/metadata/labels/penstock.dev~1headroom", "value": NAME})
    );
    assert_eq!(steps[2], json!({"op": "add", "path": "/spec/replicas", "value": 7}));
    // A test that fails, as the API server words it, and what a rule refuses.
    let words = "the server rejected our request due to an error in our request";
    let stale = move |_: &Asked| failed(422, "Invalid", words);
    let (_, ending) = carried_out(reserve(Method::Placeholders, "room-uid", 7), stale).await;
    assert_eq!(ending, Ending::Outdated);
    let invalid = |_: &Asked| failed(422, "Invalid", "Deployment.apps \"x\" is invalid: no");
    let (_, ending) = carried_out(reserve(Method::Placeholders, "room-uid", 7), invalid).await;
    assert!(matches!(ending, Ending::Refused { code: 422, .. }), "{ending:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_away_is_what_was_seen_and_what_has_its_name_is_let_be() {
    let (asked, ending) = carried_out(reserve(Method::Placeholders, "room-uid", 0), made).await;
    assert!(matches!(ending, Ending::Done { .. }), "{ending:?}");
    let [write] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(
        (&*write.method, &write.body["preconditions"]),
        ("DELETE", &json!({"uid": "room-uid"}))
    );
    // Somebody else's Deployment of this name.
    let taken = |asked: &Asked| match (&*asked.method, asked.uri.contains("labelSelector")) {
        ("GET", true) => (200, json!({"items": []})),
        ("GET", false) => (200, workload()),
        _ => failed(409, "AlreadyExists", "deployments.apps already exists"),
    };
    let (_, ending) = carried_out(reserve(Method::Placeholders, "", 4), taken).await;
    let Ending::Refused { code: 409, message } = ending else { panic!("{ending:?}") };
    assert!(message.ends_with("is there already and was not made by Penstock"), "{message}");
    // One that its pipeline left behind, and one of a pipeline that is on its way out.
    let ours = |owners: Value| {
        move |asked: &Asked| match (&*asked.method, asked.uri.contains("labelSelector")) {
            ("GET", true) => {
                let metadata = json!({"name": NAME, "ownerReferences": owners});
                (200, json!({"items": [{"metadata": metadata}]}))
            }
            ("GET", false) => (200, workload()),
            _ => failed(409, "AlreadyExists", "deployments.apps already exists"),
        }
    };
    let (_, ending) = carried_out(reserve(Method::Placeholders, "", 4), ours(json!([]))).await;
    let Ending::Refused { code: 409, message } = ending else { panic!("{ending:?}") };
    assert!(message.contains("belongs to no pipeline"), "{message}");
    let owner = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "name": "orders", "uid": "former"});
    let (_, ending) = carried_out(reserve(Method::Placeholders, "", 4), ours(json!([owner]))).await;
    assert_eq!(ending, Ending::Outdated);
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_read_the_workload_nothing_is_made() {
    let denied = |asked: &Asked| match &*asked.method {
        "GET" => failed(403, "Forbidden", "deployments.apps \"enrich\" is forbidden"),
        _ => panic!("{asked:?}"),
    };
    let (_, ending) = carried_out(reserve(Method::Placeholders, "", 4), denied).await;
    assert!(matches!(ending, Ending::Refused { code: 403, .. }), "{ending:?}");
}
