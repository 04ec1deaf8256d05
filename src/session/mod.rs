//! One backup in progress: its pure state machine, its journal, its readers, its stop.

pub mod directory;
pub mod event;
pub mod journal;
pub mod readers;
pub mod record;
pub mod signals;
pub mod state;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::event::Event;
use self::journal::{Durability, Journal};
use self::record::{Record, Who};
use self::state::{Call, Live, Refusal, State};
use crate::error::{Error, Result};
use crate::stream::stop::{Cause, StopToken, signal_name};

/// The longest reason that is kept with a stop, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// A session on disk, opened.
#[derive(Clone, Debug)]
pub struct Session {
    folder: PathBuf,
    record: Arc<Record>,
    journal: Arc<Mutex<Journal>>,
}

/// What a stop found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopAnswer {
    /// It stops now.
    Stopped,
    /// It was stopped before.
    Already,
    /// It is being published or is published: nothing changes any more.
    TooLate,
    /// It is over.
    Over,
}

impl Session {
    fn new(folder: PathBuf, record: Record, journal: Journal) -> Self {
        Self { folder, record: Arc::new(record), journal: Arc::new(Mutex::new(journal)) }
    }

    /// Opens the session of a folder; "not found" where it is gone.
    pub fn open(folder: &Path) -> Result<Self> {
        let record = Record::read(folder)?;
        Ok(Self::new(folder.to_owned(), record, Journal::open(folder)?))
    }

    /// The session's folder in the state directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What begin fixed.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The newest state.
    pub fn state(&self) -> Result<State> {
        let mut journal = self.journal();
        journal.refresh().cloned()
    }

    /// The newest state, with the number of events it holds.
    pub fn state_and_events(&self) -> Result<(State, u64)> {
        let mut journal = self.journal();
        let state = journal.refresh()?.clone();
        Ok((state, journal.events()))
    }

    /// When something was last recorded (UTC).
    pub fn last_at(&self) -> Option<jiff::Timestamp> {
        self.journal().last_at()
    }

    /// The readers whose process lives.
    pub fn live(&self) -> Result<Live> {
        readers::live(&self.folder)
    }

    /// Whether a `backup` process holds this session right now.
    pub fn owner_lives(&self) -> Result<bool> {
        self.owner_lock()?.map_or(Ok(false), |lock| lock.is_held())
    }

    /// The lock that the session's `backup` process holds until nothing is left of the session; none for the verbs.
    pub fn owner_lock(&self) -> Result<Option<readers::Lock>> {
        readers::Lock::open(&self.folder.join("owner.lock"))
    }

    /// Whether a process seals or truncates this session right now.
    pub fn is_being_finished(&self) -> Result<bool> {
        readers::is_locked(&self.folder.join("finisher.lock"))
    }

    /// Decides a call without recording anything.
    pub fn decide(&self, call: Call) -> Result<State> {
        let live = self.live()?;
        let state = self.state()?;
        state.decide(call, self.record.terms(), &live)?;
        Ok(state)
    }

    /// Decides and records in one step, under the journal's lock.
    pub fn append<E: From<Error>>(
        &self,
        durability: Durability,
        decide: impl FnOnce(&State) -> Result<Vec<Event>, E>,
    ) -> Result<(), E> {
        self.journal().append(durability, |state, _| decide(state))
    }

    /// The same for decisions that depend on how many events there are.
    pub fn append_counted<E: From<Error>>(
        &self,
        durability: Durability,
        decide: impl FnOnce(&State, u64) -> Result<Vec<Event>, E>,
    ) -> Result<(), E> {
        self.journal().append(durability, decide)
    }

    /// Records events if the call still fits the state.
    pub fn record_call(&self, call: Call, live: &Live, durability: Durability, events: Vec<Event>) -> Result<()> {
        let terms = self.record.terms();
        self.append(durability, |state| {
            state.decide(call, terms, live)?;
            Ok(events)
        })
    }

    /// Stops the session, if it is not too late; stopping twice is stopping once.
    pub fn stop(&self, who: &str, reason: Option<&str>) -> Result<StopAnswer> {
        let reason = reason.map(|text| clip(text).to_owned());
        let mut answer = StopAnswer::Stopped;
        self.append(Durability::Synced, |state| {
            answer = match state {
                _ if !state.in_progress() => StopAnswer::Over,
                _ if state.stop().is_some() => StopAnswer::Already,
                _ if state.publication().is_some() => StopAnswer::TooLate,
                _ => return Ok(vec![Event::Stopped { who: clip(who).to_owned(), reason }]),
            };
            Ok::<_, Error>(Vec::new())
        })?;
        Ok(answer)
    }

    /// Stops the session because this process got a signal.
    pub fn stop_by_signal(&self, number: i32) -> Result<StopAnswer> {
        self.stop(&format!("{} to {}", signal_name(number), Who::current()), None)
    }

    /// A token that fires on a stop of this session, on its end, and on a signal to this process.
    pub fn stop_token(&self) -> Result<StopToken> {
        let (tail, seen) = {
            let journal = self.journal();
            (journal.tail()?, AtomicU64::new(journal.folded_bytes()))
        };
        let journal = Arc::clone(&self.journal);
        let started_late = cause_of(&self.state()?);
        Ok(StopToken::new(move || {
            if let Some(number) = signals::pending() {
                return Some(Cause::Signal(number));
            }
            if started_late.is_some() {
                return started_late.clone();
            }
            // One fstat a chunk: the journal's length says whether there is anything to read.
            let length = match tail.metadata() {
                Ok(metadata) => metadata.len(),
                Err(error) => return Some(Cause::Lost(error.to_string())),
            };
            if length == seen.load(Ordering::Relaxed) {
                return None;
            }
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            match journal.refresh() {
                Ok(state) => {
                    let cause = cause_of(state);
                    seen.store(journal.folded_bytes(), Ordering::Relaxed);
                    cause
                }
                Err(error) => Some(Cause::Lost(error.to_string())),
            }
        }))
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cause_of(state: &State) -> Option<Cause> {
    if state.outcome().is_some() {
        return Some(Cause::Ended);
    }
    state.stop().map(|stop| Cause::Stopped { who: stop.who.clone(), reason: stop.reason.clone() })
}

fn clip(text: &str) -> &str {
    let mut end = text.len().min(REASON_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The refusal for a storage or id without a session.
pub fn no_session(storage: Option<&Path>) -> Error {
    let error = Error::from(Refusal::NoBackup);
    match storage {
        Some(path) => {
            let named = Error::jet(
                crate::error::Jet::NoBackup,
                format!("no backup of {} is in progress", crate::error::printable(path)),
            );
            match error.advice() {
                Some(advice) => named.hint(advice),
                None => named,
            }
        }
        None => error,
    }
}
