//! The operators of the data world on a real API server, each case with a daemon of its own.

#[path = "../operators/mod.rs"]
pub(crate) mod operators;

use anyhow::Result;
use operators::yard::Yard;

use crate::scene::Scene;

/// The namespace of a scene, to play in.
pub(crate) async fn yard(scene: &Scene) -> Result<Yard> {
    Yard::open(scene.client.clone(), &scene.namespace, scene.daemon.page_address()).await
}

macro_rules! real {
    ($($room:ident: $($case:ident),+;)+) => {
        $(mod $room {
            $(#[tokio::test]
            async fn $case() -> anyhow::Result<()> {
                let scene = crate::scene::Scene::open(stringify!($room)).await?;
                super::operators::$room::$case(super::yard(&scene).await?).await
            })+
        })+
    };
}
operators::every_operator!(real);
