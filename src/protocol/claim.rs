//! Claiming: how several readers share the entries of a list without reading one twice.
//!
//! A reader takes a batch of entries by an event in the journal, reads it, and closes it when all of it is proven. What
//! a dead reader left open is taken over, without what it had proven.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::kept_file::Copies;
use super::unchanged::is_settled;
use crate::engine::plan::PlanReader;
use crate::engine::{Engine, Entry};
use crate::error::{Error, Jet, Result};
use crate::repository::read_records::{RecordFolder, RecordLine};
use crate::session::Session;
use crate::session::event::{Batch, Event, Phase};
use crate::session::journal::Durability;
use crate::session::state::{Call, EntryState, Live, State, Takeable};
use crate::stream::kept::{KeptCopy, Reached};
use crate::stream::pipeline::{Feed, Job};
use crate::stream::source::Opened;
use crate::stream::stop::StopToken;

/// Entries of one batch at most: many small files cost few events.
pub const BATCH_ENTRIES: u64 = 1024;
/// Bytes after which a batch takes no further entry, so that several readers share large files evenly.
pub const BATCH_BYTES: u64 = 256 * 1024 * 1024;

/// What the reading thread has taken and the calling thread has not yet closed.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Entries on their way, in order.
    underway: VecDeque<(u64, Entry, u64)>,
    /// Batches by their first index: entries on their way, and whether all of them were sent.
    batches: BTreeMap<u64, (u64, bool)>,
}

impl Ledger {
    /// The entry that was reported next; reports come in the order of the jobs.
    pub fn arrived(&mut self, ticket: u64) -> Option<Entry> {
        let (expected, entry, batch) = self.underway.pop_front()?;
        if let Some((outstanding, _)) = self.batches.get_mut(&batch) {
            *outstanding -= 1;
        }
        (expected == ticket).then_some(entry)
    }

    /// The entry that will be reported next, if it has this ticket.
    pub fn next(&self, ticket: u64) -> Option<&Entry> {
        self.underway.front().filter(|(index, ..)| *index == ticket).map(|(_, entry, _)| entry)
    }

    /// Takes out the batches of which every entry has arrived.
    pub fn take_complete(&mut self) -> Vec<u64> {
        let complete: Vec<u64> = self
            .batches
            .iter()
            .filter(|(_, (left, all_sent))| *left == 0 && *all_sent)
            .map(|(first, _)| *first)
            .collect();
        for first in &complete {
            self.batches.remove(first);
        }
        complete
    }

    fn send(&mut self, index: u64, entry: Entry, batch: u64) {
        self.underway.push_back((index, entry, batch));
        self.batches.entry(batch).or_default().0 += 1;
    }
}

/// The ledger as both threads hold it.
pub type SharedLedger = Arc<Mutex<Ledger>>;

/// Locks a ledger.
pub fn lock(ledger: &SharedLedger) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which entries a reader takes.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// All that is left.
    Everything,
    /// These batches, each of one named run of entries.
    Named(VecDeque<Batch>),
}

/// Gives the entries of one list that this reader may read.
pub struct Claims {
    /// The session.
    pub session: Session,
    /// The storage's engine.
    pub engine: Arc<dyn Engine>,
    /// This reader's number.
    pub reader: u32,
    /// The list.
    pub phase: Phase,
    /// Its plan file.
    pub plan: PathBuf,
    /// Where records are, to find what a dead reader had proven.
    pub records: RecordFolder,
    /// What to take.
    pub wanted: Wanted,
    /// Ends what waits for a file.
    pub stop: StopToken,
    /// Shared with the calling thread.
    pub ledger: SharedLedger,
    /// The batch that is being handed out.
    pub current: Option<Current>,
    /// Where the copies are of what another reader has begun.
    pub copies: Option<Copies>,
}

/// A batch that is being handed out.
pub struct Current {
    batch: Batch,
    next: u64,
    plan: PlanReader,
    known: Known,
}

/// What dead readers have left of a batch.
#[derive(Default)]
struct Known {
    /// Entries that are proven.
    proven: HashSet<u64>,
    /// How far others are.
    half: HashMap<u64, Reached>,
}

impl Claims {
    /// Takes the next batch, none where nothing is left that nobody else has.
    fn claim(&mut self) -> Result<Option<Current>> {
        loop {
            // The journal first: a reader takes its lock before it records anything, so that every living one that the
            // journal names is among those we find alive afterwards.
            let state = self.session.state()?;
            let live = self.session.live()?;
            let (batch, abandoned) = match &mut self.wanted {
                Wanted::Named(batches) => match batches.pop_front() {
                    None => return Ok(None),
                    Some(batch) => (batch, matches!(state.entry(self.phase, batch.first), EntryState::Taken(..))),
                },
                Wanted::Everything => match state.takeable(self.phase, &live) {
                    None => return Ok(None),
                    Some(Takeable::Abandoned(batch)) => (batch, true),
                    Some(Takeable::Fresh { first, offset, limit }) => (self.measure(first, offset, limit)?, false),
                },
            };
            let named = matches!(self.wanted, Wanted::Named(_));
            let (terms, phase, reader) = (self.session.record().terms(), self.phase, self.reader);
            let mut taken = false;
            self.session.append(Durability::Lazy, |state| {
                // Readers may have come since we looked, and may have taken what we took for abandoned.
                let live = if abandoned || named { self.session.live()? } else { live };
                state.decide(Call::Read, terms, &live)?;
                // Somebody may have been quicker since we looked; then we look again.
                taken = if named {
                    require_free(state, phase, &batch, &live)?;
                    true
                } else {
                    state.takeable(phase, &live).is_some_and(|now| is_still(now, &batch, abandoned))
                };
                let opened = Event::Opened { reader, phase, batch };
                Ok::<_, Error>(if taken { vec![opened] } else { Vec::new() })
            })?;
            if taken {
                let known = if abandoned { self.known_of(&state, &batch)? } else { Known::default() };
                let plan = PlanReader::open(&self.plan, batch.offset)?;
                lock(&self.ledger).batches.insert(batch.first, (0, false));
                return Ok(Some(Current { next: batch.first, batch, plan, known }));
            }
        }
    }

    /// How far a fresh batch goes.
    fn measure(&self, first: u64, offset: u64, limit: u64) -> Result<Batch> {
        let mut plan = PlanReader::open(&self.plan, offset)?;
        let (mut count, mut bytes) = (0, 0_u64);
        while count < limit.min(BATCH_ENTRIES) && (count == 0 || bytes < BATCH_BYTES) {
            let Some(entry) = plan.next_entry()? else { break };
            bytes = bytes.saturating_add(entry.bytes_to_read());
            count += 1;
        }
        Ok(Batch { first, count, offset, end: plan.offset() })
    }

    /// What its dead readers have left of a batch.
    fn known_of(&self, state: &State, batch: &Batch) -> Result<Known> {
        let mut known = Known::default();
        let began = self.session.record().began.as_nanosecond();
        let is_ours = |phase, index| phase == self.phase && (batch.first..batch.next()).contains(&index);
        for (reader, proven) in state.proven() {
            self.records.read(*reader, proven.records, &mut |_, line| {
                match line {
                    RecordLine::Read(record) if is_ours(record.phase, record.index) => {
                        known.proven.insert(record.index);
                    }
                    RecordLine::Half(half) if is_ours(half.phase, half.index) => {
                        let is_further =
                            known.half.get(&half.index).is_none_or(|known| half.supersedes(known.stamp, known.bytes));
                        let is_settled = is_settled(half.stamp.changed_ns, half.began_ns.unwrap_or(began));
                        if let Some(reached) = half.reached().filter(|_| is_further && is_settled) {
                            known.half.insert(half.index, reached);
                        }
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok(known)
    }
}

fn is_still(now: Takeable, batch: &Batch, abandoned: bool) -> bool {
    match now {
        // What was free a moment ago and is taken now was not abandoned: its reader may be younger than our look.
        Takeable::Abandoned(other) => abandoned && other == *batch,
        Takeable::Fresh { first, limit, .. } => !abandoned && first == batch.first && batch.count <= limit,
    }
}

/// Named files that another reader has taken since they were looked up are refused.
fn require_free(state: &State, phase: Phase, batch: &Batch, live: &Live) -> Result<()> {
    let is_free = |index| match state.entry(phase, index) {
        EntryState::Free | EntryState::Excluded => true,
        EntryState::Taken(holder, whole) => whole == *batch && !live.contains(&holder),
        EntryState::Done => false,
    };
    if (batch.first..batch.next()).all(is_free) {
        return Ok(());
    }
    Err(Error::jet(Jet::OutOfMemory, "another reader has just taken what was named")
        .hint("A plain `jetbak read` shares the work with other readers and takes over from dead ones."))
}

impl Feed for Claims {
    fn next(&mut self) -> Result<Option<Job>> {
        loop {
            let Some(current) = &mut self.current else {
                self.current = self.claim()?;
                if self.current.is_none() {
                    return Ok(None);
                }
                continue;
            };
            if current.next >= current.batch.next() {
                if let Some((_, all_sent)) = lock(&self.ledger).batches.get_mut(&current.batch.first) {
                    *all_sent = true;
                }
                self.current = None;
                continue;
            }
            let index = current.next;
            current.next += 1;
            let entry = current.plan.next_entry()?.ok_or_else(|| short(&self.plan))?;
            if current.known.proven.contains(&index) {
                continue;
            }
            let reached = current.known.half.get(&index).copied().map(Arc::new);
            let (path, has_content) = (Arc::from(entry.path.as_path()), entry.role.is_file());
            let (earlier, is_generation) = (entry.earlier.clone(), entry.generation.is_some());
            lock(&self.ledger).send(index, entry, current.batch.first);
            // Compared block by block, every block is proven by a hash of its own.
            // A log of generations is told from another one by its hash when it is to be deleted.
            let is_compared = earlier.as_ref().is_some_and(|earlier| earlier.blocks.is_some());
            let wants_hash = !is_compared || is_generation;
            return Ok(Some(Job { earlier, reached, wants_hash, ..Job::new(index, path, has_content) }));
        }
    }

    fn open(&mut self, job: &Job) -> Result<Opened> {
        let entry = lock(&self.ledger)
            .underway
            .iter()
            .rev()
            .find(|(index, ..)| *index == job.ticket)
            .map(|(_, e, _)| e.clone());
        match entry {
            Some(entry) => self.engine.open(&entry, &self.stop),
            None => Err(short(&self.plan)),
        }
    }

    fn copy(&mut self, job: &Job) -> Option<Box<dyn KeptCopy>> {
        self.copies.as_ref()?.open(&job.path)
    }
}

fn short(plan: &std::path::Path) -> Error {
    Error::new(crate::error::ExitCode::Failed, format!("{} is shorter than the session says", plan.display()))
        .file(plan)
        .hint("End the session with `jetbak end --abort`, then begin anew.")
}
