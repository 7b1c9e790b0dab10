//! How a command reaches the daemon: at `--server`, or by port-forward to its pods with the caller's own rights. Called by `explain`
//! and those that show the same view; what to do when no daemon answers is theirs. And what commands ask of the API server alike; which one
//! that is stands in `cluster`.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, Config, ResourceExt};
use serde::de::DeserializeOwned;

use super::cluster::{Cluster, causes};

/// Where the daemon serves its API inside its pod.
const PORT: u16 = 8082;
/// What marks the daemon's pods.
pub(super) const LABEL: &str = "app.kubernetes.io/name=penstock";
/// And those of one release.
const RELEASE: &str = "app.kubernetes.io/instance";
/// An answer is never larger than this.
const ANSWER_LIMIT: usize = 64 << 20;

/// What kube says of an answer that is in no words of ours, nor of an API server's.
const NO_WORDS: &str = "Failed to parse error data";

/// Where to look for the daemon.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Reach {
    /// Ask the daemon at this URL, instead of by port-forward
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<http::Uri>,
    /// Token to show there, where its page is open to the cluster. Default: the one in the variable `PENSTOCK_TOKEN`, which other processes do not see
    #[arg(long, value_name = "TOKEN", requires = "server")]
    token: Option<String>,
    #[command(flatten)]
    pub(super) cluster: Cluster,
}

impl Reach {
    /// What is shown to the daemon at `--server`.
    pub(super) fn token(&self) -> Option<String> {
        let told = || std::env::var_os("PENSTOCK_TOKEN")?.into_string().ok();
        self.token.clone().or_else(told).filter(|token| !token.trim().is_empty())
    }
}

/// Who answered, and what.
#[derive(Debug)]
pub(super) struct Answered<T> {
    /// For people: a URL, or a pod by name.
    pub(super) by: String,
    /// `None` when the daemon knows no such thing.
    pub(super) found: Option<T>,
}

/// Asks the daemon at a URL.
///
/// # Errors
/// Nobody answers there, or not as the daemon does.
pub(super) async fn ask_server<T: DeserializeOwned>(
    server: &http::Uri,
    token: Option<String>,
    path: &str,
) -> anyhow::Result<Answered<T>> {
    let mut config = Config::new(server.clone());
    config.default_retry = false;
    config.connect_timeout = Some(std::time::Duration::from_secs(5));
    config.read_timeout = Some(std::time::Duration::from_secs(10));
    config.auth_info.token = token.map(|token| token.trim().to_owned().into());
    let client = Client::try_from(config).with_context(|| format!("cannot use {server}"))?;
    let request = Request::get(path).body(Vec::new()).context("cannot ask")?;
    let by = server.to_string();
    match client.request::<T>(request).await {
        Ok(found) => Ok(Answered { by, found: Some(found) }),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Answered { by, found: None }),
        Err(kube::Error::Api(status)) if status.code == 401 => {
            bail!("{}; hint: --token TOKEN, or the variable PENSTOCK_TOKEN", {
                let said = &status.message;
                said.split_once("; hint: ").map_or(&**said, |(said, _)| said)
            })
        }
        Err(kube::Error::Api(status))
            if status.reason != NO_WORDS && !status.message.is_empty() =>
        {
            bail!("{server} answers {}: {}", status.code, status.message)
        }
        Err(error) => {
            let why = causes(&error);
            bail!("no daemon answers at {server}: {why}; hint: is it --page-listen's address?")
        }
    }
}

/// Asks each of the daemon's pods, and takes the first answer that `is_best` accepts, else any.
///
/// # Errors
/// There is no such pod, or none answers; the text says why.
pub(super) async fn ask_pods<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    is_best: impl Fn(&T) -> bool,
) -> anyhow::Result<Answered<T>> {
    ask_each(client, path, is_best, pods(client).await?).await
}

/// Asks the pods of each release in the same way: who answered, and why others did not.
///
/// # Errors
/// There is no such pod, or none of any release answers.
pub(super) async fn ask_releases<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    is_best: impl Fn(&T) -> bool,
) -> anyhow::Result<(Vec<Answered<T>>, Vec<anyhow::Error>)> {
    let (mut told, mut silent) = (Vec::new(), Vec::new());
    for pods in by_release(pods(client).await?) {
        match ask_each(client, path, &is_best, pods).await {
            Ok(answered) => told.push(answered),
            Err(why) => silent.push(why),
        }
    }
    if told.is_empty() { Err(silent.pop().unwrap_or_else(nobody)) } else { Ok((told, silent)) }
}

/// The pods of each release by themselves: of one name in one namespace.
pub(super) fn by_release(pods: Vec<Pod>) -> impl Iterator<Item = Vec<Pod>> {
    let mut releases: BTreeMap<_, Vec<Pod>> = BTreeMap::new();
    for pod in pods {
        let release = (pod.namespace(), pod.labels().get(RELEASE).cloned());
        releases.entry(release).or_default().push(pod);
    }
    releases.into_values()
}

fn nobody() -> anyhow::Error {
    anyhow!("no pod has the label {LABEL}; hint: is Penstock installed?")
}

async fn ask_each<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    is_best: impl Fn(&T) -> bool,
    pods: Vec<Pod>,
) -> anyhow::Result<Answered<T>> {
    let mut best: Option<Answered<T>> = None;
    let mut trouble = nobody();
    for pod in pods {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let by = format!("pod {namespace}/{name}");
        match ask_pod(client, &namespace, &name, path).await {
            Ok(Some(found)) if is_best(&found) => return Ok(Answered { by, found: Some(found) }),
            // A pod of another release knows nothing of it.
            Ok(found) if best.as_ref().is_none_or(|best| best.found.is_none()) => {
                best = Some(Answered { by, found });
            }
            Ok(_) => {}
            Err(error) => trouble = error.context(format!("{by} does not answer")),
        }
    }
    best.ok_or(trouble)
}

/// The daemon's pods. Who may not list those of all namespaces sees those of his own.
///
/// # Errors
/// He may not list them there either.
pub(super) async fn pods(client: &Client) -> anyhow::Result<Vec<Pod>> {
    let list = ListParams::default().labels(LABEL);
    let everywhere = Api::<Pod>::all(client.clone()).list(&list).await;
    let found = match if_allowed(everywhere).context("cannot list the daemon's pods")? {
        Some(found) => found,
        None => Api::<Pod>::default_namespaced(client.clone())
            .list(&list)
            .await
            .map_err(|error| plain(&error))
            .context("cannot list the daemon's pods")?,
    };
    Ok(found.items)
}

/// What was read; `None` where the caller may not.
///
/// # Errors
/// Whatever else went wrong.
pub(super) fn if_allowed<T>(read: Result<T, kube::Error>) -> anyhow::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        Err(error) => Err(plain(&error)),
    }
}

async fn ask_pod<T: DeserializeOwned>(
    client: &Client,
    namespace: &str,
    name: &str,
    path: &str,
) -> anyhow::Result<Option<T>> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let mut forwarder = pods.portforward(name, &[PORT]).await.map_err(|error| {
        let why = plain(&error);
        anyhow!("no port-forward: {why}; hint: it needs the right to create pods/portforward")
    })?;
    let stream = forwarder.take_stream(PORT).context("the port-forward gave no stream")?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request =
        Request::get(path).header(http::header::HOST, "localhost").body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
        anyhow::Ok((status, body.map_err(|error| anyhow!(error))?.to_bytes()))
    };
    tokio::pin!(exchange, connection);
    let (status, body) = tokio::select! {
        answer = &mut exchange => answer?,
        ended = &mut connection => {
            ended?;
            exchange.await?
        }
        () = tokio::time::sleep(std::time::Duration::from_secs(10)) => bail!("no answer within 10 s"),
    };
    match status {
        StatusCode::OK => {
            Ok(Some(serde_json::from_slice(&body).context("not the daemon's words")?))
        }
        StatusCode::NOT_FOUND => Ok(None),
        other => bail!("it answered {other}"),
    }
}

/// kube prints an API error twice over, whose message says it all, and of another not the cause.
pub(super) fn plain(error: &kube::Error) -> anyhow::Error {
    if let kube::Error::Api(status) = error {
        anyhow!("{}", status.message)
    } else if let kube::Error::Service(cause) = error {
        anyhow!("the API server does not answer: {}", causes(&**cause))
    } else {
        anyhow!("{}", causes(error))
    }
}

/// The words of kinds in paths, looked up once for each version.
#[derive(Debug, Default)]
pub(super) struct Plurals(BTreeMap<String, BTreeMap<String, String>>);

impl Plurals {
    /// The word of a kind: `deployments` for `apps/v1`, `Deployment`. `None` where the API server does not know the kind.
    ///
    /// # Errors
    /// The API server cannot be asked.
    pub(super) async fn of(
        &mut self,
        client: &Client,
        version: &str,
        kind: &str,
    ) -> anyhow::Result<Option<String>> {
        if let Some(known) = self.0.get(version) {
            return Ok(known.get(kind).cloned());
        }
        let served = match version.split_once('/') {
            Some(_) => client.list_api_group_resources(version).await,
            None => client.list_core_api_resources(version).await,
        };
        let served = match served {
            Ok(served) => served.resources,
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => {
                return Err(plain(&error)).with_context(|| format!("cannot look up {version}"));
            }
        };
        let whole = served.into_iter().filter(|it| !it.name.contains('/'));
        let known: BTreeMap<_, _> = whole.map(|it| (it.kind, it.name)).collect();
        let found = known.get(kind).cloned();
        self.0.insert(version.to_owned(), known);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_of_one_name_in_one_namespace_are_one_release() {
        let pod = |namespace: &str, release: &str, name: &str| -> Pod {
            let labels = json!({RELEASE: release});
            let metadata = json!({"namespace": namespace, "name": name, "labels": labels});
            serde_json::from_value(json!({"metadata": metadata})).unwrap()
        };
        let all = [
            ("a", "penstock", "1"),
            ("b", "penstock", "2"),
            ("a", "data", "3"),
            ("a", "penstock", "4"),
        ];
        let pods = all.map(|(namespace, release, name)| pod(namespace, release, name)).into();
        let names = |pods: Vec<Pod>| pods.iter().map(ResourceExt::name_any).collect::<String>();
        assert_eq!(by_release(pods).map(names).collect::<Vec<_>>(), ["3", "14", "2"]);
    }
}
