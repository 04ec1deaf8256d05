//! What is read: entries that give verified bytes and then prove that they held still.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::sqlite::facts::CopyFacts;
use crate::error::Result;
use crate::stream::kept::KeptCopy;
use crate::stream::shared::SharedFile;

/// Who or what a file was when it was read, so that a later look can tell whether it is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970 (UTC).
    pub modified_ns: i128,
    /// Nanoseconds since 1970 (UTC).
    pub changed_ns: i128,
}

/// What is known about an entry beside its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Identity and times.
    pub stamp: Stamp,
    /// Permission bits with setuid, setgid and sticky (octal 7777).
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The owner's name on the machine that was backed up, where it has one.
    pub user: Option<Arc<str>>,
    /// The group's name on that machine, where it has one.
    pub group: Option<Arc<str>>,
    /// Extended attributes; POSIX ACLs and capabilities are among them.
    pub xattrs: Vec<Xattr>,
    /// What could not be read of it, as sentences without a full stop.
    pub not_kept: Vec<String>,
    /// What its engine proved of its content while it was read; none where nothing in it proves itself.
    pub proof: Option<Arc<Proof>>,
    /// What the copy of a database of SQLite is, and what there is to tell of how it was made.
    pub copy: Option<Arc<Copied>>,
}

/// A copy of a database of SQLite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// What it is.
    pub facts: CopyFacts,
    /// How it was made, for those who ask.
    pub told: String,
    /// What everybody should hear of it.
    pub warning: Option<String>,
}

impl Attributes {
    /// Attributes with nothing but stamp, mode and numbers.
    pub fn plain(stamp: Stamp, mode: u32, uid: u32, gid: u32) -> Self {
        Self {
            stamp,
            mode,
            uid,
            gid,
            user: None,
            group: None,
            xattrs: Vec::new(),
            not_kept: Vec::new(),
            proof: None,
            copy: None,
        }
    }
}

/// What an engine proved of a file: of a database its pages, of a log its segments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Bytes of each.
    pub size: u32,
    /// Those that prove themselves.
    pub good: u64,
    /// Those that were never written.
    pub blank: u64,
    /// The last page is a trailer, which is proven as headers are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trailer: bool,
    /// Those that were copied as they are although they do not prove themselves, [`ODD_MAX`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub odd: Vec<Odd>,
    /// How many more there are, none of them damaged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
    /// What to say of it that is over, such as a page that was right when it was read again.
    #[serde(skip)]
    pub notices: Vec<String>,
}

/// Pages or segments of one file that are named one by one; a database with more damaged ones is none.
pub const ODD_MAX: usize = 10_000;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A page or segment that does not prove itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Odd {
    /// Which one.
    pub number: u32,
    /// In which respect.
    pub kind: OddKind,
    /// What it says of itself.
    pub stored: String,
    /// What its content amounts to.
    pub computed: String,
}

/// In which respect a page or segment does not prove itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OddKind {
    /// One wrong bit, which the engine corrects.
    Correctable,
    /// A page that the database does not own.
    Garbage,
    /// The last write to a log, cut short; its shadow is good.
    Torn,
    /// A page that does not hold what was written.
    PageChecksum,
    /// A sound page in the wrong place.
    PageNumber,
}

impl OddKind {
    /// The word used in messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Correctable => "correctable",
            Self::Garbage => "garbage",
            Self::Torn => "torn",
            Self::PageChecksum => "page-checksum",
            Self::PageNumber => "page-number",
        }
    }

    /// What to say of it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Correctable => "has one wrong bit, which the engine corrects",
            Self::Garbage => "is not owned by the database, and does not prove itself",
            Self::Torn => "is torn, its shadow is good",
            Self::PageChecksum => "does not hold what was written",
            Self::PageNumber => "is sound, but is another page",
        }
    }

    /// Whether content is lost.
    pub fn is_damage(self) -> bool {
        matches!(self, Self::PageChecksum | Self::PageNumber)
    }
}

impl Proof {
    /// Those that are damaged, and were copied because that was asked for.
    pub fn damaged(&self) -> impl Iterator<Item = &Odd> {
        self.odd.iter().filter(|odd| odd.kind.is_damage())
    }

    /// Whether this page or segment is known not to prove itself.
    pub fn knows(&self, number: u32) -> bool {
        self.more > 0 || self.odd.iter().any(|odd| odd.number == number)
    }
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// Its whole name, such as `user.comment`, as the kernel has it.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// A piece of a file that was never written and takes no space: where it begins, and how long it is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole(pub u64, pub u64);

/// What a source gives next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// So many bytes, in the buffer.
    Data(usize),
    /// So many bytes that were never written: zeros that take no space.
    Hole(u64),
    /// Nothing more.
    End,
}

/// A file opened for reading: gives only bytes that the engine has verified.
pub trait Source: Send {
    /// Says, before the first piece, that it cannot be read again: whatever that costs others, it has to hold still now.
    fn insist(&mut self) -> Result<()> {
        Ok(())
    }

    /// What the file was when it was opened, where a later reading can go on in the middle of it.
    fn stamp(&self) -> Option<Stamp> {
        None
    }

    /// Takes the first bytes from a copy instead of the file, proven as if they came from there; before the first piece.
    /// False where that cannot be: then nothing has changed. What does not prove itself in them is an error at once.
    fn begin_with(&mut self, _copy: Box<dyn KeptCopy>, _bytes: u64) -> bool {
        false
    }

    /// The next piece. An error says that bytes could not be read or are not sound.
    fn next(&mut self, buffer: &mut [u8]) -> Result<Got>;

    /// The content for several threads that read it at once, instead of [`Source::next`]; none where that alone gives
    /// what is proven. Whoever takes it says with [`Source::was_read`] how far they came.
    fn share(&self) -> Option<SharedFile> {
        None
    }

    /// Takes note that what was shared was read up to this byte.
    fn was_read(&mut self, _until: u64) {}

    /// Proves that the file held still from open to now.
    fn finish(self: Box<Self>) -> Result<Settled>;
}

/// Whether a file held still while it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It did.
    Still(Attributes),
    /// It did not, and in which respect.
    Changed(String),
    /// It did not, as is to be expected of what lives, and in which respect; another attempt may succeed, and one that
    /// insists will.
    Disturbed(String),
}

/// An opened entry.
pub enum Opened {
    /// Content to stream; an engine that copies into a scratch file first streams that.
    Data(Box<dyn Source>),
    /// A directory.
    Directory(Attributes),
    /// A symbolic link and where it points.
    Link(Attributes, PathBuf),
    /// Another name of a file that stands under an earlier name of the same list.
    HardLink(Attributes, PathBuf),
}
