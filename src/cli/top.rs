//! `penstock top`: a live table of pipelines, the latest first by how late they are. On a terminal it is drawn anew every interval
//! until Ctrl-C; elsewhere, and as JSON or YAML, it is printed once.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use comfy_table::Table;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::figures::{delay, rate, short, shown, table};
use super::progress::Progress;
use super::reach::{self, Reach};
use super::recount::recount;
use super::{Failure, out};
use crate::answer::view::{Pipeline, Pipelines, Stage, Trouble};
use crate::crd::ScaledPipeline;

/// The arguments of `penstock top`.
#[derive(Debug, clap::Args)]
pub(super) struct Top {
    /// Pipelines of this namespace only
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Those of all namespaces, which is also the default
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// How to print it
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "table")]
    format: Format,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// To be read
    Table,
    /// The daemon's own words, once
    Json,
    /// The same as YAML
    Yaml,
}

/// What one look saw.
struct Look {
    pipelines: Vec<Pipeline>,
    /// Where it comes from, and why not from a daemon, if not.
    by: String,
    /// What of it no daemon tells, for those who read no table.
    lack: Option<String>,
}

impl Top {
    pub(super) fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        Ok(runtime.block_on(self.show())?)
    }

    async fn show(&self) -> anyhow::Result<()> {
        let client = if self.reach.server.is_some() {
            None
        } else {
            Some(self.reach.cluster.client().await?.0)
        };
        let is_live = self.format == Format::Table && std::io::stdout().is_terminal();
        let progress = Progress::waiting("asking the daemon");
        let first = self.look(client.as_ref()).await;
        drop(progress);
        self.print(&first?, is_live)?;
        if !is_live {
            return Ok(());
        }
        loop {
            tokio::time::sleep(Duration::from_secs(self.interval)).await;
            match self.look(client.as_ref()).await {
                Ok(look) => self.print(&look, is_live)?,
                // A daemon that restarts is back in a moment; the old picture stays above the reason.
                Err(error) => out::aside(&format!("{error:#}")),
            }
        }
    }

    /// As with kubectl, all are more than one.
    fn namespace(&self) -> Option<&String> {
        self.namespace.as_ref().filter(|_| !self.all_namespaces)
    }

    fn print(&self, look: &Look, is_live: bool) -> anyhow::Result<()> {
        if !matches!(self.format, Format::Table)
            && let Some(lack) = &look.lack
        {
            out::aside(lack);
        }
        match self.format {
            Format::Json => out::json(&look.pipelines),
            Format::Yaml => {
                let yaml = serde_saphyr::to_string(&look.pipelines);
                out::text(&yaml.context("cannot print YAML")?)
            }
            // Home, and clear to the end.
            Format::Table if is_live => out::text(&format!("\x1b[H\x1b[2J{}", text(look))),
            Format::Table => out::text(&text(look)),
        }
    }

    async fn look(&self, client: Option<&Client>) -> anyhow::Result<Look> {
        const PATH: &str = "/api/v1/pipelines";
        let leads = |all: &Pipelines| all.pipelines.iter().any(|pipeline| pipeline.leads);
        let (told, silent) = match (&self.reach.server, client) {
            (Some(server), _) => {
                (vec![reach::ask_server(server, self.reach.token(), PATH).await?], Vec::new())
            }
            (None, Some(client)) => match reach::ask_releases(client, PATH, leads).await {
                Ok(answered) => answered,
                Err(why) => return self.read_statuses(client, &format!("{why:#}")).await,
            },
            (None, None) => anyhow::bail!("there is nobody to ask"),
        };
        let (mut pipelines, mut by) = (Vec::new(), Vec::new());
        for answered in told {
            let found = answered.found.context("it is no daemon of Penstock that answers")?;
            pipelines.extend(found.pipelines);
            by.push(answered.by);
        }
        pipelines.retain(|pipeline| self.namespace().is_none_or(|ns| *ns == pipeline.namespace));
        worst_first(&mut pipelines);
        // Of a release that is not heard nothing is shown.
        let silent: Vec<_> = silent.iter().map(|why| format!("{why:#}")).collect();
        let lack = (!silent.is_empty()).then(|| silent.join("; "));
        let by: Vec<_> = std::iter::once(by.join(" and ")).chain(silent).collect();
        Ok(Look { pipelines, by: by.join("; "), lack })
    }

    async fn read_statuses(&self, client: &Client, why: &str) -> anyhow::Result<Look> {
        let api = match self.namespace() {
            Some(namespace) => Api::<ScaledPipeline>::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let list = api
            .list(&ListParams::default())
            .await
            .map_err(|error| reach::plain(&error))
            .context("cannot list ScaledPipelines")?;
        let view = |object: ScaledPipeline| {
            let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
            let generation = object.metadata.generation.unwrap_or_default();
            recount(&namespace, &name, generation, &object.status.unwrap_or_default())
        };
        let mut pipelines: Vec<Pipeline> = list.items.into_iter().map(view).collect();
        worst_first(&mut pipelines);
        let by = format!("statuses, for no daemon could be asked ({why})");
        let lack = format!("no daemon could be asked ({why}); this is what the statuses say");
        Ok(Look { pipelines, by, lack: Some(lack) })
    }
}

/// Delay against objective of the worst stage; a pipeline whose delay is not known stands behind those that are late.
fn worst_first(pipelines: &mut [Pipeline]) {
    let share = |stage: &Stage| Some(stage.delay_seconds? / stage.objective_seconds?);
    let worst = |pipeline: &Pipeline| pipeline.stages.iter().filter_map(share).fold(0.0, f64::max);
    pipelines.sort_by(|a, b| {
        let names = (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name));
        worst(b).total_cmp(&worst(a)).then(names)
    });
}

fn text(look: &Look) -> String {
    let table = table_of(&look.pipelines);
    let count = look.pipelines.len();
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} pipeline{plural}, told by {}\n\n{table}\n", look.by)
}

/// A row for each stage; and one for what is wrong with a pipeline as a whole, or where it has no stages.
pub(super) fn table_of(pipelines: &[Pipeline]) -> Table {
    let mut table = table([
        "PIPELINE",
        "STAGE",
        "WANTED",
        "CURRENT",
        "READY",
        "LAG",
        "DELAY",
        "OBJECTIVE",
        "ARRIVING",
        "RATE/REPLICA",
        "REASON",
    ]);
    for pipeline in pipelines {
        let name = format!("{}/{}", pipeline.namespace, pipeline.name);
        if let Some(word) = word(pipeline) {
            let mut row = vec![name.clone()];
            row.resize(10, "-".to_owned());
            row.push(word);
            table.add_row(row);
        }
        for stage in &pipeline.stages {
            table.add_row(row(&name, stage));
        }
    }
    table
}

/// What is to be said of the whole: a fault, a condition that no stage gives the reason of, or that there is nothing yet.
fn word(pipeline: &Pipeline) -> Option<String> {
    if let Some(fault) = pipeline.faults.first() {
        return Some(format!("{} ({})", fault.code, fault.path));
    }
    let is_of_a_stage = |word: &str| {
        let mut reasons = pipeline.stages.iter().flat_map(|stage| &stage.reasons);
        reasons.any(|reason| reason.code == word)
    };
    let untold =
        |it: &&Trouble| it.status == "False" && it.kind == "Ready" && !is_of_a_stage(&it.reason);
    let first = if pipeline.stages.is_empty() {
        pipeline.conditions.first()
    } else {
        pipeline.conditions.iter().find(untold)
    };
    let undecided = || pipeline.stages.is_empty().then(|| "undecided".to_owned());
    first.map(|condition| condition.reason.clone()).or_else(undecided)
}

fn row(pipeline: &str, stage: &Stage) -> [String; 11] {
    [
        pipeline.to_owned(),
        stage.name.clone(),
        shown(stage.replicas.desired),
        shown(stage.replicas.current),
        shown(stage.replicas.ready),
        shown(stage.lag),
        shown(stage.delay_seconds.map(|seconds| delay(seconds, stage.is_delay_at_least))),
        shown(stage.objective_seconds.map(short)),
        shown(stage.arrival_rate.map(rate)),
        shown(stage.rate_per_replica.map(rate)),
        shown(stage.reasons.last().map(|reason| reason.code.clone())),
    ]
}
