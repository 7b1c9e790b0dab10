//! How a stage fared over time: delay, arrivals and replicas of the last ten minutes in steps of ten seconds and of the last day in
//! steps of a quarter of an hour. Equal neighbours share five bytes, so what does not move costs nothing. Filled and read by the timelines.

use jiff::Timestamp;

use crate::decide::Signals;

/// Steps, in seconds, and how many are kept.
const NEAR: (i64, usize) = (10, 60);
const FAR: (i64, usize) = (900, 96);
/// A pipeline that nothing wakes is looked at this seldom at least; what lies between two looks is as the first saw it.
const LOOKED: i64 = 120;
/// A byte stands for a number on a logarithmic scale: 0 is unknown, 1 is nothing, 2 is the least that is told apart from it.
const LEAST: f64 = 0.05;
const STEP: f64 = 1.075;

/// How a stage fared, as far as is kept. Numbers are within 4 % of what was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Trail {
    /// The last ten minutes, in steps of ten seconds.
    pub near: Course,
    /// The last day, in steps of a quarter of an hour.
    pub far: Course,
}

/// Some numbers over time, at equal steps; `None` where nothing was known. All three are of one length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course {
    /// Seconds from one to the next.
    pub step: i64,
    /// When the first step began.
    pub start: Timestamp,
    /// The longest delay of each step, in seconds.
    pub delay: Vec<Option<f64>>,
    /// The highest rate of arrivals of each step, in items a second.
    pub arrivals: Vec<Option<f64>>,
    /// The most replicas of each step.
    pub replicas: Vec<Option<u32>>,
}

/// What is kept of one stage.
#[derive(Debug, Default)]
pub(super) struct Trails {
    near: Ring,
    far: Ring,
}

/// Steps up to the one that begins at `last`, equal neighbours together.
#[derive(Debug, Default)]
struct Ring {
    /// Number of the newest step since the epoch.
    last: u32,
    runs: Vec<Run>,
}

/// So many steps in a row that look like this: count, delay, arrivals, replicas (two bytes).
type Run = [u8; 5];

impl Trails {
    /// Takes in a turn.
    pub(super) fn take(&mut self, signals: &Signals, replicas: Option<u32>, at: Timestamp) {
        let replicas = replicas.and_then(|count| u16::try_from(count).ok()?.checked_add(1));
        let [low, high] = replicas.unwrap_or(0).to_le_bytes();
        let sample = [1, byte(signals.delay), byte(signals.arrival_rate), low, high];
        self.near.take(sample, at, NEAR);
        self.far.take(sample, at, FAR);
    }

    /// As numbers, up to the step of `now`.
    pub(super) fn show(&self, now: Timestamp) -> Trail {
        Trail { near: self.near.show(now, NEAR), far: self.far.show(now, FAR) }
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        (self.near.runs.capacity() + self.far.runs.capacity()) * size_of::<Run>()
    }

    /// What it can fill at most.
    pub(super) const LIMIT: usize = (NEAR.1 + FAR.1) * size_of::<Run>();
}

impl Ring {
    fn take(&mut self, sample: Run, at: Timestamp, (step, kept): (i64, usize)) {
        let now = number(at, step);
        let Some(&newest) = self.runs.last().filter(|_| now >= self.last) else {
            if self.runs.is_empty() {
                (self.last, self.runs) = (now, vec![sample]);
            }
            return;
        };
        let gone = now - self.last;
        if gone == 0 {
            let worst = highest(newest, sample);
            self.drop_newest();
            self.add(worst, 1, kept);
            return;
        }
        let steps = u32::try_from(kept).unwrap_or(u32::MAX);
        let between = (gone - 1).min(steps);
        let was_seen = i64::from(gone) * step <= LOOKED.max(2 * step);
        let filler = if was_seen { newest } else { [1, 0, 0, 0, 0] };
        self.add(filler, between, kept);
        self.add(sample, 1, kept);
        self.last = now;
    }

    /// Adds so many steps like this one.
    fn add(&mut self, sample: Run, times: u32, kept: usize) {
        for _ in 0..times {
            match self.runs.last_mut() {
                Some(run) if run[1..] == sample[1..] && run[0] < u8::MAX => run[0] += 1,
                _ => {
                    self.runs.reserve_exact(1);
                    self.runs.push([1, sample[1], sample[2], sample[3], sample[4]]);
                }
            }
            self.forget(kept);
        }
    }

    fn drop_newest(&mut self) {
        if let Some(run) = self.runs.last_mut() {
            run[0] -= 1;
            if run[0] == 0 {
                self.runs.pop();
            }
        }
    }

    /// Drops the oldest steps beyond those that are kept.
    fn forget(&mut self, kept: usize) {
        let mut all: usize = self.runs.iter().map(|run| usize::from(run[0])).sum();
        while kept < all
            && let Some(first) = self.runs.first_mut()
        {
            first[0] -= 1;
            all -= 1;
            if first[0] == 0 {
                self.runs.remove(0);
            }
        }
        self.runs.shrink_to(kept);
    }

    fn show(&self, now: Timestamp, (step, kept): (i64, usize)) -> Course {
        let now = number(now, step).max(self.last);
        let mut course = Course { step, ..Course::default() };
        if self.runs.is_empty() {
            return course;
        }
        for &[count, delay, arrivals, low, high] in &self.runs {
            for _ in 0..count {
                course.delay.push(figure(delay));
                course.arrivals.push(figure(arrivals));
                course.replicas.push(u32::from(u16::from_le_bytes([low, high])).checked_sub(1));
            }
        }
        // What has not been looked at since is as it was, for a while.
        let gone = usize::try_from(now - self.last).unwrap_or(0).min(kept);
        let was_seen = i64::from(now - self.last) * step <= LOOKED.max(step);
        for values in [&mut course.delay, &mut course.arrivals] {
            let last = values.last().copied().flatten().filter(|_| was_seen);
            values.extend(std::iter::repeat_n(last, gone));
            values.drain(..values.len().saturating_sub(kept));
        }
        let last = course.replicas.last().copied().flatten().filter(|_| was_seen);
        course.replicas.extend(std::iter::repeat_n(last, gone));
        course.replicas.drain(..course.replicas.len().saturating_sub(kept));
        let length = u32::try_from(course.delay.len()).unwrap_or(0);
        let first = i64::from((now + 1).saturating_sub(length)) * step;
        course.start = Timestamp::from_second(first).unwrap_or_default();
        course
    }
}

fn number(at: Timestamp, step: i64) -> u32 {
    u32::try_from(at.as_second() / step).unwrap_or(0)
}

/// The worse of two looks at one step.
fn highest(a: Run, b: Run) -> Run {
    let replicas = |run: Run| u16::from_le_bytes([run[3], run[4]]);
    let [low, high] = replicas(a).max(replicas(b)).to_le_bytes();
    [1, a[1].max(b[1]), a[2].max(b[2]), low, high]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
fn byte(value: Option<f64>) -> u8 {
    match value {
        Some(value) if value.is_finite() && value < LEAST => 1,
        Some(value) if value.is_finite() => {
            (2.0 + ((value / LEAST).ln() / STEP.ln()).round()).clamp(2.0, 255.0) as u8
        }
        Some(_) | None => 0,
    }
}

fn figure(byte: u8) -> Option<f64> {
    match byte {
        0 => None,
        1 => Some(0.0),
        _ => Some(LEAST * STEP.powi(i32::from(byte) - 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals(delay: f64) -> Signals {
        Signals { delay: Some(delay), arrival_rate: Some(10.0 * delay), ..Signals::default() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_number_comes_back_within_four_per_cent() {
        for value in [0.0, 0.06, 1.0, 59.0, 60.0, 3600.0, 86_400.0, 2_000_000.0] {
            let back = figure(byte(Some(value))).unwrap();
            assert!((back - value).abs() <= 0.04 * value, "{value} came back as {back}");
        }
        assert_eq!(figure(byte(None)), None);
    }

    #[test]
    fn each_step_keeps_its_worst() {
        let mut trails = Trails::default();
        trails.take(&signals(5.0), Some(4), at(0));
        trails.take(&signals(50.0), Some(3), at(4));
        trails.take(&signals(7.0), Some(4), at(8));
        trails.take(&signals(1.0), None, at(10));
        let near = trails.show(at(10)).near;
        assert_eq!((near.start, near.step), (at(0), 10));
        assert_eq!(near.replicas, [Some(4), None]);
        assert!((near.delay[0].unwrap() - 50.0).abs() < 2.0, "{near:?}");
    }

    #[test]
    fn what_does_not_move_costs_nothing_and_what_does_stays_within_bounds() {
        let mut trails = Trails::default();
        for second in 0..4000 {
            trails.take(&signals(5.0), Some(4), at(second));
        }
        assert!(trails.weight() <= 6 * size_of::<Run>(), "{} bytes", trails.weight());
        for second in (4000..400_000).step_by(3) {
            let wild = f64::from(u8::try_from((second * 7919) % 251).unwrap());
            trails.take(&signals(wild), Some(u32::try_from(second % 90).unwrap()), at(second));
            assert!(trails.weight() <= Trails::LIMIT, "{} bytes", trails.weight());
        }
        let shown = trails.show(at(400_000));
        assert_eq!((shown.near.delay.len(), shown.far.delay.len()), (60, 96));
    }

    #[test]
    fn a_gap_is_unknown_and_a_short_one_is_as_it_was() {
        let mut trails = Trails::default();
        trails.take(&signals(5.0), Some(4), at(0));
        trails.take(&signals(5.0), Some(6), at(60));
        trails.take(&signals(5.0), Some(7), at(360));
        let near = trails.show(at(360)).near;
        let counts = |from: usize, to: usize| near.replicas[from..to].to_vec();
        assert_eq!(counts(0, 6), [Some(4); 6]);
        assert_eq!(near.replicas[6], Some(6));
        assert_eq!(counts(7, 36), [None; 29]);
        assert_eq!(near.replicas[36], Some(7));
    }

    #[test]
    fn it_ends_with_now_though_nobody_looked() {
        let mut trails = Trails::default();
        trails.take(&signals(5.0), Some(4), at(0));
        let near = trails.show(at(50)).near;
        assert_eq!(near.replicas, [Some(4); 6]);
        let near = trails.show(at(3600)).near;
        assert_eq!(near.replicas, [None; 60]);
        assert_eq!(near.start, at(3600 - 59 * 10));
    }
}
