//! The CRDs: as the code makes them, and never removed with the release.

use serde_json::{Value, json};

use crate::helm::{matrix, render, root, yaml};
use crate::objects::{kind, name, of_kind};

const FOLDER: &str = "charts/defs/files/crds";

fn made_from_the_code() -> Vec<Value> {
    let mut names: Vec<_> = std::fs::read_dir(root().join(FOLDER))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    names.iter().map(|name| yaml(&format!("{FOLDER}/{name}"))).collect()
}

#[test]
fn the_crds_are_those_of_the_code_and_stay_when_the_release_goes() {
    let objects = render(&[]);
    let rendered = of_kind(&objects, "CustomResourceDefinition");
    let made = made_from_the_code();
    assert_eq!(rendered.len(), made.len());
    for (rendered, mut made) in rendered.into_iter().zip(made) {
        let name = name(rendered).to_owned();
        let metadata = &rendered["metadata"];
        assert_eq!(metadata["annotations"], json!({"helm.sh/resource-policy": "keep"}), "{name}");
        made["metadata"]["annotations"] = metadata["annotations"].clone();
        made["metadata"]["labels"] = metadata["labels"].clone();
        assert!(*rendered == made, "{name} is another one than {FOLDER} has");
    }
}

#[test]
fn without_the_switch_there_is_no_crd() {
    let objects = render(&["--set", "crds.install=false"]);
    assert!(objects.iter().all(|object| kind(object) != "CustomResourceDefinition"));
}

#[test]
fn a_crd_is_the_only_thing_that_outlives_the_release() {
    for values in matrix() {
        for object in render(&["--values", &values]) {
            let keeps = !object["metadata"]["annotations"]["helm.sh/resource-policy"].is_null();
            assert_eq!(keeps, kind(&object) == "CustomResourceDefinition", "{values}: {object}");
        }
    }
}
