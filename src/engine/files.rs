//! The `files` engine: any directory, taken as it is. Logs are what `--log GLOB` names.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::globs::{Excludes, Patterns};
use super::hard_links::HardLinks;
use super::walk::{Kind, Limits, Seen, Walk};
use super::watched::{PlainFile, Watched, difference};
use super::{
    Deletion, Engine, EngineName, Entry, Going, HeldLog, History, LeftOut, Needless, Role, Surveyed, Witness, log_names,
};
use crate::attributes::{self, stamp};
use crate::beneath;
use crate::durable;
use crate::error::{Error, ExitCode, Result};
use crate::hex::hex;
use crate::roots::{Root, Roots};
use crate::stream::source::{Attributes, Opened, Source, Stamp};
use crate::stream::sparse::{STAT_BLOCK_BYTES, SparseFile};
use crate::stream::stop::StopToken;

/// How long the holder of a lease on a file gets to give it back; the kernel takes it away after 45 s.
const LEASE_WAIT: Duration = Duration::from_secs(50);
/// How often a file under a lease is tried.
const LEASE_POLL: Duration = Duration::from_millis(50);

/// What was said about a storage of plain files.
#[derive(Clone, Debug, Default)]
pub struct FilesOptions {
    /// Globs of the files that are logs.
    pub logs: Vec<String>,
    /// Globs of what is left out.
    pub excludes: Vec<String>,
    /// Leave out what lies in directories marked by a `CACHEDIR.TAG`.
    pub exclude_caches: bool,
    /// Leave out what lies on other file systems.
    pub one_file_system: bool,
    /// Go on where a directory cannot be listed.
    pub keep_going: bool,
    /// Absolute paths of directories that belong to jetbak itself.
    pub own: Vec<PathBuf>,
    /// Directories beside the storage of which single files are read.
    pub roots: Roots,
}

/// A directory, opened once; every file is reached from this handle, never through a symbolic link.
#[derive(Debug)]
pub struct FilesEngine {
    storage: PathBuf,
    root: Arc<OwnedFd>,
    logs: Patterns,
    limits: Limits,
    roots: Roots,
    further: Vec<Further>,
    attributes: attributes::Reading,
}

/// A directory beside the storage, opened once.
#[derive(Debug)]
struct Further {
    name: String,
    path: PathBuf,
    root: Arc<OwnedFd>,
    limits: Limits,
}

impl FilesEngine {
    /// Opens a storage.
    pub fn open(storage: &Path, options: &FilesOptions) -> Result<Self> {
        let root = open_root(storage)?;
        let device = rustix::fs::fstat(&root).map_err(|e| Error::io("look at", storage, &e.into()))?.st_dev;
        let limits = Limits {
            excludes: Excludes::new(&options.excludes, storage)?,
            exclude_caches: options.exclude_caches,
            device: options.one_file_system.then_some(device),
            own: own_below(&options.own, storage),
            keep_going: options.keep_going,
            is_flat: false,
        };
        let further = options.roots.iter().map(|root| Further::open(root, options)).collect::<Result<_>>()?;
        Ok(Self {
            storage: storage.to_owned(),
            root: Arc::new(root),
            logs: Patterns::of_files(&options.logs)?,
            limits,
            roots: options.roots.clone(),
            further,
            attributes: attributes::Reading::default(),
        })
    }

    fn walk(&self, stop: &StopToken, visit: &mut dyn FnMut(Seen) -> Result<()>) -> Result<()> {
        Walk { storage: &self.storage, root: &self.root, limits: &self.limits, stop }.run(visit)
    }

    /// The directory from which a file is reached, and its path from there; an absolute one outside of all is an error.
    fn locate<'a>(&self, path: &'a Path) -> io::Result<(&Arc<OwnedFd>, &'a Path)> {
        let place = self.roots.place(path);
        let (name, below) = place.ok_or_else(|| io::Error::other("it lies in no directory that this session reads"))?;
        let root = self.further.iter().find(|further| further.name == name).map_or(&self.root, |further| &further.root);
        Ok((root, below))
    }

    /// What the file system says of a file, itself and not what a link means.
    fn stat(&self, path: &Path) -> io::Result<rustix::fs::Stat> {
        let (root, below) = self.locate(path)?;
        Ok(if below.as_os_str().is_empty() { rustix::fs::fstat(root)? } else { beneath::stat(root, below)? })
    }

    fn open_below(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let (root, path) = self.locate(path)?;
        let begun = Instant::now();
        loop {
            let opened = match beneath::open(root, path, flags | OFlags::NOATIME, Mode::empty()) {
                // only the owner may leave the access time alone
                Err(Errno::PERM) => beneath::open(root, path, flags, Mode::empty()),
                opened => opened,
            };
            match opened {
                // Somebody holds a lease on it, such as a file server for its client; it is being called back.
                Err(Errno::AGAIN) if begun.elapsed() < LEASE_WAIT => thread::sleep(LEASE_POLL),
                opened => return Ok(opened?.into()),
            }
        }
    }

    fn open_directory(&self, entry: &Entry) -> Result<Opened> {
        let path = &entry.path;
        let folder = self.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(|e| match e.kind() {
            io::ErrorKind::NotADirectory => self.replaced(path), // a link is no directory either
            _ => self.cannot_read(path, &e),
        })?;
        if entry.unlisted {
            // It may be readable by now, but what lies in it is in no list.
            let denied = io::ErrorKind::PermissionDenied.into();
            let error = Error::io("list", &self.storage.join(path), &denied).file(path);
            return Err(error.hint("Nothing that lies in it is in the backup. Run jetbak as a user who may read it."));
        }
        let attributes = self.attributes.of_file(&folder).map_err(|e| self.cannot_read(path, &e))?;
        Ok(Opened::Directory(attributes))
    }

    fn open_link(&self, path: &Path) -> Result<Opened> {
        let (folder, name) = beneath::parent(&self.root, path).map_err(|e| self.cannot_read(path, &e.into()))?;
        let target = rustix::fs::readlinkat(&folder, name, Vec::new()).map_err(|e| match e {
            Errno::INVAL => self.replaced(path),
            e => self.cannot_read(path, &e.into()),
        })?;
        let attributes = self.attributes.of_link(&folder, name).map_err(|e| self.cannot_read(path, &e))?;
        Ok(Opened::Link(attributes, PathBuf::from(OsStr::from_bytes(target.as_bytes()))))
    }

    /// Opens a file to be read as it is.
    pub(super) fn open_file(&self, entry: &Entry) -> Result<Opened> {
        match self.reach(entry)? {
            Reached::Opened(opened) => Ok(opened),
            Reached::File { file, watched, allocated } => Ok(Opened::Data(self.plain(file, watched, allocated)?)),
        }
    }

    /// The directories beside the storage.
    pub(super) fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The content of a file that was reached, as it is.
    pub(super) fn plain(&self, file: File, watched: Watched, allocated: u64) -> Result<Box<dyn Source>> {
        let content = SparseFile::new(file, 0, watched.before.stamp.size, allocated);
        let content = content.map_err(|e| self.cannot_read(&watched.path, &e))?;
        Ok(Box::new(PlainFile { content, watched }))
    }

    /// Opens a file and looks at it, for whoever reads it on.
    pub(super) fn reach(&self, entry: &Entry) -> Result<Reached> {
        let path = &entry.path;
        let file = self.open_below(path, OFlags::RDONLY).map_err(|e| self.cannot_read(path, &e))?;
        let stat = rustix::fs::fstat(&file).map_err(|e| self.cannot_read(path, &e.into()))?;
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(self.replaced(path));
        }
        if let Some(first) = &entry.hard_link
            && stat.st_nlink > 1
            && self.is_same(first, &stamp(&stat))
        {
            let attributes = Attributes::plain(stamp(&stat), stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
            return Ok(Reached::Opened(Opened::HardLink(attributes, first.clone())));
        }
        let before = self.attributes.of_open_file(&file, &stat);
        let allocated = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(STAT_BLOCK_BYTES);
        let (root, below) = self.locate(path).map_err(|e| self.cannot_read(path, &e))?;
        let (root, below) = (Arc::clone(root), below.to_owned());
        let (storage, path) = (self.storage.clone(), path.clone());
        Ok(Reached::File { file, watched: Watched { storage, root, below, path, before }, allocated })
    }

    /// Hands every regular file over that a survey would take, by its path relative to the storage, with its size.
    pub(super) fn each_file(&self, stop: &StopToken, visit: &mut dyn FnMut(&Path, u64) -> Result<()>) -> Result<()> {
        self.walk(stop, &mut |seen| match seen {
            Seen::Entry { path, kind: Kind::File, stat, .. } => visit(&path, stamp(&stat).size),
            _ => Ok(()),
        })
    }

    /// Hands over what lies in a directory beside the storage, that one first, by absolute paths. What lies deeper is
    /// not looked at.
    pub(super) fn each_in(
        &self,
        name: &str,
        stop: &StopToken,
        visit: &mut dyn FnMut(Seen) -> Result<()>,
    ) -> Result<()> {
        let found = self.further.iter().find(|further| further.name == name);
        let Some(Further { path: storage, root, limits, .. }) = found else { return Ok(()) };
        Walk { storage, root, limits, stop }.run(&mut |seen| visit(seen.below(storage)))
    }

    /// Whether something may be left out, so that a survey does not see all that is there.
    pub(super) fn leaves_out(&self) -> bool {
        let Limits { excludes, exclude_caches, device, keep_going, .. } = &self.limits;
        !excludes.is_empty() || *exclude_caches || device.is_some() || *keep_going
    }

    /// The same directories, without anything left out as asked, and as far as they can be listed.
    pub(super) fn unfiltered(&self) -> Self {
        let all = |limits: &Limits| Limits {
            excludes: Excludes::default(),
            exclude_caches: false,
            device: None,
            own: limits.own.clone(),
            keep_going: true,
            is_flat: limits.is_flat,
        };
        let further = |one: &Further| Further {
            name: one.name.clone(),
            path: one.path.clone(),
            root: Arc::clone(&one.root),
            limits: all(&one.limits),
        };
        Self {
            storage: self.storage.clone(),
            root: Arc::clone(&self.root),
            logs: Patterns::default(),
            limits: all(&self.limits),
            roots: self.roots.clone(),
            further: self.further.iter().map(further).collect(),
            attributes: attributes::Reading::default(),
        }
    }

    /// Hands over what leads out of sight, by its path relative to the storage: a symbolic link (true), or a directory that
    /// cannot be listed (false).
    pub(super) fn each_blind_spot(
        &self,
        stop: &StopToken,
        visit: &mut dyn FnMut(&Path, bool) -> Result<()>,
    ) -> Result<()> {
        self.walk(stop, &mut |seen| match seen {
            Seen::Entry { path, kind: Kind::Link, .. } => visit(&path, true),
            Seen::Entry { path, unlisted: true, .. } => visit(&path, false),
            _ => Ok(()),
        })
    }

    /// What a file is now; none where it is not there.
    pub(super) fn stamp_if_there(&self, path: &Path) -> Result<Option<Stamp>> {
        match self.stat(path) {
            Ok(stat) => Ok(Some(stamp(&stat))),
            Err(e) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&e.kind()) => Ok(None),
            Err(error) => Err(self.cannot_read(path, &error)),
        }
    }

    /// What a regular file is now, with its mode; none where there is none, or it cannot be looked at.
    pub fn stamp_and_mode(&self, path: &Path) -> Option<(Stamp, u32)> {
        let stat = self.stat(path).ok()?;
        let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
        is_file.then(|| (stamp(&stat), stat.st_mode & 0o7777))
    }

    /// What a file that is there is now.
    pub(super) fn stamp_of(&self, path: &Path) -> Result<Stamp> {
        self.stat(path).map(|stat| stamp(&stat)).map_err(|e| self.cannot_read(path, &e))
    }

    /// An entry of this role for a file that is there.
    pub(super) fn entry_of(&self, path: &Path, role: Role) -> Result<Entry> {
        let stat = self.stat(path).map_err(|e| self.cannot_read(path, &e))?;
        Ok(entry(path.to_owned(), role, &stat))
    }

    /// In which respect a file is not what it was any more.
    pub(super) fn difference(&self, path: &Path, before: &Stamp) -> Result<Option<String>> {
        match self.stat(path) {
            Ok(stat) => Ok(difference(before, &stamp(&stat))),
            Err(e) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&e.kind()) => {
                Ok(Some("it was removed".to_owned()))
            }
            Err(error) => Err(self.cannot_read(path, &error)),
        }
    }

    /// The same, for a file system that may be gone: what is not there, or lies on another one, has not changed.
    pub(super) fn difference_where_it_was(&self, path: &Path, before: &Stamp) -> Result<Option<String>> {
        match self.stat(path) {
            Ok(stat) if stat.st_dev == before.device => Ok(difference(before, &stamp(&stat))),
            Ok(_) => Ok(None),
            Err(e) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&e.kind()) => Ok(None),
            Err(error) => Err(self.cannot_read(path, &error)),
        }
    }

    /// Whether a path still is the file with this device and inode.
    fn is_same(&self, path: &Path, other: &Stamp) -> bool {
        self.stat(path).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (other.device, other.inode))
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

/// Opens a directory that was named, through links.
fn open_root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    opened.map_err(|e| Error::io("open", path, &e.into()).hint(PERMISSION_HINT))
}

/// Those of jetbak's own directories that lie below this one, relative to it.
fn own_below(own: &[PathBuf], directory: &Path) -> Vec<PathBuf> {
    own.iter().filter_map(|path| path.strip_prefix(directory).ok()).map(Path::to_owned).collect()
}

impl Further {
    fn open(Root { name, path }: &Root, options: &FilesOptions) -> Result<Self> {
        let limits = Limits {
            excludes: Excludes::new(&options.excludes, path)?,
            exclude_caches: false,
            device: None, // it was named, wherever it lies
            own: own_below(&options.own, path),
            keep_going: false,
            is_flat: true,
        };
        Ok(Self { name: name.clone(), path: path.clone(), root: Arc::new(open_root(path)?), limits })
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

impl Engine for FilesEngine {
    fn name(&self) -> EngineName {
        EngineName::Files
    }

    fn survey(&self, stop: &StopToken, take: &mut dyn FnMut(Surveyed) -> Result<()>) -> Result<()> {
        let (mut hard_links, mut names) = (HardLinks::default(), HardLinks::default());
        let mut used = vec![false; self.limits.excludes.given().len()];
        let mut all_listed = true;
        self.walk(stop, &mut |seen| {
            let (path, kind, stat, unlisted) = match seen {
                Seen::Entry { path, kind, stat, unlisted } => (path, kind, stat, unlisted),
                Seen::LeftOut(path, reason) => return take(Surveyed::LeftOut(LeftOut::new(&path, reason))),
                Seen::Excluded { path, reason, patterns } => {
                    for number in patterns {
                        used[number] = true;
                    }
                    return take(Surveyed::Excluded(path, reason));
                }
            };
            all_listed &= !unlisted;
            if kind == Kind::File
                && !self.logs.is_empty()
                && let Some(first) = names.earlier(&path, &stat)
                && (self.logs.is_match(&path) || self.logs.is_match(&first))
            {
                take(Surveyed::Parted(path.clone(), first))?;
            }
            let role = match kind {
                Kind::File if self.logs.is_match(&path) => return Ok(()),
                Kind::File => Role::Database,
                Kind::Directory => Role::Directory,
                Kind::Link => Role::Link,
            };
            let hard_link = if kind == Kind::File { hard_links.earlier(&path, &stat) } else { None };
            take(Surveyed::Entry(Entry { hard_link, unlisted, ..entry(path, role, &stat) }))
        })?;
        if all_listed {
            let unused = used.iter().enumerate().filter(|(_, used)| !**used).map(|(number, _)| number);
            take(Surveyed::UnusedPatterns(unused.collect()))?;
        }
        Ok(())
    }

    fn list_logs(&self, stop: &StopToken) -> Result<Vec<Entry>> {
        if self.logs.is_empty() {
            return Ok(Vec::new());
        }
        let mut logs = Vec::new();
        self.walk(stop, &mut |seen| {
            if let Seen::Entry { path, kind: Kind::File, stat, .. } = seen
                && self.logs.is_match(&path)
            {
                logs.push(entry(path, Role::Log, &stat));
            }
            Ok(())
        })?;
        logs.sort_by(|a, b| log_names::compare((&a.path, a.modified_ns), (&b.path, b.modified_ns)));
        Ok(logs)
    }

    fn open(&self, entry: &Entry, _: &StopToken) -> Result<Opened> {
        match entry.role {
            Role::Directory => self.open_directory(entry),
            Role::Link => self.open_link(&entry.path),
            _ => self.open_file(entry),
        }
    }

    fn truncatable(&self, held: &[HeldLog], _: &History<'_>, stop: &StopToken) -> Result<Needless> {
        let mut excluded = Vec::new();
        if !self.limits.excludes.is_empty() {
            self.walk(stop, &mut |seen| {
                if let Seen::Excluded { path, .. } = seen
                    && self.logs.is_match(&path)
                {
                    excluded.push(path);
                }
                Ok(())
            })?;
        }
        let why = "in this backup, and not the newest of its series";
        let going = |log| Going { log, witness: Witness::Stamp, why: why.to_owned() };
        let needless = log_names::needless(held, &excluded);
        let all = held.iter().map(|log| log.path.clone()).collect();
        Ok(Needless { all, logs: needless.into_iter().map(going).collect(), ..Needless::default() })
    }

    fn delete_log(&self, log: &HeldLog, sha256: Option<&str>, rehearse: bool, _: &StopToken) -> Result<Deletion> {
        let absolute = self.storage.join(&log.path);
        let file = match self.open_below(&log.path, OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Deletion::Missing),
            Err(error) => return Err(Error::io("open", &absolute, &error).file(&log.path)),
        };
        let now = rustix::fs::fstat(&file).map_err(|e| Error::io("look at", &absolute, &e.into()))?;
        if let Some(what) = difference(&log.stamp, &stamp(&now)) {
            return Ok(Deletion::Changed(what));
        }
        if let Some(expected) = sha256 {
            let error = |e: io::Error| Error::io("read", &absolute, &e).file(&log.path);
            let computed = hash(&file, log.stamp.size).map_err(error)?;
            let after = rustix::fs::fstat(&file).map_err(|e| error(e.into()))?;
            if computed != expected || difference(&log.stamp, &stamp(&after)).is_some() {
                return Ok(Deletion::Changed("its content is not what the backup holds".to_owned()));
            }
        }
        if rehearse {
            return Ok(Deletion::Deleted);
        }
        let (root, below) = self.locate(&log.path).map_err(|e| self.cannot_read(&log.path, &e))?;
        let deleted = beneath::parent(root, below)
            .and_then(|(folder, name)| rustix::fs::unlinkat(folder, name, AtFlags::empty()));
        match deleted {
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

/// The SHA-256 of so many bytes of a file, hexadecimal.
fn hash(file: &File, size: u64) -> io::Result<String> {
    let (mut hasher, mut input) = (Sha256::new(), file.take(size));
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn entry(path: PathBuf, role: Role, stat: &rustix::fs::Stat) -> Entry {
    let Stamp { size, modified_ns, changed_ns, inode, .. } = stamp(stat);
    let seen = |size| Entry { modified_ns, changed_ns, inode, ..Entry::new(path, role, size) };
    if !role.is_file() {
        return seen(0);
    }
    let allocated = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(STAT_BLOCK_BYTES);
    Entry { allocated: allocated.min(size), ..seen(size) }
}

/// A file that was opened.
pub(super) enum Reached {
    /// A regular file.
    File {
        /// Opened for reading.
        file: File,
        /// What it was then.
        watched: Watched,
        /// Bytes of space that it takes.
        allocated: u64,
    },
    /// Something that needs no reading.
    Opened(Opened),
}
