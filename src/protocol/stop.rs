//! stop: from any process, at any moment.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Jet, Result, printable};
use crate::session::directory::{Damaged, StateDirectory, Which};
use crate::session::readers::Lock;
use crate::session::record::Who;
use crate::session::{Session, StopAnswer};
use crate::stream::stop::{StopToken, WATCH_INTERVAL};

/// Which sessions to stop.
#[derive(Clone, Debug)]
pub enum Target {
    /// The only one there is.
    TheOne,
    /// All there are.
    All,
    /// This one.
    One(Which),
}

/// What became of each session that was meant.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Its storage.
    pub storage: PathBuf,
    /// Its id.
    pub session: String,
    /// What stop found.
    pub answer: StopAnswer,
}

/// What a stop came to.
#[derive(Debug)]
pub struct Stopped {
    /// What became of each session.
    pub answers: Vec<Answered>,
    /// The sessions, to wait for.
    pub sessions: Vec<Asked>,
    /// Folders that cannot be read.
    pub damaged: Vec<Damaged>,
}

/// A session that was asked to stop.
#[derive(Debug)]
pub struct Asked {
    session: Session,
    /// The lock of its `backup` process, opened before it was asked: the lock's name goes while the session is cleared
    /// away, the lock itself is held until all is gone.
    owner: Option<Lock>,
}

/// Stops sessions; without any session nothing happens, and that is fine.
///
/// Without a name, folders that cannot be read are handed back too: something in them may go on.
pub fn stop(state: &StateDirectory, target: &Target, reason: Option<&str>) -> Result<Stopped> {
    let (sessions, damaged) = meant(state, target)?;
    let who = Who::current().to_string();
    let mut answers = Vec::new();
    let mut asked = Vec::new();
    for session in sessions {
        let owner = session.owner_lock()?;
        let answer = session.stop(&who, reason)?;
        if answer != StopAnswer::Over {
            let record = session.record();
            answers.push(Answered { storage: record.storage(), session: record.session.clone(), answer });
        }
        asked.push(Asked { session, owner });
    }
    Ok(Stopped { answers, sessions: asked, damaged })
}

/// Waits until no process reads in these sessions any more, and one-shots are gone; exit 5 when that takes longer.
pub fn wait(sessions: &[Asked], patience: Duration, interrupted: &StopToken) -> Result<()> {
    let begun = Instant::now();
    while let Some(busy) = first_busy(sessions)? {
        if begun.elapsed() >= patience {
            let message = format!("{} is stopped, but its reader has not left yet", printable(busy.record().storage()));
            return Err(Error::jet(Jet::InvalidBackupSequence, message).hint("Wait longer with --wait."));
        }
        interrupted.sleep(WATCH_INTERVAL / 10)?;
    }
    Ok(())
}

fn meant(state: &StateDirectory, target: &Target) -> Result<(Vec<Session>, Vec<Damaged>)> {
    let (mut sessions, damaged) = match target {
        Target::One(which) => {
            let found = state.find(which)?;
            if let (None, Which::Storage(path)) = (&found, which)
                && !path.exists()
            {
                return Err(unknown(path));
            }
            return Ok((found.into_iter().collect(), Vec::new()));
        }
        Target::TheOne | Target::All => state.sessions()?,
    };
    if matches!(target, Target::TheOne) && sessions.len() > 1 {
        sessions.sort_by_key(|session| session.record().storage());
        let storages: Vec<_> = sessions.iter().map(|session| printable(session.record().storage())).collect();
        let message =
            format!("{} backups are in progress, and none was named: {}", sessions.len(), storages.join(", "));
        return Err(Error::jet(Jet::RunningInMultiInstanceMode, message).hint("Name the storage, or give --all."));
    }
    Ok((sessions, damaged))
}

/// The refusal for a name that means neither a storage nor a session of one.
pub fn unknown(storage: &Path) -> Error {
    let message = format!("there is no storage {} and no session of one", printable(storage));
    Error::jet(Jet::InvalidParameter, message).file(storage).hint("`jetbak status` lists the sessions.")
}

fn first_busy(sessions: &[Asked]) -> Result<Option<&Session>> {
    for Asked { session, owner } in sessions {
        let owned = owner.as_ref().map_or(Ok(false), Lock::is_held)?;
        let read = session.folder().exists() && !session.live()?.is_empty();
        if owned || read {
            return Ok(Some(session));
        }
    }
    Ok(None)
}
