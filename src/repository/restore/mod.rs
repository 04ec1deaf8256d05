//! Restoring a backup: every file is hashed on its way out of the repository, and nothing stands under the target's
//! name before all of it is proven and durable. Nothing is written outside of the target, whatever a repository says.

pub mod destination;
pub mod plan;
pub mod set;
pub mod target;
pub mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::os::unix::ffi::OsStrExt;

use self::destination::{Destination, Purpose};
use self::plan::{Plan, bad_list};
use self::set::Placed;
use self::target::{Dress, NotGiven, Target};
use self::write::Written;
use super::Repository;
use super::catalogue::Backup;
use crate::attributes::OwnerRule;
use crate::error::{Error, Jet, Result, printable};
use crate::named_paths::NamedPaths;
use crate::stream::stop::StopToken;

/// Directories that are dressed at a time, from the end of the list.
const DRESSED_AT_ONCE: usize = 4096;

/// What to restore, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory to make, as given.
    pub into: PathBuf,
    /// Entries that are meant, relative to the storage; everything where none is named.
    pub only: Vec<PathBuf>,
    /// Whose the files are to be.
    pub owner: OwnerRule,
    /// Leave out what is damaged, instead of failing.
    pub keep_going: bool,
}

/// Something that is not as the backup says, and was left out of what was restored.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// Relative to the storage.
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
    /// Where it is.
    pub path: PathBuf,
    /// What was planned.
    pub plan: Plan,
    /// What was written, now or by the earlier restore that this one has finished.
    pub written: Written,
    /// An earlier restore had written it all, and was interrupted while it moved it into place.
    pub was_whole: bool,
    /// What of an instance was restored; none where the backup's engine knows no sets.
    pub placed: Option<Placed>,
}

/// Proves the list, looks at the target, and says what would be written; changes nothing.
pub fn dry_run(repository: &Repository, backup: &Backup, options: &Options, stop: &StopToken) -> Result<Plan> {
    Destination::check(&options.into, &purpose_of(backup, options))?;
    refuse_repository(repository, &options.into)?;
    let plan = plan::make(repository, backup, NamedPaths::new(&options.only), stop)?;
    set::prove(repository, backup, options, stop)?;
    Ok(plan)
}

/// Restores a backup.
pub fn restore(
    repository: &Repository,
    backup: &Backup,
    options: &Options,
    witness: &mut dyn Witness,
    stop: &StopToken,
) -> Result<Restored> {
    refuse_repository(repository, &options.into)?;
    let plan = plan::make(repository, backup, NamedPaths::new(&options.only), stop)?;
    let set = set::prove(repository, backup, options, stop)?;
    witness.planned(&plan);
    let mut destination = Destination::prepare(&options.into, purpose_of(backup, options))?;
    if let Some(set) = &set {
        set::tell(set, witness);
    }
    let was_whole = destination.is_whole();
    match fill(repository, backup, &plan, options, &mut destination, witness, stop) {
        Ok(written) => {
            let path = destination.path().to_owned();
            let placed = set.as_ref().map(|set| set::placed(set, backup, options, &path));
            Ok(Restored { path, plan, written, was_whole, placed })
        }
        Err(error) => Err(match destination.discard() {
            Ok(()) => error,
            // The first error is the one to report, with a word about what stays.
            Err(left) => {
                let hint = error.advice().map(|hint| format!("{hint} ")).unwrap_or_default();
                error.hint(format!("{hint}What was written stays for now: {}.", left.message()))
            }
        }),
    }
}

fn purpose_of(backup: &Backup, options: &Options) -> Purpose {
    Purpose {
        id: backup.id.text.clone(),
        manifest_sha256: backup.manifest_sha256.clone(),
        only: options.only.iter().map(|path| STANDARD.encode(path.as_os_str().as_bytes())).collect(),
        owner: options.owner,
        keep_going: options.keep_going,
    }
}

/// Makes the tree, unless it was whole before, and gives it its name.
fn fill(
    repository: &Repository,
    backup: &Backup,
    plan: &Plan,
    options: &Options,
    destination: &mut Destination,
    witness: &mut dyn Witness,
    stop: &StopToken,
) -> Result<Written> {
    let mut written = None;
    let mut made = None;
    if !destination.is_whole() {
        let target = Arc::new(Target::open(&destination.tree(), options.owner)?);
        require_space(&target, destination.path(), plan.allocated)?;
        written = Some(write::write(repository, backup, plan, &target, options.keep_going, witness, stop)?);
        let now = |path: &Path, mode: u32| (!destination.comes_late(path, mode)).then_some(Dress::Whole);
        dress(repository, backup, plan, &target, &now, witness, stop)?;
        target.sync()?;
        stop.check()?;
        if let Some(written) = &mut written {
            written.not_given = target.not_given_count();
        }
        made = Some(target);
    }
    // From here on a stop comes too late: the tree is whole.
    let written = destination.publish(written)?;
    // What was renamed as a whole is still the directory that is open; by now it may be one that cannot be opened.
    let target = match made {
        Some(target) if !destination.is_inside() => target,
        _ => Arc::new(Target::open(destination.path(), options.owner)?),
    };
    let never = StopToken::never();
    let is_root = |path: &Path| path.as_os_str().is_empty();
    let late = |path: &Path, mode: u32| {
        let how = if is_root(path) && destination.is_inside() { Dress::Open } else { Dress::Whole };
        destination.comes_late(path, mode).then_some(how)
    };
    dress(repository, backup, plan, &target, &late, witness, &never)?;
    if destination.is_inside() {
        // As long as the note is there, whoever repeats this restore finishes it: so as little as possible comes after.
        destination.clear()?;
        let last = |path: &Path, _: u32| is_root(path).then_some(Dress::Last);
        dress(repository, backup, plan, &target, &last, witness, &never)?;
    }
    target.sync()?;
    Ok(written)
}

/// Gives directories their attributes, those deep down first. `meant` says which and how, by path and mode.
fn dress(
    repository: &Repository,
    backup: &Backup,
    plan: &Plan,
    target: &Target,
    meant: &dyn Fn(&Path, u32) -> Option<Dress>,
    witness: &mut dyn Witness,
    stop: &StopToken,
) -> Result<()> {
    let store = &**repository.store();
    let path = backup.folder().join("files.jsonl");
    for offsets in plan.directory_offsets.rchunks(DRESSED_AT_ONCE) {
        for line in plan::read_lines(store, &path, offsets)?.iter().rev() {
            stop.check()?;
            let (Some(path), Some(attributes)) = (line.path(), line.attributes()) else {
                return Err(bad_list(backup, "it changed while it was read"));
            };
            if let Some(how) = meant(&path, attributes.mode) {
                target.dress_directory(&path, &attributes, how)?;
            }
        }
        target.take_not_given().into_iter().for_each(|one| witness.not_given(one));
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
