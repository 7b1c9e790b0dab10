//! What is true of nodes: how many pods fit on one, how long it takes to come, what it costs, how it is taken away. Read by everything in
//! `nodes`; printed above every table that is made with it.

use std::fmt;

use super::super::span::Span;
use super::super::whole;
use super::PRICES;
use super::weather::quantile;

/// How the nodes of a pool are had. The number of each is its place in all pairs here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whenever they are asked for, and for as long as wanted.
    OnDemand,
    /// While a zone has room, and taken away.
    Spot,
}

/// A time that is spread lognormally.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spell {
    /// Half of the draws are no longer, in seconds.
    pub p50: f64,
    /// 95 of 100 are no longer.
    pub p95: f64,
}

impl Spell {
    /// The standard normal's 95th percentile.
    const P95: f64 = 1.644_853_626_951_5;
    /// And its ninth decile.
    const P90: f64 = 1.281_551_565_544_6;
    /// Nothing takes longer than this.
    const LONGEST: f64 = 3600.0;

    /// Half within the one time, 95 of 100 within the other; a second at least.
    pub(super) fn of(p50: Span, p95: Span) -> Self {
        let p50 = p50.seconds().max(1.0);
        Self { p50, p95: p95.seconds().max(p50) }
    }

    /// Half within the one time, nine of ten within the other.
    pub(super) fn of_deciles(p50: Span, p90: Span) -> Self {
        let wide = (p90.seconds() / p50.seconds()).powf(Self::P95 / Self::P90);
        Self::of(p50, Span::of(p50.seconds() * wide))
    }

    /// The shortest there is: four deviations below the median, which one draw in thirty thousand is.
    pub fn least(self) -> f64 {
        let width = (self.p95 / self.p50).ln() / Self::P95;
        self.p50 * (-4.0 * width).exp()
    }

    /// Of so many draws, the slowest is no longer than this in 95 of 100 cases.
    pub fn slowest(self, draws: u32) -> f64 {
        let width = (self.p95 / self.p50).ln() / Self::P95;
        self.p50 * (width * quantile(0.95_f64.powf(1.0 / f64::from(draws.max(1))))).exp()
    }

    /// The whole seconds that a standard normal draw stands for.
    pub(super) fn draw(self, normal: f64) -> u32 {
        let width = (self.p95 / self.p50).ln() / Self::P95;
        Span::of((self.p50 * (width * normal).exp()).min(Self::LONGEST)).steps()
    }
}

/// What is true of the nodes of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Pods that fit on a node.
    pub fit: u32,
    /// From the request to a Ready node.
    pub boot: Spell,
    /// From a place on a Ready node to a Ready pod.
    pub start: Spell,
    /// Seconds from the news that a node will go to its end. Its pods stay until then.
    pub notice: u32,
    /// Seconds within which the nodes of a zone are told that was lost.
    pub joint: f64,
    /// Seconds until a request that cannot be met is refused.
    pub answer: u32,
    /// Seconds until it is made again.
    pub retry: u32,
    /// Is it told that there is no capacity, or do pods only wait?
    pub is_told: bool,
    /// Seconds for which a node may be empty.
    pub empty_after: u32,
    /// Seconds from one time that nodes are repacked to the next, 0 for never: the pods of a node whose pods fit on others are moved, and it goes.
    pub repack: u32,
    /// Spare nodes that are kept in the spot pool while it gives any: headroom, made by whoever makes nodes.
    pub spare: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            fit: 4,
            boot: Spell { p50: 60.0, p95: 180.0 },
            start: Spell { p50: 15.0, p95: 30.0 },
            notice: 120,
            joint: 180.0,
            answer: 3,
            retry: 180,
            is_told: true,
            empty_after: 60,
            repack: 300,
            spare: 0,
        }
    }
}

impl Terms {
    /// For how long at most nodes stay once their zone gives fewer, in seconds.
    pub fn grace(&self) -> u32 {
        whole(self.joint.ceil()).saturating_add(self.notice)
    }

    /// What is true of the nodes of one pool, in words.
    pub(super) fn words(&self, kind: Kind) -> String {
        let words = format!(
            "{} pods fit on a node; a node comes in {} (p50) to {} (p95), a pod on it in {} to {}; an empty one goes after {}",
            self.fit,
            length(self.boot.p50),
            length(self.boot.p95),
            length(self.start.p50),
            length(self.start.p95),
            length(f64::from(self.empty_after)),
        );
        let repack = (0 < self.repack).then(|| {
            let every = length(f64::from(self.repack));
            format!(", and every {every} one whose pods fit on others")
        });
        let ends = (kind == Kind::Spot).then(|| {
            format!(
                "; one that is taken away is told {} before, those of a zone within {}; no capacity is {}, and asked for again after {}",
                length(f64::from(self.notice)),
                length(self.joint),
                if self.is_told { "said" } else { "not said" },
                length(f64::from(self.retry)),
            )
        });
        [Some(words), repack, ends].into_iter().flatten().collect()
    }
}

fn length(seconds: f64) -> Span {
    Span::of(seconds.round())
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pods fit on a node; a node comes in {} s (p50) to {} s (p95), a pod on it in {} to {} s; spot costs {} of on demand; \
             a zone that is lost tells its nodes within {} s, each {} s before its end, and pods stay until then; no capacity is said {} s \
             after the request, which is made again after {} s; empty nodes go after {} s, and every {} s one whose pods fit on others; spot is spread over the zones with room",
            self.fit,
            self.boot.p50,
            self.boot.p95,
            self.start.p50,
            self.start.p95,
            PRICES[1] / PRICES[0],
            self.joint,
            self.notice,
            self.answer,
            self.retry,
            self.empty_after,
            self.repack,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_have_the_quantiles_they_were_given() {
        let boot = Terms::default().boot;
        assert_eq!([0.0, Spell::P95].map(|normal| boot.draw(normal)), [60, 180]);
        assert!((boot.slowest(1) - 180.0).abs() < 0.5, "{}", boot.slowest(1));
        let start = Spell::of_deciles(Span::of(30.0), Span::of(60.0));
        assert_eq!([0.0, Spell::P90].map(|normal| start.draw(normal)), [30, 60]);
        assert_eq!(Spell::of(Span::of(0.0), Span::of(0.0)).draw(2.0), 1);
        assert!(boot.slowest(1) < boot.slowest(4) && boot.least() < 10.0);
    }
}
