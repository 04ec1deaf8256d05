//! Whether a backup may be restored as a set, and what was placed of its databases and logs.

use super::layout::Layout;
use super::{Options, Witness};
use crate::engine::Role;
use crate::error::{Error, Result};
use crate::named_paths::NamedPaths;
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::chain::Chain;
use crate::repository::set::{Member, StoredSet, advice, examine};
use crate::stream::stop::StopToken;

/// Reasons against a set that are told one by one where it is restored all the same.
const TOLD_MAX: usize = 20;

/// What a restore says of the instance that it brings back.
#[derive(Clone, Debug, Default)]
pub struct Placed {
    /// Databases that were restored.
    pub databases: u64,
    /// Logs that were restored.
    pub logs: u64,
    /// The lowest and the highest generation of those.
    pub generations: Option<(u32, u32)>,
    /// Whether the checkpoint was restored.
    pub checkpoint: bool,
    /// What the engine's host will do with it, in sentences.
    pub advice: Vec<String>,
    /// Why its engine will refuse what was restored as a whole.
    pub broken: Option<Error>,
}

/// Reads what is stored as a set, before anything is written. A broken one is an error, unless only parts of it are asked
/// for, or all that is good.
pub fn prove(
    repository: &Repository,
    backup: &Backup,
    chain: &Chain,
    options: &Options,
    stop: &StopToken,
) -> Result<Option<StoredSet>> {
    let Some(set) = examine(repository, backup, chain, stop)? else { return Ok(None) };
    if !options.only.is_empty() || options.keep_going {
        return Ok(Some(set));
    }
    if let Some(error) = set.unreadable.first() {
        return Err(error.clone().hint(super::write::DAMAGE_HINT));
    }
    let first = set.broken().next();
    first.map_or(Ok(Some(set)), |error| Err(error.hint(BROKEN_HINT)))
}

/// What to do about a set that its engine would refuse.
const BROKEN_HINT: &str = "Nothing was restored: the engine would refuse this set. `jetbak verify` lists all that is wrong \
                           with it; an older backup may be whole. --keep-going restores what there is, --only what is \
                           named.";

/// Tells what is wrong with a set that is restored all the same.
pub fn tell(set: &StoredSet, witness: &mut dyn Witness) {
    set.broken().chain(set.losses()).take(TOLD_MAX).for_each(|error| witness.odd_set(&error));
}

/// Says what of a set stands in what was restored.
pub fn placed(set: &StoredSet, backup: &Backup, options: &Options, layout: &Layout) -> Placed {
    let selection = NamedPaths::new(&options.only);
    // What was damaged is left out.
    let is_there = |member: &Member| {
        let place = layout.place(&member.root, &member.below);
        place.is_some_and(|(tree, path)| layout.trees()[tree].join(path).symlink_metadata().is_ok())
    };
    let mut placed = Placed::default();
    for member in &set.members {
        if !selection.contains(&member.path) || !is_there(member) {
            continue;
        }
        match member.role {
            Role::Database => placed.databases += 1,
            Role::Log => {
                placed.logs += 1;
                if let Some(generation) = member.generation {
                    let (low, high) = placed.generations.unwrap_or((generation, generation));
                    placed.generations = Some((low.min(generation), high.max(generation)));
                }
            }
            _ => placed.checkpoint = true,
        }
    }
    placed.broken = set.broken().next().filter(|_| options.only.is_empty());
    if let (None, Ok(manifest)) = (&placed.broken, &backup.manifest) {
        placed.advice = advice(manifest, set.base.as_ref(), &set.homes, &|path| selection.contains(path));
    }
    placed
}
