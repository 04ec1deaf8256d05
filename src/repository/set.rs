//! A stored backup of an instance as a set: the headers of its databases, logs and checkpoint are read and judged together
//! (`spec/backup-protocol.md` §6, cases 92 to 94).

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::Repository;
use super::catalogue::Backup;
use super::chain::Chain;
use super::content::Contents;
use super::damage::Damage;
use super::file_list::FileLine;
use super::list_reader::read_proven;
use super::manifest::Manifest;
use super::stored::not_as_listed;
use super::verify::Verification;
use crate::engine::ese::advice::{Situation, advise};
use crate::engine::ese::check::look_inside_with;
use crate::engine::ese::fields::Generation;
use crate::engine::ese::files::Found;
use crate::engine::ese::finding::{Finding, Kind};
use crate::engine::ese::judge::Inside;
use crate::engine::ese::log::SEGMENT_BYTES;
use crate::engine::ese::recognise::{Content, HEAD_BYTES, recognise};
use crate::engine::ese::set::{Home, Members, Verdict};
use crate::engine::{EngineName, Role};
use crate::error::{Error, ExitCode, Result, printable};
use crate::stream::stop::StopToken;

/// What the headers of a stored backup amount to.
#[derive(Debug)]
pub struct StoredSet {
    /// What is wrong with the set; files are named below the backup's folder.
    pub verdict: Verdict,
    /// Its databases, logs and checkpoint, relative to the storage.
    pub members: Vec<Member>,
    /// Members that cannot be looked at, as an error about them.
    pub unreadable: Vec<Error>,
    /// Where its databases were on their host.
    pub homes: Vec<Home>,
    /// The manifest of the backup that holds its databases, where it takes the logs after that one.
    pub base: Option<Manifest>,
    /// Logs of which every segment is proven wherever they are hashed, below the backup's folder.
    proven: HashSet<PathBuf>,
}

/// A file of the engine in a backup.
#[derive(Clone, Debug)]
pub struct Member {
    /// What a person calls it.
    pub path: PathBuf,
    /// The root that it lies below.
    pub root: String,
    /// Its path from there.
    pub below: PathBuf,
    /// What it is to the engine.
    pub role: Role,
    /// The generation of a log.
    pub generation: Option<u32>,
}

/// Reads the headers of a backup's databases, logs and checkpoint, and judges them as a set; none where its engine knows no
/// sets. An error is one of the list of files, or a stop.
pub fn examine(repository: &Repository, backup: &Backup, chain: &Chain, stop: &StopToken) -> Result<Option<StoredSet>> {
    let manifest = backup.manifest.as_ref().map_err(Clone::clone)?;
    if manifest.engine != EngineName::Ese {
        return Ok(None);
    }
    let mut lines = Vec::new();
    read_proven(repository.store(), chain, &mut |resolved| {
        stop.check()?;
        let line = resolved.line;
        let is_member = matches!(line.role, Role::Database | Role::Log | Role::Checkpoint);
        if is_member && line.hard_link().is_none() {
            lines.push(line);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let contents = Contents::new(repository, &backup.folder());
    let mut set = Members {
        unread: manifest.excluded.iter().map(|one| PathBuf::from(&one.path)).collect(),
        promised: chain.generations().map(|(low, high)| (Generation(low), Generation(high))),
        ..Members::default()
    };
    let (mut members, mut unreadable, mut proven) = (Vec::new(), Vec::new(), HashSet::new());
    for line in lines {
        stop.check()?;
        let (Some(below), Some(stored)) = (line.path(), line.stored_path()) else { continue };
        let Some(path) = line.name(&manifest.roots) else { continue };
        let found = match look(&contents, &stored, &line) {
            Ok(found) => found,
            Err(error) => {
                unreadable.push(not_as_listed(&path, error));
                set.unread.push(stored);
                continue;
            }
        };
        if line.segments.is_some() {
            proven.insert(stored.clone());
        }
        let root = line.root.clone();
        members.push(Member { path, root, below, role: line.role, generation: line.generation });
        match (line.role, &found.content) {
            (Role::Database, Content::Database(header, _)) => {
                let mut pieces = contents.pieces(&line);
                let inside =
                    look_inside_with(header, line.size, &mut |offset, length| pieces.read(offset, length).ok());
                set.databases.push((found, inside));
            }
            (Role::Database, _) => set.databases.push((found, Inside::default())),
            (Role::Log, _) => set.logs.push(found),
            _ => set.checkpoint = Some(found),
        }
    }
    let base = repository.base_of(manifest, chain)?;
    Ok(Some(StoredSet { verdict: set.judge(), homes: set.homes(), base, members, unreadable, proven }))
}

/// Says what a stored file is, by its first bytes.
fn look(contents: &Contents, stored: &Path, line: &FileLine) -> Result<Found> {
    let length = if line.role == Role::Database { HEAD_BYTES } else { 2 * SEGMENT_BYTES };
    let head = contents.read(line, 0, length)?;
    Ok(Found { path: stored.into(), size: line.size, content: recognise(&head, line.size) })
}

/// Reports what is wrong with a backup as a set, where its list of files can be believed.
pub fn verify(repository: &Repository, backup: &Backup, chain: &Chain, how: &Verification) -> Result<()> {
    let set = match examine(repository, backup, chain, how.stop) {
        Ok(Some(set)) => set,
        Ok(None) => return Ok(()),
        // The list is not what the manifest says, and that was reported.
        Err(error) if error.exit_code() == ExitCode::Verification => return Ok(()),
        Err(error) => return Err(error),
    };
    if let Some(error) = set.unreadable.iter().find(|error| error.is_of_the_reader()) {
        return Err(error.clone());
    }
    let is_told = |finding: &Finding| finding.kind == Kind::LogHeader && set.proven.contains(&*finding.file);
    let broken = set.verdict.broken.iter().filter(|finding| !is_told(finding));
    broken.for_each(|finding| (how.report)(Damage::of_set(finding, false)));
    // Accepted when the backup was made (decision 19).
    set.verdict.losses.iter().for_each(|finding| (how.report)(Damage::of_set(finding, true)));
    Ok(())
}

impl StoredSet {
    /// Why its engine would refuse it, each as an error with exit code 3; what says most first.
    pub fn broken(&self) -> impl Iterator<Item = Error> {
        self.verdict.broken.iter().map(as_error)
    }

    /// What a restore loses, each as an error to be told.
    pub fn losses(&self) -> impl Iterator<Item = Error> {
        self.verdict.losses.iter().map(as_error)
    }
}

fn as_error(finding: &Finding) -> Error {
    let file = finding.file.strip_prefix("data").unwrap_or(&finding.file);
    let message = format!("{} {}", printable(file), finding.message);
    let error = match finding.jet {
        Some(jet) => Error::jet(jet, message).exit(ExitCode::Verification),
        None => Error::new(ExitCode::Verification, message),
    };
    error.file(file)
}

/// What the engine's host will do with what a backup holds, or with those of its files that are meant, in sentences. `base`
/// is the backup in its chain that holds its databases, where it takes the logs after that one.
pub fn advice(
    manifest: &Manifest,
    base: Option<&Manifest>,
    homes: &[Home],
    is_meant: &dyn Fn(&Path) -> bool,
) -> Vec<String> {
    let Some(facts) = &manifest.instance else { return Vec::new() };
    let is_lacking = |path: &Path| manifest.excluded.iter().any(|one| Path::new(&one.path) == path);
    let databases = base.and_then(|base| base.instance.as_ref()).map_or(&facts.databases, |facts| &facts.databases);
    let meant = databases.iter().filter(|one| is_meant(&one.file.path()));
    let (lacking, databases): (Vec<_>, Vec<_>) = meant.partition(|one| is_lacking(&one.file.path()));
    let mut damaged = BTreeMap::new();
    for page in manifest.damaged.iter().filter(|page| is_meant(&page.file.path())) {
        *damaged.entry(page.file.path()).or_insert(0) += 1;
    }
    advise(&Situation {
        facts,
        databases,
        lacking: lacking.into_iter().map(|one| one.file.path()).collect(),
        damaged: damaged.into_iter().collect(),
        last_log: manifest.logs.last_generation,
        forward_from: base.and_then(|base| base.logs.first_generation).or(facts.forward_from),
        homes,
    })
}
