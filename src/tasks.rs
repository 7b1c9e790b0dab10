//! The set of tasks that the daemon joins: none is lost, all stop together, and a panic in one is seen by the loop.
//! What belongs to one connection, client or target is in a set of its own with it (`answer::door`, `observe`, `act`), and ends with that.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A set of tasks; clones share it.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    broken: Arc<watch::Sender<Option<&'static str>>>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            broken: Arc::new(watch::Sender::new(None)),
        }
    }
}

impl Tasks {
    /// Starts a task that ends with the set, at its next await.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let broken = Arc::clone(&self.broken);
        self.tracker.spawn(async move {
            let guarded = AssertUnwindSafe(task).catch_unwind();
            tokio::select! {
                () = stop.cancelled() => {}
                end = guarded => if end.is_err() {
                    broken.send_replace(Some(name));
                },
            }
        });
    }

    /// Waits until a task has panicked, and names it. The state it shared may be torn, so the process should end.
    pub async fn broken(&self) -> &'static str {
        let mut broken = self.broken.subscribe();
        loop {
            if let Some(name) = *broken.borrow_and_update() {
                return name;
            }
            if broken.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops all, and waits for them at most this long.
    pub async fn stop(&self, patience: Duration) {
        self.stop.cancel();
        self.tracker.close();
        // A task that does not end in time dies with the process; nothing waits for it.
        drop(tokio::time::timeout(patience, self.tracker.wait()).await);
    }
}
