//! TLS for every source: our roots, our certificate, one crypto provider. Made once for each client, out of its credentials; where
//! TLS is spoken at all is for the sources to say.

use std::sync::Arc;

use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::{Credentials, Error};

/// What every TLS connection to `at` agrees to: `ca` from the credentials, else the system's roots; with `cert` and `key` also
/// mutual. What cannot be used is named, never shown.
pub(super) fn config(at: &Arc<str>, keys: &Credentials) -> Result<ClientConfig, Error> {
    let is_own = keys.bytes("ca").is_some();
    let builder = builder(at, keys, !is_own)?;
    let invalid = |usage: &'static str, detail: &str| Error::CredentialsInvalid {
        at: Arc::clone(at),
        usage,
        detail: detail.to_owned(),
    };
    match (keys.bytes("cert"), keys.bytes("key")) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert).map_err(|detail| invalid("cert", detail))?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| invalid("key", "it holds no private key that is not encrypted"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| invalid("key", &error.to_string()))
        }
        (Some(_), None) => Err(invalid("key", "there is a cert, but no key")),
        (None, Some(_)) => Err(invalid("cert", "there is a key, but no cert")),
    }
}

/// For a server beside the one that `keys` are for, as one that sells tokens: trusts the system's roots and `ca`, and shows nothing.
pub(super) fn beside(at: &Arc<str>, keys: &Credentials) -> Result<ClientConfig, Error> {
    Ok(builder(at, keys, true)?.with_no_client_auth())
}

fn builder(
    at: &Arc<str>,
    keys: &Credentials,
    trusts_system: bool,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let invalid = |detail: &str| Error::CredentialsInvalid {
        at: Arc::clone(at),
        usage: "ca",
        detail: detail.to_owned(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(&error.to_string()))?;
    let mut roots = RootCertStore::empty();
    if let Some(pem) = keys.bytes("ca") {
        for certificate in certificates(pem).map_err(invalid)? {
            roots.add(certificate).map_err(|error| invalid(&error.to_string()))?;
        }
    }
    if trusts_system {
        // A system has a hundred and some roots; one that cannot be parsed harms nobody.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(builder.with_root_certificates(roots))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match all {
        Ok(all) if all.is_empty() => Err("it holds no certificate"),
        Ok(all) => Ok(all),
        Err(_) => Err("it is not well-formed PEM"),
    }
}
