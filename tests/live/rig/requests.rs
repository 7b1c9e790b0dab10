//! What the API server was asked, from its own audit log. Called by tests and the benchmark that count requests.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// One request, once answered (a watch: once begun).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    pub(crate) user: String,
    pub(crate) user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, ...
    pub(crate) verb: String,
    /// With the group: `deployments.apps`, `pods`; empty for paths such as `/readyz`.
    pub(crate) resource: String,
    /// `scale`, `status`, or empty.
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Path and query.
    pub(crate) uri: String,
    pub(crate) code: u16,
    /// When it came.
    pub(crate) came: Timestamp,
    /// When it was answered (a watch: begun).
    pub(crate) at: Timestamp,
    /// What a write to `/scale` left there; `None` for all else, and for one that was refused.
    pub(crate) replicas: Option<u32>,
    /// What a read of `/scale` found: replicas asked for, and replicas there. Only where the cluster was started with `scale_reads`.
    pub(crate) found: Option<(u32, u32)>,
}

/// Reads the log from where it stood last. `kubectl`'s and the controllers' requests are in it too: filter by user or agent.
#[derive(Debug)]
pub(crate) struct RequestLog {
    path: PathBuf,
    read: u64,
}

impl RequestLog {
    pub(super) fn from_now(path: PathBuf) -> Result<Self> {
        let read = std::fs::metadata(&path).with_context(|| {
            format!("read {}; hint: start the cluster with `audit`", path.display())
        })?;
        Ok(Self { path, read: read.len() })
    }

    /// The requests since the last call, in the order of their answers.
    pub(crate) fn take(&mut self) -> Result<Vec<Request>> {
        let mut file =
            File::open(&self.path).with_context(|| format!("open {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut new = String::new();
        file.read_to_string(&mut new).context("read the audit log")?;
        // The last line may be in the making.
        new.truncate(new.rfind('\n').map_or(0, |end| end + 1));
        self.read += new.len() as u64;
        let entries = new
            .lines()
            .map(|line| serde_json::from_str::<Entry>(line).context("understand the audit log"));
        entries.filter_map(|entry| entry.map(Entry::request).transpose()).collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: Object,
    response_status: Option<Status>,
    #[serde(rename = "requestReceivedTimestamp")]
    came: Timestamp,
    #[serde(rename = "stageTimestamp")]
    at: Timestamp,
    /// Written down for `/scale` only.
    response_object: Option<Value>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    resource: String,
    api_group: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
}

impl Entry {
    /// A watch that ends would be counted twice; one that goes on, never.
    fn request(self) -> Option<Request> {
        let counted = if self.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
        let is_write = ["patch", "update"].contains(&self.verb.as_str());
        let answer = self.response_object.as_ref();
        let counted_in = |part: &str| answer.and_then(|scale| replicas(scale.get(part)?));
        let Object { resource, api_group, subresource, namespace, name } = self.object_ref;
        (self.stage == counted).then(|| Request {
            replicas: counted_in("spec").filter(|_| is_write),
            found: (!is_write).then(|| counted_in("spec").zip(counted_in("status"))).flatten(),
            user: self.user.username,
            user_agent: self.user_agent,
            verb: self.verb,
            resource: if api_group.is_empty() {
                resource
            } else {
                format!("{resource}.{api_group}")
            },
            subresource,
            namespace,
            name,
            uri: self.uri,
            code: self.response_status.map_or(0, |status| status.code),
            came: self.came,
            at: self.at,
        })
    }
}

/// The count in a part of a scale; the API server leaves a zero out. A refusal has no such part.
fn replicas(part: &Value) -> Option<u32> {
    let count = part.as_object()?.get("replicas").map_or(Some(0), Value::as_u64)?;
    u32::try_from(count).ok()
}
