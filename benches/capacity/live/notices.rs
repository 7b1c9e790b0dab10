//! Nodes of spot are taken back with a notice, one at a time, under real consumers: is the stage ever short, are consumers killed at their work,
//! how soon is there a replacement, and does the data come in time? Stages with and without a spare node, all at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use penstock::demo::traffic::{Consumers, Ledger, Load, Pods, Producer, Work};
use serde_json::json;
use tokio::time::Instant;

use crate::book::{Bar, Book};
use crate::eye::{Eye, Seen, Told};
use crate::rig::shared;
use crate::scene::kafka;

use super::cloud::{Cloud, Way};
use super::ground::{Ground, lanes, selector};
use super::maker::Maker;
use super::terms::{BOOT, FIT, LONG, START};

/// Replicas, no more and no fewer; two of them on demand. Work for eleven: while five are lacking, some of the others have four partitions, which is
/// 1.8 times what they can do, and in the 40 s that a node takes their data gets older than the 15 s that are promised where there is room.
pub(crate) const NEED: usize = 12;
const SPLIT: [u32; 2] = [2, 10];
pub(crate) const PARTITIONS: i32 = 24;
pub(crate) const RATE: f64 = 20.0;
pub(crate) const LOAD: f64 = 11.0 * RATE;
/// Promised with room for another node's pods, and without.
pub(crate) const MAX_DELAYS: [Duration; 2] = [Duration::from_secs(15), Duration::from_mins(1)];
/// From when all are Ready until their consumers have their partitions.
const SETTLE: Duration = Duration::from_secs(15);
/// From one interruption that is over to the next.
const PAUSE: Duration = Duration::from_secs(5);

/// One stage and what happens to it.
#[derive(Debug)]
pub(crate) struct Trial {
    name: &'static str,
    notice: Duration,
    is_spare: bool,
    ways: &'static [Way],
}

pub(crate) const TRIALS: [Trial; 4] = [
    Trial {
        name: "120-spare",
        notice: Duration::from_mins(2),
        is_spare: true,
        ways: &[Way::Handler, Way::Karpenter, Way::Deleted],
    },
    Trial {
        name: "120-none",
        notice: Duration::from_mins(2),
        is_spare: false,
        ways: &[Way::Deleted, Way::Handler, Way::Karpenter],
    },
    Trial {
        name: "30-spare",
        notice: Duration::from_secs(30),
        is_spare: true,
        ways: &[Way::Gke, Way::Karpenter, Way::Handler, Way::Karpenter],
    },
    Trial {
        name: "30-none",
        notice: Duration::from_secs(30),
        is_spare: false,
        ways: &[Way::Karpenter, Way::Gke, Way::Karpenter, Way::Handler],
    },
];

/// What came of one interruption.
#[derive(Debug)]
struct Struck {
    way: Way,
    on_it: usize,
    /// Most replicas fewer Ready than needed, and for how long there were fewer.
    dip: usize,
    lasts: Duration,
    /// From the notice until as many as needed were Ready on nodes that stay.
    replaced: Duration,
    /// Of those that were at work on the node: not told to end, or too late for all the time that they were given.
    killed: usize,
}

/// What came of a stage.
#[derive(Debug)]
pub(crate) struct Played {
    trial: &'static Trial,
    struck: Vec<Struck>,
    items: usize,
    late: usize,
    oldest: Duration,
}

impl Trial {
    fn kind(&self) -> String {
        let room = if self.is_spare { "N+1" } else { "no headroom" };
        format!("live, {} s notice, {room}", self.notice.as_secs())
    }

    /// Plays it from an empty pool to the last item.
    pub(crate) async fn play(&'static self, ground: &Ground) -> Result<Played> {
        self.all(ground).await.with_context(|| format!("the stage {}", self.name))
    }

    async fn all(&'static self, ground: &Ground) -> Result<Played> {
        let (scene, name) = (&ground.scene, self.name);
        let topic = format!("{}-{name}", scene.namespace);
        let broker = shared::broker().await?;
        broker.topic(&topic, PARTITIONS).await?;
        broker.commit(&topic, &topic, 0).await?;
        ground.lay_out(name, &json!({"notice": format!("{}s", self.notice.as_secs())})).await?;
        let kept = Maker::start(scene, format!("{name}-kept"), false);
        let spot = Maker::start(scene, format!("{name}-spot"), self.is_spare);
        let eye = Eye::on(scene.client.clone(), &scene.namespace, &selector(name));
        let ledger = Arc::new(Ledger::new(1));
        let pods = Pods { namespace: scene.namespace.clone(), selector: selector(name) };
        let work = Work::on(&topic, &topic, RATE);
        let (client, kafkas) = (scene.client.clone(), broker.traffic());
        let consumers = Consumers::start(client, pods, kafkas.clone(), work, Arc::clone(&ledger))?;
        let delay = format!("{}s", self.promised().as_secs());
        let source = kafka(broker, &[&topic], &topic, json!({}));
        scene
            .pipeline_unread(
                name,
                json!({
                    "name": "sink", "replicas": {"min": NEED, "max": NEED}, "objective": {"maxDelay": delay},
                    "lanes": lanes(name, SPLIT[0], 100), "capacity": {"drain": "Hold"}, "sources": [source],
                }),
            )
            .await?;
        self.until_whole(ground, &eye).await?;
        tokio::time::sleep(SETTLE).await;
        let producer = Producer::start(&kafkas, &topic, Load::steady(LOAD), Arc::clone(&ledger))?;
        let cloud = Cloud::of(ground).await?;
        let mut struck = Vec::new();
        for way in self.ways {
            tokio::time::sleep(PAUSE).await;
            kept.fill().await?;
            if !self.is_spare {
                spot.fill().await?;
            }
            struck.push(self.strike(ground, &cloud, &eye, *way).await?);
        }
        producer.stop().await;
        let over = Instant::now() + self.promised();
        let waits = || ledger.tally(0).done < ledger.tally(0).arrived;
        while waits() && Instant::now() < over {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let (now, items) = (ledger.now(), ledger.items());
        let ages: Vec<_> =
            items.iter().map(|it| it.done.unwrap_or(now).saturating_sub(it.made)).collect();
        let late = items
            .iter()
            .zip(&ages)
            .filter(|(it, age)| it.done.is_none() || self.promised() < **age);
        let (late, oldest) = (late.count(), ages.iter().max().copied().unwrap_or_default());
        consumers.stop().await;
        Ok(Played { trial: self, struck, items: items.len(), late, oldest })
    }

    fn promised(&self) -> Duration {
        MAX_DELAYS[usize::from(!self.is_spare)]
    }

    /// Waits until both lanes have their share, Ready, and the spare node, if there is to be one, is there.
    async fn until_whole(&self, ground: &Ground, eye: &Eye) -> Result<()> {
        ground
            .scene
            .until("all to be Ready", LONG, async || {
                let (asked, ready) = (ground.asked(self.name).await?, eye.seen().ready.len());
                ensure!(asked == SPLIT && ready == NEED, "{asked:?} are asked for, {ready} Ready");
                let spot = format!("pool={}-spot", self.name);
                let nodes = ground.cluster.kubectl(&["get", "nodes", "-l", &spot]).await?;
                let there = nodes.lines().filter(|line| line.contains(" Ready ")).count();
                let least = NEED.div_ceil(FIT) - 1 + usize::from(self.is_spare);
                ensure!(least <= there, "{there} nodes are there");
                Ok(Some(()))
            })
            .await
    }

    /// The fullest node of spot is taken back; it is over when all is as before.
    async fn strike(&self, ground: &Ground, cloud: &Cloud, eye: &Eye, way: Way) -> Result<Struck> {
        let spot = format!("{}-spot-", self.name);
        let standing = eye.seen().standing();
        let of_spot = standing.into_iter().filter(|(node, _)| node.starts_with(&spot));
        let (node, on_it) = of_spot.max_by_key(|(_, pods)| *pods).context("nothing on spot")?;
        let at = Instant::now();
        let end = at + self.notice;
        cloud.tell(ground, &node, way).await?;
        let replaced = async {
            loop {
                let seen = eye.seen().ready.values().filter(|on| **on != node).count();
                if NEED <= seen {
                    return Ok(at.elapsed());
                }
                ensure!(at.elapsed() < LONG, "{seen} are Ready on nodes that stay");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let ended = async {
            cloud.drain(&node, way, end).await?;
            tokio::time::sleep_until(end).await;
            let killed = killed(&eye.seen(), &node, end);
            cloud.end(&node).await?;
            anyhow::Ok(killed)
        };
        let (replaced, killed) = tokio::try_join!(replaced, ended)?;
        let is_real = self.is_spare || BOOT <= replaced;
        ensure!(is_real, "there was room: replaced after {replaced:?}, a node takes {BOOT:?}");
        self.until_whole(ground, eye).await?;
        let (dip, lasts) = below(&eye.seen().counts, at);
        Ok(Struck { way, on_it, dip, lasts, replaced, killed })
    }
}

/// How many on the node had not had all their time when it ended.
fn killed(seen: &Seen, node: &str, end: Instant) -> usize {
    let at_work = seen.ready.values().filter(|on| *on == node).count();
    let told = seen.graces.values().filter(|told| told.node.as_deref() == Some(node));
    let given = |told: &Told| Duration::from_secs(u64::try_from(told.grace).unwrap_or_default());
    at_work + told.filter(|told| end < told.at + given(told)).count()
}

/// How many too few there were at the worst since then, and how long there were too few.
fn below(counts: &[(Instant, usize)], since: Instant) -> (usize, Duration) {
    let ends = counts.iter().skip(1).map(|(at, _)| *at).chain([Instant::now()]);
    let spells = counts.iter().zip(ends).filter(|((_, count), end)| *count < NEED && since < *end);
    spells.fold((0, Duration::ZERO), |(dip, lasts), ((from, count), end)| {
        (dip.max(NEED - count), lasts + end.duration_since(since.max(*from)))
    })
}

impl Played {
    /// Beside its targets; a pod's start takes so long on this machine.
    pub(crate) fn note(&self, start: Duration, book: &mut Book) {
        let Trial { notice, is_spare, .. } = *self.trial;
        let is_long = Duration::from_mins(1) < notice;
        let kind = self.trial.kind();
        let mut note = |what: &str, got: f64, bar: (Bar, f64), unit: &'static str| {
            book.note(format!("{kind}: {what}"), got, bar, unit);
        };
        let most = |field: fn(&Struck) -> f64| self.struck.iter().map(field).fold(0.0, f64::max);
        // In hundredths, as it is told.
        let start = (100.0 * start.as_secs_f64()).round() / 100.0;
        let lasts = most(|it| it.lasts.as_secs_f64());
        if is_long && is_spare {
            let survived = share(self.survived(), self.struck.len());
            note("survived", survived, (Bar::AtLeast, 100.0), " %");
        } else if is_long {
            note("longest dip", lasts, (Bar::AtMost, start), " s");
        } else {
            let beyond = |it: &&Struck| it.dip.saturating_sub(it.on_it);
            let worst = self.struck.iter().max_by_key(|it| (beyond(it), it.dip));
            let (dip, on_it) =
                worst.map_or((f64::NAN, 0.0), |it| (number(it.dip), number(it.on_it)));
            note("worst dip, no worse than losing the node", dip, (Bar::AtMost, on_it), "");
        }
        if !is_long && is_spare {
            note("to N again, slowest", lasts, (Bar::AtMost, start), " s");
        }
        let replaced = most(|it| it.replaced.as_secs_f64());
        let soon = if is_spare { START.as_secs_f64() + 2.0 } else { BOOT.as_secs_f64() + 5.0 };
        note("replaced, slowest", replaced, (Bar::AtMost, soon), " s");
        note("consumers killed at work", most(|it| number(it.killed)), (Bar::AtMost, 0.0), "");
        note("on time", self.on_time(), (Bar::AtLeast, 99.0), " %");
        let promised = self.trial.promised().as_secs_f64();
        note("oldest item", self.oldest.as_secs_f64(), (Bar::AtMost, promised), " s");
    }

    /// In words, a line for each interruption.
    pub(crate) fn told(&self) -> Vec<String> {
        let mut told = vec![format!(
            "{}: {} of {} survived with all N Ready; {} items, {:.2} % on time, the oldest {:.1} s of {} s promised",
            self.trial.kind(),
            self.survived(),
            self.struck.len(),
            self.items,
            self.on_time(),
            self.oldest.as_secs_f64(),
            self.trial.promised().as_secs(),
        )];
        told.extend(self.struck.iter().map(|it| {
            format!(
                "  {}, {} pods on the node: dip {} for {:.1} s, replaced after {:.1} s, {} killed",
                it.way.words(),
                it.on_it,
                it.dip,
                it.lasts.as_secs_f64(),
                it.replaced.as_secs_f64(),
                it.killed
            )
        }));
        told
    }

    fn survived(&self) -> usize {
        self.struck.iter().filter(|it| it.dip == 0).count()
    }

    fn on_time(&self) -> f64 {
        share(self.items - self.late, self.items)
    }
}

/// In per cent.
fn share(part: usize, of: usize) -> f64 {
    100.0 * number(part) / number(of)
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
