//! A tree that is being restored: files, directories and links below one open directory, with everything that can be
//! given to them.

use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::attributes::{Giving, OwnerRule};
use crate::beneath;
use crate::durable::Put;
use crate::error::{Error, ExitCode, Result};
use crate::repository::local::{LocalFile, LocalStore, cannot_link};
use crate::repository::store::{Store, Writing};
use crate::stream::earlier::Stored;
use crate::stream::pipeline::{CHUNK_BYTES, Job, Sink};
use crate::stream::source::{Attributes, Got};

/// Something that could not be given to what was restored.
#[derive(Clone, Debug)]
pub struct NotGiven {
    /// Relative to the target.
    pub path: PathBuf,
    /// What, as a noun phrase.
    pub what: String,
}

/// How much a directory gets of its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dress {
    /// All; nothing may be put into it or taken out of it afterwards.
    Whole,
    /// All, but it stays open to its owner, so that something can still be taken out of it.
    Open,
    /// What it still lacks after that: its mode, where another one kept it open, and its time.
    Last,
}

/// A tree that is being restored. Nothing in it is replaced, and no link is followed.
#[derive(Debug)]
pub struct Target {
    store: LocalStore,
    giving: Giving,
    not_given: Mutex<Vec<NotGiven>>,
    not_given_count: AtomicU64,
}

impl Target {
    /// The tree below a directory that exists.
    pub fn open(root: &Path, rule: OwnerRule) -> Result<Self> {
        let (store, giving) = (LocalStore::open(root)?, Giving::new(rule));
        Ok(Self { store, giving, not_given: Mutex::default(), not_given_count: AtomicU64::new(0) })
    }

    /// A sink that writes into it.
    pub fn sink(self: &Arc<Self>) -> TargetSink {
        TargetSink { target: Arc::clone(self), writing: None }
    }

    /// What could not be given since the last call.
    pub fn take_not_given(&self) -> Vec<NotGiven> {
        mem::take(&mut *self.not_given.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many attributes could not be given.
    pub fn not_given_count(&self) -> u64 {
        self.not_given_count.load(Ordering::Relaxed)
    }

    /// Gives a directory its attributes.
    pub fn dress_directory(&self, path: &Path, attributes: &Attributes, dress: Dress) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = beneath::open(self.store.folders().root(), path, flags, Mode::empty());
        let folder = folder.map_err(|e| self.error("open", path, e))?;
        let error = |e| Error::io("set the attributes of", &self.store.describe(path), &e);
        if dress == Dress::Last {
            return Giving::to_directory_once_more(&folder, attributes).map_err(error);
        }
        if path.as_os_str().is_empty() {
            // It may have been there before, with ACLs of its own.
            for acl in ["system.posix_acl_access", "system.posix_acl_default"] {
                let _ = rustix::fs::fremovexattr(&folder, acl); // mostly there is none
            }
        }
        // Whom no mode keeps out gives the right one at once: less is left to be done last.
        let given = if dress == Dress::Open && !rustix::process::geteuid().is_root() {
            let open = Attributes { mode: attributes.mode | 0o700, ..attributes.clone() };
            self.giving.to_file(&folder, &open)
        } else {
            self.giving.to_file(&folder, attributes)
        };
        self.note(path, given.map_err(error)?);
        Ok(())
    }

    /// Whether something stands under a path.
    pub fn contains(&self, path: &Path) -> bool {
        let found = self.store.folders().parent(path, false);
        found.is_ok_and(|(folder, name)| rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok())
    }

    /// Removes a file that turned out to be damaged.
    pub fn remove(&self, path: &Path) -> Result<()> {
        self.store.remove(path)
    }

    /// Makes everything written so far durable.
    pub fn sync(&self) -> Result<()> {
        self.store.sync()
    }

    /// Bytes that can still be written.
    pub fn free_bytes(&self) -> Result<Option<u64>> {
        self.store.free_bytes()
    }

    fn note(&self, path: &Path, what: Vec<String>) {
        if !what.is_empty() {
            self.not_given_count.fetch_add(what.len() as u64, Ordering::Relaxed);
            let mut not_given = self.not_given.lock().unwrap_or_else(PoisonError::into_inner);
            not_given.extend(what.into_iter().map(|what| NotGiven { path: path.to_owned(), what }));
        }
    }

    fn error(&self, action: &str, path: &Path, errno: Errno) -> Error {
        Error::io(action, &self.store.describe(path), &errno.into())
    }
}

/// Writes into a target.
pub struct TargetSink {
    target: Arc<Target>,
    writing: Option<LocalFile>,
}

impl TargetSink {
    fn create(&mut self, path: &Path) -> Result<()> {
        self.writing = Some(self.target.store.create_file(path, Put::New)?);
        Ok(())
    }

    fn settle(&mut self, path: &Path, attributes: &Attributes) -> Result<()> {
        self.writing()?;
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let file = writing.into_file()?;
        let described = || self.target.store.describe(path);
        // What was written is looked at once more: a file system may lose the end of a file and say nothing.
        let length = file.metadata().map_err(|e| Error::io("look at", &described(), &e))?.len();
        if length != attributes.stamp.size {
            let message = format!("{} has {length} bytes instead of {}", described().display(), attributes.stamp.size);
            return Err(Error::new(ExitCode::Failed, message).file(path));
        }
        let given = self.target.giving.to_file(&file, attributes);
        self.target.note(path, given.map_err(|e| Error::io("set the attributes of", &described(), &e))?);
        Ok(())
    }

    fn writing(&mut self) -> Result<&mut LocalFile> {
        self.writing.as_mut().ok_or_else(|| Error::new(ExitCode::Failed, "a chunk came before its file"))
    }
}

impl Sink for TargetSink {
    fn begin(&mut self, job: &Job) -> Result<()> {
        self.create(&job.path)
    }

    fn write(&mut self, chunk: &[u8]) -> Result<()> {
        self.writing()?.write(chunk)
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        self.writing()?.skip(bytes)
    }

    fn finish(&mut self, job: &Job, attributes: &Attributes, _: Option<&[u8; 32]>) -> Result<Stored> {
        self.settle(&job.path, attributes)?;
        Ok(Stored::default())
    }
    fn abandon(&mut self, path: &Path) -> Result<()> {
        self.writing = None;
        self.target.remove(path)
    }

    fn directory(&mut self, path: &Path, _: &Attributes) -> Result<()> {
        // Its attributes come last: files are still to be put into it.
        self.target.store.make_directory(path)
    }

    fn link(&mut self, path: &Path, target: &Path, attributes: &Attributes) -> Result<()> {
        let error = |e| self.target.error("create the link", path, e);
        let (folder, name) = self.target.store.folders().parent(path, true).map_err(error)?;
        rustix::fs::symlinkat(target, &folder, name).map_err(error)?;
        let given = self.target.giving.to_link(&folder, name, attributes);
        let given = given.map_err(|e| Error::io("set the attributes of", &self.target.store.describe(path), &e))?;
        self.target.note(path, given);
        Ok(())
    }

    fn hard_link(&mut self, path: &Path, first: &Path, attributes: &Attributes) -> Result<()> {
        let error = |e| self.target.error("create the link", path, e);
        let folders = self.target.store.folders();
        let (from, old) = match beneath::parent(folders.root(), first) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(()), // damaged and left out; whoever judges knows
            Err(errno) => return Err(error(errno)),
        };
        let (folder, name) = folders.parent(path, true).map_err(error)?;
        match rustix::fs::linkat(&from, old, &folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) if cannot_link(errno) => self.copy(path, first, attributes),
            Err(errno) => Err(error(errno)),
        }
    }
}

impl TargetSink {
    /// A copy of what was restored under another name, where a file can have no more names.
    fn copy(&mut self, path: &Path, first: &Path, attributes: &Attributes) -> Result<()> {
        let mut input = self.target.store.open(first, 0, false)?;
        self.create(path)?;
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let next = input.next(&mut buffer);
            match next.map_err(|e| Error::io("read", &self.target.store.describe(first), &e))? {
                Got::Data(bytes) => self.write(&buffer[..bytes])?,
                Got::Hole(bytes) => self.skip(bytes)?,
                Got::End => return self.settle(path, attributes),
            }
        }
    }
}
