//! A PostgreSQL and a MySQL of a few lines that keep the contract; and what is the databases' own: times, one statement in a read-only
//! transaction, few connections, slow queries that delay no other. What real ones say is told in `tests/live`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use penstock::decide::Observation;
use penstock::observe::sql::{self, Engine};
use penstock::observe::{Address, Ask, Question, Unit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::contract::{Server, tale};
use super::line::Line;
use super::logins::keys;
use super::rig::*;

/// What a server knows and does.
#[derive(Default)]
struct Desk {
    depths: BTreeMap<String, i64>,
    nonsense: Option<Nonsense>,
    /// Every statement that it ran, in order.
    ran: Vec<String>,
    requests: usize,
    /// Seconds that a query of this table takes.
    slow: Option<(String, u64)>,
    /// It takes no more calls than these.
    room: Option<usize>,
    /// Those it did not take.
    turned_away: usize,
    /// Calls at present, and the most there ever were.
    calls: usize,
    most: usize,
}

/// What it says to a query instead.
#[derive(Clone)]
enum Nonsense {
    Rows(Vec<Cell>),
    /// Code and state, and words.
    Refusal(u16, &'static str, &'static str),
    Bytes(&'static [u8]),
    HangUp,
}

#[derive(Clone)]
enum Cell {
    Null,
    Whole(i64),
    Real(f64),
    Text(&'static str),
    Truth,
}

fn nonsense() -> Vec<Nonsense> {
    let mut ways: Vec<Nonsense> = [
        Cell::Null,
        Cell::Whole(-1),
        Cell::Whole(i64::MAX),
        Cell::Real(f64::NAN),
        Cell::Real(f64::INFINITY),
        Cell::Text("soon"),
        Cell::Text(""),
        Cell::Text("2999-01-01T00:00:00Z"),
        Cell::Truth,
    ]
    .map(|cell| Nonsense::Rows(vec![cell]))
    .to_vec();
    ways.push(Nonsense::Rows(Vec::new()));
    ways.push(Nonsense::Rows(vec![Cell::Whole(0); 2]));
    ways.push(Nonsense::Rows(vec![Cell::Whole(0); 1500]));
    for (code, state) in [
        (1146, "42P01"),
        (1142, "42501"),
        (3024, "57014"),
        (1792, "25006"),
        (1040, "53300"),
        (1365, "22012"),
        (1053, "57P01"),
    ] {
        ways.push(Nonsense::Refusal(code, state, "no"));
    }
    ways.push(Nonsense::HangUp);
    ways.push(Nonsense::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    ways.push(Nonsense::Bytes(&[0xFF; 64]));
    ways.push(Nonsense::Bytes(&[0; 64]));
    ways
}

struct Database<const IS_MYSQL: bool> {
    line: Line,
    desk: Arc<Mutex<Desk>>,
    _tasks: JoinSet<()>,
}

type Postgres = Database<false>;
type Mysql = Database<true>;

impl<const IS_MYSQL: bool> Database<IS_MYSQL> {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap()
    }

    fn place(&self) -> sql::Address {
        sql::Address {
            connection: "shop/db".to_owned(),
            engine: if IS_MYSQL { Engine::Mysql } else { Engine::Postgres },
            host: self.line.address.ip().to_string(),
            port: self.line.address.port(),
            database: "shop".to_owned(),
            tls: false,
        }
    }

    fn question(&self, name: &str, query: &str) -> Question {
        Question {
            id: id(name),
            poll_interval: POLL,
            address: Address::Sql(self.place()),
            credentials: keys(&[("username", "penstock"), ("password", "s3cret")]),
            ask: Ask::Sql(sql::Ask { query: query.to_owned(), unit: Unit::Backlog }),
        }
    }
}

fn depth_of(table: &str) -> String {
    format!("SELECT depth FROM {table}")
}

/// What a query gets.
fn answer(desk: &mut Desk, query: &str) -> Nonsense {
    desk.requests += 1;
    if let Some(nonsense) = &desk.nonsense {
        return nonsense.clone();
    }
    let table = query.rsplit(' ').next().unwrap_or_default();
    match desk.depths.get(table) {
        Some(depth) => Nonsense::Rows(vec![Cell::Whole(*depth)]),
        None => Nonsense::Refusal(1146, "42P01", "there is no such table"),
    }
}

/// Sits on a query for as long as it takes.
async fn sit(desk: &Mutex<Desk>, query: &str) {
    let slow = desk.lock().unwrap().slow.clone();
    if let Some((_, seconds)) = slow.filter(|(table, _)| query.ends_with(table.as_str())) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

mod postgres {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    fn error(state: &str, words: &str) -> Vec<u8> {
        message(b'E', format!("SERROR\0VERROR\0C{state}\0M{words}\0\0").as_bytes())
    }

    fn done(tag: &str) -> Vec<u8> {
        message(b'C', format!("{tag}\0").as_bytes())
    }

    fn ready() -> Vec<u8> {
        message(b'Z', b"I")
    }

    fn described(kind: i32) -> Vec<u8> {
        let numbers =
            [&0_i32.to_be_bytes()[..], &0_i16.to_be_bytes(), &kind.to_be_bytes()].concat();
        let rest = [&(-1_i16).to_be_bytes()[..], &(-1_i32).to_be_bytes(), &1_i16.to_be_bytes()];
        message(b'T', &[&1_i16.to_be_bytes()[..], b"depth\0", &numbers, &rest.concat()].concat())
    }

    fn row(cell: &Cell) -> Vec<u8> {
        let value = match cell {
            Cell::Null => {
                return message(
                    b'D',
                    &[&1_i16.to_be_bytes()[..], &(-1_i32).to_be_bytes()].concat(),
                );
            }
            Cell::Whole(number) => number.to_be_bytes().to_vec(),
            Cell::Real(number) => number.to_be_bytes().to_vec(),
            Cell::Text(text) => text.as_bytes().to_vec(),
            Cell::Truth => vec![1],
        };
        let length = i32::try_from(value.len()).unwrap();
        message(b'D', &[&1_i16.to_be_bytes()[..], &length.to_be_bytes(), &value].concat())
    }

    fn kind(cell: Option<&Cell>) -> i32 {
        match cell {
            None | Some(Cell::Whole(_) | Cell::Null) => 20,
            Some(Cell::Real(_)) => 701,
            Some(Cell::Text(_)) => 25,
            Some(Cell::Truth) => 16,
        }
    }

    async fn hear(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
        let kind = stream.read_u8().await.ok()?;
        let mut body = vec![0; usize::try_from(stream.read_u32().await.ok()?).ok()? - 4];
        stream.read_exact(&mut body).await.ok()?;
        Some((kind, body))
    }

    pub(super) async fn serve(mut stream: TcpStream, desk: &Mutex<Desk>) -> Option<()> {
        let mut greeting = vec![0; usize::try_from(stream.read_u32().await.ok()?).ok()? - 4];
        stream.read_exact(&mut greeting).await.ok()?;
        let is_full = {
            let mut desk = desk.lock().unwrap();
            let is_full = desk.room.is_some_and(|room| room < desk.calls);
            desk.turned_away += usize::from(is_full);
            is_full
        };
        if is_full {
            let said = error("53300", "sorry, too many clients already");
            stream.write_all(&said).await.ok()?;
            return None;
        }
        let hello = [message(b'R', &0_i32.to_be_bytes()), message(b'K', &[0; 8]), ready()];
        stream.write_all(&hello.concat()).await.ok()?;
        let mut query = String::new();
        while let Some((kind_of, body)) = hear(&mut stream).await {
            let text = |body: &[u8]| String::from_utf8_lossy(body).trim_matches('\0').to_owned();
            match kind_of {
                b'Q' => {
                    let text = text(&body);
                    desk.lock().unwrap().ran.push(text.clone());
                    let each: Vec<_> = text.split(';').map(|one| done(one.trim())).collect();
                    stream.write_all(&[each.concat(), ready()].concat()).await.ok()?;
                }
                // The unnamed statement: an empty name, the query, its parameters.
                b'P' => query = text(body.split(|byte| *byte == 0).nth(1)?),
                b'S' => {
                    desk.lock().unwrap().ran.push(query.clone());
                    sit(desk, &query).await;
                    let said = answer(&mut desk.lock().unwrap(), &query);
                    let said = match said {
                        Nonsense::Rows(rows) => {
                            let rows_of: Vec<_> = rows.iter().map(row).collect();
                            let head = [message(b'1', b""), message(b'2', b"")].concat();
                            let parameters = message(b't', &0_i16.to_be_bytes());
                            let tail = [done("SELECT"), ready()].concat();
                            let kinds = described(kind(rows.first()));
                            [head, parameters, kinds, rows_of.concat(), tail].concat()
                        }
                        Nonsense::Refusal(_, state, words) => {
                            [error(state, words), ready()].concat()
                        }
                        Nonsense::Bytes(bytes) => bytes.to_vec(),
                        Nonsense::HangUp => return None,
                    };
                    stream.write_all(&said).await.ok()?;
                }
                b'X' => return None,
                _ => {}
            }
        }
        None
    }
}

mod mysql {
    use super::*;

    fn packet(number: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        [&length[..3], &[number], body].concat()
    }

    fn fine(number: u8) -> Vec<u8> {
        packet(number, &[0, 0, 0, 2, 0, 0, 0])
    }

    fn end(number: u8) -> Vec<u8> {
        packet(number, &[0xFE, 0, 0, 2, 0])
    }

    fn refusal(code: u16, state: &str, words: &str) -> Vec<u8> {
        let head = [&[0xFF][..], &code.to_le_bytes(), b"#", state.as_bytes()].concat();
        packet(1, &[&head[..], words.as_bytes()].concat())
    }

    fn column(number: u8, kind: u8) -> Vec<u8> {
        let mut body = b"\x03def\0\0\0\x05depth\0\x0c".to_vec();
        body.extend([63, 0, 20, 0, 0, 0, kind, 0, 0, 0, 0, 0]);
        packet(number, &body)
    }

    /// Its type, whether it is null, and its bytes.
    fn value(cell: &Cell) -> (u8, bool, Vec<u8>) {
        let text =
            |text: &str| [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
        match cell {
            Cell::Null => (8, true, Vec::new()),
            Cell::Whole(number) => (8, false, number.to_le_bytes().to_vec()),
            Cell::Real(number) => (5, false, number.to_le_bytes().to_vec()),
            Cell::Text(said) => (253, false, text(said)),
            Cell::Truth => (16, false, text("\u{1}")),
        }
    }

    fn rows(rows: &[Cell]) -> Vec<u8> {
        let kind = rows.first().map_or(8, |cell| value(cell).0);
        let mut said = [packet(1, &[1]), column(2, kind), end(3)].concat();
        let mut number = 4_u8;
        for cell in rows {
            let (_, is_null, bytes) = value(cell);
            said.extend(packet(number, &[&[0, u8::from(is_null) << 2][..], &bytes].concat()));
            number = number.wrapping_add(1);
        }
        said.extend(end(number));
        said
    }

    async fn hear(stream: &mut TcpStream) -> Option<Vec<u8>> {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
        let mut body = vec![0; usize::try_from(length).ok()?];
        stream.read_exact(&mut body).await.ok()?;
        Some(body)
    }

    pub(super) async fn serve(mut stream: TcpStream, desk: &Mutex<Desk>) -> Option<()> {
        // Protocol 4.1, with a database, transactions, a long scramble, and a plugin to log in by.
        let can: u32 = 0x0008_A209 | 0x0008_0000;
        let can = can.to_le_bytes();
        let mut hello = b"\x0a8.0.0\0\x01\0\0\0abcdefgh\0".to_vec();
        hello.extend([can[0], can[1], 45, 2, 0, can[2], can[3], 21]);
        hello.extend([0; 10]);
        hello.extend(b"ijklmnopqrst\0mysql_native_password\0");
        stream.write_all(&packet(0, &hello)).await.ok()?;
        hear(&mut stream).await?;
        stream.write_all(&fine(2)).await.ok()?;
        let mut prepared: Vec<String> = Vec::new();
        while let Some(body) = hear(&mut stream).await {
            let text = String::from_utf8_lossy(&body[1..]).into_owned();
            let said = match body[0] {
                1 => return None,
                3 if text == "SELECT VERSION()" => {
                    let version = packet(4, b"\x058.0.0");
                    [packet(1, &[1]), column(2, 253), end(3), version, end(5)].concat()
                }
                3 => {
                    desk.lock().unwrap().ran.push(text);
                    fine(1)
                }
                0x16 => {
                    prepared.push(text);
                    let number = u32::try_from(prepared.len()).unwrap().to_le_bytes();
                    let head = [&[0][..], &number, &[1, 0, 0, 0, 0, 0, 0]].concat();
                    [packet(1, &head), column(2, 8), end(3)].concat()
                }
                0x17 => {
                    let number = u32::from_le_bytes(body[1..5].try_into().unwrap());
                    let query = prepared[usize::try_from(number).unwrap() - 1].clone();
                    desk.lock().unwrap().ran.push(query.clone());
                    sit(desk, &query).await;
                    let said = answer(&mut desk.lock().unwrap(), &query);
                    match said {
                        Nonsense::Rows(cells) => rows(&cells),
                        Nonsense::Refusal(code, state, words) => refusal(
                            code,
                            if state.starts_with("42") { "42000" } else { "HY000" },
                            words,
                        ),
                        Nonsense::Bytes(bytes) => bytes.to_vec(),
                        Nonsense::HangUp => return None,
                    }
                }
                0x19 => continue,
                _ => fine(1),
            };
            stream.write_all(&said).await.ok()?;
        }
        None
    }
}

async fn serve<const IS_MYSQL: bool>(stream: TcpStream, desk: Arc<Mutex<Desk>>) {
    {
        let mut desk = desk.lock().unwrap();
        desk.calls += 1;
        desk.most = desk.most.max(desk.calls);
    }
    if IS_MYSQL {
        mysql::serve(stream, &desk).await;
    } else {
        postgres::serve(stream, &desk).await;
    }
    desk.lock().unwrap().calls -= 1;
}

impl<const IS_MYSQL: bool> Server for Database<IS_MYSQL> {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let desk: Arc<Mutex<Desk>> = Arc::default();
        let shared = Arc::clone(&desk);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                served.spawn(serve::<IS_MYSQL>(stream, Arc::clone(&shared)));
            }
        });
        Self { line: Line::to(address, None).await, desk, _tasks: tasks }
    }

    fn address(&self) -> Address {
        Address::Sql(self.place())
    }

    fn credentials(&self) -> Arc<penstock::observe::Credentials> {
        keys(&[("username", "penstock"), ("password", "s3cret")])
    }

    fn ask(&self, queue: &str) -> Ask {
        Ask::Sql(sql::Ask { query: depth_of(queue), unit: Unit::Backlog })
    }

    fn fill(&self, queue: &str, backlog: i32) {
        let mut desk = self.desk();
        desk.depths.insert(queue.to_owned(), backlog.into());
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
        let ways = nonsense();
        self.desk().nonsense = ways.get(way).cloned();
        way < ways.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract() {
    tale::<Postgres>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_keeps_the_contract() {
    tale::<Mysql>().await;
}

async fn each_query_is_alone<const IS_MYSQL: bool>() {
    let server = Database::<IS_MYSQL>::start().await;
    server.fill("todo", 7);
    let mut watcher = Watcher::asking(vec![server.question("a", &depth_of("todo"))]);
    watcher.until_amount("a", 7.0).await;
    let ran = server.desk().ran.clone();
    let at = ran.iter().position(|it| *it == depth_of("todo")).unwrap();
    assert!(ran[at - 1].contains("READ ONLY"), "{ran:?}");
    assert_eq!(ran[at + 1], "ROLLBACK");
    let all = ran.join("; ");
    assert!(all.contains("_time") && all.contains("2000"), "a time limit: {all}");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_query_runs_in_a_read_only_transaction_that_is_rolled_back() {
    each_query_is_alone::<false>().await;
    each_query_is_alone::<true>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_has_its_word() {
    async fn told<const IS_MYSQL: bool>(said: Nonsense, word: &str) {
        let server = Database::<IS_MYSQL>::start().await;
        server.desk().nonsense = Some(said);
        let mut watcher = Watcher::asking(vec![server.question("a", &depth_of("todo"))]);
        let seen = watcher.until("a", |_| true).await;
        assert_eq!(label(&seen), word, "{IS_MYSQL}: {seen:?}");
        let Observation::Failed(missing) = seen else { panic!("{seen:?}") };
        assert!(!missing.message.contains("s3cret"), "{}", missing.message);
        watcher.observe.shutdown().await;
    }
    for (said, word) in [
        (Nonsense::Rows(Vec::new()), "EmptyAnswer"),
        (Nonsense::Rows(vec![Cell::Null]), "EmptyAnswer"),
        (Nonsense::Rows(vec![Cell::Whole(1); 2]), "ManyValues"),
        (Nonsense::Rows(vec![Cell::Whole(-1)]), "BadValue"),
        (Nonsense::Rows(vec![Cell::Truth]), "BadValue"),
        (Nonsense::Refusal(1146, "42P01", "no table"), "QueryRefused"),
        (Nonsense::Refusal(1792, "25006", "read only"), "QueryRefused"),
        (Nonsense::Refusal(1142, "42501", "no right"), "AccessDenied"),
        (Nonsense::Refusal(1045, "28P01", "who are you"), "AuthenticationFailed"),
        (Nonsense::Refusal(1049, "3D000", "no database"), "NotFound"),
        (Nonsense::Refusal(3024, "57014", "too long"), "Timeout"),
        (Nonsense::Refusal(1040, "53300", "too many"), "SourceFailed"),
        (Nonsense::Refusal(1053, "57P01", "going down"), "Unreachable"),
        (Nonsense::HangUp, "Unreachable"),
    ] {
        told::<false>(said.clone(), word).await;
        told::<true>(said, word).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_counts_as_its_age_and_a_text_as_the_number_it_is() {
    let server = Postgres::start().await;
    server.desk().nonsense = Some(Nonsense::Rows(vec![Cell::Text("2026-01-01T00:00:00Z")]));
    let mut watcher = Watcher::asking(vec![server.question("a", "SELECT min(since) FROM todo")]);
    let seen = watcher.until("a", Observation::is_fresh).await;
    assert!(queue(&seen).backlog > 1_000_000, "{seen:?}");
    server.desk().nonsense = Some(Nonsense::Rows(vec![Cell::Text(" 12.5 ")]));
    watcher.until_amount("a", 13.0).await;
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_queries_need_at_most_four_connections_and_equal_ones_run_once() {
    let server = Postgres::start().await;
    let mut questions = Vec::new();
    for number in 0..100 {
        server.fill(&format!("t{number}"), number);
        questions.push(server.question(&format!("q{number}"), &depth_of(&format!("t{number}"))));
        questions.push(server.question(&format!("same{number}"), &depth_of("t7")));
    }
    let long = Duration::from_mins(1);
    questions.iter_mut().for_each(|question| question.poll_interval = long);
    let mut watcher = Watcher::asking(questions);
    assert_eq!(watcher.visited().await.len(), 200);
    for number in 0..100 {
        assert!(watcher.latest(&format!("q{number}")).unwrap().is_fresh());
        let same = watcher.latest(&format!("same{number}")).unwrap();
        assert_eq!(queue(&same).backlog, 7);
    }
    assert_eq!(server.desk().requests, 100);
    assert!(server.desk().most <= 4, "{} connections", server.desk().most);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_one_connection_answers_all_queries_on_it() {
    let server = Postgres::start().await;
    server.desk().room = Some(1);
    let mut questions = Vec::new();
    for number in 0..40 {
        server.fill(&format!("t{number}"), number);
        questions.push(server.question(&format!("q{number}"), &depth_of(&format!("t{number}"))));
    }
    let mut watcher = Watcher::asking(questions);
    for number in 0..40 {
        watcher.until_amount(&format!("q{number}"), f64::from(number)).await;
    }
    let turned_away = server.desk().turned_away;
    assert!(0 < turned_away && turned_away < 4, "{turned_away} calls too many");
    // It is not pressed for more with each visit.
    assert!(watcher.visits_within(POLL * 3).await > 0);
    assert_eq!(server.desk().turned_away, turned_away);
    for number in 0..40 {
        assert!(watcher.latest(&format!("q{number}")).unwrap().is_fresh(), "q{number}");
    }
    watcher.observe.shutdown().await;
    // Where it takes none, that is what is told.
    server.desk().room = Some(0);
    let asked = ["t1", "t2", "t3"].map(|table| server.question(table, &depth_of(table)));
    let mut watcher = Watcher::asking(asked.to_vec());
    for table in ["t1", "t2", "t3"] {
        let seen = watcher.until(table, |_| true).await;
        assert_eq!(label(&seen), "SourceFailed", "{seen:?}");
    }
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_long_is_not_read_and_costs_no_other_its_reading() {
    let server = Postgres::start().await;
    let long: &str = Box::leak("7".repeat(8 << 20).into_boxed_str());
    server.desk().nonsense = Some(Nonsense::Rows(vec![Cell::Text(long)]));
    let mut watcher = Watcher::asking(vec![server.question("a", "SELECT repeat('7', 8e6)")]);
    let seen = watcher.until("a", |_| true).await;
    assert_eq!(label(&seen), "SourceFailed", "{seen:?}");
    let Observation::Failed(missing) = seen else { panic!("{seen:?}") };
    assert!(missing.message.contains("longer than 1 MiB"), "{}", missing.message);
    // What is long and not too long is read, again and again on the same connection.
    let long: &str = Box::leak(format!("{}7", " ".repeat(600 << 10)).into_boxed_str());
    server.desk().nonsense = Some(Nonsense::Rows(vec![Cell::Text(long)]));
    watcher.until_amount("a", 7.0).await;
    assert!(watcher.visits_within(POLL * 3).await > 0);
    assert!(watcher.latest("a").unwrap().is_fresh());
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_too_long_is_given_up_and_delays_no_other() {
    let server = Postgres::start().await;
    for table in ["a", "b", "c", "slow"] {
        server.fill(table, 5);
    }
    server.desk().slow = Some(("slow".to_owned(), 60));
    let questions = ["slow", "a", "b", "c"].map(|table| server.question(table, &depth_of(table)));
    let mut watcher = Watcher::asking(questions.to_vec());
    let start = Instant::now();
    watcher.until("slow", |seen| label(seen) == "Timeout").await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    for table in ["a", "b", "c"] {
        assert!(watcher.latest(table).unwrap().is_fresh(), "{table}");
    }
    watcher.observe.shutdown().await;
}
