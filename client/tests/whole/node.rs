//! A storage node that keeps the owner's side of the protocol honest: it checks what a
//! node must check, stores in memory, and breaks one rule at a time when told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use defs_codec::Share;
use defs_core::body::Body;
use defs_core::digest::{merkle_tree, shard_id};
use defs_core::format::Format as _;
use defs_core::ids::{LockHash, NodeId, StripeId};
use defs_core::message::{
    Hello, KeepStripe, Located, Reason, Refusal, Request, Response, Rung, ShardKey, StoreShard,
};
use defs_core::network::Genesis;
use defs_core::port::{Reply, UnixMillis};
use defs_core::receipt::{Kept, NodeSignature, Receipt, SignedReceipt};
use defs_core::record::{RecordKey, SignedRecord, merge_heads};
use defs_core::statement::{Lock, Operations, Statement as _};
use defs_core::stripe::ShardHead;
use defs_identity::{CachedChecker, SecretKey, SessionTerms, UnixTime, authorise, check_session};

use crate::cluster::Cluster;
use crate::faults::Faults;
use crate::forge::forge;

#[derive(Default)]
struct State {
    shards: BTreeMap<ShardKey, Stored>,
    records: BTreeMap<RecordKey, Vec<SignedRecord>>,
    sessions: BTreeSet<(NodeId, LockHash)>,
    deleted: BTreeSet<StripeId>,
}

struct Stored {
    head: Arc<ShardHead>,
    bytes: Bytes,
    committed: bool,
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) key: SecretKey,
    genesis: Genesis,
    checker: CachedChecker,
    pub(crate) faults: Mutex<Faults>,
    state: Mutex<State>,
    /// Bytes of shards that owners sent here.
    pub(crate) received: Mutex<u64>,
}

/// How many shards, how many of them committed, how many records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) shards: usize,
    pub(crate) committed: usize,
    pub(crate) records: usize,
}

type Answer = Result<Reply, Refusal>;

fn refuse(reason: Reason) -> Refusal {
    Refusal::new(reason, format!("{reason:?}"))
}

fn bare(response: Response) -> Answer {
    Ok(Reply::bare(response))
}

impl Node {
    pub(crate) fn new(seed: u8, genesis: Genesis) -> Self {
        let key = SecretKey::from_seed(&[seed; 32]);
        Self {
            id: key.public().node_id(),
            key,
            genesis,
            checker: CachedChecker::new(),
            faults: Mutex::default(),
            state: Mutex::default(),
            received: Mutex::default(),
        }
    }

    pub(crate) fn holdings(&self) -> Holdings {
        let state = self.state.lock().unwrap();
        let committed = state.shards.values().filter(|shard| shard.committed).count();
        let alive = |heads: &&Vec<SignedRecord>| {
            heads.iter().any(|head| head.body.content != defs_core::record::Content::Deleted)
        };
        let records = state.records.values().filter(alive).count();
        Holdings { shards: state.shards.len(), committed, records }
    }

    /// The most versions of a record side by side.
    pub(crate) fn heads(&self) -> usize {
        self.state.lock().unwrap().records.values().map(Vec::len).max().unwrap_or(0)
    }

    /// Every shard that is held.
    pub(crate) fn shards(&self) -> BTreeSet<ShardKey> {
        self.state.lock().unwrap().shards.keys().copied().collect()
    }

    /// Every stripe of which something is held.
    pub(crate) fn stripes(&self) -> BTreeSet<StripeId> {
        self.shards().into_iter().map(|key| key.stripe).collect()
    }

    /// All shards are gone.
    pub(crate) fn forget_shards(&self) {
        self.state.lock().unwrap().shards.clear();
    }

    /// What `other` held is here, and there no more.
    pub(crate) fn take_shards_of(&self, other: &Self) {
        let moved = std::mem::take(&mut other.state.lock().unwrap().shards);
        self.state.lock().unwrap().shards.extend(moved);
    }

    pub(crate) fn forget_sessions(&self) {
        self.state.lock().unwrap().sessions.clear();
    }

    pub(crate) fn forget_records(&self) {
        self.set_records(BTreeMap::new());
    }

    pub(crate) fn records(&self) -> BTreeMap<RecordKey, Vec<SignedRecord>> {
        self.state.lock().unwrap().records.clone()
    }

    pub(crate) fn set_records(&self, records: BTreeMap<RecordKey, Vec<SignedRecord>>) {
        self.state.lock().unwrap().records = records;
    }

    fn read_records(&self, caller: NodeId, keys: &[RecordKey]) -> Answer {
        let faults = self.faults.lock().unwrap().clone();
        if faults.keys_max.is_some_and(|max| keys.len() > max) {
            return Err(refuse(Reason::NotAllowed));
        }
        let mut left = faults.answer_max.unwrap_or(usize::MAX);
        let heads = keys.iter().map(|key| {
            let heads = self.read_record(caller, key)?;
            let length = heads.iter().map(|head| head.encode().len()).sum::<usize>();
            left = left.saturating_sub(length);
            if left == 0 { Err(refuse(Reason::Busy)) } else { Ok(heads) }
        });
        bare(Response::Records(heads.collect()))
    }

    fn challenge(&self) -> [u8; 32] {
        [self.id.0[0]; 32]
    }

    pub(crate) async fn serve(
        &self,
        cluster: &Cluster,
        caller: NodeId,
        request: Request,
        body: Body,
    ) -> Answer {
        match request {
            Request::Hello(Hello { network, .. }) => self.hello(network),
            Request::OpenSession(signed) => {
                let terms = SessionTerms {
                    network: self.genesis.network(),
                    node: self.id,
                    client: caller,
                    challenge: self.challenge(),
                    now: UnixTime::from_millis(cluster.now().0),
                };
                check_session(&signed, &terms, &self.checker)
                    .map_err(|_refused| refuse(Reason::SessionRefused))?;
                let lock = signed.body.lock.hash();
                self.state.lock().unwrap().sessions.insert((caller, lock));
                bare(Response::Done)
            }
            Request::StoreShard(store) => self.store(cluster, store, body).await,
            Request::ReadShard(read) => self.read_shard(cluster, caller, read),
            Request::Renew { shards, both, .. } => {
                self.check_renewal(caller, &shards)?;
                self.with_partner(cluster, both, |node| node.held(&shards))
            }
            Request::Commit { stripes, both } => {
                for KeepStripe { commit, .. } in &stripes {
                    self.check_stripe(&commit.body.stripe, |lock| {
                        self.authorised(cluster, commit, lock)
                    })?;
                }
                self.with_partner(cluster, both, |node| node.commit(&stripes))
            }
            Request::Delete { tombstones, both } => {
                for one in &tombstones {
                    self.check_stripe(&one.body.stripe, |lock| {
                        self.authorised(cluster, one, lock)
                    })?;
                    self.delete(one.body.stripe);
                    if both && let Ok(partner) = cluster.partner(self.id) {
                        partner.delete(one.body.stripe);
                    }
                }
                bare(Response::Done)
            }
            Request::WriteRecords { pair, epoch, records, .. } => {
                let record = cluster.pair_of(self.id);
                if record.pair != pair || record.epoch != epoch || record.primary() != self.id {
                    return Err(refuse(Reason::WrongEpoch));
                }
                let partner = cluster.partner(self.id)?;
                bare(Response::Written(self.write(cluster, &partner, &records)))
            }
            Request::ReadRecords { keys } => self.read_records(caller, &keys),
            Request::Table { .. } => bare(Response::Table(Box::new(cluster.table()))),
            Request::Locate { locator } => {
                let hint = self.faults.lock().unwrap().stale_hint.take();
                let pairs = hint.map_or_else(|| cluster.holders(&locator), |pair| vec![pair]);
                let rung = if pairs.is_empty() { Rung::Nowhere } else { Rung::Broadcast };
                let boasts = self.faults.lock().unwrap().boasts;
                let [messages, round_trips] = if boasts { [u32::MAX; 2] } else { [3, 1] };
                bare(Response::Located(Located { pairs, rung, messages, round_trips }))
            }
            _ => Err(refuse(Reason::Malformed)),
        }
    }

    /// What both members hold, where both are asked.
    fn with_partner(
        &self,
        cluster: &Cluster,
        both: bool,
        ask: impl Fn(&Self) -> Vec<bool>,
    ) -> Answer {
        let mut held = ask(self);
        if both {
            let theirs = ask(cluster.partner(self.id)?.as_ref());
            held.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine &= theirs);
        }
        bare(Response::Held(held))
    }

    fn hello(&self, network: defs_core::ids::NetworkId) -> Answer {
        if network.0 != [0; 32] && network != self.genesis.network() {
            return Err(refuse(Reason::WrongNetwork));
        }
        bare(Response::Hello { genesis: self.genesis, version: 1, challenge: self.challenge() })
    }

    fn authorised<T: defs_core::statement::Statement>(
        &self,
        cluster: &Cluster,
        signed: &defs_core::statement::Signed<T>,
        lock: &Lock,
    ) -> Result<(), Refusal> {
        let now = UnixTime::from_millis(cluster.now().0);
        authorise(signed, lock, &self.genesis.network(), now, &self.checker)
            .map_err(|_no| refuse(Reason::NotAuthorised))
    }

    async fn store(&self, cluster: &Cluster, store: StoreShard, body: Body) -> Answer {
        let faults = self.faults.lock().unwrap().clone();
        let pair = cluster.pair_of(self.id);
        if pair.pair != store.pair || pair.epoch != store.epoch || pair.primary() != self.id {
            return Err(refuse(Reason::WrongEpoch));
        }
        let partner = cluster.partner(self.id)?;
        let holds = self.holdings().shards;
        if faults.full || faults.shards_taken_max.is_some_and(|max| holds >= max) {
            return Err(refuse(Reason::Full));
        }
        let head = store.head;
        self.authorised(cluster, &head.descriptor, &head.descriptor.body.lock)?;
        let bytes: Bytes = body.collect().await.map_err(|_short| refuse(Reason::Malformed))?.into();
        *self.received.lock().unwrap() += bytes.len() as u64;
        if shard_id(&bytes) != head.shard_id() {
            return Err(refuse(Reason::WrongBytes));
        }
        let key = ShardKey { stripe: head.descriptor.body.id(), index: head.index };
        let held = self.state.lock().unwrap();
        let mut of_stripe: BTreeSet<_> =
            held.shards.keys().filter(|other| other.stripe == key.stripe).copied().collect();
        drop(held);
        of_stripe.insert(key);
        if of_stripe.len() > usize::from(head.descriptor.body.per_pair) {
            return Err(refuse(Reason::TooMany));
        }
        for node in [self, partner.as_ref()] {
            let stored = Stored { head: Arc::clone(&head), bytes: bytes.clone(), committed: false };
            node.state.lock().unwrap().shards.insert(key, stored);
        }
        let kept = Kept::Shard(key.stripe, key.index);
        let receipts =
            [self, partner.as_ref()].into_iter().flat_map(|node| node.stamp(cluster, &[kept]));
        bare(Response::Receipts(receipts.collect()))
    }

    fn stamp(&self, cluster: &Cluster, kept: &[Kept]) -> Vec<SignedReceipt> {
        let pair = cluster.pair_of(self.id);
        let receipt = |kept: &Kept| Receipt {
            kept: *kept,
            pair: pair.pair,
            epoch: pair.epoch,
            node: self.id,
        };
        let receipts: Vec<_> = kept.iter().map(receipt).collect();
        let network = self.genesis.network();
        let leaves: Vec<_> = receipts.iter().map(|one| one.statement(&network)).collect();
        let (root, paths) = merkle_tree(&leaves);
        let forged = SecretKey::from_seed(&[0xee; 32]);
        let key = if self.faults.lock().unwrap().forge_receipts { &forged } else { &self.key };
        let by = NodeSignature { key: key.public().to_bytes(), signature: key.sign(&root).0 };
        receipts
            .into_iter()
            .zip(paths)
            .map(|(receipt, path)| SignedReceipt { receipt, path, by })
            .collect()
    }

    fn check_session_for(&self, caller: NodeId, lock: &Lock) -> Result<(), Refusal> {
        let _rights = Operations::READ;
        let state = self.state.lock().unwrap();
        if state.sessions.contains(&(caller, lock.hash())) {
            Ok(())
        } else {
            Err(refuse(Reason::NoSession))
        }
    }

    fn check_renewal(&self, caller: NodeId, shards: &[ShardKey]) -> Result<(), Refusal> {
        let state = self.state.lock().unwrap();
        let locks: Vec<_> = shards
            .iter()
            .filter_map(|key| Some(state.shards.get(key)?.head.descriptor.body.lock.clone()))
            .collect();
        drop(state);
        locks.iter().try_for_each(|lock| self.check_session_for(caller, lock))
    }

    fn check_stripe(
        &self,
        stripe: &StripeId,
        check: impl Fn(&Lock) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let state = self.state.lock().unwrap();
        let found = state.shards.iter().find(|(key, _)| key.stripe == *stripe);
        found.map_or(Ok(()), |(_, stored)| check(&stored.head.descriptor.body.lock))
    }

    fn read_shard(
        &self,
        cluster: &Cluster,
        caller: NodeId,
        read: defs_core::message::ReadShard,
    ) -> Answer {
        let faults = self.faults.lock().unwrap().clone();
        let state = self.state.lock().unwrap();
        let stored = state.shards.get(&read.key).ok_or_else(|| refuse(Reason::NotFound))?;
        let (lock, mut bytes) = (stored.head.descriptor.body.lock.clone(), stored.bytes.clone());
        drop(state);
        self.check_session_for(caller, &lock)?;
        if faults.forge_shards {
            bytes = forge(cluster, read.key, &bytes);
        }
        let length = bytes.len() as u64;
        let range = read.range.unwrap_or(0..length);
        let at = |place: u64| usize::try_from(place).unwrap();
        let mut part = bytes.slice(at(range.start)..at(range.end));
        if faults.corrupt_shards {
            let mut changed = part.to_vec();
            let middle = changed.len() / 2;
            changed[middle] ^= 1;
            part = changed.into();
        }
        if faults.endless_shards {
            let more = Bytes::from(vec![0; part.len() + (1 << 20)]);
            let response = Response::Shard { length };
            return Ok(Reply { response, body: Body::whole(more) });
        }
        if faults.stall_shards {
            let (writer, body) = Body::channel(part.len() as u64);
            // Held for ever, as by a peer that hangs.
            std::mem::forget(writer);
            return Ok(Reply { response: Response::Shard { length }, body });
        }
        Ok(Reply { response: Response::Shard { length }, body: Body::whole(part) })
    }

    /// What this node knows of a stripe's secret: its descriptor and its shares.
    pub(crate) fn shares(&self, stripe: &StripeId) -> Vec<(Arc<ShardHead>, Share)> {
        let state = self.state.lock().unwrap();
        let held = state.shards.iter().filter(|(key, _)| key.stripe == *stripe);
        let share = |(key, stored): (&ShardKey, &Stored)| {
            (Arc::clone(&stored.head), Share::new(key.index, stored.head.share))
        };
        held.map(share).collect()
    }

    fn held(&self, shards: &[ShardKey]) -> Vec<bool> {
        let forgets = self.faults.lock().unwrap().forgets;
        let state = self.state.lock().unwrap();
        shards.iter().map(|key| !forgets && state.shards.contains_key(key)).collect()
    }

    fn commit(&self, stripes: &[KeepStripe]) -> Vec<bool> {
        let mut state = self.state.lock().unwrap();
        let commit_one = |KeepStripe { commit, indices }: &KeepStripe| {
            let stripe = commit.body.stripe;
            indices.iter().all(|index| {
                let shard = state.shards.get_mut(&ShardKey { stripe, index: *index });
                shard.map(|shard| shard.committed = true).is_some()
            })
        };
        stripes.iter().map(commit_one).collect()
    }

    fn delete(&self, stripe: StripeId) {
        let mut state = self.state.lock().unwrap();
        state.shards.retain(|key, _| key.stripe != stripe);
        state.deleted.insert(stripe);
    }

    fn write(
        &self,
        cluster: &Cluster,
        partner: &Node,
        records: &[Arc<SignedRecord>],
    ) -> Vec<Result<Vec<SignedReceipt>, Refusal>> {
        let check = |record: &SignedRecord| {
            if !record.body.names_its_lock() {
                return Err(refuse(Reason::NotAuthorised));
            }
            self.authorised(cluster, record, &record.body.lock)
        };
        let kept: Vec<_> = records.iter().map(|record| Kept::Record(record.body.hash())).collect();
        let stamped: Vec<_> = kept
            .chunks(64)
            .flat_map(|part| {
                self.stamp(cluster, part).into_iter().zip(partner.stamp(cluster, part))
            })
            .collect();
        records
            .iter()
            .zip(stamped)
            .map(|(record, (mine, theirs))| {
                check(record)?;
                for node in [self, partner] {
                    let mut state = node.state.lock().unwrap();
                    let heads = state.records.entry(record.body.key).or_default();
                    *heads = merge_heads(heads, record);
                }
                Ok(vec![mine, theirs])
            })
            .collect()
    }

    fn read_record(
        &self,
        caller: NodeId,
        key: &RecordKey,
    ) -> Result<Vec<Arc<SignedRecord>>, Refusal> {
        let mut heads = self.state.lock().unwrap().records.get(key).cloned().unwrap_or_default();
        heads.iter().try_for_each(|head| self.check_session_for(caller, &head.body.lock))?;
        if self.faults.lock().unwrap().forge_records {
            for head in &mut heads {
                head.body.counter += 1;
            }
        }
        Ok(heads.into_iter().map(Arc::new).collect())
    }

    pub(crate) fn holds_record(&self, locator: &defs_core::ids::Locator) -> bool {
        let network = self.genesis.network();
        let state = self.state.lock().unwrap();
        state
            .records
            .keys()
            .any(|key| defs_core::digest::file_locator(&network, &key.file) == *locator)
    }
}

/// The time at which every cluster starts.
pub(crate) const START: UnixMillis = UnixMillis(1_800_000_000_000);
