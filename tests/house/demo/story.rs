//! The story as a whole, cut short: toy cluster, mock Kafka, real consumers, the real daemon.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use penstock::demo::view::Screen;
use penstock::demo::{self, Options};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::secs;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn penstock_scales_real_consumers_and_the_demo_ends_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        length: secs(60.0),
        seed: 1,
        folder: folder.path().to_owned(),
        interrupt: false,
        record: None,
    };
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

#[tokio::test]
async fn an_interrupt_ends_the_demo_with_its_summary_and_leaves_nothing_behind() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(["demo", "--plain", "--duration", "10m"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = demo.id().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    let begun = async {
        // Its consumers and its daemon are at work by now, so there is something to stop.
        while !said.iter().any(|line: &String| line.contains("replicas ready")) {
            said.push(lines.next_line().await.unwrap().expect("it goes on"));
        }
    };
    timeout(secs(60.0), begun).await.expect("it begins");
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGINT).unwrap();
    let end = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            said.push(line);
        }
        demo.wait_with_output().await.unwrap()
    };
    let end = timeout(secs(30.0), end).await.expect("it ends");
    let (said, complaints) = (said.join("\n"), String::from_utf8_lossy(&end.stderr).into_owned());
    assert_eq!((end.status.code(), complaints.as_str()), (Some(0), ""), "{said}");
    assert!(said.contains("replica-hours"), "no summary in:\n{said}");
    let folder = std::env::temp_dir().join(format!("penstock-demo-{pid}"));
    assert!(!folder.exists(), "{} is left", folder.display());
}
