//! truncate: first the backup stands, proven; then the logs that it makes needless go, oldest first.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::publish::{self, How, Published};
use super::{Activity, Context, Observer, Progress, Warning, parent};
use crate::engine::ese::fields::Generation;
use crate::engine::ese::log_story::Present;
use crate::engine::ese::truncation::Backup;
use crate::engine::plan::PlanReader;
use crate::engine::{Deletion, Engine, EngineName, Entry, Going, HeldLog, History, Notice, Role, Witness};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::repository::log_history::databases_of;
use crate::repository::manifest::BackupId;
use crate::repository::read_records::RecordLine;
use crate::session::event::{Event, Phase};
use crate::session::journal::Durability;
use crate::session::state::{Call, Refusal, State};
use crate::stream::source::Stamp;
use crate::stream::stop::StopToken;

/// What truncate did, or would do.
#[derive(Clone, Debug, Default)]
pub struct Truncated {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Logs are not deleted but emptied: they are write-ahead logs of databases in use.
    pub are_emptied: bool,
    /// Logs that are gone now (dry run: that would go), oldest first.
    pub deleted: Vec<PathBuf>,
    /// Why each of them may go, in words for people.
    pub why: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Logs that were gone before.
    pub missing: Vec<PathBuf>,
    /// Logs that are still there, oldest first.
    pub remaining: Vec<PathBuf>,
    /// The backup that made them needless.
    pub published: Option<Published>,
}

/// Says what truncate would delete. Changes nothing.
pub fn dry_run(context: &Context, observer: &mut dyn Observer) -> Result<Truncated> {
    let state = context.session.decide(Call::DryRunTruncate)?;
    let (engine, never) = (context.engine()?, StopToken::never());
    engine.require_deletable(&never)?;
    let held = match (state.publication(), context.plan(Phase::Logs)?) {
        (Some(_), _) => read_held(context)?,
        (None, Some(_)) => held_logs(context)?,
        // Not listed yet: what would be listed now.
        (None, None) => listed_now(&*engine)?.into_iter().map(as_listed).collect(),
    };
    if state.publication().is_none() {
        refuse_damaged(context, &state)?;
        publish::require_still(context, &state, &never)?;
    }
    let doubt = |sequence, present: &Present| doubt_of(context, sequence, present);
    let history = history(context, &*engine, &doubt)?;
    let needless = engine.truncatable(&held, &history, &never)?;
    tell(&needless.notices, observer);
    let are_emptied = context.session.record().engine == EngineName::Sqlite;
    let mut would = Truncated { dry_run: true, are_emptied, missing: needless.missing, ..Truncated::default() };
    let mut hashes = Hashes { context, known: HashMap::new() };
    for Going { log, witness, why } in &needless.logs {
        match engine.delete_log(log, hashes.of(witness, &log.path)?.as_deref(), true, &never)? {
            Deletion::Deleted => {
                would.bytes = would.bytes.saturating_add(log.stamp.size);
                would.deleted.push(log.path.clone());
                would.why.push(why.clone());
            }
            Deletion::Missing => would.missing.push(log.path.clone()),
            Deletion::Changed(what) => return Err(changed(&log.path, &what)),
        }
    }
    would.remaining = remaining(&needless.all, &would);
    Ok(would)
}

fn listed_now(engine: &dyn Engine) -> Result<Vec<Entry>> {
    let listed = engine.list_logs(&StopToken::never())?;
    Ok(listed.into_iter().filter(|entry| entry.role == Role::Log).collect())
}

/// A backup with damaged pages in it is incomplete, and never a reason to truncate (decision 17).
fn refuse_damaged(context: &Context, state: &State) -> Result<()> {
    if publish::has_damaged_pages(context, state)? { Err(Refusal::Incomplete.into()) } else { Ok(()) }
}

/// Whether a session will never truncate, because files were left out or copied with damaged pages.
pub fn is_incomplete(context: &Context) -> Result<bool> {
    let state = context.session.state()?;
    Ok(!state.excluded().is_empty() || (state.publication().is_none() && publish::has_damaged_pages(context, &state)?))
}

/// What the published backups say of the logs, with the one of this session, and since when it knows what was needed.
fn history<'a>(
    context: &Context,
    engine: &dyn Engine,
    doubt: &'a dyn Fn(u64, &Present) -> Result<Option<String>>,
) -> Result<History<'a>> {
    let mut history = History { backups: Vec::new(), own: None, ceiling: 0, doubt };
    let Some(facts) = &context.session.record().instance else { return Ok(history) };
    let repository = context.require_partial()?.repository();
    if let Some(signature) = &facts.log_signature {
        history.backups = repository.log_history(signature)?;
    }
    if let Some(publication) = context.session.state()?.publication() {
        // It was read back before anything else, whatever its manifest says.
        history.own = BackupId::parse(&publication.id).map(|id| id.sequence);
        let own = history.backups.iter_mut().filter(|backup| Some(backup.sequence) == history.own);
        let is_proven = builds_on_proven(context)?;
        own.for_each(|backup| backup.is_proven = is_proven);
    } else {
        let sequence = repository.next_sequence()?;
        let logs = match context.plan(Phase::Logs)? {
            Some(plan) => PlanReader::open(&plan, 0)?.collect::<Result<Vec<_>>>()?,
            None => listed_now(engine)?,
        };
        history.own = Some(sequence);
        let is_proven = builds_on_proven(context)?;
        history.backups.extend(as_published(context, sequence, &logs).map(|own| Backup { is_proven, ..own }));
    }
    let required = facts.required.map_or(u32::MAX, |required| required.low);
    history.ceiling = facts.checkpoint.unwrap_or(0).min(required);
    Ok(history)
}

/// The backup that this session would publish.
fn as_published(context: &Context, sequence: u64, logs: &[Entry]) -> Option<Backup> {
    let record = context.session.record();
    let facts = record.instance.as_ref()?;
    let generations = || logs.iter().filter_map(|entry| entry.generation).map(Generation);
    Some(Backup {
        sequence,
        is_full: record.log_parent.is_none(),
        parent: parent_of(context),
        is_proven: true,
        logs: generations().min().zip(generations().max()),
        databases: databases_of(facts),
    })
}

/// Whether all that this session builds on was read back and found good.
fn builds_on_proven(context: &Context) -> Result<bool> {
    let Some(parent) = &context.session.record().parent else { return Ok(true) };
    let repository = context.require_partial()?.repository();
    // A chain that is broken is told of by whoever needs it.
    Ok(repository.chain_of(&parent::link(parent)).is_ok_and(|chain| repository.is_chain_proven(&chain)))
}

/// The sequence number of the backup that this session builds on.
fn parent_of(context: &Context) -> Option<u64> {
    let parent = context.session.record().parent.as_ref()?;
    Some(BackupId::parse(&parent.id)?.sequence)
}

/// Why a backup cannot be relied on, if it cannot. One that is not published yet is as good as what it builds on.
fn doubt_of(context: &Context, sequence: u64, present: &Present) -> Result<Option<String>> {
    let repository = context.require_partial()?.repository();
    let is_published = repository.ids()?.iter().any(|id| id.sequence == sequence);
    match (is_published, parent_of(context)) {
        (false, Some(parent)) => repository.log_doubt(parent, present),
        _ => repository.log_doubt(sequence, present),
    }
}

fn tell(notices: &[Notice], observer: &mut dyn Observer) {
    for Notice { jet, message, file } in notices.iter().cloned() {
        observer.warning(&Warning { jet, message, file: Some(file) });
    }
}

fn sum(going: &[Going]) -> u64 {
    going.iter().fold(0, |sum, one| one.log.stamp.size.saturating_add(sum))
}

/// A log that is not read yet, as far as a dry run needs to know it.
fn as_listed(entry: Entry) -> HeldLog {
    let Entry { path, size, modified_ns, .. } = entry;
    HeldLog { path, stamp: Stamp { device: 0, inode: 0, size, modified_ns, changed_ns: 0 } }
}

/// Publishes what is not yet published, after reading it back, then deletes. What was done before a failure stands in
/// the first part of the answer; the second part is the failure.
pub fn truncate(
    context: &Context,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<(Truncated, Option<Error>)> {
    let before = context.session.decide(Call::Truncate)?;
    let alone = publish::lock_finisher(context)?;
    let engine = context.engine()?;
    // Which logs are held is known from the records, and those go when the backup is published: look first.
    let held = match before.publication() {
        None => held_logs(context)?,
        Some(_) => read_held(context)?,
    };
    let doubt = |sequence, present: &Present| doubt_of(context, sequence, present);
    let mut refused = None;
    if before.publication().is_none() {
        refuse_damaged(context, &before)?;
        keep_held(context, &held)?;
        // What bars the deletion bars no backup; but the manifest says whether logs were to go.
        let look = || engine.truncatable(&held, &history(context, &*engine, &doubt)?, stop);
        refused = engine.require_deletable(stop).and_then(|()| look()).err();
        stop.check()?;
    }
    let how = How { prove: true, truncate: refused.is_none() };
    let published = publish::publish(context, &alone, how, observer, stop)?;
    // A backup that stands since an earlier attempt may have rotted, or was never proven: no log goes before that.
    if before.publication().is_some() {
        publish::prove_published(context, observer, stop)?;
    }
    let are_emptied = context.session.record().engine == EngineName::Sqlite;
    let mut done = Truncated { published: Some(published), are_emptied, ..Truncated::default() };
    // From here on the backup stands, whatever becomes of the logs.
    let failure = match refused {
        Some(error) => Some(error),
        None => delete(context, &*engine, &held, &doubt, &mut done, observer, stop).err(),
    };
    if done.remaining.is_empty() && done.deleted.is_empty() {
        // What barred the deletion may bar the look as well.
        let paths = engine.every_log(stop).ok().flatten();
        let paths = paths.unwrap_or_else(|| held.iter().map(|log| log.path.clone()).collect());
        done.remaining = remaining(&paths, &done);
    }
    Ok((done, failure))
}

/// Decides anew what may go, and deletes it, oldest first, until something stands in the way.
fn delete(
    context: &Context,
    engine: &dyn Engine,
    held: &[HeldLog],
    doubt: &dyn Fn(u64, &Present) -> Result<Option<String>>,
    done: &mut Truncated,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<()> {
    engine.require_deletable(stop)?;
    let needless = engine.truncatable(held, &history(context, engine, doubt)?, stop)?;
    tell(&needless.notices, observer);
    done.missing = needless.missing;
    let going = needless.logs;
    let count = going.len() as u64;
    context.session.append::<Error>(Durability::Synced, |_| Ok(vec![Event::Truncating { logs: count }]))?;
    let bytes_total = sum(&going);
    let mut hashes = Hashes { context, known: HashMap::new() };
    let mut each = || {
        for Going { log, witness, why } in &going {
            let bytes_done = done.bytes;
            observer.progress(&Progress { activity: Activity::Truncating, file: None, bytes_done, bytes_total });
            let stopped = |error: Error| {
                error.hint("The backup is published and safe. `jetbak truncate` goes on where this ended.")
            };
            stop.check().map_err(stopped)?;
            let sha256 = hashes.of(witness, &log.path)?;
            let deletion = engine.delete_log(log, sha256.as_deref(), false, stop);
            match deletion.map_err(|error| if stop.cause().is_some() { stopped(error) } else { error })? {
                Deletion::Deleted => {
                    done.bytes += log.stamp.size;
                    done.deleted.push(log.path.clone());
                    done.why.push(why.clone());
                    let path = log.path.to_string_lossy().into_owned();
                    context.session.append::<Error>(Durability::Lazy, |_| Ok(vec![Event::Truncated { path }]))?;
                }
                Deletion::Missing => done.missing.push(log.path.clone()),
                Deletion::Changed(what) => return Err(changed(&log.path, &what)),
            }
        }
        Ok(())
    };
    let outcome = each();
    done.remaining = remaining(&needless.all, done);
    // The first failure is the one to tell.
    let logs: Vec<_> = going.into_iter().map(|one| one.log).collect();
    outcome.and(engine.settle_deletions(&logs))
}

fn changed(path: &Path, what: &str) -> Error {
    let message = format!("{} is not what was backed up: {what}; it was not deleted", printable(path));
    Error::new(ExitCode::Unfit, message)
        .file(path)
        .hint("It and every newer log were left alone; the backup is published and safe.")
}

/// The hashes of logs in published backups, read when they are asked for.
struct Hashes<'a> {
    context: &'a Context,
    known: HashMap<u64, HashMap<u32, String>>,
}

impl Hashes<'_> {
    /// What a log must hash to before it may go; none where it is known by its stamp.
    fn of(&mut self, witness: &Witness, path: &Path) -> Result<Option<String>> {
        let Witness::Backup(sequence, generation) = witness else { return Ok(None) };
        if !self.known.contains_key(sequence) {
            let hashes = self.context.require_partial()?.repository().log_hashes(*sequence)?;
            self.known.insert(*sequence, hashes);
        }
        let hash = self.known.get(sequence).and_then(|hashes| hashes.get(generation));
        hash.cloned().map(Some).ok_or_else(|| changed(path, &format!("backup {sequence} does not hold it")))
    }
}

/// The logs that this session has read, oldest first, as they were when they were read.
fn held_logs(context: &Context) -> Result<Vec<HeldLog>> {
    let state = context.session.state()?;
    let home = context.records()?;
    let total = usize::try_from(state.total(Phase::Logs).unwrap_or(0)).unwrap_or(0);
    let mut stamps = Vec::new();
    if stamps.try_reserve_exact(total).is_err() {
        return Err(Error::new(ExitCode::Failed, "the session lists more logs than fit into memory"));
    }
    stamps.resize(total, None);
    for (reader, proven) in state.proven() {
        home.read(*reader, proven.records, &mut |_, line| {
            if let RecordLine::Read(record) = line
                && record.phase == Phase::Logs
                && let Some(stamp) = usize::try_from(record.index).ok().and_then(|index| stamps.get_mut(index))
            {
                *stamp = Some(record.stamp);
            }
            Ok(())
        })?;
    }
    let Some(plan) = context.plan(Phase::Logs)? else { return Ok(Vec::new()) };
    let mut held = Vec::new();
    for (entry, stamp) in PlanReader::open(&plan, 0)?.zip(stamps) {
        let entry = entry?;
        if entry.role != Role::Log {
            continue; // a checkpoint is read along with the logs
        }
        held.push(match stamp {
            Some(stamp) => HeldLog { path: entry.path, stamp },
            None => as_listed(entry), // a dry run before it was read; a real one has read all
        });
    }
    Ok(held)
}

/// What stays of these logs, oldest first.
fn remaining(all: &[PathBuf], done: &Truncated) -> Vec<PathBuf> {
    let gone: HashSet<&PathBuf> = done.deleted.iter().chain(&done.missing).collect();
    all.iter().filter(|path| !gone.contains(path)).cloned().collect()
}

/// A line of the list of held logs.
#[derive(serde::Serialize, serde::Deserialize)]
struct HeldLine {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    stamp: Stamp,
}

/// Publishing takes the records away; the list of held logs stays with the session, for a truncate that is repeated.
fn keep_held(context: &Context, held: &[HeldLog]) -> Result<()> {
    let mut text = Vec::new();
    for log in held {
        let (path, path_base64) = crate::paths::to_fields(&log.path);
        let line = HeldLine { path, path_base64, stamp: log.stamp };
        serde_json::to_writer(&mut text, &line).expect("memory takes every write");
        text.push(b'\n');
    }
    crate::durable::write(&context.session.folder().join("held.jsonl"), &text, crate::durable::Put::Replace)
}

fn read_held(context: &Context) -> Result<Vec<HeldLog>> {
    let path = context.session.folder().join("held.jsonl");
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // `end` committed it and did not get as far as its end.
            let message = "the backup is published already, and not for truncating";
            return Err(Error::jet(Jet::InvalidBackupSequence, message)
                .hint("End the session with `jetbak end`; the next backup can truncate."));
        }
        read => read.map_err(|e| Error::io("read", &path, &e))?,
    };
    let damaged = || Error::new(ExitCode::Failed, format!("{} is damaged", path.display())).file(&path);
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let line: HeldLine = serde_json::from_slice(line).map_err(|_| damaged())?;
            let path = crate::paths::from_fields(&line.path, line.path_base64.as_deref());
            let path = path.filter(|path| crate::roots::is_name(path)).ok_or_else(damaged)?;
            Ok(HeldLog { path, stamp: line.stamp })
        })
        .collect()
}
