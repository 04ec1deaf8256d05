//! Reaching what lies below an open directory: never through a symbolic link, never upwards, by paths of any length.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, ResolveFlags, Stat, mkdirat, openat, openat2, statat};
use rustix::io::{Errno, Result};

use crate::heir::Heir;

/// Bytes of a path that the kernel gets at once; it takes 4,095 (`PATH_MAX`).
const PIECE_BYTES_MAX: usize = 3500;

/// Bytes of names that are asked for at once.
const LISTING_BYTES: usize = 64 * 1024;

/// How a directory is opened that is only passed through.
const PASSING: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens what stands at `path` below `root`; an empty path is the root itself. A symbolic link on the way, or at the
/// end unless the flags ask for the link itself, is ELOOP. Nothing waits for a fifo's writer.
pub fn open(root: impl AsFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    if path.as_os_str().is_empty() {
        return openat(root, ".", flags, mode);
    }
    if path.as_os_str().len() <= PIECE_BYTES_MAX {
        return open_piece(root, path, flags, mode);
    }
    let (folder, name) = parent(root, path)?;
    openat(folder, name, flags, mode)
}

/// What stands under a path, itself and not what a link means. A look, not a guard: links on the way are followed.
pub fn stat(root: impl AsFd, path: &Path) -> Result<Stat> {
    if path.as_os_str().len() <= PIECE_BYTES_MAX {
        return statat(root, path, AtFlags::SYMLINK_NOFOLLOW);
    }
    let (folder, name) = parent(root, path)?;
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// The directory that a path lies in, and the path's last part.
pub fn parent(root: impl AsFd, path: &Path) -> Result<(OwnedFd, &OsStr)> {
    let mut folder = openat(root, ".", PASSING, Mode::empty())?;
    let name = path.file_name().ok_or(Errno::INVAL)?;
    for piece in pieces(path.parent().unwrap_or(Path::new(""))) {
        folder = open_piece(&folder, &piece, PASSING, Mode::empty())?;
    }
    Ok((folder, name))
}

/// Makes the directories of `path` that are missing, for their owner only, and opens the last. They go to the heir.
pub fn make_directories(root: impl AsFd, path: &Path, heir: Option<Heir>) -> Result<OwnedFd> {
    let mut folder = openat(root, ".", PASSING, Mode::empty())?;
    for part in path.components() {
        let made = mkdirat(&folder, part.as_os_str(), Mode::RWXU);
        if let (Ok(()), Some(heir)) = (made, heir) {
            heir.take_directory(&folder, part);
        }
        match made {
            Ok(()) | Err(Errno::EXIST) => folder = openat(&folder, part.as_os_str(), PASSING, Mode::empty())?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(folder)
}

/// The names in an open directory, in the order of their bytes.
pub fn names(folder: impl AsFd) -> Result<Vec<OsString>> {
    let mut buffer = Vec::with_capacity(LISTING_BYTES);
    let mut directory = RawDir::new(folder, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = directory.next() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Cuts a path between its parts, so that no piece is too long for the kernel.
fn pieces(path: &Path) -> Vec<PathBuf> {
    let mut pieces: Vec<PathBuf> = Vec::new();
    for part in path.components() {
        match pieces.last_mut() {
            Some(piece) if piece.as_os_str().len() + part.as_os_str().len() < PIECE_BYTES_MAX => piece.push(part),
            _ => pieces.push(PathBuf::from(part.as_os_str())),
        }
    }
    pieces
}

fn open_piece<Fd: AsFd>(root: Fd, piece: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    if !has_openat2() {
        return open_step_by_step(root, piece, flags, mode);
    }
    openat2(&root, piece, flags, mode, resolve)
}

/// Whether the kernel has `openat2` (Linux 5.6) and the process may call it: old sandboxes answer what they do not know
/// with EPERM.
fn has_openat2() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let asked = openat2(rustix::fs::CWD, "/", PASSING, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
        !matches!(asked, Err(Errno::NOSYS | Errno::PERM))
    })
}

fn open_step_by_step<Fd: AsFd>(root: Fd, piece: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let mut folder = openat(root, ".", PASSING, Mode::empty())?;
    for part in piece.parent().into_iter().flat_map(Path::components) {
        if !matches!(part, std::path::Component::Normal(_)) {
            return Err(Errno::XDEV);
        }
        folder = openat(&folder, part.as_os_str(), PASSING, Mode::empty())?;
    }
    openat(&folder, piece.file_name().ok_or(Errno::INVAL)?, flags, mode)
}

/// The last directory that was used below a root, kept open: what is walked in order changes it seldom.
#[derive(Debug)]
pub struct Folders {
    root: OwnedFd,
    heir: Option<Heir>,
    last: Mutex<Option<(PathBuf, Arc<OwnedFd>)>>,
}

impl Folders {
    /// Folders below an open directory.
    pub fn new(root: OwnedFd) -> Self {
        Self { root, heir: None, last: Mutex::new(None) }
    }

    /// The same, in which everything that root makes belongs to the owner of the directory.
    #[must_use]
    pub fn for_their_owner(self) -> Self {
        Self { heir: Heir::of(&self.root), ..self }
    }

    /// To whom belongs what is made in them, if it is somebody else.
    pub fn heir(&self) -> Option<Heir> {
        self.heir
    }

    /// The directory itself.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// The directory that a path lies in, and the path's last part. With `make`, missing directories are made.
    pub fn parent<'a>(&self, path: &'a Path, make: bool) -> Result<(Arc<OwnedFd>, &'a OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let known = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((known, handle)) = known
            && known.as_os_str().as_bytes() == folder.as_os_str().as_bytes()
        {
            return Ok((handle, name));
        }
        let handle = match parent(&self.root, path) {
            Err(Errno::NOENT) if make => make_directories(&self.root, folder, self.heir)?,
            opened => opened?.0,
        };
        let handle = Arc::new(handle);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((folder.to_owned(), Arc::clone(&handle)));
        Ok((handle, name))
    }

    /// Forgets the open directory; call it when one may have been renamed or removed.
    pub fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::{Read, Write};

    #[test]
    fn a_path_longer_than_the_kernel_takes_is_reached() {
        let home = tempfile::tempdir().expect("temporary directory");
        let root = OwnedFd::from(File::open(home.path()).expect("opened"));
        let deep: PathBuf = (0..60).map(|n| format!("{n:0>200}")).collect();
        make_directories(&root, &deep, None).expect("made");
        let path = deep.join("file");
        assert!(path.as_os_str().len() > 12_000);
        let file = open(&root, &path, OFlags::WRONLY | OFlags::CREATE, Mode::RUSR | Mode::WUSR).expect("created");
        File::from(file).write_all(b"deep").expect("written");
        let mut text = String::new();
        let file = open(&root, &path, OFlags::RDONLY, Mode::empty()).expect("opened");
        File::from(file).read_to_string(&mut text).expect("read");
        assert_eq!(text, "deep");
        let folders = Folders::new(root);
        assert_eq!(folders.parent(&path, false).expect("found").1, "file");
        assert_eq!(folders.parent(&deep.join("more/and/file"), true).expect("made").1, "file");
    }

    #[test]
    fn no_link_is_followed_and_nothing_above_is_reached() {
        let home = tempfile::tempdir().expect("temporary directory");
        fs::create_dir_all(home.path().join("root/folder")).expect("created");
        fs::write(home.path().join("outside"), "secret").expect("written");
        std::os::unix::fs::symlink("../outside", home.path().join("root/link")).expect("linked");
        std::os::unix::fs::symlink("folder", home.path().join("root/inner")).expect("linked");
        fs::write(home.path().join("root/folder/file"), "").expect("written");
        let root = OwnedFd::from(File::open(home.path().join("root")).expect("opened"));
        for steps in [open_piece::<&OwnedFd>, open_step_by_step::<&OwnedFd>] {
            let look = |path: &str| steps(&root, Path::new(path), OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty());
            assert!(look("folder/file").is_ok());
            for bad in ["link", "inner/file", "../outside", "folder/../../outside", "/etc/passwd"] {
                assert!(look(bad).is_err(), "{bad}");
            }
        }
        assert!(parent(&root, Path::new("inner/file")).is_err());
    }
}
