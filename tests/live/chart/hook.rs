//! `helm test` by the real Helm. No container runs here, so a kubelet's part is played: the arguments of the hook's pod, the built binary, the token
//! of the hook's own account, and its end told as the pod's. Called by `rights`, while a daemon runs behind the port-forward.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::helm_on;
use super::rendered::roles;
use super::rights::{Triples, kubeconfig, triple};
use crate::check::check;
use crate::rig::{Cluster, Request, until, until_granted};
use crate::scene::SOON;

/// As RBAC knows the account of the hook.
const ACCOUNT: &str = "system:serviceaccount:penstock:penstock-test";
/// What the objects of the hook are labelled.
const LABEL: &str = "app.kubernetes.io/name=penstock-test";

/// What came of a test: Helm's judgement, what the container said, and what is left of it.
pub(super) struct Tested {
    pub(super) is_well: bool,
    pub(super) said: String,
    pub(super) left: String,
}

/// One `helm test` of the release `penstock`, which is rendered as given.
pub(super) async fn helm_test(cluster: &Cluster, rendered: &[Value]) -> Result<Tested> {
    let test = ["test", "penstock", "-n", "penstock", "--timeout=2m"];
    let (judged, said) = tokio::join!(helm_on(cluster, &test), play(cluster, rendered));
    let said = said.with_context(|| format!("Helm says {judged:?}"))?;
    let kinds = "pod,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding";
    let left = cluster.kubectl(&["get", kinds, "-A", "-l", LABEL, "-o", "name"]).await?;
    Ok(Tested { is_well: judged.is_ok(), said, left })
}

/// Runs what the pod of the hook would, once KWOK says that it runs.
async fn play(cluster: &Cluster, rendered: &[Value]) -> Result<String> {
    let get = ["-n", "penstock", "get", "pod", "penstock-test", "-o", "json"];
    let pod = until("the pod of the hook to run", SOON, async || {
        let pod: Value = serde_json::from_str(&cluster.kubectl(&get).await?)?;
        let is_new = pod["metadata"]["deletionTimestamp"].is_null();
        Ok((is_new && pod["status"]["phase"] == "Running").then_some(pod))
    });
    let pod = pod.await?;
    let account = pod["spec"]["serviceAccountName"].as_str().context("no account")?;
    let words = pod["spec"]["containers"][0]["args"].as_array().context("no arguments")?;
    let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
    let (command, rest) = words.split_first().context("no arguments")?;
    ensure!(*command == "check", "{words:?}");
    until_granted(cluster.client().await?, ACCOUNT, roles(rendered, true)).await?;
    let said = check(&kubeconfig(cluster, "penstock", account).await?, rest).await?;
    let phase = if said.code == Some(0) { "Succeeded" } else { "Failed" };
    let end = format!(r#"{{"status":{{"phase":"{phase}"}}}}"#);
    let tell = ["-n", "penstock", "patch", "pod", "penstock-test", "--subresource=status"];
    cluster.kubectl(&[&tell[..], &["--type=merge", "-p", &end]].concat()).await?;
    Ok(said.text)
}

/// What the hook asked for, without what was refused; and of what was refused, the resources.
pub(super) fn asked(requests: &[Request]) -> (Triples, BTreeSet<String>) {
    let (mut used, mut refused) = (Triples::new(), BTreeSet::new());
    for request in requests.iter().filter(|request| request.user == ACCOUNT) {
        if request.code == 403 {
            refused.insert(request.resource.clone());
        } else if let Some(triple) = triple(request) {
            used.insert(triple);
        }
    }
    (used, refused)
}
