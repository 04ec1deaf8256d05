//! What a restore in place will do: every difference between a backup and a directory, in the order of the backup's list.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is missing, and is made.
    Create,
    /// It is there, and is put right.
    Change,
    /// Something of another kind stands there, and is replaced.
    Replace,
    /// The backup does not hold it.
    Delete,
}

impl Action {
    /// The word used in messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Replace => "replace",
            Self::Delete => "delete",
        }
    }
}

/// How an entry is put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A directory is made, unless there is one.
    Directory,
    /// A symbolic link is made beside and renamed.
    Link,
    /// Another name of what stands under this path by then is made beside and renamed.
    HardLink(PathBuf),
    /// The content is written beside and renamed.
    Anew,
    /// Only the blocks that differ are written.
    InPlace,
    /// Only attributes are given.
    Attributes,
    /// It is removed.
    Delete,
}

/// What was found out about the content of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 of all of it, proven.
    pub sha256: [u8; 32],
    /// Pieces that differ, by where they begin: the SHA-256 of each.
    pub pieces: Vec<(u64, [u8; 32])>,
    /// Data stands where the backup has holes.
    pub holes: bool,
    /// The size differs.
    pub size: bool,
    /// Bytes to be written: in blocks that differ.
    pub bytes: u64,
    /// It begins as a database of SQLite does.
    pub is_database: bool,
}

impl Content {
    /// Whether the directory holds just this.
    pub fn is_same(&self) -> bool {
        self.pieces.is_empty() && !self.holes && !self.size
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
pub struct Step {
    /// The number of its line in the list; none for what the backup does not hold.
    pub line: Option<u64>,
    /// Where, relative to the directory.
    pub path: PathBuf,
    /// What becomes of it.
    pub action: Action,
    /// How.
    pub way: Way,
    /// What it is: in the backup, or where that does not hold it, in the directory.
    pub kind: FileType,
    /// What stands there instead.
    pub instead: Option<FileType>,
    /// In which respects it differs, for people and JSON.
    pub what: Vec<&'static str>,
    /// Its content, of a file that has its own.
    pub content: Option<Box<Content>>,
    /// Device, inode and number of names of what was compared, if that stays.
    pub found: Option<(u64, u64, u64)>,
    /// Its size in the backup, in bytes; of a file with content.
    pub size: u64,
    /// How many entries lie below a directory that is deleted.
    pub below: u64,
    /// What it takes and gives back, in bytes of disk.
    pub space: Space,
}

/// The disk that one entry takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// What the content of the backup takes.
    pub wanted: u64,
    /// What the file that stands there takes.
    pub there: u64,
    /// What comes free when that goes; nothing where it has another name.
    pub freed: u64,
    /// What stands there has holes, so that writing into it takes space.
    pub sparse: bool,
}

impl Space {
    /// Of what stands there.
    fn of(stat: &Stat) -> Self {
        let there = allocated(stat);
        let is_only_name = !FileType::from_raw_mode(stat.st_mode).is_dir() && stat.st_nlink <= 1;
        let sparse = there < u64::try_from(stat.st_size).unwrap_or(0);
        Self { wanted: 0, there, freed: if is_only_name { there } else { 0 }, sparse }
    }
}

/// Bytes of disk that something takes.
pub fn allocated(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}

impl Step {
    /// Puts an entry of the backup right; `found` is what stands there.
    pub fn new(
        line: u64,
        path: PathBuf,
        kind: FileType,
        way: Way,
        found: Option<&Stat>,
        what: Vec<&'static str>,
    ) -> Self {
        let there = found.map(|stat| FileType::from_raw_mode(stat.st_mode));
        let action = match there {
            None => Action::Create,
            Some(there) if there == kind => Action::Change,
            Some(_) => Action::Replace,
        };
        let instead = there.filter(|there| *there != kind);
        let (line, content, space) = (Some(line), None, found.map(Space::of).unwrap_or_default());
        Self { line, path, action, way, kind, instead, what, content, found: None, size: 0, below: 0, space }
    }

    /// The same with its content, so many bytes of it that take so many bytes of disk.
    #[must_use]
    pub fn with(self, content: Content, size: u64, wanted: u64) -> Self {
        let space = Space { wanted, ..self.space };
        Self { content: Some(Box::new(content)), size, space, ..self }
    }

    /// Whether it changes which names the directory holds that it lies in.
    pub fn moves_names(&self) -> bool {
        match self.way {
            Way::Attributes | Way::InPlace => false,
            Way::Directory => self.instead.is_some() || self.what.is_empty(),
            _ => true,
        }
    }

    /// Deletes what the backup does not hold; `below` entries of a directory with it, and so many bytes of disk.
    pub fn delete(path: PathBuf, kind: FileType, below: u64, freed: u64) -> Self {
        let (line, action, way) = (None, Action::Delete, Way::Delete);
        let (instead, what, content, found) = (None, Vec::new(), None, None);
        let space = Space { freed, ..Space::default() };
        Self { line, path, action, way, kind, instead, what, content, found, size: 0, below, space }
    }
}

/// The plan of a restore in place.
#[derive(Debug, Default)]
pub struct Plan {
    /// What to do, in the order of the backup's list.
    pub steps: Vec<Step>,
    /// What is deleted: first what must not be there when its database is changed.
    pub deletions: Vec<Step>,
    /// How many of those come first.
    pub first_deletions: usize,
    /// Entries that are as they should be.
    pub equal: u64,
    /// Entries that the backup does not hold and that stay: they were left out when it was made.
    pub kept: u64,
    /// Sockets, fifos and devices that the backup does not hold and that stay: no backup holds any.
    pub special: u64,
    /// Temporary files of an interrupted restore that lie where this one does not work.
    pub leftovers: Vec<PathBuf>,
    /// Bytes of content that were compared.
    pub compared: u64,
    /// Bytes of content that are written.
    pub bytes: u64,
}

impl Plan {
    /// Whether the directory is what the backup holds.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.deletions.is_empty()
    }

    /// Everything to do, in order of the list, and what is deleted last.
    pub fn all(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().chain(&self.deletions)
    }

    /// How many entries are made, changed, replaced or deleted, those below deleted directories counted.
    pub fn count(&self, action: Action) -> u64 {
        self.all().filter(|step| step.action == action).map(|step| 1 + step.below).sum()
    }
}

/// Paths as keyed hashes: eight bytes each, and nobody can aim at a collision.
#[derive(Default)]
pub struct Keys(RandomState);

impl Keys {
    /// The key of a path.
    pub fn of(&self, path: &Path) -> u64 {
        self.0.hash_one(path.as_os_str().as_bytes())
    }
}

/// What a backup holds, by the keys of the paths.
#[derive(Default)]
pub struct Expected {
    /// Directories.
    pub directories: HashSet<u64>,
    /// Files and links.
    pub others: HashSet<u64>,
}

/// Which names of the directory are one file, and should be.
#[derive(Default)]
pub struct Names {
    /// Which file of the backup an inode stays, and how many of its names are as they should be.
    claims: HashMap<(u64, u64), (u64, u64)>,
    /// The inode that a file of the backup stays, by the key of its first name; only where it has more names.
    kept: HashMap<u64, (u64, u64)>,
}

impl Names {
    /// The first name of a file takes its inode; false where that is another file's already.
    pub fn claim(&mut self, key: u64, inode: (u64, u64)) -> bool {
        if self.claims.contains_key(&inode) {
            return false;
        }
        self.claims.insert(inode, (key, 1));
        self.kept.insert(key, inode);
        true
    }

    /// Another name of a file: whether it is one already.
    pub fn join(&mut self, first: u64, inode: (u64, u64)) -> bool {
        if self.kept.get(&first) != Some(&inode) {
            return false;
        }
        self.claims.get_mut(&inode).is_some_and(|(key, names)| {
            *names += u64::from(*key == first);
            *key == first
        })
    }

    /// How many names of an inode the backup holds as such.
    pub fn count(&self, inode: (u64, u64)) -> u64 {
        self.claims.get(&inode).map_or(1, |(_, names)| *names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_inode_stays_one_file_of_the_backup() {
        let mut names = Names::default();
        assert!(names.claim(1, (8, 10)) && !names.claim(2, (8, 10)) && names.claim(3, (8, 11)));
        assert!(names.join(1, (8, 10)) && !names.join(2, (8, 10)) && !names.join(1, (8, 11)));
        assert_eq!((names.count((8, 10)), names.count((8, 11)), names.count((8, 12))), (2, 1, 1));
    }
}
