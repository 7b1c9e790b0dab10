//! The room that Penstock keeps for a stage with lanes: what it asks for, and what a watch would show of that, so that decide sees of it what the
//! daemon's does. Held by `penstock`; the world makes the placeholders.

use std::sync::Arc;

use super::nodes::{Seen, Stand};
use crate::decide::{
    Method, NodeStanding, Pipeline, PodStanding, Reserve, ReserveSeen, Stage, Standing, TargetId,
    reserve_of,
};

/// The room of one stage, lane by lane; of none where it keeps none.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    posts: Vec<Post>,
}

/// The room of one lane.
#[derive(Debug)]
struct Post {
    /// Of the object that stands for it.
    name: Arc<str>,
    pool: Arc<str>,
    of: TargetId,
    /// Replicas it was last asked to be for.
    asked: u32,
    /// The same as the world shows it, and who stands where.
    seen: u32,
    stands: Vec<Stand>,
}

/// The pipeline as far as it is played: nobody writes on pods here, and a stage without lanes has no nodes to keep room on.
pub(super) fn played(pipeline: &Pipeline) -> Pipeline {
    let of = |stage: &Stage| Stage {
        packs: false,
        headroom: stage.headroom.filter(|_| !stage.lanes.is_empty()),
        ..stage.clone()
    };
    Pipeline { stages: pipeline.stages.iter().map(of).collect(), ..pipeline.clone() }
}

impl Keeper {
    pub(super) fn new(pipeline: &Pipeline, stage: &Stage) -> Self {
        let posts = stage.reserves(&pipeline.id).filter_map(|keeps| {
            let (pool, of) = (Arc::clone(keeps.pool?), keeps.of.clone());
            Some(Post { name: keeps.name, pool, of, asked: 0, seen: 0, stands: Vec::new() })
        });
        Self { posts: posts.collect() }
    }

    /// Replicas that room is to be kept for, lane by lane; `None` where none is kept.
    pub(super) fn asked(&self) -> Option<Vec<u32>> {
        (!self.posts.is_empty()).then(|| self.posts.iter().map(|post| post.asked).collect())
    }

    /// Looks at the nodes.
    pub(super) fn look(&mut self, seen: &Seen) {
        for ((post, room), stands) in self.posts.iter_mut().zip(&seen.rooms).zip(&seen.footing) {
            post.seen = *room;
            post.stands.clone_from(stands);
        }
    }

    /// Carries a write out, which the API server of this world takes at once.
    pub(super) fn keep(&mut self, reserve: &Reserve) {
        let name = &reserve.scale.target.name;
        if let Some(post) = self.posts.iter_mut().find(|post| post.name == *name) {
            post.asked = reserve.scale.to;
        }
    }

    /// The Deployments of placeholders that are there.
    pub(super) fn reserves(&self) -> impl Iterator<Item = ReserveSeen> {
        self.posts.iter().filter(|post| 0 < post.seen).map(Post::reserve)
    }

    /// Where the pods of each lane stand.
    pub(super) fn standing(&self) -> impl Iterator<Item = (TargetId, Standing)> {
        self.posts.iter().map(|post| (post.of.clone(), post.standing()))
    }
}

impl Post {
    fn node(&self, stand: &Stand) -> Arc<str> {
        format!("{}-{}", self.pool, stand.node).into()
    }

    fn reserve(&self) -> ReserveSeen {
        // Places on a node that is about to go are none.
        let kept = self.stands.iter().filter(|stand| 0 < stand.room && !stand.is_going);
        let nodes: Vec<_> = kept.map(|stand| (self.node(stand), stand.room)).collect();
        ReserveSeen {
            name: Arc::clone(&self.name),
            method: Method::Placeholders,
            uid: Arc::clone(&self.name),
            replicas: self.seen,
            placed: Some(nodes.iter().map(|(_, places)| *places).sum()),
            nodes,
            of: Some(reserve_of(&self.of).into()),
            is_other: false,
            revision: None,
            is_tended: true,
            trouble: None,
        }
    }

    fn standing(&self) -> Standing {
        let with_pods = self.stands.iter().filter(|stand| 0 < stand.pods);
        let pod = |number: u32| PodStanding {
            name: number.to_string().into(),
            version: 1,
            is_ready: true,
            is_kept: false,
            cost: None,
        };
        let of = |stand: &Stand| NodeStanding {
            pods: (0..stand.pods).map(pod).collect(),
            others: 0,
            is_going: stand.is_going,
        };
        let nodes = with_pods.map(|stand| (self.node(stand), of(stand))).collect();
        Standing { nodes, is_rolling: false, revision: None }
    }
}
