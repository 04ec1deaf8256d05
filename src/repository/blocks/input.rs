//! A file of the store that is read forwards, and passed over where nothing is wanted of it.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Shelf;
use crate::error::{Error, Result};
use crate::repository::store::Reading;

/// Bytes that are read ahead.
const BUFFER_BYTES: usize = 32 * 1024;
/// Less than so many bytes are read and forgotten; more are passed over by opening the file anew behind them.
const SKIP_BYTES_MIN: u64 = 128 * 1024;

/// A file that is read forwards; it can be put aside, and is then opened anew where it was left.
pub(super) struct Input {
    shelf: Shelf,
    path: PathBuf,
    opened: Option<Box<dyn Reading>>,
    buffer: Vec<u8>,
    /// What of the buffer was given out.
    given: usize,
    /// The next byte to give out.
    at: u64,
    /// Hashes all that is given out and passed over.
    hasher: Option<Sha256>,
}

impl Input {
    /// A file of the store; it is opened when something is wanted of it.
    pub(super) fn new(shelf: &Shelf, path: PathBuf) -> Self {
        Self { shelf: shelf.clone(), path, opened: None, buffer: Vec::new(), given: 0, at: 0, hasher: None }
    }

    /// The same, hashed from here on.
    pub(super) fn hashed(self) -> Self {
        Self { hasher: Some(Sha256::new()), ..self }
    }

    /// The hash of all that was given out.
    pub(super) fn sha256(&mut self) -> Option<[u8; 32]> {
        self.hasher.take().map(|hasher| hasher.finalize().into())
    }

    /// The next byte to give out.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The path as a person would name it.
    pub(super) fn described(&self) -> PathBuf {
        self.shelf.store.describe(&self.path)
    }

    /// Gives the handle and the memory back until something is wanted again.
    pub(super) fn put_aside(&mut self) {
        self.opened = None;
        self.buffer = Vec::new();
        self.given = 0;
    }

    /// Fills a buffer; false where the file ends before.
    pub(super) fn read_exact(&mut self, target: &mut [u8]) -> Result<bool> {
        let mut filled = 0;
        while filled < target.len() {
            let ready = &self.buffer[self.given..];
            let wanted = &mut target[filled..];
            let got = if ready.is_empty() && wanted.len() >= BUFFER_BYTES {
                self.read_some(wanted)?
            } else if ready.is_empty() {
                self.refill()?;
                if self.buffer.is_empty() {
                    return Ok(false);
                }
                continue;
            } else {
                let now = ready.len().min(wanted.len());
                wanted[..now].copy_from_slice(&ready[..now]);
                self.given += now;
                now
            };
            if got == 0 {
                return Ok(false);
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&target[filled..filled + got]);
            }
            filled += got;
            self.at += got as u64;
        }
        Ok(true)
    }

    /// Reads so many bytes into memory that grows as they come; false where the file ends before.
    pub(super) fn read_into(&mut self, target: &mut Vec<u8>, bytes: usize) -> Result<bool> {
        target.clear();
        while target.len() < bytes {
            let begin = target.len();
            target.resize(bytes.min(begin + BUFFER_BYTES), 0);
            if !self.read_exact(&mut target[begin..])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Passes over so many bytes; whether they are there, the next read tells.
    pub(super) fn skip(&mut self, mut bytes: u64) -> Result<()> {
        if self.hasher.is_some() || bytes < SKIP_BYTES_MIN {
            let mut forgotten = [0; 4096];
            while bytes > 0 {
                let now = bytes.min(forgotten.len() as u64);
                let into = &mut forgotten[..usize::try_from(now).unwrap_or(4096)];
                if !self.read_exact(into)? {
                    return Ok(());
                }
                bytes -= now;
            }
            return Ok(());
        }
        let ready = (self.buffer.len() - self.given) as u64;
        self.at = self.at.saturating_add(bytes);
        if bytes <= ready {
            self.given += usize::try_from(bytes).unwrap_or(0);
        } else {
            self.put_aside();
        }
        Ok(())
    }

    fn refill(&mut self) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BUFFER_BYTES, 0);
        let got = self.read_some(&mut buffer)?;
        buffer.truncate(got);
        (self.buffer, self.given) = (buffer, 0);
        Ok(())
    }

    /// Reads what comes, past the buffer, which is empty.
    fn read_some(&mut self, target: &mut [u8]) -> Result<usize> {
        let opened = match &mut self.opened {
            Some(opened) => opened,
            closed => closed.insert(self.shelf.store.open(&self.path, self.at, self.shelf.fresh)?),
        };
        loop {
            match opened.read(target) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                got => return got.map_err(|e| Error::io("read", &self.shelf.store.describe(&self.path), &e)),
            }
        }
    }
}

/// Where the files of a backup are in the store.
pub(super) fn folder_of(backup: &str) -> PathBuf {
    Path::new("backups").join(backup)
}
