//! The ways into a broker, and what both sides must know for them: `server.properties` and the client's configuration.
//! Called by the broker's start and by tests.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rdkafka::ClientConfig;

use penstock::demo::traffic;

use super::{Broker, BrokerOptions};
use crate::rig::certs::{Authority, write};
use crate::rig::ports;

/// A way to reach the broker. The secured ones want the broker's authority to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    Plain,
    Tls,
    /// TLS, and the client shows a certificate.
    MutualTls,
    /// A password in the clear: PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
    Sasl,
    /// The same within TLS.
    SaslTls,
}

/// The user of the SASL listeners, whatever the mechanism.
pub(crate) const USER: (&str, &str) = ("penstock", "gate-and-water");

pub(super) const LISTENERS: [(Listener, &str, &str); 5] = [
    (Listener::Plain, "PLAIN", "PLAINTEXT"),
    (Listener::Tls, "TLS", "SSL"),
    (Listener::MutualTls, "MUTUAL", "SSL"),
    (Listener::Sasl, "SASL", "SASL_PLAINTEXT"),
    (Listener::SaslTls, "SASLTLS", "SASL_SSL"),
];

impl Broker {
    /// A client's configuration for the plain listener.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        // A broker that comes back is to be found at once; the default goes up to 10 s.
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "500");
        config
    }

    /// The same for the producers and consumers of `demo::traffic`, which find out soon when the group has changed.
    pub(crate) fn traffic(&self) -> traffic::Kafka {
        let plain = self.client();
        let kafka = traffic::Kafka::at(self.bootstrap())
            .with("consumer.session.timeout.ms", "6000")
            .with("consumer.heartbeat.interval.ms", "1000");
        plain.config_map().iter().fold(kafka, |kafka, (name, value)| kafka.with(*name, *value))
    }

    /// A client's configuration for a listener, with all that it takes to be let in (SASL by SCRAM-SHA-512).
    pub(crate) fn client_of(&self, listener: Listener) -> Result<ClientConfig> {
        let mut config = self.client();
        let protocol =
            LISTENERS.iter().find(|(of, ..)| *of == listener).map(|(.., protocol)| *protocol);
        config.set("bootstrap.servers", self.address(listener)?);
        config.set("security.protocol", protocol.context("an unknown listener")?);
        if matches!(listener, Listener::Tls | Listener::MutualTls | Listener::SaslTls) {
            config.set("ssl.ca.pem", self.authority());
        }
        if listener == Listener::MutualTls {
            config
                .set("ssl.certificate.pem", &self.client.certificate)
                .set("ssl.key.pem", &self.client.key);
        }
        if matches!(listener, Listener::Sasl | Listener::SaslTls) {
            config
                .set("sasl.mechanism", "SCRAM-SHA-512")
                .set("sasl.username", USER.0)
                .set("sasl.password", USER.1);
        }
        Ok(config)
    }
}

pub(super) fn properties(
    folder: &Path,
    authority: &Authority,
    ports: &[(Listener, u16)],
    options: &BrokerOptions,
) -> Result<String> {
    let controller = ports::free()?;
    let known = || {
        LISTENERS.iter().filter_map(|(listener, name, protocol)| {
            ports.iter().find(|(of, _)| of == listener).map(|(_, port)| (*name, *protocol, *port))
        })
    };
    let addresses = known()
        .map(|(name, _, port)| format!("{name}://127.0.0.1:{port}"))
        .collect::<Vec<_>>()
        .join(",");
    let protocols = known()
        .map(|(name, protocol, _)| format!("{name}:{protocol}"))
        .collect::<Vec<_>>()
        .join(",");
    let mut lines: Vec<(String, String)> = [
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", "1".to_owned()),
        ("controller.quorum.voters", format!("1@127.0.0.1:{controller}")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("listeners", format!("{addresses},CONTROLLER://127.0.0.1:{controller}")),
        ("advertised.listeners", addresses),
        ("listener.security.protocol.map", format!("{protocols},CONTROLLER:PLAINTEXT")),
        ("inter.broker.listener.name", "PLAIN".to_owned()),
        ("log.dirs", folder.join("data").display().to_string()),
        ("auto.create.topics.enable", "false".to_owned()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
        ("offsets.topic.num.partitions", "4".to_owned()),
        ("offsets.topic.replication.factor", "1".to_owned()),
        ("transaction.state.log.num.partitions", "2".to_owned()),
        ("transaction.state.log.replication.factor", "1".to_owned()),
        ("transaction.state.log.min.isr", "1".to_owned()),
        // A broker that was killed is fenced for so long before it is let in again.
        ("broker.session.timeout.ms", "3000".to_owned()),
        ("broker.heartbeat.interval.ms", "500".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    if options.secured {
        lines.extend(secrets(folder, authority)?);
    }
    lines.extend(options.properties.iter().cloned());
    Ok(lines.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("\n"))
}

/// Keys and passwords. Kafka takes PEM from files: the key and its certificates in one.
fn secrets(folder: &Path, authority: &Authority) -> Result<Vec<(String, String)>> {
    let server = authority.server("kafka")?;
    let path = |path: PathBuf| path.display().to_string();
    let (user, password) = USER;
    let plain = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}=\"{password}\";"
    );
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;".to_owned();
    let mut lines = vec![
        ("ssl.keystore.type".to_owned(), "PEM".to_owned()),
        (
            "ssl.keystore.location".to_owned(),
            path(write(folder, "server.pem", &(server.key + &server.certificate))?),
        ),
        ("ssl.truststore.type".to_owned(), "PEM".to_owned()),
        (
            "ssl.truststore.location".to_owned(),
            path(write(folder, "authority.pem", &authority.certificate())?),
        ),
        ("listener.name.mutual.ssl.client.auth".to_owned(), "required".to_owned()),
    ];
    for listener in ["sasl", "sasltls"] {
        let key = |rest: &str| format!("listener.name.{listener}.{rest}");
        lines.extend([
            (key("sasl.enabled.mechanisms"), "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned()),
            (key("plain.sasl.jaas.config"), plain.clone()),
            (key("scram-sha-256.sasl.jaas.config"), scram.clone()),
            (key("scram-sha-512.sasl.jaas.config"), scram.clone()),
        ]);
    }
    Ok(lines)
}
