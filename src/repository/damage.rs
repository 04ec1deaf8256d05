//! What can be wrong with a backup, and what the proof of an engine's files finds, in the words of `verify`.

use std::path::{Path, PathBuf};

use super::file_list::FileLine;
use crate::engine::ese::finding::{Finding, Kind};
use crate::engine::ese::prove::{Flaw, FlawKind};
use crate::error::Jet;
use crate::stream::source::Proof;

/// Something that is not as it was when the backup was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Relative to the backup's folder.
    pub file: PathBuf,
    /// The backup in whose folder that is, where it is another one, which holds content of this one.
    pub held_by: Option<String>,
    /// In which respect.
    pub kind: DamageKind,
    /// What the backup says it should be.
    pub stored: String,
    /// What it is.
    pub computed: String,
    /// Which page of a database.
    pub page: Option<u32>,
    /// Which segment of a log.
    pub segment: Option<u32>,
    /// It was so when it was backed up: no damage of the backup.
    pub is_known: bool,
    /// What happened, as a sentence without the file's name, where the other fields do not tell.
    pub message: Option<String>,
    /// The ESE number, where there is one.
    pub jet: Option<Jet>,
}

/// In which respect a file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// The content has another hash.
    Hash,
    /// The content has another length.
    Size,
    /// It is not there.
    Missing,
    /// It was not there when the backup was made.
    Extra,
    /// A file, directory or link where something else should be, or a link that points elsewhere.
    FileType,
    /// It cannot be read.
    Unreadable,
    /// The manifest cannot be believed.
    Manifest,
    /// `files.jsonl` or a line of it cannot be believed.
    FileList,
    /// `SHA256SUMS` does not say what `files.jsonl` says.
    Sums,
    /// The backup does not join on to the one before it.
    Chain,
    /// Another backup has its number: nothing of it is damaged.
    Number,
    /// A page of a database does not hold what was written.
    PageChecksum,
    /// A sound page of a database in the wrong place.
    PageNumber,
    /// One wrong bit of a page or segment, which the engine would correct.
    Correctable,
    /// A segment of a log.
    LogSegment,
    /// The header of a log.
    LogHeader,
    /// What SQLite finds in a database.
    Integrity,
    /// A copy of the header of a database.
    Header,
    /// The page that the engine's own backup appends to a database.
    Trailer,
    /// A database in a state that nobody can use.
    State,
    /// Logs of another stream, or that do not follow each other.
    LogChain,
    /// A copy of a checkpoint that is damaged; one of another stream, or that names a log which is not there.
    Checkpoint,
}

impl DamageKind {
    /// The word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Size => "size",
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::FileType => "file-type",
            Self::Unreadable => "unreadable",
            Self::Manifest => "manifest",
            Self::FileList => "file-list",
            Self::Sums => "sums",
            Self::Chain | Self::Number => "chain",
            Self::PageChecksum => "page-checksum",
            Self::PageNumber => "page-number",
            Self::Correctable => "correctable",
            Self::LogSegment => "log-segment",
            Self::LogHeader => "log-header",
            Self::Integrity => "integrity",
            Self::Header => "header",
            Self::Trailer => "trailer",
            Self::State => "state",
            Self::LogChain => "log-chain",
            Self::Checkpoint => "checkpoint",
        }
    }
}

impl Damage {
    /// What is wrong with a file of the backup's folder.
    pub(super) fn new(file: &Path, kind: DamageKind, stored: impl Into<String>, computed: impl Into<String>) -> Self {
        let (stored, computed) = (stored.into(), computed.into());
        let file = file.to_owned();
        let (held_by, page, segment, message, jet) = (None, None, None, None, None);
        Self { file, held_by, kind, stored, computed, page, segment, is_known: false, message, jet }
    }

    /// Whether what the backup holds, or what tells of it, is not what it was: whatever builds on it may need that.
    pub fn is_of_content(&self) -> bool {
        let is_beside = [DamageKind::Extra, DamageKind::Sums, DamageKind::Integrity, DamageKind::Number];
        !is_beside.contains(&self.kind) && !self.is_of_set()
    }

    /// Whether files are as they were stored, and do not go together.
    pub fn is_of_set(&self) -> bool {
        self.message.is_some()
            && !matches!(
                self.kind,
                DamageKind::Hash | DamageKind::Chain | DamageKind::Unreadable | DamageKind::Integrity
            )
    }

    /// What is wrong with a file of the backup's folder, as a sentence.
    pub(super) fn told(file: &Path, kind: DamageKind, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::new(file, kind, "", "") }
    }

    /// What is wrong between the files of an instance; known where it was accepted when that was backed up.
    pub(super) fn of_set(finding: &Finding, is_known: bool) -> Self {
        let kind = match finding.kind {
            Kind::Header => DamageKind::Header,
            Kind::Size => DamageKind::Size,
            Kind::Trailer => DamageKind::Trailer,
            Kind::State => DamageKind::State,
            Kind::LogHeader => DamageKind::LogHeader,
            Kind::Checkpoint => DamageKind::Checkpoint,
            Kind::Missing => DamageKind::Missing,
            _ => DamageKind::LogChain,
        };
        Self {
            page: finding.page,
            is_known,
            message: Some(finding.message.clone()),
            jet: finding.jet,
            ..Self::new(&finding.file, kind, finding.stored.clone(), finding.computed.clone())
        }
    }

    /// A page or segment that does not prove itself; known where it was backed up like that.
    pub(super) fn of_flaw(file: &Path, line: &FileLine, flaw: Flaw) -> Self {
        if flaw.is_of_a_copy() {
            let (stored, computed) = match flaw.number {
                0 => (format!("first copy {}", flaw.stored), format!("second copy {}", flaw.computed)),
                1 => (format!("first copy {}", flaw.stored), flaw.computed),
                _ => (format!("second copy {}", flaw.stored), flaw.computed),
            };
            let kind = if flaw.kind == FlawKind::Checkpoint { DamageKind::Checkpoint } else { DamageKind::Header };
            return Self::new(file, kind, stored, computed);
        }
        let kind = match flaw.kind {
            FlawKind::PageChecksum => DamageKind::PageChecksum,
            FlawKind::PageNumber => DamageKind::PageNumber,
            FlawKind::Correctable => DamageKind::Correctable,
            FlawKind::LogSegment => DamageKind::LogSegment,
            FlawKind::LogHeader => DamageKind::LogHeader,
            FlawKind::Checkpoint => DamageKind::Checkpoint,
            FlawKind::Header | FlawKind::NoHeader => DamageKind::Header,
        };
        let known = |proof: &Option<Proof>| proof.as_ref().is_some_and(|proof| proof.knows(flaw.number));
        Self {
            page: line.pages.is_some().then_some(flaw.number),
            segment: line.segments.is_some().then_some(flaw.number),
            is_known: known(&line.pages) || known(&line.segments),
            ..Self::new(file, kind, flaw.stored, flaw.computed)
        }
    }
}
