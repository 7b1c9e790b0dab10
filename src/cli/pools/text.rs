//! What `penstock pools` prints: a table, the same as a document, and manifests with what they were derived from. Called by the command.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context;
use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::figures::{self, shown};
use super::propose::{Proposal, Proposed};
use super::seen::Ground;
use crate::crd::CapacityPool;
use crate::crd::pool::Class;
use crate::crd::pool_status::{PoolEvidence, PoolState};

/// More nodes than these are not named in the table.
const NAMED: usize = 5;

/// What there is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pools: Vec<Known>,
    /// Node pools without a CapacityPool.
    without: Vec<Lacking>,
    /// Nodes that belong to no pool, and whose labels do not tell how they were had.
    unmarked_nodes: Vec<String>,
}

/// A CapacityPool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    name: String,
    class: Class,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<PoolState>,
    /// Counted now.
    nodes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_per_hour: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest_evidence: Option<PoolEvidence>,
}

/// A node pool without a CapacityPool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Lacking {
    /// What the proposal calls it.
    name: String,
    class: Class,
    nodes: usize,
    node_selector: BTreeMap<String, String>,
    from: String,
}

/// Puts together what there is.
pub(super) fn report(ground: &Ground, proposed: &Proposed) -> Report {
    let known = |pool: &CapacityPool| {
        let status = pool.status.clone().unwrap_or_default();
        Known {
            name: pool.name_any(),
            class: pool.spec.class,
            state: status.state,
            nodes: ground.nodes_of(pool),
            cost_per_hour: status.cost_per_hour,
            since: status.since,
            newest_evidence: status.evidence.into_iter().max_by_key(|evidence| evidence.at),
        }
    };
    let lacking = |proposal: &Proposal| Lacking {
        name: proposal.pool.name_any(),
        class: proposal.pool.spec.class,
        nodes: proposal.nodes,
        node_selector: proposal.pool.spec.node_selector.clone(),
        from: proposal.from.clone(),
    };
    Report {
        pools: ground.pools.iter().map(known).collect(),
        without: proposed.pools.iter().map(lacking).collect(),
        unmarked_nodes: proposed.unmarked.clone(),
    }
}

/// The same for people.
pub(super) fn table(report: &Report) -> String {
    let mut parts = Vec::new();
    if report.pools.is_empty() {
        parts.push("There is no CapacityPool.\n".to_owned());
    } else {
        let mut table = figures::table([
            "NAME",
            "CLASS",
            "STATE",
            "NODES",
            "COST/H",
            "SINCE",
            "NEWEST EVIDENCE",
        ]);
        for pool in &report.pools {
            let when = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
            let evidence = pool.newest_evidence.as_ref();
            table.add_row([
                pool.name.clone(),
                format!("{:?}", pool.class),
                shown(pool.state.map(|state| format!("{state:?}"))),
                pool.nodes.to_string(),
                shown(pool.cost_per_hour.as_ref()),
                shown(pool.since.map(when)),
                shown(evidence.map(|it| format!("{}: {} ({:?})", when(it.at), it.what, it.kind))),
            ]);
        }
        parts.push(plain(&table));
    }
    if !report.without.is_empty() {
        let mut table = figures::table(["WITHOUT A CAPACITYPOOL", "CLASS", "NODES", "FOUND BY"]);
        for lacking in &report.without {
            table.add_row([
                lacking.name.clone(),
                format!("{:?}", lacking.class),
                lacking.nodes.to_string(),
                lacking.from.clone(),
            ]);
        }
        let hint = "hint: penstock pools --propose prints them, for kubectl apply -f -";
        parts.push(format!("{}{hint}\n", plain(&table)));
    }
    if !report.unmarked_nodes.is_empty() {
        parts.push(format!("{}\n", unmarked(&report.unmarked_nodes)));
    }
    parts.join("\n")
}

/// The proposals as YAML, each with what it was derived from.
///
/// # Errors
/// One cannot be printed.
pub(super) fn manifests(proposed: &Proposed) -> anyhow::Result<String> {
    let mut text = String::new();
    for proposal in &proposed.pools {
        let nodes = match proposal.nodes {
            0 => "no node now".to_owned(),
            1 => "1 node now".to_owned(),
            nodes => format!("{nodes} nodes now"),
        };
        let _ = writeln!(text, "---\n# Found by {}; {nodes}.", proposal.from);
        for note in &proposal.notes {
            let _ = writeln!(text, "# {note}");
        }
        text.push_str(&serde_saphyr::to_string(&proposal.pool).context("cannot print YAML")?);
    }
    if proposed.pools.is_empty() {
        text.push_str("# Nothing to propose: what can be told of nodes by their labels has its CapacityPool.\n");
    }
    if !proposed.unmarked.is_empty() {
        let _ = writeln!(text, "# {}", unmarked(&proposed.unmarked));
    }
    Ok(text)
}

/// The proposals as one list.
pub(super) fn list(proposed: &Proposed) -> Value {
    let items: Vec<_> = proposed.pools.iter().map(|proposal| &proposal.pool).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn unmarked(nodes: &[String]) -> String {
    let some: Vec<&str> = nodes.iter().map(String::as_str).take(NAMED).collect();
    let more = if nodes.len() > some.len() {
        format!(" and {} more", nodes.len() - some.len())
    } else {
        String::new()
    };
    format!(
        "Nodes of no pool, whose labels do not tell how they were had: {}{more}; hint: write a CapacityPool with a label they share",
        some.join(", ")
    )
}

/// A table without what its columns leave blank at the ends of lines.
fn plain(table: &comfy_table::Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    format!("{}\n", lines.join("\n"))
}
