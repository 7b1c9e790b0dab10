//! `scalingModifiers.formula`, which is written in expr over the values of triggers, as CEL over what sources want.

use std::collections::BTreeMap;

use crate::decide::{Formula, Gives};

/// One word of a formula.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Name(String),
    Number(String),
    Sign(String),
}

/// The names that a formula uses, as far as it can be read.
pub(super) fn names(formula: &str) -> Vec<String> {
    let name = |word: Word| match word {
        Word::Name(name) => Some(name),
        Word::Number(_) | Word::Sign(_) => None,
    };
    words(formula).unwrap_or_default().into_iter().filter_map(name).collect()
}

/// The formula over `target`, over sources by the names of their triggers; or why there is none. Those in `beside` count as the HPA counts
/// them, beside the formula.
pub(super) fn expression(
    formula: &str,
    target: f64,
    sources: &BTreeMap<String, String>,
    beside: &[String],
) -> Result<String, String> {
    let words = words(formula)?;
    let mut text = written(&words, sources)?;
    if (target - 1.0).abs() > f64::EPSILON {
        text = format!("({text}) / {target:?}");
    }
    if !beside.is_empty() {
        text = format!("[{text}, {}].max()", beside.join(", "));
    }
    let names: Vec<&str> =
        sources.values().map(String::as_str).chain(beside.iter().map(String::as_str)).collect();
    Formula::new(&text, &names, Gives::Number).map_err(|wrong| wrong.to_string())?;
    Ok(text)
}

/// Signs of two letters before those of one.
const SIGNS: [&str; 22] = [
    "&&", "||", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "(", ")", "[", "]", ",", "<", ">",
    "?", ":", "!", ".",
];
/// What is no sign of CEL though it looks like two of them.
const OTHERS: [&str; 5] = ["??", "**", "..", "?.", "|"];

fn words(formula: &str) -> Result<Vec<Word>, String> {
    let mut rest = formula.trim();
    let mut found = Vec::new();
    while let Some(first) = rest.chars().next() {
        let is_number = first.is_ascii_digit();
        let length = if is_number {
            rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len())
        } else if first.is_ascii_alphabetic() || first == '_' {
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else {
            let other =
                OTHERS.iter().find(|sign| rest.starts_with(**sign) && !rest.starts_with("||"));
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            match (other, sign) {
                (None, Some(sign)) => sign.len(),
                _ => {
                    return Err(format!(
                        "nothing says {} here",
                        other.map_or_else(|| first.to_string(), |it| (*it).to_owned())
                    ));
                }
            }
        };
        let (word, after) = rest.split_at(length);
        found.push(match first {
            _ if is_number && word.contains('.') => Word::Number(word.to_owned()),
            _ if is_number => Word::Number(format!("{word}.0")),
            'a'..='z' | 'A'..='Z' | '_' => Word::Name(word.to_owned()),
            _ => Word::Sign(word.to_owned()),
        });
        rest = after.trim_start();
    }
    Ok(found)
}

fn is_sign(word: Option<&Word>, sign: &str) -> bool {
    matches!(word, Some(Word::Sign(written)) if written == sign)
}

/// A name before a bracket, unless it is a sign in letters.
fn is_call(name: &str, next: Option<&Word>) -> bool {
    is_sign(next, "(") && !["and", "or", "not"].contains(&name)
}

/// Words of expr as CEL spells them.
fn written(words: &[Word], sources: &BTreeMap<String, String>) -> Result<String, String> {
    let mut text = String::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let next = match word {
            Word::Number(number) => number.clone(),
            Word::Sign(sign) if sign == "?" => {
                let end = colon(words, at)?;
                let inner = words.get(at + 1..end).unwrap_or_default();
                at = end;
                // CEL wants brackets around a choice within a choice.
                let is_nested = inner.iter().any(|word| is_sign(Some(word), "?"));
                let inner = written(inner, sources)?;
                if is_nested { format!("? ({inner}) :") } else { format!("? {inner} :") }
            }
            Word::Sign(sign) => sign.clone(),
            Word::Name(name) if is_call(name, words.get(at + 1)) => {
                let end = closing(words, at + 1)?;
                let inner = words.get(at + 2..end).unwrap_or_default();
                at = end;
                call(name, inner, sources)?
            }
            Word::Name(name) => match (sources.get(name), name.as_str()) {
                (Some(source), _) => source.clone(),
                (None, "and") => "&&".to_owned(),
                (None, "or") => "||".to_owned(),
                (None, "not") => "!".to_owned(),
                (None, "true" | "false") => name.clone(),
                (None, _) => return Err(format!("{name} is no trigger that has become a source")),
            },
        };
        let is_tight = ["(", ")", "[", "]", ",", "."].contains(&next.as_str());
        let follows_bracket = text.ends_with(['(', '[', '.', '!']);
        if !(text.is_empty() || follows_bracket || is_tight && !["(", "["].contains(&next.as_str()))
        {
            text.push(' ');
        }
        text.push_str(&next);
        at += 1;
    }
    Ok(text)
}

/// A function of expr over a list or its parts.
fn call(name: &str, inner: &[Word], sources: &BTreeMap<String, String>) -> Result<String, String> {
    if !["max", "min", "sum"].contains(&name) {
        return Err(format!("there is no {name}() here"));
    }
    let is_list = is_sign(inner.first(), "[") && closing(inner, 0) == Ok(inner.len() - 1);
    let inner = written(inner, sources)?;
    Ok(if is_list { format!("{inner}.{name}()") } else { format!("[{inner}].{name}()") })
}

/// Where the first half of the choice that begins here ends.
fn colon(words: &[Word], begin: usize) -> Result<usize, String> {
    let mut open = 0_usize;
    for (at, word) in words.iter().enumerate().skip(begin + 1) {
        if is_sign(Some(word), "?") {
            open += 1;
        } else if is_sign(Some(word), ":") {
            if open == 0 {
                return Ok(at);
            }
            open -= 1;
        }
    }
    Err("a choice has no other half".to_owned())
}

/// Where the bracket that opens here is closed.
fn closing(words: &[Word], open: usize) -> Result<usize, String> {
    let mut depth = 0_usize;
    for (at, word) in words.iter().enumerate().skip(open) {
        match word {
            Word::Sign(sign) if sign == "(" || sign == "[" => depth += 1,
            Word::Sign(sign) if sign == ")" || sign == "]" => depth = depth.saturating_sub(1),
            Word::Sign(_) | Word::Name(_) | Word::Number(_) => {}
        }
        if depth == 0 {
            return Ok(at);
        }
    }
    Err("a bracket is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_of_kedas_pages_are_said_in_cel_where_they_can_be() {
        let pairs =
            [("trig_one", "trig_one"), ("trig_two", "trig_two"), ("trigThree", "trigthree")];
        let sources = pairs.map(|(trigger, source)| (trigger.to_owned(), source.to_owned())).into();
        let read = |formula: &str, target| expression(formula, target, &sources, &[]);
        for (formula, target, cel) in [
            ("(trig_one + trig_two)/2", 2.0, "((trig_one + trig_two) / 2.0) / 2.0"),
            (
                "trig_one > 2 ? trig_one + trig_two : 1",
                1.0,
                "trig_one > 2.0 ? trig_one + trig_two : 1.0",
            ),
            (
                "trig_one < 2 ? trig_one+trig_two >= 2 ? 5 : 10 : 0",
                1.0,
                "trig_one < 2.0 ? (trig_one + trig_two >= 2.0 ? 5.0 : 10.0) : 0.0",
            ),
            ("max([trig_one, trigThree*2])", 5.0, "([trig_one, trigthree * 2.0].max()) / 5.0"),
            ("max(trig_one, trig_two, 3)", 1.0, "[trig_one, trig_two, 3.0].max()"),
            ("sum([trig_one,trig_two]) - 1.5", 1.0, "[trig_one, trig_two].sum() - 1.5"),
            (
                "trig_one > 1 and not (trig_two > 1) ? 1 : 0",
                1.0,
                "trig_one > 1.0 && !(trig_two > 1.0) ? 1.0 : 0.0",
            ),
        ] {
            assert_eq!(read(formula, target).as_deref(), Ok(cel), "{formula}");
        }
        for formula in [
            "count([trig_one,trig_two],{#>1}) > 1 ? 5 : 0",
            "trig_one ?? trig_two ?? 8",
            "trig_one ** 2",
            "trig_four + 1",
            "trig_one > 1",
            "float(trig_one)",
            "(trig_one",
            "",
        ] {
            assert!(read(formula, 1.0).is_err(), "{formula}");
        }
        let beside = expression("trig_one", 2.0, &sources, &["cpu".to_owned()]);
        assert_eq!(beside.as_deref(), Ok("[(trig_one) / 2.0, cpu].max()"));
    }
}
