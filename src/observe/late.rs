//! Which questions of a visit had no answer in time, so that the next visit asks in another order: it must not always be the same ones that go
//! without. Used by the sources that put many questions to one server over few connections.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Error;

/// How long one question may take. Less than a visit, so that a slow one leaves time for others.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The questions without an answer last time, and why.
#[derive(Debug, Default)]
pub(super) struct Late(BTreeMap<String, Why>);

/// Why a question had no answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The visit had too little time left for it.
    Behind,
    /// It was too slow.
    Slow,
}

impl Why {
    /// Why a question that is put now would have no answer in time.
    pub(super) fn now(deadline: Instant) -> Self {
        if deadline < Instant::now() + PATIENCE { Self::Behind } else { Self::Slow }
    }
}

impl Late {
    /// When a question has its turn: what there was no time for is asked first, what was slow comes last, so that it delays no other.
    pub(super) fn turn(&self, question: &str) -> u8 {
        match self.0.get(question) {
            Some(Why::Behind) => 0,
            None => 1,
            Some(Why::Slow) => 2,
        }
    }

    /// Notes how a question fared.
    pub(super) fn note(&mut self, question: &str, why: Why, error: Option<&Error>) {
        if matches!(error, Some(Error::Timeout { .. })) {
            self.0.insert(question.to_owned(), why);
        } else {
            self.0.remove(question);
        }
    }

    /// Forgets the questions that nobody asks any more.
    pub(super) fn retain(&mut self, is_asked: impl Fn(&str) -> bool) {
        self.0.retain(|question, _| is_asked(question));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_was_no_time_for_comes_first_and_what_was_slow_last() {
        let timeout = Error::Timeout { at: "here".into(), detail: "waited".to_owned() };
        let mut late = Late::default();
        late.note("slow", Why::Slow, Some(&timeout));
        late.note("behind", Why::Behind, Some(&timeout));
        late.note("gone", Why::Slow, Some(&Error::InternalError { at: "here".into() }));
        assert_eq!(["behind", "gone", "new", "slow"].map(|it| late.turn(it)), [0, 1, 1, 2]);
        late.note("behind", Why::Slow, None);
        late.retain(|question| question != "slow");
        assert_eq!(["behind", "slow"].map(|it| late.turn(it)), [1, 1]);
    }
}
