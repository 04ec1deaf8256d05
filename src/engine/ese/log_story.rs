//! What there is to tell of the logs of an instance: for whoever decides which of them may go, and for whoever asks why.
//! Pure: headers in, values out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::chain::{Link, Misfit, misfits};
use super::fields::{Generation, LogTime, Signature};
use super::files::Found;
use super::header::DatabaseHeader;
use super::increment::Now;
use super::instance::{Instance, LogFile};
use super::log::{LogName, LogRole};
use super::ranges::{Need, span};
use super::recognise::{Claim, Content};
use super::truncation::{
    Anchor, Backup, DatabaseKey, DatabaseState, Decided, LogState, Needs, Reason, Situation, relied_on,
};
use crate::error::{Jet, Result, printable};

impl Anchor {
    /// Why nothing can go, or what there is, in words for people.
    pub fn words(self) -> String {
        match self {
            Self::At(generation) => format!("the checkpoint is {generation}"),
            Self::Missing => "there is no checkpoint".to_owned(),
            Self::Damaged => "both copies of the checkpoint are damaged".to_owned(),
            Self::Differs => "the checkpoint says two different things".to_owned(),
            Self::Beyond(generation) => format!("the checkpoint names log {generation}, which is not there"),
            Self::Foreign => "the checkpoint is of another stream".to_owned(),
        }
    }
}

/// The logs of an instance, and what decides about them.
#[derive(Clone, Debug, Default)]
pub struct LogStory {
    /// What decides.
    pub situation: Situation,
    /// Who the stream is; none where no log and no database says so.
    pub signature: Option<Signature>,
    /// Every log of the stream, by generation; those with a damaged header by their name.
    pub logs: Vec<Told>,
    /// The runs of generations that are not there, between the oldest and the newest log.
    pub gaps: Vec<(Generation, Generation)>,
    /// What decides whether logs join onto an earlier backup.
    pub now: Now,
}

/// A log of the stream.
#[derive(Clone, Debug)]
pub struct Told {
    /// As it was reached.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// What its header says, else its name.
    pub generation: Option<Generation>,
    /// When it was begun, where its header says so.
    pub created: Option<LogTime>,
    /// It is the one that is written.
    pub is_current: bool,
    /// Why it cannot be believed, with the number that a listing would give.
    pub doubt: Option<(Jet, String)>,
}

impl LogStory {
    /// When each log that is there was begun.
    pub fn present(&self) -> Present {
        let times = self.logs.iter().filter(|log| log.doubt.is_none());
        times.filter_map(|log| Some((log.generation?.0, log.created?))).collect()
    }

    /// Withdraws the proof of those backups on which the decision would rest and about which there are doubts: `doubt`
    /// says which. What this session has published itself (`own`) was looked at. Returns the doubts, by sequence number.
    pub fn trust(
        &self,
        backups: &mut [Backup],
        own: Option<u64>,
        doubt: &dyn Fn(u64, &Present) -> Result<Option<String>>,
    ) -> Result<Vec<(u64, String)>> {
        let (present, mut looked_at, mut doubts) = (self.present(), HashSet::new(), Vec::new());
        // What it builds on was not read back with it.
        let stands_alone = |sequence: &u64| backups.iter().any(|it| it.sequence == *sequence && it.parent.is_none());
        looked_at.extend(own.filter(stands_alone));
        while let Some(next) =
            relied_on(&self.situation, backups).into_iter().find(|sequence| !looked_at.contains(sequence))
        {
            looked_at.insert(next);
            let Some(why) = doubt(next, &present)? else { continue };
            backups.iter_mut().filter(|backup| backup.sequence == next).for_each(|backup| backup.is_proven = false);
            doubts.push((next, why));
        }
        Ok(doubts)
    }

    /// A reason in words for people; `knows_backups` says whether a repository was asked.
    pub fn words(&self, reason: &Reason, knows_backups: bool) -> String {
        let database = |index: &usize| match self.situation.databases.get(*index) {
            Some(database) => (printable(&database.key.path), Some(&database.needs)),
            None => ("a database".to_owned(), None),
        };
        match reason {
            Reason::Current => "the current log".to_owned(),
            Reason::LeftOut => "left out as asked".to_owned(),
            Reason::BelowCheckpoint(checkpoint) => format!("below checkpoint {checkpoint}"),
            Reason::NotBelowCheckpoint(checkpoint) => format!("not below checkpoint {checkpoint}"),
            Reason::NoCheckpoint(anchor) => anchor.words(),
            Reason::RequiredBy(index) => match database(index) {
                (name, Some(Needs::Logs(low, high))) => format!("required by {name} ({})", span(*low, *high)),
                (name, _) => format!("required by {name}"),
            },
            Reason::AfterRequired(index) => format!("follows what {} requires", database(index).0),
            Reason::UnknownNeeds(index) => match database(index) {
                (name, Some(Needs::Unknown(why))) => format!("{name} may need it: {why}"),
                (name, _) => format!("{name} may need it"),
            },
            Reason::NeededAtBegin(Generation(0)) => "what was needed when the backup began is not known".to_owned(),
            Reason::NeededAtBegin(generation) => format!("needed from {generation} on when the backup began"),
            Reason::SupersededBy(sequence) => format!("superseded by backup {sequence}"),
            Reason::HeldBy(sequence) => format!("held by backup {sequence}"),
            Reason::NotCovered(index, end) => {
                format!("the backups that hold {} end with log {end}", database(index).0)
            }
            Reason::NeverBackedUp(index) if knows_backups => {
                format!("{} is in no full backup that was proven", database(index).0)
            }
            Reason::NeverBackedUp(index) => format!("no backup of {} is known", database(index).0),
            Reason::NoDatabase => "no database of its stream is in the storage".to_owned(),
            Reason::DoubtfulLogs => "there are logs that cannot be believed".to_owned(),
            Reason::AboveKept(generation) => format!("{generation} stays as well"),
        }
    }

    /// Each log with what was decided about it; nothing is decided about a doubtful one.
    pub fn with<'a>(&'a self, decided: &'a [Decided]) -> impl Iterator<Item = (&'a Told, Option<&'a Decided>)> {
        let mut decided = decided.iter();
        // Both are in the order of generations, the current log last.
        self.logs.iter().map(move |log| (log, if log.doubt.is_none() { decided.next() } else { None }))
    }
}

/// When each log that is there was begun, by its generation.
pub type Present = BTreeMap<u32, LogTime>;

/// What is known beside an instance itself.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Databases, or what may hold some, that are no part of the instance.
    pub databases: Vec<DatabaseState>,
    /// Logs that are left out as asked.
    pub left_out: HashSet<PathBuf>,
}

/// Tells of an instance. `signature` is that of its stream, `needs` what each of its databases needs, in its order.
pub fn tell(
    instance: &Instance,
    storage: &Path,
    signature: Option<Signature>,
    needs: &[Need],
    beside: Beside,
) -> LogStory {
    let now = Now::of(instance, signature.as_ref(), storage);
    let mut story = LogStory { signature, now, ..LogStory::default() };
    tell_logs(instance, signature, &beside.left_out, &mut story);
    for (path, error) in &instance.failed {
        let role = path.file_name().and_then(LogName::parse).map(|name| name.role);
        if matches!(role, Some(LogRole::Current | LogRole::Temporary | LogRole::Reserve)) {
            continue; // an engine at work locks the current one; then the newest closed one stays as well
        }
        if role.is_some() {
            story.situation.has_doubtful_logs = true;
            let doubt = Some((error.jet_code().unwrap_or(Jet::DiskIO), error.message().to_owned()));
            let (path, generation) = (path.clone(), None);
            story.logs.push(Told { path, size: 0, generation, created: None, is_current: false, doubt });
        } else {
            story.situation.databases.push(unknown(path, storage, error.message()));
        }
    }
    story.logs.sort_by_key(|log| (log.generation, log.is_current));
    story.gaps = gaps(&story.logs);
    story.situation.checkpoint = Some(anchor(instance, signature, &story.situation.logs));
    for ((found, header), need) in instance.headers().zip(needs) {
        story.situation.databases.push(state_of(found, header, *need, storage, signature));
    }
    for (found, claim) in &instance.damaged {
        if *claim == Claim::Database {
            story.situation.databases.push(unknown(&found.path, storage, "its header is damaged"));
        }
    }
    for suspect in instance.suspects.iter().filter(|suspect| is_wiped(suspect)) {
        story.situation.databases.push(unknown(
            &suspect.path,
            storage,
            "it has the name of a database, and holds none",
        ));
    }
    story.situation.databases.extend(beside.databases);
    tell_attached(instance, &mut story);
    story
}

fn tell_logs(instance: &Instance, signature: Option<Signature>, left_out: &HashSet<PathBuf>, story: &mut LogStory) {
    let logs = instance.stream.as_ref().map_or(&[][..], |stream| &stream.logs);
    let misfits = misfits_of(logs, signature);
    for (index, log) in logs.iter().enumerate() {
        let header = log.header();
        let named = match log.name.role {
            LogRole::Archived(generation) => Some(generation),
            _ => None,
        };
        let told = Told {
            path: log.found.path.to_path_buf(),
            size: log.found.size,
            generation: header.map(|header| header.generation).or(named),
            created: header.map(|header| header.created),
            is_current: named.is_none(),
            doubt: doubt(log, misfits.get(&index).copied(), signature),
        };
        if told.doubt.is_some() {
            story.situation.has_doubtful_logs = true;
        } else if let Some(generation) = told.generation {
            let is_left_out = left_out.contains(&told.path);
            story.situation.logs.push(LogState { generation, is_closed: !told.is_current, is_left_out });
        }
        story.logs.push(told);
    }
}

/// Whether a file that holds nothing of the engine stands where a database stood, as far as its name tells: nothing but
/// the engine's databases is called `.edb` or `.dit`, and no program's file is empty.
fn is_wiped(suspect: &Found) -> bool {
    let extension = suspect.path.extension().map(std::ffi::OsStr::to_ascii_lowercase).unwrap_or_default();
    let is_empty = matches!(suspect.content, Content::Empty | Content::Zero | Content::Fill | Content::LfsPointer);
    extension == "edb" || extension == "dit" || (is_empty && (extension == "mdb" || extension == "sdb"))
}

/// The newest log lists the databases that are attached to the stream; one that lies elsewhere needs it as well (§3.3).
fn tell_attached(instance: &Instance, story: &mut LogStory) {
    let headers = instance.stream.iter().flat_map(|stream| &stream.logs).filter_map(LogFile::header);
    let ours = headers.filter(|header| Some(header.signature) == story.signature);
    let newest = ours.max_by_key(|header| header.generation).map(|header| &header.attachments[..]);
    for attachment in newest.unwrap_or_default() {
        let signature = attachment.signature.to_hex();
        let is_known = story.situation.databases.iter().any(|database| database.key.signature == signature);
        if !is_known && !attachment.signature.is_unset() {
            let path = attachment.names.first().cloned().unwrap_or_default().into();
            story.situation.databases.push(DatabaseState {
                key: DatabaseKey { path, signature },
                is_of_stream: true,
                needs: Needs::Nothing, // the checkpoint of the stream takes care of what it needs for a recovery
            });
        }
    }
}

/// `log 6 (0x6) is`, `logs 6-7 (0x6-0x7) are`, for what follows.
pub fn subject(low: Generation, high: Generation) -> String {
    let (noun, verb) = if low == high { ("log", "is") } else { ("logs", "are") };
    format!("{noun} {} {verb}", span(low, high))
}

/// What a database needs of the logs of a stream.
pub fn state_of(
    found: &Found,
    header: &DatabaseHeader,
    need: Need,
    storage: &Path,
    stream: Option<Signature>,
) -> DatabaseState {
    let needs = match need {
        // What the engine's own backup has made is restored as a whole; nobody but the engine judges that (decision 15).
        _ if header.is_backup_copy() => Needs::Unknown("it is a copy that the engine's own backup made".to_owned()),
        Need::Nothing => Needs::Nothing,
        Need::Logs(required) => Needs::Logs(required.low, required.committed),
        Need::NoStream => Needs::Unknown("it was not shut down, and names no logs".to_owned()),
        Need::Unusable(_) => Needs::Unknown(format!("its state is {}", header.state.name())),
    };
    let is_of_stream = stream.is_some_and(|stream| header.log_signature == stream);
    // The logs of this stream are of no use to a database of another one.
    let is_of_another = header.has_log_stream() && stream.is_some() && !is_of_stream;
    let needs = if is_of_another { Needs::Nothing } else { needs };
    DatabaseState { key: key_of(&found.path, storage, header.signature.to_hex()), is_of_stream, needs }
}

/// A database of which nothing is known but where it lies, or may lie.
pub fn unknown(path: &Path, storage: &Path, why: &str) -> DatabaseState {
    DatabaseState {
        key: key_of(path, storage, String::new()),
        is_of_stream: true,
        needs: Needs::Unknown(why.to_owned()),
    }
}

fn key_of(path: &Path, storage: &Path, signature: String) -> DatabaseKey {
    DatabaseKey { path: path.strip_prefix(storage).unwrap_or(path).to_owned(), signature }
}

/// What does not fit between the logs, by the index of the log among all; of several things the first.
fn misfits_of(logs: &[LogFile], signature: Option<Signature>) -> HashMap<usize, Misfit> {
    let good: Vec<_> = logs.iter().enumerate().filter_map(|(index, log)| Some((index, log, log.header()?))).collect();
    let links: Vec<_> = good.iter().map(|(_, log, header)| Link { name: &log.name, header }).collect();
    let mut found = HashMap::new();
    for (index, misfit) in misfits(&links, &signature.unwrap_or_default()) {
        if !is_harmless(misfit) {
            found.entry(good[index].0).or_insert(misfit);
        }
    }
    found
}

/// A gap, or a break below the logs that a backup takes, says nothing about the others.
fn is_harmless(misfit: Misfit) -> bool {
    matches!(misfit, Misfit::Gap(..) | Misfit::PreviousTime)
}

/// Why a log cannot be told apart from one that is needed (decision 4).
fn doubt(log: &LogFile, misfit: Option<Misfit>, signature: Option<Signature>) -> Option<(Jet, String)> {
    let Some(header) = log.header() else {
        return Some((Jet::LogReadVerifyFailure, "its header cannot be read".to_owned()));
    };
    if Some(header.signature) != signature {
        return Some((Jet::BadLogSignature, "it is of another log stream".to_owned()));
    }
    let misfit = misfit?;
    let what = match misfit {
        Misfit::Gap(..) | Misfit::PreviousTime => return None,
        Misfit::Foreign => "it is of another log stream".to_owned(),
        Misfit::Misnamed => format!("its header says generation {}", header.generation),
        Misfit::Duplicate(_) => format!("another log is of generation {} as well", header.generation),
        Misfit::CurrentIsOld => "it is the current log, and older than a closed one".to_owned(),
        Misfit::Impossible => "its generation is impossible".to_owned(),
    };
    Some((misfit.jet(), what))
}

/// What the checkpoints of this stream say; where there are several, none of them is believed if one disagrees.
fn anchor(instance: &Instance, signature: Option<Signature>, logs: &[LogState]) -> Anchor {
    let (checkpoint, copies) = match instance.checkpoint.as_ref().map(|found| &found.content) {
        None => return Anchor::Missing,
        Some(Content::Checkpoint(checkpoint, copies)) => (checkpoint, copies),
        Some(_) => return Anchor::Damaged,
    };
    if Some(checkpoint.log_signature) != signature {
        return Anchor::Foreign;
    }
    let generation = checkpoint.position.generation;
    let disagrees = |other: &Found| match &other.content {
        Content::Checkpoint(other, _) => {
            Some(other.log_signature) == signature && other.position.generation != generation
        }
        _ => false,
    };
    if copies.differ() || instance.other_checkpoints.iter().any(disagrees) {
        return Anchor::Differs;
    }
    // Where the current log is missing, the checkpoint may name it all the same.
    let next = logs.iter().map(|log| if log.is_closed { log.generation.next() } else { log.generation }).max();
    if next.is_some_and(|next| generation > next) { Anchor::Beyond(generation) } else { Anchor::At(generation) }
}

/// What is not there, however doubtful that may be which is.
fn gaps(logs: &[Told]) -> Vec<(Generation, Generation)> {
    let present: BTreeSet<_> = logs.iter().filter_map(|log| log.generation).collect();
    match (present.first(), present.last()) {
        (Some(low), Some(high)) => super::ranges::missing(*low, *high, &present),
        _ => Vec::new(),
    }
}
