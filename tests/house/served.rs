//! The in-memory cluster behind a real socket, and a kubeconfig file that leads there: for tests that run the binary.

use penstock::demo::cluster::Cluster;

/// The file; it lies in a folder that goes with this.
pub(crate) struct Kubeconfig {
    file: String,
    _folder: tempfile::TempDir,
}

impl Kubeconfig {
    /// Serves the cluster until it is dropped.
    pub(crate) async fn of(cluster: &Cluster) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        cluster.serve(listener);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubeconfig");
        std::fs::write(&file, cluster.kubeconfig(address)).unwrap();
        Self { file: file.to_str().unwrap().to_owned(), _folder: folder }
    }

    /// What `--kubeconfig` takes.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }
}
