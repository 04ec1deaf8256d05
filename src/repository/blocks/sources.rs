//! The files of earlier backups that a file of blocks points to, opened as they are needed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::format::{BlockPlace, BlockSource, Form};
use super::input::{Input, folder_of};
use super::reader::{Cursor, Entry, TableReader, not_there};
use super::{BLOCK_BYTES, BlockHash, Shelf, path_of};
use crate::error::Result;
use crate::repository::stored::damaged;
use crate::stream::earlier::Within;

/// Sources that are kept open at a time: handles and buffers of a chain have a bound.
const OPEN_MAX: usize = 64;

/// The sources of one file of blocks, each read forwards only.
pub(super) struct Sources {
    shelf: Shelf,
    name: PathBuf,
    all: Vec<BlockSource>,
    /// Those that were opened once.
    known: HashMap<u16, Known>,
    /// Those that are open, the one that was needed last at the end.
    open: Vec<u16>,
}

enum Known {
    Plain(Box<Input>),
    Table(Box<Cursor>),
}

impl Sources {
    /// The sources of the file of blocks of the file `name`.
    pub(super) fn new(shelf: &Shelf, name: &Path, sources: Vec<BlockSource>) -> Self {
        Self { shelf: shelf.clone(), name: name.to_owned(), all: sources, known: HashMap::new(), open: Vec::new() }
    }

    /// The source as a person would name it.
    pub(super) fn describe(&self, source: u16) -> PathBuf {
        self.shelf.store.describe(&self.path(source))
    }

    /// Where the content is that a source holds.
    fn path(&self, source: u16) -> PathBuf {
        let BlockSource { backup, within, place } = &self.all[usize::from(source)];
        let folder = folder_of(&backup.text);
        if *within == Within::Data { folder.join(place) } else { path_of(&folder, place) }
    }

    /// Reads blocks that one source holds; forwards only. They are to be proven by whoever wants them.
    pub(super) fn read(&mut self, source: u16, first: u64, target: &mut [u8]) -> Result<()> {
        if self.all[usize::from(source)].within == Within::Data {
            return self.read_plain(source, first, target);
        }
        let described = self.describe(source);
        let name = self.name.clone();
        let cursor = self.cursor(source)?;
        for (number, block) in (first..).zip(target.chunks_mut(BLOCK_BYTES)) {
            match cursor.find(number)? {
                Some(Entry { place: BlockPlace::Here, bytes, .. }) if bytes == block.len() => {}
                _ => return Err(not_held(&name, number, &described)),
            }
            cursor.read(number, block)?;
        }
        Ok(())
    }

    fn read_plain(&mut self, source: u16, first: u64, target: &mut [u8]) -> Result<()> {
        self.touch(source);
        let path = self.path(source);
        let known = self.known.entry(source).or_insert_with(|| Known::Plain(Box::new(Input::new(&self.shelf, path))));
        let Known::Plain(input) = known else { return Err(not_held(&self.name, first, &self.describe(source))) };
        let begin = first.saturating_mul(BLOCK_BYTES as u64);
        let read = input.skip(begin.saturating_sub(input.at())).and_then(|()| input.read_exact(target));
        match read {
            Ok(true) => Ok(()),
            Ok(false) => {
                let what = format!("{}, which its content needs, ends early", self.describe(source).display());
                Err(damaged(&self.name, &what))
            }
            Err(error) => Err(not_there(&self.name, &self.describe(source), error)),
        }
    }

    /// Whether a source holds a block of this hash and length, as far as tables tell.
    pub(super) fn holds(&mut self, source: u16, block: u64, hash: BlockHash, bytes: usize) -> Result<bool> {
        let held = Entry { hash, place: BlockPlace::Here, bytes };
        Ok(self.cursor(source)?.find(block)? == Some(held))
    }

    /// The table of a source; of a plain file that of the file of blocks beside it.
    fn cursor(&mut self, source: u16) -> Result<&mut Cursor> {
        self.touch(source);
        if !self.known.contains_key(&source) {
            let BlockSource { backup, within, place } = &self.all[usize::from(source)];
            let mut reader = TableReader::open(&self.shelf, &folder_of(&backup.text), place, &self.name)?;
            let form = if *within == Within::Data { Form::Index } else { Form::Content };
            if reader.header().form != form {
                let what = format!("{}, which its content needs, has another form", reader.described().display());
                return Err(damaged(&self.name, &what));
            }
            reader.take_sources(); // nobody asks where it has others from
            self.known.insert(source, Known::Table(Box::new(Cursor::new(reader))));
        }
        match self.known.get_mut(&source) {
            Some(Known::Table(cursor)) => Ok(cursor),
            _ => Err(damaged(&self.name, "a source is read in two ways")),
        }
    }

    /// Notes that a source is needed, and puts the one aside that was not for longest, where there are too many.
    fn touch(&mut self, source: u16) {
        if self.open.last() == Some(&source) {
            return;
        }
        self.open.retain(|open| *open != source);
        if self.open.len() >= OPEN_MAX {
            let oldest = self.open.remove(0);
            match self.known.get_mut(&oldest) {
                Some(Known::Plain(input)) => input.put_aside(),
                Some(Known::Table(cursor)) => cursor.reader().input().put_aside(),
                None => {}
            }
        }
        self.open.push(source);
    }
}

fn not_held(name: &Path, block: u64, described: &Path) -> crate::error::Error {
    let offset = block.saturating_mul(BLOCK_BYTES as u64);
    damaged(name, &format!("{} does not hold its block at byte {offset}", described.display()))
}
