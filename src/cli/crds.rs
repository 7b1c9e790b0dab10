//! `penstock crds`: the custom resource definitions, ready for `kubectl apply --server-side -f -`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::Failure;
use super::out::{self, Documents};
use crate::crd;

/// The arguments of `penstock crds`.
#[derive(Debug, Args)]
pub(super) struct Crds {
    /// How to print
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "yaml")]
    format: Documents,
    /// Write a file for each kind into this folder instead of printing
    #[arg(long, value_name = "FOLDER", conflicts_with = "format")]
    dir: Option<PathBuf>,
}

impl Crds {
    pub(super) fn run(self) -> Result<(), Failure> {
        if let Some(dir) = self.dir {
            for (name, text) in crd::files().context("cannot print a definition")? {
                let path = dir.join(name);
                std::fs::write(&path, text)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            return Ok(());
        }
        out::documents(self.format, &crd::all())?;
        Ok(())
    }
}
