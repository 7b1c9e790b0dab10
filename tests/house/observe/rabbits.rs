//! Two servers of a few lines in the place of RabbitMQ: one speaks the management API, one AMQP 0-9-1. They know some queues, count who asks, and talk nonsense
//! when told to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use penstock::observe::rabbitmq::{self, Ask};
use penstock::observe::web::{self, Login};
use penstock::observe::{Address, Ask as AnyAsk};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::contract::{Server, web_nonsense};
use super::line::Line;

/// What the management API knows and does.
#[derive(Default)]
pub(super) struct Desk {
    /// Queues by virtual host and name, as the API shows them.
    pub(super) queues: BTreeMap<(String, String), Json>,
    /// What it says instead.
    pub(super) nonsense: Option<(u16, String)>,
    /// The login it wants; none for anybody.
    pub(super) login: Option<String>,
    /// Never answers about these virtual hosts.
    pub(super) hangs: BTreeSet<String>,
    pub(super) requests: usize,
}

/// A RabbitMQ by its management API, behind a line.
pub(super) struct Management {
    pub(super) line: Line,
    desk: Arc<Mutex<Desk>>,
    _tasks: JoinSet<()>,
}

impl Management {
    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap()
    }

    /// Puts a queue, as the API shows it.
    pub(super) fn put(&self, vhost: &str, queue: &str, shown: Json) {
        self.desk().queues.insert((vhost.to_owned(), queue.to_owned()), shown);
    }

    pub(super) fn web(&self) -> web::Address {
        web::Address {
            connection: "shop/mq".to_owned(),
            url: format!("http://{}", self.line.address),
            headers: Vec::new(),
            login: Login::Nobody,
        }
    }
}

/// A queue as the API shows it.
pub(super) fn shown(ready: impl Into<Json>, unacked: u64) -> Json {
    json!({
        "messages_ready": ready.into(), "messages_unacknowledged": unacked, "state": "running", "type": "classic",
        "message_stats": {"publish": 100, "ack": 40},
    })
}

/// The names that a pattern `^(a|b\\.c)$` lets through, in lower case.
fn alternatives(pattern: &str) -> BTreeSet<String> {
    let inside = pattern.strip_prefix("^(").and_then(|rest| rest.strip_suffix(")$")).unwrap();
    let mut names = vec![String::new()];
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '|' => names.push(String::new()),
            '\\' => names.last_mut().unwrap().extend(letters.next()),
            letter => {
                assert!(!"^$.*+?()[]{}".contains(letter), "{letter} in {pattern}");
                names.last_mut().unwrap().push(letter);
            }
        }
    }
    names.iter().map(|name| name.to_lowercase()).collect()
}

async fn queues(
    State(desk): State<Arc<Mutex<Desk>>>,
    vhost: Option<Path<String>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let hangs = {
        let mut desk = desk.lock().unwrap();
        desk.requests += 1;
        vhost.as_ref().is_some_and(|Path(vhost)| desk.hangs.contains(vhost))
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    let desk = desk.lock().unwrap();
    let login = headers.get(header::AUTHORIZATION).map(|it| it.to_str().unwrap().to_owned());
    if desk.login.is_some() && desk.login != login {
        return (StatusCode::UNAUTHORIZED, "not_authorised").into_response();
    }
    if let Some((status, said)) = &desk.nonsense {
        return (StatusCode::from_u16(*status).unwrap(), said.clone()).into_response();
    }
    let Some(Path(vhost)) = vhost else { return "{}".into_response() };
    if !desk.queues.keys().any(|(known, _)| *known == vhost) {
        return (StatusCode::NOT_FOUND, "no such virtual host").into_response();
    }
    // As RabbitMQ does: the pattern does not mind case.
    assert_eq!(query["use_regex"], "true");
    let wanted = alternatives(&query["name"]);
    let all = desk
        .queues
        .iter()
        .filter(|((of, name), _)| *of == vhost && wanted.contains(&name.to_lowercase()));
    let columns: Vec<&str> = query["columns"].split(',').collect();
    let items: Vec<Json> = all
        .map(|((_, name), shown)| {
            let mut item = json!({"name": name});
            for column in &columns {
                let column = column.split('.').next().unwrap();
                if let Some(value) = shown.get(column) {
                    item[column] = value.clone();
                }
            }
            item
        })
        .collect();
    json!({"items": items, "page": 1, "page_count": 1, "filtered_count": items.len()})
        .to_string()
        .into_response()
}

impl Server for Management {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk: Arc<Mutex<Desk>> = Arc::default();
        let router = Router::new()
            .route("/api/queues/{vhost}", get(queues))
            .route("/api/whoami", get(queues))
            .with_state(Arc::clone(&desk));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { line: Line::to(address, None).await, desk, _tasks: tasks }
    }

    fn address(&self) -> Address {
        Address::RabbitMq(rabbitmq::Address::Management(self.web()))
    }

    fn ask(&self, queue: &str) -> AnyAsk {
        ask("/", queue)
    }

    fn fill(&self, queue: &str, backlog: i32) {
        self.put("/", queue, shown(backlog - 1, 1));
        self.desk().nonsense = None;
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
        let page = |items: &str| (200, format!(r#"{{"page_count": 1, "items": [{items}]}}"#));
        let mut ways = web_nonsense();
        ways.push(page(""));
        ways.push(page("0"));
        ways.push(page(r#"{"name": 1}"#));
        ways.push(page(r#"{"name": "One", "messages_ready": 5, "messages_unacknowledged": 0}"#));
        ways.push(page(r#"{"name": "one"}"#));
        for odd in ["null", "-1", "0.5", "1e300", r#""0""#, "[]", "{}"] {
            ways.push(page(&format!(
                r#"{{"name": "one", "messages_ready": {odd}, "messages_unacknowledged": 0}}"#
            )));
            ways.push(page(&format!(
                r#"{{"name": "one", "messages_ready": 0, "messages_unacknowledged": {odd}}}"#
            )));
        }
        for more in [r#""state": "down""#, r#""state": "crashed""#, r#""type": "stream""#] {
            ways.push(page(&format!(
                r#"{{"name": "one", "messages_ready": 0, "messages_unacknowledged": 0, {more}}}"#
            )));
        }
        self.desk().nonsense = ways.get(way).cloned();
        way < ways.len()
    }
}

pub(super) fn ask(vhost: &str, queue: &str) -> AnyAsk {
    AnyAsk::RabbitMq(Ask {
        vhost: vhost.to_owned(),
        queue: queue.to_owned(),
        exclude_unacked: false,
    })
}

/// What the AMQP server knows and does.
#[derive(Default)]
pub(super) struct Hall {
    /// What is ready, by virtual host and queue.
    pub(super) queues: BTreeMap<(String, String), u32>,
    /// The password of `penstock`; none for anybody.
    pub(super) password: Option<String>,
    /// Queues that are refused, and with which code.
    pub(super) refused: BTreeMap<String, u16>,
    /// What it says instead of an answer, and whether it hangs up then.
    pub(super) nonsense: Option<(Vec<u8>, bool)>,
    /// The ways to log in that it offers; else PLAIN.
    pub(super) mechanisms: Option<String>,
    /// Does it drop the line at a bad login, without a word?
    pub(super) is_curt: bool,
    pub(super) declared: usize,
    /// How the latest client logged in.
    pub(super) login: (String, String),
}

/// A RabbitMQ by AMQP, behind a line.
pub(super) struct Broker {
    pub(super) line: Line,
    hall: Arc<Mutex<Hall>>,
    _tasks: JoinSet<()>,
}

impl Broker {
    pub(super) fn hall(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap()
    }

    pub(super) async fn behind(tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let hall: Arc<Mutex<Hall>> = Arc::default();
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&hall);
        tasks.spawn(async move {
            let mut guests = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                guests.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { line: Line::to(address, tls).await, hall, _tasks: tasks }
    }
}

/// Shows one client in, and answers until it goes.
async fn serve(mut stream: TcpStream, hall: Arc<Mutex<Hall>>) {
    drop(talk(&mut stream, &hall).await);
}

async fn talk(stream: &mut TcpStream, hall: &Mutex<Hall>) -> std::io::Result<()> {
    let mut header = [0; 8];
    stream.read_exact(&mut header).await?;
    assert_eq!(&header, b"AMQP\x00\x00\x09\x01");
    let mechanisms = hall.lock().unwrap().mechanisms.clone();
    let mechanisms = mechanisms.unwrap_or_else(|| "PLAIN AMQPLAIN".to_owned());
    let mut start = b"\x00\x09\x00\x00\x00\x00".to_vec();
    put_long(&mut start, mechanisms.as_bytes());
    put_long(&mut start, b"en_US");
    say(stream, 0, (10, 10), &start).await?;
    let mut vhost = String::new();
    let mut is_open = true;
    loop {
        let (channel, method, arguments) = hear(stream).await?;
        let mut rest = &arguments[..];
        match method {
            (10, 11) => {
                long(&mut rest);
                let mechanism = short(&mut rest);
                let response = String::from_utf8(long(&mut rest).to_vec()).unwrap();
                let (is_good, is_curt) = {
                    let mut hall = hall.lock().unwrap();
                    let wanted = hall.password.as_ref().map(|it| format!("\0penstock\0{it}"));
                    hall.login = (mechanism, response.clone());
                    (wanted.is_none_or(|wanted| wanted == response), hall.is_curt)
                };
                if !is_good && is_curt {
                    return Ok(());
                }
                if !is_good {
                    let mut close = 403_u16.to_be_bytes().to_vec();
                    put_short(&mut close, "ACCESS_REFUSED - Login was refused");
                    close.extend([0; 4]);
                    say(stream, 0, (10, 50), &close).await?;
                    continue;
                }
                say(stream, 0, (10, 30), b"\x07\xff\x00\x02\x00\x00\x00\x3c").await?;
            }
            // Without heartbeats, as it should be.
            (10, 31) => assert_eq!(&arguments[..], b"\x07\xff\x00\x02\x00\x00\x00\x00"),
            (10, 40) => {
                vhost = short(&mut rest);
                let is_known = hall.lock().unwrap().queues.keys().any(|(known, _)| *known == vhost);
                if is_known {
                    say(stream, 0, (10, 41), b"\x00").await?;
                } else {
                    let mut close = 530_u16.to_be_bytes().to_vec();
                    put_short(&mut close, &format!("NOT_ALLOWED - vhost {vhost} not found"));
                    close.extend([0; 4]);
                    say(stream, 0, (10, 50), &close).await?;
                }
            }
            (10, 50) => return say(stream, 0, (10, 51), b"").await,
            (10, 51) => return Ok(()),
            (20, 10) => say(stream, channel, (20, 11), b"\x00\x00\x00\x00").await?,
            (20, 41) => is_open = true,
            // After it closed a channel it hears nothing on it.
            (50, 10) if !is_open => {}
            (50, 10) => {
                let queue = short(&mut &arguments[2..]);
                // Passive, and nothing else.
                assert_eq!(arguments[3 + queue.len()..], [1, 0, 0, 0, 0]);
                let (nonsense, answer) = {
                    let mut hall = hall.lock().unwrap();
                    hall.declared += 1;
                    let refused = hall.refused.get(&queue).copied();
                    let found = hall.queues.get(&(vhost.clone(), queue.clone())).copied();
                    (hall.nonsense.clone(), refused.map_or_else(|| found.ok_or(404), Err))
                };
                if let Some((bytes, hangs_up)) = nonsense {
                    stream.write_all(&bytes).await?;
                    if hangs_up {
                        return Ok(());
                    }
                    continue;
                }
                match answer {
                    Ok(ready) => say(stream, channel, (50, 11), &declared(&queue, ready)).await?,
                    Err(code) => {
                        let mut close = u16::to_be_bytes(code).to_vec();
                        // As a real one says of a classic queue whose node is down.
                        let away =
                            ["", "home node 'rabbit@b' of durable queue is down or inaccessible"];
                        let away = away[usize::from(queue.starts_with("away"))];
                        put_short(&mut close, &format!("{code} - queue '{queue}'{away}"));
                        close.extend([0, 50, 0, 10]);
                        is_open = false;
                        say(stream, channel, (20, 40), &close).await?;
                    }
                }
            }
            other => panic!("{other:?} was not expected"),
        }
    }
}

fn declared(queue: &str, ready: u32) -> Vec<u8> {
    let mut answer = Vec::new();
    put_short(&mut answer, queue);
    answer.extend(ready.to_be_bytes());
    answer.extend([0; 4]);
    answer
}

fn frame(channel: u16, method: (u16, u16), arguments: &[u8]) -> Vec<u8> {
    let mut payload = [method.0.to_be_bytes(), method.1.to_be_bytes()].concat();
    payload.extend(arguments);
    let mut frame = vec![1];
    frame.extend(channel.to_be_bytes());
    put_long(&mut frame, &payload);
    frame.push(0xCE);
    frame
}

async fn say(
    stream: &mut TcpStream,
    channel: u16,
    method: (u16, u16),
    arguments: &[u8],
) -> std::io::Result<()> {
    stream.write_all(&frame(channel, method, arguments)).await
}

async fn hear(stream: &mut TcpStream) -> std::io::Result<(u16, (u16, u16), Vec<u8>)> {
    assert_eq!(stream.read_u8().await?, 1);
    let channel = stream.read_u16().await?;
    let size = stream.read_u32().await?;
    let method = (stream.read_u16().await?, stream.read_u16().await?);
    let mut arguments = vec![0; usize::try_from(size).unwrap() - 4];
    stream.read_exact(&mut arguments).await?;
    assert_eq!(stream.read_u8().await?, 0xCE);
    Ok((channel, method, arguments))
}

fn put_short(out: &mut Vec<u8>, text: &str) {
    out.push(text.len().try_into().unwrap());
    out.extend(text.as_bytes());
}

fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend(bytes);
}

fn short(rest: &mut &[u8]) -> String {
    let (length, after) = rest.split_first().unwrap();
    let (text, after) = after.split_at((*length).into());
    *rest = after;
    String::from_utf8(text.to_vec()).unwrap()
}

fn long<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let (length, after) = rest.split_first_chunk::<4>().unwrap();
    let (bytes, after) = after.split_at(u32::from_be_bytes(*length).try_into().unwrap());
    *rest = after;
    bytes
}

impl Server for Broker {
    async fn start() -> Self {
        Self::behind(None).await
    }

    fn address(&self) -> Address {
        Address::RabbitMq(rabbitmq::Address::Amqp {
            connection: "shop/mq".to_owned(),
            host: self.line.address.to_string(),
            tls: false,
            login: false,
        })
    }

    fn ask(&self, queue: &str) -> AnyAsk {
        ask("/", queue)
    }

    fn fill(&self, queue: &str, backlog: i32) {
        let mut hall = self.hall();
        hall.queues.insert(("/".to_owned(), queue.to_owned()), backlog.try_into().unwrap());
        hall.nonsense = None;
    }

    fn cut(&self) {
        self.line.cut();
    }

    fn mend(&self) {
        self.line.mend();
    }

    fn traffic(&self) -> (usize, usize) {
        (self.line.calls(), self.hall().declared)
    }

    fn rave(&self, way: usize) -> bool {
        let good = frame(1, (50, 11), &declared("one", 0));
        let mut without_end = good.clone();
        *without_end.last_mut().unwrap() = 0;
        let mut body = good.clone();
        body[0] = 3;
        let mut far_too_long = good.clone();
        far_too_long[3] = 0xFF;
        let mut closed = 320_u16.to_be_bytes().to_vec();
        put_short(&mut closed, "CONNECTION_FORCED - broker forced connection closure");
        closed.extend([0; 4]);
        let ways = [
            (Vec::new(), true),
            (Vec::new(), false),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), true),
            (good[..good.len() - 3].to_vec(), true),
            (good[..9].to_vec(), false),
            (without_end, false),
            (body, false),
            (far_too_long, false),
            (frame(1, (50, 11), &declared("another", 0)), false),
            (frame(1, (50, 11), b"\xFFone"), false),
            (frame(1, (60, 60), b""), false),
            (frame(0, (10, 50), &closed), false),
            (frame(1, (20, 11), b"\x00\x00\x00\x00"), false),
            (vec![0xCE; 4096], false),
        ];
        self.hall().nonsense = ways.get(way).cloned();
        way < ways.len()
    }
}
