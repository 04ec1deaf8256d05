//! The words of the journal: what happened to a session, one event a line.

use serde::{Deserialize, Serialize};

/// What was asked for at begin (decision 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Complete; a parent for later kinds; may truncate.
    Full,
    /// Complete; never a parent, never truncates.
    Copy,
    /// What changed since the last full or incremental; a parent; may truncate.
    Incremental,
    /// What changed since the last full; never a parent, never truncates.
    Differential,
}

impl Kind {
    /// The word used in ids, messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Copy => "copy",
            Self::Incremental => "incremental",
            Self::Differential => "differential",
        }
    }

    /// Whether `truncate` may follow (decision 2).
    pub fn truncates(self) -> bool {
        matches!(self, Self::Full | Self::Incremental)
    }

    /// Whether it builds on an earlier backup, its parent.
    pub fn has_parent(self) -> bool {
        matches!(self, Self::Incremental | Self::Differential)
    }

    /// Whether later backups may build on it.
    pub fn is_parent(self) -> bool {
        matches!(self, Self::Full | Self::Incremental)
    }
}

/// The two phases in which a session reads, and so its two lists of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Databases and other files; the list is fixed at begin.
    Databases,
    /// Logs; the list is fixed when the phase begins.
    Logs,
}

impl Phase {
    /// The word used in messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Databases => "databases",
            Self::Logs => "logs",
        }
    }
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything was read and, where there is a repository, published.
    Completed,
    /// Published, with files left out that the manifest names.
    Incomplete,
    /// Ended after a stop; nothing published.
    Stopped,
    /// Ended before everything was read; nothing published.
    Aborted,
    /// Ended by an error; nothing published.
    Failed,
}

impl Outcome {
    /// The word used in messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Stopped => "stopped",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
        }
    }
}

/// A run of entries of one list that one reader has taken: indices count from 0, offsets are bytes of the plan file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Index of the first entry.
    pub first: u64,
    /// How many entries; at least one.
    pub count: u64,
    /// Where the first entry's line begins in the plan file.
    pub offset: u64,
    /// Where the last entry's line ends in the plan file.
    pub end: u64,
}

impl Batch {
    /// The index behind the last entry.
    pub fn next(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

/// A file that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The file's path, lossy where it is not UTF-8.
    pub path: String,
    /// What happened, for a person.
    pub message: String,
    /// The ESE number, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jet: Option<i32>,
    /// The exit code that a session with this failure ends with.
    pub exit_code: u8,
}

/// One thing that happened to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The session exists; its database list has so many entries.
    Begun {
        /// Entries in the database list.
        databases: u64,
    },
    /// A reader took a batch of a list.
    Opened {
        /// The reader's number.
        reader: u32,
        /// Which list.
        phase: Phase,
        /// Which entries.
        #[serde(flatten)]
        batch: Batch,
    },
    /// Every entry of the batch is proven or left out.
    Closed {
        /// The reader's number.
        reader: u32,
        /// Which list.
        phase: Phase,
        /// Index of the batch's first entry.
        first: u64,
    },
    /// A file could not be read.
    Failed {
        /// Which list.
        phase: Phase,
        /// The entry's index.
        index: u64,
        /// Left out for good, or still to be read by a repeated `read`.
        excluded: bool,
        /// What happened.
        failure: Failure,
    },
    /// What this reader has recorded up to here is durable.
    Synced {
        /// The reader's number.
        reader: u32,
        /// Bytes of the reader's record file that are proven.
        records: u64,
        /// Entries recorded in them.
        files: u64,
        /// Bytes of data that those entries hold.
        bytes: u64,
    },
    /// The log phase began with this list.
    LogsListed {
        /// Name of the plan file in the session's folder.
        plan: String,
        /// Entries in it.
        logs: u64,
    },
    /// The backup is about to stand under this id; from here a stop is too late.
    Publishing {
        /// The backup's id.
        id: String,
        /// Whether it was read back from the medium and proven.
        #[serde(default)]
        proven: bool,
    },
    /// The rename was done and is durable.
    Published,
    /// Deleting so many logs begins.
    Truncating {
        /// How many logs are to go.
        logs: u64,
    },
    /// One log is gone.
    Truncated {
        /// Its path, lossy where it is not UTF-8.
        path: String,
    },
    /// Somebody stopped the session.
    Stopped {
        /// Who: a user and process, or a signal.
        who: String,
        /// The reason that was given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The session is over.
    Ended {
        /// How.
        outcome: Outcome,
    },
}
