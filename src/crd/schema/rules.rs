//! Runs a schema's CEL rules (`x-kubernetes-validations`). Called by `Schema::faults` when the object's shape is right.
//! The language itself is the `kube-cel` crate's; here are the walk, the correlation with old values and the texts.

use super::fault::{Fault, Reason};
use super::node::{ListKind, Node};
use super::typed::cel;
use kube_cel::KubeCelExt;
use kube_cel::cel::objects::Value as Cel;
use kube_cel::cel::{Context, Program};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// One compiled rule.
pub(super) struct Rule {
    program: Program,
    text: String,
    message: Option<String>,
    message_expression: Option<Program>,
    reason: Reason,
    field_path: Option<String>,
    compares: bool,
    optional_old: bool,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.text).finish()
    }
}

impl Rule {
    pub(super) fn compile(path: &str, rule: &Value) -> Result<Self, String> {
        let text = |key: &str| {
            rule.get(key).and_then(Value::as_str).filter(|s| !s.is_empty()).map(str::to_owned)
        };
        let program = |source: &str| {
            Program::compile(source).map_err(|e| format!("rule {source:?} of {path:?}: {e}"))
        };
        let source = text("rule").ok_or_else(|| format!("a rule of {path:?} is empty"))?;
        let compiled = program(&source)?;
        let compares = compiled.references().has_variable("oldSelf");
        let message_expression = match text("messageExpression") {
            Some(source) => Some(program(&source)?),
            None => None,
        };
        let reason = match text("reason").as_deref() {
            Some("FieldValueForbidden") => Reason::Forbidden,
            Some("FieldValueRequired") => Reason::Required,
            Some("FieldValueDuplicate") => Reason::Duplicate,
            _ => Reason::Invalid,
        };
        let optional_old = rule.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or(false);
        let message = text("message").map(|m| m.trim().to_owned());
        let field_path = text("fieldPath");
        Ok(Self {
            program: compiled,
            text: source,
            message,
            message_expression,
            reason,
            field_path,
            compares,
            optional_old,
        })
    }

    fn words(&self) -> &str {
        self.message.as_deref().unwrap_or_else(|| self.text.trim())
    }

    fn detail(&self, scope: &Context<'_>) -> String {
        if let Some(Ok(Cel::String(text))) =
            self.message_expression.as_ref().map(|program| program.execute(scope))
        {
            let text = text.trim();
            if !text.is_empty() && !text.contains('\n') {
                return text.to_owned();
            }
        }
        self.message.clone().unwrap_or_else(|| format!("failed rule: {}", self.text.trim()))
    }

    fn run(&self, scope: &Context<'_>, at: &Place<'_>) -> Option<Fault> {
        match self.program.execute(scope) {
            Ok(Cel::Bool(true)) => None,
            Ok(Cel::Bool(false)) => {
                // A rule that looks at one state only forgives what was already there.
                if !self.compares && at.old == Some(at.value) {
                    return None;
                }
                let path = match &self.field_path {
                    Some(below) => format!(
                        "{}{}",
                        at.path,
                        if at.path.is_empty() { below.trim_start_matches('.') } else { below }
                    ),
                    None => at.path.to_owned(),
                };
                let detail = self.detail(scope);
                let told = matches!(self.reason, Reason::Forbidden | Reason::Required);
                let shown = Some(at.value).filter(|v| !told && !v.is_object() && !v.is_array());
                let detail = if self.reason == Reason::Duplicate { String::new() } else { detail };
                Some(Fault::new(&path, self.reason, shown, &detail))
            }
            other @ (Ok(_) | Err(_)) => {
                let why = match other {
                    Ok(value) => format!("rule gave {value:?} and no bool"),
                    Err(e) => e.to_string(),
                };
                let kind = Value::String(at.node.kind.word().to_owned());
                Some(Fault::invalid(
                    at.path,
                    Some(&kind),
                    &format!("{why} evaluating rule: {}", self.words()),
                ))
            }
        }
    }
}

struct Place<'v> {
    node: &'v Node,
    value: &'v Value,
    old: Option<&'v Value>,
    path: &'v str,
}

/// Appends a fault for each rule that does not hold. A rule on `oldSelf` runs only where there is an old value to compare with:
/// fields of maps, and items of lists that are maps.
pub(super) fn check(root: &Arc<Node>, value: &Value, old: Option<&Value>, faults: &mut Vec<Fault>) {
    thread_local! {
        static FUNCTIONS: Context<'static> = Context::default().with_all();
    }
    if root.has_rules {
        FUNCTIONS.with(|base| walk(&Place { node: root, value, old, path: "" }, base, faults));
    }
}

fn walk(at: &Place<'_>, base: &Context<'_>, faults: &mut Vec<Fault>) {
    if at.value.is_null() || !at.node.has_rules {
        return;
    }
    if !at.node.rules.is_empty() {
        let mut scope = base.new_inner_scope();
        scope.add_variable_from_value("self", cel(Some(at.node), at.value));
        if let Some(old) = at.old {
            scope.add_variable_from_value("oldSelf", cel(Some(at.node), old));
        }
        for rule in &at.node.rules {
            if rule.compares && at.old.is_none() && !rule.optional_old {
                continue;
            }
            if rule.optional_old && at.old.is_none() {
                let mut scope = scope.new_inner_scope();
                scope.add_variable_from_value("oldSelf", Cel::Null);
                faults.extend(rule.run(&scope, at));
            } else {
                faults.extend(rule.run(&scope, at));
            }
        }
    }
    for branch in &at.node.all_of {
        walk(&Place { node: branch, ..*at }, base, faults);
    }
    match at.value {
        Value::Object(map) => {
            for (name, value) in map {
                let old = at.old.and_then(|old| old.get(name));
                if let Some(node) = at.node.fields.get(name) {
                    let path = if at.path.is_empty() {
                        name.clone()
                    } else {
                        format!("{}.{name}", at.path)
                    };
                    walk(&Place { node, value, old, path: &path }, base, faults);
                } else if let Some(node) = &at.node.extra {
                    walk(
                        &Place { node, value, old, path: &format!("{}[{name}]", at.path) },
                        base,
                        faults,
                    );
                }
            }
        }
        Value::Array(items) => {
            let Some(node) = &at.node.items else { return };
            for (i, value) in items.iter().enumerate() {
                let old = if matches!(at.node.list, ListKind::Map(_)) {
                    at.node.correlate(value, at.old)
                } else {
                    None
                };
                walk(&Place { node, value, old, path: &format!("{}[{i}]", at.path) }, base, faults);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
