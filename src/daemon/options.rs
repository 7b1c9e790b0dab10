//! How a daemon is set up, and the one function that runs it to its end.

use std::time::Duration;

use kube::Client;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::act::{self, Act};
use crate::clock::Clock;
use crate::observe::Observe;
use crate::tasks::Tasks;
use crate::watch::{self, Watch};

use super::Daemon;
use super::lease::{Lease, Seat};
use super::wake::Agenda;

/// How a daemon is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to watch.
    pub watch: watch::Options,
    /// Where the Lease is and who asks for it.
    pub seat: Seat,
}

/// The ways to the API server.
#[derive(Clone)]
pub struct Clients {
    /// For lists, watches and reads.
    pub reader: Client,
    /// For writes and the lease: without retries, with short time limits.
    pub writer: Client,
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
        let writer = act::writer(config.clone())?.build();
        Ok(Self { reader: Client::try_from(config)?, writer })
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
    let (lease, licence) = Lease::new(clients.writer.clone(), options.seat, clock);
    let daemon = Daemon {
        clock,
        watch: Watch::start(clients.reader, clock, options.watch, tasks.clone()),
        observe: Observe::start(clock, wake),
        readings,
        act: Act::new(clients.writer, clock, landed),
        outcomes,
        licence,
        leads: lease.leads(),
        tasks: tasks.clone(),
        memory: crate::decide::Memory::default(),
        agenda: Agenda::default(),
        goodbye,
    };
    let hand_over = CancellationToken::new();
    // The lease outlives the loop: it is given away only when the last write has landed.
    let stop = hand_over.clone();
    let (end, ()) = tokio::join!(
        async move {
            let end = daemon.live().await;
            hand_over.cancel();
            end
        },
        lease.run(stop),
    );
    tasks.stop(Duration::from_secs(2)).await;
    end
}
