//! The door of the page that is open to the cluster: nobody sees anything without a token of the cluster, shown in `Authorization` or in the cookie that
//! signing in leaves. What its owner may see is `gate`'s to find out. Signing in and out is all that can be written here, and no page of elsewhere can do it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension, FromRequest, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::super::gate::{Gate, Person, Refusal};
use super::super::sight::Sight;
use super::super::{Answer, failure};
use super::hosts::{self, Hosts};

/// Where one signs in and out.
const SESSION: &str = "/api/v1/session";
/// A cookie larger than 4,096 bytes is not kept by browsers.
const LONGEST: usize = 4_000;
/// A token longer than this is nobody's, and a body larger than this is not read.
const LARGEST: usize = 16 << 10;
/// Nor is one that takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The cookie that holds the token. By TLS it has the name that no other site of the same domain can give to a cookie of its own.
const COOKIE: &str = "penstock-token";
const SAFE_COOKIE: &str = "__Host-penstock-token";

/// Who came in, and how.
#[derive(Debug, Clone)]
struct Guest {
    person: Arc<Person>,
    by_cookie: bool,
}

/// Who looks, for the page: nothing where nobody has to say.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Can he sign out here?
    can_leave: bool,
}

/// What is sent to sign in.
#[derive(Deserialize)]
struct Shown {
    token: String,
}

/// The views for who comes by loopback: all of them, whole.
pub(in crate::answer) fn unguarded(views: Router<Answer>) -> Router<Answer> {
    views
        .route(SESSION, get(async || Json(Session::default())))
        .route_layer(Extension(Sight::whole()))
}

/// The views for who shows a token, cut to what he may see; and the way to sign in and out.
pub(in crate::answer) fn guarded(
    views: Router<Answer>,
    answer: &Answer,
    gate: Gate,
) -> Router<Answer> {
    let session = post(sign_in).delete(async |headers: HeaderMap| left(&headers));
    let session = Router::new()
        .route(SESSION, session)
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(from_fn_with_state(answer.hosts.clone(), from_here))
        .with_state(gate.clone());
    views
        .route(SESSION, get(who))
        .route_layer(from_fn_with_state((answer.clone(), gate), admit))
        .merge(session)
}

/// Lets those through whom the API server knows, each with his sight.
async fn admit(
    State((answer, gate)): State<(Answer, Gate)>,
    path: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    let Some((token, by_cookie)) = shown(request.headers()) else {
        let how = gate.how();
        return refused(&format!(
            "this page wants a token of the cluster; hint: sign in at /, or send Authorization: Bearer TOKEN; {how} prints one"
        ));
    };
    // Where one namespace is asked for, that alone.
    let one = path.iter().find_map(|(name, value)| (name == "namespace").then_some(value));
    let all = answer.standing.all();
    let namespaces = all.iter().map(|picture| &picture.glance.id.namespace);
    let namespaces = namespaces.filter(|it| one.is_none_or(|one| ***it == *one));
    let namespaces: BTreeSet<_> = namespaces.cloned().collect();
    let (person, sight) = match gate.sight(token, &namespaces).await {
        Ok(found) => found,
        Err(refusal) => return turned_away(refusal, &gate),
    };
    request.extensions_mut().insert(sight);
    request.extensions_mut().insert(Guest { person, by_cookie });
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn who(Extension(guest): Extension<Guest>) -> Json<Session> {
    Json(Session { user: Some(guest.person.name.clone()), can_leave: guest.by_cookie })
}

async fn sign_in(State(gate): State<Gate>, request: Request) -> Response {
    let headers = request.headers().clone();
    let body = timeout(PATIENCE, Json::from_request(request, &()));
    let Ok(Ok(Json(Shown { token }))) = body.await else {
        let hint = "nothing to sign in by; hint: {\"token\": \"...\"} as application/json";
        return failure(StatusCode::BAD_REQUEST, "BadRequest", hint);
    };
    let token = token.trim();
    if !is_token(token) {
        let hint = format!("that is no token; hint: {} prints one", gate.how());
        return failure(StatusCode::BAD_REQUEST, "BadRequest", &hint);
    }
    if LONGEST < token.len() {
        let hint = "this token is longer than a cookie may be; hint: a proxy before this page that sends it in Authorization";
        return failure(StatusCode::BAD_REQUEST, "BadRequest", hint);
    }
    match gate.who(token).await {
        Ok(person) => {
            let session = Session { user: Some(person.name.clone()), can_leave: true };
            let mut response = Json(session).into_response();
            set_cookie(&mut response, &headers, token, "");
            response
        }
        Err(refusal) => turned_away(refusal, &gate),
    }
}

/// Is it what RFC 6750 calls a token, and no longer than one is? Nothing in it ends a cookie or a header.
fn is_token(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    !text.is_empty() && text.len() <= LARGEST && text.chars().all(is_plain)
}

/// Signed out: the browser forgets the token.
fn left(headers: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, headers, "", "; Max-Age=0");
    response
}

fn set_cookie(response: &mut Response, headers: &HeaderMap, value: &str, more: &str) {
    let (name, secure) = if is_safe(headers) { (SAFE_COOKIE, "; Secure") } else { (COOKIE, "") };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}");
    if let Ok(mut cookie) = HeaderValue::from_str(&text) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// The token that a request shows, and whether in the cookie. Another login than `Bearer` is a proxy's, and none of ours.
fn shown(headers: &HeaderMap) -> Option<(&str, bool)> {
    let said = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let bearer = said.and_then(|said| said.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    if let Some((_, token)) = bearer {
        return Some((token.trim(), false)).filter(|(token, _)| is_token(token));
    }
    let name = if is_safe(headers) { SAFE_COOKIE } else { COOKIE };
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|it| it.to_str().ok());
    let mut pairs = cookies.flat_map(|it| it.split(';')).filter_map(|it| it.trim().split_once('='));
    pairs.find(|(key, token)| *key == name && is_token(token)).map(|(_, token)| (token, true))
}

/// Did the browser come by TLS, as the proxy that ended it says?
fn is_safe(headers: &HeaderMap) -> bool {
    let by = headers.get(HeaderName::from_static("x-forwarded-proto"));
    let by = by.and_then(|by| by.to_str().ok()).and_then(|by| by.split(',').next());
    by.is_some_and(|by| by.trim().eq_ignore_ascii_case("https"))
}

/// Lets through what a page of ours sends, or no browser at all: another site could sign somebody in as somebody else.
async fn from_here(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    if !is_from_here(&hosts, &request) {
        let hint = "only this page itself signs in and out; hint: send a token in Authorization";
        return failure(StatusCode::FORBIDDEN, "Forbidden", hint);
    }
    next.run(request).await
}

fn is_from_here(hosts: &Hosts, request: &Request) -> bool {
    let says = |name: HeaderName| Some(request.headers().get(name)?.to_str().unwrap_or_default());
    // The browser's own word: no script can say it.
    if let Some(site) = says(HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    let Some(origin) = says(header::ORIGIN) else { return true };
    let place = ["https://", "http://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
    let host = hosts::said(request).unwrap_or_default();
    // A proxy may ask by a name of its own, and is itself known by one that was given.
    place.is_some_and(|place| place.eq_ignore_ascii_case(host) || hosts.names(place))
}

fn turned_away(refusal: Refusal, gate: &Gate) -> Response {
    let closed = |message| {
        let mut response = failure(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        response
    };
    match refusal {
        Refusal::Stranger => refused(&format!(
            "the API server does not know this token: it has expired, or is of another cluster or for another audience; hint: {} prints a new one",
            gate.how()
        )),
        Refusal::Forbidden => closed(
            "the API server does not let Penstock ask who you are, and so nobody is let in; hint: penstock check prints the rights it lacks",
        ),
        Refusal::Silent => closed(
            "the API server does not say who you are, and without its word nobody is let in; hint: try again in a few seconds",
        ),
        Refusal::Crowded => closed(
            "more people ask than the API server is asked about at once; hint: try again in a few seconds",
        ),
    }
}

fn refused(message: &str) -> Response {
    let mut response = failure(StatusCode::UNAUTHORIZED, "Unauthorized", message);
    let how = HeaderValue::from_static("Bearer realm=\"penstock\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
    response
}
