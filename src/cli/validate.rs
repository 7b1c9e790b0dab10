//! `penstock validate`: manifests checked offline, in the API server's words, and read as the daemon would read them.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::out::{self, Format, Output};
use super::{Failure, manifests};
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
            match manifests::documents(&manifests::text(file)?) {
                Ok(found) => {
                    documents.extend(found.into_iter().map(|document| (name.clone(), document)));
                }
                Err(error) => lines.push(Line { file: name, checked: unreadable(error) }),
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

/// What became of a file that is no YAML.
fn unreadable(error: String) -> Checked {
    Checked {
        kind: String::new(),
        namespace: None,
        name: String::new(),
        result: Outcome::Refused,
        faults: vec![error],
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
