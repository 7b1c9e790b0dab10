//! How to get in: TLS and SASL, made of an address and its credentials. Called by `cluster.rs` once for each client; `link.rs` uses it
//! for each connection.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::TlsConnector;

use super::{Address, Mechanism};
use crate::observe::{Credentials, Error, tls};

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
        let tls =
            if to.tls { Some(TlsConnector::from(Arc::new(tls::config(&at, keys)?))) } else { None };
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
