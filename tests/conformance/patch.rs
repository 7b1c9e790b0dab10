//! The three plain kinds of patch.

use super::ground::{Ground, config_map, deployment, fields, rollout};
use serde_json::json;

pub(crate) async fn merge_patches_remove_with_null(g: Ground) {
    g.post(&g.config_map(""), &config_map("c")).await.expect(201);
    let patched = g
        .merge(
            &g.config_map("c"),
            &json!({"data": {"a": null, "b": "1"}, "metadata": {"labels": {"of": null}}}),
        )
        .await
        .expect(200);
    assert_eq!(patched.body["data"], json!({"b": "1"}));
    assert_eq!(patched.body["metadata"]["labels"], json!({"n": "c"}));
    let renamed = g.merge(&g.config_map("c"), &json!({"metadata": {"name": "d"}})).await;
    renamed.refused(
        400,
        "BadRequest",
        "the name of the object (d) does not match the name on the URL (c)",
    );
    g.merge(&g.config_map("none"), &json!({})).await.refused(
        404,
        "NotFound",
        "configmaps \"none\" not found",
    );
}

pub(crate) async fn a_merge_patch_holds_to_its_revision(g: Ground) {
    // What a pod costs is written on the pod that was seen, and never over what somebody else wrote since.
    const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
    // Nobody schedules it, so nobody else moves it.
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "schedulerName": "nobody", "containers": [{"name": "main", "image": "demo:1"}],
    }});
    let seen = g.post(&g.path("v1", "pods", ""), &pod).await.expect(201).revision();
    let path = g.path("v1", "pods", "p");
    let ours = format!("{path}?fieldManager=penstock-scalein");
    let cost = |revision: &str, cost: &serde_json::Value| json!({"metadata": {"resourceVersion": revision, "annotations": {COST: cost}}});
    let told = g.merge(&ours, &cost(&seen, &json!("-1000"))).await.expect(200);
    assert_eq!(told.body["metadata"]["annotations"][COST], "-1000");
    let is_ours = |object: &serde_json::Value| {
        let fields = fields(object, "penstock-scalein/Update/");
        !fields["f:metadata"]["f:annotations"][format!("f:{COST}")].is_null()
    };
    assert!(is_ours(&told.body), "{:#}", told.body);
    let stale = g.merge(&ours, &cost(&seen, &json!("-2000"))).await.expect(409);
    assert_eq!(stale.text("/reason"), "Conflict");
    // Another takes it over, and then it is theirs alone.
    let theirs = json!({"metadata": {"annotations": {COST: "7"}}});
    let taken = g.merge(&format!("{path}?fieldManager=other"), &theirs).await.expect(200);
    assert!(!is_ours(&taken.body), "{:#}", taken.body);
    let none = g.merge(&ours, &cost(&taken.revision(), &json!(null))).await.expect(200);
    assert!(none.body["metadata"]["annotations"].get(COST).is_none(), "{:#}", none.body);
    let gone = g.path("v1", "pods", "gone?fieldManager=penstock-scalein");
    let gone = g.merge(&gone, &cost("1", &json!("-1000"))).await;
    gone.refused(404, "NotFound", "pods \"gone\" not found");
}

pub(crate) async fn json_patches_test_before_they_write(g: Ground) {
    g.post(&g.config_map(""), &config_map("c")).await.expect(201);
    let steps = json!([{"op": "test", "path": "/data/a", "value": "c"}, {"op": "replace", "path": "/data/a", "value": "2"}, {"op": "add", "path": "/data/b", "value": "3"}]);
    let patched = g.json_patch(&g.config_map("c"), &steps).await.expect(200);
    assert_eq!(patched.body["data"], json!({"a": "2", "b": "3"}));
    let message = "the server rejected our request due to an error in our request";
    g.json_patch(&g.config_map("c"), &steps).await.refused(422, "Invalid", message);
    g.json_patch(&g.config_map("c"), &json!([{"op": "remove", "path": "/data/zzz"}]))
        .await
        .refused(422, "Invalid", message);
}

pub(crate) async fn a_json_patch_holds_to_its_revision(g: Ground) {
    // What is decided on one revision of an object is not done to another, neither to one of the built-in kinds nor to any other.
    let version = g.define("revised").await;
    let (map, custom) = (g.config_map("c"), g.path(&version, "rollouts", "r"));
    let first = g.post(&g.config_map(""), &config_map("c")).await.expect(201).revision();
    let object = rollout(&version, "r", &json!({"name": "abc", "replicas": 1}));
    let second = g.post(&g.path(&version, "rollouts", ""), &object).await.expect(201).revision();
    let namespace = format!("/api/v1/namespaces/{}", g.namespace);
    g.merge(&namespace, &json!({"metadata": {"labels": {"a.io/limit": "1"}}})).await.expect(200);
    let third = g.get(&namespace).await.expect(200).revision();
    for (path, revision, pointer, value) in [
        (&map, first, "/data/a", json!("2")),
        (&custom, second, "/spec/replicas", json!(4)),
        (&namespace, third, "/metadata/labels/a.io~1limit", json!("7")),
    ] {
        let steps = |revision: &str| {
            json!([
                {"op": "replace", "path": "/metadata/resourceVersion", "value": revision},
                {"op": "add", "path": pointer, "value": value},
            ])
        };
        let managed = format!("{path}?fieldManager=one");
        let patched = g.json_patch(&managed, &steps(&revision)).await.expect(200);
        assert_eq!(patched.body.pointer(pointer), Some(&value));
        assert_ne!(patched.revision(), revision);
        let entries = patched.body["metadata"]["managedFields"].as_array().cloned();
        let ours = entries.into_iter().flatten().find(|entry| entry["manager"] == "one");
        assert_eq!(ours.map(|entry| entry["operation"].clone()), Some(json!("Update")));
        let stale = g.json_patch(&managed, &steps(&revision)).await.expect(409);
        assert_eq!(stale.text("/reason"), "Conflict");
    }
    g.forget(&version).await;
}

fn containers(change: &serde_json::Value) -> serde_json::Value {
    json!({"spec": {"template": {"spec": change}}})
}

pub(crate) async fn containers_are_merged_by_name(g: Ground) {
    let mut object = deployment("web", Some(0));
    object["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]);
    object["spec"]["template"]["spec"]["containers"][0]["ports"] =
        json!([{"containerPort": 80}, {"containerPort": 81}]);
    g.post(&g.deployment(""), &object).await.expect(201);
    let change = containers(
        &json!({"containers": [{"name": "main", "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}], "ports": [{"containerPort": 80, "name": "http"}]}]}),
    );
    let patched = g.strategic(&g.deployment("web"), &change).await.expect(200);
    let main = &patched.body["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        main["env"],
        json!([{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}])
    );
    assert_eq!(
        main["ports"],
        json!([{"name": "http", "containerPort": 80, "protocol": "TCP"}, {"containerPort": 81, "protocol": "TCP"}])
    );
    assert_eq!(main["image"], "demo:1");
    let added = containers(
        &json!({"$setElementOrder/containers": [{"name": "side"}, {"name": "main"}], "containers": [{"name": "side", "image": "s:1"}]}),
    );
    let patched = g.strategic(&g.deployment("web"), &added).await.expect(200);
    let names: Vec<_> = patched.body["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].clone())
        .collect();
    assert_eq!(names, ["side", "main"]);
}

pub(crate) async fn directives_delete_and_order(g: Ground) {
    let mut object = deployment("web", Some(0));
    object["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]);
    g.post(&g.deployment(""), &object).await.expect(201);
    let deleted = containers(
        &json!({"containers": [{"name": "main", "env": [{"name": "A", "$patch": "delete"}]}]}),
    );
    let patched = g.strategic(&g.deployment("web"), &deleted).await.expect(200).body;
    assert_eq!(
        patched["spec"]["template"]["spec"]["containers"][0]["env"],
        json!([{"name": "B", "value": "2"}, {"name": "C", "value": "3"}])
    );
    let ordered = containers(
        &json!({"containers": [{"name": "main", "$setElementOrder/env": [{"name": "C"}, {"name": "B"}], "env": [{"name": "B", "value": "9"}]}]}),
    );
    let patched = g.strategic(&g.deployment("web"), &ordered).await.expect(200).body;
    assert_eq!(
        patched["spec"]["template"]["spec"]["containers"][0]["env"],
        json!([{"name": "C", "value": "3"}, {"name": "B", "value": "9"}])
    );
    let recreate = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let patched = g.strategic(&g.deployment("web"), &recreate).await.expect(200).body;
    assert_eq!(patched["spec"]["strategy"], json!({"type": "Recreate"}));
    let defaulted = g
        .strategic(
            &g.deployment("web"),
            &json!({"spec": {"revisionHistoryLimit": null, "strategy": {"type": "RollingUpdate"}}}),
        )
        .await
        .expect(200)
        .body;
    assert_eq!(
        defaulted["spec"]["strategy"]["rollingUpdate"],
        json!({"maxSurge": "25%", "maxUnavailable": "25%"})
    );
    assert_eq!(defaulted["spec"]["revisionHistoryLimit"], 10);
    g.strategic(&g.deployment("web"), &json!({"metadata": {"finalizers": ["a.io/a"]}}))
        .await
        .expect(200);
    let united = g
        .strategic(&g.deployment("web"), &json!({"metadata": {"finalizers": ["c.io/d"]}}))
        .await
        .expect(200)
        .body;
    assert_eq!(united["metadata"]["finalizers"], json!(["c.io/d", "a.io/a"]));
    let none = g
        .strategic(
            &g.deployment("web"),
            &json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a.io/a", "c.io/d"]}}),
        )
        .await
        .expect(200)
        .body;
    assert!(none["metadata"].get("finalizers").is_none());
    let replaced = containers(
        &json!({"containers": [{"name": "only", "image": "o:1"}, {"$patch": "replace"}]}),
    );
    let patched = g.strategic(&g.deployment("web"), &replaced).await.expect(200).body;
    assert_eq!(patched["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len), Some(1));
}

pub(crate) async fn custom_kinds_take_no_strategic_patch(g: Ground) {
    let version = g.define("nostrategic").await;
    g.post(&g.path(&version, "rollouts", ""), &rollout(&version, "r", &json!({"name": "abc"})))
        .await
        .expect(201);
    let refused = g
        .strategic(&g.path(&version, "rollouts", "r"), &json!({"spec": {"min": 1}}))
        .await
        .expect(415);
    assert!(refused.message().starts_with("the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json"), "{}", refused.message());
    g.forget(&version).await;
}
