//! Walking a directory in the order of its names: depth first, each directory before what lies in it.
//!
//! Everything is reached from one open directory, never through a symbolic link. One listing a level is in memory, so
//! that a million files cost little.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::vec;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags, statat, statx};
use rustix::io::Errno;

use super::files::PERMISSION_HINT;
use super::globs::Excludes;
use crate::beneath;
use crate::error::{Error, ExitCode, Result};
use crate::paths;
use crate::stream::stop::StopToken;

/// What a walk leaves out, and what it does where it may not look.
#[derive(Debug)]
pub struct Limits {
    /// What `--exclude` names.
    pub excludes: Excludes,
    /// Whether to leave out what lies in directories marked as caches.
    pub exclude_caches: bool,
    /// The only device to stay on, if there is one.
    pub device: Option<u64>,
    /// Directories that belong to jetbak itself, relative to the storage.
    pub own: Vec<PathBuf>,
    /// Go on where a directory cannot be listed.
    pub keep_going: bool,
    /// Name the directories in it, and do not look into them.
    pub is_flat: bool,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

/// What a walk comes across; paths are relative to the storage, and empty for the storage itself.
pub enum Seen {
    /// Something to take.
    Entry {
        /// Where.
        path: PathBuf,
        /// What.
        kind: Kind,
        /// What the file system says of it.
        stat: Box<Stat>,
        /// A directory that may not be listed: what lies in it stays unknown.
        unlisted: bool,
    },
    /// Something that is left out though nobody asked for that, and why.
    LeftOut(PathBuf, &'static str),
    /// Something that is left out as asked.
    Excluded {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
        /// All patterns that match it, by their numbers; none where it is left out for another reason.
        patterns: Vec<usize>,
    },
}

impl Seen {
    /// Something that is left out by another option than a pattern.
    fn excluded(path: PathBuf, reason: impl Into<String>) -> Self {
        Self::Excluded { path, reason: reason.into(), patterns: Vec::new() }
    }
}

impl Seen {
    /// The same, with the path from elsewhere: `directory` is what the walk began with.
    #[must_use]
    pub fn below(self, directory: &Path) -> Self {
        let at = |path: PathBuf| crate::roots::below(directory, &path);
        match self {
            Self::Entry { path, kind, stat, unlisted } => Self::Entry { path: at(path), kind, stat, unlisted },
            Self::LeftOut(path, why) => Self::LeftOut(at(path), why),
            Self::Excluded { path, reason, patterns } => Self::Excluded { path: at(path), reason, patterns },
        }
    }
}

/// Directories that are held open on the way down; those deeper down are opened again on the way back.
const OPEN_LEVELS_MAX: usize = 64;
/// Why a directory of jetbak's own is left out.
const OWN: &str = "jetbak's own state directory";
/// The name of the file that marks a directory as a cache.
pub const CACHE_TAG: &str = "CACHEDIR.TAG";
/// What that file begins with (<https://bford.info/cachedir/>).
pub const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// A walk through a storage.
pub struct Walk<'a> {
    /// The storage, for messages.
    pub storage: &'a Path,
    /// The same, opened.
    pub root: &'a OwnedFd,
    /// What to leave out.
    pub limits: &'a Limits,
    /// Asked at every entry.
    pub stop: &'a StopToken,
}

/// A directory on the way down.
struct Level {
    path: PathBuf,
    names: vec::IntoIter<OsString>,
    /// Who it is: device and inode.
    identity: (u64, u64),
    /// Open, unless it is one of very many on the way.
    handle: Option<OwnedFd>,
}

/// What a name turned out to be.
enum Child {
    Gone,
    Leaf(Seen),
    Directory(Box<Stat>),
}

impl Walk<'_> {
    /// Walks, and hands everything over.
    pub fn run(&self, visit: &mut dyn FnMut(Seen) -> Result<()>) -> Result<()> {
        let stat = rustix::fs::fstat(self.root).map_err(|e| Error::io("look at", self.storage, &e.into()))?;
        let mut levels = Vec::new();
        levels.extend(self.enter(PathBuf::new(), Box::new(stat), visit)?);
        while let Some(depth) = levels.len().checked_sub(1) {
            let level: &mut Level = &mut levels[depth];
            self.stop.check()?;
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            let path = level.path.join(&name);
            if path.as_os_str().len() > paths::BYTES_MAX {
                let error =
                    Error::new(ExitCode::Unfit, "a path in the storage is longer than 128 KiB").file(&level.path);
                return Err(error.hint("Leave it out with --exclude."));
            }
            match self.look(self.handle_of(level)?, &name, path.clone())? {
                Child::Gone => {}
                Child::Leaf(seen) => visit(seen)?,
                Child::Directory(_) if self.limits.is_flat && self.limits.own.contains(&path) => {
                    visit(Seen::LeftOut(path, OWN))?;
                }
                Child::Directory(stat) if self.limits.is_flat => {
                    visit(Seen::Entry { path, kind: Kind::Directory, stat, unlisted: false })?;
                }
                Child::Directory(stat) => {
                    if let Some(next) = self.enter(path, stat, visit)? {
                        if depth > OPEN_LEVELS_MAX {
                            level.handle = None;
                        }
                        levels.push(next);
                    }
                }
            }
        }
        Ok(())
    }

    /// The level's directory, opened again where it had to be closed: it must be the one that was listed.
    fn handle_of<'l>(&self, level: &'l mut Level) -> Result<&'l OwnedFd> {
        if let Some(ref handle) = level.handle {
            return Ok(handle);
        }
        let opened = self.open(&level.path).map_err(|e| self.cannot_list(&level.path, e))?;
        let stat = rustix::fs::fstat(&opened).map_err(|e| self.cannot_list(&level.path, e))?;
        if (stat.st_dev, stat.st_ino) != level.identity {
            let path = crate::error::printable(self.storage.join(&level.path));
            let message = format!("{path} was replaced by another directory while it was listed");
            return Err(Error::new(ExitCode::Unfit, message).file(&level.path).hint("Back up while nothing is moved."));
        }
        Ok(level.handle.insert(opened))
    }

    fn open(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match beneath::open(self.root, path, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => beneath::open(self.root, path, flags, Mode::empty()),
            opened => opened,
        }
    }

    fn look(&self, folder: &OwnedFd, name: &OsStr, path: PathBuf) -> Result<Child> {
        let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Box::new(stat),
            Err(Errno::NOENT) => return Ok(Child::Gone),
            Err(errno) => return Err(Error::io("look at", &self.storage.join(path), &errno.into())),
        };
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let patterns = self.limits.excludes.matching(&path, file_type.is_dir());
        if let Some(first) = patterns.first() {
            let reason = format!("--exclude {}", crate::error::printable(&self.limits.excludes.given()[*first]));
            return Ok(Child::Leaf(Seen::Excluded { path, reason, patterns }));
        }
        let kind = match file_type {
            FileType::Directory => return Ok(Child::Directory(stat)),
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Link,
            _ => return Ok(Child::Leaf(Seen::LeftOut(path, "a socket, fifo or device"))),
        };
        let other_device = self.limits.device.is_some_and(|device| device != stat.st_dev);
        if kind == Kind::File && other_device && is_mount_point(folder, name) {
            return Ok(Child::Leaf(Seen::excluded(path, "another file system")));
        }
        Ok(Child::Leaf(Seen::Entry { path, kind, stat, unlisted: false }))
    }

    /// Takes a directory and lists it, unless what lies in it is left out.
    fn enter(
        &self,
        path: PathBuf,
        stat: Box<Stat>,
        visit: &mut dyn FnMut(Seen) -> Result<()>,
    ) -> Result<Option<Level>> {
        if self.limits.own.contains(&path) {
            visit(Seen::LeftOut(path, OWN))?;
            return Ok(None);
        }
        let other_device = self.limits.device.is_some_and(|device| device != stat.st_dev);
        let identity = (stat.st_dev, stat.st_ino);
        let entry = |unlisted| Seen::Entry { path: path.clone(), kind: Kind::Directory, stat, unlisted };
        if other_device {
            visit(entry(false))?;
            visit(Seen::excluded(path, "another file system is mounted there"))?;
            return Ok(None);
        }
        let listed = self.open(&path).and_then(|folder| Ok((list(&folder)?, folder)));
        let (mut names, folder) = match listed {
            Ok(listed) => listed,
            // Gone between its parent's listing and now, or no directory any more: then it came later.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !path.as_os_str().is_empty() => return Ok(None),
            Err(Errno::ACCESS | Errno::PERM) if self.limits.keep_going && !path.as_os_str().is_empty() => {
                visit(entry(true))?;
                return Ok(None);
            }
            Err(errno) => return Err(self.cannot_list(&path, errno)),
        };
        visit(entry(false))?;
        // The storage itself was named: it is taken even where it is marked.
        let may_be_cache = self.limits.exclude_caches && !path.as_os_str().is_empty();
        if may_be_cache && is_cache(&folder).map_err(|e| self.cannot_list(&path, e))? {
            let others = names.len().saturating_sub(1);
            names.retain(|name| name == CACHE_TAG);
            if others > 0 {
                visit(Seen::excluded(path.clone(), format!("what a {CACHE_TAG} marks: {others} names")))?;
            }
        }
        Ok(Some(Level { path, names: names.into_iter(), identity, handle: Some(folder) }))
    }

    fn cannot_list(&self, path: &Path, errno: Errno) -> Error {
        let absolute = if path.as_os_str().is_empty() { self.storage.to_owned() } else { self.storage.join(path) };
        Error::io("list", &absolute, &errno.into()).file(path).hint(PERMISSION_HINT)
    }
}

/// Whether something is mounted on a file. Another device alone does not say so: overlays give files one of their own.
fn is_mount_point(folder: &OwnedFd, name: &OsStr) -> bool {
    let asked = statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
    asked.is_ok_and(|found| (found.stx_attributes & found.stx_attributes_mask).contains(StatxAttributes::MOUNT_ROOT))
}

/// The names in a directory, sorted by their bytes. One that may be listed but not searched is refused: nothing in it
/// could be looked at.
fn list(folder: &OwnedFd) -> rustix::io::Result<Vec<OsString>> {
    let names = beneath::names(folder)?;
    statat(folder, ".", AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(names)
}

/// Whether a directory holds a file that marks it as a cache.
fn is_cache(folder: &OwnedFd) -> rustix::io::Result<bool> {
    let opened = beneath::open(folder, Path::new(CACHE_TAG), OFlags::RDONLY, Mode::empty());
    let file = match opened {
        Ok(file) => File::from(file),
        Err(_) => return Ok(false), // no tag that anybody could read
    };
    if !FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode).is_file() {
        return Ok(false);
    }
    let mut begin = Vec::with_capacity(CACHE_SIGNATURE.len());
    match file.take(CACHE_SIGNATURE.len() as u64).read_to_end(&mut begin) {
        Ok(_) => Ok(begin == CACHE_SIGNATURE),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}
