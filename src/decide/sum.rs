//! The sum behind a count that an objective asks for, so that a reader can do it again by hand: what `demand` divided by what. Reckoned when
//! somebody asks (`penstock explain`), never in a turn.

/// What a count was reckoned with. Items and seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sum {
    /// The smallest count that keeps the objective, whatever holds the stage at another.
    pub replicas: u32,
    /// As much work as so many replicas do that share it evenly: with partitions the busiest one holds the others back.
    pub carries: f64,
    /// Items a second of one replica.
    pub rate: f64,
    /// From a write to Ready, and the pause of the group when its members change: learned, or a guess until then.
    pub startup: f64,
    /// See `startup`.
    pub rebalance: f64,
    /// From a reading until pods asked for on it are at work: how far a forecast looks.
    pub lead: f64,
    /// What waits is planned to be done before it is as old as this: some of the objective is kept for what no plan foresees.
    pub planned: f64,
    /// Items that wait, and those of them that the present pods have done before this count is at work.
    pub waiting: f64,
    /// See `waiting`.
    pub done: f64,
    /// In which the rest is to be done.
    pub within: f64,
    /// Items a second that arrive, or are about to.
    pub arrivals: f64,
    /// So many times what arrives is provided for: partitions are uneven, or more may come before new pods are at work.
    pub margin: f64,
    /// So many times all of that must be carried: above 1 where the count is lower than the present one.
    pub spare: f64,
}
