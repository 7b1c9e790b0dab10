//! decide, through its one door: stories in, told plans out; laws that hold for any input; and tales of a queue that flows.

mod story;

mod thresholds;
mod objective;
mod sleep;
