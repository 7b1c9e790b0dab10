//! The same goals on real servers: scheduler, controllers, Kafka and its consumers; only nodes and what runs on them are played. Each act tells what
//! it saw and notes it beside its target. Called by `main`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod cloud;
mod crash;
mod fallback;
mod ground;
mod maker;
mod notices;
mod packing;
mod split;
mod terms;

use anyhow::Result;
use futures::future::try_join_all;

use crate::book::Book;

use ground::Ground;

/// All acts.
pub(crate) async fn live(book: &mut Book) -> Result<()> {
    println!(
        "\nlive: kube-apiserver, scheduler and controllers of Kubernetes 1.36, Kafka 4.1, the daemon as a process; nodes are KWOK's, come {} s after pods find none, \
         and take {} pods; a pod on one is Ready after {} s; it is given {} s to end and KWOK takes it away at once, so that only whether it was told in time is judged, not \
         whether its consumer is as quick. The daemon is a {} build",
        terms::BOOT.as_secs(),
        terms::FIT,
        terms::START.as_secs(),
        terms::GRACE,
        // Cargo makes both by one profile.
        if cfg!(debug_assertions) { "debug" } else { "release" },
    );
    println!(
        "interruptions: stages of {} replicas, 2 of them on demand, `drain: Hold`, a real consumer on each pod; {} partitions, {} items/s of {} that they can do, promised \
         within {} s at N+1 and {} s without headroom; N+1 is room for another spot node's pods; besides that others' pods take every free place of both pools; what is \
         left on a node is killed when its notice is over",
        notices::NEED,
        notices::PARTITIONS,
        notices::LOAD,
        12.0 * notices::RATE,
        notices::MAX_DELAYS[0].as_secs(),
        notices::MAX_DELAYS[1].as_secs(),
    );
    let ground = Box::pin(Ground::open("capacity")).await?;
    let trials = notices::TRIALS.iter().map(|trial| Box::pin(trial.play(&ground)));
    // Interruptions are mostly waited for: the others go on meanwhile.
    let mut others = Book::default();
    let (played, others_told) = tokio::join!(try_join_all(trials), meanwhile(&ground, &mut others));
    let split::Played { told, start } = others_told?;
    for played in played? {
        played.note(start, book);
        tell(played.told());
    }
    tell(told);
    book.append(others);
    // The last one: it kills the daemon.
    tell(crash::crash(&ground, book).await?);
    Ok(())
}

async fn meanwhile(ground: &Ground, book: &mut Book) -> Result<split::Played> {
    let mut told = fallback::fallback(ground, book).await?;
    let split = split::split(ground, book).await?;
    told.extend(split.told);
    told.extend(packing::packing(ground, book).await?);
    Ok(split::Played { told, ..split })
}

fn tell(lines: Vec<String>) {
    for line in lines {
        println!("  {line}");
    }
}
