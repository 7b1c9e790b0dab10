//! `penstock explain`: why each stage of a pipeline has the replicas it has, what bound it, and what to change to get another
//! answer. Asks the daemon; when none can be reached it reads the status, and says so.

use jiff::Timestamp;
use std::fmt::Write as _;

use anyhow::{Context, anyhow};
use comfy_table::Table;
use kube::{Api, Client};

use super::figures::{self, delay, figure, rate, short, shown};
use super::progress::Progress;
use super::reach::{self, Reach};
use super::recount::recount;
use super::{Failure, out};
use crate::answer::page::Currency;
use crate::answer::view::{
    Fallback, InForce, Lane, Outlook, Pipeline, Refusal, Replicas, Said, Sighting, Stage, Sum,
    Trouble,
};
use crate::crd::ScaledPipeline;
use crate::decide::Stage as Meant;

/// The arguments of `penstock explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// Name of the ScaledPipeline
    name: String,
    /// Its namespace. Default: the one kubectl would use
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// How to print it
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "table")]
    format: Format,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// To be read
    Table,
    /// The daemon's own words
    Json,
    /// The same as YAML
    Yaml,
}

/// A view, and where it comes from.
struct Told {
    view: Pipeline,
    by: String,
    /// Why it is no daemon that tells it.
    why_not: Option<String>,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let progress = Progress::waiting("asking the daemon");
        let told = runtime.block_on(self.ask());
        drop(progress);
        let told = told?;
        if let Some(why) = &told.why_not {
            out::aside(&format!("no daemon could be asked ({why}); this is what its status says"));
        }
        match self.format {
            Format::Table => out::text(&text(&told.view, &told.by).context("cannot print")?)?,
            Format::Json => out::json(&told.view)?,
            Format::Yaml => {
                out::text(&serde_saphyr::to_string(&told.view).context("cannot print YAML")?)?;
            }
        }
        Ok(())
    }

    async fn ask(&self) -> anyhow::Result<Told> {
        if let Some(server) = &self.reach.server {
            let namespace = self.namespace.as_deref().unwrap_or("default");
            let path = self.path(namespace);
            let answered = reach::ask_server(server, self.reach.token(), &path).await?;
            let view = answered.found.with_context(|| self.unknown(namespace, &answered.by))?;
            return Ok(Told { view, by: answered.by, why_not: None });
        }
        let (client, usual) = self.reach.cluster.client().await?;
        let namespace = self.namespace.clone().unwrap_or(usual);
        let path = self.path(&namespace);
        let answered = reach::ask_pods(&client, &path, |view: &Pipeline| view.leads).await;
        match answered {
            Ok(answered) if answered.found.is_some() => {
                let view =
                    answered.found.with_context(|| self.unknown(&namespace, &answered.by))?;
                Ok(Told { view, by: answered.by, why_not: None })
            }
            Ok(answered) => {
                let why = format!("{} does not know it (yet)", answered.by);
                self.read_status(&client, &namespace, why).await
            }
            Err(error) => self.read_status(&client, &namespace, format!("{error:#}")).await,
        }
    }

    async fn read_status(
        &self,
        client: &Client,
        namespace: &str,
        why: String,
    ) -> anyhow::Result<Told> {
        let api = Api::<ScaledPipeline>::namespaced(client.clone(), namespace);
        let object = api
            .get_opt(&self.name)
            .await
            .map_err(|error| reach::plain(&error))
            .context("cannot read the ScaledPipeline")?
            .ok_or_else(|| {
                let name = &self.name;
                anyhow!("no ScaledPipeline {namespace}/{name}; hint: kubectl get spl -A lists all")
            })?;
        let generation = object.metadata.generation.unwrap_or_default();
        let view = recount(namespace, &self.name, generation, &object.status.unwrap_or_default());
        Ok(Told { view, by: "its status".to_owned(), why_not: Some(why) })
    }

    fn path(&self, namespace: &str) -> String {
        format!("/api/v1/pipelines/{namespace}/{}", self.name)
    }

    fn unknown(&self, namespace: &str, by: &str) -> String {
        let name = &self.name;
        format!(
            "{by} knows no pipeline {namespace}/{name}; hint: -n NAMESPACE, or see /api/v1/pipelines"
        )
    }
}

/// To be read aloud.
pub(super) fn text(view: &Pipeline, by: &str) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    write_text(&mut text, view, by)?;
    Ok(text)
}

fn write_text(to: &mut String, view: &Pipeline, by: &str) -> std::fmt::Result {
    write!(to, "Pipeline {}/{}, generation {}", view.namespace, view.name, view.generation)?;
    match (view.age_seconds, view.at) {
        (Some(age), _) => write!(to, ", decided {} ago", short(age))?,
        (None, Some(at)) => write!(to, ", written {}", at.strftime("%Y-%m-%d %H:%M:%S UTC"))?,
        (None, None) => {}
    }
    let role = if view.leads { ", the leader" } else { "" };
    writeln!(to, ". Told by {by}{role}.")?;
    if let (Some(name), Some(delay)) = (&view.bottleneck, view.delay_seconds)
        && view.stages.len() > 1
    {
        writeln!(to, "The bottleneck is {name}: its oldest item has waited {}.", short(delay))?;
    }
    for fault in &view.faults {
        writeln!(to, "\nNothing is decided: {} {} ({}).", fault.path, fault.message, fault.code)?;
        if let Some(hint) = &fault.hint {
            writeln!(to, "  To change this: {hint}.")?;
        }
    }
    for Trouble { kind, status, reason, message } in &view.conditions {
        writeln!(to, "\n{kind} is {status}: {message} [{reason}]")?;
    }
    if view.stages.is_empty() {
        if view.faults.is_empty() && view.conditions.is_empty() {
            writeln!(to, "\nNothing has been decided for it yet.")?;
        }
        return Ok(());
    }
    writeln!(to, "\n{}\n", table(view))?;
    for stage in &view.stages {
        write_stage(to, stage, view.currency.as_ref())?;
    }
    Ok(())
}

fn table(view: &Pipeline) -> Table {
    let mut table = figures::table([
        "STAGE",
        "WANTED",
        "CURRENT",
        "READY",
        "MIN-MAX",
        "LAG",
        "DELAY",
        "OBJECTIVE",
        "ARRIVING",
        "RATE/REPLICA",
    ]);
    for stage in &view.stages {
        let Replicas { desired, current, ready, min, max } = stage.replicas;
        let range = min.zip(max).map(|(min, max)| format!("{min}-{max}"));
        let delay = stage.delay_seconds.map(|seconds| delay(seconds, stage.is_delay_at_least));
        table.add_row([
            stage.name.clone(),
            shown(desired),
            shown(current),
            shown(ready),
            shown(range),
            shown(stage.lag),
            shown(delay),
            shown(objective(stage)),
            shown(stage.arrival_rate.map(rate)),
            shown(stage.rate_per_replica.map(rate)),
        ]);
    }
    table
}

/// What is promised: a delay, or for a batch the time it is done by.
fn objective(stage: &Stage) -> Option<String> {
    let by = |time: Timestamp| time.strftime("by %H:%M UTC").to_string();
    stage.objective_seconds.map(short).or_else(|| stage.done_by.map(by))
}

fn write_stage(to: &mut String, stage: &Stage, currency: Option<&Currency>) -> std::fmt::Result {
    let name = &stage.name;
    match (stage.replicas.desired, stage.replicas.current) {
        (None, _) => writeln!(to, "How many replicas {name} should have is not known.")?,
        (Some(desired), Some(current)) if desired != current => {
            writeln!(to, "{name} should have {}, and has {current}.", replicas(desired))?;
        }
        (Some(desired), _) => writeln!(to, "{name} should have {}.", replicas(desired))?,
    }
    for lane in &stage.lanes {
        let Lane { pool, target, share, desired, ready, going, unplaced, cost_per_hour } = lane;
        write!(to, "  On {pool} ({target}): {}", replicas(*desired))?;
        if share != desired {
            write!(to, ", with a share of {share}")?;
        }
        write!(to, "; ready: {ready}")?;
        if *going != 0 {
            write!(to, ", of which on nodes about to go: {going}")?;
        }
        if *unplaced != 0 {
            write!(to, "; without a node: {unplaced}")?;
        }
        if let Some(cost) = cost_per_hour {
            let unit = currency.map(|it| format!(" {it}")).unwrap_or_default();
            write!(to, "; costs {cost:.2}{unit} an hour")?;
        }
        writeln!(to, ".")?;
    }
    for room in stage.rooms.iter().filter(|room| room.replicas != 0) {
        let there = match room.placed {
            Some(placed) if placed == room.replicas => "all of it is there now".to_owned(),
            Some(placed) => format!("there now: {placed}"),
            None => "nobody can tell how much of it is there".to_owned(),
        };
        let mut sentence = room.sentence.clone();
        if let Some(first) = sentence.get_mut(0..1) {
            first.make_ascii_uppercase();
        }
        writeln!(to, "  {sentence}; {there}.")?;
    }
    let mut reasons: Vec<&Said> = stage.reasons.iter().collect();
    reasons.dedup();
    let last = reasons.len().saturating_sub(1);
    for (index, reason) in reasons.iter().enumerate() {
        let lead = match index {
            _ if index == last => "Because",
            0 => "First",
            _ => "Then",
        };
        writeln!(to, "  {lead}: {} [{}]", reason.sentence, reason.code)?;
    }
    if let Some(held) = stage.held {
        let since = held.since.strftime("%H:%M:%S UTC");
        writeln!(to, "  A down window has kept {} since {since}.", replicas(held.replicas))?;
    }
    if let Some(in_force) = &stage.in_force {
        write_in_force(to, in_force, &stage.sources)?;
    }
    for source in &stage.sources {
        write_source(to, source)?;
    }
    // What bound the count is told already; the rest of what is odd is worth a look.
    let told = |odd: &&Said| !reasons.iter().any(|reason| reason.code == odd.code);
    for odd in stage.anomalies.iter().filter(told) {
        writeln!(to, "  Odd: {} [{}]", odd.sentence, odd.code)?;
        if let Some(hint) = &odd.hint {
            writeln!(to, "    {hint}.")?;
        }
    }
    let sum = stage.outlook.as_ref().and_then(|outlook| outlook.sum.as_ref());
    write_means(to, stage, sum)?;
    if let Some(sum) = sum {
        write_sum(to, sum)?;
    }
    if let Some(outlook) = &stage.outlook {
        write_outlook(to, outlook)?;
    }
    if let Some(hint) = reasons.last().and_then(|reason| reason.hint.as_ref()) {
        writeln!(to, "  To change this: {hint}.")?;
    }
    writeln!(to)
}

/// What holds where nobody need have written it.
fn write_in_force(to: &mut String, it: &InForce, sources: &[Sighting]) -> std::fmt::Result {
    let InForce { priority, prefer, on_silence, fallback, .. } = it;
    let count = fallback.replicas.map(|count| format!(" {count}")).unwrap_or_default();
    let Fallback { policy, after_seconds, .. } = fallback;
    write!(to, "  In force: prefer {prefer}, priority {priority}")?;
    if let Some(window) = it.down_window_seconds {
        write!(to, ", down window {}", short(window))?;
    }
    if let Some(quiet) = it.sleep_after_seconds {
        write!(to, ", asleep after {} of quiet", short(quiet))?;
    }
    write!(
        to,
        ", onSilence {on_silence}, fallback {policy}{count} after {}",
        short(*after_seconds)
    )?;
    for Sighting { name, poll_seconds, activation, .. } in sources {
        write!(to, "; {name} is asked every {}", short(*poll_seconds))?;
        // What never wakes a stage says so by a number that nothing exceeds.
        let wakes = it.sleep_after_seconds.is_some() && !name.starts_with("gate/");
        if wakes && *activation < 1e15 {
            write!(to, " and wakes above {activation}")?;
        }
    }
    writeln!(to, ".")
}

/// What a count that keeps an objective is reckoned with, as far as it is known.
fn write_means(to: &mut String, stage: &Stage, sum: Option<&Sum>) -> std::fmt::Result {
    let Some(objective) = stage.objective_seconds else { return Ok(()) };
    if stage.is_default_objective {
        let whole = Meant::DEFAULT_OBJECTIVE.as_secs_f64();
        let (share, of) = if objective < whole {
            ("its share of a default", " from end to end")
        } else {
            ("a default", "")
        };
        writeln!(to, "  Its objective is {share}: {}{of}, since nobody wrote one.", short(whole))?;
    }
    let startup = sum.map(|sum| sum.startup_seconds).or(stage.startup_seconds);
    let pause = sum.map(|sum| sum.rebalance_seconds).or(stage.rebalance_seconds);
    let ahead = stage.forecast_rate.zip(stage.arrival_rate.filter(|now| 0.0 < *now)).zip(sum);
    let told = [
        startup.map(|startup| format!("start-up {}", short(startup))),
        pause.map(|pause| format!("rebalance pause {}", short(pause))),
        ahead.map(|((then, now), sum)| {
            let more = 100.0 * (then / now - 1.0);
            format!("forecast {more:+.0} % within {}", short(sum.lead_seconds))
        }),
        sum.map(|sum| {
            let (planned, objective) = (short(sum.planned_seconds), short(objective));
            format!("{planned} of the {objective} (the rest is room for error)")
        }),
    ];
    let told: Vec<_> = told.into_iter().flatten().collect();
    if told.is_empty() {
        return Ok(());
    }
    writeln!(to, "  Reckoned with: {}.", told.join(", "))
}

/// The sum behind the count that keeps the objective, to be done again by hand.
fn write_sum(to: &mut String, sum: &Sum) -> std::fmt::Result {
    let Sum { carries, waiting, done, within_seconds, margin, spare, .. } = *sum;
    let [each, arrives] = [sum.rate, sum.arrival_rate].map(|it| format!("{}/s", figure(it)));
    let per_replica = sum.rate.max(f64::MIN_POSITIVE);
    let backlog = (waiting - done).max(0.0) / (within_seconds * per_replica);
    let arrivals = sum.arrival_rate * margin / per_replica;
    let waiting = if 0.5 <= done {
        format!("({waiting:.0} - {done:.0} done until then)")
    } else {
        format!("{waiting:.0}")
    };
    let times = if 1.005 <= margin { format!(" x {}", figure(margin)) } else { String::new() };
    let spare = if 1.0 < spare {
        format!(", with {:.0} % to spare", 100.0 * (spare - 1.0))
    } else {
        String::new()
    };
    writeln!(
        to,
        "  Check: {} carry {} times {each}; what waits asks for {} = {waiting} / ({} s x {each}), what arrives for {} = {arrives}{times} / {each}{spare}.",
        replicas(sum.replicas),
        figure(carries),
        figure(backlog),
        figure(within_seconds),
        figure(arrivals),
    )
}

/// What other counts would bring.
fn write_outlook(to: &mut String, outlook: &Outlook) -> std::fmt::Result {
    let horizon = short(outlook.horizon_seconds);
    writeln!(
        to,
        "  If what arrives now goes on, the next {horizon} would bring with (REPLICA-SECONDS with what is left to do then):"
    )?;
    let mut table =
        figures::table(["REPLICAS", "SERVE", "REPLICA-SECONDS", "OLDEST ITEM", "LATE FOR", ""]);
    for count in &outlook.counts {
        let rising = if count.is_rising { ", rising" } else { "" };
        let late = (0.0 < count.late_seconds).then(|| short(count.late_seconds));
        table.add_row([
            count.replicas.to_string(),
            rate(count.rate),
            format!("{:.0}", count.cost),
            format!("{}{rising}", short(count.delay_seconds)),
            shown(late),
            count.sentence.clone(),
        ]);
    }
    for line in table.to_string().lines() {
        writeln!(to, "  {}", line.trim_end())?;
    }
    Ok(())
}

fn write_source(to: &mut String, source: &Sighting) -> std::fmt::Result {
    write!(to, "  Source {}: {}", source.name, source.state.to_lowercase())?;
    if let Some(age) = source.age_seconds {
        write!(to, ", read {} ago", short(age))?;
    }
    match &source.message {
        Some(message) => writeln!(to, "; {message}.")?,
        None => writeln!(to, ".")?,
    }
    let Some(Refusal { code, message, since }) = &source.refusal else { return Ok(()) };
    let since = since.strftime("%Y-%m-%d %H:%M:%S UTC");
    writeln!(
        to,
        "    It answers to its former credentials; the newest are not in use since {since}:"
    )?;
    writeln!(to, "    {message} [{code}]")
}

fn replicas(count: u32) -> String {
    format!("{count} replica{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_told_with_its_currency_where_somebody_said_it() -> Result<(), String> {
        let lane = Lane {
            pool: "spot".to_owned(),
            target: "Deployment sink".to_owned(),
            share: 3,
            desired: 3,
            ready: 3,
            going: 0,
            unplaced: 0,
            cost_per_hour: Some(1.2),
        };
        let stage = Stage { lanes: vec![lane], ..Stage::default() };
        let said = |currency: Option<&Currency>| {
            let mut text = String::new();
            write_stage(&mut text, &stage, currency).map_err(|error| error.to_string())?;
            Ok::<_, String>(text)
        };
        assert!(said(None)?.contains("; costs 1.20 an hour."));
        assert!(said(Some(&"EUR".parse()?))?.contains("; costs 1.20 EUR an hour."));
        Ok(())
    }
}
