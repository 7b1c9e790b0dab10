//! Redis: how long a list is, and what the group of a stream has not read or not acknowledged. One connection for each address (one for
//! each node of a cluster), all questions of a visit on their way at once.

#![expect(clippy::wildcard_enum_match_arm, reason = "the library's lists are open")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::StreamExt;
use redis::{Cmd, Value as Said};
use tokio::time::Instant;

mod line;
mod stream;

use line::{Door, Line};

use super::figure::unusable;
use super::{Answer, Asked, Credentials, Error, Source};
use crate::clock::Clock;
use crate::decide::{Queue, Value};

/// Questions on their way at once, on one connection.
const AT_ONCE: usize = 256;

/// A Redis and how to log in. Secrets are not part of it: they come as `Credentials`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Sets addresses of one server with different credentials apart: the Connection's `namespace/name`.
    pub connection: String,
    /// `host:port` of the server, of the sentinels, or of some nodes of the cluster; at least one.
    pub addresses: Vec<String>,
    /// What stands there.
    pub mode: Mode,
    /// Number of the database.
    pub database: u32,
    /// Speak TLS? With `ca` from the credentials, else the system's roots; with `cert` and `key` also mutual.
    pub tls: bool,
}

/// What stands at the addresses. `username` and `password` of the credentials log in to the servers, `sentinel-username` and
/// `sentinel-password` to the sentinels; each may be missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// One server; further addresses are tried when it is away.
    Alone,
    /// Sentinels, which know where the master of this name is.
    Sentinel(String),
    /// A cluster.
    Cluster,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.addresses.join(","))
    }
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// The size of a list, set, sorted set or hash; one that does not exist is empty, as Redis has it.
    List(String),
    /// The length of a stream.
    Stream(String),
    /// What a group of a stream has not read or not acknowledged.
    Group {
        /// The stream's key.
        stream: String,
        /// The group's name.
        group: String,
    },
}

/// A Redis, visited.
#[derive(Debug)]
pub(crate) struct Redis {
    door: Door,
    line: Option<Line>,
    /// How the size of a key is asked for, where it is no list.
    sized: BTreeMap<String, &'static str>,
}

impl Source for Redis {
    type Address = Address;
    type Ask = Ask;

    fn ask_of(ask: &super::Ask) -> Option<&Ask> {
        let super::Ask::Redis(ask) = ask else { return None };
        Some(ask)
    }

    fn connect(to: &Address, keys: &Credentials, _: Clock) -> Result<Self, Error> {
        Ok(Self { door: Door::new(to, keys)?, line: None, sized: BTreeMap::new() })
    }

    async fn greet(&mut self, deadline: Instant) -> Result<(), Error> {
        if self.line.is_none() {
            self.line = Some(self.door.open(deadline).await?);
        }
        Ok(())
    }

    async fn read(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Vec<Answer> {
        if asks.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.greet(deadline).await {
            return vec![Err(error); asks.len()];
        }
        let Some(line) = self.line.clone() else { return Vec::new() };
        let mut answers = match line.check(deadline).await {
            Ok(()) => self.all(&line, asks, deadline).await,
            Err(error) => vec![Err(error); asks.len()],
        };
        let is_broken = |answer: &Answer| answer.as_ref().is_err_and(Error::is_of_connection);
        if answers.iter().any(is_broken) {
            // The next visit connects anew, and so finds a master that has moved.
            self.line = None;
        }
        answers.truncate(asks.len());
        answers
    }

    fn inherit(&mut self, old: &mut Self) {
        self.sized = std::mem::take(&mut old.sized);
    }

    fn forget(&mut self, in_force: &[&Ask]) {
        self.sized.retain(|key, _| in_force.contains(&&Ask::List(key.clone())));
    }

    async fn close(self) {}
}

impl Redis {
    async fn all(
        &mut self,
        line: &Line,
        asks: &[Asked<'_, Ask>],
        deadline: Instant,
    ) -> Vec<Answer> {
        let questions: Vec<_> = asks
            .iter()
            .map(|asked| {
                let ask = asked.ask;
                let sized = match ask {
                    Ask::List(key) => self.sized.get(key).copied(),
                    Ask::Stream(_) | Ask::Group { .. } => None,
                };
                async move {
                    match ask {
                        Ask::List(key) => list(line, key, sized, deadline).await,
                        Ask::Stream(key) => {
                            (stream::length(line, key, deadline).await.map(|it| (it, None)), None)
                        }
                        Ask::Group { stream, group } => {
                            (stream::group(line, stream, group, deadline).await, None)
                        }
                    }
                }
            })
            .collect();
        let found: Vec<(Answer, Option<&'static str>)> =
            futures::stream::iter(questions).buffered(AT_ONCE).collect().await;
        let mut answers = Vec::with_capacity(found.len());
        for (asked, (answer, sized)) in asks.iter().zip(found) {
            if let (Ask::List(key), Some(command)) = (asked.ask, sized) {
                self.sized.insert(key.clone(), command);
            }
            answers.push(answer);
        }
        answers
    }
}

/// The size of a key, and how it was asked for. Most are lists, so that is tried first.
async fn list(
    line: &Line,
    key: &str,
    sized: Option<&'static str>,
    deadline: Instant,
) -> (Answer, Option<&'static str>) {
    let command = sized.unwrap_or("LLEN");
    let said = line.ask(&key_command(command, key), &format!("list {key}"), deadline).await;
    let is_other_type =
        matches!(&said, Err(Error::QueryRefused { detail, .. }) if detail.contains("WRONGTYPE"));
    if !is_other_type {
        return (said.and_then(|said| length(line.at(), key, &said)), Some(command));
    }
    let about = format!("key {key}");
    let kind = match line.ask(&key_command("TYPE", key), &about, deadline).await {
        Ok(Said::SimpleString(kind)) => kind,
        Ok(_) => String::new(),
        Err(error) => return (Err(error), None),
    };
    let command = match kind.as_str() {
        "list" | "none" => "LLEN",
        "set" => "SCARD",
        "zset" => "ZCARD",
        "hash" => "HLEN",
        _ => {
            let detail = format!("key {key} is a {kind}, which has no size to wait for");
            return (Err(Error::QueryRefused { at: Arc::clone(line.at()), detail }), None);
        }
    };
    let said = line.ask(&key_command(command, key), &about, deadline).await;
    (said.and_then(|said| length(line.at(), key, &said)), Some(command))
}

/// A reading out of a size.
fn length(at: &Arc<str>, key: &str, said: &Said) -> Answer {
    let backlog = count(said).ok_or_else(|| unusable(at, &format!("list {key}"), &shown(said)))?;
    Ok((Value::Queue(Queue { backlog, ..Queue::default() }), None))
}

/// A count out of an answer.
fn count(said: &Said) -> Option<u64> {
    match said {
        Said::Int(count) => u64::try_from(*count).ok(),
        _ => None,
    }
}

/// An answer, for an error.
fn shown(said: &Said) -> String {
    match said {
        Said::Int(count) => count.to_string(),
        Said::Nil => "nothing".to_owned(),
        _ => "no number".to_owned(),
    }
}

fn key_command(command: &str, key: &str) -> Cmd {
    let mut cmd = redis::cmd(command);
    cmd.arg(key);
    cmd
}
