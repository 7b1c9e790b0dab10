//! The picture of a pipeline as SVG: a card for each stage with its replicas, what waits, how late it is, and the bottleneck marked. Made
//! from the view that the API gives, laid out by `graph`; colours are classes of the page's style sheet.

use std::fmt::Write;

use super::attention::{Severity, severity_of};
use super::graph::{Flow, Layout, Line, Point, Sizes, layout};
use super::words::{cut, escaped, number, span};
use crate::answer::view::{Pipeline, Stage};

const SIZES: Sizes = Sizes { width: 212.0, height: 104.0, between: 48.0, beside: 26.0 };
/// Room around all, for the frame of the bottleneck and its word.
const MARGIN: f64 = 20.0;
const PAD: f64 = 14.0;
/// Letters of a name that fit on a card.
const LETTERS: usize = 19;

/// The picture, whole.
pub(super) fn picture(pipeline: &Pipeline, flow: Flow) -> String {
    let place = |name: &String| pipeline.stages.iter().position(|stage| stage.name == *name);
    let fed_by: Vec<Vec<usize>> = pipeline
        .stages
        .iter()
        .map(|stage| stage.after.iter().filter_map(place).collect())
        .collect();
    let Layout { width, height, places, lines } = layout(&fed_by, flow, SIZES);
    let (width, height) = (width + 2.0 * MARGIN, height + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"graph\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"{:.0} {:.0} {width:.0} {height:.0}\" role=\"group\" aria-label=\"stages of {}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n",
        -MARGIN,
        -MARGIN,
        escaped(&pipeline.name)
    );
    for line in &lines {
        let flows = pipeline.stages.get(line.to).and_then(|stage| stage.arrival_rate);
        svg.push_str(&connection(line, flow, flows.is_some_and(|rate| rate > 0.0)));
    }
    for (stage, place) in pipeline.stages.iter().zip(&places) {
        svg.push_str(&card(pipeline, stage, *place));
    }
    svg.push_str("</svg>\n");
    svg
}

/// A smooth line through the points, with its arrow's head at the end.
fn connection(line: &Line, flow: Flow, is_moving: bool) -> String {
    let mut path = String::new();
    let Some((first, rest)) = line.points.split_first() else { return path };
    let mut last = *first;
    // Writing to a string cannot fail.
    let _ = write!(path, "M{:.1},{:.1}", last.x, last.y);
    for point in rest {
        let (x, y) = (f64::midpoint(last.x, point.x), f64::midpoint(last.y, point.y));
        let _ = match flow {
            Flow::Right => write!(
                path,
                "C{x:.1},{:.1} {x:.1},{:.1} {:.1},{:.1}",
                last.y, point.y, point.x, point.y
            ),
            Flow::Down => write!(
                path,
                "C{:.1},{y:.1} {:.1},{y:.1} {:.1},{:.1}",
                last.x, point.x, point.x, point.y
            ),
        };
        last = *point;
    }
    let (x, y) = (last.x, last.y);
    let head = match flow {
        Flow::Right => format!("M{:.1},{:.1}l6,4.5l-6,4.5z", x - 6.0, y - 4.5),
        Flow::Down => format!("M{:.1},{:.1}l4.5,6l4.5,-6z", x - 4.5, y - 6.0),
    };
    let class = if is_moving { "edge moving" } else { "edge" };
    format!(
        "<path class=\"{class}\" fill=\"none\" stroke=\"#8a94a0\" stroke-width=\"1.5\" d=\"{path}\"/><path class=\"tip\" fill=\"#8a94a0\" d=\"{head}\"/>\n"
    )
}

fn card(pipeline: &Pipeline, stage: &Stage, Point { x, y }: Point) -> String {
    let is_bottleneck =
        1 < pipeline.stages.len() && pipeline.bottleneck.as_deref() == Some(&*stage.name);
    let mood = severity_of(stage).map_or("well", Severity::word);
    let Sizes { width, height, .. } = SIZES;
    let (left, right) = (x + PAD, x + width - PAD);
    let mut svg = format!(
        "<a class=\"node {mood}{}\" href=\"#/{}/{}/{}\" aria-label=\"{}\"><title>{}</title>",
        if is_bottleneck { " bottleneck" } else { "" },
        escaped(&pipeline.namespace),
        escaped(&pipeline.name),
        escaped(&stage.name),
        escaped(&aloud(stage, is_bottleneck)),
        escaped(&format!("{} · {}", stage.name, stage.target))
    );
    let mut text = |x: f64, y: f64, class: &str, anchor: &str, said: &str| {
        let _ = write!(
            svg,
            "<text class=\"{class}\" x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"{anchor}\" fill=\"currentColor\">{}</text>",
            escaped(said)
        );
    };
    if is_bottleneck {
        text(left, y - 7.0, "mark", "start", "bottleneck");
    }
    text(left, y + 26.0, "name", "start", &cut(&stage.name, LETTERS));
    text(right, y + 26.0, "count", "end", &replicas(stage));
    text(left, y + 48.0, "figure", "start", &waiting(stage));
    text(right, y + 48.0, "figure", "end", &rates(stage));
    text(left, y + 70.0, "figure delay", "start", &delay(stage));
    let track = right - left;
    let share = stage.delay_seconds.zip(stage.objective_seconds);
    let share = share.map(|(delay, objective)| (delay / objective.max(0.001)).clamp(0.0, 1.0));
    let frame = format!(
        "<rect class=\"card\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width}\" height=\"{height}\" rx=\"10\" fill=\"none\" stroke=\"#8a94a0\"/>"
    );
    let _ = write!(
        svg,
        "<rect class=\"track\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{track:.1}\" height=\"4\" rx=\"2\" fill=\"#8a94a0\" fill-opacity=\".25\"/>",
        y + 82.0
    );
    if let Some(share) = share {
        let _ = write!(
            svg,
            "<rect class=\"bar\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"4\" rx=\"2\" fill=\"#1f6feb\"/>",
            y + 82.0,
            track * share
        );
    }
    svg.push_str("</a>\n");
    // The frame lies under the words.
    svg.replacen("<text", &format!("{frame}<text"), 1)
}

fn replicas(stage: &Stage) -> String {
    let said = |count: Option<u32>| count.map_or_else(|| "–".to_owned(), |count| count.to_string());
    let counts = &stage.replicas;
    if counts.ready == counts.desired {
        said(counts.desired)
    } else {
        format!("{} of {}", said(counts.ready), said(counts.desired))
    }
}

#[expect(clippy::cast_precision_loss, reason = "four figures are shown")]
fn waiting(stage: &Stage) -> String {
    stage
        .lag
        .map_or_else(|| "lag unknown".to_owned(), |lag| format!("{} waiting", number(lag as f64)))
}

fn rates(stage: &Stage) -> String {
    stage.arrival_rate.map(|rate| format!("{}/s in", number(rate))).unwrap_or_default()
}

fn delay(stage: &Stage) -> String {
    let least = if stage.is_delay_at_least { "≥ " } else { "" };
    match (stage.delay_seconds, stage.objective_seconds) {
        (Some(delay), Some(objective)) => {
            format!("{least}{} of {}", span(delay), span(objective))
        }
        (Some(delay), None) => format!("{least}{} old", span(delay)),
        (None, Some(objective)) => format!("delay unknown, of {}", span(objective)),
        (None, None) => "no objective".to_owned(),
    }
}

/// The card for those who listen.
fn aloud(stage: &Stage, is_bottleneck: bool) -> String {
    let mark = if is_bottleneck { ", the bottleneck" } else { "" };
    format!(
        "stage {}{mark}: {} replicas, {}, {}",
        stage.name,
        replicas(stage),
        waiting(stage),
        delay(stage)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::view::Replicas;

    fn stage(name: &str, after: &[&str]) -> Stage {
        let replicas = Replicas { desired: Some(6), ready: Some(4), ..Replicas::default() };
        Stage {
            name: name.to_owned(),
            after: after.iter().map(|&name| name.to_owned()).collect(),
            replicas,
            lag: Some(1240),
            delay_seconds: Some(90.0),
            objective_seconds: Some(60.0),
            arrival_rate: Some(86.4),
            ..Stage::default()
        }
    }

    #[test]
    fn a_picture_shows_each_stage_and_marks_the_bottleneck() {
        let pipeline = Pipeline {
            namespace: "shop".to_owned(),
            name: "<orders>".to_owned(),
            bottleneck: Some("enrich".to_owned()),
            stages: vec![stage("parse", &[]), stage("enrich", &["parse"])],
            ..Pipeline::default()
        };
        let svg = picture(&pipeline, Flow::Right);
        assert!(
            svg.contains("class=\"node late bottleneck\" href=\"#/shop/&lt;orders&gt;/enrich\""),
            "{svg}"
        );
        assert!(svg.contains(">4 of 6</text>") && svg.contains(">1240 waiting</text>"), "{svg}");
        assert!(svg.contains(">90 s of 60 s</text>") && svg.contains(">86.4/s in</text>"), "{svg}");
        assert_eq!(svg.matches("class=\"edge moving\"").count(), 1);
        assert!(!svg.contains("<orders>") && !svg.contains("style="), "{svg}");
    }
}
