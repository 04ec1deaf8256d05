//! The `ese` engine: an instance of the Extensible Storage Engine as a storage. What is not the engine's own is read as
//! the files engine reads it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::at_rest::is_at_rest;
use super::check::look_inside;
use super::contents::without_vague_claim;
use super::facts::{DatabaseFacts, Facts, Named, Span, Terms};
use super::files::{Below, Found, look};
use super::finding::{Finding, Kind, Weight};
use super::fitness::{self, Range, chain};
use super::increment::{self, Parent};
use super::instance::{Instance, Options};
use super::judge::{Inside, Judgement, judge_file, judge_instance};
use super::log::{LogName, LogRole, checkpoint_base};
use super::ranges::{Need, span};
use super::recognise::{Claim, Content};
use super::survey::patch_beside;
use crate::engine::files::FilesEngine;
use crate::engine::milestones::{KnownDatabase, Milestone};
use crate::engine::walk::{Kind as FileKind, Seen};
use crate::engine::{
    Deletion, Engine, EngineName, Entry, HeldLog, History, LeftOut, Mark, Needless, Notice, Role, Surveyed,
};
use crate::error::{Error, ExitCode, Result, printable};
use crate::roots::LOGS;
use crate::stream::source::{Opened, Stamp};
use crate::stream::stop::StopToken;

/// An instance, and how it is to be read.
#[derive(Debug)]
pub struct EseEngine {
    pub(super) files: FilesEngine,
    pub(super) storage: PathBuf,
    pub(super) terms: Terms,
    keep_going: bool,
    /// What the instance was when the session began, where there is one.
    pub(super) known: Option<Facts>,
    /// The backup after which the logs are taken, and nothing of the databases.
    parent: Option<Parent>,
    /// Who the storage is, it tells without judging it: whether it is fit depends on the backup that the logs follow.
    judges_later: bool,
    /// What it was judged to be a moment ago, for a survey that follows.
    judged: Mutex<Option<(Instant, Story)>>,
    /// What each generation must amount to, as the one after it has recorded; looked up once.
    pub(super) recorded: Mutex<Option<HashMap<u32, u64>>>,
}

/// How long a judgement holds: long enough to be made once for the questions that a begin asks, one after the other.
const JUDGEMENT_HOLDS: Duration = Duration::from_secs(5);

/// Things that are odd and told one by one.
const NOTICES_MAX: usize = 50;

/// What an instance is at one moment, judged fit.
#[derive(Debug)]
pub(super) struct Story {
    facts: Facts,
    mark: Option<Mark>,
    notices: Vec<Notice>,
    /// What becomes of the engine's own files, relative to the storage.
    places: HashMap<PathBuf, Place>,
    /// The logs that are taken, oldest first.
    logs: Vec<(u32, PathBuf)>,
    checkpoint: Option<PathBuf>,
    pub(super) recorded: HashMap<u32, u64>,
}

/// What becomes of a file of the engine.
#[derive(Debug)]
enum Place {
    Database,
    /// A database that an earlier backup holds, and whose changes are in the logs.
    Carried,
    /// Read after the databases.
    LogPhase,
    /// Read with the databases, but none.
    Beside,
    LeftOut(String),
}

impl EseEngine {
    /// An engine over a directory that was opened; a storage is at rest where all of it lies on read-only file
    /// systems of local disks. `known` is what it was when the session began.
    pub fn new(files: FilesEngine, storage: &Path, terms: &Terms, keep_going: bool, known: Option<Facts>) -> Self {
        let mut terms = terms.clone();
        terms.snapshot |= match &known {
            Some(known) => known.snapshot, // it may be gone by now
            None => is_at_rest(storage) && files.roots().iter().all(|root| is_at_rest(&root.path)),
        };
        let storage = storage.to_owned();
        let (judged, recorded) = (Mutex::default(), Mutex::default());
        Self { files, storage, terms, keep_going, known, parent: None, judges_later: false, judged, recorded }
    }

    /// The same engine for a backup that builds on another one. Where it takes the logs after that one, what the databases
    /// of their stream hold is in those.
    #[must_use]
    pub fn after(self, parent: Option<Parent>) -> Self {
        Self { judges_later: true, parent, ..self }
    }

    /// What a file is called: relative to the storage, absolute elsewhere.
    pub(super) fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.storage).unwrap_or(path).to_owned()
    }

    /// Looks at the instance as it is now.
    pub(super) fn instance(&self, stop: &StopToken) -> Result<Instance> {
        let named = |named: &Option<Named>| named.as_ref().map(Named::path);
        let options = Options {
            base: self.terms.base.clone(),
            log_directory: named(&self.terms.log_directory),
            checkpoint: named(&self.terms.checkpoint),
        };
        self.gather(&self.files, &options, stop)
    }

    /// The same, of the files that somebody sees.
    pub(super) fn gather(&self, files: &FilesEngine, options: &Options, stop: &StopToken) -> Result<Instance> {
        let look = |path: PathBuf| match look(&path, stop).and_then(without_vague_claim) {
            Ok(found) => Ok(Some(Below::File(found))),
            Err(error) if stop.cause().is_some() => Err(error),
            Err(error) if error.is_not_found() => Ok(None), // gone since it was listed
            Err(error) => Ok(Some(Below::Failed(path, error))),
        };
        let mut strangers = Vec::new();
        let mut instance = Instance::gather(&self.storage, options, stop, &mut |take| {
            files.each_file(stop, &mut |relative, _| {
                look(self.storage.join(relative))?.into_iter().for_each(&mut *take);
                Ok(())
            })?;
            files.each_in(LOGS, stop, &mut |seen| {
                let Seen::Entry { path, kind: FileKind::File, .. } = seen else { return Ok(()) };
                match look(path)? {
                    Some(below) if is_of_the_logs(&below) => take(below),
                    Some(Below::File(Found { path, content: Content::Database(..), .. })) => strangers.push(path),
                    _ => {}
                }
                Ok(())
            })
        })?;
        let strangers = strangers.iter().map(|path| (path.to_path_buf(), STRANGER.to_owned()));
        instance.left_out.extend(strangers);
        Ok(instance)
    }

    /// Looks at the instance and judges it; an unfit one is an error.
    pub(super) fn story(&self, stop: &StopToken) -> Result<Story> {
        let instance = self.instance(stop)?;
        if instance.is_empty() && instance.failed.is_empty() {
            let message = format!("no file of the Extensible Storage Engine in {}", printable(&self.storage));
            let hint = "--engine files takes any directory as it is; `jetbak inspect FILE` says what a file is.";
            return Err(Error::new(ExitCode::Failed, message).file(&self.storage).hint(hint));
        }
        let mut findings: Vec<Finding> = Vec::new();
        for (path, error) in &instance.failed {
            findings.push(failed(path, error));
        }
        let mut insides = Vec::new();
        for found in &instance.databases {
            let Content::Database(header, _) = &found.content else { continue };
            let mut inside = look_inside(found, header).unwrap_or_else(|error| {
                findings.push(failed(&found.path, &error));
                Inside::default()
            });
            if inside.trailer.is_none() {
                inside.trailer = patch_beside(found, &instance);
            }
            findings.extend(judge_file(found, &inside));
            insides.push(inside);
        }
        let Judgement { findings: between, needs, signature, .. } = judge_instance(&instance, &insides);
        let logs = instance.stream.iter().flat_map(|stream| &stream.logs).map(|log| &log.found);
        let rest = logs.chain(&instance.checkpoint).chain(&instance.other_checkpoints).chain(&instance.flush_maps);
        for found in rest.chain(&instance.others).chain(instance.damaged.iter().map(|(found, _)| found)) {
            findings.extend(judge_file(found, &Inside::default()));
        }
        findings.extend(between);
        let joined = self.parent.as_ref().map(|parent| {
            let now = increment::Now::of(&instance, signature.as_ref(), &self.storage);
            let range = increment::join(parent, &now).map_err(|misjoin| misjoin.error(parent))?;
            increment::goes_on(parent, &instance, signature.as_ref())?;
            Ok(range)
        });
        let range = match &joined {
            Some(Ok(range)) => Some(*range),
            _ => fitness::range(&instance, signature.as_ref(), &needs),
        };
        let (refused, noticed) =
            fitness::judge(&instance, findings, signature.as_ref(), &needs, range, &self.terms, self.keep_going);
        // What state the databases are in comes first (decision 21), then whether the logs join.
        let is_unfit = |error: &Error| error.exit_code() == ExitCode::Unfit;
        let misjoined = joined.and_then(Result::err);
        let refused = match (refused, misjoined) {
            (Some(error), Some(_)) if is_unfit(&error) => Some(error),
            (refused, misjoined) => misjoined.or(refused),
        };
        if let Some(error) = refused {
            let relative = error.path().map(|path| self.relative(path));
            return Err(match relative {
                Some(file) => error.file(file),
                None => error,
            });
        }
        let mut story = Story {
            facts: self.facts(&instance, &insides, &needs),
            mark: None,
            notices: self.notices(&noticed),
            places: HashMap::new(),
            logs: Vec::new(),
            // Recovery begins where the checkpoint says, and it has to be of the time of the databases (§9): theirs stays.
            checkpoint: match &self.parent {
                Some(_) => None,
                None => instance.checkpoint.as_ref().map(|found| self.relative(&found.path)),
            },
            recorded: HashMap::new(),
        };
        story.facts.log_signature = signature.filter(|signature| !signature.is_unset()).map(|known| known.to_hex());
        let of_database = || Some(Mark::Database(story.facts.databases.first()?.signature.clone()));
        story.mark = story.facts.log_signature.clone().map(Mark::Logs).or_else(of_database);
        for (generation, log) in chain(&instance, signature.as_ref()) {
            let recorded = log.header().and_then(super::log::LogHeader::expected_of_previous);
            story.recorded.extend(generation.0.checked_sub(1).zip(recorded));
            if range.is_some_and(|Range { low, high }| (low..=high).contains(&generation)) {
                story.logs.push((generation.0, self.relative(&log.found.path)));
            }
        }
        story.logs.sort_unstable();
        self.place(&instance, range, &mut story);
        Ok(story)
    }

    /// What is odd, as far as anybody reads it in a mail.
    fn notices(&self, findings: &[Finding]) -> Vec<Notice> {
        let mut notices: Vec<_> = findings.iter().take(NOTICES_MAX).map(|finding| self.notice(finding)).collect();
        if let Some(more) = findings.get(NOTICES_MAX) {
            let count = findings.len() - NOTICES_MAX;
            let message =
                format!("{count} more things are odd and stand in nobody's way; `jetbak check` tells them all");
            notices.push(Notice { jet: None, message, file: self.relative(&more.file) });
        }
        notices
    }

    fn notice(&self, finding: &Finding) -> Notice {
        let message = match finding.weight {
            Weight::Failed => finding.message.clone(),
            _ => format!("{} {}", printable(&*finding.file), finding.message),
        };
        Notice { jet: finding.jet, message, file: self.relative(&finding.file) }
    }

    fn facts(&self, instance: &Instance, insides: &[Inside], needs: &[Need]) -> Facts {
        let mut facts = Facts {
            snapshot: self.terms.snapshot,
            base: instance.stream.as_ref().map(|stream| stream.base.clone()),
            ..Facts::default()
        };
        if let Some(Content::Checkpoint(checkpoint, _)) = instance.checkpoint.as_ref().map(|found| &found.content) {
            facts.checkpoint = Some(checkpoint.position.generation.0);
        }
        for (((found, header), _), need) in instance.headers().zip(insides).zip(needs) {
            let mut database = DatabaseFacts::of_header(Named::new(&self.relative(&found.path)), header);
            if let Need::Logs(required) = need {
                database.needs(*required);
                facts.needs_recovery = true;
                let known = facts.required.get_or_insert(Span::new(required.low, required.committed));
                known.low = known.low.min(required.low.0);
                known.high = known.high.max(required.committed.0);
            }
            facts.databases.push(database);
        }
        facts
    }

    /// Says of each file of the engine what becomes of it.
    fn place(&self, instance: &Instance, range: Option<Range>, story: &mut Story) {
        let taken: HashSet<PathBuf> = story.logs.iter().map(|(_, path)| path.clone()).collect();
        let mut put = |found: &Found, place| story.places.insert(self.relative(&found.path), place);
        for (found, header) in instance.headers() {
            let is_of_stream = Some(header.log_signature.to_hex()) == story.facts.log_signature;
            put(found, if self.parent.is_some() && is_of_stream { Place::Carried } else { Place::Database });
        }
        for (found, claim) in &instance.damaged {
            put(found, if *claim == Claim::Database { Place::Database } else { Place::Beside });
        }
        for found in instance.other_checkpoints.iter().chain(&instance.flush_maps).chain(&instance.others) {
            let temporary = matches!(found.content, Content::Other("temporary database"));
            put(
                found,
                if temporary {
                    Place::LeftOut("a temporary database, which no restore needs".to_owned())
                } else {
                    Place::Beside
                },
            );
        }
        if let Some(found) = &instance.checkpoint {
            put(found, Place::LogPhase);
        }
        if let Some(stream) = &instance.stream {
            for log in &stream.logs {
                let needless = || match (range, log.header()) {
                    (Some(Range { low, high }), Some(header))
                        if Some(header.signature.to_hex()) == story.facts.log_signature =>
                    {
                        match &self.parent {
                            Some(parent) => format!("a log before those after {}: {}", parent.backup, span(low, high)),
                            None => format!("a log that no database needs; the backup takes {}", span(low, high)),
                        }
                    }
                    (_, Some(_)) => "a log of another stream".to_owned(),
                    (_, None) => "a log with a damaged header that no database needs".to_owned(),
                };
                let is_taken = taken.contains(&self.relative(&log.found.path));
                put(&log.found, if is_taken { Place::LogPhase } else { Place::LeftOut(needless()) });
            }
            for log in &stream.unused {
                let why = match log.name.role {
                    LogRole::Reserve => "a reserve log",
                    _ => "a temporary or recycled log",
                };
                put(&log.found, Place::LeftOut(why.to_owned()));
            }
        }
        for (path, _) in &instance.failed {
            // What it is, nobody knows: it is proven as a database, should it be readable when it is its turn.
            let place = if fitness::is_needless(instance, path, range) {
                Place::LeftOut("a log that cannot be read, and that no database needs".to_owned())
            } else {
                Place::Database
            };
            story.places.insert(self.relative(path), place);
        }
        for (path, why) in &instance.left_out {
            let why = if why.starts_with("of the log stream") { format!("a log {why}") } else { why.clone() };
            story.places.insert(self.relative(path), Place::LeftOut(why));
        }
    }

    /// Whether the instance is the one that was judged when the session began, as far as the logs go.
    fn require_known(&self, now: &Facts) -> Result<()> {
        let Some(known) = &self.known else { return Ok(()) };
        let what = if known.log_signature != now.log_signature {
            "its logs are of another stream"
        } else if known.base != now.base {
            "its logs have other names"
        } else if known.checkpoint != now.checkpoint {
            "its checkpoint went on"
        } else {
            return Ok(());
        };
        let message = format!("{} is not what it was when the backup began: {what}", printable(&self.storage));
        Err(unfit(Path::new(""), &message).file(&self.storage))
    }

    /// What becomes of what lies in a directory of logs: whatever is none of them is left out.
    fn beside_the_logs(&self, seen: Seen, story: &Story) -> Option<Surveyed> {
        let (path, kind) = match seen {
            Seen::Entry { path, kind, .. } => (path, kind),
            Seen::LeftOut(path, why) => return Some(Surveyed::LeftOut(LeftOut::new(&path, why))),
            Seen::Excluded { path, reason, .. } => return Some(Surveyed::Excluded(path, reason)),
        };
        let why = match (kind, story.places.get(&path)) {
            (FileKind::Directory, _) if self.storage.starts_with(&path) => return None, // the directory itself, or above
            (FileKind::Directory, _) if self.files.roots().iter().any(|root| root.path.starts_with(&path)) => {
                return None;
            }
            (FileKind::Directory, _) => "a directory",
            (FileKind::Link, _) => "a symbolic link",
            (FileKind::File, Some(Place::LogPhase)) => return None,
            (FileKind::File, Some(Place::LeftOut(why))) if why == STRANGER => {
                return Some(Surveyed::LeftOut(LeftOut::new(&path, STRANGER)));
            }
            (FileKind::File, Some(Place::LeftOut(why))) => why,
            (FileKind::File, _) => "no log of this instance",
        };
        Some(Surveyed::LeftOut(LeftOut::usual(&path, why)))
    }

    /// What becomes of a file, where it is the engine's own; a further name of one that is not read here stands alone, which
    /// is told of logs and the checkpoint.
    fn take_file(&self, mut entry: Entry, story: &Story, take: &mut dyn FnMut(Surveyed) -> Result<()>) -> Result<()> {
        entry.role = match story.places.get(&entry.path) {
            Some(Place::Database) => Role::Database,
            Some(Place::LogPhase | Place::Carried) => {
                return entry.hard_link.map_or(Ok(()), |first| take(Surveyed::Parted(entry.path, first)));
            }
            Some(Place::LeftOut(why)) => return take(Surveyed::LeftOut(LeftOut::usual(&entry.path, why))),
            None if self.terms.engine_files => {
                return take(Surveyed::Excluded(entry.path, "--engine-files".to_owned()));
            }
            Some(Place::Beside) | None => Role::Other,
        };
        let is_read_here = |first: &PathBuf| match story.places.get(first) {
            Some(Place::Database | Place::Beside) => true,
            Some(Place::LogPhase | Place::Carried | Place::LeftOut(_)) => false,
            None => !self.terms.engine_files,
        };
        if let Some(first) = entry.hard_link.take_if(|first| !is_read_here(first))
            && matches!(story.places.get(&first), Some(Place::LogPhase | Place::Carried))
        {
            take(Surveyed::Parted(entry.path.clone(), first))?;
        }
        take(Surveyed::Entry(entry))
    }
}

/// The error for a source that does not hold still.
pub(super) fn unfit(path: &Path, message: &str) -> Error {
    Error::new(ExitCode::Unfit, message)
        .file(path)
        .hint("Back up while the application is shut down, or from a snapshot.")
}

fn failed(path: &Path, error: &Error) -> Finding {
    Finding::new(&path.into(), Kind::Unreadable, Weight::Failed, error.jet_code(), error.message())
}

impl Engine for EseEngine {
    fn name(&self) -> EngineName {
        EngineName::Ese
    }

    fn survey(&self, stop: &StopToken, take: &mut dyn FnMut(Surveyed) -> Result<()>) -> Result<()> {
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner).take();
        let story = match judged.filter(|(when, _)| when.elapsed() < JUDGEMENT_HOLDS) {
            Some((_, story)) => story,
            None => self.story(stop)?,
        };
        for notice in &story.notices {
            take(Surveyed::Notice(notice.clone()))?;
        }
        take(Surveyed::Instance(Box::new(story.facts.clone())))?;
        let engines = story.places.iter().filter(|(_, place)| !matches!(place, Place::LeftOut(_)));
        let folders: HashSet<&Path> = engines.flat_map(|(path, _)| path.ancestors().skip(1)).collect();
        let databases = story.places.iter().filter(|(_, place)| matches!(place, Place::Database));
        let mut expected: HashSet<&Path> = databases.map(|(path, _)| path.as_path()).collect();
        let mut unused = None;
        self.files.survey(stop, &mut |found| match found {
            Surveyed::Entry(entry) if entry.path.as_os_str().is_empty() => {
                take(Surveyed::Entry(entry))?;
                let mut further = self.files.roots().iter();
                further.try_for_each(|root| take(Surveyed::Entry(self.files.entry_of(&root.path, Role::Directory)?)))
            }
            Surveyed::Entry(entry) if entry.role.is_file() => {
                expected.remove(entry.path.as_path());
                self.take_file(entry, &story, take)
            }
            Surveyed::Entry(entry) if self.terms.engine_files && !folders.contains(entry.path.as_path()) => {
                take(Surveyed::Excluded(entry.path, "--engine-files".to_owned()))
            }
            Surveyed::UnusedPatterns(numbers) => {
                unused = Some(numbers);
                Ok(())
            }
            other => take(other),
        })?;
        if let Some(gone) = expected.into_iter().next() {
            let message = format!("{} vanished while the backup began", printable(gone));
            return Err(Error::new(ExitCode::Unfit, message).file(gone).hint("Repeat the backup."));
        }
        self.files.each_in(LOGS, stop, &mut |seen| {
            if let (Some(unused), Seen::Excluded { patterns, .. }) = (&mut unused, &seen) {
                unused.retain(|number| !patterns.contains(number));
            }
            self.beside_the_logs(seen, &story).map_or(Ok(()), &mut *take)
        })?;
        unused.map_or(Ok(()), |numbers| take(Surveyed::UnusedPatterns(numbers)))
    }

    fn list_logs(&self, stop: &StopToken) -> Result<Vec<Entry>> {
        let story = self.story(stop)?;
        self.require_known(&story.facts)?;
        let mut entries = Vec::new();
        for (generation, path) in &story.logs {
            entries.push(Entry { generation: Some(*generation), ..self.files.entry_of(path, Role::Log)? });
        }
        if let Some(checkpoint) = &story.checkpoint {
            entries.push(self.files.entry_of(checkpoint, Role::Checkpoint)?);
        }
        *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) = Some(story.recorded);
        Ok(entries)
    }

    fn open(&self, entry: &Entry, stop: &StopToken) -> Result<Opened> {
        match entry.role {
            Role::Database => self.open_database(entry, stop),
            Role::Log => self.open_log(entry, stop),
            Role::Checkpoint | Role::Other => self.open_beside(entry),
            Role::Directory | Role::Link => self.files.open(entry, stop),
        }
    }

    fn mark(&self, stop: &StopToken) -> Result<Option<Mark>> {
        if self.judges_later {
            let instance = self.instance(stop)?;
            let signature = judge_instance(&instance, &vec![Inside::default(); instance.databases.len()]).signature;
            let of_database = instance.headers().next().map(|(_, header)| Mark::Database(header.signature.to_hex()));
            let of_logs = signature.filter(|known| !known.is_unset()).map(|known| Mark::Logs(known.to_hex()));
            return Ok(of_logs.or(of_database));
        }
        let story = self.story(stop)?;
        let mark = story.mark.clone();
        *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), story));
        Ok(mark)
    }

    fn milestones(&self, _: &[KnownDatabase], _: jiff::Timestamp, stop: &StopToken) -> Result<Vec<Milestone>> {
        self.milestones_now(stop)
    }

    fn changed_since(&self, path: &Path, stamp: &Stamp) -> Result<Option<String>> {
        if self.terms.snapshot {
            // It may be gone by now, or another one may stand in its place; where it is still there, it must be the same.
            return self.files.difference_where_it_was(path, stamp);
        }
        self.files.difference(path, stamp)
    }

    fn every_log(&self, stop: &StopToken) -> Result<Option<Vec<PathBuf>>> {
        self.logs_there(stop).map(Some)
    }

    fn require_deletable(&self, stop: &StopToken) -> Result<()> {
        self.refuse_undeletable(stop)
    }

    fn truncatable(&self, held: &[HeldLog], history: &History<'_>, stop: &StopToken) -> Result<Needless> {
        self.needless(held, history, stop)
    }

    fn delete_log(&self, log: &HeldLog, sha256: Option<&str>, rehearse: bool, stop: &StopToken) -> Result<Deletion> {
        self.delete(log, sha256, rehearse, stop)
    }

    fn settle_deletions(&self, logs: &[HeldLog]) -> Result<()> {
        self.settle(logs)
    }
}

/// Why a database beside the logs is left out.
pub(super) const STRANGER: &str = "a database that does not lie below the storage";

/// Whether a file in a directory of logs may be one of theirs: by its name, or by what is in it.
fn is_of_the_logs(below: &Below) -> bool {
    let (path, content) = match below {
        Below::File(found) => (&*found.path, Some(&found.content)),
        Below::Failed(path, _) | Below::LeftOut(path, _) => (path.as_path(), None),
    };
    let name = path.file_name().unwrap_or_default();
    let is_named = LogName::parse(name).is_some() || checkpoint_base(name).is_some();
    let is_one = matches!(
        content,
        Some(Content::Log(..) | Content::Checkpoint(..) | Content::DamagedHeader(Claim::Log | Claim::Checkpoint, ..))
    );
    is_named || is_one
}
