//! The one place that prints. A reader that has gone away (`penstock crds | head`) is no error.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use clap::Args;

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For both
    Yaml,
}

/// The flag that every printing command has.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// How to print
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "table")]
    pub(super) format: Format,
}

/// How manifests are printed, for kubectl to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Documents {
    /// One document for each
    Yaml,
    /// One list of all
    Json,
}

/// Prints manifests.
pub(super) fn documents(format: Documents, all: &[impl serde::Serialize]) -> anyhow::Result<()> {
    match format {
        Documents::Yaml => {
            let mut printed = String::new();
            for one in all {
                printed.push_str("---\n");
                printed.push_str(&serde_saphyr::to_string(one).context("cannot print YAML")?);
            }
            text(&printed)
        }
        Documents::Json => {
            json(&serde_json::json!({"apiVersion": "v1", "kind": "List", "items": all}))
        }
    }
}

/// Prints text as it is.
pub(super) fn text(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Prints help, with its styles where a terminal shows them.
pub(super) fn styled(styled: &clap::builder::StyledStr) -> anyhow::Result<()> {
    let is_shown = io::stdout().is_terminal();
    text(&if is_shown { styled.ansi().to_string() } else { styled.to_string() })
}

/// Prints a value as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut printed = serde_json::to_string_pretty(value).context("cannot print JSON")?;
    printed.push('\n');
    text(&printed)
}

/// Prints a value as YAML.
pub(super) fn yaml(value: &impl serde::Serialize) -> anyhow::Result<()> {
    text(&serde_saphyr::to_string(value).context("cannot print YAML")?)
}

/// Says a line on standard error, where nobody parses it.
pub(super) fn aside(line: &str) {
    let mut out = io::stderr().lock();
    // Who cannot be told cannot be told so either.
    let _gone = writeln!(out, "{line}");
}
