//! Made-up load: every shape keeps within its bounds and is what its name says, and its texture has the variance that was asked for.

use penstock::simulate::Workload;

use super::plain;

fn workload(written: &str) -> Workload {
    let rest = format!("\nworkload: {{{written}}}\nworld: {{rate: 100}}\nduration: 3d\n");
    plain(&rest).stages.remove(0).workload.unwrap()
}

fn rates(written: &str) -> Vec<f64> {
    workload(written).rates(259_200, 100.0, 1, 0)
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / f64::from(u32::try_from(rates.len()).unwrap())
}

#[test]
fn every_shape_reaches_its_peak_and_never_leaves_its_bounds() {
    for (shape, least, low, high) in [
        ("steady: {}", 1000.0, 999.0, 1001.0),
        ("steps: {}", 125.0, 400.0, 750.0),
        ("ramp: {}", 39.0, 250.0, 600.0),
        ("diurnal: {}", 199.0, 400.0, 700.0),
        ("week: {}", 199.0, 400.0, 700.0),
        ("switching: {}", 250.0, 500.0, 750.0),
        ("flash: {}", 149.0, 151.0, 500.0),
        ("outage: {}", 0.0, 250.0, 320.0),
        ("rare: {}", 0.0, 1.0, 60.0),
        ("spikes: {}", 33.0, 60.0, 250.0),
        ("pulses: {}", 199.0, 599.0, 601.0),
        ("ragged: {}", 90.0, 200.0, 700.0),
    ] {
        let rates = rates(&format!("{shape}, peakRate: 1000"));
        assert_eq!(rates.len(), 259_200);
        let (lowest, highest) = rates
            .iter()
            .fold((f64::MAX, 0.0_f64), |(low, high), rate| (low.min(*rate), high.max(*rate)));
        assert!((highest - 1000.0).abs() < 1e-6, "{shape}: {highest}");
        assert!(least <= lowest, "{shape}: {lowest}");
        let mean = mean(&rates);
        assert!((low..high).contains(&mean), "{shape}: {mean}");
    }
}

#[test]
fn shapes_are_what_they_are_called() {
    let outage = rates("outage: {}, peakRate: 700");
    let at = |second: usize| outage[second].round();
    // The middle of the first six hours: five minutes of nothing, then 3.5 times the usual for two.
    let around = [10_799, 10_800, 11_099, 11_100, 11_219, 11_220].map(at);
    assert_eq!(format!("{around:?}"), "[200.0, 0.0, 0.0, 700.0, 700.0, 200.0]");
    let spikes = rates("spikes: {}, peakRate: 3000");
    let begins = spikes.windows(2).filter(|pair| pair[0] < 101.0 && 2999.0 < pair[1]).count();
    assert!((300..450).contains(&begins), "one every eleven minutes of three days: {begins}");
    let diurnal = rates("diurnal: {}, peakRate: 1000");
    let highest = (0..86_400).max_by(|a, b| diurnal[*a].total_cmp(&diurnal[*b])).unwrap();
    assert_eq!(highest, 14 * 3600);
    let ragged = rates("ragged: {}, peakRate: 1000");
    let changes = ragged.windows(2).filter(|pair| (pair[0] - pair[1]).abs() > 1e-9).count();
    assert_eq!(changes, 863, "every five minutes");
    let flash = rates("flash: {}, peakRate: 1000");
    let peak = (0..43_200).max_by(|a, b| flash[*a].total_cmp(&flash[*b])).unwrap();
    assert!(flash[peak - 45] < 0.5 * flash[peak], "a crowd comes within 40 s");
    assert!(0.3 * flash[peak] < flash[peak + 1500], "and goes slowly");
}

#[test]
fn the_peak_is_what_so_many_replicas_get_through() {
    let rates = rates("diurnal: {}, peakReplicas: 28");
    assert!((rates.iter().copied().fold(0.0, f64::max) - 2800.0).abs() < 1e-6);
}

#[test]
fn texture_has_the_mean_and_the_dispersion_that_were_asked_for() {
    for (rate, dispersion) in [(3.0, 1.0), (500.0, 1.0), (500.0, 4.0), (500.0, 0.25), (500.0, 0.0)]
    {
        let workload =
            workload(&format!("steady: {{}}, peakRate: {rate}, dispersion: {dispersion}"));
        let arrivals = workload.arrivals(100_000, 100.0, 7, 0);
        let mean = mean(&arrivals);
        let variance = arrivals.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean / rate - 1.0).abs() < 0.01, "{rate} {dispersion}: {mean}");
        assert!(
            (variance / rate - dispersion).abs() < 0.05 * dispersion.max(0.1),
            "{rate} {dispersion}: {variance}"
        );
        assert_eq!(arrivals, workload.arrivals(100_000, 100.0, 7, 0));
        assert!(dispersion <= 0.0 || arrivals != workload.arrivals(100_000, 100.0, 8, 0));
    }
}
