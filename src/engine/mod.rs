//! What understands a storage: which files it has, in which order they are read, when their bytes are sound.
//!
//! An engine knows nothing of repositories, sessions or the screen.

pub mod contents;
pub mod ese;
pub mod files;
pub mod globs;
mod hard_links;
mod log_names;
pub mod milestones;
pub mod plan;
pub mod sqlite;
pub(crate) mod walk;
mod watched;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::milestones::{KnownDatabase, Milestone};
use crate::error::{Jet, Result};
use crate::stream::earlier::Earlier;
use crate::stream::source::{Opened, Stamp};
use crate::stream::stop::StopToken;

/// The engines there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineName {
    /// The Extensible Storage Engine.
    Ese,
    /// Databases of SQLite, hot.
    Sqlite,
    /// Any directory, as it is.
    Files,
}

impl EngineName {
    /// The word used in options, messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ese => "ese",
            Self::Sqlite => "sqlite",
            Self::Files => "files",
        }
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a file is to its engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read in the first phase.
    Database,
    /// Read in the second phase; may be truncated.
    Log,
    /// Where recovery begins; read after the logs.
    Checkpoint,
    /// A file of the application, or of the engine, that is neither; read in the first phase.
    Other,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

impl Role {
    /// The word used in messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Log => "log",
            Self::Checkpoint => "checkpoint",
            Self::Other => "other",
            Self::Directory => "directory",
            Self::Link => "link",
        }
    }

    /// Whether it has content of its own.
    pub fn is_file(self) -> bool {
        !matches!(self, Self::Directory | Self::Link)
    }
}

/// One thing that a session reads; the storage itself has an empty path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the storage; absolute below a further root.
    pub path: PathBuf,
    /// What it is.
    pub role: Role,
    /// Bytes, as of the listing; 0 for what has no content.
    pub size: u64,
    /// Bytes of space that the content takes, as of the listing: less than `size` where there are holes.
    pub allocated: u64,
    /// When it was last written, as of the listing, in nanoseconds since 1970 (UTC).
    pub modified_ns: i128,
    /// An earlier entry that is the same file under another name.
    pub hard_link: Option<PathBuf>,
    /// A directory that could not be listed: what lies in it is in no list.
    pub unlisted: bool,
    /// When its content or its attributes changed last, as of the listing, in nanoseconds since 1970 (UTC).
    pub changed_ns: i128,
    /// Its inode, as of the listing; 0 where the engine does not say.
    pub inode: u64,
    /// What an earlier backup holds of it.
    pub earlier: Option<Arc<Earlier>>,
    /// The generation of a log, where its engine counts them.
    pub generation: Option<u32>,
}

impl Entry {
    /// An entry that takes as much space as it has bytes.
    pub fn new(path: impl Into<PathBuf>, role: Role, size: u64) -> Self {
        let path = path.into();
        Self {
            path,
            role,
            size,
            allocated: size,
            modified_ns: 0,
            changed_ns: 0,
            inode: 0,
            hard_link: None,
            unlisted: false,
            earlier: None,
            generation: None,
        }
    }

    /// Bytes that reading it moves: none for another name of a file.
    pub fn bytes_to_read(&self) -> u64 {
        if self.hard_link.is_some() { 0 } else { self.size }
    }
}

/// What a survey finds.
pub enum Surveyed {
    /// Something to read.
    Entry(Entry),
    /// Something that is not taken though nobody asked for that.
    LeftOut(LeftOut),
    /// Something that is not taken, as asked; relative to the storage, and why.
    Excluded(PathBuf, String),
    /// A further name of a file, and the name under which it was seen first, where both are stored as files of their own
    /// because one of them is a log: logs are read at another time. Relative to the storage.
    Parted(PathBuf, PathBuf),
    /// The patterns for what is not taken that match nothing but what others leave out with all below it, by their
    /// numbers. Not said where that cannot be known, because a directory could not be listed.
    UnusedPatterns(Vec<usize>),
    /// Something odd that stands in nobody's way.
    Notice(Notice),
    /// What is known of an instance of the Extensible Storage Engine.
    Instance(Box<ese::facts::Facts>),
}

/// Something odd that stands in nobody's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The ESE number, where there is one.
    pub jet: Option<Jet>,
    /// What is odd, as a sentence with the file's name.
    pub message: String,
    /// The file, relative to the storage.
    pub file: PathBuf,
}

/// Who a storage is, whatever its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The signature of its log stream, hexadecimal.
    Logs(String),
    /// Without one: the signature of its first database, hexadecimal.
    Database(String),
}

/// Something in the storage that a session does not take, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Relative to the storage.
    pub path: String,
    /// The exact bytes where the path is not UTF-8, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// Why, as a few words.
    pub reason: String,
    /// It is always so, and nobody needs to hear of it.
    #[serde(skip)]
    pub is_usual: bool,
}

impl LeftOut {
    /// Names a path and the reason.
    pub fn new(path: &Path, reason: impl Into<String>) -> Self {
        let (path, path_base64) = crate::paths::to_fields(path);
        Self { path, path_base64, reason: reason.into(), is_usual: false }
    }

    /// The same, where it is always so.
    pub fn usual(path: &Path, reason: impl Into<String>) -> Self {
        Self { is_usual: true, ..Self::new(path, reason) }
    }
}

/// A log that a published backup holds, or that none needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLog {
    /// Relative to the storage; absolute where it lies elsewhere.
    pub path: PathBuf,
    /// What it was when it was read, or when it was decided on.
    pub stamp: Stamp,
}

/// What must hold for a log before it may go, beyond that its stamp is the one known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Witness {
    /// Nothing: this session has read it, or nobody needs what it holds.
    Stamp,
    /// Its content is that of the log of this generation in the backup with this sequence number.
    Backup(u64, u32),
}

/// A log that may go.
#[derive(Clone, Debug)]
pub struct Going {
    /// The log.
    pub log: HeldLog,
    /// What must hold for it.
    pub witness: Witness,
    /// Why it may go, in words for people.
    pub why: String,
}

/// What truncate may delete.
#[derive(Clone, Debug, Default)]
pub struct Needless {
    /// The logs, oldest first.
    pub logs: Vec<Going>,
    /// Every log that is there, oldest first, those that may go among them.
    pub all: Vec<PathBuf>,
    /// Logs that would go as well, and are not there.
    pub missing: Vec<PathBuf>,
    /// What there is to say about it.
    pub notices: Vec<Notice>,
}

/// What the published backups say about which logs are needless, where the engine counts generations.
pub struct History<'a> {
    /// Complete full and incremental backups of the same stream, oldest first.
    pub backups: Vec<ese::truncation::Backup>,
    /// The one that this session has published or would publish, by its sequence number.
    pub own: Option<u64>,
    /// The generation from which on logs were needed when this session began; 0 where that is not known.
    pub ceiling: u32,
    /// Why a backup (its sequence number) cannot be relied on, if it cannot, told which logs are there.
    pub doubt: &'a dyn Fn(u64, &ese::log_story::Present) -> Result<Option<String>>,
}

/// What became of a log that was to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone.
    Deleted,
    /// It was gone already.
    Missing,
    /// It is not what was backed up any more, and in which respect; it was left alone.
    Changed(String),
}

/// Understands one storage.
pub trait Engine: Send + Sync + fmt::Debug {
    /// Which engine this is.
    fn name(&self) -> EngineName;

    /// Judges the storage and hands every entry of the database phase to `take`, in reading order: a directory before
    /// what lies in it, a file before its further names; and what is left out. An unfit storage is an error.
    fn survey(&self, stop: &StopToken, take: &mut dyn FnMut(Surveyed) -> Result<()>) -> Result<()>;

    /// Lists the logs of this moment in reading order, oldest first.
    fn list_logs(&self, stop: &StopToken) -> Result<Vec<Entry>>;

    /// Opens an entry of either list; not there any more is exit 6.
    fn open(&self, entry: &Entry, stop: &StopToken) -> Result<Opened>;

    /// Who the storage is, where its content says so; an unfit storage is an error.
    fn mark(&self, _stop: &StopToken) -> Result<Option<Mark>> {
        Ok(None)
    }

    /// How far the storage is now, whether it is fit or not; `known` are databases that a backup has, which began at `since`.
    fn milestones(
        &self,
        _known: &[KnownDatabase],
        _since: jiff::Timestamp,
        _stop: &StopToken,
    ) -> Result<Vec<Milestone>> {
        Ok(Vec::new())
    }

    /// Whether a file that was read is still what it was, where the others are worth nothing without it; else in which
    /// respect it changed.
    fn changed_since(&self, _path: &Path, _stamp: &Stamp) -> Result<Option<String>> {
        Ok(None)
    }

    /// Every log that is there, oldest first, where an engine knows of more than its backup holds.
    fn every_log(&self, _stop: &StopToken) -> Result<Option<Vec<PathBuf>>> {
        Ok(None)
    }

    /// Refuses a truncate that could delete nothing, such as on a file system that is read-only.
    fn require_deletable(&self, _stop: &StopToken) -> Result<()> {
        Ok(())
    }

    /// Which logs may go, where this session holds those (oldest first); one that was left out as asked stays, and nothing
    /// that is newer goes.
    fn truncatable(&self, held: &[HeldLog], history: &History<'_>, stop: &StopToken) -> Result<Needless>;

    /// Deletes one log, if it still is what was known, and has this hash (SHA-256, hexadecimal) where one is given. A
    /// rehearsal only says what would become of it. What takes long ends with a stop, and can be done again.
    fn delete_log(&self, log: &HeldLog, sha256: Option<&str>, rehearse: bool, stop: &StopToken) -> Result<Deletion>;

    /// Makes deletions durable.
    fn settle_deletions(&self, logs: &[HeldLog]) -> Result<()>;

    /// Gives up whatever a reading holds in the storage, also one that is stuck in a pipe: its next piece fails.
    fn let_go(&self) {}
}
