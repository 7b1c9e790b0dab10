//! What partitions mean for a replica count: the busiest replica holds ⌈P/n⌉ of them, so only some counts are worth having.
//! Called by `demand`; knows nothing of rates or time.

/// The useful counts for `partitions`: the smallest n for each value of ⌈P/n⌉, ascending. About 2√P of them; for 48: 1 to 8, 10,
/// 12, 16, 24, 48.
pub(super) fn breakpoints(partitions: u32) -> impl Iterator<Item = u32> {
    std::iter::successors((0 < partitions).then_some(1), move |&n| {
        let share = partitions.div_ceil(n);
        (1 < share).then(|| partitions.div_ceil(share - 1))
    })
}

/// What `n` replicas get through, in replicas' worth of work, when the busiest of them holds ⌈P/n⌉ of `partitions`.
pub(super) fn capacity(n: u32, partitions: Option<u32>) -> f64 {
    match partitions {
        None => f64::from(n),
        Some(_) if n == 0 => 0.0,
        Some(partitions) => f64::from(partitions) / f64::from(partitions.div_ceil(n).max(1)),
    }
}

/// Rounds up to a count; a hair above a whole number is rounding noise and no reason for one more.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the range of u32 first"
)]
pub(super) fn ceil(x: f64) -> u32 {
    if x.is_nan() { 0 } else { (x - 1e-9 * x.abs()).ceil().clamp(0.0, f64::from(u32::MAX)) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_breakpoints_of_48_17_and_none() {
        let of = |p| breakpoints(p).collect::<Vec<_>>();
        assert_eq!(of(48), [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 48]);
        assert_eq!(of(17), [1, 2, 3, 4, 5, 6, 9, 17]);
        assert_eq!(of(1), [1]);
        assert_eq!(of(0), [] as [u32; 0]);
        assert!(of(u32::MAX).len() < 140_000);
    }

    #[test]
    fn the_busiest_replica_bounds_what_a_count_gets_through() {
        let of = |n, p| capacity(n, p);
        assert!((of(10, Some(48)) - 9.6).abs() < 1e-12);
        assert!((of(47, Some(48)) - 24.0).abs() < 1e-12);
        assert!((of(60, Some(48)) - 48.0).abs() < 1e-12);
        assert!((of(9, None) - 9.0).abs() < 1e-12);
        assert!(of(0, Some(48)).abs() < 1e-12);
        assert_eq!([3.000_000_000_1, 3.1, -1.0, f64::NAN].map(ceil), [3, 4, 0, 0]);
    }
}
