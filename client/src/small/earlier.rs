//! Finishes what processes that ended have left: batches that were sent, or about to be,
//! and whose files have no names yet.

use std::time::Duration;

use defs_core::port::{Clock as _, UnixMillis};

use super::Batcher;
use super::batches::{BatchId, KeptBatch};
use crate::catalogue::{CatalogueError, Entry, Stored};
use crate::client::remove::delete_quietly;
use crate::ports::World;
use crate::ticket::Ticket;

/// A batch that could not be sent for so long is given up: its pairs are gone, and nobody
/// was told that its files are stored.
const KEPT: Duration = Duration::from_hours(7 * 24);

impl<W: World> Batcher<W> {
    /// Sends what is left again, the same bytes, and names it. What fails stays for the
    /// next client that is opened.
    pub(crate) async fn finish_earlier(&self) {
        let left = match self.batches.left().await {
            Ok(left) => left,
            Err(error) => return warn("unfinished batches of small files were not read", &error),
        };
        for (id, batch) in left.iter().flat_map(|left| &left.batches) {
            match batch {
                Ok(batch) => self.finish(*id, batch).await,
                Err(error) => warn("an unfinished batch of small files can't be read", error),
            }
        }
    }

    async fn finish(&self, id: BatchId, batch: &KeptBatch) {
        let opened: Result<Vec<Entry>, _> =
            batch.entries.iter().map(|(entry, _)| self.catalogue.open_sealed(entry)).collect();
        // Another identity's, which shares the folder: its own client finishes it.
        let (Ok(entries), Some(set)) = (opened, batch.set()) else { return };
        let age = self.world_age(&entries);
        if let Err(error) = self.nodes.write_records(set, &batch.records).await {
            if !error.is_retryable() || age > KEPT {
                warn("a batch of small files was given up", &error);
                return self.forget(id).await;
            }
            return warn("a batch of small files was not sent again", &error);
        }
        match self.name_earlier(id, batch, entries).await {
            Ok(()) => tracing::info!(files = batch.entries.len(), "finished earlier small files"),
            Err(error) => warn("a batch of small files was sent again and not named", &error),
        }
    }

    /// Names what has no newer meaning by now; the rest is deleted.
    async fn name_earlier(
        &self,
        id: BatchId,
        batch: &KeptBatch,
        entries: Vec<Entry>,
    ) -> Result<(), CatalogueError> {
        let (mut named, mut tickets) = (Vec::new(), Vec::new());
        for ((sealed, replace), entry) in batch.entries.iter().zip(entries) {
            let is_newer = |now: &Entry| now.put_at > entry.put_at;
            if self.catalogue.find(&entry.name).await?.is_some_and(|now| is_newer(&now)) {
                self.delete(entry.ticket);
                continue;
            }
            named.push((sealed.clone(), *replace));
            tickets.push(entry.ticket);
        }
        let outcomes = self.batches.name(id, named).await?;
        for (outcome, ticket) in outcomes.into_iter().zip(tickets) {
            match outcome {
                Stored::New => {}
                Stored::Taken => self.delete(ticket),
                Stored::Replaced(before) => {
                    self.delete(self.catalogue.open_before(&before)?.ticket)
                }
            }
        }
        Ok(())
    }

    fn delete(&self, ticket: Ticket) {
        let (nodes, lock) = (self.nodes.clone(), self.owner.lock(ticket.lock_seed));
        self.nodes.tasks.spawn(async move { delete_quietly(&nodes, &ticket, &lock).await });
    }

    fn world_age(&self, entries: &[Entry]) -> Duration {
        let put_at = entries.iter().map(|entry| entry.put_at).min().unwrap_or(UnixMillis(0));
        Duration::from_millis(self.nodes.world.clock().now().0.saturating_sub(put_at.0))
    }
}

fn warn(what: &str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(error, "{what}");
}
