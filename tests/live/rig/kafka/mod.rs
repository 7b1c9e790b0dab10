//! A real Kafka broker (`KRaft`, its own controller), plain or with every secured listener at once. Called by tests; it can be
//! stopped, killed, frozen and started again on the same ports and data.

mod listeners;
mod topics;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::rig::certs::{Authority, Pair, write};
use crate::rig::process::{Process, Program};
use crate::rig::{folder, ports, tool};

/// The releases that are tested: the newest and the oldest of those we promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kafka {
    V4_1,
    V3_9,
}

/// What to start beside the defaults.
#[derive(Debug, Clone, Default)]
pub(crate) struct BrokerOptions {
    /// All listeners of [`Listener`]; else only the plain one.
    pub(crate) secured: bool,
    /// Each request is written to the log, see [`Broker::requests`].
    pub(crate) request_log: bool,
    /// More lines of `server.properties`, such as `("log.retention.ms", "1000")`; they win over the rig's own.
    pub(crate) properties: Vec<(String, String)>,
    /// Features that are not on by themselves, such as `share.version=1`.
    pub(crate) features: Vec<String>,
}

use listeners::{LISTENERS, properties};
pub(crate) use listeners::{Listener, USER};
use topics::blocking;

/// A running broker. Dropped, it is gone with all its data.
#[derive(Debug)]
pub(crate) struct Broker {
    folder: PathBuf,
    home: PathBuf,
    ports: Vec<(Listener, u16)>,
    authority: Authority,
    client: Pair,
    process: Process,
}

const START: Duration = Duration::from_secs(90);

impl Broker {
    /// Starts it, and waits until it tells clients of itself.
    pub(crate) async fn start(version: Kafka, options: BrokerOptions) -> Result<Self> {
        let folder = folder::fresh("kafka")?;
        let home = tool(match version {
            Kafka::V4_1 => "kafka-4.1",
            Kafka::V3_9 => "kafka-3.9",
        })?;
        anyhow::ensure!(
            home.join("java.args").exists(),
            "{} is not complete; hint: `make tools`",
            home.display()
        );
        let count = if options.secured { LISTENERS.len() } else { 1 };
        let ports = LISTENERS[..count]
            .iter()
            .map(|(listener, ..)| Ok((*listener, ports::free()?)))
            .collect::<Result<Vec<_>>>()?;
        let authority = Authority::new("penstock-kafka")?;
        let client = authority.client("penstock", None)?;
        let lines = properties(&folder, &authority, &ports, &options)?;
        let file = write(&folder, "server.properties", &lines)?.display().to_string();

        // The class path is relative to this folder.
        let java = Program::new("java").in_folder(&home).arg("@java.args");
        let format = java.clone().args([
            "kafka.tools.StorageTool",
            "format",
            "-t",
            "MkU3OEVBNTcwNTJENDM2Qg",
            "-c",
            &file,
        ]);
        let scram = ["SCRAM-SHA-256", "SCRAM-SHA-512"].map(|mechanism| {
            ["--add-scram".to_owned(), format!("{mechanism}=[name={},password={}]", USER.0, USER.1)]
        });
        let features = options.features.iter().map(|it| ["--feature".to_owned(), it.clone()]);
        format
            .args(scram.into_iter().flatten())
            .args(features.flatten())
            .run()
            .await
            .context("format the broker's folder")?;
        let java = if options.request_log {
            java.arg("-Dorg.slf4j.simpleLogger.log.kafka.request.logger=debug")
        } else {
            java
        };
        let process = Process::start("kafka", java.args(["kafka.Kafka", &file]), &folder)?;
        let broker = Self { folder, home, ports, authority, client, process };
        broker.ready().await?;
        Ok(broker)
    }

    /// Waits until it answers a metadata call. To be called after it was started again.
    pub(crate) async fn ready(&self) -> Result<()> {
        let port = self.port(Listener::Plain)?;
        let config = self.client();
        self.process
            .ready(START, async || {
                // Else librdkafka waits longer and longer between its attempts.
                drop(
                    tokio::net::TcpStream::connect(("127.0.0.1", port))
                        .await
                        .context("connect to the broker")?,
                );
                let consumer: BaseConsumer = config.create()?;
                let found = blocking(move || {
                    Ok(consumer.fetch_metadata(None, Duration::from_secs(5))?.brokers().len())
                })
                .await?;
                anyhow::ensure!(found == 1, "the metadata name {found} brokers");
                Ok(())
            })
            .await
    }

    /// The process, to hurt it; after `start_again` wait for [`Self::ready`].
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Where the plain listener is, as `bootstrapServers` wants it.
    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0].1)
    }

    /// Where a listener is; an error if the broker was started without it.
    pub(crate) fn address(&self, listener: Listener) -> Result<String> {
        Ok(format!("127.0.0.1:{}", self.port(listener)?))
    }

    pub(crate) fn port(&self, listener: Listener) -> Result<u16> {
        let found = self.ports.iter().find(|(of, _)| *of == listener);
        found
            .map(|(_, port)| *port)
            .with_context(|| format!("no listener {listener:?}; hint: start the broker `secured`"))
    }

    /// The certificate (PEM) of the authority that the secured listeners want to be trusted.
    pub(crate) fn authority(&self) -> String {
        self.authority.certificate()
    }

    /// A certificate that [`Listener::MutualTls`] accepts.
    pub(crate) fn client_pair(&self) -> &Pair {
        &self.client
    }

    /// A certificate that [`Listener::MutualTls`] accepts, of a client with this name.
    pub(crate) fn client_named(&self, name: &str) -> Result<Pair> {
        self.authority.client(name, None)
    }

    /// Restarts it with a certificate of another authority; clients of either are let in.
    pub(crate) async fn recertify(&mut self, new: Authority) -> Result<()> {
        let server = new.server("kafka")?;
        write(&self.folder, "server.pem", &(server.key + &server.certificate))?;
        let both = self.authority.certificate() + &new.certificate();
        write(&self.folder, "authority.pem", &both)?;
        self.authority = new;
        self.process.stop().await?;
        self.process.start_again()?;
        self.ready().await
    }

    /// A member of a share group, which librdkafka has none of: Kafka's own console consumer. Gone when dropped.
    pub(crate) fn share(&self, topic: &str, group: &str) -> Result<Process> {
        let program = Program::new("java").in_folder(&self.home).arg("@java.args").args([
            "org.apache.kafka.tools.consumer.ConsoleShareConsumer",
            "--bootstrap-server",
            &self.bootstrap(),
            "--topic",
            topic,
            "--group",
            group,
        ]);
        Process::start("share", program, &folder::fresh("share")?)
    }

    /// Has it answered somebody of this name, such as `User:CN=penstock`? Never, unless started with `request_log`.
    pub(crate) fn has_served(&self, principal: &str) -> Result<bool> {
        let principal = format!("\"principal\":\"{principal}\"");
        Ok(self.process.log()?.contains(&principal))
    }

    /// How many connections a process has open to this broker, over all listeners.
    pub(crate) fn connections_of(&self, pid: u32) -> Result<usize> {
        self.ports.iter().map(|(_, port)| super::connections_to(*port, pid)).sum()
    }

    /// How many requests a client (by its `client.id`) has sent so far. Zero unless started with `request_log`.
    pub(crate) fn requests(&self, client: &str) -> Result<usize> {
        let client = format!("\"clientId\":\"{client}\"");
        Ok(self
            .process
            .log()?
            .lines()
            .filter(|line| line.contains("Completed request") && line.contains(&client))
            .count())
    }
}
