//! The `files` engine: any directory, taken as it is. Logs are what `--log GLOB` names.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::{Deletion, Engine, EngineName, Entry, HeldLog, LeftOut, Role};
use crate::durable;
use crate::error::{Error, ExitCode, Jet, Result};
use crate::stream::source::{Attributes, Opened, Settled, Source, Stamp};
use crate::stream::stop::StopToken;

/// A directory, opened once; every file is reached from this handle, never through a symbolic link.
#[derive(Debug)]
pub struct FilesEngine {
    storage: PathBuf,
    root: OwnedFd,
    logs: GlobSet,
    /// Directories (relative to the storage) that belong to jetbak itself.
    own: Vec<PathBuf>,
}

impl FilesEngine {
    /// Opens a storage. `logs` are globs (decision 30: on bytes); `own` are absolute paths to leave out.
    pub fn open(storage: &Path, logs: &[String], own: &[PathBuf]) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(storage, flags, Mode::empty())
            .map_err(|e| Error::io("open", storage, &e.into()).hint(PERMISSION_HINT))?;
        let own = own.iter().filter_map(|path| path.strip_prefix(storage).ok()).map(Path::to_owned).collect();
        Ok(Self { storage: storage.to_owned(), root, logs: compile(logs)?, own })
    }

    fn walk(&self, stop: &StopToken, visit: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
        // A stack of sorted listings: the order is depth first, each directory before what lies in it.
        let mut stack = vec![self.children(Path::new(""))?.into_iter()];
        while let Some(level) = stack.last_mut() {
            let Some(child) = level.next() else {
                stack.pop();
                continue;
            };
            stop.check()?;
            let found = self.look(child)?;
            let descend = found.as_ref().is_some_and(|found| found.kind == FileKind::Directory);
            let Some(found) = found else { continue };
            let path = found.path.clone();
            visit(found)?;
            if descend && !self.own.contains(&path) {
                stack.push(self.children(&path)?.into_iter());
            }
        }
        Ok(())
    }

    fn children(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let absolute = self.storage.join(folder);
        let entries = match fs::read_dir(&absolute) {
            Ok(entries) => entries,
            // gone between its parent's listing and now
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.as_os_str().is_empty() => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(Error::io("list", &absolute, &error).hint(PERMISSION_HINT)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(|e| Error::io("list", &absolute, &e))?.file_name());
        }
        names.sort_unstable();
        Ok(names.into_iter().map(|name| folder.join(name)).collect())
    }

    fn look(&self, path: PathBuf) -> Result<Option<Found>> {
        let absolute = self.storage.join(&path);
        let metadata = match fs::symlink_metadata(&absolute) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("look at", &absolute, &error)),
        };
        let kind = metadata.file_type();
        let kind = if kind.is_dir() {
            FileKind::Directory
        } else if kind.is_symlink() {
            FileKind::Link
        } else if kind.is_file() {
            if self.is_log(&path) { FileKind::Log } else { FileKind::Regular }
        } else {
            FileKind::Special
        };
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Some(Found { path, kind, size: metadata.len(), modified }))
    }

    fn is_log(&self, path: &Path) -> bool {
        self.logs.is_match(path)
    }

    /// Opens below the root without ever following a symbolic link, and without waiting for a fifo's writer.
    fn open_below(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let open = |flags| match openat2(&self.root, path, flags, Mode::empty(), resolve) {
            Err(Errno::NOSYS) => self.open_step_by_step(path, flags),
            opened => opened,
        };
        match open(flags | OFlags::NOATIME) {
            // only the owner may leave the access time alone
            Err(Errno::PERM) => Ok(File::from(open(flags)?)),
            opened => Ok(File::from(opened?)),
        }
    }

    /// The same for kernels before 5.6, which have no `openat2`.
    fn open_step_by_step(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let steps = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = rustix::fs::openat(&self.root, ".", steps, Mode::empty())?;
        for part in path.parent().into_iter().flat_map(Path::components) {
            folder = rustix::fs::openat(&folder, part.as_os_str(), steps, Mode::empty())?;
        }
        rustix::fs::openat(&folder, path.file_name().unwrap_or_default(), flags, Mode::empty())
    }

    /// The directory that a path lies in, reached without following a link, and the path's last part.
    fn folder_of<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => {
                self.open_below(parent, OFlags::RDONLY | OFlags::DIRECTORY)?.into()
            }
            _ => self.root.try_clone()?,
        };
        Ok((folder, path.file_name().unwrap_or_default()))
    }

    fn cannot_read(&self, path: &Path, error: &io::Error) -> Error {
        let absolute = self.storage.join(path);
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => self.vanished(path),
            io::ErrorKind::PermissionDenied => Error::io("read", &absolute, error).hint(PERMISSION_HINT),
            // a link, or a socket
            _ if [Some(Errno::LOOP), Some(Errno::NXIO)].contains(&Errno::from_io_error(error)) => self.replaced(path),
            _ => Error::io("read", &absolute, error),
        }
        .file(path)
    }

    fn vanished(&self, path: &Path) -> Error {
        unfit(path, &self.storage, "vanished after the backup began")
    }

    fn replaced(&self, path: &Path) -> Error {
        unfit(path, &self.storage, "was replaced by something else after the backup began")
    }
}

/// What to do about a storage that may not be read.
pub const PERMISSION_HINT: &str = "Run jetbak as a user who may read everything in the storage.";

fn unfit(path: &Path, storage: &Path, what: &str) -> Error {
    let path_text = crate::error::printable(storage.join(path));
    Error::new(ExitCode::Unfit, format!("{path_text} {what}"))
        .file(path)
        .hint("Back up while nothing in the storage is added, moved or removed, or from a snapshot.")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Regular,
    Log,
    Directory,
    Link,
    Special,
}

struct Found {
    path: PathBuf,
    kind: FileKind,
    size: u64,
    modified: (i64, i64),
}

impl Engine for FilesEngine {
    fn name(&self) -> EngineName {
        EngineName::Files
    }

    fn survey(&self, stop: &StopToken, take: &mut dyn FnMut(Entry) -> Result<()>) -> Result<Vec<LeftOut>> {
        let mut left_out = Vec::new();
        self.walk(stop, &mut |found| {
            let role = match found.kind {
                FileKind::Directory if self.own.contains(&found.path) => {
                    left_out.push(LeftOut::new(&found.path, "jetbak's own state directory"));
                    return Ok(());
                }
                FileKind::Special => {
                    left_out.push(LeftOut::new(&found.path, "a socket, fifo or device"));
                    return Ok(());
                }
                FileKind::Log => return Ok(()),
                FileKind::Regular => Role::Database,
                FileKind::Directory => Role::Directory,
                FileKind::Link => Role::Link,
            };
            let modified_ns = nanoseconds(found.modified.0, found.modified.1);
            take(Entry { path: found.path, role, size: if role.is_file() { found.size } else { 0 }, modified_ns })
        })?;
        Ok(left_out)
    }

    fn list_logs(&self, stop: &StopToken) -> Result<Vec<Entry>> {
        if self.logs.is_empty() {
            return Ok(Vec::new());
        }
        let mut logs = Vec::new();
        self.walk(stop, &mut |found| {
            if found.kind == FileKind::Log {
                logs.push(found);
            }
            Ok(())
        })?;
        logs.sort_by(|a, b| compare_logs((&a.path, a.modified), (&b.path, b.modified)));
        Ok(logs
            .into_iter()
            .map(|found| {
                let modified_ns = nanoseconds(found.modified.0, found.modified.1);
                Entry { path: found.path, role: Role::Log, size: found.size, modified_ns }
            })
            .collect())
    }

    fn open(&self, entry: &Entry) -> Result<Opened> {
        let path = &entry.path;
        match entry.role {
            Role::Directory => {
                let folder = self.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY);
                let folder = folder.map_err(|e| match e.kind() {
                    io::ErrorKind::NotADirectory => self.replaced(path), // a link is no directory either
                    _ => self.cannot_read(path, &e),
                })?;
                Ok(Opened::Directory(attributes(&folder).map_err(|e| self.cannot_read(path, &e))?))
            }
            Role::Link => {
                let (folder, name) = self.folder_of(path).map_err(|e| self.cannot_read(path, &e))?;
                let target = rustix::fs::readlinkat(&folder, name, Vec::new());
                let target = target.map_err(|e| match e {
                    Errno::INVAL => self.replaced(path),
                    e => self.cannot_read(path, &e.into()),
                })?;
                let attributes = stat(&folder, name).map_err(|e| self.cannot_read(path, &e))?;
                let target = PathBuf::from(OsStr::from_bytes(target.as_bytes()));
                Ok(Opened::Link(attributes, target))
            }
            Role::Database | Role::Log => {
                let file = self.open_below(path, OFlags::RDONLY).map_err(|e| self.cannot_read(path, &e))?;
                let metadata = file.metadata().map_err(|e| self.cannot_read(path, &e))?;
                if !metadata.is_file() {
                    return Err(self.replaced(path));
                }
                let before = attributes(&file).map_err(|e| self.cannot_read(path, &e))?;
                let root = self.root.try_clone().map_err(|e| Error::io("open", &self.storage, &e))?;
                let storage = self.storage.clone();
                let left = before.stamp.size;
                Ok(Opened::Data(Box::new(PlainFile { storage, root, path: path.clone(), file, before, left })))
            }
        }
    }

    fn truncatable(&self, held: &[HeldLog]) -> Vec<HeldLog> {
        needless(held)
    }

    fn delete_log(&self, log: &HeldLog) -> Result<Deletion> {
        let absolute = self.storage.join(&log.path);
        let file = match self.open_below(&log.path, OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Deletion::Missing),
            Err(error) => return Err(Error::io("open", &absolute, &error).file(&log.path)),
        };
        let now = attributes(&file).map_err(|e| Error::io("look at", &absolute, &e))?.stamp;
        if let Some(what) = difference(&log.stamp, &now) {
            return Ok(Deletion::Changed(what));
        }
        let (folder, name) = self.folder_of(&log.path).map_err(|e| Error::io("open", &absolute, &e))?;
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) => Ok(Deletion::Deleted),
            Err(Errno::NOENT) => Ok(Deletion::Missing),
            Err(errno) => Err(Error::io("delete", &absolute, &errno.into())
                .file(&log.path)
                .hint("The backup is published and safe. Mend this, then run `jetbak truncate` again.")),
        }
    }

    fn settle_deletions(&self, logs: &[HeldLog]) -> Result<()> {
        let mut folders: Vec<&Path> = logs.iter().filter_map(|log| log.path.parent()).collect();
        folders.sort_unstable();
        folders.dedup();
        folders.into_iter().try_for_each(|folder| durable::sync_folder(&self.storage.join(folder)))
    }
}

/// A regular file: as many bytes as it had when it was opened, then a look whether it held still.
struct PlainFile {
    storage: PathBuf,
    root: OwnedFd,
    path: PathBuf,
    file: File,
    before: Attributes,
    left: u64,
}

impl Source for PlainFile {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        // Never more than the file had at first: one that grows for ever ends here, and shows in `finish`.
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        loop {
            match self.file.read(&mut buffer[..want]) {
                Ok(got) => {
                    self.left -= got as u64;
                    return Ok(got);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.storage.join(&self.path), &error).file(&self.path)),
            }
        }
    }

    fn finish(self: Box<Self>) -> Result<Settled> {
        let error = |e: &io::Error| Error::io("look at", &self.storage.join(&self.path), e).file(&self.path);
        let after = attributes(&self.file).map_err(|e| error(&e))?;
        if let Some(what) = difference(&self.before.stamp, &after.stamp) {
            return Ok(Settled::Changed(what));
        }
        if self.left > 0 {
            return Ok(Settled::Changed("it became shorter".to_owned()));
        }
        // The same name must still mean the same file: a new one renamed over it is a change too.
        match rustix::fs::statat(&self.root, &self.path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == (after.stamp.device, after.stamp.inode) => {}
            Ok(_) => return Ok(Settled::Changed("another file took its name".to_owned())),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                return Ok(Settled::Changed("it was removed".to_owned()));
            }
            Err(errno) => return Err(error(&errno.into())),
        }
        Ok(Settled::Still(after))
    }
}

fn stat(folder: &OwnedFd, name: &OsStr) -> io::Result<Attributes> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(Attributes {
        stamp: Stamp {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified_ns: nanoseconds(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            changed_ns: nanoseconds(stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0)),
        },
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
    })
}

fn attributes(file: &File) -> io::Result<Attributes> {
    let metadata = file.metadata()?;
    Ok(Attributes {
        stamp: Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        },
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

fn difference(before: &Stamp, after: &Stamp) -> Option<String> {
    let what = if (before.device, before.inode) != (after.device, after.inode) {
        "another file took its name".to_owned()
    } else if before.size != after.size {
        format!("its size went from {} to {} bytes", before.size, after.size)
    } else if before.modified_ns != after.modified_ns {
        "its modification time changed".to_owned()
    } else if before.changed_ns != after.changed_ns {
        "its attributes changed".to_owned()
    } else {
        return None;
    };
    Some(what)
}

/// Globs as `--log` takes them: without a slash they match a file's name anywhere, with one the path from the storage.
fn compile(globs: &[String]) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        if glob.trim().is_empty() || glob.ends_with('/') {
            let message = format!("the pattern {glob:?} names no file");
            return Err(Error::jet(Jet::InvalidParameter, message).hint("An empty one would take every file."));
        }
        let pattern = match glob.strip_prefix('/') {
            Some(anchored) => anchored.to_owned(),
            None if glob.contains('/') => glob.clone(),
            None => format!("**/{glob}"),
        };
        let compiled = GlobBuilder::new(&pattern).literal_separator(true).build().map_err(|e| {
            Error::jet(Jet::InvalidParameter, format!("the pattern {glob:?} cannot be understood: {}", e.kind()))
        })?;
        set.add(compiled);
    }
    set.build().map_err(|e| Error::jet(Jet::InvalidParameter, format!("the patterns are too large: {e}")))
}

/// The order of logs: by the last number in the name, then by modification time, then by name.
fn compare_logs(a: (&Path, (i64, i64)), b: (&Path, (i64, i64))) -> Ordering {
    let number = |path: &Path| last_number(path.file_name().unwrap_or_default().as_bytes());
    let (left, right) = (number(a.0), number(b.0));
    let by_number = match (&left, &right) {
        (Some(left), Some(right)) => left.len().cmp(&right.len()).then_with(|| left.cmp(right)),
        _ => left.is_some().cmp(&right.is_some()),
    };
    by_number.then_with(|| a.1.cmp(&b.1)).then_with(|| a.0.cmp(b.0))
}

/// The logs that may go. One glob may name several streams, and what an application still writes must stay: the newest
/// by number of each stream (the files of one directory whose names differ in the last number only), the one that was
/// written last in each directory, and every log without a number, because nothing says that another one followed it.
/// Within a stream nothing goes that is newer than one that stays: no gap is left.
fn needless(held: &[HeldLog]) -> Vec<HeldLog> {
    let mut newest_of_stream = BTreeMap::new();
    let mut newest_of_folder: BTreeMap<&Path, usize> = BTreeMap::new();
    for (index, log) in held.iter().enumerate() {
        let folder = log.path.parent().unwrap_or(Path::new(""));
        if let Some(stream) = stream_of(log) {
            newest_of_stream.insert((folder, stream), index); // they come oldest first
        }
        let newest = newest_of_folder.entry(folder).or_insert(index);
        if log.stamp.modified_ns >= held[*newest].stamp.modified_ns {
            *newest = index;
        }
    }
    let stays: BTreeSet<usize> = newest_of_stream.into_values().chain(newest_of_folder.into_values()).collect();
    let mut kept_streams = BTreeSet::new();
    let mut going = Vec::new();
    for (index, log) in held.iter().enumerate() {
        let Some(stream) = stream_of(log) else { continue };
        let stream = (log.path.parent(), stream);
        if stays.contains(&index) || kept_streams.contains(&stream) {
            kept_streams.insert(stream);
        } else {
            going.push(log.clone());
        }
    }
    going
}

/// A log's name around its last number; none without a number.
fn stream_of(log: &HeldLog) -> Option<(&[u8], &[u8])> {
    let name = log.path.file_name().unwrap_or_default().as_bytes();
    let digits = last_digits(name)?;
    Some((&name[..digits.start], &name[digits.end..]))
}

/// The digits of the last number in a name, upper case and without leading zeros: numbers of any length compare by
/// length, then bytes.
fn last_number(name: &[u8]) -> Option<Vec<u8>> {
    let digits = &name[last_digits(name)?];
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    Some(digits[zeros..].to_ascii_uppercase())
}

/// Hexadecimal digits in a row from here on are one number, as in the names of write-ahead logs.
const HEX_DIGITS_MIN: usize = 8;

/// Where the last number of a name stands: its last digits, or the whole hexadecimal number that they belong to.
fn last_digits(name: &[u8]) -> Option<Range<usize>> {
    let last = name.iter().rposition(u8::is_ascii_digit)?;
    let run = |is_digit: fn(&u8) -> bool| {
        let begin = name[..last].iter().rposition(|byte| !is_digit(byte)).map_or(0, |before| before + 1);
        let length = name[last..].iter().take_while(|byte| is_digit(byte)).count();
        begin..last + length
    };
    let hexadecimal = run(u8::is_ascii_hexdigit);
    Some(if hexadecimal.len() >= HEX_DIGITS_MIN { hexadecimal } else { run(u8::is_ascii_digit) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: &[(&str, i64)]) -> Vec<String> {
        let mut names = names.to_vec();
        names.sort_by(|a, b| compare_logs((Path::new(a.0), (a.1, 0)), (Path::new(b.0), (b.1, 0))));
        names.into_iter().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn logs_go_by_number_then_time_then_name() {
        assert_eq!(sorted(&[("wal.10", 0), ("wal.9", 9), ("wal.0008", 5)]), ["wal.0008", "wal.9", "wal.10"]);
        assert_eq!(sorted(&[("b.log", 2), ("a.log", 3), ("c.log", 2)]), ["b.log", "c.log", "a.log"]);
        assert_eq!(sorted(&[("x1.log", 0), ("current.log", 9)]), ["current.log", "x1.log"]);
        let huge = "w99999999999999999999999999";
        assert_eq!(sorted(&[(huge, 0), ("w100000000000000000000000000", 0)]), [huge, "w100000000000000000000000000"]);
    }

    /// Which of these logs (name, modification time) go, when they are held in the order in which they are listed.
    fn going(logs: &[(&str, i64)]) -> Vec<String> {
        let times: BTreeMap<&str, i64> = logs.iter().copied().collect();
        let held: Vec<_> = sorted(logs)
            .into_iter()
            .map(|name| HeldLog {
                stamp: Stamp { device: 0, inode: 0, size: 1, modified_ns: times[&*name].into(), changed_ns: 0 },
                path: name.into(),
            })
            .collect();
        needless(&held).into_iter().map(|log| log.path.display().to_string()).collect()
    }

    #[test]
    fn what_an_application_may_still_write_never_goes() {
        assert_eq!(going(&[("wal.1", 1), ("wal.2", 2), ("wal.10", 3)]), ["wal.1", "wal.2"]);
        let two_streams = [("a/wal.98", 1), ("a/wal.99", 2), ("b/wal.6", 3), ("b/wal.7", 4)];
        assert_eq!(going(&two_streams), ["b/wal.6", "a/wal.98"]);
        let beside = [("x-1.log", 1), ("x-2.log", 2), ("y-1.log", 1), ("y-2.log", 3)];
        assert_eq!(going(&beside), ["x-1.log", "y-1.log"]);
        // logrotate: the current one has no number, and the lowest number is the newest
        assert_eq!(going(&[("app.log", 9), ("app.log.1", 8), ("app.log.2", 7)]), ["app.log.1"]);
        assert_eq!(going(&[("app.log.1", 9), ("app.log.2", 8), ("app.log.3", 7)]), Vec::<String>::new());
        // one that is written again holds up the newer ones of its stream: no gap
        let again = [("wal.1", 1), ("wal.2", 9), ("wal.3", 3), ("wal.4", 4), ("x.1", 1), ("x.2", 2)];
        assert_eq!(going(&again), ["wal.1", "x.1"]);
        let hexadecimal = ["00000009", "0000000A", "0000000F", "00000010", "00000011"];
        let hexadecimal: Vec<_> = hexadecimal.into_iter().zip(1..).collect();
        assert_eq!(going(&hexadecimal), ["00000009", "0000000A", "0000000F", "00000010"]);
        assert_eq!(going(&[("current.log", 9), ("old.log", 1)]), Vec::<String>::new());
        assert_eq!(going(&[("only.1", 1)]), Vec::<String>::new());
    }

    proptest::proptest! {
        #[test]
        fn of_any_logs_the_newest_of_each_directory_stays(
            logs in proptest::collection::btree_map("[ab]/[wx][.-][0-9]{0,3}(log)?", 0_i64..5, 0..12)
        ) {
            let logs: Vec<_> = logs.iter().map(|(name, time)| (name.as_str(), *time)).collect();
            let gone = going(&logs);
            for folder in ["a/", "b/"] {
                let newest = logs.iter().filter(|(name, _)| name.starts_with(folder)).map(|(_, time)| *time).max();
                let stays = |(name, time): &(&str, i64)| {
                    name.starts_with(folder) && Some(*time) == newest && !gone.iter().any(|gone| gone == name)
                };
                proptest::prop_assert!(newest.is_none() || logs.iter().any(stays));
            }
            proptest::prop_assert!(gone.iter().all(|name| name.bytes().any(|byte| byte.is_ascii_digit())));
        }
    }

    #[test]
    fn the_last_number_of_a_name_counts() {
        let number = |name: &str| last_number(name.as_bytes()).map(|digits| String::from_utf8(digits).expect("digits"));
        assert_eq!(number("db2.0017.log").as_deref(), Some("17"));
        assert_eq!(number("007").as_deref(), Some("7"));
        assert_eq!(number("0").as_deref(), Some(""));
        assert_eq!(number("none"), None);
        assert_eq!(number("00000001000000000000000a").as_deref(), Some("1000000000000000A"));
        assert_eq!(number("app-2a.log").as_deref(), Some("2"), "too short for a hexadecimal number");
    }

    #[test]
    fn a_pattern_without_a_slash_matches_names_and_bytes() {
        let matches = |glob: &str, path: &[u8]| {
            compile(&[glob.to_owned()]).expect("a pattern").is_match(Path::new(OsStr::from_bytes(path)))
        };
        assert!(matches("wal.*", b"wal.1") && matches("wal.*", b"deep/er/wal.1"));
        assert!(matches("logs/*.log", b"logs/1.log") && !matches("logs/*.log", b"logs/old/1.log"));
        assert!(matches("/wal.*", b"wal.1") && !matches("/wal.*", b"deep/wal.1"));
        assert!(matches("*.log", b"\xff\xfe.log"));
        for bad in ["", " ", "/", "./"] {
            assert!(compile(&[bad.to_owned()]).expect_err("no pattern").exit_code() == ExitCode::Usage, "{bad:?}");
        }
        assert!(compile(&["[".to_owned()]).expect_err("not a pattern").exit_code() == ExitCode::Usage);
    }
}
