//! What became of each field of KEDA's: the report of `penstock convert`, for people on standard error.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// How much of its meaning a field keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Grade {
    /// It means the same.
    Same,
    /// It is written, or left out, and something is different from then on.
    Changes,
    /// It is not written: somebody has to.
    NotSupported,
}

impl Grade {
    fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changes => "changes",
            Self::NotSupported => "not supported",
        }
    }
}

/// What became of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    object: String,
    path: String,
    grade: Grade,
    what: String,
}

/// What became of all of them, in the order they were met.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// Notes for one object.
    pub(super) fn of(&mut self, object: String) -> Notes<'_> {
        Notes { report: self, object }
    }

    /// Is there anything that somebody has to write by hand?
    pub(super) fn is_lacking(&self) -> bool {
        self.findings.iter().any(|finding| finding.grade == Grade::NotSupported)
    }

    /// How many there are of a grade.
    pub(super) fn count(&self, grade: Grade) -> usize {
        self.findings.iter().filter(|finding| finding.grade == grade).count()
    }

    /// One row a field: all of them, or those that do not stay the same.
    pub(super) fn table(&self, is_whole: bool) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["OBJECT", "FIELD", "GRADE", "WHAT"]);
        let told = self.findings.iter().filter(|it| is_whole || it.grade != Grade::Same);
        let mut is_empty = true;
        for finding in told {
            is_empty = false;
            table.add_row([&finding.object, &finding.path, finding.grade.word(), &finding.what]);
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        if is_empty { String::new() } else { format!("{}\n", lines.join("\n")) }
    }
}

/// Notes what becomes of the fields of one object.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    report: &'a mut Report,
    object: String,
}

impl Notes<'_> {
    pub(super) fn same(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.note(Grade::Same, path, what);
    }

    pub(super) fn changes(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.note(Grade::Changes, path, what);
    }

    pub(super) fn not_supported(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.note(Grade::NotSupported, path, what);
    }

    /// Once for each field and what is said of it.
    pub(super) fn note(&mut self, grade: Grade, path: impl Into<String>, what: impl Into<String>) {
        let (path, what) = (path.into(), what.into());
        let finding = Finding { object: self.object.clone(), path, grade, what };
        if !self.report.findings.contains(&finding) {
            self.report.findings.push(finding);
        }
    }

    /// Has anything been said of this field?
    pub(super) fn has(&self, path: &str) -> bool {
        let mut findings = self.report.findings.iter();
        findings.any(|finding| finding.object == self.object && finding.path == path)
    }

    /// The same notes, lent for a while.
    pub(super) fn lend(&mut self) -> Notes<'_> {
        Notes { report: self.report, object: self.object.clone() }
    }
}
