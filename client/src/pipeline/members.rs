//! One shard from one pair: the member that answers sooner is asked first, the other one
//! when that fails, lies or is slow.

use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use defs_codec::OpenError;
use defs_core::body::Body;
use defs_core::ids::{NodeId, PairId, ShardIndex};
use defs_core::message::{ReadShard, Reason, Request, Response, ShardKey};
use defs_core::network::PairRecord;
use defs_core::port::{CallError, Clock as _, Compute as _};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::code::{Lengths, open_into_room};
use super::fetch::{ShardError, Wanted};
use super::harm::{DamagedShard, Harm};
use crate::nodes::{AskPairError, Nodes};
use crate::peers::{Kind, unexpected};
use crate::ports::World;

/// A node that sends nothing of a body for so long is given up.
const SILENCE_MAX: std::time::Duration = std::time::Duration::from_secs(15);

impl<W: World> Nodes<W> {
    /// From the likelier member; from the other one if that fails, lies or is slow.
    pub(super) async fn fetch_from_pair(
        &self,
        wanted: Wanted<'_>,
        place: (ShardIndex, PairId),
        lengths: Lengths,
        room: BytesMut,
    ) -> Result<(NodeId, BytesMut), ShardError> {
        let key = ShardKey { stripe: wanted.entry.stripe, index: place.0 };
        let room = Mutex::new(Some(room));
        let open = |sealed| {
            let room = room.lock().unwrap_or_else(PoisonError::into_inner).take();
            let fresh = || BytesMut::zeroed(usize::try_from(lengths.shard).unwrap_or(0));
            self.open(wanted, place.0, sealed, room.unwrap_or_else(fresh))
        };
        let read = |node| self.read_from(node, wanted, key, lengths);
        self.first_good(wanted, (place, Kind::Shard(lengths.sealed)), read, open).await
    }

    /// What `read` gets from a member of a pair and `open` finds to be right: the likelier
    /// member is asked first, the other one when that fails, lies or is slow.
    pub(super) async fn first_good<Sealed, Opened, Read, Open>(
        &self,
        wanted: Wanted<'_>,
        ((index, pair), kind): ((ShardIndex, PairId), Kind),
        read: impl Fn(NodeId) -> Read,
        open: impl Fn(Sealed) -> Open,
    ) -> Result<(NodeId, Opened), ShardError>
    where
        Read: Future<Output = Result<Sealed, CallError>>,
        Open: Future<Output = Result<Opened, OpenError>>,
    {
        let record = self.pair(pair).await?;
        let mut members = self.members_in_order(&record, kind);
        members.sort_by_key(|member| !wanted.first.contains(member));
        let mut members = members.into_iter().filter(|member| !wanted.without.contains(member));
        let Some(first) = members.next() else { return Err(ShardError::LeftOut(pair)) };
        let mut spare = members.next();
        let ask = |node| {
            let answer = read(node);
            async move { (node, answer.await) }
        };
        let mut asked = FuturesUnordered::new();
        asked.push(ask(first));
        let mut slow = Box::pin(self.world.clock().sleep(self.links.pace.hedge_after(first, kind)));
        let mut last = None;
        while !asked.is_empty() {
            let finished = tokio::select! {
                biased;
                finished = asked.next() => finished,
                () = &mut slow, if spare.is_some() => None,
            };
            match finished {
                Some((node, Ok(sealed))) => match open(sealed).await {
                    Ok(opened) => return Ok((node, opened)),
                    Err(source) => {
                        self.note_damage(wanted, (index, pair), node, Harm::Damaged);
                        last = Some(ShardError::Damaged { pair, node, source });
                    }
                },
                Some((_, Err(source))) => {
                    // A lie is worth more than a member that is away: keep it as the cause.
                    last = last.or(Some(AskPairError::Call { pair, source }.into()));
                }
                None => {}
            }
            asked.extend(spare.take().map(ask));
        }
        Err(last.unwrap_or(ShardError::Pair(AskPairError::Unknown(pair))))
    }

    /// Reports a shard that is not what was stored, and asks its node last for a while.
    pub(super) fn note_damage(
        &self,
        wanted: Wanted<'_>,
        (index, pair): (ShardIndex, PairId),
        node: NodeId,
        harm: Harm,
    ) {
        let slice = wanted.number;
        tracing::warn!(%slice, %index, %pair, %node, %harm, "a shard is not what was stored");
        self.links.pace.distrusts(node, self.world.clock().elapsed());
        wanted.report.add(DamagedShard { slice, index, pair, node, harm });
    }

    pub(crate) fn members_in_order(&self, record: &PairRecord, kind: Kind) -> [NodeId; 2] {
        let view = self.directory.view();
        let alive = view.pairs.get(&record.pair).map_or([true; 2], |pair| pair.alive);
        self.links.pace.order(record.members, alive, kind, self.world.clock().elapsed())
    }

    async fn open(
        &self,
        wanted: Wanted<'_>,
        index: ShardIndex,
        sealed: Vec<Bytes>,
        room: BytesMut,
    ) -> Result<BytesMut, OpenError> {
        let (file, number, salt) = (wanted.file.clone(), wanted.number, wanted.entry.salt);
        let opening = move || open_into_room(&file, (number, &salt), index, &sealed, room);
        self.world.compute().run(opening).await
    }

    /// A shard's sealed bytes from one node, with what the node's pace learns from it.
    async fn read_from(
        &self,
        node: NodeId,
        wanted: Wanted<'_>,
        key: ShardKey,
        lengths: Lengths,
    ) -> Result<Vec<Bytes>, CallError> {
        let began = self.world.clock().elapsed();
        self.links.pace.begins(node);
        let underway = Underway { nodes: self, node, over: false };
        let read = self.read_sealed(node, wanted, key, lengths.sealed).await;
        underway.ends();
        let now = self.world.clock().elapsed();
        match &read {
            Ok(_) => {
                let took = now.saturating_sub(began);
                self.links.pace.answered(node, Kind::Shard(lengths.sealed), took);
            }
            Err(error) if error.refusal().is_some_and(|why| why.reason == Reason::NotFound) => {
                self.links.pace.given_up(node);
            }
            Err(_) => self.links.pace.failed(node, now),
        }
        read
    }

    async fn read_sealed(
        &self,
        node: NodeId,
        wanted: Wanted<'_>,
        key: ShardKey,
        length: u64,
    ) -> Result<Vec<Bytes>, CallError> {
        let request = Request::ReadShard(ReadShard { key, range: None });
        let reply = self.links.call_as_owner(node, &wanted.file.lock, request).await?;
        match reply.response {
            Response::Shard { length: whole } if whole == length && reply.body.left() == length => {
                self.frames(node, reply.body).await
            }
            Response::Shard { .. } => Err(unexpected(node, "the shard has another length")),
            _ => Err(unexpected(node, "a shard was asked for and something else answered")),
        }
    }

    /// All bytes of a body whose length was checked, in one piece.
    pub(crate) async fn collect(&self, node: NodeId, body: Body) -> Result<Vec<u8>, CallError> {
        Ok(self.frames(node, body).await?.concat())
    }

    /// All bytes of a body whose length was checked, as they came; a silent sender is given
    /// up.
    async fn frames(&self, node: NodeId, mut body: Body) -> Result<Vec<Bytes>, CallError> {
        let mut frames = Vec::new();
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.next() => frame,
                () = self.world.clock().sleep(SILENCE_MAX) => {
                    return Err(CallError::TimedOut { to: node });
                }
            };
            match frame {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return Ok(frames),
                Err(error) => {
                    return Err(CallError::Unreachable { to: node, why: error.to_string() });
                }
            }
        }
    }
}

/// Gives the node's pace back what it was counting, if the exchange is dropped.
struct Underway<'a, W: World> {
    nodes: &'a Nodes<W>,
    node: NodeId,
    over: bool,
}

impl<W: World> Underway<'_, W> {
    fn ends(mut self) {
        self.over = true;
    }
}

impl<W: World> Drop for Underway<'_, W> {
    fn drop(&mut self) {
        if !self.over {
            self.nodes.links.pace.given_up(self.node);
        }
    }
}
