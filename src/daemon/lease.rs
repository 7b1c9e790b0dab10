//! Who may act and report: one replica at a time, by a Lease, judged by time that each replica measures itself.
//!
//! The daemon runs [`Lease::run`] in a task and hands the [`Licence`] on to those who write. The holder renews every 2 s; the others
//! look every second and take over when they have seen no change for the whole duration. No clock of another host counts: the
//! times in the object are for people to read. Crates for this judge by the wall clock of others or fence nothing, hence our own.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::act::{Grant, Licence, WRITE_WINDOW};
use crate::clock::Clock;

/// How long a lease lasts after its last renewal was seen.
pub const DURATION: Duration = Duration::from_secs(8);
const RENEW_EVERY: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_secs(1);
const REQUEST_LIMIT: Duration = Duration::from_secs(2);
/// A duration that someone wrote into the object is respected up to this.
const LONGEST: Duration = Duration::from_mins(1);

/// The place of the lease and who asks for it.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who we are: unique to this process, see [`identity`].
    pub identity: String,
}

/// An identity for this process: the host's name for people, and a random part so that no copy of a pod is taken for another.
pub fn identity(host: &str) -> String {
    let random = fastrand::u64(..);
    format!("{host}_{random:016x}")
}

/// Takes part in the election.
#[derive(Debug)]
pub struct Lease {
    api: Api<Object>,
    seat: Seat,
    clock: Clock,
    grant: Grant,
    leads: watch::Sender<bool>,
    /// The object as the API server last gave it to us as ours.
    mine: Option<Object>,
    /// When the renewal was sent that `mine` rests on.
    renewed: Option<Instant>,
    other: Option<Other>,
    is_failing: bool,
}

/// Someone else's lease as we have seen it.
#[derive(Debug)]
struct Other {
    spec: LeaseSpec,
    /// When we last saw it change, or first saw it gone.
    since: Instant,
    is_gone: bool,
}

/// What an attempt came to.
enum Attempt {
    /// It is ours.
    Held,
    /// It is not, look again after this.
    NotHeld(Duration),
}

impl Lease {
    /// A candidate; nothing is sent until [`run`](Self::run).
    pub fn new(client: kube::Client, seat: Seat, clock: Clock) -> (Self, Licence) {
        let (grant, licence) = Licence::new();
        let lease = Self {
            api: Api::namespaced(client, &seat.namespace),
            seat,
            clock,
            grant,
            leads: watch::Sender::new(false),
            mine: None,
            renewed: None,
            other: None,
            is_failing: false,
        };
        (lease, licence)
    }

    /// Whether we lead, as it changes. The licence is what guards a write; this is for those who wait or show it.
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Campaigns, renews, steps down and campaigns again until `stop`; then gives the licence back and the lease away, so that
    /// another replica can take it at once. Cancel `stop` only when the last write has landed.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let wait = self.turn().await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.let_go().await;
    }

    async fn turn(&mut self) -> Duration {
        self.step_down_if_overdue();
        let attempt = match self.mine.take() {
            Some(mine) => self.renew(mine).await,
            None => self.campaign().await,
        };
        match attempt {
            Ok(Attempt::Held) => {
                self.is_failing = false;
                RENEW_EVERY
            }
            Ok(Attempt::NotHeld(wait)) => {
                self.is_failing = false;
                self.step_down("another replica holds the lease, or it is gone");
                wait
            }
            Err(error) => {
                self.complain(&error);
                self.step_down_if_overdue();
                self.until_overdue().map_or(RETRY_AFTER, |left| left.min(RETRY_AFTER))
            }
        }
    }

    async fn renew(&mut self, mut mine: Object) -> Result<Attempt, kube::Error> {
        let before = mine.clone();
        let spec = mine.spec.get_or_insert_default();
        spec.renew_time = Some(MicroTime(self.clock.now()));
        match self.put(&mine).await {
            Ok(held) => {
                self.hold(held);
                Ok(Attempt::Held)
            }
            // Someone changed or deleted it: see who holds it now.
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {
                self.campaign().await
            }
            Err(error) => {
                self.mine = Some(before);
                Err(error)
            }
        }
    }

    async fn campaign(&mut self) -> Result<Attempt, kube::Error> {
        let found = limited(self.api.get_opt(&self.seat.name)).await?;
        match found {
            Some(object) => self.take_if_free(object).await,
            None => self.create_if_free().await,
        }
    }

    async fn take_if_free(&mut self, mut object: Object) -> Result<Attempt, kube::Error> {
        let seen = Instant::now();
        let spec = object.spec.get_or_insert_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let is_ours = holder == self.seat.identity;
        if !is_ours && !holder.is_empty() {
            let other = match self.other.take() {
                Some(other) if other.spec == *spec && !other.is_gone => other,
                _ => Other { spec: spec.clone(), since: seen, is_gone: false },
            };
            let left = duration_of(spec).saturating_sub(other.since.elapsed());
            self.other = Some(other);
            if !left.is_zero() {
                return Ok(Attempt::NotHeld(left.min(RETRY_AFTER)));
            }
        } else {
            // Given away, or ours: whoever we waited for is done.
            self.other = None;
        }
        let now = MicroTime(self.clock.now());
        if !is_ours {
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(self.seat.identity.clone());
        spec.lease_duration_seconds = Some(seconds(DURATION));
        spec.renew_time = Some(now);
        let taken = self.put(&object).await;
        self.settle(taken)
    }

    async fn create_if_free(&mut self) -> Result<Attempt, kube::Error> {
        if let Some(other) = &mut self.other {
            // Deleted under its holder, who learns of it at its next renewal and may write until then.
            if !other.is_gone {
                other.is_gone = true;
                other.since = Instant::now();
            }
            let left = duration_of(&other.spec).saturating_sub(other.since.elapsed());
            if !left.is_zero() {
                return Ok(Attempt::NotHeld(left.min(RETRY_AFTER)));
            }
        }
        let now = MicroTime(self.clock.now());
        let object = Object {
            metadata: ObjectMeta { name: Some(self.seat.name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.seat.identity.clone()),
                lease_duration_seconds: Some(seconds(DURATION)),
                lease_transitions: Some(0),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        };
        let sent = Instant::now();
        let made = limited(self.api.create(&PostParams::default(), &object)).await;
        self.settle(made.map(|made| (made, sent)))
    }

    fn settle(
        &mut self,
        written: Result<(Object, Instant), kube::Error>,
    ) -> Result<Attempt, kube::Error> {
        match written {
            Ok(held) => {
                self.hold(held);
                Ok(Attempt::Held)
            }
            // Another was quicker.
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {
                Ok(Attempt::NotHeld(RETRY_AFTER))
            }
            Err(error) => Err(error),
        }
    }

    async fn put(&self, object: &Object) -> Result<(Object, Instant), kube::Error> {
        let sent = Instant::now();
        let name = &self.seat.name;
        let object = limited(self.api.replace(name, &PostParams::default(), object)).await?;
        Ok((object, sent))
    }

    fn hold(&mut self, (object, sent): (Object, Instant)) {
        self.mine = Some(object);
        self.renewed = Some(sent);
        self.other = None;
        self.grant.renew(sent);
        if !self.leads.send_replace(true) {
            tracing::info!(lease = self.seat.name, identity = self.seat.identity, "leading");
        }
    }

    fn until_overdue(&self) -> Option<Duration> {
        self.renewed.map(|renewed| WRITE_WINDOW.saturating_sub(renewed.elapsed()))
    }

    /// The licence has run out by itself; say so. We may still renew, as long as nobody else took the lease.
    fn step_down_if_overdue(&mut self) {
        if self.until_overdue().is_some_and(|left| left.is_zero()) {
            self.step_down("the lease could not be renewed in time");
        }
    }

    fn step_down(&mut self, why: &str) {
        self.grant.revoke();
        self.renewed = None;
        if self.leads.send_replace(false) {
            tracing::warn!(lease = self.seat.name, why, "no longer leading");
        }
    }

    fn complain(&mut self, error: &kube::Error) {
        let (lease, namespace) = (&self.seat.name, &self.seat.namespace);
        // Once for each outage, not once a second.
        if self.is_failing {
            tracing::debug!(lease, namespace, %error, "the lease is still out of reach");
        } else {
            tracing::warn!(lease, namespace, %error, "cannot read or write the lease");
        }
        self.is_failing = true;
    }

    /// Gives the lease away: an empty holder is taken by whoever looks next.
    async fn let_go(mut self) {
        self.grant.revoke();
        self.leads.send_replace(false);
        let Some(mine) = self.mine.take() else { return };
        if let Err(error) = self.empty(mine).await {
            let lease = &self.seat.name;
            tracing::warn!(lease, %error, "the lease could not be given away; it ends in 8 s");
        }
    }

    async fn empty(&self, mut mine: Object) -> Result<(), kube::Error> {
        for _ in 0..2 {
            let spec = mine.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.seat.identity) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            spec.renew_time = Some(MicroTime(self.clock.now()));
            match self.put(&mine).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    // Edited meanwhile: only what is still ours is ours to give.
                    match limited(self.api.get_opt(&self.seat.name)).await? {
                        Some(found) => mine = found,
                        None => return Ok(()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

async fn limited<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    match tokio::time::timeout(REQUEST_LIMIT, request).await {
        Ok(answer) => answer,
        Err(elapsed) => Err(kube::Error::Service(elapsed.into())),
    }
}

/// How long another's lease counts: never less than ours, however its object was edited, and never for ever.
fn duration_of(spec: &LeaseSpec) -> Duration {
    let written = spec.lease_duration_seconds.unwrap_or(0);
    Duration::from_secs(u64::try_from(written).unwrap_or(0)).clamp(DURATION, LONGEST)
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
