//! A few connections to one HTTP server, never more than that, each kept for the next question. Called by `web.rs`, which says what is sent
//! and what an answer means.
//!
//! A library's pool has a connection back when a task of its own has seen the end of the last answer; a question that comes before opens
//! one more. Here whoever asks on a connection also carries its bytes, so that none is made while one will do.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::dial::{self, dial};
use super::web::{AT_ONCE, CONNECT, late, too_long};
use super::{Error, fault};

/// A connection that nobody has used for so long may be dead without a word, as those behind a NAT are: another is made.
const KEPT: Duration = Duration::from_mins(1);

/// The connections to one server.
pub(super) struct Lines {
    at: Arc<str>,
    /// `host:port`.
    host: String,
    tls: Option<TlsConnector>,
    room: Semaphore,
    free: Mutex<Vec<Line>>,
}

/// What carries the bytes of a connection.
type Carrier = Pin<Box<Connection<TokioIo<Box<dyn dial::Bytes>>, Full<Bytes>>>>;

/// One connection.
struct Line {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended.
    carrier: Option<Carrier>,
    used: Instant,
}

/// Why a line gave no answer.
enum Trouble {
    /// The server hung up before a word of an answer: on a line that was used before, it need not have seen the question.
    HungUp(hyper::Error),
    Broken(hyper::Error),
    TooLong,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Lines {
    /// Does not wait for the server; `host` is `host:port`.
    pub(super) fn to(at: &Arc<str>, host: String, tls: Option<TlsConnector>) -> Self {
        let (room, free) = (Semaphore::new(AT_ONCE), Mutex::default());
        Self { at: Arc::clone(at), host, tls, room, free }
    }

    /// The status and the body of the answer to a question, which is one that may be put twice: all of ours only read.
    pub(super) async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        if deadline <= Instant::now() {
            // A request that nobody waits for would only be work for the server.
            return Err(late(&self.at));
        }
        let answer = tokio::time::timeout_at(deadline, self.answer(request)).await;
        answer.unwrap_or_else(|_| Err(late(&self.at)))
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Vec<u8>), Error> {
        let room = self.room.acquire().await;
        let _room = room.map_err(|_| Error::InternalError { at: Arc::clone(&self.at) })?;
        while let Some(line) = self.free() {
            match self.ask_on(line, request.clone()).await {
                Err(Trouble::HungUp(_)) => {}
                answer => return self.told(answer),
            }
        }
        let line = self.open().await?;
        self.told(self.ask_on(line, request).await)
    }

    /// Asks on a line, and keeps it when all of the answer was read.
    async fn ask_on(
        &self,
        mut line: Line,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Vec<u8>), Trouble> {
        let answer = line.ask(request).await?;
        line.used = Instant::now();
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        Ok(answer)
    }

    /// The line that was used last, unless that is long ago.
    fn free(&self) -> Option<Line> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let line = free.pop()?;
        if line.used.elapsed() < KEPT {
            return Some(line);
        }
        // Those below it are older still.
        free.clear();
        None
    }

    async fn open(&self) -> Result<Line, Error> {
        let dialled = tokio::time::timeout(CONNECT, dial(&self.host, self.tls.as_ref())).await;
        let stream = dialled.map_err(|_| Error::Timeout {
            at: Arc::clone(&self.at),
            detail: "waited for a connection".to_owned(),
        })?;
        let stream = stream.map_err(|error| fault::transport(&self.at, &error))?;
        let made = handshake(TokioIo::new(stream)).await;
        let (sender, carrier) = made.map_err(|error| fault::transport(&self.at, &error))?;
        Ok(Line { sender, carrier: Some(Box::pin(carrier)), used: Instant::now() })
    }

    fn told(
        &self,
        answer: Result<(StatusCode, Vec<u8>), Trouble>,
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        answer.map_err(|trouble| match trouble {
            Trouble::HungUp(error) | Trouble::Broken(error) => fault::transport(&self.at, &error),
            Trouble::TooLong => too_long(&self.at),
        })
    }
}

impl Line {
    async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Vec<u8>), Trouble> {
        let Self { sender, carrier, .. } = self;
        let exchange = async {
            sender.ready().await.map_err(Trouble::HungUp)?;
            let response = sender.send_request(request).await.map_err(|error| {
                // What is no HTTP was said by somebody.
                if error.is_parse() { Trouble::Broken(error) } else { Trouble::HungUp(error) }
            })?;
            let (head, body) = response.into_parts();
            Ok::<_, Trouble>((head.status, whole(body).await?))
        };
        let mut exchange = pin!(exchange);
        let both = poll_fn(|context| {
            // A connection that has ended has told whoever waits on it why.
            if carrier.as_mut().is_some_and(|it| it.as_mut().poll(context).is_ready()) {
                *carrier = None;
            }
            exchange.as_mut().poll(context)
        });
        both.await
    }
}

/// All of a body, unless that is too much.
async fn whole(mut body: Incoming) -> Result<Vec<u8>, Trouble> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.map_err(Trouble::Broken)?.into_data() else { continue };
        if super::web::LONGEST <= whole.len() + bytes.len() {
            return Err(Trouble::TooLong);
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole)
}
