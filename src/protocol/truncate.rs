//! truncate: first the backup stands, proven; then the logs that it makes needless go, oldest first.

use std::collections::HashSet;
use std::path::PathBuf;

use super::publish::{self, How, Published};
use super::{Activity, Context, Observer, Progress};
use crate::engine::plan::PlanReader;
use crate::engine::{Deletion, EngineName, Entry, HeldLog};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::session::event::{Event, Phase};
use crate::session::journal::Durability;
use crate::session::state::Call;
use crate::stream::source::Stamp;
use crate::stream::stop::StopToken;

/// What truncate did, or would do.
#[derive(Clone, Debug, Default)]
pub struct Truncated {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Logs that are gone now (dry run: that would go), oldest first.
    pub deleted: Vec<PathBuf>,
    /// Their bytes.
    pub bytes: u64,
    /// Logs that were gone before.
    pub missing: Vec<PathBuf>,
    /// Logs that this backup holds and that stay, oldest first.
    pub remaining: Vec<PathBuf>,
    /// The backup that made them needless.
    pub published: Option<Published>,
}

/// Says what truncate would delete. Changes nothing.
pub fn dry_run(context: &Context) -> Result<Truncated> {
    context.session.decide(Call::DryRunTruncate)?;
    refuse_ese(context)?;
    let engine = context.engine()?;
    let held = match context.plan(Phase::Logs)? {
        Some(_) => held_logs(context)?,
        // Not listed yet: what would be listed now.
        None => engine.list_logs(&StopToken::never())?.into_iter().map(as_listed).collect(),
    };
    let going = engine.truncatable(&held, &StopToken::never())?;
    Ok(Truncated {
        dry_run: true,
        bytes: going.iter().fold(0, |sum, log| log.stamp.size.saturating_add(sum)),
        remaining: remaining(&held, going.iter().map(|log| &log.path)),
        deleted: going.into_iter().map(|log| log.path).collect(),
        ..Truncated::default()
    })
}

fn refuse_ese(context: &Context) -> Result<()> {
    if context.session.record().engine == EngineName::Ese { Err(not_yet_truncated()) } else { Ok(()) }
}

/// What this version answers to whoever wants to truncate an instance of the Extensible Storage Engine.
pub fn not_yet_truncated() -> Error {
    Error::jet(Jet::InvalidBackupSequence, "truncate is not yet possible for ESE storages: no log was deleted")
        .hint("`jetbak end` publishes the backup; delete no log yourself while its application lives.")
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
    context.session.decide(Call::Truncate)?;
    refuse_ese(context)?;
    let alone = publish::lock_finisher(context)?;
    // Which logs are held is known from the records, and those go when the backup is published: look first.
    let held = match context.session.state()?.publication() {
        None => held_logs(context)?,
        Some(_) => read_held(context)?,
    };
    if context.session.state()?.publication().is_none() {
        keep_held(context, &held)?;
    }
    let how = How { prove: true, truncate: true };
    let published = publish::publish(context, &alone, how, observer, stop)?;
    publish::prove_published(context, observer, stop)?;
    let engine = context.engine()?;
    let going = engine.truncatable(&held, stop)?;
    let mut done = Truncated { published: Some(published), ..Truncated::default() };
    let count = going.len() as u64;
    context.session.append::<Error>(Durability::Synced, |_| Ok(vec![Event::Truncating { logs: count }]))?;
    let mut failure = None;
    let bytes_total = going.iter().fold(0, |sum, log| log.stamp.size.saturating_add(sum));
    for log in &going {
        let bytes_done = done.bytes;
        observer.progress(&Progress { activity: Activity::Truncating, file: None, bytes_done, bytes_total });
        if let Err(error) = stop.check() {
            failure = Some(error.hint("The backup is published and safe. `jetbak truncate` goes on where this ended."));
            break;
        }
        match engine.delete_log(log) {
            Ok(Deletion::Deleted) => {
                let path = log.path.to_string_lossy().into_owned();
                context.session.append::<Error>(Durability::Lazy, |_| Ok(vec![Event::Truncated { path }]))?;
                done.bytes += log.stamp.size;
                done.deleted.push(log.path.clone());
            }
            Ok(Deletion::Missing) => done.missing.push(log.path.clone()),
            Ok(Deletion::Changed(what)) => {
                let message = format!("{} is not what was backed up: {what}; it was not deleted", printable(&log.path));
                failure = Some(
                    Error::new(ExitCode::Unfit, message)
                        .file(&log.path)
                        .hint("It and every newer log were left alone. The next backup will hold it."),
                );
                break;
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    engine.settle_deletions(&going)?;
    done.remaining = remaining(&held, done.deleted.iter().chain(&done.missing));
    Ok((done, failure))
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
        home.read(*reader, proven.records, &mut |_, record| {
            if record.phase == Phase::Logs
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
        held.push(match stamp {
            Some(stamp) => HeldLog { path: entry.path, stamp },
            None => as_listed(entry), // a dry run before it was read; a real one has read all
        });
    }
    Ok(held)
}

/// What stays of the held logs, oldest first.
fn remaining<'a>(held: &[HeldLog], gone: impl Iterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    let gone: HashSet<&PathBuf> = gone.collect();
    held.iter().map(|log| &log.path).filter(|path| !gone.contains(path)).cloned().collect()
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
