//! Figures and tables as people read them. Called by the commands that show pipelines.

use comfy_table::{Table, presets};

/// A table without lines, like kubectl's.
pub(super) fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.into_iter().collect::<Vec<_>>());
    table
}

/// A value, or a dash where there is none: not known is not zero.
pub(super) fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Seconds in the unit that suits them.
pub(super) fn short(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// A delay, with a mark when it is the least it can be.
pub(super) fn delay(seconds: f64, is_at_least: bool) -> String {
    format!("{}{}", if is_at_least { ">" } else { "" }, short(seconds))
}

/// Items a second.
pub(super) fn rate(per_second: f64) -> String {
    if per_second >= 100.0 { format!("{per_second:.0}/s") } else { format!("{per_second:.1}/s") }
}

/// Three figures that count, of what is not huge.
pub(super) fn figure(x: f64) -> String {
    let digits = match x.abs() {
        x if x < 10.0 => 2,
        x if x < 100.0 => 1,
        _ => return format!("{x:.0}"),
    };
    let shown = format!("{x:.digits$}");
    shown.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_the_unit_that_suits_them() {
        let read: Vec<_> = [0.0, 9.94, 41.3, 119.0, 600.0, 9_000.0].map(short).into();
        assert_eq!(read, ["0.0 s", "9.9 s", "41 s", "119 s", "10 min", "2.5 h"]);
        assert_eq!(delay(41.0, true), ">41 s");
        assert_eq!([0.04, 48.25, 310.4].map(rate), ["0.0/s", "48.2/s", "310/s"]);
        assert_eq!(shown(None::<u32>), "-");
        assert_eq!(
            [0.0, 4.8, 5.125, 38.94, 2000.4].map(figure),
            ["0", "4.8", "5.12", "38.9", "2000"]
        );
    }
}
