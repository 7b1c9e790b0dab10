//! `penstock pools`: the CapacityPools of a cluster and how they fare, and what node pools there are without one; `--propose` prints
//! CapacityPools for those, ready for `kubectl apply -f -`. Asks with the caller's own rights and writes nothing.

use anyhow::Context;

use super::cluster::Cluster;
use super::out::{Format, Output};
use super::progress::Progress;
use super::{Failure, out};

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
    #[command(flatten)]
    cluster: Cluster,
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
            let _progress = Progress::waiting("asking the API server");
            seen::Ground::see(&self.cluster.client().await?.0).await
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
