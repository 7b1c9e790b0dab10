//! From a request to an answer: the fault door, the log, and who does what is asked. Served in process and over TCP by
//! `Cluster`; `route` tells what is asked for, which is done by `read`, `watch`, `write`, `patch`, `scale`, `discovery` and `reviews`.

use super::delete::Deleted;
use super::discovery;
use super::faults::{Fault, Faults, Logged};
use super::managers::Writer;
use super::patch::Kind;
use super::read::{Listing, one};
use super::refusal::Refusal;
use super::reviews::{self, Person};
use super::route::{Ask, Route, decode, deletion, header, route};
use super::scale::scale_shown;
use super::store::Place;
use super::view::View;
use super::watch;
use super::write::{Face, State, Unknown, Via, Write};
use super::{Body, Options};
use crate::clock::Clock;
use crate::crd::schema::{Fault as Broken, Reason};
use bytes::Bytes;
use futures::StreamExt;
use http::header::{CONTENT_TYPE, USER_AGENT, WARNING};
use http::request::Parts;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tower::BoxError;

/// Everything behind the door.
#[derive(Debug)]
pub(super) struct Api {
    state: RwLock<State>,
    pub(super) clock: Clock,
    pub(super) options: Options,
    pub(super) faults: Faults,
    /// Who there is; when nobody is named, everybody may do everything.
    pub(super) people: Mutex<Vec<Person>>,
    /// Counts up when all watches are to end.
    pub(super) cuts: tokio::sync::watch::Sender<u64>,
}

fn json_answer(code: StatusCode, value: &Value) -> Response<Body> {
    let mut answer = Response::new(Body::full(value.to_string().into_bytes()));
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}

impl Api {
    pub(super) fn new(state: State, clock: Clock, options: Options) -> Self {
        Self {
            state: RwLock::new(state),
            clock,
            options,
            faults: Faults::default(),
            people: Mutex::default(),
            cuts: tokio::sync::watch::Sender::new(0),
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now as the API prints times: RFC 3339, whole seconds.
    pub(super) fn now(&self) -> String {
        self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Answers one request. An error is a broken connection.
    pub(super) async fn answer(
        self: Arc<Self>,
        parts: Parts,
        body: Bytes,
    ) -> Result<Response<Body>, BoxError> {
        let route = route(&self.read(), &parts);
        let mut entry = self.entry(&parts, route.as_ref().ok());
        let fault = self.faults.next(&entry);
        let broken = || -> BoxError {
            Box::new(std::io::Error::new(
                std::io::ErrorKind::ConnectionReset,
                "connection broken on purpose",
            ))
        };
        match &fault {
            Some(Fault::Refuse(code)) => {
                entry.code = *code;
                self.faults.record(entry);
                let refusal = Refusal::injected(*code);
                return Ok(json_answer(refusal.http(), &refusal.status()));
            }
            Some(Fault::Drop) => {
                self.faults.record(entry);
                return Err(broken());
            }
            Some(Fault::Hang) => {
                self.faults.record(entry);
                return std::future::pending().await;
            }
            Some(Fault::Delay(time)) => tokio::time::sleep(*time).await,
            Some(Fault::ForwardThenRefuse(_) | Fault::ForwardThenDrop) | None => {}
        }
        let answer = route
            .and_then(|route| self.carry_out(route, &body))
            .unwrap_or_else(|refusal| json_answer(refusal.http(), &refusal.status()));
        entry.code = answer.status().as_u16();
        self.faults.record(entry);
        match fault {
            Some(Fault::ForwardThenRefuse(code)) => {
                let refusal = Refusal::injected(code);
                Ok(json_answer(refusal.http(), &refusal.status()))
            }
            Some(Fault::ForwardThenDrop) => Err(broken()),
            _ => Ok(answer),
        }
    }

    fn entry(&self, parts: &Parts, route: Option<&Route>) -> Logged {
        let ask = match route {
            Some(Route::Ask(ask)) => Some(ask),
            _ => None,
        };
        let text = |of: fn(&Ask) -> &str| ask.map(|ask| of(ask).to_owned()).unwrap_or_default();
        Logged {
            at: self.clock.now(),
            verb: ask
                .map_or_else(|| parts.method.as_str().to_lowercase(), |ask| ask.verb.to_owned()),
            resource: ask
                .map_or_else(|| parts.uri.path().to_owned(), |ask| ask.resource.plural.clone()),
            group: text(|ask| &ask.resource.group),
            namespace: text(|ask| &ask.namespace),
            name: text(|ask| &ask.name),
            subresource: text(|ask| &ask.subresource),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            content_type: header(parts, &CONTENT_TYPE),
            user_agent: header(parts, &USER_AGENT),
            code: 0,
        }
    }

    fn carry_out(self: &Arc<Self>, route: Route, body: &Bytes) -> Result<Response<Body>, Refusal> {
        match route {
            Route::Document(document) => {
                let mut answer = json_answer(StatusCode::OK, &document);
                if let Some(media) = discovery::media_type(&document)
                    && let Ok(media) = http::HeaderValue::from_str(media)
                {
                    answer.headers_mut().insert(CONTENT_TYPE, media);
                }
                Ok(answer)
            }
            Route::Text(code, text) => {
                let mut answer = Response::new(Body::full(text.as_bytes().to_vec()));
                *answer.status_mut() = code;
                Ok(answer)
            }
            Route::Ask(ask) => self.ask(&ask, body),
        }
    }

    fn ask(self: &Arc<Self>, ask: &Ask, body: &Bytes) -> Result<Response<Body>, Refusal> {
        let place: Place = (ask.namespace.clone(), ask.name.clone());
        match ask.verb {
            "watch" => {
                let lines =
                    watch::start(self, &ask.resource, &ask.namespace, &ask.query, ask.view)?;
                let mut answer = Response::new(Body::lines(lines.boxed()));
                answer
                    .headers_mut()
                    .insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
                Ok(answer)
            }
            "list" => {
                let state = self.read();
                let listing = Listing {
                    resource: &ask.resource,
                    namespace: &ask.namespace,
                    query: &ask.query,
                    view: ask.view,
                    now: self.clock.now(),
                };
                let bytes = listing.answer(&state.store)?;
                let mut answer = Response::new(Body::full(bytes));
                answer
                    .headers_mut()
                    .insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
                Ok(answer)
            }
            "get" => {
                let object = one(&self.read().store, &ask.resource, &place)?;
                self.shown(ask, StatusCode::OK, &object)
            }
            _ if reviews::is_review(&ask.resource) => {
                let object = decode(ask, body)?;
                let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
                let reviewed = reviews::answer(&ask.resource.kind, object, &people);
                Ok(json_answer(StatusCode::CREATED, &reviewed))
            }
            _ => self.change(ask, &place, body),
        }
    }

    /// An object in the form asked for, or its Scale.
    fn shown(
        &self,
        ask: &Ask,
        code: StatusCode,
        object: &Arc<Value>,
    ) -> Result<Response<Body>, Refusal> {
        if ask.subresource == "scale" {
            return Ok(json_answer(code, &scale_shown(object, &ask.resource)?));
        }
        Ok(json_answer(code, &ask.view.one(&ask.resource, object, self.clock.now())))
    }

    fn change(&self, ask: &Ask, place: &Place, body: &Bytes) -> Result<Response<Body>, Refusal> {
        let mut state = self.write();
        let manager = match ask.query.text("fieldManager") {
            "" if ask.content_type.starts_with("application/apply-patch") => String::new(),
            "" => ask.user_agent.split('/').next().unwrap_or_default().to_owned(),
            manager => manager.to_owned(),
        };
        let subresource = if ask.subresource == "finalize" { "" } else { &ask.subresource };
        let mut write = Write {
            state: &mut state,
            resource: Arc::clone(&ask.resource),
            writer: Writer {
                manager,
                api_version: ask.resource.api_version(),
                subresource: subresource.to_owned(),
            },
            now: self.now(),
            dry_run: ask.query.text("dryRun") == "All",
            unknown: match ask.query.text("fieldValidation") {
                "Ignore" => Unknown::Ignore,
                "Strict" => Unknown::Strict,
                _ => Unknown::Warn,
            },
            via: Via::Whole,
            warnings: Vec::new(),
        };
        let face = match ask.subresource.as_str() {
            "status" => Face::Status,
            "scale" => Face::Scale,
            _ => Face::Main,
        };
        let (code, object) = match ask.verb {
            "create" => {
                (StatusCode::CREATED, write.create(&ask.namespace, decode(ask, body)?, true)?)
            }
            "update" if face == Face::Scale => {
                (StatusCode::OK, write.update_scale(place, &decode(ask, body)?)?)
            }
            "update" => {
                let (object, created) = write.update(place, decode(ask, body)?, face)?;
                (if created { StatusCode::CREATED } else { StatusCode::OK }, object)
            }
            "patch" => {
                let kind = Kind::of(&ask.content_type, ask.resource.custom)?;
                let patch = decode(ask, body)?;
                let force = ask.query.is_true("force");
                if force && kind != Kind::Apply {
                    let why = "may not be specified for non-apply patch";
                    let fault = Broken::new("force", Reason::Forbidden, None, why);
                    return Err(Refusal::invalid("PatchOptions", "meta.k8s.io", "", &[fault]));
                }
                if face == Face::Scale {
                    (StatusCode::OK, write.patch_scale(place, kind, &patch, force)?)
                } else {
                    let (object, created) = write.patch(place, kind, &patch, face, force)?;
                    (if created { StatusCode::CREATED } else { StatusCode::OK }, object)
                }
            }
            "delete" => return self.delete(ask, &mut write, place, body),
            _ => return self.delete_all(ask, &mut write, body),
        };
        let warnings = std::mem::take(&mut write.warnings);
        drop(state);
        let mut answer = self.shown(ask, code, &object)?;
        for warning in warnings {
            let text = format!("299 - {}", json!(warning));
            if let Ok(value) = http::HeaderValue::from_str(&text) {
                answer.headers_mut().append(WARNING, value);
            }
        }
        Ok(answer)
    }

    fn delete(
        &self,
        ask: &Ask,
        write: &mut Write<'_>,
        place: &Place,
        body: &Bytes,
    ) -> Result<Response<Body>, Refusal> {
        let how = deletion(ask, body, self.options.shutdown.is_zero())?;
        Ok(match write.delete(place, &how)? {
            Deleted::Going(object) => {
                json_answer(StatusCode::OK, &ask.view.one(&ask.resource, &object, self.clock.now()))
            }
            // A few kinds are shown as they were; the others are told of by a Status.
            Deleted::Gone(last)
                if matches!(ask.resource.kind.as_str(), "Pod" | "Service" | "ServiceAccount") =>
            {
                let mut last = Value::clone(&last);
                if ask.resource.kind == "Pod" {
                    last["metadata"]["deletionTimestamp"] = json!(self.now());
                    last["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                }
                json_answer(
                    StatusCode::OK,
                    &ask.view.one(&ask.resource, &Arc::new(last), self.clock.now()),
                )
            }
            Deleted::Gone(last) => {
                let mut details = json!({"name": place.1, "group": ask.resource.group, "kind": ask.resource.plural, "uid": last["metadata"]["uid"]});
                if ask.resource.group.is_empty()
                    && let Some(details) = details.as_object_mut()
                {
                    details.shift_remove("group");
                }
                json_answer(
                    StatusCode::OK,
                    &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
                )
            }
        })
    }

    fn delete_all(
        &self,
        ask: &Ask,
        write: &mut Write<'_>,
        body: &Bytes,
    ) -> Result<Response<Body>, Refusal> {
        let how = deletion(ask, body, self.options.shutdown.is_zero())?;
        let listing = Listing {
            resource: &ask.resource,
            namespace: &ask.namespace,
            query: &ask.query,
            view: View::Whole,
            now: self.clock.now(),
        };
        let list = listing.answer(&write.state.store)?;
        let parsed: Value =
            serde_json::from_slice(&list).map_err(|e| Refusal::internal(e.to_string()))?;
        for item in parsed["items"].as_array().into_iter().flatten() {
            write.delete(&super::store::place_of(item), &how)?;
        }
        Ok(json_answer(StatusCode::OK, &parsed))
    }
}
