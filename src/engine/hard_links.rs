//! Which names of a storage mean the same file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Names of one file that were seen so far.
struct Names {
    first: PathBuf,
    unseen: u64,
}

/// Files with several names, by device and inode; those of which every name was seen are forgotten.
#[derive(Default)]
pub struct HardLinks(HashMap<(u64, u64), Names>);

impl HardLinks {
    /// The earlier name of the same file, if there was one.
    pub fn earlier(&mut self, path: &Path, stat: &rustix::fs::Stat) -> Option<PathBuf> {
        let links = stat.st_nlink;
        if links < 2 {
            return None;
        }
        let key = (stat.st_dev, stat.st_ino);
        let Some(names) = self.0.get_mut(&key) else {
            self.0.insert(key, Names { first: path.to_owned(), unseen: links - 1 });
            return None;
        };
        names.unseen = names.unseen.saturating_sub(1);
        if names.unseen == 0 { self.0.remove(&key).map(|names| names.first) } else { Some(names.first.clone()) }
    }
}
