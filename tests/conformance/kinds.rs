//! Built-in kinds where they have ways of their own: leases, events, workloads, reviews.

use super::ground::{Ground, deployment, fields};
use serde_json::json;

pub(crate) async fn a_lease_changes_hands(g: Ground) {
    let path = |rest: &str| g.path("coordination.k8s.io/v1", "leases", rest);
    let lease = |holder: &str, revision: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l", "resourceVersion": revision},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 8, "leaseTransitions": 0, "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.123456Z"}
        })
    };
    let created = g.post(&path(""), &lease("a", "")).await.expect(201);
    assert_eq!(created.body["spec"]["renewTime"], "2026-01-01T00:00:00.123456Z");
    let taken = g.put(&path("l"), &lease("b", &created.revision())).await.expect(200);
    assert_eq!(taken.body["spec"]["holderIdentity"], "b");
    let message = "Operation cannot be fulfilled on leases.coordination.k8s.io \"l\": the object has been modified; please apply your changes to the latest version and try again";
    g.put(&path("l"), &lease("a", &created.revision())).await.refused(409, "Conflict", message);
    g.merge(&path("l"), &json!({"metadata": {"resourceVersion": created.revision()}, "spec": {"holderIdentity": "c"}})).await.refused(409, "Conflict", message);
    let blind = g.put(&path("l"), &lease("a", "")).await;
    let blind = blind.expect(422);
    assert!(
        blind.message().ends_with(
            "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        ) || blind.message().contains("must be specified for an update"),
        "{}",
        blind.message()
    );
    let forever = g.merge(&path("l"), &json!({"spec": {"leaseDurationSeconds": 0}})).await;
    forever.refused(422, "Invalid", "Lease.coordination.k8s.io \"l\" is invalid: spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0");
    let free = g.merge(&path("l"), &json!({"spec": {"holderIdentity": null}})).await.expect(200);
    assert!(free.body["spec"].get("holderIdentity").is_none());
}

pub(crate) async fn an_event_has_two_faces(g: Ground) {
    let (new, core) = (
        |rest: &str| g.path("events.k8s.io/v1", "events", rest),
        |rest: &str| g.path("v1", "events", rest),
    );
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z",
        "action": "Scale", "reason": "Scaled", "note": "from 1 to 24", "type": "Normal",
        "regarding": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": g.namespace},
        "reportingController": "penstock.dev/penstock", "reportingInstance": "p-1"
    });
    let created = g.post(&new("?fieldManager=penstock"), &event).await.expect(201);
    assert_eq!(
        (&created.body["note"], &created.body["apiVersion"]),
        (&json!("from 1 to 24"), &json!("events.k8s.io/v1"))
    );
    assert_eq!(fields(&created.body, "penstock/Update/")["f:regarding"], json!({}));
    let seen = g.get(&core("e")).await.expect(200).body;
    assert_eq!(
        (&seen["message"], &seen["apiVersion"], &seen["involvedObject"]["name"]),
        (&json!("from 1 to 24"), &json!("v1"), &json!("web"))
    );
    assert_eq!(
        (&seen["reportingComponent"], &seen["metadata"]["uid"]),
        (&json!("penstock.dev/penstock"), &created.body["metadata"]["uid"])
    );
    for path in [
        core("?fieldSelector=involvedObject.name%3Dweb,involvedObject.kind%3DDeployment"),
        new("?fieldSelector=regarding.name%3Dweb"),
    ] {
        let list = g.get(&path).await.expect(200).body;
        assert!(
            list["items"].as_array().unwrap().iter().any(|item| item["metadata"]["name"] == "e"),
            "{path}"
        );
    }
    // Page by page, of one kind, in every namespace: as the daemon reads what it told before.
    let mut second = event.clone();
    (second["metadata"]["name"], second["regarding"]["kind"]) = (json!("e2"), json!("Trinket"));
    g.post(&new(""), &second).await.expect(201);
    second["metadata"]["name"] = json!("e3");
    g.post(&new(""), &second).await.expect(201);
    let all = "/apis/events.k8s.io/v1/events?fieldSelector=regarding.kind%3DTrinket&limit=1";
    let mut page = g.get(all).await.expect(200).body;
    let mut names = Vec::new();
    loop {
        names.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].clone()),
        );
        match page["metadata"]["continue"].as_str().unwrap_or_default() {
            "" => break,
            token => page = g.get(&format!("{all}&continue={token}")).await.expect(200).body,
        }
    }
    assert!(names.contains(&json!("e2")) && names.contains(&json!("e3")), "{names:?}");
    assert!(!names.contains(&json!("e")), "{names:?}");
    let series = g
        .merge(
            &new("e"),
            &json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}}),
        )
        .await
        .expect(200);
    assert_eq!(series.body["series"]["count"], 2);
    let old = json!({
        "metadata": {"name": "o"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": g.namespace}, "reason": "R", "message": "m", "type": "Warning",
        "source": {"component": "x"}, "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1
    });
    g.post(&core(""), &old).await.expect(201);
    let seen = g.get(&new("o")).await.expect(200).body;
    assert_eq!(
        (&seen["note"], &seen["deprecatedCount"], &seen["deprecatedSource"]["component"]),
        (&json!("m"), &json!(1), &json!("x"))
    );
}

pub(crate) async fn a_deployment_is_defaulted_and_checked(g: Ground) {
    let created = g.post(&g.deployment(""), &deployment("web", None)).await.expect(201).body;
    let spec = &created["spec"];
    assert_eq!(
        (&spec["replicas"], &spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]),
        (&json!(1), &json!(10), &json!(600))
    );
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    let container = json!({"name": "main", "image": "demo:1", "imagePullPolicy": "IfNotPresent", "resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"});
    assert_eq!(spec["template"]["spec"]["containers"], json!([container]));
    let moved = g.merge(&g.deployment("web"), &json!({"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}}}})).await;
    let moved = moved.expect(422);
    let start = "Deployment.apps \"web\" is invalid: spec.selector: Invalid value: ";
    // Before 1.34 the value was printed as a Go struct.
    let value = moved
        .message()
        .strip_prefix(start)
        .and_then(|rest| rest.strip_suffix(": field is immutable"));
    assert!(
        value == Some("{\"matchLabels\":{\"app\":\"x\"}}") || (g.minor < 34 && value.is_some()),
        "{}",
        moved.message()
    );
    let mut wrong = deployment("wrong", Some(0));
    wrong["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    let value =
        if g.minor < 34 { "map[string]string{\"app\":\"wrong\"}" } else { "{\"app\":\"wrong\"}" };
    let message = format!(
        "Deployment.apps \"wrong\" is invalid: spec.template.metadata.labels: Invalid value: {value}: `selector` does not match template `labels`"
    );
    g.post(&g.deployment(""), &wrong).await.refused(422, "Invalid", &message);
    let annotated = g
        .merge(&g.deployment("web"), &json!({"metadata": {"annotations": {"a": "b"}}}))
        .await
        .expect(200);
    assert!(
        annotated.body["metadata"]["generation"].as_i64().unwrap()
            > created["metadata"]["generation"].as_i64().unwrap(),
        "an annotation of a deployment is a new generation"
    );
}

pub(crate) async fn a_stateful_set_keeps_its_identity(g: Ground) {
    let path = |rest: &str| g.path("apps/v1", "statefulsets", rest);
    let set = json!({
        "metadata": {"name": "db"},
        "spec": {
            "replicas": 0, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}}
        }
    });
    let created = g.post(&path(""), &set).await.expect(201).body;
    assert_eq!(created["spec"]["podManagementPolicy"], "OrderedReady");
    let renamed =
        g.merge(&path("db"), &json!({"spec": {"serviceName": "other"}})).await.expect(422);
    assert!(renamed.message().starts_with("StatefulSet.apps \"db\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template'"), "{}", renamed.message());
    let face = path("db/scale?fieldManager=penstock&force=true");
    let scaled = g.apply(&face, &super::ground::scale("db", 1)).await.expect(200);
    assert_eq!(scaled.body["spec"]["replicas"], 1);
    let object = g.get(&path("db")).await.expect(200).body;
    assert_eq!(fields(&object, "penstock/Apply/scale"), json!({"f:spec": {"f:replicas": {}}}));
}

pub(crate) async fn reviews_are_answered(g: Ground) {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let answer = g
        .post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review)
        .await
        .expect(201)
        .body;
    assert_eq!(
        (&answer["status"]["allowed"], &answer["spec"]["resourceAttributes"]["verb"]),
        (&json!(true), &json!("get"))
    );
    // Somebody who may do everything, and a token that is shown as it was sent.
    let attributes =
        json!({"verb": "list", "group": "penstock.dev", "resource": "scaledpipelines"});
    let spec =
        json!({"user": "root", "groups": ["system:masters"], "resourceAttributes": attributes});
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    assert_eq!(g.post(path, &review).await.expect(201).body["status"]["allowed"], true);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "nobody's"}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer = g.post(path, &review).await.expect(201).body;
    assert_eq!(
        (&answer["spec"]["token"], answer["status"].is_object()),
        (&json!("nobody's"), true)
    );
    let who = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer =
        g.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &who).await.expect(201).body;
    assert!(answer["status"]["userInfo"]["username"].is_string(), "{answer:#}");
}
