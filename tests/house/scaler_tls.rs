//! TLS on the port that KEDA asks: who is let in, and that rotated files are followed while KEDA goes on asking.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use penstock::answer::identity::{Error, Files, Identity};
use penstock::answer::{self, Answer, Pulse};
use penstock::proto::external_scaler::external_scaler_client::ExternalScalerClient;
use penstock::proto::external_scaler::{IsActiveResponse, ScaledObjectRef};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity as Pair};

use crate::turns::{Bench, Turn};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, of this authority.
fn pair(by: &Authority) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    (params.signed_by(&key, by).unwrap().pem(), key.serialize_pem())
}

struct Served {
    folder: tempfile::TempDir,
    url: String,
    tasks: JoinSet<()>,
    _bench: Bench,
}

impl Served {
    fn files(&self, with_clients: bool) -> Files {
        let path = |name: &str| self.folder.path().join(name);
        Files {
            certificate: path("tls.crt"),
            key: path("tls.key"),
            clients: with_clients.then(|| path("ca.crt")),
        }
    }

    /// As the kubelet does it, near enough: one file after the other.
    fn write(&self, by: &Authority, clients: &Authority) {
        let (certificate, key) = pair(by);
        for (name, text) in [("tls.crt", certificate), ("tls.key", key), ("ca.crt", clients.pem())]
        {
            std::fs::write(self.folder.path().join(name), text).unwrap();
        }
    }

    async fn start(by: &Authority, clients: &Authority, asks_for_one: bool) -> Self {
        let bench = Bench::new().await;
        let pulse = Pulse::default();
        let answer = Answer::new(&bench.report, pulse.clone(), bench.clock);
        pulse.beat();
        bench.tell(&Turn::of(|told| told.verdict.replicas = Some(3))).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let folder = tempfile::tempdir().unwrap();
        let mut served = Self { folder, url, tasks: JoinSet::new(), _bench: bench };
        served.write(by, clients);
        let identity = Arc::new(Identity::load(served.files(asks_for_one)).await.unwrap());
        let followed = Arc::clone(&identity);
        served.tasks.spawn(async move { followed.follow(Duration::from_millis(50)).await });
        let door = answer::scaler::Door { listener, identity: Some(identity) };
        served.tasks.spawn(answer::scaler::serve(door, answer, CancellationToken::new()));
        served
    }

    /// Is the stage active? Over a connection of its own.
    async fn ask(&self, trusts: &Authority, shows: Option<&Authority>) -> Result<bool, String> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(trusts.pem()))
            .domain_name("localhost");
        if let Some(by) = shows {
            let (certificate, key) = pair(by);
            tls = tls.identity(Pair::from_pem(certificate, key));
        }
        let endpoint = Endpoint::from_shared(self.url.clone()).unwrap().tls_config(tls).unwrap();
        let channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
        let answer = ExternalScalerClient::new(channel).is_active(orders()).await;
        let IsActiveResponse { result } =
            answer.map_err(|status| format!("{status:?}"))?.into_inner();
        Ok(result)
    }

    async fn until_asked(&self, trusts: &Authority, shows: Option<&Authority>) {
        for _ in 0..200 {
            if self.ask(trusts, shows).await == Ok(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never answered: {:?}", self.ask(trusts, shows).await);
    }
}

fn orders() -> ScaledObjectRef {
    ScaledObjectRef {
        name: "enrich".to_owned(),
        namespace: "default".to_owned(),
        scaler_metadata: [("pipeline".to_owned(), "orders".to_owned())].into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keda_asks_over_tls_and_rotated_files_are_followed_while_a_stream_goes_on() {
    let (old, new) = (authority(), authority());
    let served = Served::start(&old, &old, false).await;
    assert_eq!(served.ask(&old, None).await, Ok(true));
    assert!(served.ask(&new, None).await.is_err(), "a stranger's certificate is trusted");
    // Plain text is no longer understood.
    let plain = ExternalScalerClient::connect(served.url.replace("https", "http")).await;
    if let Ok(mut plain) = plain {
        assert!(plain.is_active(orders()).await.is_err());
    }
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(old.pem()))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(served.url.clone()).unwrap().tls_config(tls).unwrap();
    let mut standing = ExternalScalerClient::new(endpoint.connect().await.unwrap());
    let mut stream = standing.stream_is_active(orders()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().unwrap().result);

    served.write(&new, &new);
    served.until_asked(&new, None).await;
    assert!(served.ask(&old, None).await.is_err(), "the old certificate is still shown");
    assert!(standing.is_active(orders()).await.unwrap().into_inner().result);
    drop((stream, standing));

    // What cannot be used, or is gone for a while, is not used.
    std::fs::write(served.folder.path().join("tls.crt"), "no PEM").unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(served.ask(&new, None).await, Ok(true));
    std::fs::remove_file(served.folder.path().join("tls.crt")).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(served.ask(&new, None).await, Ok(true));
    served.write(&old, &new);
    served.until_asked(&old, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_clients_must_show_a_certificate_only_those_of_the_authority_are_let_in() {
    let (ours, clients, others) = (authority(), authority(), authority());
    let served = Served::start(&ours, &clients, true).await;
    assert_eq!(served.ask(&ours, Some(&clients)).await, Ok(true));
    assert!(served.ask(&ours, None).await.is_err(), "one without a certificate is let in");
    assert!(served.ask(&ours, Some(&others)).await.is_err(), "a stranger is let in");
    // The authority of the clients is rotated, too.
    served.write(&ours, &others);
    served.until_asked(&ours, Some(&others)).await;
    assert!(served.ask(&ours, Some(&clients)).await.is_err(), "the former authority is in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_says_nothing_holds_up_nobody() {
    let by = authority();
    let served = Served::start(&by, &by, false).await;
    let host = served.url.replace("https://", "");
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(tokio::net::TcpStream::connect(&host).await.unwrap());
    }
    let asked = tokio::time::timeout(Duration::from_secs(4), served.ask(&by, None)).await;
    assert_eq!(asked, Ok(Ok(true)));
    drop(silent);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let by = authority();
    let (certificate, key) = pair(&by);
    let (_, stranger) = pair(&by);
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = put("tls.crt", &certificate);
    let load = async |certificate: PathBuf, key: PathBuf, clients: Option<PathBuf>| {
        Identity::load(Files { certificate, key, clients }).await.map(drop)
    };
    assert!(load(good.clone(), put("tls.key", &key), None).await.is_ok());
    let absent = folder.path().join("absent");
    let error = load(good.clone(), absent, None).await.unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    for (key, clients, named) in [
        (put("no.key", "none"), None, "no.key cannot be used: it holds no private key"),
        (put("other.key", &stranger), None, "other.key cannot be used"),
        (
            put("tls.key", &key),
            Some(put("ca.crt", "")),
            "ca.crt cannot be used: it holds no certificate",
        ),
    ] {
        let error = load(good.clone(), key, clients).await.unwrap_err().to_string();
        assert!(error.contains(named) && error.contains("hint:"), "{error}");
        assert!(!error.contains("BEGIN"), "{error}");
    }
}
