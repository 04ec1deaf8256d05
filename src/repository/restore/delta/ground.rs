//! The directory that is put right: everything in it is reached from one open handle, and never through a link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, StatVfsMountFlags, StatxAttributes, StatxFlags, chmodat, statat, statx,
    unlinkat,
};
use rustix::io::Errno;

use crate::attributes::Reading;
use crate::beneath::{self, Folders};
use crate::durable::{TEMPORARY_PREFIX, random};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::repository::holder;
use crate::roots::below;
use crate::stream::source::Attributes;

/// What its own temporary files are called, after [`TEMPORARY_PREFIX`].
const TEMPORARY_KIND: &str = "delta-";
/// How a directory is opened whose names are wanted, or whose attributes are.
const LISTING: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// An existing directory, opened.
#[derive(Debug)]
pub struct Ground {
    path: PathBuf,
    folders: Folders,
    identity: (u64, u64),
    reading: Reading,
    is_mount: bool,
}

impl Ground {
    /// Opens a directory; a link is resolved first. What is no directory, or the root of everything, is exit 2.
    pub fn open(path: &Path) -> Result<Self> {
        let refuse = |what: &str, hint: &str| {
            Error::jet(Jet::InvalidParameter, format!("{} {what}", printable(path))).file(path).hint(hint)
        };
        let resolved = path.canonicalize().map_err(|e| Error::io("find", path, &e)).map_err(|error| {
            if !error.is_not_found() {
                return error;
            }
            if let Ok(target) = std::fs::read_link(path) {
                let what = format!("is a link to {}, where nothing is", printable(target));
                return refuse(&what, "Mend the link, or name the directory itself.");
            }
            refuse("does not exist", "Leave --delta away: a plain restore makes the directory.")
        })?;
        if !resolved.is_dir() {
            return Err(refuse("is not a directory", "Name the directory that is to be put right."));
        }
        if resolved.parent().is_none() {
            return Err(refuse("is the root of the whole system", "Name a directory below it."));
        }
        let error = |e: Errno| Error::io("open", &resolved, &e.into());
        let flags = LISTING | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&resolved, flags, Mode::empty()).map_err(error)?;
        let stat = rustix::fs::fstat(&handle).map_err(error)?;
        let is_mount = is_mount_root(CWD, resolved.as_os_str());
        Ok(Self {
            path: resolved,
            folders: Folders::new(handle),
            identity: (stat.st_dev, stat.st_ino),
            reading: Reading::default(),
            is_mount,
        })
    }

    /// The canonical path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode of the directory itself.
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// The open directory itself.
    pub fn root(&self) -> &OwnedFd {
        self.folders.root()
    }

    /// Whether something is mounted on the directory itself.
    pub fn is_mount(&self) -> bool {
        self.is_mount
    }

    /// Keeps others from restoring into it as long as the returned file lives; none where there are no such locks.
    pub fn lock(&self) -> Result<Option<File>> {
        let handle = self.root().try_clone().map_err(|e| Error::io("open", &self.path, &e))?;
        let handle = File::from(handle);
        match handle.try_lock() {
            Ok(()) => Ok(Some(handle)),
            Err(std::fs::TryLockError::WouldBlock) => {
                let message =
                    format!("{} is restoring into {}", holder::describe(Some(&self.path)), printable(&self.path));
                Err(Error::new(ExitCode::OutOfOrder, message).file(&self.path).hint("Wait for it."))
            }
            Err(std::fs::TryLockError::Error(_)) => Ok(None),
        }
    }

    /// What a person calls a place in it.
    pub fn describe(&self, path: &Path) -> PathBuf {
        below(&self.path, path)
    }

    /// The error of something that was done to a place in it.
    pub fn error(&self, action: &str, path: &Path, errno: Errno) -> Error {
        Error::io(action, &self.describe(path), &errno.into())
    }

    /// What stands under a path; none where nothing does, or something on the way is no directory.
    pub fn look(&self, path: &Path) -> Result<Option<Stat>> {
        let found = if path.as_os_str().is_empty() {
            rustix::fs::fstat(self.root())
        } else {
            self.parent(path).and_then(|(folder, name)| statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW))
        };
        match found {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(self.error("look at", path, errno)),
        }
    }

    /// The open directory that a path lies in, and its name there.
    pub fn parent<'a>(&self, path: &'a Path) -> rustix::io::Result<(Arc<OwnedFd>, &'a OsStr)> {
        self.folders.parent(path, false)
    }

    /// Forgets the open directory; call it when one was replaced or removed.
    pub fn forget(&self) {
        self.folders.forget();
    }

    /// Opens a regular file; whatever else stands there is an error.
    pub fn open_file(&self, path: &Path, flags: OFlags) -> Result<(File, Stat)> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let opened = self.parent(path).and_then(|(folder, name)| {
            let file = rustix::fs::openat(&folder, name, flags, Mode::empty())?;
            let stat = rustix::fs::fstat(&file)?;
            Ok((File::from(file), stat))
        });
        let (file, stat) = opened.map_err(|e| self.error("open", path, e))?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() || stat.st_dev != self.identity.0 {
            return Err(changed_meanwhile(&self.describe(path)));
        }
        Ok((file, stat))
    }

    /// Opens a directory below it, or itself.
    pub fn open_directory(&self, path: &Path) -> Result<OwnedFd> {
        beneath::open(self.root(), path, LISTING, Mode::empty()).map_err(|e| self.error("open", path, e))
    }

    /// The names in a directory, in the order of their bytes.
    pub fn names(&self, path: &Path) -> Result<Vec<OsString>> {
        beneath::names(self.open_directory(path)?).map_err(|e| self.error("list", path, e))
    }

    /// Everything about an open file or directory.
    pub fn attributes(&self, file: &File, path: &Path) -> Result<Attributes> {
        self.reading.of_file(file).map_err(|e| Error::io("look at", &self.describe(path), &e))
    }

    /// Everything about a symbolic link.
    pub fn link_attributes(&self, path: &Path) -> Result<Attributes> {
        let (folder, name) = self.parent(path).map_err(|e| self.error("look at", path, e))?;
        self.reading.of_link(&folder, name).map_err(|e| Error::io("look at", &self.describe(path), &e))
    }

    /// Refuses what something else is mounted on.
    pub fn refuse_mount(&self, path: &Path, stat: &Stat) -> Result<()> {
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let is_mount = stat.st_dev != self.identity.0
            || self.parent(path).is_ok_and(|(folder, name)| is_mount_root(&*folder, name));
        if !is_mount {
            return Ok(());
        }
        let place = self.describe(path);
        let message =
            format!("something is mounted on {}, and a restore in place does not go there", printable(&place));
        Err(Error::jet(Jet::InvalidParameter, message)
            .file(place)
            .hint("Unmount it first, or name with --only what lies elsewhere. Nothing was changed."))
    }

    /// Removes whatever stands under a path; a directory with all that is in it.
    pub fn remove(&self, path: &Path) -> Result<()> {
        self.forget();
        let error = |e| self.error("remove", path, e);
        let (folder, name) = match self.parent(path) {
            Err(Errno::NOENT) => return Ok(()),
            found => found.map_err(error)?,
        };
        let stat = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            found => found.map_err(error)?,
        };
        if !FileType::from_raw_mode(stat.st_mode).is_dir() {
            return unlinkat(&folder, name, AtFlags::empty()).map_err(error);
        }
        self.refuse_mount(path, &stat)?;
        self.empty(path)?;
        unlinkat(&folder, name, AtFlags::REMOVEDIR).map_err(error)?;
        self.forget();
        Ok(())
    }

    /// Removes all that a directory holds: one is open at a time, however deep they lie in each other.
    fn empty(&self, top: &Path) -> Result<()> {
        let mut path = top.to_owned();
        let mut levels = vec![self.remove_leaves(top)?.into_iter()];
        while let Some(level) = levels.last_mut() {
            if let Some(name) = level.next() {
                path.push(name);
                levels.push(self.remove_leaves(&path)?.into_iter());
                continue;
            }
            levels.pop();
            if !levels.is_empty() {
                self.forget();
                let removed = self.parent(&path).and_then(|(folder, name)| unlinkat(&folder, name, AtFlags::REMOVEDIR));
                removed.map_err(|e| self.error("remove", &path, e))?;
                path.pop();
            }
        }
        Ok(())
    }

    /// Removes all but the directories from a directory, and returns those.
    fn remove_leaves(&self, path: &Path) -> Result<Vec<OsString>> {
        let error = |e| self.error("remove", path, e);
        if !rustix::process::geteuid().is_root() {
            let (folder, name) = self.parent(path).map_err(error)?;
            let _ = chmodat(&folder, name, Mode::RWXU, AtFlags::empty()); // else what follows says why not
        }
        let folder = self.open_directory(path)?;
        let mut directories = Vec::new();
        for name in beneath::names(&folder).map_err(error)? {
            let stat = statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(error)?;
            if FileType::from_raw_mode(stat.st_mode).is_dir() {
                self.refuse_mount(&path.join(&name), &stat)?;
                directories.push(name);
            } else {
                unlinkat(&folder, &name, AtFlags::empty()).map_err(error)?;
            }
        }
        Ok(directories)
    }

    /// A name beside a path that nothing has.
    pub fn temporary(path: &Path) -> PathBuf {
        path.with_file_name(format!("{TEMPORARY_PREFIX}{TEMPORARY_KIND}{:016x}", random()))
    }

    /// Why nobody may change something, root neither; none where somebody may.
    pub fn fixed(&self, path: &Path) -> Option<&'static str> {
        let found = if path.as_os_str().is_empty() {
            flags_of(self.root(), OsStr::new(""), AtFlags::EMPTY_PATH)
        } else {
            let (folder, name) = self.parent(path).ok()?;
            flags_of(&*folder, name, AtFlags::SYMLINK_NOFOLLOW)
        };
        match found {
            flags if flags.contains(StatxAttributes::IMMUTABLE) => Some("is immutable (`chattr -i` ends that)"),
            flags if flags.contains(StatxAttributes::APPEND) => Some("is append-only (`chattr -a` ends that)"),
            _ => None,
        }
    }

    /// Whether its file system is mounted for reading only.
    pub fn is_read_only(&self) -> bool {
        rustix::fs::fstatvfs(self.root()).is_ok_and(|space| space.f_flag.contains(StatVfsMountFlags::RDONLY))
    }

    /// Makes everything that was changed durable.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(self.root()).map_err(|e| Error::io("sync", &self.path, &e.into()))
    }

    /// Bytes that can still be written.
    pub fn free_bytes(&self) -> Result<u64> {
        let space = rustix::fs::fstatvfs(self.root()).map_err(|e| Error::io("look at", &self.path, &e.into()))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

/// Something was put in the place of what had been compared.
pub fn changed_meanwhile(path: &Path) -> Error {
    let message = format!("{} is not what it was when it was compared", printable(path));
    Error::new(ExitCode::Unfit, message).file(path).hint("Stop whatever writes there, and repeat the command.")
}

/// Whether something is mounted there; kernels before 5.8 do not say.
fn is_mount_root(folder: impl AsFd, name: &OsStr) -> bool {
    flags_of(folder, name, AtFlags::SYMLINK_NOFOLLOW).contains(StatxAttributes::MOUNT_ROOT)
}

/// What the file system says of something beyond its mode; nothing where it says nothing.
fn flags_of(folder: impl AsFd, name: &OsStr, how: AtFlags) -> StatxAttributes {
    let found = statx(folder, name, how, StatxFlags::BASIC_STATS);
    found.map_or(StatxAttributes::empty(), |found| found.stx_attributes & found.stx_attributes_mask)
}

/// Whether a restore in place gives such names to what it has not finished.
pub fn is_temporary(name: &OsStr) -> bool {
    let digits = name.as_encoded_bytes().strip_prefix(TEMPORARY_PREFIX.as_bytes());
    let digits = digits.and_then(|rest| rest.strip_prefix(TEMPORARY_KIND.as_bytes()));
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finished_is_known_by_its_name() {
        let temporary = Ground::temporary(Path::new("conf/app.ini"));
        assert_eq!(temporary.parent(), Some(Path::new("conf")));
        assert!(is_temporary(temporary.file_name().expect("a name")));
        let others = [".jetbak-tmp-delta-", ".jetbak-tmp-0123456789abcdef", ".jetbak-tmp-delta-0123456789abcdeg", ""];
        assert!(!others.iter().any(|other| is_temporary(OsStr::new(other))));
    }
}
