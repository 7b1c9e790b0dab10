//! Servers that Debian packages, each alone on loopback: Prometheus and Redis. Started by the tests of the sources that read them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::certs::write;
use super::process::{Process, Program};
use super::{folder, http, ports, tool};

const START: Duration = Duration::from_secs(90);

/// Where the libraries of the unpacked packages lie.
pub(super) fn libraries() -> Result<String> {
    let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
    Ok(tool("debian/usr/lib")?.join(machine).display().to_string())
}

/// A server of the unpacked packages, with their libraries.
fn program(path: &str) -> Result<Program> {
    Ok(Program::new(tool(&format!("debian/usr/bin/{path}"))?).env("LD_LIBRARY_PATH", libraries()?))
}

/// A Prometheus that scrapes one exporter each second.
pub(crate) struct Prometheus {
    port: u16,
    process: Process,
}

/// What promtool, the checker of rules that comes with Prometheus, says; an error when it finds fault.
pub(crate) async fn promtool(arguments: &[&str]) -> Result<String> {
    program("promtool")?.args(arguments.iter().copied()).run().await
}

impl Prometheus {
    /// Starts it, and waits until it is ready.
    pub(crate) async fn start(exporter: u16) -> Result<Self> {
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n\
             - {{job_name: queues, static_configs: [{{targets: [\"127.0.0.1:{exporter}\"]}}]}}\n"
        );
        Self::with_config(&config).await
    }

    /// Starts it with a configuration of its own, and waits until it is ready.
    pub(crate) async fn with_config(config: &str) -> Result<Self> {
        let prometheus = Self::run(config, None)?;
        prometheus.ready().await?;
        Ok(prometheus)
    }

    /// Starts one that knows nothing but itself behind a door of its own (`--web.config.file`), and waits until it listens.
    pub(crate) async fn guarded(door: &str) -> Result<Self> {
        let prometheus = Self::run("global: {}\n", Some(door))?;
        let listens = async || {
            let log = prometheus.process.log()?;
            anyhow::ensure!(log.contains("Server is ready to receive web requests"), "{log}");
            Ok(())
        };
        prometheus.process.ready(START, listens).await?;
        Ok(prometheus)
    }

    fn run(config: &str, door: Option<&str>) -> Result<Self> {
        let folder = folder::fresh("prometheus")?;
        let port = ports::free()?;
        let file: PathBuf = folder.join("prometheus.yml");
        fs::write(&file, config).context("write prometheus.yml")?;
        let mut program = program("prometheus")?.args([
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ]);
        if let Some(door) = door {
            let file = write(&folder, "door.yml", door)?;
            program = program.arg(format!("--web.config.file={}", file.display()));
        }
        Ok(Self { port, process: Process::start("prometheus", program, &folder)? })
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) -> Result<()> {
        let ready = async || {
            let (code, body) = http::get(self.port, "/-/ready").await?;
            anyhow::ensure!(code == 200, "/-/ready answers {code}: {body}");
            Ok(())
        };
        self.process.ready(START, ready).await
    }

    /// Waits until it has scraped a series of this name.
    pub(crate) async fn scraped(&self, series: &str) -> Result<()> {
        let scraped = async || {
            let (_, body) = http::get(self.port, &format!("/api/v1/query?query={series}")).await?;
            anyhow::ensure!(body.contains("\"value\""), "{series}: {body}");
            Ok(())
        };
        self.process.ready(START, scraped).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}

/// A Redis, a sentinel or a node of a cluster, as the arguments say.
pub(crate) struct Redis {
    pub(crate) port: u16,
    /// What the rig itself logs in with.
    password: Option<&'static str>,
    process: Process,
}

impl Redis {
    /// Starts a server, and waits until it answers.
    pub(crate) async fn start(arguments: &[&str]) -> Result<Self> {
        Self::run(arguments, None, None).await
    }

    /// Starts a sentinel that watches a master called `orders` and asks its clients for the password `watchword`.
    pub(crate) async fn sentinel(master: u16) -> Result<Self> {
        let config = format!(
            "sentinel monitor orders 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds orders 1000\n\
             sentinel failover-timeout orders 3000\n\
             requirepass watchword\n"
        );
        Self::run(&["--sentinel"], Some(&config), Some("watchword")).await
    }

    async fn run(
        arguments: &[&str],
        config: Option<&str>,
        password: Option<&'static str>,
    ) -> Result<Self> {
        let folder = folder::fresh("redis")?;
        let port = ports::free()?;
        let mut program = program("redis-server")?.in_folder(&folder);
        if let Some(config) = config {
            let file = folder.join("sentinel.conf");
            fs::write(&file, config).context("write sentinel.conf")?;
            program = program.arg(file.display().to_string());
        }
        program = program.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        if config.is_none() {
            program = program.args(["--save", "", "--appendonly", "no"]);
        }
        let program = program.args(arguments.iter().copied());
        let redis = Self { port, password, process: Process::start("redis", program, &folder)? };
        let ready = async || {
            let mut connection = redis.connection().await?;
            redis::cmd("PING").query_async::<String>(&mut connection).await.context("PING")?;
            Ok(())
        };
        redis.process.ready(START, ready).await?;
        Ok(redis)
    }

    async fn connection(&self) -> Result<redis::aio::MultiplexedConnection> {
        let login = self.password.map(|it| format!(":{it}@")).unwrap_or_default();
        let client = redis::Client::open(format!("redis://{login}{}", self.address()))?;
        client.get_multiplexed_async_connection().await.context("connect to redis")
    }

    /// Gives it a command.
    pub(crate) async fn tell(&self, words: &str) -> Result<redis::Value> {
        let mut words = words.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap_or_default());
        cmd.arg(words.collect::<Vec<_>>());
        cmd.query_async(&mut self.connection().await?).await.context("ask redis")
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}
