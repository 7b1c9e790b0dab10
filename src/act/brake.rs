//! What keeps a burst of writes from an API server that has no time for it: after a 429 nothing is sent for as long as it asks, or for longer
//! each time that it says so again. One for all counts that a process writes; what is merely told gives way to them; the lease goes another way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use tokio::time::Instant;
use tower::BoxError;

const FIRST: Duration = Duration::from_secs(1);
/// Before chance, which makes it up to half as long again. A count must not wait for longer.
const LONGEST: Duration = Duration::from_secs(10);

/// Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("the API server had no time (429); nothing is written for {} ms", .0.as_millis())]
pub(super) struct Resting(Duration);

/// For how long nothing is sent yet, if that is why this failed.
pub fn rest(error: &kube::Error) -> Option<Duration> {
    let kube::Error::Service(why) = error else { return None };
    why.downcast_ref::<Resting>().map(|resting| resting.0)
}

/// When something may be sent again. Clones are the same brake.
#[derive(Debug, Clone, Default)]
pub struct Brake(Arc<Mutex<Rest>>);

#[derive(Debug, Default)]
struct Rest {
    until: Option<Instant>,
    /// The last pause, without chance; none since an answer that was no 429.
    pause: Duration,
}

impl Brake {
    fn open(&self) -> MutexGuard<'_, Rest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long nothing may be sent.
    fn left(&self) -> Option<Duration> {
        let left = self.open().until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// It has no time. What was on its way together counts once.
    fn press(&self, asked: Option<Duration>) {
        let mut rest = self.open();
        let now = Instant::now();
        if rest.until.is_none_or(|until| until <= now) {
            rest.pause = FIRST.max(2 * rest.pause).min(LONGEST);
        }
        let pause = rest.pause.max(asked.unwrap_or_default().min(LONGEST));
        let until = now + pause.mul_f64(1.0 + fastrand::f64() / 2.0);
        rest.until = rest.until.max(Some(until));
    }

    /// It has time again, if it was asked after the rest.
    fn release(&self) {
        let mut rest = self.open();
        if rest.until.is_some_and(|until| until <= Instant::now()) {
            *rest = Rest::default();
        }
    }
}

impl Brake {
    /// A client with this brake; its error for what was not sent is [`Resting`].
    pub(super) fn on(&self, client: Client) -> Client {
        held(client, self.clone(), Vec::new())
    }

    /// A client that gives way: it rests with this brake and with one of its own, and its own alone is pressed by its answers. So counts go
    /// first, and what is merely told does not hold them up.
    #[must_use]
    pub fn behind(&self, client: Client) -> Client {
        held(client, Self::default(), vec![self.clone()])
    }
}

/// A client that presses a brake, and rests with others as well.
fn held(client: Client, brake: Brake, others: Vec<Brake>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let pass = move |request| pass(client.clone(), brake.clone(), others.clone(), request);
    Client::new(tower::service_fn(pass), namespace)
}

async fn pass(
    client: Client,
    brake: Brake,
    others: Vec<Brake>,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let left = others.iter().chain([&brake]).filter_map(Brake::left).max();
    if let Some(left) = left {
        return Err(Resting(left).into());
    }
    let answer = client.send(request).await?;
    if answer.status() == StatusCode::TOO_MANY_REQUESTS {
        brake.press(asked(answer.headers()));
    } else {
        brake.release();
    }
    Ok(answer)
}

/// How long the API server asks to be left alone. It says seconds, never a date.
fn asked(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds))
}
