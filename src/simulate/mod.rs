//! A made-up world in virtual time, and the very same `decide` in it, beside the rules of others: what a policy costs and how late
//! data comes, before anyone trusts it with production. Called by `penstock simulate`, the benches and the tests.
//!
//! The world is a fluid in steps of a second; everything in it follows from the scenario and a seed, so that every policy meets the
//! same arrivals, the same start-up times, the same lost readings. No I/O but the files a scenario names, no clock, no task.

use serde::Serialize;

mod span;
mod chance;
mod workload;
mod ground;
mod scenario;
mod manifest;
mod policy;
mod pilot;
mod promise;
mod queue;
mod group;
mod pods;
mod crew;
mod sight;
mod pace;
mod tally;
mod record;
mod score;
mod world;
mod keeper;
mod penstock;
mod fixed;
mod page;
pub mod peers;
mod roster;
mod contest;
pub mod bound;
pub mod nodes;

pub use contest::{Contest, Entry, Summary, contest};
pub use fixed::Fixed;
pub use ground::{
    Cold, Drift, Ground, Interruptions, Lost, Mode, Nodes, RateStep, Rebalance, Skew, Spread,
    Startup,
};
pub use page::{About, page};
pub use penstock::Penstock;
pub use pilot::{Each, Pilot, Why};
pub use policy::{Offsets, Policy, QueueView, View};
pub use promise::{DueTimes, Promise};
pub use record::{Move, Series};
pub use roster::{fitting, names, pilot};
pub use scenario::{Error, Scenario, StageWorld};
pub use score::{Interval, Score};
pub use span::Span;
pub use workload::{
    Diurnal, Flash, Join, Outage, Peak, Pulses, Ragged, Ramp, Rare, Shape, Spikes, Steady, Steps,
    Switching, Trace, TraceFault, Week, Workload,
};

use nodes::NodeScore;
use pilot::Alone;
use promise::Kept;
use score::Account;
use world::World;

/// What became of one scenario under one policy with one seed.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Who sized the stages.
    pub policy: String,
    /// The seed.
    pub seed: u64,
    /// What it came to, all stages together.
    pub score: Score,
    /// What the nodes came to, where stages have lanes: of all of them together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeScore>,
    /// Stage by stage.
    pub stages: Vec<StageRun>,
}

/// What became of one stage.
#[derive(Debug, Clone, Serialize)]
pub struct StageRun {
    /// Its name.
    pub name: String,
    /// The delay it had to keep, in seconds; `None` where none is promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<f64>,
    /// The time of day until which it had to be done, as `06:00 Europe/Berlin`.
    #[serde(rename = "doneBy", skip_serializing_if = "Option::is_none")]
    pub done_by: Option<String>,
    /// What it came to, by its own promise and the time since items arrived at it.
    pub score: Score,
    /// What its nodes came to, where it has lanes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeScore>,
    /// What it looked like.
    #[serde(skip)]
    pub series: Series,
    /// What was done, from the first second on.
    #[serde(skip)]
    pub moves: Vec<Move>,
}

/// Plays a scenario with a policy that sizes its first stage; other stages keep what they begin with. For pipelines of several stages
/// see [`run_whole`].
pub fn run(scenario: &Scenario, policy: &mut dyn Policy, seed: u64) -> Run {
    run_whole(scenario, &mut Alone::new(policy), seed)
}

/// Plays a scenario with a pilot that sizes all its stages.
pub fn run_whole(scenario: &Scenario, pilot: &mut dyn Pilot, seed: u64) -> Run {
    let mut world = World::new(scenario, seed);
    world.play(pilot);
    summed(world, scenario, pilot, seed)
}

/// What a world that was played to its end came to.
fn summed(world: World<'_>, scenario: &Scenario, pilot: &dyn Pilot, seed: u64) -> Run {
    let (seconds, warmup) = (scenario.scored(), scenario.warmup);
    let mut all = Account::default();
    let mut stages = Vec::new();
    for (scene, stage) in world.scenes.into_iter().zip(&scenario.pipeline.stages) {
        let (mut series, moves) = scene.recorder.into_parts();
        let promise = scene.promise;
        let kept = match (&promise, &scene.tally.dues) {
            (Promise::Delay(limit), _) => Some(Kept::within(*limit, &scene.tally.ages)),
            (_, dues) => dues.as_ref().map(|dues| Kept::by(dues, warmup)),
        };
        let mut own = Account::of(scene.sums, scene.tally.ages, kept, &moves, warmup);
        all.add(&own);
        let score = own.score(seconds, 0);
        match &scene.tally.whole {
            Some(whole) => all.ages.merge(whole),
            None if scenario.stages.len() == 1 => std::mem::swap(&mut all.ages, &mut own.ages),
            None => {}
        }
        let nodes = scene.crew.close(seconds, &mut series);
        let name = stage.name.to_string();
        let (objective, done_by) = (promise.delay(), promise.time());
        stages.push(StageRun { name, objective, done_by, score, nodes, series, moves });
    }
    if let Some(limit) = scenario.objective() {
        all.kept = Some(Kept::within(limit, &all.ages));
    }
    let score = all.score(seconds, pilot.violations());
    let nodes = NodeScore::join(stages.iter().filter_map(|stage| stage.nodes.as_ref()));
    Run { policy: pilot.name(), seed, score, nodes, stages }
}

/// The work that comes to each stage in each second, in seconds of one replica at what a replica really does then: what a clairvoyant
/// plans with. Stages above are taken to pass everything on at once.
pub fn work(scenario: &Scenario, seed: u64) -> Vec<Vec<f64>> {
    World::new(scenario, seed).work()
}

/// The least whole number that is not below this one; counts are clamped to what fits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn whole(number: f64) -> u32 {
    number.ceil().clamp(0.0, f64::from(u32::MAX)) as u32
}
