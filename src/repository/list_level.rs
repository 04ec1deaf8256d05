//! One `files.jsonl` of those that are read side by side: a chain of thousands needs neither thousands of open files nor
//! much memory.

use std::io::{self, BufRead, Read};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::chain::Part;
use super::file_list::LINE_BYTES_MAX;
use super::store::{Reading, Store};
use crate::error::{Error, Result};
use crate::hex::hex;

/// Bytes that all lists of a chain together hold in memory, beside one line each.
const BYTES_HELD_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one list that are read at once, at least and at most.
const BUFFER_BYTES_MIN: usize = 4 * 1024;
const BUFFER_BYTES_MAX: usize = 256 * 1024;
/// Lists that stay open; more are opened again for each buffer.
const OPEN_MAX: usize = 64;

/// A list, and how far it is.
pub(super) struct Level {
    path: PathBuf,
    fresh: bool,
    input: Option<Box<dyn Reading>>,
    stays_open: bool,
    /// The byte at which the next buffer begins.
    next_buffer: u64,
    buffer: Vec<u8>,
    buffer_bytes: usize,
    /// Bytes of the buffer that were taken.
    taken: usize,
    hasher: Sha256,
    offset: u64,
    /// Lines that were read.
    pub lines: u64,
    /// Lines of the list below that are still to come as they are.
    pub same: u64,
    /// Lines of the list below that are still to be passed over.
    pub gone: u64,
    /// How far it is.
    pub end: End,
}

/// How far a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It may have more lines.
    Before,
    /// It has no more lines of its own, and what is left of the list below is read.
    Reached,
    /// The same; that something was left is said.
    Told,
    /// There are no more lines, below neither.
    Passed,
}

impl Level {
    /// Opens the list of one of so many backups.
    pub fn open(store: &dyn Store, part: &Part, count: usize, fresh: bool) -> Result<Self> {
        let path = part.folder.join("files.jsonl");
        let input = store.open(&path, 0, fresh)?;
        let stays_open = count <= OPEN_MAX;
        Ok(Self {
            path,
            fresh,
            input: stays_open.then_some(input),
            stays_open,
            next_buffer: 0,
            buffer: Vec::new(),
            buffer_bytes: (BYTES_HELD_MAX / count).clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX),
            taken: 0,
            hasher: Sha256::new(),
            offset: 0,
            lines: 0,
            same: 0,
            gone: 0,
            end: End::Before,
        })
    }

    /// Opens the list of a backup at a byte where a line begins, for that line alone.
    pub fn open_at(store: &dyn Store, part: &Part, offset: u64) -> Result<Self> {
        let input = store.open(&part.folder.join("files.jsonl"), offset, false)?;
        Ok(Self { input: Some(input), next_buffer: offset, offset, ..Self::open(store, part, 1, false)? })
    }

    /// The next line with the byte at which it begins; none at the end.
    pub fn next_line(&mut self, store: &dyn Store) -> Result<Option<(u64, Vec<u8>)>> {
        let limit = usize::try_from(LINE_BYTES_MAX).unwrap_or(usize::MAX);
        let mut text = Vec::new();
        while text.last() != Some(&b'\n') && text.len() < limit {
            if self.taken == self.buffer.len() && !self.refill(store)? {
                break;
            }
            let rest = &self.buffer[self.taken..];
            let mut rest = &rest[..rest.len().min(limit - text.len())];
            self.taken += rest.read_until(b'\n', &mut text).expect("memory can be read");
        }
        if text.is_empty() {
            return Ok(None);
        }
        self.hasher.update(&text);
        self.lines += 1;
        let offset = self.offset;
        self.offset += text.len() as u64;
        Ok(Some((offset, text)))
    }

    /// SHA-256 of what was read, hexadecimal.
    pub fn sha256(&self) -> String {
        hex(&self.hasher.clone().finalize())
    }

    /// Reads on; false at the end.
    fn refill(&mut self, store: &dyn Store) -> Result<bool> {
        let mut input = match self.input.take() {
            Some(input) => input,
            None => store.open(&self.path, self.next_buffer, self.fresh)?,
        };
        self.buffer.resize(self.buffer_bytes, 0);
        let read = loop {
            match input.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|e| Error::io("read", &store.describe(&self.path), &e)),
            }
        };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                self.buffer.clear();
                self.taken = 0;
                return Err(error);
            }
        };
        self.buffer.truncate(bytes);
        self.taken = 0;
        self.next_buffer += bytes as u64;
        if self.stays_open {
            self.input = Some(input);
        } else {
            self.buffer.shrink_to_fit();
        }
        Ok(bytes > 0)
    }
}
