//! How old items were when they were read: volumes by age, to the second. Filled by `queue` while it is read, summed up by `score`.

use super::promise::Dues;

/// Volumes by age in seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Ages {
    volumes: Vec<f64>,
}

impl Ages {
    /// Ages above this count as this: a month.
    const OLDEST: u32 = 2_678_400;

    pub(super) fn add(&mut self, items: f64, age: u32) {
        let at = age.min(Self::OLDEST) as usize;
        if self.volumes.len() <= at {
            self.volumes.resize(at + 1, 0.0);
        }
        self.volumes[at] += items;
    }

    /// Items that were so old.
    #[cfg(test)]
    pub(super) fn at(&self, age: usize) -> f64 {
        self.volumes.get(age).copied().unwrap_or(0.0)
    }

    pub(super) fn total(&self) -> f64 {
        self.volumes.iter().fold(0.0, |sum, items| sum + items)
    }

    /// Items older than this.
    pub(super) fn above(&self, limit: f64) -> f64 {
        self.by_age()
            .filter(|(age, _)| limit < *age)
            .map(|(_, items)| items)
            .fold(0.0, std::ops::Add::add)
    }

    /// The age that this share of the items does not exceed, in seconds.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let wanted = share * self.total();
        let mut sum = 0.0;
        for (age, items) in self.by_age() {
            sum += items;
            if wanted <= sum && 0.0 < sum {
                return age;
            }
        }
        self.oldest()
    }

    /// The age of the oldest.
    pub(super) fn oldest(&self) -> f64 {
        self.by_age().filter(|(_, items)| 1e-6 < *items).map(|(age, _)| age).last().unwrap_or(0.0)
    }

    fn by_age(&self) -> impl Iterator<Item = (f64, f64)> {
        (0_u32..).map(f64::from).zip(self.volumes.iter().copied())
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (age, items) in (0_u32..).zip(&other.volumes) {
            if 0.0 < *items {
                self.add(*items, age);
            }
        }
    }
}

/// What a stage reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// By the time since items arrived at the stage.
    pub(super) ages: Ages,
    /// By the time since they were born at a first stage; only kept for the last stages of a pipeline with more than one.
    pub(super) whole: Option<Ages>,
    /// By the times until which they were to be done, where there are such.
    pub(super) dues: Option<Dues>,
    /// Items read in the present second, and the sum of their seconds of birth.
    pub(super) out: f64,
    pub(super) out_births: f64,
}

impl Tally {
    pub(super) fn new(is_last_of_many: bool, dues: Option<Dues>) -> Self {
        Self { whole: is_last_of_many.then(Ages::default), dues, ..Self::default() }
    }

    /// Items are read in the second `now`.
    pub(super) fn read(&mut self, items: f64, age: u32, birth: f64, now: u32) {
        self.ages.add(items, age);
        if let Some(whole) = &mut self.whole {
            whole.add(items, seconds(f64::from(now) - birth));
        }
        self.owed(items, now - age, now);
        self.out += items;
        self.out_births += items * birth;
    }

    /// Items that nobody read, and that are late already.
    pub(super) fn unread(&mut self, items: f64, age: u32) {
        self.ages.add(items, age);
    }

    /// The same, of the whole way.
    pub(super) fn unread_of_all(&mut self, items: f64, age: f64) {
        if let Some(whole) = &mut self.whole {
            whole.add(items, seconds(age));
        }
    }

    /// Items of a second are done in the second `now`, or not even then.
    pub(super) fn owed(&mut self, items: f64, arrived: u32, now: u32) {
        if let Some(dues) = &mut self.dues {
            dues.done(items, arrived, now);
        }
    }

    /// Is something that arrived then overdue?
    pub(super) fn is_overdue(&mut self, arrived: u32, now: u32) -> bool {
        self.dues.as_mut().is_some_and(|dues| dues.is_overdue(arrived, now))
    }

    /// Begins again: the warm-up is over.
    pub(super) fn reset(&mut self) {
        let mut dues = self.dues.take();
        if let Some(dues) = &mut dues {
            dues.reset();
        }
        *self = Self::new(self.whole.is_some(), dues);
    }

    /// What was read in the present second, and when it was born in the mean; the next second begins.
    pub(super) fn depart(&mut self, now: u32) -> (f64, f64) {
        let out = std::mem::take(&mut self.out);
        let births = std::mem::take(&mut self.out_births);
        (out, if 0.0 < out { births / out } else { f64::from(now) })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an age, clamped")]
fn seconds(age: f64) -> u32 {
    age.round().clamp(0.0, f64::from(Ages::OLDEST)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_by_volume() {
        let mut ages = Ages::default();
        ages.add(98.0, 0);
        ages.add(1.5, 61);
        ages.add(0.5, 600);
        let quantiles = [0.5, 0.98, 0.99, 0.999].map(|share| ages.quantile(share));
        assert_eq!(format!("{quantiles:?}"), "[0.0, 0.0, 61.0, 600.0]");
        assert!((ages.above(60.0) - 2.0).abs() < 1e-9);
        assert!((ages.above(61.0) - 0.5).abs() < 1e-9);
        assert!((ages.oldest() - 600.0).abs() < 1e-9);
    }
}
