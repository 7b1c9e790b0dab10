//! The board of nodes: whether pools give any, where the lanes of stages run, and what all of it costs.

use penstock::report::metrics::table::{
    HEADROOM_COST, IDLE_COST, INTERRUPTIONS, LANE_REPLICAS, PIPELINE_CONDITION, POOL_COST,
    POOL_NODES, POOL_STATE, SAVED_COST, STAGE_COST,
};

use super::fleet::everywhere;
use super::panel::{Board, Look, Panel, Row, Variable};
use super::query::{FLEET, LATELY, or_none, own, own_where};

/// What Grafana writes before money: nothing, until the chart puts its `currency` behind the colon.
const MONEY: &str = "currency:";

pub(super) fn board() -> Board {
    Board {
        uid: "penstock-capacity",
        title: "Penstock / Capacity and cost",
        description: "Pools of nodes: whether they give any, which replicas run on which, and what it costs.",
        variables: vec![Variable {
            name: "namespace",
            label: "Namespace",
            query: format!("count by (namespace) ({})", everywhere()),
            is_many: true,
        }],
        rows: vec![pools(), lanes(), cost()],
    }
}

fn pools() -> Row {
    let state = own_where(&POOL_STATE, "");
    // One number for each state, so that a timeline can colour it.
    let number = ["Unknown", "Available", "Constrained", "Exhausted"]
        .iter()
        .zip(0..)
        .map(|(word, number)| {
            format!(
                "max by (pool) ({}) * {number}",
                own_where(&POOL_STATE, &format!("state=\"{word}\""))
            )
        })
        .collect::<Vec<_>>()
        .join(" + ");
    let short = format!(
        "count(max by (pool) ({}) == 1)",
        state.replace('}', ", state=~\"Constrained|Exhausted\"}")
    );
    Row {
        title: "Pools of nodes",
        panels: vec![
            Panel::new(Look::Stat, "Pools that give no nodes", "Pools that are constrained or exhausted.")
                .colours("green", &[(1.0, "red")])
                .query(or_none(&short), "short"),
            Panel::new(Look::Timeline, "State of each pool", "Whether nodes can be had: signs of those who make nodes, and pods that wait for one, tell.")
                .colours("text", &[])
                .word(0.0, "unknown", "text")
                .word(1.0, "available", "green")
                .word(2.0, "constrained", "orange")
                .word(3.0, "exhausted", "red")
                .width(12)
                .query(number, "{{pool}}"),
            Panel::new(Look::Lines, "Nodes", "Nodes of each pool that are ready and stay.")
                .query(format!("max by (pool) ({})", own(&POOL_NODES)), "{{pool}}"),
        ],
    }
}

fn lanes() -> Row {
    let lane = |state: &str| {
        FLEET.by(
            &LANE_REPLICAS,
            &format!("state=\"{state}\""),
            &["namespace", "pipeline", "stage", "pool"],
        )
    };
    let legend = "{{namespace}}/{{pipeline}} {{stage}} on {{pool}}";
    let short = FLEET.by(
        &PIPELINE_CONDITION,
        r#"type="CapacityShort", status="True""#,
        &["namespace", "pipeline", "reason"],
    );
    Row {
        title: "Lanes",
        panels: vec![
            Panel::new(Look::Lines, "Ready replicas by lane", "Ready replicas of each lane of each stage that has lanes.")
                .query(lane("ready"), legend),
            Panel::new(Look::Lines, "Away from their share", "Replicas that a lane should have now, above or below what falls to it when every pool gives nodes.")
                .query(format!("{} - {}", lane("desired"), lane("share")), legend),
            Panel::new(Look::Lines, "Interruptions", "Ready pods that the interruption of their node has ended, and whether the stage had as many ready replicas as it needs all the same.")
                .query(
                    FLEET.count(&INTERRUPTIONS, LATELY, &["namespace", "pipeline", "stage", "pool", "survived"]),
                    "{{namespace}}/{{pipeline}} {{stage}} on {{pool}}, survived: {{survived}}",
                ),
            Panel::new(Look::Table, "Short of nodes", "Pipelines with a lane whose pool gives no nodes. 0 in all means none.")
                .leading_on()
                .query(or_none(&short), ""),
        ],
    }
}

fn cost() -> Row {
    let stage = FLEET.of(&STAGE_COST, "");
    let money = |look, title, description| Panel::new(look, title, description).unit(MONEY);
    Row {
        title: "Cost, in an hour",
        panels: vec![
            money(Look::Stat, "All stages", "What the pods of all stages cost in an hour, by their share of the nodes they stand on.")
                .colours("text", &[])
                .query(or_none(&format!("sum({stage})")), "cost"),
            money(Look::Lines, "By pool", "What the nodes of each pool cost in an hour, whoever uses them.")
                .query(format!("max by (pool) ({})", own(&POOL_COST)), "{{pool}}"),
            money(Look::Lines, "By pipeline", "What the stages of a pipeline cost in an hour, the ten dearest.")
                .query(format!("topk(10, sum by (namespace, pipeline) ({stage}))"), "{{namespace}}/{{pipeline}}"),
            money(Look::Lines, "Room kept free", "What the room costs in an hour that is kept on nodes for replicas to come, the ten dearest.")
                .query(format!("topk(10, {})", FLEET.of(&HEADROOM_COST, "")), "{{namespace}}/{{pipeline}} {{stage}} on {{pool}}"),
            money(Look::Lines, "Idle, by pool", "What the nodes of each pool cost in an hour beyond what pods of stages, and the room kept for them, take: idle, or used by others.")
                .query(format!("max by (pool) ({})", own(&IDLE_COST)), "{{pool}}"),
            money(Look::Lines, "Saved by spot", "What the pods of lanes on spot would have cost more in an hour on the cheapest pool on demand of their stage.")
                .query(format!("3600 * {}", FLEET.rate(&SAVED_COST, "", &["namespace", "pipeline", "stage", "pool"])), "{{namespace}}/{{pipeline}} {{stage}} on {{pool}}"),
            money(Look::Lines, "By stage and pool", "What each stage costs in an hour on each pool, the ten dearest.")
                .query(format!("topk(10, {stage})"), "{{namespace}}/{{pipeline}} {{stage}} on {{pool}}"),
        ],
    }
}
