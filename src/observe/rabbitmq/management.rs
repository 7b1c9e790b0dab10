//! A RabbitMQ asked by its management API. All queues of one virtual host are asked for together, by a pattern of their names, so that a
//! server with many queues is not made to list them all. Called by the source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::{Ask, title};
use crate::decide::{Queue, Value};
use crate::observe::figure::{count, line, unusable};
use crate::observe::late::{Late, PATIENCE, Why};
use crate::observe::ledger::{Counts, Ledger};
use crate::observe::web::{self, AT_ONCE, Web, refused};
use crate::observe::{Answer, Credentials, Error};

/// So many bytes of names are asked for at once: the server reads request lines of at most 8,000.
const LONGEST: usize = 5_000;
/// So many names are asked for at once; a page holds at most 500.
const MOST: usize = 400;
/// Names that differ by case alone match as well, so there may be more pages than one; more than these are not read.
const PAGES: u32 = 8;
/// What we want to know of a queue.
const COLUMNS: &str = "name,type,state,messages_ready,messages_unacknowledged,message_stats.publish,message_stats.ack,\
                       message_stats.deliver_no_ack,message_stats.get_no_ack";

/// The management API of one server.
pub(super) struct Management {
    web: Web,
    url: String,
    /// What was counted, by virtual host and queue.
    ledgers: BTreeMap<(String, String), Ledger>,
    /// By the first queue of what was asked together.
    late: Late,
}

/// A page of queues.
#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    #[serde(default)]
    page_count: u32,
}

/// One queue. What is missing or odd is for the questions that ask about it.
#[derive(Debug, Clone, Deserialize)]
struct Item {
    name: String,
    #[serde(default, rename = "type")]
    kind: Json,
    #[serde(default)]
    state: Json,
    #[serde(default)]
    messages_ready: Json,
    #[serde(default)]
    messages_unacknowledged: Json,
    #[serde(default)]
    message_stats: Json,
}

/// Queues by name, of those that were asked for in one request.
type Found = BTreeMap<String, Item>;

/// Some queues of one virtual host.
struct Batch<'a> {
    vhost: &'a str,
    queues: Vec<&'a str>,
    pattern: String,
}

impl Batch<'_> {
    /// What tells it from others.
    fn name(&self) -> String {
        title(self.vhost, self.queues.first().unwrap_or(&""))
    }
}

impl Management {
    /// Does not wait for the server.
    pub(super) fn new(to: &web::Address, keys: &Credentials) -> Result<Self, Error> {
        let (web, url) = (Web::new(to, keys)?, to.url.clone());
        Ok(Self { web, url, ledgers: BTreeMap::new(), late: Late::default() })
    }

    pub(super) async fn greet(&self, deadline: Instant) -> Result<(), Error> {
        let url = format!("{}/api/whoami", self.url);
        let (status, body) = self.web.get(&url, deadline).await?;
        if status.is_success() {
            Ok(())
        } else {
            Err(refused(self.web.at(), "management API", status, &body))
        }
    }

    /// Asks for all queues.
    pub(super) async fn read<'a>(
        &mut self,
        asks: &[&'a Ask],
        deadline: Instant,
    ) -> BTreeMap<&'a Ask, Answer> {
        let mut batches = batches(asks);
        batches.sort_by_key(|batch| self.late.turn(&batch.name()));
        let this = &*self;
        let asked = batches.into_iter().map(|batch| async move {
            let why = Why::now(deadline);
            let found = this.found(&batch, deadline).await;
            (batch, found, why)
        });
        let asked: Vec<_> = asked.collect();
        let found: Vec<(Batch<'a>, Result<Found, Error>, Why)> =
            futures::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        let mut queues = BTreeMap::new();
        for (batch, found, why) in &found {
            self.late.note(&batch.name(), *why, found.as_ref().err());
            for queue in &batch.queues {
                let item = found.as_ref().map_err(Clone::clone).map(|found| found.get(*queue));
                queues.insert((batch.vhost, *queue), item);
            }
        }
        let mut answers = BTreeMap::new();
        for ask in asks {
            let Some(item) = queues.get(&(ask.vhost.as_str(), ask.queue.as_str())) else {
                continue;
            };
            let answer = item.clone().and_then(|item| self.answer(ask, item));
            answers.insert(*ask, answer.map(|queue| (Value::Queue(queue), None)));
        }
        answers
    }

    /// What is known of the queues of a batch.
    async fn found(&self, batch: &Batch<'_>, deadline: Instant) -> Result<Found, Error> {
        let deadline = deadline.min(Instant::now() + PATIENCE);
        let vhost = utf8_percent_encode(batch.vhost, NON_ALPHANUMERIC);
        let name = utf8_percent_encode(&batch.pattern, NON_ALPHANUMERIC);
        let mut found = Found::new();
        let mut page = 1;
        loop {
            let url = format!(
                "{}/api/queues/{vhost}?page={page}&page_size=500&pagination=true&use_regex=true&name={name}\
                 &columns={COLUMNS}&enable_queue_totals=true",
                self.url
            );
            let (status, body) = self.web.get(&url, deadline).await?;
            if !status.is_success() {
                let what = format!("virtual host {}", batch.vhost);
                return Err(refused(self.web.at(), &what, status, &body));
            }
            let Ok(said) = serde_json::from_slice::<Page>(&body) else {
                return Err(self.failed(
                    &format!("the queues of virtual host {}", batch.vhost),
                    "its answer is not what RabbitMQ's management API says".to_owned(),
                ));
            };
            found.extend(said.items.into_iter().map(|item| (item.name.clone(), item)));
            if said.page_count.min(PAGES) <= page {
                return Ok(found);
            }
            page += 1;
        }
    }

    /// What a queue's state means to one ask.
    fn answer(&mut self, ask: &Ask, item: Option<&Item>) -> Result<Queue, Error> {
        let about = title(&ask.vhost, &ask.queue);
        let at = || Arc::clone(self.web.at());
        let item = item.ok_or_else(|| Error::NotFound { at: at(), what: about.clone() })?;
        if item.kind == "stream" {
            return Err(Error::QueryRefused {
                at: at(),
                detail: format!(
                    "{about} is a stream, and what is read of a stream still stands in it"
                ),
            });
        }
        let gone = ["down", "crashed", "stopped", "minority"];
        if let Some(state) = gone.iter().find(|state| item.state == **state) {
            return Err(self.failed(&about, format!("its state is {state}")));
        }
        let number = |said: &Json| {
            if said.is_null() {
                return Err(Error::EmptyAnswer { at: at(), about: about.clone() });
            }
            count(said).ok_or_else(|| unusable(self.web.at(), &about, &said.to_string()))
        };
        let (ready, unacked) =
            (number(&item.messages_ready)?, number(&item.messages_unacknowledged)?);
        let waiting = ready.saturating_add(unacked);
        let backlog = if ask.exclude_unacked { ready } else { waiting };
        let mut queue = Queue { backlog, ..Queue::default() };
        // A server without statistics counts nothing; nor does a queue into which nothing was published yet.
        if let Some(counts) = counts(&item.message_stats, waiting) {
            let key = (ask.vhost.clone(), ask.queue.clone());
            self.ledgers.entry(key).or_default().enter(counts, Instant::now(), &mut queue);
        }
        Ok(queue)
    }

    fn failed(&self, about: &str, detail: String) -> Error {
        Error::SourceFailed { at: Arc::clone(self.web.at()), about: line(about), detail }
    }

    /// Goes on with what an earlier client counted.
    pub(super) fn inherit(&mut self, old: &mut Self) {
        self.ledgers = std::mem::take(&mut old.ledgers);
        self.late = std::mem::take(&mut old.late);
    }

    /// Forgets the queues that nobody asks for any more.
    pub(super) fn forget(&mut self, in_force: &[&Ask]) {
        let is_asked: BTreeSet<(&str, &str)> =
            in_force.iter().map(|ask| (ask.vhost.as_str(), ask.queue.as_str())).collect();
        self.ledgers.retain(|(vhost, queue), _| is_asked.contains(&(vhost, queue)));
        let names: BTreeSet<String> =
            is_asked.into_iter().map(|(vhost, queue)| title(vhost, queue)).collect();
        self.late.retain(|name| names.contains(name));
    }
}

/// What came and was done, where the server counts it. A kind of counter that never counted is left out by the server.
fn counts(stats: &Json, waiting: u64) -> Option<Counts> {
    let stats = stats.as_object().filter(|stats| !stats.is_empty())?;
    let number = |name: &str| stats.get(name).map_or(Some(0), count);
    let done = ["ack", "deliver_no_ack", "get_no_ack"].map(number);
    let done = done.into_iter().try_fold(0_u64, |sum, more| sum.checked_add(more?))?;
    Some(Counts { came: Some(number("publish")?), done, waiting })
}

/// The queues of each virtual host, in as few requests as their names allow.
fn batches<'a>(asks: &[&'a Ask]) -> Vec<Batch<'a>> {
    let queues: BTreeSet<(&str, &str)> =
        asks.iter().map(|ask| (ask.vhost.as_str(), ask.queue.as_str())).collect();
    let mut batches: Vec<Batch<'a>> = Vec::new();
    let mut length = 0;
    for (vhost, queue) in queues {
        let escaped = escaped(queue);
        let more = utf8_percent_encode(&escaped, NON_ALPHANUMERIC).map(str::len).sum::<usize>() + 3;
        length += more;
        let fits = |batch: &&mut Batch<'a>| {
            batch.vhost == vhost && batch.queues.len() < MOST && length <= LONGEST
        };
        if let Some(batch) = batches.last_mut().filter(fits) {
            batch.queues.push(queue);
            batch.pattern.push('|');
            batch.pattern.push_str(&escaped);
        } else {
            length = more;
            batches.push(Batch { vhost, queues: vec![queue], pattern: escaped });
        }
    }
    for batch in &mut batches {
        batch.pattern = format!("^({})$", batch.pattern);
    }
    batches
}

/// A name as a pattern that only it matches.
fn escaped(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter.is_ascii() && !letter.is_ascii_alphanumeric() && letter != '_' && letter != '-' {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask(vhost: &str, queue: &str) -> Ask {
        Ask { vhost: vhost.to_owned(), queue: queue.to_owned(), exclude_unacked: false }
    }

    #[test]
    fn names_are_asked_for_together_until_a_line_is_full() {
        let mut asks: Vec<Ask> = (0..1000).map(|i| ask("/", &format!("queue.of.{i}"))).collect();
        asks.push(ask("shop", "a"));
        asks.push(ask("shop", "b|c"));
        asks.push(ask("shop", "a"));
        let asks: Vec<&Ask> = asks.iter().collect();
        let batches = batches(&asks);
        assert!(batches.len() < 10, "{}", batches.len());
        assert_eq!(batches.iter().map(|batch| batch.queues.len()).sum::<usize>(), 1002);
        for batch in &batches {
            let encoded = utf8_percent_encode(&batch.pattern, NON_ALPHANUMERIC).to_string();
            assert!(encoded.len() < 6_000, "{}", encoded.len());
        }
        let last = batches.last().unwrap();
        assert_eq!((last.vhost, last.pattern.as_str()), ("shop", r"^(a|b\|c)$"));
    }

    #[test]
    fn counters_are_known_when_there_is_one_and_all_are_counts() {
        let counted = |stats: Json| counts(&stats, 7).map(|counts| (counts.came, counts.done));
        let stats = json!({"publish": 9, "ack": 1, "deliver_no_ack": 2, "get_no_ack": 3});
        assert_eq!(counted(stats), Some((Some(9), 6)));
        assert_eq!(counted(json!({"publish": 9})), Some((Some(9), 0)));
        for none in [json!({}), json!([]), json!(null), json!({"ack": -1}), json!({"publish": "9"})]
        {
            assert_eq!(counted(none.clone()), None, "{none}");
        }
    }
}
