//! A door: where others come in by HTTP. Nobody who knocks can fill the memory or hold the process up: there are so many connections and no more, each
//! with a header that is small and ends in time. Called by the daemon for each of its routers.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Error;

/// Connections at once; others wait in the kernel until one ends.
const CONNECTIONS: usize = 512;
/// What is read of a header at most: the rest is answered 431.
const HEADER: usize = 32 << 10;
/// A header ends within this time. It begins with the connection or the answer before, so it is longer than proxies keep one that rests (60 s).
const PATIENCE: Duration = Duration::from_secs(75);

/// A place to be asked at. Bound before anything starts, so that a taken port is told at once.
///
/// # Errors
/// The address cannot be listened on.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// Answers at `listener` until `stop`; then what was asked before is answered still.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_at_most(CONNECTIONS, listener, router, stop).await;
}

async fn serve_at_most(
    most: usize,
    mut listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEADER);
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = open.join_next() => continue,
            // Failures to accept are waited out inside.
            (accepted, _) = Listener::accept(&mut listener), if open.len() < most => accepted,
        };
        let router = TowerToHyperService::new(router.clone());
        let mut served = Box::pin(http.serve_connection(TokioIo::new(accepted), router));
        let stop = stop.clone();
        open.spawn(async move {
            // How a connection ends is the affair of who made it.
            drop(tokio::select! {
                end = &mut served => end,
                () = stop.cancelled() => {
                    served.as_mut().graceful_shutdown();
                    served.await
                }
            });
        });
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn beyond_so_many_connections_the_next_waits_until_one_ends() {
        let listener = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here"));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_at_most(2, listener, router, CancellationToken::new()));
        let ask = async || {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            stream
        };
        let answer = async |stream: &mut TcpStream| {
            let mut said = [0; 12];
            stream.read_exact(&mut said).await.unwrap();
            assert_eq!(&said, b"HTTP/1.1 200");
        };
        let (mut first, mut second) = (ask().await, ask().await);
        answer(&mut first).await;
        answer(&mut second).await;
        let mut third = ask().await;
        let early = timeout(Duration::from_secs(10), answer(&mut third)).await;
        assert!(early.is_err(), "a third was served");
        drop(first);
        answer(&mut third).await;
    }
}
