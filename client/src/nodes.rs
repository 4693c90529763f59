//! The nodes of the network as the pipeline and the records use them: who they are, the
//! links to them, and what their receipts are worth.

use std::sync::Arc;
use std::time::Duration;

use defs_core::ids::{NetworkId, NodeId, PairId};
use defs_core::message::{Reason, Request, Response};
use defs_core::network::PairRecord;
use defs_core::port::{CallError, Clock as _, Randomness as _};
use defs_core::receipt::{Kept, SignedReceipt};
use defs_core::statement::Statement as _;
use defs_identity::{CachedChecker, verify_node};
use thiserror::Error;
use tokio_util::task::TaskTracker;

use crate::directory::{Directory, Unreachable};
use crate::keys::FileLock;
use crate::peers::{Asking, Links, NetworkIdentity};
use crate::pipeline::moved::Moves;
use crate::place::below;
use crate::ports::World;

/// The first wait before something is tried again; each next one is twice as long, and
/// a random part of it is left out so that clients don't come back together.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// The longest wait before something is tried again.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Nodes that are asked to broadcast, one after the other.
const LOCATORS_TRIED: usize = 3;

#[derive(Debug)]
pub(crate) struct Nodes<W> {
    pub(crate) world: Arc<W>,
    pub(crate) links: Arc<Links<W>>,
    pub(crate) directory: Arc<Directory<W>>,
    pub(crate) asking: Arc<Asking<W>>,
    pub(crate) tasks: TaskTracker,
    /// Where shards were found that are not where their manifest says.
    pub(crate) moves: Moves,
}

impl<W> Clone for Nodes<W> {
    fn clone(&self) -> Self {
        Self {
            world: Arc::clone(&self.world),
            links: Arc::clone(&self.links),
            directory: Arc::clone(&self.directory),
            asking: Arc::clone(&self.asking),
            tasks: self.tasks.clone(),
            moves: self.moves.clone(),
        }
    }
}

/// A pair that can't be asked.
#[derive(Debug, Clone, Error)]
pub enum AskPairError {
    /// The network's table doesn't have it.
    #[error("pair {0} is not in the network's table")]
    Unknown(PairId),
    /// There is no table.
    #[error("the network's table can't be had")]
    NoTable(#[from] Unreachable),
    /// Its primary didn't do it.
    #[error("pair {pair} did not do it")]
    Call {
        /// The pair.
        pair: PairId,
        /// What its member answered or why it didn't.
        source: CallError,
    },
    /// What it answered is not a proof.
    #[error("pair {pair} answered without a valid proof: {why}")]
    Proof {
        /// The pair.
        pair: PairId,
        /// What is wrong.
        why: &'static str,
    },
}

impl AskPairError {
    /// Whether another pair, or this one later, may do it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unknown(_) | Self::NoTable(_) | Self::Proof { .. } => true,
            Self::Call { source, .. } => {
                source.refusal().is_none_or(|refusal| refusal.reason.is_about_this_node())
            }
        }
    }

    /// The pair that was asked.
    #[must_use]
    pub fn pair(&self) -> Option<PairId> {
        match self {
            Self::Unknown(pair) | Self::Call { pair, .. } | Self::Proof { pair, .. } => Some(*pair),
            Self::NoTable(_) => None,
        }
    }

    /// Why the pair refused, if it answered at all.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Call { source, .. } => source.refusal().map(|refusal| refusal.reason),
            Self::Unknown(_) | Self::NoTable(_) | Self::Proof { .. } => None,
        }
    }
}

impl<W: World> Nodes<W> {
    pub(crate) fn new(
        world: Arc<W>,
        network: (NetworkIdentity, Option<NetworkId>),
        contacts: Vec<NodeId>,
        checker: Arc<CachedChecker>,
        tasks: &TaskTracker,
    ) -> Self {
        let links = Arc::new(Links::new(Arc::clone(&world), network, checker));
        let directory = Arc::new(Directory::new(Arc::clone(&world), Arc::clone(&links), contacts));
        let asking = Arc::new(Asking::new(Arc::clone(&world), Arc::clone(&links), tasks.clone()));
        let moves = Moves::default();
        Self { world, links, directory, asking, tasks: tasks.clone(), moves }
    }

    /// The record of `pair` as it is known now; asks again if it isn't.
    pub(crate) async fn pair(&self, pair: PairId) -> Result<PairRecord, AskPairError> {
        if let Some(known) = self.directory.view().pairs.get(&pair) {
            return Ok(known.record.clone());
        }
        let view = self.directory.refresh().await?;
        let found = view.pairs.get(&pair).map(|pair| pair.record.clone());
        found.ok_or(AskPairError::Unknown(pair))
    }

    /// Nodes that may be asked to look for something, one after the other.
    pub(crate) async fn locators(&self) -> Result<Vec<NodeId>, Unreachable> {
        let view = self.directory.fresh().await?;
        // One of each pair first: of a pair that has just died the table may not know yet.
        let place = |place: usize| {
            let its = view.pairs.values();
            its.filter_map(move |pair| {
                Some((*pair.record.members.get(place)?, *pair.alive.get(place)?))
            })
        };
        let members = place(0).chain(place(1));
        let mut nodes: Vec<_> = members.filter_map(|(node, alive)| alive.then_some(node)).collect();
        let now = self.world.clock().elapsed();
        nodes.sort_by_key(|node| self.links.pace.is_shunned(*node, now));
        nodes.truncate(LOCATORS_TRIED);
        Ok(nodes)
    }

    /// Asks the primary of `pair`, as the owner of a lock where one is given. A pair in
    /// another epoch is looked up again and asked once more.
    pub(crate) async fn ask_primary(
        &self,
        pair: PairId,
        lock: Option<&FileLock>,
        request: impl Fn(&PairRecord) -> Request,
    ) -> Result<(Response, PairRecord), AskPairError> {
        let record = self.pair(pair).await?;
        match self.ask_once(&record, lock, request(&record)).await {
            Err(error) if error.reason() == Some(Reason::WrongEpoch) => {
                self.directory.refresh().await?;
                let newer = self.pair(pair).await?;
                if newer.epoch == record.epoch {
                    return Err(error);
                }
                Ok((self.ask_once(&newer, lock, request(&newer)).await?, newer))
            }
            answer => Ok((answer?, record)),
        }
    }

    async fn ask_once(
        &self,
        record: &PairRecord,
        lock: Option<&FileLock>,
        request: Request,
    ) -> Result<Response, AskPairError> {
        let primary = record.primary();
        let answer = match lock {
            Some(lock) => self.links.call_as_owner(primary, lock, request).await,
            None => self.links.call(primary, request, defs_core::body::Body::empty()).await,
        };
        match answer {
            Ok(reply) => Ok(reply.response),
            Err(source) => {
                if source.refusal().is_none() {
                    self.links.pace.failed(primary, self.world.clock().elapsed());
                }
                Err(AskPairError::Call { pair: record.pair, source })
            }
        }
    }

    /// Whether `receipts` prove that both members of `pair` keep `kept`.
    pub(crate) fn check_receipts(
        &self,
        pair: &PairRecord,
        kept: Kept,
        receipts: &[SignedReceipt],
    ) -> Result<(), AskPairError> {
        let wrong = |why| AskPairError::Proof { pair: pair.pair, why };
        if receipts.len() != 2 {
            return Err(wrong("not two receipts"));
        }
        for member in pair.members {
            let signed = receipts.iter().find(|signed| signed.receipt.node == member);
            let signed = signed.ok_or_else(|| wrong("a member's receipt is missing"))?;
            let receipt = &signed.receipt;
            if receipt.kept != kept || receipt.pair != pair.pair || receipt.epoch != pair.epoch {
                return Err(wrong("a receipt is for something else"));
            }
            let root = signed.path.root(&receipt.statement(&self.links.network()));
            let by = &signed.by;
            match verify_node(&by.key, &root, &by.signature, self.links.checker.as_ref()) {
                Ok(node) if node == member => {}
                _ => return Err(wrong("a receipt is not signed by its node")),
            }
        }
        Ok(())
    }

    /// Waits before try `attempt`, counted from 1.
    pub(crate) async fn wait_before(&self, attempt: u32) {
        let full = RETRY_FIRST.saturating_mul(1 << attempt.clamp(1, 10)).min(RETRY_MAX);
        let part = self.draw(512) + 512;
        let wait = full.mul_f64(f64::from(u32::try_from(part).unwrap_or(1024)) / 1024.0);
        self.world.clock().sleep(wait).await;
    }

    /// A random number below `bound`.
    pub(crate) fn draw(&self, bound: u64) -> u64 {
        below(bound, || u64::from_le_bytes(self.world.random().array()))
    }
}
