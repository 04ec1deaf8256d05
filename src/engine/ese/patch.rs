//! Patch pages: what the engine's own backup appends to a database, or keeps beside it in a `.pat` file
//! (`spec/ese-format.md` §11).

use super::checksum::header_checksum;
use super::fields::{BackupMark, Generation, LogTime, Signature, u32_at};

/// What a patch page says; offsets in bytes stand in `spec/ese-format.md` §11.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the format's table")]
pub struct PatchPage {
    /// Its highest generation is the last log that the set needs.
    pub backup: BackupMark,
    pub signature: Signature,
    pub log_signature: Signature,
    pub required_low: Generation,
    pub required_high: Generation,
    pub committed_high: Generation,
    pub required_high_created: LogTime,
    pub committed_high_created: LogTime,
}

impl PatchPage {
    /// Reads a page whose checksum has been looked at.
    pub fn parse(page: &[u8]) -> Self {
        Self {
            backup: BackupMark::at(page, 40),
            signature: Signature::at(page, 64),
            log_signature: Signature::at(page, 92),
            required_low: Generation::at(page, 120),
            required_high: Generation::at(page, 124),
            committed_high: Generation::at(page, 128),
            required_high_created: LogTime::at(page, 132),
            committed_high_created: LogTime::at(page, 140),
        }
    }

    /// Reads the last page of a database as its trailer, where it is one: proven like a header, and of that database.
    pub fn trailer(page: &[u8], database: &Signature) -> Option<Self> {
        let is_patch = u32_at(page, 0) == header_checksum(page) && Signature::at(page, 64) == *database;
        is_patch.then(|| Self::parse(page))
    }
}
