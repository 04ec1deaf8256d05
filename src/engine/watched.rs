//! A file that must hold still while it is read: what it was when it was opened, and whether it is that still.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use crate::attributes::stamp;
use crate::beneath;
use crate::error::{Error, Result};
use crate::stream::kept::KeptCopy;
use crate::stream::shared::SharedFile;
use crate::stream::source::{Attributes, Got, Settled, Source, Stamp};
use crate::stream::sparse::SparseFile;

/// A file that must hold still while it is read.
pub struct Watched {
    /// The storage.
    pub storage: PathBuf,
    /// The directory that it is reached from.
    pub root: Arc<OwnedFd>,
    /// Its path from that root.
    pub below: PathBuf,
    /// Its path, relative to the storage; absolute below a further root.
    pub path: PathBuf,
    /// What it was when it was opened.
    pub before: Attributes,
}

impl Watched {
    /// Its path, relative to the storage; absolute below a further root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its absolute path.
    pub fn absolute(&self) -> PathBuf {
        self.storage.join(&self.path)
    }

    /// Looks whether it held still; `left` is how many of its bytes were not there to read.
    pub fn settle(self, file: &File, left: u64) -> Result<Settled> {
        let error = |e: Errno| Error::io("look at", &self.absolute(), &e.into()).file(&self.path);
        let after = stamp(&rustix::fs::fstat(file).map_err(error)?);
        if let Some(what) = difference(&self.before.stamp, &after) {
            return Ok(Settled::Changed(what));
        }
        if left > 0 {
            return Ok(Settled::Changed("it became shorter".to_owned()));
        }
        // Some file systems say 0 for what has content (/proc, some in user space).
        if after.size == 0 && rustix::io::pread(file, &mut [0], 0).map_err(error)? > 0 {
            return Ok(Settled::Changed("it holds more than the 0 bytes that its file system tells of".to_owned()));
        }
        Ok(match self.lost_name()? {
            Some(what) => Settled::Changed(what),
            None => Settled::Still(self.before),
        })
    }

    /// Whether the name means another file now, or none: a new one renamed over it is a change too.
    pub fn lost_name(&self) -> Result<Option<String>> {
        let before = &self.before.stamp;
        match beneath::stat(&self.root, &self.below) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == (before.device, before.inode) => Ok(None),
            Ok(_) | Err(Errno::LOOP) => Ok(Some("another file took its name".to_owned())),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(Some("it was removed".to_owned())),
            Err(errno) => Err(Error::io("look at", &self.absolute(), &errno.into()).file(&self.path)),
        }
    }
}

/// A regular file: as many bytes as it had when it was opened, then a look whether it held still.
pub struct PlainFile {
    /// What it holds.
    pub content: SparseFile,
    /// What it was.
    pub watched: Watched,
}

impl Source for PlainFile {
    fn stamp(&self) -> Option<Stamp> {
        Some(self.watched.before.stamp)
    }

    fn begin_with(&mut self, copy: Box<dyn KeptCopy>, bytes: u64) -> bool {
        self.content.begin_with(copy, bytes)
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<Got> {
        // Never more than the file had at first: one that grows for ever ends here, and shows in `finish`.
        let next = self.content.next(buffer);
        next.map_err(|e| Error::io("read", &self.watched.absolute(), &e).file(&self.watched.path))
    }

    fn share(&self) -> Option<SharedFile> {
        // Without another handle it is read by one thread.
        self.content.share(self.watched.absolute(), &self.watched.path).ok()
    }

    fn was_read(&mut self, until: u64) {
        self.content.was_read(until);
    }

    fn finish(self: Box<Self>) -> Result<Settled> {
        self.watched.settle(self.content.file(), self.content.left())
    }
}

/// In which respect a file is not what it was any more.
pub fn difference(before: &Stamp, after: &Stamp) -> Option<String> {
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
