//! What people write in CEL: the expression of `combine`. A wrong one is a fault with its place and a hint.

use super::{Code, Fault, Reader};
use crate::crd::pipeline::Stage as WrittenStage;
use crate::decide::{Formula, Gives};

impl Reader<'_> {
    /// Reads what makes one number of what the sources want.
    pub(super) fn combine(&mut self, at: &str, stage: &WrittenStage) -> Option<Formula> {
        let written = stage.combine.as_ref()?;
        let at = format!("{at}.combine.expression");
        let names: Vec<&str> = stage.sources.iter().map(|source| source.name.as_str()).collect();
        let formula = self.formula(&at, &written.expression, &names, Gives::Number)?;
        if formula.names().next().is_none() {
            self.faults.push(Fault {
                path: at,
                code: Code::InvalidSpec,
                message: "names no source of the stage".to_owned(),
                hint: Some("a fixed count is replicas.min".to_owned()),
            });
            return None;
        }
        Some(formula)
    }

    /// Compiles a formula over numbers of these names.
    pub(super) fn formula(
        &mut self,
        at: &str,
        text: &str,
        names: &[&str],
        gives: Gives,
    ) -> Option<Formula> {
        self.text(at, text, 1024);
        match Formula::new(text, names, gives) {
            Ok(formula) => Some(formula),
            Err(wrong) => {
                self.faults.push(Fault {
                    path: at.to_owned(),
                    code: Code::InvalidSpec,
                    message: wrong.to_string(),
                    hint: Some(wrong.hint),
                });
                None
            }
        }
    }
}
