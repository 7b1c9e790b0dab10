//! What each peer may be tuned over: the published defaults first, then the settings that people change. Used by the benchmark, which
//! takes the best of them for each load; Penstock has no such list.

use std::time::Duration;

use super::{
    Amount, Flink, FlinkSettings, HpaSettings, Keda, KedaSettings, Kpa, KpaSettings, Numaflow,
    NumaflowSettings, RateTrigger, Watermark, WatermarkSettings,
};
use crate::decide::{Behaviour, Rules};
use crate::simulate::Policy;

/// A peer and how it is set.
#[derive(Debug, Clone)]
pub enum Settings {
    /// KEDA, with one trigger or two.
    Keda(KedaSettings),
    /// Knative.
    Kpa(KpaSettings),
    /// Flink, DS2.
    Flink(FlinkSettings),
    /// Datadog's two marks.
    Watermark(WatermarkSettings),
    /// Numaflow.
    Numaflow(NumaflowSettings),
}

impl Settings {
    /// A fresh policy with these settings and no past.
    pub fn policy(&self) -> Box<dyn Policy> {
        match self {
            Self::Keda(settings) => Box::new(Keda::new(settings.clone())),
            Self::Kpa(settings) => Box::new(Kpa::new(*settings)),
            Self::Flink(settings) => Box::new(Flink::new(*settings)),
            Self::Watermark(settings) => Box::new(Watermark::new(*settings)),
            Self::Numaflow(settings) => Box::new(Numaflow::new(*settings)),
        }
    }
}

/// The settings over which the peer of this name may be tuned, its published defaults first; empty when no peer is called so.
pub fn grid(name: &str) -> Vec<Settings> {
    match name {
        "keda" => keda(),
        "keda-rate" => keda_rate(),
        "kpa" => kpa(),
        "flink" => flink(),
        "watermark" => watermark(),
        "numaflow" => numaflow(),
        _ => Vec::new(),
    }
}

/// How long the HPA lets the largest recommendation count: as it is made by KEDA, and what people write into `behavior`.
fn behaviors() -> [Option<Behaviour>; 3] {
    let down = |seconds| {
        let down = Rules { window: Some(Duration::from_secs(seconds)), ..Rules::default() };
        Some(Behaviour { down, ..Behaviour::default() })
    };
    [None, down(60), down(900)]
}

fn keda() -> Vec<Settings> {
    let mut settings = vec![Settings::Keda(KedaSettings::default())];
    for seconds in [0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0] {
        for behavior in behaviors() {
            let hpa = HpaSettings { behavior, ..HpaSettings::default() };
            let lag = Amount::Seconds(seconds);
            settings.push(Settings::Keda(KedaSettings { lag, hpa, ..KedaSettings::default() }));
        }
    }
    settings
}

fn keda_rate() -> Vec<Settings> {
    let with = |lag, share, window, behavior| {
        let hpa = HpaSettings { behavior, ..HpaSettings::default() };
        let rate = Some(RateTrigger { share, window });
        Settings::Keda(KedaSettings { lag, rate, hpa, ..KedaSettings::default() })
    };
    let mut settings = vec![with(Amount::Items(10.0), 0.8, 120.0, None)];
    for share in [0.4, 0.5, 0.6, 0.7, 0.8] {
        for seconds in [2.0, 5.0, 10.0] {
            for behavior in behaviors() {
                settings.push(with(Amount::Seconds(seconds), share, 60.0, behavior));
            }
        }
    }
    settings
}

fn kpa() -> Vec<Settings> {
    let mut settings = Vec::new();
    for target in [0.7, 0.3, 0.4, 0.5, 0.6, 0.8] {
        for stable in [60.0, 300.0] {
            for down_delay in [0.0, 300.0, 900.0] {
                let usual = KpaSettings::default();
                settings.push(Settings::Kpa(KpaSettings { target, stable, down_delay, ..usual }));
            }
        }
    }
    settings
}

fn flink() -> Vec<Settings> {
    let mut settings = vec![Settings::Flink(FlinkSettings::default())];
    for utilization in [0.5, 0.6, 0.7, 0.8] {
        for (window, stabilization) in [(60.0, 60.0), (300.0, 60.0), (300.0, 300.0)] {
            for down_interval in [0.0, 900.0] {
                for boundary in [0.1, 0.3] {
                    settings.push(Settings::Flink(FlinkSettings {
                        utilization,
                        boundary,
                        window,
                        stabilization,
                        down_interval,
                        catch_up: 300.0,
                        restart: 60.0,
                        interval: 30.0,
                        ..FlinkSettings::default()
                    }));
                }
            }
        }
    }
    settings
}

fn watermark() -> Vec<Settings> {
    let usual = WatermarkSettings::default();
    let mut settings = vec![Settings::Watermark(usual)];
    for seconds in [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0] {
        for (up_limit, up_forbidden, down_forbidden) in
            [(0.5, 60.0, 300.0), (1.0, 15.0, 300.0), (1.0, 15.0, 60.0)]
        {
            for share in [0.3, 0.6] {
                settings.push(Settings::Watermark(WatermarkSettings {
                    high: Amount::Seconds(seconds),
                    low: Amount::Seconds(share * seconds),
                    up_limit,
                    up_forbidden,
                    down_forbidden,
                    tolerates_zero: true,
                    ..usual
                }));
            }
        }
    }
    settings
}

fn numaflow() -> Vec<Settings> {
    let usual = NumaflowSettings::default();
    let mut settings = vec![Settings::Numaflow(usual)];
    for target in [2.0, 3.0, 4.0, 6.0, 10.0, 20.0] {
        for (up_cooldown, down_cooldown) in [(90.0, 90.0), (30.0, 90.0), (30.0, 300.0)] {
            for step in [2, 8] {
                settings.push(Settings::Numaflow(NumaflowSettings {
                    target,
                    up_cooldown,
                    down_cooldown,
                    step,
                    lookback: 60.0,
                    ..usual
                }));
            }
        }
    }
    settings
}
