//! Where partitions are the limit: how to add some, in commands that can be tried as they stand. Called by `view` for each reason; how
//! many partitions each topic has is what its source said last.

use std::collections::BTreeSet;

use crate::decide::{Observation, Reason, Source, Stage, Value};
use crate::report::Picture;

/// A topic, and how many partitions it has.
struct Topic<'a> {
    source: &'a Source,
    name: &'a str,
    partitions: u32,
}

/// What to do about a reason that partitions bound; `None` for any other, and where it is not known how many each topic has. `before`: the
/// reasons before it.
pub(super) fn to_add(
    reason: &Reason,
    before: &[Reason],
    stage: &Stage,
    picture: &Picture,
) -> Option<String> {
    if let Reason::PartitionBound { wished, partitions } = reason {
        let asks = |it: &Reason| {
            if let Reason::Threshold { source, .. } = it { Some(source.clone()) } else { None }
        };
        let asking = before.iter().rev().find_map(asks);
        let is_meant =
            |source: &&Source| asking.as_ref().is_none_or(|asking| *source.name == **asking);
        return room_for(*wished, *partitions, stage, &topics(stage, is_meant, picture)?);
    }
    if let Reason::HotPartition { source, topic, .. } = reason {
        let is_meant = |it: &&Source| *it.name == **source;
        let topics = topics(stage, is_meant, picture)?;
        let is_hot = |it: &&Topic<'_>| topic.as_ref().is_none_or(|topic| it.name == topic);
        let hot = topics.iter().find(is_hot)?;
        return Some(format!(
            "spread the keys better, or make each replica faster; where many keys share that partition, {} splits them",
            hot.grown_to(hot.partitions.saturating_mul(2))
        ));
    }
    None
}

/// What makes room for the count that is wished, where there are so many partitions in all: each topic grows in proportion.
fn room_for(wished: u32, all: u32, stage: &Stage, topics: &[Topic<'_>]) -> Option<String> {
    let own: u32 = topics.iter().map(|topic| topic.partitions).sum();
    // What other queues have stays as it is.
    let needed = wished.saturating_sub(all.saturating_sub(own));
    if own == 0 || needed <= own {
        return None;
    }
    let share = |has: u32| (u64::from(has) * u64::from(needed)).div_ceil(u64::from(own));
    let grown = |topic: &Topic<'_>| {
        topic.grown_to(u32::try_from(share(topic.partitions)).unwrap_or(u32::MAX))
    };
    let commands: BTreeSet<String> = topics.iter().map(grown).collect();
    let commands: Vec<_> = commands.into_iter().collect();
    let gives = if let [_] = commands[..] { "gives" } else { "together give" };
    let max = if stage.max < wished {
        format!(", with replicas.max raised to {wished}")
    } else {
        String::new()
    };
    let range = if let [_] = topics {
        ""
    } else {
        "; by the range assignor, Kafka's default, no more replicas work than the largest topic has partitions"
    };
    Some(format!(
        "{} {gives} room for {wished} replicas{max} (keys move to other partitions{range})",
        commands.join("; ")
    ))
}

/// The topics of the sources that are meant; `None` when one of these did not say all it has.
fn topics<'a>(
    stage: &'a Stage,
    is_meant: impl Fn(&&Source) -> bool,
    picture: &Picture,
) -> Option<Vec<Topic<'a>>> {
    let mut topics = Vec::new();
    for source in stage.sources.iter().filter(is_meant).filter(|it| !it.topics.is_empty()) {
        let observation = picture.heard(&source.question)?.observation.as_ref()?;
        let (Observation::Fresh(reading) | Observation::Stale(reading, _)) = observation else {
            return None;
        };
        let Value::Queue(queue) = &reading.value else { return None };
        for (index, name) in (0_u16..).zip(&source.topics) {
            let count = queue.partitions.iter().filter(|it| it.topic == index).count();
            topics.push(Topic { source, name, partitions: u32::try_from(count).ok()? });
        }
    }
    Some(topics)
}

impl Topic<'_> {
    /// The command that gives it so many partitions: of the object where Strimzi looks after the cluster, of the topic itself elsewhere.
    fn grown_to(&self, partitions: u32) -> String {
        // Kafka has no other names; of a pipeline's author anything might come, and this is meant for a shell.
        let is_plain = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
        let name = if self.name.chars().all(is_plain) { self.name } else { "TOPIC" };
        let origin = &self.source.origin;
        // As `crd::strimzi::Wanted` calls such a cluster; no address has a blank.
        let strimzi = origin.strip_prefix("Kafka ").and_then(|cluster| cluster.split_once('/'));
        let Some((namespace, _)) = strimzi else {
            let is_host = |it: char| it.is_ascii_alphanumeric() || "._-:,[]".contains(it);
            let is_known = !origin.is_empty() && origin.chars().all(is_host);
            let servers = if is_known { origin } else { "BROKERS" };
            return format!(
                "kafka-topics.sh --bootstrap-server {servers} --alter --topic {name} --partitions {partitions}"
            );
        };
        let patch = |object: &str| {
            format!(
                "kubectl -n {namespace} patch kafkatopic {object} --type merge -p '{{\"spec\":{{\"partitions\":{partitions}}}}}'"
            )
        };
        // No object has a capital or an underscore in its name.
        let is_name =
            |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "-.".contains(it);
        if name.chars().all(is_name) {
            patch(name)
        } else {
            format!("{} with NAME the KafkaTopic whose topicName is {name},", patch("NAME"))
        }
    }
}
