//! Of which process all that is exported is said.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// What a process knows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its program: `defs-node`.
    pub program: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// The name of its machine, or of its pod.
    pub host: String,
}

/// What `process` is, with what was said of it from outside, which wins.
pub(crate) fn resource(process: &Process, said: &BTreeMap<String, String>) -> Resource {
    let Process { program, version, host } = process;
    let instance = format!("{host}/{}", std::process::id());
    let own = [
        ("service.name", (*program).to_owned()),
        ("service.version", (*version).to_owned()),
        ("service.instance.id", instance),
        ("host.name", host.clone()),
    ];
    let mut all: BTreeMap<String, String> =
        own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    all.extend(said.iter().map(|(name, value)| (name.clone(), value.clone())));
    let attributes = all.iter().map(|(name, value)| attribute(name, value)).collect();
    Resource { attributes, ..Resource::default() }
}

/// By what spans and metrics are made.
pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "defs".to_owned(), ..InstrumentationScope::default() }
}

pub(crate) fn attribute(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_from_outside_wins_over_what_a_process_knows_of_itself() {
        let process = Process { program: "defs-node", version: "1", host: "m1".to_owned() };
        let said = BTreeMap::from(
            [("service.name", "storage"), ("k8s.pod.name", "defs-0")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let attributes = resource(&process, &said).attributes;
        for (name, value) in [
            ("service.name", "storage"),
            ("service.version", "1"),
            ("host.name", "m1"),
            ("k8s.pod.name", "defs-0"),
        ] {
            assert!(attributes.contains(&attribute(name, value)), "{name}: {attributes:?}");
        }
        assert_eq!(attributes.len(), 5);
    }
}
