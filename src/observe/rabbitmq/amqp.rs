//! A RabbitMQ asked by AMQP: one line to each virtual host, kept open between visits. Called by the source; what is said on a line is
//! for `line.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::Ask;
use super::line::{Line, Login, Place};
use crate::decide::{Queue, Value};
use crate::observe::web::AT_ONCE;
use crate::observe::{Answer, Credentials, Error, fault, tls};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(200);

/// The lines to one server.
pub(super) struct Amqp {
    place: Place,
    lines: BTreeMap<String, Line>,
    /// Queues that were not there last time: they are asked for last, since each costs a round trip of its own.
    unknown: BTreeSet<(String, String)>,
}

impl Amqp {
    /// Does not wait for the server.
    pub(super) fn new(
        at: &Arc<str>,
        host: &str,
        tls: bool,
        login: bool,
        keys: &Credentials,
    ) -> Result<Self, Error> {
        let tls =
            if tls { Some(TlsConnector::from(Arc::new(tls::config(at, keys)?))) } else { None };
        let text = |usage: &'static str| fault::text(at, keys, usage);
        let pair = if login { Some((text("username")?, text("password")?)) } else { None };
        let login = Login { pair, has_certificate: keys.bytes("cert").is_some() };
        Ok(Self {
            place: Place { host: host.to_owned(), at: Arc::clone(at), tls, login },
            lines: BTreeMap::new(),
            unknown: BTreeSet::new(),
        })
    }

    pub(super) async fn greet(&mut self, deadline: Instant) -> Result<(), Error> {
        self.place.greet(deadline).await
    }

    /// Asks for all queues, those of one virtual host on one line.
    pub(super) async fn read<'a>(
        &mut self,
        asks: &[&'a Ask],
        deadline: Instant,
    ) -> BTreeMap<&'a Ask, Answer> {
        let mut queues: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for ask in asks {
            queues.entry(&ask.vhost).or_default().insert(&ask.queue);
        }
        let mut visits = Vec::new();
        for (vhost, queues) in queues {
            let is_unknown =
                |queue: &&str| self.unknown.contains(&(vhost.to_owned(), (*queue).to_owned()));
            let (last, mut order): (Vec<&str>, Vec<&str>) =
                queues.into_iter().partition(is_unknown);
            order.extend(last);
            let old = self.lines.remove(vhost);
            visits.push(visit(self.place.clone(), vhost, order, old, deadline));
        }
        let visited: Vec<_> =
            futures::stream::iter(visits).buffer_unordered(AT_ONCE).collect().await;
        let mut found = BTreeMap::new();
        for Visit { vhost, line, answers } in visited {
            self.lines.extend(line.map(|line| (vhost.to_owned(), line)));
            for (queue, answer) in answers {
                let key = (vhost.to_owned(), queue.to_owned());
                if matches!(answer, Err(Error::NotFound { .. })) {
                    self.unknown.insert(key);
                } else {
                    self.unknown.remove(&key);
                }
                found.insert((vhost, queue), answer);
            }
        }
        let value =
            |depth: u32| (Value::Queue(Queue { backlog: depth.into(), ..Queue::default() }), None);
        let answer = |ask: &&'a Ask| {
            let answer = found.get(&(ask.vhost.as_str(), ask.queue.as_str())).cloned();
            answer.map(|answer| (*ask, answer.map(value)))
        };
        asks.iter().filter_map(answer).collect()
    }

    pub(super) fn forget(&mut self, in_force: &[&Ask]) {
        self.unknown.retain(|(vhost, queue)| {
            in_force.iter().any(|ask| ask.vhost == *vhost && ask.queue == *queue)
        });
        // A line that nobody asks on is hung up.
        self.lines.retain(|vhost, _| in_force.iter().any(|ask| ask.vhost == *vhost));
    }

    pub(super) async fn close(self) {
        let deadline = Instant::now() + GOODBYE;
        let all = self.lines.into_values().map(|line| line.close(deadline));
        futures::future::join_all(all).await;
    }
}

/// What came of one virtual host.
struct Visit<'a> {
    vhost: &'a str,
    /// The line, while it is good.
    line: Option<Line>,
    answers: Vec<(&'a str, Result<u32, Error>)>,
}

/// Asks on the line that is there. One that was cut while nothing was said on it tells nothing of the server: then a new one is made.
async fn visit<'a>(
    place: Place,
    vhost: &'a str,
    queues: Vec<&'a str>,
    old: Option<Line>,
    deadline: Instant,
) -> Visit<'a> {
    let paired = |answers: Vec<Result<u32, Error>>| queues.iter().copied().zip(answers).collect();
    if let Some(mut line) = old {
        let (answers, is_good) = line.depths(vhost, &queues, deadline).await;
        let is_cut = matches!(answers.first(), Some(Err(Error::Unreachable { .. })));
        if !is_cut {
            return Visit { vhost, line: is_good.then_some(line), answers: paired(answers) };
        }
    }
    match place.open(vhost, deadline).await {
        Ok(mut line) => {
            let (answers, is_good) = line.depths(vhost, &queues, deadline).await;
            Visit { vhost, line: is_good.then_some(line), answers: paired(answers) }
        }
        Err(error) => {
            let answers = vec![Err(error); queues.len()];
            Visit { vhost, line: None, answers: paired(answers) }
        }
    }
}
