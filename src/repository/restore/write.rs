//! Writing a plan into a target: from the repository through the pipeline, every byte proven on the way.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::layout::Layout;
use super::plan::{Plan, needs};
use super::target::Target;
use super::{Damaged, Witness};
use serde::{Deserialize, Serialize};

use crate::engine::Role;
use crate::error::{Error, ExitCode, Result, printable};
use crate::hex::hex;
use crate::named_paths::NamedPaths;
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::chain::Chain;
use crate::repository::content::Contents;
use crate::repository::file_list::FileLine;
use crate::repository::list_reader::{Expected, Line, ListReader, Resolved};
use crate::repository::stored::{damaged, not_as_listed};
use crate::stream::earlier::Within;
use crate::stream::pipeline::{self, Feed, Finished, Gauge, Job, Policy, Report};
use crate::stream::source::Opened;
use crate::stream::stop::StopToken;

/// What is to be written, from where.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// The backup.
    pub backup: &'a Backup,
    /// What it builds on.
    pub chain: &'a Chain,
    /// Where its roots go.
    pub layout: &'a Arc<Layout>,
    /// What of it is meant.
    pub plan: &'a Plan,
    /// Leave out what is damaged.
    pub keep_going: bool,
    /// Counts the bytes of all trees.
    pub gauge: &'a Arc<Gauge>,
    /// Ends it.
    pub stop: &'a StopToken,
}

/// What was written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Written {
    /// Files with content, every name counted.
    pub files: u64,
    /// Bytes of content; those of a file with several names once.
    pub bytes: u64,
    /// Entries that were damaged and left out.
    pub damaged: u64,
    /// What is wrong with the first of them.
    pub first_damage: Option<String>,
    /// Attributes that could not be given.
    pub not_given: u64,
}

impl Written {
    /// Adds what was written into another tree.
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.damaged += other.damaged;
        self.first_damage = self.first_damage.take().or(other.first_damage);
        self.not_given += other.not_given;
    }
}

/// Writes one tree of a plan into a target, every byte proven on the way. Directories get their attributes later.
pub fn write(work: &Work, tree: usize, target: &Arc<Target>, witness: &mut dyn Witness) -> Result<Written> {
    let Work { repository, backup, chain, layout, plan, keep_going, gauge, stop } = *work;
    let lines = Arc::new(Mutex::new(VecDeque::new()));
    let expected = Expected::of(chain);
    let feed = BackupFeed {
        tree,
        layout: Arc::clone(layout),
        folders: chain.parts().iter().map(|part| part.folder.clone()).collect(),
        list: ListReader::open(repository.store(), expected, false)?,
        contents: Contents::new(repository, &backup.folder()),
        selection: plan.selection.clone(),
        carriers: HashMap::new(),
        lines: Arc::clone(&lines),
        ticket: 0,
    };
    let policy = Policy { keep_going, retries: 0 };
    let mut judge = Judge { target, layout, lines, damaged: HashSet::new(), keep_going, written: Written::default() };
    let cell = std::cell::RefCell::new(witness);
    pipeline::run(
        feed,
        target.sink(),
        stop,
        gauge,
        policy,
        &mut |report| judge.take(report, &mut **cell.borrow_mut()),
        &mut || {
            let mut witness = cell.borrow_mut();
            witness.progress(gauge.bytes(), gauge.file());
            target.take_not_given().into_iter().for_each(|one| witness.not_given(layout.shown(tree, one)));
            Ok(())
        },
    )?;
    target.take_not_given().into_iter().for_each(|one| cell.borrow_mut().not_given(layout.shown(tree, one)));
    Ok(judge.written)
}

/// What the list says of the entries that are on their way, in order.
type SharedLines = Arc<Mutex<VecDeque<(u64, Resolved)>>>;

/// Hands the entries of a backup to the pipeline.
struct BackupFeed {
    tree: usize,
    layout: Arc<Layout>,
    list: ListReader,
    contents: Contents,
    /// Those of the backups of the chain.
    folders: Vec<PathBuf>,
    selection: NamedPaths,
    /// Where the first name of a file is not restored: the name that stands in for it.
    carriers: HashMap<PathBuf, PathBuf>,
    lines: SharedLines,
    ticket: u64,
}

impl Feed for BackupFeed {
    fn next(&mut self) -> Result<Option<Job>> {
        loop {
            let resolved = match self.list.next_line()? {
                None => return Ok(None),
                Some(Line::Sound(resolved)) => resolved,
                Some(Line::Bad(what)) => {
                    let message = format!("the list of files changed while it was read: {}", printable(what));
                    return Err(Error::new(ExitCode::Verification, message).file("files.jsonl"));
                }
            };
            let line = &resolved.line;
            let path = line.path().unwrap_or_default();
            if !needs(&self.selection, line, &self.layout.name(&line.root, &path)) {
                continue;
            }
            let Some((_, path)) = self.layout.place(&line.root, &path).filter(|(tree, _)| *tree == self.tree) else {
                continue;
            };
            let (ticket, has_content) = (self.ticket, line.role.is_file());
            self.ticket += 1;
            // What is put together without a hash of the whole is proven block by block.
            let wants_hash = line.within == Within::Data || line.sha256.is_some();
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).push_back((ticket, *resolved));
            return Ok(Some(Job { wants_hash, ..Job::new(ticket, Arc::from(path.as_path()), has_content) }));
        }
    }

    fn open(&mut self, job: &Job) -> Result<Opened> {
        let resolved = self.lines.lock().unwrap_or_else(PoisonError::into_inner).back().map(|(_, line)| line.clone());
        let sound = resolved.and_then(|Resolved { line, link, .. }| {
            Some((line.attributes()?, self.folders.get(link)?.join(line.stored_path()?), line, link > 0))
        });
        let (attributes, stored, line, is_carried) =
            sound.ok_or_else(|| damaged(&job.path, "its line cannot be believed"))?;
        match line.role {
            Role::Directory => Ok(Opened::Directory(attributes)),
            Role::Link => {
                let target = line.target().unwrap_or_default();
                if is_carried {
                    return Ok(Opened::Link(attributes, target)); // all that it is stands in the line
                }
                let found = self.contents.store().link_target(&stored);
                let found = found.map_err(|error| not_as_listed(&job.path, error))?;
                if found != target {
                    let what = format!("it points to {} and should to {}", found.display(), target.display());
                    return Err(damaged(&job.path, &what));
                }
                Ok(Opened::Link(attributes, target))
            }
            Role::Database | Role::Log | Role::Checkpoint | Role::Other => {
                if let Some(first) = line.hard_link() {
                    let name = self.layout.name(&line.root, &first);
                    if self.selection.contains(&name) {
                        let first = self.layout.place(&line.root, &first).map(|(_, place)| place);
                        return Ok(Opened::HardLink(attributes, first.unwrap_or_default()));
                    }
                    if let Some(carrier) = self.carriers.get(&name) {
                        return Ok(Opened::HardLink(attributes, carrier.clone()));
                    }
                    self.carriers.insert(name, job.path.to_path_buf());
                }
                Ok(Opened::Data(self.contents.open(&line)?))
            }
        }
    }
}

/// Compares what was written with what the list says.
struct Judge<'a> {
    target: &'a Target,
    layout: &'a Layout,
    lines: SharedLines,
    /// Places in the tree.
    damaged: HashSet<PathBuf>,
    keep_going: bool,
    written: Written,
}

impl Judge<'_> {
    fn take(&mut self, report: Report, witness: &mut dyn Witness) -> Result<()> {
        let (ticket, outcome) = match report {
            Report::Done(finished) => (finished.ticket, Ok(finished)),
            Report::Failed { ticket, error } => (ticket, Err(error)),
            Report::Repeating { .. } | Report::Reached { .. } => return Ok(()),
        };
        let line = self.line(ticket)?;
        let path = line.path().unwrap_or_default();
        let name = self.layout.name(&line.root, &path);
        let path = self.layout.place(&line.root, &path).map(|(_, place)| place).unwrap_or_default();
        let judged =
            outcome.map(|finished| (self.find_damage(&line, (&path, &name), &finished), finished.hard_link.is_some()));
        let error = match judged {
            Ok((None, is_another_name)) => {
                if line.role.is_file() {
                    self.written.files += 1;
                    self.written.bytes += if is_another_name { 0 } else { line.size };
                }
                return Ok(());
            }
            Ok((Some(error), _)) => {
                self.target.remove(&path)?;
                error
            }
            Err(error) => error,
        };
        // Whatever is wrong here is wrong in the repository, a sector that cannot be read too; the target's own errors end
        // the pipeline.
        if !self.keep_going {
            let is_damage = error.exit_code() == ExitCode::Verification;
            return Err(if is_damage { error.hint(DAMAGE_HINT) } else { error });
        }
        self.written.damaged += 1;
        self.written.first_damage.get_or_insert_with(|| error.message().to_owned());
        witness.damaged(&Damaged { path: name, error });
        self.damaged.insert(path);
        Ok(())
    }

    fn find_damage(&self, line: &FileLine, (path, name): (&Path, &Path), finished: &Finished) -> Option<Error> {
        if let Some(first) = &finished.hard_link {
            let is_there = !self.damaged.contains(first) && self.target.contains(path);
            return (!is_there).then(|| damaged(name, &format!("it is another name of {}", first.display())));
        }
        let Some(stored) = line.sha256.as_deref() else {
            let what = format!("it has {} bytes and should have {}", finished.bytes, line.size);
            return (finished.bytes != line.size).then(|| damaged(name, &what));
        };
        let (stored, computed) = (stored, finished.sha256.as_ref().map(|hash| hex(hash)));
        if computed.as_deref() == Some(stored) && finished.bytes == line.size {
            return None;
        }
        Some(damaged(name, &format!("its hash is {} and should be {stored}", computed.unwrap_or_default())))
    }

    fn line(&self, ticket: u64) -> Result<FileLine> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.pop_front() {
            Some((expected, resolved)) if expected == ticket => Ok(resolved.line),
            _ => Err(Error::new(ExitCode::Failed, format!("entry {ticket} was reported out of order"))),
        }
    }
}

/// What to do about a damaged file.
pub(super) const DAMAGE_HINT: &str = "Nothing was restored. `jetbak verify` lists all damage; --keep-going restores what is good, \
                           --only what is named; an older backup may hold it whole.";
