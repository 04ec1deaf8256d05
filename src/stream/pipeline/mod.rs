//! The pipeline: one thread reads and verifies, one hashes, one writes, and the caller's thread hears of each file.
//!
//! The threads overlap, and small files pass in batches, so neither many files nor large ones wait for a round trip. At
//! most sixteen chunks exist at a time. The caller's thread looks for a stop while it waits: a thread that
//! is stuck in the kernel (a pipe that nobody reads, a dead disk) is left behind, not joined.

mod hash;
mod message;
mod reader;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::hash::hash;
pub use self::hash::hash_zeros;
use self::reader::{Abilities, Reader};
use self::writer::Writer;
use super::earlier::{Earlier, Stored};
use super::kept::{KeptCopy, Reached};
use super::shared::SharedFile;
use super::source::{Attributes, Got, Hole, Opened};
use super::stop::{StopToken, WATCH_INTERVAL};
use crate::error::{Error, ExitCode, Result};

/// Bytes of one chunk: large enough that a system call costs nothing beside it, small enough to stay in a cache.
pub const CHUNK_BYTES: usize = 512 * 1024;
/// Chunks in flight: 8 MiB in all, enough to cover the hiccups of one stage.
const BUFFERS: usize = 16;
/// Batches of reports that wait for the caller: whoever is held up there holds up the work, and not the memory.
const REPORT_BATCHES: usize = 64;
/// Bytes of a hole that pass as one message: a few hundredths of a second of hashing.
pub const HOLE_BYTES: u64 = 64 * 1024 * 1024;
/// Files with at least so many bytes are compared on several threads: for less they are not worth starting.
const SHARED_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Bytes of a file after which its copy can be gone on with, roughly: a hash more costs nothing beside so many.
const REACHED_EVERY_BYTES: u64 = 4 * 1024 * 1024;
/// Holes of one file that are remembered; a file with more has its holes only where its copy has them.
pub const HOLES_MAX: usize = 65_536;
/// How long threads get to see a stop before they are left behind.
const FAREWELL: Duration = Duration::from_millis(20);

/// Where jobs come from; runs on the reading thread.
pub trait Feed: Send {
    /// The next thing to read, none when nothing is left.
    fn next(&mut self) -> Result<Option<Job>>;

    /// Opens it, or opens it anew for another attempt.
    fn open(&mut self, job: &Job) -> Result<Opened>;

    /// Opens the copy of its first bytes that an earlier reading has left; none where there is none any more.
    fn copy(&mut self, _job: &Job) -> Option<Box<dyn KeptCopy>> {
        None
    }
}

/// Where bytes go; runs on the writing thread.
pub trait Sink: Send {
    /// Begins a file; an earlier attempt at it is forgotten. Where the job goes on with one, what comes first is in the sink
    /// already, and is not written again.
    fn begin(&mut self, job: &Job) -> Result<()>;

    /// Whether what was taken of the file that was begun can be gone on with once the store is synced.
    fn can_go_on(&mut self) -> bool {
        false
    }

    /// Adds a chunk to the file that was begun.
    fn write(&mut self, chunk: &[u8]) -> Result<()>;

    /// Adds so many zeros, as a hole where there can be one.
    fn skip(&mut self, bytes: u64) -> Result<()>;

    /// Takes all of the file that was begun, which is compared with an earlier version, and reads it itself: how far that
    /// came, or why the file cannot be read. `took` hears of each piece, in order. Asked only of who [`Sink::can_share`].
    fn compare(&mut self, _file: &SharedFile, _stop: &StopToken, _took: &mut dyn FnMut(Got)) -> Result<Result<u64>> {
        Err(Error::new(ExitCode::Failed, "a file was given to a sink that does not read"))
    }

    /// Ends the file that was begun; the hash is of all its bytes, where the job wants one. Says how it was stored.
    fn finish(&mut self, job: &Job, attributes: &Attributes, sha256: Option<&[u8; 32]>) -> Result<Stored>;

    /// Forgets the file that was begun.
    fn abandon(&mut self, path: &Path) -> Result<()>;

    /// Takes a directory.
    fn directory(&mut self, path: &Path, attributes: &Attributes) -> Result<()>;

    /// Takes a symbolic link.
    fn link(&mut self, path: &Path, target: &Path, attributes: &Attributes) -> Result<()>;

    /// Takes another name of the file that stands under `first`, in this sink or another one of the same session.
    fn hard_link(&mut self, path: &Path, first: &Path, attributes: &Attributes) -> Result<()>;

    /// Whether a file that was begun can be begun anew; false for a pipe.
    fn can_restart(&self) -> bool {
        true
    }

    /// Whether files that are compared block by block can be given to [`Sink::compare`].
    fn can_share(&self) -> bool {
        false
    }
}

/// One thing to read.
#[derive(Clone, Debug)]
pub struct Job {
    /// The caller's number for it.
    pub ticket: u64,
    /// Relative to the storage.
    pub path: Arc<Path>,
    /// Whether it has content.
    pub has_content: bool,
    /// What an earlier backup holds of it.
    pub earlier: Option<Arc<Earlier>>,
    /// How far an earlier reading has got, whose copy is in the sink.
    pub reached: Option<Arc<Reached>>,
    /// Whether the hash of all its content is wanted; where it is compared block by block, nobody needs it.
    pub wants_hash: bool,
}

impl Job {
    /// Whether it is compared with an earlier version block by block.
    pub fn is_compared(&self) -> bool {
        !self.wants_hash && self.earlier.as_ref().is_some_and(|earlier| earlier.blocks.is_some())
    }

    /// Something to read as a whole.
    pub fn new(ticket: u64, path: Arc<Path>, has_content: bool) -> Self {
        Self { ticket, path, has_content, earlier: None, reached: None, wants_hash: true }
    }
}

/// What the caller hears, in the order of the jobs.
#[derive(Debug)]
pub enum Report {
    /// It was read, verified, hashed and handed to the sink in full.
    Done(Box<Finished>),
    /// It could not be read; nothing of it counts.
    Failed {
        /// The caller's number.
        ticket: u64,
        /// Why.
        error: Error,
    },
    /// It is copied up to here, and can be gone on with once that is synced.
    Reached {
        /// The caller's number.
        ticket: u64,
        /// How far.
        reached: Box<Reached>,
    },
    /// It changed while it was read and is read again.
    Repeating {
        /// Relative to the storage.
        path: Arc<Path>,
        /// In which respect it changed.
        what: String,
        /// It is one that lives: that is to be expected.
        is_usual: bool,
    },
}

/// An entry that was read in full.
#[derive(Debug)]
pub struct Finished {
    /// The caller's number.
    pub ticket: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// How the sink stored it.
    pub stored: Stored,
    /// What an earlier backup holds of it, as the job said.
    pub earlier: Option<Arc<Earlier>>,
    /// SHA-256 of the content; none for what has no content, or where the job wanted none.
    pub sha256: Option<[u8; 32]>,
    /// Where a symbolic link points.
    pub target: Option<PathBuf>,
    /// The earlier name of the same file.
    pub hard_link: Option<PathBuf>,
    /// The holes, in order; none where there are more than [`HOLES_MAX`].
    pub holes: Option<Vec<Hole>>,
    /// What is known beside the content.
    pub attributes: Attributes,
}

/// How far the sink is; shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Gauge {
    bytes: AtomicU64,
    file: Mutex<Option<Arc<Path>>>,
}

impl Gauge {
    /// Bytes handed to the sink so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The file that is being written.
    pub fn file(&self) -> Option<Arc<Path>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begin(&self, path: &Arc<Path>) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(path));
    }
}

/// How failures of single files are treated.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Go on with the next file after one that could not be read.
    pub keep_going: bool,
    /// How often a file that changes while it is read is read again.
    pub retries: u32,
}

/// Reads every job of `feed` into `sink`. Reports come on the caller's thread; so does `tick`, every 50 ms or sooner.
///
/// Fails with the stop when the token fires, with the sink's error, with the feed's, or with the caller's own. A file
/// that cannot be read is a report; unless the policy says to keep going, it also ends the run (with success: the report
/// has told).
pub fn run(
    feed: impl Feed + 'static,
    sink: impl Sink + 'static,
    stop: &StopToken,
    gauge: &Arc<Gauge>,
    policy: Policy,
    report: &mut dyn FnMut(Report) -> Result<()>,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let (to_hash, from_source) = mpsc::sync_channel(BUFFERS);
    let (to_sink, from_hash) = mpsc::sync_channel(BUFFERS);
    let (to_caller, reports) = mpsc::sync_channel(REPORT_BATCHES);
    let (give_back, buffers) = mpsc::channel();
    let abilities = Abilities { restart: sink.can_restart(), share: sink.can_share() };
    let reader = Reader::new(stop.clone(), policy, abilities, to_hash, buffers, to_caller.clone());
    let writer = Writer::new(sink, stop.clone(), Arc::clone(gauge), to_caller, give_back);
    let threads = [
        spawn("source", move || reader.run(feed))?,
        spawn("hash", move || hash(&from_source, &to_sink))?,
        spawn("sink", move || writer.run(&from_hash))?,
    ];
    let result = listen(&reports, stop, report, tick);
    drop(reports);
    if result.is_err() {
        leave(&threads);
    } else {
        for thread in threads {
            // A thread that panicked has told nothing: what it was at must not count.
            thread.join().map_err(|_| Error::new(ExitCode::Failed, "a reading thread failed; this is a bug"))?;
        }
    }
    result
}

/// What the threads tell the caller.
enum News {
    Reports(Vec<Report>),
    /// A thread had to give up.
    Broken(Error),
}

fn listen(
    news: &Receiver<News>,
    stop: &StopToken,
    report: &mut dyn FnMut(Report) -> Result<()>,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let mut ticked = Instant::now();
    loop {
        match news.recv_timeout(WATCH_INTERVAL) {
            Ok(News::Reports(reports)) => reports.into_iter().try_for_each(&mut *report)?,
            Ok(News::Broken(error)) => {
                // A stop makes the other stages fail too; the stop is the reason.
                stop.check()?;
                return Err(error);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return stop.check(),
        }
        if ticked.elapsed() >= WATCH_INTERVAL {
            stop.check()?;
            tick()?;
            ticked = Instant::now();
        }
    }
}

/// Gives threads a moment to see that it is over; whoever is stuck in the kernel stays behind.
fn leave(threads: &[JoinHandle<()>]) {
    let begun = Instant::now();
    while begun.elapsed() < FAREWELL && !threads.iter().all(JoinHandle::is_finished) {
        thread::sleep(Duration::from_millis(1));
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(work).map_err(|e| Error::new(ExitCode::Failed, format!("cannot start a thread: {e}")))
}
