//! How a daemon is set up, and the one function that runs it to its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kube::Client;
use kube::client::ClientBuilder;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::act::{self, Act};
use crate::answer::{self, Answer, Pulse};
use crate::clock::Clock;
use crate::observe::Observe;
use crate::report::{self, Report, Requests};
use crate::tasks::Tasks;
use crate::watch::{self, Watch};

use super::Daemon;
use super::lease::{Lease, Seat};
use super::wake::Agenda;

/// How long the tellers may take for what is still to be told when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How a daemon is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to watch.
    pub watch: watch::Options,
    /// Where the Lease is and who asks for it.
    pub seat: Seat,
    /// For probes and Prometheus; `None` for nobody.
    pub listen: Option<SocketAddr>,
    /// For people; `None` for nobody.
    pub page_listen: Option<SocketAddr>,
    /// Where turns are recorded, if anywhere.
    pub record: Option<PathBuf>,
}

/// The ways to the API server.
#[derive(Clone)]
pub struct Clients {
    /// For lists, watches and reads.
    pub reader: Client,
    /// For writes and the lease: without retries, with short time limits.
    pub writer: Client,
    /// What the two have asked so far.
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
    pub fn of(config: kube::Config) -> Result<Self, kube::Error> {
        let requests = Requests::default();
        let writer = act::writer(config.clone())?.with_layer(&requests).build();
        let reader = ClientBuilder::try_from(config)?.with_layer(&requests).build();
        Ok(Self { reader, writer, requests })
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
    /// Nobody could ask.
    #[error(transparent)]
    Answer(#[from] answer::Error),
}

/// Runs the daemon until `goodbye`, then hands the lease over.
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
    let (wake, readings) = mpsc::unbounded_channel();
    let (landed, outcomes) = mpsc::unbounded_channel();
    let instance = options.seat.identity.clone();
    let (lease, licence) = Lease::new(clients.writer.clone(), options.seat, clock);
    let telling = report::Options { instance, record: options.record, requests: clients.requests };
    let (report, teller) =
        Report::new(clients.writer.clone(), licence.clone(), lease.leads(), clock, &telling);
    let pulse = Pulse::default();
    let answer = Answer::new(&report, pulse.clone(), clock);
    for (address, router) in
        [(options.listen, answer.probes()), (options.page_listen, answer.page())]
    {
        if let Some(address) = address {
            let listener = answer::listen(address).await?;
            tasks.spawn("answer", answer::serve(listener, router, CancellationToken::new()));
        }
    }
    let daemon = Daemon {
        clock,
        watch: Watch::start(clients.reader, clock, options.watch, tasks.clone()),
        observe: Observe::start(clock, wake),
        readings,
        act: Act::new(clients.writer, clock, landed),
        outcomes,
        licence,
        leads: lease.leads(),
        report,
        pulse,
        tasks: tasks.clone(),
        memory: crate::decide::Memory::default(),
        agenda: Agenda::default(),
        goodbye,
    };
    let hand_over = CancellationToken::new();
    // The lease outlives the loop: it is given away only when the last write has landed.
    let stop = hand_over.clone();
    let silence = hand_over.clone();
    let told = CancellationToken::new();
    let has_told = told.clone();
    let (end, (), ()) = tokio::join!(
        async move {
            let end = daemon.live().await;
            // The loop is gone and with it the last ear: the tellers finish, for as long as the lease is theirs to use.
            drop(tokio::time::timeout(LAST_WORDS, told.cancelled()).await);
            hand_over.cancel();
            end
        },
        async {
            tokio::select! {
                () = teller.run() => {}
                () = silence.cancelled() => {}
            }
            has_told.cancel();
        },
        lease.run(stop),
    );
    tasks.stop(Duration::from_secs(2)).await;
    end
}
