//! A number in a JSON document, over HTTP: a count, or a time whose age counts. One client for each address; a document that several ask
//! for is fetched once.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use serde_json::Value as Json;
use tokio::time::Instant;

pub use super::path::fault as path_fault;
pub use super::web::Address;

use super::figure::{Unit, line, unusable};
use super::late::{Late, PATIENCE, Why};
use super::path::{Path, TooMuch};
use super::web::{AT_ONCE, Web, refused};
use super::{Answer, Asked, Credentials, Error, Source};
use crate::clock::Clock;

/// What to read: a number in a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// Below the address's URL; empty for the URL itself.
    pub path: String,
    /// Where the number stands (RFC 9535).
    pub json_path: String,
    /// What the number counts as.
    pub unit: Unit,
}

/// An HTTP server, visited.
#[derive(Debug)]
pub(crate) struct Http {
    web: Web,
    url: String,
    clock: Clock,
    /// By path.
    late: Late,
}

impl Source for Http {
    type Address = Address;
    type Ask = Ask;

    fn ask_of(ask: &super::Ask) -> Option<&Ask> {
        let super::Ask::Http(ask) = ask else { return None };
        Some(ask)
    }

    fn connect(to: &Address, keys: &Credentials, clock: Clock) -> Result<Self, Error> {
        let (web, url) = (Web::new(to, keys)?, to.url.clone());
        Ok(Self { web, url, clock, late: Late::default() })
    }

    /// Any answer but a refusal will do: the address itself need not be a document.
    async fn greet(&mut self, deadline: Instant) -> Result<(), Error> {
        self.web.log_in(deadline).await?;
        self.web.get(&self.url, deadline).await.map(drop)
    }

    async fn read(&mut self, asks: &[Asked<'_, Ask>], deadline: Instant) -> Vec<Answer> {
        if asks.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.web.log_in(deadline).await {
            return vec![Err(error); asks.len()];
        }
        let mut paths: BTreeMap<&str, Vec<(usize, &Ask)>> = BTreeMap::new();
        for (at, asked) in asks.iter().enumerate() {
            paths.entry(&asked.ask.path).or_default().push((at, asked.ask));
        }
        let mut paths: Vec<_> = paths.into_iter().collect();
        paths.sort_by_key(|(path, _)| self.late.turn(path));
        let this = &*self;
        let all = paths.into_iter().map(|(path, asks)| async move {
            let why = Why::now(deadline);
            let document = this.document(path, deadline.min(Instant::now() + PATIENCE)).await;
            // Read as it comes, so that no more documents are kept than are on their way.
            let mut answers = Vec::with_capacity(asks.len());
            for (at, ask) in asks {
                answers.push((at, this.answer(ask, &document)));
                tokio::task::yield_now().await;
            }
            (path, why, document.err(), answers)
        });
        let all: Vec<_> = all.collect();
        let all: Vec<_> = futures::stream::iter(all).buffer_unordered(AT_ONCE).collect().await;
        let mut found = BTreeMap::new();
        for (path, why, error, answers) in all {
            self.late.note(path, why, error.as_ref());
            if matches!(error, Some(Error::AuthenticationFailed { .. })) {
                self.web.discard_token();
            }
            found.extend(answers);
        }
        let nobody = || Err(Error::InternalError { at: Arc::clone(self.web.at()) });
        (0..asks.len()).map(|at| found.remove(&at).unwrap_or_else(nobody)).collect()
    }

    fn inherit(&mut self, old: &mut Self) {
        self.late = std::mem::take(&mut old.late);
    }

    fn forget(&mut self, in_force: &[&Ask]) {
        self.late.retain(|path| in_force.iter().any(|ask| ask.path == path));
    }

    async fn close(self) {}
}

impl Http {
    async fn document(&self, path: &str, deadline: Instant) -> Result<Json, Error> {
        let url = below(&self.url, path);
        let (status, body) = self.web.get(&url, deadline).await?;
        if !status.is_success() {
            return Err(refused(self.web.at(), &title(path), status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| Error::SourceFailed {
            at: Arc::clone(self.web.at()),
            about: title(path),
            detail: format!("its answer is no JSON: {:?} error", error.classify()),
        })
    }

    fn answer(&self, ask: &Ask, document: &Result<Json, Error>) -> Answer {
        let at = self.web.at();
        let document = document.as_ref().map_err(Clone::clone)?;
        let about = format!("{} of {}", ask.json_path, title(&ask.path));
        let short: String = ask.json_path.chars().take(60).collect();
        let refused = |what: &str| Error::QueryRefused {
            at: Arc::clone(at),
            detail: line(&format!("jsonPath {short} {what}")),
        };
        let path = Path::new(&ask.json_path).map_err(|what| refused(&what))?;
        let found = path.walk(document).map_err(|TooMuch| {
            refused("looks at too much of the document; hint: name what stands on the way, instead of .. and *")
        })?;
        match found[..] {
            [] | [Json::Null] => Err(Error::EmptyAnswer { at: Arc::clone(at), about }),
            [one] => {
                let number = number(one, self.clock.now());
                let number = number.ok_or_else(|| unusable(at, &about, &one.to_string()))?;
                Ok((ask.unit.value(at, &about, number)?, None))
            }
            ref many => Err(Error::ManyValues { at: Arc::clone(at), about, count: many.len() }),
        }
    }
}

/// The number that a JSON value stands for: itself, a text that is a number, or the age in seconds of a time (RFC 3339).
fn number(value: &Json, now: Timestamp) -> Option<f64> {
    let text = match value {
        Json::Number(number) => return number.as_f64(),
        Json::String(text) => text,
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => return None,
    };
    super::figure::number(text, now)
}

/// How errors call a document.
fn title(path: &str) -> String {
    if path.is_empty() { "the document".to_owned() } else { path.to_owned() }
}

/// A path below a URL.
fn below(url: &str, path: &str) -> String {
    if path.is_empty() {
        return url.to_owned();
    }
    format!("{}/{}", url.trim_end_matches('/'), path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_is_as_old_as_it_is_and_a_truth_is_no_number() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let read = |value: Json| number(&value, now);
        assert_eq!(read(json!(7)), Some(7.0));
        assert_eq!(read(json!(" 7.5 ")), Some(7.5));
        assert_eq!(read(json!("2026-01-01T23:59:00Z")), Some(60.0));
        assert_eq!(read(json!("2026-01-02T01:00:00+01:00")), Some(0.0));
        assert_eq!(read(json!("2026-01-02T00:00:30Z")), Some(0.0));
        assert!(read(json!("2026-01-02T02:00:00Z")).is_some_and(|age| age < 0.0));
        for none in [json!(true), json!([1]), json!({"a": 1}), json!("soon"), json!("2026-01-01")] {
            assert_eq!(read(none.clone()), None, "{none}");
        }
    }

    #[test]
    fn paths_lie_below_the_address() {
        assert_eq!(below("http://a/b/", "/c"), "http://a/b/c");
        assert_eq!(below("http://a", "c?d=1"), "http://a/c?d=1");
        assert_eq!(below("http://a/b", ""), "http://a/b");
    }
}
