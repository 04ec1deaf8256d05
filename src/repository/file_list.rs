//! `files.jsonl`: one line for everything a backup holds; and the records that readers write on the way to it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::manifest::BackupId;
use crate::attributes::UNKNOWN_NS;
use crate::engine::sqlite::facts::CopyFacts;
use crate::engine::{Entry, Role};
use crate::hex::hex;
use crate::paths;
use crate::roots::{self, Roots};
use crate::session::event::Phase;
use crate::stream::earlier::{BlockFacts, Stored, Within};
use crate::stream::pipeline::{Finished, HOLES_MAX};
use crate::stream::source::{Attributes, Hole, ODD_MAX, Proof, Stamp, Xattr};
use crate::times;

/// The longest line that is believed: 4 MiB of extended attributes and 65,536 holes, written out.
pub const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

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
    /// In which form the content is stored.
    #[serde(default, skip_serializing_if = "is_plain_data")]
    pub within: Within,
    /// Its file of blocks, where it has one: in the same backup as the content, at the same place below `blocks/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<BlockFacts>,
    /// Where the content is, if it is not in the backup that this line belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// SHA-256 of the content, hexadecimal; only for what has content. Content that is assembled from blocks may have
    /// none: each block has a hash of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hard_link: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hard_link_base64: Option<String>,
    /// The generation of a log, where its engine counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// What its engine proved of a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<Proof>,
    /// What its engine proved of a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<Proof>,
    /// What the copy of a database of SQLite is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<CopyFacts>,
    /// Holes, in order; none where the file has none, or too many to list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<Hole>,
    /// Permission bits with setuid, setgid and sticky, octal.
    pub mode: String,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The owner's name where it was backed up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The group's name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<XattrLine>,
    /// What could not be read of it beside its content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_kept: Vec<String>,
    /// Modification time (UTC); none where the source has one that cannot be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Time of the last change of content or attributes (UTC), as the source's file system keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// The inode in the source.
    pub inode: u64,
}

/// The content of a file in an earlier backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The id of the backup in whose folder it is.
    pub by: String,
    /// Its path below that backup's folder, if it is another one than here: it begins with the folder of its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
}

impl Held {
    /// Content that stands in the folder of the backup `by`, under `place` if that is not where the line's own path is.
    pub fn new(by: &str, place: Option<&Path>) -> Self {
        let (path, path_base64) = paths::to_optional_fields(place);
        Self { by: by.to_owned(), path, path_base64 }
    }

    /// Its path below that backup's folder, if it is another one than here and can be believed.
    pub fn place(&self) -> Option<PathBuf> {
        let path = paths::from_fields(self.path.as_deref()?, self.path_base64.as_deref())?;
        let root = path.components().next()?.as_os_str().to_str()?;
        let is_below_root = roots::root_of(root).is_some() && path.components().nth(1).is_some();
        (is_plain(&path) && is_below_root).then_some(path)
    }

    fn is_sound(&self) -> bool {
        let is_of_path =
            self.path.is_some() == self.place().is_some() && (self.path.is_some() || self.path_base64.is_none());
        is_of_path && BackupId::parse(&self.by).is_some()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_plain_data(within: &Within) -> bool {
    *within == Within::Data
}

/// An extended attribute; the value in base64, because most hold bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct XattrLine {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name_base64: Option<String>,
    value: String,
}

impl XattrLine {
    fn new(xattr: &Xattr) -> Self {
        let (name, name_base64) = paths::to_fields(Path::new(OsStr::from_bytes(&xattr.name)));
        Self { name, name_base64, value: STANDARD.encode(&xattr.value) }
    }

    fn xattr(&self) -> Option<Xattr> {
        let name = paths::from_fields(&self.name, self.name_base64.as_deref())?;
        let name = name.into_os_string().into_encoded_bytes();
        let is_name = !name.is_empty() && !name.contains(&0);
        Some(Xattr { name, value: STANDARD.decode(&self.value).ok()? }).filter(|_| is_name)
    }
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
    ///
    /// None where the entry lies below no root.
    pub fn new(entry: &Entry, finished: &Finished, roots: &Roots) -> Option<Self> {
        let role = entry.role;
        let (root, path) = roots.place(&entry.path)?;
        let (path, path_base64) = path_fields(path);
        let (target, target_base64) = paths::to_optional_fields(finished.target.as_deref());
        let (hard_link, hard_link_base64) = paths::to_optional_fields(finished.hard_link.as_deref());
        let Attributes { stamp, mode, uid, gid, user, group, xattrs, not_kept, proof, copy } = &finished.attributes;
        let earlier = finished.earlier.as_deref().filter(|_| finished.stored.is_earlier);
        let sha256 = finished.sha256.as_ref().map(|digest| hex(digest));
        let stored = roots::below(&roots::folder_of(root)?, roots.place(&entry.path)?.1);
        Some(Self {
            type_name: match role {
                Role::Directory => FileType::Directory,
                Role::Link => FileType::Link,
                _ => FileType::File,
            },
            path,
            path_base64,
            root: root.to_owned(),
            role,
            size: finished.bytes,
            within: earlier.map_or(finished.stored.within, |earlier| earlier.within),
            blocks: earlier.map_or(&finished.stored.blocks, |earlier| &earlier.blocks).clone(),
            held: earlier.map(|earlier| {
                let elsewhere = Some(earlier.place.as_path()).filter(|place| *place != stored);
                Held::new(&earlier.backup, elsewhere)
            }),
            sha256: sha256.or_else(|| earlier.and_then(|earlier| earlier.sha256.clone())),
            target,
            target_base64,
            hard_link,
            hard_link_base64,
            generation: entry.generation,
            pages: proof.as_deref().filter(|_| role == Role::Database).cloned(),
            segments: proof.as_deref().filter(|_| role == Role::Log).cloned(),
            sqlite: copy.as_ref().map(|copy| copy.facts.clone()),
            holes: finished.holes.clone().unwrap_or_default(),
            mode: format!("{mode:04o}"),
            uid: *uid,
            gid: *gid,
            user: user.clone(),
            group: group.clone(),
            xattrs: xattrs.iter().map(XattrLine::new).collect(),
            not_kept: not_kept.clone(),
            modified: times::from_nanoseconds(stamp.modified_ns),
            changed: times::from_nanoseconds(stamp.changed_ns),
            inode: stamp.inode,
        })
    }

    /// The line of another name of the file that `first` is the line of.
    #[must_use]
    pub fn another_name(&self, first: &Self) -> Self {
        let (path, path_base64) = (self.path.clone(), self.path_base64.clone());
        let (hard_link, hard_link_base64) = (Some(first.path.clone()), first.path_base64.clone());
        let held = first.held.as_ref().map(|held| Held::new(&held.by, first.place().as_deref()));
        Self { path, path_base64, held, hard_link, hard_link_base64, ..first.clone() }
    }

    /// Whether it is the root itself, in which everything else of it lies.
    pub fn is_root(&self) -> bool {
        self.path == ROOT && self.path_base64.is_none()
    }

    /// The path below its root, if the line can be believed: relative, and never upwards. Empty for the root itself,
    /// which is a directory.
    pub fn path(&self) -> Option<PathBuf> {
        if self.is_root() {
            return (self.role == Role::Directory).then(PathBuf::new);
        }
        paths::from_fields(&self.path, self.path_base64.as_deref()).filter(|path| is_plain(path))
    }

    /// Whether there is a path below the backup's folder, without making it.
    fn has_path(&self) -> bool {
        let is_plain = match &self.path_base64 {
            None if self.path == ROOT => self.role == Role::Directory,
            None => is_plain(Path::new(&self.path)),
            Some(_) => self.path().is_some(),
        };
        is_plain && (self.root == roots::DATA || roots::folder_of(&self.root).is_some())
    }

    /// The path below the backup's folder, if the line can be believed.
    pub fn stored_path(&self) -> Option<PathBuf> {
        self.stored(&self.path()?)
    }

    /// Where its content is below the folder of the backup that holds it, and its file of blocks below `blocks/` there.
    /// That of another name of a file is where the first name is.
    pub fn place(&self) -> Option<PathBuf> {
        if let Some(held) = self.held.as_ref().filter(|held| held.path.is_some()) {
            return held.place();
        }
        match &self.hard_link {
            Some(_) => self.stored(&self.hard_link()?),
            None => self.stored_path(),
        }
    }

    /// The file of blocks that stands beside or instead of the content in the same folder as this line, if there is one:
    /// further names of a file have none.
    pub fn own_blocks(&self) -> Option<&BlockFacts> {
        self.blocks.as_ref().filter(|_| self.held.is_none() && self.hard_link.is_none())
    }

    /// Says that the content stands in the folder of the backup that the line belongs to, as it was stored there.
    pub fn stands_here(&mut self, stored: &Stored) {
        self.within = stored.within;
        self.blocks.clone_from(&stored.blocks);
        self.held = None;
    }

    /// Bytes that the backup stores of it which this line belongs to.
    pub fn bytes_stored(&self) -> u64 {
        let is_here = self.held.is_none() && self.hard_link.is_none();
        let content = if is_here && self.within == Within::Data { self.size } else { 0 };
        content.saturating_add(self.own_blocks().map_or(0, |blocks| blocks.bytes))
    }

    /// Where something of the same root lies below the backup's folder.
    pub fn stored(&self, path: &Path) -> Option<PathBuf> {
        Some(roots::below(&roots::folder_of(&self.root)?, path))
    }

    /// What a person calls it: the path below the storage, or the absolute one below a further root of the backup.
    pub fn name(&self, roots: &Roots) -> Option<PathBuf> {
        roots.name(&self.root, &self.path()?)
    }

    /// The earlier name of the same file, if this is another one; none as well where it cannot be believed.
    pub fn hard_link(&self) -> Option<PathBuf> {
        paths::from_fields(self.hard_link.as_deref()?, self.hard_link_base64.as_deref()).filter(|path| is_plain(path))
    }

    /// Whether everything that the line says can be: of what is it, by which paths, in which order the holes.
    pub fn is_sound(&self) -> bool {
        let of_type = match self.role {
            Role::Directory => FileType::Directory,
            Role::Link => FileType::Link,
            _ => FileType::File,
        };
        let mut end = 0;
        let holes = self.holes.iter().all(|Hole(begin, length)| {
            let follows = *begin >= end && *length > 0;
            end = begin.saturating_add(*length);
            follows && end <= self.size
        });
        self.type_name == of_type
            && self.holes.len() <= HOLES_MAX
            && self.has_path()
            && (self.role == Role::Link) == self.target().is_some()
            && self.is_content_sound()
            && self.hard_link.is_some() == self.hard_link().is_some()
            && (self.hard_link.is_none() || self.role.is_file())
            && self.attributes().is_some()
            && self.pages.iter().chain(&self.segments).all(|proof| proof.odd.len() <= ODD_MAX)
            && holes
    }

    /// Whether what it says of its content goes together: what has none has no place for it, and what is stored as it is
    /// has a hash.
    fn is_content_sound(&self) -> bool {
        if !self.role.is_file() {
            return self.within == Within::Data && self.blocks.is_none() && self.held.is_none();
        }
        let is_hash_there = match &self.sha256 {
            Some(sha256) => is_sha256(sha256),
            None => self.within == Within::Blocks,
        };
        let is_of_form = match (&self.blocks, self.within) {
            (None, within) => within == Within::Data,
            // A file of blocks beside the content holds none of it, and none holds more than there is.
            (Some(blocks), Within::Data) => is_sha256(&blocks.sha256) && blocks.stored == 0,
            (Some(blocks), Within::Blocks) => is_sha256(&blocks.sha256) && blocks.stored <= self.size,
        };
        is_hash_there && is_of_form && self.held.iter().all(Held::is_sound)
    }

    /// What a restored copy gets; none where the line cannot be believed.
    pub fn attributes(&self) -> Option<Attributes> {
        let mode = u32::from_str_radix(&self.mode, 8).ok().filter(|mode| *mode <= 0o7777)?;
        let nanoseconds = |text: &Option<String>| match text {
            Some(text) => times::to_nanoseconds(text),
            None => Some(UNKNOWN_NS),
        };
        let stamp = Stamp {
            device: 0,
            inode: self.inode,
            size: self.size,
            modified_ns: nanoseconds(&self.modified)?,
            changed_ns: nanoseconds(&self.changed)?,
        };
        let xattrs = self.xattrs.iter().map(XattrLine::xattr).collect::<Option<Vec<_>>>()?;
        // The number that means nobody: no file has it, and asking for it would leave the owner as it is.
        if [self.uid, self.gid].contains(&u32::MAX) {
            return None;
        }
        let (user, group) = (self.user.clone(), self.group.clone());
        Some(Attributes { user, group, xattrs, ..Attributes::plain(stamp, mode, self.uid, self.gid) })
    }

    /// Where a symbolic link points.
    pub fn target(&self) -> Option<PathBuf> {
        paths::from_fields(self.target.as_deref()?, self.target_base64.as_deref())
    }
}

/// How the storage itself stands in a list.
const ROOT: &str = ".";

fn path_fields(path: &Path) -> (String, Option<String>) {
    if path.as_os_str().is_empty() { (ROOT.to_owned(), None) } else { paths::to_fields(path) }
}

/// Whether a path goes down and can be handed to the kernel.
pub(crate) fn is_plain(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    // Written as it is read, with nothing between two slashes but a name: no second spelling of one path passes for
    // another one.
    let is_name = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    bytes.len() <= paths::BYTES_MAX && bytes.split(|byte| *byte == b'/').all(is_name) && !bytes.contains(&0)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
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
    /// When the session began that read it, in nanoseconds since 1970, where that was an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_ns: Option<i128>,
    /// The line of `files.jsonl`.
    pub line: FileLine,
}

impl ReadRecord {
    /// The attributes that the copy gets.
    pub fn attributes(&self) -> Attributes {
        Attributes::plain(self.stamp, self.mode, self.line.uid, self.line.gid)
    }
}

/// A line of `SHA256SUMS`, escaped as coreutils does it, so that `sha256sum -c` reads it back.
pub fn sums_line(sha256: &str, path: &Path) -> Vec<u8> {
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
    fn a_plain_path_has_one_spelling_and_stays_below() {
        for plain in ["a", "a/b", "a b/.c/..d/...", "a/b.", "\u{e4}/\n"] {
            assert!(is_plain(Path::new(plain)), "{plain}");
        }
        let long = "a/".repeat(paths::BYTES_MAX / 2) + "a";
        for bad in ["", ".", "..", "/", "/a", "a/", "a//b", "./a", "a/.", "a/./b", "a/../b", "../a", "a\0b", &long] {
            assert!(!is_plain(Path::new(bad)), "{bad:?}");
        }
        // The same as the standard library's idea of it.
        let letters = ["a", ".", "/"];
        for number in 0..3_usize.pow(6) {
            let text: String = (0..6).map(|at| letters[number / 3_usize.pow(at) % 3]).collect();
            let path = Path::new(&text);
            let is_tidy = paths::tidy(path).as_os_str() == path.as_os_str();
            assert_eq!(is_plain(path), paths::stays_below(path) && is_tidy, "{text}");
        }
    }

    #[test]
    fn sums_lines_are_escaped_as_coreutils_does() {
        let line = |name: &str| String::from_utf8(sums_line("00ff", Path::new(name))).expect("text");
        assert_eq!(line("data/a b"), "00ff  data/a b\n");
        assert_eq!(line("data/a\nb\\c"), "\\00ff  data/a\\nb\\\\c\n");
    }
}
