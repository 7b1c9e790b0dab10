//! What pods ask for: of each the requests and limits of its containers, and what that comes to for the pods of a workload, or for all others
//! of a namespace. Asked for by `usage`, by budgets and by quotas.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::sync::Arc;

use jiff::Timestamp;

use crate::crd::meaning::Resource;
use crate::crd::quantity::Quantity;
use crate::decide::{Cpu, Thing};
use crate::watch::nodes::{Nodes, Owed};
use crate::watch::selector::Selector;

use super::{Pod, Pods, Readiness, State, WireRequests, WireResources, WireSpec};

/// What a container requests, and what it is limited to; the pod as a whole has no name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Request {
    container: Box<str>,
    requests: Amounts,
    limits: Amounts,
}

/// In thousandths of a core, and in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Amounts {
    cpu: Option<u64>,
    memory: Option<u64>,
}

/// What pods ask for together. Those that have ended ask for nothing any more, but are there.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::watch) struct Demand {
    pub(in crate::watch) pods: u32,
    /// How many of them stand on nodes of some pool.
    pub(in crate::watch) placed: u32,
    cores: f64,
    bytes: f64,
    cpu_limit: f64,
    memory_limit: f64,
    ended: u32,
}

/// What the pods of a lane ask of nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::watch) struct Asked {
    /// CPUs of those that have one, those that end among them.
    pub(in crate::watch) taken: f64,
    /// And of those that lack one, or are not made yet, as those that are.
    pub(in crate::watch) owed: Owed,
}

impl AddAssign for Demand {
    fn add_assign(&mut self, other: Self) {
        self.pods += other.pods;
        self.placed += other.placed;
        self.cores += other.cores;
        self.bytes += other.bytes;
        self.cpu_limit += other.cpu_limit;
        self.memory_limit += other.memory_limit;
        self.ended += other.ended;
    }
}

impl Demand {
    fn add(&mut self, pod: &Pod) {
        if pod.has_ended() {
            self.ended += 1;
            return;
        }
        self.pods += 1;
        self.cores += sum(&pod.requests, |it| it.requests.cpu) / 1000.0;
        self.bytes += sum(&pod.requests, |it| it.requests.memory);
        self.cpu_limit += sum(&pod.requests, |it| it.limits.cpu) / 1000.0;
        self.memory_limit += sum(&pod.requests, |it| it.limits.memory);
    }

    /// So much of a thing that a `ResourceQuota` counts.
    pub(in crate::watch) fn of(&self, thing: Thing) -> f64 {
        match thing {
            Thing::Cpu => self.cores,
            Thing::Memory => self.bytes,
            Thing::CpuLimit => self.cpu_limit,
            Thing::MemoryLimit => self.memory_limit,
            Thing::Pods => f64::from(self.pods),
            Thing::PodObjects => f64::from(self.pods) + f64::from(self.ended),
        }
    }
}

impl Pods {
    /// What the pods that a selector matches ask for.
    pub(in crate::watch) fn demand(
        &self,
        namespace: &str,
        selector: &Selector,
        nodes: &Nodes,
        now: Timestamp,
    ) -> Demand {
        let mut all = Demand::default();
        for (_, pod) in self.matching(namespace, selector) {
            all.add(pod);
            let node = pod.node.as_ref().filter(|_| !pod.has_ended());
            let ground = node.and_then(|node| nodes.ground(node, now));
            all.placed += u32::from(ground.is_some_and(|ground| ground.pool.is_some()));
        }
        all
    }

    /// What the pods request which a selector matches and of which there shall be so many.
    pub(in crate::watch) fn asked(
        &self,
        namespace: &str,
        selector: &Selector,
        desired: u32,
    ) -> Asked {
        let (mut stay, mut placed, mut taken) = (Demand::default(), 0, Demand::default());
        for (_, pod) in self.matching(namespace, selector) {
            let stays = !pod.has_ended() && pod.state != State::Goes;
            if stays {
                stay.add(pod);
            }
            if pod.node.is_some() {
                placed += u32::from(stays);
                taken.add(pod);
            }
        }
        let mut owed = Owed::default();
        if stay.pods != 0 {
            let (pods, lacking) = (f64::from(stay.pods), desired.max(stay.pods) - placed);
            owed.add(f64::from(lacking), (stay.cores / pods, stay.bytes / pods));
        }
        Asked { taken: taken.cores, owed }
    }

    /// What the pods of a namespace ask for that none of these selectors matches, those apart that only keep room under these names: they
    /// give way.
    pub(in crate::watch) fn beside(
        &self,
        namespace: &str,
        selectors: &[&Selector],
        rooms: &BTreeSet<Arc<str>>,
    ) -> Demand {
        let mut all = Demand::default();
        // Pods of one workload have the same labels, and share them.
        let mut known: BTreeMap<&str, bool> = BTreeMap::new();
        for pod in self.by_namespace.get(namespace).into_iter().flat_map(BTreeMap::values) {
            let is_one = *known
                .entry(&pod.labels)
                .or_insert_with(|| selectors.iter().any(|selector| selector.matches(&pod.labels)));
            let gives_way = || pod.reserve().is_some_and(|name| rooms.contains(name));
            if !is_one && !gives_way() {
                all.add(pod);
            }
        }
        all
    }
}

impl Pod {
    /// Thousandths of a core that it requests and is limited to; 0 where it does not say. A limit holds a pod only where all of its
    /// containers have one.
    pub(super) fn cpu(&self) -> (f64, f64) {
        let limit = match self.requests.split_first() {
            Some((pod, _)) if pod.limits.cpu.is_some() => pod.limits.cpu,
            Some((_, containers)) => containers.iter().map(|it| it.limits.cpu).sum(),
            None => None,
        };
        (sum(&self.requests, |it| it.requests.cpu), limit.map_or(0.0, float))
    }
}

impl Readiness {
    /// What a Ready pod has of CPU, in the mean.
    pub(in crate::watch) fn cpu(&self) -> Option<Cpu> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float to int cast saturates"
        )]
        let mean = |all: f64| (all / f64::from(self.ready)).round() as u32;
        (self.ready != 0).then(|| Cpu { request: mean(self.requests), limit: mean(self.limits) })
    }
}

impl WireSpec {
    /// Of the pod as a whole first, then of its containers and sidecars.
    pub(super) fn requests(&self) -> Vec<Request> {
        let of = |name: &str, resources: &WireResources| Request {
            container: name.into(),
            requests: Amounts::read(&resources.requests),
            limits: Amounts::read(&resources.limits),
        };
        let sidecars =
            self.init_containers.iter().filter(|it| it.restart_policy.as_deref() == Some("Always"));
        let containers = self.containers.iter().chain(sidecars);
        let each = containers.map(|container| of(&container.name, &container.resources));
        std::iter::once(of("", &self.resources)).chain(each).collect()
    }
}

impl Amounts {
    fn read(written: &WireRequests) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "quantities are not negative, and casts saturate"
        )]
        let whole = |quantity: Option<&Quantity>, factor: f64| {
            quantity.and_then(Quantity::read).map(|value| (value * factor).round() as u64)
        };
        Self {
            cpu: whole(written.cpu.as_ref(), 1000.0),
            memory: whole(written.memory.as_ref(), 1.0),
        }
    }
}

/// What a pod requests of a resource, in cores or bytes: of one container, of the pod as a whole where that is written, else of all
/// containers; `None` when one of these requests none.
pub(super) fn requested(
    requests: &[Request],
    resource: Resource,
    container: Option<&str>,
) -> Option<f64> {
    let of = |request: &Request| match resource {
        Resource::Cpu => request.requests.cpu.map(|thousandths| float(thousandths) / 1000.0),
        Resource::Memory => request.requests.memory.map(float),
    };
    let (pod, containers) = requests.split_first()?;
    match container {
        Some(name) => of(containers.iter().find(|request| *request.container == *name)?),
        None => of(pod).or_else(|| containers.iter().map(of).sum()),
    }
}

/// Of the pod as a whole where that is written, else of those of its containers that say.
fn sum(requests: &[Request], of: fn(&Request) -> Option<u64>) -> f64 {
    let Some((pod, containers)) = requests.split_first() else { return 0.0 };
    float(of(pod).unwrap_or_else(|| containers.iter().filter_map(of).sum()))
}

#[expect(clippy::cast_precision_loss, reason = "nobody requests 2^53 bytes")]
fn float(whole: u64) -> f64 {
    whole as f64
}
