//! What of a storage is as an earlier backup has it: two lists in walk order, merged in one pass.
//!
//! One is what the engine finds now, the other the list of the parent. What agrees in all that the file system tells is
//! taken over as a run of lines; the rest is read, and compared with what the parent holds of it. Nothing here touches a
//! file: both lists come from outside, one entry at a time.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ffi::OsString;
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::{Entry, Role};
use crate::error::Result;

/// A file may have been changed unseen after it was read if it had changed so shortly before: clocks of file systems tick
/// coarsely, and a file server has one of its own. In nanoseconds.
const UNSURE_NS: i128 = 3_000_000_000;

/// A line of the parent's list, with what its backup saw; `line` is what the caller wants back.
#[derive(Clone, Debug)]
pub struct Known<T> {
    /// What it is called in this session.
    pub path: PathBuf,
    /// What it is.
    pub role: Role,
    /// Bytes of content.
    pub size: u64,
    /// When it was last written, in nanoseconds since 1970; none where that was not kept.
    pub modified_ns: Option<i128>,
    /// When its content or its attributes changed last.
    pub changed_ns: Option<i128>,
    /// Its inode.
    pub inode: u64,
    /// An earlier name of the same file, in this session's words.
    pub hard_link: Option<PathBuf>,
    /// When the backup began that wrote the line.
    pub began_ns: i128,
    /// What the file system says of the file is not all that there is to its content.
    pub is_more_than_its_file: bool,
    /// The line itself.
    pub line: T,
}

/// What becomes of an entry.
#[derive(Clone, Debug)]
pub enum Verdict<T> {
    /// It is as the line says, which is handed back.
    Same(Known<T>),
    /// It is to be read, and compared with the line of the same path, where there is one.
    Read {
        /// That line.
        base: Option<T>,
        /// A line with its inode may say more.
        may_have_moved: bool,
        /// It is read under its own name, because the file that it is another name of is not.
        is_parted: bool,
    },
}

/// A piece of the list to be: lines of the parent that are the same, then lines of the parent that are gone, then entries
/// of the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hunk {
    /// Lines taken over.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub same: u64,
    /// Lines left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gone: u64,
    /// Entries that are read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub read: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a storage is compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// Nothing is taken as unchanged.
    pub ignore_metadata: bool,
    /// Databases that the engine does not hand over stay as the parent has them: their logs bring the changes.
    pub carries_databases: bool,
}

/// Where the lines of the parent come from, and where the pieces go.
pub trait Ends<T> {
    /// The next line of the parent's list.
    fn next_line(&mut self) -> Result<Option<Known<T>>>;
    /// The next piece of the list to be.
    fn hunk(&mut self, hunk: Hunk) -> Result<()>;
    /// A line that is taken over although its file was not looked at.
    fn carried(&mut self, known: Known<T>) -> Result<()>;
}

/// A merge on its way; memory for one line, and eight bytes for each file that is read.
pub struct Merge<T, E> {
    /// Both ends.
    pub ends: E,
    terms: Terms,
    next: Option<Known<T>>,
    is_over: bool,
    lines: Ordered,
    entries: Ordered,
    /// One of the lists is not in walk order: from there on nothing is taken as unchanged.
    is_out_of_order: bool,
    hunk: Hunk,
    keys: RandomState,
    read: HashSet<u64>,
    databases: HashSet<u64>,
    /// Files, by the hashes of their names, that are read whatever they seem to be.
    wanted: HashSet<u64>,
    /// Files that were taken over, and of which another name has to be read.
    torn: HashSet<u64>,
}

impl<T, E: Ends<T>> Merge<T, E> {
    /// A merge from the beginning of both lists.
    pub fn new(terms: Terms, ends: E) -> Self {
        Self {
            ends,
            terms,
            next: None,
            is_over: false,
            lines: Ordered::default(),
            entries: Ordered::default(),
            is_out_of_order: false,
            hunk: Hunk::default(),
            keys: RandomState::new(),
            read: HashSet::new(),
            databases: HashSet::new(),
            wanted: HashSet::new(),
            torn: HashSet::new(),
        }
    }

    /// The same, and what [`Merge::torn`] said of the merge before is read, so that the names of a file stay together.
    #[must_use]
    pub fn with_read(mut self, wanted: HashSet<u64>) -> Self {
        self.wanted = wanted;
        self
    }

    /// Files that were taken over although another name of them has to be read, by the hashes of their names: a directory
    /// with that name was renamed, or it was left out before.
    pub fn torn(&mut self) -> HashSet<u64> {
        std::mem::take(&mut self.torn)
    }

    /// Whether one of the lists was not in walk order.
    pub fn is_out_of_order(&self) -> bool {
        self.is_out_of_order
    }

    /// The next entry that the engine hands over.
    pub fn meet(&mut self, entry: &Entry) -> Result<Verdict<T>> {
        self.is_out_of_order |= !self.entries.is_next(&entry.path);
        if self.terms.carries_databases && entry.role == Role::Database {
            self.databases.insert(self.key(&entry.path));
        }
        let known = self.line_of(&entry.path)?;
        let first_was_read = entry.hard_link.as_ref().map(|first| self.read.contains(&self.key(first)));
        if let Some(known) = known {
            if first_was_read != Some(true) && self.is_unchanged(entry, &known) {
                self.same()?;
                return Ok(Verdict::Same(known));
            }
            self.hunk.gone += 1;
            let may_have_moved = known.inode != entry.inode;
            return Ok(self.read(entry, Some(known.line), may_have_moved, first_was_read));
        }
        Ok(self.read(entry, None, true, first_was_read))
    }

    /// After the last entry: what is left of the parent's list is gone.
    pub fn finish(&mut self) -> Result<()> {
        while let Some(known) = self.take_line()? {
            self.pass(known)?;
        }
        let hunk = std::mem::take(&mut self.hunk);
        if hunk == Hunk::default() { Ok(()) } else { self.ends.hunk(hunk) }
    }

    fn read(
        &mut self,
        entry: &Entry,
        base: Option<T>,
        may_have_moved: bool,
        first_was_read: Option<bool>,
    ) -> Verdict<T> {
        self.hunk.read += 1;
        if entry.role.is_file() {
            self.read.insert(self.key(&entry.path));
        }
        if let Some(first) = entry.hard_link.as_ref().filter(|_| first_was_read == Some(false)) {
            self.torn.insert(name_hash(first));
        }
        Verdict::Read {
            base,
            may_have_moved: may_have_moved && entry.inode != 0,
            is_parted: first_was_read == Some(false),
        }
    }

    fn same(&mut self) -> Result<()> {
        if self.hunk.gone + self.hunk.read > 0 {
            let hunk = std::mem::take(&mut self.hunk);
            self.ends.hunk(hunk)?;
        }
        self.hunk.same += 1;
        Ok(())
    }

    /// The line of this path; lines before it are gone.
    fn line_of(&mut self, path: &Path) -> Result<Option<Known<T>>> {
        loop {
            let Some(known) = self.take_line()? else { return Ok(None) };
            // Out of order, whatever is left waits for the end: a later entry may be one of them.
            let order = if self.is_out_of_order { Ordering::Greater } else { walk_order(&known.path, path) };
            match order {
                Ordering::Less => self.pass(known)?,
                Ordering::Equal => return Ok(Some(known)),
                Ordering::Greater => {
                    self.next = Some(known);
                    return Ok(None);
                }
            }
        }
    }

    fn take_line(&mut self) -> Result<Option<Known<T>>> {
        if let Some(known) = self.next.take() {
            return Ok(Some(known));
        }
        if self.is_over {
            return Ok(None);
        }
        let Some(known) = self.ends.next_line()? else {
            self.is_over = true;
            return Ok(None);
        };
        self.is_out_of_order |= !self.lines.is_next(&known.path);
        Ok(Some(known))
    }

    /// A line that the engine hands no entry over for.
    fn pass(&mut self, known: Known<T>) -> Result<()> {
        let is_carried = self.terms.carries_databases
            && known.role == Role::Database
            && !self.databases.contains(&self.key(&known.path));
        if is_carried {
            self.same()?;
            return self.ends.carried(known);
        }
        self.hunk.gone += 1;
        Ok(())
    }

    fn is_unchanged(&self, entry: &Entry, known: &Known<T>) -> bool {
        !self.terms.ignore_metadata
            && entry.inode != 0
            && !entry.unlisted
            && !known.is_more_than_its_file
            && (entry.role, entry.size, entry.inode) == (known.role, known.size, known.inode)
            && known.modified_ns == Some(entry.modified_ns)
            && known.changed_ns == Some(entry.changed_ns)
            && entry.hard_link == known.hard_link
            && is_settled(entry.changed_ns, known.began_ns)
            && (self.wanted.is_empty() || !self.wanted.contains(&name_hash(&entry.path)))
    }

    fn key(&self, path: &Path) -> u64 {
        self.keys.hash_one(path.as_os_str().as_bytes())
    }
}

/// Whether a file had changed so long before a session began that every later change shows in its times.
pub fn is_settled(changed_ns: i128, began_ns: i128) -> bool {
    changed_ns.saturating_add(UNSURE_NS) < began_ns
}

/// Up to which time the lines of a backup vouch for files that had not changed any more, in nanoseconds: until it began. One
/// that began in the future of this clock vouches for none: the clock was set back since then, and goes through times again,
/// so that a file may have changed at the very time that the backup saw.
pub fn vouches_until(began_ns: i128, now_ns: i128) -> i128 {
    if began_ns > now_ns { i128::MIN } else { began_ns }
}

/// Whether names come in walk order.
#[derive(Debug, Default)]
struct Ordered {
    /// The last one, in memory that is used again.
    last: OsString,
    has_begun: bool,
}

impl Ordered {
    /// Whether a name comes after the last one, whose place it takes.
    fn is_next(&mut self, name: &Path) -> bool {
        let is_next = !self.has_begun || walk_order(Path::new(&self.last), name).is_lt();
        self.has_begun = true;
        self.last.clear();
        self.last.push(name);
        is_next
    }
}

/// A hash of a name, the same in every process. It is only counted by, or has a file read once more than it must be:
/// nothing is taken for unchanged because of it.
pub fn name_hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(path.as_os_str().as_bytes());
    hasher.finish()
}

/// The order of a walk: by the bytes of the names on the way down, a directory before what lies in it; what lies beside the
/// storage, by absolute paths, after all that lies in it.
pub fn walk_order(a: &Path, b: &Path) -> Ordering {
    // A slash ends a name, so that it comes before every byte that a name can have.
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    let (a, b) = (a.as_os_str().as_bytes(), b.as_os_str().as_bytes());
    let in_order = || match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((a, b)) => rank(a).cmp(&rank(b)),
        None => a.len().cmp(&b.len()),
    };
    a.starts_with(b"/").cmp(&b.starts_with(b"/")).then_with(in_order)
}

#[cfg(test)]
#[path = "unchanged_tests.rs"]
mod tests;
