//! What a backup of an instance is worth as a set: whether the logs that its databases need are there, of one stream, and
//! follow each other. Pure: what stored headers say goes in, findings come out (decisions 10, 12 and 15).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::fields::Generation;
use super::files::Found;
use super::finding::{Finding, Kind, Weight};
use super::instance::{Instance, LogFile, Stream};
use super::judge::{Inside, Judgement, Unread, judge_file, judge_instance, sentence};
use super::log::LogName;
use super::ranges::{Need, Required, missing, span};
use super::recognise::Content;
use crate::error::{Error, ExitCode, Jet};

/// The members of a set, as their headers have them. Paths are those that findings name.
#[derive(Debug, Default)]
pub struct Members {
    /// What the backup calls databases, each with what was seen inside.
    pub databases: Vec<(Found, Inside)>,
    /// What it calls logs.
    pub logs: Vec<Found>,
    /// What it calls the checkpoint.
    pub checkpoint: Option<Found>,
    /// What the storage had and nobody could read: said elsewhere, and not said to be missing here.
    pub unread: Vec<PathBuf>,
    /// The first and the last log that the backup says it holds.
    pub promised: Option<(Generation, Generation)>,
}

/// What is wrong with a set.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Why its engine would refuse it, what says most first.
    pub broken: Vec<Finding>,
    /// What a restore loses, as was accepted when the backup was made (-582).
    pub losses: Vec<Finding>,
}

/// Where a database was on its own host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The signature of the database, hexadecimal.
    pub signature: String,
    /// Its full path there, as the newest log has it.
    pub path: String,
}

impl Members {
    /// Judges the set by the same rules as the storage before it was backed up, in the numbers of a restore.
    pub fn judge(&self) -> Verdict {
        let mut findings = Vec::new();
        let (instance, insides) = self.instance(&mut findings);
        let Judgement { findings: between, needs, generations, .. } = judge_instance(&instance, &insides);
        let mut present: BTreeSet<Generation> =
            generations.iter().flat_map(|(low, high)| low.0..=high.0).map(Generation).collect();
        let on_disk = present.clone();
        Unread::of(&instance).add_to(&mut present);
        findings.extend(self.judge_promise(&present));
        let mut losses = Vec::new();
        let dirty: Vec<(&Found, bool, Required)> = instance
            .headers()
            .zip(&needs)
            .filter_map(|((found, header), need)| match need {
                Need::Logs(required) => Some((found, header.is_backup_copy(), *required)),
                _ => None,
            })
            .collect();
        for finding in between {
            let database = dirty.iter().find(|(found, ..)| found.path == finding.file);
            match (finding.kind, finding.jet, finding.weight) {
                (_, Some(Jet::CommittedLogFilesMissing), _) => losses.push(finding),
                (_, Some(Jet::CheckpointCorrupt), _) => {} // recovery does without, and it was told
                (Kind::Missing, Some(Jet::RequiredLogFilesMissing), _) => {
                    let jet = database
                        .filter(|(_, is_engine_copy, _)| *is_engine_copy)
                        .map_or(Jet::RequiredLogFilesMissing, |(_, _, required)| lacking(*required, &on_disk));
                    findings.push(Finding { jet: Some(jet), ..finding });
                }
                (Kind::LogChain, Some(Jet::BadLogSignature), Weight::Warning) if database.is_some() => {
                    let jet = Some(Jet::GivenLogFileHasBadSignature);
                    findings.push(Finding { jet, weight: Weight::Damage, ..finding });
                }
                (_, _, Weight::Damage | Weight::Unfit) => findings.push(self.in_numbers_of_a_restore(finding)),
                _ => {}
            }
        }
        let is_of_database = |finding: &Finding| self.databases.iter().any(|(found, _)| found.path == finding.file);
        findings.sort_by_key(|finding| (rank(finding.jet), !is_of_database(finding)));
        Verdict { broken: findings, losses }
    }

    /// Where its databases were, as far as the newest log names them.
    pub fn homes(&self) -> Vec<Home> {
        let headers = self.logs.iter().filter_map(|found| match &found.content {
            Content::Log(header, _) => Some(header),
            _ => None,
        });
        let newest = headers.max_by_key(|header| header.generation);
        let attachments = newest.map(|header| &header.attachments[..]).unwrap_or_default();
        let home = |attachment: &super::fields::Attachment| {
            Some(Home { signature: attachment.signature.to_hex(), path: attachment.names.first()?.clone() })
        };
        attachments.iter().filter_map(home).collect()
    }

    /// The set as an instance; what is wrong with its files alone goes to `findings`.
    fn instance(&self, findings: &mut Vec<Finding>) -> (Instance, Vec<Inside>) {
        let (mut instance, mut insides, mut logs) = (Instance::default(), Vec::new(), Vec::new());
        let mut unread = self.unread.clone();
        for (found, inside) in &self.databases {
            let alone = judge_file(found, inside);
            match &found.content {
                Content::Database(..) => {
                    findings.extend(alone.into_iter().filter(is_of_a_set));
                    instance.databases.push(found.clone());
                    insides.push(inside.clone());
                }
                Content::DamagedHeader(..) => findings.extend(alone),
                other => {
                    let what = sentence(other).map_or_else(|| format!("is a {}", other.name()), str::to_owned);
                    let message = format!("should be a database, but {what}");
                    findings.push(Finding::damage(&found.path, Kind::Header, Jet::DatabaseCorrupted, message));
                }
            }
        }
        for found in &self.logs {
            findings.extend(judge_file(found, &Inside::default()));
            if !matches!(found.content, Content::Log(..)) {
                unread.push(found.path.to_path_buf()); // it is there, and what is wrong with it is said
            }
            logs.extend(LogName::parse(found.name()).map(|name| LogFile { found: found.clone(), name }));
        }
        instance.stream = Stream::of(logs);
        instance.checkpoint.clone_from(&self.checkpoint);
        let unknown = || Error::new(ExitCode::Failed, "it could not be read");
        instance.failed = unread.into_iter().map(|path| (path, unknown())).collect();
        (instance, insides)
    }

    /// What is gone before the first or after the last log that is there; gaps between logs show in their chain.
    fn judge_promise(&self, present: &BTreeSet<Generation>) -> Option<Finding> {
        let (low, high) = self.promised?;
        let mut gone = missing(low, high, present);
        if let (Some(first), Some(last)) = (present.first(), present.last()) {
            gone.retain(|(from, to)| to < first || from > last);
        }
        if gone.is_empty() {
            return None;
        }
        let list = gone.iter().map(|(from, to)| span(*from, *to)).collect::<Vec<_>>().join(", ");
        let message = format!("says that the backup holds logs {}; missing: {list}", span(low, high));
        let manifest = Arc::from(std::path::Path::new("manifest.json"));
        let finding = Finding::damage(&manifest, Kind::Missing, Jet::RequiredLogFilesMissing, message);
        Some(finding.sums(span(low, high), list))
    }

    /// The engine numbers what it finds while it restores otherwise than what it finds while it backs up (decision 12).
    fn in_numbers_of_a_restore(&self, finding: Finding) -> Finding {
        let (kind, jet) = match (finding.kind, finding.jet) {
            // A log that the backup should hold is missing; one that it never promised breaks the chain.
            (Kind::LogChain, Some(Jet::MissingFileToBackup)) if self.promised.is_some() => {
                (Kind::Missing, Some(Jet::RequiredLogFilesMissing))
            }
            (Kind::LogChain, Some(Jet::MissingFileToBackup | Jet::InvalidLogSequence)) => {
                (Kind::LogChain, Some(Jet::GivenLogFileIsNotContiguous))
            }
            (Kind::LogChain, Some(Jet::BadLogSignature)) => (Kind::LogChain, Some(Jet::GivenLogFileHasBadSignature)),
            (kind, jet) => (kind, jet),
        };
        Finding { kind, jet, ..finding }
    }
}

/// Which logs a copy that the engine made lacks: those at the begin, at the end, or some between.
fn lacking(required: Required, present: &BTreeSet<Generation>) -> Jet {
    match (present.first(), present.last()) {
        (Some(first), _) if *first > required.low => Jet::StartingRestoreLogTooHigh,
        (_, Some(last)) if *last < required.high => Jet::EndingRestoreLogTooLow,
        _ => Jet::RequiredLogFilesMissing,
    }
}

/// Whether what is wrong with a database alone makes the set useless: what a backup takes with a warning does not.
fn is_of_a_set(finding: &Finding) -> bool {
    match finding.kind {
        Kind::State => finding.weight == Weight::Unfit,
        Kind::Trailer => true,
        Kind::Size => finding.page.is_some(),
        _ => false,
    }
}

/// What says most comes first: whose file it is, then what is wrong with a file alone, what is missing, the chain.
fn rank(jet: Option<Jet>) -> u8 {
    match jet {
        Some(Jet::GivenLogFileHasBadSignature | Jet::BadCheckpointSignature) => 0,
        Some(Jet::GivenLogFileIsNotContiguous) => 3,
        Some(Jet::MissingLogFile) => 4,
        Some(Jet::RequiredLogFilesMissing | Jet::StartingRestoreLogTooHigh | Jet::EndingRestoreLogTooLow) => 2,
        _ => 1,
    }
}
