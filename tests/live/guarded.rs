//! A Prometheus behind logins: its own, which are names with passwords and client certificates, and tokens, given or bought, which people ask for at a
//! gate before it.

use std::sync::{Arc, PoisonError};

use anyhow::{Context, Result};
use http::StatusCode;
use penstock::observe::prometheus::{self, OnEmpty};
use penstock::observe::web::{self, Login};
use penstock::observe::{Address, Ask, Unit};

use crate::beside::{SOON, Watched, keys};
use crate::rig::{Authority, Gate, Keeper, Prometheus, fresh_folder, until};
use crate::tokens;

/// `s3cret` as a Prometheus keeps it: bcrypt, of the least cost.
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK";

/// A server as who is called so sees it: each has a client of its own.
fn place(who: &str, url: &str, login: Login) -> Address {
    let (connection, url) = (format!("shop/{who}"), url.to_owned());
    Address::Prometheus(web::Address { connection, url, headers: Vec::new(), login })
}

fn seven() -> Ask {
    let query = "vector(7)".to_owned();
    let gives = prometheus::Gives::One(Unit::Gauge);
    Ask::Prometheus(prometheus::Ask { query, on_empty: OnEmpty::Error, gives })
}

#[tokio::test]
async fn a_prometheus_lets_in_by_name_and_certificate_and_who_is_refused_is_told_so() -> Result<()>
{
    let (authority, stranger) = (Authority::new("prometheus")?, Authority::new("stranger")?);
    let folder = fresh_folder("door")?;
    let (certificate, key) = authority.server("localhost")?.write(&folder, "server")?;
    let ca = folder.join("ca.crt");
    std::fs::write(&ca, authority.certificate())?;
    let door = format!(
        "tls_server_config:\n  cert_file: {}\n  key_file: {}\n  client_ca_file: {}\n  client_auth_type: RequireAndVerifyClientCert\nbasic_auth_users:\n  penstock: {HASH}\n",
        certificate.display(),
        key.display(),
        ca.display(),
    );
    let server = Prometheus::guarded(&door).await?;
    let url = format!("https://localhost:{}", server.port());
    let (ours, theirs) = (authority.client("penstock", None)?, stranger.client("penstock", None)?);
    let (ca, other) = (authority.certificate(), stranger.certificate());
    let name = [("username", "penstock"), ("password", "s3cret")];
    let guess = [("username", "penstock"), ("password", "guess")];
    let pair = [("cert", &*ours.certificate), ("key", &*ours.key)];
    let strange = [("cert", &*theirs.certificate), ("key", &*theirs.key)];
    let ask = |who: &'static str, login, parts: &[&[(&'static str, &str)]]| {
        (who, place(who, &url, login), seven(), keys(&parts.concat()))
    };
    let watched = Watched::asking(vec![
        ask("good", Login::Basic, &[&name, &pair, &[("ca", &ca)]]),
        ask("guess", Login::Basic, &[&guess, &pair, &[("ca", &ca)]]),
        ask("nameless", Login::Nobody, &[&pair, &[("ca", &ca)]]),
        ask("bare", Login::Basic, &[&name, &[("ca", &ca)]]),
        ask("strange", Login::Basic, &[&name, &strange, &[("ca", &ca)]]),
        ask("fooled", Login::Basic, &[&name, &pair, &[("ca", &other)]]),
    ]);
    watched.is("good", 7.0).await?;
    for (who, word) in [
        ("guess", "AuthenticationFailed"),
        ("nameless", "AuthenticationFailed"),
        ("bare", "TlsFailed"),
        ("strange", "TlsFailed"),
        ("fooled", "TlsFailed"),
    ] {
        let said = watched.lacks(who, word).await.context(who)?;
        assert!(!said.contains("guess") && !said.contains("s3cret"), "{said}");
    }
    watched.observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_given_or_bought_leads_through_the_gate_before_a_prometheus() -> Result<()>
{
    let server = Prometheus::with_config("global: {}\n").await?;
    let shop = tokens::Shared::default();
    let token_url = tokens::open(&shop).await?;
    let sold = Arc::clone(&shop);
    let keeper: Keeper = Arc::new(move |headers| {
        let given = headers.get("authorization").and_then(|given| given.to_str().ok());
        let token = given.and_then(|given| given.strip_prefix("Bearer ")).unwrap_or_default();
        let shop = sold.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = token == "t0ken" || shop.sold.iter().any(|sold| sold == token);
        is_known.then_some(()).ok_or_else(|| (StatusCode::UNAUTHORIZED, "who are you?".to_owned()))
    });
    let gate = Gate::before(server.port(), keeper).await?;
    let bought =
        || Login::OAuth2 { token_url: token_url.clone(), scopes: vec!["kafka".to_owned()] };
    let client = |secret| keys(&[("client-id", "penstock"), ("client-secret", secret)]);
    let ask = |who: &'static str, login, keys| (who, place(who, &gate.url(), login), seven(), keys);
    let watched = Watched::asking(vec![
        ask("given", Login::Bearer, keys(&[("token", "t0ken")])),
        ask("guess", Login::Bearer, keys(&[("token", "guess")])),
        ask("bought", bought(), client("s3cret")),
        ask("refused", bought(), client("guess")),
    ]);
    watched.is("given", 7.0).await?;
    watched.is("bought", 7.0).await?;
    watched.lacks("guess", "AuthenticationFailed").await?;
    let said = watched.lacks("refused", "AuthenticationFailed").await?;
    assert!(said.contains("invalid_client"), "{said}");
    until("the next token to be bought", SOON, async || {
        let count = shop.lock().unwrap_or_else(PoisonError::into_inner).sold.len();
        Ok((1 < count).then_some(()))
    })
    .await?;
    watched.is("bought", 7.0).await?;
    watched.observe.shutdown().await;
    Ok(())
}
