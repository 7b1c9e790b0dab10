//! The past, from the Events that an earlier process wrote: read once, page by page, after the first turn. Called by the tellers;
//! a daemon without the right to list Events does without, and says so once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, Client, api::ListParams};

use super::{Entry, Timelines, Told};
use crate::clock::Clock;
use crate::decide::PipelineId;

/// Events of one page: so many are held at a time.
const PAGE: u32 = 200;
/// Pages read at most: events expire within the hour, and there is no more room than for the newest.
const PAGES: usize = 200;

/// Reads the Events of these namespaces (of all, when there are none) into the timelines.
pub(in crate::report) async fn read(
    client: Client,
    namespaces: &[String],
    timelines: &Timelines,
    clock: Clock,
) {
    let everywhere = namespaces.is_empty().then(|| Api::all(client.clone()));
    let each = namespaces.iter().map(|name| Api::namespaced(client.clone(), name));
    for api in everywhere.into_iter().chain(each) {
        if let Err(error) = pages(&api, timelines, clock).await {
            tracing::info!(%error, "timelines begin with this process: its Events cannot be listed; hint: let it list events of events.k8s.io");
            return;
        }
    }
}

async fn pages(api: &Api<Event>, timelines: &Timelines, clock: Clock) -> kube::Result<()> {
    let mut page = ListParams::default().fields("regarding.kind=ScaledPipeline").limit(PAGE);
    for _ in 0..PAGES {
        let list = api.list(&page).await?;
        let mut past: BTreeMap<(PipelineId, String), Vec<(Told, Entry)>> = BTreeMap::new();
        for event in list.items {
            if let Some((of, told)) = told(event) {
                past.entry(of).or_default().push(told);
            }
        }
        for ((pipeline, uid), past) in past {
            timelines.refill(&pipeline, &uid, past, clock.now());
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page.continue_token = Some(token),
            None => break,
        }
    }
    Ok(())
}

/// Of which pipeline (with its uid) an event of ours is, and what it says.
fn told(event: Event) -> Option<((PipelineId, String), (Told, Entry))> {
    if event.reporting_controller.as_deref() != Some(super::super::events::CONTROLLER) {
        return None;
    }
    let regarding = event.regarding?;
    let id = PipelineId { namespace: regarding.namespace?.into(), name: regarding.name?.into() };
    let at: Timestamp = event.event_time?.0;
    let told = Told::read(&event.note?);
    let entry = told.entry(at, &event.reason?, event.type_.as_deref() == Some("Warning"));
    Some(((id, regarding.uid?), (told, entry)))
}
