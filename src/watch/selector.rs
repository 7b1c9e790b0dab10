//! Label selectors: read as `/scale` prints them or as people write them, and matched against the packed labels of pods.

use kube::core::Expression;

use crate::crd::connection::{Operator, Requirement, Selector as Written};
use crate::decide::{Compare, Term};

/// A label selector as `/scale` prints it, ready to be matched.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Selector(Vec<Expression>);

impl Selector {
    /// Reads `a=b,c!=d,e in (f,g),!h`. `None` when it cannot be read or would match every pod.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut terms = Vec::new();
        let mut rest = text;
        while !rest.trim().is_empty() {
            let depth_end = term_end(rest);
            terms.push(expression(rest.get(..depth_end)?.trim())?);
            rest = rest.get(depth_end + 1..).unwrap_or("");
        }
        (!terms.is_empty()).then_some(Self(terms))
    }

    /// A selector as people write it.
    pub(super) fn of(written: &Written) -> Self {
        let mut terms: Vec<Expression> = Vec::new();
        for (key, value) in &written.match_labels {
            terms.push(Expression::Equal(key.clone(), value.clone()));
        }
        for Requirement { key, operator, values } in &written.match_expressions {
            let (key, values) = (key.clone(), values.iter().cloned().collect());
            terms.push(match operator {
                Operator::In => Expression::In(key, values),
                Operator::NotIn => Expression::NotIn(key, values),
                Operator::Exists => Expression::Exists(key),
                Operator::DoesNotExist => Expression::DoesNotExist(key),
            });
        }
        Self(terms)
    }

    /// Its terms as an object states them, the same for all ways to write it.
    pub(super) fn terms(&self) -> Vec<Term> {
        let term = |expression: &Expression| {
            let (key, operator, values) = match expression.clone() {
                Expression::Equal(key, value) => (key, Compare::In, vec![value]),
                Expression::NotEqual(key, value) => (key, Compare::NotIn, vec![value]),
                Expression::In(key, values) => (key, Compare::In, values.into_iter().collect()),
                Expression::NotIn(key, values) => {
                    (key, Compare::NotIn, values.into_iter().collect())
                }
                Expression::Exists(key) => (key, Compare::Exists, Vec::new()),
                Expression::DoesNotExist(key) => (key, Compare::DoesNotExist, Vec::new()),
            };
            Term { key, operator, values }
        };
        let mut terms: Vec<_> = self.0.iter().map(term).collect();
        terms.sort();
        terms
    }

    /// Does a pod with these packed labels match?
    pub(super) fn matches(&self, packed: &str) -> bool {
        let value_of = |key: &str| {
            packed.split_terminator('\0').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
        };
        self.0.iter().all(|term| match term {
            Expression::Equal(key, value) => value_of(key) == Some(value),
            Expression::NotEqual(key, value) => value_of(key) != Some(value),
            Expression::In(key, values) => value_of(key).is_some_and(|v| values.contains(v)),
            Expression::NotIn(key, values) => value_of(key).is_none_or(|v| !values.contains(v)),
            Expression::Exists(key) => value_of(key).is_some(),
            Expression::DoesNotExist(key) => value_of(key).is_none(),
        })
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let terms: kube::core::Selector = self.0.iter().cloned().collect();
        terms.fmt(f)
    }
}

/// Where the first term ends: at the first comma outside parentheses.
fn term_end(text: &str) -> usize {
    let mut depth = 0_i32;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

fn expression(term: &str) -> Option<Expression> {
    let owned = |text: &str| text.trim().to_owned();
    if let Some(key) = term.strip_prefix('!') {
        return Some(Expression::DoesNotExist(owned(key)));
    }
    if let Some((head, list)) = term.strip_suffix(')').and_then(|t| t.split_once('(')) {
        let values = list.split(',').map(owned).collect();
        let mut words = head.split_whitespace();
        return match (words.next()?, words.next()?) {
            (key, "in") => Some(Expression::In(owned(key), values)),
            (key, "notin") => Some(Expression::NotIn(owned(key), values)),
            _ => None,
        };
    }
    if let Some((key, value)) = term.split_once("!=") {
        return Some(Expression::NotEqual(owned(key), owned(value)));
    }
    if let Some((key, value)) = term.split_once('=') {
        return Some(Expression::Equal(owned(key), owned(value.trim_start_matches('='))));
    }
    (!term.is_empty()).then(|| Expression::Exists(owned(term)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::pods::packed;

    fn labels(pairs: &[(&str, &str)]) -> String {
        packed(Some(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()))
    }

    #[test]
    fn a_selector_matches_as_the_api_server_would() {
        let pod = labels(&[("app", "enrich"), ("app.kubernetes.io/name", "x"), ("tier", "b")]);
        for (text, expected) in [
            ("app=enrich", true),
            ("app==enrich,tier!=c", true),
            ("app=enric", false),
            ("tier in (a,b),app", true),
            ("tier notin (a, b)", false),
            ("!missing,tier", true),
            ("!tier", false),
            ("ap=enrich", false),
        ] {
            assert_eq!(Selector::read(text).expect(text).matches(&pod), expected, "{text}");
        }
    }

    #[test]
    fn an_empty_or_odd_selector_is_no_selector() {
        for text in ["", " ", "a within (b)"] {
            assert_eq!(Selector::read(text), None, "{text:?}");
        }
    }
}
