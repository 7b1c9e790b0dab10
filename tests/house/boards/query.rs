//! The queries of the boards, made of the families of the metrics' own table, so that no name is written twice.
//!
//! Two things are said here once for all of them. A scrape that does not honour our labels calls our `namespace`
//! `exported_namespace`, and puts Penstock's own in its place; each query reads both. And every replica of Penstock is scraped,
//! so that series are put together as the table says who tells them.

use penstock::report::metrics::table::{Family, LEADER, ToldBy};

/// Where Penstock runs, as a board's variables say.
const WHERE: &str = r#"cluster=~"$cluster", job=~"$job", instance=~"$instance""#;

/// Over one scrape and a bit: for rates and for what happened just now.
pub(super) const LATELY: &str = "$__rate_interval";
/// Over all that is shown.
pub(super) const SHOWN: &str = "$__range";

/// Which pipelines a board shows, as its variables say: matchers besides the namespace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope(&'static str);

/// Every pipeline of the chosen namespaces.
pub(super) const FLEET: Scope = Scope("");
/// The chosen pipeline.
pub(super) const ONE: Scope = Scope(r#"pipeline="$pipeline""#);
/// The chosen stages of the chosen pipeline.
pub(super) const STAGES: Scope = Scope(r#"pipeline="$pipeline", stage=~"$stage""#);

impl Scope {
    /// The series of a family, by their labels; `more` are further matchers.
    pub(super) fn of(self, family: &Family, more: &str) -> String {
        let labels: Vec<&str> = family.labels.iter().map(|label| label.name).collect();
        self.by(family, more, &labels)
    }

    /// The same by fewer labels.
    pub(super) fn by(self, family: &Family, more: &str, labels: &[&str]) -> String {
        format!(
            "{} by ({}) ({})",
            together(family),
            labels.join(", "),
            self.named(family, more, "")
        )
    }

    /// How much a busy counter grows a second, by these labels.
    pub(super) fn rate(self, family: &Family, more: &str, labels: &[&str]) -> String {
        let rate = self.over(family, more, |series| format!("rate({series}[{LATELY}])"));
        format!("sum by ({}) ({rate})", labels.join(", "))
    }

    /// How often something rare happened within a range, by these labels. `increase` alone does not see the first time: a series
    /// begins at 1, and nothing came before it. So the first value of a series that begins within the range is added.
    pub(super) fn count(self, family: &Family, range: &str, labels: &[&str]) -> String {
        let grown = self.over(family, "", |series| format!("increase({series}[{range}])"));
        let begun = self.over(family, "", |series| {
            format!("(min_over_time({series}[{range}]) unless {series} offset {range})")
        });
        format!(
            "sum by ({0}) ({grown}) + (sum by ({0}) ({begun}) or sum by ({0}) ({grown}) * 0)",
            labels.join(", ")
        )
    }

    fn named(self, family: &Family, more: &str, range: &str) -> String {
        self.over(family, more, |series| format!("{series}{range}"))
    }

    /// `with` of the series in both namings, under one.
    fn over(self, family: &Family, more: &str, with: impl Fn(&str) -> String) -> String {
        let matchers = |namespace: &str| {
            let all = [WHERE, namespace, self.0, more];
            let all: Vec<&str> = all.into_iter().filter(|part| !part.is_empty()).collect();
            with(&format!("{}{{{}}}", family.name, all.join(", ")))
        };
        let renamed = matchers(r#"exported_namespace=~"$namespace""#);
        let honoured = matchers(r#"exported_namespace="", namespace=~"$namespace""#);
        format!(
            r#"label_replace({renamed} or {honoured}, "namespace", "$1", "exported_namespace", "(.+)")"#
        )
    }
}

/// The series of a family that tells of Penstock itself.
pub(super) fn own(family: &Family) -> String {
    own_where(family, "")
}

/// The same, with further matchers.
pub(super) fn own_where(family: &Family, more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!("{}{{{WHERE}{more}}}", family.name)
}

/// How many lead of a release: more than one of any, else of the one that has fewest.
pub(super) fn leaders() -> String {
    let each = format!("sum by (namespace, job) ({})", own(&LEADER));
    format!("max({each}) > 1 or min({each})")
}

/// How much a counter of Penstock itself grows a second, by these labels.
pub(super) fn own_rate(family: &Family, more: &str, labels: &[&str]) -> String {
    format!("sum by ({}) (rate({}[{LATELY}]))", labels.join(", "), own_where(family, more))
}

/// A quantile of a histogram, for each replica of Penstock.
pub(super) fn quantile(family: &Family, quantile: f64) -> String {
    let buckets = format!("{}_bucket{{{WHERE}}}", family.name);
    format!("histogram_quantile({quantile}, sum by (le, instance) (rate({buckets}[{LATELY}])))")
}

/// How many a second fell into each bucket of a histogram.
pub(super) fn buckets(family: &Family) -> String {
    format!("sum by (le) (rate({}_bucket{{{WHERE}}}[{LATELY}]))", family.name)
}

/// What a query finds, or 0 when it finds nothing.
pub(super) fn or_none(query: &str) -> String {
    format!("{query} or vector(0)")
}

fn together(family: &Family) -> &'static str {
    match family.told_by {
        ToldBy::All | ToldBy::Leader => "max",
        ToldBy::Each => "sum",
    }
}
