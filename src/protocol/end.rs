//! end: publish what was read, or leave nothing behind; then the session is over.

use std::path::PathBuf;

use super::publish::{self, How, Published};
use super::{Context, Observer, exit_of, heal};
use crate::engine::ese::facts::Named;
use crate::engine::plan::PlanReader;
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::repository::manifest::DamagedPage;
use crate::repository::seal::Records;
use crate::session::event::{Event, Failure, Outcome, Phase};
use crate::session::journal::Durability;
use crate::session::record::Who;
use crate::session::state::{Call, EntryState, State};
use crate::stream::source::Proof;
use crate::stream::stop::{Cause, StopToken};

/// Missing files that are named one by one.
const MISSING_SHOWN_MAX: usize = 20;

/// How a session ended.
#[derive(Debug)]
pub struct Ended {
    /// The outcome.
    pub outcome: Outcome,
    /// How the command ends.
    pub exit_code: ExitCode,
    /// The backup, where one was published.
    pub published: Option<Published>,
    /// Files that were read and proven.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that could not be read.
    pub excluded: Vec<Failure>,
    /// Damaged pages that were copied as they are.
    pub damaged: Vec<DamagedPage>,
    /// Files that were still to be read, the first few of them.
    pub missing: Vec<PathBuf>,
    /// How many were still to be read.
    pub missing_count: u64,
    /// What went wrong, for an outcome that is an error.
    pub error: Option<Error>,
    /// Logs that truncate deleted.
    pub truncated: u64,
    /// In a session without repository: what was read, with hashes.
    pub hashes: Vec<(PathBuf, u64, String)>,
}

/// Ends a session normally: published if everything was read, else aborted; after a stop, stopped.
pub fn end(context: &Context, observer: &mut dyn Observer, stop: &StopToken) -> Result<Ended> {
    let state = context.session.decide(Call::End)?;
    if state.stop().is_some() {
        heal::stop_and_wait(&context.session, "", stop)?;
        return finish(context, &state, Outcome::Stopped, observer);
    }
    let everything = state.is_complete(Phase::Databases) && state.is_complete(Phase::Logs);
    if state.publication().is_none() && !everything {
        return finish(context, &state, Outcome::Aborted, observer);
    }
    if context.session.record().repository().is_none() {
        return end_without_repository(context, &state, observer);
    }
    let alone = publish::lock_finisher(context)?;
    let how = How { prove: false, truncate: false };
    // A signal may end the command before the commit; a stop of the session is decided by its journal alone.
    let published = match publish::publish(context, &alone, how, observer, stop) {
        Ok(published) => published,
        Err(error) if matches!(stop.cause(), Some(Cause::Signal(_))) => {
            return Err(error);
        }
        Err(error) if error.jet_code() == Some(Jet::BackupAbortByServer) => {
            let state = context.session.state()?;
            return finish(context, &state, Outcome::Stopped, observer);
        }
        Err(error) => return Err(error),
    };
    let state = context.session.state()?;
    heal::end(context, published.outcome)?;
    Ok(completed(&state, Some(published)))
}

/// Ends a session without a result; a published backup stays.
pub fn abort(context: &Context, observer: &mut dyn Observer, signals: &StopToken) -> Result<Ended> {
    context.session.decide(Call::Abort)?;
    heal::stop_and_wait(&context.session, &format!("`jetbak end --abort` by {}", Who::current()), signals)?;
    let state = context.session.state()?;
    if state.publication().is_some() {
        return match finish_committed(context, signals) {
            Ok(ended) => {
                observer.said("the backup was published before; it stays");
                Ok(ended)
            }
            // Asked for by a person, and there is nothing left to finish, or nowhere to look for it.
            Err(error) if signals.cause().is_none() && (context.partial().is_err() || publish::is_lost(context)?) => {
                heal::end(context, Outcome::Failed)?;
                let mut ended = completed(&state, None);
                (ended.outcome, ended.exit_code) = (Outcome::Failed, error.exit_code());
                ended.error = Some(error.hint("The session is over, but its backup was not found published."));
                Ok(ended)
            }
            Err(error) => Err(error),
        };
    }
    let mut ended = finish(context, &state, Outcome::Aborted, observer)?;
    (ended.exit_code, ended.error) = (ExitCode::Done, None); // ending was what was asked, and it worked
    Ok(ended)
}

/// Ends a session whose backup was committed: finishes the rename, or finds it done. Where that fails the session stays,
/// so that it can be tried again: what is committed is never thrown away.
pub fn finish_committed(context: &Context, stop: &StopToken) -> Result<Ended> {
    publish::finish_rename(context, stop)?;
    let published = publish::describe(context)?;
    let state = context.session.state()?;
    heal::end(context, published.outcome)?;
    Ok(completed(&state, Some(published)))
}

/// Ends a session that publishes nothing.
///
/// A session that is given up because it is incomplete is `stopped` after all where a stop came first.
pub fn finish(context: &Context, state: &State, outcome: Outcome, observer: &mut dyn Observer) -> Result<Ended> {
    // Only the message needs it: a damaged list keeps no session alive.
    let missing = if outcome == Outcome::Aborted { missing(context, state) } else { Ok((Vec::new(), 0)) };
    let (missing, missing_count) = missing.unwrap_or_default();
    let asked = state.stop().is_some();
    let stopped = if asked { outcome } else { Outcome::Stopped };
    let outcome = heal::end_unless_stopped(context, outcome, stopped, observer)?;
    let mut ended = completed(state, None);
    ended.outcome = outcome;
    ended.exit_code = ExitCode::Done;
    if outcome == Outcome::Aborted {
        let names: Vec<_> = missing.iter().map(printable).collect();
        let more = missing_count.saturating_sub(names.len() as u64);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        let what = if missing_count == 0 { "the logs were not listed".to_owned() } else { names.join(", ") + &more };
        let message = format!("the session is over without a backup: not everything was read ({what})");
        // What builds on another backup, and ends before its logs were listed, is out of order (case 21).
        let builds_on = context.session.record().kind.has_parent();
        let is_never_listed = builds_on && state.logs_plan().is_none();
        let jet = if is_never_listed { Jet::InvalidBackupSequence } else { Jet::BackupAbortByCaller };
        let error = Error::jet(jet, message).exit(ExitCode::OutOfOrder);
        ended.exit_code = error.exit_code();
        ended.error = Some(error.hint("Nothing was published. Begin again, and read everything before `jetbak end`."));
    }
    (ended.missing, ended.missing_count) = (missing, missing_count);
    Ok(ended)
}

fn completed(state: &State, published: Option<Published>) -> Ended {
    let proven = state.proven_total();
    let orphans = published.iter().flat_map(|published| published.orphans.iter().cloned());
    let excluded: Vec<_> = state.excluded().values().cloned().chain(orphans).collect();
    let damaged: Vec<_> = published.iter().flat_map(|published| published.damaged.iter().cloned()).collect();
    let is_whole = excluded.is_empty() && damaged.is_empty();
    let outcome = if is_whole { Outcome::Completed } else { Outcome::Incomplete };
    Ended {
        outcome,
        exit_code: if damaged.is_empty() { exit_of(&excluded) } else { ExitCode::Verification },
        damaged,
        files: published.as_ref().map_or(proven.files, |published| published.files),
        bytes: published.as_ref().map_or(proven.bytes, |published| published.bytes),
        published,
        excluded,
        missing: Vec::new(),
        missing_count: 0,
        error: None,
        truncated: state.truncated(),
        hashes: Vec::new(),
    }
}

/// Without a repository nothing is published: the end reports what was read. The commit is the end itself.
fn end_without_repository(context: &Context, state: &State, observer: &mut dyn Observer) -> Result<Ended> {
    let proven: Vec<_> = state.proven().iter().map(|(reader, proven)| (*reader, proven.records)).collect();
    let total = |phase| state.total(phase).unwrap_or(0);
    let records = Records::gather(&context.records()?, &proven, total(Phase::Databases), total(Phase::Logs))?;
    let mut ended = completed(state, None);
    let roots = context.session.record().roots();
    records.each(&mut |record| {
        if let (Some(path), Some(sha256)) = (record.line.name(&roots), record.line.sha256.clone()) {
            let file = Named::new(&path);
            let damaged = record.line.pages.iter().flat_map(Proof::damaged);
            ended.damaged.extend(damaged.map(|page| DamagedPage { file: file.clone(), page: page.clone() }));
            ended.hashes.push((path, record.line.size, sha256));
        }
        Ok(())
    })?;
    ended.files = ended.hashes.len() as u64;
    if !ended.damaged.is_empty() {
        (ended.outcome, ended.exit_code) = (Outcome::Incomplete, ExitCode::Verification);
    }
    let mut stopped = false;
    let outcome = ended.outcome;
    context.session.append(Durability::Synced, |state| {
        stopped = state.stop().is_some();
        Ok::<_, Error>(if stopped { Vec::new() } else { vec![Event::Ended { outcome }] })
    })?;
    if stopped {
        let state = context.session.state()?;
        return finish(context, &state, Outcome::Stopped, observer);
    }
    context.state.forget(&context.session)?;
    Ok(ended)
}

/// What is still to be read: the first few paths, and how many there are.
fn missing(context: &Context, state: &State) -> Result<(Vec<PathBuf>, u64)> {
    let (mut names, mut count) = (Vec::new(), 0);
    for phase in [Phase::Databases, Phase::Logs] {
        let Some(plan) = context.plan(phase)? else { continue };
        for (index, entry) in (0..).zip(PlanReader::open(&plan, 0)?) {
            let entry = entry?;
            let done = matches!(state.entry(phase, index), EntryState::Done | EntryState::Excluded);
            if !done && entry.role.is_file() {
                count += 1;
                if names.len() < MISSING_SHOWN_MAX {
                    names.push(entry.path);
                }
            }
        }
    }
    Ok((names, count))
}
