//! What a check finds, as a value: which file, where in it, what kind, how grave.

use std::path::Path;
use std::sync::Arc;

use crate::error::{ExitCode, Jet};

/// The kinds of finding; the names are those of the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A page does not hold what was written.
    PageChecksum,
    /// A sound page in the wrong place.
    PageNumber,
    /// One wrong bit, which the engine would correct.
    Correctable,
    /// The engine's last write of a page never reached the disk, says the flush map.
    LostWrite,
    /// A copy of a database's header.
    Header,
    /// A file is too long, too short, or no whole number of pages.
    Size,
    /// The page that the engine's backup appends.
    Trailer,
    /// A piece of a log's body.
    LogSegment,
    /// A log's header.
    LogHeader,
    /// Logs that do not follow each other, or that a database needs and that are not there.
    LogChain,
    /// A copy of the checkpoint, or the checkpoint as a whole.
    Checkpoint,
    /// A flush map.
    FlushMap,
    /// A database in a state that nobody can use.
    State,
    /// No file of the engine.
    FileType,
    /// What SQLite finds in a database.
    Integrity,
    /// A file that is expected and is not there.
    Missing,
    /// Bytes that the system does not give.
    Unreadable,
}

impl Kind {
    /// The word in messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::PageChecksum => "page-checksum",
            Self::PageNumber => "page-number",
            Self::Correctable => "correctable",
            Self::LostWrite => "lost-write",
            Self::Header => "header",
            Self::Size => "size",
            Self::Trailer => "trailer",
            Self::LogSegment => "log-segment",
            Self::LogHeader => "log-header",
            Self::LogChain => "log-chain",
            Self::Checkpoint => "checkpoint",
            Self::FlushMap => "flush-map",
            Self::State => "state",
            Self::FileType => "file-type",
            Self::Integrity => "integrity",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
        }
    }
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Worth knowing; the storage is fine.
    Warning,
    /// A page that the database does not own holds something that does not prove itself; a clean database is fine.
    Garbage,
    /// The check could not look (exit 1).
    Failed,
    /// A state that nobody can use (exit 6).
    Unfit,
    /// Damage (exit 3).
    Damage,
}

impl Weight {
    /// How a check that finds this ends.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Warning | Self::Garbage => ExitCode::Done,
            Self::Failed => ExitCode::Failed,
            Self::Unfit => ExitCode::Unfit,
            Self::Damage => ExitCode::Verification,
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, as it was reached.
    pub file: Arc<Path>,
    /// Which page of a database or flush map.
    pub page: Option<u32>,
    /// Which segment of a log.
    pub segment: Option<u32>,
    /// What kind.
    pub kind: Kind,
    /// How grave.
    pub weight: Weight,
    /// Of a log: it is about how the log follows the one before it, and about nothing in the log itself.
    pub is_link: bool,
    /// The number that the engine would give.
    pub jet: Option<Jet>,
    /// What happened, as a sentence without the file's name.
    pub message: String,
    /// What the file says.
    pub stored: String,
    /// What it amounts to.
    pub computed: String,
}

impl Finding {
    /// Damage of a file as a whole.
    pub fn damage(file: &Arc<Path>, kind: Kind, jet: Jet, message: impl Into<String>) -> Self {
        Self::new(file, kind, Weight::Damage, Some(jet), message)
    }

    /// Something worth knowing.
    pub fn warning(file: &Arc<Path>, kind: Kind, jet: Option<Jet>, message: impl Into<String>) -> Self {
        Self::new(file, kind, Weight::Warning, jet, message)
    }

    /// A finding without a place.
    pub fn new(file: &Arc<Path>, kind: Kind, weight: Weight, jet: Option<Jet>, message: impl Into<String>) -> Self {
        Self {
            file: Arc::clone(file),
            page: None,
            segment: None,
            kind,
            weight,
            is_link: false,
            jet,
            message: message.into(),
            stored: String::new(),
            computed: String::new(),
        }
    }

    /// The same, with what the file says and what it amounts to.
    #[must_use]
    pub fn sums(mut self, stored: impl Into<String>, computed: impl Into<String>) -> Self {
        (self.stored, self.computed) = (stored.into(), computed.into());
        self
    }

    /// The same, in this page.
    #[must_use]
    pub fn page(mut self, page: u32) -> Self {
        self.page = Some(page);
        self
    }

    /// The same, in this segment.
    #[must_use]
    pub fn segment(mut self, segment: u32) -> Self {
        self.segment = Some(segment);
        self
    }
}

/// The exit code of several findings: damage before what nobody can use before what could not be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worst {
    damage: bool,
    unfit: bool,
    failed: bool,
}

impl Worst {
    /// Takes another one into account.
    pub fn add(&mut self, weight: Weight) {
        match weight {
            Weight::Warning | Weight::Garbage => {}
            Weight::Failed => self.failed = true,
            Weight::Unfit => self.unfit = true,
            Weight::Damage => self.damage = true,
        }
    }

    /// How the check ends.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self { damage: true, .. } => ExitCode::Verification,
            Self { unfit: true, .. } => ExitCode::Unfit,
            Self { failed: true, .. } => ExitCode::Failed,
            _ => ExitCode::Done,
        }
    }
}
