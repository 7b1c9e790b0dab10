//! A board as Grafana runs it: its variables are filled in, each query is sent as the panel sends it, and what comes last is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use regex::Regex;
use serde_json::Value;

use crate::rig::{Prometheus, http_get};

/// What Grafana makes of a scrape interval of 1 s.
pub(super) const RATE_INTERVAL: &str = "20s";
/// What is shown.
const RANGE: &str = "10m";

/// A board of the chart.
pub(crate) struct Board {
    pub(crate) name: String,
    json: Value,
}

/// What one panel shows: the last value of each series, by its labels.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) board: String,
    pub(crate) panel: String,
    /// Of each query, in their order.
    pub(crate) queries: Vec<Vec<(BTreeMap<String, String>, f64)>>,
}

/// The choices in a board's variables.
pub(crate) type Chosen<'a> = BTreeMap<&'static str, &'a str>;

pub(crate) fn boards() -> Result<Vec<Board>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/penstock/dashboards");
    let mut boards = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_stem().context("a file without a name")?.display().to_string();
        boards.push(Board { name, json: serde_json::from_str(&fs::read_to_string(&path)?)? });
    }
    boards.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(boards)
}

impl Board {
    /// Shows every panel, with these variables.
    pub(crate) async fn show(
        &self,
        server: &Prometheus,
        chosen: &Chosen<'_>,
    ) -> Result<Vec<Shown>> {
        self.show_at(server, chosen, moment(server).await?).await
    }

    /// Shows every panel as it is, or was, at a moment.
    pub(super) async fn show_at(
        &self,
        server: &Prometheus,
        chosen: &Chosen<'_>,
        at: f64,
    ) -> Result<Vec<Shown>> {
        let mut shown = Vec::new();
        for panel in self.queried() {
            let title = text(&panel["title"]);
            let mut queries = Vec::new();
            for target in list(&panel["targets"]) {
                let query = filled(text(&target["expr"]), chosen);
                let answer = if target["instant"] == true {
                    ask(server, "query", &[("query", &query), ("time", &at.to_string())]).await
                } else {
                    last_minute(server, &query, at).await
                };
                let answer = answer.with_context(|| format!("{} {title:?}: {query}", self.name))?;
                queries.push(last_values(&answer));
            }
            shown.push(Shown { board: self.name.clone(), panel: title.to_owned(), queries });
        }
        Ok(shown)
    }

    fn queried(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["panels"]).filter(|panel| panel["type"] != "row")
    }

    /// The titles of its panels.
    pub(super) fn panels(&self) -> impl Iterator<Item = String> {
        self.queried().map(|panel| text(&panel["title"]).to_owned())
    }

    /// The values that a variable offers, while the others are as chosen.
    pub(super) async fn offers(
        &self,
        server: &Prometheus,
        variable: &str,
        chosen: &Chosen<'_>,
    ) -> Result<BTreeSet<String>> {
        let variables = &self.json["templating"]["list"];
        let found = list(variables).find(|it| it["name"] == variable);
        let found = found.with_context(|| format!("{} has no variable {variable}", self.name))?;
        let query = text(&found["query"]["query"]);
        if let Some(inner) = query.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')'))
        {
            let (series, label) =
                inner.rsplit_once(", ").context("label_values without a label")?;
            let answer = ask(server, "series", &[("match[]", &filled(series, chosen))]).await?;
            return Ok(list(&answer).map(|it| text(&it[label]).to_owned()).collect());
        }
        let inner = query.strip_prefix("query_result(").and_then(|it| it.strip_suffix(')'));
        let inner = filled(inner.context("neither label_values nor query_result")?, chosen);
        let answer = ask(server, "query", &[("query", &inner)]).await?;
        let pick = Regex::new(text(&found["regex"]).trim_matches('/'))?;
        let lines = last_values(&answer).into_iter().map(|(labels, value)| {
            let labels = labels.iter().map(|(name, value)| format!("{name}={value:?}"));
            format!("{{{}}} {value} 0", labels.collect::<Vec<_>>().join(","))
        });
        Ok(lines.filter_map(|line| Some(pick.captures(&line)?[1].to_owned())).collect())
    }
}

impl Shown {
    /// The only value of a query.
    pub(crate) fn only(&self, query: usize) -> Option<f64> {
        match self.queries.get(query)?.as_slice() {
            [(_, value)] => Some(*value),
            _ => None,
        }
    }

    /// The values of all its queries whose series have these labels.
    pub(crate) fn with(&self, labels: &[(&str, &str)]) -> Vec<f64> {
        let is = |series: &BTreeMap<String, String>| {
            labels.iter().all(|(name, value)| series.get(*name).is_some_and(|it| it == value))
        };
        self.queries.iter().flatten().filter(|(series, _)| is(series)).map(|it| it.1).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queries.iter().all(Vec::is_empty)
    }
}

/// The longest names first, so that `$pipeline` does not eat into a longer one.
fn filled(query: &str, chosen: &Chosen<'_>) -> String {
    let mut query = query.replace("$__rate_interval", RATE_INTERVAL).replace("$__range", RANGE);
    for (name, value) in chosen.iter().rev() {
        query = query.replace(&format!("${name}"), value);
    }
    query
}

/// The present second, in seconds since 1970.
pub(super) async fn moment(server: &Prometheus) -> Result<f64> {
    let now = ask(server, "query", &[("query", "time()")]).await?;
    Ok(now["result"][0].as_f64().context("no time")?.floor())
}

async fn last_minute(server: &Prometheus, query: &str, at: f64) -> Result<Value> {
    let (start, end) = ((at - 60.0).to_string(), at.to_string());
    let pairs = [("query", query), ("start", &start), ("end", &end), ("step", "5")];
    let mut answer = ask(server, "query_range", &pairs).await?;
    // What has ended is on the panel, and is not what comes last.
    if let Some(series) = answer["result"].as_array_mut() {
        let end = |it: &Value| list(&it["values"]).last().and_then(|point| point[0].as_f64());
        series.retain(|it| end(it).is_some_and(|end| at - 1.0 < end));
    }
    Ok(answer)
}

/// The data of an answer of Prometheus' API.
pub(super) async fn ask(server: &Prometheus, what: &str, pairs: &[(&str, &str)]) -> Result<Value> {
    let words = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let (code, body) = http_get(server.port(), &format!("/api/v1/{what}?{words}")).await?;
    ensure!(code == 200, "{what} answers {code}: {body}");
    let mut body: Value = serde_json::from_str(&body)?;
    ensure!(body["status"] == "success", "{body}");
    Ok(body["data"].take())
}

/// The last value of each series that is a number.
fn last_values(data: &Value) -> Vec<(BTreeMap<String, String>, f64)> {
    let mut found = Vec::new();
    for series in list(&data["result"]) {
        let labels = series["metric"].as_object().into_iter().flatten();
        let labels = labels.map(|(name, value)| (name.clone(), text(value).to_owned())).collect();
        let points = list(&series["values"]).chain([&series["value"]]);
        let values = points.filter_map(|point| point[1].as_str()?.parse::<f64>().ok());
        found.extend(values.filter(|it| it.is_finite()).last().map(|value| (labels, value)));
    }
    found
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
