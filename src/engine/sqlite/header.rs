//! The header of a database: the first 100 bytes of its first page, all numbers big-endian
//! (<https://www.sqlite.org/fileformat2.html>).
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 16 | `SQLite format 3\0` |
//! | 16 | 2 | page size; 1 means 65,536 |
//! | 18 | 2 | versions for writing and reading: 1 rollback journal, 2 WAL |
//! | 20 | 1 | bytes reserved at the end of each page |
//! | 21 | 3 | payload fractions, always 64, 32, 32 |
//! | 24 | 4 | change counter |
//! | 28 | 4 | size in pages |
//! | 32 | 8 | first page and length of the free list |
//! | 40 | 8 | schema cookie, schema format |
//! | 48 | 4 | suggested cache size |
//! | 52 | 4 | largest root page; not 0 where vacuum is automatic |
//! | 56 | 4 | text encoding |
//! | 60 | 4 | user version |
//! | 64 | 4 | whether vacuum is incremental |
//! | 68 | 4 | application id |
//! | 72 | 20 | zeros |
//! | 92 | 4 | change counter for which the size in pages holds |
//! | 96 | 4 | version of the library that wrote last |

/// Bytes of the header.
pub const HEADER_BYTES: usize = 100;
/// Where the change counter is.
pub const CHANGE_COUNTER_OFFSET: usize = 24;
/// What every database begins with.
pub const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How a database protects its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalMode {
    /// Old pages are kept in a rollback journal.
    Rollback,
    /// New pages are kept in a write-ahead log.
    Wal,
}

impl JournalMode {
    /// The word used in messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Wal => "wal",
        }
    }
}

/// What a header says. Nothing of it proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of a page, 512 to 65,536.
    pub page_size: u32,
    /// The version for writing.
    pub write_version: u8,
    /// The version for reading.
    pub read_version: u8,
    /// Bytes reserved at the end of each page; encryption keeps its own there.
    pub reserved: u8,
    /// Grows with every transaction in rollback mode.
    pub change_counter: u32,
    /// Size in pages, as of `version_valid_for`.
    pub pages: u32,
    /// The first page of the free list.
    pub freelist_first: u32,
    /// Pages of the free list.
    pub freelist_pages: u32,
    /// Grows with every change of the schema.
    pub schema_cookie: u32,
    /// 1 to 4; 0 before there is a schema.
    pub schema_format: u32,
    /// Not 0 where vacuum is automatic.
    pub largest_root: u32,
    /// 1 UTF-8, 2 UTF-16 little-endian, 3 UTF-16 big-endian; 0 before there is a schema.
    pub encoding: u32,
    /// The application's.
    pub user_version: u32,
    /// Not 0 where vacuum is incremental.
    pub incremental_vacuum: u32,
    /// The application's.
    pub application_id: u32,
    /// The change counter for which `pages` holds.
    pub version_valid_for: u32,
    /// The library that wrote last, such as 3,040,001.
    pub library: u32,
}

/// Why bytes are no header of a database that SQLite can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHeader {
    /// They do not begin like one.
    Foreign,
    /// They do, and end before the header does.
    Short,
    /// They do, and a field has a value that it cannot have.
    Damaged(&'static str),
}

impl Header {
    /// Reads the header at the beginning of a file.
    pub fn parse(head: &[u8]) -> Result<Self, NoHeader> {
        if !head.starts_with(MAGIC) {
            return Err(NoHeader::Foreign);
        }
        let Some(head) = head.first_chunk::<HEADER_BYTES>() else { return Err(NoHeader::Short) };
        let page_size = match u16::from_be_bytes([head[16], head[17]]) {
            1 => 65_536,
            size if size >= 512 && size.is_power_of_two() => u32::from(size),
            _ => return Err(NoHeader::Damaged("the page size")),
        };
        let header = Self {
            page_size,
            write_version: head[18],
            read_version: head[19],
            reserved: head[20],
            change_counter: u32_at(head, CHANGE_COUNTER_OFFSET),
            pages: u32_at(head, 28),
            freelist_first: u32_at(head, 32),
            freelist_pages: u32_at(head, 36),
            schema_cookie: u32_at(head, 40),
            schema_format: u32_at(head, 44),
            largest_root: u32_at(head, 52),
            encoding: u32_at(head, 56),
            user_version: u32_at(head, 60),
            incremental_vacuum: u32_at(head, 64),
            application_id: u32_at(head, 68),
            version_valid_for: u32_at(head, 92),
            library: u32_at(head, 96),
        };
        if head[21..24] != [64, 32, 32] {
            return Err(NoHeader::Damaged("the payload fractions"));
        }
        if !(1..=2).contains(&header.read_version) {
            return Err(NoHeader::Damaged("the version for reading"));
        }
        if u32::from(header.reserved) > page_size - 480 {
            return Err(NoHeader::Damaged("the reserved bytes of a page"));
        }
        Ok(header)
    }

    /// How the database protects its transactions.
    pub fn journal_mode(&self) -> JournalMode {
        if self.read_version == 2 { JournalMode::Wal } else { JournalMode::Rollback }
    }

    /// The encoding of text, in words.
    pub fn encoding_name(&self) -> &'static str {
        match self.encoding {
            0 => "not set yet",
            1 => "UTF-8",
            2 => "UTF-16le",
            3 => "UTF-16be",
            _ => "unknown",
        }
    }

    /// How vacuum works, in words.
    pub fn vacuum_name(&self) -> &'static str {
        match (self.largest_root, self.incremental_vacuum) {
            (0, _) => "none",
            (_, 0) => "full",
            _ => "incremental",
        }
    }

    /// The library that wrote last, such as `3.40.1`.
    pub fn library_version(&self) -> String {
        format!("{}.{}.{}", self.library / 1_000_000, self.library / 1000 % 1000, self.library % 1000)
    }

    /// Whether the size in pages holds: old libraries did not keep it.
    pub fn knows_its_size(&self) -> bool {
        self.pages > 0 && self.change_counter == self.version_valid_for
    }
}

/// A big-endian number; 0 where there is none.
pub fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let number = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    number.map_or(0, |number| u32::from_be_bytes(*number))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header as the library writes it.
    pub(crate) fn sample(page_size: u32, version: u8) -> Vec<u8> {
        let mut head = vec![0; HEADER_BYTES];
        head[..16].copy_from_slice(MAGIC);
        let size = if page_size == 65_536 { 1 } else { u16::try_from(page_size).expect("a page size") };
        head[16..18].copy_from_slice(&size.to_be_bytes());
        head[18..24].copy_from_slice(&[version, version, 0, 64, 32, 32]);
        head
    }

    #[test]
    fn every_page_size_and_journal_mode_is_read() {
        for shift in 9..=16 {
            for (version, mode) in [(1, JournalMode::Rollback), (2, JournalMode::Wal)] {
                let header = Header::parse(&sample(1 << shift, version)).expect("a header");
                assert_eq!((header.page_size, header.journal_mode()), (1 << shift, mode));
            }
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let good = sample(4096, 1);
        let with = |at: usize, byte: u8| {
            let mut head = good.clone();
            head[at] = byte;
            Header::parse(&head).expect_err("not a header")
        };
        assert_eq!(with(0, b's'), NoHeader::Foreign);
        assert_eq!(with(16, 0x11), NoHeader::Damaged("the page size"));
        assert_eq!(with(19, 3), NoHeader::Damaged("the version for reading"));
        assert_eq!(with(22, 0), NoHeader::Damaged("the payload fractions"));
        assert_eq!(Header::parse(&good[..99]), Err(NoHeader::Short));
        assert_eq!(Header::parse(&[]), Err(NoHeader::Foreign));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), lie in any::<bool>()) {
            if lie && bytes.len() >= 16 {
                bytes[..16].copy_from_slice(MAGIC);
            }
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert!(header.page_size.is_power_of_two() && (512..=65_536).contains(&header.page_size));
                let _ = (header.encoding_name(), header.vacuum_name(), header.library_version());
            }
        }
    }
}
