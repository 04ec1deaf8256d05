//! The checkpoint file: where redo starts (`spec/ese-format.md` §9).

use super::fields::{Attachment, LogPosition, LogTime, Signature, ansi, attachments, u32_at};
use super::header::{Copies, FILE_TYPE};

/// Bytes of each of the two copies.
pub const COPY_BYTES: usize = 4096;
/// What the file type says.
pub const CHECKPOINT_TYPE: u32 = 4;

/// What a copy of a checkpoint says; offsets in bytes stand in `spec/ese-format.md` §9.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the format's table")]
pub struct Checkpoint {
    pub at_last_full: LogPosition,
    /// Redo starts here.
    pub position: LogPosition,
    pub log_signature: Signature,
    pub system_directory: String,
    pub log_directory: String,
    pub last_full: LogPosition,
    pub last_full_time: LogTime,
    pub last_incremental: LogPosition,
    pub last_incremental_time: LogTime,
    pub has_attachments: bool,
    pub consistency: LogPosition,
    pub file_type: u32,
    pub attachments: Vec<Attachment>,
}

impl Checkpoint {
    /// Reads a copy whose checksum has been looked at.
    pub fn parse(copy: &[u8]) -> Self {
        Self {
            at_last_full: LogPosition::at(copy, 4),
            position: LogPosition::at(copy, 12),
            log_signature: Signature::at(copy, 20),
            system_directory: ansi(copy.get(48..309).unwrap_or_default()),
            log_directory: ansi(copy.get(309..570).unwrap_or_default()),
            last_full: LogPosition::at(copy, 615),
            last_full_time: LogTime::at(copy, 623),
            last_incremental: LogPosition::at(copy, 631),
            last_incremental_time: LogTime::at(copy, 639),
            has_attachments: copy.get(647).is_some_and(|flags| flags & 1 == 1),
            consistency: LogPosition::at(copy, 648),
            file_type: u32_at(copy, FILE_TYPE),
            attachments: attachments(copy.get(679..679 + 2048).unwrap_or_default()),
        }
    }

    /// Looks at the two copies at the beginning of a file.
    pub fn copies(head: &[u8]) -> Copies {
        Copies::look(head, COPY_BYTES, |copy| u32_at(copy, FILE_TYPE) == CHECKPOINT_TYPE)
    }
}
