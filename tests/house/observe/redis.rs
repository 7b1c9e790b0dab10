//! A Redis of a few lines that keeps the contract; and what is Redis' own: other types than lists, streams and their groups, deposed
//! masters, sentinels.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use penstock::decide::Observation;
use penstock::observe::redis::{self, Mode};
use penstock::observe::{Address, Ask, Credentials, Question};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::contract::{Server, tale};
use super::line::Line;
use super::logins::{keys, mutual, signed};
use super::rig::*;

/// What the server knows and does.
#[derive(Default)]
struct Desk {
    /// Added, read by the group `g`, pending.
    streams: BTreeMap<String, (i64, i64, i64)>,
    /// Of each stream, what was trimmed before the group came to it.
    trimmed: i64,
    /// Type and size of other keys.
    keys: BTreeMap<String, (&'static str, i64)>,
    /// Redis cannot tell the lag.
    is_lag_unknown: bool,
    role: Option<&'static str>,
    /// What it says to every question about a key instead.
    nonsense: Option<String>,
    /// It hears and says nothing.
    is_mute: bool,
    /// The password it wants.
    password: Option<String>,
    /// Where the master is, for a sentinel.
    master: Option<u16>,
    requests: usize,
}

struct Redis {
    line: Line,
    desk: Arc<Mutex<Desk>>,
    _tasks: JoinSet<()>,
}

impl Redis {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap()
    }

    fn place(&self) -> redis::Address {
        redis::Address {
            connection: "shop/redis".to_owned(),
            addresses: vec![self.line.address.to_string()],
            mode: Mode::Alone,
            database: 0,
            tls: false,
        }
    }

    fn question(&self, name: &str, ask: redis::Ask) -> Question {
        at(self.place(), name, ask)
    }
}

fn at(place: redis::Address, name: &str, ask: redis::Ask) -> Question {
    Question {
        id: id(name),
        poll_interval: POLL,
        address: Address::Redis(place),
        credentials: Arc::new(Credentials::default()),
        ask: Ask::Redis(ask),
    }
}

fn group(stream: &str) -> redis::Ask {
    redis::Ask::Group { stream: stream.to_owned(), group: "g".to_owned() }
}

fn list(key: &str) -> redis::Ask {
    redis::Ask::List(key.to_owned())
}

/// Reads one command: an array of bulk strings.
async fn command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    async fn header(stream: &mut BufReader<TcpStream>) -> Option<usize> {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        line.trim().get(1..)?.parse().ok()
    }
    let mut words = Vec::new();
    for _ in 0..header(stream).await? {
        let mut word = vec![0; header(stream).await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8(word).ok()?);
    }
    Some(words)
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn array(parts: &[String]) -> String {
    format!("*{}\r\n{}", parts.len(), parts.concat())
}

fn answer(desk: &mut Desk, words: &[String], is_in: &mut bool) -> String {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let is_secret = desk.password.is_some();
    match word(0) {
        "CLIENT" => return "+OK\r\n".to_owned(),
        "AUTH" => {
            *is_in = words.last() == desk.password.as_ref();
            let refused = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
            return if *is_in { "+OK\r\n" } else { refused }.to_owned();
        }
        _ if is_secret && !*is_in => return "-NOAUTH Authentication required.\r\n".to_owned(),
        "SENTINEL" => {
            let place = ["ip", "127.0.0.1", "port", &desk.master.unwrap().to_string(), "name", "m"];
            let flags = ["flags", "master", "num-other-sentinels", "0"];
            let fields: Vec<String> = place.iter().chain(&flags).map(|it| bulk(it)).collect();
            return array(&[array(&fields)]);
        }
        "ROLE" => {
            return match desk.role {
                _ if desk.master.is_some() => array(&[bulk("sentinel"), array(&[bulk("m")])]),
                Some("slave") => array(&[
                    bulk("slave"),
                    bulk("m"),
                    ":1\r\n".to_owned(),
                    bulk("connect"),
                    ":-1\r\n".to_owned(),
                ]),
                _ => array(&[bulk("master"), ":1\r\n".to_owned(), array(&[])]),
            };
        }
        _ => {}
    }
    desk.requests += 1;
    if let Some(nonsense) = &desk.nonsense {
        return nonsense.clone();
    }
    let number = |number: i64| format!(":{number}\r\n");
    let sizes = ["LLEN", "SCARD", "ZCARD", "HLEN"];
    let kind_of = ["list", "set", "zset", "hash"];
    match word(0) {
        "TYPE" => format!("+{}\r\n", desk.keys.get(word(1)).map_or("none", |it| it.0)),
        "XLEN" => number(desk.streams.get(word(1)).map_or(0, |it| it.0 - desk.trimmed)),
        "XINFO" => {
            let Some((added, read, pending)) = desk.streams.get(word(2)).copied() else {
                return "-ERR no such key\r\n".to_owned();
            };
            let last = format!("{added}-0");
            if word(1) == "STREAM" {
                return array(&[
                    bulk("length"),
                    number(added - desk.trimmed),
                    bulk("last-generated-id"),
                    bulk(&last),
                    bulk("entries-added"),
                    number(added),
                ]);
            }
            let unknown = "$-1\r\n".to_owned();
            let (read_by, lag) = if desk.is_lag_unknown {
                (unknown.clone(), unknown)
            } else {
                (number(read), number(added - read))
            };
            let of = |name: &str, pending: i64| {
                array(&[
                    bulk("name"),
                    bulk(name),
                    bulk("pending"),
                    number(pending),
                    bulk("last-delivered-id"),
                    bulk(&format!("{}-0", read + desk.trimmed)),
                    bulk("entries-read"),
                    read_by.clone(),
                    bulk("lag"),
                    lag.clone(),
                ])
            };
            array(&[of("other", 99), of("g", pending)])
        }
        command => {
            let Some(at) = sizes.iter().position(|it| *it == command) else {
                return format!("-ERR unknown command '{command}'\r\n");
            };
            match desk.keys.get(word(1)) {
                Some((kind, size)) if *kind == kind_of[at] => number(*size),
                Some(_) => "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
                    .to_owned(),
                None => number(0),
            }
        }
    }
}

async fn serve(stream: TcpStream, desk: Arc<Mutex<Desk>>) {
    let mut stream = BufReader::new(stream);
    let mut is_in = false;
    while let Some(words) = command(&mut stream).await {
        let said = answer(&mut desk.lock().unwrap(), &words, &mut is_in);
        if desk.lock().unwrap().is_mute {
            continue;
        }
        if stream.write_all(said.as_bytes()).await.is_err() {
            return;
        }
    }
}

impl Server for Redis {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk: Arc<Mutex<Desk>> = Arc::default();
        let shared = Arc::clone(&desk);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                served.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { line: Line::to(address, None).await, desk, _tasks: tasks }
    }

    fn address(&self) -> Address {
        Address::Redis(self.place())
    }

    fn ask(&self, queue: &str) -> Ask {
        Ask::Redis(group(queue))
    }

    fn fill(&self, queue: &str, backlog: i32) {
        let mut desk = self.desk();
        desk.streams.insert(queue.to_owned(), (100 + i64::from(backlog), 101, 1));
        desk.nonsense = None;
    }

    fn cut(&self) {
        self.line.cut();
    }

    fn mend(&self) {
        self.line.mend();
    }

    fn traffic(&self) -> (usize, usize) {
        (self.line.calls(), self.desk().requests)
    }

    fn rave(&self, way: usize) -> bool {
        let negative =
            array(&[array(&[bulk("name"), bulk("g"), bulk("pending"), ":-7\r\n".to_owned()])]);
        let halves = array(&[array(&[bulk("name"), bulk("g"), bulk("pending")])]);
        let ways = [
            "+OK\r\n",
            ":-5\r\n",
            ":0\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "$0\r\n\r\n",
            "*1\r\n*0\r\n",
            "-ERR no\r\n",
            "-LOADING Redis is loading the dataset in memory\r\n",
            "-NOPERM this user has no permissions\r\n",
            "-NOAUTH Authentication required.\r\n",
            "-MOVED 1234 127.0.0.1:1\r\n",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
            "-CLUSTERDOWN The cluster is down\r\n",
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "*99999999999999\r\n",
            &negative,
            &halves,
        ];
        self.desk().nonsense = ways.get(way).map(|way| (*way).to_owned());
        way < ways.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract() {
    tale::<Redis>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_size_is_counted_and_what_is_not_there_is_empty() {
    let server = Redis::start().await;
    for (key, kind, size) in
        [("l", "list", 3), ("s", "set", 4), ("z", "zset", 5), ("h", "hash", 6), ("t", "string", 7)]
    {
        server.desk().keys.insert(key.to_owned(), (kind, size));
    }
    let keys = ["l", "s", "z", "h", "t", "none"];
    let mut watcher =
        Watcher::asking(keys.iter().map(|key| server.question(key, list(key))).collect());
    for (key, size) in [("l", 3.0), ("s", 4.0), ("z", 5.0), ("h", 6.0), ("none", 0.0)] {
        watcher.until_amount(key, size).await;
    }
    assert_eq!(label(&watcher.latest("t").unwrap()), "QueryRefused");
    // A key that became something else is found out anew.
    server.desk().keys.insert("s".to_owned(), ("list", 8));
    watcher.until_amount("s", 8.0).await;
    assert_eq!(server.line.calls(), 1, "one connection for all");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_what_it_has_not_read_or_not_acknowledged_and_both_are_counted() {
    let server = Redis::start().await;
    server.desk().streams.insert("orders".to_owned(), (1000, 700, 20));
    let other = redis::Ask::Group { stream: "orders".to_owned(), group: "x".to_owned() };
    let mut watcher = Watcher::asking(vec![
        server.question("g", group("orders")),
        server.question("all", redis::Ask::Stream("orders".to_owned())),
        server.question("x", other),
    ]);
    let seen = watcher.until_amount("g", 320.0).await;
    assert_eq!((queue(&seen).arrived, queue(&seen).served), (Some(1000), Some(680)));
    watcher.until_amount("all", 1000.0).await;
    let unknown = watcher.latest("x").unwrap();
    let Observation::Failed(missing) = unknown else { panic!("{unknown:?}") };
    assert!(missing.message.contains("has no group x of stream orders"), "{}", missing.message);
    // A lag that Redis cannot tell is at least what is pending, and never lowers.
    server.desk().is_lag_unknown = true;
    let seen = watcher.until("g", |seen| matches!(seen, Observation::Partial(..))).await;
    assert_eq!(queue(&seen).backlog, 21);
    // Unless the group stands at the end.
    server.desk().streams.insert("orders".to_owned(), (1000, 1000, 4));
    watcher.until_amount("g", 4.0).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_trimmed_before_a_group_came_to_it_does_not_wait() {
    let server = Redis::start().await;
    // Of a thousand the first 900 went unread: Redis' lag is 1000, and 900 when all is read.
    server.desk().trimmed = 900;
    server.desk().streams.insert("orders".to_owned(), (1000, 0, 0));
    let mut watcher = Watcher::asking(vec![
        server.question("g", group("orders")),
        server.question("all", redis::Ask::Stream("orders".to_owned())),
    ]);
    let seen = watcher.until_amount("g", 100.0).await;
    assert!(seen.is_fresh(), "{seen:?}");
    assert_eq!((queue(&seen).arrived, queue(&seen).served), (None, None));
    watcher.until_amount("all", 100.0).await;
    server.desk().streams.insert("orders".to_owned(), (1000, 100, 4));
    let seen = watcher.until_amount("g", 4.0).await;
    assert!(seen.is_fresh(), "{seen:?}");
    // A stream that is empty is there; one that is not is told.
    server.desk().trimmed = 1000;
    watcher.until_amount("all", 0.0).await;
    server.desk().streams.clear();
    watcher.until("all", |seen| label(seen) == "NotFound").await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_never_shown() {
    let server = Redis::start().await;
    server.desk().password = Some("right".to_owned());
    server.desk().keys.insert("l".to_owned(), ("list", 3));
    let with = |password: &str| {
        let mut keys = Credentials::default();
        keys.put("username", b"penstock".to_vec());
        keys.put("password", password.as_bytes().to_vec());
        Question { credentials: Arc::new(keys), ..server.question("l", list("l")) }
    };
    let mut watcher = Watcher::asking(vec![with("wrong-0123")]);
    let seen = watcher.until("l", |seen| label(seen) == "AuthenticationFailed").await;
    let Observation::Failed(missing) = seen else { panic!("{seen:?}") };
    assert!(missing.is_lasting && !missing.message.contains("wrong-0123"), "{}", missing.message);
    watcher.observe.ask(vec![with("right")]);
    watcher.until_amount("l", 3.0).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_say_where_the_master_is_and_one_that_was_deposed_is_left() {
    let (first, second, sentinel) =
        (Redis::start().await, Redis::start().await, Redis::start().await);
    first.desk().keys.insert("l".to_owned(), ("list", 3));
    second.desk().keys.insert("l".to_owned(), ("list", 9));
    sentinel.desk().master = Some(first.line.address.port());
    let mut place = sentinel.place();
    place.mode = Mode::Sentinel("m".to_owned());
    let mut watcher = Watcher::asking(vec![at(place, "l", list("l"))]);
    watcher.until_amount("l", 3.0).await;
    // The old master says what was once true; nobody believes it.
    first.desk().role = Some("slave");
    let seen = watcher.until("l", |seen| !seen.is_fresh()).await;
    assert_eq!(label(&seen), "Unreachable");
    sentinel.desk().master = Some(second.line.address.port());
    watcher.until_amount("l", 9.0).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_questions_are_answered_in_one_visit_over_one_connection() {
    let server = Redis::start().await;
    let names: Vec<String> = (0..1000).map(|number| format!("q{number}")).collect();
    for (size, name) in (0..).zip(&names) {
        server.desk().keys.insert(name.clone(), ("list", size));
    }
    let questions = names.iter().map(|name| Question {
        poll_interval: std::time::Duration::from_secs(2),
        ..server.question(name, list(name))
    });
    let mut watcher = Watcher::asking(questions.collect());
    assert_eq!(watcher.visited().await.len(), 1000);
    for (size, name) in (0..).zip(&names) {
        let seen = watcher.latest(name).unwrap();
        assert!(seen.is_fresh() && queue(&seen).backlog == size, "{name}: {seen:?}");
    }
    assert_eq!(server.line.calls(), 1);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_has_its_word() {
    // What it says to a question about a list, and what that is called; the last is whether someone must mend it.
    for (said, word, is_lasting) in [
        ("-NOAUTH Authentication required.\r\n", "AuthenticationFailed", true),
        (
            "-NOPERM this user has no permissions to access one of the keys\r\n",
            "AccessDenied",
            true,
        ),
        ("-LOADING Redis is loading the dataset in memory\r\n", "SourceFailed", false),
        ("-CLUSTERDOWN The cluster is down\r\n", "SourceFailed", false),
        ("-MOVED 1234 127.0.0.1:1\r\n", "SourceFailed", false),
        ("-ERR unknown command\r\n", "SourceFailed", false),
        (":-5\r\n", "BadValue", false),
        ("$-1\r\n", "BadValue", false),
        ("$1\r\n3\r\n", "BadValue", false),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "Unreachable", false),
    ] {
        let server = Redis::start().await;
        server.desk().nonsense = Some(said.to_owned());
        let mut watcher = Watcher::asking(vec![server.question("l", list("l"))]);
        let seen = watcher.until("l", |_| true).await;
        let Observation::Failed(missing) = seen else { panic!("{said}: {seen:?}") };
        assert_eq!(
            (&*missing.label, missing.is_lasting),
            (word, is_lasting),
            "{said}: {}",
            missing.message
        );
        watcher.observe.shutdown().await;
    }
    // Nobody is there; somebody is there and mute; a stream that is not there.
    let server = Redis::start().await;
    let mut nowhere = server.place();
    nowhere.addresses = vec!["127.0.0.1:1".to_owned()];
    let mut watcher = Watcher::asking(vec![at(nowhere, "l", list("l"))]);
    watcher.until("l", |seen| label(seen) == "Unreachable").await;
    watcher.observe.shutdown().await;
    let mut watcher = Watcher::asking(vec![server.question("g", group("none"))]);
    watcher.until("g", |seen| label(seen) == "NotFound").await;
    server.desk().is_mute = true;
    watcher.until("g", |seen| label(seen) == "Timeout").await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_mutual_and_a_strangers_authority_is_not_trusted() {
    let server = Redis::start().await;
    server.desk().keys.insert("l".to_owned(), ("list", 3));
    let (ca, cert, key) = signed();
    let line = Line::to(server.line.address, Some(mutual(&ca, &cert, &key))).await;
    let place = |host: &str| redis::Address {
        addresses: vec![format!("{host}:{}", line.address.port())],
        tls: true,
        ..server.place()
    };
    let asked =
        |host: &str, credentials| Question { credentials, ..at(place(host), "l", list("l")) };
    let key = key.serialize_pem();
    let good = keys(&[("ca", &ca), ("cert", &cert), ("key", &key)]);
    let mut watcher = Watcher::asking(vec![asked("localhost", Arc::clone(&good))]);
    watcher.until_amount("l", 3.0).await;
    watcher.observe.shutdown().await;
    let (other, ..) = signed();
    for (host, credentials, wished) in [
        ("localhost", keys(&[("ca", &other), ("cert", &cert), ("key", &key)]), "TlsFailed"),
        // The certificate is for another name.
        ("127.0.0.1", good, "TlsFailed"),
        ("localhost", keys(&[("ca", &ca), ("cert", &cert)]), "CredentialsInvalid"),
        ("localhost", keys(&[("ca", "no PEM")]), "CredentialsInvalid"),
    ] {
        let mut watcher = Watcher::asking(vec![asked(host, credentials)]);
        let seen = watcher.until("l", |_| true).await;
        assert_eq!(label(&seen), wished, "{host}: {seen:?}");
        watcher.observe.shutdown().await;
    }
    // The server speaks no TLS.
    let mut plain = server.place();
    plain.tls = true;
    let ca = keys(&[("ca", &ca)]);
    let mut watcher =
        Watcher::asking(vec![Question { credentials: ca, ..at(plain, "l", list("l")) }]);
    let seen = watcher.until("l", |_| true).await;
    // It hangs up, as one that is going down would.
    assert!(["TlsFailed", "Unreachable"].contains(&label(&seen)), "{seen:?}");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_password_takes_over_when_it_is_good_and_not_before() {
    let server = Redis::start().await;
    server.desk().password = Some("old".to_owned());
    server.desk().keys.insert("l".to_owned(), ("list", 3));
    let with = |password: &str| Question {
        credentials: keys(&[("username", "penstock"), ("password", password)]),
        ..server.question("l", list("l"))
    };
    let mut watcher = Watcher::asking(vec![with("old")]);
    watcher.until_amount("l", 3.0).await;
    watcher.observe.ask(vec![with("new")]);
    assert!(watcher.visits_within(POLL * 3).await > 0);
    assert!(watcher.latest("l").unwrap().is_fresh());
    assert_eq!(&*watcher.observe.refusal(&id("l")).unwrap().label, "AuthenticationFailed");
    server.desk().password = Some("new".to_owned());
    server.desk().keys.insert("l".to_owned(), ("list", 5));
    watcher.until_amount("l", 5.0).await;
    watcher.until("l", |_| true).await;
    watcher.observe.shutdown().await;
}
