//! The one way in which files that stand alone are written, so that they are there whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, renameat_with};

use crate::error::{Error, Result};
use crate::heir::Heir;

/// What to do when the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Fail.
    New,
    /// Replace it in one step.
    Replace,
}

/// Begins the name of every temporary file, so that a sweep can know it.
pub const TEMPORARY_PREFIX: &str = ".jetbak-tmp-";
/// How often a temporary file is made anew where a sweep takes it away before it is locked.
const TEMPORARY_ATTEMPTS: u32 = 100;

/// Writes a file that stands alone; when this returns, it is durable under its name with exactly this content.
///
/// Temporary file in the same directory → write → compare the length → sync → rename → sync of the directory. On any
/// error the temporary file goes. The file is readable by its owner only.
pub fn write(path: &Path, content: &[u8], put: Put) -> Result<()> {
    write_for(None, path, content, put)
}

/// The same of a file that goes to somebody else.
pub fn write_for(heir: Option<Heir>, path: &Path, content: &[u8], put: Put) -> Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    // Locked until it has its name: no sweep takes it for one that a crash left.
    let (temporary, mut file) = create_temporary(folder).map_err(|e| Error::io("write", path, &e))?;
    if let Some(heir) = heir {
        heir.take_file(&file);
    }
    let result = fill(&mut file, content).and_then(|()| rename(&temporary, path, put));
    if result.is_err() {
        let _ = fs::remove_file(&temporary); // the first error is the one to report
    }
    result.map_err(|e| Error::io("write", path, &e))?;
    sync_folder(folder)
}

/// Makes a temporary file that only its owner can read; no sweep takes it away as long as it is open.
///
/// Where the file system has no locks, it is not locked, and a sweep takes nothing away.
pub fn create_temporary(folder: &Path) -> io::Result<(PathBuf, File)> {
    for _ in 0..TEMPORARY_ATTEMPTS {
        let path = folder.join(format!("{TEMPORARY_PREFIX}{:016x}", random()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let is_being_swept = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        if !is_being_swept && file.metadata()?.nlink() > 0 {
            return Ok((path, file));
        } // else a sweep takes it away, or has done so between its making and its locking
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

fn fill(file: &mut File, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    if file.metadata()?.len() != content.len() as u64 {
        return Err(io::Error::other("the file has another length than was written"));
    }
    file.sync_all()
}

/// Renames without ever replacing, unless asked to.
pub fn rename(from: &Path, to: &Path, put: Put) -> io::Result<()> {
    if put == Put::Replace {
        return fs::rename(from, to);
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system does not know the flag: look first, under whatever lock the caller holds.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        result => Ok(result?),
    }
}

/// Makes renames, new names and removals in a directory durable.
pub fn sync_folder(folder: &Path) -> Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder).and_then(|file| file.sync_all()).map_err(|e| Error::io("sync", folder, &e))
}

/// Makes a directory that only its owner can enter; the parent's entry is durable when this returns.
pub fn make_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path).map_err(|e| Error::io("create", path, &e))?;
    sync_folder(path.parent().unwrap_or_else(|| Path::new(".")))
}

/// Removes temporary files that a crash left in a directory; returns how many. One that somebody holds locked is in use,
/// and one that cannot be opened and locked may be: those stay.
pub fn sweep_temporaries(folder: &Path) -> Result<u64> {
    let mut swept = 0;
    for entry in fs::read_dir(folder).map_err(|e| Error::io("list", folder, &e))? {
        let entry = entry.map_err(|e| Error::io("list", folder, &e))?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !entry.file_name().as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes()) {
            continue;
        }
        let path = entry.path();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(&path, flags, Mode::empty()).map(File::from) else { continue };
        // Held until the file is gone: whoever locks it after us sees that it has lost its name.
        if file.try_lock().is_err() {
            continue;
        }
        match fs::remove_file(&path) {
            Ok(()) => swept += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // it has got its name, or another sweep was quicker
            Err(error) => return Err(Error::io("remove", &path, &error)),
        }
    }
    Ok(swept)
}

/// A number that no other process is likely to draw; for names, not for secrets.
pub fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    #[test]
    fn what_exists_is_replaced_only_when_asked() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = folder.path().join("manifest.json");
        write(&path, b"one", Put::New).expect("written");
        assert!(write(&path, b"two", Put::New).expect_err("taken").is_already_there());
        assert_eq!(fs::read(&path).expect("read"), b"one");
        write(&path, b"three", Put::Replace).expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"three");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_sweep_takes_nothing_away_from_those_who_write() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let left = folder.path().join(format!("{TEMPORARY_PREFIX}0"));
        fs::write(&left, "left by a crash").expect("written");
        let written = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !written.load(Ordering::Relaxed) {
                        sweep_temporaries(folder.path()).expect("swept");
                    }
                });
            }
            let write_all = || (0..300).try_for_each(|_| write(&folder.path().join("record"), b"one", Put::Replace));
            let result = write_all();
            written.store(true, Ordering::Relaxed);
            result.expect("written");
        });
        sweep_temporaries(folder.path()).expect("swept");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "what a crash left is gone");
    }
}
