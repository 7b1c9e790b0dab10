//! Who sizes all the stages of a pipeline: Penstock does so as a whole, the others stage by stage. Asked by `world` at each look.

use super::policy::{Policy, View};
use crate::decide::PoolState;

/// Who sizes the stages of a pipeline.
pub trait Pilot: Send {
    /// What the table calls it.
    fn name(&self) -> String;

    /// Does it look at this second?
    fn is_due(&self, at: f64) -> bool;

    /// What it wants for each stage, in stage order; `wants` holds what each has.
    fn decide(&mut self, views: &[View<'_>], wants: &mut [u32]);

    /// Is it woken besides whenever pods or nodes of a stage with lanes do something?
    fn is_woken(&self) -> bool {
        false
    }

    /// How many replicas each lane of a stage shall have, where it has lanes; `None` by who knows of none: all that it wants are on demand then.
    fn split(&self, _stage: usize) -> Option<Vec<u32>> {
        None
    }

    /// For how many replicas it keeps room on the nodes of each lane of a stage; `None` by who keeps none.
    fn room(&self, _stage: usize) -> Option<Vec<u32>> {
        None
    }

    /// Replicas that it thinks a stage needs, where that is not what it asks for.
    fn need(&self, _stage: usize) -> Option<u32> {
        None
    }

    /// What it believes of a pool of nodes, if it says.
    fn believed_of(&self, _pool: &str) -> Option<PoolState> {
        None
    }

    /// What it believes one replica of a stage gets through, if it says.
    fn believed_rate(&self, _stage: usize) -> Option<f64> {
        None
    }

    /// Why a stage has what it was given last, if it says.
    fn why(&self, _stage: usize) -> Option<Why> {
        None
    }

    /// Decisions that broke a promise of its own; always 0 unless it has a bug.
    fn violations(&self) -> u32 {
        0
    }
}

/// A reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// A word.
    pub code: &'static str,
    /// A sentence.
    pub sentence: String,
}

/// One policy for each stage, none of which knows of the others.
pub struct Each {
    seats: Vec<Seat<Box<dyn Policy>>>,
}

impl std::fmt::Debug for Each {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Each").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Each {
    /// A policy for each stage, in stage order.
    pub fn new(policies: Vec<Box<dyn Policy>>) -> Self {
        Self { seats: policies.into_iter().map(Seat::new).collect() }
    }
}

impl Pilot for Each {
    fn name(&self) -> String {
        self.seats.first().map(|seat| seat.policy.name()).unwrap_or_default()
    }

    fn is_due(&self, at: f64) -> bool {
        self.seats.iter().any(|seat| seat.next <= at)
    }

    fn decide(&mut self, views: &[View<'_>], wants: &mut [u32]) {
        for ((seat, view), want) in self.seats.iter_mut().zip(views).zip(wants) {
            if seat.next <= view.at {
                seat.next = view.at + seat.policy.period();
                *want = seat.policy.decide(view);
            }
        }
    }
}

/// A single policy, borrowed: it sizes the first stage.
pub(super) struct Alone<'a> {
    seat: Seat<&'a mut dyn Policy>,
}

impl<'a> Alone<'a> {
    pub(super) fn new(policy: &'a mut dyn Policy) -> Self {
        Self { seat: Seat::new(policy) }
    }
}

impl Pilot for Alone<'_> {
    fn name(&self) -> String {
        self.seat.policy.name()
    }

    fn is_due(&self, at: f64) -> bool {
        self.seat.next <= at
    }

    fn decide(&mut self, views: &[View<'_>], wants: &mut [u32]) {
        if let (Some(view), Some(want)) = (views.first(), wants.first_mut()) {
            self.seat.next = view.at + self.seat.policy.period();
            *want = self.seat.policy.decide(view);
        }
    }
}

/// A policy and when it looks next.
struct Seat<P> {
    policy: P,
    next: f64,
}

impl<P> Seat<P> {
    fn new(policy: P) -> Self {
        Self { policy, next: 0.0 }
    }
}
