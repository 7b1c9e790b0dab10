//! Turns JSON into CEL values by the schema's types. Called by `rules`, for `self` and `oldSelf`.

use super::node::{Kind, Node};
use kube_cel::cel::objects::{Key, Map, Value as Cel};
use serde_json::{Number, Value};
use std::sync::Arc;

/// The CEL value of `value`. Names of known fields are escaped as Kubernetes escapes them; keys of maps are not.
pub(super) fn cel(node: Option<&Node>, value: &Value) -> Cel {
    let kind = node.map_or(Kind::Any, |node| node.kind);
    match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(n) => number(n, kind == Kind::Number),
        Value::String(s) => Cel::String(Arc::new(s.clone())),
        Value::Array(items) => {
            let child = node.and_then(|node| node.items.as_deref());
            Cel::List(Arc::new(items.iter().map(|item| cel(child, item)).collect()))
        }
        Value::Object(map) => {
            let entries = map.iter().map(|(name, value)| {
                let known = node.and_then(|node| node.fields.get(name));
                let extra = node.and_then(|node| node.extra.as_ref());
                let name =
                    if extra.is_some() && known.is_none() { name.clone() } else { escape(name) };
                (Key::String(Arc::new(name)), cel(known.or(extra).map(AsRef::as_ref), value))
            });
            Cel::Map(Map { map: Arc::new(entries.collect()) })
        }
    }
}

fn number(n: &Number, real: bool) -> Cel {
    if real {
        return Cel::Float(n.as_f64().unwrap_or(f64::NAN));
    }
    match (n.as_i64(), n.as_u64()) {
        (Some(i), _) => Cel::Int(i),
        (None, Some(u)) => Cel::UInt(u),
        (None, None) => Cel::Float(n.as_f64().unwrap_or(f64::NAN)),
    }
}

const KEYWORDS: [&str; 16] = [
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function",
    "if", "import", "let", "loop", "package",
];

fn escape(name: &str) -> String {
    if KEYWORDS.contains(&name) || matches!(name, "namespace" | "return" | "var" | "void" | "while")
    {
        return format!("__{name}__");
    }
    if !name.contains(['.', '-', '/']) && !name.contains("__") {
        return name.to_owned();
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}
