//! The header of a database, which is also that of every file kind as far as its checksum goes (`spec/ese-format.md` §5).

use super::checksum::{HEADER_SEED, header_checksum};
use super::fields::{BackupMark, Generation, LogPosition, LogTime, Signature, u32_at, u64_at};
use super::page::PageSize;

/// Where every kind of header says what kind it is, in bytes.
pub const FILE_TYPE: usize = 667;

/// One copy of a header, as it lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How many bytes its checksum covers.
    pub length: usize,
    /// Whether the file has all of it.
    pub complete: bool,
    /// The checksum that it holds.
    pub stored: u32,
    /// The checksum that its content amounts to.
    pub computed: u32,
}

impl Copy {
    /// Looks at the copy that begins at `offset`; `head` is the beginning of the file.
    pub fn look(head: &[u8], offset: usize, length: usize) -> Self {
        let block = head.get(offset..).unwrap_or_default();
        let block = &block[..length.min(block.len())];
        Self {
            offset: offset as u64,
            length,
            complete: block.len() == length,
            stored: u32_at(block, 0),
            computed: header_checksum(block),
        }
    }

    /// Whether it can be believed.
    pub fn is_valid(&self) -> bool {
        self.complete && self.stored == self.computed
    }

    /// Its bytes; empty where the file ends before.
    pub fn bytes<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        let start = usize::try_from(self.offset).unwrap_or(usize::MAX);
        start.checked_add(self.length).and_then(|end| head.get(start..end)).unwrap_or_default()
    }
}

/// The two copies of a header, and which of them counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Both, in the order of the file.
    pub both: [Copy; 2],
    /// Whether each is valid, and what this kind of header must be.
    pub valid: [bool; 2],
    /// Whether they hold the same bytes.
    pub identical: bool,
}

impl Copies {
    /// Looks at two adjacent copies; `holds` says whether a valid one is what it must be.
    pub fn look(head: &[u8], length: usize, holds: impl Fn(&[u8]) -> bool) -> Self {
        let both = [Copy::look(head, 0, length), Copy::look(head, length, length)];
        let valid = both.map(|copy| copy.is_valid() && holds(copy.bytes(head)));
        Self { both, valid, identical: both[0].complete && both[0].bytes(head) == both[1].bytes(head) }
    }

    /// The one that counts: the first, where it is valid, else the second.
    pub fn used(&self) -> Option<&Copy> {
        self.both.iter().zip(self.valid).find(|(_, valid)| *valid).map(|(copy, _)| copy)
    }

    /// Both are valid, but say different things: the file was caught between two writes.
    pub fn differ(&self) -> bool {
        self.valid == [true, true] && !self.identical
    }
}

/// The state of a database (offset 52).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// 1: its creation did not finish.
    JustCreated,
    /// 2: in use, or not shut down; it needs logs.
    Dirty,
    /// 3: shut down; it needs none.
    Clean,
    /// 4
    BeingConverted,
    /// 5, by old engines.
    ForceDetached,
    /// 6
    IncrementalReseed,
    /// 7: dirty, with pages patched; it needs logs.
    DirtyAndPatched,
    /// 8
    RevertInProgress,
    /// Anything else.
    Unknown(u32),
}

impl State {
    /// What a header's field says.
    pub fn from_field(field: u32) -> Self {
        match field {
            1 => Self::JustCreated,
            2 => Self::Dirty,
            3 => Self::Clean,
            4 => Self::BeingConverted,
            5 => Self::ForceDetached,
            6 => Self::IncrementalReseed,
            7 => Self::DirtyAndPatched,
            8 => Self::RevertInProgress,
            other => Self::Unknown(other),
        }
    }

    /// The number in the header.
    pub fn number(self) -> u32 {
        match self {
            Self::JustCreated => 1,
            Self::Dirty => 2,
            Self::Clean => 3,
            Self::BeingConverted => 4,
            Self::ForceDetached => 5,
            Self::IncrementalReseed => 6,
            Self::DirtyAndPatched => 7,
            Self::RevertInProgress => 8,
            Self::Unknown(number) => number,
        }
    }

    /// As `eseutil` calls it, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::JustCreated => "just created",
            Self::Dirty => "dirty shutdown",
            Self::Clean => "clean shutdown",
            Self::BeingConverted => "being converted",
            Self::ForceDetached => "force detached",
            Self::IncrementalReseed => "incremental reseed in progress",
            Self::DirtyAndPatched => "dirty and patched shutdown",
            Self::RevertInProgress => "revert in progress",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Whether the engine must replay logs before anybody can use it.
    pub fn is_dirty(self) -> bool {
        matches!(self, Self::Dirty | Self::DirtyAndPatched)
    }
}

/// A counter of events, with the last time and the count before the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// How many.
    pub count: u32,
    /// The last one.
    pub last: LogTime,
    /// How many before they were counted anew.
    pub before: u32,
}

impl Counter {
    fn at(block: &[u8], offset: usize) -> Self {
        Self { count: u32_at(block, offset), last: LogTime::at(block, offset + 4), before: u32_at(block, offset + 12) }
    }
}

/// What a copy of a database's header says; offsets in bytes stand in `spec/ese-format.md` §5.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the format's table")]
pub struct DatabaseHeader {
    pub format_major: u32,
    pub format_update: u32,
    pub format_update_minor: u32,
    pub created_format_major: u32,
    pub created_format_update: u32,
    pub engine_version: u32,
    pub attributes: u32,
    pub file_type: u32,
    pub page_size: PageSize,
    pub dbtime: u64,
    pub signature: Signature,
    pub state: State,
    pub consistent: LogPosition,
    pub consistent_time: LogTime,
    pub attached: LogPosition,
    pub attached_time: LogTime,
    pub detached: LogPosition,
    pub detached_time: LogTime,
    pub reattached: LogPosition,
    pub reattached_time: LogTime,
    pub dbid: u32,
    pub log_signature: Signature,
    pub full_previous: BackupMark,
    pub incremental_previous: BackupMark,
    pub full_current: BackupMark,
    pub snapshot_current: BackupMark,
    pub copy_previous: BackupMark,
    pub differential_previous: BackupMark,
    pub full_type: u32,
    pub incremental_type: u32,
    pub copy_type: u32,
    pub differential_type: u32,
    pub flags: u32,
    pub last_object: u32,
    pub os_version: [u32; 4],
    pub repair_count: u32,
    pub repair_time: LogTime,
    pub repair_count_before: u32,
    pub scrub_dbtime: u64,
    pub scrub_time: LogTime,
    pub required_low: Generation,
    pub required_high: Generation,
    pub committed_high: Generation,
    pub consistent_low: Generation,
    pub recovering: Generation,
    pub required_high_created: LogTime,
    pub committed_high_created: LogTime,
    pub ecc_fixed: Counter,
    pub ecc_failed: Counter,
    pub bad_checksums: Counter,
    pub reseeds: Counter,
    pub patches: Counter,
    pub scan_finished: LogTime,
    pub scan_started: LogTime,
    pub scan_page: u32,
    pub scan_page_highest: u32,
    pub extends: u32,
    pub extended: LogTime,
    pub shrinks: u32,
    pub shrunk: LogTime,
    pub trims: u32,
    pub resized: LogPosition,
    pub header_flush: Signature,
    pub flush_map_flush: Signature,
    pub revert_flush: Signature,
    pub revert_count: u32,
}

impl DatabaseHeader {
    /// Reads a copy; its checksum and page size have been looked at (`looks_like` the header of a database).
    pub fn parse(copy: &[u8], page_size: PageSize) -> Self {
        Self {
            format_major: u32_at(copy, 8),
            format_update: u32_at(copy, 232),
            format_update_minor: u32_at(copy, 644),
            created_format_major: u32_at(copy, 340),
            created_format_update: u32_at(copy, 344),
            engine_version: u32_at(copy, 648),
            attributes: u32_at(copy, 12),
            file_type: u32_at(copy, FILE_TYPE),
            page_size,
            dbtime: u64_at(copy, 16),
            signature: Signature::at(copy, 24),
            state: State::from_field(u32_at(copy, 52)),
            consistent: LogPosition::at(copy, 56),
            consistent_time: LogTime::at(copy, 64),
            attached_time: LogTime::at(copy, 72), // the time stands before the position here
            attached: LogPosition::at(copy, 80),
            detached_time: LogTime::at(copy, 88),
            detached: LogPosition::at(copy, 96),
            reattached_time: LogTime::at(copy, 564),
            reattached: LogPosition::at(copy, 572),
            dbid: u32_at(copy, 104),
            log_signature: Signature::at(copy, 108),
            full_previous: BackupMark::at(copy, 136),
            incremental_previous: BackupMark::at(copy, 160),
            full_current: BackupMark::at(copy, 184),
            snapshot_current: BackupMark::at(copy, 316),
            copy_previous: BackupMark::at(copy, 420),
            differential_previous: BackupMark::at(copy, 444),
            full_type: u32_at(copy, 356),
            incremental_type: u32_at(copy, 360),
            copy_type: u32_at(copy, 468),
            differential_type: u32_at(copy, 472),
            flags: u32_at(copy, 208),
            last_object: u32_at(copy, 212),
            os_version: [216, 220, 224, 228].map(|offset| u32_at(copy, offset)),
            repair_count: u32_at(copy, 240),
            repair_time: LogTime::at(copy, 244),
            repair_count_before: u32_at(copy, 364),
            scrub_dbtime: u64_at(copy, 280),
            scrub_time: LogTime::at(copy, 288),
            required_low: Generation::at(copy, 296),
            required_high: Generation::at(copy, 300),
            committed_high: Generation::at(copy, 416),
            consistent_low: Generation::at(copy, 640),
            recovering: Generation::at(copy, 536),
            required_high_created: LogTime::at(copy, 672),
            committed_high_created: LogTime::at(copy, 348),
            ecc_fixed: Counter::at(copy, 368),
            ecc_failed: Counter::at(copy, 384),
            bad_checksums: Counter::at(copy, 400),
            reseeds: Counter::at(copy, 476),
            patches: Counter::at(copy, 492),
            scan_finished: LogTime::at(copy, 516),
            scan_started: LogTime::at(copy, 524),
            scan_page: u32_at(copy, 532),
            scan_page_highest: u32_at(copy, 652),
            extends: u32_at(copy, 540),
            extended: LogTime::at(copy, 544),
            shrinks: u32_at(copy, 552),
            shrunk: LogTime::at(copy, 556),
            trims: u32_at(copy, 580),
            resized: LogPosition::at(copy, 656),
            header_flush: Signature::at(copy, 584),
            flush_map_flush: Signature::at(copy, 612),
            revert_flush: Signature::at(copy, 688),
            revert_count: u32_at(copy, 716),
        }
    }

    /// Whether these bytes are the header of a database with this page size, its checksum apart.
    pub fn looks_like(copy: &[u8], page_size: PageSize) -> bool {
        u32_at(copy, 4) == HEADER_SEED && PageSize::from_field(u32_at(copy, 236)) == Some(page_size)
    }

    /// Whether the second copy is not kept, so that its state means nothing.
    pub fn has_no_shadow(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Whether it belongs to a log stream at all.
    pub fn has_log_stream(&self) -> bool {
        !self.log_signature.is_unset()
    }

    /// Whether the engine made this file as a copy for a backup, and no recovery of it has ended yet.
    pub fn is_backup_copy(&self) -> bool {
        self.full_current.low.0 != 0
    }

    /// Whether such a copy is as the backup left it: once its trailer was merged into the header, the engine replays logs
    /// into it.
    pub fn is_untouched_copy(&self) -> bool {
        self.is_backup_copy() && self.full_current.high.0 == 0
    }
}
