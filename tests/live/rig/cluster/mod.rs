//! A real Kubernetes control plane: etcd, kube-apiserver, and when asked the controllers, the scheduler and KWOK's fake nodes,
//! on which pods become Ready with no container. Called by tests; its parts are child processes that a test may hurt.

mod servers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule};
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::rig::certs::{Authority, write};
use crate::rig::process::{Process, Program};
use crate::rig::requests::RequestLog;
use crate::rig::rights::until_granted;
use crate::rig::{folder, http, ports, tool, until};

/// The releases that are tested: the newest and the oldest of those we promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kubernetes {
    V1_36,
    V1_33,
}

/// What a cluster has beside etcd and the API server. The default: nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterOptions {
    /// Controller-manager, scheduler, and this many fake nodes with room for everything.
    pub(crate) nodes: u32,
    /// How long a pod takes from being bound to a node to being Ready.
    pub(crate) startup: Duration,
    /// Where a port-forward to a port of any pod leads: ports of this machine.
    pub(crate) forwards: Vec<(u16, u16)>,
    /// With forwards: what `kubectl logs` shows of any pod, a file as a container runtime writes it.
    pub(crate) logs: Option<PathBuf>,
    /// Every request is written down, see [`Cluster::requests`].
    pub(crate) audit: bool,
    /// Of reads of `/scale` the answer is written down, too: what their reader saw.
    pub(crate) scale_reads: bool,
    /// More flags, such as `--feature-gates=...`; a flag given twice has its last value.
    pub(crate) apiserver_flags: Vec<String>,
    pub(crate) controller_flags: Vec<String>,
}

/// A running control plane. Dropped, it is gone with all its data.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: PathBuf,
    authority: Authority,
    port: u16,
    kubeconfig: PathBuf,
    // Dropped in this order: those that ask end before those that answer.
    controllers: Option<Controllers>,
    apiserver: Process,
    etcd: Process,
}

/// What makes pods of workloads, and makes them Ready.
#[derive(Debug)]
pub(crate) struct Controllers {
    pub(crate) kwok: Process,
    pub(crate) scheduler: Process,
    pub(crate) controller_manager: Process,
}

/// A busy machine of two cores takes several times the usual 5 s.
const START: Duration = Duration::from_secs(90);

impl Kubernetes {
    fn tool(self, name: &str) -> Result<PathBuf> {
        let folder = match self {
            Self::V1_36 => "kubernetes-1.36",
            Self::V1_33 => "kubernetes-1.33",
        };
        tool(&format!("{folder}/{name}"))
    }
}

impl Cluster {
    /// Starts it, and waits until the API server is ready and, if there are nodes, they are.
    pub(crate) async fn start(version: Kubernetes, options: ClusterOptions) -> Result<Self> {
        let folder = folder::fresh("cluster")?;
        let authority = Authority::new("penstock-test")?;
        let (etcd, etcd_port) = servers::start_etcd(&folder)?;
        let port = ports::free()?;
        let apiserver =
            servers::start_apiserver(version, &options, &folder, &authority, (port, etcd_port))?;
        let kubeconfig =
            servers::write_kubeconfig(&folder, &authority, port, "admin", Some("system:masters"))?;
        etcd.ready(START, async || {
            let (code, body) = http::get(etcd_port, "/health").await?;
            anyhow::ensure!(code == 200, "etcd answers {code}: {body}");
            Ok(())
        })
        .await?;
        let mut cluster =
            Self { folder, authority, port, kubeconfig, controllers: None, apiserver, etcd };
        cluster.apiserver_ready().await?;
        if options.nodes > 0 {
            cluster.controllers = Some(cluster.start_controllers(version, &options)?);
            cluster.make_nodes(options.nodes).await?;
        }
        Ok(cluster)
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A new client with the administrator's rights. A client belongs to the runtime in which it was made, so each test makes its own.
    pub(crate) async fn client(&self) -> Result<Client> {
        client(&self.kubeconfig).await
    }

    /// The API server's process, to kill it or freeze it. After `start_again` wait for [`Self::apiserver_ready`].
    pub(crate) fn apiserver(&self) -> &Process {
        &self.apiserver
    }

    pub(crate) fn etcd(&self) -> &Process {
        &self.etcd
    }

    /// The controllers; an error if the cluster was started without nodes.
    pub(crate) fn controllers(&self) -> Result<&Controllers> {
        self.controllers
            .as_ref()
            .context("this cluster has no controllers; hint: start it with nodes")
    }

    /// Waits until the API server says it is ready.
    pub(crate) async fn apiserver_ready(&self) -> Result<()> {
        let client = self.client().await?;
        self.apiserver
            .ready(START, async || {
                let ask = ::http::Request::get("/readyz").body(Vec::new())?;
                client.request_text(ask).await.context("ask the API server whether it is ready")?;
                Ok(())
            })
            .await
    }

    /// A new namespace whose name begins with `name`.
    pub(crate) async fn namespace(&self, name: &str) -> Result<String> {
        let namespace = Namespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("{name}-")),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let made = Api::all(self.client().await?)
            .create(&PostParams::default(), &namespace)
            .await
            .context("create a namespace")?;
        made.metadata.name.context("the new namespace has no name")
    }

    /// A user who may do what the rules say, in all namespaces, and nothing else; gives a kubeconfig.
    pub(crate) async fn user(&self, name: &str, rules: Vec<PolicyRule>) -> Result<PathBuf> {
        self.allow(name, name, rules).await?;
        servers::write_kubeconfig(&self.folder, &self.authority, self.port, name, None)
    }

    /// Lets a user do what the rules say, besides what he may; the role is called so.
    pub(crate) async fn allow(&self, role: &str, user: &str, rules: Vec<PolicyRule>) -> Result<()> {
        let client = self.client().await?;
        let metadata = ObjectMeta { name: Some(role.to_owned()), ..ObjectMeta::default() };
        let allowed = ClusterRole {
            metadata: metadata.clone(),
            rules: Some(rules),
            ..ClusterRole::default()
        };
        let binding: ClusterRoleBinding = serde_json::from_value(json!({
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }))?;
        create(&client, &allowed).await?;
        create(&client, &binding).await?;
        let allowed = serde_json::to_value(&allowed)?;
        until_granted(client, user, std::iter::once(&allowed)).await
    }

    /// Runs kubectl as the administrator; its output, or an error with what it said. Always the newest kubectl.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        kubectl(&self.kubeconfig)?.args(arguments.iter().copied()).run().await
    }

    /// Applies YAML, as people do; the namespace is that of objects which name none.
    pub(crate) async fn apply(&self, namespace: &str, yaml: &str) -> Result<String> {
        let file = write(&folder::fresh("manifest")?, "manifest.yaml", yaml)?;
        self.kubectl(&["apply", "-n", namespace, "-f", &file.display().to_string()]).await
    }

    /// Makes our kinds known, as the built binary prints them, and waits until they are served. Twice does no harm.
    pub(crate) async fn install(&self) -> Result<()> {
        let kinds = Program::new(env!("CARGO_BIN_EXE_penstock")).arg("crds").run().await?;
        let file = write(&folder::fresh("kinds")?, "kinds.yaml", &kinds)?;
        self.define(&file).await
    }

    /// Makes the kinds of a file known, and waits until they are served. Twice does no harm.
    pub(crate) async fn define(&self, file: &Path) -> Result<()> {
        let file = file.display().to_string();
        self.kubectl(&["apply", "--server-side", "-f", &file]).await?;
        self.served(&["-f", &file]).await
    }

    /// Waits until definitions are served: those of `-f FILE`, or `crd/NAME`.
    pub(crate) async fn served(&self, which: &[&str]) -> Result<()> {
        let ask = [&["wait", "--for=condition=Established", "--timeout=60s"], which].concat();
        // It fails at once for a definition that nobody has looked at yet.
        until("definitions to be served", START, async || self.kubectl(&ask).await.map(Some))
            .await?;
        // That they are established is said before everybody who answers knows of them.
        let ask = [&["get", "-o", "name"][..], which].concat();
        let names = self.kubectl(&ask).await?;
        for name in names.lines().filter_map(|line| line.split_once('/')).map(|(_, name)| name) {
            until(&format!("{name} to be listed"), START, async || {
                self.kubectl(&["get", name, "-A", "-o", "name"]).await.map(Some)
            })
            .await?;
        }
        Ok(())
    }

    /// The requests from now on. Empty unless the cluster was started with `audit`.
    pub(crate) fn requests(&self) -> Result<RequestLog> {
        RequestLog::from_now(self.folder.join("audit.log"))
    }

    async fn make_nodes(&self, count: u32) -> Result<()> {
        let client = self.client().await?;
        for number in 0..count {
            let node: Node = serde_json::from_value(json!({"metadata": {
                "name": format!("node-{number}"),
                "annotations": {"kwok.x-k8s.io/node": "fake"},
                "labels": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": format!("node-{number}")},
            }}))?;
            create(&client, &node).await?;
        }
        let nodes = Api::<Node>::all(client);
        self.controllers()?
            .kwok
            .ready(START, async || {
                let found = nodes.list(&kube::api::ListParams::default()).await?;
                let waiting = found.iter().filter(|node| !is_ready(node)).count();
                anyhow::ensure!(waiting == 0, "{waiting} nodes are not Ready");
                Ok(())
            })
            .await
    }
}

/// A client for the user of a kubeconfig file.
pub(crate) async fn client(kubeconfig: &Path) -> Result<Client> {
    Ok(Client::try_from(config(kubeconfig).await?)?)
}

/// The same, telling of each answer as it comes: no retries behind the caller's back.
pub(crate) async fn plain_client(kubeconfig: &Path) -> Result<Client> {
    let mut config = config(kubeconfig).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn config(kubeconfig: &Path) -> Result<Config> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    Ok(Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?)
}

/// The newest kubectl, for the user of a kubeconfig file.
pub(crate) fn kubectl(kubeconfig: &Path) -> Result<Program> {
    let program = Program::new(Kubernetes::V1_36.tool("kubectl")?);
    Ok(program.arg("--kubeconfig").arg(kubeconfig.display().to_string()))
}

async fn create<K>(client: &Client, object: &K) -> Result<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let made = Api::all(client.clone()).create(&PostParams::default(), object).await;
    made.with_context(|| format!("create the {} {:?}", K::kind(&()), object.meta().name))
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let tainted = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten())
        .any(|taint| taint.effect != "PreferNoSchedule");
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        && !tainted
}
