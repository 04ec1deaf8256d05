//! What an earlier backup holds of a file, for whoever reads that file again: only what differs has to be stored.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where in a backup's folder the content of a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Within {
    /// A plain file below the folder of its root, such as `data/`.
    #[default]
    Data,
    /// A file of blocks below `blocks/`, which names the backups that hold each of them.
    Blocks,
}

/// A file of blocks: the hash of every block of a file, and those of them that no earlier backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockFacts {
    /// Bytes of the file of blocks itself.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// Bytes of content in it.
    pub stored: u64,
}

/// A file as an earlier backup holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// The id of the backup in whose folder its content is.
    pub backup: String,
    /// Where, below the folder of that backup, and below `blocks/` too: it begins with the folder of its root.
    #[serde(with = "crate::paths::as_bytes")]
    pub place: PathBuf,
    /// In which form.
    pub within: Within,
    /// Its file of blocks; none where it has none, and can only be compared as a whole.
    pub blocks: Option<BlockFacts>,
    /// Bytes of content.
    pub size: u64,
    /// SHA-256 of the content, hexadecimal; none where it was only proven block by block.
    pub sha256: Option<String>,
}

/// How a sink stored a file that it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// In which form.
    pub within: Within,
    /// Its file of blocks, where it has one.
    pub blocks: Option<BlockFacts>,
    /// Its content is that of an earlier backup, and nothing was stored.
    pub is_earlier: bool,
    /// Bytes that were stored, blocks and their hashes included.
    pub bytes: u64,
}
