//! `penstock validate`: manifests checked offline, in the API server's words, and read as the daemon would read them.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;

use super::Failure;
use super::out::{self, Format, Output};
use crate::crd::manifest::{Checked, Checker, Neighbours, Outcome};

/// The arguments of `penstock validate`.
#[derive(Debug, Args)]
pub(super) struct Validate {
    /// Manifests, YAML or JSON, each of one or many documents; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// One document of one file, and what became of it.
#[derive(Debug, Serialize)]
struct Line {
    file: String,
    #[serde(flatten)]
    checked: Checked,
}

impl Validate {
    pub(super) fn run(self) -> Result<(), Failure> {
        let checker = Checker::new()
            .map_err(|error| anyhow!("the schemas of this program do not compile: {error}"))?;
        let mut documents = Vec::new();
        let mut lines = Vec::new();
        for file in &self.files {
            let name = file.display().to_string();
            match split(&text(file)?) {
                Ok(found) => {
                    documents.extend(found.into_iter().map(|document| (name.clone(), document)));
                }
                Err(error) => lines.push(Line { file: name, checked: unreadable(&error) }),
            }
        }
        let neighbours = Neighbours::of(documents.iter().map(|(_, document)| document));
        lines.extend(
            documents.into_iter().map(|(file, document)| Line {
                checked: checker.check(&document, &neighbours),
                file,
            }),
        );
        if lines.is_empty() {
            return Err(Failure::Failed(anyhow!(
                "there is nothing to check: no file has a document"
            )));
        }
        match self.output.format {
            Format::Table => out::text(&table(&lines))?,
            Format::Json => out::json(&lines)?,
            Format::Yaml => out::yaml(&lines)?,
        }
        let has_failed = |line: &Line| match line.checked.result {
            Outcome::Refused | Outcome::Unworkable => true,
            Outcome::Good | Outcome::Warned | Outcome::Skipped => false,
        };
        if lines.iter().any(has_failed) { Err(Failure::Told) } else { Ok(()) }
    }
}

/// The text of a file. One that is not there is wrong usage.
fn text(file: &Path) -> Result<String, Failure> {
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
fn split(text: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
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

/// What became of a file that is no YAML.
fn unreadable(error: &str) -> Checked {
    let first: Vec<&str> = error.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Checked {
        kind: String::new(),
        namespace: None,
        name: String::new(),
        result: Outcome::Refused,
        faults: vec![format!("is no YAML: {}", first.join(" "))],
        unworkable: Vec::new(),
        warnings: Vec::new(),
    }
}

/// The result for people: one row a complaint.
fn table(lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["FILE", "OBJECT", "RESULT", "WHY"]);
    for line in lines {
        let checked = &line.checked;
        let object = match &checked.namespace {
            Some(namespace) => format!("{} {namespace}/{}", checked.kind, checked.name),
            None => format!("{} {}", checked.kind, checked.name),
        };
        let result = match checked.result {
            Outcome::Good => "good",
            Outcome::Warned => "warned",
            Outcome::Unworkable => "unworkable",
            Outcome::Refused => "refused",
            Outcome::Skipped => "skipped",
        };
        let why: Vec<&String> = [&checked.faults, &checked.unworkable, &checked.warnings]
            .into_iter()
            .flatten()
            .collect();
        if why.is_empty() {
            table.add_row([&line.file, &object, result, ""]);
        }
        for why in why {
            table.add_row([&line.file, &object, result, why.as_str()]);
        }
    }
    let text: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    format!("{}\n", text.join("\n"))
}
