//! The one way in which files that stand alone are written, so that they are there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::error::{Error, Result};

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

/// Writes a file that stands alone; when this returns, it is durable under its name with exactly this content.
///
/// Temporary file in the same directory → write → compare the length → sync → rename → sync of the directory. On any
/// error the temporary file goes. The file is readable by its owner only.
pub fn write(path: &Path, content: &[u8], put: Put) -> Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let temporary = folder.join(format!("{TEMPORARY_PREFIX}{:016x}", random()));
    let result = write_temporary(&temporary, content).and_then(|()| rename(&temporary, path, put));
    if result.is_err() {
        let _ = fs::remove_file(&temporary); // the first error is the one to report
    }
    result.map_err(|e| Error::io("write", path, &e))?;
    sync_folder(folder)
}

fn write_temporary(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
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

/// Removes temporary files that a crash left in a directory, except those that somebody holds locked.
///
/// Call it under the lock of those who write there without locking each file.
pub fn sweep_temporaries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut swept = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io("list", folder, &e))? {
        let entry = entry.map_err(|e| Error::io("list", folder, &e))?;
        if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes()) {
            let path = entry.path();
            // Held until the file is gone: whoever locks it after us sees that it has lost its name.
            let file = File::open(&path).ok();
            if file.as_ref().is_some_and(|file| file.try_lock().is_err()) {
                continue;
            }
            fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
            swept.push(path);
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
}
