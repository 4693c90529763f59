//! The ceiling of the whole: what a machine could move if it did nothing but what each
//! byte needs, each step at the speed that it has alone. docs/benchmarks.md explains it.

use std::collections::BTreeMap;

use defs_core::framing::sealed_length;
use defs_core::geometry::Geometry;

use crate::meter::{GIB, Spent, as_figure};

/// What is measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    SealSlice,
    OpenSlice,
    SealShards,
    OpenShards,
    Encode,
    Decode,
    Hash,
    Send,
    Fetch,
    /// A store's whole way in: hash, checksum, file, sync, index entry.
    StoreShards,
    ReadShards,
    WriteFile,
    Sign,
    Verify,
}

impl Part {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SealSlice => "AEAD, seal slices (inner)",
            Self::OpenSlice => "AEAD, open slices (inner)",
            Self::SealShards => "AEAD, seal shards (outer)",
            Self::OpenShards => "AEAD, open shards (outer)",
            Self::Encode => "Reed–Solomon, encode 10+4",
            Self::Decode => "Reed–Solomon, decode 10+4, 2 lost",
            Self::Hash => "BLAKE3",
            Self::Send => "one libp2p lane, bodies sent",
            Self::Fetch => "one libp2p lane, bodies fetched",
            Self::StoreShards => "store: hash, file, fdatasync, index",
            Self::ReadShards => "store: read shards",
            Self::WriteFile => "file written and synced",
            Self::Sign => "P-256, sign",
            Self::Verify => "P-256, verify",
        }
    }

    /// Whether it counts operations rather than bytes.
    pub(crate) fn is_counted(self) -> bool {
        matches!(self, Self::Sign | Self::Verify)
    }
}

/// What each part took.
pub(crate) type Parts = BTreeMap<Part, Spent>;

/// How the files of the large measurement are laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) geometry: Geometry,
    /// Bytes of a slice.
    pub(crate) slice: u64,
    pub(crate) nodes: u32,
}

/// One way of the bytes: how often each GiB of user data passes a part (or how many
/// operations it needs), and which part has a limit of its own, beside the processors.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Way {
    pub(crate) uses: Vec<(Part, f64)>,
    pub(crate) disk: (Part, f64),
}

impl Shape {
    /// Bytes of one sealed shard.
    pub(crate) fn sealed_shard(&self) -> u64 {
        sealed_length(self.geometry.shard_length(sealed_length(self.slice)))
    }

    /// Bytes of `shards` sealed shards for each byte of a slice.
    fn stretch(&self, shards: usize) -> f64 {
        as_figure(self.sealed_shard()) * as_figure(shards as u64) / as_figure(self.slice)
    }

    /// `encrypt → code → seal → send → store ∥ mirror → receipts`
    pub(crate) fn upload(&self) -> Way {
        let all = self.stretch(self.geometry.total());
        let stripes = GIB / as_figure(self.slice);
        let shards = as_figure(self.geometry.total() as u64);
        // The descriptor by the owner; a receipt for each shard by both members.
        let signed = stripes * (1.0 + 2.0 * shards);
        // The descriptor once by each node, then it remembers; the receipts by the owner.
        let checked = stripes * (f64::from(self.nodes).min(2.0 * shards) + 2.0 * shards);
        let uses = vec![
            // The slice's digest, and the shards' names.
            (Part::Hash, 1.0 + all),
            (Part::SealSlice, 1.0),
            (Part::Encode, 1.0),
            (Part::SealShards, all),
            // To the primary, and on to the mirror.
            (Part::Send, 2.0 * all),
            (Part::StoreShards, 2.0 * all),
            (Part::Sign, signed),
            (Part::Verify, checked),
        ];
        Way { uses, disk: (Part::StoreShards, 2.0 * all) }
    }

    /// `fetch any k → open → decrypt → check → write`
    pub(crate) fn download(&self) -> Way {
        let some = self.stretch(self.geometry.data());
        let uses = vec![
            (Part::ReadShards, some),
            (Part::Fetch, some),
            (Part::OpenShards, some),
            (Part::OpenSlice, 1.0),
            (Part::Hash, 1.0),
            (Part::WriteFile, 1.0),
        ];
        Way { uses, disk: (Part::WriteFile, 1.0) }
    }

    /// As [`Shape::download`], with every slice decoded.
    pub(crate) fn degraded(&self) -> Way {
        let mut way = self.download();
        way.uses.push((Part::Decode, 1.0));
        way
    }
}

/// The most that a machine can move, in bytes of user data a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ceiling {
    pub(crate) speed: f64,
    /// Processor seconds for each GiB.
    pub(crate) cpu: f64,
    /// Whether the disk, not the processors, is what bounds it.
    pub(crate) by_disk: bool,
}

impl Way {
    /// `None` unless every part of the way was measured.
    pub(crate) fn ceiling(&self, parts: &Parts, cores: f64) -> Option<Ceiling> {
        let mut cpu = 0.0;
        for (part, times) in &self.uses {
            let unit = if part.is_counted() { 1.0 } else { GIB };
            cpu += parts.get(part)?.cpu_each() * unit * times;
        }
        let by_cpu = cores * GIB / cpu.max(f64::MIN_POSITIVE);
        let (part, times) = self.disk;
        let by_disk = parts.get(&part)?.speed() / times;
        Some(Ceiling { speed: by_cpu.min(by_disk), cpu, by_disk: by_disk < by_cpu })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape { geometry: Geometry::new(10, 4).unwrap(), slice: 16 << 20, nodes: 10 }
    }

    fn near(value: f64, expected: f64) -> bool {
        (value - expected).abs() <= expected * 0.002
    }

    /// Every part takes one core-second for each GiB, a signature a thousandth, and the
    /// disk writes 1 GiB in `disk` seconds.
    fn parts(disk: f64) -> Parts {
        let upload = shape().upload().uses;
        let download = shape().degraded().uses;
        let both = upload.into_iter().chain(download);
        let spent = |part: Part| match part.is_counted() {
            true => Spent { amount: 1000.0, wall: 1.0, cpu: 1.0 },
            false => Spent { amount: GIB, wall: disk, cpu: 1.0 },
        };
        both.map(|(part, _)| (part, spent(part))).collect()
    }

    #[test]
    fn each_byte_passes_each_part_as_often_as_the_flow_says() {
        let times = |way: &Way, part: Part| {
            way.uses.iter().find(|(used, _)| *used == part).map_or(0.0, |(_, times)| *times)
        };
        let (upload, download) = (shape().upload(), shape().download());
        assert!(near(times(&upload, Part::SealShards), 1.4));
        assert!(near(times(&upload, Part::Hash), 2.4));
        assert!(near(times(&upload, Part::Send), 2.8));
        assert!(near(times(&upload, Part::StoreShards), 2.8));
        // 64 stripes: 1 descriptor and 28 receipts; 10 nodes and 28 receipts.
        assert!(near(times(&upload, Part::Sign), 64.0 * 29.0));
        assert!(near(times(&upload, Part::Verify), 64.0 * 38.0));
        assert!(near(times(&download, Part::Fetch), 1.0));
        assert!(times(&download, Part::Decode) < 0.1);
        assert!(near(times(&shape().degraded(), Part::Decode), 1.0));
    }

    #[test]
    fn the_processors_are_the_ceiling_while_the_disk_is_fast() {
        let ceiling = shape().download().ceiling(&parts(0.01), 2.0).unwrap();
        // Six parts, each once.
        assert!(near(ceiling.cpu, 6.0) && near(ceiling.speed, GIB / 3.0), "{ceiling:?}");
        assert!(!ceiling.by_disk);
    }

    #[test]
    fn a_slow_disk_is_the_ceiling() {
        let ceiling = shape().upload().ceiling(&parts(10.0), 2.0).unwrap();
        assert!(ceiling.by_disk && near(ceiling.speed, GIB / 28.0), "{ceiling:?}");
    }

    #[test]
    fn without_a_part_there_is_no_ceiling() {
        let mut parts = parts(1.0);
        parts.remove(&Part::Verify);
        assert_eq!(shape().upload().ceiling(&parts, 2.0), None);
        assert!(shape().download().ceiling(&parts, 2.0).is_some());
    }
}
