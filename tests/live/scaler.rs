//! The built daemon asked as KEDA asks, over TLS with files that a kubelet would mount: it answers whom it should, and follows a rotated
//! Secret.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use penstock::proto::external_scaler::external_scaler_client::ExternalScalerClient;
use penstock::proto::external_scaler::{GetMetricsRequest, ScaledObjectRef};
use serde_json::json;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::rig::{Authority, Pair, Penstock, free_port, fresh_folder, shared, until};
use crate::scene::{SOON, Scene, kafka};

/// The files are looked at every 10 s.
const FOLLOWED: Duration = Duration::from_secs(10 + 5);

/// Mounts a Secret as the kubelet does: a folder of its own for each version, and links that lead to the newest.
fn mount(folder: &Path, version: &str, server: &Pair, clients: &str) -> Result<()> {
    let data = folder.join(version);
    std::fs::create_dir(&data)?;
    for (name, text) in
        [("tls.crt", &*server.certificate), ("tls.key", &server.key), ("ca.crt", clients)]
    {
        std::fs::write(data.join(name), text)?;
        let link = folder.join(name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new("..data").join(name), link)?;
        }
    }
    let next = folder.join("..next");
    symlink(version, &next)?;
    std::fs::rename(next, folder.join("..data")).context("turn the link over")
}

/// What KEDA would be told by one it trusts and shows a certificate to.
async fn asked(
    port: u16,
    trusts: &Authority,
    shows: Option<&Pair>,
    namespace: &str,
) -> Result<f64> {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(trusts.certificate()))
        .domain_name("localhost");
    if let Some(pair) = shows {
        tls = tls.identity(Identity::from_pem(&pair.certificate, &pair.key));
    }
    let endpoint = Endpoint::from_shared(format!("https://localhost:{port}"))?.tls_config(tls)?;
    let mut client = ExternalScalerClient::new(endpoint.connect().await?);
    let object = ScaledObjectRef {
        name: "worker".to_owned(),
        namespace: namespace.to_owned(),
        scaler_metadata: [("pipeline".to_owned(), "orders".to_owned())].into(),
    };
    let specs = client.get_metric_spec(object.clone()).await?.into_inner().metric_specs;
    let metric_name = specs.into_iter().next().context("no metric")?.metric_name;
    let request = GetMetricsRequest { scaled_object_ref: Some(object), metric_name };
    let values = client.get_metrics(request).await?.into_inner().metric_values;
    Ok(values.first().context("no value")?.metric_value_float)
}

#[tokio::test]
async fn the_daemon_answers_keda_over_mutual_tls_and_follows_a_rotated_secret() -> Result<()> {
    let (broker, cluster) = (shared::broker().await?, shared::cluster().await?);
    let scene = Scene::open("scaler").await?;
    let topic = &scene.namespace;
    broker.topic(topic, 6).await?;
    broker.send(topic, None, 50).await?;
    scene.deployment("worker", 0).await?;
    let source =
        kafka(broker, &[topic], topic, json!({"offsetReset": "Earliest", "perReplica": 10}));
    let stage = json!({
        "mode": "Observe", "target": {"name": "worker"}, "replicas": {"min": 0, "max": 20}, "sources": [source],
    });
    scene.pipeline("orders", stage).await?;

    let (old, new, clients) =
        (Authority::new("old")?, Authority::new("new")?, Authority::new("keda")?);
    let keda = clients.client("keda-operator", None)?;
    let folder = fresh_folder("mounted")?;
    mount(&folder, "..1", &old.server("penstock")?, &clients.certificate())?;
    let port = free_port()?;
    let path = |name: &str| folder.join(name).display().to_string();
    let (listen, cert, key, ca) =
        (format!("127.0.0.1:{port}"), path("tls.crt"), path("tls.key"), path("ca.crt"));
    let flags = [
        "--namespace",
        topic,
        "--lease-namespace",
        topic,
        "--lease-name",
        "second",
        "--grpc-listen",
        &listen,
        "--grpc-tls-cert",
        &cert,
        "--grpc-tls-key",
        &key,
        "--grpc-client-ca",
        &ca,
    ];
    let daemon = Penstock::run(cluster.kubeconfig(), &flags).await?;
    until("KEDA to be told 5", SOON, async || {
        let told = asked(port, &old, Some(&keda), topic).await?;
        Ok((told.to_bits() == 5.0_f64.to_bits()).then_some(()))
    })
    .await?;
    assert!(asked(port, &old, None, topic).await.is_err(), "one without a certificate is let in");
    let stranger = old.client("keda-operator", None)?;
    assert!(asked(port, &old, Some(&stranger), topic).await.is_err(), "a stranger is let in");

    mount(&folder, "..2", &new.server("penstock")?, &clients.certificate())?;
    until("the new certificate", FOLLOWED, async || {
        Ok(asked(port, &new, Some(&keda), topic).await.ok().map(drop))
    })
    .await?;
    assert!(daemon.stop().await?.success());

    // What cannot be used is told at the start.
    std::fs::write(folder.join("..2/tls.key"), "none")?;
    let daemon = Penstock::start(cluster.kubeconfig(), &flags)?;
    assert_eq!(daemon.process().end(SOON).await?.code(), Some(1));
    let log = daemon.process().log()?;
    assert!(log.contains("tls.key cannot be used") && log.contains("hint:"), "{log}");
    Ok(())
}
