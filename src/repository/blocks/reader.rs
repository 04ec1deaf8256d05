//! Reading the table of a file of blocks from begin to end.

use std::path::{Path, PathBuf};

use super::format::{
    self, BlockPlace, BlockSource, CHECK_BYTES, Form, HEAD_BYTES, Head, Header, RECORD_BYTES, RecordHead, blocks_of,
    bytes_of,
};
use super::input::Input;
use super::key::{BlockHash, BlockKey};
use super::{BLOCK_BYTES, Shelf, path_of};
use crate::error::{Error, Jet, Result, printable};
use crate::repository::stored::damaged;

/// A piece of a table, in order; every block of the file is in one of them.
#[derive(Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Blocks one after the other, all of 4096 bytes but the last one of the file.
    Blocks {
        /// The number of the first one, counted from 0.
        first: u64,
        /// Bytes of content that they are.
        bytes: u64,
        /// The hash of each; of zeros it means nothing.
        hashes: &'a [BlockHash],
        /// Where each is.
        places: &'a [BlockPlace],
    },
    /// A run of zeros.
    Zeros {
        /// The number of its first block.
        first: u64,
        /// Bytes of content that it is.
        bytes: u64,
    },
    /// The file ends.
    End {
        /// Bytes of the file.
        size: u64,
        /// Bytes of content in the file of blocks.
        stored: u64,
    },
}

/// What a record is, without its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Blocks,
    Zeros,
    End,
}

/// One file of blocks, read forwards. Content that nobody asks for is passed over.
pub struct TableReader {
    input: Input,
    key: BlockKey,
    /// What the file is called whose blocks these are.
    name: PathBuf,
    header: Header,
    /// How many sources the header has, also when they are taken.
    sources: usize,
    kind: Kind,
    first: u64,
    bytes: u64,
    hashes: Vec<BlockHash>,
    places: Vec<BlockPlace>,
    table: Vec<u8>,
    /// The next block, bytes of content before it, and bytes of content that were here before it.
    next: u64,
    covered: u64,
    stored: u64,
    /// The next block of the table whose content has not been passed, and where the content ends.
    content_next: usize,
    content_end: u64,
}

impl TableReader {
    /// Opens the file of blocks of the file `path` (for messages), stored at `place` of the backup in `folder`.
    ///
    /// Fails with exit 3 where it is missing, or does not begin as one.
    pub fn open(shelf: &Shelf, folder: &Path, place: &Path, path: &Path) -> Result<Self> {
        Self::of(Input::new(shelf, path_of(folder, place)), shelf.key.clone(), path)
    }

    pub(super) fn of(mut input: Input, key: BlockKey, path: &Path) -> Result<Self> {
        let header = match read_header(&mut input, &key, path) {
            Err(error) => return Err(not_there(path, &input.described(), error)),
            Ok(header) => header,
        };
        let content_end = input.at();
        Ok(Self {
            input,
            key,
            name: path.to_owned(),
            sources: header.sources.len(),
            header,
            kind: Kind::Zeros,
            first: 0,
            bytes: 0,
            hashes: Vec::new(),
            places: Vec::new(),
            table: Vec::new(),
            next: 0,
            covered: 0,
            stored: 0,
            content_next: 0,
            content_end,
        })
    }

    /// What it begins with.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next piece; after the end it is the end again. Fails with exit 3 where the table cannot be believed.
    #[expect(clippy::should_implement_trait, reason = "what it gives lives as long as the next call")]
    pub fn next(&mut self) -> Result<Record<'_>> {
        self.advance()?;
        Ok(self.record())
    }

    /// The piece that it is at.
    fn record(&self) -> Record<'_> {
        let (first, bytes) = (self.first, self.bytes);
        match self.kind {
            Kind::Blocks => Record::Blocks { first, bytes, hashes: &self.hashes, places: &self.places },
            Kind::Zeros => Record::Zeros { first, bytes },
            Kind::End => Record::End { size: self.covered, stored: self.stored },
        }
    }

    /// The file of blocks as a person would name it.
    pub(super) fn described(&self) -> PathBuf {
        self.input.described()
    }

    /// What the file is called whose blocks these are.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    pub(super) fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    /// The sources; the header has none afterwards.
    pub(super) fn take_sources(&mut self) -> Vec<BlockSource> {
        std::mem::take(&mut self.header.sources)
    }

    fn advance(&mut self) -> Result<()> {
        if self.kind == Kind::End {
            return Ok(());
        }
        let over = self.content_end.saturating_sub(self.input.at());
        self.input.skip(over)?;
        let mut head = [0; RECORD_BYTES];
        if !self.input.read_exact(&mut head)? {
            return Err(self.flaw("it ends early"));
        }
        let decoded = format::decode_record(&head).map_err(|flaw| self.flaw(flaw))?;
        self.table.clear();
        self.table.extend(head);
        let begin = self.table.len();
        self.table.resize(begin + format::rest_bytes(decoded), 0);
        if !self.input.read_exact(&mut self.table[begin..])? {
            return Err(self.flaw("it ends early"));
        }
        if format::unseal(&self.table, &self.key).is_none() {
            return Err(self.flaw("a table does not have its own hash"));
        }
        let is_short = !self.covered.is_multiple_of(BLOCK_BYTES as u64);
        let (RecordHead::Blocks { first, bytes, .. } | RecordHead::Zeros { first, bytes }) = decoded else {
            return self.end(decoded);
        };
        let covered = self.covered.checked_add(bytes).filter(|_| first == self.next && !is_short);
        self.covered = covered.ok_or_else(|| self.flaw("its records do not follow each other"))?;
        (self.first, self.bytes, self.next) = (first, bytes, first + blocks_of(bytes));
        (self.content_next, self.content_end) = (0, self.input.at());
        self.kind = Kind::Zeros;
        if let RecordHead::Blocks { count, .. } = decoded {
            let table = &self.table[begin..self.table.len() - CHECK_BYTES];
            let decoded = format::decode_table(table, count, self.sources, &mut self.hashes, &mut self.places);
            decoded.map_err(|flaw| self.flaw(flaw))?;
            self.kind = Kind::Blocks;
            if self.header.form == Form::Content {
                let here = self.here_bytes(0, count);
                self.stored += here;
                self.content_end += here;
            }
        }
        Ok(())
    }

    fn end(&mut self, head: RecordHead) -> Result<()> {
        let stored = self.table[RECORD_BYTES..].first_chunk::<8>().copied().map(u64::from_le_bytes);
        if head != (RecordHead::End { blocks: self.next, size: self.covered }) || stored != Some(self.stored) {
            return Err(self.flaw("it ends with other numbers than it holds"));
        }
        if self.input.read_exact(&mut [0])? {
            return Err(self.flaw("something follows its end"));
        }
        self.kind = Kind::End;
        Ok(())
    }

    /// Bytes of content that are here of some blocks of the table.
    fn here_bytes(&self, begin: usize, end: usize) -> u64 {
        let here = (begin..end).filter(|index| self.places.get(*index) == Some(&BlockPlace::Here));
        here.map(|index| bytes_of(index, self.bytes) as u64).sum()
    }

    /// Reads the content of the blocks of the table from `index` on, which are all here; forwards only.
    pub(super) fn read_content(&mut self, index: usize, count: usize, target: &mut [u8]) -> Result<()> {
        let over = self.here_bytes(self.content_next, index);
        self.input.skip(over)?;
        self.content_next = index + count;
        if self.input.read_exact(target)? { Ok(()) } else { Err(self.flaw("it ends early")) }
    }

    fn flaw(&self, what: &str) -> Error {
        flawed(&self.name, &self.input.described(), self.input.at(), what)
    }
}

fn read_header(input: &mut Input, key: &BlockKey, name: &Path) -> Result<Header> {
    let flaw = |input: &Input, what: &str| flawed(name, &input.described(), input.at(), what);
    let mut bytes = [0; HEAD_BYTES];
    if !input.read_exact(&mut bytes)? {
        return Err(flaw(input, "it ends early"));
    }
    let Head { form, sources: count, sources_bytes } = format::decode_head(&bytes).map_err(|what| flaw(input, what))?;
    let mut rest = Vec::new();
    if !input.read_into(&mut rest, sources_bytes + CHECK_BYTES)? {
        return Err(flaw(input, "it ends early"));
    }
    let all = [&bytes[..], &rest].concat();
    let sound = format::unseal(&all, key).ok_or_else(|| flaw(input, "its header does not have its own hash"))?;
    let sources = format::decode_sources(&sound[HEAD_BYTES..], count).map_err(|what| flaw(input, what))?;
    Ok(Header { form, sources })
}

/// The error of a file of blocks that cannot be believed; exit 3.
fn flawed(name: &Path, described: &Path, at: u64, what: &str) -> Error {
    let described = printable(described);
    damaged(name, &format!("the file of blocks {described} cannot be believed at byte {at}: {what}"))
}

/// What it means that a file which the content of another one is in cannot be opened.
pub(super) fn not_there(name: &Path, described: &Path, error: Error) -> Error {
    let what = match error.jet_code() {
        Some(Jet::FileNotFound) => "is missing",
        Some(Jet::FileInvalidType) => "is no file",
        _ => return error,
    };
    damaged(name, &format!("{}, which its content needs, {what}", printable(described)))
}

/// A block as a table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) hash: BlockHash,
    pub(super) place: BlockPlace,
    /// Bytes of content.
    pub(super) bytes: usize,
}

/// A table that is asked for blocks in ascending order.
pub(super) struct Cursor {
    reader: TableReader,
    began: bool,
}

impl Cursor {
    pub(super) fn new(reader: TableReader) -> Self {
        Self { reader, began: false }
    }

    pub(super) fn reader(&mut self) -> &mut TableReader {
        &mut self.reader
    }

    /// The block of this number; none where the file ends before. Forwards only.
    #[inline]
    pub(super) fn find(&mut self, block: u64) -> Result<Option<Entry>> {
        loop {
            let reader = &self.reader;
            if self.began && block < reader.next {
                let index = usize::try_from(block - reader.first).unwrap_or(usize::MAX);
                return Ok(Some(match reader.kind {
                    Kind::Blocks => Entry {
                        hash: reader.hashes[index],
                        place: reader.places[index],
                        bytes: bytes_of(index, reader.bytes),
                    },
                    _ => Entry {
                        hash: BlockHash::default(),
                        place: BlockPlace::Zeros,
                        bytes: bytes_of(index, reader.bytes),
                    },
                }));
            }
            if reader.kind == Kind::End {
                return Ok(None);
            }
            self.reader.advance()?;
            self.began = true;
        }
    }

    /// Whether a run from this block on is all zeros. Forwards only.
    pub(super) fn are_zeros(&mut self, first: u64, bytes: u64) -> Result<bool> {
        let end = first.saturating_add(blocks_of(bytes));
        let mut block = first;
        while block < end {
            match self.find(block)? {
                Some(Entry { place: BlockPlace::Zeros, .. }) => {}
                _ => return Ok(false),
            }
            block = if self.reader.kind == Kind::Zeros { self.reader.next } else { block + 1 };
        }
        Ok(true)
    }

    /// Whether the file has so many bytes, and no more. Forwards only.
    pub(super) fn ends_with(&mut self, size: u64) -> Result<bool> {
        Ok(self.find(blocks_of(size))?.is_none() && self.reader.covered == size)
    }

    /// Reads the content of a block that was found, and is here.
    pub(super) fn read(&mut self, block: u64, target: &mut [u8]) -> Result<()> {
        let index = usize::try_from(block.saturating_sub(self.reader.first)).unwrap_or(0);
        self.reader.read_content(index, 1, target)
    }
}
