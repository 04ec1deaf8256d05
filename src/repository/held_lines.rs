//! Whether content that a list says is held by another backup is held there as it says: lines of two lists are compared,
//! and no content is read.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::chain::Part;
use super::file_list::FileLine;
use super::list_level::Level;
use super::list_reader::{Expected, Resolved};
use super::store::Store;
use crate::error::{Result, printable};
use crate::stream::stop::StopToken;

/// Lines whose content others hold, to be compared with the lines of those; some fifty bytes a line.
pub(super) struct HeldLines {
    parts: Vec<Part>,
    numbers: HashMap<String, usize>,
    keys: RandomState,
    /// By home (its index in the chain) and place there.
    wanted: HashMap<(usize, u64), Wanted>,
}

/// What a line says of its content, and where the line stands.
#[derive(Clone, Copy)]
struct Wanted {
    content: u64,
    /// The same without the hash of the whole: a home whose content is blocks may not know it.
    unhashed: u64,
    link: usize,
    offset: u64,
}

/// A line that its home does not bear out.
pub(super) enum Doubt {
    /// It does not say what the line of its home says, or none there leads to such content: in which respect.
    Wrong(String),
    /// It has a hash that its home does not have: only its content can tell.
    Unproven(Box<FileLine>),
}

impl HeldLines {
    pub fn new(expected: &Expected) -> Self {
        let parts = expected.parts().to_vec();
        let numbers = parts.iter().enumerate().map(|(number, part)| (part.id.clone(), number)).collect();
        Self { parts, numbers, keys: RandomState::new(), wanted: HashMap::new() }
    }

    /// The id of the backup in whose list a line stands.
    pub fn owner(&self, resolved: &Resolved) -> &str {
        &self.parts[resolved.link].id
    }

    /// Notes a line that is to be compared; one that stands in the list of its home itself needs that not. Two that
    /// cannot both be right are told at once.
    pub fn add(&mut self, resolved: &Resolved) -> Option<String> {
        let line = &resolved.line;
        let home = *self.numbers.get(&line.held.as_ref()?.by)?;
        if home == resolved.link {
            return None;
        }
        let key = (home, self.keys.hash_one(line.place()?.as_os_str().as_bytes()));
        let (content, unhashed) = (self.content(line, true), self.content(line, false));
        let wanted = Wanted { content, unhashed, link: resolved.link, offset: resolved.offset };
        let known = *self.wanted.entry(key).or_insert(wanted);
        (known.content != wanted.content).then(|| {
            let path = line.stored_path().unwrap_or_default();
            format!("{}: another line says something else of the same content", printable(path))
        })
    }

    fn content(&self, line: &FileLine, with_hash: bool) -> u64 {
        let sha256 = line.sha256.as_ref().filter(|_| with_hash);
        let blocks = line.blocks.as_ref().map(|blocks| (blocks.bytes, &blocks.sha256, blocks.stored));
        self.keys.hash_one((line.within as u8, line.size, sha256, blocks))
    }

    /// Reads the lists of all homes and hands over what they do not bear out. Their hashes are proven by whoever reads
    /// them for their lines.
    pub fn compare(
        mut self,
        store: &Arc<dyn Store>,
        fresh: bool,
        stop: &StopToken,
        found: &mut dyn FnMut(Doubt) -> Result<()>,
    ) -> Result<()> {
        let mut homes: Vec<usize> = self.wanted.keys().map(|(home, _)| *home).collect();
        homes.sort_unstable();
        homes.dedup();
        for home in homes {
            let mut list = Level::open(&**store, &self.parts[home], 1, fresh)?;
            while let Some((_, text)) = list.next_line(&**store)? {
                stop.check()?;
                let line: Option<FileLine> = serde_json::from_slice(&text).ok();
                let Some(line) = line.filter(|line| line.is_sound() && line.role.is_file()) else { continue };
                let Some(place) = line.place().filter(|_| line.held.is_none()) else { continue };
                let key = (home, self.keys.hash_one(place.as_os_str().as_bytes()));
                let Some(wanted) = self.wanted.get(&key).copied() else { continue };
                if wanted.content == self.content(&line, true) {
                    self.wanted.remove(&key);
                } else if line.sha256.is_none() && wanted.unhashed == self.content(&line, true) {
                    self.wanted.remove(&key);
                    if let Some(own) = self.line_at(store, &wanted)? {
                        found(Doubt::Unproven(Box::new(own)))?;
                    }
                }
            }
        }
        let mut left: Vec<_> =
            self.wanted.iter().map(|((home, _), wanted)| (wanted.link, wanted.offset, *home)).collect();
        left.sort_unstable();
        for (link, offset, home) in left {
            let wanted = Wanted { content: 0, unhashed: 0, link, offset };
            let path = self.line_at(store, &wanted)?.and_then(|line| line.stored_path()).unwrap_or_default();
            let by = &self.parts[home].id;
            found(Doubt::Wrong(format!(
                "{}: the list of {by}, which should hold it, says otherwise",
                printable(path)
            )))?;
        }
        Ok(())
    }

    /// Reads a line again that is to be named.
    fn line_at(&self, store: &Arc<dyn Store>, wanted: &Wanted) -> Result<Option<FileLine>> {
        let text = Level::open_at(&**store, &self.parts[wanted.link], wanted.offset)?.next_line(&**store)?;
        Ok(text.and_then(|(_, text)| serde_json::from_slice(&text).ok()).filter(FileLine::is_sound))
    }
}
