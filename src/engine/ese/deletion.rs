//! Which logs of an instance may go now, and letting them go: the files are looked at anew for every decision.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

use super::check::look_inside;
use super::contents::{has_the_mark, is_named_as_database, may_be_database};
use super::engine::EseEngine;
use super::facts::Named;
use super::fields::{Generation, Signature};
use super::files::{look, look_below, open, read_head};
use super::instance::{Instance, Options, is_temporary};
use super::judge::{Inside, Judgement, judge_instance};
use super::log_story::{LogStory, Told, state_of, tell, unknown};
use super::ranges::{need, span};
use super::recognise::{Claim, Content};
use super::truncation::{Anchor, DatabaseState, Decided, Fate, Needs, Reason, decide};
use crate::durable;
use crate::engine::files::{FilesEngine, FilesOptions};
use crate::engine::{Deletion, Engine, HeldLog, History, Needless, Notice, Witness};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::stream::stop::StopToken;

/// How many logs that should have gone and are not there are named one by one.
const MISSING_NAMED_MAX: u32 = 100;

/// What there is to tell of the logs of a storage, whatever state it is in.
pub fn story_of(storage: &Path, options: &Options, stop: &StopToken) -> Result<LogStory> {
    let instance = Instance::discover(storage, options, stop)?;
    if instance.is_empty() && instance.failed.is_empty() {
        let message = format!("no file of the Extensible Storage Engine in {}", printable(storage));
        let hint = "`jetbak logs` tells of the logs of an ESE storage; `jetbak inspect FILE` says what a file is.";
        return Err(Error::new(ExitCode::Failed, message).file(storage).hint(hint));
    }
    let Judgement { needs, signature, .. } = judge_instance(&instance, &insides_of(&instance));
    Ok(tell(&instance, storage, signature, &needs, Vec::new()))
}

impl EseEngine {
    /// What there is to tell of the logs that truncate would delete: those of the storage, or of the live instance of
    /// which it is a snapshot.
    pub(super) fn log_story(&self, stop: &StopToken) -> Result<LogStory> {
        let instance = self.instance(stop)?;
        let Judgement { needs, signature, .. } = judge_instance(&instance, &insides_of(&instance));
        let hidden = if self.files.leaves_out() { self.hidden(&instance, signature, stop)? } else { Vec::new() };
        let story = tell(&instance, &self.storage, signature, &needs, hidden);
        match self.terms.live_log_directory.as_ref().map(Named::path) {
            Some(live) => self.live_story(&live, story, &instance, stop),
            None => Ok(story),
        }
    }

    /// The same of the live instance: its own logs and checkpoint, and the databases that the snapshot holds. What its
    /// databases need, its checkpoint says; they may be locked, or change while one looks.
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
        let only_logs = Instance { databases: Vec::new(), damaged: Vec::new(), ..found };
        let mut story = tell(&only_logs, live, ours, &[], Vec::new());
        story.situation.databases = snapshot.situation.databases;
        Ok(story)
    }

    /// Databases of the storage that are left out as asked: they need their logs all the same.
    fn hidden(&self, seen: &Instance, stream: Option<Signature>, stop: &StopToken) -> Result<Vec<DatabaseState>> {
        let known = seen.databases.iter().chain(seen.damaged.iter().map(|(found, _)| found));
        let mut known: HashSet<PathBuf> = known.map(|found| found.path.to_path_buf()).collect();
        known.extend(seen.left_out.iter().map(|(path, _)| path.clone()));
        known.extend(seen.failed.iter().map(|(path, _)| path.clone()));
        let mut hidden = Vec::new();
        self.files.each_file_at_all(stop, &mut |relative, size| {
            let path = self.storage.join(relative);
            let Some(size) = size else {
                hidden.push(unknown(&path, &self.storage, "it cannot be listed, and may hold databases"));
                return Ok(());
            };
            if known.contains(&path) || !may_be_database(relative, size) {
                return Ok(());
            }
            match look(&path, stop) {
                Ok(found) if is_temporary(&found) => {}
                Ok(found) => match &found.content {
                    Content::Database(header, _) => {
                        let trailer = look_inside(&found, header).unwrap_or_default().trailer;
                        let need = need(header, trailer.as_ref());
                        hidden.push(state_of(&found, header, need, &self.storage, stream));
                    }
                    Content::DamagedHeader(Claim::Database, ..) if is_one_for_certain(&path) => {
                        hidden.push(unknown(&path, &self.storage, "its header is damaged"));
                    }
                    _ => {}
                },
                Err(error) if stop.cause().is_some() => return Err(error),
                Err(error) if error.is_not_found() => {}
                Err(error) if is_named_as_database(&path) => {
                    hidden.push(unknown(&path, &self.storage, error.message()));
                }
                Err(_) => {} // a file of nobody's that nobody can read
            }
            Ok(())
        })?;
        Ok(hidden)
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
        if self.terms.live_checkpoint.is_some() && self.terms.live_log_directory.is_none() {
            let message = "--live-checkpoint says nothing without --live-log-dir";
            return Err(Error::jet(Jet::InvalidParameter, message));
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
    pub(super) fn needless(&self, held: &[HeldLog], history: &History, stop: &StopToken) -> Result<Needless> {
        let story = self.log_story(stop)?;
        refuse_doubts(&story)?;
        let decided = decide(&story.situation, &history.backups, Some(Generation(history.ceiling)));
        let mut needless = Needless { notices: self.remarks(&story, &decided), ..Needless::default() };
        for (told, decided) in story.with(&decided) {
            let Some(decided) = decided else { continue };
            let witness = match decided.fate {
                Fate::Kept => continue,
                Fate::Superseded(_) => Witness::Stamp,
                Fate::Held(sequence) => Witness::Backup(sequence, decided.generation.0),
            };
            let path = told.path.strip_prefix(&self.storage).unwrap_or(&told.path).to_owned();
            let (log, witness) = match held.iter().find(|log| log.path == path) {
                Some(known) => (known.clone(), Witness::Stamp),
                None => (HeldLog { stamp: self.stamp_of(&path)?, path }, witness),
            };
            needless.logs.push((log, witness));
        }
        let newest = decided.iter().rev().find(|log| log.fate != Fate::Kept).map(|log| log.generation);
        for (low, high) in story.gaps.iter().filter(|(low, _)| newest.is_some_and(|newest| *low < newest)) {
            needless.missing.extend(self.names_of(*low, *high, &story));
            let message = format!("the logs {} should go, and are not there", span(*low, *high));
            needless.notices.push(Notice { jet: None, message, file: self.deletion_directory() });
        }
        Ok(needless)
    }

    /// What there is to say about a truncate that deletes nothing, or not what one may think.
    fn remarks(&self, story: &LogStory, decided: &[Decided]) -> Vec<Notice> {
        let mut notices = Vec::new();
        let file = self.deletion_directory();
        let mut say = |jet, message: String| notices.push(Notice { jet, message, file: file.clone() });
        match story.situation.checkpoint {
            Some(Anchor::Missing) | None => say(
                Some(Jet::CheckpointFileNotFound),
                "there is no checkpoint, so that every log may be needed and none can be deleted".to_owned(),
            ),
            Some(Anchor::Damaged) => say(
                Some(Jet::CheckpointCorrupt),
                "both copies of the checkpoint are damaged, so that every log may be needed and none can be deleted"
                    .to_owned(),
            ),
            Some(Anchor::At(_) | Anchor::Foreign) => {}
        }
        for (index, database) in story.situation.databases.iter().enumerate() {
            let Some((log, why)) = decided.iter().find_map(|log| Some((log, kept_only_by(&log.reasons, index)?)))
            else {
                continue;
            };
            let why = match (why, &database.needs) {
                (Reason::UnknownNeeds(_), Needs::Unknown(why)) => why.clone(),
                (Reason::NotCovered(_, end), _) => format!("the last full backup that holds it ends with log {end}"),
                _ => "no full backup that was proven holds it".to_owned(),
            };
            let path = printable(&database.key.path);
            say(None, format!("{path} keeps the logs from {} on: {why}", log.generation));
        }
        if self.terms.snapshot && self.terms.live_log_directory.is_none() {
            let message = "the storage is a snapshot: no log of the live instance was freed (--live-log-dir does that)";
            say(None, message.to_owned());
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
    fn names_of(&self, low: Generation, high: Generation, story: &LogStory) -> Vec<PathBuf> {
        let Some(model) = story.logs.iter().find(|log| !log.is_current) else { return Vec::new() };
        (low.0..=high.0.min(low.0.saturating_add(MISSING_NAMED_MAX)))
            .filter_map(|generation| name_like(model, Generation(generation)))
            .map(|path| path.strip_prefix(&self.storage).unwrap_or(&path).to_owned())
            .collect()
    }

    /// Deletes one log.
    pub(super) fn delete(&self, log: &HeldLog, sha256: Option<&str>) -> Result<Deletion> {
        match self.elsewhere(&log.path)? {
            Some((files, name)) => files.delete_log(&HeldLog { path: name, stamp: log.stamp }, sha256),
            None => self.files.delete_log(log, sha256),
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

fn is_one_for_certain(path: &Path) -> bool {
    is_named_as_database(path)
        || open(path).and_then(|(file, _)| read_head(&file, path)).is_ok_and(|head| has_the_mark(&head))
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
