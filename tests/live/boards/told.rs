//! What Penstock itself told Prometheus lately, sample by sample, and what is worked out from it by hand: the truth about panels of
//! things that nobody else counts, such as how long a turn took.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::grafana::{RATE_INTERVAL, ask, list, text};
use crate::rig::Prometheus;

/// The samples of one job within the interval of a rate.
pub(super) struct Told(Vec<Series>);

/// Of one series.
struct Series {
    labels: BTreeMap<String, String>,
    /// How much it grew by.
    grown: f64,
    /// From the first sample to the last, in seconds.
    seconds: f64,
    last: f64,
}

impl Series {
    fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let has = |(label, value): &(&str, &str)| self.label(label) == *value;
        self.label("__name__") == name && labels.iter().all(has)
    }

    /// As in `PromQL`, a label that is not there is empty.
    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

impl Told {
    /// Up to a moment.
    pub(super) async fn at(server: &Prometheus, job: &str, at: f64) -> Result<Self> {
        let query = format!("{{__name__=~\"penstock_.+\", job=\"{job}\"}}[{RATE_INTERVAL}]");
        let answer = ask(server, "query", &[("query", &query), ("time", &at.to_string())]).await?;
        let series: Vec<_> = list(&answer["result"]).filter_map(series).collect();
        ensure!(!series.is_empty(), "{job} told nothing");
        Ok(Self(series))
    }

    fn of(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Series> {
        self.0.iter().filter(move |it| it.is(name, labels))
    }

    /// How much all series with these labels grew by a second.
    pub(super) fn rate(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels).filter(|it| it.seconds > 0.0).map(|it| it.grown / it.seconds).sum()
    }

    /// How much all series with these labels grew by.
    pub(super) fn increase(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels).map(|it| it.grown).sum()
    }

    /// The highest of the last samples.
    pub(super) fn highest(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels).map(|it| it.last).fold(0.0, f64::max)
    }

    /// The values of a label.
    pub(super) fn all(&self, name: &str, label: &str) -> Vec<&str> {
        let mut found: Vec<_> = self.of(name, &[]).map(|it| it.label(label)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What a share of the observations of a histogram did not exceed, on a line through its bucket; `None` where none was made.
    pub(super) fn quantile(
        &self,
        share: f64,
        histogram: &str,
        labels: &[(&str, &str)],
    ) -> Option<f64> {
        let name = format!("{histogram}_bucket");
        let bound = |le: &str| if le == "+Inf" { Some(f64::INFINITY) } else { le.parse().ok() };
        let mut buckets: Vec<(f64, f64)> = self
            .all(&name, "le")
            .into_iter()
            .filter_map(|le| {
                Some((bound(le)?, self.rate(&name, &[labels, &[("le", le)]].concat())))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (_, total) = *buckets.last().filter(|(_, total)| *total > 0.0)?;
        let (mut from, mut below) = (0.0, 0.0);
        for (to, reached) in buckets {
            if reached >= share * total {
                let part = (share * total - below) / (reached - below);
                // Nothing is said about how far above the last bound they were.
                return Some(if to.is_finite() { from + (to - from) * part } else { from });
            }
            (from, below) = (to, reached);
        }
        None
    }
}

/// Reads the samples of one series; one that fell was begun anew.
fn series(answer: &Value) -> Option<Series> {
    let sample = |it: &Value| Some((it[0].as_f64()?, it[1].as_str()?.parse::<f64>().ok()?));
    let samples: Vec<(f64, f64)> = list(&answer["values"]).filter_map(sample).collect();
    let (first, last) = (samples.first()?, samples.last()?);
    let steps = samples.windows(2).map(|pair| (pair[0].1, pair[1].1));
    let grown = steps.map(|(from, to)| if to < from { to } else { to - from }).sum();
    let labels = answer["metric"].as_object()?;
    let labels = labels.iter().map(|(name, it)| (name.clone(), text(it).to_owned())).collect();
    Some(Series { labels, grown, seconds: last.0 - first.0, last: last.1 })
}
