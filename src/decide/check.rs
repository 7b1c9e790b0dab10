//! Whether a CEL expression is a formula over numbers: its kinds, its names and what it may cost at most, all before it ever runs.
//! Called by `formula` once for each text. The parser keeps no places, so they are found again by reading names in their order.

use std::collections::BTreeSet;
use std::fmt;

use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue};

use super::formula::Wrong;

/// Most steps that a formula may take: at most some tenths of a millisecond.
const STEPS: u64 = 5_000;

/// What a part of a formula is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Double,
    Truth,
    /// Of what, nothing if that is not known yet; and how many at most.
    List(Option<Box<Self>>, u64),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int => "a whole number",
            Self::Double => "a number",
            Self::Truth => "true or false",
            Self::List(..) => "a list",
        })
    }
}

/// A formula, checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) kind: Kind,
    /// The names it uses.
    pub(super) names: BTreeSet<String>,
}

/// Checks an expression over these names, each a double.
pub(super) fn check(text: &str, root: &IdedExpr, names: &[&str]) -> Result<Checked, Wrong> {
    let mut reader = Reader {
        text,
        words: words(text),
        next: 0,
        names,
        used: BTreeSet::new(),
        scope: Vec::new(),
    };
    let (kind, steps) = reader.read(root)?;
    if STEPS < steps {
        return Err(Wrong {
            at: None,
            message: format!("may take {steps} steps, more than the {STEPS} a formula may take"),
            hint: "nest fewer lists in each other".to_owned(),
        });
    }
    Ok(Checked { kind, names: reader.used })
}

/// The words of a text with their places, strings and comments left out.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((at, letter)) = rest.next() {
        if letter == '/' && rest.peek().is_some_and(|(_, next)| *next == '/') {
            while rest.next_if(|(_, letter)| *letter != '\n').is_some() {}
        } else if letter == '\'' || letter == '"' {
            while rest.next().is_some_and(|(_, next)| next != letter) {}
        } else if letter.is_ascii_alphanumeric() || letter == '_' {
            let mut end = at + letter.len_utf8();
            while let Some((at, letter)) =
                rest.next_if(|(_, letter)| letter.is_ascii_alphanumeric() || *letter == '_')
            {
                end = at + letter.len_utf8();
            }
            found.extend(text.get(at..end).map(|word| (at, word)));
        }
    }
    found
}

struct Reader<'a> {
    text: &'a str,
    words: Vec<(usize, &'a str)>,
    /// The first word that has not been met.
    next: usize,
    names: &'a [&'a str],
    used: BTreeSet<String>,
    /// What comprehensions name, innermost last.
    scope: Vec<(String, Kind)>,
}

type Read = Result<(Kind, u64), Wrong>;

impl Reader<'_> {
    /// Line and column of a word that comes next, from 1.
    fn meet(&mut self, word: &str) -> Option<(usize, usize)> {
        let ahead = self.words.get(self.next..)?;
        let skipped = ahead.iter().position(|(_, found)| *found == word)?;
        let (at, _) = *ahead.get(skipped)?;
        self.next += skipped + 1;
        self.place(at)
    }

    fn place(&self, at: usize) -> Option<(usize, usize)> {
        let before = self.text.get(..at)?;
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
        Some((line, column))
    }

    /// Where the next word stands.
    fn here(&self) -> Option<(usize, usize)> {
        self.words.get(self.next).and_then(|(at, _)| self.place(*at))
    }

    fn read(&mut self, part: &IdedExpr) -> Read {
        let at = self.here();
        match &part.expr {
            Expr::Literal(LiteralValue::Boolean(_)) => Ok((Kind::Truth, 1)),
            Expr::Literal(LiteralValue::Double(_)) => Ok((Kind::Double, 1)),
            Expr::Literal(LiteralValue::Int(_)) => Ok((Kind::Int, 1)),
            Expr::Literal(_) => Err(wrong(
                at,
                "only numbers, true and false can be written in a formula",
                "write numbers as 2.0",
            )),
            Expr::Ident(name) => self.name(name),
            Expr::List(list) => {
                let (mut of, mut steps) = (None, 1);
                for item in &list.elements {
                    let at = self.here();
                    let (kind, more) = self.read(item)?;
                    if matches!(kind, Kind::List(..)) {
                        return Err(nested(at));
                    }
                    of = Some(join(of, kind, at)?);
                    steps += more;
                }
                let length = u64::try_from(list.elements.len()).unwrap_or(u64::MAX);
                Ok((Kind::List(of.map(Box::new), length), steps))
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(each) => self.each(each, at),
            Expr::Select(select) => {
                self.read(&select.operand)?;
                let at = self.meet(&select.field);
                Err(wrong(at, &format!("a number has no {}", select.field), NAMES))
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(wrong(at, "a formula has numbers and lists of them, nothing else", NAMES))
            }
        }
    }

    fn name(&mut self, name: &str) -> Read {
        let at = if name.starts_with('@') { None } else { self.meet(name) };
        if let Some((_, kind)) = self.scope.iter().rev().find(|(known, _)| known == name) {
            return Ok((kind.clone(), 1));
        }
        if self.names.contains(&name) {
            self.used.insert(name.to_owned());
            return Ok((Kind::Double, 1));
        }
        let known = self.names.join(", ");
        Err(wrong(at, &format!("there is no {name}"), &format!("what there is: {known}")))
    }

    fn call(&mut self, call: &CallExpr) -> Read {
        let begin = self.here();
        let name = call.func_name.as_str();
        let target = call.target.as_deref().map(|target| self.read(target)).transpose()?;
        let is_word = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            && !name.starts_with('_')
            && !name.ends_with('_');
        let at = if is_word { self.meet(name) } else { begin };
        let mut parts = Vec::new();
        let mut steps = 1;
        for part in target.into_iter().map(Ok).chain(call.args.iter().map(|it| self.read(it))) {
            let (kind, more) = part?;
            steps += more;
            if let Kind::List(_, length) = kind {
                steps += length;
            }
            parts.push(kind);
        }
        Ok((result(name, &parts, at)?, steps))
    }

    fn each(&mut self, each: &ComprehensionExpr, at: Option<(usize, usize)>) -> Read {
        let (range, mut steps) = self.read(&each.iter_range)?;
        let Kind::List(of, length) = range else {
            let hint = "put what is meant into a list: [a, b]";
            return Err(wrong(at, "map, filter and the like look through a list", hint));
        };
        if each.iter_var2.is_some() {
            return Err(wrong(at, "an item of a list has one name", NAMES));
        }
        self.meet(&each.iter_var);
        let (init, _) = self.read(&each.accu_init)?;
        let item = of.map_or(Kind::Double, |of| *of);
        self.scope.push((each.iter_var.clone(), item));
        self.scope.push((each.accu_var.clone(), init.clone()));
        let (_, condition) = self.read(&each.loop_cond)?;
        let (step, more) = self.read(&each.loop_step)?;
        let grown = match join(Some(init), step, at)? {
            Kind::List(of, _) => {
                if of.as_deref().is_some_and(|of| matches!(of, Kind::List(..))) {
                    return Err(nested(at));
                }
                Kind::List(of, length)
            }
            other @ (Kind::Int | Kind::Double | Kind::Truth) => other,
        };
        let copies = if matches!(grown, Kind::List(..)) { length } else { 0 };
        steps = length
            .checked_mul(condition.saturating_add(more).saturating_add(copies))
            .and_then(|all| all.checked_add(steps))
            .unwrap_or(u64::MAX / 4)
            .min(u64::MAX / 4);
        self.scope.pop();
        self.scope.push((each.accu_var.clone(), grown));
        let (kind, last) = self.read(&each.result)?;
        self.scope.pop();
        self.scope.pop();
        Ok((kind, steps.saturating_add(last)))
    }
}

const NAMES: &str = "use the names alone, with + - * /, comparisons, a choice (a > b ? a : b), and max(), min(), sum(), \
     size(), map(), filter(), all(), exists() of lists";

fn wrong(at: Option<(usize, usize)>, message: &str, hint: &str) -> Wrong {
    Wrong { at, message: message.to_owned(), hint: hint.to_owned() }
}

fn nested(at: Option<(usize, usize)>) -> Wrong {
    wrong(at, "a list in a list", "join lists with +: ([a] + [b]).max()")
}

/// The one kind that two are of; whole numbers and others do not mix in CEL.
fn join(a: Option<Kind>, b: Kind, at: Option<(usize, usize)>) -> Result<Kind, Wrong> {
    match (a, b) {
        (None, b) => Ok(b),
        (Some(Kind::List(None, n)), Kind::List(of, m))
        | (Some(Kind::List(of, n)), Kind::List(None, m)) => Ok(Kind::List(of, n.max(m))),
        (Some(Kind::List(Some(a), n)), Kind::List(Some(b), m)) => {
            Ok(Kind::List(Some(Box::new(join(Some(*a), *b, at)?)), n.max(m)))
        }
        (Some(a), b) if a == b => Ok(b),
        (Some(a), b) => Err(mixed(&a, &b, at)),
    }
}

fn mixed(a: &Kind, b: &Kind, at: Option<(usize, usize)>) -> Wrong {
    let numbers = [Kind::Int, Kind::Double];
    if numbers.contains(a) && numbers.contains(b) {
        let said = "a number and a whole number do not go together in CEL";
        return wrong(at, said, "write whole numbers as 2.0");
    }
    wrong(at, &format!("{a} and {b} do not go together"), NAMES)
}

/// What a call gives.
fn result(name: &str, parts: &[Kind], at: Option<(usize, usize)>) -> Result<Kind, Wrong> {
    let is_number = |kind: &Kind| matches!(kind, Kind::Int | Kind::Double);
    let odd = || {
        let told = parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        Err(wrong(at, &format!("{} does not go with {told}", told_of(name)), NAMES))
    };
    match (name, parts) {
        (op::ADD, [Kind::List(a, n), Kind::List(b, m)]) => {
            let joined = join(Some(Kind::List(a.clone(), *n)), Kind::List(b.clone(), *m), at)?;
            let Kind::List(of, _) = joined else { return odd() };
            Ok(Kind::List(of, n.saturating_add(*m)))
        }
        (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE, [a, b])
            if is_number(a) && is_number(b) =>
        {
            join(Some(a.clone()), b.clone(), at)
        }
        (op::MODULO, [Kind::Int, Kind::Int])
        | ("size", [Kind::List(..)])
        | (op::NEGATE, [Kind::Int]) => Ok(Kind::Int),
        (op::NEGATE, [Kind::Double]) => Ok(Kind::Double),
        (op::EQUALS | op::NOT_EQUALS, [a, b]) if !matches!(a, Kind::List(..)) => {
            join(Some(a.clone()), b.clone(), at).map(|_| Kind::Truth)
        }
        (op::GREATER | op::GREATER_EQUALS | op::LESS | op::LESS_EQUALS, [a, b])
            if is_number(a) && is_number(b) =>
        {
            Ok(Kind::Truth)
        }
        (op::LOGICAL_AND | op::LOGICAL_OR, [Kind::Truth, Kind::Truth])
        | (op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, [Kind::Truth]) => Ok(Kind::Truth),
        (op::CONDITIONAL, [Kind::Truth, a, b]) => join(Some(a.clone()), b.clone(), at),
        (op::INDEX, [Kind::List(Some(of), _), Kind::Int]) => Ok((**of).clone()),
        (op::IN, [a, Kind::List(of, _)]) => {
            if let Some(of) = of {
                join(Some(a.clone()), (**of).clone(), at)?;
            }
            Ok(Kind::Truth)
        }
        ("max" | "min", all) if 1 < all.len() && all.iter().all(is_number) => Ok(Kind::Double),
        ("max" | "min" | "sum", [Kind::List(of, _)]) => match of.as_deref() {
            Some(of) if is_number(of) => Ok(Kind::Double),
            _ => odd(),
        },
        ("double", [a]) if is_number(a) => Ok(Kind::Double),
        ("max" | "min" | "sum" | "size" | "double", _) => odd(),
        _ if name.starts_with(['_', '-', '!', '@']) => odd(),
        _ => Err(wrong(at, &format!("there is no {name}()"), NAMES)),
    }
}

/// An operator as people write it.
fn told_of(name: &str) -> String {
    match name {
        op::CONDITIONAL => "a choice (? :)".to_owned(),
        op::INDEX => "an index ([ ])".to_owned(),
        op::IN => "in".to_owned(),
        _ => name.trim_matches('_').to_owned(),
    }
}
