//! Counts, numbers and times as people say them. Called by `words` and `hints`.

use std::time::Duration;

use jiff::Timestamp;

/// Until when a schedule holds; one on another day wants its date.
pub(super) fn until_when(until: Option<Timestamp>) -> String {
    until.map_or_else(String::new, |until| until.strftime(" until %Y-%m-%d %H:%M UTC").to_string())
}

/// `1 replica`, `7 replicas`.
pub(super) fn replicas(n: u32) -> String {
    if n == 1 { "1 replica".into() } else { format!("{n} replicas") }
}

/// A count of things, by their name in the singular.
pub(super) fn count(n: u64, thing: &str) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded for reading")]
    let shown = number(n as f64);
    if n == 1 { format!("{shown} {thing}") } else { format!("{shown} {thing}s") }
}

/// How many messages wait.
pub(super) fn waiting(n: u64) -> String {
    format!("{} {}", count(n, "message"), if n == 1 { "waits" } else { "wait" })
}

/// Three figures that count; whole numbers up to 9999 as they are.
pub(super) fn number(x: f64) -> String {
    if !x.is_finite() {
        return "unbounded".into();
    }
    let size = x.abs();
    let whole = (x - x.round()).abs() < 1e-9;
    if size < 10_000.0 && whole {
        return format!("{x:.0}");
    }
    if size < 0.001 {
        return "under 0.001".into();
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the logarithm of a finite number is small"
    )]
    let lead = size.log10().floor() as i32;
    let digits = usize::try_from(2 - lead).unwrap_or(0);
    let unit = 10f64.powi(lead - 2);
    let shown = format!("{:.digits$}", (x / unit).round() * unit);
    if shown.contains('.') {
        shown.trim_end_matches('0').trim_end_matches('.').into()
    } else {
        shown
    }
}

/// Bytes as Kubernetes writes them: `1.5Gi`.
pub(super) fn bytes(x: f64) -> String {
    let units = [("Gi", 1_073_741_824.0), ("Mi", 1_048_576.0), ("Ki", 1024.0)];
    let unit = units.into_iter().find(|(_, size)| *size <= x);
    let (name, size) = unit.unwrap_or(("", 1.0));
    format!("{}{name}", number(x / size))
}

/// A time in seconds, in the unit that suits it.
pub(super) fn seconds(s: f64) -> String {
    if !s.is_finite() || s >= 120.0 {
        return span(Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX));
    }
    if s < 10.0 && (s - s.round()).abs() > 0.05 { format!("{s:.1} s") } else { format!("{s:.0} s") }
}

/// A length of time.
pub(super) fn span(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..120 => format!("{s} s"),
        120..7200 if s.is_multiple_of(60) => format!("{} min", s / 60),
        120..7200 => format!("{} min {} s", s / 60, s % 60),
        _ if s.is_multiple_of(3600) => format!("{} h", s / 3600),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

/// A time of day.
pub(super) fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}

/// A time with its date, to the minute.
pub(super) fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_figures_that_count() {
        let shown: Vec<_> =
            [0.0, 7.0, 48.234, 0.04567, 9999.0, 182_437.0, 12_345_678.0].map(number).into();
        assert_eq!(shown, ["0", "7", "48.2", "0.0457", "9999", "182000", "12300000"]);
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        let shown: Vec<_> = [0.4, 2.0, 41.3, 119.0, 120.0, 200.0, 7320.0].map(seconds).into();
        assert_eq!(shown, ["0.4 s", "2 s", "41 s", "119 s", "2 min", "3 min 20 s", "2 h 2 min"]);
    }
}
