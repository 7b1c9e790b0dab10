//! One thing that was looked at: what it is, how it stands, and how to mend it.

use serde::Serialize;

/// What a finding is about, in the order printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Area {
    Cluster,
    Rights,
    Pipeline,
    Source,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Grade {
    /// It is as it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Something will not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    pub(super) area: Area,
    /// What was looked at, by name.
    pub(super) subject: String,
    pub(super) grade: Grade,
    /// One sentence.
    pub(super) said: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

impl Finding {
    /// Nothing is said of it yet.
    pub(super) fn new(area: Area, subject: &str) -> Self {
        let (subject, said) = (subject.to_owned(), String::new());
        Self { area, subject, grade: Grade::Good, said, hint: None }
    }

    pub(super) fn good(self, said: impl Into<String>) -> Self {
        Self { grade: Grade::Good, said: said.into(), ..self }
    }

    pub(super) fn note(self, said: impl Into<String>) -> Self {
        Self { grade: Grade::Note, said: said.into(), ..self }
    }

    pub(super) fn bad(self, said: impl Into<String>) -> Self {
        Self { grade: Grade::Bad, said: said.into(), ..self }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}
