//! From an address and its credentials to the client's settings, and from its complaints to our words. Called by `read.rs`.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys::types::RDKafkaErrorCode as Code;

use super::{Address, Mechanism};
use crate::observe::{Credentials, Error};

/// Settings that never differ: no background chatter, quick reconnection, no topic made by asking for it.
const FIXED: [(&str, &str); 11] = [
    ("client.id", "penstock"),
    ("allow.auto.create.topics", "false"),
    ("enable.metrics.push", "false"),
    ("enable.auto.commit", "false"),
    ("log.queue", "true"),
    ("log_level", "4"),
    ("socket.keepalive.enable", "true"),
    ("socket.timeout.ms", "5000"),
    ("socket.connection.setup.timeout.ms", "3000"),
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "1000"),
];

/// All settings of a client.
pub(super) fn settings(
    to: &Address,
    keys: &Credentials,
) -> Result<Vec<(&'static str, CString)>, Error> {
    let at: Arc<str> = to.bootstrap_servers.as_str().into();
    let mut all: Vec<(&'static str, CString)> = Vec::new();
    for (name, value) in FIXED {
        all.push((name, CString::new(value).unwrap_or_default()));
    }
    let mut put = |name: &'static str, usage: &'static str, value: &[u8]| {
        let value = CString::new(value).map_err(|_| Error::CredentialsInvalid {
            at: Arc::clone(&at),
            usage,
            detail: "it has a zero byte".into(),
        })?;
        all.push((name, value));
        Ok::<(), Error>(())
    };
    put("bootstrap.servers", "bootstrap address", to.bootstrap_servers.as_bytes())?;
    let protocol = match (to.tls, to.sasl.is_some()) {
        (false, false) => "plaintext",
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    };
    put("security.protocol", "protocol", protocol.as_bytes())?;
    if let Some(mechanism) = to.sasl {
        let word = match mechanism {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        put("sasl.mechanism", "mechanism", word.as_bytes())?;
        put("sasl.username", "username", keys.bytes("username").unwrap_or_default())?;
        put("sasl.password", "password", keys.bytes("password").unwrap_or_default())?;
    }
    if to.tls {
        for (name, usage) in
            [("ssl.ca.pem", "ca"), ("ssl.certificate.pem", "cert"), ("ssl.key.pem", "key")]
        {
            if let Some(pem) = keys.bytes(usage) {
                put(name, usage, pem)?;
            }
        }
    }
    Ok(all)
}

/// A complaint about the connection, in our words.
pub(super) fn connection_error(
    at: &Arc<str>,
    code: Code,
    detail: String,
    after: Duration,
) -> Error {
    let at = Arc::clone(at);
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library has some two hundred codes")]
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed => {
            Error::AuthenticationFailed { at, detail }
        }
        Code::SSL => Error::TlsFailed { at, detail },
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve => {
            Error::BrokerUnreachable { at, detail }
        }
        _ => Error::Timeout { at, after, detail },
    }
}
