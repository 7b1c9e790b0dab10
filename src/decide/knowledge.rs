//! What is known of a stage at this instant, from the record of its queues and pods. Called early in a stage's turn; the phases
//! after it read [`Known`] and look at no raw reading.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::age::{Age, Trace};
use super::arrivals::{Arrivals, is_above, is_below};
use super::batch::Due;
use super::demand::{Load, Means};
use super::evidence::{Evidence, Trust, float, lag};
use super::flow::Passed;
use super::jobs;
use super::memory::{ByName, StageMemory};
use super::need::GOAL;
use super::pipeline::{OnSilence, Stage};
use super::plan::Signals;
use super::rate::{self, COMMITS};
use super::reckon::is_depth_alone;
use super::skew::Skew;
use super::snapshot::{Target, Workload};
use super::stage::Turn;
use super::surge::Room;
use super::tariff;
use super::window::Window;
use super::writes::{Move, later, span};

/// A reading older than this is not carried on any more.
pub(super) const COAST: Duration = Duration::from_mins(2);
/// A level that held for two polls counts as new when it is so much above the minute's mean.
const SUDDEN: f64 = 1.1;
/// And the mean of the last so many seconds when it is so much below.
const FALLEN: f64 = 0.7;
const RECENT: f64 = 20.0;

/// What is known of a stage at this instant.
#[derive(Debug, Clone)]
pub(super) struct Known {
    lag: Option<u64>,
    age: Option<Age>,
    told_age: Option<f64>,
    tail: Option<f64>,
    arrivals: Option<Arrivals>,
    backlog: Option<f64>,
    skew: Skew,
    /// How unevenly what waits lies, where a batch wants to know.
    lying: Option<Skew>,
    busiest: Option<f64>,
    /// What may come before new pods are at work.
    room: Room,
    /// What is about to arrive, as a multiple of what does, where a forecast beats none.
    ahead: Option<f64>,
    /// What is asked of a batch.
    pub(super) due: Option<Due>,
    /// Items a second that the stages above are about to send, where that is known.
    pub(super) expected: Option<f64>,
    /// Items taken since the record began.
    taken: Option<u64>,
    commits: Option<Duration>,
    poll: Duration,
    rate: Option<f64>,
    startup: Option<f64>,
    learned_rebalance: Option<f64>,
    partitions: Option<u32>,
    blind_since: Option<Timestamp>,
    /// Have the queues been watched for long enough to lower a stage?
    pub(super) is_mature: bool,
    /// Arrivals stopped all at once, which is held against a lower count until then.
    pub(super) silent: Option<Timestamp>,
    /// What the stage can do.
    pub(super) means: Means,
}

impl Known {
    pub(super) fn of(
        turn: &Turn<'_>,
        memory: &StageMemory,
        workload: Option<&Workload>,
        arrivals: Option<Arrivals>,
    ) -> Self {
        let evidence = &turn.evidence;
        let (at, poll, commits) = (turn.at, evidence.poll(), evidence.commits());
        let counted = evidence.queues().any(|(seen, _)| memory.trace(&seen.source.name).is_some());
        let is_sized = turn.stage.max_delay.is_some() && counted;
        let window = Window::first(memory.pods.startup(), memory.pods.rebalance());
        let settled = memory.rate.pods_since().map_or(Duration::ZERO, |since| span(since, at));
        let (desired, ready) = workload.map_or((0, 0), |it| (it.desired, it.ready));
        let is_mature = !is_sized || arrivals.is_some_and(|arrivals| arrivals.is_mature);
        let lesson = rate::window(commits.unwrap_or(COMMITS), poll) + commits.unwrap_or(COMMITS);
        let pace = (memory.pods.known_startup().unwrap_or(0.0), poll);
        let known = memory.rate.cautious();
        let rate = workload.map_or(known, |workload| jobs::rate(known, workload, pace, at));
        let means = Means {
            rate,
            is_former: memory.rate.is_former(),
            shown: memory.rate.shown(),
            startup: memory.pods.startup(),
            pending: memory.pods.pending(at).unwrap_or(0.0),
            rebalance: memory.pods.rebalance(),
            ready,
            desired,
            settled: settled.as_secs_f64(),
            lesson: lesson.as_secs_f64(),
            may_probe: window <= settled && ready == desired && is_mature && evidence.is_fresh(),
        };
        let silent = arrivals
            .filter(|_| turn.stage.on_silence == OnSilence::Hold && is_sized)
            .and_then(|arrivals| memory.calm.silent(arrivals, at));
        Self {
            lag: evidence.lag(),
            age: memory.age(evidence, at),
            told_age: evidence.told_age(),
            tail: memory.tail(evidence),
            arrivals,
            backlog: memory.backlog(evidence, means, arrivals, at),
            skew: memory.skew.clone(),
            lying: memory.batch.as_ref().map(|batch| batch.lying().clone()),
            // Only an objective asks for it.
            busiest: turn.stage.max_delay.and_then(|_| memory.busiest(evidence)),
            room: memory.room(turn.stage, poll, at),
            ahead: memory.ahead(turn.stage, memory.lead(poll), at),
            due: turn.stage.done_by.as_ref().and_then(|_| {
                let tariffs = tariff::of_lanes(turn.stage, turn.pools_seen);
                memory.batch.as_ref()?.due(at, turn.stage, &tariffs)
            }),
            expected: memory.expected(turn),
            taken: memory.counted(evidence, Trace::served),
            commits,
            poll,
            rate: memory.rate.known(),
            startup: memory.pods.known_startup(),
            learned_rebalance: memory.pods.known_rebalance(),
            partitions: evidence.is_partitioned().then(|| evidence.partitions()),
            blind_since: memory.blind.since(),
            is_mature,
            silent,
            means,
        }
    }

    /// Penstock's own down window, before lengthening; also how long it must be quiet before a stage sleeps.
    pub(super) fn window(&self) -> Duration {
        Window::first(self.means.startup, self.means.rebalance)
    }

    /// How long a sleeping stage needs until it works, in seconds.
    pub(super) fn waking(&self) -> f64 {
        let commits = self.commits.unwrap_or_default();
        self.means.startup + self.means.rebalance + (self.poll + commits).as_secs_f64()
    }

    /// The same, once somebody has seen it.
    pub(super) fn wake(&self) -> Option<f64> {
        self.startup.map(|_| self.waking())
    }

    /// What there is to do; `None` when no queue says.
    pub(super) fn load(&self) -> Option<Load<'_>> {
        let (level, is_jump) = self.arrivals.map_or((0.0, false), |it| self.level(it));
        let sent = self.expected.filter(|sent| SUDDEN * level < *sent);
        let arrivals = sent.unwrap_or(level);
        Some(Load {
            lag: self.lag.unwrap_or(0),
            backlog: self.backlog?,
            arrivals,
            is_sent: sent.is_some(),
            is_jump: is_jump && sent.is_none(),
            surge: self.room.over(arrivals, self.carries(arrivals)),
            is_forecast: self.room.is_forecast(),
            delay: self.waited().unwrap_or(0.0),
            tail: self.tail.unwrap_or(0.0),
            commits: self.commits.unwrap_or(COMMITS).as_secs_f64(),
            partitions: self.partitions,
            skew: &self.skew,
            lying: self.lying.as_ref(),
            busiest: self.busiest,
            hot: None,
            due: self.due,
        })
    }

    /// Do the pods that work get through so many items a second, if none of them gets more than another?
    fn carries(&self, arrivals: f64) -> bool {
        let Means { ready, rate, .. } = self.means;
        rate.is_some_and(|rate| arrivals <= rate * f64::from(ready))
    }

    /// The minute's mean, unless a new level has held for two polls and is no chance. Says whether the latest poll may be the start
    /// of a new level: until the next one tells, it counts as backlog only.
    fn level(&self, arrivals: Arrivals) -> (f64, bool) {
        let Arrivals { minute, recent, sudden, is_jump, .. } = arrivals;
        if is_above(sudden, minute, SUDDEN, 2.0 * self.poll.as_secs_f64()) {
            (sudden, false)
        } else if is_below(recent, minute, FALLEN, RECENT) {
            (recent, false)
        } else {
            (minute, is_jump)
        }
    }

    /// Was it read so lately that it is carried on?
    pub(super) fn is_in_sight(&self, at: Timestamp) -> bool {
        self.blind_since.is_none_or(|since| span(since, at) <= COAST)
    }

    /// What it hands on with so many replicas.
    pub(super) fn passes(&self, replicas: u32) -> Option<Passed> {
        Passed::of(self.taken?, &self.load()?, &self.means, replicas)
    }

    /// How late its data is: the oldest item, or what a source tells of its age, whichever is older.
    fn delay(&self) -> Option<f64> {
        self.waited().into_iter().chain(self.told_age).reduce(f64::max)
    }

    /// Age of the oldest item; where nothing counts what comes and goes, from how long the work will take.
    fn waited(&self) -> Option<f64> {
        if let Some(age) = self.age {
            return Some(age.seconds);
        }
        let lag = self.lag?;
        if lag == 0 || self.means.ready == 0 {
            return (lag == 0).then_some(0.0);
        }
        Some(float(lag) / (self.rate? * f64::from(self.means.ready)))
    }

    pub(super) fn signals(&self, turn: &Turn<'_>) -> Signals {
        let resolution = self.commits.map(|commits| (commits + self.poll).as_secs_f64());
        Signals {
            lag: self.lag,
            delay: self.delay(),
            is_delay_at_least: self.age.is_some_and(|age| age.is_at_least),
            arrival_rate: self.arrivals.map(|arrivals| self.level(arrivals).0),
            forecast_rate: self.arrivals.zip(self.ahead).map(|(it, ahead)| it.minute * ahead),
            rate_per_replica: self.rate.filter(|_| !self.means.is_former),
            former_rate: self.rate.filter(|_| self.means.is_former),
            startup: self.startup,
            rebalance: self.learned_rebalance,
            objective: turn.stage.max_delay.map(|delay| delay.as_secs_f64()),
            resolution: resolution.map(|seconds| seconds + self.means.rebalance),
            partitions: turn.evidence.partitions(),
            is_fresh: turn.evidence.is_fresh(),
            blind_since: self.blind_since,
            done_by: self.due.map(|due| due.by),
            is_overdue: self.due.is_some_and(|due| due.is_overdue),
        }
    }
}

/// What came to each partition of all queues lately; nothing where work splits at will.
fn came_each(traces: &ByName<Trace>, evidence: &Evidence<'_>) -> Vec<f64> {
    if !evidence.is_partitioned() {
        return Vec::new();
    }
    traces.values().flat_map(Trace::came_each).collect()
}

impl StageMemory {
    /// Takes in what the sources say, and distrusts what went backwards.
    pub(super) fn read(
        &mut self,
        stage: &Stage,
        evidence: &mut Evidence<'_>,
        target: &Target,
        at: Timestamp,
    ) {
        let names = || evidence.sources.iter().map(|seen| &*seen.source.name);
        self.traces.keep(|known| names().any(|name| name == known));
        self.reckon(stage, evidence, target);
        for seen in &mut evidence.sources {
            let (Some(reading), Some(queue)) = (seen.reading, seen.queue()) else { continue };
            if is_depth_alone(queue) {
                continue;
            }
            let known = self.traces.take(&seen.source.name);
            let mut trace = known.filter(|trace| !trace.is_reckoned).unwrap_or_default();
            trace.push(reading, queue, seen.trust != Trust::AtLeast);
            if trace.is_suspect() {
                seen.suspect();
            }
            self.traces.put(&seen.source.name, trace);
        }
        self.blind.observe(evidence, at);
        if evidence.is_fresh() {
            self.seen_since.get_or_insert(at);
        }
    }

    /// Learns from the pods and the work they did.
    pub(super) fn learn(&mut self, turn: &Turn<'_>, workload: &Workload, moves: &[Move]) -> Known {
        let (at, evidence) = (turn.at, &turn.evidence);
        self.pods.observe(workload, self.last_write(), at);
        let interval = evidence.commits();
        let work = self.work(turn, workload, interval.unwrap_or(COMMITS));
        let often =
            interval.filter(|interval| *interval + evidence.poll() <= Duration::from_secs(10));
        self.pods.watch_group(workload, work.commits.1, often, at);
        self.rate.observe(&work);
        let (arrivals, arrived) = (self.arrivals(evidence), self.counted(evidence, Trace::arrived));
        if let Some(arrivals) = arrivals {
            self.calm.listen(arrivals, turn.stage.max_delay.is_some(), at);
        }
        self.skew.observe(|| came_each(&self.traces, evidence), at);
        self.selectivity.observe(&turn.above, arrived, at);
        let window = Window::first(self.pods.startup(), self.pods.rebalance());
        let expects = self.expects(turn.stage, evidence.poll(), at);
        self.watch_surge(turn, arrivals, arrived, expects);
        self.watch_level(turn, workload, arrived);
        if let (true, Some(arrivals), Some(arrived)) =
            (turn.stage.is_forecast && evidence.is_fresh(), arrivals, arrived)
        {
            self.forecast.observe(arrived, arrivals.minute, self.lead(evidence.poll()), at);
        }
        if let Some(done_by) = &turn.stage.done_by {
            // What is still coming is never all read and committed.
            let flows = arrivals.map_or(0.0, |it| it.minute);
            let seen = interval.unwrap_or(COMMITS) + 2 * evidence.poll();
            let coming = (flows * seen.as_secs_f64()).ceil();
            let is_empty = evidence.lag().is_some_and(|lag| float(lag) <= coming);
            let batch = self.batch.get_or_insert_default();
            batch.observe(done_by, evidence, is_empty, at);
        } else {
            self.batch = None;
        }
        for moved in moves {
            self.calm.moved(*moved, window, &turn.stage.behaviour);
        }
        Known::of(turn, self, Some(workload), arrivals)
    }

    fn work(&self, turn: &Turn<'_>, workload: &Workload, interval: Duration) -> rate::Work {
        let evidence = &turn.evidence;
        // What was reckoned from a rate teaches none.
        let traces = || {
            let each = evidence.sources.iter().filter_map(|seen| self.trace(&seen.source.name));
            each.filter(|trace| !trace.is_reckoned)
        };
        let gap = traces().map(Trace::commit_gap).max().unwrap_or_default();
        let standing = (2 * evidence.poll()).max(gap.mul_f64(1.5)).max(Duration::from_secs(4));
        let (all, waiting) = traces().fold((0_u32, 0_u32), |(all, waiting), trace| {
            let (more, of_those) = trace.waiting(turn.at, standing);
            (all.saturating_add(more), waiting.saturating_add(of_those))
        });
        let mut consumers = match traces().collect::<Vec<_>>()[..] {
            [only] => only.consumers(turn.at, standing),
            // The same pod has another number in each group.
            _ => Vec::new(),
        };
        if u32::try_from(consumers.len()).ok() != Some(workload.ready.min(all)) {
            consumers.clear();
        }
        let pods = if evidence.is_partitioned() { workload.ready.min(all) } else { workload.ready };
        let (reads, moves): (Vec<_>, Vec<_>) = traces().map(Trace::commits).unzip();
        rate::Work {
            at: turn.at,
            pods,
            is_settled: workload.ready == workload.desired && evidence.is_fresh(),
            commits: (reads.into_iter().flatten().max(), moves.into_iter().flatten().max()),
            served: traces().map(Trace::served).fold(0, u64::saturating_add),
            interval,
            poll: evidence.poll(),
            is_busy: 0 < pods
                && if evidence.is_partitioned() {
                    // A pod is without work only if all its partitions are: with fewer idle ones than that, every pod is busy.
                    all - waiting < all / pods
                } else {
                    // Every pod takes what comes next; but what is counted as waiting may be in its hands.
                    0 < all && waiting == all && u64::from(pods) < evidence.lag().unwrap_or(0)
                },
            consumers,
            cpu: workload.cpu,
        }
    }

    /// Until when a stage keeps what Penstock found, since nothing is known of what was needed before.
    pub(super) fn newborn(&self, window: Duration, at: Timestamp) -> Option<Timestamp> {
        let since = self.seen_since?;
        let until = later(since, window);
        // Word of a window that was over before anything was read tells nothing of what was needed since.
        let is_told =
            self.is_warm && self.warm_since.is_none_or(|then| since < later(then, window));
        (!is_told && at < until).then_some(until)
    }

    /// When a topic of the stage was last seen recreated.
    pub(super) fn recreated(&self) -> Option<Timestamp> {
        self.traces.values().filter_map(Trace::recreated).max()
    }

    /// The record of a queue that counts what comes and goes.
    pub(super) fn trace(&self, source: &Arc<str>) -> Option<&Trace> {
        self.traces.get(source).filter(|trace| trace.counts())
    }

    pub(super) fn arrivals(&self, evidence: &Evidence<'_>) -> Option<Arrivals> {
        let of = |trace: &Trace, poll| trace.arrivals(poll);
        let each = evidence
            .sources
            .iter()
            .filter_map(|seen| Some(of(self.trace(&seen.source.name)?, seen.source.poll_interval)));
        each.reduce(|a, b| a.zip(b).map(|(a, b)| a.and(b))).flatten()
    }

    /// A counter over all queues that count; `None` where none does.
    pub(super) fn counted(
        &self,
        evidence: &Evidence<'_>,
        counter: fn(&Trace) -> u64,
    ) -> Option<u64> {
        let traces = evidence.sources.iter().filter_map(|seen| self.trace(&seen.source.name));
        traces.map(counter).reduce(u64::saturating_add)
    }

    /// From a look until pods that it asks for are at work.
    pub(super) fn lead(&self, poll: Duration) -> Duration {
        let pods = self.pods.startup() + self.pods.rebalance();
        Duration::try_from_secs_f64(pods).unwrap_or_default() + 2 * poll
    }

    /// What will arrive after a while, as a multiple of what does.
    fn ahead(&self, stage: &Stage, ahead: Duration, at: Timestamp) -> Option<f64> {
        if stage.is_forecast { self.forecast.ratio(ahead, at) } else { None }
    }

    /// And what does so on the whole until pods asked for now are at work: the present ones must serve that.
    pub(super) fn expects(&self, stage: &Stage, poll: Duration, at: Timestamp) -> f64 {
        self.ahead(stage, self.lead(poll) / 2, at).unwrap_or(1.0)
    }

    /// Items a second that the stages above are about to send.
    fn expected(&self, turn: &Turn<'_>) -> Option<f64> {
        let objective = turn.stage.max_delay?.as_secs_f64();
        self.selectivity.expected(&turn.above, GOAL * objective)
    }

    /// Share of what arrives that the busiest consumer gets. Of one queue only: the same pod has another number in each group.
    fn busiest(&self, evidence: &Evidence<'_>) -> Option<f64> {
        let mut traces = evidence.sources.iter().filter_map(|seen| self.trace(&seen.source.name));
        let only = traces.next()?;
        traces.next().is_none().then(|| only.busiest()).flatten()
    }

    fn age(&self, evidence: &Evidence<'_>, at: Timestamp) -> Option<Age> {
        let ages =
            evidence.sources.iter().filter_map(|seen| self.trace(&seen.source.name)?.age(at));
        ages.max_by(|a, b| a.seconds.total_cmp(&b.seconds))
    }

    fn tail(&self, evidence: &Evidence<'_>) -> Option<f64> {
        let tails =
            evidence.sources.iter().filter_map(|seen| self.trace(&seen.source.name)?.tail());
        tails.max_by(f64::total_cmp)
    }

    /// What waits and is not yet taken. Old readings are carried on for a while; commits lag behind the work.
    fn backlog(
        &self,
        evidence: &Evidence<'_>,
        means: Means,
        arrivals: Option<Arrivals>,
        at: Timestamp,
    ) -> Option<f64> {
        let speed = means.rate.unwrap_or(0.0) * f64::from(means.ready);
        let came = arrivals.map_or(0.0, |arrivals| arrivals.minute);
        let mut backlog = None;
        for (seen, queue) in evidence.queues() {
            let age = seen.reading.map_or(Duration::ZERO, |reading| span(reading.at, at));
            let coasted = match seen.trust {
                Trust::Old if COAST < age => continue,
                Trust::Old => (came - speed).max(0.0) * age.as_secs_f64(),
                Trust::Fresh | Trust::AtLeast | Trust::Nothing => 0.0,
            };
            let trace = self.trace(&seen.source.name).filter(|trace| !trace.is_reckoned);
            let behind = trace.map_or(Duration::ZERO, Trace::since_commit);
            let commits = queue.commit_interval.unwrap_or(COMMITS);
            let taken = speed * behind.min(commits.saturating_mul(2)).as_secs_f64();
            let waiting = (float(lag(queue)) - taken).max(0.0) + coasted;
            backlog = Some(backlog.unwrap_or(0.0) + waiting);
        }
        backlog
    }
}
