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
pub mod planning;
pub mod preflight;
pub mod space;
pub mod sqlite;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::apply::Applied;
use self::ground::Ground;
use self::plan::{Keys, Plan};
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
use crate::repository::list_reader::read_proven;
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
        refuse_place(repository, &ground, options, stop)?;
        require_sealed(repository, backup)?;
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
        let plan = planning::plan(&job, &ground, &keys, manifest, interrupted.is_some(), witness)?;
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

    /// Refuses what could not be done to its end, or does not fit onto the disk. True where it fits only if what the backup
    /// does not hold is deleted first.
    pub fn require_possible(&self) -> Result<bool> {
        preflight::check(&self.ground, &self.plan, &self.job.selection, self.job.stop)?;
        let free = self.ground.free_bytes()?;
        for deletes_first in [false, true] {
            if space::peak(&self.plan, deletes_first) <= free {
                return Ok(deletes_first);
            }
        }
        Err(Error::too_little_space(self.path(), free, space::peak(&self.plan, true))
            .hint("Free space there, or restore less, with --only. Nothing was changed."))
    }

    /// Notes in the repository that the directory is being changed; an error says why that cannot be noted.
    pub fn note_begun(&self) -> Result<()> {
        self.record(false)
    }

    /// Does it. An interrupted one is finished by the same call. `deletes_first`: see [`Self::require_possible`].
    pub fn apply(&self, deletes_first: bool, witness: &mut dyn Witness) -> Result<Done> {
        let mut done = Done::default();
        if !self.plan.is_empty() {
            let what = (&self.job, &self.ground, &self.keys);
            let applied = apply::apply(what, &self.plan, deletes_first, &mut done.applied, witness);
            applied.map_err(|error| self.unfinished(&error, &done.applied))?;
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
        // Where only a part was put right, the rest is whatever it was.
        if !self.job.selection.names().is_empty() {
            return Ok(());
        }
        let restored = RestoredTo::new(self.job.backup, self.path(), self.ground.identity(), finished);
        self.job.repository.record_restored(self.path(), &restored)
    }

    fn unfinished(&self, error: &Error, applied: &Applied) -> Error {
        let advice = error.advice().map(|hint| format!("{hint} ")).unwrap_or_default();
        let path = printable(self.path());
        let (done, all) = (applied.steps, self.plan.all().count());
        error.clone().hint(format!(
            "{advice}{path} is changed in part: {done} of {all} changes are made; the same command, repeated, goes on from there."
        ))
    }
}

/// The same options in words of a plain restore, which the judge of sets knows.
fn of_set(options: &Options) -> RestoreOptions {
    RestoreOptions { mappings: Vec::new(), only: options.only.clone(), owner: options.owner, keep_going: false }
}

/// Refuses a directory that is no place for this, or that somebody is at.
fn refuse_place(repository: &Repository, ground: &Ground, options: &Options, stop: &StopToken) -> Result<()> {
    let path = ground.path();
    let refuse = |message: String, hint: &str| Err(Error::jet(Jet::InvalidParameter, message).file(path).hint(hint));
    let own = options.state.as_deref().and_then(|state| state.canonicalize().ok());
    let own = [(Some(repository.root().to_owned()), "the repository"), (own, "jetbak's own state directory")];
    for (place, what) in own.into_iter().filter_map(|(place, what)| Some((place?, what))) {
        if path.starts_with(&place) {
            return refuse(format!("{} lies inside of {what}", printable(path)), "Name another directory.");
        }
        // By whatever path it is reached: something may be mounted in two places.
        if place.starts_with(path) || holds_directory(path, &place, stop)? {
            let message = format!("{what} lies inside of {}, where things are deleted", printable(path));
            return refuse(message, "Keep it somewhere else, or restore into another directory.");
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

/// Whether a directory is somewhere below another one, told by who it is and not by its path.
fn holds_directory(top: &Path, wanted: &Path, stop: &StopToken) -> Result<bool> {
    let who = |found: &std::fs::Metadata| (found.dev(), found.ino());
    let Ok(wanted) = std::fs::metadata(wanted).map(|found| who(&found)) else { return Ok(false) };
    let mut left = vec![top.to_owned()];
    while let Some(folder) = left.pop() {
        stop.check()?;
        // What cannot be listed cannot be deleted either.
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.filter_map(Result::ok).filter(|one| one.file_type().is_ok_and(|kind| kind.is_dir())) {
            let path = entry.path();
            // Not that of the entry: what is mounted on it counts.
            if std::fs::symlink_metadata(&path).is_ok_and(|found| who(&found) == wanted) {
                return Ok(true);
            }
            left.push(path);
        }
    }
    Ok(false)
}

/// Refuses a backup whose manifest is not the one that was sealed: it says what stays though the backup does not hold it.
fn require_sealed(repository: &Repository, backup: &Backup) -> Result<()> {
    let path = backup.folder().join("SHA256SUMS");
    let damaged = |what: &str| {
        let message = format!("{}: its manifest cannot be believed: {what}", backup.id.text);
        let error = Error::new(ExitCode::Verification, message).file(repository.store().describe(&path));
        error.hint("Nothing was changed. `jetbak verify` tells more; an older backup may be whole.")
    };
    let input = repository.store().open(&path, 0, false).map_err(|_| damaged("its SHA256SUMS cannot be read"))?;
    let wanted = format!("{}  manifest.json", backup.manifest_sha256);
    let mut last = Vec::new();
    for line in BufReader::new(input).split(b'\n') {
        last = line.map_err(|_| damaged("its SHA256SUMS cannot be read"))?;
    }
    if last == wanted.as_bytes() { Ok(()) } else { Err(damaged("its SHA256SUMS says otherwise")) }
}

/// The inode that a storage had when it was backed up, as the list of the backup says.
fn inode_of_storage(repository: &Repository, backup: &Backup) -> Option<u64> {
    let chain = repository.chain(backup).ok()?;
    let mut inode = None;
    let read = read_proven(repository.store(), &chain, &mut |resolved| {
        let is_root = resolved.line.path().is_some_and(|path| path.as_os_str().is_empty());
        inode = Some(resolved.line.inode).filter(|_| is_root && resolved.line.root == DATA);
        Ok(ControlFlow::Break(()))
    });
    read.ok().and(inode)
}

/// Refuses a directory that is neither the storage of a backup nor was restored to; returns an interrupted restore.
fn require_known(repository: &Repository, ground: &Ground, options: &Options) -> Result<Option<RestoredTo>> {
    let (path, identity) = (ground.path(), ground.identity());
    let record = repository.restored_to(path);
    let known = record.clone().filter(|known| known.is_of(path, identity));
    let is_certain = known.as_ref().is_some_and(RestoredTo::is_certain);
    let interrupted = known.filter(|known| !known.finished);
    if is_certain {
        return Ok(interrupted);
    }
    let host = Who::current().host;
    let is_storage = |manifest: &Manifest| {
        manifest.host == host && manifest.storage().as_os_str().as_bytes() == path.as_os_str().as_bytes()
    };
    let backups = repository.backups()?;
    let newest = backups.iter().rev().find(|backup| backup.manifest.as_ref().is_ok_and(is_storage));
    let is_same = newest.and_then(|backup| inode_of_storage(repository, backup)) == Some(identity.1);
    if options.any_directory || is_same {
        return Ok(interrupted);
    }
    let why = match record {
        _ if newest.is_some() => "it is another directory than the one that was backed up",
        Some(_) => "it is another directory than the one that was restored to",
        None => "no backup in this repository was made of it or restored to it on this host",
    };
    let message = format!("{} is not known to the repository: {why}", printable(path));
    Err(Error::jet(Jet::InvalidParameter, message).file(path).hint(
        "What the backup does not hold would be deleted there. See what would be done with --any-directory --dry-run; \
         --any-directory alone does it.",
    ))
}
