//! Targets and what was got: a line each, met or missed and by how much. Filled by `main` and `trials`.

/// How a figure is held against its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bar {
    AtLeast,
    AtMost,
}

/// All targets so far.
#[derive(Debug, Default)]
pub(crate) struct Book(Vec<Line>);

#[derive(Debug)]
struct Line {
    what: String,
    got: f64,
    bar: (Bar, f64),
    unit: &'static str,
}

impl Book {
    pub(crate) fn note(
        &mut self,
        what: impl Into<String>,
        got: f64,
        bar: (Bar, f64),
        unit: &'static str,
    ) {
        self.0.push(Line { what: what.into(), got, bar, unit });
    }

    /// Those of another after these.
    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Every target as a line, and the missed ones once more.
    pub(crate) fn close(self) -> (Vec<String>, Vec<String>) {
        let met = self.0.iter().filter(|line| line.by() <= 0.0).count();
        let mut all: Vec<_> = self.0.iter().map(Line::text).collect();
        all.push(format!("{met} of {} targets met", self.0.len()));
        let missed = self.0.iter().filter(|line| 0.0 < line.by()).map(Line::text).collect();
        (all, missed)
    }
}

impl Line {
    /// By how much it is missed; 0 or less is met. What there is no figure of is missed.
    fn by(&self) -> f64 {
        if self.got.is_nan() {
            return f64::INFINITY;
        }
        match self.bar {
            (Bar::AtLeast, bar) => bar - self.got,
            (Bar::AtMost, bar) => self.got - bar,
        }
    }

    fn text(&self) -> String {
        let (bar, unit) = (self.bar.1, self.unit);
        let side = if self.bar.0 == Bar::AtLeast { "at least" } else { "at most" };
        let by = if 0.0 < self.by() {
            format!(", missed by {:.2}{unit}", self.by())
        } else {
            String::new()
        };
        format!("{:<58}{:>9.2}{unit:<4} {side} {bar}{unit}{by}", self.what, self.got)
    }
}
