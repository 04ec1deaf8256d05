//! The format of a file of blocks: bytes to values and back, and nothing believed that cannot be.
//!
//! ```text
//! header   8 magic "jetbkblk"            record  4 tag: 1 blocks, 2 zeros, 3 end
//!          4 version, 1                          4 count of blocks, 1 to 1024; 0 in zeros and end
//!          4 bytes of a block, 4096              8 number of the first block; in end: how many the file has
//!          4 form: 1 index, 2 content            8 bytes of content that it covers; in end: bytes of the file
//!          4 count of sources            blocks  16 hash of each block
//!          4 bytes of all sources                 2 place of each: 0 zeros, 1 here, 2 + n source n
//!          n sources                      end     8 bytes of content in this file
//!          8 check of the above          all      8 check of the above
//!                                        blocks   n content of the blocks that are here, in form 2
//! source   1 within: 0 data, 1 blocks; 1 bytes of the id; 4 bytes of the place; id; place
//! ```
//!
//! Numbers are little endian. Hashes are XXH3-128, checks XXH3-64, both under the secret of the repository.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::key::{BlockHash, BlockKey};
use crate::paths;
use crate::repository::file_list::is_plain;
use crate::repository::manifest::BackupId;
use crate::roots;
use crate::stream::earlier::Within;

/// Bytes of a block; the last one of a file may be shorter.
pub const BLOCK_BYTES: usize = 4096;
/// Blocks of one table at most: 4 MiB of content and 18 KiB of table.
pub const GROUP_BLOCKS: usize = 1024;
/// Sources of one file of blocks at most.
pub const SOURCES_MAX: usize = 4096;
/// Bytes of the sources at most, written out: room for paths of a usual length.
pub const SOURCES_BYTES_MAX: usize = 4 * 1024 * 1024;

const MAGIC: &[u8; 8] = b"jetbkblk";
const VERSION: u32 = 1;
/// Bytes of a header before its sources.
pub const HEAD_BYTES: usize = 8 + 5 * 4;
/// Bytes of a record before its table.
pub const RECORD_BYTES: usize = 2 * 4 + 2 * 8;
/// Bytes of a check.
pub const CHECK_BYTES: usize = 8;
/// Bytes of the hash and the place of one block.
pub const ENTRY_BYTES: usize = 16 + 2;

const TAG_BLOCKS: u32 = 1;
const TAG_ZEROS: u32 = 2;
const TAG_END: u32 = 3;
const PLACE_ZEROS: u16 = 0;
const PLACE_HERE: u16 = 1;
const PLACE_SOURCES: u16 = 2;

/// What cannot be, to follow "is damaged:".
pub type Flaw = &'static str;

/// Where the blocks are that are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In the plain file that this one lies beside; it holds only hashes.
    Index,
    /// In this file.
    Content,
}

/// What a file of blocks begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the blocks are that are here.
    pub form: Form,
    /// Where the others are.
    pub sources: Vec<BlockSource>,
}

/// A file of an earlier backup that holds blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSource {
    /// The backup.
    pub backup: BackupId,
    /// Whether it is a plain file or a file of blocks.
    pub within: Within,
    /// Where, below the folder of that backup, or below `blocks/` there.
    pub place: PathBuf,
}

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockPlace {
    /// Nowhere: it is all zeros, and has no hash.
    Zeros,
    /// In the backup that the file of blocks belongs to.
    Here,
    /// In this one of the header's sources.
    Source(u16),
}

/// The fixed beginning of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Where the blocks are that are here.
    pub form: Form,
    /// How many sources follow.
    pub sources: usize,
    /// In how many bytes.
    pub sources_bytes: usize,
}

/// The fixed beginning of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordHead {
    /// A table of so many blocks.
    Blocks {
        /// The number of the first one.
        first: u64,
        /// How many.
        count: usize,
        /// Bytes of content.
        bytes: u64,
    },
    /// A run of zeros.
    Zeros {
        /// The number of its first block.
        first: u64,
        /// Bytes of content.
        bytes: u64,
    },
    /// Nothing follows.
    End {
        /// How many blocks the file has.
        blocks: u64,
        /// Bytes of the file.
        size: u64,
    },
}

impl BlockPlace {
    fn to_number(self) -> u16 {
        match self {
            Self::Zeros => PLACE_ZEROS,
            Self::Here => PLACE_HERE,
            Self::Source(index) => index + PLACE_SOURCES,
        }
    }

    fn from_number(number: u16, sources: usize) -> Result<Self, Flaw> {
        match number {
            PLACE_ZEROS => Ok(Self::Zeros),
            PLACE_HERE => Ok(Self::Here),
            other if usize::from(other - PLACE_SOURCES) < sources => Ok(Self::Source(other - PLACE_SOURCES)),
            _ => Err("it names a source that it does not have"),
        }
    }
}

/// So many bytes as blocks, the last one counted whole.
pub fn blocks_of(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES as u64)
}

/// Bytes of one block of a group that covers so many bytes.
pub fn bytes_of(index: usize, group_bytes: u64) -> usize {
    let begin = index as u64 * BLOCK_BYTES as u64;
    usize::try_from(group_bytes.saturating_sub(begin)).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES))
}

/// A header as bytes; none where it has more sources than can be.
pub fn encode_header(header: &Header, key: &BlockKey) -> Option<Vec<u8>> {
    let mut sources = Vec::new();
    for source in &header.sources {
        let (id, place) = (source.backup.text.as_bytes(), source.place.as_os_str().as_bytes());
        sources.push(u8::from(source.within == Within::Blocks));
        sources.push(u8::try_from(id.len()).ok()?);
        sources.extend(u32::try_from(place.len()).ok()?.to_le_bytes());
        sources.extend(id);
        sources.extend(place);
    }
    if header.sources.len() > SOURCES_MAX || sources.len() > SOURCES_BYTES_MAX {
        return None;
    }
    let form = if header.form == Form::Index { 1 } else { 2 };
    let mut bytes = MAGIC.to_vec();
    for number in [VERSION, word(BLOCK_BYTES), form, word(header.sources.len()), word(sources.len())] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(sources);
    seal(&mut bytes, 0, key);
    Some(bytes)
}

/// The fixed beginning of a header.
pub fn decode_head(bytes: &[u8; HEAD_BYTES]) -> Result<Head, Flaw> {
    let (magic, rest) = bytes.split_at(MAGIC.len());
    let mut words = Fields(rest);
    let mut next = || words.word().ok_or("its header ends early");
    let (version, block_bytes, form, sources, sources_bytes) = (next()?, next()?, next()?, next()?, next()?);
    let (sources, sources_bytes) = (sources as usize, sources_bytes as usize);
    if magic != MAGIC {
        return Err("it does not begin as a file of blocks");
    }
    if version != VERSION || block_bytes != word(BLOCK_BYTES) {
        return Err("it has a version or a size of blocks that this jetbak does not know");
    }
    if sources > SOURCES_MAX || sources_bytes > SOURCES_BYTES_MAX {
        return Err("it has more sources than can be");
    }
    let form = match form {
        1 => Form::Index,
        2 => Form::Content,
        _ => return Err("it has a form that this jetbak does not know"),
    };
    if form == Form::Index && sources > 0 {
        return Err("it is an index and has sources");
    }
    Ok(Head { form, sources, sources_bytes })
}

/// The sources of a header.
pub fn decode_sources(bytes: &[u8], count: usize) -> Result<Vec<BlockSource>, Flaw> {
    let mut fields = Fields(bytes);
    let mut sources = Vec::new();
    for _ in 0..count {
        sources.push(decode_source(&mut fields).ok_or("it names a source that cannot be")?);
    }
    if fields.0.is_empty() { Ok(sources) } else { Err("its header holds more than its sources") }
}

fn decode_source(fields: &mut Fields<'_>) -> Option<BlockSource> {
    let (within, id_bytes) = (fields.byte()?, fields.byte()?);
    let place_bytes = fields.word()? as usize;
    let within = match within {
        0 => Within::Data,
        1 => Within::Blocks,
        _ => return None,
    };
    let backup = BackupId::parse(std::str::from_utf8(fields.take(usize::from(id_bytes))?).ok()?)?;
    let place = PathBuf::from(OsString::from_vec(fields.take(place_bytes)?.to_vec()));
    is_place(&place).then_some(BlockSource { backup, within, place })
}

/// Whether a file can lie there below the folder of a backup: below the folder of a root, and never upwards.
pub fn is_place(place: &Path) -> bool {
    let mut parts = place.components();
    let folder = match parts.next() {
        Some(Component::Normal(folder)) => folder.to_str().unwrap_or_default(),
        _ => return false,
    };
    let root = match folder.split_once('.') {
        None => folder,
        Some((roots::DATA, further)) if further != roots::DATA => further,
        Some(_) => return false,
    };
    let is_root = roots::folder_of(root).is_some_and(|of_root| of_root.as_os_str() == folder);
    is_root && is_plain(parts.as_path()) && place.as_os_str().len() <= paths::BYTES_MAX && is_plain(place)
}

/// Adds the record of a group; its content, where it is here, follows.
pub fn encode_blocks(
    bytes: &mut Vec<u8>,
    first: u64,
    covered: u64,
    hashes: &[BlockHash],
    places: &[BlockPlace],
    key: &BlockKey,
) {
    let begin = bytes.len();
    encode_record(bytes, TAG_BLOCKS, hashes.len(), first, covered);
    bytes.extend(hashes.iter().flat_map(|hash| hash.0));
    bytes.extend(places.iter().flat_map(|place| place.to_number().to_le_bytes()));
    seal(bytes, begin, key);
}

/// Adds the record of a run of zeros.
pub fn encode_zeros(bytes: &mut Vec<u8>, first: u64, covered: u64, key: &BlockKey) {
    let begin = bytes.len();
    encode_record(bytes, TAG_ZEROS, 0, first, covered);
    seal(bytes, begin, key);
}

/// Adds the record that ends a file.
pub fn encode_end(bytes: &mut Vec<u8>, blocks: u64, size: u64, stored: u64, key: &BlockKey) {
    let begin = bytes.len();
    encode_record(bytes, TAG_END, 0, blocks, size);
    bytes.extend(stored.to_le_bytes());
    seal(bytes, begin, key);
}

fn encode_record(bytes: &mut Vec<u8>, tag: u32, count: usize, first: u64, covered: u64) {
    bytes.extend(tag.to_le_bytes());
    bytes.extend(word(count).to_le_bytes());
    bytes.extend(first.to_le_bytes());
    bytes.extend(covered.to_le_bytes());
}

/// The fixed beginning of a record.
pub fn decode_record(bytes: &[u8; RECORD_BYTES]) -> Result<RecordHead, Flaw> {
    let mut fields = Fields(bytes);
    let short = "a record ends early";
    let (tag, count) = (fields.word().ok_or(short)?, fields.word().ok_or(short)? as usize);
    let (first, bytes) = (fields.long().ok_or(short)?, fields.long().ok_or(short)?);
    match tag {
        TAG_BLOCKS if (1..=GROUP_BLOCKS).contains(&count) && blocks_of(bytes) == count as u64 => {
            Ok(RecordHead::Blocks { first, count, bytes })
        }
        TAG_ZEROS if count == 0 && bytes > 0 => Ok(RecordHead::Zeros { first, bytes }),
        TAG_END if count == 0 && blocks_of(bytes) == first => Ok(RecordHead::End { blocks: first, size: bytes }),
        _ => Err("it has a record that cannot be"),
    }
}

/// How many bytes follow the beginning of a record, its check included; content comes after them.
pub fn rest_bytes(head: RecordHead) -> usize {
    CHECK_BYTES
        + match head {
            RecordHead::Blocks { count, .. } => count * ENTRY_BYTES,
            RecordHead::Zeros { .. } => 0,
            RecordHead::End { .. } => 8,
        }
}

/// Fills in the table of `count` blocks; `bytes` holds nothing else.
pub fn decode_table(
    bytes: &[u8],
    count: usize,
    sources: usize,
    hashes: &mut Vec<BlockHash>,
    places: &mut Vec<BlockPlace>,
) -> Result<(), Flaw> {
    hashes.clear();
    places.clear();
    let (of_hashes, of_places) = bytes.split_at_checked(count * 16).ok_or("a table ends early")?;
    hashes.extend(of_hashes.as_chunks::<16>().0.iter().map(|hash| BlockHash(*hash)));
    for number in of_places.as_chunks::<2>().0 {
        places.push(BlockPlace::from_number(u16::from_le_bytes(*number), sources)?);
    }
    if hashes.len() != places.len() {
        return Err("a table ends early");
    }
    let has_odd =
        |(hash, place): (&BlockHash, &BlockPlace)| *place == BlockPlace::Zeros && *hash != BlockHash::default();
    if hashes.iter().zip(&*places).any(has_odd) { Err("zeros have a hash") } else { Ok(()) }
}

/// The bytes before a check, if it is theirs.
pub fn unseal<'a>(bytes: &'a [u8], key: &BlockKey) -> Option<&'a [u8]> {
    let (before, check) = bytes.split_last_chunk::<CHECK_BYTES>()?;
    (key.check(before) == u64::from_le_bytes(*check)).then_some(before)
}

fn seal(bytes: &mut Vec<u8>, begin: usize, key: &BlockKey) {
    let check = key.check(&bytes[begin..]);
    bytes.extend(check.to_le_bytes());
}

/// A count that a constant bounds.
fn word(count: usize) -> u32 {
    u32::try_from(count).expect("bounded by a constant")
}

/// What is left of some bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn word(&mut self) -> Option<u32> {
        self.take(4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take(8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
    }
}
