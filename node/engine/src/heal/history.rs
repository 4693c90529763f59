//! The epochs of pairs, one after the other: kept so that whoever missed some can check each
//! against the one before, and taken over from others where this node did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use defs_core::body::Body;
use defs_core::format::Format;
use defs_core::ids::{Epoch, NodeId, PairId};
use defs_core::message::{HISTORY_MAX, Refusal, Request, Response};
use defs_core::network::{PairRecord, SignedPairRecord};
use defs_core::port::{CallError, Change, Disk, DiskError, Peers, StateKey};

use crate::config::World;
use crate::engine::{Engine, STATE_MAX};
use crate::membership::{check_pair, draw};
use crate::refuse::disk_refusal;

/// Epochs of one pair that are read back: two a day for five years.
const EPOCHS_MAX: usize = 4096;

/// Pairs whose epochs this node may be looking for.
const BEHIND_MAX: usize = 1024;

/// Nodes that are asked for the epochs of a pair of which neither members nor witnesses answer.
const OTHERS_ASKED: usize = 4;

/// Newest records heard of pairs of which earlier epochs are missing here.
pub(crate) type Behind = BTreeMap<PairId, SignedPairRecord>;

fn prefix(pair: &PairId) -> Vec<u8> {
    [b"epoch/".as_slice(), &pair.0].concat()
}

/// A pair record as it is kept: as the newest, and among its pair's epochs.
pub(crate) fn pair_changes(signed: &SignedPairRecord) -> [Change; 2] {
    let newest = [b"pair/".as_slice(), &signed.record.pair.0].concat();
    let mut epoch = prefix(&signed.record.pair);
    epoch.extend_from_slice(&signed.record.epoch.0.to_be_bytes());
    let bytes = signed.encode();
    [Change::Put(StateKey(newest), bytes.clone()), Change::Put(StateKey(epoch), bytes)]
}

/// When the members of `pair` last changed, as it is kept: a plan leaves it alone for a while.
pub(crate) fn changed_change(pair: &PairId, at: Duration) -> Change {
    let key = [b"changed/".as_slice(), &pair.0].concat();
    let millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
    Change::Put(StateKey(key), millis.to_le_bytes().to_vec())
}

impl<W: World> Engine<W> {
    /// Reads back when pairs last changed.
    pub(crate) async fn recall_changes(&self) -> Result<(), DiskError> {
        for (key, bytes) in self.disk.scan(StateKey(b"changed/".to_vec()), STATE_MAX).await? {
            let pair = key.0.get(b"changed/".len()..).and_then(|pair| pair.try_into().ok());
            let millis = <[u8; 8]>::try_from(bytes.as_ref()).ok().map(u64::from_le_bytes);
            if let (Some(pair), Some(millis)) = (pair, millis) {
                self.membership.recall_change(PairId(pair), Duration::from_millis(millis));
            }
        }
        Ok(())
    }

    pub(crate) async fn history(&self, pair: PairId, after: Epoch) -> Result<Response, Refusal> {
        let stored = self.disk.scan(StateKey(prefix(&pair)), EPOCHS_MAX);
        let stored = stored.await.map_err(disk_refusal)?;
        let records = stored.iter().filter_map(|(_, bytes)| SignedPairRecord::decode(bytes).ok());
        let later = records.filter(|signed| signed.record.epoch > after);
        Ok(Response::History(later.take(HISTORY_MAX).collect()))
    }

    /// Remembers that epochs before `signed` are to be asked for.
    pub(crate) fn is_behind(&self, signed: SignedPairRecord) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = signed.record.pair;
        let is_newer = |known: &SignedPairRecord| known.record.epoch < signed.record.epoch;
        if behind.get(&pair).map_or(behind.len() < BEHIND_MAX, is_newer) {
            behind.insert(pair, signed);
        }
    }

    /// Asks for the epochs that this node has missed.
    pub(crate) async fn close_gaps(self: Arc<Self>) {
        let behind =
            std::mem::take(&mut *self.behind.lock().unwrap_or_else(PoisonError::into_inner));
        for (pair, heard) in behind {
            let known = self.membership.pair(&pair).map_or(0, |known| known.record.epoch.0);
            if known >= heard.record.epoch.0 {
                continue;
            }
            let sources = self.sources(&heard);
            if self.learn_successor(heard).await {
                continue;
            }
            for source in sources {
                if self.learn_epochs(source, pair).await {
                    break;
                }
            }
        }
    }

    /// Who may know the epochs before this one: those of them that are heard, since of a lost
    /// pair others have to tell.
    fn sources(&self, heard: &SignedPairRecord) -> Vec<NodeId> {
        let PairRecord { pair, members, witnesses, .. } = &heard.record;
        let mut others: Vec<_> = self.alive().into_iter().collect();
        others.sort_by_cached_key(|node| draw(pair, node));
        let concerned = members.iter().chain(witnesses).copied();
        let mut sources: Vec<_> = concerned
            .chain(others.into_iter().take(OTHERS_ASKED))
            .filter(|node| *node != self.me && self.is_heard(node))
            .collect();
        let mut seen = BTreeSet::new();
        sources.retain(|node| seen.insert(*node));
        sources
    }

    /// Takes over what `node` has of the epochs of `pair`, if it answers. Whether something
    /// was learnt.
    pub(crate) async fn learn_epochs(&self, node: NodeId, pair: PairId) -> bool {
        self.take_history(node, pair).await.unwrap_or_else(|error| {
            tracing::debug!(%pair, %node, %error, "no history");
            false
        })
    }

    /// Takes over what `node` has of the epochs of `pair`. Whether something was learnt.
    async fn take_history(&self, node: NodeId, pair: PairId) -> Result<bool, CallError> {
        let mut learnt = false;
        for _ in 0..EPOCHS_MAX / HISTORY_MAX {
            let after = self.membership.pair(&pair).map_or(Epoch(0), |known| known.record.epoch);
            let request = Request::History { pair, after };
            let reply = self.peers.call(node, request, Body::empty()).await?;
            let Response::History(records) = reply.response else { break };
            let mut news = false;
            for signed in records {
                news |= self.learn_successor(signed).await;
            }
            learnt |= news;
            if !news {
                break;
            }
        }
        Ok(learnt)
    }

    /// Takes in a record that follows what is known. Whether it was news.
    async fn learn_successor(&self, signed: SignedPairRecord) -> bool {
        let known = self.membership.pair(&signed.record.pair);
        let before = known.as_ref().map(|known| &known.record);
        if check_pair(&self.network, before, &signed, &self.checker).is_err() {
            return false;
        }
        if self.would_join(before, &signed.record) {
            let joined = self.join(signed).await;
            return joined
                .inspect_err(|refusal| tracing::debug!(%refusal, "no place is taken"))
                .is_ok();
        }
        if signed.record.role_of(&self.me).is_none() {
            return self.membership.learn_pair(signed, self.lease_clock()).unwrap_or(false);
        }
        self.take_own_epoch(&signed, []).await.unwrap_or_else(|error| {
            self.note_failure(Err(error));
            false
        })
    }
}
