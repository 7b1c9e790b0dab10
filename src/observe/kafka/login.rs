//! How to get in: TLS and SASL, made of an address and its credentials. Called by `cluster.rs` once for each client; `link.rs` uses it
//! for each connection.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::TlsConnector;

use super::{Address, Mechanism};
use crate::observe::{Credentials, Error, fault, tls};

/// What every connection of a client needs.
pub(super) struct Login {
    /// `host:port[,host:port]`.
    pub(super) bootstrap_servers: Arc<str>,
    pub(super) tls: Option<TlsConnector>,
    pub(super) sasl: Option<Sasl>,
}

/// Name and password; a token stands where the password does, and nobody needs a name.
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
        let Way { at, tls, sasl } = Way::of(to, keys)?;
        let tls =
            if tls { Some(TlsConnector::from(Arc::new(tls::config(&at, keys)?))) } else { None };
        let sasl = match sasl {
            None => None,
            Some(mechanism @ Mechanism::OauthBearer { .. }) => {
                Some(Sasl { mechanism, username: String::new(), password: Vec::new() })
            }
            Some(mechanism) => {
                let username = fault::text(&at, keys, "username")?;
                let password = fault::text(&at, keys, "password")?.into_bytes();
                Some(Sasl { mechanism, username, password })
            }
        };
        Ok(Self { bootstrap_servers: at, tls, sasl })
    }
}

/// Where to connect, and how.
struct Way {
    at: Arc<str>,
    tls: bool,
    sasl: Option<Mechanism>,
}

impl Way {
    /// As it was written, or as it was looked up.
    fn of(to: &Address, keys: &Credentials) -> Result<Self, Error> {
        let Some(found) = keys.bytes("bootstrap.servers") else {
            let at = to.bootstrap_servers.as_str().into();
            return Ok(Self { at, tls: to.tls, sasl: to.sasl.clone() });
        };
        let at: Arc<str> = String::from_utf8_lossy(found).into();
        let protocol = keys.bytes("security.protocol").unwrap_or_default();
        let mechanism = keys.bytes("sasl.mechanism");
        let sasl = match mechanism {
            None => None,
            Some(b"PLAIN") => Some(Mechanism::Plain),
            Some(b"SCRAM-SHA-256") => Some(Mechanism::ScramSha256),
            Some(b"SCRAM-SHA-512") => Some(Mechanism::ScramSha512),
            Some(other) => {
                let detail = format!("{} is unknown", String::from_utf8_lossy(other));
                return Err(Error::CredentialsInvalid { at, usage: "sasl.mechanism", detail });
            }
        };
        Ok(Self { at, tls: protocol.ends_with(b"SSL"), sasl })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_feed_at_the_end_of_a_secret_is_no_part_of_it() {
        let mut keys = Credentials::default();
        keys.put("username", b"penstock\n".to_vec());
        keys.put("password", b"s3cret\r\n".to_vec());
        let to = Address {
            connection: "shop/kafka".to_owned(),
            bootstrap_servers: "kafka:9092".to_owned(),
            tls: false,
            sasl: Some(Mechanism::ScramSha512),
        };
        let sasl = Login::new(&to, &keys).unwrap().sasl.unwrap();
        assert_eq!(
            (sasl.username.as_str(), sasl.password.as_slice()),
            ("penstock", &b"s3cret"[..])
        );
    }
}
