//! Joins the rooms: the loop. It owns no policy; it says what is due, carries what one room knows to the next, and keeps time.
//! Started by the command `run` and by the demo.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch as channel};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::act::{self, Act, Brake, Licence};
use crate::answer::{BEAT, Pulse, Recollection};
use crate::clock::{Clock, sleep_until};
use crate::decide::{
    Action, Adrift, Budget, Concern, Ending, Missing, Outcome, Plan, QuestionId, Situation,
    Snapshot, Stage, Verdict, advance,
};
use crate::observe::lineage::Inbox;
use crate::observe::{self, Observe};
use crate::report::{BudgetGlance, Glance, Polls, PoolGlance, Report, Tick};
use crate::spans;
use crate::tasks::Tasks;
use crate::watch::{self, BudgetPlace, PoolSight, Seen, Sight, Watch};

pub mod lease;
mod options;
mod rehearse;
mod wake;

pub use crate::act::Placeholders;
pub use crate::report::Destination;
pub use options::{Clients, Error, Options, run};
pub use rehearse::{Rehearsal, rehearse};

use wake::{Agenda, RESYNC, SHORTEST_GAP, Wake};

/// How long writes on their way are waited for when the process is asked to end: none may land after the lease was given away.
const LAST_WRITES: Duration = act::LONGEST;
/// How long nodes are waited for before the first decision.
const NODES: Duration = Duration::from_secs(30);

/// First lists may take this long before it is said that they are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The loop and all it holds.
#[derive(Debug)]
struct Daemon {
    clock: Clock,
    watch: Watch,
    observe: Observe,
    readings: mpsc::UnboundedReceiver<Vec<QuestionId>>,
    act: Act,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
    licence: Licence,
    leads: channel::Receiver<bool>,
    report: Report,
    pulse: Pulse,
    tasks: Tasks,
    memory: Recollection,
    agenda: Agenda,
    goodbye: CancellationToken,
}

/// What one daemon may and another may not, and who hears of it.
struct Powers {
    licence: Licence,
    leads: channel::Receiver<bool>,
    report: Report,
    pulse: Pulse,
    memory: Recollection,
    inbox: Inbox,
    /// Shared by all that writes.
    brake: Brake,
    goodbye: CancellationToken,
}

impl Daemon {
    /// One that knows nothing yet; its watches and its tasks begin.
    fn new(
        clients: Clients,
        watch: watch::Options,
        clock: Clock,
        tasks: Tasks,
        powers: Powers,
    ) -> Self {
        let Powers { licence, leads, report, pulse, memory, inbox, brake, goodbye } = powers;
        let (wake, readings) = mpsc::unbounded_channel();
        let (landed, outcomes) = mpsc::unbounded_channel();
        Self {
            clock,
            watch: Watch::start(clients.reader, clock, watch, tasks.clone()),
            observe: Observe::start(clock, wake).hearing(inbox),
            readings,
            act: Act::braked(clients.writer, clock, landed, &brake),
            outcomes,
            licence,
            leads,
            report,
            pulse,
            tasks,
            memory,
            agenda: Agenda::default(),
            goodbye,
        }
    }

    /// The same, with these placeholders.
    fn keeping_room_by(mut self, placeholders: Placeholders) -> Self {
        self.act = self.act.keeping_room_by(placeholders);
        self
    }

    /// Turns until it is asked to end, or a task breaks.
    async fn live(mut self) -> Result<(), Error> {
        let tasks = self.tasks.clone();
        let end = tokio::select! {
            name = tasks.broken() => Err(Error::TaskBroken { name }),
            () = self.turns() => Ok(()),
        };
        self.pulse.end();
        self.act.drain(LAST_WRITES).await;
        self.observe.shutdown().await;
        end
    }

    async fn turns(&mut self) {
        self.await_stores().await;
        if self.goodbye.is_cancelled() {
            return;
        }
        info!("all stores are in; deciding begins");
        self.agenda.add(self.watch.pipelines());
        loop {
            let wake = self.next_wake().await;
            if matches!(wake, Wake::Goodbye) {
                return;
            }
            let woken = self.due_at(&wake);
            self.take_in(wake);
            self.take_in_all_else();
            self.turn(woken);
            self.pulse.beat();
            tokio::select! {
                () = tokio::time::sleep(SHORTEST_GAP) => {}
                () = self.goodbye.cancelled() => return,
            }
        }
    }

    /// No decision before every store has had its first list: an empty store is not an empty cluster. Nodes are followed only where there are
    /// pools of them; who cannot list them decides all the same.
    async fn await_stores(&self) {
        self.await_lists().await;
        self.watch.follow_nodes();
        if tokio::time::timeout(NODES, self.await_lists()).await.is_err() {
            let unsynced = self.watch.unsynced();
            warn!(
                ?unsynced,
                "deciding begins without these; which pods are about to go is not known"
            );
        }
    }

    async fn await_lists(&self) {
        let mut say = Instant::now() + PATIENCE;
        loop {
            let unsynced = self.watch.unsynced();
            if unsynced.is_empty() {
                return;
            }
            self.pulse.awaits(unsynced.clone());
            tokio::select! {
                () = self.watch.changed() => {}
                () = tokio::time::sleep_until(say) => {
                    warn!(?unsynced, "nothing is decided before these are listed; hint: penstock check");
                    say += RESYNC;
                }
                () = self.goodbye.cancelled() => return,
            }
        }
    }

    async fn next_wake(&mut self) -> Wake {
        let timer = self.agenda.next_timer().map(|at| self.clock.instant(at));
        tokio::select! {
            () = self.goodbye.cancelled() => Wake::Goodbye,
            Some(outcome) = self.outcomes.recv() => Wake::Outcome(Box::new(outcome)),
            Some(questions) = self.readings.recv() => Wake::Readings(questions),
            () = self.watch.changed() => Wake::Changed,
            Ok(()) = self.leads.changed() => Wake::Leadership,
            () = sleep_until(timer) => Wake::Timer,
            () = tokio::time::sleep(BEAT) => Wake::Beat,
        }
    }

    /// When the turn was due: for a timer when it was set to ring, else now.
    fn due_at(&self, wake: &Wake) -> Instant {
        let timer = self.agenda.next_timer().filter(|_| matches!(wake, Wake::Timer));
        timer.map_or_else(Instant::now, |at| self.clock.instant(at)).min(Instant::now())
    }

    fn take_in(&mut self, wake: Wake) {
        match wake {
            // The stores are asked at every turn, timers ring by themselves, and a goodbye ended the loop.
            Wake::Timer | Wake::Beat | Wake::Changed | Wake::Goodbye => {}
            Wake::Readings(questions) => {
                for question in &questions {
                    if let Some(connection) = question.priced_by()
                        && let Some(said) = self.observe.latest(question)
                    {
                        self.watch.hear_prices(connection, &said);
                    }
                }
                self.agenda.add_readings(&questions);
            }
            Wake::Outcome(outcome) => {
                let scale = outcome.action.scale();
                // What stands for room is followed whole; there is nothing to read besides.
                let is_room = matches!(outcome.action, Action::Reserve(_));
                match outcome.result {
                    _ if is_room => {}
                    Ending::Outdated
                    | Ending::Unknown { .. }
                    | Ending::Conflict { .. }
                    | Ending::Gone => {
                        // What else became of it the watch shows by itself.
                        if outcome.action.concern() == Concern::Count {
                            self.watch.reread(&scale.target);
                        }
                    }
                    Ending::Done { .. } | Ending::Refused { .. } | Ending::NotSent { .. } => {}
                }
                let is_urgent = !matches!(outcome.result, Ending::NotSent { .. });
                self.agenda.add_outcome(*outcome, is_urgent);
            }
            Wake::Leadership => {
                self.agenda.add(self.watch.pipelines());
            }
        }
    }

    /// What came meanwhile shares the turn.
    fn take_in_all_else(&mut self) {
        while let Ok(outcome) = self.outcomes.try_recv() {
            self.take_in(Wake::Outcome(Box::new(outcome)));
        }
        while let Ok(questions) = self.readings.try_recv() {
            self.take_in(Wake::Readings(questions));
        }
    }

    /// One turn: see, ask, decide, act, tell. Nothing in it waits.
    fn turn(&mut self, woken: Instant) {
        let started = Instant::now();
        let lateness = started.duration_since(woken);
        let now = self.clock.now();
        self.agenda.add(self.watch.take_moved());
        let due = self.agenda.take_due(now);
        let seen = self.watch.seen(&due, now);
        for id in &seen.gone {
            self.memory.open().forget(id);
            self.agenda.forget(id);
            self.report.forget(id);
        }
        if let Some(questions) = &seen.questions {
            self.observe.ask(questions.clone());
        }
        if seen.sights.is_empty() && !seen.pools_moved {
            return;
        }
        let turn = spans::turn(seen.sights.len()).entered();
        let (visits, refusals) = self.visits(&seen);
        let Seen { sights, pools, budgets, quotas, .. } = seen;
        let meant =
            budgets.iter().map(|(name, sight)| (Arc::clone(name), Arc::clone(&sight.meant)));
        let limits = meant.chain(quotas).collect();
        let look = || self.look(now, sights, &pools, limits);
        let (snapshot, glances) = spans::observe().in_scope(look);
        let step = spans::decide().in_scope(|| advance(&snapshot, &mut self.memory.open()));
        turn.record("actions", step.plan.actions.len());
        if snapshot.may_act {
            spans::act().in_scope(|| self.act.start(&step.plan.actions, &self.licence));
        }
        self.set_timers(&glances, now, &step.plan);
        self.press(&snapshot, &step.plan.verdicts);
        let took = started.elapsed();
        let pools = pools.into_iter().map(|(name, sight)| (name, glance_of(sight))).collect();
        let budgets =
            budgets.into_iter().map(|(name, sight)| (name, budget_glance(sight.place))).collect();
        self.report.tell(Tick {
            snapshot,
            step,
            glances,
            took,
            lateness,
            trace: spans::trace(&turn),
            polls: visits,
            refusals,
            pools,
            budgets,
        });
    }

    /// How often the sources of what is seen were asked, and whose newest credentials are refused, for report.
    fn visits(&self, seen: &Seen) -> (BTreeMap<QuestionId, Polls>, BTreeMap<QuestionId, Missing>) {
        let (mut counts, mut refusals) = (BTreeMap::new(), BTreeMap::new());
        let pipelines = seen.sights.iter().filter_map(|sight| sight.pipeline.as_ref());
        let stages = pipelines.flat_map(|pipeline| &pipeline.stages);
        for source in stages.flat_map(Stage::heard) {
            let question = &source.question;
            if let Some(observe::Polls { fresh, partial, failed, took }) =
                self.observe.polls(question)
            {
                counts.insert(question.clone(), Polls { fresh, partial, failed, took });
            }
            refusals.extend(self.observe.refusal(question).map(|why| (question.clone(), why)));
        }
        (counts, refusals)
    }

    /// Everything that is known now, for decide; and what only report needs of the objects.
    fn look(
        &mut self,
        now: Timestamp,
        sights: Vec<Sight>,
        pools: &BTreeMap<Arc<str>, PoolSight>,
        budgets: BTreeMap<Arc<str>, Arc<Budget>>,
    ) -> (Snapshot, Vec<Glance>) {
        let mut observations = BTreeMap::new();
        let mut due = Vec::new();
        let mut adrift = Vec::new();
        let mut glances = Vec::new();
        for sight in sights {
            let (id, uid) = (sight.id.clone(), Arc::clone(&sight.uid));
            glances.push(Glance {
                id: sight.id,
                uid: sight.uid,
                generation: sight.generation,
                resource_version: sight.resource_version,
                status: sight.status,
                faults: sight.faults,
                costs: sight.costs,
                room_costs: sight.room_costs,
            });
            let Some(pipeline) = sight.pipeline else {
                if let Some(draining) = sight.draining {
                    let outcomes = self.agenda.take_outcomes(&id);
                    adrift.push(Adrift { pipeline: id, uid, draining, outcomes });
                }
                continue;
            };
            for source in pipeline.stages.iter().flat_map(Stage::heard) {
                if let Some(observation) = self.observe.latest(&source.question) {
                    observations.insert(source.question.clone(), observation);
                }
            }
            observations.extend(sight.answered);
            due.push(Situation {
                outcomes: self.agenda.take_outcomes(&pipeline.id),
                pipeline,
                targets: sight.targets,
                recalled: sight.recalled,
                budgets: sight.budgets,
                per_replica: sight.per_replica,
                present: sight.present,
                standing: sight.standing,
                draining: sight.draining,
                reserves: sight.reserves,
                serves_buffers: sight.serves_buffers,
            });
        }
        let may_act = self.licence.check().is_ok();
        let seen = pools.iter().map(|(name, sight)| (Arc::clone(name), sight.seen.clone()));
        let pools = seen.collect();
        (Snapshot { at: now, may_act, due, observations, pools, budgets, adrift }, glances)
    }

    /// When each pipeline is to be thought of again though nothing moves.
    fn set_timers(&mut self, glances: &[Glance], now: Timestamp, plan: &Plan) {
        let seen = glances.iter().map(|glance| &glance.id);
        let verdicts = plan.verdicts.iter().map(|it| (&it.stage.pipeline, it.next));
        let adrift = plan.again.iter().map(|(pipeline, at)| (pipeline, Some(*at)));
        for (pipeline, at) in wake::timers(seen, verdicts.chain(adrift), now) {
            self.agenda.set_timer(pipeline, at);
        }
    }

    /// Has the commits read at the next poll of those stages whose decision hangs on them.
    fn press(&self, snapshot: &Snapshot, verdicts: &[Verdict]) {
        let hanging = verdicts.iter().filter(|verdict| verdict.hangs_on_commits());
        let hanging: BTreeSet<_> =
            hanging.map(|verdict| (&verdict.stage.pipeline, verdict.stage.index)).collect();
        if hanging.is_empty() {
            return;
        }
        let stages = snapshot.due.iter().flat_map(|due| {
            let id = &due.pipeline.id;
            due.pipeline.stages.iter().enumerate().map(move |(index, stage)| ((id, index), stage))
        });
        let sources =
            stages.filter(|(id, _)| hanging.contains(id)).flat_map(|(_, stage)| &stage.sources);
        let questions: Vec<_> = sources.map(|source| source.question.clone()).collect();
        self.observe.press(&questions);
    }
}

fn budget_glance(place: BudgetPlace) -> BudgetGlance {
    let BudgetPlace { uid, resource_version, generation, status } = place;
    BudgetGlance { uid, resource_version, generation, status }
}

fn glance_of(sight: PoolSight) -> PoolGlance {
    let PoolSight { seen, place, median_boot, cores, cost, unpriced, unmade } = sight;
    PoolGlance {
        uid: place.uid,
        resource_version: place.resource_version,
        class: seen.pool.class,
        generation: place.generation,
        status: place.status,
        unpriced: unpriced.map(|why| (why.label, why.message)),
        unmade: unmade.map(|why| (why.label, why.message)),
        nodes: seen.nodes,
        cores,
        startup: median_boot.zip(seen.boot),
        cost,
    }
}
