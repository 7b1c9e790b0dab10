//! How a daemon is set up, and the one function that runs it to its end.

use std::time::Duration;

use http::header::{HeaderValue, USER_AGENT};
use kube::{Client, client::ClientBuilder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::act;
use crate::answer::{self, Answer, Gate, Pulse, Recollection};
use crate::clock::Clock;
use crate::observe::lineage::{Inbox, Peers};
use crate::report::{self, Report, Requests, Teller};
use crate::tasks::Tasks;
use crate::watch;

use super::lease::{Lease, Seat};
use super::{Daemon, Powers};

/// How long a read of the API server may be silent; watches end sooner by themselves.
const READ_SILENCE: Duration = Duration::from_secs(65);

/// How long the last status and events are waited for at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How a daemon is set up.
#[derive(Debug)]
pub struct Options {
    /// What to watch.
    pub watch: watch::Options,
    /// What keeps room on nodes where nobody serves buffers.
    pub placeholders: act::Placeholders,
    /// Where the Lease is and who asks for it.
    pub seat: Seat,
    /// Where turns are recorded, if anywhere.
    pub record: Option<report::Destination>,
    /// Where probes and Prometheus ask, if anywhere.
    pub probes: Option<TcpListener>,
    /// Where people ask, if anywhere.
    pub page: Option<answer::page::Door>,
    /// Where KEDA asks, as it asks an external scaler, if anywhere.
    pub scaler: Option<answer::scaler::Door>,
    /// Where OpenLineage events are posted, and who else hears some, if anywhere.
    pub lineage: Option<(TcpListener, Peers)>,
}

/// The ways to the API server; every request of theirs is counted.
#[derive(Clone)]
pub struct Clients {
    /// For lists, watches and reads: without retries, since who asks knows better when to ask again.
    pub reader: Client,
    /// For writes, and questions of who may look at the page: without retries, with short time limits.
    pub writer: Client,
    /// The same for the lease alone, on a connection of its own: no burst of writes may stand before it.
    pub lease: Client,
    /// The count.
    pub requests: Requests,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

impl Clients {
    /// Clients for a cluster.
    ///
    /// # Errors
    /// The configuration's certificates, credentials or proxy cannot be used.
    pub fn of(mut config: kube::Config) -> Result<Self, kube::Error> {
        let requests = Requests::default();
        let agent = HeaderValue::from_static(concat!("penstock/", env!("CARGO_PKG_VERSION")));
        config.headers.push((USER_AGENT, agent));
        let writer =
            || Ok::<_, kube::Error>(act::writer(config.clone())?.with_layer(&requests).build());
        let (writer, lease) = (writer()?, writer()?);
        // kube would ask fifteen times with pauses that double, up to minutes: a watch would lie silent long after the server is back.
        config.default_retry = false;
        config.read_timeout = Some(READ_SILENCE);
        let reader = ClientBuilder::try_from(config)?.with_layer(&requests).build();
        Ok(Self { reader, writer, lease, requests })
    }
}

/// Why a daemon ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A task panicked; what it shared may be torn, so the process ends and starts afresh.
    #[error("the task \"{name}\" broke; this is a fault in Penstock, please report it")]
    TaskBroken {
        /// Which.
        name: &'static str,
    },
}

/// Runs the daemon until `goodbye`: then the last writes land, the lease is given away, and the last words are said.
///
/// # Errors
/// A task broke.
pub async fn run(
    clients: Clients,
    options: Options,
    goodbye: CancellationToken,
) -> Result<(), Error> {
    let clock = Clock::start();
    let tasks = Tasks::default();
    let servers = Tasks::default();
    tasks.spawn("look at the clock", clock.compare());
    let instance = options.seat.identity.clone();
    let (lease, licence) = Lease::new(clients.lease.clone(), options.seat, clock);
    // Only the page shows the past.
    let past = options.page.is_some().then(|| report::Past {
        client: clients.reader.clone(),
        namespaces: options.watch.namespaces.clone(),
    });
    let requests = clients.requests.clone();
    let told = report::Options { instance, record: options.record, requests, past };
    let brake = act::Brake::default();
    let writer = brake.behind(clients.writer.clone());
    let (report, teller) = Report::new(writer, licence.clone(), lease.leads(), clock, &told);
    let pulse = Pulse::default();
    let begun = pulse.begun();
    let memory = Recollection::default();
    let answer = Answer::new(&report, pulse.clone(), clock).recalling(memory.clone());
    let stop = CancellationToken::new();
    if let Some(listener) = options.probes {
        servers.spawn("answer probes", answer::serve(listener, answer.probes(), stop.clone()));
    }
    if let Some(door) = options.page {
        let answer = answer.clone().priced_in(door.currency);
        let named = answer.clone().known_as(door.hosts);
        // Names lead to the door that asks for a token, where there is one: nobody need come by them to the one that does not.
        let own = if door.open.is_some() { &answer } else { &named };
        if let Some(listener) = door.listener {
            servers.spawn("answer people", answer::serve(listener, own.page(), stop.clone()));
        }
        if let Some(open) = door.open {
            let gate = Gate::new(clients.writer.clone(), open.audiences);
            let served = answer::serve(open.listener, named.open_page(gate), stop.clone());
            servers.spawn("answer people of the cluster", served);
        }
    }
    if let Some(door) = options.scaler {
        let served = answer::scaler::serve(door, answer, stop.clone());
        servers.spawn("answer KEDA", served);
    }
    let mut inbox = Inbox::default();
    if let Some((listener, peers)) = options.lineage {
        inbox = Inbox::open(peers);
        let router = answer::lineage::router(inbox.clone(), clock);
        servers.spawn("take lineage", answer::serve(listener, router, stop.clone()));
    }
    let placeholders = options.placeholders;
    let leads = lease.leads();
    let powers = Powers { licence, leads, report, pulse, memory, inbox, brake, goodbye };
    let watch = watch::Options { placeholders: Some(placeholders.made_of()), ..options.watch };
    let daemon =
        Daemon::new(clients, watch, clock, tasks.clone(), powers).keeping_room_by(placeholders);
    let hand_over = CancellationToken::new();
    let given_away = hand_over.clone();
    // The lease outlives the loop and its last words: it is given away only when nothing of ours can still be written.
    let live = async move {
        let ended = CancellationToken::new();
        let loop_ended = ended.clone();
        let living = async move {
            let end = daemon.live().await;
            loop_ended.cancel();
            end
        };
        let (end, ()) = tokio::join!(living, tell_until(teller, &ended));
        hand_over.cancel();
        end
    };
    // Who has not seen the cluster leaves it to another to lead.
    let campaign = async move {
        tokio::select! {
            () = begun.cancelled() => lease.run(given_away).await,
            () = given_away.cancelled() => {}
        }
    };
    let (end, ()) = tokio::join!(live, campaign);
    stop.cancel();
    tasks.stop(LAST_WORDS).await;
    servers.stop(LAST_WORDS).await;
    end
}

/// Tells what was done until the loop has ended and everything is out, or patience is.
async fn tell_until(teller: Teller, ended: &CancellationToken) {
    let impatience = async {
        ended.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        () = teller.run() => {}
        () = impatience => {}
    }
}
