//! The gates of a stage: what each reads, and when its value holds the stage.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Reader;
use super::source::{INSIDE, written_kinds};
use crate::crd::pipeline::Stage as WrittenStage;
use crate::crd::rules;
use crate::crd::source::Kinds;
use crate::decide::{Gate, Gives, TargetId};
use crate::observe::{Ask, Unit, prometheus};

impl Reader<'_> {
    /// Reads all gates of a stage.
    pub(super) fn gates(
        &mut self,
        at: &str,
        stage: &WrittenStage,
        target: &TargetId,
        poll: Option<Duration>,
    ) -> Vec<Gate> {
        if stage.gates.len() > 8 {
            self.refuse(format!("{at}.gates"), "must have at most 8 items");
        }
        let mut names = BTreeSet::new();
        let mut gates = Vec::new();
        for (index, written) in stage.gates.iter().enumerate().take(8) {
            let at = format!("{at}.gates[{index}]");
            self.text(format!("{at}.name"), &written.name, 63);
            if written.name.chars().any(|c| c.is_control() || c == '/') {
                self.refuse(format!("{at}.name"), "must not have a slash in it");
            }
            if !names.insert(&written.name) {
                self.refuse(format!("{at}.name"), "another gate has this name");
            }
            let formula = self.formula(
                &format!("{at}.holdWhen"),
                &written.hold_when,
                &["value"],
                Gives::Truth,
            );
            if formula.as_ref().is_some_and(|formula| formula.names().next().is_none()) {
                self.refuse(format!("{at}.holdWhen"), "does not look at value");
            }
            let at = format!("{at}.source");
            let kinds = written_kinds(&written.source);
            if kinds.len() != 1 {
                self.refuse(&at, rules::ONE_SOURCE);
            }
            let name = format!("gate/{}", written.name);
            let source = if kinds.iter().any(|kind| INSIDE.contains(kind)) {
                self.inside_gate(&at, (&stage.name, target), &name, &written.source, poll)
            } else {
                let draft = self.kind(&at, &stage.name, &kinds, &written.source);
                draft.map(|mut draft| {
                    if let Some(kind) = kinds.first().filter(|_| has_threshold(&written.source)) {
                        self.refuse(format!("{at}.{kind}.perReplica"), rules::GATE_SIZES);
                    }
                    draft.ask = as_number(draft.ask);
                    self.put(&stage.name, &name, draft, poll)
                })
            };
            gates.extend(source.zip(formula).map(|(source, hold_when)| Gate {
                name: written.name.as_str().into(),
                source,
                hold_when,
            }));
        }
        gates
    }
}

/// Does the source state a threshold? Every kind calls it by one name.
fn has_threshold(kind: &Kinds) -> bool {
    let written = serde_json::to_value(kind).unwrap_or_default();
    let kinds = written.as_object().into_iter().flat_map(|kinds| kinds.values());
    kinds.into_iter().any(|kind| kind.get("perReplica").is_some())
}

/// What would count as items is asked for as the number it is.
fn as_number(mut ask: Ask) -> Ask {
    match &mut ask {
        Ask::Prometheus(ask) => ask.gives = prometheus::Gives::One(Unit::Gauge),
        Ask::Http(ask) => ask.unit = Unit::Gauge,
        Ask::Sql(ask) => ask.unit = Unit::Gauge,
        Ask::External(ask) => ask.in_targets = false,
        Ask::Kafka(_)
        | Ask::Redis(_)
        | Ask::RabbitMq(_)
        | Ask::Nats(_)
        | Ask::Sqs(_)
        | Ask::Lineage(_) => {}
    }
    ask
}
