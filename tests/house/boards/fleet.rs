//! The board of all pipelines: are promises kept, and where is someone needed.

use penstock::report::metrics::table::{
    HOLDS, INVARIANT_VIOLATIONS, PIPELINE_CONDITION, SCALE_MOVES, SOURCE_CREDENTIALS_REFUSED,
    SOURCE_UP, STAGE_ANOMALY, STAGE_ARRIVAL_RATE, STAGE_DELAY, STAGE_LAG, STAGE_OBJECTIVE,
    STAGE_REASON, STAGE_REPLICAS, STAGE_SERVICE_RATE,
};

use super::panel::{Board, Look, Panel, Row, Variable};
use super::query::{FLEET, LATELY, SHOWN, leaders, or_none, own};

/// How much of its objective each stage's delay is.
fn share() -> String {
    let (delay, objective) = (FLEET.of(&STAGE_DELAY, ""), FLEET.of(&STAGE_OBJECTIVE, ""));
    format!("{delay} / {objective}")
}

fn conditions(matchers: &str, labels: &[&str]) -> String {
    FLEET.by(&PIPELINE_CONDITION, matchers, labels)
}

const OF: &[&str] = &["namespace", "pipeline"];
const WITH_REASON: &[&str] = &["namespace", "pipeline", "type", "reason"];

pub(super) fn board() -> Board {
    Board {
        uid: "penstock-fleet",
        title: "Penstock / Fleet",
        description: "All pipelines: whether promises are kept, where someone is needed, and what moved.",
        variables: vec![Variable {
            name: "namespace",
            label: "Namespace",
            query: format!("count by (namespace) ({})", everywhere()),
            is_many: true,
        }],
        rows: vec![promises(), attention(), work(), moves()],
    }
}

/// Every pipeline there is, whatever namespace is chosen.
pub(super) fn everywhere() -> String {
    conditions(r#"type="Ready""#, OF).replace(r#"namespace=~"$namespace""#, r#"namespace=~".*""#)
}

fn promises() -> Row {
    let stat = |title, description| Panel::new(Look::Stat, title, description);
    let none_is_good =
        |title, description| stat(title, description).colours("green", &[(1.0, "red")]);
    let (delay, objective) = (FLEET.of(&STAGE_DELAY, ""), FLEET.of(&STAGE_OBJECTIVE, ""));
    let up = FLEET.of(&SOURCE_UP, "");
    Row {
        title: "Promises",
        panels: vec![
            stat("In time", "Share of the stages with an objective whose oldest waiting item is within it.")
                .unit("percentunit")
                .colours("red", &[(0.95, "orange"), (0.999, "green")])
                .query(format!("avg({delay} <= bool {objective})"), "in time"),
            none_is_good("Late stages", "Stages whose oldest waiting item is older than the objective.")
                .query(or_none(&format!("count({delay} > {objective})")), "late"),
            none_is_good("Not ready", "Pipelines for which Penstock cannot do its work: Ready is False.")
                .query(or_none(&format!("count({})", conditions(r#"type="Ready", status="False""#, OF))), "not ready"),
            none_is_good("In fallback", "Pipelines that run by their fallback, since readings are missing.")
                .query(or_none(&format!("count({})", conditions(r#"type="Fallback", status="True""#, OF))), "in fallback"),
            none_is_good("Sources down", "Sources whose latest reading is missing, partial or old on every replica of Penstock.")
                .query(or_none(&format!("count({up} == 0)")), "down"),
            none_is_good("Broken promises of its own", "Decisions that broke an invariant of Penstock and were not carried out. Always 0; else please report it.")
                .query(format!("sum(increase({}[{SHOWN}]))", own(&INVARIANT_VIOLATIONS)), "broken"),
            stat("Leaders", "Replicas of Penstock that lead, of the release that is furthest from one. One writes; the others stand by, warm.")
                .colours("red", &[(1.0, "green"), (2.0, "red")])
                .query(leaders(), "leaders"),
            stat("Pipelines", "Pipelines that Penstock looks after.")
                .query(format!("count({})", conditions(r#"type="Ready""#, OF)), "pipelines"),
        ],
    }
}

fn attention() -> Row {
    let table = |title, description| Panel::new(Look::Table, title, description);
    let up = FLEET.of(&SOURCE_UP, "");
    let refused = FLEET.of(&SOURCE_CREDENTIALS_REFUSED, "");
    Row {
        title: "Who needs someone",
        panels: vec![
            table("Nearest to their promise, or past it", "The twenty stages whose delay is the greatest share of their objective.")
                .unit("percentunit")
                .colours("green", &[(0.8, "orange"), (1.0, "red")])
                .leading_on()
                .query(format!("topk(20, {})", share()), ""),
            table("Conditions that want someone", "Pipelines that are not ready, run by their fallback, share their target with another writer, or are paused.")
                .leading_on()
                .query(conditions(r#"type="Ready", status="False""#, WITH_REASON), "")
                .query(conditions(r#"type=~"Fallback|WriterConflict|Paused", status="True""#, WITH_REASON), ""),
            table("Sources that are not heard", "Sources whose latest reading is missing, partial or old (0), and sources whose newest credentials are refused while the former ones still work (1).")
                .leading_on()
                .query(format!("{up} == 0"), "")
                .query(format!("{refused} == 1"), ""),
            table("What is odd", "What stands out though it need not bind a count: partitions that stand still, one sick consumer, slower replicas, unusual arrivals. 0 in all means none.")
                .leading_on()
                .query(or_none(&FLEET.of(&STAGE_ANOMALY, "")), ""),
        ],
    }
}

fn work() -> Row {
    let lines = |title, description| Panel::new(Look::Lines, title, description);
    let arrives = FLEET.of(&STAGE_ARRIVAL_RATE, "");
    let rate = FLEET.of(&STAGE_SERVICE_RATE, "");
    let ready = FLEET.by(&STAGE_REPLICAS, r#"state="ready""#, &["namespace", "pipeline", "stage"]);
    let replicas = FLEET.of(&STAGE_REPLICAS, r#"state=~"current|ready|desired""#);
    Row {
        title: "Work",
        panels: vec![
            lines("Delay against objective", "Delay as a share of the objective, the ten worst stages. Above 100 % the promise is broken.")
                .unit("percentunit")
                .colours("text", &[(1.0, "red")])
                .query(format!("topk(10, {})", share()), "{{namespace}}/{{pipeline}} {{stage}}"),
            lines("Items that wait", "Items that wait for all stages of a pipeline, the ten greatest.")
                .query(format!("topk(10, sum by (namespace, pipeline) ({}))", FLEET.of(&STAGE_LAG, "")), "{{namespace}}/{{pipeline}}"),
            lines("What arrives, and what could be done", "Items a second that arrive for all stages, and that their ready replicas get through when busy.")
                .unit("cps")
                .query(format!("sum({arrives})"), "arrives")
                .query(format!("sum({rate} * on (namespace, pipeline, stage) {ready})"), "could be done"),
            lines("Replicas", "Replicas of all stages: there are, are ready, should be.")
                .query(format!("sum by (state) ({replicas})"), "{{state}}"),
        ],
    }
}

fn moves() -> Row {
    let bars = |title, description| Panel::new(Look::Bars, title, description);
    Row {
        title: "Moves and reasons",
        panels: vec![
            bars("Moves", "Writes of a replica count, by direction.")
                .query(FLEET.count(&SCALE_MOVES, LATELY, &["direction"]), "{{direction}}"),
            bars(
                "Holds",
                "Times that a stage began to be held back from what it wishes, by reason.",
            )
            .query(FLEET.count(&HOLDS, LATELY, &["reason"]), "{{reason}}"),
            bars(
                "Why stages have what they have",
                "Stages by the reason that binds their count now.",
            )
            .query(format!("count by (reason) ({})", FLEET.of(&STAGE_REASON, "")), "{{reason}}"),
            Panel::new(
                Look::Table,
                "Moves by reason",
                "Writes of a replica count within the time shown, by direction and reason.",
            )
            .query(FLEET.count(&SCALE_MOVES, SHOWN, &["direction", "reason"]), ""),
        ],
    }
}
