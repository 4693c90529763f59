//! What owners were told, and what they read: pure, so that the checker is checked.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

/// No read of what was acknowledged goes without an answer for longer.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// An object that was acknowledged: its bytes follow from its seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) name: String,
    pub(super) seed: u64,
    pub(super) length: usize,
}

impl Object {
    fn is_large(&self) -> bool {
        self.name.starts_with("large")
    }
}

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Equal,
    Differs,
    Unreadable,
}

/// One read, with all its tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) name: String,
    /// Since the workload began.
    pub(super) at: Duration,
    /// Until the bytes were there.
    pub(super) lasted: Duration,
    /// Of the tries that failed.
    pub(super) failures: Vec<String>,
    pub(super) verdict: Verdict,
}

/// What owners were told and what they read.
#[derive(Debug, Clone, Default)]
pub struct History {
    objects: Vec<Object>,
    refusals: usize,
    last_refusal: Option<String>,
    reads: usize,
    failures: usize,
    last_failure: Option<String>,
    slowest: Option<Read>,
    wrong: Vec<Read>,
}

impl History {
    /// An object was acknowledged.
    pub(super) fn wrote(&mut self, object: Object) {
        self.objects.push(object);
    }

    /// A write failed: the object may be there or not.
    pub(super) fn was_refused(&mut self, why: &str) {
        self.refusals += 1;
        self.last_refusal = Some(why.to_owned());
    }

    /// A read came to its end.
    pub(super) fn read(&mut self, read: Read) {
        self.reads += 1;
        self.failures += read.failures.len();
        if let Some(failure) = read.failures.last() {
            self.last_failure = Some(format!("{} at {:.1?}: {failure}", read.name, read.at));
        }
        if read.verdict != Verdict::Equal {
            self.wrong.push(read.clone());
        }
        if self.slowest.as_ref().is_none_or(|slowest| slowest.lasted < read.lasted) {
            self.slowest = Some(read);
        }
    }

    /// Any of the objects.
    pub(super) fn draw(&self, draw: u64) -> Option<Object> {
        let count = u64::try_from(self.objects.len()).ok()?;
        let index = usize::try_from(draw.checked_rem(count)?).ok()?;
        self.objects.get(index).cloned()
    }

    pub(super) fn objects(&self) -> &[Object] {
        &self.objects
    }

    pub(super) fn last_refusal(&self) -> Option<&str> {
        self.last_refusal.as_deref()
    }

    /// Small and large objects that were acknowledged.
    #[must_use]
    pub fn written(&self) -> [usize; 2] {
        let large = self.objects.iter().filter(|object| object.is_large()).count();
        [self.objects.len() - large, large]
    }

    /// Tries of reads that failed so far.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.failures
    }

    /// Reads so far.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.reads
    }

    /// That no write was refused since `before`, though there were writes.
    pub fn no_write_was_refused_since(&self, before: &Self) -> Result<()> {
        ensure!(self.objects.len() > before.objects.len(), "nothing was written meanwhile");
        ensure!(
            self.refusals == before.refusals,
            "{} writes were refused, the last: {:?}",
            self.refusals - before.refusals,
            self.last_refusal
        );
        Ok(())
    }

    /// That no try of a read has failed since `before`, though there were reads.
    pub fn no_read_failed_since(&self, before: &Self) -> Result<()> {
        ensure!(self.reads > before.reads, "nothing was read meanwhile");
        ensure!(
            self.failures == before.failures,
            "{} tries of reads failed, the last: {}",
            self.failures - before.failures,
            self.last_failure.as_deref().unwrap_or_default()
        );
        self.check()
    }

    /// That all that was read was equal, and no answer took too long.
    pub fn check(&self) -> Result<()> {
        ensure!(!self.objects.is_empty(), "nothing was written: {:?}", self.last_refusal);
        ensure!(self.reads > 0, "nothing was read");
        if let Some(read) = self.wrong.first() {
            bail!("{} of {} reads went wrong, the first: {read:?}", self.wrong.len(), self.reads);
        }
        if let Some(read) = self.slowest.as_ref().filter(|read| read.lasted > READ_WITHIN) {
            bail!("a read took {:.1?}, longer than {READ_WITHIN:?}: {read:?}", read.lasted);
        }
        Ok(())
    }
}

impl std::fmt::Display for History {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [small, large] = self.written();
        let slowest = self.slowest.as_ref().map(|read| read.lasted).unwrap_or_default();
        write!(
            out,
            "{small} small and {large} large objects written, {} writes refused, {} reads, the \
             slowest {slowest:.2?}, {} tries failed",
            self.refusals, self.reads, self.failures
        )?;
        match &self.last_failure {
            Some(failure) => write!(out, ", the last: {failure}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> Object {
        Object { name: name.to_owned(), seed: 1, length: 2 }
    }

    fn read(millis: u64, failures: &[&str], verdict: Verdict) -> Read {
        Read {
            name: "small-1".to_owned(),
            at: Duration::from_secs(3),
            lasted: Duration::from_millis(millis),
            failures: failures.iter().map(|it| (*it).to_owned()).collect(),
            verdict,
        }
    }

    fn history(reads: &[Read]) -> History {
        let mut history = History::default();
        history.wrote(object("small-1"));
        history.wrote(object("large-1"));
        reads.iter().for_each(|it| history.read(it.clone()));
        history
    }

    fn error(history: &History) -> String {
        history.check().unwrap_err().to_string()
    }

    #[test]
    fn equal_reads_within_two_seconds_are_as_promised() {
        let good = history(&[read(20, &[], Verdict::Equal), read(2000, &["gone"], Verdict::Equal)]);
        good.check().unwrap();
        assert_eq!((good.written(), good.reads(), good.failures()), ([1, 1], 2, 1));
        assert_eq!(
            good.to_string(),
            "1 small and 1 large objects written, 0 writes refused, 2 reads, the slowest 2.00s, 1 \
             tries failed, the last: small-1 at 3.0s: gone"
        );
    }

    #[test]
    fn a_read_that_differs_is_lost_or_late_breaks_the_promise() {
        let differs = history(&[read(20, &[], Verdict::Differs)]);
        assert!(error(&differs).starts_with("1 of 1 reads went wrong, the first: "));
        let lost = history(&[read(60_000, &["gone"; 9], Verdict::Unreadable)]);
        assert!(error(&lost).starts_with("1 of 1 reads went wrong"));
        let late = history(&[read(2001, &[], Verdict::Equal)]);
        assert!(error(&late).starts_with("a read took 2.0s, longer than 2s"), "{}", error(&late));
    }

    #[test]
    fn a_history_without_writes_or_reads_shows_nothing() {
        let mut none = History::default();
        none.was_refused("too few pairs");
        assert_eq!(error(&none), "nothing was written: Some(\"too few pairs\")");
        assert_eq!(error(&history(&[])), "nothing was read");
        let quiet = history(&[read(20, &[], Verdict::Equal)]);
        let since = quiet.no_read_failed_since(&quiet).unwrap_err().to_string();
        assert_eq!(since, "nothing was read meanwhile");
    }

    #[test]
    fn a_try_that_failed_counts_where_none_may_fail() {
        let before = history(&[read(20, &["at first"], Verdict::Equal)]);
        let mut after = before.clone();
        after.read(read(20, &[], Verdict::Equal));
        after.no_read_failed_since(&before).unwrap();
        after.read(read(30, &["no answer"], Verdict::Equal));
        let told = after.no_read_failed_since(&before).unwrap_err().to_string();
        assert_eq!(told, "1 tries of reads failed, the last: small-1 at 3.0s: no answer");
    }

    #[test]
    fn a_refused_write_counts_where_none_may_be_refused() {
        let before = history(&[]);
        let told = before.no_write_was_refused_since(&before).unwrap_err().to_string();
        assert_eq!(told, "nothing was written meanwhile");
        let mut after = before.clone();
        after.wrote(object("small-2"));
        after.no_write_was_refused_since(&before).unwrap();
        after.was_refused("no pair is open");
        let told = after.no_write_was_refused_since(&before).unwrap_err().to_string();
        assert_eq!(told, "1 writes were refused, the last: Some(\"no pair is open\")");
    }

    #[test]
    fn any_object_is_drawn_and_none_from_nothing() {
        assert_eq!(History::default().draw(7), None);
        let both = history(&[]);
        assert_eq!(both.draw(6), Some(object("small-1")));
        assert_eq!(both.draw(7), Some(object("large-1")));
    }
}
