//! Reading a database, so that the copy is one state of it, whoever writes meanwhile.
//!
//! In WAL mode one read transaction is held from the first page to the last, and no writer waits. With a rollback journal
//! a reader keeps writers waiting: so it takes its lock for one piece at a time, and begins anew where somebody has
//! committed between two pieces. The last attempt copies everything under one lock, into a file of ours and at the speed of
//! that disk; wherever the bytes go then, nobody waits for that.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::connection::{Access, HOT_JOURNAL, Trouble, failure, patiently, trouble};
use super::facts::{CopyFacts, Terms};
use super::header::{CHANGE_COUNTER_OFFSET, HEADER_BYTES, JournalMode, u32_at};
use super::private::{Scratch, copy_aside, drain};
use super::recognise::Companion;
use super::tidy::Tidy;
use super::view::View;
use crate::engine::ese::checksum::is_zero;
use crate::engine::milestones::is_before;
use crate::engine::watched::Watched;
use crate::error::{Error, ExitCode, Result, printable};
use crate::stream::source::{Copied, Got, Settled, Source};
use crate::stream::stop::StopToken;
use crate::times;

/// How long a reading that is given up may take to notice.
const FAREWELL: Duration = Duration::from_millis(100);

/// How a database is to be reached and read.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What was said at begin.
    pub terms: Terms,
    /// Where copies may be made.
    pub scratch: PathBuf,
    /// Nobody writes to the storage, and nobody can.
    pub is_at_rest: bool,
    /// Ends what waits.
    pub stop: StopToken,
}

/// A database that is open, or a copy of it. What it holds goes in the order of the fields: the connection, then the
/// handle (closing that one first would give up the connection's locks), then what came beside the database.
#[derive(Debug)]
pub struct Opened {
    view: View,
    file: Option<File>,
    /// Bytes that the file must not lose while the transaction lasts.
    bytes_min: u64,
    _tidy: Option<Tidy>,
    scratch: Option<Scratch>,
    /// It is a copy of ours, or a file to which nobody can write: nobody waits for us.
    is_alone: bool,
    warning: Option<String>,
    told: Option<String>,
}

impl Opened {
    /// Opens a database with a read transaction on it, or on a copy where it cannot be read in its place. `file` is an open
    /// handle on it, if there is one, and `name` is how the user knows it.
    pub fn open(path: &Path, name: &Path, file: Option<File>, policy: &Policy) -> Result<Self> {
        if policy.is_at_rest && !needs_recovery(path) {
            let view = View::open(path, Access::Immutable).map_err(|e| failure(path, name, &e))?;
            let told = Some("nobody can write to its file system".to_owned());
            return Ok(Self { is_alone: true, told, ..Self::new(view, file) });
        }
        let tidy = Tidy::look(path);
        let why = if policy.is_at_rest {
            None
        } else {
            let timeout = policy.terms.busy_timeout();
            match patiently(path, name, timeout, &policy.stop, || View::open(path, Access::Shared))? {
                Ok(view) => return Ok(Self { _tidy: Some(tidy), ..Self::new(view, file) }),
                Err(error) if trouble(&error) == Trouble::NeedsCopy => Some(error),
                Err(error) => return Err(failure(path, name, &error)),
            }
        };
        // The handle stays open; no connection is. Opening may have left an index beside it all the same.
        drop(tidy);
        Self::open_copy(path, name, policy, why.as_ref())
    }

    fn new(view: View, file: Option<File>) -> Self {
        let mut opened =
            Self { view, file, bytes_min: 0, _tidy: None, scratch: None, is_alone: false, warning: None, told: None };
        opened.measure();
        opened
    }

    /// Notes how long the file has to stay, once a transaction was begun. Cut to the pages of the transaction it may be: by
    /// a checkpoint.
    fn measure(&mut self) {
        self.bytes_min = self.bytes_in_file().min(self.view.bytes());
    }

    fn bytes_in_file(&self) -> u64 {
        let metadata = self.file.as_ref().and_then(|file| file.metadata().ok());
        metadata.map_or(0, |metadata| metadata.len())
    }

    /// The change counter of this state, or that in the file where that is lower: what is in the write-ahead log comes into
    /// the file later, if ever. And what a transaction in progress has written there may yet be taken back.
    fn change_counter(&self, first_page: &[u8]) -> Option<u32> {
        let of_view = first_page.get(CHANGE_COUNTER_OFFSET..HEADER_BYTES).map(|head| u32_at(head, 0))?;
        let Some(file) = &self.file else {
            return (View::journal_mode(first_page) == JournalMode::Rollback).then_some(of_view);
        };
        let mut head = [0; CHANGE_COUNTER_OFFSET + 4];
        file.read_exact_at(&mut head, 0).ok()?;
        let of_file = u32_at(&head, CHANGE_COUNTER_OFFSET);
        Some(if is_before(of_file, of_view) { of_file } else { of_view })
    }

    /// Whether somebody cut the file, past all locks: SQLite gives zeros for what is missing.
    fn was_cut(&self) -> bool {
        self.bytes_in_file() < self.bytes_min
    }

    fn open_copy(path: &Path, name: &Path, policy: &Policy, why: Option<&rusqlite::Error>) -> Result<Self> {
        let was_interrupted = match why {
            Some(error) => error.sqlite_error().is_some_and(|error| error.extended_code == HOT_JOURNAL),
            None => stands(&Companion::Journal.of(path)),
        };
        let (scratch, view) = copy_aside(path, name, &policy.scratch, policy.terms.busy_timeout(), &policy.stop)?;
        let warning = "a writer was interrupted in the middle of a transaction; what counts is the state before it, as \
             recovered in a copy. The source is as it was: its application recovers it when it opens it";
        Ok(Self {
            scratch: Some(scratch),
            is_alone: true,
            warning: was_interrupted.then(|| warning.to_owned()),
            told: Some("read from a copy, because it cannot be locked where it lies".to_owned()),
            ..Self::new(view, None)
        })
    }

    /// The database as it is now.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Adds what everybody should hear of it, unless there is more important news.
    pub fn warn(&mut self, what: &str) {
        self.warning.get_or_insert_with(|| what.to_owned());
    }

    /// What everybody should hear of it.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Whether reading it keeps writers waiting.
    pub fn keeps_writers_waiting(&self) -> bool {
        !self.is_alone && !self.view.is_wal
    }
}

/// Whether something stands beside a database without which it is not whole.
pub fn needs_recovery(path: &Path) -> bool {
    stands(&Companion::Wal.of(path)) || stands(&Companion::Journal.of(path))
}

fn stands(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() > 0)
}

/// An open database that can be taken away from whoever reads it.
type Shared = Arc<Mutex<Option<Opened>>>;

/// The databases that are being read.
#[derive(Debug, Default)]
pub struct Readings(Mutex<Vec<Weak<Mutex<Option<Opened>>>>>);

impl Readings {
    fn add(&self, opened: Opened) -> Shared {
        let shared = Arc::new(Mutex::new(Some(opened)));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&shared));
        shared
    }

    /// Closes them all, also those whose reader is stuck elsewhere; one that is stuck in the disk keeps its lock until the
    /// process ends.
    pub fn let_go(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let begun = Instant::now();
        for reading in all.iter().filter_map(Weak::upgrade) {
            loop {
                if let Ok(mut opened) = reading.try_lock() {
                    *opened = None;
                    break;
                }
                if begun.elapsed() > FAREWELL {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// How the pages come.
enum Reading {
    /// Inside one transaction that stays open.
    Held(Instant),
    /// A piece at a time; the longest that a lock was held, and how many pieces there were.
    Stepped(Duration, u64),
    /// From a copy that was made under one lock, held for so long.
    Copied(File, Option<Duration>, u64),
}

/// A database as a source of bytes.
pub struct DatabaseSource {
    opened: Shared,
    reading: Reading,
    watched: Watched,
    path: PathBuf,
    policy: Policy,
    page_size: usize,
    pages: u32,
    next: u32,
    first_page: Vec<u8>,
    was_disturbed: bool,
    was_cut: bool,
}

impl DatabaseSource {
    /// Takes an open database; `watched` says who it was before.
    pub(in crate::engine) fn new(
        opened: Opened,
        watched: Watched,
        policy: Policy,
        readings: &Readings,
    ) -> Result<Self> {
        let reading = if opened.keeps_writers_waiting() {
            opened.view.end();
            Reading::Stepped(Duration::ZERO, 0)
        } else {
            Reading::Held(Instant::now())
        };
        let (page_size, pages, gives_pages) = (opened.view.page_size, opened.view.pages, opened.view.gives_pages);
        let mut source = Self {
            opened: readings.add(opened),
            reading,
            path: watched.absolute(),
            watched,
            policy,
            page_size,
            pages,
            next: 1,
            first_page: Vec::new(),
            was_disturbed: false,
            was_cut: false,
        };
        if !gives_pages {
            source.copy_at_once()?;
        }
        Ok(source)
    }

    fn name(&self) -> &Path {
        self.watched.path()
    }

    fn failure(&self, error: &rusqlite::Error) -> Error {
        failure(&self.path, self.name(), error)
    }

    /// Copies everything under one lock into a file of ours.
    fn copy_at_once(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.opened);
        let mut guard = lock(&shared);
        if matches!(self.reading, Reading::Stepped(..)) {
            let Some(opened) = guard.as_mut() else { return Err(self.given_up()) };
            let timeout = self.policy.terms.busy_timeout();
            match patiently(&self.path, self.name(), timeout, &self.policy.stop, || opened.view.begin())? {
                Ok(_) => {}
                // A writer was killed since: what it left is rolled back in a copy, once nothing of ours is open here.
                Err(error) if trouble(&error) == Trouble::NeedsCopy => {
                    *guard = None;
                    *guard = Some(Opened::open_copy(&self.path, self.name(), &self.policy, Some(&error))?);
                }
                Err(error) => return Err(self.failure(&error)),
            }
        }
        let Some(opened) = guard.as_mut() else { return Err(self.given_up()) };
        opened.measure();
        (self.page_size, self.pages) = (opened.view.page_size, opened.view.pages);
        if opened.is_alone && opened.view.gives_pages {
            self.reading = Reading::Held(Instant::now());
            return Ok(());
        }
        let scratch = Scratch::create(&self.policy.scratch, opened.view.bytes())?;
        let begun = Instant::now();
        let limit = self.policy.terms.max_lock().filter(|_| opened.keeps_writers_waiting());
        let go_on = || {
            self.policy.stop.check()?;
            match limit {
                Some(limit) if begun.elapsed() > limit => Err(self.took_too_long(limit)),
                _ => Ok(()),
            }
        };
        let drained = drain(&opened.view, self.watched.path(), &scratch.database(), &go_on);
        self.was_cut = opened.was_cut();
        opened.view.end();
        let held = Some(begun.elapsed()).filter(|_| opened.keeps_writers_waiting());
        let file = drained?;
        let bytes = file.metadata().map_err(|e| Error::io("look at", &scratch.database(), &e))?.len();
        opened.scratch = Some(scratch); // an earlier one is not needed any more
        self.reading = Reading::Copied(file, held, bytes);
        Ok(())
    }

    fn took_too_long(&self, limit: Duration) -> Error {
        let message =
            format!("{} could not be copied within --max-lock {}", printable(&self.path), times::duration(limit));
        Error::new(ExitCode::OutOfOrder, message).file(self.name()).hint(
            "Somebody commits all the time, and its rollback journal makes writers wait for the copy. Allow it more time, \
             back up when there is less to do, or let the application use WAL mode.",
        )
    }

    fn given_up(&self) -> Error {
        Error::new(ExitCode::Failed, format!("{} is not read any more", printable(&self.path))).file(self.name())
    }

    /// The next pages, from the database itself.
    fn next_pages(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let shared = Arc::clone(&self.opened);
        let mut guard = lock(&shared);
        let Some(opened) = guard.as_mut() else { return Err(self.given_up()) };
        let Reading::Stepped(longest, steps) = &mut self.reading else {
            let read = opened.view.read(self.next, buffer).map_err(|e| self.failure(&e));
            self.was_cut |= opened.was_cut();
            return read;
        };
        let (name, timeout) = (self.watched.path(), self.policy.terms.busy_timeout());
        let begun = patiently(&self.path, name, timeout, &self.policy.stop, || opened.view.begin())?;
        let since = Instant::now();
        match begun {
            Ok(true) => {}
            Ok(false) => {
                opened.view.end();
                self.was_disturbed = true;
                return Ok(0);
            }
            // A writer was killed since; another attempt reads a copy in which that is rolled back.
            Err(error) if trouble(&error) == Trouble::NeedsCopy => {
                self.was_disturbed = true;
                return Ok(0);
            }
            Err(error) => return Err(failure(&self.path, name, &error)),
        }
        let read = opened.view.read(self.next, buffer);
        self.was_cut |= opened.was_cut();
        opened.view.end();
        *longest = since.elapsed().max(*longest);
        *steps += 1;
        read.map_err(|e| failure(&self.path, name, &e))
    }

    /// How the copy was made, for those who ask.
    fn told(&self, opened: &Opened) -> String {
        let how = match &self.reading {
            Reading::Held(since) if !opened.is_alone => {
                format!("copied inside one read transaction of {}; in WAL mode no writer waits", span(since.elapsed()))
            }
            Reading::Held(_) => "copied as it is".to_owned(),
            Reading::Stepped(longest, steps) => {
                format!("copied in {steps} steps, under a shared lock for {} at most", span(*longest))
            }
            Reading::Copied(_, Some(held), _) => {
                format!("copied at once, under a shared lock for {}, which kept writers waiting", span(*held))
            }
            Reading::Copied(_, None, _) => "copied at once".to_owned(),
        };
        match &opened.told {
            Some(told) => format!("{told}; {how}"),
            None => how,
        }
    }
}

/// A span of time that may be short.
fn span(time: Duration) -> String {
    if time < Duration::from_millis(100) {
        format!("{:.1} ms", time.as_secs_f64() * 1000.0)
    } else {
        times::duration(time)
    }
}

fn lock(opened: &Shared) -> MutexGuard<'_, Option<Opened>> {
    opened.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source for DatabaseSource {
    fn insist(&mut self) -> Result<()> {
        match self.reading {
            Reading::Stepped(..) => self.copy_at_once(),
            _ => Ok(()),
        }
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<Got> {
        if buffer.len() < self.page_size {
            return Err(Error::new(ExitCode::Failed, "a page does not fit into its buffer; this is a bug"));
        }
        let got = match &self.reading {
            Reading::Copied(file, _, bytes) => {
                let done = u64::from(self.next - 1) * self.page_size as u64;
                let left = usize::try_from(bytes.saturating_sub(done)).unwrap_or(usize::MAX);
                let whole = (buffer.len() - buffer.len() % self.page_size).min(left);
                file.read_exact_at(&mut buffer[..whole], done)
                    .map_err(|e| Error::io("read the copy of", &self.path, &e))?;
                whole
            }
            _ => self.next_pages(buffer)?,
        };
        if got == 0 {
            return Ok(Got::End);
        }
        if self.next == 1 {
            self.first_page = buffer[..got.min(self.page_size)].to_vec();
        }
        self.next += u32::try_from(got / self.page_size).unwrap_or(u32::MAX);
        // A piece of nothing but zeros takes no space in the copy.
        Ok(if is_zero(&buffer[..got]) { Got::Hole(got as u64) } else { Got::Data(got) })
    }

    fn finish(self: Box<Self>) -> Result<Settled> {
        if self.was_cut {
            return Ok(Settled::Changed("it became shorter".to_owned()));
        }
        if self.was_disturbed {
            return Ok(Settled::Disturbed("somebody committed a transaction meanwhile".to_owned()));
        }
        let guard = lock(&self.opened);
        let Some(opened) = guard.as_ref() else { return Err(self.given_up()) };
        if let Some(what) = self.watched.lost_name()? {
            return Ok(Settled::Changed(what));
        }
        let mut attributes = self.watched.before.clone();
        attributes.stamp.size = u64::from(self.pages) * self.page_size as u64;
        attributes.copy = Some(Arc::new(Copied {
            facts: CopyFacts {
                page_size: u32::try_from(self.page_size).unwrap_or(u32::MAX),
                pages: self.pages,
                journal_mode: View::journal_mode(&self.first_page).name().to_owned(),
                change_counter: opened.change_counter(&self.first_page),
            },
            told: self.told(opened),
            warning: opened.warning.clone(),
        }));
        Ok(Settled::Still(attributes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_for_a_reader_that_is_stuck_elsewhere_is_given_up() {
        let home = tempfile::tempdir().expect("temporary directory");
        let path = home.path().join("bank.db");
        let application = rusqlite::Connection::open(&path).expect("opened");
        application.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t(x)").expect("made");
        drop(application);
        let (terms, scratch) = (Terms::default(), home.path().to_owned());
        let policy = Policy { terms, scratch, is_at_rest: false, stop: StopToken::never() };
        let readings = Readings::default();
        let reading = readings.add(Opened::open(&path, &path, None, &policy).expect("opened"));
        assert!(Companion::Shm.of(&path).exists());
        readings.let_go();
        assert!(lock(&reading).is_none());
        assert!(!Companion::Shm.of(&path).exists() && !Companion::Wal.of(&path).exists());
    }
}
