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
    ground_of(&Cluster::new(Options { controllers: false, ..Options::default() }))
}

fn ground_of(cluster: &Cluster) -> conformance::ground::Ground {
    conformance::ground::Ground {
        client: cluster.client(),
        namespace: "default".to_owned(),
        minor: 36,
    }
}

#[tokio::test]
async fn what_is_asked_of_a_forgotten_past_has_expired() {
    let cluster = Cluster::new(Options { controllers: false, ..Options::default() });
    let ground = ground_of(&cluster);
    let moment = conformance::old::remember(&ground).await;
    assert!(!conformance::old::is_forgotten(&ground, &moment).await);
    cluster.compact();
    assert!(conformance::old::is_forgotten(&ground, &moment).await);
    conformance::old::a_forgotten_past_has_expired(&ground, &moment).await;
}
