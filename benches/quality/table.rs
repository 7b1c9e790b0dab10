//! How figures are printed: a row for a policy, the mean over the seeds and half the 95 % interval.

use penstock::simulate::Interval;

use crate::arena::Figures;
use crate::loads::Load;

/// What the figures are.
pub(crate) const PREAMBLE: &str = "\
Cost is replica-seconds of pods that exist (starting ones too) over the bound: what the cheapest plan pays that knows the whole load.
Late is the share of the items read after 60 s. 48 partitions, skew +-25 %, 100 items/s a replica with 10 % noise and slow drift,
45 s to start, cooperative rebalances of 5 s, commits every 5 s, Poisson arrivals on the load, which is scaled to a peak of 28 replicas.
A day of warm-up, two days scored; a long trace begins on another day with each seed; of the hour of llm-code a third is warm-up.
Peers are tuned to each load and know the true rate of a replica: the cheapest setting with at most 0.1 % late, else the least late.
Penstock has one default and must learn. Means over the seeds, +- half the 95 % interval.";

/// The head of all rows.
pub(crate) const HEAD: &str = "  \
    policy                                                                      cost/bound           late %         p99 s  actions/d    undone/d  rebalances/d  rate error";

/// A row.
pub(crate) fn row(load: &Load, label: &str, figures: &[Figures]) -> String {
    let of =
        |figure: fn(&Figures) -> f64| Interval::of(&figures.iter().map(figure).collect::<Vec<_>>());
    let (cost, late, p99) = (of(|it| it.cost), of(|it| 100.0 * it.late), of(|it| it.p99));
    let errors: Vec<f64> = figures.iter().filter_map(|it| it.rate_error).collect();
    let error = if errors.is_empty() {
        "-".to_owned()
    } else {
        format!("{:.1} %", 100.0 * Interval::of(&errors).mean)
    };
    let daily = |figure: fn(&Figures) -> f64| {
        // An hour says nothing of a day.
        if load.name == "llm-code" { "-".to_owned() } else { format!("{:.0}", of(figure).mean) }
    };
    format!(
        "  {label:<72} {:>7.3} +-{:<6.3} {:>8.3} +-{:<7.3} {:>7.1} {:>10} {:>11} {:>13} {:>11}",
        cost.mean,
        cost.half,
        late.mean,
        late.half,
        p99.mean,
        daily(|it| it.actions),
        daily(|it| it.undone),
        daily(|it| it.rebalances),
        error,
    )
}
