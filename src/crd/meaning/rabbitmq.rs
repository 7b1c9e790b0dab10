//! What a RabbitMQ source asks, by the management API or by AMQP, as its connection's URL says.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::kafka::is_pair;
use super::login::Found;
use super::source::{Draft, Place};
use super::{Code, Fault, Reader, SecretWanted};
use crate::crd::login::Endpoint;
use crate::crd::rules;
use crate::crd::source::Rabbitmq;
use crate::observe::web::{self, Login};
use crate::observe::{Address, Ask, rabbitmq};

/// How often it is asked when nobody says: its counters move every 5 s.
const POLL: Duration = Duration::from_secs(5);
/// The longest name that AMQP can spell, in bytes.
const LONGEST: usize = 255;
const NAME: &str = "must have 1 to 255 bytes";
const AMQP: &[&str] = &["amqp://", "amqps://"];

impl Reader<'_> {
    /// Reads a RabbitMQ source.
    pub(super) fn rabbitmq(&mut self, at: &str, written: &Rabbitmq) -> Draft {
        let per_replica = self.threshold(format!("{at}.perReplica"), written.per_replica.as_ref());
        if !is_name(&written.queue) {
            self.refuse(format!("{at}.queue"), NAME);
        }
        if written.vhost.as_ref().is_some_and(|vhost| !is_name(vhost)) {
            self.refuse(format!("{at}.vhost"), NAME);
        }
        let server = self.found(at, &written.connection_ref).and_then(|found| server(&found));
        let by_amqp =
            matches!(&server, Ok(Server { place: (address, _), .. }) if !is_management(address));
        let own = server.as_ref().ok().and_then(|server| server.vhost.clone());
        let ask = Ask::RabbitMq(rabbitmq::Ask {
            vhost: written.vhost.clone().or(own).unwrap_or_else(|| "/".to_owned()),
            queue: written.queue.clone(),
            exclude_unacked: written.exclude_unacked.unwrap_or(by_amqp),
        });
        let place = server.and_then(|server| {
            if by_amqp && written.exclude_unacked == Some(false) {
                return Err(Fault {
                    path: format!("{at}.excludeUnacked"),
                    code: Code::InvalidSpec,
                    message: "AMQP does not tell what is delivered and not acknowledged".to_owned(),
                    hint: Some(
                        "give the Connection the URL of the management API, or write true"
                            .to_owned(),
                    ),
                });
            }
            Ok(server.place)
        });
        Draft { default_poll: POLL, per_replica, ask, place }
    }
}

/// Where a connection leads, and the virtual host that it says.
struct Server {
    place: Place,
    vhost: Option<String>,
}

fn is_management(address: &Address) -> bool {
    matches!(address, Address::RabbitMq(rabbitmq::Address::Management(_)))
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len())
}

fn server(found: &Found) -> Result<Server, Fault> {
    let written = found.kind.rabbitmq.as_ref().ok_or_else(|| found.mismatch("rabbitmq"))?;
    let (name, password) = (&written.username_secret_ref, &written.password_secret_ref);
    if name.is_some() != password.is_some() {
        return Err(found.invalid("spec.rabbitmq", rules::NAME_WITH_PASSWORD));
    }
    let mut secrets = found.tls("spec.rabbitmq", written.tls.as_ref())?;
    secrets.extend(found.secret(name.as_ref(), "username"));
    secrets.extend(found.secret(password.as_ref(), "password"));
    let url = found.url("spec.rabbitmq.url", &written.url, &["https", "http", "amqps", "amqp"])?;
    if written.tls.is_some() && !["https://", "amqps://"].iter().any(|it| url.starts_with(it)) {
        let message = "goes with a URL that begins with https:// or amqps://";
        return Err(found.invalid("spec.rabbitmq.tls", message));
    }
    if AMQP.iter().any(|scheme| url.starts_with(scheme)) {
        amqp(found, written, &url, secrets)
    } else {
        let login = if name.is_some() { Login::Basic } else { Login::Nobody };
        let address =
            web::Address { connection: found.id.clone(), url, headers: Vec::new(), login };
        let address = rabbitmq::Address::Management(address);
        Ok(Server { place: (Address::RabbitMq(address), secrets), vhost: None })
    }
}

/// `amqp://host:port/vhost`; a port and a virtual host may be left out.
fn amqp(
    found: &Found,
    written: &Endpoint,
    url: &str,
    secrets: Vec<SecretWanted>,
) -> Result<Server, Fault> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("amqp", url));
    let (host, vhost) = rest.split_once('/').map_or((rest, None), |(host, it)| (host, Some(it)));
    let tls = scheme == "amqps";
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let host = match (has_port, tls) {
        (true, _) => host.to_owned(),
        (false, true) => format!("{host}:5671"),
        (false, false) => format!("{host}:5672"),
    };
    if !is_pair(&host) {
        return Err(found.invalid("spec.rabbitmq.url", "must name a host and perhaps a port"));
    }
    let decode =
        |text: &str| percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned);
    let vhost = vhost
        .map(decode)
        .transpose()
        .ok()
        .filter(|vhost| vhost.as_ref().is_none_or(|vhost| is_name(vhost)));
    let vhost = vhost.ok_or_else(|| {
        let message = "must end with one virtual host, percent-encoded, or none";
        found.invalid("spec.rabbitmq.url", message)
    })?;
    let address = rabbitmq::Address::Amqp {
        connection: found.id.clone(),
        host,
        tls,
        login: written.username_secret_ref.is_some(),
    };
    Ok(Server { place: (Address::RabbitMq(address), secrets), vhost })
}
