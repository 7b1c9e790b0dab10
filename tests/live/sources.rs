//! Scenarios of what a Kafka source may do: topics that come, grow and are made anew, groups without commits, brokers that go away,
//! and many questions to one of them.

use std::time::Duration;

use anyhow::Result;
use penstock::demo::traffic::Work;
use serde_json::json;

use crate::rig::{Broker, BrokerOptions, Kafka, shared, until};
use crate::scene::{SOON, Scene, kafka};

#[tokio::test]
async fn two_topics_of_one_group_are_added_up() -> Result<()> {
    let broker = shared::broker().await?;
    let scene = Scene::open("two").await?;
    let group = &scene.namespace;
    let topics = ["first", "second"].map(|name| format!("{group}-{name}"));
    let topics = topics.each_ref().map(String::as_str);
    scene.deployment("worker", 0).await?;
    let all = topics.map(str::to_owned).to_vec();
    let crew =
        scene.consume(broker, "worker", Work { topics: all, ..Work::on("", group, 10.0) })?;
    for topic in topics {
        broker.topic(topic, 4).await?;
    }
    let per_replica = json!({"perReplica": 10, "offsetReset": "Earliest"});
    let stage = json!({
        "target": {"name": "worker"}, "replicas": {"min": 0, "max": 20},
        "sources": [kafka(broker, &topics, group, per_replica)],
    });
    scene.pipeline("both", stage).await?;
    // Neither alone would give more than four.
    let (first, second) = (crew.producer(topics[0])?, crew.producer(topics[1])?);
    scene.after_a_poll("both").await?;
    first.add(40);
    second.add(20);
    assert_eq!(scene.until_moved(("worker", 0, 6), SOON).await?, [6]);
    scene.until_done(&crew, 60).await?;
    assert_eq!((first.confirmed(), second.confirmed()), (40, 20));
    crew.stop().await;
    Ok(())
}

#[tokio::test]
async fn partitions_added_while_it_runs_are_counted_and_worked_off() -> Result<()> {
    let broker = shared::broker().await?;
    let scene = Scene::open("grown").await?;
    let topic = &scene.namespace;
    broker.topic(topic, 2).await?;
    scene.deployment("worker", 0).await?;
    let crew = scene.consume(broker, "worker", Work::on(topic, topic, 10.0))?;
    let earliest = json!({"perReplica": 10, "offsetReset": "Earliest"});
    let stage = json!({
        "target": {"name": "worker"}, "replicas": {"min": 0, "max": 20}, "idle": {"replicas": 0, "after": "10m"},
        "behavior": {"scaleDown": {"selectPolicy": "Disabled"}},
        "sources": [kafka(broker, &[topic], topic, earliest)],
    });
    scene.pipeline("orders", stage).await?;
    let producer = crew.producer(topic)?;
    scene.after_a_poll("orders").await?;
    producer.add(60);
    // Six are wished; more than one for each partition would stand idle.
    assert_eq!(scene.until_moved(("worker", 0, 2), SOON).await?, [2]);
    scene.until_done(&crew, 60).await?;
    broker.grow(topic, 8).await?;
    scene
        .until("eight partitions", SOON + SOON, async || {
            Ok((scene.stage("orders").await?.partitions == 8).then_some(()))
        })
        .await?;
    // The producer of before would learn of them later.
    let producer = crew.producer(topic)?;
    producer.add(400);
    assert_eq!(scene.until_moved(("worker", 0, 8), SOON).await?, [2, 8]);
    scene.until_done(&crew, 460).await?;
    crew.stop().await;
    assert_eq!(broker.lag(topic, topic).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_group_without_commits_wakes_for_what_comes_or_for_all_that_is_kept() -> Result<()> {
    let broker = shared::broker().await?;
    let scene = Scene::open("fresh").await?;
    let (latest, earliest) =
        (format!("{}-latest", scene.namespace), format!("{}-earliest", scene.namespace));
    let mut crews = Vec::new();
    for (topic, reset, name) in [(&latest, "Latest", "new"), (&earliest, "Earliest", "all")] {
        broker.topic(topic, 4).await?;
        scene.deployment(name, 0).await?;
        let kafka_of = broker.traffic().with("consumer.auto.offset.reset", reset.to_lowercase());
        let crew = scene.consume_by(kafka_of, name, Work::on(topic, topic, 50.0))?;
        let producer = crew.producer(topic)?;
        producer.add(40);
        until("the old items", SOON, async || Ok((producer.confirmed() == 40).then_some(())))
            .await?;
        crews.push((crew, producer));
        let stage = json!({
            "target": {"name": name}, "replicas": {"min": 0, "max": 20},
            "sources": [kafka(broker, &[topic], topic, json!({"perReplica": 10, "offsetReset": reset}))],
        });
        scene.pipeline(name, stage).await?;
    }
    assert_eq!(scene.until_moved(("all", 0, 4), SOON).await?, [4]);
    scene.until_done(&crews[1].0, 40).await?;
    // The old items are nobody's, so nothing woke the other for as long.
    scene.until_read("new", 2).await?;
    assert_eq!(scene.moves("new", 0)?, [0_u32; 0]);
    let (crew, producer) = &crews[0];
    producer.add(1);
    assert_eq!(scene.until_moved(("new", 0, 1), SOON).await?, [1]);
    // A consumer that comes late reads what comes after it, as its own setting says.
    scene
        .until("an item for the consumer that woke", SOON, async || {
            producer.add(1);
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok((crew.done() > 0).then_some(()))
        })
        .await?;
    for (crew, _) in crews {
        crew.stop().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_topic_made_anew_is_named_while_it_lacks_and_then_worked_off() -> Result<()> {
    let broker = shared::broker().await?;
    let scene = Scene::open("anew").await?;
    let topic = &scene.namespace;
    broker.topic(topic, 4).await?;
    scene.deployment("worker", 0).await?;
    let crew = scene.consume(broker, "worker", Work::on(topic, topic, 10.0))?;
    let earliest = json!({"perReplica": 10, "offsetReset": "Earliest"});
    let stage = json!({
        "target": {"name": "worker"}, "replicas": {"min": 0, "max": 20}, "idle": {"replicas": 0, "after": "10m"},
        "behavior": {"scaleDown": {"selectPolicy": "Disabled"}},
        "sources": [kafka(broker, &[topic], topic, earliest)],
    });
    scene.pipeline("orders", stage).await?;
    let producer = crew.producer(topic)?;
    scene.after_a_poll("orders").await?;
    producer.add(80);
    assert_eq!(scene.until_moved(("worker", 0, 4), SOON).await?, [4]);
    scene.until_done(&crew, 80).await?;
    scene
        .until("the last commit", SOON, async || {
            Ok((scene.stage("orders").await?.lag == Some(0)).then_some(()))
        })
        .await?;
    producer.stop().await;
    broker.delete(topic).await?;
    let said = scene.until_condition("orders", ("Ready", "False", "UnknownTopic"), SOON).await?;
    assert!(said.contains(&format!("has no topic {topic}")), "{said}");
    assert_eq!(scene.moves("worker", 0)?, [4]);
    broker.topic(topic, 8).await?;
    let producer = crew.producer(topic)?;
    producer.add(400);
    assert_eq!(scene.until_moved(("worker", 0, 8), SOON).await?, [4, 8]);
    scene.until_condition("orders", ("Ready", "True", "Serving"), SOON).await?;
    // A client that kept its place in the old topic may skip as much of the new one, so not every item is in the book.
    scene
        .until("the last commit", SOON, async || {
            Ok((scene.stage("orders").await?.lag == Some(0)).then_some(()))
        })
        .await?;
    crew.stop().await;
    assert_eq!(broker.lag(topic, topic).await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_broker_that_stops_holds_the_stage_until_it_is_back() -> Result<()> {
    let broker = &Broker::start(Kafka::V4_1, BrokerOptions::default()).await?;
    let scene = Scene::open("blind").await?;
    let topic = &scene.namespace;
    broker.topic(topic, 8).await?;
    scene.deployment("worker", 1).await?;
    let crew = scene.consume(broker, "worker", Work::on(topic, topic, 2.0))?;
    let stage = json!({
        "target": {"name": "worker"}, "replicas": {"max": 20}, "fallback": {"after": "5s"},
        "sources": [kafka(broker, &[topic], topic, json!({"perReplica": 10, "offsetReset": "Earliest"}))],
    });
    scene.pipeline("orders", stage).await?;
    let producer = crew.producer(topic)?;
    scene.after_a_poll("orders").await?;
    producer.add(80);
    assert_eq!(scene.until_moved(("worker", 1, 8), SOON).await?, [8]);
    broker.process().stop().await?;
    let held = ("Fallback", "True", "NoFreshData");
    let said = scene.until_condition("orders", held, SOON).await?;
    assert!(said.contains(&broker.bootstrap()), "{said}");
    assert_eq!(scene.moves("worker", 1)?, [8]);
    let ready = scene.condition("orders", "Ready").await?.map(|ready| ready.status);
    assert_eq!(ready.as_deref(), Some("True"), "a broker that is away comes back");
    broker.process().start_again()?;
    broker.ready().await?;
    scene
        .until("a reading", SOON, async || {
            let stage = scene.stage("orders").await?;
            Ok((stage.sources[0].state == "Fresh").then_some(()))
        })
        .await?;
    scene.until_condition("orders", ("Fallback", "False", ""), SOON).await?;
    scene.until_done(&crew, 80).await?;
    assert_eq!(scene.moves("worker", 1)?, [8]);
    crew.stop().await;
    Ok(())
}

#[tokio::test]
async fn pipelines_of_one_broker_share_one_client() -> Result<()> {
    let broker = shared::broker().await?;
    let scene = Scene::open("shared").await?;
    let mut open = Vec::new();
    for number in 0..4 {
        let topic = &format!("{}-{number}", scene.namespace);
        broker.topic(topic, 4).await?;
        scene.deployment(topic, 0).await?;
        let stage = json!({
            "target": {"name": topic}, "replicas": {"min": 0, "max": 4},
            "sources": [kafka(broker, &[topic], topic, json!({"perReplica": 10}))],
        });
        scene.pipeline(topic, stage).await?;
        scene.until_read(topic, 2).await?;
        open.push(broker.connections_of(scene.daemon.process().pid()?)?);
    }
    // Two for each broker and one more is the promise.
    assert!((1..=3).contains(&open[0]), "{open:?}");
    assert!(
        open.iter().all(|count| *count == open[0]),
        "connections with 1 to 4 pipelines: {open:?}"
    );
    Ok(())
}
