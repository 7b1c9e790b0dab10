//! The external scaler that Penstock is for KEDA, asked over a real socket: by hand, as KEDA does, and by our own source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use penstock::answer::{self, Answer, Pulse};
use penstock::crd::meaning::Code as FaultCode;
use penstock::decide::{QuestionId, Target, Value};
use penstock::observe::{Address, Ask, Credentials, Observe, Question, external};
use penstock::proto::external_scaler::external_scaler_client::ExternalScalerClient;
use penstock::proto::external_scaler::{GetMetricsRequest, ScaledObjectRef};
use penstock::report::Fault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::turns::{Bench, Turn, stage, turn};

struct Window {
    bench: Bench,
    pulse: Pulse,
    host: String,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Window {
    async fn open() -> Self {
        let bench = Bench::new().await;
        let pulse = Pulse::default();
        let answer = Answer::new(&bench.report, pulse.clone(), bench.clock);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(answer::scaler::serve(listener, answer, stop.clone()));
        Self { bench, pulse, host, stop, tasks }
    }

    async fn client(&self) -> ExternalScalerClient<Channel> {
        ExternalScalerClient::connect(format!("http://{}", self.host)).await.unwrap()
    }

    async fn tell(&self, replicas: Option<u32>) {
        let turn = Turn::of(|told| told.verdict.replicas = replicas);
        self.bench.tell(&turn).await;
    }
}

fn object(metadata: &[(&str, &str)]) -> ScaledObjectRef {
    ScaledObjectRef {
        name: "enrich".to_owned(),
        namespace: "default".to_owned(),
        scaler_metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

fn orders() -> ScaledObjectRef {
    object(&[("pipeline", "orders")])
}

/// What KEDA does at each poll, with a trigger of index 0.
async fn asked(
    client: &mut ExternalScalerClient<Channel>,
    object: &ScaledObjectRef,
) -> Result<(f64, f64, bool), Status> {
    let specs = client.get_metric_spec(object.clone()).await?.into_inner().metric_specs;
    let [spec] = specs.as_slice() else { panic!("{specs:?}") };
    let metrics = client
        .get_metrics(GetMetricsRequest {
            scaled_object_ref: Some(object.clone()),
            metric_name: spec.metric_name.clone(),
        })
        .await?
        .into_inner()
        .metric_values;
    let [value] = metrics.as_slice() else { panic!("{metrics:?}") };
    assert_eq!(value.metric_name, spec.metric_name);
    let is_active = client.is_active(object.clone()).await?.into_inner().result;
    Ok((spec.target_size_float, value.metric_value_float, is_active))
}

#[tokio::test]
async fn keda_is_told_the_replicas_that_were_decided_and_no_number_while_none_are() {
    let window = Window::open().await;
    let mut client = window.client().await;
    let code = |answer: Result<(f64, f64, bool), Status>| answer.unwrap_err().code();
    assert_eq!(code(asked(&mut client, &orders()).await), Code::Unavailable);
    window.pulse.beat();
    assert_eq!(code(asked(&mut client, &orders()).await), Code::NotFound);
    window.tell(Some(24)).await;
    assert_eq!(asked(&mut client, &orders()).await.unwrap(), (1.0, 24.0, true));
    window.tell(Some(0)).await;
    assert_eq!(asked(&mut client, &orders()).await.unwrap(), (1.0, 0.0, false));
    window.tell(None).await;
    assert_eq!(code(asked(&mut client, &orders()).await), Code::Unavailable);
    let mut broken = Turn::of(|_| {});
    broken.faults = vec![Fault {
        path: "spec.stages[0].lanes".to_owned(),
        code: FaultCode::NotYetSupported,
        message: "does not work in this version".to_owned(),
        hint: None,
    }];
    window.bench.tell(&broken).await;
    let status = asked(&mut client, &orders()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("spec.stages[0].lanes"), "{}", status.message());
    window.tell(Some(3)).await;
    window.pulse.end();
    assert_eq!(code(asked(&mut client, &orders()).await), Code::Unavailable);
}

#[tokio::test]
async fn a_paused_stage_is_left_at_what_it_has_unless_its_owner_pinned_it() {
    let window = Window::open().await;
    window.pulse.beat();
    let mut client = window.client().await;
    let mut turn = Turn::of(|told| {
        told.verdict.replicas = Some(24);
        let Target::Seen(workload) = &mut told.target else { panic!("no workload") };
        workload.desired = 7;
    });
    turn.pause.all = true;
    window.bench.tell(&turn).await;
    assert_eq!(asked(&mut client, &orders()).await.unwrap(), (1.0, 7.0, true));
    turn.pause.all = false;
    window.bench.tell(&turn).await;
    assert_eq!(asked(&mut client, &orders()).await.unwrap(), (1.0, 24.0, true));
}

#[tokio::test]
async fn a_scaled_object_names_pipeline_and_stage_of_its_own_namespace() {
    let window = Window::open().await;
    window.pulse.beat();
    let mut sink = stage("sink");
    sink.verdict.replicas = Some(7);
    window.bench.tell(&turn(vec![stage("enrich"), sink])).await;
    let mut client = window.client().await;
    let refused = [
        (object(&[]), Code::InvalidArgument, "metadata pipeline is missing"),
        (orders(), Code::InvalidArgument, "hint: name one in metadata stage"),
        (object(&[("pipeline", "none")]), Code::NotFound, "no pipeline default/none"),
        (object(&[("pipeline", "orders"), ("stage", "x")]), Code::NotFound, "has no stage x"),
        (
            ScaledObjectRef { namespace: "other".to_owned(), ..orders() },
            Code::NotFound,
            "no pipeline other/orders",
        ),
    ];
    for (object, code, words) in refused {
        let status = asked(&mut client, &object).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(words), "{status:?}");
    }
    let sink = object(&[("pipeline", "orders"), ("stage", "sink")]);
    assert_eq!(asked(&mut client, &sink).await.unwrap(), (1.0, 7.0, true));
    let other = GetMetricsRequest { scaled_object_ref: Some(sink), metric_name: "lag".to_owned() };
    assert_eq!(client.get_metrics(other).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_stream_says_what_holds_and_every_change_and_ends_with_the_daemon() {
    let mut window = Window::open().await;
    window.pulse.beat();
    window.tell(Some(0)).await;
    let mut client = window.client().await;
    let mut stream = client.stream_is_active(orders()).await.unwrap().into_inner();
    assert!(!stream.message().await.unwrap().unwrap().result);
    window.tell(Some(0)).await;
    window.tell(Some(5)).await;
    assert!(stream.message().await.unwrap().unwrap().result);
    // More of the same is no change, and what is not known is not said.
    window.tell(Some(9)).await;
    window.tell(None).await;
    window.tell(Some(0)).await;
    assert!(!stream.message().await.unwrap().unwrap().result);
    window.stop.cancel();
    assert_eq!(stream.message().await.unwrap(), None);
    drop((stream, client));
    assert!(window.tasks.join_next().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_stream_of_specs_says_what_is_asked_for_once_it_is_known_and_stays_open() {
    let mut window = Window::open().await;
    window.pulse.beat();
    let mut client = window.client().await;
    let mut stream = client.stream_metric_spec(orders()).await.unwrap().into_inner();
    let silence = Duration::from_millis(300);
    assert!(tokio::time::timeout(silence, stream.message()).await.is_err(), "nothing is decided");
    window.tell(Some(7)).await;
    let said = stream.message().await.unwrap().unwrap();
    assert_eq!(said, client.get_metric_spec(orders()).await.unwrap().into_inner());
    // Another count is no other spec.
    window.tell(Some(9)).await;
    assert!(tokio::time::timeout(silence, stream.message()).await.is_err());
    let unnamed = client.stream_metric_spec(object(&[])).await.unwrap_err();
    assert_eq!(unnamed.code(), Code::InvalidArgument);
    window.stop.cancel();
    assert_eq!(stream.message().await.unwrap(), None);
    drop((stream, client));
    assert!(window.tasks.join_next().await.unwrap().is_ok());
}

#[tokio::test]
async fn beyond_so_many_streams_the_next_is_refused_until_one_ends() {
    let window = Window::open().await;
    window.pulse.beat();
    window.tell(Some(1)).await;
    let mut client = window.client().await;
    let mut open = Vec::new();
    for _ in 0..2_000 {
        open.push(client.stream_is_active(orders()).await.unwrap());
    }
    let full = client.stream_is_active(orders()).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted, "{full:?}");
    assert!(client.is_active(orders()).await.is_ok(), "questions are answered still");
    open.pop();
    let mut other = window.client().await;
    let again = async {
        while other.stream_is_active(orders()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_went_without_a_word_is_cut_off() {
    let window = Window::open().await;
    window.pulse.beat();
    let mut stream = TcpStream::connect(&window.host).await.unwrap();
    // The preface of HTTP/2 and empty settings; then nothing more, and no answer to a ping.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut said = Vec::new();
    let end = tokio::time::timeout(Duration::from_mins(2), stream.read_to_end(&mut said)).await;
    assert!(end.is_ok(), "its connection is held open for ever");
}

#[tokio::test]
async fn our_own_source_reads_our_own_server() {
    let window = Window::open().await;
    window.pulse.beat();
    window.tell(Some(24)).await;
    let (wake, mut wakes) = mpsc::unbounded_channel();
    let observe = Observe::start(window.bench.clock, wake);
    let id = QuestionId("default/copy/enrich/decided".into());
    observe.ask(vec![Question {
        id: id.clone(),
        poll_interval: Duration::from_mins(5),
        address: Address::External(external::Address {
            connection: "default/penstock".to_owned(),
            host: window.host.clone(),
            tls: false,
            basic: false,
        }),
        credentials: Arc::new(Credentials::default()),
        ask: Ask::External(external::Ask {
            namespace: "default".to_owned(),
            name: "copy-enrich".to_owned(),
            metadata: BTreeMap::from([("pipeline".to_owned(), "orders".to_owned())]),
            metric: None,
            in_targets: true,
        }),
    }]);
    let value = || Some(observe.latest(&id)?.reading()?.value.clone());
    wakes.recv().await.unwrap();
    assert_eq!(value(), Some(Value::Gauge(24.0)));
    observe.shutdown().await;
}
