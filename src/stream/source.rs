//! What is read: entries that give verified bytes and then prove that they held still.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Who or what a file was when it was read, so that a later look can tell whether it is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970 (UTC).
    pub modified_ns: i128,
    /// Nanoseconds since 1970 (UTC).
    pub changed_ns: i128,
}

/// What is known about an entry beside its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Identity and times.
    pub stamp: Stamp,
    /// Permission bits with setuid, setgid and sticky (octal 7777).
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The owner's name on the machine that was backed up, where it has one.
    pub user: Option<Arc<str>>,
    /// The group's name on that machine, where it has one.
    pub group: Option<Arc<str>>,
    /// Extended attributes; POSIX ACLs and capabilities are among them.
    pub xattrs: Vec<Xattr>,
    /// What could not be read of it, as sentences without a full stop.
    pub not_kept: Vec<String>,
}

impl Attributes {
    /// Attributes with nothing but stamp, mode and numbers.
    pub fn plain(stamp: Stamp, mode: u32, uid: u32, gid: u32) -> Self {
        Self { stamp, mode, uid, gid, user: None, group: None, xattrs: Vec::new(), not_kept: Vec::new() }
    }
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// Its whole name, such as `user.comment`, as the kernel has it.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// A piece of a file that was never written and takes no space: where it begins, and how long it is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole(pub u64, pub u64);

/// What a source gives next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// So many bytes, in the buffer.
    Data(usize),
    /// So many bytes that were never written: zeros that take no space.
    Hole(u64),
    /// Nothing more.
    End,
}

/// A file opened for reading: gives only bytes that the engine has verified.
pub trait Source: Send {
    /// The next piece. An error says that bytes could not be read or are not sound.
    fn next(&mut self, buffer: &mut [u8]) -> Result<Got>;

    /// Proves that the file held still from open to now.
    fn finish(self: Box<Self>) -> Result<Settled>;
}

/// Whether a file held still while it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It did.
    Still(Attributes),
    /// It did not, and in which respect.
    Changed(String),
}

/// An opened entry.
pub enum Opened {
    /// Content to stream; an engine that copies into a scratch file first streams that.
    Data(Box<dyn Source>),
    /// A directory.
    Directory(Attributes),
    /// A symbolic link and where it points.
    Link(Attributes, PathBuf),
    /// Another name of a file that stands under an earlier name of the same list.
    HardLink(Attributes, PathBuf),
}
