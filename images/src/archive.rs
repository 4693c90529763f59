//! The archive that holds an image: an OCI layout, with a docker manifest beside its index.
//! containerd and podman read the one, docker the other; both name the same blobs.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tar::{Builder, EntryType};

use crate::digest::Digest;
use crate::layer::{Layer, header};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What a container runs, and how.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    #[serde(rename = "User")]
    pub(crate) user: String,
    #[serde(rename = "Env")]
    pub(crate) environment: Vec<String>,
    #[serde(rename = "Entrypoint")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(rename = "WorkingDir")]
    pub(crate) folder: String,
    #[serde(rename = "Labels")]
    pub(crate) labels: BTreeMap<String, String>,
}

/// An image with a name.
#[derive(Debug)]
pub(crate) struct Contents {
    /// With registry and tag.
    pub(crate) reference: String,
    /// The part of the name after the colon.
    pub(crate) tag: String,
    /// `amd64` or `arm64`.
    pub(crate) architecture: &'static str,
    /// When it was made, as RFC 3339.
    pub(crate) created: String,
    pub(crate) run: Run,
    pub(crate) layers: Vec<Layer>,
}

/// An image, ready to be written.
#[derive(Debug)]
pub(crate) struct Archive<'a> {
    /// Of the manifest: what a registry would call it.
    pub(crate) digest: Digest,
    /// All files, by their names.
    files: BTreeMap<String, Piece<'a>>,
}

/// A file of an archive, made here or a layer.
type Piece<'a> = std::borrow::Cow<'a, [u8]>;

impl<'a> Archive<'a> {
    /// Lays out an image.
    pub(crate) fn of(contents: &'a Contents) -> Result<Self> {
        let mut files = BTreeMap::new();
        for layer in &contents.layers {
            files.insert(blob(layer.digest), Piece::from(layer.blob.as_slice()));
        }
        let config = json(&config(contents))?;
        let layers = contents.layers.iter();
        let manifest = json(&Manifest {
            schema_version: 2,
            media_type: MANIFEST,
            config: Descriptor::of(CONFIG, &config),
            layers: layers.clone().map(|layer| Descriptor::of(LAYER, &layer.blob)).collect(),
        })?;
        let docker = json(&[DockerManifest {
            config: blob(Digest::of(&config)),
            repo_tags: [&contents.reference],
            layers: layers.map(|layer| blob(layer.digest)).collect(),
        }])?;
        let digest = Digest::of(&manifest);
        files.insert("index.json".to_owned(), json(&index(contents, &manifest))?.into());
        files.insert("manifest.json".to_owned(), docker.into());
        files.insert("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#[..].into());
        files.insert(blob(Digest::of(&config)), config.into());
        files.insert(blob(digest), manifest.into());
        Ok(Self { digest, files })
    }

    /// Writes it as a tar archive.
    pub(crate) fn write(&self, to: impl Write) -> Result<()> {
        let mut archive = Builder::new(to);
        for folder in ["blobs/", "blobs/sha256/"] {
            let head = header(folder, EntryType::Directory, 0o755, 0)?;
            archive.append(&head, &[][..]).context("failed to write the archive")?;
        }
        for (path, bytes) in &self.files {
            let head = header(path, EntryType::Regular, 0o644, bytes.len())?;
            archive.append(&head, bytes.as_ref()).context("failed to write the archive")?;
        }
        let mut to = archive.into_inner().context("failed to end the archive")?;
        to.flush().context("failed to end the archive")
    }
}

fn blob(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).context("failed to write JSON")
}

fn config(contents: &Contents) -> Config<'_> {
    let step = |layer: &Layer| Step {
        created: &contents.created,
        created_by: format!("defs-images: {}", layer.holds),
    };
    Config {
        created: &contents.created,
        architecture: contents.architecture,
        os: "linux",
        config: &contents.run,
        rootfs: RootFs {
            kind: "layers",
            diff_ids: contents.layers.iter().map(|layer| layer.digest).collect(),
        },
        history: contents.layers.iter().map(step).collect(),
    }
}

fn index(contents: &Contents, manifest: &[u8]) -> Index {
    let platform = Platform { architecture: contents.architecture, os: "linux" };
    // containerd and podman take the whole name from the first; the specification knows only
    // the second, which is a tag.
    let annotations = BTreeMap::from([
        ("io.containerd.image.name", contents.reference.clone()),
        ("org.opencontainers.image.ref.name", contents.tag.clone()),
    ]);
    let found = Found { descriptor: Descriptor::of(MANIFEST, manifest), platform, annotations };
    Index { schema_version: 2, media_type: INDEX, manifests: [found] }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: [Found; 1],
}

#[derive(Debug, Serialize)]
struct Found {
    #[serde(flatten)]
    descriptor: Descriptor,
    platform: Platform,
    annotations: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
struct Platform {
    architecture: &'static str,
    os: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: &'static str,
    digest: Digest,
    size: usize,
}

impl Descriptor {
    fn of(media_type: &'static str, bytes: &[u8]) -> Self {
        Self { media_type, digest: Digest::of(bytes), size: bytes.len() }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest<'a> {
    config: String,
    repo_tags: [&'a String; 1],
    layers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Config<'a> {
    created: &'a str,
    architecture: &'static str,
    os: &'static str,
    config: &'a Run,
    rootfs: RootFs,
    history: Vec<Step<'a>>,
}

#[derive(Debug, Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<Digest>,
}

#[derive(Debug, Serialize)]
struct Step<'a> {
    created: &'a str,
    created_by: String,
}
