//! What a restore will write: the list of files, proven first and believed only as far as it can be checked.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::engine::Role;
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::named_paths::NamedPaths;
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::file_list::{FileLine, LINE_BYTES_MAX};
use crate::repository::list_reader::{Expected, Line, ListReader};
use crate::repository::store::{Reading, Store};
use crate::stream::source::Hole;
use crate::stream::stop::StopToken;

/// What a restore will write.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Files with content, every name counted.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub links: u64,
    /// Bytes of content; those of a file with several names once.
    pub bytes: u64,
    /// Space that it takes, holes not counted, in bytes.
    pub allocated: u64,
    /// Which entries.
    pub selection: NamedPaths,
    /// Where the lines of directories begin in the list, in its order.
    pub directory_offsets: Vec<u64>,
}

/// Whether an entry is meant, or is a directory on the way to one that is.
pub fn needs(selection: &NamedPaths, line: &FileLine, path: &Path) -> bool {
    selection.contains(path) || (line.role == Role::Directory && selection.leads_through(path))
}

/// Proves the list of a backup and finds out what a restore will write. A name that means nothing is exit 2.
pub fn make(repository: &Repository, backup: &Backup, mut selection: NamedPaths, stop: &StopToken) -> Result<Plan> {
    let store = &**repository.store();
    let expected = Expected::of(backup.manifest.as_ref().map_err(Clone::clone)?);
    let mut list = ListReader::open(store, &backup.folder(), expected, false)
        .map_err(|error| if error.is_not_found() { bad_list(backup, "it is missing") } else { error })?;
    let mut plan = Plan::default();
    let mut carried = HashSet::new();
    loop {
        stop.check()?;
        let offset = list.offset();
        let line = match list.next_line()? {
            None => break,
            Some(Line::Bad(what)) => return Err(bad_list(backup, &what)),
            Some(Line::Sound(line)) => line,
        };
        let path = line.path().unwrap_or_default();
        if line.root != crate::roots::DATA {
            let message = "a backup with logs or a checkpoint from directories of their own cannot be restored yet";
            return Err(Error::new(ExitCode::Failed, message));
        }
        selection.meet(&path);
        if !needs(&selection, &line, &path) {
            continue;
        }
        match line.role {
            Role::Directory => {
                plan.directories += u64::from(!path.as_os_str().is_empty());
                plan.directory_offsets.push(offset);
            }
            Role::Link => plan.links += 1,
            Role::Database | Role::Log | Role::Checkpoint | Role::Other => {
                plan.files += 1;
                // Where the first name is not meant, the first one that is stands in for it, and carries the content.
                let first = line.hard_link();
                let is_carried = first.is_some_and(|first| selection.contains(&first) || !carried.insert(first));
                if !is_carried {
                    let holes = line.holes.iter().fold(0, |sum: u64, Hole(_, length)| sum.saturating_add(*length));
                    plan.bytes = plan.bytes.saturating_add(line.size);
                    plan.allocated = plan.allocated.saturating_add(line.size.saturating_sub(holes));
                }
            }
        }
    }
    if let Some(difference) = list.difference() {
        return Err(bad_list(backup, &difference.reason()));
    }
    if let Some(name) = selection.unknown().next() {
        let message = format!("{} does not hold {}", backup.id.text, printable(name));
        return Err(Error::jet(Jet::InvalidParameter, message)
            .file(name)
            .hint("`jetbak show --files` prints what it holds; give a path as it stands there."));
    }
    plan.selection = selection;
    Ok(plan)
}

/// The error of a list that cannot be believed.
pub fn bad_list(backup: &Backup, what: &str) -> Error {
    let message = format!("the list of files of {} is damaged: {}", backup.id.text, printable(what));
    Error::new(ExitCode::Verification, message)
        .file("files.jsonl")
        .hint("Nothing was restored. Take another backup, or copy what is in its folder data/ by hand, unproven.")
}

/// Lines of a list that begin at these bytes, in order.
pub fn read_lines(store: &dyn Store, path: &Path, offsets: &[u64]) -> Result<Vec<FileLine>> {
    let Some(first) = offsets.first() else { return Ok(Vec::new()) };
    let mut input: BufReader<Box<dyn Reading>> = BufReader::with_capacity(64 * 1024, store.open(path, *first, false)?);
    let mut at = *first;
    let mut lines = Vec::with_capacity(offsets.len());
    let mut text = Vec::new();
    while lines.len() < offsets.len() {
        text.clear();
        let read = (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
        let length = read.map_err(|e| Error::io("read", &store.describe(path), &e))?;
        let line = if offsets[lines.len()] == at { serde_json::from_slice(&text).ok() } else { None };
        if length == 0 || (line.is_none() && offsets[lines.len()] <= at) {
            let message = format!("{} changed while it was read", printable(store.describe(path)));
            return Err(Error::new(ExitCode::Verification, message).file(path));
        }
        lines.extend(line);
        at += length as u64;
    }
    Ok(lines)
}
