//! What each page says that its reader will see, command by command.

use anyhow::{Context, Result, ensure};

use super::{Line, Page, Reader};
use crate::boards::grafana::{Chosen, boards};
use crate::rig::{Prometheus, until};
use crate::scene::SOON;

const GETTING_STARTED: &[Line] = &[
    ("penstock --version", &["penstock 0."]),
    ("TAG=0.1.0-", &[]),
    ("helm install penstock", &["STATUS: deployed", "Is it up?"]),
    (
        "+ kubectl -n penstock get deployment penstock -o yaml",
        &["image: registry.example.com/penstock:0.1.0-"],
    ),
    ("kubectl -n penstock rollout status", &["successfully rolled out"]),
    ("penstock check", &["ok", "all is well"]),
    ("kubectl apply -f deploy/examples/first.yaml", &["scaledpipeline.penstock.dev/post created"]),
    ("kubectl -n mailroom wait --for=condition=Ready", &["condition met"]),
    ("kubectl -n mailroom get scaledpipelines", &["NAME", "post"]),
    ("penstock explain -n mailroom post", &["sort should have 1 replica", "To change this: "]),
    ("kubectl -n mailroom scale deployment/letters --replicas=12", &["scaled"]),
    ("kubectl -n mailroom wait", &["condition met"]),
    (
        "penstock explain -n mailroom post",
        &["sort should have 4 replicas", "letters stands at 12", "Told by pod penstock/penstock-"],
    ),
    ("kubectl -n mailroom get events", &["to 4 replicas: "]),
    ("kubectl -n mailroom scale deployment/letters --replicas=2", &["scaled"]),
    ("penstock explain -n mailroom post", &["sort"]),
    ("kubectl -n mailroom wait", &["condition met"]),
    ("penstock top", &["mailroom/post"]),
    ("kubectl -n penstock port-forward deploy/penstock 8082", &["Penstock"]),
    ("kubectl -n penstock port-forward deploy/penstock 8080", &["penstock_stage_replicas{"]),
    ("helm upgrade penstock", &["STATUS: deployed"]),
    (
        "+ kubectl -n penstock get servicemonitors,prometheusrules -o name",
        &["servicemonitor", "rule"],
    ),
    ("penstock validate orders.yaml", &["good"]),
    ("kubectl apply -f orders.yaml", &["created"]),
    ("penstock explain -n shop orders", &["enrich"]),
    ("penstock gitops -n shop orders", &["enrich"]),
    ("kubectl -n shop patch scaledpipeline orders", &["patched"]),
    ("kubectl -n shop annotate", &["annotated"]),
    ("+ kubectl -n shop wait --for=condition=Paused --timeout=60s spl/orders", &["condition met"]),
    ("kubectl -n shop annotate", &["annotated"]),
    (
        "+ kubectl -n shop wait --for=condition=Paused=False --timeout=60s spl/orders",
        &["condition met"],
    ),
    ("kubectl delete -f deploy/examples/first.yaml", &["\"mailroom\" deleted"]),
    ("helm uninstall penstock", &["uninstalled"]),
    ("kubectl delete crd", &["scaledpipelines.penstock.dev", "deleted"]),
];

#[tokio::test]
async fn getting_started_works_as_it_is_written() -> Result<()> {
    let mut reader = Reader::sit_down().await?;
    let mut page = Page::of("docs/getting-started.md")?;
    reader.follow(&mut page, GETTING_STARTED).await?;
    page.end()?;
    reader.nothing_left().await
}

/// From the first command to the page.
const INSTALL: &[Line] = &[
    ("TAG=0.1.0-", &[]),
    ("helm install penstock", &["STATUS: deployed"]),
    ("kubectl -n penstock rollout status", &["successfully rolled out"]),
    ("kubectl apply -f deploy/examples/first.yaml", &["scaledpipeline.penstock.dev/post created"]),
    ("kubectl -n mailroom wait --for=condition=Ready", &["condition met"]),
    ("penstock explain -n mailroom post", &["sort should have 1 replica", "To change this: "]),
    ("kubectl -n penstock port-forward deploy/penstock 8082", &["Penstock"]),
];

const OUTSIDE: &[Line] = &[
    ("+ kubectl delete -f deploy/examples/first.yaml", &["deleted"]),
    ("+ helm uninstall penstock -n penstock", &["uninstalled"]),
    ("+ kubectl delete crd -l app.kubernetes.io/name=penstock", &["deleted"]),
    ("penstock crds | kubectl apply --server-side", &["serverside-applied"]),
    ("penstock run --kubeconfig ~/.kube/config", &["deciding begins", "leading"]),
    ("kubectl apply -f deploy/examples/first.yaml", &["scaledpipeline.penstock.dev/post created"]),
    ("kubectl -n mailroom wait --for=condition=Ready", &["condition met"]),
    ("penstock explain -n mailroom post", &["sort should have 1 replica"]),
];

const OF_THE_CHART: &[Line] = &[
    ("helm install penstock", &["STATUS: deployed"]),
    ("kubectl -n penstock rollout status", &["successfully rolled out"]),
    ("helm upgrade --install penstock", &["STATUS: deployed"]),
    ("+ kubectl -n penstock get servicemonitors -o name", &["servicemonitor"]),
];

#[tokio::test]
async fn who_reads_the_readme_has_it_installed_at_work_on_the_page_and_on_a_board() -> Result<()> {
    let mut reader = Reader::sit_down().await?;
    let mut page = Page::of("README.md")?;
    reader.follow(&mut page, INSTALL).await?;
    on_a_board(reader.probes).await?;
    reader.follow(&mut page, OUTSIDE).await?;
    page.end()
}

/// What the fleet board shows of a daemon, asked as Grafana asks.
async fn on_a_board(port: u16) -> Result<()> {
    let server = Prometheus::start(port).await?;
    server.scraped("penstock_stage_replicas").await?;
    let board = boards()?.into_iter().find(|board| board.name == "fleet").context("no fleet")?;
    let anything = ["cluster", "namespace", "pipeline", "stage"].map(|name| (name, ".*"));
    let mut chosen: Chosen<'_> = anything.into_iter().collect();
    chosen.extend([("job", ".+"), ("instance", ".+")]);
    until("the board to show the pipeline", SOON, async || {
        let shown = board.show(&server, &chosen).await?;
        let of = |title: &str| shown.iter().find(|panel| panel.panel == title);
        let count = of("Pipelines").context("no such panel")?.only(0);
        ensure!(count.is_some_and(|count| (count - 1.0).abs() < 0.1), "{count:?} pipelines");
        // Its clerk; whoever counts more has seen another daemon.
        let replicas = of("Replicas").context("no such panel")?.with(&[("state", "desired")]);
        ensure!(replicas.len() == 1 && (replicas[0] - 1.0).abs() < 0.1, "{replicas:?} replicas");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn the_readme_of_the_chart_works_as_it_is_written() -> Result<()> {
    let mut reader = Reader::sit_down().await?;
    let mut page = Page::of("charts/penstock/README.md")?;
    reader.follow(&mut page, OF_THE_CHART).await?;
    page.end()
}

const OPERATIONS: &[Line] = &[
    ("TAG=0.1.0-", &[]),
    ("helm upgrade --install penstock charts/penstock", &["STATUS: deployed"]),
    ("+ kubectl -n shop get role penstock-penstock-secrets -o yaml", &["penstock-kafka"]),
    ("+ kubectl apply -f deploy/examples/shortest.yaml", &["created"]),
    ("+ kubectl -n shop wait --for=condition=Ready --timeout=60s spl/orders", &["condition met"]),
    ("ln -s", &[]),
    ("kubectl penstock top", &["shop/orders"]),
    ("kubectl penstock explain -n shop orders", &["enrich"]),
    ("kubectl penstock top -A", &["shop/orders"]),
    ("penstock completions bash > penstock.bash", &[]),
    ("+ bash -c 'source penstock.bash; complete -p penstock'", &["penstock"]),
    ("penstock completions kubectl >", &[]),
    ("chmod +x", &[]),
    // What a shell asks kubectl when Tab is pressed.
    ("+ kubectl __complete penstock exp", &["explain\tSay why", ":4"]),
    ("+ kubectl __complete penstock top --n", &["--namespace"]),
    ("penstock man --dir .", &[]),
    ("+ head -5 penstock.1 penstock-top.1", &[".TH penstock 1", ".TH penstock-top 1"]),
    ("TAG=0.1.0-", &[]),
    ("helm upgrade penstock", &["STATUS: deployed"]),
    ("+ kubectl -n penstock get deployment penstock -o yaml", &["--selector=team!=data"]),
    ("helm upgrade --install penstock-data", &["STATUS: deployed"]),
    ("+ kubectl -n penstock-data get deployment penstock-data -o yaml", &["--selector=team=data"]),
    ("TAG=0.1.0-", &[]),
    ("helm upgrade penstock", &["STATUS: deployed"]),
    ("kubectl -n penstock rollout status", &["successfully rolled out"]),
    ("helm rollback penstock", &["Rollback was a success"]),
    ("kubectl -n shop annotate", &["annotated"]),
    ("kubectl -n shop annotate", &["annotated"]),
    ("+ kubectl -n shop wait --for=condition=Paused --timeout=60s spl/orders", &["condition met"]),
    ("kubectl -n shop annotate", &["annotated"]),
    (
        "+ kubectl -n shop wait --for=jsonpath='{.spec.replicas}'=6 --timeout=60s deployment/enrich",
        &["condition met"],
    ),
    ("kubectl -n penstock scale deployment/penstock --replicas=0", &["scaled"]),
    ("helm upgrade penstock", &["STATUS: deployed"]),
    ("+ kubectl -n penstock get deployment penstock -o yaml", &["--observe"]),
    ("penstock --version", &["penstock 0."]),
    ("kubectl -n penstock logs deployment/penstock", &["deciding begins"]),
    ("penstock explain -n shop orders -o yaml", &["namespace: shop", "name: enrich"]),
    ("kubectl -n shop get scaledpipeline orders -o yaml", &["status:", "name: enrich"]),
    ("+ helm uninstall penstock-data -n penstock-data", &["uninstalled"]),
    ("helm uninstall penstock -n penstock", &["uninstalled"]),
    // `notes.rs` has something left to delete.
    ("kubectl delete deployments -A -l penstock.dev/headroom", &["No resources found"]),
    ("kubectl delete poddisruptionbudgets -A -l penstock.dev/drain", &["No resources found"]),
    ("+ kubectl -n shop get deployment enrich -o jsonpath={.spec.replicas}", &["6"]),
    ("+ kubectl -n shop get spl orders -o name", &["orders"]),
    ("kubectl delete crd", &["scaledpipelines.penstock.dev", "deleted"]),
];

#[tokio::test]
async fn operations_work_as_they_are_written() -> Result<()> {
    let mut reader = Reader::sit_down().await?;
    let mut page = Page::of("docs/operations.md")?;
    reader.follow(&mut page, OPERATIONS).await?;
    page.end()?;
    reader.nothing_left().await
}

const SECURITY: &[Line] = &[
    ("helm upgrade --install penstock", &["STATUS: deployed"]),
    ("+ kubectl -n shop get role -o name", &["penstock"]),
    ("+ kubectl apply -f deploy/examples/shortest.yaml", &["created"]),
    ("+ kubectl -n shop wait --for=condition=Ready --timeout=60s spl/orders", &["condition met"]),
    ("penstock check --network-policy", &["kind: NetworkPolicy", "Egress", "127.0.0.1/32"]),
];

#[tokio::test]
async fn what_security_says_works_as_it_is_written() -> Result<()> {
    let mut reader = Reader::sit_down().await?;
    let mut page = Page::of("docs/security.md")?;
    reader.follow(&mut page, SECURITY).await?;
    page.end()?;
    let roles = reader.cluster.kubectl(&["get", "clusterroles", "-o", "name"]).await?;
    ensure!(!roles.contains("penstock"), "no ClusterRole at all, it says: {roles}");
    Ok(())
}

const DEPLOY: &[Line] = &[
    (
        "kubectl apply --server-side -k deploy/crds",
        &["scaledpipelines.penstock.dev serverside-applied"],
    ),
    (
        "kubectl apply --server-side -f deploy/base/penstock.yaml",
        &["deployment.apps/penstock serverside-applied"],
    ),
    ("kubectl -n penstock set image", &["image updated"]),
    ("+ kubectl -n penstock rollout status deployment/penstock", &["successfully rolled out"]),
    ("+ kubectl apply -f deploy/examples/first.yaml", &["created"]),
    ("+ kubectl -n mailroom wait --for=condition=Ready --timeout=60s spl/post", &["condition met"]),
    (
        "kubectl apply --server-side -k deploy/overlays/registry",
        &["deployment.apps/penstock serverside-applied"],
    ),
    ("kubectl -n argocd patch configmap argocd-cm", &["patched"]),
    (
        "+ kubectl -n argocd get configmap argocd-cm -o yaml",
        &["resource.customizations.health.penstock.dev_ScaledPipeline"],
    ),
];

#[tokio::test]
async fn deploy_works_as_it_is_written() -> Result<()> {
    let mut reader = Reader::sit_down().await?;
    let mut page = Page::of("deploy/README.md")?;
    reader.follow(&mut page, DEPLOY).await?;
    page.end()
}

/// What the pages that only look take to be there.
const BEFORE_LOOKING: &[Line] = &[
    ("+ helm install penstock charts/penstock -n penstock --create-namespace", &["deployed"]),
    (
        "+ kubectl apply -f deploy/examples/first.yaml -f deploy/examples/shortest.yaml",
        &["created"],
    ),
    ("+ kubectl -n mailroom wait --for=condition=Ready --timeout=60s spl/post", &["condition met"]),
    ("+ kubectl -n shop wait --for=condition=Ready --timeout=60s spl/orders", &["condition met"]),
    ("+ kubectl label node node-0 eks.amazonaws.com/capacityType=SPOT", &["labeled"]),
    ("+ kubectl label node node-1 eks.amazonaws.com/capacityType=ON_DEMAND", &["labeled"]),
];

const CHECK: &[Line] = &[
    ("penstock check ", &["mailroom/post", "shop/orders", "ok"]),
    ("penstock check -n shop", &["shop/orders"]),
    ("penstock check -o json", &["\"findings\"", "\"toldBy\""]),
    ("penstock check --network-policy", &["kind: NetworkPolicy"]),
];

const PAGE: &[Line] = &[
    ("kubectl -n penstock port-forward deploy/penstock 8082", &["Penstock"]),
    ("kubectl -n shop create serviceaccount viewer", &["created"]),
    ("kubectl -n shop create role viewer", &["created"]),
    ("kubectl -n shop create rolebinding viewer", &["created"]),
    ("kubectl -n shop create token viewer", &["ey"]),
    (
        "+ kubectl -n shop auth can-i list scaledpipelines --as=system:serviceaccount:shop:viewer",
        &["yes"],
    ),
];

const CAPACITY: &[Line] = &[
    ("penstock pools ", &["SPOT"]),
    ("penstock pools --propose ", &["kind: CapacityPool", "class: Spot", "class: OnDemand"]),
    ("penstock pools --propose | kubectl apply -f -", &["capacitypool.penstock.dev", "created"]),
    ("penstock pools -o json", &["Spot", "OnDemand"]),
];

#[tokio::test]
async fn what_only_looks_works_as_it_is_written() -> Result<()> {
    let mut reader = Reader::sit_down().await?;
    let mut check = Page::of("docs/check.md")?;
    reader.follow(&mut check, BEFORE_LOOKING).await?;
    reader.follow(&mut check, CHECK).await?;
    check.end()?;
    for (path, lines) in [("docs/page.md", PAGE), ("docs/capacity.md", CAPACITY)] {
        let mut page = Page::of(path)?;
        reader.follow(&mut page, lines).await?;
        page.end()?;
    }
    Ok(())
}
