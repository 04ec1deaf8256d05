//! The first stage: reads one file after the other, again where one changes meanwhile, and hands small ones on in batches.

use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use super::message::{Bytes, End, Message, Piece, Shared};
use super::{BUFFERS, CHUNK_BYTES, Feed, HOLE_BYTES, Job, News, Policy, REACHED_EVERY_BYTES, Report, SHARED_BYTES_MIN};
use crate::error::{Error, ExitCode, Result};
use crate::stream::buffer::Buffer;
use crate::stream::kept::{Comparing, Reached};
use crate::stream::shared::SharedFile;
use crate::stream::source::{Attributes, Got, Opened, Settled, Source, Stamp};
use crate::stream::stop::StopToken;

/// A file of at most so many bytes passes in a batch with others.
const SMALL_BYTES: usize = 64 * 1024;
/// Messages of a batch, and roughly the bytes in it: a thread that is woken finds something to do.
const BATCH_MESSAGES: usize = 64;
const BATCH_BYTES: usize = 256 * 1024;
/// How long a batch waits for more.
const BATCH_WAIT: Duration = Duration::from_millis(2);

/// Reads jobs; the first stage.
pub(super) struct Reader {
    stop: StopToken,
    policy: Policy,
    abilities: Abilities,
    out: SyncSender<Vec<Message>>,
    batch: Batch,
    buffers: Receiver<Buffer>,
    /// A buffer that came to nothing.
    spare: Option<Buffer>,
    allocated: usize,
    reports: SyncSender<News>,
}

/// What the sink can do.
#[derive(Clone, Copy)]
pub(super) struct Abilities {
    /// A file whose beginning was sent can be begun anew.
    pub(super) restart: bool,
    /// It reads files by itself that are compared.
    pub(super) share: bool,
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
    pub(super) fn new(
        stop: StopToken,
        policy: Policy,
        abilities: Abilities,
        out: SyncSender<Vec<Message>>,
        buffers: Receiver<Buffer>,
        reports: SyncSender<News>,
    ) -> Self {
        Self { stop, policy, abilities, out, batch: Batch::default(), buffers, spare: None, allocated: 0, reports }
    }

    /// Works until the feed ends, a stage behind goes or a stop comes.
    pub(super) fn run(mut self, feed: impl Feed) {
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
        let mut job = job.clone();
        let mut attempt = 0;
        loop {
            let is_last = attempt >= self.policy.retries || !self.abilities.restart;
            let source = match feed.open(&job) {
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
            let mut source = source;
            if let Some(reached) = &job.reached
                && !goes_on(feed, &mut *source, &job, reached)
            {
                job.reached = None;
                self.tell(&job, "it is not what it was when it was begun".to_owned(), true)?;
            }
            let Some(what) = self.stream(source, &job)? else { return Ok(true) };
            let (what, is_usual) = match what {
                Trouble::Failed => return Ok(false),
                Trouble::Kept => {
                    job.reached = None;
                    self.tell(&job, "the beginning of its copy is not what was read".to_owned(), true)?;
                    continue;
                }
                Trouble::Changed { what, sent, is_usual } => {
                    if attempt >= self.policy.retries || (sent && !self.abilities.restart) {
                        let error = changed(&job, &what, attempt);
                        let message = if sent {
                            Message::Piece(Piece { end: Some(End::Failed(error)), ..Piece::empty(&job, false) })
                        } else {
                            Message::Failed(job.clone(), error)
                        };
                        self.send(message)?;
                        return Ok(false);
                    }
                    (what, is_usual)
                }
            };
            self.tell(&job, what, is_usual)?;
            // Whatever was copied is of a file that is another one by now.
            job.reached = None;
            attempt += 1;
            self.stop.sleep(Duration::from_millis(100) * attempt).map_err(|_| Gone)?;
        }
    }

    /// Tells that a file is read again, and why.
    fn tell(&mut self, job: &Job, what: String, is_usual: bool) -> Result<(), Gone> {
        self.flush()?;
        let repeating = Report::Repeating { path: Arc::clone(&job.path), what, is_usual };
        let _ = self.reports.send(News::Reports(vec![repeating])); // news only
        Ok(())
    }

    /// Streams one attempt; what went wrong, if anything did.
    fn stream(&mut self, mut source: Box<dyn Source>, job: &Job) -> Result<Option<Trouble>, Gone> {
        if let Some(file) = self.to_share(&*source, job) {
            return self.share(source, file, job);
        }
        let mut sent = false;
        let mut comparing = job.reached.as_deref().map(Comparing::new);
        let mut marks = Marks::new(job, &*source, self.abilities.restart);
        loop {
            let mut buffer = self.buffer()?;
            let (length, then) = match self.fill(&mut *source, buffer.as_mut_slice()) {
                Ok(filled) => filled,
                Err(error) => {
                    if self.stop.cause().is_some() {
                        return Err(Gone);
                    }
                    if comparing.as_ref().is_some_and(Comparing::is_underway) {
                        self.spare = Some(buffer);
                        return Ok(Some(Trouble::Kept));
                    }
                    let end = Some(End::Failed(error));
                    self.spare = Some(buffer);
                    self.send(Message::Piece(Piece { end, ..Piece::empty(job, !sent) }))?;
                    return Ok(Some(Trouble::Failed));
                }
            };
            if let Some(comparing) = &mut comparing {
                let hole = if let Then::More(hole) = then { hole } else { 0 };
                let is_same = comparing.is_same(buffer.filled(length), hole);
                if !is_same || (matches!(then, Then::End) && comparing.is_underway()) {
                    self.spare = Some(buffer);
                    return Ok(Some(Trouble::Kept));
                }
            }
            if let Then::More(mut hole) = then {
                let first = hole.min(HOLE_BYTES);
                let bytes = Bytes::Pooled(buffer, length);
                let piece = Piece { bytes, hole: first, ..Piece::empty(job, !sent) };
                self.send(Message::Piece(piece))?;
                self.mark(job, &mut marks, length as u64 + first)?;
                hole -= first;
                while hole > 0 {
                    self.stop.check().map_err(|_| Gone)?;
                    let next = hole.min(HOLE_BYTES);
                    self.send(Message::Piece(Piece { hole: next, ..Piece::empty(job, false) }))?;
                    self.mark(job, &mut marks, next)?;
                    hole -= next;
                }
                sent = true;
                continue;
            }
            let end = match ended(source, sent) {
                Ok(end) => end,
                Err(changed) => {
                    self.spare = Some(buffer);
                    return Ok(Some(changed));
                }
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

    /// The file, where the sink should read it by itself.
    fn to_share(&self, source: &dyn Source, job: &Job) -> Option<SharedFile> {
        let can_share = self.abilities.share && job.is_compared();
        let file = if can_share { source.share() } else { None };
        file.filter(|file| file.size() >= SHARED_BYTES_MIN)
    }

    /// Lets the sink read one attempt; what went wrong, if anything did.
    fn share(&mut self, mut source: Box<dyn Source>, file: SharedFile, job: &Job) -> Result<Option<Trouble>, Gone> {
        let (answer, read) = mpsc::sync_channel(1);
        self.send(Message::Shared(Shared { job: job.clone(), file, answer }))?;
        self.flush()?;
        let end = match read.recv().map_err(|_| Gone)? {
            Err(error) => End::Failed(error),
            Ok(until) => {
                source.was_read(until);
                match ended(source, true) {
                    Ok(end) => end,
                    Err(changed) => return Ok(Some(changed)),
                }
            }
        };
        let failed = matches!(end, End::Failed(_));
        self.send(Message::Piece(Piece { end: Some(end), ..Piece::empty(job, false) }))?;
        Ok(failed.then_some(Trouble::Failed))
    }

    /// Says how far a file is, of which so many bytes more were sent, where it is time for that.
    fn mark(&mut self, job: &Job, marks: &mut Marks, bytes: u64) -> Result<(), Gone> {
        match marks.pass(bytes) {
            Some(reached) => self.send(Message::Piece(Piece { reached: Some(reached), ..Piece::empty(job, false) })),
            None => Ok(()),
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
            Message::Piece(_) | Message::Shared(_) | Message::Failed(..) => BATCH_BYTES, // nobody waits for these
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

/// The stage behind has gone; it or the caller has told why.
struct Gone;

/// Whether a file can be gone on with: it is what it was, its copy is there, and its source takes that.
fn goes_on(feed: &mut impl Feed, source: &mut dyn Source, job: &Job, reached: &Reached) -> bool {
    source.stamp() == Some(reached.stamp) && feed.copy(job).is_some_and(|copy| source.begin_with(copy, reached.bytes))
}

/// Where in a file it is said how far it was read.
struct Marks {
    /// None where nobody could go on with it.
    stamp: Option<Stamp>,
    position: u64,
    last: u64,
}

impl Marks {
    fn new(job: &Job, source: &dyn Source, restartable: bool) -> Self {
        let can_be = restartable && job.wants_hash && job.earlier.is_none();
        let last = job.reached.as_ref().map_or(0, |reached| reached.bytes);
        Self { stamp: source.stamp().filter(|_| can_be), position: 0, last }
    }

    /// So many bytes went on; how far that is, where it is to be said.
    fn pass(&mut self, bytes: u64) -> Option<Box<Reached>> {
        self.position = self.position.saturating_add(bytes);
        if self.position < self.last.saturating_add(REACHED_EVERY_BYTES) {
            return None;
        }
        self.last = self.position;
        self.stamp.map(|stamp| Box::new(Reached { stamp, bytes: self.position, sha256: [0; 32] }))
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
    /// The copy that it was to go on with is not what was read; nothing of it counts.
    Kept,
    /// It was told downstream already.
    Failed,
    /// It did not hold still; whether a part of it was sent downstream, and whether that is to be expected.
    Changed { what: String, sent: bool, is_usual: bool },
}

/// Looks whether a file that was read to its end held still; what is wrong is that it did not.
fn ended(source: Box<dyn Source>, sent: bool) -> Result<End, Trouble> {
    match source.finish() {
        Ok(Settled::Still(attributes)) => Ok(End::Still(attributes, None)),
        Ok(Settled::Changed(what)) => Err(Trouble::Changed { what, sent, is_usual: false }),
        Ok(Settled::Disturbed(what)) => Err(Trouble::Changed { what, sent, is_usual: true }),
        Err(error) => Ok(End::Failed(error)),
    }
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
