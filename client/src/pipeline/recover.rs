//! A slice, fetched and opened, whoever lies about it.
//!
//! A shard that was changed on its way or on a disk does not open, and another is taken.
//! One that was *forged* does: with k = 1 every holder knows the stripe's secret, and with
//! more any k holders together. The manifest pins all shards' ids by the stripe's id, but
//! the ids are in the descriptor, which readers are not sent; what a forger can't make is
//! the slice's own seal, under a key of the file. It shows that something is forged, and
//! at which byte; so the slice is fetched again without the nodes that may have done it,
//! one choice after the other, and a bounded number of times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use defs_codec::OpenError;
use defs_core::framing::{CHUNK, HEAD, TAG};
use defs_core::ids::{NodeId, PairId, ShardIndex};
use defs_core::manifest::SliceEntry;
use defs_core::port::Compute as _;
use defs_telemetry::{spans, trace};

use super::code::Lengths;
use super::encrypt::{DecryptError, decrypt};
use super::fetch::{FetchError, Fetched, Wanted};
use super::harm::Harm;
use super::source::Slice;
use crate::nodes::Nodes;
use crate::ports::World;

/// How often a slice is fetched again to find out who forges: once without each member
/// that was used and once without its pair finds any one forger of 10+4 and of 16 pairs.
const TRIALS_MAX: usize = 32;

/// A slice that is what was put.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) slice: Slice,
    /// Whether parity was needed.
    pub(crate) decoded: bool,
    used: Vec<(ShardIndex, NodeId)>,
}

/// Shards that open and don't give the slice.
struct Forged {
    used: Vec<(ShardIndex, NodeId)>,
    decoded: bool,
    error: DecryptError,
}

impl Forged {
    /// The first chunk of the slice that isn't what was put, where that is known to be in
    /// bytes as a node sent them: what was decoded mixes the bytes of all.
    fn chunk(&self) -> Option<u64> {
        if self.decoded {
            return None;
        }
        match &self.error {
            DecryptError::Closed { source: OpenError::Damaged { chunk }, .. } => Some(chunk + 1),
            // The head is before the first chunk.
            DecryptError::Closed { .. } => Some(0),
            DecryptError::OtherBytes { .. } => None,
        }
    }

    /// Whether bytes are right now that were wrong before.
    fn got_further_than(&self, before: &Self) -> bool {
        matches!((before.chunk(), self.chunk()), (Some(before), Some(now)) if now > before)
    }

    /// Data shards that hold the first wrong chunk; all where it isn't known.
    fn at(&self, lengths: Lengths) -> std::ops::RangeInclusive<u64> {
        match self.chunk() {
            None => 0..=u64::from(u8::MAX),
            Some(0) => 0..=(HEAD - 1) / lengths.shard,
            Some(number) => {
                let start = HEAD + (number - 1) * (CHUNK + TAG);
                let end = (start + CHUNK + TAG).min(lengths.coded);
                start / lengths.shard..=end.saturating_sub(1) / lengths.shard
            }
        }
    }
}

impl<W: World> Nodes<W> {
    /// The plain bytes of a slice, checked against the manifest. Nodes of
    /// `wanted.without` are not asked; who forges is noted in `wanted.report`.
    pub(crate) async fn recover(&self, wanted: Wanted<'_>) -> Result<Recovered, FetchError> {
        let mut forged = match self.attempt(wanted).await? {
            Ok(recovered) => return Ok(recovered),
            Err(forged) => forged,
        };
        let first = forged.error.clone();
        let mut without = wanted.without.clone();
        // A copy that stands alone convicts its sender, whatever comes after it.
        let alone = wanted.file.geometry.data() == 1;
        let mut trials = 1;
        'others: loop {
            for suspects in self.suspects(wanted, &forged).await {
                if trials > TRIALS_MAX && !alone {
                    break 'others;
                }
                trials += 1;
                let left_out: BTreeSet<_> = without.union(&suspects).copied().collect();
                // All others stay who they were, so that a change tells of the suspects.
                let others = forged.used.iter().map(|(_, node)| *node).collect();
                let trial = Wanted { without: &left_out, first: &others, ..wanted };
                let again = self.attempt(trial).await;
                let got_further = match &again {
                    Ok(Ok(recovered)) => Some(recovered.used.as_slice()),
                    Ok(Err(next)) if alone || next.got_further_than(&forged) => Some(&*next.used),
                    Err(_) if alone => Some(&[][..]),
                    Ok(Err(_)) | Err(_) => None,
                };
                if let Some(used) = got_further {
                    self.note_forgers(wanted, &forged, (&suspects, used));
                    without = left_out;
                }
                let got_further = got_further.is_some();
                match again {
                    Ok(Ok(recovered)) => return Ok(recovered),
                    Ok(Err(next)) if got_further => {
                        forged = next;
                        continue 'others;
                    }
                    Err(error) if alone => return Err(error),
                    // Too few are left without these: others may be the forgers.
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            break;
        }
        Err(FetchError::Forged { slice: wanted.number, trials, source: first })
    }

    /// Fetches and opens the slice once.
    async fn attempt(&self, wanted: Wanted<'_>) -> Result<Result<Recovered, Forged>, FetchError> {
        let fetching = spans::slice_fetch(wanted.number.0);
        let Fetched { coded, decoded, used } = trace::within(fetching, self.fetch(wanted)).await?;
        let (key, number) = (Arc::clone(&wanted.file.key), wanted.number);
        let entry: SliceEntry = wanted.entry.clone();
        let span = spans::slice_open(number.0);
        let opening =
            move || trace::within_blocking(&span, || decrypt(coded, &key, number, &entry));
        Ok(match self.world.compute().run(opening).await {
            Ok(slice) => {
                let indices = used.iter().map(|(index, _)| *index);
                let place = (wanted.file.file, wanted.number);
                self.moves.prove(place, wanted.entry.stripe, indices);
                Ok(Recovered { slice, decoded, used })
            }
            Err(error) => {
                tracing::warn!(slice = %number, error = &error as &dyn std::error::Error,
                    "shards open and are not what was put");
                Err(Forged { used, decoded, error })
            }
        })
    }

    /// Whom to leave out, one choice after the other: those first whose bytes are known to
    /// be wrong; of each pair the member that was used, then both.
    async fn suspects(&self, wanted: Wanted<'_>, forged: &Forged) -> Vec<BTreeSet<NodeId>> {
        let wrong = forged.at(Lengths::of(wanted.entry, wanted.file.geometry));
        let mut used = forged.used.clone();
        used.sort_by_key(|(index, _)| (!wrong.contains(&u64::from(index.0)), *index));
        let mut order: Vec<PairId> = Vec::new();
        let mut by_pair: BTreeMap<PairId, BTreeSet<NodeId>> = BTreeMap::new();
        for (index, node) in used {
            let Some(pair) = self.moves.pairs_of(wanted.entry).get(usize::from(index.0)).copied()
            else {
                continue;
            };
            if !order.contains(&pair) {
                order.push(pair);
            }
            by_pair.entry(pair).or_default().insert(node);
        }
        let mut choices = Vec::new();
        for pair in order {
            let one = by_pair.remove(&pair).unwrap_or_default();
            let both = self.pair(pair).await.map(|record| BTreeSet::from(record.members));
            choices.push(one.clone());
            choices.extend(both.ok().filter(|both| *both != one));
        }
        choices
    }

    /// Leaving `suspects` out and using `instead` got further. If somebody else was replaced
    /// meanwhile (because he was slow), nobody is blamed.
    fn note_forgers(
        &self,
        wanted: Wanted<'_>,
        forged: &Forged,
        (suspects, instead): (&BTreeSet<NodeId>, &[(ShardIndex, NodeId)]),
    ) {
        let wrong = forged.at(Lengths::of(wanted.entry, wanted.file.geometry));
        let in_doubt = forged.used.iter().filter(|(index, _)| wrong.contains(&u64::from(index.0)));
        let replaced: Vec<_> = in_doubt.filter(|used| !instead.contains(used)).collect();
        if replaced.iter().any(|(_, node)| !suspects.contains(node)) {
            return;
        }
        for (index, node) in replaced {
            if let Some(pair) = self.moves.pairs_of(wanted.entry).get(usize::from(index.0)) {
                self.note_damage(wanted, (*index, *pair), *node, Harm::Forged);
            }
        }
    }
}
