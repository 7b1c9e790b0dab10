//! What the real HPA is asked to do: objects, and the metric series they are shown. Series are rows of the recorded traces in
//! `tests/data/traces`, one row a look. Played by the test beside.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use penstock::decide::{Behaviour, Policy, Rules, Select, Unit};
use serde_json::{Value, json};

/// Looks at each case.
pub(super) const LOOKS: usize = 56;

/// One object and what it sees.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Of the object, its target and its metrics.
    pub(super) name: &'static str,
    /// Replicas of the target at first.
    pub(super) start: u32,
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) metrics: Vec<Shown>,
    up: Side,
    down: Side,
    /// Is `behavior` written at all?
    behaves: bool,
    /// How long pods take to come and go.
    pub(super) pods_after: Duration,
    /// Writes that it must lead to at least: a case in which nothing moves shows nothing.
    pub(super) moves: usize,
}

/// A metric and what it says at each look; `None` is a failure.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) target: f64,
    pub(super) series: Vec<Option<f64>>,
}

/// A direction of `behavior`, as far as it is written.
#[derive(Debug, Clone, Default)]
struct Side {
    window: Option<u64>,
    policies: &'static [(Unit, u32, u64)],
    select: Option<Select>,
    tolerance: Option<f64>,
}

impl Case {
    /// Looks that ask for a metric.
    pub(super) fn looks(&self) -> usize {
        if self.start == 0 { 0 } else { LOOKS }
    }

    /// As the simulator takes it.
    pub(super) fn behavior(&self) -> Option<Behaviour> {
        self.behaves.then(|| Behaviour { up: self.up.rules(), down: self.down.rules() })
    }

    /// As people write it.
    pub(super) fn object(&self) -> Value {
        let metrics = self.metrics.iter().enumerate().map(|(index, metric)| {
            let target = format!("{:.0}m", metric.target * 1000.0);
            json!({"type": "External", "external": {
                "metric": {"name": format!("{}-{index}", self.name)},
                "target": {"type": "AverageValue", "averageValue": target},
            }})
        });
        let mut spec = json!({
            "scaleTargetRef": {"apiVersion": "example.com/v1", "kind": "Pinned", "name": self.name},
            "minReplicas": self.min, "maxReplicas": self.max, "metrics": metrics.collect::<Vec<_>>(),
        });
        if self.behaves {
            spec["behavior"] =
                json!({"scaleUp": self.up.written(), "scaleDown": self.down.written()});
        }
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": self.name}, "spec": spec,
        })
    }
}

impl Side {
    fn rules(&self) -> Rules {
        let policy = |&(unit, value, period): &_| Policy {
            unit,
            value,
            period: Duration::from_secs(period),
        };
        Rules {
            window: self.window.map(Duration::from_secs),
            select: self.select.unwrap_or_default(),
            policies: self.policies.iter().map(policy).collect(),
            tolerance: self.tolerance,
        }
    }

    fn written(&self) -> Value {
        let mut side = json!({});
        if let Some(window) = self.window {
            side["stabilizationWindowSeconds"] = json!(window);
        }
        if !self.policies.is_empty() {
            let policies = self.policies.iter().map(|(unit, value, period)| {
                let unit = if *unit == Unit::Pods { "Pods" } else { "Percent" };
                json!({"type": unit, "value": value, "periodSeconds": period})
            });
            side["policies"] = policies.collect();
        }
        if let Some(select) = self.select {
            side["selectPolicy"] = json!(match select {
                Select::Max => "Max",
                Select::Min => "Min",
                Select::Disabled => "Disabled",
            });
        }
        if let Some(tolerance) = self.tolerance {
            side["tolerance"] = json!(format!("{:.0}m", tolerance * 1000.0));
        }
        side
    }
}

/// Rows of a trace from one on, every so many of them, scaled so that the highest is `peak`.
fn rows(trace: &str, from: usize, every: usize, peak: f64) -> Result<Vec<Option<f64>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/traces/{trace}.csv"));
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let rates = text.lines().filter_map(|line| line.split_once(',')?.1.parse::<f64>().ok());
    let rows: Vec<f64> = rates.skip(from).step_by(every).take(LOOKS).collect();
    anyhow::ensure!(rows.len() == LOOKS, "{trace} has too few rows");
    let highest = rows.iter().copied().fold(0.0, f64::max);
    // To the thousandth, as it is sent.
    Ok(rows.iter().map(|rate| Some((rate / highest * peak * 1000.0).round() / 1000.0)).collect())
}

/// The same with nothing to be had at some looks.
fn holes(mut series: Vec<Option<f64>>, is_hole: impl Fn(usize) -> bool) -> Vec<Option<f64>> {
    series
        .iter_mut()
        .enumerate()
        .filter(|(at, _)| is_hole(*at))
        .for_each(|(_, value)| *value = None);
    series
}

fn case(name: &'static str, series: Vec<Option<f64>>) -> Case {
    Case {
        name,
        start: 4,
        min: 1,
        max: 30,
        metrics: vec![Shown { target: 10.0, series }],
        up: Side::default(),
        down: Side::default(),
        behaves: false,
        pods_after: Duration::ZERO,
        moves: 3,
    }
}

/// All cases. Of a day of taxis, 28 hours by the half hour; of a chat service, seconds that have nothing to do with each other; of a
/// football match, the crowd that comes and goes.
pub(super) fn cases() -> Result<Vec<Case>> {
    let day = || rows("taxi", 0, 1, 220.0);
    let ragged = || rows("llm-code", 1761, 1, 220.0);
    let crowd = || rows("worldcup98", 600, 25, 220.0);
    let behaved = |name, series, up, down| Case { behaves: true, up, down, ..case(name, series) };
    let with = |window, policies| Side { window, policies, ..Side::default() };
    let fast = || with(Some(0), &[]);
    let limits: &[_] = &[(Unit::Pods, 3, 5), (Unit::Percent, 50, 15)];
    let down_limits: &[_] = &[(Unit::Percent, 20, 6), (Unit::Pods, 1, 8)];
    let disabled = || Side { select: Some(Select::Disabled), ..Side::default() };
    let least = |policies| Side { select: Some(Select::Min), ..with(Some(0), policies) };
    Ok(vec![
        case("day", day()?),
        case("ragged", ragged()?),
        case("crowd", crowd()?),
        behaved("defaults", ragged()?, Side::default(), Side::default()),
        behaved("windows", ragged()?, with(Some(5), &[]), with(Some(12), &[])),
        Case {
            moves: 1,
            ..behaved("long-up-window", ragged()?, with(Some(12), &[]), with(Some(5), &[]))
        },
        behaved("limits", crowd()?, with(None, limits), with(Some(0), down_limits)),
        behaved("limits-ragged", ragged()?, with(Some(0), limits), with(Some(0), down_limits)),
        behaved("least", ragged()?, least(limits), least(down_limits)),
        // What went up is forgotten after 5 s when more goes up, though the way down looks back for 15.
        behaved(
            "forgotten",
            ragged()?,
            with(Some(0), &[(Unit::Pods, 4, 5)]),
            with(Some(0), &[(Unit::Pods, 3, 15)]),
        ),
        Case { moves: 2, ..behaved("up-only", crowd()?, fast(), disabled()) },
        Case { start: 28, moves: 1, ..behaved("down-only", ragged()?, disabled(), fast()) },
        behaved(
            "tolerance",
            day()?,
            Side { tolerance: Some(0.4), ..fast() },
            Side { tolerance: Some(0.0), ..fast() },
        ),
        case("missing", holes(day()?, |at| at % 7 == 3 || (30..36).contains(&at))),
        behaved("missing-fast", holes(ragged()?, |at| at % 5 == 2), fast(), fast()),
        Case {
            metrics: vec![
                Shown { target: 10.0, series: holes(ragged()?, |at| at % 4 == 1) },
                Shown {
                    target: 25.0,
                    series: holes(crowd()?, |at| (20..26).contains(&at) || at % 9 == 5),
                },
            ],
            ..behaved("two", Vec::new(), fast(), fast())
        },
        // Far above what may run, and above that from the start.
        Case { start: 40, max: 12, moves: 2, ..behaved("to-the-top", crowd()?, fast(), fast()) },
        Case { start: 1, min: 5, ..behaved("to-the-floor", ragged()?, fast(), fast()) },
        Case { start: 0, moves: 0, ..case("asleep", day()?) },
        Case {
            pods_after: Duration::from_secs(4),
            ..behaved("late-pods", ragged()?, fast(), fast())
        },
        Case {
            metrics: vec![Shown { target: 0.75, series: rows("taxi", 100, 1, 12.345)? }],
            ..case("fractions", Vec::new())
        },
    ])
}
