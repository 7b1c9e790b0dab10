//! The shape of a load: items a second as a pure function of time and seed. Followed by the producer, told by the narrator.

use std::time::Duration;

/// Items a second over time: straight lines between points, the last point holding for ever, and words for what happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    points: Vec<Point>,
    scenes: Vec<Scene>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    /// Seconds since the start.
    at: f64,
    /// Items a second from here, on the way to the next point's.
    rate: f64,
    /// Items made until here.
    made: f64,
}

#[derive(Debug, Clone, PartialEq)]
struct Scene {
    from: f64,
    words: String,
}

/// How long one telling of the story lasts at its natural pace; a longer demo tells it again, with other numbers.
const TELLING: Duration = Duration::from_mins(3);
/// Items a second at the top of each act, before the seed's say.
const FIRST: f64 = 180.0;
const NOON: f64 = 350.0;
const SPIKE: f64 = 700.0;
const EVENING: f64 = 200.0;
/// How far the load strays from its line, both ways, and how often it changes its mind, in seconds.
const RAGGED: f64 = 0.06;
const RAGGED_EVERY: f64 = 2.0;

impl Load {
    /// The same rate for ever, in items a second.
    pub fn steady(rate: f64) -> Self {
        Self::path([(Duration::ZERO, rate)])
    }

    /// Straight lines between these points (time since the start, items a second), in order of time. Before the first point it is
    /// zero; two points at one time make a jump.
    pub fn path(points: impl IntoIterator<Item = (Duration, f64)>) -> Self {
        let mut load = Self { points: Vec::new(), scenes: Vec::new() };
        for (at, rate) in points {
            load.push(at.as_secs_f64(), rate);
        }
        load
    }

    /// The demo's load: it rises, spikes and stops. Told once in three minutes; a longer run has more such days.
    pub fn story(length: Duration, seed: u64) -> Self {
        let days = (length.as_secs_f64() / TELLING.as_secs_f64()).round().max(1.0);
        let day = length.as_secs_f64() / days;
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut load = Self { points: Vec::new(), scenes: Vec::new() };
        let mut from = 0.0;
        while from + day / 2.0 < length.as_secs_f64() {
            load.tell(from, day, &mut chance);
            from += day;
        }
        load
    }

    /// Items a second at a time.
    pub fn rate(&self, at: Duration) -> f64 {
        let at = at.as_secs_f64();
        let next = self.points.partition_point(|point| point.at <= at);
        let Some(before) = next.checked_sub(1).map(|index| self.points[index]) else { return 0.0 };
        match self.points.get(next) {
            Some(after) => {
                before.rate + (after.rate - before.rate) * (at - before.at) / (after.at - before.at)
            }
            None => before.rate,
        }
    }

    /// Items made from the start to a time: the area under [`rate`](Self::rate).
    pub fn made_by(&self, at: Duration) -> f64 {
        let seconds = at.as_secs_f64();
        let next = self.points.partition_point(|point| point.at <= seconds);
        next.checked_sub(1).map(|index| self.points[index]).map_or(0.0, |before| {
            before.made + f64::midpoint(before.rate, self.rate(at)) * (seconds - before.at)
        })
    }

    /// The highest rate it ever has, items a second.
    pub fn peak(&self) -> f64 {
        self.points.iter().map(|point| point.rate).fold(0.0, f64::max)
    }

    /// What happens at a time, in words; empty where the load has no words.
    pub fn scene(&self, at: Duration) -> &str {
        let at = at.as_secs_f64();
        self.scenes.iter().rev().find(|scene| scene.from <= at).map_or("", |scene| &scene.words)
    }

    fn push(&mut self, at: f64, rate: f64) {
        let rate = rate.max(0.0);
        let made = self
            .points
            .last()
            .map_or(0.0, |last| last.made + f64::midpoint(last.rate, rate) * (at - last.at));
        self.points.push(Point { at, rate, made });
    }

    /// One day from `start` on: nothing, the first items, a rise, a spike, an evening, and nothing again.
    fn tell(&mut self, start: f64, day: f64, chance: &mut fastrand::Rng) {
        let mut about = |value: f64, by: f64| value * (1.0 + by * (2.0 * chance.f64() - 1.0));
        let [first, noon, spike, evening] =
            [FIRST, NOON, SPIKE, EVENING].map(|rate| about(rate, 0.1).round());
        let wake = start + 2.0;
        let [rise, top, burst, calm, stop] =
            [0.20, 0.33, 0.45, 0.55, 0.78].map(|share| start + day * about(share, 0.04));
        let jump = (day * 0.01).min(2.0);
        self.say(start, "Nobody sends anything, and nothing runs: zero replicas.");
        self.say(wake, format!("The first items arrive: {first:.0} a second. Nobody told Penstock what one replica can do."));
        self.say(rise, format!("Morning: the load rises to {noon:.0} items a second."));
        self.say(top, format!("Noon: {noon:.0} items a second."));
        self.say(burst, format!("Spike: {spike:.0} items a second, out of nowhere."));
        self.say(calm, format!("The spike is over: {evening:.0} items a second."));
        self.say(
            stop,
            "The producer has stopped: what is left is worked off, then all replicas may go.",
        );
        let corners = [
            (start, 0.0),
            (wake, 0.0),
            (wake, first),
            (rise, first),
            (top, noon),
            (burst, noon),
            (burst + jump, spike),
            (calm, spike),
            (calm + jump, evening),
            (stop, evening * 0.8),
            (stop, 0.0),
        ];
        for pair in corners.windows(2) {
            self.walk(pair[0], pair[1], chance);
        }
        self.push(stop, 0.0);
    }

    /// From one corner to (not including) the next, straying a little on the way.
    fn walk(
        &mut self,
        (from, here): (f64, f64),
        (to, there): (f64, f64),
        chance: &mut fastrand::Rng,
    ) {
        let mut at = from;
        while at < to {
            let line = here + (there - here) * (at - from) / (to - from);
            self.push(at, line * (1.0 + RAGGED * (2.0 * chance.f64() - 1.0)));
            at += RAGGED_EVERY;
        }
        if from < to {
            self.push(to, there);
        }
    }

    fn say(&mut self, from: f64, words: impl Into<String>) {
        self.scenes.push(Scene { from, words: words.into() });
    }
}
