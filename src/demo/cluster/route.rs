//! What a request is about: its path, query and headers, and its body as JSON. Called by `http`, which does what is asked.

use super::delete::Deletion;
use super::discovery;
use super::kinds::Resource;
use super::refusal::Refusal;
use super::view::View;
use super::write::State;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderName, Method, StatusCode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The parameters of a request.
#[derive(Debug, Default, Clone)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    fn parse(raw: &str) -> Self {
        Self(form_urlencoded::parse(raw.as_bytes()).into_owned().collect())
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.text(key).parse().ok()
    }

    pub(super) fn is_true(&self, key: &str) -> bool {
        matches!(self.text(key), "true" | "1")
    }

    /// The `resourceVersion` asked for; none when none is named. The error is why it is no number.
    pub(super) fn revision(&self) -> Result<Option<u64>, String> {
        let text = self.text("resourceVersion");
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| {
            format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax")
        })
    }
}

/// A request for a resource.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) resource: Arc<Resource>,
    pub(super) verb: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) subresource: String,
    pub(super) query: Query,
    pub(super) view: View,
    pub(super) content_type: String,
    pub(super) user_agent: String,
}

/// What a path means.
pub(super) enum Route {
    /// A document of the API itself: discovery, version, health.
    Document(Value),
    /// Plain text.
    Text(StatusCode, &'static str),
    /// A resource.
    Ask(Box<Ask>),
}

/// What the real server says to a path of no group it knows.
const NO_PAGE: &str = "404 page not found\n";

/// A header's values, joined by commas.
pub(super) fn header(parts: &Parts, name: &HeaderName) -> String {
    let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

/// What a request is about.
pub(super) fn route(state: &State, parts: &Parts) -> Result<Route, Refusal> {
    let path: Vec<&str> = parts.uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let accept = header(parts, &ACCEPT);
    if let Some(document) = discovery::document(&state.kinds, &path, &accept) {
        return Ok(Route::Document(document));
    }
    match &path[..] {
        ["healthz" | "readyz" | "livez", ..] => Ok(Route::Text(StatusCode::OK, "ok")),
        ["api", version, rest @ ..] => resource(state, parts, ("", version), rest, &accept),
        ["apis", group, version, rest @ ..] => {
            resource(state, parts, (group, version), rest, &accept)
        }
        _ => Ok(Route::Text(StatusCode::NOT_FOUND, NO_PAGE)),
    }
}

fn resource(
    state: &State,
    parts: &Parts,
    of: (&str, &str),
    path: &[&str],
    accept: &str,
) -> Result<Route, Refusal> {
    let (namespace, rest) = match path {
        ["namespaces", namespace, rest @ ..]
            if !rest.is_empty() && !matches!(rest[0], "status" | "finalize") =>
        {
            (*namespace, rest)
        }
        rest => ("", rest),
    };
    let [plural, rest @ ..] = rest else { return Err(Refusal::no_such_resource()) };
    let Some(resource) = state.kinds.find(of.0, of.1, plural).cloned() else {
        return match state.kinds.of(of.0, of.1).next() {
            Some(other) if !other.custom => Err(Refusal::no_such_resource()),
            _ => Ok(Route::Text(StatusCode::NOT_FOUND, NO_PAGE)),
        };
    };
    let name = rest.first().copied().unwrap_or_default();
    let subresource = rest.get(1).copied().unwrap_or_default();
    let known = match subresource {
        "" => true,
        "status" => resource.has_status,
        "scale" => resource.scale.is_some(),
        "finalize" => resource.kind == "Namespace",
        _ => false,
    };
    if !known
        || rest.len() > 2
        || (resource.namespaced && namespace.is_empty() && !name.is_empty())
        || (!resource.namespaced && !namespace.is_empty())
    {
        return Err(Refusal::no_such_resource());
    }
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let verb = match (&parts.method, name.is_empty()) {
        (&Method::GET, true) if query.is_true("watch") => "watch",
        (&Method::GET, true) => "list",
        (&Method::GET, false) => "get",
        (&Method::POST, true) => "create",
        (&Method::PUT, false) => "update",
        (&Method::PATCH, false) => "patch",
        (&Method::DELETE, false) => "delete",
        (&Method::DELETE, true) => "deletecollection",
        _ => return Err(Refusal::method_not_allowed()),
    };
    Ok(Route::Ask(Box::new(Ask {
        resource,
        verb,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
        query,
        view: View::of(accept)?,
        content_type: header(parts, &CONTENT_TYPE),
        user_agent: header(parts, &USER_AGENT),
    })))
}

/// What a delete asks for. `at_once` is for clusters whose pods stop in no time.
pub(super) fn deletion(ask: &Ask, body: &Bytes, at_once: bool) -> Result<Deletion, Refusal> {
    let options = if body.is_empty() { Value::Null } else { decode(ask, body)? };
    let text = |pointer: &str| options.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let policy = text("/propagationPolicy")
        .unwrap_or_else(|| ask.query.text("propagationPolicy").to_owned());
    let default = at_once.then_some(0);
    Ok(Deletion {
        uid: text("/preconditions/uid"),
        revision: text("/preconditions/resourceVersion"),
        orphan: policy == "Orphan",
        grace: options
            .get("gracePeriodSeconds")
            .and_then(Value::as_u64)
            .or_else(|| ask.query.number("gracePeriodSeconds"))
            .or(default),
    })
}

/// The body as JSON; YAML is read too, as the real server does.
pub(super) fn decode(ask: &Ask, body: &Bytes) -> Result<Value, Refusal> {
    let media = ask.content_type.split(';').next().unwrap_or_default().trim();
    let kind = &ask.resource.kind;
    let text = String::from_utf8_lossy(body);
    let value: Value = if media.ends_with("yaml") {
        serde_saphyr::from_str(&text)
            .map_err(|e| Refusal::bad_request(format!("error decoding YAML: {e}")))?
    } else if media.is_empty() || media.ends_with("json") || media == "*/*" {
        serde_json::from_slice(body).map_err(|e| {
            let why = format!("couldn't get version/kind; json parse error: {e}");
            Refusal::unrecognized(kind, &why, &text)
        })?
    } else {
        return Err(Refusal::unsupported_media("application/json, application/yaml"));
    };
    let whole = matches!(ask.verb, "create" | "update");
    if whole && ask.resource.custom && ask.subresource != "scale" {
        for key in ["kind", "apiVersion"] {
            if value.get(key).and_then(Value::as_str).is_none_or(str::is_empty) {
                let name = if key == "kind" { "Kind" } else { key };
                let why = format!("Object '{name}' is missing in '{text}'");
                return Err(Refusal::unrecognized(kind, &why, &text));
            }
        }
    }
    Ok(value)
}
