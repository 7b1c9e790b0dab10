//! Chance that is the same each time: streams of random numbers from a seed and a tag, so that what befalls one part of the world
//! does not depend on how often another part draws. Used all over `simulate`; nothing here knows what is drawn for.

use std::f64::consts::TAU;

use super::span::Span;

/// What a stream of chance is for. Each has its own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Shape,
    Texture,
    Skew,
    Drift,
    Startup,
    Speed,
    Noise,
    Commits,
    Lost,
    Outages,
    Crashes,
    Interruptions,
    Weather,
    Boots,
    Starts,
}

/// A stream of random numbers.
#[derive(Debug)]
pub(super) struct Chance(fastrand::Rng);

impl Chance {
    /// The stream of a seed for a purpose; `which` tells stages apart.
    pub(super) fn new(seed: u64, tag: Tag, which: u64) -> Self {
        Self(fastrand::Rng::with_seed(key(seed, tag, which)))
    }

    /// Between 0 and 1.
    pub(super) fn unit(&mut self) -> f64 {
        self.0.f64()
    }

    /// Between two numbers.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Mean 0, variance 1 (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }

    /// A time to wait, with this mean.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// A count with this mean: Knuth's product for small means, the normal approximation above 30, where it is within a percent.
    pub(super) fn poisson(&mut self, mean: f64) -> f64 {
        if mean <= 0.0 {
            return 0.0;
        }
        if 30.0 < mean {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let limit = (-mean).exp();
        let mut count = 0.0;
        let mut product = self.unit();
        while limit < product {
            count += 1.0;
            product *= self.unit();
        }
        count
    }

    /// Seconds at which something begins that happens every so often in the mean, 0 for never, and lasts for so long.
    pub(super) fn moments(&mut self, every: f64, lasts: f64, until: u32) -> Vec<u32> {
        let mut moments = Vec::new();
        let mut at = if 0.0 < every { 0.0 } else { f64::INFINITY };
        loop {
            at += self.exponential(every).max(1.0);
            if at.is_nan() || f64::from(until) <= at {
                return moments;
            }
            moments.push(Span::of(at).steps());
            at += lasts;
        }
    }

    /// Puts the numbers in another order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        self.0.shuffle(items);
    }
}

/// One number between 0 and 1 for a seed, a purpose and a pair of names: the same whenever it is asked for.
pub(super) fn lot(seed: u64, tag: Tag, which: u64, when: u64) -> f64 {
    unit(mix(key(seed, tag, which) ^ when.wrapping_mul(GOLDEN)))
}

/// The same, spread about 0 with variance 1: the sum of four parts, within 3.5 of 0, which is all the noise a rate needs.
pub(super) fn scatter(seed: u64, tag: Tag, which: u64, when: u64) -> f64 {
    let bits = mix(key(seed, tag, which) ^ when.wrapping_mul(GOLDEN));
    let sum = (0..4).fold(0, |sum, part| sum + ((bits >> (16 * part)) & 0xFFFF));
    (unit(sum << 46) * 4.0 - 2.0) * 3.0_f64.sqrt()
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn key(seed: u64, tag: Tag, which: u64) -> u64 {
    let tag = (tag as u64 + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mix(mix(seed.wrapping_add(GOLDEN)) ^ tag ^ which.wrapping_mul(0xA24B_AED4_963E_E407))
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014): every bit of the answer hangs on every bit of the question.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[expect(clippy::cast_precision_loss, reason = "the upper 53 bits fit a double exactly")]
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(draw: impl Fn(u64) -> f64) -> (f64, f64) {
        let draws: Vec<f64> = (0..20_000).map(draw).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        (mean, draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0)
    }

    fn assert_near(what: (f64, f64), mean: f64, variance: f64) {
        let off = (what.0 - mean).abs().max((what.1 - variance).abs());
        assert!(off < 0.05 * variance.max(1.0), "{what:?}");
    }

    #[test]
    fn draws_have_the_mean_and_the_variance_they_say() {
        for mean in [0.3, 7.0, 400.0] {
            let draw = |seed| Chance::new(seed, Tag::Texture, 0).poisson(mean);
            assert_near(moments(draw), mean, mean);
        }
        assert_near(moments(|seed| Chance::new(seed, Tag::Shape, 1).normal()), 0.0, 1.0);
        assert_near(moments(|when| scatter(3, Tag::Noise, 5, when)), 0.0, 1.0);
        assert_near(moments(|when| lot(3, Tag::Lost, 5, when)), 0.5, 1.0 / 12.0);
        let wait = |seed| Chance::new(seed, Tag::Outages, 2).exponential(2.0);
        assert_near(moments(wait), 2.0, 4.0);
    }

    #[test]
    fn streams_do_not_follow_each_other() {
        let of = |seed, tag, which| Chance::new(seed, tag, which).unit();
        let one = of(1, Tag::Skew, 0);
        for other in [of(2, Tag::Skew, 0), of(1, Tag::Drift, 0), of(1, Tag::Skew, 1)] {
            assert!((one - other).abs() > 1e-9);
        }
        assert!((one - of(1, Tag::Skew, 0)).abs() < 1e-15);
    }
}
