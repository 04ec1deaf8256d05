//! Making the plan of a restore in place: what differs, what is superfluous, and what stands in the way of it.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat};

use super::Job;
use super::compare;
use super::extras::{Extras, LeftOut, Walk, leftovers};
use super::ground::Ground;
use super::plan::{Action, Keys, Plan, Step, Way, allocated};
use super::sqlite;
use crate::error::Result;
use crate::repository::manifest::Manifest;
use crate::repository::restore::Witness;

/// Compares everything that is meant and says what is to be done. `was_interrupted`: an earlier restore may have left
/// something anywhere.
pub fn plan(
    job: &Job,
    ground: &Ground,
    keys: &Keys,
    manifest: &Manifest,
    was_interrupted: bool,
    witness: &mut dyn Witness,
) -> Result<Plan> {
    let compared = compare::compare(job, ground, keys, witness)?;
    let (mut plan, expected, mut databases) = (compared.plan, compared.expected, compared.databases);
    let is_partial = !job.selection.names().is_empty();
    let left_out = LeftOut::of(manifest)?;
    let (stop, extras) = (job.stop, Extras::default());
    let mut walk = Walk { ground, expected: &expected, keys, left_out: &left_out, stop, extras };
    for step in &mut plan.steps {
        let Some(stat) = ground.look(&step.path)? else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind.is_file()
            && let Ok((file, _)) = ground.open_file(&step.path, OFlags::RDONLY)
            && sqlite::is_database(&file)
        {
            databases.push(step.path.clone()); // whatever takes its place
        }
        if kind.is_dir() && step.instead.is_some() {
            ground.refuse_mount(&step.path, &stat)?;
            step.space.freed = walk.giving_way(&step.path)?;
        }
    }
    if is_partial {
        for directory in &compared.entered {
            walk.temporaries(directory)?;
        }
        let besides: BTreeSet<PathBuf> = databases.iter().flat_map(|database| sqlite::beside(database)).collect();
        for beside in besides {
            let Some(stat) = ground.look(&beside)?.filter(|_| !expected.others.contains(&keys.of(&beside))) else {
                continue;
            };
            ground.refuse_mount(&beside, &stat)?;
            walk.extras.deletions.push(delete(beside, &stat));
        }
    } else {
        walk.everything()?;
    }
    let Extras { deletions, kept, special, kept_directories, databases: others } = walk.extras;
    (plan.kept, plan.special) = (kept, special);
    databases.extend(others);
    if was_interrupted {
        let tops = if is_partial { vec![PathBuf::new()] } else { kept_directories };
        let gone: HashSet<u64> = deletions.iter().map(|step| keys.of(&step.path)).collect();
        for top in tops {
            let found = leftovers(ground, &top, stop)?.into_iter();
            let is_left = |path: &PathBuf| !gone.contains(&keys.of(path)) && !expected.others.contains(&keys.of(path));
            plan.leftovers.extend(found.filter(is_left));
        }
    }
    let comes_first = |step: &Step| {
        sqlite::database_of(&step.path).is_some_and(|database| expected.others.contains(&keys.of(&database)))
    };
    let (first, last): (Vec<_>, Vec<_>) = deletions.into_iter().partition(comes_first);
    plan.first_deletions = first.len();
    plan.deletions = first.into_iter().chain(last).collect();
    refuse_open_databases(ground, keys, &plan, &databases)?;
    Ok(plan)
}

fn delete(path: PathBuf, stat: &Stat) -> Step {
    let freed = if stat.st_nlink > 1 { 0 } else { allocated(stat) };
    Step::delete(path, FileType::from_raw_mode(stat.st_mode), 0, freed)
}

/// Refuses where a database that somebody has open would be changed, or lose what stands beside it.
fn refuse_open_databases(ground: &Ground, keys: &Keys, plan: &Plan, databases: &[PathBuf]) -> Result<()> {
    let takes_along = |step: &&Step| step.action == Action::Delete || step.instead.is_some();
    let gone: HashSet<u64> = plan.all().filter(takes_along).map(|step| keys.of(&step.path)).collect();
    let is_changed = |step: &&Step| matches!(step.way, Way::Anew | Way::InPlace | Way::HardLink(_));
    let changed: HashSet<u64> = plan.steps.iter().filter(is_changed).map(|step| keys.of(&step.path)).collect();
    let goes = |database: &Path| {
        changed.contains(&keys.of(database))
            || database.ancestors().any(|above| gone.contains(&keys.of(above)))
            || sqlite::beside(database).any(|beside| gone.contains(&keys.of(&beside)))
    };
    databases.iter().filter(|database| goes(database)).try_for_each(|one| sqlite::refuse_open(ground, one))
}
