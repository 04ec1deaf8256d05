//! Opening a database so that nothing of it is changed, and what it means when that fails.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::stream::stop::{StopToken, WATCH_INTERVAL};
use crate::times;

/// How a database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read-only, under the locks that every reader takes.
    Shared,
    /// Without locks, as a file that nobody writes to; what stands beside it does not count.
    Immutable,
    /// For writing: only for copies of ours, which may have to be recovered, and for a checkpoint.
    Writable,
}

/// What a failure of SQLite means to whoever wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Somebody holds a lock: try again.
    Busy,
    /// It cannot be read where it lies without changing it: a journal to roll back, or a directory that cannot be written.
    NeedsCopy,
    /// It is none that SQLite can read.
    Damaged,
    /// Anything else.
    Other,
}

/// The journal of a transaction that was interrupted has to be rolled back first.
pub const HOT_JOURNAL: i32 = ffi::SQLITE_READONLY_ROLLBACK;

/// Opens a database; nothing of it is read yet. The path is absolute.
pub fn open(path: &Path, access: Access) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match access {
        Access::Shared => {
            let flags = flags | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NOFOLLOW;
            Connection::open_with_flags(path, flags)?
        }
        Access::Immutable => {
            let flags = flags | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(immutable_uri(path), flags)?
        }
        Access::Writable => Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_READ_WRITE)?,
    };
    connection.busy_timeout(Duration::ZERO)?; // waiting is ours: it ends with a stop
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    Ok(connection)
}

fn immutable_uri(path: &Path) -> PathBuf {
    let escape = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => char::from(*byte).to_string(),
        other => format!("%{other:02x}"),
    };
    let escaped: String = path.as_os_str().as_bytes().iter().map(escape).collect();
    PathBuf::from(format!("file:{escaped}?immutable=1"))
}

/// What a failure means.
pub fn trouble(error: &rusqlite::Error) -> Trouble {
    match error.sqlite_error().map(|error| error.code) {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            Trouble::Busy
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => Trouble::NeedsCopy,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Trouble::Damaged,
        _ => Trouble::Other,
    }
}

/// A failure as an error of ours; `file` is how the user knows it.
pub fn failure(path: &Path, file: &Path, error: &rusqlite::Error) -> Error {
    let name = printable(path);
    match trouble(error) {
        Trouble::Busy => Error::new(ExitCode::OutOfOrder, format!("{name} is locked by another process")),
        Trouble::Damaged => Error::jet(Jet::DatabaseCorrupted, format!("{name} cannot be read by SQLite: {error}"))
            .hint(
                "It is damaged or encrypted. --exclude or --keep-going leave it out; --engine files takes it as it is.",
            ),
        Trouble::NeedsCopy | Trouble::Other => {
            let jet = match error.sqlite_error().map(|error| error.code) {
                Some(ErrorCode::DiskFull) => Jet::DiskFull,
                Some(ErrorCode::PermissionDenied) => Jet::FileAccessDenied,
                _ => Jet::DiskIO,
            };
            Error::jet(jet, format!("cannot read {name}: {error}"))
        }
    }
    .file(file)
}

/// Somebody holds a lock.
pub fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)
}

/// Does something long with a connection, which is interrupted when somebody asks to stop.
pub fn interruptibly<T>(connection: &Connection, stop: &StopToken, work: impl FnOnce() -> T) -> Result<T> {
    let interrupt = connection.get_interrupt_handle();
    let (over, waits) = mpsc::channel::<()>();
    let done = thread::scope(|scope| {
        scope.spawn(move || {
            while waits.recv_timeout(WATCH_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                if stop.cause().is_some() {
                    interrupt.interrupt();
                }
            }
        });
        let done = work();
        drop(over);
        done
    });
    stop.check()?;
    Ok(done)
}

/// Tries something until it is not busy any more, for `timeout` at most; a stop ends it at once.
pub fn patiently<T>(
    path: &Path,
    file: &Path,
    timeout: Duration,
    stop: &StopToken,
    mut work: impl FnMut() -> rusqlite::Result<T>,
) -> Result<rusqlite::Result<T>> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match work() {
            Err(error) if trouble(&error) == Trouble::Busy => {
                if begun.elapsed() >= timeout {
                    let waited = times::duration(timeout);
                    let message = format!("{} was locked by another process for {waited}", printable(path));
                    return Err(Error::new(ExitCode::OutOfOrder, message).file(file).hint(
                        "Let the application end its transaction (or leave its exclusive mode), or wait longer with --busy-timeout.",
                    ));
                }
                stop.sleep(pause)?;
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            done => return Ok(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_bytes_becomes_a_uri() {
        let odd = Path::new(std::ffi::OsStr::from_bytes(b"/a b/x?\xff%#.db"));
        assert_eq!(immutable_uri(odd), Path::new("file:/a%20b/x%3f%ff%25%23.db?immutable=1"));
    }
}
