//! The window: probes, metrics and the API of pipelines, asked through the routers that the daemon serves; and `explain`, which
//! reads the same view over a real socket.

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use penstock::answer::view::{Pipeline, Pipelines};
use penstock::answer::{self, Answer, Pulse};
use penstock::crd::meaning::Code;
use penstock::decide::{Lost, Missing, Observation, Reading, Reason, Value as Read};
use penstock::report::Fault;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::served::Kubeconfig;
use crate::turns::{Bench, Turn, stage, turn};

async fn ask(router: Router, path: &str) -> (StatusCode, String, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response: Response<Body> = router.oneshot(request).await.unwrap();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, kind.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
}

fn window(bench: &Bench) -> (Answer, Pulse) {
    let pulse = Pulse::default();
    (Answer::new(&bench.report, pulse.clone(), bench.clock), pulse)
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_after_the_first_turn_and_no_more_at_the_end() {
    let bench = Bench::new().await;
    let (answer, pulse) = window(&bench);
    let ready = || async { ask(answer.probes(), "/readyz").await.0 };
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE);
    pulse.awaits(vec!["pods of shop".to_owned()]);
    let (_, _, lacks) = ask(answer.probes(), "/readyz").await;
    assert_eq!(lacks, "no list yet of: pods of shop; hint: penstock check\n");
    assert!(!pulse.begun().is_cancelled());
    pulse.beat();
    assert!(pulse.begun().is_cancelled());
    assert_eq!(ready().await, StatusCode::OK);
    pulse.end();
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE);
    pulse.beat();
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE, "there is no way back");
}

#[tokio::test(start_paused = true)]
async fn it_is_sick_when_the_loop_has_not_come_round_for_ten_beats() {
    let bench = Bench::new().await;
    let (answer, pulse) = window(&bench);
    let healthy = || async { ask(answer.probes(), "/healthz").await.0 };
    bench.wait(Duration::from_mins(10)).await;
    assert_eq!(healthy().await, StatusCode::OK, "filling the stores takes as long as it takes");
    pulse.beat();
    bench.wait(Duration::from_secs(49)).await;
    assert_eq!(healthy().await, StatusCode::OK);
    bench.wait(Duration::from_secs(1)).await;
    assert_eq!(healthy().await, StatusCode::SERVICE_UNAVAILABLE);
    pulse.beat();
    assert_eq!(healthy().await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn metrics_are_open_metrics() {
    let bench = Bench::new().await;
    let (answer, _) = window(&bench);
    bench.tell(&Turn::of(|_| {})).await;
    let (status, kind, body) = ask(answer.probes(), "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(body.contains("penstock_stage_replicas{"), "{body}");
    assert!(body.ends_with("# EOF\n"));
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_is_shown_whole() {
    let bench = Bench::new().await;
    let (answer, _) = window(&bench);
    let mut sink = stage("sink");
    sink.stage.after = vec![0];
    sink.verdict.replicas = Some(7);
    sink.verdict.signals.delay = Some(90.0);
    sink.verdict.signals.rate_per_replica = Some(48.2);
    sink.verdict.held = Some((12, Timestamp::UNIX_EPOCH));
    sink.verdict.why.push(Reason::AtMax { wished: 9, max: 7 });
    let reading = Arc::new(Reading { at: bench.clock.now(), value: Read::Gauge(1.0) });
    let lost = Lost { partitions: 1, of: 12, error: "NotLeader".into() };
    sink.observation = Some(Observation::Partial(reading, lost));
    bench.tell(&turn(vec![stage("enrich"), sink])).await;
    bench.wait(Duration::from_secs(3)).await;
    let (status, kind, body) = ask(answer.page(), "/api/v1/pipelines/default/orders").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"));
    let seen: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(seen["bottleneck"], json!("sink"));
    assert_eq!(seen["delaySeconds"], json!(90.0));
    assert_eq!(seen["leads"], json!(true));
    assert!((3.0..4.0).contains(&seen["ageSeconds"].as_f64().unwrap()), "{body}");
    let mut shown = seen["stages"][1].clone();
    let source = shown["sources"][0].take();
    assert_eq!(
        shown,
        json!({
            "name": "sink", "target": "Deployment sink", "mode": "Enforce", "after": ["enrich"],
            "replicas": {"desired": 7, "current": 4, "ready": 3, "min": 1, "max": 20},
            "lag": 10, "delaySeconds": 90.0, "isDelayAtLeast": false, "objectiveSeconds": 60.0,
            "arrivalRate": 12.0, "ratePerReplica": 48.2, "partitions": 8,
            "held": {"replicas": 12, "since": "1970-01-01T00:00:00Z"},
            "reasons": [
                {"code": "Steady", "sentence": "the present count fits: the oldest message has waited 5 s of 60 s",
                 "hint": "change objective.maxDelay, or make each replica faster"},
                {"code": "AtMax", "sentence": "kept at max 7: 9 are wished", "hint": "raise replicas.max to 9"},
            ],
            "inForce": {
                "priority": 0, "prefer": "Balanced", "onSilence": "Hold",
                "fallback": {"policy": "Hold", "afterSeconds": 120.0},
            },
            "sources": [null],
        })
    );
    assert_eq!((&source["pollSeconds"], &source["activation"]), (&json!(2.0), &json!(0.0)));
    assert_eq!(source["state"], json!("Partial"));
    assert_eq!(source["message"], json!("1 of 12 partitions did not answer: NotLeader"));
    assert!((3.0..4.0).contains(&source["ageSeconds"].as_f64().unwrap()), "{source}");
    let (_, _, all) = ask(answer.page(), "/api/v1/pipelines").await;
    let all: Pipelines = serde_json::from_str(&all).unwrap();
    let mut one: Pipeline = serde_json::from_str(&body).unwrap();
    one.stages.iter_mut().for_each(|stage| stage.in_force = None);
    assert_eq!(all.pipelines, [one], "what is in force is told where one is asked for");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_told_with_a_hint_and_nothing_can_be_written() {
    let bench = Bench::new().await;
    let (answer, _) = window(&bench);
    let (status, _, body) = ask(answer.page(), "/api/v1/pipelines/default/nope").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["reason"], json!("NotFound"));
    assert!(body["message"].as_str().unwrap().starts_with("no pipeline default/nope; hint: "));
    assert_eq!(ask(answer.page(), "/nowhere").await.0, StatusCode::NOT_FOUND);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let request =
            Request::builder().method(method).uri("/api/v1/pipelines").body(Body::empty()).unwrap();
        let response = answer.page().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
}

#[tokio::test]
async fn a_taken_address_is_told() {
    let first = answer::listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = first.local_addr().unwrap();
    let error = answer::listen(address).await.unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("cannot listen on {address}; hint: ")),
        "{error}"
    );
}

/// Runs `penstock explain` as people do.
async fn explain(arguments: Vec<String>) -> Output {
    penstock("explain", arguments).await
}

async fn penstock(command: &'static str, arguments: Vec<String>) -> Output {
    let run =
        move || Command::new(env!("CARGO_BIN_EXE_penstock")).arg(command).args(arguments).output();
    tokio::task::spawn_blocking(run).await.unwrap().unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[tokio::test(start_paused = true)]
async fn who_never_ends_his_header_is_let_go_and_a_long_one_is_not_taken() {
    let listener = answer::listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(answer::serve(listener, Router::new(), CancellationToken::new()));
    let begun = Instant::now();
    for sent in ["", "GET / HTTP/1.1\r\nhost: localhost\r\nx: "] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        let ended = timeout(Duration::from_mins(10), stream.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "{sent:?} is waited for without end");
    }
    assert!(begun.elapsed() <= Duration::from_mins(5), "{:?}", begun.elapsed());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let long = format!("{:x<1$}", "GET / HTTP/1.1\r\nx: ", 32 << 10);
    stream.write_all(long.as_bytes()).await.unwrap();
    let mut said = [0; 12];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 431");
}

/// Serves what `bench` was told, on a real socket.
async fn served(bench: &Bench) -> (String, JoinSet<()>) {
    let (answer, _) = window(bench);
    let listener = answer::listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(answer::serve(listener, answer.page(), CancellationToken::new()));
    (url, tasks)
}

#[tokio::test]
async fn explain_reads_the_reasons_aloud() {
    let bench = Bench::new().await;
    let (url, _guard) = served(&bench).await;
    let mut told = stage("enrich");
    told.verdict.replicas = Some(7);
    told.verdict.why = vec![
        Reason::CatchUp { lag: 182_000, delay: 41.0, objective: 60.0, rate: 48.2, wished: 9 },
        Reason::AtMax { wished: 9, max: 7 },
    ];
    bench.tell(&turn(vec![told])).await;
    let arguments = ["orders", "--server", &url].map(ToOwned::to_owned).to_vec();
    let output = explain(arguments).await;
    let (out, err) = said(&output);
    assert!(output.status.success(), "{err}");
    for line in [
        "enrich should have 7 replicas, and has 4.",
        "  First: 9 replicas: 182000 messages wait, the oldest for 41 s; at 48.2/s each, 9 work it off within 60 s [CatchUp]",
        "  Because: kept at max 7: 9 are wished [AtMax]",
        "  To change this: raise replicas.max to 9.",
    ] {
        assert!(out.lines().any(|has| has == line), "{line} is not in\n{out}");
    }
    assert!(out.starts_with("Pipeline default/orders, generation 1, decided "), "{out}");
    assert!(out.lines().any(|line| line.trim_start().starts_with("enrich  7       4")), "{out}");
    let json = ["orders", "--server", &url, "-o", "json"].map(ToOwned::to_owned).to_vec();
    let (out, _) = said(&explain(json).await);
    let view: Pipeline = serde_json::from_str(&out).unwrap();
    assert_eq!(view.stages[0].reasons[1].code, "AtMax");
}

#[tokio::test]
async fn explain_names_the_field_that_stands_in_the_way() {
    let bench = Bench::new().await;
    let (url, _guard) = served(&bench).await;
    let fault = Fault {
        path: "spec.stages[0].lanes".into(),
        code: Code::NotYetSupported,
        message: "is not supported by this version".into(),
        hint: Some("state a target".into()),
    };
    bench.tell(&Turn { faults: vec![fault], stages: Vec::new(), ..Turn::of(|_| {}) }).await;
    let output = explain(["orders", "--server", &url].map(ToOwned::to_owned).to_vec()).await;
    let (out, _) = said(&output);
    let line = "Nothing is decided: spec.stages[0].lanes is not supported by this version (NotYetSupported).";
    assert!(out.contains(line), "{out}");
    assert!(out.contains("To change this: state a target."), "{out}");
}

#[tokio::test]
async fn explain_that_finds_nothing_says_what_and_where_with_a_hint() {
    let bench = Bench::new().await;
    let (url, _guard) = served(&bench).await;
    let output = explain(["nope", "--server", &url].map(ToOwned::to_owned).to_vec()).await;
    assert_eq!(output.status.code(), Some(1));
    let (out, err) = said(&output);
    assert_eq!(out, "");
    assert!(err.contains("knows no pipeline default/nope; hint: "), "{err}");
    assert_eq!(err.lines().count(), 1);
    let nobody = ["nope", "--server", "http://127.0.0.1:1"].map(ToOwned::to_owned).to_vec();
    let output = explain(nobody).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).1.starts_with("error: no daemon answers at http://127.0.0.1:1/: "));

    // What the daemon itself says against it is told in its own words; what another says is no daemon's.
    let of_ours = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "ServiceUnavailable",
        "message": "the page is shut; hint: try again", "code": 503,
    });
    for (body, told) in [
        (of_ours.to_string(), " answers 503: the page is shut; hint: try again\n"),
        ("<h1>Bad gateway</h1>".to_owned(), "error: no daemon answers at http://127.0.0.1:"),
    ] {
        let refuse = async move || (StatusCode::SERVICE_UNAVAILABLE, body.clone());
        let listener = answer::listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        let router = Router::new().fallback(refuse);
        tasks.spawn(answer::serve(listener, router, CancellationToken::new()));
        let output = explain(["nope", "--server", &url].map(ToOwned::to_owned).to_vec()).await;
        let (_, err) = said(&output);
        assert!(!output.status.success() && err.contains(told), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    assert_eq!(explain(vec!["--wrong".to_owned()]).await.status.code(), Some(2));
}

#[tokio::test]
async fn explain_without_a_daemon_reads_the_status_and_says_so() {
    let bench = Bench::new().await;
    bench
        .tell(&Turn::of(|told| {
            told.verdict.signals.delay = Some(41.0);
            told.verdict.why = vec![Reason::AtMax { wished: 9, max: 7 }];
        }))
        .await;
    let kubeconfig = Kubeconfig::of(&bench.cluster).await;
    let file = kubeconfig.file();
    let output = explain(["orders", "--kubeconfig", file].map(ToOwned::to_owned).to_vec()).await;
    let (out, err) = said(&output);
    assert!(output.status.success(), "{err}");
    assert!(err.starts_with("no daemon could be asked (no pod has the label "), "{err}");
    assert!(out.contains("Told by its status."), "{out}");
    assert!(out.contains("Because: kept at max 7: 9 are wished [AtMax]"), "{out}");
    let output = explain(["nope", "--kubeconfig", file].map(ToOwned::to_owned).to_vec()).await;
    assert_eq!(output.status.code(), Some(1));
    let (_, err) = said(&output);
    assert!(err.contains("no ScaledPipeline default/nope; hint: "), "{err}");
}

#[tokio::test]
async fn top_shows_the_latest_pipeline_first_and_once_where_nobody_watches() {
    let bench = Bench::new().await;
    let (url, _guard) = served(&bench).await;
    bench.create("late").await;
    bench.tell(&Turn::of(|_| {})).await;
    let late = Turn::of(|told| told.verdict.signals.delay = Some(130.0));
    bench.tell_over(bench.glance("late").await, &late);
    bench.wait(Duration::from_millis(200)).await;
    let output = penstock("top", ["--server", &url].map(ToOwned::to_owned).to_vec()).await;
    let (out, err) = said(&output);
    assert!(output.status.success(), "{err}");
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(out.starts_with("2 pipelines, told by http://"), "{out}");
    assert_eq!(lines[3][..2], ["default/late", "enrich"], "{out}");
    assert_eq!(
        lines[3][2..],
        ["4", "4", "3", "10", "2", "min", "60", "s", "12.0/s", "-", "Steady"]
    );
    assert_eq!(lines[4][0], "default/orders");
    let arguments = ["--server", &url, "-n", "elsewhere", "-o", "json"].map(ToOwned::to_owned);
    assert_eq!(said(&penstock("top", arguments.to_vec()).await).0, "[]\n");
}

#[tokio::test]
async fn an_observation_that_failed_is_shown_with_its_words() {
    let bench = Bench::new().await;
    let (answer, _) = window(&bench);
    let missing = Missing {
        label: "UnknownTopic".into(),
        message: "the broker knows no such topic".into(),
        is_lasting: true,
        since: Timestamp::UNIX_EPOCH,
    };
    bench.tell(&Turn::of(|told| told.observation = Some(Observation::Failed(missing)))).await;
    let (_, _, body) = ask(answer.page(), "/api/v1/pipelines/default/orders").await;
    let view: Pipeline = serde_json::from_str(&body).unwrap();
    let source = &view.stages[0].sources[0];
    assert_eq!(source.state, "Failed");
    assert_eq!(source.message.as_deref(), Some("the broker knows no such topic"));
    assert_eq!(source.at, None);
}

#[tokio::test]
async fn credentials_that_are_refused_are_shown_and_read_aloud_beside_a_fresh_reading() {
    let bench = Bench::new().await;
    let (url, _guard) = served(&bench).await;
    let why = Missing {
        label: "AuthenticationFailed".into(),
        message: "kafka:9093 refuses the login: no; hint: check the Secrets".into(),
        is_lasting: true,
        since: Timestamp::UNIX_EPOCH,
    };
    bench.tell(&Turn { refusal: Some(why), ..Turn::of(|_| {}) }).await;
    let json = ["orders", "--server", &url, "-o", "json"].map(ToOwned::to_owned).to_vec();
    let (out, _) = said(&explain(json).await);
    let view: Pipeline = serde_json::from_str(&out).unwrap();
    let source = &view.stages[0].sources[0];
    assert_eq!((source.state.as_str(), &source.message), ("Fresh", &None));
    let refusal = source.refusal.clone().unwrap();
    assert_eq!(refusal.code, "AuthenticationFailed");
    assert_eq!(refusal.since, Timestamp::UNIX_EPOCH);
    let (out, _) =
        said(&explain(["orders", "--server", &url].map(ToOwned::to_owned).to_vec()).await);
    for line in [
        "    It answers to its former credentials; the newest are not in use since 1970-01-01 00:00:00 UTC:",
        "    kafka:9093 refuses the login: no; hint: check the Secrets [AuthenticationFailed]",
    ] {
        assert!(out.lines().any(|has| has == line), "{line} is not in\n{out}");
    }
}

#[tokio::test]
async fn an_objective_that_nobody_wrote_is_read_aloud_as_a_default() {
    let bench = Bench::new().await;
    let (url, _guard) = served(&bench).await;
    for (seconds, aloud) in [
        (60.0, "\n  Its objective is a default: 60 s, since nobody wrote one.\n"),
        (
            20.0,
            "\n  Its objective is its share of a default: 60 s from end to end, since nobody wrote one.\n",
        ),
    ] {
        let turn = Turn::of(|told| {
            told.stage.is_default_objective = true;
            told.verdict.signals.objective = Some(seconds);
        });
        bench.tell(&turn).await;
        let asked = ["orders", "--server", &url].map(ToOwned::to_owned).to_vec();
        let (out, _) = said(&explain(asked).await);
        assert!(out.contains(aloud), "{out}");
    }
}
