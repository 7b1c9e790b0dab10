//! The lever of Flink's operator. A native deployment restarts from a savepoint when its parallelism or its `TaskManager`s change, so
//! only the ceiling of its own autoscaler is moved, which the operator takes over live. A standalone one in reactive mode takes more
//! `TaskManager`s as they come.

use serde_json::Value;

use super::{Count, is_on, step, whole};
use crate::decide::Form;

const CEILING: &str = "job.autoscaler.vertex.max-parallelism";
const FLOOR: &str = "job.autoscaler.vertex.min-parallelism";
/// Flink's own default of the ceiling.
const DEFAULT: u32 = 200;

pub(super) fn deployment(object: &Value) -> Result<Count, String> {
    let spec = &object["spec"];
    if spec["job"].is_null() {
        return Err("it is a session cluster, which has no job of its own to size".to_owned());
    }
    let count = if spec["mode"] == "standalone" { reactive(object) } else { governed(spec) }?;
    let is_suspended = spec["job"]["state"] == "suspended";
    Ok(if is_suspended { count.frozen("its job is suspended") } else { count })
}

/// The ceiling of the autoscaler.
fn governed(spec: &Value) -> Result<Count, String> {
    let options = &spec["flinkConfiguration"];
    // Before 1.6 the operator's options had a prefix, and it still reads them.
    let option = |name: &str| {
        option(options, name)
            .or_else(|| self::option(options, &format!("kubernetes.operator.{name}")))
    };
    if !option("job.autoscaler.enabled").is_some_and(|(_, value)| is_on(value)) {
        return Err(
            "a native FlinkDeployment restarts when its parallelism changes, and this one has no autoscaler that could be given a ceiling; \
             hint: set job.autoscaler.enabled: \"true\" in its flinkConfiguration"
                .to_owned(),
        );
    }
    if option("job.autoscaler.scaling.enabled").is_some_and(|(_, value)| !is_on(value)) {
        return Err("its autoscaler only advises, so a ceiling would do nothing; hint: take job.autoscaler.scaling.enabled out".to_owned());
    }
    let (pointer, desired) = match option(CEILING) {
        Some((pointer, value)) => {
            let desired = whole(value).ok_or_else(|| format!("{CEILING} is no whole number"))?;
            (pointer, desired)
        }
        None => (format!("/{}", step(CEILING)), DEFAULT),
    };
    let floor = option(FLOOR).and_then(|(_, value)| whole(value)).unwrap_or(1).max(1);
    let pointer = format!("/spec/flinkConfiguration{pointer}");
    let why = format!("its autoscaler's vertex.min-parallelism is {floor}");
    Ok(Count::at(pointer, Form::Text, desired).least(floor, why))
}

/// `TaskManager`s of a job that takes what it is given.
fn reactive(object: &Value) -> Result<Count, String> {
    let spec = &object["spec"];
    let mode = option(&spec["flinkConfiguration"], "scheduler-mode");
    if mode.and_then(|(_, mode)| mode.as_str()).is_none_or(|mode| mode != "reactive") {
        return Err("a standalone FlinkDeployment restarts when it gets other TaskManagers, unless it is reactive; \
                    hint: set scheduler-mode: reactive in its flinkConfiguration"
            .to_owned());
    }
    let desired = whole(&spec["taskManager"]["replicas"])
        .ok_or("it states no spec.taskManager.replicas; hint: write a first number")?;
    let status = &object["status"]["taskManager"];
    let count = Count {
        current: Some(whole(&status["replicas"]).unwrap_or(0)),
        selector: status["labelSelector"].as_str().map(str::to_owned),
        ..Count::at("/spec/taskManager/replicas", Form::Number, desired)
    };
    Ok(count.least(1, "a job without a TaskManager fails"))
}

/// An option by its full name, which may be written flat (`a.b.c`) or nested: its pointer below the options, and its value.
fn option<'a>(options: &'a Value, name: &str) -> Option<(String, &'a Value)> {
    let mut ends = name.match_indices('.').map(|(at, _)| at).chain([name.len()]);
    ends.find_map(|end| {
        let (head, rest) = name.split_at(end);
        let below = options.get(head)?;
        let pointer = format!("/{}", step(head));
        match rest.strip_prefix('.') {
            None => Some((pointer, below)),
            Some(rest) => option(below, rest).map(|(deeper, value)| (pointer + &deeper, value)),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_found_flat_and_nested() {
        let found =
            |options: Value| option(&options, "job.autoscaler.enabled").map(|(pointer, _)| pointer);
        assert_eq!(
            found(json!({"job.autoscaler.enabled": "true"})).as_deref(),
            Some("/job.autoscaler.enabled")
        );
        assert_eq!(
            found(json!({"job": {"autoscaler.enabled": true}})).as_deref(),
            Some("/job/autoscaler.enabled")
        );
        assert_eq!(
            found(json!({"job.autoscaler": {"enabled": true}, "job": {}})).as_deref(),
            Some("/job.autoscaler/enabled")
        );
        assert_eq!(found(json!({"job": "x"})), None);
    }
}
