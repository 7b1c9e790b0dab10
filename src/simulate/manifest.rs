//! The pipeline of a scenario, as the daemon would understand it, and what `CapacityPool`s beside it say. Read for `scenario` from the manifests that
//! would be applied.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::scenario::{Error, open};
use crate::crd::manifest::{Checker, Neighbours};
use crate::crd::meaning;
use crate::crd::{CapacityPool, CapacityPoolSpec, ScaledPipeline};
use crate::decide::Pipeline;

/// What manifests say.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) pipeline: Pipeline,
    /// The pipeline's name.
    pub(super) name: String,
    /// `CapacityPool`s, by name.
    pub(super) pools: BTreeMap<String, CapacityPoolSpec>,
}

impl Found {
    /// Of a `ScaledPipeline` that is written in the scenario, or of the file in `folder` that holds one.
    pub(super) fn read(written: &Value, folder: &Path) -> Result<Self, Error> {
        let documents: Vec<Value> = match written {
            Value::String(file) => {
                let text = open(folder, file).map_err(fault)?;
                let read = serde_saphyr::from_multiple(&text);
                read.map_err(|error| fault(format!("{file} {}", Error::not_yaml(&error))))?
            }
            Value::Object(_) => vec![written.clone()],
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                return Err(fault(
                    "must be a ScaledPipeline, or the name of a file that holds one",
                ));
            }
        };
        let of = |kind: &'static str| {
            let is_one =
                move |document: &&Value| document.get("kind").and_then(Value::as_str) == Some(kind);
            documents.iter().filter(is_one)
        };
        let document = match (of("ScaledPipeline").next(), of("ScaledPipeline").count()) {
            (Some(document), 1) => document,
            (Some(_), count) => {
                return Err(fault(format!(
                    "the file holds {count} ScaledPipelines, and a scenario plays one; hint: leave the others out"
                )));
            }
            (None, _) => {
                return Err(fault(
                    "is no ScaledPipeline; hint: it begins with apiVersion and kind, as in deploy/examples/shortest.yaml",
                ));
            }
        };
        let all = Checker::new().map_err(fault)?;
        let neighbours = Neighbours::of(&documents);
        for document in of("ScaledPipeline").chain(of("CapacityPool")) {
            let checked = all.check(document, &neighbours);
            if let Some(first) = checked.faults.first() {
                let of_pool = checked.kind == "CapacityPool";
                let name = if of_pool {
                    format!("CapacityPool {}: ", checked.name)
                } else {
                    String::new()
                };
                return Err(fault(format!("{name}{first}")));
            }
        }
        let (pipeline, name) = pipeline(document, &neighbours)?;
        let pools = of("CapacityPool").map(|document| {
            let object: CapacityPool = serde_json::from_value(document.clone())
                .map_err(|error| fault(error.to_string()))?;
            Ok((object.metadata.name.unwrap_or_default(), object.spec))
        });
        Ok(Self { pipeline, name, pools: pools.collect::<Result<_, _>>()? })
    }
}

/// The pipeline, as the daemon would understand it, and its name.
fn pipeline(document: &Value, neighbours: &Neighbours) -> Result<(Pipeline, String), Error> {
    let mut object: ScaledPipeline =
        serde_json::from_value(document.clone()).map_err(|error| fault(error.to_string()))?;
    object.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    let name = object.metadata.name.clone().unwrap_or_default();
    match meaning::read(&object, neighbours) {
        Ok(meaning) => {
            let odd = meaning.pipeline.stages.iter().find(|stage| stage.target.is_jobs());
            match odd {
                Some(stage) => Err(fault(format!(
                    "stage {} has jobs, which are not played yet; hint: give it a target in place of jobs",
                    stage.name
                ))),
                None => Ok((meaning.pipeline, name)),
            }
        }
        Err(faults) => {
            let first = faults.first();
            let path = first.map_or_else(String::new, |fault| fault.path.clone());
            let hint = first.and_then(|fault| fault.hint.as_ref());
            let message = first.map_or_else(String::new, |fault| fault.message.clone());
            let message =
                hint.map_or_else(|| message.clone(), |hint| format!("{message}; hint: {hint}"));
            Err(Error::within("pipeline", &path, message))
        }
    }
}

fn fault(message: impl Into<String>) -> Error {
    Error::field("pipeline", message)
}
