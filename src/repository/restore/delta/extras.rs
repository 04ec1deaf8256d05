//! What stands in a directory and not in the backup.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::vec;

use rustix::fs::{FileType, OFlags, Stat};

use super::ground::{Ground, is_temporary};
use super::plan::{Expected, Keys, Step, allocated};
use super::sqlite;
use crate::engine::globs::Excludes;
use crate::engine::walk::{CACHE_SIGNATURE, CACHE_TAG};
use crate::error::{Error, Jet, Result, printable};
use crate::repository::manifest::Manifest;
use crate::stream::stop::StopToken;

/// What a new file system holds by itself.
const LOST_AND_FOUND: &str = "lost+found";
/// Entries that are named where a directory would take them along.
const KEPT_NAMED_MAX: usize = 5;

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
    /// How many stay because they were left out, a directory with all below it as one.
    pub kept: u64,
    /// Sockets, fifos and devices that stay.
    pub special: u64,
    /// Directories that stay as a whole.
    pub kept_directories: Vec<PathBuf>,
    /// Databases of SQLite among them.
    pub databases: Vec<PathBuf>,
}

/// Why something stays.
enum Stay {
    LeftOut,
    Special,
}

/// What lies below a directory that is to go.
#[derive(Default)]
struct Below {
    entries: u64,
    /// Bytes of disk that come free with them.
    freed: u64,
    /// The first ones that are to stay, and how many.
    kept: Vec<PathBuf>,
    kept_count: u64,
}

/// Looks through a directory for what the backup does not hold.
pub struct Walk<'a> {
    /// The directory.
    pub ground: &'a Ground,
    /// What the backup holds.
    pub expected: &'a Expected,
    /// The keys of its paths.
    pub keys: &'a Keys,
    /// What it did not take.
    pub left_out: &'a LeftOut,
    /// Ends it.
    pub stop: &'a StopToken,
    /// What was found.
    pub extras: Extras,
}

impl Walk<'_> {
    /// Finds what a backup does not hold. Whatever is mounted somewhere below is refused.
    pub fn everything(&mut self) -> Result<()> {
        let mut path = PathBuf::new();
        let mut levels = vec![self.level(&path)?];
        while let Some((names, is_cache)) = levels.last_mut() {
            let is_cache = *is_cache;
            let Some(name) = names.next() else {
                levels.pop();
                path.pop();
                continue;
            };
            path.push(name);
            if self.look(&path, is_cache)? {
                let level = self.level(&path)?;
                levels.push(level);
            } else {
                path.pop();
            }
        }
        Ok(())
    }

    /// Finds what an interrupted restore left in one directory.
    pub fn temporaries(&mut self, directory: &Path) -> Result<()> {
        for name in self.ground.names(directory)?.into_iter().filter(|name| is_temporary(name)) {
            let path = directory.join(name);
            let Some(stat) = self.ground.look(&path)? else { continue };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if !kind.is_dir() && !self.expected.others.contains(&self.keys.of(&path)) {
                self.ground.refuse_mount(&path, &stat)?;
                self.extras.deletions.push(Step::delete(path, kind, 0, freed(&stat)));
            }
        }
        Ok(())
    }

    /// Looks at a directory that has to give way to something else of the backup; returns the bytes of disk that come free.
    /// Refused where something in it is to stay.
    pub fn giving_way(&mut self, path: &Path) -> Result<u64> {
        let mut below = self.below(path)?;
        if self.left_out.holds(path, true) {
            below.kept.insert(0, path.to_owned());
            below.kept_count += 1;
        }
        if below.kept_count == 0 {
            return Ok(below.freed);
        }
        let place = self.ground.describe(path);
        let names: Vec<String> = below.kept.iter().map(printable).collect();
        let more = below.kept_count.saturating_sub(names.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!(
            "the directory {} would give way to what the backup holds there, and with it what backups leave out: {}{more}",
            printable(&place),
            names.join(", ")
        );
        Err(Error::jet(Jet::InvalidParameter, message)
            .file(place)
            .hint("Move that away, or name with --only what lies elsewhere. Nothing was changed."))
    }

    /// The names in a directory, and whether what is new in it stays because it is a cache.
    fn level(&self, path: &Path) -> Result<(vec::IntoIter<OsString>, bool)> {
        let names = self.ground.names(path)?;
        Ok((names.into_iter(), self.is_cache(path)))
    }

    fn is_cache(&self, path: &Path) -> bool {
        self.left_out.caches && is_cache(self.ground, &path.join(CACHE_TAG))
    }

    /// Looks at one entry; true for a directory in which more is to be looked at.
    fn look(&mut self, path: &Path, is_in_cache: bool) -> Result<bool> {
        self.stop.check()?;
        let Some(stat) = self.ground.look(path)? else { return Ok(false) };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let key = self.keys.of(path);
        if kind.is_dir() && self.expected.directories.contains(&key) {
            self.ground.refuse_mount(path, &stat)?;
            if self.left_out.holds(path, true) {
                self.keep(path, kind, &Stay::LeftOut); // it could not be listed
                return Ok(false);
            }
            return Ok(true);
        }
        if self.expected.others.contains(&key) || self.expected.directories.contains(&key) {
            self.ground.refuse_mount(path, &stat)?;
            return Ok(false);
        }
        if let Some(stay) = self.stays(path, kind, is_in_cache) {
            self.keep(path, kind, &stay);
            return Ok(false);
        }
        self.ground.refuse_mount(path, &stat)?;
        let below = if kind.is_dir() { self.below(path)? } else { Below::default() };
        if below.kept_count > 0 {
            return Ok(true); // it stays for the sake of what is in it, and the rest of that goes
        }
        self.note_database(path, kind);
        let freed = below.freed.saturating_add(freed(&stat));
        self.extras.deletions.push(Step::delete(path.to_owned(), kind, below.entries, freed));
        Ok(false)
    }

    /// Whether something that the backup does not hold stays. What a path says is not enough for a special file: something
    /// else may have taken its place.
    fn stays(&self, path: &Path, kind: FileType, is_in_cache: bool) -> Option<Stay> {
        let is_leftover = !kind.is_dir() && path.file_name().is_some_and(is_temporary);
        if is_leftover || self.is_of_database(path) {
            return None;
        }
        let is_left_out = is_in_cache
            || self.left_out.holds(path, kind.is_dir())
            || self.is_own(path)
            || (kind.is_dir() && self.is_cache(path));
        match () {
            () if is_left_out => Some(Stay::LeftOut),
            () if kind.is_dir() || kind.is_file() || kind.is_symlink() => None,
            () => Some(Stay::Special),
        }
    }

    fn keep(&mut self, path: &Path, kind: FileType, stay: &Stay) {
        match stay {
            Stay::LeftOut => self.extras.kept += 1,
            Stay::Special => self.extras.special += 1,
        }
        if kind.is_dir() {
            self.extras.kept_directories.push(path.to_owned());
        }
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

    fn note_database(&mut self, path: &Path, kind: FileType) {
        // Who may not read a file has not opened it as a database either.
        if kind.is_file()
            && let Ok((file, _)) = self.ground.open_file(path, OFlags::RDONLY)
            && sqlite::is_database(&file)
        {
            self.extras.databases.push(path.to_owned());
        }
    }

    /// What lies below a directory that goes.
    fn below(&mut self, top: &Path) -> Result<Below> {
        let mut path = top.to_owned();
        let mut below = Below::default();
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
            let kind = FileType::from_raw_mode(stat.st_mode);
            if self.stays(&path, kind, false).is_some() {
                below.kept_count += 1;
                if below.kept.len() < KEPT_NAMED_MAX {
                    below.kept.push(path.clone());
                }
                path.pop();
                continue;
            }
            below.entries += 1;
            below.freed = below.freed.saturating_add(freed(&stat));
            self.ground.refuse_mount(&path, &stat)?;
            if kind.is_dir() {
                levels.push(self.ground.names(&path)?.into_iter());
            } else {
                self.note_database(&path, kind);
                path.pop();
            }
        }
        Ok(below)
    }
}

/// What interrupted restores left somewhere below a directory; nothing of other file systems.
pub fn leftovers(ground: &Ground, top: &Path, stop: &StopToken) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        stop.check()?;
        // What cannot be listed is nothing that a restore has written into.
        for name in ground.names(&folder).unwrap_or_default() {
            let path = folder.join(&name);
            let Some(stat) = ground.look(&path)? else { continue };
            if FileType::from_raw_mode(stat.st_mode).is_dir() {
                if ground.refuse_mount(&path, &stat).is_ok() {
                    folders.push(path);
                }
            } else if is_temporary(&name) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Bytes of disk that come free when something goes; none where it has another name.
fn freed(stat: &Stat) -> u64 {
    let is_last = FileType::from_raw_mode(stat.st_mode).is_dir() || stat.st_nlink <= 1;
    if is_last { allocated(stat) } else { 0 }
}

fn is_cache(ground: &Ground, tag: &Path) -> bool {
    let mut begin = [0; CACHE_SIGNATURE.len()];
    let opened = ground.open_file(tag, OFlags::RDONLY);
    opened.is_ok_and(|(mut file, _): (File, Stat)| file.read_exact(&mut begin).is_ok() && begin == CACHE_SIGNATURE)
}
