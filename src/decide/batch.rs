//! Stages that need not be early, only done: the queue is to be empty by a time of day (`objective.doneBy`), at the least cost. Asked by
//! `demand` in place of the delay's closed form, and by `stage` whether a stage may gather work asleep.
//!
//! A busy pod costs the same whenever it works, so what can be saved is idle time and start-ups: few pods, begun when enough has
//! gathered to keep them busy for a while or when the time is up, and none given back before the queue is empty. That is the
//! N-policy of a removable server (Yadin and Naor 1963) with a deadline.
//!
//! Where nodes cost more in some hours than in others (`tariff`), the cheapest hours come first: now is done what all replicas together
//! cannot do in the cheaper hours that are left, and nothing where they can do it all. The sums are `chore`'s.

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use super::chore::Chore;
use super::demand::{Bid, Load, Means};
use super::evidence::Evidence;
use super::lesson::{few, learning};
use super::pipeline::{DoneBy, Stage};
use super::reason::Reason;
use super::schedule::Schedule;
use super::skew::Skew;
use super::tariff::{Spans, Tariff};
use super::writes::{later, span};

/// What is overdue is worked off within so many seconds, or by all the replicas there may be.
const OVERDUE: f64 = 900.0;
/// Where what waits lies is looked at so often.
const LOOK: Duration = Duration::from_secs(10);
/// Readings of an empty queue in a row before it counts as done.
const READINGS: u8 = 3;
/// Without a threshold this is how finely the work of a batch has to be seen.
pub(super) const PACE: Duration = Duration::from_mins(10);

/// What is remembered of a batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Batch {
    /// The time it is worked for; in the past while it is overdue.
    by: Option<Timestamp>,
    /// Complete readings of an empty queue in a row, since when, and the latest.
    readings: u8,
    since: Option<Timestamp>,
    counted: Option<Timestamp>,
    /// How unevenly what waits lies on consumers, since the last of it is what the busiest have left over.
    #[serde(default)]
    lying: Skew,
}

/// What is asked of a batch at an instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Due {
    pub(super) by: Timestamp,
    /// Seconds until then; what is overdue has a while of its own.
    left: f64,
    pub(super) is_overdue: bool,
    /// Since when the queue has been empty, if it is.
    pub(super) done_since: Option<Timestamp>,
    /// How the time left divides by price; `None` where all hours cost the same, and when there is no time to choose.
    spans: Option<Spans>,
    /// The most replicas there may be at other times, as far as schedules say.
    later: u32,
}

impl DoneBy {
    /// The next such time of day after an instant. Where clocks are put forward over it, as much later; where they are put back, the first.
    pub fn next(&self, at: Timestamp) -> Timestamp {
        let now = at.to_zoned(self.zone.clone());
        let on = |day: jiff::civil::Date| {
            day.at(self.hour, self.minute, 0, 0).to_zoned(self.zone.clone()).ok()
        };
        let today = on(now.date()).map(|time| time.timestamp()).filter(|&time| at < time);
        let tomorrow = || now.date().checked_add(1.day()).ok().and_then(on);
        today
            .or_else(|| tomorrow().map(|time| time.timestamp()))
            .unwrap_or_else(|| later(at, Duration::from_hours(24)))
    }
}

impl Batch {
    /// Looks at the queues: for which time are they worked, and are they empty, but for what is still coming?
    pub(super) fn observe(
        &mut self,
        done_by: &DoneBy,
        evidence: &Evidence<'_>,
        is_empty: bool,
        at: Timestamp,
    ) {
        let by = *self.by.get_or_insert_with(|| done_by.next(at));
        if !evidence.is_fresh() {
            self.readings = 0;
            return;
        }
        self.lying.renew(|| evidence.lags(), LOOK, at);
        if !is_empty {
            (self.readings, self.since) = (0, None);
            return;
        }
        self.since.get_or_insert(at);
        let read = || evidence.sources.iter().filter_map(|seen| Some(seen.reading?.at));
        if self.counted < read().min() {
            self.readings = self.readings.saturating_add(1);
            self.counted = read().max();
        }
        if by <= at && READINGS <= self.readings {
            self.by = Some(done_by.next(at));
        }
    }

    /// What is asked of it now, on nodes that cost what these tariffs say.
    pub(super) fn due(&self, at: Timestamp, stage: &Stage, tariffs: &[&Tariff]) -> Option<Due> {
        let by = self.by?;
        let is_overdue = by <= at;
        let left = if is_overdue { OVERDUE } else { span(at, by).as_secs_f64() };
        let done_since = self.since.filter(|_| READINGS <= self.readings);
        let is_choice = !is_overdue && !tariffs.iter().all(|tariff| tariff.is_flat());
        let spans = is_choice.then(|| Spans::of(tariffs, at, by));
        let later = stage.schedules.iter().filter_map(Schedule::max).fold(stage.max, u32::min);
        Some(Due { by, left, is_overdue, done_since, spans, later })
    }

    /// How unevenly what waits lies on consumers.
    pub(super) fn lying(&self) -> &Skew {
        &self.lying
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        self.lying.weight()
    }
}

/// What one replica gets through, as far as it is known; what it has shown at least once its lesson is over.
fn rate(means: &Means) -> Option<f64> {
    means.known().or_else(|| means.shown_at_length())
}

fn chore<'a>(load: &'a Load<'a>, means: &'a Means, due: &Due, rate: f64) -> Chore<'a> {
    let kept = if due.done_since.is_some() { 0 } else { means.desired };
    Chore::new(load, means, rate, (due.left, kept))
}

/// The count that is done in time at the least cost: never fewer than now until the queue was empty once, since giving pods back before that
/// saves nothing.
pub(super) fn bid((min, max): (u32, u32), load: &Load<'_>, means: &Means, due: &Due) -> Bid {
    let Means { desired, .. } = *means;
    let Due { by, is_overdue, .. } = *due;
    let Some(rate) = rate(means) else {
        return learning(if desired == 0 { few(load, (min, max)) } else { desired });
    };
    let chore = chore(load, means, due, rate);
    let most = chore.most(max);
    let (spans, later) = (due.spans.as_ref(), most.min(due.later));
    let lag = load.lag;
    if let Some((begins, now, then)) = chore.waits(spans, later) {
        let replicas = min.max(1).min(most);
        return Bid::new(replicas, Reason::Cheaper { replicas, lag, by, begins, now, then });
    }
    let found = chore.smallest(most).map(|by_then| {
        let now = chore.at_this_price(spans, later);
        // What this price has no time for is left to a dearer one.
        now.map_or(by_then, |now| now.smallest(most).unwrap_or(most))
    });
    let found = found.or_else(|| (!chore.is_time_for_more()).then_some(desired.max(1).min(most)));
    let wished = found.unwrap_or(most).max(chore.kept.min(most));
    let mut bid = if is_overdue {
        Bid::new(wished, Reason::Overdue { lag, by, rate, wished })
    } else {
        Bid::new(wished, Reason::InTime { lag, by, rate, wished })
    };
    if found.is_none() {
        let plain = chore.plain();
        if let Some(partitions) = chore.partitions().filter(|&partitions| partitions < plain) {
            bid.set(wished, Reason::PartitionBound { wished: plain, partitions });
        }
        if max < plain && wished == max {
            bid.set(wished, Reason::AtMax { wished: plain, max });
        }
    }
    bid
}

/// May it stay asleep, or go to sleep, at `idle` replicas and gather work or wait for cheaper hours? `awake`: what it would wake to at
/// least, and `max` at most.
pub(super) fn gather(
    load: &Load<'_>,
    means: &Means,
    due: &Due,
    (idle, awake, max): (u32, u32, u32),
) -> Option<Bid> {
    // Asleep, what pods have shown before is all there is to go by: too little rather than too much, so that it begins early.
    let rate =
        rate(means).or_else(|| means.shown.filter(|shown| means.ready == 0 && 0.0 < *shown))?;
    let chore = chore(load, means, due, rate);
    let (spans, most) = (due.spans.as_ref(), chore.most(max.min(due.later)));
    let (lag, by) = (load.lag, due.by);
    if let Some((begins, now, then)) = chore.waits(spans, most) {
        let why = Reason::Cheaper { replicas: idle, lag, by, begins, now, then };
        return Some(Bid::new(idle, why));
    }
    let is_over = means.desired <= idle || due.done_since.is_some();
    let is_worth = chore.at_this_price(spans, most).unwrap_or(chore).is_worth_a_start();
    let is_time = due.left <= chore.ahead(awake);
    if !is_over || due.is_overdue && 0 < lag || is_worth || is_time {
        return None;
    }
    let begins = by - seconds(chore.ahead(awake));
    let work = chore.work();
    Some(Bid::new(idle, Reason::Gathering { replicas: idle, lag, by, begins, work }))
}

fn seconds(length: f64) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from_secs_f64(length).unwrap_or(jiff::SignedDuration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::evidence::float;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn six(zone: &str) -> DoneBy {
        DoneBy { hour: 6, minute: 0, zone: jiff::tz::TimeZone::get(zone).unwrap() }
    }

    #[test]
    fn the_next_time_of_day_follows_the_zone_and_its_changes() {
        let next = |now: &str| six("Europe/Berlin").next(at(now)).to_string();
        assert_eq!(next("2026-01-10T04:59:59Z"), "2026-01-10T05:00:00Z");
        assert_eq!(next("2026-01-10T05:00:00Z"), "2026-01-11T05:00:00Z");
        assert_eq!(next("2026-03-28T12:00:00Z"), "2026-03-29T04:00:00Z", "clocks are put forward");
        assert_eq!(next("2026-10-24T12:00:00Z"), "2026-10-25T05:00:00Z", "and back");
    }

    #[test]
    fn a_time_that_a_day_does_not_have_is_as_much_later() {
        let gap = DoneBy { hour: 2, minute: 30, ..six("Europe/Berlin") };
        assert_eq!(gap.next(at("2026-03-28T12:00:00Z")).to_string(), "2026-03-29T01:30:00Z");
    }

    /// At six, in so many seconds, on nodes that cost the same at all hours.
    fn due(left: f64) -> Due {
        let by = at("2026-01-10T06:00:00Z");
        Due { by, left, is_overdue: false, done_since: None, spans: None, later: 48 }
    }

    /// 48 partitions; a replica does 100 items/s and starts in 45 s.
    fn judged(lag: u64, desired: u32, left: f64) -> (Bid, Option<Bid>) {
        let skew = Skew::default();
        let load = Load { lag, backlog: float(lag), ..Load::none(&skew) };
        let means = Means::of(desired);
        let due = due(left);
        let due = Due { done_since: (lag == 0).then_some(due.by), ..due };
        let gathered = gather(&load, &means, &due, (0, 1, 48));
        (bid((0, 48), &load, &means, &due), gathered)
    }

    #[test]
    fn the_fewest_that_are_done_in_time_begin_and_stay() {
        // Ten hours of one replica's work, and eight to do it in.
        let replicas = |lag, desired, left| judged(lag, desired, left).0.replicas;
        assert_eq!(replicas(3_600_000, 0, 28_800.0), 2);
        assert_eq!(replicas(3_600_000, 0, 7_200.0), 6);
        assert_eq!(replicas(100, 6, 7_200.0), 6, "what is there is kept until all is done");
        assert_eq!(replicas(360_000_000, 0, 7_200.0), 48, "more than all is not");
    }

    #[test]
    fn little_is_gathered_until_it_is_worth_a_start_or_time_is_up() {
        let gathers = |lag, left| judged(lag, 0, left).1.is_some();
        assert!(gathers(10_000, 28_800.0), "100 s of work are not worth 50 s of start-up");
        assert!(!gathers(200_000, 28_800.0), "half an hour is");
        assert!(!gathers(10_000, 200.0), "and the last moment to begin is not let pass");
    }

    #[test]
    fn pods_that_never_had_enough_to_show_their_rate_do_not_wake_for_little() {
        let skew = Skew::default();
        let load = Load { lag: 1_000, backlog: 1_000.0, ..Load::none(&skew) };
        let due = due(28_800.0);
        let asleep = |shown| Means { rate: None, shown, ..Means::of(0) };
        assert_eq!(gather(&load, &asleep(Some(10.0)), &due, (0, 1, 48)).unwrap().replicas, 0);
        assert_eq!(
            gather(&load, &asleep(None), &due, (0, 1, 48)),
            None,
            "who never worked shows it first"
        );
        assert_eq!(
            gather(&load, &asleep(Some(0.5)), &due, (0, 1, 48)),
            None,
            "by that it is worth it"
        );
    }

    #[test]
    fn an_empty_queue_sends_all_to_sleep() {
        assert_eq!(judged(0, 6, 7_200.0).1.unwrap().replicas, 0);
    }

    /// As `judged`, with nine hours left: so many seconds at the present price, and so many at half of it in one piece.
    fn priced(lag: u64, desired: u32, (alike, cheaper): (f64, f64)) -> (Bid, Option<Bid>) {
        let skew = Skew::default();
        let load = Load { lag, backlog: float(lag), ..Load::none(&skew) };
        let begins = (0.0 < cheaper).then_some((at("2026-01-10T01:00:00Z"), 50.0));
        let pieces = f64::from(begins.is_some());
        let spans = Some(Spans { now: 100.0, alike, cheaper, pieces, begins });
        let due = Due { spans, ..due(32_400.0) };
        let means = Means::of(desired);
        (bid((0, 48), &load, &means, &due), gather(&load, &means, &due, (0, 1, 48)))
    }

    #[test]
    fn what_cheaper_hours_have_time_for_waits_for_them() {
        let waits = |lag, desired, spans| {
            let (bid, gathered) = priced(lag, desired, spans);
            let waits = matches!(bid.why[0], Reason::Cheaper { .. });
            assert_eq!(waits, gathered.is_some_and(|bid| bid.why[0].code() == "Cheaper"));
            waits
        };
        // An hour of 48 replicas less a start, of which 85 % are planned with: 14.5 million items.
        assert!(waits(14_000_000, 0, (28_800.0, 3_600.0)));
        assert!(!waits(15_000_000, 0, (28_800.0, 3_600.0)));
        assert!(!waits(14_000_000, 9, (28_800.0, 3_600.0)), "who works stops when all fits easily");
        assert!(waits(12_000_000, 9, (28_800.0, 3_600.0)));
        assert!(!waits(14_000_000, 0, (32_400.0, 0.0)), "the cheapest hours are now");
    }

    #[test]
    fn now_is_done_what_cheaper_hours_have_no_time_for() {
        let replicas = |lag, spans| {
            let (bid, gathered) = priced(lag, 0, spans);
            assert_eq!(gathered, None);
            (bid.replicas, bid.why[0].code())
        };
        // 25 hours of one replica's work; all of the nine are as dear.
        assert_eq!(replicas(9_000_000, (32_400.0, 0.0)), (4, "InTime"));
        assert_eq!(replicas(5_000_000, (32_400.0, 0.0)), (2, "InTime"));
        assert_eq!(replicas(5_000_000, (3_600.0, 0.0)), (24, "InTime"), "the rest is dearer");
        assert_eq!(replicas(20_000_000, (3_600.0, 0.0)), (48, "InTime"), "and does what is left");
        assert_eq!(replicas(5_000_000, (600.0, 0.0)), (2, "InTime"), "too short to be heeded");
        // 41.7 hours, of which the cheap one takes 40.2.
        assert_eq!(replicas(15_000_000, (28_800.0, 3_600.0)), (1, "InTime"));
    }

    #[test]
    fn what_goes_on_coming_and_what_schedules_allow_are_reckoned_with() {
        let skew = Skew::default();
        let begins = Some((at("2026-01-10T05:00:00Z"), 50.0));
        let spans = Spans { now: 100.0, alike: 28_800.0, cheaper: 3_600.0, pieces: 1.0, begins };
        let waits = |arrivals, later| {
            let load = Load { arrivals, lag: 1, backlog: 1_000_000.0, ..Load::none(&skew) };
            let due = Due { spans: Some(spans), later, ..due(32_400.0) };
            let bid = bid((0, 48), &load, &Means::of(0), &due);
            bid.why[0].code() == "Cheaper"
        };
        // Forty hours of one replica's work fit; four replicas' work for nine hours are 36 of them.
        assert!(waits(0.0, 48) && waits(300.0, 48));
        assert!(!waits(450.0, 48));
        assert!(!waits(0.0, 2), "two do not do it in an hour");
    }

    #[test]
    fn who_works_stops_only_for_more_than_a_start_costs() {
        let skew = Skew::default();
        let load = Load { lag: 1_000_000, backlog: 1_000_000.0, ..Load::none(&skew) };
        let stops = |then| {
            let begins = Some((at("2026-01-10T01:00:00Z"), then));
            let spans = Spans { now: 100.0, alike: 9e3, cheaper: 9e3, pieces: 1.0, begins };
            let due = Due { spans: Some(spans), ..due(18_000.0) };
            bid((0, 48), &load, &Means::of(12), &due).replicas < 12
        };
        assert!(stops(50.0) && !stops(99.0));
    }
}
