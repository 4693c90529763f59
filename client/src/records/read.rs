//! Reads a record: settled by a quorum of the pairs that its highest set version names.
//! The hints are asked first; if they don't settle it, a node broadcasts for the client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use defs_core::body::Body;
use defs_core::digest::file_locator;
use defs_core::ids::{FileId, PairId};
use defs_core::message::{Reason, Request, Response, Rung};
use defs_core::port::{CallError, Clock as _};
use defs_core::record::{RecordKey, RecordSet, SignedRecord, merge_heads};
use thiserror::Error;

use crate::directory::Unreachable;
use crate::keys::FileLock;
use crate::nodes::Nodes;
use crate::ports::World;

/// Pairs that are asked by name whether they stand in.
const STAND_INS_ASKED_MAX: usize = 32;

/// How long a pair that no quorum needs may take: a read goes on within two seconds.
const DOUBT_MAX: Duration = Duration::from_secs(1);

/// How a record was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// Where the ticket or catalogue said.
    Hints,
    /// By asking a node, on this rung of its ladder.
    Located(Rung),
}

impl std::fmt::Display for FoundBy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hints => out.write_str("hints"),
            Self::Located(rung) => rung.fmt(out),
        }
    }
}

/// What it took to find a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// What found it.
    pub by: FoundBy,
    /// Requests of this client, and messages that nodes sent for it.
    pub messages: u32,
    /// One after the other.
    pub round_trips: u32,
}

/// Why a record was not read.
#[derive(Debug, Clone, Error)]
pub enum ReadRecordError {
    /// A quorum answered, or the whole network did: nobody knows it.
    #[error("file {file} is unknown to the network")]
    NotFound {
        /// The file.
        file: FileId,
    },
    /// Its holders say that it belongs to another key.
    #[error("file {file} belongs to another key than this one")]
    NotYours {
        /// The file.
        file: FileId,
    },
    /// Too few of its pairs answered to be sure of the newest version.
    #[error("only {have} of the {need} pairs needed answered for file {file}")]
    Unsettled {
        /// The file.
        file: FileId,
        /// Pairs that answered.
        have: usize,
        /// Pairs needed.
        need: usize,
        /// Why the last pair didn't.
        source: Option<CallError>,
    },
    /// There is no table of the network.
    #[error("failed to look for file {file}")]
    NoTable {
        /// The file.
        file: FileId,
        /// Why.
        source: Unreachable,
    },
}

impl ReadRecordError {
    /// Whether the same question may be answered later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unsettled { .. } | Self::NoTable { .. })
    }
}

/// A record to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sought<'a> {
    pub(crate) key: RecordKey,
    pub(crate) lock: &'a FileLock,
}

/// A record that was read.
#[derive(Debug)]
pub(crate) struct Found {
    /// The highest counter, and of these the greatest hash.
    pub(crate) head: Arc<SignedRecord>,
    /// All versions that no other replaces, the head among them.
    pub(crate) heads: Vec<Arc<SignedRecord>>,
    pub(crate) lookup: Lookup,
}

/// What a node said that looked for a record.
#[derive(Debug, Clone, Copy)]
struct Located {
    rung: Rung,
    /// Whether it named a pair.
    is_named: bool,
}

/// What pairs have answered so far.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) by_pair: BTreeMap<PairId, Vec<Arc<SignedRecord>>>,
    pub(super) failed: BTreeMap<PairId, CallError>,
    pub(super) messages: u32,
    pub(super) round_trips: u32,
}

impl Answers {
    /// Counts what an answer took. Nodes tell what they did themselves, and may tell any
    /// number.
    pub(super) fn count(&mut self, messages: u32, round_trips: u32) {
        self.messages = self.messages.saturating_add(messages);
        self.round_trips = self.round_trips.saturating_add(round_trips);
    }

    /// The set of the highest version that any head names.
    fn highest_set(&self) -> Option<&RecordSet> {
        let heads = self.by_pair.values().flatten();
        heads.map(|head| &head.body.set).max_by_key(|set| set.version)
    }

    fn have(&self, set: &RecordSet) -> usize {
        set.pairs.iter().filter(|pair| self.by_pair.contains_key(pair)).count()
    }

    /// Whether a pair of `set` said that it has no version.
    fn is_denied_by_one_of(&self, set: &RecordSet) -> bool {
        set.pairs.iter().any(|pair| self.by_pair.get(pair).is_some_and(Vec::is_empty))
    }

    fn merged(&self) -> Vec<SignedRecord> {
        let heads = self.by_pair.values().flatten();
        heads.fold(Vec::new(), |merged, head| merge_heads(&merged, head))
    }

    fn is_asked(&self, pair: &PairId) -> bool {
        self.by_pair.contains_key(pair) || self.failed.contains_key(pair)
    }

    fn is_refused_as_foreign(&self) -> bool {
        let foreign = |error: &CallError| {
            error.refusal().is_some_and(|refusal| {
                matches!(refusal.reason, Reason::NotAuthorised | Reason::NoSession)
            })
        };
        !self.failed.is_empty() && self.failed.values().any(foreign)
    }
}

impl<W: World> Nodes<W> {
    /// Reads the newest version of a record. `hints` are pairs that are likely to hold it.
    pub(crate) async fn read_record(
        &self,
        sought: Sought<'_>,
        hints: &[PairId],
    ) -> Result<Found, ReadRecordError> {
        let mut answers = Answers::default();
        let file = sought.key.file;
        // A quorum of the hints that says "unknown" is believed only after a broadcast:
        // hints may be older than the record's set.
        let quorum = hints.len() / 2 + 1;
        self.ask_pairs(sought, hints, quorum, &mut answers).await?;
        if let Some(found) = self.settle(sought, FoundBy::Hints, &mut answers).await? {
            return Ok(found);
        }
        for _ in 0..2 {
            let located = self.locate(sought, &mut answers).await?;
            let by = FoundBy::Located(located.rung);
            if let Some(found) = self.settle(sought, by, &mut answers).await? {
                return Ok(found);
            }
            // What was named may be a hint at a pair that has just died: who asks again
            // gets everybody's answers.
            if !located.is_named {
                break;
            }
        }
        if answers.is_refused_as_foreign() {
            return Err(ReadRecordError::NotYours { file });
        }
        let have = answers.by_pair.len();
        if have >= quorum.min(hints.len().max(1)) || answers.failed.is_empty() {
            return Err(ReadRecordError::NotFound { file });
        }
        let source = answers.failed.into_values().next_back();
        Err(ReadRecordError::Unsettled { file, have, need: quorum, source })
    }

    /// The answer, if the pairs asked so far and the rest of the set they name settle it.
    async fn settle(
        &self,
        sought: Sought<'_>,
        by: FoundBy,
        answers: &mut Answers,
    ) -> Result<Option<Found>, ReadRecordError> {
        let (mut looked, mut are_left_out) = (false, true);
        while let Some(set) = answers.highest_set().cloned() {
            let (have, need) = (self.votes(&set, answers), set.quorum());
            let left: Vec<_> =
                set.pairs.iter().filter(|pair| !answers.is_asked(pair)).copied().collect();
            if have < need {
                let asked = !left.is_empty();
                if asked {
                    self.ask_pairs(sought, &left, need - have, answers).await?;
                }
                // Pairs that the network's table doesn't have can't be asked.
                let has_more = asked && left.iter().any(|pair| answers.is_asked(pair));
                if !has_more && !looked {
                    // Pairs of the set may be lost, and others stand in for them.
                    looked = true;
                    self.find_stand_ins(sought, answers).await?;
                    continue;
                }
                if !has_more {
                    let source = answers.failed.values().next_back().cloned();
                    let file = sought.key.file;
                    return Err(ReadRecordError::Unsettled { file, have, need, source });
                }
                continue;
            }
            if are_left_out && answers.is_denied_by_one_of(&set) {
                are_left_out = false;
                self.ask_left_out(sought, &left, answers).await?;
                continue;
            }
            let heads: Vec<_> = answers.merged().into_iter().map(Arc::new).collect();
            let newest = heads.iter().max_by_key(|head| (head.body.counter, head.body.hash()));
            let Some(head) = newest.cloned() else { return Ok(None) };
            self.mend(&set, &heads, answers);
            let lookup =
                Lookup { by, messages: answers.messages, round_trips: answers.round_trips };
            return Ok(Some(Found { head, heads, lookup }));
        }
        Ok(None)
    }

    /// Pairs of the set that answered, and others that hold the record in the place of
    /// those of which no member lives.
    fn votes(&self, set: &RecordSet, answers: &Answers) -> usize {
        let view = self.directory.view();
        let is_gone = |pair: &&PairId| {
            !answers.by_pair.contains_key(pair)
                && view.pairs.get(pair).is_none_or(|pair| pair.alive == [false; 2])
        };
        let gone = set.pairs.iter().filter(is_gone).count();
        let stands_in = |(pair, heads): &(&PairId, &Vec<Arc<SignedRecord>>)| {
            !set.pairs.contains(pair) && !heads.is_empty()
        };
        answers.have(set) + answers.by_pair.iter().filter(stands_in).count().min(gone)
    }

    /// How many pairs outside of `set` hold the record, of so many as can all be asked.
    pub(crate) async fn count_stand_ins(&self, sought: Sought<'_>, set: &[PairId]) -> usize {
        let Ok(view) = self.directory.fresh().await else { return 0 };
        let others = view.pairs.keys().copied();
        let others = others.filter(|pair| !set.contains(pair) && view.answers(pair));
        let others: Vec<_> = others.take(STAND_INS_ASKED_MAX).collect();
        let mut answers = Answers::default();
        if self.ask_pairs(sought, &others, others.len(), &mut answers).await.is_err() {
            return 0;
        }
        answers.by_pair.values().filter(|heads| !heads.is_empty()).count()
    }

    /// Asks pairs outside of the set that hold the record.
    async fn find_stand_ins(
        &self,
        sought: Sought<'_>,
        answers: &mut Answers,
    ) -> Result<(), ReadRecordError> {
        let before = answers.by_pair.len();
        // Who asks again gets everybody's answers, not the first one's.
        for _ in 0..2 {
            self.locate(sought, answers).await?;
            if answers.by_pair.len() > before {
                break;
            }
        }
        Ok(())
    }

    /// Asks those whom a quorum left out, since one of the quorum knows of no version: a
    /// member that denies all records would else outweigh the pair that has the newest.
    async fn ask_left_out(
        &self,
        sought: Sought<'_>,
        left: &[PairId],
        answers: &mut Answers,
    ) -> Result<(), ReadRecordError> {
        tokio::select! {
            biased;
            asked = self.ask_pairs(sought, left, left.len(), answers) => asked,
            () = self.world.clock().sleep(DOUBT_MAX) => Ok(()),
        }
    }

    /// Writes what some pair of the set lacks to it, in the background: records travel
    /// with their owner's signature, so nobody need sign again.
    fn mend(&self, set: &RecordSet, heads: &[Arc<SignedRecord>], answers: &Answers) {
        let lacks = |pair: &PairId| {
            let held = answers.by_pair.get(pair)?;
            let missing: Vec<_> = heads
                .iter()
                .filter(|head| !held.contains(head) && head.body.set.pairs.contains(pair))
                .cloned()
                .collect();
            (!missing.is_empty()).then_some((*pair, missing))
        };
        for (pair, missing) in set.pairs.iter().filter_map(lacks) {
            let nodes = self.clone();
            let one = RecordSet { pairs: vec![pair], version: set.version };
            self.tasks.spawn(async move {
                if let Err(error) = nodes.write_records(&one, &missing).await {
                    tracing::debug!(%pair, error = &error as &dyn std::error::Error, "not mended");
                }
            });
        }
    }

    /// Has a node look for the file and asks the pairs that it names.
    async fn locate(
        &self,
        sought: Sought<'_>,
        answers: &mut Answers,
    ) -> Result<Located, ReadRecordError> {
        let file = sought.key.file;
        let locator = file_locator(&self.links.network(), &file);
        let nodes = self.locators().await;
        for node in nodes.map_err(|source| ReadRecordError::NoTable { file, source })? {
            answers.count(1, 1);
            let reply = self.links.call(node, Request::Locate { locator }, Body::empty()).await;
            let Ok(Response::Located(located)) = reply.map(|reply| reply.response) else {
                continue;
            };
            answers.count(located.messages, located.round_trips);
            let (rung, is_named) = (located.rung, !located.pairs.is_empty());
            let new: Vec<_> =
                located.pairs.into_iter().filter(|pair| !answers.is_asked(pair)).collect();
            if !new.is_empty() {
                self.ask_pairs(sought, &new, 1, answers).await?;
            }
            return Ok(Located { rung, is_named });
        }
        Ok(Located { rung: Rung::Nowhere, is_named: false })
    }
}
