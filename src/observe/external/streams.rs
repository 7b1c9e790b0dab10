//! The streams on which scalers say that there is work. Held by the source, which is asked out of turn when one of them speaks; a stream
//! that ends is opened again ever more rarely, and never at once.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;
use tonic::{Code, Streaming};

use super::Ask;
use super::call::Caller;
use crate::proto::external_scaler::IsActiveResponse;

/// The first and the longest pause before a stream that ended is opened again.
const SHORTEST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A scaler that knows no streams is not asked for one again so soon.
const UNKNOWN: Duration = Duration::from_hours(1);

/// Streams by ask.
#[derive(Default)]
pub(super) struct Streams {
    next: FuturesUnordered<BoxFuture<'static, (Ask, Heard)>>,
    known: BTreeMap<Ask, Known>,
}

/// What is known of one stream.
struct Known {
    is_open: bool,
    not_before: Instant,
    pause: Duration,
}

/// What came of waiting for a stream's next word.
enum Heard {
    Said(bool, Box<Streaming<IsActiveResponse>>),
    Ended(Option<Code>),
}

impl Streams {
    /// Opens the stream of an ask, unless it is open or rests.
    pub(super) fn open(&mut self, ask: Ask, caller: &Caller) {
        let now = Instant::now();
        let known = self.known.entry(ask.clone()).or_insert(Known {
            is_open: false,
            not_before: now,
            pause: SHORTEST_PAUSE,
        });
        if known.is_open || now < known.not_before {
            return;
        }
        known.is_open = true;
        let caller = caller.clone();
        self.next.push(Box::pin(async move {
            match caller.stream(&ask).await {
                Ok(stream) => listen(ask, Box::new(stream)).await,
                Err(status) => (ask, Heard::Ended(Some(status.code()))),
            }
        }));
    }

    /// Comes back when a scaler says that there is work. Nothing is lost when it is dropped half way.
    pub(super) async fn stir(&mut self) {
        loop {
            let Some((ask, heard)) = self.next.next().await else {
                return std::future::pending().await;
            };
            let Some(known) = self.known.get_mut(&ask) else { continue };
            match heard {
                Heard::Said(is_active, stream) => {
                    known.pause = SHORTEST_PAUSE;
                    self.next.push(Box::pin(listen(ask, stream)));
                    if is_active {
                        return;
                    }
                }
                Heard::Ended(code) => {
                    known.is_open = false;
                    let pause =
                        if code == Some(Code::Unimplemented) { UNKNOWN } else { known.pause };
                    known.not_before = Instant::now() + pause;
                    known.pause = (known.pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Closes the streams of asks that are no longer in force.
    pub(super) fn forget(&mut self, in_force: &[&Ask]) {
        let before = self.known.len();
        self.known.retain(|ask, _| in_force.contains(&ask));
        if self.known.len() < before {
            // The futures cannot be told apart from outside: all are closed, and the next visit opens those in force.
            self.next.clear();
            self.known.clear();
        }
    }
}

/// Waits for a stream's next word.
async fn listen(ask: Ask, mut stream: Box<Streaming<IsActiveResponse>>) -> (Ask, Heard) {
    match stream.message().await {
        Ok(Some(said)) => (ask, Heard::Said(said.result, stream)),
        Ok(None) => (ask, Heard::Ended(None)),
        Err(status) => (ask, Heard::Ended(Some(status.code()))),
    }
}
