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
         and take {} pods; a pod on one is Ready after {} s and has {} s to end",
        terms::BOOT.as_secs(),
        terms::FIT,
        terms::START.as_secs(),
        terms::GRACE,
    );
    println!(
        "interruptions: stages of {} replicas, 2 of them on demand, `drain: Hold`, a real consumer on each pod; {} partitions, {} items/s of {} that they can do, promised \
         within {} s; what is left on a node is killed when its notice is over",
        notices::NEED,
        notices::PARTITIONS,
        notices::LOAD,
        12.0 * notices::RATE,
        notices::MAX_DELAY.as_secs(),
    );
    let ground = Box::pin(Ground::open("capacity")).await?;
    let trials = notices::TRIALS.iter().map(|trial| Box::pin(trial.play(&ground)));
    // Interruptions are mostly waited for: the others go on meanwhile.
    let mut others = Book::default();
    let (played, told) = tokio::join!(try_join_all(trials), meanwhile(&ground, &mut others));
    for played in played? {
        tell(played.told(book));
    }
    tell(told?);
    book.append(others);
    // The last one: it kills the daemon.
    tell(crash::crash(&ground, book).await?);
    Ok(())
}

async fn meanwhile(ground: &Ground, book: &mut Book) -> Result<Vec<String>> {
    let mut told = fallback::fallback(ground, book).await?;
    told.extend(split::split(ground, book).await?);
    told.extend(packing::packing(ground, book).await?);
    Ok(told)
}

fn tell(lines: Vec<String>) {
    for line in lines {
        println!("  {line}");
    }
}
