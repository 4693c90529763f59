//! What this node has signed of a pair's next epochs: at most one successor of each, on the
//! disk before anybody sees the signature. A witness may sign another one for the same member, if
//! the newcomer of the first is gone.

use defs_core::format::{Format, FormatError, Reader, Writer};
use defs_core::ids::{Digest, Epoch, NodeId, PairId};
use defs_core::message::{Reason, Refusal};
use defs_core::network::PairRecord;
use defs_core::port::{Change, Disk, DiskError, StateKey};
use defs_core::receipt::NodeSignature;
use defs_core::statement::Statement;

use crate::config::World;
use crate::engine::Engine;
use crate::refuse::{disk_refusal, refuse};
use crate::stamp::sign_as_node;

/// The newest epoch of a pair that this node has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Promised {
    epoch: Epoch,
    record: Digest,
}

impl Format for Promised {
    const NAME: &'static str = "a signed epoch";
    fn write(&self, out: &mut Writer) {
        out.u64(self.epoch.0);
        out.raw(&self.record.0);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self { epoch: Epoch(input.u64("epoch")?), record: Digest(input.array("record")?) })
    }
}

/// The successor to which this node agreed as a witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) record: Digest,
    /// The member that proposed it.
    pub(crate) stays: NodeId,
    /// Whom it puts beside itself.
    pub(crate) joins: NodeId,
}

impl Format for Agreed {
    const NAME: &'static str = "what a witness agreed to";
    fn write(&self, out: &mut Writer) {
        out.raw(&self.record.0);
        out.raw(&self.stays.0);
        out.raw(&self.joins.0);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let record = Digest(input.array("record")?);
        let (stays, joins) = (NodeId(input.array("stays")?), NodeId(input.array("joins")?));
        Ok(Self { record, stays, joins })
    }
}

fn key(pair: &PairId) -> StateKey {
    StateKey([b"signed/".as_slice(), &pair.0].concat())
}

fn agreed_key(pair: &PairId) -> StateKey {
    StateKey([b"agreed/".as_slice(), &pair.0].concat())
}

impl<W: World> Engine<W> {
    /// Signs `record`, unless this node has signed another one of its epoch or a later one.
    pub(crate) async fn sign_once(&self, record: &PairRecord) -> Result<NodeSignature, Refusal> {
        self.sign_instead(record, None, None).await
    }

    /// The same, but where it has signed the record with the digest `instead`; `agreed` is kept
    /// with the signature.
    pub(crate) async fn sign_instead(
        &self,
        record: &PairRecord,
        instead: Option<Digest>,
        agreed: Option<Agreed>,
    ) -> Result<NodeSignature, Refusal> {
        let _one_at_a_time = self.signing.lock().await;
        let promise = Promised { epoch: record.epoch, record: record.digest() };
        let before = self.promised(&record.pair).await.map_err(disk_refusal)?;
        let is_given_up =
            |before: &Promised| before.epoch == promise.epoch && Some(before.record) == instead;
        let is_taken = |before: &Promised| {
            before.epoch >= promise.epoch && *before != promise && !is_given_up(before)
        };
        if before.as_ref().is_some_and(is_taken) {
            let detail = format!(
                "this node has signed another epoch {} of pair {}, or a later one",
                record.epoch, record.pair
            );
            return Err(refuse(Reason::NotAllowed, detail));
        }
        if before != Some(promise) {
            let mut changes = vec![Change::Put(key(&record.pair), promise.encode())];
            let agreed = agreed.map(|agreed| agreed.encode());
            changes.extend(agreed.map(|agreed| Change::Put(agreed_key(&record.pair), agreed)));
            self.disk.apply(changes).await.map_err(disk_refusal)?;
        }
        Ok(sign_as_node(&self.key, &record.statement(&self.network)))
    }

    /// Whether the newest epoch of its pair that this node has signed is `record`.
    pub(crate) async fn has_signed(&self, record: &PairRecord) -> Result<bool, DiskError> {
        let of = Promised { epoch: record.epoch, record: record.digest() };
        Ok(self.promised(&record.pair).await? == Some(of))
    }

    /// Whether this node has signed an epoch of `pair` after `epoch`: then it gives no
    /// receipts in `epoch` any more.
    pub(crate) async fn has_signed_after(
        &self,
        pair: &PairId,
        epoch: Epoch,
    ) -> Result<bool, Refusal> {
        let before = self.promised(pair).await.map_err(disk_refusal)?;
        Ok(before.is_some_and(|before| before.epoch > epoch))
    }

    /// The last successor of `pair` to which this node agreed as a witness.
    pub(crate) async fn agreed(&self, pair: &PairId) -> Result<Option<Agreed>, DiskError> {
        let stored = self.disk.get(agreed_key(pair)).await?;
        Ok(stored.and_then(|bytes| Agreed::decode(&bytes).ok()))
    }

    async fn promised(&self, pair: &PairId) -> Result<Option<Promised>, DiskError> {
        let stored = self.disk.get(key(pair)).await?;
        let damaged = |_| DiskError::Damaged { what: format!("what was signed of pair {pair}") };
        stored.map(|bytes| Promised::decode(&bytes).map_err(damaged)).transpose()
    }
}
