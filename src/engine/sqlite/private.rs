//! Copies of ours: in a folder that goes when they are done with, never beside the source.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::connection::{Access, busy, failure, patiently};
use super::journal;
use super::recognise::Companion;
use super::view::View;
use super::wal;
use crate::attributes::stamp;
use crate::durable;
use crate::engine::ese::checksum::is_zero;
use crate::error::{Error, ExitCode, Result, printable};
use crate::stream::source::Stamp;
use crate::stream::stop::StopToken;

/// Bytes that are copied between two looks for a stop.
const PIECE_BYTES: usize = 512 * 1024;
/// Where SQLite keeps its locks: the pending byte, the reserved byte, and those that readers share.
const LOCKS_BEGIN: u64 = 0x4000_0000;
const LOCKS_LENGTH: u64 = 512;
/// Two writes that are nearer to each other may have the same time.
const CLOCK_TICK: Duration = Duration::from_millis(20);
/// Pages of a step where SQLite copies by itself: some milliseconds.
const STEP_PAGES: i32 = 256;

/// A folder for copies; it goes with this value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one below `home`, with at least so much free space.
    pub fn create(home: &Path, bytes: u64) -> Result<Self> {
        let found = rustix::fs::statvfs(home).map_err(|e| Error::io("look at", home, &e.into()))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        if free < bytes {
            return Err(Error::too_little_space(home, free, bytes)
                .hint("A copy is made there first. Name another place with --state-dir or JETBAK_STATE_DIR."));
        }
        let folder = home.join(format!("{}{:016x}", durable::TEMPORARY_PREFIX, durable::random()));
        DirBuilder::new().mode(0o700).create(&folder).map_err(|e| Error::io("create", &folder, &e))?;
        Ok(Self(folder))
    }

    /// Where the copy of the database stands.
    pub fn database(&self) -> PathBuf {
        self.0.join("database")
    }

    /// Begins the copy of a database that is written from begin to end.
    pub fn begin(&self) -> Result<Copy> {
        let path = self.database();
        Ok(Copy { output: create(&path)?, path })
    }
}

/// A copy that is being written, from begin to end.
#[derive(Debug)]
pub struct Copy {
    output: File,
    path: PathBuf,
}

impl Copy {
    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        bytes.chunks(PIECE_BYTES).try_for_each(|piece| put(&mut self.output, piece, &self.path))
    }

    /// Adds so many zeros, as a hole.
    pub fn skip(&mut self, bytes: u64) -> Result<()> {
        let end = self.output.stream_position().ok().and_then(|at| at.checked_add(bytes));
        let end = end.ok_or_else(|| Error::io("write", &self.path, &ErrorKind::FileTooLarge.into()))?;
        self.output.seek(SeekFrom::Start(end)).map(drop).map_err(|e| Error::io("write", &self.path, &e))
    }

    /// Makes it as long as what was added.
    pub fn finish(mut self) -> Result<()> {
        finish(&mut self.output, &self.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // the session's folder goes as a whole
    }
}

/// What a database and what stands beside it are at one moment.
#[derive(PartialEq, Eq)]
struct Look {
    database: Stamp,
    /// The header of the write-ahead log, where there is one with frames.
    wal: Option<[u8; wal::HEADER_BYTES]>,
    journal: Option<Stamp>,
}

impl Look {
    fn at(path: &Path) -> Result<Self> {
        let error = |e: &std::io::Error| Error::io("look at", path, e);
        let database = stamp_of(path).map_err(|e| error(&e))?;
        let database = database.ok_or_else(|| error(&ErrorKind::NotFound.into()))?;
        let mut head = [0; wal::HEADER_BYTES];
        let wal = match File::open(Companion::Wal.of(path)) {
            Ok(mut file) => file.read_exact(&mut head).is_ok().then_some(head),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(error(&e)),
        };
        let journal = stamp_of(&Companion::Journal.of(path)).map_err(|e| error(&e))?;
        Ok(Self { database, wal, journal: journal.filter(|stamp| stamp.size > 0) })
    }

    /// Whether what was copied between these two looks belongs together. With a write-ahead log that was not begun anew,
    /// everything that a checkpoint may have written into the database meanwhile stands in the log as well.
    fn holds_until(&self, later: &Self) -> bool {
        self.wal == later.wal
            && self.journal == later.journal
            && (self.wal.is_some() || self.database == later.database)
    }

    /// Whether a write that comes now might not be seen by its time.
    fn is_too_fresh(&self, now: i128) -> bool {
        self.wal.is_none() && now.abs_diff(self.database.modified_ns) < CLOCK_TICK.as_nanos()
    }
}

fn stamp_of(path: &Path) -> std::io::Result<Option<Stamp>> {
    match rustix::fs::stat(path) {
        Ok(stat) => Ok(Some(stamp(&stat))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Nanoseconds since 1970 (UTC).
fn now_ns() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}

/// Whether somebody is in the middle of a transaction that writes, or keeps everybody off: what stands in the file then
/// may be half of one, and the rest in that process's memory.
fn is_being_written(database: &File) -> bool {
    let lock = Flock { start: LOCKS_BEGIN, length: LOCKS_LENGTH, ..Flock::from(FlockType::ReadLock) };
    // Where there are no locks, nobody holds one.
    fcntl_getlk(database, &lock).is_ok_and(|other| other.is_some())
}

/// Copies a database with its log or journal into a folder of ours, as they are at one moment, and opens the copy, which
/// recovers it. Locks of others are respected, and none of ours keeps writers off, so that it is tried again where they came
/// between, for `timeout` at most (exit 5 or 6).
///
/// No connection of this process to the database may be open.
pub fn copy_aside(
    path: &Path,
    file: &Path,
    home: &Path,
    timeout: Duration,
    stop: &StopToken,
) -> Result<(Scratch, View)> {
    let begun = Instant::now();
    loop {
        let database = File::open(path).map_err(|e| Error::io("read", path, &e))?;
        let wait = || if is_being_written(&database) { Err(busy()) } else { Ok(()) };
        patiently(path, file, timeout, stop, wait)?.map_err(|e| failure(path, file, &e))?;
        let before = Look::at(path)?;
        let is_too_fresh = before.is_too_fresh(now_ns());
        if is_too_fresh && begun.elapsed() < timeout.max(CLOCK_TICK * 5) {
            stop.sleep(CLOCK_TICK)?;
            continue;
        }
        let scratch = Scratch::create(home, before.database.size)?;
        let target = scratch.database();
        copy(path, &target, stop)?;
        for companion in [Companion::Wal, Companion::Journal] {
            copy(&companion.of(path), &companion.of(&target), stop)?;
        }
        settle_journal(&Companion::Journal.of(&target), path)?;
        // Look again after it was asked whether the journal counts.
        let view = View::open(&target, Access::Writable);
        if !is_too_fresh && before.holds_until(&Look::at(path)?) {
            return Ok((scratch, view.map_err(|e| failure(path, file, &e))?));
        }
        drop(view);
        drop(scratch);
        if begun.elapsed() >= timeout {
            let message = format!("{} changed whenever it was copied, and cannot be locked", printable(path));
            return Err(Error::new(ExitCode::Unfit, message)
                .file(file)
                .hint("Run jetbak as a user who may write into its directory, or back up from a snapshot."));
        }
        stop.sleep(Duration::from_millis(100))?;
    }
}

/// Makes a copy of a journal one that concerns nothing but its database, or removes it where it does not count any more.
fn settle_journal(copy: &Path, database: &Path) -> Result<()> {
    let file = match OpenOptions::new().read(true).write(true).open(copy) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(|e| Error::io("open", copy, &e))?,
    };
    if !journal::stand_alone(&file, database).map_err(|e| Error::io("read", copy, &e))? {
        std::fs::remove_file(copy).map_err(|e| Error::io("delete", copy, &e))?;
    }
    Ok(())
}

/// Copies a file; one that is not there leaves nothing.
fn copy(from: &Path, to: &Path, stop: &StopToken) -> Result<()> {
    let mut input = match File::open(from) {
        Ok(input) => input,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("read", from, &error)),
    };
    let mut output = create(to)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        stop.check()?;
        let got = input.read(&mut piece).map_err(|e| Error::io("read", from, &e))?;
        if got == 0 {
            return finish(&mut output, to);
        }
        put(&mut output, &piece[..got], to)?;
    }
}

fn create(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().write(true).read(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|e| Error::io("create", path, &e))
}

/// Writes a piece, or leaves a hole where it is nothing but zeros.
fn put(output: &mut File, piece: &[u8], path: &Path) -> Result<()> {
    let done = if is_zero(piece) {
        output.seek_relative(i64::try_from(piece.len()).unwrap_or(i64::MAX))
    } else {
        output.write_all(piece)
    };
    done.map_err(|e| Error::io("write", path, &e))
}

/// Makes a file as long as what was put into it, and goes back to its beginning.
fn finish(output: &mut File, path: &Path) -> Result<()> {
    let done =
        output.stream_position().and_then(|end| output.set_len(end)).and_then(|()| output.seek(SeekFrom::Start(0)));
    done.map(drop).map_err(|e| Error::io("write", path, &e))
}

/// Copies all pages of a view into a new file, at the speed of the disk; `go_on` is asked all the time.
pub fn drain(view: &View, file: &Path, target: &Path, go_on: &dyn Fn() -> Result<()>) -> Result<File> {
    if !view.gives_pages {
        return drain_by_backup(view, file, target, go_on);
    }
    let mut output = create(target)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut next = 1;
    loop {
        go_on()?;
        let got = view.read(next, &mut piece).map_err(|e| failure(file, file, &e))?;
        if got == 0 {
            finish(&mut output, target)?;
            return Ok(output);
        }
        put(&mut output, &piece[..got], target)?;
        next += u32::try_from(got / view.page_size).unwrap_or(u32::MAX);
    }
}

/// The same where this SQLite gives no pages: a copy by its own means, which differs in two counters of the header.
fn drain_by_backup(view: &View, file: &Path, target: &Path, go_on: &dyn Fn() -> Result<()>) -> Result<File> {
    let error = |e: rusqlite::Error| failure(file, file, &e);
    let mut copy = Connection::open(target).map_err(error)?;
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").map_err(error)?;
    let backup = Backup::new(view.connection(), &mut copy).map_err(error)?;
    while backup.step(STEP_PAGES).map_err(error)? != StepResult::Done {
        go_on()?;
    }
    drop(backup);
    drop(copy);
    File::open(target).map_err(|e| Error::io("read", target, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sqlite::connection::Access;

    #[test]
    fn both_ways_to_copy_at_once_give_the_same_database() {
        let home = tempfile::tempdir().expect("temporary directory");
        let source = home.path().join("source");
        let application = Connection::open(&source).expect("opened");
        let sql =
            "PRAGMA journal_mode = wal; CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(3000000)), ('it is there')";
        application.execute_batch(sql).expect("made");
        let view = View::open(&source, Access::Shared).expect("opened");
        application.execute_batch("DELETE FROM t").expect("deleted after the view was opened");
        for (name, copy) in [("pages", drain as fn(&_, &_, &_, &_) -> _), ("backup", drain_by_backup)] {
            let target = home.path().join(name);
            let _file: File = copy(&view, &source, &target, &|| Ok(())).expect("copied");
            let copy = super::super::connection::open(&target, Access::Immutable).expect("opened");
            let bytes: i64 = copy.query_row("SELECT sum(length(x)) FROM t", [], |row| row.get(0)).expect("asked");
            assert_eq!(bytes, 3_000_011, "{name}");
            let stopped =
                drain(&view, &source, &home.path().join("stopped"), &|| Err(Error::new(ExitCode::Stopped, "")));
            assert!(stopped.is_err());
            let _ = std::fs::remove_file(home.path().join("stopped"));
        }
    }

    #[test]
    fn a_copy_belongs_together_where_the_log_was_not_begun_anew() {
        let stamp = |size| Stamp { device: 1, inode: 1, size, modified_ns: 0, changed_ns: 0 };
        let look = |size, wal: Option<u8>, journal: Option<u64>| Look {
            database: stamp(size),
            wal: wal.map(|salt| [salt; wal::HEADER_BYTES]),
            journal: journal.map(stamp),
        };
        assert!(look(1, None, None).holds_until(&look(1, None, None)));
        assert!(!look(1, None, None).holds_until(&look(2, None, None)), "somebody wrote");
        assert!(look(1, Some(7), None).holds_until(&look(2, Some(7), None)), "a checkpoint, and the log has it all");
        assert!(!look(1, Some(7), None).holds_until(&look(1, Some(8), None)), "another round of the log");
        assert!(!look(1, None, None).holds_until(&look(1, Some(7), None)), "a log came");
        assert!(!look(1, None, Some(5)).holds_until(&look(1, None, None)), "somebody rolled back");
    }
}
