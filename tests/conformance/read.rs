//! GET and LIST: pages, selectors, forms of answer, discovery.

use super::ground::{Ground, config_map};
use http::Method;
use serde_json::{Value, json};

const SELECT: &str = "labelSelector=of%3Dcase";

async fn fill(g: &Ground, names: &[&str]) {
    for name in names {
        g.post(&g.config_map(""), &config_map(name)).await.expect(201);
    }
}

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect()
}

pub(crate) async fn pages_show_one_moment(g: Ground) {
    fill(&g, &["c0", "c1", "c2", "c3", "c4"]).await;
    let first = g.get(&g.config_map(&format!("?{SELECT}&limit=2"))).await.expect(200);
    assert_eq!(names(&first.body), ["c0", "c1"]);
    assert!(first.body["metadata"].get("remainingItemCount").is_none());
    // What happens between the pages does not show.
    g.delete(&g.config_map("c3"), &Value::Null).await.expect(200);
    g.post(&g.config_map(""), &config_map("c9")).await.expect(201);
    let mut token = first.text("/metadata/continue").to_owned();
    let mut seen = Vec::new();
    while !token.is_empty() {
        let page =
            g.get(&g.config_map(&format!("?{SELECT}&limit=2&continue={token}"))).await.expect(200);
        assert_eq!(page.revision(), first.revision());
        seen.extend(names(&page.body).into_iter().map(str::to_owned));
        page.text("/metadata/continue").clone_into(&mut token);
    }
    assert_eq!(seen, ["c2", "c3", "c4"]);
    let exact = g
        .get(&g.config_map(&format!(
            "?{SELECT}&resourceVersion={}&resourceVersionMatch=Exact",
            first.revision()
        )))
        .await
        .expect(200);
    assert_eq!(names(&exact.body), ["c0", "c1", "c2", "c3", "c4"]);
    let newer = g
        .get(&g.config_map(&format!(
            "?{SELECT}&resourceVersion={}&resourceVersionMatch=NotOlderThan",
            first.revision()
        )))
        .await
        .expect(200);
    assert_eq!(names(&newer.body), ["c0", "c1", "c2", "c4", "c9"]);
    let secrets = g.get(&g.path("v1", "secrets", "?limit=1")).await.expect(200);
    assert_eq!((&secrets.body["kind"], &secrets.body["items"]), (&json!("SecretList"), &json!([])));
}

pub(crate) async fn selectors_choose(g: Ground) {
    fill(&g, &["c0", "c1", "c2"]).await;
    for (query, wanted) in [
        ("labelSelector=n%3Dc1", vec!["c1"]),
        ("labelSelector=n%21%3Dc1,of", vec!["c0", "c2"]),
        ("labelSelector=n+in+(c0,c2)", vec!["c0", "c2"]),
        ("labelSelector=n+notin+(c0,c2),of", vec!["c1"]),
        ("labelSelector=of,%21other", vec!["c0", "c1", "c2"]),
        ("fieldSelector=metadata.name%3Dc2", vec!["c2"]),
        ("fieldSelector=metadata.name%21%3Dc2&labelSelector=of", vec!["c0", "c1"]),
    ] {
        let list = g.get(&g.config_map(&format!("?{query}"))).await.expect(200).body;
        assert_eq!(names(&list), wanted, "{query}");
    }
    let all = g
        .get(&format!(
            "/api/v1/configmaps?fieldSelector=metadata.namespace%3D{}&{SELECT}",
            g.namespace
        ))
        .await
        .expect(200)
        .body;
    assert_eq!(names(&all), ["c0", "c1", "c2"]);
    let unknown = g.get(&g.config_map("?fieldSelector=foo%3Dbar")).await;
    unknown.refused(
        400,
        "BadRequest",
        "\"foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
    );
    let unknown = g.get(&g.path("v1", "pods", "?fieldSelector=spec.foo%3Dbar")).await;
    unknown.refused(400, "BadRequest", "field label not supported: spec.foo");
    g.get(&g.path("v1", "pods", "?fieldSelector=spec.nodeName%3Dn,status.phase%3DRunning"))
        .await
        .expect(200);
    let nonsense = g.get(&g.config_map("?labelSelector=n+foo")).await;
    nonsense.refused(
        400,
        "BadRequest",
        "unable to parse requirement: found 'foo', expected: in, notin, =, ==, !=, gt, lt",
    );
}

pub(crate) async fn metadata_alone_is_served(g: Ground) {
    fill(&g, &["c0"]).await;
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = g
        .ask_as(Method::GET, &g.config_map(&format!("?{SELECT}")), "", accept, &Value::Null)
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("PartialObjectMetadataList"), &json!("meta.k8s.io/v1"))
    );
    let item = &list["items"][0];
    assert_eq!(
        (&item["kind"], &item["metadata"]["labels"]["n"]),
        (&json!("PartialObjectMetadata"), &json!("c0"))
    );
    assert!(item.get("data").is_none());
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let one =
        g.ask_as(Method::GET, &g.config_map("c0"), "", accept, &Value::Null).await.expect(200).body;
    assert_eq!((&one["kind"], one.get("data")), (&json!("PartialObjectMetadata"), None));
    let whole = g.get(&g.config_map(&format!("?{SELECT}"))).await.expect(200).body;
    assert!(
        whole["items"][0].get("kind").is_none(),
        "items of built-in lists do not repeat their kind"
    );
    let other = g
        .ask_as(Method::GET, &g.config_map(""), "", "application/foo", &Value::Null)
        .await
        .expect(406);
    assert_eq!(other.text("/reason"), "NotAcceptable");
}

pub(crate) async fn tables_have_their_columns(g: Ground) {
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    for (version, plural, wanted) in [
        (
            "apps/v1",
            "deployments",
            vec![
                "Name",
                "Ready",
                "Up-to-date",
                "Available",
                "Age",
                "Containers",
                "Images",
                "Selector",
            ],
        ),
        ("apps/v1", "statefulsets", vec!["Name", "Ready", "Age", "Containers", "Images"]),
        (
            "apps/v1",
            "replicasets",
            vec!["Name", "Desired", "Current", "Ready", "Age", "Containers", "Images", "Selector"],
        ),
        (
            "v1",
            "pods",
            vec![
                "Name",
                "Ready",
                "Status",
                "Restarts",
                "Age",
                "IP",
                "Node",
                "Nominated Node",
                "Readiness Gates",
            ],
        ),
        ("v1", "configmaps", vec!["Name", "Data", "Age"]),
        ("coordination.k8s.io/v1", "leases", vec!["Name", "Holder", "Age"]),
    ] {
        let table = g
            .ask_as(Method::GET, &g.path(version, plural, ""), "", accept, &Value::Null)
            .await
            .expect(200)
            .body;
        let names: Vec<&str> = table["columnDefinitions"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|c| c["name"].as_str())
            .collect();
        assert_eq!(names, wanted, "{plural}");
    }
    fill(&g, &["c0"]).await;
    let one =
        g.ask_as(Method::GET, &g.config_map("c0"), "", accept, &Value::Null).await.expect(200).body;
    assert_eq!(
        one["rows"][0]["cells"].as_array().map(|cells| (cells[0].clone(), cells[1].clone())),
        Some((json!("c0"), json!(1)))
    );
}

pub(crate) async fn wrong_lists_are_refused(g: Ground) {
    let list = |query: &str| g.config_map(&format!("?{query}"));
    let forbidden = |when: &str| {
        format!(
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden {when}"
        )
    };
    g.get(&list("resourceVersionMatch=Exact")).await.refused(
        422,
        "Invalid",
        &forbidden("unless resourceVersion is provided"),
    );
    let text = "invalid resource version: resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax";
    g.get(&list("resourceVersion=abc")).await.refused(400, "BadRequest", text);
    let broken = g.get(&list("limit=1&continue=zzz")).await.expect(400);
    assert!(
        broken.message().starts_with("invalid continue token: continue key is not valid: "),
        "{}",
        broken.message()
    );
}

pub(crate) async fn a_revision_to_come_is_too_large(g: Ground) {
    let refused = g.get(&g.config_map("?resourceVersion=99999999999")).await.expect(504);
    assert!(
        refused
            .message()
            .starts_with("Timeout: Too large resource version: 99999999999, current: "),
        "{}",
        refused.message()
    );
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

pub(crate) async fn discovery_names_every_kind(g: Ground) {
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let mut found = Vec::new();
    for path in ["/api", "/apis"] {
        let list = g.ask_as(Method::GET, path, "", accept, &Value::Null).await.expect(200).body;
        assert_eq!(list["kind"], "APIGroupDiscoveryList");
        for group in list["items"].as_array().unwrap() {
            for version in group["versions"].as_array().unwrap() {
                let name = format!(
                    "{}/{}",
                    group["metadata"]["name"].as_str().unwrap_or_default(),
                    version["version"].as_str().unwrap()
                );
                found.extend(
                    version["resources"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|r| format!("{name}/{}", r["resource"].as_str().unwrap())),
                );
            }
        }
    }
    for kind in [
        "/v1/namespaces",
        "/v1/pods",
        "/v1/events",
        "/v1/configmaps",
        "/v1/secrets",
        "/v1/services",
        "/v1/serviceaccounts",
        "/v1/nodes",
        "apps/v1/deployments",
        "apps/v1/statefulsets",
        "apps/v1/replicasets",
        "batch/v1/jobs",
        "batch/v1/cronjobs",
        "autoscaling/v2/horizontalpodautoscalers",
        "coordination.k8s.io/v1/leases",
        "events.k8s.io/v1/events",
        "apiextensions.k8s.io/v1/customresourcedefinitions",
        "authorization.k8s.io/v1/selfsubjectaccessreviews",
        "authorization.k8s.io/v1/subjectaccessreviews",
        "authentication.k8s.io/v1/tokenreviews",
        "authentication.k8s.io/v1/selfsubjectreviews",
    ] {
        assert!(found.contains(&kind.to_owned()), "{kind} is not discovered");
    }
    let legacy = g.get("/apis/apps/v1").await.expect(200).body;
    let scale = legacy["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["name"] == "deployments/scale")
        .unwrap();
    assert_eq!(
        (&scale["group"], &scale["version"], &scale["kind"]),
        (&json!("autoscaling"), &json!("v1"), &json!("Scale"))
    );
    let groups = g.get("/apis").await.expect(200).body;
    assert!(groups["groups"].as_array().unwrap().iter().any(|group| group["name"] == "apps"));
    assert_eq!(g.get("/version").await.expect(200).body["major"], "1");
    assert_eq!(g.get("/readyz").await.expect(200).body, "ok");
}
