//! What a restore will write: the list of files, proven first and believed only as far as it can be checked.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::layout::Layout;
use crate::engine::Role;
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::named_paths::NamedPaths;
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::chain::Chain;
use crate::repository::file_list::{FileLine, LINE_BYTES_MAX};
use crate::repository::list_reader::{Expected, Line, ListReader, Resolved};
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
    /// What each tree gets, in the order of the layout.
    pub shares: Vec<Share>,
}

/// What one of the trees gets that a restore makes.
#[derive(Clone, Debug, Default)]
pub struct Share {
    /// Files, directories and links; without any the tree is not made.
    pub entries: u64,
    /// Space that it takes, holes not counted, in bytes.
    pub allocated: u64,
    /// Where the lines of its directories are, in the order of the list.
    pub directories: Vec<LinePlace>,
}

/// In whose list a line stands, as its index in the chain, and the byte there at which it begins.
pub type LinePlace = (usize, u64);

/// Places in a tree that several roots go into, as keyed hashes: each is of one root.
#[derive(Default)]
struct Taken {
    keys: RandomState,
    files: HashSet<u64>,
    directories: HashSet<u64>,
}

/// What becomes of a place in a tree.
enum Claim {
    Free,
    /// A directory of two roots; that of the first counts.
    Shared,
    Taken,
}

impl Taken {
    fn claim(&mut self, tree: usize, path: &Path, role: Role) -> Claim {
        let key = self.keys.hash_one((tree, path.as_os_str().as_bytes()));
        if role == Role::Directory && !self.files.contains(&key) {
            return if self.directories.insert(key) { Claim::Free } else { Claim::Shared };
        }
        let is_free = role != Role::Directory && !self.directories.contains(&key) && self.files.insert(key);
        if is_free { Claim::Free } else { Claim::Taken }
    }
}

/// Whether an entry is meant, or is a directory on the way to one that is.
pub fn needs(selection: &NamedPaths, line: &FileLine, name: &Path) -> bool {
    selection.contains(name) || (line.role == Role::Directory && selection.leads_through(name))
}

/// Proves the list of a backup and finds out what a restore will write. A name that means nothing is exit 2.
///
/// So are a root that goes nowhere, and two files that would get one path.
pub fn make(
    repository: &Repository,
    backup: &Backup,
    chain: &Chain,
    layout: &Layout,
    mut selection: NamedPaths,
    stop: &StopToken,
) -> Result<Plan> {
    let mut list = ListReader::open(repository.store(), Expected::of(chain), false)
        .map_err(|error| if error.is_not_found() { bad_list(backup, "it is missing") } else { error })?;
    let mut plan = Plan { shares: vec![Share::default(); layout.trees().len()], ..Plan::default() };
    let (mut carried, mut taken, mut unmapped) = (HashSet::new(), Taken::default(), BTreeSet::new());
    loop {
        stop.check()?;
        let Resolved { line, link, offset } = match list.next_line()? {
            None => break,
            Some(Line::Bad(what)) => return Err(bad_list(backup, &what)),
            Some(Line::Sound(resolved)) => *resolved,
        };
        let path = line.path().unwrap_or_default();
        let name = layout.name(&line.root, &path);
        selection.meet(&name);
        if !needs(&selection, &line, &name) {
            continue;
        }
        let Some((tree, place)) = layout.place(&line.root, &path) else {
            unmapped.insert(line.root.clone());
            continue;
        };
        let Some(share) = plan.shares.get_mut(tree) else { continue };
        share.entries += 1;
        let claim = if layout.is_shared(tree) { taken.claim(tree, &place, line.role) } else { Claim::Free };
        if matches!(claim, Claim::Taken) {
            let place = layout.trees().get(tree).map(|tree| tree.join(&place)).unwrap_or_default();
            let message =
                format!("{} would not be the only one that is restored to {}", printable(name), printable(place));
            return Err(Error::jet(Jet::InvalidParameter, message).hint("Map one of the roots to another directory."));
        }
        match line.role {
            Role::Directory => {
                plan.directories += u64::from(!path.as_os_str().is_empty());
                share.directories.extend(matches!(claim, Claim::Free).then_some((link, offset)));
            }
            Role::Link => plan.links += 1,
            Role::Database | Role::Log | Role::Checkpoint | Role::Other => {
                plan.files += 1;
                // Where the first name is not meant, the first one that is stands in for it, and carries the content.
                let first = line.hard_link().map(|first| layout.name(&line.root, &first));
                let is_carried = first.is_some_and(|first| selection.contains(&first) || !carried.insert(first));
                if !is_carried {
                    let holes = line.holes.iter().fold(0, |sum: u64, Hole(_, length)| sum.saturating_add(*length));
                    plan.bytes = plan.bytes.saturating_add(line.size);
                    let allocated = line.size.saturating_sub(holes);
                    plan.allocated = plan.allocated.saturating_add(allocated);
                    share.allocated = share.allocated.saturating_add(allocated);
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
    if !unmapped.is_empty() {
        return Err(layout.unmapped(&backup.id.text, &unmapped));
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

/// The lines that stand in these places of the lists of a chain, in order.
pub fn read_lines(store: &dyn Store, chain: &Chain, places: &[LinePlace]) -> Result<Vec<FileLine>> {
    let mut by_link: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, (link, _)) in places.iter().enumerate() {
        by_link.entry(*link).or_default().push(index);
    }
    let mut lines: Vec<Option<FileLine>> = vec![None; places.len()];
    for (link, indexes) in by_link {
        let part = chain.parts().get(link).ok_or_else(|| Error::new(ExitCode::Failed, "a line of no backup"))?;
        let offsets: Vec<u64> = indexes.iter().map(|index| places[*index].1).collect();
        let read = read_lines_of(store, &part.folder.join("files.jsonl"), &offsets)?;
        indexes.into_iter().zip(read).for_each(|(index, line)| lines[index] = Some(line));
    }
    Ok(lines.into_iter().flatten().collect())
}

/// Lines of one list that begin at these bytes, in order.
fn read_lines_of(store: &dyn Store, path: &Path, offsets: &[u64]) -> Result<Vec<FileLine>> {
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
