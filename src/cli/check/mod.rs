//! `penstock check`: will it work here? Looks at the cluster, at what the daemon may do, and at every pipeline and source; says what is
//! wrong and how to mend it. Writes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail};
use kube::Client;
use serde::Serialize;
use serde_json::Value;

use super::cluster::Cluster;
use super::out::{Format, Output};
use super::progress::Progress;
use super::{Failure, figures, out, reach};
use crate::answer::view::{Pipeline, Pipelines};
use crate::clock::Clock;
use crate::daemon::{Clients, Rehearsal, rehearse};
use crate::decide::Stage;
use crate::watch;

mod finding;
mod cluster;
mod install;
mod written;
mod rights;
mod pipelines;
mod policy;

use finding::{Area, Finding, Grade};
use install::Account;
use written::Written;

/// The arguments of `penstock check`.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Look at the pipelines of this namespace only; may be repeated. Default: those that the daemon watches, else all
    #[arg(short, long = "namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// Look at the pipelines of all namespaces, also where the daemon watches some only
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Ask the sources from this machine, though a daemon runs that could tell
    #[arg(long)]
    here: bool,
    /// Namespace whose Secrets a ClusterConnection may name, when asked from here; may be repeated
    #[arg(long = "secret-namespace", value_name = "NAMESPACE")]
    secret_namespaces: Vec<String>,
    /// Seconds to wait for sources, when asked from here
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Print the network policy that lets the daemon out to DNS, the API server and the sources of all pipelines, and nothing else
    #[arg(long)]
    network_policy: bool,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    output: Output,
}

/// All that was found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Whose rights were looked at.
    account: String,
    /// Who told of pipelines and sources.
    told_by: String,
    findings: Vec<Finding>,
    /// What would grant the rights that are missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Value>,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        if self.network_policy {
            let policy = runtime.block_on(self.policy())?;
            match self.output.format {
                Format::Json => out::json(&policy)?,
                Format::Table | Format::Yaml => out::yaml(&policy)?,
            }
            return Ok(());
        }
        let report = runtime.block_on(self.look())?;
        match self.output.format {
            Format::Table => out::text(&text(&report)?)?,
            Format::Json => out::json(&report)?,
            Format::Yaml => out::yaml(&report)?,
        }
        let is_bad = report.findings.iter().any(|finding| finding.grade == Grade::Bad);
        if is_bad { Err(Failure::Told) } else { Ok(()) }
    }

    async fn policy(&self) -> anyhow::Result<Value> {
        let progress = Progress::waiting("asking the API server");
        let (clients, accounts) = self.reach().await?;
        let client = clients.reader.clone();
        progress.now(self.patience());
        let Rehearsal { pictures, unread } = self.rehearse(clients, &accounts).await;
        if !unread.is_empty() {
            bail!("{} could not be listed; hint: penstock check says why", unread.join(" and "));
        }
        let mut origins = BTreeSet::new();
        for picture in &pictures {
            let stages = picture.situation.iter().flat_map(|it| &it.pipeline.stages);
            let own: Vec<String> =
                stages.flat_map(Stage::heard).map(|source| source.origin.to_string()).collect();
            if picture.situation.is_none() || !own.iter().all(|origin| policy::is_told(origin)) {
                let id = &picture.glance.id;
                out::aside(&format!(
                    "servers of {id} are not in the policy, for it is not known where they are; hint: penstock check says why"
                ));
            }
            origins.extend(own);
        }
        policy::policies(&client, &accounts, &origins).await
    }

    /// The cluster, and which daemons are meant: one of each release, one at least.
    async fn reach(&self) -> anyhow::Result<(Clients, Vec<Account>)> {
        let config = self.cluster.config().await?;
        let namespace = config.default_namespace.clone();
        // A command asks once: where a server is busy, such as with definitions that are new to it, kube asks again for it.
        let reader = Client::try_from(config.clone());
        let clients = reader.and_then(|reader| Ok(Clients { reader, ..Clients::of(config)? }));
        let clients = clients.context("cannot set up the client of the API server")?;
        let mut accounts = Account::find(&clients.reader, &namespace).await?;
        if self.all_namespaces {
            for account in &mut accounts {
                account.watches.clear();
            }
        } else if !self.namespaces.is_empty() {
            let is_meant = |account: &Account| account.sees_any(&self.namespaces);
            if accounts.iter().any(is_meant) {
                accounts.retain(is_meant);
            }
            for account in &mut accounts {
                account.watches.clone_from(&self.namespaces);
            }
        }
        Ok((clients, accounts))
    }

    fn patience(&self) -> String {
        format!("asking the sources, for {} s at most", self.timeout)
    }

    async fn rehearse(&self, clients: Clients, accounts: &[Account]) -> Rehearsal {
        let watched = accounts.iter().flat_map(|account| account.watches.clone());
        let is_wide = accounts.iter().any(|account| account.watches.is_empty());
        let options = watch::Options {
            namespaces: if is_wide { Vec::new() } else { watched.collect() },
            selector: match accounts {
                [one] => one.selector.clone(),
                _ => None,
            },
            secret_namespaces: self.secret_namespaces.iter().cloned().collect(),
            ..watch::Options::default()
        };
        rehearse(clients, options, Duration::from_secs(self.timeout)).await
    }

    async fn look(&self) -> anyhow::Result<Report> {
        let progress = Progress::waiting("asking the API server");
        let (clients, accounts) = self.reach().await?;
        let client = clients.reader.clone();
        let mut report = Report::default();
        report.findings.push(cluster::version(&client).await?);
        let (definitions, are_enough) = cluster::definitions(&client).await?;
        report.findings.extend(definitions);
        let names: Vec<_> = accounts.iter().map(Account::text).collect();
        report.account = names.join(" and ");
        if !are_enough {
            report.told_by.push_str("nobody: without the definitions there are no pipelines");
            return Ok(report);
        }
        let mut all = Vec::with_capacity(accounts.len());
        for account in accounts {
            let written = Written::read(&client, &account).await?;
            all.push((account, written));
        }
        let is_metered = all.iter().any(|(_, written)| written.is_metered);
        report.findings.extend(cluster::metrics(&client, is_metered).await?);
        progress.now("asking for the daemon's rights");
        for (account, written) in &all {
            report.look_at_rights(&client, account, written).await?;
        }
        progress.now(self.patience());
        let is_empty = all.iter().all(|(_, written)| written.pipelines.is_empty());
        let (silent, open): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(account, _)| account.is_silent && !self.here);
        if !open.is_empty() {
            let open: Vec<_> = open.into_iter().map(|(account, _)| account).collect();
            let pipelines = self.pipelines(clients, &open, !silent.is_empty(), &mut report).await;
            report.findings.extend(pipelines::findings(&pipelines));
        }
        if !silent.is_empty() {
            let more = if report.told_by.is_empty() { "" } else { ", and by " };
            report.told_by.push_str(more);
            report.told_by.push_str("their conditions, for the daemon serves no page");
            let theirs = silent.iter().flat_map(|(_, written)| &written.pipelines);
            report.findings.extend(theirs.map(pipelines::by_condition));
        }
        if is_empty {
            let about = Finding::new(Area::Pipeline, "ScaledPipelines");
            let hint = "the README's first example is short";
            report.findings.push(about.note("there are none yet").hint(hint));
        }
        report.findings.sort_by_key(|finding| finding.area);
        Ok(report)
    }

    /// The pipelines as these daemons see them, or as they look from here. Where others serve no page, one that does not answer is no news.
    async fn pipelines(
        &self,
        clients: Clients,
        accounts: &[Account],
        has_silent: bool,
        report: &mut Report,
    ) -> Vec<Pipeline> {
        let is_meant = |pipeline: &Pipeline| {
            self.all_namespaces
                || self.namespaces.is_empty()
                || self.namespaces.contains(&pipeline.namespace)
        };
        let runs = accounts.iter().find(|account| account.service.is_some());
        if let (false, Some(account)) = (self.here, runs) {
            let leads = |all: &Pipelines| all.pipelines.iter().any(|pipeline| pipeline.leads);
            let answered =
                reach::ask_releases::<Pipelines>(&clients.reader, "/api/v1/pipelines", leads).await;
            let (told, silent) = answered.unwrap_or_else(|error| (Vec::new(), vec![error]));
            let mut whys: Vec<_> = silent.iter().map(|error| format!("{error:#}")).collect();
            let mut heard = Vec::new();
            for answered in told {
                match answered.found {
                    Some(all) => heard.push((answered.by, all.pipelines)),
                    None => whys.push(format!("{} is too old to tell", answered.by)),
                }
            }
            if heard.is_empty() || !has_silent {
                let about = Finding::new(Area::Cluster, account.pod.as_deref().unwrap_or("daemon"));
                let said = whys.iter().map(|why| format!("the daemon does not answer: {why}"));
                report.findings.extend(said.map(|said| about.clone().bad(said)));
            }
            if !heard.is_empty() {
                report.findings.extend(pipelines::shared(&heard));
                let by: Vec<_> = heard.iter().map(|(by, _)| &**by).collect();
                report.told_by = by.join(" and ");
                let all = heard.into_iter().flat_map(|(_, all)| all);
                return all.filter(is_meant).collect();
            }
        }
        let Rehearsal { pictures, unread } = self.rehearse(clients, accounts).await;
        let clock = Clock::start();
        let here = "this machine, with your rights: what only the cluster can reach fails here";
        report.told_by.push_str(here);
        for store in unread {
            let about = Finding::new(Area::Rights, &store);
            report
                .findings
                .push(about.bad(format!("it could not be listed within {} s", self.timeout)));
        }
        pictures.iter().map(|picture| Pipeline::of(picture, clock.now())).collect()
    }
}

impl Report {
    async fn look_at_rights(
        &mut self,
        client: &Client,
        account: &Account,
        written: &Written,
    ) -> anyhow::Result<()> {
        for ((version, kind), who) in &written.unknown {
            let about = Finding::new(Area::Pipeline, who);
            let said = format!("it scales {kind}, and the API server knows no {version} {kind}");
            self.findings.push(about.bad(said).hint("install what defines it, or mend target"));
        }
        let needed = rights::needed(written, account);
        let count = needed.len();
        let missing = rights::missing(client, account, needed).await?;
        let who = account.text();
        if missing.is_empty() {
            let about = Finding::new(Area::Rights, &who);
            self.findings.push(about.good(format!("may do all of the {count} things it must")));
        }
        for right in &missing {
            self.findings
                .push(Finding::new(Area::Rights, &who).bad(format!("may not {}", right.text())));
        }
        self.roles.extend(rights::roles(account, &missing));
        Ok(())
    }
}

/// To be read.
fn text(report: &Report) -> anyhow::Result<String> {
    let mut table = figures::table(["", "WHAT", "HOW IT STANDS"]);
    for finding in &report.findings {
        let grade = match finding.grade {
            Grade::Good => "ok",
            Grade::Note => "note",
            Grade::Bad => "FAIL",
        };
        let hint = finding.hint.as_ref().map(|hint| format!("\n  to mend it: {hint}"));
        table.add_row([
            grade,
            &finding.subject,
            &format!("{}{}", finding.said, hint.unwrap_or_default()),
        ]);
    }
    let failed = report.findings.iter().filter(|finding| finding.grade == Grade::Bad).count();
    let ending = match failed {
        0 => "all is well".to_owned(),
        n => format!("{n} of {} failed", report.findings.len()),
    };
    let mut text = format!(
        "Rights are those of {}. Pipelines and sources told by {}.\n\n{table}\n\n{ending}\n",
        report.account, report.told_by
    );
    if !report.roles.is_empty() {
        text.push_str("\nThese grant what is missing; with the chart, see its values extraScaleTargets, levers, jobs, secrets and strimzi:\n");
        for role in &report.roles {
            text.push_str("---\n");
            text.push_str(&serde_saphyr::to_string(role).context("cannot print YAML")?);
        }
    }
    Ok(text)
}
