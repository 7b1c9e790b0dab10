//! The scale subresource: what it shows, who owns the number behind it, and what a custom kind's refuses.

use super::ground::{Ground, deployment, fields, managers, rollout, scale};
use serde_json::{Value, json};

pub(crate) async fn an_apply_to_scale_owns_replicas(g: Ground) {
    let (one, face) = (g.deployment("web"), g.deployment("web/scale?fieldManager=penstock"));
    g.post(&g.deployment("?fieldManager=kubectl-create"), &deployment("web", Some(1)))
        .await
        .expect(201);
    let message = "Apply failed with 1 conflict: conflict with \"kubectl-create\" using autoscaling/v1: .spec.replicas";
    g.apply(&face, &scale("web", 0)).await.refused(409, "Conflict", message);
    let same = g.apply(&face, &scale("web", 1)).await.expect(200);
    assert_eq!(same.body["spec"]["replicas"], 1);
    let object = g.get(&one).await.expect(200).body;
    assert_eq!(managers(&object)[0], "penstock/Apply/scale");
    assert_eq!(fields(&object, "penstock/Apply/scale"), json!({"f:spec": {"f:replicas": {}}}));
    let git = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 0}});
    g.apply(&format!("{face}&force=true"), &scale("web", 0)).await.expect(200);
    g.apply(&face, &scale("web", 2)).await.expect(200);
    let message = "Apply failed with 1 conflict: conflict with \"penstock\" with subresource \"scale\": .spec.replicas";
    g.apply(&format!("{one}?fieldManager=git"), &git).await.refused(409, "Conflict", message);
    let edited = g
        .merge(&format!("{one}?fieldManager=kubectl-edit"), &json!({"spec": {"replicas": 0}}))
        .await
        .expect(200);
    assert!(fields(&edited.body, "penstock/Apply/scale").is_null(), "{:#}", edited.body);
}

pub(crate) async fn a_number_nobody_owns_is_somebodys_before_the_first_apply(g: Ground) {
    let face = g.deployment("web/scale?fieldManager=penstock");
    g.apply(&g.deployment("web?fieldManager=git"), &deployment("web", None)).await.expect(201);
    g.apply(&face, &scale("web", 1)).await.expect(200);
    let object = g.get(&g.deployment("web")).await.expect(200).body;
    assert_eq!(
        managers(&object),
        ["penstock/Apply/scale", "git/Apply/", "before-first-apply/Update/scale"]
    );
    let message = "Apply failed with 1 conflict: conflict with \"before-first-apply\" with subresource \"scale\" using autoscaling/v1: .spec.replicas";
    g.apply(&face, &scale("web", 0)).await.refused(409, "Conflict", message);
    g.apply(&format!("{face}&force=true"), &scale("web", 0)).await.expect(200);
    let object = g.get(&g.deployment("web")).await.expect(200).body;
    assert_eq!(managers(&object), ["penstock/Apply/scale", "git/Apply/"]);
}

pub(crate) async fn a_plain_zero_leaves_the_number_to_nobody(g: Ground) {
    let hand = g.deployment("web/scale?fieldManager=hand");
    g.post(&g.deployment(""), &deployment("web", Some(1))).await.expect(201);
    g.merge(&hand, &json!({"spec": {"replicas": 2}})).await.expect(200);
    let owned = g.get(&g.deployment("web")).await.expect(200).body;
    assert_eq!(fields(&owned, "hand/Update/scale"), json!({"f:spec": {"f:replicas": {}}}));
    let zero = g.merge(&hand, &json!({"spec": {"replicas": 0}})).await.expect(200);
    assert_eq!(zero.body["spec"], json!({}));
    let unowned = g.get(&g.deployment("web")).await.expect(200).body;
    assert_eq!(
        (&unowned["spec"]["replicas"], managers(&unowned)),
        (&json!(0), vec!["conformance/Update/".to_owned()])
    );
    // And so it stays, until somebody applies.
    g.put(&hand, &scale("web", 1)).await.expect(200);
    assert_eq!(managers(&g.get(&g.deployment("web")).await.body), ["conformance/Update/"]);
}

pub(crate) async fn a_scale_shows_replicas_and_selector(g: Ground) {
    let created = g.post(&g.deployment(""), &deployment("web", Some(2))).await.expect(201);
    let shown = g.get(&g.deployment("web/scale")).await.expect(200).body;
    assert_eq!((&shown["kind"], &shown["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!(shown["spec"], json!({"replicas": 2}));
    assert_eq!(shown["status"]["selector"], "app=web");
    assert_eq!(shown["metadata"]["uid"], created.body["metadata"]["uid"]);
    let negative = g.merge(&g.deployment("web/scale"), &json!({"spec": {"replicas": -2}})).await;
    negative.refused(422, "Invalid", "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -2: must be greater than or equal to 0");
}

pub(crate) async fn a_stale_scale_is_refused(g: Ground) {
    g.post(&g.deployment(""), &deployment("web", Some(0))).await.expect(201);
    let face = g.deployment("web/scale?fieldManager=penstock");
    let forced = format!("{face}&force=true");
    let message = "Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your changes to the latest version and try again";
    let stale = |replicas: i64| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web", "resourceVersion": "1"}, "spec": {"replicas": replicas}});
    g.apply(&forced, &stale(3)).await.refused(409, "Conflict", message);
    let pushed = g.merge(&forced, &stale(3)).await;
    pushed.refused(422, "Invalid", "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch");
    g.merge(&face, &stale(3)).await.refused(409, "Conflict", message);
    g.put(&face, &stale(3)).await.refused(409, "Conflict", message);
    let mut foreign = scale("web", 3);
    foreign["metadata"]["uid"] = json!("11111111-1111-1111-1111-111111111111");
    let refused = g.apply(&forced, &foreign).await.expect(409);
    assert!(refused.message().starts_with("Operation cannot be fulfilled on deployments/scale.apps \"web\": Precondition failed: UID in precondition: 11111111"), "{}", refused.message());
    let missing =
        g.apply(&g.deployment("none/scale?fieldManager=penstock"), &scale("none", 1)).await;
    missing.refused(404, "NotFound", "deployments.apps \"none\" not found");
}

pub(crate) async fn a_custom_scale_takes_the_same_number_by_apply_and_no_other(g: Ground) {
    let version = g.define("scaleapply").await;
    let face = g.path(&version, "rollouts", "r/scale?fieldManager=penstock");
    let all = g.path(&version, "rollouts", "?fieldManager=creator");
    g.post(&all, &rollout(&version, "r", &json!({"name": "abc", "replicas": 2}))).await.expect(201);
    let message = "Apply failed with 1 conflict: conflict with \"creator\" using autoscaling/v1: .spec.replicas";
    g.apply(&face, &scale("r", 3)).await.refused(409, "Conflict", message);
    let refused = g.apply(&format!("{face}&force=true"), &scale("r", 3)).await;
    refused.refused(500, "", "failed to convert new object (/r; autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid group/version: autoscaling/v1");
    g.apply(&face, &scale("r", 2)).await.expect(200);
    let object = g.get(&g.path(&version, "rollouts", "r")).await.expect(200).body;
    assert_eq!(managers(&object)[0], "penstock/Apply/scale");
    // With a zero written in between, nobody owns the number, and then not even that is taken.
    g.merge(&g.path(&version, "rollouts", "r/scale"), &json!({"spec": {"replicas": 0}}))
        .await
        .expect(200);
    let refused = g.apply(&face, &scale("r", 0)).await;
    refused.refused(500, "", "failed to create manager for existing fields: failed to convert live object (/; autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid group/version: autoscaling/v1");
    g.forget(&version).await;
}

pub(crate) async fn a_custom_scale_is_patched_and_recorded(g: Ground) {
    let version = g.define("scalepatch").await;
    let one = g.path(&version, "rollouts", "r");
    let face = g.path(&version, "rollouts", "r/scale?fieldManager=penstock");
    let created = g
        .post(
            &g.path(&version, "rollouts", ""),
            &rollout(&version, "r", &json!({"name": "abc", "replicas": 2})),
        )
        .await
        .expect(201);
    let patch = |revision: &str, replicas: i64| json!({"metadata": {"resourceVersion": revision}, "spec": {"replicas": replicas}});
    let scaled = g.merge(&face, &patch(&created.revision(), 5)).await.expect(200);
    assert_eq!(scaled.body["spec"]["replicas"], 5);
    let message = format!(
        "Operation cannot be fulfilled on rollouts.{} \"r\": the object has been modified; please apply your changes to the latest version and try again",
        version.trim_end_matches("/v1")
    );
    g.merge(&face, &patch(&created.revision(), 6)).await.refused(409, "Conflict", &message);
    let object = g.get(&one).await.expect(200).body;
    assert_eq!(object["metadata"]["generation"], 2);
    assert_eq!(fields(&object, "penstock/Update/scale"), json!({"f:spec": {"f:replicas": {}}}));
    let group = version.trim_end_matches("/v1");
    let many = g.merge(&face, &json!({"spec": {"replicas": 600}})).await;
    many.refused(422, "Invalid", &format!("Rollout.{group} \"r\" is invalid: spec.replicas: Invalid value: 600: spec.replicas in body should be less than or equal to 100"));
    g.merge(
        &g.path(&version, "rollouts", "r/status"),
        &json!({"status": {"replicas": 3, "selector": "app=r"}}),
    )
    .await
    .expect(200);
    let shown = g.get(&g.path(&version, "rollouts", "r/scale")).await.expect(200).body;
    assert_eq!(shown["status"], json!({"replicas": 3, "selector": "app=r"}));
    g.forget(&version).await;
}

pub(crate) async fn a_custom_scale_without_a_number_is_an_error(g: Ground) {
    let version = g.define("scalenone").await;
    g.post(&g.path(&version, "rollouts", ""), &rollout(&version, "r", &json!({"name": "abc"})))
        .await
        .expect(201);
    let face = g.path(&version, "rollouts", "r/scale");
    let message =
        "Internal error occurred: the spec replicas field \".spec.replicas\" does not exist";
    g.get(&face).await.refused(500, "InternalError", message);
    g.merge(&face, &json!({"spec": {"replicas": 3}})).await.expect(200);
    assert_eq!(g.get(&face).await.expect(200).body["spec"], json!({"replicas": 3}));
    assert_eq!(
        g.ask(http::Method::PATCH, &face, "application/strategic-merge-patch+json", &Value::Null)
            .await
            .code,
        415
    );
    g.forget(&version).await;
}
