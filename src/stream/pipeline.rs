//! The pipeline: one thread reads and verifies, one hashes, one writes, and the caller's thread hears of each file.
//!
//! The threads overlap, and small files pass in batches, so neither many files nor large ones wait for a round trip. At
//! most sixteen chunks exist at a time. The caller's thread looks for a stop while it waits: a thread that
//! is stuck in the kernel (a pipe that nobody reads, a dead disk) is left behind, not joined.

use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::buffer::Buffer;
use super::source::{Attributes, Got, Hole, Opened, Settled, Source};
use super::stop::{StopToken, WATCH_INTERVAL};
use crate::error::{Error, ExitCode, Result};

/// Bytes of one chunk: large enough that a system call costs nothing beside it, small enough to stay in a cache.
pub const CHUNK_BYTES: usize = 512 * 1024;
/// Chunks in flight: 8 MiB in all, enough to cover the hiccups of one stage.
const BUFFERS: usize = 16;
/// A file of at most so many bytes passes in a batch with others.
const SMALL_BYTES: usize = 64 * 1024;
/// Messages of a batch, and roughly the bytes in it: a thread that is woken finds something to do.
const BATCH_MESSAGES: usize = 64;
const BATCH_BYTES: usize = 256 * 1024;
/// Batches of reports that wait for the caller: whoever is held up there holds up the work, and not the memory.
const REPORT_BATCHES: usize = 64;
/// How long a batch waits for more.
const BATCH_WAIT: Duration = Duration::from_millis(2);
/// Bytes of a hole that pass as one message: a few hundredths of a second of hashing.
pub const HOLE_BYTES: u64 = 64 * 1024 * 1024;
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
}

/// Where bytes go; runs on the writing thread.
pub trait Sink: Send {
    /// Begins a file; an earlier attempt at it is forgotten.
    fn begin(&mut self, path: &Path) -> Result<()>;

    /// Adds a chunk to the file that was begun.
    fn write(&mut self, chunk: &[u8]) -> Result<()>;

    /// Adds so many zeros, as a hole where there can be one.
    fn skip(&mut self, bytes: u64) -> Result<()>;

    /// Ends the file that was begun; the hash is of all its bytes.
    fn finish(&mut self, path: &Path, attributes: &Attributes, sha256: &[u8; 32]) -> Result<()>;

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
    /// SHA-256 of the content; none for what has no content.
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
    let reader = Reader {
        stop: stop.clone(),
        policy,
        restartable: sink.can_restart(),
        out: to_hash,
        batch: Batch::default(),
        buffers,
        spare: None,
        allocated: 0,
        reports: to_caller.clone(),
    };
    let writer = Writer { sink, stop: stop.clone(), gauge: Arc::clone(gauge), reports: to_caller, give_back };
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

/// What flows from stage to stage.
enum Message {
    Piece(Piece),
    Directory(Job, Attributes),
    Link(Job, Attributes, PathBuf),
    HardLink(Job, Attributes, PathBuf),
    Failed(Job, Error),
}

/// A chunk of a file; the first one begins it, the last one ends it, and a small file is one piece.
struct Piece {
    job: Job,
    begins: bool,
    bytes: Bytes,
    /// Zeros that follow the bytes.
    hole: u64,
    end: Option<End>,
}

impl Piece {
    /// A piece without bytes.
    fn empty(job: &Job, begins: bool) -> Self {
        Self { job: job.clone(), begins, bytes: Bytes::None, hole: 0, end: None }
    }
}

/// The bytes of a piece.
enum Bytes {
    None,
    /// The first so many of a buffer, which goes back when they are written.
    Pooled(Buffer, usize),
    /// All of a small file.
    Own(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Pooled(buffer, length) => buffer.filled(*length),
            Self::Own(bytes) => bytes,
        }
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly every file ends well; a box for each would be one more allocation"
)]
enum End {
    Still(Attributes, Option<[u8; 32]>),
    /// The file was begun but cannot be finished.
    Failed(Error),
}

/// The stage behind has gone; it or the caller has told why.
struct Gone;

struct Reader {
    stop: StopToken,
    policy: Policy,
    restartable: bool,
    out: SyncSender<Vec<Message>>,
    batch: Batch,
    buffers: Receiver<Buffer>,
    /// A buffer that came to nothing.
    spare: Option<Buffer>,
    allocated: usize,
    reports: SyncSender<News>,
}

/// Messages that wait for company.
struct Batch {
    messages: Vec<Message>,
    bytes: usize,
    begun: Instant,
}

impl Default for Batch {
    fn default() -> Self {
        Self { messages: Vec::new(), bytes: 0, begun: Instant::now() }
    }
}

impl Reader {
    fn run(mut self, feed: impl Feed) {
        self.work(feed);
        let _ = self.flush(); // whoever is gone has told why
    }

    fn work(&mut self, mut feed: impl Feed) {
        loop {
            if self.batch.begun.elapsed() > BATCH_WAIT && self.flush().is_err() {
                return;
            }
            let job = match self.stop.check().and_then(|()| feed.next()) {
                Ok(Some(job)) => job,
                Ok(None) => return,
                Err(error) => {
                    let _ = self.reports.send(News::Broken(error)); // without a caller nobody needs to know
                    return;
                }
            };
            match self.read(&mut feed, &job) {
                Ok(true) => {}
                Ok(false) if self.policy.keep_going => {}
                Ok(false) | Err(Gone) => return,
            }
        }
    }

    /// Reads one job into the pipeline, again if it changes meanwhile; false where it failed.
    fn read(&mut self, feed: &mut impl Feed, job: &Job) -> Result<bool, Gone> {
        for attempt in 0.. {
            let is_last = attempt >= self.policy.retries || !self.restartable;
            let source = match feed.open(job) {
                Ok(Opened::Data(mut source)) if is_last => match source.insist() {
                    Ok(()) => source,
                    Err(_) if self.stop.cause().is_some() => return Err(Gone),
                    Err(error) => {
                        self.send(Message::Failed(job.clone(), error))?;
                        return Ok(false);
                    }
                },
                Ok(Opened::Data(source)) => source,
                Ok(Opened::Directory(attributes)) => {
                    self.send(Message::Directory(job.clone(), attributes))?;
                    return Ok(true);
                }
                Ok(Opened::Link(attributes, target)) => {
                    self.send(Message::Link(job.clone(), attributes, target))?;
                    return Ok(true);
                }
                Ok(Opened::HardLink(attributes, first)) => {
                    self.send(Message::HardLink(job.clone(), attributes, first))?;
                    return Ok(true);
                }
                Err(error) => {
                    self.send(Message::Failed(job.clone(), error))?;
                    return Ok(false);
                }
            };
            let Some(what) = self.stream(source, job)? else { return Ok(true) };
            let (what, is_usual) = match what {
                Trouble::Failed => return Ok(false),
                Trouble::Changed { what, sent, is_usual } => {
                    if attempt >= self.policy.retries || (sent && !self.restartable) {
                        let error = changed(job, &what, attempt);
                        let message = if sent {
                            Message::Piece(Piece { end: Some(End::Failed(error)), ..Piece::empty(job, false) })
                        } else {
                            Message::Failed(job.clone(), error)
                        };
                        self.send(message)?;
                        return Ok(false);
                    }
                    (what, is_usual)
                }
            };
            self.flush()?;
            let repeating = Report::Repeating { path: Arc::clone(&job.path), what, is_usual };
            let _ = self.reports.send(News::Reports(vec![repeating])); // news only
            let pause = Duration::from_millis(100) * (attempt + 1);
            self.stop.sleep(pause).map_err(|_| Gone)?;
        }
        Ok(false)
    }

    /// Streams one attempt; what went wrong, if anything did.
    fn stream(&mut self, mut source: Box<dyn Source>, job: &Job) -> Result<Option<Trouble>, Gone> {
        let mut sent = false;
        loop {
            let mut buffer = self.buffer()?;
            let (length, then) = match self.fill(&mut *source, buffer.as_mut_slice()) {
                Ok(filled) => filled,
                Err(error) => {
                    if self.stop.cause().is_some() {
                        return Err(Gone);
                    }
                    let end = Some(End::Failed(error));
                    self.spare = Some(buffer);
                    self.send(Message::Piece(Piece { end, ..Piece::empty(job, !sent) }))?;
                    return Ok(Some(Trouble::Failed));
                }
            };
            if let Then::More(mut hole) = then {
                let first = hole.min(HOLE_BYTES);
                let bytes = Bytes::Pooled(buffer, length);
                let piece = Piece { bytes, hole: first, ..Piece::empty(job, !sent) };
                self.send(Message::Piece(piece))?;
                hole -= first;
                while hole > 0 {
                    self.stop.check().map_err(|_| Gone)?;
                    let next = hole.min(HOLE_BYTES);
                    self.send(Message::Piece(Piece { hole: next, ..Piece::empty(job, false) }))?;
                    hole -= next;
                }
                sent = true;
                continue;
            }
            let end = match source.finish() {
                Ok(Settled::Still(attributes)) => End::Still(attributes, None),
                Ok(Settled::Changed(what)) => {
                    self.spare = Some(buffer);
                    return Ok(Some(Trouble::Changed { what, sent, is_usual: false }));
                }
                Ok(Settled::Disturbed(what)) => {
                    self.spare = Some(buffer);
                    return Ok(Some(Trouble::Changed { what, sent, is_usual: true }));
                }
                Err(error) => End::Failed(error),
            };
            let failed = matches!(end, End::Failed(_));
            let bytes = if !sent && length <= SMALL_BYTES {
                let bytes = buffer.filled(length).to_vec();
                self.spare = Some(buffer);
                Bytes::Own(bytes)
            } else {
                Bytes::Pooled(buffer, length)
            };
            let piece = Piece { bytes, end: Some(end), ..Piece::empty(job, !sent) };
            self.send(Message::Piece(piece))?;
            return Ok(failed.then_some(Trouble::Failed));
        }
    }

    /// Fills a buffer as far as the data goes, and says what follows.
    fn fill(&self, source: &mut dyn Source, buffer: &mut [u8]) -> Result<(usize, Then)> {
        let mut filled = 0;
        while filled < buffer.len() {
            self.stop.check()?;
            match source.next(&mut buffer[filled..])? {
                Got::Data(bytes) => filled += bytes,
                Got::Hole(bytes) => return Ok((filled, Then::More(bytes))),
                Got::End => return Ok((filled, Then::End)),
            }
        }
        Ok((filled, Then::More(0)))
    }

    fn buffer(&mut self) -> Result<Buffer, Gone> {
        if let Some(buffer) = self.spare.take() {
            return Ok(buffer);
        }
        if let Ok(buffer) = self.buffers.try_recv() {
            return Ok(buffer);
        }
        if self.allocated < BUFFERS {
            self.allocated += 1;
            return Ok(Buffer::new(CHUNK_BYTES));
        }
        self.flush()?; // what waits may hold the buffer that we wait for
        self.buffers.recv().map_err(|_| Gone)
    }

    /// Hands a message on, small ones in batches.
    fn send(&mut self, message: Message) -> Result<(), Gone> {
        let weight = match &message {
            Message::Piece(Piece { bytes: Bytes::Own(bytes), end: Some(End::Still(attributes, _)), .. }) => {
                bytes.len() + weight_of(attributes)
            }
            Message::Directory(_, attributes) | Message::Link(_, attributes, _) => weight_of(attributes),
            Message::HardLink(..) => 0,
            Message::Piece(_) | Message::Failed(..) => BATCH_BYTES, // nobody waits for these
        };
        if self.batch.messages.is_empty() {
            self.batch.begun = Instant::now();
        }
        self.batch.messages.push(message);
        self.batch.bytes += weight;
        if self.batch.bytes >= BATCH_BYTES || self.batch.messages.len() >= BATCH_MESSAGES {
            return self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Gone> {
        let Batch { messages, .. } = mem::take(&mut self.batch);
        if messages.is_empty() { Ok(()) } else { self.out.send(messages).map_err(|_| Gone) }
    }
}

/// What follows the bytes of a buffer.
enum Then {
    /// A hole of so many bytes, none as well, and then the rest of the file.
    More(u64),
    /// Nothing.
    End,
}

fn weight_of(attributes: &Attributes) -> usize {
    attributes.xattrs.iter().map(|xattr| xattr.value.len()).sum()
}

enum Trouble {
    /// It was told downstream already.
    Failed,
    /// It did not hold still; whether a part of it was sent downstream, and whether that is to be expected.
    Changed { what: String, sent: bool, is_usual: bool },
}

fn changed(job: &Job, what: &str, retries: u32) -> Error {
    let path = crate::error::printable(&*job.path);
    let times = match retries {
        0 => String::new(),
        1 => ", also when it was read again".to_owned(),
        n => format!(", also when it was read {n} times more"),
    };
    Error::new(ExitCode::Unfit, format!("{path} changed while it was read{times}: {what}"))
        .file(&*job.path)
        .hint("Back up while nothing writes to it, or from a snapshot.")
}

fn hash(input: &Receiver<Vec<Message>>, output: &SyncSender<Vec<Message>>) {
    let mut hasher = Sha256::new();
    for mut batch in input {
        for message in &mut batch {
            if let Message::Piece(piece) = message {
                if piece.begins {
                    hasher = Sha256::new();
                }
                hasher.update(piece.bytes.as_slice());
                hash_zeros(&mut hasher, piece.hole);
                if let Some(End::Still(_, digest)) = &mut piece.end {
                    *digest = Some(hasher.finalize_reset().into());
                }
            }
        }
        if output.send(batch).is_err() {
            return;
        }
    }
}

/// Feeds so many zeros to a hash.
pub fn hash_zeros(hasher: &mut Sha256, bytes: u64) {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        hasher.update(&ZEROS[..now]);
        left -= now as u64;
    }
}

struct Writer<S> {
    sink: S,
    stop: StopToken,
    gauge: Arc<Gauge>,
    reports: SyncSender<News>,
    give_back: Sender<Buffer>,
}

/// What the writer knows of the file that it is at.
#[derive(Default)]
struct Progress {
    bytes: u64,
    holes: Option<Vec<Hole>>,
}

impl Progress {
    /// Adds a hole; one that goes on where the last one ended makes that longer.
    fn add_hole(&mut self, bytes: u64) {
        let begin = self.bytes;
        self.bytes += bytes;
        let Some(holes) = &mut self.holes else { return };
        let known = holes.len();
        match holes.last_mut() {
            Some(Hole(at, length)) if *at + *length == begin => *length += bytes,
            _ if known < HOLES_MAX => holes.push(Hole(begin, bytes)),
            _ => self.holes = None,
        }
    }
}

impl<S: Sink> Writer<S> {
    fn run(mut self, input: &Receiver<Vec<Message>>) {
        let mut progress = Progress::default();
        for batch in input {
            let mut reports = Vec::new();
            let mut broken = None;
            for message in batch {
                match self.stop.check().and_then(|()| self.take(message, &mut progress)) {
                    Ok(report) => reports.extend(report),
                    Err(error) => {
                        broken = Some(error);
                        break;
                    }
                }
            }
            if !reports.is_empty() && self.reports.send(News::Reports(reports)).is_err() {
                return;
            }
            if let Some(error) = broken {
                let _ = self.reports.send(News::Broken(error)); // without a caller nobody needs to know
                return;
            }
        }
    }

    fn take(&mut self, message: Message, progress: &mut Progress) -> Result<Option<Report>> {
        let without_content = |job: &Job, attributes| Finished {
            ticket: job.ticket,
            bytes: 0,
            sha256: None,
            target: None,
            hard_link: None,
            holes: Some(Vec::new()),
            attributes,
        };
        match message {
            Message::Directory(job, attributes) => {
                self.sink.directory(&job.path, &attributes)?;
                Ok(Some(Report::Done(Box::new(without_content(&job, attributes)))))
            }
            Message::Link(job, attributes, target) => {
                self.sink.link(&job.path, &target, &attributes)?;
                Ok(Some(Report::Done(Box::new(Finished { target: Some(target), ..without_content(&job, attributes) }))))
            }
            Message::HardLink(job, attributes, first) => {
                self.sink.hard_link(&job.path, &first, &attributes)?;
                Ok(Some(Report::Done(Box::new(Finished {
                    hard_link: Some(first),
                    ..without_content(&job, attributes)
                }))))
            }
            Message::Failed(job, error) => {
                if job.has_content {
                    self.sink.abandon(&job.path)?; // an earlier attempt may have left something
                }
                Ok(Some(Report::Failed { ticket: job.ticket, error }))
            }
            Message::Piece(piece) => self.take_piece(piece, progress),
        }
    }

    fn take_piece(&mut self, piece: Piece, progress: &mut Progress) -> Result<Option<Report>> {
        let job = &piece.job;
        if piece.begins {
            self.gauge.begin(&job.path);
            self.gauge.bytes.fetch_sub(progress.bytes, Ordering::Relaxed); // an attempt that came to nothing
            *progress = Progress { bytes: 0, holes: Some(Vec::new()) };
            self.sink.begin(&job.path)?;
        }
        let chunk = piece.bytes.as_slice();
        if !chunk.is_empty() {
            self.sink.write(chunk)?;
            progress.bytes += chunk.len() as u64;
        }
        if piece.hole > 0 {
            self.sink.skip(piece.hole)?;
            progress.add_hole(piece.hole);
        }
        self.gauge.bytes.fetch_add(chunk.len() as u64 + piece.hole, Ordering::Relaxed);
        if let Bytes::Pooled(buffer, _) = piece.bytes {
            let _ = self.give_back.send(buffer); // the reader may have finished
        }
        match piece.end {
            None => Ok(None),
            Some(End::Still(attributes, sha256)) => {
                let digest = sha256.ok_or_else(|| Error::new(ExitCode::Failed, "a file was not hashed"))?;
                self.sink.finish(&job.path, &attributes, &digest)?;
                let Progress { bytes, holes } = mem::take(progress);
                let ticket = job.ticket;
                let done = Finished { ticket, bytes, sha256, target: None, hard_link: None, holes, attributes };
                Ok(Some(Report::Done(Box::new(done))))
            }
            Some(End::Failed(error)) => {
                self.gauge.bytes.fetch_sub(mem::take(progress).bytes, Ordering::Relaxed);
                self.sink.abandon(&job.path)?;
                Ok(Some(Report::Failed { ticket: job.ticket, error }))
            }
        }
    }
}
