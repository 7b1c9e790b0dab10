//! Sources asked without a daemon: what a real server's answers come to. Used by the tests of single sources.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use penstock::clock::Clock;
use penstock::decide::{Observation, QuestionId, Queue, Value};
use penstock::observe::{Address, Ask, Credentials, Observe, Question};
use tokio::sync::mpsc;

use crate::rig::until;

/// How long what ought to happen soon may take.
const SOON: Duration = Duration::from_secs(90);

/// Questions in force.
pub(crate) struct Watched {
    pub(crate) observe: Observe,
    _wakes: mpsc::UnboundedReceiver<Vec<QuestionId>>,
}

/// One question: its name, where, what, and with which login.
pub(crate) type Wanted<'a> = (&'a str, Address, Ask, Arc<Credentials>);

pub(crate) fn id(name: &str) -> QuestionId {
    QuestionId(format!("shop/orders/stage/{name}").into())
}

pub(crate) fn keys(pairs: &[(&'static str, &str)]) -> Arc<Credentials> {
    let mut keys = Credentials::default();
    for (usage, text) in pairs {
        keys.put(usage, text.as_bytes().to_vec());
    }
    Arc::new(keys)
}

impl Watched {
    /// Asks each second.
    pub(crate) fn asking(wanted: Vec<Wanted<'_>>) -> Self {
        let (wake, wakes) = mpsc::unbounded_channel();
        let watched = Self { observe: Observe::start(Clock::start(), wake), _wakes: wakes };
        watched.ask(wanted);
        watched
    }

    /// Asks these from now on.
    pub(crate) fn ask(&self, wanted: Vec<Wanted<'_>>) {
        let question = |(name, address, ask, credentials): Wanted<'_>| Question {
            id: id(name),
            poll_interval: Duration::from_secs(1),
            address,
            credentials,
            ask,
        };
        self.observe.ask(wanted.into_iter().map(question).collect());
    }

    /// Waits until a queue is as wished.
    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        wished: impl Fn(&Queue) -> bool,
    ) -> Result<Queue> {
        until(&format!("{name} to have {what}"), SOON, async || {
            let seen = self.observe.latest(&id(name)).context("nobody has answered yet")?;
            let Observation::Fresh(reading) = &seen else { anyhow::bail!("{seen:?}") };
            let Value::Queue(queue) = &reading.value else { anyhow::bail!("{seen:?}") };
            ensure!(wished(queue), "{queue:?}");
            Ok(Some(queue.clone()))
        })
        .await
    }

    /// Waits until so many wait.
    pub(crate) async fn is(&self, name: &str, backlog: u64) -> Result<Queue> {
        self.until(name, &format!("{backlog} waiting"), |queue| queue.backlog == backlog).await
    }

    /// Waits for this word, and tells the whole sentence.
    pub(crate) async fn lacks(&self, name: &str, label: &str) -> Result<String> {
        until(&format!("{name} to be {label}"), SOON, async || {
            let seen = self.observe.latest(&id(name)).context("nobody has answered yet")?;
            let (Observation::Failed(missing) | Observation::Stale(_, missing)) = &seen else {
                anyhow::bail!("{seen:?}")
            };
            ensure!(&*missing.label == label, "{}: {}", missing.label, missing.message);
            Ok(Some(missing.message.to_string()))
        })
        .await
    }
}
