//! Going on from a session that came to nothing: what it had proven is taken over into the partial of a new one.
//!
//! A file is taken over if what it was when it was read is what it is now (device, inode, size, both times, mode), and if it
//! had not changed so shortly before that a later change might not show. Its copy gets another name in the new partial,
//! its record a line there; then the session is begun with that, and only then the earlier partial goes. So there is
//! no moment at which a crash loses what was proven: whoever comes next finds one of the two partials, or both.
//!
//! Of whole files nothing is read again, not even the copy: that was durable before it counted. What is begun is read
//! back from the copy when it is gone on with (`stream/kept.rs`).

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::adopt::Batches;
use super::heal::{self, Fate};
use super::records::RecordFile;
use super::unchanged::is_settled;
use super::{Observer, Warning};
use crate::engine::Entry;
use crate::engine::files::FilesEngine;
use crate::engine::plan::PlanReader;
use crate::error::{Result, printable};
use crate::repository::Repository;
use crate::repository::blocks;
use crate::repository::file_list::ReadRecord;
use crate::repository::manifest::Link;
use crate::repository::partial::{Found, Owner, Partial, Terms};
use crate::repository::read_records::{HalfRecord, Lookup, Place, RecordLine};
use crate::repository::store::{Held, Store};
use crate::roots::{self, Roots};
use crate::session::directory::StateDirectory;
use crate::session::event::{Event, Phase};
use crate::session::record::Resumed;
use crate::stream::earlier::Within;
use crate::stream::source::{Proof, Stamp};
use crate::stream::stop::StopToken;

/// The reader of a new session who has what was taken over; he never lived.
pub const HEIR: u32 = 1;
/// The record file of the logs that were taken over, by their numbers in the earlier session's list.
pub const LOGS: u32 = 0;

/// A partial from which a session may go on; nobody else does as long as we hold it.
pub struct Candidate {
    found: Found,
    owner: Owner,
    began_ns: i128,
    _held: Box<dyn Held>,
}

/// The partials of a repository from which a session with these terms may go on, the newest first.
pub fn candidates(
    repository: &Repository,
    state: &StateDirectory,
    terms: &Terms,
    parent: Option<&Link>,
    stop: &StopToken,
) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for found in repository.partials()? {
        let Some(owner) = found.owner.clone().filter(|owner| owner.fits(terms, parent)) else { continue };
        let Some(began) = owner.began else { continue };
        if !matches!(heal::fate(&found, state, false, &|| found.partial.is_nobodys(stop))?, Fate::Dead | Fate::Kept) {
            continue;
        }
        let Some(held) = found.partial.try_hold()? else { continue };
        // It may have gone between the look and the lock, or have been found out.
        let now = found.partial.owner().filter(|now| now.session == owner.session && now.fits(terms, parent));
        if let Some(owner) = now
            && found.partial.is_where_it_was_made(&owner)?
        {
            candidates.push(Candidate { found, owner, began_ns: began.as_nanosecond(), _held: held });
        }
    }
    candidates.sort_by(|a, b| (b.began_ns, &b.owner.session).cmp(&(a.began_ns, &a.owner.session)));
    Ok(candidates)
}

/// What a new session reads, and into what.
pub struct Heir<'a> {
    /// Its partial.
    pub partial: &'a Partial,
    /// Its list of databases.
    pub plan: &'a Path,
    /// The storage as files.
    pub files: &'a FilesEngine,
    /// The directories beside the storage.
    pub roots: &'a Roots,
    /// Whether damaged pages are copied as they are.
    pub accepts_damage: bool,
}

/// What was taken over.
#[derive(Default)]
pub struct Inheritance {
    /// What is told of it.
    pub resumed: Resumed,
    /// What the journal of the new session begins with.
    pub events: Vec<Event>,
    /// Bytes of the files in the list of databases that stand in the new partial.
    pub allocated: u64,
    /// One of the partials was kept on purpose.
    pub is_kept: bool,
    /// Files that have changed since.
    changed: u64,
    /// By numbers of the candidates: something of it was taken over.
    used: Vec<bool>,
}

/// What a candidate has, by keys of roots and paths.
struct Known {
    lookup: Lookup,
    whole: HashMap<u64, Place>,
    half: HashMap<u64, Box<HalfRecord>>,
    logs: Vec<Place>,
}

/// What may be taken over of a record, and what not.
enum Answer {
    Taken,
    Changed,
    No,
}

struct Work<'a> {
    heir: &'a Heir<'a>,
    store: &'a dyn Store,
    keys: RandomState,
    candidates: &'a [Candidate],
    out: RecordFile,
    inheritance: Inheritance,
    /// Keys of what some candidate has read as a log, and whether it is one no more: the list of databases has it.
    logs: HashMap<u64, bool>,
}

/// Takes over what the candidates have of what a new session is to read. Durable when it returns.
pub fn take_over(candidates: &[Candidate], heir: &Heir<'_>, stop: &StopToken) -> Result<Inheritance> {
    let store = &**heir.partial.repository().store();
    let mut work = Work {
        heir,
        store,
        keys: RandomState::new(),
        candidates,
        out: RecordFile::create(&heir.partial.records(), HEIR, heir.roots.clone())?,
        inheritance: Inheritance { used: vec![false; candidates.len()], ..Inheritance::default() },
        logs: HashMap::new(),
    };
    let mut known = candidates.iter().map(|candidate| work.known(candidate)).collect::<Vec<_>>();
    let mut batches = Batches::new(Phase::Databases, HEIR);
    let mut plan = PlanReader::open(heir.plan, 0)?;
    loop {
        stop.check()?;
        let offset = plan.offset();
        let Some(entry) = plan.next_entry()? else { break };
        let is_whole = work.entry(&entry, batches.next(), &mut known)?;
        batches.add(entry.bytes_to_read(), (offset, plan.offset()), is_whole);
    }
    let logs = work.logs(&mut known)?;
    let Work { mut out, mut inheritance, .. } = work;
    out.flush()?;
    let point = out.point(Vec::new());
    store.sync()?;
    out.note_proven(&point)?;
    if let Some(mut logs) = logs {
        let point = logs.point(Vec::new());
        logs.note_proven(&point)?;
    }
    store.sync()?;
    inheritance.events = batches.finish(&point);
    let first = inheritance.used.iter().position(|used| *used);
    inheritance.resumed.session = first.map(|first| candidates[first].owner.session.clone()).unwrap_or_default();
    let mut used = candidates.iter().zip(&inheritance.used).filter(|(_, used)| **used);
    inheritance.is_kept = used.any(|(candidate, _)| candidate.owner.kept);
    Ok(inheritance)
}

impl Inheritance {
    /// Whether nothing was taken over.
    pub fn is_empty(&self) -> bool {
        !self.used.contains(&true)
    }

    /// Tells what was taken over, and gets rid of the partials that nobody needs any more.
    pub fn settle(&self, candidates: Vec<Candidate>, observer: &mut dyn Observer) {
        if !self.is_empty() {
            let Resumed { session, files, bytes } = &self.resumed;
            let files = if *files == 1 { "1 file".to_owned() } else { format!("{files} files") };
            let changed = match self.changed {
                0 => String::new(),
                changed => format!("; {changed} changed since then"),
            };
            let size = indicatif::BinaryBytes(*bytes);
            observer
                .said(&format!("goes on from the session {session}: {files}, {size} need not be read again{changed}"));
        }
        for (candidate, used) in candidates.into_iter().zip(self.used.iter().chain(std::iter::repeat(&false))) {
            if candidate.owner.kept && !used {
                continue; // kept on purpose until a backup is published
            }
            match candidate.found.partial.discard() {
                Ok(true) if !used => {
                    let name = printable(&candidate.found.name);
                    observer.said(&format!("removed what the dead session {name} left in the repository"));
                }
                Ok(_) => {}
                Err(error) => {
                    // The new session has all of it; whatever stays, the next one removes.
                    observer.warning(&Warning {
                        jet: error.jet_code(),
                        message: error.message().to_owned(),
                        file: None,
                    });
                }
            }
        }
    }
}

impl Work<'_> {
    fn key(&self, root: &str, path: &Path) -> u64 {
        self.keys.hash_one((root, path.as_os_str().as_bytes()))
    }

    /// What a candidate has. Records that cannot be read are none: nothing depends on them.
    fn known(&mut self, candidate: &Candidate) -> Known {
        let home = candidate.found.partial.records();
        let (mut whole, mut half, mut logs) = (HashMap::new(), HashMap::<u64, Box<HalfRecord>>::new(), Vec::new());
        for (reader, proven) in home.proven().unwrap_or_default() {
            let read = home.read(reader, proven, &mut |offset, line| {
                match line {
                    RecordLine::Read(record) if record.phase == Phase::Logs => {
                        logs.push((reader, offset));
                        if let Some(path) = record.line.path() {
                            self.logs.insert(self.key(&record.line.root, &path), false);
                        }
                    }
                    RecordLine::Read(record) => {
                        if let Some(path) = record.line.path().filter(|_| record.line.role.is_file()) {
                            whole.insert(self.key(&record.line.root, &path), (reader, offset));
                        }
                    }
                    RecordLine::Half(record) if record.phase == Phase::Databases => {
                        if let Some(path) = record.path() {
                            let known = half.entry(self.key(&record.root, &path)).or_insert_with(|| record.clone());
                            if record.supersedes(known.stamp, known.bytes) {
                                *known = record;
                            }
                        }
                    }
                    RecordLine::Half(_) | RecordLine::Proven(_) => {}
                }
                Ok(())
            });
            if read.is_err() {
                (whole, half, logs) = (HashMap::new(), HashMap::new(), Vec::new());
                break;
            }
        }
        Known { lookup: Lookup::new(&home), whole, half, logs }
    }

    /// Takes over what there is of an entry; whether it is all of it, or a part, or nothing.
    fn entry(&mut self, entry: &Entry, index: u64, known: &mut [Known]) -> Result<Option<bool>> {
        let Some((root, path)) = self.heir.roots.place(&entry.path) else { return Ok(None) };
        let key = self.key(root, path);
        if let Some(is_none_now) = self.logs.get_mut(&key) {
            *is_none_now = true;
        }
        if !entry.role.is_file() || entry.hard_link.is_some() {
            return Ok(None); // there is nothing to read of it
        }
        let (mut has_changed, mut taken) = (false, None);
        for (number, (candidate, known)) in self.candidates.iter().zip(known).enumerate() {
            if let Some(place) = known.whole.get(&key) {
                let Ok(record) = known.lookup.at(*place) else { continue };
                let is_it = (record.line.root.as_str(), record.line.path().as_deref()) == (root, Some(path))
                    && (record.line.role, record.line.generation) == (entry.role, entry.generation);
                match if is_it { self.whole(candidate, &record, &entry.path)? } else { Answer::No } {
                    Answer::No => {}
                    Answer::Changed => has_changed = true,
                    Answer::Taken => {
                        self.add(candidate, ReadRecord { index, ..record })?;
                        self.inheritance.allocated = self.inheritance.allocated.saturating_add(entry.allocated);
                        taken = Some((number, true));
                        break;
                    }
                }
            }
            let half = known.half.get(&key);
            let is_it = |half: &&HalfRecord| half.root == root && half.path().as_deref() == Some(path);
            if let Some(half) = half.map(|half| &**half).filter(is_it).filter(|_| entry.earlier.is_none()) {
                match self.half(candidate, half, &entry.path)? {
                    Answer::No => {}
                    Answer::Changed => has_changed = true,
                    Answer::Taken => {
                        let began_ns = half.began_ns.or(Some(candidate.began_ns));
                        self.inheritance.resumed.bytes = self.inheritance.resumed.bytes.saturating_add(half.bytes);
                        let allocated = entry.allocated.min(half.bytes);
                        self.inheritance.allocated = self.inheritance.allocated.saturating_add(allocated);
                        let mut half = half.clone();
                        (half.index, half.began_ns) = (index, began_ns);
                        self.out.add_half(&half)?;
                        taken = Some((number, false));
                        break;
                    }
                }
            }
        }
        if let Some((number, _)) = taken {
            self.inheritance.used[number] = true;
        } else {
            self.inheritance.changed += u64::from(has_changed);
        }
        Ok(taken.map(|(_, is_whole)| is_whole))
    }

    /// Writes the record of a file that stands in the new partial.
    fn add(&mut self, candidate: &Candidate, record: ReadRecord) -> Result<()> {
        let record = ReadRecord { began_ns: record.began_ns.or(Some(candidate.began_ns)), ..record };
        self.inheritance.resumed.files += 1;
        self.inheritance.resumed.bytes = self.inheritance.resumed.bytes.saturating_add(record.line.size);
        self.out.add_record(&record, record.line.size)
    }

    /// Takes over a file that was read as a whole.
    fn whole(&self, candidate: &Candidate, record: &ReadRecord, name: &Path) -> Result<Answer> {
        let line = &record.line;
        let is_damaged = line.pages.iter().flat_map(Proof::damaged).next().is_some();
        // A copy of a living database of SQLite is what one moment was: nothing tells whether it still is that.
        let may_be = line.is_sound()
            && line.hard_link().is_none()
            && line.sqlite.is_none()
            && (self.heir.accepts_damage || !is_damaged);
        if !may_be {
            return Ok(Answer::No);
        }
        if !self.is_still(name, &record.stamp, Some(record.mode), record.began_ns.unwrap_or(candidate.began_ns)) {
            return Ok(Answer::Changed);
        }
        let Some(place) = line.stored_path() else { return Ok(Answer::No) };
        let (from, to) = (candidate.found.partial.backup(), self.heir.partial.backup());
        let is_here = line.held.is_none();
        if is_here && line.within == Within::Data && !self.link(&from.join(&place), &to.join(&place), line.size)? {
            return Ok(Answer::No);
        }
        if let Some(of_blocks) = line.own_blocks() {
            let path = |folder: &Path| blocks::path_of(folder, &place);
            if !self.link(&path(&from), &path(&to), of_blocks.bytes)? {
                self.store.remove(&to.join(&place))?;
                return Ok(Answer::No);
            }
        }
        Ok(Answer::Taken)
    }

    /// Takes over a file that was begun.
    fn half(&self, candidate: &Candidate, half: &HalfRecord, name: &Path) -> Result<Answer> {
        if !self.is_still(name, &half.stamp, None, half.began_ns.unwrap_or(candidate.began_ns)) {
            return Ok(Answer::Changed);
        }
        let Some(place) = place_of(&half.root, half.path()) else { return Ok(Answer::No) };
        let (from, to) = (candidate.found.partial.backup().join(&place), self.heir.partial.backup().join(&place));
        let is_long = self.store.size(&from)?.is_some_and(|size| size >= half.bytes);
        Ok(if is_long && self.give_name(&from, &to)? { Answer::Taken } else { Answer::No })
    }

    /// Whether a file of the storage is what it was when it was read.
    fn is_still(&self, name: &Path, stamp: &Stamp, mode: Option<u32>, began_ns: i128) -> bool {
        let now = self.heir.files.stamp_and_mode(name);
        let is_same = now.is_some_and(|(now, its_mode)| now == *stamp && mode.is_none_or(|mode| mode == its_mode));
        is_same && is_settled(stamp.changed_ns, began_ns)
    }

    /// Gives a copy of so many bytes its name in the new partial; false where there is no such copy.
    fn link(&self, from: &Path, to: &Path, bytes: u64) -> Result<bool> {
        Ok(self.store.size(from)? == Some(bytes) && self.give_name(from, to)?)
    }

    fn give_name(&self, from: &Path, to: &Path) -> Result<bool> {
        match self.store.make_hard_link(from, to) {
            Err(error) if error.is_not_found() => Ok(false),
            made => made,
        }
    }

    /// Takes over logs: they are found by their names once they are listed. None where there are none.
    fn logs(&mut self, known: &mut [Known]) -> Result<Option<RecordFile>> {
        let mut out: Option<RecordFile> = None;
        let mut taken = HashSet::new();
        for (number, (candidate, known)) in self.candidates.iter().zip(known).enumerate() {
            for place in std::mem::take(&mut known.logs) {
                let Ok(record) = known.lookup.at(place) else { break };
                let Some(name) = record.line.name(self.heir.roots) else { continue };
                let key = self.heir.roots.place(&name).map(|(root, path)| self.key(root, path));
                // What is read before the logs would be in the place of what is removed when it is no log.
                let is_log = key.is_some_and(|key| self.logs.get(&key) == Some(&false));
                if !is_log
                    || !record.line.role.is_file()
                    || taken.contains(&name)
                    || !matches!(self.whole(candidate, &record, &name)?, Answer::Taken)
                {
                    continue;
                }
                let out = if let Some(out) = &mut out {
                    out
                } else {
                    let home = self.heir.partial.records();
                    out.insert(RecordFile::create(&home, LOGS, self.heir.roots.clone())?)
                };
                let size = record.line.size;
                let began_ns = record.began_ns.or(Some(candidate.began_ns));
                out.add_record(&ReadRecord { began_ns, ..record }, size)?;
                taken.insert(name);
                self.inheritance.used[number] = true;
                self.inheritance.resumed.files += 1;
                self.inheritance.resumed.bytes = self.inheritance.resumed.bytes.saturating_add(size);
            }
        }
        if let Some(out) = &mut out {
            out.flush()?;
        }
        Ok(out)
    }
}

/// Where the copy of a file is, below the folder of a backup.
fn place_of(root: &str, path: Option<PathBuf>) -> Option<PathBuf> {
    Some(roots::below(&roots::folder_of(root)?, &path?))
}
