//! What a backup holds, for a restore in place: its list line by line, and the content of one file piece by piece.

use std::mem;
use std::path::PathBuf;

use super::Job;
use crate::error::{Error, ExitCode, Result, printable};
use crate::repository::file_list::FileLine;
use crate::repository::list_reader::{Expected, Line, ListReader, Resolved};
use crate::repository::restore::plan::bad_list;
use crate::stream::source::{Got, Source};

/// Bytes of a piece: what a damaged disk or a short write can cost, and what is in memory of a file.
pub const PIECE_BYTES: usize = 1024 * 1024;

/// A line of a backup's list.
pub struct Listed {
    /// Its number, counted from 0.
    pub number: u64,
    /// The folder of the backup in whose own list it stands.
    pub folder: PathBuf,
    /// What it says.
    pub line: FileLine,
}

/// Opens the content of a file of a backup, wherever in its chain that is.
pub fn open(job: &Job, line: &FileLine) -> Result<Box<dyn Source>> {
    job.contents.open(line)
}

/// Hands every line of a backup's list to `take`; proves the list, and those that it builds on, at its end.
pub fn lines(job: &Job, take: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
    let mut list = ListReader::open(job.repository.store(), Expected::of(&job.chain), false)
        .map_err(|error| if error.is_not_found() { bad_list(job.backup, "it is missing") } else { error })?;
    let mut number = 0;
    while let Some(line) = list.next_line()? {
        let Resolved { line, link, .. } = match line {
            Line::Bad(what) => return Err(bad_list(job.backup, &what)),
            Line::Sound(resolved) => *resolved,
        };
        let folder = job.chain.parts().get(link).map(|part| part.folder.clone());
        let folder = folder.ok_or_else(|| bad_list(job.backup, "a line of no backup"))?;
        take(Listed { number, folder, line })?;
        number += 1;
    }
    list.difference().map_or(Ok(()), |difference| Err(bad_list(job.backup, &difference.reason())))
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
    pub fn next_piece(&mut self) -> Result<Option<Piece>> {
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
