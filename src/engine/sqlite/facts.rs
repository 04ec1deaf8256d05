//! What is said about a storage with databases of SQLite, and what is known of a copy; plain values for JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How databases are to be read; fixed when the session begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How long a busy database is tried, in milliseconds.
    pub busy_timeout_ms: u64,
    /// How long a lock may be held that keeps writers waiting, in milliseconds; none for one copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lock_ms: Option<u64>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { busy_timeout_ms: 30_000, max_lock_ms: None }
    }
}

impl Terms {
    /// How long a busy database is tried.
    pub fn busy_timeout(&self) -> Duration {
        Duration::from_millis(self.busy_timeout_ms)
    }

    /// How long a lock may be held that keeps writers waiting.
    pub fn max_lock(&self) -> Option<Duration> {
        self.max_lock_ms.map(Duration::from_millis)
    }
}

/// What the copy of a database is: a line in `files.jsonl` says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyFacts {
    /// Bytes of a page.
    pub page_size: u32,
    /// Pages.
    pub pages: u32,
    /// How the source protected its transactions: `wal` or `rollback`.
    pub journal_mode: String,
    /// The change counter in the header of the source, or that of the copy where that is lower: at no later time is it lower
    /// in the source, unless an older state was put back. None where the source's own was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_counter: Option<u32>,
}
