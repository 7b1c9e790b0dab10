//! The lever of Numaflow: a vertex whose own autoscaler is off. Beside an autoscaler that is on, two would write one number.

use serde_json::Value;

use super::{Count, is_on, whole};
use crate::decide::Form;

pub(super) fn vertex(object: &Value) -> Result<Count, String> {
    let spec = &object["spec"];
    if !spec["udf"]["groupBy"].is_null() {
        return Err("a reduce vertex has one pod for each of its partitions, and no other number; hint: change partitions in the Pipeline".to_owned());
    }
    if !is_on(&spec["scale"]["disabled"]) {
        return Err("Numaflow's own autoscaler writes its replicas; hint: set scale.disabled: true on this vertex, in the Pipeline".to_owned());
    }
    let count = Count {
        current: Some(whole(&object["status"]["replicas"]).unwrap_or(0)),
        selector: object["status"]["selector"].as_str().map(str::to_owned),
        ..Count::at("/spec/replicas", Form::Number, whole(&spec["replicas"]).unwrap_or(1))
    };
    let is_paused = spec["lifecycle"]["desiredPhase"] == "Paused";
    Ok(if is_paused { count.frozen("it is paused") } else { count })
}
