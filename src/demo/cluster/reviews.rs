//! Reviews of who may do what: here everybody may do everything, unless a story says who there is. Called by `http`; nothing is stored.

use super::kinds::Resource;
use serde_json::{Value, json};

/// Whether the kind is a question that is answered and not stored.
pub(super) fn is_review(resource: &Resource) -> bool {
    resource.kind.ends_with("Review")
}

/// Somebody who shows a token.
#[derive(Debug, Clone)]
pub struct Person {
    /// The token.
    pub token: String,
    /// Whose it is.
    pub name: String,
    /// Whom it is for, where it is not the API server.
    pub audiences: Vec<String>,
    /// What he may list: a namespace, empty for all of them, and a resource.
    pub may_list: Vec<(String, String)>,
}

impl Person {
    fn review(&self, asked: &Value) -> Option<Value> {
        let user = json!({"username": self.name, "groups": ["system:authenticated"]});
        let asked = asked.as_array().filter(|asked| !asked.is_empty());
        let Some(asked) = asked else {
            return self.audiences.is_empty().then(|| json!({"authenticated": true, "user": user}));
        };
        let is_for = |it: &&Value| self.audiences.iter().any(|own| *it == own);
        let both: Vec<_> = asked.iter().filter(is_for).collect();
        let found = json!({"authenticated": true, "user": user, "audiences": both});
        (!both.is_empty()).then_some(found)
    }

    fn may(&self, what: &Value) -> bool {
        let word = |field: &str| what[field].as_str().unwrap_or_default();
        word("verb") == "list"
            && self.may_list.iter().any(|(namespace, resource)| {
                *resource == word("resource")
                    && (namespace.is_empty() || *namespace == word("namespace"))
            })
    }
}

/// What is said where a story says who there is.
fn known(kind: &str, spec: &Value, people: &[Person]) -> Option<Value> {
    match kind {
        "TokenReview" => {
            let person = people.iter().find(|person| spec["token"] == person.token);
            let found = person.and_then(|person| person.review(&spec["audiences"]));
            // As the real one says it.
            Some(found.unwrap_or_else(|| json!({"user": {}, "error": "[invalid bearer token]"})))
        }
        "SubjectAccessReview" => {
            let person = people.iter().find(|person| spec["user"] == person.name);
            let may = person.is_some_and(|person| person.may(&spec["resourceAttributes"]));
            Some(json!({"allowed": may}))
        }
        _ => None,
    }
}

/// The review with its answer, for people who are known, or of everybody when none is.
pub(super) fn answer(kind: &str, mut review: Value, people: &[Person]) -> Value {
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
    let said = if people.is_empty() { None } else { known(kind, &review["spec"], people) };
    if let Some(said) = said {
        review["status"] = said;
        return review;
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
