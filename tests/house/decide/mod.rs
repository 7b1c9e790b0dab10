//! decide, through its one door: stories in, told plans out; laws that hold for any input; and tales of a queue that flows.

pub(crate) mod story;

mod thresholds;
mod objective;
mod combine;
mod schedule;
mod gates;
mod sleep;
mod batch;
mod forecast;
mod blind;
mod missing;
mod reset;
mod steady;
mod owner;
mod writes;
mod words;
mod size;
mod tale;
mod fleet;
mod budgets;
mod flow;
mod laws;
mod hpa;
mod jobs;
mod depth;
mod lanes;
mod prospects;
