//! One request to the API server: how it is put, that the licence is asked at the last moment, and what its answer means. Called by
//! everything here that writes.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use kube::Client;
use kube::core::Status;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Licence;
use super::brake;
use super::kinds::is_plain;
use crate::decide::{Ending, ForeignWriter};

pub(super) const JSON: &str = "application/json";
pub(super) const JSON_PATCH: &str = "application/json-patch+json";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// What a message of someone else may fill.
const MESSAGE_LIMIT: usize = 256;

/// A request, or why its path cannot be one.
pub(super) type Asked = Result<Request<Vec<u8>>, http::Error>;

/// Of what is answered nothing is read but the version, where there is one.
#[derive(Deserialize)]
pub(super) struct Answered {
    #[serde(default)]
    metadata: Meta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    resource_version: String,
}

impl Answered {
    /// Is there no version, as of nothing that was written?
    pub(super) fn is_bare(&self) -> bool {
        self.metadata.resource_version.is_empty()
    }

    pub(super) fn done(self) -> Ending {
        Ending::Done { resource_version: self.metadata.resource_version.into() }
    }
}

/// Why a request did not do what it should.
pub(super) enum Failed {
    /// The API server says why.
    Answered(Box<Status>),
    /// It never left, or nobody knows what became of it.
    Unanswered(Ending),
}

impl Failed {
    /// What the API server answered.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Answered(status) => Some(status.code),
            Self::Unanswered(_) => None,
        }
    }
}

impl From<Failed> for Ending {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Answered(status) => ending_of(&status),
            Failed::Unanswered(ending) => ending,
        }
    }
}

/// A request with or without a body, which is of this content type.
pub(super) fn request(method: Method, path: &str, body: Option<(&str, &Value)>) -> Asked {
    let request = Request::builder().method(method).uri(path);
    match body {
        Some((kind, body)) => {
            request.header(CONTENT_TYPE, kind).body(body.to_string().into_bytes())
        }
        None => request.body(Vec::new()),
    }
}

/// Reads what stands at this path.
pub(super) async fn get<T: DeserializeOwned>(
    client: &Client,
    path: &str,
) -> Result<T, kube::Error> {
    client.request(request(Method::GET, path, None).map_err(kube::Error::HttpError)?).await
}

/// Sends what changes something. The licence is asked at the last moment, after everything that can wait.
pub(super) async fn send<T: DeserializeOwned>(
    client: &Client,
    request: Asked,
    licence: &Licence,
) -> Result<T, Failed> {
    let request = request.map_err(|error| {
        let message = cut(&error.to_string());
        Failed::Unanswered(Ending::Refused { code: 400, message })
    })?;
    licence
        .check()
        .map_err(|none| Failed::Unanswered(Ending::NotSent { message: none.to_string() }))?;
    client.request(request).await.map_err(|error| {
        if let kube::Error::Api(status) = error {
            return Failed::Answered(status);
        }
        let message = cut(&text(&error));
        Failed::Unanswered(if brake::rest(&error).is_some() {
            Ending::NotSent { message }
        } else {
            Ending::Unknown { message }
        })
    })
}

/// Is there a part that would bend a path?
pub(super) fn odd(parts: &[&Arc<str>]) -> Option<Ending> {
    let part = parts.iter().find(|part| !is_plain(part))?;
    let message = format!("`{part}` cannot be part of an API path");
    Some(Ending::Refused { code: 400, message })
}

/// What an answer other than 2xx means.
pub(super) fn ending_of(status: &Status) -> Ending {
    let message = cut(&status.message);
    match status.code {
        404 => Ending::Gone,
        409 => conflict_of(status),
        // Turned away before anything was done: the next turn may ask again.
        429 => Ending::NotSent { message: format!("the API server has no time (429): {message}") },
        code if (400..500).contains(&code) && code != 408 => Ending::Refused { code, message },
        code => Ending::Unknown { message: format!("the API server answered {code}: {message}") },
    }
}

fn conflict_of(status: &Status) -> Ending {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut writers = causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| foreign_writer(&cause.message));
    match writers.next() {
        // Several may own the count together; one that applies will come back, so it is the one to name.
        Some(first) => {
            let writer = writers.find(|writer| writer.applies).filter(|_| !first.applies);
            Ending::Conflict { writer: writer.unwrap_or(first) }
        }
        None if status.message.contains("Precondition failed: UID") => Ending::Gone,
        None => Ending::Outdated,
    }
}

/// Reads `conflict with "NAME"`, which has ` using autoscaling/v1` behind it only for an Update manager (kube-apiserver 1.33 and 1.36).
fn foreign_writer(message: &str) -> ForeignWriter {
    let quoted = message.split_once('"').map_or(message, |(_, rest)| rest);
    let (name, rest) = quoted.split_once('"').unwrap_or((quoted, ""));
    ForeignWriter { manager: cut(name).into(), applies: !rest.contains(" using ") }
}

pub(super) fn text(error: &kube::Error) -> String {
    // kube's own text for an API error repeats the whole status; its message is what a reader needs.
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

pub(super) fn cut(message: &str) -> String {
    message[..message.floor_char_boundary(MESSAGE_LIMIT)].to_owned()
}
