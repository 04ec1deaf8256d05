//! Readers: each holds a file of its own locked, so that it is alive exactly as long as its process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::event::Phase;
use super::state::Live;
use crate::error::{Error, Result};

/// A reader's progress is one JSON object, padded with blanks to this length and written in one piece.
const PROGRESS_BYTES: usize = 16 * 1024;

/// How far a reader is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReaderProgress {
    /// The process.
    pub pid: u32,
    /// Which list it reads.
    pub phase: Phase,
    /// The file it reads, lossy where it is not UTF-8.
    pub file: String,
    /// Bytes it has read so far.
    pub bytes_done: u64,
    /// Files it has read so far.
    pub files_done: u64,
    /// Bytes a second, lately.
    pub bytes_per_second: u64,
}

/// A reader's own file, locked until the process ends or this is dropped.
#[derive(Debug)]
pub struct ReaderSlot {
    /// The reader's number; numbers are never used twice in a session.
    pub number: u32,
    path: PathBuf,
    file: File,
}

impl ReaderSlot {
    /// Takes the next free number of a session's folder.
    pub fn take(folder: &Path) -> Result<Self> {
        let readers = folder.join("readers");
        let mut number = numbers(&readers)?.into_iter().max().unwrap_or(0);
        loop {
            number += 1;
            let path = readers.join(number.to_string());
            let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            match opened {
                Ok(file) => {
                    file.lock().map_err(|e| Error::io("lock", &path, &e))?;
                    return Ok(Self { number, path, file });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", &path, &error)),
            }
        }
    }

    /// Tells others how far this reader is.
    pub fn report(&self, progress: &ReaderProgress) -> Result<()> {
        let mut text = serde_json::to_vec(progress).expect("progress has only fields that JSON can hold");
        text.resize(PROGRESS_BYTES.max(text.len()), b' ');
        self.file.write_all_at(&text, 0).map_err(|e| Error::io("write", &self.path, &e))
    }
}

/// The readers of a session whose process lives.
pub fn live(folder: &Path) -> Result<Live> {
    let readers = folder.join("readers");
    let mut live = Live::new();
    for number in numbers(&readers)? {
        if is_locked(&readers.join(number.to_string()))? {
            live.insert(number);
        }
    }
    Ok(live)
}

/// What a reader last told about itself, if it has told anything yet.
pub fn progress(folder: &Path, number: u32) -> Option<ReaderProgress> {
    let path = folder.join("readers").join(number.to_string());
    (0..3).find_map(|_| serde_json::from_slice(&fs::read(&path).ok()?).ok())
}

/// Whether some process holds the lock of this file; false where there is no such file.
pub fn is_locked(path: &Path) -> Result<bool> {
    Lock::open(path)?.map_or(Ok(false), |lock| lock.is_held())
}

/// A lock of another process, to be tried again and again; it outlives its name.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Opens a lock without taking it; none where there is no such file.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self { path: path.to_owned(), file })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open", path, &error)),
        }
    }

    /// Whether some process holds it.
    pub fn is_held(&self) -> Result<bool> {
        match self.file.try_lock_shared().and_then(|()| self.file.unlock().map_err(TryLockError::Error)) {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(Error::io("try the lock of", &self.path, &error)),
        }
    }
}

fn numbers(readers: &Path) -> Result<Vec<u32>> {
    let entries = match fs::read_dir(readers) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", readers, &error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", readers, &e))?;
        numbers.extend(entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_lost_its_name_is_held_until_it_is_let_go() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("owner.lock");
        let owner = File::create(&path).expect("created");
        owner.lock().expect("locked");
        let lock = Lock::open(&path).expect("opened").expect("there");
        fs::remove_file(&path).expect("removed");
        assert!(!is_locked(&path).expect("looked"), "by its name it cannot be found any more");
        assert!(lock.is_held().expect("tried"));
        drop(owner);
        assert!(!lock.is_held().expect("tried"));
        assert!(!lock.is_held().expect("tried"), "trying takes nothing");
    }

    #[test]
    fn a_reader_lives_as_long_as_it_holds_its_file() {
        let folder = tempfile::tempdir().expect("temporary directory");
        fs::create_dir(folder.path().join("readers")).expect("created");
        let first = ReaderSlot::take(folder.path()).expect("taken");
        let second = ReaderSlot::take(folder.path()).expect("taken");
        assert_eq!(live(folder.path()).expect("listed"), Live::from([1, 2]));
        drop(first);
        assert_eq!(live(folder.path()).expect("listed"), Live::from([2]));
        assert_eq!(ReaderSlot::take(folder.path()).expect("taken").number, 3, "numbers are not used twice");
        drop(second);
    }
}
