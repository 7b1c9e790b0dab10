//! What is odd about a stage though it binds no count: one consumer among well ones that hardly moves, replicas that get less done than
//! they used to, rebalances that take longer, partitions that count as read since nobody has committed there. Called by `doubt` once a turn; told as reasons, events and a metric.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::age::{Trace, mark};
use super::evidence::{Evidence, Seen};
use super::forecast::Unusual;
use super::memory::StageMemory;
use super::part::Part;
use super::rate::COMMITS;
use super::reason::Reason;
use super::snapshot::Queue;
use super::writes::span;

/// A consumer is looked at over this long, or over four commits where those are rarer.
const SAMPLE: Duration = Duration::from_mins(1);
/// A sick one gets through less than this share of what is usual, a fine one more than that, or little waits for it.
const SICK: f64 = 0.2;
const FINE: f64 = 0.5;
/// Items that wait for a sick one have grown older by this share of the sample.
const AGEING: f64 = 0.8;
/// Consumers looked at, so that what is remembered stays small.
const MOST: usize = 128;

/// A partition is hot when so many times a replica's rate come to it, for this long, and not by chance.
const HOT: f64 = 1.05;
/// And is no more when it is this little: it changes the count, so chance must not end it.
const COOL: f64 = 0.95;
const HEATS: Duration = Duration::from_mins(3);
const MANY: f64 = 1000.0;

/// What is new is looked at so often.
const EVERY: Duration = Duration::from_mins(1);
/// What is usual follows what is seen closely at first, and slowly later: half-lives.
const YOUTH: Duration = Duration::from_mins(30);
const QUICK: f64 = 300.0;
const SLOW: f64 = 6.0 * 3600.0;
/// Something is odd when it has lasted this long.
const LASTS: Duration = Duration::from_mins(10);
/// A group that has just come has committed by then.
const FIRST: Duration = Duration::from_mins(1);

/// What is remembered of what is usual.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Anomalies {
    crew: Crew,
    heat: Heat,
    rate: Usual,
    pause: Usual,
    /// Since when partitions without a commit have counted as read.
    #[serde(default)]
    uncommitted: Option<Timestamp>,
}

/// The consumers of a group at the start of a sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Crew {
    since: Option<Timestamp>,
    members: Vec<Member>,
    sick: Option<Sick>,
}

/// One consumer, in eight bytes: sums of offsets are compared modulo 2^32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Member {
    owner: u16,
    holds: u16,
    taken: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Sick {
    /// The first of its partitions, and how many there are.
    partition: i32,
    partitions: u32,
    rate: f64,
    usual: f64,
}

/// A partition to which more comes than one replica gets through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Heat {
    hot: Option<Hot>,
    looked: Option<Timestamp>,
}

/// A partition to which more comes than one consumer gets through.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Hot {
    #[serde(default)]
    topic: u16,
    partition: i32,
    /// Items a second that come to it.
    pub(super) arrives: f64,
    rate: f64,
    since: Timestamp,
}

/// One consumer as a turn sees it.
#[derive(Debug, Clone, Copy, Default)]
struct Hand {
    member: Member,
    partition: i32,
    partitions: u32,
    age: f64,
}

/// A figure, and what it usually is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Usual {
    mean: Option<f64>,
    first: Option<Timestamp>,
    looked: Option<Timestamp>,
    odd_since: Option<Timestamp>,
}

impl StageMemory {
    /// What is odd at this turn.
    /// `arrivals`: items a second that come to all queues.
    pub(super) fn anomalies(
        &mut self,
        evidence: &Evidence<'_>,
        arrivals: f64,
        at: Timestamp,
    ) -> Vec<Reason> {
        let mut found = Vec::new();
        let commits = evidence.commits().unwrap_or(COMMITS);
        let rate = self.rate.known();
        // The same pod has another number in each group, so one group is looked at.
        if let ([seen], Some(usual)) = (&evidence.sources[..], rate)
            && let Some(trace) = self.traces.get(&seen.source.name)
            && evidence.is_fresh()
        {
            self.anomalies.crew.observe(|| hands(trace, at), (usual, commits), at);
            self.anomalies.heat.observe(trace, arrivals, usual, at);
        }
        if let (Some(hot), [seen]) = (self.hot(evidence, at), &evidence.sources[..]) {
            found.push(hot.reason(seen));
        }
        found.extend(self.anomalies.uncommitted(evidence, at));
        if let (Some(sick), [seen]) = (self.anomalies.crew.sick, &evidence.sources[..]) {
            let Sick { partition, partitions, rate, usual } = sick;
            let source = seen.source.name.to_string();
            found.push(Reason::SickConsumer { source, partition, partitions, rate, usual });
        }
        if let Some(Unusual { rate, usual, since }) = self.forecast.unusual() {
            found.push(Reason::UnusualArrivals { rate, usual, since });
        }
        let slower =
            |rate: f64, usual: f64, odd: bool| rate < usual * if odd { 0.85 } else { 0.75 };
        if self.rate.is_former() {
            // Of pods with other CPU nothing is usual yet.
            self.anomalies.rate = Usual::default();
        } else if let Some(rate) = rate
            && let Some(usual) = self.anomalies.rate.observe(rate, at, slower)
        {
            found.push(Reason::SlowerReplicas { rate, usual });
        }
        let longer = |pause: f64, usual: f64, odd: bool| {
            usual * if odd { 1.5 } else { 2.0 } < pause && usual + 3.0 < pause
        };
        if let Some(pause) = self.pods.known_rebalance()
            && let Some(usual) = self.anomalies.pause.observe(pause, at, longer)
        {
            found.push(Reason::LongerRebalances { pause, usual });
        }
        found
    }

    /// The partition to which more comes than one consumer gets through. None is called so in a stage of several sources.
    pub(super) fn hot(&self, evidence: &Evidence<'_>, at: Timestamp) -> Option<Hot> {
        self.anomalies.heat.told(at).filter(|_| evidence.sources.len() == 1)
    }
}

impl Hot {
    /// Topic and number.
    pub(super) fn key(&self) -> (u16, i32) {
        (self.topic, self.partition)
    }

    /// As people are told of it. A topic is named where the source has several.
    fn reason(&self, seen: &Seen<'_>) -> Reason {
        let Self { topic, partition, arrives, rate, .. } = *self;
        let topics = Some(&seen.source.topics).filter(|topics| 1 < topics.len());
        let topic = topics.and_then(|topics| topics.get(usize::from(topic)));
        let (source, topic) = (seen.source.name.to_string(), topic.map(ToString::to_string));
        Reason::HotPartition { source, topic, partition, arrives, rate }
    }
}

impl Anomalies {
    /// The queues that count partitions without a commit as read, once they have done so for a while.
    fn uncommitted(&mut self, evidence: &Evidence<'_>, at: Timestamp) -> Vec<Reason> {
        let counted = || evidence.queues().filter(|(_, queue)| 0 < queue.uncommitted);
        if counted().next().is_none() {
            if evidence.is_fresh() {
                self.uncommitted = None;
            }
            return Vec::new();
        }
        let since = *self.uncommitted.get_or_insert(at);
        let told = |(seen, queue): (&Seen<'_>, &Queue)| Reason::Uncommitted {
            source: seen.source.name.to_string(),
            partitions: queue.uncommitted,
            of: seen.partitions(),
        };
        if FIRST <= span(since, at) { counted().map(told).collect() } else { Vec::new() }
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        self.crew.members.capacity() * size_of::<Member>()
    }
}

/// The consumers of a queue, by number; none when it is not known who holds every partition.
fn hands(trace: &Trace, at: Timestamp) -> Vec<Hand> {
    let ages: Vec<f64> = trace.aged(at).map(|(_, age)| age).collect();
    let each = trace.by_owner(|hand: &mut Hand, index, part| {
        if hand.partitions == 0 {
            hand.partition = part.id;
        }
        hand.partitions += 1;
        hand.age = ages.get(index).copied().unwrap_or(0.0).max(hand.age);
        let low = u32::try_from(part.position.rem_euclid(1 << 32)).unwrap_or_default();
        hand.member.taken = hand.member.taken.wrapping_add(low);
        hand.member.holds ^= u16::try_from(mark(index) >> 16).unwrap_or_default();
    });
    let named = |(owner, mut hand): (u16, Hand)| {
        hand.member.owner = owner;
        hand
    };
    each.unwrap_or_default().into_iter().map(named).collect()
}

impl Heat {
    /// Looks at what comes to each partition, once a minute. `arrivals` of the whole queue, `rate` of one replica.
    fn observe(&mut self, trace: &Trace, arrivals: f64, rate: f64, at: Timestamp) {
        if self.looked.is_some_and(|looked| span(looked, at) < EVERY) {
            return;
        }
        self.looked = Some(at);
        let came = trace.came_each();
        let sum: f64 = came.iter().sum();
        let most = trace.parts().iter().zip(&came).max_by(|a, b| a.1.total_cmp(b.1));
        let since = self.hot.map_or(at, |hot| hot.since);
        let least = rate * if self.told(at).is_some() { COOL } else { HOT };
        self.hot = most.filter(|_| 1 < came.len() && MANY <= sum).and_then(|(part, most)| {
            let arrives = arrivals * most / sum;
            let Part { topic, id: partition, .. } = *part;
            (least < arrives).then_some(Hot { topic, partition, arrives, rate, since })
        });
    }

    /// The partition that has been hot for long enough to be told.
    fn told(&self, at: Timestamp) -> Option<Hot> {
        self.hot.filter(|hot| HEATS <= span(hot.since, at))
    }
}

impl Crew {
    /// Looks at the consumers when a sample is full. `usual`: items a second of one; `commits`: time between two.
    fn observe(
        &mut self,
        hands: impl FnOnce() -> Vec<Hand>,
        (usual, commits): (f64, Duration),
        at: Timestamp,
    ) {
        let wide = self.since.map(|since| span(since, at));
        if wide.is_some_and(|wide| wide < SAMPLE.max(commits.saturating_mul(4))) {
            return;
        }
        let mut hands = hands();
        hands.truncate(MOST);
        let same =
            self.members.len() == hands.len()
                && self.members.iter().zip(&hands).all(|(old, new)| {
                    (old.owner, old.holds) == (new.member.owner, new.member.holds)
                });
        let Some(wide) = wide.filter(|_| same) else {
            *self = Self::default();
            self.begin(&hands, at);
            return;
        };
        let seconds = wide.as_secs_f64();
        let rates: Vec<f64> = self
            .members
            .iter()
            .zip(&hands)
            .map(|(old, new)| f64::from(new.member.taken.wrapping_sub(old.taken)) / seconds)
            .collect();
        let is_sick = |hand: &Hand, rate: f64| rate < SICK * usual && AGEING * seconds <= hand.age;
        let is_fine = |hand: &Hand, rate: f64| FINE * usual <= rate || hand.age < AGEING * seconds;
        let pairs = || hands.iter().zip(rates.iter().copied());
        let sick = pairs().find(|&(hand, rate)| is_sick(hand, rate));
        let fine = pairs().filter(|&(hand, rate)| is_fine(hand, rate)).count();
        // While the others are fine: it is this one, not the work.
        self.sick = sick.filter(|_| hands.len() <= 2 * fine && 1 < hands.len()).map(
            |(&Hand { partition, partitions, .. }, rate)| Sick {
                partition,
                partitions,
                rate,
                usual,
            },
        );
        self.begin(&hands, at);
    }

    fn begin(&mut self, hands: &[Hand], at: Timestamp) {
        self.since = Some(at);
        self.members.clear();
        self.members.extend(hands.iter().map(|hand| hand.member));
    }
}

impl Usual {
    /// Takes in a figure. Returns what it usually is once it has been odd for long enough.
    fn observe(
        &mut self,
        now: f64,
        at: Timestamp,
        is_odd: impl Fn(f64, f64, bool) -> bool,
    ) -> Option<f64> {
        let usual = *self.mean.get_or_insert(now);
        let first = *self.first.get_or_insert(at);
        let looked = *self.looked.get_or_insert(at);
        let passed = span(looked, at);
        if EVERY <= passed {
            self.looked = Some(at);
            let half = if span(first, at) < YOUTH { QUICK } else { SLOW };
            let share = 1.0 - 0.5_f64.powf(passed.as_secs_f64() / half);
            self.mean = Some(usual + share * (now - usual));
        }
        let was_odd = self.odd_since.is_some_and(|since| LASTS <= span(since, at));
        if YOUTH <= span(first, at) && is_odd(now, usual, was_odd) {
            let since = *self.odd_since.get_or_insert(at);
            return (LASTS <= span(since, at)).then_some(usual);
        }
        self.odd_since = None;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn slower(now: f64, usual: f64, odd: bool) -> bool {
        now < usual * if odd { 0.85 } else { 0.75 }
    }

    #[test]
    fn what_falls_and_stays_low_is_odd_until_it_is_usual() {
        let mut usual = Usual::default();
        let mut told = Vec::new();
        for minute in 0..2000 {
            let now = if minute < 120 { 50.0 } else { 30.0 };
            if usual.observe(now, at(60 * minute), slower).is_some() {
                told.push(minute);
            }
        }
        assert_eq!(told[0], 130, "ten minutes after the fall");
        let last = *told.last().unwrap();
        assert!((600..1800).contains(&last), "usual again after {last} minutes");
        assert!(told.windows(2).all(|pair| pair[1] == pair[0] + 1), "told once, not on and off");
    }

    #[test]
    fn what_is_learned_in_the_first_half_hour_and_short_dips_are_not_odd() {
        let mut usual = Usual::default();
        for minute in 0..300_i32 {
            let early = if minute < 20 { 90.0 } else { 50.0 };
            let now = if minute % 60 < 8 && 60 < minute { 20.0 } else { early };
            assert_eq!(usual.observe(now, at(60 * i64::from(minute)), slower), None, "{minute}");
        }
    }

    /// Five minutes of consumers that get through so many items a second each, with the age of what waits for them at the end.
    fn sick(rates: &[(u32, f64)]) -> Option<Sick> {
        let mut crew = Crew::default();
        for turn in 0..60_u32 {
            let hands: Vec<Hand> = (0..)
                .zip(rates)
                .map(|(owner, &(rate, age))| Hand {
                    member: Member {
                        owner,
                        holds: 7,
                        taken: u32::MAX.wrapping_add(rate * 5 * turn),
                    },
                    partition: 10 * i32::from(owner),
                    partitions: 3,
                    age: if 0.0 < age { f64::from(5 * turn) } else { 0.0 },
                })
                .collect();
            crew.observe(|| hands, (50.0, Duration::from_secs(5)), at(5 * i64::from(turn)));
        }
        crew.sick
    }

    #[test]
    fn one_consumer_that_hardly_moves_among_well_ones_is_sick() {
        let found = sick(&[(50, 0.0), (2, 1.0), (48, 1.0)]).unwrap();
        assert_eq!((found.partition, found.partitions), (10, 3));
        assert!((found.rate - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_consumer_with_little_to_do_is_not_sick_nor_is_one_alone_nor_all_of_them() {
        assert_eq!(sick(&[(50, 0.0), (2, 0.0), (48, 1.0)]), None);
        assert_eq!(sick(&[(2, 1.0)]), None);
        assert_eq!(sick(&[(2, 1.0), (1, 1.0), (3, 1.0)]), None);
    }
}
