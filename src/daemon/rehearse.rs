//! The daemon's first look and nothing more: it watches, asks every source, decides, and writes nothing. Called by `penstock check`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch as channel;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::act::{Brake, Licence};
use crate::answer::{Pulse, Recollection};
use crate::clock::Clock;
use crate::decide::Target;
use crate::observe::lineage::Inbox;
use crate::report::{self, Picture, Report, Standing};
use crate::tasks::Tasks;
use crate::watch;

use super::{Clients, Daemon, Powers};

/// How long tasks are waited for at the end.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a first look found.
#[derive(Debug)]
pub struct Rehearsal {
    /// The pipelines as they were decided last, by namespace and name.
    pub pictures: Vec<Arc<Picture>>,
    /// Stores that never had their first list; with any, nothing was decided.
    pub unread: Vec<String>,
}

/// Looks until every source of every pipeline has answered or failed and every target was looked up, at most for `patience`.
pub async fn rehearse(clients: Clients, watch: watch::Options, patience: Duration) -> Rehearsal {
    let clock = Clock::start();
    let tasks = Tasks::default();
    // Whoever could grant it is gone: nothing can be written.
    let (_, licence) = Licence::new();
    let (_, leads) = channel::channel(false);
    let told = report::Options::default();
    let (report, teller) =
        Report::new(clients.writer.clone(), licence.clone(), leads.clone(), clock, &told);
    let standing = report.standing().clone();
    let powers = Powers {
        licence,
        leads,
        report,
        pulse: Pulse::default(),
        memory: Recollection::default(),
        inbox: Inbox::default(),
        brake: Brake::default(),
        goodbye: CancellationToken::new(),
    };
    let mut daemon = Daemon::new(clients, watch, clock, tasks.clone(), powers);
    tokio::select! {
        () = daemon.look_round(&standing) => {}
        () = teller.run() => {}
        () = tokio::time::sleep(patience) => {}
    }
    let unread = daemon.watch.unsynced();
    daemon.observe.shutdown().await;
    tasks.stop(GOODBYE).await;
    Rehearsal { pictures: standing.all(), unread }
}

impl Daemon {
    /// Turns until there is nothing left to wait for.
    async fn look_round(&mut self, standing: &Standing) {
        let mut moved = standing.moved();
        self.await_stores().await;
        self.agenda.add(self.watch.pipelines());
        loop {
            self.turn(Instant::now());
            let all = standing.all();
            if all.len() == self.watch.pipelines().len() && all.iter().all(|it| is_settled(it)) {
                return;
            }
            tokio::select! {
                wake = self.next_wake() => {
                    self.take_in(wake);
                    self.take_in_all_else();
                }
                Ok(()) = moved.changed() => {}
            }
        }
    }
}

/// Has every source answered or failed, and was every target looked up?
fn is_settled(picture: &Picture) -> bool {
    let targets = picture.situation.iter().flat_map(|situation| &situation.targets);
    picture.heard.iter().all(|heard| heard.observation.is_some())
        && targets.into_iter().all(|target| !matches!(target, Target::Unseen))
}
