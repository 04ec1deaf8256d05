//! Where a restored tree is made, and how it gets its name: nothing that is not whole ever stands under it.
//!
//! The tree is made in a scratch directory beside the target, on the same file system, and renamed over it. Where the
//! target is a mount point, or its parent cannot be written, the scratch directory lies inside of it and what it holds is
//! moved out, name by name, after a note that all of it is there: a restore that is repeated after a crash finds the note
//! and goes on. A scratch directory, and a target that is there already, are locked as long as the process lives; what a
//! dead one left is swept by the next restore.
//!
//! Where a restore makes several trees, each of them gets such a note before the first one is moved, the last one's last:
//! from then on all of them are to be moved, and a repeated restore goes on wherever that was interrupted.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxAttributes, StatxFlags, chmodat, statat, statx, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::write::Written;
use crate::attributes::OwnerRule;
use crate::beneath;
use crate::durable::{self, Put, TEMPORARY_PREFIX};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::repository::holder;

/// The note in a scratch directory.
const NOTE: &str = "whole.json";
/// The tree in a scratch directory.
const TREE: &str = "tree";
/// How often a scratch directory is made anew where others sweep it at once.
const SCRATCH_ATTEMPTS: u32 = 100;
/// What a new file system holds by itself.
const LOST_AND_FOUND: &str = "lost+found";

/// What is being restored, so that an interrupted move is finished only by the same restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purpose {
    /// The backup's id.
    pub id: String,
    /// SHA-256 of its manifest, hexadecimal.
    pub manifest_sha256: String,
    /// What of it is meant, base64 of the bytes; everything where it is empty.
    pub only: Vec<String>,
    /// Whose the files are to be.
    pub owner: OwnerRule,
    /// Whether damaged files may be missing.
    pub keep_going: bool,
    /// Where several roots go: the name of each, `=` and the base64 of its directory; empty where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
    /// Whether several trees are made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_joint: bool,
}

/// What a restore notes when its tree is whole, for whoever finishes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    purpose: Purpose,
    written: Written,
    /// Base64 of the target's path, where the scratch directory lies beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beside: Option<String>,
}

/// A directory that is to hold a restored tree.
#[derive(Debug)]
pub struct Destination {
    path: PathBuf,
    scratch: PathBuf,
    inside: bool,
    purpose: Purpose,
    /// What was written, once the tree is whole.
    whole: Option<Written>,
    /// Held as long as this process lives: the scratch directory, and the target where it was there before. None where
    /// their file system has no locks.
    _locks: (Option<File>, Option<File>),
}

impl Destination {
    /// Finds out whether a tree can be put there, changing nothing; true where an earlier restore has made it already.
    pub fn check(path: &Path, purpose: &Purpose) -> Result<bool> {
        let path = resolve(path)?;
        if Self::unfinished(&path, purpose)?.is_some() {
            return Ok(true);
        }
        if let Some(name) = occupant(&path)? {
            return Err(not_empty(&path, &name));
        }
        Ok(false)
    }

    /// Makes the scratch directory, and sweeps those that dead restores left.
    pub fn prepare(path: &Path, purpose: Purpose) -> Result<Self> {
        let path = resolve(path)?;
        let exists = path.is_dir();
        let target = if exists { lock_target(&path)? } else { None };
        if exists {
            sweep(&path);
        }
        if let Some((scratch, lock, written)) = Self::unfinished(&path, &purpose)? {
            let (locks, inside) = ((Some(lock), target), scratch.parent() == Some(&path));
            return Ok(Self { path, scratch, inside, purpose, whole: Some(written), _locks: locks });
        }
        Self::begin_anew(path, purpose, target)
    }

    /// The same for one of several trees that is not the last. Where the last one is whole, none is left to do where
    /// there is no note of this one: it has its name already.
    pub fn prepare_beside(path: &Path, purpose: Purpose, last_is_whole: bool) -> Result<Option<Self>> {
        if !last_is_whole {
            let path = resolve(path)?;
            if let Some((scratch, _lock, _)) = Self::unfinished(&path, &purpose)? {
                // It was to wait for the others, and they were not whole: nothing of it was moved.
                remove_tree(&scratch).map_err(|e| Error::io("remove", &scratch, &e))?;
            }
            return Self::prepare(&path, purpose).map(Some);
        }
        let path = resolve(path)?;
        if Self::unfinished(&path, &purpose)?.is_some() {
            return Self::prepare(&path, purpose).map(Some);
        }
        if path.is_dir() { Ok(None) } else { Err(taken_away(&path)) }
    }

    fn begin_anew(path: PathBuf, purpose: Purpose, target: Option<File>) -> Result<Self> {
        let exists = path.is_dir();
        if let Some(name) = occupant(&path)? {
            return Err(not_empty(&path, &name));
        }
        let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
        let inside = exists && (is_mount_point(&path)? || is_current(&path));
        if !inside {
            sweep(&parent);
            match make_scratch(&parent) {
                Ok((scratch, lock)) => {
                    return Self { path, scratch, inside, purpose, whole: None, _locks: (lock, target) }.begin();
                }
                Err(error) if exists && error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => {
                    let missing = error.kind() == io::ErrorKind::NotFound;
                    let error = Error::io("create a directory in", &parent, &error);
                    let hint = "Only the last directory of the path is made; is a mount missing?";
                    return Err(if missing { error.hint(hint) } else { error });
                }
            }
        }
        let (scratch, lock) = make_scratch(&path).map_err(|e| Error::io("create a directory in", &path, &e))?;
        Self { path, scratch, inside: true, purpose, whole: None, _locks: (lock, target) }.begin()
    }

    fn begin(self) -> Result<Self> {
        let tree = self.tree();
        let made = fs::DirBuilder::new().mode(0o700).create(&tree);
        if let Err(error) = made {
            let _ = fs::remove_dir(&self.scratch); // the first error is the one to report
            return Err(Error::io("create", &tree, &error));
        }
        Ok(self)
    }

    /// A tree that was whole and partly moved when its restore died.
    fn unfinished(path: &Path, purpose: &Purpose) -> Result<Option<(PathBuf, File, Written)>> {
        let parent = path.parent().unwrap_or(path);
        let beside = scratches(parent).into_iter().filter(|_| parent != path);
        for scratch in scratches(path).into_iter().chain(beside) {
            let Ok(text) = fs::read(scratch.join(NOTE)) else { continue };
            let known: Option<Note> = serde_json::from_slice(&text).ok();
            let is_beside = scratch.parent() != Some(path);
            let whose = known.as_ref().and_then(|note| note.beside.as_ref());
            if if is_beside { whose != Some(&base64(path)) } else { whose.is_some() } {
                continue; // it is another target's
            }
            // Nobody else could put anything into one of ours.
            let mode = fs::symlink_metadata(&scratch).map_err(|e| Error::io("look at", &scratch, &e))?.mode();
            if mode & 0o777 != 0o700 {
                return Err(not_empty(path, &printable(scratch.file_name().unwrap_or_default())));
            }
            let Ok(Some(lock)) = lock(&scratch) else { return Err(busy(path, &scratch)) };
            let id = match known {
                Some(note) if note.purpose == *purpose => return Ok(Some((scratch, lock, note.written))),
                Some(note) => note.purpose.id,
                None => "another backup".to_owned(),
            };
            let message = format!("{} holds an interrupted restore of {}", printable(path), printable(&id));
            let rest = if is_beside { printable(&scratch) } else { "everything in the directory".to_owned() };
            return Err(Error::jet(Jet::BackupDirectoryNotEmpty, message)
                .file(path)
                .hint(format!("Repeat that restore with the same options, which finishes it, or remove {rest}.")));
        }
        Ok(None)
    }

    /// The directory in which the tree is made.
    pub fn tree(&self) -> PathBuf {
        self.scratch.join(TREE)
    }

    /// The target.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the target itself stays, and only what lies in it is new.
    pub fn is_inside(&self) -> bool {
        self.inside
    }

    /// Whether an earlier restore had made the whole tree already.
    pub fn is_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// Whether a directory gets its attributes only under its final name: the target itself where it was there before,
    /// and what its owner could not move once it is read-only.
    pub fn comes_late(&self, path: &Path, mode: u32) -> bool {
        let depth = path.components().count();
        let is_moved = depth <= usize::from(self.inside);
        let may_move = mode & 0o200 != 0 || rustix::process::geteuid().is_root();
        (self.inside && depth == 0) || (is_moved && !may_move)
    }

    /// Notes that the tree is whole and durable, where more than one step gives it its name; from then on it stays.
    /// Returns what was written, now or earlier.
    pub fn settle(&mut self, written: Written) -> Result<Written> {
        if let Some(earlier) = &self.whole {
            return Ok(earlier.clone());
        }
        if self.inside || self.purpose.is_joint {
            let beside = (!self.inside).then(|| base64(&self.path));
            let note = Note { purpose: self.purpose.clone(), written: written.clone(), beside };
            let text = serde_json::to_vec(&note).expect("a note has only fields that JSON can hold");
            durable::write(&self.scratch.join(NOTE), &text, Put::New)?;
            self.whole = Some(written.clone());
        }
        Ok(written)
    }

    /// Gives the tree, which is settled, the target's name.
    pub fn publish(&self) -> Result<()> {
        if self.inside {
            return self.move_out();
        }
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let tree = self.tree();
        if self.whole.is_some() && !tree.exists() {
            // An earlier restore got that far.
            return if self.path.is_dir() { Ok(()) } else { Err(taken_away(&self.path)) };
        }
        // An empty directory is replaced in one step; one that is not empty any more is not.
        let renamed = match durable::rename(&tree, &self.path, Put::New) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::rename(&tree, &self.path),
            renamed => renamed,
        };
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                not_empty(&self.path, "something that appeared meanwhile")
            }
            _ => Error::io("rename to", &self.path, &error),
        })?;
        let _ = fs::remove_dir(&self.scratch); // empty by now, unless a note is in it; the next restore sweeps it
        match durable::sync_folder(parent) {
            // Who may write there but not read: the sync of the file system that follows covers it.
            Err(error) if error.jet_code() == Some(Jet::FileAccessDenied) => Ok(()),
            synced => synced,
        }
    }

    fn move_out(&self) -> Result<()> {
        let tree = self.tree();
        let error = |e: &io::Error| Error::io("move to", &self.path, e);
        let entries = match fs::read_dir(&tree) {
            // moved in full before
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|e| error(&e))?,
        };
        for entry in entries {
            let name = entry.map_err(|e| error(&e))?.file_name();
            let to = self.path.join(&name);
            match durable::rename(&tree.join(&name), &to, Put::New) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    // A new file system has this directory of its own; it is empty, or nobody may put a tree there.
                    let replaced = if name == LOST_AND_FOUND { fs::rename(tree.join(&name), &to) } else { Err(e) };
                    replaced.map_err(|_| not_empty(&self.path, &printable(&name)))?;
                }
                renamed => renamed.map_err(|e| error(&e))?,
            }
        }
        durable::sync_folder(&self.path)
    }

    /// Takes the scratch directory away, once the tree has its name and everything below its root its attributes.
    pub fn clear(&self) -> Result<()> {
        if self.whole.is_none() {
            return Ok(());
        }
        let error = |e: Errno| Error::io("remove", &self.scratch, &e.into());
        // Through a handle: the target may be somebody else's by now, who could put a link in its place.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let scratch = rustix::fs::open(&self.scratch, flags, Mode::empty()).map_err(error)?;
        let _ = unlinkat(&scratch, TREE, AtFlags::REMOVEDIR); // gone where an earlier restore got that far
        unlinkat(&scratch, NOTE, AtFlags::empty()).map_err(error)?;
        unlinkat(CWD, &self.scratch, AtFlags::REMOVEDIR).map_err(error)
    }

    /// Removes what was made so far; an error says where it stays. Not for trees that are all settled: those are proven
    /// and durable, and the next attempt moves them.
    pub fn discard(self) -> Result<()> {
        match remove_tree(&self.scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &self.scratch, &error)),
            _ => Ok(()),
        }
    }
}

/// The absolute path of a target, through links where it exists.
pub(super) fn resolve(path: &Path) -> Result<PathBuf> {
    match path.canonicalize() {
        Ok(resolved) if resolved.is_dir() => Ok(resolved),
        Ok(_) => {
            let message = format!("{} is not a directory", printable(path));
            Err(Error::jet(Jet::BackupDirectoryNotEmpty, message).file(path).hint("Name a directory that is empty."))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
            let absolute = std::path::absolute(path).map_err(|e| Error::io("find", path, &e))?;
            let name = absolute.file_name().ok_or_else(|| Error::io("find", path, &error))?;
            let parent = absolute.parent().unwrap_or(Path::new("/"));
            let resolved = parent.canonicalize().map_err(|e| {
                let error = Error::io("find", parent, &e);
                error.hint("Only the last directory of the path is made; is a mount missing?")
            })?;
            Ok(resolved.join(name))
        }
        Err(error) => Err(Error::io("find", path, &error)),
    }
}

/// The bytes of a path, as a note keeps them.
pub(super) fn base64(path: &Path) -> String {
    STANDARD.encode(path.as_os_str().as_bytes())
}

/// The first thing that stands in the way in a target; nothing where it is empty or missing.
fn occupant(path: &Path) -> Result<Option<String>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(|e| Error::io("list", path, &e))?,
    };
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", path, &e))?;
        let name = entry.file_name();
        // One that another restore still fills is no occupant: the target's lock says what to do about that.
        let is_scratch = name.as_bytes().starts_with(scratch_prefix().as_bytes())
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
            && !entry.path().join(NOTE).exists();
        let is_own = name == LOST_AND_FOUND && fs::read_dir(entry.path()).is_ok_and(|mut all| all.next().is_none());
        let is_known = is_scratch || (is_own && is_mount_point(path)?);
        if !is_known {
            return Ok(Some(printable(&name)));
        }
    }
    Ok(None)
}

fn not_empty(path: &Path, name: &str) -> Error {
    let message = format!("{} is not empty: it holds {name}", printable(path));
    Error::jet(Jet::BackupDirectoryNotEmpty, message)
        .file(path)
        .hint("Restore into a directory that is empty or does not exist yet; nothing is ever replaced.")
}

fn taken_away(path: &Path) -> Error {
    let message =
        format!("an interrupted restore had put {} into its place, and it is not there any more", printable(path));
    Error::new(ExitCode::Failed, message).file(path).hint(format!(
        "Remove the directories {}… beside the other targets or in them, and those targets; then restore anew.",
        scratch_prefix()
    ))
}

fn busy(path: &Path, locked: &Path) -> Error {
    let message = format!("{} is restoring into {}", holder::describe(Some(locked)), printable(path));
    Error::new(ExitCode::OutOfOrder, message).file(path).hint("Wait for it.")
}

fn is_mount_point(path: &Path) -> Result<bool> {
    let error = |e: &io::Error| Error::io("look at", path, e);
    let here = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS);
    if here.is_ok_and(|found| (found.stx_attributes & found.stx_attributes_mask).contains(StatxAttributes::MOUNT_ROOT))
    {
        return Ok(true);
    }
    // Kernels before 5.8 do not say, and a subvolume is none; another device than the parent's counts as one.
    let above = path.parent().unwrap_or(path);
    let (here, above) = (fs::metadata(path).map_err(|e| error(&e))?, fs::metadata(above).map_err(|e| error(&e))?);
    Ok(here.dev() != above.dev() || here.ino() == above.ino())
}

/// Whether this process works in that directory: renaming another one over it would leave a shell nowhere.
fn is_current(path: &Path) -> bool {
    std::env::current_dir().and_then(|current| current.canonicalize()).is_ok_and(|current| current.starts_with(path))
}

fn scratch_prefix() -> String {
    format!("{TEMPORARY_PREFIX}restore-")
}

/// Makes a scratch directory and locks it, where the file system has locks.
fn make_scratch(folder: &Path) -> io::Result<(PathBuf, Option<File>)> {
    for _ in 0..SCRATCH_ATTEMPTS {
        let scratch = folder.join(format!("{}{:016x}", scratch_prefix(), durable::random()));
        fs::DirBuilder::new().mode(0o700).create(&scratch)?;
        // What the folder would hand down to everything below is none of the backup's.
        let _ = rustix::fs::removexattr(&scratch, "system.posix_acl_default"); // mostly there is none
        let _ = rustix::fs::removexattr(&scratch, "system.posix_acl_access"); // likewise
        let locked = match lock(&scratch) {
            Ok(None) => continue,                                              // another restore is sweeping it
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // and has done so
            Ok(Some(handle)) => Ok(Some(handle)),
            Err(error) if is_without_locks(&error) => Ok(None),
            Err(error) => Err(error),
        };
        match locked {
            Ok(handle) if scratch.is_dir() => return Ok((scratch, handle)),
            Ok(_) => {}
            Err(error) => {
                let _ = fs::remove_dir(&scratch); // the first error is the one to report
                return Err(error);
            }
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

fn is_without_locks(error: &io::Error) -> bool {
    let unknown = [Errno::NOLCK, Errno::NOTSUP, Errno::NOSYS, Errno::INVAL];
    Errno::from_io_error(error).is_some_and(|errno| unknown.contains(&errno))
}

/// Keeps others from restoring into a target that exists; none where its file system has no such locks.
fn lock_target(path: &Path) -> Result<Option<File>> {
    let handle = File::open(path).map_err(|e| Error::io("list", path, &e))?;
    match handle.try_lock() {
        Ok(()) => Ok(Some(handle)),
        Err(TryLockError::WouldBlock) => Err(busy(path, path)),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Scratch directories of this user: nobody else's is believed or touched.
fn scratches(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let me = rustix::process::geteuid().as_raw();
    let is_scratch = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.as_bytes().starts_with(scratch_prefix().as_bytes())
            && fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == me)
    };
    entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_scratch).collect()
}

/// Locks a scratch directory; none where somebody else has it.
fn lock(scratch: &Path) -> io::Result<Option<File>> {
    let handle = File::open(scratch)?;
    match handle.try_lock() {
        Ok(()) => Ok(Some(handle)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes what dead restores of this user left in a directory; what cannot be removed or locked stays.
fn sweep(folder: &Path) {
    for scratch in scratches(folder) {
        let is_whole = scratch.join(NOTE).exists(); // its own restore finishes it
        if !is_whole && let Ok(Some(_held)) = lock(&scratch) {
            let _ = remove_tree(&scratch); // in nobody's way
        }
    }
}

/// Removes a tree, also where its directories are read-only by now, and however deep they lie in each other: one is open
/// at a time, and no link is followed.
fn remove_tree(root: &Path) -> io::Result<()> {
    let handle = OwnedFd::from(File::open(root)?);
    let mut path = PathBuf::new();
    let mut levels = vec![remove_files(&handle, &path)?];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.next() {
            path.push(name);
            levels.push(remove_files(&handle, &path)?);
            continue;
        }
        levels.pop();
        if !levels.is_empty() {
            let (folder, name) = beneath::parent(&handle, &path)?;
            unlinkat(folder, name, AtFlags::REMOVEDIR)?;
            path.pop();
        }
    }
    fs::remove_dir(root)
}

/// Removes all but the directories from a directory; those go back, open to their owner.
fn remove_files(root: &OwnedFd, path: &Path) -> io::Result<vec::IntoIter<OsString>> {
    let folder = beneath::open(root, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let mut folders = Vec::new();
    for name in beneath::names(&folder)? {
        let stat = statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            chmodat(&folder, &name, Mode::RWXU, AtFlags::empty())?;
            folders.push(name);
        } else {
            unlinkat(&folder, &name, AtFlags::empty())?;
        }
    }
    Ok(folders.into_iter())
}
