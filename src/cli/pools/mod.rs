//! `penstock pools`: the CapacityPools of a cluster and how they fare, and what node pools there are without one; `--propose` prints
//! CapacityPools for those, ready for `kubectl apply -f -`. Asks with the caller's own rights and writes nothing.

use std::path::PathBuf;

use anyhow::Context;
use kube::Client;

use super::out::{Format, Output};
use super::{Failure, out, reach};

mod seen;
mod marks;
mod propose;
mod karpenter;
mod text;

/// The arguments of `penstock pools`.
#[derive(Debug, clap::Args)]
pub(super) struct Pools {
    /// Print a CapacityPool for each node pool that has none, with how it was found, for `kubectl apply -f -`
    #[arg(long)]
    propose: bool,
    /// Cluster to ask. Default: the one kubectl would
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Pools {
    pub(super) fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let ground = runtime.block_on(async {
            let config = reach::config(self.kubeconfig.as_deref()).await?;
            let client =
                Client::try_from(config).context("cannot set up the client of the API server")?;
            seen::Ground::see(&client).await
        })?;
        for line in &ground.missing {
            out::aside(line);
        }
        let proposed = propose::propose(&ground);
        if self.propose {
            match self.output.format {
                // YAML is what people read here, too.
                Format::Table | Format::Yaml => out::text(&text::manifests(&proposed)?)?,
                Format::Json => out::json(&text::list(&proposed))?,
            }
            return Ok(());
        }
        let report = text::report(&ground, &proposed);
        match self.output.format {
            Format::Table => out::text(&text::table(&report))?,
            Format::Json => out::json(&report)?,
            Format::Yaml => out::yaml(&report)?,
        }
        Ok(())
    }
}
