//! The lever of KubeRay: one worker group of a cluster. Where Ray's own autoscaler is on, it owns `replicas`, and only its ceiling moves.

use serde_json::Value;

use super::{Count, is_on, whole};
use crate::decide::Form;

pub(super) fn group(object: &Value, part: &str) -> Result<Count, String> {
    let spec = &object["spec"];
    let groups = spec["workerGroupSpecs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some((index, group)) =
        groups.iter().enumerate().find(|(_, group)| group["groupName"] == part)
    else {
        let names: Vec<_> = groups.iter().filter_map(|group| group["groupName"].as_str()).collect();
        return Err(format!("it has no worker group {part}; hint: it has {}", names.join(", ")));
    };
    let at = |field: &str| format!("/spec/workerGroupSpecs/{index}/{field}");
    let least = whole(&group["minReplicas"]).unwrap_or(0);
    let most = whole(&group["maxReplicas"]);
    let floor = format!("minReplicas of this worker group is {least}");
    let count = if is_on(&spec["enableInTreeAutoscaling"]) {
        let most = most.ok_or("Ray's autoscaler may make any number of these workers; hint: write a first maxReplicas")?;
        Count::at(at("maxReplicas"), Form::Number, most).least(least, floor)
    } else {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let desired = whole(&group["replicas"]).unwrap_or(least);
        let count = Count {
            selector: Some(format!("ray.io/cluster={name},ray.io/group={part}")),
            pods_each: whole(&group["numOfHosts"]).unwrap_or(1).max(1),
            ..Count::at(at("replicas"), Form::Number, desired)
        };
        let count = count.least(least, floor);
        match most {
            Some(most) => count.most(most, format!("maxReplicas of this worker group is {most}")),
            None => count,
        }
    };
    let is_suspended = is_on(&spec["suspend"]) || is_on(&group["suspend"]);
    Ok(if is_suspended { count.frozen("it is suspended") } else { count })
}
