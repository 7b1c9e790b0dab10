//! `penstock run`: the daemon, against a real cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::telemetry::{LogFormat, Telemetry};
use super::{Failure, reach};
use crate::act::Placeholders;
use crate::answer;
use crate::answer::identity::{Files, Identity};
use crate::answer::page;
use crate::answer::scaler::Door;
use crate::crd::quantity::Quantity;
use crate::daemon::lease::{self, Seat};
use crate::daemon::{self, Clients, Options};
use crate::observe::lineage::Peers;
use crate::report::Destination;
use crate::watch;

/// Run the daemon
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    cluster: Cluster,
    /// Namespace to work in; may be repeated. Default: all
    #[arg(long = "namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// Ask for nothing that lies in no namespace, for a daemon that has Roles only: no ClusterConnection, no label of a namespace
    #[arg(long, requires = "namespaces")]
    no_cluster_objects: bool,
    /// Work on pipelines with these labels only
    #[arg(long, value_name = "LABELS")]
    selector: Option<String>,
    /// Decide and report, and write to no workload: every stage is read as `mode: Observe`
    #[arg(long)]
    observe: bool,
    /// Namespace whose Secrets a ClusterConnection may name; may be repeated. Default: none
    #[arg(long = "secret-namespace", value_name = "NAMESPACE")]
    secret_namespaces: Vec<String>,
    /// Image of the pods that keep room on nodes for others; it does nothing. Default: registry.k8s.io/pause:3.10
    #[arg(long, value_name = "IMAGE")]
    headroom_image: Option<String>,
    /// Priority class of these pods: below that of any other. Default: penstock-headroom
    #[arg(long, value_name = "NAME")]
    headroom_priority_class: Option<String>,
    /// Namespace of the Lease by which replicas choose the one that writes. Default: the pod's own, else "default"
    #[arg(long, value_name = "NAMESPACE")]
    lease_namespace: Option<String>,
    /// Name of that Lease
    #[arg(long, value_name = "NAME", default_value = "penstock")]
    lease_name: String,
    /// Where probes and Prometheus ask: /healthz, /readyz, /metrics
    #[arg(long, value_name = "ADDRESS", default_value = ":8080", value_parser = address)]
    listen: SocketAddr,
    /// Where people look and ask: the page at /, its JSON below /api/v1; "none" for nowhere. Keep it on loopback; kubectl port-forward
    /// reaches it there
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8082", value_parser = address_or_none)]
    page_listen: Place,
    /// Name by which the page may be asked for, besides localhost and addresses; may be repeated. Others are answered 421, since a
    /// site of elsewhere could have its own name lead here. With --page-open it holds there, and not for --page-listen
    #[arg(long = "page-host", value_name = "NAME")]
    page_hosts: Vec<page::Host>,
    /// Where people of the cluster look and ask: the same page and JSON, for whoever shows a token of the cluster, cut to the namespaces in which he may list
    /// pipelines; "none" for nowhere. Takes the right to create tokenreviews and subjectaccessreviews
    #[arg(long, value_name = "ADDRESS", default_value = "none", value_parser = address_or_none)]
    page_open: Place,
    /// Audience that these tokens must be for; may be repeated. Default: the API server's own
    #[arg(long = "page-audience", value_name = "AUDIENCE")]
    page_audiences: Vec<String>,
    /// Scale nothing beyond what the quotas of a namespace let be made; takes the right to list and watch these
    #[arg(long)]
    heed_quotas: bool,
    /// Currency of all prices of this installation (ISO 4217, such as EUR), written behind them on the page and by explain. Default: none is named
    #[arg(long, value_name = "CODE")]
    currency: Option<page::Currency>,
    /// Where KEDA asks, as it asks an external scaler (gRPC); "none" for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = ":9090", value_parser = address_or_none)]
    grpc_listen: Place,
    /// Certificate (PEM) to speak TLS with there, and those between it and its authority. Read again within 10 s of a change, as of a
    /// mounted Secret. Default: plain text
    #[arg(long, value_name = "FILE", requires = "grpc_tls_key")]
    grpc_tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "grpc_tls_cert")]
    grpc_tls_key: Option<PathBuf>,
    /// Authority (PEM) of those who may ask there: each must show a certificate of it
    #[arg(long, value_name = "FILE", requires = "grpc_tls_cert")]
    grpc_client_ca: Option<PathBuf>,
    /// Where OpenLineage events are posted: /api/v1/lineage. Default: nowhere
    #[arg(long, value_name = "ADDRESS", value_parser = address, requires = "lineage_token_file")]
    lineage_listen: Option<SocketAddr>,
    /// File with the token that whoever posts must show; it is read anew at each use
    #[arg(long, value_name = "FILE", requires = "lineage_listen")]
    lineage_token_file: Option<PathBuf>,
    /// Where other replicas take events, HOST:PORT; may be repeated. A name of several addresses is asked at each of them
    #[arg(long = "lineage-peer", value_name = "HOST:PORT", requires = "lineage_listen")]
    lineage_peers: Vec<String>,
    /// Record every turn into this folder, for `penstock replay`
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// How much of the disk the recording may fill; the oldest turns make room
    #[arg(long, value_name = "BYTES", default_value = "256Mi", value_parser = bytes, requires = "record")]
    record_limit: u64,
    /// Send traces to this OpenTelemetry collector (OTLP over gRPC), for example `http://otel-collector:4317`. Default: nowhere
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<http::Uri>,
    /// Log as JSON, one object a line, or as text
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
    /// What to log: a level, or target=level pairs separated by commas
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

/// An address to listen on, or none.
#[derive(Debug, Clone, Copy)]
struct Place(Option<SocketAddr>);

impl Place {
    async fn listen(self) -> Result<Option<TcpListener>, answer::Error> {
        match self.0 {
            Some(address) => answer::listen(address).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Run {
    pub(super) fn run(self) -> Result<(), Failure> {
        // A few hundredths of a core are enough for hundreds of pipelines; each further thread would set aside a heap of its own,
        // which is larger than all that is remembered. What waits for a disk or a resolver waits on other threads all the same.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime.block_on(async {
            let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
            let endpoint = self.otlp_endpoint.as_ref();
            let telemetry = Telemetry::start(self.log_format, &self.log, endpoint, host.trim())?;
            let end = self.serve(host.trim()).await;
            telemetry.end().await;
            Ok(end?)
        })
    }

    async fn serve(self, host: &str) -> anyhow::Result<()> {
        let config = self.cluster.config().await?;
        let namespace =
            self.lease_namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let clients = Clients::of(config).context("cannot set up the client of the API server")?;
        let may_meet = self.namespaces.is_empty() && self.lease_namespace.is_none();
        if may_meet && !self.observe && !super::cluster::is_in_a_pod() {
            warn_of_another(&clients.reader, &namespace).await;
        }
        let identity = match (self.grpc_tls_cert, self.grpc_tls_key) {
            (Some(certificate), Some(key)) => {
                let files = Files { certificate, key, clients: self.grpc_client_ca };
                Some(Arc::new(Identity::load(files).await?))
            }
            _ => None,
        };
        let scaler = self.grpc_listen.listen().await?;
        let scaler = scaler.map(|listener| Door { listener, identity });
        let page = page::Door {
            listener: self.page_listen.listen().await?,
            open: self
                .page_open
                .listen()
                .await?
                .map(|listener| page::Open { listener, audiences: self.page_audiences }),
            hosts: self.page_hosts.into_iter().collect(),
            currency: self.currency,
        };
        if let Place(Some(address)) = self.page_listen
            && !address.ip().is_loopback()
        {
            tracing::warn!(
                %address,
                "whoever reaches --page-listen sees all pipelines; hint: --page-open asks for a token and shows what its owner may list"
            );
        }
        let options = Options {
            watch: watch::Options {
                namespaces: self.namespaces,
                is_namespaced: self.no_cluster_objects,
                selector: self.selector,
                observe_only: self.observe,
                secret_namespaces: self.secret_namespaces.into_iter().collect(),
                heeds_quotas: self.heed_quotas,
                placeholders: None,
            },
            placeholders: {
                let usual = Placeholders::default();
                Placeholders {
                    image: self.headroom_image.unwrap_or(usual.image),
                    priority_class: self.headroom_priority_class.unwrap_or(usual.priority_class),
                }
            },
            probes: Some(answer::listen(self.listen).await?),
            page: (page.listener.is_some() || page.open.is_some()).then_some(page),
            scaler,
            lineage: match (self.lineage_listen, self.lineage_token_file) {
                (Some(address), Some(token)) => {
                    let peers = Peers { addresses: self.lineage_peers, token };
                    Some((answer::listen(address).await?, peers))
                }
                _ => None,
            },
            record: self.record.map(|folder| Destination { folder, limit: self.record_limit }),
            seat: Seat { namespace, name: self.lease_name, identity: lease::identity(host) },
        };
        Box::pin(daemon::run(clients, options, goodbye()?)).await?;
        Ok(())
    }
}

/// Tells who runs it outside of the cluster that another runs inside, whose Lease is elsewhere: then both write.
async fn warn_of_another(client: &Client, lease_namespace: &str) {
    let all = Api::<Pod>::all(client.clone());
    let pods = ListParams::default().labels(reach::LABEL);
    // It is a courtesy, and keeps nobody waiting.
    let Ok(Ok(pods)) = tokio::time::timeout(Duration::from_secs(3), all.list(&pods)).await else {
        return;
    };
    let runs =
        |pod: &Pod| pod.status.as_ref().is_some_and(|it| it.phase.as_deref() == Some("Running"));
    let is_other =
        |pod: &&Pod| runs(pod) && pod.namespace().is_some_and(|it| it != lease_namespace);
    if let Some(pod) = pods.iter().find(is_other) {
        let pod = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
        tracing::warn!(
            pod,
            "Penstock runs in this cluster already, with a Lease elsewhere: both scale what both see; hint: end one of the two, or give this one --observe"
        );
    }
}

/// Cancelled by SIGTERM or Ctrl-C.
pub(super) fn goodbye() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let token = CancellationToken::new();
    let mut term = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let told = token.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "it lives as long as the process, and holds nothing"
    )]
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    Ok(token)
}

/// Reads `:8080` (every address of this host) or `127.0.0.1:8080`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| format!("{text} is no address; hint: :8080 or 127.0.0.1:8080"))
}

/// Reads an amount as Kubernetes writes it: `256Mi`, `2G`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be at least a mebibyte, and a cast of more than u64 saturates"
)]
fn bytes(text: &str) -> Result<u64, String> {
    let read = Quantity::Text(text.to_owned()).read();
    let read = read.ok_or_else(|| format!("{text} is no amount; hint: 256Mi or 2Gi"))?;
    if read < 1_048_576.0 { Err("at least 1Mi".to_owned()) } else { Ok(read as u64) }
}

/// Reads an address, or `none`.
fn address_or_none(text: &str) -> Result<Place, String> {
    if text == "none" { Ok(Place(None)) } else { address(text).map(|it| Place(Some(it))) }
}
