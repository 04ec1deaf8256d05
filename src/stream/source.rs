//! What is read: entries that give verified bytes and then prove that they held still.

use std::path::PathBuf;

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Identity and times.
    pub stamp: Stamp,
    /// Permission bits with setuid, setgid and sticky (octal 7777).
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// A file opened for reading: gives only bytes that the engine has verified.
pub trait Source: Send {
    /// The next bytes, 0 at the end. An error says that bytes could not be read or are not sound.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;

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
}
