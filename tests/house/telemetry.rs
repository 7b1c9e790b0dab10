//! Logs and traces of the daemon as others read them: a receiver of OTLP, and a reader of JSON lines that knows docs/telemetry.md only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use penstock::crd;
use penstock::demo::cluster::{Cluster, Options};
use regex::Regex;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};

use crate::served::Kubeconfig;

/// A collector that keeps what it gets.
#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    fn spans(&self) -> Vec<Span> {
        let got = self.0.lock().unwrap();
        let scopes = got.iter().flat_map(|it| &it.resource_spans).flat_map(|it| &it.scope_spans);
        scopes.flat_map(|it| it.spans.clone()).collect()
    }

    /// The resource that all of them come from.
    fn resource(&self) -> BTreeMap<String, String> {
        let got = self.0.lock().unwrap();
        let resource = got[0].resource_spans[0].resource.clone().unwrap();
        let text = |value: Option<_>| format!("{value:?}");
        resource.attributes.into_iter().map(|it| (it.key, text(it.value))).collect()
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|it| it.key == key)?;
    let value = found.value.as_ref()?.value.as_ref()?;
    if let Any::StringValue(text) = value {
        return Some(text.clone());
    }
    if let Any::IntValue(number) = value { Some(number.to_string()) } else { None }
}

/// The keys of an object in order, twice where they stand twice.
struct Keys(Vec<String>);

impl<'de> serde::Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, _)) = map.next_entry::<String, Value>()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        from.deserialize_map(Each)
    }
}

/// The fields that docs/telemetry.md has.
fn documented() -> BTreeSet<String> {
    let page = include_str!("../../docs/telemetry.md");
    let table = page.split("\n## ").find(|part| part.starts_with("Log lines")).unwrap();
    let cells = table.lines().filter(|line| line.starts_with("| `"));
    let first = cells.filter_map(|line| line.split('|').nth(1)).collect::<String>();
    let names: BTreeSet<_> = Regex::new("`([a-z_]+)`")
        .unwrap()
        .captures_iter(&first)
        .map(|it| it[1].to_owned())
        .collect();
    assert!(20 < names.len(), "{names:?}");
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_a_trace_and_its_lines_know_it() {
    let cluster = Cluster::new(Options { controllers: false, ..Options::default() });
    for definition in crd::all() {
        cluster.define(serde_json::to_value(definition).unwrap()).unwrap();
    }
    cluster
        .put(
            "",
            "v1",
            "namespaces",
            "",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        )
        .unwrap();
    let labels = json!({"app": "enrich"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    cluster
        .put("apps", "v1", "deployments", "shop", json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "enrich", "namespace": "shop"},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        }))
        .unwrap();
    let kafka = json!({"bootstrapServers": "127.0.0.1:1", "topics": ["t"], "group": "g"});
    cluster
        .put(crd::GROUP, crd::VERSION, "scaledpipelines", "shop", json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
            "metadata": {"name": "orders", "namespace": "shop", "annotations": {"penstock.dev/paused-replicas": "3"}},
            "spec": {"stages": [{
                "name": "enrich", "target": {"name": "enrich"}, "replicas": {"max": 5},
                "sources": [{"name": "q", "kafka": kafka}],
            }]},
        }))
        .unwrap();
    let kubeconfig = Kubeconfig::of(&cluster).await;

    let collector = Collector::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut servers = JoinSet::new();
    let service = TraceServiceServer::new(collector.clone());
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    servers.spawn(
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming),
    );

    let probes = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut daemon = tokio::process::Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args([
            "run",
            "--listen",
            &probes.to_string(),
            "--page-listen",
            "127.0.0.1:0",
            "--grpc-listen",
            "none",
        ])
        .args(["--otlp-endpoint", &format!("http://127.0.0.1:{port}")])
        .args(["--kubeconfig", kubeconfig.file()])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines();
    let mut said: Vec<String> = Vec::new();
    let reading = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let is_end = line.contains("\"scaled\"");
            said.push(line);
            if is_end {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), reading).await.expect("it never scaled");
    let mut asked = TcpStream::connect(probes).await.unwrap();
    asked.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut metrics = String::new();
    asked.read_to_string(&mut metrics).await.unwrap();
    // What is not sent yet is sent at the end.
    let pid = Pid::from_raw(i32::try_from(daemon.id().unwrap()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    while let Some(line) = lines.next_line().await.unwrap() {
        said.push(line);
    }
    assert!(daemon.wait().await.unwrap().success(), "{said:#?}");

    // One trace from the turn down to the write.
    let spans = collector.spans();
    // The first meets the hand that made the Deployment.
    let is_done = |span: &&Span| attribute(span, "ending").as_deref() == Some("Done");
    let write = spans.iter().filter(|span| span.name == "write").find(is_done).expect("no write");
    let told =
        ["workload", "from", "to", "reason", "ending"].map(|key| attribute(write, key).unwrap());
    assert_eq!(told, ["Deployment shop/enrich", "1", "3", "TakenOver", "Done"]);
    let parent = |of: &Span| spans.iter().find(|it| it.span_id == of.parent_span_id).unwrap();
    let act = parent(write);
    assert_eq!(act.name, "act");
    let turn = parent(act);
    assert_eq!((&*turn.name, turn.parent_span_id.len()), ("turn", 0));
    assert_eq!(attribute(turn, "actions").as_deref(), Some("1"));
    let children = spans.iter().filter(|it| it.parent_span_id == turn.span_id);
    let children: BTreeSet<_> = children.map(|it| &*it.name).collect();
    assert_eq!(children, BTreeSet::from(["observe", "decide", "act"]));
    let resource = collector.resource();
    assert!(resource["service.name"].contains("penstock"), "{resource:?}");
    assert!(resource["service.version"].contains(env!("CARGO_PKG_VERSION")), "{resource:?}");

    // A turn's place in the histogram leads to its trace.
    let exemplars = Regex::new(r#"_bucket\{le="[^"]+"\} \d+ # \{trace_id="([0-9a-f]{32})"\}"#);
    let exemplars: Vec<_> =
        exemplars.unwrap().captures_iter(&metrics).map(|it| it[1].to_owned()).collect();
    assert!(!exemplars.is_empty(), "{metrics}");
    for id in exemplars {
        let id = u128::from_str_radix(&id, 16).unwrap().to_be_bytes();
        assert!(spans.iter().any(|span| span.name == "turn" && span.trace_id == id), "{metrics}");
    }

    // Each line is JSON, says nothing twice, and nothing that the page does not have.
    let documented = documented();
    for line in &said {
        let Keys(keys) =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let once: BTreeSet<_> = keys.iter().cloned().collect();
        assert_eq!(once.len(), keys.len(), "{line}");
        assert!(once.is_subset(&documented), "{line}");
    }
    // The line of the move leads to the trace of the turn that told it.
    let scaled = said.iter().find(|line| line.contains("\"scaled\"")).unwrap();
    let scaled: Value = serde_json::from_str(scaled).unwrap();
    let id = scaled["span"]["trace_id"].as_str().unwrap();
    let id = u128::from_str_radix(id, 16).unwrap().to_be_bytes();
    assert!(spans.iter().any(|span| span.trace_id == id), "{scaled}");
}

#[test]
fn every_field_that_is_logged_is_on_the_page() {
    let macros = Regex::new(r#"\b(debug|info|warn|error)!\(([^"]*?)""#).unwrap();
    let (documented, mut found) = (documented(), BTreeSet::new());
    for source in crate::rules::sources("src") {
        if source.path.components().any(|part| part.as_os_str() == "demo") {
            continue;
        }
        for call in macros.captures_iter(&source.text) {
            let is_told = &call[1] != "debug";
            for field in call[2].split(',').map(str::trim) {
                let name = field.split('=').next().unwrap().trim().trim_start_matches(['%', '?']);
                if !name.is_empty() {
                    assert!(
                        !is_told || documented.contains(name),
                        "{}: {name}",
                        source.path.display()
                    );
                    assert!(
                        !["message", "target", "level", "timestamp", "span"].contains(&name),
                        "{}: {name} would stand twice in its line",
                        source.path.display()
                    );
                    found.insert(name.to_owned());
                }
            }
        }
    }
    assert!(20 < found.len(), "{found:?}");
}
