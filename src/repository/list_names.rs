//! The names in a list of files: that none stands there twice, and which of them a backup's own folder holds.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::blocks;
use super::file_list::FileLine;
use crate::engine::Role;
use crate::stream::earlier::Within;

/// What has no content; files have odd numbers.
const DIRECTORY: u64 = 0;
const LINK: u64 = 2;

/// Paths that a list names and what stands there, as keyed hashes: sixteen bytes a line, and nobody can aim at a
/// collision.
#[derive(Default)]
pub(super) struct Known {
    keys: RandomState,
    contents: HashMap<u64, u64>,
    /// What something stands below.
    ways: HashSet<u64>,
    /// What the backup's own folder holds.
    stored: HashSet<u64>,
}

impl Known {
    fn key(&self, path: &Path) -> u64 {
        self.keys.hash_one(path.as_os_str().as_bytes())
    }

    fn content(&self, line: &FileLine) -> u64 {
        match line.role {
            Role::Directory => DIRECTORY,
            Role::Link => LINK,
            Role::Database | Role::Log | Role::Checkpoint | Role::Other => {
                let blocks = line.blocks.as_ref().map(|blocks| &blocks.sha256);
                let by = line.held.as_ref().map(|held| &held.by);
                self.keys.hash_one((&line.sha256, line.size, blocks, by)) | 1
            }
        }
    }

    /// Remembers a line; false if its path was there already.
    pub fn insert(&mut self, path: &Path, line: &FileLine) -> bool {
        let (key, content) = (self.key(path), self.content(line));
        self.contents.insert(key, content).is_none()
    }

    /// Whether a line goes together with those before it: nothing stands below what is no directory. To be asked before
    /// the line is remembered.
    pub fn may_stand(&mut self, path: &Path, line: &FileLine) -> bool {
        if line.role != Role::Directory && self.ways.contains(&self.key(path)) {
            return false;
        }
        for above in path.ancestors().skip(1) {
            let key = self.key(above);
            if self.contents.get(&key).is_some_and(|content| *content != DIRECTORY) {
                return false;
            }
            if !self.ways.insert(key) {
                break; // what stands above that was looked at
            }
        }
        true
    }

    /// Remembers what the backup's own folder holds of a line, and the folders on the way there.
    pub fn insert_stored(&mut self, path: &Path, line: &FileLine) {
        if line.within == Within::Data {
            self.insert_way(path);
        }
        if line.own_blocks().is_some() {
            self.insert_way(&Path::new(blocks::FOLDER).join(path));
        }
    }

    fn insert_way(&mut self, path: &Path) {
        for above in path.ancestors() {
            let key = self.key(above);
            if !self.stored.insert(key) && above != path {
                break;
            }
        }
    }

    /// Whether the backup's own folder should hold something under a path.
    pub fn is_stored(&self, path: &Path) -> bool {
        self.stored.contains(&self.key(path))
    }

    /// Whether a path was listed with the content of this line.
    pub fn has_content(&self, path: &Path, line: &FileLine) -> bool {
        self.contents.get(&self.key(path)) == Some(&self.content(line))
    }
}
