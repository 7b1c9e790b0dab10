//! The page: its files, its views in JSON, the picture of the stages and the stream, asked through the router that the daemon serves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use jiff::SignedDuration;
use penstock::answer::page::{
    Attention, Capacity, Currency, Detail, GaveWay, Mood, Overview, Severity,
};
use penstock::answer::{Answer, Pulse, Recollection};
use penstock::crd::meaning::Code;
use penstock::decide::{
    Class, Missing, Observation, Partition, PipelineId, PoolState, Queue, Reading, Reason, Sign,
    Unusable, Value as Read,
};
use penstock::report::Fault;
use ring::digest::{SHA256, digest};
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tower::ServiceExt;

use crate::decide::forecast::swung;
use crate::turns::{Bench, Turn, budget, id, pool, stage, turn};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn window(bench: &Bench) -> (Answer, Pulse) {
    let pulse = Pulse::default();
    (Answer::new(&bench.report, pulse.clone(), bench.clock), pulse)
}

pub(crate) async fn ask(
    router: &Router,
    path: &str,
    headers: &[(&str, &str)],
) -> http::Response<Body> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn read(router: &Router, path: &str) -> (StatusCode, HeaderMap, String) {
    let response = ask(router, path, &[]).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

async fn json<T: serde::de::DeserializeOwned>(router: &Router, path: &str) -> T {
    let (status, headers, body) = read(router, path).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(headers["content-type"], "application/json");
    serde_json::from_str(&body).unwrap()
}

/// All that the page's own files name as coming from the server.
fn named(text: &str) -> BTreeSet<String> {
    let marks = ["src=\"", "href=\"", "from \"./"];
    let after = marks.iter().flat_map(|mark| text.split(mark).skip(1));
    let names = after.filter_map(|rest| rest.split('"').next());
    let is_file = |name: &&str| !name.starts_with(['#', '$']) && !name.starts_with("api/");
    names.filter(is_file).map(ToOwned::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn every_file_the_page_names_is_served_with_its_type_and_tag_and_none_comes_from_elsewhere() {
    let bench = Bench::new().await;
    let router = window(&bench).0.page();
    let (status, headers, html) = read(&router, "/").await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::OK, &"text/html; charset=utf-8".parse().unwrap())
    );
    let mut waiting = named(&html);
    let mut seen = BTreeSet::new();
    while let Some(name) = waiting.pop_first() {
        assert!(!name.contains(':') && !name.starts_with("//"), "{name} comes from elsewhere");
        if !seen.insert(name.clone()) {
            continue;
        }
        let (status, headers, text) = read(&router, &format!("/{name}")).await;
        assert_eq!(status, StatusCode::OK, "{name}");
        let kind = headers["content-type"].to_str().unwrap();
        let ending = name.rsplit('.').next().unwrap();
        let expected = match ending {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("what is a {other}?"),
        };
        assert_eq!(kind, expected, "{name}");
        waiting.extend(named(&text));
        // Asked again with its tag, it is not sent again.
        let tag = headers["etag"].to_str().unwrap();
        let again = ask(&router, &format!("/{name}"), &[("if-none-match", tag)]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{name}");
        assert!(again.into_body().collect().await.unwrap().to_bytes().is_empty());
        let other = ask(&router, &format!("/{name}"), &[("if-none-match", "\"other\"")]).await;
        assert_eq!(other.status(), StatusCode::OK, "{name}");
    }
    assert!(seen.len() >= 8, "{seen:?}");
    assert!(!html.contains("onclick") && !html.contains("style="));
}

#[tokio::test(start_paused = true)]
async fn every_answer_forbids_what_does_not_come_from_here() {
    let bench = Bench::new().await;
    bench.tell(&Turn::of(|_| {})).await;
    let router = window(&bench).0.page();
    for path in [
        "/",
        "/page.js",
        "/api/v1/overview",
        "/api/v1/pipelines/default/orders/graph.svg",
        "/nowhere",
    ] {
        let (_, headers, _) = read(&router, path).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_two_parts_that_stand_in_the_page_are_let_through_by_their_hashes_and_nothing_else_is()
{
    let bench = Bench::new().await;
    let router = window(&bench).0.page();
    let (_, headers, html) = read(&router, "/").await;
    let policy = headers["content-security-policy"].to_str().unwrap();
    for (kind, part) in [("script", "<script>"), ("style", "<style>")] {
        let inside: Vec<_> = html.split(part).skip(1).collect();
        assert_eq!(inside.len(), 1, "{part}");
        let (inside, _) = inside[0].split_once(&format!("</{kind}>")).unwrap();
        let digest = digest(&SHA256, inside.as_bytes());
        let rule = format!("{kind}-src 'self' 'sha256-{}';", STANDARD.encode(digest));
        assert!(policy.contains(&rule), "{policy} lacks {rule}");
    }
    // Who has the page already takes the policy of this answer all the same.
    let tag = headers["etag"].to_str().unwrap();
    let again = ask(&router, "/", &[("if-none-match", tag)]).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(again.headers()["content-security-policy"].to_str().unwrap(), policy);
    let (_, headers, _) = read(&router, "/page.js").await;
    assert!(!headers["content-security-policy"].to_str().unwrap().contains("sha256"));
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_is_one_line_and_says_how_it_is_in_a_word() {
    let bench = Bench::new().await;
    let router = window(&bench).0.page();
    let mut sink = stage("sink");
    sink.stage.after = vec![0];
    sink.verdict.signals.delay = Some(12.345);
    bench.tell(&turn(vec![stage("enrich"), sink])).await;
    let seen: Overview = json(&router, "/api/v1/overview").await;
    let [row] = &seen.pipelines[..] else { panic!("{seen:?}") };
    assert_eq!((row.state, row.stages, row.desired, row.ready), (Mood::Working, 2, 8, 6));
    assert_eq!(
        (row.lag, row.arrival_rate),
        (Some(20), Some(12.0)),
        "what arrives comes in at the first"
    );
    assert_eq!((row.bottleneck.as_deref(), row.delay_seconds), (Some("sink"), Some(12.3)));
    assert_eq!((row.objective_seconds, row.reason.as_deref()), (Some(60.0), Some("Steady")));
    assert!(row.concerns.is_empty());

    let mood = async |turn: &Turn| {
        bench.tell(turn).await;
        bench.wait(SECOND).await;
        json::<Overview>(&router, "/api/v1/overview").await.pipelines.remove(0).state
    };
    let is = |reason: Reason| Turn::of(move |told| told.verdict.why.push(reason));
    assert_eq!(mood(&Turn::of(|told| told.verdict.signals.delay = Some(61.0))).await, Mood::Late);
    assert_eq!(mood(&is(Reason::Observed { would_be: 9 })).await, Mood::Note);
    let unusable = Reason::TargetUnusable { code: "NotFound".into(), message: "none".into() };
    assert_eq!(mood(&is(unusable)).await, Mood::Broken);
    let slower = Reason::SlowerReplicas { rate: 4.0, usual: 9.0 };
    assert_eq!(mood(&Turn::of(|told| told.verdict.anomalies.push(slower))).await, Mood::Odd);
    let quiet = Turn::of(|told| {
        (told.verdict.signals.lag, told.verdict.signals.arrival_rate) = (Some(0), Some(0.0));
    });
    assert_eq!(mood(&quiet).await, Mood::Quiet);
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_look_stands_together_the_gravest_first_in_the_words_of_explain() {
    let bench = Bench::new().await;
    let router = window(&bench).0.page();
    let fault = Fault {
        path: "spec.stages[0].lanes".into(),
        code: Code::NotYetSupported,
        message: "is not supported by this version".into(),
        hint: Some("state a target".into()),
    };
    for name in ["faulty", "late", "blind", "watched"] {
        bench.create(name).await;
    }
    let tell = async |name: &str, turn: &Turn| bench.tell_over(bench.glance(name).await, turn);
    tell("faulty", &Turn { faults: vec![fault], stages: Vec::new(), ..Turn::of(|_| {}) }).await;
    let late = Turn::of(|told| {
        told.verdict.signals.delay = Some(130.0);
        told.verdict.why = vec![Reason::AtMax { wished: 9, max: 7 }];
    });
    tell("late", &late).await;
    let since = bench.clock.now() - Duration::from_secs(30);
    let missing = || Missing {
        label: "Timeout".into(),
        message: "no answer".into(),
        is_lasting: false,
        since,
    };
    let blind = |seconds: u64| {
        let since = bench.clock.now() - Duration::from_secs(seconds);
        Turn::of(|told| {
            let reading = Arc::new(Reading { at: since, value: Read::Gauge(1.0) });
            told.observation = Some(Observation::Stale(reading, missing()));
            (told.verdict.signals.is_fresh, told.verdict.signals.blind_since) =
                (false, Some(since));
            let (source, label) = ("todo".to_owned(), "Timeout".to_owned());
            let reason = Reason::NoFreshData { source, label, message: "no answer".into() };
            told.verdict.why = vec![reason.clone(), reason];
        })
    };
    tell("blind", &blind(5)).await;
    tell("watched", &Turn::of(|told| told.verdict.why.push(Reason::Observed { would_be: 9 })))
        .await;
    bench.wait(SECOND).await;
    let seen = async || -> Vec<(String, Severity, String)> {
        let all: Attention = json(&router, "/api/v1/attention").await;
        let all = all.concerns.into_iter();
        all.map(|it| (it.pipeline, it.concern.severity, it.concern.code)).collect()
    };
    let expected = |name: &str, severity, code: &str| (name.to_owned(), severity, code.to_owned());
    let (faulty, tardy, watched) = (
        expected("faulty", Severity::Broken, "NotYetSupported"),
        expected("late", Severity::Late, "Late"),
        expected("watched", Severity::Note, "Observed"),
    );
    assert_eq!(
        seen().await,
        [faulty.clone(), tardy.clone(), watched.clone()],
        "five seconds are a hiccup"
    );
    tell("blind", &blind(30)).await;
    bench.wait(SECOND).await;
    let held = expected("blind", Severity::Held, "NoFreshData");
    assert_eq!(seen().await, [faulty, tardy, held, watched]);
    let all: Attention = json(&router, "/api/v1/attention").await;
    let late = &all.concerns[1].concern;
    assert_eq!(
        late.sentence,
        "the oldest item has waited 130 s of 60 s; kept at max 7: 9 are wished"
    );
    assert_eq!(late.hint.as_deref(), Some("raise replicas.max to 9"));
    assert!(all.concerns[2].concern.since.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_stage_is_shown_with_its_trend_and_how_its_work_lies() {
    let bench = Bench::new().await;
    let router = window(&bench).0.page();
    let partition = |id, lag: i64, owner| Partition {
        topic: 0,
        id,
        end: 100,
        position: 100 - lag,
        is_committed: true,
        owner,
    };
    let queue = Queue {
        backlog: 43,
        partitions: vec![partition(0, 40, Some(1)), partition(1, 3, None)],
        ..Queue::default()
    };
    let reading = Reading { at: bench.clock.now(), value: Read::Queue(queue) };
    let fresh = Observation::Fresh(Arc::new(reading));
    let told = Turn::of(|told| {
        told.observation = Some(fresh);
        told.verdict.signals.forecast_rate = Some(20.0);
    });
    bench.tell(&told).await;
    bench.wait(Duration::from_secs(20)).await;
    bench.tell(&told).await;
    let seen: Detail = json(&router, "/api/v1/pipelines/default/orders/stages/enrich").await;
    assert_eq!((seen.stage.name.as_str(), seen.stage.forecast_rate), ("enrich", Some(20.0)));
    let [spread] = &seen.spreads[..] else { panic!("{seen:?}") };
    assert_eq!((spread.source.as_str(), spread.lag), ("todo", 43));
    assert_eq!(spread.partitions[0].topic.as_deref(), Some("orders"));
    assert_eq!((spread.partitions[0].lag, spread.partitions[0].owner), (40, Some(1)));
    assert!((3..=4).contains(&seen.near.replicas.len()), "{:?}", seen.near);
    assert!(seen.near.replicas.iter().all(|count| *count == Some(4)));
    let delay = seen.near.delay_seconds.last().unwrap().unwrap();
    assert!((4.8..5.2).contains(&delay), "{delay}");
    for path in ["orders/stages/nope", "nope/stages/enrich", "nope/graph.svg"] {
        let (status, _, body) = read(&router, &format!("/api/v1/pipelines/default/{path}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(body.contains("hint: GET /api/v1/pipelines"), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn arrivals_are_shown_with_what_is_usual_over_the_day_and_three_hours_more() {
    let bench = Bench::new().await;
    bench.tell(&Turn::of(|_| {})).await;
    let path = "/api/v1/pipelines/default/orders/stages/enrich";
    let first: Detail = json(&window(&bench).0.page(), path).await;
    assert_eq!(first.usual, None, "nothing is remembered yet");
    // Two weeks, for it may be a weekend now; and the stage of the story by the name of this one.
    let told = serde_json::to_string(&swung(14)).unwrap();
    let told = told.replace("\"shop\"", "\"default\"").replace("\"work\"", "\"enrich\"");
    let memory = serde_json::from_str(&told).unwrap();
    let router = window(&bench).0.recalling(Recollection::of(memory)).page();
    let seen: Detail = json(&router, path).await;
    let usual = seen.usual.unwrap();
    assert_eq!((usual.start, usual.step_seconds), (seen.far.start, 900));
    assert_eq!(usual.high.len(), seen.far.replicas.len() + 12);
    for (low, high) in usual.low.iter().zip(&usual.high) {
        let (low, high) = (low.unwrap(), high.unwrap());
        assert!((150.0..220.0).contains(&low) && (220.0..300.0).contains(&high), "{low} to {high}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_currency_of_prices_is_named_where_somebody_said_it() {
    let bench = Bench::new().await;
    bench.tell(&Turn::of(|_| {})).await;
    let priced = async |path: &str, currency: Option<Currency>| {
        let router = window(&bench).0.priced_in(currency).page();
        let said: Value = json(&router, path).await;
        said.get("currency").cloned()
    };
    for path in ["/api/v1/capacity", "/api/v1/pipelines/default/orders"] {
        assert_eq!(priced(path, None).await, None);
        assert_eq!(priced(path, Some("EUR".parse().unwrap())).await, Some("EUR".into()));
    }
    for wrong in ["", "eur", "EURO", "€€€"] {
        assert!(wrong.parse::<Currency>().unwrap_err().contains("hint: "), "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn pools_are_shown_with_their_evidence_and_budgets_with_who_gives_way() {
    let bench = Bench::new().await;
    let router = window(&bench).0.page();
    let none: Capacity = json(&router, "/api/v1/capacity").await;
    assert!(none.pools.is_empty() && none.budgets.is_empty());

    let at = bench.clock.now();
    let sign = |what: &str, is_hard| Sign { at, is_hard, what: what.into() };
    let mut pool = pool("spot", Class::Spot, at);
    pool.glance.startup = Some((Duration::from_secs(52), Duration::from_secs(140)));
    pool.verdict.state = PoolState::Exhausted;
    pool.verdict.evidence = vec![sign("pods wait", false), sign("no capacity", true)];
    pool.verdict.next_probe = Some(at + SignedDuration::from_mins(10));
    let gave = PipelineId { namespace: "shop".into(), name: "bills".into() };
    let mut budget = budget("team", vec![(gave, 6)], at);
    Arc::make_mut(&mut budget.meant).cost_per_hour = Some(40.0);
    budget.verdict.cost_per_hour = Some(39.5);
    let turn = Turn { pools: vec![pool], budgets: vec![budget], ..Turn::of(|_| {}) };
    bench.tell(&turn).await;

    let seen: Capacity = json(&router, "/api/v1/capacity").await;
    let [pool] = &seen.pools[..] else { panic!("{seen:?}") };
    assert_eq!((&*pool.name, &*pool.class, &*pool.state), ("spot", "Spot", "Exhausted"));
    assert_eq!((pool.nodes, pool.cost_per_hour), (3, None), "an unknown price is no figure");
    assert_eq!((pool.startup_seconds, pool.longest_startup_seconds), (Some(52.0), Some(140.0)));
    let said: Vec<_> = pool.evidence.iter().map(|sign| (&*sign.what, sign.is_hard)).collect();
    assert_eq!(said, [("no capacity", true), ("pods wait", false)], "the newest first");
    let [budget] = &seen.budgets[..] else { panic!("{seen:?}") };
    assert_eq!(
        (budget.cost_per_hour, budget.cost_limit, budget.cpu_limit),
        (Some(39.5), Some(40.0), None)
    );
    assert_eq!(budget.gave_way, [GaveWay { pipeline: "shop/bills".to_owned(), replicas: 6 }]);
    assert!(budget.is_enforced && budget.is_exceeded);
}

#[tokio::test(start_paused = true)]
async fn the_picture_shows_the_stages_in_their_order() {
    let bench = Bench::new().await;
    let router = window(&bench).0.page();
    let mut sink = stage("sink");
    sink.stage.after = vec![0];
    sink.target = penstock::decide::Target::Unusable(Unusable::NotFound);
    bench.tell(&turn(vec![stage("enrich"), sink])).await;
    let (status, headers, right) =
        read(&router, "/api/v1/pipelines/default/orders/graph.svg").await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::OK, &"image/svg+xml".parse().unwrap())
    );
    assert_eq!(right.matches("<a class=\"node").count(), 2, "{right}");
    assert!(right.contains("href=\"#/default/orders/sink\"") && right.contains("class=\"edge"));
    let (_, _, down) = read(&router, "/api/v1/pipelines/default/orders/graph.svg?flow=down").await;
    let size = |svg: &str, side: &str| -> f64 {
        svg.split(&format!(" {side}=\""))
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    assert!(size(&right, "width") > size(&down, "width"), "{down}");
    assert!(size(&right, "height") < size(&down, "height"), "{down}");
}

/// A page that is open: events as they come.
pub(crate) struct Open {
    body: Body,
    text: String,
}

/// An event: its name, its id, its data.
pub(crate) type Told = (String, Option<String>, Value);

impl Open {
    pub(crate) async fn at(router: &Router, path: &str, headers: &[(&str, &str)]) -> Self {
        let response = ask(router, path, headers).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event or comment; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    lines.find_map(|line| line.strip_prefix(name)).map(|it| it.trim().to_owned())
                };
                let name = field("event:").or_else(|| field(":")).unwrap_or_default();
                let data = field("data:").map(|data| serde_json::from_str(&data).unwrap());
                let told = (name, field("id:"), data.unwrap_or_default());
                let rest = rest.to_owned();
                self.text = rest;
                return Some(told);
            }
            let frame = self.body.frame().await?.unwrap();
            self.text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }

    pub(crate) async fn within(&mut self, time: Duration) -> Option<Told> {
        timeout(time, self.next()).await.ok().flatten()
    }
}

pub(crate) fn names(told: &Value) -> Vec<&str> {
    told["pipelines"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_stream_tells_all_and_then_what_changes_at_most_once_a_second() {
    let bench = Bench::new().await;
    let router = window(&bench).0.page();
    bench.create("other").await;
    bench.tell(&Turn::of(|_| {})).await;
    bench.tell_over(bench.glance("other").await, &Turn::of(|_| {}));
    bench.wait(SECOND).await;
    let mut open = Open::at(&router, "/api/v1/stream", &[]).await;
    let (event, _, all) = open.within(SECOND).await.unwrap();
    assert_eq!((event.as_str(), &all["isWhole"]), ("pipelines", &true.into()));
    assert_eq!(names(&all), ["orders", "other"]);
    // Ten turns of one pipeline in a second become one event with the last of them.
    let begun = Instant::now();
    for lag in 100..110 {
        bench.tell(&Turn::of(|told| told.verdict.signals.lag = Some(lag))).await;
    }
    let mut events = 0;
    let last = loop {
        let (_, _, changed) = open.within(3 * SECOND).await.unwrap();
        events += 1;
        assert_eq!((names(&changed), &changed["isWhole"]), (vec!["orders"], &false.into()));
        if changed["pipelines"][0]["lag"] == 109 {
            break begun.elapsed();
        }
    };
    assert!(events <= 3 && last <= 3 * SECOND, "{events} events in {last:?}");
    // A turn that changes nothing worth showing is not told; a comment says that all is well.
    bench.tell(&Turn::of(|told| told.verdict.signals.lag = Some(109))).await;
    let (comment, ..) = open.within(20 * SECOND).await.unwrap();
    assert_eq!(comment, "still here");
    bench.report.forget(&id("orders"));
    let (_, _, gone) = open.within(3 * SECOND).await.unwrap();
    assert_eq!((names(&gone), &gone["gone"]), (vec![], &serde_json::json!(["default/orders"])));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_cut_goes_on_where_it_was_and_one_from_another_life_begins_anew() {
    let bench = Bench::new().await;
    let router = window(&bench).0.page();
    bench.create("other").await;
    bench.tell(&Turn::of(|_| {})).await;
    bench.tell_over(bench.glance("other").await, &Turn::of(|_| {}));
    bench.wait(SECOND).await;
    // Somebody else looks all the time: else what nobody looks at is forgotten.
    let _other = Open::at(&router, "/api/v1/stream", &[]).await;
    let mut first = Open::at(&router, "/api/v1/stream", &[]).await;
    let (_, token, _) = first.within(SECOND).await.unwrap();
    drop(first);
    bench.tell(&Turn::of(|told| told.verdict.signals.lag = Some(77))).await;
    bench.wait(2 * SECOND).await;
    let token = token.unwrap();
    let mut again = Open::at(&router, "/api/v1/stream", &[("last-event-id", &token)]).await;
    let (_, _, changed) = again.within(SECOND).await.unwrap();
    assert_eq!((names(&changed), &changed["isWhole"]), (vec!["orders"], &false.into()));
    let mut since = Open::at(&router, &format!("/api/v1/stream?since={token}"), &[]).await;
    assert_eq!(names(&since.within(SECOND).await.unwrap().2), ["orders"]);
    for stranger in ["00000000.1", "nonsense", "00000000.99999"] {
        let mut anew = Open::at(&router, "/api/v1/stream", &[("last-event-id", stranger)]).await;
        let (_, _, all) = anew.within(SECOND).await.unwrap();
        assert_eq!((names(&all), &all["isWhole"]), (vec!["orders", "other"], &true.into()));
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_reads_slowly_is_told_the_latest_and_nothing_piles_up() {
    let bench = Bench::new().await;
    let router = window(&bench).0.page();
    bench.tell(&Turn::of(|_| {})).await;
    let mut open = Open::at(&router, "/api/v1/stream", &[]).await;
    open.within(SECOND).await.unwrap();
    for lag in 1000..1060 {
        bench.tell(&Turn::of(|told| told.verdict.signals.lag = Some(lag))).await;
        bench.wait(SECOND).await;
    }
    let (_, _, latest) = open.within(3 * SECOND).await.unwrap();
    assert_eq!(latest["pipelines"][0]["lag"], 1059, "a minute of events is one event");
    assert_eq!(open.within(3 * SECOND).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_pipeline_that_is_shown_comes_whole_and_so_does_its_end() {
    let bench = Bench::new().await;
    let router = window(&bench).0.page();
    bench.tell(&Turn::of(|_| {})).await;
    let mut open = Open::at(&router, "/api/v1/stream?pipeline=default/orders", &[]).await;
    assert_eq!(open.within(SECOND).await.unwrap().0, "pipelines");
    let (event, id, whole) = open.within(SECOND).await.unwrap();
    assert_eq!((event.as_str(), id, &whole["name"]), ("pipeline", None, &"orders".into()));
    // Also a turn that changes no line of the table: ages and sources are in here.
    bench.tell(&Turn::of(|_| {})).await;
    assert_eq!(open.within(3 * SECOND).await.unwrap().0, "pipeline");
    bench.report.forget(&crate::turns::id("orders"));
    assert_eq!(open.within(3 * SECOND).await.unwrap().0, "pipelines");
    let (event, _, gone) = open.within(3 * SECOND).await.unwrap();
    assert_eq!((event.as_str(), &gone["isGone"]), ("pipeline", &true.into()));
    assert_eq!(open.within(5 * SECOND).await, None, "told once");
}

#[tokio::test(start_paused = true)]
async fn places_are_bounded_and_nothing_is_kept_when_nobody_looks() {
    let bench = Bench::new().await;
    let (answer, pulse) = window(&bench);
    let router = answer.page();
    bench.tell(&Turn::of(|_| {})).await;
    assert_eq!(answer.kept(), 0);
    let mut open = Vec::new();
    for _ in 0..32 {
        let mut page = Open::at(&router, "/api/v1/stream", &[]).await;
        page.within(SECOND).await.unwrap();
        open.push(page);
    }
    assert_eq!(answer.kept(), 1);
    let (status, headers, body) = read(&router, "/api/v1/stream").await;
    assert_eq!(
        (status, &headers["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"10".parse().unwrap())
    );
    let body: Value = serde_json::from_str(&body).unwrap();
    let words = body["message"].as_str().unwrap();
    assert!(
        words.starts_with("32 pages are open at this replica") && words.contains("; hint: "),
        "{words}"
    );
    open.pop();
    open.push(Open::at(&router, "/api/v1/stream", &[]).await);
    let (last, others) = (open.pop().unwrap(), open);
    drop(others);
    assert_eq!(answer.kept(), 1, "one still looks");
    drop(last);
    assert_eq!(answer.kept(), 0);
    json::<Overview>(&router, "/api/v1/overview").await;
    assert_eq!(answer.kept(), 0, "who asks once leaves nothing behind");
    // A stream ends with the process, and does not hold it up.
    let mut page = Open::at(&router, "/api/v1/stream", &[]).await;
    page.within(SECOND).await.unwrap();
    pulse.end();
    assert_eq!(timeout(SECOND, page.next()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn the_page_is_not_asked_for_by_a_name_that_leads_here_from_elsewhere() {
    let bench = Bench::new().await;
    let hosts = ["penstock.example.com".parse().unwrap()].into_iter().collect();
    let router = window(&bench).0.known_as(hosts).page();
    for path in ["/", "/api/v1/pipelines", "/api/v1/stream", "/nowhere"] {
        let refused = ask(&router, path, &[("host", "evil.example:8082")]).await;
        assert_eq!(refused.status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(refused.headers().contains_key("content-security-policy"), "{path}");
        let body = refused.into_body().collect().await.unwrap().to_bytes();
        let said: Value = serde_json::from_slice(&body).unwrap();
        let message = said["message"].as_str().unwrap();
        assert!(message.contains("evil.example") && message.contains("hint: "), "{message}");
    }
    // kubectl port-forward, the command line, an address, the name that was given, and whoever says none.
    for host in [
        "localhost:8082",
        "127.0.0.1:8082",
        "localhost",
        "[::1]:8082",
        "10.0.0.7:8082",
        "penstock.example.com",
    ] {
        assert_eq!(ask(&router, "/", &[("host", host)]).await.status(), StatusCode::OK, "{host}");
    }
    assert_eq!(ask(&router, "/", &[]).await.status(), StatusCode::OK);
}
