//! Prometheus beyond the contract: what is empty, partial or old, equal queries, slow queries, many questions on few connections.

use std::sync::Arc;
use std::time::Duration;

use penstock::decide::{Observation, Value};
use penstock::observe::prometheus::{Ask, Gives, OnEmpty};
use penstock::observe::{Address, Ask as AnyAsk, Credentials, Question, Unit};

use super::contract::Behind;
use super::rig::*;

fn question(server: &Behind, name: &str, query: &str, on_empty: OnEmpty, unit: Unit) -> Question {
    Question {
        id: id(name),
        poll_interval: POLL,
        address: Address::Prometheus(server.address()),
        credentials: Arc::new(Credentials::default()),
        ask: AnyAsk::Prometheus(Ask { query: query.to_owned(), on_empty, gives: Gives::One(unit) }),
    }
}

fn put(server: &Behind, queue: &str, depth: i32) {
    server.web.desk().queues.insert(queue.to_owned(), depth);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_answer_is_zero_only_where_the_owner_says_so() {
    let server = Behind::start().await;
    let mut watcher = Watcher::asking(vec![
        question(&server, "held", "sum(queue_none)", OnEmpty::Error, Unit::Gauge),
        question(&server, "zero", "sum(queue_none)", OnEmpty::Zero, Unit::Gauge),
        question(&server, "none", "sum(queue_none)", OnEmpty::Zero, Unit::Backlog),
    ]);
    watcher.until_amount("zero", 0.0).await;
    assert_eq!(queue(&watcher.latest("none").unwrap()).backlog, 0);
    assert_eq!(label(&watcher.latest("held").unwrap()), "EmptyAnswer");
    // All three were one query.
    assert_eq!(server.web.desk().requests, 1);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_metric_whose_sample_is_old_is_stale_and_not_zero() {
    let server = Behind::start().await;
    put(&server, "a", 7);
    server.web.desk().sample_age = 30.0;
    let mut watcher =
        Watcher::asking(vec![question(&server, "a", "queue_a", OnEmpty::Zero, Unit::Gauge)]);
    watcher.until_amount("a", 7.0).await;
    server.web.desk().sample_age = 121.0;
    let stale = watcher.until("a", |seen| !seen.is_fresh()).await;
    assert_eq!(label(&stale), "StaleSample");
    assert_eq!(amount(&stale), Some(7.0));
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_a_warning_is_partial_and_may_only_raise() {
    let server = Behind::start().await;
    put(&server, "a", 7);
    let mut watcher =
        Watcher::asking(vec![question(&server, "a", "sum(queue_a)", OnEmpty::Error, Unit::Gauge)]);
    watcher.until_amount("a", 7.0).await;
    let said = |warning: &str| {
        format!(
            r#"{{"status": "success", "warnings": ["{warning}"],
                "data": {{"resultType": "scalar", "result": [1, "3"]}}}}"#
        )
    };
    server.web.desk().nonsense = Some((200, said("no store matched for shard 2")));
    let seen = watcher.until("a", |seen| !seen.is_fresh()).await;
    let Observation::Partial(reading, lost) = seen else { panic!("{seen:?}") };
    assert_eq!(reading.value, Value::Gauge(3.0));
    assert_eq!(&*lost.error, "no store matched for shard 2");
    // A comment on the query itself is no loss.
    server.web.desk().nonsense = Some((200, said("PromQL info: metric might not be a counter")));
    watcher.until_amount("a", 3.0).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_empty_since_a_store_is_away_is_no_sure_zero() {
    let server = Behind::start().await;
    put(&server, "a", 7);
    let mut watcher =
        Watcher::asking(vec![question(&server, "a", "sum(queue_a)", OnEmpty::Zero, Unit::Gauge)]);
    for (more, result, wished, why) in [
        (r#""warnings": ["no store matched"]"#, "", 0.0, "no store matched"),
        // As VictoriaMetrics has it.
        (r#""isPartial": true"#, "", 0.0, "its answer is partial"),
        (
            r#""isPartial": true"#,
            r#"{"metric": {}, "value": [1, "3"]}"#,
            3.0,
            "its answer is partial",
        ),
    ] {
        server.web.desk().nonsense = None;
        watcher.until_amount("a", 7.0).await;
        let said = format!(
            r#"{{"status": "success", {more},
                "data": {{"resultType": "vector", "result": [{result}]}}}}"#
        );
        server.web.desk().nonsense = Some((200, said));
        let seen = watcher.until("a", |seen| !seen.is_fresh()).await;
        let Observation::Partial(reading, lost) = seen else { panic!("{more}: {seen:?}") };
        assert_eq!(reading.value, Value::Gauge(wished));
        assert_eq!(&*lost.error, why);
    }
    // Nothing is lost: nothing waits.
    server.web.desk().queues.clear();
    server.web.desk().nonsense = None;
    watcher.until_amount("a", 0.0).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_metric_whose_age_nobody_can_tell_does_not_count_as_new() {
    let server = Behind::start().await;
    put(&server, "a", 7);
    let mut watcher =
        Watcher::asking(vec![question(&server, "a", "queue_a", OnEmpty::Zero, Unit::Gauge)]);
    watcher.until_amount("a", 7.0).await;
    put(&server, "a", 3);
    server.web.desk().hangs = Some("timestamp".to_owned());
    let seen = watcher.until("a", |seen| !seen.is_fresh()).await;
    let Observation::Partial(reading, lost) = seen else { panic!("{seen:?}") };
    assert_eq!(reading.value, Value::Gauge(3.0));
    assert!(lost.error.starts_with("the age of its sample is unknown: "), "{}", lost.error);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_refused_or_gives_many_series_is_told_in_the_servers_words() {
    let server = Behind::start().await;
    put(&server, "a", 7);
    let mut watcher =
        Watcher::asking(vec![question(&server, "a", "sum(queue_a)", OnEmpty::Error, Unit::Gauge)]);
    watcher.until_amount("a", 7.0).await;
    let said =
        r#"{"status": "error", "errorType": "bad_data", "error": "1:5: parse error: unclosed"}"#;
    server.web.desk().nonsense = Some((400, said.to_owned()));
    let seen = watcher.until("a", |seen| label(seen) == "QueryRefused").await;
    let Observation::Stale(_, missing) = seen else { panic!("{seen:?}") };
    assert!(missing.message.contains("1:5: parse error: unclosed"), "{}", missing.message);
    assert!(missing.is_lasting);
    let one = r#"{"metric": {}, "value": [1, "1"]}"#;
    let many = format!(
        r#"{{"status": "success", "data": {{"resultType": "vector", "result": [{one}, {one}, {one}]}}}}"#
    );
    server.web.desk().nonsense = Some((200, many));
    let seen = watcher.until("a", |seen| label(seen) == "ManyValues").await;
    let Observation::Stale(_, missing) = seen else { panic!("{seen:?}") };
    assert!(missing.message.contains("with 3 values; hint: one is wanted"), "{}", missing.message);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_hangs_delays_no_other() {
    let server = Behind::start().await;
    put(&server, "good", 1);
    let slow = ["a", "b", "c", "d", "e"];
    server.web.desk().hangs = Some("slow_".to_owned());
    let mut questions: Vec<_> = slow
        .iter()
        .map(|name| {
            question(&server, name, &format!("sum(slow_{name})"), OnEmpty::Error, Unit::Gauge)
        })
        .collect();
    questions.push(question(&server, "z", "sum(queue_good)", OnEmpty::Error, Unit::Gauge));
    let mut watcher = Watcher::asking(questions);
    watcher.until("a", |seen| label(seen) == "Timeout").await;
    // From now on the slow ones are asked last.
    watcher.until_amount("z", 1.0).await;
    put(&server, "good", 2);
    watcher.until_amount("z", 2.0).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_visit_had_no_time_for_is_asked_first_the_next_time() {
    let server = Behind::start().await;
    // Four at a time: a visit of 3 s has time for twelve.
    server.web.desk().takes = Duration::from_millis(800);
    let names: Vec<String> = (0..24).map(|number| format!("q{number:02}")).collect();
    let asks = names.iter().map(|name| {
        put(&server, name, 1);
        question(&server, name, &format!("sum(queue_{name})"), OnEmpty::Error, Unit::Gauge)
    });
    let mut watcher = Watcher::asking(asks.collect());
    watcher.visited().await;
    let late: Vec<_> =
        names.iter().filter(|name| label(&watcher.latest(name).unwrap()) == "Timeout").collect();
    assert!((4..24).contains(&late.len()), "{late:?} are late");
    assert!(!late.contains(&&names[0]), "the first by name had no time: {late:?}");
    server.web.desk().asked.clear();
    watcher.visited().await;
    let asked = server.web.desk().asked.clone();
    for text in asked.iter().take(4) {
        assert!(late.iter().any(|name| text.contains(name.as_str())), "{text} is not of {late:?}");
    }
    for name in names.iter().rev() {
        watcher.until_amount(name, 1.0).await;
    }
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_questions_are_answered_in_one_poll_on_few_connections() {
    let server = Behind::start().await;
    let mut questions = Vec::new();
    for number in 0..400 {
        put(&server, &format!("q{number}"), number);
        let query = format!("sum(queue_q{number})");
        let name = format!("q{number}");
        let mut question = question(&server, &name, &query, OnEmpty::Error, Unit::Gauge);
        question.poll_interval = Duration::from_mins(10);
        questions.push(question);
    }
    let mut watcher = Watcher::asking(questions);
    assert_eq!(watcher.visited().await.len(), 400);
    for number in 0..400 {
        let seen = watcher.latest(&format!("q{number}")).unwrap();
        assert_eq!(amount(&seen), Some(f64::from(number)), "{seen:?}");
    }
    assert!(server.line.calls() <= 4, "{} connections", server.line.calls());
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_are_called_by_node_and_what_is_no_price_is_not_one() {
    let server = Behind::start().await;
    let prices = |name: &str| Question {
        ask: AnyAsk::Prometheus(Ask {
            query: "max by (exported_node, node) (node_total_hourly_cost)".to_owned(),
            on_empty: OnEmpty::Error,
            gives: Gives::Prices(&["exported_node", "node"]),
        }),
        ..question(&server, name, "", OnEmpty::Error, Unit::Gauge)
    };
    let says = |series: &[(&str, &str)]| {
        let one = |(labels, value): &(&str, &str)| {
            format!(r#"{{"metric": {{{labels}}}, "value": [1, "{value}"]}}"#)
        };
        let all: Vec<String> = series.iter().map(one).collect();
        let data = format!(r#"{{"resultType": "vector", "result": [{}]}}"#, all.join(", "));
        Some((200, format!(r#"{{"status": "success", "data": {data}}}"#)))
    };
    server.web.desk().nonsense = says(&[
        (r#""node": "a""#, "0.096"),
        // The scrape put a label of its own first.
        (r#""node": "control", "exported_node": "b""#, "0.192"),
        (r#""node": "c""#, "0"),
        (r#""node": "d""#, "NaN"),
        (r#""node": "e""#, "-1"),
        ("", "7"),
    ]);
    // The same text may be asked for one number, too: that one is told that there are many.
    let one = "max by (exported_node, node) (node_total_hourly_cost)";
    let mut watcher = Watcher::asking(vec![
        prices("prices"),
        question(&server, "one", one, OnEmpty::Error, Unit::Gauge),
    ]);
    let seen = watcher.until("prices", Observation::is_fresh).await;
    let Value::Each(known) = &seen.reading().unwrap().value else { panic!("{seen:?}") };
    let known: Vec<_> = known.iter().map(|(node, price)| (&**node, *price)).collect();
    assert_eq!(known, [("a", 0.096), ("b", 0.192)]);
    let many = watcher.until("one", |_| true).await;
    assert_eq!(label(&many), "ManyValues");
    // Nothing that is a price is not an answer, and no zero.
    server.web.desk().nonsense = says(&[(r#""node": "c""#, "0")]);
    let none = watcher.until("prices", |seen| !seen.is_fresh()).await;
    assert_eq!(label(&none), "EmptyAnswer");
    watcher.observe.shutdown().await;
}
