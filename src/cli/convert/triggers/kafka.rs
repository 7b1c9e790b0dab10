//! Triggers `kafka` and `apache-kafka`.

use super::super::report::Grade;
use super::desk::{Desk, Left, UNCHECKED};
use crate::crd::connection;
use crate::crd::login::{Kafka as Login, Mechanism, OAuth2, Sasl};
use crate::crd::source::{Kafka, Kinds, OffsetReset};

pub(super) const LEFT: &[Left] = &[
    (
        "allowIdleConsumers",
        "false",
        Grade::Changes,
        "is left out: no more consumers are made than there are partitions",
    ),
    (
        "scaleToZeroOnInvalidOffset",
        "true",
        Grade::Changes,
        "is left out: a partition without a commit counts as offsetReset says (0 for Latest), and records that come wake the stage",
    ),
    (
        "excludePersistentLag",
        "false",
        Grade::Changes,
        "is left out: a partition that stands still while others move is left out by itself (reason Stuck)",
    ),
    (
        "limitToPartitionsWithLag",
        "false",
        Grade::Changes,
        "is left out: consumers are bounded by all partitions",
    ),
    (
        "ensureEvenDistributionOfPartitions",
        "false",
        Grade::Changes,
        "is left out: a threshold's count stands; under an objective counts at which partitions fall evenly are preferred",
    ),
    (
        "partitionLimitation",
        "",
        Grade::NotSupported,
        "is left out: all partitions of the topic count",
    ),
    ("version", "1.0.0", Grade::Same, "is agreed upon with each broker"),
    ("fullMetadata", "true", Grade::Same, "only the source's own topics are asked for"),
    UNCHECKED,
];

pub(super) fn convert(desk: &mut Desk<'_>) -> Option<Kinds> {
    let group = desk.needed("consumerGroup");
    let topics = desk.needed("topic");
    let per_replica = desk.sizing("lagThreshold", Some("10"), true)?;
    let (group, topics) = (group?, topics?);
    let offset_reset = match desk.word("offsetResetPolicy").as_deref() {
        Some("earliest") => Some(OffsetReset::Earliest),
        _ => None,
    };
    let mut source = Kafka {
        topics: topics.split(',').map(|topic| topic.trim().to_owned()).collect(),
        group,
        offset_reset,
        per_replica,
        ..Kafka::default()
    };
    let servers = desk.part_needed("bootstrapServers");
    let is_tls = desk.has_tls_on();
    let tls = if is_tls { desk.tls(["ca", "cert", "key"], true) } else { None };
    if is_tls && desk.has("keyPassword") {
        desk.lack("keyPassword", "a key with a password is not read: store it without");
    }
    let sasl = sasl(desk);
    let has_login = tls.is_some() || sasl.is_some() || desk.identity.is_some();
    if desk.lacks.is_empty() && !has_login {
        source.bootstrap_servers = Some(servers);
    } else {
        let login = Login { bootstrap_servers: Some(servers.clone()), tls, sasl, strimzi: None };
        let kind = connection::Kinds { kafka: Some(login), ..Default::default() };
        source.connection_ref = Some(desk.connect(&servers, kind));
    }
    Some(Kinds { kafka: Some(source), ..Kinds::default() })
}

fn sasl(desk: &mut Desk<'_>) -> Option<Sasl> {
    let mechanism = match desk.part("sasl")?.as_str() {
        "none" => return None,
        "plaintext" => Mechanism::Plain,
        "scram_sha256" => Mechanism::ScramSha256,
        "scram_sha512" => Mechanism::ScramSha512,
        "oauthbearer" => Mechanism::OauthBearer,
        other => {
            desk.lack("sasl", format!("is {other}, which Penstock does not speak (PLAIN, SCRAM and OAUTHBEARER it does)"));
            return None;
        }
    };
    for key in ["username", "password"] {
        if !desk.has(key) {
            desk.lack(key, "is not set");
        }
    }
    let (name, password) = (desk.secret("username"), desk.secret("password"));
    if mechanism != Mechanism::OauthBearer {
        return Some(Sasl {
            mechanism,
            username_secret_ref: name,
            password_secret_ref: password,
            oauth2: None,
        });
    }
    let token_url = desk.part_needed("oauthTokenEndpointUri");
    let scopes = desk.part("scopes").unwrap_or_default();
    if desk.has("oauthExtensions")
        || desk.part("saslTokenProvider").is_some_and(|it| it != "bearer")
    {
        desk.lack(
            "oauthExtensions",
            "tokens are bought by client credentials only, without extensions",
        );
    }
    let oauth2 = OAuth2 {
        token_url,
        client_id_secret_ref: name.unwrap_or_default(),
        client_secret_secret_ref: password.unwrap_or_default(),
        scopes: words(&scopes),
    };
    Some(Sasl {
        mechanism,
        username_secret_ref: None,
        password_secret_ref: None,
        oauth2: Some(oauth2),
    })
}

/// Words with commas between.
pub(super) fn words(text: &str) -> Vec<String> {
    text.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
