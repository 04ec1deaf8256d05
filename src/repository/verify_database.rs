//! Asking SQLite about the databases of a backup: where they stand as they are, or in a copy that is made of what was put
//! together from several backups, while its content is proven.

use std::path::Path;

use super::damage::{Damage, DamageKind};
use super::file_list::FileLine;
use super::store::Store;
use super::verify::Verification;
use crate::engine::sqlite::check::{self, Depth, Verdict};
use crate::engine::sqlite::private::{Copy, Scratch};
use crate::error::Result;

/// Whether SQLite is asked about the content of a line.
pub(super) fn is_asked(line: &FileLine, how: &Verification) -> bool {
    how.databases.is_some() && line.sqlite.is_some() && line.size > 0
}

/// Asks SQLite about a database that stands as it is, and whose bytes are those that were stored: what it finds was so in
/// the source.
pub(super) fn ask_stored(
    store: &dyn Store,
    place: &Path,
    path: &Path,
    line: &FileLine,
    how: &Verification,
) -> Result<()> {
    let Some(depth) = how.databases.filter(|_| is_asked(line, how)) else { return Ok(()) };
    match store.local_path(place) {
        Some(place) => ask(&place, path, depth, how),
        None => Ok(()),
    }
}

fn ask(place: &Path, path: &Path, depth: Depth, how: &Verification) -> Result<()> {
    match check::stored(place, depth, how.stop)? {
        Verdict::Sound => {}
        Verdict::Damaged(found) => {
            for what in found {
                let what = format!("{what} ({}; its bytes are those of the source)", depth.name());
                (how.report)(Damage::new(path, DamageKind::Integrity, "", what));
            }
        }
        Verdict::Unknown(why) => warn(path, format!("{} cannot tell here: {why}", depth.name()), how),
    }
    Ok(())
}

/// Tells that SQLite was not asked, or does not know.
fn warn(path: &Path, what: String, how: &Verification) {
    (how.report)(Damage { is_known: true, ..Damage::new(path, DamageKind::Integrity, "", what) });
}

/// A copy of a database in the directory for temporary files, made while its content is put together and proven: SQLite
/// reads nothing but files. It goes with this value. What stands in its way is told at the end, and stops nothing else.
pub(super) struct AssembledCopy {
    depth: Depth,
    /// The file comes first, so that it is closed before its folder goes.
    copy: Result<(Copy, Scratch)>,
}

impl AssembledCopy {
    /// Begins one; none where SQLite is not asked about the content of a line.
    pub fn begin(line: &FileLine, how: &Verification) -> Option<Self> {
        let depth = how.databases.filter(|_| is_asked(line, how))?;
        let scratch = Scratch::create(&std::env::temp_dir(), line.size);
        Some(Self { depth, copy: scratch.and_then(|scratch| Ok((scratch.begin()?, scratch))) })
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        self.go_on(|copy| copy.write(bytes));
    }

    /// Adds so many zeros.
    pub fn skip(&mut self, bytes: u64) {
        self.go_on(|copy| copy.skip(bytes));
    }

    /// After the first error nothing is added, and the space is given back.
    fn go_on(&mut self, add: impl FnOnce(&mut Copy) -> Result<()>) {
        if let Ok((copy, _)) = &mut self.copy
            && let Err(error) = add(copy)
        {
            self.copy = Err(error);
        }
    }

    /// Asks SQLite about it, where all of it is what was stored; `path` is what it is called.
    pub fn ask(self, path: &Path, how: &Verification) -> Result<()> {
        let made = self.copy.and_then(|(copy, scratch)| copy.finish().map(|()| scratch));
        match made {
            Ok(scratch) => ask(&scratch.database(), path, self.depth, how),
            Err(error) => {
                let (depth, why) = (self.depth.name(), error.message());
                warn(path, format!("{depth} was not asked, as no copy of it could be put together: {why}"), how);
                Ok(())
            }
        }
    }
}
