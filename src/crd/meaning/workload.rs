//! What a stage scales: one workload, several lanes of it, or Jobs from a template.

use std::sync::Arc;

use super::stage::MOST;
use super::{Code, Fault, Reader};
use crate::crd::pipeline::Stage as Written;
use crate::crd::rules;
use crate::crd::source::Kinds;
use crate::crd::workload::{Jobs, Lane as WrittenLane, Target, TemplateKind, TemplateRef};
use crate::decide::{Lane, TargetId};

impl Reader<'_> {
    /// The workload of a stage, and its lanes, if it has any: then the workload is that of the first.
    pub(super) fn scaled(&mut self, at: &str, written: &Written) -> (TargetId, Vec<Lane>) {
        let ways = [written.target.is_some(), !written.lanes.is_empty(), written.jobs.is_some()];
        if ways.iter().filter(|way| **way).count() != 1 {
            self.refuse(at, rules::ONE_WORKLOAD);
        }
        if let Some(jobs) = &written.jobs {
            return (self.jobs(at, jobs), Vec::new());
        }
        let target =
            written.target.as_ref().map(|target| self.target(&format!("{at}.target"), target));
        if !written.lanes.is_empty() {
            self.refuse_own_pods(at, written);
        }
        let lanes = self.lanes(at, &written.lanes);
        let first = lanes.first().map(|lane| lane.target.clone()).or(target);
        (first.unwrap_or_else(|| TargetId::object(&self.id.namespace, "", "", "")), lanes)
    }

    /// A workload by its name.
    fn target(&mut self, at: &str, written: &Target) -> TargetId {
        let (api_version, kind) = (written.api_version(), written.kind());
        self.text(format!("{at}.apiVersion"), api_version, 317);
        self.text(format!("{at}.kind"), kind, 63);
        self.text(format!("{at}.name"), &written.name, 253);
        if let Some(part) = &written.part {
            self.text(format!("{at}.part"), part, 253);
        }
        if rules::has_parts(api_version, kind) != written.part.is_some() {
            self.refuse(at, rules::PART);
        }
        let part = written.part.as_deref().map(Into::into);
        let whole = TargetId::object(&self.id.namespace, api_version, kind, &written.name);
        let target = TargetId { part, ..whole };
        if target.is_jobs() {
            self.faults.push(Fault {
                path: format!("{at}.kind"),
                code: Code::InvalidSpec,
                message: "a CronJob has no /scale".to_owned(),
                hint: Some(format!(
                    "for a count of running Jobs write jobs: {{templateRef: {{name: {}}}}} instead of target",
                    written.name
                )),
            });
        }
        target
    }

    /// The CronJob from whose template Jobs are made.
    fn jobs(&mut self, at: &str, written: &Jobs) -> TargetId {
        let TemplateRef { kind, name } = &written.template_ref;
        self.text(format!("{at}.jobs.templateRef.name"), name, 253);
        match kind {
            Some(TemplateKind::CronJob) | None => TargetId::cron_job(&self.id.namespace, name),
        }
    }

    fn lanes(&mut self, at: &str, written: &[WrittenLane]) -> Vec<Lane> {
        let at = format!("{at}.lanes");
        if 8 < written.len() {
            self.refuse(&at, "must have at most 8 items");
        }
        let shares = written.iter().filter_map(|lane| lane.share);
        if 100 < shares.fold(0, u32::saturating_add) {
            self.refuse(&at, rules::SHARES);
        }
        let pools: Vec<_> = written.iter().map(|lane| lane.pool.as_str()).collect();
        let each = written.iter().take(8).enumerate();
        each.map(|(index, lane)| self.lane(&format!("{at}[{index}]"), &pools, index, lane))
            .collect()
    }

    fn lane(&mut self, at: &str, pools: &[&str], index: usize, written: &WrittenLane) -> Lane {
        self.name(format!("{at}.pool"), &written.pool);
        if pools.iter().take(index).any(|pool| *pool == written.pool) {
            self.refuse(format!("{at}.pool"), "another lane runs on this pool");
        }
        let heir = written.fallback_to.as_deref();
        let fallback_to = heir.and_then(|heir| pools.iter().position(|pool| *pool == heir));
        if heir.is_some() && fallback_to.is_none_or(|heir| heir == index) {
            self.refuse(format!("{at}.fallbackTo"), rules::FALLBACK_TO);
        }
        Lane {
            pool: Arc::from(&*written.pool),
            base: self.count(format!("{at}.base"), written.base.unwrap_or(0), 0, MOST),
            share: written.share.map(|share| self.count(format!("{at}.share"), share, 0, 100)),
            fallback_to: fallback_to.filter(|heir| *heir != index),
            target: self.target(&format!("{at}.target"), &written.target),
        }
    }

    /// What the pods of a stage use is asked of one workload, and lanes are several.
    fn refuse_own_pods(&mut self, at: &str, written: &Written) {
        for (index, source) in written.sources.iter().enumerate() {
            let Kinds { cpu, memory, .. } = &source.kind;
            let at = format!("{at}.sources[{index}]");
            self.refuse_unless_absent(format!("{at}.cpu"), cpu.as_ref());
            self.refuse_unless_absent(format!("{at}.memory"), memory.as_ref());
        }
    }
}
