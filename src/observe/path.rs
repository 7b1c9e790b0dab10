//! A JSON path (RFC 9535), walked over a document with a bound on the work. Called by `http.rs`, and by those who check what was written.
//!
//! A library reads the path. It is walked here, since a short path can lead to more places of a document than memory has room for
//! (`$..*..*..*`), and the library writes down the whole way to each.

use std::collections::BTreeMap;

use jsonpath_rust::parser::model::{
    Comparable, Comparison, Filter, FilterAtom, FnArg, JpQuery, Literal, Segment, Selector,
    SingularQuery, SingularQuerySegment, Test, TestFunction,
};
use jsonpath_rust::parser::parse_json_path;
use regex::{Regex, RegexBuilder};
use serde_json::Value as Json;

/// Places that one path may look at in one document; a plain path through all of 1 MiB takes fewer.
const STEPS: usize = 2_000_000;
/// What a pattern costs to be made ready, in steps.
const PATTERN: usize = 20_000;
/// A pattern may take so many bytes once it is ready.
const PATTERN_SIZE: usize = 1 << 18;
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
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (None, _) => {}
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

/// What a part of a filter stands for.
enum Worth<'a> {
    Nothing,
    There(&'a Json),
    Made(Json),
    Truth(bool),
}

impl Worth<'_> {
    fn json(&self) -> Option<&Json> {
        match self {
            Self::There(json) => Some(json),
            Self::Made(json) => Some(json),
            Self::Nothing | Self::Truth(_) => None,
        }
    }
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

    fn holds(&mut self, filter: &Filter, item: &'a Json) -> Result<bool, TooMuch> {
        self.step(1)?;
        match filter {
            Filter::Or(any) => {
                for one in any {
                    if self.holds(one, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Filter::And(all) => {
                for one in all {
                    if !self.holds(one, item)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Filter::Atom(FilterAtom::Filter { expr, not }) => Ok(self.holds(expr, item)? != *not),
            Filter::Atom(FilterAtom::Test { expr, not }) => Ok(self.is_there(expr, item)? != *not),
            Filter::Atom(FilterAtom::Comparison(comparison)) => self.compare(comparison, item),
        }
    }

    fn is_there(&mut self, test: &Test, item: &'a Json) -> Result<bool, TooMuch> {
        match test {
            Test::RelQuery(segments) => Ok(!self.places(item, segments)?.is_empty()),
            Test::AbsQuery(path) => Ok(!self.places(self.root, &path.segments)?.is_empty()),
            Test::Function(function) => {
                Ok(matches!(self.function(function, item)?, Worth::Truth(true) | Worth::There(_)))
            }
        }
    }

    fn compare(&mut self, comparison: &Comparison, item: &'a Json) -> Result<bool, TooMuch> {
        let (left, right) = comparison.vals();
        let (left, right) = (self.worth(left, item)?, self.worth(right, item)?);
        let (left, right) = (left.json(), right.json());
        match comparison {
            Comparison::Eq(..) => self.is_same(left, right),
            Comparison::Ne(..) => Ok(!self.is_same(left, right)?),
            Comparison::Lt(..) => self.is_less(left, right),
            Comparison::Gt(..) => self.is_less(right, left),
            Comparison::Lte(..) => Ok(self.is_less(left, right)? || self.is_same(left, right)?),
            Comparison::Gte(..) => Ok(self.is_less(right, left)? || self.is_same(left, right)?),
        }
    }

    fn worth(&mut self, of: &Comparable, item: &'a Json) -> Result<Worth<'a>, TooMuch> {
        let (from, segments) = match of {
            Comparable::Literal(literal) => return Ok(Worth::Made(literal_json(literal))),
            Comparable::Function(function) => return self.function(function, item),
            Comparable::SingularQuery(SingularQuery::Current(segments)) => (item, segments),
            Comparable::SingularQuery(SingularQuery::Root(segments)) => (self.root, segments),
        };
        let mut place = Some(from);
        for segment in segments {
            self.step(1)?;
            place = place.and_then(|place| match segment {
                SingularQuerySegment::Name(name) => place.get(name),
                SingularQuerySegment::Index(index) => at(place, *index),
            });
        }
        Ok(place.map_or(Worth::Nothing, Worth::There))
    }

    fn function(&mut self, of: &TestFunction, item: &'a Json) -> Result<Worth<'a>, TooMuch> {
        self.step(1)?;
        Ok(match of {
            TestFunction::Count(of) => Worth::Made(self.all(of, item)?.len().into()),
            TestFunction::Value(of) => match self.all(of, item)?[..] {
                [one] => Worth::There(one),
                _ => Worth::Nothing,
            },
            TestFunction::Length(of) => match self.argument(of, item)?.json() {
                Some(Json::String(text)) => {
                    self.read(text)?;
                    Worth::Made(text.chars().count().into())
                }
                Some(Json::Array(list)) => Worth::Made(list.len().into()),
                Some(Json::Object(object)) => Worth::Made(object.len().into()),
                Some(Json::Null | Json::Bool(_) | Json::Number(_)) | None => Worth::Nothing,
            },
            TestFunction::Search(text, pattern) => {
                Worth::Truth(self.matches(text, pattern, item, false)?)
            }
            TestFunction::Match(text, pattern) => {
                Worth::Truth(self.matches(text, pattern, item, true)?)
            }
            // The library's own; none of the RFC's.
            TestFunction::Custom(..) => Worth::Nothing,
        })
    }

    /// The places that an argument leads to.
    fn all(&mut self, of: &FnArg, item: &'a Json) -> Result<Vec<&'a Json>, TooMuch> {
        match of {
            FnArg::Test(test) => match &**test {
                Test::RelQuery(segments) => self.places(item, segments),
                Test::AbsQuery(path) => self.places(self.root, &path.segments),
                Test::Function(function) => Ok(match self.function(function, item)? {
                    Worth::There(place) => vec![place],
                    Worth::Nothing | Worth::Made(_) | Worth::Truth(_) => Vec::new(),
                }),
            },
            FnArg::Literal(_) | FnArg::Filter(_) => Ok(Vec::new()),
        }
    }

    /// The one value that an argument stands for.
    fn argument(&mut self, of: &FnArg, item: &'a Json) -> Result<Worth<'a>, TooMuch> {
        match of {
            FnArg::Literal(literal) => Ok(Worth::Made(literal_json(literal))),
            FnArg::Test(test) if let Test::Function(function) = &**test => {
                self.function(function, item)
            }
            FnArg::Test(_) | FnArg::Filter(_) => Ok(match self.all(of, item)?[..] {
                [one] => Worth::There(one),
                _ => Worth::Nothing,
            }),
        }
    }

    fn matches(
        &mut self,
        text: &FnArg,
        pattern: &FnArg,
        item: &'a Json,
        is_whole: bool,
    ) -> Result<bool, TooMuch> {
        let (text, pattern) = (self.argument(text, item)?, self.argument(pattern, item)?);
        let (Some(Json::String(text)), Some(Json::String(pattern))) = (text.json(), pattern.json())
        else {
            return Ok(false);
        };
        self.step(text.len() + pattern.len())?;
        let pattern = translated(pattern, is_whole);
        if !self.patterns.contains_key(&pattern) {
            self.step(PATTERN + pattern.len())?;
            let ready = match RegexBuilder::new(&pattern).size_limit(PATTERN_SIZE).build() {
                Ok(ready) => Some(ready),
                Err(regex::Error::CompiledTooBig(_)) => return Err(TooMuch),
                Err(_) => None,
            };
            self.patterns.insert(pattern.clone(), ready);
        }
        let ready = self.patterns.get(&pattern).and_then(Option::as_ref);
        Ok(ready.is_some_and(|ready| ready.is_match(text)))
    }

    fn is_same(&mut self, left: Option<&Json>, right: Option<&Json>) -> Result<bool, TooMuch> {
        self.step(1)?;
        let (Some(left), Some(right)) = (left, right) else { return Ok(left == right) };
        match (left, right) {
            (Json::Number(left), Json::Number(right)) => {
                let (left, right) = (left.as_f64(), right.as_f64());
                Ok(left.zip(right).is_some_and(|(left, right)| (left - right).abs() < f64::EPSILON))
            }
            (Json::String(left), Json::String(right)) if left.len() == right.len() => {
                self.read(left)?;
                Ok(left == right)
            }
            (Json::Array(left), Json::Array(right)) if left.len() == right.len() => {
                for (left, right) in left.iter().zip(right) {
                    if !self.is_same(Some(left), Some(right))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Json::Object(left), Json::Object(right)) if left.len() == right.len() => {
                for (name, left) in left {
                    self.read(name)?;
                    let Some(right) = right.get(name) else { return Ok(false) };
                    if !self.is_same(Some(left), Some(right))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Json::Bool(left), Json::Bool(right)) => Ok(left == right),
            (left, right) => Ok(left.is_null() && right.is_null()),
        }
    }

    fn is_less(&mut self, left: Option<&Json>, right: Option<&Json>) -> Result<bool, TooMuch> {
        match (left, right) {
            (Some(Json::Number(left)), Some(Json::Number(right))) => {
                Ok(left.as_f64().zip(right.as_f64()).is_some_and(|(left, right)| left < right))
            }
            (Some(Json::String(left)), Some(Json::String(right))) => {
                self.read(if left.len() < right.len() { left } else { right })?;
                Ok(left < right)
            }
            _ => Ok(false),
        }
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

fn literal_json(literal: &Literal) -> Json {
    match literal {
        Literal::Int(number) => (*number).into(),
        Literal::Float(number) => (*number).into(),
        Literal::String(text) => text.as_str().into(),
        Literal::Bool(truth) => (*truth).into(),
        Literal::Null => Json::Null,
    }
}

/// A pattern (RFC 9485) as the regex crate has it: a dot is no line break of either kind.
fn translated(pattern: &str, is_whole: bool) -> String {
    let (mut translated, mut in_class) = (String::with_capacity(pattern.len()), false);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                translated.push(c);
                translated.extend(chars.next());
                continue;
            }
            '.' if !in_class => {
                translated.push_str(r"[^\n\r]");
                continue;
            }
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        translated.push(c);
    }
    if is_whole { format!("^(?:{translated})$") } else { translated }
}

#[cfg(test)]
mod tests {
    use jsonpath_rust::JsonPath;
    use serde_json::json;

    use super::*;

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
        for path in [
            "$",
            "$.most",
            "$['it\\'s'][1][1][0]",
            "$.queues[0].depth",
            "$.queues[-1].depth",
            "$.queues[9]",
            "$.queues[-9]",
            "$.queues[*].depth",
            "$.*",
            "$..depth",
            "$..*",
            "$..[0]",
            "$.queues..tags[*]",
            "$.queues[0,2].name",
            "$.queues[0]['name','depth']",
            "$.queues[1:].name",
            "$.queues[:2].name",
            "$.queues[::2].name",
            "$.queues[::-1].name",
            "$.queues[-2:].name",
            "$.queues[5:1:-1].name",
            "$.queues[0:3:0]",
            "$.most[0]",
            "$.most.x",
            "$.queues.name",
            "$.queues[?@.name == 'a'].depth",
            "$.queues[?@.depth > 3].name",
            "$.queues[?@.depth >= 7 && @.is].name",
            "$.queues[?@.depth < 7 || @.is == true].name",
            "$.queues[?!@.gone].name",
            "$.queues[?@.gone].name",
            "$.queues[?@.gone == null].name",
            "$.queues[?@.none == @.other].name",
            "$.queues[?@.depth == $.most].name",
            "$.queues[?@.depth != $.most].name",
            "$.queues[?@.depth <= $.most].name",
            "$.queues[?!(@.depth > 3)].name",
            "$.queues[?length(@.name) == 3].name",
            "$.queues[?length(@.tags) >= 1].name",
            "$.queues[?count(@.tags[*]) == 2].name",
            "$.queues[?match(@.name, 'b.c')].depth",
            "$.queues[?match(@.name, 'b\\\\.c')].depth",
            "$.queues[?search(@.name, '^b')].depth",
            "$.queues[?match(@.name, 'b')]",
            "$.queues[?@.of == $.deep.deep.of].name",
            "$.queues[?value(@..n) == 1].name",
            "$.queues[?@.tags[?@ == 'y']].name",
            "$.queues[?@.name > 'a'].depth",
            "$.queues[?@.tags == @.tags].name",
            "$.queues[?search(@.name, '(')]",
            "$[?@.deep].deep.depth",
            "$.queues[?$.most].name",
            "$.queues[?@.depth == 7.0].name",
        ] {
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
        assert_eq!(walk("$[?count($..*) > 0]", &nested), Ok(0).or(Err(TooMuch)));
        assert_eq!(walk("$.is[?match(@.a, '(x{100}){100}')]", &long), Err(TooMuch));
        // A document full of places, under a long name, is walked all the same.
        assert_eq!(walk("$.*[*]", &long), Ok(300_300));
        assert_eq!(walk("$..a", &long), Ok(300));
    }

    #[test]
    fn what_is_no_path_or_too_deep_is_told() {
        for bad in ["", "a", "$.", "$[", "$.a[?]", "$.a b"] {
            assert!(fault(bad).unwrap().starts_with("is no JSON path (RFC 9535): "), "{bad}");
        }
        // The library would try each of these in three ways.
        let deep = format!("$[?{}@.a{}", "length(".repeat(100), ")".repeat(99));
        assert!(fault(&deep).unwrap().contains("deeper than 8"));
        assert_eq!(fault("$['((((((((((((', \"[[[[[[[[[\"].a[?(@.b == ')')]"), None);
    }
}
