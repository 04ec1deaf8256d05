//! Comparing a large file with an earlier version on several threads, each with a small buffer that stays in its cache.
//!
//! The caller's thread plans: it hands out segments with what the earlier file of blocks says of them, and takes the answers
//! in order, so that the file of blocks comes out byte for byte as if one thread had read. Only what changed travels.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::format::{BLOCK_BYTES, BlockPlace, blocks_of};
use super::key::BlockKey;
use super::reader::Entry;
use super::writer::{BlocksWriter, Compared, Judged};
use crate::error::{Error, ExitCode, Result};
use crate::stream::shared::{Extent, SharedFile};
use crate::stream::source::Got;
use crate::stream::stop::StopToken;

/// Threads at most: so few saturate the memory of most machines.
const THREADS_MAX: usize = 4;
/// Bytes of a segment: enough that handing it over costs nothing beside it.
const SEGMENT_BYTES: usize = 1024 * 1024;
/// Segments on their way for each thread: one that is worked at and others that wait, all of them changed at worst.
const SEGMENTS_EACH: usize = 4;
/// Bytes that are read at once: they, the secret and the table of a segment fit into a cache that is a core's own.
const READ_BYTES: usize = 128 * 1024;

/// A segment for one of the threads.
struct Task {
    offset: u64,
    bytes: usize,
    /// What the earlier version has of each block.
    earlier: Vec<Option<Entry>>,
    has_sources: bool,
    answer: SyncSender<Result<Segment>>,
}

/// A segment that was compared.
#[derive(Default)]
struct Segment {
    judged: Vec<Judged>,
    /// The blocks to store, one after the other.
    content: Vec<u8>,
    /// Fewer than were asked for where the file became shorter.
    bytes: usize,
}

/// What was handed out, in order.
enum Step {
    Hole { bytes: u64, is_same: bool },
    Segment { bytes: usize, answer: Receiver<Result<Segment>> },
}

/// How far the segments of a file were handed out.
struct Plan<'a> {
    file: &'a SharedFile,
    segment_bytes: usize,
    at: u64,
    data_end: u64,
    tasks: Sender<Task>,
}

impl BlocksWriter {
    /// Takes all of a file that is compared with an earlier version, and says how far it could be read: less than its
    /// size where it became shorter. `took` hears of each piece, in order, when it was taken.
    ///
    /// The inner error is that of the file, the outer one a stop, or that of the repository, as everywhere else here.
    pub fn compare_shared(
        &mut self,
        file: &SharedFile,
        stop: &StopToken,
        took: &mut dyn FnMut(Got),
    ) -> Result<Result<u64>> {
        self.compare_in_segments(file, SEGMENT_BYTES, stop, took)
    }

    /// The same in segments of so many bytes, whole blocks.
    pub(super) fn compare_in_segments(
        &mut self,
        file: &SharedFile,
        segment_bytes: usize,
        stop: &StopToken,
        took: &mut dyn FnMut(Got),
    ) -> Result<Result<u64>> {
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
        let (give, tasks) = mpsc::channel();
        let (tasks, key) = (Mutex::new(tasks), self.key.clone());
        thread::scope(|scope| {
            let mut plan = Plan { file, segment_bytes, at: 0, data_end: 0, tasks: give };
            for _ in 0..threads {
                let builder = thread::Builder::new().name("compare".to_owned());
                let spawned = builder.spawn_scoped(scope, || work(&tasks, file, &key, stop));
                spawned.map_err(|e| Error::new(ExitCode::Failed, format!("cannot start a thread: {e}")))?;
            }
            self.join(&mut plan, threads * SEGMENTS_EACH, stop, took)
        })
    }

    /// Hands out segments, and takes what became of them.
    fn join(
        &mut self,
        plan: &mut Plan<'_>,
        steps_max: usize,
        stop: &StopToken,
        took: &mut dyn FnMut(Got),
    ) -> Result<Result<u64>> {
        let mut steps = VecDeque::with_capacity(steps_max);
        let mut read = 0;
        loop {
            stop.check()?;
            while steps.len() < steps_max
                && let Some(step) = plan.next(self.compared()?)?
            {
                steps.push_back(step);
            }
            let (bytes, answer) = match steps.pop_front() {
                None => return Ok(Ok(read)),
                Some(Step::Hole { bytes, is_same }) => {
                    self.put_zeros(bytes, is_same);
                    read += bytes;
                    took(Got::Hole(bytes));
                    continue;
                }
                Some(Step::Segment { bytes, answer }) => (bytes, answer),
            };
            let gone = |_| Error::new(ExitCode::Failed, "a comparing thread failed; this is a bug");
            match answer.recv().map_err(gone)? {
                Err(error) => {
                    stop.check()?; // which makes reading fail, and is the reason then
                    return Ok(Err(error));
                }
                Ok(segment) => {
                    read += segment.bytes as u64;
                    if segment.bytes < bytes {
                        return Ok(Ok(read));
                    }
                    self.put_segment(&segment)?;
                    took(Got::Data(bytes));
                }
            }
        }
    }

    fn put_segment(&mut self, segment: &Segment) -> Result<()> {
        let (mut left, mut content) = (segment.bytes, &segment.content[..]);
        for judged in &segment.judged {
            let bytes = left.min(BLOCK_BYTES);
            left -= bytes;
            let stored = if judged.place == BlockPlace::Here { bytes } else { 0 };
            let (block, rest) = content.split_at(stored);
            content = rest;
            self.put(judged, bytes, block)?;
        }
        Ok(())
    }

    fn compared(&mut self) -> Result<&mut Compared> {
        self.earlier.as_mut().ok_or_else(|| Error::new(ExitCode::Failed, "a file was compared with nothing"))
    }
}

impl Plan<'_> {
    /// Hands out the next segment, or passes over a hole; none at the end.
    fn next(&mut self, earlier: &mut Compared) -> Result<Option<Step>> {
        if self.at == self.file.size() {
            return Ok(None);
        }
        let first = self.at / BLOCK_BYTES as u64;
        if self.at == self.data_end {
            match self.file.extent(self.at, BLOCK_BYTES as u64) {
                Extent::Data(bytes) => self.data_end += bytes,
                Extent::Hole(bytes) => {
                    (self.at, self.data_end) = (self.at + bytes, self.at + bytes);
                    let is_same = earlier.table.are_zeros(first, bytes)?;
                    return Ok(Some(Step::Hole { bytes, is_same }));
                }
            }
        }
        let left = self.data_end - self.at;
        let bytes = usize::try_from(left).map_or(self.segment_bytes, |left| left.min(self.segment_bytes));
        let blocks = first..first + blocks_of(bytes as u64);
        let of_earlier = blocks.map(|block| earlier.table.find(block)).collect::<Result<_>>()?;
        let (send, answer) = mpsc::sync_channel(1);
        let (offset, has_sources) = (self.at, earlier.has_sources);
        let task = Task { offset, bytes, earlier: of_earlier, has_sources, answer: send };
        self.tasks.send(task).map_err(|_| Error::new(ExitCode::Failed, "no thread is left to compare"))?;
        self.at += bytes as u64;
        Ok(Some(Step::Segment { bytes, answer }))
    }
}

/// Compares segments until there are no more, or nobody waits for them.
fn work(tasks: &Mutex<Receiver<Task>>, file: &SharedFile, key: &BlockKey, stop: &StopToken) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let next = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = next else { return };
        let segment = compare(&task, file, key, stop, &mut buffer);
        let is_last = !segment.as_ref().is_ok_and(|segment| segment.bytes == task.bytes);
        if task.answer.send(segment).is_err() || is_last {
            return; // nothing behind it counts
        }
    }
}

fn compare(task: &Task, file: &SharedFile, key: &BlockKey, stop: &StopToken, buffer: &mut [u8]) -> Result<Segment> {
    let mut segment = Segment { judged: Vec::with_capacity(task.earlier.len()), ..Segment::default() };
    let mut earlier = task.earlier.iter();
    while segment.bytes < task.bytes {
        stop.check()?;
        let wanted = buffer.len().min(task.bytes - segment.bytes);
        let read = file.read_at(&mut buffer[..wanted], task.offset + segment.bytes as u64)?;
        for (block, earlier) in buffer[..read].chunks(BLOCK_BYTES).zip(&mut earlier) {
            let judged = Judged::of(block, key, *earlier, task.has_sources);
            if judged.place == BlockPlace::Here {
                segment.content.extend(block);
            }
            segment.judged.push(judged);
        }
        segment.bytes += read;
        if read < wanted {
            break;
        }
    }
    Ok(segment)
}
