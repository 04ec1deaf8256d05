//! Healing: what a dead process left is finished or cleared away by the next one, without a person's help.

use std::time::{Duration, Instant};

use super::{Context, Observer, publish};
use crate::error::{Error, Jet, Result, printable};
use crate::repository::Repository;
use crate::repository::manifest::Link;
use crate::repository::partial::{Found, Owner, Terms};
use crate::session::directory::StateDirectory;
use crate::session::event::{Event, Outcome};
use crate::session::journal::Durability;
use crate::session::state::State;
use crate::session::{Session, StopAnswer};
use crate::stream::stop::StopToken;
use crate::times;

/// How long the readers of a session get to leave after it was stopped.
pub const READER_FAREWELL: Duration = Duration::from_secs(5);

/// Clears the storage of an earlier session, if that may be done; else the error names who holds it.
///
/// A one-shot whose process is gone is finished or ended as aborted. A session in which nothing has happened for
/// `replace_idle` is ended too. A session that a person began, or whose reader lives, is never touched otherwise. With
/// `goes_on` the caller can go on from what it has read, which then stays, unless it was stopped.
pub fn make_way(
    state: &StateDirectory,
    session: Session,
    replace_idle: Option<Duration>,
    goes_on: bool,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<()> {
    // The owner first, then the journal: an owner that ends its session records that before it goes.
    let owner_lives = session.owner_lives()?;
    let readers = session.live()?;
    if !session.state()?.in_progress() {
        return Ok(()); // it ended while we looked
    }
    let dead_one_shot = session.record().one_shot && !owner_lives;
    let idle = idle_for(&session);
    let idle_enough = replace_idle.is_some_and(|limit| idle >= limit);
    let busy = !readers.is_empty() || owner_lives || session.is_being_finished()?;
    if busy || !(dead_one_shot || idle_enough) {
        return Err(in_progress(&session)?);
    }
    let whose = format!("of {}", session.record().holder());
    let why =
        if dead_one_shot { "its process is gone".to_owned() } else { format!("idle for {}", times::duration(idle)) };
    let mut context = Context::open(state.clone(), session);
    let journal = context.session.state()?;
    if journal.publication().is_some() {
        let finished = publish::finish_rename(&context, stop);
        if finished.is_err() && publish::is_lost(&context)? {
            end(&context, Outcome::Failed)?;
            observer.said(&format!("ended the session {whose}, whose backup is gone from the repository: {why}"));
            return Ok(());
        }
        let id = finished?;
        let outcome = publish::describe(&context)?.outcome;
        end(&context, outcome)?;
        observer.said(&format!("finished the backup {id} {whose}: {why}"));
        return Ok(());
    }
    let outcome = if journal.stop().is_some() { Outcome::Stopped } else { Outcome::Aborted };
    context.leaves_partial = goes_on && outcome == Outcome::Aborted;
    end_unpublished(&context, outcome, observer)?;
    observer.said(&format!("ended the session {whose} as {}: {why}", outcome.name()));
    Ok(())
}

/// The refusal for a storage that has a session: who holds it, since when, and how to end it.
pub fn in_progress(session: &Session) -> Result<Error> {
    let record = session.record();
    let state = session.state()?;
    let what = if record.one_shot { "`jetbak backup`" } else { "`jetbak begin`" };
    let stopped = if state.stop().is_some() { "; it was stopped" } else { "" };
    let message =
        format!("a backup of {} is in progress: {what} by {}{stopped}", printable(record.storage()), record.holder());
    let hint = if state.stop().is_some() {
        "End it with `jetbak end`."
    } else if record.one_shot && session.owner_lives()? {
        "Wait for it, or stop it with `jetbak stop`."
    } else {
        "Go on with `jetbak read`, end it with `jetbak end --abort`, or let a backup replace it with --replace-idle."
    };
    Ok(Error::jet(Jet::BackupInProgress, message).hint(hint))
}

fn idle_for(session: &Session) -> Duration {
    let last = session.last_at().unwrap_or(session.record().began);
    times::now().duration_since(last).try_into().unwrap_or(Duration::ZERO)
}

/// Ends a session without publishing; once this returns, nothing of it is left but what it was told to keep.
pub fn end_unpublished(context: &Context, outcome: Outcome, observer: &mut dyn Observer) -> Result<()> {
    end_unless_stopped(context, outcome, outcome, observer).map(drop)
}

/// The same, with another outcome where a stop was recorded before the end; returns the one that counts.
pub fn end_unless_stopped(
    context: &Context,
    outcome: Outcome,
    stopped: Outcome,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let outcome = record_end(context, |state| if state.stop().is_some() { stopped } else { outcome })?;
    context.discard(observer)?;
    context.state.forget(&context.session)?;
    Ok(outcome)
}

/// Ends a session whose backup is published, or that had no repository.
pub fn end(context: &Context, outcome: Outcome) -> Result<()> {
    record_end(context, |_| outcome)?;
    context.state.forget(&context.session)
}

fn record_end(context: &Context, decide: impl Fn(&State) -> Outcome) -> Result<Outcome> {
    let mut outcome = Outcome::Aborted;
    context.session.append(Durability::Synced, |state| {
        outcome = state.outcome().unwrap_or_else(|| decide(state));
        Ok::<_, Error>(if state.in_progress() { vec![Event::Ended { outcome }] } else { Vec::new() })
    })?;
    Ok(outcome)
}

/// Stops a session and waits for its readers to leave, and for one that seals it at this moment; exit 5 where one does
/// not. Who seals finds the stop when it commits, and needs its partial until then.
pub fn stop_and_wait(session: &Session, who: &str, signals: &StopToken) -> Result<StopAnswer> {
    let answer = session.stop(who, None)?;
    let begun = Instant::now();
    loop {
        let reader = session.live()?.first().copied();
        if reader.is_none() && !session.is_being_finished()? {
            return Ok(answer);
        }
        if begun.elapsed() > READER_FAREWELL {
            let holder = reader.map_or("another process".to_owned(), |reader| format!("reader {reader}"));
            let message = format!("{holder} does not leave; the session is stopped, but not ended");
            return Err(Error::jet(Jet::InvalidBackupSequence, message)
                .hint("Look for a suspended jetbak process, end it, and repeat `jetbak end`."));
        }
        signals.check().map_err(|error| error.hint("The session is stopped, but not ended; repeat `jetbak end`."))?;
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes what dead processes left in a repository: trash, unfinished records of verifications, and partials that no
/// living session owns.
///
/// What somebody may go on from stays as `mercy` says.
pub fn sweep(
    repository: &Repository,
    state: &StateDirectory,
    mercy: Mercy<'_>,
    observer: &mut dyn Observer,
    stop: &StopToken,
) -> Result<()> {
    repository.empty_trash()?;
    let sweeps = [
        (repository.sweep_verified(), "verifications"),
        (repository.sweep_labels(), "changes of tags"),
        (repository.sweep_restored(), "restores"),
    ];
    for (swept, what) in sweeps {
        if let Err(error) = swept {
            // Whoever verifies or restores may be another user, whose records are in nobody's way.
            observer.decided(&format!("left what interrupted {what} may have left alone: {}", error.message()));
        }
    }
    for found in repository.partials()? {
        let published = matches!(mercy, Mercy::None);
        match fate(&found, state, published, &|| found.partial.is_nobodys(stop))? {
            Fate::Lives => {
                let state = found.owner.as_ref().and_then(Owner::state).unwrap_or_default();
                let (name, state) = (printable(&found.name), printable(state));
                observer.decided(&format!("left the living session {name} alone, whose state is in {state}"));
            }
            Fate::Unclear(why) => {
                let place = repository.store().describe(&found.partial.backup());
                observer.decided(&format!("left {} alone: {why}", printable(place)));
            }
            Fate::Kept => {
                let place = repository.store().describe(&found.partial.backup());
                observer.decided(&format!("left {} alone: it was kept on purpose", printable(place)));
            }
            Fate::Dead if mercy.spares(&found) => {}
            Fate::Dead => {
                // One that is not there any more was just ended by its own process.
                if found.partial.discard()? {
                    let name = printable(&found.name);
                    observer.said(&format!("removed what the dead session {name} left in the repository"));
                }
            }
        }
    }
    Ok(())
}

/// Which partials of dead sessions a sweep leaves to those who go on from them.
#[derive(Clone, Copy)]
pub enum Mercy<'a> {
    /// None, not even those that were kept on purpose: a backup was just published.
    None,
    /// Those from which a session with these terms and this parent may go on, where one is about to begin.
    Fitting(Option<(&'a Terms, Option<&'a Link>)>),
    /// All from which any session may.
    All,
}

impl Mercy<'_> {
    fn spares(self, found: &Found) -> bool {
        let Some(owner) = &found.owner else { return false };
        match self {
            Self::None => false,
            Self::Fitting(fitting) => fitting.is_some_and(|(terms, parent)| owner.fits(terms, parent)),
            Self::All => owner.terms.is_some(),
        }
    }
}

/// What becomes of a partial.
pub enum Fate {
    /// Its session lives.
    Lives,
    /// Nobody owns it.
    Dead,
    /// Its session is over, and it was kept on purpose.
    Kept,
    /// Nobody can tell, and why.
    Unclear(&'static str),
}

/// Finds out what becomes of a partial; one that was kept is dead once another backup was `published`. `nobodys` says
/// whether one that names no owner can get one any more.
pub fn fate(
    found: &Found,
    state: &StateDirectory,
    published: bool,
    nobodys: &dyn Fn() -> Result<bool>,
) -> Result<Fate> {
    let Some(owner) = &found.owner else {
        return Ok(if nobodys()? { Fate::Dead } else { Fate::Unclear("it does not say whose it is") });
    };
    if owner.host != Owner::new("", state.path(), false).host {
        return Ok(Fate::Unclear("it belongs to another host"));
    }
    if found.partial.is_held()? {
        return Ok(Fate::Lives);
    }
    if owner.kept {
        return Ok(if published { Fate::Dead } else { Fate::Kept });
    }
    let Some(folder) = owner.state() else { return Ok(Fate::Unclear("it does not say whose it is")) };
    match Session::open(&folder) {
        Err(error) if error.is_not_found() => Ok(Fate::Dead),
        Err(_) => Ok(Fate::Unclear("its session, of another user or damaged, cannot be looked at")),
        // A sealed one may be half published; whoever opens its session next finishes that. And others may read for a
        // one-shot whose own process is gone.
        Ok(session)
            if session.state()?.in_progress() && (!owner.one_shot || found.sealed || !session.live()?.is_empty()) =>
        {
            Ok(Fate::Lives)
        }
        Ok(_) => Ok(Fate::Dead),
    }
}
