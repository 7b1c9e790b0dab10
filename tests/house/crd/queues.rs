//! What RabbitMQ and NATS sources mean: where they lead, by which way, with which login, and what is refused by its path.

use std::time::Duration;

use penstock::crd::meaning::{Code, Meaning, QuestionDraft};
use penstock::observe::web::{self, Login};
use penstock::observe::{Address, Ask, nats, rabbitmq};
use serde_json::{Value, json};

use super::{Around, CONNECTION, PIPELINE, read, with};

/// A pipeline with this source, whose Connection says that.
fn meaning(kind: &str, source: &Value, connection: &Value) -> Result<Meaning, Vec<String>> {
    let mut source = source.clone();
    source["connectionRef"] = json!({"name": "events"});
    let written =
        with(PIPELINE, &[("/spec/stages/0/sources/0", json!({"name": "orders", kind: source}))]);
    let around = Around::with(&[with(CONNECTION, &[("/spec", json!({kind: connection}))])]);
    read(&written, &around).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// The only question of such a pipeline.
fn question(kind: &str, source: &Value, connection: &Value) -> QuestionDraft {
    let meaning = meaning(kind, source, connection).unwrap();
    let [question] = meaning.questions.try_into().unwrap();
    question
}

/// Why it cannot be put.
fn unanswerable(kind: &str, source: &Value, connection: &Value) -> String {
    let meaning = meaning(kind, source, connection).unwrap();
    assert!(meaning.questions.is_empty());
    let [(_, fault)] = meaning.unanswerable.try_into().unwrap();
    assert!([Code::InvalidConnection, Code::InvalidSpec].contains(&fault.code), "{fault}");
    fault.to_string()
}

fn amqp(host: &str, tls: bool, login: bool) -> Address {
    let (connection, host) = ("shop/events".to_owned(), host.to_owned());
    Address::RabbitMq(rabbitmq::Address::Amqp { connection, host, tls, login })
}

fn ask(vhost: &str, exclude_unacked: bool) -> Ask {
    let (vhost, queue) = (vhost.to_owned(), "todo".to_owned());
    Ask::RabbitMq(rabbitmq::Ask { vhost, queue, exclude_unacked })
}

#[test]
fn the_url_of_a_rabbitmq_says_by_which_way_it_is_asked() {
    let todo = json!({"queue": "todo"});
    for (url, address, vhost) in [
        ("amqp://mq", amqp("mq:5672", false, false), "/"),
        ("amqp://mq/", amqp("mq:5672", false, false), "/"),
        ("amqp://mq:1234/shop%2Feu", amqp("mq:1234", false, false), "shop/eu"),
        ("amqps://mq/shop", amqp("mq:5671", true, false), "shop"),
        ("amqps://[::1]/shop", amqp("[::1]:5671", true, false), "shop"),
    ] {
        let question = question("rabbitmq", &todo, &json!({"url": url}));
        assert_eq!((question.address, question.ask), (address, ask(vhost, true)), "{url}");
        assert_eq!(question.poll_interval, Duration::from_secs(5));
    }
    for url in ["http://mq:15672", "https://mq/prefix/"] {
        let question = question("rabbitmq", &todo, &json!({"url": url}));
        let web = web::Address {
            connection: "shop/events".to_owned(),
            url: url.trim_end_matches('/').to_owned(),
            headers: Vec::new(),
            login: Login::Nobody,
        };
        let address = Address::RabbitMq(rabbitmq::Address::Management(web));
        assert_eq!((question.address, question.ask), (address, ask("/", false)), "{url}");
    }
}

#[test]
fn what_the_source_of_a_rabbitmq_says_goes_before_what_its_connection_says() {
    let secret = |key: &str| json!({"name": "s", "key": key});
    let connection = json!({
        "url": "amqp://mq/shop", "usernameSecretRef": secret("u"), "passwordSecretRef": secret("p"),
    });
    let source = json!({"queue": "todo", "vhost": "other", "excludeUnacked": true});
    let asked = question("rabbitmq", &source, &connection);
    assert_eq!((asked.address, asked.ask), (amqp("mq:5672", false, true), ask("other", true)));
    let usages: Vec<_> = asked.secrets.iter().map(|secret| (secret.usage, &*secret.key)).collect();
    assert_eq!(usages, [("username", "u"), ("password", "p")]);
}

#[test]
fn what_a_rabbitmq_cannot_tell_or_no_server_understands_is_refused_by_its_path() {
    let todo = json!({"queue": "todo"});
    let unacked = json!({"queue": "todo", "excludeUnacked": false});
    let said = unanswerable("rabbitmq", &unacked, &json!({"url": "amqp://mq"}));
    assert_eq!(
        said,
        "spec.stages[0].sources[0].rabbitmq.excludeUnacked: AMQP does not tell what is delivered and not acknowledged; hint: give \
         the Connection the URL of the management API, or write true"
    );
    assert_eq!(question("rabbitmq", &unacked, &json!({"url": "http://mq"})).ask, ask("/", false));
    let secret = json!({"name": "s", "key": "k"});
    for (connection, path) in [
        (
            json!({"url": "mq:5672"}),
            "spec.rabbitmq.url: must be a URL that begins with https:// or ",
        ),
        (json!({"url": "amqp://me:pw@mq"}), "spec.rabbitmq.url: must be a URL"),
        (json!({"url": "amqp://mq:0"}), "spec.rabbitmq.url: must name a host and perhaps a port"),
        (json!({"url": "amqp://mq/%FF"}), "spec.rabbitmq.url: must end with one virtual host"),
        (json!({"url": "amqp://mq", "tls": {}}), "spec.rabbitmq.tls: goes with a URL"),
        (json!({"url": "http://mq", "tls": {}}), "spec.rabbitmq.tls: goes with a URL"),
        (
            json!({"url": "http://mq", "usernameSecretRef": secret}),
            "spec.rabbitmq: usernameSecretRef and passwordSecretRef go together",
        ),
        (
            json!({"url": "amqps://mq", "tls": {"certSecretRef": secret}}),
            "spec.rabbitmq.tls: certSecretRef and keySecretRef go together",
        ),
    ] {
        let said = unanswerable("rabbitmq", &todo, &connection);
        assert!(said.starts_with(&format!("Connection shop/events {path}")), "{said}");
    }
    let long = "ü".repeat(128);
    for (source, path) in [
        (json!({"queue": ""}), "queue"),
        (json!({"queue": long}), "queue"),
        (json!({"queue": "todo", "vhost": ""}), "vhost"),
        (json!({"queue": "todo", "vhost": long}), "vhost"),
    ] {
        let faults = meaning("rabbitmq", &source, &json!({"url": "http://mq"})).unwrap_err();
        let path = format!("spec.stages[0].sources[0].rabbitmq.{path}: must have 1 to 255 bytes");
        assert_eq!(faults, [path]);
    }
}

#[test]
fn a_nats_is_logged_in_to_in_one_way() {
    let source = json!({"stream": "orders", "consumer": "enrich"});
    let secret = json!({"name": "s", "key": "k"});
    for (fields, login, usages) in [
        (vec![], nats::Login::Nobody, vec![]),
        (
            vec!["usernameSecretRef", "passwordSecretRef"],
            nats::Login::Password,
            vec!["username", "password"],
        ),
        (vec!["tokenSecretRef"], nats::Login::Token, vec!["token"]),
        (vec!["credentialsSecretRef"], nats::Login::Credentials, vec!["creds"]),
        (vec!["nkeySecretRef"], nats::Login::Nkey, vec!["nkey"]),
    ] {
        let mut connection = json!({"url": "nats://nats:4222/"});
        for field in fields {
            connection[field] = secret.clone();
        }
        let question = question("nats", &source, &connection);
        let address = nats::Address {
            connection: "shop/events".to_owned(),
            url: "nats://nats:4222".to_owned(),
            tls: false,
            login,
        };
        assert_eq!(question.address, Address::Nats(address));
        let wanted: Vec<_> = question.secrets.iter().map(|secret| secret.usage).collect();
        assert_eq!(wanted, usages);
        assert_eq!(question.poll_interval, Duration::from_secs(2));
    }
    for connection in [json!({"url": "tls://nats"}), json!({"url": "nats://nats", "tls": {}})] {
        let Address::Nats(address) = question("nats", &source, &connection).address else {
            panic!("no NATS")
        };
        assert!(address.tls, "{connection}");
    }
}

#[test]
fn what_no_nats_understands_is_refused_by_its_path() {
    let source = json!({"stream": "orders", "consumer": "enrich"});
    let secret = json!({"name": "s", "key": "k"});
    for (connection, path) in [
        (
            json!({"url": "http://nats"}),
            "spec.nats.url: must be a URL that begins with nats:// or tls://",
        ),
        (
            json!({"url": "nats://nats", "passwordSecretRef": secret}),
            "spec.nats: usernameSecretRef and passwordSecretRef go together",
        ),
        (
            json!({"url": "nats://nats", "tokenSecretRef": secret, "nkeySecretRef": secret}),
            "spec.nats: at most one of usernameSecretRef, tokenSecretRef, credentialsSecretRef, nkeySecretRef",
        ),
    ] {
        let said = unanswerable("nats", &source, &connection);
        assert!(said.starts_with(&format!("Connection shop/events {path}")), "{said}");
    }
    for odd in ["", "a.b", "a b", "*", ">", "a/b", "a\\b", "a\n"] {
        for (source, field) in [
            (json!({"stream": odd, "consumer": "c"}), "stream"),
            (json!({"stream": "s", "consumer": odd}), "consumer"),
        ] {
            let faults = meaning("nats", &source, &json!({"url": "nats://nats"})).unwrap_err();
            let path =
                format!("spec.stages[0].sources[0].nats.{field}: must be a name of JetStream");
            assert!(faults.len() == 1 && faults[0].starts_with(&path), "{odd:?}: {faults:?}");
        }
    }
}

#[test]
fn a_path_of_http_leads_down_and_its_json_path_is_one() {
    let web = json!({"url": "http://x/base"});
    let source = |path: &str, json_path: &str| json!({"path": path, "jsonPath": json_path});
    for path in ["../other", "a/..", "a/./b", "%2e%2E/x", "a/.%2e/b", "..\\x"] {
        let faults = meaning("http", &source(path, "$.n"), &web).unwrap_err();
        assert!(faults[0].contains("without a segment . or .."), "{path}: {faults:?}");
    }
    for path in ["a/..b", "a?x=/../y", "a...b/c"] {
        assert!(meaning("http", &source(path, "$.n"), &web).is_ok(), "{path}");
    }
    let deep = format!("$[?{}", "length(".repeat(100));
    for (path, why) in [("$.", "is no JSON path (RFC 9535)"), (&deep, "deeper than 8")] {
        let faults = meaning("http", &source("a", path), &web).unwrap_err();
        assert!(faults[0].contains(why), "{path}: {faults:?}");
    }
}
