//! Writes versions of records to their set: counted when a quorum of its pairs has given
//! both receipts, and carried on with in the background until all have it or time is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use defs_core::format::Format as _;
use defs_core::ids::PairId;
use defs_core::message::{BATCH_ITEMS_MAX, MESSAGE_MAX, Request, Response};
use defs_core::port::CallError;
use defs_core::receipt::Kept;
use defs_core::record::{RecordSet, SignedRecord};
use defs_telemetry::{spans, trace};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::nodes::{AskPairError, Nodes};
use crate::ports::World;

/// Tries at one pair: with the waits between them half a minute, a restart's length.
const TRIES: u32 = 8;

/// Leaves room in a message for all but the records.
const BYTES_MAX: usize = MESSAGE_MAX - (64 << 10);

/// Too few pairs keep the records.
#[derive(Debug, Clone, Error)]
#[error("only {have} of the {need} pairs needed keep the record")]
pub struct WriteRecordsError {
    /// Pairs that keep all of it.
    pub have: usize,
    /// Pairs needed.
    pub need: usize,
    /// Pairs that don't.
    pub failed: Vec<PairId>,
    /// Why the last pair doesn't.
    pub source: AskPairError,
}

impl WriteRecordsError {
    /// Whether the same bytes may be written later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.source.is_retryable()
    }
}

impl<W: World> Nodes<W> {
    /// Writes `records`, which all name `set`. Returns as soon as a quorum keeps them all.
    pub(crate) async fn write_records(
        &self,
        set: &RecordSet,
        records: &[Arc<SignedRecord>],
    ) -> Result<(), WriteRecordsError> {
        let span = spans::manifest_write(records.len() as u64);
        trace::within(span, self.write_to_quorum(set, records)).await
    }

    async fn write_to_quorum(
        &self,
        set: &RecordSet,
        records: &[Arc<SignedRecord>],
    ) -> Result<(), WriteRecordsError> {
        let (results, mut done) = mpsc::channel(set.pairs.len());
        let is_kept = Arc::new(AtomicBool::new(false));
        for pair in set.pairs.iter().copied() {
            let (nodes, results, records) = (self.clone(), results.clone(), records.to_vec());
            let (trace, is_kept) = (trace::current(), Arc::clone(&is_kept));
            self.tasks.spawn(async move {
                // Of its own, since the put ends before the last pair has it.
                let span = trace::following(trace, || spans::record_send(pair));
                let outcome =
                    trace::within(span, nodes.write_to_pair(pair, &records, &is_kept)).await;
                // Nobody waits once a quorum has it.
                drop(results.send((pair, outcome)).await);
            });
        }
        drop(results);
        let (need, mut have, mut failed) = (set.quorum(), 0, Vec::new());
        let mut last = None;
        while let Some((pair, outcome)) = done.recv().await {
            match outcome {
                Ok(()) => have += 1,
                Err(source) => {
                    failed.push(pair);
                    last = Some(source);
                }
            }
            if have == need {
                is_kept.store(true, Ordering::Relaxed);
                return Ok(());
            }
            if failed.len() + need > set.pairs.len() {
                break;
            }
        }
        let pair = set.pairs.first().copied().unwrap_or(PairId([0; 16]));
        let source = last.unwrap_or(AskPairError::Unknown(pair));
        Err(WriteRecordsError { have, need, failed, source })
    }

    /// Tries again and again; where nobody of the pair lives, only as long as a quorum lacks
    /// them: else whoever closes the client would wait for that pair.
    async fn write_to_pair(
        &self,
        pair: PairId,
        records: &[Arc<SignedRecord>],
        is_kept: &AtomicBool,
    ) -> Result<(), AskPairError> {
        for batch in batches(records) {
            let mut attempt = 1;
            while let Err(error) = self.write_batch(pair, batch).await {
                let is_needed =
                    !is_kept.load(Ordering::Relaxed) || self.directory.view().answers(&pair);
                if attempt >= TRIES || !is_needed || !error.is_retryable() {
                    return Err(error);
                }
                tracing::debug!(%pair, error = &error as &dyn std::error::Error, "record not kept");
                self.wait_before(attempt).await;
                attempt += 1;
            }
        }
        Ok(())
    }

    async fn write_batch(
        &self,
        pair: PairId,
        batch: &[Arc<SignedRecord>],
    ) -> Result<(), AskPairError> {
        let request = |at: &defs_core::network::PairRecord| Request::WriteRecords {
            pair,
            epoch: at.epoch,
            records: batch.to_vec(),
            forward: true,
        };
        let (response, record) = self.ask_primary(pair, None, request).await?;
        let written = match response {
            Response::Written(written) if written.len() == batch.len() => written,
            _ => {
                let why = "it did not answer for each record";
                return Err(AskPairError::Proof { pair, why });
            }
        };
        for (sent, outcome) in batch.iter().zip(written) {
            let receipts = outcome.map_err(|refusal| AskPairError::Call {
                pair,
                source: CallError::Refused { to: record.primary(), refusal },
            })?;
            self.check_receipts(&record, Kept::Record(sent.body.hash()), &receipts)?;
        }
        Ok(())
    }
}

/// Parts of `records` that each fit one message.
fn batches(records: &[Arc<SignedRecord>]) -> Vec<&[Arc<SignedRecord>]> {
    let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (place, record) in records.iter().enumerate() {
        let length = record.encode().len();
        if place > start && (bytes + length > BYTES_MAX || place - start == BATCH_ITEMS_MAX) {
            batches.push(&records[start..place]);
            (start, bytes) = (place, 0);
        }
        bytes += length;
    }
    batches.push(&records[start..]);
    batches
}

#[cfg(test)]
mod tests {
    use defs_core::ids::FileId;
    use defs_core::record::{Content, Record, RecordKey};
    use defs_core::statement::{Lock, Signed, Unlock};

    use super::*;

    fn record(bytes: usize) -> Arc<SignedRecord> {
        let body = Record {
            key: RecordKey::manifest(FileId([1; 32]), 0),
            counter: 1,
            parents: vec![],
            set: RecordSet { pairs: vec![PairId([1; 16])], version: 1 },
            lock: Lock::new(vec![1]).unwrap(),
            file_random: [1; 32],
            salt: [1; 32],
            content: Content::Sealed(vec![0; bytes]),
        };
        Arc::new(Signed { body, unlock: Unlock::default() })
    }

    #[test]
    fn batches_hold_every_record_once_within_a_message() {
        let small: Vec<_> = (0..600).map(|_| record(10)).collect();
        let counts: Vec<_> = batches(&small).iter().map(|batch| batch.len()).collect();
        assert_eq!(counts, [256, 256, 88]);
        let large: Vec<_> = (0..7).map(|_| record(256 << 10)).collect();
        let counts: Vec<_> = batches(&large).iter().map(|batch| batch.len()).collect();
        assert_eq!(counts, [3, 3, 1]);
    }
}
