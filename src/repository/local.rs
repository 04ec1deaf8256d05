//! A store in a directory of a local file system.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, AtFlags, FileType, Mode, OFlags, Stat, statat};
use rustix::io::Errno;

use super::store::{Held, Item, ItemKind, Node, Reading, Store, Writing};
use crate::attributes::modified;
use crate::beneath::{self, Folders};
use crate::durable::{self, Put};
use crate::error::{Error, Jet, Result, printable};
use crate::file_systems::FUSE;
use crate::heir;
use crate::stream::buffer::BUFFER_ALIGNMENT;
use crate::stream::source::{Attributes, Got};
use crate::stream::sparse::{STAT_BLOCK_BYTES, SparseFile};

/// A directory that holds a repository.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    /// Open from the first moment on: a failed write-back since then shows in the next sync.
    folders: Folders,
    /// Whether the file system has taken writes past its cache so far.
    direct: Arc<AtomicBool>,
    /// Whether one sync of the file system covers everything and reports what could not be written; otherwise each file
    /// is synced by itself.
    syncs_whole: bool,
}

impl LocalStore {
    /// Opens a directory that exists.
    pub fn open(root: &Path) -> Result<Self> {
        let handle = File::open(root).map_err(|e| Error::io("open", root, &e))?;
        Ok(Self {
            root: root.to_owned(),
            folders: Folders::new(handle.into()),
            direct: Arc::new(AtomicBool::new(true)),
            syncs_whole: syncs_whole(root)?,
        })
    }

    /// The same as a store of its own: what root makes in it belongs to the owner of the directory.
    #[must_use]
    pub fn for_its_owner(self) -> Self {
        Self { folders: self.folders.for_their_owner(), ..self }
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    /// The open directory that a path lies in, and its name there; with `make`, missing directories are made.
    fn parent<'a>(&self, path: &'a Path, make: bool) -> Result<(Arc<OwnedFd>, &'a OsStr), Errno> {
        self.folders.parent(path, make)
    }

    /// Creates a file of bulk data; directories above it are made.
    pub fn create_file(&self, path: &Path, put: Put) -> Result<LocalFile> {
        let error = |e| self.error("create", path, e);
        let (folder, name) = self.parent(path, true).map_err(error)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(&folder, name, flags, Mode::RUSR | Mode::WUSR);
        let file = match create() {
            // A new file, never what stands there: that may have another name, in another partial or in a backup.
            Err(Errno::EXIST) if put == Put::Replace => {
                rustix::fs::unlinkat(&folder, name, AtFlags::empty()).and_then(|()| create())
            }
            made => made,
        };
        let file = File::from(file.map_err(error)?);
        if let Some(heir) = self.folders.heir() {
            heir.take_file(&file);
        }
        Ok(LocalFile {
            path: self.at(path),
            file,
            written: 0,
            direct: false,
            offered: Arc::clone(&self.direct),
            sync: !self.syncs_whole,
        })
    }

    /// The open directories below the store.
    pub fn folders(&self) -> &Folders {
        &self.folders
    }

    fn stat(&self, path: &Path) -> Result<Stat, Errno> {
        if path.as_os_str().is_empty() {
            return rustix::fs::fstat(self.folders.root());
        }
        let (folder, name) = self.parent(path, false)?;
        statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn error(&self, action: &str, path: &Path, errno: Errno) -> Error {
        self.blame(Error::io(action, &self.at(path), &errno.into()), path)
    }

    fn blame(&self, error: Error, path: &Path) -> Error {
        heir::blame(error, &self.root, &self.at(path))
    }
}

#[derive(Debug)]
struct LocalLock(#[expect(dead_code, reason = "the lock lives as long as its file")] File);

impl Held for LocalLock {}

/// Chunks of at least so many bytes go to the disk past the page cache.
const DIRECT_BYTES_MIN: usize = 256 * 1024;

/// A file being written: whole chunks of large files past the page cache, everything else through it.
///
/// Past the cache a copy of the data is saved, the last sync is short, and nothing that others need is pushed out of
/// memory. Where a file system does not offer that, everything goes through the cache.
#[derive(Debug)]
pub struct LocalFile {
    path: PathBuf,
    file: File,
    written: u64,
    direct: bool,
    /// Whether the store's file system has taken direct writes so far.
    offered: Arc<AtomicBool>,
    /// Whether this file must be synced by itself.
    sync: bool,
}

impl LocalFile {
    /// The file behind it, with everything handed to the file system.
    pub fn into_file(mut self) -> Result<File> {
        self.flush()?;
        Ok(self.file)
    }

    /// Whether a chunk may be written past the cache: its place in memory and in the file must be aligned.
    fn suits_direct(&self, chunk: &[u8]) -> bool {
        let aligned = |bytes: usize| bytes.is_multiple_of(BUFFER_ALIGNMENT);
        chunk.len() >= DIRECT_BYTES_MIN
            && aligned(chunk.len())
            && chunk.as_ptr().align_offset(BUFFER_ALIGNMENT) == 0
            && self.written.is_multiple_of(BUFFER_ALIGNMENT as u64)
            && self.offered.load(Ordering::Relaxed)
    }

    /// Switches between writing past the cache and through it; false where the file system refuses.
    fn set_direct(&mut self, direct: bool) -> bool {
        if self.direct != direct {
            let flags = if direct { OFlags::DIRECT } else { OFlags::empty() };
            if rustix::fs::fcntl_setfl(&self.file, flags).is_err() {
                self.offered.store(false, Ordering::Relaxed);
                return false;
            }
            self.direct = direct;
        }
        true
    }

    fn write_some(&mut self, chunk: &[u8]) -> io::Result<usize> {
        let direct = self.suits_direct(chunk) && self.set_direct(true);
        if !direct {
            self.set_direct(false);
        }
        match self.file.write(chunk) {
            // The flag was taken, but not the write: from here on through the cache.
            Err(error) if direct && error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                self.offered.store(false, Ordering::Relaxed);
                self.set_direct(false);
                self.file.write(chunk)
            }
            written => written,
        }
    }
}

impl Writing for LocalFile {
    fn write(&mut self, mut chunk: &[u8]) -> Result<()> {
        while !chunk.is_empty() {
            let written = match self.write_some(chunk) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                written => written,
            };
            let written = written.map_err(|e| Error::io("write", &self.path, &e))?;
            self.written += written as u64;
            chunk = &chunk[written..];
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.sync { self.file.sync_data().map_err(|e| Error::io("sync", &self.path, &e)) } else { Ok(()) }
    }

    fn is_covered(&self) -> bool {
        !self.sync
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        self.written = self.written.saturating_add(bytes);
        // A length of its own: a hole at the end has no byte behind it, and nothing is lost if one follows.
        let moved = self.file.set_len(self.written).and_then(|()| self.file.seek(SeekFrom::Start(self.written)));
        moved.map(drop).map_err(|e| Error::io("write", &self.path, &e))
    }

    fn finish(mut self: Box<Self>, attributes: Option<&Attributes>) -> Result<()> {
        self.flush()?;
        let Some(attributes) = attributes else { return Ok(()) };
        let error = |what: &str, e: Errno| Error::io(what, &self.path, &e.into());
        // The owner can always read, move and delete the copy; nobody can run it as somebody else.
        let mode = Mode::from_raw_mode(attributes.mode & 0o777 | 0o600);
        rustix::fs::fchmod(&self.file, mode).map_err(|e| error("set the mode of", e))?;
        rustix::fs::futimens(&self.file, &modified(attributes)).map_err(|e| error("set the times of", e))
    }
}

/// A file that is read, and knows where its holes are.
struct LocalReading(SparseFile);

impl Read for LocalReading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Reading for LocalReading {
    fn next(&mut self, buffer: &mut [u8]) -> io::Result<Got> {
        self.0.next(buffer)
    }
}

impl Store for LocalStore {
    fn describe(&self, path: &Path) -> PathBuf {
        self.at(path)
    }

    fn local_path(&self, path: &Path) -> Option<PathBuf> {
        Some(self.at(path))
    }

    fn create(&self, path: &Path) -> Result<Box<dyn Writing>> {
        Ok(Box::new(self.create_file(path, Put::Replace)?))
    }

    fn go_on(&self, path: &Path, bytes: u64) -> Result<Box<dyn Writing>> {
        let (folder, name) = self.parent(path, false).map_err(|e| self.error("open", path, e))?;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, name, flags, Mode::empty());
        let mut file = File::from(file.map_err(|e| self.error("open", path, e))?);
        let names = rustix::fs::fstat(&file).map_err(|e| self.error("look at", path, e))?.st_nlink;
        if names > 1 {
            return Err(not_as_expected(&self.at(path), "a file with another name, which nobody may write into"));
        }
        let placed = file.set_len(bytes).and_then(|()| file.seek(SeekFrom::Start(bytes)));
        placed.map_err(|e| Error::io("write", &self.at(path), &e))?;
        let (offered, sync) = (Arc::clone(&self.direct), !self.syncs_whole);
        Ok(Box::new(LocalFile { path: self.at(path), file, written: bytes, direct: false, offered, sync }))
    }

    fn open(&self, path: &Path, offset: u64, fresh: bool) -> Result<Box<dyn Reading>> {
        let opened = self.parent(path, false).and_then(|(folder, name)| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            rustix::fs::openat(folder, name, flags, Mode::empty())
        });
        let described = self.at(path);
        let file = File::from(opened.map_err(|e| match e {
            Errno::LOOP => not_as_expected(&described, "a link, or below one"),
            Errno::NOTDIR => not_as_expected(&described, "below something that is no directory"),
            Errno::NXIO => not_as_expected(&described, "a socket"),
            e => self.error("open", path, e),
        })?);
        let metadata = file.metadata().map_err(|e| Error::io("look at", &described, &e))?;
        if !metadata.is_file() {
            let what = if metadata.is_dir() { "a directory" } else { "a special file" };
            return Err(not_as_expected(&described, what));
        }
        if fresh {
            // Clean pages leave the cache, so that what is read comes from the disk; a file system may ignore the wish.
            let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
        }
        let allocated = metadata.blocks().saturating_mul(STAT_BLOCK_BYTES);
        let reading = SparseFile::new(file, offset, metadata.len(), allocated);
        Ok(Box::new(LocalReading(reading.map_err(|e| Error::io("read", &described, &e))?)))
    }

    fn put(&self, path: &Path, content: &[u8], put: Put) -> Result<()> {
        durable::write_for(self.folders.heir(), &self.at(path), content, put).map_err(|error| self.blame(error, path))
    }

    fn make_directory(&self, path: &Path) -> Result<()> {
        let made = match self.parent(path, true) {
            Ok((folder, name)) => match rustix::fs::mkdirat(&folder, name, Mode::RWXU) {
                Err(Errno::EXIST) => match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => Ok(()),
                    _ => Err(Errno::EXIST),
                },
                Ok(()) => {
                    if let Some(heir) = self.folders.heir() {
                        heir.take_directory(&folder, name);
                    }
                    Ok(())
                }
                made => made,
            },
            Err(Errno::INVAL) => Ok(()), // the store itself
            Err(errno) => Err(errno),
        };
        made.map_err(|e| self.error("create", path, e))
    }

    fn make_link(&self, path: &Path, target: &Path) -> Result<()> {
        let error = |e| self.error("create the link", path, e);
        let (folder, name) = self.parent(path, true).map_err(error)?;
        let made = match rustix::fs::symlinkat(target, &folder, name) {
            Err(Errno::EXIST) => rustix::fs::unlinkat(&folder, name, AtFlags::empty())
                .and_then(|()| rustix::fs::symlinkat(target, &folder, name)),
            made => made,
        };
        made.map_err(error)
    }

    fn make_hard_link(&self, first: &Path, path: &Path) -> Result<bool> {
        let error = |e| self.error("create the link", path, e);
        let (from, old) = beneath::parent(self.folders.root(), first).map_err(error)?;
        let (folder, name) = self.parent(path, true).map_err(error)?;
        let made = match rustix::fs::linkat(&from, old, &folder, name, AtFlags::empty()) {
            Err(Errno::EXIST) => rustix::fs::unlinkat(&folder, name, AtFlags::empty())
                .and_then(|()| rustix::fs::linkat(&from, old, &folder, name, AtFlags::empty())),
            made => made,
        };
        match made {
            Ok(()) => Ok(true),
            Err(errno) if cannot_link(errno) => Ok(false),
            Err(errno) => Err(error(errno)),
        }
    }

    fn size(&self, path: &Path) -> Result<Option<u64>> {
        match self.stat(path) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => Ok(u64::try_from(stat.st_size).ok()),
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(self.error("look at", path, errno)),
        }
    }

    #[allow(clippy::useless_conversion, reason = "some machines count names in 32 bits")]
    fn node(&self, path: &Path) -> Result<Option<Node>> {
        match self.stat(path) {
            Ok(stat) => Ok(Some(Node { number: stat.st_ino, names: stat.st_nlink.into() })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(self.error("look at", path, errno)),
        }
    }

    fn is_same_file(&self, first: &Path, path: &Path) -> Result<bool> {
        let beside = beneath::stat(self.folders.root(), first);
        let other = self.stat(path).map_err(|e| self.error("look at", path, e))?;
        Ok(beside.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (other.st_dev, other.st_ino)))
    }

    fn dress(&self, path: &Path, attributes: &Attributes) -> Result<()> {
        let (folder, name) = self.parent(path, false).map_err(|e| self.error("look at", path, e))?;
        let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| self.error("look at", path, e))?;
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            let mode = Mode::from_raw_mode(attributes.mode & 0o777 | 0o700);
            rustix::fs::chmodat(&folder, name, mode, AtFlags::empty())
                .map_err(|e| self.error("set the mode of", path, e))?;
        }
        rustix::fs::utimensat(&folder, name, &modified(attributes), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.error("set the times of", path, e))
    }

    fn list(&self, path: &Path) -> Result<Vec<Item>> {
        let error = |e| self.error("list", path, e);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = match beneath::open(self.folders.root(), path, flags, Mode::empty()) {
            Err(errno @ (Errno::LOOP | Errno::NOTDIR)) => {
                let is_link = self.stat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink());
                let what = if is_link || errno == Errno::LOOP { "a link" } else { "no directory" };
                return Err(not_as_expected(&self.at(path), what));
            }
            opened => opened.map_err(error)?,
        };
        let mut items = Vec::new();
        for name in beneath::names(&folder).map_err(error)? {
            let stat = statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(error)?;
            let kind = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => ItemKind::File,
                FileType::Directory => ItemKind::Directory,
                FileType::Symlink => ItemKind::Link,
                _ => ItemKind::Other,
            };
            items.push(Item { name, kind, size: u64::try_from(stat.st_size).unwrap_or(0) });
        }
        Ok(items)
    }

    fn link_target(&self, path: &Path) -> Result<PathBuf> {
        let target = self.parent(path, false).and_then(|(folder, name)| {
            let target = rustix::fs::readlinkat(folder, name, Vec::new())?;
            Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
        });
        target.map_err(|e| match e {
            Errno::INVAL => not_as_expected(&self.at(path), "no link"),
            Errno::LOOP | Errno::NOTDIR => not_as_expected(&self.at(path), "below something that is no directory"),
            e => self.error("read the link", path, e),
        })
    }

    fn promote(&self, from: &Path, to: &Path) -> Result<()> {
        self.folders.forget();
        let (from, to) = (self.at(from), self.at(to));
        durable::rename(&from, &to, Put::New)
            .map_err(|e| heir::blame(Error::io("publish as", &to, &e), &self.root, &to))?;
        for path in [&to, &from] {
            durable::sync_folder(path.parent().unwrap_or(&self.root))?;
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.folders.forget();
        let error = |e| self.error("remove", path, e);
        let (folder, name) = match beneath::parent(self.folders.root(), path) {
            Err(Errno::NOENT) => return Ok(()),
            found => found.map_err(error)?,
        };
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => match fs::remove_dir_all(self.at(path)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    Err(self.blame(Error::io("remove", &self.at(path), &e), path))
                }
                _ => Ok(()),
            },
            Err(errno) => Err(error(errno)),
        }
    }

    fn sweep(&self, path: &Path) -> Result<u64> {
        match self.stat(path) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => durable::sweep_temporaries(&self.at(path)),
            Ok(_) => Err(not_as_expected(&self.at(path), "no directory")),
            Err(Errno::NOENT) => Ok(0),
            Err(errno) => Err(self.error("look at", path, errno)),
        }
    }

    fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(self.folders.root()).map_err(|e| Error::io("sync", &self.root, &e.into()))
    }

    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn Held>>> {
        let (name, path) = (path, self.at(path));
        let opened =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).custom_flags(NO_FOLLOW).open(&path);
        let file = opened.map_err(|e| self.blame(Error::io("open the lock", &path, &e), name))?;
        if let Some(heir) = self.folders.heir() {
            heir.take_file(&file);
        }
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(LocalLock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path, &error)),
        }
    }

    fn try_hold(&self, folder: &Path, alone: bool) -> Result<Option<Box<dyn Held>>> {
        let (parent, name) = self.parent(folder, false).map_err(|e| self.error("open", folder, e))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&parent, name, flags, Mode::empty());
        let file = File::from(opened.map_err(|e| self.error("open", folder, e))?);
        match if alone { file.try_lock() } else { file.try_lock_shared() } {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            // Where nothing can be locked nobody removes anything either.
            Err(TryLockError::Error(error)) if !alone && has_no_locks(&error) => {}
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &self.at(folder), &error)),
        }
        // It may have been renamed while we were at it.
        let look = || Ok((rustix::fs::fstat(&file)?, statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?));
        let (held, named) = look().map_err(|e: io::Error| Error::io("look at", &self.at(folder), &e))?;
        if (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino) {
            return Err(Error::io("lock", &self.at(folder), &io::ErrorKind::NotFound.into()));
        }
        Ok(Some(Box::new(LocalLock(file))))
    }

    fn free_bytes(&self) -> Result<Option<u64>> {
        let space = rustix::fs::statvfs(&self.root).map_err(|e| Error::io("look at", &self.root, &e.into()))?;
        Ok(Some(space.f_bavail.saturating_mul(space.f_frsize)))
    }
}

/// Whether a file system has no locks at all.
fn has_no_locks(error: &io::Error) -> bool {
    const NONE: [Errno; 3] = [Errno::NOLCK, Errno::NOTSUP, Errno::NOSYS];
    NONE.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// `syncfs` reports failed write-back since Linux 5.8 only, and a file system in user space may never hear of it.
fn syncs_whole(root: &Path) -> Result<bool> {
    let kind = rustix::fs::statfs(root).map_err(|e| Error::io("look at", root, &e.into()))?.f_type;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    Ok(is_at_least(&release, (5, 8)) && u64::try_from(kind).unwrap_or(0) != FUSE)
}

/// Whether a kernel release such as `6.1.0-18-amd64` is at least this version.
fn is_at_least(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= version
}

/// Whether an answer means that a file can have no further name here.
pub fn cannot_link(errno: Errno) -> bool {
    [Errno::MLINK, Errno::PERM, Errno::NOTSUP, Errno::NOSYS].contains(&errno)
}

/// A repository never follows a link that somebody put into it.
#[expect(clippy::cast_possible_wrap, reason = "the kernel's flags are bit patterns of 32 bits")]
const NO_FOLLOW: i32 = OFlags::NOFOLLOW.bits() as i32;

fn not_as_expected(path: &Path, what: &str) -> Error {
    Error::jet(Jet::FileInvalidType, format!("{} is {what}", printable(path))).file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_compare_as_numbers() {
        for (release, new_enough) in [
            ("6.18.44-fc", true),
            ("5.10.0-28-amd64", true),
            ("5.8", true),
            ("5.4.0", false),
            ("4.19", false),
            ("", false),
        ] {
            assert_eq!(is_at_least(release, (5, 8)), new_enough, "{release}");
        }
    }
}
