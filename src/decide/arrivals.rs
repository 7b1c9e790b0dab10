//! How fast items arrive, from a few instants of one queue's record. Called by `knowledge` through `age`; tells a burst from a level,
//! since a burst is backlog and would be counted twice.

/// What one poll brought is a burst when it is so much above the mean of the others.
const BURST: f64 = 1.5;
/// The mean is taken over this long, in milliseconds.
const MINUTE: f64 = 60_000.0;

/// How fast items arrive, in items a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Arrivals {
    /// Mean of the last minute (of two polls, if those are longer), but for one burst. What came before the record began counts as
    /// nothing.
    pub(super) minute: f64,
    /// Mean of the last 20 s.
    pub(super) recent: f64,
    /// The slower of the last two polls: a level that held for both, not one burst.
    pub(super) sudden: f64,
    /// Is the burst left out the latest poll? It may be the start of a new level: the next poll tells.
    pub(super) is_jump: bool,
    /// Does the record reach back far enough to lower a stage on it?
    pub(super) is_mature: bool,
}

/// A time in milliseconds, and how many items had come by then.
pub(super) type Point = (f64, f64);

impl Arrivals {
    /// From instants in order of time, and the time between two polls in milliseconds; `None` before there are two.
    pub(super) fn of(points: &[Point], poll: f64) -> Option<Self> {
        let (&first, &newest) = (points.first()?, points.last()?);
        let last = *points.get(points.len().checked_sub(2)?)?;
        let before = points.len().checked_sub(3).and_then(|at| points.get(at));
        let back = MINUTE.max(2.0 * poll);
        let (minute, is_jump) = without_burst(points, newest, back, poll);
        let start = newest.0 - (MINUTE / 3.0).max(2.0 * poll);
        Some(Self {
            minute,
            recent: speed((start, by(points, start)), newest),
            sudden: before.map_or(0.0, |&before| speed(before, last).min(speed(last, newest))),
            is_jump,
            is_mature: back <= newest.0 - first.0,
        })
    }

    /// Of two queues together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            minute: self.minute + other.minute,
            recent: self.recent + other.recent,
            sudden: self.sudden + other.sudden,
            is_jump: self.is_jump || other.is_jump,
            is_mature: self.is_mature && other.is_mature,
        }
    }
}

/// Mean over the time `back` from the newest instant, without the one poll that brought most if that was a burst. Says whether it
/// was the latest poll.
fn without_burst(points: &[Point], newest: Point, back: f64, poll: f64) -> (f64, bool) {
    let start = newest.0 - back;
    let total = newest.1 - by(points, start);
    let polls = points.iter().zip(points.iter().skip(1)).filter(|(from, to)| {
        start <= from.0 && from.0 < to.0 && to.0 - from.0 <= 1.5 * poll + 1000.0
    });
    let steepest = polls.max_by(|a, b| speed(*a.0, *a.1).total_cmp(&speed(*b.0, *b.1)));
    let mean = total / back * 1000.0;
    let Some((from, to)) = steepest else { return (mean, false) };
    let (came, took) = (to.1 - from.1, to.0 - from.0);
    let rest = (total - came).max(0.0) / (back - took).max(1.0) * 1000.0;
    if is_above(speed(*from, *to), rest, BURST, took / 1000.0) {
        (rest, newest.0 <= to.0)
    } else {
        (mean, false)
    }
}

/// Items that had arrived at a time, on the line between the instants around it.
fn by(points: &[Point], time: f64) -> f64 {
    let mut before = points.first().copied().unwrap_or_default();
    for &here in points {
        if time <= here.0 {
            let wide = here.0 - before.0;
            let share = if 0.0 < wide { ((time - before.0) / wide).clamp(0.0, 1.0) } else { 1.0 };
            return before.1 + share * (here.1 - before.1);
        }
        before = here;
    }
    before.1
}

/// Items a second between two points.
fn speed(from: Point, to: Point) -> f64 {
    if from.0 < to.0 { (to.1 - from.1) / (to.0 - from.0) * 1000.0 } else { 0.0 }
}

/// Is a level of arrivals, kept up for some seconds, above a mean by a factor and by more than chance?
pub(super) fn is_above(level: f64, mean: f64, factor: f64, seconds: f64) -> bool {
    factor * mean < level && chance(mean, seconds) < (level - mean) * seconds
}

/// Is a level, seen for so many seconds, that share of the mean at most, and less by more than chance makes of it?
pub(super) fn is_below(level: f64, mean: f64, share: f64, seconds: f64) -> bool {
    level < share * mean && chance(mean, seconds) < (mean - level) * seconds
}

/// Items by which so many seconds may differ from the mean by chance.
fn chance(mean: f64, seconds: f64) -> f64 {
    4.0 * (mean * seconds + 1.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instants every 2 s, from what each brought.
    fn points(brought: &[f64]) -> Vec<Point> {
        let mut points = vec![(0.0, 0.0)];
        for items in brought {
            let (time, sum) = points[points.len() - 1];
            points.push((time + 2000.0, sum + items));
        }
        points
    }

    fn assert_near(a: f64, b: f64) {
        assert!((a - b).abs() < 0.01 * b.max(1.0), "{a} is not {b}");
    }

    #[test]
    fn a_burst_is_no_level() {
        let mut brought = vec![20.0; 40];
        brought[20] = 5000.0;
        let arrivals = Arrivals::of(&points(&brought), 2000.0).unwrap();
        assert_near(arrivals.minute, 10.0);
        assert!(arrivals.is_mature && !arrivals.is_jump);
    }

    #[test]
    fn the_latest_poll_may_be_burst_or_level_and_the_next_one_tells() {
        let mut brought = vec![20.0; 40];
        brought.push(1000.0);
        let first = Arrivals::of(&points(&brought), 2000.0).unwrap();
        assert!(first.is_jump);
        assert_near(first.minute, 10.0);
        brought.push(1000.0);
        let second = Arrivals::of(&points(&brought), 2000.0).unwrap();
        assert_near(second.sudden, 500.0);
    }

    #[test]
    fn chance_is_no_level() {
        assert!(!is_above(3.0, 1.0, 1.1, 4.0));
        assert!(is_above(300.0, 100.0, 1.1, 4.0));
    }
}
