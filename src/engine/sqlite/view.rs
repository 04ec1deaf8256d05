//! A database as one connection sees it inside a read transaction: its pages, in order, exactly as they are stored.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::connection::{self, Access};
use super::header::{HEADER_BYTES, JournalMode};

/// Bytes of the smallest page.
const PAGE_BYTES_MIN: usize = 512;

/// A connection that reads pages.
#[derive(Debug)]
pub struct View {
    connection: Connection,
    /// Bytes of a page, as of the transaction that was begun last.
    pub page_size: usize,
    /// Pages.
    pub pages: u32,
    /// Whether writers and readers do not wait for each other.
    pub is_wal: bool,
    /// Which state of the database it is; another number after somebody has committed.
    version: i64,
    /// Whether this SQLite was built to give pages.
    pub gives_pages: bool,
}

impl View {
    /// Opens a database and begins a read transaction.
    pub fn open(path: &Path, access: Access) -> rusqlite::Result<Self> {
        let connection = connection::open(path, access)?;
        // A schema that cannot be understood must not keep anybody from reading pages.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
        connection.execute_batch("PRAGMA cache_size = 64")?;
        let sql = "SELECT sqlite_compileoption_used('ENABLE_DBPAGE_VTAB')";
        let gives_pages = connection.query_row(sql, [], |row| row.get(0))?;
        let mut view = Self { connection, page_size: 0, pages: 0, is_wal: false, version: 0, gives_pages };
        view.begin()?;
        Ok(view)
    }

    /// Begins a read transaction, and says whether the database is what it was in the last one. Where that fails, none is
    /// open.
    pub fn begin(&mut self) -> rusqlite::Result<bool> {
        self.connection.execute_batch("BEGIN")?;
        let looked = self.look();
        if looked.is_err() {
            self.end();
        }
        looked
    }

    fn look(&mut self) -> rusqlite::Result<bool> {
        // The first one takes the lock; from here on the view stands still.
        let version = self.pragma("data_version")?;
        let is_same = version == self.version && self.page_size > 0;
        if !is_same {
            self.version = version;
            self.page_size = usize::try_from(self.pragma("page_size")?).unwrap_or(0).max(PAGE_BYTES_MIN);
            self.pages = u32::try_from(self.pragma("page_count")?).unwrap_or(u32::MAX);
            let mode: String = self.connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
            self.is_wal = mode == "wal";
        }
        Ok(is_same)
    }

    fn pragma(&self, name: &str) -> rusqlite::Result<i64> {
        self.connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
    }

    /// Ends the read transaction, with its locks.
    pub fn end(&self) {
        let _ = self.connection.execute_batch("ROLLBACK"); // nothing was written; without a transaction there is nothing to end
    }

    /// Bytes of all pages.
    pub fn bytes(&self) -> u64 {
        u64::from(self.pages) * self.page_size as u64
    }

    /// Reads pages from `first` (counted from 1) on, as many whole ones as fit and there are; the bytes of them.
    pub fn read(&self, first: u32, buffer: &mut [u8]) -> rusqlite::Result<usize> {
        let mut statement = self.connection.prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?;
        let mut pages = buffer.chunks_exact_mut(self.page_size);
        for (number, target) in (first..=self.pages).zip(&mut pages) {
            statement.query_row([number], |row| {
                let page = row.get_ref(0)?.as_blob()?;
                if page.len() != target.len() {
                    return Err(rusqlite::Error::InvalidColumnType(0, "data".into(), rusqlite::types::Type::Blob));
                }
                target.copy_from_slice(page);
                Ok(())
            })?;
        }
        let left = usize::try_from(self.pages.saturating_sub(first - 1)).unwrap_or(usize::MAX);
        Ok((buffer.len() / self.page_size).min(left) * self.page_size)
    }

    /// How the database protects its transactions, by the first page of this view.
    pub fn journal_mode(first_page: &[u8]) -> JournalMode {
        if first_page.get(19) == Some(&2) && first_page.len() >= HEADER_BYTES {
            JournalMode::Wal
        } else {
            JournalMode::Rollback
        }
    }

    /// From here on a schema that cannot be understood is an error again.
    pub fn believe_schema(&self) -> rusqlite::Result<()> {
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false)?;
        self.connection.execute_batch("PRAGMA writable_schema = RESET")
    }

    /// The connection, for what is not about pages.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}
