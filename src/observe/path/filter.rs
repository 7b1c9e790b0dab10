//! What the filters of a JSON path hold for, and the functions in them. Called by the walk, which pays for each look.

use jsonpath_rust::parser::model::{
    Comparable, Comparison, Filter, FilterAtom, FnArg, Literal, SingularQuery,
    SingularQuerySegment, Test, TestFunction,
};
use regex::RegexBuilder;
use serde_json::Value as Json;

use super::{TooMuch, Walk, at};

/// What a pattern costs to be made ready, in steps.
const PATTERN: usize = 20_000;
/// A pattern may take so many bytes once it is ready.
const PATTERN_SIZE: usize = 1 << 18;

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
    pub(super) fn holds(&mut self, filter: &Filter, item: &'a Json) -> Result<bool, TooMuch> {
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
