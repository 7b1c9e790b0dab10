//! 410: what is asked of a past that the server has forgotten. Told in two halves, since each tier makes its server forget in its own
//! way in between: the in-memory API is told to, the real one's etcd is compacted and its cache begun anew.

use super::ground::{Ground, config_map};
use serde_json::json;

const SELECT: &str = "labelSelector=of%3Dcase";

/// A moment to come back to.
#[derive(Debug)]
pub(crate) struct Moment {
    revision: String,
    /// Where a list by pages was left off.
    token: String,
}

/// Five objects, a list of them that is left off after two, and a change since then.
pub(crate) async fn remember(g: &Ground) -> Moment {
    for name in ["c0", "c1", "c2", "c3", "c4"] {
        g.post(&g.config_map(""), &config_map(name)).await.expect(201);
    }
    let first = g.get(&g.config_map(&format!("?{SELECT}&limit=2"))).await.expect(200);
    g.merge(&g.config_map("c3"), &json!({"data": {"a": "changed"}})).await.expect(200);
    Moment { revision: first.revision(), token: first.text("/metadata/continue").to_owned() }
}

/// Has the server forgotten it? Changes something else, so that there is always something to forget.
pub(crate) async fn is_forgotten(g: &Ground, moment: &Moment) -> bool {
    let value = json!({"data": {"b": fastrand::u64(..).to_string()}});
    g.merge(&g.config_map("c4"), &value).await.expect(200);
    let path = g.config_map(&format!("?{SELECT}&limit=2&continue={}", moment.token));
    g.get(&path).await.code == 410
}

/// Whoever asks for it is told so, and how to go on.
pub(crate) async fn a_forgotten_past_has_expired(g: &Ground, moment: &Moment) {
    let Moment { revision, token } = moment;
    let query = format!("?{SELECT}&watch=true&resourceVersion={revision}&timeoutSeconds=5");
    let events = g.watch(&g.config_map(&query), "", 9).await;
    assert_eq!(events.len(), 1, "{events:#?}");
    let (kind, status) = (&events[0]["type"], &events[0]["object"]);
    assert_eq!((kind, &status["kind"]), (&json!("ERROR"), &json!("Status")));
    assert_eq!((&status["code"], &status["reason"]), (&json!(410), &json!("Expired")));
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.starts_with(&format!("too old resource version: {revision} (")), "{message}");

    let exact = format!("?{SELECT}&resourceVersion={revision}&resourceVersionMatch=Exact");
    let exact = g.get(&g.config_map(&exact)).await;
    exact.refused(410, "Expired", "The resourceVersion for the provided list is too old.");

    let next = |token: &str| g.config_map(&format!("?{SELECT}&limit=2&continue={token}"));
    let expired = g.get(&next(token)).await.expect(410);
    assert_eq!(expired.text("/reason"), "Expired");
    let start = "The provided continue parameter is too old to display a consistent list result.";
    assert!(expired.message().starts_with(start), "{}", expired.message());
    // What comes now is the rest as it is, not as it was.
    let rest = g.get(&next(expired.text("/metadata/continue"))).await.expect(200).body;
    assert_eq!(rest["items"][0]["metadata"]["name"], "c2");
    assert_eq!(rest["items"][1]["data"]["a"], "changed");
    g.watch(&g.config_map(&format!("?{SELECT}&watch=true&timeoutSeconds=1")), "", 5)
        .await
        .iter()
        .for_each(|event| assert_eq!(event["type"], "ADDED"));
}
