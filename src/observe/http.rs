//! A number in a JSON document, over HTTP: a count, or a time whose age counts. One client for each address; a document that several ask
//! for is fetched once.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use jsonpath_rust::JsonPath;
use serde_json::Value as Json;
use tokio::time::Instant;

pub use super::web::Address;

use super::figure::{Unit, unusable};
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
}

impl Source for Http {
    type Address = Address;
    type Ask = Ask;

    fn ask_of(ask: &super::Ask) -> Option<&Ask> {
        let super::Ask::Http(ask) = ask else { return None };
        Some(ask)
    }

    fn connect(to: &Address, keys: &Credentials, clock: Clock) -> Result<Self, Error> {
        Ok(Self { web: Web::new(to, keys)?, url: to.url.clone(), clock })
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
        let mut paths: Vec<&str> = asks.iter().map(|asked| asked.ask.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        let this = &*self;
        let all: Vec<_> = paths
            .into_iter()
            .map(|path| async move { (path, this.document(path, deadline).await) })
            .collect();
        let documents: BTreeMap<&str, Result<Json, Error>> =
            futures::stream::iter(all).buffer_unordered(AT_ONCE).collect().await;
        let is_refused =
            |it: &Result<Json, Error>| matches!(it, Err(Error::AuthenticationFailed { .. }));
        let answers = asks.iter().map(|asked| self.answer(asked.ask, &documents)).collect();
        if documents.values().any(is_refused) {
            self.web.discard_token();
        }
        answers
    }

    fn inherit(&mut self, _: &mut Self) {}

    fn forget(&mut self, _: &[&Ask]) {}

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

    fn answer(&self, ask: &Ask, documents: &BTreeMap<&str, Result<Json, Error>>) -> Answer {
        let at = self.web.at();
        let document = documents.get(ask.path.as_str()).cloned();
        let document = document.ok_or_else(|| Error::InternalError { at: Arc::clone(at) })??;
        let about = format!("{} of {}", ask.json_path, title(&ask.path));
        let found = document.query(&ask.json_path).map_err(|error| Error::QueryRefused {
            at: Arc::clone(at),
            detail: super::figure::line(&error.to_string()),
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
