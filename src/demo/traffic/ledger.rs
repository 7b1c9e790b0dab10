//! The book of every item: when it was made, and when each stage was done with it. Written by producer and consumers, read by the
//! live view, the score and the tests; item ages come from here and nowhere else.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One item on its whole way. Times count from the ledger's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// When it was made.
    pub made: Duration,
    /// When the last stage was done with it for the first time, if it is.
    pub done: Option<Duration>,
}

/// Where the items of one stage stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Items that reached this stage.
    pub arrived: u64,
    /// Items it is done with.
    pub done: u64,
    /// How often it did one again (a commit was lost in a rebalance or a crash).
    pub again: u64,
    /// Age of the oldest item it has not done, counted from when the item was made.
    pub oldest: Option<Duration>,
}

/// The book. One for each pipeline; share it by `Arc`.
#[derive(Debug)]
pub struct Ledger {
    start: Instant,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    made: Vec<Duration>,
    stages: Vec<Stage>,
}

#[derive(Debug, Default)]
struct Stage {
    /// By item number; shorter than `made` where nothing beyond is done.
    done: Vec<Option<Duration>>,
    count: u64,
    again: u64,
    /// All items below this number are done.
    oldest: usize,
}

impl Ledger {
    /// An empty book for a pipeline of so many stages (at least one). Its time starts now.
    pub fn new(stages: usize) -> Self {
        let stages = (0..stages.max(1)).map(|_| Stage::default()).collect();
        Self { start: Instant::now(), book: Mutex::new(Book { made: Vec::new(), stages }) }
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Enters a new item, made now, and gives it its number.
    pub fn make(&self) -> u64 {
        let now = self.now();
        let mut book = self.book();
        book.made.push(now);
        book.made.len() as u64 - 1
    }

    /// Stage `stage` (0 is the first) is done with item `number` now. False when it was before, or when there is no such item.
    pub fn done(&self, stage: usize, number: u64) -> bool {
        let now = self.now();
        let mut book = self.book();
        let made = book.made.len();
        let Ok(index) = usize::try_from(number) else { return false };
        let Some(stage) = book.stages.get_mut(stage).filter(|_| index < made) else { return false };
        stage.finish(index, now)
    }

    /// Where stage `stage` stands now; all zero for a stage that does not exist.
    pub fn tally(&self, stage: usize) -> Tally {
        let now = self.now();
        let mut book = self.book();
        let Book { made, stages } = &mut *book;
        let arrived = match stage.checked_sub(1) {
            Some(before) => stages.get(before).map_or(0, |before| before.count),
            None => made.len() as u64,
        };
        let Some(stage) = stages.get_mut(stage) else { return Tally::default() };
        let oldest = made.get(stage.oldest).map(|made| now.saturating_sub(*made));
        Tally { arrived, done: stage.count, again: stage.again, oldest }
    }

    /// Highest age, when it was done, of the items that the last stage did within this time; `None` when it did none.
    pub fn oldest_done_in(&self, window: Duration) -> Option<Duration> {
        let since = self.now().saturating_sub(window);
        let book = self.book();
        let done = &book.stages.last()?.done;
        let pairs = book.made.iter().zip(done).filter_map(|(made, done)| Some((*made, (*done)?)));
        pairs.filter(|(_, done)| *done >= since).map(|(made, done)| done.saturating_sub(made)).max()
    }

    /// Every item so far, in the order they were made. A copy: 32 bytes each.
    pub fn items(&self) -> Vec<Item> {
        let book = self.book();
        let last = book.stages.last();
        let done = |index: usize| last.and_then(|stage| stage.done.get(index).copied().flatten());
        book.made
            .iter()
            .enumerate()
            .map(|(index, made)| Item { made: *made, done: done(index) })
            .collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage {
    fn finish(&mut self, index: usize, now: Duration) -> bool {
        if self.done.len() <= index {
            self.done.resize(index + 1, None);
        }
        let is_first = self.done[index].is_none();
        if is_first {
            self.done[index] = Some(now);
            self.count += 1;
        } else {
            self.again += 1;
        }
        while self.done.get(self.oldest).is_some_and(Option::is_some) {
            self.oldest += 1;
        }
        is_first
    }
}
