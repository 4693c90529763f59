//! The example that people begin with.

use serde_json::{Value, json};

use super::verdict::problems;
use super::{messages, read, schema_of};
use crate::DefsCluster;

const EXAMPLE: &str = include_str!("../../../examples/cluster.yaml");

#[test]
fn the_example_is_eight_lines_that_the_api_server_takes() {
    assert_eq!(EXAMPLE.lines().count(), 8);
    let object: Value = serde_saphyr::from_str(EXAMPLE).unwrap();
    assert_eq!(problems(&schema_of::<DefsCluster>(), &object), []);
    let cluster: DefsCluster = read(object.clone());
    assert_eq!(messages(cluster.validate_cel()), [""; 0]);
    assert_eq!((cluster.spec.replicas, cluster.spec.pairs()), (6, 3));
    assert_eq!(object["apiVersion"], json!(crate::names::API_VERSION));
}

#[test]
fn what_is_left_out_is_what_the_schema_says() {
    let object: Value = serde_saphyr::from_str(EXAMPLE).unwrap();
    let filled = kube::core::cel::apply_defaults(&schema_of::<DefsCluster>(), &object);
    let cluster: DefsCluster = read(object);
    assert_eq!(serde_json::to_value(cluster).unwrap()["spec"], filled["spec"]);
}
