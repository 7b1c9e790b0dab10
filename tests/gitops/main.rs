//! Penstock beside the real controllers of Argo CD and Flux: what docs/gitops.md promises, with the manifests of `deploy` as they stand there.
//! `make gitops` builds them and runs this. It is not part of `make test`, because they take many minutes to build.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that fails says so by panicking"
)]
#![expect(clippy::too_many_lines, reason = "a story is told in one piece")]

#[path = "../live/rig/mod.rs"]
mod rig;
#[expect(dead_code, reason = "its scenarios use all of it; those here use less")]
#[path = "../live/scene.rs"]
mod scene;

/// Kinds that are made known: ours, as the scene wants them, and others'.
mod crd {
    use crate::rig::{Cluster, tool, until};

    /// Those of a file of the tools, until they are served.
    pub(crate) async fn define(cluster: &Cluster, file: &str) -> anyhow::Result<()> {
        let file = tool(file)?.display().to_string();
        cluster.kubectl(&["apply", "--server-side", "-f", &file]).await?;
        let wait = ["wait", "--for=condition=Established", "--timeout=60s", "-f", &file];
        // It fails at once for a definition that nobody has looked at yet.
        until("the kinds to be served", crate::scene::SOON, async || {
            cluster.kubectl(&wait).await.map(Some)
        })
        .await
        .map(drop)
    }

    /// Once for all tests, as the binary prints them.
    pub(crate) async fn install(cluster: &Cluster) -> anyhow::Result<()> {
        static DONE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        let made = async || {
            // As above: again, if it was too soon.
            until("our kinds to be served", crate::scene::SOON, async || {
                cluster.install().await.map(Some)
            })
            .await
        };
        DONE.get_or_try_init(made).await.copied()
    }
}

mod shop;
mod flux;
mod argocd;
