//! Restoring into a directory that is there: it becomes what the backup holds, and only what differs is written.
//!
//! First everything is read and compared on both sides, and every file of the backup is proven; then what differs is put
//! right. Memory: some twenty bytes for each entry of the backup, and what is to be done.

pub mod apply;
pub mod blocks;
pub mod compare;
pub mod content;
pub mod extras;
pub mod ground;
pub mod plan;
pub mod sqlite;

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::apply::Applied;
use self::ground::Ground;
use self::plan::{Action, Keys, Plan, Step, Way};
use super::layout::{Layout, Mapping};
use super::set::{self, Placed};
use super::{Options as RestoreOptions, Witness};
use crate::attributes::{Giving, OwnerRule};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::named_paths::NamedPaths;
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::chain::Chain;
use crate::repository::content::Contents;
use crate::repository::file_list::FileLine;
use crate::repository::manifest::Manifest;
use crate::repository::restored::RestoredTo;
use crate::repository::set::StoredSet;
use crate::roots::{DATA, Roots};
use crate::session::record::Who;
use crate::stream::stop::StopToken;

/// What to put right, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory, as given.
    pub into: PathBuf,
    /// Entries that are meant, by the names that `show --files` prints; everything where none is named.
    pub only: Vec<PathBuf>,
    /// Whose the files are to be.
    pub owner: OwnerRule,
    /// Take a directory that this repository knows nothing of.
    pub any_directory: bool,
    /// Storages that are being backed up, with who does that.
    pub sessions: Vec<(PathBuf, String)>,
    /// The state directory, which is never deleted.
    pub state: Option<PathBuf>,
}

/// What is needed wherever something of the backup is read or given.
pub struct Job<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// The backup.
    pub backup: &'a Backup,
    /// What it builds on.
    pub chain: Chain,
    /// Opens what it holds.
    pub contents: Contents,
    /// Its roots.
    pub roots: &'a Roots,
    /// What of it is meant.
    pub selection: NamedPaths,
    /// Gives attributes.
    pub giving: Giving,
    /// Ends it.
    pub stop: &'a StopToken,
}

impl Job<'_> {
    /// What a line's entry is called in the backup.
    pub fn name(&self, line: &FileLine) -> PathBuf {
        line.name(self.roots).unwrap_or_default()
    }
}

/// A restore in place that is planned.
pub struct Delta<'a> {
    job: Job<'a>,
    ground: Ground,
    keys: Keys,
    plan: Plan,
    options: &'a Options,
    set: Option<StoredSet>,
    /// An earlier one that was interrupted here.
    interrupted: Option<RestoredTo>,
    _lock: Option<File>,
}

/// What a restore in place came to.
#[derive(Debug, Default)]
pub struct Done {
    /// What was done.
    pub applied: Applied,
    /// What of an instance stands there now; none where the backup's engine knows no sets.
    pub placed: Option<Placed>,
    /// Why the repository does not know that it is done.
    pub unrecorded: Option<Error>,
}

impl<'a> Delta<'a> {
    /// Compares everything and says what is to be done; changes nothing.
    pub fn plan(
        repository: &'a Repository,
        backup: &'a Backup,
        options: &'a Options,
        witness: &mut dyn Witness,
        stop: &'a StopToken,
    ) -> Result<Self> {
        let manifest = backup.manifest.as_ref().map_err(Clone::clone)?;
        let ground = Ground::open(&options.into)?;
        refuse_place(repository, &ground, options)?;
        let lock = ground.lock()?;
        let selection = NamedPaths::new(&options.only);
        let interrupted = require_known(repository, &ground, options)?;
        let chain = repository.chain(backup)?;
        let set = set::prove(repository, backup, &chain, &of_set(options), stop)?;
        if let Some(set) = &set {
            set::tell(set, witness);
        }
        let contents = Contents::new(repository, &backup.folder());
        let job = Job {
            repository,
            backup,
            chain,
            contents,
            roots: &manifest.roots,
            selection,
            giving: Giving::new(options.owner),
            stop,
        };
        let keys = Keys::default();
        let plan = make_plan(&job, &ground, &keys, manifest, witness)?;
        Ok(Self { job, ground, keys, plan, options, set, interrupted, _lock: lock })
    }

    /// What is to be done.
    pub fn steps(&self) -> &Plan {
        &self.plan
    }

    /// The directory's canonical path.
    pub fn path(&self) -> &Path {
        self.ground.path()
    }

    /// An earlier restore in place that was interrupted here.
    pub fn interrupted(&self) -> Option<&RestoredTo> {
        self.interrupted.as_ref()
    }

    /// Refuses what does not fit onto the disk.
    pub fn require_space(&self) -> Result<()> {
        let (free, needed) = (self.ground.free_bytes()?, self.plan.growth);
        if free >= needed {
            return Ok(());
        }
        Err(Error::too_little_space(self.path(), free, needed)
            .hint("Free space there, or restore less, with --only. Nothing was changed."))
    }

    /// Notes in the repository that the directory is being changed; an error says why that cannot be noted.
    pub fn note_begun(&self) -> Result<()> {
        self.record(false)
    }

    /// Does it. An interrupted one is finished by the same call.
    pub fn apply(&self, witness: &mut dyn Witness) -> Result<Done> {
        let mut done = Done::default();
        if !self.plan.is_empty() {
            let applied = apply::apply(&self.job, &self.ground, &self.keys, &self.plan, witness);
            done.applied = applied.map_err(|error| self.unfinished(&error))?;
        }
        if !self.plan.is_empty() || self.interrupted.is_some() {
            done.unrecorded = self.record(true).err();
        }
        done.placed = self.placed()?;
        Ok(done)
    }

    fn placed(&self) -> Result<Option<Placed>> {
        let (Some(set), Ok(manifest)) = (&self.set, &self.job.backup.manifest) else { return Ok(None) };
        let mapping = Mapping { root: DATA.to_owned(), into: self.path().to_owned() };
        let layout = Layout::new(&manifest.roots, &manifest.storage(), &[mapping])?;
        Ok(Some(set::placed(set, self.job.backup, &of_set(self.options), &Arc::new(layout))))
    }

    fn record(&self, finished: bool) -> Result<()> {
        let restored = RestoredTo::new(self.job.backup, self.path(), self.ground.identity(), finished);
        self.job.repository.record_restored(self.path(), &restored)
    }

    fn unfinished(&self, error: &Error) -> Error {
        let advice = error.advice().map(|hint| format!("{hint} ")).unwrap_or_default();
        let path = printable(self.path());
        error
            .clone()
            .hint(format!("{advice}{path} is changed in part; the same command, repeated, goes on from there."))
    }
}

/// The same options in words of a plain restore, which the judge of sets knows.
fn of_set(options: &Options) -> RestoreOptions {
    RestoreOptions { mappings: Vec::new(), only: options.only.clone(), owner: options.owner, keep_going: false }
}

fn make_plan(job: &Job, ground: &Ground, keys: &Keys, manifest: &Manifest, witness: &mut dyn Witness) -> Result<Plan> {
    let compared = compare::compare(job, ground, keys, witness)?;
    let (mut plan, expected, mut databases) = (compared.plan, compared.expected, compared.databases);
    let mut deletions = Vec::new();
    if job.selection.names().is_empty() {
        let left_out = extras::LeftOut::of(manifest)?;
        let found = extras::find(ground, &expected, keys, &left_out, job.stop)?;
        (deletions, plan.kept) = (found.deletions, found.kept);
        databases.extend(found.databases);
    } else {
        for beside in databases.iter().flat_map(|database| sqlite::beside(database)) {
            let Some(stat) = ground.look(&beside)?.filter(|_| !expected.others.contains(&keys.of(&beside))) else {
                continue;
            };
            ground.refuse_mount(&beside, &stat)?;
            deletions.push(Step::delete(beside, rustix::fs::FileType::from_raw_mode(stat.st_mode), 0));
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

/// Refuses a directory that is no place for this, or that somebody is at.
fn refuse_place(repository: &Repository, ground: &Ground, options: &Options) -> Result<()> {
    let path = ground.path();
    let refuse = |message: String, hint: &str| Err(Error::jet(Jet::InvalidParameter, message).file(path).hint(hint));
    let own = options.state.as_deref().and_then(|state| state.canonicalize().ok());
    let own = [(Some(repository.root().to_owned()), "the repository"), (own, "jetbak's own state directory")];
    for (place, what) in own.into_iter().filter_map(|(place, what)| Some((place?, what))) {
        if path.starts_with(&place) {
            return refuse(format!("{} lies inside of {what}", printable(path)), "Name another directory.");
        }
        if place.starts_with(path) && NamedPaths::new(&options.only).names().is_empty() {
            let message = format!(
                "{what} lies inside of {}, and would be deleted with all that the backup does not hold",
                printable(path)
            );
            return refuse(message, "Name with --only what is to be put right: then nothing else is deleted.");
        }
    }
    for (storage, holder) in &options.sessions {
        if storage.starts_with(path) || path.starts_with(storage) {
            let message = format!("a backup of {} is in progress, begun by {holder}", printable(storage));
            return Err(Error::new(ExitCode::OutOfOrder, message)
                .file(storage)
                .hint("Wait until it has ended, or end it with `jetbak stop` and `jetbak end`."));
        }
    }
    Ok(())
}

/// Refuses a directory that is neither the storage of a backup nor was restored to; returns an interrupted restore.
fn require_known(repository: &Repository, ground: &Ground, options: &Options) -> Result<Option<RestoredTo>> {
    let (path, identity) = (ground.path(), ground.identity());
    let record = repository.restored_to(path);
    if let Some(known) = record.clone().filter(|known| known.is_of(path, identity)) {
        return Ok(Some(known).filter(|known| !known.finished));
    }
    let host = Who::current().host;
    let is_storage = |manifest: &Manifest| {
        manifest.host == host && manifest.storage().as_os_str().as_bytes() == path.as_os_str().as_bytes()
    };
    if options.any_directory
        || repository.backups()?.iter().any(|backup| backup.manifest.as_ref().is_ok_and(is_storage))
    {
        return Ok(None);
    }
    let why = match record {
        Some(_) => "it is another directory than the one that was restored to",
        None => "no backup in this repository was made of it or restored to it on this host",
    };
    let message = format!("{} is not known to the repository: {why}", printable(path));
    Err(Error::jet(Jet::InvalidParameter, message).file(path).hint(
        "What the backup does not hold would be deleted there. See what would be done with --any-directory --dry-run; \
         --any-directory alone does it.",
    ))
}
