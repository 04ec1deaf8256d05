//! Proves files where they lie: every page and every segment, on all cores, in the order of the files.

mod job;
mod pages;

use std::collections::BTreeMap;
use std::fs::File;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

pub use self::job::{Job, Owner, Pages, Work, look_inside, look_inside_with, look_into};
use self::pages::{PageJudge, is_hole};
use super::body::{Damages, LogFacts, LogFault, prove_body};
use super::files;
use super::finding::{Finding, Kind, Weight};
use super::log::LogHeader;
use crate::error::{Error, Jet, Result};
use crate::stream::buffer::Buffer;
use crate::stream::stop::{StopToken, WATCH_INTERVAL};

/// What one thread takes at a time, in bytes: enough that handing it out costs nothing, little enough that what two
/// threads find comes out in order without waiting long. A multiple of every page size.
const UNIT_BYTES: u64 = 4 * 1024 * 1024;
/// What is read at once, in bytes: it stays in a core's own cache until it is proven. A multiple of every page size.
const CHUNK_BYTES: usize = 256 * 1024;
/// More threads than this only wait for the disk.
const THREADS_MAX: usize = 8;

/// What the pages or segments of a file amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallied {
    /// Pages, segments or ranges that prove themselves; the trailer is one.
    pub good: u64,
    /// Those of the old format among them.
    pub good_xor: u64,
    /// Never written.
    pub blank: u64,
    /// Damaged, those with one wrong bit included.
    pub damaged: u64,
    /// Of those, the ones with one wrong bit.
    pub correctable: u64,
    /// Not owned by their database, and not proving themselves.
    pub garbage: u64,
    /// Shadows of log segments.
    pub shadows: u64,
    /// Log segments of an older log.
    pub stale: u64,
}

/// What became of a job.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which one, in the order they were given.
    pub job: usize,
    /// What its parts amounted to.
    pub tallied: Tallied,
    /// Of a log: what its body amounts to.
    pub log: Option<LogFacts>,
}

/// What somebody hears while files are proven.
pub trait Listener {
    /// Something was found; in the order of the files.
    fn found(&mut self, finding: Finding);
    /// A file is done.
    fn done(&mut self, report: &Report);
    /// Called many times a second: bytes proven so far, and the file that is at hand.
    fn tick(&mut self, bytes: u64, file: &Arc<Path>);
}

/// Proves all jobs on all cores. Fails only when it is stopped; what cannot be read is a finding.
pub fn prove(jobs: &[Job], stop: &StopToken, listener: &mut dyn Listener) -> Result<()> {
    let starts: Vec<u64> = jobs
        .iter()
        .scan(0, |sum, job| {
            let start = *sum;
            *sum += job.units();
            Some(start)
        })
        .collect();
    let units = starts.last().zip(jobs.last()).map_or(0, |(start, job)| start + job.units());
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    let prover = Prover { jobs, starts: &starts, units, next: AtomicU64::new(0), bytes: AtomicU64::new(0), stop };
    let (current, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        // Bounded, so that a listener who is held up holds up the work, and not the memory.
        let (send, results) = mpsc::sync_channel(4 * threads);
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (send, prover, current, over) = (send.clone(), &prover, &current, &over);
                scope.spawn(move || {
                    let done = prover.work(current, over, &send);
                    over.fetch_or(done.is_err(), Ordering::Relaxed);
                    done
                })
            })
            .collect();
        drop(send);
        let mut order = Order { waiting: BTreeMap::new(), next: 0, report: None, is_lost: false };
        loop {
            match results.recv_timeout(WATCH_INTERVAL) {
                Ok((unit, result)) => order.take(unit, result, &prover, listener),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(job) = jobs.get(current.load(Ordering::Relaxed)) {
                listener.tick(prover.bytes.load(Ordering::Relaxed), &job.path);
            }
        }
        let mut outcome = Ok(());
        for worker in workers {
            let done = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            outcome = outcome.and(done);
        }
        outcome
    })
}

/// Puts what the threads hand in back into the order of the files.
struct Order {
    waiting: BTreeMap<u64, UnitResult>,
    next: u64,
    report: Option<Report>,
    /// That the file at hand went away was said; its other units have nothing to add.
    is_lost: bool,
}

impl Order {
    fn take(&mut self, unit: u64, result: UnitResult, prover: &Prover<'_>, listener: &mut dyn Listener) {
        self.waiting.insert(unit, result);
        while let Some(result) = self.waiting.remove(&self.next) {
            let (job, index) = prover.locate(self.next);
            self.next += 1;
            result.findings.into_iter().for_each(|finding| listener.found(finding));
            if let Some(lost) = result.lost.filter(|_| !self.is_lost) {
                self.is_lost = true;
                listener.found(lost);
            }
            let empty = Report { job, tallied: Tallied::default(), log: None };
            let report = self.report.get_or_insert(empty);
            report.tallied.add(&result.tallied);
            report.log = report.log.or(result.log);
            if index + 1 == prover.jobs[job].units()
                && let Some(report) = self.report.take()
            {
                self.is_lost = false;
                listener.done(&report);
            }
        }
    }
}

#[derive(Default)]
struct UnitResult {
    findings: Vec<Finding>,
    /// The file, or its end, went away while it was proven.
    lost: Option<Finding>,
    tallied: Tallied,
    log: Option<LogFacts>,
}

impl Tallied {
    /// Adds what another part amounted to.
    pub fn add(&mut self, other: &Self) {
        self.good += other.good;
        self.good_xor += other.good_xor;
        self.blank += other.blank;
        self.damaged += other.damaged;
        self.correctable += other.correctable;
        self.garbage += other.garbage;
        self.shadows += other.shadows;
        self.stale += other.stale;
    }
}

struct Prover<'a> {
    jobs: &'a [Job],
    /// The first unit of each job.
    starts: &'a [u64],
    units: u64,
    next: AtomicU64,
    bytes: AtomicU64,
    stop: &'a StopToken,
}

impl Prover<'_> {
    /// Which job a unit is of, and which of its units it is.
    fn locate(&self, unit: u64) -> (usize, u64) {
        let job = self.starts.partition_point(|start| *start <= unit) - 1;
        (job, unit - self.starts[job])
    }

    fn work(&self, current: &AtomicUsize, over: &AtomicBool, send: &mpsc::SyncSender<(u64, UnitResult)>) -> Result<()> {
        let mut buffer = Buffer::new(CHUNK_BYTES);
        while !over.load(Ordering::Relaxed) {
            let unit = self.next.fetch_add(1, Ordering::Relaxed);
            if unit >= self.units {
                break;
            }
            let (job, index) = self.locate(unit);
            current.fetch_max(job, Ordering::Relaxed);
            let result = self.unit(&self.jobs[job], index, buffer.as_mut_slice())?;
            if send.send((unit, result)).is_err() {
                break; // nobody listens any more
            }
        }
        Ok(())
    }

    fn unit(&self, job: &Job, index: u64, buffer: &mut [u8]) -> Result<UnitResult> {
        let mut result = UnitResult::default();
        let file = match files::open(&job.path) {
            Ok((file, _)) => file,
            Err(error) => {
                self.bytes.fetch_add(job.bytes().min(UNIT_BYTES), Ordering::Relaxed);
                result.lost = Some(unreadable(&job.path, &error));
                return Ok(result);
            }
        };
        files::expect_sequential(&file);
        match &job.work {
            Work::Pages(pages) => self.pages(&job.path, &file, pages, index, buffer, &mut result)?,
            Work::Log { header, size, is_tip } => {
                self.log(&job.path, &file, header, *size, *is_tip, buffer, &mut result)?;
            }
        }
        Ok(result)
    }

    fn pages(
        &self,
        path: &Arc<Path>,
        file: &File,
        pages: &Pages,
        index: u64,
        buffer: &mut [u8],
        result: &mut UnitResult,
    ) -> Result<()> {
        let page_bytes = pages.size.bytes_u64();
        let begin = index * UNIT_BYTES / page_bytes;
        let end = ((index + 1) * UNIT_BYTES / page_bytes).min(pages.count);
        let chunk_pages = buffer.len() as u64 / page_bytes;
        let mut judge = PageJudge::new(path, file, pages, result);
        let has_map = matches!(pages.owner, Owner::Database { flush_map: Some(_), .. });
        if !has_map && is_hole(file, pages.offset + begin * page_bytes, pages.offset + end * page_bytes) {
            judge.result.tallied.blank += end - begin;
            self.bytes.fetch_add((end - begin) * page_bytes, Ordering::Relaxed);
            return Ok(());
        }
        let mut at = begin;
        while at < end {
            self.stop.check()?;
            let count = chunk_pages.min(end - at);
            let length = usize::try_from(count * page_bytes).unwrap_or(buffer.len());
            let chunk = &mut buffer[..length];
            judge.chunk(at, chunk);
            at += count;
            self.bytes.fetch_add(length as u64, Ordering::Relaxed);
            if judge.result.lost.is_some() {
                break;
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "what a log is, and where to put what it amounts to")]
    fn log(
        &self,
        path: &Arc<Path>,
        file: &File,
        header: &LogHeader,
        size: u64,
        is_tip: bool,
        buffer: &mut [u8],
        result: &mut UnitResult,
    ) -> Result<()> {
        let mut damages = Damages::default();
        let mut facts = prove_body(file, header, size, buffer, self.stop, &mut |damage| damages.take(damage))?;
        if facts.is_ok() && damages.first.iter().any(|damage| damage.fault != LogFault::Torn) {
            files::forget_cached(file, 0, size);
            damages = Damages::default();
            facts = prove_body(file, header, size, buffer, self.stop, &mut |damage| damages.take(damage))?;
        }
        self.bytes.fetch_add(size, Ordering::Relaxed);
        let facts = match facts {
            Ok(facts) => facts,
            Err(error) => {
                result.findings.push(unreadable(path, &Error::io("read", path, &error)));
                return Ok(());
            }
        };
        if file.metadata().is_ok_and(|metadata| metadata.len() < size) {
            result.lost = Some(cut_short(path, "its end is gone"));
        }
        for damage in damages.first {
            let is_fine = damage.fault == LogFault::Torn && is_tip;
            result.tallied.correctable += u64::from(damage.fault == LogFault::OneBit);
            result.tallied.damaged += u64::from(!is_fine);
            let kind = if damage.fault == LogFault::OneBit { Kind::Correctable } else { Kind::LogSegment };
            let message = format!("segment {} {}", damage.segment, damage.fault.describe());
            let finding = if is_fine {
                Finding::warning(path, kind, None, message)
            } else {
                Finding::damage(path, kind, Jet::LogReadVerifyFailure, message)
            };
            result.findings.push(finding.segment(damage.segment).sums(damage.stored, damage.computed));
        }
        if damages.more > 0 {
            result.tallied.damaged += damages.more;
            let message = format!("{} more pieces of it do not prove themselves", damages.more);
            result.findings.push(Finding::damage(path, Kind::LogSegment, Jet::LogReadVerifyFailure, message));
        }
        result.tallied.good = facts.data;
        result.tallied.blank = facts.empty;
        result.tallied.shadows = facts.shadows;
        result.tallied.stale = facts.stale;
        result.log = Some(facts);
        Ok(())
    }
}

fn cut_short(path: &Arc<Path>, what: &str) -> Finding {
    let message = format!("was cut short while it was checked: {what}");
    Finding::damage(path, Kind::Size, Jet::FileIOBeyondEOF, message)
}

fn unreadable(path: &Arc<Path>, error: &Error) -> Finding {
    Finding::new(path, Kind::Unreadable, Weight::Failed, error.jet_code(), error.message())
}
