//! The daemon under test: the built binary, `penstock run`, as a child process. Called by tests and the benchmark.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::{Process, Program};
use super::{folder, http, ports};

/// A running daemon. Dropped, it is killed; see [`Self::stop`] for a polite end.
#[derive(Debug)]
pub(crate) struct Penstock {
    port: u16,
    page: u16,
    process: Process,
}

impl Penstock {
    /// Starts it, and waits until it is ready: every store listed, so it decides.
    pub(crate) async fn run(kubeconfig: &Path, arguments: &[&str]) -> Result<Self> {
        Self::run_in(&[], kubeconfig, arguments).await
    }

    /// The same with more in its environment.
    pub(crate) async fn run_in(
        environment: &[(&str, &str)],
        kubeconfig: &Path,
        arguments: &[&str],
    ) -> Result<Self> {
        Self::at(ports::free()?, environment, kubeconfig, arguments)?.once_ready().await
    }

    /// The same with its page on a port that somebody knows already.
    pub(crate) async fn run_with_page(
        kubeconfig: &Path,
        page: u16,
        arguments: &[&str],
    ) -> Result<Self> {
        Self::at(page, &[], kubeconfig, arguments)?.once_ready().await
    }

    async fn once_ready(self) -> Result<Self> {
        self.ready().await?;
        Ok(self)
    }

    /// Starts it and waits for nothing, for tests of a start that must fail or must wait.
    pub(crate) fn start(kubeconfig: &Path, arguments: &[&str]) -> Result<Self> {
        Self::at(ports::free()?, &[], kubeconfig, arguments)
    }

    fn at(
        page: u16,
        environment: &[(&str, &str)],
        kubeconfig: &Path,
        arguments: &[&str],
    ) -> Result<Self> {
        let port = ports::free()?;
        let places = [
            ("--listen", format!("127.0.0.1:{port}")),
            ("--page-listen", format!("127.0.0.1:{page}")),
            ("--grpc-listen", "none".to_owned()),
        ];
        let is_said = |flag: &str| arguments.iter().any(|it| it.split('=').next() == Some(flag));
        let places = places.into_iter().filter(|(flag, _)| !is_said(flag));
        let program = Program::new(env!("CARGO_BIN_EXE_penstock"))
            .args(["run", "--kubeconfig", &kubeconfig.display().to_string()])
            .args(places.flat_map(|(flag, place)| [flag.to_owned(), place]))
            .args(arguments.iter().copied());
        let program =
            environment.iter().fold(program, |program, (name, value)| program.env(name, *value));
        Ok(Self {
            port,
            page,
            process: Process::start("penstock", program, &folder::fresh("penstock")?)?,
        })
    }

    /// Waits until `/readyz` says 200.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.process
            .ready(Duration::from_mins(1), async || {
                let (code, body) = http::get(self.port, "/readyz").await?;
                anyhow::ensure!(code == 200, "/readyz answers {code}: {body}");
                Ok(())
            })
            .await
    }

    /// The port of `--listen`.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The process: to kill it, freeze it, start it again, read its log.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// What it serves at a path of `--listen`: `/metrics`, `/healthz`, `/readyz`.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String)> {
        http::get(self.port, path).await
    }

    /// The JSON at a path of `--page-listen`, such as `/api/v1/pipelines`.
    pub(crate) async fn page(&self, path: &str) -> Result<serde_json::Value> {
        let (code, body) = http::get(self.page, path).await?;
        anyhow::ensure!(code == 200, "{path} answers {code}: {body}");
        serde_json::from_str(&body)
            .with_context(|| format!("{path} answers something that is no JSON: {body}"))
    }

    /// Where its page is: host and port.
    pub(crate) fn page_address(&self) -> String {
        format!("127.0.0.1:{}", self.page)
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn stop(&self) -> Result<ExitStatus> {
        self.process.stop().await
    }
}
