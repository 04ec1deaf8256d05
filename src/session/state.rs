//! The state machine: a session's state is the fold of its events, and every call is decided from it alone.
//!
//! Pure: no files, no clock. The table is `spec/backup-protocol.md` §1.4, as far as it concerns a tool.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::event::{Batch, Event, Failure, Kind, Outcome, Phase};
use crate::error::{Error as JetError, Jet, printable};

/// The numbers of the readers whose process lives.
pub type Live = BTreeSet<u32>;

/// What begin fixed and decisions depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The kind asked for.
    pub kind: Kind,
    /// Whether what is read goes into a repository.
    pub repository: bool,
}

/// A call of the protocol, as far as the state decides about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Look at the lists.
    Files,
    /// Read what is left.
    Read,
    /// Read a file of this list by name.
    ReadFile(Phase),
    /// Fix the list of logs.
    ListLogs,
    /// Show what truncate would delete.
    DryRunTruncate,
    /// Delete the logs that nobody needs.
    Truncate,
    /// End normally.
    End,
    /// End without a result.
    Abort,
    /// Commit the backup under its id.
    Publish,
    /// Stop.
    Stop,
}

/// Why a call does not fit the state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is no session, or it is over.
    #[error("no backup is in progress")]
    NoBackup,
    /// The session was stopped.
    #[error("the backup was stopped by {}{}", printable(who), .reason.as_ref().map(|text| format!(": {}", printable(text))).unwrap_or_default())]
    Stopped {
        /// Who stopped it.
        who: String,
        /// The reason given.
        reason: Option<String>,
    },
    /// A reader still works.
    #[error("reader {0} is still reading")]
    ReaderAlive(u32),
    /// Databases are still to be read.
    #[error("not every database has been read")]
    DatabasesLeft,
    /// A log was asked for while databases are read.
    #[error("logs are read after the databases")]
    LogBeforeItsPhase,
    /// A database was asked for after the databases.
    #[error("the databases of this session are done; only logs can be read now")]
    DatabaseAfterItsPhase,
    /// Logs of the list are still to be read.
    #[error("not every log of this session has been read")]
    LogsLeft,
    /// A backup that builds on another one was never read as far as its logs.
    #[error("nothing was listed yet of what this {0} backup takes")]
    NeverListed(&'static str),
    /// The session's kind keeps every log.
    #[error("a {0} backup never truncates")]
    KindKeepsLogs(&'static str),
    /// Files were left out: the backup is incomplete, and makes no log needless.
    #[error("files were left out of this backup, so it makes no log needless")]
    Incomplete,
    /// Without a repository nothing is held that could make a log needless.
    #[error("this session has no repository")]
    NoRepository,
    /// The backup is published; nothing is read any more.
    #[error("the backup is already published as {0}")]
    Published(String),
}

impl From<Refusal> for JetError {
    fn from(refusal: Refusal) -> Self {
        let (jet, hint) = match &refusal {
            Refusal::NoBackup => (Jet::NoBackup, "Begin one with `jetbak begin`, or run `jetbak backup`."),
            Refusal::Stopped { .. } => (Jet::BackupAbortByServer, "End the session with `jetbak end`."),
            Refusal::ReaderAlive(_) => (Jet::InvalidBackupSequence, "Wait for it, or stop it with `jetbak stop`."),
            Refusal::DatabasesLeft | Refusal::LogBeforeItsPhase => {
                (Jet::InvalidBackupSequence, "Read what is left with `jetbak read`; `jetbak files` shows it.")
            }
            Refusal::DatabaseAfterItsPhase => (Jet::InvalidBackupSequence, "`jetbak files` shows what is left."),
            Refusal::NeverListed(_) => {
                (Jet::InvalidBackupSequence, "Read it with `jetbak read`, or give it up with `jetbak end --abort`.")
            }
            Refusal::LogsLeft => (Jet::LogFileNotCopied, "Read what is left with `jetbak read`."),
            Refusal::KindKeepsLogs(_) => (Jet::InvalidParameter, "Only full and incremental backups truncate."),
            Refusal::NoRepository => {
                (Jet::InvalidBackupSequence, "Begin with `--to REPO`: logs go only after a backup that holds them.")
            }
            Refusal::Incomplete => {
                (Jet::InvalidBackupSequence, "End the session, and truncate with a complete backup.")
            }
            Refusal::Published(_) => (Jet::InvalidBackupSequence, "End the session with `jetbak end`."),
        };
        let jet = if refusal == Refusal::LogBeforeItsPhase { Jet::DatabaseNotFound } else { jet };
        Self::jet(jet, refusal.to_string()).hint(hint)
    }
}

/// An event that cannot follow the ones before it: the journal is not one that this program wrote.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Inconsistent(pub &'static str);

/// What one reader has proven so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proven {
    /// Bytes of its record file.
    pub records: u64,
    /// Entries.
    pub files: u64,
    /// Bytes of data.
    pub bytes: u64,
}

/// Who stopped a session, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// A user and process, or a signal.
    pub who: String,
    /// The reason given.
    pub reason: Option<String>,
}

/// How far publishing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The backup's id.
    pub id: String,
    /// Whether the rename is known to be durable.
    pub done: bool,
    /// Whether it was read back and proven before.
    pub proven: bool,
}

/// What a reader may take next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeable {
    /// A batch that a dead reader left open: take it whole.
    Abandoned(Batch),
    /// Fresh entries from here on, fewer than `limit`.
    Fresh {
        /// Index of the first free entry.
        first: u64,
        /// Where its line begins in the plan file.
        offset: u64,
        /// How many entries are free in a row.
        limit: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    batch: Batch,
    /// The reader that holds it; none once it is closed.
    reader: Option<u32>,
}

/// The entries of one list: what is taken, by whom, and what is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Progress {
    total: u64,
    taken: BTreeMap<u64, Taken>,
}

impl Progress {
    fn is_complete(&self) -> bool {
        let mut expected = 0;
        for taken in self.taken.values() {
            if taken.batch.first != expected || taken.reader.is_some() {
                return false;
            }
            expected = taken.batch.next();
        }
        expected == self.total
    }

    /// The batch that holds this index, if one does.
    fn holding(&self, index: u64) -> Option<&Taken> {
        self.taken.range(..=index).next_back().map(|(_, taken)| taken).filter(|taken| index < taken.batch.next())
    }

    fn is_free(&self, batch: &Batch) -> bool {
        let next = self.taken.range(batch.first..).next();
        self.holding(batch.first).is_none() && next.is_none_or(|(first, _)| *first >= batch.next())
    }

    fn takeable(&self, live: &Live) -> Option<Takeable> {
        let (mut first, mut offset) = (0, 0);
        for taken in self.taken.values() {
            if taken.batch.first > first {
                return Some(Takeable::Fresh { first, offset, limit: taken.batch.first - first });
            }
            if taken.reader.is_some_and(|reader| !live.contains(&reader)) {
                return Some(Takeable::Abandoned(taken.batch));
            }
            (first, offset) = (taken.batch.next(), taken.batch.end);
        }
        (first < self.total).then(|| Takeable::Fresh { first, offset, limit: self.total - first })
    }

    /// Takes one entry out of a closed batch again, so that a file that was left out can be read once more.
    fn reopen(&mut self, batch: Batch, reader: u32) {
        let Some(whole) = self.holding(batch.first).copied() else { return };
        self.taken.remove(&whole.batch.first);
        let left = Batch { count: batch.first - whole.batch.first, end: batch.offset, ..whole.batch };
        let right = Batch {
            first: batch.next(),
            count: whole.batch.next() - batch.next(),
            offset: batch.end,
            end: whole.batch.end,
        };
        for part in [left, right].into_iter().filter(|part| part.count > 0) {
            self.taken.insert(part.first, Taken { batch: part, reader: None });
        }
        self.taken.insert(batch.first, Taken { batch, reader: Some(reader) });
    }

    /// Closes a batch and joins it to closed neighbours, so that the map stays small.
    fn close(&mut self, first: u64) {
        let Some(mut closed) = self.taken.remove(&first) else { return };
        closed.reader = None;
        if let Some((&before, previous)) = self.taken.range(..first).next_back()
            && previous.reader.is_none()
            && previous.batch.next() == first
        {
            closed.batch =
                Batch { count: previous.batch.count + closed.batch.count, end: closed.batch.end, ..previous.batch };
            self.taken.remove(&before);
        }
        let next = closed.batch.next();
        if let Some(following) = self.taken.get(&next).copied()
            && following.reader.is_none()
        {
            closed.batch.count += following.batch.count;
            closed.batch.end = following.batch.end;
            self.taken.remove(&next);
        }
        self.taken.insert(closed.batch.first, closed);
    }
}

/// Where a session stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    begun: bool,
    databases: Progress,
    logs: Option<(String, Progress)>,
    proven: BTreeMap<u32, Proven>,
    excluded: BTreeMap<(Phase, u64), Failure>,
    last_failure: Option<Failure>,
    stop: Option<Stop>,
    publication: Option<Publication>,
    truncating: Option<u64>,
    truncated: u64,
    outcome: Option<Outcome>,
}

impl State {
    /// Whether the session was begun and is not over.
    pub fn in_progress(&self) -> bool {
        self.begun && self.outcome.is_none()
    }

    /// Whether the session was ever begun: a folder without it is what a crashed begin left.
    pub fn begun(&self) -> bool {
        self.begun
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// The phase: logs, once they were listed.
    pub fn phase(&self) -> Phase {
        if self.logs.is_some() { Phase::Logs } else { Phase::Databases }
    }

    /// The stop, if there was one in time.
    pub fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// The id under which the backup is or will be published.
    pub fn publication(&self) -> Option<&Publication> {
        self.publication.as_ref()
    }

    /// Whether truncate was begun.
    pub fn truncating(&self) -> bool {
        self.truncating.is_some()
    }

    /// How many logs truncate has deleted.
    pub fn truncated(&self) -> u64 {
        self.truncated
    }

    /// The name of the plan file of the logs, once they were listed.
    pub fn logs_plan(&self) -> Option<&str> {
        self.logs.as_ref().map(|(plan, _)| plan.as_str())
    }

    /// How many entries a list has; none where it is not fixed yet.
    pub fn total(&self, phase: Phase) -> Option<u64> {
        self.progress(phase).map(|progress| progress.total)
    }

    /// Files that were left out for good, with the reason.
    pub fn excluded(&self) -> &BTreeMap<(Phase, u64), Failure> {
        &self.excluded
    }

    /// The newest failure of all, kept or not.
    pub fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    /// What each reader has proven.
    pub fn proven(&self) -> &BTreeMap<u32, Proven> {
        &self.proven
    }

    /// What all readers have proven together.
    pub fn proven_total(&self) -> Proven {
        self.proven.values().fold(Proven::default(), |sum, one| Proven {
            records: sum.records.saturating_add(one.records),
            files: sum.files.saturating_add(one.files),
            bytes: sum.bytes.saturating_add(one.bytes),
        })
    }

    /// Whether every entry of the list is proven or left out.
    pub fn is_complete(&self, phase: Phase) -> bool {
        self.progress(phase).is_some_and(Progress::is_complete)
    }

    /// What a reader may take next from a list; `live` says whose batches are still being worked on.
    pub fn takeable(&self, phase: Phase, live: &Live) -> Option<Takeable> {
        self.progress(phase)?.takeable(live)
    }

    /// Whether an entry is done, left out, or in work: done or left out when in a closed batch.
    pub fn entry(&self, phase: Phase, index: u64) -> EntryState {
        match self.progress(phase).and_then(|progress| progress.holding(index)) {
            None => EntryState::Free,
            Some(Taken { reader: Some(reader), batch }) => EntryState::Taken(*reader, *batch),
            Some(Taken { reader: None, .. }) if self.excluded.contains_key(&(phase, index)) => EntryState::Excluded,
            Some(Taken { reader: None, .. }) => EntryState::Done,
        }
    }

    /// Decides whether a call fits the state; a stop comes before every other answer but "no backup".
    pub fn decide(&self, call: Call, terms: Terms, live: &Live) -> Result<(), Refusal> {
        if !self.in_progress() {
            return if call == Call::Stop { Ok(()) } else { Err(Refusal::NoBackup) };
        }
        if let Some(Stop { who, reason }) = &self.stop
            && !matches!(call, Call::Stop | Call::End | Call::Abort)
        {
            return Err(Refusal::Stopped { who: who.clone(), reason: reason.clone() });
        }
        match call {
            Call::Files | Call::Stop | Call::Abort => Ok(()),
            Call::ReadFile(Phase::Databases) if self.logs.is_some() => Err(Refusal::DatabaseAfterItsPhase),
            Call::ReadFile(Phase::Logs) if self.logs.is_none() => Err(Refusal::LogBeforeItsPhase),
            Call::Read | Call::ReadFile(_) => self.not_published(),
            Call::ListLogs => {
                self.not_published()?;
                if self.is_complete(Phase::Databases) { Ok(()) } else { Err(databases_left(live)) }
            }
            Call::DryRunTruncate => {
                self.may_truncate(terms)?;
                if self.is_complete(Phase::Databases) { Ok(()) } else { Err(databases_left(live)) }
            }
            Call::Truncate => {
                self.may_truncate(terms)?;
                no_reader(live)?;
                if self.publication.is_some() {
                    return Ok(());
                }
                self.everything_read(live)
            }
            Call::End if self.stop.is_some() => Ok(()),
            Call::End if terms.kind.has_parent() && self.logs.is_none() => Err(Refusal::NeverListed(terms.kind.name())),
            Call::End => no_reader(live),
            Call::Publish => {
                no_reader(live)?;
                self.everything_read(live)
            }
        }
    }

    /// Adds one event.
    pub fn apply(&mut self, event: &Event) -> Result<(), Inconsistent> {
        match event {
            Event::Begun { databases } => {
                ensure(!self.begun, "begun twice")?;
                self.begun = true;
                self.databases.total = *databases;
                return Ok(());
            }
            _ => ensure(self.in_progress(), "an event outside of a session")?,
        }
        match event {
            Event::Begun { .. } => {}
            Event::Opened { reader, phase, batch } => self.open(*reader, *phase, *batch)?,
            Event::Closed { reader, phase, first } => {
                let progress = self.progress_mut(*phase)?;
                let held = progress.taken.get(first).is_some_and(|taken| taken.reader == Some(*reader));
                ensure(held, "closed by one who did not hold it")?;
                progress.close(*first);
            }
            Event::Failed { phase, index, excluded, failure } => {
                let open = matches!(self.entry(*phase, *index), EntryState::Taken(..));
                ensure(open, "failed without being read")?;
                self.last_failure = Some(failure.clone());
                if *excluded {
                    self.excluded.insert((*phase, *index), failure.clone());
                }
            }
            Event::Synced { reader, records, files, bytes } => {
                let proven = self.proven.entry(*reader).or_default();
                ensure(*records >= proven.records && *files >= proven.files, "proven became less")?;
                *proven = Proven { records: *records, files: *files, bytes: *bytes };
            }
            Event::LogsListed { plan, logs } => {
                ensure(self.stop.is_none(), "listed after a stop")?;
                ensure(self.logs.is_none(), "listed twice")?;
                ensure(self.databases.is_complete(), "listed before the databases were done")?;
                self.logs = Some((plan.clone(), Progress { total: *logs, ..Progress::default() }));
            }
            Event::Publishing { id, proven } => {
                ensure(self.stop.is_none(), "published after a stop")?;
                ensure(self.publication.as_ref().is_none_or(|known| !known.done), "published twice")?;
                ensure(self.is_complete(Phase::Databases), "published before the databases were done")?;
                ensure(self.is_complete(Phase::Logs), "published before the logs were done")?;
                self.publication = Some(Publication { id: id.clone(), done: false, proven: *proven });
            }
            Event::Published => {
                let publication = self.publication.as_mut().ok_or(Inconsistent("published without an id"))?;
                publication.done = true;
            }
            Event::Truncating { logs } => {
                ensure(self.publication.as_ref().is_some_and(|known| known.done), "truncated before publishing")?;
                self.truncating = Some(*logs);
            }
            Event::Truncated { .. } => {
                ensure(self.truncating.is_some(), "a log went outside of truncate")?;
                self.truncated += 1;
            }
            Event::Stopped { who, reason } => {
                ensure(self.publication.is_none(), "stopped too late")?;
                self.stop.get_or_insert(Stop { who: who.clone(), reason: reason.clone() });
            }
            Event::Ended { outcome } => self.outcome = Some(*outcome),
        }
        Ok(())
    }

    fn open(&mut self, reader: u32, phase: Phase, batch: Batch) -> Result<(), Inconsistent> {
        ensure(self.stop.is_none(), "opened after a stop")?;
        ensure(self.publication.is_none(), "opened after publishing")?;
        ensure(phase == self.phase(), "opened in the wrong phase")?;
        let again = batch.count == 1 && self.entry(phase, batch.first) == EntryState::Excluded;
        let progress = self.progress_mut(phase)?;
        ensure(batch.count > 0 && batch.next() <= progress.total, "opened outside of its list")?;
        ensure(batch.offset <= batch.end, "opened backwards")?;
        if again {
            progress.reopen(batch, reader);
            self.excluded.remove(&(phase, batch.first));
            return Ok(());
        }
        let taken = Taken { batch, reader: Some(reader) };
        if let Some(abandoned) = progress.taken.get_mut(&batch.first) {
            ensure(abandoned.batch == batch && abandoned.reader.is_some(), "opened what was closed")?;
            *abandoned = taken;
            // Only records are proven: what the dead reader left out is tried again with the rest.
            self.excluded.retain(|(list, index), _| *list != phase || !(batch.first..batch.next()).contains(index));
            return Ok(());
        }
        ensure(progress.is_free(&batch), "opened what was taken")?;
        progress.taken.insert(batch.first, taken);
        Ok(())
    }

    fn progress(&self, phase: Phase) -> Option<&Progress> {
        match phase {
            Phase::Databases => Some(&self.databases),
            Phase::Logs => self.logs.as_ref().map(|(_, progress)| progress),
        }
    }

    fn progress_mut(&mut self, phase: Phase) -> Result<&mut Progress, Inconsistent> {
        match phase {
            Phase::Databases => Ok(&mut self.databases),
            Phase::Logs => {
                self.logs.as_mut().map(|(_, progress)| progress).ok_or(Inconsistent("logs before their list"))
            }
        }
    }

    fn may_truncate(&self, terms: Terms) -> Result<(), Refusal> {
        if !terms.kind.truncates() {
            return Err(Refusal::KindKeepsLogs(terms.kind.name()));
        }
        if !terms.repository {
            return Err(Refusal::NoRepository);
        }
        if self.excluded.is_empty() { Ok(()) } else { Err(Refusal::Incomplete) }
    }

    fn not_published(&self) -> Result<(), Refusal> {
        match &self.publication {
            Some(publication) => Err(Refusal::Published(publication.id.clone())),
            None => Ok(()),
        }
    }

    fn everything_read(&self, live: &Live) -> Result<(), Refusal> {
        if self.logs.is_none() {
            return Err(databases_left(live));
        }
        if self.is_complete(Phase::Logs) { Ok(()) } else { Err(Refusal::LogsLeft) }
    }
}

/// What has become of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Nobody has taken it.
    Free,
    /// This reader took it, with the rest of its batch.
    Taken(u32, Batch),
    /// It is read and proven.
    Done,
    /// It failed and was left out.
    Excluded,
}

fn no_reader(live: &Live) -> Result<(), Refusal> {
    match live.first() {
        Some(reader) => Err(Refusal::ReaderAlive(*reader)),
        None => Ok(()),
    }
}

fn databases_left(live: &Live) -> Refusal {
    no_reader(live).err().unwrap_or(Refusal::DatabasesLeft)
}

fn ensure(holds: bool, otherwise: &'static str) -> Result<(), Inconsistent> {
    if holds { Ok(()) } else { Err(Inconsistent(otherwise)) }
}
