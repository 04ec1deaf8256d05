//! Reading the list of files of a backup line by line: through the lists of all that it builds on, each of them hashed on
//! the way, and nothing in them believed that cannot be.
//!
//! Whatever the length of the chain, the lists are read side by side: a line that a script carries over is pulled from the
//! list below it, when it is asked for.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::blocks;
use super::catalogue::Backup;
use super::chain::{Chain, Part};
use super::file_list::{FileLine, Held, sums_line};
use super::list_level::{End, Level};
use super::list_names::Known;
use super::list_script::Run;
use super::store::Store;
use crate::error::{Error, ExitCode, Jet, Result, printable};
use crate::roots::Roots;
use crate::stream::earlier::{Earlier, Within};

/// What a list of files must amount to, with those that it builds on.
#[derive(Clone, Debug)]
pub struct Expected {
    parts: Vec<Part>,
    roots: Roots,
    /// What it builds on cannot be had: only its own lines are read.
    is_cut: bool,
}

impl Expected {
    /// What the manifests of a chain say.
    pub fn of(chain: &Chain) -> Self {
        Self { parts: chain.parts().to_vec(), roots: chain.roots().clone(), is_cut: false }
    }

    /// What a folder must hold that is not published yet.
    pub fn partial(own: Part, parent: Option<&Chain>, roots: Roots) -> Self {
        let mut parts = vec![own];
        parts.extend(parent.iter().flat_map(|chain| chain.parts()).cloned());
        Self { parts, roots, is_cut: false }
    }

    /// What a backup's manifest says of its own lines, where what it builds on is broken.
    pub fn of_own_lines(backup: &Backup) -> Result<Self> {
        let manifest = backup.manifest.as_ref().map_err(Clone::clone)?;
        let is_cut = manifest.parent.is_some();
        Ok(Self { parts: vec![Part::of(backup, manifest)], roots: manifest.roots.clone(), is_cut })
    }

    /// The same, of which only the backup's own lines are read.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.is_cut |= self.parts.len() > 1;
        self.parts.truncate(1);
        self
    }

    /// The backup itself, its parent, and so on.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The roots that files may come from, beside the storage.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }
}

/// A line of a list, with the lines of what it builds on in their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The line; `held` says where the content is for every file that the backup itself does not hold.
    pub line: FileLine,
    /// In whose list it stands: the index in the chain.
    pub link: usize,
    /// The byte there at which it begins.
    pub offset: u64,
}

impl Resolved {
    /// Whether it is one of the backup's own lines.
    pub fn is_own(&self) -> bool {
        self.link == 0
    }

    /// What the backup `id`, whose line it is, holds of this file for a later one; none for what has no content.
    pub fn earlier(&self, id: &str) -> Option<Earlier> {
        let line = &self.line;
        let place = line.place().filter(|_| line.role.is_file())?;
        Some(Earlier {
            backup: line.held.as_ref().map_or(id, |held| &held.by).to_owned(),
            place,
            within: line.within,
            blocks: line.blocks.clone(),
            size: line.size,
            sha256: line.sha256.clone(),
        })
    }
}

/// A list of files, read once from begin to end.
pub struct ListReader {
    store: Arc<dyn Store>,
    expected: Expected,
    /// Where each backup stands in the chain.
    numbers: HashMap<String, usize>,
    levels: Vec<Level>,
    /// The list that is to give the next line, and those above it that will do without that line, deepest last.
    depth: usize,
    discards: Vec<usize>,
    bad: VecDeque<String>,
    /// What `SHA256SUMS` should hold, as a running hash; not where little memory counts for more.
    sums: Sha256,
    files: u64,
    bytes: u64,
    damaged: bool,
    /// None where little memory counts for more than names that stand there twice.
    known: Option<Known>,
}

/// The next line of a list.
pub enum Line {
    /// One that can be believed.
    Sound(Box<Resolved>),
    /// One that cannot: which, and why.
    Bad(String),
}

/// What a list amounts to, where that is not what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Another hash.
    Hash {
        /// Whose list it is, where it is that of another backup, on which this one builds.
        backup: Option<String>,
        /// What its manifest says.
        stored: String,
        /// What it is.
        computed: String,
    },
    /// The right hash, but other totals than the manifest says: those here, and those there.
    Totals(String, String),
}

impl Difference {
    /// In which respect the list cannot be believed, to follow "because".
    pub fn reason(&self) -> String {
        match self {
            Self::Hash { backup: None, .. } => "its hash is not the one in the manifest".to_owned(),
            Self::Hash { backup: Some(id), .. } => {
                format!("it builds on the list of {id}, whose hash is not the one in the manifest there")
            }
            Self::Totals(computed, stored) => format!("it lists {computed}, and the manifest says {stored}"),
        }
    }
}

impl ListReader {
    /// Opens the list of a backup's folder, and those of all that it builds on. That one of them is not there is exit code
    /// 3; where it is the backup's own, the error still says that it was not found.
    pub fn open(store: &Arc<dyn Store>, expected: Expected, fresh: bool) -> Result<Self> {
        let count = expected.parts.len();
        let mut levels = Vec::with_capacity(count);
        for (number, part) in expected.parts.iter().enumerate() {
            let level = Level::open(&**store, part, count, fresh);
            levels.push(
                level.map_err(
                    |error| if number == 0 { of_own(&**store, part, error) } else { of_ancestor(part, error) },
                )?,
            );
        }
        let numbers = expected.parts.iter().enumerate().map(|(number, part)| (part.id.clone(), number)).collect();
        Ok(Self {
            store: Arc::clone(store),
            expected,
            numbers,
            levels,
            depth: 0,
            discards: Vec::new(),
            bad: VecDeque::new(),
            sums: Sha256::new(),
            files: 0,
            bytes: 0,
            damaged: false,
            known: Some(Known::default()),
        })
    }

    /// Opens a list to be read in the same memory, however long it is: that a name stands there twice, or that a hard
    /// link leads to nothing, is not noticed.
    pub fn stream(store: &Arc<dyn Store>, expected: Expected) -> Result<Self> {
        Ok(Self { known: None, ..Self::open(store, expected, false)? })
    }

    /// The next line, none at the end.
    pub fn next_line(&mut self) -> Result<Option<Line>> {
        loop {
            if let Some(bad) = self.bad.pop_front() {
                return Ok(Some(Line::Bad(bad)));
            }
            let depth = self.depth;
            let is_last = depth + 1 == self.levels.len();
            let level = &mut self.levels[depth];
            if level.end == End::Passed {
                let Some(above) = depth.checked_sub(1) else { return Ok(None) };
                self.run_dry(above);
            } else if level.same > 0 {
                level.same -= 1;
                self.depth += 1;
            } else if level.gone > 0 {
                level.gone -= 1;
                self.discards.push(depth);
                self.depth += 1;
            } else if let Some((offset, text)) = level.next_line(&*self.store)? {
                match Run::parse(&text) {
                    None => {
                        if let Some(line) = self.deliver(depth, offset, &text) {
                            return Ok(Some(line));
                        }
                    }
                    Some(_) if is_last && self.expected.is_cut => {}
                    Some(_) if is_last => self.add_bad(depth, ": it builds on no other list"),
                    Some(Run::Same { lines }) => level.same = lines,
                    Some(Run::Gone { lines }) => level.gone = lines,
                }
            } else if is_last {
                level.end = End::Passed;
            } else {
                // What is left below is read to its end for its hash; there should be nothing.
                level.end = End::Reached;
                level.gone = u64::MAX;
            }
        }
    }

    /// A list wanted another line of the one below it, which has ended.
    fn run_dry(&mut self, depth: usize) {
        self.discards.pop_if(|discard| *discard == depth);
        self.depth = depth;
        let level = &mut self.levels[depth];
        (level.same, level.gone) = (0, 0);
        if level.end == End::Before {
            self.add_bad(depth, ": it goes on past the end of the list that it builds on");
        } else {
            level.end = End::Passed;
        }
    }

    /// Hands a line to whoever waits for it: a list that has no use for it, or the caller.
    fn deliver(&mut self, depth: usize, offset: u64, text: &[u8]) -> Option<Line> {
        let Some(above) = self.discards.pop() else {
            self.depth = 0;
            return Some(match self.judge(depth, offset, text) {
                Ok(line) => Line::Sound(Box::new(line)),
                Err(why) => {
                    self.damaged = true;
                    Line::Bad(self.place(depth, &why))
                }
            });
        };
        self.depth = above;
        let level = &mut self.levels[above];
        if level.end == End::Reached {
            level.end = End::Told;
            self.add_bad(above, " is the last one, and the list that it builds on has more");
        }
        None
    }

    /// The line, if it can be believed; why not, if it cannot.
    fn judge(&mut self, depth: usize, offset: u64, text: &[u8]) -> Result<Resolved, String> {
        let line = serde_json::from_slice(text).ok().filter(FileLine::is_sound);
        let line = line.filter(|line| self.expected.roots.knows(&line.root));
        let Some(mut line) = line else { return Err(String::new()) };
        // Only names that stand there twice and `SHA256SUMS` ask for it.
        let path = if self.known.is_some() { line.stored_path() } else { None };
        match &line.held {
            Some(held) if !self.expected.is_cut && self.numbers.get(&held.by).is_none_or(|number| *number <= depth) => {
                return Err(format!(": it builds on nothing of {}", printable(&held.by)));
            }
            None if depth > 0 && line.role.is_file() => {
                line.held = Some(Held::new(&self.expected.parts[depth].id, None));
            }
            _ => {}
        }
        if let Some(first) = line.hard_link()
            && let Some(known) = &self.known
            && !self.expected.is_cut
            && !line.stored(&first).is_some_and(|first| known.has_content(&first, &line))
        {
            return Err(": another name of a file that no line before it has".to_owned());
        }
        let is_stored = depth == 0 && line.held.is_none();
        if let Some((known, path)) = self.known.as_mut().zip(path.as_deref()) {
            if !known.may_stand(path, &line) {
                return Err(format!(": {} and what is below it cannot both be", printable(path)));
            }
            if !known.insert(path, &line) {
                return Err(format!(": {} is named twice", printable(path)));
            }
            if is_stored {
                known.insert_stored(path, &line);
            }
        }
        if line.role.is_file() {
            self.files += 1;
            self.bytes = self.bytes.saturating_add(if line.hard_link().is_some() { 0 } else { line.size });
            if let Some(path) = path.filter(|_| is_stored) {
                self.add_sums(&path, &line);
            }
        }
        Ok(Resolved { line, link: depth, offset })
    }

    fn add_sums(&mut self, path: &Path, line: &FileLine) {
        if line.within == Within::Data {
            self.sums.update(sums_line(line.sha256.as_deref().unwrap_or_default(), path));
        }
        if let Some(blocks) = line.own_blocks() {
            self.sums.update(sums_line(&blocks.sha256, &Path::new(blocks::FOLDER).join(path)));
        }
    }

    fn add_bad(&mut self, depth: usize, why: &str) {
        self.damaged = true;
        self.bad.push_back(self.place(depth, why));
    }

    fn place(&self, depth: usize, why: &str) -> String {
        let number = self.levels[depth].lines;
        match depth {
            0 => format!("line {number}{why}"),
            _ => format!("line {number} of the list of {}{why}", self.expected.parts[depth].id),
        }
    }

    /// Whether a line could not be believed.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Whether the folder of the backup itself should hold something under a path (relative to it).
    pub fn contains(&self, path: &Path) -> bool {
        self.known.as_ref().is_some_and(|known| known.is_stored(path))
    }

    /// Compares what was read, up to the end, with what was expected.
    pub fn difference(&self) -> Option<Difference> {
        for (number, (level, part)) in self.levels.iter().zip(&self.expected.parts).enumerate() {
            let computed = level.sha256();
            if computed != part.files_sha256 {
                let (backup, stored) = ((number > 0).then(|| part.id.clone()), part.files_sha256.clone());
                return Some(Difference::Hash { backup, stored, computed });
            }
        }
        let own = &self.expected.parts[0];
        if self.expected.is_cut || (self.files, self.bytes) == (own.files, own.bytes) {
            return None;
        }
        let count = |files: u64, bytes: u64| format!("{files} files, {bytes} bytes");
        Some(Difference::Totals(count(self.files, self.bytes), count(own.files, own.bytes)))
    }

    /// SHA-256 of the backup's own list as it was read, hexadecimal.
    pub fn sha256(&self) -> String {
        self.levels[0].sha256()
    }

    /// The running hash of what `SHA256SUMS` should hold for the lines read; a stream keeps none.
    pub fn sums(&self) -> Sha256 {
        self.sums.clone()
    }
}

/// The list of the backup itself cannot be opened.
fn of_own(store: &dyn Store, part: &Part, error: Error) -> Error {
    match error.jet_code() {
        Some(jet @ (Jet::FileNotFound | Jet::FileInvalidType)) => {
            let what = if jet == Jet::FileNotFound { "is missing" } else { "is no file" };
            let message = format!("files.jsonl of {} {what}", part.id);
            let file = store.describe(&part.folder.join("files.jsonl"));
            Error::jet(jet, message).exit(ExitCode::Verification).file(file).hint(LIST_HINT)
        }
        _ => error,
    }
}

/// What to do about a backup whose list is not there.
const LIST_HINT: &str = "Without its list nothing of a backup can be restored or built on. Bring it back from a copy of \
                         the repository, or make a full backup now.";

/// A list that another one builds on cannot be opened.
fn of_ancestor(part: &Part, error: Error) -> Error {
    let what = match error.jet_code() {
        Some(Jet::FileNotFound) => "is missing",
        Some(Jet::FileInvalidType) => "is no file",
        _ => return error,
    };
    let message = format!("files.jsonl of {} {what}, and other backups build on it", part.id);
    Error::new(ExitCode::Verification, message).file(part.folder.join("files.jsonl")).hint(super::chain::BROKEN_HINT)
}

/// Reads the list of a backup in little memory and hands every line that can be believed to `take`, until that has
/// enough. What was handed out counts only when this returns well: the lists are compared with the manifests at the end.
pub fn read_proven(
    store: &Arc<dyn Store>,
    chain: &Chain,
    take: &mut dyn FnMut(Box<Resolved>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let folder = &chain.parts()[0].folder;
    let damaged = |why: &str| {
        let message = format!("{}: files.jsonl cannot be believed: {why}", chain.id());
        Error::new(ExitCode::Verification, message).file(store.describe(&folder.join("files.jsonl")))
    };
    let mut list = ListReader::stream(store, Expected::of(chain)).map_err(|error| match error.jet_code() {
        Some(Jet::FileNotFound) => damaged("it is missing"),
        Some(Jet::FileInvalidType) => damaged(error.message()),
        _ => error,
    })?;
    let mut bad = None;
    while let Some(line) = list.next_line()? {
        match line {
            Line::Bad(what) => {
                bad.get_or_insert(what);
            }
            Line::Sound(line) => {
                if take(line)?.is_break() {
                    return Ok(());
                }
            }
        }
    }
    match (bad, list.difference()) {
        (Some(what), _) => Err(damaged(&what)),
        (None, Some(difference)) => Err(damaged(&difference.reason())),
        (None, None) => Ok(()),
    }
}

#[cfg(test)]
#[path = "list_reader_tests.rs"]
mod tests;
