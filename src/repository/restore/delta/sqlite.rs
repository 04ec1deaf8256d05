//! Databases of SQLite in a directory that is put right: who has one open, and what stands beside one.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags};
use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::ground::Ground;
use crate::engine::sqlite::header::MAGIC;
use crate::error::{Error, ExitCode, Result, printable};

/// What SQLite keeps beside a database: it would be replayed into whatever stands there then.
const SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Whether content begins as a database does.
pub fn begins_so(data: &[u8]) -> bool {
    data.starts_with(MAGIC)
}

/// Whether a file is a database.
pub fn is_database(file: &File) -> bool {
    let mut begin = [0; MAGIC.len()];
    file.read_exact_at(&mut begin, 0).is_ok() && begins_so(&begin)
}

/// What SQLite may keep beside a database.
pub fn beside(database: &Path) -> impl Iterator<Item = PathBuf> {
    let name = database.file_name().unwrap_or_default().to_owned();
    let folder = database.to_owned();
    SUFFIXES.into_iter().map(move |suffix| {
        let mut other = name.clone();
        other.push(suffix);
        folder.with_file_name(other)
    })
}

/// The database that something would stand beside; none where its name has no such end.
pub fn database_of(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.as_encoded_bytes();
    let name =
        SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix.as_bytes())).filter(|name| !name.is_empty())?;
    Some(path.with_file_name(OsString::from_vec(name.to_vec())))
}

/// Refuses to change a database that another process holds a lock of: whoever has it open in WAL mode, or is in a
/// transaction. Exit 5.
pub fn refuse_open(ground: &Ground, database: &Path) -> Result<()> {
    let mut shared_memory = database.as_os_str().to_owned();
    shared_memory.push("-shm");
    for path in [database, Path::new(&shared_memory)] {
        let is_file = ground.look(path)?.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
        if !is_file {
            continue;
        }
        let (file, _) = ground.open_file(path, OFlags::RDONLY)?;
        let (start, length, pid) = (0, 0, None); // all of it, whatever its length
        let lock = Flock { start, length, pid, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
        // Where the file system has no locks, nobody can hold one.
        if let Ok(Some(held)) = fcntl_getlk(&file, &lock) {
            let place = ground.describe(database);
            let by = held.pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            let message = format!("the database {} is open{by}", printable(&place));
            return Err(Error::new(ExitCode::OutOfOrder, message)
                .file(place)
                .hint("End whatever uses it, and repeat the command. Nothing was changed."));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_beside_a_database_is_known_by_its_name() {
        let database = Path::new("sub/main.db");
        for path in beside(database) {
            assert_eq!(database_of(&path).as_deref(), Some(database), "{}", path.display());
        }
        for other in ["main.db", "-wal", "main.db-wa", ""] {
            assert_eq!(database_of(Path::new(other)), None, "{other}");
        }
    }
}
