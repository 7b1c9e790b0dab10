//! PostgreSQL, MySQL and MariaDB: the first column of a query's only row, a number or a time whose age counts. Each query runs alone in a
//! read-only transaction with a time limit and is rolled back. At most four connections for each address; equal queries run once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

mod mysql;
mod postgres;

use super::figure::{self, Unit, unusable};
use super::visit::locked;
use super::{Answer, Asked, Credentials, Error, Source, fault};
use crate::clock::Clock;

/// Connections to one address at most, and the queries that are worth one more.
const MOST: usize = 4;
const EACH: usize = 8;
/// How long a server may work on one query, and how much longer its answer may take.
const LIMIT: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_millis(500);
/// Rows counted of an answer that should have one.
const ROWS: usize = 1000;
/// A server that took no further connection is not asked for one for so long.
const FULL: Duration = Duration::from_mins(1);
/// A connection that carries nothing is probed after so long, so that a silent death is noticed before it is used.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A database and how to log in. Secrets are not part of it: `username` and, if there is one, `password` come as `Credentials`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Sets addresses of one server with different credentials apart: the Connection's `namespace/name`.
    pub connection: String,
    /// What it speaks.
    pub engine: Engine,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// Speak TLS? With `ca` from the credentials, else the system's roots; the name is verified; with `cert` and `key` also mutual.
    pub tls: bool,
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    Mysql,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// One statement that gives one row.
    pub query: String,
    /// What the number counts as.
    pub unit: Unit,
}

/// A database, visited.
#[derive(Debug)]
pub(crate) struct Sql {
    door: Door,
    clock: Clock,
    /// Connections that wait for the next visit.
    idle: Vec<Line>,
    /// Queries that took long: they come last, so that they delay no other.
    slow: BTreeMap<String, Duration>,
    /// Queries that the last visit had no time for: they come first among their like.
    behind: BTreeSet<String>,
    /// Until then no further connection is tried: the server took none while others worked.
    full_until: Option<Instant>,
}

/// Where to knock and what to say.
struct Door {
    at: Arc<str>,
    to: Address,
    username: String,
    password: Option<String>,
    keys: Credentials,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("at", &self.at).finish_non_exhaustive()
    }
}

/// An open connection.
#[derive(Debug)]
enum Line {
    Postgres(postgres::Line),
    Mysql(Box<mysql::Line>),
}

/// What stands in the first column of a row.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Null,
    Number(f64),
    /// An instant; one without a zone is taken to be UTC.
    Time(Timestamp),
    Text(String),
    /// Something that is no number: its type.
    Other(String),
}

/// The rows of an answer: how many, and the first cell of the first.
#[derive(Debug, Clone, PartialEq)]
struct Rows {
    count: usize,
    first: Option<Cell>,
}

impl Source for Sql {
    type Address = Address;
    type Ask = Ask;

    fn ask_of(ask: &super::Ask) -> Option<&Ask> {
        let super::Ask::Sql(ask) = ask else { return None };
        Some(ask)
    }

    fn connect(to: &Address, keys: &Credentials, clock: Clock) -> Result<Self, Error> {
        let door = Door::new(to, keys)?;
        let (idle, slow, behind) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        Ok(Self { door, clock, idle, slow, behind, full_until: None })
    }

    async fn greet(&mut self, deadline: Instant) -> Result<(), Error> {
        if self.idle.is_empty() {
            self.idle.push(self.door.open(deadline).await?);
        }
        Ok(())
    }

    async fn read(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Vec<Answer> {
        let mut queries: Vec<&str> = asks.iter().map(|asked| asked.ask.query.as_str()).collect();
        queries.sort_unstable();
        queries.dedup();
        queries.sort_by_key(|query| {
            let took = self.slow.get(*query).copied();
            (took.is_some(), !self.behind.contains(*query), took)
        });
        let start = Instant::now();
        self.full_until = self.full_until.filter(|until| start < *until);
        let most = if self.full_until.is_some() { self.idle.len().max(1) } else { MOST };
        let round = Round {
            door: &self.door,
            deadline,
            left: Mutex::new(queries.iter().copied().collect()),
            found: Mutex::default(),
            idle: Mutex::new(std::mem::take(&mut self.idle)),
            broken: Mutex::default(),
            is_full: Mutex::default(),
        };
        let workers = match queries.len() {
            0 | 1 => queries.len(),
            many => many.div_ceil(EACH).clamp(2, MOST).min(most),
        };
        futures::future::join_all((0..workers).map(|_| round.work())).await;
        let Round { found, idle, broken, is_full, .. } = round;
        let (found, broken) = (unlocked(found), unlocked(broken));
        self.idle = unlocked(idle);
        if unlocked(is_full) && !self.idle.is_empty() {
            self.full_until.get_or_insert(start + FULL);
        }
        for query in queries {
            if found.contains_key(query) {
                self.behind.remove(query);
            } else {
                self.behind.insert(query.to_owned());
            }
        }
        for (query, (_, took)) in &found {
            self.slow.remove(*query);
            if LIMIT / 10 < *took {
                self.slow.insert((*query).to_owned(), *took);
            }
        }
        asks.iter().map(|asked| self.answer(asked.ask, &found, broken.as_ref())).collect()
    }

    fn inherit(&mut self, old: &mut Self) {
        self.slow = std::mem::take(&mut old.slow);
        self.behind = std::mem::take(&mut old.behind);
    }

    fn forget(&mut self, in_force: &[&Ask]) {
        let is_asked = |query: &str| in_force.iter().any(|ask| ask.query == query);
        self.slow.retain(|query, _| is_asked(query));
        self.behind.retain(|query| is_asked(query));
    }

    async fn close(self) {
        for line in self.idle {
            line.close().await;
        }
    }
}

impl Sql {
    fn answer(&self, ask: &Ask, found: &Found<'_>, broken: Option<&Error>) -> Answer {
        let at = &self.door.at;
        let about = format!("query {}", title(&ask.query));
        let Some((rows, _)) = found.get(ask.query.as_str()) else {
            // Nobody came to it: every connection broke, or time ran out.
            return Err(broken.cloned().unwrap_or_else(|| late(at, "it had too many queries")));
        };
        let Rows { count, first } = rows.clone()?;
        let empty = || Error::EmptyAnswer { at: Arc::clone(at), about: about.clone() };
        if 1 < count {
            return Err(Error::ManyValues { at: Arc::clone(at), about, count });
        }
        let now = self.clock.now();
        let (number, shown) = match first.ok_or_else(empty)? {
            Cell::Null => return Err(empty()),
            Cell::Number(number) => (Some(number), number.to_string()),
            Cell::Time(time) => (Some(figure::age(time, now)), time.to_string()),
            Cell::Text(text) => (figure::number(&text, now), text),
            Cell::Other(kind) => (None, format!("a {kind}")),
        };
        let number = number.ok_or_else(|| unusable(at, &about, &shown))?;
        Ok((ask.unit.value(at, &about, number)?, None))
    }
}

/// What each query got, and how long it took.
type Found<'a> = BTreeMap<&'a str, (Result<Rows, Error>, Duration)>;

/// What the connections of one visit share.
struct Round<'a> {
    door: &'a Door,
    deadline: Instant,
    left: Mutex<VecDeque<&'a str>>,
    found: Mutex<Found<'a>>,
    idle: Mutex<Vec<Line>>,
    /// Why a connection broke or never came to be.
    broken: Mutex<Option<Error>>,
    /// Was a further connection not to be had?
    is_full: Mutex<bool>,
}

impl Round<'_> {
    /// One connection's share: query after query, until none is left or the connection is lost.
    async fn work(&self) {
        let mut line = locked(&self.idle).pop();
        let mut is_old = line.is_some();
        while Instant::now() < self.deadline && !locked(&self.left).is_empty() {
            // Opened before a query is taken: where the server takes no more connections, those that there are go through all queries.
            let Some(mut open) = self.opened(line.take()).await else { return };
            let Some(query) = locked(&self.left).pop_front() else {
                line = Some(open);
                break;
            };
            let start = Instant::now();
            let (mut answer, mut is_sound) = self.ask(&mut open, query).await;
            if is_old && !is_sound && answer.as_ref().is_err_and(is_of_line) {
                // It died while it waited: that says nothing about the server.
                let Some(another) = self.opened(None).await else {
                    locked(&self.left).push_front(query);
                    return;
                };
                open = another;
                (answer, is_sound) = self.ask(&mut open, query).await;
            }
            is_old = false;
            let error = answer.as_ref().err().filter(|error| is_of_line(error)).cloned();
            locked(&self.found).insert(query, (answer, start.elapsed()));
            if let Some(error) = error {
                locked(&self.broken).get_or_insert(error);
                return;
            }
            line = is_sound.then_some(open);
        }
        locked(&self.idle).extend(line);
    }

    /// The connection, or a new one; none where none can be had, and then why is noted.
    async fn opened(&self, line: Option<Line>) -> Option<Line> {
        if line.is_some() {
            return line;
        }
        match self.door.open(self.deadline).await {
            Ok(line) => Some(line),
            Err(error) => {
                locked(&self.broken).get_or_insert(error);
                *locked(&self.is_full) = true;
                None
            }
        }
    }

    /// Asks on a connection, and says whether its state is known afterwards: else it is given up.
    async fn ask(&self, open: &mut Line, query: &str) -> (Result<Rows, Error>, bool) {
        let until = self.deadline.min(Instant::now() + LIMIT + GRACE);
        let asked = tokio::time::timeout_at(until, open.ask(&self.door.at, query)).await;
        let answer = asked.unwrap_or_else(|_| Err(late(&self.door.at, "waited for its answer")));
        let is_sound = match &answer {
            Ok(rows) => rows.count < ROWS,
            Err(error) => !is_of_line(error) && !matches!(error, Error::Timeout { .. }),
        };
        (answer, is_sound && !open.is_broken())
    }
}

/// Has the connection broken, so that another query on it is of no use? One query that takes too long is no such thing.
fn is_of_line(error: &Error) -> bool {
    error.is_of_connection() && !matches!(error, Error::Timeout { .. })
}

impl Door {
    fn new(to: &Address, keys: &Credentials) -> Result<Self, Error> {
        let at: Arc<str> = to.to_string().into();
        let username = fault::text(&at, keys, "username")?;
        let password = keys.bytes("password").map(|_| fault::text(&at, keys, "password"));
        if to.tls {
            // Looked at with our own words before a library does with its.
            drop(super::tls::config(&at, keys)?);
        }
        let (to, keys) = (to.clone(), keys.clone());
        Ok(Self { at, to, username, password: password.transpose()?, keys })
    }

    /// Connects and logs in.
    async fn open(&self, deadline: Instant) -> Result<Line, Error> {
        let until = deadline.min(Instant::now() + LIMIT);
        let opened = async {
            match self.to.engine {
                Engine::Postgres => postgres::Line::open(self).await.map(Line::Postgres),
                Engine::Mysql => {
                    mysql::Line::open(self).await.map(|line| Line::Mysql(Box::new(line)))
                }
            }
        };
        let opened = tokio::time::timeout_at(until, opened).await;
        opened.unwrap_or_else(|_| {
            let detail = "no connection in time".to_owned();
            Err(Error::Unreachable { at: Arc::clone(&self.at), detail })
        })
    }
}

impl Line {
    async fn ask(&mut self, at: &Arc<str>, query: &str) -> Result<Rows, Error> {
        match self {
            Self::Postgres(line) => line.ask(at, query).await,
            Self::Mysql(line) => line.ask(at, query).await,
        }
    }

    fn is_broken(&self) -> bool {
        match self {
            Self::Postgres(line) => line.is_broken,
            Self::Mysql(line) => line.is_broken,
        }
    }

    async fn close(self) {
        match self {
            Self::Postgres(_) => {}
            Self::Mysql(line) => line.close().await,
        }
    }
}

/// What the connections shared, once they are done.
fn unlocked<T>(shared: Mutex<T>) -> T {
    shared.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn late(at: &Arc<str>, detail: &str) -> Error {
    Error::Timeout { at: Arc::clone(at), detail: detail.to_owned() }
}

/// How errors call a query: cut short.
fn title(query: &str) -> String {
    let words = figure::line(query);
    let mut title: String = words.chars().take(60).collect();
    if title.len() < words.len() {
        title.push('…');
    }
    title
}
