//! Who owns a field, by the managed fields of its object: our own hand, an applier that will come back, or whoever wrote last.

use serde_json::Value;

use crate::decide::ForeignWriter;

/// The field manager that `act` writes with.
pub(in crate::watch) const OURS: &str = "penstock";

/// The owner of the field at a JSON pointer; ours before any other, an applier before an updater, the last before the others.
pub(super) fn of(object: &Value, pointer: &str) -> Option<ForeignWriter> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let owners = entries.iter().filter(|entry| owns(&entry["fieldsV1"], pointer)).map(|entry| {
        ForeignWriter {
            manager: entry["manager"].as_str().unwrap_or_default().into(),
            applies: entry["operation"] == "Apply",
        }
    });
    owners.max_by_key(|owner| (&*owner.manager == OURS, owner.applies))
}

fn owns(fields: &Value, pointer: &str) -> bool {
    let mut node = fields;
    for step in pointer.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        let Some(below) = node.get(format!("f:{name}")) else {
            // A list that is owned as one has nothing below it.
            return node.as_object().is_some_and(serde_json::Map::is_empty);
        };
        node = below;
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(entries: &[(&str, &str, Value)]) -> Value {
        let entries = entries.iter().map(|(manager, operation, fields)| {
            json!({"manager": manager, "operation": operation, "fieldsV1": fields})
        });
        json!({"metadata": {"managedFields": entries.collect::<Vec<_>>()}})
    }

    #[test]
    fn the_owner_is_found_by_the_pointer() {
        let label = json!({"f:metadata": {"f:labels": {"f:a.io/limit": {}}}});
        let found = of(
            &object(&[
                ("kubectl-label", "Update", label.clone()),
                ("flux", "Apply", json!({"f:spec": {}})),
            ]),
            "/metadata/labels/a.io~1limit",
        );
        assert_eq!(
            found.map(|owner| (owner.manager, owner.applies)),
            Some(("kubectl-label".into(), false))
        );
        let both = object(&[("flux", "Apply", label.clone()), ("edit", "Update", label.clone())]);
        assert!(of(&both, "/metadata/labels/a.io~1limit").is_some_and(|owner| owner.applies));
        let ours = object(&[("flux", "Apply", label.clone()), (OURS, "Update", label)]);
        assert!(
            of(&ours, "/metadata/labels/a.io~1limit").is_some_and(|owner| &*owner.manager == OURS)
        );
        assert!(of(&ours, "/metadata/labels/other").is_none());
    }

    #[test]
    fn a_list_without_keys_is_owned_as_one() {
        let whole = object(&[("flux", "Apply", json!({"f:spec": {"f:workerGroupSpecs": {}}}))]);
        assert!(of(&whole, "/spec/workerGroupSpecs/1/replicas").is_some());
        let other = object(&[("flux", "Apply", json!({"f:spec": {"f:suspend": {}}}))]);
        assert!(of(&other, "/spec/workerGroupSpecs/1/replicas").is_none());
    }
}
