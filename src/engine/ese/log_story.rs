//! What there is to tell of the logs of an instance: for whoever decides which of them may go, and for whoever asks why.
//! Pure: headers in, values out.

use std::path::{Path, PathBuf};

use super::chain::{Link, Misfit, misfits};
use super::fields::{Generation, LogTime, Signature};
use super::files::Found;
use super::header::DatabaseHeader;
use super::instance::{Instance, LogFile};
use super::log::{LogName, LogRole};
use super::ranges::Need;
use super::recognise::{Claim, Content};
use super::truncation::{Anchor, DatabaseKey, DatabaseState, Decided, LogState, Needs, Situation};
use crate::error::Jet;

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
    /// Each log with what was decided about it; nothing is decided about a doubtful one.
    pub fn with<'a>(&'a self, decided: &'a [Decided]) -> impl Iterator<Item = (&'a Told, Option<&'a Decided>)> {
        let mut decided = decided.iter();
        // Both are in the order of generations, the current log last.
        self.logs.iter().map(move |log| (log, if log.doubt.is_none() { decided.next() } else { None }))
    }
}

/// Tells of an instance. `signature` is that of its stream, `needs` what each of its databases needs, in its order;
/// `hidden` are databases of the storage that are no part of it, because they are left out as asked.
pub fn tell(
    instance: &Instance,
    storage: &Path,
    signature: Option<Signature>,
    needs: &[Need],
    hidden: Vec<DatabaseState>,
) -> LogStory {
    let mut story = LogStory { signature, ..LogStory::default() };
    let logs = instance.stream.as_ref().map_or(&[][..], |stream| &stream.logs);
    let misfits = misfits_of(logs, signature);
    for (index, log) in logs.iter().enumerate() {
        let header = log.header();
        let named = match log.name.role {
            LogRole::Archived(generation) => Some(generation),
            _ => None,
        };
        let misfit =
            misfits.iter().find(|(at, misfit)| *at == index && !is_harmless(*misfit)).map(|(_, misfit)| *misfit);
        let told = Told {
            path: log.found.path.to_path_buf(),
            size: log.found.size,
            generation: header.map(|header| header.generation).or(named),
            created: header.map(|header| header.created),
            is_current: named.is_none(),
            doubt: doubt(log, misfit, signature),
        };
        if told.doubt.is_some() {
            story.situation.has_doubtful_logs = true;
        } else if let Some(generation) = told.generation {
            story.situation.logs.push(LogState { generation, is_closed: !told.is_current });
        }
        story.logs.push(told);
    }
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
    story.gaps = gaps(&story.situation.logs);
    story.situation.checkpoint = Some(anchor(instance, signature));
    for ((found, header), need) in instance.headers().zip(needs) {
        story.situation.databases.push(state_of(found, header, *need, storage, signature));
    }
    for (found, claim) in &instance.damaged {
        if *claim == Claim::Database {
            story.situation.databases.push(unknown(&found.path, storage, "its header is damaged"));
        }
    }
    story.situation.databases.extend(hidden);
    story
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

/// What does not fit between the logs; the index is that of the log among all.
fn misfits_of(logs: &[LogFile], signature: Option<Signature>) -> Vec<(usize, Misfit)> {
    let good: Vec<_> = logs.iter().enumerate().filter_map(|(index, log)| Some((index, log, log.header()?))).collect();
    let links: Vec<_> = good.iter().map(|(_, log, header)| Link { name: &log.name, header }).collect();
    let found = misfits(&links, &signature.unwrap_or_default());
    found.into_iter().map(|(index, misfit)| (good[index].0, misfit)).collect()
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

fn anchor(instance: &Instance, signature: Option<Signature>) -> Anchor {
    match instance.checkpoint.as_ref().map(|found| &found.content) {
        None => Anchor::Missing,
        Some(Content::Checkpoint(checkpoint, _)) if Some(checkpoint.log_signature) == signature => {
            Anchor::At(checkpoint.position.generation)
        }
        Some(Content::Checkpoint(..)) => Anchor::Foreign,
        Some(_) => Anchor::Damaged,
    }
}

fn gaps(logs: &[LogState]) -> Vec<(Generation, Generation)> {
    let present: std::collections::BTreeSet<_> = logs.iter().map(|log| log.generation).collect();
    match (present.first(), present.last()) {
        (Some(low), Some(high)) => super::ranges::missing(*low, *high, &present),
        _ => Vec::new(),
    }
}
