//! Writing a file of blocks while the content of its file passes by.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::format::{
    BLOCK_BYTES, BlockPlace, BlockSource, Form, GROUP_BLOCKS, Header, encode_blocks, encode_end, encode_header,
    encode_zeros, is_place,
};
use super::input::folder_of;
use super::reader::{Cursor, Entry, TableReader};
use super::{BlockHash, BlockKey, Shelf, path_of};
use crate::error::{Error, ExitCode, Result, printable};
use crate::hex::hex;
use crate::repository::manifest::BackupId;
use crate::repository::store::Writing;
use crate::repository::stored::damaged;
use crate::stream::earlier::{BlockFacts, Earlier, Within};

/// Zero blocks from which on a run of them is worth a record of its own.
const RUN_BLOCKS_MIN: u64 = 64;
/// Bytes that wait in memory before a file is made: that of a file that did not change is seldom made at all.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Takes the content of a file, in pieces of any size, and writes its file of blocks. At most a group of blocks waits in
/// memory, 4 MiB of content.
pub struct BlocksWriter {
    pub(super) key: BlockKey,
    out: Out,
    /// What is compared with, and the first of its sources in this file's header.
    pub(super) earlier: Option<Compared>,
    /// A block that is not complete yet.
    part: Vec<u8>,
    group: Group,
    /// Zeros behind the group, in bytes.
    zeros: u64,
    size: u64,
    stored: u64,
}

/// An earlier version of the file.
pub(super) struct Compared {
    pub(super) table: Cursor,
    /// Whether the header names sources; without, every block is stored here.
    pub(super) has_sources: bool,
    /// Whether everything was the same so far.
    is_same: bool,
}

/// Blocks that wait for their record.
#[derive(Default)]
struct Group {
    first: u64,
    bytes: u64,
    hashes: Vec<BlockHash>,
    places: Vec<BlockPlace>,
    content: Vec<u8>,
}

/// What came of a file of blocks.
#[derive(Debug)]
pub struct Written {
    /// Bytes of the file whose blocks they are.
    pub size: u64,
    /// The file of blocks.
    pub facts: BlockFacts,
}

impl BlocksWriter {
    /// A writer for a file that is stored whole: hashes only. `folder` and `place` as for [`TableReader::open`].
    pub fn index(shelf: &Shelf, folder: &Path, place: &Path) -> Self {
        let header = Header { form: Form::Index, sources: Vec::new() };
        let header = encode_header(&header, &shelf.key).expect("it has no sources");
        Self::new(shelf, path_of(folder, place), header, None)
    }

    /// A writer for a file of which an earlier backup has a file of blocks: what differs is stored.
    ///
    /// Fails with exit 3 where the earlier file of blocks is missing or cannot be believed.
    pub fn compare(shelf: &Shelf, folder: &Path, place: &Path, earlier: &Earlier, name: &Path) -> Result<Self> {
        let backup = BackupId::parse(&earlier.backup).filter(|_| is_place(&earlier.place));
        let backup = backup.ok_or_else(|| damaged(name, "where it is in an earlier backup cannot be believed"))?;
        let mut table = TableReader::open(shelf, &folder_of(&backup.text), &earlier.place, name)?;
        let form = if earlier.within == Within::Data { Form::Index } else { Form::Content };
        if table.header().form != form {
            let described = printable(table.described());
            let what = format!("the file of blocks {described} has another form than its list says");
            return Err(damaged(name, &what));
        }
        // A block that was here is in that backup now; what its header names moves on by one.
        let mut sources = vec![BlockSource { backup, within: earlier.within, place: earlier.place.clone() }];
        sources.extend(table.take_sources());
        let header = encode_header(&Header { form: Form::Content, sources }, &shelf.key);
        let has_sources = header.is_some();
        let header = match header {
            Some(header) => header,
            // The chain is longer than can be written down: begin anew.
            None => encode_header(&Header { form: Form::Content, sources: Vec::new() }, &shelf.key)
                .expect("it has no sources"),
        };
        let earlier = Compared { table: Cursor::new(table), has_sources, is_same: true };
        Ok(Self::new(shelf, path_of(folder, place), header, Some(earlier)))
    }

    fn new(shelf: &Shelf, path: PathBuf, header: Vec<u8>, earlier: Option<Compared>) -> Self {
        let out = Out { shelf: shelf.clone(), path, waiting: header, writing: None, sha256: Sha256::new(), bytes: 0 };
        let (part, group) = (Vec::new(), Group::default());
        Self { key: shelf.key.clone(), out, earlier, part, group, zeros: 0, size: 0, stored: 0 }
    }

    /// Takes the next bytes.
    pub fn write(&mut self, mut chunk: &[u8]) -> Result<()> {
        if !self.part.is_empty() {
            let (now, rest) = chunk.split_at(chunk.len().min(BLOCK_BYTES - self.part.len()));
            self.part.extend(now);
            chunk = rest;
            self.take_part(BLOCK_BYTES)?;
        }
        let (blocks, rest) = chunk.as_chunks::<BLOCK_BYTES>();
        for block in blocks {
            self.take(block)?;
        }
        self.part.extend(rest);
        Ok(())
    }

    /// Takes so many zeros.
    pub fn skip(&mut self, mut bytes: u64) -> Result<()> {
        if !self.part.is_empty() {
            let missing = BLOCK_BYTES - self.part.len();
            let now = usize::try_from(bytes).map_or(missing, |bytes| bytes.min(missing));
            self.part.extend(&ZEROS[..now]);
            bytes -= now as u64;
            self.take_part(BLOCK_BYTES)?;
        }
        let rest = bytes % BLOCK_BYTES as u64;
        let whole = bytes - rest;
        if whole > 0 {
            let is_same = match &mut self.earlier {
                Some(earlier) => earlier.table.are_zeros(self.size / BLOCK_BYTES as u64, whole)?,
                None => true,
            };
            self.put_zeros(whole, is_same);
        }
        self.part.extend(&ZEROS[..usize::try_from(rest).unwrap_or(0)]);
        Ok(())
    }

    /// Ends the file of blocks; none, and nothing is left of it, where the file is what it was in the earlier backup.
    pub fn finish(mut self) -> Result<Option<Written>> {
        self.take_part(1)?;
        self.end_zeros(true)?;
        self.end_group()?;
        if let Some(earlier) = &mut self.earlier
            && earlier.is_same
            && earlier.table.ends_with(self.size)?
        {
            self.out.take_back()?;
            return Ok(None);
        }
        let blocks = self.size.div_ceil(BLOCK_BYTES as u64);
        encode_end(&mut self.out.waiting, blocks, self.size, self.stored, &self.key);
        let (bytes, sha256) = self.out.finish()?;
        Ok(Some(Written { size: self.size, facts: BlockFacts { bytes, sha256, stored: self.stored } }))
    }

    /// Leaves nothing behind.
    pub fn abandon(mut self) -> Result<()> {
        self.out.take_back()
    }

    /// Takes the block that came in parts, if that is so long by now.
    fn take_part(&mut self, bytes_min: usize) -> Result<()> {
        if self.part.len() < bytes_min {
            return Ok(());
        }
        let mut part = std::mem::take(&mut self.part);
        self.take(&part)?;
        part.clear();
        self.part = part;
        Ok(())
    }

    #[inline]
    fn take(&mut self, block: &[u8]) -> Result<()> {
        let judged = match &mut self.earlier {
            None => Judged::of(block, &self.key, None, false),
            Some(Compared { table, has_sources, .. }) => {
                let earlier = table.find(self.size / BLOCK_BYTES as u64)?;
                Judged::of(block, &self.key, earlier, *has_sources)
            }
        };
        self.put(&judged, block.len(), block)
    }

    /// Takes the next block as it was judged, of so many bytes; they themselves matter only where it is stored here.
    #[inline]
    pub(super) fn put(&mut self, judged: &Judged, bytes: usize, content: &[u8]) -> Result<()> {
        if judged.place == BlockPlace::Zeros {
            self.put_zeros(bytes as u64, judged.is_same);
            return Ok(());
        }
        if self.zeros > 0 {
            self.end_zeros(false)?;
        }
        self.size += bytes as u64;
        if let Some(earlier) = &mut self.earlier {
            earlier.is_same &= judged.is_same;
            if judged.place == BlockPlace::Here {
                self.group.content.extend(content);
                self.stored += bytes as u64;
            }
        }
        self.add(judged.hash, judged.place, bytes)
    }

    /// Takes zeros, from the begin of a block on; `is_same` says whether the earlier version has them too.
    pub(super) fn put_zeros(&mut self, bytes: u64, is_same: bool) {
        self.zeros += bytes;
        self.size += bytes;
        if let Some(earlier) = &mut self.earlier {
            earlier.is_same &= is_same;
        }
    }

    fn add(&mut self, hash: BlockHash, place: BlockPlace, bytes: usize) -> Result<()> {
        self.group.hashes.push(hash);
        self.group.places.push(place);
        self.group.bytes += bytes as u64;
        if self.group.hashes.len() == GROUP_BLOCKS { self.end_group() } else { Ok(()) }
    }

    /// Puts the zeros that wait where they belong: few into the group, many into a record of their own.
    fn end_zeros(&mut self, is_last: bool) -> Result<()> {
        let bytes = std::mem::take(&mut self.zeros);
        if bytes == 0 {
            return Ok(());
        }
        let blocks = bytes.div_ceil(BLOCK_BYTES as u64);
        if blocks >= RUN_BLOCKS_MIN || is_last {
            self.end_group()?;
            encode_zeros(&mut self.out.waiting, self.group.first, bytes, &self.key);
            self.group.first += blocks;
            return self.out.write_when_large();
        }
        (0..blocks).try_for_each(|_| self.add(BlockHash::default(), BlockPlace::Zeros, BLOCK_BYTES))
    }

    fn end_group(&mut self) -> Result<()> {
        let Group { first, bytes, hashes, places, content } = &mut self.group;
        if hashes.is_empty() {
            return Ok(());
        }
        encode_blocks(&mut self.out.waiting, *first, *bytes, hashes, places, &self.key);
        let blocks = hashes.len() as u64;
        hashes.clear();
        places.clear();
        (*first, *bytes) = (*first + blocks, 0);
        self.out.write_when_large()?;
        if !content.is_empty() {
            self.out.write(content)?;
            content.clear();
        }
        Ok(())
    }
}

/// What a block is beside the one that an earlier version has in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// Nothing where it is all zeros.
    pub(super) hash: BlockHash,
    /// Where it is: here too where the earlier version has the same, but cannot be named.
    pub(super) place: BlockPlace,
    /// The earlier version has the same.
    pub(super) is_same: bool,
}

impl Judged {
    /// Compares a block with the one of the same number; `has_sources` says whether that can be named as its place.
    #[inline]
    pub(super) fn of(block: &[u8], key: &BlockKey, earlier: Option<Entry>, has_sources: bool) -> Self {
        if is_zero(block) {
            let is_same = earlier.is_some_and(|earlier| earlier.place == BlockPlace::Zeros);
            return Self { hash: BlockHash::default(), place: BlockPlace::Zeros, is_same };
        }
        let hash = key.hash(block);
        let same = match earlier {
            // Bytes too: a short last block is never a whole one.
            Some(entry @ Entry { place, .. }) if entry == (Entry { hash, place, bytes: block.len() }) => place,
            _ => BlockPlace::Zeros,
        };
        let place = match same {
            BlockPlace::Zeros => return Self { hash, place: BlockPlace::Here, is_same: false },
            _ if !has_sources => BlockPlace::Here,
            BlockPlace::Here => BlockPlace::Source(0),
            BlockPlace::Source(index) => BlockPlace::Source(index + 1),
        };
        Self { hash, place, is_same: true }
    }
}

#[inline]
fn is_zero(block: &[u8]) -> bool {
    // Nearly every block that is not zero shows it at once.
    block.first() == Some(&0) && block == &ZEROS[..block.len().min(BLOCK_BYTES)]
}

/// The file of blocks as it is written: made late, and hashed on the way.
struct Out {
    shelf: Shelf,
    path: PathBuf,
    waiting: Vec<u8>,
    writing: Option<Box<dyn Writing>>,
    sha256: Sha256,
    bytes: u64,
}

impl Out {
    fn write_when_large(&mut self) -> Result<()> {
        if self.waiting.len() > WAITING_BYTES_MAX { self.write_waiting() } else { Ok(()) }
    }

    /// Writes what waits, and content behind it.
    fn write(&mut self, content: &[u8]) -> Result<()> {
        if self.waiting.len() + content.len() <= WAITING_BYTES_MAX {
            self.waiting.extend(content);
            return Ok(());
        }
        self.write_waiting()?;
        self.put(content)
    }

    fn write_waiting(&mut self) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.put(&waiting)?;
        waiting.clear();
        self.waiting = waiting;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let writing = match &mut self.writing {
            Some(writing) => writing,
            missing => missing.insert(self.shelf.store.create(&self.path)?),
        };
        writing.write(bytes)?;
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<(u64, String)> {
        self.write_waiting()?;
        let writing = self.writing.ok_or_else(|| Error::new(ExitCode::Failed, "a file of blocks was not made"))?;
        writing.finish(None)?;
        Ok((self.bytes, hex(&self.sha256.finalize())))
    }

    fn take_back(&mut self) -> Result<()> {
        match self.writing.take() {
            Some(writing) => {
                drop(writing);
                self.shelf.store.remove(&self.path)
            }
            None => Ok(()),
        }
    }
}
