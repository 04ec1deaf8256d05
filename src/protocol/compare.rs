//! Comparing a storage with the list of the parent while it is surveyed, and the files that keep the answer.
//!
//! ```text
//! <session>/unchanged.jsonl      the list to be, in pieces: lines of the parent that are the same or gone, entries read
//! <session>/unchanged.names      a hash of the name of every file that is taken over, eight bytes each
//! <session>/earlier-logs.jsonl   what the parent has of the log phase, as entries of a plan
//! ```

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::parent::Parent;
use super::read_ahead::{Earlier, Naming, ReadAhead};
use super::spool::Spool;
use super::unchanged::{self, Ends, Hunk, Known, Merge, Terms, Verdict, name_hash};
use crate::engine::plan::PlanReader;
use crate::engine::{Entry, Role};
use crate::error::{Error, ExitCode, Result, printable};
use crate::repository::list_reader::{Expected, Line, ListReader, Resolved};
use crate::repository::list_script::Run;
use crate::repository::seal::Script;
use crate::roots::Roots;
use crate::session::directory::StateDirectory;
use crate::session::record::{self, Counts};
use crate::stream::earlier;
use crate::times;

/// The pieces of the list to be.
pub const HUNKS: &str = "unchanged.jsonl";
/// Hashes of the names of files that are taken over.
pub const NAMES: &str = "unchanged.names";
/// What the parent has of the log phase.
pub const LOGS: &str = "earlier-logs.jsonl";

/// The longest line of a file that only a session writes: numbers, or a place in a backup.
const LINE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// A comparison on its way.
pub struct Comparison {
    merge: Merge<Box<Resolved>, Files>,
    /// Entries of the plan that may be a file that had another name: their number in it, their inode, and whether the
    /// parent has a line of the same path.
    moved: Vec<(u64, u64, bool)>,
    read: u64,
}

/// What a comparison found, in files that begin moves into the session's folder.
pub struct Compared {
    /// What is taken over.
    pub unchanged: Counts,
    /// Nothing could be taken over from some point on, because a list was not in walk order.
    pub is_out_of_order: bool,
    /// The pieces of the list to be.
    pub hunks: Spool,
    /// Hashes of names.
    pub names: Spool,
    /// The parent's logs.
    pub logs: Spool,
}

impl Comparison {
    /// A comparison with the list of a backup; without a state directory nothing of it is kept. `wanted` is what
    /// [`Comparison::torn`] said of the comparison before; empty for the first one.
    pub fn begin(
        parent: &Parent,
        roots: Roots,
        terms: Terms,
        state: Option<&StateDirectory>,
        wanted: HashSet<u64>,
    ) -> Result<Self> {
        let store = parent.repository.store();
        let list = ListReader::stream(store, Expected::of(&parent.chain))?;
        let parts = parent.chain.parts();
        let now_ns = times::now().as_nanosecond();
        let vouches_until = |began: jiff::Timestamp| unchanged::vouches_until(began.as_nanosecond(), now_ns);
        let spool = || state.map_or_else(|| Ok(Spool::nowhere()), |state| Spool::create(state.path()));
        let naming = Arc::new(Naming {
            id: parent.chain.id().to_owned(),
            list: store.describe(&parts[0].folder.join("files.jsonl")),
            began_ns: parts.iter().map(|part| vouches_until(part.began)).collect(),
            roots,
            parent_roots: parent.chain.roots().clone(),
        });
        let files = Files {
            list: ReadAhead::begin(list, &naming)?,
            naming,
            first_log: None,
            unchanged: Counts::default(),
            hunks: spool()?,
            names: spool()?,
            logs: spool()?,
        };
        Ok(Self { merge: Merge::new(terms, files).with_read(wanted), moved: Vec::new(), read: 0 })
    }

    /// Files that were taken over although another name of them has to be read: they would come apart.
    pub fn torn(&mut self) -> HashSet<u64> {
        self.merge.torn()
    }

    /// The entry to read, with what the parent holds of it; none where it is unchanged.
    pub fn meet(&mut self, mut entry: Entry) -> Result<Option<Entry>> {
        match self.merge.meet(&entry)? {
            Verdict::Same(known) => {
                self.merge.ends.count(&known)?;
                self.merge.ends.list.give_back(known);
                Ok(None)
            }
            Verdict::Read { base, may_have_moved, is_parted } => {
                if is_parted {
                    entry.hard_link = None;
                }
                let has_content = entry.role.is_file() && entry.hard_link.is_none();
                if has_content {
                    let base = base.filter(|base| base.line.role.is_file());
                    entry.earlier = base.and_then(|base| self.merge.ends.earlier(&base));
                    if may_have_moved && entry.size > 0 {
                        self.moved.push((self.read, entry.inode, entry.earlier.is_some()));
                    }
                }
                self.read += 1;
                Ok(Some(entry))
            }
        }
    }

    /// After the last entry: proves the parent's list, and finds the files that had another name. Those are said in the
    /// plan, which is written anew where there are any.
    pub fn finish(mut self, parent: &Parent, plan: Option<&mut Spool>) -> Result<Compared> {
        self.merge.finish()?;
        let is_out_of_order = self.merge.is_out_of_order();
        let mut files = self.merge.ends;
        files.keep_logs()?;
        files.prove()?;
        if let Some(plan) = plan.filter(|_| !self.moved.is_empty()) {
            find_moved(parent, &self.moved, plan)?;
        }
        let Files { unchanged, mut hunks, mut names, mut logs, .. } = files;
        for spool in [&mut hunks, &mut names, &mut logs] {
            spool.finish()?;
        }
        Ok(Compared { unchanged, is_out_of_order, hunks, names, logs })
    }
}

/// Both ends of a merge.
struct Files {
    list: ReadAhead,
    naming: Arc<Naming>,
    first_log: Option<Earlier>,
    unchanged: Counts,
    hunks: Spool,
    names: Spool,
    logs: Spool,
}

impl Files {
    fn earlier(&self, line: &Resolved) -> Option<Arc<earlier::Earlier>> {
        line.earlier(&self.naming.id).map(Arc::new)
    }

    fn count(&mut self, known: &Earlier) -> Result<()> {
        let of = &known.line.line;
        match of.role {
            Role::Directory => {
                self.unchanged.directories += u64::from(!of.is_root());
            }
            Role::Link => self.unchanged.links += 1,
            Role::Database | Role::Log | Role::Checkpoint | Role::Other => {
                self.unchanged.files += 1;
                let is_another_name = of.hard_link().is_some();
                self.unchanged.hard_links += u64::from(is_another_name);
                let bytes = if is_another_name { 0 } else { of.size };
                self.unchanged.bytes = self.unchanged.bytes.saturating_add(bytes);
                let hash = name_hash(&known.path);
                self.names.write(&hash.to_le_bytes())?;
            }
        }
        Ok(())
    }

    /// What is left of the parent's list are its logs.
    fn keep_logs(&mut self) -> Result<()> {
        let mut next = self.first_log.take();
        while let Some(Known { path, role, size, line, .. }) = next {
            let (earlier, generation) = (self.earlier(&line), line.line.generation);
            self.logs.write_entry(&Entry { earlier, generation, ..Entry::new(path, role, size) })?;
            next = self.list.next()?;
        }
        Ok(())
    }

    fn prove(&mut self) -> Result<()> {
        let Some(list) = self.list.read() else { return Err(self.naming.damaged("it was not read to its end")) };
        match list.difference() {
            None => Ok(()),
            Some(difference) => Err(self.naming.damaged(&difference.reason())),
        }
    }
}

impl Ends<Box<Resolved>> for Files {
    fn next_line(&mut self) -> Result<Option<Known<Box<Resolved>>>> {
        if self.first_log.is_some() {
            return Ok(None);
        }
        match self.list.next()? {
            Some(line) if matches!(line.role, Role::Log | Role::Checkpoint) => {
                self.first_log = Some(line);
                Ok(None)
            }
            next => Ok(next),
        }
    }

    fn hunk(&mut self, hunk: Hunk) -> Result<()> {
        let mut text = serde_json::to_vec(&hunk).expect("numbers can be written");
        text.push(b'\n');
        self.hunks.write(&text)
    }

    fn carried(&mut self, known: Earlier) -> Result<()> {
        self.count(&known)
    }
}

/// A file of the parent that may have another name now.
#[derive(Serialize, Deserialize)]
struct Candidate {
    modified_ns: Option<i128>,
    earlier: Arc<earlier::Earlier>,
}

/// Finds the lines of the parent that have the inodes of entries in a plan, and writes the plan anew with them. In memory
/// is only where they are: what an inode was stands in a file.
fn find_moved(parent: &Parent, moved: &[(u64, u64, bool)], plan: &mut Spool) -> Result<()> {
    let wanted: HashSet<u64> = moved.iter().map(|(_, inode, _)| *inode).collect();
    let mut candidates = plan.another()?;
    let mut found: HashMap<u64, u64> = HashMap::new();
    let mut list = ListReader::stream(parent.repository.store(), Expected::of(&parent.chain))?;
    while let Some(line) = list.next_line()? {
        let Line::Sound(line) = line else { continue }; // it was proven a moment ago
        let of = &line.line;
        let is_wanted = of.role.is_file() && of.hard_link().is_none() && wanted.contains(&of.inode);
        if !is_wanted || found.contains_key(&of.inode) || matches!(of.role, Role::Log | Role::Checkpoint) {
            continue;
        }
        if let Some(earlier) = line.earlier(parent.chain.id()) {
            found.insert(of.inode, candidates.written());
            let modified_ns = of.modified.as_deref().and_then(times::to_nanoseconds);
            let candidate = Candidate { modified_ns, earlier: Arc::new(earlier) };
            let mut text = serde_json::to_vec(&candidate).expect("a place has only fields that JSON can hold");
            text.push(b'\n');
            candidates.write(&text)?;
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    candidates.finish()?;
    plan.finish()?;
    let mut anew = plan.another()?;
    let mut moved = moved.iter().peekable();
    let mut known = File::open(candidates.path()).map_err(|e| Error::io("open", candidates.path(), &e))?;
    for (index, entry) in (0_u64..).zip(PlanReader::open(plan.path(), 0)?) {
        let mut entry = entry?;
        if let Some((_, inode, has_same_path)) = moved.next_if(|(wanted, ..)| *wanted == index)
            && let Some(offset) = found.get(inode)
        {
            let candidate = read_candidate(&mut known, *offset, candidates.path())?;
            // An inode is used again and again: where the parent has the path as well, it takes more than that.
            let is_alike = (candidate.earlier.size, candidate.modified_ns) == (entry.size, Some(entry.modified_ns));
            if !has_same_path || is_alike {
                entry.earlier = Some(candidate.earlier);
            }
        }
        anew.write_entry(&entry)?;
    }
    anew.finish()?;
    *plan = anew;
    Ok(())
}

fn read_candidate(file: &mut File, offset: u64, path: &Path) -> Result<Candidate> {
    let mut text = Vec::new();
    let read = file.seek(SeekFrom::Start(offset)).and_then(|_| {
        let mut input = BufReader::with_capacity(1024, file.take(LINE_BYTES_MAX));
        input.read_until(b'\n', &mut text)
    });
    read.map_err(|e| Error::io("read", path, &e))?;
    serde_json::from_slice(&text).map_err(|_| damaged(path))
}

fn damaged(path: &Path) -> Error {
    Error::new(ExitCode::Failed, format!("{} is damaged", printable(path)))
        .file(path)
        .hint("End the session with `jetbak end --abort`, then begin anew.")
}

/// The pieces of the list to be, as a session keeps them.
pub struct Hunks {
    input: BufReader<File>,
    path: PathBuf,
}

impl Hunks {
    /// Those of a session's folder.
    pub fn open(session: &Path) -> Result<Self> {
        let path = session.join(HUNKS);
        let file = File::open(&path).map_err(|e| Error::io("open", &path, &e))?;
        Ok(Self { input: BufReader::with_capacity(64 * 1024, file), path })
    }
}

impl Iterator for Hunks {
    type Item = Result<Hunk>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut text = Vec::new();
        match (&mut self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut text) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_slice(&text).map_err(|_| damaged(&self.path))),
            Err(error) => Some(Err(Error::io("read", &self.path, &error))),
        }
    }
}

/// The hashes of the names of files that a session takes over.
pub fn unchanged_names(session: &Path) -> Result<Vec<u64>> {
    let path = session.join(NAMES);
    let text = std::fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
    Ok(text.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
}

/// What the parent has of the log phase.
pub fn earlier_logs(session: &Path) -> Result<PlanReader> {
    PlanReader::open(&session.join(LOGS), 0)
}

/// Says of each log what the parent holds under the same name.
pub fn compare_logs(session: &Path, logs: &mut [Entry]) -> Result<()> {
    let mut known = HashMap::new();
    for entry in earlier_logs(session)? {
        let entry = entry?;
        known.extend(entry.earlier.map(|earlier| (entry.path, (entry.generation, earlier))));
    }
    for log in logs {
        // The current log keeps its name when it is another one.
        let held = known.remove(&log.path).filter(|(generation, _)| *generation == log.generation);
        log.earlier = held.map(|(_, earlier)| earlier);
    }
    Ok(())
}

/// Which lines of the parent's logs are the same, and which are gone.
///
/// Where a backup holds changed blocks, its logs are those that it lists. Where it holds logs instead of databases, all
/// logs since those are needed: gone are only those that it lists again, under whatever name.
pub fn log_runs(by_logs: bool, earlier: &[Entry], own: &[Entry]) -> Vec<Run> {
    let first = own.iter().filter(|log| log.role == Role::Log).filter_map(|log| log.generation).min();
    let has_checkpoint = own.iter().any(|log| log.role == Role::Checkpoint);
    let paths: HashSet<&Path> = own.iter().map(|log| log.path.as_path()).collect();
    let is_gone = |line: &Entry| match line.role {
        _ if !by_logs => true,
        Role::Checkpoint => has_checkpoint,
        Role::Log => {
            first.zip(line.generation).is_some_and(|(first, generation)| generation >= first)
                || paths.contains(line.path.as_path())
        }
        _ => true,
    };
    let run = |line| if is_gone(line) { Run::Gone { lines: 1 } } else { Run::Same { lines: 1 } };
    earlier.iter().map(run).collect()
}

/// What the list of a session's backup takes over from that of its parent.
pub struct Changes {
    hunks: Hunks,
    unchanged: Counts,
    logs: Vec<Run>,
    covered: u64,
}

impl Changes {
    /// Those of a session whose list of logs is `logs`.
    pub fn open(session: &Path, parent: &record::Parent, logs: &[Entry]) -> Result<Self> {
        let earlier = earlier_logs(session)?.collect::<Result<Vec<_>>>()?;
        let runs = log_runs(parent.by_logs, &earlier, logs);
        let mut unchanged = parent.unchanged;
        for (line, _) in earlier.iter().zip(&runs).filter(|(_, run)| matches!(run, Run::Same { .. })) {
            unchanged.files += 1;
            unchanged.bytes = unchanged.bytes.saturating_add(line.size);
        }
        Ok(Self { hunks: Hunks::open(session)?, unchanged, logs: runs, covered: 0 })
    }

    /// The next piece; false where there is none.
    fn next(&mut self, out: &mut dyn FnMut(Run) -> Result<()>) -> Result<bool> {
        let Some(hunk) = self.hunks.next() else { return Ok(false) };
        let Hunk { same, gone, read } = hunk?;
        out(Run::Same { lines: same })?;
        out(Run::Gone { lines: gone })?;
        self.covered = self.covered.saturating_add(read);
        Ok(true)
    }
}

impl Script for Changes {
    fn unchanged(&self) -> Counts {
        self.unchanged
    }

    fn before_database(&mut self, index: u64, out: &mut dyn FnMut(Run) -> Result<()>) -> Result<()> {
        while self.covered <= index {
            if !self.next(out)? {
                return Err(damaged(&self.hunks.path));
            }
        }
        Ok(())
    }

    fn before_logs(&mut self, out: &mut dyn FnMut(Run) -> Result<()>) -> Result<()> {
        while self.next(out)? {}
        std::mem::take(&mut self.logs).into_iter().try_for_each(out)
    }
}
