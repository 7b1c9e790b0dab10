//! What others tell of their runs, kept until it is asked for: which datasets a run wrote, and when it completed. Filled by `answer`, which takes
//! OpenLineage events, and by what other replicas have heard; read by the lineage source. Merging is a union, so that the order in which
//! replicas hear of each other decides nothing, and hearing a thing twice changes nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::super::visit::locked;

/// Datasets and runs remembered: the ones longest unheard of make room.
const DATASETS: usize = 4096;
const RUNS: usize = 1024;
/// Datasets that one run may write, and how long a name may be.
const OUTPUTS: usize = 256;
const LONGEST: usize = 1024;
/// So much of it is told to another replica at once, newest first: below what one answer may hold.
const TOLD: usize = 700_000;

/// A dataset as OpenLineage names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dataset {
    /// Where it lies: `postgres://db:5432`, `s3://bucket`, `kafka://broker:9092`.
    pub namespace: String,
    /// What it is called there.
    pub name: String,
}

/// What one event says of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Id of the run.
    pub run: String,
    /// When it completed, if it has. A run that failed or was aborted never completes.
    pub completed: Option<Timestamp>,
    /// Datasets it is said to write. Events of one run add up: some producers name them at the start, others at the end.
    pub outputs: Vec<Dataset>,
}

/// Who else hears events, and how to ask them.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    /// `host:port` of the other replicas; a name that leads to several addresses is asked at each of them.
    pub addresses: Vec<String>,
    /// The file that holds the token of `/api/v1/lineage`, read anew whenever it is needed.
    pub token: PathBuf,
}

/// What was heard. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Inbox(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// `None` where no events are taken at all.
    peers: Option<Peers>,
    heard: Mutex<Heard>,
    news: Notify,
}

/// What replicas tell each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// The last completion of a run that wrote each dataset, newest first when told.
    datasets: Vec<(Dataset, Timestamp)>,
    /// What is known of single runs, newest last.
    runs: Vec<(String, Run)>,
}

/// What is known of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Run {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    completed: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    outputs: BTreeSet<Dataset>,
}

impl Inbox {
    /// One that takes events and hears of what the peers have taken.
    pub fn open(peers: Peers) -> Self {
        Self(Arc::new(Kept { peers: Some(peers), ..Kept::default() }))
    }

    /// Who else hears events; `None` where none are taken.
    pub fn peers(&self) -> Option<&Peers> {
        self.0.peers.as_ref()
    }

    /// The token that callers must show; `None` when it cannot be read or is empty.
    pub async fn token(&self) -> Option<String> {
        let file = &self.peers()?.token;
        let text = tokio::fs::read_to_string(file).await.ok()?;
        Some(text.trim().to_owned()).filter(|token| !token.is_empty())
    }

    /// Keeps what an event says. Names beyond bounds are left out.
    pub fn hear(&self, event: Event) {
        let run = Run {
            completed: event.completed,
            outputs: event.outputs.into_iter().filter(Dataset::is_sane).collect(),
        };
        self.take_in(Heard { datasets: Vec::new(), runs: vec![(event.run, run)] });
    }

    /// Takes in what another replica has heard.
    pub fn take_in(&self, told: Heard) {
        let is_new = locked(&self.0.heard).merge(told);
        if is_new {
            self.0.news.notify_one();
        }
    }

    /// When a run that wrote this dataset last completed, as far as anybody has heard.
    pub fn completed(&self, dataset: &Dataset) -> Option<Timestamp> {
        locked(&self.0.heard).datasets.iter().find(|(known, _)| known == dataset).map(|(_, at)| *at)
    }

    /// All of it, for another replica.
    pub fn told(&self) -> Heard {
        locked(&self.0.heard).told()
    }

    /// Comes back when something new was heard since it last did.
    pub(super) async fn news(&self) {
        self.0.news.notified().await;
    }
}

impl Dataset {
    fn is_sane(&self) -> bool {
        [&self.namespace, &self.name].iter().all(|text| (1..=LONGEST).contains(&text.len()))
    }

    fn weight(&self) -> usize {
        // Names are text in JSON: at worst each byte becomes six.
        self.namespace.len() + self.name.len() + 64
    }
}

impl Heard {
    /// The union; says whether a dataset is younger for it.
    fn merge(&mut self, told: Self) -> bool {
        let mut is_new = false;
        for (dataset, at) in told.datasets {
            if dataset.is_sane() {
                is_new |= self.complete(dataset, at);
            }
        }
        for (id, run) in told.runs {
            if id.len() > LONGEST {
                continue;
            }
            let mut known = match self.runs.iter().position(|(known, _)| *known == id) {
                Some(index) => self.runs.remove(index).1,
                None => Run::default(),
            };
            known.completed = known.completed.max(run.completed);
            known.outputs.extend(run.outputs.into_iter().filter(Dataset::is_sane));
            while known.outputs.len() > OUTPUTS {
                known.outputs.pop_last();
            }
            if let Some(at) = known.completed {
                for dataset in &known.outputs {
                    is_new |= self.complete(dataset.clone(), at);
                }
            }
            self.runs.push((id, known));
        }
        let surplus = self.runs.len().saturating_sub(RUNS);
        self.runs.drain(..surplus);
        is_new
    }

    /// A run that wrote it completed then; says whether that is news.
    fn complete(&mut self, dataset: Dataset, at: Timestamp) -> bool {
        match self.datasets.iter_mut().find(|(known, _)| *known == dataset) {
            Some((_, known)) if *known < at => *known = at,
            Some(_) => return false,
            None => {
                if self.datasets.len() >= DATASETS {
                    let oldest = self.datasets.iter().enumerate().min_by_key(|(_, (_, at))| *at);
                    if let Some((index, _)) = oldest {
                        self.datasets.swap_remove(index);
                    }
                }
                self.datasets.push((dataset, at));
            }
        }
        true
    }

    /// What fits, newest first.
    fn told(&self) -> Self {
        let mut left = TOLD;
        let mut fits = |weight: usize| {
            let fits = weight <= left;
            left = left.saturating_sub(weight);
            fits
        };
        let mut datasets = self.datasets.clone();
        datasets.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
        datasets.retain(|(dataset, _)| fits(dataset.weight()));
        let weight = |run: &Run| run.outputs.iter().map(Dataset::weight).sum::<usize>() + 128;
        let mut runs: Vec<_> = self
            .runs
            .iter()
            .rev()
            .filter(|(id, run)| fits(id.len() + weight(run)))
            .cloned()
            .collect();
        runs.reverse();
        Self { datasets, runs }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn dataset(name: &str) -> Dataset {
        Dataset { namespace: "s3://lake".to_owned(), name: name.to_owned() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn event(run: &str, completed: Option<i64>, outputs: &[&str]) -> Event {
        let outputs = outputs.iter().map(|name| dataset(name)).collect();
        Event { run: run.to_owned(), completed: completed.map(at), outputs }
    }

    #[test]
    fn a_run_that_completes_makes_what_it_writes_young_whoever_heard_which_half() {
        let (here, there) = (Inbox::open(Peers::default()), Inbox::open(Peers::default()));
        here.hear(event("a", None, &["orders"]));
        there.hear(event("a", Some(5), &[]));
        assert_eq!(here.completed(&dataset("orders")), None);
        assert_eq!(there.completed(&dataset("orders")), None);
        here.take_in(there.told());
        there.take_in(here.told());
        for inbox in [&here, &there] {
            assert_eq!(inbox.completed(&dataset("orders")), Some(at(5)));
        }
    }

    #[test]
    fn events_in_any_order_and_twice_come_to_the_same() {
        let all = [
            event("a", Some(5), &["orders"]),
            event("b", Some(3), &["orders", "users"]),
            event("c", None, &["users"]),
            event("a", None, &["items"]),
            event("c", Some(9), &[]),
        ];
        let (forth, back) = (Inbox::open(Peers::default()), Inbox::open(Peers::default()));
        all.iter().chain(&all).for_each(|event| forth.hear(event.clone()));
        all.iter().rev().for_each(|event| back.hear(event.clone()));
        let by_name = |inbox: &Inbox| -> BTreeMap<Dataset, Timestamp> {
            inbox.told().datasets.into_iter().collect()
        };
        assert_eq!(by_name(&forth), by_name(&back));
        for (name, second) in [("orders", 5), ("users", 9), ("items", 5)] {
            assert_eq!(back.completed(&dataset(name)), Some(at(second)), "{name}");
        }
    }

    #[test]
    fn what_is_kept_and_told_is_bounded_and_the_newest_stays() {
        let inbox = Inbox::open(Peers::default());
        for number in 0..5000 {
            let name = format!("{number}-{}", "x".repeat(400));
            inbox.hear(event(&format!("run {number}"), Some(number), &[&name]));
        }
        let last = dataset(&format!("4999-{}", "x".repeat(400)));
        assert_eq!(inbox.completed(&last), Some(at(4999)));
        let heard = locked(&inbox.0.heard).clone();
        assert_eq!((heard.datasets.len(), heard.runs.len()), (DATASETS, RUNS));
        let told = inbox.told();
        assert!(serde_json::to_string(&told).unwrap().len() < 1 << 20);
        assert_eq!(told.datasets.first().map(|(dataset, _)| dataset), Some(&last));
        inbox.hear(event("long", Some(9999), &[&"y".repeat(2000)]));
        assert_eq!(inbox.completed(&dataset(&"y".repeat(2000))), None);
    }
}
