//! What can be set, as `values.yaml` says it to people: a comment `# -- words` is about the key below
//! it. The chart's README has it as a table.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde_json::Value;

/// The page with the table.
pub const README: &str = "charts/defs/README.md";

const VALUES: &str = "charts/defs/values.yaml";

/// Between these lines stands the table.
const BEGIN: &str = "<!-- values -->\n";
const END: &str = "<!-- /values -->\n";

/// A value, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The keys that lead to it.
    pub(crate) path: Vec<String>,
    /// What it is for.
    pub(crate) words: String,
}

/// The chart's README, with the table as `values.yaml` is now.
pub fn readme(root: &Path) -> io::Result<String> {
    let page = std::fs::read_to_string(root.join(README))?;
    let text = std::fs::read_to_string(root.join(VALUES))?;
    let values = serde_saphyr::from_str(&text).map_err(io::Error::other)?;
    let table = table(&rows(&text), &values);
    let missing = || io::Error::other(format!("{README} lacks the lines {BEGIN}{END}"));
    let (before, rest) = page.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

/// The rows of `text`, in its order.
pub(crate) fn rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut words = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if let Some(said) = line.strip_prefix("# -- ") {
            words = Some(said.to_owned());
            continue;
        }
        let Some((key, _)) = line.split_once(':').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        above.retain(|(further_in, _)| *further_in < indent);
        above.push((indent, key));
        if let Some(words) = words.take() {
            let path = above.iter().map(|(_, key)| (*key).to_owned()).collect();
            rows.push(Row { path, words });
        }
    }
    rows
}

fn table(rows: &[Row], values: &Value) -> String {
    let mut table = "| value | default | what it is for |\n|---|---|---|\n".to_owned();
    for Row { path, words } in rows {
        let default = path.iter().fold(values, |value, key| &value[key.as_str()]);
        let (name, words) = (path.join("."), words.replace('|', "\\|"));
        // Writing to a String can't fail.
        writeln!(table, "| `{name}` | `{default}` | {words} |").ok();
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::helm::{render_text, root};

    const TEXT: &str = "\
# No row.
image:
  # -- Without tag.
  repository: a/b
  # Nor this.
  other: 1
# -- Either `a|b`.
word: \"\"
# -- All of it.
some:
  deep: [1]
";

    fn documented() -> (Vec<Row>, Value) {
        let text = std::fs::read_to_string(root().join(VALUES)).unwrap();
        (rows(&text), serde_saphyr::from_str(&text).unwrap())
    }

    #[test]
    fn a_comment_with_two_dashes_is_a_row_with_the_default_of_what_is_below() {
        let table = table(&rows(TEXT), &serde_saphyr::from_str(TEXT).unwrap());
        let expected = "\
| value | default | what it is for |
|---|---|---|
| `image.repository` | `\"a/b\"` | Without tag. |
| `word` | `\"\"` | Either `a\\|b`. |
| `some` | `{\"deep\":[1]}` | All of it. |
";
        assert_eq!(table, expected);
    }

    #[test]
    fn the_readme_says_what_the_values_say() {
        let written = std::fs::read_to_string(root().join(README)).unwrap();
        assert!(written == readme(root()).unwrap(), "{README} is out of date: run `make pages`");
    }

    #[test]
    fn every_value_is_documented() {
        let (rows, values) = documented();
        let mut missing = Vec::new();
        undocumented(&rows, &values, &mut Vec::new(), &mut missing);
        assert!(missing.is_empty(), "write `# -- what it is for` above these: {missing:#?}");
    }

    fn undocumented(rows: &[Row], value: &Value, at: &mut Vec<String>, missing: &mut Vec<String>) {
        if rows.iter().any(|row| row.path == *at) {
            return;
        }
        let Some(fields) = value.as_object().filter(|fields| !fields.is_empty()) else {
            missing.push(at.join("."));
            return;
        };
        for (key, value) in fields {
            at.push(key.clone());
            undocumented(rows, value, at, missing);
            at.pop();
        }
    }

    #[test]
    fn the_schema_and_the_values_have_the_same_keys() {
        let (rows, values) = documented();
        let schema = std::fs::read_to_string(root().join("charts/defs/values.schema.json"));
        let schema: Value = serde_json::from_str(&schema.unwrap()).unwrap();
        let mut different = Vec::new();
        differences(&rows, (&schema, &values), &mut Vec::new(), &mut different);
        assert!(different.is_empty(), "{different:#?}");
    }

    /// Below a row only the schema knows what may be there.
    fn differences(
        rows: &[Row],
        (schema, value): (&Value, &Value),
        at: &mut Vec<String>,
        different: &mut Vec<String>,
    ) {
        if rows.iter().any(|row| row.path == *at) {
            return;
        }
        if schema["additionalProperties"] != false {
            different.push(format!("{} lets in what nobody knows", at.join(".")));
        }
        let keys = |it: &Value| -> BTreeSet<String> {
            it.as_object().into_iter().flat_map(|fields| fields.keys().cloned()).collect()
        };
        // Helm's own: a chart that has this one as a part hands it down.
        let mut known = keys(&schema["properties"]);
        known.remove("global");
        let said = keys(value);
        for key in known.symmetric_difference(&said) {
            different.push(format!("{}: {key}", at.join(".")));
        }
        for key in known.intersection(&said) {
            at.push(key.clone());
            let parts = (&schema["properties"][key], &value[key.as_str()]);
            differences(rows, parts, at, different);
            at.pop();
        }
    }

    /// Each value set to another one, and what must be set besides so that this shows.
    const CHANGED: &[(&str, &str, &[&str])] = &[
        ("image.repository", "a.example/b", &[]),
        ("image.tag", "9.9.9", &[]),
        ("image.digest", DIGEST, &[]),
        ("image.pullPolicy", "Always", &[]),
        ("imagePullSecrets[0].name", "a", &[]),
        ("nodes.repository", "a.example/b", &[]),
        ("fullnameOverride", "other", &[]),
        ("watchNamespace", "other", &[]),
        ("crds.install", "false", &[]),
        ("replicas", "2", &[]),
        ("podDisruptionBudget.enabled", "false", &["replicas=2"]),
        ("serviceAccount.create", "false", &["serviceAccount.name=a"]),
        ("serviceAccount.name", "a", &[]),
        ("serviceAccount.annotations.a", "b", &[]),
        ("rbac.create", "false", &[]),
        ("operator.podMonitors", "true", &[]),
        ("certManager.enabled", "true", &[]),
        ("admissionPolicies.enabled", "false", &[]),
        ("admissionPolicies.trustedUsers", "{a}", &[]),
        ("networkPolicy.enabled", "false", &[]),
        ("networkPolicy.ingressFrom[0].podSelector.matchLabels.a", "b", &[]),
        ("networkPolicy.apiServer.cidrs", "{192.0.2.1/32}", &[]),
        ("networkPolicy.apiServer.ports", "{1}", &[]),
        ("networkPolicy.extraEgress[0].ports[0].port", "1", &[]),
        ("metrics.podMonitor.enabled", "true", &[]),
        ("metrics.podMonitor.interval", "1s", &["metrics.podMonitor.enabled=true"]),
        ("metrics.podMonitor.labels.a", "b", &["metrics.podMonitor.enabled=true"]),
        ("dashboards.enabled", "true", &[]),
        ("dashboards.labels.a", "b", &["dashboards.enabled=true"]),
        ("dashboards.annotations.a", "b", &["dashboards.enabled=true"]),
        ("telemetry.otlp.endpoint", "http://a:1", &[]),
        ("telemetry.otlp.protocol", "http/protobuf", &["telemetry.otlp.endpoint=http://a:1"]),
        ("telemetry.otlp.sampling", "0.5", &["telemetry.otlp.endpoint=http://a:1"]),
        ("log.level", "debug", &[]),
        ("log.format", "json", &[]),
        ("listenAddress", "::", &[]),
        ("extraEnv[0].name", "A", &[]),
        ("resources.limits.memory", "1Gi", &[]),
        ("podAnnotations.a", "b", &[]),
        ("podLabels.a", "b", &[]),
        ("nodeSelector.a", "b", &[]),
        ("tolerations[0].key", "a", &[]),
        ("affinity.nodeAffinity.a", "b", &[]),
        ("topologySpreadConstraints[0].maxSkew", "1", &[]),
        ("priorityClassName", "a", &[]),
        ("test.image.repository", "a.example/b", &[]),
        ("test.image.tag", "9.9.9", &[]),
        ("test.image.digest", DIGEST, &[]),
        ("test.image.pullPolicy", "Always", &[]),
        ("test.storageSize", "2Gi", &[]),
        ("test.storageClassName", "a", &[]),
        ("test.timeout", "1m", &[]),
    ];

    const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    #[test]
    fn every_value_changes_what_is_rendered() {
        let mut bases: BTreeMap<&[&str], String> = BTreeMap::new();
        for (path, value, besides) in CHANGED {
            let besides_set: Vec<_> = besides.iter().flat_map(|set| ["--set", set]).collect();
            let base = bases.entry(*besides).or_insert_with(|| render_text(&besides_set).unwrap());
            let set = format!("{path}={value}");
            let changed = render_text(&[&besides_set[..], &["--set", &set]].concat()).unwrap();
            assert!(*base != changed, "{set} changes nothing");
        }
    }

    #[test]
    fn every_value_is_among_those_that_are_changed() {
        let is_in = |row: &Row, path: &str| {
            let name = row.path.join(".");
            let rest = path.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let (rows, _) = documented();
        let untried: Vec<_> = rows
            .iter()
            .filter(|row| !CHANGED.iter().any(|(path, _, _)| is_in(row, path)))
            .map(|row| row.path.join("."))
            .collect();
        assert!(untried.is_empty(), "say in CHANGED how these show: {untried:#?}");
    }
}
