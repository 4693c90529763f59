//! Asks pairs for a record: as many as are needed at once, others when one fails or is
//! slow; of each pair the likelier member first.

use std::sync::Arc;
use std::time::Duration;

use defs_core::ids::{NodeId, PairId};
use defs_core::message::Reason;
use defs_core::port::{CallError, Clock as _};
use defs_core::record::SignedRecord;
use defs_identity::{UnixTime, authorise};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::read::{Answers, ReadRecordError, Sought};
use crate::directory::{Pair, View};
use crate::nodes::Nodes;
use crate::peers::{Kind, unexpected};
use crate::ports::World;

/// How often a member that is busy is asked, within some two seconds.
const BUSY_TRIES: u32 = 4;

impl<W: World> Nodes<W> {
    /// Asks `enough` of `pairs` at once, and the others when one fails or is slow.
    pub(super) async fn ask_pairs(
        &self,
        sought: Sought<'_>,
        pairs: &[PairId],
        enough: usize,
        answers: &mut Answers,
    ) -> Result<(), ReadRecordError> {
        if pairs.is_empty() {
            return Ok(());
        }
        let file = sought.key.file;
        let mut view = self.directory.view();
        if pairs.iter().any(|pair| !view.pairs.contains_key(pair)) {
            let refreshed = self.directory.fresh().await;
            view = refreshed.map_err(|source| ReadRecordError::NoTable { file, source })?;
        }
        let known = pairs.iter().filter_map(|pair| Some((*pair, view.pairs.get(pair)?)));
        let mut left = self.by_health(known.collect()).into_iter();
        let mut asked = FuturesUnordered::new();
        asked.extend(left.by_ref().take(enough).map(|(id, pair)| self.ask_pair(sought, id, pair)));
        answers.count(u32::try_from(asked.len()).unwrap_or(u32::MAX), 1);
        let patience = self.patience(&view, pairs);
        let (mut have, mut slow) = (0, Box::pin(self.world.clock().sleep(patience)));
        while have < enough && !asked.is_empty() {
            let finished = tokio::select! {
                biased;
                finished = asked.next() => finished,
                () = &mut slow => None,
            };
            match finished {
                Some((pair, Ok(heads))) => {
                    have += 1;
                    answers.by_pair.insert(pair, heads);
                    continue;
                }
                Some((pair, Err(error))) => drop(answers.failed.insert(pair, error)),
                None => slow = Box::pin(self.world.clock().sleep(patience)),
            }
            if let Some((id, pair)) = left.next() {
                answers.count(1, 0);
                asked.push(self.ask_pair(sought, id, pair));
            }
        }
        Ok(())
    }

    /// Pairs with both members alive first, in random order so that load spreads.
    fn by_health<'a>(&self, mut pairs: Vec<(PairId, &'a Pair)>) -> Vec<(PairId, &'a Pair)> {
        if !pairs.is_empty() {
            let first = usize::try_from(self.draw(pairs.len() as u64)).unwrap_or(0);
            let last = pairs.len() - 1;
            pairs.rotate_left(first.min(last));
        }
        pairs.sort_by_key(|(_, pair)| {
            std::cmp::Reverse(pair.alive.iter().filter(|one| **one).count())
        });
        pairs
    }

    /// How long to wait before another pair is asked too.
    fn patience(&self, view: &View, pairs: &[PairId]) -> Duration {
        let members = pairs.iter().filter_map(|pair| view.pairs.get(pair));
        let waits = members.flat_map(|pair| pair.record.members);
        let waits = waits.map(|node| self.links.pace.hedge_after(node, Kind::Record));
        // Both members of a pair are asked before another pair is.
        waits.max().unwrap_or_default() * 2
    }

    /// What a pair knows: of the likelier member, or of the other one if that fails or is
    /// slow.
    async fn ask_pair(
        &self,
        sought: Sought<'_>,
        id: PairId,
        pair: &Pair,
    ) -> (PairId, Result<Vec<Arc<SignedRecord>>, CallError>) {
        let now = self.world.clock().elapsed();
        let pace = &self.links.pace;
        let [first, second] = pace.order(pair.record.members, pair.alive, Kind::Record, now);
        let asking = self.ask_member(sought, first);
        tokio::pin!(asking);
        let early = tokio::select! {
            biased;
            answer = &mut asking => Some(answer),
            () = self.world.clock().sleep(pace.hedge_after(first, Kind::Record)) => None,
        };
        let answer = match early {
            Some(Ok(heads)) => Ok(heads),
            Some(Err(_)) => self.ask_patiently(sought, second).await,
            None => {
                let other = self.ask_patiently(sought, second);
                tokio::pin!(other);
                tokio::select! {
                    biased;
                    answer = &mut asking => match answer {
                        Ok(heads) => Ok(heads),
                        Err(_) => other.await,
                    },
                    answer = &mut other => match answer {
                        Ok(heads) => Ok(heads),
                        Err(_) => asking.await,
                    },
                }
            }
        };
        (id, answer)
    }

    /// Asks a member whose partner is away: until others have vouched for it, it is busy.
    async fn ask_patiently(
        &self,
        sought: Sought<'_>,
        node: NodeId,
    ) -> Result<Vec<Arc<SignedRecord>>, CallError> {
        let is_busy = |error: &CallError| {
            error.refusal().is_some_and(|refusal| refusal.reason == Reason::Busy)
        };
        let mut attempt = 1;
        loop {
            match self.ask_member(sought, node).await {
                Err(error) if is_busy(&error) && attempt < BUSY_TRIES => {
                    self.wait_before(attempt).await;
                }
                answer => return answer,
            }
            attempt += 1;
        }
    }

    async fn ask_member(
        &self,
        sought: Sought<'_>,
        node: NodeId,
    ) -> Result<Vec<Arc<SignedRecord>>, CallError> {
        let heads = self.asking.ask(node, sought.lock, sought.key).await?;
        for head in &heads {
            self.check_head(sought, node, head)?;
        }
        Ok(heads)
    }

    /// A head counts only if the owner signed it; one that isn't discredits the node.
    fn check_head(
        &self,
        sought: Sought<'_>,
        node: NodeId,
        head: &SignedRecord,
    ) -> Result<(), CallError> {
        let body = &head.body;
        let (now, network) = (self.world.clock().now(), self.links.network());
        let is_it = body.key == sought.key && body.lock == sought.lock.lock;
        let signed = is_it && body.names_its_lock() && {
            let now = UnixTime::from_millis(now.0);
            authorise(head, &body.lock, &network, now, self.links.checker.as_ref()).is_ok()
        };
        if signed {
            return Ok(());
        }
        self.links.pace.failed(node, self.world.clock().elapsed());
        Err(unexpected(node, "it answered with a record that its owner did not sign"))
    }
}
