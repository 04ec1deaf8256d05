//! What reading a database in WAL mode leaves beside it, and how it goes again.

use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::recognise::Companion;

/// Which files stood beside a database before it was opened. What came since goes with this value, if nobody has the database
/// open: every handle of ours on it must be closed then.
#[derive(Debug)]
pub struct Tidy {
    database: PathBuf,
    had_wal: bool,
    had_shm: bool,
}

impl Tidy {
    /// Looks before a database is opened.
    pub fn look(database: &Path) -> Self {
        let stands = |companion: Companion| companion.of(database).symlink_metadata().is_ok();
        Self { database: database.to_owned(), had_wal: stands(Companion::Wal), had_shm: stands(Companion::Shm) }
    }

    /// Removes what came since.
    ///
    /// As SQLite does it itself: under an exclusive lock on the database, which every reader and writer excludes for as
    /// long as it knows of these files. Whatever stands in the way, they may stay: they are empty, or an index.
    fn clear(&self) {
        let (wal, shm) = (Companion::Wal.of(&self.database), Companion::Shm.of(&self.database));
        let came = |had: bool, path: &Path| !had && path.symlink_metadata().is_ok();
        if !came(self.had_wal, &wal) && !came(self.had_shm, &shm) {
            return;
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let Ok(database) = rustix::fs::open(&self.database, flags, Mode::empty()) else { return };
        if rustix::fs::fcntl_lock(&database, FlockOperation::NonBlockingLockExclusive).is_err() {
            return; // somebody has it open
        }
        if came(self.had_wal, &wal) {
            if wal.metadata().map_or(true, |metadata| metadata.len() > 0) {
                return; // somebody has written since, and has gone
            }
            let _ = std::fs::remove_file(&wal); // it may stay
        }
        if came(self.had_shm, &shm) {
            let _ = std::fs::remove_file(&shm); // it may stay
        }
    }
}

impl Drop for Tidy {
    fn drop(&mut self) {
        self.clear();
    }
}
