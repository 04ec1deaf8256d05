//! What a backup keeps of an instance beside its files: options, states, ranges. Plain values that go into the session's
//! record and the manifest.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fields::Generation;
use super::header::DatabaseHeader;
use super::ranges::Required;
use crate::paths;
use crate::roots::{CHECKPOINT, LOGS, Roots};

/// What was said about an instance at begin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Terms {
    /// `--snapshot`: the storage is a snapshot, so that nobody writes to it.
    #[serde(default)]
    pub snapshot: bool,
    /// `--base`: the base name of the logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// `--log-dir`: the directory of the logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_directory: Option<Named>,
    /// `--checkpoint`: the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Named>,
    /// `--live-log-dir`: the log directory of the instance of which the storage is a snapshot; truncate deletes there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_log_directory: Option<Named>,
    /// `--live-checkpoint`: the checkpoint of that instance, where it does not lie there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_checkpoint: Option<Named>,
    /// `--engine-files`: nothing but the engine's own files.
    #[serde(default)]
    pub engine_files: bool,
    /// `--accept-damage`: damaged pages are copied as they are.
    #[serde(default)]
    pub accept_damage: bool,
    /// `--accept-loss`: logs may be missing that hold what was committed last.
    #[serde(default)]
    pub accept_loss: bool,
}

impl Terms {
    /// The directories beside the storage, by paths without links: that of the logs, and that of a checkpoint which lies
    /// in neither.
    pub fn roots(&self, storage: &Path) -> Roots {
        let mut roots = Roots::default();
        let logs = self.log_directory.as_ref().map(Named::path).filter(|logs| !logs.starts_with(storage));
        let checkpoint = self.checkpoint.as_ref().map(Named::path).filter(|file| !file.starts_with(storage));
        let beside =
            checkpoint.as_deref().and_then(Path::parent).map(Path::to_owned).filter(|it| Some(it) != logs.as_ref());
        for (name, path) in [(LOGS, logs), (CHECKPOINT, beside)] {
            // A path that no root can have is that of a damaged record: its files are in no directory of the session.
            let _ = path.map(|path| roots.add(name, path));
        }
        roots
    }
}

/// A path, also one that is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
}

impl Named {
    /// Keeps a path.
    pub fn new(path: &Path) -> Self {
        let (path, path_base64) = paths::to_fields(path);
        Self { path, path_base64 }
    }

    /// The path.
    pub fn path(&self) -> PathBuf {
        paths::from_fields(&self.path, self.path_base64.as_deref()).unwrap_or_default()
    }
}

/// What is known of an instance when a session begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Nobody wrote to it: it was said so, or its file system is read-only.
    pub snapshot: bool,
    /// Whether a restore must replay logs before the databases can be used.
    pub needs_recovery: bool,
    /// The base name of its logs.
    pub base: Option<String>,
    /// The signature of its log stream, hexadecimal.
    pub log_signature: Option<String>,
    /// The generation that its checkpoint names.
    pub checkpoint: Option<u32>,
    /// The logs that a restore replays.
    pub required: Option<Span>,
    /// The databases are older than the logs, which bring them forward from this generation on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_from: Option<u32>,
    /// Its databases.
    pub databases: Vec<DatabaseFacts>,
}

/// A run of generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first one.
    pub low: u32,
    /// The last one.
    pub high: u32,
}

impl Span {
    /// From generations.
    pub fn new(low: Generation, high: Generation) -> Self {
        Self { low: low.0, high: high.0 }
    }
}

/// A database, by its header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    /// Which one, relative to the storage.
    #[serde(flatten)]
    pub file: Named,
    /// Its state, as a word.
    pub state: String,
    /// The same, as the header's number.
    pub state_number: u32,
    /// Bytes of a page.
    pub page_size: u32,
    /// Its signature, hexadecimal.
    pub signature: String,
    /// It is a copy that the engine's own backup made.
    #[serde(default)]
    pub engine_copy: bool,
    /// The logs without which it cannot be used.
    pub required: Option<Span>,
    /// The last log without which committed changes are lost.
    pub committed: Option<u32>,
    /// Its time, which every change moves on, as its header had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dbtime: Option<u64>,
}

impl DatabaseFacts {
    /// What the header alone says.
    pub fn of_header(file: Named, header: &DatabaseHeader) -> Self {
        Self {
            file,
            state: header.state.name().to_owned(),
            state_number: header.state.number(),
            page_size: u32::try_from(header.page_size.bytes()).unwrap_or(u32::MAX),
            signature: header.signature.to_hex(),
            engine_copy: header.is_backup_copy(),
            required: None,
            committed: None,
            dbtime: Some(header.dbtime),
        }
    }

    /// Whether both are of the same database in the same state.
    pub fn is_same(&self, other: &Self) -> bool {
        let who = |facts: &Self| (facts.signature.clone(), facts.state_number, facts.page_size, facts.engine_copy);
        who(self) == who(other)
    }

    /// What it needs, as the ranges have it.
    pub fn needs(&mut self, required: Required) {
        self.required = Some(Span::new(required.low, required.high));
        self.committed = Some(required.committed.0);
    }
}
