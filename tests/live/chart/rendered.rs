//! The chart as text: each values file renders what is kept in a snapshot, the suites beside the chart pass, and the rights by default are few.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{documents, file, helm, path, template, values_files};
use crate::rig::{Program, rights, tool};

#[tokio::test]
async fn the_suites_of_the_chart_pass_and_lint_finds_nothing() -> Result<()> {
    let suites = Program::new(tool("helm/helm-unittest")?).arg("charts/penstock");
    let told = suites.in_folder(path("")).run().await?;
    ensure!(told.contains("0 failed") || told.contains(" passed, "), "{told}");
    for (name, values) in values_files()? {
        let told = helm()?.args(["lint", "--strict", "charts/penstock", "-f", &values]).run().await;
        told.with_context(|| name)?;
    }
    Ok(())
}

#[tokio::test]
async fn each_values_file_renders_what_is_kept() -> Result<()> {
    for (name, values) in values_files()? {
        let text = template(&["-f", &values, "--set", "crds.install=false"]).await?;
        // The policy is long, and the same in most; boards and alerts are files of the chart, which `boards` holds to what is shipped.
        let is_kept = |part: &&str| {
            let is_of = |template: &str| part.contains(&format!("/templates/{template}.yaml\n"));
            let is_policy = part.contains("\nkind: ValidatingAdmissionPolicy\n");
            !is_of("dashboards")
                && !is_of("prometheusrule")
                && (!is_policy || ["default", "operators"].contains(&name.as_str()))
        };
        let parts: Vec<_> = text.split("---\n").filter(is_kept).collect();
        insta::assert_snapshot!(name.as_str(), parts.join("---\n"));
    }
    Ok(())
}

#[tokio::test]
async fn nothing_the_schema_does_not_know_is_taken() -> Result<()> {
    for (set, why) in [
        ("replicas=3", "additional properties 'replicas' not allowed"),
        ("image.tagg=1", "additional properties 'tagg' not allowed"),
        ("crds.install=perhaps", "got string, want boolean"),
        ("scaleTargets[0].apiGroup=apps,scaleTargets[0].resource=*", "does not match pattern"),
        (
            "scaleTargets[0].apiGroup=apps/v1,scaleTargets[0].resource=deployments",
            "does not match pattern",
        ),
        (
            "extraScaleTargets[0].apiGroup=*,extraScaleTargets[0].resource=rollouts",
            "does not match pattern",
        ),
        ("levers[0].apiGroup=*,levers[0].resource=configmaps", "does not match pattern"),
        ("secrets.shop={kafka-*}", "does not match pattern"),
        ("strimzi.shop={*}", "does not match pattern"),
        ("logging.format=xml", "value must be one of"),
        ("networkPolicy.egress.apiServerPorts[0]=0", "minimum: got 0"),
        ("networkPolicy.egress.dnsPorts[0]=65536", "maximum: got 65,536"),
    ] {
        let refused = template(&["--set", set]).await;
        let Err(error) = refused else { anyhow::bail!("--set {set} is taken") };
        ensure!(format!("{error:#}").contains(why), "--set {set}: {error:#}");
    }
    Ok(())
}

/// What rules allow: (group, resource, verb).
pub(super) fn triples(rules: &[Value]) -> Vec<(String, String, String)> {
    let all = rights(&json!({"rules": rules}));
    all.into_iter().map(|right| (right.group, right.resource, right.verb)).collect()
}

/// All rules of the daemon's roles in a rendering.
pub(super) fn rules(rendered: &[Value]) -> Vec<Value> {
    rules_of(rendered, false)
}

/// Those of the hook of `helm test`.
pub(super) fn hook_rules(rendered: &[Value]) -> Vec<Value> {
    rules_of(rendered, true)
}

fn rules_of(rendered: &[Value], of_hook: bool) -> Vec<Value> {
    let rules = |role: &Value| role["rules"].as_array().cloned().unwrap_or_default();
    roles(rendered, of_hook).flat_map(rules).collect()
}

/// The roles of the daemon in a rendering, or those of the hook.
pub(super) fn roles(rendered: &[Value], of_hook: bool) -> impl Iterator<Item = &Value> {
    rendered.iter().filter(move |object| {
        let is_hook = object["metadata"]["annotations"]["helm.sh/hook"] == "test";
        is_hook == of_hook && object["kind"].as_str().is_some_and(|kind| kind.ends_with("Role"))
    })
}

fn writes(triples: &[(String, String, String)]) -> usize {
    triples.iter().filter(|(_, _, verb)| !["get", "list", "watch"].contains(&verb.as_str())).count()
}

#[tokio::test]
async fn the_rights_by_default_are_few_and_the_readme_counts_them() -> Result<()> {
    let rendered = documents(&template(&[]).await?)?;
    let all = triples(&rules(&rendered));
    ensure!(all.len() <= 42, "{} rights: {all:?}", all.len());
    ensure!(writes(&all) <= 13, "{} writes: {all:?}", writes(&all));
    let told = format!(
        "{} rights (pairs of resource and verb, none of them a wildcard), {} of which write",
        all.len(),
        writes(&all)
    );
    ensure!(file("charts/penstock/README.md")?.contains(&told), "the README does not say: {told}");
    let is_read = |verb: &str| all.contains(&("apps".into(), "deployments".into(), verb.into()));
    if is_read("list") || is_read("get") {
        for page in ["charts/penstock/README.md", "docs/security.md"] {
            let text = file(page)?;
            ensure!(
                !text.contains("workload's spec") && text.contains("no right to metadata alone"),
                "{page} does not say what the rights to workloads are"
            );
        }
    }
    for secret in ["secrets", "configmaps"] {
        ensure!(
            all.iter().all(|(_, resource, _)| resource != secret),
            "it may do something to {secret}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn no_values_file_gives_a_wildcard() -> Result<()> {
    for (name, values) in values_files()? {
        let rendered = documents(&template(&["-f", &values]).await?)?;
        for (group, resource, verb) in triples(&[rules(&rendered), hook_rules(&rendered)].concat())
        {
            ensure!(
                ![&group, &resource, &verb].contains(&&"*".to_owned()),
                "{name}: {group} {resource} {verb}"
            );
            ensure!(resource != "secrets" || verb == "get", "{name}: {verb} on secrets");
        }
        let namespaced = rendered.iter().filter(|object| object["kind"] == "ClusterRole").count();
        ensure!(name != "namespaced" || namespaced == 0, "a ClusterRole in namespaced mode");
        // The page's own, and that of the hook which looks at it.
        ensure!(name != "opened" || namespaced == 2, "{namespaced} ClusterRoles for the page");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_feature_adds_to_the_rights_is_only_what_it_needs() -> Result<()> {
    let plain = triples(&rules(&documents(&template(&[]).await?)?));
    for (sets, added) in [
        (
            "jobs.enabled=true",
            vec![
                ("batch", "cronjobs", "get"),
                ("batch", "cronjobs", "list"),
                ("batch", "cronjobs", "watch"),
                ("batch", "jobs", "list"),
                ("batch", "jobs", "watch"),
                ("batch", "jobs", "create"),
                ("batch", "jobs", "delete"),
            ],
        ),
        ("packing.enabled=true", vec![("", "pods", "patch")]),
        (
            "quotas.enabled=true",
            vec![("", "resourcequotas", "list"), ("", "resourcequotas", "watch")],
        ),
        (
            "draining.enabled=true",
            vec![
                ("policy", "poddisruptionbudgets", "list"),
                ("policy", "poddisruptionbudgets", "watch"),
                ("policy", "poddisruptionbudgets", "create"),
                ("policy", "poddisruptionbudgets", "patch"),
                ("policy", "poddisruptionbudgets", "delete"),
                ("", "pods", "delete"),
            ],
        ),
        (
            "ui.open.enabled=true",
            vec![
                ("authentication.k8s.io", "tokenreviews", "create"),
                ("authorization.k8s.io", "subjectaccessreviews", "create"),
            ],
        ),
        ("secrets.shop={login}", vec![("", "secrets", "get")]),
        ("strimzi.shop={events}", vec![("kafka.strimzi.io", "kafkas", "get")]),
        (
            "extraScaleTargets[0].apiGroup=argoproj.io,extraScaleTargets[0].resource=rollouts",
            vec![
                ("argoproj.io", "rollouts", "list"),
                ("argoproj.io", "rollouts", "watch"),
                ("argoproj.io", "rollouts/scale", "get"),
                ("argoproj.io", "rollouts/scale", "patch"),
            ],
        ),
        (
            "levers[0].apiGroup=ray.io,levers[0].resource=rayclusters",
            vec![
                ("ray.io", "rayclusters", "get"),
                ("ray.io", "rayclusters", "list"),
                ("ray.io", "rayclusters", "watch"),
                ("ray.io", "rayclusters", "patch"),
            ],
        ),
        (
            "networkPolicy.enabled=true,lineage.enabled=true,lineage.secretName=t,grpc.tls.secretName=c",
            vec![],
        ),
    ] {
        let with = triples(&rules(&documents(&template(&["--set", sets]).await?)?));
        let new: Vec<_> = with
            .iter()
            .filter(|triple| !plain.contains(triple))
            .map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str()))
            .collect();
        ensure!(new == added, "--set {sets} adds {new:?}");
        ensure!(with.len() == plain.len() + added.len(), "--set {sets} takes something away");
    }
    Ok(())
}
