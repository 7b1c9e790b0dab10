//! Penstock beside the real controllers of Argo CD and Flux: what docs/gitops.md promises, with the manifests of `deploy` as they stand there.
//! `make gitops` builds them and runs this. It is not part of `make test`, because they take many minutes to build.

#![expect(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

#[path = "../live/rig/mod.rs"]
mod rig;
#[expect(dead_code, reason = "its scenarios use all of it; those here use less")]
#[path = "../live/scene.rs"]
mod scene;

/// Our kinds, as the scene wants them: once for all tests, as the binary prints them.
mod crd {
    pub(crate) async fn install(cluster: &crate::rig::Cluster) -> anyhow::Result<()> {
        static DONE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        DONE.get_or_try_init(|| cluster.install()).await.copied()
    }
}

mod shop;
mod flux;
mod argocd;
