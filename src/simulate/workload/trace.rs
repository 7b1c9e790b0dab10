//! Real load from a CSV file: `seconds,rate` rows (seconds since start, items a second), lines with `#` are comments.

use std::sync::Arc;

use serde::Deserialize;

use crate::simulate::span::Span;

/// Real load.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Second and rate, in order of time.
    rows: Arc<[(f64, f64)]>,
    /// Where in it the scenario begins.
    from: f64,
    join: Join,
    repeat: bool,
}

/// What is between two rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Join {
    /// The rate of the row before.
    #[default]
    Hold,
    /// The line from one to the next.
    Linear,
}

/// Why a text is no trace. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceFault {
    /// A row is not two numbers.
    #[error("line {line}: {text:?} is no row; hint: rows are seconds,rate, comments begin with #")]
    NoRow {
        /// Where.
        line: usize,
        /// What stands there, cut short.
        text: String,
    },
    /// Time does not go on.
    #[error("line {line}: its second is not after the one before")]
    NotAfter {
        /// Where.
        line: usize,
    },
    /// A rate below 0, or none.
    #[error("line {line}: a rate is a number from 0 up")]
    NoRate {
        /// Where.
        line: usize,
    },
    /// Fewer than two rows.
    #[error("has fewer than two rows")]
    TooShort,
}

impl Trace {
    /// Reads the text of a trace.
    pub fn read(text: &str, from: Span, join: Join, repeat: bool) -> Result<Self, TraceFault> {
        let mut rows: Vec<(f64, f64)> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let (line, at) = (line.trim(), at + 1);
            if line.is_empty() || line.starts_with('#') || line == "seconds,rate" {
                continue;
            }
            let row = line.split_once(',').and_then(|(second, rate)| {
                Some((second.trim().parse::<f64>().ok()?, rate.trim().parse::<f64>().ok()?))
            });
            let Some((second, rate)) = row.filter(|(second, _)| second.is_finite()) else {
                let text = line.chars().take(40).collect();
                return Err(TraceFault::NoRow { line: at, text });
            };
            if !(0.0..=1e15).contains(&rate) {
                return Err(TraceFault::NoRate { line: at });
            }
            if rows.last().is_some_and(|(before, _)| second <= *before) {
                return Err(TraceFault::NotAfter { line: at });
            }
            rows.push((second, rate));
        }
        if rows.len() < 2 {
            return Err(TraceFault::TooShort);
        }
        let start = rows[0].0;
        for row in &mut rows {
            row.0 -= start;
        }
        Ok(Self { rows: rows.into(), from: from.seconds(), join, repeat })
    }

    /// How long it lasts: the last row stands for as long as the one before it.
    pub fn seconds(&self) -> f64 {
        let [.., before, last] = &*self.rows else { return 0.0 };
        2.0 * last.0 - before.0
    }

    pub(super) fn draw(&self, seconds: u32) -> Vec<f64> {
        let whole = self.seconds();
        let mut row = 0;
        let mut last = 0.0;
        let mut rates = Vec::with_capacity(seconds as usize);
        for second in 0..seconds {
            let mut at = self.from + f64::from(second);
            if self.repeat {
                at %= whole;
            }
            if at < last {
                row = 0;
            }
            last = at;
            while self.rows.get(row + 1).is_some_and(|next| next.0 <= at) {
                row += 1;
            }
            let (since, rate) = self.rows[row];
            rates.push(match (self.join, self.rows.get(row + 1)) {
                (Join::Linear, Some(next)) => {
                    rate + (next.1 - rate) * ((at - since) / (next.0 - since)).clamp(0.0, 1.0)
                }
                (Join::Hold | Join::Linear, _) => rate,
            });
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# made up\nseconds,rate\n0,10\n60,20\n120,5\n";

    fn trace(join: Join, repeat: bool) -> Trace {
        Trace::read(TEXT, Span::of(30.0), join, repeat).unwrap()
    }

    fn told<const N: usize>(rates: &[f64], at: [usize; N]) -> String {
        format!("{:?}", at.map(|at| rates[at]))
    }

    #[test]
    fn rows_are_held_or_joined_from_where_the_scenario_begins() {
        let held = trace(Join::Hold, false).draw(150);
        assert_eq!(told(&held, [0, 29, 30, 90, 149]), "[10.0, 10.0, 20.0, 5.0, 5.0]");
        let joined = trace(Join::Linear, false).draw(60);
        assert_eq!(told(&joined, [0, 15, 30, 45]), "[15.0, 17.5, 20.0, 16.25]");
        let again = trace(Join::Hold, true).draw(200);
        assert_eq!(told(&again, [149, 150, 199]), "[5.0, 10.0, 10.0]");
        assert!((trace(Join::Hold, false).seconds() - 180.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_trace_is_told_by_its_line() {
        let fault = |text| Trace::read(text, Span::default(), Join::Hold, false).unwrap_err();
        assert_eq!(fault("0,1\n1;2\n"), TraceFault::NoRow { line: 2, text: "1;2".into() });
        assert_eq!(fault("0,1\n0,2\n"), TraceFault::NotAfter { line: 2 });
        assert_eq!(fault("0,1\n1,-2\n"), TraceFault::NoRate { line: 2 });
        assert_eq!(fault("0,1\n"), TraceFault::TooShort);
    }
}
