//! Server-side apply: who owns what, who is in whose way, and what dropping a field does.

use super::ground::{apply, delete, deployment, fields, get, managers, merge, post};
use kube::Client;
use serde_json::{Value, json};

const ALL: &str = "/apis/apps/v1/namespaces/default/deployments";

fn scale(name: &str, replicas: i64) -> Value {
    json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": name, "namespace": "default"}, "spec": {"replicas": replicas}})
}

/// Another manager's value is not overwritten; the refusal names who and what.
pub(crate) async fn a_conflict_names_the_other_manager(client: Client) {
    let one = format!("{ALL}/conflict");
    post(&client, &format!("{ALL}?fieldManager=kubectl-create"), &deployment("conflict", Some(2)))
        .await
        .expect(201);
    let refused = apply(&client, &format!("{one}?fieldManager=penstock"), &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "conflict"}, "spec": {"replicas": 5}})).await.expect(409);
    assert_eq!(
        refused.message(),
        "Apply failed with 1 conflict: conflict with \"kubectl-create\" using apps/v1: .spec.replicas"
    );
    assert_eq!(refused.text("/reason"), "Conflict");
    assert_eq!(
        refused.body["details"],
        json!({"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"kubectl-create\" using apps/v1", "field": ".spec.replicas"}]})
    );
    let forced = apply(&client, &format!("{one}?fieldManager=penstock&force=true"), &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "conflict"}, "spec": {"replicas": 5}})).await.expect(200);
    assert_eq!(forced.body["spec"]["replicas"], 5);
    assert_eq!(fields(&forced.body, "penstock/Apply/"), json!({"f:spec": {"f:replicas": {}}}));
    assert!(fields(&forced.body, "kubectl-create/Update/").pointer("/f:spec/f:replicas").is_none());
    delete(&client, &one, &Value::Null).await.expect(200);
}

/// An apply to `/scale` is recorded as the subresource's, and stands in the way of applies to the whole.
pub(crate) async fn an_apply_to_scale_owns_replicas(client: Client) {
    let one = format!("{ALL}/scaled");
    post(&client, &format!("{ALL}?fieldManager=kubectl-create"), &deployment("scaled", Some(2)))
        .await
        .expect(201);
    let refused =
        apply(&client, &format!("{one}/scale?fieldManager=penstock"), &scale("scaled", 4))
            .await
            .expect(409);
    assert_eq!(
        refused.message(),
        "Apply failed with 1 conflict: conflict with \"kubectl-create\" using autoscaling/v1: .spec.replicas"
    );
    let same = apply(&client, &format!("{one}/scale?fieldManager=penstock"), &scale("scaled", 2))
        .await
        .expect(200);
    assert_eq!(same.body["spec"]["replicas"], 2);
    let object = get(&client, &one).await.expect(200).body;
    assert_eq!(managers(&object)[0], "penstock/Apply/scale");
    assert_eq!(fields(&object, "penstock/Apply/scale"), json!({"f:spec": {"f:replicas": {}}}));
    merge(&client, &format!("{one}?fieldManager=kubectl-edit"), &json!({"spec": {"replicas": 3}}))
        .await
        .expect(200);
    let object = get(&client, &one).await.expect(200).body;
    assert!(fields(&object, "penstock/Apply/scale").is_null(), "{object:#}");
    delete(&client, &one, &Value::Null).await.expect(200);
}

/// Replicas dropped by their only applier fall back to the default; with a second applier they stay.
pub(crate) async fn a_dropped_field_goes_unless_another_holds_it(client: Client) {
    let path = |name: &str, manager: &str| format!("{ALL}/{name}?fieldManager={manager}");
    for (name, held) in [("dropped", false), ("held", true)] {
        apply(&client, &path(name, "git"), &deployment(name, Some(4))).await.expect(201);
        if held {
            apply(&client, &format!("{ALL}/{name}/scale?fieldManager=penstock"), &scale(name, 4))
                .await
                .expect(200);
        }
        let after = apply(&client, &path(name, "git"), &deployment(name, None)).await.expect(200);
        assert_eq!(after.body["spec"]["replicas"], if held { 4 } else { 1 });
        delete(&client, &format!("{ALL}/{name}"), &Value::Null).await.expect(200);
    }
}
