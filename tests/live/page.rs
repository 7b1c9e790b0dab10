//! The page in a real Chromium, served by the real daemon of the demo: what it shows, that it follows by itself, keys, addresses, a narrow
//! window; nothing goes wrong in it, and nothing is asked of anybody else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::ToSpan;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use penstock::clock::Clock;
use penstock::crd::{CapacityBudget, CapacityPool, ScaledPipeline};
use serde_json::{Value, json};

use crate::rig::{Browser, Process, Program, fresh_folder, plain_client, until};

/// The demo, with a page.
struct Demo {
    page: String,
    kubeconfig: String,
    _process: Process,
}

impl Demo {
    async fn start() -> Result<Self> {
        let folder = fresh_folder("demo")?;
        let program = Program::new(env!("CARGO_BIN_EXE_penstock"));
        let program = program.args(["demo", "--plain", "--duration", "15m"]);
        let process = Process::start("demo", program, &folder)?;
        let mut told = None;
        process
            .ready(Duration::from_secs(90), async || {
                let log = process.log()?;
                let after = |mark: &str| {
                    let rest = log.split_once(mark)?.1;
                    Some(rest.split_whitespace().next()?.to_owned())
                };
                let page = after("Look: ").context("no address yet")?;
                told = Some((page, after("KUBECONFIG=").context("no kubeconfig yet")?));
                Ok(())
            })
            .await?;
        let (page, kubeconfig) = told.context("no address")?;
        Ok(Self { page, kubeconfig, _process: process })
    }

    /// What the daemon says at a path.
    async fn says(&self, path: &str) -> Result<Value> {
        let port = self.page.trim_end_matches('/').rsplit(':').next().context("a port")?.parse()?;
        let (code, body) = crate::rig::http_get(port, path).await?;
        ensure!(code == 200, "{path}: {code} {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// A pool of nodes, of which there is none yet, and a budget over all.
    async fn capacity(&self) -> Result<()> {
        let client = plain_client(self.kubeconfig.as_ref()).await?;
        let pool: CapacityPool = serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "spot"},
            "spec": {"class": "Spot", "nodeSelector": {"pool": "spot"}},
        }))?;
        Api::all(client.clone()).create(&PostParams::default(), &pool).await?;
        let budget: CapacityBudget = serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "CapacityBudget", "metadata": {"name": "everybody"},
            "spec": {"namespaceSelector": {}, "limits": {"cpu": "600"}},
        }))?;
        Api::all(client).create(&PostParams::default(), &budget).await?;
        Ok(())
    }

    /// The stage of the demo keeps room for replicas that it needs before long.
    async fn room(&self) -> Result<()> {
        let now = Clock::start().now();
        let cron = |at: jiff::Timestamp| at.strftime("%-M %-H * * *").to_string();
        let (start, end) = (now.checked_add(2.minutes())?, now.checked_add(3.hours())?);
        let schedule = json!({"name": "soon", "start": cron(start), "end": cron(end), "replicas": {"min": 20}});
        let steps = json!([
            {"op": "add", "path": "/spec/stages/0/capacity", "value": {"headroom": {"mode": "Auto"}}},
            {"op": "add", "path": "/spec/stages/0/schedules", "value": [schedule]},
        ]);
        let client = plain_client(self.kubeconfig.as_ref()).await?;
        let api: Api<ScaledPipeline> = Api::namespaced(client, "shop");
        let patch = Patch::<()>::Json(serde_json::from_value(steps)?);
        api.patch("orders", &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// A pipeline whose target is not there.
    async fn broken(&self) -> Result<()> {
        let object: ScaledPipeline = serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "ScaledPipeline",
            "metadata": {"name": "broken", "namespace": "shop"},
            "spec": {"stages": [{
                "name": "build", "target": {"kind": "Deployment", "name": "nowhere"}, "replicas": {"max": 4},
                "sources": [{"name": "queue", "kafka": {"bootstrapServers": "127.0.0.1:1", "topics": ["t"], "group": "g"}}],
            }]},
        }))?;
        let client = plain_client(self.kubeconfig.as_ref()).await?;
        let api: Api<ScaledPipeline> = Api::namespaced(client, "shop");
        api.create(&PostParams::default(), &object).await?;
        Ok(())
    }
}

const WAITING: &str =
    r#"document.querySelector('tr[data-id="shop/orders"] td:nth-child(4)')?.textContent"#;

#[tokio::test]
async fn the_page_shows_what_is_follows_it_takes_keys_and_asks_nobody_else() -> Result<()> {
    let demo = Demo::start().await?;
    let mut browser = Browser::start().await?;
    browser.look(1280, 900, false).await?;

    // All pipelines, and by itself what changes.
    browser.go(&demo.page).await?;
    browser.until(&format!("({WAITING} ?? '–') !== '–'")).await?;
    browser.until("document.querySelector('#live').dataset.state === 'live'").await?;
    let before = browser.value(WAITING).await?;
    browser.until(&format!("{WAITING} !== {before}")).await?;

    // What is broken shows up by itself, with what to do about it.
    demo.broken().await?;
    browser
        .until("document.querySelector('#concerns')?.innerText.includes('TargetUnusable')")
        .await?;
    let concern = browser.value("document.querySelector('#concerns li').innerText").await?;
    let concern = concern.as_str().context("a text")?;
    ensure!(concern.contains("there is no Deployment shop/nowhere"), "{concern}");
    ensure!(concern.contains("mend the target's name, kind or permissions"), "{concern}");

    // Keys: search, select, open a pipeline, open its stage, and back.
    browser.press("/").await?;
    browser.until("document.activeElement.id === 'search'").await?;
    for key in ["o", "r", "d"] {
        browser.press(key).await?;
    }
    browser.until("document.querySelectorAll('tr[data-id]').length === 1").await?;
    browser.press("Enter").await?;
    browser.until("document.activeElement.getAttribute('href') === '#/shop/orders'").await?;
    browser.press("Enter").await?;
    browser.until("location.hash === '#/shop/orders'").await?;
    browser.until("document.querySelectorAll('.graph a.node').length === 1").await?;
    // The picture and the table come by themselves, in either order.
    browser.until("document.querySelectorAll('#stages tbody tr').length === 1").await?;
    browser.press("j").await?;
    browser.press("Enter").await?;
    browser.until("location.hash === '#/shop/orders/enrich'").await?;
    browser.until("!document.querySelector('#drawer').hidden").await?;

    // The sentence is the daemon's own, at some moment both say the same.
    until("the page to say what the daemon says", Duration::from_secs(90), async || {
        let said = demo.says("/api/v1/pipelines/shop/orders").await?;
        let reasons = said["stages"][0]["reasons"].as_array().context("reasons")?;
        let sentence = reasons.last().context("a reason")?["sentence"].clone();
        let shown = browser.value("document.querySelector('.because')?.innerText").await?;
        ensure!(shown == sentence, "it shows {shown} and not {sentence}");
        Ok(Some(()))
    })
    .await?;
    browser.until("document.querySelector('.moments')?.innerText.includes('0 → 3')").await?;
    browser
        .until("document.querySelectorAll('.plot:not([hidden]) path.curve').length === 3")
        .await?;
    browser.until("document.querySelectorAll('.spread i').length === 24").await?;
    demo.room().await?;
    let kept = r"/Room kept on nodes.*may need 20 replicas within/.test(document.querySelector('#drawer').textContent)";
    browser.until(kept).await?;
    browser.press("Escape").await?;
    browser
        .until("location.hash === '#/shop/orders' && document.querySelector('#drawer').hidden")
        .await?;
    browser.press("Escape").await?;
    browser.until("location.hash === '#/' && !document.querySelector('#fleet').hidden").await?;
    browser.press("?").await?;
    browser.until("document.querySelector('#keys').open").await?;
    browser.press("Escape").await?;
    browser.until("!document.querySelector('#keys').open").await?;
    browser.press("t").await?;
    browser.until("getComputedStyle(document.body).backgroundColor === 'rgb(16, 19, 22)'").await?;

    // Nodes and budgets have a view of their own once there are some.
    demo.capacity().await?;
    until("the daemon to know both", Duration::from_secs(90), async || {
        let said = demo.says("/api/v1/capacity").await?;
        let count = |what: &str| said[what].as_array().map_or(0, Vec::len);
        ensure!(count("pools") == 1 && count("budgets") == 1, "{said}");
        Ok(Some(()))
    })
    .await?;
    browser.go("about:blank").await?;
    browser.go(&demo.page).await?;
    browser.until("!document.querySelector('#to-capacity').hidden").await?;
    browser.value("document.querySelector('#to-capacity').click()").await?;
    browser.until("location.hash === '#/capacity'").await?;
    browser.until("document.querySelector('#pools')?.innerText.includes('not seen yet')").await?;
    browser.until("/ of 600/.test(document.querySelector('#budgets')?.innerText)").await?;
    browser.press("Escape").await?;
    browser.until("location.hash === '#/' && document.querySelector('#capacity').hidden").await?;

    // An address that was shared, in a narrow and dark window.
    browser.look(360, 740, true).await?;
    browser.go("about:blank").await?;
    browser.go(&format!("{}#/shop/orders/enrich", demo.page)).await?;
    browser.until("document.querySelector('#drawer h2')?.innerText === 'enrich'").await?;
    browser.until("document.querySelectorAll('.graph a.node.chosen').length === 1").await?;
    for hash in ["#/shop/orders/enrich", "#/shop/orders", "#/capacity", "#/"] {
        browser.value(&format!("location.hash = '{hash}'")).await?;
        browser.until("document.querySelector('#live').dataset.state === 'live'").await?;
        let width = browser.value("document.documentElement.scrollWidth").await?;
        ensure!(width == 360, "at {hash} the page is {width} wide");
    }
    browser.value("location.hash = '#/shop/nope'").await?;
    browser
        .until(
            "document.querySelector('#one').innerText.includes('There is no pipeline shop/nope')",
        )
        .await?;

    let own = |url: &&String| url.starts_with(&demo.page) || *url == "about:blank";
    let strange: Vec<_> = browser.requests.iter().filter(|url| !own(url)).collect();
    ensure!(strange.is_empty(), "asked elsewhere: {strange:?}");
    ensure!(10 < browser.requests.len(), "only {:?}", browser.requests);
    // The browser tells each 404 as an error, also the one that was asked for.
    let is_real = |error: &&String| !error.contains("/api/v1/pipelines/shop/nope");
    let errors: Vec<_> = browser.errors.iter().filter(is_real).collect();
    ensure!(errors.is_empty(), "{errors:#?}");
    Ok(())
}
