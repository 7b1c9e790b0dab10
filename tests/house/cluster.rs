//! The in-memory API: the conformance cases, and what only it has (controllers, faults, the log).

#[path = "../conformance/mod.rs"]
mod conformance;

use conformance::apply;
use penstock::demo::cluster::{Cluster, Options};

macro_rules! cases {
    ($($room:ident::$case:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $case() {
            let quiet = Options { controllers: false, ..Options::default() };
            $room::$case(Cluster::new(quiet).client()).await;
        })*
    };
}

cases! {
    apply::a_conflict_names_the_other_manager,
    apply::an_apply_to_scale_owns_replicas,
    apply::a_dropped_field_goes_unless_another_holds_it,
}
