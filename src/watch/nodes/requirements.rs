//! What a NodePool of Karpenter requires of its nodes, as far as it tells whether a node could have a label: asked by `makers`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One requirement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Requirement {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

/// Labels that a node has whoever makes it; others it has only where its NodePool says so.
const OPEN: [&str; 5] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
];

/// May a node that is made with these labels, and by these requirements, have this label with this value? In doubt it may.
pub(super) fn allow(
    labels: &BTreeMap<String, String>,
    requirements: &[Requirement],
    key: &str,
    value: &str,
) -> bool {
    if let Some(label) = labels.get(key) {
        return label == value;
    }
    let mut on_it = requirements.iter().filter(|it| it.key == key).peekable();
    if on_it.peek().is_none() {
        return OPEN.contains(&key) || key.starts_with("karpenter.");
    }
    on_it.all(|it| {
        let is_in = it.values.iter().any(|allowed| allowed == value);
        match it.operator.as_str() {
            "In" => is_in,
            "NotIn" => !is_in,
            "DoesNotExist" => false,
            _ => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_allowed_unless_something_speaks_against_it() {
        let labels = BTreeMap::from([("team".to_owned(), "data".to_owned())]);
        let of = |key: &str, operator: &str, values: &[&str]| Requirement {
            key: key.to_owned(),
            operator: operator.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let kind = "karpenter.sh/capacity-type";
        let all = [
            of(kind, "In", &["spot", "reserved"]),
            of(kind, "NotIn", &["reserved"]),
            of("gpu", "DoesNotExist", &[]),
            of("disk", "Exists", &[]),
        ];
        let may = |key: &str, value: &str| allow(&labels, &all, key, value);
        assert!(may("team", "data") && may(kind, "spot") && may("disk", "fast"));
        assert!(!may("team", "shop") && !may(kind, "reserved") && !may(kind, "on-demand"));
        assert!(!may("gpu", "true") && !may("pool", "spot"), "nobody gives it that label");
        assert!(
            may("kubernetes.io/arch", "arm64") && may("karpenter.k8s.aws/instance-family", "m5")
        );
    }
}
