//! A store in a directory of a local file system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, AtFlags, CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, openat2};
use rustix::io::Errno;

use super::store::{Held, Item, ItemKind, Store, Writing};
use crate::durable::{self, Put};
use crate::error::{Error, Jet, Result, printable};
use crate::stream::buffer::BUFFER_ALIGNMENT;
use crate::stream::source::Attributes;

/// A directory that holds a repository.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    /// Open from the first moment on: a failed write-back since then shows in the next sync.
    handle: File,
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
            handle,
            direct: Arc::new(AtomicBool::new(true)),
            syncs_whole: syncs_whole(root)?,
        })
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    /// Opens for reading without following any link on the way, and without waiting for a fifo's writer.
    fn open_below(&self, path: &Path) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = match openat2(&self.handle, path, flags, Mode::empty(), resolve) {
            // kernels before 5.6: only the last part of the path is guarded
            Err(Errno::NOSYS) => rustix::fs::openat(&self.handle, path, flags, Mode::empty()),
            opened => opened,
        };
        opened.map(File::from)
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
struct LocalFile {
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

impl Store for LocalStore {
    fn describe(&self, path: &Path) -> PathBuf {
        self.at(path)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn Writing>> {
        let path = self.at(path);
        let open = || {
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).custom_flags(NO_FOLLOW).open(&path)
        };
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().unwrap_or(&self.root);
                make_directories(parent).map_err(|e| Error::io("create", parent, &e))?;
                open()
            }
            opened => opened,
        };
        let file = file.map_err(|e| Error::io("create", &path, &e))?;
        Ok(Box::new(LocalFile {
            path,
            file,
            written: 0,
            direct: false,
            offered: Arc::clone(&self.direct),
            sync: !self.syncs_whole,
        }))
    }

    fn open(&self, path: &Path, offset: u64, fresh: bool) -> Result<Box<dyn Read + Send>> {
        let opened = self.open_below(path);
        let path = self.at(path);
        let mut file = opened.map_err(|e| match e {
            Errno::LOOP => not_as_expected(&path, "a link, or below one"),
            Errno::NXIO => not_as_expected(&path, "a socket"),
            e => Error::io("open", &path, &e.into()),
        })?;
        let metadata = file.metadata().map_err(|e| Error::io("look at", &path, &e))?;
        if !metadata.is_file() {
            let what = if metadata.is_dir() { "a directory" } else { "a special file" };
            return Err(not_as_expected(&path, what));
        }
        if fresh {
            // Clean pages leave the cache, so that what is read comes from the disk; a file system may ignore the wish.
            let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
        }
        file.seek(SeekFrom::Start(offset)).map_err(|e| Error::io("read", &path, &e))?;
        Ok(Box::new(file))
    }

    fn put(&self, path: &Path, content: &[u8], put: Put) -> Result<()> {
        durable::write(&self.at(path), content, put)
    }

    fn make_directory(&self, path: &Path) -> Result<()> {
        let path = self.at(path);
        make_directories(&path).map_err(|e| Error::io("create", &path, &e))
    }

    fn make_link(&self, path: &Path, target: &Path) -> Result<()> {
        let path = self.at(path);
        let link = || match std::os::unix::fs::symlink(target, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&path)?;
                std::os::unix::fs::symlink(target, &path)
            }
            made => made,
        };
        let made = match link() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directories(path.parent().unwrap_or(&self.root)).and_then(|()| link())
            }
            made => made,
        };
        made.map_err(|e| Error::io("create the link", &path, &e))
    }

    fn dress(&self, path: &Path, attributes: &Attributes) -> Result<()> {
        let path = self.at(path);
        let metadata = fs::symlink_metadata(&path).map_err(|e| Error::io("look at", &path, &e))?;
        if metadata.is_dir() {
            let mode = Mode::from_raw_mode(attributes.mode & 0o777 | 0o700);
            rustix::fs::chmodat(CWD, &path, mode, AtFlags::empty())
                .map_err(|e| Error::io("set the mode of", &path, &e.into()))?;
        }
        rustix::fs::utimensat(CWD, &path, &modified(attributes), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| Error::io("set the times of", &path, &e.into()))
    }

    fn list(&self, path: &Path) -> Result<Vec<Item>> {
        let path = self.at(path);
        let error = |e: &io::Error| Error::io("list", &path, e);
        let metadata = fs::symlink_metadata(&path).map_err(|e| error(&e))?;
        if !metadata.is_dir() {
            return Err(not_as_expected(&path, if metadata.is_symlink() { "a link" } else { "no directory" }));
        }
        let mut items = Vec::new();
        for entry in fs::read_dir(&path).map_err(|e| error(&e))? {
            let entry = entry.map_err(|e| error(&e))?;
            let metadata = entry.metadata().map_err(|e| error(&e))?;
            let kind = match metadata.file_type() {
                kind if kind.is_file() => ItemKind::File,
                kind if kind.is_dir() => ItemKind::Directory,
                kind if kind.is_symlink() => ItemKind::Link,
                _ => ItemKind::Other,
            };
            items.push(Item { name: entry.file_name(), kind, size: metadata.len() });
        }
        items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(items)
    }

    fn link_target(&self, path: &Path) -> Result<PathBuf> {
        let path = self.at(path);
        fs::read_link(&path).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidInput => not_as_expected(&path, "no link"),
            _ => Error::io("read the link", &path, &e),
        })
    }

    fn promote(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (self.at(from), self.at(to));
        durable::rename(&from, &to, Put::New).map_err(|e| Error::io("publish as", &to, &e))?;
        for path in [&to, &from] {
            durable::sync_folder(path.parent().unwrap_or(&self.root))?;
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let path = self.at(path);
        let removed = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &path, &error)),
            _ => Ok(()),
        }
    }

    fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(&self.handle).map_err(|e| Error::io("sync", &self.root, &e.into()))
    }

    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn Held>>> {
        let path = self.at(path);
        let opened =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).custom_flags(NO_FOLLOW).open(&path);
        let file = opened.map_err(|e| Error::io("open the lock", &path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(LocalLock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path, &error)),
        }
    }

    fn free_bytes(&self) -> Result<Option<u64>> {
        let space = rustix::fs::statvfs(&self.root).map_err(|e| Error::io("look at", &self.root, &e.into()))?;
        Ok(Some(space.f_bavail.saturating_mul(space.f_frsize)))
    }
}

/// `syncfs` reports failed write-back since Linux 5.8 only, and a file system in user space may never hear of it.
fn syncs_whole(root: &Path) -> Result<bool> {
    let kind = rustix::fs::statfs(root).map_err(|e| Error::io("look at", root, &e.into()))?.f_type;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    Ok(is_at_least(&release, (5, 8)) && u64::try_from(kind).unwrap_or(0) != FUSE_MAGIC)
}

/// The kernel's number of file systems in user space.
const FUSE_MAGIC: u64 = 0x6573_5546;

/// Whether a kernel release such as `6.1.0-18-amd64` is at least this version.
fn is_at_least(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= version
}

/// A repository never follows a link that somebody put into it.
#[expect(clippy::cast_possible_wrap, reason = "the kernel's flags are bit patterns of 32 bits")]
const NO_FOLLOW: i32 = OFlags::NOFOLLOW.bits() as i32;

fn not_as_expected(path: &Path, what: &str) -> Error {
    Error::jet(Jet::FileInvalidType, format!("{} is {what}", printable(path))).file(path)
}

fn make_directories(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn modified(attributes: &Attributes) -> Timestamps {
    let nanoseconds = attributes.stamp.modified_ns;
    let seconds = nanoseconds.div_euclid(1_000_000_000);
    let rest = nanoseconds.rem_euclid(1_000_000_000);
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: i64::try_from(seconds).unwrap_or(0),
            tv_nsec: i64::try_from(rest).unwrap_or(0),
        },
    }
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
