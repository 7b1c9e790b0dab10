//! Create, update, delete: names, revisions, uids, preconditions, finalizers, and who owns what by a plain write.

use super::ground::{Ground, config_map, deployment, fields, managers};
use serde_json::{Value, json};

const FOREIGN: &str = "11111111-1111-1111-1111-111111111111";

pub(crate) async fn a_name_is_taken_once(g: Ground) {
    g.post(&g.deployment(""), &deployment("web", Some(0))).await.expect(201);
    let again = g.post(&g.deployment(""), &deployment("web", Some(0))).await;
    let again = again.refused(409, "AlreadyExists", "deployments.apps \"web\" already exists");
    assert_eq!(
        again.body["details"],
        json!({"name": "web", "group": "apps", "kind": "deployments"})
    );
    let missing = g.get(&g.config_map("none")).await.refused(
        404,
        "NotFound",
        "configmaps \"none\" not found",
    );
    assert_eq!(missing.body["details"], json!({"name": "none", "kind": "configmaps"}));
    let nameless = g.post(&g.config_map(""), &json!({"metadata": {}})).await;
    nameless.refused(422, "Invalid", "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required");
}

pub(crate) async fn a_name_is_made_up_from_its_stem(g: Ground) {
    let made = g
        .post(&g.config_map(""), &json!({"metadata": {"generateName": "stem-"}}))
        .await
        .expect(201);
    let name = made.text("/metadata/name");
    assert!(name.starts_with("stem-") && name.len() == 10, "{name}");
    assert_eq!(made.body["metadata"]["generateName"], "stem-");
    assert!(
        !made.text("/metadata/uid").is_empty()
            && !made.text("/metadata/creationTimestamp").is_empty()
    );
}

pub(crate) async fn a_stale_update_is_refused(g: Ground) {
    let created = g.post(&g.config_map(""), &config_map("c")).await.expect(201);
    let mut object = config_map("c");
    object["metadata"]["resourceVersion"] = json!(created.revision());
    object["data"] = json!({"a": "2"});
    let changed = g.put(&g.config_map("c"), &object).await.expect(200);
    assert_ne!(changed.revision(), created.revision());
    let message = "Operation cannot be fulfilled on configmaps \"c\": the object has been modified; please apply your changes to the latest version and try again";
    g.put(&g.config_map("c"), &object).await.refused(409, "Conflict", message);
    g.merge(
        &g.config_map("c"),
        &json!({"metadata": {"resourceVersion": created.revision()}, "data": {"a": "3"}}),
    )
    .await
    .refused(409, "Conflict", message);
    let elsewhere = g.put(&g.config_map("c"), &config_map("d")).await;
    elsewhere.refused(
        400,
        "BadRequest",
        "the name of the object (d) does not match the name on the URL (c)",
    );
}

pub(crate) async fn a_foreign_uid_is_refused(g: Ground) {
    g.post(&g.config_map(""), &config_map("c")).await.expect(201);
    let patch = json!({"metadata": {"uid": FOREIGN}, "data": {"a": "2"}});
    let message = format!(
        "ConfigMap \"c\" is invalid: metadata.uid: Invalid value: \"{FOREIGN}\": field is immutable"
    );
    g.merge(&g.config_map("c"), &patch).await.refused(422, "Invalid", &message);
    let mut object = config_map("c");
    object["metadata"]["uid"] = json!(FOREIGN);
    let refused = g.put(&g.config_map("c"), &object).await.expect(409);
    let start = "Operation cannot be fulfilled on configmaps \"c\": StorageError: invalid object, Code: 4, Key: /registry/configmaps/";
    assert!(refused.message().starts_with(start), "{}", refused.message());
}

pub(crate) async fn a_dry_run_changes_nothing(g: Ground) {
    let created = g.post(&g.config_map(""), &config_map("c")).await.expect(201);
    let dry =
        g.merge(&g.config_map("c?dryRun=All"), &json!({"data": {"a": "2"}})).await.expect(200);
    assert_eq!(dry.body["data"]["a"], "2");
    g.post(&g.config_map("?dryRun=All"), &config_map("d")).await.expect(201);
    g.get(&g.config_map("d")).await.expect(404);
    g.delete(&g.config_map("c?dryRun=All"), &Value::Null).await.expect(200);
    assert_eq!(g.get(&g.config_map("c")).await.expect(200).revision(), created.revision());
}

pub(crate) async fn a_delete_holds_to_its_preconditions(g: Ground) {
    let created = g.post(&g.config_map(""), &config_map("c")).await.expect(201);
    g.delete(&g.config_map("c"), &json!({"preconditions": {"uid": FOREIGN}})).await.expect(409);
    let other = g
        .delete(&g.config_map("c"), &json!({"preconditions": {"resourceVersion": "1"}}))
        .await
        .expect(409);
    if g.minor >= 34 {
        let message = format!(
            "Operation cannot be fulfilled on ConfigMap \"c\": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ({}). The object might have been modified",
            created.revision()
        );
        assert_eq!(other.message(), message);
    }
    let uid = created.text("/metadata/uid").to_owned();
    let gone =
        g.delete(&g.config_map("c"), &json!({"preconditions": {"uid": uid}})).await.expect(200);
    assert_eq!(gone.body["status"], "Success");
    assert_eq!(gone.body["details"], json!({"name": "c", "kind": "configmaps", "uid": uid}));
    g.delete(&g.config_map("c"), &Value::Null).await.refused(
        404,
        "NotFound",
        "configmaps \"c\" not found",
    );
}

pub(crate) async fn finalizers_hold_an_object(g: Ground) {
    let mut object = config_map("c");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    g.post(&g.config_map(""), &object).await.expect(201);
    let going = g.delete(&g.config_map("c"), &Value::Null).await.expect(200);
    assert!(!going.text("/metadata/deletionTimestamp").is_empty(), "{:#}", going.body);
    assert_eq!(going.body["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = g.post(&g.config_map(""), &config_map("c")).await;
    again.refused(409, "AlreadyExists", "object is being deleted: configmaps \"c\" already exists");
    let more = g
        .merge(
            &g.config_map("c"),
            &json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}),
        )
        .await;
    more.refused(422, "Invalid", "ConfigMap \"c\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"example.com/more\"}");
    g.merge(&g.config_map("c"), &json!({"data": {"still": "here"}})).await.expect(200);
    g.merge(&g.config_map("c"), &json!({"metadata": {"finalizers": null}})).await.expect(200);
    g.get(&g.config_map("c")).await.expect(404);
}

pub(crate) async fn a_missing_namespace_is_named(g: Ground) {
    let path = "/api/v1/namespaces/never-made/configmaps";
    g.post(path, &config_map("c")).await.refused(
        404,
        "NotFound",
        "namespaces \"never-made\" not found",
    );
    assert_eq!(g.get(path).await.expect(200).body["items"], json!([]));
    let mut object = config_map("c");
    object["metadata"]["namespace"] = json!("never-made");
    let message =
        "the namespace of the provided object does not match the namespace sent on the request";
    g.post(&g.config_map(""), &object).await.refused(400, "BadRequest", message);
}

pub(crate) async fn nonsense_is_refused_with_words(g: Ground) {
    let wrong = g
        .post(
            &g.deployment(""),
            &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}),
        )
        .await;
    wrong.refused(400, "BadRequest", "Pod in version \"v1\" cannot be handled as a Deployment: converting (v1.Pod) to (apps.Deployment): unknown conversion");
    let method = g.post(&g.config_map("c"), &config_map("c")).await;
    method.refused(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    );
    let media = g.ask(http::Method::PATCH, &g.config_map("c"), "application/foo", &json!({})).await;
    media.refused(415, "UnsupportedMediaType", "415: Unsupported Media Type");
    let strict = g
        .post(
            &g.deployment("?fieldValidation=Strict"),
            &json!({"metadata": {"name": "w"}, "spec": {"foo": 1}}),
        )
        .await;
    strict.refused(400, "BadRequest", "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \"spec.foo\"");
    let name = g.post(&g.config_map(""), &config_map("A_b")).await.expect(422);
    assert!(name.message().starts_with("ConfigMap \"A_b\" is invalid: metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain"), "{}", name.message());
}

pub(crate) async fn an_update_that_changes_nothing_is_no_write(g: Ground) {
    let created = g.post(&g.config_map(""), &config_map("c")).await.expect(201);
    let same = g
        .merge(&g.config_map("c?fieldManager=other"), &json!({"data": {"a": "c"}}))
        .await
        .expect(200);
    assert_eq!(same.revision(), created.revision());
    let same = g.put(&g.config_map("c"), &config_map("c")).await.expect(200);
    assert_eq!(same.revision(), created.revision());
    let changed = g.merge(&g.config_map("c"), &json!({"data": {"a": "d"}})).await.expect(200);
    let later: (u64, u64) =
        (changed.revision().parse().unwrap(), created.revision().parse().unwrap());
    assert!(later.0 > later.1);
}

pub(crate) async fn plain_writers_own_what_they_change(g: Ground) {
    let created = g.post(&g.config_map(""), &config_map("c")).await.expect(201);
    assert_eq!(managers(&created.body), ["conformance/Update/"]);
    let all = json!({"f:data": {".": {}, "f:a": {}}, "f:metadata": {"f:labels": {".": {}, "f:n": {}, "f:of": {}}}});
    assert_eq!(fields(&created.body, "conformance/Update/"), all);
    let taken = g
        .merge(&g.config_map("c?fieldManager=other"), &json!({"data": {"a": "2", "b": "3"}}))
        .await
        .expect(200);
    assert_eq!(fields(&taken.body, "other/Update/"), json!({"f:data": {"f:a": {}, "f:b": {}}}));
    assert_eq!(fields(&taken.body, "conformance/Update/")["f:data"], json!({}));
    let web = g.post(&g.deployment(""), &deployment("web", Some(0))).await.expect(201);
    assert_eq!(
        fields(&web.body, "conformance/Update/"),
        json!({"f:spec": {
            "f:progressDeadlineSeconds": {}, "f:replicas": {}, "f:revisionHistoryLimit": {}, "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:containers": {"k:{\"name\":\"main\"}": {
                        ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {},
                        "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {}
                    }},
                    "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {}, "f:securityContext": {}, "f:terminationGracePeriodSeconds": {}
                }
            }
        }})
    );
}
