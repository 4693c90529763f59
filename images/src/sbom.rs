//! The list of what an image is made of, as SPDX 2.3: the image, its programs with their
//! digests, and all crates with version, licence, and the digest that Cargo.lock pins.
//!
//! It lies in the image as a file, and beside the archive. An attached list (a referrer)
//! gets lost where images are carried as archives, and is not looked for by every scanner.

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::crates::{Crate, CrateId, Crates, Use};
use crate::digest::Digest;
use crate::image::{LICENSE, PATH, SOURCE};

/// What stands where nobody looked.
const UNKNOWN: &str = "NOASSERTION";

const DOCUMENT_ID: &str = "SPDXRef-DOCUMENT";
const IMAGE_ID: &str = "SPDXRef-image";

/// What the list is of.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// The image's name without registry.
    pub(crate) image: &'a str,
    /// The image's tag.
    pub(crate) version: &'a str,
    /// When it was made, as SPDX writes times.
    pub(crate) created: &'a str,
    /// Each program's name, its crate, and the digest of the file in the image.
    pub(crate) programs: &'a [(&'a str, &'a str, Digest)],
    /// All that they are made of.
    pub(crate) crates: &'a Crates,
}

/// The document.
pub(crate) fn document(subject: &Subject<'_>) -> Result<Vec<u8>> {
    let mut packages = vec![image(subject)];
    let mut relationships = vec![relation(DOCUMENT_ID, "DESCRIBES", IMAGE_ID)];
    for (name, package, digest) in subject.programs {
        let id = program_id(name);
        relationships.push(relation(IMAGE_ID, "CONTAINS", &id));
        let made_of = subject.crates.ours(package)?;
        relationships.push(relation(&id, "GENERATED_FROM", &crate_id(subject.crates, made_of)?));
        packages.push(program(name, subject.version, *digest));
    }
    for (id, found) in &subject.crates.all {
        packages.push(described(crate_id(subject.crates, id)?, found));
    }
    for (user, used, how) in &subject.crates.uses {
        let (user, used) = (crate_id(subject.crates, user)?, crate_id(subject.crates, used)?);
        relationships.push(match how {
            Use::Linked => relation(&user, "DEPENDS_ON", &used),
            Use::Building => relation(&used, "BUILD_DEPENDENCY_OF", &user),
        });
    }
    let document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT_ID,
        name: format!("{}-{}", subject.image, subject.version),
        namespace: namespace(subject, &packages)?,
        creation_info: CreationInfo {
            created: subject.created.to_owned(),
            creators: vec![format!("Tool: defs-images-{}", env!("CARGO_PKG_VERSION"))],
        },
        packages,
        relationships,
    };
    let mut text = serde_json::to_vec_pretty(&document).context("failed to write the document")?;
    text.push(b'\n');
    Ok(text)
}

/// Each document needs a name of its own, and the same content the same one.
fn namespace(subject: &Subject<'_>, packages: &[Package]) -> Result<String> {
    let content =
        Digest::of(&serde_json::to_vec(packages).context("failed to write the packages")?);
    Ok(format!("{SOURCE}/spdx/{}-{}-{}", subject.image, subject.version, content.hex()))
}

fn image(subject: &Subject<'_>) -> Package {
    let mut package = Package::new(IMAGE_ID.to_owned(), subject.image, subject.version);
    package.purpose = Some("CONTAINER");
    package
}

fn program(name: &str, version: &str, digest: Digest) -> Package {
    let mut package = Package::new(program_id(name), name, version);
    package.purpose = Some("APPLICATION");
    package.file = Some(format!("{PATH}/{name}"));
    package.checksums.push(Checksum { algorithm: "SHA256", value: digest.hex() });
    package.license = LICENSE.to_owned();
    package
}

fn described(id: String, found: &Crate) -> Package {
    let (name, version) = (&found.name, &found.version);
    let mut package = Package::new(id, name, version);
    package.license = found.license.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    if let Some(checksum) = &found.checksum {
        package.location = format!("https://static.crates.io/crates/{name}/{name}-{version}.crate");
        package.checksums.push(Checksum { algorithm: "SHA256", value: checksum.clone() });
        package.references.push(Reference {
            category: "PACKAGE-MANAGER",
            kind: "purl",
            locator: format!("pkg:cargo/{name}@{version}"),
        });
    } else {
        package.location = format!("git+{SOURCE}");
    }
    package
}

fn program_id(name: &str) -> String {
    format!("SPDXRef-program-{name}")
}

/// SPDX allows letters, digits, dots and hyphens.
fn crate_id(crates: &Crates, id: &CrateId) -> Result<String> {
    let found = crates.all.get(id).with_context(|| format!("{id} is used and not there"))?;
    let allowed =
        |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
    let name: String = format!("{}-{}", found.name, found.version).chars().map(allowed).collect();
    Ok(format!("SPDXRef-crate-{name}"))
}

fn relation(from: &str, kind: &'static str, to: &str) -> Relationship {
    Relationship { from: from.to_owned(), kind, to: to.to_owned() }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    #[serde(rename = "documentNamespace")]
    namespace: String,
    creation_info: CreationInfo,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
}

#[derive(Debug, Serialize)]
struct CreationInfo {
    created: String,
    creators: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(rename = "versionInfo")]
    version: String,
    #[serde(rename = "primaryPackagePurpose", skip_serializing_if = "Option::is_none")]
    purpose: Option<&'static str>,
    #[serde(rename = "packageFileName", skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(rename = "downloadLocation")]
    location: String,
    #[serde(rename = "filesAnalyzed")]
    are_files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    #[serde(rename = "licenseConcluded")]
    concluded_license: &'static str,
    #[serde(rename = "licenseDeclared")]
    license: String,
    #[serde(rename = "copyrightText")]
    copyright: &'static str,
    #[serde(rename = "externalRefs", skip_serializing_if = "Vec::is_empty")]
    references: Vec<Reference>,
}

impl Package {
    fn new(id: String, name: &str, version: &str) -> Self {
        Self {
            id,
            name: name.to_owned(),
            version: version.to_owned(),
            purpose: None,
            file: None,
            location: UNKNOWN.to_owned(),
            are_files_analyzed: false,
            checksums: Vec::new(),
            concluded_license: UNKNOWN,
            license: UNKNOWN.to_owned(),
            copyright: UNKNOWN,
            references: Vec::new(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Checksum {
    algorithm: &'static str,
    #[serde(rename = "checksumValue")]
    value: String,
}

#[derive(Debug, Serialize)]
struct Reference {
    #[serde(rename = "referenceCategory")]
    category: &'static str,
    #[serde(rename = "referenceType")]
    kind: &'static str,
    #[serde(rename = "referenceLocator")]
    locator: String,
}

#[derive(Debug, Serialize)]
struct Relationship {
    #[serde(rename = "spdxElementId")]
    from: String,
    #[serde(rename = "relationshipType")]
    kind: &'static str,
    #[serde(rename = "relatedSpdxElement")]
    to: String,
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};

    use super::*;

    fn found(name: &str, license: Option<&str>, checksum: Option<&str>) -> Crate {
        Crate {
            name: name.to_owned(),
            version: "1.0.0+x".to_owned(),
            license: license.map(str::to_owned),
            checksum: checksum.map(str::to_owned),
        }
    }

    fn listed() -> Value {
        let crates = Crates {
            all: BTreeMap::from([
                ("a".to_owned(), found("defs-a", Some("MIT"), None)),
                ("b".to_owned(), found("serde_b", Some("Zlib"), Some("11"))),
                ("c".to_owned(), found("cc", None, Some("22"))),
            ]),
            uses: BTreeSet::from([
                ("a".to_owned(), "b".to_owned(), Use::Linked),
                ("b".to_owned(), "c".to_owned(), Use::Building),
            ]),
        };
        let subject = Subject {
            image: "defs",
            version: "0.1.0",
            created: "1970-01-01T00:00:00Z",
            programs: &[("a-node", "defs-a", Digest::of(b"abc"))],
            crates: &crates,
        };
        let text = document(&subject).unwrap();
        assert_eq!(text, document(&subject).unwrap());
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn every_crate_is_listed_with_version_licence_and_checksum() {
        let list = listed();
        let crates = &list["packages"].as_array().unwrap()[2..];
        let told: Vec<_> = crates
            .iter()
            .map(|it| {
                json!([
                    it["SPDXID"],
                    it["licenseDeclared"],
                    it["checksums"][0]["checksumValue"],
                    it["externalRefs"][0]["referenceLocator"]
                ])
            })
            .collect();
        let expected = [
            json!(["SPDXRef-crate-defs-a-1.0.0-x", "MIT", null, null]),
            json!(["SPDXRef-crate-serde-b-1.0.0-x", "Zlib", "11", "pkg:cargo/serde_b@1.0.0+x"]),
            json!(["SPDXRef-crate-cc-1.0.0-x", "NOASSERTION", "22", "pkg:cargo/cc@1.0.0+x"]),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_image_contains_programs_that_come_from_crates_that_use_crates() {
        let list = listed();
        let told: Vec<_> = list["relationships"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| {
                json!([it["spdxElementId"], it["relationshipType"], it["relatedSpdxElement"]])
            })
            .collect();
        let [a, b, c] =
            ["defs-a", "serde-b", "cc"].map(|name| format!("SPDXRef-crate-{name}-1.0.0-x"));
        let expected = [
            json!(["SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image"]),
            json!(["SPDXRef-image", "CONTAINS", "SPDXRef-program-a-node"]),
            json!(["SPDXRef-program-a-node", "GENERATED_FROM", a]),
            json!([a, "DEPENDS_ON", b]),
            json!([c, "BUILD_DEPENDENCY_OF", b]),
        ];
        assert_eq!(told, expected);
        let program = &list["packages"][1];
        assert_eq!(program["packageFileName"], "/usr/bin/a-node");
        assert_eq!(program["checksums"][0]["checksumValue"], Digest::of(b"abc").hex());
    }
}
