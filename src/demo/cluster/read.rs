//! GET of one object and LIST of many, in pages that all show the same moment. Called by `http`.

use super::kinds::Resource;
use super::refusal::Refusal;
use super::route::Query;
use super::selector::Selector;
use super::store::{Place, Store};
use super::table;
use super::view::{self, View};
use crate::crd::schema::{Fault, Reason};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What a list asks for.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    pub(super) resource: &'a Resource,
    /// Empty for all namespaces.
    pub(super) namespace: &'a str,
    pub(super) query: &'a Query,
    pub(super) view: View,
    pub(super) now: Timestamp,
}

/// Where a page went on: the moment it shows and the last place it held.
#[derive(Debug, PartialEq, Eq)]
struct Token {
    /// -1: whatever is there now.
    revision: i64,
    after: Place,
}

impl Token {
    fn text(&self) -> String {
        let json = json!({"v": "meta.k8s.io/v1", "rv": self.revision, "start": format!("{}/{}", self.after.0, self.after.1)});
        json.to_string().bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes: Option<Vec<u8>> = (0..text.len() / 2)
            .map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok())
            .collect();
        let json: Value = serde_json::from_slice(&bytes?).ok()?;
        let (namespace, name) = json["start"].as_str()?.split_once('/')?;
        Some(Self {
            revision: json["rv"].as_i64()?,
            after: (namespace.to_owned(), name.to_owned()),
        })
    }
}

/// The objects of a list and what its metadata says.
struct Page {
    objects: Vec<Arc<Value>>,
    revision: u64,
    token: Option<String>,
    remaining: Option<usize>,
}

const PAGE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

impl Listing<'_> {
    /// The answer's body.
    pub(super) fn answer(&self, store: &Store) -> Result<Vec<u8>, Refusal> {
        let page = self.page(store)?;
        let (kind, version) = self.view.list_type(self.resource);
        let mut meta = Map::new();
        meta.insert("resourceVersion".to_owned(), json!(page.revision.to_string()));
        if let Some(token) = page.token {
            meta.insert("continue".to_owned(), json!(token));
        }
        if let Some(remaining) = page.remaining {
            meta.insert("remainingItemCount".to_owned(), json!(remaining));
        }
        if self.view == View::Table {
            let mut table = table::table(self.resource, &page.objects, true, self.now);
            table["metadata"] = Value::Object(meta);
            return serde_json::to_vec(&table).map_err(|e| Refusal::internal(e.to_string()));
        }
        let mut out = format!(
            "{{\"kind\":{kind:?},\"apiVersion\":{version:?},\"metadata\":{},\"items\":[",
            Value::Object(meta)
        )
        .into_bytes();
        for (i, object) in page.objects.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            view::write_item(self.view, self.resource, object, &mut out)
                .map_err(|e| Refusal::internal(e.to_string()))?;
        }
        out.extend_from_slice(b"]}");
        Ok(out)
    }

    fn page(&self, store: &Store) -> Result<Page, Refusal> {
        let q = self.query;
        let selector =
            Selector::parse(self.resource, q.text("labelSelector"), q.text("fieldSelector"))?;
        let mut limit = q.number("limit").unwrap_or_default();
        let token = match q.text("continue") {
            "" => None,
            text => Some(Token::parse(text).ok_or_else(|| {
                Refusal::bad_request(
                    "invalid continue token: continue key is not valid: unrecognized start key",
                )
            })?),
        };
        let asked = q
            .revision()
            .map_err(|why| Refusal::bad_request(format!("invalid resource version: {why}")))?;
        let matching = q.text("resourceVersionMatch");
        if !matching.is_empty() && token.is_some() {
            return Err(forbidden_match("when continue is provided"));
        }
        if !matching.is_empty() && asked.is_none() {
            return Err(forbidden_match("unless resourceVersion is provided"));
        }
        if asked.is_some_and(|asked| asked > store.revision) {
            return Err(Refusal::too_large(asked.unwrap_or_default(), store.revision));
        }
        let exact = matching == "Exact"
            || (matching.is_empty() && limit > 0 && asked.is_some_and(|asked| asked > 0));
        if asked == Some(0) && matching.is_empty() {
            // The real server answers these from its cache, whole.
            limit = 0;
        }
        let revision = match &token {
            Some(token) if token.revision >= 0 => Some(token.revision.unsigned_abs()),
            None if exact => asked,
            _ => None,
        };
        let after = token.as_ref().map(|token| &token.after);
        let kept = store.shelf(&self.resource.shelf);
        let past;
        let objects = match (revision, kept) {
            (_, None) => None,
            (None, Some(kept)) => Some(&kept.objects),
            (Some(at), Some(kept)) => {
                past = kept.at(at).ok_or_else(|| expired(token.as_ref()))?;
                Some(&past)
            }
        };
        let from: Place = match after {
            Some(after) => (after.0.clone(), format!("{}\0", after.1)),
            None => (self.namespace.to_owned(), String::new()),
        };
        let everything = objects.into_iter().flat_map(|objects| objects.range(from.clone()..));
        let mut found = everything
            .take_while(|(place, _)| self.namespace.is_empty() || place.0 == self.namespace)
            .filter(|(_, object)| selector.matches(object));
        let revision = revision.unwrap_or(store.revision);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut page = Page { objects: Vec::new(), revision, token: None, remaining: None };
        let mut last = None;
        for (place, object) in found.by_ref() {
            page.objects.push(Arc::clone(object));
            last = Some(place.clone());
            if limit > 0 && page.objects.len() == limit {
                break;
            }
        }
        let rest = found.count();
        if limit > 0
            && rest > 0
            && let Some(after) = last
        {
            page.token =
                Some(Token { revision: i64::try_from(revision).unwrap_or(i64::MAX), after }.text());
            let plain = q.text("labelSelector").is_empty() && q.text("fieldSelector").is_empty();
            page.remaining = plain.then_some(rest);
        }
        Ok(page)
    }
}

fn expired(token: Option<&Token>) -> Refusal {
    match token {
        Some(token) => {
            let next = Token { revision: -1, after: token.after.clone() };
            Refusal::expired(PAGE_EXPIRED, Some(&next.text()))
        }
        None => Refusal::expired("The resourceVersion for the provided list is too old.", None),
    }
}

fn forbidden_match(when: &str) -> Refusal {
    let detail = format!("resourceVersionMatch is forbidden {when}");
    let fault = Fault::new("resourceVersionMatch", Reason::Forbidden, None, &detail);
    Refusal::invalid("ListOptions", "meta.k8s.io", "", &[fault])
}

/// One object.
pub(super) fn one(
    store: &Store,
    resource: &Resource,
    place: &Place,
) -> Result<Arc<Value>, Refusal> {
    let found = store.object(&resource.shelf, place).cloned();
    found.ok_or_else(|| Refusal::not_found(&resource.plural, &resource.group, &place.1))
}
