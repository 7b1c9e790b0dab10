//! From what was written to what is meant: defaults, the split of the objective, pauses, connections, and every fault at once.

use std::time::Duration;

use penstock::crd::meaning::{Code, Fault, Meaning, SecretWanted};
use penstock::decide::{FallbackPolicy, Mode, OnSilence};
use penstock::observe::{Address, Ask, kafka};
use serde_json::{Value, json};

use super::{Around, CLUSTER_CONNECTION, CONNECTION, PIPELINE, put, read, with, yaml};

/// What the contract's shortest pipeline means with changes.
fn meaning(changes: &[(&str, Value)]) -> Meaning {
    read(&with(PIPELINE, changes), &Around::with(&[yaml(CONNECTION)])).unwrap()
}

/// What is wrong with the contract's shortest pipeline after changes, one line a fault.
fn faults(changes: &[(&str, Value)]) -> Vec<String> {
    let faults = read(&with(PIPELINE, changes), &Around::default()).unwrap_err();
    faults.iter().map(Fault::to_string).collect()
}

#[test]
fn the_shortest_pipeline_means_one_stage_and_one_question() {
    let meaning = meaning(&[("/metadata/generation", json!(3)), ("/metadata/uid", json!("u-1"))]);
    let [stage] = meaning.pipeline.stages.as_slice() else { panic!("one stage") };
    assert_eq!((stage.min, stage.max), (0, 48));
    assert_eq!(stage.max_delay, Some(Duration::from_mins(1)));
    assert!(!stage.is_default_objective);
    assert_eq!(stage.target.to_string(), "Deployment shop/enrich");
    assert_eq!(&*stage.target.api_version, "apps/v1");
    assert_eq!((stage.mode, stage.on_silence), (Mode::Enforce, OnSilence::Hold));
    assert_eq!(stage.fallback.after, Duration::from_mins(2));
    assert_eq!(stage.fallback.policy, FallbackPolicy::Hold);
    assert_eq!((stage.idle, stage.rate_hint, stage.startup_hint), (None, None, None));
    assert_eq!((meaning.pipeline.generation, &*meaning.pipeline.uid), (3, "u-1"));
    let [question] = meaning.questions.as_slice() else { panic!("one question") };
    assert_eq!(question.id.to_string(), "shop/orders/enrich/orders");
    assert_eq!(question.poll_interval, Duration::from_secs(2));
    assert_eq!(
        question.address,
        Address::Kafka(kafka::Address {
            connection: String::new(),
            bootstrap_servers: "kafka:9092".to_owned(),
            tls: false,
            sasl: None,
        })
    );
    let Ask::Kafka(ask) = &question.ask else { panic!("no Kafka") };
    assert_eq!((ask.topics.as_slice(), ask.group.as_str()), (&["orders".to_owned()][..], "enrich"));
    assert_eq!(ask.offset_reset, kafka::OffsetReset::Latest);
    assert_eq!(ask.isolation, kafka::Isolation::ReadUncommitted);
    assert!(question.secrets.is_empty());
    assert!(meaning.unanswerable.is_empty());
}

#[test]
fn what_is_left_out_of_behavior_stays_penstocks_own() {
    let meaning = meaning(&[(
        "/spec/stages/0/behavior",
        json!({"scaleDown": {"stabilizationWindowSeconds": 300, "tolerance": "0.1"}}),
    )]);
    let behaviour = &meaning.pipeline.stages[0].behaviour;
    assert_eq!(behaviour.up, penstock::decide::Rules::default());
    assert_eq!(behaviour.down.window, Some(Duration::from_mins(5)));
    assert_eq!(behaviour.down.tolerance, Some(0.1));
    assert!(behaviour.down.policies.is_empty());
}

#[test]
fn neither_objective_nor_threshold_is_60_s_and_a_threshold_alone_has_no_delay() {
    let without = ("/spec/objective", Value::Null);
    let stage = meaning(std::slice::from_ref(&without)).pipeline.stages.remove(0);
    assert_eq!((stage.max_delay, stage.is_default_objective), (Some(Duration::from_mins(1)), true));
    let threshold = ("/spec/stages/0/sources/0/kafka/perReplica", json!(1000));
    let stage = meaning(&[without, threshold.clone()]).pipeline.stages.remove(0);
    assert_eq!((stage.max_delay, stage.is_default_objective), (None, false));
    assert_eq!(stage.sources[0].per_replica, Some(1000.0));
    let both = meaning(&[threshold]).pipeline.stages.remove(0);
    assert_eq!(both.max_delay, Some(Duration::from_mins(1)));
}

#[test]
fn a_source_is_asked_at_its_own_pace_then_the_pipelines_then_its_kinds() {
    let pace = |changes: &[(&str, Value)]| meaning(changes).questions[0].poll_interval.as_secs();
    assert_eq!(pace(&[]), 2);
    assert_eq!(pace(&[("/spec/pollInterval", json!("9s"))]), 9);
    assert_eq!(
        pace(&[
            ("/spec/pollInterval", json!("9s")),
            ("/spec/stages/0/sources/0/pollInterval", json!("3s"))
        ]),
        3
    );
}

#[test]
fn a_stage_may_have_a_mode_of_its_own() {
    let mode = |changes: &[(&str, Value)]| meaning(changes).pipeline.stages[0].mode;
    assert_eq!(mode(&[("/spec/mode", json!("Observe"))]), Mode::Observe);
    assert_eq!(
        mode(&[("/spec/mode", json!("Observe")), ("/spec/stages/0/mode", json!("Enforce"))]),
        Mode::Enforce
    );
}

#[test]
fn idle_keeps_nothing_for_five_minutes_unless_it_says_so() {
    let idle =
        |value: Value| meaning(&[("/spec/stages/0/idle", value)]).pipeline.stages[0].idle.unwrap();
    assert_eq!((idle(json!({})).replicas, idle(json!({})).after), (0, Duration::from_mins(5)));
    assert_eq!(idle(json!({"after": "30s"})).after, Duration::from_secs(30));
}

#[test]
fn brokers_are_read_with_blanks_and_refused_without_a_port() {
    let servers = |text: &str| [("/spec/stages/0/sources/0/kafka/bootstrapServers", json!(text))];
    let spaced = meaning(&servers("a:1, b:2 ,c:3"));
    let Address::Kafka(address) = &spaced.questions[0].address else { panic!("no Kafka") };
    assert_eq!(address.bootstrap_servers, "a:1,b:2,c:3");
    for bad in ["kafka", "kafka:", "kafka:0", "kafka:99999", ":9092", "a:1,", "a b:1", "a:+1"] {
        let said = faults(&servers(bad));
        assert_eq!(
            said,
            [
                "spec.stages[0].sources[0].kafka.bootstrapServers: must be host:port, or several of them with commas between"
            ],
            "{bad}"
        );
    }
}

#[test]
fn every_fault_is_told_at_once_and_names_its_field() {
    let said = faults(&[
        ("/metadata/annotations", json!({"penstock.dev/paused": "yes"})),
        ("/spec/pollInterval", json!("1h")),
        ("/spec/stages/0/replicas", json!({"min": 50, "max": 48})),
        ("/spec/stages/0/fallback", json!({"policy": "Static"})),
        ("/spec/stages/0/actuate", json!("HPA")),
        ("/spec/stages/0/sources/0/name", json!("my-orders")),
        (
            "/spec/stages/1",
            json!({"name": "b", "after": ["c"], "target": {"name": "enrich"}, "replicas": {"max": 1}}),
        ),
    ]);
    assert_eq!(
        said,
        [
            "spec.pollInterval: must be a duration from 1s to 10m, such as 90s, 5m or 1h30m",
            "metadata.annotations[penstock.dev/paused]: must be \"true\" or \"false\"",
            "spec.stages[0].actuate: does not work in this version; hint: leave it out; it is refused so that it is not silently ignored",
            "spec.stages[0].replicas.min: min must not be above max",
            "spec.stages[0].sources[0].name: a source name must match [a-z][a-z0-9_]* and be no CEL keyword, so that combine can use it",
            "spec.stages[0].fallback.replicas: replicas is required unless policy is Hold",
            "spec.stages[1].after[0]: after may only name stages that stand above: stages are written in flow order, without cycles",
            "spec.stages[1].target: stage enrich has this target already",
        ]
    );
}

#[test]
fn a_wrong_expression_is_told_with_its_place_and_how_to_mend_it() {
    let says = |expression: &str| {
        let mut faults = faults(&[("/spec/stages/0/combine", json!({"expression": expression}))]);
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults.remove(0)
    };
    for (expression, said) in [
        ("[orders, others].max()", "column 10: there is no others; hint: what there is: orders"),
        (
            "orders * 2",
            "column 1: a number and a whole number do not go together in CEL; hint: write whole numbers as 2.0",
        ),
        ("2.0", "names no source of the stage; hint: a fixed count is replicas.min"),
    ] {
        assert_eq!(says(expression), format!("spec.stages[0].combine.expression: {said}"));
    }
    assert!(says("orders +").contains("column 9: is no CEL"), "{}", says("orders +"));
    let read = meaning(&[("/spec/stages/0/combine", json!({"expression": "orders * 2.0"}))]);
    let formula = read.pipeline.stages[0].combine.as_ref().unwrap();
    assert_eq!(
        (formula.text(), formula.names().collect::<Vec<_>>()),
        ("orders * 2.0", vec!["orders"])
    );
}

#[test]
fn a_wrong_schedule_is_told_with_its_field_and_a_hint() {
    const CRON: &str = "hint: minute, hour, day of month, month, day of week: \"0 8 * * 1-5\" is 8:00 from Monday to Friday";
    let schedule = |name: &str, start: &str, zone: &str, replicas: Value| json!({"name": name, "start": start, "end": "0 20 * * *", "timeZone": zone, "replicas": replicas});
    let said = faults(&[(
        "/spec/stages/0/schedules",
        json!([
            schedule("a", "0 8 * *", "UTC", json!({"min": 1})),
            schedule("a", "0 8 * * *", "Europe/Atlantis", json!({"min": 1})),
            schedule("c", "0 8 31 2 *", "UTC", json!({"min": 1})),
            schedule("d", "0 8 * * *", "UTC", json!({"min": 49})),
            schedule("e", "0 20 * * *", "UTC", json!({"max": 3})),
        ]),
    )]);
    assert_eq!(
        said,
        [
            format!("spec.stages[0].schedules[0].start: \"0 8 * *\" is no cron with five fields; {CRON}"),
            "spec.stages[0].schedules[1].name: another schedule has this name".to_owned(),
            "spec.stages[0].schedules[1].timeZone: nobody knows the time zone \"Europe/Atlantis\"; hint: write an IANA name, as Europe/Berlin or UTC".to_owned(),
            format!("spec.stages[0].schedules[2].start: \"0 8 31 2 *\" never comes; {CRON}"),
            "spec.stages[0].schedules[3].replicas.min: min of a schedule must not be above replicas.max of the stage".to_owned(),
            "spec.stages[0].schedules[4].end: is the same as start, so that it lasts for no time; hint: what always holds is written without hours: as replicas.min or max, or as the price itself".to_owned(),
        ]
    );
}

#[test]
fn a_gate_is_asked_for_the_number_itself_and_its_formula_looks_at_value() {
    let gate = |hold_when: &str| {
        let source = json!({"prometheus": {"connectionRef": {"name": "events"}, "query": "x"}});
        json!([{"name": "quality", "holdWhen": hold_when, "source": source}])
    };
    let read = meaning(&[("/spec/stages/0/gates", gate("value > 0.5"))]);
    let [gate_read] = read.pipeline.stages[0].gates.as_slice() else { panic!("one gate") };
    assert_eq!(gate_read.source.question.to_string(), "shop/orders/enrich/gate/quality");
    // The connection is Kafka's: the gate cannot be asked, and the stage's own source can.
    let [(question, fault)] = read.unanswerable.as_slice() else { panic!("one that cannot be") };
    assert_eq!((question, fault.code), (&gate_read.source.question, Code::ConnectionMismatch));
    assert_eq!(read.questions.len(), 1);
    for (hold_when, said) in [
        (
            "value",
            "column 1: gives a number where true or false is wanted; hint: compare: value > 0.0",
        ),
        ("failed > 0.0", "column 1: there is no failed; hint: what there is: value"),
        ("true", "does not look at value"),
    ] {
        let faults = faults(&[("/spec/stages/0/gates", gate(hold_when))]);
        assert_eq!(faults, [format!("spec.stages[0].gates[0].holdWhen: {said}")]);
    }
}

#[test]
fn a_pause_holds_as_long_as_its_annotation_says_so() {
    let pause = |annotations: Value| meaning(&[("/metadata/annotations", annotations)]).pipeline;
    assert!(pause(json!({"penstock.dev/paused": "true"})).pause.all);
    assert!(!pause(json!({"penstock.dev/paused": "false"})).pause.all);
    assert!(pause(json!({"penstock.dev/paused-scale-in": "true"})).pause.scale_in);
    assert!(pause(json!({"penstock.dev/paused-scale-out": "true"})).pause.scale_out);
    assert!(pause(json!({"penstock.dev/force-activation": "true"})).pause.force_activation);
    assert_eq!(pause(json!({"penstock.dev/paused-replicas": "3"})).stages[0].pinned, Some(3));
    assert_eq!(
        pause(json!({"penstock.dev/paused-replicas": "enrich=0"})).stages[0].pinned,
        Some(0)
    );
}

#[test]
fn each_stage_may_be_paused_at_a_count_of_its_own() {
    let sink = json!({"name": "sink", "target": {"name": "sink"}, "replicas": {"max": 9}});
    let two = |text: &str| {
        vec![
            ("/spec/stages/1", sink.clone()),
            ("/metadata/annotations", json!({"penstock.dev/paused-replicas": text})),
        ]
    };
    let pinned: Vec<_> =
        meaning(&two("sink=4")).pipeline.stages.iter().map(|stage| stage.pinned).collect();
    assert_eq!(pinned, [None, Some(4)]);
    let pinned: Vec<_> = meaning(&two("enrich=1, sink=4"))
        .pipeline
        .stages
        .iter()
        .map(|stage| stage.pinned)
        .collect();
    assert_eq!(pinned, [Some(1), Some(4)]);
    for (text, complaint) in [
        ("3", "\"3\" is no count"),
        ("", "\"\" is no count"),
        ("enrich=-1", "\"enrich=-1\" is no count"),
        ("enrich=100001", "\"enrich=100001\" is no count"),
        ("enrich=1,enrich=2", "stage \"enrich\" is named twice"),
        ("elsewhere=1", "there is no stage \"elsewhere\""),
    ] {
        let [said] = faults(&two(text)).try_into().unwrap();
        let prefix = format!("metadata.annotations[penstock.dev/paused-replicas]: {complaint}");
        assert!(said.starts_with(&prefix), "{text}: {said}");
    }
}

/// The contract's pipeline with its source behind a connection.
fn through(kind: &str) -> Value {
    with(
        PIPELINE,
        &[
            ("/spec/stages/0/sources/0/kafka/bootstrapServers", Value::Null),
            (
                "/spec/stages/0/sources/0/kafka/connectionRef",
                json!({"kind": kind, "name": "events"}),
            ),
        ],
    )
}

/// Why the only question of a pipeline cannot be put.
fn unanswerable(written: &Value, around: &Around) -> Fault {
    let meaning = read(written, around).unwrap();
    assert!(meaning.questions.is_empty());
    let [(question, fault)] = meaning.unanswerable.try_into().unwrap();
    assert_eq!(question.to_string(), "shop/orders/enrich/orders");
    fault
}

#[test]
fn a_connection_says_where_and_which_secrets_log_in() {
    let around = Around::with(&[yaml(CONNECTION)]);
    let meaning = read(&through("Connection"), &around).unwrap();
    let question = &meaning.questions[0];
    assert_eq!(
        question.address,
        Address::Kafka(kafka::Address {
            connection: "shop/events".to_owned(),
            bootstrap_servers: "events-kafka-bootstrap:9093".to_owned(),
            tls: true,
            sasl: Some(kafka::Mechanism::ScramSha512),
        })
    );
    let wanted = |name: &str, key: &str, usage| SecretWanted {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        key: key.to_owned(),
        usage,
    };
    assert_eq!(
        question.secrets,
        [
            wanted("events-cluster-ca-cert", "ca.crt", "ca"),
            wanted("penstock", "user.crt", "cert"),
            wanted("penstock", "user.key", "key"),
            wanted("penstock", "username", "username"),
            wanted("penstock", "password", "password"),
        ]
    );
}

#[test]
fn a_missing_connection_is_a_fault_of_its_stage_alone() {
    let fault = unanswerable(&through("Connection"), &Around::default());
    assert_eq!((fault.code, fault.code.label()), (Code::ConnectionNotFound, "ConnectionNotFound"));
    assert_eq!(
        fault.to_string(),
        "spec.stages[0].sources[0].kafka.connectionRef: there is no Connection shop/events; hint: create it, or mend the name; a \
         ClusterConnection wants kind: ClusterConnection"
    );
}

#[test]
fn a_connection_to_something_else_or_with_a_fault_is_told_by_its_own_path() {
    let with_connection = |changes: &[(&str, Value)]| {
        let around = Around::with(&[with(CONNECTION, changes)]);
        unanswerable(&through("Connection"), &around)
    };
    let other = with_connection(&[
        ("/spec/kafka", Value::Null),
        ("/spec/http", json!({"url": "http://x"})),
    ]);
    assert_eq!(other.code, Code::ConnectionMismatch);
    assert_eq!(other.to_string(), "Connection shop/events spec: is no connection to kafka");
    let oauth = with_connection(&[("/spec/kafka/sasl", json!({"mechanism": "OAUTHBEARER"}))]);
    assert_eq!(oauth.code, Code::InvalidConnection);
    assert_eq!(oauth.path, "Connection shop/events spec.kafka.sasl");
    assert!(oauth.message.starts_with("OAUTHBEARER goes with oauth2"), "{oauth}");
    for (pointer, path) in [
        ("/spec/kafka/tls/keySecretRef", "spec.kafka.tls"),
        ("/spec/kafka/sasl/usernameSecretRef", "spec.kafka.sasl"),
        ("/spec/kafka/bootstrapServers", "spec.kafka"),
    ] {
        let fault = with_connection(&[(pointer, Value::Null)]);
        assert_eq!(fault.code, Code::InvalidConnection);
        assert_eq!(fault.path, format!("Connection shop/events {path}"));
    }
}

#[test]
fn a_cluster_connection_is_open_to_the_namespaces_it_allows_with_secrets_that_may_be_lent() {
    let kafka = yaml(CONNECTION)["spec"]["kafka"].clone();
    let open = with(CLUSTER_CONNECTION, &[("/spec/kafka", kafka)]);
    let written = through("ClusterConnection");
    let around = Around::with(std::slice::from_ref(&open));
    let meaning = read(&written, &around).unwrap();
    let Address::Kafka(address) = &meaning.questions[0].address else { panic!("no Kafka") };
    assert_eq!(address.connection, "/events");
    assert!(meaning.questions[0].secrets.iter().all(|secret| secret.namespace == "kafka"));

    let mut other_team = Around::with(std::slice::from_ref(&open));
    other_team.labels.clear();
    let fault = unanswerable(&written, &other_team);
    assert_eq!(fault.code, Code::NamespaceNotAllowed);
    assert!(fault.message.contains("ClusterConnection events does not allow namespace shop"));

    let mut closed = open.clone();
    put(&mut closed, "/spec/allowedNamespaces", &Value::Null);
    assert_eq!(unanswerable(&written, &Around::with(&[closed])).code, Code::NamespaceNotAllowed);

    let mut not_lent = Around::with(std::slice::from_ref(&open));
    not_lent.lent.clear();
    let fault = unanswerable(&written, &not_lent);
    assert_eq!(fault.code, Code::SecretNamespaceNotAllowed);
    assert!(fault.message.contains("namespace kafka"), "{fault}");

    let mut nowhere = open;
    put(&mut nowhere, "/spec/secretNamespace", &Value::Null);
    assert_eq!(unanswerable(&written, &Around::with(&[nowhere])).code, Code::InvalidConnection);
    assert_eq!(unanswerable(&written, &Around::default()).code, Code::ConnectionNotFound);
}
