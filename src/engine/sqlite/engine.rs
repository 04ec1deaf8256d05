//! The `sqlite` engine: a directory with databases of SQLite, each copied hot and whole. What is none, and belongs to none,
//! is read as the files engine reads it.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::connection::{Access, Trouble, busy, failure, interruptibly, open, patiently, trouble};
use super::facts::Terms;
use super::milestones::milestones_now;
use super::recognise::{
    Companion, Content, HEAD_BYTES, is_named_as_database, looks_encrypted, may_be_database, recognise,
};
use super::source::{DatabaseSource, Opened as Database, Policy, Readings, needs_recovery};
use super::tidy::Tidy;
use super::view::View;
use crate::engine::ese::at_rest::is_at_rest;
use crate::engine::ese::files;
use crate::engine::files::{FilesEngine, Reached};
use crate::engine::milestones::{KnownDatabase, Milestone};
use crate::engine::{
    Deletion, Engine, EngineName, Entry, Going, HeldLog, History, LeftOut, Mark, Needless, Notice, Role, Surveyed,
    Witness,
};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::stream::source::{Opened, Stamp};
use crate::stream::stop::StopToken;

/// A directory with databases, and how they are to be read.
#[derive(Debug)]
pub struct SqliteEngine {
    files: FilesEngine,
    storage: PathBuf,
    terms: Terms,
    scratch: PathBuf,
    is_at_rest: bool,
    readings: Readings,
}

/// What a file turned out to be.
enum Place {
    Database,
    Plain,
    /// It belongs to this database.
    Beside(PathBuf),
    /// One that only an extension of SQLite can read, and that is in use.
    Foreign(PathBuf),
    /// A plain file that is named like a database and looks encrypted.
    Encrypted,
}

impl SqliteEngine {
    /// An engine over a directory that was opened; copies that are needed on the way are made below `scratch`.
    pub fn new(files: FilesEngine, storage: &Path, terms: &Terms, scratch: &Path) -> Self {
        Self {
            files,
            storage: storage.to_owned(),
            terms: terms.clone(),
            scratch: scratch.to_owned(),
            is_at_rest: is_at_rest(storage),
            readings: Readings::default(),
        }
    }

    fn policy(&self, stop: &StopToken) -> Policy {
        let (terms, scratch) = (self.terms.clone(), self.scratch.clone());
        Policy { terms, scratch, is_at_rest: self.is_at_rest, stop: stop.clone() }
    }

    /// The first bytes of a file; none where it cannot be read, which fails when it is read.
    fn head(&self, relative: &Path) -> Vec<u8> {
        files::open(&self.storage.join(relative)).map_or_else(|_| Vec::new(), |(file, _)| head_of(&file))
    }

    /// What a file is. Only those are opened that a database can be, by length or name, and what may belong to one.
    fn place(&self, entry: &Entry) -> Place {
        let path = &entry.path;
        if let Some((base, _)) = Companion::parse(path) {
            let base_head = self.head(&base);
            match recognise(&base_head) {
                Content::Database(_) | Content::DamagedDatabase(_) => return Place::Beside(base),
                _ => {}
            }
            let is_base = self.storage.join(&base).symlink_metadata().is_ok_and(|metadata| metadata.is_file());
            if is_base && matches!(recognise(&self.head(path)), Content::Wal | Content::Journal) {
                // The journal of a first transaction stands beside an empty file.
                return if base_head.is_empty() { Place::Beside(base) } else { Place::Foreign(base) };
            }
            return Place::Plain;
        }
        if !may_be_database(path, entry.size) && (entry.size == 0 || !self.has_companion(path)) {
            return Place::Plain;
        }
        let head = self.head(path);
        match recognise(&head) {
            Content::Database(_) | Content::DamagedDatabase(_) => Place::Database,
            _ if is_named_as_database(path) && looks_encrypted(&head) => Place::Encrypted,
            _ => Place::Plain,
        }
    }

    fn has_companion(&self, path: &Path) -> bool {
        let database = self.storage.join(path);
        [Companion::Wal, Companion::Journal].iter().any(|one| one.of(&database).symlink_metadata().is_ok())
    }

    /// Whether some of a database's content stands beside it.
    fn has_open_log(&self, path: &Path) -> bool {
        let database = self.storage.join(path);
        let is_used = |log: PathBuf| log.symlink_metadata().is_ok_and(|metadata| metadata.len() > 0);
        [Companion::Wal, Companion::Journal].iter().any(|one| is_used(one.of(&database)))
    }

    fn take_file(&self, mut entry: Entry, take: &mut dyn FnMut(Surveyed) -> Result<()>) -> Result<bool> {
        // What belongs to a database is in no list.
        entry.hard_link = entry.hard_link.filter(|first| Companion::parse(first).is_none());
        entry.role = match self.place(&entry) {
            Place::Database => {
                if entry.hard_link.is_some() && needs_recovery(&self.storage.join(&entry.path)) {
                    return Err(self.has_two_names(&entry));
                }
                Role::Database
            }
            Place::Plain => Role::Other,
            Place::Beside(base) => {
                let name = printable(base.file_name().unwrap_or_default());
                let why = format!("a part of {name}, which SQLite reads as a whole");
                take(Surveyed::LeftOut(LeftOut::usual(&entry.path, why)))?;
                return Ok(false);
            }
            Place::Foreign(base) => return Err(self.in_use_by_others(&entry.path, &base)),
            Place::Encrypted => {
                let message = format!(
                    "{} is named like a database, and SQLite cannot read it (it may be encrypted): it is taken as a plain file",
                    printable(&entry.path)
                );
                take(Surveyed::Notice(Notice { jet: None, message, file: entry.path.clone() }))?;
                Role::Other
            }
        };
        let is_database = entry.role == Role::Database;
        if is_database && self.has_open_log(&entry.path) {
            entry.inode = 0; // what the file system says of its own file does not tell whether it changed
        }
        take(Surveyed::Entry(entry))?;
        Ok(is_database)
    }

    /// A database that is in use under another name than its first: there its log would not be found.
    fn has_two_names(&self, entry: &Entry) -> Error {
        let first = entry.hard_link.as_deref().unwrap_or(&entry.path);
        let message = format!(
            "{} is in use, and is another name of {}, where SQLite would not find its log",
            printable(self.storage.join(&entry.path)),
            printable(first)
        );
        Error::new(ExitCode::Unfit, message)
            .file(&entry.path)
            .hint("Leave the other names out with --exclude, or give the database one name only.")
    }

    /// A database whose pages only its own application can read: its log and itself cannot be copied at one moment.
    fn in_use_by_others(&self, path: &Path, base: &Path) -> Error {
        let (name, base_name) = (printable(self.storage.join(path)), printable(self.storage.join(base)));
        let message = format!(
            "{base_name} is no database that SQLite can read (it may be encrypted), and {name} says it is in use"
        );
        Error::new(ExitCode::Unfit, message).file(base).hint(
            "Close its application first: then it is copied as a plain file. Or leave it out with --exclude, or back up a \
             snapshot with --engine files.",
        )
    }

    fn open_database(&self, entry: &Entry, stop: &StopToken) -> Result<Opened> {
        let (file, watched) = match self.files.reach(entry)? {
            Reached::Opened(opened) => return Ok(opened),
            Reached::File { file, watched, .. } => (file, watched),
        };
        let path = watched.absolute();
        if let Content::DamagedDatabase(_) | Content::Foreign | Content::Wal | Content::Journal =
            recognise(&head_of(&file))
        {
            return Err(Self::not_a_database(&path, entry, &head_of(&file)));
        }
        let policy = self.policy(stop);
        let has_other_names = file.metadata().is_ok_and(|metadata| metadata.nlink() > 1);
        let mut database = Database::open(&path, &entry.path, Some(file), &policy)?;
        if has_other_names && !self.is_at_rest && database.view().is_wal && !needs_recovery(&path) {
            database.warn(
                "it has other names (hard links): an application that uses it under one of them keeps its log there, where \
                 nobody finds it, and then this copy is of no use",
            );
        }
        if let Some(what) = watched.lost_name()? {
            let message = format!("{} is not the database any more that it was: {what}", printable(&path));
            return Err(Error::new(ExitCode::Unfit, message).file(&entry.path).hint("Repeat the command."));
        }
        Ok(Opened::Data(Box::new(DatabaseSource::new(database, watched, policy, &self.readings)?)))
    }

    fn not_a_database(path: &Path, entry: &Entry, head: &[u8]) -> Error {
        let name = printable(path);
        match recognise(head) {
            Content::DamagedDatabase(what) => {
                Error::jet(Jet::DatabaseCorrupted, format!("{name} is damaged: {what} in its header cannot be"))
                    .hint("Restore it. --exclude or --keep-going leave it out; --engine files takes it as it is.")
            }
            _ => Error::new(
                ExitCode::Unfit,
                format!("{name} is not the database any more that it was when the backup began"),
            )
            .hint("Begin anew."),
        }
        .file(&entry.path)
    }

    /// The write-ahead logs that take space, of databases that are not left out as asked.
    fn logs_to_empty(&self, stop: &StopToken) -> Result<Vec<HeldLog>> {
        let mut found = Vec::new();
        self.files.each_file(stop, &mut |path, _| {
            let log = Companion::Wal.of(path);
            let size = self.storage.join(&log).symlink_metadata().map_or(0, |metadata| metadata.len());
            if size > 0 && matches!(recognise(&self.head(path)), Content::Database(_)) {
                let stamp = Stamp { device: 0, inode: 0, size, modified_ns: 0, changed_ns: 0 };
                found.push(HeldLog { path: log, stamp });
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Moves everything from the log into the database and cuts the log to nothing. Readers and writers go on; one that
    /// keeps the log in use for too long is exit 5, and nothing is lost by that.
    fn empty(&self, base: &Path, stop: &StopToken) -> Result<()> {
        let path = self.storage.join(base);
        let error = |e: rusqlite::Error| failure(&path, base, &e);
        let _tidy = Tidy::look(&path); // it goes after the connection
        // Its lock keeps whoever opens it for writing, us too, from rolling back a journal in the source.
        let timeout = self.terms.busy_timeout();
        let reader = patiently(&path, base, timeout, stop, || View::open(&path, Access::Shared))?;
        let reader =
            reader.map_err(|e| if trouble(&e) == Trouble::NeedsCopy { left_alone(&path, base) } else { error(e) })?;
        if !reader.is_wal {
            return Ok(()); // such a log does not count
        }
        reader.end();
        let connection = open(&path, Access::Writable).map_err(error)?;
        let checkpoint = |how: &str| -> rusqlite::Result<()> {
            let sql = format!("PRAGMA wal_checkpoint({how})");
            let is_busy: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
            if is_busy == 0 { Ok(()) } else { Err(busy()) }
        };
        let done = interruptibly(&connection, stop, || {
            let _ = checkpoint("PASSIVE"); // no writer waits for this one, and the next one has little left to do
            patiently(&path, base, timeout, stop, || checkpoint("TRUNCATE"))
        })?;
        let safe = "The backup is published and safe, and nothing is lost. Run `jetbak truncate` again when nobody reads \
             the database for long.";
        done.map_err(|e| e.hint(safe))?.map_err(|e| error(e).hint(safe))
    }
}

fn left_alone(path: &Path, base: &Path) -> Error {
    let message = format!(
        "{} has a journal to be rolled back, or its directory cannot be written: its log was left alone",
        printable(path)
    );
    Error::new(ExitCode::Unfit, message)
        .file(base)
        .hint("The backup is published and safe. Let its application open it once, then run `jetbak truncate` again.")
}

/// The first bytes of an open file.
pub fn head_of(file: &std::fs::File) -> Vec<u8> {
    let mut head = vec![0; HEAD_BYTES];
    let mut got = 0;
    while got < head.len() {
        match file.read_at(&mut head[got..], got as u64) {
            Ok(0) | Err(_) => break, // what cannot be read fails when it is read
            Ok(bytes) => got += bytes,
        }
    }
    head.truncate(got);
    head
}

impl Engine for SqliteEngine {
    fn milestones(&self, known: &[KnownDatabase], since: jiff::Timestamp, stop: &StopToken) -> Result<Vec<Milestone>> {
        milestones_now(&self.storage, known, since, stop)
    }

    fn name(&self) -> EngineName {
        EngineName::Sqlite
    }

    fn survey(&self, stop: &StopToken, take: &mut dyn FnMut(Surveyed) -> Result<()>) -> Result<()> {
        let mut databases = 0_u64;
        self.files.survey(stop, &mut |found| match found {
            Surveyed::Entry(entry) if entry.role.is_file() => {
                databases += u64::from(self.take_file(entry, take)?);
                Ok(())
            }
            other => take(other),
        })?;
        if databases == 0 {
            let message = format!("no database of SQLite in {}", printable(&self.storage));
            let hint = "--engine files takes any directory as it is; `jetbak inspect FILE` says what a file is.";
            return Err(Error::new(ExitCode::Failed, message).file(&self.storage).hint(hint));
        }
        Ok(())
    }

    fn mark(&self, stop: &StopToken) -> Result<Option<Mark>> {
        // An unfit storage is told before anything is made for it.
        self.survey(stop, &mut |_| Ok(()))?;
        Ok(None)
    }

    fn list_logs(&self, _: &StopToken) -> Result<Vec<Entry>> {
        Ok(Vec::new())
    }

    fn open(&self, entry: &Entry, stop: &StopToken) -> Result<Opened> {
        if entry.role == Role::Database { self.open_database(entry, stop) } else { self.files.open(entry, stop) }
    }

    fn require_deletable(&self, _: &StopToken) -> Result<()> {
        if !self.is_at_rest {
            return Ok(());
        }
        let message =
            format!("{} is on a file system that is read-only: no log can be emptied", printable(&self.storage));
        Err(Error::jet(Jet::InvalidParameter, message).file(&self.storage).hint("Leave --truncate out."))
    }

    fn truncatable(&self, _: &[HeldLog], _: &History<'_>, stop: &StopToken) -> Result<Needless> {
        let why = "a checkpoint writes what it holds into its database";
        let going = |log| Going { log, witness: Witness::Stamp, why: why.to_owned() };
        let logs = self.logs_to_empty(stop)?.into_iter().map(going).collect();
        Ok(Needless { logs, ..Needless::default() })
    }

    fn delete_log(&self, log: &HeldLog, _: Option<&str>, rehearse: bool, stop: &StopToken) -> Result<Deletion> {
        match Companion::parse(&log.path) {
            Some((_, Companion::Wal)) if rehearse => Ok(Deletion::Deleted),
            Some((base, Companion::Wal)) if self.storage.join(&log.path).exists() => {
                self.empty(&base, stop).map(|()| Deletion::Deleted)
            }
            _ => Ok(Deletion::Missing),
        }
    }

    fn settle_deletions(&self, _: &[HeldLog]) -> Result<()> {
        Ok(()) // a checkpoint is durable when it is done
    }

    fn let_go(&self) {
        self.readings.let_go();
    }
}
