//! Server-side apply: who owns what, who is in whose way, and what dropping a field does.

use super::ground::{Ground, deployment, fields, managers, only_replicas, rollout, scale};
use serde_json::{Value, json};

pub(crate) async fn a_conflict_names_the_other_manager(g: Ground) {
    let one = g.deployment("web");
    g.post(&g.deployment("?fieldManager=kubectl-create"), &deployment("web", Some(0)))
        .await
        .expect(201);
    let refused = g.apply(&format!("{one}?fieldManager=penstock"), &only_replicas("web", 5)).await;
    let message = "Apply failed with 1 conflict: conflict with \"kubectl-create\" using apps/v1: .spec.replicas";
    let refused = refused.refused(409, "Conflict", message);
    let cause = json!({"reason": "FieldManagerConflict", "message": "conflict with \"kubectl-create\" using apps/v1", "field": ".spec.replicas"});
    assert_eq!(refused.body["details"], json!({"causes": [cause]}));
    let forced = g
        .apply(&format!("{one}?fieldManager=penstock&force=true"), &only_replicas("web", 1))
        .await
        .expect(200);
    assert_eq!(forced.body["spec"]["replicas"], 1);
    assert_eq!(fields(&forced.body, "penstock/Apply/"), json!({"f:spec": {"f:replicas": {}}}));
    let lost = fields(&forced.body, "kubectl-create/Update/");
    assert!(
        lost["f:spec"]["f:selector"].is_object() && lost["f:spec"].get("f:replicas").is_none(),
        "{lost:#}"
    );
}

pub(crate) async fn conflicts_are_listed_by_manager(g: Ground) {
    let one = g.deployment("web");
    g.post(&g.deployment("?fieldManager=creator"), &deployment("web", Some(0))).await.expect(201);
    g.merge(&format!("{one}?fieldManager=editor"), &json!({"spec": {"replicas": 1}}))
        .await
        .expect(200);
    let config = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "main", "image": "other:2"}]}}}
    });
    let message = "Apply failed with 2 conflicts: conflicts with \"creator\" using apps/v1:\n- .spec.template.spec.containers[name=\"main\"].image\nconflicts with \"editor\" using apps/v1:\n- .spec.replicas";
    g.apply(&format!("{one}?fieldManager=penstock"), &config)
        .await
        .refused(409, "Conflict", message);
}

pub(crate) async fn a_dropped_field_goes_unless_another_holds_it(g: Ground) {
    for (name, held) in [("dropped", false), ("held", true)] {
        let git = g.deployment(&format!("{name}?fieldManager=git"));
        g.apply(&git, &deployment(name, Some(2))).await.expect(201);
        if held {
            g.apply(&g.deployment(&format!("{name}/scale?fieldManager=penstock")), &scale(name, 2))
                .await
                .expect(200);
        }
        let after = g.apply(&git, &deployment(name, None)).await.expect(200);
        assert_eq!(after.body["spec"]["replicas"], if held { 2 } else { 1 });
    }
}

pub(crate) async fn dropped_items_and_labels_go(g: Ground) {
    let git = g.deployment("web?fieldManager=git");
    let mut config = deployment("web", Some(0));
    config["metadata"]["labels"] = json!({"q": "1"});
    let side = json!({"name": "side", "image": "side:1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}], "ports": [{"containerPort": 80}]});
    let containers =
        config.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut).unwrap();
    containers.push(side);
    g.apply(&git, &config).await.expect(201);
    config["metadata"] = json!({"name": "web"});
    config["spec"]["template"]["spec"]["containers"][1]["env"] =
        json!([{"name": "Y", "value": "2"}]);
    let less = g.apply(&git, &config).await.expect(200).body;
    assert!(less["metadata"].get("labels").is_none(), "{less:#}");
    assert_eq!(
        less["spec"]["template"]["spec"]["containers"][1]["env"],
        json!([{"name": "Y", "value": "2"}])
    );
    config
        .pointer_mut("/spec/template/spec/containers")
        .and_then(Value::as_array_mut)
        .unwrap()
        .pop();
    let least = g.apply(&git, &config).await.expect(200).body;
    assert_eq!(least["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        least["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"],
        "IfNotPresent"
    );
}

pub(crate) async fn a_misfit_is_refused_before_anything_else(g: Ground) {
    let version = g.define("misfit").await;
    for (spec, why) in [
        (
            json!({"name": "abc", "replicas": "x"}),
            ".spec.replicas: expected numeric (int or float), got string",
        ),
        (json!({"name": "abc", "foo": 1}), ".spec.foo: field not declared in schema"),
        (
            json!({"name": "abc", "tags": ["b", "b"]}),
            ".spec.tags: duplicate entries for key [=\"b\"]",
        ),
    ] {
        let path = g.path(&version, "rollouts", "r?fieldManager=git");
        let answer = g.apply(&path, &rollout(&version, "r", &spec)).await;
        answer.refused(
            500,
            "",
            &format!("failed to create typed patch object (/r; {version}, Kind=Rollout): {why}"),
        );
    }
    g.forget(&version).await;
}

pub(crate) async fn an_apply_creates_and_repeats_without_a_write(g: Ground) {
    let version = g.define("repeats").await;
    let path = g.path(&version, "rollouts", "r?fieldManager=git");
    let config = rollout(
        &version,
        "r",
        &json!({"name": "abc", "stages": [{"name": "x", "replicas": {"max": 3}}], "tags": ["a"], "free": {"a": {"b": 1}}}),
    );
    let first = g.apply(&path, &config).await.expect(201);
    assert_eq!(managers(&first.body), ["git/Apply/"]);
    let owned = json!({"f:spec": {
        "f:free": {"f:a": {".": {}, "f:b": {}}}, "f:name": {},
        "f:stages": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:replicas": {"f:max": {}}}}, "f:tags": {"v:\"a\"": {}}
    }});
    assert_eq!(fields(&first.body, "git/Apply/"), owned);
    let again = g.apply(&path, &config).await.expect(200);
    assert_eq!(again.revision(), first.revision());
    let path = g.path(&version, "rollouts", "r?fieldManager=other");
    let more = rollout(
        &version,
        "r",
        &json!({"name": "abc", "stages": [{"name": "y", "replicas": {"max": 1}}], "tags": ["b"]}),
    );
    let both = g.apply(&path, &more).await.expect(200).body;
    assert_eq!(both["spec"]["tags"], json!(["a", "b"]));
    assert_eq!(
        both["spec"]["stages"][1],
        json!({"kind": "A", "name": "y", "replicas": {"max": 1, "min": 1}})
    );
    assert_eq!(managers(&both), ["git/Apply/", "other/Apply/"]);
    g.forget(&version).await;
}

pub(crate) async fn a_status_apply_owns_its_fields_alone(g: Ground) {
    let version = g.define("statusapply").await;
    g.post(&g.path(&version, "rollouts", ""), &rollout(&version, "r", &json!({"name": "abc"})))
        .await
        .expect(201);
    let config = |status: Value| json!({"apiVersion": version, "kind": "Rollout", "metadata": {"name": "r"}, "spec": {"name": "zzz"}, "status": status});
    let path = g.path(&version, "rollouts", "r/status?fieldManager=penstock");
    let first = g.apply(&path, &config(json!({"observedGeneration": 1, "conditions": [{"type": "Active", "status": "True"}]}))).await.expect(200);
    assert_eq!(first.body["spec"]["name"], "abc");
    assert_eq!(managers(&first.body), ["penstock/Apply/status", "conformance/Update/"]);
    let other = g.path(&version, "rollouts", "r/status?fieldManager=other");
    g.merge(&other, &json!({"status": {"replicas": 4}})).await.expect(200);
    let message = format!(
        "Apply failed with 1 conflict: conflict with \"other\" with subresource \"status\" using {version}: .status.replicas"
    );
    g.apply(&path, &config(json!({"observedGeneration": 1, "replicas": 5})))
        .await
        .refused(409, "Conflict", &message);
    g.forget(&version).await;
}

pub(crate) async fn an_untracked_object_has_an_owner_before_the_first_apply(g: Ground) {
    let one = g.config_map("c");
    g.post(&g.config_map(""), &json!({"metadata": {"name": "c"}, "data": {"a": "1"}}))
        .await
        .expect(201);
    let cleared = g.merge(&one, &json!({"metadata": {"managedFields": [{}]}})).await.expect(200);
    assert!(cleared.body["metadata"].get("managedFields").is_none(), "{:#}", cleared.body);
    let path = format!("{one}?fieldManager=git");
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "2"}});
    let message =
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a";
    g.apply(&path, &config).await.refused(409, "Conflict", message);
}

pub(crate) async fn stale_and_foreign_applies_are_refused(g: Ground) {
    g.post(&g.deployment(""), &deployment("web", Some(0))).await.expect(201);
    let path = g.deployment("web?fieldManager=git&force=true");
    let mut stale = only_replicas("web", 1);
    stale["metadata"]["resourceVersion"] = json!("1");
    let message = "Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your changes to the latest version and try again";
    g.apply(&path, &stale).await.refused(409, "Conflict", message);
    let mut foreign = only_replicas("web", 1);
    foreign["metadata"]["uid"] = json!("11111111-1111-1111-1111-111111111111");
    let message = "Deployment.apps \"web\" is invalid: metadata.uid: Invalid value: \"11111111-1111-1111-1111-111111111111\": field is immutable";
    g.apply(&path, &foreign).await.refused(422, "Invalid", message);
    let nameless = g.apply(&g.deployment("web"), &only_replicas("web", 1)).await;
    nameless.refused(422, "Invalid", "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
    let mut managed = only_replicas("web", 1);
    managed["metadata"]["managedFields"] = json!([]);
    g.apply(&path, &managed).await.refused(400, "BadRequest", "metadata.managedFields must be nil");
}
