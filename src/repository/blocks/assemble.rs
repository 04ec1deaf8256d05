//! The content of a file that is stored as changed blocks, put together from the backups that hold them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::format::{BlockPlace, Form, bytes_of};
use super::reader::{Record, TableReader};
use super::sources::Sources;
use super::{BLOCK_BYTES, BlockHash, BlockKey, Shelf};
use crate::error::{Error, Result, printable};
use crate::repository::stored::damaged;
use crate::stream::source::{Attributes, Got, Hole, Settled, Source};

/// A file that is put together while it is read; every block is proven before it is given out.
pub struct Assembled {
    table: Table,
    sources: Sources,
    key: BlockKey,
    size: u64,
    /// The next byte to give out.
    at: u64,
    /// A block of which a part was given out.
    rest: Vec<u8>,
    given: usize,
    /// Zeros that are to be given out.
    zeros: u64,
    /// The holes that the file had, those that are still to come; none where that is not known.
    holes: Option<VecDeque<Hole>>,
    attributes: Attributes,
}

/// The file's own table, and how far it was used.
struct Table {
    reader: TableReader,
    /// The blocks of the record that it is at, and the next one of them.
    blocks: Vec<(BlockHash, BlockPlace)>,
    next: usize,
    first: u64,
    bytes: u64,
}

/// Bytes that are read at once of a piece that somebody wants.
const READ_BYTES: usize = 64 * 1024;

/// What was passed over of a table.
enum Passed {
    /// Whole blocks, of so many bytes.
    Blocks(u64),
    /// Nothing, but there is a run of zeros now.
    Zeros(u64),
    End,
}

/// What a table has next.
enum Step {
    Zeros(u64),
    /// Blocks that are in one place: the index of the first one, how many, and bytes in all.
    Run(usize, usize, usize, BlockPlace),
    End,
}

impl Assembled {
    /// Opens a file that is called `path` in messages, whose file of blocks lies at `place` of the backup in `folder`,
    /// which is below `backups/` or a partial's; `size` is what its line says, in bytes.
    ///
    /// Fails with exit 3 where the file of blocks is missing or cannot be believed.
    pub fn open(
        shelf: &Shelf,
        folder: &Path,
        place: &Path,
        path: &Path,
        size: u64,
        attributes: Attributes,
    ) -> Result<Self> {
        let mut reader = TableReader::open(shelf, folder, place, path)?;
        if reader.header().form != Form::Content {
            let what = format!("the file of blocks {} holds no content", printable(reader.described()));
            return Err(damaged(path, &what));
        }
        let sources = Sources::new(shelf, path, reader.take_sources());
        let table = Table { reader, blocks: Vec::new(), next: 0, first: 0, bytes: 0 };
        let (rest, given, zeros, holes) = (Vec::new(), 0, 0, None);
        Ok(Self { table, sources, key: shelf.key.clone(), size, at: 0, rest, given, zeros, holes, attributes })
    }

    /// The same, with holes only where the file had them, in order: zeros elsewhere come as bytes. Without, all do as
    /// holes.
    #[must_use]
    pub fn with_holes(self, holes: Vec<Hole>) -> Self {
        Self { holes: Some(holes.into()), ..self }
    }

    /// The next byte to give out.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// So many bytes from a byte on, which was not given out yet; fewer where the file ends. Of what lies before it only
    /// tables are read.
    pub fn read_from(&mut self, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.pass(offset)?;
        let mut piece = vec![0; READ_BYTES];
        while self.at < offset {
            let over = usize::try_from(offset - self.at).map_or(READ_BYTES, |over| over.min(READ_BYTES));
            if self.fill(&mut piece[..over])? == 0 {
                return Ok(Vec::new());
            }
        }
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let wanted = READ_BYTES.min(length - bytes.len());
            match self.fill(&mut piece[..wanted])? {
                0 => break,
                got => bytes.extend_from_slice(&piece[..got]),
            }
        }
        Ok(bytes)
    }

    /// The next bytes, also where they are zeros; none where the file ends. What of a hole is not wanted stays to be given
    /// out.
    fn fill(&mut self, target: &mut [u8]) -> Result<usize> {
        Ok(match self.next(target)? {
            Got::Data(got) => got,
            Got::Hole(got) => {
                let now = usize::try_from(got).map_or(target.len(), |got| got.min(target.len()));
                target[..now].fill(0);
                let left = got - now as u64;
                (self.zeros, self.at) = (self.zeros + left, self.at - left);
                now
            }
            Got::End => 0,
        })
    }

    /// Passes over zeros and whole blocks that lie before a byte.
    fn pass(&mut self, to: u64) -> Result<()> {
        while self.at < to && self.given == self.rest.len() {
            if self.zeros > 0 {
                let over = self.zeros.min(to - self.at);
                (self.zeros, self.at) = (self.zeros - over, self.at + over);
                continue;
            }
            match self.table.pass(to - self.at)? {
                Passed::Blocks(0) | Passed::End => break,
                Passed::Blocks(bytes) => self.at += bytes,
                Passed::Zeros(bytes) => self.zeros = bytes,
            }
        }
        Ok(())
    }

    /// Reads a run of blocks of one place into a buffer that is as long, and proves each of them.
    fn read_run(&mut self, index: usize, count: usize, place: BlockPlace, target: &mut [u8]) -> Result<()> {
        match place {
            BlockPlace::Here => self.table.reader.read_content(index, count, target)?,
            BlockPlace::Source(source) => self.sources.read(source, self.table.first + index as u64, target)?,
            BlockPlace::Zeros => target.fill(0),
        }
        for (number, block) in (index..).zip(target.chunks(BLOCK_BYTES)) {
            if self.key.hash(block) != self.table.blocks[number].0 {
                return Err(self.wrong(number, block.len(), place));
            }
        }
        self.table.next = index + count;
        Ok(())
    }

    fn wrong(&self, index: usize, bytes: usize, place: BlockPlace) -> Error {
        let offset = (self.table.first + index as u64).saturating_mul(BLOCK_BYTES as u64);
        let held: PathBuf = match place {
            BlockPlace::Source(source) => self.sources.describe(source),
            _ => self.table.reader.described(),
        };
        let name = self.table.reader.name();
        damaged(name, &format!("{bytes} bytes at byte {offset} do not have their hash; {} holds them", printable(held)))
    }

    fn give_rest(&mut self, buffer: &mut [u8]) -> Got {
        let now = buffer.len().min(self.rest.len() - self.given);
        buffer[..now].copy_from_slice(&self.rest[self.given..self.given + now]);
        self.given += now;
        Got::Data(now)
    }

    /// Zeros as far as they are one hole, or none.
    fn give_zeros(&mut self, buffer: &mut [u8]) -> Got {
        let Some(holes) = &mut self.holes else { return Got::Hole(std::mem::take(&mut self.zeros)) };
        while holes.front().is_some_and(|Hole(begin, length)| begin.saturating_add(*length) <= self.at) {
            holes.pop_front();
        }
        let (is_hole, until) = match holes.front() {
            Some(Hole(begin, length)) if *begin <= self.at => (true, begin.saturating_add(*length)),
            Some(Hole(begin, _)) => (false, *begin),
            None => (false, u64::MAX),
        };
        let mut bytes = self.zeros.min(until - self.at);
        let got = if is_hole {
            Got::Hole(bytes)
        } else {
            let now = usize::try_from(bytes).map_or(buffer.len(), |bytes| bytes.min(buffer.len()));
            buffer[..now].fill(0);
            bytes = now as u64;
            Got::Data(now)
        };
        self.zeros -= bytes;
        got
    }

    /// The next piece, whatever the size of the file should be.
    fn piece(&mut self, buffer: &mut [u8]) -> Result<Got> {
        if self.given < self.rest.len() || buffer.is_empty() {
            return Ok(self.give_rest(buffer));
        }
        if self.zeros > 0 {
            return Ok(self.give_zeros(buffer));
        }
        match self.table.step(buffer.len())? {
            Step::End => Ok(Got::End),
            Step::Zeros(bytes) => {
                self.zeros = bytes;
                Ok(self.give_zeros(buffer))
            }
            Step::Run(index, count, bytes, place) if bytes <= buffer.len() => {
                self.read_run(index, count, place, &mut buffer[..bytes])?;
                Ok(Got::Data(bytes))
            }
            Step::Run(index, count, bytes, place) => {
                let mut block = vec![0; bytes]; // one block, which is larger than the buffer
                self.read_run(index, count, place, &mut block)?;
                (self.rest, self.given) = (block, 0);
                Ok(self.give_rest(buffer))
            }
        }
    }
}

impl Table {
    /// Takes the next record where all blocks of this one were used; what it is, where it has no blocks.
    fn advance(&mut self) -> Result<Option<Step>> {
        if self.next < self.blocks.len() {
            return Ok(None);
        }
        match self.reader.next()? {
            Record::End { .. } => return Ok(Some(Step::End)),
            Record::Zeros { bytes, .. } => return Ok(Some(Step::Zeros(bytes))),
            Record::Blocks { first, bytes, hashes, places } => {
                self.blocks.clear();
                self.blocks.extend(hashes.iter().copied().zip(places.iter().copied()));
                (self.first, self.bytes, self.next) = (first, bytes, 0);
            }
        }
        Ok(None)
    }

    /// Passes over whole blocks of one record, of so many bytes at most.
    fn pass(&mut self, bytes_max: u64) -> Result<Passed> {
        match self.advance()? {
            Some(Step::Zeros(bytes)) => return Ok(Passed::Zeros(bytes)),
            Some(_) => return Ok(Passed::End),
            None => {}
        }
        let mut passed = 0;
        while self.next < self.blocks.len() {
            let bytes = bytes_of(self.next, self.bytes) as u64;
            if passed + bytes > bytes_max {
                break;
            }
            (passed, self.next) = (passed + bytes, self.next + 1);
        }
        Ok(Passed::Blocks(passed))
    }

    /// What comes next; a run is not longer than `bytes_max`, but one block at least.
    fn step(&mut self, bytes_max: usize) -> Result<Step> {
        if let Some(step) = self.advance()? {
            return Ok(step);
        }
        let begin = self.next;
        let place = self.blocks[begin].1;
        let blocks_max = if place == BlockPlace::Zeros { usize::MAX } else { (bytes_max / BLOCK_BYTES).max(1) };
        let run = self.blocks[begin..].iter().take(blocks_max).take_while(|(_, of)| *of == place).count();
        let bytes = (begin..begin + run).map(|index| bytes_of(index, self.bytes)).sum();
        if place == BlockPlace::Zeros {
            self.next += run;
            return Ok(Step::Zeros(bytes as u64));
        }
        Ok(Step::Run(begin, run, bytes, place))
    }
}

impl Source for Assembled {
    fn next(&mut self, buffer: &mut [u8]) -> Result<Got> {
        let got = self.piece(buffer)?;
        let bytes = match got {
            Got::Data(bytes) => bytes as u64,
            Got::Hole(bytes) => bytes,
            Got::End => 0,
        };
        self.at = self.at.saturating_add(bytes);
        if self.at > self.size || (got == Got::End && self.at < self.size) {
            let is = if self.at > self.size { "longer" } else { "shorter" };
            return Err(damaged(self.table.reader.name(), &format!("it is {is} than its {} bytes", self.size)));
        }
        Ok(got)
    }

    fn finish(self: Box<Self>) -> Result<Settled> {
        Ok(Settled::Still(self.attributes))
    }
}
