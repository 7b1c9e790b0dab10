//! Manifests that a command is given as files: read, and taken apart into documents. Used by `validate` and `convert`.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::Failure;

/// The text of a file; - is standard input. One that is not there is wrong usage.
pub(super) fn text(file: &Path) -> Result<String, Failure> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).map_err(|error| {
        Failure::Misuse(format!(
            "cannot read {}: {error}; hint: name a file of YAML or JSON, or - for standard input",
            file.display()
        ))
    })
}

/// The documents of a text; the items of a List stand for themselves.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| is_no_yaml(&error.to_string()))?;
    let mut all = Vec::new();
    for mut document in documents {
        if document.is_null() {
            continue;
        }
        let is_list = document.get("kind").and_then(Value::as_str) == Some("List");
        match document.get_mut("items") {
            Some(Value::Array(items)) if is_list => all.append(items),
            _ => all.push(document),
        }
    }
    Ok(all)
}

/// What the parser says, in one line.
fn is_no_yaml(error: &str) -> String {
    let lines: Vec<&str> = error.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("is no YAML: {}", lines.join(" "))
}
