//! The scaling rules of others, each written anew from what its project publishes, so that Penstock can be compared with them in the
//! same world. Run by the simulator, `penstock simulate --policy` and `benches/quality.rs`; the world itself is not their matter.
//!
//! Defaults are the published ones. A peer may be tuned over its [`grid`], and where a setting is a number of items it may be said in
//! seconds of one replica's work, for which the peer is told what a replica really does: more than its real twin would know.

mod cpu;
mod flink;
mod hpa;
mod keda;
mod kpa;
mod numaflow;
mod tuning;
mod watermark;
mod window;

use super::{Policy, QueueView};

pub use cpu::{CpuHpa, CpuSettings};
pub use flink::{Flink, FlinkSettings};
pub use hpa::{Hpa, HpaSettings, Metric, Sight};
pub use keda::{Keda, KedaSettings, RateTrigger};
pub use kpa::{Kpa, KpaSettings};
pub use numaflow::{Numaflow, NumaflowSettings};
pub use tuning::{Settings, grid};
pub use watermark::{Watermark, WatermarkSettings};

/// What the peers are called on the command line and in tables.
pub const NAMES: [&str; 6] = ["keda", "keda-rate", "kpa", "flink", "watermark", "numaflow"];

/// A peer with its published defaults; `None` when no peer is called so.
pub fn by_name(name: &str) -> Option<Box<dyn Policy>> {
    grid(name).first().map(Settings::policy)
}

/// An amount of work for one replica.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// So many items.
    Items(f64),
    /// As many items as one replica does in so many seconds.
    Seconds(f64),
}

impl Amount {
    /// In items, for a replica of this many items a second.
    fn of(self, true_rate: f64) -> f64 {
        match self {
            Self::Items(items) => items,
            Self::Seconds(seconds) => seconds * true_rate,
        }
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Items(items) => write!(f, "{items} items"),
            // No tail of nines where it is a share of another.
            Self::Seconds(seconds) => write!(f, "{} s", (seconds * 1000.0).round() / 1000.0),
        }
    }
}

/// Items that are not committed. Whole ones: the world is a fluid, and the drop that is left of it is no item.
fn lag(queue: &QueueView<'_>) -> f64 {
    let lags = queue.partitions.iter().map(|offsets| (offsets.end - offsets.committed).max(0.0));
    lags.sum::<f64>().floor()
}

/// A length as a number to reckon with.
fn count(length: usize) -> f64 {
    u32::try_from(length).map_or(f64::INFINITY, f64::from)
}
