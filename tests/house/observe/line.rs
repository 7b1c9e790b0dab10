//! A line to a server, in the hands of the test: it counts those who call, hangs up on all of them, and lets them in again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Forwards bytes to a server.
pub(super) struct Line {
    /// Where to call.
    pub(super) address: SocketAddr,
    calls: Arc<AtomicUsize>,
    cut: Arc<Mutex<CancellationToken>>,
    tasks: JoinSet<()>,
}

impl Line {
    /// A line to a server, in plain text or with TLS up to here.
    pub(super) async fn to(server: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let cut: Arc<Mutex<CancellationToken>> = Arc::default();
        let mut tasks = JoinSet::new();
        let (counted, line) = (Arc::clone(&calls), Arc::clone(&cut));
        tasks.spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((caller, _)) = listener.accept().await {
                let cut = line.lock().unwrap().clone();
                if cut.is_cancelled() {
                    continue;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let tls = tls.clone();
                carried.spawn(async move {
                    tokio::select! {
                        () = cut.cancelled() => {}
                        () = carry(caller, server, tls) => {}
                    }
                });
            }
        });
        Self { address, calls, cut, tasks }
    }

    /// Connections ever made.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Hangs up on everybody, now and until mended.
    pub(super) fn cut(&self) {
        self.cut.lock().unwrap().cancel();
    }

    pub(super) fn mend(&self) {
        *self.cut.lock().unwrap() = CancellationToken::new();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut();
        self.tasks.abort_all();
    }
}

async fn carry(mut caller: TcpStream, server: SocketAddr, tls: Option<TlsAcceptor>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    match tls {
        None => {
            tokio::io::copy_bidirectional(&mut caller, &mut server).await.ok();
        }
        Some(tls) => {
            let Ok(mut caller) = tls.accept(caller).await else { return };
            tokio::io::copy_bidirectional(&mut caller, &mut server).await.ok();
        }
    }
}
