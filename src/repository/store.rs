//! The one trait through which all repository I/O goes, so that another kind of store, or a faulty one, can stand in.
//!
//! Paths are relative to the store's root. Bulk data is durable only after [`Store::sync`]; [`Store::put`] and
//! [`Store::promote`] are durable when they return.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::durable::Put;
use crate::error::Result;
use crate::stream::source::{Attributes, Got};

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// One name in a directory of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The last part of its path.
    pub name: std::ffi::OsString,
    /// What it is.
    pub kind: ItemKind,
    /// Bytes, for a file.
    pub size: u64,
}

/// What a file or folder is beside its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// A number that it keeps when it is renamed, and that no copy of it has.
    pub number: u64,
    /// How many names it has.
    pub names: u64,
}

/// A lock in the store, held until it is dropped.
pub trait Held: Send + fmt::Debug {}

/// A file being written; not durable until the store is synced.
pub trait Writing: Send {
    /// Adds a chunk.
    fn write(&mut self, chunk: &[u8]) -> Result<()>;

    /// Adds so many zeros, as a hole where the store can have one.
    fn skip(&mut self, bytes: u64) -> Result<()>;

    /// Hands what was written to the store, so that the next sync covers it.
    fn flush(&mut self) -> Result<()>;

    /// Whether a sync of the store covers what was written so far without a [`Writing::flush`].
    fn is_covered(&self) -> bool {
        false
    }

    /// Ends the file; with attributes it gets their mode (the owner keeps access) and modification time.
    fn finish(self: Box<Self>, attributes: Option<&Attributes>) -> Result<()>;
}

/// A file opened for reading.
pub trait Reading: Read + Send {
    /// The next data, or the next hole where the store has one there.
    fn next(&mut self, buffer: &mut [u8]) -> io::Result<Got> {
        match self.read(buffer)? {
            0 => Ok(Got::End),
            bytes => Ok(Got::Data(bytes)),
        }
    }
}

/// Where a repository's bytes are.
pub trait Store: Send + Sync + fmt::Debug {
    /// The path as a person would name it, for messages.
    fn describe(&self, path: &Path) -> PathBuf;

    /// Where a file stands for other libraries that want to read it; none where the store is no directory.
    fn local_path(&self, _path: &Path) -> Option<PathBuf> {
        None
    }

    /// Creates or replaces a file of bulk data; directories above it are made. What stands there keeps its content under
    /// any other name that it has.
    fn create(&self, path: &Path) -> Result<Box<dyn Writing>>;

    /// Goes on with a file of bulk data behind its first bytes; whatever it has beyond them goes. -1812 where it has
    /// another name, under which it would change too.
    fn go_on(&self, path: &Path, bytes: u64) -> Result<Box<dyn Writing>>;

    /// Opens a file for reading from a byte on; `fresh` asks for the medium's own bytes instead of a cache's.
    ///
    /// Whatever is no regular file is -1812 at once: no link is followed, and nothing is waited for.
    fn open(&self, path: &Path, offset: u64, fresh: bool) -> Result<Box<dyn Reading>>;

    /// Writes a small file that stands alone; there whole and durable when this returns.
    fn put(&self, path: &Path, content: &[u8], put: Put) -> Result<()>;

    /// Makes a directory, and those above it; one that is there already is fine.
    fn make_directory(&self, path: &Path) -> Result<()>;

    /// Makes a symbolic link, replacing what stands there.
    fn make_link(&self, path: &Path, target: &Path) -> Result<()>;

    /// Gives the file `first` another name, replacing what stands there; false where it can have no more names.
    fn make_hard_link(&self, first: &Path, path: &Path) -> Result<bool>;

    /// Bytes of a regular file; none where there is no such file.
    fn size(&self, path: &Path) -> Result<Option<u64>>;

    /// What a file or folder is beside its name; none where there is none.
    fn node(&self, path: &Path) -> Result<Option<Node>>;

    /// Whether two names are known to be one file, so that only one of them has to be read.
    fn is_same_file(&self, first: &Path, path: &Path) -> Result<bool>;

    /// Gives a directory its mode (the owner keeps access), and a directory or link its modification time.
    fn dress(&self, path: &Path, attributes: &Attributes) -> Result<()>;

    /// What stands in a directory, in the order of the names' bytes; -1812 where it is no directory.
    fn list(&self, path: &Path) -> Result<Vec<Item>>;

    /// Where a symbolic link points; -1812 where it is none.
    fn link_target(&self, path: &Path) -> Result<PathBuf>;

    /// Gives a folder its final name in one step, never replacing anything; durable when this returns.
    fn promote(&self, from: &Path, to: &Path) -> Result<()>;

    /// Removes a file, or a directory with all that is in it; one that is missing is fine.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Removes what interrupted [`Store::put`]s left in a directory, and nothing that one is at now; returns how many files.
    fn sweep(&self, path: &Path) -> Result<u64>;

    /// Makes everything written so far durable. An error is final: what was written may be lost.
    fn sync(&self) -> Result<()>;

    /// Takes a lock, or nothing where somebody else holds it. The file of the lock is made if it is missing.
    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn Held>>>;

    /// Locks a folder as it stands, together with others who do the same, or, if it is to go, alone; nothing where
    /// somebody holds it who stands in the way. What is locked stands under that name, else the error is that it is not
    /// there. Needs no right to write; -1812 where it is no directory.
    fn try_hold(&self, folder: &Path, alone: bool) -> Result<Option<Box<dyn Held>>>;

    /// Bytes that can still be written, where that is known.
    fn free_bytes(&self) -> Result<Option<u64>>;
}
