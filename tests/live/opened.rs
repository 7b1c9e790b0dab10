//! The page opened to a real cluster: the API server's own word on whose a token is and what its owner may list, and a browser that signs in
//! by one, follows what it may see, and is sent away when the token is nobody's any more.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::crd::install;
use crate::rig::{
    Browser, Cluster, Penstock, Program, free_port, http_get, http_get_as, shared, until,
};
use crate::scene::SOON;

const OVERVIEW: &str = "/api/v1/overview";

/// A pipeline that is decided on, and whose queue nobody answers for.
fn pipeline(name: &str) -> String {
    let source = json!({"name": "todo", "kafka": {"bootstrapServers": "127.0.0.1:1", "topics": ["todo"], "group": "g"}});
    let stage = json!({"name": "work", "target": {"name": name}, "replicas": {"max": 8}, "sources": [source]});
    json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
        "metadata": {"name": name}, "spec": {"stages": [stage]},
    })
    .to_string()
}

/// An account that may list pipelines: in a namespace, or in all of them.
async fn account(cluster: &Cluster, home: &str, name: &str, everywhere: bool) -> Result<String> {
    let (kind, of_all) = if everywhere { ("clusterrole", true) } else { ("role", false) };
    let (role, subject) = (format!("{home}-{name}"), format!("--serviceaccount={home}:{name}"));
    let within = ["-n", home];
    let give = async |words: &[&str]| {
        let within = if of_all { &[][..] } else { &within };
        cluster.kubectl(&[words, within].concat()).await
    };
    cluster.kubectl(&["-n", home, "create", "serviceaccount", name]).await?;
    let what = "--resource=scaledpipelines.penstock.dev";
    give(&["create", kind, &role, "--verb=list", what]).await?;
    let (binding, to) = (format!("{kind}binding"), format!("--{kind}={role}"));
    give(&["create", &binding, &role, &to, &subject]).await?;
    token(cluster, home, name, &[]).await
}

async fn token(cluster: &Cluster, home: &str, name: &str, more: &[&str]) -> Result<String> {
    let create = [&["-n", home, "create", "token", name], more].concat();
    Ok(cluster.kubectl(&create).await?.trim().to_owned())
}

/// Whom of these two somebody sees.
async fn seen(port: u16, token: &str) -> Result<(bool, bool)> {
    let (code, said) = http_get_as(port, OVERVIEW, token).await?;
    ensure!(code == 200, "{code} {said}");
    Ok((said.contains("\"open-orders\""), said.contains("\"open-ledger\"")))
}

#[tokio::test]
async fn each_signs_in_by_a_token_of_the_cluster_and_sees_the_namespaces_in_which_he_may_list()
-> Result<()> {
    let cluster = shared::cluster().await?;
    install(cluster).await?;
    let (shop, bank) = (cluster.namespace("shop").await?, cluster.namespace("bank").await?);
    cluster.apply(&shop, &pipeline("open-orders")).await?;
    cluster.apply(&bank, &pipeline("open-ledger")).await?;
    let clerk = account(cluster, &shop, "clerk", false).await?;
    let chief = account(cluster, &shop, "chief", true).await?;
    let port = free_port()?;
    let arguments = [
        format!("--namespace={shop}"),
        format!("--namespace={bank}"),
        format!("--lease-namespace={shop}"),
        format!("--page-open=127.0.0.1:{port}"),
    ];
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let daemon = Penstock::run(cluster.kubeconfig(), &arguments).await?;
    until("both pipelines to be known", SOON, async || {
        let known = daemon.page("/api/v1/pipelines").await?.to_string();
        let both = known.contains("\"open-orders\"") && known.contains("\"open-ledger\"");
        Ok(both.then_some(()))
    })
    .await?;

    // By the API server's word, and by no other.
    ensure!(seen(port, &chief).await? == (true, true), "the chief does not see both");
    ensure!(seen(port, &clerk).await? == (true, false), "the clerk does not see his own alone");
    let elsewhere = format!("/api/v1/pipelines/{bank}/open-ledger");
    let (code, said) = http_get_as(port, &elsewhere, &clerk).await?;
    ensure!(code == 404, "{code} {said}");
    ensure!(http_get_as(port, &elsewhere, &chief).await?.0 == 200, "the chief does not see it");
    ensure!(http_get(port, OVERVIEW).await?.0 == 401, "who shows no token sees something");
    let vault = token(cluster, &shop, "chief", &["--audience=vault"]).await?;
    for other in ["nonsense", &vault, &format!("{chief}x")] {
        let (code, said) = http_get_as(port, OVERVIEW, other).await?;
        ensure!(code == 401 && said.contains("does not know this token"), "{code} {said}");
    }
    for (token, sees) in [(&clerk, false), (&chief, true)] {
        let place = format!("http://127.0.0.1:{port}");
        let top = Program::new(env!("CARGO_BIN_EXE_penstock"))
            .args(["top", "-o", "json", "--server", &place])
            .env("PENSTOCK_TOKEN", token.as_str());
        let said = top.run().await?;
        ensure!(said.contains("open-orders") && said.contains("open-ledger") == sees, "{said}");
    }

    // In a browser: the form, a wrong token, a right one; nothing of others; out again.
    let mut browser = Browser::start().await?;
    let place = format!("http://127.0.0.1:{port}/");
    let enter = |token: &str| {
        format!(
            "document.querySelector('#token').value = '{token}'; document.querySelector('#sign').requestSubmit()"
        )
    };
    let is_asked = "!document.querySelector('#sign').hidden && document.querySelector('#fleet').offsetParent === null";
    let row = |namespace: &str, name: &str| {
        format!("!!document.querySelector('tr[data-id=\"{namespace}/{name}\"]')")
    };
    browser.look(360, 740, true).await?;
    browser.go(&format!("{place}#/{shop}/open-orders")).await?;
    browser.until(is_asked).await?;
    browser.until("document.activeElement.id === 'token'").await?;
    let width = browser.value("document.documentElement.scrollWidth").await?;
    ensure!(width == 360, "the form is {width} wide");
    browser.value(&enter("nonsense")).await?;
    browser
        .until(
            "document.querySelector('#sign-said').innerText.includes('does not know this token')",
        )
        .await?;
    browser.value(&enter(&clerk)).await?;
    browser.until("document.querySelectorAll('.graph a.node').length === 1").await?;
    browser.until("!document.querySelector('#leave').hidden").await?;
    browser.until("document.documentElement.scrollWidth <= 360").await?;
    browser.look(1280, 900, false).await?;
    browser.value("location.hash = '#/'").await?;
    browser.until(&row(&shop, "open-orders")).await?;
    browser.until("document.querySelector('#live').dataset.state === 'live'").await?;
    let who = browser.value("document.querySelector('#leave').title").await?;
    ensure!(who == format!("Signed in as system:serviceaccount:{shop}:clerk"), "{who}");
    let others =
        browser.value("document.documentElement.outerHTML.includes('open-ledger')").await?;
    ensure!(others == Value::Bool(false), "the page holds what the clerk may not see");
    ensure!(browser.value("document.cookie").await? == "", "a script reads the token");
    browser.value("document.querySelector('#leave').click()").await?;
    browser.until(is_asked).await?;
    browser.value(&enter(&chief)).await?;
    browser.until(&row(&bank, "open-ledger")).await?;
    browser.until("document.querySelector('#live').dataset.state === 'live'").await?;

    // Who is nobody any more is sent away within a minute, and what the API server keeps in mind itself.
    cluster.kubectl(&["-n", &shop, "delete", "serviceaccount", "chief", "clerk"]).await?;
    until("the page to ask who it is", Duration::from_mins(3), async || {
        Ok((browser.value(is_asked).await? == Value::Bool(true)).then_some(()))
    })
    .await?;
    until("the clerk to be nobody", Duration::from_mins(3), async || {
        Ok((http_get_as(port, OVERVIEW, &clerk).await?.0 == 401).then_some(()))
    })
    .await?;

    // The browser tells each 401 as an error, and nothing else went wrong.
    let is_real = |error: &&String| !error.contains("401");
    let errors: Vec<_> = browser.errors.iter().filter(is_real).collect();
    ensure!(errors.is_empty(), "{errors:#?}");
    let said = daemon.process().log()?;
    for token in [&clerk, &chief, &vault] {
        let last = token.rsplit('.').next().context("a token has parts")?;
        ensure!(!said.contains(last), "the log holds a token");
    }
    for (kind, name) in [("clusterrolebinding", "chief"), ("clusterrole", "chief")] {
        cluster.kubectl(&["delete", kind, &format!("{shop}-{name}")]).await?;
    }
    Ok(())
}
