//! The command line: one file for each command. Called by `main` alone; nobody imports it.
//! What is printed goes through `out`, so that every command has the same formats and a closed pipe hurts none.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

mod out;
mod run;
mod telemetry;
mod demo;
mod explain;
mod top;
mod simulate;
mod replay;
mod gitops;
mod check;
mod pools;
mod figures;
mod progress;
mod cluster;
mod reach;
mod recount;
mod manifests;
mod convert;
mod validate;
mod crds;
mod completions;
mod man;

/// Say how late your data may be. Penstock sizes every stage of the pipeline, and tells you why.
#[derive(Debug, Parser)]
#[command(name = "penstock", version, propagate_version = true)]
struct Penstock {
    #[command(subcommand)]
    command: Command,
}

/// The closed list of what can be asked on the command line.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run(Box<run::Run>),
    /// Watch Penstock work on this machine alone: a toy cluster, real consumers, the real daemon
    Demo(demo::Demo),
    /// Say why each stage of a pipeline has the replicas it has
    Explain(explain::Explain),
    /// Watch all pipelines, the latest first
    Top(top::Top),
    /// Try a pipeline against a workload in a made-up world, beside other policies
    Simulate(simulate::Simulate),
    /// Decide recorded turns again: the same plan, or what differs
    Replay(replay::Replay),
    /// Print what to write into Argo CD or Flux so that Git leaves the replicas alone
    Gitops(gitops::Gitops),
    /// See whether it will work here: cluster, rights, pipelines, sources; says how to mend what will not
    Check(check::Check),
    /// Show the pools of nodes and how they fare; propose CapacityPools for those that have none
    Pools(pools::Pools),
    /// Turn KEDA's ScaledObjects, ScaledJobs and TriggerAuthentications into Penstock's manifests, and report what changes
    Convert(convert::Convert),
    /// Check manifests offline: the schema and the CEL rules, in the API server's words
    Validate(validate::Validate),
    /// Print the custom resource definitions
    Crds(crds::Crds),
    /// Print completions for a shell
    Completions(completions::Completions),
    /// Print the manual page of penstock or of a command
    Man(man::Man),
}

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// It was asked in a wrong way: exit code 2, one line.
    Misuse(String),
    /// It failed: exit code 1, the chain of causes.
    Failed(anyhow::Error),
    /// It found faults, and has told them: exit code 1, nothing more to say.
    Told,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl Failure {
    /// What the process ends with: 1 for a failed run or check, 2 for wrong usage.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Misuse(_) => ExitCode::from(2),
            Self::Failed(_) | Self::Told => ExitCode::FAILURE,
        }
    }
}

/// Runs what the arguments ask for. The first one is the name that the process was called by: as `kubectl-penstock` it is a
/// plugin of kubectl and calls itself so.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let arguments = command_first(arguments.into_iter().collect());
    let read = command(arguments.first()).try_get_matches_from(arguments);
    let parsed = read.and_then(|matches| Penstock::from_arg_matches(&matches));
    match parsed {
        Ok(Penstock { command }) => command.run(),
        Err(error) if !error.use_stderr() => Ok(out::styled(&error.render())?),
        Err(error) => Err(Failure::Misuse(in_one_line(&error))),
    }
}

/// Says on stderr why a command did not succeed: once, with all causes, in one line.
pub fn complain(failure: &Failure) {
    match failure {
        Failure::Misuse(line) => out::aside(&format!("error: {line}")),
        Failure::Failed(error) => out::aside(&format!("error: {error:#}")),
        Failure::Told => {}
    }
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Run(command) => command.run(),
            Self::Demo(command) => command.run(),
            Self::Explain(command) => command.run(),
            Self::Top(command) => command.run(),
            Self::Simulate(command) => command.run(),
            Self::Replay(command) => command.run(),
            Self::Gitops(command) => command.run(),
            Self::Check(command) => command.run(),
            Self::Pools(command) => command.run(),
            Self::Convert(command) => command.run(),
            Self::Validate(command) => command.run(),
            Self::Crds(command) => command.run(),
            Self::Completions(command) => command.run(),
            Self::Man(command) => command.run(),
        }
    }
}

/// The grammar: every command with its flags. For tests that hold the documentation against it.
pub fn grammar() -> clap::Command {
    Penstock::command()
}

/// The grammar, under the name it was called by.
fn command(called: Option<&OsString>) -> clap::Command {
    let is_plugin = called
        .map(std::path::Path::new)
        .and_then(std::path::Path::file_stem)
        .is_some_and(|name| name == "kubectl-penstock");
    // Nothing said is misuse as any other: one line that names the commands.
    let command = Penstock::command().arg_required_else_help(false);
    if is_plugin { command.bin_name("kubectl penstock") } else { command }
}

/// With the command before the flags that kubectl takes at any place, as in `kubectl penstock --context there top`.
fn command_first(mut arguments: Vec<OsString>) -> Vec<OsString> {
    const WITH_VALUE: [&str; 4] = ["--context", "--kubeconfig", "--namespace", "-n"];
    let mut at = 1;
    while let Some(flag) = arguments.get(at).and_then(|word| word.to_str()) {
        let name = flag.split('=').next().unwrap_or_default();
        at += match name {
            "-A" | "--all-namespaces" => 1,
            name if WITH_VALUE.contains(&name) && name == flag => 2,
            name if WITH_VALUE.contains(&name) => 1,
            _ => break,
        };
    }
    if let Some(moved) = arguments.get_mut(1..=at) {
        moved.rotate_right(1);
    }
    arguments
}

/// What clap says, without its paragraphs; ends with where to look.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("wrong usage").trim_start_matches("error: ");
    let mut line = first.to_owned();
    let mut usage = None;
    for more in lines {
        if let Some(found) = more.strip_prefix("Usage: ") {
            usage = Some(found.to_owned());
        } else if let Some(tip) = more.strip_prefix("tip: ") {
            line = format!("{line}; {tip}");
        } else if usage.is_none() && !more.starts_with("For more information") {
            line = format!("{line} {more}");
        }
    }
    usage.map_or_else(
        || format!("{line}; hint: see --help"),
        |usage| format!("{line}; hint: usage is `{usage}`, see --help"),
    )
}
