//! The pause annotations. Level-triggered: what they say holds as long as they say it. One that cannot be read is a fault, and a
//! faulty pipeline is held: whoever meant to pause has paused.

use std::collections::BTreeMap;

use super::stage::MOST;
use super::{Code, Reader};
use crate::crd::pipeline::ScaledPipeline;
use crate::decide::Pause;

/// Write nothing.
const PAUSED: &str = "penstock.dev/paused";
/// Keep exactly so many.
const PAUSED_REPLICAS: &str = "penstock.dev/paused-replicas";
/// Never fewer.
const PAUSED_SCALE_IN: &str = "penstock.dev/paused-scale-in";
/// Never more.
const PAUSED_SCALE_OUT: &str = "penstock.dev/paused-scale-out";
/// Never zero.
const FORCE_ACTIVATION: &str = "penstock.dev/force-activation";

impl Reader<'_> {
    /// What the annotations ask for, and the counts they pin by stage name.
    pub(super) fn pause(&mut self, written: &ScaledPipeline) -> (Pause, BTreeMap<String, u32>) {
        let nothing = BTreeMap::new();
        let annotations = written.metadata.annotations.as_ref().unwrap_or(&nothing);
        let mut is_set = |key: &str| match annotations.get(key).map(String::as_str) {
            Some("true") => true,
            Some("false") | None => false,
            Some(_) => {
                self.fault(Code::InvalidAnnotation, path(key), "must be \"true\" or \"false\"");
                false
            }
        };
        let pause = Pause {
            all: is_set(PAUSED),
            scale_in: is_set(PAUSED_SCALE_IN),
            scale_out: is_set(PAUSED_SCALE_OUT),
            force_activation: is_set(FORCE_ACTIVATION),
        };
        let pinned = annotations.get(PAUSED_REPLICAS).map(|text| self.pinned(text, written));
        (pause, pinned.unwrap_or_default())
    }

    /// Reads `parse=3,enrich=0`, or one number for a pipeline of one stage.
    fn pinned(&mut self, text: &str, written: &ScaledPipeline) -> BTreeMap<String, u32> {
        let mut pinned = BTreeMap::new();
        let stages = &written.spec.stages;
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|count| *count <= MOST);
        if let ([only], Some(count)) = (stages.as_slice(), number(text)) {
            pinned.insert(only.name.clone(), count);
            return pinned;
        }
        for entry in text.split(',') {
            let read = entry.split_once('=').map(|(name, count)| (name.trim(), number(count)));
            match read {
                Some((name, Some(count))) if stages.iter().any(|stage| stage.name == name) => {
                    if pinned.insert(name.to_owned(), count).is_some() {
                        let message = format!("stage {name:?} is named twice");
                        self.fault(Code::InvalidAnnotation, path(PAUSED_REPLICAS), message);
                    }
                }
                Some((name, Some(_))) => {
                    let message = format!("there is no stage {name:?}");
                    self.fault(Code::InvalidAnnotation, path(PAUSED_REPLICAS), message);
                }
                Some((_, None)) | None => {
                    let message = format!(
                        "{:?} is no count: write \"stage=3,other=0\", or one number for a single stage; at most {MOST}",
                        entry.trim()
                    );
                    self.fault(Code::InvalidAnnotation, path(PAUSED_REPLICAS), message);
                }
            }
        }
        pinned
    }
}

/// Where an annotation stands.
fn path(key: &str) -> String {
    format!("metadata.annotations[{key}]")
}
