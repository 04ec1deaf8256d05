//! A file as a backup holds it, as a source to stream: exactly as many bytes as the list says, with the holes it says.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file_list::FileLine;
use super::store::{Reading, Store};
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::stream::source::{Attributes, Got, Hole, Settled, Source};

/// An opened file of a backup. Whether its bytes are those that were read, its hash tells.
pub struct StoredFile {
    content: Box<dyn Reading>,
    described: PathBuf,
    path: Arc<Path>,
    at: u64,
    size: u64,
    /// Holes that are still to come, in order.
    holes: VecDeque<Hole>,
    attributes: Attributes,
}

/// The error of an entry that is not as the list says; exit 3.
pub fn damaged(path: &Path, what: &str) -> Error {
    Error::new(ExitCode::Verification, format!("{} is damaged: {}", printable(path), printable(what))).file(path)
}

/// What it means that an entry cannot be opened or looked at in a backup.
pub fn not_as_listed(path: &Path, error: Error) -> Error {
    match error.jet_code() {
        Some(Jet::FileNotFound) => damaged(path, "it is missing from the backup"),
        Some(Jet::FileInvalidType) => damaged(path, "something else stands under its name in the backup"),
        _ => error,
    }
}

/// The same of one whose content another backup holds.
fn not_as_listed_in(path: &Path, backup: &str, error: Error) -> Error {
    match error.jet_code() {
        Some(Jet::FileNotFound) => damaged(path, &format!("it is missing from {backup}, which holds it")),
        Some(Jet::FileInvalidType) => damaged(path, &format!("something else stands under its name in {backup}")),
        _ => error,
    }
}

impl StoredFile {
    /// Opens the file that a line is about; it is stored at `stored` below the repository.
    pub fn open(store: &dyn Store, stored: &Path, line: &FileLine, attributes: Attributes) -> Result<Self> {
        let path: Arc<Path> = Arc::from(line.path().unwrap_or_default().as_path());
        let content = store.open(stored, 0, false).map_err(|error| match &line.held {
            None => not_as_listed(&path, error),
            Some(held) => not_as_listed_in(&path, &held.by, error),
        })?;
        let holes = line.holes.clone().into();
        Ok(Self { content, described: store.describe(stored), path, at: 0, size: line.size, holes, attributes })
    }
}

impl Source for StoredFile {
    fn next(&mut self, buffer: &mut [u8]) -> Result<Got> {
        while self.holes.front().is_some_and(|Hole(begin, length)| begin.saturating_add(*length) <= self.at) {
            self.holes.pop_front();
        }
        // Pieces end where a hole begins or ends: a copy of the repository may have zeros where there was a hole.
        let (in_hole, until) = match self.holes.front() {
            Some(Hole(begin, length)) if *begin <= self.at => (true, begin.saturating_add(*length)),
            Some(Hole(begin, _)) => (false, *begin),
            None => (false, u64::MAX),
        };
        let want = buffer.len().min(usize::try_from(until - self.at).unwrap_or(usize::MAX));
        let got = loop {
            match self.content.next(&mut buffer[..want]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                got => break got.map_err(|e| Error::io("read", &self.described, &e).file(&*self.path))?,
            }
        };
        let bytes = match got {
            Got::Data(bytes) => bytes as u64,
            Got::Hole(bytes) => bytes,
            Got::End => 0,
        };
        self.at = self.at.saturating_add(bytes);
        if self.at > self.size || (got == Got::End && self.at < self.size) {
            let is = if self.at > self.size { "longer" } else { "shorter" };
            return Err(damaged(&self.path, &format!("it is {is} than its {} bytes", self.size)));
        }
        match got {
            Got::Data(bytes) if in_hole && buffer[..bytes].iter().all(|byte| *byte == 0) => Ok(Got::Hole(bytes as u64)),
            got => Ok(got),
        }
    }

    fn finish(self: Box<Self>) -> Result<Settled> {
        Ok(Settled::Still(self.attributes))
    }
}
