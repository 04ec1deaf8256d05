//! Publishing: seal, a last look for a stop, one rename.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::compare::Changes;
use super::{Activity, Context, Observer, Progress, Warning, appeared, heal, held_logs, parent};
use crate::engine::plan::PlanReader;
use crate::engine::{EngineName, Role};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::paths;
use crate::repository::Repository;
use crate::repository::chain::Part;
use crate::repository::damage::{Damage, DamageKind};
use crate::repository::holder;
use crate::repository::list_reader::{Expected, ListReader};
use crate::repository::manifest::{self, BackupId, DamagedPage, Manifest};
use crate::repository::partial::Partial;
use crate::repository::seal::{Alone, Orphan, Records, Script, Sealing, Totals};
use crate::repository::verify::{Elsewhere, Tally, Verification, check_sums, verify_data, with_progress};
use crate::session::event::{Event, Failure, Outcome, Phase};
use crate::session::journal::Durability;
use crate::session::state::{Call, State};
use crate::stream::source::Proof;
use crate::stream::stop::StopToken;
use crate::times;

/// A backup that stands under its id.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its id.
    pub id: String,
    /// Its number.
    pub sequence: u64,
    /// Files with content.
    pub files: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Bytes that it takes in the repository.
    pub bytes_stored: u64,
    /// Files whose content it holds itself; none where that is not known any more.
    pub changed: Option<u64>,
    /// The backup that it builds on, by its id.
    pub parent: Option<String>,
    /// Whether files were left out.
    pub outcome: Outcome,
    /// Further names of files that could not be read.
    pub orphans: Vec<Failure>,
    /// Damaged pages that were copied as they are.
    pub damaged: Vec<DamagedPage>,
    /// Files that appeared after the lists were fixed and are not in it; none where that is not known.
    pub appeared: Option<u64>,
}

/// How to publish.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Read everything back from the medium and prove it first.
    pub prove: bool,
    /// Logs are deleted afterwards: the manifest says so.
    pub truncate: bool,
}

/// Publishes a session of which everything is read; the session stays. Finds it done where it was done before.
///
/// A stop that was recorded before the commit wins; one that comes later is told that it is too late.
pub fn publish(
    context: &Context,
    _alone: &FinisherLock,
    how: How,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<Published> {
    let partial = context.require_partial()?;
    let (state, events) = context.session.state_and_events()?;
    if state.publication().is_some() {
        finish_rename(context, stop)?;
        return describe(context);
    }
    state.decide(Call::Publish, context.session.record().terms(), &context.session.live()?)?;
    let _in_use = parent::hold(partial.repository(), context.session.record().parent.as_ref(), stop)?;
    let sealing = seal(context, partial, &state, observer)?;
    refuse_parted(context, &sealing.totals, how)?;
    stop.check()?;
    let proven = if how.prove { Some(prove(context, partial, &sealing.totals, observer, stop)?) } else { None };
    let totals = sealing.totals.clone();
    // A storage that is gone by now (a snapshot) leaves it unknown. Where there was nothing to read, begin has just looked,
    // and another look at so many files would take longer than all the rest.
    let record = context.session.record();
    let has_just_looked = record.one_shot && record.parent.is_some() && totals.changed == 0;
    let appeared = if has_just_looked { None } else { appeared::count(context, stop).ok() };
    stop.check()?;
    require_still(context, &state, stop)?;
    let repository = partial.repository();
    let held = repository.lock(stop)?;
    if let Some(parent) = &context.session.record().parent {
        parent::require_standing(repository, parent)?;
    }
    let manifest = Manifest { appeared, ..manifest_of(context, repository, &state, &totals, how)? };
    let id = BackupId::new(manifest.sequence, manifest.began, manifest.kind);
    sealing.finish(&manifest)?;
    if let Some(list) = proven {
        prove_frame(context, partial, &list, observer, stop)?;
    }
    stop.check()?;
    commit(context, &id, events, how.prove)?;
    repository.publish(partial, &id, &manifest.session)?;
    drop(held);
    context.session.append::<Error>(Durability::Lazy, |_| Ok(vec![Event::Published]))?;
    if let Err(error) = heal::sweep(repository, &context.state, heal::Mercy::None, observer, stop) {
        // The backup stands; what could not be cleared away, the next run tries again.
        observer.warning(&Warning { jet: error.jet_code(), message: error.message().to_owned(), file: None });
    }
    Ok(Published {
        id: id.text,
        sequence: id.sequence,
        files: totals.counts.files,
        bytes: totals.counts.bytes,
        bytes_stored: totals.bytes_stored,
        changed: Some(totals.changed),
        parent: manifest.parent.map(|parent| parent.id),
        outcome: manifest.outcome,
        orphans: orphans(&state, &totals),
        damaged: totals.damaged,
        appeared: manifest.appeared,
    })
}

/// Looks once more at every file of a storage whose files are worth nothing without each other.
pub(super) fn require_still(context: &Context, state: &State, stop: &StopToken) -> Result<()> {
    if context.session.record().engine == EngineName::Files {
        return Ok(());
    }
    let is_snapshot = context.session.record().instance.as_ref().is_some_and(|instance| instance.snapshot);
    let engine = match context.engine() {
        Err(error) if is_snapshot && error.is_not_found() => return Ok(()), // it is gone, as snapshots are
        engine => engine?,
    };
    let hint = if is_snapshot {
        "Nothing was published: what somebody writes to is no snapshot. Back up while the application is shut down, or a \
         snapshot of the volume."
    } else {
        "Nothing was published. Back up while the application is shut down, or from a snapshot."
    };
    let roots = context.session.record().roots();
    gather(context, state)?.each(&mut |record| {
        stop.check()?;
        let of_engine = matches!(record.line.role, Role::Database | Role::Log | Role::Checkpoint);
        let path = record.line.name(&roots).filter(|_| of_engine && record.line.hard_link().is_none());
        let Some(path) = path else { return Ok(()) };
        match engine.changed_since(&path, &record.stamp)? {
            None => Ok(()),
            Some(what) => {
                let message = format!("{} changed before the backup was complete: {what}", printable(&path));
                Err(Error::new(ExitCode::Unfit, message).file(&path).hint(hint))
            }
        }
    })
}

/// Whether damaged pages were copied as they are, because that was asked for.
pub(super) fn has_damaged_pages(context: &Context, state: &State) -> Result<bool> {
    if !context.session.record().ese.as_ref().is_some_and(|terms| terms.accept_damage) {
        return Ok(false);
    }
    let mut is_any = false;
    gather(context, state)?.each(&mut |record| {
        is_any |= record.line.pages.iter().flat_map(Proof::damaged).next().is_some();
        Ok(())
    })?;
    Ok(is_any)
}

/// Proves a backup that stands since an earlier attempt, or since an `end` that got no further: no log goes before that.
pub fn prove_published(context: &Context, observer: &mut dyn Observer, stop: &StopToken) -> Result<()> {
    let state = context.session.state()?;
    let Some(publication) = state.publication() else { return Ok(()) };
    let repository = context.require_partial()?.repository();
    let (backup, backups) = (repository.resolve(&publication.id)?, repository.backups()?);
    let _in_use = repository.hold(&backup.id, stop)?;
    let total = backup.manifest.as_ref().map_or(0, |manifest| manifest.bytes);
    let (mut bad, nowhere) = (Vec::new(), HashSet::new());
    with_progress(
        stop,
        true,
        None,
        &Tally::default(),
        |how| repository.verify(&backup, &backups, &Verification { elsewhere: Elsewhere::But(&nowhere), ..*how }),
        &mut |damage| bad.extend(Some(damage).filter(|damage| !damage.is_known)),
        &mut |tally| {
            let (bytes_done, bytes_total) = (tally.bytes(), total);
            observer.progress(&Progress { activity: Activity::Verifying, file: None, bytes_done, bytes_total });
        },
    )?;
    let Some(first) = bad.first() else {
        let chain = repository.chain(&backup)?;
        return held_logs::prove(repository, &backup.folder(), Expected::of(&chain), stop);
    };
    let message = format!("the published backup {} is damaged: {}", publication.id, printable(&first.file));
    Err(Error::new(ExitCode::Verification, message)
        .file(&first.file)
        .hint("No log was deleted. `jetbak verify` tells more; make a new backup, and distrust the disk under it."))
}

/// Finishes a rename that a crash interrupted, or finds it done; returns the id.
pub fn finish_rename(context: &Context, stop: &StopToken) -> Result<String> {
    let partial = context.require_partial()?;
    let repository = partial.repository();
    if let Some(publication) = context.session.state()?.publication().filter(|known| known.done) {
        return Ok(publication.id.clone());
    }
    let _held = repository.lock(stop)?;
    let state = context.session.state()?; // again: another healer may have been at it
    let Some(publication) = state.publication() else {
        return Err(Error::new(ExitCode::Failed, "the session was not being published"));
    };
    let mut id = BackupId::parse(&publication.id)
        .ok_or_else(|| Error::new(ExitCode::Failed, format!("{} is no backup's id", printable(&publication.id))))?;
    if publication.done {
        return Ok(id.text);
    }
    let session = &context.session.record().session;
    match repository.publish(partial, &id, session) {
        Err(error) if error.is_already_there() => id = renumber(context, partial)?,
        published => published?,
    }
    context.session.append::<Error>(Durability::Synced, |state| {
        Ok(if state.publication().is_some_and(|known| known.done) { Vec::new() } else { vec![Event::Published] })
    })?;
    Ok(id.text)
}

/// Whether a committed backup is neither in its partial nor under its id, in a repository that can be looked at.
pub fn is_lost(context: &Context) -> Result<bool> {
    let partial = context.require_partial()?;
    let state = context.session.state()?;
    let Some(publication) = state.publication() else { return Ok(false) };
    let stands = partial.repository().ids()?.iter().any(|id| id.text == publication.id);
    Ok(!stands && !partial.is_sealed()?)
}

/// Another session took the number while this one lay dead between its commit and its rename: seal it under the next.
fn renumber(context: &Context, partial: &Partial) -> Result<BackupId> {
    let repository = partial.repository();
    let (state, _) = context.session.state_and_events()?;
    let sealing = begin_sealing(context, partial, &state)?;
    let path = partial.backup().join("manifest.json");
    let mut text = Vec::new();
    let described = repository.store().describe(&path);
    std::io::Read::read_to_end(&mut repository.store().open(&path, 0, false)?, &mut text)
        .map_err(|e| Error::io("read", &described, &e))?;
    let mut manifest = Manifest::parse(&text)?;
    manifest.sequence = repository.next_sequence()?;
    let id = BackupId::new(manifest.sequence, manifest.began, manifest.kind);
    manifest.id.clone_from(&id.text);
    manifest.previous = repository.newest_link()?;
    sealing.finish(&manifest)?;
    let again = vec![Event::Publishing { id: id.text.clone(), proven: false }];
    context.session.append::<Error>(Durability::Synced, |_| Ok(again))?;
    repository.publish(partial, &id, &manifest.session)?;
    Ok(id)
}

/// What is known of a backup that this session published.
pub fn describe(context: &Context) -> Result<Published> {
    let partial = context.require_partial()?;
    let state = context.session.state()?;
    let id = state.publication().map(|publication| publication.id.clone()).unwrap_or_default();
    let manifest = partial.repository().resolve(&id)?.manifest?;
    let state = context.session.state()?;
    let is_orphan = |failure: &Failure| !state.excluded().values().any(|known| known.path == failure.path);
    Ok(Published {
        id,
        sequence: manifest.sequence,
        files: manifest.files,
        bytes: manifest.bytes,
        bytes_stored: manifest.bytes_stored,
        changed: None,
        parent: manifest.parent.map(|parent| parent.id),
        outcome: manifest.outcome,
        damaged: manifest.damaged,
        orphans: manifest.excluded.into_iter().filter(is_orphan).collect(),
        appeared: manifest.appeared,
    })
}

/// The commit: under the journal's lock, after a last look for a stop, and only if nothing happened since sealing began.
fn commit(context: &Context, id: &BackupId, events: u64, proven: bool) -> Result<()> {
    let terms = context.session.record().terms();
    let live = context.session.live()?;
    let seen = std::cell::Cell::new(0);
    context.session.append_counted(Durability::Synced, |state, count| {
        seen.set(count);
        state.decide(Call::Publish, terms, &live)?;
        Ok::<_, Error>(if count == events {
            vec![Event::Publishing { id: id.text.clone(), proven }]
        } else {
            Vec::new()
        })
    })?;
    if seen.get() == events {
        return Ok(());
    }
    Err(Error::jet(Jet::InvalidBackupSequence, "something was read while the backup was being sealed")
        .hint("Repeat the command."))
}

fn gather(context: &Context, state: &State) -> Result<Records> {
    let proven: Vec<_> = state.proven().iter().map(|(reader, proven)| (*reader, proven.records)).collect();
    let total = |phase| state.total(phase).unwrap_or(0);
    Records::gather(&context.records()?, &proven, total(Phase::Databases), total(Phase::Logs))
}

fn seal(context: &Context, partial: &Partial, state: &State, observer: &mut dyn Observer) -> Result<Sealing> {
    let bytes = state.proven_total().bytes;
    let progress = Progress { activity: Activity::Sealing, file: None, bytes_done: bytes, bytes_total: bytes };
    observer.progress(&progress);
    begin_sealing(context, partial, state)
}

fn begin_sealing(context: &Context, partial: &Partial, state: &State) -> Result<Sealing> {
    let record = context.session.record();
    let mut script: Box<dyn Script> = match &record.parent {
        None => Box::new(Alone),
        Some(parent) => {
            let plan = context.plan(Phase::Logs)?;
            let logs = plan.map_or(Ok(Vec::new()), |plan| PlanReader::open(&plan, 0)?.collect::<Result<_>>())?;
            Box::new(Changes::open(context.session.folder(), parent, &logs)?)
        }
    };
    Sealing::begin(partial, &gather(context, state)?, &mut *script, &record.roots())
}

/// Reads every byte of data back from the medium; the list goes on to the proof of what is written last.
fn prove(
    context: &Context,
    partial: &Partial,
    totals: &Totals,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<ListReader> {
    let record = context.session.record();
    let own = Part {
        id: record.session.clone(),
        folder: partial.backup(),
        files_sha256: totals.files_sha256.clone(),
        files: totals.counts.files,
        bytes: totals.counts.bytes,
        began: record.began,
    };
    let repository = partial.repository();
    let chain = record.parent.as_ref().map(|parent| parent::require_standing(repository, parent)).transpose()?;
    let expected = Expected::partial(own, chain.as_ref(), record.roots());
    let (bad, list) = read_back(partial, &expected, totals.bytes_stored, observer, stop)?;
    refuse_bad(context, &bad, observer)?;
    if record.parent.is_some() {
        held_logs::prove(repository, &partial.backup(), expected, stop)?;
    }
    list.ok_or_else(|| Error::new(ExitCode::Failed, "the list of files was not read back"))
}

/// Reads all that lies in a partial back from the medium, and says what of it is not what was written; the list goes on, none
/// where it is missing. `bytes_total` is what there is to read.
pub(super) fn read_back(
    partial: &Partial,
    expected: &Expected,
    bytes_total: u64,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<(Vec<Damage>, Option<ListReader>)> {
    let (tally, nowhere) = (Tally::default(), HashSet::new());
    let (mut bad, mut list) = (Vec::new(), None);
    with_progress(
        stop,
        true,
        None,
        &tally,
        |how| {
            // What earlier backups hold of it is read there: it is worth no more than they are.
            let how = Verification { elsewhere: Elsewhere::But(&nowhere), ..*how };
            list = verify_data(partial.repository(), &partial.backup(), expected, &how)?;
            Ok(())
        },
        &mut |damage| bad.extend(Some(damage).filter(|damage| !damage.is_known)),
        &mut |tally| {
            let bytes_done = tally.bytes();
            observer.progress(&Progress { activity: Activity::Verifying, file: None, bytes_done, bytes_total });
        },
    )?;
    Ok((bad, list))
}

/// Reads back what was written last: the manifest and the sums.
fn prove_frame(
    context: &Context,
    partial: &Partial,
    list: &ListReader,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<()> {
    let bad = std::sync::Mutex::new(Vec::new());
    let report = |damage| bad.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(damage);
    let (tally, elsewhere) = (Tally::default(), Elsewhere::Unread);
    let how = Verification { stop, fresh: true, databases: None, elsewhere, tally: &tally, report: &report };
    check_sums(&**partial.repository().store(), &partial.backup(), Some(list), &how)?;
    refuse_bad(context, &bad.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner), observer)
}

/// A copy that is not what was read ends the session as failed; one that cannot be read back now may be later.
fn refuse_bad(context: &Context, bad: &[Damage], observer: &mut dyn Observer) -> Result<()> {
    // A bad list says nothing true of the files: it is what is named.
    let rank = |damage: &&Damage| match damage {
        Damage { kind: DamageKind::Unreadable, .. } => 2,
        Damage { file, .. } => u8::from(file.as_path() != Path::new("files.jsonl")),
    };
    let Some(first) = bad.iter().min_by_key(rank) else { return Ok(()) };
    if first.kind == DamageKind::Unreadable {
        let message = format!("what was written cannot be read back: {}", first.computed);
        return Err(Error::jet(Jet::DiskIO, message)
            .file(&first.file)
            .hint("Nothing was published and no log deleted. Mend this, then repeat the command."));
    }
    context.require_partial()?.distrust()?;
    heal::end_unpublished(context, Outcome::Failed, observer)?;
    if let Some(id) = bad.iter().find_map(|damage| damage.held_by.as_ref()) {
        let (kind, file) = (first.kind.name(), printable(&first.file));
        let message = format!("{id}, which this backup builds on, is damaged: {kind} of {file}");
        return Err(Error::new(ExitCode::Verification, message)
            .file(&first.file)
            .hint("Nothing was published and no log deleted. Make a full backup; `jetbak verify` tells more."));
    }
    let message = format!(
        "what was written is not what was read: {} of {} ({} findings in all)",
        first.kind.name(),
        printable(&first.file),
        bad.len()
    );
    Err(Error::new(ExitCode::Verification, message)
        .file(&first.file)
        .hint("Nothing was published and no log deleted. Distrust the disk under the repository."))
}

fn orphan_message(orphan: &Orphan) -> String {
    let (path, first) = (printable(&orphan.path), printable(&orphan.first));
    if orphan.is_parted {
        return format!("{path} was another name of {first} when the backup began, and then one of them was replaced");
    }
    format!("{path} is another name of {first}, which could not be read")
}

/// A file that lost one of its names to another file while the backup ran was read under neither.
fn refuse_parted(context: &Context, totals: &Totals, how: How) -> Result<()> {
    let unwanted = !context.session.record().keep_going || how.truncate;
    let Some(orphan) = totals.orphans.iter().find(|_| unwanted) else { return Ok(()) };
    Err(Error::new(ExitCode::Unfit, orphan_message(orphan))
        .file(&orphan.path)
        .hint("Nothing was published. Begin anew (`jetbak end --abort` ends this session), best from a snapshot."))
}

/// Further names of files that could not be read under their first one: as little in the backup as those.
fn orphans(state: &State, totals: &Totals) -> Vec<Failure> {
    let reason_of = |first: &Path| {
        let first = first.to_string_lossy();
        state.excluded().values().find(|failure| failure.path == first)
    };
    let failure = |orphan: &Orphan| {
        let reason = reason_of(&orphan.first);
        Failure {
            path: orphan.path.to_string_lossy().into_owned(),
            message: orphan_message(orphan),
            jet: reason.and_then(|failure| failure.jet),
            exit_code: match reason {
                _ if orphan.is_parted => ExitCode::Unfit.number(),
                Some(failure) => failure.exit_code,
                None => ExitCode::Failed.number(),
            },
        }
    };
    totals.orphans.iter().map(failure).collect()
}

fn manifest_of(
    context: &Context,
    repository: &Repository,
    state: &State,
    totals: &Totals,
    how: How,
) -> Result<Manifest> {
    let record = context.session.record();
    let sequence = repository.next_sequence()?;
    let id = BackupId::new(sequence, record.began, record.kind);
    let (storage, storage_base64) = paths::to_fields(&record.storage());
    let excluded: Vec<_> = state.excluded().values().cloned().chain(orphans(state, totals)).collect();
    let previous = repository.newest_link()?;
    Ok(Manifest {
        type_name: "backup".to_owned(),
        format: manifest::FORMAT,
        id: id.text,
        sequence,
        session: record.session.clone(),
        repository: repository.id().to_owned(),
        storage,
        storage_base64,
        host: record.by.host.clone(),
        engine: record.engine,
        kind: record.kind,
        outcome: if excluded.is_empty() && totals.damaged.is_empty() {
            Outcome::Completed
        } else {
            Outcome::Incomplete
        },
        began: record.began,
        ended: times::now(),
        files: totals.counts.files,
        directories: totals.counts.directories,
        links: totals.counts.links,
        hard_links: totals.counts.hard_links,
        bytes: totals.counts.bytes,
        bytes_stored: totals.bytes_stored,
        hash: "sha256".to_owned(),
        files_sha256: totals.files_sha256.clone(),
        parent: record.parent.as_ref().map(parent::link),
        changes: record
            .parent
            .as_ref()
            .map(|parent| if parent.by_logs { manifest::Changes::Logs } else { manifest::Changes::Blocks }),
        consolidates: None,
        previous,
        logs: totals.logs.clone(),
        truncated: how.truncate,
        excluded,
        damaged: totals.damaged.clone(),
        instance: record.instance.clone(),
        roots: record.roots(),
        proof: totals.proof,
        left_out: record.left_out.clone(),
        parted: record.parted.clone(),
        exclusion: record.exclusion.clone(),
        left_out_as_asked: record.excluded,
        proven: how.prove,
        appeared: None,
        tags: record.tags.clone(),
        tool: concat!("jetbak ", env!("CARGO_PKG_VERSION")).to_owned(),
    })
}

/// Says that nobody else seals or truncates this session.
#[derive(Debug)]
pub struct FinisherLock(#[expect(dead_code, reason = "the lock lives as long as its file")] File);

/// Only one process at a time may seal or truncate a session.
pub fn lock_finisher(context: &Context) -> Result<FinisherLock> {
    let path = context.session.folder().join("finisher.lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|e| finisher_error(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(FinisherLock(file)),
        Err(TryLockError::WouldBlock) => {
            let message = format!("{} is ending or truncating this session", holder::describe(Some(&path)));
            Err(Error::jet(Jet::InvalidBackupSequence, message).hint("Wait for it."))
        }
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path, &error)),
    }
}

fn finisher_error(path: &Path, error: &std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::NotFound {
        return crate::session::no_session(None); // ended meanwhile
    }
    Error::io("open", path, error)
}
