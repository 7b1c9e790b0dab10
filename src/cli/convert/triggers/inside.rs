//! Triggers that the cluster itself answers: `cpu`, `memory`, `kubernetes-workload`; and `cron`, which is a schedule.

use super::super::report::Grade;
use super::desk::{Desk, Left, quantity};
use crate::crd::connection::{Operator, Requirement, Selector};
use crate::crd::source::{Kinds, Utilization, Workload};
use crate::crd::wish::{Schedule, ScheduledReplicas};

pub(super) const NONE: &[Left] = &[];

pub(super) fn cpu(desk: &mut Desk<'_>) -> Option<Kinds> {
    Some(Kinds { cpu: Some(utilization(desk)?), ..Kinds::default() })
}

pub(super) fn memory(desk: &mut Desk<'_>) -> Option<Kinds> {
    Some(Kinds { memory: Some(utilization(desk)?), ..Kinds::default() })
}

fn utilization(desk: &mut Desk<'_>) -> Option<Utilization> {
    let value = desk.needed("value");
    let kind = desk.metric_type.clone().or_else(|| desk.word("type"));
    let container = desk.word("containerName");
    let value = value?;
    let path = desk.path("value");
    match kind.as_deref() {
        Some("Utilization") => {
            let Ok(percent) = value.parse::<u32>() else {
                desk.notes.not_supported(path, format!("is {value}, which is no per cent"));
                return None;
            };
            Some(Utilization { utilization: Some(percent), per_replica: None, container })
        }
        Some("AverageValue") => {
            let Some(read) = quantity(&value) else {
                desk.notes.not_supported(path, format!("is {value}, which is no quantity"));
                return None;
            };
            Some(Utilization { utilization: None, per_replica: Some(read), container })
        }
        other => {
            let at = format!("{}.metricType", desk.at);
            let said = other.unwrap_or("not set");
            desk.notes.not_supported(at, format!("is {said}: write Utilization or AverageValue"));
            None
        }
    }
}

pub(super) const WORKLOAD: &[Left] = &[(
    "groupByNode",
    "false",
    Grade::NotSupported,
    "is left out: pods are counted, and not the nodes that they are on",
)];

pub(super) fn workload(desk: &mut Desk<'_>) -> Option<Kinds> {
    let written = desk.needed("podSelector");
    let per_replica = desk.sizing("value", None, false)?;
    let written = written?;
    let Some(selector) = selector(&written) else {
        let path = desk.path("podSelector");
        desk.notes.not_supported(path, format!("{written:?} is no label selector"));
        return None;
    };
    Some(Kinds { workload: Some(Workload { selector, per_replica }), ..Kinds::default() })
}

/// A label selector as kubectl takes it: `app=a,tier in (b,c),!d`.
fn selector(text: &str) -> Option<Selector> {
    let mut selector = Selector::default();
    for part in requirements(text) {
        let requirement = |key: &str, operator, values: Vec<String>| {
            let key = key.trim().to_owned();
            (!key.is_empty()).then_some(Requirement { key, operator, values })
        };
        let many = |list: &str| -> Vec<String> {
            let list = list.trim().trim_start_matches('(').trim_end_matches(')');
            list.split(',').map(|value| value.trim().to_owned()).collect()
        };
        let read = if let Some((key, value)) = part.split_once("!=") {
            requirement(key, Operator::NotIn, many(value))?
        } else if let Some((key, value)) = part.split_once('=') {
            let value = value.trim_start_matches('=').trim().to_owned();
            selector.match_labels.insert(key.trim().to_owned(), value);
            continue;
        } else if let Some((key, list)) = part.split_once(" notin ") {
            requirement(key, Operator::NotIn, many(list))?
        } else if let Some((key, list)) = part.split_once(" in ") {
            requirement(key, Operator::In, many(list))?
        } else if let Some(key) = part.strip_prefix('!') {
            requirement(key, Operator::DoesNotExist, Vec::new())?
        } else {
            requirement(&part, Operator::Exists, Vec::new())?
        };
        selector.match_expressions.push(read);
    }
    (selector != Selector::default()).then_some(selector)
}

/// The parts between commas, where these stand in no brackets.
fn requirements(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_u32;
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if letter == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(letter);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// A `cron` trigger as bounds by the calendar, which may not be above the stage's own `max`.
pub(super) fn cron(desk: &mut Desk<'_>, name: &str, max: u32) -> Option<Schedule> {
    let (start, end) = (desk.needed("start"), desk.needed("end"));
    let (zone, wanted) = (desk.needed("timezone"), desk.needed("desiredReplicas"));
    let (start, end, time_zone, wanted) = (start?, end?, zone, wanted?);
    let path = desk.path("desiredReplicas");
    let Ok(wanted) = wanted.parse::<u32>() else {
        desk.notes.not_supported(path, format!("is {wanted}, which is no count"));
        return None;
    };
    if max < wanted {
        desk.notes.same(path, format!("is above maxReplicaCount, which stands: {max}"));
    }
    let replicas = ScheduledReplicas { min: Some(wanted.min(max)), max: None };
    Some(Schedule { name: name.to_owned(), start, end, time_zone, replicas })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_read_as_kubectl_reads_it() {
        let read = selector("app=web, tier in (a,b),zone notin (x), !old, new, kind!=y").unwrap();
        assert_eq!(read.match_labels.get("app").map(String::as_str), Some("web"));
        let parts: Vec<_> = read
            .match_expressions
            .iter()
            .map(|it| (it.key.as_str(), it.operator, it.values.join(",")))
            .collect();
        assert_eq!(
            parts,
            [
                ("tier", Operator::In, "a,b".to_owned()),
                ("zone", Operator::NotIn, "x".to_owned()),
                ("old", Operator::DoesNotExist, String::new()),
                ("new", Operator::Exists, String::new()),
                ("kind", Operator::NotIn, "y".to_owned()),
            ]
        );
        assert_eq!(selector(""), None);
    }
}
