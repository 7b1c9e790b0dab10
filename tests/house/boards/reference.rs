//! The page `docs/metrics.md`, made of the table of metrics.

use std::fmt::Write;

use penstock::report::metrics::table::{FAMILIES, Family, Label, ToldBy};

const HEAD: &str = r"<!-- Made of src/report/metrics/table.rs by `make boards`; edit that, or tests/house/boards/reference.rs. -->
# Metrics
Every replica of Penstock serves them as OpenMetrics at `/metrics` of `--listen` (port 8080). The series of a deleted pipeline, and of a stage
that is gone from its pipeline, disappear with it. What is not known has no series: it is never 0.

The chart brings what reads them: scrapes (`serviceMonitor.enabled` or `podMonitor.enabled`), Grafana boards (`dashboards.enabled`) and alerts
(`prometheusRule.enabled`), each alert with a [runbook](runbooks/README.md). Without the Prometheus operator, load `charts/penstock/rules/penstock.yaml` as a rule
file, and import `charts/penstock/dashboards/*.json` by hand.

";

const MIDDLE: &str = r"
Who tells a metric says how to put together the series of several replicas of Penstock: *all* of them see the same world, so take the greatest (`max by
(namespace, pipeline, stage)`); *each* tells of its own work, so add up or look at each; *the leader* alone tells it, and the others say nothing.

## Labels
| label | holds |
| --- | --- |
";

const TAIL: &str = r#"
## `namespace` or `exported_namespace`
`namespace` is the pipeline's. A scrape by the Prometheus operator adds a `namespace` of its own, that of Penstock's pod; which of the two keeps the name is
said by `honorLabels`. The chart's monitors set it to `true`: the pipeline's stays. With `false` it becomes `exported_namespace`. The boards and the alerts of
the chart read both; a query of your own does so by

    label_replace(penstock_stage_lag_messages, "namespace", "$1", "exported_namespace", "(.+)")

## Counting what is rare
A series of `penstock_scale_moves_total` or `penstock_holds_total` begins at 1, the first time that its reason occurs, and `increase()` does not see that. To count moves, add the first
values, as the boards do:

    sum(increase(penstock_scale_moves_total[1h]))
      + (sum(min_over_time(penstock_scale_moves_total[1h]) unless penstock_scale_moves_total offset 1h) or vector(0))

## How many series
About 15 for each stage, 6 for each pipeline, and 3 to 5 for each source, of each replica of Penstock; reasons, conditions, moves and holds of the leader only.
"#;

/// Which metrics stand under a heading.
type Choice = fn(&Family) -> bool;

pub(super) fn page() -> String {
    let mut page = HEAD.to_owned();
    let rooms: [(&str, Choice); 4] = [
        ("Stages and pipelines", |it| has(it, "pipeline") && !has(it, "source") && !is_count(it)),
        ("Moves and holds", |it| has(it, "pipeline") && !has(it, "source") && is_count(it)),
        ("Sources", |it| it.name.starts_with("penstock_source_")),
        ("Penstock itself", |it| !has(it, "pipeline") && !it.name.starts_with("penstock_source_")),
    ];
    for (title, is_in) in rooms {
        let _ = writeln!(
            page,
            "## {title}\n| metric | kind | labels | told by | what it says |\n| --- | --- | --- | --- | --- |"
        );
        for family in FAMILIES.iter().filter(|family| is_in(family)) {
            let Family { name, kind, labels, told_by, help, .. } = family;
            let labels: Vec<String> =
                labels.iter().map(|label| format!("`{}`", label.name)).collect();
            let told_by = match told_by {
                ToldBy::All => "all",
                ToldBy::Each => "each",
                ToldBy::Leader => "the leader",
            };
            let _ =
                writeln!(page, "| `{name}` | {kind} | {} | {told_by} | {help} |", labels.join(" "));
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page.push_str(MIDDLE);
    let mut seen: Vec<&Label> = Vec::new();
    for label in FAMILIES.iter().flat_map(|family| family.labels) {
        if !seen.contains(&label) {
            seen.push(label);
            let _ = writeln!(page, "| `{}` | {} |", label.name, label.holds);
        }
    }
    page.push_str(TAIL);
    page
}

fn has(family: &Family, label: &str) -> bool {
    family.labels.iter().any(|it| it.name == label)
}

fn is_count(family: &Family) -> bool {
    family.name.ends_with("_total")
}
