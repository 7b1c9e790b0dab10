//! The in-memory API: the conformance cases, and what only it has (controllers, faults, the log).

#[path = "../conformance/mod.rs"]
mod conformance;

use penstock::demo::cluster::{Cluster, Options};

macro_rules! in_memory {
    ($($room:ident: $($case:ident),+;)+) => {
        $(mod $room {
            $(#[tokio::test]
            async fn $case() {
                super::conformance::$room::$case(super::ground()).await;
            })+
        })+
    };
}
conformance::every_case!(in_memory);

fn ground() -> conformance::ground::Ground {
    let cluster = Cluster::new(Options { controllers: false, ..Options::default() });
    conformance::ground::Ground {
        client: cluster.client(),
        namespace: "default".to_owned(),
        minor: 36,
    }
}
