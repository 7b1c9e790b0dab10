//! The benchmark of the whole loop on real servers: how soon the right count is asked for, and what watching 500 pipelines costs.
//! Run by `make bench`, and by `make bench PEER=keda` beside KEDA in the same harness. Prints tables; exits 1 when a target of
//! Penstock's is missed, and says by how much. For a look at a peer without Penstock:
//! `cargo bench --bench loop -- --only keda --runs 1`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../ending.rs"]
mod ending;
#[path = "../../tests/live/rig/mod.rs"]
mod rig;

mod contender;
mod figures;
mod ground;
mod keda;
mod traffic;

use anyhow::{Context, Result, bail};
use tokio_util::sync::CancellationToken;

use contender::Contender;
use figures::{Board, Missed};
use ground::{Ground, QUIET, Sizing};

/// Runs of each kind, unless `-- --runs N` says another number.
const RUNS: usize = 20;
/// Runs of a peer: each takes about a minute, and they differ little.
const PEER_RUNS: usize = 4;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    ending::of(Box::pin(bench()).await.map(|missed| missed.0))
}

/// The word after a flag.
fn option(flag: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != flag).nth(1)
}

async fn bench() -> Result<Missed> {
    let runs = option("--runs").map_or(Ok(RUNS), |number| number.parse());
    // Without runs only the costs are measured.
    let runs: usize = runs.context("--runs takes a number")?;
    let only = option("--only");
    let mut board = Board::default();
    if only.is_none() {
        penstock(&mut board, runs).await?;
    }
    match only.or_else(|| option("--peer")).as_deref() {
        None => {}
        Some("keda") => {
            keda(&mut board, None, PEER_RUNS.min(runs)).await?;
            keda(&mut board, Some(1), PEER_RUNS.min(runs)).await?;
        }
        Some(other) => bail!("there is no peer {other}; hint: --peer keda"),
    }
    board.compare();
    Ok(board.missed)
}

/// Penstock, with nothing beside it and in company.
async fn penstock(board: &mut Board, runs: usize) -> Result<()> {
    let ground = Ground::start().await?;
    let penstock = Contender::penstock(&ground).await?;
    let kinds = [(Sizing::Threshold, 1), (Sizing::Threshold, 0), (Sizing::KnownRate, 1)];
    for (sizing, from) in kinds {
        board.reaction("alone", ground.reactions("alone", &penstock, sizing, from, runs).await?);
    }
    ground.crowd(&penstock).await?;
    let cost = ground.cost("nothing moves", &penstock).await?;
    board.cost(cost, Some(0.0));
    for (sizing, from) in kinds {
        let company = "499 others idle";
        board.reaction(company, ground.reactions("idle", &penstock, sizing, from, runs).await?);
    }
    let stop = CancellationToken::new();
    let measured = async {
        // The first rates are learned, and told, before anything is counted.
        tokio::time::sleep(QUIET).await;
        let cost = ground.cost("every lag moves", &penstock).await?;
        board.cost(cost, Some(0.2));
        for (sizing, from) in kinds {
            let company = "499 others moving";
            board.reaction(
                company,
                ground.reactions("moving", &penstock, sizing, from, runs).await?,
            );
        }
        stop.cancel();
        anyhow::Ok(())
    };
    let ((), between_commits) = tokio::try_join!(measured, traffic::run(&ground.broker, &stop))?;
    board.traffic(between_commits);
    Ok(())
}

/// KEDA and the HPA, as they come or polling every second.
async fn keda(board: &mut Board, polling: Option<u32>, runs: usize) -> Result<()> {
    let ground = Ground::start().await?;
    let keda = Contender::keda(&ground, polling).await?;
    for from in [1, 0] {
        let reactions = ground.reactions("alone", &keda, Sizing::Threshold, from, runs).await?;
        board.reaction("alone", reactions);
    }
    ground.crowd(&keda).await?;
    board.cost(ground.cost("nothing moves", &keda).await?, None);
    Ok(())
}
