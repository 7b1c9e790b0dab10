//! How HTTP servers are logged in to, and that a rotated Secret takes over without losing a poll.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use penstock::decide::Observation;
use penstock::observe::web::{self, Login};
use penstock::observe::{Address, Ask, Credentials, Question, Unit, http};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::contract::Behind;
use super::line::Line;
use super::rig::*;

pub(super) fn keys(pairs: &[(&'static str, &str)]) -> Arc<Credentials> {
    let mut keys = Credentials::default();
    for (usage, text) in pairs {
        keys.put(usage, text.as_bytes().to_vec());
    }
    Arc::new(keys)
}

fn question(address: web::Address, credentials: Arc<Credentials>) -> Question {
    Question {
        id: id("a"),
        poll_interval: POLL,
        address: Address::Http(address),
        credentials,
        ask: Ask::Http(http::Ask {
            path: "jobs".to_owned(),
            json_path: "$.queue.depth".to_owned(),
            unit: Unit::Backlog,
        }),
    }
}

async fn server(login: &str) -> Behind {
    let server = Behind::start().await;
    server.web.desk().queues.insert("jobs".to_owned(), 7);
    server.web.desk().login = Some(login.to_owned());
    server
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn names_tokens_and_headers_are_sent_and_a_refusal_is_told_without_them() {
    let cases = [
        (
            Login::Basic,
            basic("penstock", "s3cret"),
            keys(&[("username", "penstock"), ("password", "s3cret\n")]),
        ),
        (Login::Bearer, "Bearer t0ken".to_owned(), keys(&[("token", "t0ken")])),
    ];
    for (login, wanted, keys) in cases {
        let server = server(&wanted).await;
        let mut address = server.address();
        address.login = login;
        address.headers = vec![("X-Scope-OrgID".to_owned(), "data".to_owned())];
        let mut watcher = Watcher::asking(vec![question(address, keys)]);
        watcher.until_amount("a", 7.0).await;
        assert_eq!(server.web.desk().headers["x-scope-orgid"], "data");
        server.web.desk().login = Some("Basic other".to_owned());
        let seen = watcher.until("a", |seen| label(seen) == "AuthenticationFailed").await;
        let Observation::Stale(_, missing) = seen else { panic!("{seen:?}") };
        assert!(missing.is_lasting);
        assert!(!missing.message.contains("s3cret") && !missing.message.contains("t0ken"));
        watcher.observe.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_bought_once_and_again_when_it_is_refused() {
    let server = server("Bearer first").await;
    server.web.desk().seller = Some((basic("penstock", "s3cret"), "first".to_owned()));
    let mut address = server.address();
    address.login = Login::OAuth2 {
        token_url: format!("http://{}/token", server.web.address),
        scopes: vec!["read".to_owned(), "more".to_owned()],
    };
    let credentials = keys(&[("client-id", "penstock"), ("client-secret", "s3cret")]);
    let mut watcher = Watcher::asking(vec![question(address, credentials)]);
    watcher.until_amount("a", 7.0).await;
    assert!(watcher.visits_within(POLL * 3).await > 0);
    assert_eq!(server.web.desk().sold, 1);
    assert!(server.web.desk().asked.iter().any(|asked| asked.contains("scope=read+more")));
    {
        let mut desk = server.web.desk();
        desk.login = Some("Bearer second".to_owned());
        desk.seller = Some((basic("penstock", "s3cret"), "second".to_owned()));
        desk.queues.insert("jobs".to_owned(), 8);
    }
    watcher.until_amount("a", 8.0).await;
    assert_eq!(server.web.desk().sold, 2);
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sells_tokens_sees_no_header_of_the_connection() {
    let (server, seller) = (server("Bearer first").await, Behind::start().await);
    seller.web.desk().seller = Some((basic("penstock", "s3cret"), "first".to_owned()));
    let mut address = server.address();
    address.headers = vec![("X-Api-Key".to_owned(), "half-a-secret".to_owned())];
    address.login = Login::OAuth2 {
        token_url: format!("http://{}/token", seller.web.address),
        scopes: Vec::new(),
    };
    let credentials = keys(&[("client-id", "penstock"), ("client-secret", "s3cret")]);
    let mut watcher = Watcher::asking(vec![question(address, credentials)]);
    watcher.until_amount("a", 7.0).await;
    assert_eq!(server.web.desk().headers["x-api-key"], "half-a-secret");
    let shown = seller.web.desk().buyer.clone();
    assert!(shown.contains_key("authorization") && !shown.contains_key("x-api-key"), "{shown:?}");
    watcher.observe.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_takes_over_when_it_is_good_and_not_before() {
    let server = server("Bearer old").await;
    let mut address = server.address();
    address.login = Login::Bearer;
    let asked = |token: &str| question(address.clone(), keys(&[("token", token)]));
    let mut watcher = Watcher::asking(vec![asked("old")]);
    watcher.until_amount("a", 7.0).await;
    // The new one is in the Secret before the server knows it: the old one goes on.
    watcher.observe.ask(vec![asked("new")]);
    assert!(watcher.visits_within(POLL * 3).await > 0);
    assert!(watcher.latest("a").unwrap().is_fresh());
    let refusal = watcher.observe.refusal(&id("a")).unwrap();
    assert_eq!(&*refusal.label, "AuthenticationFailed");
    // Then the server learns it, and the old one is out.
    server.web.desk().login = Some("Bearer new".to_owned());
    server.web.desk().queues.insert("jobs".to_owned(), 9);
    watcher.until_amount("a", 9.0).await;
    assert_eq!(watcher.observe.refusal(&id("a")), None);
    watcher.observe.shutdown().await;
}

/// An authority, and a certificate and key it has signed for `localhost`.
pub(super) fn signed() -> (String, String, KeyPair) {
    let mut root = CertificateParams::new(vec![]).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let cert = cert.signed_by(&key, &root).unwrap();
    (root.pem(), cert.pem(), key)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_mutual_where_the_server_asks_for_a_certificate() {
    let server = server("Bearer t").await;
    let (ca, cert, key) = signed();
    let line = Line::to(server.web.address, Some(mutual(&ca, &cert, &key))).await;
    let mut address = server.address();
    address.url = format!("https://localhost:{}", line.address.port());
    address.login = Login::Bearer;
    let key = key.serialize_pem();
    let good = keys(&[("token", "t"), ("ca", &ca), ("cert", &cert), ("key", &key)]);
    let mut watcher = Watcher::asking(vec![question(address.clone(), good)]);
    watcher.until_amount("a", 7.0).await;
    watcher.observe.shutdown().await;
    // A stranger's authority is not trusted, and half a certificate is none.
    let (other, ..) = signed();
    for (credentials, wished) in [
        (keys(&[("token", "t"), ("ca", &other), ("cert", &cert), ("key", &key)]), "TlsFailed"),
        (keys(&[("token", "t"), ("ca", &ca), ("cert", &cert)]), "CredentialsInvalid"),
        (keys(&[("token", "t"), ("ca", "no PEM")]), "CredentialsInvalid"),
    ] {
        let mut watcher = Watcher::asking(vec![question(address.clone(), credentials)]);
        watcher.until("a", |seen| label(seen) == wished).await;
        watcher.observe.shutdown().await;
    }
}

/// What asks every caller for a certificate of the same authority.
pub(super) fn mutual(ca: &str, cert: &str, key: &KeyPair) -> TlsAcceptor {
    let mut roots = RootCertStore::empty();
    roots.add(rustls_pem(ca)).unwrap();
    let provider = Arc::new(default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![rustls_pem(cert)], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn rustls_pem(text: &str) -> tokio_rustls::rustls::pki_types::CertificateDer<'static> {
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    tokio_rustls::rustls::pki_types::CertificateDer::from_pem_slice(text.as_bytes()).unwrap()
}
