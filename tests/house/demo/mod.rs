//! The demo: its load, score and view by the numbers, its traffic on a Kafka in this process, and the story as a whole.

mod load;
mod score;
mod traffic;
mod view;
mod story;

use std::time::Duration;

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6 * b.abs().max(1.0)
}
