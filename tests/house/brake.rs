//! One brake for the process: after a 429 counts go first, what is merely told of them gives way, and nothing of it is lost.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use penstock::act::Act;
use penstock::decide::{Action, Ending, Reason};
use penstock::demo::cluster::{Fault, Match};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::act::{busy_server, scale};
use crate::turns::{Bench, Turn, done, moved};

/// A turn in which a count was written, or refused.
fn moving(ending: Ending) -> Turn {
    let outcome = moved(1, 24, Reason::Learning { replicas: 24 }, ending);
    Turn { outcomes: vec![outcome], ..Turn::of(|_| {}) }
}

/// Writes a count to a server that has no time for the first few, on the brake of the bench.
async fn write(bench: &Bench, busy: usize) -> Ending {
    let (client, _) = busy_server(busy, Some("7"));
    let (sender, mut outcomes): (_, UnboundedReceiver<_>) = unbounded_channel();
    let act = Act::braked(client, bench.clock, sender, &bench.brake);
    act.start(&[Action::Scale(scale("Deployment", "enrich"))], &bench.licence);
    outcomes.recv().await.unwrap().result
}

async fn events(bench: &Bench) -> Vec<Event> {
    let api = Api::<Event>::namespaced(bench.cluster.client(), "default");
    api.list(&ListParams::default()).await.unwrap().items
}

#[tokio::test(start_paused = true)]
async fn while_counts_rest_nothing_is_told_and_all_of_it_after() {
    let bench = Bench::new().await;
    bench.cluster.faults().clear_log();
    assert!(!matches!(write(&bench, 1).await, Ending::Done { .. }));
    bench.tell(&moving(done())).await;
    bench.wait(Duration::from_millis(6_500)).await;
    let log = bench.cluster.faults().log();
    let written = log.iter().filter(|it| it.verb == "patch" || it.verb == "create").count();
    assert_eq!(written, 0, "{log:?}");
    bench.wait(Duration::from_secs(8)).await;
    assert_eq!(bench.writes().len(), 1);
    assert_eq!(events(&bench).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_told_rests_for_itself_and_holds_up_no_count() {
    let bench = Bench::new().await;
    let statuses = Match::of("patch", "scaledpipelines", "status");
    bench.cluster.faults().plan(statuses, Fault::Refuse(429), 1);
    bench.tell(&Turn::of(|_| {})).await;
    assert_eq!(bench.writes().len(), 1);
    let ending = write(&bench, 0).await;
    assert!(matches!(ending, Ending::Done { .. }), "{ending:?}");
    bench.tell(&moving(done())).await;
    assert_eq!(events(&bench).await.len(), 0, "the server has no time for these either");
    bench.wait(Duration::from_secs(15)).await;
    assert_eq!(events(&bench).await.len(), 1);
    let codes: Vec<_> = bench.writes().iter().map(|write| write.code).collect();
    assert_eq!(codes, [429, 200]);
}

#[tokio::test(start_paused = true)]
async fn a_series_that_could_not_be_counted_up_is_counted_up_later() {
    let bench = Bench::new().await;
    let counts = Match::of("patch", "events", "");
    bench.cluster.faults().plan(counts, Fault::Refuse(429), 1);
    let refused = Ending::Refused { code: 403, message: "exceeded quota: pods".into() };
    for _ in 0..10 {
        bench.tell(&moving(refused.clone())).await;
        bench.wait(Duration::from_secs(30)).await;
    }
    bench.wait(Duration::from_mins(3)).await;
    let events = events(&bench).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].series.as_ref().unwrap().count, 10);
}
