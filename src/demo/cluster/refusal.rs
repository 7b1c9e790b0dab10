//! The API server's refusals: `Status` objects with its codes, reasons and texts. Made by every part of the in-memory API,
//! written out by `http`.

use crate::crd::schema::{Fault, go_json};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// One refused request. Boxed, for answers are mostly good ones.
#[derive(Debug, Clone)]
pub(super) struct Refusal(Box<Words>);

#[derive(Debug, Clone)]
struct Words {
    code: u16,
    reason: &'static str,
    message: String,
    details: Value,
    list_meta: Value,
}

/// `deployments.apps`, or `pods` for the core group: how texts name a resource.
pub(super) fn qualified(plural: &str, group: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

fn object(name: &str, group: &str, kind: &str) -> Value {
    let mut details = Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(key.to_owned(), json!(value));
        }
    }
    Value::Object(details)
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: String) -> Self {
        Self(Box::new(Words { code, reason, message, details: Value::Null, list_meta: json!({}) }))
    }

    fn about(mut self, name: &str, group: &str, kind: &str) -> Self {
        self.0.details = object(name, group, kind);
        self
    }

    /// The `Status` object to send.
    pub(super) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": self.0.list_meta, "status": "Failure", "message": self.0.message
        });
        if !self.0.reason.is_empty() {
            status["reason"] = json!(self.0.reason);
        }
        if !self.0.details.is_null() {
            status["details"] = self.0.details.clone();
        }
        status["code"] = json!(self.0.code);
        status
    }

    /// The HTTP status code to send.
    pub(super) fn http(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(super) fn not_found(plural: &str, group: &str, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(plural, group));
        Self::new(404, "NotFound", message).about(name, group, plural)
    }

    pub(super) fn no_such_resource() -> Self {
        let mut refusal = Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource".to_owned(),
        );
        refusal.0.details = json!({});
        refusal
    }

    pub(super) fn already_exists(plural: &str, group: &str, name: &str, going: bool) -> Self {
        let going = if going { "object is being deleted: " } else { "" };
        let message = format!("{going}{} {name:?} already exists", qualified(plural, group));
        Self::new(409, "AlreadyExists", message).about(name, group, plural)
    }

    pub(super) fn conflict(plural: &str, group: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            qualified(plural, group)
        );
        Self::new(409, "Conflict", message).about(name, group, plural)
    }

    pub(super) fn modified(plural: &str, group: &str, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(plural, group, name, why)
    }

    /// A server-side apply that meets other managers. `causes` are (message, field) pairs.
    pub(super) fn apply_conflict(message: String, causes: &[(String, String)]) -> Self {
        let mut refusal = Self::new(409, "Conflict", message);
        let cause = |(message, field): &(String, String)| json!({"reason": "FieldManagerConflict", "message": message, "field": field});
        refusal.0.details = json!({"causes": causes.iter().map(cause).collect::<Vec<_>>()});
        refusal
    }

    /// An object that breaks rules; `faults` is not empty.
    pub(super) fn invalid(kind: &str, group: &str, name: &str, faults: &[Fault]) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for fault in faults {
            let text = fault.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let joined =
            if texts.len() == 1 { texts.remove(0) } else { format!("[{}]", texts.join(", ")) };
        let message = format!("{} {name:?} is invalid: {joined}", qualified(kind, group));
        let mut refusal = Self::new(422, "Invalid", message).about(name, group, kind);
        let cause =
            |f: &Fault| json!({"reason": f.reason.word(), "message": f.message, "field": f.path});
        refusal.0.details["causes"] = faults.iter().map(cause).collect();
        refusal
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message.into())
    }

    /// A JSON patch that cannot be carried out.
    pub(super) fn refused_patch() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(422, "Invalid", message.to_owned()).with_details(json!({}))
    }

    /// A patch whose outcome is no object of the kind.
    pub(super) fn undecodable_patch(patched: &Value, why: &str) -> Self {
        let shown = Value::String(go_json(patched));
        let fault = Fault::invalid("patch", Some(&shown), why);
        let mut refusal = Self::invalid("", "", "", std::slice::from_ref(&fault));
        refusal.0.message = format!(" \"\" is invalid: {fault}");
        refusal
    }

    /// A body that says nothing of its kind.
    pub(super) fn unrecognized(kind: &str, why: &str, body: &str) -> Self {
        let start: String = body.chars().take(30).collect();
        let shown = if body.chars().count() > 30 { format!("{start} ...") } else { start };
        Self::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {why} ({shown})"
        ))
    }

    fn with_details(mut self, details: Value) -> Self {
        self.0.details = details;
        self
    }

    /// The message alone, for callers without HTTP.
    pub(super) fn message(&self) -> &str {
        &self.0.message
    }

    pub(super) fn method_not_allowed() -> Self {
        let mut refusal = Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource".to_owned(),
        );
        refusal.0.details = json!({});
        refusal
    }

    pub(super) fn unsupported_media(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// A patch of no known kind.
    pub(super) fn unknown_patch() -> Self {
        let message = "415: Unsupported Media Type".to_owned();
        Self::new(415, "UnsupportedMediaType", message).with_details(json!({}))
    }

    pub(super) fn not_acceptable() -> Self {
        let message = "406: Not Acceptable

Available representations: application/json";
        Self::new(406, "NotAcceptable", message.to_owned()).with_details(json!({}))
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        let message = message.into();
        let mut refusal =
            Self::new(500, "InternalError", format!("Internal error occurred: {message}"));
        refusal.0.details = json!({"causes": [{"message": message}]});
        refusal
    }

    /// The error of a handler that the server did not foresee: no reason, the bare text.
    pub(super) fn unforeseen(message: impl Into<String>) -> Self {
        Self::new(500, "", message.into())
    }

    /// History that is no longer kept; `token` continues an interrupted list from a later state.
    pub(super) fn expired(message: impl Into<String>, token: Option<&str>) -> Self {
        let mut refusal = Self::new(410, "Expired", message.into());
        if let Some(token) = token {
            refusal.0.list_meta = json!({"continue": token});
        }
        refusal
    }

    /// A resourceVersion from the future.
    pub(super) fn too_large(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let mut refusal = Self::new(504, "Timeout", message);
        refusal.0.details = json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1});
        refusal
    }

    /// A refusal made up by a test.
    pub(super) fn injected(code: u16) -> Self {
        let (reason, message) = match code {
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "forbidden: injected by a test"),
            409 => ("Conflict", "Operation cannot be fulfilled: injected by a test"),
            410 => ("Expired", "The resourceVersion for the provided watch is too old."),
            429 => (
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later",
            ),
            500 => ("InternalError", "Internal error occurred: injected by a test"),
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            504 => ("Timeout", "the server was unable to return a response in the time allotted"),
            _ => ("", "injected by a test"),
        };
        Self::new(code, reason, message.to_owned())
    }
}
