//! Writes to `/scale`: what is sent, and what each answer comes to. The texts of failures are those of a real kube-apiserver.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use penstock::act::{Act, Grant, LONGEST, Licence};
use penstock::clock::Clock;
use penstock::decide::{
    Action, Compare, Ending, ForeignWriter, GiveUpFirst, Grip, HoldDrain, LetGo, Outcome,
    PipelineId, PodCost, PodSeen, Reason, Scale, StageId, TargetId, Term, Writing,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep};
use tower::BoxError;

use crate::script::{Answer, Asked, Record, client, failure};

pub(crate) fn scale(kind: &str, name: &str) -> Scale {
    let (api_version, writing) = match kind {
        "Deployment" | "StatefulSet" | "ReplicaSet" => ("apps/v1", Writing::Apply),
        _ => ("example.com/v1", Writing::Merge),
    };
    Scale {
        lane: None,
        stage: StageId {
            pipeline: PipelineId { namespace: "shop".into(), name: "orders".into() },
            index: 0,
            name: "enrich".into(),
        },
        target: TargetId {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: "shop".into(),
            name: name.into(),
            part: None,
        },
        uid: "u-1".into(),
        resource_version: "41".into(),
        writing,
        from: 1,
        to: 24,
        force: false,
        why: Reason::Learning { replicas: 24 },
    }
}

fn scaled() -> Answer {
    let metadata =
        json!({"name": "enrich", "namespace": "shop", "uid": "u-1", "resourceVersion": "42"});
    (200, json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata}))
}

struct Hands {
    act: Act,
    record: Record,
    outcomes: UnboundedReceiver<Outcome>,
    licence: Licence,
    grant: Grant,
}

impl Hands {
    fn new<F, R>(answer: F) -> Self
    where
        F: Fn(Asked) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<Answer, BoxError>> + Send + 'static,
    {
        let (client, record) = client(answer);
        Self::of(client, record)
    }

    fn of(client: kube::Client, record: Record) -> Self {
        let (sender, outcomes) = unbounded_channel();
        let (grant, licence) = Licence::new();
        grant.renew(Instant::now());
        Self { act: Act::new(client, Clock::start(), sender), record, outcomes, licence, grant }
    }

    async fn ending(&mut self, action: Action) -> Ending {
        self.act.start(std::slice::from_ref(&action), &self.licence);
        let outcome = self.outcomes.recv().await.unwrap();
        assert_eq!(outcome.action, action);
        assert!(self.act.in_flight().is_empty(), "landed");
        outcome.result
    }

    fn asked(&self) -> Vec<Asked> {
        self.record.lock().unwrap().clone()
    }
}

async fn ending_of(answer: Answer) -> Ending {
    let mut hands = Hands::new(move |_| std::future::ready(Ok(answer.clone())));
    let ending = hands.ending(Action::Scale(scale("Deployment", "enrich"))).await;
    assert_eq!(hands.asked().len(), 1, "one request, whatever the answer");
    ending
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_scaled_by_one_apply_that_carries_what_it_was_decided_on() {
    let mut hands = Hands::new(|_| std::future::ready(Ok(scaled())));
    let ending = hands.ending(Action::Scale(scale("Deployment", "enrich"))).await;
    assert_eq!(ending, Ending::Done { resource_version: "42".into() });
    let asked = hands.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].method, "PATCH");
    assert_eq!(
        asked[0].uri,
        "/apis/apps/v1/namespaces/shop/deployments/enrich/scale?fieldManager=penstock&force=false"
    );
    assert_eq!(asked[0].content_type, "application/apply-patch+yaml");
    assert_eq!(
        asked[0].body,
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": "enrich", "namespace": "shop", "uid": "u-1", "resourceVersion": "41"},
            "spec": {"replicas": 24},
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_applies_the_present_count_and_never_by_force() {
    let mut hands = Hands::new(|_| std::future::ready(Ok(scaled())));
    let claim = Scale { force: true, ..scale("StatefulSet", "enrich") };
    hands.ending(Action::Claim(claim)).await;
    let asked = hands.asked();
    assert_eq!(asked[0].body["spec"]["replicas"], json!(1));
    assert!(asked[0].uri.contains("/statefulsets/enrich/scale?"), "{}", asked[0].uri);
    assert!(asked[0].uri.ends_with("force=false"), "{}", asked[0].uri);
}

#[tokio::test(start_paused = true)]
async fn force_is_sent_only_where_decide_asked_for_it() {
    let mut hands = Hands::new(|_| std::future::ready(Ok(scaled())));
    let forced = Scale { force: true, ..scale("Deployment", "enrich") };
    hands.ending(Action::Scale(forced)).await;
    assert!(hands.asked()[0].uri.ends_with("force=true"));
}

/// Three pods to be told, the last of them no more.
fn told() -> Action {
    let cost = |pod: &str, version, cost| PodCost { pod: pod.into(), version, cost };
    let scale = Scale { from: 3, to: 3, ..scale("Deployment", "enrich") };
    let costs = vec![cost("a", 7, Some(-1000)), cost("b", 8, Some(-1000)), cost("c", 9, None)];
    Action::GiveUpFirst(GiveUpFirst { scale, costs })
}

#[tokio::test(start_paused = true)]
async fn pods_are_told_to_go_first_one_by_one_as_they_were_seen() {
    // One has moved, and one is gone: that is for the watch to show.
    let mut hands = Hands::new(|asked: Asked| {
        let answer = match asked.body["metadata"]["resourceVersion"].as_str() {
            Some("8") => failure(409, "Conflict", "the object has been modified", &json!([])),
            Some("9") => failure(404, "NotFound", "pods \"c\" not found", &json!([])),
            _ => (200, json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}})),
        };
        std::future::ready(Ok(answer))
    });
    assert_eq!(hands.ending(told()).await, Ending::Done { resource_version: "41".into() });
    let asked = hands.asked();
    let first = asked.iter().find(|asked| asked.uri.contains("/pods/a")).unwrap();
    assert_eq!(first.uri, "/api/v1/namespaces/shop/pods/a?fieldManager=penstock-scalein");
    assert_eq!(
        (first.method.as_str(), first.content_type.as_str()),
        ("PATCH", "application/merge-patch+json")
    );
    let cost =
        |cost: serde_json::Value| json!({"controller.kubernetes.io/pod-deletion-cost": cost});
    assert_eq!(
        first.body,
        json!({"metadata": {"resourceVersion": "7", "annotations": cost(json!("-1000"))}})
    );
    let last = asked.iter().find(|asked| asked.uri.contains("/pods/c")).unwrap();
    assert_eq!(last.body["metadata"]["annotations"], cost(json!(null)));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_tell_pods_is_told_so() {
    let refusal = failure(403, "Forbidden", "pods \"a\" is forbidden", &json!([]));
    let mut hands = Hands::new(move |_| std::future::ready(Ok(refusal.clone())));
    let message = "pods \"a\" is forbidden".to_owned();
    assert_eq!(hands.ending(told()).await, Ending::Refused { code: 403, message });
}

fn held(seen: Option<(&str, &str)>, grip: Option<Grip>) -> Action {
    let scale = scale("Deployment", "enrich");
    let app = Term { key: "app".into(), operator: Compare::In, values: vec!["enrich".into()] };
    Action::HoldDrain(HoldDrain {
        scale: Scale { from: 3, to: 3, ..scale },
        budget: "penstock-deployment-enrich".into(),
        uid: seen.map(|(uid, _)| uid.into()),
        version: seen.map(|(_, version)| version.into()),
        grip,
        selector: vec![app],
        owner: "u-orders".into(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_made_whole_changed_as_it_was_seen_and_goes_by_its_uid() {
    const ALL: &str = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets";
    let mut hands = Hands::new(|_| std::future::ready(Ok(scaled())));
    let until = "2026-01-01T00:03:00Z".parse().unwrap();
    let tight = Grip::Tight { least: 7, until };
    for action in [
        held(None, Some(Grip::Loose)),
        held(Some(("u-b", "12")), Some(tight)),
        held(Some(("u-b", "13")), Some(Grip::Loose)),
        held(Some(("u-b", "14")), None),
    ] {
        assert_eq!(hands.ending(action).await, Ending::Done { resource_version: "42".into() });
    }
    let asked = hands.asked();
    let [made, tightened, loosened, gone] = asked.as_slice() else { panic!("{asked:?}") };
    let owner = json!([{
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline", "name": "orders", "uid": "u-orders",
    }]);
    // What others may have put beside it is taken away.
    let terms = json!([{"key": "app", "operator": "In", "values": ["enrich"]}]);
    let selector = json!({"matchLabels": null, "matchExpressions": terms});
    assert_eq!(
        (made.method.as_str(), &*made.uri),
        ("POST", &*format!("{ALL}?fieldManager=penstock-drain"))
    );
    assert_eq!(
        made.body,
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "penstock-deployment-enrich", "labels": {"penstock.dev/drain": "held"}, "ownerReferences": owner},
            "spec": {
                "minAvailable": null, "maxUnavailable": 1, "selector": selector, "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        })
    );
    let one = format!("{ALL}/penstock-deployment-enrich");
    assert_eq!(
        (tightened.method.as_str(), &*tightened.uri),
        ("PATCH", &*format!("{one}?fieldManager=penstock-drain"))
    );
    assert_eq!(tightened.content_type, "application/merge-patch+json");
    let says = |asked: &Asked| {
        let (meta, spec) = (&asked.body["metadata"], &asked.body["spec"]);
        (
            meta["resourceVersion"].clone(),
            meta["annotations"]["penstock.dev/tight-until"].clone(),
            spec["minAvailable"].clone(),
            spec["maxUnavailable"].clone(),
        )
    };
    let null = || json!(null);
    assert_eq!(says(tightened), (json!("12"), json!("2026-01-01T00:03:00Z"), json!(7), null()));
    assert_eq!(says(loosened), (json!("13"), null(), null(), json!(1)));
    assert_eq!((gone.method.as_str(), &*gone.uri), ("DELETE", &*one));
    assert_eq!(gone.body["preconditions"], json!({"uid": "u-b"}));
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_moved_is_looked_at_again() {
    for code in [404, 409] {
        let moved = failure(code, "Conflict", "it has moved", &json!([]));
        let mut hands = Hands::new(move |_| std::future::ready(Ok(moved.clone())));
        let known = held(Some(("u-b", "12")), Some(Grip::Loose));
        assert_eq!(hands.ending(known).await, Ending::Outdated);
    }
    // There is one of this name that nobody knew of: it may be somebody else's.
    let taken = failure(409, "AlreadyExists", "it exists", &json!([]));
    let mut hands = Hands::new(move |_| std::future::ready(Ok(taken.clone())));
    let message = "it exists".to_owned();
    let ending = hands.ending(held(None, Some(Grip::Loose))).await;
    assert_eq!(ending, Ending::Refused { code: 409, message });
}

#[tokio::test(start_paused = true)]
async fn pods_are_let_go_as_they_were_seen_with_the_grace_of_their_own() {
    // One has moved, and one is gone: that is for the watch to show.
    let mut hands = Hands::new(|asked: Asked| {
        let answer = match &*asked.uri {
            "/api/v1/namespaces/shop/pods/b" => failure(409, "Conflict", "it moved", &json!([])),
            "/api/v1/namespaces/shop/pods/c" => failure(404, "NotFound", "not found", &json!([])),
            _ => (200, json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}})),
        };
        std::future::ready(Ok(answer))
    });
    let pod = |(name, version): (&str, u64)| PodSeen { pod: name.into(), version };
    let pods = [("a", 7), ("b", 8), ("c", 9)].map(pod).to_vec();
    let scale = scale("Deployment", "enrich");
    let ending = hands.ending(Action::LetGo(LetGo { scale, pods })).await;
    assert_eq!(ending, Ending::Done { resource_version: "41".into() });
    let asked = hands.asked();
    assert_eq!(asked.len(), 3);
    let first = asked.iter().find(|asked| asked.uri.ends_with("/pods/a")).unwrap();
    assert_eq!(first.method, "DELETE");
    // Without a grace in it the pod's own is in force.
    assert_eq!(
        first.body,
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"resourceVersion": "7"}})
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_written_of_a_drain_waits_for_no_count() {
    let mut hands = Hands::new(|asked: Asked| async move {
        if asked.uri.contains("/scale") {
            sleep(Duration::from_secs(2)).await;
        }
        Ok(scaled())
    });
    let count = Action::Scale(scale("Deployment", "enrich"));
    let hold = held(None, Some(Grip::Loose));
    hands.act.start(&[count.clone(), hold.clone()], &hands.licence);
    for expected in [hold, count] {
        let outcome = hands.outcomes.recv().await.unwrap();
        assert_eq!(outcome.action, expected);
        assert!(matches!(outcome.result, Ending::Done { .. }), "{:?}", outcome.result);
    }
}

fn discovery(asked: &Asked) -> Option<Answer> {
    let resources = json!([
        {"name": "workers/scale", "singularName": "", "namespaced": true, "kind": "Scale", "verbs": ["get"]},
        {"name": "workers/status", "singularName": "", "namespaced": true, "kind": "Worker", "verbs": ["get"]},
        {"name": "workers", "singularName": "worker", "namespaced": true, "kind": "Worker", "verbs": ["get"]},
    ]);
    (asked.uri == "/apis/example.com/v1").then(|| {
        (200, json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "example.com/v1", "resources": resources}))
    })
}

#[tokio::test(start_paused = true)]
async fn a_custom_resource_is_scaled_by_a_merge_patch_and_looked_up_once() {
    let mut hands =
        Hands::new(|asked: Asked| std::future::ready(Ok(discovery(&asked).unwrap_or_else(scaled))));
    hands.ending(Action::Scale(scale("Worker", "enrich"))).await;
    hands.ending(Action::Scale(scale("Worker", "enrich"))).await;
    let asked = hands.asked();
    assert_eq!(asked.len(), 3, "one look-up, two writes");
    assert_eq!(
        asked[1].uri,
        "/apis/example.com/v1/namespaces/shop/workers/enrich/scale?fieldManager=penstock"
    );
    assert_eq!(asked[1].content_type, "application/merge-patch+json");
    assert_eq!(asked[1].body["metadata"]["resourceVersion"], json!("41"));
    assert_eq!(asked[1].body["metadata"]["uid"], json!("u-1"));
    assert_eq!(asked[1].body["spec"], json!({"replicas": 24}));
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_the_server_does_not_know_is_refused_and_one_that_cannot_be_looked_up_is_not_sent()
 {
    let mut hands =
        Hands::new(|asked: Asked| std::future::ready(Ok(discovery(&asked).unwrap_or_else(scaled))));
    let ending = hands.ending(Action::Scale(scale("Spinner", "enrich"))).await;
    let message = "the API server has no kind Spinner in example.com/v1".to_owned();
    assert_eq!(ending, Ending::Refused { code: 404, message });
    let mut hands = Hands::new(|_| {
        std::future::ready(Ok(failure(503, "ServiceUnavailable", "starting", &json!([]))))
    });
    let ending = hands.ending(Action::Scale(scale("Worker", "enrich"))).await;
    assert!(matches!(ending, Ending::NotSent { .. }), "{ending:?}");
    assert_eq!(hands.asked().len(), 1, "no write followed");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_would_bend_the_path_never_leaves() {
    let mut hands = Hands::new(|_| std::future::ready(Ok(scaled())));
    for name in ["../../kube-system/deployments/dns", "a?dryRun=All", "a%2fb", ""] {
        let ending = hands.ending(Action::Scale(scale("Deployment", name))).await;
        assert!(matches!(ending, Ending::Refused { code: 404, .. }), "{name}: {ending:?}");
    }
    assert!(hands.asked().is_empty());
}

fn conflict(messages: &[&str]) -> Answer {
    let causes: Vec<Value> = messages
        .iter()
        .map(|message| json!({"reason": "FieldManagerConflict", "message": message, "field": ".spec.replicas"}))
        .collect();
    failure(409, "Conflict", "Apply failed with 1 conflict: ...", &json!(causes))
}

#[tokio::test(start_paused = true)]
async fn an_apply_conflict_names_the_other_writer_and_says_whether_it_applies() {
    let writer = |manager: &str, applies| Ending::Conflict {
        writer: ForeignWriter { manager: manager.into(), applies },
    };
    let update = r#"conflict with "kubectl" with subresource "scale" using autoscaling/v1"#;
    assert_eq!(ending_of(conflict(&[update])).await, writer("kubectl", false));
    let apply = r#"conflict with "argocd-controller""#;
    assert_eq!(ending_of(conflict(&[apply])).await, writer("argocd-controller", true));
    assert_eq!(ending_of(conflict(&[update, apply])).await, writer("argocd-controller", true));
    assert_eq!(ending_of(conflict(&[apply, update])).await, writer("argocd-controller", true));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_of_any_other_kind_means_read_again() {
    let message = "Operation cannot be fulfilled on deployments.apps \"enrich\": the object has been modified; \
                   please apply your changes to the latest version and try again";
    assert_eq!(ending_of(failure(409, "Conflict", message, &json!([]))).await, Ending::Outdated);
    let message = "Operation cannot be fulfilled on deployments/scale.apps \"enrich\": Precondition failed: UID in \
                   precondition: u-1, UID in object meta: u-2";
    assert_eq!(ending_of(failure(409, "Conflict", message, &json!([]))).await, Ending::Gone);
    assert_eq!(ending_of(failure(404, "NotFound", "gone", &json!([]))).await, Ending::Gone);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_with_its_words_cut_at_256_bytes() {
    for code in [400, 401, 403, 405, 415, 422] {
        let ending = ending_of(failure(code, "Refused", "quota exceeded", &json!([]))).await;
        assert_eq!(ending, Ending::Refused { code, message: "quota exceeded".into() });
    }
    let long = "ü".repeat(1_000);
    let Ending::Refused { message, .. } = ending_of(failure(403, "F", &long, &json!([]))).await
    else {
        panic!("refused")
    };
    assert_eq!(message.len(), 256);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_time_has_done_nothing_and_one_in_trouble_may_have_done_it() {
    let ending = ending_of(failure(429, "TooManyRequests", "later", &json!([]))).await;
    assert!(matches!(ending, Ending::NotSent { .. }), "{ending:?}");
    for code in [408, 500, 502, 503, 504] {
        let ending = ending_of(failure(code, "E", "etcd", &json!([]))).await;
        assert!(matches!(ending, Ending::Unknown { .. }), "{code}: {ending:?}");
    }
    let garbage = ending_of((200, json!("no scale"))).await;
    assert!(matches!(garbage, Ending::Unknown { .. }), "{garbage:?}");
    let mut hands =
        Hands::new(|_| std::future::ready(Err(BoxError::from("connection reset by peer"))));
    let ending = hands.ending(Action::Scale(scale("Deployment", "enrich"))).await;
    let Ending::Unknown { message } = ending else { panic!("{ending:?}") };
    assert!(message.contains("connection reset by peer"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_write_without_an_answer_ends_after_three_seconds_and_is_not_repeated() {
    let mut hands = Hands::new(|_| std::future::pending());
    let start = Instant::now();
    let ending = hands.ending(Action::Scale(scale("Deployment", "enrich"))).await;
    assert!(matches!(ending, Ending::Unknown { .. }), "{ending:?}");
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(hands.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_without_a_young_lease() {
    let mut hands = Hands::new(|_| std::future::ready(Ok(scaled())));
    sleep(Duration::from_secs(5)).await;
    let action = Action::Scale(scale("Deployment", "enrich"));
    let Ending::NotSent { message } = hands.ending(action.clone()).await else { panic!("too old") };
    assert_eq!(message, "the lease was last renewed more than 5 s ago");
    hands.grant.revoke();
    let Ending::NotSent { message } = hands.ending(action.clone()).await else {
        panic!("not held")
    };
    assert_eq!(message, "this replica does not hold the lease");
    assert!(hands.asked().is_empty());
    hands.grant.renew(Instant::now());
    assert!(matches!(hands.ending(action).await, Ending::Done { .. }));
}

#[tokio::test(start_paused = true)]
async fn the_licence_is_asked_after_everything_that_can_wait() {
    let mut hands = Hands::new(|asked: Asked| async move {
        let Some(list) = discovery(&asked) else { return Ok(scaled()) };
        sleep(Duration::from_secs(2)).await;
        Ok(list)
    });
    sleep(Duration::from_secs(4)).await;
    let ending = hands.ending(Action::Scale(scale("Worker", "enrich"))).await;
    assert!(matches!(ending, Ending::NotSent { .. }), "{ending:?}");
    assert_eq!(hands.asked().len(), 1, "the look-up only");
}

#[tokio::test(start_paused = true)]
async fn a_second_write_to_a_target_in_flight_is_turned_away_and_other_targets_do_not_wait() {
    let mut hands = Hands::new(|asked: Asked| async move {
        if asked.uri.contains("/slow/") {
            sleep(Duration::from_secs(2)).await;
        }
        Ok(scaled())
    });
    let slow = Action::Scale(scale("Deployment", "slow"));
    let quick = Action::Scale(scale("Deployment", "quick"));
    let start = Instant::now();
    hands.act.start(&[slow.clone(), slow.clone(), quick.clone()], &hands.licence);
    assert_eq!(hands.act.in_flight().len(), 2);
    let first = hands.outcomes.recv().await.unwrap();
    assert!(matches!(&first.result, Ending::NotSent { message } if message.contains("in flight")));
    let second = hands.outcomes.recv().await.unwrap();
    assert_eq!(second.action, quick);
    assert!(start.elapsed() < Duration::from_millis(100));
    assert_eq!(hands.act.in_flight().len(), 1);
    assert!(!hands.act.drain(Duration::from_secs(1)).await, "one is still on its way");
    assert!(hands.act.drain(Duration::from_secs(3)).await);
    let third = hands.outcomes.recv().await.unwrap();
    assert_eq!((third.action, third.at > first.at), (slow, true));
    assert_eq!(hands.asked().len(), 2);
}

#[tokio::test]
async fn a_write_whose_task_dies_ends_as_unknown() {
    let ending = {
        let (client, _) = client(|_| std::future::pending());
        let (sender, mut outcomes) = unbounded_channel();
        let (grant, licence) = Licence::new();
        grant.renew(Instant::now());
        let action = Action::Scale(scale("Deployment", "enrich"));
        // The runtime that carries the task is shut down under it.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let act = {
            let _inside = runtime.enter();
            let act = Act::new(client, Clock::start(), sender);
            act.start(&[action], &licence);
            act
        };
        runtime.shutdown_background();
        let outcome = outcomes.recv().await.unwrap();
        assert!(act.in_flight().is_empty());
        outcome.result
    };
    assert!(matches!(ending, Ending::Unknown { .. }), "{ending:?}");
}

/// A server that has no time for the first `busy` requests, and says `retry_after`, if anything. How often it was asked.
pub(crate) fn busy_server(
    busy: usize,
    retry_after: Option<&'static str>,
) -> (kube::Client, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
        let is_busy = count.fetch_add(1, Ordering::SeqCst) < busy;
        async move {
            let (code, body) = scaled();
            let mut answer = http::Response::builder().status(if is_busy { 429 } else { code });
            if let Some(seconds) = retry_after.filter(|_| is_busy) {
                answer = answer.header("retry-after", seconds);
            }
            // The words of priority and fairness, which are no JSON.
            let body = if is_busy {
                "Too many requests, please try again later.".into()
            } else {
                body.to_string()
            };
            Ok::<_, BoxError>(answer.body(http_body_util::Full::new(bytes::Bytes::from(body)))?)
        }
    });
    (kube::Client::new(service, "default"), asked)
}

#[tokio::test(start_paused = true)]
async fn a_server_without_time_is_left_alone_for_longer_each_time() {
    let (client, asked) = busy_server(3, None);
    let mut hands = Hands::of(client, Record::default());
    let mut tried = Vec::new();
    let began = Instant::now();
    // Once each 100 ms, as the loop might.
    while began.elapsed() < Duration::from_secs(15) {
        let before = asked.load(Ordering::SeqCst);
        hands.grant.renew(Instant::now());
        let ending = hands.ending(Action::Scale(scale("Deployment", "enrich"))).await;
        if before < asked.load(Ordering::SeqCst) {
            tried.push(began.elapsed().as_secs_f64());
        } else {
            let Ending::NotSent { message } = ending else { panic!("{ending:?}") };
            assert!(message.contains("429"), "{message}");
        }
        sleep(Duration::from_millis(100)).await;
    }
    let gaps: Vec<_> = tried.windows(2).take(3).map(|pair| pair[1] - pair[0]).collect();
    for (gap, least) in gaps.iter().zip([1.0, 2.0, 4.0]) {
        assert!((least..=1.5 * least + 0.2).contains(gap), "{gaps:?}");
    }
    assert!(30 < tried.len(), "it has time again: {tried:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_how_long_is_left_alone_for_that_long() {
    let (client, asked) = busy_server(1, Some("7"));
    let mut hands = Hands::of(client, Record::default());
    hands.ending(Action::Scale(scale("Deployment", "enrich"))).await;
    sleep(Duration::from_millis(6_900)).await;
    hands.grant.renew(Instant::now());
    let other = hands.ending(Action::Scale(scale("StatefulSet", "sink"))).await;
    assert!(matches!(other, Ending::NotSent { .. }), "all writes wait: {other:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    sleep(Duration::from_secs(4)).await;
    hands.grant.renew(Instant::now());
    let ending = hands.ending(Action::Scale(scale("Deployment", "enrich"))).await;
    assert!(matches!(ending, Ending::Done { .. }), "{ending:?}");
}

#[tokio::test(start_paused = true)]
async fn of_a_burst_so_many_writes_are_on_their_way_at_once() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (there, peak) = (Arc::clone(&now), Arc::clone(&most));
    let mut hands = Hands::new(move |_| {
        let (there, peak) = (Arc::clone(&there), Arc::clone(&peak));
        async move {
            peak.fetch_max(there.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_secs(1)).await;
            there.fetch_sub(1, Ordering::SeqCst);
            Ok(scaled())
        }
    });
    let names = (0..200).map(|n| format!("stage-{n}"));
    let writes: Vec<_> = names.map(|name| Action::Scale(scale("Deployment", &name))).collect();
    hands.act.start(&writes, &hands.licence);
    let (mut done, mut unsent) = (0, 0);
    for _ in &writes {
        let ending = hands.outcomes.recv().await.unwrap().result;
        if matches!(ending, Ending::Done { .. }) {
            done += 1;
        } else {
            assert!(matches!(ending, Ending::NotSent { .. }), "{ending:?}");
            unsent += 1;
        }
    }
    assert_eq!(most.load(Ordering::SeqCst), 32);
    // Three rounds begin within 3 s; what then still waits is for the next turn, which knows better.
    assert!((96..=128).contains(&done) && done + unsent == 200, "{done} and {unsent}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waited_for_its_turn_has_landed_by_the_time_that_is_left_for_the_last_ones() {
    // All but the first 32 never have an answer, and those just in time for the next to begin.
    let asked = Arc::new(AtomicUsize::new(0));
    let hands = Hands::new(move |_| {
        let at = asked.fetch_add(1, Ordering::SeqCst);
        async move {
            sleep(if at < 32 { Duration::from_millis(2_900) } else { Duration::from_mins(1) })
                .await;
            Ok(scaled())
        }
    });
    let names = (0..33).map(|n| format!("stage-{n}"));
    let writes: Vec<_> = names.map(|name| Action::Scale(scale("Deployment", &name))).collect();
    hands.act.start(&writes, &hands.licence);
    assert!(hands.act.drain(LONGEST).await, "one is on its way still");
    assert_eq!(hands.record.lock().unwrap().len(), 33);
}
