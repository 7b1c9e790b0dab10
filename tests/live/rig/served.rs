//! Serves what a test answers, on a port of its own. Called by the doubles of the rig and of the tests.

use anyhow::{Context, Result};
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Serves until the tasks are dropped; at this port of this machine.
pub(crate) async fn serve(router: Router) -> Result<(u16, JoinSet<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listen on a free port")?;
    let port = listener.local_addr()?.port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // It ends with the test, which notices when it ends before.
        drop(axum::serve(listener, router).await);
    });
    Ok((port, tasks))
}

/// Serves for as long as the test's runtime lives; the address, without a path.
pub(crate) async fn serve_on(router: Router) -> Result<String> {
    let (port, mut tasks) = serve(router).await?;
    tasks.detach_all();
    Ok(format!("http://127.0.0.1:{port}"))
}
