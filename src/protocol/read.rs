//! read: everything that is left, in protocol order, or named files; into the repository or to one output.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::claim::{Claims, Ledger, SharedLedger, Wanted, lock};
use super::{Context, Observer, Progress, Warning, failure, heal};
use crate::durable::{self, Put};
use crate::engine::plan::{PlanReader, write_entry};
use crate::engine::{Engine, Entry};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::repository::file_list::{FileLine, ReadRecord};
use crate::repository::seal::RecordFolder;
use crate::repository::store::{Store, Writing};
use crate::session::StopAnswer;
use crate::session::event::{Batch, Event, Failure, Outcome, Phase};
use crate::session::journal::Durability;
use crate::session::readers::{ReaderProgress, ReaderSlot};
use crate::session::state::{Call, EntryState, Refusal, State};
use crate::stream::pipeline::{self, Feed, Finished, Gauge, Job, Policy, Report, Sink};
use crate::stream::source::{Attributes, Opened};
use crate::stream::stop::{Cause, StopToken, WATCH_INTERVAL};

/// Data that waits for a sync at most, roughly: the sync runs beside the copy, so that the last one is short.
const SYNC_EVERY_BYTES: u64 = 256 * 1024 * 1024;
/// The longest that proven data waits for its sync.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// How often a reader tells others how far it is.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// What a `read` did.
#[derive(Clone, Debug, Default)]
pub struct ReadReport {
    /// Files with content that this call read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is left out of the session, by this call or an earlier one.
    pub excluded: Vec<Failure>,
    /// Everything that was asked for had been read before.
    pub already: bool,
}

/// Reads everything that is left of a session, phase by phase, sharing it with other readers.
pub fn read_all(context: &Context, observer: &mut dyn Observer, stop: &StopToken) -> Result<ReadReport> {
    context.session.decide(Call::Read)?;
    require_repository(context)?;
    let mut reader = Reader::start(context, stop)?;
    let done = reader.everything(observer);
    reader.leave(done)
}

/// Reads named files, or everything below named directories, into the repository.
pub fn read_named(
    context: &Context,
    names: &[PathBuf],
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<ReadReport> {
    context.session.decide(Call::Read)?;
    require_repository(context)?;
    let state = state_for_names(context, stop)?;
    let selection = select(context, &state, names)?;
    if selection.batches.is_empty() {
        return Ok(ReadReport { already: true, ..ReadReport::default() });
    }
    let mut reader = Reader::start(context, stop)?;
    let done = reader.phase(selection.phase, Wanted::Named(selection.batches.into()), observer);
    let done = done.and_then(|()| reader.end_of_databases());
    reader.leave(done)
}

fn require_repository(context: &Context) -> Result<()> {
    if context.session.record().repository().is_some() {
        return Ok(());
    }
    Err(Error::jet(Jet::InvalidParameter, "this session has no repository to read into")
        .hint("Name one file and where it goes: `jetbak read STORAGE FILE --out PATH`, or `--out -` for stdout."))
}

/// Reads one named file, verified, to a path or to stdout. Counts as read only in a session without a repository.
pub fn read_out(
    context: &Context,
    name: &Path,
    out: Output,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<ReadReport> {
    context.session.decide(Call::Read)?;
    if let Output::File(target) = &out {
        refuse_storage(context, target)?;
    }
    let state = state_for_names(context, stop)?;
    let counts = context.session.record().repository().is_none();
    let found = find_file(context, &state, name)?;
    if counts && let EntryState::Taken(holder, _) = state.entry(found.phase, found.index) {
        refuse_second_reader(context, holder, name)?;
    }
    let mut reader = Reader::start(context, stop)?;
    let sink = OutSink::new(out);
    let done = if counts && state.entry(found.phase, found.index) != EntryState::Done {
        let batch = Batch { first: found.index, count: 1, offset: found.offset, end: found.end };
        let wanted = Wanted::Named(VecDeque::from([batch]));
        reader.run(found.phase, wanted, sink, observer).and_then(|()| reader.end_of_databases())
    } else {
        reader.look(found.phase, found.entry, sink, observer)
    };
    reader.leave(done)
}

/// The source is read-only: nothing is written into it, not even when asked.
fn refuse_storage(context: &Context, target: &Path) -> Result<()> {
    let absolute = std::path::absolute(target).map_err(|e| Error::io("find", target, &e))?;
    let folder = absolute.parent().and_then(|parent| parent.canonicalize().ok());
    if !folder.is_some_and(|folder| folder.starts_with(context.session.record().storage())) {
        return Ok(());
    }
    let message = format!("{} lies inside of the storage", printable(target));
    Err(Error::jet(Jet::InvalidParameter, message).file(target).hint("Write it somewhere else."))
}

/// Where `--out` sends a file.
pub enum Output {
    /// Standard output, or whatever else is open already.
    Stdout(std::fs::File),
    /// A file that is there whole or not at all.
    File(PathBuf),
}

/// The state in which names are looked up: where no database is left to read, the logs are listed first.
fn state_for_names(context: &Context, stop: &StopToken) -> Result<State> {
    let state = context.session.decide(Call::Read)?;
    if state.phase() == Phase::Logs || !state.is_complete(Phase::Databases) {
        return Ok(state);
    }
    let mut reader = Reader::start(context, stop)?;
    let listed = reader.list_logs();
    reader.leave(listed)?;
    context.session.state()
}

/// Entries that names stand for.
struct Selection {
    phase: Phase,
    batches: Vec<Batch>,
}

struct FoundEntry {
    phase: Phase,
    index: u64,
    offset: u64,
    end: u64,
    entry: Entry,
}

/// Finds what names stand for in the list of the phase; what is done already is left out.
fn select(context: &Context, state: &State, names: &[PathBuf]) -> Result<Selection> {
    let mut unknown: Vec<bool> = vec![true; names.len()];
    let mut batches: Vec<Batch> = Vec::new();
    let current = state.phase();
    for phase in [Phase::Databases, Phase::Logs] {
        let Some(plan) = context.plan(phase)? else { continue };
        let mut plan = PlanReader::open(&plan, 0)?;
        for index in 0.. {
            let offset = plan.offset();
            let Some(entry) = plan.next_entry()? else { break };
            let mut meant = false;
            for (name, unknown) in names.iter().zip(&mut unknown) {
                if entry.path.starts_with(name) {
                    (meant, *unknown) = (true, false);
                }
            }
            if !meant {
                continue;
            }
            let one = Batch { first: index, count: 1, offset, end: plan.offset() };
            match state.entry(phase, index) {
                EntryState::Done => {}
                EntryState::Taken(holder, whole) => {
                    refuse_second_reader(context, holder, &entry.path)?;
                    if batches.last() != Some(&whole) {
                        batches.push(whole); // a dead reader left it: taken over as a whole
                    }
                }
                EntryState::Free | EntryState::Excluded if phase != current => {
                    return Err(Refusal::DatabaseAfterItsPhase.into());
                }
                EntryState::Excluded => batches.push(one),
                EntryState::Free => match batches.last_mut() {
                    Some(last) if last.next() == index && is_fresh(state, phase, last) => {
                        (last.count, last.end) = (last.count + 1, one.end);
                    }
                    _ => batches.push(one),
                },
            }
        }
    }
    if let Some((name, _)) = names.iter().zip(&unknown).find(|(_, unknown)| **unknown) {
        return Err(not_in_the_lists(context, state, name));
    }
    Ok(Selection { phase: current, batches })
}

fn is_fresh(state: &State, phase: Phase, batch: &Batch) -> bool {
    state.entry(phase, batch.first) == EntryState::Free
}

fn find_file(context: &Context, state: &State, name: &Path) -> Result<FoundEntry> {
    for phase in [Phase::Databases, Phase::Logs] {
        let Some(plan) = context.plan(phase)? else { continue };
        let mut plan = PlanReader::open(&plan, 0)?;
        for index in 0.. {
            let offset = plan.offset();
            let Some(entry) = plan.next_entry()? else { break };
            if entry.path == name {
                if entry.role.is_file() {
                    return Ok(FoundEntry { phase, index, offset, end: plan.offset(), entry });
                }
                let message = format!("{} has no content: it is a {}", printable(name), entry.role.name());
                return Err(Error::jet(Jet::InvalidParameter, message).file(name));
            }
        }
    }
    Err(not_in_the_lists(context, state, name))
}

fn not_in_the_lists(context: &Context, state: &State, name: &Path) -> Error {
    if state.phase() == Phase::Databases
        && let Ok(engine) = context.engine()
        && let Ok(logs) = engine.list_logs(&StopToken::never())
        && logs.iter().any(|log| log.path.starts_with(name))
    {
        return Error::from(Refusal::LogBeforeItsPhase).file(name);
    }
    Error::jet(Jet::InvalidParameter, format!("this session does not read {}", printable(name)))
        .file(name)
        .hint("`jetbak files` prints what it reads; give a path as it stands there.")
}

/// A file that a living reader holds is refused; what a dead one left can be taken over.
fn refuse_second_reader(context: &Context, holder: u32, name: &Path) -> Result<()> {
    if !context.session.live()?.contains(&holder) {
        return Ok(());
    }
    let message = format!("reader {holder} is reading {} already", printable(name));
    Err(Error::jet(Jet::OutOfMemory, message)
        .file(name)
        .hint("A plain `jetbak read` shares the work with other readers and takes over from dead ones."))
}

/// One process that reads for a session.
struct Reader<'a> {
    context: &'a Context,
    engine: Arc<dyn Engine>,
    stop: &'a StopToken,
    slot: ReaderSlot,
    records: RecordFolder,
    out: RecordFile,
    report: ReadReport,
    gauge: Arc<Gauge>,
    /// Bytes of data that this reader has proven or left for others to show.
    others_bytes: u64,
    total_bytes: u64,
    rate: Rate,
}

impl<'a> Reader<'a> {
    fn start(context: &'a Context, stop: &'a StopToken) -> Result<Self> {
        let engine = context.engine()?;
        let records = context.records()?;
        let slot = ReaderSlot::take(context.session.folder())?;
        let state = context.session.state()?;
        let out = RecordFile::create(&records, slot.number)?;
        Ok(Self {
            context,
            engine,
            stop,
            slot,
            records,
            out,
            report: ReadReport::default(),
            gauge: Arc::default(),
            others_bytes: state.proven_total().bytes,
            total_bytes: context.session.record().databases_bytes,
            rate: Rate::default(),
        })
    }

    /// Ends the reader: a signal becomes a stop of the session, so that every other reader leaves too.
    fn leave(self, done: Result<()>) -> Result<ReadReport> {
        if let Some(Cause::Signal(number)) = self.stop.cause()
            && self.context.session.stop_by_signal(number)? == StopAnswer::Over
        {
            return Err(Cause::Signal(number).error());
        }
        if let Err(error) = done {
            let stopped = error.jet_code() == Some(Jet::BackupAbortByServer);
            return Err(if stopped { error.hint("End the session with `jetbak end`.") } else { error });
        }
        let mut report = self.report;
        report.excluded = self.context.session.state()?.excluded().values().cloned().collect();
        Ok(report)
    }

    fn everything(&mut self, observer: &mut dyn Observer) -> Result<()> {
        loop {
            self.stop.check()?;
            let state = self.context.session.decide(Call::Read)?;
            let phase = state.phase();
            if !state.is_complete(phase) {
                let before = (self.report.files, state.proven_total());
                self.phase(phase, Wanted::Everything, observer)?;
                if before == (self.report.files, self.context.session.state()?.proven_total()) {
                    self.wait_for_others(observer)?;
                }
            } else if phase == Phase::Databases {
                self.list_logs()?;
            } else {
                return Ok(());
            }
        }
    }

    /// Other readers hold what is left; at the border of a phase we wait for each other.
    fn wait_for_others(&mut self, observer: &mut dyn Observer) -> Result<()> {
        self.tell(observer);
        self.stop.sleep(WATCH_INTERVAL)
    }

    /// After named reads: the database phase ends by itself when the last database is done.
    fn end_of_databases(&mut self) -> Result<()> {
        let state = self.context.session.state()?;
        if state.phase() == Phase::Databases && state.is_complete(Phase::Databases) {
            self.list_logs()?;
        }
        Ok(())
    }

    /// Fixes the list of logs; whoever is first counts.
    fn list_logs(&mut self) -> Result<()> {
        let logs = match self.engine.list_logs(self.stop) {
            Ok(logs) => logs,
            Err(error) => {
                self.stop.check()?;
                return Err(self.drop_session(error)?);
            }
        };
        let mut text = Vec::new();
        for log in &logs {
            write_entry(&mut text, log).expect("memory takes every write");
        }
        let plan = format!("logs-{}.jsonl", self.slot.number);
        durable::write(&self.context.session.folder().join(&plan), &text, Put::Replace)?;
        let (terms, live) = (self.context.session.record().terms(), self.context.session.live()?);
        self.context.session.append(Durability::Lazy, |state| {
            state.decide(Call::ListLogs, terms, &live)?;
            let listed = Event::LogsListed { plan, logs: logs.len() as u64 };
            Ok::<_, Error>(if state.phase() == Phase::Logs { Vec::new() } else { vec![listed] })
        })?;
        self.total_bytes = logs.iter().fold(self.total_bytes, |sum, log| sum.saturating_add(log.size));
        Ok(())
    }

    /// Reads one list into the repository.
    fn phase(&mut self, phase: Phase, wanted: Wanted, observer: &mut dyn Observer) -> Result<()> {
        let partial = self.context.require_partial()?;
        let sink = StoreSink { store: Arc::clone(partial.repository().store()), data: partial.data(), writing: None };
        self.run(phase, wanted, sink, observer)
    }

    fn run(
        &mut self,
        phase: Phase,
        wanted: Wanted,
        sink: impl Sink + 'static,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let Some(plan) = self.context.plan(phase)? else { return Ok(()) };
        let ledger: SharedLedger = Arc::new(Mutex::new(Ledger::default()));
        let claims = Claims {
            session: self.context.session.clone(),
            engine: Arc::clone(&self.engine),
            reader: self.slot.number,
            phase,
            plan,
            records: self.records.clone(),
            wanted,
            ledger: Arc::clone(&ledger),
            current: None,
        };
        let keep_going = self.context.session.record().keep_going && phase == Phase::Databases;
        let policy = Policy { keep_going, retries: self.context.session.record().retries };
        let mut failed = None;
        let result = {
            let cell = std::cell::RefCell::new((&mut *self, observer, Syncs::default(), &mut failed));
            let gauge = Arc::clone(&cell.borrow().0.gauge);
            let stop = cell.borrow().0.stop;
            let ran = pipeline::run(
                claims,
                sink,
                stop,
                &gauge,
                policy,
                &mut |report| {
                    let (reader, observer, _, failed) = &mut *cell.borrow_mut();
                    reader.take(report, phase, &ledger, *observer, failed)
                },
                &mut || {
                    let (reader, observer, syncs, _) = &mut *cell.borrow_mut();
                    reader.tell(*observer);
                    reader.sync_beside(phase, &ledger, syncs)
                },
            );
            let (reader, observer, syncs, _) = cell.into_inner();
            ran.and_then(|()| reader.sync_all(phase, &ledger, syncs, observer))
        };
        result?;
        match failed {
            Some(error) if phase == Phase::Logs => Err(self.drop_session(error)?),
            Some(error) if !keep_going => Err(error),
            _ => Ok(()),
        }
    }

    /// Streams one entry without claiming it.
    fn look(
        &mut self,
        phase: Phase,
        entry: Entry,
        sink: impl Sink + 'static,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        self.total_bytes = entry.size;
        self.others_bytes = 0;
        let feed = OneEntry { engine: Arc::clone(&self.engine), entry: Some(entry.clone()), open: entry };
        let policy = Policy { keep_going: false, retries: self.context.session.record().retries };
        let gauge = Arc::clone(&self.gauge);
        let mut failed = None;
        let mut finished = None;
        let stop = self.stop;
        pipeline::run(
            feed,
            sink,
            stop,
            &gauge,
            policy,
            &mut |report| {
                match report {
                    Report::Done(done) => finished = Some(done.bytes),
                    Report::Failed { error, .. } => failed = Some(error),
                    Report::Repeating { .. } => {}
                }
                Ok(())
            },
            &mut || {
                self.tell_phase(phase, observer);
                Ok(())
            },
        )?;
        if let Some(error) = failed {
            return Err(error);
        }
        (self.report.files, self.report.bytes) = (1, finished.unwrap_or(0));
        Ok(())
    }

    fn take(
        &mut self,
        report: Report,
        phase: Phase,
        ledger: &SharedLedger,
        observer: &mut dyn Observer,
        failed: &mut Option<Error>,
    ) -> Result<()> {
        match report {
            Report::Done(finished) => {
                let entry = arrived(ledger, finished.ticket)?;
                if entry.role.is_file() {
                    self.report.files += 1;
                    self.report.bytes += finished.bytes;
                }
                self.out.add(phase, &entry, &finished)
            }
            Report::Failed { ticket, error } => {
                let entry = arrived(ledger, ticket)?;
                let excluded = self.context.session.record().keep_going && phase == Phase::Databases;
                let failure = failure(&entry.path, &error);
                let event = Event::Failed { phase, index: ticket, excluded, failure };
                self.context.session.append::<Error>(Durability::Lazy, |_| Ok(vec![event]))?;
                if excluded {
                    let message = format!("left out: {}", error.message());
                    observer.warning(&Warning { jet: error.jet_code(), message, file: Some(entry.path) });
                }
                failed.get_or_insert(error);
                Ok(())
            }
            Report::Repeating { path, what } => {
                let message = format!("{} changed while it was read ({what}); reading it again", printable(&*path));
                observer.warning(&Warning { jet: None, message, file: Some(path.to_path_buf()) });
                Ok(())
            }
        }
    }

    /// An error of a source log ends the session (decision 18); the error goes on with a word about that.
    fn drop_session(&self, error: Error) -> Result<Error> {
        heal::end_unpublished(self.context, Outcome::Failed, &mut Silent)?;
        Ok(error.hint("The session is over: a backup without one of its logs is none. Mend this, then begin anew."))
    }

    fn tell(&mut self, observer: &mut dyn Observer) {
        let phase = self.context.session.state().map_or(Phase::Databases, |state| state.phase());
        self.tell_phase(phase, observer);
    }

    fn tell_phase(&mut self, phase: Phase, observer: &mut dyn Observer) {
        let bytes = self.gauge.bytes();
        let file = self.gauge.file();
        observer.progress(&Progress {
            activity: phase.into(),
            file: file.clone(),
            bytes_done: self.others_bytes.saturating_add(bytes).min(self.total_bytes.max(bytes)),
            bytes_total: self.total_bytes.max(bytes),
        });
        if self.rate.is_due() {
            let progress = ReaderProgress {
                pid: std::process::id(),
                phase,
                file: file.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
                bytes_done: bytes,
                files_done: self.report.files,
                bytes_per_second: self.rate.measure(bytes),
            };
            let _ = self.slot.report(&progress); // news for `status`; reading goes on without it
        }
    }

    /// Starts a sync beside the copy when enough waits for one, and records what an earlier one has proven.
    fn sync_beside(&mut self, phase: Phase, ledger: &SharedLedger, syncs: &mut Syncs) -> Result<()> {
        if let Some(proven) = syncs.finished()? {
            self.record_proven(phase, proven)?;
        }
        if syncs.is_due(&self.out, &self.gauge) {
            self.out.flush()?;
            syncs.start(&self.records.store, self.out.point(lock(ledger).take_complete()), self.gauge.bytes())?;
        }
        Ok(())
    }

    /// Everything that this run recorded becomes proven.
    fn sync_all(
        &mut self,
        phase: Phase,
        ledger: &SharedLedger,
        mut syncs: Syncs,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        if syncs.underway.is_some() {
            let proven = self.wait_for(&mut syncs, observer)?;
            self.record_proven(phase, proven)?;
        }
        self.out.flush()?;
        let complete = lock(ledger).take_complete();
        if complete.is_empty() && !self.out.has_unproven() {
            return Ok(());
        }
        syncs.start(&self.records.store, self.out.point(complete), self.gauge.bytes())?;
        let proven = self.wait_for(&mut syncs, observer)?;
        self.record_proven(phase, proven)
    }

    fn wait_for(&mut self, syncs: &mut Syncs, observer: &mut dyn Observer) -> Result<Point> {
        loop {
            if let Some(proven) = syncs.finished()? {
                return Ok(proven);
            }
            self.stop.check()?;
            self.tell(observer);
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn record_proven(&mut self, phase: Phase, point: Point) -> Result<()> {
        let reader = self.slot.number;
        let Point { records, files, bytes, complete } = point;
        self.out.proven = records;
        let mut events = vec![Event::Synced { reader, records, files, bytes }];
        events.extend(complete.into_iter().map(|first| Event::Closed { reader, phase, first }));
        self.context.session.append(Durability::Lazy, |state| {
            if !state.in_progress() {
                return Err(Error::from(Refusal::NoBackup));
            }
            Ok(events)
        })
    }
}

fn arrived(ledger: &SharedLedger, ticket: u64) -> Result<Entry> {
    let entry = lock(ledger).arrived(ticket);
    entry.ok_or_else(|| Error::new(ExitCode::Failed, format!("entry {ticket} was reported out of order")))
}

/// For what happens when a session is dropped: its error says all there is to say.
struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _: &Progress) {}
    fn warning(&mut self, _: &Warning) {}
    fn decided(&mut self, _: &str) {}
    fn said(&mut self, _: &str) {}
}

/// A feed of one entry.
struct OneEntry {
    engine: Arc<dyn Engine>,
    entry: Option<Entry>,
    open: Entry,
}

impl Feed for OneEntry {
    fn next(&mut self) -> Result<Option<Job>> {
        Ok(self.entry.take().map(|entry| Job { ticket: 0, path: Arc::from(entry.path.as_path()), has_content: true }))
    }

    fn open(&mut self, _: &Job) -> Result<Opened> {
        self.engine.open(&self.open)
    }
}

/// The file in which a reader records what it has read.
struct RecordFile {
    out: Box<dyn Writing>,
    pending: Vec<u8>,
    written: u64,
    files: u64,
    bytes: u64,
    proven: u64,
}

impl RecordFile {
    fn create(home: &RecordFolder, reader: u32) -> Result<Self> {
        let out = home.store.create(&home.file(reader))?;
        Ok(Self { out, pending: Vec::new(), written: 0, files: 0, bytes: 0, proven: 0 })
    }

    fn add(&mut self, phase: Phase, entry: &Entry, finished: &Finished) -> Result<()> {
        let line = FileLine::new(&entry.path, entry.role, finished);
        let record = ReadRecord {
            phase,
            index: finished.ticket,
            stamp: finished.attributes.stamp,
            mode: finished.attributes.mode,
            line,
        };
        serde_json::to_writer(&mut self.pending, &record).expect("memory takes every write");
        self.pending.push(b'\n');
        self.files += 1;
        self.bytes += finished.bytes;
        if self.pending.len() > 256 * 1024 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write(&self.pending)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn has_unproven(&self) -> bool {
        self.written + self.pending.len() as u64 > self.proven
    }

    /// What a sync that starts now will prove.
    fn point(&self, complete: Vec<u64>) -> Point {
        Point { records: self.written, files: self.files, bytes: self.bytes, complete }
    }
}

/// What a sync proves: a length of the record file, what it amounts to, and the batches that are complete with it.
#[derive(Clone, Debug)]
struct Point {
    records: u64,
    files: u64,
    bytes: u64,
    complete: Vec<u64>,
}

/// Syncs that run beside the copy, one at a time.
struct Syncs {
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
    fn is_due(&self, out: &RecordFile, gauge: &Gauge) -> bool {
        let waiting = gauge.bytes().saturating_sub(self.bytes);
        self.underway.is_none()
            && (waiting >= SYNC_EVERY_BYTES || (self.started.elapsed() >= SYNC_EVERY && out.has_unproven()))
    }

    fn start(&mut self, store: &Arc<dyn Store>, point: Point, bytes: u64) -> Result<()> {
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

    fn finished(&mut self) -> Result<Option<Point>> {
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

/// Writes into the data folder of a partial.
struct StoreSink {
    store: Arc<dyn Store>,
    data: PathBuf,
    writing: Option<Box<dyn Writing>>,
}

impl Sink for StoreSink {
    fn begin(&mut self, path: &Path) -> Result<()> {
        self.writing = Some(self.store.create(&self.data.join(path))?);
        Ok(())
    }

    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        match &mut self.writing {
            Some(writing) => writing.write(chunk),
            None => Err(Error::new(ExitCode::Failed, "a chunk came before its file")),
        }
    }

    fn finish(&mut self, _: &Path, attributes: &Attributes) -> Result<()> {
        match self.writing.take() {
            Some(writing) => writing.finish(Some(attributes)),
            None => Err(Error::new(ExitCode::Failed, "a file ended before it began")),
        }
    }

    fn abandon(&mut self, path: &Path) -> Result<()> {
        self.writing = None;
        self.store.remove(&self.data.join(path))
    }

    fn directory(&mut self, path: &Path, _: &Attributes) -> Result<()> {
        // Its mode and time come when it is sealed: files are still to be put into it.
        self.store.make_directory(&self.data.join(path))
    }

    fn link(&mut self, path: &Path, target: &Path, attributes: &Attributes) -> Result<()> {
        let path = self.data.join(path);
        self.store.make_link(&path, target)?;
        self.store.dress(&path, attributes)
    }
}

/// Writes one file to stdout or to a path.
struct OutSink {
    out: Output,
    temporary: Option<(PathBuf, std::fs::File)>,
}

impl OutSink {
    fn new(out: Output) -> Self {
        Self { out, temporary: None }
    }
}

impl Sink for OutSink {
    fn begin(&mut self, _: &Path) -> Result<()> {
        let Output::File(target) = &self.out else { return Ok(()) };
        drop(self.temporary.take());
        let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path = folder.join(format!("{}{:016x}", durable::TEMPORARY_PREFIX, durable::random()));
        let file = std::fs::File::create_new(&path).map_err(|e| Error::io("write", target, &e))?;
        self.temporary = Some((path, file));
        Ok(())
    }

    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        match (&mut self.out, &mut self.temporary) {
            (Output::File(target), Some((_, file))) => {
                file.write_all(chunk).map_err(|e| Error::io("write", target, &e))
            }
            (Output::Stdout(file), _) => {
                file.write_all(chunk).map_err(|e| Error::io("write to", Path::new("stdout"), &e))
            }
            (Output::File(_), None) => Err(Error::new(ExitCode::Failed, "a chunk came before its file")),
        }
    }

    fn finish(&mut self, _: &Path, _: &Attributes) -> Result<()> {
        let (Output::File(target), Some((path, file))) = (&self.out, self.temporary.take()) else { return Ok(()) };
        let put = file.sync_all().and_then(|()| std::fs::rename(&path, target));
        if let Err(error) = put {
            let _ = std::fs::remove_file(&path); // the first error is the one to report
            return Err(Error::io("write", target, &error));
        }
        durable::sync_folder(target.parent().unwrap_or(Path::new(".")))
    }

    fn abandon(&mut self, _: &Path) -> Result<()> {
        self.take_away();
        Ok(())
    }

    fn directory(&mut self, _: &Path, _: &Attributes) -> Result<()> {
        Ok(())
    }

    fn link(&mut self, _: &Path, _: &Path, _: &Attributes) -> Result<()> {
        Ok(())
    }

    fn can_restart(&self) -> bool {
        matches!(self.out, Output::File(_))
    }
}

impl OutSink {
    fn take_away(&mut self) {
        if let Some((path, _)) = self.temporary.take() {
            let _ = std::fs::remove_file(path); // a temporary file of ours that may be gone
        }
    }
}

impl Drop for OutSink {
    fn drop(&mut self) {
        self.take_away(); // a stop in the middle leaves nothing behind
    }
}

/// Bytes a second over the last few seconds.
struct Rate {
    measured: Option<(Instant, u64)>,
    per_second: f64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { measured: None, per_second: 0.0 }
    }
}

impl Rate {
    fn is_due(&self) -> bool {
        self.measured.is_none_or(|(at, _)| at.elapsed() >= REPORT_EVERY)
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    fn measure(&mut self, bytes: u64) -> u64 {
        if let Some((at, before)) = self.measured {
            let lately = bytes.saturating_sub(before) as f64 / at.elapsed().as_secs_f64().max(0.001);
            self.per_second = if self.per_second == 0.0 { lately } else { self.per_second * 0.8 + lately * 0.2 };
        }
        self.measured = Some((Instant::now(), bytes));
        self.per_second as u64
    }
}
