//! What appeared in the storage after the lists were fixed: it is not in the backup, and the summary says how much.

use std::collections::HashSet;

use super::Context;
use super::compare::unchanged_names;
use super::unchanged::name_hash;
use crate::engine::Surveyed;
use crate::engine::plan::PlanReader;
use crate::error::Result;
use crate::session::event::Phase;
use crate::stream::stop::StopToken;

/// Counts files that are in the storage now and in none of the session's lists.
///
/// Paths are remembered as hashes, eight bytes each. A storage that cannot be looked at any more (a snapshot that
/// is gone) is an error, which the caller may take for "unknown".
pub fn count(context: &Context, stop: &StopToken) -> Result<u64> {
    let hash = name_hash;
    let mut known = HashSet::new();
    if context.session.record().parent.is_some() {
        known.extend(unchanged_names(context.session.folder())?);
    }
    for phase in [Phase::Databases, Phase::Logs] {
        if let Some(plan) = context.plan(phase)? {
            for entry in PlanReader::open(&plan, 0)? {
                known.insert(hash(&entry?.path));
            }
        }
    }
    let engine = context.engine()?;
    let mut appeared = 0;
    engine.survey(stop, &mut |found| {
        if let Surveyed::Entry(entry) = found {
            appeared += u64::from(entry.role.is_file() && !known.contains(&hash(&entry.path)));
        }
        Ok(())
    })?;
    let logs = engine.list_logs(stop)?;
    Ok(appeared + logs.iter().filter(|log| !known.contains(&hash(&log.path))).count() as u64)
}
