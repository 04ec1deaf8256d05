//! status: what runs, and how far it is; reads what others wrote and changes nothing.

use std::path::PathBuf;

use super::Activity;
use crate::error::Result;
use crate::session::Session;
use crate::session::directory::{Damaged, StateDirectory};
use crate::session::event::Phase;
use crate::session::readers::{self, ReaderProgress};
use crate::session::record::Record;

/// A session as others see it.
#[derive(Clone, Debug)]
pub struct SessionStatus {
    /// What begin fixed.
    pub record: Record,
    /// Its storage.
    pub storage: PathBuf,
    /// What happens in it.
    pub activity: Activity,
    /// Who stopped it, if somebody did.
    pub stopped: Option<String>,
    /// The reason that was given with the stop.
    pub reason: Option<String>,
    /// A `backup` process holds it.
    pub owner_lives: bool,
    /// The living readers that have told how far they are.
    pub readers: Vec<ReaderProgress>,
    /// How many readers live.
    pub readers_alive: usize,
    /// Bytes read so far, by living and dead readers.
    pub bytes_done: u64,
    /// Bytes in all, as of begin, and of the logs once they are listed.
    pub bytes_total: u64,
    /// Bytes a second, all readers together.
    pub bytes_per_second: u64,
    /// Files that are proven.
    pub files_done: u64,
    /// When something was last recorded (UTC).
    pub last_event: Option<jiff::Timestamp>,
}

/// Every session of a state directory, and the folders in it that cannot be read.
pub fn status(state: &StateDirectory) -> Result<(Vec<SessionStatus>, Vec<Damaged>)> {
    let (sessions, damaged) = state.sessions()?;
    let mut all = Vec::new();
    for session in sessions {
        match look(&session) {
            Ok(status) => all.push(status),
            Err(error) if error.is_not_found() => {} // ended meanwhile
            Err(error) => return Err(error),
        }
    }
    Ok((all, damaged))
}

fn look(session: &Session) -> Result<SessionStatus> {
    let live = session.live()?;
    let state = session.state()?;
    let readers: Vec<_> = live.iter().filter_map(|number| readers::progress(session.folder(), *number)).collect();
    // What a dead reader has proven counts; of a living one its own word does, which is newer.
    let proven: u64 = state
        .proven()
        .iter()
        .filter(|(reader, _)| !live.contains(reader))
        .fold(0, |sum, (_, one)| one.bytes.saturating_add(sum));
    let bytes_done = readers.iter().fold(proven, |sum, reader| sum.saturating_add(reader.bytes_done));
    let activity = match (state.phase(), state.publication(), state.truncating()) {
        (_, _, true) => Activity::Truncating,
        (_, Some(_), _) => Activity::Sealing,
        (Phase::Logs, ..) => Activity::Logs,
        (Phase::Databases, ..) => Activity::Databases,
    };
    let logs_bytes = logs_bytes(session, state.logs_plan());
    Ok(SessionStatus {
        storage: session.record().storage(),
        activity,
        stopped: state.stop().map(|stop| stop.who.clone()),
        reason: state.stop().and_then(|stop| stop.reason.clone()),
        owner_lives: session.owner_lives()?,
        readers_alive: live.len(),
        bytes_done,
        bytes_total: session.record().databases_bytes.saturating_add(logs_bytes).max(bytes_done),
        bytes_per_second: readers.iter().fold(0, |sum, reader| reader.bytes_per_second.saturating_add(sum)),
        readers,
        files_done: state.proven_total().files,
        last_event: session.last_at(),
        record: session.record().clone(),
    })
}

fn logs_bytes(session: &Session, plan: Option<&str>) -> u64 {
    let Some(plan) = plan else { return 0 };
    let Ok(plan) = crate::engine::plan::PlanReader::open(&session.folder().join(plan), 0) else { return 0 };
    plan.filter_map(Result::ok).fold(0, |sum, log| log.size.saturating_add(sum))
}
