//! What is kept beside the chart and must follow it: the definitions, the schema of the values, the README.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{file, path};
use crate::rig::{Program, fresh_folder, tool};

#[test]
fn the_definitions_of_the_chart_are_those_of_deploy() -> Result<()> {
    let names = |folder: &str| -> Result<BTreeSet<String>> {
        let entries = std::fs::read_dir(path(folder))?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names
            .filter(|name: &Result<String>| {
                name.as_ref().is_ok_and(|name| name.starts_with("penstock.dev_"))
            })
            .collect()
    };
    let (ours, theirs) = (names("charts/penstock/definitions")?, names("deploy/crds")?);
    ensure!(ours == theirs, "{ours:?} and {theirs:?}; hint: make chart");
    for name in ours {
        let is_same = file(&format!("charts/penstock/definitions/{name}"))?
            == file(&format!("deploy/crds/{name}"))?;
        ensure!(is_same, "{name} differs; hint: make chart");
    }
    Ok(())
}

/// Words of the schema that values.yaml need not have.
const MORE: &[&str] = &["enabled"];

#[test]
fn the_schema_names_what_the_values_name_and_nothing_else() -> Result<()> {
    let values: Value = serde_saphyr::from_str(&file("charts/penstock/values.yaml")?)?;
    let schema: Value = serde_json::from_str(&file("charts/penstock/values.schema.json")?)?;
    let mut counted = 0;
    compare("", &values, &schema, &mut counted)?;
    ensure!(counted > 80, "only {counted} values were compared");
    Ok(())
}

/// A value that is a map with words of its own has them all in the schema, and no other is taken; every leaf says what it is for.
fn compare(at: &str, value: &Value, schema: &Value, counted: &mut usize) -> Result<()> {
    let Some(known) = schema["properties"].as_object() else {
        *counted += 1;
        ensure!(
            schema["description"].as_str().is_some_and(|text| text.len() > 10),
            "the schema says nothing of {at}"
        );
        return Ok(());
    };
    // A parent chart's globals are its own.
    ensure!(at == ".global" || schema["additionalProperties"] == false, "{at} takes anything");
    let value = value.as_object().with_context(|| format!("{at} is no map in values.yaml"))?;
    for word in value.keys() {
        ensure!(known.contains_key(word), "the schema does not know {at}.{word}");
    }
    for (word, below) in known {
        let at = format!("{at}.{word}");
        match value.get(word) {
            Some(value) => compare(&at, value, below, counted)?,
            None => ensure!(
                at == format!(".{word}") && MORE.contains(&word.as_str()),
                "values.yaml lacks {at}"
            ),
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_readme_is_what_helm_docs_writes() -> Result<()> {
    let folder = fresh_folder("docs")?;
    for name in ["Chart.yaml", "values.yaml", "README.md.gotmpl"] {
        std::fs::copy(path("charts/penstock").join(name), folder.join(name))?;
    }
    let docs = Program::new(tool("helm/helm-docs")?).args(["-c", ".", "-l", "error"]);
    docs.in_folder(&folder).run().await?;
    let written = std::fs::read_to_string(folder.join("README.md"))?;
    ensure!(
        written == file("charts/penstock/README.md")?,
        "the chart's README is stale; hint: make chart"
    );
    for line in
        written.lines().filter(|line| line.starts_with("| ") && line.matches(" | ").count() == 3)
    {
        ensure!(!line.ends_with("|  |"), "a value without a word: {line}");
    }
    Ok(())
}
