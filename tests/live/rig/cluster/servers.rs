//! How each server of the control plane is started, and the files it wants. Called by the cluster's start.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Cluster, ClusterOptions, Controllers, Kubernetes};
use crate::rig::certs::{Authority, write};
use crate::rig::process::{Process, Program};
use crate::rig::{ports, tool};

impl Cluster {
    pub(super) fn start_controllers(
        &self,
        version: Kubernetes,
        options: &ClusterOptions,
    ) -> Result<Controllers> {
        let at =
            |program: Program| program.arg(format!("--kubeconfig={}", self.kubeconfig.display()));
        let here = |file: &str| self.folder.join(file).display().to_string();
        let manager = at(Program::new(version.tool("kube-controller-manager")?))
            .args([
                "--leader-elect=false",
                "--secure-port=0",
                "--kube-api-qps=200",
                "--kube-api-burst=400",
            ])
            .arg(format!("--service-account-private-key-file={}", here("accounts.key")))
            .arg(format!("--root-ca-file={}", here("authority.crt")))
            .args(options.controller_flags.clone());
        let scheduler = at(Program::new(version.tool("kube-scheduler")?)).args([
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]);
        let kwok = at(Program::new(tool("kwok/kwok")?))
            .args(["--manage-all-nodes=true", "--node-lease-duration-seconds=40"])
            .arg(format!("--config={}", stages(&self.folder, options.startup)?.display()))
            .args(self.kubelet(&options.forwards, options.logs.as_deref())?);
        Ok(Controllers {
            controller_manager: Process::start("kube-controller-manager", manager, &self.folder)?,
            scheduler: Process::start("kube-scheduler", scheduler, &self.folder)?,
            kwok: Process::start("kwok", kwok, &self.folder)?,
        })
    }
}

impl Cluster {
    /// What makes a kubelet of KWOK that answers port-forwards, and shows logs; nothing where there are no port-forwards.
    fn kubelet(&self, forwards: &[(u16, u16)], logs: Option<&Path>) -> Result<Vec<String>> {
        if forwards.is_empty() {
            return Ok(Vec::new());
        }
        let forwards: Vec<_> = forwards
            .iter()
            .map(|(of, to)| json!({"ports": [of], "target": {"address": "127.0.0.1", "port": to}}))
            .collect();
        let config = json!({
            "apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "ClusterPortForward",
            "metadata": {"name": "here"}, "spec": {"forwards": forwards},
        });
        let logs = logs.map(|file| {
            let logs = json!({
                "apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "ClusterLogs",
                "metadata": {"name": "here"}, "spec": {"logs": [{"logsFile": file}]},
            });
            format!("\n---\n{logs}")
        });
        let config = format!("{config}{}", logs.unwrap_or_default());
        let config = write(&self.folder, "forward.yaml", &config)?;
        let (certificate, key) =
            self.authority.server("kubelet")?.write(&self.folder, "kubelet")?;
        let port = ports::free()?;
        Ok(vec![
            "--node-ip=127.0.0.1".to_owned(),
            format!("--node-port={port}"),
            format!("--server-address=127.0.0.1:{port}"),
            format!("--tls-cert-file={}", certificate.display()),
            format!("--tls-private-key-file={}", key.display()),
            format!("--config={}", config.display()),
        ])
    }
}

pub(super) fn start_etcd(folder: &Path) -> Result<(Process, u16)> {
    let (port, peer) = (ports::free()?, ports::free()?);
    let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
    let program = Program::new(tool("etcd/etcd")?)
        .arg(format!("--data-dir={}", folder.join("etcd").display()))
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=default={peer}"))
        .args(["--unsafe-no-fsync", "--log-level=warn"]);
    Ok((Process::start("etcd", program, folder)?, port))
}

pub(super) fn start_apiserver(
    version: Kubernetes,
    options: &ClusterOptions,
    folder: &Path,
    authority: &Authority,
    (port, etcd_port): (u16, u16),
) -> Result<Process> {
    let ca = write(folder, "authority.crt", &authority.certificate())?.display().to_string();
    let (certificate, key) = authority.server("kube-apiserver")?.write(folder, "apiserver")?;
    let (front, front_key) = authority.client("front-proxy", None)?.write(folder, "front-proxy")?;
    let (accounts, accounts_key) = authority.client("accounts", None)?.write(folder, "accounts")?;
    let mut program = Program::new(version.tool("kube-apiserver")?)
        .args([
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
        ])
        .arg(format!("--secure-port={port}"))
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
        .arg(format!("--tls-cert-file={}", certificate.display()))
        .arg(format!("--tls-private-key-file={}", key.display()))
        .args([format!("--client-ca-file={ca}"), format!("--requestheader-client-ca-file={ca}")])
        .args([
            "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User",
        ])
        .args([
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        ])
        .arg(format!("--proxy-client-cert-file={}", front.display()))
        .arg(format!("--proxy-client-key-file={}", front_key.display()))
        .arg("--service-account-issuer=https://penstock.test")
        .arg(format!("--service-account-key-file={}", accounts.display()))
        .arg(format!("--service-account-signing-key-file={}", accounts_key.display()))
        .args([
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
        ]);
    if options.audit {
        // Of writes to /scale the answer is kept, too: it says which count they left.
        let scales =
            ["apps", "example.com"].map(|group| json!({"group": group, "resources": ["*/scale"]}));
        let verbs: &[&str] =
            if options.scale_reads { &["patch", "update", "get"] } else { &["patch", "update"] };
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
            "rules": [
                {"level": "RequestResponse", "verbs": verbs, "resources": scales},
                {"level": "Metadata"},
            ],
        });
        program = program
            .arg(format!(
                "--audit-policy-file={}",
                write(folder, "audit.yaml", &policy.to_string())?.display()
            ))
            .arg(format!("--audit-log-path={}", folder.join("audit.log").display()))
            // In MB. The reader keeps its place in one file, so it must not be rotated.
            .arg("--audit-log-maxsize=100000");
    }
    Process::start("kube-apiserver", program.args(options.apiserver_flags.clone()), folder)
}

/// JSON is YAML, so the file needs no YAML writer.
pub(super) fn write_kubeconfig(
    folder: &Path,
    authority: &Authority,
    port: u16,
    user: &str,
    group: Option<&str>,
) -> Result<PathBuf> {
    let (certificate, key) = authority.client(user, group)?.write(folder, user)?;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority": folder.join("authority.crt"),
        }}],
        "users": [{"name": user, "user": {"client-certificate": certificate, "client-key": key}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
    });
    write(folder, &format!("{user}.kubeconfig"), &config.to_string())
}

/// KWOK's stages, with a delay before a pod is Ready; and a node Ready at the time that its annotation
/// `example.com/ready-at` names, if there is one. (A delay would begin anew each time that somebody writes on the node.)
fn stages(folder: &Path, startup: Duration) -> Result<PathBuf> {
    let plain = fs::read_to_string(tool("kwok/stages.yaml")?).context("read KWOK's stages")?;
    let (before, ready) = plain
        .split_once("  name: pod-ready\nspec:\n")
        .context("KWOK's stages have no pod-ready")?;
    // A pod of a Job runs until a test says otherwise; KWOK would have it done at once.
    let of_jobs = "    - key: '.metadata.ownerReferences.[].kind'\n";
    let held = format!(
        "    - key: '.metadata.annotations[\"example.com/done\"]'\n      operator: 'Exists'\n{of_jobs}"
    );
    let before = put(before, of_jobs, &held)?;
    // KWOK would also have it that a node was Ready as soon as it was made.
    let boot = "  delay:\n    durationMilliseconds: 0\n    durationFrom:\n      expressionFrom: '.metadata.annotations[\"example.com/ready-at\"]'\n";
    let before = put(&before, "  next:\n", &format!("{boot}  next:\n"))?;
    let before = put(&before, "or .metadata.creationTimestamp $now", "$now")?;
    let delay = format!("  delay:\n    durationMilliseconds: {}\n", startup.as_millis());
    write(folder, "stages.yaml", &format!("{before}  name: pod-ready\nspec:\n{delay}{ready}"))
}

/// Puts other words where these stand first; an error if they stand nowhere.
fn put(text: &str, words: &str, others: &str) -> Result<String> {
    ensure!(text.contains(words), "KWOK's stages have no {words:?}");
    Ok(text.replacen(words, others, 1))
}
