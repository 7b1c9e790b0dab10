//! The board of one pipeline: its delay and what it is sized by, its replicas, the reasons, its sources, and what was learned.

use penstock::report::metrics::table::{
    Family, HOLDS, PIPELINE_CONDITION, SCALE_MOVES, SOURCE_CREDENTIALS_REFUSED, SOURCE_POLLS,
    SOURCE_UP, STAGE_ANOMALY, STAGE_ARRIVAL_RATE, STAGE_DELAY, STAGE_FORECAST_RATE, STAGE_LAG,
    STAGE_OBJECTIVE, STAGE_REASON, STAGE_REBALANCE, STAGE_REPLICAS, STAGE_RESOLUTION,
    STAGE_SERVICE_RATE, STAGE_STARTUP,
};

use super::fleet::everywhere;
use super::panel::{Board, Look, Panel, Row, Variable};
use super::query::{LATELY, ONE, STAGES};

const STAGE: &[&str] = &["stage"];

fn of(family: &Family) -> String {
    STAGES.by(family, "", STAGE)
}

fn replicas(state: &str) -> String {
    STAGES.by(&STAGE_REPLICAS, &format!(r#"state="{state}""#), STAGE)
}

pub(super) fn board() -> Board {
    let here = everywhere().replace(r#"namespace=~".*""#, r#"namespace=~"$namespace""#);
    let stages = ONE.by(&STAGE_REPLICAS, r#"state="max""#, STAGE);
    let variable = |name, label, query, is_many| Variable { name, label, query, is_many };
    Board {
        uid: "penstock-pipeline",
        title: "Penstock / Pipeline",
        description: "One pipeline: how late it is, what it is sized by, and why it has the replicas it has.",
        variables: vec![
            variable(
                "namespace",
                "Namespace",
                format!("count by (namespace) ({})", everywhere()),
                false,
            ),
            variable("pipeline", "Pipeline", format!("count by (pipeline) ({here})"), false),
            variable("stage", "Stage", stages, true),
        ],
        rows: vec![now(), delay(), reasons(), sources(), learned()],
    }
}

fn now() -> Row {
    let stat = |title, description| Panel::new(Look::Stat, title, description);
    let ready = ONE.by(&PIPELINE_CONDITION, r#"type="Ready""#, &["status", "reason"]);
    Row {
        title: "Now",
        panels: vec![
            stat(
                "Ready",
                "Whether Penstock can do its work for this pipeline, and the reason if it cannot.",
            )
            .colours("text", &[])
            .width(4)
            .by_name()
            .query(format!("{ready} == 1"), "{{status}}: {{reason}}"),
            stat(
                "Delay against objective",
                "The delay of the worst stage as a share of its objective.",
            )
            .unit("percentunit")
            .colours("green", &[(0.8, "orange"), (1.0, "red")])
            .width(4)
            .query(
                format!("max({} / {})", of(&STAGE_DELAY), of(&STAGE_OBJECTIVE)),
                "of the objective",
            ),
            stat("Delay now", "Age of the oldest waiting item, of the worst stage.")
                .unit("s")
                .width(4)
                .query(format!("max({})", of(&STAGE_DELAY)), "delay"),
            stat("Items now", "Items that wait for the chosen stages.")
                .width(4)
                .query(format!("sum({})", of(&STAGE_LAG)), "items"),
            stat("Replicas wanted", "Replicas that the chosen stages should have.")
                .width(4)
                .query(format!("sum({})", replicas("desired")), "desired"),
            stat("Replicas ready", "Replicas of the chosen stages that are ready.")
                .width(4)
                .query(format!("sum({})", replicas("ready")), "ready"),
        ],
    }
}

fn delay() -> Row {
    let lines = |title, description| Panel::new(Look::Lines, title, description);
    let states =
        STAGES.by(&STAGE_REPLICAS, r#"state=~"current|ready|desired""#, &["stage", "state"]);
    let bounds = STAGES.by(&STAGE_REPLICAS, r#"state=~"min|max""#, &["stage", "state"]);
    Row {
        title: "Delay, load and replicas",
        panels: vec![
            lines("Delay", "Age of the oldest waiting item, what it may reach (dashed), and the finest delay that can be seen (dashed).")
                .unit("s")
                .dashed("/objective|finest/")
                .query(of(&STAGE_DELAY), "{{stage}}")
                .query(of(&STAGE_OBJECTIVE), "{{stage}} objective")
                .query(of(&STAGE_RESOLUTION), "{{stage}} finest to be seen"),
            lines("Items that wait", "Items that wait for each stage.")
                .query(of(&STAGE_LAG), "{{stage}}"),
            lines("Load", "Items a second that arrive, that are forecast for when new pods are at work (dashed, once a forecast has proved better than the present), and that the ready replicas get through when busy (dashed).")
                .unit("cps")
                .dashed("/forecast|could/")
                .query(of(&STAGE_ARRIVAL_RATE), "{{stage}} arrives")
                .query(of(&STAGE_FORECAST_RATE), "{{stage}} forecast")
                .query(format!("{} * {}", of(&STAGE_SERVICE_RATE), replicas("ready")), "{{stage}} could be done"),
            lines("Replicas", "Replicas of each stage: there are, are ready, should be; and the bounds they are kept in (dashed).")
                .dashed("/ (min|max)$/")
                .query(states, "{{stage}} {{state}}")
                .query(bounds, "{{stage}} {{state}}"),
        ],
    }
}

fn reasons() -> Row {
    let timeline = |title, description| {
        Panel::new(Look::Timeline, title, description)
            .colours("text", &[])
            .word(1.0, "is so", "blue")
    };
    let bars = |title, description| Panel::new(Look::Bars, title, description);
    let conditions = ONE.by(&PIPELINE_CONDITION, "", &["type", "status"]);
    Row {
        title: "Why",
        panels: vec![
            timeline("Reasons", "Why each stage has the replicas it has: the reason that bound, as in status and events.")
                .query(STAGES.by(&STAGE_REASON, "", &["stage", "reason"]), "{{stage}} {{reason}}"),
            timeline("Conditions", "In which status each condition of the pipeline stood.")
                .query(conditions, "{{type}} {{status}}"),
            bars("Moves", "Writes of a replica count, by stage, direction and reason.")
                .query(STAGES.count(&SCALE_MOVES, LATELY, &["stage", "direction", "reason"]), "{{stage}} {{direction}} {{reason}}"),
            bars("Holds", "Times that a stage began to be held back from what it wishes.")
                .query(STAGES.count(&HOLDS, LATELY, &["stage", "reason"]), "{{stage}} {{reason}}"),
            timeline("What is odd", "What stands out though it need not bind the count, such as one sick consumer. \"in all\" is how many of them there are.")
                .width(24)
                .query(STAGES.by(&STAGE_ANOMALY, "", &["stage", "reason"]), "{{stage}} {{reason}}")
                .query(super::query::or_none(&format!("count({})", STAGES.of(&STAGE_ANOMALY, ""))), "in all"),
        ],
    }
}

fn sources() -> Row {
    let timeline = |title, description| Panel::new(Look::Timeline, title, description);
    let source: &[&str] = &["stage", "source"];
    Row {
        title: "Sources",
        panels: vec![
            timeline("Heard", "Whether the latest reading of each source is complete and young. Without it the stage is never lowered.")
                .colours("text", &[])
                .word(0.0, "not heard", "red")
                .word(1.0, "heard", "green")
                .width(8)
                .query(STAGES.by(&SOURCE_UP, "", source), "{{stage}} {{source}}"),
            timeline("Credentials", "Whether the newest credentials of each source are refused while the former ones still work.")
                .colours("text", &[])
                .word(0.0, "in use", "green")
                .word(1.0, "refused", "red")
                .width(8)
                .query(STAGES.by(&SOURCE_CREDENTIALS_REFUSED, "", source), "{{stage}} {{source}}"),
            Panel::new(Look::Lines, "Polls", "How often each source is asked a second, by what came of it; all replicas of Penstock ask.")
                .unit("cps")
                .width(8)
                .query(STAGES.rate(&SOURCE_POLLS, "", &["stage", "source", "result"]), "{{stage}} {{source}} {{result}}"),
        ],
    }
}

fn learned() -> Row {
    let lines = |title, description| Panel::new(Look::Lines, title, description).width(8);
    Row {
        title: "What was learned",
        panels: vec![
            lines(
                "Rate of a replica",
                "Items a second that one replica gets through when it is busy, learned or stated.",
            )
            .unit("cps")
            .query(of(&STAGE_SERVICE_RATE), "{{stage}}"),
            lines(
                "Time to Ready",
                "From the write of a replica count to Ready pods, learned or stated.",
            )
            .unit("s")
            .query(of(&STAGE_STARTUP), "{{stage}}"),
            lines("Rebalance", "How long a stage's consumers pause when their number changes.")
                .unit("s")
                .query(of(&STAGE_REBALANCE), "{{stage}}"),
        ],
    }
}
