//! Files of blocks: the hash of every block of a file, where each of them is, and the content of those that are here.
//!
//! A large file that is backed up whole gets one beside it, which holds hashes only. The next backup of the file compares
//! with it block by block, and then writes another one, which holds what changed and says of all else where it is.

mod assemble;
mod check;
mod format;
mod input;
mod key;
mod reader;
mod side_by_side;
mod sources;
mod writer;

#[cfg(test)]
mod piece_tests;
#[cfg(test)]
mod side_by_side_tests;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::assemble::Assembled;
pub use self::check::{BadBlock, Proven, check_tables, prove};
pub use self::format::{BLOCK_BYTES, BlockPlace, BlockSource, Form, Header, SOURCES_MAX};
pub use self::key::{BlockHash, BlockKey, SECRET_BYTES};
pub use self::reader::{Record, TableReader};
pub use self::writer::{BlocksWriter, Written};

use super::store::Store;

/// The folder of the files of blocks in that of a backup.
pub const FOLDER: &str = "blocks";
/// Files with less content have no file of blocks when they are stored whole.
pub const BYTES_MIN: u64 = 64 * 1024;

/// Where files of blocks, and those that they point to, are looked for.
#[derive(Clone, Debug)]
pub struct Shelf {
    /// The repository's store.
    pub store: Arc<dyn Store>,
    /// The repository's secret.
    pub key: BlockKey,
    /// Whether the medium's own bytes are asked for, instead of a cache's.
    pub fresh: bool,
}

/// Where the file of blocks of a file lies that is stored at `place` below the folder of a backup.
pub fn path_of(folder: &Path, place: &Path) -> PathBuf {
    folder.join(FOLDER).join(place)
}
