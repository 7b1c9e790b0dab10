//! The benchmark of the page: a thousand pipelines that move, the release daemon, a real Chromium. How soon there is something to see, how
//! soon the lines, what that takes to send, and whether the page stutters while it follows. Run by `make bench-page`; prints a table, and exits
//! 1 when a target is missed.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../ending.rs"]
mod ending;
#[path = "../../tests/live/rig/mod.rs"]
mod rig;

mod crowd;

use std::time::Duration;

use anyhow::{Context, Result};

use crowd::{Crowd, PIPELINES};
use rig::{Browser, Task};

/// Times that the page is opened, with nothing of it kept.
const OPENED: usize = 15;
/// For how long it is left open while everything moves.
const FOLLOWED: Duration = Duration::from_secs(30);
/// Something is to be seen within this, at the median.
const PAINT: f64 = 200.0;
/// What keeps the page longer at one go is felt. Held against time on a processor: what a busy machine adds is not the page's.
const TASK: Duration = Duration::from_millis(50);

/// When something was first to be seen.
const PAINTED: &str = "performance.getEntriesByName('first-contentful-paint')[0]";

/// What one opening took, in milliseconds from the moment that the address was asked for.
#[derive(Debug, Clone, Copy)]
struct Opening {
    paint: f64,
    lines: f64,
    /// Bytes on the wire of the page's own files.
    files: f64,
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    ending::of(Box::pin(bench()).await)
}

async fn bench() -> Result<Vec<String>> {
    let crowd = Crowd::raise().await?;
    let known = crowd.known_after.as_secs_f64();
    println!("{PIPELINES} pipelines, all known {known:.1} s after the daemon's start");
    let address = format!("http://{}/", crowd.daemon.page_address());
    let mut browser = Browser::start().await?;
    browser.look(1280, 900, false).await?;

    // The machine's own share: as long as it takes Chromium to show one line of text from the same daemon.
    let mut floor = Vec::new();
    for _ in 0..OPENED {
        floor.push(bare(&mut browser, &address).await?);
    }
    let mut openings = Vec::new();
    for _ in 0..OPENED {
        openings.push(open(&mut browser, &address).await?);
    }
    let paint = Spread::of(openings.iter().map(|opening| opening.paint));
    let lines = Spread::of(openings.iter().map(|opening| opening.lines));
    let files = openings.first().context("no opening")?.files / 1024.0;
    let all = crowd.daemon.page("/api/v1/overview").await?.to_string().len();
    println!("opened {OPENED} times      median     worst");
    let floor = Spread::of(floor.into_iter());
    println!("a bare line of text{:6.0} ms {:6.0} ms", floor.median, floor.worst);
    println!("first paint        {:6.0} ms {:6.0} ms", paint.median, paint.worst);
    println!("lines to be seen   {:6.0} ms {:6.0} ms", lines.median, lines.worst);
    println!("sent: {files:.0} KiB of files, {:.0} KiB of lines", kib(all));

    browser.trace().await?;
    open(&mut browser, &address).await?;
    let opening = browser.traced().await?;
    let Task { took, cpu } = opening.longest();
    println!(
        "longest task of opening: {:.0} ms, on a processor {:.0} ms",
        millis(took),
        millis(cpu)
    );

    let (before, heard) = (crowd.usage()?, browser.received);
    browser.trace().await?;
    tokio::time::sleep(FOLLOWED).await;
    let followed = browser.traced().await?;
    let used = crowd.usage()?.cpu.saturating_sub(before.cpu);
    let cores = used.as_secs_f64() / FOLLOWED.as_secs_f64();
    let moved = (browser.received - heard) / FOLLOWED.as_secs();
    let (longest, total) = (followed.longest(), followed.total());
    println!(
        "followed for {} s: the longest of {} tasks {:.0} ms, on a processor {:.0} ms; the page is at work {:.1} % of the time",
        FOLLOWED.as_secs(),
        followed.count(),
        millis(longest.took),
        millis(longest.cpu),
        100.0 * total.cpu.as_secs_f64() / FOLLOWED.as_secs_f64()
    );
    let told = kib(usize::try_from(moved)?);
    println!("told {told:.0} KiB a second; the daemon takes {cores:.3} cores");
    let rounds = crowd.end()?;
    println!("every pipeline moved {rounds} times");

    let mut missed = Vec::new();
    if PAINT <= paint.median {
        missed.push(format!("first paint: {:.0} ms, target {PAINT:.0} ms", paint.median));
    }
    if TASK < longest.cpu {
        let (longest, most) = (millis(longest.cpu), TASK.as_millis());
        missed.push(format!("a task of {longest:.0} ms while following, target {most} ms"));
    }
    Ok(missed)
}

/// The first paint of a bare text, in milliseconds.
async fn bare(browser: &mut Browser, address: &str) -> Result<f64> {
    browser.go("about:blank").await?;
    browser.go(&format!("{address}api/v1/capacity")).await?;
    browser.until(&format!("{PAINTED} !== undefined")).await?;
    browser.value(&format!("{PAINTED}.startTime")).await?.as_f64().context("no time of paint")
}

/// Opens the page as somebody who was never there, until its lines are on the screen.
async fn open(browser: &mut Browser, address: &str) -> Result<Opening> {
    browser.go("about:blank").await?;
    browser.forget().await?;
    browser.go(address).await?;
    browser.until("performance.getEntriesByName('lines').length === 1").await?;
    let at = "name => performance.getEntriesByName(name)[0]?.startTime ?? null";
    let files = "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]";
    let said = browser
        .value(&format!(
            "(at => ({{paint: at('first-contentful-paint'), lines: at('lines'), files: {files}.map(it => it.transferSize).reduce((a, b) => a + b)}}))({at})"
        ))
        .await?;
    let figure = |name: &str| said[name].as_f64().with_context(|| format!("no {name} in {said}"));
    Ok(Opening { paint: figure("paint")?, lines: figure("lines")?, files: figure("files")? })
}

/// Of many, the one in the middle and the largest.
struct Spread {
    median: f64,
    worst: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self { median: at(values.len() / 2), worst: at(values.len().saturating_sub(1)) }
    }
}

fn millis(time: Duration) -> f64 {
    1_000.0 * time.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn kib(bytes: usize) -> f64 {
    bytes as f64 / 1024.0
}
