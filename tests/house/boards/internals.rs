//! The board of Penstock itself: who leads, whether the loop keeps time, how asking sources and the API server goes.

use penstock::report::metrics::table::{
    API_REQUESTS, BUILD, INVARIANT_VIOLATIONS, LEADER, RECORDED_TURNS, SOURCE_POLL_DURATION,
    SOURCE_POLLS, TURN_DURATION, TURN_LATENESS,
};

use super::panel::{Board, Look, Panel, Row};
use super::query::{LATELY, SHOWN, buckets, leaders, own, own_rate, own_where, quantile};

pub(super) fn board() -> Board {
    Board {
        uid: "penstock-internals",
        title: "Penstock / Internals",
        description: "Penstock itself: who leads, whether the loop keeps time, and how sources and the API server answer.",
        variables: Vec::new(),
        rows: vec![replicas(), turns(), sources(), server()],
    }
}

fn replicas() -> Row {
    Row {
        title: "Replicas of Penstock",
        panels: vec![
            Panel::new(Look::Stat, "Running", "Replicas of Penstock that are scraped.")
                .colours("red", &[(1.0, "orange"), (2.0, "green")])
                .query(format!("count({})", own(&BUILD)), "running"),
            Panel::new(Look::Stat, "Leaders", "Replicas of Penstock that lead, of the release that is furthest from one. One writes; the others stand by, warm.")
                .colours("red", &[(1.0, "green"), (2.0, "red")])
                .query(leaders(), "leaders"),
            Panel::new(Look::Stat, "Broken promises of its own", "Decisions that broke an invariant of Penstock and were not carried out. Always 0; else please report it.")
                .colours("green", &[(1.0, "red")])
                .query(format!("sum(increase({}[{SHOWN}]))", own(&INVARIANT_VIOLATIONS)), "broken"),
            Panel::new(Look::Timeline, "Who leads", "Which replica of Penstock held the lease.")
                .colours("text", &[])
                .word(0.0, "stands by", "text")
                .word(1.0, "leads", "green")
                .width(9)
                .query(format!("max by (instance) ({})", own(&LEADER)), "{{instance}}"),
            Panel::new(Look::Table, "Versions", "How many replicas run which version.")
                .width(6)
                .query(format!("count by (version) ({})", own(&BUILD)), ""),
        ],
    }
}

fn turns() -> Row {
    let lines = |title, description| Panel::new(Look::Lines, title, description);
    let taken = format!("{}_count", TURN_DURATION.name);
    let taken = own(&TURN_DURATION).replacen(TURN_DURATION.name, &taken, 1);
    Row {
        title: "The loop",
        panels: vec![
            Panel::new(
                Look::Heatmap,
                "How long turns take",
                "Turns a second by how long they took.",
            )
            .unit("s")
            .query(buckets(&TURN_DURATION), "{{le}}"),
            lines("Slow turns", "The time that half, and 99 of 100, of the turns stay below.")
                .unit("s")
                .query(quantile(&TURN_DURATION, 0.5), "{{instance}} half")
                .query(quantile(&TURN_DURATION, 0.99), "{{instance}} 99 %"),
            lines("Turns", "Turns a second that had something to decide.")
                .unit("cps")
                .query(format!("sum by (instance) (rate({taken}[{LATELY}]))"), "{{instance}}"),
            lines("Lateness", "How long after it was due the latest turn began.")
                .unit("s")
                .query(format!("max by (instance) ({})", own(&TURN_LATENESS)), "{{instance}}"),
        ],
    }
}

fn sources() -> Row {
    let lines = |title, description| Panel::new(Look::Lines, title, description);
    let asked = own_rate(&SOURCE_POLLS, "", &["instance"]);
    let failed = own_rate(&SOURCE_POLLS, r#"result="failed""#, &["instance"]);
    Row {
        title: "Sources",
        panels: vec![
            Panel::new(
                Look::Heatmap,
                "How long visits take",
                "Visits to sources a second by how long they took.",
            )
            .unit("s")
            .query(buckets(&SOURCE_POLL_DURATION), "{{le}}"),
            lines(
                "Slow visits",
                "The time that half, and 99 of 100, of the visits to sources stay below.",
            )
            .unit("s")
            .query(quantile(&SOURCE_POLL_DURATION, 0.5), "{{instance}} half")
            .query(quantile(&SOURCE_POLL_DURATION, 0.99), "{{instance}} 99 %"),
            lines("Polls", "How often sources are asked a second, by what came of it.")
                .unit("cps")
                .query(own_rate(&SOURCE_POLLS, "", &["result"]), "{{result}}"),
            lines("Polls that fail", "Share of the polls that brought no answer.")
                .unit("percentunit")
                .up_to(1.0)
                .query(format!("({failed} or {asked} * 0) / {asked}"), "{{instance}}"),
        ],
    }
}

fn server() -> Row {
    let lines = |title, description| Panel::new(Look::Lines, title, description).unit("cps");
    let all = own_rate(&API_REQUESTS, "", &["instance"]);
    let bad = own_rate(&API_REQUESTS, r#"code=~"error|4..|5..""#, &["instance"]);
    let writes = r#"verb=~"create|update|patch|delete""#;
    let recorded = format!("sum by (result) (rate({}[{LATELY}]))", own_where(&RECORDED_TURNS, ""));
    Row {
        title: "API server and recording",
        panels: vec![
            lines("Requests", "Requests to the API server a second, by verb and resource, the ten most frequent.")
                .query(format!("topk(10, {})", own_rate(&API_REQUESTS, "", &["verb", "resource"])), "{{verb}} {{resource}}"),
            lines("Writes", "Requests a second that change something: counts, statuses, events, the lease.")
                .query(own_rate(&API_REQUESTS, writes, &["verb", "resource"]), "{{verb}} {{resource}}"),
            lines("Requests that fail", "Share of the requests that were refused (4xx), failed (5xx) or brought no answer. A few conflicts (409) are part of the work.")
                .unit("percentunit")
                .up_to(1.0)
                .query(format!("({bad} or {all} * 0) / {all}"), "{{instance}}"),
            lines("Recorded turns", "Turns a second that were recorded, and that were lost. Empty when nothing is recorded (`--record`).")
                .query(recorded, "{{result}}"),
        ],
    }
}
