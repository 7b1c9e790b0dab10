//! Where the servers keep their files: one folder for each run of the tests, gone when the run is over.
//! Called by the servers of this rig. After a failure the folder stays until the next run, for its logs.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// The folder of this run, and the shell that removes it: statics are never dropped, and a killed process drops nothing.
struct Run {
    folder: PathBuf,
    _sweeper: Child,
}

/// A fresh folder below this run's, named after what it is for.
pub(crate) fn fresh(name: &str) -> Result<PathBuf> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let folder = run()?.folder.join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}

/// Lets the logs of this run outlive it, until the next run.
#[expect(clippy::print_stderr, reason = "a failed test says where to look on")]
pub(super) fn keep() {
    if let Ok(run) = run() {
        drop(fs::write(run.folder.join("keep"), ""));
        eprintln!("the servers' logs are kept in {}", run.folder.display());
    }
}

fn run() -> Result<&'static Run> {
    static RUN: OnceLock<Result<Run, String>> = OnceLock::new();
    RUN.get_or_init(|| begin().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error}"))
}

fn begin() -> Result<Run> {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rig");
    fs::create_dir_all(&all).with_context(|| format!("create {}", all.display()))?;
    for old in fs::read_dir(&all)?.flatten() {
        let owner = old.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw);
        if owner.is_none_or(|owner| kill(owner, None).is_err()) {
            drop(fs::remove_dir_all(old.path()));
        }
    }
    let folder = all.join(std::process::id().to_string());
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    // Its input ends when this process does, in whatever way; the servers are killed at the same moment, so it waits for them.
    let sweeper = Command::new("sh")
        .args(["-c", r#"cat >/dev/null; [ -e "$0/keep" ] || { sleep 1; rm -rf "$0"; }"#])
        .arg(&folder)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start the shell that removes the servers' files")?;
    Ok(Run { folder, _sweeper: sweeper })
}
