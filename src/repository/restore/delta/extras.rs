//! What stands in a directory and not in the backup.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::vec;

use rustix::fs::{FileType, OFlags, Stat};

use super::ground::Ground;
use super::plan::{Expected, Keys, Step};
use super::sqlite;
use crate::engine::globs::Excludes;
use crate::engine::walk::{CACHE_SIGNATURE, CACHE_TAG};
use crate::error::Result;
use crate::repository::manifest::Manifest;
use crate::stream::stop::StopToken;

/// What a new file system holds by itself.
const LOST_AND_FOUND: &str = "lost+found";

/// What a backup did not take although it was there: it stays.
pub struct LeftOut {
    excludes: Excludes,
    caches: bool,
    /// What could not be read, lossy where it is not UTF-8.
    unread: HashSet<String>,
}

impl LeftOut {
    /// What a manifest says.
    pub fn of(manifest: &Manifest) -> Result<Self> {
        let excludes = Excludes::new(&manifest.exclusion.globs, &manifest.storage())?;
        let unread = manifest.excluded.iter().map(|failure| failure.path.clone()).collect();
        Ok(Self { excludes, caches: manifest.exclusion.caches, unread })
    }

    fn holds(&self, path: &Path, is_directory: bool) -> bool {
        (!self.unread.is_empty() && self.unread.contains(&*path.to_string_lossy()))
            || (!self.excludes.is_empty() && !self.excludes.matching(path, is_directory).is_empty())
    }
}

/// Entries that the backup does not hold.
#[derive(Default)]
pub struct Extras {
    /// Those that are deleted, a directory with all below it as one.
    pub deletions: Vec<Step>,
    /// How many stay, a directory with all below it as one.
    pub kept: u64,
    /// Databases of SQLite among them.
    pub databases: Vec<PathBuf>,
}

struct Walk<'a> {
    ground: &'a Ground,
    expected: &'a Expected,
    keys: &'a Keys,
    left_out: &'a LeftOut,
    stop: &'a StopToken,
    extras: Extras,
}

/// Finds what a backup does not hold. Whatever is mounted somewhere below is refused.
pub fn find(ground: &Ground, expected: &Expected, keys: &Keys, left_out: &LeftOut, stop: &StopToken) -> Result<Extras> {
    let mut walk = Walk { ground, expected, keys, left_out, stop, extras: Extras::default() };
    let mut path = PathBuf::new();
    let mut levels = vec![walk.level(&path)?];
    while let Some((names, is_cache)) = levels.last_mut() {
        let is_cache = *is_cache;
        let Some(name) = names.next() else {
            levels.pop();
            path.pop();
            continue;
        };
        path.push(name);
        if walk.look(&path, is_cache)? {
            let level = walk.level(&path)?;
            levels.push(level);
        } else {
            path.pop();
        }
    }
    Ok(walk.extras)
}

impl Walk<'_> {
    /// The names in a directory, and whether what is new in it stays because it is a cache.
    fn level(&self, path: &Path) -> Result<(vec::IntoIter<OsString>, bool)> {
        let names = self.ground.names(path)?;
        let is_cache = self.left_out.caches && is_cache(self.ground, &path.join(CACHE_TAG));
        Ok((names.into_iter(), is_cache))
    }

    /// Looks at one entry; true for a directory that the backup holds as well.
    fn look(&mut self, path: &Path, is_in_cache: bool) -> Result<bool> {
        self.stop.check()?;
        let Some(stat) = self.ground.look(path)? else { return Ok(false) };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let key = self.keys.of(path);
        if kind.is_dir() && self.expected.directories.contains(&key) {
            self.ground.refuse_mount(path, &stat)?;
            if self.left_out.holds(path, true) {
                self.extras.kept += 1; // it could not be listed
                return Ok(false);
            }
            return Ok(true);
        }
        let is_replaced = self.expected.others.contains(&key) || self.expected.directories.contains(&key);
        if !is_replaced
            && !self.is_of_database(path)
            && (is_in_cache || self.left_out.holds(path, kind.is_dir()) || self.is_own(path))
        {
            self.extras.kept += 1;
            return Ok(false);
        }
        self.ground.refuse_mount(path, &stat)?;
        let below = if kind.is_dir() { self.below(path)? } else { 0 };
        if !is_replaced {
            self.note_database(path, &stat);
            self.extras.deletions.push(Step::delete(path.to_owned(), kind, below));
        }
        Ok(false)
    }

    /// Whether it is what SQLite would replay into a database that the backup holds: it goes, whatever was left out.
    fn is_of_database(&self, path: &Path) -> bool {
        let database = sqlite::database_of(path).filter(|path| self.expected.others.contains(&self.keys.of(path)));
        let opened = database.and_then(|database| self.ground.open_file(&database, OFlags::RDONLY).ok());
        opened.is_some_and(|(file, _)| sqlite::is_database(&file))
    }

    fn is_own(&self, path: &Path) -> bool {
        self.ground.is_mount() && path == Path::new(LOST_AND_FOUND)
    }

    fn note_database(&mut self, path: &Path, stat: &Stat) {
        // Who may not read a file has not opened it as a database either.
        if FileType::from_raw_mode(stat.st_mode).is_file()
            && let Ok((file, _)) = self.ground.open_file(path, OFlags::RDONLY)
            && sqlite::is_database(&file)
        {
            self.extras.databases.push(path.to_owned());
        }
    }

    /// How many entries lie below a directory that goes.
    fn below(&mut self, top: &Path) -> Result<u64> {
        let mut path = top.to_owned();
        let mut count = 0;
        let mut levels = vec![self.ground.names(top)?.into_iter()];
        while let Some(level) = levels.last_mut() {
            self.stop.check()?;
            let Some(name) = level.next() else {
                levels.pop();
                path.pop();
                continue;
            };
            path.push(name);
            let Some(stat) = self.ground.look(&path)? else {
                path.pop();
                continue;
            };
            count += 1;
            self.ground.refuse_mount(&path, &stat)?;
            if FileType::from_raw_mode(stat.st_mode).is_dir() {
                levels.push(self.ground.names(&path)?.into_iter());
            } else {
                self.note_database(&path, &stat);
                path.pop();
            }
        }
        Ok(count)
    }
}

fn is_cache(ground: &Ground, tag: &Path) -> bool {
    let mut begin = [0; CACHE_SIGNATURE.len()];
    let opened = ground.open_file(tag, OFlags::RDONLY);
    opened.is_ok_and(|(mut file, _): (File, Stat)| file.read_exact(&mut begin).is_ok() && begin == CACHE_SIGNATURE)
}
