//! read: everything that is left, in protocol order, or named files; into the repository or to one output.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::adopt::AdoptedLogs;
use super::claim::{Claims, Ledger, SharedLedger, Wanted, lock};
use super::compare::compare_logs;
use super::kept_file::Copies;
use super::named::{Found, find_file, refuse_second_reader, select};
use super::parent;
use super::records::{Point, RecordFile, Spare, Syncs};
use super::sinks::{OutSink, Output};
use super::store_sink::StoreSink;
use super::{Context, Observer, Progress, Silent, Warning, failure, heal};
use crate::durable::{self, Put};
use crate::engine::plan::write_entry;
use crate::engine::{Engine, Entry, Role};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::repository::read_records::{HalfRecord, RecordFolder};
use crate::session::StopAnswer;
use crate::session::event::{Event, Failure, Kind, Outcome, Phase};
use crate::session::journal::Durability;
use crate::session::readers::{ReaderProgress, ReaderSlot};
use crate::session::state::{Call, EntryState, Refusal, State};
use crate::stream::pipeline::{self, Feed, Gauge, Job, Policy, Report, Sink};
use crate::stream::source::{Copied, OddKind, Opened, Proof};
use crate::stream::stop::{Cause, StopToken, WATCH_INTERVAL};

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
    if counts && let EntryState::Taken(holder, _) = state.entry(found.phase, found.batch.first) {
        refuse_second_reader(context, holder, name)?;
    }
    let sink = OutSink::new(out);
    if !counts || state.entry(found.phase, found.batch.first) == EntryState::Done {
        return look(context, found, sink, observer, stop);
    }
    let mut reader = Reader::start(context, stop)?;
    let wanted = Wanted::Named(VecDeque::from([found.batch]));
    let done = reader.run(found.phase, wanted, sink, observer).and_then(|()| reader.end_of_databases());
    reader.leave(done)
}

/// Streams one file without reading it for the session: nobody waits for a look, and a signal to it ends it alone.
fn look(
    context: &Context,
    found: Found,
    sink: impl Sink + 'static,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<ReadReport> {
    let Found { phase, mut entry, .. } = found;
    entry.hard_link = None; // whatever its name, its content is asked for
    let bytes_total = entry.size;
    let engine = context.engine()?;
    let feed = OneEntry { engine: Arc::clone(&engine), entry: Some(entry.clone()), open: entry, stop: stop.clone() };
    let policy = Policy { keep_going: false, retries: context.session.record().retries };
    let gauge = Arc::new(Gauge::default());
    let (mut failed, mut report) = (None, ReadReport::default());
    let mut hear = |one| {
        match one {
            Report::Done(done) => (report.files, report.bytes) = (1, done.bytes),
            Report::Failed { error, .. } => failed = Some(error),
            Report::Repeating { .. } | Report::Reached { .. } => {}
        }
        Ok(())
    };
    let mut tick = || {
        let (bytes_done, file) = (gauge.bytes(), gauge.file());
        observer.progress(&Progress { activity: phase.into(), file, bytes_done, bytes_total });
        Ok(())
    };
    let ran = pipeline::run(feed, sink, stop, &gauge, policy, &mut hear, &mut tick);
    engine.let_go();
    ran?;
    match failed {
        Some(error) => Err(error),
        None => Ok(report),
    }
}

/// The source is read-only: nothing is written into it, not even when asked.
fn refuse_storage(context: &Context, target: &Path) -> Result<()> {
    let absolute = std::path::absolute(target).map_err(|e| Error::io("find", target, &e))?;
    let Some(folder) = absolute.parent().and_then(|parent| parent.canonicalize().ok()) else { return Ok(()) };
    let record = context.session.record();
    let what = if folder.starts_with(record.storage()) {
        "lies inside of the storage"
    } else if record.roots().iter().any(|root| root.path == folder) {
        "lies beside the logs or the checkpoint"
    } else {
        return Ok(());
    };
    let message = format!("{} {what}", printable(target));
    Err(Error::jet(Jet::InvalidParameter, message).file(target).hint("Write it somewhere else."))
}

/// The state in which names are looked up: where no database is left to read, the logs are listed first.
fn state_for_names(context: &Context, stop: &StopToken) -> Result<State> {
    let state = context.session.decide(Call::Read)?;
    let only_root = state.total(Phase::Databases) == Some(1) && context.plan_is_only_root()?;
    if state.phase() == Phase::Logs || !(state.is_complete(Phase::Databases) || only_root) {
        return Ok(state);
    }
    let mut reader = Reader::start(context, stop)?;
    // The storage itself is no database: nobody would think of reading it first.
    let read = if only_root { reader.phase(Phase::Databases, Wanted::Everything, &mut Silent) } else { Ok(()) };
    let listed = read.and_then(|()| reader.end_of_databases());
    reader.leave(listed)?;
    context.session.state()
}

/// One process that reads for a session.
struct Reader<'a> {
    context: &'a Context,
    engine: Arc<dyn Engine>,
    stop: &'a StopToken,
    slot: ReaderSlot,
    records: RecordFolder,
    out: RecordFile,
    /// None in a session without a repository, from which nobody goes on.
    spare: Option<Spare>,
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
        let out = RecordFile::create(&records, slot.number, context.session.record().roots())?;
        let spare = context.partial()?.and_then(|_| Spare::create(&records, slot.number));
        Ok(Self {
            context,
            engine,
            stop,
            slot,
            records,
            out,
            spare,
            report: ReadReport::default(),
            gauge: Arc::default(),
            others_bytes: state.proven_total().bytes,
            total_bytes: context.session.record().databases_bytes,
            rate: Rate::default(),
        })
    }

    /// Ends the reader: a signal becomes a stop of the session, so that every other reader leaves too.
    fn leave(self, done: Result<()>) -> Result<ReadReport> {
        self.engine.let_go();
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
        let mut logs = match self.engine.list_logs(self.stop) {
            Ok(logs) => logs,
            Err(error) => {
                self.stop.check()?;
                return Err(self.drop_session(error)?);
            }
        };
        if self.context.session.record().parent.is_some() {
            compare_logs(self.context.session.folder(), &mut logs)?;
        }
        let (mut text, mut offsets) = (Vec::new(), vec![0]);
        for log in &logs {
            write_entry(&mut text, log).expect("memory takes every write");
            offsets.push(text.len() as u64);
        }
        let adopted = AdoptedLogs::find(self.context, &logs, &offsets)?;
        let plan = format!("logs-{}.jsonl", self.slot.number);
        durable::write(&self.context.session.folder().join(&plan), &text, Put::Replace)?;
        let (terms, live) = (self.context.session.record().terms(), self.context.session.live()?);
        self.context.session.append(Durability::Lazy, |state| {
            state.decide(Call::ListLogs, terms, &live)?;
            if state.phase() == Phase::Logs {
                return Ok(Vec::new());
            }
            adopted.clear(self.context)?;
            let listed = Event::LogsListed { plan, logs: logs.len() as u64 };
            Ok::<_, Error>([vec![listed], adopted.events].concat())
        })?;
        self.total_bytes = logs.iter().fold(self.total_bytes, |sum, log| sum.saturating_add(log.size));
        Ok(())
    }

    /// Reads one list into the repository.
    fn phase(&mut self, phase: Phase, wanted: Wanted, observer: &mut dyn Observer) -> Result<()> {
        let partial = self.context.require_partial()?;
        let roots = self.context.session.record().roots();
        let repository = partial.repository();
        let _in_use = parent::hold(repository, self.context.session.record().parent.as_ref(), self.stop)?;
        // Later backups build on this one, or it on an earlier one: blocks are told apart by their hashes.
        let kind = self.context.session.record().kind;
        let of_blocks = repository.shelf(false).filter(|_| kind != Kind::Copy);
        let sink = StoreSink::new(Arc::clone(repository.store()), partial.backup(), roots, of_blocks);
        self.run(phase, wanted, sink, observer)
    }

    /// Where the copies are of what another reader has begun; none in a session without a repository.
    fn copies(&self) -> Result<Option<Copies>> {
        let roots = self.context.session.record().roots();
        Ok(self.context.partial()?.map(|partial| Copies {
            store: Arc::clone(partial.repository().store()),
            folder: partial.backup(),
            roots,
        }))
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
            stop: self.stop.clone(),
            ledger: Arc::clone(&ledger),
            current: None,
            copies: self.copies()?,
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
            if let Err(error) = ran {
                if error.jet_code() == Some(Jet::DiskFull) {
                    // What is there counts for the next one, as far as its records still fit.
                    let _ = reader.spare.as_ref().map_or(Ok(()), Spare::give_back);
                    let again = reader.out.begin_again();
                    let _ = again.and_then(|()| reader.sync_all(phase, &ledger, syncs, observer));
                }
                return Err(error);
            }
            reader.sync_all(phase, &ledger, syncs, observer)
        };
        result?;
        match failed {
            Some(error) if phase == Phase::Logs => Err(self.drop_session(error)?),
            Some(error) if !keep_going => Err(error),
            _ => Ok(()),
        }
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
            Report::Reached { ticket, reached } => {
                let roots = self.context.session.record().roots();
                let half = lock(ledger)
                    .next(ticket)
                    .and_then(|entry| Some(HalfRecord::new((phase, ticket), roots.place(&entry.path)?, &reached)));
                self.out.note_half(half);
                Ok(())
            }
            Report::Done(finished) => {
                self.out.note_half(None);
                let entry = arrived(ledger, finished.ticket)?;
                for what in &finished.attributes.not_kept {
                    let message = format!("{}: not kept: {what}", printable(&entry.path));
                    observer.warning(&Warning { jet: None, message, file: Some(entry.path.clone()) });
                }
                warn_of_odd(&entry, finished.attributes.proof.as_deref(), observer);
                tell_of_copy(&entry, finished.attributes.copy.as_deref(), observer);
                if entry.role.is_file() {
                    self.report.files += 1;
                    self.report.bytes += finished.bytes;
                }
                self.out.add(phase, &entry, &finished)
            }
            Report::Failed { ticket, error } => {
                self.out.note_half(None);
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
            Report::Repeating { path, what, is_usual: true } => {
                self.out.note_half(None);
                observer.decided(&format!("{}: {what}; reading it again", printable(&*path)));
                Ok(())
            }
            Report::Repeating { path, what, is_usual: false } => {
                self.out.note_half(None);
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
            self.out.record_half()?;
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
        if syncs.is_underway() {
            let proven = self.wait_for(&mut syncs, observer)?;
            self.record_proven(phase, proven)?;
        }
        self.out.record_half()?;
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
        self.out.note_proven(&point)?;
        let Point { records, files, bytes, complete, .. } = point;
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

/// Pages or segments of one file that are told one by one; `files.jsonl` has them all.
const ODD_TOLD_MAX: usize = 20;

/// Tells of pages and segments that do not prove themselves, and were copied as they are.
fn warn_of_odd(entry: &Entry, proof: Option<&Proof>, observer: &mut dyn Observer) {
    let Some(proof) = proof else { return };
    let path = printable(&entry.path);
    let mut warn = |jet, message| observer.warning(&Warning { jet, message, file: Some(entry.path.clone()) });
    for what in &proof.notices {
        warn(None, what.clone());
    }
    let what = if entry.role == Role::Log { "segment" } else { "page" };
    for odd in proof.odd.iter().take(ODD_TOLD_MAX) {
        let copied = if odd.kind.is_damage() { "; it was copied as it is" } else { "" };
        let jet = match odd.kind {
            OddKind::PageChecksum => Some(Jet::ReadVerifyFailure),
            OddKind::PageNumber => Some(Jet::ReadPgnoVerifyFailure),
            _ => None,
        };
        warn(jet, format!("{what} {} of {path} {}{copied}", odd.number, odd.kind.describe()));
    }
    let more = (proof.odd.len().saturating_sub(ODD_TOLD_MAX) as u64).saturating_add(proof.more);
    if more > 0 {
        warn(None, format!("{more} more {what}s of {path} do not prove themselves; `jetbak show --files` names them"));
    }
}

/// Tells how the copy of a database was made.
fn tell_of_copy(entry: &Entry, copy: Option<&Copied>, observer: &mut dyn Observer) {
    let Some(Copied { told, warning, .. }) = copy else { return };
    let path = printable(&entry.path);
    observer.decided(&format!("{path}: {told}"));
    if let Some(warning) = warning {
        observer.warning(&Warning { jet: None, message: format!("{path}: {warning}"), file: Some(entry.path.clone()) });
    }
}

fn arrived(ledger: &SharedLedger, ticket: u64) -> Result<Entry> {
    let entry = lock(ledger).arrived(ticket);
    entry.ok_or_else(|| Error::new(ExitCode::Failed, format!("entry {ticket} was reported out of order")))
}

/// A feed of one entry.
struct OneEntry {
    engine: Arc<dyn Engine>,
    entry: Option<Entry>,
    open: Entry,
    stop: StopToken,
}

impl Feed for OneEntry {
    fn next(&mut self) -> Result<Option<Job>> {
        Ok(self.entry.take().map(|entry| Job::new(0, Arc::from(entry.path.as_path()), true)))
    }

    fn open(&mut self, _: &Job) -> Result<Opened> {
        self.engine.open(&self.open, &self.stop)
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
