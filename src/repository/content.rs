//! The content of what a list of files names, wherever in the chain of its backup it is and in whatever form.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Repository;
use super::blocks::{self, Assembled, BlockKey, Shelf};
use super::file_list::FileLine;
use super::store::Store;
use super::stored::{StoredFile, damaged, not_as_listed};
use crate::error::{Error, ExitCode, Result};
use crate::stream::earlier::Within;
use crate::stream::source::{Got, Source};

/// Opens what the lines of one backup are about.
#[derive(Clone, Debug)]
pub struct Contents {
    store: Arc<dyn Store>,
    key: Option<BlockKey>,
    folder: PathBuf,
    fresh: bool,
}

impl Contents {
    /// Those of the backup in this folder, published or not.
    pub fn new(repository: &Repository, folder: &Path) -> Self {
        let (store, key) = (Arc::clone(repository.store()), repository.block_key().cloned());
        Self { store, key, folder: folder.to_owned(), fresh: false }
    }

    /// The same, from the medium instead of a cache where that is asked for.
    #[must_use]
    pub fn fresh(self, fresh: bool) -> Self {
        Self { fresh, ..self }
    }

    /// Where the bytes are.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The folder of the backup whose lines these are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the backup that holds the content of a line.
    pub fn home(&self, line: &FileLine) -> PathBuf {
        line.held.as_ref().map_or_else(|| self.folder.clone(), |held| Path::new("backups").join(&held.by))
    }

    /// Where the content of a line is: below the folder of its home, and below `blocks/` there if it is in that form.
    pub fn place(&self, line: &FileLine) -> Option<PathBuf> {
        // Each name of a file that is stored as it is stands for itself.
        if line.held.is_none() && line.within == Within::Data { line.stored_path() } else { line.place() }
    }

    /// Where files of blocks are looked for. That a line tells of one in a repository without a secret is exit 3.
    pub fn shelf(&self) -> Result<Shelf> {
        let key = self.key.clone().ok_or_else(|| {
            let message = "repository.json lacks the secret by which the blocks of files are told apart";
            Error::new(ExitCode::Verification, message)
                .file("repository.json")
                .hint("Bring it back from a copy of the repository.")
        })?;
        Ok(Shelf { store: Arc::clone(&self.store), key, fresh: self.fresh })
    }

    /// Opens the content of a line to be streamed.
    pub fn open(&self, line: &FileLine) -> Result<Box<dyn Source>> {
        let path = line.path().unwrap_or_default();
        let sound = self.place(line).zip(line.attributes());
        let (place, attributes) = sound.ok_or_else(|| damaged(&path, "its line cannot be believed"))?;
        let home = self.home(line);
        match line.within {
            Within::Data => Ok(Box::new(StoredFile::open(&*self.store, &home.join(place), line, attributes)?)),
            Within::Blocks => {
                let assembled = Assembled::open(&self.shelf()?, &home, &place, &path, line.size, attributes)?;
                Ok(Box::new(assembled.with_holes(line.holes.clone())))
            }
        }
    }

    /// So many bytes of the content of a line, from a byte on; fewer where it ends.
    pub fn read(&self, line: &FileLine, offset: u64, length: usize) -> Result<Vec<u8>> {
        let path = line.path().unwrap_or_default();
        if line.within == Within::Blocks {
            return read_assembled(&mut *self.open(line)?, offset, length);
        }
        let place = self.place(line).ok_or_else(|| damaged(&path, "its line cannot be believed"))?;
        let stored = self.home(line).join(place);
        let mut bytes = Vec::with_capacity(length);
        let input = self.store.open(&stored, offset, false)?;
        let read = input.take(length as u64).read_to_end(&mut bytes);
        read.map_err(|e| Error::io("read", &self.store.describe(&stored), &e))?;
        Ok(bytes)
    }

    /// The same, with errors that say what they mean for the backup.
    pub fn head(&self, line: &FileLine, length: usize) -> Result<Vec<u8>> {
        self.read(line, 0, length).map_err(|error| not_as_listed(&line.path().unwrap_or_default(), error))
    }

    /// The file of blocks of a line, below the repository.
    pub fn blocks_path(&self, line: &FileLine) -> Option<PathBuf> {
        Some(blocks::path_of(&self.home(line), &line.place()?))
    }
}

/// Bytes that are read at once of what is put together.
const PIECE_BYTES: usize = 64 * 1024;

/// Takes a piece out of what can only be read from its begin.
fn read_assembled(source: &mut dyn Source, offset: u64, length: usize) -> Result<Vec<u8>> {
    let (mut at, end) = (0_u64, offset.saturating_add(length as u64));
    let mut bytes = Vec::with_capacity(length);
    let mut buffer = vec![0; PIECE_BYTES];
    while at < end {
        let (got, is_hole) = match source.next(&mut buffer)? {
            Got::Data(got) => (got as u64, false),
            Got::Hole(got) => (got, true),
            Got::End => break,
        };
        let (from, to) = (offset.saturating_sub(at).min(got), (end - at).min(got));
        let (from, to) = (usize::try_from(from).unwrap_or(usize::MAX), usize::try_from(to).unwrap_or(usize::MAX));
        if from < to {
            if is_hole {
                bytes.resize(bytes.len() + (to - from), 0);
            } else {
                bytes.extend_from_slice(&buffer[from..to]);
            }
        }
        at = at.saturating_add(got);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::source::Settled;

    /// Gives data and holes in turns.
    struct Pieces(Vec<Got>, u8);

    impl Source for Pieces {
        fn next(&mut self, buffer: &mut [u8]) -> Result<Got> {
            self.1 += 1;
            let got = if self.0.is_empty() { Got::End } else { self.0.remove(0) };
            if let Got::Data(bytes) = got {
                buffer[..bytes].fill(self.1);
            }
            Ok(got)
        }

        fn finish(self: Box<Self>) -> Result<Settled> {
            Ok(Settled::Changed("nobody asks".to_owned()))
        }
    }

    #[test]
    fn a_piece_is_cut_out_wherever_it_lies() {
        let read = |offset, length| {
            let pieces = vec![Got::Data(3), Got::Hole(4), Got::Data(3)];
            read_assembled(&mut Pieces(pieces, 0), offset, length).expect("read")
        };
        assert_eq!(read(0, 10), [1, 1, 1, 0, 0, 0, 0, 3, 3, 3]);
        assert_eq!(read(2, 3), [1, 0, 0]);
        assert_eq!(read(4, 5), [0, 0, 0, 3, 3]);
        assert_eq!(read(8, 100), [3, 3]);
        assert_eq!((read(10, 1), read(3, 0), read(u64::MAX, 1)), (vec![], vec![], vec![]));
    }
}
