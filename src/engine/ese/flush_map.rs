//! The flush map of a database, and whether the two belong together (`spec/ese-format.md` §10).

use super::fields::{Generation, LogTime, Signature, u32_at};
use super::header::{DatabaseHeader, FILE_TYPE};
use super::page::{PageNumber, PageSize};

/// How it is cut: the header first, then map pages; each is proven like a page of a database.
pub const UNIT: PageSize = PageSize::KIB_8;
/// What the file type says.
pub const FLUSH_MAP_TYPE: u32 = 7;
/// Bytes before the entries of a map page.
const MAP_HEADER_BYTES: usize = 64;
/// Database pages of a map page: two bits each.
const PAGES_A_UNIT: u32 = 32_512;

/// What the header of a flush map says; offsets in bytes stand in `spec/ese-format.md` §10.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the format's table")]
pub struct FlushMapHeader {
    pub version: [u32; 3],
    pub flags: u32,
    pub created: LogTime,
    pub attached: LogTime,
    pub detached: LogTime,
    pub required_low: Generation,
    pub required_low_target: Generation,
    pub flush_started: LogTime,
    pub flush_finished: LogTime,
    pub database_header_flush: Signature,
    pub flush_map_flush: Signature,
    pub file_type: u32,
}

impl FlushMapHeader {
    /// Reads the first unit, whose checksum has been looked at.
    pub fn parse(header: &[u8]) -> Self {
        Self {
            version: [4, 8, 12].map(|offset| u32_at(header, offset)),
            flags: u32_at(header, 36),
            created: LogTime::at(header, 40),
            attached: LogTime::at(header, 48),
            detached: LogTime::at(header, 56),
            required_low: Generation::at(header, 64),
            required_low_target: Generation::at(header, 68),
            flush_started: LogTime::at(header, 72),
            flush_finished: LogTime::at(header, 80),
            database_header_flush: Signature::at(header, 88),
            flush_map_flush: Signature::at(header, 116),
            file_type: u32_at(header, FILE_TYPE),
        }
    }

    /// Whether it was closed in order.
    pub fn is_clean(&self) -> bool {
        self.flags & 1 == 1
    }

    /// Whether it is the map of this database.
    pub fn belongs_to(&self, database: &DatabaseHeader) -> bool {
        let pair = |own: Signature, its: Signature| own == its && !own.is_unset();
        pair(self.database_header_flush, database.header_flush) || pair(self.flush_map_flush, database.flush_map_flush)
    }
}

/// Which map page holds the entry of a database page, counted from 0.
pub fn map_page_of(page: PageNumber) -> PageNumber {
    PageNumber(page.0 / PAGES_A_UNIT)
}

/// What a map page says of a database page: 0 for unknown, else the page's own two bits.
pub fn entry(map_page: &[u8], page: PageNumber) -> u8 {
    let position = (page.0 % PAGES_A_UNIT) as usize;
    let byte = map_page.get(MAP_HEADER_BYTES + position / 4).copied().unwrap_or(0);
    byte >> (6 - 2 * (position % 4)) & 3
}
