//! A scaler of another make, of a few lines, that keeps the contract; and what is external's own: targets, metrics by name, streams.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::{Stream, StreamExt};
use penstock::decide::Observation;
use penstock::observe::{Address, Ask, Credentials, Question, external};
use penstock::proto::external_scaler::external_scaler_server::{
    ExternalScaler, ExternalScalerServer,
};
use penstock::proto::external_scaler::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec,
    MetricValue, ScaledObjectRef,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::WatchStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use super::contract::{Server, tale};
use super::line::Line;
use super::logins::{mutual, signed};
use super::rig::*;

/// What the scaler knows and does.
#[derive(Default)]
struct Desk {
    queues: BTreeMap<String, i32>,
    requests: usize,
    streams: usize,
    /// How its nonsense goes, if it talks any.
    raving: Option<Raving>,
    /// The login that came with the latest request.
    login: Option<String>,
}

/// Ways to talk nonsense.
#[derive(Clone)]
enum Raving {
    Refuses(Code),
    NoSpecs,
    NoValues,
    Others,
    Is(f64, i64),
}

fn ways() -> Vec<Raving> {
    let codes = [
        Code::Unknown,
        Code::InvalidArgument,
        Code::NotFound,
        Code::PermissionDenied,
        Code::Unauthenticated,
        Code::ResourceExhausted,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DeadlineExceeded,
    ];
    let values =
        [(f64::NAN, 0), (f64::INFINITY, 0), (-1.0, 5), (0.0, -1), (1e300, 0), (0.0, i64::MAX)];
    let mut ways: Vec<_> = codes.map(Raving::Refuses).to_vec();
    // What it says of its metrics is asked once a minute only, so its nonsense there has a test of its own.
    ways.extend([Raving::NoValues, Raving::Others]);
    ways.extend(values.map(|(float, whole)| Raving::Is(float, whole)));
    ways
}

struct Scaler {
    line: Line,
    desk: Arc<Mutex<Desk>>,
    active: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

struct Service {
    desk: Arc<Mutex<Desk>>,
    active: watch::Receiver<bool>,
}

type Streamed = Pin<Box<dyn Stream<Item = Result<IsActiveResponse, Status>> + Send>>;

impl Service {
    /// Counts, and refuses when it is in that mood; else the depth of the queue that is meant.
    fn depth<T>(
        &self,
        request: &Request<T>,
        object: &ScaledObjectRef,
    ) -> Result<(i32, Option<Raving>), Status> {
        let mut desk = self.desk.lock().unwrap();
        desk.requests += 1;
        desk.login =
            request.metadata().get("authorization").map(|it| it.to_str().unwrap().to_owned());
        if let Some(Raving::Refuses(code)) = desk.raving {
            return Err(Status::new(code, "no\nno"));
        }
        let queue = object.scaler_metadata.get("queue").cloned().unwrap_or_default();
        let depth = desk.queues.get(&queue).copied();
        let depth = depth.ok_or_else(|| Status::not_found(format!("no queue {queue}")))?;
        Ok((depth, desk.raving.clone()))
    }
}

#[tonic::async_trait]
impl ExternalScaler for Service {
    async fn is_active(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<IsActiveResponse>, Status> {
        let (depth, _) = self.depth(&request, request.get_ref())?;
        Ok(Response::new(IsActiveResponse { result: 0 < depth }))
    }

    type StreamIsActiveStream = Streamed;

    async fn stream_is_active(
        &self,
        _: Request<ScaledObjectRef>,
    ) -> Result<Response<Streamed>, Status> {
        self.desk.lock().unwrap().streams += 1;
        let words = WatchStream::from_changes(self.active.clone());
        Ok(Response::new(Box::pin(words.map(|result| Ok(IsActiveResponse { result })))))
    }

    async fn get_metric_spec(
        &self,
        request: Request<ScaledObjectRef>,
    ) -> Result<Response<GetMetricSpecResponse>, Status> {
        let (_, raving) = self.depth(&request, request.get_ref())?;
        let spec = |name: &str, target_size_float, target_size| MetricSpec {
            metric_name: name.to_owned(),
            target_size,
            target_size_float,
        };
        let metric_specs = match raving {
            Some(Raving::NoSpecs) => Vec::new(),
            _ => vec![spec("depth", 0.0, 1), spec("half", 0.5, 0)],
        };
        Ok(Response::new(GetMetricSpecResponse { metric_specs }))
    }

    type StreamMetricSpecStream =
        Pin<Box<dyn Stream<Item = Result<GetMetricSpecResponse, Status>> + Send>>;

    async fn stream_metric_spec(
        &self,
        _: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamMetricSpecStream>, Status> {
        Err(Status::unimplemented("as most scalers"))
    }

    async fn get_metrics(
        &self,
        request: Request<GetMetricsRequest>,
    ) -> Result<Response<GetMetricsResponse>, Status> {
        let object = request.get_ref().scaled_object_ref.clone().unwrap();
        let (depth, raving) = self.depth(&request, &object)?;
        let name = request.get_ref().metric_name.clone();
        let value = |name: &str, metric_value_float, metric_value| MetricValue {
            metric_name: name.to_owned(),
            metric_value,
            metric_value_float,
        };
        let metric_values = match raving {
            Some(Raving::NoValues) => Vec::new(),
            Some(Raving::Others) => vec![value("x", 0.0, 0), value("y", 0.0, 0)],
            Some(Raving::Is(float, whole)) => vec![value(&name, float, whole)],
            _ => vec![value("other", 99.0, 0), value(&name, f64::from(depth), 0)],
        };
        Ok(Response::new(GetMetricsResponse { metric_values }))
    }
}

impl Scaler {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap()
    }

    fn question(&self, name: &str, ask: external::Ask, poll_interval: Duration) -> Question {
        Question {
            id: id(name),
            poll_interval,
            address: self.address(),
            credentials: Arc::new(Credentials::default()),
            ask: Ask::External(ask),
        }
    }
}

fn ask(queue: &str, metric: Option<&str>, in_targets: bool) -> external::Ask {
    external::Ask {
        namespace: "shop".to_owned(),
        name: "orders-enrich".to_owned(),
        metadata: BTreeMap::from([("queue".to_owned(), queue.to_owned())]),
        metric: metric.map(ToOwned::to_owned),
        in_targets,
    }
}

impl Server for Scaler {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk: Arc<Mutex<Desk>> = Arc::default();
        let (active, heard) = watch::channel(false);
        let service = Service { desk: Arc::clone(&desk), active: heard };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            tonic::transport::Server::builder()
                .add_service(ExternalScalerServer::new(service))
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
                .unwrap();
        });
        Self { line: Line::to(address, None).await, desk, active, _tasks: tasks }
    }

    fn address(&self) -> Address {
        Address::External(external::Address {
            connection: "shop/scaler".to_owned(),
            host: self.line.address.to_string(),
            tls: false,
            basic: false,
        })
    }

    fn ask(&self, queue: &str) -> Ask {
        Ask::External(ask(queue, None, true))
    }

    fn fill(&self, queue: &str, backlog: i32) {
        let mut desk = self.desk();
        desk.queues.insert(queue.to_owned(), backlog);
        desk.raving = None;
    }

    fn cut(&self) {
        self.line.cut();
    }

    fn mend(&self) {
        self.line.mend();
    }

    fn traffic(&self) -> (usize, usize) {
        (self.line.calls(), self.desk().requests)
    }

    fn rave(&self, way: usize) -> bool {
        let ways = ways();
        self.desk().raving = ways.get(way).cloned();
        way < ways.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn external_scalers_keep_the_contract() {
    tale::<Scaler>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_is_counted_in_the_scalers_targets_or_as_it_is() {
    let scaler = Scaler::start().await;
    scaler.fill("a", 10);
    scaler.fill("idle", 0);
    let mut watcher = Watcher::asking(vec![
        scaler.question("first", ask("a", None, true), POLL),
        scaler.question("half", ask("a", Some("half"), true), POLL),
        scaler.question("plain", ask("a", Some("half"), false), POLL),
        scaler.question("idle", ask("idle", None, true), POLL),
        scaler.question("none", ask("a", Some("nothing"), true), POLL),
    ]);
    watcher.until_amount("first", 10.0).await;
    watcher.until_amount("half", 20.0).await;
    watcher.until_amount("plain", 10.0).await;
    watcher.until_amount("idle", 0.0).await;
    assert_eq!(label(&watcher.latest("none").unwrap()), "NotFound");
    assert_eq!(scaler.line.calls(), 1, "one connection for all");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_without_a_count_wakes_all_the_same() {
    let scaler = Scaler::start().await;
    scaler.fill("a", 1);
    scaler.desk().raving = Some(Raving::Is(0.0, 0));
    let mut watcher = Watcher::asking(vec![scaler.question("a", ask("a", None, true), POLL)]);
    let seen = watcher.until("a", Observation::is_fresh).await;
    let amount = amount(&seen).unwrap();
    assert!(0.0 < amount && amount < 0.001, "{amount}");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scaler_that_says_there_is_work_is_asked_out_of_turn() {
    let scaler = Scaler::start().await;
    scaler.fill("a", 0);
    let slow = Duration::from_mins(5);
    let mut watcher = Watcher::asking(vec![scaler.question("a", ask("a", None, true), slow)]);
    watcher.until_amount("a", 0.0).await;
    let deadline = Instant::now() + SOON;
    while scaler.desk().streams == 0 {
        assert!(Instant::now() < deadline, "no stream was opened");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // That there is no work any more is no hurry.
    scaler.active.send_replace(false);
    assert_eq!(watcher.visits_within(Duration::from_millis(500)).await, 0);
    scaler.fill("a", 7);
    let said = Instant::now();
    scaler.active.send_replace(true);
    watcher.until_amount("a", 7.0).await;
    assert!(said.elapsed() < Duration::from_secs(3), "{:?}", said.elapsed());
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_sent_as_basic_authentication() {
    let scaler = Scaler::start().await;
    scaler.fill("a", 3);
    let mut question = scaler.question("a", ask("a", None, true), POLL);
    let Address::External(mut address) = question.address else { panic!("no scaler") };
    address.basic = true;
    let mut keys = Credentials::default();
    keys.put("username", b"penstock".to_vec());
    keys.put("password", b"s3cret".to_vec());
    question.address = Address::External(address);
    question.credentials = Arc::new(keys);
    let mut watcher = Watcher::asking(vec![question]);
    watcher.until_amount("a", 3.0).await;
    assert_eq!(scaler.desk().login.as_deref(), Some("Basic cGVuc3RvY2s6czNjcmV0"));
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scaler_without_metrics_is_an_empty_answer_and_not_zero() {
    let scaler = Scaler::start().await;
    scaler.fill("a", 3);
    scaler.desk().raving = Some(Raving::NoSpecs);
    let mut watcher = Watcher::asking(vec![scaler.question("a", ask("a", None, true), POLL)]);
    let seen = watcher.until("a", |_| true).await;
    assert_eq!(label(&seen), "EmptyAnswer");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_has_its_word() {
    let scaler = Scaler::start().await;
    let mut watcher = Watcher::asking(vec![scaler.question("a", ask("a", None, true), POLL)]);
    for (raving, word) in [
        (Raving::Refuses(Code::Unauthenticated), "AuthenticationFailed"),
        (Raving::Refuses(Code::PermissionDenied), "AccessDenied"),
        (Raving::Refuses(Code::NotFound), "NotFound"),
        (Raving::Refuses(Code::InvalidArgument), "QueryRefused"),
        (Raving::Refuses(Code::Unimplemented), "QueryRefused"),
        (Raving::Refuses(Code::DeadlineExceeded), "Timeout"),
        (Raving::Refuses(Code::Unavailable), "SourceFailed"),
        (Raving::Refuses(Code::Internal), "SourceFailed"),
        (Raving::NoValues, "EmptyAnswer"),
        (Raving::Others, "ManyValues"),
        (Raving::Is(f64::NAN, 0), "BadValue"),
        (Raving::Is(-1.0, 0), "BadValue"),
    ] {
        scaler.fill("a", 3);
        watcher.until_amount("a", 3.0).await;
        scaler.desk().raving = Some(raving);
        let seen = watcher.until("a", |seen| !seen.is_fresh()).await;
        assert_eq!(label(&seen), word, "{seen:?}");
        assert!(matches!(seen, Observation::Stale(..)), "{seen:?}");
    }
    // Nobody is there.
    scaler.fill("a", 3);
    watcher.until_amount("a", 3.0).await;
    scaler.cut();
    watcher.until("a", |seen| label(seen) == "Unreachable").await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_mutual_and_a_strangers_authority_is_not_trusted() {
    let scaler = Scaler::start().await;
    scaler.fill("a", 3);
    let (ca, cert, key) = signed();
    let line = Line::to(scaler.line.address, Some(mutual(&ca, &cert, &key))).await;
    let (other, ..) = signed();
    let key = key.serialize_pem();
    for (authority, word) in [(&*ca, ""), (&*other, "TlsFailed"), ("no PEM", "CredentialsInvalid")]
    {
        let mut question = scaler.question("a", ask("a", None, true), POLL);
        let Address::External(mut address) = question.address else { panic!("no scaler") };
        address.host = format!("localhost:{}", line.address.port());
        address.tls = true;
        question.address = Address::External(address);
        let mut keys = Credentials::default();
        keys.put("ca", authority.as_bytes().to_vec());
        keys.put("cert", cert.as_bytes().to_vec());
        keys.put("key", key.as_bytes().to_vec());
        question.credentials = Arc::new(keys);
        let mut watcher = Watcher::asking(vec![question]);
        if word.is_empty() {
            watcher.until_amount("a", 3.0).await;
        } else {
            let seen = watcher.until("a", |_| true).await;
            assert_eq!(label(&seen), word, "{seen:?}");
        }
        watcher.observe.shutdown().await;
    }
}
