//! What a status tells of a pipeline, in the shape in which a daemon would: for `explain` and `top` where none can be asked.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::answer::view::{Held, Pipeline, Replicas, Room, Said, Stage, Trouble};
use crate::crd::PipelineStatus;
use crate::crd::duration::Duration;
use crate::crd::status::{HeadroomStatus, StageStatus};
use crate::report::CREDENTIALS_REFUSED;

/// What a status tells: less than the daemon, in the same shape.
pub(super) fn recount(
    namespace: &str,
    name: &str,
    generation: i64,
    status: &PipelineStatus,
) -> Pipeline {
    Pipeline {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        generation: status.observed_generation.unwrap_or(generation),
        at: status.observed_at,
        bottleneck: status.bottleneck.clone(),
        delay_seconds: seconds(status.delay.as_ref()),
        stages: status.stages.iter().map(stage_of_status).collect(),
        conditions: status.conditions.iter().filter(|it| is_bad(it)).map(trouble).collect(),
        ..Pipeline::default()
    }
}

/// Is a condition not as it should be, or wanted by somebody and easily forgotten? Stalled says again what Ready says.
fn is_bad(condition: &Condition) -> bool {
    match (&*condition.type_, &*condition.status) {
        ("Ready" | "ObjectiveMet", "False")
        | ("Paused" | "Fallback" | "CapacityShort" | "WriterConflict", "True") => true,
        ("Ready", "True") => condition.reason == CREDENTIALS_REFUSED,
        _ => false,
    }
}

fn trouble(condition: &Condition) -> Trouble {
    Trouble {
        kind: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    }
}

/// The room that is kept, as the status tells it: of all lanes together.
fn room_of_status(status: &HeadroomStatus) -> Room {
    let sentence = status.message.clone().unwrap_or_default();
    Room { pool: None, replicas: status.replicas, placed: status.placed, sentence }
}

fn stage_of_status(status: &StageStatus) -> Stage {
    let learned = status.learned.clone().unwrap_or_default();
    let reasons = status.reason.iter().map(|reason| Said {
        code: reason.code.clone(),
        sentence: reason.message.clone(),
        hint: None,
    });
    Stage {
        name: status.name.clone(),
        replicas: Replicas {
            desired: status.desired,
            current: status.current,
            ready: status.ready,
            ..Replicas::default()
        },
        lag: status.lag.and_then(|lag| u64::try_from(lag).ok()),
        delay_seconds: seconds(status.delay.as_ref()),
        objective_seconds: seconds(status.objective.as_ref()),
        rate_per_replica: learned.rate_per_replica,
        startup_seconds: seconds(learned.startup.as_ref()),
        rebalance_seconds: seconds(learned.rebalance.as_ref()),
        held: status.held.as_ref().map(|held| Held { replicas: held.replicas, since: held.since }),
        reasons: reasons.collect(),
        rooms: status.headroom.iter().map(room_of_status).collect(),
        ..Stage::default()
    }
}

fn seconds(text: Option<&String>) -> Option<f64> {
    Some(Duration(text?.clone()).read()?.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::{explain, top};

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> serde_json::Value {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-11-21T08:00:00Z",
        })
    }

    fn told(
        conditions: &serde_json::Value,
        stages: &serde_json::Value,
    ) -> Result<Pipeline, String> {
        let status = json!({"observedGeneration": 3, "conditions": conditions, "stages": stages});
        let status = serde_json::from_value(status).map_err(|error| error.to_string())?;
        Ok(recount("shop", "orders", 3, &status))
    }

    #[test]
    fn what_is_wrong_by_its_conditions_is_told() -> Result<(), String> {
        let message = "spec.stages[0].combine.expression: column 9: is no CEL";
        let conditions = json!([
            condition("Ready", "False", "InvalidSpec", message),
            condition("Active", "Unknown", "NotKnown", ""),
            condition("Fallback", "True", "NoFreshData", "stage enrich: held"),
            condition("WriterConflict", "False", "SoleWriter", ""),
            condition("Stalled", "True", "InvalidSpec", message),
        ]);
        let stage = json!({"name": "enrich", "desired": 7, "reason": {"code": "Steady", "message": "fits"}});
        for stages in [json!([]), json!([stage])] {
            let view = told(&conditions, &stages)?;
            let text = explain::text(&view, "its status").map_err(|error| error.to_string())?;
            let ready = format!("Ready is False: {message} [InvalidSpec]\n");
            assert!(text.contains(&ready), "{text}");
            assert!(
                text.contains("Fallback is True: stage enrich: held [NoFreshData]\n"),
                "{text}"
            );
            assert_eq!(text.matches(" is True: ").count(), 1, "{text}");
            assert!(!text.contains("Nothing has been decided"), "{text}");
            let table = top::table_of(&[view]).to_string();
            let row = table.lines().nth(1).unwrap_or_default().trim();
            assert!(row.starts_with("shop/orders ") && row.ends_with(" InvalidSpec"), "{table}");
        }
        Ok(())
    }

    #[test]
    fn a_pipeline_without_stages_and_without_trouble_has_a_row_too() -> Result<(), String> {
        let view = told(&json!([]), &json!([]))?;
        let text = explain::text(&view, "its status").map_err(|error| error.to_string())?;
        assert!(text.contains("Nothing has been decided for it yet."), "{text}");
        let table = top::table_of(&[view]).to_string();
        let row = table.lines().nth(1).unwrap_or_default().trim();
        assert!(row.starts_with("shop/orders ") && row.ends_with(" undecided"), "{table}");
        Ok(())
    }

    #[test]
    fn what_a_stage_says_itself_gets_no_row_more() -> Result<(), String> {
        let conflict = condition("Ready", "False", "WriterConflict", "stage enrich: kubectl");
        let stage =
            json!({"name": "enrich", "reason": {"code": "WriterConflict", "message": "kubectl"}});
        let table = top::table_of(&[told(&json!([conflict]), &json!([stage]))?]).to_string();
        assert_eq!(table.lines().count(), 2, "{table}");
        Ok(())
    }

    #[test]
    fn how_much_room_is_there_is_told_where_anybody_can_tell() -> Result<(), String> {
        let said = |placed| {
            let message = Some("room for 3 replicas is kept".to_owned());
            let status = HeadroomStatus { replicas: 3, placed, message };
            let stage = Stage { rooms: vec![room_of_status(&status)], ..Stage::default() };
            let view = Pipeline { stages: vec![stage], ..Pipeline::default() };
            explain::text(&view, "its status").map_err(|error| error.to_string())
        };
        assert!(said(Some(3))?.contains("is kept; all of it is there now."));
        assert!(said(Some(1))?.contains("is kept; there now: 1."));
        assert!(said(None)?.contains("is kept; nobody can tell how much of it is there."));
        Ok(())
    }
}
