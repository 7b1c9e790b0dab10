//! What was measured, printed as it comes and held against what is promised. Called by `main`.

use std::collections::BTreeMap;
use std::time::Duration;

/// Targets that were missed, and by how much.
#[derive(Debug, Default)]
pub(crate) struct Missed(pub(crate) Vec<String>);

impl Missed {
    /// Notes a figure above its target.
    fn above(&mut self, what: &str, figure: f64, target: f64) {
        if figure > target {
            let over = figure - target;
            self.0.push(format!("{what}: {figure:.2}, target {target:.2}, {over:.2} too much"));
        }
    }
}

/// The runs of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Reactions {
    /// Whose, and of which kind.
    pub(crate) who: String,
    pub(crate) kind: String,
    /// Is it ours, with promises to keep?
    pub(crate) is_ours: bool,
    /// From the first item sent to the right count asked for.
    pub(crate) took: Vec<Duration>,
    /// The most writes that a run took.
    pub(crate) writes: usize,
}

impl Reactions {
    fn median(&self) -> f64 {
        let mut took: Vec<_> = self.took.iter().map(Duration::as_secs_f64).collect();
        took.sort_by(f64::total_cmp);
        took.get(took.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn worst(&self) -> f64 {
        self.took.iter().map(Duration::as_secs_f64).fold(0.0, f64::max)
    }
}

/// What somebody costs while nothing needs to change. Rates are by second.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    pub(crate) who: String,
    pub(crate) what: String,
    pub(crate) is_ours: bool,
    /// Resident memory of all its processes, MiB.
    pub(crate) memory: f64,
    /// Cores.
    pub(crate) cpu: f64,
    /// Connections to the broker.
    pub(crate) connections: usize,
    pub(crate) broker_requests: f64,
    /// Requests to the API server, leases and Secrets apart.
    pub(crate) writes: f64,
    pub(crate) reads: f64,
    /// The same requests by verb and resource, watches apart.
    pub(crate) kinds: BTreeMap<String, usize>,
}

/// What is promised at 500 pipelines on one broker: MiB, connections.
const MEMORY: f64 = 40.0;
const CONNECTIONS: f64 = 3.0;
/// Seconds between two commits of a group that keeps its objective of 60 s.
const COMMITS: f64 = 40.0;

/// All figures of one run of the benchmark.
#[derive(Debug, Default)]
pub(crate) struct Board {
    reactions: Vec<Reactions>,
    costs: Vec<Cost>,
    pub(crate) missed: Missed,
}

impl Board {
    pub(crate) fn reaction(&mut self, company: &str, found: Reactions) {
        if found.took.is_empty() {
            return;
        }
        if self.reactions.is_empty() {
            let what = "from backlog to the right spec.replicas";
            println!("{what:<64}{:>6}{:>10}{:>10}{:>8}", "runs", "median s", "worst s", "writes");
        }
        let what = format!("{}, {company}: {}", found.who, found.kind);
        let (runs, median, worst, writes) =
            (found.took.len(), found.median(), found.worst(), found.writes);
        println!("{what:<64}{runs:>6}{median:>10.2}{worst:>10.2}{writes:>8}");
        if found.is_ours {
            self.missed.above(&format!("{what}, worst seconds"), worst, 3.0);
            self.missed.above(&format!("{what}, writes"), count(writes), 1.0);
        }
        self.reactions.push(found);
    }

    /// `most_writes`: a second, to the API server; `None` for who has promised nothing.
    pub(crate) fn cost(&mut self, found: Cost, most_writes: Option<f64>) {
        let Cost { memory, cpu, connections, broker_requests, writes, reads, .. } = found;
        let what = format!("{}, 500 x 24 partitions, {}", found.who, found.what);
        println!(
            "{what:<64} {memory:.1} MiB, {:.2} % of a core, {connections} broker connections, {broker_requests:.1} broker requests/s, API: {writes:.2} writes/s, {reads:.2} reads/s",
            cpu * 100.0
        );
        for (kind, number) in &found.kinds {
            println!("{:<64} {number} x {kind}", "");
        }
        if let Some(most_writes) = most_writes {
            self.missed.above(&format!("{what}, MiB"), memory, MEMORY);
            let open = format!("{what}, broker connections");
            self.missed.above(&open, count(connections), CONNECTIONS);
            self.missed.above(&format!("{what}, API writes/s"), writes, most_writes);
            self.missed.above(&format!("{what}, API reads/s"), reads, 0.0);
        }
        self.costs.push(found);
    }

    /// How long the moving groups took between two commits at most. Beyond their objective they were late in truth, and the figures
    /// of that part tell of a machine that was too busy.
    pub(crate) fn traffic(&mut self, between_commits: Duration) {
        let seconds = between_commits.as_secs_f64();
        println!("{:<64} {seconds:.1} s between two commits of a moving group at most", "");
        let what = "the benchmark's own traffic, seconds between two commits of a group";
        self.missed.above(what, seconds, COMMITS);
    }

    /// How much more a peer takes of each, in this very run.
    pub(crate) fn compare(&self) {
        let ours = |kind: &str| self.reactions.iter().find(|one| one.is_ours && one.kind == kind);
        for theirs in self.reactions.iter().filter(|one| !one.is_ours) {
            let Some(ours) = ours(&theirs.kind) else { continue };
            println!(
                "{} takes {:.0} x the time of {} ({}, medians)",
                theirs.who,
                theirs.median() / ours.median(),
                ours.who,
                theirs.kind
            );
        }
        let Some(ours) = self.costs.iter().find(|one| one.is_ours) else { return };
        for theirs in self.costs.iter().filter(|one| !one.is_ours) {
            println!(
                "{} takes {:.0} x the memory, {:.1} x the CPU and {:.0} x the broker connections of {}",
                theirs.who,
                theirs.memory / ours.memory,
                theirs.cpu / ours.cpu,
                count(theirs.connections) / count(ours.connections),
                ours.who
            );
        }
    }
}

/// A count as a float, for comparing.
pub(crate) fn count(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
