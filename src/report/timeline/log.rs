//! What was told of a stage, newest last, packed into a bounded run of bytes: the oldest makes room. Filled and read by the
//! timelines; knows nothing of pipelines.

use jiff::{SignedDuration, Timestamp};

/// What is older is forgotten.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Bytes before the texts of an entry: when, which flags, how long the two texts are, and the counts of a move.
const HEAD: usize = 4 + 1 + 1 + 2;
const COUNTS: usize = 4;
/// What one sentence may fill; a longer one is cut, and its event has it whole.
const SENTENCE: usize = 320;
const MOVE: u8 = 1;
const WARNING: u8 = 2;

/// Something that was told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// When, to the second.
    pub at: Timestamp,
    /// CamelCase word of the event: `ScaledUp`, `Late`, `HotPartition`.
    pub code: String,
    /// Replicas before and after, where it is a move.
    pub moved: Option<(u32, u32)>,
    /// Is it trouble?
    pub is_warning: bool,
    /// The sentence, as the event has it, without the name of the stage.
    pub sentence: String,
}

/// Entries, packed. Never fills more than `limit` bytes, which every call must state alike.
#[derive(Debug, Default)]
pub(super) struct Log(Vec<u8>);

impl Log {
    /// Adds one at the end; the oldest and those of more than a day before it make room.
    pub(super) fn push(&mut self, entry: &Entry, limit: usize) {
        let packed = pack(entry);
        if limit < packed.len() {
            return;
        }
        let oldest = entry.at.checked_sub(DAY).unwrap_or(Timestamp::MIN);
        let mut from = 0;
        while let Some((first, size)) = unpack(&self.0[from..]) {
            if first.at >= oldest && self.0.len() - from + packed.len() <= limit {
                break;
            }
            from += size;
        }
        self.0.drain(..from);
        // Grown by what is needed and no more: a vector that doubles would fill twice its limit.
        self.0.reserve_exact(packed.len());
        self.0.extend(packed);
        if limit < self.0.capacity() {
            self.0.shrink_to(limit);
        }
    }

    /// Entries, oldest first, of the day before `now`.
    pub(super) fn entries(&self, now: Timestamp) -> Vec<Entry> {
        let oldest = now.checked_sub(DAY).unwrap_or(Timestamp::MIN);
        let mut rest = self.0.as_slice();
        let mut entries = Vec::new();
        while let Some((entry, size)) = unpack(rest) {
            rest = &rest[size..];
            if oldest <= entry.at {
                entries.push(entry);
            }
        }
        entries
    }

    /// The same with entries of before this process, each in its place and once.
    pub(super) fn refill(&mut self, past: Vec<Entry>, now: Timestamp, limit: usize) {
        let mut all = self.entries(now);
        all.extend(past);
        all.sort();
        all.dedup();
        let mut log = Self::default();
        for entry in &all {
            log.push(entry, limit);
        }
        *self = log;
    }

    /// Bytes on the heap.
    pub(super) fn weight(&self) -> usize {
        self.0.capacity()
    }
}

fn pack(entry: &Entry) -> Vec<u8> {
    let code = cut(&entry.code, usize::from(u8::MAX), "");
    let sentence = cut(&entry.sentence, SENTENCE, "…");
    let flags =
        if entry.moved.is_some() { MOVE } else { 0 } | if entry.is_warning { WARNING } else { 0 };
    let mut packed = Vec::with_capacity(HEAD + COUNTS + code.len() + sentence.len());
    packed.extend(u32::try_from(entry.at.as_second()).unwrap_or(0).to_le_bytes());
    packed.push(flags);
    packed.push(u8::try_from(code.len()).unwrap_or(u8::MAX));
    packed.extend(u16::try_from(sentence.len()).unwrap_or(u16::MAX).to_le_bytes());
    if let Some((from, to)) = entry.moved {
        for count in [from, to] {
            packed.extend(u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
        }
    }
    packed.extend(code.bytes());
    packed.extend(sentence.bytes());
    packed
}

/// The first entry, and how many bytes it fills; `None` at the end.
fn unpack(bytes: &[u8]) -> Option<(Entry, usize)> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let [a, b, c, d, flags, code, low, high] = *head;
    let at = Timestamp::from_second(i64::from(u32::from_le_bytes([a, b, c, d]))).ok()?;
    let (code, sentence) = (usize::from(code), usize::from(u16::from_le_bytes([low, high])));
    let (moved, rest, counts) = if flags & MOVE == 0 {
        (None, rest, 0)
    } else {
        let (&[a, b, c, d], rest) = rest.split_first_chunk::<COUNTS>()?;
        let count = |low, high| u32::from(u16::from_le_bytes([low, high]));
        (Some((count(a, b), count(c, d))), rest, COUNTS)
    };
    let text =
        |from: usize, to: usize| Some(String::from_utf8_lossy(rest.get(from..to)?).into_owned());
    let entry = Entry {
        at,
        code: text(0, code)?,
        moved,
        is_warning: flags & WARNING != 0,
        sentence: text(code, code + sentence)?,
    };
    Some((entry, HEAD + counts + code + sentence))
}

/// At most so many bytes, mark included.
fn cut(text: &str, limit: usize, mark: &str) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit - mark.len());
    format!("{}{mark}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    fn entry(second: i64, sentence: &str) -> Entry {
        Entry {
            at: Timestamp::from_second(second).unwrap(),
            code: "ScaledUp".to_owned(),
            moved: Some((4, 9)),
            is_warning: false,
            sentence: sentence.to_owned(),
        }
    }

    #[test]
    fn what_was_packed_is_read_again() {
        let mut log = Log::default();
        let late = Entry { moved: None, is_warning: true, ..entry(20, "zu spät: 7 s of 5 s") };
        let all = [entry(10, "9 replicas: 100 messages wait"), late];
        for entry in &all {
            log.push(entry, LIMIT);
        }
        assert_eq!(log.entries(all[1].at), all);
    }

    #[test]
    fn it_never_fills_more_than_its_limit_and_the_oldest_makes_room() {
        let mut log = Log::default();
        for second in 0..5000 {
            let words = "ä".repeat(usize::try_from(second % 400).unwrap());
            log.push(&entry(second, &words), LIMIT);
            assert!(log.weight() <= LIMIT, "{} bytes", log.weight());
        }
        let seen = log.entries(Timestamp::from_second(5000).unwrap());
        assert_eq!(seen.last().unwrap().at.as_second(), 4999);
        assert!(seen.windows(2).all(|pair| pair[0].at < pair[1].at));
        assert!(seen.len() >= 2, "{seen:?}");
    }

    #[test]
    fn a_long_sentence_is_cut_with_a_mark() {
        let mut log = Log::default();
        log.push(&entry(1, &"ä".repeat(500)), LIMIT);
        let cut = &log.entries(Timestamp::from_second(1).unwrap())[0].sentence;
        assert!(cut.ends_with("ä…") && cut.len() <= SENTENCE, "{cut}");
    }

    #[test]
    fn what_is_older_than_a_day_is_forgotten() {
        let mut log = Log::default();
        log.push(&entry(0, "old"), LIMIT);
        let day = 24 * 3600;
        assert_eq!(log.entries(Timestamp::from_second(day).unwrap()).len(), 1);
        assert!(log.entries(Timestamp::from_second(day + 1).unwrap()).is_empty());
        log.push(&entry(day + 1, "new"), LIMIT);
        assert!(log.weight() <= 2 * pack(&entry(0, "new")).len());
    }

    #[test]
    fn the_past_is_put_before_the_present_and_told_once() {
        let mut log = Log::default();
        log.push(&entry(50, "present"), LIMIT);
        let past = vec![entry(40, "past"), entry(50, "present"), entry(30, "long past")];
        log.refill(past, Timestamp::from_second(60).unwrap(), LIMIT);
        let seen = log.entries(Timestamp::from_second(60).unwrap());
        let sentences: Vec<_> = seen.iter().map(|entry| entry.sentence.as_str()).collect();
        assert_eq!(sentences, ["long past", "past", "present"]);
    }
}
