//! WATCH: from a revision, through selections, with bookmarks, in forms.

use super::ground::{Ground, config_map};
use serde_json::{Value, json};

const SELECT: &str = "labelSelector=of%3Dcase&watch=true";

fn told(events: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .map(|event| (text(&event["type"]), text(&event["object"]["metadata"]["name"])))
        .collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned())).collect()
}

pub(crate) async fn a_watch_follows_from_a_revision(g: Ground) {
    g.post(&g.config_map(""), &config_map("c0")).await.expect(201);
    let from = g.get(&g.config_map("")).await.expect(200).revision();
    g.post(&g.config_map(""), &config_map("c1")).await.expect(201);
    let changed = g.merge(&g.config_map("c0"), &json!({"data": {"a": "2"}})).await.expect(200);
    g.delete(&g.config_map("c1"), &Value::Null).await.expect(200);
    let events = g
        .watch(&g.config_map(&format!("?{SELECT}&resourceVersion={from}&timeoutSeconds=2")), "", 9)
        .await;
    assert_eq!(told(&events), pairs(&[("ADDED", "c1"), ("MODIFIED", "c0"), ("DELETED", "c1")]));
    assert_eq!(
        events[1]["object"]["metadata"]["resourceVersion"],
        changed.body["metadata"]["resourceVersion"]
    );
    assert_eq!(
        (&events[0]["object"]["kind"], &events[0]["object"]["apiVersion"]),
        (&json!("ConfigMap"), &json!("v1"))
    );
    let last: u64 =
        events[2]["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(last > changed.revision().parse().unwrap(), "a deletion has a revision of its own");
    let all = g.watch(&g.config_map(&format!("?{SELECT}&timeoutSeconds=1")), "", 9).await;
    assert_eq!(told(&all), pairs(&[("ADDED", "c0")]));
    let one = g
        .watch(
            &g.config_map(
                "?watch=true&fieldSelector=metadata.name%3Dc0&resourceVersion=0&timeoutSeconds=1",
            ),
            "",
            9,
        )
        .await;
    assert_eq!(told(&one), pairs(&[("ADDED", "c0")]));
}

pub(crate) async fn leaving_a_selection_is_a_deletion(g: Ground) {
    g.post(&g.config_map(""), &config_map("c0")).await.expect(201);
    let from = g.get(&g.config_map("")).await.expect(200).revision();
    let left = g
        .merge(&g.config_map("c0"), &json!({"metadata": {"labels": {"of": "none"}}}))
        .await
        .expect(200);
    g.merge(&g.config_map("c0"), &json!({"data": {"a": "unseen"}})).await.expect(200);
    g.merge(&g.config_map("c0"), &json!({"metadata": {"labels": {"of": "case"}}}))
        .await
        .expect(200);
    let events = g
        .watch(&g.config_map(&format!("?{SELECT}&resourceVersion={from}&timeoutSeconds=2")), "", 9)
        .await;
    assert_eq!(told(&events), pairs(&[("DELETED", "c0"), ("ADDED", "c0")]));
    let gone = &events[0]["object"]["metadata"];
    assert_eq!(
        (&gone["labels"]["of"], &gone["resourceVersion"]),
        (&json!("case"), &json!(left.revision()))
    );
}

pub(crate) async fn an_initial_list_ends_with_a_bookmark(g: Ground) {
    g.post(&g.config_map(""), &config_map("c0")).await.expect(201);
    g.post(&g.config_map(""), &config_map("c1")).await.expect(201);
    let query =
        format!("?{SELECT}&allowWatchBookmarks=true&sendInitialEvents=true&timeoutSeconds=5");
    if g.minor < 34 {
        let refused =
            g.get(&g.config_map(&format!("{query}&resourceVersionMatch=NotOlderThan"))).await;
        refused.refused(422, "Invalid", "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled");
        return;
    }
    let events =
        g.watch(&g.config_map(&format!("{query}&resourceVersionMatch=NotOlderThan")), "", 3).await;
    assert_eq!(told(&events), pairs(&[("ADDED", "c0"), ("ADDED", "c1"), ("BOOKMARK", "")]));
    let end = &events[2]["object"];
    assert_eq!((&end["kind"], &end["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert_eq!(end["metadata"]["annotations"], json!({"k8s.io/initial-events-end": "true"}));
    let refused = g.get(&g.config_map(&query)).await.expect(422);
    assert!(
        refused.message().starts_with(
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: "
        ),
        "{}",
        refused.message()
    );
}

pub(crate) async fn a_bookmark_carries_the_revision(g: Ground) {
    g.post(&g.config_map(""), &config_map("c0")).await.expect(201);
    let from = g.get(&g.config_map("")).await.expect(200).revision();
    let mut other = config_map("other");
    other["metadata"]["labels"] = json!({});
    // One comes at the latest when the watch is about to end, and tells of what the selection hides.
    let query =
        format!("?{SELECT}&allowWatchBookmarks=true&resourceVersion={from}&timeoutSeconds=6");
    let path = g.config_map(&query);
    let hidden = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        g.post(&g.config_map(""), &other).await.expect(201).revision()
    };
    let (events, unseen) = tokio::join!(g.watch(&path, "", 9), hidden);
    let mark = events.iter().find(|event| event["type"] == "BOOKMARK").expect("a bookmark");
    let revision: u64 =
        mark["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(revision >= unseen.parse().unwrap());
    assert!(mark["object"]["metadata"].get("name").is_none());
    let plain = g
        .watch(&g.config_map(&format!("?{SELECT}&resourceVersion={from}&timeoutSeconds=1")), "", 9)
        .await;
    assert!(plain.is_empty(), "{plain:?}");
}

pub(crate) async fn a_metadata_watch_follows(g: Ground) {
    let from = g.get(&g.config_map("")).await.expect(200).revision();
    g.post(&g.config_map(""), &config_map("c0")).await.expect(201);
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let events = g
        .watch(
            &g.config_map(&format!("?{SELECT}&resourceVersion={from}&timeoutSeconds=1")),
            accept,
            9,
        )
        .await;
    assert_eq!(told(&events), pairs(&[("ADDED", "c0")]));
    let object = &events[0]["object"];
    assert_eq!(
        (&object["kind"], &object["apiVersion"]),
        (&json!("PartialObjectMetadata"), &json!("meta.k8s.io/v1"))
    );
    assert!(object.get("data").is_none());
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let rows = g
        .watch(
            &g.config_map(&format!("?{SELECT}&resourceVersion={from}&timeoutSeconds=1")),
            accept,
            9,
        )
        .await;
    assert_eq!(
        (&rows[0]["object"]["kind"], &rows[0]["object"]["rows"][0]["cells"][0]),
        (&json!("Table"), &json!("c0"))
    );
}
