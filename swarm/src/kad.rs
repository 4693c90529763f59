//! The fall-back look-up: the distributed hash table maps a locator to pairs that say
//! they hold its records. A value is 1 to 4 pair ids, newest first; nodes that keep one
//! merge what they are told, so two pairs don't push each other out.

use std::collections::HashMap;
use std::time::Duration;

use defs_core::ids::{Locator, PairId};
use libp2p::kad::store::{MemoryStore, RecordStore};
use libp2p::kad::{
    Behaviour, GetRecordOk, InboundRequest, ProgressStep, QueryId, QueryResult, Quorum, Record,
    RecordKey,
};
use tokio::sync::oneshot;

/// Pairs that one value names: more than hold any record.
const PAIRS_MAX: usize = 4;

/// The largest value.
pub(crate) const PAIRS_BYTES_MAX: usize = PAIRS_MAX * PairId::SIZE;

/// Candidates that a look-up hands on.
const FOUND_MAX: usize = 16;

/// Look-ups at once: whoever asks beyond that gets nothing.
const LOOK_UPS_MAX: usize = 256;

/// How long a look-up may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// Who waits for which look-up.
#[derive(Debug, Default)]
pub(crate) struct LookUps(HashMap<QueryId, LookUp>);

#[derive(Debug)]
struct LookUp {
    answer: oneshot::Sender<Vec<PairId>>,
    found: Vec<PairId>,
}

impl LookUps {
    pub(crate) fn start(
        &mut self,
        kad: &mut Behaviour<MemoryStore>,
        locator: Locator,
        answer: oneshot::Sender<Vec<PairId>>,
    ) {
        if self.0.len() < LOOK_UPS_MAX {
            let query = kad.get_record(key(locator));
            self.0.insert(query, LookUp { answer, found: Vec::new() });
        }
    }

    /// Whatever a query brings; its last step answers whoever waits.
    pub(crate) fn progress(&mut self, id: QueryId, result: QueryResult, step: &ProgressStep) {
        let QueryResult::GetRecord(result) = result else { return };
        let Some(look_up) = self.0.get_mut(&id) else { return };
        if let Ok(GetRecordOk::FoundRecord(found)) = result {
            merge(&mut look_up.found, pairs(&found.record.value).unwrap_or_default(), FOUND_MAX);
        }
        if (step.last || look_up.found.len() == FOUND_MAX)
            && let Some(LookUp { answer, found }) = self.0.remove(&id)
        {
            drop(answer.send(found));
        }
    }
}

/// Tells the nodes nearest to `locator` that `pair` holds its records.
pub(crate) fn provide(kad: &mut Behaviour<MemoryStore>, locator: Locator, pair: PairId) {
    let record = merged(kad.store_mut(), Record::new(key(locator), pair.0.to_vec()));
    if let Some(record) = record
        && let Err(error) = kad.put_record(record, Quorum::One)
    {
        tracing::debug!(%locator, %error, "a record could not be put into the hash table");
    }
}

/// Keeps what another node puts here, if it is what belongs here.
pub(crate) fn asked(kad: &mut Behaviour<MemoryStore>, request: InboundRequest) {
    if let InboundRequest::PutRecord { record: Some(record), .. } = request
        && let Some(record) = merged(kad.store_mut(), record)
        && let Err(error) = kad.store_mut().put(record)
    {
        tracing::debug!(%error, "a record of the hash table could not be kept");
    }
}

/// `record` with the pairs that are known already; `None` if it is not of our form.
fn merged(store: &MemoryStore, mut record: Record) -> Option<Record> {
    (record.key.as_ref().len() == Locator::SIZE).then_some(())?;
    let mut known = pairs(&record.value)?;
    if let Some(before) = store.get(&record.key) {
        merge(&mut known, pairs(&before.value).unwrap_or_default(), PAIRS_MAX);
    }
    record.value = known.iter().flat_map(|pair| pair.0).collect();
    Some(record)
}

fn key(locator: Locator) -> RecordKey {
    RecordKey::new(&locator.0)
}

/// The pairs in a value: 1 to [`PAIRS_MAX`].
fn pairs(value: &[u8]) -> Option<Vec<PairId>> {
    let (ids, rest) = value.as_chunks();
    let fits = rest.is_empty() && (1..=PAIRS_MAX).contains(&ids.len());
    fits.then(|| ids.iter().copied().map(PairId).collect())
}

fn merge(known: &mut Vec<PairId>, more: Vec<PairId>, most: usize) {
    for pair in more {
        if known.len() < most && !known.contains(&pair) {
            known.push(pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::PeerId;

    fn record(value: &[u8]) -> Record {
        Record::new(key(Locator([7; 32])), value.to_vec())
    }

    #[test]
    fn two_pairs_that_provide_one_locator_are_both_kept() {
        let mut store = MemoryStore::new(PeerId::random());
        store.put(record(&[1; 16])).unwrap();
        let merged = merged(&store, record(&[2; 16])).unwrap();
        assert_eq!(pairs(&merged.value), Some(vec![PairId([2; 16]), PairId([1; 16])]));
    }

    #[test]
    fn values_of_another_form_are_refused() {
        let store = MemoryStore::new(PeerId::random());
        for value in [&[][..], &[0; 15], &[0; 80]] {
            assert_eq!(merged(&store, record(value)), None);
        }
        assert_eq!(merged(&store, Record::new(vec![1, 2], vec![0; 16])), None);
    }
}
