//! What a file is to SQLite, by its content and, for what stands beside a database, by its name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::header::{Header, MAGIC, NoHeader};
use super::wal;

/// Bytes of a file that are enough to recognise it.
pub const HEAD_BYTES: usize = 4096;
/// What a rollback journal begins with, once it counts.
pub const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// What the first bytes of a file say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A database.
    Database(Box<Header>),
    /// A database whose header has a value that it cannot have, and which.
    DamagedDatabase(&'static str),
    /// A write-ahead log.
    Wal,
    /// A rollback journal.
    Journal,
    /// Nothing of SQLite's.
    Foreign,
}

/// Says what the first bytes of a file are.
pub fn recognise(head: &[u8]) -> Content {
    match Header::parse(head) {
        Ok(header) => Content::Database(Box::new(header)),
        Err(NoHeader::Damaged(what)) => Content::DamagedDatabase(what),
        Err(NoHeader::Short) => Content::DamagedDatabase("the length"),
        Err(NoHeader::Foreign) if wal::is_wal(head) => Content::Wal,
        Err(NoHeader::Foreign) if head.starts_with(&JOURNAL_MAGIC) => Content::Journal,
        Err(NoHeader::Foreign) => Content::Foreign,
    }
}

/// Whether bytes begin as every database does.
pub fn is_database(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// What stands beside a database and belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Companion {
    /// The write-ahead log.
    Wal,
    /// Its index, shared between processes.
    Shm,
    /// The rollback journal.
    Journal,
}

impl Companion {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Wal, Self::Shm, Self::Journal];

    fn suffix(self) -> &'static str {
        match self {
            Self::Wal => "-wal",
            Self::Shm => "-shm",
            Self::Journal => "-journal",
        }
    }

    /// Where it stands for a database.
    pub fn of(self, database: &Path) -> PathBuf {
        let mut name = database.as_os_str().to_owned();
        name.push(self.suffix());
        PathBuf::from(name)
    }

    /// The database that a file would belong to by its name, and as what.
    pub fn parse(path: &Path) -> Option<(PathBuf, Self)> {
        Self::ALL.into_iter().find_map(|companion| {
            let name = path.file_name()?.as_bytes().strip_suffix(companion.suffix().as_bytes())?;
            (!name.is_empty()).then(|| (path.with_file_name(OsStr::from_bytes(name)), companion))
        })
    }
}

/// Whether a file is named as databases often are.
pub fn is_named_as_database(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["db", "db3", "sqlite", "sqlite3"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Whether a file has the length of whole sectors, as all databases have, or a name that databases often have.
pub fn may_be_database(path: &Path, size: u64) -> bool {
    size > 0 && (size.is_multiple_of(512) || is_named_as_database(path))
}

/// Whether a first page has nothing of a plain file: all byte values, about equally often, as encryption leaves it.
pub fn looks_encrypted(head: &[u8]) -> bool {
    if head.len() < HEAD_BYTES {
        return false;
    }
    let mut counts = [0_u32; 256];
    for byte in head {
        counts[usize::from(*byte)] += 1;
    }
    // Of 4,096 random bytes each value comes 16 times, give or take 4.
    counts.iter().all(|count| (1..=48).contains(count))
}

#[cfg(test)]
mod tests {
    use super::super::header::tests::sample;
    use super::*;

    #[test]
    fn what_belongs_to_a_database_is_known_by_its_name() {
        let parse = |path: &str| Companion::parse(Path::new(path));
        assert_eq!(parse("a/x.db-wal"), Some((PathBuf::from("a/x.db"), Companion::Wal)));
        assert_eq!(parse("x-journal"), Some((PathBuf::from("x"), Companion::Journal)));
        assert_eq!(parse("a/x.db-shm"), Some((PathBuf::from("a/x.db"), Companion::Shm)));
        for none in ["a/-wal", "x.db", "x.db-wal2", ""] {
            assert_eq!(parse(none), None, "{none}");
        }
        assert_eq!(Companion::Wal.of(Path::new("a/x.db")), Path::new("a/x.db-wal"));
    }

    #[test]
    fn content_counts_and_not_the_name() {
        assert!(matches!(recognise(&sample(4096, 2)), Content::Database(_)));
        assert_eq!(recognise(MAGIC), Content::DamagedDatabase("the length"));
        assert_eq!(recognise(&[0x37, 0x7f, 6, 0x82, 0, 0x2d, 0xe2, 0x18]), Content::Wal);
        assert_eq!(recognise(&JOURNAL_MAGIC), Content::Journal);
        assert_eq!(recognise(b"hello"), Content::Foreign);
        assert_eq!(recognise(&[]), Content::Foreign);
    }

    #[test]
    fn text_and_zeros_are_not_taken_for_encrypted() {
        let mut noise = 1_u64;
        let mut draw = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u8::try_from(noise >> 56).expect("eight bits")
        };
        let random: Vec<u8> = (0..HEAD_BYTES).map(|_| draw()).collect();
        assert!(looks_encrypted(&random));
        assert!(!looks_encrypted(&random[..100]) && !looks_encrypted(&[0; HEAD_BYTES]));
        assert!(!looks_encrypted("select * from t; ".repeat(300).as_bytes()));
    }
}
