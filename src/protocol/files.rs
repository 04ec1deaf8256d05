//! files: what a session reads, and what is done; changes nothing.

use super::Context;
use crate::engine::Entry;
use crate::engine::plan::PlanReader;
use crate::error::Result;
use crate::session::event::Phase;
use crate::session::state::{Call, EntryState};
use crate::stream::stop::StopToken;

/// One line of the answer.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The entry.
    pub entry: Entry,
    /// Read and proven.
    pub done: bool,
    /// Could not be read, and was left out.
    pub excluded: bool,
}

/// Hands every entry with content over, databases first; until the log phase begins, the logs are those of the moment.
pub fn files(context: &Context, stop: &StopToken, visit: &mut dyn FnMut(Phase, Listed) -> Result<()>) -> Result<Phase> {
    let state = context.session.decide(Call::Files)?;
    for phase in [Phase::Databases, Phase::Logs] {
        let Some(plan) = context.plan(phase)? else { continue };
        for (index, entry) in (0..).zip(PlanReader::open(&plan, 0)?) {
            let entry = entry?;
            if entry.role.is_file() {
                let found = state.entry(phase, index);
                let (done, excluded) = (found == EntryState::Done, found == EntryState::Excluded);
                visit(phase, Listed { entry, done, excluded })?;
            }
        }
    }
    if state.phase() == Phase::Databases {
        for entry in context.engine()?.list_logs(stop)? {
            visit(Phase::Logs, Listed { entry, done: false, excluded: false })?;
        }
    }
    Ok(state.phase())
}
