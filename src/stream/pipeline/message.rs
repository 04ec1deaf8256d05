//! What flows from stage to stage.

use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use super::Job;
use crate::error::{Error, Result};
use crate::stream::buffer::Buffer;
use crate::stream::kept::Reached;
use crate::stream::shared::SharedFile;
use crate::stream::source::Attributes;

/// What flows from stage to stage.
pub(super) enum Message {
    Piece(Piece),
    /// All of a file that the sink compares by itself; the end follows as a piece.
    Shared(Shared),
    Directory(Job, Attributes),
    Link(Job, Attributes, PathBuf),
    HardLink(Job, Attributes, PathBuf),
    Failed(Job, Error),
}

/// A file that the sink reads itself, on as many threads as it likes; the reading thread waits for the answer.
pub(super) struct Shared {
    pub(super) job: Job,
    pub(super) file: SharedFile,
    /// How far it could be read, or why not.
    pub(super) answer: SyncSender<Result<u64>>,
}

/// A chunk of a file; the first one begins it, the last one ends it, and a small file is one piece.
pub(super) struct Piece {
    pub(super) job: Job,
    pub(super) begins: bool,
    pub(super) bytes: Bytes,
    /// Zeros that follow the bytes.
    pub(super) hole: u64,
    pub(super) end: Option<End>,
    /// Up to here it may be gone on with later; the hash is filled in on the way.
    pub(super) reached: Option<Box<Reached>>,
}

impl Piece {
    /// A piece without bytes.
    pub(super) fn empty(job: &Job, begins: bool) -> Self {
        Self { job: job.clone(), begins, bytes: Bytes::None, hole: 0, end: None, reached: None }
    }
}

/// The bytes of a piece.
pub(super) enum Bytes {
    None,
    /// The first so many of a buffer, which goes back when they are written.
    Pooled(Buffer, usize),
    /// All of a small file.
    Own(Vec<u8>),
}

impl Bytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Pooled(buffer, length) => buffer.filled(*length),
            Self::Own(bytes) => bytes,
        }
    }
}

/// How a file ended.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every file ends well; a box for each would be one more allocation"
)]
pub(super) enum End {
    Still(Attributes, Option<[u8; 32]>),
    /// The file was begun but cannot be finished.
    Failed(Error),
}
