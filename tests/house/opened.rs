//! The page that is open to the cluster: who is let in, what each sees of it, for how long that is believed, and how one signs in and out. Asked through
//! the router that the daemon serves; the API server in memory knows the people.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use futures::future::join_all;
use futures::stream;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use penstock::answer::page::{self, Door};
use penstock::answer::{self, Answer, Gate};
use penstock::daemon;
use penstock::decide::{Class, PipelineId};
use penstock::demo::cluster::{Fault, Match, Person};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::daemons::{clients, options};
use crate::page::{Open, ask, names, window};
use crate::turns::{Bench, Turn, budget, id, pool};

const SECOND: Duration = Duration::from_secs(1);
const SESSION: &str = "/api/v1/session";
/// Every path below which something is told of pipelines.
const VIEWS: [&str; 8] = [
    "/api/v1/overview",
    "/api/v1/attention",
    "/api/v1/pipelines",
    "/api/v1/pipelines/default/orders",
    "/api/v1/pipelines/default/orders/graph.svg",
    "/api/v1/pipelines/default/orders/stages/enrich",
    "/api/v1/capacity",
    "/api/v1/stream",
];

fn person(name: &str, may_list: &[(&str, &str)]) -> Person {
    let owned = |(namespace, resource): &(&str, &str)| ((*namespace).into(), (*resource).into());
    Person {
        token: format!("{name}-token"),
        name: name.to_owned(),
        audiences: Vec::new(),
        may_list: may_list.iter().map(owned).collect(),
    }
}

/// One who may list everything, one who may list the pipelines of a namespace, and one who may list nothing.
fn people() -> Vec<Person> {
    let all = [("", "scaledpipelines"), ("", "capacitypools"), ("", "capacitybudgets")];
    let (root, clerk) = (person("root", &all), person("clerk", &[("default", "scaledpipelines")]));
    vec![root, clerk, person("guest", &[("default", "pods")])]
}

struct Opened {
    bench: Bench,
    answer: Answer,
    gate: Gate,
    router: Router,
}

impl Opened {
    /// Two pipelines in two namespaces, a pool of nodes and a budget.
    async fn new() -> Self {
        Self::for_audiences(&[]).await
    }

    async fn for_audiences(audiences: &[&str]) -> Self {
        let bench = Bench::new().await;
        bench.cluster.knows(people());
        bench.tell(&with_capacity(&bench, 10)).await;
        bench.create("ledger").await;
        let audiences = audiences.iter().map(|&it| it.to_owned()).collect();
        let gate = Gate::new(bench.cluster.client(), audiences);
        let answer = window(&bench).0;
        let router = answer.open_page(gate.clone());
        let opened = Self { bench, answer, gate, router };
        opened.tell_ledger(5).await;
        opened.bench.cluster.faults().clear_log();
        opened
    }

    /// A turn of the pipeline in the other namespace.
    async fn tell_ledger(&self, lag: u64) {
        let mut glance = self.bench.glance("ledger").await;
        glance.id = ledger();
        self.bench.tell_over(glance, &with_capacity(&self.bench, lag));
        self.bench.wait(SECOND).await;
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, String) {
        let (status, _, body) = taken(ask(&self.router, path, headers).await).await;
        (status, body)
    }

    /// What somebody is answered.
    async fn says(&self, who: &str, path: &str) -> (StatusCode, String) {
        self.get(path, &[("authorization", &format!("Bearer {who}-token"))]).await
    }

    async fn json(&self, who: &str, path: &str) -> Value {
        let (status, body) = self.says(who, path).await;
        assert_eq!(status, StatusCode::OK, "{who} {path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn open(&self, who: &str, path: &str) -> Open {
        let token = format!("Bearer {who}-token");
        Open::at(&self.router, path, &[("authorization", &token)]).await
    }

    async fn send(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(SESSION);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn sign_in(&self, token: &str, more: &[(&str, &str)]) -> Response<Body> {
        let headers = [&[("content-type", "application/json")], more].concat();
        self.send("POST", &headers, &json!({"token": token}).to_string()).await
    }

    /// How often whose token it is was asked, and what somebody may.
    fn reviews(&self) -> (usize, usize) {
        let log = self.bench.cluster.faults().log();
        let count = |what: &str| log.iter().filter(|it| it.resource == what).count();
        (count("tokenreviews"), count("subjectaccessreviews"))
    }
}

fn ledger() -> PipelineId {
    PipelineId { namespace: "bank".into(), name: "ledger".into() }
}

fn with_capacity(bench: &Bench, lag: u64) -> Turn {
    let at = bench.clock.now();
    let gave_way = vec![(ledger(), 6), (id("orders"), 2)];
    let mut budget = budget("everybody", gave_way, at);
    Arc::make_mut(&mut budget.meant).cores = Some(600.0);
    let pools = vec![pool("spot", Class::Spot, at)];
    // Late, so that there is something to look at.
    let late = Turn::of(|told| {
        told.verdict.signals.lag = Some(lag);
        told.verdict.signals.delay = Some(90.0);
    });
    Turn { pools, budgets: vec![budget], ..late }
}

async fn taken(response: Response<Body>) -> (StatusCode, http::HeaderMap, String) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_more_than_the_empty_page_without_a_token_that_the_api_server_knows() {
    let opened = Opened::new().await;
    for path in VIEWS.into_iter().chain([SESSION, "/api/v1/pipelines/bank/nope"]) {
        for shown in [None, Some("Bearer guess"), Some("Bearer "), Some("Basic cm9vdC10b2tlbg==")] {
            let headers: Vec<_> = shown.iter().map(|shown| ("authorization", *shown)).collect();
            let (status, headers, body) = taken(ask(&opened.router, path, &headers).await).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} {shown:?}");
            assert_eq!(headers["www-authenticate"], "Bearer realm=\"penstock\"");
            assert!(headers.contains_key("content-security-policy"));
            assert!(!body.contains("orders") && body.contains("; hint: "), "{path}: {body}");
        }
    }
    for path in ["/", "/page.js", "/icon.svg"] {
        assert_eq!(opened.get(path, &[]).await.0, StatusCode::OK, "{path}");
    }
    assert_eq!(opened.get("/nowhere", &[]).await.0, StatusCode::NOT_FOUND);
    // As people write it, too.
    let (status, _) = opened.get(VIEWS[0], &[("authorization", "bearer  root-token")]).await;
    assert_eq!(status, StatusCode::OK);
    // Where nobody has to say who he is, the same question is no failure.
    let here = taken(ask(&opened.answer.page(), SESSION, &[]).await).await;
    assert_eq!((here.0, &*here.2), (StatusCode::OK, r#"{"canLeave":false}"#));
}

#[tokio::test(start_paused = true)]
async fn each_sees_what_he_may_list_and_of_all_else_that_it_is_not_there() {
    let opened = Opened::new().await;
    for path in VIEWS.into_iter().filter(|path| *path != "/api/v1/stream") {
        let (status, _, whole) = taken(ask(&opened.answer.page(), path, &[]).await).await;
        let without_times = |text: &str| {
            let mut value: Value = serde_json::from_str(text).unwrap_or_default();
            for passing in ["at", "version"] {
                value.as_object_mut().and_then(|all| all.remove(passing));
            }
            value
        };
        let (same, seen) = opened.says("root", path).await;
        assert_eq!((same, without_times(&seen)), (status, without_times(&whole)), "{path}");
        let (_, seen) = opened.says("clerk", path).await;
        assert!(!seen.contains("ledger") && !seen.contains("bank"), "{path}: {seen}");
        let (status, seen) = opened.says("guest", path).await;
        let is_one = path.contains("default/orders");
        // He is told again what he asked for, and nothing else.
        let seen = if is_one { seen.replace("default/orders", "") } else { seen };
        assert!(!seen.contains("ledger") && !seen.contains("orders"), "{path}: {seen}");
        assert_eq!(status, if is_one { StatusCode::NOT_FOUND } else { StatusCode::OK }, "{path}");
    }
    let (clerk, root) = (opened.json("clerk", VIEWS[0]).await, opened.json("root", VIEWS[0]).await);
    assert_eq!((names(&clerk), names(&root)), (vec!["orders"], vec!["ledger", "orders"]));
    for (who, late) in [("root", &["ledger", "orders"][..]), ("clerk", &["orders"])] {
        let said = opened.json(who, "/api/v1/attention").await;
        let all = said["concerns"].as_array().unwrap();
        let of: Vec<_> = all.iter().map(|it| it["pipeline"].as_str().unwrap()).collect();
        assert_eq!(of, late, "{who}: {said}");
    }
    for path in ["", "/graph.svg", "/stages/enrich"] {
        let path = format!("/api/v1/pipelines/bank/ledger{path}");
        assert_eq!(opened.says("root", &path).await.0, StatusCode::OK, "{path}");
        let (status, said) = opened.says("clerk", &path).await;
        // In the very words that a pipeline has which is not there.
        let (_, nobody) = opened.says("clerk", &path.replace("ledger", "nobody")).await;
        let same = said.replace("ledger", "nobody");
        assert_eq!((status, same), (StatusCode::NOT_FOUND, nobody), "{path}");
    }
    let capacity = opened.json("root", "/api/v1/capacity").await;
    assert_eq!(
        (&capacity["pools"][0]["name"], &capacity["budgets"][0]["name"]),
        (&json!("spot"), &json!("everybody"))
    );
    let nothing = opened.json("clerk", "/api/v1/capacity").await;
    assert_eq!((&nothing["pools"], &nothing["budgets"]), (&json!([]), &json!([])));
    let who = opened.json("clerk", SESSION).await;
    assert_eq!(who, json!({"user": "clerk", "canLeave": false}));

    // Budgets are not all pipelines.
    let treasurer = [("", "capacitybudgets"), ("default", "scaledpipelines")];
    opened.bench.cluster.knows(vec![person("treasurer", &treasurer)]);
    let capacity = opened.json("treasurer", "/api/v1/capacity").await;
    let gave = json!([{"pipeline": "default/orders", "replicas": 2}]);
    assert_eq!((&capacity["budgets"][0]["gaveWay"], &capacity["pools"]), (&gave, &json!([])));
}

#[tokio::test(start_paused = true)]
async fn the_stream_tells_nothing_of_what_is_out_of_sight() {
    let opened = Opened::new().await;
    let mut clerk = opened.open("clerk", "/api/v1/stream?pipeline=bank/ledger").await;
    let (event, mark, all) = clerk.within(SECOND).await.unwrap();
    assert_eq!((event.as_str(), names(&all)), ("pipelines", vec!["orders"]));
    let (event, _, whole) = clerk.within(SECOND).await.unwrap();
    assert_eq!((event.as_str(), &whole["isGone"]), ("pipeline", &json!(true)));
    opened.tell_ledger(77).await;
    opened.bench.report.forget(&ledger());
    let told = clerk.within(10 * SECOND).await;
    assert!(told.is_none(), "{told:?}");
    opened.bench.tell(&Turn::of(|told| told.verdict.signals.lag = Some(78))).await;
    let (_, _, changed) = clerk.within(3 * SECOND).await.unwrap();
    assert_eq!((names(&changed), &changed["isWhole"]), (vec!["orders"], &json!(false)));

    // Who sees more by now is told all of it, though the lines are as old as they were.
    opened.tell_ledger(5).await;
    let path = format!("/api/v1/stream?since={}", mark.unwrap());
    let mut again = opened.open("clerk", &path).await;
    assert_eq!(again.within(SECOND).await.unwrap().2["isWhole"], false);
    let mut promoted = opened.open("root", &path).await;
    let (_, _, all) = promoted.within(SECOND).await.unwrap();
    assert_eq!((names(&all), &all["isWhole"]), (vec!["ledger", "orders"], &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_within_a_minute_and_who_is_nobody_by_then_does_not_get_another() {
    let opened = Opened::new().await;
    let mut open = opened.open("clerk", "/api/v1/stream").await;
    let (_, mark, _) = open.within(SECOND).await.unwrap();
    opened.bench.cluster.knows(vec![person("somebody else", &[])]);
    let begun = tokio::time::Instant::now();
    let last = loop {
        let (event, ..) = open.within(61 * SECOND).await.unwrap();
        if event != "still here" {
            break event;
        }
    };
    assert_eq!((last.as_str(), open.next().await), ("again", None));
    assert!(begun.elapsed() <= 60 * SECOND, "{:?}", begun.elapsed());
    let path = format!("/api/v1/stream?since={}", mark.unwrap());
    assert_eq!(opened.says("clerk", &path).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_reads_slowly_is_told_nothing_more_once_its_minute_is_over() {
    let opened = Opened::new().await;
    let mut open = opened.open("clerk", "/api/v1/stream?pipeline=default/orders").await;
    assert_eq!(open.within(SECOND).await.unwrap().0, "pipelines");
    // The whole of the pipeline is ready to be read.
    opened.bench.wait(61 * SECOND).await;
    let told = [open.next().await.map(|told| told.0), open.next().await.map(|told| told.0)];
    assert_eq!(told, [Some("again".to_owned()), None]);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_is_told_to_hold_no_event_back() {
    let opened = Opened::new().await;
    let token = ("authorization", "Bearer clerk-token");
    let response = ask(&opened.router, "/api/v1/stream", &[token]).await;
    assert_eq!(response.headers()["x-accel-buffering"], "no");
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_said_is_believed_for_a_minute_and_a_no_for_ten_seconds() {
    let opened = Opened::new().await;
    for _ in 0..5 {
        opened.json("clerk", VIEWS[0]).await;
        opened.json("root", VIEWS[0]).await;
    }
    // Whose token, all namespaces, pools and budgets; and of the clerk each of the two namespaces.
    assert_eq!(opened.reviews(), (2, 3 + 5));
    let kept = opened.gate.kept();
    assert_eq!(kept, 2);

    // A right that is given is seen within ten seconds, one that is taken away within a minute.
    let both = [("default", "scaledpipelines"), ("bank", "scaledpipelines")];
    opened.bench.cluster.knows(vec![person("clerk", &both)]);
    assert_eq!(names(&opened.json("clerk", VIEWS[0]).await), ["orders"]);
    opened.bench.wait(10 * SECOND).await;
    assert_eq!(names(&opened.json("clerk", VIEWS[0]).await), ["ledger", "orders"]);
    opened.bench.cluster.knows(vec![person("clerk", &[])]);
    opened.bench.wait(60 * SECOND).await;
    assert_eq!(names(&opened.json("clerk", VIEWS[0]).await), Vec::<&str>::new());

    // A token that was nobody's is asked about again before long, and not at once.
    let before = opened.reviews().0;
    for _ in 0..3 {
        assert_eq!(opened.says("newcomer", VIEWS[0]).await.0, StatusCode::UNAUTHORIZED);
    }
    opened.bench.cluster.knows(vec![person("newcomer", &both)]);
    assert_eq!(opened.says("newcomer", VIEWS[0]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(opened.reviews().0, before + 1);
    opened.bench.wait(10 * SECOND).await;
    assert_eq!(names(&opened.json("newcomer", VIEWS[0]).await), ["ledger", "orders"]);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_nobodys_do_not_pile_up_nor_push_out_who_is_known() {
    let opened = Opened::new().await;
    opened.json("clerk", VIEWS[0]).await;
    for number in 0..1_500 {
        let (status, _) = opened.says(&format!("guess-{number}"), VIEWS[0]).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    assert!(opened.gate.kept() <= 1_025, "{}", opened.gate.kept());
    opened.bench.cluster.faults().clear_log();
    opened.json("clerk", VIEWS[0]).await;
    assert_eq!(opened.reviews().0, 0, "the clerk was forgotten");
}

#[tokio::test(start_paused = true)]
async fn while_the_api_server_does_not_say_who_it_is_nobody_is_let_in() {
    let opened = Opened::new().await;
    let faults = opened.bench.cluster.faults();
    for (resource, fault, word) in [
        ("tokenreviews", Fault::Refuse(500), "without its word nobody is let in"),
        ("tokenreviews", Fault::Drop, "without its word nobody is let in"),
        ("tokenreviews", Fault::Hang, "without its word nobody is let in"),
        ("tokenreviews", Fault::Refuse(403), "penstock check"),
        ("subjectaccessreviews", Fault::Refuse(500), "without its word nobody is let in"),
        ("subjectaccessreviews", Fault::Hang, "without its word nobody is let in"),
        ("subjectaccessreviews", Fault::Refuse(403), "penstock check"),
    ] {
        faults.plan(Match::of("create", resource, ""), fault.clone(), usize::MAX);
        for path in VIEWS {
            let token = ("authorization", "Bearer clerk-token");
            let (status, headers, body) = taken(ask(&opened.router, path, &[token]).await).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path} {fault:?}: {body}");
            assert_eq!(headers["retry-after"], "5");
            assert!(body.contains(word) && !body.contains("orders"), "{fault:?}: {body}");
        }
        let signing = taken(opened.sign_in("root-token", &[]).await).await;
        if resource == "tokenreviews" {
            assert_eq!(signing.0, StatusCode::SERVICE_UNAVAILABLE, "{fault:?}");
            assert!(!signing.1.contains_key("set-cookie"));
        }
        faults.clear();
        opened.bench.wait(61 * SECOND).await;
    }
    // Who is known already stays so for the minute, and no longer.
    opened.json("clerk", VIEWS[0]).await;
    faults.plan(Match::of("create", "tokenreviews", ""), Fault::Refuse(500), usize::MAX);
    opened.json("clerk", VIEWS[0]).await;
    opened.bench.wait(61 * SECOND).await;
    assert_eq!(opened.says("clerk", VIEWS[0]).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_token_for_another_audience_leads_nowhere() {
    let opened = Opened::for_audiences(&["penstock", "pages"]).await;
    let meant_for = |name: &str, audiences: &[&str]| Person {
        audiences: audiences.iter().map(|&it| it.to_owned()).collect(),
        ..person(name, &[("", "scaledpipelines")])
    };
    let (own, other) = (meant_for("own", &["pages", "x"]), meant_for("other", &["vault"]));
    opened.bench.cluster.knows(vec![own, other, meant_for("plain", &[])]);
    assert_eq!(opened.says("own", VIEWS[0]).await.0, StatusCode::OK);
    assert_eq!(opened.says("other", VIEWS[0]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(opened.says("plain", VIEWS[0]).await.0, StatusCode::UNAUTHORIZED);
    // Whoever is sent away is told of a token that is good here.
    let how = "kubectl create token NAME --audience=penstock prints";
    let unasked = opened.get(VIEWS[0], &[]).await.1;
    let (_, _, other) = taken(opened.sign_in("other-token", &[]).await).await;
    let (_, _, wrong) = taken(opened.sign_in("no token", &[]).await).await;
    for said in [unasked, other, wrong] {
        assert!(said.contains(how), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn strangers_hold_up_nobody_who_was_known_a_moment_ago() {
    let opened = Opened::new().await;
    opened.json("clerk", VIEWS[0]).await;
    opened.bench.wait(61 * SECOND).await;
    let slow = Fault::Delay(SECOND);
    opened.bench.cluster.faults().plan(Match::of("create", "tokenreviews", ""), slow, usize::MAX);
    let begun = tokio::time::Instant::now();
    let crowd = join_all((0..400).map(async |number| {
        let said = opened.says(&format!("guess-{number}"), VIEWS[0]).await;
        (said, begun.elapsed())
    }));
    let clerk = async {
        tokio::time::sleep(SECOND / 2).await;
        opened.json("clerk", VIEWS[0]).await
    };
    let (crowd, clerk) = tokio::join!(crowd, clerk);
    assert_eq!(names(&clerk), ["orders"]);
    let count = |code: StatusCode, word: &str| {
        let found =
            crowd.iter().filter(|((status, said), _)| *status == code && said.contains(word));
        (found.clone().count(), found.map(|(_, after)| *after).max().unwrap_or_default())
    };
    // Eight a second for five seconds; the others of those that may wait; and who was too many, at once.
    let (refused, _) = count(StatusCode::UNAUTHORIZED, "does not know this token");
    assert!((32..=40).contains(&refused), "{refused}");
    let (silent, after) = count(StatusCode::SERVICE_UNAVAILABLE, "does not say who you are");
    assert_eq!((silent, after), (8 + 256 - refused, 5 * SECOND));
    let (many, after) = count(StatusCode::SERVICE_UNAVAILABLE, "more people ask");
    assert_eq!((many, after), (400 - 8 - 256, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_token_is_asked_about_nowhere() {
    let opened = Opened::new().await;
    let long = "a".repeat((16 << 10) + 1);
    for token in ["", "a b", "clerk-token;", "cl\u{e9}rk", &long] {
        let shown = format!("Bearer {token}");
        let cookie = format!("penstock-token={token}");
        for header in [("authorization", shown.as_str()), ("cookie", cookie.as_str())] {
            // A semicolon ends a cookie, and what is before it is one.
            if header.0 == "cookie" && token.contains(';') {
                continue;
            }
            let (status, said) = opened.get(VIEWS[0], &[header]).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{header:?}: {said}");
        }
    }
    assert_eq!(opened.reviews(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn of_one_namespace_that_one_alone_is_asked_about() {
    let opened = Opened::new().await;
    for path in ["", "/graph.svg", "/stages/enrich"] {
        let path = format!("/api/v1/pipelines/default/orders{path}");
        assert_eq!(opened.says("clerk", &path).await.0, StatusCode::OK, "{path}");
    }
    // All namespaces, pools, budgets, and the one.
    assert_eq!(opened.reviews(), (1, 3 + 1));
    assert_eq!(
        opened.says("clerk", "/api/v1/pipelines/nowhere/orders").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(opened.reviews(), (1, 3 + 1));
}

#[tokio::test(start_paused = true)]
async fn who_is_met_twice_at_once_is_asked_about_once() {
    let opened = Opened::new().await;
    let faults = opened.bench.cluster.faults();
    for seconds in [1, 2] {
        let late = Fault::Delay(seconds * SECOND);
        faults.plan(Match::of("create", "tokenreviews", ""), late, 1);
    }
    let twice = tokio::join!(opened.json("clerk", VIEWS[0]), opened.json("clerk", VIEWS[0]));
    assert_eq!((names(&twice.0), names(&twice.1)), (vec!["orders"], vec!["orders"]));
    assert_eq!(opened.reviews(), (2, 3 + 2), "what was said of him is forgotten");
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, said: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(said);
        Ok(said.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_api_server_repeats_is_in_no_log_whatever_else_it_answers() {
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || written.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let bench = Bench::new().await;
    let repeated = |status: Value| json!({"spec": {"token": "secret-token"}, "status": status});
    let unreadable = json!({"authenticated": true, "user": {"username": "clerk", "extra": [7]}});
    for (code, said, told) in [
        (201, repeated(unreadable).to_string(), "its answer cannot be read"),
        (201, "secret-token".to_owned(), "its answer cannot be read"),
        (422, json!({"kind": "Status", "message": "secret-token"}).to_string(), "422"),
        (500, "secret-token".to_owned(), "500"),
    ] {
        let answer = tower::service_fn(move |_: Request<kube::client::Body>| {
            let answer = Response::builder().status(code).body(Body::from(said.clone()));
            async move { Ok::<_, Infallible>(answer.unwrap()) }
        });
        let gate = Gate::new(kube::Client::new(answer, "default"), Vec::new());
        let router = window(&bench).0.open_page(gate);
        let shown = ("authorization", "Bearer secret-token");
        let (status, _, body) = taken(ask(&router, VIEWS[0], &[shown]).await).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        let lines = std::mem::take(&mut *log.0.lock().unwrap());
        let lines = String::from_utf8(lines).unwrap();
        assert!(lines.contains(told), "{told} is not in {lines}");
        assert!(!lines.contains("secret-token") && !body.contains("secret-token"), "{lines}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_signs_in_keeps_his_token_in_a_cookie_that_no_script_reads_until_he_signs_out() {
    let opened = Opened::new().await;
    let (status, headers, body) = taken(opened.sign_in(" clerk-token\n", &[]).await).await;
    assert_eq!((status, &*body), (StatusCode::OK, r#"{"user":"clerk","canLeave":true}"#));
    let cookie = headers["set-cookie"].to_str().unwrap();
    assert_eq!(cookie, "penstock-token=clerk-token; Path=/; HttpOnly; SameSite=Strict");
    assert_eq!(headers["cache-control"], "no-store");
    let kept = ("cookie", "theme=dark; penstock-token=clerk-token");
    let (_, seen) = opened.get(VIEWS[0], &[kept]).await;
    assert_eq!(names(&serde_json::from_str(&seen).unwrap()), ["orders"]);
    let who = opened.get(SESSION, &[kept]).await.1;
    assert_eq!(who, r#"{"user":"clerk","canLeave":true}"#);
    // A proxy's own login is none of ours; its bearer token goes before the cookie.
    assert_eq!(
        opened.get(VIEWS[0], &[kept, ("authorization", "Basic eA==")]).await.0,
        StatusCode::OK
    );
    let (_, seen) = opened.get(VIEWS[0], &[kept, ("authorization", "Bearer root-token")]).await;
    assert!(seen.contains("ledger"));

    // By TLS, the cookie goes by TLS alone, and only that one is heeded.
    let safe = ("x-forwarded-proto", "https, http");
    let (_, headers, _) = taken(opened.sign_in("clerk-token", &[safe]).await).await;
    let cookie = headers["set-cookie"].to_str().unwrap();
    assert_eq!(
        cookie,
        "__Host-penstock-token=clerk-token; Path=/; HttpOnly; SameSite=Strict; Secure"
    );
    let kept = ("cookie", "__Host-penstock-token=clerk-token");
    assert_eq!(opened.get(VIEWS[0], &[kept, safe]).await.0, StatusCode::OK);
    let planted = ("cookie", "penstock-token=root-token");
    assert_eq!(opened.get(VIEWS[0], &[planted, safe]).await.0, StatusCode::UNAUTHORIZED);

    let (status, headers, _) = taken(opened.send("DELETE", &[safe], "").await).await;
    let cookie = headers["set-cookie"].to_str().unwrap();
    assert_eq!(
        (status, cookie),
        (
            StatusCode::NO_CONTENT,
            "__Host-penstock-token=; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=0"
        )
    );
    let nothing = ("cookie", "penstock-token=");
    assert_eq!(opened.get(VIEWS[0], &[nothing]).await.0, StatusCode::UNAUTHORIZED);

    // What is no token does not become a cookie.
    let long = "a".repeat(4_001);
    for (token, status) in [
        ("guess", StatusCode::UNAUTHORIZED),
        ("", StatusCode::BAD_REQUEST),
        ("clerk-token; Domain=example.com", StatusCode::BAD_REQUEST),
        ("clerk-token\r\nSet-Cookie: a=b", StatusCode::BAD_REQUEST),
        (&long, StatusCode::BAD_REQUEST),
    ] {
        let (said, headers, body) = taken(opened.sign_in(token, &[]).await).await;
        assert_eq!(said, status, "{token}: {body}");
        assert!(!headers.contains_key("set-cookie") && body.contains("hint: "), "{body}");
        assert!(token.is_empty() || !body.contains(token), "it repeats the token: {body}");
    }
    for (kind, body) in [
        ("text/plain", r#"{"token":"clerk-token"}"#),
        ("application/x-www-form-urlencoded", "token=clerk-token"),
        ("application/json", "\"clerk-token\""),
        ("application/json", &format!("{{\"token\": \"{}\"}}", "a".repeat(20_000))),
    ] {
        let (status, _, said) =
            taken(opened.send("POST", &[("content-type", kind)], body).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{kind}: {said}");
        assert!(!said.contains("clerk-token"), "{said}");
    }
    // Nor is one waited for that never comes.
    let endless = Body::from_stream(stream::pending::<io::Result<Bytes>>());
    let request = Request::post(SESSION).header("content-type", "application/json");
    let asked = opened.router.clone().oneshot(request.body(endless).unwrap());
    let answered = tokio::time::timeout(60 * SECOND, asked).await;
    assert_eq!(answered.unwrap().unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn no_other_site_can_sign_anybody_in_or_out() {
    let opened = Opened::new().await;
    let hosts = ["penstock.example.com".parse().unwrap()].into_iter().collect();
    let router = opened.answer.clone().known_as(hosts).open_page(opened.gate.clone());
    let opened = Opened { router, ..opened };
    let here = ("host", "localhost:8084");
    let proxied = ("host", "10.0.0.7:8084");
    for bad in [
        vec![here, ("origin", "https://evil.example")],
        vec![here, ("origin", "null")],
        vec![here, ("origin", "http://localhost:3000")],
        vec![here, ("origin", "http://localhost:8084"), ("sec-fetch-site", "cross-site")],
        vec![here, ("sec-fetch-site", "same-site")],
        vec![here, ("sec-fetch-site", "none")],
        vec![proxied, ("origin", "https://10.0.0.8:8084")],
        vec![("host", "penstock.example.com"), ("origin", "https://a.penstock.example.com")],
    ] {
        for response in
            [opened.sign_in("clerk-token", &bad).await, opened.send("DELETE", &bad, "").await]
        {
            let (status, headers, _) = taken(response).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{bad:?}");
            assert!(!headers.contains_key("set-cookie"), "{bad:?}");
        }
    }
    for good in [
        vec![here],
        vec![here, ("origin", "http://localhost:8084")],
        vec![here, ("origin", "http://localhost:8084"), ("sec-fetch-site", "same-origin")],
        vec![("host", "Penstock.example.com"), ("origin", "https://penstock.example.com")],
        vec![proxied, ("origin", "https://penstock.example.com")],
    ] {
        assert_eq!(opened.sign_in("clerk-token", &good).await.status(), StatusCode::OK, "{good:?}");
    }
    // By a name that leads here from elsewhere, nothing at all.
    let evil = [("host", "evil.example")];
    assert_eq!(
        opened.sign_in("clerk-token", &evil).await.status(),
        StatusCode::MISDIRECTED_REQUEST
    );
    let (status, _) =
        opened.get(VIEWS[0], &[evil[0], ("authorization", "Bearer root-token")]).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
}

/// How a page is answered at this address that is asked for by this name.
async fn by_name(address: SocketAddr, name: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let asked = format!("GET / HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    said.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_name_that_is_given_leads_to_the_door_that_asks_for_a_token_where_there_is_one() {
    const NAME: &str = "penstock.example.com";
    let listen = async || answer::listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    for is_open in [false, true] {
        let cluster = Bench::cluster(|_| {});
        let (own, open) = (listen().await, listen().await);
        let (at_own, at_open) = (own.local_addr().unwrap(), open.local_addr().unwrap());
        let open = page::Open { listener: open, audiences: Vec::new() };
        let door = Door {
            open: is_open.then_some(open),
            hosts: [NAME.parse().unwrap()].into_iter().collect(),
            ..Door::from(own)
        };
        let options = daemon::Options { page: Some(door), ..options("a") };
        let clients = clients(cluster.client(), cluster.client());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            Box::pin(daemon::run(clients, options, CancellationToken::new())).await.unwrap();
        });
        assert_eq!(by_name(at_own, "localhost").await, "200");
        assert_eq!(by_name(at_own, NAME).await, if is_open { "421" } else { "200" });
        if is_open {
            assert_eq!(by_name(at_open, NAME).await, "200");
        }
    }
}
