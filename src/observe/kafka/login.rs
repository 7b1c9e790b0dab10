//! How to get in: TLS and SASL, made of an address and its credentials. Called by `cluster.rs` once for each client; `link.rs` uses it
//! for each connection.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{Address, Mechanism};
use crate::observe::{Credentials, Error};

/// What every connection of a client needs.
pub(super) struct Login {
    pub(super) tls: Option<TlsConnector>,
    pub(super) sasl: Option<Sasl>,
}

/// Name and password.
pub(super) struct Sasl {
    pub(super) mechanism: Mechanism,
    pub(super) username: String,
    pub(super) password: Vec<u8>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl Login {
    /// Reads the credentials; what cannot be used is named, never shown.
    pub(super) fn new(to: &Address, keys: &Credentials) -> Result<Self, Error> {
        let at: Arc<str> = to.bootstrap_servers.as_str().into();
        let invalid = |usage: &'static str, detail: &str| Error::CredentialsInvalid {
            at: Arc::clone(&at),
            usage,
            detail: detail.to_owned(),
        };
        let tls = if to.tls { Some(connector(keys, &invalid)?) } else { None };
        let sasl = match to.sasl {
            None => None,
            Some(mechanism) => {
                let username =
                    keys.bytes("username").ok_or_else(|| invalid("username", "there is none"))?;
                let username = String::from_utf8(username.to_vec())
                    .map_err(|_| invalid("username", "it is not UTF-8"))?;
                let password =
                    keys.bytes("password").ok_or_else(|| invalid("password", "there is none"))?;
                Some(Sasl { mechanism, username, password: password.to_vec() })
            }
        };
        Ok(Self { tls, sasl })
    }
}

fn connector(
    keys: &Credentials,
    invalid: &impl Fn(&'static str, &str) -> Error,
) -> Result<TlsConnector, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("ca", &error.to_string()))?;
    let mut roots = RootCertStore::empty();
    match keys.bytes("ca") {
        Some(pem) => {
            for certificate in certificates(pem).map_err(|detail| invalid("ca", detail))? {
                roots.add(certificate).map_err(|error| invalid("ca", &error.to_string()))?;
            }
        }
        None => {
            // A system has a hundred and some roots; one that cannot be parsed harms nobody.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = builder.with_root_certificates(roots);
    let config = match (keys.bytes("cert"), keys.bytes("key")) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert).map_err(|detail| invalid("cert", detail))?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| invalid("key", "it holds no private key that is not encrypted"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| invalid("key", &error.to_string()))?
        }
        (Some(_), None) => return Err(invalid("key", "there is a cert, but no key")),
        (None, Some(_)) => return Err(invalid("cert", "there is a key, but no cert")),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match all {
        Ok(all) if all.is_empty() => Err("it holds no certificate"),
        Ok(all) => Ok(all),
        Err(_) => Err("it is not well-formed PEM"),
    }
}
