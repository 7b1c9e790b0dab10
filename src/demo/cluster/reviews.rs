//! Reviews of who may do what: here everybody may do everything. Called by `http`; nothing is stored.

use super::kinds::Resource;
use serde_json::{Value, json};

/// Whether the kind is a question that is answered and not stored.
pub(super) fn is_review(resource: &Resource) -> bool {
    resource.kind.ends_with("Review")
}

/// The review with its answer.
pub(super) fn answer(kind: &str, mut review: Value) -> Value {
    let user = json!({"username": "demo", "groups": ["system:masters", "system:authenticated"]});
    review["kind"] = json!(kind);
    let group = if matches!(kind, "SelfSubjectReview" | "TokenReview") {
        "authentication"
    } else {
        "authorization"
    };
    review["apiVersion"] = json!(format!("{group}.k8s.io/v1"));
    if review.get("metadata").is_none() {
        review["metadata"] = json!({});
    }
    review["status"] = match kind {
        "TokenReview" => json!({"authenticated": true, "user": user}),
        "SelfSubjectReview" => json!({"userInfo": user}),
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false
        }),
        _ => json!({"allowed": true}),
    };
    review
}
