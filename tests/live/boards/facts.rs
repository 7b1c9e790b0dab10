//! What others than Penstock know of the stage that the boards show: the API server's record of writes, its statuses, what was sent,
//! and what the manifests say.

use anyhow::{Context, Result};
use kube::Api;
use kube::api::ListParams;
use penstock::crd::ScaledPipeline;

use super::grafana::Shown;
use super::{ARRIVES, RATE, Stage, WAITING};

/// One comparison: what is looked at, what is shown, what is true.
pub(super) type Known = (&'static str, Option<f64>, f64);

/// What is true now.
pub(super) struct Facts {
    replicas: f64,
    /// Of the stage at work, and of the one that its fallback raised.
    moves: [Vec<u32>; 2],
    not_ready: f64,
    in_fallback: f64,
    /// How long the oldest of what only waits has waited, in seconds.
    waited: f64,
}

fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from)
}

impl Facts {
    pub(super) async fn of(stage: &Stage) -> Result<Self> {
        let scene = &stage.scene;
        let api = Api::<ScaledPipeline>::namespaced(scene.client.clone(), &scene.namespace);
        let pipelines = api.list(&ListParams::default()).await?.items;
        let holding = |kind: &str, status: &str| {
            let holds = |pipeline: &&ScaledPipeline| {
                let conditions = pipeline.status.iter().flat_map(|it| &it.conditions);
                conditions.into_iter().any(|it| it.type_ == kind && it.status == status)
            };
            float(pipelines.iter().filter(holds).count())
        };
        let moves = [scene.moves("worker", 1)?, scene.moves("blinded", 1)?];
        Ok(Self {
            replicas: f64::from(*moves[0].last().context("the worker was never moved")?),
            not_ready: holding("Ready", "False"),
            in_fallback: holding("Fallback", "True"),
            waited: stage.sent.elapsed().as_secs_f64(),
            moves,
        })
    }

    fn ups(&self) -> f64 {
        let ups = |moves: &Vec<u32>| {
            let mut now = 1;
            moves.iter().filter(|to| std::mem::replace(&mut now, **to) < **to).count()
        };
        float(self.moves.iter().map(ups).sum())
    }

    /// What is known of a panel.
    pub(super) fn known(&self, panel: &Shown, pipeline: &str) -> Vec<Known> {
        match panel.board.as_str() {
            "fleet" => self.of_fleet(panel),
            "pipeline" if pipeline == "orders" => self.of_orders(panel),
            "pipeline" if pipeline == "still" => self.of_still(panel),
            "pipeline" => Self::of_blind(panel),
            "capacity" => self.of_capacity(panel),
            _ => Self::of_internals(panel),
        }
    }

    fn of_fleet(&self, panel: &Shown) -> Vec<Known> {
        let one = |truth: f64| vec![("number", panel.only(0), truth)];
        let of = |pipeline: &str| panel.with(&[("pipeline", pipeline)]).first().copied();
        let sum = |values: Vec<f64>| Some(values.iter().sum());
        match panel.panel.as_str() {
            "Pipelines" => one(4.0),
            "Not ready" => one(self.not_ready),
            "In fallback" => one(self.in_fallback),
            // Of three that know their delay, the one that only waits is late.
            "In time" => one(2.0 / 3.0),
            "Late stages" | "Sources down" | "Leaders" => one(1.0),
            "Broken promises of its own" | "What is odd" => one(0.0),
            "Nearest to their promise, or past it" | "Delay against objective" => {
                vec![("still", of("still"), self.waited / 5.0)]
            }
            "Conditions that want someone" => vec![
                ("broken", of("broken"), 1.0),
                ("blind", panel.with(&[("type", "Fallback")]).first().copied(), 1.0),
                (
                    "all",
                    Some(float(panel.queries.iter().flatten().count())),
                    self.not_ready + self.in_fallback,
                ),
            ],
            "Sources that are not heard" => {
                vec![("blind", of("blind"), 0.0), ("all", Some(float(panel.with(&[]).len())), 1.0)]
            }
            "Items that wait" => vec![("still", of("still"), f64::from(WAITING))],
            "What arrives, and what could be done" => vec![
                ("arrives", panel.only(0), ARRIVES),
                ("could be done", panel.only(1), self.replicas * RATE),
            ],
            "Moves by reason" => vec![
                ("all", sum(panel.with(&[])), float(self.moves.iter().map(Vec::len).sum())),
                ("ups", sum(panel.with(&[("direction", "up")])), self.ups()),
            ],
            "Why stages have what they have" => vec![("stages", sum(panel.with(&[])), 4.0)],
            _ => Vec::new(),
        }
    }

    fn of_orders(&self, panel: &Shown) -> Vec<Known> {
        let one = |truth: f64| vec![("number", panel.only(0), truth)];
        let state = |state: &str| panel.with(&[("state", state)]).first().copied();
        match panel.panel.as_str() {
            "Ready" => {
                let serving = panel.with(&[("status", "True"), ("reason", "Serving")]);
                vec![("serving", serving.first().copied(), 1.0)]
            }
            "Replicas wanted" | "Replicas ready" => one(self.replicas),
            "Load" => vec![
                ("arrives", panel.only(0), ARRIVES),
                ("could be done", panel.only(2), self.replicas * RATE),
            ],
            "Replicas" => vec![
                ("current", state("current"), self.replicas),
                ("ready", state("ready"), self.replicas),
                ("desired", state("desired"), self.replicas),
                ("min", state("min"), 1.0),
                ("max", state("max"), 8.0),
            ],
            "Delay" => vec![("objective", panel.only(1), 60.0)],
            "Conditions" => {
                vec![(
                    "ready",
                    panel.with(&[("type", "Ready"), ("status", "True")]).first().copied(),
                    1.0,
                )]
            }
            "Reasons" | "Heard" => one(1.0),
            "Credentials" => one(0.0),
            "What is odd" => vec![("in all", panel.only(1), 0.0)],
            "Rate of a replica" => one(RATE),
            "Time to Ready" => one(3.0),
            _ => Vec::new(),
        }
    }

    fn of_still(&self, panel: &Shown) -> Vec<Known> {
        let one = |truth: f64| vec![("number", panel.only(0), truth)];
        match panel.panel.as_str() {
            "Items now" | "Items that wait" => one(f64::from(WAITING)),
            "Delay now" => one(self.waited),
            "Delay against objective" => one(self.waited / 5.0),
            "Delay" => {
                vec![("delay", panel.only(0), self.waited), ("objective", panel.only(1), 5.0)]
            }
            "Replicas ready" | "Heard" | "Reasons" => one(1.0),
            "Load" => vec![("arrives", panel.only(0), 0.0)],
            _ => Vec::new(),
        }
    }

    fn of_blind(panel: &Shown) -> Vec<Known> {
        match panel.panel.as_str() {
            "Heard" => vec![("number", panel.only(0), 0.0)],
            "Conditions" => {
                vec![(
                    "fallback",
                    panel.with(&[("type", "Fallback"), ("status", "True")]).first().copied(),
                    1.0,
                )]
            }
            "Replicas wanted" => vec![("at least", panel.only(0), 3.0)],
            _ => Vec::new(),
        }
    }

    /// Two nodes at 0.5 an hour; pods that request nothing cost nothing.
    fn of_capacity(&self, panel: &Shown) -> Vec<Known> {
        let one = |truth: f64| vec![("number", panel.only(0), truth)];
        match panel.panel.as_str() {
            "By pipeline" | "By stage and pool" => {
                vec![("orders", panel.with(&[("pipeline", "orders")]).first().copied(), 0.0)]
            }
            "Pools that give no nodes"
            | "All stages"
            | "Away from their share"
            | "Short of nodes" => one(0.0),
            "State of each pool" | "By pool" => one(1.0),
            "Nodes" => one(2.0),
            "Ready replicas by lane" => one(self.replicas),
            _ => Vec::new(),
        }
    }

    fn of_internals(panel: &Shown) -> Vec<Known> {
        let one = |truth: f64| vec![("number", panel.only(0), truth)];
        match panel.panel.as_str() {
            "Running" | "Versions" => one(2.0),
            "Leaders" => one(1.0),
            "Who leads" => {
                let leads = panel.with(&[]);
                vec![("all", Some(float(leads.len())), 2.0), ("one", Some(leads.iter().sum()), 1.0)]
            }
            "Broken promises of its own" => one(0.0),
            "Recorded turns" => {
                vec![("lost", panel.with(&[("result", "lost")]).first().copied(), 0.0)]
            }
            _ => Vec::new(),
        }
    }
}

/// Panels that have nothing to show here, each with the reason.
pub(super) fn may_be_empty(panel: &Shown, pipeline: &str) -> bool {
    match (panel.board.as_str(), panel.panel.as_str()) {
        // Seen only where a group stands still for longer than its polls, which this one does not; and no node is taken away here, nor does
        // any stage keep room: draining.rs and headroom.rs see to that.
        ("pipeline", "Rebalance") | ("capacity", "Interruptions" | "Room kept free") => true,
        // Whether the one at work is held back at all is a matter of chance; the one without an answer surely is.
        ("pipeline", "Holds") => pipeline != "blind",
        // What is not moved, read or learned has no numbers; for `orders` all of them are shown.
        ("pipeline", _) => pipeline != "orders",
        _ => false,
    }
}
