//! `files.jsonl`: one line for everything a backup holds; and the records that readers write on the way to it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::Role;
use crate::paths;
use crate::session::event::Phase;
use crate::stream::pipeline::Finished;
use crate::stream::source::{Attributes, Stamp};
use crate::times;

/// The longest line that is believed.
pub const LINE_BYTES_MAX: u64 = 128 * 1024;

/// A line of `files.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLine {
    #[serde(rename = "type")]
    type_name: FileType,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    /// Which root of the storage it lies below; `data` unless the manifest names more.
    pub root: String,
    /// What it is to the engine.
    pub role: Role,
    /// Bytes of content.
    pub size: u64,
    /// SHA-256 of the content, hexadecimal; only for what has content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_base64: Option<String>,
    /// Permission bits with setuid, setgid and sticky, octal.
    pub mode: String,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Modification time (UTC); none where the source has one that cannot be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Time of the last change of content or attributes (UTC), as the source's file system keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// The inode in the source.
    pub inode: u64,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileType {
    File,
    Directory,
    Link,
}

impl FileLine {
    /// The line of an entry that was read.
    pub fn new(path: &Path, role: Role, finished: &Finished) -> Self {
        let (path, path_base64) = paths::to_fields(path);
        let (target, target_base64) = match finished.target.as_deref().map(paths::to_fields) {
            Some((target, base64)) => (Some(target), base64),
            None => (None, None),
        };
        let Attributes { stamp, mode, uid, gid } = finished.attributes;
        Self {
            type_name: match role {
                Role::Directory => FileType::Directory,
                Role::Link => FileType::Link,
                Role::Database | Role::Log => FileType::File,
            },
            path,
            path_base64,
            root: "data".to_owned(),
            role,
            size: finished.bytes,
            sha256: finished.sha256.as_ref().map(|digest| hex(digest)),
            target,
            target_base64,
            mode: format!("{mode:04o}"),
            uid,
            gid,
            modified: times::from_nanoseconds(stamp.modified_ns),
            changed: times::from_nanoseconds(stamp.changed_ns),
            inode: stamp.inode,
        }
    }

    /// The path below its root, if the line can be believed: relative, and never upwards.
    pub fn path(&self) -> Option<PathBuf> {
        paths::from_fields(&self.path, self.path_base64.as_deref()).filter(|path| paths::stays_below(path))
    }

    /// Where a symbolic link points.
    pub fn target(&self) -> Option<PathBuf> {
        paths::from_fields(self.target.as_deref()?, self.target_base64.as_deref())
    }
}

/// What a reader writes for each entry it has read: the line to be, and what only the session needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadRecord {
    /// Which list.
    pub phase: Phase,
    /// The entry's index in it.
    pub index: u64,
    /// What the source was when it was read.
    pub stamp: Stamp,
    /// The mode, for directories whose copy is dressed at the end.
    pub mode: u32,
    /// The line of `files.jsonl`.
    pub line: FileLine,
}

impl ReadRecord {
    /// The attributes that the copy gets.
    pub fn attributes(&self) -> Attributes {
        Attributes { stamp: self.stamp, mode: self.mode, uid: self.line.uid, gid: self.line.gid }
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a string takes every write
        text
    })
}

/// A line of `SHA256SUMS`, escaped as coreutils does it, so that `sha256sum -c` reads it back.
pub fn sums_line(sha256: &str, path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let name = path.as_os_str().as_bytes();
    let mut escaped = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'\\' => escaped.extend(b"\\\\"),
            b'\n' => escaped.extend(b"\\n"),
            b'\r' => escaped.extend(b"\\r"),
            other => escaped.push(*other),
        }
    }
    let mut line = Vec::with_capacity(escaped.len() + 70);
    if escaped.len() != name.len() {
        line.push(b'\\');
    }
    line.extend(sha256.as_bytes());
    line.extend(b"  ");
    line.extend(escaped);
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_lines_are_escaped_as_coreutils_does() {
        let line = |name: &str| String::from_utf8(sums_line("00ff", Path::new(name))).expect("text");
        assert_eq!(line("data/a b"), "00ff  data/a b\n");
        assert_eq!(line("data/a\nb\\c"), "\\00ff  data/a\\nb\\\\c\n");
    }
}
