//! What a backup holds, for a restore in place: its list line by line, and the content of one file piece by piece.

use std::mem;

use crate::error::{Error, ExitCode, Result, printable};
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::file_list::FileLine;
use crate::repository::list_reader::{Expected, Line, ListReader};
use crate::repository::restore::plan::bad_list;
use crate::repository::stored::StoredFile;
use crate::stream::source::{Got, Source};

/// Bytes of a piece: what a damaged disk or a short write can cost, and what is in memory of a file.
pub const PIECE_BYTES: usize = 1024 * 1024;

/// Opens the content of a file of a backup.
pub fn open(repository: &Repository, backup: &Backup, line: &FileLine) -> Result<Box<dyn Source>> {
    Ok(Box::new(StoredFile::open(&**repository.store(), &backup.folder(), line)?))
}

/// Hands every line of a backup's list to `take`, with its number; proves the list at its end.
pub fn lines(
    repository: &Repository,
    backup: &Backup,
    take: &mut dyn FnMut(u64, Box<FileLine>) -> Result<()>,
) -> Result<()> {
    let expected = Expected::of(backup.manifest.as_ref().map_err(Clone::clone)?);
    let mut list = ListReader::open(&**repository.store(), &backup.folder(), expected, false)
        .map_err(|error| if error.is_not_found() { bad_list(backup, "it is missing") } else { error })?;
    let mut number = 0;
    while let Some(line) = list.next_line()? {
        match line {
            Line::Bad(what) => return Err(bad_list(backup, &what)),
            Line::Sound(line) => take(number, line)?,
        }
        number += 1;
    }
    list.difference().map_or(Ok(()), |difference| Err(bad_list(backup, &difference.reason())))
}

/// The next piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes from this offset on, in the buffer.
    Data(u64, usize),
    /// So many zeros from this offset on that take no space.
    Hole(u64, u64),
}

/// Content in pieces that are cut at the same places whenever it is read: at multiples of [`PIECE_BYTES`] and at holes.
pub struct Pieces {
    source: Box<dyn Source>,
    /// What was read, up to where the next piece begins.
    at: u64,
    /// A hole that was met while data was gathered.
    hole: Option<u64>,
    buffer: Vec<u8>,
}

impl Pieces {
    /// Cuts a source; the buffer of another one can be used again.
    pub fn new(source: Box<dyn Source>, mut buffer: Vec<u8>) -> Self {
        buffer.resize(PIECE_BYTES, 0);
        Self { source, at: 0, hole: None, buffer }
    }

    /// The next piece, none at the end.
    pub fn next(&mut self) -> Result<Option<Piece>> {
        let begin = self.at;
        if let Some(hole) = self.hole.take() {
            return self.whole_hole(begin, hole).map(Some);
        }
        let into = usize::try_from(begin % PIECE_BYTES as u64).unwrap_or(0);
        let (want, mut filled) = (PIECE_BYTES - into, 0);
        while filled < want {
            match self.source.next(&mut self.buffer[filled..want])? {
                Got::Data(0) | Got::End => break,
                Got::Data(bytes) => filled += bytes,
                Got::Hole(bytes) if filled == 0 => return self.whole_hole(begin, bytes).map(Some),
                Got::Hole(bytes) => {
                    self.hole = Some(bytes);
                    break;
                }
            }
        }
        self.at += filled as u64;
        Ok((filled > 0).then_some(Piece::Data(begin, filled)))
    }

    fn whole_hole(&mut self, begin: u64, bytes: u64) -> Result<Piece> {
        self.at = begin.checked_add(bytes).ok_or_else(|| {
            Error::new(
                ExitCode::Verification,
                format!("a hole of {} bytes is more than a file holds", printable(bytes.to_string())),
            )
        })?;
        Ok(Piece::Hole(begin, bytes))
    }

    /// The bytes of the last piece of data.
    pub fn data(&self, bytes: usize) -> &[u8] {
        &self.buffer[..bytes]
    }

    /// The buffer, for the next file.
    pub fn into_buffer(mut self) -> Vec<u8> {
        mem::take(&mut self.buffer)
    }
}
