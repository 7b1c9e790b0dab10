//! Says what was done: status, events, metrics and a record are four views of one [`Tick`], and nothing is counted anywhere else.
//!
//! The loop hands every turn to [`Report::tell`], which never waits; one task ([`Teller::run`]) does the rest, with budgets of its own.
//! Moves and conditions are queued and never dropped; of pictures the latest wins. `answer` reads the [`Standing`] picture.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tracing::Span;

use crate::act::Licence;
use crate::clock::Clock;
use crate::crd::PipelineStatus;

use crate::decide::{Missing, PipelineId, QuestionId, Snapshot, Step};

use desk::Desk;

mod standing;
mod conditions;
mod readiness;
mod gist;
mod compose;
mod patch;
mod status;
mod tale;
mod oddities;
mod events;
pub mod metrics;
mod requests;
mod record;
mod journal;
mod desk;
mod pools;
mod budgets;
mod timeline;

pub use crate::crd::meaning::Fault;
pub use budgets::{BudgetGlance, BudgetPicture};
pub use conditions::{CREDENTIALS_REFUSED, REASONS, is_hiccup, late_beyond};
pub use metrics::Metrics;
pub use pools::{PoolGlance, PoolPicture};
pub use record::{Destination, FORMAT, Record, Recording, Unreadable};
pub use requests::{Counted, Requests};
pub use standing::{Heard, Picture, Standing};
pub use timeline::{Course, Entry, PIPELINE_LIMIT, STAGE_LIMIT, Timeline, Timelines, Trail};

/// The record of one turn.
#[derive(Debug, Clone)]
pub struct Tick {
    /// What was known. Every pipeline of `glances` that can be decided on is due in it.
    pub snapshot: Snapshot,
    /// What was decided.
    pub step: Step,
    /// The pipelines of this turn as objects, also those that cannot be decided on.
    pub glances: Vec<Glance>,
    /// How long the turn took.
    pub took: Duration,
    /// How long after it was due it began.
    pub lateness: Duration,
    /// Id of its trace, where traces are collected.
    pub trace: Option<String>,
    /// How often the sources of these pipelines were asked so far, where they were.
    pub polls: BTreeMap<QuestionId, Polls>,
    /// Sources whose newest credentials are refused while the former ones still work, and why. Readings go on.
    pub refusals: BTreeMap<QuestionId, Missing>,
    /// Every pool of nodes as it stands; what is believed of them is in the step.
    pub pools: BTreeMap<Arc<str>, PoolGlance>,
    /// Every budget as it stands; how it fares is in the step.
    pub budgets: BTreeMap<Arc<str>, BudgetGlance>,
}

/// How often a source was asked so far, and what came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Polls {
    /// Complete answers.
    pub fresh: u64,
    /// Answers with a part missing.
    pub partial: u64,
    /// No answer.
    pub failed: u64,
    /// How long the latest took.
    pub took: Duration,
}

/// A pipeline as an object: what report needs of it and decide does not.
#[derive(Debug, Clone)]
pub struct Glance {
    /// Which one.
    pub id: PipelineId,
    /// uid of the object.
    pub uid: Arc<str>,
    /// Its generation.
    pub generation: i64,
    /// Its `resourceVersion`; a status write carries it.
    pub resource_version: Arc<str>,
    /// Its status as last seen.
    pub status: Arc<PipelineStatus>,
    /// What is wrong with what was written.
    pub faults: Arc<[Fault]>,
    /// What its stages cost in an hour, in stage order, by pool; `None` where the price of a node is unknown.
    pub costs: Costs,
    /// The same of the room that is kept for them.
    pub room_costs: Costs,
}

/// What each stage costs in an hour, by pool; `None` where the price of a node is unknown.
pub type Costs = Vec<BTreeMap<Arc<str>, Option<f64>>>;

/// What the tellers are told.
#[derive(Debug)]
enum News {
    /// What was done, and the span of the turn, in which it is told.
    Turn(Box<Tick>, Span),
    Gone(PipelineId),
}

/// How things are told.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Who reports, for events: the name of this replica.
    pub instance: String,
    /// Where turns are recorded, if anywhere.
    pub record: Option<Destination>,
    /// The count of requests that the daemon's clients share.
    pub requests: Requests,
    /// Where the timelines' past is read from, if anywhere.
    pub past: Option<Past>,
}

/// Where the past is read from: the Events of these namespaces, or of all when there are none.
#[derive(Clone)]
pub struct Past {
    /// A client that reads.
    pub client: kube::Client,
    /// Namespaces.
    pub namespaces: Vec<String>,
}

impl std::fmt::Debug for Past {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Past").field("namespaces", &self.namespaces).finish_non_exhaustive()
    }
}

/// The ear of the tellers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Report {
    news: UnboundedSender<News>,
    standing: Standing,
    timelines: Timelines,
    metrics: Metrics,
    capacity: Capacity,
}

/// Pools of nodes and budgets at the latest turn. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Capacity {
    pools: Desk<PoolPicture>,
    budgets: Desk<BudgetPicture>,
}

impl Capacity {
    /// Every pool, by name.
    pub fn pools(&self) -> Vec<PoolPicture> {
        self.pools.pictures()
    }

    /// Every budget, by name.
    pub fn budgets(&self) -> Vec<BudgetPicture> {
        self.budgets.pictures()
    }
}

/// The tellers' task, not started yet.
#[derive(Debug)]
pub struct Teller {
    news: UnboundedReceiver<News>,
    clock: Clock,
    standing: Standing,
    timelines: Timelines,
    past: Option<Past>,
    metrics: Metrics,
    status: status::Desk,
    events: events::Desk,
    record: Arc<record::Desk>,
    pools: Desk<PoolPicture>,
    budgets: Desk<BudgetPicture>,
}

impl Report {
    /// An ear, and the task that must run for anything to be heard. `client` writes (see `act::writer`), and only under `licence`.
    pub fn new(
        client: kube::Client,
        licence: Licence,
        leads: watch::Receiver<bool>,
        clock: Clock,
        options: &Options,
    ) -> (Self, Teller) {
        let (sender, receiver) = unbounded_channel();
        let (standing, timelines) = (Standing::default(), Timelines::default());
        let pools = Desk::new(client.clone(), licence.clone(), clock);
        let budgets = Desk::new(client.clone(), licence.clone(), clock);
        let capacity = Capacity { pools: pools.clone(), budgets: budgets.clone() };
        let metrics =
            Metrics::new(standing.clone(), pools.clone(), options.requests.clone(), leads);
        let teller = Teller {
            news: receiver,
            clock,
            standing: standing.clone(),
            timelines: timelines.clone(),
            past: options.past.clone(),
            metrics: metrics.clone(),
            status: status::Desk::new(client.clone(), licence.clone(), clock),
            events: events::Desk::new(client, licence, clock, &options.instance),
            record: record::Desk::new(options.record.clone(), metrics.clone()),
            pools,
            budgets,
        };
        (Self { news: sender, standing, timelines, metrics, capacity }, teller)
    }

    /// Takes a turn to be told. Never waits.
    pub fn tell(&self, tick: Tick) {
        // When the task is gone the process is ending.
        drop(self.news.send(News::Turn(Box::new(tick), Span::current())));
    }

    /// Everything of a deleted pipeline vanishes.
    pub fn forget(&self, pipeline: &PipelineId) {
        drop(self.news.send(News::Gone(pipeline.clone())));
    }

    /// The latest picture of every pipeline.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Pools of nodes and budgets.
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// What happened to each stage in the last day.
    pub fn timelines(&self) -> &Timelines {
        &self.timelines
    }

    /// All metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

impl Teller {
    /// Tells until every [`Report`] is dropped and what was queued is out.
    pub async fn run(self) {
        let Self {
            mut news,
            clock,
            standing,
            timelines,
            past,
            metrics,
            status,
            events,
            record,
            pools,
            budgets,
        } = self;
        let (begun, first_turn) = oneshot::channel();
        let mut begun = Some(begun);
        let mut alarm = record::Alarm::default();
        let mut oddities = oddities::Oddities::default();
        let listening = async {
            while let Some(item) = news.recv().await {
                match item {
                    News::Turn(mut tick, span) => {
                        let _turn = span.entered();
                        let (plan, at) = (&tick.step.plan, tick.snapshot.at);
                        pools.take(
                            pools::pictures(std::mem::take(&mut tick.pools), &plan.pools, at),
                            at,
                        );
                        let glances = std::mem::take(&mut tick.budgets);
                        budgets.take(
                            budgets::pictures(glances, &tick.snapshot.budgets, &plan.budgets, at),
                            at,
                        );
                        record.take(&tick);
                        alarm.take(&tick, &record);
                        journal::alarm(&tick);
                        metrics.take_turn(&tick);
                        for picture in standing::pictures(*tick) {
                            let picture = Arc::new(picture);
                            let status::Taken { changes, conditions } = status.take(&picture);
                            let odd = oddities.take(&picture);
                            let tales = tale::of_turn(&picture, &changes, odd);
                            timelines.take(&picture, &tales);
                            events.take(&picture, tales);
                            journal::write(&picture, &changes);
                            let before = standing.of(&picture.glance.id);
                            metrics.take(&picture, before.as_deref(), conditions);
                            standing.put(picture);
                        }
                        // Whom the past is of is known now.
                        begun.take().map(|begun| begun.send(()));
                    }
                    News::Gone(pipeline) => {
                        standing.remove(&pipeline);
                        timelines.forget(&pipeline);
                        status.forget(&pipeline);
                        metrics.forget(&pipeline);
                        alarm.forget(&pipeline);
                        oddities.forget(&pipeline);
                        record.forget(&pipeline);
                    }
                }
            }
            status.close();
            events.close();
            record.close();
            pools.close();
            budgets.close();
            // Where no turn was told, nobody waits for one any more.
            drop(begun);
        };
        let remembering = async {
            if let (Some(past), Ok(())) = (past, first_turn.await) {
                timeline::past::read(past.client, &past.namespaces, &timelines, clock).await;
            }
        };
        tokio::join!(
            listening,
            status.write(),
            events.write(),
            record.write(),
            // Boxed: all of these lie in the future of whoever runs a daemon.
            Box::pin(pools.write()),
            Box::pin(budgets.write()),
            remembering
        );
    }
}
