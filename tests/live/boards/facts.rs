//! What others than Penstock know of the stage that the boards show: the API server's record of writes, its statuses, what was sent,
//! and what the manifests say.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::ListParams;
use penstock::crd::ScaledPipeline;

use super::grafana::Shown;
use super::told::Told;
use super::{ARRIVES, CORES, PRICE, RATE, Stage, WAITING};

/// One comparison: what is looked at, what is shown, what is true.
pub(super) type Known<'a> = (&'a str, Option<f64>, f64);

/// What is true now.
pub(super) struct Facts {
    told: Told,
    replicas: f64,
    /// Of all workloads together, as their objects say.
    wanted: f64,
    ready: f64,
    /// What the stage at work costs in an hour, and the nodes.
    costs: f64,
    nodes: f64,
    /// Of the stage at work, and of the one that its fallback raised.
    moves: [Vec<u32>; 2],
    not_ready: f64,
    in_fallback: f64,
    /// How long the oldest of what only waits has waited, in seconds.
    waited: f64,
}

pub(super) fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from)
}

impl Facts {
    pub(super) async fn of(stage: &Stage, told: Told) -> Result<Self> {
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
        let replicas = f64::from(*moves[0].last().context("the worker was never moved")?);
        let deployments = Api::<Deployment>::namespaced(scene.client.clone(), &scene.namespace);
        let deployments = deployments.list(&ListParams::default()).await?.items;
        let count = |of: fn(&Deployment) -> Option<i32>| -> f64 {
            deployments.iter().filter_map(of).map(f64::from).sum()
        };
        Ok(Self {
            told,
            replicas,
            wanted: count(|it| it.spec.as_ref()?.replicas),
            ready: count(|it| it.status.as_ref()?.ready_replicas),
            costs: replicas * PRICE * CORES / stage.cores_of_a_node,
            nodes: stage.nodes,
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
    pub(super) fn known<'a>(&self, panel: &'a Shown, pipeline: &str) -> Vec<Known<'a>> {
        match panel.board.as_str() {
            "fleet" => self.of_fleet(panel),
            "pipeline" if pipeline == "orders" => self.of_orders(panel),
            "pipeline" if pipeline == "still" => self.of_still(panel),
            "pipeline" => self.of_blind(panel),
            "capacity" => self.of_capacity(panel),
            _ => self.of_internals(panel),
        }
    }

    fn of_fleet<'a>(&self, panel: &'a Shown) -> Vec<Known<'a>> {
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
            "Replicas" => {
                let state = |state: &str| panel.with(&[("state", state)]).first().copied();
                vec![
                    ("current", state("current"), self.wanted),
                    ("ready", state("ready"), self.ready),
                ]
            }
            "Moves" => self.grown(panel, "penstock_scale_moves_total", &["direction"], &[]),
            "Holds" => self.grown(panel, "penstock_holds_total", &["reason"], &[]),
            "Moves by reason" => vec![
                ("all", sum(panel.with(&[])), float(self.moves.iter().map(Vec::len).sum())),
                ("ups", sum(panel.with(&[("direction", "up")])), self.ups()),
            ],
            "Why stages have what they have" => vec![("stages", sum(panel.with(&[])), 4.0)],
            _ => Vec::new(),
        }
    }

    fn of_orders<'a>(&self, panel: &'a Shown) -> Vec<Known<'a>> {
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
            "Moves" => self.grown(
                panel,
                "penstock_scale_moves_total",
                &["direction", "reason"],
                &[("pipeline", "orders")],
            ),
            "Polls" => self.polls(panel, "orders"),
            "Credentials" => one(0.0),
            "What is odd" => vec![("in all", panel.only(1), 0.0)],
            "Rate of a replica" => one(RATE),
            "Time to Ready" => one(3.0),
            _ => Vec::new(),
        }
    }

    fn of_still<'a>(&self, panel: &'a Shown) -> Vec<Known<'a>> {
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

    fn of_blind<'a>(&self, panel: &'a Shown) -> Vec<Known<'a>> {
        match panel.panel.as_str() {
            "Holds" => {
                self.grown(panel, "penstock_holds_total", &["reason"], &[("pipeline", "blind")])
            }
            "Polls" => self.polls(panel, "blind"),
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

    fn of_capacity<'a>(&self, panel: &'a Shown) -> Vec<Known<'a>> {
        let one = |truth: f64| vec![("number", panel.only(0), truth)];
        match panel.panel.as_str() {
            "By pipeline" | "By stage and pool" => {
                let orders = panel.with(&[("pipeline", "orders")]);
                vec![("orders", orders.first().copied(), self.costs)]
            }
            "All stages" => one(self.costs),
            "Pools that give no nodes" | "Away from their share" | "Short of nodes" => one(0.0),
            "State of each pool" => one(1.0),
            "By pool" => one(self.nodes * PRICE),
            "Idle, by pool" => one(self.nodes * PRICE - self.costs),
            "Nodes" => one(self.nodes),
            "Ready replicas by lane" => one(self.replicas),
            _ => Vec::new(),
        }
    }

    fn of_internals<'a>(&self, panel: &'a Shown) -> Vec<Known<'a>> {
        const TURNS: &str = "penstock_turn_duration_seconds";
        const VISITS: &str = "penstock_source_poll_duration_seconds";
        const POLLS: &str = "penstock_source_polls_total";
        const REQUESTS: &str = "penstock_api_requests_total";
        const WRITES: [&str; 4] = ["create", "update", "patch", "delete"];
        let one = |truth: f64| vec![("number", panel.only(0), truth)];
        let told = &self.told;
        let buckets = |histogram: &str| {
            each(panel, 0, &["le"], |of| told.rate(&format!("{histogram}_bucket"), of))
        };
        let quantiles = |histogram: &str| {
            let of = |query, share| {
                each(panel, query, &["instance"], |of| {
                    told.quantile(share, histogram, of).unwrap_or(f64::NAN)
                })
            };
            [of(0, 0.5), of(1, 0.99)].concat()
        };
        let failing = |name: &str, label: &'static str, fails: fn(&str) -> bool| {
            each(panel, 0, &["instance"], |of| {
                let failed = told.all(name, label).into_iter().filter(|it| fails(it));
                let failed = failed.map(|it| told.rate(name, &[of, &[(label, it)]].concat()));
                failed.sum::<f64>() / told.rate(name, of)
            })
        };
        match panel.panel.as_str() {
            "Running" | "Versions" => one(2.0),
            "Leaders" => one(1.0),
            "Who leads" => {
                let leads = panel.with(&[]);
                vec![("all", Some(float(leads.len())), 2.0), ("one", Some(leads.iter().sum()), 1.0)]
            }
            "Broken promises of its own" => one(0.0),
            "How long turns take" => buckets(TURNS),
            "Slow turns" => quantiles(TURNS),
            "Turns" => each(panel, 0, &["instance"], |of| told.rate(&format!("{TURNS}_count"), of)),
            "Lateness" => each(panel, 0, &["instance"], |of| {
                told.highest("penstock_turn_lateness_seconds", of)
            }),
            "How long visits take" => buckets(VISITS),
            "Slow visits" => quantiles(VISITS),
            "Polls" => each(panel, 0, &["result"], |of| told.rate(POLLS, of)),
            "Polls that fail" => failing(POLLS, "result", |it| it == "failed"),
            "Requests" => each(panel, 0, &["verb", "resource"], |of| told.rate(REQUESTS, of)),
            "Writes" => {
                let mut known = each(panel, 0, &["verb", "resource"], |of| told.rate(REQUESTS, of));
                let all = WRITES.map(|verb| told.rate(REQUESTS, &[("verb", verb)]));
                known.push(("all", Some(panel.with(&[]).iter().sum()), all.iter().sum()));
                known
            }
            "Requests that fail" => {
                failing(REQUESTS, "code", |it| it == "error" || it.starts_with(['4', '5']))
            }
            "Recorded turns" => {
                each(panel, 0, &["result"], |of| told.rate("penstock_recorded_turns_total", of))
            }
            _ => Vec::new(),
        }
    }

    /// What counters grew by lately, in groups by their labels.
    fn grown<'a>(
        &self,
        panel: &'a Shown,
        name: &str,
        by: &[&str],
        of: &[(&str, &str)],
    ) -> Vec<Known<'a>> {
        each(panel, 0, by, |these| self.told.increase(name, &[of, these].concat()))
    }

    fn polls<'a>(&self, panel: &'a Shown, pipeline: &str) -> Vec<Known<'a>> {
        each(panel, 0, &["source", "result"], |these| {
            let labels = [&[("pipeline", pipeline)], these].concat();
            self.told.rate("penstock_source_polls_total", &labels)
        })
    }
}

/// Each series of a query beside what its labels stand for.
fn each<'a>(
    panel: &'a Shown,
    query: usize,
    labels: &[&str],
    truth: impl Fn(&[(&str, &str)]) -> f64,
) -> Vec<Known<'a>> {
    let series = panel.queries.get(query).into_iter().flatten();
    series
        .map(|(series, value)| {
            let label = |name: &str| series.get(name).map_or("", String::as_str);
            let of: Vec<_> = labels.iter().map(|name| (*name, label(name))).collect();
            (of.last().map_or("", |(_, value)| *value), Some(*value), truth(&of))
        })
        .collect()
}

/// Panels of what does not happen here, by their boards: draining.rs and headroom.rs see nodes go and room kept, lanes.rs what spot saves, and a
/// rebalance is seen only where a group stands still for longer than its polls, which this one does not.
pub(super) const ELSEWHERE: [(&str, &str); 4] = [
    ("capacity", "Interruptions"),
    ("capacity", "Room kept free"),
    ("capacity", "Saved by spot"),
    ("pipeline", "Rebalance"),
];

/// Whether a panel may have nothing to show here.
pub(super) fn may_be_empty(panel: &Shown, pipeline: &str) -> bool {
    match (panel.board.as_str(), panel.panel.as_str()) {
        place if ELSEWHERE.contains(&place) => true,
        // Whether the one at work is held back at all is a matter of chance; the one without an answer surely is.
        ("pipeline", "Holds") => pipeline != "blind",
        // What is not moved, read or learned has no numbers; for `orders` all of them are shown.
        ("pipeline", _) => pipeline != "orders",
        _ => false,
    }
}
