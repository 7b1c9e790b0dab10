//! The rules that a board must keep, after those of grafana/dashboard-linter 0.2, and a few of our own: only metrics and labels
//! that the table knows, and both namings of the namespace.

use penstock::report::metrics::table::{FAMILIES, Kind};
use serde_json::Value;

use super::promql::{self, Mention};
use super::query::{LATELY, SHOWN};

/// Labels that Prometheus adds to what it scrapes, or makes.
const SCRAPED: &[&str] = &["cluster", "job", "instance", "le"];

/// All that a board asks: its panels' queries and those of its variables.
pub(super) fn queries(board: &Value) -> Vec<String> {
    let targets = panels(board).flat_map(|panel| list(&panel["targets"]));
    let asked = targets.map(|target| text(&target["expr"]).to_owned());
    asked.chain(list(&board["templating"]["list"]).filter_map(variable_query)).collect()
}

/// The PromQL within a variable's query.
fn variable_query(variable: &Value) -> Option<String> {
    let query = variable["query"]["query"].as_str()?;
    if let Some(inner) = query.strip_prefix("query_result(") {
        return inner.strip_suffix(')').map(str::to_owned);
    }
    let inner = query.strip_prefix("label_values(")?.strip_suffix(')')?;
    Some(inner.rsplit_once(',')?.0.to_owned())
}

fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    list(&board["panels"]).filter(|panel| panel["type"] != "row")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What is wrong with a board.
pub(super) fn board(board: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if board["editable"] != false {
        found.push(
            "the board is editable, though the chart would overwrite what is edited".to_owned(),
        );
    }
    if text(&board["uid"]).is_empty() {
        found.push("the board has no uid, so links to it break".to_owned());
    }
    found.extend(variables(board));
    for panel in panels(board) {
        let title = text(&panel["title"]);
        found.extend(self::panel(panel).into_iter().map(|it| format!("panel {title:?} {it}")));
    }
    let mut titles: Vec<_> = panels(board).map(|panel| text(&panel["title"])).collect();
    let count = titles.len();
    titles.sort_unstable();
    titles.dedup();
    if titles.len() < count {
        found.push("two panels have one title".to_owned());
    }
    found
}

fn variables(board: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let named = |name: &str| list(&board["templating"]["list"]).find(|it| it["name"] == name);
    match named("datasource") {
        Some(it)
            if it["type"] == "datasource"
                && it["label"] == "Data source"
                && it["query"] == "prometheus" => {}
        Some(_) => {
            found.push("variable datasource is not a data source of type prometheus".to_owned());
        }
        None => found.push("there is no variable datasource".to_owned()),
    }
    for (name, label, all) in
        [("cluster", "Cluster", ".*"), ("job", "Job", ".+"), ("instance", "Instance", ".+")]
    {
        let is_good = named(name).is_some_and(|it| {
            it["type"] == "query"
                && it["label"] == label
                && it["multi"] == true
                && it["allValue"] == all
        });
        if !is_good {
            found.push(format!(
                "variable {name} is not a query called {label} of which all ({all}) may be chosen"
            ));
        }
    }
    for variable in list(&board["templating"]["list"]).filter(|it| it["type"] == "query") {
        let name = text(&variable["name"]);
        if variable["refresh"] != 2 {
            found.push(format!("variable {name} is not asked anew when the time range changes"));
        }
        if variable["datasource"]["uid"] != "${datasource}" {
            found.push(format!("variable {name} names a data source of its own"));
        }
        match variable_query(variable) {
            Some(query) => {
                if let Err(error) = promql::read(&query) {
                    found.push(format!("variable {name} asks what is no PromQL: {error}"));
                }
            }
            None => found
                .push(format!("variable {name} asks for neither label_values nor query_result")),
        }
    }
    found
}

fn panel(panel: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if text(&panel["title"]).is_empty() {
        found.push("has no title".to_owned());
    }
    if text(&panel["description"]).is_empty() {
        found.push("has no description".to_owned());
    }
    if text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty() {
        found.push("has no unit".to_owned());
    }
    if panel["datasource"]["uid"] != "${datasource}" {
        found.push("names a data source of its own".to_owned());
    }
    if list(&panel["targets"]).next().is_none() {
        found.push("asks nothing".to_owned());
    }
    for target in list(&panel["targets"]) {
        let query = text(&target["expr"]);
        if target["datasource"]["uid"] != "${datasource}" {
            found.push(format!("asks a data source of its own: {query}"));
        }
        match promql::read(query) {
            Ok(read) => {
                let by_namespace = read.labels.contains("namespace");
                found.extend(read.mentions.iter().flat_map(|it| mention(it, by_namespace, query)));
                found.extend(labels(&read.labels, query));
            }
            Err(error) => found.push(format!("asks what is no PromQL: {error}: {query}")),
        }
        found.extend(ranges(query));
    }
    found
}

fn mention(mention: &Mention, by_namespace: bool, query: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Some(family) = promql::of(&mention.name) else {
        return vec![format!("asks for {}, which is no metric of ours", mention.name)];
    };
    let has = |label: &str, value: &str| {
        mention.matchers.iter().any(|(name, is)| name == label && is == value)
    };
    for label in ["cluster", "job", "instance"] {
        if !has(label, &format!("${label}")) {
            found.push(format!("does not ask by {label}: {query}"));
        }
    }
    let own = |name: &str| family.labels.iter().any(|label| label.name == name);
    for (name, _) in &mention.matchers {
        if !own(name) && !SCRAPED.contains(&name.as_str()) && name != "exported_namespace" {
            found.push(format!("asks {} by {name}, a label that it does not have", mention.name));
        }
    }
    let asks = |label: &str| mention.matchers.iter().any(|(name, _)| name == label);
    let names_one = by_namespace || asks("namespace") || asks("pipeline");
    if own("namespace") && names_one && !asks("exported_namespace") {
        found.push(format!("asks {} by one naming of the namespace only", mention.name));
    }
    let grows = family.kind == Kind::Counter
        || (family.kind == Kind::Histogram && mention.name != family.name);
    let reads = mention.function.as_deref();
    let is_rate = matches!(reads, Some("rate" | "irate" | "increase"));
    // The first value of a series is no growth that these functions see: `Scope::count`.
    let is_first = reads == Some("min_over_time") || (mention.is_absent && reads.is_none());
    if grows && !is_rate && !is_first {
        found
            .push(format!("asks for {}, a counter that is not read as one: {query}", mention.name));
    }
    if !grows && is_rate {
        found
            .push(format!("asks for {}, a gauge that is read as a counter: {query}", mention.name));
    }
    found
}

fn labels<'a>(labels: impl IntoIterator<Item = &'a String>, query: &str) -> Vec<String> {
    let known = |label: &str| {
        SCRAPED.contains(&label)
            || FAMILIES.iter().flat_map(|it| it.labels).any(|it| it.name == label)
    };
    labels
        .into_iter()
        .filter(|label| !known(label))
        .map(|label| {
            format!("puts together by a label that no metric has: no label {label}: {query}")
        })
        .collect()
}

/// Ranges follow the scrape interval and what is shown, so none is written as a number.
fn ranges(query: &str) -> Vec<String> {
    let ranges = query.split('[').skip(1).filter_map(|rest| Some(rest.split_once(']')?.0));
    ranges
        .filter(|range| {
            *range != LATELY && *range != SHOWN && range.ends_with(['s', 'm', 'h', 'd'])
        })
        .map(|range| format!("reads over [{range}]: {query}"))
        .collect()
}
