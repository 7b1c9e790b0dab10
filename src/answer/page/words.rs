//! Numbers and spans of time as the page says them, short enough for a picture. The page's script says them alike (`words.js`).

/// A number with at most four figures: `7`, `86.4`, `12k`, `1.2M`.
pub(super) fn number(value: f64) -> String {
    let short = |value: f64, unit: &str| format!("{}{unit}", trimmed(value, 1));
    match value {
        x if x >= 1e9 => short(x / 1e9, "G"),
        x if x >= 1e6 => short(x / 1e6, "M"),
        x if x >= 1e4 => format!("{:.0}k", x / 1e3),
        x if x >= 100.0 => format!("{x:.0}"),
        x => trimmed(x, if x >= 10.0 { 1 } else { 2 }),
    }
}

/// A span of seconds: `0.4 s`, `41 s`, `12 min`, `3.5 h`, `2 d`.
pub(super) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{} s", trimmed(s, 1)),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 600.0 => format!("{} min", trimmed(s / 60.0, 1)),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{} h", trimmed(s / 3600.0, 1)),
        s => format!("{} d", trimmed(s / 86_400.0, 1)),
    }
}

/// At most so many places, and no zeros at the end.
fn trimmed(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Text as XML has it.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no other control characters, not even escaped.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// The first so many letters, with a mark where some are left out.
pub(super) fn cut(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    text.chars().take(letters.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_are_short() {
        let said: Vec<_> =
            [0.0, 0.25, 7.0, 86.42, 999.6, 9999.0, 12_345.0, 1.25e6, 3e9].map(number).into();
        assert_eq!(said, ["0", "0.25", "7", "86.4", "1000", "9999", "12k", "1.2M", "3G"]);
        let said: Vec<_> = [0.0, 0.44, 41.2, 130.0, 1800.0, 9000.0, 180_000.0].map(span).into();
        assert_eq!(said, ["0 s", "0.4 s", "41 s", "2.2 min", "30 min", "2.5 h", "2.1 d"]);
    }

    #[test]
    fn nothing_that_was_written_becomes_markup() {
        assert_eq!(escaped("<a href=\"x\">&\u{1}"), "&lt;a href=&quot;x&quot;&gt;&amp; ");
        assert_eq!(cut("enrichment", 6), "enric…");
    }
}
