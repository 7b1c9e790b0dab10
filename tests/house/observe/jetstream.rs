//! A NATS with `JetStream` of a few lines: it knows some consumers, asks for a login when told to, counts what it is asked, and talks
//! nonsense.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use penstock::observe::nats::{self, Ask, Login};
use penstock::observe::{Address, Ask as AnyAsk};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::contract::Server;
use super::line::Line;

/// What it knows and does.
#[derive(Default)]
pub(super) struct Desk {
    /// What the API says of each consumer of the stream `orders`.
    pub(super) consumers: BTreeMap<String, Json>,
    /// What it says about all of them instead.
    pub(super) nonsense: Option<Vec<u8>>,
    /// What it says instead of any message.
    pub(super) noise: Option<Vec<u8>>,
    /// What must stand in the client's login; none for anybody.
    pub(super) login: Option<Json>,
    /// Consumers about whom it never answers.
    pub(super) hangs: BTreeSet<String>,
    /// Consumers about whom nobody may ask.
    pub(super) denied: BTreeSet<String>,
    pub(super) asked: usize,
}

/// What it says instead of an answer, or instead of any message.
type Way = (Option<Vec<u8>>, Option<Vec<u8>>);

/// A NATS, behind a line.
pub(super) struct JetStream {
    pub(super) line: Line,
    desk: Arc<Mutex<Desk>>,
    _tasks: JoinSet<()>,
}

impl JetStream {
    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap()
    }

    /// Makes a consumer: deliveries so far, not delivered, not acknowledged.
    pub(super) fn put(&self, consumer: &str, (delivered, pending, unacked): (u64, u64, u64)) {
        let info = json!({
            "type": "io.nats.jetstream.api.v1.consumer_info_response",
            "stream_name": "orders", "name": consumer,
            "delivered": {"consumer_seq": delivered, "stream_seq": delivered},
            "num_pending": pending, "num_ack_pending": unacked,
        });
        self.desk().consumers.insert(consumer.to_owned(), info);
    }

    pub(super) fn nats(&self) -> nats::Address {
        nats::Address {
            connection: "shop/nats".to_owned(),
            url: format!("nats://{}", self.line.address),
            tls: false,
            login: Login::Nobody,
        }
    }
}

async fn serve(stream: TcpStream, desk: Arc<Mutex<Desk>>) {
    drop(talk(stream, &desk).await);
}

async fn talk(stream: TcpStream, desk: &Mutex<Desk>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let info = json!({
        "server_id": "s", "server_name": "s", "version": "2.10.0", "go": "go", "host": "127.0.0.1", "port": 4222,
        "headers": true, "max_payload": 1_048_576, "proto": 1, "client_id": 1, "nonce": "n", "jetstream": true,
        "auth_required": true,
    });
    writer.write_all(format!("INFO {info}\r\n").as_bytes()).await?;
    let (mut line, mut inbox) = (String::new(), String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["CONNECT", ..] => {
                let said: Json = serde_json::from_str(line.trim_start_matches("CONNECT ")).unwrap();
                let wanted = desk.lock().unwrap().login.clone();
                let is_good = wanted.is_none_or(|wanted| {
                    wanted.as_object().unwrap().iter().all(|(name, value)| said[name] == *value)
                });
                if !is_good {
                    writer.write_all(b"-ERR 'Authorization Violation'\r\n").await?;
                    return Ok(());
                }
            }
            ["PING"] => writer.write_all(b"PONG\r\n").await?,
            ["SUB", _, id] => id.clone_into(&mut inbox),
            ["PONG"] | ["UNSUB", ..] => {}
            ["PUB", subject, reply, length] => {
                let mut payload = vec![0; length.parse::<usize>().unwrap() + 2];
                reader.read_exact(&mut payload).await?;
                let answer =
                    answer(&mut desk.lock().unwrap(), subject, &format!("{reply} {inbox}"));
                writer.write_all(&answer).await?;
            }
            ref other => panic!("{other:?} was not expected"),
        }
    }
}

/// What is said to a question, for `reply`: where the answer goes, and the client's number of its subscription to that.
fn answer(desk: &mut Desk, subject: &str, reply: &str) -> Vec<u8> {
    desk.asked += 1;
    if let Some(noise) = &desk.noise {
        return noise.clone();
    }
    let parts: Vec<&str> = subject.split('.').collect();
    let ["$JS", "API", "CONSUMER", "INFO", stream, consumer] = parts[..] else {
        panic!("{subject} was not expected");
    };
    if desk.hangs.contains(consumer) {
        return Vec::new();
    }
    if desk.denied.contains(consumer) {
        return format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n")
            .into_bytes();
    }
    let fault = |code: u64, err_code: u64, description: &str| json!({"error": {"code": code, "err_code": err_code, "description": description}});
    let said = match (stream, desk.consumers.get(consumer)) {
        ("orders", Some(info)) => info.clone(),
        ("orders", None) => fault(404, 10_014, "consumer not found"),
        ("old", _) => fault(503, 10_076, "JetStream not enabled"),
        ("away", _) => fault(503, 10_008, "JetStream system temporarily unavailable"),
        _ => fault(404, 10_059, "stream not found"),
    };
    let said = desk.nonsense.clone().unwrap_or_else(|| said.to_string().into_bytes());
    let mut message = format!("MSG {reply} {}\r\n", said.len()).into_bytes();
    message.extend(said);
    message.extend(b"\r\n");
    message
}

impl Server for JetStream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk: Arc<Mutex<Desk>> = Arc::default();
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&desk);
        tasks.spawn(async move {
            let mut guests = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                guests.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { line: Line::to(address, None).await, desk, _tasks: tasks }
    }

    fn address(&self) -> Address {
        Address::Nats(self.nats())
    }

    fn ask(&self, queue: &str) -> AnyAsk {
        ask("orders", queue)
    }

    fn fill(&self, queue: &str, backlog: i32) {
        self.put(queue, (10, u64::try_from(backlog).unwrap() - 1, 1));
        let mut desk = self.desk();
        (desk.nonsense, desk.noise) = (None, None);
    }

    fn cut(&self) {
        self.line.cut();
    }

    fn mend(&self) {
        self.line.mend();
    }

    fn traffic(&self) -> (usize, usize) {
        (self.line.calls(), self.desk().asked)
    }

    fn rave(&self, way: usize) -> bool {
        let info = |field: &str, value: &str| {
            let mut info = json!({
                "stream_name": "orders", "name": "one", "num_pending": 0, "num_ack_pending": 0,
                "delivered": {"consumer_seq": 0},
            });
            *info.pointer_mut(field).unwrap() = serde_json::from_str(value).unwrap();
            info.to_string().into_bytes()
        };
        let mut ways: Vec<Way> = Vec::new();
        let texts = ["", "0", "null", "[]", "{}", "+OK", r#"{"error": {}}"#, r#"{"error": 1}"#];
        ways.extend(texts.map(|text| (Some(text.as_bytes().to_vec()), None)));
        ways.push((Some(vec![0xFF; 100]), None));
        ways.push((Some("[".repeat(100_000).into_bytes()), None));
        for field in ["/num_pending", "/num_ack_pending", "/delivered/consumer_seq"] {
            for odd in ["null", "-1", "0.5", "1e300", r#""0""#, "[]"] {
                ways.push((Some(info(field, odd)), None));
            }
        }
        ways.push((Some(info("/name", r#""two""#)), None));
        ways.push((Some(info("/stream_name", r#""two""#)), None));
        for noise in [
            "",
            "-ERR 'Unknown Protocol Operation'\r\n",
            "MSG\r\n",
            "MSG a b c\r\n",
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "HMSG",
        ] {
            ways.push((None, Some(noise.as_bytes().to_vec())));
        }
        let mut desk = self.desk();
        (desk.nonsense, desk.noise) = ways.get(way).cloned().unwrap_or_default();
        way < ways.len()
    }
}

pub(super) fn ask(stream: &str, consumer: &str) -> AnyAsk {
    AnyAsk::Nats(Ask { stream: stream.to_owned(), consumer: consumer.to_owned() })
}
