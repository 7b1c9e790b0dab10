//! Formulas that people write in CEL over numbers: `combine.expression`, and `holdWhen` of a gate. Compiled once by `crd::meaning`, or
//! when a record is read again; evaluated by `combine` and `gate`. The language is the `cel` crate's; `check` says what of it is a formula.

use std::fmt;
use std::sync::Arc;

use cel::objects::Value as Cel;
use cel::{Context, FunctionContext, Program, ResolveResult};
use serde::{Deserialize, Serialize};

use super::check::{self, Kind};

/// The longest formula, in characters.
const LONGEST: usize = 1024;
/// Its most operators, calls and brackets, and how deep brackets may nest: the parser goes as deep as the text does.
const MARKS: usize = 48;
const DEEPEST: usize = 6;

/// What a formula gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gives {
    /// A number: replicas.
    Number,
    /// True or false: hold or not.
    Truth,
}

/// A formula, compiled. Two of one text are equal.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Record", into = "Record")]
pub struct Formula {
    written: Arc<str>,
    names: Arc<[String]>,
    gives: Gives,
    program: Arc<Program>,
}

/// A formula as a record keeps it.
#[derive(Serialize, Deserialize)]
struct Record {
    text: Arc<str>,
    names: Arc<[String]>,
    gives: Gives,
}

/// What is wrong with a formula, where, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Line and column in its text, from 1, where that is known.
    pub at: Option<(usize, usize)>,
    /// The fault in words.
    pub message: String,
    /// How to mend it.
    pub hint: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((1, column)) => write!(f, "column {column}: {}", self.message),
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Formula {
    /// Compiles a formula over numbers of these names, each a double.
    ///
    /// # Errors
    /// It is no CEL, uses another name or something that is no number, gives something else, or costs more than 5,000 steps.
    pub fn new(text: &str, names: &[&str], gives: Gives) -> Result<Self, Wrong> {
        if LONGEST < text.chars().count() {
            return Err(Wrong {
                at: None,
                message: format!("must have at most {LONGEST} characters"),
                hint: "say it in fewer words".to_owned(),
            });
        }
        bounded(text)?;
        let program = Program::compile(text).map_err(|errors| not_cel(&errors))?;
        let checked = check::check(text, program.expression(), names)?;
        let (fits, wanted) = match gives {
            Gives::Number => (matches!(checked.kind, Kind::Double | Kind::Int), "a number"),
            Gives::Truth => (checked.kind == Kind::Truth, "true or false"),
        };
        if !fits {
            return Err(Wrong {
                at: Some((1, 1)),
                message: format!("gives {} where {wanted} is wanted", checked.kind),
                hint: match gives {
                    Gives::Number => {
                        "end with max(), min() or sum() of a list, or a choice: a > b ? a : b"
                    }
                    Gives::Truth => "compare: value > 0.0",
                }
                .to_owned(),
            });
        }
        let used = names.iter().filter(|name| checked.names.contains(**name));
        Ok(Self {
            written: text.into(),
            names: used.map(|name| (*name).to_owned()).collect(),
            gives,
            program: Arc::new(program),
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.written
    }

    /// The names it uses.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Its value; one that is no number, no finite one or a negative one is none.
    pub(super) fn number(&self, values: &[(&str, f64)]) -> Result<f64, String> {
        let value = double(&self.run(values)?).ok_or("it gives no number")?;
        if value.is_finite() && 0.0 <= value { Ok(value) } else { Err(format!("it gives {value}")) }
    }

    /// Does it say yes?
    pub(super) fn holds(&self, values: &[(&str, f64)]) -> Result<bool, String> {
        let Cel::Bool(holds) = self.run(values)? else {
            return Err("it says neither true nor false".to_owned());
        };
        Ok(holds)
    }

    fn run(&self, values: &[(&str, f64)]) -> ResolveResultOf {
        let mut scope = Context::empty();
        scope.add_function("max", |call: &FunctionContext<'_, '_>| {
            fold(call, |all| all.into_iter().reduce(f64::max))
        });
        scope.add_function("min", |call: &FunctionContext<'_, '_>| {
            fold(call, |all| all.into_iter().reduce(f64::min))
        });
        scope.add_function("sum", |call: &FunctionContext<'_, '_>| {
            fold(call, |all| Some(all.into_iter().sum()))
        });
        scope.add_function("size", cel::functions::size);
        scope.add_function("double", cel::functions::double);
        for (name, value) in values {
            scope.add_variable_from_value(*name, *value);
        }
        self.program.execute(&scope).map_err(|error| error.to_string())
    }
}

type ResolveResultOf = Result<Cel, String>;

/// Max, min or sum of a list or of arguments, as a double. NaN of any of them is NaN of all.
fn fold(call: &FunctionContext<'_, '_>, of: impl FnOnce(Vec<f64>) -> Option<f64>) -> ResolveResult {
    let mut all = Vec::new();
    let mut take = |value: Cel| {
        if let Cel::List(items) = value {
            all.extend(items.iter().filter_map(double));
        } else {
            all.extend(double(&value));
        }
    };
    if let Some(this) = &call.this {
        take(this.clone());
    }
    for argument in call.args {
        take(call.ptx.resolve(argument)?);
    }
    if all.iter().any(|value| value.is_nan()) {
        return Ok(Cel::Float(f64::NAN));
    }
    of(all).map(Cel::Float).ok_or_else(|| call.error("an empty list has none"))
}

fn double(value: &Cel) -> Option<f64> {
    if let Cel::Int(value) = value {
        // A whole number beyond that counts no replicas.
        return Some(i32::try_from(*value).map_or(f64::NAN, f64::from));
    }
    let Cel::Float(value) = value else { return None };
    Some(*value)
}

/// Is it small enough to be parsed?
fn bounded(text: &str) -> Result<(), Wrong> {
    let (mut depth, mut deepest, mut marks) = (0_usize, 0_usize, 0_usize);
    for letter in text.chars() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        marks += usize::from("([{+-*/%<>=!&|?.".contains(letter));
    }
    let message = if DEEPEST < deepest {
        format!("nests {deepest} brackets, more than {DEEPEST}")
    } else if MARKS < marks {
        format!("has {marks} operators, calls and brackets, more than {MARKS}")
    } else {
        return Ok(());
    };
    Err(Wrong { at: None, message, hint: "say it in fewer words".to_owned() })
}

/// What the parser says, in a line.
fn not_cel(errors: &cel::ParseErrors) -> Wrong {
    let hint =
        "write CEL over the names of sources, with numbers as 2.0: [parsed, late * 2.0].max()";
    let Some(first) = errors.errors.first() else {
        return Wrong { at: None, message: "is no CEL".to_owned(), hint: hint.to_owned() };
    };
    let place = |(line, column)| Some((usize::try_from(line).ok()?, usize::try_from(column).ok()?));
    let said = first.msg.lines().next().unwrap_or_default();
    let said: String = said.chars().filter(|c| !c.is_control()).take(160).collect();
    Wrong {
        at: place(first.pos).filter(|&(line, column)| 0 < line && 0 < column),
        message: format!("is no CEL: {said}"),
        hint: hint.to_owned(),
    }
}

impl fmt::Debug for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Formula").field(&self.written).finish()
    }
}

impl PartialEq for Formula {
    fn eq(&self, other: &Self) -> bool {
        (&self.written, &self.names, self.gives) == (&other.written, &other.names, other.gives)
    }
}

impl From<Formula> for Record {
    fn from(formula: Formula) -> Self {
        let Formula { written, names, gives, program: _ } = formula;
        Self { text: written, names, gives }
    }
}

impl TryFrom<Record> for Formula {
    type Error = Wrong;

    fn try_from(Record { text, names, gives }: Record) -> Result<Self, Wrong> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Self::new(&text, &names, gives)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<f64, String> {
        let formula = Formula::new(text, &["a", "b", "late"], Gives::Number)
            .map_err(|wrong| format!("{wrong}; hint: {}", wrong.hint))?;
        formula.number(&[("a", 3.0), ("b", 4.5), ("late", 0.0)])
    }

    #[test]
    fn a_formula_counts_as_cel_does() {
        for (text, value) in [
            ("[a, late * 2.0].max()", 3.0),
            ("max(a, b, 1.0)", 4.5),
            ("[a, b].min()", 3.0),
            ("[a, b].sum() / 2.0", 3.75),
            ("a + b - 0.5", 7.0),
            ("-a + 2.0 * b", 6.0),
            ("a > b ? a : b", 4.5),
            ("late == 0.0 && (a >= 3.0 || false) ? 5 : 6", 5.0),
            ("!(a < b) ? 1.0 : 2.0", 2.0),
            ("[a, b, late].map(x, x * 2.0).max()", 9.0),
            ("[a, b, late].filter(x, x > 1.0).sum()", 7.5),
            ("([a] + [b]).max()", 4.5),
            ("[a, b].all(x, x > 1.0) ? 2.0 : 1.0", 2.0),
            ("[a, b].exists(x, x > 4.0) ? 2.0 : 1.0", 2.0),
            ("[a, b].exists_one(x, x > 4.0) ? 2.0 : 1.0", 2.0),
            ("[a, b, late].filter(x, x > 0.0).size()", 2.0),
            ("double(size([a, b])) * a", 6.0),
            ("[a, b][1]", 4.5),
            ("a in [a, b] ? 1 : 2", 1.0),
            ("7 % 4 + 1 * 2 - 6 / 3", 3.0),
            ("a // the first\n + b", 7.5),
            ("a > 2 ? a : b", 3.0),
        ] {
            assert_eq!(number(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_count_is_none() {
        for (text, says) in [
            ("a / late", "it gives inf"),
            ("late / late", "it gives NaN"),
            ("[late / late, a].max()", "it gives NaN"),
            ("late - a", "it gives -3"),
            ("0 - 4", "it gives -4"),
        ] {
            assert_eq!(number(text), Err(says.to_owned()), "{text}");
        }
        for text in ["[a].filter(x, x > 9.0).max()", "[a, b][2]", "1 / 0"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_formula_is_told_where_and_how_to_mend_it() {
        let say = |text: &str| number(text).unwrap_err();
        insta::assert_snapshot!(
            [
                "[a, later * 2.0].max()",
                "a * 2",
                "a +",
                "[a, b",
                "[a, b]",
                "a > b",
                "'a'",
                "a.matches('x')",
                "a +\n b + c",
                "[[a], [b]].max()",
                "[a].map(x, [x]).max()",
                "{'a': a}.a",
                "a.b",
                "a ? 1.0 : 2.0",
                "[a].map(x, y)[0]",
                "a == true ? 1.0 : 2.0",
                "sum(a)",
                "size(a)",
                "1u",
                "has(a.b) ? a : b",
            ].map(|text| format!("{text:?}: {}", say(text))).join("\n"), @r#"
        "[a, later * 2.0].max()": column 5: there is no later; hint: what there is: a, b, late
        "a * 2": column 1: a number and a whole number do not go together in CEL; hint: write whole numbers as 2.0
        "a +": column 4: is no CEL: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER; hint: write CEL over the names of sources, with numbers as 2.0: [parsed, late * 2.0].max()
        "[a, b": column 6: is no CEL: Syntax error: mismatched input '<EOF>' expecting {']', ','}; hint: write CEL over the names of sources, with numbers as 2.0: [parsed, late * 2.0].max()
        "[a, b]": column 1: gives a list where a number is wanted; hint: end with max(), min() or sum() of a list, or a choice: a > b ? a : b
        "a > b": column 1: gives true or false where a number is wanted; hint: end with max(), min() or sum() of a list, or a choice: a > b ? a : b
        "'a'": only numbers, true and false can be written in a formula; hint: write numbers as 2.0
        "a.matches('x')": only numbers, true and false can be written in a formula; hint: write numbers as 2.0
        "a +\n b + c": line 2, column 6: there is no c; hint: what there is: a, b, late
        "[[a], [b]].max()": column 3: a list in a list; hint: join lists with +: ([a] + [b]).max()
        "[a].map(x, [x]).max()": column 13: a list in a list; hint: join lists with +: ([a] + [b]).max()
        "{'a': a}.a": column 7: a formula has numbers and lists of them, nothing else; hint: use the names alone, with + - * /, comparisons, a choice (a > b ? a : b), and max(), min(), sum(), size(), map(), filter(), all(), exists() of lists
        "a.b": column 3: a number has no b; hint: use the names alone, with + - * /, comparisons, a choice (a > b ? a : b), and max(), min(), sum(), size(), map(), filter(), all(), exists() of lists
        "a ? 1.0 : 2.0": column 1: a choice (? :) does not go with a number and a number and a number; hint: use the names alone, with + - * /, comparisons, a choice (a > b ? a : b), and max(), min(), sum(), size(), map(), filter(), all(), exists() of lists
        "[a].map(x, y)[0]": column 12: there is no y; hint: what there is: a, b, late
        "a == true ? 1.0 : 2.0": column 1: a number and true or false do not go together; hint: use the names alone, with + - * /, comparisons, a choice (a > b ? a : b), and max(), min(), sum(), size(), map(), filter(), all(), exists() of lists
        "sum(a)": column 1: sum does not go with a number; hint: use the names alone, with + - * /, comparisons, a choice (a > b ? a : b), and max(), min(), sum(), size(), map(), filter(), all(), exists() of lists
        "size(a)": column 1: size does not go with a number; hint: use the names alone, with + - * /, comparisons, a choice (a > b ? a : b), and max(), min(), sum(), size(), map(), filter(), all(), exists() of lists
        "1u": column 1: only numbers, true and false can be written in a formula; hint: write numbers as 2.0
        "has(a.b) ? a : b": column 7: a number has no b; hint: use the names alone, with + - * /, comparisons, a choice (a > b ? a : b), and max(), min(), sum(), size(), map(), filter(), all(), exists() of lists
        "#);
    }

    #[test]
    fn what_would_take_long_is_refused_before_it_runs() {
        let ten = format!("[{}]", vec!["a"; 20].join(","));
        let deep = format!("{ten}.map(x, {ten}.map(y, {ten}.map(z, x + y + z).max()).max()).max()");
        assert!(number(&deep).unwrap_err().contains("steps"), "{deep}");
        for (text, says) in [
            (format!("{}a{}", "(".repeat(400), ")".repeat(400)), "brackets"),
            ("!".repeat(900) + "true", "operators"),
            (vec!["a"; 300].join(" + "), "characters"),
            (vec!["a"; 300].join("+"), "operators"),
        ] {
            assert!(number(&text).unwrap_err().contains(says), "{text}");
        }
    }

    #[test]
    fn the_deepest_that_is_let_in_does_not_overflow_the_stack() {
        for text in [
            format!("{}a{}", "(".repeat(6), ")".repeat(6)),
            format!("{}a{}{}", "(".repeat(6), "+a".repeat(24), ")".repeat(6)),
            format!("a{}", "+a".repeat(48)),
            format!("{}a", "-".repeat(48)),
            format!("{}true ? a : b", "!".repeat(47)),
            format!("{}a", "a > b ? a : ".repeat(24)),
            format!("{}a", "true ? a : ".repeat(48)),
            format!("[a]{}[0]", ".map(x, x + x)".repeat(11)),
            format!("[a]{}[0]", ".filter(x, x > a)".repeat(11)),
            format!("{}true ? a : b", "a > b && ".repeat(15)),
            format!("a{}", ".b".repeat(48)),
            "(".repeat(6),
            "[".repeat(6),
            "a[".repeat(6),
            "max(".repeat(6) + "a, b" + &", b)".repeat(6),
        ] {
            // Good or not: it comes back.
            number(&text).ok();
        }
    }

    #[test]
    fn a_formula_comes_back_from_its_record() {
        let formula = Formula::new("a > b", &["a", "b", "c"], Gives::Truth).unwrap();
        let text = serde_json::to_string(&formula).unwrap();
        assert_eq!(text, r#"{"text":"a > b","names":["a","b"],"gives":"Truth"}"#);
        let back: Formula = serde_json::from_str(&text).unwrap();
        assert_eq!(back, formula);
        assert_eq!(back.holds(&[("a", 2.0), ("b", 1.0)]), Ok(true));
        assert!(serde_json::from_str::<Formula>(&text.replace("a > b", "a >")).is_err());
    }
}
