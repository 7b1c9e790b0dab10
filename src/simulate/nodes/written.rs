//! A pool of nodes as a scenario writes it, and what a lane on it is played on. Read by `scenario`; everything has a default, and what is wrong comes with its
//! field and a way to mend it.

use std::sync::Arc;

use serde::Deserialize;

use super::super::ground::{Ground, Spread, Startup};
use super::super::span::Span;
use super::weather::{Outage, Region, Sky};
use super::{LaneWorld, PRICES, Spell, Terms, described};
use crate::crd::CapacityPoolSpec;
use crate::crd::meaning::tariff;
use crate::crd::pool::PriceHours;
use crate::decide::{Class, Lane};

/// The shares of the time in which zones have room, how far they go down together, and how long what befalls all of them and each lasts in the mean, where
/// nobody says: one of the patterns of `make bench-capacity`, after public spot traces.
const ZONES: [f64; 3] = [0.9, 0.75, 0.6];
const CORRELATION: f64 = 0.25;
const CHANGES: Changes = Changes { all: Span::of(14_400.0), each: Span::of(7200.0) };
/// Nobody waits longer than this for a node, nor knows of its end before.
const LONGEST: f64 = 3600.0;

/// A pool, as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Written {
    /// How its nodes are had. Default: as a `CapacityPool` beside the pipeline says, or else Spot where a lane on it has `fallbackTo`, `OnDemand` where none has.
    class: Option<Class>,
    /// What a node costs an hour. Default 1, on spot 0.35.
    price: Option<f64>,
    /// Hours in which it costs more or less, as `price.hours` of a `CapacityPool`. Default: as that says.
    hours: Option<Vec<PriceHours>>,
    /// Pods that fit on a node. Default 4.
    pods_per_node: Option<u32>,
    /// From the request to a Ready node. Default 60 s, 95 of 100 within 3 min.
    boot: Option<Boot>,
    /// Most nodes there may be. Default: no limit.
    limit: Option<u32>,
    /// How long a node may be empty. Default 60 s.
    empty_after: Option<Span>,
    /// How often the pods of a node that fit on others are moved; 0 is never. Default 5 min.
    repack: Option<Span>,
    /// Share of the time in which each zone has room. Only on spot, as all below.
    zones: Option<Vec<f64>>,
    /// How much of what befalls one zone befalls all.
    correlation: Option<f64>,
    /// How long the weather lasts in the mean.
    changes: Option<Changes>,
    /// Nodes that one zone gives at most. Default: as many as all replicas need.
    zone_nodes: Option<u32>,
    /// Times in which nothing can be had.
    outages: Vec<WrittenOutage>,
    /// From the news that a node will go to its end. Default: as the `CapacityPool` says, or else 120 s.
    notice: Option<Span>,
    /// Within what time the nodes of a zone that is lost are told. Default 3 min.
    joint: Option<Span>,
    /// Is it said when there is no capacity? Default true.
    tells: Option<bool>,
    /// When a request that was refused is made again. Default 3 min.
    retry: Option<Span>,
}

/// How long a node takes to come.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Boot {
    p50: Span,
    p95: Span,
}

/// How long the weather lasts.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Changes {
    /// What befalls all zones.
    all: Span,
    /// What befalls each.
    each: Span,
}

impl Default for Changes {
    fn default() -> Self {
        CHANGES
    }
}

/// A time in which nothing can be had.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenOutage {
    at: Span,
    lasts: Span,
}

/// What is known of a lane when its pool is read.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulate) struct About<'a> {
    pub(in crate::simulate) lane: &'a Lane,
    /// What a `CapacityPool` beside the pipeline says.
    pub(in crate::simulate) spec: Option<&'a CapacityPoolSpec>,
    /// The ground of its stage, which says how long a pod takes to start.
    pub(in crate::simulate) ground: &'a Ground,
    /// Most replicas of its stage.
    pub(in crate::simulate) max: u32,
}

impl Written {
    /// What the lane is played on; else the field and the rule.
    pub(in crate::simulate) fn read(
        &self,
        about: About<'_>,
    ) -> Result<LaneWorld, (&'static str, String)> {
        let usual = Terms::default();
        let guessed = if about.lane.fallback_to.is_some() { Class::Spot } else { Class::OnDemand };
        let name = &about.lane.pool;
        let spoken = about.spec.map(|spec| spec.meant(name));
        let class =
            self.class.or_else(|| spoken.as_ref().map(|pool| pool.class)).unwrap_or(guessed);
        self.check(class)?;
        let notice = self.notice.map(Span::steps);
        let notice = notice.or_else(|| spoken.as_ref().map(|pool| seconds(pool.notice)));
        let notice = notice.unwrap_or(usual.notice);
        let mut pool = spoken.unwrap_or_else(|| described(class, notice).meant(name));
        (pool.class, pool.notice) = (class, std::time::Duration::from_secs(notice.into()));
        if let Some(hours) = &self.hours {
            let (tariff, wrong) = tariff(hours);
            if let Some((index, wrong)) = wrong {
                return Err(("hours", format!("[{index}].{wrong}; hint: {}", wrong.hint)));
            }
            pool.tariff = tariff;
        }
        let fit = self.pods_per_node.unwrap_or(usual.fit);
        let steps = |written: Option<Span>, usual: u32| written.map_or(usual, Span::steps);
        let terms = Terms {
            fit,
            boot: self.boot.map_or(usual.boot, |boot| Spell::of(boot.p50, boot.p95)),
            start: start(about.ground),
            notice,
            joint: self.joint.map_or(usual.joint, Span::seconds),
            retry: steps(self.retry, usual.retry),
            is_told: self.tells.unwrap_or(usual.is_told),
            empty_after: steps(self.empty_after, usual.empty_after),
            repack: steps(self.repack, usual.repack),
            ..usual
        };
        let price = match class {
            Class::OnDemand => PRICES[0],
            Class::Spot => PRICES[1],
            // What was paid for in advance costs the same whether it is used or not; check() wants a price.
            Class::Reserved => 0.0,
        };
        let changes = self.changes.unwrap_or(CHANGES);
        let region = Region {
            zones: self.zones.clone().unwrap_or_else(|| ZONES.to_vec()),
            correlation: self.correlation.unwrap_or(CORRELATION),
            region_lasts: changes.all.seconds(),
            zone_lasts: changes.each.seconds(),
        };
        let outages = self.outages.iter();
        let outages =
            outages.map(|it| Outage { at: it.at.steps(), lasts: it.lasts.steps() }).collect();
        let most = self.zone_nodes.unwrap_or_else(|| about.max.div_ceil(fit).max(1));
        Ok(LaneWorld {
            pool: Arc::new(pool),
            terms,
            price: self.price.unwrap_or(price),
            limit: self.limit,
            sky: Sky::Drawn { region, most, outages },
        })
    }

    fn check(&self, class: Class) -> Result<(), (&'static str, String)> {
        let share = |value: &f64| (0.0..=1.0).contains(value);
        let short = |span: Option<Span>| span.is_none_or(|span| span.seconds() <= LONGEST);
        let count =
            |count: Option<u32>, most| count.is_none_or(|count| (1..=most).contains(&count));
        let boot = self.boot.is_none_or(|Boot { p50, p95 }| {
            0.0 < p50.seconds() && p50 <= p95 && p95.seconds() <= LONGEST
        });
        let zones = self.zones.as_ref();
        let changes = self.changes.unwrap_or(CHANGES);
        let rules = [
            (
                self.price.is_none_or(|price| 0.0 < price && price <= 1e6),
                "price",
                "must be above 0 and at most 1e6: what a node costs an hour; hint: leave it out for 1, on spot 0.35",
            ),
            (
                class != Class::Reserved || self.price.is_some(),
                "price",
                "must be said of a reserved pool; hint: price: 0.6, what an hour of a node comes to",
            ),
            (
                self.hours.iter().flatten().all(|it| (1..=1000).contains(&it.percent)),
                "hours",
                "must have percent from 1 to 1000",
            ),
            (count(self.pods_per_node, 1000), "podsPerNode", "must be from 1 to 1000"),
            (boot, "boot", "must have 0s < p50 <= p95 <= 1h; hint: boot: {p50: 60s, p95: 3m}"),
            (count(self.limit, 100_000), "limit", "must be from 1 to 100000 nodes"),
            (short(self.empty_after), "emptyAfter", "must be at most 1h"),
            (short(self.repack), "repack", "must be at most 1h; 0s is never"),
            (
                zones
                    .is_none_or(|zones| (1..=26).contains(&zones.len()) && zones.iter().all(share)),
                "zones",
                "must be 1 to 26 shares from 0 to 1, each of the time in which a zone has room; hint: zones: [0.9, 0.75, 0.6]",
            ),
            (self.correlation.as_ref().is_none_or(share), "correlation", "must be from 0 to 1"),
            (
                60.0 <= changes.all.seconds() && 60.0 <= changes.each.seconds(),
                "changes",
                "must be at least 1m each; hint: changes: {all: 4h, each: 2h}",
            ),
            (count(self.zone_nodes, 100_000), "zoneNodes", "must be from 1 to 100000"),
            (
                self.outages.iter().all(|outage| 1.0 <= outage.lasts.seconds()),
                "outages",
                "must last for 1s or more; hint: outages: [{at: 12h, lasts: 30m}]",
            ),
            (short(self.notice), "notice", "must be at most 1h"),
            (short(self.joint), "joint", "must be at most 1h"),
            (
                short(self.retry) && self.retry.is_none_or(|retry| 1.0 <= retry.seconds()),
                "retry",
                "must be from 1s to 1h",
            ),
        ];
        if let Some((_, field, rule)) = rules.into_iter().find(|(is_kept, ..)| !is_kept) {
            return Err((field, rule.to_owned()));
        }
        let of_spot = [
            (self.zones.is_some(), "zones"),
            (self.correlation.is_some(), "correlation"),
            (self.changes.is_some(), "changes"),
            (self.zone_nodes.is_some(), "zoneNodes"),
            (!self.outages.is_empty(), "outages"),
            (self.notice.is_some(), "notice"),
            (self.joint.is_some(), "joint"),
            (self.tells.is_some(), "tells"),
            (self.retry.is_some(), "retry"),
        ];
        match of_spot.into_iter().find(|(is_written, _)| *is_written && class != Class::Spot) {
            Some((_, field)) => {
                Err((field, "is for pools of spot; hint: say class: Spot, or leave it out".into()))
            }
            None => Ok(()),
        }
    }
}

/// How long a pod takes once it has a node: what its stage says of a start.
fn start(ground: &Ground) -> Spell {
    match ground.startup {
        Startup::Fixed(span) => Spell::of(span, span),
        Startup::Spread(Spread { p50, p90 }) => Spell::of_deciles(p50, p90),
    }
}

fn seconds(duration: std::time::Duration) -> u32 {
    Span::of(duration.as_secs_f64()).steps()
}
