//! Files of a session to be, before it has a folder.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::durable;
use crate::engine::{Entry, plan};
use crate::error::{Error, Result};

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file that a sweep leaves alone as long as we hold it, and that goes with us unless it was moved into a session.
pub struct Spool {
    path: PathBuf,
    /// None where nothing is kept.
    out: Option<BufWriter<File>>,
    written: u64,
}

impl Spool {
    /// An empty one in a state directory.
    pub fn create(state: &Path) -> Result<Self> {
        let made = durable::create_temporary(state);
        let (path, out) = made.map_err(|e| {
            Error::io("write in the state directory", state, &e)
                .hint("Name another one with --state-dir or JETBAK_STATE_DIR.")
        })?;
        Ok(Self { path, out: Some(BufWriter::with_capacity(BUFFER_BYTES, out)), written: 0 })
    }

    /// One that keeps nothing.
    pub fn nowhere() -> Self {
        Self { path: PathBuf::new(), out: None, written: 0 }
    }

    /// Another one beside it.
    pub fn another(&self) -> Result<Self> {
        Self::create(self.path.parent().unwrap_or(Path::new(".")))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that were written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Adds some bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        let Some(out) = &mut self.out else { return Ok(()) };
        out.write_all(bytes).map_err(|e| Error::io("write", &self.path, &e))
    }

    /// Adds an entry of a plan.
    pub fn write_entry(&mut self, entry: &Entry) -> Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        plan::write_entry(out, entry).map_err(|e| Error::io("write", &self.path, &e))
    }

    /// Makes what was written durable.
    pub fn finish(&mut self) -> Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        let done = out.flush().and_then(|()| out.get_ref().sync_all());
        done.map_err(|e| Error::io("sync", &self.path, &e))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if self.out.is_some() {
            let _ = std::fs::remove_file(&self.path); // it has another name where begin went well
        }
    }
}
