//! The ground a stage stands on: its partitions, what its replicas get through, how long they take to start, what a rebalance
//! costs, what breaks. As the scenario writes it; `world` plays it.

use serde::Deserialize;

use super::span::Span;

/// What is true of one stage, known to nobody in it. Times are in virtual seconds; the world's step is one second.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Ground {
    /// Items a second that one replica nominally gets through. Must be said.
    pub rate: f64,
    /// Partitions of its queue. Default 48.
    pub partitions: u32,
    /// How unevenly items fall on the partitions. Default: uniform within 25 % of the mean.
    pub skew: Skew,
    /// Standard deviation of a replica's rate from ten seconds to the next, as a share. Default 0.1.
    pub noise: f64,
    /// Standard deviation of the rate from replica to replica, as a share. Default 0.
    pub spread: f64,
    /// Slow change of the rate of all replicas.
    pub drift: Drift,
    /// Lasting changes of the rate of all replicas, such as a bad release.
    pub steps: Vec<RateStep>,
    /// The first seconds of a replica.
    pub cold: Cold,
    /// What a shared limit takes from each replica for every other one (σ of the universal scalability law): n replicas get
    /// through n/(1+σ(n−1)) times what one does. Default 0.
    pub contention: f64,
    /// From a write to Ready. Default 45 s.
    pub startup: Startup,
    /// Pods for which a node must come first.
    pub nodes: Nodes,
    /// What a change of members costs.
    pub rebalance: Rebalance,
    /// Time between two commits of a consumer. Default 5 s.
    pub commit_interval: Span,
    /// Does a reading say which consumer holds which partition? Default true, as Kafka does.
    pub tells_owners: bool,
    /// How old a reading is when it is shown. Default 0 s.
    pub metric_delay: Span,
    /// Readings that fail.
    pub lost: Lost,
    /// Crashes of a replica in a day, on average. Default 0.
    pub crashes_per_day: f64,
    /// How long a group waits for a crashed member. Default 45 s.
    pub session_timeout: Span,
    /// Spot interruptions, which come in clusters.
    pub interruptions: Interruptions,
    /// Replicas at the start. Default: what the first minute needs.
    pub replicas: Option<u32>,
}

impl Default for Ground {
    fn default() -> Self {
        Self {
            rate: 0.0,
            partitions: 48,
            skew: Skew::default(),
            noise: 0.1,
            spread: 0.0,
            drift: Drift::default(),
            steps: Vec::new(),
            cold: Cold::default(),
            contention: 0.0,
            startup: Startup::Fixed(Span::of(45.0)),
            nodes: Nodes::default(),
            rebalance: Rebalance::default(),
            commit_interval: Span::of(5.0),
            tells_owners: true,
            metric_delay: Span::of(0.0),
            lost: Lost::default(),
            crashes_per_day: 0.0,
            session_timeout: Span::of(45.0),
            interruptions: Interruptions::default(),
            replicas: None,
        }
    }
}

/// How unevenly items fall on the partitions. One of `uniform`, `zipf`, `hot`; none of them is uniform within 25 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Skew {
    /// Shares are uniform within this share of the mean.
    pub uniform: Option<f64>,
    /// Shares fall as rank to the power of minus this.
    pub zipf: Option<f64>,
    /// One partition has this share of all, the others the rest in equal parts.
    pub hot: Option<f64>,
    /// Time in which the shares wander to new ones; 0 keeps them.
    pub drift: Span,
}

/// Slow change of the rate: two waves whose periods have no common measure.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Drift {
    /// At most so much up and down, as a share. Default 0.1.
    pub by: f64,
    /// Period of the longer wave. Default 8h.
    pub period: Span,
}

impl Default for Drift {
    fn default() -> Self {
        Self { by: 0.1, period: Span::of(28_800.0) }
    }
}

/// A lasting change of the rate.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RateStep {
    /// When.
    pub at: Span,
    /// What the nominal rate is multiplied by from then on, until the next step.
    pub factor: f64,
}

/// The first seconds of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Cold {
    /// How long caches are cold. Default 0 s.
    pub lasts: Span,
    /// What it gets through meanwhile, as a share. Default 0.5.
    pub speed: f64,
}

impl Default for Cold {
    fn default() -> Self {
        Self { lasts: Span::of(0.0), speed: 0.5 }
    }
}

/// From a write to Ready.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Startup {
    /// Always the same.
    Fixed(Span),
    /// Lognormal.
    Spread(Spread),
}

/// A lognormal time.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Half are faster.
    pub p50: Span,
    /// Nine of ten are faster.
    pub p90: Span,
}

/// Pods for which a node must come first.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nodes {
    /// Share of the pods that find no room. Default 0.
    pub probability: f64,
    /// How much longer those take. Default 2 min, nine of ten within 4 min.
    pub p50: Span,
    /// See `p50`.
    pub p90: Span,
}

impl Default for Nodes {
    fn default() -> Self {
        Self { probability: 0.0, p50: Span::of(120.0), p90: Span::of(240.0) }
    }
}

/// What a change of members costs.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Rebalance {
    /// Who pauses.
    pub mode: Mode,
    /// For how long. Default 5 s.
    pub pause: Span,
    /// What a new group waits for more members (`group.initial.rebalance.delay.ms`). Default 3 s.
    pub join_delay: Span,
}

impl Default for Rebalance {
    fn default() -> Self {
        Self { mode: Mode::Cooperative, pause: Span::of(5.0), join_delay: Span::of(3.0) }
    }
}

/// Who pauses when the members of a group change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Mode {
    /// Everyone: range, round robin and sticky assignors.
    Eager,
    /// The partitions that move: the cooperative sticky assignor, and the new protocol of KIP-848.
    Cooperative,
}

/// Readings that fail.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Lost {
    /// Share of the readings, each alone. Default 0.
    pub share: f64,
    /// Mean time between outages, in which all fail; 0 is never.
    pub outage_every: Span,
    /// How long an outage lasts. Default 5m.
    pub outage_lasts: Span,
}

impl Default for Lost {
    fn default() -> Self {
        Self { share: 0.0, outage_every: Span::of(0.0), outage_lasts: Span::of(300.0) }
    }
}

/// Spot interruptions: from time to time the pool takes a share of the pods within three minutes. They leave in good order (a
/// notice was given) and new ones are made at once.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Interruptions {
    /// Mean time between two; 0 is never.
    pub every: Span,
    /// Share of the pods it takes. Default 0.3.
    pub share: f64,
}

impl Default for Interruptions {
    fn default() -> Self {
        Self { every: Span::of(0.0), share: 0.3 }
    }
}

impl Ground {
    /// Whether its numbers make sense; else the field and the rule.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let Skew { uniform, zipf, hot, .. } = self.skew;
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let rules = [
            (
                0.0 < self.rate && self.rate <= 1e12,
                "rate",
                "must be above 0: items a second that one replica really gets through; hint: rate: 100",
            ),
            ((1..=100_000).contains(&self.partitions), "partitions", "must be from 1 to 100000"),
            (
                [uniform, zipf, hot].iter().flatten().count() <= 1,
                "skew",
                "must be one of uniform, zipf and hot",
            ),
            (
                uniform.is_none_or(|by| (0.0..1.0).contains(&by)),
                "skew.uniform",
                "must be from 0 to below 1",
            ),
            (
                zipf.is_none_or(|power| (0.0..=3.0).contains(&power)),
                "skew.zipf",
                "must be from 0 to 3",
            ),
            (hot.is_none_or(share), "skew.hot", "must be a share from 0 to 1"),
            ((0.0..=0.5).contains(&self.noise), "noise", "must be from 0 to 0.5"),
            ((0.0..=0.5).contains(&self.spread), "spread", "must be from 0 to 0.5"),
            ((0.0..=0.9).contains(&self.drift.by), "drift.by", "must be from 0 to 0.9"),
            (60.0 <= self.drift.period.seconds(), "drift.period", "must be at least 1m"),
            (
                self.steps.iter().all(|step| 0.0 < step.factor && step.factor <= 100.0),
                "steps",
                "must have factors above 0 and at most 100",
            ),
            (
                self.steps.windows(2).all(|pair| pair[0].at < pair[1].at),
                "steps",
                "must be in order of time",
            ),
            (
                0.0 < self.cold.speed && self.cold.speed <= 1.0,
                "cold.speed",
                "must be above 0 and at most 1",
            ),
            ((0.0..=1.0).contains(&self.contention), "contention", "must be from 0 to 1"),
            (
                match self.startup {
                    Startup::Fixed(span) => span.seconds() <= 3600.0,
                    Startup::Spread(Spread { p50, p90 }) => is_spread(p50, p90),
                },
                "startup",
                "must be at most 1h, or have 0s < p50 <= p90 <= 1h",
            ),
            (share(self.nodes.probability), "nodes.probability", "must be a share from 0 to 1"),
            (is_spread(self.nodes.p50, self.nodes.p90), "nodes", "must have 0s < p50 <= p90 <= 1h"),
            (self.rebalance.pause.seconds() <= 3600.0, "rebalance.pause", "must be at most 1h"),
            (
                (1.0..=3600.0).contains(&self.commit_interval.seconds()),
                "commitInterval",
                "must be from 1s to 1h",
            ),
            (self.metric_delay.seconds() <= 600.0, "metricDelay", "must be at most 10m"),
            (share(self.lost.share), "lost.share", "must be a share from 0 to 1"),
            (
                (0.0..=1000.0).contains(&self.crashes_per_day),
                "crashesPerDay",
                "must be from 0 to 1000",
            ),
            (share(self.interruptions.share), "interruptions.share", "must be a share from 0 to 1"),
        ];
        match rules.into_iter().find(|(is_kept, ..)| !is_kept) {
            Some((_, field, rule)) => Err((field, rule)),
            None => Ok(()),
        }
    }
}

fn is_spread(p50: Span, p90: Span) -> bool {
    0.0 < p50.seconds() && p50 <= p90 && p90.seconds() <= 3600.0
}
