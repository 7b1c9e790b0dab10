//! The command line as a shell sees it: what is printed where, and the exit code.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use penstock::demo::cluster::{Cluster, Options};

use crate::served::Kubeconfig;

/// Runs penstock with these arguments and this standard input.
fn penstock(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Exit code, standard output, standard error.
fn told(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let output = penstock(arguments, input);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What a terminal shows, of both streams.
pub(crate) fn shown(arguments: &[&str]) -> String {
    let words = [&[env!("CARGO_BIN_EXE_penstock")], arguments].concat();
    let command = shlex::try_join(words).unwrap();
    let output = Command::new("script")
        .args(["--quiet", "--command", &command, "/dev/null"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn what_takes_long_says_on_a_terminal_how_far_it_is_and_nowhere_else() {
    let cluster = Cluster::new(Options { controllers: false, ..Options::default() });
    let kubeconfig = Kubeconfig::of(&cluster).await;
    let check = ["check", "--kubeconfig", kubeconfig.file()].map(str::to_owned);
    let text = std::fs::read_to_string("deploy/examples/shortest.yaml").unwrap();
    let lines = text.lines().map(|line| format!("  {line}\n")).collect::<Vec<_>>().concat();
    let scenario = format!(
        "pipeline:\n{lines}workload: {{diurnal: {{}}, peakReplicas: 5}}\nworld: {{rate: 100}}\nduration: 1h\n"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), scenario).unwrap();
    let simulate = ["simulate", file.path().to_str().unwrap(), "--policy", "static"];
    let simulate = simulate.map(str::to_owned);
    for (arguments, line) in [(&check[..], "asking the API server"), (&simulate, "0/1 runs")] {
        let arguments = arguments.to_vec();
        let run = tokio::task::spawn_blocking(move || {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            (shown(&arguments), told(&arguments, ""))
        });
        let (shown, (_, stdout, stderr)) = run.await.unwrap();
        assert!(shown.contains(line), "{shown}");
        assert!(!stdout.contains(line) && stderr.is_empty(), "{stdout}{stderr}");
    }
}

#[test]
fn misuse_is_one_line_with_a_hint_and_exit_code_2() {
    for arguments in [
        &["scale"][..],
        &["validate"],
        &["validate", "nowhere.yaml"],
        &["validate", "-o", "xml", "deploy/examples/shortest.yaml"],
        &["crds", "--dir", "x", "-o", "json"],
        &["man", "scale"],
        &["completions", "cobol"],
    ] {
        let (code, stdout, stderr) = told(arguments, "");
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stdout.is_empty(), "{arguments:?}: {stdout}");
        assert!(
            stderr.starts_with("error: ") && stderr.contains("hint: "),
            "{arguments:?}: {stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_log_filter_nobody_understands_is_shown_as_it_was_written() {
    let (code, stdout, stderr) = told(&["run", "--log", "penstock=loudest"], "");
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(stderr.starts_with("error: --log penstock=loudest: "), "{stderr}");
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["--version"], &["validate", "--help"]] {
        let (code, stdout, stderr) = told(arguments, "");
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(stdout.contains("penstock"), "{stdout}");
    }
}

#[test]
fn good_manifests_are_exit_code_0() {
    let (code, stdout, stderr) = told(
        &["validate", "deploy/examples/shortest.yaml", "deploy/examples/kafka-secured.yaml"],
        "",
    );
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let lines: Vec<Vec<&str>> =
        stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["FILE", "OBJECT", "RESULT", "WHY"]);
    assert_eq!(
        lines[1],
        ["deploy/examples/shortest.yaml", "ScaledPipeline", "shop/orders", "good"]
    );
    assert_eq!(lines.len(), 4);
}

#[test]
fn a_refused_document_of_a_stream_is_exit_code_1_in_the_api_servers_words() {
    let good = std::fs::read_to_string("deploy/examples/shortest.yaml").unwrap();
    let bad = good.replace("min: 0", "min: 49").replace("name: orders, ", "name: others, ");
    let (code, stdout, _) =
        told(&["validate", "-", "-o", "json"], &format!("{good}---\n---\n{bad}"));
    assert_eq!(code, Some(1));
    let lines: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let expected = serde_json::json!([
        {"file": "-", "kind": "ScaledPipeline", "namespace": "shop", "name": "orders", "result": "good"},
        {
            "file": "-", "kind": "ScaledPipeline", "namespace": "shop", "name": "others", "result": "refused",
            "faults": ["spec.stages[0].replicas.min: Invalid value: min must not be above max"],
        },
    ]);
    assert_eq!(lines, expected);
    let (code, yaml, _) = told(&["validate", "-", "-o", "yaml"], &bad);
    let lines: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!((code, &lines[0]), (Some(1), &expected[1]));
}

#[test]
fn what_does_not_work_yet_is_a_warning_and_exit_code_0() {
    let shortest = std::fs::read_to_string("deploy/examples/shortest.yaml").unwrap();
    let later = shortest.replace("  - name: enrich\n", "  - name: enrich\n    actuate: HPA\n");
    assert_ne!(later, shortest);
    let (code, stdout, _) = told(&["validate", "-"], &later);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(
        stdout.contains("warned  spec.stages[0].actuate: does not work in this version"),
        "{stdout}"
    );
}

#[test]
fn what_is_no_yaml_or_nothing_at_all_is_a_failed_check() {
    let (code, stdout, _) = told(&["validate", "-"], "a: [1\nb: }");
    assert_eq!(code, Some(1));
    assert!(stdout.contains("is no YAML"), "{stdout}");
    let (code, _, stderr) = told(&["validate", "-"], "---\n");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("nothing to check"), "{stderr}");
}

#[test]
fn the_printed_definitions_are_the_kept_ones() {
    let (code, stdout, _) = told(&["crds"], "");
    assert_eq!(code, Some(0));
    let kept: Vec<String> = penstock::crd::all()
        .iter()
        .map(|crd| format!("---\n{}", penstock::crd::yaml(crd).unwrap()))
        .collect();
    assert_eq!(stdout, kept.concat());
    let (_, json, _) = told(&["crds", "-o", "json"], "");
    let list: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), kept.len());
}

#[test]
fn completions_and_manual_pages_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, stdout, _) = told(&["completions", shell], "");
        assert_eq!(code, Some(0));
        assert!(stdout.contains("validate"), "{shell}");
    }
    let (code, stdout, _) = told(&["man"], "");
    assert_eq!(code, Some(0));
    assert!(stdout.contains(".TH penstock 1"), "{stdout}");
    let (code, stdout, _) = told(&["man", "validate"], "");
    assert_eq!(code, Some(0));
    assert!(stdout.contains(".TH penstock-validate 1"), "{stdout}");
}

#[test]
fn as_a_plugin_of_kubectl_it_calls_itself_so() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-penstock");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_penstock"), &plugin).unwrap();
    let output = Command::new(plugin).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Usage: kubectl penstock"), "{help}");
}
