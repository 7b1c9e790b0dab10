//! How far a command is that takes longer than a second: a line on standard error, where a terminal shows it, and gone when the work is done.
//! Used by commands that work for a while; what they print is the same with and without it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The gap between two pictures of a line that only says that it waits.
const BEAT: Duration = Duration::from_millis(200);

/// The line; it goes when this is dropped. Nothing is drawn where standard error is no terminal.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of work of a known length; `template` is indicatif's.
    pub(super) fn of(length: u64, template: &str) -> Self {
        let bar = ProgressBar::new(length);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.tick();
        Self(bar)
    }

    /// Of work whose length nobody knows: what is done, and for how long already.
    pub(super) fn waiting(what: &'static str) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.tick();
        bar.enable_steady_tick(BEAT);
        Self(bar)
    }

    /// Something else is done now.
    pub(super) fn now(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    /// One more of them is done.
    pub(super) fn one_more(&self) {
        self.0.inc(1);
    }

    /// So many of them are done.
    pub(super) fn at(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
