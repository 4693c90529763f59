//! That the chart's dashboards ask only for metrics and labels that are declared.

use std::collections::BTreeSet;

use defs_telemetry::declared::Declared;
use defs_telemetry::metrics;
use serde_json::Value;

use crate::repository::root;

const FOLDER: &str = "charts/defs/files/dashboards";

/// Labels that whoever scrapes adds, and that a histogram has.
const SCRAPED: [&str; 3] = ["namespace", "pod", "le"];

/// Words of the query language that are neither functions nor metrics.
const WORDS: [&str; 4] = ["and", "or", "unless", "offset"];

/// The queries of all dashboards, with their panel's title.
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for entry in std::fs::read_dir(root().join(FOLDER)).unwrap() {
        let path = entry.unwrap().path();
        let dashboard: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                queries.push((text(&panel["title"]), text(&target["expr"])));
            }
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            if let Some(query) = variable["query"]["query"].as_str() {
                queries.push((variable["name"].as_str().unwrap().to_owned(), query.to_owned()));
            }
        }
    }
    assert!(queries.len() > 20, "the dashboards of {FOLDER} were not read: {queries:?}");
    queries
}

/// The metrics and the labels that a query names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    metrics: BTreeSet<String>,
    labels: BTreeSet<String>,
}

/// Takes a query apart: first what stands in quotes and brackets goes, then selectors and
/// groups give labels, and what is left and is no function is a metric.
fn named(query: &str) -> Named {
    let [quoted, bracketed] = [r#""[^"]*""#, r"\[[^\]]*\]"].map(pattern);
    let query = quoted.replace_all(query, "");
    let query = bracketed.replace_all(&query, "");
    let [selectors, groups] =
        [r"\{([^}]*)\}", r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)"].map(pattern);
    let mut labels = BTreeSet::new();
    for part in selectors.captures_iter(&query).chain(groups.captures_iter(&query)) {
        labels.extend(words(&part[1]).into_iter().map(|(word, _)| word));
    }
    let query = selectors.replace_all(&query, "");
    let query = groups.replace_all(&query, "");
    let is_metric =
        |(word, after): &(String, &str)| !after.starts_with('(') && !WORDS.contains(&&**word);
    let metrics = words(&query).into_iter().filter(is_metric).map(|(word, _)| word).collect();
    Named { metrics, labels }
}

/// The words of a text, each with what comes after it.
fn words(text: &str) -> Vec<(String, &str)> {
    let words = pattern(r"\b[A-Za-z_:][A-Za-z0-9_:]*");
    let found = words.find_iter(text);
    found.map(|it| (it.as_str().to_owned(), text[it.end()..].trim_start())).collect()
}

fn pattern(pattern: &str) -> regex::Regex {
    regex::Regex::new(pattern).unwrap()
}

/// The declared metric that a query names.
fn declared(name: &str) -> Option<&'static Declared> {
    metrics::all().find(|declared| declared.series().iter().any(|series| series == name))
}

#[test]
fn dashboards_ask_for_declared_metrics_by_their_declared_labels() {
    for (title, query) in queries() {
        // A variable's query names a label as an argument.
        let query = match query.strip_prefix("label_values(") {
            Some(rest) => rest.split(',').next().unwrap().to_owned(),
            None => query,
        };
        let Named { metrics, labels } = named(&query);
        assert!(!metrics.is_empty(), "{title}: no metric in `{query}`");
        let mut known: BTreeSet<_> = SCRAPED.into();
        for name in &metrics {
            let metric = declared(name);
            let metric = metric.unwrap_or_else(|| panic!("{title}: no metric is called {name}"));
            known.extend(metric.labels);
        }
        for label in &labels {
            assert!(known.contains(label.as_str()), "{title}: no label is called {label}");
        }
    }
}

#[test]
fn a_query_is_taken_apart_into_metrics_and_labels() {
    let query = r#"histogram_quantile(0.99, sum by (pod, le) (rate(a_seconds_bucket{namespace=~"$x", q!="b(c)"}[$__rate_interval]))) / b_total > 0"#;
    let sets = |metrics: &[&str], labels: &[&str]| Named {
        metrics: metrics.iter().map(|name| (*name).to_owned()).collect(),
        labels: labels.iter().map(|name| (*name).to_owned()).collect(),
    };
    assert_eq!(
        named(query),
        sets(&["a_seconds_bucket", "b_total"], &["pod", "le", "namespace", "q"])
    );
    assert_eq!(named("sum(up) unless on (pod) c"), sets(&["up", "c"], &["pod"]));
    assert_eq!(declared("defs_store_fsync_seconds_bucket").unwrap().name, "defs.store.fsync");
    assert_eq!(declared("defs_store_fsync_seconds"), None);
    assert_eq!(declared("defs_nothing_total"), None);
}
