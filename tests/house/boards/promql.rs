//! PromQL as far as the rules of boards and alerts need to see into it: which series are asked for, by which matchers, and within what.

use std::collections::BTreeSet;

use penstock::report::metrics::table::{FAMILIES, Family, Kind};
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};

/// One mention of series in a query.
#[derive(Debug, Clone)]
pub(super) struct Mention {
    pub(super) name: String,
    /// Label, operator and value of each matcher.
    pub(super) matchers: Vec<(String, String)>,
    /// The function that reads its range, `None` for the latest value.
    pub(super) function: Option<String>,
    /// Does it stand on the right of `unless`, only to say which series are meant?
    pub(super) is_absent: bool,
}

/// What a query asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Read {
    pub(super) mentions: Vec<Mention>,
    /// Labels that it puts together or matches by.
    pub(super) labels: BTreeSet<String>,
}

impl Read {
    /// Names of the series, as they are written.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.mentions.iter().map(|mention| mention.name.clone()).collect()
    }
}

/// Reads a query, in which Grafana's variables may stand for ranges.
pub(super) fn read(query: &str) -> Result<Read, String> {
    let query = query.replace("$__rate_interval", "5m").replace("$__range", "1h");
    let mut found = Read::default();
    walk(&parser::parse(&query)?, None, false, &mut found);
    Ok(found)
}

/// The family that a series belongs to, and its name; `None` when it is none of ours.
pub(super) fn of(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| {
        let rest = name.strip_prefix(family.name);
        rest == Some("")
            || (family.kind == Kind::Histogram
                && matches!(rest, Some("_bucket" | "_sum" | "_count")))
    })
}

/// The name of that family.
pub(super) fn family(name: &str) -> Option<&'static str> {
    of(name).map(|family| family.name)
}

fn walk(expr: &Expr, function: Option<&str>, is_absent: bool, found: &mut Read) {
    match expr {
        Expr::Aggregate(aggregate) => {
            found.take(aggregate.modifier.as_ref());
            walk(&aggregate.expr, function, is_absent, found);
        }
        Expr::Unary(unary) => walk(&unary.expr, function, is_absent, found),
        Expr::Binary(binary) => {
            if let Some(modifier) = &binary.modifier {
                found.take(modifier.matching.as_ref());
            }
            let is_unless = binary.op.to_string() == "unless";
            walk(&binary.lhs, function, is_absent, found);
            walk(&binary.rhs, function, is_absent || is_unless, found);
        }
        Expr::Paren(paren) => walk(&paren.expr, function, is_absent, found),
        Expr::Subquery(subquery) => walk(&subquery.expr, function, is_absent, found),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        Expr::VectorSelector(selector) => found.mention(selector, None, is_absent),
        Expr::MatrixSelector(matrix) => found.mention(&matrix.vs, function, is_absent),
        Expr::Call(call) => {
            for argument in &call.args.args {
                walk(argument, Some(call.func.name), is_absent, found);
            }
        }
    }
}

impl Read {
    fn mention(&mut self, selector: &VectorSelector, function: Option<&str>, is_absent: bool) {
        let matchers = &selector.matchers.matchers;
        self.mentions.push(Mention {
            name: selector.name.clone().unwrap_or_default(),
            matchers: matchers.iter().map(|it| (it.name.clone(), it.value.clone())).collect(),
            function: function.map(str::to_owned),
            is_absent,
        });
    }

    fn take(&mut self, modifier: Option<&LabelModifier>) {
        self.labels.extend(modifier.into_iter().flat_map(|it| it.labels().labels.clone()));
    }
}
