//! Restoring a backup: every file is hashed on its way out of the repository, and nothing stands under the target's
//! name before all of it is proven and durable. Nothing is written outside of the target, whatever a repository says.

pub mod delta;
pub mod destination;
pub mod layout;
pub mod plan;
pub mod set;
pub mod target;
pub mod write;

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::destination::{Destination, Purpose, base64};
use self::layout::{Layout, Mapped, Mapping};
use self::plan::{Plan, bad_list};
use self::set::Placed;
use self::target::{Dress, NotGiven, Target};
use self::write::{Work, Written};
use super::Repository;
use super::catalogue::Backup;
use super::chain::Chain;
use crate::attributes::OwnerRule;
use crate::error::{Error, Jet, Result, printable};
use crate::named_paths::NamedPaths;
use crate::stream::stop::StopToken;

/// Directories that are dressed at a time, from the end of the list.
const DRESSED_AT_ONCE: usize = 4096;

/// What to restore, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directories to make, as given, each for one root of the backup.
    pub mappings: Vec<Mapping>,
    /// Entries that are meant, by the names that `show --files` prints; everything where none is named.
    pub only: Vec<PathBuf>,
    /// Whose the files are to be.
    pub owner: OwnerRule,
    /// Leave out what is damaged, instead of failing.
    pub keep_going: bool,
}

/// Something that is not as the backup says, and was left out of what was restored.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// What it is called in the backup.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: Error,
}

/// Who hears of what happens, on the caller's thread.
pub trait Witness {
    /// What will be written.
    fn planned(&mut self, plan: &Plan);
    /// Called many times a second: bytes written so far, and the file.
    fn progress(&mut self, bytes: u64, file: Option<Arc<Path>>);
    /// Something could not be given to what was restored.
    fn not_given(&mut self, what: NotGiven);
    /// Something is damaged and left out.
    fn damaged(&mut self, what: &Damaged);
    /// Databases and logs do not go together, or not without loss, and are restored all the same.
    fn odd_set(&mut self, what: &Error);
}

/// What a restore came to.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Where its roots are.
    pub layout: Arc<Layout>,
    /// What was planned.
    pub plan: Plan,
    /// What was written, now or by the earlier restore that this one has finished.
    pub written: Written,
    /// An earlier restore had written it all, and was interrupted while it moved it into place.
    pub was_whole: bool,
    /// What of an instance was restored; none where the backup's engine knows no sets.
    pub placed: Option<Placed>,
}

/// Proves the list, looks at the targets, and says what would be written and where; changes nothing.
pub fn dry_run(
    repository: &Repository,
    backup: &Backup,
    options: &Options,
    stop: &StopToken,
) -> Result<(Arc<Layout>, Plan)> {
    let chain = repository.chain(backup)?;
    let (layout, plan) = plan(repository, backup, &chain, options, stop)?;
    let purpose = purpose_of(backup, options, &layout, &plan);
    for (index, tree) in wanted_trees(&plan).rev().enumerate() {
        if Destination::check(&layout.trees()[tree], &purpose)? && index == 0 {
            break; // an earlier restore had made the last one, and so all before it
        }
    }
    set::prove(repository, backup, &chain, options, stop)?;
    Ok((layout, plan))
}

/// Restores a backup.
pub fn restore(
    repository: &Repository,
    backup: &Backup,
    options: &Options,
    witness: &mut dyn Witness,
    stop: &StopToken,
) -> Result<Restored> {
    let chain = repository.chain(backup)?;
    let (layout, plan) = plan(repository, backup, &chain, options, stop)?;
    let set = set::prove(repository, backup, &chain, options, stop)?;
    witness.planned(&plan);
    let mut trees = prepare(&layout, &plan, &purpose_of(backup, options, &layout, &plan))?;
    if let Some(set) = &set {
        set::tell(set, witness);
    }
    let is_whole = |trees: &[Tree]| trees.last().is_some_and(|tree| tree.destination.is_whole());
    let was_whole = is_whole(&trees);
    let (layout_of_work, gauge) = (Arc::clone(&layout), Arc::default());
    let work = Work {
        repository,
        backup,
        chain: &chain,
        layout: &layout_of_work,
        plan: &plan,
        keep_going: options.keep_going,
        gauge: &gauge,
        stop,
    };
    match fill(&work, options.owner, &mut trees, witness) {
        Ok(written) => {
            let placed = set.as_ref().map(|set| set::placed(set, backup, options, &layout));
            Ok(Restored { layout, plan, written, was_whole, placed })
        }
        Err(error) if is_whole(&trees) => Err(error), // proven and durable: the next attempt moves what is left
        Err(error) => Err(discard(trees, error)),
    }
}

/// Where everything goes, and what that is.
fn plan(
    repository: &Repository,
    backup: &Backup,
    chain: &Chain,
    options: &Options,
    stop: &StopToken,
) -> Result<(Arc<Layout>, Plan)> {
    for mapping in &options.mappings {
        refuse_repository(repository, &mapping.into)?;
    }
    let manifest = backup.manifest.as_ref().map_err(Clone::clone)?;
    let layout = Layout::new(&manifest.roots, &manifest.storage(), &options.mappings)?;
    let plan = plan::make(repository, backup, chain, &layout, NamedPaths::new(&options.only), stop)?;
    Ok((Arc::new(layout), plan))
}

/// The trees of which there is anything to make, the one with the databases last.
fn wanted_trees(plan: &Plan) -> impl DoubleEndedIterator<Item = usize> {
    plan.shares.iter().enumerate().filter(|(_, share)| share.entries > 0).map(|(tree, _)| tree)
}

fn purpose_of(backup: &Backup, options: &Options, layout: &Layout, plan: &Plan) -> Purpose {
    let is_wanted = |mapped: &Mapped| plan.shares[mapped.tree].entries > 0;
    let mut places: Vec<_> = layout.mapped().filter(is_wanted).collect();
    places.sort_by_key(|mapped| mapped.root);
    let place = |mapped: &Mapped| format!("{}={}", mapped.root, base64(mapped.into));
    Purpose {
        id: backup.id.text.clone(),
        manifest_sha256: backup.manifest_sha256.clone(),
        only: options.only.iter().map(|path| base64(path)).collect(),
        owner: options.owner,
        keep_going: options.keep_going,
        places: if places.len() > 1 { places.iter().map(place).collect() } else { Vec::new() },
        is_joint: wanted_trees(plan).count() > 1,
    }
}

/// A tree that is made, by its number in the layout.
struct Tree {
    number: usize,
    destination: Destination,
    /// Open, if it was made by this process.
    made: Option<Arc<Target>>,
}

/// Prepares all trees before the first byte of any: the last one first, which says whether an earlier restore had made
/// them all.
fn prepare(layout: &Layout, plan: &Plan, purpose: &Purpose) -> Result<Vec<Tree>> {
    let mut trees: Vec<Tree> = Vec::new();
    for number in wanted_trees(plan).rev() {
        let path = &layout.trees()[number];
        let last_is_whole = trees.last().map(|tree| tree.destination.is_whole());
        let prepared = match last_is_whole {
            None => Destination::prepare(path, purpose.clone()).map(Some),
            Some(is_whole) => Destination::prepare_beside(path, purpose.clone(), is_whole),
        };
        match prepared {
            Ok(Some(destination)) => trees.insert(0, Tree { number, destination, made: None }),
            Ok(None) => {} // it has its name already
            Err(error) if last_is_whole == Some(true) => return Err(error),
            Err(error) => return Err(discard(trees, error)),
        }
    }
    Ok(trees)
}

/// Takes back what was made so far. The first error is the one to report, with a word about what stays.
fn discard(trees: Vec<Tree>, error: Error) -> Error {
    let left: Vec<_> = trees.into_iter().filter_map(|tree| tree.destination.discard().err()).collect();
    let Some(left) = left.first() else { return error };
    let hint = error.advice().map(|hint| format!("{hint} ")).unwrap_or_default();
    error.hint(format!("{hint}What was written stays for now: {}.", left.message()))
}

/// Makes the trees, unless they were whole before, and gives them their names.
fn fill(work: &Work, owner: OwnerRule, trees: &mut [Tree], witness: &mut dyn Witness) -> Result<Written> {
    let mut written = Written::default();
    if !trees.last().is_some_and(|tree| tree.destination.is_whole()) {
        written = make(work, owner, trees, witness)?;
    }
    // From here on a stop comes too late: everything is whole.
    for tree in &mut *trees {
        written = tree.destination.settle(written)?;
    }
    for tree in &*trees {
        tree.destination.publish()?;
    }
    for tree in trees {
        let destination = &tree.destination;
        // What was renamed as a whole is still the directory that is open; by now it may be one that cannot be opened.
        let target = match tree.made.take() {
            Some(target) if !destination.is_inside() => target,
            _ => Arc::new(Target::open(destination.path(), owner)?),
        };
        let never = StopToken::never();
        let work = Work { stop: &never, ..*work };
        let is_root = |path: &Path| path.as_os_str().is_empty();
        let late = |path: &Path, mode: u32| {
            let how = if is_root(path) && destination.is_inside() { Dress::Open } else { Dress::Whole };
            destination.comes_late(path, mode).then_some(how)
        };
        dress(&work, tree.number, &target, &late, witness)?;
        // As long as the note is there, whoever repeats this restore finishes it: so as little as possible comes after.
        destination.clear()?;
        if destination.is_inside() {
            let last = |path: &Path, _: u32| is_root(path).then_some(Dress::Last);
            dress(&work, tree.number, &target, &last, witness)?;
        }
        target.sync()?;
    }
    Ok(written)
}

/// Writes all trees, and makes them durable.
fn make(work: &Work, owner: OwnerRule, trees: &mut [Tree], witness: &mut dyn Witness) -> Result<Written> {
    let mut needed: HashMap<u64, u64> = HashMap::new();
    for tree in &mut *trees {
        let path = tree.destination.tree();
        let target = tree.made.insert(Arc::new(Target::open(&path, owner)?));
        let device = path.metadata().map_err(|e| Error::io("look at", &path, &e))?.dev();
        let needed = needed.entry(device).or_default();
        *needed = needed.saturating_add(work.plan.shares[tree.number].allocated);
        require_space(target, tree.destination.path(), *needed)?;
    }
    let mut written = Written::default();
    for Tree { number, destination, made } in trees {
        let Some(target) = made else { continue };
        written.add(write::write(work, *number, target, witness)?);
        let now = |path: &Path, mode: u32| (!destination.comes_late(path, mode)).then_some(Dress::Whole);
        dress(work, *number, target, &now, witness)?;
        target.sync()?;
        written.not_given += target.not_given_count();
    }
    work.stop.check()?;
    Ok(written)
}

/// Gives the directories of a tree their attributes, those deep down first. `meant` says which and how, by path and mode.
fn dress(
    work: &Work,
    tree: usize,
    target: &Target,
    meant: &dyn Fn(&Path, u32) -> Option<Dress>,
    witness: &mut dyn Witness,
) -> Result<()> {
    let Work { repository, backup, chain, layout, plan, stop, .. } = work;
    let store = &**repository.store();
    for places in plan.shares[tree].directories.rchunks(DRESSED_AT_ONCE) {
        for line in plan::read_lines(store, chain, places)?.iter().rev() {
            stop.check()?;
            let place = line.path().and_then(|path| layout.place(&line.root, &path));
            let (Some((_, path)), Some(attributes)) = (place, line.attributes()) else {
                return Err(bad_list(backup, "it changed while it was read"));
            };
            if let Some(how) = meant(&path, attributes.mode) {
                target.dress_directory(&path, &attributes, how)?;
            }
        }
        target.take_not_given().into_iter().for_each(|one| witness.not_given(layout.shown(tree, one)));
    }
    Ok(())
}

/// A restore into its own repository would make what no verify knows.
fn refuse_repository(repository: &Repository, into: &Path) -> Result<()> {
    let absolute = std::path::absolute(into).map_err(|e| Error::io("find", into, &e))?;
    let parent = absolute.parent().and_then(|parent| parent.canonicalize().ok());
    let resolved = into.canonicalize().ok().or(parent);
    if !resolved.is_some_and(|resolved| resolved.starts_with(repository.root())) {
        return Ok(());
    }
    let message = format!("{} lies inside of the repository", printable(into));
    Err(Error::jet(Jet::InvalidParameter, message).file(into).hint("Restore into another directory."))
}

fn require_space(target: &Target, path: &Path, needed: u64) -> Result<()> {
    let Some(free) = target.free_bytes()?.filter(|free| *free < needed) else { return Ok(()) };
    Err(Error::too_little_space(path, free, needed)
        .hint("Free space there, or restore elsewhere or less, with --only."))
}
