//! A JSON path (RFC 9535), walked over a document with a bound on the work. Called by `http.rs`, and by those who check what was written.
//!
//! A library reads the path. It is walked here, since a short path can lead to more places of a document than memory has room for
//! (`$..*..*..*`), and the library writes down the whole way to each.

use std::collections::BTreeMap;

use jsonpath_rust::parser::model::{JpQuery, Segment, Selector};
use jsonpath_rust::parser::parse_json_path;
use regex::Regex;
use serde_json::Value as Json;

mod filter;

/// Places that one path may look at in one document; a plain path through all of 1 MiB takes fewer.
const STEPS: usize = 2_000_000;
/// Brackets and parentheses may stand in one another so deep: the library tries each function in several ways, and so all inside it.
const DEPTH: usize = 8;

/// A path that was understood.
#[derive(Debug)]
pub(super) struct Path(JpQuery);

/// The path looks at too many places of the document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// What is wrong with a path, if anything.
pub fn fault(text: &str) -> Option<String> {
    Path::new(text).err()
}

impl Path {
    /// Understands a path, or says why not.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if DEPTH < depth(text) {
            return Err(format!("has brackets in one another deeper than {DEPTH}"));
        }
        let path = parse_json_path(text).map_err(|error| {
            let what = error.to_string();
            format!("is no JSON path (RFC 9535): {}", what.lines().next().unwrap_or_default())
        })?;
        Ok(Self(path))
    }

    /// Where it leads in a document.
    pub(super) fn walk<'a>(&self, document: &'a Json) -> Result<Vec<&'a Json>, TooMuch> {
        let mut walk = Walk { root: document, left: STEPS, patterns: BTreeMap::new() };
        walk.places(document, &self.0.segments)
    }
}

/// How deep brackets and parentheses stand in one another; those in a text do not count.
fn depth(text: &str) -> usize {
    let (mut depth, mut most, mut quote) = (0_usize, 0, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (Some(_) | None, _) => {}
        }
        most = most.max(depth);
    }
    most
}

/// One walk.
struct Walk<'a> {
    root: &'a Json,
    /// Steps that it still has.
    left: usize,
    /// Patterns that were met, ready; none where one is no pattern.
    patterns: BTreeMap<String, Option<Regex>>,
}

impl<'a> Walk<'a> {
    fn step(&mut self, steps: usize) -> Result<(), TooMuch> {
        self.left = self.left.checked_sub(steps).ok_or(TooMuch)?;
        Ok(())
    }

    /// A step that looks at a text.
    fn read(&mut self, text: &str) -> Result<(), TooMuch> {
        self.step(1 + text.len() / 16)
    }

    fn places(&mut self, from: &'a Json, segments: &[Segment]) -> Result<Vec<&'a Json>, TooMuch> {
        let mut places = vec![from];
        for segment in segments {
            places = self.segment(places, segment)?;
        }
        Ok(places)
    }

    fn segment(
        &mut self,
        from: Vec<&'a Json>,
        segment: &Segment,
    ) -> Result<Vec<&'a Json>, TooMuch> {
        match segment {
            Segment::Descendant(inner) => {
                let all = self.descend(from)?;
                self.segment(all, inner)
            }
            Segment::Selector(selector) => self.select(&from, std::slice::from_ref(selector)),
            Segment::Selectors(selectors) => self.select(&from, selectors),
        }
    }

    /// These and all lists and objects below them.
    fn descend(&mut self, from: Vec<&'a Json>) -> Result<Vec<&'a Json>, TooMuch> {
        let (mut open, mut all) = (from, Vec::new());
        while let Some(place) = open.pop() {
            self.step(1)?;
            if place.is_array() || place.is_object() {
                all.push(place);
                for child in children(place) {
                    self.step(1)?;
                    open.push(child);
                }
            }
        }
        Ok(all)
    }

    fn select(
        &mut self,
        from: &[&'a Json],
        selectors: &[Selector],
    ) -> Result<Vec<&'a Json>, TooMuch> {
        let mut found = Vec::new();
        for place in from {
            for selector in selectors {
                self.step(1)?;
                match selector {
                    Selector::Name(name) => found.extend(place.get(name)),
                    Selector::Index(index) => found.extend(at(place, *index)),
                    Selector::Wildcard => {
                        for child in children(place) {
                            self.step(1)?;
                            found.push(child);
                        }
                    }
                    Selector::Slice(start, end, step) => {
                        self.slice(place, (*start, *end, *step), &mut found)?;
                    }
                    Selector::Filter(filter) => {
                        for child in children(place) {
                            if self.holds(filter, child)? {
                                found.push(child);
                            }
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    /// Every so-many-th of a list (RFC 9535 section 2.3.4.2.2).
    fn slice(
        &mut self,
        place: &'a Json,
        (start, end, step): (Option<i64>, Option<i64>, Option<i64>),
        found: &mut Vec<&'a Json>,
    ) -> Result<(), TooMuch> {
        let (Some(list), step) = (place.as_array(), step.unwrap_or(1)) else { return Ok(()) };
        let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
        let normal = |at: i64| if at < 0 { length.saturating_add(at) } else { at };
        let (mut index, end) = match step {
            0 => return Ok(()),
            1.. => (
                start.map_or(0, normal).clamp(0, length),
                end.map_or(length, normal).clamp(0, length),
            ),
            _ => (
                start.map_or(length - 1, normal).clamp(-1, length - 1),
                end.map_or(-1, normal).clamp(-1, length - 1),
            ),
        };
        while if 0 < step { index < end } else { end < index } {
            self.step(1)?;
            found.extend(usize::try_from(index).ok().and_then(|index| list.get(index)));
            index = index.saturating_add(step);
        }
        Ok(())
    }
}

/// What stands in a list or an object.
fn children(of: &Json) -> Box<dyn Iterator<Item = &Json> + '_> {
    match of {
        Json::Array(list) => Box::new(list.iter()),
        Json::Object(object) => Box::new(object.values()),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            Box::new(std::iter::empty())
        }
    }
}

/// An item of a list, from its end where the index is negative.
fn at(list: &Json, index: i64) -> Option<&Json> {
    let list = list.as_array()?;
    let far = usize::try_from(index.unsigned_abs()).ok()?;
    list.get(if index < 0 { list.len().checked_sub(far)? } else { far })
}

#[cfg(test)]
mod tests {
    use jsonpath_rust::JsonPath;
    use serde_json::json;

    use super::*;

    /// Paths, with semicolons between.
    const PATHS: &str = r"
$ ; $.most ; $['it\'s'][1][1][0] ; $.queues[0].depth ; $.queues[-1].depth ; $.queues[9] ; $.queues[-9] ; $.queues[*].depth ; $.* ; $..depth ; $..*
 ; $..[0] ; $.queues..tags[*] ; $.queues[0,2].name ; $.queues[0]['name','depth'] ; $.queues[1:].name ; $.queues[:2].name ; $.queues[::2].name
 ; $.queues[::-1].name ; $.queues[-2:].name ; $.queues[5:1:-1].name ; $.queues[0:3:0] ; $.most[0] ; $.most.x ; $.queues.name
 ; $.queues[?@.name == 'a'].depth ; $.queues[?@.depth > 3].name ; $.queues[?@.depth >= 7 && @.is].name ; $.queues[?@.depth < 7 || @.is == true].name
 ; $.queues[?!@.gone].name ; $.queues[?@.gone].name ; $.queues[?@.gone == null].name ; $.queues[?@.none == @.other].name
 ; $.queues[?@.depth == $.most].name ; $.queues[?@.depth != $.most].name ; $.queues[?@.depth <= $.most].name ; $.queues[?!(@.depth > 3)].name
 ; $.queues[?length(@.name) == 3].name ; $.queues[?length(@.tags) >= 1].name ; $.queues[?count(@.tags[*]) == 2].name
 ; $.queues[?match(@.name, 'b.c')].depth ; $.queues[?match(@.name, 'b\\.c')].depth ; $.queues[?search(@.name, '^b')].depth
 ; $.queues[?match(@.name, 'b')] ; $.queues[?@.of == $.deep.deep.of].name ; $.queues[?value(@..n) == 1].name ; $.queues[?@.tags[?@ == 'y']].name
 ; $.queues[?@.name > 'a'].depth ; $.queues[?@.tags == @.tags].name ; $.queues[?search(@.name, '(')] ; $[?@.deep].deep.depth ; $.queues[?$.most].name
 ; $.queues[?@.depth == 7.0].name
";

    #[test]
    fn it_leads_where_the_library_leads() {
        let document = json!({
            "queues": [
                {"name": "a", "depth": 3, "tags": ["x", "y"], "of": {"n": 1}},
                {"name": "b.c", "depth": 7, "tags": [], "gone": null},
                {"name": "bxc", "depth": 7.5, "tags": ["y"], "is": true},
            ],
            "most": 7, "name": "a", "deep": {"deep": {"depth": 9, "of": {"n": 1}}}, "it's": [1, [2, [3]]],
        });
        for path in PATHS.split(" ; ").map(str::trim) {
            let sorted = |found: Vec<&Json>| {
                let mut found: Vec<String> = found.into_iter().map(ToString::to_string).collect();
                found.sort();
                found
            };
            let found = Path::new(path).unwrap().walk(&document).unwrap();
            assert_eq!(sorted(found), sorted(document.query(path).unwrap()), "{path}");
        }
    }

    #[test]
    fn what_takes_too_much_ends_soon() {
        let mut nested = json!([1, 1, 1, 1, 1, 1, 1, 1]);
        for _ in 0..5 {
            nested = Json::Array(vec![nested; 8]);
        }
        let item = json!({"a": "x".repeat(1000)});
        let long = json!({"k".repeat(300_000): vec![1; 300_000], "is": vec![item; 300]});
        let walk = |path: &str, document: &Json| {
            Path::new(path).unwrap().walk(document).map(|it| it.len())
        };
        assert_eq!(walk("$..*..*..*..*", &nested), Err(TooMuch));
        assert_eq!(walk("$[*,*,*,*][*,*,*,*][*,*,*,*][*,*,*,*][*,*,*,*]", &nested), Err(TooMuch));
        assert_eq!(walk("$[?count($..*) > 0]", &nested), Err(TooMuch));
        assert_eq!(walk("$.is[?match(@.a, '(x{200}){200}')]", &long), Err(TooMuch));
        // A document full of places, under a long name, is walked all the same.
        assert_eq!(walk("$.*[*]", &long), Ok(300_300));
        assert_eq!(walk("$..a", &long), Ok(300));
    }

    #[test]
    fn what_is_no_path_or_too_deep_is_told() {
        for bad in ["", "a", "$.", "$["] {
            assert!(fault(bad).unwrap().starts_with("is no JSON path (RFC 9535): "), "{bad}");
        }
        // The library would try each of these in three ways.
        let deep = format!("$[?{}@.a{}", "length(".repeat(100), ")".repeat(99));
        assert!(fault(&deep).unwrap().contains("deeper than 8"));
        assert_eq!(fault("$['((((((((((((', \"[[[[[[[[[\"].a[?(@.b == ')')]"), None);
    }
}
