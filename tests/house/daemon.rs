//! The lease, on virtual time: who leads, who may write, and that it is never two.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use penstock::act::Licence;
use penstock::clock::Clock;
use penstock::daemon::lease::{Lease, Seat};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use crate::script::{Answer, Asked, client, failure};

/// What a replica's way to the server does to its requests.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Link {
    Up,
    /// Never delivered, never answered.
    Hangs,
    /// Delivered and carried out, the answer is lost.
    LosesAnswers,
    /// Refused with 500, not carried out.
    Fails,
    /// Carried out after this long.
    Slow(Duration),
}

/// One Lease object with the rules of the real server: optimistic locking, create only once.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<(Option<Value>, u64)>>);

impl Server {
    fn answer(&self, asked: &Asked) -> Answer {
        let mut state = self.0.lock().unwrap();
        let (object, version) = &mut *state;
        let written = match (asked.method.as_str(), &object) {
            ("GET", Some(object)) => return (200, object.clone()),
            ("GET" | "PUT", None) => return failure(404, "NotFound", "not found", &json!([])),
            ("POST", Some(_)) => return failure(409, "AlreadyExists", "exists", &json!([])),
            ("POST", None) => asked.body.clone(),
            ("PUT", Some(object)) => {
                let current = &object["metadata"]["resourceVersion"];
                if asked.body["metadata"]["resourceVersion"] != *current {
                    let message = "the object has been modified";
                    return failure(409, "Conflict", message, &json!([]));
                }
                asked.body.clone()
            }
            other => panic!("unexpected {other:?}"),
        };
        *version += 1;
        let mut written = written;
        written["metadata"]["resourceVersion"] = json!(version.to_string());
        *object = Some(written.clone());
        (200, written)
    }

    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut state = self.0.lock().unwrap();
        state.1 += 1;
        let version = state.1.to_string();
        if let Some(object) = &mut state.0 {
            change(object);
            object["metadata"]["resourceVersion"] = json!(version);
        }
    }

    fn delete(&self) {
        self.0.lock().unwrap().0 = None;
    }

    fn object(&self) -> Option<Value> {
        self.0.lock().unwrap().0.clone()
    }

    fn holder(&self) -> String {
        let object = self.object().unwrap_or_default();
        object["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    }
}

/// A process that takes part.
struct Replica {
    licence: Licence,
    leads: watch::Receiver<bool>,
    link: Arc<Mutex<Link>>,
    ice: Ice,
    stop: CancellationToken,
    task: AbortHandle,
}

impl Replica {
    fn start(name: &str, server: &Server, tasks: &mut JoinSet<()>) -> Self {
        let link = Arc::new(Mutex::new(Link::Up));
        let (far, way) = (server.clone(), Arc::clone(&link));
        let (client, _) = client(move |asked| {
            let (server, link) = (far.clone(), *way.lock().unwrap());
            async move {
                match link {
                    Link::Up => Ok(server.answer(&asked)),
                    Link::Hangs => std::future::pending().await,
                    Link::LosesAnswers => {
                        server.answer(&asked);
                        Err(BoxError::from("connection reset"))
                    }
                    Link::Fails => Ok(failure(500, "InternalError", "etcd is away", &json!([]))),
                    Link::Slow(delay) => {
                        sleep(delay).await;
                        Ok(server.answer(&asked))
                    }
                }
            }
        });
        let seat =
            Seat { namespace: "penstock".into(), name: "penstock".into(), identity: name.into() };
        let (lease, licence) = Lease::new(client, seat, Clock::start());
        let leads = lease.leads();
        let stop = CancellationToken::new();
        let ice = Ice::default();
        let run = Box::pin(lease.run(stop.clone()));
        let task = tasks.spawn(Frozen { inner: run, ice: ice.clone() });
        Self { licence, leads, link, ice, stop, task }
    }

    fn may_write(&self) -> bool {
        self.licence.check().is_ok()
    }

    fn set(&self, link: Link) {
        *self.link.lock().unwrap() = link;
    }
}

/// SIGSTOP and SIGCONT.
#[derive(Clone, Default)]
struct Ice(Arc<Mutex<(bool, Option<Waker>)>>);

impl Ice {
    fn freeze(&self) {
        self.0.lock().unwrap().0 = true;
    }

    fn thaw(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = false;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

/// A process that can be stopped: while frozen its code does not run, its clock does.
struct Frozen<F> {
    inner: Pin<Box<F>>,
    ice: Ice,
}

impl<F: Future<Output = ()>> Future for Frozen<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        {
            let mut state = self.ice.0.lock().unwrap();
            if state.0 {
                state.1 = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        self.inner.as_mut().poll(context)
    }
}

async fn wait_until(limit: Duration, what: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < limit, "not within {limit:?}");
        sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A leader and a standby that has seen it.
async fn pair(server: &Server, tasks: &mut JoinSet<()>) -> (Replica, Replica) {
    let first = Replica::start("first", server, tasks);
    wait_until(seconds(0.5), || first.may_write()).await;
    let second = Replica::start("second", server, tasks);
    sleep(seconds(5.0)).await;
    assert!(first.may_write() && !second.may_write());
    (first, second)
}

#[tokio::test(start_paused = true)]
async fn the_first_candidate_leads_at_once_and_a_second_waits() {
    let (server, mut tasks) = (Server::default(), JoinSet::new());
    let (first, second) = pair(&server, &mut tasks).await;
    sleep(seconds(3_600.0)).await;
    assert!(first.may_write() && *first.leads.borrow());
    assert!(!second.may_write() && !*second.leads.borrow());
    assert_eq!(server.object().unwrap()["spec"]["leaseTransitions"], json!(0));
}

#[tokio::test(start_paused = true)]
async fn of_two_that_start_together_one_leads() {
    let (server, mut tasks) = (Server::default(), JoinSet::new());
    let replicas = ["a", "b"].map(|name| Replica::start(name, &server, &mut tasks));
    for _ in 0..400 {
        sleep(Duration::from_millis(50)).await;
        assert_eq!(replicas.iter().filter(|replica| replica.may_write()).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_leader_is_followed_within_ten_seconds_and_never_before_its_lease_ended() {
    for delay in [0.0, 0.4, 0.9, 1.3, 1.99] {
        let (server, mut tasks) = (Server::default(), JoinSet::new());
        let (first, second) = pair(&server, &mut tasks).await;
        sleep(seconds(delay)).await;
        first.task.abort();
        let took = wait_until(seconds(10.0), || second.may_write()).await;
        assert!(took >= seconds(5.5), "{took:?}: it may have renewed up to 2 s before");
        assert!(!first.may_write());
        assert_eq!(server.object().unwrap()["spec"]["leaseTransitions"], json!(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_hands_over_within_two_seconds() {
    let (server, mut tasks) = (Server::default(), JoinSet::new());
    let (first, second) = pair(&server, &mut tasks).await;
    first.stop.cancel();
    let took = wait_until(seconds(2.0), || second.may_write()).await;
    assert!(!first.may_write() && !*first.leads.borrow(), "after {took:?}");
    assert_eq!(server.holder(), "second");
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_leaves_gives_nothing_away() {
    let (server, mut tasks) = (Server::default(), JoinSet::new());
    let (first, second) = pair(&server, &mut tasks).await;
    second.stop.cancel();
    sleep(seconds(20.0)).await;
    assert!(first.may_write());
    assert_eq!(server.holder(), "first");
}

#[tokio::test(start_paused = true)]
async fn a_leader_cut_off_stops_writing_five_seconds_after_its_last_renewal_before_another_starts()
{
    for link in [Link::Hangs, Link::Fails] {
        let (server, mut tasks) = (Server::default(), JoinSet::new());
        let (first, second) = pair(&server, &mut tasks).await;
        first.set(link);
        let silent = wait_until(seconds(5.1), || !first.may_write()).await;
        assert!(silent >= seconds(2.9), "{silent:?}");
        assert!(!second.may_write());
        wait_until(seconds(0.1), || !*first.leads.borrow()).await;
        wait_until(seconds(6.0), || second.may_write()).await;
        first.set(Link::Up);
        sleep(seconds(30.0)).await;
        assert!(!first.may_write() && second.may_write(), "the old leader stays behind");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_changes_no_leader() {
    let (server, mut tasks) = (Server::default(), JoinSet::new());
    let (first, second) = pair(&server, &mut tasks).await;
    for link in [Link::Hangs, Link::Fails, Link::LosesAnswers, Link::Slow(seconds(1.5))] {
        first.set(link);
        second.set(link);
        sleep(seconds(3.0)).await;
        first.set(Link::Up);
        second.set(Link::Up);
        sleep(seconds(3.0)).await;
        assert!(first.may_write() && !second.may_write(), "{link:?}");
    }
    assert_eq!(server.object().unwrap()["spec"]["leaseTransitions"], json!(0));
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_for_all_one_leads_again() {
    let (server, mut tasks) = (Server::default(), JoinSet::new());
    let (first, second) = pair(&server, &mut tasks).await;
    first.set(Link::Hangs);
    second.set(Link::Hangs);
    sleep(seconds(600.0)).await;
    assert!(!first.may_write() && !second.may_write());
    first.set(Link::Up);
    second.set(Link::Up);
    wait_until(seconds(10.0), || first.may_write() || second.may_write()).await;
    sleep(seconds(10.0)).await;
    assert!(first.may_write() != second.may_write());
}

#[tokio::test(start_paused = true)]
async fn a_frozen_leader_wakes_without_a_licence_and_stands_behind_its_successor() {
    let (server, mut tasks) = (Server::default(), JoinSet::new());
    let (first, second) = pair(&server, &mut tasks).await;
    first.ice.freeze();
    sleep(seconds(30.0)).await;
    assert!(second.may_write());
    assert!(*first.leads.borrow(), "its code has not run");
    assert!(!first.may_write(), "but its licence is too old");
    first.ice.thaw();
    for _ in 0..2_000 {
        sleep(Duration::from_millis(10)).await;
        assert!(!first.may_write() && second.may_write());
    }
    assert!(!*first.leads.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_comes_back_in_the_same_hands_and_lets_no_second_in() {
    let (server, mut tasks) = (Server::default(), JoinSet::new());
    let (first, second) = pair(&server, &mut tasks).await;
    for _ in 0..20 {
        server.delete();
        for _ in 0..30 {
            sleep(Duration::from_millis(77)).await;
            assert!(first.may_write() && !second.may_write());
        }
        assert_eq!(server.holder(), "first");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_deleted_under_a_dead_leader_is_taken_after_eight_seconds() {
    let (server, mut tasks) = (Server::default(), JoinSet::new());
    let (first, second) = pair(&server, &mut tasks).await;
    first.set(Link::Hangs);
    server.delete();
    let took = wait_until(seconds(10.0), || second.may_write()).await;
    assert!(took >= seconds(8.0), "{took:?}: the holder may write until it notices");
}

#[tokio::test(start_paused = true)]
async fn an_edit_by_hand_that_leaves_the_holder_changes_nothing() {
    let (server, mut tasks) = (Server::default(), JoinSet::new());
    let (first, second) = pair(&server, &mut tasks).await;
    server.edit(|lease| lease["metadata"]["annotations"] = json!({"note": "hands off"}));
    for _ in 0..100 {
        sleep(Duration::from_millis(50)).await;
        assert!(first.may_write() && !second.may_write());
    }
    let lease = server.object().unwrap();
    assert_eq!(lease["metadata"]["annotations"]["note"], json!("hands off"));
}

#[tokio::test(start_paused = true)]
async fn a_holder_written_by_hand_is_obeyed_for_as_long_as_a_lease_lasts() {
    let (server, mut tasks) = (Server::default(), JoinSet::new());
    let (first, second) = pair(&server, &mut tasks).await;
    server.edit(|lease| lease["spec"]["holderIdentity"] = json!("somebody"));
    wait_until(seconds(2.5), || !first.may_write()).await;
    let took = wait_until(seconds(12.0), || first.may_write() || second.may_write()).await;
    assert!(took >= seconds(5.0), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn times_and_durations_in_the_object_mislead_nobody() {
    for (renew_time, duration, longest) in [
        ("2099-01-01T00:00:00.000000Z", json!(8), 10.0),
        ("1999-01-01T00:00:00.000000Z", json!(-5), 10.0),
        ("1999-01-01T00:00:00.000000Z", json!(2_000_000_000), 62.0),
    ] {
        let (server, mut tasks) = (Server::default(), JoinSet::new());
        let (first, second) = pair(&server, &mut tasks).await;
        first.task.abort();
        server.edit(|lease| {
            lease["spec"]["renewTime"] = json!(renew_time);
            lease["spec"]["leaseDurationSeconds"] = duration.clone();
        });
        let took = wait_until(seconds(longest), || second.may_write()).await;
        assert!(took >= seconds(8.0), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_to_the_network_two_never_may_write() {
    let mut handovers = 0;
    for seed in 0..40 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let (server, mut tasks) = (Server::default(), JoinSet::new());
        let names = ["a", "b", "c"];
        let mut replicas = names.map(|name| Replica::start(name, &server, &mut tasks));
        let mut leader = None;
        for _ in 0..6_000 {
            sleep(Duration::from_millis(50)).await;
            let index = dice.usize(..3);
            match dice.u32(..400) {
                0..8 => replicas[index].set(Link::Up),
                8 => replicas[index].set(Link::Hangs),
                9 => replicas[index].set(Link::LosesAnswers),
                10 => replicas[index].set(Link::Fails),
                11 => replicas[index].set(Link::Slow(Duration::from_millis(dice.u64(..4_000)))),
                12 => {
                    replicas[index].task.abort();
                    let name = format!("{}-{}", names[index], dice.u32(..));
                    replicas[index] = Replica::start(&name, &server, &mut tasks);
                }
                13 => {
                    server.edit(|lease| lease["metadata"]["labels"] = json!({"seed": "edited"}));
                }
                _ => {}
            }
            let may: Vec<_> = (0..3).filter(|&i| replicas[i].may_write()).collect();
            assert!(may.len() <= 1, "seed {seed}: {may:?}");
            if let [one] = may[..] {
                handovers += u32::from(leader.is_some_and(|before| before != one));
                leader = Some(one);
            }
        }
        for replica in &replicas {
            replica.set(Link::Up);
        }
        wait_until(seconds(20.0), || replicas.iter().any(Replica::may_write)).await;
    }
    assert!(handovers > 40, "the faults must bite: {handovers}");
}
