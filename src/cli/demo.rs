//! `penstock demo`: the whole thing on a laptop, with nothing else installed.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use super::Failure;
use super::run::goodbye;
use crate::crd::duration;
use crate::daemon::Destination;
use crate::demo::view::Screen;
use crate::demo::{self, Options};

/// The arguments of `penstock demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// How long to run, at least 1m: the load's rise, spike and stop are stretched to it
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = length)]
    duration: Duration,
    /// Another seed, other numbers
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Run on nodes that are kept and on spot, and let spot be taken away at the peak
    #[arg(long)]
    interrupt: bool,
    /// Record every turn of the daemon into this folder, for `penstock replay`
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Print lines instead of a picture; so is done where standard output is no terminal
    #[arg(long)]
    plain: bool,
    /// What to log, to the file `log` beside the kubeconfig: a level, or target=level pairs separated by commas
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

/// Bytes that the recording of a demo may fill.
const RECORD_LIMIT: u64 = 256 << 20;
/// How long the end may take after all was stopped.
const LAST: Duration = Duration::from_secs(5);

impl Demo {
    pub(super) fn run(self) -> Result<(), Failure> {
        let folder = Folder::make()?;
        self.start_log(&folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let end = runtime.block_on(self.play(&folder));
        runtime.shutdown_timeout(LAST);
        Ok(end?)
    }

    fn start_log(&self, folder: &Folder) -> Result<(), Failure> {
        let filter = EnvFilter::try_new(&self.log).map_err(|error| {
            Failure::Misuse(format!(
                "--log {}: {error}; hint: info, or penstock=debug,warn",
                self.log
            ))
        })?;
        let path = folder.0.join("log");
        let file = std::fs::File::create(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(file).init();
        Ok(())
    }

    async fn play(&self, folder: &Folder) -> anyhow::Result<()> {
        let goodbye = goodbye()?;
        let out = io::stdout();
        let mut screen = if self.plain || !out.is_terminal() {
            Screen::plain(out)
        } else {
            Screen::painted(out)?
        };
        let record = self.record.clone().map(|folder| Destination { folder, limit: RECORD_LIMIT });
        let folder = folder.0.clone();
        let (length, seed, interrupt) = (self.duration, self.seed, self.interrupt);
        let options = Options { length, seed, folder, interrupt, record };
        demo::run(&options, &mut screen, &goodbye).await?;
        Ok(())
    }
}

/// A folder of this run's own; removed with it.
struct Folder(PathBuf);

impl Folder {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("penstock-demo-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| {
            format!("cannot make the folder {}; hint: remove what has that name", path.display())
        })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is in the system's folder for such things.
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

fn length(text: &str) -> Result<Duration, String> {
    let length = duration::Duration(text.to_owned()).read().ok_or("hint: 3m, 90s or 1h30m")?;
    if length < Duration::from_mins(1) {
        Err("at least 1m; hint: shorter, nothing can be seen".to_owned())
    } else {
        Ok(length)
    }
}
