//! What the demo shows while it runs: a picture that is painted over itself on a terminal, one line now and then elsewhere. Painting
//! is pure, from a [`Frame`] to lines; [`Screen`] writes them. Filled by the story.

use std::io::{self, Write};
use std::time::Duration;

use crossterm::cursor::{Hide, MoveToColumn, MoveUp, Show};
use crossterm::style::Stylize as _;
use crossterm::terminal::{Clear, ClearType};
use crossterm::{QueueableCommand as _, queue};

/// How often a line is written where there is no terminal, unless something moves.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Columns of a picture when the terminal does not tell.
const COLUMNS: usize = 100;

/// What there is to see at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Time since the start.
    pub at: Duration,
    /// How long the run will last.
    pub length: Duration,
    /// How old an item may get.
    pub objective: Duration,
    /// What happens in the load now, in words.
    pub scene: String,
    /// Items a second that the load makes now.
    pub load: f64,
    /// Age of the oldest item that has not left the last stage.
    pub delay: Duration,
    /// The stages in flow order.
    pub stages: Vec<Stage>,
    /// Penstock's last event, and when it was.
    pub news: Option<(Duration, String)>,
    /// What to try in another terminal, a line each.
    pub hints: Vec<String>,
}

/// One stage at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Items waiting.
    pub lag: u64,
    /// Age of the oldest item that has not left it, from when it was made.
    pub delay: Duration,
    /// Items a second that arrived in the last second.
    pub arriving: f64,
    /// Items a second it did in the last second.
    pub doing: f64,
    /// Replicas asked for.
    pub desired: u32,
    /// Replicas that are Ready.
    pub ready: u32,
    /// Items a second of one replica, once Penstock has learned it.
    pub rate: Option<f64>,
    /// Why it has so many, in Penstock's words.
    pub reason: String,
}

/// Where frames go.
#[derive(Debug)]
pub struct Screen<W: Write> {
    out: W,
    /// Lines of the picture that stands, or `None` where lines are written once and for all.
    standing: Option<u16>,
    trail: Trail,
    last: Option<Frame>,
}

impl<W: Write> Screen<W> {
    /// A terminal, painted over; hides the cursor until dropped.
    pub fn painted(mut out: W) -> io::Result<Self> {
        out.queue(Hide)?.flush()?;
        Ok(Self { out, standing: Some(0), trail: Trail::default(), last: None })
    }

    /// Anything else: plain lines.
    pub fn plain(out: W) -> Self {
        Self { out, standing: None, trail: Trail::default(), last: None }
    }

    /// Writes lines that stay, below the picture if there is one, which then stays too.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        self.standing = self.standing.map(|_| 0);
        writeln!(self.out, "{}", text.trim_end())?;
        self.out.flush()
    }

    /// Shows a frame.
    pub fn show(&mut self, frame: &Frame) -> io::Result<()> {
        self.trail.add(frame);
        if self.standing.is_some() { self.paint(frame) } else { self.tell(frame) }
    }

    fn paint(&mut self, frame: &Frame) -> io::Result<()> {
        let columns =
            crossterm::terminal::size().map_or(COLUMNS, |(columns, _)| usize::from(columns));
        let lines = paint(frame, &self.trail, columns);
        let standing = self.standing.replace(u16::try_from(lines.len()).unwrap_or(u16::MAX));
        if let Some(standing) = standing.filter(|lines| *lines > 0) {
            queue!(self.out, MoveUp(standing), MoveToColumn(0), Clear(ClearType::FromCursorDown))?;
        }
        for (number, line) in lines.iter().enumerate() {
            match number {
                1 => writeln!(self.out, "{}", line.as_str().bold())?,
                _ => writeln!(self.out, "{line}")?,
            }
        }
        self.out.flush()
    }

    fn tell(&mut self, frame: &Frame) -> io::Result<()> {
        let last = self.last.take();
        let is_new_scene = last.as_ref().is_none_or(|last| last.scene != frame.scene);
        let is_news = last.as_ref().is_some_and(|last| last.news != frame.news);
        if let Some(last) = last {
            if !is_new_scene && !is_news && frame.at < last.at + LINE_EVERY {
                self.last = Some(last);
                return Ok(());
            }
        } else {
            writeln!(self.out, "{}", frame.hints.join("\n"))?;
        }
        let at = clock(frame.at);
        if is_new_scene {
            writeln!(self.out, "{at} {}", frame.scene)?;
        }
        if let Some((_, note)) = frame.news.as_ref().filter(|_| is_news) {
            writeln!(self.out, "{at} {note}")?;
        }
        for stage in &frame.stages {
            writeln!(self.out, "{at} {}", line(stage))?;
        }
        self.last = Some(frame.clone());
        self.out.flush()
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        if self.standing.is_some() {
            // A terminal that is gone needs no cursor.
            let _gone = queue!(self.out, Show).and_then(|()| self.out.flush());
        }
    }
}

/// The past of what is drawn as curves: the highest of each second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trail(Vec<[f64; 3]>);

/// Where a curve stands in a sample.
const LOAD: usize = 0;
const DELAY: usize = 1;
const REPLICAS: usize = 2;

impl Trail {
    /// Takes a frame in. Seconds without a frame repeat the last.
    pub fn add(&mut self, frame: &Frame) {
        let replicas: u32 = frame.stages.iter().map(|stage| stage.desired).sum();
        let sample = [frame.load, frame.delay.as_secs_f64(), f64::from(replicas)];
        let second = usize::try_from(frame.at.as_secs()).unwrap_or(usize::MAX);
        if let Some(known) = self.0.get_mut(second) {
            for (known, new) in known.iter_mut().zip(sample) {
                *known = known.max(new);
            }
        } else {
            let last = self.0.last().copied().unwrap_or(sample);
            self.0.resize(second, last);
            self.0.push(sample);
        }
    }

    /// One curve as bars, `top` being a full one (or the highest, if that is higher), the whole run being `width` wide.
    fn curve(&self, which: usize, top: f64, length: Duration, width: usize) -> String {
        const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let each = usize::try_from(length.as_secs()).unwrap_or(0).div_ceil(width.max(1)).max(1);
        let highest =
            |samples: &[[f64; 3]]| samples.iter().map(|sample| sample[which]).fold(0.0, f64::max);
        let top = highest(&self.0).max(top);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
        let bar = |samples| BARS[(highest(samples) / top * 8.0).ceil().clamp(0.0, 8.0) as usize];
        self.0.chunks(each).map(bar).collect()
    }
}

/// The picture: what to print, line by line, none wider than `columns`. A cut sentence ends in an ellipsis.
pub fn paint(frame: &Frame, trail: &Trail, columns: usize) -> Vec<String> {
    let objective = frame.objective.as_secs();
    let (at, length) = (clock(frame.at), clock(frame.length));
    let mut lines = vec![
        format!("penstock demo, {at} of {length}. Objective: no item older than {objective} s."),
        frame.scene.clone(),
        String::new(),
        format!(
            "{:<10}{:>8}{:>9}{:>7}{:>7}{:>14}{:>13}",
            "STAGE", "LAG", "DELAY", "IN/S", "OUT/S", "READY/WANTED", "PER REPLICA"
        ),
    ];
    for stage in &frame.stages {
        let replicas = format!("{}/{}", stage.ready, stage.desired);
        let delay = format!("{:.1} s", stage.delay.as_secs_f64());
        let rate = stage.rate.map_or_else(|| "unknown".to_owned(), |rate| format!("{rate:.1}/s"));
        lines.push(format!(
            "{:<10}{:>8}{delay:>9}{:>7.0}{:>7.0}{replicas:>14}{rate:>13}",
            stage.name, stage.lag, stage.arriving, stage.doing
        ));
        lines.push(format!("  {}", stage.reason));
    }
    let replicas: u32 = frame.stages.iter().map(|stage| stage.desired).sum();
    let curves = [
        (LOAD, "load", format!("{:.0}/s", frame.load), 1.0),
        (
            DELAY,
            "delay",
            format!("{:.1} s", frame.delay.as_secs_f64()),
            frame.objective.as_secs_f64(),
        ),
        (REPLICAS, "replicas", replicas.to_string(), 1.0),
    ];
    let width = columns.saturating_sub(22);
    lines.push(String::new());
    for (which, name, now, top) in curves {
        lines.push(format!("{name:<10}{now:>9}  {}", trail.curve(which, top, frame.length, width)));
    }
    lines.push(String::new());
    if let Some((when, note)) = &frame.news {
        lines.extend([
            format!("Event, {} s ago: {note}", frame.at.saturating_sub(*when).as_secs()),
            String::new(),
        ]);
    }
    lines.extend(frame.hints.iter().cloned());
    lines.push("Ctrl-C stops.".to_owned());
    lines.iter().map(|line| cut(line, columns)).collect()
}

fn cut(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    line.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

/// One stage on one line.
fn line(stage: &Stage) -> String {
    let Stage { name, lag, arriving, doing, desired, ready, reason, .. } = stage;
    let delay = stage.delay.as_secs_f64();
    let mut line = format!(
        "{name}: lag {lag}, delay {delay:.1} s, in {arriving:.0}/s, out {doing:.0}/s, {ready} of {desired} replicas ready"
    );
    if !reason.is_empty() {
        line = format!("{line}; {reason}");
    }
    line
}

/// Minutes and seconds.
pub(super) fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
