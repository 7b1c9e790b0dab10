//! The replicas of a stage: asked for, starting, Ready, crashed, taken away. `world` asks for them, a `group` lets those that are Ready
//! work.

use super::chance::{Chance, Tag, lot};
use super::ground::{Ground, Spread, Startup};

/// The standard normal's ninth decile.
const P90: f64 = 1.281_551_565_544_6;
/// An interruption takes its pods within this long, in seconds.
const CLUSTER: f64 = 180.0;

/// One replica.
#[derive(Debug, Clone, Copy)]
struct Pod {
    id: u32,
    /// Second in which it becomes Ready.
    ready_at: u32,
    is_ready: bool,
    /// Second in which its node is taken away; never, mostly.
    doomed: u32,
}

/// What became of the pods in a second.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Did any become Ready, or leave in good order?
    pub(super) is_other: bool,
    /// One that crashed, if one did.
    pub(super) crashed: Option<u32>,
}

/// The replicas of a stage, the eldest first.
#[derive(Debug)]
pub(super) struct Pods {
    list: Vec<Pod>,
    /// Replicas asked for.
    desired: u32,
    next: u32,
    ready: u32,
    ready_since: Option<u32>,
    seed: u64,
    which: u64,
    /// Seconds of the interruptions, and which is next.
    interruptions: Vec<u32>,
    interrupted: usize,
    is_any_doomed: bool,
}

impl Pods {
    /// The pods at the start, all Ready.
    pub(super) fn new(count: u32, ground: &Ground, seconds: u32, seed: u64, which: u64) -> Self {
        let mut chance = Chance::new(seed, Tag::Interruptions, which);
        let interruptions = chance.moments(ground.interruptions.every.seconds(), 0.0, seconds);
        let pod = |id| Pod { id, ready_at: 0, is_ready: true, doomed: u32::MAX };
        Self {
            list: (0..count).map(pod).collect(),
            desired: count,
            next: count,
            ready: count,
            ready_since: (0 < count).then_some(0),
            seed,
            which,
            interruptions,
            interrupted: 0,
            is_any_doomed: false,
        }
    }

    pub(super) fn desired(&self) -> u32 {
        self.desired
    }

    /// Pods that exist.
    pub(super) fn current(&self) -> u32 {
        u32::try_from(self.list.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn ready(&self) -> u32 {
        self.ready
    }

    /// When the youngest Ready pod became so.
    pub(super) fn ready_since(&self) -> Option<u32> {
        self.ready_since
    }

    /// Those that are Ready, the eldest first, and since when.
    pub(super) fn working(&self) -> impl Iterator<Item = (u32, u32)> {
        self.list.iter().filter(|pod| pod.is_ready).map(|pod| (pod.id, pod.ready_at))
    }

    /// Another count is asked for. Says whether a Ready pod left. Those not Ready go first, then the youngest, as a `ReplicaSet` does.
    pub(super) fn scale(&mut self, count: u32, now: u32, ground: &Ground) -> bool {
        self.desired = count;
        while self.list.len() < count as usize {
            self.start(now, ground);
        }
        let mut is_other = false;
        while (count as usize) < self.list.len() {
            let pending = self.list.iter().rposition(|pod| !pod.is_ready);
            let youngest = || {
                let ready = self.list.iter().enumerate();
                ready.max_by_key(|(_, pod)| (pod.ready_at, pod.id)).map(|(at, _)| at)
            };
            let Some(at) = pending.or_else(youngest) else { break };
            is_other |= self.list.remove(at).is_ready;
        }
        self.count();
        is_other
    }

    fn start(&mut self, now: u32, ground: &Ground) {
        let id = self.next;
        self.next += 1;
        let ready_at = now + self.startup(id, now, ground).max(1);
        self.list.push(Pod { id, ready_at, is_ready: false, doomed: u32::MAX });
    }

    /// How long a pod takes: by its number and the time, so that it does not depend on what others did.
    fn startup(&self, id: u32, now: u32, ground: &Ground) -> u32 {
        let which = (u64::from(id) << 32) | u64::from(now);
        let mut chance = Chance::new(self.seed ^ (self.which << 48), Tag::Startup, which);
        let (normal, node, node_normal) = (chance.normal(), chance.unit(), chance.normal());
        let lognormal = |spread: Spread, normal: f64| {
            let width = (spread.p90.seconds() / spread.p50.seconds()).ln() / P90;
            spread.p50.seconds() * (width * normal).exp()
        };
        let mut seconds = match ground.startup {
            Startup::Fixed(span) => span.seconds(),
            Startup::Spread(spread) => lognormal(spread, normal),
        };
        let nodes = ground.nodes;
        if node < nodes.probability {
            seconds += lognormal(Spread { p50: nodes.p50, p90: nodes.p90 }, node_normal);
        }
        super::span::Span::of(seconds.min(7200.0)).steps()
    }

    /// What the second `now` brings.
    pub(super) fn pass(&mut self, now: u32, ground: &Ground) -> Change {
        let mut change = Change::default();
        if self.ready < self.current() {
            for pod in self.list.iter_mut().filter(|pod| !pod.is_ready && pod.ready_at <= now) {
                pod.is_ready = true;
                pod.ready_at = now;
                change.is_other = true;
            }
        }
        self.interrupt(now, ground);
        if self.is_any_doomed {
            change.is_other |= self.take_away(now, ground);
        }
        change.crashed = self.crash(now, ground);
        if change != Change::default() {
            self.count();
        }
        change
    }

    /// An interruption begins: a share of the pods is doomed.
    fn interrupt(&mut self, now: u32, ground: &Ground) {
        if self.interruptions.get(self.interrupted).is_none_or(|&at| now < at) {
            return;
        }
        self.interrupted += 1;
        let (seed, which) = (self.seed, self.which);
        for pod in &mut self.list {
            let when = (u64::from(pod.id) << 32) | u64::from(now);
            if lot(seed, Tag::Interruptions, which, when) < ground.interruptions.share {
                let wait = CLUSTER * lot(seed, Tag::Interruptions, which + 1, when);
                pod.doomed = now + super::span::Span::of(wait).steps();
                self.is_any_doomed = true;
            }
        }
    }

    /// Those whose time has come go, and new ones are made for them. Says whether a Ready one left.
    fn take_away(&mut self, now: u32, ground: &Ground) -> bool {
        let is_due = |pod: &Pod| pod.doomed <= now;
        let due = self.list.iter().filter(|pod| is_due(pod)).count();
        let is_other = self.list.iter().any(|pod| is_due(pod) && pod.is_ready);
        self.list.retain(|pod| !is_due(pod));
        (0..due).for_each(|_| self.start(now, ground));
        self.is_any_doomed = self.list.iter().any(|pod| pod.doomed != u32::MAX);
        is_other
    }

    /// One may crash; its container starts again in the same pod.
    fn crash(&mut self, now: u32, ground: &Ground) -> Option<u32> {
        if ground.crashes_per_day <= 0.0 || self.ready == 0 {
            return None;
        }
        let often = ground.crashes_per_day / 86_400.0 * f64::from(self.ready);
        let drawn = lot(self.seed, Tag::Crashes, self.which, u64::from(now));
        if often <= drawn {
            return None;
        }
        let ready = self.ready as usize;
        let victim = super::span::Span::of(drawn / often * f64::from(self.ready)).steps() as usize;
        let at = self.list.iter().enumerate().filter(|(_, pod)| pod.is_ready);
        let at = at.map(|(at, _)| at).nth(victim.min(ready - 1))?;
        let id = self.list[at].id;
        let startup = self.startup(id, now, ground).max(1);
        self.list[at].is_ready = false;
        self.list[at].ready_at = now + startup;
        Some(id)
    }

    fn count(&mut self) {
        let ready = self.working().count();
        self.ready = u32::try_from(ready).unwrap_or(u32::MAX);
        self.ready_since = self.working().map(|(_, since)| since).max();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::span::Span;

    fn spread() -> Ground {
        let startup = Startup::Spread(Spread { p50: Span::of(45.0), p90: Span::of(90.0) });
        Ground { rate: 1.0, startup, ..Ground::default() }
    }

    #[test]
    fn startups_have_the_quantiles_they_were_given() {
        let pods = Pods::new(0, &spread(), 1, 1, 0);
        let mut starts: Vec<_> = (0..2000).map(|id| pods.startup(id, 0, &spread())).collect();
        starts.sort_unstable();
        assert!((43..=47).contains(&starts[1000]) && (84..=96).contains(&starts[1800]));
    }

    #[test]
    fn the_pending_go_before_the_youngest() {
        let ground = Ground { rate: 1.0, ..Ground::default() };
        let mut pods = Pods::new(3, &ground, 100, 1, 0);
        assert!(!pods.scale(5, 10, &ground));
        assert!(!pods.scale(4, 11, &ground), "a pending one goes");
        assert_eq!((pods.current(), pods.ready()), (4, 3));
        assert!(pods.pass(55, &ground).is_other);
        assert_eq!((pods.ready(), pods.ready_since()), (4, Some(55)));
        assert!(pods.scale(3, 60, &ground));
        assert_eq!(pods.ready_since(), Some(0), "the youngest went");
    }

    #[test]
    fn crashes_come_as_often_as_was_said_and_keep_the_pod() {
        let ground = Ground { rate: 1.0, crashes_per_day: 20.0, ..Ground::default() };
        let mut pods = Pods::new(10, &ground, 86_400, 3, 0);
        let mut crashes = 0;
        for now in 0..86_400 {
            crashes += u32::from(pods.pass(now, &ground).crashed.is_some());
            assert_eq!(pods.current(), 10);
        }
        assert!((160..=240).contains(&crashes), "{crashes}");
    }
}
