//! Custom kinds: definitions, defaults, pruning, bounds and rules in words, status and generation.

use super::ground::{Ground, rollout};
use serde_json::{Value, json};

const BLOCKED: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

pub(crate) async fn a_definition_is_established_and_discovered(g: Ground) {
    let version = g.define("discovered").await;
    let group = version.trim_end_matches("/v1");
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/rollouts.{group}");
    let definition = g.get(&path).await.expect(200).body;
    let conditions = definition["status"]["conditions"].as_array().unwrap();
    let held: Vec<&str> = conditions
        .iter()
        .filter(|c| c["status"] == "True")
        .filter_map(|c| c["type"].as_str())
        .collect();
    assert_eq!(held, ["NamesAccepted", "Established"]);
    assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(definition["spec"]["names"]["listKind"], "RolloutList");
    let resources = g.get(&format!("/apis/{version}")).await.expect(200).body;
    let names: Vec<&str> = resources["resources"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|r| r["name"].as_str())
        .collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["rollouts", "rollouts/scale", "rollouts/status"]);
    let unknown = g.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("others.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "rollouts", "kind": "Other"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ]}
    })).await.expect(422);
    assert!(
        unknown.message().contains("must be spec.names.plural+\".\"+spec.group"),
        "{}",
        unknown.message()
    );
    g.forget(&version).await;
}

pub(crate) async fn defaults_are_filled_in_and_unknown_fields_go(g: Ground) {
    let version = g.define("defaults").await;
    let all = g.path(&version, "rollouts", "");
    let spec = json!({
        "name": "abc", "mode": null, "foo": 1, "free": {"q": [1, {"z": null}]},
        "stages": [{"name": "x", "bar": 2, "replicas": {"max": 3}}]
    });
    let created = g.post(&all, &rollout(&version, "r", &spec)).await.expect(201);
    assert_eq!(
        created.warnings,
        [
            r#"299 - "unknown field \"spec.foo\"""#,
            r#"299 - "unknown field \"spec.stages[0].bar\"""#
        ]
    );
    assert_eq!(
        created.body["spec"],
        json!({
            "name": "abc", "mode": "Enforce", "free": {"q": [1, {"z": null}]},
            "stages": [{"name": "x", "kind": "A", "replicas": {"min": 1, "max": 3}}]
        })
    );
    assert_eq!(created.body["metadata"]["generation"], 1);
    let strict =
        g.post(&format!("{all}?fieldValidation=Strict"), &rollout(&version, "s", &spec)).await;
    strict.refused(400, "BadRequest", "Rollout in version \"v1\" cannot be handled as a Rollout: strict decoding error: unknown field \"spec.foo\", unknown field \"spec.stages[0].bar\"");
    let patched = g
        .merge(
            &g.path(&version, "rollouts", "r?fieldValidation=Strict"),
            &json!({"spec": {"foo": 1}}),
        )
        .await
        .expect(422);
    assert!(
        patched.message().starts_with(" \"\" is invalid: patch: Invalid value: "),
        "{}",
        patched.message()
    );
    assert!(
        patched.message().ends_with("strict decoding error: unknown field \"spec.foo\""),
        "{}",
        patched.message()
    );
    g.forget(&version).await;
}

pub(crate) async fn each_bound_refuses_in_its_own_words(g: Ground) {
    let version = g.define("bounds").await;
    let group = version.trim_end_matches("/v1");
    let cases = [
        (json!({}), true, "spec.name: Required value"),
        (
            json!({"name": "abcdefghijklm"}),
            true,
            "spec.name: Too long: may not be more than 10 bytes",
        ),
        (
            json!({"name": "a"}),
            false,
            "spec.name: Invalid value: \"a\": spec.name in body should be at least 2 chars long",
        ),
        (
            json!({"name": "AB"}),
            false,
            "spec.name: Invalid value: \"AB\": spec.name in body should match '^[a-z]+$'",
        ),
        (
            json!({"name": 5}),
            true,
            "spec.name: Invalid value: \"integer\": spec.name in body must be of type string: \"integer\"",
        ),
        (
            json!({"name": "abc", "mode": "Foo"}),
            true,
            "spec.mode: Unsupported value: \"Foo\": supported values: \"Enforce\", \"Observe\"",
        ),
        (
            json!({"name": "abc", "stages": {}}),
            true,
            "spec.stages: Invalid value: \"object\": spec.stages in body must be of type array: \"object\"",
        ),
        (
            json!({"name": "abc", "flag": "yes"}),
            true,
            "spec.flag: Invalid value: \"string\": spec.flag in body must be of type boolean: \"string\"",
        ),
        (
            json!({"name": "abc", "replicas": 101}),
            false,
            "spec.replicas: Invalid value: 101: spec.replicas in body should be less than or equal to 100",
        ),
        (
            json!({"name": "abc", "min": -1}),
            false,
            "spec.min: Invalid value: -1: spec.min in body should be greater than or equal to 0",
        ),
        (
            json!({"name": "abc", "ratio": 0.5}),
            false,
            "spec.ratio: Invalid value: 0.5: spec.ratio in body should be greater than 0.5",
        ),
        (
            json!({"name": "abc", "tags": ["a", "b", "c", "d"]}),
            true,
            "spec.tags: Too many: 4: must have at most 3 items",
        ),
        (
            json!({"name": "abc", "atoms": []}),
            false,
            "spec.atoms: Invalid value: 0: spec.atoms in body should have at least 1 items",
        ),
        (json!({"name": "abc", "tags": ["a", "a"]}), false, "spec.tags[1]: Duplicate value: \"a\""),
        (
            json!({"name": "abc", "labels": {"a": "1", "b": "2", "c": "3"}}),
            true,
            "spec.labels: Too many: 3: must have at most 2 items",
        ),
        (
            json!({"name": "abc", "labels": {"a": "123456"}}),
            true,
            "spec.labels.a: Too long: may not be more than 5 bytes",
        ),
        (
            json!({"name": "abc", "port": true}),
            true,
            "spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\"",
        ),
        (
            json!({"name": "abc", "stages": [{"name": "x", "replicas": {}}]}),
            true,
            "spec.stages[0].replicas.max: Required value",
        ),
        (
            json!({"name": "abc", "stages": [{"name": "x", "replicas": {"max": 1}}, {"name": "x", "replicas": {"max": 1}}]}),
            false,
            "spec.stages[1]: Duplicate value: {\"name\":\"x\"}",
        ),
        (
            json!({"name": "abc", "atoms": ["x", null]}),
            true,
            "spec.atoms[1]: Invalid value: \"null\": spec.atoms[1] in body must be of type string: \"null\"",
        ),
    ];
    for (spec, blocks, text) in cases {
        let text = if g.minor < 34 {
            text.replace(": {", ": map[string]interface {}{")
        } else {
            text.to_owned()
        };
        let text = text.as_str();
        let refused =
            g.post(&g.path(&version, "rollouts", ""), &rollout(&version, "r", &spec)).await;
        let all = if blocks { format!("[{text}, {}]", blocked(&g)) } else { text.to_owned() };
        let refused =
            refused.refused(422, "Invalid", &format!("Rollout.{group} \"r\" is invalid: {all}"));
        let (path, message) = text.split_once(": ").unwrap();
        let cause = &refused.body["details"]["causes"][0];
        assert_eq!((&cause["field"], &cause["message"]), (&json!(path), &json!(message)));
        assert_eq!(refused.body["details"]["kind"], "Rollout");
    }
    let several = g
        .post(
            &g.path(&version, "rollouts", ""),
            &rollout(&version, "r", &json!({"name": "abc", "replicas": -1})),
        )
        .await;
    several.refused(422, "Invalid", &format!("Rollout.{group} \"r\" is invalid: [spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0, .spec.replicas: Invalid value: -1: should be a non-negative integer]"));
    g.forget(&version).await;
}

/// That rules were not looked at, because the object's shape was wrong.
fn blocked(g: &Ground) -> String {
    let null = if g.minor < 34 { "\"null\"" } else { "null" };
    format!("<nil>: Invalid value: {null}: {BLOCKED}")
}

/// The value before the words: omitted since 1.34.
fn object_value(g: &Ground) -> &'static str {
    if g.minor < 34 { "Invalid value: \"object\": " } else { "Invalid value: " }
}

pub(crate) async fn rules_refuse_in_their_own_words(g: Ground) {
    let version = g.define("rules").await;
    let group = version.trim_end_matches("/v1");
    let value = object_value(&g);
    for (spec, text) in [
        (
            json!({"name": "abc", "min": 5, "max": 3}),
            format!("spec.min: {value}min must not exceed max"),
        ),
        (
            json!({"name": "abc", "stages": [{"name": "x", "replicas": {"min": 5, "max": 3}}]}),
            format!("spec.stages[0]: {value}max is below min of x"),
        ),
    ] {
        let refused =
            g.post(&g.path(&version, "rollouts", ""), &rollout(&version, "r", &spec)).await;
        let refused =
            refused.refused(422, "Invalid", &format!("Rollout.{group} \"r\" is invalid: {text}"));
        assert_eq!(refused.body["details"]["causes"][0]["reason"], "FieldValueInvalid");
    }
    g.forget(&version).await;
}

pub(crate) async fn a_transition_is_judged_by_what_was(g: Ground) {
    let version = g.define("transitions").await;
    let group = version.trim_end_matches("/v1");
    let (all, one) = (g.path(&version, "rollouts", ""), g.path(&version, "rollouts", "r"));
    let stages = |first: &str, kind: &str| json!([{"name": first, "replicas": {"max": 1}}, {"name": "x", "kind": kind, "replicas": {"max": 3}}]);
    g.post(
        &all,
        &rollout(&version, "r", &json!({"name": "abc", "frozen": "a", "stages": stages("w", "A")})),
    )
    .await
    .expect(201);
    let refused = g.merge(&one, &json!({"spec": {"frozen": "b"}})).await;
    refused.refused(
        422,
        "Invalid",
        &format!("Rollout.{group} \"r\" is invalid: spec: {}frozen is immutable", object_value(&g)),
    );
    // Items are told apart by their keys: a moved one is compared with itself, a new one with nothing.
    g.merge(&one, &json!({"spec": {"stages": [{"name": "new", "kind": "C", "replicas": {"max": 1}}, {"name": "x", "replicas": {"max": 9}}]}})).await.expect(200);
    let refused = g
        .merge(
            &one,
            &json!({"spec": {"stages": [{"name": "x", "kind": "B", "replicas": {"max": 9}}]}}),
        )
        .await;
    let refused = refused.refused(
        422,
        "Invalid",
        &format!(
            "Rollout.{group} \"r\" is invalid: spec.stages[0].kind: Forbidden: kind is immutable"
        ),
    );
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "FieldValueForbidden");
    g.forget(&version).await;
}

pub(crate) async fn spec_and_status_are_written_apart(g: Ground) {
    let version = g.define("apart").await;
    let group = version.trim_end_matches("/v1");
    let (all, one, status) = (
        g.path(&version, "rollouts", ""),
        g.path(&version, "rollouts", "r"),
        g.path(&version, "rollouts", "r/status"),
    );
    let mut object = rollout(&version, "r", &json!({"name": "abc"}));
    object["status"] = json!({"replicas": 1});
    let created = g.post(&all, &object).await.expect(201);
    assert!(created.body.get("status").is_none(), "{:#}", created.body);
    let written = g.merge(&status, &json!({"metadata": {"labels": {"z": "1"}}, "spec": {"min": 3}, "status": {"replicas": 2, "foo": 1}})).await.expect(200);
    assert_eq!(written.body["status"], json!({"replicas": 2}));
    assert_eq!(written.body["spec"], json!({"name": "abc", "mode": "Enforce"}));
    assert!(written.body["metadata"].get("labels").is_none());
    let main =
        g.merge(&one, &json!({"spec": {"min": 3}, "status": {"replicas": 7}})).await.expect(200);
    assert_eq!(
        (&main.body["status"], &main.body["spec"]["min"]),
        (&json!({"replicas": 2}), &json!(3))
    );
    let mut whole = rollout(&version, "r", &json!({"name": "zzz"}));
    whole["metadata"]["resourceVersion"] = json!(main.revision());
    whole["status"] = json!({"replicas": 9});
    let put = g.put(&status, &whole).await.expect(200);
    assert_eq!(
        (&put.body["status"]["replicas"], &put.body["spec"]["name"]),
        (&json!(9), &json!("abc"))
    );
    let wrong = g.merge(&status, &json!({"status": {"observedGeneration": "x"}})).await;
    wrong.refused(422, "Invalid", &format!("Rollout.{group} \"r\" is invalid: [status.observedGeneration: Invalid value: \"string\": observedGeneration in body must be of type integer: \"string\", {}]", blocked(&g)));
    g.forget(&version).await;
}

pub(crate) async fn only_a_changed_spec_is_a_new_generation(g: Ground) {
    let version = g.define("generations").await;
    let one = g.path(&version, "rollouts", "r");
    g.post(&g.path(&version, "rollouts", ""), &rollout(&version, "r", &json!({"name": "abc"})))
        .await
        .expect(201);
    for (path, patch, generation) in [
        (one.clone(), json!({"metadata": {"labels": {"a": "b"}}}), 1),
        (format!("{one}/status"), json!({"status": {"replicas": 1}}), 1),
        (one.clone(), json!({"spec": {"min": 1}}), 2),
        (one.clone(), json!({"spec": {"min": 1}}), 2),
        (one.clone(), json!({"metadata": {"generation": 9}}), 2),
        (format!("{one}/scale"), json!({"spec": {"replicas": 4}}), 3),
    ] {
        g.merge(&path, &patch).await.expect(200);
        assert_eq!(g.get(&one).await.body["metadata"]["generation"], generation, "after {patch}");
    }
    g.forget(&version).await;
}

pub(crate) async fn a_wrong_kind_is_refused(g: Ground) {
    let version = g.define("wrongkind").await;
    let group = version.trim_end_matches("/v1");
    let all = g.path(&version, "rollouts", "");
    let mut other = rollout(&version, "r", &json!({"name": "abc"}));
    other["kind"] = json!("Foo");
    g.post(&all, &other).await.refused(
        422,
        "Invalid",
        &format!("Foo.{group} \"r\" is invalid: kind: Invalid value: \"Foo\": must be Rollout"),
    );
    other["kind"] = json!("Rollout");
    other["apiVersion"] = json!(format!("{group}/v2"));
    g.post(&all, &other).await.refused(400, "BadRequest", &format!("the API version in the data ({group}/v2) does not match the expected API version ({version})"));
    let kindless = g.post(&all, &json!({"metadata": {"name": "r"}})).await;
    kindless.refused(400, "BadRequest", "the object provided is unrecognized (must be of type Rollout): Object 'Kind' is missing in '{\"metadata\":{\"name\":\"r\"}}' ({\"metadata\":{\"name\":\"r\"}})");
    let gone = g.get(&format!("/apis/{group}/v1/namespaces/{}/others", g.namespace)).await;
    assert_eq!((gone.code, &gone.body), (404, &json!("404 page not found\n")));
    let builtin = g.get(&g.path("apps/v1", "others", "")).await;
    builtin.refused(404, "NotFound", "the server could not find the requested resource");
    let nowhere = g.get("/apis/nobody.example.com/v1/things").await;
    assert_eq!((nowhere.code, &nowhere.body), (404, &json!("404 page not found\n")));
    g.forget(&version).await;
}

pub(crate) async fn columns_are_printed_as_defined(g: Ground) {
    let version = g.define("columns").await;
    g.post(
        &g.path(&version, "rollouts", ""),
        &rollout(&version, "r", &json!({"name": "abc", "replicas": 3})),
    )
    .await
    .expect(201);
    let active = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Active", "status": "True"}]}});
    g.merge(&g.path(&version, "rollouts", "r/status"), &active).await.expect(200);
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = g
        .ask_as(http::Method::GET, &g.path(&version, "rollouts", ""), "", accept, &Value::Null)
        .await
        .expect(200)
        .body;
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|c| c["name"].as_str())
        .collect();
    assert_eq!(names, ["Name", "Mode", "Active", "Replicas"]);
    assert_eq!(table["rows"][0]["cells"], json!(["r", "Enforce", "True", 3]));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    g.forget(&version).await;
}
