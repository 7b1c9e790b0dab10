//! Which cluster a command asks: the flags that kubectl has as well, and what is wrong where they lead to none. Called by every command that
//! asks an API server.

use std::error::Error;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// Is set in every pod.
const IN_A_POD: &str = "KUBERNETES_SERVICE_HOST";

/// Which cluster is asked.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Cluster {
    /// File that names the cluster to ask. Default: the one kubectl would read
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of that file. Default: its current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl Cluster {
    /// The configuration of the cluster: the file's, else what kubectl or a pod would use.
    ///
    /// # Errors
    /// The file cannot be read, or names nothing that can be used.
    pub(super) async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..Default::default() };
        match (&self.kubeconfig, &self.context) {
            (None, None) => Config::infer().await.map_err(|error| nowhere(&error)),
            (None, Some(_)) => {
                let config = Config::from_kubeconfig(&options).await;
                config.map_err(|error| unusable("the kubeconfig", &error))
            }
            (Some(file), _) => {
                let unusable = |error| unusable(&file.display().to_string(), &error);
                let read = Kubeconfig::read_from(file).map_err(unusable)?;
                Config::from_custom_kubeconfig(read, &options).await.map_err(unusable)
            }
        }
    }

    /// A client of its API server, and the namespace that kubectl would ask in.
    ///
    /// # Errors
    /// As `config`.
    pub(super) async fn client(&self) -> anyhow::Result<(Client, String)> {
        let config = self.config().await?;
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config);
        Ok((client.context("cannot set up the client of the API server")?, namespace))
    }
}

/// Does this run in a pod?
pub(super) fn is_in_a_pod() -> bool {
    std::env::var_os(IN_A_POD).is_some()
}

/// Neither a file nor a pod names a cluster.
fn nowhere(error: &InferConfigError) -> anyhow::Error {
    let of_file = error.source().and_then(|cause| cause.downcast_ref::<KubeconfigError>());
    let of_file = of_file.map_or_else(|| causes(error), |cause| said("the kubeconfig", cause).0);
    let of_pod = Config::incluster().err().filter(|_| is_in_a_pod());
    let of_pod =
        of_pod.map_or_else(String::new, |cause| format!("; in this pod: {}", causes(&cause)));
    anyhow!(
        "no cluster is configured: {of_file}{of_pod}; hint: --kubeconfig FILE, or the variable KUBECONFIG"
    )
}

fn unusable(file: &str, error: &KubeconfigError) -> anyhow::Error {
    let (said, hint) = said(file, error);
    anyhow!("{said}; hint: {hint}")
}

/// What is wrong with a file, and where to look.
fn said(file: &str, error: &KubeconfigError) -> (String, &'static str) {
    const LIST: &str = "kubectl config get-contexts lists what there is";
    if let KubeconfigError::ReadConfig(cause, path) = error {
        let hint = "--kubeconfig FILE wants a file that kubectl can read";
        (format!("cannot read {}: {cause}", path.display()), hint)
    } else if let KubeconfigError::LoadContext(name) = error {
        (format!("{file} has no context {name:?}"), LIST)
    } else if let KubeconfigError::LoadClusterOfContext(name) = error {
        (format!("{file} has no cluster {name:?}, which its context names"), LIST)
    } else if matches!(error, KubeconfigError::CurrentContextNotSet) {
        (format!("{file} has no current context"), "--context NAME")
    } else {
        (format!("{file} cannot be used: {}", causes(error)), "does kubectl take it?")
    }
}

/// All that an error says, in one line and once: some repeat in their own words what their cause says.
pub(super) fn causes(error: &dyn Error) -> String {
    let text = |error: &dyn Error| error.to_string().lines().next().unwrap_or_default().to_owned();
    let mut said = text(error);
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = text(inner);
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        cause = inner.source();
    }
    said
}
