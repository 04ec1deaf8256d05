//! Which logs of an instance may go now, and letting them go: the files are looked at anew for every decision.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

use super::check::look_inside;
use super::engine::{EseEngine, STRANGER};
use super::facts::{Named, Terms};
use super::fields::{Generation, Signature};
use super::files::{look, look_below};
use super::fitness;
use super::instance::{Instance, Options};
use super::judge::{Inside, Judgement, judge_instance};
use super::log::{LogName, LogRole};
use super::log_story::{Beside, LogStory, Told, state_of, subject, tell, unknown};
use super::ranges::need;
use super::recognise::{Claim, Content};
use super::truncation::{Anchor, DatabaseState, Decided, Fate, Needs, Reason, decide};
use crate::durable;
use crate::engine::files::{FilesEngine, FilesOptions};
use crate::engine::watched::difference;
use crate::engine::{Deletion, Engine, Going, HeldLog, History, Needless, Notice, Witness};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::stream::stop::StopToken;

/// How many logs that should have gone and are not there are named one by one.
const MISSING_NAMED_MAX: usize = 100;

/// What there is to tell of the logs of a storage, whatever state it is in; and why a backup would refuse it, if it would
/// even as a snapshot.
pub fn story_of(storage: &Path, options: &Options, stop: &StopToken) -> Result<(LogStory, Option<Error>)> {
    let instance = Instance::discover(storage, options, stop)?;
    if instance.is_empty() && instance.failed.is_empty() {
        let message = format!("no file of the Extensible Storage Engine in {}", printable(storage));
        let hint = "`jetbak logs` tells of the logs of an ESE storage; `jetbak inspect FILE` says what a file is.";
        return Err(Error::new(ExitCode::Failed, message).file(storage).hint(hint));
    }
    let Judgement { findings, needs, signature, .. } = judge_instance(&instance, &insides_of(&instance));
    let range = fitness::range(&instance, signature.as_ref(), &needs);
    let terms = Terms { snapshot: true, ..Terms::default() };
    let (refused, _) = fitness::judge(&instance, findings, signature.as_ref(), &needs, range, &terms, false);
    Ok((tell(&instance, storage, signature, &needs, Beside::default()), refused))
}

impl EseEngine {
    /// What there is to tell of the logs that truncate would delete: those of the storage, or of the live instance of
    /// which it is a snapshot. Everything counts that lies there, also what a backup leaves out.
    pub(super) fn log_story(&self, stop: &StopToken) -> Result<LogStory> {
        let seen = self.instance(stop)?;
        let Judgement { signature, .. } = judge_instance(&seen, &insides_of(&seen));
        let files = self.files.unfiltered();
        let whole = match &seen.stream {
            Some(stream) if self.files.leaves_out() => {
                let options = Options {
                    base: Some(stream.base.clone()),
                    log_directory: Some(stream.directory.clone()),
                    checkpoint: self.terms.checkpoint.as_ref().map(Named::path),
                };
                &self.gather(&files, &options, stop)?
            }
            _ => &seen,
        };
        let logs_of = |instance: &Instance| -> HashSet<PathBuf> {
            instance.stream.iter().flat_map(|stream| &stream.logs).map(|log| log.found.path.to_path_buf()).collect()
        };
        let beside = Beside {
            databases: self.out_of_sight(&files, whole, signature, stop)?,
            left_out: logs_of(whole).difference(&logs_of(&seen)).cloned().collect(),
        };
        let Judgement { needs, .. } = judge_instance(whole, &insides_of(whole));
        let story = tell(whole, &self.storage, signature, &needs, beside);
        match self.terms.live_log_directory.as_ref().map(Named::path) {
            Some(live) => self.live_story(&live, story, &seen, stop),
            None => Ok(story),
        }
    }

    /// The same of the live instance: its own logs and checkpoint, and the databases that the snapshot holds. What its
    /// databases need, its checkpoint says; they may be locked, or change while one looks. One that was not shut down
    /// and can be read is asked all the same.
    fn live_story(&self, live: &Path, snapshot: LogStory, instance: &Instance, stop: &StopToken) -> Result<LogStory> {
        let options = Options {
            base: self.terms.base.clone().or_else(|| Some(instance.stream.as_ref()?.base.clone())),
            log_directory: None,
            checkpoint: self.terms.live_checkpoint.as_ref().map(Named::path),
        };
        let found = Instance::gather(live, &options, stop, &mut |take| look_below(live, false, stop, take))?;
        let ours = snapshot.signature;
        let theirs = found.stream.as_ref().and_then(super::instance::Stream::signature);
        if theirs.is_none() || theirs != ours {
            let message = match theirs {
                None => format!("there are no logs of the instance in {}", printable(live)),
                Some(_) => format!("the logs in {} are not of the instance that is backed up", printable(live)),
            };
            return Err(Error::jet(Jet::BadLogSignature, message)
                .file(live)
                .hint("--live-log-dir names the log directory of the instance of which the storage is a snapshot."));
        }
        let insides = insides_of(&found);
        let dirty = found.headers().zip(&insides).filter_map(|((file, header), inside)| {
            let need = need(header, inside.trailer.as_ref());
            let state = state_of(file, header, need, live, ours);
            matches!(state.needs, Needs::Logs(..)).then_some(DatabaseState { is_of_stream: false, ..state })
        });
        let databases: Vec<_> = snapshot.situation.databases.into_iter().chain(dirty).collect();
        let only_logs = Instance {
            databases: Vec::new(),
            damaged: Vec::new(),
            suspects: Vec::new(),
            failed: found.failed.into_iter().filter(|(path, _)| is_named_as_log(path)).collect(),
            ..found
        };
        let mut story = tell(&only_logs, live, ours, &[], Beside::default());
        // What the live log lists as attached and the snapshot does not hold is in none of its backups.
        let is_known = |new: &DatabaseState| databases.iter().any(|known| known.key.signature == new.key.signature);
        story.situation.databases.retain(|attached| !is_known(attached));
        story.situation.databases.extend(databases);
        Ok(story)
    }

    /// Databases, and places where some may lie, that no list of the storage shows: behind symbolic links, beside the
    /// logs, in directories that cannot be listed.
    fn out_of_sight(
        &self,
        files: &FilesEngine,
        whole: &Instance,
        stream: Option<Signature>,
        stop: &StopToken,
    ) -> Result<Vec<DatabaseState>> {
        let mut states = Vec::new();
        let real = self.storage.canonicalize().unwrap_or_else(|_| self.storage.clone());
        let mut hidden = |path: &Path, what: &str| states.push(unknown(path, &self.storage, what));
        let mut found = Vec::new();
        files.each_blind_spot(stop, &mut |relative, is_link| {
            let path = self.storage.join(relative);
            if !is_link {
                hidden(&path, "it cannot be listed, and may hold databases");
                return Ok(());
            }
            let target = match path.canonicalize() {
                Ok(target) if target.starts_with(&real) => return Ok(()), // met on its own
                Ok(target) => target,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(_) => {
                    hidden(&path, "it leads to where nobody may look, and databases may lie there");
                    return Ok(());
                }
            };
            if target.is_dir() {
                hidden(&path, "it leads to a directory outside of the storage, where databases may lie");
                return Ok(());
            }
            found.push(path);
            Ok(())
        })?;
        let beside_the_logs = whole.left_out.iter().filter(|(_, why)| why == STRANGER).map(|(path, _)| path.clone());
        for path in found.into_iter().chain(beside_the_logs) {
            match look(&path, stop) {
                Ok(file) => match &file.content {
                    Content::Database(header, _) => {
                        let trailer = look_inside(&file, header).unwrap_or_default().trailer;
                        let need = need(header, trailer.as_ref());
                        states.push(state_of(&file, header, need, &self.storage, stream));
                    }
                    Content::DamagedHeader(Claim::Database, ..) => {
                        states.push(unknown(&path, &self.storage, "its header is damaged"));
                    }
                    _ => {}
                },
                Err(error) if stop.cause().is_some() => return Err(error),
                Err(error) if error.is_not_found() => {}
                Err(error) => states.push(unknown(&path, &self.storage, error.message())),
            }
        }
        Ok(states)
    }

    /// Every log that is there, oldest first, whatever can be told of it.
    pub(super) fn logs_there(&self, stop: &StopToken) -> Result<Vec<PathBuf>> {
        let relative = |log: Told| log.path.strip_prefix(&self.storage).map(Path::to_owned).unwrap_or(log.path);
        Ok(self.log_story(stop)?.logs.into_iter().map(relative).collect())
    }

    /// Where logs are deleted.
    fn deletion_directory(&self) -> PathBuf {
        let named = self.terms.live_log_directory.as_ref().or(self.terms.log_directory.as_ref());
        named.map_or_else(|| self.storage.clone(), Named::path)
    }

    /// Refuses a truncate that could delete nothing, or the wrong logs.
    pub(super) fn refuse_undeletable(&self, stop: &StopToken) -> Result<()> {
        let place = self.deletion_directory();
        if self.terms.live_log_directory.is_some() && !self.terms.snapshot {
            let message = "--live-log-dir is for a storage that is a snapshot of a live instance";
            return Err(Error::jet(Jet::InvalidParameter, message)
                .hint("Add --snapshot if it is one; without it truncate deletes in the storage itself."));
        }
        let status = rustix::fs::statvfs(&place).map_err(|e| Error::io("look at", &place, &e.into()).file(&place))?;
        if status.f_flag.contains(StatVfsMountFlags::RDONLY) {
            let message = format!("{} is read-only, so that no log can be deleted", printable(&place));
            return Err(Error::jet(Jet::InvalidParameter, message).file(&place).hint(
                "Name the log directory of the live instance with --live-log-dir, or back up without truncating.",
            ));
        }
        if self.terms.live_log_directory.is_some() {
            refuse_doubts(&self.log_story(stop)?)?;
        }
        Ok(())
    }

    /// Decides anew which logs may go.
    pub(super) fn needless(&self, held: &[HeldLog], history: &History<'_>, stop: &StopToken) -> Result<Needless> {
        self.require_unchanged(held)?;
        let story = self.log_story(stop)?;
        refuse_doubts(&story)?;
        let mut backups = history.backups.clone();
        let doubts = story.trust(&mut backups, history.own, history.doubt)?;
        let decided = decide(&story.situation, &backups, Some(Generation(history.ceiling)));
        let mut needless = Needless { notices: self.remarks(&story, &decided), ..Needless::default() };
        let directory = self.deletion_directory();
        let mut say = |message: String| needless.notices.push(Notice { jet: None, message, file: directory.clone() });
        for (sequence, why) in doubts {
            say(format!("backup {sequence} makes no log needless: {why}"));
        }
        let newest = decided.iter().rev().find(|log| log.fate != Fate::Kept).map(|log| log.generation);
        for (low, high) in story.gaps.iter().filter(|(low, _)| newest.is_some_and(|newest| *low < newest)) {
            say(format!("{} not there, and should go", subject(*low, *high)));
            let room = MISSING_NAMED_MAX.saturating_sub(needless.missing.len());
            needless.missing.extend(self.names_of(*low, *high, &story).take(room));
        }
        let read: HashMap<&Path, &HeldLog> =
            held.iter().filter(|log| is_known(log)).map(|log| (log.path.as_path(), log)).collect();
        for (told, decided) in story.with(&decided) {
            let path = told.path.strip_prefix(&self.storage).unwrap_or(&told.path).to_owned();
            needless.all.push(path.clone());
            let witness = match decided.map(|decided| (decided.fate, decided.generation)) {
                None | Some((Fate::Kept, _)) => continue,
                Some((Fate::Superseded(_), _)) => Witness::Stamp,
                Some((Fate::Held(sequence), generation)) => Witness::Backup(sequence, generation.0),
            };
            let (log, witness) = match read.get(path.as_path()) {
                Some(known) => ((*known).clone(), Witness::Stamp),
                None => (HeldLog { stamp: self.stamp_of(&path)?, path }, witness),
            };
            let reasons = decided.into_iter().flat_map(|decided| &decided.reasons);
            let why: Vec<_> = reasons.map(|reason| story.words(reason, true)).collect();
            needless.logs.push(Going { log, witness, why: why.join("; ") });
        }
        Ok(needless)
    }

    /// Demands that the logs of this backup which are still there are those that were read, and that some are: otherwise
    /// something else stands in the storage's place by now. The one that was written last may have gone on since.
    fn require_unchanged(&self, held: &[HeldLog]) -> Result<()> {
        let mut is_there = held.iter().all(|log| !is_known(log));
        for log in held.iter().filter(|log| is_known(log)) {
            let Some(now) = self.files.stamp_if_there(&log.path)? else { continue };
            if let Some(what) = difference(&log.stamp, &now) {
                if !is_closed(&log.path) {
                    continue;
                }
                let message = format!("{} is not what was backed up: {what}; no log was deleted", printable(&log.path));
                return Err(Error::new(ExitCode::Unfit, message)
                    .file(&log.path)
                    .hint("The application is at work, or another storage stands in its place. Back it up again."));
            }
            is_there = true;
        }
        if is_there || self.terms.live_log_directory.is_some() {
            return Ok(()); // a snapshot may be gone by now
        }
        let message = "none of the logs that were backed up is there any more as it was; no log was deleted";
        Err(Error::new(ExitCode::Unfit, message)
            .file(&self.storage)
            .hint("Something else stands in the place of the storage. Look what became of it."))
    }

    /// What there is to say about a truncate that deletes nothing, or not what one may think.
    fn remarks(&self, story: &LogStory, decided: &[Decided]) -> Vec<Notice> {
        let mut notices = Vec::new();
        let directory = self.deletion_directory();
        let mut say = |jet, message: String, file: &Path| notices.push(Notice { jet, message, file: file.to_owned() });
        let is_none = !decided.is_empty() && decided.iter().all(|log| log.fate == Fate::Kept);
        match story.situation.checkpoint {
            None | Some(Anchor::At(_) | Anchor::Foreign) => {}
            Some(anchor) => {
                let jet = match anchor {
                    Anchor::Missing => Jet::CheckpointFileNotFound,
                    Anchor::Beyond(_) => Jet::RequiredLogFilesMissing,
                    _ => Jet::CheckpointCorrupt,
                };
                say(
                    Some(jet),
                    format!("{}, so that every log may be needed and none can go", anchor.words()),
                    &directory,
                );
            }
        }
        for (index, database) in story.situation.databases.iter().enumerate() {
            let Some((log, why)) = decided.iter().find_map(|log| Some((log, kept_only_by(&log.reasons, index)?)))
            else {
                continue;
            };
            let why = match (why, &database.needs) {
                (Reason::UnknownNeeds(_), Needs::Unknown(why)) => why.clone(),
                (Reason::NotCovered(_, end), _) => format!("the proven backups that hold it end with log {end}"),
                _ => "no full backup that was proven holds it".to_owned(),
            };
            let path = &database.key.path;
            say(None, format!("{} keeps the logs from {} on: {why}", printable(path), log.generation), path);
        }
        if self.terms.snapshot && self.terms.live_log_directory.is_none() {
            let message =
                "logs go from the snapshot alone: none of the live instance is freed (--live-log-dir does that)";
            say(None, message.to_owned(), &directory);
        }
        // That the oldest log is still needed for a recovery is as it should be; anything else is worth a word.
        if let Some(oldest) = decided.first().filter(|_| is_none && notices.is_empty()) {
            let is_usual = |reason: &&Reason| {
                matches!(reason, Reason::NotBelowCheckpoint(_) | Reason::RequiredBy(_) | Reason::Current)
            };
            let is_expected = oldest.reasons.iter().any(|reason| is_usual(&reason));
            if let Some(reason) = oldest.reasons.iter().find(|reason| reason.keeps()).filter(|_| !is_expected) {
                let message = format!("no log can go, not even {}: {}", oldest.generation, story.words(reason, true));
                notices.push(Notice { jet: None, message, file: directory });
            }
        }
        notices
    }

    fn stamp_of(&self, path: &Path) -> Result<crate::stream::source::Stamp> {
        match self.elsewhere(path)? {
            Some((files, name)) => files.stamp_of(&name),
            None => self.files.stamp_of(path),
        }
    }

    /// How logs that are not there would be called.
    fn names_of(&self, low: Generation, high: Generation, story: &LogStory) -> impl Iterator<Item = PathBuf> {
        let model = story.logs.iter().find(|log| !log.is_current);
        (low.0..=high.0)
            .filter_map(move |generation| name_like(model?, Generation(generation)))
            .map(|path| path.strip_prefix(&self.storage).map(Path::to_owned).unwrap_or(path))
    }

    /// Deletes one log.
    pub(super) fn delete(
        &self,
        log: &HeldLog,
        sha256: Option<&str>,
        rehearse: bool,
        stop: &StopToken,
    ) -> Result<Deletion> {
        match self.elsewhere(&log.path)? {
            Some((files, name)) => files.delete_log(&HeldLog { path: name, stamp: log.stamp }, sha256, rehearse, stop),
            None => self.files.delete_log(log, sha256, rehearse, stop),
        }
    }

    /// The directory of a path that lies neither in the storage nor in a further root of the session, opened, and its name
    /// there.
    fn elsewhere(&self, path: &Path) -> Result<Option<(FilesEngine, PathBuf)>> {
        let is_known = self.files.roots().place(path).is_some();
        let (false, Some(folder), Some(name)) = (is_known, path.parent(), path.file_name()) else {
            return Ok(None);
        };
        Ok(Some((FilesEngine::open(folder, &FilesOptions::default())?, PathBuf::from(name))))
    }

    /// Makes deletions durable.
    pub(super) fn settle(&self, logs: &[HeldLog]) -> Result<()> {
        let (away, here): (Vec<_>, Vec<_>) = logs.iter().cloned().partition(|log| log.path.is_absolute());
        let folders: HashSet<_> = away.iter().filter_map(|log| log.path.parent()).collect();
        folders.into_iter().try_for_each(durable::sync_folder)?;
        self.files.settle_deletions(&here)
    }
}

/// Why a database (its index) keeps a log that might go if no backup had to hold that database.
fn kept_only_by(reasons: &[Reason], index: usize) -> Option<&Reason> {
    let is_about_backups = |reason: &&Reason| {
        matches!(reason, Reason::NeverBackedUp(_) | Reason::UnknownNeeds(_) | Reason::NotCovered(..))
    };
    let keeping = || reasons.iter().filter(|reason| reason.keeps() && !matches!(reason, Reason::AboveKept(_)));
    let about_it = |reason: &&Reason| match reason {
        Reason::NeverBackedUp(at) | Reason::UnknownNeeds(at) | Reason::NotCovered(at, _) => *at == index,
        _ => false,
    };
    keeping().all(|reason| is_about_backups(&reason)).then(|| keeping().find(about_it)).flatten()
}

/// A log with a header that cannot be read, of another stream, or under a wrong name bars truncate (decision 4); so does a
/// checkpoint of another stream (decision 5).
fn refuse_doubts(story: &LogStory) -> Result<()> {
    const HINT: &str = "No log was deleted. Move what does not belong there out of the log directory; `jetbak logs` tells \
                        of each log.";
    if let Some((log, (jet, why))) = story.logs.iter().find_map(|log| Some((log, log.doubt.as_ref()?))) {
        let message = format!("{} stands among the logs, but {why}", printable(&log.path));
        return Err(Error::jet(*jet, message).exit(ExitCode::Verification).file(&log.path).hint(HINT));
    }
    if story.situation.checkpoint == Some(Anchor::Foreign) {
        let message = "the checkpoint is of another log stream than the logs";
        return Err(Error::jet(Jet::BadCheckpointSignature, message).hint(HINT));
    }
    Ok(())
}

/// What the databases of an instance say beyond their headers; nothing where they cannot be read on.
fn insides_of(instance: &Instance) -> Vec<Inside> {
    instance.headers().map(|(found, header)| look_inside(found, header).unwrap_or_default()).collect()
}

fn is_named_as_log(path: &Path) -> bool {
    path.file_name().and_then(LogName::parse).is_some()
}

fn is_closed(path: &Path) -> bool {
    let name = path.file_name().and_then(LogName::parse);
    name.is_some_and(|name| matches!(name.role, LogRole::Archived(_)))
}

/// Whether a log was read, so that its stamp says which file it was.
fn is_known(log: &HeldLog) -> bool {
    (log.stamp.device, log.stamp.inode) != (0, 0)
}

/// The name that a log of this generation has in the manner of another one.
fn name_like(model: &Told, generation: Generation) -> Option<PathBuf> {
    let name = model.path.file_name()?.to_str()?;
    let (stem, extension) = name.rsplit_once('.')?;
    let (base, digits) = stem.split_at_checked(3)?;
    let number = match digits.len() {
        5 => format!("{:05X}", generation.0),
        _ => format!("{:08X}", generation.0),
    };
    Some(model.path.with_file_name(format!("{base}{number}.{extension}")))
}
