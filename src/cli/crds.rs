//! `penstock crds`: the custom resource definitions, ready for `kubectl apply -f -`.

use anyhow::Context;
use clap::Args;

use super::{Failure, out};
use crate::crd;

/// The arguments of `penstock crds`.
#[derive(Debug, Args)]
pub(super) struct Crds {
    /// Print JSON instead of YAML
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "yaml")]
    format: Format,
}

/// What kubectl reads.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// One document for each kind
    Yaml,
    /// One list of all kinds
    Json,
}

impl Crds {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.format {
            Format::Yaml => {
                for crd in crd::all() {
                    let yaml = crd::yaml(&crd).context("cannot print a definition")?;
                    out::text(&format!("---\n{yaml}"))?;
                }
            }
            Format::Json => {
                out::json(
                    &serde_json::json!({"apiVersion": "v1", "kind": "List", "items": crd::all()}),
                )?;
            }
        }
        Ok(())
    }
}
