//! What a file is, by its content alone (`spec/ese-format.md` §2).

use super::checkpoint::{CHECKPOINT_TYPE, Checkpoint};
use super::checksum::{HEADER_SEED, header_checksum, is_zero};
use super::fields::{Generation, u32_at};
use super::flush_map::{self, FLUSH_MAP_TYPE, FlushMapHeader};
use super::header::{Copies, Copy, DatabaseHeader, FILE_TYPE};
use super::log::{LogHeader, SEGMENT_BYTES};
use super::page::PageSize;
use super::patch::PatchPage;

/// How many bytes of a file's beginning tell what it is: two pages of the largest size.
pub const HEAD_BYTES: usize = 65536;
/// What the file type of a log says.
const LOG_TYPE: u32 = 3;

/// A file of the engine whose header is not sound says it is this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It has the signature of a database, or its file type.
    Database,
    /// The file type of a log.
    Log,
    /// The file type of a checkpoint.
    Checkpoint,
    /// The file type of a flush map.
    FlushMap,
}

impl Claim {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Log => "log",
            Self::Checkpoint => "checkpoint",
            Self::FlushMap => "flush map",
        }
    }
}

/// What such a claim rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The signature, which nothing else has.
    Signature,
    /// The file type alone: four bytes that other files hold by chance, about one in a thousand.
    FileType,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// No bytes at all; a `.pat` file of newer engines is empty.
    Empty,
    /// Zeros from the first to the last byte that was looked at: an unused reserve or temporary log.
    Zero,
    /// The fill pattern of old engines: an unused reserve or temporary log (§8.5).
    Fill,
    /// A database, with what its valid copy says.
    Database(Box<DatabaseHeader>, Copies),
    /// A log.
    Log(Box<LogHeader>, Copy),
    /// A checkpoint.
    Checkpoint(Box<Checkpoint>, Copies),
    /// A flush map.
    FlushMap(Box<FlushMapHeader>, Copy),
    /// A patch file of old engines: the same page twice.
    PatchFile(Box<PatchPage>, PageSize, Copies),
    /// A file of the engine that no restore needs; what it is, in words.
    Other(&'static str),
    /// A file of the engine whose header is damaged.
    DamagedHeader(Claim, Copies, Evidence),
    /// The stand-in that Git LFS leaves for a file that was not fetched.
    LfsPointer,
    /// Anything else.
    Foreign,
}

impl Content {
    /// The word for it, for messages and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Zero => "zero",
            Self::Fill => "fill pattern",
            Self::Database(..) => "database",
            Self::Log(..) => "log",
            Self::Checkpoint(..) => "checkpoint",
            Self::FlushMap(..) => "flush map",
            Self::PatchFile(..) => "patch file",
            Self::Other(what) => what,
            Self::DamagedHeader(claim, ..) => claim.name(),
            Self::LfsPointer => "Git LFS pointer",
            Self::Foreign => "foreign",
        }
    }
}

/// Says what a file is by its first [`HEAD_BYTES`] (all of it, where it is shorter); `length` is that of the file.
///
/// `Zero` and `Fill` mean that the head is: whether the rest is as well, the caller must see.
pub fn recognise(head: &[u8], length: u64) -> Content {
    let head = &head[..head.len().min(HEAD_BYTES)];
    if head.is_empty() {
        return Content::Empty;
    }
    if is_zero(head) {
        return Content::Zero;
    }
    if is_fill(head) {
        return Content::Fill;
    }
    if let Some(database) = database(head) {
        return database;
    }
    if let Some(found) = log(head).or_else(|| checkpoint(head)).or_else(|| flush_map(head)) {
        return found;
    }
    if let Some(found) = other(head).or_else(|| damaged(head)).or_else(|| patch_file(head, length)) {
        return found;
    }
    if head.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Content::LfsPointer;
    }
    Content::Foreign
}

fn database(head: &[u8]) -> Option<Content> {
    PageSize::ALL.into_iter().find_map(|size| {
        let copies = Copies::look(head, size.bytes(), |copy| DatabaseHeader::looks_like(copy, size));
        let used = copies.used()?;
        let header = DatabaseHeader::parse(used.bytes(head), size);
        match header.file_type {
            5 => Some(Content::Other("temporary database")),
            2 => Some(Content::Other("streaming file")),
            _ => Some(Content::Database(Box::new(header), copies)),
        }
    })
}

fn log(head: &[u8]) -> Option<Content> {
    let copy = Copy::look(head, 0, SEGMENT_BYTES);
    if !copy.is_valid() {
        return None;
    }
    let header = LogHeader::parse(copy.bytes(head));
    // Logs of the oldest engines have no file type.
    let is_old = header.file_type == 0 && (5..=7).contains(&header.major) && header.generation.0 < Generation::LIMIT;
    (header.file_type == LOG_TYPE || is_old).then(|| Content::Log(Box::new(header), copy))
}

fn checkpoint(head: &[u8]) -> Option<Content> {
    let copies = Checkpoint::copies(head);
    let used = copies.used()?;
    Some(Content::Checkpoint(Box::new(Checkpoint::parse(used.bytes(head))), copies))
}

fn flush_map(head: &[u8]) -> Option<Content> {
    let copy = Copy::look(head, 0, flush_map::UNIT.bytes());
    let is_map = copy.is_valid() && u32_at(copy.bytes(head), FILE_TYPE) == FLUSH_MAP_TYPE;
    is_map.then(|| Content::FlushMap(Box::new(FlushMapHeader::parse(copy.bytes(head))), copy))
}

/// Files that belong to features which no backup needs.
fn other(head: &[u8]) -> Option<Content> {
    let copy = Copy::look(head, 0, SEGMENT_BYTES);
    let what = match u32_at(head, FILE_TYPE) {
        2 => "streaming file",
        5 => "temporary database",
        6 => "FTL",
        8 => "cached file",
        9 => "caching file",
        10 => "revert snapshot",
        11 => "revert checkpoint",
        _ => return None,
    };
    copy.is_valid().then_some(Content::Other(what))
}

/// What the fields claim, although no checksum holds.
fn damaged(head: &[u8]) -> Option<Content> {
    let claimed = u32_at(head, FILE_TYPE);
    let whole = head.len() > FILE_TYPE + 4;
    let has_signature = u32_at(head, 4) == HEADER_SEED;
    let (claim, length, evidence) = if has_signature || (whole && claimed == 1) {
        let size = PageSize::from_field(u32_at(head, 236)).unwrap_or(PageSize::KIB_4);
        let evidence = if has_signature { Evidence::Signature } else { Evidence::FileType };
        (Claim::Database, size.bytes(), evidence)
    } else if let Some(size) = shadow_claim(head) {
        (Claim::Database, size.bytes(), Evidence::Signature)
    } else {
        let (claim, length) = match claimed {
            LOG_TYPE => (Claim::Log, SEGMENT_BYTES),
            CHECKPOINT_TYPE => (Claim::Checkpoint, SEGMENT_BYTES),
            FLUSH_MAP_TYPE => (Claim::FlushMap, flush_map::UNIT.bytes()),
            _ => return None,
        };
        (claim, length, Evidence::FileType)
    };
    let copies = Copies::look(head, length, |_| true);
    Some(Content::DamagedHeader(claim, copies, evidence))
}

/// The page size of a database of which only the second header still has the signature.
fn shadow_claim(head: &[u8]) -> Option<PageSize> {
    PageSize::ALL.into_iter().find(|size| {
        let shadow = head.get(size.bytes()..).unwrap_or_default();
        u32_at(shadow, FILE_TYPE) == 1 && DatabaseHeader::looks_like(shadow, *size)
    })
}

fn patch_file(head: &[u8], length: u64) -> Option<Content> {
    PageSize::ALL.into_iter().find_map(|size| {
        if length != 2 * size.bytes_u64() || u32_at(head, 0) != header_checksum(&head[..size.bytes().min(head.len())]) {
            return None;
        }
        let copies = Copies::look(head, size.bytes(), |_| true);
        let is_patch = copies.valid == [true, true] && copies.identical;
        is_patch.then(|| Content::PatchFile(Box::new(PatchPage::parse(head)), size, copies))
    })
}

/// The byte of the old engines' fill pattern at an offset into the file.
pub fn fill_byte(offset: usize) -> u8 {
    let at = offset % 512;
    if at.is_multiple_of(16) { u8::try_from((0xDA + at) & 0xFF).unwrap_or(0xDA) } else { 0xDA }
}

/// Whether these bytes, which begin at a multiple of 512, are the fill pattern and whole sectors of it.
pub fn is_fill(bytes: &[u8]) -> bool {
    bytes.len() >= 512
        && bytes.len().is_multiple_of(512)
        && bytes.iter().enumerate().all(|(at, byte)| *byte == fill_byte(at))
}
