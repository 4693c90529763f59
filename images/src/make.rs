//! Makes an image: binaries → stripped programs → layers and list of crates → archive.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufWriter;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use crate::archive::{Archive, Contents, Run};
use crate::args::Args;
use crate::crates::Crates;
use crate::digest::Digest;
use crate::image::{FILES, Image, LICENSE, PATH, Program, SOURCE, USER};
use crate::layer::{File, Layer};
use crate::program::{Machine, Stripped, read, strip};
use crate::sbom;

/// An image that was written.
#[derive(Debug)]
pub(crate) struct Made {
    /// Its name with registry and tag.
    pub(crate) reference: String,
    /// Of its manifest.
    pub(crate) digest: Digest,
    /// Of all layers.
    pub(crate) bytes: usize,
    /// Each layer's size and what it holds.
    pub(crate) layers: Vec<(usize, String)>,
}

/// Makes `image` and writes its three files.
pub(crate) fn make(image: &Image, args: &Args) -> Result<Made> {
    let programs = programs(image, &args.binaries)?;
    let machine = one_machine(&programs)?;
    let created = created(args)?;
    let list = list(image, args, &programs, machine, &created)?;
    let contents = Contents {
        reference: format!("{}/{}:{}", args.repository, image.name, args.tag),
        tag: args.tag.clone(),
        architecture: machine.oci(),
        created,
        run: run(image, args)?,
        layers: layers(image, &programs, &list)?,
    };
    let archive = Archive::of(&contents)?;
    write(image, args, &archive, &list)?;
    let size = |layer: &Layer| (layer.blob.len(), layer.holds.clone());
    Ok(Made {
        digest: archive.digest,
        bytes: contents.layers.iter().map(|layer| layer.blob.len()).sum(),
        layers: contents.layers.iter().map(size).collect(),
        reference: contents.reference,
    })
}

type Programs = Vec<(&'static Program, Stripped)>;

fn programs(image: &Image, binaries: &Path) -> Result<Programs> {
    let stripped = |program: &'static Program| {
        let path = binaries.join(program.name);
        let stripped = strip(&read(&path)?);
        Ok((program, stripped.with_context(|| format!("refused {}", path.display()))?))
    };
    image.programs.iter().map(stripped).collect()
}

fn one_machine(programs: &Programs) -> Result<Machine> {
    let (_, first) = programs.first().context("an image needs a program")?;
    for (program, other) in programs {
        if other.machine != first.machine {
            bail!(
                "{} is for {}, others for {}",
                program.name,
                other.machine.oci(),
                first.machine.oci()
            );
        }
    }
    Ok(first.machine)
}

fn created(args: &Args) -> Result<String> {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(args.source_date_epoch));
    let time = time.context("SOURCE_DATE_EPOCH is beyond all calendars")?;
    Ok(humantime::format_rfc3339_seconds(time).to_string())
}

fn list(
    image: &Image,
    args: &Args,
    programs: &Programs,
    machine: Machine,
    created: &str,
) -> Result<Vec<u8>> {
    let packages: Vec<_> = programs.iter().map(|(program, _)| program.package).collect();
    let crates = Crates::of(&args.workspace, machine.triple(), &packages)?;
    let of = |(program, stripped): &(&'static Program, Stripped)| {
        (program.name, program.package, Digest::of(&stripped.bytes))
    };
    sbom::document(&sbom::Subject {
        image: image.name,
        version: &args.tag,
        created,
        programs: &programs.iter().map(of).collect::<Vec<_>>(),
        crates: &crates,
    })
}

/// What changes least comes first, and each program has a layer of its own: two images, or
/// two versions of one, share what they have in common.
fn layers(image: &Image, programs: &Programs, list: &[u8]) -> Result<Vec<Layer>> {
    let file = |(path, text): &(&str, &'static str)| File {
        path: (*path).to_owned(),
        is_program: false,
        bytes: text.as_bytes(),
    };
    let mut layers = vec![Layer::of("users", &FILES.iter().map(file).collect::<Vec<_>>())?];
    for (program, stripped) in programs {
        let path = format!("{}/{}", PATH.trim_start_matches('/'), program.name);
        let file = File { path, is_program: true, bytes: &stripped.bytes };
        layers.push(Layer::of(program.name, &[file])?);
    }
    let path = format!("usr/share/sbom/{}.spdx.json", image.name);
    layers.push(Layer::of("list of crates", &[File { path, is_program: false, bytes: list }])?);
    Ok(layers)
}

fn run(image: &Image, args: &Args) -> Result<Run> {
    let label =
        |name: &str, value: &str| (format!("org.opencontainers.image.{name}"), value.to_owned());
    let mut labels = BTreeMap::from([
        label("title", image.title),
        label("version", &args.tag),
        label("licenses", LICENSE),
        label("source", SOURCE),
    ]);
    labels.extend(args.revision.as_ref().map(|revision| label("revision", revision)));
    Ok(Run {
        user: USER.to_owned(),
        environment: vec![format!("PATH={PATH}")],
        entrypoint: vec![image.entrypoint().context("an image needs a program")?],
        folder: "/".to_owned(),
        labels,
    })
}

fn write(image: &Image, args: &Args, archive: &Archive<'_>, list: &[u8]) -> Result<()> {
    let out = &args.out;
    fs::create_dir_all(out).with_context(|| format!("failed to make {}", out.display()))?;
    let path = |suffix: &str| out.join(format!("{}.{suffix}", image.name));
    // An archive with its own name is whole.
    let (unfinished, finished) = (path("tar.part"), path("tar"));
    let failed = || format!("failed to write {}", finished.display());
    archive.write(BufWriter::new(fs::File::create(&unfinished).with_context(failed)?))?;
    fs::rename(&unfinished, &finished).with_context(failed)?;
    for (path, bytes) in
        [(path("digest"), format!("{}\n", archive.digest).as_bytes()), (path("spdx.json"), list)]
    {
        fs::write(&path, bytes).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use object::elf;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::image::IMAGES;
    use crate::program::tests::elf_with;

    /// A folder with a small binary for each program of the first image.
    fn binaries(kind: elf::ProgramType) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for program in IMAGES[0].programs {
            fs::write(folder.path().join(program.name), elf_with(kind, program.name.as_bytes()))
                .unwrap();
        }
        folder
    }

    fn args(binaries: &TempDir, out: &TempDir, more: &[&str]) -> Args {
        let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let (binaries, out) = (binaries.path().to_str().unwrap(), out.path().to_str().unwrap());
        let given = ["", "--workspace", workspace, "--binaries", binaries, "--out", out];
        Args::parse_from(given.iter().chain(more))
    }

    /// The files of an archive.
    fn files(archive: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(fs::File::open(archive).unwrap());
        let entries = archive.entries().unwrap().map(Result::unwrap);
        entries
            .map(|mut entry| {
                let mut bytes = Vec::new();
                std::io::copy(&mut entry, &mut bytes).unwrap();
                (entry.path().unwrap().display().to_string(), bytes)
            })
            .collect()
    }

    #[test]
    fn the_same_binaries_give_the_same_bytes() {
        let binaries = binaries(elf::PT_LOAD);
        let outs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let made = outs.each_ref().map(|out| make(&IMAGES[0], &args(&binaries, out, &[])).unwrap());
        assert_eq!(made[0].digest, made[1].digest);
        for name in ["defs.tar", "defs.digest", "defs.spdx.json"] {
            let [one, other] = outs.each_ref().map(|out| fs::read(out.path().join(name)).unwrap());
            assert!(one == other, "{name} differs");
        }
        let told = fs::read_to_string(outs[0].path().join("defs.digest")).unwrap();
        assert_eq!(told, format!("{}\n", made[0].digest));
    }

    #[test]
    fn a_changed_program_changes_its_own_layer_and_the_list() {
        let (binaries, out) = (binaries(elf::PT_LOAD), tempfile::tempdir().unwrap());
        let layers = || {
            make(&IMAGES[0], &args(&binaries, &out, &[])).unwrap();
            let files = files(&out.path().join("defs.tar"));
            let docker: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
            docker[0]["Layers"].as_array().unwrap().clone()
        };
        let before = layers();
        fs::write(binaries.path().join("defs"), elf_with(elf::PT_LOAD, b"newer")).unwrap();
        let after = layers();
        let same: Vec<_> = before.iter().zip(&after).map(|(one, other)| one == other).collect();
        let what = "users, defs-node, defs, defs-operator, kubectl-defs, list of crates";
        assert_eq!(same, [true, true, false, true, true, false], "{what}");
    }

    #[test]
    fn both_manifests_lead_to_the_same_blobs_and_every_digest_is_right() {
        let (binaries, out) = (binaries(elf::PT_LOAD), tempfile::tempdir().unwrap());
        let given = ["--repository", "registry.example/x", "--tag", "7", "--revision", "abc"];
        let args = Args { source_date_epoch: 86_400, ..args(&binaries, &out, &given) };
        let made = make(&IMAGES[0], &args).unwrap();
        let files = files(&out.path().join("defs.tar"));
        for (path, bytes) in &files {
            if let Some(name) = path.strip_prefix("blobs/sha256/").filter(|name| !name.is_empty()) {
                assert_eq!(name, Digest::of(bytes).hex());
            }
        }
        let at = |digest: &Value| {
            let path = digest.as_str().unwrap().replace("sha256:", "blobs/sha256/");
            (path.clone(), serde_json::from_slice::<Value>(&files[&path]).unwrap_or_default())
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let name = &index["manifests"][0]["annotations"]["io.containerd.image.name"];
        assert_eq!(*name, "registry.example/x/defs:7");
        assert_eq!(index["manifests"][0]["digest"], made.digest.to_string());
        let (_, manifest) = at(&index["manifests"][0]["digest"]);
        let (config_path, config) = at(&manifest["config"]["digest"]);
        let layers: Vec<_> =
            manifest["layers"].as_array().unwrap().iter().map(|it| at(&it["digest"]).0).collect();
        let docker: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(
            docker,
            json!([{"Config": config_path, "RepoTags": ["registry.example/x/defs:7"], "Layers": layers}])
        );
        assert_eq!(config["created"], "1970-01-02T00:00:00Z");
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/usr/bin/defs-node"]));
        assert_eq!(config["config"]["Labels"]["org.opencontainers.image.revision"], "abc");
        assert_eq!(
            config["rootfs"]["diff_ids"].as_array().unwrap().len(),
            config["history"].as_array().unwrap().len()
        );
    }

    #[test]
    fn the_list_in_the_image_is_the_one_beside_it_and_names_what_both_programs_use() {
        let (binaries, out) = (binaries(elf::PT_LOAD), tempfile::tempdir().unwrap());
        make(&IMAGES[0], &args(&binaries, &out, &[])).unwrap();
        let files = files(&out.path().join("defs.tar"));
        let docker: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        let last = docker[0]["Layers"].as_array().unwrap().last().unwrap().as_str().unwrap();
        let beside = fs::read(out.path().join("defs.spdx.json")).unwrap();
        let mut layer = tar::Archive::new(files[last].as_slice());
        let mut inside = Vec::new();
        for entry in layer.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.path().unwrap() == Path::new("usr/share/sbom/defs.spdx.json") {
                std::io::copy(&mut entry, &mut inside).unwrap();
            }
        }
        assert!(inside == beside, "the lists differ");
        let list: Value = serde_json::from_slice(&beside).unwrap();
        let named: Vec<_> = list["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        for name in ["defs-node", "defs-cli", "librocksdb-sys", "libsqlite3-sys", "libp2p"] {
            assert!(named.contains(&name), "{name} is not listed");
        }
        assert!(!named.contains(&"proptest"), "tests are no part of a program");
    }

    #[test]
    fn a_dynamic_binary_is_refused_by_name_and_nothing_is_written() {
        let (binaries, out) = (binaries(elf::PT_INTERP), tempfile::tempdir().unwrap());
        let refused = make(&IMAGES[0], &args(&binaries, &out, &[])).unwrap_err();
        let told = format!("{refused:#}");
        assert!(told.contains("/defs-node: it is dynamically linked"), "{told}");
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_binary_is_refused_with_the_command_that_builds_it() {
        let (binaries, out) = (binaries(elf::PT_LOAD), tempfile::tempdir().unwrap());
        fs::remove_file(binaries.path().join("defs")).unwrap();
        let told = make(&IMAGES[0], &args(&binaries, &out, &[])).unwrap_err().to_string();
        assert!(
            told.ends_with("/defs: build it with `cargo build --workspace --release`"),
            "{told}"
        );
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }
}
