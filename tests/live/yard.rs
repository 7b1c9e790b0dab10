//! What tests of nodes have in common: a node that KWOK plays, and a topic in which as many items wait as so many replicas are to work on.

use anyhow::Result;
use serde_json::{Value, json};

use crate::rig::{Broker, shared};
use crate::scene::kafka;

/// Items of each replica: one of each partition.
pub(crate) const PARTITIONS: i32 = 12;

/// A node of a pool, with room for so many pods of one CPU.
pub(crate) fn node(pool: &str, number: u32, cpus: usize) -> Value {
    let room = json!({"cpu": cpus.to_string(), "memory": "32Gi", "pods": "110"});
    let name = format!("{pool}-{number}");
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"pool": pool, "kubernetes.io/hostname": name}},
        "status": {"capacity": room, "allocatable": room},
    })
}

/// The items of a topic, which is its consumer group as well.
pub(crate) struct Items {
    broker: &'static Broker,
    topic: String,
    /// Items of each partition, and how many of them are done.
    sent: i64,
    done: i64,
}

impl Items {
    pub(crate) async fn open(topic: &str) -> Result<Self> {
        let broker = shared::broker().await?;
        broker.topic(topic, PARTITIONS).await?;
        broker.commit(topic, topic, 0).await?;
        Ok(Self { broker, topic: topic.to_owned(), sent: 0, done: 0 })
    }

    /// The source that reads them.
    pub(crate) fn source(&self) -> Value {
        kafka(self.broker, &[&self.topic], &self.topic, json!({"perReplica": PARTITIONS}))
    }

    /// As many items wait as so many replicas are to work on.
    pub(crate) async fn want(&mut self, replicas: i64) -> Result<()> {
        let more = replicas - (self.sent - self.done);
        if more < 0 {
            self.done -= more;
            return self.broker.commit(&self.topic, &self.topic, self.done).await;
        }
        self.sent += more;
        let items = usize::try_from(more * i64::from(PARTITIONS))?;
        self.broker.send(&self.topic, None, items).await
    }
}
