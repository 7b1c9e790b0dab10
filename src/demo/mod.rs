//! The same daemon in a toy cluster, in real time: a Kubernetes API and a Kafka in this process, real consumers, a load that rises,
//! spikes and stops. Called by the command `demo`; its parts serve the tests too. This file is the story, the parts are its means.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::daemon::lease::{Seat, identity};
use crate::daemon::{self, Clients, Destination, Placeholders};
use crate::watch;

pub mod cluster;
pub mod score;
pub mod traffic;
mod lookout;
mod scenery;
mod summary;
mod weather;
pub mod view;

use cluster::Cluster;
use lookout::Lookout;
use scenery::{NAMESPACE, OBJECTIVE, PARTITIONS, PIPELINE, STAGES};
use score::{Run, Score, score};
use traffic::{Broker, Consumers, Kafka, Ledger, Load, Producer};
use view::{Frame, Screen};
use weather::Weather;

/// How often the view is fed.
const FRAME: Duration = Duration::from_millis(250);
/// How long the end may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a demo is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long it runs; the load's shape is stretched to it.
    pub length: Duration,
    /// Decides the load's numbers, the pods' start-up times and names.
    pub seed: u64,
    /// A folder that exists, for the kubeconfig.
    pub folder: PathBuf,
    /// Run on lanes, and let spot nodes be taken away and run out.
    pub interrupt: bool,
    /// Where the daemon records its turns, if anywhere.
    pub record: Option<Destination>,
}

/// Why a demo could not be given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka or its clients.
    #[error(transparent)]
    Traffic(#[from] traffic::Error),
    /// The cluster refused an object of ours; a fault in Penstock.
    #[error(
        "the demo's cluster refused {what}: {message}; this is a fault in Penstock, please report it"
    )]
    Scenery {
        /// Name of the object.
        what: String,
        /// The API's words.
        message: String,
    },
    /// The API could not be served or reached.
    #[error("the demo's kubernetes API cannot be {what}")]
    Api {
        /// `served` or `reached`.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kubeconfig could not be written.
    #[error("cannot write {}", .path.display())]
    Kubeconfig {
        /// Where to.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The picture could not be written.
    #[error("cannot write to the terminal")]
    Screen(#[from] io::Error),
    /// The daemon ended by itself.
    #[error("the daemon ended before the demo did")]
    Daemon(#[source] Option<daemon::Error>),
}

/// Gives the demo: runs for its length or until `goodbye`, shows it on `screen`, and returns what the run was worth.
pub async fn run<W: Write>(
    options: &Options,
    screen: &mut Screen<W>,
    goodbye: &CancellationToken,
) -> Result<Score, Error> {
    let ledger = Arc::new(Ledger::new(STAGES.len()));
    let topics = STAGES.map(|stage| (stage.topic, PARTITIONS));
    let broker = Broker::start(&topics)?;
    let kafka = broker.kafka();
    let cluster = scenery::raise(options.seed, &kafka, options.interrupt)?;
    let (kubeconfig, hint) = open(&cluster, options).await?;
    let load = Load::story(options.length, options.seed);

    let page = listen().await?;
    let place = page.local_addr().map_err(served)?;
    let mut play = Play {
        lookout: Lookout::start(cluster.client(), place, Arc::clone(&ledger)),
        consumers: hire(&cluster, &kafka, &ledger)?,
        producer: Producer::start(&kafka, STAGES[0].topic, load.clone(), Arc::clone(&ledger))?,
        daemon: JoinSet::new(),
        stop: CancellationToken::new(),
        past: vec![Past::default(); STAGES.len()],
        load,
        hints: vec![
            format!(
                "Look: http://{place}/ in a browser shows each stage, and why it has what it has"
            ),
            hint,
            format!("Or:  penstock explain -n {NAMESPACE} {PIPELINE} --server http://{place}"),
        ],
        ledger,
    };
    let daemon = daemon::run(
        clients(&kubeconfig).await?,
        daemon_options(page, options.record.clone()),
        play.stop.clone(),
    );
    play.daemon.spawn(daemon);
    let weather = options
        .interrupt
        .then(|| Weather::start(cluster.clone(), options.length, Arc::clone(&play.ledger)));
    let told = play.tell(options, screen, goodbye).await;
    let told = told.and_then(|()| play.sum_up(options, screen));
    if tokio::time::timeout(PATIENCE, play.end()).await.is_err() {
        tracing::warn!("the demo's tasks did not end in time");
    }
    drop((weather, cluster, broker));
    told
}

/// All that moves.
struct Play {
    ledger: Arc<Ledger>,
    load: Load,
    lookout: Lookout,
    consumers: Vec<Consumers>,
    producer: Producer,
    daemon: JoinSet<Result<(), daemon::Error>>,
    stop: CancellationToken,
    past: Vec<Past>,
    hints: Vec<String>,
}

/// Counts of a stage a while ago, for its rates.
#[derive(Debug, Clone, Copy, Default)]
struct Past {
    at: Duration,
    arrived: u64,
    done: u64,
    arriving: f64,
    doing: f64,
}

impl Play {
    /// Shows what happens, until the end.
    async fn tell<W: Write>(
        &mut self,
        options: &Options,
        screen: &mut Screen<W>,
        goodbye: &CancellationToken,
    ) -> Result<(), Error> {
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while self.ledger.now() < options.length {
            tokio::select! {
                () = goodbye.cancelled() => break,
                _ = frames.tick() => screen.show(&self.frame(options))?,
                end = self.daemon.join_next() => {
                    return Err(Error::Daemon(end.and_then(Result::ok).and_then(Result::err)));
                }
            }
        }
        Ok(())
    }

    fn frame(&mut self, options: &Options) -> Frame {
        let now = self.ledger.now();
        let stages = (0..STAGES.len()).map(|index| self.stage(index, now)).collect();
        Frame {
            at: now.min(options.length),
            length: options.length,
            objective: OBJECTIVE,
            scene: self.load.scene(now).to_owned(),
            load: self.load.rate(now),
            delay: self.ledger.tally(STAGES.len() - 1).oldest.unwrap_or_default(),
            stages,
            news: self.lookout.news(),
            hints: self.hints.clone(),
        }
    }

    fn stage(&mut self, index: usize, now: Duration) -> view::Stage {
        let name = STAGES[index].name;
        let tally = self.ledger.tally(index);
        let past = &mut self.past[index];
        past.step(now, tally.arrived, tally.done);
        let fleet = self.lookout.fleet(name);
        let spot = self.lookout.fleet(&scenery::lane_name(name, scenery::SPOT));
        let mut said = self.lookout.stage(name).unwrap_or_default();
        view::Stage {
            name: name.to_owned(),
            lag: tally.arrived - tally.done,
            delay: tally.oldest.unwrap_or_default(),
            arriving: past.arriving,
            doing: past.doing,
            desired: fleet.desired + spot.desired,
            ready: fleet.ready + spot.ready,
            rate: said.rate_per_replica,
            reason: said.reasons.pop().map(|reason| reason.sentence).unwrap_or_default(),
        }
    }

    /// Says what the run was worth.
    fn sum_up<W: Write>(&self, options: &Options, screen: &mut Screen<W>) -> Result<Score, Error> {
        let length = self.ledger.now();
        let items = self.ledger.items();
        let replicas = self.lookout.totals();
        let peak = STAGES.iter().map(|stage| (self.load.peak() / stage.rate).ceil()).sum::<f64>();
        let run = Run {
            length,
            objective: OBJECTIVE,
            items: &items,
            replicas: &replicas,
            peak_replicas: whole(peak),
        };
        let score = score(&run);
        let again = (0..STAGES.len()).map(|index| self.ledger.tally(index).again).sum();
        screen.say(&summary::summary(&run, &score, again, options.seed))?;
        Ok(score)
    }

    /// Stops all, sources first.
    async fn end(mut self) {
        self.producer.stop().await;
        self.stop.cancel();
        while self.daemon.join_next().await.is_some() {}
        for consumers in self.consumers {
            consumers.stop().await;
        }
    }
}

impl Past {
    /// Works the rates out anew, once a second.
    fn step(&mut self, now: Duration, arrived: u64, done: u64) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        if passed >= 1.0 {
            let rate = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / passed;
            let (arriving, doing) = (rate(arrived - self.arrived), rate(done - self.done));
            *self = Self { at: now, arrived, done, arriving, doing };
        }
    }
}

/// One set of consumers for each stage.
fn hire(cluster: &Cluster, kafka: &Kafka, ledger: &Arc<Ledger>) -> Result<Vec<Consumers>, Error> {
    let hired = STAGES.iter().enumerate().map(|(index, stage)| {
        Consumers::start(
            cluster.client(),
            stage.pods(),
            kafka.clone(),
            stage.work(index),
            Arc::clone(ledger),
        )
    });
    Ok(hired.collect::<Result<_, _>>()?)
}

/// Serves the cluster's API and writes a kubeconfig for it; returns the kubeconfig and what to try with it.
async fn open(cluster: &Cluster, options: &Options) -> Result<(String, String), Error> {
    let listener = listen().await?;
    let kubeconfig = cluster.kubeconfig(listener.local_addr().map_err(served)?);
    cluster.serve(listener);
    let path = options.folder.join("kubeconfig");
    tokio::fs::write(&path, &kubeconfig)
        .await
        .map_err(|source| Error::Kubeconfig { path: path.clone(), source })?;
    Ok((
        kubeconfig,
        format!("Try: KUBECONFIG={} kubectl get spl,deploy,pods -n {NAMESPACE} -w", path.display()),
    ))
}

/// A free port of this host.
async fn listen() -> Result<TcpListener, Error> {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.map_err(served)
}

fn served(source: io::Error) -> Error {
    Error::Api { what: "served", source: source.into() }
}

/// The daemon's own clients: over TCP, as in a real cluster.
async fn clients(kubeconfig: &str) -> Result<Clients, Error> {
    fn reached(source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Api { what: "reached", source: source.into() }
    }
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).map_err(reached)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(reached)?;
    Clients::of(config).map_err(reached)
}

/// As `penstock run` would have it; probes have nobody who asks.
fn daemon_options(page: TcpListener, record: Option<Destination>) -> daemon::Options {
    daemon::Options {
        watch: watch::Options::default(),
        seat: Seat {
            namespace: "default".to_owned(),
            name: "penstock".to_owned(),
            identity: identity("demo"),
        },
        placeholders: Placeholders::default(),
        record,
        probes: None,
        page: Some(page.into()),
        scaler: None,
        lineage: None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small count, never negative"
)]
fn whole(count: f64) -> u32 {
    count as u32
}
