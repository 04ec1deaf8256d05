//! What a reader records of the entries it has read, and the syncs that prove it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::Entry;
use crate::error::{Error, ExitCode, Result, printable};
use crate::repository::file_list::{FileLine, ReadRecord};
use crate::repository::read_records::{HalfRecord, RecordFolder, RecordLine};
use crate::repository::store::{Store, Writing};
use crate::roots::Roots;
use crate::session::event::Phase;
use crate::stream::pipeline::{Finished, Gauge};

/// Data that waits for a sync at most, roughly: the sync runs beside the copy, so that the last one is short.
const SYNC_EVERY_BYTES: u64 = 256 * 1024 * 1024;
/// The longest that proven data waits for its sync.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// Records that wait in memory, in bytes, roughly.
const PENDING_BYTES: usize = 32 * 1024;
/// Space that is set aside for the last records before a disk is full, in bytes.
const SPARE_BYTES: usize = 2 * PENDING_BYTES;

/// Space for the last records of a reader, for when there is no other; it goes with the partial.
pub struct Spare {
    home: RecordFolder,
    path: PathBuf,
}

impl Spare {
    /// Sets some aside; none where there is none.
    pub fn create(home: &RecordFolder, reader: u32) -> Option<Self> {
        let spare = Self { home: home.clone(), path: home.folder.join(format!("{reader}.spare")) };
        let made = home.store.create(&spare.path).and_then(|mut out| {
            out.write(&vec![0; SPARE_BYTES])?;
            out.finish(None)
        });
        if made.is_err() {
            let _ = spare.give_back(); // whoever writes next says what is wrong
        }
        made.is_ok().then_some(spare)
    }

    /// Gives it back.
    pub fn give_back(&self) -> Result<()> {
        self.home.store.remove(&self.path)
    }
}

/// The file in which a reader records what it has read.
pub struct RecordFile {
    home: RecordFolder,
    reader: u32,
    out: Box<dyn Writing>,
    roots: Roots,
    pending: Vec<u8>,
    written: u64,
    files: u64,
    bytes: u64,
    /// Lines of all kinds, but for those that say what is proven, and how many of them are proven.
    lines: u64,
    proven_lines: u64,
    /// How far the entry is that is being read; recorded when a sync starts that will prove it.
    half: Option<HalfRecord>,
}

impl RecordFile {
    /// Begins the record file of a reader of a session with these further roots.
    pub fn create(home: &RecordFolder, reader: u32, roots: Roots) -> Result<Self> {
        let out = home.store.create(&home.file(reader))?;
        Ok(Self {
            home: home.clone(),
            reader,
            out,
            roots,
            pending: Vec::new(),
            written: 0,
            files: 0,
            bytes: 0,
            lines: 0,
            proven_lines: 0,
            half: None,
        })
    }

    /// Records an entry that was read.
    pub fn add(&mut self, phase: Phase, entry: &Entry, finished: &Finished) -> Result<()> {
        let line = FileLine::new(entry, finished, &self.roots).ok_or_else(|| below_no_root(&entry.path))?;
        let record = ReadRecord {
            phase,
            index: finished.ticket,
            stamp: finished.attributes.stamp,
            mode: finished.attributes.mode,
            began_ns: None,
            line,
        };
        self.add_record(&record, finished.bytes)
    }

    /// Adds a record of an entry with so many bytes of content.
    pub fn add_record(&mut self, record: &ReadRecord, bytes: u64) -> Result<()> {
        RecordLine::write_read(&mut self.pending, record);
        self.files += 1;
        self.lines += 1;
        self.bytes += bytes;
        self.flush_if_much()
    }

    /// Takes note how far the entry is that is being read; of none, once it is done or begun anew.
    pub fn note_half(&mut self, half: Option<HalfRecord>) {
        self.half = half;
    }

    /// Records that, before a sync starts.
    pub fn record_half(&mut self) -> Result<()> {
        self.half.take().map_or(Ok(()), |half| self.add_half(&half))
    }

    /// Records how far an entry is read that is not done.
    pub fn add_half(&mut self, half: &HalfRecord) -> Result<()> {
        RecordLine::write_half(&mut self.pending, half);
        self.lines += 1;
        self.flush_if_much()
    }

    fn flush_if_much(&mut self) -> Result<()> {
        if self.pending.len() > PENDING_BYTES { self.flush() } else { Ok(()) }
    }

    /// Hands everything recorded so far to the store.
    pub fn flush(&mut self) -> Result<()> {
        self.out.write(&self.pending)?;
        self.out.flush()?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Goes on behind what was written whole, after a write that was not.
    pub fn begin_again(&mut self) -> Result<()> {
        self.out = self.home.store.go_on(&self.home.file(self.reader), self.written)?;
        Ok(())
    }

    /// Whether something was recorded that no sync has proven.
    pub fn has_unproven(&self) -> bool {
        self.lines > self.proven_lines || self.half.is_some()
    }

    /// Says in the file itself that a sync has proven so many bytes of it, for a session that takes over from this one.
    pub fn note_proven(&mut self, point: &Point) -> Result<()> {
        RecordLine::write_proven(&mut self.pending, point.records);
        self.flush()?;
        self.proven_lines = point.lines;
        Ok(())
    }

    /// What a sync that starts now will prove.
    pub fn point(&self, complete: Vec<u64>) -> Point {
        Point { records: self.written, files: self.files, bytes: self.bytes, lines: self.lines, complete }
    }
}

/// The error of an entry that a damaged list names.
pub fn below_no_root(path: &Path) -> Error {
    let message = format!("{} lies in no directory that this session reads", printable(path));
    Error::new(ExitCode::Failed, message).file(path)
}

/// What a sync proves: a length of the record file, what it amounts to, and the batches that are complete with it.
#[derive(Clone, Debug)]
pub struct Point {
    /// Bytes of the record file.
    pub records: u64,
    /// Entries recorded in them.
    pub files: u64,
    /// Bytes of data that those entries hold.
    pub bytes: u64,
    lines: u64,
    /// First indices of the batches that are complete with it.
    pub complete: Vec<u64>,
}

/// Syncs that run beside the copy, one at a time.
pub struct Syncs {
    underway: Option<(Receiver<Result<()>>, Point)>,
    started: Instant,
    bytes: u64,
}

impl Default for Syncs {
    fn default() -> Self {
        Self { underway: None, started: Instant::now(), bytes: 0 }
    }
}

impl Syncs {
    /// Whether enough waits for a sync, and none runs.
    pub fn is_due(&self, out: &RecordFile, gauge: &Gauge) -> bool {
        let waiting = gauge.bytes().saturating_sub(self.bytes);
        self.underway.is_none()
            && (waiting >= SYNC_EVERY_BYTES || (self.started.elapsed() >= SYNC_EVERY && out.has_unproven()))
    }

    /// Starts a sync that will prove `point`; `bytes` is what the gauge says now.
    pub fn start(&mut self, store: &Arc<dyn Store>, point: Point, bytes: u64) -> Result<()> {
        let (send, done) = mpsc::channel();
        let store = Arc::clone(store);
        let work = move || {
            let _ = send.send(store.sync()); // nobody listens after a stop
        };
        let spawned = thread::Builder::new().name("sync".to_owned()).spawn(work);
        spawned.map_err(|e| Error::new(ExitCode::Failed, format!("cannot start a thread: {e}")))?;
        (self.underway, self.started, self.bytes) = (Some((done, point)), Instant::now(), bytes);
        Ok(())
    }

    /// Whether a sync runs.
    pub fn is_underway(&self) -> bool {
        self.underway.is_some()
    }

    /// What the sync that has ended since the last look has proven.
    pub fn finished(&mut self) -> Result<Option<Point>> {
        let Some((done, _)) = &self.underway else { return Ok(None) };
        match done.try_recv() {
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Error::new(ExitCode::Failed, "the sync ended without an answer")),
            Ok(result) => {
                result?;
                self.started = Instant::now();
                Ok(self.underway.take().map(|(_, point)| point))
            }
        }
    }
}
