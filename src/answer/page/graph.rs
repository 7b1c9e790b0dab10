//! Where the stages of a pipeline stand in its picture, and how the lines between them run: layers by the longest way from the start, fewer
//! crossings by barycentres, and each stage as near to its neighbours as order and room allow. Pure; `draw` makes the picture of it.
//!
//! After Sugiyama, Tagawa and Toda (1981); the last step is an isotonic regression (pool adjacent violators), which is exact.

/// Which way the data flows in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// From left to right.
    Right,
    /// From top to bottom, for narrow screens.
    Down,
}

/// Sizes, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sizes {
    /// Width of a stage.
    pub(super) width: f64,
    /// Its height.
    pub(super) height: f64,
    /// Room between two layers.
    pub(super) between: f64,
    /// Room between two stages of a layer.
    pub(super) beside: f64,
}

/// A point, in pixels from the left and from the top.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// The line from one stage to a later one: where it leaves, where it passes, where it arrives.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) points: Vec<Point>,
}

/// Where everything is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    /// The upper left corner of each stage.
    pub(super) places: Vec<Point>,
    pub(super) lines: Vec<Line>,
}

/// Sweeps over the layers, there and back: more hardly ever change anything.
const SWEEPS: usize = 6;
/// Room for a line that passes through a layer.
const PASSAGE: f64 = 14.0;

/// A stage, or a line on its way through a layer.
#[derive(Debug, Clone)]
struct Knot {
    layer: usize,
    /// Half of what it fills across the flow.
    half: f64,
    before: Vec<usize>,
    after: Vec<usize>,
    /// Its middle, across the flow.
    middle: f64,
}

/// Lays out stages, each with the indices of those that feed it; all smaller than its own, what is not is left out.
pub(super) fn layout(fed_by: &[Vec<usize>], flow: Flow, sizes: Sizes) -> Layout {
    if fed_by.is_empty() {
        return Layout::default();
    }
    let (along, across) = match flow {
        Flow::Right => (sizes.width, sizes.height),
        Flow::Down => (sizes.height, sizes.width),
    };
    let (mut knots, ways) = knots(fed_by, across);
    let mut layers = layered(&knots);
    order(&mut knots, &mut layers);
    settle(&mut knots, &layers, sizes.beside);

    let least = knots.iter().map(|it| it.middle - it.half).fold(f64::INFINITY, f64::min);
    let most = knots.iter().map(|it| it.middle + it.half).fold(f64::NEG_INFINITY, f64::max);
    let start = |layer: usize| count(layer) * (along + sizes.between);
    let point = |along: f64, across: f64| match flow {
        Flow::Right => Point { x: along, y: across - least },
        Flow::Down => Point { x: across - least, y: along },
    };
    let stages = knots.iter().take(fed_by.len());
    let places = stages.map(|it| point(start(it.layer), it.middle - it.half)).collect();
    let lines = ways.into_iter().map(|(from, passes, to)| {
        let mut points = vec![point(start(knots[from].layer) + along, knots[from].middle)];
        for pass in passes {
            // Straight through the layer, so that it does not bend behind a stage.
            for place in [0.0, along] {
                points.push(point(start(knots[pass].layer) + place, knots[pass].middle));
            }
        }
        points.push(point(start(knots[to].layer), knots[to].middle));
        Line { from, to, points }
    });
    let lines = lines.collect();
    let length = start(layers.len() - 1) + along;
    let (width, height) = match flow {
        Flow::Right => (length, most - least),
        Flow::Down => (most - least, length),
    };
    Layout { width, height, places, lines }
}

/// The stages and the passages of long lines; and each line as its two ends and what it passes.
type Ways = Vec<(usize, Vec<usize>, usize)>;

fn knots(fed_by: &[Vec<usize>], across: f64) -> (Vec<Knot>, Ways) {
    let mut knots: Vec<Knot> = Vec::with_capacity(fed_by.len());
    for (index, feeders) in fed_by.iter().enumerate() {
        let feeders = feeders.iter().filter(|&&feeder| feeder < index);
        let layer = feeders.map(|&feeder| knots[feeder].layer + 1).max().unwrap_or(0);
        let half = across / 2.0;
        knots.push(Knot { layer, half, before: Vec::new(), after: Vec::new(), middle: 0.0 });
    }
    let mut ways = Vec::new();
    for (to, feeders) in fed_by.iter().enumerate() {
        for &from in feeders.iter().filter(|&&feeder| feeder < to) {
            let mut last = from;
            let mut passes = Vec::new();
            for layer in knots[from].layer + 1..knots[to].layer {
                let pass = knots.len();
                let half = PASSAGE / 2.0;
                knots.push(Knot {
                    layer,
                    half,
                    before: vec![last],
                    after: Vec::new(),
                    middle: 0.0,
                });
                knots[last].after.push(pass);
                passes.push(pass);
                last = pass;
            }
            knots[last].after.push(to);
            knots[to].before.push(last);
            ways.push((from, passes, to));
        }
    }
    (knots, ways)
}

fn layered(knots: &[Knot]) -> Vec<Vec<usize>> {
    let last = knots.iter().map(|knot| knot.layer).max().unwrap_or(0);
    let mut layers = vec![Vec::new(); last + 1];
    for (index, knot) in knots.iter().enumerate() {
        layers[knot.layer].push(index);
    }
    layers
}

/// Brings each layer into the order of the middles of its neighbours; of all orders seen the one with the fewest crossings stays.
fn order(knots: &mut [Knot], layers: &mut [Vec<usize>]) {
    let mut best = layers.to_vec();
    let mut fewest = crossings(knots, layers);
    for sweep in 0..SWEEPS {
        let is_forth = sweep % 2 == 0;
        let mut sequence: Vec<usize> = (0..layers.len()).collect();
        if !is_forth {
            sequence.reverse();
        }
        for at in sequence {
            number(knots, layers);
            let place = |index: usize| {
                let knot = &knots[index];
                let near = if is_forth { &knot.before } else { &knot.after };
                mean(near.iter().map(|&it| knots[it].middle)).unwrap_or(knot.middle)
            };
            let mut keyed: Vec<(f64, usize)> =
                layers[at].iter().map(|&index| (place(index), index)).collect();
            // Stable: equals stay as they were written.
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            layers[at] = keyed.into_iter().map(|(_, index)| index).collect();
        }
        let now = crossings(knots, layers);
        if now < fewest {
            (fewest, best) = (now, layers.to_vec());
        }
    }
    layers.clone_from_slice(&best);
}

/// Writes each knot's place in its layer into its middle, relative to the middle of the layer.
fn number(knots: &mut [Knot], layers: &[Vec<usize>]) {
    for layer in layers {
        for (place, &index) in layer.iter().enumerate() {
            knots[index].middle = count(place) - count(layer.len() - 1) / 2.0;
        }
    }
}

/// How many pairs of lines cross between neighbouring layers.
fn crossings(knots: &[Knot], layers: &[Vec<usize>]) -> usize {
    let mut found = 0;
    for pair in layers.windows(2) {
        let place = |index: usize| pair[1].iter().position(|&it| it == index).unwrap_or(0);
        let mut lines: Vec<(usize, usize)> = Vec::new();
        for (from, &index) in pair[0].iter().enumerate() {
            lines.extend(knots[index].after.iter().map(|&to| (from, place(to))));
        }
        for (at, a) in lines.iter().enumerate() {
            found += lines[at + 1..]
                .iter()
                .filter(|b| (a.0 < b.0 && b.1 < a.1) || (b.0 < a.0 && a.1 < b.1))
                .count();
        }
    }
    found
}

/// Moves each knot to the middle of its neighbours, as near as the order and the room between allow.
fn settle(knots: &mut [Knot], layers: &[Vec<usize>], beside: f64) {
    number(knots, layers);
    let spread = knots.iter().map(|knot| 2.0 * knot.half).fold(0.0, f64::max) + beside;
    for knot in knots.iter_mut() {
        knot.middle *= spread;
    }
    for sweep in 0..2 * SWEEPS {
        for at in 0..layers.len() {
            let at = if sweep % 2 == 0 { at } else { layers.len() - 1 - at };
            let layer = &layers[at];
            let mut offset = 0.0;
            let mut offsets = Vec::with_capacity(layer.len());
            for (place, &index) in layer.iter().enumerate() {
                if place > 0 {
                    offset += knots[layer[place - 1]].half + knots[index].half + beside;
                }
                offsets.push(offset);
            }
            let wish = |&index: &usize| {
                let knot = &knots[index];
                let near = knot.before.iter().chain(&knot.after);
                mean(near.map(|&it| knots[it].middle)).unwrap_or(knot.middle)
            };
            let wishes: Vec<f64> =
                layer.iter().zip(&offsets).map(|(index, offset)| wish(index) - offset).collect();
            for ((&index, offset), place) in layer.iter().zip(&offsets).zip(ascending(&wishes)) {
                knots[index].middle = place + offset;
            }
        }
    }
}

/// The ascending values nearest to these, by least squares.
fn ascending(values: &[f64]) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for &value in values {
        let mut pool = (value, 1);
        while let Some(&(before, size)) = pools.last().filter(|last| last.0 > pool.0) {
            pools.pop();
            let all = size + pool.1;
            pool = ((before * count(size) + pool.0 * count(pool.1)) / count(all), all);
        }
        pools.push(pool);
    }
    pools.into_iter().flat_map(|(value, size)| std::iter::repeat_n(value, size)).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, size) = values.fold((0.0, 0), |(sum, size), value| (sum + value, size + 1));
    (0 < size).then(|| sum / count(size))
}

#[expect(clippy::cast_precision_loss, reason = "a pipeline has at most 32 stages")]
fn count(of: usize) -> f64 {
    of as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { width: 200.0, height: 80.0, between: 60.0, beside: 20.0 };

    fn right(fed_by: &[&[usize]]) -> Layout {
        let fed_by: Vec<Vec<usize>> = fed_by.iter().map(|it| it.to_vec()).collect();
        layout(&fed_by, Flow::Right, SIZES)
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 0.01
    }

    #[test]
    fn a_chain_is_a_straight_line() {
        let seen = right(&[&[], &[0], &[1]]);
        assert!(seen.places.iter().all(|place| near(place.y, 0.0)), "{seen:?}");
        let columns: Vec<f64> = seen.places.iter().map(|place| place.x).collect();
        assert_eq!(columns, [0.0, 260.0, 520.0]);
        assert!(near(seen.width, 720.0) && near(seen.height, 80.0));
        assert_eq!(
            seen.lines[0].points,
            [Point { x: 200.0, y: 40.0 }, Point { x: 260.0, y: 40.0 }]
        );
    }

    #[test]
    fn a_fork_and_its_join_are_even_on_both_sides() {
        let seen = right(&[&[], &[0], &[0], &[1, 2]]);
        let [start, up, down, end] = seen.places[..] else { panic!("{seen:?}") };
        assert!(near(start.y, end.y), "{seen:?}");
        assert!(near(start.y - up.y, down.y - start.y), "{seen:?}");
        assert!(down.y - up.y >= 100.0 - 0.01, "{seen:?}");
    }

    #[test]
    fn a_line_past_a_layer_does_not_run_through_its_stages() {
        let seen = right(&[&[], &[0], &[0, 1]]);
        let long = seen.lines.iter().find(|line| (line.from, line.to) == (0, 2)).unwrap();
        assert_eq!(long.points.len(), 4);
        let between = seen.places[1];
        for passing in &long.points[1..3] {
            assert!(
                passing.y < between.y || between.y + 80.0 < passing.y,
                "it passes at {passing:?} through {between:?}"
            );
        }
    }

    #[test]
    fn lines_that_need_not_cross_do_not() {
        // Written in an order that would cross.
        let seen = right(&[&[], &[], &[1], &[0]]);
        let up = |index: usize| seen.places[index].y;
        assert_eq!(up(0) < up(1), up(3) < up(2), "{seen:?}");
    }

    #[test]
    fn nothing_overlaps_and_all_is_inside_in_both_flows() {
        let wide: Vec<Vec<usize>> = (0..32)
            .map(|at: usize| (0..at).filter(|it| (it * 7 + at * 3).is_multiple_of(11)).collect())
            .collect();
        for flow in [Flow::Right, Flow::Down] {
            let seen = layout(&wide, flow, SIZES);
            for (at, a) in seen.places.iter().enumerate() {
                assert!(
                    a.x >= -0.01 && a.x + 200.0 <= seen.width + 0.01,
                    "{a:?} in {}",
                    seen.width
                );
                assert!(
                    a.y >= -0.01 && a.y + 80.0 <= seen.height + 0.01,
                    "{a:?} in {}",
                    seen.height
                );
                for b in &seen.places[at + 1..] {
                    let apart = (a.x - b.x).abs() >= 199.9 || (a.y - b.y).abs() >= 79.9;
                    assert!(apart, "{a:?} lies on {b:?}");
                }
            }
        }
    }

    #[test]
    fn an_edge_to_nowhere_is_left_out() {
        assert_eq!(right(&[&[0, 7]]).lines, []);
        assert_eq!(right(&[]), Layout::default());
    }
}
