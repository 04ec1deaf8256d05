//! The journal: one event a line, each with its own CRC, appended under a lock.
//!
//! A line is `{"crc":"xxxxxxxx","seq":N,"at":"…","event":"…",…}`; the CRC-32 (IEEE) covers every byte behind the
//! `"crc"` field up to the end of the line, the sequence number counts lines from 0. Only a holder of the lock may
//! call the last line torn and cut it off; a reader without the lock looks at whole lines only. Any other damage is an
//! error that names the line.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::state::State;
use crate::error::{Error, ExitCode, Jet, Result};

/// `{"crc":"xxxxxxxx",` – what stands before the bytes that the CRC covers.
const PREFIX_BYTES: usize = 18;
/// The longest line that is believed: a hostile journal must not make us hold more.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Kept free ahead of the end, so that a stop and an end can be written on a full disk.
const RESERVE_BYTES: u64 = 64 * 1024;
/// How long an append waits for the lock; the holder needs it for one short write.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Whether losing the line in a power cut would break a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced before the append returns.
    Synced,
    /// Losing it costs work, nothing else.
    Lazy,
}

#[derive(Serialize, Deserialize)]
struct Line {
    seq: u64,
    at: jiff::Timestamp,
    #[serde(flatten)]
    event: Event,
}

/// A session's journal and the state that follows from it.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    lock: File,
    /// Bytes that are folded into `state`.
    folded: u64,
    lines: u64,
    reserved: u64,
    state: State,
    last_at: Option<jiff::Timestamp>,
}

impl Journal {
    /// Makes the journal of a new session in `folder`, empty, with space reserved for its end.
    pub fn create(folder: &Path) -> Result<Self> {
        for name in ["journal.jsonl", "journal.lock"] {
            let path = folder.join(name);
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(|e| Error::io("create", &path, &e))?;
        }
        let mut journal = Self::open(folder)?;
        journal.reserve()?;
        Ok(journal)
    }

    /// Opens the journal of a session and folds it; the error is "not found" where the session is gone.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("journal.jsonl");
        let open =
            |path: &Path| OpenOptions::new().read(true).write(true).open(path).map_err(|e| Error::io("open", path, &e));
        let mut journal = Self {
            file: open(&path)?,
            lock: open(&folder.join("journal.lock"))?,
            path,
            folded: 0,
            lines: 0,
            reserved: 0,
            state: State::default(),
            last_at: None,
        };
        journal.refresh()?;
        Ok(journal)
    }

    /// The state as of the last look.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How many events that state holds: two looks with the same count saw the same.
    pub fn events(&self) -> u64 {
        self.lines
    }

    /// When the newest event was written (UTC), as of the last look.
    pub fn last_at(&self) -> Option<jiff::Timestamp> {
        self.last_at
    }

    /// Another handle of the file, whose length tells whether something was appended.
    pub fn tail(&self) -> Result<File> {
        self.file.try_clone().map_err(|e| Error::io("open", &self.path, &e))
    }

    /// Bytes that the state holds.
    pub fn folded_bytes(&self) -> u64 {
        self.folded
    }

    /// Folds what was appended since the last look; leaves an unfinished last line alone.
    ///
    /// Takes no lock, unless what it sees looks damaged: then it looks again as the only one, because a line that is
    /// being written or cut at this moment can look like anything.
    pub fn refresh(&mut self) -> Result<&State> {
        if self.fold(false).is_err() {
            self.take_lock()?;
            let again = self.fold(true);
            self.lock.unlock().map_err(|e| Error::io("unlock", &self.path, &e))?;
            again?;
        }
        Ok(&self.state)
    }

    /// Decides and appends under the lock: `decide` sees the newest state and how many events it holds, and returns the
    /// events to add, in order.
    ///
    /// With [`Durability::Synced`] the events have reached the disk when this returns; the sync happens after the
    /// lock is given back, so that a stop never waits for a disk.
    pub fn append<E: From<Error>>(
        &mut self,
        durability: Durability,
        decide: impl FnOnce(&State, u64) -> Result<Vec<Event>, E>,
    ) -> Result<(), E> {
        self.take_lock()?;
        let result = self.append_locked(decide);
        let unlocked = self.lock.unlock().map_err(|e| Error::io("unlock", &self.path, &e));
        let wrote = result?;
        unlocked?;
        if wrote && durability == Durability::Synced {
            self.file.sync_data().map_err(|e| Error::io("sync", &self.path, &e))?;
        }
        Ok(())
    }

    fn append_locked<E: From<Error>>(
        &mut self,
        decide: impl FnOnce(&State, u64) -> Result<Vec<Event>, E>,
    ) -> Result<bool, E> {
        self.fold(true)?;
        let events = decide(&self.state, self.lines)?;
        if events.is_empty() {
            return Ok(false);
        }
        // Applied in place, because a copy for each append would make many left-out files quadratic; what fails is read
        // anew from the file.
        let written = self.write(events);
        if written.is_err() {
            self.forget();
            self.fold(true)?;
        }
        Ok(written.map(|()| true)?)
    }

    fn forget(&mut self) {
        (self.state, self.folded, self.lines, self.last_at) = (State::default(), 0, 0, None);
    }

    fn write(&mut self, events: Vec<Event>) -> Result<()> {
        let mut text = Vec::new();
        let mut seq = self.lines;
        let now = jiff::Timestamp::now();
        for event in events {
            self.state
                .apply(&event)
                .map_err(|e| Error::new(ExitCode::Failed, format!("cannot record {event:?}: {e}")))?;
            let line = encode(&Line { seq, at: now, event });
            if line.len() as u64 > LINE_BYTES_MAX {
                return Err(Error::new(ExitCode::Failed, "cannot record an event: its line would be too long"));
            }
            text.extend(line);
            seq += 1;
        }
        let urgent = self.state.stop().is_some() || !self.state.in_progress();
        let end = self.folded + text.len() as u64;
        if end + RESERVE_BYTES / 2 > self.reserved {
            match self.reserve() {
                Err(error) if !urgent => return Err(error),
                _ => {}
            }
        }
        if let Err(error) = self.file.write_all_at(&text, self.folded) {
            let _ = self.file.set_len(self.folded); // the write error is the one to report
            return Err(Error::io("write", &self.path, &error));
        }
        (self.folded, self.lines, self.last_at) = (end, seq, Some(now));
        Ok(())
    }

    /// Folds whole lines; as the holder of the lock, also cuts off a torn last one.
    fn fold(&mut self, holder: bool) -> Result<()> {
        let length = self.file.metadata().map_err(|e| Error::io("look at", &self.path, &e))?.len();
        if length < self.folded {
            // Somebody took back a write that failed half-way, after we had folded its first lines.
            self.forget();
        }
        let mut pending = Vec::new();
        while self.folded + (pending.len() as u64) < length {
            let from = self.folded + pending.len() as u64;
            let want = usize::try_from((length - from).min(LINE_BYTES_MAX)).unwrap_or(0);
            let begin = pending.len();
            pending.resize(begin + want, 0);
            let got = self.file.read_at(&mut pending[begin..], from).map_err(|e| Error::io("read", &self.path, &e))?;
            pending.truncate(begin + got);
            if got == 0 {
                break;
            }
            let mut used = 0;
            while let Some(end) = pending[used..].iter().position(|byte| *byte == b'\n') {
                let next = used + end + 1;
                let is_last = self.folded + (next - used) as u64 == length;
                let text = &pending[used..next - 1];
                match decode(text, self.lines) {
                    Ok(line) => {
                        self.state.apply(&line.event).map_err(|e| self.damaged(&e.to_string()))?;
                        self.last_at = Some(line.at);
                    }
                    Err(_) if is_last && is_torn(text) && holder => return self.cut(),
                    Err(_) if is_last && is_torn(text) => return Ok(()),
                    Err(reason) => return Err(self.damaged(reason)),
                }
                self.lines += 1;
                self.folded += (next - used) as u64;
                used = next;
            }
            pending.drain(..used);
            let is_zero = pending.iter().all(|byte| *byte == 0); // what a power cut leaves
            if !is_torn(&pending) || (pending.len() as u64 > LINE_BYTES_MAX && !is_zero) {
                return Err(self.damaged("a line without an end"));
            }
        }
        if pending.is_empty() || !holder { Ok(()) } else { self.cut() }
    }

    fn cut(&mut self) -> Result<()> {
        self.reserved = 0; // shrinking gives the reserved blocks back
        self.file.set_len(self.folded).map_err(|e| Error::io("cut", &self.path, &e))
    }

    /// Reserves space behind the end; a file system that cannot is no error, a full one is.
    fn reserve(&mut self) -> Result<()> {
        let wanted = self.folded + RESERVE_BYTES;
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, wanted) {
            Ok(()) | Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {
                self.reserved = wanted;
                Ok(())
            }
            Err(errno) => Err(Error::io("reserve space in", &self.path, &errno.into())),
        }
    }

    fn take_lock(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.lock.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::jet(Jet::InvalidBackupSequence, "another process holds this session's journal")
                        .hint("Look for a suspended jetbak process and let it go on, or end it."));
                }
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &self.path, &error)),
            }
        }
    }

    fn damaged(&self, reason: &str) -> Error {
        let line = self.lines + 1;
        Error::new(ExitCode::Failed, format!("line {line} of {} is damaged: {reason}", self.path.display()))
            .file(&self.path)
            .hint(
                "Nothing was published from this session. Remove its folder in the state directory, then begin anew; \
                 the next backup removes what it left in the repository.",
            )
    }
}

/// Whether a last line may have been torn: one with the beginning of another in it has lost its end otherwise. (Inside
/// of a line every quote of a text is escaped, so that this never occurs there.)
fn is_torn(text: &[u8]) -> bool {
    let begin: &[u8] = b"{\"crc\":\"";
    !text.windows(begin.len()).skip(1).any(|window| window == begin)
}

fn encode(line: &Line) -> Vec<u8> {
    let body = serde_json::to_vec(line).expect("a journal line has only fields that JSON can hold");
    let body = &body[1..]; // behind the opening brace
    let mut text = Vec::with_capacity(PREFIX_BYTES + body.len() + 2);
    write!(text, "{{\"crc\":\"{:08x}\",", crc32fast::hash(body)).expect("memory takes every write");
    text.extend_from_slice(body);
    text.push(b'\n');
    text
}

fn decode(line: &[u8], seq: u64) -> Result<Line, &'static str> {
    let (prefix, body) = line.split_at_checked(PREFIX_BYTES).ok_or("it is too short")?;
    let crc =
        prefix.strip_prefix(b"{\"crc\":\"").and_then(|rest| rest.strip_suffix(b"\",")).ok_or("it has no checksum")?;
    if format!("{:08x}", crc32fast::hash(body)).as_bytes() != crc {
        return Err("its checksum does not hold");
    }
    let mut object = Vec::with_capacity(body.len() + 1);
    object.push(b'{');
    object.extend_from_slice(body);
    let line: Line = serde_json::from_slice(&object).map_err(|_| "it is not an event that this version knows")?;
    if line.seq == seq { Ok(line) } else { Err("a line before it is missing") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::event::Outcome;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("temporary directory")
    }

    fn append(journal: &mut Journal, event: Event) {
        journal.append::<Error>(Durability::Lazy, |_, _| Ok(vec![event])).expect("appended");
    }

    #[test]
    fn a_second_reader_sees_what_was_appended() {
        let folder = folder();
        let mut journal = Journal::create(folder.path()).expect("created");
        let mut other = Journal::open(folder.path()).expect("opened");
        append(&mut journal, Event::Begun { databases: 3 });
        assert!(!other.state().in_progress());
        assert!(other.refresh().expect("read").in_progress());
    }

    #[test]
    fn every_flipped_bit_is_found_unless_it_could_be_a_torn_last_line() {
        let folder = folder();
        let mut journal = Journal::create(folder.path()).expect("created");
        append(&mut journal, Event::Begun { databases: 3 });
        append(&mut journal, Event::Stopped { who: "a test".into(), reason: None });
        let path = folder.path().join("journal.jsonl");
        let good = std::fs::read(&path).expect("read");
        let first_line = good.iter().position(|byte| *byte == b'\n').expect("a line");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bad).expect("written");
            let opened = Journal::open(folder.path());
            if bit / 8 < first_line {
                assert!(opened.is_err(), "bit {bit} of the first line");
            } else if let Ok(journal) = opened {
                assert!(journal.state().stop().is_none(), "bit {bit} of the last line");
            }
        }
    }

    #[test]
    fn a_torn_last_line_is_cut_by_the_next_append_and_by_nobody_else() {
        let folder = folder();
        let path = folder.path().join("journal.jsonl");
        let mut journal = Journal::create(folder.path()).expect("created");
        append(&mut journal, Event::Begun { databases: 3 });
        let whole = std::fs::read(&path).expect("read");
        append(&mut journal, Event::Ended { outcome: Outcome::Aborted });
        let longer = std::fs::read(&path).expect("read");
        for length in whole.len()..longer.len() {
            std::fs::write(&path, &longer[..length]).expect("written");
            let mut journal = Journal::open(folder.path()).expect("a torn line is no damage");
            assert!(journal.state().in_progress());
            assert_eq!(std::fs::read(&path).expect("read").len(), length);
            append(&mut journal, Event::Ended { outcome: Outcome::Stopped });
            let reread = Journal::open(folder.path()).expect("opened");
            assert_eq!(reread.state().outcome(), Some(Outcome::Stopped), "torn at {length}");
        }
    }

    #[test]
    fn the_end_of_a_line_that_is_not_the_last_is_missed() {
        let folder = folder();
        let path = folder.path().join("journal.jsonl");
        let mut journal = Journal::create(folder.path()).expect("created");
        append(&mut journal, Event::Begun { databases: 3 });
        append(&mut journal, Event::Stopped { who: "a test {\"crc\":\"".into(), reason: None });
        let good = std::fs::read(&path).expect("read");
        let end = good.iter().position(|byte| *byte == b'\n').expect("a line");
        let mut bad = good.clone();
        bad[end] = b' ';
        std::fs::write(&path, &bad).expect("written");
        assert!(Journal::open(folder.path()).is_err(), "two lines became one");
        std::fs::write(&path, &good[..good.len() - 1]).expect("written");
        assert!(Journal::open(folder.path()).is_ok(), "a torn line whose text looks like another's beginning");
    }

    #[test]
    fn a_write_that_was_taken_back_is_forgotten() {
        let folder = folder();
        let path = folder.path().join("journal.jsonl");
        let mut journal = Journal::create(folder.path()).expect("created");
        append(&mut journal, Event::Begun { databases: 3 });
        let length = std::fs::metadata(&path).expect("there").len();
        append(&mut journal, Event::Stopped { who: "a test".into(), reason: None });
        let mut other = Journal::open(folder.path()).expect("opened");
        assert!(other.state().stop().is_some());
        OpenOptions::new().write(true).open(&path).expect("opened").set_len(length).expect("cut");
        assert!(other.refresh().expect("read").stop().is_none());
    }

    #[test]
    fn what_the_state_does_not_allow_is_never_written() {
        let folder = folder();
        let mut journal = Journal::create(folder.path()).expect("created");
        let error = journal
            .append::<Error>(Durability::Lazy, |_, _| Ok(vec![Event::Published]))
            .expect_err("nothing was begun");
        assert_eq!(error.exit_code(), ExitCode::Failed);
        assert_eq!(std::fs::read(folder.path().join("journal.jsonl")).expect("read"), b"");
    }
}
