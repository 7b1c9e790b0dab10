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
pub(crate) fn told(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
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
    let on_it = |command: &[&str]| {
        let words = [command, &["--kubeconfig", kubeconfig.file()]].concat();
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let [check, pools] = [&["check"][..], &["pools"]].map(on_it);
    let [gitops, explain] = [&["gitops", "orders"][..], &["explain", "orders"]].map(on_it);
    let text = std::fs::read_to_string("deploy/examples/shortest.yaml").unwrap();
    let lines = text.lines().map(|line| format!("  {line}\n")).collect::<Vec<_>>().concat();
    let scenario = format!(
        "pipeline:\n{lines}workload: {{diurnal: {{}}, peakReplicas: 5}}\nworld: {{rate: 100}}\nduration: 1h\n"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), scenario).unwrap();
    let simulate = ["simulate", file.path().to_str().unwrap(), "--policy", "static"];
    let simulate = simulate.map(str::to_owned);
    for (arguments, line) in [
        (&check[..], "asking the API server"),
        (&pools, "asking the API server"),
        (&gitops, "asking the API server"),
        (&explain, "asking the daemon"),
        (&simulate, "0/1 runs"),
    ] {
        let arguments = arguments.to_vec();
        let run = tokio::task::spawn_blocking(move || {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            (shown(&arguments), told(&arguments, ""))
        });
        let (shown, (_, stdout, stderr)) = run.await.unwrap();
        assert!(shown.contains(line), "{shown}");
        assert!(!stdout.contains(line) && !stderr.contains(line), "{stdout}{stderr}");
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
fn no_command_at_all_is_misuse_that_names_the_commands() {
    let (code, stdout, stderr) = told(&[], "");
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(stderr.starts_with("error: 'penstock' requires a subcommand"), "{stderr}");
    assert!(
        stderr.contains("explain") && stderr.contains("usage is `penstock <COMMAND>`"),
        "{stderr}"
    );
    assert!(!stderr.contains("how late your data"), "{stderr}");
}

/// The same without a cluster that is configured anywhere.
fn told_nowhere(arguments: &[&str]) -> (Option<i32>, String) {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(arguments)
        .env("HOME", home.path())
        .env_remove("KUBECONFIG")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .unwrap();
    assert!(output.stdout.is_empty(), "{arguments:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn who_reaches_no_cluster_is_told_why_once_and_what_to_do_at_the_end() {
    const GONE: &str = "No such file or directory (os error 2)";
    const REFUSED: &str = "Connection refused (os error 111)";
    let file = tempfile::NamedTempFile::new().unwrap();
    let there = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "away", "user": "me"}}], "users": [{"name": "me", "user": {}}],
        "clusters": [{"name": "away", "cluster": {"server": "http://127.0.0.1:1"}}]}"#;
    std::fs::write(file.path(), there).unwrap();
    let file = file.path().to_str().unwrap();
    let broken = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(broken.path(), "{{{").unwrap();
    let broken = broken.path().to_str().unwrap();
    let commands =
        [&["check"][..], &["top"], &["pools"], &["gitops", "orders"], &["explain", "orders"]];
    for command in commands {
        for (flags, why, hint) in [
            (&["--kubeconfig", "/nope"][..], GONE, "hint: --kubeconfig FILE"),
            (&[], GONE, "hint: --kubeconfig FILE, or the variable KUBECONFIG"),
            (&["--context", "there"], GONE, "hint: --kubeconfig FILE"),
            (&["--kubeconfig", file, "--context", "there"], "no context \"there\"", "get-contexts"),
            (&["--kubeconfig", broken], "line 1 column 3", "hint: does kubectl"),
            (&["--kubeconfig", file], REFUSED, ""),
        ] {
            let arguments = [command, flags].concat();
            let (code, stderr) = told_nowhere(&arguments);
            assert_eq!(code, Some(1), "{arguments:?}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
            assert_eq!(stderr.matches(why).count(), 1, "{arguments:?}: {stderr}");
            let last = stderr.rsplit("; ").next().unwrap();
            assert!(last.contains(hint), "{arguments:?}: {stderr}");
            assert!(stderr.matches("hint: ").count() <= 1, "{arguments:?}: {stderr}");
        }
    }
    let (code, stderr) = told_nowhere(&["top", "--server", "http://127.0.0.1:1"]);
    assert_eq!((code, stderr.matches(REFUSED).count()), (Some(1), 1), "{stderr}");
    assert!(stderr.trim_end().ends_with("hint: is it --page-listen's address?"), "{stderr}");
}

#[tokio::test]
async fn flags_of_kubectl_may_stand_where_kubectl_takes_them() {
    let cluster = Cluster::new(Options { controllers: false, ..Options::default() });
    for definition in penstock::crd::all() {
        cluster.define(serde_json::to_value(definition).unwrap()).unwrap();
    }
    let kubeconfig = Kubeconfig::of(&cluster).await;
    let file = kubeconfig.file().to_owned();
    let text = std::fs::read_to_string(&file).unwrap();
    let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let context = read["current-context"].as_str().unwrap().to_owned();
    let run = tokio::task::spawn_blocking(move || {
        for (arguments, is_good) in [
            (&["top", "-A", "--kubeconfig", &file][..], true),
            (&["--kubeconfig", &file, "-A", "top"], true),
            (&["--context", &context, "--kubeconfig", &file, "top", "-n", "shop", "-A"], true),
            (&["-n=shop", &format!("--kubeconfig={file}"), "top"], true),
            (&["--context", "elsewhere", "--kubeconfig", &file, "top"], false),
            (&["--context"], false),
        ] {
            let (code, stdout, stderr) = told(arguments, "");
            assert_eq!(code == Some(0), is_good, "{arguments:?}: {stderr}");
            assert_eq!(stdout.contains("PIPELINE"), is_good, "{arguments:?}: {stdout}");
        }
    });
    run.await.unwrap();
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
fn what_the_api_server_takes_and_can_never_work_is_exit_code_1() {
    let shortest = std::fs::read_to_string("deploy/examples/shortest.yaml").unwrap();
    let stage = "  - name: enrich\n";
    let in_stage = |field: &str| (stage.to_owned(), format!("{stage}    {field}\n"));
    let schedule = |zone: &str, replicas: &str| {
        in_stage(&format!(
            "schedules: [{{name: a, start: 0 8 * * *, end: 0 20 * * *, timeZone: {zone}, replicas: {replicas}}}]"
        ))
    };
    for ((from, to), said) in [
        (schedule("Europe/Atlantis", "{min: 1}"), "spec.stages[0].schedules[0].timeZone: "),
        (in_stage("combine: {expression: orders +}"), "spec.stages[0].combine.expression: "),
        (
            ("kafka:9092".to_owned(), "kafka".to_owned()),
            "spec.stages[0].sources[0].kafka.bootstrapServers: must be host:port",
        ),
        (
            (
                stage.to_owned(),
                format!(
                    "  - {{name: first, target: {{name: enrich}}, replicas: {{max: 1}}}}\n{stage}"
                ),
            ),
            "spec.stages[1].target: stage first has this target already",
        ),
    ] {
        let bad = shortest.replace(&from, &to);
        assert_ne!(bad, shortest, "{from}");
        let (code, stdout, _) = told(&["validate", "-", "-o", "json"], &bad);
        assert_eq!(code, Some(1), "{stdout}");
        let lines: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(lines[0]["result"], "unworkable", "{stdout}");
        assert!(lines[0]["unworkable"][0].as_str().unwrap().starts_with(said), "{stdout}");
        let (_, table, _) = told(&["validate", "-"], &bad);
        assert!(table.contains("unworkable  "), "{table}");
    }
    let (from, to) = schedule("UTC", "{min: 49}");
    let (code, stdout, _) = told(&["validate", "-"], &shortest.replace(&from, &to));
    assert_eq!(code, Some(1), "{stdout}");
    assert!(
        stdout.contains("refused  spec.stages[0].schedules: Invalid value: min of"),
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
    let folder = tempfile::tempdir().unwrap();
    let (code, ..) = told(&["man", "--dir", folder.path().to_str().unwrap()], "");
    assert_eq!(code, Some(0));
    let commands = penstock::cli::grammar();
    for name in commands
        .get_subcommands()
        .map(|command| format!("-{}", command.get_name()))
        .chain([String::new()])
    {
        let page =
            std::fs::read_to_string(folder.path().join(format!("penstock{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH penstock{name} 1")), "{page}");
    }
}

#[test]
fn kubectl_hears_what_may_come_next() {
    let (code, script, _) = told(&["completions", "kubectl"], "");
    assert!(code == Some(0) && script.starts_with("#!/bin/sh\n"), "{script}");
    for (words, said, end) in [
        (&[""][..], &["explain\t", "top\t"][..], ":4"),
        (&["exp"], &["explain\tSay why"], ":4"),
        (&["top", "--n"], &["--namespace\t"], ":4"),
        (&["-n", "shop", "top", "-o", ""], &["table", "json", "yaml"], ":4"),
        (&["completions", "b"], &["bash"], ":4"),
        (&["top", "--kubeconfig", ""], &[], ":0"),
        (&["validate", ""], &[], ":0"),
        (&["top", ""], &[], ":4"),
    ] {
        let arguments = [&["completions", "kubectl", "--"], words].concat();
        let (code, stdout, stderr) = told(&arguments, "");
        assert_eq!(code, Some(0), "{words:?}: {stderr}");
        let lines: Vec<_> = stdout.lines().collect();
        assert_eq!(lines.last(), Some(&end), "{words:?}: {stdout}");
        let is_there = |word: &&&str| lines.iter().any(|line| line.starts_with(**word));
        assert!(said.iter().all(|word| is_there(&word)), "{words:?}: {stdout}");
        assert!(!said.is_empty() || lines.len() == 1, "{words:?}: {stdout}");
    }
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
