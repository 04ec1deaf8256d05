//! What begin fixed for a whole session: `session.json` in the session's folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::event::Kind;
use super::state::Terms;
use crate::durable;
use crate::engine::ese::facts::{Facts, Terms as EseTerms};
use crate::engine::ese::increment;
use crate::engine::sqlite::facts::Terms as SqliteTerms;
use crate::engine::{EngineName, LeftOut};
use crate::error::{Error, ExitCode, Result, printable};
use crate::paths;
use crate::roots::Roots;

/// The version of `session.json` and of the journal beside it.
const FORMAT: u32 = 1;

/// What was said at begin, by whom and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    #[serde(rename = "type")]
    type_name: String,
    format: u32,
    /// The session's id.
    pub session: String,
    storage: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    storage_base64: Option<String>,
    storage_given: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    storage_given_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repository_base64: Option<String>,
    /// The engine, as chosen.
    pub engine: EngineName,
    /// The kind asked for.
    pub kind: Kind,
    /// What `--log` named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<String>,
    /// What is left out as asked.
    #[serde(default, skip_serializing_if = "Exclusion::is_empty")]
    pub exclusion: Exclusion,
    /// `--keep-going`: leave out what cannot be read.
    #[serde(default)]
    pub keep_going: bool,
    /// `--keep-partial`: a stop or an abort leaves the partial.
    #[serde(default)]
    pub keep_partial: bool,
    /// `--tag`: what the backup is tagged with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `--retries`: how often a file that changes while it is read is read again.
    pub retries: u32,
    /// When the session began (UTC).
    pub began: jiff::Timestamp,
    /// Begun by a `backup` that also ends it.
    pub one_shot: bool,
    /// Who began it.
    pub by: Who,
    /// Bytes of the files in the database list.
    pub databases_bytes: u64,
    /// What the engine leaves out, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Names of one file that are stored as files of their own, as far as each was told, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parted: Vec<LeftOut>,
    /// How many entries, or directories with all below them, are left out as asked.
    #[serde(default)]
    pub excluded: u64,
    /// What was said about an instance of the Extensible Storage Engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ese: Option<EseTerms>,
    /// What such an instance was at begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Facts>,
    /// What was said about databases of SQLite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<SqliteTerms>,
    /// The backup that this one builds on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The same, where the logs after it are taken: what they have to join onto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_parent: Option<increment::Parent>,
    /// What of it an earlier session had read, which came to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
}

/// What a session takes over from one that came to nothing, so that it need not be read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// The session, the newest where there are several.
    pub session: String,
    /// Files that it has read as a whole, logs among them.
    pub files: u64,
    /// Bytes of them, and of files that it has begun.
    pub bytes: u64,
}

/// The backup that a session builds on, as it was chosen at begin, and what of it is taken over without reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its id.
    pub id: String,
    /// SHA-256 of its manifest then, hexadecimal: it must still be that one when this backup is published.
    pub manifest_sha256: String,
    /// Only logs are taken of databases, instead of their changed blocks.
    #[serde(default)]
    pub by_logs: bool,
    /// What is taken as unchanged of what is no log.
    pub unchanged: Counts,
}

/// How much of something a list names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Files with content.
    pub files: u64,
    /// Their bytes, those of a file with several names once.
    pub bytes: u64,
    /// Directories below the storage.
    pub directories: u64,
    /// Symbolic links.
    pub links: u64,
    /// Further names of files, counted in `files` too.
    pub hard_links: u64,
}

/// What is left out of a storage because somebody asked for that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusion {
    /// `--exclude` and the lines of `--exclude-from`.
    #[serde(default)]
    pub globs: Vec<String>,
    /// `--exclude-caches`: what lies in directories marked by a `CACHEDIR.TAG`.
    #[serde(default)]
    pub caches: bool,
    /// `--one-file-system`: what lies on other file systems.
    #[serde(default)]
    pub other_file_systems: bool,
}

impl Exclusion {
    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The one field that every version of `session.json` has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// A person or job on a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Who {
    /// The user's number.
    pub uid: u32,
    /// The user's name, where the environment tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The process.
    pub pid: u32,
    /// The host.
    pub host: String,
}

impl Who {
    /// The user and process that run this code.
    pub fn current() -> Self {
        let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
        Self {
            uid: rustix::process::getuid().as_raw(),
            user: user.filter(|name| !name.is_empty()),
            pid: std::process::id(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.user {
            Some(user) => write!(f, "{}", printable(user))?,
            None => write!(f, "uid {}", self.uid)?,
        }
        write!(f, " (pid {} on {})", self.pid, self.host)
    }
}

/// The parts of a record that are not said by the code that makes it.
#[derive(Clone, Debug)]
pub struct Given {
    /// The session's id.
    pub session: String,
    /// The storage's canonical path.
    pub storage: PathBuf,
    /// The storage as it was given, made absolute but not resolved.
    pub storage_given: PathBuf,
    /// The repository's canonical path, where there is one.
    pub repository: Option<PathBuf>,
    /// The engine, as chosen.
    pub engine: EngineName,
    /// The kind asked for.
    pub kind: Kind,
    /// When the session began (UTC).
    pub began: jiff::Timestamp,
    /// Begun by a `backup` that also ends it.
    pub one_shot: bool,
}

impl Record {
    /// The record of a new session, with every option at its default.
    pub fn new(given: &Given) -> Self {
        let (storage, storage_base64) = paths::to_fields(&given.storage);
        let (storage_given, storage_given_base64) = paths::to_fields(&given.storage_given);
        let (repository, repository_base64) = match &given.repository {
            Some(path) => {
                let (text, base64) = paths::to_fields(path);
                (Some(text), base64)
            }
            None => (None, None),
        };
        Self {
            type_name: "session".to_owned(),
            format: FORMAT,
            session: given.session.clone(),
            storage,
            storage_base64,
            storage_given,
            storage_given_base64,
            repository,
            repository_base64,
            engine: given.engine,
            kind: given.kind,
            logs: Vec::new(),
            exclusion: Exclusion::default(),
            keep_going: false,
            keep_partial: false,
            tags: Vec::new(),
            retries: 0,
            began: given.began,
            one_shot: given.one_shot,
            by: Who::current(),
            databases_bytes: 0,
            left_out: Vec::new(),
            parted: Vec::new(),
            excluded: 0,
            ese: None,
            instance: None,
            sqlite: None,
            parent: None,
            log_parent: None,
            resumed: None,
        }
    }

    /// Reads the record of a session's folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("session.json");
        let text = std::fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
        let damaged = |reason: String| {
            Error::new(ExitCode::Failed, format!("{} is damaged: {reason}", path.display()))
                .file(&path)
                .hint("Remove the session's folder from the state directory, then begin anew.")
        };
        // The version first: a newer one may hold words that this one takes for damage.
        let version: Version = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        if version.format > FORMAT {
            return Err(Error::new(ExitCode::Failed, format!("{} was written by a newer jetbak", path.display()))
                .file(&path)
                .hint("Use the newer version, or end the session with it."));
        }
        serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))
    }

    /// Writes the record into a session's folder, durably.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("a record has only fields that JSON can hold");
        durable::write(&folder.join("session.json"), &text, durable::Put::New)
    }

    /// The storage's canonical path.
    pub fn storage(&self) -> PathBuf {
        paths::from_fields(&self.storage, self.storage_base64.as_deref()).unwrap_or_default()
    }

    /// The repository's canonical path, where there is one.
    pub fn repository(&self) -> Option<PathBuf> {
        paths::from_fields(self.repository.as_deref()?, self.repository_base64.as_deref())
    }

    /// The directories beside the storage that its files are read from.
    pub fn roots(&self) -> Roots {
        self.ese.as_ref().map(|terms| terms.roots(&self.storage())).unwrap_or_default()
    }

    /// Whether a path on the command line means this session's storage: canonical, or literally as at begin.
    pub fn is_for(&self, given: &Path) -> bool {
        let literal = paths::from_fields(&self.storage_given, self.storage_given_base64.as_deref());
        let absolute = std::path::absolute(given).unwrap_or_else(|_| given.to_owned());
        Some(&absolute) == literal.as_ref()
            || absolute == self.storage()
            || given.canonicalize().is_ok_and(|canonical| canonical == self.storage())
    }

    /// What decisions depend on.
    pub fn terms(&self) -> Terms {
        Terms { kind: self.kind, repository: self.repository.is_some() }
    }

    /// Who began it and when, for messages: `root (pid 4711 on backup1) since 2026-11-22T09:30:15Z`.
    pub fn holder(&self) -> String {
        format!("{} since {}", self.by, self.began.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}
