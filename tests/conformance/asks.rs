//! What the daemon and kubectl ask, request by request, in their very words: query, content type, form of answer. The live tier hears
//! them at work (`shapes.rs`) and fails for a shape that no case has.

use super::ground::{
    Answer, Ground, config_map, deployment, managers, only_replicas, rollout, scale,
};
use http::Method;
use serde_json::{Value, json};

/// As kube's watcher of metadata lists and watches.
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// As `kubectl get` asks for what it prints.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// As kubectl asks what there is.
const DISCOVERY: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
/// What kubectl says of itself when it applies.
const APPLIES: &str = "fieldManager=kubectl-client-side-apply&fieldValidation=Strict";

async fn list(g: &Ground, path: &str, accept: &str) -> Answer {
    g.ask_as(Method::GET, &format!("{path}?&limit=500"), "", accept, &Value::Null).await.expect(200)
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().into_iter().flatten();
    items.filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

/// Lists a kind, has one more made, and follows from the list on: the one is told, in the form that was asked for.
async fn follow(g: &Ground, path: &str, is_whole: bool, object: &Value) {
    let (lists, watches) = if is_whole { ("", "") } else { (METADATA_LIST, METADATA) };
    let listed = list(g, path, lists).await;
    assert_eq!(names(&listed.body), [""; 0], "{path}");
    let made = g.post(path, object).await.expect(201);
    let query = format!(
        "?&watch=true&timeoutSeconds=55&allowWatchBookmarks=true&resourceVersion={}",
        listed.revision()
    );
    let events = g.watch(&format!("{path}{query}"), watches, 1).await;
    let (kind, told) = (&events[0]["type"], &events[0]["object"]);
    assert_eq!((kind, &told["metadata"]["uid"]), (&json!("ADDED"), &made.body["metadata"]["uid"]));
    assert_eq!(told.get("spec").is_some(), is_whole, "{path}: {told:#}");
    let again = list(g, path, lists).await.body;
    assert_eq!(names(&again), [made.text("/metadata/name")], "{path}");
    assert_eq!(again["items"][0].get("spec").is_some(), is_whole, "{path}: {again:#}");
}

pub(crate) async fn stores_are_filled_and_followed(g: Ground) {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "demo:1"}]}});
    follow(&g, &g.path("v1", "pods", ""), true, &pod).await;
    let hpa = json!({
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    });
    follow(&g, &g.path("autoscaling/v2", "horizontalpodautoscalers", ""), true, &hpa).await;
    follow(&g, &budgets(&g, ""), true, &budget("b", "web")).await;
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "4"}}});
    follow(&g, &g.path("v1", "resourcequotas", ""), true, &quota).await;
    follow(&g, &g.deployment(""), false, &deployment("web", Some(0))).await;
    let mut set = deployment("db", Some(0));
    set["kind"] = json!("StatefulSet");
    set["spec"]["serviceName"] = json!("db");
    follow(&g, &g.path("apps/v1", "statefulsets", ""), false, &set).await;
    let version = g.define("followed").await;
    let (all, spec) = (g.path(&version, "rollouts", ""), json!({"name": "abc"}));
    follow(&g, &all, true, &rollout(&version, "one", &spec)).await;
    g.delete(&g.path(&version, "rollouts", "one"), &Value::Null).await.expect(200);
    follow(&g, &all, false, &rollout(&version, "two", &spec)).await;
    g.forget(&version).await;
}

fn budgets(g: &Ground, rest: &str) -> String {
    g.path("policy/v1", "poddisruptionbudgets", rest)
}

/// A budget as the daemon makes it.
fn budget(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "labels": {"penstock.dev/drain": "held"}},
        "spec": {
            "minAvailable": null, "maxUnavailable": 1,
            "selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": [app]}]},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    })
}

pub(crate) async fn a_disruption_budget_is_made_changed_and_goes_by_its_uid(g: Ground) {
    const UNTIL: &str = "penstock.dev/tight-until";
    let by = "?fieldManager=penstock-drain";
    let made = g.post(&budgets(&g, by), &budget("held", "sink")).await.expect(201);
    assert_eq!(
        (&made.body["metadata"]["generation"], &made.body["spec"]["maxUnavailable"]),
        (&json!(1), &json!(1))
    );
    assert!(made.body["spec"].get("minAvailable").is_none(), "{:#}", made.body);
    let again = g.post(&budgets(&g, by), &budget("held", "sink")).await.expect(409);
    assert_eq!(again.text("/reason"), "AlreadyExists");
    // The controller of budgets may have written its status since: what the daemon does then is to look again.
    let one = budgets(&g, &format!("held{by}"));
    let change = |revision: &str, least: Value, lacking: Value, until: Value| {
        json!({
            "metadata": {"resourceVersion": revision, "annotations": {UNTIL: until}},
            "spec": {"minAvailable": least, "maxUnavailable": lacking},
        })
    };
    let tight = async |least: u32| {
        loop {
            let seen = g.get(&budgets(&g, "held")).await.expect(200);
            let tight =
                change(&seen.revision(), json!(least), Value::Null, json!("2026-01-01T00:00:00Z"));
            let answer = g.merge(&one, &tight).await;
            if answer.code != 409 {
                return answer.expect(200);
            }
        }
    };
    let tightened = tight(7).await;
    assert_eq!(tightened.body["spec"]["minAvailable"], 7);
    assert!(tightened.body["spec"].get("maxUnavailable").is_none(), "{:#}", tightened.body);
    assert_eq!(tightened.body["metadata"]["annotations"][UNTIL], "2026-01-01T00:00:00Z");
    assert_eq!(tightened.body["metadata"]["generation"], 2);
    let stale = change(&made.revision(), Value::Null, json!(1), Value::Null);
    assert_eq!(g.merge(&one, &stale).await.expect(409).text("/reason"), "Conflict");
    let gone = budgets(&g, &format!("none{by}"));
    g.merge(&gone, &change("1", json!(1), Value::Null, Value::Null)).await.refused(
        404,
        "NotFound",
        "poddisruptionbudgets.policy \"none\" not found",
    );
    let as_seen = |uid: &str| json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}});
    g.delete(&budgets(&g, "held"), &as_seen("another")).await.expect(409);
    g.delete(&budgets(&g, "held"), &as_seen(made.text("/metadata/uid"))).await.expect(200);
    g.get(&budgets(&g, "held")).await.expect(404);
}

pub(crate) async fn a_pod_goes_as_it_was_seen_and_with_its_grace(g: Ground) {
    // A finalizer keeps it in sight, since nobody schedules it.
    let pod = json!({
        "metadata": {"name": "p", "finalizers": ["example.com/seen"]},
        "spec": {"schedulerName": "nobody", "terminationGracePeriodSeconds": 40, "containers": [{"name": "main", "image": "demo:1"}]},
    });
    let seen = g.post(&g.path("v1", "pods", ""), &pod).await.expect(201).revision();
    let path = g.path("v1", "pods", "p");
    let at = |revision: &str| json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"resourceVersion": revision}});
    g.delete(&path, &at("1")).await.expect(409);
    g.delete(&path, &at(&seen)).await.expect(200);
    let going = g.get(&path).await.expect(200).body;
    assert!(!going["metadata"]["deletionTimestamp"].is_null(), "{going:#}");
    g.delete(&g.path("v1", "pods", "gone"), &at("1")).await.refused(
        404,
        "NotFound",
        "pods \"gone\" not found",
    );
    g.merge(&path, &json!({"metadata": {"finalizers": null}})).await.expect(200);
}

pub(crate) async fn namespaces_are_followed_by_their_metadata(g: Ground) {
    let all = list(&g, "/api/v1/namespaces", METADATA_LIST).await;
    assert!(names(&all.body).contains(&g.namespace.as_str()), "{:#}", all.body);
    assert!(all.body["items"][0].get("status").is_none());
    let own = format!("/api/v1/namespaces/{}", g.namespace);
    assert_eq!(g.get(&own).await.expect(200).body["status"]["phase"], "Active");
    let labelled =
        g.merge(&own, &json!({"metadata": {"labels": {"seen": "yes"}}})).await.expect(200);
    let query = format!(
        "?&watch=true&timeoutSeconds=55&allowWatchBookmarks=true&resourceVersion={}",
        labelled.revision().parse::<u64>().unwrap() - 1
    );
    let events = g.watch(&format!("/api/v1/namespaces{query}"), METADATA, 1).await;
    let told = &events[0]["object"]["metadata"];
    assert_eq!((&events[0]["type"], &told["labels"]["seen"]), (&json!("MODIFIED"), &json!("yes")));
}

pub(crate) async fn nodes_and_what_their_makers_say_are_followed(g: Ground) {
    list(&g, "/api/v1/nodes", "").await;
    // Pods of other tests are not to stand on it.
    let node = json!({"metadata": {"name": format!("node-of-{}", g.namespace)}, "spec": {"unschedulable": true}});
    let made = g.post("/api/v1/nodes", &node).await.expect(201);
    let since = made.revision().parse::<u64>().unwrap() - 1;
    let query =
        format!("?&watch=true&timeoutSeconds=55&allowWatchBookmarks=true&resourceVersion={since}");
    let events = g.watch(&format!("/api/v1/nodes{query}"), "", 1).await;
    let name = made.text("/metadata/name");
    assert_eq!(events[0]["object"]["metadata"]["name"], name);
    assert_eq!(events[0]["object"]["spec"]["unschedulable"], true);
    g.delete(&format!("/api/v1/nodes/{name}"), &Value::Null).await.expect(200);
    let event = |name: &str, reason: &str| {
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name}, "eventTime": "2026-01-01T00:00:00.000000Z",
            "action": "Launch", "reason": reason, "note": "none left", "type": "Warning",
            "regarding": {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "name": "spot-x7k2p", "namespace": g.namespace},
            "reportingController": "karpenter", "reportingInstance": "k-1"
        })
    };
    let own = g.path("events.k8s.io/v1", "events", "");
    let other = g.post(&own, &event("other", "Launched")).await.expect(201);
    g.post(&own, &event("dry", &g.namespace)).await.expect(201);
    let only = format!("fieldSelector=reason%3D{}", g.namespace);
    let query = format!(
        "?&watch=true&{only}&timeoutSeconds=55&allowWatchBookmarks=true&resourceVersion={}",
        other.revision().parse::<u64>().unwrap() - 1
    );
    let events = g.watch(&format!("/apis/events.k8s.io/v1/events{query}"), "", 1).await;
    assert_eq!(events[0]["object"]["metadata"]["name"], "dry");
}

pub(crate) async fn objects_that_hold_a_lever_are_followed_and_read(g: Ground) {
    let core = g.get("/api/v1").await.expect(200).body;
    let mut served = core["resources"].as_array().into_iter().flatten();
    assert!(served.any(|kind| kind["name"] == "configmaps" && kind["namespaced"] == true));
    // Others may make objects of these kinds in a namespace of its own: only what is made here counts.
    let maps = g.config_map("");
    list(&g, &maps, METADATA_LIST).await;
    let made = g.post(&maps, &config_map("limits")).await.expect(201);
    let since = made.revision().parse::<u64>().unwrap() - 1;
    let query =
        format!("?&watch=true&timeoutSeconds=55&allowWatchBookmarks=true&resourceVersion={since}");
    let events = g.watch(&format!("{maps}{query}"), METADATA, 1).await;
    assert_eq!(events[0]["object"]["metadata"]["name"], "limits");
    assert!(events[0]["object"].get("data").is_none(), "{:#}", events[0]);
    assert_eq!(g.get(&g.config_map("limits")).await.expect(200).body["data"]["a"], "limits");
    // The one namespace that is watched, among all.
    let only = format!("fieldSelector=metadata.name%3D{}", g.namespace);
    let page = format!("/api/v1/namespaces?&{only}&limit=100");
    let listed = g.ask_as(Method::GET, &page, "", METADATA_LIST, &Value::Null).await.expect(200);
    assert_eq!(names(&listed.body), [g.namespace.as_str()]);
    let own = format!("/api/v1/namespaces/{}", g.namespace);
    let change = json!({"metadata": {"labels": {"a.io/limit": "3"}}});
    let labelled = g.merge(&own, &change).await.expect(200);
    let since = labelled.revision().parse::<u64>().unwrap() - 1;
    let query = format!(
        "?&watch=true&{only}&timeoutSeconds=55&allowWatchBookmarks=true&resourceVersion={since}"
    );
    let events = g.watch(&format!("/api/v1/namespaces{query}"), METADATA, 1).await;
    assert_eq!(events[0]["object"]["metadata"]["labels"]["a.io/limit"], "3");
}

pub(crate) async fn what_is_not_there_yet_is_asked_for_by_name(g: Ground) {
    let lease = g.path("coordination.k8s.io/v1", "leases", "penstock");
    g.get(&lease).await.refused(
        404,
        "NotFound",
        "leases.coordination.k8s.io \"penstock\" not found",
    );
    let leases = g.path("coordination.k8s.io/v1", "leases", "");
    let body = json!({"metadata": {"name": "penstock"}, "spec": {"holderIdentity": "a"}});
    g.post(&leases, &body).await.expect(201);
    let late = g.post(&leases, &body).await;
    late.refused(409, "AlreadyExists", "leases.coordination.k8s.io \"penstock\" already exists");
    g.get(&g.path("v1", "secrets", "login")).await.refused(
        404,
        "NotFound",
        "secrets \"login\" not found",
    );
    let secret = json!({"metadata": {"name": "login"}, "stringData": {"user": "me"}});
    g.post(&g.path("v1", "secrets", ""), &secret).await.expect(201);
    let secret = g.get(&g.path("v1", "secrets", "login")).await.expect(200).body;
    assert_eq!((&secret["data"], &secret["type"]), (&json!({"user": "bWU="}), &json!("Opaque")));
    g.get(&g.deployment("web")).await.refused(
        404,
        "NotFound",
        "deployments.apps \"web\" not found",
    );
    let version = g.define("absent").await;
    let message = format!("rollouts.{} \"r\" not found", version.trim_end_matches("/v1"));
    g.get(&g.path(&version, "rollouts", "r")).await.refused(404, "NotFound", &message);
    g.get(&g.path(&version, "rollouts", "r/scale")).await.refused(404, "NotFound", &message);
    g.get(&g.deployment("web/scale")).await.expect(404);
    g.get(&g.path("apps/v1", "statefulsets", "db/scale")).await.expect(404);
    g.forget(&version).await;
}

pub(crate) async fn a_stateful_set_is_scaled_without_force_first(g: Ground) {
    let mut set = deployment("db", Some(2));
    set["kind"] = json!("StatefulSet");
    set["spec"]["serviceName"] = json!("db");
    g.post(&g.path("apps/v1", "statefulsets", "?fieldManager=creator"), &set).await.expect(201);
    let face = |rest: &str| g.path("apps/v1", "statefulsets", &format!("db/scale{rest}"));
    let shown = g.get(&face("")).await.expect(200).body;
    assert_eq!(
        (&shown["spec"]["replicas"], &shown["status"]["selector"]),
        (&json!(2), &json!("app=db"))
    );
    let refused = g.apply(&face("?fieldManager=penstock&force=false"), &scale("db", 5)).await;
    let message = "Apply failed with 1 conflict: conflict with \"creator\" using autoscaling/v1: .spec.replicas";
    refused.refused(409, "Conflict", message);
    g.apply(&face("?fieldManager=penstock&force=false"), &scale("db", 2)).await.expect(200);
    g.apply(&face("?fieldManager=penstock&force=true"), &scale("db", 5)).await.expect(200);
    assert_eq!(g.get(&face("")).await.expect(200).body["spec"]["replicas"], 5);
}

pub(crate) async fn a_status_is_written_over_what_was_seen_and_an_event_is_told(g: Ground) {
    let version = g.define("reported").await;
    let all = g.path(&version, "rollouts", "");
    let made = g.post(&all, &rollout(&version, "r", &json!({"name": "abc"}))).await.expect(201);
    let status = g.path(&version, "rollouts", "r/status?fieldManager=penstock-status");
    let over = |revision: String| {
        let uid = &made.body["metadata"]["uid"];
        json!({"metadata": {"uid": uid, "resourceVersion": revision}, "status": {"replicas": 2}})
    };
    g.merge(&status, &over(made.revision())).await.expect(200);
    let late = g.merge(&status, &over(made.revision())).await;
    let group = version.trim_end_matches("/v1");
    let message = format!(
        "Operation cannot be fulfilled on rollouts.{group} \"r\": the object has been modified; please apply your changes to the latest version and try again"
    );
    late.refused(409, "Conflict", &message);
    g.delete(&g.path(&version, "rollouts", "r"), &Value::Null).await.expect(200);
    g.merge(&status, &over(made.revision())).await.expect(404);
    let event = json!({
        "metadata": {"name": "r.1"}, "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Report", "reason": "Late",
        "note": "late", "type": "Warning", "reportingController": "penstock.dev/penstock", "reportingInstance": "p-1",
        "regarding": {"apiVersion": version, "kind": "Rollout", "name": "r", "namespace": g.namespace},
    });
    let told = g.post(&g.path("events.k8s.io/v1", "events", ""), &event).await.expect(201);
    assert_eq!((&told.body["note"], told.body.get("series")), (&json!("late"), None));
    g.forget(&version).await;
}

pub(crate) async fn kubectl_applies_and_edits_by_four_kinds_of_patch(g: Ground) {
    let made = g
        .post(&g.deployment(&format!("?{APPLIES}")), &deployment("web", Some(2)))
        .await
        .expect(201);
    assert_eq!(managers(&made.body), ["kubectl-client-side-apply/Update/"]);
    let one = |query: &str| g.deployment(&format!("web?{query}"));
    let changed =
        g.strategic(&one(APPLIES), &json!({"spec": {"minReadySeconds": 1}})).await.expect(200);
    assert_eq!(managers(&changed.body), ["kubectl-client-side-apply/Update/"]);
    let typo =
        g.strategic(&one(APPLIES), &json!({"spec": {"minReadySecond": 1}})).await.expect(422);
    assert!(
        typo.message().ends_with("unknown field \"spec.minReadySecond\""),
        "{}",
        typo.message()
    );
    let edits = "fieldManager=kubectl-edit&fieldValidation=Strict";
    let edited =
        g.strategic(&one(edits), &json!({"spec": {"minReadySeconds": 2}})).await.expect(200);
    assert_eq!(managers(&edited.body)[1], "kubectl-edit/Update/");
    // From one kind of apply to the other: the old manager's entry is taken out by a tested patch.
    let server_side = "fieldManager=kubectl&fieldValidation=Strict";
    let conflict = g.apply(&one(server_side), &only_replicas("web", 5)).await.expect(409);
    assert!(
        conflict.message().contains("conflict with \"kubectl-client-side-apply\""),
        "{}",
        conflict.message()
    );
    g.apply(&one(server_side), &only_replicas("web", 2)).await.expect(200);
    let forced =
        g.apply(&one(&format!("{server_side}&force=true")), &only_replicas("web", 5)).await;
    let forced = forced.expect(200);
    assert_eq!(
        (&forced.body["spec"]["replicas"], managers(&forced.body)[0].as_str()),
        (&json!(5), "kubectl/Apply/")
    );
    let steps = |seen: &Answer| {
        json!([
            {"op": "replace", "path": "/metadata/managedFields", "value": seen.body["metadata"]["managedFields"]},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": seen.revision()},
        ])
    };
    // A controller may write the status at any moment; then kubectl reads again, too.
    let mut seen = forced;
    for tries in 0.. {
        let answer = g.json_patch(&one(server_side), &steps(&seen)).await;
        if answer.code == 200 {
            break;
        }
        answer.expect(409);
        assert!(tries < 20, "the deployment never stood still");
        seen = g.get(&g.deployment("web")).await.expect(200);
    }
    let scaled =
        g.merge(&g.deployment("web/scale"), &json!({"spec": {"replicas": 3}})).await.expect(200);
    assert_eq!(scaled.body["spec"]["replicas"], 3);
    let late = g.json_patch(&one(server_side), &steps(&seen)).await;
    late.refused(409, "Conflict", "Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your changes to the latest version and try again");

    let version = g.define("applied").await;
    let all = g.path(&version, "rollouts", &format!("?{APPLIES}"));
    g.post(&all, &rollout(&version, "r", &json!({"name": "abc", "replicas": 1}))).await.expect(201);
    let one = g.path(&version, "rollouts", &format!("r?{APPLIES}"));
    let changed = g.merge(&one, &json!({"spec": {"mode": "Observe"}})).await.expect(200);
    assert_eq!(changed.body["spec"]["mode"], "Observe");
    let face = g.path(&version, "rollouts", "r/scale");
    assert_eq!(
        g.merge(&face, &json!({"spec": {"replicas": 4}})).await.expect(200).body["spec"]["replicas"],
        4
    );
    g.forget(&version).await;
}

/// Lists as a table, has one more made, and watches the table from there: the row is told.
async fn print(g: &Ground, path: &str, object: &Value) {
    let table = list(g, path, TABLE).await;
    assert_eq!((&table.body["kind"], &table.body["rows"]), (&json!("Table"), &json!([])), "{path}");
    let made = g.post(path, object).await.expect(201);
    let query = format!("?resourceVersion={}&watch=true", table.revision());
    let events = g.watch(&format!("{path}{query}"), TABLE, 1).await;
    let (kind, row) = (&events[0]["type"], &events[0]["object"]["rows"][0]);
    assert_eq!(
        (kind, &row["cells"][0]),
        (&json!("ADDED"), &made.body["metadata"]["name"]),
        "{path}"
    );
    assert!(events[0]["object"]["columnDefinitions"].is_array(), "the first tells the columns");
}

pub(crate) async fn kubectl_prints_what_it_watches(g: Ground) {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "demo:1"}]}});
    print(&g, &g.path("v1", "pods", ""), &pod).await;
    print(
        &g,
        &g.config_map("").replace("configmaps", "secrets"),
        &json!({"metadata": {"name": "s"}}),
    )
    .await;
    print(&g, &g.deployment(""), &deployment("web", Some(0))).await;
    let version = g.define("printed").await;
    let object = rollout(&version, "r", &json!({"name": "abc"}));
    print(&g, &g.path(&version, "rollouts", ""), &object).await;
    g.post(&g.config_map(""), &config_map("other")).await.expect(201);
    g.forget(&version).await;
}

pub(crate) async fn kubectl_finds_out_what_there_is(g: Ground) {
    let version = g.define("found").await;
    let group = version.trim_end_matches("/v1");
    for (path, of, plural) in
        [("/api", "", "pods"), ("/apis", "apps", "deployments"), ("/apis", group, "rollouts")]
    {
        let ask = format!("{path}?timeout=32s");
        let mut found = Value::Null;
        // Custom kinds come into the list a moment after they are served.
        for _ in 0..100 {
            let all =
                g.ask_as(Method::GET, &ask, "", DISCOVERY, &Value::Null).await.expect(200).body;
            assert_eq!(all["kind"], "APIGroupDiscoveryList");
            let groups = all["items"].as_array().cloned().unwrap_or_default();
            let name =
                |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let item = groups.iter().find(|item| name(item) == of).cloned().unwrap_or_default();
            let resources =
                item["versions"][0]["resources"].as_array().cloned().unwrap_or_default();
            found = resources.into_iter().find(|one| one["resource"] == plural).unwrap_or_default();
            if !found.is_null() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(
            (
                &found["scope"],
                found["verbs"].as_array().is_some_and(|v| v.contains(&json!("patch")))
            ),
            (&json!("Namespaced"), true),
            "{plural}"
        );
    }
    for (path, kind) in [("apis/apps/v1", "Deployment"), (&*format!("apis/{version}"), "Rollout")] {
        let mut at = String::new();
        for _ in 0..100 {
            let index = g.get("/openapi/v3?timeout=32s").await.expect(200).body;
            index["paths"][path]["serverRelativeURL"]
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut at);
            if !at.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        // A server that tells a hash has the document cached by it.
        let hash = at.split_once('?').map_or("hash=0", |(_, hash)| hash).to_owned();
        let at = at.split('?').next().unwrap_or_default().to_owned();
        let document = g.get(&format!("{at}?{hash}&timeout=32s")).await.expect(200).body;
        let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
        let is_it = |schema: &Value| schema["x-kubernetes-group-version-kind"][0]["kind"] == kind;
        assert!(schemas.values().any(is_it), "{path} does not tell of {kind}");
    }
    g.forget(&version).await;
}

const LABEL: &str = "labelSelector=penstock.dev%2Fcronjob";

pub(crate) async fn jobs_are_made_of_a_template_under_names_that_are_taken_once(g: Ground) {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "demo:1"}]}});
    let cron_job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "backfill"},
        "spec": {"suspend": true, "schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}},
    });
    follow(&g, &g.path("batch/v1", "cronjobs", ""), true, &cron_job).await;
    let owner = g.get(&g.path("batch/v1", "cronjobs", "backfill")).await.expect(200);
    assert_eq!(owner.body["spec"]["successfulJobsHistoryLimit"], 3);
    assert_eq!(owner.body["spec"]["failedJobsHistoryLimit"], 1);
    let jobs = |rest: &str| g.path("batch/v1", "jobs", rest);
    let listed = g.get(&jobs(&format!("?&limit=500&{LABEL}"))).await.expect(200);
    assert_eq!(names(&listed.body), [""; 0]);
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": "backfill-p1", "labels": {"penstock.dev/cronjob": "backfill"},
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "CronJob", "name": "backfill", "uid": owner.text("/metadata/uid"),
            }],
        },
        "spec": owner.body["spec"]["jobTemplate"]["spec"],
    });
    let made = g.post(&jobs("?fieldManager=penstock"), &job).await.expect(201);
    assert!(!made.revision().is_empty());
    let again = g.post(&jobs("?fieldManager=penstock"), &job).await;
    again.refused(409, "AlreadyExists", "jobs.batch \"backfill-p1\" already exists");
    let query = format!(
        "?&watch=true&timeoutSeconds=55&allowWatchBookmarks=true&{LABEL}&resourceVersion={}",
        listed.revision()
    );
    let events = g.watch(&jobs(&query), "", 1).await;
    assert_eq!(events[0]["object"]["metadata"]["uid"], made.body["metadata"]["uid"]);
    for query in [
        "?fieldSelector=metadata.name%3Dbackfill-p1",
        "?&labelSelector=penstock.dev%2Fcronjob%3Dbackfill",
    ] {
        let found = g.get(&jobs(query)).await.expect(200);
        assert_eq!(names(&found.body), ["backfill-p1"], "{query}");
    }
    let options = |uid: &str| {
        json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        })
    };
    let other = "11111111-1111-1111-1111-111111111111";
    g.delete(&jobs("backfill-p1"), &options(other)).await.expect(409);
    g.delete(&jobs("backfill-p1"), &options(made.text("/metadata/uid"))).await.expect(200);
    g.get(&jobs("backfill-p1")).await.expect(404);
}

/// Of what stands for room, by its label.
const ROOMS: &str = "labelSelector=penstock.dev%2Fheadroom";

pub(crate) async fn room_is_kept_by_what_is_told_by_its_label(g: Ground) {
    // Nobody serves buffers here.
    let buffers = format!(
        "/apis/autoscaling.x-k8s.io/v1beta1/namespaces/{}/capacitybuffers?&limit=500&{ROOMS}",
        g.namespace
    );
    g.get(&buffers).await.expect(404);
    let listed = g.get(&g.deployment(&format!("?&limit=500&{ROOMS}"))).await.expect(200);
    assert_eq!(names(&listed.body), [""; 0]);
    g.post(&g.deployment(""), &deployment("web", Some(0))).await.expect(201);
    // The workload whose shape is taken.
    let web = g.get(&g.deployment("web")).await.expect(200);
    assert_eq!(web.body["spec"]["template"]["spec"]["containers"][0]["image"], "demo:1");
    let mut room = deployment("room", Some(0));
    room["metadata"]["labels"] = json!({"penstock.dev/headroom": "room"});
    room["metadata"]["annotations"] = json!({"penstock.dev/reason": "so"});
    let posted = "?fieldManager=penstock-headroom";
    let made = g.post(&g.deployment(posted), &room).await.expect(201);
    let again = g.post(&g.deployment(posted), &room).await;
    again.refused(409, "AlreadyExists", "deployments.apps \"room\" already exists");
    let found = g.get(&g.deployment(&format!("?{ROOMS}%3Droom"))).await.expect(200);
    assert_eq!(names(&found.body), ["room"]);
    let query = format!(
        "?&watch=true&timeoutSeconds=55&allowWatchBookmarks=true&{ROOMS}&resourceVersion={}",
        listed.revision()
    );
    let events = g.watch(&g.deployment(&query), "", 1).await;
    assert_eq!(events[0]["object"]["metadata"]["uid"], made.body["metadata"]["uid"]);
    let steps = |uid: &str, count: u32| {
        json!([
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": "/metadata/labels/penstock.dev~1headroom", "value": "room"},
            {"op": "add", "path": "/spec/replicas", "value": count},
            {"op": "replace", "path": "/spec/template", "value": made.body["spec"]["template"]},
            {"op": "add", "path": "/metadata/annotations/penstock.dev~1reason", "value": "other"},
        ])
    };
    let path = g.deployment(&format!("room{posted}"));
    let (uid, other) = (made.text("/metadata/uid"), "11111111-1111-1111-1111-111111111111");
    let stale = g.json_patch(&path, &steps(other, 0)).await.expect(422);
    assert!(!stale.message().contains("is invalid"), "{}", stale.message());
    let patched = g.json_patch(&path, &steps(uid, 0)).await.expect(200);
    assert_eq!(patched.body["metadata"]["annotations"]["penstock.dev/reason"], "other");
    let options = |uid: &str| {
        json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        })
    };
    g.delete(&g.deployment("room"), &options(other)).await.expect(409);
    g.delete(&g.deployment("room"), &options(uid)).await.expect(200);
    g.get(&g.deployment("room")).await.expect(404);
}
