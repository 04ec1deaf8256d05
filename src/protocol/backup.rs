//! backup: begin, read, truncate and end in one process, through the same calls as the verbs.

use std::time::{Duration, Instant};

use super::begin::{self, Options};
use super::end::{self, Ended};
use super::survey::Survey;
use super::truncate::{self, Truncated};
use super::{Context, Observer, read};
use crate::error::{Error, Jet, Result, printable};
use indicatif::BinaryBytes;

use crate::session::Session;
use crate::session::event::Outcome;
use crate::stream::stop::{Cause, StopToken, WATCH_INTERVAL};

/// What a one-shot backup came to.
pub struct BackupReport {
    /// How it ended; none where it never began.
    pub ended: Option<Ended>,
    /// What truncate did, where it was asked for and reached.
    pub truncated: Option<Truncated>,
    /// What went wrong.
    pub error: Option<Error>,
    /// The session's id, once it was begun.
    pub session: Option<String>,
    /// From begin to end.
    pub took: Duration,
}

/// Runs the whole protocol. `begun` hears of the session as soon as it exists.
pub fn backup(
    state: &crate::session::directory::StateDirectory,
    options: &Options,
    with_truncate: bool,
    observer: &mut dyn Observer,
    signals: &StopToken,
    begun: &mut dyn FnMut(&Session, &Survey),
) -> BackupReport {
    let started = Instant::now();
    let mut report = BackupReport { ended: None, truncated: None, error: None, session: None, took: Duration::ZERO };
    if let Err(error) = run(state, options, with_truncate, observer, signals, begun, &mut report) {
        report.error = Some(error);
    }
    report.took = started.elapsed();
    report
}

fn run(
    state: &crate::session::directory::StateDirectory,
    options: &Options,
    with_truncate: bool,
    observer: &mut dyn Observer,
    signals: &StopToken,
    hear: &mut dyn FnMut(&Session, &Survey),
    report: &mut BackupReport,
) -> Result<()> {
    let begun = begin::begin(state, options, observer, signals)?;
    let mut context = begun.context;
    report.session = Some(context.session.record().session.clone());
    let stop = context.session.stop_token()?;
    let mut work = || -> Result<Option<Error>> {
        hear(&context.session, &begun.survey);
        read::read_all(&context, observer, &stop)?;
        // Somebody may have joined in with a `read` of his own; he leaves now that all is read.
        while !context.session.live()?.is_empty() {
            stop.sleep(WATCH_INTERVAL)?;
        }
        if !with_truncate || truncate::is_incomplete(&context)? {
            return Ok(None);
        }
        let (truncated, failure) = truncate::truncate(&context, observer, &stop)?;
        report.truncated = Some(truncated);
        Ok(failure)
    };
    let worked = work();
    let now = context.session.state()?;
    if now.outcome().is_some() || !now.in_progress() {
        return worked.map(drop); // a failing log or a bad copy has ended it already
    }
    match worked {
        Ok(failure) => {
            report.ended = Some(end::end(&context, observer, &stop).or_else(|error| {
                // Whatever stands in the way of publishing, a one-shot leaves no session behind.
                leave_on_full_disk(&mut context, &error, observer)?;
                report.error = Some(error);
                give_up(&context, &stop, observer)
            })?);
            report.error = report.error.take().or(failure);
            let stopped = report.ended.as_ref().is_some_and(|ended| ended.outcome == Outcome::Stopped);
            if report.error.is_none() && stopped {
                report.error = stop.cause().map(|cause| cause.error()); // it came after the last byte
            }
        }
        Err(error) => {
            leave_on_full_disk(&mut context, &error, observer)?;
            let ended = give_up(&context, &stop, observer)?;
            let stopped = ended.outcome == Outcome::Stopped && !options.keep_partial;
            let nothing_left = "Nothing was published, and nothing of it is left behind.";
            report.error = Some(if stopped { error.hint(nothing_left) } else { error });
            report.ended = Some(ended);
        }
    }
    drop(begun.owner);
    Ok(())
}

/// A disk that is full may have room tomorrow: what was read so far stays for the next backup to go on from.
fn leave_on_full_disk(context: &mut Context, error: &Error, observer: &mut dyn Observer) -> Result<()> {
    if error.jet_code() != Some(Jet::DiskFull) || context.session.record().keep_partial {
        return Ok(());
    }
    let Some(partial) = context.partial()? else { return Ok(()) };
    let proven = context.session.state()?.proven_total();
    if partial.records().proven().is_ok_and(|readers| readers.is_empty()) {
        return Ok(()); // nobody could go on from there
    }
    let place = printable(partial.repository().store().describe(&partial.backup()));
    let size = BinaryBytes(proven.bytes);
    observer.said(&format!(
        "what was read so far ({size}) stays in {place}: the next backup goes on from it, or removes it with --no-resume"
    ));
    context.leaves_partial = true;
    Ok(())
}

/// Ends a session that came to nothing: stopped, if somebody stopped it, else failed.
fn give_up(context: &Context, stop: &StopToken, observer: &mut dyn Observer) -> Result<Ended> {
    if let Some(Cause::Signal(number)) = stop.cause() {
        context.session.stop_by_signal(number)?;
    }
    let state = context.session.state()?;
    if state.publication().is_some() {
        // Committed: the backup stands, or stands after its rename is finished; nothing may be thrown away.
        return end::finish_committed(context, &StopToken::never());
    }
    let outcome = if state.stop().is_some() { Outcome::Stopped } else { Outcome::Failed };
    end::finish(context, &state, outcome, observer)
}
