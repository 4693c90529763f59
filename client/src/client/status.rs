//! How a file is stored, where, and what it would survive.

use std::collections::{BTreeMap, BTreeSet};

use defs_core::geometry::Geometry;
use defs_core::ids::{Digest, PairId, ShardIndex, SliceNo, StripeId};
use defs_core::manifest::SliceEntry;
use defs_core::mode::Mode;
use defs_core::port::{Clock, Compute, Peers, Randomness};
use defs_core::record::{RecordKey, quorum_of};
use futures::StreamExt as _;
use thiserror::Error;

use super::{Client, FileRef, GetError, Shared};
use crate::directory::View;
use crate::download::{DownloadError, OpenFile};
use crate::pipeline::census::HeldByMembers;
use crate::pipeline::fetch::losses_survived;
use crate::ports::World;
use crate::records::{Lookup, Sought};

/// Slices whose moved shards are looked for at once.
const SLICES_AT_ONCE: usize = 8;

/// A file as it is stored now.
#[derive(Debug)]
pub struct FileStatus {
    /// The name under which it was put.
    pub name: String,
    /// Bytes of the file.
    pub length: u64,
    /// Digest of its content.
    pub digest: Digest,
    /// How it is stored.
    pub mode: Mode,
    /// How each slice is coded.
    pub geometry: Geometry,
    /// Whether it rides inside its manifest.
    pub inline: bool,
    /// Pairs that hold the manifest.
    pub manifest_pairs: Vec<PairId>,
    /// Pages of the manifest.
    pub pages: u32,
    /// How the manifest was found.
    pub lookup: Lookup,
    /// In order.
    pub slices: Vec<SliceStatus>,
    /// Whole pairs that may be lost now, whichever they are, without losing the file;
    /// `None`: it can't be read now.
    pub survives: Option<usize>,
}

/// A slice as it is stored now.
#[derive(Debug)]
pub struct SliceStatus {
    /// Which one.
    pub number: SliceNo,
    /// Plain bytes.
    pub length: u64,
    /// Its stripe.
    pub stripe: StripeId,
    /// By index.
    pub shards: Vec<ShardStatus>,
    /// As for the file.
    pub survives: Option<usize>,
}

/// A shard as it is stored now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardStatus {
    /// Which of the n.
    pub index: ShardIndex,
    /// The pair that the manifest names.
    pub named: PairId,
    /// The pair that has it, as far as is known: another one, if it has moved.
    pub pair: PairId,
    /// Whether each member answers, as the network's table has it.
    pub alive: [bool; 2],
    /// What each member says itself, if it was asked and answered.
    pub held: [Option<bool>; 2],
}

impl ShardStatus {
    /// Whether it can be read from somebody, as far as is known.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.alive.iter().zip(self.held).any(|(alive, held)| held.unwrap_or(*alive))
    }
}

/// Why a file's status is not known.
#[derive(Debug, Clone, Error)]
pub enum StatusError {
    /// Its manifest was not had.
    #[error(transparent)]
    Get(#[from] GetError),
    /// A page of its manifest was not had.
    #[error(transparent)]
    Manifest(#[from] DownloadError),
}

impl<P: Peers, C: Clock, R: Randomness, K: Compute> Client<P, C, R, K> {
    /// How a file is stored. With `ask`, every member of every pair is asked whether it
    /// holds its shards; without, the network's table says who is alive, and only what was at
    /// pairs that are gone is looked for.
    pub async fn stat(&self, file: FileRef, ask: bool) -> Result<FileStatus, StatusError> {
        let shared = &self.shared;
        let ticket = shared.ticket(file).await?;
        let open = shared.open_ticket(&ticket).await?;
        let mut slices = open.slices(&shared.nodes).await?;
        let named: Vec<_> = slices.iter().map(|slice| slice.pairs.clone()).collect();
        shared.nodes.moves.apply(&mut slices);
        let view = match shared.nodes.directory.refresh().await {
            Ok(view) => view,
            Err(_) => shared.nodes.directory.view(),
        };
        let held = if ask {
            let held = shared.nodes.held_shards(&open.context.lock, &slices).await;
            let is_absent = |_: &PairId, held: &HeldByMembers| !held.contains(&Some(true));
            let absent = absent(&slices, &held, is_absent);
            if shared.find_all_moved(&open, &mut slices, &absent).await {
                shared.nodes.held_shards(&open.context.lock, &slices).await
            } else {
                held
            }
        } else {
            let held: Vec<_> =
                slices.iter().map(|slice| vec![[None; 2]; slice.pairs.len()]).collect();
            let absent = absent(&slices, &held, |pair, _| !view.answers(pair));
            shared.find_all_moved(&open, &mut slices, &absent).await;
            held
        };
        let geometry = open.head.geometry;
        let slices: Vec<_> = (0..)
            .map(SliceNo)
            .zip(slices.iter().zip(named.iter().zip(held)))
            .map(|(number, (entry, (named, held)))| {
                slice_status(&view, (number, entry), (named, held), geometry)
            })
            .collect();
        // Without its manifest no slice is found.
        let gone = open.set.iter().filter(|pair| !view.answers(pair)).count();
        let stand_ins = if gone > 0 {
            let key = RecordKey::manifest(open.context.file, 0);
            let sought = Sought { key, lock: &open.context.lock };
            shared.nodes.count_stand_ins(sought, &open.set).await.min(gone)
        } else {
            0
        };
        let there = open.set.len() - gone + stand_ins;
        // It was read just now, whoever it was that had it.
        let manifest = Some(there.saturating_sub(quorum_of(open.set.len())));
        let survives = slices.iter().map(|slice| slice.survives).fold(manifest, Ord::min);
        Ok(FileStatus {
            name: open.head.name,
            length: open.head.length,
            digest: open.head.digest,
            mode: open.head.mode,
            geometry,
            inline: open.head.inline.is_some(),
            manifest_pairs: open.set,
            pages: open.head.pages,
            lookup: open.lookup,
            slices,
            survives,
        })
    }
}

impl<W: World> Shared<W> {
    /// Looks for shards that are absent where they were put. Whether some were found elsewhere;
    /// `slices` name their pairs then.
    async fn find_all_moved(
        &self,
        open: &OpenFile,
        slices: &mut [SliceEntry],
        absent: &[BTreeSet<ShardIndex>],
    ) -> bool {
        let asks = (0..).map(SliceNo).zip(slices.iter().zip(absent)).filter_map(
            |(number, (entry, absent))| {
                (!absent.is_empty()).then_some(async move {
                    self.nodes.find_moved(&open.context, (number, entry), absent).await
                })
            },
        );
        let asks: Vec<_> = asks.collect();
        let found: Vec<_> =
            futures::stream::iter(asks).buffer_unordered(SLICES_AT_ONCE).collect().await;
        self.nodes.moves.apply(slices);
        found.iter().any(|found| !found.is_empty())
    }
}

/// Of each slice the shards that are not where they were put.
fn absent(
    slices: &[SliceEntry],
    held: &[Vec<HeldByMembers>],
    is_absent: impl Fn(&PairId, &HeldByMembers) -> bool,
) -> Vec<BTreeSet<ShardIndex>> {
    let of_slice = |(entry, held): (&SliceEntry, &Vec<HeldByMembers>)| {
        let shards = (0_u8..).map(ShardIndex).zip(entry.pairs.iter().zip(held));
        let absent = shards.filter(|(_, (pair, held))| is_absent(pair, held));
        absent.map(|(index, _)| index).collect()
    };
    slices.iter().zip(held).map(of_slice).collect()
}

fn slice_status(
    view: &View,
    (number, entry): (SliceNo, &SliceEntry),
    (named, held): (&[PairId], Vec<HeldByMembers>),
    geometry: Geometry,
) -> SliceStatus {
    let shards: Vec<_> = (0_u8..)
        .zip(named.iter().zip(entry.pairs.iter().zip(held)))
        .map(|(index, (named, (pair, held)))| ShardStatus {
            index: ShardIndex(index),
            named: *named,
            pair: *pair,
            alive: view.pairs.get(pair).map_or([false; 2], |pair| pair.alive),
            held,
        })
        .collect();
    let mut by_pair = BTreeMap::new();
    for shard in shards.iter().filter(|shard| shard.is_there()) {
        *by_pair.entry(shard.pair).or_insert(0_usize) += 1;
    }
    let have: usize = by_pair.values().sum();
    let readable = have >= geometry.data();
    let survives = readable.then(|| losses_survived(&by_pair, geometry.data()));
    SliceStatus { number, length: entry.length, stripe: entry.stripe, shards, survives }
}
