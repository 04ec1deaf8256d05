//! Which logs join onto an earlier backup without a gap (`spec/backup-protocol.md` §3.4, §8.1; decision 3): a pure function
//! over what that backup holds and what the headers of an instance say now.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::facts::Named;
use super::fields::{Generation, LogPosition, LogTime, Signature};
use super::files::{self, Found};
use super::fitness::{Range, chain};
use super::header::DatabaseHeader;
use super::instance::Instance;
use super::log::{LogHeader, SEGMENT_BYTES};
use super::segments::SegmentVerifier;
use crate::error::{Error, Jet, printable};

/// What is known of the backup that a session takes the next logs after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its id.
    pub backup: String,
    /// It is all that was backed up since the last full one: the parent of a differential.
    pub is_since_full: bool,
    /// The signature of its log stream, hexadecimal.
    pub log_signature: Option<String>,
    /// Its last log, which was still being written; none where it has no logs.
    pub last: Option<LastLog>,
    /// The databases that its chain holds.
    pub databases: Vec<Held>,
}

/// The log that was written when a backup was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastLog {
    /// Its generation.
    pub generation: u32,
    /// When it was begun, as its header has it.
    pub created: [u8; 8],
    /// What of it nobody writes any more; none where that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
}

/// The segments of a log that was still being written which are never written again: all with data but the last one, which
/// the next flush fills up (`spec/ese-format.md` §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Where they end, in bytes; the header, at the begin, is none of them.
    pub end: u64,
    /// SHA-256 of them.
    pub hash: [u8; 32],
}

impl Settled {
    /// Those of a log with this header, whose file of so many bytes is read piece by piece by `read` (from an offset on; fewer
    /// bytes where it ends). None in old formats, and where too little was written.
    pub fn of<E>(header: &LogHeader, size: u64, read: &mut ReadAt<E>) -> Result<Option<Self>, E> {
        if !header.has_segments() {
            return Ok(None);
        }
        let mut verifier = SegmentVerifier::new(header, size);
        let mut at = 0;
        while at < size {
            let piece = read(at, PIECE_BYTES)?;
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
            verifier.feed(&piece, &mut |_| {}); // damage is others' matter
        }
        let end = verifier.finish(&mut |_| {}).valid_bytes.saturating_sub(SEGMENT_BYTES as u64);
        Ok(if end > SEGMENT_BYTES as u64 { hash(end, read)?.map(|hash| Self { end, hash }) } else { None })
    }

    /// Whether the log of this generation holds the same, and goes on behind it; `read` as for [`Self::of`].
    pub fn is_in<E>(&self, generation: Generation, read: &mut ReadAt<E>) -> Result<bool, E> {
        let next = read(self.end, SEGMENT_BYTES)?;
        if next.len() < SEGMENT_BYTES {
            return Ok(false);
        }
        let position = LogPosition::at(&next, 8);
        let goes_on =
            position.generation == generation && u64::from(position.segment) * SEGMENT_BYTES as u64 == self.end;
        Ok(goes_on && hash(self.end, read)? == Some(self.hash))
    }
}

/// Gives so many bytes of a log from an offset on; fewer where it ends.
pub type ReadAt<'a, E> = dyn FnMut(u64, usize) -> Result<Vec<u8>, E> + 'a;

/// Bytes of a log that are read at once.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// The hash of a log from its first segment behind the header up to a byte; none where it ends before.
fn hash<E>(end: u64, read: &mut ReadAt<E>) -> Result<Option<[u8; 32]>, E> {
    let mut hasher = Sha256::new();
    let mut at = SEGMENT_BYTES as u64;
    while at < end {
        let wanted = usize::try_from(end - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        let piece = read(at, wanted)?;
        if piece.is_empty() {
            return Ok(None);
        }
        hasher.update(&piece);
        at += piece.len() as u64;
    }
    Ok(Some(hasher.finalize().into()))
}

/// A database in a chain of backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which one, relative to the storage.
    #[serde(flatten)]
    pub file: Named,
    /// Its signature, hexadecimal.
    pub signature: String,
}

/// An instance, as far as the logs after a backup go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The signature of its log stream, hexadecimal.
    pub log_signature: Option<String>,
    /// The generation of each log of the stream, and when it was begun; in any order.
    pub logs: Vec<(Generation, LogTime)>,
    /// The newest log says that the engine reuses its logs.
    pub is_circular: bool,
    /// Its databases whose changes are in the stream: where they lie, and their signatures, hexadecimal.
    pub databases: Vec<(PathBuf, String)>,
}

/// Why no logs can be taken after a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misjoin {
    /// The engine reuses its logs, so that what was in them may be gone.
    Circular,
    /// The backup is of another log stream.
    OtherStream,
    /// The backup holds no log that others could follow.
    NoLogs,
    /// A database is not in the chain.
    NewDatabase(PathBuf),
    /// The newest log is older than the last one of the backup.
    PutBack(Generation),
    /// The first generation that should be there and is not.
    Missing(Generation),
    /// The log that the backup ends with is another one now.
    OtherLog(Generation),
    /// The log that the backup ends with lacks what was in it then.
    OtherContent(Generation),
}

/// The logs to take after a backup: from its last one, which was still being written then, to the newest.
pub fn join(parent: &Parent, now: &Now) -> Result<Range, Misjoin> {
    if now.is_circular {
        return Err(Misjoin::Circular);
    }
    let Some(last) = parent.last else { return Err(Misjoin::NoLogs) };
    // Without any log nothing says which stream it is; then the first one is missing.
    if now.log_signature.is_some() && now.log_signature != parent.log_signature {
        return Err(Misjoin::OtherStream);
    }
    let is_held = |(path, signature): &&(PathBuf, String)| {
        parent.databases.iter().any(|held| held.signature == *signature && held.file.path() == *path)
    };
    if let Some((path, _)) = now.databases.iter().find(|database| !is_held(database)) {
        return Err(Misjoin::NewDatabase(path.clone()));
    }
    let low = Generation(last.generation);
    let present: BTreeSet<Generation> = now.logs.iter().map(|(generation, _)| *generation).collect();
    let Some(high) = present.last().copied() else { return Err(Misjoin::Missing(low)) };
    if high < low {
        return Err(Misjoin::PutBack(high));
    }
    if let Some((gap, _)) = super::ranges::missing(low, high, &present).first() {
        return Err(Misjoin::Missing(*gap));
    }
    let is_same = |(generation, created): &(Generation, LogTime)| *generation != low || created.0 == last.created;
    if !now.logs.iter().all(is_same) {
        return Err(Misjoin::OtherLog(low));
    }
    Ok(Range { low, high })
}

/// Whether the instance holds what the last log of a backup had when that was made; a log that cannot be read is an error.
pub fn goes_on(parent: &Parent, instance: &Instance, signature: Option<&Signature>) -> Result<(), Error> {
    let Some((last, settled)) = parent.last.and_then(|last| Some((last, last.settled?))) else { return Ok(()) };
    let generation = Generation(last.generation);
    let Some((_, log)) = chain(instance, signature).find(|(of, _)| *of == generation) else { return Ok(()) };
    let (file, _) = files::open(&log.found.path)?;
    let is_there =
        settled.is_in(generation, &mut |offset, length| files::read_some(&file, &log.found.path, offset, length))?;
    if is_there { Ok(()) } else { Err(Misjoin::OtherContent(generation).error(parent)) }
}

impl Now {
    /// What the headers of an instance say; databases by their paths below the storage.
    pub fn of(instance: &Instance, signature: Option<&Signature>, storage: &Path) -> Self {
        let headers = || chain(instance, signature).filter_map(|(_, log)| log.header());
        let known = signature.filter(|signature| !signature.is_unset());
        let of_stream = instance.headers().filter(|(_, header)| Some(&header.log_signature) == known);
        let key = |(found, header): (&Found, &DatabaseHeader)| {
            let path = found.path.strip_prefix(storage).unwrap_or(&found.path).to_owned();
            (path, header.signature.to_hex())
        };
        Self {
            log_signature: known.map(Signature::to_hex),
            logs: headers().map(|header| (header.generation, header.created)).collect(),
            is_circular: headers().max_by_key(|header| header.generation).is_some_and(LogHeader::is_circular),
            databases: of_stream.map(key).collect(),
        }
    }
}

impl Misjoin {
    /// What to tell, and what to do about it.
    pub fn error(&self, parent: &Parent) -> Error {
        let backup = printable(&parent.backup);
        let full = "Make a full backup (--kind full); later ones build on that.";
        let again = match parent.last {
            Some(last) => format!("{backup} ends with log {}", Generation(last.generation)),
            None => format!("{backup} holds no logs"),
        };
        match self {
            Self::Circular => Error::jet(
                Jet::InvalidBackup,
                "circular logging is on: the engine reuses its logs, and nothing can be taken after an earlier backup",
            )
            .hint("Make a full backup, or one of the changed blocks (--blocks); or turn circular logging off."),
            Self::OtherStream => Error::jet(
                Jet::MissingFullBackup,
                format!("there is no full backup of this log stream: the logs of {backup} are of another one"),
            )
            .hint(full),
            Self::NoLogs => {
                Error::jet(Jet::MissingFullBackup, format!("{again}, after which others could be taken")).hint(full)
            }
            Self::NewDatabase(path) => Error::jet(
                Jet::MissingFullBackup,
                format!("{} is in no full backup: the one that {backup} builds on does not hold it", printable(path)),
            )
            .file(path)
            .hint(full),
            Self::PutBack(newest) => Error::jet(
                Jet::InvalidLogSequence,
                format!("{again}, and the newest log is {newest}: the instance was put back to an earlier state"),
            )
            .hint(full),
            Self::Missing(generation) if parent.is_since_full => {
                Error::jet(Jet::MissingFileToBackup, format!("log {generation} is not there, and {again}")).hint(
                    "Was it deleted after an incremental backup? Then make an incremental one again, or a full one.",
                )
            }
            Self::Missing(generation) => {
                Error::jet(Jet::MissingFileToBackup, format!("log {generation} is not there, and {again}"))
                    .hint(format!("Somebody else has deleted logs. {full}"))
            }
            Self::OtherLog(generation) => Error::jet(
                Jet::InvalidLogSequence,
                format!(
                    "log {generation} is another one than that with which {backup} ends: it was begun at another time"
                ),
            )
            .hint(format!("The instance was put back to an earlier state. {full}")),
            Self::OtherContent(generation) => Error::jet(
                Jet::InvalidLogSequence,
                format!(
                    "log {generation} is not the one with which {backup} ends: what was written into it then is not \
                     there any more"
                ),
            )
            .hint(format!("The instance was put back to an earlier state. {full}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::error::ExitCode;

    fn time(of: u32) -> LogTime {
        LogTime([u8::try_from(of).unwrap_or(0), 9, 9, 9, 9, 9, 1, 0])
    }

    fn parent(last: u32) -> Parent {
        Parent {
            backup: "000001-20261122T093015Z-full".to_owned(),
            is_since_full: false,
            log_signature: Some("aa".to_owned()),
            last: Some(LastLog { generation: last, created: time(last).0, settled: None }),
            databases: vec![Held { file: Named::new(Path::new("a.edb")), signature: "a".to_owned() }],
        }
    }

    fn now(generations: impl IntoIterator<Item = u32>) -> Now {
        Now {
            log_signature: Some("aa".to_owned()),
            logs: generations.into_iter().map(|number| (Generation(number), time(number))).collect(),
            is_circular: false,
            databases: vec![("a.edb".into(), "a".to_owned())],
        }
    }

    fn joined(parent: &Parent, now: &Now) -> Result<(u32, u32), Misjoin> {
        join(parent, now).map(|range| (range.low.0, range.high.0))
    }

    #[test]
    fn logs_are_taken_from_the_one_on_that_was_still_written() {
        assert_eq!(joined(&parent(10), &now(8..=14)), Ok((10, 14)));
        assert_eq!(joined(&parent(10), &now(10..=10)), Ok((10, 10)), "nothing but that log was written");
        assert_eq!(joined(&parent(10), &now([14, 12, 10, 11, 13])), Ok((10, 14)), "in any order");
        assert_eq!(joined(&parent(10), &now([3, 10, 11])), Ok((10, 11)), "what lies below is nobody's matter");
    }

    #[test]
    fn a_gap_is_named_by_its_first_log() {
        assert_eq!(joined(&parent(10), &now(11..=14)), Err(Misjoin::Missing(Generation(10))));
        assert_eq!(joined(&parent(7), &now(9..=14)), Err(Misjoin::Missing(Generation(7))));
        assert_eq!(joined(&parent(10), &now([10, 11, 14])), Err(Misjoin::Missing(Generation(12))));
        let none = Now { log_signature: None, ..now([]) };
        assert_eq!(joined(&parent(10), &none), Err(Misjoin::Missing(Generation(10))));
        let error = Misjoin::Missing(Generation(10)).error(&parent(10));
        assert_eq!((error.jet_code(), error.exit_code()), (Some(Jet::MissingFileToBackup), ExitCode::Verification));
        assert!(error.message().starts_with("log 10 (0xA) is not there"), "{}", error.message());
    }

    #[test]
    fn an_instance_that_was_put_back_is_refused() {
        assert_eq!(joined(&parent(10), &now(5..=9)), Err(Misjoin::PutBack(Generation(9))));
        let mut other = now(5..=12);
        other.logs[5].1 = time(99);
        assert_eq!(other.logs[5].0, Generation(10));
        assert_eq!(joined(&parent(10), &other), Err(Misjoin::OtherLog(Generation(10))));
        for misjoin in [Misjoin::PutBack(Generation(9)), Misjoin::OtherLog(Generation(10))] {
            let error = misjoin.error(&parent(10));
            assert_eq!((error.jet_code(), error.exit_code()), (Some(Jet::InvalidLogSequence), ExitCode::Verification));
        }
    }

    #[test]
    fn what_only_a_full_backup_can_hold_needs_one() {
        assert_eq!(joined(&parent(10), &Now { is_circular: true, ..now(8..=14) }), Err(Misjoin::Circular));
        let other = Now { log_signature: Some("bb".to_owned()), ..now(8..=14) };
        assert_eq!(joined(&parent(10), &other), Err(Misjoin::OtherStream));
        assert_eq!(joined(&Parent { last: None, ..parent(10) }, &now(8..=14)), Err(Misjoin::NoLogs));
        for (path, signature) in [("b.edb", "a"), ("a.edb", "b")] {
            let mut now = now(8..=14);
            now.databases.push((path.into(), signature.to_owned()));
            assert_eq!(joined(&parent(10), &now), Err(Misjoin::NewDatabase(path.into())));
        }
        let numbers = [
            (Misjoin::Circular, Jet::InvalidBackup),
            (Misjoin::OtherStream, Jet::MissingFullBackup),
            (Misjoin::NoLogs, Jet::MissingFullBackup),
            (Misjoin::NewDatabase("b.edb".into()), Jet::MissingFullBackup),
        ];
        for (misjoin, jet) in numbers {
            let error = misjoin.error(&parent(10));
            assert_eq!((error.jet_code(), error.exit_code()), (Some(jet), ExitCode::OutOfOrder), "{misjoin:?}");
        }
    }

    #[test]
    fn a_database_that_is_gone_stands_in_nobodys_way() {
        assert_eq!(joined(&parent(10), &Now { databases: Vec::new(), ..now(8..=14) }), Ok((10, 14)));
    }

    proptest! {
        /// Whatever is there: what is accepted joins, has no gap, and begins with the very log that the parent ends with.
        #[test]
        fn what_is_accepted_joins_without_a_gap(
            last in 1..12_u32,
            logs in proptest::collection::btree_map(1..16_u32, 0..20_u8, 0..16),
        ) {
            let times = |(number, other): (&u32, &u8)| (Generation(*number), if *other == 0 { time(99) } else { time(*number) });
            let now = Now { logs: logs.iter().map(times).collect(), ..now([]) };
            let highest = logs.keys().next_back().copied();
            match joined(&parent(last), &now) {
                Ok((low, high)) => {
                    prop_assert_eq!(low, last);
                    prop_assert_eq!(Some(high), highest);
                    prop_assert!((low..=high).all(|number| logs.contains_key(&number)));
                    prop_assert!(logs[&low] != 0);
                }
                Err(Misjoin::Missing(gap)) => {
                    prop_assert!(gap.0 >= last && !logs.contains_key(&gap.0));
                    prop_assert!((last..gap.0).all(|number| logs.contains_key(&number)));
                    prop_assert!(highest.is_none_or(|highest| highest >= gap.0));
                }
                Err(Misjoin::PutBack(newest)) => prop_assert!(Some(newest.0) == highest && newest.0 < last),
                Err(Misjoin::OtherLog(log)) => {
                    prop_assert_eq!(log.0, last);
                    prop_assert_eq!(logs[&last], 0);
                    prop_assert!((last..=highest.unwrap_or(0)).all(|number| logs.contains_key(&number)));
                }
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
