//! What somebody may see: all of it at the door on loopback, and what `gate` found out at the one that is open. Every answer of the page is cut to it.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::time::Instant;

/// What somebody may see. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    pub(super) pipelines: Pipelines,
    /// May he list all pools of nodes?
    pub(super) pools: bool,
    /// May he list all budgets?
    pub(super) budgets: bool,
    /// Until when that is so; for ever if `None`.
    pub(super) until: Option<Instant>,
}

/// Of which namespaces somebody may list the pipelines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pipelines {
    Everywhere,
    In(Arc<BTreeSet<Arc<str>>>),
}

impl Sight {
    /// Of who comes by loopback: his right is that to the port-forward.
    pub(super) fn whole() -> Self {
        Self { pipelines: Pipelines::Everywhere, pools: true, budgets: true, until: None }
    }

    /// May he see the pipelines of this namespace?
    pub(super) fn sees(&self, namespace: &str) -> bool {
        match &self.pipelines {
            Pipelines::Everywhere => true,
            Pipelines::In(namespaces) => namespaces.contains(namespace),
        }
    }

    /// The same number for the same namespaces: who sees others by now has not seen what he was told before.
    pub(super) fn mark(&self) -> u32 {
        let Pipelines::In(namespaces) = &self.pipelines else { return 0 };
        let mut hasher = DefaultHasher::new();
        namespaces.hash(&mut hasher);
        let [_, _, _, _, a, b, c, d] = hasher.finish().to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}
