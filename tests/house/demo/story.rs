//! The story as a whole, cut short: toy cluster, mock Kafka, real consumers, the real daemon.

use penstock::demo::view::Screen;
use penstock::demo::{self, Options};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::secs;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn penstock_scales_real_consumers_and_the_demo_ends_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { length: secs(60.0), seed: 1, folder: folder.path().to_owned() };
    let goodbye = CancellationToken::new();
    let mut out = Vec::new();
    let mut screen = Screen::plain(&mut out);
    let ask = async {
        sleep(secs(25.0)).await;
        goodbye.cancel();
    };
    let (score, ()) = tokio::join!(demo::run(&options, &mut screen, &goodbye), ask);
    drop(screen);
    let (score, out) = (score.unwrap(), String::from_utf8(out).unwrap());

    assert!(score.moves >= 1, "never scaled:\n{out}");
    assert!(score.replica_hours > 0.0 && score.replica_hours < score.peak_hours, "{score:?}");
    assert!(score.items > 500 && score.waiting < score.items, "nothing was done:\n{out}");
    let kubeconfig = folder.path().join("kubeconfig");
    assert!(kubeconfig.exists() && out.contains(&*kubeconfig.to_string_lossy()), "{out}");
    for words in ["The first items arrive", "replicas ready", "objective", "replica-hours"] {
        assert!(out.contains(words), "{words:?} is not in:\n{out}");
    }
}
