//! Proves files where they lie: every page and every segment, on all cores, in the order of the files.

use std::collections::BTreeMap;
use std::fs::File;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::body::{BodyVerifier, LogDamage, LogFacts, LogFault};
use super::checksum::is_zero;
use super::files::{self, Found};
use super::finding::{Finding, Kind, Weight};
use super::flush_map;
use super::header::DatabaseHeader;
use super::judge::Inside;
use super::log::{LogHeader, LogName, LogRole};
use super::page::{Damage, Fault, PageNumber, PageSize, Verdict, flush_type, verify_page, verify_pages};
use super::patch::PatchPage;
use super::recognise::Content;
use super::space::last_owned_page;
use crate::error::{Error, Jet, Result};
use crate::stream::buffer::Buffer;
use crate::stream::stop::{StopToken, WATCH_INTERVAL};

/// What one thread takes at a time, in bytes: enough that handing it out costs nothing, little enough that what two
/// threads find comes out in order without waiting long. A multiple of every page size.
const UNIT_BYTES: u64 = 4 * 1024 * 1024;
/// What is read at once, in bytes: it stays in a core's own cache until it is proven. A multiple of every page size.
const CHUNK_BYTES: usize = 256 * 1024;
/// No log is longer: 65535 segments are all that its header can count.
const LOG_BYTES_MAX: u64 = 65535 * 4096;
/// More threads than this only wait for the disk.
const THREADS_MAX: usize = 8;

/// A file to be proven.
#[derive(Clone, Debug)]
pub struct Job {
    /// The file.
    pub path: Arc<Path>,
    /// What it holds that proves itself.
    pub work: Work,
}

/// What a file holds that proves itself.
#[derive(Clone, Debug)]
pub enum Work {
    /// Pages, of a database or a flush map.
    Pages(Pages),
    /// The body of a log.
    Log {
        /// Its header.
        header: Box<LogHeader>,
        /// Bytes of it: those of its file, as far as its header goes.
        size: u64,
        /// It may still be written: its last segment may be torn.
        is_tip: bool,
    },
}

/// Consecutive pages of a file.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Their size.
    pub size: PageSize,
    /// Where the first one begins, in bytes.
    pub offset: u64,
    /// Its number.
    pub first: PageNumber,
    /// How many.
    pub count: u64,
    /// What a failing one is, and what it weighs.
    pub owner: Owner,
}

/// Whose pages they are.
#[derive(Clone, Debug)]
pub enum Owner {
    /// A flush map's.
    FlushMap,
    /// A database's.
    Database {
        /// The last page it owns, where that is known.
        owned: Option<PageNumber>,
        /// It was shut down, so that what lies beyond is nobody's.
        is_clean: bool,
        /// Its last page is a trailer, which is proven like a header.
        trailer: Option<PageNumber>,
        /// Space in it was given back to the file system, so that zeros may stand where pages were.
        is_trimmed: bool,
        /// Its flush map, where both were closed in order and belong together.
        flush_map: Option<Arc<Path>>,
    },
}

impl Job {
    /// What there is to prove in a file; none where its header alone counts.
    pub fn of(found: &Found, inside: &Inside, flush_map: Option<Arc<Path>>) -> Option<Self> {
        let work = match &found.content {
            Content::Database(header, _) => {
                let count = u64::from(inside.last_page?.0);
                let trailer = inside.trailer_page;
                let is_clean = header.state == super::header::State::Clean;
                let is_trimmed = header.trims > 0;
                let owner = Owner::Database { owned: inside.owned, is_clean, trailer, is_trimmed, flush_map };
                let size = header.page_size;
                Work::Pages(Pages { size, offset: size.offset_of(PageNumber(1)), first: PageNumber(1), count, owner })
            }
            Content::FlushMap(..) => {
                let size = flush_map::UNIT;
                let count = (found.size / size.bytes_u64()).saturating_sub(1);
                let first = PageNumber(0);
                Work::Pages(Pages { size, offset: size.bytes_u64(), first, count, owner: Owner::FlushMap })
            }
            Content::Log(header, _) => {
                let is_archived =
                    LogName::parse(found.name()).is_some_and(|name| matches!(name.role, LogRole::Archived(_)));
                // What follows the length of the header is no part of the log; that it is there is reported.
                let size = found.size.min(header.file_bytes()).min(LOG_BYTES_MAX);
                Work::Log { header: header.clone(), size, is_tip: !is_archived }
            }
            _ => return None,
        };
        Some(Self { path: Arc::clone(&found.path), work })
    }

    /// How many bytes there are to read.
    pub fn bytes(&self) -> u64 {
        match &self.work {
            Work::Pages(pages) => pages.count * pages.size.bytes_u64(),
            Work::Log { size, .. } => *size,
        }
    }

    fn units(&self) -> u64 {
        match &self.work {
            Work::Pages(_) => self.bytes().div_ceil(UNIT_BYTES),
            Work::Log { .. } => 1, // what a segment means depends on those before it
        }
    }
}

/// Looks into a database for what decides how its pages count: the space it owns, and its trailer.
pub fn look_inside(found: &Found, header: &DatabaseHeader) -> Result<Inside> {
    let (file, size) = files::open(&found.path)?;
    Ok(look_inside_with(header, size, &mut |offset, length| files::read_some(&file, &found.path, offset, length).ok()))
}

/// The same, whatever gives so many bytes from an offset on (fewer where the file ends, none where it cannot).
pub fn look_inside_with(
    header: &DatabaseHeader,
    size: u64,
    read_some: &mut dyn FnMut(u64, usize) -> Option<Vec<u8>>,
) -> Inside {
    let page_size = header.page_size;
    let pages = (size / page_size.bytes_u64()).saturating_sub(2);
    let last_page = Some(u32::try_from(pages).unwrap_or(u32::MAX)).filter(|pages| *pages > 0).map(PageNumber);
    let mut read = |number: PageNumber| {
        let bytes = read_some(page_size.offset_of(number), page_size.bytes())?;
        (bytes.len() == page_size.bytes()).then_some(bytes)
    };
    let mut beyond = None;
    let owned = last_owned_page(page_size, &mut |number| {
        if last_page.is_none_or(|last| number > last) {
            beyond = Some(number);
        }
        read(number).filter(|page| matches!(verify_page(page, page_size, number), Verdict::Good(_)))
    });
    let trailer = last_page.and_then(|number| {
        let page = read(number)?;
        let is_page = !matches!(verify_page(&page, page_size, number), Verdict::Damaged(_));
        PatchPage::trailer(&page, &header.signature).filter(|_| !is_page)
    });
    let root = last_page.and_then(|_| read(PageNumber(1)));
    let root_is_blank = root.is_some_and(|root| is_zero(&root));
    let trailer_page = trailer.as_ref().and(last_page);
    Inside { owned, beyond, root_is_blank, trailer, trailer_page, last_page }
}

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
        let mut judge = PageJudge { path, file, pages, result, map: None };
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
        let mut attempt = self.read_log(path, file, header, size, buffer)?;
        if attempt.as_ref().is_ok_and(|(damages, _)| damages.iter().any(|damage| damage.fault != LogFault::Torn)) {
            files::forget_cached(file, 0, size);
            attempt = self.read_log(path, file, header, size, buffer)?;
        }
        self.bytes.fetch_add(size, Ordering::Relaxed);
        let (damages, facts) = match attempt {
            Ok(read) => read,
            Err(error) => {
                result.findings.push(unreadable(path, &error));
                return Ok(());
            }
        };
        if file.metadata().is_ok_and(|metadata| metadata.len() < size) {
            result.lost = Some(cut_short(path, "its end is gone"));
        }
        for damage in damages {
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
        result.tallied.good = facts.data;
        result.tallied.blank = facts.empty;
        result.tallied.shadows = facts.shadows;
        result.tallied.stale = facts.stale;
        result.log = Some(facts);
        Ok(())
    }

    /// Reads and proves a log once; the outer result is a stop, the inner one what the disk says.
    fn read_log(
        &self,
        path: &Path,
        file: &File,
        header: &LogHeader,
        size: u64,
        buffer: &mut [u8],
    ) -> Result<Result<(Vec<LogDamage>, LogFacts)>> {
        let mut verifier = BodyVerifier::new(header, size);
        let mut damages = Vec::new();
        let mut offset = 0;
        while offset < size {
            self.stop.check()?;
            let wanted = buffer.len().min(usize::try_from(size - offset).unwrap_or(usize::MAX));
            let read = match files::read_full(file, &mut buffer[..wanted], offset) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => return Ok(Err(Error::io("read", path, &error))),
            };
            verifier.feed(&buffer[..read], &mut |damage| damages.push(damage));
            offset += read as u64;
        }
        let facts = verifier.finish(&mut |damage| damages.push(damage));
        Ok(Ok((damages, facts)))
    }
}

/// Whether a range of a file is one hole, so that it needs no reading to be zero.
fn is_hole(file: &File, begin: u64, end: u64) -> bool {
    match rustix::fs::seek(file, SeekFrom::Data(begin)) {
        Ok(data) => data >= end,
        // No data up to the end of the file, wherever that is by now.
        Err(error) => error == Errno::NXIO && file.metadata().is_ok_and(|metadata| metadata.len() >= end),
    }
}

fn cut_short(path: &Arc<Path>, what: &str) -> Finding {
    let message = format!("was cut short while it was checked: {what}");
    Finding::damage(path, Kind::Size, Jet::FileIOBeyondEOF, message)
}

fn unreadable(path: &Arc<Path>, error: &Error) -> Finding {
    Finding::new(path, Kind::Unreadable, Weight::Failed, error.jet_code(), error.message())
}

/// Judges chunks of pages.
struct PageJudge<'a> {
    path: &'a Arc<Path>,
    file: &'a File,
    pages: &'a Pages,
    result: &'a mut UnitResult,
    /// The map page that was read last, with its number.
    map: Option<(PageNumber, Vec<u8>)>,
}

impl PageJudge<'_> {
    /// Reads and judges pages from index `at` on; the buffer is as long as they are.
    fn chunk(&mut self, at: u64, buffer: &mut [u8]) {
        let page_bytes = self.pages.size.bytes();
        let offset = self.pages.offset + at * self.pages.size.bytes_u64();
        match files::read_full(self.file, buffer, offset) {
            Ok(read) if read == buffer.len() => self.judge(at, buffer),
            Ok(read) => {
                let whole = read - read % page_bytes;
                self.judge(at, &buffer[..whole]);
                let number = self.number(at + (whole / page_bytes) as u64);
                self.result.lost = Some(cut_short(self.path, &format!("page {number} is gone")).page(number.0));
            }
            Err(_) if buffer.len() > page_bytes => {
                // One bad block on the disk must not hide the pages around it.
                for (index, page) in (0..).zip(buffer.chunks_exact_mut(page_bytes)) {
                    self.chunk(at + index, page);
                    if self.result.lost.is_some() {
                        break;
                    }
                }
            }
            Err(error) => {
                let number = self.number(at);
                let error = Error::io("read", self.path, &error);
                let finding = unreadable(self.path, &error).page(number.0);
                self.push(Finding { message: format!("page {number}: {}", finding.message), ..finding });
            }
        }
    }

    fn push(&mut self, finding: Finding) {
        self.result.findings.push(finding);
    }

    fn number(&self, at: u64) -> PageNumber {
        PageNumber(u32::try_from(u64::from(self.pages.first.0) + at).unwrap_or(u32::MAX))
    }

    fn judge(&mut self, at: u64, pages: &[u8]) {
        let size = self.pages.size;
        let mut damaged = Vec::new();
        let first = self.number(at);
        let counts = verify_pages(pages, size, first, &mut |number, _, damage| damaged.push((number, damage)));
        self.result.tallied.good += counts.good_ecc + counts.good_xor;
        self.result.tallied.good_xor += counts.good_xor;
        self.result.tallied.blank += counts.blank;
        let lost_writes = matches!(&self.pages.owner, Owner::Database { flush_map: Some(_), .. });
        if lost_writes {
            for (number, page) in (first.0..).zip(pages.chunks_exact(size.bytes())) {
                let is_damaged = damaged.iter().any(|(damaged, _)| damaged.0 == number);
                if !is_damaged {
                    self.compare_flush(PageNumber(number), page);
                }
            }
        }
        for (number, damage) in damaged {
            self.damaged(number, damage);
        }
    }

    /// A page failed: once more, from the disk, and then it counts.
    fn damaged(&mut self, number: PageNumber, mut damage: Damage) {
        if let Owner::Database { trailer: Some(trailer), .. } = self.pages.owner
            && trailer == number
        {
            self.result.tallied.good += 1;
            return;
        }
        let index = u64::from(number.0) - u64::from(self.pages.first.0);
        let (offset, length) = (self.pages.offset + index * self.pages.size.bytes_u64(), self.pages.size.bytes());
        files::forget_cached(self.file, offset, length as u64);
        let mut page = vec![0; length];
        if files::read_full(self.file, &mut page, offset).is_ok_and(|read| read == length) {
            match verify_page(&page, self.pages.size, number) {
                Verdict::Damaged(again) => damage = again,
                verdict => {
                    let (good, blank) = if verdict == Verdict::Blank { (0, 1) } else { (1, 0) };
                    self.result.tallied.good += good;
                    self.result.tallied.blank += blank;
                    let message = format!("page {number} was wrong when it was first read, and right the second time");
                    let finding = Finding::warning(self.path, Kind::PageChecksum, None, message);
                    return self.push(finding.page(number.0));
                }
            }
        }
        let finding = self.describe(number, &damage);
        match finding.weight {
            Weight::Garbage => self.result.tallied.garbage += 1,
            _ => self.result.tallied.damaged += 1,
        }
        self.result.tallied.correctable += u64::from(finding.kind == Kind::Correctable);
        self.push(finding);
    }

    fn describe(&self, number: PageNumber, damage: &Damage) -> Finding {
        let (kind, jet, what) = match damage.fault {
            Fault::Checksum => {
                (Kind::PageChecksum, Jet::ReadVerifyFailure, "does not hold what was written".to_owned())
            }
            Fault::OneBit(bit) => {
                let what = format!("has one wrong bit (bit {bit}), which the engine would correct");
                (Kind::Correctable, Jet::ReadVerifyFailure, what)
            }
            Fault::Number(own) => {
                (Kind::PageNumber, Jet::ReadPgnoVerifyFailure, format!("is sound, but says that it is page {own}"))
            }
        };
        let (stored, computed) = match damage.fault {
            Fault::Number(own) => (own.to_string(), number.to_string()),
            _ => (damage.stored.to_string(), damage.computed.to_string()),
        };
        let finding = match &self.pages.owner {
            Owner::FlushMap => {
                let kind = if kind == Kind::Correctable { kind } else { Kind::FlushMap };
                Finding::damage(self.path, kind, jet, format!("map page {number} {what}"))
            }
            Owner::Database { owned: Some(owned), is_clean, .. } if number > *owned && kind != Kind::Correctable => {
                let weight = if *is_clean { Weight::Garbage } else { Weight::Damage };
                let message = format!("page {number} is beyond the {owned} pages that the database owns, and {what}");
                Finding::new(self.path, kind, weight, Some(jet), message)
            }
            Owner::Database { .. } => Finding::damage(self.path, kind, jet, format!("page {number} {what}")),
        };
        finding.page(number.0).sums(stored, computed)
    }

    /// Compares a sound page with what the flush map remembers of its last write (§10).
    fn compare_flush(&mut self, number: PageNumber, page: &[u8]) {
        let Owner::Database { flush_map: Some(map), owned, is_trimmed, .. } = &self.pages.owner else { return };
        let is_blank = is_zero(page);
        if owned.is_some_and(|owned| number > owned) || (is_blank && *is_trimmed) {
            return;
        }
        let wanted = flush_map::map_page_of(number);
        if self.map.as_ref().is_none_or(|(loaded, _)| *loaded != wanted) {
            let unit = flush_map::UNIT;
            let offset = (u64::from(wanted.0) + 1) * unit.bytes_u64();
            let read = files::open(map).and_then(|(file, _)| files::read_some(&file, map, offset, unit.bytes()));
            // A map page that does not prove itself says nothing, and is reported with its own file.
            let good = read.ok().filter(|page| {
                page.len() == unit.bytes() && matches!(verify_page(page, unit, wanted), Verdict::Good(_))
            });
            self.map = Some((wanted, good.unwrap_or_default()));
        }
        let Some((_, map_page)) = &self.map else { return };
        let (recorded, own) = (flush_map::entry(map_page, number), flush_type(page));
        if recorded != 0 && recorded != own {
            self.result.tallied.damaged += 1;
            let tallied = if is_blank { &mut self.result.tallied.blank } else { &mut self.result.tallied.good };
            *tallied -= 1;
            let what =
                if is_blank { "holds nothing but zeros, but was written" } else { "is older than its last write" };
            let message = format!("page {number} {what}: that write was lost");
            let jet = Jet::ReadLostFlushVerifyFailure;
            let finding = Finding::damage(self.path, Kind::LostWrite, jet, message);
            self.push(finding.page(number.0).sums(recorded.to_string(), own.to_string()));
        }
    }
}
