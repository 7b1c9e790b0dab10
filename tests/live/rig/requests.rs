//! What the API server was asked, from its own audit log. Called by tests and the benchmark that count requests.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

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
    /// When it was answered (a watch: begun).
    pub(crate) at: Timestamp,
    /// What a write to `/scale` left there; `None` for all else, and for one that was refused.
    pub(crate) replicas: Option<u32>,
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
    #[serde(rename = "stageTimestamp")]
    at: Timestamp,
    /// Written down for writes to `/scale` only.
    response_object: Option<Answered>,
}

#[derive(Deserialize)]
struct Answered {
    spec: Option<Counted>,
}

#[derive(Deserialize, Default)]
struct Counted {
    /// The API server leaves a zero out.
    #[serde(default)]
    replicas: u32,
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
        let Object { resource, api_group, subresource, namespace, name } = self.object_ref;
        (self.stage == counted).then(|| Request {
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
            at: self.at,
            replicas: self.response_object.and_then(|object| Some(object.spec?.replicas)),
        })
    }
}
