//! Follows each CronJob and the Jobs made from it by two watches, for as long as the process lives; and lists the Jobs of one CronJob when
//! nobody knows what became of a write. Started when the first pipeline names a CronJob.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::{ApiResource, ListParams};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::Notify;
use tracing::warn;

use super::made::version_of;
use super::wire::{WireCronJob, WireJob};
use super::{LABEL, group_of, name_of, target_id};
use crate::clock::Clock;
use crate::decide::{TargetId, Unusable};
use crate::watch::pauses::Pauses;
use crate::watch::stores::{Name, Shelf, chain, config, is_refused};
use crate::watch::targets::{KindId, Unlisted, in_place};
use crate::watch::{Extent, Scope};

/// How long one list may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one of the watches says.
enum News {
    CronJob(Result<Event<WireCronJob>, watcher::Error>),
    Job(Result<Event<WireJob>, watcher::Error>),
}

/// Keeps each CronJob and its Jobs for as long as the process lives.
pub(in crate::watch) async fn follow(
    client: Client,
    clock: Clock,
    kind: KindId,
    scope: Scope,
    shelf: Arc<Shelf>,
    stale: Arc<Notify>,
) {
    shelf.open().jobs.listed = Some(clock.now());
    let (cron_jobs, jobs) = resources();
    let mut streams = Vec::new();
    for api in scope.apis::<WireCronJob>(&client, &cron_jobs) {
        streams.push(watcher(api, config()).backoff(Pauses::new()).map(News::CronJob).boxed());
    }
    for api in scope.apis::<WireJob>(&client, &jobs) {
        streams.push(
            watcher(api, config().labels(LABEL)).backoff(Pauses::new()).map(News::Job).boxed(),
        );
    }
    let mut follower = Follower {
        places: scope.extents(),
        unlisted: (0..streams.len()).map(|at| (at, None)).collect(),
        clock,
        kind,
        resource: cron_jobs,
        shelf,
        stale,
        listed: BTreeMap::new(),
        known: BTreeMap::new(),
    };
    let mut news = all(streams);
    while let Some((at, news)) = news.next().await {
        match news {
            News::CronJob(event) => follower.cron_job(at, event),
            News::Job(event) => follower.job(at, event),
        }
        follower.shelf.change(|_| {});
    }
}

fn resources() -> (ApiResource, ApiResource) {
    (ApiResource::erase::<CronJob>(&()), ApiResource::erase::<Job>(&()))
}

fn all<S: Stream<Item = News> + Unpin>(streams: Vec<S>) -> impl Stream<Item = (usize, News)> {
    let numbered = streams.into_iter().enumerate();
    stream::select_all(numbered.map(|(at, each)| each.map(move |news| (at, news))))
}

/// An object, and for a Job the CronJob it was made from.
type Known = (Name, Option<Name>);

struct Follower {
    clock: Clock,
    kind: KindId,
    resource: ApiResource,
    shelf: Arc<Shelf>,
    stale: Arc<Notify>,
    /// Where templates are watched, and in the same order Jobs.
    places: Vec<Extent>,
    /// Watches that have not had their first list, and why if they may not.
    unlisted: BTreeMap<usize, Option<Unusable>>,
    listed: BTreeMap<usize, BTreeSet<Known>>,
    known: BTreeMap<usize, BTreeSet<Known>>,
}

impl Follower {
    fn cron_job(&mut self, at: usize, event: Result<Event<WireCronJob>, watcher::Error>) {
        match event {
            Ok(Event::Init) => self.begins(at),
            Ok(Event::InitApply(object)) => {
                let name = name_in(&object);
                self.shelf.open().put_cron_job(&name, &object);
                self.listed.entry(at).or_default().insert((name, None));
            }
            Ok(Event::Apply(object)) => {
                let name = name_in(&object);
                self.shelf.open().put_cron_job(&name, &object);
                self.known.entry(at).or_default().insert((name, None));
            }
            Ok(Event::Delete(object)) => {
                let name = name_in(&object);
                self.shelf.open().drop_cron_job(&name);
                self.known.entry(at).or_default().remove(&(name, None));
            }
            Ok(Event::InitDone) => {
                for (lost, _) in self.lost(at) {
                    self.shelf.open().drop_cron_job(&lost);
                }
                self.is_listed(at);
            }
            Err(error) => self.failed(at, "list cronjobs.batch", &error),
        }
    }

    fn job(&mut self, at: usize, event: Result<Event<WireJob>, watcher::Error>) {
        let now = self.clock.now();
        match event {
            Ok(Event::Init) => self.begins(at),
            Ok(Event::InitApply(object)) => {
                let Some(known) = known_as(&object) else { return };
                let is_first = self.unlisted.contains_key(&at);
                self.shelf.open().put_job(&known.0, &object, now, is_first);
                self.listed.entry(at).or_default().insert(known);
            }
            Ok(Event::Apply(object)) => {
                let Some(known) = known_as(&object) else { return };
                self.shelf.open().put_job(&known.0, &object, now, false);
                self.known.entry(at).or_default().insert(known);
            }
            Ok(Event::Delete(object)) => {
                let Some(known) = known_as(&object) else { return };
                self.gone(&known, version_of(&object), now);
                self.known.entry(at).or_default().remove(&known);
            }
            Ok(Event::InitDone) => {
                for lost in self.lost(at) {
                    self.gone(&lost, 0, now);
                }
                if !self.unlisted.contains_key(&at) {
                    self.read_again();
                }
                self.is_listed(at);
            }
            Err(error) => self.failed(at, "list jobs.batch", &error),
        }
    }

    fn gone(&self, (name, group): &Known, version: u64, now: Timestamp) {
        if let Some(group) = group {
            self.shelf.open().drop_job(group, &name.name, version, now);
        }
    }

    /// A list begins. What one that broke off has brought is there as well, and may be gone by this one.
    fn begins(&mut self, at: usize) {
        if let Some(half) = self.listed.remove(&at) {
            self.known.entry(at).or_default().extend(half);
        }
    }

    /// What the list that just ended does not show any more.
    fn lost(&mut self, at: usize) -> Vec<Known> {
        let now = self.listed.remove(&at).unwrap_or_default();
        let before = self.known.insert(at, now.clone()).unwrap_or_default();
        before.difference(&now).cloned().collect()
    }

    /// A list came in place of a watch that was cut: it shows no versions of what is gone, so what was written last is read on purpose.
    fn read_again(&self) {
        let mut stores = self.shelf.open();
        let named: Vec<_> = stores.jobs.made.keys().map(target_id).collect();
        for target in named {
            if stores.targets.owners(&target).is_some() {
                stores.targets.reread(&target);
            }
        }
        drop(stores);
        self.stale.notify_one();
    }

    fn is_listed(&mut self, at: usize) {
        if self.unlisted.remove(&at).is_some() {
            self.note();
        }
    }

    fn failed(&mut self, at: usize, what: &str, error: &watcher::Error) {
        warn!(what, error = %chain(error), "watch failed; it is tried again");
        let place = self.place(at);
        if let Some(why) = self.unlisted.get_mut(&at).filter(|_| is_refused(error)) {
            *why = Some(Unusable::Forbidden(in_place(what, &place)));
            self.note();
        }
    }

    fn place(&self, at: usize) -> Extent {
        self.places.get(at % self.places.len()).cloned().flatten()
    }

    /// Where both are listed, and where one may not be.
    fn note(&self) {
        let mut unlisted = Unlisted::new();
        for (at, why) in &self.unlisted {
            let noted = unlisted.entry(self.place(*at)).or_default();
            *noted = noted.take().or_else(|| why.clone());
        }
        self.shelf.open().put_kind(&self.kind, &self.resource, unlisted);
    }
}

/// Lists the Jobs made from one CronJob, after a write of which nobody knows what became. False: it failed, and is to be tried again.
pub(in crate::watch) async fn read(
    client: &Client,
    clock: Clock,
    shelf: &Shelf,
    target: &TargetId,
) -> bool {
    let asked = clock.now();
    let (_, resource) = resources();
    let api: Api<WireJob> = Api::namespaced_with(client.clone(), &target.namespace, &resource);
    let wanted = ListParams::default().labels(&format!("{LABEL}={}", target.name));
    let list = match tokio::time::timeout(PATIENCE, api.list(&wanted)).await {
        Ok(Ok(list)) => list,
        Ok(Err(error)) => {
            warn!(workload = %target, error = %chain(&error), "listing its Jobs failed; it is tried again");
            return false;
        }
        Err(_) => return false,
    };
    let version = list.metadata.resource_version.as_deref().and_then(|it| it.parse().ok());
    let version: u64 = version.unwrap_or(0);
    let now = clock.now();
    let group = name_of(target);
    let mut stores = shelf.open();
    let seen = stores.jobs.made.get(&group).map_or(0, |made| made.version);
    // A list older than what the watch has told since would bring back what is gone.
    if seen <= version {
        let mut names = Vec::new();
        for job in &list.items {
            let name = name_in(job);
            stores.put_job(&name, job, now, false);
            names.push(name.name);
        }
        let made = stores.jobs.made.entry(group.clone()).or_default();
        for lost in made.others(&names) {
            made.drop(&lost, now);
        }
        made.version = made.version.max(version);
    }
    stores.jobs.made.entry(group).or_default().read_at = Some(asked);
    stores.touch_target(target);
    drop(stores);
    shelf.ring();
    true
}

fn known_as(object: &WireJob) -> Option<Known> {
    let name = name_in(object);
    let group = group_of(&name.namespace, object)?;
    Some((name, Some(group)))
}

fn name_in<K: Resource>(object: &K) -> Name {
    Name {
        namespace: object.namespace().unwrap_or_default().into(),
        name: object.name_any().into(),
    }
}
