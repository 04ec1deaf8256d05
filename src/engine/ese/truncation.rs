//! Which logs nobody needs any more (decisions 1 to 7): a pure function over what the headers of an instance and the
//! published backups say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::fields::Generation;

/// What the checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Recovery would begin in this generation.
    At(Generation),
    /// There is none.
    Missing,
    /// Both of its copies are damaged, or it is no checkpoint.
    Damaged,
    /// It was caught between the writes of its two copies, or there are two checkpoints of this stream that differ.
    Differs,
    /// It names a log beyond the newest one.
    Beyond(Generation),
    /// It is of another stream.
    Foreign,
}

/// A log of the stream whose header proves itself and agrees with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState {
    /// By name and header.
    pub generation: Generation,
    /// It has its number in its name, and is not written any more.
    pub is_closed: bool,
    /// It is left out as asked, so that nobody may touch it.
    pub is_left_out: bool,
}

/// Which database: by its place, and by what it says that it is. A copy beside the original has the same signature.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DatabaseKey {
    /// Relative to the storage.
    pub path: PathBuf,
    /// Its signature, hexadecimal.
    pub signature: String,
}

/// A database of the storage, whether or not the backups take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseState {
    /// Which one.
    pub key: DatabaseKey,
    /// Its changes are in this stream.
    pub is_of_stream: bool,
    /// What it needs.
    pub needs: Needs,
}

/// What a database needs of the logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it was shut down.
    Nothing,
    /// The logs from the first to the last generation.
    Logs(Generation, Generation),
    /// Nobody can tell, for this reason.
    Unknown(String),
}

/// An instance, as far as deletion goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Situation {
    /// Its good logs, in any order.
    pub logs: Vec<LogState>,
    /// Its checkpoint; as good as missing where it was not looked for.
    pub checkpoint: Option<Anchor>,
    /// Its databases.
    pub databases: Vec<DatabaseState>,
    /// There are logs beside the good ones that are unreadable, foreign, or under a wrong name (decision 4).
    pub has_doubtful_logs: bool,
}

/// A published backup that may make logs needless: a complete full or incremental one of the same stream. A copy, a
/// differential and an incomplete one never do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Its sequence number.
    pub sequence: u64,
    /// It holds its databases as they were then, by itself or with the blocks of earlier backups; else the logs alone.
    pub is_full: bool,
    /// The backup that it builds on, by its sequence number.
    pub parent: Option<u64>,
    /// It was read back and proven at least once, and so was all that it builds on.
    pub is_proven: bool,
    /// Its first and its last log; the last one was still being written.
    pub logs: Option<(Generation, Generation)>,
    /// The databases in it.
    pub databases: BTreeSet<DatabaseKey>,
}

/// What becomes of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It may go: the full backup with this number begins after it, and so do those of all other databases.
    Superseded(u64),
    /// It may go: the backup with this number holds it.
    Held(u64),
    /// It stays.
    Kept,
}

/// Something that speaks for keeping a log, or for letting it go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is the one that is written.
    Current,
    /// It is left out as asked.
    LeftOut,
    /// Recovery would not begin before the checkpoint's generation, and this log lies below.
    BelowCheckpoint(Generation),
    /// Recovery may need it: it does not lie below the checkpoint's generation.
    NotBelowCheckpoint(Generation),
    /// There is no checkpoint that could be believed.
    NoCheckpoint(Anchor),
    /// A database (its index) needs it.
    RequiredBy(usize),
    /// It follows the logs that a database (its index) needs, and a recovery replays it after them.
    AfterRequired(usize),
    /// It cannot be told what a database (its index) needs.
    UnknownNeeds(usize),
    /// When the backup began that is to make it needless, recovery needed it.
    NeededAtBegin(Generation),
    /// The full backup with this number begins after it.
    SupersededBy(u64),
    /// The backup with this number holds it.
    HeldBy(u64),
    /// No backup makes it needless for a database (its index): the newest proven one ends with this generation.
    NotCovered(usize, Generation),
    /// A database (its index) is in no full backup that was proven.
    NeverBackedUp(usize),
    /// No database of the stream lies in the storage, so that nobody knows who needs it.
    NoDatabase,
    /// There are logs that cannot be told apart from those that are needed.
    DoubtfulLogs,
    /// An older log stays.
    AboveKept(Generation),
}

impl Reason {
    /// Whether it keeps a log.
    pub fn keeps(&self) -> bool {
        !matches!(self, Self::BelowCheckpoint(_) | Self::SupersededBy(_) | Self::HeldBy(_))
    }
}

/// A log, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The log.
    pub generation: Generation,
    /// What becomes of it.
    pub fate: Fate,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// How far backups make logs needless for one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cover {
    /// The full backup at the beginning.
    full: u64,
    /// Its first log: all before it are superseded.
    first: Generation,
    /// The first generation that no backup holds as it is now.
    end: Generation,
}

/// Decides for every good log, oldest first. `ceiling` is what the checkpoint and the databases needed when the backup
/// began that is to make logs needless, 0 where that is not known; none where no such backup is meant. The smaller wins.
///
/// Those that may go are the oldest ones without exception: a log that stays keeps all newer ones.
pub fn decide(situation: &Situation, backups: &[Backup], ceiling: Option<Generation>) -> Vec<Decided> {
    let mut logs: Vec<LogState> = situation.logs.clone();
    logs.sort_by_key(|log| (log.generation, !log.is_closed));
    // Where the current one is missing, the newest stands for it.
    let current = logs.iter().map(|log| log.generation).max().unwrap_or_default();
    let backups = &of_these_times(backups, current);
    let covers: Vec<Option<Cover>> = situation.databases.iter().map(|database| cover(&database.key, backups)).collect();
    let mut oldest_kept = None;
    let decide_one = |log: LogState| {
        let generation = log.generation;
        let mut reasons = needs_of(situation, generation);
        if !log.is_closed || generation >= current {
            reasons.insert(0, Reason::Current);
        }
        if log.is_left_out {
            reasons.push(Reason::LeftOut);
        }
        if let Some(ceiling) = ceiling.filter(|ceiling| generation >= *ceiling) {
            reasons.push(Reason::NeededAtBegin(ceiling));
        }
        let fate = needless(situation, &covers, backups, generation, &mut reasons);
        if let Some(kept) = oldest_kept {
            reasons.push(Reason::AboveKept(kept));
        }
        let stays = reasons.iter().any(Reason::keeps);
        if stays {
            oldest_kept.get_or_insert(generation);
        }
        Decided { generation, fate: if stays { Fate::Kept } else { fate }, reasons }
    };
    logs.into_iter().map(decide_one).collect()
}

/// The sequence numbers of the backups on which the decision rests: somebody should look whether they are still what they
/// were.
pub fn relied_on(situation: &Situation, backups: &[Backup]) -> BTreeSet<u64> {
    let current = situation.logs.iter().map(|log| log.generation).max().unwrap_or_default();
    let backups = &of_these_times(backups, current);
    let of_stream = situation.databases.iter().filter(|database| database.is_of_stream);
    let covers: Vec<_> = of_stream.map(|database| cover(&database.key, backups)).collect();
    holders(&covers, backups)
}

/// The full backups of some covers, and the increments on top of them.
fn holders(covers: &[Option<Cover>], backups: &[Backup]) -> BTreeSet<u64> {
    let fulls: BTreeSet<u64> = covers.iter().flatten().map(|cover| cover.full).collect();
    let fulls = backups.iter().filter(|backup| fulls.contains(&backup.sequence));
    fulls.flat_map(|full| reach(full, backups).into_keys()).collect()
}

/// Without those that hold later logs than there are: the instance was put back to an earlier state since, and its logs of
/// the same numbers are other ones now.
fn of_these_times(backups: &[Backup], current: Generation) -> Vec<Backup> {
    let is_earlier = |backup: &&Backup| backup.logs.is_none_or(|(_, high)| high <= current);
    backups.iter().filter(is_earlier).cloned().collect()
}

/// What the instance itself says of a log.
fn needs_of(situation: &Situation, generation: Generation) -> Vec<Reason> {
    let mut reasons = vec![match situation.checkpoint {
        Some(Anchor::At(checkpoint)) if generation < checkpoint => Reason::BelowCheckpoint(checkpoint),
        Some(Anchor::At(checkpoint)) => Reason::NotBelowCheckpoint(checkpoint),
        Some(anchor) => Reason::NoCheckpoint(anchor),
        None => Reason::NoCheckpoint(Anchor::Missing),
    }];
    for (index, database) in situation.databases.iter().enumerate() {
        match &database.needs {
            Needs::Logs(low, high) if (low..=high).contains(&&generation) => reasons.push(Reason::RequiredBy(index)),
            Needs::Logs(low, _) if generation >= *low => reasons.push(Reason::AfterRequired(index)),
            Needs::Unknown(_) => reasons.push(Reason::UnknownNeeds(index)),
            Needs::Logs(..) | Needs::Nothing => {}
        }
    }
    if situation.has_doubtful_logs {
        reasons.push(Reason::DoubtfulLogs);
    }
    reasons
}

/// How far the full backup of a database that reaches furthest goes, with the incremental ones that join onto it.
fn cover(database: &DatabaseKey, backups: &[Backup]) -> Option<Cover> {
    let fulls = backups.iter().filter(|backup| backup.is_proven && backup.is_full);
    let covers = fulls.filter(|backup| backup.databases.contains(database)).filter_map(|backup| {
        let (first, _) = backup.logs?;
        let end = reach(backup, backups).into_values().max()?;
        Some(Cover { full: backup.sequence, first, end })
    });
    covers.max_by_key(|cover| (cover.end, cover.first, cover.full))
}

/// A full backup and the proven increments that build on it without a gap between their logs, each by its sequence number
/// with the first generation that is not held up to there. An increment on another backup is worth nothing without that.
fn reach(full: &Backup, backups: &[Backup]) -> BTreeMap<u64, Generation> {
    let Some((_, end)) = full.logs else { return BTreeMap::new() };
    let mut reached = BTreeMap::from([(full.sequence, end)]);
    let mut increments: Vec<_> = backups.iter().filter(|backup| backup.is_proven && !backup.is_full).collect();
    increments.sort_by_key(|backup| backup.sequence); // each after what it builds on
    for backup in increments {
        let Some(((low, high), parent)) = backup.logs.zip(backup.parent) else { continue };
        if let Some(end) = reached.get(&parent).copied().filter(|end| low <= *end) {
            reached.insert(backup.sequence, end.max(high));
        }
    }
    reached
}

/// Why a log is needless, or for whom it is not.
fn needless(
    situation: &Situation,
    covers: &[Option<Cover>],
    backups: &[Backup],
    generation: Generation,
    reasons: &mut Vec<Reason>,
) -> Fate {
    let mut superseded = None;
    let mut is_held = false;
    let mut is_needed = false;
    let of_stream = situation.databases.iter().zip(covers).enumerate().filter(|(_, (it, _))| it.is_of_stream);
    for (index, (_, cover)) in of_stream {
        match cover {
            None => reasons.push(Reason::NeverBackedUp(index)),
            Some(cover) if generation >= cover.end => reasons.push(Reason::NotCovered(index, cover.end)),
            Some(cover) if generation >= cover.first => is_held = true,
            Some(cover) => superseded = superseded.max(Some(cover.full)),
        }
        is_needed |= cover.is_none_or(|cover| generation >= cover.end);
    }
    if is_needed {
        return Fate::Kept;
    }
    let known = holders(covers, backups);
    let holder = || backups.iter().rfind(|backup| known.contains(&backup.sequence) && holds(backup, generation));
    match (is_held.then(holder).flatten(), superseded) {
        (Some(holder), _) => {
            reasons.push(Reason::HeldBy(holder.sequence));
            Fate::Held(holder.sequence)
        }
        (None, Some(full)) if !is_held => {
            reasons.push(Reason::SupersededBy(full));
            Fate::Superseded(full)
        }
        _ => {
            reasons.push(Reason::NoDatabase);
            Fate::Kept
        }
    }
}

/// Whether a backup holds a log as it is once it is closed: its last one was still written when it was copied.
fn holds(backup: &Backup, generation: Generation) -> bool {
    backup.logs.is_some_and(|(low, high)| low <= generation && generation < high)
}
