//! Where logs and traces of the daemon go: lines on standard error, and spans to an OpenTelemetry collector (OTLP over gRPC) if one is named.
//! Called by `run`, once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::Failure;
use crate::spans;

/// How long a batch of spans may be on its way.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last spans are waited for.
const GOODBYE: Duration = Duration::from_secs(2);

/// How log lines look.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum LogFormat {
    Json,
    Text,
}

/// What is open until the daemon ends.
#[derive(Debug)]
pub(super) struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Starts the log, and the traces if there is anywhere for them to go. Call within the runtime: spans leave by it.
    pub(super) fn start(
        format: LogFormat,
        filter: &str,
        endpoint: Option<&http::Uri>,
        instance: &str,
    ) -> Result<Self, Failure> {
        // The client of NATS complains at each try; what it cannot do is told once a minute by who asked it. The spans of a turn are
        // opened only where they are collected.
        let turns = if endpoint.is_some() { "info" } else { "off" };
        let misuse = |error: ParseError| {
            Failure::Misuse(format!("--log {filter}: {error}; hint: info, or penstock=debug,warn"))
        };
        let whole = format!("async_nats=off,{}={turns},{filter}", spans::TARGET);
        let filter = EnvFilter::try_new(whole).map_err(misuse)?;
        let provider = endpoint.map(|endpoint| provider(endpoint, instance)).transpose()?;
        let traces = provider.as_ref().map(|provider| {
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("penstock"));
            let layer =
                layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
            layer.with_filter(Targets::new().with_target(spans::TARGET, tracing::Level::INFO))
        });
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let log = match format {
            LogFormat::Json => {
                log.json().flatten_event(true).with_span_list(false).with_filter(filter).boxed()
            }
            LogFormat::Text => log.with_filter(filter).boxed(),
        };
        tracing_subscriber::registry().with(traces).with(log).init();
        Ok(Self(provider))
    }

    /// Sends what has not been sent yet.
    pub(super) async fn end(self) {
        let Some(provider) = self.0 else { return };
        // It waits for the exporter, which needs this thread.
        let last = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(GOODBYE));
        if let Ok(Err(error)) = last.await {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

fn provider(endpoint: &http::Uri, instance: &str) -> anyhow::Result<SdkTracerProvider> {
    let builder = opentelemetry_otlp::SpanExporter::builder().with_tonic();
    let builder = builder.with_endpoint(endpoint.to_string()).with_timeout(PATIENCE);
    let builder = if endpoint.scheme_str() == Some("https") {
        builder.with_tls_config(ClientTlsConfig::new().with_native_roots())
    } else {
        builder
    };
    let exporter = builder.build().with_context(|| format!("cannot send traces to {endpoint}"))?;
    let exporter =
        Told { exporter, endpoint: endpoint.to_string(), is_failing: AtomicBool::default() };
    let resource = Resource::builder().with_service_name("penstock").with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance.to_owned()),
    ]);
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
    Ok(provider.with_resource(resource.build()).build())
}

/// An exporter that says when it begins to fail, and when it no longer does; not at each try.
#[derive(Debug)]
struct Told {
    exporter: opentelemetry_otlp::SpanExporter,
    endpoint: String,
    is_failing: AtomicBool,
}

impl SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let endpoint = &self.endpoint;
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match (&result, was_failing) {
            (Err(error), false) => {
                tracing::warn!(%endpoint, %error, "traces are lost: nobody takes them");
            }
            (Ok(()), true) => tracing::info!(%endpoint, "traces are taken again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
