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
use crate::stream::source::Source;

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
            Within::Blocks => Ok(Box::new(self.assembled(line)?.with_holes(line.holes.clone()))),
        }
    }

    /// Opens the content of a line that is in files of blocks.
    fn assembled(&self, line: &FileLine) -> Result<Assembled> {
        let path = line.path().unwrap_or_default();
        let sound = self.place(line).zip(line.attributes());
        let (place, attributes) = sound.ok_or_else(|| damaged(&path, "its line cannot be believed"))?;
        Assembled::open(&self.shelf()?, &self.home(line), &place, &path, line.size, attributes)
    }

    /// The content of a line, for whoever wants pieces of it.
    pub fn pieces<'a>(&'a self, line: &'a FileLine) -> Pieces<'a> {
        Pieces { contents: self, line, assembled: None }
    }

    /// So many bytes of the content of a line, from a byte on; fewer where it ends.
    pub fn read(&self, line: &FileLine, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.pieces(line).read(offset, length)
    }

    fn read_stored(&self, line: &FileLine, offset: u64, length: usize) -> Result<Vec<u8>> {
        let path = line.path().unwrap_or_default();
        let place = self.place(line).ok_or_else(|| damaged(&path, "its line cannot be believed"))?;
        let stored = self.home(line).join(place);
        let mut bytes = Vec::new();
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

/// Pieces of the content of one line. Of what is put together from blocks each costs what it is long, and the tables on the
/// way there: once for all that are asked for in ascending order.
pub struct Pieces<'a> {
    contents: &'a Contents,
    line: &'a FileLine,
    assembled: Option<Assembled>,
}

impl Pieces<'_> {
    /// So many bytes, from a byte on; fewer where the content ends.
    pub fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        if self.line.within == Within::Data {
            return self.contents.read_stored(self.line, offset, length);
        }
        let assembled = match self.assembled.take().filter(|assembled| assembled.at() <= offset) {
            Some(assembled) => assembled,
            None => self.contents.assembled(self.line)?,
        };
        self.assembled.insert(assembled).read_from(offset, length)
    }
}
