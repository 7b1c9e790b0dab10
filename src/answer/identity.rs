//! TLS for the port that KEDA asks: certificate, key and the clients' authority from files, read again when they change, as a mounted
//! Secret does when it is rotated. Called by `scaler.rs`; what has been agreed on with a client stays until it hangs up.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// How often the files are looked at. A kubelet brings a rotated Secret within a minute or two of its own.
pub const LOOK: Duration = Duration::from_secs(10);

/// Why we cannot show who we are.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}; hint: is the Secret mounted there?", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{} cannot be used: {detail}; hint: PEM text is expected", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never the bytes.
        detail: String,
    },
}

/// Where certificate, key and authority are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Our certificate and those between it and its authority, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The authority of those who may ask, PEM; `None` lets everybody ask.
    pub clients: Option<PathBuf>,
}

/// What the files held: certificate, key, authority.
type Read = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

/// Who we are, as the files last said in a way that can be used.
pub struct Identity {
    files: Files,
    /// What was last read, good or not, so that each fault is told once.
    read: Mutex<Read>,
    config: Mutex<Arc<ServerConfig>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// One cannot be read or used.
    pub async fn load(files: Files) -> Result<Self, Error> {
        let read = files.read().await?;
        let config = Mutex::new(Arc::new(files.config(&read)?));
        Ok(Self { read: Mutex::new(read), files, config })
    }

    /// What the next connection is agreed on by.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }

    /// Looks at the files again and again; the last good ones stay in force.
    pub async fn follow(&self, every: Duration) {
        let mut was_missing = false;
        loop {
            tokio::time::sleep(every).await;
            match self.look().await {
                Ok(()) => was_missing = false,
                Err(error @ Error::Unreadable { .. }) if was_missing => {
                    tracing::debug!(%error, "the certificate is still not to be read");
                }
                Err(error) => {
                    was_missing = matches!(error, Error::Unreadable { .. });
                    tracing::warn!(%error, "the new certificate is not in use; the last one serves");
                }
            }
        }
    }

    async fn look(&self) -> Result<(), Error> {
        let new = self.files.read().await?;
        let is_known = {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            let is_known = *read == new;
            *read = new.clone();
            is_known
        };
        if is_known {
            return Ok(());
        }
        let config = self.files.config(&new)?;
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        tracing::info!(certificate = %self.files.certificate.display(), "a new certificate is in use");
        Ok(())
    }
}

impl Files {
    async fn read(&self) -> Result<Read, Error> {
        let clients = match &self.clients {
            Some(path) => Some(bytes(path).await?),
            None => None,
        };
        Ok((bytes(&self.certificate).await?, bytes(&self.key).await?, clients))
    }

    fn config(&self, (certificate, key, clients): &Read) -> Result<ServerConfig, Error> {
        let invalid = |path: &Path, detail: &dyn fmt::Display| Error::Invalid {
            path: path.to_owned(),
            detail: detail.to_string(),
        };
        let chain = |path: &Path, pem: &[u8]| {
            let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
            match all {
                Ok(all) if all.is_empty() => Err(invalid(path, &"it holds no certificate")),
                Ok(all) => Ok(all),
                Err(_) => Err(invalid(path, &"it is not well-formed PEM")),
            }
        };
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid(&self.certificate, &error))?;
        let builder = match (&self.clients, clients) {
            (Some(path), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for authority in chain(path, pem)? {
                    roots.add(authority).map_err(|error| invalid(path, &error))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| invalid(path, &error))?)
            }
            (Some(_) | None, _) => builder.with_no_client_auth(),
        };
        let secret = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| invalid(&self.key, &"it holds no private key that is not encrypted"))?;
        let mut config = builder
            .with_single_cert(chain(&self.certificate, certificate)?, secret)
            .map_err(|error| invalid(&self.key, &error))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

async fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path)
        .await
        .map_err(|source| Error::Unreadable { path: path.to_owned(), source })
}
