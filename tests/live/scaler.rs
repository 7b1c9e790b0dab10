//! The built daemon asked as KEDA asks: over TLS with files that a kubelet would mount it answers whom it should, and follows a rotated
//! Secret; and what the example of KEDA says is what KEDA would do. KEDA itself is run by `make bench PEER=keda` alone.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use penstock::proto::external_scaler::external_scaler_client::ExternalScalerClient;
use penstock::proto::external_scaler::{GetMetricsRequest, ScaledObjectRef};
use serde_json::{Value, json};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::examples::{apply, manifests};
use crate::levers::operators::definitions::{self, definition, object, open, whole};
use crate::levers::yard;
use crate::rig::{Authority, Pair, Penstock, free_port, fresh_folder, shared, until};
use crate::scene::{SOON, Scene, kafka};

/// The files are looked at every 10 s; the rest is for a busy machine.
const FOLLOWED: Duration = Duration::from_mins(1);

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

/// KEDA's definition, as far as a trigger of type `external` or `external-push` goes.
fn scaled_object() -> Value {
    let word = || json!({"type": "string"});
    let policy = object(&json!({"type": word(), "value": whole(), "periodSeconds": whole()}));
    let rules = object(&json!({
        "stabilizationWindowSeconds": whole(), "selectPolicy": word(), "policies": {"type": "array", "items": policy},
    }));
    let behavior = object(&json!({"scaleUp": rules, "scaleDown": rules}));
    let advanced = object(&json!({
        "horizontalPodAutoscalerConfig": object(&json!({"behavior": behavior})), "restoreToOriginalReplicaCount": {"type": "boolean"},
    }));
    let trigger = object(&json!({
        "type": word(), "name": word(), "metricType": word(), "metadata": {"type": "object", "additionalProperties": word()},
        "authenticationRef": object(&json!({"name": word(), "kind": word()})),
    }));
    let spec = object(&json!({
        "scaleTargetRef": object(&json!({"apiVersion": word(), "kind": word(), "name": word()})),
        "pollingInterval": whole(), "cooldownPeriod": whole(), "minReplicaCount": whole(), "maxReplicaCount": whole(),
        "fallback": object(&json!({"failureThreshold": whole(), "replicas": whole(), "behavior": word()})),
        "advanced": advanced, "triggers": {"type": "array", "items": trigger},
    }));
    definition(("keda.sh", "v1alpha1"), ("ScaledObject", "scaledobjects"), (spec, open()), None)
}

/// What KEDA and the HPA that it keeps make of a `ScaledObject` with one trigger, once the scaler says that there is work.
async fn count_by_keda(namespace: &str, object: &Value) -> Result<u32> {
    let spec = &object["spec"];
    let trigger = &spec["triggers"][0];
    ensure!(trigger["type"] == "external-push", "{trigger}");
    let metadata = trigger["metadata"].as_object().context("no metadata")?.iter();
    let reference = ScaledObjectRef {
        name: object["metadata"]["name"].as_str().context("no name")?.to_owned(),
        namespace: namespace.to_owned(),
        scaler_metadata: metadata
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
    };
    let address = trigger["metadata"]["scalerAddress"].as_str().context("no address")?;
    let mut client = ExternalScalerClient::connect(format!("http://{address}")).await?;
    let mut words = client.stream_is_active(reference.clone()).await?.into_inner();
    let is_active = async {
        while let Some(said) = words.message().await? {
            if said.result {
                return Ok(());
            }
        }
        anyhow::bail!("the stream has ended")
    };
    tokio::time::timeout(SOON, is_active).await.context("nothing to do")??;
    let specs = client.get_metric_spec(reference.clone()).await?.into_inner().metric_specs;
    let [metric] = &specs[..] else { anyhow::bail!("{specs:?}") };
    let metric_name = metric.metric_name.clone();
    let request = GetMetricsRequest { scaled_object_ref: Some(reference), metric_name };
    let values = client.get_metrics(request).await?.into_inner().metric_values;
    let value = values.first().context("no value")?.metric_value_float;
    let count: u32 = format!("{:.0}", (value / metric.target_size_float).ceil()).parse()?;
    let bound = |name: &str| {
        Ok::<_, anyhow::Error>(u32::try_from(spec[name].as_u64().context(name.to_owned())?)?)
    };
    Ok(count.clamp(bound("minReplicaCount")?, bound("maxReplicaCount")?))
}

#[tokio::test]
async fn the_example_of_keda_reaches_its_count_by_keda_alone() -> Result<()> {
    let broker = shared::broker().await?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let scene = Scene::open_with("example-keda", &["--grpc-listen", &address]).await?;
    yard(&scene).await?.define(&scaled_object()).await?;
    let topic = &scene.namespace;
    broker.topic(topic, 12).await?;
    broker.send(topic, None, 60).await?;
    scene.deployment("enrich", 0).await?;
    let replaced = [
        ("kafka.kafka:9092", broker.bootstrap().clone()),
        ("topics: [orders]", format!("topics: [{topic}]")),
        ("penstock-scaler.penstock:9090", address),
    ];
    apply(&scene, "keda", &replaced).await?;
    let kind = definitions::resource("keda.sh/v1alpha1", "ScaledObject");
    let objects = Api::<DynamicObject>::namespaced_with(scene.client.clone(), topic, &kind);
    let object = serde_json::to_value(objects.get("enrich").await?)?;
    let written = manifests("keda", &replaced)?.pop().context("no ScaledObject")?;
    assert_eq!(object["spec"], written["spec"], "KEDA knows no such field");
    let count = count_by_keda(topic, &object).await?;
    assert_eq!(count, 6);
    let deployments = Api::<Deployment>::namespaced(scene.client.clone(), topic);
    let scale = Patch::Merge(json!({"spec": {"replicas": count}}));
    deployments.patch_scale("enrich", &PatchParams::default(), &scale).await?;
    scene
        .until("Penstock to see what KEDA did", SOON, async || {
            Ok((scene.stage("orders").await?.replicas.ready == Some(6)).then_some(()))
        })
        .await?;
    scene.until_read("orders", 2).await?;
    let writes = scene.writes("enrich")?;
    assert_eq!(writes.len(), 1, "Penstock only observes: {writes:?}");
    Ok(())
}
