//! What is new, as it comes: server-sent events, at most one a second to each page that is open. Nothing waits in a queue: a page that
//! reads slowly is told the latest when it reads again, and everything when it was away for long.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sheet::{News, PACE, Sheets, WATCHERS, Watcher};
use crate::answer::sight::Sight;
use crate::answer::{Answer, view};
use crate::clock::sleep_until;
use crate::decide::PipelineId;
use crate::report::Standing;

/// A comment is sent after so long without news, so that what lies between keeps the connection open.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// One page that is open.
struct Reader {
    sight: Sight,
    sheets: Sheets,
    standing: Standing,
    moved: watch::Receiver<()>,
    ended: CancellationToken,
    /// The version it has seen.
    seen: Option<u64>,
    /// The pipeline it shows whole, and what it was told of it last.
    focus: Option<(PipelineId, Told)>,
    /// Not before this is it told again; `None` before the first time.
    next: Option<Instant>,
    /// At most one of each kind.
    ready: VecDeque<Event>,
    is_over: bool,
    _place: Watcher,
}

/// What a page was told of the pipeline it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    /// There is none of this name.
    Gone,
    /// The turn at this time.
    Turn(Timestamp),
}

/// The stream from a version on, with the whole of one pipeline where `focus` names it; `None` when no place is free.
pub(super) fn stream(
    answer: &Answer,
    sight: Sight,
    ended: CancellationToken,
    seen: Option<u64>,
    focus: Option<PipelineId>,
) -> Option<Response> {
    let Answer { sheets, standing, .. } = answer;
    let reader = Reader {
        sight,
        sheets: sheets.clone(),
        standing: standing.clone(),
        moved: standing.moved(),
        ended,
        seen,
        focus: focus.map(|id| (id, Told::Nothing)),
        next: None,
        ready: VecDeque::new(),
        is_over: false,
        _place: sheets.watch()?,
    };
    let heart = KeepAlive::new().interval(HEARTBEAT).text("still here");
    // A proxy that gathers answers would keep each event back.
    let at_once = [("x-accel-buffering", "no")];
    Some((at_once, Sse::new(reader.events()).keep_alive(heart)).into_response())
}

/// What is said when no place is free.
pub(super) fn full() -> String {
    format!(
        "{WATCHERS} pages are open at this replica, and more it does not serve; hint: close one, or ask /api/v1/overview now and then"
    )
}

impl Reader {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures::stream::unfold(self, async |mut reader| {
            let event = reader.event().await?;
            Some((Ok(event), reader))
        })
    }

    /// The next event; `None` when the process is about to end, or what is known of the reader is too old: he comes again, and is looked at anew.
    async fn event(&mut self) -> Option<Event> {
        let ended = self.ended.clone();
        loop {
            if ended.is_cancelled() || self.is_over {
                return None;
            }
            // What waits for a page that reads slowly is not told either.
            if self.sight.until.is_some_and(|until| until <= Instant::now()) {
                return Some(self.end());
            }
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if let Some(next) = self.next {
                let again = sleep_until(self.sight.until);
                tokio::pin!(again);
                tokio::select! {
                    biased;
                    () = ended.cancelled() => return None,
                    () = &mut again => return Some(self.end()),
                    moved = self.moved.changed() => moved.ok()?,
                }
                tokio::select! {
                    biased;
                    () = ended.cancelled() => return None,
                    () = &mut again => return Some(self.end()),
                    () = tokio::time::sleep_until(next.max(self.sheets.ready_at())) => {}
                }
                // What moved meanwhile is in what is looked at now.
                self.moved.mark_unchanged();
            }
            self.next = Some(Instant::now() + PACE);
            self.look();
        }
    }

    fn end(&mut self) -> Event {
        self.is_over = true;
        Event::default().event("again").data("{}")
    }

    fn look(&mut self) {
        let news = self.sheets.since(self.seen, &self.sight);
        self.seen = Some(news.version);
        if news.is_whole || !news.lines.is_empty() || !news.gone.is_empty() {
            let id = self.sheets.token(news.version, &self.sight);
            let data = told(&news, self.sheets.now());
            self.ready.push_back(Event::default().event("pipelines").id(id).data(data));
        }
        if let Some((id, seen)) = &mut self.focus {
            let picture = self.standing.of(id).filter(|_| self.sight.sees(&id.namespace));
            let now = picture.as_ref().map_or(Told::Gone, |picture| Told::Turn(picture.at));
            if *seen != now {
                let data = match &picture {
                    Some(picture) => {
                        let whole = view::Pipeline::of(picture, self.sheets.now());
                        serde_json::to_string(&whole).unwrap_or_default()
                    }
                    None => json!({"namespace": id.namespace, "name": id.name, "isGone": true})
                        .to_string(),
                };
                self.ready.push_back(Event::default().event("pipeline").data(data));
                *seen = now;
            }
        }
    }
}

/// News as one line of JSON.
fn told(news: &News, at: Timestamp) -> String {
    let gone: Vec<String> = news.gone.iter().map(ToString::to_string).collect();
    let gone = serde_json::to_string(&gone).unwrap_or_default();
    let lines = news.lines.join(",");
    let is_whole = news.is_whole;
    format!(r#"{{"at":"{at}","isWhole":{is_whole},"pipelines":[{lines}],"gone":{gone}}}"#)
}
