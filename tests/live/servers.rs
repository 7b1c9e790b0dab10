//! Tests of the rig: that servers of all promised versions start, do what scenarios need of them, and can be hurt.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use penstock::demo::traffic::{Consumers, Ledger, Load, Pods, Producer, Work};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};

use crate::rig::{
    self, Broker, BrokerOptions, Cluster, ClusterOptions, Kafka, Kubernetes, Listener, Penstock,
    shared, until,
};

const WAIT: Duration = Duration::from_mins(1);

const WORKERS: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker}
spec:
  replicas: 3
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec: {containers: [{name: worker, image: none}]}
";

#[tokio::test]
async fn the_newest_control_plane_scales_a_deployment_to_ready_pods() -> Result<()> {
    deploy(shared::cluster().await?).await
}

#[tokio::test]
async fn the_oldest_control_plane_scales_a_deployment_to_ready_pods() -> Result<()> {
    let options =
        ClusterOptions { nodes: 1, startup: Duration::from_secs(2), ..Default::default() };
    let cluster = Cluster::start(Kubernetes::V1_33, options).await?;
    let begun = tokio::time::Instant::now();
    deploy(&cluster).await?;
    // Up twice, and each time the pods took their time to start.
    assert!(
        begun.elapsed() >= Duration::from_secs(4),
        "pods were Ready after {:?}",
        begun.elapsed()
    );
    Ok(())
}

async fn deploy(cluster: &Cluster) -> Result<()> {
    let namespace = cluster.namespace("deploy").await?;
    cluster.apply(&namespace, WORKERS).await?;
    ready_pods(cluster, &namespace, 3).await?;
    cluster.kubectl(&["-n", &namespace, "scale", "deployment/worker", "--replicas=24"]).await?;
    ready_pods(cluster, &namespace, 24).await?;
    cluster.kubectl(&["-n", &namespace, "scale", "deployment/worker", "--replicas=0"]).await?;
    ready_pods(cluster, &namespace, 0).await
}

async fn ready_pods(cluster: &Cluster, namespace: &str, wanted: usize) -> Result<()> {
    let pods = Api::<Pod>::namespaced(cluster.client().await?, namespace);
    until(&format!("{wanted} Ready pods"), WAIT, async || {
        let found = pods.list(&ListParams::default()).await?;
        let ready = found.iter().filter(|pod| {
            let conditions =
                pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions
                .into_iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        });
        Ok((ready.count() == wanted && found.items.len() == wanted).then_some(()))
    })
    .await
}

#[tokio::test]
async fn an_api_server_keeps_its_objects_across_a_kill_and_says_who_asked_what() -> Result<()> {
    let options = ClusterOptions { audit: true, ..Default::default() };
    let cluster = Cluster::start(Kubernetes::V1_36, options).await?;
    let namespace = cluster.namespace("kept").await?;
    let mut requests = cluster.requests()?;
    cluster.apply(&namespace, WORKERS).await?;
    let made = requests.take()?;
    let made: Vec<_> = made
        .iter()
        .filter(|request| request.resource == "deployments.apps" && request.verb == "create")
        .collect();
    assert_eq!(made.len(), 1, "{made:#?}");
    assert_eq!(
        (made[0].namespace.as_str(), made[0].name.as_str(), made[0].code),
        (namespace.as_str(), "worker", 201)
    );
    assert!(made[0].user == "admin" && made[0].user_agent.starts_with("kubectl"), "{made:#?}");

    cluster.apiserver().freeze()?;
    let asked = cluster.kubectl(&["get", "--raw=/readyz", "--request-timeout=1s"]).await;
    assert!(asked.is_err(), "a frozen server answers");
    cluster.apiserver().thaw()?;
    cluster.apiserver_ready().await?;
    let usage = cluster.apiserver().usage()?;
    assert!(
        usage.cpu > Duration::from_millis(100)
            && usage.peak >= usage.resident
            && usage.resident > 50 << 20,
        "{usage:?}"
    );

    cluster.apiserver().kill9();
    assert!(cluster.kubectl(&["get", "--raw=/readyz"]).await.is_err());
    cluster.apiserver().start_again()?;
    cluster.apiserver_ready().await?;
    let kept = cluster.kubectl(&["-n", &namespace, "get", "deployments", "-o", "name"]).await?;
    assert_eq!(kept.trim(), "deployment.apps/worker");
    Ok(())
}

#[tokio::test]
async fn a_user_may_do_what_its_rules_say_and_nothing_else() -> Result<()> {
    let cluster = shared::cluster().await?;
    let rule = serde_json::from_value(
        serde_json::json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}),
    )?;
    let reader = rig::client(&cluster.user("reader", vec![rule]).await?).await?;
    until("the right to list pods", WAIT, async || {
        Ok(Api::<Pod>::all(reader.clone()).list(&ListParams::default()).await.ok().map(drop))
    })
    .await?;
    let refused =
        Api::<k8s_openapi::api::core::v1::Secret>::all(reader).list(&ListParams::default()).await;
    let refused = refused.err().context("secrets were listed")?.to_string();
    assert!(refused.contains(r#"User "reader" cannot list resource "secrets""#), "{refused}");
    Ok(())
}

#[tokio::test]
async fn the_newest_broker_keeps_its_topics_across_a_kill() -> Result<()> {
    survive(Kafka::V4_1).await
}

#[tokio::test]
async fn the_oldest_broker_keeps_its_topics_across_a_kill() -> Result<()> {
    survive(Kafka::V3_9).await
}

async fn survive(version: Kafka) -> Result<()> {
    let broker =
        Broker::start(version, BrokerOptions { request_log: true, ..Default::default() }).await?;
    broker.topic("kept", 3).await?;
    broker.send("kept", None, 20).await?;
    broker.send("kept", Some(2), 10).await?;
    // A fresh broker has no coordinator for a moment.
    until("thirty that nobody has read", WAIT, async || {
        Ok((broker.lag("nobody", "kept").await? == 30).then_some(()))
    })
    .await?;
    let client: BaseConsumer = broker.client().create()?;
    let own = std::process::id();
    until("a client's connection", WAIT, async || {
        Ok((broker.connections_of(own)? > 0).then_some(()))
    })
    .await?;
    assert_eq!(broker.requests("counted")?, 0);
    let counted: BaseConsumer = broker.client().set("client.id", "counted").create()?;
    until("a counted request", WAIT, async || Ok((broker.requests("counted")? > 0).then_some(())))
        .await?;
    drop((client, counted));
    until("the connection to be gone", WAIT, async || {
        Ok((broker.connections_of(own)? == 0).then_some(()))
    })
    .await?;
    broker.process().kill9();
    assert_eq!(broker.process().pid().ok(), None);
    broker.process().start_again()?;
    broker.ready().await?;
    until("the partitions' leader", WAIT, async || {
        Ok((broker.lag("nobody", "kept").await? == 30).then_some(()))
    })
    .await?;
    broker.grow("kept", 4).await?;
    until("the fourth partition", WAIT, async || {
        Ok((broker.partitions("kept").await? == 4).then_some(()))
    })
    .await?;
    assert!(broker.process().stop().await?.code().is_some());
    Ok(())
}

#[tokio::test]
async fn the_newest_secured_broker_refuses_wrong_credentials() -> Result<()> {
    refuse(Kafka::V4_1).await
}

#[tokio::test]
async fn the_oldest_secured_broker_refuses_wrong_credentials() -> Result<()> {
    refuse(Kafka::V3_9).await
}

async fn refuse(version: Kafka) -> Result<()> {
    let broker =
        Broker::start(version, BrokerOptions { secured: true, ..Default::default() }).await?;
    for listener in
        [Listener::Plain, Listener::Tls, Listener::MutualTls, Listener::Sasl, Listener::SaslTls]
    {
        let config = broker.client_of(listener)?;
        assert_eq!(refusal(&config).await?, None, "{listener:?}");
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            if config.get("sasl.mechanism").is_some() {
                let mut config = config.clone();
                config.set("sasl.mechanism", mechanism);
                assert_eq!(refusal(&config).await?, None, "{listener:?} by {mechanism}");
                config.set("sasl.password", "guessed");
                let refused = refusal(&config).await?.map(|(code, _)| code);
                assert_eq!(
                    refused,
                    Some(RDKafkaErrorCode::Authentication),
                    "{listener:?} by {mechanism}"
                );
            }
        }
        if config.get("ssl.ca.pem").is_some() {
            let mut stranger = config.clone();
            stranger.set("ssl.ca.pem", rig::Authority::new("a stranger")?.certificate());
            let (code, reason) =
                refusal(&stranger).await?.context("a stranger's certificate is trusted")?;
            assert!(
                code == RDKafkaErrorCode::SSL && reason.contains("certificate verify failed"),
                "{listener:?}: {reason}"
            );
        }
    }
    let mut nameless = broker.client_of(Listener::Tls)?;
    nameless.set("bootstrap.servers", broker.address(Listener::MutualTls)?);
    let (code, reason) =
        refusal(&nameless).await?.context("a client without a certificate is let in")?;
    // The handshake is over by then (TLS 1.3), so librdkafka calls it a broken connection.
    assert!(
        code == RDKafkaErrorCode::BrokerTransportFailure
            && reason.contains("alert bad certificate"),
        "{code:?}: {reason}"
    );
    Ok(())
}

/// Why the broker does not let this client in, or `None` when it does.
async fn refusal(config: &ClientConfig) -> Result<Option<(RDKafkaErrorCode, String)>> {
    /// Remembers the first error that is more than "nobody answered".
    #[derive(Default)]
    struct Ears(Mutex<Option<(RDKafkaErrorCode, String)>>);
    impl ClientContext for Ears {
        fn error(&self, error: KafkaError, reason: &str) {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            // It has the words of what went wrong, and may come before that.
            if code != RDKafkaErrorCode::AllBrokersDown {
                self.0
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert((code, reason.to_owned()));
            }
        }
    }
    impl ConsumerContext for Ears {}

    let consumer: BaseConsumer<Ears> =
        config.clone().set("group.id", "ears").create_with_context(Ears::default())?;
    let asked = tokio::task::spawn_blocking(move || {
        for _ in 0..300 {
            if consumer.fetch_metadata(None, Duration::from_millis(100)).is_ok() {
                return Ok(None);
            }
            drop(consumer.poll(Duration::ZERO));
            if let Some(heard) =
                consumer.context().0.lock().unwrap_or_else(PoisonError::into_inner).take()
            {
                return Ok(Some(heard));
            }
        }
        anyhow::bail!("the broker neither lets the client in nor refuses it")
    });
    asked.await?
}

#[tokio::test]
async fn consumers_follow_ready_pods_and_work_at_their_rate() -> Result<()> {
    let (cluster, broker) = (shared::cluster().await?, shared::broker().await?);
    let namespace = cluster.namespace("crew").await?;
    broker.topic(&namespace, 6).await?;
    let (kafka, ledger) = (broker.traffic(), Arc::new(Ledger::new(1)));
    let producer = Producer::start(&kafka, &namespace, Load::steady(0.0), Arc::clone(&ledger))?;
    producer.add(4_800);
    let work =
        Work { commit_interval: Duration::from_millis(500), ..Work::on(&namespace, "crew", 200.0) };
    let pods = Pods { namespace: namespace.clone(), selector: "app=worker".to_owned() };
    let crew = Consumers::start(cluster.client().await?, pods, kafka, work, Arc::clone(&ledger))?;
    cluster.apply(&namespace, WORKERS).await?;
    until("all three at work", WAIT, async || Ok((ledger.tally(0).done > 600).then_some(())))
        .await?;
    assert_eq!(crew.counts().consumers, 3);
    // Over five seconds, so that the rebalances before do not count.
    let (before, since) = (ledger.tally(0).done, tokio::time::Instant::now());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let done = f64::from(u32::try_from(ledger.tally(0).done - before)?);
    let rate = done / since.elapsed().as_secs_f64();
    assert!((450.0..=660.0).contains(&rate), "three consumers of 200/s work off {rate}/s");

    cluster.kubectl(&["-n", &namespace, "scale", "deployment/worker", "--replicas=1"]).await?;
    until("one left at work", WAIT, async || Ok((crew.counts().consumers == 1).then_some(())))
        .await?;
    until("the last item", WAIT, async || {
        Ok((broker.lag("crew", &namespace).await? == 0).then_some(()))
    })
    .await?;
    crew.stop().await;
    let ages = ledger
        .items()
        .iter()
        .map(|item| item.done.map(|done| done.saturating_sub(item.made)))
        .collect::<Option<Vec<_>>>();
    let oldest = ages.context("an item was never worked off")?.into_iter().max();
    assert!(oldest > Some(Duration::from_secs(5)), "the last of a backlog is old: {oldest:?}");
    Ok(())
}

#[tokio::test]
async fn the_daemon_gets_ready_says_so_and_ends_when_asked() -> Result<()> {
    let cluster = shared::cluster().await?;
    cluster.install().await?;
    let namespace = cluster.namespace("daemon").await?;
    let only_here = ["--namespace", &namespace, "--lease-namespace", &namespace];
    let daemon = Penstock::run(cluster.kubeconfig(), &only_here).await?;
    let (code, metrics) = daemon.get("/metrics").await?;
    assert!(code == 200 && metrics.contains("penstock_build_info"), "{code}: {metrics}");
    assert!(daemon.page("/api/v1/pipelines").await?.to_string().contains('['));
    assert!(daemon.stop().await?.success(), "{}", daemon.process().log()?);
    Ok(())
}

#[tokio::test]
async fn a_server_that_does_not_start_shows_the_end_of_its_log() -> Result<()> {
    let options =
        ClusterOptions { apiserver_flags: vec!["--no-such-flag".to_owned()], ..Default::default() };
    let error = Cluster::start(Kubernetes::V1_36, options).await.err().context("it started")?;
    let error = format!("{error:#}");
    assert!(
        error.contains("unknown flag: --no-such-flag")
            && error.contains("kube-apiserver ended with exit status"),
        "{error}"
    );
    Ok(())
}
