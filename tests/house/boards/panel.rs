//! Panels and boards, and the JSON that Grafana reads. What a board shows is for the files beside this one.

use serde_json::{Value, json};

/// What a panel is drawn as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// One number.
    Stat,
    /// Lines over time.
    Lines,
    /// Bars over time, one on the other.
    Bars,
    /// When each of several things was so.
    Timeline,
    /// Rows of labels with a number.
    Table,
    /// How many fell where, over time.
    Heatmap,
}

/// One query of a panel.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) text: String,
    /// How its series are called, in Grafana's words (`{{label}}`).
    pub(super) legend: &'static str,
}

/// One panel.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    look: Look,
    /// Grafana's word for it.
    unit: &'static str,
    /// Of the 24 columns of a board.
    width: u32,
    queries: Vec<Query>,
    /// From which value on it is what colour; the first has no bound.
    steps: Vec<(Option<f64>, &'static str)>,
    /// What a number stands for.
    words: Vec<(f64, &'static str, &'static str)>,
    /// A dashed line for the series of these names.
    dashed: &'static str,
    max: Option<f64>,
    goes_to_pipeline: bool,
    /// Is its name what is to be read, and not its number?
    is_name: bool,
}

/// A heading and the panels below it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) panels: Vec<Panel>,
}

/// A variable besides those that every board has.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// The values are those of the label of this name in what this query finds.
    pub(super) query: String,
    /// May several be chosen, or all?
    pub(super) is_many: bool,
}

/// A board.
#[derive(Debug, Clone)]
pub(super) struct Board {
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) variables: Vec<Variable>,
    pub(super) rows: Vec<Row>,
}

impl Panel {
    pub(super) fn new(look: Look, title: &'static str, description: &'static str) -> Self {
        let width = match look {
            Look::Stat => 3,
            Look::Lines | Look::Bars | Look::Timeline | Look::Table | Look::Heatmap => 12,
        };
        Self {
            title,
            description,
            look,
            unit: "short",
            width,
            queries: Vec::new(),
            steps: Vec::new(),
            words: Vec::new(),
            dashed: "",
            max: None,
            goes_to_pipeline: false,
            is_name: false,
        }
    }

    pub(super) fn query(mut self, text: impl Into<String>, legend: &'static str) -> Self {
        self.queries.push(Query { text: text.into(), legend });
        self
    }

    pub(super) fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    pub(super) fn width(self, width: u32) -> Self {
        Self { width, ..self }
    }

    pub(super) fn up_to(self, max: f64) -> Self {
        Self { max: Some(max), ..self }
    }

    /// Its first colour, and from which value on it is which other.
    pub(super) fn colours(mut self, first: &'static str, more: &[(f64, &'static str)]) -> Self {
        self.steps = [(None, first)]
            .into_iter()
            .chain(more.iter().map(|(from, colour)| (Some(*from), *colour)))
            .collect();
        self
    }

    /// What a number is shown as, and its colour.
    pub(super) fn word(mut self, value: f64, word: &'static str, colour: &'static str) -> Self {
        self.words.push((value, word, colour));
        self
    }

    /// Series whose names match this are dashed lines.
    pub(super) fn dashed(self, names: &'static str) -> Self {
        Self { dashed: names, ..self }
    }

    /// Each of its rows leads to the board of its pipeline.
    pub(super) fn leading_on(self) -> Self {
        Self { goes_to_pipeline: true, ..self }
    }

    /// The names of its series are what is shown.
    pub(super) fn by_name(self) -> Self {
        Self { is_name: true, ..self }
    }

    fn height(&self) -> u32 {
        if self.look == Look::Stat { 4 } else { 8 }
    }

    fn json(&self, id: usize, (x, y): (u32, u32)) -> Value {
        let (kind, is_instant) = match self.look {
            Look::Stat => ("stat", true),
            Look::Table => ("table", true),
            Look::Lines | Look::Bars => ("timeseries", false),
            Look::Timeline => ("state-timeline", false),
            Look::Heatmap => ("heatmap", false),
        };
        let format = match self.look {
            Look::Table => "table",
            Look::Heatmap => "heatmap",
            Look::Stat | Look::Lines | Look::Bars | Look::Timeline => "time_series",
        };
        let targets = self.queries.iter().zip('A'..).map(|(query, letter)| {
            json!({
                "refId": letter.to_string(), "datasource": datasource(), "editorMode": "code",
                "expr": query.text, "legendFormat": query.legend,
                "instant": is_instant, "range": !is_instant, "format": format,
            })
        });
        let mut panel = json!({
            "id": id, "type": kind, "title": self.title, "description": self.description,
            "datasource": datasource(),
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height()},
            "fieldConfig": {"defaults": self.defaults(), "overrides": self.overrides()},
            "options": self.options(),
            "targets": targets.collect::<Vec<_>>(),
        });
        if self.look == Look::Table {
            let hidden = json!({"Time": true, "cluster": true, "job": true, "instance": true});
            panel["transformations"] = json!([
                {"id": "merge", "options": {}},
                {"id": "organize", "options": {"excludeByName": hidden}},
            ]);
        }
        panel
    }

    fn defaults(&self) -> Value {
        let steps = if self.steps.is_empty() { vec![(None, "text")] } else { self.steps.clone() };
        let steps: Vec<Value> =
            steps.iter().map(|(value, color)| json!({"value": value, "color": color})).collect();
        let mut defaults = json!({
            "unit": self.unit,
            "color": {"mode": if self.look == Look::Lines || self.look == Look::Bars { "palette-classic" } else { "thresholds" }},
            "thresholds": {"mode": "absolute", "steps": steps},
            "mappings": self.mappings(),
        });
        if let Some(max) = self.max {
            defaults["min"] = json!(0);
            defaults["max"] = json!(max);
        }
        let lines_at = if self.steps.len() > 1 { "dashed" } else { "off" };
        match self.look {
            Look::Lines => {
                defaults["min"] = json!(0);
                defaults["custom"] = json!({
                    "drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never",
                    "thresholdsStyle": {"mode": lines_at},
                });
            }
            Look::Bars => {
                defaults["min"] = json!(0);
                defaults["custom"] = json!({
                    "drawStyle": "bars", "fillOpacity": 70, "lineWidth": 0,
                    "stacking": {"mode": "normal", "group": "A"},
                });
            }
            Look::Timeline => defaults["custom"] = json!({"fillOpacity": 70, "lineWidth": 0}),
            Look::Table if !self.steps.is_empty() => {
                defaults["custom"] = json!({"align": "auto"});
            }
            Look::Stat | Look::Table | Look::Heatmap => {}
        }
        defaults
    }

    fn mappings(&self) -> Value {
        if self.words.is_empty() {
            return json!([]);
        }
        let words = self.words.iter().enumerate().map(|(index, (value, word, colour))| {
            (value.to_string(), json!({"index": index, "text": word, "color": colour}))
        });
        json!([{"type": "value", "options": words.collect::<serde_json::Map<_, _>>()}])
    }

    fn overrides(&self) -> Value {
        let mut overrides = Vec::new();
        if !self.dashed.is_empty() {
            overrides.push(json!({
                "matcher": {"id": "byRegexp", "options": self.dashed},
                "properties": [
                    {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 6]}},
                    {"id": "custom.fillOpacity", "value": 0},
                ],
            }));
        }
        if self.goes_to_pipeline {
            let url = "/d/penstock-pipeline?${datasource:queryparam}&${cluster:queryparam}&${job:queryparam}\
                       &var-namespace=${__data.fields.namespace}&var-pipeline=${__data.fields.pipeline}&${__url_time_range}";
            overrides.push(json!({
                "matcher": {"id": "byName", "options": "pipeline"},
                "properties": [{"id": "links", "value": [{"title": "Its board", "url": url}]}],
            }));
        }
        json!(overrides)
    }

    fn options(&self) -> Value {
        match self.look {
            Look::Stat => json!({
                "colorMode": "value", "graphMode": "none", "textMode": if self.is_name { "name" } else { "value" },
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
            }),
            Look::Lines | Look::Bars => json!({
                "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
            Look::Timeline => json!({
                "mergeValues": true, "showValue": "never", "rowHeight": 0.8,
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": false},
            }),
            Look::Table => json!({"showHeader": true, "cellHeight": "sm"}),
            Look::Heatmap => json!({
                "calculate": false, "cellGap": 1, "yAxis": {"unit": self.unit},
                "color": {"mode": "scheme", "scheme": "Blues", "steps": 32},
                "legend": {"show": false}, "tooltip": {"mode": "single"},
            }),
        }
    }
}

fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

impl Board {
    /// As Grafana imports it.
    pub(super) fn json(&self) -> Value {
        let mut panels = Vec::new();
        let mut y = 0;
        for row in &self.rows {
            panels.push(json!({
                "id": panels.len() + 1, "type": "row", "title": row.title, "collapsed": false, "panels": [],
                "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
            }));
            y += 1;
            let (mut x, mut tallest) = (0, 0);
            for panel in &row.panels {
                if x + panel.width > 24 {
                    (x, y, tallest) = (0, y + tallest, 0);
                }
                panels.push(panel.json(panels.len() + 1, (x, y)));
                x += panel.width;
                tallest = tallest.max(panel.height());
            }
            y += tallest;
        }
        let boards = json!({
            "type": "dashboards", "title": "Penstock", "tags": ["penstock"], "asDropdown": true,
            "includeVars": true, "keepTime": true,
        });
        json!({
            "uid": self.uid, "title": self.title, "description": self.description,
            "tags": ["penstock"], "editable": false, "graphTooltip": 1, "schemaVersion": 39, "version": 1,
            "timezone": "browser", "refresh": "30s", "time": {"from": "now-3h", "to": "now"},
            "links": [boards],
            "templating": {"list": self.variables()},
            "annotations": {"list": []},
            "panels": panels,
        })
    }

    fn variables(&self) -> Vec<Value> {
        let mut all = vec![json!({
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
            "hide": 0, "refresh": 1, "regex": "", "multi": false, "includeAll": false,
        })];
        let places = [
            // A Prometheus of one cluster has no such label; `.*` matches that as well.
            ("cluster", "Cluster", "penstock_build_info", ".*"),
            ("job", "Job", r#"penstock_build_info{cluster=~"$cluster"}"#, ".+"),
            (
                "instance",
                "Instance",
                r#"penstock_build_info{cluster=~"$cluster", job=~"$job"}"#,
                ".+",
            ),
        ];
        for (name, label, series, all_value) in places {
            let query = format!("label_values({series}, {name})");
            all.push(variable(name, label, &query, "", Some(all_value)));
        }
        for Variable { name, label, query, is_many } in &self.variables {
            let pick = format!(r#"/[{{,]{name}="([^"]+)"/"#);
            let query = format!("query_result({query})");
            all.push(variable(name, label, &query, &pick, is_many.then_some(".*")));
        }
        all
    }
}

/// A variable that asks the data source anew whenever the time range changes. With a value for all, several may be chosen.
fn variable(name: &str, label: &str, query: &str, pick: &str, all: Option<&str>) -> Value {
    let mut variable = json!({
        "name": name, "label": label, "type": "query", "datasource": datasource(),
        "query": {"query": query, "refId": "StandardVariableQuery"}, "definition": query,
        "regex": pick, "refresh": 2, "sort": 1, "hide": 0, "multi": all.is_some(), "includeAll": all.is_some(),
    });
    if let Some(all) = all {
        variable["allValue"] = json!(all);
        variable["current"] = json!({"text": "All", "value": "$__all"});
    }
    variable
}
