//! Names on the command line of `read`, looked up in the lists of a session.

use std::path::{Path, PathBuf};

use super::Context;
use crate::engine::plan::PlanReader;
use crate::engine::{Entry, Role};
use crate::error::{Error, Jet, Result, printable};
use crate::named_paths::NamedPaths;
use crate::session::event::{Batch, Phase};
use crate::session::state::{EntryState, Refusal, State};
use crate::stream::stop::StopToken;

/// Entries that names stand for, all of the phase that the session is in.
pub struct Selection {
    /// The phase.
    pub phase: Phase,
    /// What is still to be read of them.
    pub batches: Vec<Batch>,
}

/// An entry, and its place in the lists.
pub struct Found {
    /// Which list.
    pub phase: Phase,
    /// Its place, as a batch of one.
    pub batch: Batch,
    /// The entry.
    pub entry: Entry,
}

/// Walks both lists, as far as they are fixed, until `visit` has what it wants.
fn walk<T>(context: &Context, mut visit: impl FnMut(Found) -> Result<Option<T>>) -> Result<Option<T>> {
    for phase in [Phase::Databases, Phase::Logs] {
        let Some(plan) = context.plan(phase)? else { continue };
        let mut plan = PlanReader::open(&plan, 0)?;
        for first in 0.. {
            let offset = plan.offset();
            let Some(entry) = plan.next_entry()? else { break };
            let batch = Batch { first, count: 1, offset, end: plan.offset() };
            if let Some(wanted) = visit(Found { phase, batch, entry })? {
                return Ok(Some(wanted));
            }
        }
    }
    Ok(None)
}

/// Finds what names stand for; a directory means all below it, and what is done already is left out.
pub fn select(context: &Context, state: &State, names: &[PathBuf]) -> Result<Selection> {
    let mut wanted = NamedPaths::new(names);
    let mut batches: Vec<Batch> = Vec::new();
    let current = state.phase();
    let roots = context.session.record().roots();
    let is_root = |entry: &Entry| {
        let path = roots.place(&entry.path).map(|(_, path)| path);
        entry.role == Role::Directory && path == Some(Path::new(""))
    };
    let mut free_roots = Vec::new();
    walk(context, |Found { phase, batch, entry }| {
        if is_root(&entry) && state.entry(phase, batch.first) == EntryState::Free {
            free_roots.push(batch);
        }
        if wanted.meet(&entry.path) {
            take(context, state, (phase, current), batch, &entry, &mut batches)?;
        }
        Ok(None::<()>)
    })?;
    if let Some(name) = wanted.unknown().next() {
        return Err(not_in_the_lists(context, state, name));
    }
    // The storage itself goes along with whatever is read of it first, and so do the directories beside it: nobody would
    // think of naming them.
    if current == Phase::Databases && !batches.is_empty() {
        let is_named = |root: &Batch| batches.iter().any(|batch| (batch.first..batch.next()).contains(&root.first));
        free_roots.retain(|root| !is_named(root));
        batches.splice(0..0, free_roots);
    }
    Ok(Selection { phase: current, batches })
}

/// Adds an entry that was meant to what is to be read, if it is still to be read.
fn take(
    context: &Context,
    state: &State,
    (phase, current): (Phase, Phase),
    one: Batch,
    entry: &Entry,
    batches: &mut Vec<Batch>,
) -> Result<()> {
    let is_free = |batch: &Batch| state.entry(phase, batch.first) == EntryState::Free;
    match state.entry(phase, one.first) {
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
            Some(last) if last.next() == one.first && is_free(last) => {
                (last.count, last.end) = (last.count + 1, one.end);
            }
            _ => batches.push(one),
        },
    }
    Ok(())
}

/// Finds one file with content.
pub fn find_file(context: &Context, state: &State, name: &Path) -> Result<Found> {
    let found = walk(context, |found| Ok((found.entry.path == name).then_some(found)))?;
    let found = found.ok_or_else(|| not_in_the_lists(context, state, name))?;
    if found.entry.role.is_file() {
        return Ok(found);
    }
    let message = format!("{} has no content: it is a {}", printable(name), found.entry.role.name());
    Err(Error::jet(Jet::InvalidParameter, message).file(name))
}

fn not_in_the_lists(context: &Context, state: &State, name: &Path) -> Error {
    let record = context.session.record();
    let mut databases = record.instance.iter().flat_map(|instance| &instance.databases);
    if record.log_parent.is_some() && databases.any(|database| database.file.path() == name) {
        let message =
            format!("the database {} is not read: this backup takes the logs of its changes", printable(name));
        let hint = "`jetbak read` takes the logs; a full backup, or one with --blocks, reads databases.";
        return Error::jet(Jet::InvalidBackupSequence, message).file(name).hint(hint);
    }
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
pub fn refuse_second_reader(context: &Context, holder: u32, name: &Path) -> Result<()> {
    if !context.session.live()?.contains(&holder) {
        return Ok(());
    }
    let message = format!("reader {holder} is reading {} already", printable(name));
    Err(Error::jet(Jet::OutOfMemory, message)
        .file(name)
        .hint("A plain `jetbak read` shares the work with other readers and takes over from dead ones."))
}
