//! One write of a status, over the version it was made for: a leader that woke up late changes nothing. Called by the status tellers.

use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::act::WRITE_DEADLINE;
use crate::crd::{GROUP, VERSION};

/// The field manager of every status we write.
pub(crate) const FIELD_MANAGER: &str = "penstock-status";

#[derive(Deserialize)]
struct Written {
    metadata: WrittenMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMeta {
    resource_version: String,
}

/// Writes the status of an object of ours, as uid and version name it; `place` is its path below the group, and what is no longer so is null in
/// `status`. Gives the version that came of it.
///
/// # Errors
/// The API server refuses it, or gives no answer in time.
pub(super) async fn status(
    client: &Client,
    place: &str,
    (uid, version): (&str, &str),
    status: Value,
) -> Result<String, kube::Error> {
    let path = format!("/apis/{GROUP}/{VERSION}/{place}/status?fieldManager={FIELD_MANAGER}");
    let body = json!({"metadata": {"uid": uid, "resourceVersion": version}, "status": status});
    let request = Request::patch(path)
        .header(CONTENT_TYPE, "application/merge-patch+json")
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    let written: Written = tokio::time::timeout(WRITE_DEADLINE, client.request(request))
        .await
        .unwrap_or_else(|elapsed| Err(kube::Error::Service(elapsed.into())))?;
    Ok(written.metadata.resource_version)
}
