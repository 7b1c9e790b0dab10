//! Prometheus, and what speaks its query API: the value of an instant query. One client for each address; equal queries are asked once.
//! What is empty, not a number, many or partial is told as what it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use form_urlencoded::Serializer;
use futures::StreamExt;
use prometheus_http_query::response::{Data, PromqlResult, Sample};
use reqwest::StatusCode;
use serde::Deserialize;
use tokio::time::Instant;

pub use super::web::Address;

use super::figure::{Unit, line};
use super::late::{Late, PATIENCE, Why};
use super::web::{AT_ONCE, Web, refused};
use super::{Answer, Asked, Credentials, Error, Source};
use crate::clock::Clock;
use crate::decide::{Lost, Value};

/// The least age at which a sample is stale; else three polls.
const STALE: Duration = Duration::from_mins(2);
/// Queries longer than this are posted, since URLs are cut off by proxies.
const LONG: usize = 2000;

/// What to read: the value of a query.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// `PromQL` that gives one number, or as many as `gives` says.
    pub query: String,
    /// What an answer without a value means.
    pub on_empty: OnEmpty,
    /// What it gives.
    pub gives: Gives,
}

/// What a query gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gives {
    /// One number, which counts as this.
    One(Unit),
    /// A price for each series, which is called by the first of these labels that it has. What is no number above 0 is left out: a server that
    /// does not know a price is not one that knows it to be nothing.
    Prices(&'static [&'static str]),
}

/// What an answer without a value means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnEmpty {
    /// Nothing is known.
    #[default]
    Error,
    /// None.
    Zero,
}

/// A Prometheus, visited.
pub(crate) struct Prometheus {
    web: Web,
    /// Of the query API.
    url: String,
    late: Late,
}

/// One query. Asks that differ in what they make of its answer share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Query<'a> {
    text: &'a str,
    /// What calls its series, where each counts by itself.
    labels: &'static [&'static str],
}

impl<'a> Query<'a> {
    fn of(ask: &'a Ask) -> Self {
        let labels = match ask.gives {
            Gives::One(_) => &[],
            Gives::Prices(labels) => labels,
        };
        Self { text: &ask.query, labels }
    }
}

/// What came of one query.
#[derive(Debug, Clone)]
enum Found {
    Nothing { warning: Option<String> },
    One { value: f64, warning: Option<String> },
    Each { values: BTreeMap<Arc<str>, f64>, warning: Option<String> },
}

/// The envelope of every answer.
#[derive(Debug, Deserialize)]
struct Envelope {
    status: String,
    data: Option<PromqlResult>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    /// `VictoriaMetrics` says only here that a node of its storage was away.
    #[serde(default, rename = "isPartial")]
    is_partial: bool,
}

impl Envelope {
    /// Why data may lack: the first warning that tells of lost data, not one that only comments on the query.
    fn loss(&self) -> Option<String> {
        let warning = self.warnings.iter().find(|warning| !warning.starts_with("PromQL "));
        let partial = || self.is_partial.then(|| "its answer is partial".to_owned());
        warning.map(|warning| line(warning)).or_else(partial)
    }
}

impl Source for Prometheus {
    type Address = Address;
    type Ask = Ask;

    fn ask_of(ask: &super::Ask) -> Option<&Ask> {
        let super::Ask::Prometheus(ask) = ask else { return None };
        Some(ask)
    }

    fn connect(to: &Address, keys: &Credentials, _: Clock) -> Result<Self, Error> {
        let url = format!("{}/api/v1/query", to.url.trim_end_matches('/'));
        Ok(Self { web: Web::new(to, keys)?, url, late: Late::default() })
    }

    async fn greet(&mut self, deadline: Instant) -> Result<(), Error> {
        self.web.log_in(deadline).await?;
        self.ask("vector(1)", deadline).await.map(drop)
    }

    async fn read(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Vec<Answer> {
        if asks.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.web.log_in(deadline).await {
            return vec![Err(error); asks.len()];
        }
        let mut queries: BTreeMap<Query<'_>, Duration> = BTreeMap::new();
        for Asked { ask, poll_interval, .. } in asks {
            let stale = STALE.max(*poll_interval * 3);
            let query = queries.entry(Query::of(ask)).or_insert(stale);
            *query = (*query).min(stale);
        }
        let mut queries: Vec<_> = queries.into_iter().collect();
        queries.sort_by_key(|(query, _)| self.late.turn(query.text));
        let this = &*self;
        let ask = |(query, stale)| async move {
            let why = Why::now(deadline);
            (query, this.found(query, stale, deadline).await, why)
        };
        let all: Vec<_> = queries.into_iter().map(ask).collect();
        let all: Vec<_> = futures::stream::iter(all).buffer_unordered(AT_ONCE).collect().await;
        for (query, found, why) in &all {
            self.late.note(query.text, *why, found.as_ref().err());
        }
        let found: BTreeMap<Query<'_>, Result<Found, Error>> =
            all.into_iter().map(|(query, found, _)| (query, found)).collect();
        let answers = asks.iter().map(|asked| self.answer(asked.ask, &found)).collect();
        let is_refused =
            |found: &Result<Found, Error>| matches!(found, Err(Error::AuthenticationFailed { .. }));
        if found.values().any(is_refused) {
            self.web.discard_token();
        }
        answers
    }

    fn inherit(&mut self, old: &mut Self) {
        self.late = std::mem::take(&mut old.late);
    }

    fn forget(&mut self, in_force: &[&Ask]) {
        self.late.retain(|text| in_force.iter().any(|ask| ask.query == text));
    }

    async fn close(self) {}
}

impl Prometheus {
    /// What one query gives, unless its sample is older than `stale`.
    async fn found(
        &self,
        Query { text, labels }: Query<'_>,
        stale: Duration,
        deadline: Instant,
    ) -> Result<Found, Error> {
        let deadline = deadline.min(Instant::now() + PATIENCE);
        if !labels.is_empty() {
            return self.ask(text, deadline).await.and_then(|said| self.each(text, said, labels));
        }
        if !is_selector(text) {
            return self.ask(text, deadline).await.and_then(|said| self.value(text, said));
        }
        // A selector says when its sample was made. An expression does not: its time is the time it was asked.
        let said = self.ask(text, deadline).await?;
        let found = self.value(text, said)?;
        let Found::One { value, warning } = found else { return Ok(found) };
        let made = self.ask(&format!("timestamp({text})"), deadline).await;
        let age = made.map(|said| {
            let made = said.data.and_then(|data| only(data.data())?.ok())?;
            Some(made.timestamp() - made.value()).filter(|age| age.is_finite())
        });
        // Nobody knows how old what has no time is: it must not count as new.
        let unknown = match age {
            Ok(Some(age)) if stale.as_secs_f64() < age => {
                let age = Duration::try_from_secs_f64(age).unwrap_or(Duration::MAX).as_secs();
                return Err(Error::StaleSample { at: self.at(), about: line(text), age });
            }
            Ok(Some(_)) => None,
            Ok(None) => Some("the age of its sample is unknown".to_owned()),
            Err(error) => Some(line(&format!("the age of its sample is unknown: {error}"))),
        };
        Ok(Found::One { value, warning: warning.or(unknown) })
    }

    fn at(&self) -> Arc<str> {
        Arc::clone(self.web.at())
    }

    /// Puts one query.
    async fn ask(&self, text: &str, deadline: Instant) -> Result<Envelope, Error> {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let patience = format!("{}ms", left.max(1));
        let form = form(&[("query", text), ("timeout", &patience)]);
        let (status, body) = if LONG < text.len() {
            self.web.post(&self.url, form, deadline).await?
        } else {
            self.web.get(&format!("{}?{form}", self.url), deadline).await?
        };
        let said = serde_json::from_slice::<Envelope>(&body);
        match said {
            Ok(said) if status.is_success() && said.status == "success" => Ok(said),
            Ok(Envelope { error: Some(error), .. }) => Err(match status {
                StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                    Error::QueryRefused { at: self.at(), detail: line(&error) }
                }
                _ => self.failed(text, line(&error)),
            }),
            Ok(_) | Err(_) if !status.is_success() => {
                Err(refused(&self.at(), "query API", status, &body))
            }
            Ok(_) => Err(self.failed(text, "its answer has no data".to_owned())),
            Err(_) => Err(self.failed(text, "its answer is not what Prometheus says".to_owned())),
        }
    }

    fn failed(&self, text: &str, detail: String) -> Error {
        Error::SourceFailed { at: self.at(), about: line(text), detail }
    }

    /// The one value of an answer.
    fn value(&self, text: &str, said: Envelope) -> Result<Found, Error> {
        let warning = said.loss();
        let data =
            said.data.ok_or_else(|| self.failed(text, "its answer has no data".to_owned()))?;
        let Some(sample) = only(data.data()) else { return Ok(Found::Nothing { warning }) };
        let sample = sample.map_err(|count| match count {
            0 => Error::QueryRefused {
                at: self.at(),
                detail: format!("{} gives a range, not an instant", line(text)),
            },
            count => Error::ManyValues { at: self.at(), about: line(text), count },
        })?;
        Ok(Found::One { value: sample.value(), warning })
    }

    /// What each series of an answer says that is a price.
    fn each(&self, text: &str, said: Envelope, labels: &[&str]) -> Result<Found, Error> {
        let warning = said.loss();
        let data =
            said.data.ok_or_else(|| self.failed(text, "its answer has no data".to_owned()))?;
        let Data::Vector(series) = data.data() else {
            let detail = format!("{} gives no series", line(text));
            return Err(Error::QueryRefused { at: self.at(), detail });
        };
        let named = series.iter().filter_map(|series| {
            let value = series.sample().value();
            let name = labels.iter().find_map(|label| series.metric().get(*label))?;
            (value.is_finite() && 0.0 < value).then(|| (name.as_str().into(), value))
        });
        let values: BTreeMap<Arc<str>, f64> = named.collect();
        if values.is_empty() {
            return Ok(Found::Nothing { warning });
        }
        Ok(Found::Each { values, warning })
    }

    /// What a query's value means to one ask.
    fn answer(&self, ask: &Ask, found: &BTreeMap<Query<'_>, Result<Found, Error>>) -> Answer {
        let about = line(&ask.query);
        let found = found.get(&Query::of(ask)).cloned();
        let lost = |warning: Option<String>| {
            warning.map(|error| Lost { partitions: 0, of: 0, error: error.into() })
        };
        match (found.ok_or_else(|| Error::InternalError { at: self.at() })??, ask.gives) {
            (Found::One { value, warning }, Gives::One(unit)) => {
                Ok((unit.value(&self.at(), &about, value)?, lost(warning)))
            }
            (Found::Each { values, warning }, Gives::Prices(_)) => {
                Ok((Value::Each(values), lost(warning)))
            }
            // What is not there may be what was lost.
            (Found::Nothing { warning }, Gives::One(unit)) if ask.on_empty == OnEmpty::Zero => {
                Ok((unit.value(&self.at(), &about, 0.0)?, lost(warning)))
            }
            (Found::Nothing { .. }, _) => Err(Error::EmptyAnswer { at: self.at(), about }),
            // A query is read as it is asked.
            (Found::One { .. } | Found::Each { .. }, _) => {
                Err(Error::InternalError { at: self.at() })
            }
        }
    }
}

/// Names and values as a form has them.
fn form(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The one sample of an answer; `None` when it is empty, else how many there are; none for a range.
fn only(data: &Data) -> Option<Result<Sample, usize>> {
    match data {
        Data::Scalar(sample) => Some(Ok(*sample)),
        Data::Vector(vector) => match vector.as_slice() {
            [] => None,
            [one] => Some(Ok(*one.sample())),
            many => Some(Err(many.len())),
        },
        Data::Matrix(_) => Some(Err(0)),
    }
}

/// Is this a metric's name, perhaps with matchers in braces, and nothing else?
fn is_selector(text: &str) -> bool {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let rest = rest.trim_start();
    if rest.is_empty() {
        return !name.is_empty();
    }
    let Some(inside) = rest.strip_prefix('{') else { return false };
    let mut quote = None;
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some('"' | '\''), '\\') => drop(chars.next()),
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '}') => return at + 1 == inside.len(),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_selector;

    #[test]
    fn a_selector_is_told_from_an_expression() {
        for text in
            ["up", " up ", "up{}", r#"up{job="a"}"#, r#"{__name__="x"}"#, r#"a:b{x="}\"}"}"#]
        {
            assert!(is_selector(text), "{text}");
        }
        for text in
            ["", "1", "sum(up)", "up + 1", "up{} offset 5m", "up[5m]", r#"up{a="b"} > 1"#, "up{"]
        {
            assert!(!is_selector(text), "{text}");
        }
    }
}
